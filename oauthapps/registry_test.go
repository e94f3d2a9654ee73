package oauthapps_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/notify"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/internal/sqlstore/sqlstoretest"
	"github.com/behalf-project/behalf/oauthapps"
)

type fixture struct {
	*oauthapps.Registry
	domain string
	store  oauthapps.Store
	news   int
}

func newRegistry(t *testing.T, change ...func(*oauthapps.Config)) *fixture {
	t.Helper()
	db := sqlstoretest.OpenSQLite(t, nil)
	d, err := db.Domains().GetDomain(t.Context(), "default")
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{domain: d.ID, store: db.OAuthApps()}
	db.News().Subscribe(func(n notify.News) {
		if n.Topic == notify.OAuthAppChanged && n.AppID != "" {
			f.news++
		}
	})
	cfg := oauthapps.Config{Store: f.store, PublicURL: "https://data.example.com/behalf/", Bus: db.News()}
	for _, c := range change {
		c(&cfg)
	}
	f.Registry = oauthapps.New(cfg)
	return f
}

func (f *fixture) app(change func(*oauthapps.App)) oauthapps.App {
	a := oauthapps.App{
		Domain: f.domain, Name: "Databricks (prod)", Preset: "databricks", Host: "dbc-1.cloud.databricks.com",
		ClientID: "id", ClientSecret: oauthapps.NewSecret("secret"), DataSources: []string{"lake"},
	}
	if change != nil {
		change(&a)
	}
	return a
}

func (f *fixture) create(t *testing.T, change func(*oauthapps.App)) oauthapps.App {
	t.Helper()
	a, err := f.Create(t.Context(), f.app(change), "usr_admin")
	if err != nil {
		t.Fatalf("Create = %v", err)
	}
	return a
}

func TestRedirectURI(t *testing.T) {
	r := newRegistry(t)
	if got, want := r.RedirectURI("databricks"), "https://data.example.com/behalf/oauth/callback/databricks"; got != want {
		t.Errorf("RedirectURI = %q, want %q", got, want)
	}
}

func TestPresetsDeriveWhatFollowsFromTheHost(t *testing.T) {
	r := newRegistry(t)
	for i, tt := range []struct {
		preset, host, auth, token, scopes string
	}{
		{"databricks", "dbc-1.cloud.databricks.com", "https://dbc-1.cloud.databricks.com/oidc/v1/authorize", "https://dbc-1.cloud.databricks.com/oidc/v1/token", "sql offline_access"},
		{"databricks", " https://DBC-1.cloud.databricks.com/ ", "https://dbc-1.cloud.databricks.com/oidc/v1/authorize", "https://dbc-1.cloud.databricks.com/oidc/v1/token", "sql offline_access"},
		{"databricks", "http://127.0.0.1:8443", "http://127.0.0.1:8443/oidc/v1/authorize", "http://127.0.0.1:8443/oidc/v1/token", "sql offline_access"},
		{"snowflake", "my_org-my_account", "https://my-org-my-account.snowflakecomputing.com/oauth/authorize", "https://my-org-my-account.snowflakecomputing.com/oauth/token-request", "refresh_token"},
		{"snowflake", "xy12345.eu-central-1", "https://xy12345.eu-central-1.snowflakecomputing.com/oauth/authorize", "https://xy12345.eu-central-1.snowflakecomputing.com/oauth/token-request", "refresh_token"},
		{"snowflake", "a-b.snowflakecomputing.com", "https://a-b.snowflakecomputing.com/oauth/authorize", "https://a-b.snowflakecomputing.com/oauth/token-request", "refresh_token"},
	} {
		a := r.create(t, func(a *oauthapps.App) { a.Preset, a.Host, a.Slug = tt.preset, tt.host, fmt.Sprint("app-", i) })
		if a.AuthURL != tt.auth || a.TokenURL != tt.token || strings.Join(a.Scopes, " ") != tt.scopes || a.AuthMethod != oauthapps.ClientSecretBasic {
			t.Errorf("%s %q: %s %s %v %s", tt.preset, tt.host, a.AuthURL, a.TokenURL, a.Scopes, a.AuthMethod)
		}
	}
	a := r.create(t, func(a *oauthapps.App) { a.TokenURL, a.Slug = "https://proxy.example.com/token", "explicit" })
	if a.TokenURL != "https://proxy.example.com/token" || a.AuthURL != "https://dbc-1.cloud.databricks.com/oidc/v1/authorize" {
		t.Errorf("an explicit URL did not win: %s %s", a.AuthURL, a.TokenURL)
	}
	for _, p := range oauthapps.Presets() {
		if !strings.Contains(p.Steps, "{redirect_uri}") || !strings.HasPrefix(p.DocsURL, "https://") {
			t.Errorf("preset %s has no steps with the redirect URI, or no docs", p.Name)
		}
	}
}

