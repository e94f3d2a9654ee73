package connectedapps_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/behalf-project/behalf/internal/id"
)

// canary is in everything secret that the authorization server gives out: it must not be found anywhere else.
const canary = "canary"

const (
	clientID     = "behalf:client"
	clientSecret = "s3cr:et %+/ü canary"
)

var signingKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// authServer is an authorization server on loopback. Refresh tokens rotate, and one that is used twice ends its whole
// family (RFC 9700 §4.14.2).
type authServer struct {
	*httptest.Server
	now func() time.Time

	mu       sync.Mutex
	codes    map[string]authCode
	families map[string]*family // by refresh token, spent ones too
	faults   []trouble          // for the next token requests, in order
	refusals []trouble          // for the next revocations, in order
	life     time.Duration
	refresh  time.Duration // refresh_token_expires_in; 0: not said
	rotate   bool
	subject  string // of ID tokens at refresh; empty: who consented
	noRefr   bool   // gives no refresh token
	user     string

	emailVerified any // nil: not said

	exchanges, refreshes, revocations, reuses int
	revoked                                   []string
	forms                                     []url.Values
}

type authCode struct{ challenge, redirect, nonce, scope string }

type family struct {
	current string
	dead    bool
	subject string
	scope   string
}

// trouble answers a token request instead of the server, or returns false to let it answer. after tells it to act when
// the server already has.
type trouble struct {
	before func(w http.ResponseWriter, r *http.Request) bool
	after  func(w http.ResponseWriter, r *http.Request)
}

func newAuthServer(t *testing.T, now func() time.Time) *authServer {
	s := &authServer{now: now, codes: map[string]authCode{}, families: map[string]*family{}, life: time.Hour, rotate: true, user: "alice@provider"}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", s.token)
	mux.HandleFunc("POST /revoke", s.revoke)
	mux.HandleFunc("GET /jwks", s.jwks)
	mux.HandleFunc("GET /userinfo", s.userinfo)
	mux.HandleFunc("GET /.well-known/openid-configuration", s.metadata)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// breakNext makes the next token requests fail with faults, in order.
func (s *authServer) breakNext(faults ...trouble) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, faults...)
}

// mend ends its faults.
func (s *authServer) mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

func (s *authServer) counts() (refreshes, exchanges int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refreshes, s.exchanges
}

// told is how often it was told that a token has ended.
func (s *authServer) told() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.revocations
}

// authorize is what the authorization endpoint does after the person consents: it returns the code.
func (s *authServer) authorize(t *testing.T, authURL string) (state, code string) {
	t.Helper()
	u, err := url.Parse(authURL)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	for _, p := range []string{"state", "code_challenge", "redirect_uri", "client_id", "scope"} {
		if q.Get(p) == "" {
			t.Fatalf("the authorization request has no %s: %s", p, u.RawQuery)
		}
	}
	if q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" || q.Get("client_id") != clientID {
		t.Fatalf("authorization request %s", u.RawQuery)
	}
	code = canary + "-code-" + id.Random(16)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.codes[code] = authCode{q.Get("code_challenge"), q.Get("redirect_uri"), q.Get("nonce"), q.Get("scope")}
	return q.Get("state"), code
}

