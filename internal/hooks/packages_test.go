package hooks_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/hooks"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
)

// cognito is the checkAuth that the documentation of Cube shows for AWS Cognito, as it stands there but for its URL.
const cognito = `const jwt = require('jsonwebtoken');
const fetch = require('node-fetch');

module.exports = {
  checkAuth: async (req, auth) => {
    // Replace region and userPoolId with your own
    const jwks = await fetch(
      'URL/.well-known/jwks.json'
    ).then((r) => r.json());
    const decoded = jwt.decode(auth, { complete: true });
    const jwk = _.find(jwks.keys, (x) => x.kid === decoded.header.kid);
    const pem = jwkToPem(jwk);
    req.authInfo = jwt.verify(auth, pem);
  }
};`

// provider is an issuer with a JWKS over HTTP.
type provider struct {
	*httptest.Server
	key *rsa.PrivateKey
	ec  *ecdsa.PrivateKey
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{}
	var err error
	if p.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	if p.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/jwks.json", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
			{Key: &p.ec.PublicKey, KeyID: "ec", Algorithm: "ES256", Use: "sig"}, {Key: &p.key.PublicKey, KeyID: "rsa", Algorithm: "RS256", Use: "sig"},
		}})
	})
	mux.HandleFunc("GET /moved", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/.well-known/jwks.json", http.StatusFound)
	})
	mux.HandleFunc("GET /large", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 2<<20)) })
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Got", r.Header.Get("X-Sent"))
		_, _ = fmt.Fprintf(w, "%s %s", r.Method, r.URL.Path)
	})
	hang := make(chan struct{})
	mux.HandleFunc("GET /hang", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler) // an empty answer could still reach the caller that has just given up
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(func() { close(hang); p.Close() })
	return p
}