func TestEveryMistakeIsNamedAtItsPlace(t *testing.T) {
	r := newRegistry(t)
	generic := func(a *oauthapps.App) {
		a.Preset, a.Host, a.AuthURL, a.TokenURL = "oauth2", "", "https://idp.example.com/a", "https://idp.example.com/t"
	}
	for _, tt := range []struct {
		name   string
		change func(*oauthapps.App)
		want   string // pointers and codes
	}{
		{"an empty app", func(a *oauthapps.App) { *a = oauthapps.App{Domain: a.Domain} },
			"/name required /auth_url required /token_url required /client_id required /client_secret required"},
		{"a name that turns around", func(a *oauthapps.App) { a.Name = "Databricks \u202e(prod)" }, "/name invalid"},
		{"a preset that is almost one", func(a *oauthapps.App) { a.Preset = "databrick" }, "/preset unknown"},
		{"http outside loopback", func(a *oauthapps.App) { generic(a); a.TokenURL = "http://idp.example.com/t" }, "/token_url invalid"},
		{"http on loopback is fine", func(a *oauthapps.App) { generic(a); a.TokenURL = "http://localhost:1/t" }, ""},
		{"credentials, a fragment, a path and ftp", func(a *oauthapps.App) {
			generic(a)
			a.AuthURL, a.TokenURL, a.RevocationURL, a.UserinfoURL = "https://u:p@idp.example.com/a", "https://idp.example.com/t#x", "/revoke", "ftp://idp.example.com/"
		}, "/auth_url invalid /token_url invalid /revocation_url invalid /userinfo_url invalid"},
		{"a host with a path", func(a *oauthapps.App) { a.Host = "dbc-1.cloud.databricks.com/sql" }, "/host invalid"},
		{"a slug with capitals", func(a *oauthapps.App) { a.Slug = "Data" }, "/slug invalid"},
		{"a slug that goes up", func(a *oauthapps.App) { a.Slug = "../x" }, "/slug invalid"},
		{"a name that no slug can be made of", func(a *oauthapps.App) { a.Name = "データ" }, "/slug required"},
		{"an assertion without a key, beside a secret", func(a *oauthapps.App) { a.AuthMethod = oauthapps.PrivateKeyJWT }, "/client_secret unused /private_key required"},
		{"a key that is none, for an issuer that is not known", func(a *oauthapps.App) {
			a.AuthMethod, a.ClientSecret, a.PrivateKey = oauthapps.PrivateKeyJWT, oauthapps.Secret{}, oauthapps.NewSecret("secret-value")
			a.AssertionAudience = oauthapps.AudienceIssuer
		}, "/assertion_audience invalid /private_key invalid"},
		{"a key and an audience without use", func(a *oauthapps.App) {
			a.PrivateKey, a.AssertionAudience = oauthapps.NewSecret("secret-value"), oauthapps.AudienceTokenEndpoint
		}, "/private_key unused /assertion_audience unused"},
		{"a next secret that is the same", func(a *oauthapps.App) { a.ClientSecretNext = a.ClientSecret }, "/client_secret_next invalid"},
		{"a next secret without use", func(a *oauthapps.App) {
			a.AuthMethod, a.ClientSecret, a.ClientSecretNext = oauthapps.NoAuth, oauthapps.Secret{}, oauthapps.NewSecret("secret-value")
		}, "/client_secret_next unused"},
		{"pushed requests that have nowhere to go", func(a *oauthapps.App) { a.PARRequired = true }, "/par_url required"},
		{"a resource with a fragment and one that is a path", func(a *oauthapps.App) { a.Resources = []string{"https://api.example.com/#x", "/sql"} }, "/resource/0 invalid /resource/1 invalid"},
		{"a resource as a parameter", func(a *oauthapps.App) { a.AuthParams = map[string]string{"resource": "https://api.example.com"} }, "/auth_params/resource reserved"},
		{"another word for dpop", func(a *oauthapps.App) { a.DPoP = "sometimes" }, "/dpop unknown"},
		{"another word for hand_out", func(a *oauthapps.App) { a.HandOut = "never" }, "/hand_out unknown"},
		{"issuers of subject tokens that are none, and one without an audience", func(a *oauthapps.App) {
			a.SubjectIssuers = []oauthapps.SubjectIssuer{
				{Issuer: "http://idp.example.com", Audience: "lake"}, {Issuer: "https://idp.example.com"}, {Issuer: "https://idp.example.com?x=1", Audience: "lake\n\x00"},
			}
		}, "/token_exchange/subject_issuers/0/issuer invalid /token_exchange/subject_issuers/1/audience required /token_exchange/subject_issuers/2/issuer invalid /token_exchange/subject_issuers/2/audience invalid"},
		{"another method", func(a *oauthapps.App) { a.AuthMethod = "client_secret" }, "/token_endpoint_auth_method unknown"},
		{"a secret without use", func(a *oauthapps.App) { a.AuthMethod = oauthapps.NoAuth }, "/client_secret unused"},
		{"a scope with a quote and a placeholder", func(a *oauthapps.App) { a.Scopes = []string{"sql", `a"b`, "session:role:<ROLE>"} }, "/scopes/1 invalid /scopes/2 invalid"},
		{"parameters that are ours", func(a *oauthapps.App) {
			a.AuthParams = map[string]string{"State": "x", "code_challenge_method": "plain"}
		},
			"/auth_params/State reserved /auth_params/code_challenge_method reserved"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := r.Create(t.Context(), r.app(func(a *oauthapps.App) { a.Slug = ""; tt.change(a) }), "usr_admin")
			if tt.want == "" {
				if err != nil {
					t.Fatalf("Create = %v", err)
				}
				return
			}
			e, ok := errors.AsType[*fault.Error](err)
			if !ok || e.Kind != fault.Invalid {
				t.Fatalf("Create = %v, want fault.Invalid", err)
			}
			var got []string
			for _, f := range e.Fields {
				got = append(got, f.Pointer, f.Code)
				if f.Detail == "" || strings.Contains(f.Detail, "secret-value") {
					t.Errorf("%s: %q", f.Pointer, f.Detail)
				}
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("fields %q, want %q", strings.Join(got, " "), tt.want)
			}
		})
	}
	_, err := r.Create(t.Context(), r.app(func(a *oauthapps.App) { a.Preset = "databrick" }), "usr_admin")
	if e, _ := errors.AsType[*fault.Error](err); e == nil || !strings.Contains(e.Fields[0].Detail, `did you mean "databricks"?`) {
		t.Errorf("Create = %v, want the nearest preset named", err)
	}
}

