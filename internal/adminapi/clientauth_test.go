package adminapi_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/behalf-project/behalf/internal/adminapi"
	"github.com/behalf-project/behalf/internal/fronttest"
)

func TestAKeyIsMadeHereAndNeverLeaves(t *testing.T) {
	s := fronttest.Start(t, nil)
	alice := s.Browser(t).SignIn("alice")
	in := map[string]any{
		"name": "Warehouse", "auth_url": s.Provider.URL + "/authorize", "token_url": s.Provider.URL + "/token", "client_id": "behalf",
		"token_endpoint_auth_method": "private_key_jwt", "generate_private_key": "ES256",
	}
	var app adminapi.OAuthApp
	a := alice.Call(http.MethodPost, "/api/v1/oauth-apps", in, &app)
	if a.Status != 201 || !app.PrivateKey.Set || app.PrivateKey.SetAt.IsZero() || app.PrivateKey.JWKSURI != s.URL+"/oauth/jwks/warehouse" || app.ClientSecret.Set {
		t.Fatalf("create = %d %s", a.Status, a.Body)
	}
	kid := func(app adminapi.OAuthApp) string {
		t.Helper()
		var k struct{ Kid, Alg, D string }
		if err := json.Unmarshal(app.PrivateKey.PublicJWK, &k); err != nil || k.Kid == "" || k.Alg != "ES256" || k.D != "" {
			t.Errorf("public_jwk = %s, %v, want the public half of an ES256 key", app.PrivateKey.PublicJWK, err)
		}
		return k.Kid
	}
	path, first := "/api/v1/oauth-apps/warehouse", kid(app)
	var renamed, replaced adminapi.OAuthApp
	alice.Call(http.MethodPatch, path, map[string]any{"rev": app.Rev, "name": "Lake"}, &renamed)
	if kid(renamed) != first {
		t.Error("another name made another key")
	}
	alice.Call(http.MethodPatch, path, map[string]any{"rev": renamed.Rev, "generate_private_key": "ES256"}, &replaced)
	if kid(replaced) == first {
		t.Error("the key was not replaced")
	}
	p := refused(t, alice.Call(http.MethodPatch, path, map[string]any{"rev": replaced.Rev, "private_key": "-----BEGIN", "generate_private_key": "ES256"}, nil), 422, "invalid")
	if len(p.Errors) != 1 || p.Errors[0].Pointer != "/generate_private_key" {
		t.Errorf("errors = %+v", p.Errors)
	}
	p = refused(t, alice.Call(http.MethodPatch, path, map[string]any{"rev": replaced.Rev, "token_url": "https://elsewhere.example.com/token"}, nil), 422, "invalid")
	if len(p.Errors) != 1 || p.Errors[0].Pointer != "/private_key" {
		t.Errorf("errors = %+v, want the key made again for another server", p.Errors)
	}
	var basic adminapi.OAuthApp
	alice.Call(http.MethodPatch, path, map[string]any{"rev": replaced.Rev, "token_endpoint_auth_method": "client_secret_basic", "client_secret": fronttest.ClientSecret}, &basic)
	if basic.PrivateKey.Set || !basic.ClientSecret.Set {
		t.Errorf("with a secret instead: %+v %+v", basic.PrivateKey, basic.ClientSecret)
	}
}

