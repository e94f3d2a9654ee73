// Package oauthappstest holds the suite for oauthapps.Store: each promise that the interface makes, tried on a real
// database.
package oauthappstest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/domains"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/oauthapps"
)

// OtherDomain is the id of a domain, beside the default one, that a store under test knows.
const OtherDomain = "dom_other"

// Stores are the parts of one database that the suite looks at: apps, and the grants that keep one from being deleted.
type Stores struct {
	Apps   oauthapps.Store
	Grants connectedapps.Store
}

var (
	noon    = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	entry   = audit.Entry{Actor: "system", Action: audit.OAuthAppCreated, Outcome: "ok"}
	compare = cmp.Comparer(secret.Text.Equal)
)

// app returns an app with every field set that its maker sets.
func app(slug string) oauthapps.App {
	return oauthapps.App{
		Domain: domains.DefaultID, Name: "App " + slug, Slug: slug, Preset: "databricks", Host: "dbc.example.com",
		Issuer: "https://dbc.example.com/oidc", AuthURL: "https://dbc.example.com/authorize", TokenURL: "https://dbc.example.com/token",
		RevocationURL: "https://dbc.example.com/revoke", UserinfoURL: "https://dbc.example.com/userinfo", JWKSURL: "https://dbc.example.com/keys",
		IssInResponse: true, ClientID: "client-" + slug, ClientSecret: secret.New("secret of " + slug), AuthMethod: oauthapps.ClientSecretPost,
		Scopes: []string{"sql", "offline_access"}, AuthParams: map[string]string{"prompt": "consent"}, DataSources: []string{"default"},
		Paused: true, PausedNote: "for the audit", BrokenAt: noon, BrokenCode: "invalid_client", Origin: "api", SecretSet: noon,
		ClientSecretNext: secret.New("next secret of " + slug), NextSecretSet: noon.Add(time.Minute), NextInUse: true,
		PrivateKey: secret.New("key of " + slug), PrivateKeySet: noon.Add(2 * time.Minute), AssertionAudience: oauthapps.AudienceTokenEndpoint,
		PARURL: "https://dbc.example.com/par", PARRequired: true, IntrospectionURL: "https://dbc.example.com/introspect",
		Resources: []string{"https://api.example.com", "urn:x"}, DPoP: oauthapps.DPoPAuto, DPoPOffered: true, ExchangeAudiences: []string{"reports"},
		SubjectIssuers: []oauthapps.SubjectIssuer{{Issuer: "https://idp.example.com", Audience: "dbc"}}, HandOut: oauthapps.HandOutDeny,
	}
}

