package consent_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/behalf-project/behalf/internal/fronttest"
	"github.com/behalf-project/behalf/oauthapps"
)

func TestWhoIsSomebodyElseThereIsToldAndMayKeepIt(t *testing.T) {
	s := fronttest.Start(t, nil)
	s.AddApp(t, "warehouse")
	s.Account("bob@example.com")
	b := s.Browser(t).SignIn("alice")
	done := b.Get(b.Get(b.Allow(b.ToProvider("/connect/warehouse"))).Location)
	const notice = "You signed in to Warehouse as bob@example.com but here as alice@example.com."
	for _, want := range []string{notice, "Use another account", "/connect/warehouse?account=another", `data-next=""`} {
		if !strings.Contains(done.Body, want) {
			t.Errorf("the last page does not say %q:\n%s", want, done.Body)
		}
	}
	if again := b.Get("/connect/warehouse?account=another"); !strings.Contains(again.Body, `name="account" value="another"`) {
		t.Errorf("the page does not carry the wish on:\n%s", again.Body)
	}
	if to := b.ToProvider("/connect/warehouse?account=another"); !strings.Contains(to, "prompt=login") {
		t.Errorf("the provider is asked with %s, want prompt=login", to)
	}

	type connected struct {
		Status           string `json:"status"`
		IdentityMismatch *struct {
			There, Here, Detail string
			Actions             []struct{ Rel, Href, Label string }
		} `json:"identity_mismatch"`
	}
	var c connected
	b.Call(http.MethodGet, "/api/v1/connected-apps/warehouse", nil, &c)
	if c.IdentityMismatch == nil || c.IdentityMismatch.Detail != notice || len(c.IdentityMismatch.Actions) != 2 {
		t.Fatalf("the API says %+v", c)
	}
	c = connected{}
	b.Call(http.MethodPost, "/api/v1/connected-apps/warehouse/keep-account", nil, &c)
	if c.IdentityMismatch != nil || c.Status != "active" {
		t.Errorf("after it was kept: %+v", c)
	}
}

func TestAnEnforcedAppRefusesTheAccountOfSomebodyElse(t *testing.T) {
	s := fronttest.Start(t, nil)
	app := s.AddApp(t, "warehouse")
	app.IdentityMatch = oauthapps.MatchEnforce
	if _, err := s.Apps.Update(t.Context(), app, "usr_test"); err != nil {
		t.Fatal(err)
	}
	s.Account("alice@example.com@evil.example")
	b := s.Browser(t).SignIn("alice")
	for _, account := range []string{"bob@example.com", "alice@example.com@evil.example"} {
		s.Account(account)
		refused := b.Get(b.Allow(b.ToProvider("/connect/warehouse")))
		if refused.Status != http.StatusForbidden || !strings.Contains(refused.Body, "Not your account at Warehouse") || !strings.Contains(refused.Body, "Nothing was stored") {
			t.Errorf("%s: the callback answered %d:\n%s", account, refused.Status, refused.Body)
		}
		if granted(t, s, "alice", app) {
			t.Errorf("%s was connected", account)
		}
	}
}
