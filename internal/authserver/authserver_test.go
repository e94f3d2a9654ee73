package authserver_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/adminapi"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fronttest"
)

const grant = "urn:ietf:params:oauth:grant-type:device_code"

// answered is what the endpoints answer a program.
type answered struct {
	DeviceCode              string `json:"device_code"`
	UserCode                string `json:"user_code"`
	VerificationURI         string `json:"verification_uri"`
	VerificationURIComplete string `json:"verification_uri_complete"`
	ExpiresIn               int    `json:"expires_in"`
	Interval                int    `json:"interval"`
	AccessToken             string `json:"access_token"`
	TokenType               string `json:"token_type"`
	Scope                   string `json:"scope"`
	Error                   string `json:"error"`

	status int
	header http.Header
}

func post(t *testing.T, b *fronttest.Browser, path string, form url.Values) (out answered) {
	t.Helper()
	a := b.Do(http.MethodPost, path, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, form.Encode())
	if err := json.Unmarshal([]byte(a.Body), &out); err != nil {
		t.Fatalf("%s answered %d with no JSON: %s", path, a.Status, a.Body)
	}
	out.status, out.header = a.Status, a.Header
	if a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s: Cache-Control = %q, want no-store", path, a.Header.Get("Cache-Control"))
	}
	return out
}

func begin(t *testing.T, b *fronttest.Browser, scope string) answered {
	t.Helper()
	out := post(t, b, "/api/v1/auth/device", url.Values{"client_id": {"behalf-cli"}, "scope": {scope}, "device_name": {"anna's <b>laptop</b>"}})
	if out.status != 200 {
		t.Fatalf("the device endpoint answered %d %s", out.status, out.Error)
	}
	return out
}

func poll(t *testing.T, b *fronttest.Browser, code string) answered {
	t.Helper()
	return post(t, b, "/api/v1/auth/token", url.Values{"client_id": {"behalf-cli"}, "grant_type": {grant}, "device_code": {code}})
}

// decide types a code and presses a button, as a person does.
func decide(t *testing.T, b *fronttest.Browser, code, answer string) fronttest.Answer {
	t.Helper()
	action, form := b.Fill(b.Get("/device"))
	form.Set("user_code", code)
	action, form = b.Fill(b.Send(action, form))
	form.Set("answer", answer)
	return b.Send(action, form)
}