func (p *provider) host(t *testing.T) string {
	t.Helper()
	u, err := url.Parse(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// allow lets hooks call p.
func (p *provider) allow(t *testing.T) func(*hooks.Config) {
	return func(c *hooks.Config) { c.Hosts = []string{p.host(t)} }
}

// sign makes a token of p.
func (p *provider) sign(t *testing.T, method jwt.SigningMethod, kid string, key any, claims jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	token.Header["kid"] = kid
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestTheCognitoExampleOfCube(t *testing.T) {
	p := newProvider(t)
	h := load(t, strings.Replace(cognito, "URL", p.URL, 1), p.allow(t))
	good := jwt.MapClaims{"iss": p.URL, "sub": "u-1", "exp": time.Now().Add(time.Minute).Unix(), "custom:tenant": 7}
	for name, token := range map[string]string{
		"RS256": p.sign(t, jwt.SigningMethodRS256, "rsa", p.key, good),
		"ES256": p.sign(t, jwt.SigningMethodES256, "ec", p.ec, good),
	} {
		sc, err := verify(t, h, token)
		if err != nil || sc.Principal != (securitycontext.Principal{Realm: "hook:" + p.URL, Subject: "u-1"}) || fmt.Sprint(sc.Claims["custom:tenant"]) != "7" {
			t.Errorf("%s: %+v, %v", name, sc, err)
		}
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&p.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	signed := p.sign(t, jwt.SigningMethodRS256, "rsa", p.key, good)
	for name, token := range map[string]string{
		"none":                       "",
		"garbage":                    "garbage",
		"over":                       p.sign(t, jwt.SigningMethodRS256, "rsa", p.key, jwt.MapClaims{"sub": "u-1", "exp": time.Now().Add(-time.Minute).Unix()}),
		"not yet":                    p.sign(t, jwt.SigningMethodRS256, "rsa", p.key, jwt.MapClaims{"sub": "u-1", "nbf": time.Now().Add(time.Hour).Unix()}),
		"of another key":             p.sign(t, jwt.SigningMethodRS256, "rsa", other, good),
		"of an unknown key":          p.sign(t, jwt.SigningMethodRS256, "other", p.key, good),
		"unsigned":                   p.sign(t, jwt.SigningMethodNone, "rsa", jwt.UnsafeAllowNoneSignatureType, good),
		"the public key as secret":   p.sign(t, jwt.SigningMethodHS256, "rsa", public, good),
		"the other kind of key":      p.sign(t, jwt.SigningMethodES256, "rsa", p.ec, good),
		"without its signature":      signed[:strings.LastIndexByte(signed, '.')+1],
		"with another payload":       strings.Replace(signed, ".", ".e30", 1),
		"larger than a token can be": p.sign(t, jwt.SigningMethodRS256, "rsa", p.key, jwt.MapClaims{"x": strings.Repeat("x", 40<<10)}),
	} {
		if sc, err := verify(t, h, token); err == nil {
			t.Errorf("a token that is %s makes %+v", name, sc)
		}
	}
}

func TestVerifyChecksWhatItIsToldTo(t *testing.T) {
	p := newProvider(t)
	token := p.sign(t, jwt.SigningMethodHS256, "", []byte("secret"), jwt.MapClaims{"iss": "i", "sub": "s", "aud": []string{"a", "b"}})
	for options, ok := range map[string]bool{
		"{}": true, "undefined": true, "{issuer: 'i', subject: 's', audience: 'b'}": true, "{issuer: ['x', 'i']}": true, "{algorithms: ['HS256']}": true,
		"{issuer: 'x'}": false, "{issuer: []}": false, "{issuer: ''}": false, "{subject: 'x'}": false, "{audience: 'c'}": false, "{algorithms: ['RS256']}": false,
		"{algorithms: []}": false, "{algorithms: 'none'}": false, "{ignoreExpiration: true}": false, "{clockTolerance: 1e9}": false, "{maxAge: 1}": false, "{audiance: 'a'}": false,
		"[]": false, "7": false,
	} {
		for _, form := range []string{
			"req.securityContext = jwt.verify(auth, 'secret', %s)",
			"jwt.verify(auth, 'secret', %s, (err, claims) => { if (err) throw err; req.securityContext = claims })",
		} {
			h := load(t, "const jwt = require('jsonwebtoken'); module.exports = {checkAuth: (req, auth) => { "+fmt.Sprintf(form, options)+" }}")
			sc, err := verify(t, h, token)
			if ok != (err == nil && sc.Principal.Subject == "s") {
				t.Errorf("%s: %+v, %v", fmt.Sprintf(form, options), sc.Principal, err)
			}
		}
	}
	for _, key := range []string{"''", "undefined", "null", "() => 'secret'", "{}", "'other'", "'-----BEGIN PUBLIC KEY-----'"} {
		h := load(t, "module.exports = {checkAuth: (req, auth) => { req.securityContext = require('jsonwebtoken').verify(auth, "+key+") }}")
		if sc, err := verify(t, h, token); err == nil {
			t.Errorf("with the key %s: %+v", key, sc)
		}
	}
}

// call returns what a script makes of fetch.
func call(t *testing.T, body string, change ...func(*hooks.Config)) (string, error) {
	t.Helper()
	return load(t, "module.exports = {contextToOrchestratorId: async () => { "+body+" }}", change...).OrchestratorID(t.Context(), alice(), nil)
}

func TestFetch(t *testing.T) {
	p := newProvider(t)
	for body, want := range map[string]string{
		"const r = await fetch('URL/echo', {method: 'post', headers: {'X-Sent': 'a'}, body: 'b'}); return r.status + ' ' + r.ok + ' ' + r.headers.get('X-Got') + ' ' + await r.text()": "200 true a POST /echo",
		"const r = await fetch('URL/moved'); return r.status + ' ' + r.ok":                                                                           "302 false",
		"return (await Promise.all([1, 2, 3].map(() => fetch('URL/.well-known/jwks.json').then((r) => r.json())))).map((j) => j.keys.length).join()": "2,2,2",
		"try { await fetch('URL/large'); } catch (e) { return e.message }":                                                                           "larger than 1 MiB",
	} {
		got, err := call(t, strings.ReplaceAll(body, "URL", p.URL), p.allow(t))
		if err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: %q, %v, want %q", body, got, err, want)
		}
	}
	for target, want := range map[string]string{
		p.URL: "not among hooks.allow_hosts", // nothing is allowed
	} {
		if got, err := call(t, "return (await fetch('"+target+"')).status + ''"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v, want %q", target, got, err, want)
		}
	}
	for target, want := range map[string]string{
		"http://idp.example.com/":      "must be https",
		"https://idp.example.com:8443": "not among", "https://idp.example.com.evil.example": "not among", "https://evil.example/idp.example.com": "not among",
		"https://idp.example.com@evil.example/": "not a URL", "https://user@idp.example.com/": "not a URL", "file:///etc/passwd": "not a URL", "/x": "not a URL",
		"http://169.254.169.254/latest": "must be https", "https://169.254.169.254/": "does not answer", "gopher://idp.example.com": "must be https",
	} {
		got, err := call(t, "return (await fetch('"+target+"')).status + ''", func(c *hooks.Config) { c.Hosts = []string{"idp.example.com", "169.254.169.254"} })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v, want %q", target, got, err, want)
		}
	}
}

// A fetch that hangs ends with its hook, and the request before it.
func TestAFetchThatHangsEndsWithItsHook(t *testing.T) {
	p := newProvider(t)
	if got, err := call(t, "return (await fetch('"+p.URL+"/hang')).status + ''", p.allow(t), briefly); err == nil {
		t.Errorf("it returned %q", got)
	}
	h := load(t, "module.exports = {contextToOrchestratorId: async () => (await fetch('"+p.URL+"/hang')).status + ''}", p.allow(t))
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if got, err := h.OrchestratorID(ctx, alice(), nil); err == nil {
		t.Errorf("it returned %q", got)
	}
}

func TestLodash(t *testing.T) {
	got, err := call(t, `return JSON.stringify([
		_.find([{a: 1}, {a: 2}], {a: 2}), _.get({a: [{b: 3}]}, 'a[0].b'), _.get({}, 'a.b', 4), _.get({}, 'constructor.name', 5), _.has({a: {b: 1}}, 'a.b'),
		_.map([{a: 6}], 'a'), _.pick({a: 1, b: 2}, ['a']), _.omit({a: 1, b: 2}, 'a'), _.isEmpty({}), _.isEmpty([1]), _.uniq([1, 1]), _.includes('abc', 'b'),
	])`)
	if want := `[{"a":2},3,4,5,true,[6],{"a":1},{"b":2},true,false,[1],true]`; err != nil || got != want {
		t.Errorf("%s, %v\nwant %s", got, err, want)
	}
}
