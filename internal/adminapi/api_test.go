package adminapi_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/adminapi"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fronttest"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/oauthapps"
)

// refused checks that an answer is a problem with this status and code.
func refused(t *testing.T, a fronttest.Answer, status int, code string) adminapi.Problem {
	t.Helper()
	var p adminapi.Problem
	if err := json.Unmarshal([]byte(a.Body), &p); err != nil {
		t.Fatalf("status %d with no problem: %s", a.Status, a.Body)
	}
	if a.Status != status || p.Status != status || p.Code != code || p.RequestID != "req_test" || p.Detail == "" ||
		a.Header.Get("Content-Type") != "application/problem+json" || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("answer = %d %s %s, want %d %s", a.Status, a.Header.Get("Content-Type"), a.Body, status, code)
	}
	return p
}

func TestSignInByTheAPI(t *testing.T) {
	s := fronttest.Start(t, nil)
	b := s.Browser(t)
	refused(t, b.Call(http.MethodGet, "/api/v1/auth/me", nil, nil), 401, "not_signed_in")
	refused(t, b.Call(http.MethodPost, "/api/v1/auth/login", map[string]string{"username": "alice", "password": "x"}, nil), 401, "invalid_credentials")
	refused(t, b.Call(http.MethodPost, "/api/v1/auth/login", map[string]string{"password": "x"}, nil), 422, "invalid")
	refused(t, b.Call(http.MethodPost, "/api/v1/auth/login", map[string]string{"username": "a", "email": "b", "password": "x"}, nil), 422, "invalid")

	var in adminapi.LoginResponse
	a := b.Call(http.MethodPost, "/api/v1/auth/login", map[string]string{"email": "alice@example.com", "password": fronttest.Passwords["alice"], "rd": "/query"}, &in)
	if a.Status != 200 || in.RedirectTo != "/query" || !strings.Contains(a.Header.Get("Set-Cookie"), "; HttpOnly; SameSite=Lax") {
		t.Errorf("login = %d %s, cookie attributes %q", a.Status, a.Body, strings.SplitN(a.Header.Get("Set-Cookie"), ";", 2)[1:])
	}
	var me adminapi.Me
	b.Call(http.MethodGet, "/api/v1/auth/me", nil, &me)
	if me.Username != "alice" || !slices.Equal(me.Roles, []string{"admin"}) || !slices.Equal(me.Methods, []string{"password"}) ||
		me.Session.IdleExpiresAt.Sub(me.Session.AuthenticatedAt) != 7*24*time.Hour || me.Session.AbsoluteExpiresAt.Sub(me.Session.AuthenticatedAt) != 90*24*time.Hour {
		t.Errorf("me = %+v", me)
	}
	other := s.Browser(t).SignIn("alice")
	if a := b.Call(http.MethodPost, "/api/v1/auth/logout", map[string]bool{"everywhere": true}, nil); a.Status != 204 || a.Body != "" {
		t.Errorf("logout = %d %s", a.Status, a.Body)
	}
	refused(t, other.Call(http.MethodGet, "/api/v1/auth/me", nil, nil), 401, "session_ended")
	for n := 0; n < 4; n++ {
		b.Call(http.MethodPost, "/api/v1/auth/login", map[string]string{"username": "bob", "password": "x"}, nil)
	}
	b.Call(http.MethodPost, "/api/v1/auth/login", map[string]string{"username": "bob", "password": "x"}, nil)
	a = b.Call(http.MethodPost, "/api/v1/auth/login", map[string]string{"username": "bob", "password": fronttest.Passwords["bob"]}, nil)
	refused(t, a, 429, "too_many_failures")
	if a.Header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After = %q, want 1", a.Header.Get("Retry-After"))
	}
}

