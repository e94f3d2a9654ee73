package main

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/behalf-project/behalf/internal/sandbox/idp"
)

// exchanges counts the codes that were traded at the provider, or tried to be.
func (w *world) exchanges() int { return w.box.IdP.CountCalls(idp.Token, "authorization_code") }

// says fails the test unless a page has this status and says all of this.
func (a answer) says(t *testing.T, status int, texts ...string) {
	t.Helper()
	if a.status != status {
		t.Errorf("the page answered %d, want %d: %.2000s", a.status, status, a.body)
	}
	for _, text := range texts {
		if !strings.Contains(html.UnescapeString(string(a.body)), text) {
			t.Errorf("the page does not say %q: %.2000s", text, a.body)
		}
	}
}

func TestACallbackInAnotherBrowserStoresNothing(t *testing.T) {
	onBoth(t, worldConfig{}, func(t *testing.T, w *world) {
		second := w.browser("alice")
		w.must(second.signIn(t.Context(), w.passwords["alice"]))
		for _, tt := range []struct {
			name    string
			browser *browser
		}{
			{"another person is signed in there", w.bob},
			{"nobody is signed in there", w.browser("")},
			{"the same person is signed in there, in another session", second},
		} {
			t.Run(tt.name, func(t *testing.T) {
				before := w.exchanges()
				back := w.callback(w.alice, "databricks")
				w.get(tt.browser, back.String()).says(t, http.StatusGone, "opened in another browser")
				// The state is spent: whoever obtained the link has no second try, and neither has its owner.
				w.get(w.alice, back.String()).says(t, http.StatusGone, "Start again")
				for _, b := range []*browser{w.alice, w.bob} {
					if got := w.grant(b, "databricks").Status; got != "not_connected" {
						t.Errorf("%s is %s afterwards, want not_connected", b.username, got)
					}
				}
				if n := w.exchanges() - before; n != 0 {
					t.Errorf("%d codes went to the token endpoint, want none", n)
				}
			})
		}
	})
}

func TestAConnectLinkIsOfNoUseToOthers(t *testing.T) {
	w := newWorld(t, worldConfig{})
	var begun struct {
		AuthorizeURL string `json:"authorize_url"`
		Session      string `json:"session"`
	}
	w.must(w.alice.call(t.Context(), http.MethodPost, "/api/v1/connected-apps/databricks/authorize", map[string]string{}, &begun))
	w.get(w.bob, begun.AuthorizeURL).says(t, http.StatusGone, "made for somebody else")
	if err := w.bob.call(t.Context(), http.MethodGet, "/api/v1/connect-sessions/"+begun.Session, nil, nil); err == nil || !strings.Contains(err.Error(), "answered 404") {
		t.Errorf("bob asks for alice's outcome: %v, want 404", err)
	}
	page := w.get(w.browser(""), begun.AuthorizeURL)
	if page.status != http.StatusSeeOther || !strings.HasPrefix(page.header.Get("Location"), "/login?rd=") {
		t.Errorf("nobody is sent to %d %s, want the sign-in page", page.status, page.header.Get("Location"))
	}
}

func TestAStateWorksOnce(t *testing.T) {
	onBoth(t, worldConfig{}, func(t *testing.T, w *world) {
		t.Run("one after the other", func(t *testing.T) {
			before := w.exchanges()
			back := w.callback(w.alice, "databricks").String()
			first := w.get(w.alice, back)
			if first.status != http.StatusSeeOther || strings.Contains(first.header.Get("Location"), "code=") {
				t.Errorf("the callback answered %d %s", first.status, first.header.Get("Location"))
			}
			for range 3 {
				w.get(w.alice, back).says(t, http.StatusGone, "This link has ended")
			}
			if n := w.exchanges() - before; n != 1 {
				t.Errorf("%d exchanges, want 1", n)
			}
			w.ask(w.alice, countOnly).ran(t, "user", "alice") // a code shown twice would have ended the grant
		})
		t.Run("fifty at once", func(t *testing.T) {
			before := w.exchanges()
			back := w.callback(w.bob, "databricks").String()
			counts := make(chan int, 50)
			var all sync.WaitGroup
			for range cap(counts) {
				all.Go(func() {
					a, err := w.bob.do(t.Context(), http.MethodGet, back, nil, nil)
					if err != nil {
						t.Error(err)
					}
					counts <- a.status
				})
			}
			all.Wait()
			close(counts)
			got := map[int]int{}
			for status := range counts {
				got[status]++
			}
			if got[http.StatusSeeOther] != 1 || got[http.StatusGone] != 49 {
				t.Errorf("answers by status: %v, want one 303 and 49 410", got)
			}
			if n := w.exchanges() - before; n != 1 {
				t.Errorf("%d exchanges, want 1", n)
			}
			w.ask(w.bob, countOnly).ran(t, "user", "bob")
		})
	})
}

