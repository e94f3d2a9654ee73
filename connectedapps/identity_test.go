package connectedapps_test

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/oauthapps"
)

// withPerson gives everybody the same names here, and the provider and the data source others.
func withPerson(match oauthapps.IdentityMatch, here connectedapps.Person, there, inWarehouse string) option {
	return func(w *world, app *oauthapps.App) {
		app.IdentityMatch = match
		w.server.user = there
		w.here, w.inWarehouse = here, inWarehouse
		if there == "" {
			app.UserinfoURL = ""
		}
	}
}

// finish connects alice and returns what came of it.
func (w *world) finish() (connectedapps.Outcome, error) {
	_, state, code := w.begin(alice, "b1")
	return w.flow.Finish(w.t.Context(), connectedapps.Response{
		App: w.app.Slug, State: state, Code: secret.New(code), Issuer: w.app.Issuer, Browser: "b1", Principal: alice,
	})
}

func TestWhoSomebodyIsThereIsComparedWithWhoTheyAreHere(t *testing.T) {
	at := connectedapps.Person{Username: "alice", Email: "alice@corp.example"}
	for _, tt := range []struct {
		name, there string
		here        connectedapps.Person
		same        bool
	}{
		{"the same address", "alice@corp.example", at, true},
		{"the same address in capitals", "Alice@CORP.example", at, true},
		{"the username", "ALICE", at, true},
		{"another address", "bob@corp.example", at, false},
		{"a longer address", "alice@corp.example.evil", at, false},
		{"a shorter one", "alice@corp.exampl", at, false},
		{"the address with more behind another @ (CVE-2026-40574)", "alice@corp.example@evil.example", at, false},
		{"a plus part", "alice+x@corp.example", at, false},
		{"a space", "alice@corp.example ", at, false},
		{"a letter that only looks like it", "аlice@corp.example", at, false},                           // Cyrillic
		{"the Kelvin sign, which folds to k", "\u212Aim", connectedapps.Person{Username: "kim"}, false}, // U+212A
		{"the username at another host", "alice@evil.example", at, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, withPerson(oauthapps.MatchEnforce, tt.here, tt.there, ""))
			_, err := w.finish()
			if tt.same {
				if err != nil {
					t.Fatalf("Finish = %v, want a connection", err)
				}
				return
			}
			e, ok := errors.AsType[*fault.Error](err)
			if !ok || e.Kind != fault.Denied || e.Code != "identity_mismatch" && e.Code != "identity_unknown" {
				t.Fatalf("Finish = %v, want a refusal", err)
			}
			if _, err := w.db.Grants().Get(t.Context(), connectedapps.Key{Principal: alice, AppID: w.app.ID}); !errors.Is(err, fault.NotFound) {
				t.Errorf("the grant: %v, want none", err)
			}
		})
	}
}

func TestAnEnforcedMismatchStoresNothingAndGivesTheAccessBack(t *testing.T) {
	w := newWorld(t, withPerson(oauthapps.MatchEnforce, connectedapps.Person{Email: "alice@corp.example"}, "bob@corp.example", ""))
	_, err := w.finish()
	e := wantKind(t, err, fault.Denied, "identity_mismatch")
	if !strings.HasPrefix(e.Detail, "You signed in to Databricks as bob@corp.example but here as alice@corp.example.") {
		t.Errorf("Detail = %q", e.Detail)
	}
	if len(e.Actions) != 1 || e.Actions[0].Label != "Use another account" || e.Actions[0].Href != publicURL+"/connect/databricks?account=another" {
		t.Errorf("Actions = %+v, want another account", e.Actions)
	}
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	if !slices.Equal(w.server.revoked, []string{"refresh_token", "access_token"}) {
		t.Errorf("revoked at the provider: %q, want both tokens", w.server.revoked)
	}
	for _, f := range w.server.families {
		if !f.dead {
			t.Error("the tokens still work at the provider")
		}
	}
}