// TestWhoMayDoWhat goes through every operation of the document: one that is added is tested here by itself.
func TestWhoMayDoWhat(t *testing.T) {
	s := fronttest.Start(t, nil)
	s.AddApp(t, "warehouse")
	nobody, bob := s.Browser(t), s.Browser(t).SignIn("bob")
	s.AddApp(t, "other")
	powerless := s.Program(t, "alice", "token:other", "connect:other")
	noAdmin := s.Program(t, "bob", "account", "operate")
	var program *fronttest.Browser
	var document struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			OperationID string
			Security    []map[string][]string
		}
	}
	if a := nobody.Call(http.MethodGet, "/api/v1/openapi.json", nil, &document); document.OpenAPI != "3.1.0" {
		t.Fatalf("the document: %d %s", a.Status, a.Body)
	}
	n := 0
	for _, path := range slices.Sorted(maps.Keys(document.Paths)) {
		for method, op := range document.Paths[path] {
			n++
			program = s.Program(t, "alice", "account", "operate", "token:warehouse", "connect:warehouse") // a new one: an operation may revoke it
			t.Run(op.OperationID, func(t *testing.T) {
				target := strings.NewReplacer("{id}", "warehouse", "{app}", "warehouse").Replace(path)
				var body any
				if method != "get" && method != "delete" {
					body = map[string]string{"nonsense": "x"} // who may not is refused before the body is looked at
				}
				call := func(b *fronttest.Browser) fronttest.Answer {
					return b.Call(strings.ToUpper(method), target, body, nil)
				}
				if op.OperationID == "login" {
					if len(op.Security) != 0 {
						t.Error("signing in needs a session")
					}
					return
				}
				var bySession, byToken bool
				for _, way := range op.Security {
					bySession = bySession || way["session"] != nil
					byToken = byToken || way["bearer"] != nil
				}
				// What the document says of tokens is so: with every scope there is where it says bearer, nowhere else.
				if a := call(program); byToken && (a.Status == 401 || strings.Contains(a.Body, "insufficient_scope")) {
					t.Errorf("a token with every scope is answered %d %s", a.Status, a.Body)
				} else if !byToken {
					refused(t, a, 403, "session_required")
				}
				if !strings.HasSuffix(path, "/tokens/current") && byToken { // which is about the token itself
					refused(t, call(powerless), 403, "insufficient_scope")
				}
				if !bySession {
					refused(t, call(nobody), 401, "token_required")
					refused(t, call(bob), 403, "bearer_required")
					return
				}
				refused(t, call(nobody), 401, "not_signed_in")
				if op.OperationID == "logout" {
					return
				}
				admin := slices.ContainsFunc([]string{"oauth-apps", "revocations", "deliveries", "audit", "keys", "orchestrators"}, func(area string) bool {
					return strings.HasPrefix(path, "/api/v1/"+area)
				})
				if admin {
					refused(t, call(bob), 403, "admin_required")
					if byToken {
						refused(t, call(noAdmin), 403, "admin_required")
					}
				} else if a := call(bob); strings.Contains(a.Body, "admin_required") || a.Status == 401 {
					t.Errorf("bob is answered %d %s", a.Status, a.Body)
				}
			})
		}
	}
	if n < 20 {
		t.Errorf("the document has %d operations, want all of them", n)
	}
}