func TestWhatPeoplePasteIsTidied(t *testing.T) {
	r := newRegistry(t)
	a := r.create(t, func(a *oauthapps.App) {
		a.Name, a.ClientID, a.ClientSecret = " Databricks (prod) ", " id\n", oauthapps.NewSecret(" s3 \n")
		a.Scopes, a.DataSources = []string{" sql", "sql", ""}, []string{"lake ", "lake"}
		a.SubjectIssuers = []oauthapps.SubjectIssuer{{Issuer: " https://idp.example.com ", Audience: "lake"}, {Issuer: "https://idp.example.com", Audience: " lake"}}
	})
	if len(a.SubjectIssuers) != 1 || a.SubjectIssuers[0].Issuer != "https://idp.example.com" || a.HandOut != oauthapps.HandOutAllow {
		t.Errorf("stored %+v %q", a.SubjectIssuers, a.HandOut)
	}
	if a.Name != "Databricks (prod)" || a.Slug != "databricks-prod" || a.ClientID != "id" || a.ClientSecret.Reveal() != "s3" ||
		len(a.Scopes) != 1 || len(a.DataSources) != 1 || a.SecretSet.IsZero() || a.Origin != oauthapps.FromAPI {
		t.Errorf("stored %+v", a)
	}
}

func TestSlugsAreUniqueAndFrozen(t *testing.T) {
	r := newRegistry(t)
	a := r.create(t, nil)
	_, err := r.Create(t.Context(), r.app(nil), "usr_admin")
	if e, _ := errors.AsType[*fault.Error](err); e == nil || e.Kind != fault.Conflict || e.Code != "slug_taken" {
		t.Errorf("Create with the same slug = %v", err)
	}
	a.Slug, a.Domain, a.Name = "other", "dom_other", "Renamed"
	if a, err = r.Update(t.Context(), a, "usr_admin"); err != nil || a.Slug != "databricks-prod" || a.Domain != r.domain || a.Name != "Renamed" {
		t.Errorf("Update = %+v, %v, want slug and domain as they were", a, err)
	}
}

