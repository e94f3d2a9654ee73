package idp_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/oauth2"

	"github.com/behalf-project/behalf/internal/sandbox/idp"
	"github.com/behalf-project/behalf/internal/secret"
)

// post sends a form and returns the status and the members of the answer.
func (p *provider) post(t *testing.T, path string, form url.Values, header http.Header) (int, map[string]any, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.Issuer()+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(req.Header, header)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	body := map[string]any{}
	if err != nil || json.Unmarshal(text, &body) != nil {
		t.Fatalf("%s answered %d %s", path, resp.StatusCode, text)
	}
	return resp.StatusCode, body, resp.Header
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t *testing.T, key *ecdsa.PrivateKey, claims jwt.MapClaims, header map[string]any) string {
	t.Helper()
	tok := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
	maps.Copy(tok.Header, header)
	text, err := tok.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestAssertionsThatAreWrong(t *testing.T) {
	p, key := start(t), newKey(t)
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Algorithm: "ES256"}}})
	if err != nil {
		t.Fatal(err)
	}
	p.AddClient(idp.Client{ID: "key", AuthMethod: "private_key_jwt", JWKS: keys, Service: "svc"})
	good := func() jwt.MapClaims {
		now := time.Now()
		return jwt.MapClaims{"iss": "key", "sub": "key", "aud": p.Issuer(), "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}
	}
	ask := func(assertion string, more ...string) string {
		form := url.Values{
			"grant_type": {"client_credentials"}, "client_assertion": {assertion},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		}
		for i := 0; i+1 < len(more); i += 2 {
			form.Set(more[i], more[i+1])
		}
		_, body, _ := p.post(t, "/token", form, nil)
		code, _ := body["error"].(string)
		return code
	}
	kid := map[string]any{"kid": "k"}
	once := sign(t, key, good(), kid)
	for i, want := range []string{"", "invalid_client"} {
		if got := ask(once); got != want {
			t.Errorf("use %d of one assertion = %q, want %q", i+1, got, want)
		}
	}
	for name, change := range map[string]func(jwt.MapClaims){
		"another issuer":          func(c jwt.MapClaims) { c["iss"] = "other" },
		"another subject":         func(c jwt.MapClaims) { c["sub"] = "public" },
		"another audience":        func(c jwt.MapClaims) { c["aud"] = "https://elsewhere.example.com" },
		"two audiences":           func(c jwt.MapClaims) { c["aud"] = []string{p.Issuer(), "https://elsewhere.example.com"} },
		"no end":                  func(c jwt.MapClaims) { delete(c, "exp") },
		"an end that has come":    func(c jwt.MapClaims) { c["exp"] = time.Now().Add(-time.Second).Unix() },
		"an end that is far away": func(c jwt.MapClaims) { c["exp"] = time.Now().Add(time.Hour).Unix() },
		"no jti":                  func(c jwt.MapClaims) { delete(c, "jti") },
	} {
		claims := good()
		change(claims)
		if got := ask(sign(t, key, claims, kid)); got != "invalid_client" {
			t.Errorf("%s: %q, want invalid_client", name, got)
		}
	}
	if got := ask(sign(t, newKey(t), good(), kid)); got != "invalid_client" {
		t.Errorf("another key: %q, want invalid_client", got)
	}
	if got := ask(sign(t, key, good(), map[string]any{"kid": "other"})); got != "invalid_client" {
		t.Errorf("another kid: %q, want invalid_client", got)
	}
	if got := ask(sign(t, key, good(), kid), "client_secret", "s"); got != "invalid_request" {
		t.Errorf("a secret beside it: %q, want invalid_request", got)
	}
}

func TestPushedRequests(t *testing.T) {
	p := start(t)
	verifier := oauth2.GenerateVerifier()
	to, err := url.Parse(p.conf.AuthCodeURL("st", oauth2.S256ChallengeOption(verifier)))
	if err != nil {
		t.Fatal(err)
	}
	push := func(change func(url.Values)) (int, map[string]any) {
		form := to.Query()
		form.Set("client_id", "public")
		change(form)
		status, body, _ := p.post(t, "/par", form, nil)
		return status, body
	}
	status, body := push(func(url.Values) {})
	handle, _ := body["request_uri"].(string)
	if status != http.StatusCreated || handle == "" || body["expires_in"] != 60.0 {
		t.Fatalf("push = %d %v", status, body)
	}
	visit := func(client, handle string) error {
		_, err := p.SignIn(t.Context(), p.Issuer()+"/authorize?"+url.Values{"client_id": {client}, "request_uri": {handle}}.Encode(), "alice")
		return err
	}
	if visit("behalf:1", handle) == nil {
		t.Error("another client used the handle")
	}
	if err := visit("public", handle); err != nil {
		t.Errorf("the handle: %v", err)
	}
	if visit("public", handle) == nil {
		t.Error("the handle worked twice")
	}
	for name, change := range map[string]func(url.Values){
		"another redirect URI": func(f url.Values) { f.Set("redirect_uri", "https://evil.example.com/") },
		"no PKCE":              func(f url.Values) { f.Del("code_challenge") },
		"another handle":       func(f url.Values) { f.Set("request_uri", handle) },
	} {
		if status, body := push(change); status != 400 || body["error"] != "invalid_request" {
			t.Errorf("%s: %d %v, want invalid_request", name, status, body)
		}
	}
	if status, body := push(func(f url.Values) { f.Set("client_id", "post") }); status != 401 || body["error"] != "invalid_client" {
		t.Errorf("a client that does not authenticate: %d %v, want invalid_client", status, body)
	}
	p.SetPushedRequests(true, true)
	back, err := p.SignIn(t.Context(), p.conf.AuthCodeURL("st", oauth2.S256ChallengeOption(verifier)), "alice")
	if err != nil || back.Query().Get("error") != "invalid_request" {
		t.Errorf("a request that was not pushed = %v, %v, want invalid_request", back, err)
	}
}