func TestAnOAuthAppFromTheFormToItsEnd(t *testing.T) {
	s := fronttest.Start(t, nil)
	alice, bob := s.Browser(t).SignIn("alice"), s.Browser(t).SignIn("bob")
	in := map[string]any{
		"name": "Warehouse", "auth_url": s.Provider.URL + "/authorize", "token_url": s.Provider.URL + "/token", "revocation_url": s.Provider.URL + "/revoke",
		"client_id": "behalf", "client_secret": fronttest.ClientSecret, "scopes": []string{"sql", "offline_access"}, "data_sources": []string{"default"},
	}
	var app adminapi.OAuthApp
	a := alice.Call(http.MethodPost, "/api/v1/oauth-apps", in, &app)
	if a.Status != 201 || app.Slug != "warehouse" || app.RedirectURI != s.URL+"/oauth/callback/warehouse" || app.Origin != "api" || app.TokenEndpointAuthMethod != "client_secret_basic" {
		t.Fatalf("create = %d %s", a.Status, a.Body)
	}
	if !app.ClientSecret.Set || app.ClientSecret.EndsIn != "9f2a" || app.ClientSecret.SetAt.IsZero() {
		t.Errorf("client_secret = %+v, want that it is set and ends in 9f2a", app.ClientSecret)
	}
	if p := refused(t, alice.Call(http.MethodPost, "/api/v1/oauth-apps", in, nil), 409, "slug_taken"); len(p.Errors) != 1 || p.Errors[0].Pointer != "/slug" {
		t.Errorf("errors = %+v, want one at /slug", p.Errors)
	}

	// A change: absent fields stay, the secret too.
	path := "/api/v1/oauth-apps/" + app.ID
	var changed adminapi.OAuthApp
	alice.Call(http.MethodPatch, path, map[string]any{"rev": app.Rev, "name": "The warehouse", "data_sources": []string{}}, &changed)
	if changed.Name != "The warehouse" || len(changed.DataSources) != 0 || len(changed.Scopes) != 2 || changed.ClientSecret.EndsIn != "9f2a" || changed.Rev == app.Rev || changed.Slug != "warehouse" {
		t.Errorf("patch = %+v", changed)
	}
	refused(t, alice.Call(http.MethodPatch, path, map[string]any{"rev": app.Rev, "name": "Too late"}, nil), 409, "conflict")
	rev := changed.Rev
	changed = adminapi.OAuthApp{}
	alice.Call(http.MethodPatch, path, map[string]any{"rev": rev, "client_secret": "short"}, &changed)
	if changed.ClientSecret.EndsIn != "" || !changed.ClientSecret.Set {
		t.Errorf("a short secret is shown as %+v, want no part of it", changed.ClientSecret)
	}
	alice.Call(http.MethodPatch, path, map[string]any{"rev": changed.Rev, "client_secret": fronttest.ClientSecret}, &changed)

	// Another server is not sent the secret that was entered for this one.
	rev = changed.Rev
	p := refused(t, alice.Call(http.MethodPatch, path, map[string]any{"rev": rev, "userinfo_url": "https://elsewhere.example.com/me"}, nil), 422, "invalid")
	if len(p.Errors) != 1 || p.Errors[0].Pointer != "/client_secret" {
		t.Errorf("errors = %+v, want one at /client_secret", p.Errors)
	}
	for _, userinfo := range []string{"https://elsewhere.example.com/me", ""} {
		alice.Call(http.MethodPatch, path, map[string]any{"rev": rev, "userinfo_url": userinfo, "client_secret": fronttest.ClientSecret}, &changed)
		if changed.UserinfoURL != userinfo || changed.Rev == rev {
			t.Errorf("with the secret entered again, the same one: %+v", changed)
		}
		rev = changed.Rev
	}

	// A person connects it; the admin sees how many there are, and no token.
	var connected adminapi.ConnectedApp
	bob.Call(http.MethodGet, "/api/v1/connected-apps/warehouse", nil, &connected)
	if connected.Status != "not_connected" || len(connected.Actions) != 1 || connected.Actions[0].Rel != "authorize" {
		t.Errorf("before: %+v", connected)
	}
	refused(t, bob.Call(http.MethodPost, "/api/v1/connected-apps/warehouse/refresh", nil, nil), 403, "authorization_required")
	var begun adminapi.AuthorizeResponse
	bob.Call(http.MethodPost, "/api/v1/connected-apps/warehouse/authorize", map[string]string{"return_to": "/query"}, &begun)
	if begun.AuthorizeURL != s.URL+"/connect/warehouse?session="+begun.Session {
		t.Errorf("authorize = %+v", begun)
	}
	var attempt adminapi.ConnectSession
	bob.Call(http.MethodGet, "/api/v1/connect-sessions/"+begun.Session, nil, &attempt)
	if attempt.Done || attempt.App != "warehouse" {
		t.Errorf("the attempt = %+v, want it not done", attempt)
	}
	refused(t, alice.Call(http.MethodGet, "/api/v1/connect-sessions/"+begun.Session, nil, nil), 404, "not_found")
	bob.Get(bob.Allow(bob.ToProvider(strings.TrimPrefix(begun.AuthorizeURL, s.URL))))
	bob.Call(http.MethodGet, "/api/v1/connect-sessions/"+begun.Session, nil, &attempt)
	if !attempt.Done || attempt.Outcome != "connected" {
		t.Errorf("the attempt = %+v, want it connected", attempt)
	}
	connected = adminapi.ConnectedApp{}
	bob.Call(http.MethodPost, "/api/v1/connected-apps/warehouse/refresh", nil, &connected)
	if connected.Status != "active" || connected.AccessExpiresAt.IsZero() {
		t.Errorf("after a refresh: %+v", connected)
	}
	if a := bob.Call(http.MethodPost, "/api/v1/connected-apps/warehouse/refresh", nil, nil); a.Header.Get("Retry-After") == "" {
		t.Errorf("a second refresh answered %d %v, want to wait", a.Status, a.Header)
	} else {
		refused(t, a, 429, "too_many")
	}
	alice.Call(http.MethodGet, path, nil, &app)
	if !maps.Equal(app.People, map[string]int{"active": 1}) {
		t.Errorf("people = %v, want one active", app.People)
	}

	// Pause and resume.
	alice.Call(http.MethodPost, path+"/pause", map[string]string{"note": "moving"}, &app)
	bob.Call(http.MethodGet, "/api/v1/connected-apps/warehouse", nil, &connected)
	if !app.Paused || connected.Status != "disabled" || connected.PausedNote != "moving" {
		t.Errorf("paused: %+v, %+v", app, connected)
	}
	refused(t, bob.Call(http.MethodPost, "/api/v1/connected-apps/warehouse/authorize", nil, nil), 403, "app_disabled")
	alice.Call(http.MethodPost, path+"/resume", nil, &app)
	if app.Paused {
		t.Error("it is still paused")
	}

	// The end.
	refused(t, alice.Call(http.MethodDelete, path, nil, nil), 409, "app_has_grants")
	if a := bob.Call(http.MethodDelete, "/api/v1/connected-apps/warehouse", nil, nil); a.Status != 204 || a.Body != "" {
		t.Errorf("revoke = %d %s", a.Status, a.Body)
	}
	s.Provider.Set(func(p *fronttest.Provider) {
		if !slices.Contains(p.Revoked, fronttest.RefreshToken) {
			t.Errorf("revoked at the provider: %d tokens, want the refresh token among them", len(p.Revoked))
		}
	})
	refused(t, bob.Call(http.MethodDelete, "/api/v1/connected-apps/warehouse", nil, nil), 404, "not_found")
	bob.Get(bob.Allow(bob.ToProvider("/connect/warehouse")))
	if a := alice.Call(http.MethodDelete, path+"?revoke=true", nil, nil); a.Status != 204 {
		t.Errorf("delete = %d %s", a.Status, a.Body)
	}
	refused(t, alice.Call(http.MethodGet, path, nil, nil), 404, "not_found")
}