func TestUpdate(t *testing.T) {
	r := newRegistry(t)
	a := r.create(t, nil)
	stale := a
	a.Host, a.SecretSet = "dbc-2.cloud.databricks.com", time.Time{} // the secret was entered again
	a, err := r.Update(t.Context(), a, "usr_admin")
	if err != nil || a.TokenURL != "https://dbc-2.cloud.databricks.com/oidc/v1/token" {
		t.Fatalf("Update = %s, %v, want the token URL of the new host", a.TokenURL, err)
	}
	if got, err := r.Get(t.Context(), a.Slug); err != nil || got.Host != a.Host || got.ClientSecret.Reveal() != "secret" {
		t.Errorf("Get after Update = %+v, %v", got, err)
	}
	_, err = r.Update(t.Context(), stale, "usr_admin")
	if fault.KindOf(err) != fault.Conflict {
		t.Errorf("Update of what was changed meanwhile = %v, want a conflict", err)
	}
	a.AuthMethod = oauthapps.NoAuth
	if a, err = r.Update(t.Context(), a, "usr_admin"); err != nil || !a.ClientSecret.Empty() {
		t.Errorf("Update to none = %v, secret kept: %v", err, !a.ClientSecret.Empty())
	}
	if r.news != 3 {
		t.Errorf("%d news, want one for each change", r.news)
	}
}

// An admin may replace a client secret and never read it, and never sees a token: neither goes where an admin points.
func TestCredentialsDoNotFollowAnEndpointToAnotherServer(t *testing.T) {
	const evil = "https://evil.example.com"
	for _, tt := range []struct {
		name   string
		change func(*oauthapps.App)
		want   string // pointer of the refused field; empty: it is stored
	}{
		{"the token endpoint at another host", func(a *oauthapps.App) { a.TokenURL = evil + "/token" }, "/client_secret"},
		{"at another port", func(a *oauthapps.App) { a.TokenURL = "https://dbc-1.cloud.databricks.com:8443/oidc/v1/token" }, "/client_secret"},
		{"the revocation endpoint", func(a *oauthapps.App) { a.RevocationURL = evil + "/revoke" }, "/client_secret"},
		{"the userinfo endpoint, which is sent access tokens", func(a *oauthapps.App) { a.UserinfoURL = evil + "/me" }, "/client_secret"},
		{"the host that they follow from", func(a *oauthapps.App) { a.Host = "evil.cloud.databricks.com" }, "/client_secret"},
		{"an issuer whose metadata moves them", func(a *oauthapps.App) { a.Issuer, a.Host, a.Preset, a.AuthURL, a.TokenURL = evil, "", "oidc", "", "" }, "/client_secret"},
		{"an issuer that moves userinfo alone", func(a *oauthapps.App) { a.Issuer = evil }, "/client_secret"},
		{"the same, with the secret entered", func(a *oauthapps.App) { a.TokenURL, a.SecretSet = evil+"/token", time.Time{} }, ""},
		{"with another secret", func(a *oauthapps.App) { a.TokenURL, a.ClientSecret = evil+"/token", oauthapps.NewSecret("new") }, ""},
		{"another path of the same server", func(a *oauthapps.App) { a.TokenURL = "https://DBC-1.cloud.databricks.com/oauth2/token" }, ""},
		{"another page to send people to", func(a *oauthapps.App) { a.AuthURL = "https://login.example.com/authorize" }, ""},
		{"another name", func(a *oauthapps.App) { a.Name = "Lake" }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRegistry(t, func(c *oauthapps.Config) {
				c.Discover = func(_ context.Context, issuer string) (oauthapps.Metadata, error) {
					return oauthapps.Metadata{
						Issuer: issuer, AuthURL: issuer + "/a", TokenURL: issuer + "/t", UserinfoURL: issuer + "/me", JWKSURL: issuer + "/keys",
					}, nil
				}
			})
			a := r.create(t, nil)
			tt.change(&a)
			got, err := r.Update(t.Context(), a, "usr_admin")
			e, _ := errors.AsType[*fault.Error](err)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("Update = %v, want it stored", err)
			case tt.want != "" && (e == nil || len(e.Fields) != 1 || e.Fields[0].Pointer != tt.want):
				t.Errorf("Update = %s, %v, want it refused at %s", got.TokenURL, err, tt.want)
			}
		})
	}
}

