package sqlstore_test

import (
	"errors"
	"testing"
	"time"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/domains"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/internal/sqlstore"
	"github.com/behalf-project/behalf/oauthapps"
)

// What figures are made of says the same of every grant as the grant itself, and holds no token of it.
func TestFactsHaveTheStatusOfTheirGrants(t *testing.T) {
	onBoth(t, func(t *testing.T, db *sqlstore.DB) {
		now := time.Now().UTC().Truncate(time.Millisecond)
		app, err := db.OAuthApps().CreateApp(t.Context(), oauthapps.App{ID: "oap_a", Domain: domains.DefaultID, Slug: "a", Scopes: []string{"sql"}}, entry)
		if err != nil {
			t.Fatal(err)
		}
		for subject, g := range map[string]connectedapps.Grant{
			"active":   {RefreshToken: secret.New("canary"), ExpiresAt: now.Add(time.Hour)},
			"ending":   {ExpiresAt: now.Add(time.Minute)},
			"ended":    {ExpiresAt: now.Add(-time.Minute)},
			"unasked":  {RefreshToken: secret.New("canary"), Requested: []string{"other"}},
			"tokened":  {RefreshToken: secret.New("canary"), ExpiresAt: now.Add(-time.Minute)},
			"tokenend": {RefreshToken: secret.New("canary"), RefreshExpiresAt: now.Add(-time.Minute), ExpiresAt: now.Add(-time.Minute)},
		} {
			g.Key = connectedapps.Key{Principal: securitycontext.Principal{Realm: securitycontext.Local, Subject: subject}, AppID: app.ID}
			g.Domain = domains.DefaultID
			g.AccessToken, g.ConnectedAt, g.RefreshedAt = secret.New("canary"), now.Add(-time.Hour), now.Add(-time.Hour)
			if g.Requested == nil {
				g.Requested = app.Scopes
			}
			if _, err := db.Grants().Connect(t.Context(), g, "", entry); err != nil {
				t.Fatal(err)
			}
		}
		whole, err := db.Grants().Everyone(t.Context(), "", 100)
		if err != nil || len(whole) != 6 {
			t.Fatalf("%d grants, %v", len(whole), err)
		}
		want := map[string]connectedapps.Status{}
		kinds := map[connectedapps.Status]bool{}
		for _, g := range whole {
			want[g.ID] = connectedapps.StatusOf(g, app, now)
			kinds[want[g.ID]] = true
		}
		if len(kinds) < 4 {
			t.Errorf("the grants have these statuses only: %v", kinds)
		}
		n := 0
		if err := db.Grants().Facts(t.Context(), 6, func(g connectedapps.Grant) {
			n++
			if got := connectedapps.StatusOf(g, app, now); got != want[g.ID] || g.Key.AppID != app.ID {
				t.Errorf("the facts of %s say %s, the grant %s", g.ID, got, want[g.ID])
			}
			if g.AccessToken.Reveal() == "canary" || g.RefreshToken.Reveal() == "canary" {
				t.Error("a token was opened")
			}
		}); err != nil || n != 6 {
			t.Errorf("%d facts, %v", n, err)
		}
		if err := db.Grants().Facts(t.Context(), 5, func(connectedapps.Grant) { t.Error("one was looked at") }); !errors.Is(err, fault.TooMany) {
			t.Errorf("with one more than may be: %v", err)
		}
	})
}

func TestTheKeyThatSealsHasAnAge(t *testing.T) {
	onBoth(t, func(t *testing.T, db *sqlstore.DB) {
		made, err := db.Keys().SealingSince(t.Context())
		if err != nil || time.Since(made) < 0 || time.Since(made) > 5*time.Minute {
			t.Errorf("it seals since %v, %v", made, err)
		}
	})
}