func TestAMismatchIsANoticeUntilTheAccountIsKept(t *testing.T) {
	w := newWorld(t, withPerson("", connectedapps.Person{Username: "alice", Email: "alice@corp.example"}, "Bob@corp.example", ""))
	w.connect(alice)
	c, err := w.tokens.Get(t.Context(), alice, w.app.Slug)
	if err != nil || c.Mismatch == nil {
		t.Fatalf("Get = %+v, %v, want a notice", c.Mismatch, err)
	}
	if want := "You signed in to Databricks as Bob@corp.example but here as alice@corp.example."; c.Mismatch.Detail != want {
		t.Errorf("Detail = %q, want %q", c.Mismatch.Detail, want)
	}
	if c.Status != connectedapps.Active {
		t.Errorf("status = %s, want active: it is only a notice", c.Status)
	}
	if a := c.Mismatch.Actions; len(a) != 2 || a[0].Rel != "reauthorize" || a[1].Rel != "keep_account" {
		t.Errorf("Actions = %+v", a)
	}
	w.mustToken(alice)
	if c, err = w.tokens.KeepAccount(t.Context(), alice, w.app.Slug); err != nil || c.Mismatch != nil {
		t.Fatalf("KeepAccount = %+v, %v, want no notice any more", c.Mismatch, err)
	}
	w.clock.advance(2 * time.Hour)
	w.mustToken(alice)
	if g := w.grant(alice); g.Mismatch != "" || g.Identity != "bob@corp.example" {
		t.Errorf("after a refresh: mismatch %q, identity %q", g.Mismatch, g.Identity)
	}
	_, err = w.tokens.KeepAccount(t.Context(), bob, w.app.Slug)
	wantKind(t, err, fault.NotFound, "not_found")
}

func TestWhereNobodySaysWhoItIsTheDataSourceIsAsked(t *testing.T) {
	here := connectedapps.Person{Username: "alice"}
	w := newWorld(t, withPerson(oauthapps.MatchEnforce, here, "", "ALICE"))
	if g := w.connect(alice); g.Account != "ALICE" || g.Identity != "alice" {
		t.Errorf("account %q, identity %q", g.Account, g.Identity)
	}
	w = newWorld(t, withPerson(oauthapps.MatchEnforce, here, "", ""))
	_, err := w.finish()
	wantKind(t, err, fault.Denied, "identity_unknown")
	w = newWorld(t, withPerson(oauthapps.MatchWarn, here, "", ""))
	if g := w.connect(alice); g.Mismatch != "" {
		t.Errorf("mismatch %q although nobody said who it is", g.Mismatch)
	}
	w = newWorld(t, withPerson(oauthapps.MatchOff, here, "bob", ""))
	if g := w.connect(alice); g.Mismatch != "" || g.Account != "bob" {
		t.Errorf("mismatch %q of %q although the app does not ask", g.Mismatch, g.Account)
	}
}

func TestAnAddressThatIsNotVerifiedIsNobodysName(t *testing.T) {
	here := connectedapps.Person{Username: "alice", Email: "alice@corp.example"}
	for _, verified := range []any{false, "false"} {
		w := newWorld(t, withPerson(oauthapps.MatchEnforce, here, "alice@corp.example", ""))
		w.server.mu.Lock()
		w.server.emailVerified = verified
		w.server.mu.Unlock()
		_, err := w.finish()
		wantKind(t, err, fault.Denied, "identity_unknown")
	}
}

func TestAnotherAccountAsksTheProviderToLetOneChoose(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change option
		want   string
	}{
		{"a provider without OpenID", func(*world, *oauthapps.App) {}, "login"},
		{"an OpenID provider", func(_ *world, a *oauthapps.App) { a.Scopes = []string{"openid"} }, "select_account"},
		{"an app that wants consent", func(_ *world, a *oauthapps.App) { a.AuthParams = map[string]string{"prompt": "consent"} }, "consent login"},
	} {
		w := newWorld(t, tt.change)
		a, err := w.flow.Start(context.Background(), alice, w.app.Slug, "")
		if err != nil {
			t.Fatal(err)
		}
		to, err := w.flow.Authorize(context.Background(), a.ID, alice, "b1", connectedapps.AnotherAccount)
		if err != nil {
			t.Fatal(err)
		}
		u, _ := url.Parse(to)
		if got := u.Query()["prompt"]; len(got) != 1 || got[0] != tt.want {
			t.Errorf("%s: prompt = %q, want %q", tt.name, got, tt.want)
		}
	}
}