// An issuer that nothing was taken from yet names the endpoints of the next update. So the secret is asked for with the
// issuer: between the two steps nothing would look moved.
func TestCredentialsDoNotFollowAnIssuerInTwoSteps(t *testing.T) {
	const evil = "https://evil.example.com"
	r := newRegistry(t, func(c *oauthapps.Config) {
		c.Discover = func(_ context.Context, issuer string) (oauthapps.Metadata, error) {
			return oauthapps.Metadata{Issuer: issuer, AuthURL: issuer + "/a", TokenURL: issuer + "/t", JWKSURL: issuer + "/keys"}, nil
		}
	})
	a := r.create(t, func(a *oauthapps.App) {
		a.Preset, a.Host, a.AuthURL, a.TokenURL = "oauth2", "", "https://idp.example.com/a", "https://idp.example.com/t"
	})
	a.Issuer = evil
	stored, err := r.Update(t.Context(), a, "usr_admin")
	if e, _ := errors.AsType[*fault.Error](err); e == nil || len(e.Fields) != 1 || e.Fields[0].Pointer != "/client_secret" {
		t.Errorf("an issuer at another server = %v, want it refused at /client_secret", err)
	}
	if err == nil { // the second step
		stored.TokenURL = ""
		stored, err = r.Update(t.Context(), stored, "usr_admin")
		t.Errorf("then an empty token_url = %q, %v, with the saved secret", stored.TokenURL, err)
	}

	a.SecretSet = time.Time{}
	if _, err := r.Update(t.Context(), a, "usr_admin"); err != nil {
		t.Errorf("the issuer with the secret entered = %v, want it stored", err)
	}
	b := r.create(t, func(b *oauthapps.App) {
		b.Name, b.Preset, b.Host, b.AuthURL, b.TokenURL = "Other", "oauth2", "", "https://idp.example.com/a", "https://idp.example.com/t"
	})
	b.Issuer = "https://idp.example.com"
	if b, err = r.Update(t.Context(), b, "usr_admin"); err != nil || b.JWKSURL != "https://idp.example.com/keys" {
		t.Errorf("the issuer of the same server = %q, %v, want it stored without the secret", b.JWKSURL, err)
	}
}

func TestAnAppWithGrantsIsNotMoved(t *testing.T) {
	db := sqlstoretest.OpenSQLite(t, nil)
	r := newRegistry(t, func(c *oauthapps.Config) { c.Store = db.OAuthApps() })
	a := r.create(t, nil)
	k := connectedapps.Key{Principal: securitycontext.Principal{Realm: securitycontext.Local, Subject: "usr_alice"}, AppID: a.ID}
	g := connectedapps.Grant{Key: k, Domain: a.Domain, AccessToken: oauthapps.NewSecret("t"), RefreshToken: oauthapps.NewSecret("r")}
	if _, err := db.Grants().Connect(t.Context(), g, "", audit.Entry{Actor: "usr_alice", Action: audit.GrantCreated, Outcome: "ok"}); err != nil {
		t.Fatal(err)
	}
	next := a
	next.TokenURL, next.ClientSecret = "https://evil.example.com/token", oauthapps.NewSecret("whatever")
	_, err := r.Update(t.Context(), next, "usr_admin")
	if e, _ := errors.AsType[*fault.Error](err); e == nil || e.Kind != fault.Conflict || e.Code != "app_has_grants" {
		t.Errorf("Update = %v, want app_has_grants: the refresh tokens of people would go there", err)
	}
	a.Name = "Renamed"
	if _, err := r.Update(t.Context(), a, "usr_admin"); err != nil {
		t.Errorf("another name while people are connected: %v", err)
	}
}

// The file may say where an app is, and not send the tokens of people there.
func TestADeclaredAppWithGrantsIsNotMoved(t *testing.T) {
	db := sqlstoretest.OpenSQLite(t, nil)
	r := newRegistry(t, func(c *oauthapps.Config) { c.Store = db.OAuthApps() })
	declare := func(host string) error {
		return r.Declare(t.Context(), r.domain, []oauthapps.App{
			{Name: "databricks", Preset: "databricks", Host: host, ClientID: "id", ClientSecret: oauthapps.NewSecret("s")},
		})
	}
	if err := declare("dbc-1.cloud.databricks.com"); err != nil {
		t.Fatal(err)
	}
	a, err := r.Get(t.Context(), "databricks")
	if err != nil {
		t.Fatal(err)
	}
	k := connectedapps.Key{Principal: securitycontext.Principal{Realm: securitycontext.Local, Subject: "usr_alice"}, AppID: a.ID}
	g := connectedapps.Grant{Key: k, Domain: a.Domain, AccessToken: oauthapps.NewSecret("t"), RefreshToken: oauthapps.NewSecret("r")}
	if _, err := db.Grants().Connect(t.Context(), g, "", audit.Entry{Actor: "usr_alice", Action: audit.GrantCreated, Outcome: "ok"}); err != nil {
		t.Fatal(err)
	}
	err = declare("dbc-2.cloud.databricks.com")
	if e, _ := errors.AsType[*fault.Error](err); e == nil || e.Kind != fault.Conflict || e.Code != "app_has_grants" {
		t.Errorf("Declare = %v, want app_has_grants: the refresh tokens of people would go there", err)
	}
	if now, _ := r.Get(t.Context(), "databricks"); now.TokenURL != a.TokenURL {
		t.Errorf("the app is at %s now, want it unmoved", now.TokenURL)
	}
	if _, err := db.Grants().Delete(t.Context(), k, audit.Entry{Actor: "usr_admin", Action: audit.GrantRevoked, Outcome: "ok"}); err != nil {
		t.Fatal(err)
	}
	if err := declare("dbc-2.cloud.databricks.com"); err != nil {
		t.Errorf("Declare without grants = %v", err)
	}
}