func TestAResponseThatIsNotToItsRequest(t *testing.T) {
	w := newWorld(t, worldConfig{})
	for _, tt := range []struct {
		name   string
		fault  idp.Fault
		change func(u *url.URL, q url.Values)
		status int
		says   string
	}{
		{"the state of one app at the callback of another", idp.Fault{}, func(u *url.URL, _ url.Values) { u.Path = "/oauth/callback/snowflake" },
			http.StatusBadRequest, "the address of another app"},
		{"another issuer", idp.Fault{WrongIssuer: true}, func(*url.URL, url.Values) {}, http.StatusBadRequest, "names another issuer"},
		{"no issuer, from a provider that promised one", idp.Fault{}, func(_ *url.URL, q url.Values) { q.Del("iss") },
			http.StatusBadRequest, "does not name its issuer"},
		{"a state that nobody made", idp.Fault{}, func(_ *url.URL, q url.Values) { q.Set("state", strings.Repeat("a", 43)) }, http.StatusGone, "Start again"},
		{"no state", idp.Fault{}, func(_ *url.URL, q url.Values) { q.Del("state") }, http.StatusGone, "Start again"},
		{"two states", idp.Fault{}, func(_ *url.URL, q url.Values) { q.Add("state", q.Get("state")) }, http.StatusBadRequest, "more than once"},
		{"no code", idp.Fault{}, func(_ *url.URL, q url.Values) { q.Del("code") }, http.StatusBadRequest, "neither a code nor an error"},
		{"a code that the provider never gave", idp.Fault{}, func(_ *url.URL, q url.Values) { q.Set("code", "made-up") }, http.StatusGone, "no longer accepts"},
		{"the person cancelled", idp.Fault{}, func(_ *url.URL, q url.Values) { q.Del("code"); q.Set("error", "access_denied") }, http.StatusForbidden, "You cancelled"},
		{"an error that is markup", idp.Fault{}, func(_ *url.URL, q url.Values) {
			q.Del("code")
			q.Set("error", "invalid_request")
			q.Set("error_description", "<script>alert(1)</script>")
		}, http.StatusForbidden, "Connecting did not work"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.box.IdP.ClearFaults()
			w.box.IdP.SetFault(idp.Authorize, tt.fault)
			back := w.callback(w.alice, "databricks")
			w.box.IdP.ClearFaults()
			q := back.Query()
			tt.change(back, q)
			back.RawQuery = q.Encode()
			page := w.get(w.alice, back.String())
			page.says(t, tt.status, tt.says)
			if strings.Contains(string(page.body), "<script>alert") {
				t.Error("the page holds the provider's markup")
			}
			for name, want := range map[string]string{"Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "X-Frame-Options": "DENY"} {
				if got := page.header.Get(name); got != want {
					t.Errorf("%s = %q, want %q", name, got, want)
				}
			}
			for _, app := range []string{"databricks", "snowflake"} {
				if got := w.grant(w.alice, app).Status; got != "not_connected" {
					t.Errorf("%s is %s afterwards, want not_connected", app, got)
				}
			}
		})
	}
	t.Run("and then a proper one", func(t *testing.T) {
		w.connect(w.alice, "databricks")
		w.ask(w.alice, countOnly).ran(t, "user", "alice")
	})
}

// The provider shows a wrong redirect URI on its own page and never sends the browser back. So our page, which the
// person has just seen, names the one to register, and so does every refusal that a wrong registration may cause. Where
// requests are pushed, we hear of it before the browser leaves.
func TestAWrongRedirectURIIsNamedExactly(t *testing.T) {
	w := newWorld(t, worldConfig{})
	w.box.IdP.SetPushedRequests(false, false)
	var app struct {
		RedirectURI string `json:"redirect_uri"`
	}
	w.must(w.carol.call(t.Context(), http.MethodPost, "/api/v1/oauth-apps", demoApp{
		Name: "Second", Preset: "oidc", Issuer: w.box.IssuerURL, ClientID: w.box.LoginClient.ID,
		ClientSecret: w.box.LoginClient.Secret.Reveal(), Scopes: w.box.LoginClient.Scopes,
	}, &app))
	if want := w.base + "/oauth/callback/second"; app.RedirectURI != want {
		t.Fatalf("redirect_uri = %q, want %q", app.RedirectURI, want)
	}
	w.get(w.alice, "/connect/second").says(t, http.StatusOK, "redirect URI?", app.RedirectURI)

	_, to, err := w.alice.pressAuthorize(t.Context(), "second")
	w.must(err)
	w.get(w.alice, to).says(t, http.StatusBadRequest, "sent the redirect URI "+app.RedirectURI)
	if got := w.grant(w.alice, "second").Status; got != "not_connected" {
		t.Errorf("alice is %s, want not_connected", got)
	}
	w.must(w.box.IdP.AddRedirectURI(w.box.LoginClient.ID, app.RedirectURI))
	w.connect(w.alice, "second")

	w.box.IdP.SetPushedRequests(true, true)
	w.must(w.carol.call(t.Context(), http.MethodPost, "/api/v1/oauth-apps", demoApp{
		Name: "Third", Preset: "oidc", Issuer: w.box.IssuerURL, ClientID: w.box.LoginClient.ID,
		ClientSecret: w.box.LoginClient.Secret.Reveal(), Scopes: w.box.LoginClient.Scopes,
	}, &app))
	_, _, err = w.alice.pressAuthorize(t.Context(), "third")
	if err == nil || !strings.Contains(err.Error(), "must be registered") || !strings.Contains(err.Error(), app.RedirectURI) {
		t.Errorf("pushing it: %v, want our page with the URI to register", err)
	}
	w.must(w.box.IdP.AddRedirectURI(w.box.LoginClient.ID, app.RedirectURI))
	w.connect(w.alice, "third")
}