func TestProofsThatAreWrong(t *testing.T) {
	p, key := start(t), newKey(t)
	p.SetDPoP(idp.DPoPOn)
	jwk := map[string]any{"typ": "dpop+jwt", "jwk": jose.JSONWebKey{Key: key.Public()}}
	good := func() jwt.MapClaims {
		return jwt.MapClaims{"htm": "POST", "htu": p.Issuer() + "/token", "jti": rand.Text(), "iat": time.Now().Unix()}
	}
	ask := func(proof string) (map[string]any, http.Header) {
		header := http.Header{"Dpop": {proof}}
		header.Set("Authorization", "Basic "+basicAuth("behalf:1", "s:%+ é&"))
		_, body, answered := p.post(t, "/token", url.Values{"grant_type": {"client_credentials"}}, header)
		return body, answered
	}
	once := sign(t, key, good(), jwk)
	if body, _ := ask(once); body["token_type"] != "DPoP" {
		t.Errorf("a good proof = %v, want a bound token", body)
	}
	if body, _ := ask(once); body["error"] != "invalid_dpop_proof" {
		t.Errorf("the same again = %v, want it refused", body)
	}
	for name, change := range map[string]func(jwt.MapClaims){
		"another method":   func(c jwt.MapClaims) { c["htm"] = "GET" },
		"another endpoint": func(c jwt.MapClaims) { c["htu"] = p.Issuer() + "/userinfo" },
		"an old one":       func(c jwt.MapClaims) { c["iat"] = time.Now().Add(-time.Hour).Unix() },
		"a future one":     func(c jwt.MapClaims) { c["iat"] = time.Now().Add(time.Hour).Unix() },
		"no jti":           func(c jwt.MapClaims) { delete(c, "jti") },
		"a token's hash":   func(c jwt.MapClaims) { c["ath"] = "x" },
	} {
		claims := good()
		change(claims)
		if body, _ := ask(sign(t, key, claims, jwk)); body["error"] != "invalid_dpop_proof" {
			t.Errorf("%s = %v, want it refused", name, body)
		}
	}
	if body, _ := ask(sign(t, newKey(t), good(), jwk)); body["error"] != "invalid_dpop_proof" {
		t.Errorf("another key than it names = %v, want it refused", body)
	}
	if body, _ := ask(sign(t, key, good(), map[string]any{"typ": "JWT", "jwk": jwk["jwk"]})); body["error"] != "invalid_dpop_proof" {
		t.Errorf("another typ = %v, want it refused", body)
	}
	p.SetDPoPNonce(true)
	body, header := ask(sign(t, key, good(), jwk))
	if body["error"] != "use_dpop_nonce" || header.Get("DPoP-Nonce") == "" {
		t.Fatalf("without a nonce = %v, want it demanded", body)
	}
	claims := good()
	claims["nonce"] = header.Get("DPoP-Nonce")
	if body, _ := ask(sign(t, key, claims, jwk)); body["token_type"] != "DPoP" {
		t.Errorf("with the nonce = %v", body)
	}
}

func basicAuth(id, pass string) string {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(pass))
	return strings.TrimPrefix(r.Header.Get("Authorization"), "Basic ")
}

func TestTwoSecretsDuringARollover(t *testing.T) {
	p := start(t)
	p.AddClient(idp.Client{ID: "two", Secret: secret.New("a"), NextSecret: secret.New("b"), Service: "svc"})
	for pass, want := range map[string]int{"a": 200, "b": 200, "c": 401, "": 401} {
		status, _, _ := p.post(t, "/token", url.Values{"grant_type": {"client_credentials"}}, http.Header{"Authorization": {"Basic " + basicAuth("two", pass)}})
		if status != want {
			t.Errorf("the secret %q = %d, want %d", pass, status, want)
		}
	}
}