func TestAnAuthorizationUnderWayIsNotFinishedAtAnotherServer(t *testing.T) {
	db := sqlstoretest.OpenSQLite(t, nil)
	r := newRegistry(t, func(c *oauthapps.Config) { c.Store = db.OAuthApps() })
	a := r.create(t, nil)
	begun := connectedapps.Authorization{
		ID: "con_1", Principal: securitycontext.Principal{Realm: securitycontext.Local, Subject: "usr_alice"}, AppID: a.ID, ReturnTo: "/",
		CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Minute), Browser: "b", StateHash: "s", Verifier: oauthapps.NewSecret("v"),
	}
	if err := db.Authorizations().CreateAuthorization(t.Context(), begun); err != nil {
		t.Fatal(err)
	}
	a.Name = "Renamed"
	a, err := r.Update(t.Context(), a, "usr_admin")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Authorizations().GetAuthorization(t.Context(), begun.ID); err != nil {
		t.Errorf("after another name: %v, want it to go on", err)
	}
	a.TokenURL, a.ClientSecret = "https://elsewhere.example.com/token", oauthapps.NewSecret("new")
	if _, err := r.Update(t.Context(), a, "usr_admin"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Authorizations().TakeAuthorization(t.Context(), "s", time.Now()); fault.KindOf(err) != fault.Gone {
		t.Errorf("after another token endpoint: %v, want it over: its code and verifier would go there", err)
	}
}

func TestForSource(t *testing.T) {
	r := newRegistry(t)
	named := r.create(t, func(a *oauthapps.App) { a.Name, a.DataSources = "A names it", []string{"lake"} })
	r.create(t, func(a *oauthapps.App) { a.Name, a.Slug, a.DataSources = "Z by key", "databricks", nil })
	find := func(domain, source, key string) string {
		t.Helper()
		a, ok, err := r.ForSource(t.Context(), domain, source, key)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return "none"
		}
		return a.Slug
	}
	if got := find(r.domain, "lake", "databricks"); got != "a-names-it" {
		t.Errorf("the app that names the source does not win: %s", got)
	}
	if got := find(r.domain, "other", "databricks"); got != "databricks" {
		t.Errorf("by credentials key: %s", got)
	}
	if got := find(r.domain, "other", "snowflake"); got != "none" {
		t.Errorf("an app for nobody: %s", got)
	}
	if got := find("dom_other", "lake", "databricks"); got != "none" {
		t.Errorf("an app of another domain: %s", got)
	}
	if _, err := r.Pause(t.Context(), named.ID, "", "usr_admin"); err != nil {
		t.Fatal(err)
	}
	if got := find(r.domain, "lake", "databricks"); got != "databricks" {
		t.Errorf("with the first paused: %s", got)
	}
	if got := find(r.domain, "lake", "snowflake"); got != "a-names-it" {
		t.Errorf("a paused app is better than none, because it says so: %s", got)
	}
}