func TestAProgramSignsInWithAPersonElsewhere(t *testing.T) {
	s := fronttest.Start(t, nil)
	s.AddApp(t, "warehouse")
	program, bob := s.Browser(t), s.Browser(t).SignIn("bob")
	begun := begin(t, program, "token:warehouse account")
	if !regexp.MustCompile(`^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$`).MatchString(begun.UserCode) || len(begun.DeviceCode) < 50 ||
		begun.VerificationURI != s.URL+"/device" || begun.VerificationURIComplete != s.URL+"/device?user_code="+begun.UserCode || begun.ExpiresIn != 600 || begun.Interval < 1 {
		t.Errorf("begun = %+v", begun)
	}
	if got := poll(t, program, begun.DeviceCode); got.status != 400 || got.Error != "authorization_pending" {
		t.Errorf("before the decision: %d %s", got.status, got.Error)
	}
	if got := poll(t, program, begun.DeviceCode); got.Error != "slow_down" {
		t.Errorf("at once again: %s, want slow_down", got.Error)
	}

	// Opening the link shows who asks for what, escaped, and decides nothing.
	page := bob.Get("/device?user_code=" + begun.UserCode)
	for _, want := range []string{"anna&#39;s &lt;b&gt;laptop", "127.0.0.1", begun.UserCode, "bob", "Use your Warehouse account", "See and manage your connected apps", "If somebody sent you this link"} {
		if !strings.Contains(page.Body, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	s.Move(time.Minute)
	if got := poll(t, program, begun.DeviceCode); got.Error != "authorization_pending" {
		t.Errorf("after the link was opened: %s, want authorization_pending", got.Error)
	}
	if a := decide(t, bob, " "+strings.ToLower(strings.ReplaceAll(begun.UserCode, "-", " ")), "allow"); a.Status != 200 || !strings.Contains(a.Body, "is signed in") {
		t.Errorf("allow = %d %s", a.Status, a.Body)
	}
	s.Move(time.Minute)
	got := poll(t, program, begun.DeviceCode)
	if got.status != 200 || got.TokenType != "Bearer" || got.Scope != "account token:warehouse" || got.header.Get("Pragma") != "no-cache" {
		t.Fatalf("after it was allowed: %d %s", got.status, got.Error)
	}
	var current adminapi.CurrentToken
	s.Bearing(t, got.AccessToken).Call(http.MethodGet, "/api/v1/tokens/current", nil, &current)
	if current.Username != "bob" || current.Name != "behalf on anna's <b>laptop</b>" || current.Origin != "device" {
		t.Errorf("the token is %+v, want bob's", current)
	}
	s.Move(time.Minute)
	if again := poll(t, program, begun.DeviceCode); again.Error != "invalid_grant" || again.AccessToken != "" {
		t.Errorf("the code serves a second time: %d %s", again.status, again.Error)
	}
	entries, err := s.Store.Audit().List(t.Context(), 10)
	if err != nil || !slices.ContainsFunc(entries, func(e audit.Entry) bool { return e.Action == audit.ProgramAllowed && e.Detail["ip"] == "127.0.0.1" }) {
		t.Errorf("the records do not tell that it was allowed: %+v, %v", entries, err)
	}
}

// TestNoProgramSignsInByALinkAlone is CVE-2026-33757 of a server like ours: no confirmation by the person.
func TestNoProgramSignsInByALinkAlone(t *testing.T) {
	s := fronttest.Start(t, nil)
	program, bob := s.Browser(t), s.Browser(t).SignIn("bob")
	begun := begin(t, program, "account")
	for name, send := range map[string]func() fronttest.Answer{
		"a link": func() fronttest.Answer { return bob.Get("/device?user_code=" + begun.UserCode + "&answer=allow") },
		"no form token": func() fronttest.Answer {
			return bob.Send("/device", url.Values{"user_code": {begun.UserCode}, "answer": {"allow"}})
		},
		"the form token of another session": func() fronttest.Answer {
			_, form := s.Browser(t).SignIn("alice").Fill(s.Browser(t).SignIn("alice").Get("/device"))
			form.Set("user_code", begun.UserCode)
			form.Set("answer", "allow")
			return bob.Send("/device", form)
		},
		"a page of another site": func() fronttest.Answer {
			_, form := bob.Fill(bob.Get("/device?user_code=" + begun.UserCode))
			form.Set("answer", "allow")
			return bob.Do(http.MethodPost, "/device", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Sec-Fetch-Site": {"cross-site"}}, form.Encode())
		},
		"somebody not signed in": func() fronttest.Answer { return s.Browser(t).Get("/device?user_code=" + begun.UserCode) },
	} {
		a := send()
		s.Move(time.Minute)
		if got := poll(t, program, begun.DeviceCode); got.Error != "authorization_pending" {
			t.Errorf("%s: answered %d, and the program hears %q, want authorization_pending", name, a.Status, got.Error)
		}
	}
	if a := decide(t, bob, begun.UserCode, "deny"); !strings.Contains(a.Body, "You denied it") {
		t.Errorf("deny = %d %s", a.Status, a.Body)
	}
	s.Move(time.Minute)
	if got := poll(t, program, begun.DeviceCode); got.Error != "access_denied" {
		t.Errorf("after it was denied: %s", got.Error)
	}
	if a := bob.Get("/device?user_code=" + begun.UserCode); a.Status != 404 {
		t.Errorf("the denied code answers %d, want 404", a.Status)
	}
}

// What one person saw is not what the next one in the same browser allows.
func TestAPageIsOfNoUseToTheNextPersonInTheBrowser(t *testing.T) {
	s := fronttest.Start(t, nil)
	program, shared := s.Browser(t), s.Browser(t).SignIn("alice")
	begun := begin(t, program, "account")
	action, form := shared.Fill(shared.Get("/device?user_code=" + begun.UserCode))
	form.Set("answer", "allow")
	shared.SignIn("bob")
	a := shared.Send(action, form)
	s.Move(time.Minute)
	if got := poll(t, program, begun.DeviceCode); got.Error != "authorization_pending" {
		t.Errorf("the page that alice saw, sent as bob, answers %d, and the program hears %q, want authorization_pending", a.Status, got.Error)
	}
}

func TestWhatProgramsAreRefused(t *testing.T) {
	s := fronttest.Start(t, nil)
	b := s.Browser(t)
	for _, tt := range []struct {
		name, path string
		form       url.Values
		code       string
	}{
		{"another client", "/api/v1/auth/device", url.Values{"client_id": {"x"}, "scope": {"account"}}, "invalid_client"},
		{"no client", "/api/v1/auth/token", url.Values{"grant_type": {grant}}, "invalid_client"},
		{"no scope", "/api/v1/auth/device", url.Values{"client_id": {"behalf-cli"}}, "invalid_scope"},
		{"a scope that there is not", "/api/v1/auth/device", url.Values{"client_id": {"behalf-cli"}, "scope": {"admin"}}, "invalid_scope"},
		{"an app that nobody can have", "/api/v1/auth/device", url.Values{"client_id": {"behalf-cli"}, "scope": {"token:a<b"}}, "invalid_scope"},
		{"a machine whose name turns around", "/api/v1/auth/device", url.Values{"client_id": {"behalf-cli"}, "scope": {"account"}, "device_name": {"\u202epotpal"}}, "invalid_request"},
		{"another grant", "/api/v1/auth/token", url.Values{"client_id": {"behalf-cli"}, "grant_type": {"password"}}, "unsupported_grant_type"},
		{"a code that there is not", "/api/v1/auth/token", url.Values{"client_id": {"behalf-cli"}, "grant_type": {grant}, "device_code": {"x"}}, "invalid_grant"},
		{"a repeated parameter", "/api/v1/auth/device", url.Values{"client_id": {"behalf-cli"}, "scope": {"account", "account"}}, "invalid_request"},
	} {
		if got := post(t, b, tt.path, tt.form); got.status != 400 || got.Error != tt.code {
			t.Errorf("%s: %d %s, want 400 %s", tt.name, got.status, got.Error, tt.code)
		}
	}
	begun := begin(t, b, "account")
	s.Move(10 * time.Minute)
	if got := poll(t, b, begun.DeviceCode); got.Error != "expired_token" {
		t.Errorf("after ten minutes: %s, want expired_token", got.Error)
	}
}

func TestCodesCannotBeGuessedByTyping(t *testing.T) {
	s := fronttest.Start(t, nil)
	bob := s.Browser(t).SignIn("bob")
	counts := map[int]int{}
	for range 20 {
		counts[bob.Get("/device?user_code=BCDF-GHJK").Status]++
	}
	if counts[404] != 10 || counts[429] != 10 {
		t.Errorf("answers = %v, want ten tries and then 429", counts)
	}
	if got := s.Browser(t).SignIn("alice").Get("/device?user_code=BCDF-GHJK").Status; got != 404 {
		t.Errorf("alice is answered %d, want her own tries", got)
	}
}

func TestOneAddressCannotPollWithoutEnd(t *testing.T) {
	s := fronttest.Start(t, nil)
	b := s.Browser(t)
	counts := map[string]int{}
	for range 70 {
		counts[poll(t, b, "unknown").Error]++
	}
	if counts["invalid_grant"] != 60 || counts["slow_down"] != 10 {
		t.Errorf("answers = %v, want sixty tries and then slow_down", counts)
	}
}

func TestAProgramOfADisabledPersonGetsNothing(t *testing.T) {
	s := fronttest.Start(t, nil)
	program, bob := s.Browser(t), s.Browser(t).SignIn("bob")
	begun := begin(t, program, "account")
	decide(t, bob, begun.UserCode, "allow")
	u, err := s.People.ByUsername(t.Context(), "bob")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.People.Disable(t.Context(), u.ID, "usr_admin"); err != nil {
		t.Fatal(err)
	}
	if got := poll(t, program, begun.DeviceCode); got.status != 400 || got.Error != "access_denied" || got.AccessToken != "" {
		t.Errorf("the program is answered %d %s, want access_denied", got.status, got.Error)
	}
}

// A program asks before anybody is signed in, and must not learn which apps there are: the person does, on their page.
func TestWhichAppsThereAreIsToldToNobodyButPeopleWhoAreSignedIn(t *testing.T) {
	s := fronttest.Start(t, nil)
	s.AddApp(t, "warehouse")
	stranger, bob := s.Browser(t), s.Browser(t).SignIn("bob")

	// By a device code: both are begun, and the one that there is not can be denied only.
	for scope, said := range map[string]bool{"token:warehouse": false, "token:lakehouse": true} {
		begun := begin(t, stranger, scope)
		link := "/device?user_code=" + begun.UserCode
		if a := stranger.Get(link); a.Status != http.StatusSeeOther {
			t.Errorf("%s: the page answers %d to somebody not signed in", scope, a.Status)
		}
		page := bob.Get(link)
		if got := strings.Contains(page.Body, "There is no OAuth app &#34;lakehouse&#34;"); got != said || strings.Contains(page.Body, `value="allow"`) == said {
			t.Errorf("%s: that there is no such app is said: %v, want %v, and no button then:\n%s", scope, got, said, page.Body)
		}
		action, form := bob.Fill(page)
		form.Set("answer", "allow")
		if a := bob.Send(action, form); strings.Contains(a.Body, "is signed in") == said {
			t.Errorf("%s: allow is answered %d %s", scope, a.Status, a.Body)
		}
		s.Move(time.Minute)
		if got := poll(t, stranger, begun.DeviceCode); (got.AccessToken == "") != said {
			t.Errorf("%s: the program is answered %d %s", scope, got.status, got.Error)
		}
	}

	// By a browser: both are sent to sign in, and what there is not comes back once the person has read it.
	there, missing := request("scope", "token:warehouse"), request("scope", "token:lakehouse")
	for _, q := range []url.Values{there, missing} {
		if a := stranger.Get("/authorize?" + q.Encode()); a.Status != http.StatusSeeOther || !strings.HasPrefix(a.Location, "/login?") {
			t.Errorf("%s: somebody not signed in is answered %d %q, want the sign-in", q.Get("scope"), a.Status, a.Location)
		}
	}
	if page := bob.Get("/authorize?" + missing.Encode()); page.Status != 200 || !strings.Contains(page.Body, "There is no OAuth app &#34;lakehouse&#34;") || strings.Contains(page.Body, `value="allow"`) {
		t.Errorf("the page of an app that there is not is %d %s", page.Status, page.Body)
	}
	for _, answer := range []string{"deny", "allow"} {
		if got := press(t, bob, missing, answer); got.Get("error") != "invalid_scope" || !strings.Contains(got.Get("error_description"), "lakehouse") || got.Has("code") {
			t.Errorf("%s brings the program %v, want invalid_scope", answer, got)
		}
	}
}
