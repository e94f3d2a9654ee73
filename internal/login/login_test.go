package login_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/fronttest"
	"github.com/behalf-project/behalf/internal/session"
)

// send fills in and sends the form of /login.
func send(b *fronttest.Browser, rd, username, password string) fronttest.Answer {
	action, form := b.Fill(b.Get("/login?rd=" + url.QueryEscape(rd)))
	form.Set("username", username)
	form.Set("password", password)
	return b.Send(action, form)
}

func TestSigningInAndOut(t *testing.T) {
	s := fronttest.Start(t, nil)
	b := s.Browser(t)
	page := b.Get("/login?rd=/query%3Fq%3D1")
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
		"Cache-Control":           "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
	} {
		if got := page.Header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	for _, want := range []string{`autocomplete="username"`, `autocomplete="current-password"`, "for up to 90 days, or until 7 days pass"} {
		if !strings.Contains(page.Body, want) {
			t.Errorf("the page does not hold %q", want)
		}
	}
	in := send(b, "/query?q=1", "alice@example.com", fronttest.Passwords["alice"])
	if in.Status != http.StatusSeeOther || in.Location != "/query?q=1" {
		t.Fatalf("signing in answered %d to %q, want 303 to where alice was", in.Status, in.Location)
	}
	if a := b.Get("/login?rd=/x"); a.Status != http.StatusSeeOther || a.Location != "/x" {
		t.Errorf("/login when signed in answered %d to %q, want 303 onward", a.Status, a.Location)
	}
	if a := b.Get("/logout"); a.Status != http.StatusOK || !strings.Contains(a.Body, "alice") {
		t.Errorf("GET /logout answered %d: %s", a.Status, a.Body)
	}
	if a := b.Get("/login"); a.Status != http.StatusSeeOther {
		t.Error("GET /logout has signed alice out")
	}
	if a := b.Send("/logout", url.Values{}); a.Status != http.StatusForbidden {
		t.Errorf("POST /logout without the page's token answered %d, want 403", a.Status)
	}
	out := b.Send(b.Fill(b.Get("/logout")))
	if out.Status != http.StatusSeeOther || out.Location != "/login" {
		t.Errorf("signing out answered %d to %q", out.Status, out.Location)
	}
	if a := b.Call(http.MethodGet, "/api/v1/auth/me", nil, nil); a.Status != http.StatusUnauthorized {
		t.Errorf("after signing out /me answered %d, want 401", a.Status)
	}
	if a := b.Send("/logout", url.Values{}); a.Status != http.StatusSeeOther {
		t.Errorf("signing out again answered %d, want 303", a.Status)
	}
}

// same takes out of a page what differs for every visitor.
var same = regexp.MustCompile(`name="(form_token|username)" value="[^"]*"|value="[^"]*" autocomplete="username"`)

func TestWrongNamesAndPasswordsLookAlike(t *testing.T) {
	s := fronttest.Start(t, nil)
	var first string
	for _, tt := range []struct{ username, password string }{
		{"alice", "not the password"}, {"nobody", "not the password"}, {"nobody", fronttest.Passwords["alice"]}, {"bob", fronttest.Passwords["alice"]},
		{"nobody@example.com", "x"}, {"alice@example.com", "x"},
	} {
		a := send(s.Browser(t), "/", tt.username, tt.password)
		if a.Status != http.StatusUnauthorized || !strings.Contains(a.Body, "The username or password is not right.") {
			t.Errorf("%s answered %d: %s", tt.username, a.Status, a.Body)
		}
		if strings.Contains(a.Body, tt.password) && tt.password != "x" {
			t.Errorf("the page for %s repeats the password", tt.username)
		}
		if body := same.ReplaceAllString(a.Body, ""); first == "" {
			first = body
		} else if body != first {
			t.Errorf("the page for %s differs:\n%s\nwant\n%s", tt.username, body, first)
		}
	}
}

func TestGuessingIsSlowedDown(t *testing.T) {
	s := fronttest.Start(t, nil)
	for _, username := range []string{"alice", "nobody"} {
		for n := 1; n <= 5; n++ {
			if a := send(s.Browser(t), "/", username, "guess"); a.Status != http.StatusUnauthorized {
				t.Fatalf("guess %d at %s answered %d, want 401", n, username, a.Status)
			}
		}
		a := send(s.Browser(t), "/", username, fronttest.Passwords["alice"])
		if a.Status != http.StatusTooManyRequests || a.Header.Get("Retry-After") != "1" || !strings.Contains(a.Body, "Try again in 1 second.") {
			t.Errorf("guess 6 at %s answered %d, Retry-After %q; want 429 and 1: %s", username, a.Status, a.Header.Get("Retry-After"), a.Body)
		}
	}
	s.Move(time.Second)
	if a := send(s.Browser(t), "/", "alice", fronttest.Passwords["alice"]); a.Status != http.StatusSeeOther {
		t.Errorf("after waiting, the password answered %d, want 303", a.Status)
	}
}