func TestAnAppOfTheConfigurationFileIsReadOnly(t *testing.T) {
	s := fronttest.Start(t, nil)
	err := s.Apps.Declare(t.Context(), fronttest.Domain, []oauthapps.App{{
		Name: "Declared", Slug: "declared", Preset: "oauth2", AuthURL: s.Provider.URL + "/authorize", TokenURL: s.Provider.URL + "/token",
		ClientID: "behalf", ClientSecret: secret.New(fronttest.ClientSecret),
	}})
	if err != nil {
		t.Fatal(err)
	}
	alice := s.Browser(t).SignIn("alice")
	var app adminapi.OAuthApp
	alice.Call(http.MethodGet, "/api/v1/oauth-apps/declared", nil, &app)
	if app.Origin != "file" {
		t.Fatalf("app = %+v", app)
	}
	path := "/api/v1/oauth-apps/" + app.ID
	refused(t, alice.Call(http.MethodPatch, path, map[string]any{"rev": app.Rev, "name": "x"}, nil), 409, "managed_by_file")
	refused(t, alice.Call(http.MethodPost, path+"/pause", map[string]string{"note": "x"}, nil), 409, "managed_by_file")
	refused(t, alice.Call(http.MethodPost, path+"/resume", nil, nil), 409, "managed_by_file")
	refused(t, alice.Call(http.MethodDelete, path, nil, nil), 409, "managed_by_file")

	bob := s.Browser(t).SignIn("bob")
	bob.Get(bob.Allow(bob.ToProvider("/connect/declared")))
	refused(t, alice.Call(http.MethodDelete, path+"?revoke=true", nil, nil), 409, "managed_by_file")
	var connected adminapi.ConnectedApp
	if bob.Call(http.MethodGet, "/api/v1/connected-apps/declared", nil, &connected); connected.Status != "active" {
		t.Errorf("the refused deletion left bob %s, want active", connected.Status)
	}
}

