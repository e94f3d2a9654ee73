package jwtauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
)

// issuer is a JWKS server whose keys, headers and health a test sets.
type issuer struct {
	*httptest.Server
	mu     sync.Mutex
	keys   []any
	maxAge string
	down   bool
	calls  atomic.Int32
	at     atomic.Int64 // the clock of whoever verifies
}

func newIssuer(t *testing.T, keys ...any) *issuer {
	i := &issuer{keys: keys}
	i.at.Store(now.UnixNano())
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		i.calls.Add(1)
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.down {
			http.Error(w, "down", http.StatusBadGateway)
			return
		}
		if i.maxAge != "" {
			w.Header().Set("Cache-Control", i.maxAge)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": i.keys})
	}))
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) set(change func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change()
}

func (i *issuer) now() time.Time        { return time.Unix(0, i.at.Load()).UTC() }
func (i *issuer) pass(by time.Duration) { i.at.Add(int64(by)) }

// verifier takes the tokens of i.
func (i *issuer) verifier(change func(*Config)) *Verifier {
	return verifier(func(c *Config) {
		c.Secrets, c.Now = nil, i.now
		c.Keys = NewKeySet(KeySetConfig{URL: i.URL, Now: i.now})
		if change != nil {
			change(c)
		}
	})
}

type signer struct {
	kid    string
	method jwt.SigningMethod
	key    crypto.Signer
}

func (s signer) public() jose.JSONWebKey {
	return jose.JSONWebKey{Key: s.key.Public(), KeyID: s.kid, Use: "sig", Algorithm: s.method.Alg()}
}

