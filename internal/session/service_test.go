package session_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/session"
	"github.com/behalf-project/behalf/internal/sqlstore/sqlstoretest"
	"github.com/behalf-project/behalf/internal/users"
)

// world is a server with two people and a clock that the test moves.
type world struct {
	*session.Service
	people     *users.Service
	alice, bob users.User

	mu sync.Mutex
	at time.Time
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

func (w *world) move(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = w.at.Add(d)
}

func newWorld(t *testing.T, publicURL string) *world {
	t.Helper()
	w := &world{at: time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)}
	db := sqlstoretest.OpenSQLite(t, w.now)
	w.people = users.New(users.Config{Store: db.Users(), Bus: db.News(), Now: w.now})
	err := w.people.Declare(t.Context(), []users.Declared{
		{Username: "alice", Password: secret.New("alice's long password")}, {Username: "bob", Password: secret.New("bob's own long password")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if w.alice, err = w.people.ByUsername(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	if w.bob, err = w.people.ByUsername(t.Context(), "bob"); err != nil {
		t.Fatal(err)
	}
	if w.Service, err = session.New(session.Config{Store: db.Sessions(), People: w.people, PublicURL: publicURL, Now: w.now}); err != nil {
		t.Fatal(err)
	}
	return w
}

// signIn signs u in and returns the browser's cookie.
func (w *world) signIn(t *testing.T, u users.User, had ...*http.Cookie) *http.Cookie {
	t.Helper()
	c, err := w.SignIn(t.Context(), request(had...), u, "password")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func request(cookies ...*http.Cookie) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for _, c := range cookies {
		r.AddCookie(c)
	}
	return r
}

func TestTheCookieFitsThePublicURL(t *testing.T) {
	for _, tt := range []struct {
		url, want string
		secure    bool
	}{
		{"https://behalf.example.com", "__Host-behalf_session", true},
		{"https://localhost:4000", "__Host-behalf_session", true},
		{"http://localhost:4000", "behalf_session", false},
		{"http://127.0.0.1:4000", "behalf_session", false},
		{"http://[::1]:4000", "behalf_session", false},
	} {
		t.Run(tt.url, func(t *testing.T) {
			w := newWorld(t, tt.url)
			c := w.signIn(t, w.alice)
			if c.Name != tt.want || c.Secure != tt.secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.MaxAge != 90*24*3600 {
				t.Errorf("cookie = %s", strings.Replace(c.String(), c.Value, "…", 1))
			}
			if len(c.Value) != 52 {
				t.Errorf("the token has %d characters, want 52: 256 bits", len(c.Value))
			}
		})
	}
	for _, url := range []string{"http://behalf.example.com", "http://localhost.example.com", "ftp://localhost", "behalf.example.com", "http://10.0.0.1"} {
		if _, err := session.New(session.Config{PublicURL: url}); !errors.Is(err, fault.Invalid) {
			t.Errorf("New with %s = %v, want it refused", url, err)
		}
	}
}

func TestASessionEndsExactlyWhenItShould(t *testing.T) {
	const day = 24 * time.Hour
	for _, tt := range []struct {
		name string
		used []time.Duration // gaps after which it is used
		last time.Duration   // gap before the request that is judged
		live bool
	}{
		{"a second before seven days without use", nil, 7*day - time.Second, true},
		{"at seven days without use", nil, 7 * day, false},
		{"a second after seven days without use", nil, 7*day + time.Second, false},
		{"use extends it", []time.Duration{6 * day, 6 * day}, 6 * day, true},
		{"at seven days after its last use", []time.Duration{6 * day}, 7 * day, false},
		{"a second before ninety days in use", repeat(6*day, 14), 6*day - time.Second, true},
		{"at ninety days in use", repeat(6*day, 14), 6 * day, false},
		{"a second after ninety days in use", repeat(6*day, 14), 6*day + time.Second, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, "https://behalf.example.com")
			c := w.signIn(t, w.alice)
			for _, gap := range tt.used {
				w.move(gap)
				if _, _, err := w.FromRequest(request(c)); err != nil {
					t.Fatalf("while it is used: %v", err)
				}
			}
			w.move(tt.last)
			_, u, err := w.FromRequest(request(c))
			if tt.live && (err != nil || u.Username != "alice") {
				t.Errorf("FromRequest = %q, %v, want alice", u.Username, err)
			}
			if !tt.live && !errors.Is(err, fault.Unauthenticated) {
				t.Errorf("FromRequest = %q, %v, want it over", u.Username, err)
			}
		})
	}
}

func repeat(d time.Duration, n int) (gaps []time.Duration) {
	for range n {
		gaps = append(gaps, d)
	}
	return gaps
}

// Looking on is no use: a page that stays open, and asks again and again whether it may, keeps nobody signed in.
func TestWhoLooksOnDoesNotUseASession(t *testing.T) {
	w := newWorld(t, "https://behalf.example.com")
	c := w.signIn(t, w.alice)
	for range 6 {
		w.move(24 * time.Hour)
		if _, u, err := w.Peek(request(c)); err != nil || u.Username != "alice" {
			t.Fatalf("Peek = %q, %v, want alice", u.Username, err)
		}
	}
	w.move(24 * time.Hour)
	for name, ask := range map[string]func(*http.Request) (session.Session, users.User, error){"Peek": w.Peek, "FromRequest": w.FromRequest} {
		if _, _, err := ask(request(c)); !errors.Is(err, fault.Unauthenticated) {
			t.Errorf("%s after seven days without use = %v, want it over", name, err)
		}
	}
}

func TestUseIsWrittenOnceAMinute(t *testing.T) {
	w := newWorld(t, "https://behalf.example.com")
	c := w.signIn(t, w.alice)
	begun := w.now()
	for _, tt := range []struct {
		gap  time.Duration
		want time.Duration
	}{
		{time.Minute, 0}, {time.Second, 61 * time.Second}, {time.Minute, 61 * time.Second}, {time.Second, 122 * time.Second},
	} {
		w.move(tt.gap)
		s, _, err := w.FromRequest(request(c))
		if err != nil || !s.LastSeenAt.Equal(begun.Add(tt.want)) {
			t.Errorf("%v after the sign-in it was last seen at +%v (%v), want +%v", w.now().Sub(begun), s.LastSeenAt.Sub(begun), err, tt.want)
		}
	}
}

func TestSigningInEndsTheSessionThatTheBrowserHad(t *testing.T) {
	w := newWorld(t, "https://behalf.example.com")
	planted := w.signIn(t, w.bob) // bob plants his session in alice's browser
	hers := w.signIn(t, w.alice, planted)
	if hers.Value == planted.Value {
		t.Fatal("the planted token is alice's session now")
	}
	if _, _, err := w.FromRequest(request(planted)); !errors.Is(err, fault.Unauthenticated) {
		t.Errorf("the planted session: %v, want it ended", err)
	}
	invented := &http.Cookie{Name: w.CookieName(), Value: strings.Repeat("0", 52)}
	if c := w.signIn(t, w.alice, invented); c.Value == invented.Value {
		t.Error("an invented token is alice's session now")
	}
	if _, _, err := w.FromRequest(request(invented)); !errors.Is(err, fault.Unauthenticated) {
		t.Errorf("the invented session: %v, want none", err)
	}
}

func TestWhoIsNotSignedIn(t *testing.T) {
	w := newWorld(t, "https://behalf.example.com")
	mine, other := w.signIn(t, w.alice), w.signIn(t, w.bob)
	for _, tt := range []struct {
		name    string
		cookies []*http.Cookie
	}{
		{"no cookie", nil},
		{"an empty cookie", []*http.Cookie{{Name: mine.Name}}},
		{"two cookies of that name", []*http.Cookie{mine, other}},
		{"the same cookie twice", []*http.Cookie{mine, mine}},
		{"the cookie of loopback", []*http.Cookie{{Name: session.LoopbackCookie, Value: mine.Value}}},
		{"a token that nobody has", []*http.Cookie{{Name: mine.Name, Value: mine.Value[:51] + "_"}}},
		{"a very long token", []*http.Cookie{{Name: mine.Name, Value: strings.Repeat("a", 4000)}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, u, err := w.FromRequest(request(tt.cookies...)); !errors.Is(err, fault.Unauthenticated) {
				t.Errorf("FromRequest = %q, %v, want nobody", u.Username, err)
			}
		})
	}
}

func TestSigningOutCountsOnTheNextRequest(t *testing.T) {
	w := newWorld(t, "https://behalf.example.com")
	here, there, bobs := w.signIn(t, w.alice), w.signIn(t, w.alice), w.signIn(t, w.bob)
	s, _, err := w.FromRequest(request(here))
	if err != nil {
		t.Fatal(err)
	}
	gone, err := w.SignOut(t.Context(), s, false)
	if err != nil || gone.MaxAge >= 0 || gone.Value != "" || gone.Name != here.Name {
		t.Fatalf("SignOut = %v, %v, want a cookie that removes the browser's", gone, err)
	}
	live := func(c *http.Cookie) bool { _, _, err := w.FromRequest(request(c)); return err == nil }
	if live(here) || !live(there) || !live(bobs) {
		t.Errorf("alive: here %v, there %v, bob %v; want only the last two", live(here), live(there), live(bobs))
	}
	if s, _, err = w.FromRequest(request(there)); err != nil {
		t.Fatal(err)
	}
	another := w.signIn(t, w.alice)
	if _, err := w.SignOut(t.Context(), s, true); err != nil {
		t.Fatal(err)
	}
	if live(there) || live(another) || !live(bobs) {
		t.Errorf("alive after everywhere: there %v, another %v, bob %v; want only the last", live(there), live(another), live(bobs))
	}
}

func TestADisabledPersonIsRefusedOnTheNextRequest(t *testing.T) {
	w := newWorld(t, "https://behalf.example.com")
	c := w.signIn(t, w.alice)
	if _, _, err := w.FromRequest(request(c)); err != nil {
		t.Fatal(err)
	}
	if err := w.people.Disable(t.Context(), w.alice.ID, "usr_admin"); err != nil {
		t.Fatal(err)
	}
	underWay := w.signIn(t, w.alice) // they were let in before, and got their session after
	for code, c := range map[string]*http.Cookie{"session_ended": c, "user_disabled": underWay} {
		_, _, err := w.FromRequest(request(c))
		if e, ok := errors.AsType[*fault.Error](err); !ok || e.Code != code {
			t.Errorf("FromRequest = %v, want %s", err, code)
		}
	}
	disabled := w.alice
	disabled.Disabled = true
	if _, err := w.SignIn(t.Context(), request(), disabled, "password"); !errors.Is(err, fault.Denied) {
		t.Errorf("SignIn = %v, want it refused", err)
	}
}

func TestABrowserIsBoundToItsSession(t *testing.T) {
	w := newWorld(t, "https://behalf.example.com")
	a, b := w.signIn(t, w.alice), w.signIn(t, w.alice)
	first, second := w.Browser(request(a)), w.Browser(request(b))
	if first == "" || first == second || first != w.Browser(request(a)) {
		t.Errorf("browsers = %q and %q, want two that stay", first, second)
	}
	if got := w.Browser(request()); got != "" {
		t.Errorf("a browser without a session = %q, want none", got)
	}
	if strings.Contains(first, a.Value) || first == secret.New(a.Value).Hash() {
		t.Error("the binding is the token, or what the database knows it by")
	}
}