func TestRequestsOfTheWrongForm(t *testing.T) {
	s := fronttest.Start(t, nil)
	alice := s.Browser(t).SignIn("alice")
	post := func(path, contentType, body string) fronttest.Answer {
		return alice.Do(http.MethodPost, path, http.Header{"Content-Type": {contentType}, "Sec-Fetch-Site": {"same-origin"}}, body)
	}
	const apps = "/api/v1/oauth-apps"
	p := refused(t, post(apps, "application/json", `{"clientid":"canary","client_secret":5,"scopes":"sql"}`), 422, "invalid")
	got := map[string]string{}
	for _, e := range p.Errors {
		got[e.Pointer] = e.Code
	}
	if want := map[string]string{"/clientid": "unknown_field", "/client_secret": "invalid", "/scopes": "invalid", "/name": "required", "/client_id": "required"}; !maps.Equal(got, want) {
		t.Errorf("errors = %v, want %v", got, want)
	}
	if p := refused(t, post(apps, "application/json", `{"name":"x","client_id":"y","preset":"databrics"}`), 422, "invalid"); len(p.Errors) == 0 || !strings.HasPrefix(p.Errors[0].Pointer, "/") {
		t.Errorf("errors = %+v, want pointers", p.Errors)
	}
	for _, body := range []string{`{"name":`, `{"name":"x"} {}`, ``} {
		refused(t, post(apps, "application/json", body), 400, "malformed")
	}
	for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx", "text/plain; application/json"} {
		refused(t, post(apps, kind, `{"name":"x","client_id":"y"}`), 415, "unsupported_media_type")
		ignored := http.Header{"Content-Type": {kind}, "Sec-Fetch-Site": {"same-origin"}} // by an operation that has no body
		refused(t, alice.Do(http.MethodDelete, "/api/v1/tokens/x", ignored, "x"), 415, "unsupported_media_type")
	}
	refused(t, post(apps, "application/json", `{"name":"`+strings.Repeat("a", 1<<20)+`"}`), 413, "body_too_large")
	refused(t, alice.Do(http.MethodPost, apps, http.Header{"Content-Type": {"application/json"}, "Sec-Fetch-Site": {"cross-site"}}, "{}"), 403, "cross_origin")
	refused(t, alice.Do(http.MethodPost, apps, http.Header{"Content-Type": {"application/json"}, "Origin": {"https://evil.example"}}, "{}"), 403, "cross_origin")
	refused(t, alice.Do(http.MethodDelete, apps+"/x", http.Header{"Sec-Fetch-Site": {"same-site"}}, ""), 403, "cross_origin")
	refused(t, alice.Get("/api/v1/nothing"), 404, "no_such_endpoint")
	refused(t, alice.Get("/api/v1/oauth-apps?nonsense=1"), 422, "invalid")
	a := alice.Call(http.MethodPut, apps, map[string]string{}, nil)
	refused(t, a, 405, "method_not_allowed")
	if a.Header.Get("Allow") != "GET, POST" {
		t.Errorf("Allow = %q", a.Header.Get("Allow"))
	}
}