func (s signer) sign(t *testing.T, claims jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(s.method, claims)
	if s.kid != "" {
		token.Header["kid"] = s.kid
	}
	signed, err := token.SignedString(s.key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func newSigner(t *testing.T, kid string, method jwt.SigningMethod) signer {
	t.Helper()
	var (
		key crypto.Signer
		err error
	)
	switch method.Alg()[:2] {
	case "ES":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "Ed":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	return signer{kid, method, key}
}

const idp = "https://idp.example.com/"

func TestTokensOfAnIssuerAreOfItsSubject(t *testing.T) {
	for _, method := range []jwt.SigningMethod{jwt.SigningMethodRS256, jwt.SigningMethodPS384, jwt.SigningMethodES256, jwt.SigningMethodEdDSA} {
		s := newSigner(t, "k1", method)
		v := newIssuer(t, s.public()).verifier(nil)
		for _, tt := range []struct {
			name   string
			claims jwt.MapClaims
			want   securitycontext.Principal
			called string
		}{
			{"its subject", jwt.MapClaims{"iss": idp, "sub": "auth0|7"}, securitycontext.Principal{Realm: idp, Subject: "auth0|7"}, "auth0|7"},
			{"with a name, of a local person", jwt.MapClaims{"iss": idp, "sub": "7", "cubeCloud": map[string]any{"username": "alice"}},
				securitycontext.Principal{Realm: idp, Subject: "7"}, "alice"},
			{"a name alone", jwt.MapClaims{"iss": idp, "cubeCloud": map[string]any{"username": "alice"}}, securitycontext.Principal{}, ""},
			{"an issuer that calls itself ours", jwt.MapClaims{"iss": securitycontext.Local, "sub": "usr_alice"},
				securitycontext.Principal{Realm: "issuer:local", Subject: "usr_alice"}, "usr_alice"},
			{"an issuer without a name", jwt.MapClaims{"sub": "usr_alice"}, securitycontext.Principal{Realm: "issuer:", Subject: "usr_alice"}, "usr_alice"},
		} {
			sc, err := v.Verify(t.Context(), header("Authorization", s.sign(t, tt.claims)))
			if err != nil || sc.Principal != tt.want || sc.Username != tt.called {
				t.Errorf("%s, %s: %+v %q, %v; want %+v %q", method.Alg(), tt.name, sc.Principal, sc.Username, err, tt.want, tt.called)
			}
		}
	}
}

func TestTokensThatAnIssuerDidNotSignAreRefused(t *testing.T) {
	mine, theirs := newSigner(t, "k1", jwt.SigningMethodRS256), newSigner(t, "k1", jwt.SigningMethodRS256)
	other := newSigner(t, "k2", jwt.SigningMethodES256)
	der, err := x509.MarshalPKIXPublicKey(mine.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	claims := jwt.MapClaims{"iss": idp, "sub": "7"}
	confused := jwt.NewWithClaims(jwt.SigningMethodHS256, claims) // the public key, taken for a secret
	confused.Header["kid"] = "k1"
	byPEM, err := confused.SignedString(text)
	if err != nil {
		t.Fatal(err)
	}
	oct := map[string]any{"kty": "oct", "kid": "k3", "k": "c2VjcmV0"}
	weaker := mine
	weaker.method = jwt.SigningMethodRS512 // not what the key is for
	nameless := mine
	nameless.kid = ""
	bySecret := jwt.NewWithClaims(jwt.SigningMethodHS256, claims)
	bySecret.Header["kid"] = "k3"
	bySymmetric, err := bySecret.SignedString([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	i := newIssuer(t, mine.public(), other.public(), oct, map[string]any{"kty": "new", "kid": "k9"}, "no key")
	for _, tt := range []struct {
		name, token string
		change      func(*Config)
	}{
		{"by another with the same kid", theirs.sign(t, claims), nil},
		{"with a kid of nobody", newSigner(t, "k8", jwt.SigningMethodRS256).sign(t, claims), nil},
		{"without a kid", nameless.sign(t, claims), nil},
		{"by the public key, taken for a secret", byPEM, nil},
		{"by the public key, taken for a secret, where HMAC is allowed", byPEM, func(c *Config) {
			c.Algorithms, c.Secrets = []string{"HS256", "RS256"}, []secret.Text{secret.New("s")}
		}},
		{"by a symmetric key of the document", bySymmetric, func(c *Config) { c.Algorithms = append([]string{"HS256"}, asymmetric...) }},
		{"with an algorithm that the key is not for", weaker.sign(t, claims), nil},
		{"with an algorithm that is not allowed", mine.sign(t, claims), func(c *Config) { c.Algorithms = []string{"ES256"} }},
		{"with the API secret, which is not asked for", sign(t, jwt.SigningMethodHS256, []byte("new"), claims), func(c *Config) { c.Secrets = []secret.Text{secret.New("new")} }},
		{"expired", mine.sign(t, jwt.MapClaims{"sub": "7", "exp": now.Add(-time.Second).Unix()}), nil},
		{"of another issuer", mine.sign(t, claims), func(c *Config) { c.Issuers = []string{"https://other.example.com"} }},
		{"of another subject", mine.sign(t, claims), func(c *Config) { c.Subject = "8" }},
		{"for another audience", mine.sign(t, claims), func(c *Config) { c.Audience = "us" }},
	} {
		if sc, err := i.verifier(tt.change).Verify(t.Context(), header("Authorization", tt.token)); !errors.Is(err, fault.Unauthenticated) {
			t.Errorf("%s: %+v, %v; want it refused", tt.name, sc.Principal, err)
		}
	}
	if _, err := i.verifier(func(c *Config) { c.Issuers, c.Subject = []string{"x", idp}, "7" }).Verify(t.Context(), header("Authorization", mine.sign(t, claims))); err != nil {
		t.Errorf("a good token: %v", err)
	}
}

func TestAPublicKeyInPEM(t *testing.T) {
	s := newSigner(t, "", jwt.SigningMethodRS256)
	der, err := x509.MarshalPKIXPublicKey(s.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParsePublicKey(secret.New(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))))
	if err != nil {
		t.Fatal(err)
	}
	v := verifier(func(c *Config) { c.PublicKey = key })
	sc, err := v.Verify(t.Context(), header("Authorization", s.sign(t, jwt.MapClaims{"iss": idp, "sub": "7"})))
	if err != nil || sc.Principal != (securitycontext.Principal{Realm: idp, Subject: "7"}) {
		t.Errorf("Verify = %+v, %v", sc.Principal, err)
	}
	if _, err := v.Issue("alice", time.Minute); !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "HS256") {
		t.Errorf("Issue where secrets are not asked for = %v", err)
	}
	both := verifier(func(c *Config) { c.PublicKey, c.Algorithms = key, []string{"RS256", "HS256"} })
	token, err := both.Issue("alice", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if sc, err := both.Verify(t.Context(), header("Authorization", token.Reveal())); err != nil || sc.Principal.Subject != "usr_alice" {
		t.Errorf("the token of a signed-in person, beside an issuer's: %+v, %v", sc.Principal, err)
	}
	for _, text := range []string{"", "x", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"} {
		if _, err := ParsePublicKey(secret.New(text)); !errors.Is(err, fault.Invalid) {
			t.Errorf("ParsePublicKey(%q) = %v", text, err)
		}
	}
}

func TestKeysOfAnIssuerRotate(t *testing.T) {
	first, second := newSigner(t, "k1", jwt.SigningMethodES256), newSigner(t, "k2", jwt.SigningMethodES256)
	i := newIssuer(t, first.public())
	i.set(func() { i.maxAge = "public, max-age=600" })
	v := i.verifier(nil)
	ask := func(s signer) error {
		_, err := v.Verify(t.Context(), header("Authorization", s.sign(t, jwt.MapClaims{"iss": idp, "sub": "7"})))
		return err
	}
	calls := func(want int32) {
		t.Helper()
		if got := i.calls.Load(); got != want {
			t.Fatalf("the document was asked for %d times, want %d", got, want)
		}
	}
	old := first.sign(t, jwt.MapClaims{"iss": idp, "sub": "old"}) // one that is remembered
	for range 3 {
		if _, err := v.Verify(t.Context(), header("Authorization", old)); err != nil {
			t.Fatal(err)
		}
	}
	calls(1)
	i.set(func() { i.keys = []any{first.public(), second.public()} })
	if ask(second) == nil {
		t.Fatal("a key was fetched within a minute of the last fetch: anybody could have us ask without end")
	}
	calls(1)
	i.pass(refetchWindow)
	if err := ask(second); err != nil {
		t.Fatalf("a new key after a minute: %v", err)
	}
	calls(2)

	// The issuer takes a key back: it is good for nobody from the next fetch on, remembered tokens included.
	i.set(func() { i.keys = []any{second.public()} })
	i.pass(10 * time.Minute)
	if err := v.cfg.Keys.fetch(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(t.Context(), header("Authorization", old)); err == nil {
		t.Error("a token by a key that is gone was taken, because it was remembered")
	}

	// The issuer is down: what is known serves for a day beyond its life, and no longer.
	i.set(func() { i.down = true })
	i.pass(11 * time.Minute)
	if err := ask(second); err != nil {
		t.Errorf("while the issuer is down: %v", err)
	}
	i.pass(staleLife)
	if ask(second) == nil {
		t.Error("keys that nobody confirmed for a day still serve")
	}
}

func TestEverybodyWaitsForOneFetch(t *testing.T) {
	s := newSigner(t, "k1", jwt.SigningMethodES256)
	i := newIssuer(t, s.public())
	v := i.verifier(nil)
	token := s.sign(t, jwt.MapClaims{"iss": idp, "sub": "7"})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := v.Verify(t.Context(), header("Authorization", token)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := i.calls.Load(); n != 1 {
		t.Errorf("the document was asked for %d times, want once", n)
	}
}

func TestADocumentThatIsNone(t *testing.T) {
	many := `{"keys":[` + strings.TrimSuffix(strings.Repeat(`{"kty":"oct"},`, maxKeys+1), ",") + `]}`
	for _, body := range []string{"", "{}", "[]", `{"keys":{}}`, `{"keys":[]}`, `{"keys":[{"kty":"oct","kid":"a","k":"c2VjcmV0"}]}`, "<html>", many} {
		if keys, err := readKeys([]byte(body)); err == nil {
			t.Errorf("%q gives %d keys", body, len(keys))
		}
	}
}

func TestLife(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"": defaultLife, "max-age=600": 10 * time.Minute, "public, Max-Age=600": 10 * time.Minute, "max-age=1": shortestLife,
		"max-age=99999999": longestLife, "max-age=x": defaultLife, "no-store": defaultLife,
	} {
		if got := life(header); got != want {
			t.Errorf("life(%q) = %s, want %s", header, got, want)
		}
	}
}

func FuzzReadKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"RSA","kid":"a","n":"AQAB","e":"AQAB"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		keys, err := readKeys(body)
		if err == nil && len(keys) == 0 {
			t.Error("no key and no error")
		}
	})
}
