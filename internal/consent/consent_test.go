package consent_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/fronttest"
	"github.com/behalf-project/behalf/oauthapps"
)

// granted reports whether a person has a grant of an app.
func granted(t *testing.T, s *fronttest.Server, username string, app oauthapps.App) bool {
	t.Helper()
	u, err := s.People.ByUsername(t.Context(), username)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Store.Grants().Get(t.Context(), connectedapps.Key{Principal: u.Principal(), AppID: app.ID})
	if err != nil && !errors.Is(err, fault.NotFound) {
		t.Fatal(err)
	}
	return err == nil
}

func TestAPersonConnectsAnApp(t *testing.T) {
	s := fronttest.Start(t, nil)
	app := s.AddApp(t, "warehouse")
	b := s.Browser(t).SignIn("alice")

	page := b.Get("/connect/warehouse?return_to=/query%3Fq%3D1")
	for _, want := range []string{"Connect Warehouse", "run as you", "alice", strings.TrimPrefix(s.Provider.URL, "http://"), "offline_access", s.URL + "/oauth/callback/warehouse"} {
		if !strings.Contains(page.Body, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if policy := page.Header.Get("Content-Security-Policy"); strings.Contains(policy, "form-action") || !strings.Contains(policy, "default-src 'none'") {
		t.Errorf("policy = %q, want no form-action: browsers would block the way to the provider", policy)
	}
	callback := b.Allow(b.ToProvider("/connect/warehouse?return_to=/query%3Fq%3D1"))
	if !strings.HasPrefix(callback, s.URL+"/oauth/callback/warehouse?") {
		t.Fatalf("the provider sends the browser to %q", callback)
	}
	back := b.Get(callback)
	if back.Status != http.StatusSeeOther || back.Location != "/connect/warehouse/done?return_to=%2Fquery%3Fq%3D1" {
		t.Fatalf("the callback answered %d to %q, want 303 to a page without the code: %s", back.Status, back.Location, back.Body)
	}
	for name, want := range map[string]string{"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"} {
		if got := back.Header.Get(name); got != want {
			t.Errorf("%s of the callback = %q, want %q", name, got, want)
		}
	}
	for range 2 { // it can be loaded again
		done := b.Get(back.Location)
		if done.Status != http.StatusOK || !strings.Contains(done.Body, "Warehouse is connected") || !strings.Contains(done.Body, `data-app="warehouse"`) ||
			!strings.Contains(done.Body, `data-next="/query?q=1"`) || !strings.Contains(done.Body, `href="/query?q=1"`) || !strings.Contains(done.Body, "connected.js") {
			t.Errorf("the last page answered %d: %s", done.Status, done.Body)
		}
	}
	if !granted(t, s, "alice", app) {
		t.Error("alice has no grant")
	}
	if granted(t, s, "bob", app) {
		t.Error("bob has a grant")
	}
}

func TestTheWayOverSigningIn(t *testing.T) {
	s := fronttest.Start(t, nil)
	app := s.AddApp(t, "warehouse")
	var begun struct {
		AuthorizeURL string `json:"authorize_url"`
		Session      string `json:"session"`
	}
	s.Browser(t).SignIn("alice").Call(http.MethodPost, "/api/v1/connected-apps/warehouse/authorize", map[string]string{"return_to": "/x"}, &begun)

	b := s.Browser(t) // the link is opened in a browser where nobody is signed in
	sent := b.Get(begun.AuthorizeURL)
	want := "/login?rd=" + url.QueryEscape("/connect/warehouse?session="+begun.Session)
	if sent.Status != http.StatusSeeOther || sent.Location != want {
		t.Fatalf("the link answered %d to %q, want 303 to %q", sent.Status, sent.Location, want)
	}
	action, form := b.Fill(b.Get(sent.Location))
	form.Set("username", "alice")
	form.Set("password", fronttest.Passwords["alice"])
	signedIn := b.Send(action, form)
	if signedIn.Status != http.StatusSeeOther || signedIn.Location != "/connect/warehouse?session="+begun.Session {
		t.Fatalf("signing in answered %d to %q", signedIn.Status, signedIn.Location)
	}
	if back := b.Get(b.Allow(b.ToProvider(signedIn.Location))); back.Status != http.StatusSeeOther {
		t.Fatalf("the callback answered %d: %s", back.Status, back.Body)
	}
	if !granted(t, s, "alice", app) {
		t.Error("alice has no grant")
	}
	if again := b.Get(signedIn.Location); again.Status != http.StatusGone || !strings.Contains(again.Body, "flow_expired") {
		t.Errorf("the link, once used, answered %d, want 410 flow_expired", again.Status)
	}
}

// TestACallbackInAnotherBrowserStoresNothing is O6 of broker.md, and the attack of COAT and CORF: a link that one
// person begins and another finishes, in every order.
func TestACallbackInAnotherBrowserStoresNothing(t *testing.T) {
	for _, tt := range []struct {
		name  string
		other func(t *testing.T, s *fronttest.Server) *fronttest.Browser
	}{
		{"where somebody else is signed in", func(t *testing.T, s *fronttest.Server) *fronttest.Browser { return s.Browser(t).SignIn("bob") }},
		{"where nobody is signed in", func(t *testing.T, s *fronttest.Server) *fronttest.Browser { return s.Browser(t) }},
		{"where the same person is signed in", func(t *testing.T, s *fronttest.Server) *fronttest.Browser { return s.Browser(t).SignIn("alice") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := fronttest.Start(t, nil)
			app := s.AddApp(t, "warehouse")
			alice := s.Browser(t).SignIn("alice")
			callback := alice.Allow(alice.ToProvider("/connect/warehouse"))

			a := tt.other(t, s).Get(callback)
			if a.Status != http.StatusGone || !strings.Contains(a.Body, "flow_expired") {
				t.Errorf("the callback answered %d, want 410 flow_expired: %s", a.Status, a.Body)
			}
			// The state was seen elsewhere: it is dead for its own browser too.
			if a := alice.Get(callback); a.Status != http.StatusGone {
				t.Errorf("the callback in its own browser then answered %d, want 410", a.Status)
			}
			if granted(t, s, "alice", app) || granted(t, s, "bob", app) || s.Provider.Exchanged() != 0 {
				t.Errorf("alice %v, bob %v, %d codes exchanged; want nothing", granted(t, s, "alice", app), granted(t, s, "bob", app), s.Provider.Exchanged())
			}
		})
	}
}

func TestSigningInAgainEndsWhatWasBegunBefore(t *testing.T) {
	s := fronttest.Start(t, nil)
	app := s.AddApp(t, "warehouse")
	b := s.Browser(t).SignIn("alice")
	callback := b.Allow(b.ToProvider("/connect/warehouse"))
	b.SignIn("alice")
	if a := b.Get(callback); a.Status != http.StatusGone || granted(t, s, "alice", app) {
		t.Errorf("the callback answered %d, granted %v; want 410 and nothing", a.Status, granted(t, s, "alice", app))
	}
}

func TestAStateWorksOnce(t *testing.T) {
	s := fronttest.Start(t, nil)
	s.AddApp(t, "warehouse")
	b := s.Browser(t).SignIn("alice")
	callback := b.Allow(b.ToProvider("/connect/warehouse"))
	if a := b.Get(callback); a.Status != http.StatusSeeOther {
		t.Fatalf("the callback answered %d", a.Status)
	}
	if a := b.Get(callback); a.Status != http.StatusGone || s.Provider.Exchanged() != 1 {
		t.Errorf("the callback again answered %d, %d codes exchanged; want 410 and 1", a.Status, s.Provider.Exchanged())
	}
}

func TestALinkEndsAfterTenMinutes(t *testing.T) {
	s := fronttest.Start(t, nil)
	s.AddApp(t, "warehouse")
	b := s.Browser(t).SignIn("alice")
	callback := b.Allow(b.ToProvider("/connect/warehouse"))
	s.Move(11 * time.Minute)
	a := b.Get(callback)
	if a.Status != http.StatusGone || !strings.Contains(a.Body, `href="/connect/warehouse"`) || s.Provider.Exchanged() != 0 {
		t.Errorf("the callback answered %d, want 410 and a way to start again: %s", a.Status, a.Body)
	}
}

func TestSomebodyElsesLinkIsRefused(t *testing.T) {
	s := fronttest.Start(t, nil)
	app := s.AddApp(t, "warehouse")
	s.AddApp(t, "other")
	var begun struct {
		Session string `json:"session"`
	}
	s.Browser(t).SignIn("bob").Call(http.MethodPost, "/api/v1/connected-apps/warehouse/authorize", nil, &begun)
	alice := s.Browser(t).SignIn("alice")
	for _, path := range []string{"/connect/warehouse?session=" + begun.Session, "/connect/warehouse?session=cs_unknown"} {
		a := alice.Get(path)
		if a.Status != http.StatusGone || !strings.Contains(a.Body, "signed in as alice") {
			t.Errorf("GET %s = %d, want 410 and who is signed in", path, a.Status)
		}
	}
	// The page of her own, sent with the session of another.
	action, form := alice.Fill(alice.Get("/connect/warehouse"))
	form.Set("session", begun.Session)
	if a := alice.Send(action, form); a.Status != http.StatusGone {
		t.Errorf("POST with bob's session = %d, want 410", a.Status)
	}
	// A session of one app on the page of another.
	alice.Call(http.MethodPost, "/api/v1/connected-apps/other/authorize", nil, &begun)
	if a := alice.Get("/connect/warehouse?session=" + begun.Session); a.Status != http.StatusGone {
		t.Errorf("GET with the session of another app = %d, want 410", a.Status)
	}
	if granted(t, s, "alice", app) || granted(t, s, "bob", app) {
		t.Error("somebody has a grant")
	}
}

func TestOnlyThePagesOwnFormBeginsAnAuthorization(t *testing.T) {
	s := fronttest.Start(t, nil)
	s.AddApp(t, "warehouse")
	alice, bob := s.Browser(t).SignIn("alice"), s.Browser(t).SignIn("bob")
	action, form := alice.Fill(alice.Get("/connect/warehouse"))
	_, bobs := bob.Fill(bob.Get("/connect/warehouse"))
	post := func(header http.Header, form url.Values) fronttest.Answer {
		header.Set("Content-Type", "application/x-www-form-urlencoded")
		return alice.Do(http.MethodPost, action, header, form.Encode())
	}
	for _, tt := range []struct {
		name   string
		header http.Header
		form   url.Values
	}{
		{"from another site", http.Header{"Sec-Fetch-Site": {"cross-site"}}, form},
		{"from another host of this site", http.Header{"Sec-Fetch-Site": {"same-site"}}, form},
		{"from another origin, in an old browser", http.Header{"Origin": {"https://evil.example"}}, form},
		{"from nowhere", http.Header{"Origin": {"null"}}, form},
		{"without a token", http.Header{}, url.Values{}},
		{"with the token of another browser", http.Header{}, bobs},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if a := post(tt.header, tt.form); a.Status != http.StatusForbidden || a.Location != "" {
				t.Errorf("POST = %d to %q, want 403", a.Status, a.Location)
			}
		})
	}
	alice.SignIn("alice") // another session: the page belongs to the old one
	if a := alice.Send(action, form); a.Status != http.StatusForbidden || !strings.Contains(a.Body, "form_expired") {
		t.Errorf("POST of an older session's page = %d, want 403 form_expired", a.Status)
	}
}

