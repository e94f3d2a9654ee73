package authserver_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/adminapi"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fronttest"
)

const (
	redirectURI = "http://127.0.0.1:51004/callback"
	verifier    = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" // RFC 7636, appendix B
)

// request is an authorization request as the command line makes it, with some parameters changed; empty ones are left out.
func request(changes ...string) url.Values {
	sum := sha256.Sum256([]byte(verifier))
	q := url.Values{
		"response_type": {"code"}, "client_id": {"behalf-cli"}, "redirect_uri": {redirectURI}, "scope": {"account"}, "state": {"state of the program"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"}, "device_name": {"anna's <b>laptop</b>"},
	}
	for i := 0; i < len(changes); i += 2 {
		q.Set(changes[i], changes[i+1])
		if changes[i+1] == "" {
			q.Del(changes[i])
		}
	}
	return q
}

// answerOf is what a redirect brings to the program, which must be at redirectURI.
func answerOf(t *testing.T, a fronttest.Answer) url.Values {
	t.Helper()
	at, query, _ := strings.Cut(a.Location, "?")
	q, err := url.ParseQuery(query)
	if a.Status != http.StatusSeeOther || at != redirectURI || err != nil {
		t.Fatalf("the answer is %d to %q: %s", a.Status, a.Location, a.Body)
	}
	return q
}

// press asks b's person and lets them press a button, and returns what the program is brought.
func press(t *testing.T, b *fronttest.Browser, q url.Values, answer string) url.Values {
	t.Helper()
	action, form := b.Fill(b.Get("/authorize?" + q.Encode()))
	form.Set("answer", answer)
	return answerOf(t, b.Send(action, form))
}

// redeem comes for the token of a code, with some parameters changed.
func redeem(t *testing.T, b *fronttest.Browser, code string, changes ...string) answered {
	t.Helper()
	form := url.Values{"grant_type": {"authorization_code"}, "client_id": {"behalf-cli"}, "code": {code}, "redirect_uri": {redirectURI}, "code_verifier": {verifier}}
	for i := 0; i < len(changes); i += 2 {
		form.Set(changes[i], changes[i+1])
	}
	return post(t, b, "/api/v1/auth/token", form)
}

func TestAProgramSignsInByTheBrowserOfItsMachine(t *testing.T) {
	s := fronttest.Start(t, nil)
	s.AddApp(t, "warehouse")
	program, bob := s.Browser(t), s.Browser(t)
	q := request("scope", "token:warehouse account")

	// Whoever is not signed in does so first, and comes back.
	a := bob.Get("/authorize?" + q.Encode())
	signIn, err := url.Parse(a.Location)
	if err != nil || a.Status != http.StatusSeeOther || signIn.Path != "/login" || signIn.Query().Get("rd") != "/authorize?"+q.Encode() {
		t.Fatalf("somebody not signed in is sent to %d %q", a.Status, a.Location)
	}
	page := bob.SignIn("bob").Get(signIn.Query().Get("rd"))
	for _, want := range []string{"anna&#39;s &lt;b&gt;laptop", "127.0.0.1:51004", "bob", "Use your Warehouse account", "See and manage your connected apps"} {
		if !strings.Contains(page.Body, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if h := page.Header; h.Get("Cache-Control") != "no-store" || h.Get("X-Frame-Options") != "DENY" || h.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("the page's headers are %v", h)
	}
	answer := press(t, bob, q, "allow")
	if answer.Get("iss") != s.URL || answer.Get("state") != "state of the program" || len(answer.Get("code")) < 43 || len(answer) != 3 {
		t.Fatalf("the program is brought %v", answer)
	}
	s.Move(59 * time.Second)
	got := redeem(t, program, answer.Get("code"))
	if got.status != 200 || got.TokenType != "Bearer" || got.Scope != "account token:warehouse" || got.header.Get("Pragma") != "no-cache" {
		t.Fatalf("the code brings %d %s", got.status, got.Error)
	}
	var current adminapi.CurrentToken
	s.Bearing(t, got.AccessToken).Call(http.MethodGet, "/api/v1/tokens/current", nil, &current)
	if current.Username != "bob" || current.Name != "behalf on anna's <b>laptop</b>" || current.Origin != "login" {
		t.Errorf("the token is %+v, want bob's", current)
	}
	if answer := press(t, bob, q, "deny"); answer.Get("error") != "access_denied" || answer.Has("code") || answer.Get("iss") != s.URL || answer.Get("state") != "state of the program" {
		t.Errorf("after it was denied the program is brought %v", answer)
	}
	s.StopRecording() // what waited to be recorded is
	entries, err := s.Store.Audit().List(t.Context(), 10)
	for _, action := range []audit.Action{audit.ProgramAllowed, audit.ProgramDenied} {
		if err != nil || !slices.ContainsFunc(entries, func(e audit.Entry) bool { return e.Action == action && e.Detail["ip"] == "127.0.0.1" }) {
			t.Errorf("the records do not tell of %s: %+v, %v", action, entries, err)
		}
	}
}

// TestACodeUsedTwiceEndsItsToken is RFC 6749 §4.1.2: somebody else has it as well.
func TestACodeUsedTwiceEndsItsToken(t *testing.T) {
	s := fronttest.Start(t, nil)
	program, thief := s.Browser(t), s.Browser(t)
	code := press(t, s.Browser(t).SignIn("bob"), request(), "allow").Get("code")
	token := redeem(t, program, code).AccessToken
	call := func() int { return s.Bearing(t, token).Get("/api/v1/tokens/current").Status }
	if got := call(); got != 200 {
		t.Fatalf("the token answers %d before, want 200", got)
	}
	s.Move(time.Hour) // the code is over, and it is still a code that was used twice
	if got := redeem(t, thief, code, "code_verifier", strings.Repeat("x", 43)); got.Error != "invalid_grant" || got.AccessToken != "" {
		t.Errorf("the second use is answered %d %s, want invalid_grant", got.status, got.Error)
	}
	if got := call(); got != 401 {
		t.Errorf("the token answers %d after the code was used twice, want 401", got)
	}
}

func TestOfManyWhoUseACodeAtOnceNobodyKeepsAToken(t *testing.T) {
	s := fronttest.Start(t, nil)
	code := press(t, s.Browser(t).SignIn("bob"), request(), "allow").Get("code")
	var (
		all  sync.WaitGroup
		mu   sync.Mutex
		made []string
	)
	for range 8 {
		program := s.Browser(t)
		all.Go(func() {
			if got := redeem(t, program, code); got.AccessToken != "" {
				mu.Lock()
				defer mu.Unlock()
				made = append(made, got.AccessToken)
			}
		})
	}
	all.Wait()
	if len(made) > 1 {
		t.Errorf("one code made %d tokens", len(made))
	}
	for _, token := range made {
		if got := s.Bearing(t, token).Get("/api/v1/tokens/current").Status; got != 401 {
			t.Errorf("the token of a code that eight used answers %d, want 401", got)
		}
	}
}

func TestACodeIsOfNoUseToOthers(t *testing.T) {
	s := fronttest.Start(t, nil)
	program, bob := s.Browser(t), s.Browser(t).SignIn("bob")
	for name, wrong := range map[string][]string{
		"another verifier":     {"code_verifier", strings.Repeat("x", 43)},
		"no verifier":          {"code_verifier", ""},
		"the challenge":        {"code_verifier", request().Get("code_challenge")},
		"another port":         {"redirect_uri", "http://127.0.0.1:51005/callback"},
		"no redirect URI":      {"redirect_uri", ""},
		"a code that is none":  {"code", "x"},
		"the code of a device": {"grant_type", "urn:ietf:params:oauth:grant-type:device_code", "device_code", "x"},
	} {
		code := press(t, bob, request(), "allow").Get("code")
		if got := redeem(t, program, code, wrong...); got.status != 400 || got.Error != "invalid_grant" || got.AccessToken != "" {
			t.Errorf("%s: %d %s, want 400 invalid_grant", name, got.status, got.Error)
		}
		used := !slices.Contains(wrong, "code") && !slices.Contains(wrong, "grant_type")
		if got := redeem(t, program, code); (got.Error == "invalid_grant") != used {
			t.Errorf("%s, and then the right one: %d %s", name, got.status, got.Error)
		}
		s.Move(2 * time.Minute)
	}
	code := press(t, bob, request(), "allow").Get("code")
	if got := redeem(t, program, code, "client_id", "other"); got.Error != "invalid_client" {
		t.Errorf("another client: %d %s, want invalid_client", got.status, got.Error)
	}
	s.Move(time.Minute)
	if got := redeem(t, program, code); got.Error != "invalid_grant" {
		t.Errorf("after a minute: %d %s, want invalid_grant", got.status, got.Error)
	}
}

func TestACodeOfADisabledPersonBringsNothing(t *testing.T) {
	s := fronttest.Start(t, nil)
	code := press(t, s.Browser(t).SignIn("bob"), request(), "allow").Get("code")
	u, err := s.People.ByUsername(t.Context(), "bob")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.People.Disable(t.Context(), u.ID, "usr_admin"); err != nil {
		t.Fatal(err)
	}
	if got := redeem(t, s.Browser(t), code); got.status != 400 || got.Error != "invalid_grant" || got.AccessToken != "" {
		t.Errorf("the program is answered %d %s, want invalid_grant", got.status, got.Error)
	}
}

// TestAnswersGoToLoopbackAlone: the redirect URI is compared exactly, but for the port (RFC 8252 §7.3).
func TestAnswersGoToLoopbackAlone(t *testing.T) {
	s := fronttest.Start(t, nil)
	bob := s.Browser(t).SignIn("bob")
	for _, uri := range []string{
		"", "https://evil.example.com/callback", "http://127.0.0.1/callback", "http://127.0.0.1:/callback", "http://127.0.0.1:0/callback", "http://127.0.0.1:65536/callback",
		"http://127.0.0.1:080/callback", "http://127.0.0.1:+80/callback", "http://127.0.0.1:80/callback/", "http://127.0.0.1:80/", "http://127.0.0.1:80/callback?x=1", "http://127.0.0.1:80/callback#x",
		"https://127.0.0.1:80/callback", "HTTP://127.0.0.1:80/callback", "http://localhost:80/callback", "http://[::1]:80/callback", "http://127.0.0.2:80/callback",
		"http://127.0.0.1:80@evil.example.com/callback", "http://a@127.0.0.1:80/callback", "http://127.0.0.1:80\\@evil.example.com/callback", "http://127.0.0.1:80/x/../callback", " http://127.0.0.1:80/callback",
		"behalf://callback", "javascript:alert(1)", "http://127.0.0.1:80%00/callback", "http://127.0.0.1:８０/callback",
	} {
		a := bob.Get("/authorize?" + request("redirect_uri", uri).Encode())
		if a.Status != http.StatusBadRequest || a.Location != "" || strings.Contains(a.Body, "<form") {
			t.Errorf("%q: %d to %q, want 400 and nothing else", uri, a.Status, a.Location)
		}
	}
	twice := request()
	twice.Add("redirect_uri", "http://127.0.0.1:80/callback")
	for name, q := range map[string]url.Values{"two redirect URIs": twice, "another client": request("client_id", "x"), "no client": request("client_id", "")} {
		if a := bob.Get("/authorize?" + q.Encode()); a.Status != http.StatusBadRequest || a.Location != "" {
			t.Errorf("%s: %d to %q, want 400", name, a.Status, a.Location)
		}
	}
	for _, port := range []string{"1", "80", "65535"} {
		if a := bob.Get("/authorize?" + request("redirect_uri", "http://127.0.0.1:"+port+"/callback").Encode()); a.Status != http.StatusOK {
			t.Errorf("port %s: %d, want 200", port, a.Status)
		}
	}
}

func TestAWrongRequestIsToldToTheProgram(t *testing.T) {
	s := fronttest.Start(t, nil)
	bob := s.Browser(t).SignIn("bob")
	twice := request()
	twice.Add("scope", "account")
	for _, tt := range []struct {
		name, code string
		q          url.Values
	}{
		{"the implicit grant", "unsupported_response_type", request("response_type", "token")},
		{"no response type", "unsupported_response_type", request("response_type", "")},
		{"another response mode", "invalid_request", request("response_mode", "fragment")},
		{"no challenge", "invalid_request", request("code_challenge", "")},
		{"a plain challenge", "invalid_request", request("code_challenge_method", "plain")},
		{"a challenge of the default method", "invalid_request", request("code_challenge_method", "")},
		{"a challenge that is none", "invalid_request", request("code_challenge", strings.Repeat("=", 43))},
		{"no state", "invalid_request", request("state", "")},
		{"no scope", "invalid_scope", request("scope", "")},
		{"a scope that there is not", "invalid_scope", request("scope", "admin")},
		{"a machine whose name hides something", "invalid_request", request("device_name", "lap\u200btop")},
		{"a repeated parameter", "invalid_request", twice},
	} {
		answer := answerOf(t, bob.Get("/authorize?"+tt.q.Encode()))
		if answer.Get("error") != tt.code || answer.Get("error_description") == "" || answer.Get("iss") != s.URL || answer.Get("state") != tt.q.Get("state") || answer.Has("code") {
			t.Errorf("%s: %v, want %s", tt.name, answer, tt.code)
		}
	}
}

// TestNobodyIsSignedInByALinkAlone: anybody can make a link, or be the client (RFC 8252 §8.6).
func TestNobodyIsSignedInByALinkAlone(t *testing.T) {
	s := fronttest.Start(t, nil)
	bob := s.Browser(t).SignIn("bob")
	link := "/authorize?" + request().Encode()
	press(t, bob, request(), "allow") // that bob allowed it once does not count for the next
	_, forms := bob.Fill(bob.Get(link))
	for name, send := range map[string]func() fronttest.Answer{
		"a link":        func() fronttest.Answer { return bob.Get(link + "&answer=allow&form_token=" + forms.Get("form_token")) },
		"no form token": func() fronttest.Answer { return bob.Send(link, url.Values{"answer": {"allow"}}) },
		"the form of another person": func() fronttest.Answer {
			alice := s.Browser(t).SignIn("alice")
			_, form := alice.Fill(alice.Get(link))
			form.Set("answer", "allow")
			return bob.Send(link, form)
		},
		"a page of another site": func() fronttest.Answer {
			form := url.Values{"answer": {"allow"}, "form_token": {forms.Get("form_token")}}
			return bob.Do(http.MethodPost, link, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Sec-Fetch-Site": {"cross-site"}}, form.Encode())
		},
		"what was shown is not what is sent": func() fronttest.Answer {
			form := url.Values{"answer": {"allow"}, "form_token": {forms.Get("form_token")}}
			return bob.Send("/authorize?"+request("redirect_uri", "http://127.0.0.1:6666/callback").Encode(), form)
		},
		"the page that the last person saw": func() fronttest.Answer {
			shared := s.Browser(t).SignIn("alice")
			action, form := shared.Fill(shared.Get(link))
			form.Set("answer", "allow")
			return shared.SignIn("bob").Send(action, form)
		},
		"somebody not signed in": func() fronttest.Answer { return s.Browser(t).Send(link, url.Values{"answer": {"allow"}}) },
	} {
		if a := send(); strings.Contains(a.Location, "code=") {
			t.Errorf("%s: a code was made, %d to %q", name, a.Status, a.Location)
		}
	}
}

func TestTheServerSaysWhatItCan(t *testing.T) {
	s := fronttest.Start(t, nil)
	a := s.Browser(t).Get("/.well-known/oauth-authorization-server")
	var says map[string]any
	if err := json.Unmarshal([]byte(a.Body), &says); err != nil || a.Status != 200 || a.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("the metadata answers %d %s, %v", a.Status, a.Body, err)
	}
	for name, want := range map[string]any{
		"issuer": s.URL, "authorization_endpoint": s.URL + "/authorize", "token_endpoint": s.URL + "/api/v1/auth/token", "device_authorization_endpoint": s.URL + "/api/v1/auth/device",
		"authorization_response_iss_parameter_supported": true,
	} {
		if says[name] != want {
			t.Errorf("%s = %v, want %v", name, says[name], want)
		}
	}
	for name, want := range map[string][]any{
		"response_types_supported": {"code"}, "code_challenge_methods_supported": {"S256"}, "token_endpoint_auth_methods_supported": {"none"},
		"grant_types_supported": {"authorization_code", grant},
	} {
		if got, _ := says[name].([]any); !slices.Equal(got, want) {
			t.Errorf("%s = %v, want %v", name, says[name], want)
		}
	}
}
