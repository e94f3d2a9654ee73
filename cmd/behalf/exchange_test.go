package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/sandbox/idp"
)

// startCompany returns the identity provider of the company where the demo's people work, whose tokens Databricks takes.
func startCompany(t *testing.T, w *world) *idp.Provider {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	company, err := idp.New(idp.Config{Issuer: "http://" + srv.Listener.Addr().String()})
	w.must(err)
	company.Watch(issued.add)
	for _, p := range w.box.People {
		company.AddPerson(idp.Person{Username: p.Username, Email: p.Email})
	}
	srv.Config.Handler = company
	srv.Start()
	w.box.IdP.SetQuirks(idp.Quirks{AnonymousExchange: true})
	w.box.IdP.Federate(&idp.Federation{Issuer: company.Issuer(), Audience: "databricks", JWKSURI: company.Issuer() + "/jwks"})
	t.Cleanup(func() {
		w.box.IdP.SetQuirks(idp.Quirks{})
		w.box.IdP.Federate(nil)
		srv.Close()
	})
	return company
}

// changeApp changes an OAuth app as carol, who is an admin.
func (w *world) changeApp(slug string, change map[string]any) {
	w.t.Helper()
	change["rev"] = w.app(slug).Rev
	w.must(w.carol.call(w.t.Context(), http.MethodPatch, "/api/v1/oauth-apps/"+slug, change, nil))
}

// The command line connects an app by a token of the company and queries run as whom that names; and it is handed
// tokens for one audience.
func TestTokensAreExchangedOnTheCommandLine(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	t.Setenv("HOME", dir)
	w := newWorld(t, worldConfig{})
	company := startCompany(t, w)
	expect := func(code int, in, out, errs string, args ...string) (stdout string) {
		t.Helper()
		n, o, e := command(t, in, args...)
		if n != code || !strings.Contains(o, out) || !strings.Contains(e, errs) {
			t.Errorf("behalf %s = exit %d, %q, %q; want %d, %q, %q", strings.Join(args, " "), n, o, e, code, out, errs)
		}
		return o
	}
	if code, said := w.login(w.alice, "allow", w.base, "--app", "databricks"); code != 0 {
		t.Fatalf("sign-in = exit %d, %q", code, said)
	}

	// Out.
	w.changeApp("databricks", map[string]any{"token_exchange": map[string]any{"audiences": []string{"reports"}}})
	w.connect(w.alice, "databricks")
	held := expect(0, "", "", "", "connect", "token", "databricks")
	narrow := expect(0, "", "", "", "connect", "token", "databricks", "--audience", "reports", "--scope", "sql")
	if narrow == held || strings.Count(narrow, "\n") != 1 {
		t.Errorf("connect token --audience printed %d lines, want another token alone", strings.Count(narrow, "\n"))
	}
	var out struct {
		IssuedTokenType string `json:"issued_token_type"`
		Scopes          []string
	}
	answer := expect(0, "", "", "", "connect", "token", "databricks", "--audience", "reports", "--scope", "sql", "-o", "json")
	if err := json.Unmarshal([]byte(answer), &out); err != nil || out.IssuedTokenType != "urn:ietf:params:oauth:token-type:access_token" || strings.Join(out.Scopes, " ") != "sql" {
		t.Errorf("connect token --audience -o json: %v, %+v", err, out)
	}
	expect(exitDenied, "", "", "token_exchange.audiences", "connect", "token", "databricks", "--audience", "billing")
	expect(exitUsage, "", "", "never for others", "connect", "token", "databricks", "--audience", "reports", "--scope", "all-apis")
	expect(exitUsage, "", "", "audience", "connect", "token", "databricks", "--scope", "sql")

	// In: not without the scope, nor where the app does not say so.
	w.must(w.alice.call(t.Context(), http.MethodDelete, "/api/v1/connected-apps/databricks", nil, nil))
	file := filepath.Join(w.dir, "token")
	w.write("token", company.IssueJWT("alice", "databricks", time.Hour, nil).Reveal()+"\n")
	exchange := []string{"connect", "exchange", "databricks", "--subject-token-file"}
	expect(exitDenied, "", "", "--connect APP", append(exchange, file)...)
	if code, said := w.login(w.alice, "allow", w.base, "--connect", "databricks", "--app", "databricks"); code != 0 {
		t.Fatalf("sign-in to exchange = exit %d, %q", code, said)
	}
	expect(exitDenied, "", "", "token_exchange.subject_issuers", append(exchange, file)...)
	w.changeApp("databricks", map[string]any{
		"identity_match": "enforce",
		"token_exchange": map[string]any{"subject_issuers": []map[string]string{{"issuer": company.Issuer(), "audience": "databricks"}}},
	})
	expect(exitUsage, "", "", "There is no token in standard input", append(exchange, "-")...)
	expect(exitUsage, company.IssueJWT("alice", "elsewhere", time.Hour, nil).Reveal(), "", "its audience (aud) must be databricks", append(exchange, "-")...)
	expect(exitDenied, company.IssueJWT("bob", "databricks", time.Hour, nil).Reveal(), "", "but here as alice", append(exchange, "-")...)
	w.ask(w.alice, countOnly).refused(t, 403, "authorization_required")
	expect(0, "", "active", "is connected", append(exchange, file)...)
	w.ask(w.alice, countOnly).ran(t, "user", "alice")

	// It is renewed by another exchange, and by no page.
	w.box.IdP.SetAccessTokenLife(time.Second)
	expect(0, company.IssueJWT("alice", "databricks", time.Hour, nil).Reveal(), "", "is connected", append(exchange, "-")...)
	eventually(t, "the access ends", func() bool { return w.grant(w.alice, "databricks").Status == "expired" })
	w.ask(w.alice, countOnly).refused(t, 403, "reauthorization_required", "Exchange a token again: behalf connect exchange databricks")
	expect(exitSignIn, "", "", "Exchange a token again", "connect", "token", "databricks")
	w.box.IdP.SetAccessTokenLife(time.Hour)
	expect(0, "", "active", "", append(exchange, file)...)

	// And where the app hands out nothing, queries go on.
	w.changeApp("databricks", map[string]any{"hand_out": "deny"})
	expect(exitDenied, "", "", "hand_out: allow", "connect", "token", "databricks")
	expect(exitDenied, "", "", "hand_out: allow", "connect", "token", "databricks", "--audience", "reports")
	w.ask(w.alice, countOnly).ran(t, "user", "alice")
}