func TestDeclare(t *testing.T) {
	r := newRegistry(t)
	ctx := t.Context()
	declare := func(apps ...oauthapps.App) error { return r.Declare(ctx, r.domain, apps) }
	dbx := oauthapps.App{Name: "databricks", Preset: "databricks", Host: "dbc-1.cloud.databricks.com", ClientID: "id", ClientSecret: oauthapps.NewSecret("s")}
	snow := oauthapps.App{Name: "snowflake", Preset: "snowflake", Host: "a-b", ClientID: "id", ClientSecret: oauthapps.NewSecret("s")}
	if err := declare(dbx, snow); err != nil {
		t.Fatal(err)
	}
	first, err := r.Get(ctx, "databricks")
	if err != nil || first.Origin != oauthapps.FromFile {
		t.Fatalf("Get = %+v, %v", first, err)
	}
	for name, do := range map[string]func() error{
		"Update": func() error { _, err := r.Update(ctx, first, "usr_admin"); return err },
		"Pause":  func() error { _, err := r.Pause(ctx, first.ID, "", "usr_admin"); return err },
		"Delete": func() error { return r.Delete(ctx, first.ID, "usr_admin") },
	} {
		if e, _ := errors.AsType[*fault.Error](do()); e == nil || e.Kind != fault.Conflict || e.Code != "managed_by_file" {
			t.Errorf("%s of a declared app = %v, want managed_by_file", name, e)
		}
	}

	if err := declare(dbx, snow); err != nil {
		t.Fatal(err)
	}
	if again, _ := r.Get(ctx, "databricks"); again.Rev != first.Rev {
		t.Error("declaring the same again wrote it again")
	}
	dbx.SubjectIssuers, dbx.HandOut = []oauthapps.SubjectIssuer{{Issuer: "https://idp.example.com", Audience: "dbx"}}, oauthapps.HandOutDeny
	if err := declare(dbx, snow); err != nil {
		t.Fatal(err)
	}
	if a, _ := r.Get(ctx, "databricks"); len(a.SubjectIssuers) != 1 || a.HandOut != oauthapps.HandOutDeny {
		t.Errorf("a declaration whose tokens changed: %+v %q", a.SubjectIssuers, a.HandOut)
	}
	dbx.SubjectIssuers, dbx.HandOut = nil, "" // taken out of the file again
	if err := declare(dbx, snow); err != nil {
		t.Fatal(err)
	}
	if a, _ := r.Get(ctx, "databricks"); len(a.SubjectIssuers) != 0 || a.HandOut != oauthapps.HandOutAllow {
		t.Errorf("a declaration without them: %+v %q", a.SubjectIssuers, a.HandOut)
	}
	dbx.ClientSecret = oauthapps.NewSecret("new")
	if err := declare(dbx); err != nil {
		t.Fatal(err)
	}
	if a, _ := r.Get(ctx, "databricks"); a.ID != first.ID || a.ClientSecret.Reveal() != "new" {
		t.Errorf("a changed declaration: %+v", a)
	}
	if a, _ := r.Get(ctx, "snowflake"); !a.Paused || a.PausedNote == "" {
		t.Errorf("an app that is gone from the file is not paused: %+v", a)
	}
	if err := declare(dbx, snow); err != nil {
		t.Fatal(err)
	}
	if a, _ := r.Get(ctx, "snowflake"); a.Paused {
		t.Error("an app that came back is still paused")
	}

	err = declare(oauthapps.App{Name: "a", Preset: "oauth2"}, oauthapps.App{Name: "A", Preset: "oauth2"})
	e, _ := errors.AsType[*fault.Error](err)
	if e == nil || len(e.Fields) != 9 || e.Fields[0].Pointer != "/oauth_apps/0/auth_url" || e.Fields[8].Pointer != "/oauth_apps/1/name" {
		t.Errorf("Declare of two wrong apps = %+v", e)
	}
}

func TestAnIssuerThatDoesNotAnswerAtStartIsAskedAgain(t *testing.T) {
	down := true
	r := newRegistry(t, func(c *oauthapps.Config) {
		c.Discover = func(_ context.Context, issuer string) (oauthapps.Metadata, error) {
			if down {
				return oauthapps.Metadata{}, fault.New(fault.Invalid, "The issuer did not answer.")
			}
			return oauthapps.Metadata{Issuer: issuer, AuthURL: issuer + "/a", TokenURL: issuer + "/t", JWKSURL: issuer + "/j", IssInResponse: true}, nil
		}
	})
	app := oauthapps.App{Name: "corp", Preset: "oidc", Issuer: "https://idp.example.com", ClientID: "id", ClientSecret: oauthapps.NewSecret("s")}
	if err := r.Declare(t.Context(), r.domain, []oauthapps.App{app}); err != nil {
		t.Fatalf("Declare = %v, want the server to start", err)
	}
	a, _ := r.Get(t.Context(), "corp")
	if _, err := r.Ready(t.Context(), a); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Ready = %v, want unavailable", err)
	}
	down = false
	if a, err := r.Ready(t.Context(), a); err != nil || a.AuthURL != "https://idp.example.com/a" || !a.IssInResponse {
		t.Errorf("Ready = %+v, %v", a, err)
	}
	if a, _ = r.Get(t.Context(), "corp"); a.TokenURL != "https://idp.example.com/t" {
		t.Errorf("what was discovered is not kept: %+v", a)
	}
	if err := r.Declare(t.Context(), r.domain, []oauthapps.App{app}); err != nil {
		t.Fatal(err)
	}
	if a, _ = r.Get(t.Context(), "corp"); a.TokenURL != "https://idp.example.com/t" {
		t.Errorf("declaring again lost what was discovered: %+v", a)
	}

	down = true
	_, err := r.Create(t.Context(), r.app(func(a *oauthapps.App) { a.Preset, a.Host, a.Issuer = "oidc", "", "https://idp2.example.com" }), "usr_admin")
	if e, _ := errors.AsType[*fault.Error](err); e == nil || e.Fields[0].Pointer != "/issuer" || e.Fields[0].Code != "discovery_failed" {
		t.Errorf("Create = %v, want discovery_failed at /issuer", err)
	}
}