func TestWhatTheProviderRefuses(t *testing.T) {
	for _, tt := range []struct {
		name       string
		deny       url.Values
		refuse     string
		status     int
		code, says string
	}{
		{"the person cancels", url.Values{"error": {"access_denied"}}, "", http.StatusForbidden, "consent_denied", "You cancelled at Warehouse. Nothing was stored."},
		{"the provider's text is shown as text", url.Values{"error": {"invalid_scope"}, "error_description": {"<script>alert(1)</script>"}}, "",
			http.StatusForbidden, "provider_refused", "&lt;script&gt;alert(1)&lt;/script&gt;"},
		{"the redirect URI to register is named", url.Values{"error": {"invalid_request"}}, "", http.StatusForbidden, "provider_refused", "/oauth/callback/warehouse</code>"},
		{"the provider is in trouble", url.Values{"error": {"temporarily_unavailable"}}, "", http.StatusServiceUnavailable, "provider_error", "Nothing was stored"},
		{"no code and no error", url.Values{"x": {"y"}}, "", http.StatusBadRequest, "response_mismatch", "not accepted"},
		{"the code is refused", nil, "invalid_grant", http.StatusGone, "code_refused", "/oauth/callback/warehouse</code>"},
		{"the app is refused", nil, "invalid_client", http.StatusServiceUnavailable, "invalid_client", "Only an admin can fix this."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := fronttest.Start(t, nil)
			app := s.AddApp(t, "warehouse")
			s.Provider.Set(func(p *fronttest.Provider) { p.Deny, p.Refuse = tt.deny, tt.refuse })
			b := s.Browser(t).SignIn("alice")
			a := b.Get(b.Allow(b.ToProvider("/connect/warehouse")))
			if a.Status != tt.status || !strings.Contains(a.Body, "<code>"+tt.code+"</code>") || !strings.Contains(a.Body, tt.says) || !strings.Contains(a.Body, "req_test") {
				t.Errorf("the callback answered %d, want %d, code %s, %q: %s", a.Status, tt.status, tt.code, tt.says, a.Body)
			}
			if strings.Contains(a.Body, "<script>alert") || strings.Contains(a.Body, "canary") {
				t.Errorf("the page holds a script or a secret: %s", a.Body)
			}
			if !strings.Contains(a.Body, `data-clean-url="/connect/warehouse"`) {
				t.Error("the address of the page keeps the code")
			}
			if granted(t, s, "alice", app) {
				t.Error("alice has a grant")
			}
		})
	}
}