func TestWhatIsKnownOfProviders(t *testing.T) {
	s := fronttest.Start(t, nil)
	alice := s.Browser(t).SignIn("alice")
	var presets adminapi.PresetList
	alice.Call(http.MethodGet, "/api/v1/oauth-apps/presets", nil, &presets)
	for _, p := range presets.Items {
		if !strings.Contains(p.ProviderSteps, "{redirect_uri}") || p.DefaultAuthMethod == "" || p.Title == "" || p.DocsURL == "" {
			t.Errorf("preset = %+v", p)
		}
		if p.HostLabel != "" && !strings.Contains(p.Derived["token_url"], "{host}") {
			t.Errorf("%s derives %v", p.Name, p.Derived)
		}
	}
	byName := map[string]adminapi.Preset{}
	for _, p := range presets.Items {
		byName[p.Name] = p
	}
	if len(byName) < 18 {
		t.Errorf("%d presets, want those of every provider", len(byName))
	}
	if p := byName["auth0"]; len(p.Params) != 1 || !p.Params[0].Required || len(p.Quirks) == 0 || !strings.HasPrefix(p.Quirks[0].Source, "https://") {
		t.Errorf("auth0 = %+v, want its parameter and what is special about it", p)
	}
	if p := byName["google"]; p.HostLabel != "" || p.Derived["issuer"] != "https://accounts.google.com" {
		t.Errorf("google = %+v, want that everything follows", p)
	}
	var uri adminapi.RedirectURI
	alice.Call(http.MethodGet, "/api/v1/oauth-apps/redirect-uri?slug=lake", nil, &uri)
	if uri.RedirectURI != s.URL+"/oauth/callback/lake" {
		t.Errorf("redirect_uri = %q", uri.RedirectURI)
	}
	if uri.JWKSURI != s.URL+"/oauth/jwks/lake" {
		t.Errorf("jwks_uri = %q, want the one that the app will have", uri.JWKSURI)
	}
	if p := refused(t, alice.Call(http.MethodPost, "/api/v1/oauth-apps/discover", map[string]string{"issuer": "http://issuer.example"}, nil), 422, "discovery_failed"); len(p.Errors) != 1 || p.Errors[0].Pointer != "/issuer" {
		t.Errorf("errors = %+v", p.Errors)
	}
	var list adminapi.DataSourceList
	s.Browser(t).SignIn("bob").Call(http.MethodGet, "/api/v1/data-sources", nil, &list)
	if len(list.Items) != 1 || list.Items[0].Fallback != "deny" || !list.Items[0].ServiceAccount || list.Items[0].Liveness.State != "up" {
		t.Errorf("data sources = %+v", list)
	}
}

func TestARegistrationIsTested(t *testing.T) {
	s := fronttest.Start(t, nil)
	app := s.AddApp(t, "warehouse")
	alice := s.Browser(t).SignIn("alice")
	credentials := func(r adminapi.TestReport) string {
		for _, stage := range r.Stages {
			if stage.Name == "credentials" {
				return stage.State
			}
		}
		return "missing"
	}
	var saved, draft adminapi.TestReport
	if a := alice.Call(http.MethodPost, "/api/v1/oauth-apps/warehouse/test", nil, &saved); a.Status != 200 || !saved.OK || credentials(saved) != "pass" || len(saved.Stages) != 6 {
		t.Errorf("the test of the saved app = %d %s", a.Status, a.Body)
	}
	body := map[string]any{
		"name": "Draft", "preset": "oauth2", "auth_url": s.Provider.URL + "/authorize", "token_url": s.Provider.URL + "/token",
		"client_id": "behalf", "client_secret": "canary-of-mine-and-wrong", "scopes": []string{"sql"},
	}
	if a := alice.Call(http.MethodPost, "/api/v1/oauth-apps/test", body, &draft); a.Status != 200 || draft.OK || credentials(draft) != "fail" || strings.Contains(a.Body, "canary") {
		t.Errorf("the test of the draft = %d %s", a.Status, a.Body)
	}
	body["auth_url"] = "ftp://x"
	if p := refused(t, alice.Call(http.MethodPost, "/api/v1/oauth-apps/test", body, nil), 422, "invalid"); len(p.Errors) != 1 || p.Errors[0].Pointer != "/auth_url" {
		t.Errorf("a draft that is not valid = %+v", p)
	}
	var apps adminapi.OAuthAppList
	alice.Call(http.MethodGet, "/api/v1/oauth-apps", nil, &apps)
	if len(apps.Items) != 1 || apps.Items[0].ID != app.ID || apps.Items[0].Broken != nil {
		t.Errorf("the tests stored something: %+v", apps.Items)
	}
	var outcomes []string
	for _, r := range recorded(t, s, audit.Filter{Action: audit.OAuthAppTested}, 2) {
		outcomes = append(outcomes, r.Object+" "+r.Outcome+" "+r.Request)
	}
	slices.Sort(outcomes)
	if want := []string{" credentials_failed req_test", app.ID + " ok req_test"}; !slices.Equal(outcomes, want) {
		t.Errorf("audit %q, want %q", outcomes, want)
	}
}