func TestAnIssuerThatFollowsFromTheHostMovesWithIt(t *testing.T) {
	r := newRegistry(t, func(c *oauthapps.Config) {
		c.Discover = func(_ context.Context, issuer string) (oauthapps.Metadata, error) {
			return oauthapps.Metadata{
				Issuer: issuer, AuthURL: issuer + "authorize", TokenURL: issuer + "oauth/token", RevocationURL: issuer + "oauth/revoke", JWKSURL: issuer + "keys", IssInResponse: true,
			}, nil
		}
	})
	a := r.create(t, func(a *oauthapps.App) {
		a.Preset, a.Host, a.AuthParams = "auth0", "one.auth0.com", map[string]string{"audience": "https://warehouse.example.com"}
	})
	if a.Issuer != "https://one.auth0.com/" || a.TokenURL != "https://one.auth0.com/oauth/token" || !a.IssInResponse {
		t.Fatalf("created %+v", a)
	}
	a.Host, a.ClientSecret, a.SecretSet = "two.auth0.com", oauthapps.NewSecret("another"), time.Time{}
	moved, err := r.Update(t.Context(), a, "usr_admin")
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range []string{moved.Issuer, moved.AuthURL, moved.TokenURL, moved.RevocationURL, moved.JWKSURL} {
		if !strings.HasPrefix(u, "https://two.auth0.com/") {
			t.Errorf("%q stayed behind: %+v", u, moved)
		}
	}
	moved.Host = "three.auth0.com" // and its secret does not go along by itself
	if _, err := r.Update(t.Context(), moved, "usr_admin"); fault.KindOf(err) != fault.Invalid {
		t.Errorf("Update with the saved secret = %v, want fault.Invalid", err)
	}
}

// stuckStore is a store that can be taken away.
type stuckStore struct {
	oauthapps.Store
	down  bool
	reads int
}

func (s *stuckStore) ListApps(ctx context.Context, domain string) ([]oauthapps.App, error) {
	s.reads++
	if s.down {
		return nil, errors.New("no route to host")
	}
	return s.Store.ListApps(ctx, domain)
}

func TestAppsServeFromMemory(t *testing.T) {
	now := time.Now()
	store := &stuckStore{}
	r := newRegistry(t, func(c *oauthapps.Config) {
		store.Store, c.Store = c.Store, store
		c.Now = func() time.Time { return now }
	})
	a := r.create(t, nil)
	for range 100 {
		if _, err := r.Get(t.Context(), a.ID); err != nil {
			t.Fatal(err)
		}
	}
	if store.reads != 1 {
		t.Errorf("%d reads for 100 calls in a moment, want 1", store.reads)
	}
	store.down = true
	now = now.Add(59 * time.Second)
	if _, err := r.Get(t.Context(), a.ID); err != nil {
		t.Errorf("Get while the store is away for 59 s = %v, want it from memory", err)
	}
	now = now.Add(2 * time.Second)
	_, err := r.Get(t.Context(), a.ID)
	if e, _ := errors.AsType[*fault.Error](err); e == nil || e.Kind != fault.Unavailable || e.Code != "store_unavailable" {
		t.Errorf("Get after a minute = %v, want store_unavailable", err)
	}
}

// News of another process may be lost. What says so ends what is in memory.
func TestWhenAnythingMayHaveChangedAppsAreReadAgain(t *testing.T) {
	here := newRegistry(t)
	a := here.create(t, nil)
	var news notify.Bus
	deaf := oauthapps.New(oauthapps.Config{Store: here.store, Bus: &news, Fresh: time.Hour})
	paused := func() bool {
		got, err := deaf.Get(t.Context(), a.ID)
		if err != nil {
			t.Fatal(err)
		}
		return got.Paused
	}
	before := paused()
	if _, err := here.Pause(t.Context(), a.ID, "", "usr_admin"); err != nil {
		t.Fatal(err)
	}
	inMemory := paused()
	news.Publish(notify.News{Topic: notify.Everything})
	if after := paused(); before || inMemory || !after {
		t.Errorf("paused = %v before, %v from memory, %v read again, want false, false, true", before, inMemory, after)
	}
}