func TestARolloverOfTheClientSecret(t *testing.T) {
	s := fronttest.Start(t, nil)
	const wrong = "the-secret-that-ended-1a2b"
	s.AddApp(t, "warehouse")
	alice, bob := s.Browser(t).SignIn("alice"), s.Browser(t).SignIn("bob")
	path := "/api/v1/oauth-apps/warehouse"
	var app adminapi.OAuthApp
	patch := func(change map[string]any) {
		t.Helper()
		change["rev"] = app.Rev
		app = adminapi.OAuthApp{}
		if a := alice.Call(http.MethodPatch, path, change, &app); a.Status != 200 {
			t.Fatalf("patch = %d %s", a.Status, a.Body)
		}
	}
	alice.Call(http.MethodGet, path, nil, &app)
	patch(map[string]any{"client_secret": wrong, "client_secret_next": fronttest.ClientSecret})
	if app.ClientSecret.EndsIn != "1a2b" || app.ClientSecretNext.EndsIn != "9f2a" || app.ClientSecretInUse != "client_secret" {
		t.Fatalf("both secrets: %+v %+v, %s", app.ClientSecret, app.ClientSecretNext, app.ClientSecretInUse)
	}
	bob.Get(bob.Allow(bob.ToProvider("/connect/warehouse")))
	alice.Call(http.MethodGet, path, nil, &app)
	if app.ClientSecretInUse != "client_secret_next" || app.Broken != nil || app.People["active"] != 1 {
		t.Errorf("after a consent: in use %s, broken %v, people %v", app.ClientSecretInUse, app.Broken, app.People)
	}
	// The rollover is over: nobody has to know the secret to keep the one that works.
	patch(map[string]any{"client_secret_next": ""})
	if app.ClientSecret.EndsIn != "9f2a" || app.ClientSecretNext.Set || app.ClientSecretInUse != "client_secret" {
		t.Errorf("after the rollover: %+v %+v, %s", app.ClientSecret, app.ClientSecretNext, app.ClientSecretInUse)
	}
	var connected adminapi.ConnectedApp
	bob.Call(http.MethodPost, "/api/v1/connected-apps/warehouse/refresh", nil, &connected)
	if connected.Status != "active" {
		t.Errorf("a refresh with it: %+v", connected)
	}
	// Ending it while it moves an endpoint does not send the saved secret there.
	a := alice.Call(http.MethodPatch, path, map[string]any{"rev": app.Rev, "client_secret_next": "", "token_url": "https://elsewhere.example.com/t"}, nil)
	if a.Status < 400 || !strings.Contains(a.Body, "/client_secret") && !strings.Contains(a.Body, "app_has_grants") {
		t.Errorf("a moved endpoint = %d %s, want it refused", a.Status, a.Body)
	}
}

func TestWhatAnAppAsksOfItsProviderIsKept(t *testing.T) {
	s := fronttest.Start(t, nil)
	s.AddApp(t, "warehouse")
	alice := s.Browser(t).SignIn("alice")
	var app, got adminapi.OAuthApp
	alice.Call(http.MethodGet, "/api/v1/oauth-apps/warehouse", nil, &app)
	change := map[string]any{
		"rev": app.Rev, "par_url": s.Provider.URL + "/par", "par_required": true, "introspection_url": s.Provider.URL + "/introspect",
		"resource": []string{"https://api.example.com"}, "dpop": "auto", "token_exchange": map[string]any{"audiences": []string{"reports"}},
	}
	a := alice.Call(http.MethodPatch, "/api/v1/oauth-apps/warehouse", change, &got)
	if a.Status != 200 || got.PARURL != s.Provider.URL+"/par" || !got.PARRequired || got.IntrospectionURL != s.Provider.URL+"/introspect" ||
		len(got.Resource) != 1 || got.DPoP != "auto" || len(got.TokenExchange.Audiences) != 1 {
		t.Errorf("patch = %d %s", a.Status, a.Body)
	}
	back := map[string]any{"rev": got.Rev, "dpop": "false", "resource": []string{}, "par_required": false, "par_url": "", "token_exchange": map[string]any{"audiences": []string{}}}
	got = adminapi.OAuthApp{}
	alice.Call(http.MethodPatch, "/api/v1/oauth-apps/warehouse", back, &got)
	if got.DPoP != "false" || len(got.Resource) != 0 || got.PARRequired || got.PARURL != "" || len(got.TokenExchange.Audiences) != 0 || got.IntrospectionURL == "" {
		t.Errorf("taken back: %+v", got)
	}
}