// TestStore checks the promises of oauthapps.Store. open returns stores that know the default domain and OtherDomain,
// hold no apps, and live until the test ends.
func TestStore(t *testing.T, open func(*testing.T) Stores) {
	create := func(t *testing.T, s oauthapps.Store, a oauthapps.App) oauthapps.App {
		t.Helper()
		got, err := s.CreateApp(t.Context(), a, entry)
		if err != nil {
			t.Fatalf("CreateApp = %v, want no error", err)
		}
		return got
	}

	t.Run("an app comes back as it was stored, by id and by slug", func(t *testing.T) {
		s := open(t).Apps
		want := app("databricks")
		got := create(t, s, want)
		want.ID, want.Rev, want.CreatedAt, want.UpdatedAt = got.ID, 1, got.CreatedAt, got.CreatedAt
		if diff := cmp.Diff(want, got, compare); diff != "" || got.ID == "" || got.CreatedAt.IsZero() {
			t.Errorf("CreateApp of id %q at %v (-want +got):\n%s", got.ID, got.CreatedAt, diff)
		}
		for _, ref := range []string{got.ID, got.Slug} {
			read, err := s.GetApp(t.Context(), ref)
			if diff := cmp.Diff(got, read, compare); err != nil || diff != "" {
				t.Errorf("GetApp(%q) = %v (-want +got):\n%s", ref, err, diff)
			}
		}
	})
	t.Run("times that the caller gives are kept", func(t *testing.T) {
		s := open(t).Apps
		a := app("databricks")
		a.CreatedAt, a.UpdatedAt = noon, noon.Add(time.Minute)
		got := create(t, s, a)
		if !got.CreatedAt.Equal(a.CreatedAt) || !got.UpdatedAt.Equal(a.UpdatedAt) {
			t.Errorf("CreateApp stored %v and %v, want %v and %v", got.CreatedAt, got.UpdatedAt, a.CreatedAt, a.UpdatedAt)
		}
		got.CreatedAt, got.UpdatedAt = noon.Add(time.Hour), noon.Add(time.Hour)
		got, err := s.UpdateApp(t.Context(), got, entry)
		if err != nil || !got.CreatedAt.Equal(noon) || !got.UpdatedAt.Equal(noon.Add(time.Hour)) {
			t.Errorf("UpdateApp stored %v and %v, %v, want %v and %v", got.CreatedAt, got.UpdatedAt, err, noon, noon.Add(time.Hour))
		}
	})
	t.Run("a public client has no secret, and an app need not have lists", func(t *testing.T) {
		s := open(t).Apps
		got := create(t, s, oauthapps.App{Domain: domains.DefaultID, Name: "n", Slug: "public", ClientID: "c"})
		read, err := s.GetApp(t.Context(), got.ID)
		if err != nil || !read.ClientSecret.Empty() || read.Scopes != nil || read.AuthParams != nil || !read.BrokenAt.IsZero() {
			t.Errorf("GetApp = %+v, %v, want no secret, nil lists and zero times", read, err)
		}
	})
	t.Run("an app that nobody made is not found", func(t *testing.T) {
		s := open(t).Apps
		for _, ref := range []string{"oap_none", "none", ""} {
			_, err := s.GetApp(t.Context(), ref)
			wantKind(t, "GetApp", err, fault.NotFound)
		}
		a := app("x")
		a.ID = "oap_none"
		_, err := s.UpdateApp(t.Context(), a, entry)
		wantKind(t, "UpdateApp", err, fault.NotFound)
		wantKind(t, "DeleteApp", s.DeleteApp(t.Context(), "oap_none", entry), fault.NotFound)
	})
	t.Run("a slug belongs to one app in the server", func(t *testing.T) {
		s := open(t).Apps
		errs := make([]error, 8)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() {
				a := app("same")
				if i%2 == 1 {
					a.Domain = OtherDomain
				}
				_, errs[i] = s.CreateApp(t.Context(), a, entry)
			})
		}
		wg.Wait()
		made := 0
		for _, err := range errs {
			if err == nil {
				made++
			} else {
				wantKind(t, "CreateApp", err, fault.Conflict)
			}
		}
		if made != 1 {
			t.Errorf("%d apps have one slug, want 1", made)
		}
	})
	t.Run("an app without a slug, with one like an id, or in no domain is refused", func(t *testing.T) {
		s := open(t).Apps
		_, err := s.CreateApp(t.Context(), app(""), entry)
		wantKind(t, "CreateApp without slug", err, fault.Invalid)
		_, err = s.CreateApp(t.Context(), app("oap_x"), entry)
		wantKind(t, "CreateApp with a slug like an id", err, fault.Invalid)
		lost := app("lost")
		lost.Domain = "dom_gone"
		_, err = s.CreateApp(t.Context(), lost, entry)
		wantKind(t, "CreateApp in no domain", err, fault.NotFound)
		broken := app("broken")
		broken.Name = "a\x00b"
		_, err = s.CreateApp(t.Context(), broken, entry)
		wantKind(t, "CreateApp with a null character", err, fault.Invalid)
	})
	t.Run("an update changes all but what never changes", func(t *testing.T) {
		s := open(t).Apps
		old := create(t, s, app("databricks"))
		next := oauthapps.App{
			ID: old.ID, Rev: old.Rev, Name: "Renamed", ClientID: "c2", ClientSecret: secret.New("s2"), AuthMethod: oauthapps.NoAuth,
			Domain: OtherDomain, Slug: "other", CreatedAt: noon.Add(-time.Hour),
		}
		got, err := s.UpdateApp(t.Context(), next, entry)
		if err != nil {
			t.Fatalf("UpdateApp = %v, want no error", err)
		}
		want := next
		if got.UpdatedAt.IsZero() {
			t.Error("UpdateApp set no UpdatedAt")
		}
		want.Domain, want.Slug, want.CreatedAt, want.UpdatedAt, want.Rev = old.Domain, old.Slug, old.CreatedAt, got.UpdatedAt, old.Rev+1
		if diff := cmp.Diff(want, got, compare); diff != "" {
			t.Errorf("UpdateApp (-want +got):\n%s", diff)
		}
		read, err := s.GetApp(t.Context(), old.ID)
		if diff := cmp.Diff(got, read, compare); err != nil || diff != "" {
			t.Errorf("GetApp = %v (-want +got):\n%s", err, diff)
		}
	})
	t.Run("one of many updates of one revision succeeds", func(t *testing.T) {
		s := open(t).Apps
		a := create(t, s, app("databricks"))
		errs := make([]error, 20)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { _, errs[i] = s.UpdateApp(t.Context(), a, entry) })
		}
		wg.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else {
				wantKind(t, "UpdateApp", err, fault.Conflict)
			}
		}
		read, err := s.GetApp(t.Context(), a.ID)
		if won != 1 || err != nil || read.Rev != a.Rev+1 {
			t.Errorf("%d updates succeeded and Rev = %d, %v, want 1 and %d", won, read.Rev, err, a.Rev+1)
		}
	})
	t.Run("apps are listed by domain or all, ordered by name", func(t *testing.T) {
		s := open(t).Apps
		for _, a := range []struct{ name, slug, domain string }{
			{"b", "1", domains.DefaultID}, {"A", "2", OtherDomain}, {"a", "3", domains.DefaultID}, {"C", "4", domains.DefaultID},
		} {
			x := app(a.slug)
			x.Name, x.Domain = a.name, a.domain
			create(t, s, x)
		}
		for _, tt := range []struct{ domain, want string }{{domains.DefaultID, "abC"}, {OtherDomain, "A"}, {"dom_none", ""}, {"", "AabC"}} {
			apps, err := s.ListApps(t.Context(), tt.domain)
			got := ""
			for _, a := range apps {
				got += a.Name
				if a.ClientSecret.Reveal() != "secret of "+a.Slug {
					t.Errorf("the listed app %s has another secret", a.Slug)
				}
			}
			if err != nil || got != tt.want {
				t.Errorf("ListApps(%q) = %q, %v, want %q", tt.domain, got, err, tt.want)
			}
		}
	})
	t.Run("an app with grants is not deleted", func(t *testing.T) {
		s := open(t)
		a := create(t, s.Apps, app("databricks"))
		k := connectedapps.Key{Principal: securitycontext.Principal{Realm: securitycontext.Local, Subject: "usr_alice"}, AppID: a.ID}
		_, err := s.Grants.Connect(t.Context(), connectedapps.Grant{Key: k, Domain: a.Domain, AccessToken: secret.New("t")}, "", entry)
		if err != nil {
			t.Fatalf("Connect = %v, want no error", err)
		}
		wantKind(t, "DeleteApp", s.Apps.DeleteApp(t.Context(), a.ID, entry), fault.Conflict)
		if _, err := s.Grants.Get(t.Context(), k); err != nil {
			t.Errorf("Get = %v, want the grant that was in the way", err)
		}
		if _, err := s.Grants.Delete(t.Context(), k, entry); err != nil {
			t.Fatalf("Delete = %v, want no error", err)
		}
		if err := s.Apps.DeleteApp(t.Context(), a.ID, entry); err != nil {
			t.Errorf("DeleteApp = %v, want no error", err)
		}
		_, err = s.Apps.GetApp(t.Context(), a.ID)
		wantKind(t, "GetApp", err, fault.NotFound)
		if again := create(t, s.Apps, app("databricks")); again.ID == a.ID {
			t.Errorf("the new app has the id %s of the deleted one", a.ID)
		}
	})
	t.Run("an app with grants is not moved", func(t *testing.T) {
		s := open(t)
		a := create(t, s.Apps, app("databricks"))
		k := connectedapps.Key{Principal: securitycontext.Principal{Realm: securitycontext.Local, Subject: "usr_alice"}, AppID: a.ID}
		if _, err := s.Grants.Connect(t.Context(), connectedapps.Grant{Key: k, Domain: a.Domain, AccessToken: secret.New("t")}, "", entry); err != nil {
			t.Fatalf("Connect = %v, want no error", err)
		}
		next := a
		next.TokenURL = "https://elsewhere.example.com/token"
		_, err := s.Apps.MoveApp(t.Context(), next, entry)
		wantKind(t, "MoveApp", err, fault.Conflict)
		if e, ok := errors.AsType[*fault.Error](err); !ok || e.Code != "app_has_grants" {
			t.Errorf("MoveApp = %v, want the code app_has_grants", err)
		}
		if got, err := s.Apps.GetApp(t.Context(), a.ID); err != nil || got.TokenURL != a.TokenURL || got.Rev != a.Rev {
			t.Errorf("GetApp = %s of revision %d, %v, want the app as it was", got.TokenURL, got.Rev, err)
		}
		if _, err := s.Grants.Delete(t.Context(), k, entry); err != nil {
			t.Fatalf("Delete = %v, want no error", err)
		}
		if got, err := s.Apps.MoveApp(t.Context(), next, entry); err != nil || got.TokenURL != next.TokenURL || got.Rev != a.Rev+1 {
			t.Errorf("MoveApp without grants = %s of revision %d, %v, want it stored", got.TokenURL, got.Rev, err)
		}
	})
	t.Run("no grant is left of an app that is deleted while people connect", func(t *testing.T) {
		s := open(t)
		a := create(t, s.Apps, app("databricks"))
		k := connectedapps.Key{Principal: securitycontext.Principal{Realm: securitycontext.Local, Subject: "usr_alice"}, AppID: a.ID}
		var connected, deleted error
		var wg sync.WaitGroup
		wg.Go(func() {
			_, connected = s.Grants.Connect(t.Context(), connectedapps.Grant{Key: k, Domain: a.Domain}, "", entry)
		})
		wg.Go(func() { deleted = s.Apps.DeleteApp(t.Context(), a.ID, entry) })
		wg.Wait()
		switch {
		case connected == nil:
			wantKind(t, "DeleteApp of an app with a grant", deleted, fault.Conflict)
		case deleted == nil:
			wantKind(t, "Connect to a deleted app", connected, fault.NotFound)
		default:
			t.Errorf("Connect = %v and DeleteApp = %v, want one of them to succeed", connected, deleted)
		}
	})
	t.Run("a caller who left hears canceled", func(t *testing.T) {
		s := open(t).Apps
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := s.CreateApp(ctx, app("x"), entry)
		wantKind(t, "CreateApp", err, fault.Canceled)
		_, err = s.ListApps(ctx, "")
		wantKind(t, "ListApps", err, fault.Canceled)
		_, err = s.GetApp(ctx, "x")
		wantKind(t, "GetApp", err, fault.Canceled)
	})
}

func wantKind(t *testing.T, what string, err error, want fault.Kind) {
	t.Helper()
	if got := fault.KindOf(err); err == nil || got != want {
		t.Errorf("%s = %v (kind %q), want %q", what, err, got, want)
	}
}