func TestAPlantedSessionIsEnded(t *testing.T) {
	s := fronttest.Start(t, nil)
	attacker := s.Browser(t).SignIn("bob")
	victim := s.Browser(t)
	for _, c := range attacker.Cookies() {
		if c.Name == session.LoopbackCookie {
			victim.SetCookie(&http.Cookie{Name: c.Name, Value: c.Value, Path: "/"})
		}
	}
	victim.SignIn("alice")
	var me struct{ Username string }
	if victim.Call(http.MethodGet, "/api/v1/auth/me", nil, &me); me.Username != "alice" {
		t.Errorf("the victim is %q, want alice", me.Username)
	}
	if a := attacker.Call(http.MethodGet, "/api/v1/auth/me", nil, nil); a.Status != http.StatusUnauthorized {
		t.Errorf("the attacker's session answered %d, want 401: %s", a.Status, a.Body)
	}
}

func TestOnlyTheOwnFormSignsIn(t *testing.T) {
	s := fronttest.Start(t, nil)
	b, other := s.Browser(t), s.Browser(t)
	action, form := b.Fill(b.Get("/login"))
	form.Set("username", "alice")
	form.Set("password", fronttest.Passwords["alice"])
	for _, tt := range []struct {
		name   string
		by     *fronttest.Browser
		header http.Header
		status int
	}{
		{"from another site", b, http.Header{"Sec-Fetch-Site": {"cross-site"}}, http.StatusForbidden},
		{"from another origin, in an old browser", b, http.Header{"Origin": {"https://evil.example"}}, http.StatusForbidden},
		{"with a token of another browser", other, http.Header{"Sec-Fetch-Site": {"same-origin"}}, http.StatusForbidden},
		{"from the page itself", b, http.Header{"Sec-Fetch-Site": {"same-origin"}}, http.StatusSeeOther},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.header.Set("Content-Type", "application/x-www-form-urlencoded")
			a := tt.by.Do(http.MethodPost, action, tt.header, form.Encode())
			if a.Status != tt.status {
				t.Errorf("POST /login answered %d, want %d", a.Status, tt.status)
			}
		})
	}
	if a := b.Do(http.MethodPost, "/login", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, "x="+strings.Repeat("a", 1<<20)); a.Status >= 500 || a.Status < 400 {
		t.Errorf("a form of 1 MiB answered %d, want a refusal", a.Status)
	}
}

// TestReturnURLsStayHere has the vectors of sso.md §4.3.
func TestReturnURLsStayHere(t *testing.T) {
	s := fronttest.Start(t, nil)
	app := strings.TrimPrefix(s.URL, "http://")
	for _, evil := range []string{
		"https://evil.example/", "//evil.example/", `/\evil.example`, "http:evil.example", "http://" + app + "@evil.example/",
		"http://evil.example#@" + app + "/", "http://" + app + ".evil.example/", "http://evil" + app + "/", "javascript:alert(1)",
		"data:text/html,x", "http://" + app + `\@evil.example/`, "http://" + app + "%00.evil.example/", "http://" + app + "%2f@evil.example/",
		"\thttp://evil.example/", " //evil.example", "////evil.example", "http:///evil.example", "http://" + app + ":80@evil.example/",
		"ftp://" + app + "/", "/\r\nLocation: https://evil.example", "/" + strings.Repeat("a", 5000), `"><script>alert(1)</script>`,
	} {
		b := s.Browser(t)
		page := b.Get("/login?rd=" + url.QueryEscape(evil))
		if strings.Contains(page.Body, "evil") || strings.Contains(page.Body, "alert(1)") {
			t.Errorf("the page for rd %q holds it", evil)
		}
		action, form := b.Fill(page)
		form.Set("username", "bob")
		form.Set("password", fronttest.Passwords["bob"])
		form.Set("rd", evil)
		if a := b.Send(action, form); a.Status != http.StatusSeeOther || a.Location != "/" {
			t.Errorf("the form with rd %q leads to %q", evil, a.Location)
		}
		if a := b.Get("/login?rd=" + url.QueryEscape(evil)); a.Location != "/" {
			t.Errorf("/login with rd %q leads to %q", evil, a.Location)
		}
		var out struct {
			RedirectTo string `json:"redirect_to"`
		}
		b.Call(http.MethodPost, "/api/v1/auth/login", map[string]string{"username": "bob", "password": fronttest.Passwords["bob"], "rd": evil}, &out)
		if out.RedirectTo != "/" {
			t.Errorf("the API with rd %q leads to %q", evil, out.RedirectTo)
		}
	}
}