// TestNoSecretIsInAnyAnswer plants secrets wherever there are some, and looks for them in all answers, failures too.
func TestNoSecretIsInAnyAnswer(t *testing.T) {
	s := fronttest.Start(t, nil)
	app := s.AddApp(t, "warehouse")
	alice := s.Browser(t).SignIn("alice")
	alice.Get(alice.Allow(alice.ToProvider("/connect/warehouse")))
	bodies := []any{
		nil, map[string]any{}, map[string]any{"client_secret": "canary-of-mine", "name": 5, "rev": "canary"},
		map[string]any{"name": "x", "client_id": "y", "client_secret": "canary-of-mine-long-enough", "preset": "canary-preset\n", "auth_url": "ftp://canary"},
		map[string]any{"rev": 1, "client_secret": "canary-of-mine-long-enough"}, map[string]any{"username": "alice", "password": "canary-password"},
		map[string]any{"issuer": s.Provider.URL + "/canary"},
		map[string]any{"rev": 2, "client_secret_next": "canary-of-mine-long-enough"}, map[string]any{"rev": 3, "private_key": "canary-of-mine-long-enough"},
		map[string]any{"name": "x", "client_id": "y", "private_key": "canary", "token_endpoint_auth_method": "private_key_jwt", "client_secret_next": "canary"},
	}
	n := 0
	for _, method := range []string{"GET", "POST", "PATCH", "DELETE"} {
		for _, path := range []string{
			"/auth/me", "/auth/login", "/oauth-apps", "/oauth-apps/" + app.ID, "/oauth-apps/warehouse", "/oauth-apps/presets", "/oauth-apps/discover",
			"/oauth-apps/warehouse/pause", "/oauth-apps/warehouse/resume", "/oauth-apps/warehouse/test", "/oauth-apps/test", "/connected-apps", "/connected-apps/warehouse",
			"/connected-apps/warehouse/authorize", "/connected-apps/warehouse/refresh", "/connected-apps/warehouse/introspection", "/data-sources", "/openapi.json",
			"/audit", "/audit/export", "/audit/verify",
			"/tokens", "/tokens/current", "/connected-apps/warehouse/token",
		} {
			for _, body := range bodies {
				if method == "DELETE" && strings.HasPrefix(path, "/oauth-apps/") || method == "GET" && body != nil {
					continue
				}
				n++
				a := alice.Call(method, "/api/v1"+path, body, nil)
				said := a.Body
				for _, echoed := range []string{"canary-preset", "ftp://canary", s.Provider.URL + "/canary"} { // what is no secret may be repeated
					said = strings.ReplaceAll(said, echoed, "")
				}
				if strings.Contains(said, "canary") || strings.Contains(fmt.Sprint(a.Header), "canary") {
					t.Errorf("%s %s answered %d with a secret: %s", method, path, a.Status, a.Body)
				}
			}
		}
	}
	if n < 100 {
		t.Errorf("only %d answers were looked at", n)
	}
}
