package idp_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/oauth2"

	"github.com/behalf-project/behalf/internal/sandbox/bearer"
	"github.com/behalf-project/behalf/internal/sandbox/idp"
	"github.com/behalf-project/behalf/internal/secret"
)

const redirectURI = "http://localhost:4000/oauth/callback/databricks"

type provider struct {
	*idp.Provider
	conf oauth2.Config
}

var signingKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// start returns a provider on loopback with alice and bob and the client "behalf", whose secret needs encoding.
func start(t *testing.T) *provider {
	t.Helper()
	key, err := signingKey()
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(nil)
	p, err := idp.New(idp.Config{
		Issuer: "http://" + srv.Listener.Addr().String(),
		People: []idp.Person{
			{Username: "alice", Password: secret.New("pw-alice"), Name: "Alice", Email: "alice@example.com"},
			{Username: "bob", Password: secret.New("pw-bob")},
		},
		Clients: []idp.Client{
			{ID: "behalf:1", Secret: secret.New("s:%+ é&"), RedirectURIs: []string{redirectURI}, Service: "svc"},
			{ID: "public", RedirectURIs: []string{redirectURI}},
			{ID: "post", Secret: secret.New("p"), AuthMethod: "client_secret_post"},
		},
		Key: key, Admin: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Config.Handler = p
	srv.Start()
	t.Cleanup(srv.Close)
	return &provider{p, oauth2.Config{
		ClientID: "behalf:1", ClientSecret: "s:%+ é&", RedirectURL: redirectURI, Scopes: []string{"openid", "profile", "email", "offline_access", "sql"},
		Endpoint: oauth2.Endpoint{AuthURL: p.Issuer() + "/authorize", TokenURL: p.Issuer() + "/token", AuthStyle: oauth2.AuthStyleInHeader},
	}}
}

// connect signs username in and trades the code.
func (p *provider) connect(t *testing.T, username string) *oauth2.Token {
	t.Helper()
	verifier := oauth2.GenerateVerifier()
	to, err := p.SignIn(t.Context(), p.conf.AuthCodeURL("st", oauth2.S256ChallengeOption(verifier)), username)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := p.conf.Exchange(t.Context(), to.Query().Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func (p *provider) renew(ctx context.Context, refresh string) (*oauth2.Token, error) {
	return p.conf.TokenSource(ctx, &oauth2.Token{RefreshToken: refresh}).Token()
}

// code returns the error code of a failed token request.
func code(err error) string {
	if failed, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return failed.ErrorCode
	}
	return ""
}

func TestGoOIDCAndOAuth2AcceptTheProvider(t *testing.T) {
	p := start(t)
	discovered, err := oidc.NewProvider(t.Context(), p.Issuer())
	if err != nil {
		t.Fatal(err)
	}
	p.conf.Endpoint = discovered.Endpoint()
	verifier := oauth2.GenerateVerifier()
	to, err := p.SignIn(t.Context(), p.conf.AuthCodeURL("state &=?", oauth2.S256ChallengeOption(verifier), oidc.Nonce("n-1")), "alice")
	if err != nil {
		t.Fatal(err)
	}
	if got := to.Query(); !strings.HasPrefix(to.String(), redirectURI+"?") || got.Get("state") != "state &=?" || got.Get("iss") != p.Issuer() {
		t.Errorf("redirected to %s, want the redirect URI with state and iss", to)
	}
	tok, err := p.conf.Exchange(t.Context(), to.Query().Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := tok.Extra("id_token").(string)
	id, err := discovered.VerifierContext(t.Context(), &oidc.Config{ClientID: p.conf.ClientID}).Verify(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	if id.Nonce != "n-1" {
		t.Errorf("nonce = %q, want n-1", id.Nonce)
	}
	info, err := discovered.UserInfo(t.Context(), oauth2.StaticTokenSource(tok))
	if err != nil || info.Subject != id.Subject || info.Email != "alice@example.com" {
		t.Errorf("userinfo = %+v, %v, want subject %q", info, err, id.Subject)
	}
	next, err := p.renew(t.Context(), tok.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	if next.AccessToken == tok.AccessToken || next.RefreshToken == tok.RefreshToken {
		t.Error("the refresh brought an old token")
	}
	if h := p.Resolve(next.AccessToken); h.Name != "alice" || h.Status != bearer.Active || h.Service {
		t.Errorf("Resolve = %+v, want alice, active", h)
	}
}

func TestJWTAccessTokens(t *testing.T) {
	p := start(t)
	p.SetJWTAccessTokens(true)
	tok := p.connect(t, "alice")
	discovered, err := oidc.NewProvider(t.Context(), p.Issuer())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := discovered.VerifierContext(t.Context(), &oidc.Config{ClientID: p.Issuer()}).Verify(t.Context(), tok.AccessToken); err != nil {
		t.Errorf("the access token does not verify: %v", err)
	}
	if h := p.Resolve(tok.AccessToken); h.Name != "alice" || h.Status != bearer.Active {
		t.Errorf("Resolve = %+v, want alice, active", h)
	}
}

func TestAuthorizationRequestsThatAreWrong(t *testing.T) {
	p := start(t)
	good := url.Values{"client_id": {"behalf:1"}, "redirect_uri": {redirectURI}, "response_type": {"code"}, "state": {"s"},
		"code_challenge": {oauth2.S256ChallengeFromVerifier(oauth2.GenerateVerifier())}, "code_challenge_method": {"S256"}}
	for _, tt := range []struct {
		name, param, value string
		want               string // the error at the redirect URI; empty: a page of the provider
	}{
		{"unknown client", "client_id", "nobody", ""},
		{"another path", "redirect_uri", redirectURI + "x", ""},
		{"a slash more", "redirect_uri", redirectURI + "/", ""},
		{"another host", "redirect_uri", "https://evil.example/oauth/callback/databricks", ""},
		{"no redirect URI", "redirect_uri", "", ""},
		{"the implicit flow", "response_type", "token", "unsupported_response_type"},
		{"no PKCE", "code_challenge", "", "invalid_request"},
		{"plain PKCE", "code_challenge_method", "plain", "invalid_request"},
		{"no page wanted", "prompt", "none", "login_required"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := url.Values{}
			for name, v := range good {
				q[name] = v
			}
			q.Set(tt.param, tt.value)
			client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
			resp, err := client.Get(p.Issuer() + "/authorize?" + q.Encode())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			to, _ := resp.Location()
			if tt.want == "" {
				if to != nil || resp.StatusCode != http.StatusBadRequest {
					t.Errorf("status %d to %v, want a page of 400", resp.StatusCode, to)
				}
				return
			}
			if to == nil || to.Query().Get("error") != tt.want || to.Query().Get("state") != "s" || to.Query().Get("iss") != p.Issuer() {
				t.Errorf("status %d to %v, want the error %s with state and iss", resp.StatusCode, to, tt.want)
			}
		})
	}
}

func TestSigningIn(t *testing.T) {
	p := start(t)
	request := strings.SplitN(p.conf.AuthCodeURL("s", oauth2.S256ChallengeOption(oauth2.GenerateVerifier())), "?", 2)[1]
	for _, tt := range []struct {
		name   string
		form   url.Values
		as     bool
		header http.Header
		status int
		want   string // in the redirect or the page
	}{
		{name: "the right password", form: url.Values{"username": {"alice"}, "password": {"pw-alice"}}, status: 303, want: "code="},
		{name: "another's password", form: url.Values{"username": {"alice"}, "password": {"pw-bob"}}, status: 401, want: "wrong"},
		{name: "nobody", form: url.Values{"username": {"nobody"}, "password": {""}}, status: 401, want: "wrong"},
		{name: "a name alone", form: url.Values{"as": {"alice"}}, status: 401, want: "wrong"},
		{name: "a name alone, where that is enough", form: url.Values{"as": {"alice"}}, as: true, status: 303, want: "code="},
		{name: "nobody's name, where that is enough", form: url.Values{"as": {"nobody"}}, as: true, status: 401, want: "wrong"},
		{name: "the button that says no", form: url.Values{"deny": {"1"}}, status: 303, want: "error=access_denied"},
		{name: "a page elsewhere", form: url.Values{"as": {"alice"}}, as: true, header: http.Header{"Sec-Fetch-Site": {"cross-site"}}, status: 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p.SetSignInAs(tt.as)
			tt.form.Set("request", request)
			r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, p.Issuer()+"/authorize", strings.NewReader(tt.form.Encode()))
			if tt.header != nil {
				r.Header = tt.header
			}
			rec := httptest.NewRecorder()
			p.ServeHTTP(rec, r)
			if got := rec.Header().Get("Location") + rec.Body.String(); rec.Code != tt.status || !strings.Contains(got, tt.want) {
				t.Errorf("status %d, %s, want %d and %q", rec.Code, got, tt.status, tt.want)
			}
		})
	}
}

func TestCodesAreForOnceAndForTheirOwner(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(*oauth2.Config, *string)
		want  string
	}{
		{"as it should be", func(*oauth2.Config, *string) {}, ""},
		{"another redirect URI", func(c *oauth2.Config, _ *string) { c.RedirectURL += "/" }, "invalid_grant"},
		{"another verifier", func(_ *oauth2.Config, v *string) { *v = oauth2.GenerateVerifier() }, "invalid_grant"},
		{"a verifier that is too short", func(_ *oauth2.Config, v *string) { *v = "short" }, "invalid_grant"},
		{"another client", func(c *oauth2.Config, _ *string) {
			c.ClientID, c.ClientSecret = "public", ""
			c.Endpoint.AuthStyle = oauth2.AuthStyleInParams
		}, "invalid_grant"},
		{"a wrong secret", func(c *oauth2.Config, _ *string) { c.ClientSecret = "x" }, "invalid_client"},
		{"no secret", func(c *oauth2.Config, _ *string) {
			c.ClientSecret = ""
			c.Endpoint.AuthStyle = oauth2.AuthStyleInParams
		}, "invalid_client"},
		{"the secret in the body", func(c *oauth2.Config, _ *string) { c.Endpoint.AuthStyle = oauth2.AuthStyleInParams }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := start(t)
			verifier := oauth2.GenerateVerifier()
			to, err := p.SignIn(t.Context(), p.conf.AuthCodeURL("s", oauth2.S256ChallengeOption(verifier)), "alice")
			if err != nil {
				t.Fatal(err)
			}
			conf := p.conf
			tt.spoil(&conf, &verifier)
			_, err = conf.Exchange(t.Context(), to.Query().Get("code"), oauth2.VerifierOption(verifier))
			if (err == nil) != (tt.want == "") || code(err) != tt.want {
				t.Errorf("error = %v, want %q", err, tt.want)
			}
		})
	}
	p := start(t)
	verifier := oauth2.GenerateVerifier()
	to, err := p.SignIn(t.Context(), p.conf.AuthCodeURL("s", oauth2.S256ChallengeOption(verifier)), "alice")
	if err != nil {
		t.Fatal(err)
	}
	tok, err := p.conf.Exchange(t.Context(), to.Query().Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.conf.Exchange(t.Context(), to.Query().Get("code"), oauth2.VerifierOption(verifier)); code(err) != "invalid_grant" {
		t.Errorf("a code used twice: %v, want invalid_grant", err)
	}
	if h := p.Resolve(tok.AccessToken); h.Status != bearer.Revoked {
		t.Errorf("the token of a code used twice is %v, want revoked", h.Status)
	}
}

func TestRefreshTokens(t *testing.T) {
	p := start(t)
	first := p.connect(t, "alice")
	second, err := p.renew(t.Context(), first.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.renew(t.Context(), first.RefreshToken); code(err) != "invalid_grant" {
		t.Errorf("an old refresh token: %v, want invalid_grant", err)
	}
	if _, err := p.renew(t.Context(), second.RefreshToken); code(err) != "invalid_grant" {
		t.Errorf("the family after reuse: %v, want invalid_grant", err)
	}
	if h := p.Resolve(second.AccessToken); h.Status != bearer.Revoked {
		t.Errorf("the access token after reuse is %v, want revoked", h.Status)
	}

	p.SetRotation(false)
	kept := p.connect(t, "alice")
	for range 3 {
		if _, err := p.renew(t.Context(), kept.RefreshToken); err != nil {
			t.Errorf("without rotation: %v", err)
		}
	}

	p.conf.Scopes = []string{"sql"}
	if tok := p.connect(t, "bob"); tok.RefreshToken != "" {
		t.Error("a refresh token came without offline_access")
	}
}

func TestLeversEndTokens(t *testing.T) {
	p := start(t)
	p.SetAccessTokenLife(5 * time.Second)
	alice, bob := p.connect(t, "alice"), p.connect(t, "bob")
	if alice.ExpiresIn != 5 {
		t.Errorf("expires_in = %d, want 5", alice.ExpiresIn)
	}
	if n := p.ExpireTokens("alice"); n != 1 {
		t.Errorf("ExpireTokens = %d, want 1", n)
	}
	if n := p.RevokeGrants("bob"); n != 1 {
		t.Errorf("RevokeGrants = %d, want 1", n)
	}
	if a, b := p.Resolve(alice.AccessToken).Status, p.Resolve(bob.AccessToken).Status; a != bearer.Expired || b != bearer.Revoked {
		t.Errorf("alice's is %v and bob's %v, want expired and revoked", a, b)
	}
	if _, err := p.renew(t.Context(), alice.RefreshToken); err != nil {
		t.Errorf("alice's refresh: %v", err)
	}
	if _, err := p.renew(t.Context(), bob.RefreshToken); code(err) != "invalid_grant" {
		t.Errorf("bob's refresh: %v, want invalid_grant", err)
	}
	tok := p.IssueToken("alice", time.Hour)
	if resp, err := http.Post(p.Issuer()+"/_sandbox/expire/alice", "", nil); err != nil || resp.StatusCode != http.StatusNoContent {
		t.Errorf("the lever over HTTP: %v, %v", resp, err)
	}
	if h := p.Resolve(tok.Reveal()); h.Status != bearer.Expired {
		t.Errorf("an issued token after the lever is %v, want expired", h.Status)
	}
}

func TestRevocationAndIntrospection(t *testing.T) {
	p := start(t)
	tok := p.connect(t, "alice")
	post := func(path string, form url.Values) (int, string) {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, p.Issuer()+path, strings.NewReader(form.Encode()))
		r.SetBasicAuth(url.QueryEscape("behalf:1"), url.QueryEscape("s:%+ é&"))
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	if _, body := post("/introspect", url.Values{"token": {tok.AccessToken}}); !strings.Contains(body, `"active":true`) || !strings.Contains(body, `"username":"alice"`) {
		t.Errorf("introspection of a live token = %s", body)
	}
	for _, token := range []string{"made-up", tok.RefreshToken, tok.RefreshToken} {
		if status, _ := post("/revoke", url.Values{"token": {token}}); status != http.StatusOK {
			t.Errorf("revocation answered %d, want 200", status)
		}
	}
	if _, body := post("/introspect", url.Values{"token": {tok.AccessToken}}); strings.TrimSpace(body) != `{"active":false}` {
		t.Errorf("introspection of a revoked token = %s", body)
	}
}

func TestClientCredentials(t *testing.T) {
	p := start(t)
	resp, err := http.PostForm(p.Issuer()+"/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {"behalf:1"}, "client_secret": {"s:%+ é&"}, "scope": {"sql"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(resp.Body)
	token := strings.Split(strings.SplitN(string(body), `"access_token":"`, 2)[1], `"`)[0]
	if h := p.Resolve(token); h.Name != "svc" || !h.Service || h.Status != bearer.Active {
		t.Errorf("Resolve = %+v, want the active service svc", h)
	}
	if resp.Header.Get("Cache-Control") != "no-store" || strings.Contains(string(body), "refresh_token") {
		t.Errorf("answer %v %s, want no-store and no refresh token", resp.Header, body)
	}
}

func TestFaults(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault idp.Fault
		check func(t *testing.T, p *provider, tok *oauth2.Token, err error)
	}{
		{"429", idp.Fault{Status: 429, RetryAfter: 1500 * time.Millisecond}, func(t *testing.T, _ *provider, _ *oauth2.Token, err error) {
			failed, ok := errors.AsType[*oauth2.RetrieveError](err)
			if !ok || failed.Response.StatusCode != 429 || failed.Response.Header.Get("Retry-After") != "2" {
				t.Errorf("error = %v, want 429 with Retry-After 2", err)
			}
		}},
		{"a page of HTML", idp.Fault{HTML: true}, func(t *testing.T, _ *provider, tok *oauth2.Token, err error) {
			if err == nil {
				t.Errorf("got the token %v from a page", tok)
			}
		}},
		{"an error code", idp.Fault{Error: "invalid_client"}, func(t *testing.T, _ *provider, _ *oauth2.Token, err error) {
			if code(err) != "invalid_client" {
				t.Errorf("error = %v, want invalid_client", err)
			}
		}},
		{"the connection dropped before", idp.Fault{DropBefore: true}, func(t *testing.T, p *provider, _ *oauth2.Token, err error) {
			if err == nil {
				t.Error("no error")
			}
		}},
		{"no expires_in", idp.Fault{NoExpiresIn: true}, func(t *testing.T, _ *provider, tok *oauth2.Token, err error) {
			if err != nil || !tok.Expiry.IsZero() {
				t.Errorf("token %+v, %v, want one without end", tok, err)
			}
		}},
		{"expires_in as text", idp.Fault{ExpiresInString: true}, func(t *testing.T, _ *provider, tok *oauth2.Token, err error) {
			if err != nil || tok.Extra("expires_in") != "3600" {
				t.Errorf("expires_in = %#v, %v, want the text 3600", tok.Extra("expires_in"), err)
			}
		}},
		{"a form", idp.Fault{FormEncoded: true}, func(t *testing.T, p *provider, tok *oauth2.Token, err error) {
			if err != nil || p.Resolve(tok.AccessToken).Status != bearer.Active {
				t.Errorf("token %v, %v, want a live one", tok, err)
			}
		}},
		{"no refresh token", idp.Fault{NoRefreshToken: true}, func(t *testing.T, _ *provider, tok *oauth2.Token, err error) {
			if err != nil || tok.Extra("refresh_token") != nil {
				t.Errorf("token %v, %v, want no refresh token", tok, err)
			}
		}},
		{"another audience", idp.Fault{IDToken: func(c jwt.MapClaims) { c["aud"] = "else" }}, func(t *testing.T, p *provider, tok *oauth2.Token, err error) {
			if err != nil {
				t.Fatal(err)
			}
			discovered, err := oidc.NewProvider(t.Context(), p.Issuer())
			if err != nil {
				t.Fatal(err)
			}
			raw, _ := tok.Extra("id_token").(string)
			if _, err := discovered.VerifierContext(t.Context(), &oidc.Config{ClientID: p.conf.ClientID}).Verify(t.Context(), raw); err == nil {
				t.Error("an ID token for somebody else verifies")
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := start(t)
			tok := p.connect(t, "alice")
			tt.fault.Times, tt.fault.Grant = 1, "refresh_token"
			p.SetFault(idp.Token, tt.fault)
			got, err := p.renew(t.Context(), tok.RefreshToken)
			tt.check(t, p, got, err)
		})
	}
	t.Run("the connection dropped after: the refresh token is gone", func(t *testing.T) {
		p := start(t)
		tok := p.connect(t, "alice")
		p.SetFault(idp.Token, idp.Fault{Times: 1, DropAfter: true})
		if _, err := p.renew(t.Context(), tok.RefreshToken); err == nil {
			t.Error("no error")
		}
		if _, err := p.renew(t.Context(), tok.RefreshToken); code(err) != "invalid_grant" {
			t.Errorf("the second try: %v, want invalid_grant", err)
		}
		if n := p.CountCalls(idp.Token, "refresh_token"); n != 2 {
			t.Errorf("the log counts %d refreshes, want 2", n)
		}
	})
	t.Run("another issuer in the authorization response", func(t *testing.T) {
		p := start(t)
		p.SetFault(idp.Authorize, idp.Fault{WrongIssuer: true})
		to, err := p.SignIn(t.Context(), p.conf.AuthCodeURL("s", oauth2.S256ChallengeOption(oauth2.GenerateVerifier())), "alice")
		if err != nil || to.Query().Get("iss") == p.Issuer() {
			t.Errorf("redirected to %v, %v, want another iss", to, err)
		}
	})
	t.Run("slow, until the client gives up", func(t *testing.T) {
		p := start(t)
		p.SetFault(idp.Discovery, idp.Fault{Delay: time.Minute})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := oidc.NewProvider(ctx, p.Issuer()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error = %v, want the deadline", err)
		}
	})
}

// The log is for tests to read, and for people of the demo: it must not hold what lets one in.
func TestTheLogOfCallsHoldsNoSecrets(t *testing.T) {
	p := start(t)
	tok := p.connect(t, "alice")
	resp, err := http.Get(p.Issuer() + "/_sandbox/calls")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(resp.Body)
	for _, s := range []string{tok.AccessToken, tok.RefreshToken, "pw-alice", p.conf.ClientSecret} {
		if strings.Contains(string(body), s) {
			t.Errorf("the log holds %q", s)
		}
	}
	if !strings.Contains(string(body), `"grant_type":"authorization_code","person":"alice","status":200`) {
		t.Errorf("the log %s does not tell of alice's code", body)
	}
}

func TestPagesWorkInABrowserWithoutScripts(t *testing.T) {
	p := start(t)
	p.SetSignInAs(true)
	jar, _ := cookiejar.New(nil)
	resp, err := (&http.Client{Jar: jar}).Get(p.conf.AuthCodeURL(`"><script>`, oauth2.S256ChallengeOption(oauth2.GenerateVerifier()), oauth2.SetAuthURLParam("login_hint", `"><script>`)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(resp.Body)
	if strings.Contains(string(body), "<script") {
		t.Error("the page holds a script")
	}
	for _, want := range []string{`name="as" value="alice"`, `name="as" value="bob"`, `type="password"`, "behalf:1", "localhost:4000"} {
		if !strings.Contains(string(body), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if !strings.Contains(resp.Header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Error("the page has no Content-Security-Policy")
	}
}
