package adminapi_test

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/adminapi"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fronttest"
	"github.com/behalf-project/behalf/internal/sandbox/idp"
	"github.com/behalf-project/behalf/internal/secret"
)

const accessTokenType = "urn:ietf:params:oauth:token-type:access_token"

var signingKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// startIDP returns an identity provider with alice and bob.
func startIDP(t *testing.T, clients ...idp.Client) *idp.Provider {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	p, err := idp.New(idp.Config{
		Issuer: "http://" + srv.Listener.Addr().String(), Key: signingKey(), Clients: clients,
		People: []idp.Person{{Username: "alice", Password: secret.New("pw"), Email: "alice@example.com"}, {Username: "bob", Email: "bob@example.com"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Config.Handler = p
	srv.Start()
	t.Cleanup(srv.Close)
	return p
}

// exchanging returns a server with an app "lake" whose provider trusts company and exchanges tokens for reports.
func exchanging(t *testing.T) (s *fronttest.Server, provider, company *idp.Provider, app adminapi.OAuthApp) {
	t.Helper()
	s = fronttest.Start(t, nil)
	company = startIDP(t)
	provider = startIDP(t, idp.Client{
		ID: "behalf", Secret: secret.New(fronttest.ClientSecret), RedirectURIs: []string{s.URL + "/oauth/callback/lake"}, ExchangeAudiences: []string{"reports"},
	})
	provider.Federate(&idp.Federation{Issuer: company.Issuer(), Audience: "lake", JWKSURI: company.Issuer() + "/jwks"})
	a := s.Browser(t).SignIn("alice").Call(http.MethodPost, "/api/v1/oauth-apps", map[string]any{
		"name": "Lake", "preset": "oidc", "issuer": provider.Issuer(), "client_id": "behalf", "client_secret": fronttest.ClientSecret,
		"scopes": []string{"openid", "email", "offline_access", "sql"},
		"token_exchange": map[string]any{
			"audiences": []string{"reports"}, "subject_issuers": []map[string]any{{"issuer": company.Issuer(), "audience": "lake"}},
		},
	}, &app)
	if a.Status != 201 || app.HandOut != "allow" || len(app.TokenExchange.SubjectIssuers) != 1 {
		t.Fatalf("register = %d %s", a.Status, a.Body)
	}
	return s, provider, company, app
}

// consent connects the app "lake" for alice in her browser.
func consent(t *testing.T, alice *fronttest.Browser, provider *idp.Provider) {
	t.Helper()
	back, err := provider.SignIn(t.Context(), alice.Send(alice.Fill(alice.Get("/connect/lake"))).Location, "alice")
	if err != nil {
		t.Fatal(err)
	}
	alice.Get(back.String())
}

func TestATokenIsHandedOutForOneAudience(t *testing.T) {
	s, provider, _, _ := exchanging(t)
	alice := s.Browser(t).SignIn("alice")
	consent(t, alice, provider)
	program := s.Program(t, "alice", "token:lake")
	const path = "/api/v1/connected-apps/lake/token"
	var held, out adminapi.HandedOut
	program.Call(http.MethodGet, path, nil, &held)
	if held.AccessToken == "" || held.IssuedTokenType != "" {
		t.Fatalf("a plain hand-out = %+v", held)
	}
	a := program.Call(http.MethodGet, path+"?audience=reports&scope=sql", nil, &out)
	if a.Status != 200 || out.AccessToken == "" || out.AccessToken == held.AccessToken || out.IssuedTokenType != accessTokenType || out.TokenType != "Bearer" ||
		!slices.Equal(out.Scopes, []string{"sql"}) || out.Epoch != held.Epoch || out.ExpiresInSeconds < 3000 || out.Account != "alice@example.com" {
		t.Errorf("hand-out for reports = %d %+v, want another token with its type and scopes", a.Status, out)
	}
	records := recorded(t, s, audit.Filter{Action: audit.GrantExchanged}, 1)
	if len(records) != 1 || records[0].Detail["audience"] != "reports" || records[0].Detail["scopes"] != "sql" || records[0].Detail["by"] == "" || strings.Contains(fmt.Sprint(records), out.AccessToken) {
		t.Errorf("recorded is %+v, want the exchange without the token", records)
	}
	refused(t, program.Call(http.MethodGet, path+"?audience=billing", nil, nil), 403, "exchange_not_allowed")
	refused(t, program.Call(http.MethodGet, path+"?audience=reports&scope=sql+admin", nil, nil), 422, "exchange_widens")
	refused(t, program.Call(http.MethodGet, path+"?audience=reports&min_life=5h", nil, nil), 409, "min_life_unavailable")
	if p := refused(t, program.Call(http.MethodGet, path+"?scope=sql", nil, nil), 422, "invalid"); len(p.Errors) != 1 || p.Errors[0].Pointer != "/audience" && p.Errors[0].Pointer != "audience" {
		t.Errorf("errors = %+v, want the missing audience", p.Errors)
	}
	provider.SetFault(idp.Token, idp.Fault{Widen: "admin", Times: 1})
	refused(t, program.Call(http.MethodGet, path+"?audience=reports&scope=sql", nil, nil), 403, "exchange_widened")
	refused(t, alice.Call(http.MethodGet, path+"?audience=reports", nil, nil), 403, "bearer_required")
	refused(t, s.Program(t, "alice", "account").Call(http.MethodGet, path+"?audience=reports", nil, nil), 403, "insufficient_scope")
	s.StopRecording()
	if a := refused(t, program.Call(http.MethodGet, path+"?audience=reports", nil, nil), 503, "audit_unavailable"); strings.Contains(a.Detail, "eyJ") {
		t.Error("a token left without a record")
	}
}

func TestAnAppThatHandsOutNothing(t *testing.T) {
	s, provider, _, app := exchanging(t)
	alice := s.Browser(t).SignIn("alice")
	consent(t, alice, provider)
	program := s.Program(t, "alice", "token:lake")
	path := "/api/v1/oauth-apps/lake"
	refused(t, alice.Call(http.MethodPatch, path, map[string]any{"rev": app.Rev, "hand_out": "sometimes"}, nil), 422, "invalid")
	alice.Call(http.MethodGet, path, nil, &app)
	var denied adminapi.OAuthApp
	if a := alice.Call(http.MethodPatch, path, map[string]any{"rev": app.Rev, "hand_out": "deny"}, &denied); a.Status != 200 || denied.HandOut != "deny" || len(denied.TokenExchange.Audiences) != 1 {
		t.Fatalf("patch = %d %s", a.Status, a.Body)
	}
	for _, query := range []string{"", "?audience=reports"} {
		p := refused(t, program.Call(http.MethodGet, "/api/v1/connected-apps/lake/token"+query, nil, nil), 403, "hand_out_denied")
		if p.Owner != "admin" || !strings.Contains(p.Detail, "hand_out: allow") {
			t.Errorf("the refusal is %+v, want what an admin can do", p)
		}
	}
	u, err := s.People.ByUsername(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Tokens.Token(t.Context(), u.Principal(), "lake"); err != nil {
		t.Errorf("a query's token = %v, want it all the same", err)
	}
}

func TestAnAppIsConnectedByATokenOfAnotherIssuer(t *testing.T) {
	s, provider, company, app := exchanging(t)
	const path = "/api/v1/connected-apps/lake/exchange"
	body := func(token secret.Text) map[string]any {
		return map[string]any{"subject_token": token.Reveal(), "subject_token_type": "urn:ietf:params:oauth:token-type:jwt"}
	}
	good := company.IssueJWT("alice", "lake", time.Hour, nil)

	// Who may: a signed-in browser, and a token with its own scope.
	refused(t, s.Browser(t).Call(http.MethodPost, path, body(good), nil), 401, "not_signed_in")
	for _, scope := range []string{"account", "token:lake"} {
		a := s.Program(t, "alice", scope).Call(http.MethodPost, path, body(good), nil)
		refused(t, a, 403, "insufficient_scope")
		if !strings.Contains(a.Header.Get("WWW-Authenticate"), `scope="connect:lake"`) {
			t.Errorf("WWW-Authenticate = %q, want the scope that is missing", a.Header.Get("WWW-Authenticate"))
		}
	}
	program := s.Program(t, "alice", "connect:lake")
	refused(t, program.Call(http.MethodPost, "/api/v1/connected-apps/"+app.ID+"/exchange", body(good), nil), 403, "insufficient_scope")
	refused(t, program.Call(http.MethodGet, "/api/v1/connected-apps/lake/token", nil, nil), 403, "insufficient_scope")
	refused(t, program.Call(http.MethodGet, "/api/v1/connected-apps", nil, nil), 403, "insufficient_scope")
	if n := provider.CountCalls(idp.Token, ""); n != 0 {
		t.Fatalf("%d token requests, want none yet", n)
	}

	var connected adminapi.ConnectedApp
	a := program.Call(http.MethodPost, path, body(good), &connected)
	if a.Status != 200 || connected.Status != "active" || connected.Account != "alice@example.com" || strings.Contains(a.Body, good.Reveal()) {
		t.Fatalf("exchange = %d %s", a.Status, a.Body)
	}
	rels := []string{}
	for _, action := range connected.Actions {
		rels = append(rels, action.Rel)
	}
	if !slices.Equal(rels, []string{"exchange", "revoke"}) || connected.ReauthorizeBy.IsZero() {
		t.Errorf("actions %v, until %v, want to exchange again before its end", rels, connected.ReauthorizeBy)
	}

	// What is wrong is said, and never repeated.
	bad := company.IssueJWT("alice", "elsewhere", time.Hour, nil)
	p := refused(t, program.Call(http.MethodPost, path, body(bad), nil), 422, "subject_token_invalid")
	if len(p.Errors) != 1 || p.Errors[0].Pointer != "/subject_token" || !strings.Contains(p.Detail, "must be lake") {
		t.Errorf("the refusal is %+v, want the field and the audience", p)
	}
	wrong := body(good)
	wrong["subject_token_type"] = "urn:ietf:params:oauth:token-type:saml2"
	if a := program.Call(http.MethodPost, path, wrong, nil); a.Status != 422 || strings.Contains(a.Body, good.Reveal()) {
		t.Errorf("another type = %d %s", a.Status, a.Body)
	}
	if a := program.Call(http.MethodPost, path, map[string]any{"subject_token": good.Reveal(), "actor_token": "x"}, nil); a.Status != 422 || strings.Contains(a.Body, good.Reveal()) {
		t.Errorf("an unknown member = %d %s", a.Status, a.Body)
	}
	alice := s.Browser(t).SignIn("alice")
	if a := alice.Call(http.MethodPost, path, body(company.IssueJWT("alice", "lake", time.Hour, nil)), nil); a.Status != 200 {
		t.Errorf("in a browser = %d %s", a.Status, a.Body)
	}
	refused(t, alice.Do(http.MethodPost, path, http.Header{"Content-Type": {"application/json"}, "Sec-Fetch-Site": {"cross-site"}}, "{}"), 403, "cross_origin")

	// And where the app does not say so, nobody.
	alice.Call(http.MethodGet, "/api/v1/oauth-apps/lake", nil, &app)
	var changed adminapi.OAuthApp
	alice.Call(http.MethodPatch, "/api/v1/oauth-apps/lake", map[string]any{"rev": app.Rev, "token_exchange": map[string]any{"subject_issuers": []any{}}}, &changed)
	if len(changed.TokenExchange.SubjectIssuers) != 0 || len(changed.TokenExchange.Audiences) != 1 {
		t.Errorf("after the change %+v, want the audiences as they were", changed.TokenExchange)
	}
	refused(t, program.Call(http.MethodPost, path, body(good), nil), 403, "exchange_not_allowed")
	p = refused(t, alice.Call(http.MethodPatch, "/api/v1/oauth-apps/lake", map[string]any{
		"rev": changed.Rev, "token_exchange": map[string]any{"subject_issuers": []map[string]any{{"issuer": "http://idp.example.com", "audience": ""}}},
	}, nil), 422, "invalid")
	var where []string
	for _, e := range p.Errors {
		where = append(where, e.Pointer)
	}
	if !slices.Equal(where, []string{"/token_exchange/subject_issuers/0/issuer", "/token_exchange/subject_issuers/0/audience"}) {
		t.Errorf("errors at %v, want both members", where)
	}
}

// TestATokenConnectsTheAppThatThereWas: as for hand-outs, what was allowed for one app is not for its successor.
func TestATokenConnectsTheAppThatThereWas(t *testing.T) {
	s, _, company, app := exchanging(t)
	program := s.Program(t, "alice", "connect:lake")
	if err := s.Apps.Delete(t.Context(), app.ID, "usr_admin"); err != nil {
		t.Fatal(err)
	}
	s.Move(time.Second)
	s.AddApp(t, "lake")
	a := program.Call(http.MethodPost, "/api/v1/connected-apps/lake/exchange", map[string]any{"subject_token": company.IssueJWT("alice", "lake", time.Hour, nil).Reveal()}, nil)
	refused(t, a, 403, "insufficient_scope")
}