func TestNoOpenRedirect(t *testing.T) {
	w := newWorld(t, worldConfig{})
	for _, target := range []string{"https://evil.example/", "//evil.example/", `/\evil.example`, "/\t/evil.example", "javascript:alert(1)", w.base + "@evil.example/"} {
		b := w.browser("alice")
		var in struct {
			RedirectTo string `json:"redirect_to"`
		}
		body := map[string]string{"username": "alice", "password": w.passwords["alice"], "rd": target}
		w.must(b.call(t.Context(), http.MethodPost, "/api/v1/auth/login", body, &in))
		if strings.Contains(in.RedirectTo, "evil") || strings.Contains(in.RedirectTo, "javascript") {
			t.Errorf("after signing in with rd=%q one is sent to %q", target, in.RedirectTo)
		}
		var begun struct {
			AuthorizeURL string `json:"authorize_url"`
		}
		if err := b.call(t.Context(), http.MethodPost, "/api/v1/connected-apps/databricks/authorize", map[string]string{"return_to": target}, &begun); err == nil {
			page := w.get(b, begun.AuthorizeURL)
			if strings.Contains(string(page.body), "evil") {
				t.Errorf("the connect page of return_to=%q leads there", target)
			}
		}
	}
}

func TestSessions(t *testing.T) {
	onBoth(t, worldConfig{}, func(t *testing.T, w *world) {
		login := func(b *browser) *http.Cookie {
			t.Helper()
			body := fmt.Sprintf(`{"username":"alice","password":%q}`, w.passwords["alice"])
			a, err := b.do(t.Context(), http.MethodPost, "/api/v1/auth/login", http.Header{"Content-Type": {"application/json"}}, strings.NewReader(body))
			w.must(err)
			for _, c := range (&http.Response{Header: a.header}).Cookies() {
				if c.Name == "behalf_session" {
					return c
				}
			}
			t.Fatalf("signing in answered %d without a session", a.status)
			return nil
		}
		b := w.browser("alice")
		first := login(b)
		if !first.HttpOnly || first.SameSite != http.SameSiteLaxMode || first.Domain != "" || first.Path != "/" || len(first.Value) < 32 {
			t.Errorf("the cookie is %+v", first)
		}
		second := login(b)
		if first.Value == second.Value {
			t.Error("signing in again kept the session")
		}
		planted := w.browser("alice")
		base, _ := url.Parse(w.base)
		planted.http.Jar.SetCookies(base, []*http.Cookie{{Name: "behalf_session", Value: first.Value, Path: "/"}})
		if a := w.get(planted, "/api/v1/auth/me"); a.status != http.StatusUnauthorized {
			t.Errorf("the session that was replaced answers %d, want 401", a.status)
		}
		w.must(b.call(t.Context(), http.MethodPost, "/api/v1/auth/logout", map[string]bool{"everywhere": true}, nil))
		for _, b := range []*browser{b, w.alice} {
			if a := w.get(b, "/api/v1/auth/me"); a.status != http.StatusUnauthorized {
				t.Errorf("after signing out everywhere, a browser of alice gets %d, want 401", a.status)
			}
			if a := w.get(b, "/auth/cubejs-token"); a.status < 400 {
				t.Errorf("after signing out everywhere, a browser of alice gets a token: %d", a.status)
			}
		}
	})
}

// A page of another site cannot act for the person who visits it.
func TestOtherSitesCannotAct(t *testing.T) {
	w := newWorld(t, worldConfig{})
	w.connect(w.alice, "databricks")
	for _, tt := range []struct {
		name, method, path string
		header             http.Header
	}{
		{"a form of another site", http.MethodPost, "/api/v1/connected-apps/databricks/authorize", http.Header{"Content-Type": {"text/plain"}, "Sec-Fetch-Site": {"cross-site"}}},
		{"a script of another site", http.MethodDelete, "/api/v1/connected-apps/databricks", http.Header{"Origin": {"https://evil.example"}}},
		{"a sibling of the site", http.MethodDelete, "/api/v1/connected-apps/databricks", http.Header{"Sec-Fetch-Site": {"same-site"}}},
		{"a form to the connect page", http.MethodPost, "/connect/databricks", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Sec-Fetch-Site": {"cross-site"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := w.alice.do(t.Context(), tt.method, tt.path, tt.header, strings.NewReader("{}"))
			w.must(err)
			if a.status != http.StatusForbidden {
				t.Errorf("%s %s = %d, want 403: %s", tt.method, tt.path, a.status, a.body)
			}
		})
	}
	if got := w.grant(w.alice, "databricks").Status; got != "active" {
		t.Errorf("alice is %s afterwards, want active", got)
	}
}