func (s *authServer) token(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	s.mu.Lock()
	s.forms = append(s.forms, r.PostForm)
	if r.PostForm.Get("grant_type") == "refresh_token" {
		s.refreshes++
	} else {
		s.exchanges++
	}
	var f trouble
	if len(s.faults) > 0 {
		f, s.faults = s.faults[0], s.faults[1:]
	}
	s.mu.Unlock()
	if f.before != nil && f.before(w, r) {
		return
	}
	status, body := s.answer(r)
	if f.after != nil {
		f.after(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func (s *authServer) answer(r *http.Request) (int, map[string]any) {
	user, pass, _ := r.BasicAuth()
	user, _ = url.QueryUnescape(user)
	pass, _ = url.QueryUnescape(pass)
	if user != clientID || pass != clientSecret {
		return 401, map[string]any{"error": "invalid_client"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	form := r.PostForm
	if form.Get("grant_type") == "refresh_token" {
		f := s.families[form.Get("refresh_token")]
		if f == nil || f.dead {
			return 400, map[string]any{"error": "invalid_grant", "error_description": "canary description"}
		}
		if f.current != form.Get("refresh_token") {
			f.dead = true
			s.reuses++
			return 400, map[string]any{"error": "invalid_grant"}
		}
		return 200, s.tokens(f, "")
	}
	c, ok := s.codes[form.Get("code")]
	delete(s.codes, form.Get("code"))
	sum := sha256.Sum256([]byte(form.Get("code_verifier")))
	if !ok || c.redirect != form.Get("redirect_uri") || base64.RawURLEncoding.EncodeToString(sum[:]) != c.challenge {
		return 400, map[string]any{"error": "invalid_grant"}
	}
	return 200, s.tokens(&family{subject: "sub-" + s.user, scope: c.scope}, c.nonce)
}

// tokens answers with new tokens of f. It is called with mu held.
func (s *authServer) tokens(f *family, nonce string) map[string]any {
	body := map[string]any{
		"access_token": canary + "-access-" + id.Random(16), "token_type": "bearer", "expires_in": int(s.life.Seconds()), "scope": f.scope,
	}
	if !s.noRefr && (f.current == "" || s.rotate) {
		f.current = canary + "-refresh-" + id.Random(16)
		s.families[f.current] = f
		body["refresh_token"] = f.current
	}
	if s.refresh > 0 {
		body["refresh_token_expires_in"] = int(s.refresh.Seconds())
	}
	if slices.Contains(strings.Fields(f.scope), "openid") {
		subject := f.subject
		if nonce == "" && s.subject != "" {
			subject = s.subject
		}
		body["id_token"] = s.idToken(jwt.MapClaims{"sub": subject, "email": s.user, "nonce": nonce})
	}
	return body
}

func (s *authServer) idToken(claims jwt.MapClaims) string {
	for name, value := range map[string]any{
		"iss": s.URL, "aud": clientID, "iat": s.now().Unix(), "exp": s.now().Add(5 * time.Minute).Unix(),
	} {
		if _, ok := claims[name]; !ok {
			claims[name] = value
		}
	}
	tok := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	tok.Header["kid"] = "k1"
	signed, err := tok.SignedString(signingKey())
	if err != nil {
		panic(err)
	}
	return signed
}

func (s *authServer) revoke(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	var f trouble
	if len(s.refusals) > 0 {
		f, s.refusals = s.refusals[0], s.refusals[1:]
	}
	s.mu.Unlock()
	if f.before != nil && f.before(w, r) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revocations++
	s.revoked = append(s.revoked, r.FormValue("token_type_hint"))
	if f := s.families[r.FormValue("token")]; f != nil {
		f.dead = true
	}
}

// endAll is what a password change does at many providers.
func (s *authServer) endAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.families {
		f.dead = true
	}
}

// revive undoes what ended the grants, as a server with a reuse window would not have ended them.
func (s *authServer) revive() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.families {
		f.dead = false
	}
}

func (s *authServer) jwks(w http.ResponseWriter, _ *http.Request) {
	pub := signingKey().PublicKey
	_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{map[string]any{
		"kty": "RSA", "kid": "k1", "use": "sig", "alg": "RS256",
		"n": base64.RawURLEncoding.EncodeToString(pub.N.Bytes()),
		"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(pub.E)).Bytes()),
	}}})
}

func (s *authServer) userinfo(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer "+canary) {
		w.WriteHeader(401)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	claims := map[string]any{"sub": "sub-" + s.user, "email": s.user}
	if s.emailVerified != nil {
		claims["email_verified"] = s.emailVerified
	}
	_ = json.NewEncoder(w).Encode(claims)
}

func (s *authServer) metadata(w http.ResponseWriter, _ *http.Request) {
	_ = json.NewEncoder(w).Encode(map[string]any{
		"issuer": s.URL, "authorization_endpoint": s.URL + "/authorize", "token_endpoint": s.URL + "/token",
		"jwks_uri": s.URL + "/jwks", "userinfo_endpoint": s.URL + "/userinfo", "revocation_endpoint": s.URL + "/revoke",
		"authorization_response_iss_parameter_supported": true,
	})
}

// Faults.

func answering(status int, contentType, body string, header ...string) trouble {
	return trouble{before: func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", contentType)
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = fmt.Fprint(w, body)
		return true
	}}
}

func drop(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}

// answerLost lets the server act and drops the connection.
func answerLost() trouble { return trouble{after: drop} }

// requestLost drops the connection before the server acts. To the client it looks the same.
func requestLost() trouble {
	return trouble{before: func(w http.ResponseWriter, r *http.Request) bool { drop(w, r); return true }}
}

// slow holds the request until release is closed.
func slow(arrived chan<- struct{}, release <-chan struct{}) trouble {
	return trouble{before: func(http.ResponseWriter, *http.Request) bool {
		arrived <- struct{}{}
		<-release
		return false
	}}
}