func TestCallbacksThatAreNoAnswerToAnything(t *testing.T) {
	s := fronttest.Start(t, nil)
	s.AddApp(t, "warehouse")
	s.AddApp(t, "other")
	b := s.Browser(t).SignIn("alice")
	wrongPath := strings.Replace(b.Allow(b.ToProvider("/connect/warehouse")), "/callback/warehouse", "/callback/other", 1)
	for _, tt := range []struct {
		name, path string
		status     int
		code       string
	}{
		{"nothing", "/oauth/callback/warehouse", http.StatusGone, "flow_expired"},
		{"an invented state", "/oauth/callback/warehouse?state=x&code=y", http.StatusGone, "flow_expired"},
		{"a state twice", "/oauth/callback/warehouse?state=x&state=y&code=z", http.StatusBadRequest, "response_malformed"},
		{"a code twice", "/oauth/callback/warehouse?state=x&code=y&code=z", http.StatusBadRequest, "response_malformed"},
		{"a very long code", "/oauth/callback/warehouse?state=x&code=" + strings.Repeat("a", 9000), http.StatusBadRequest, "response_malformed"},
		{"an app that is not there", "/oauth/callback/nothing?state=x&code=y", http.StatusGone, "flow_expired"},
		{"the callback of another app", wrongPath, http.StatusBadRequest, "response_mismatch"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := b.Get(tt.path)
			if a.Status != tt.status || !strings.Contains(a.Body, "<code>"+tt.code+"</code>") {
				t.Errorf("GET = %d, want %d %s: %s", a.Status, tt.status, tt.code, a.Body)
			}
		})
	}
	if s.Provider.Exchanged() != 0 {
		t.Errorf("%d codes exchanged, want none", s.Provider.Exchanged())
	}
}

func TestAppsThatCannotBeConnected(t *testing.T) {
	s := fronttest.Start(t, nil)
	app := s.AddApp(t, "warehouse")
	if _, err := s.Apps.Pause(t.Context(), app.ID, "moving to <b>another</b> account", "usr_test"); err != nil {
		t.Fatal(err)
	}
	b := s.Browser(t).SignIn("alice")
	if a := b.Get("/connect/warehouse"); a.Status != http.StatusForbidden || !strings.Contains(a.Body, "moving to &lt;b&gt;another") {
		t.Errorf("a paused app answered %d, want 403 and its note: %s", a.Status, a.Body)
	}
	for _, path := range []string{"/connect/nothing", "/connect/" + app.ID, "/connect/%3Cscript%3E", "/connect/nothing/done"} {
		if a := b.Get(path); a.Status != http.StatusNotFound || strings.Contains(a.Body, "<script>") {
			t.Errorf("GET %s = %d, want 404", path, a.Status)
		}
	}
}

func TestReturnPathsStayHere(t *testing.T) {
	s := fronttest.Start(t, nil)
	s.AddApp(t, "warehouse")
	b := s.Browser(t).SignIn("alice")
	for _, evil := range []string{"https://evil.example/", "//evil.example", `/\evil.example`, "javascript:alert(1)"} {
		back := b.Get(b.Allow(b.ToProvider("/connect/warehouse?return_to=" + url.QueryEscape(evil))))
		if back.Location != "/connect/warehouse/done?return_to=%2F" {
			t.Errorf("return_to %q leads to %q", evil, back.Location)
		}
		if done := b.Get("/connect/warehouse/done?return_to=" + url.QueryEscape(evil)); strings.Contains(done.Body, "evil") || strings.Contains(done.Body, "alert(1)") {
			t.Errorf("the last page with return_to %q holds it: %s", evil, done.Body)
		}
	}
}
