package oauthapps

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/id"
)

// How an app authenticates at the endpoints of its authorization server: by the method it names and no other, with a
// shared secret (RFC 6749 §2.3.1), with an assertion that its private key signs (RFC 7523), or not at all.

// assertionLife is how long an assertion is good. It is made for one request.
const assertionLife = time.Minute

// assertionType is client_assertion_type (RFC 7523 §2.2).
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// request is one POST to an endpoint of an app's authorization server.
type request struct {
	app      App
	endpoint string
	form     url.Values
	dpop     Secret // the key that the tokens are bound to; empty: no proof is sent

	anonymous bool // without client authentication, nor a client_id: see Quirks.AnonymousExchange
}

// Option adds to a request that a Client makes.
type Option func(*request)

// credential is one way to be the client of an app.
type credential struct {
	secret Secret
	next   bool // it is ClientSecretNext
}

// credentials are the credentials of a in the order in which they are shown to the server: the one that it accepted
// last comes first.
func (a App) credentials() []credential {
	switch a.AuthMethod {
	case ClientSecretBasic, ClientSecretPost, "":
	default:
		return []credential{{}}
	}
	list := []credential{{secret: a.ClientSecret}}
	if !a.ClientSecretNext.Empty() {
		list = append(list, credential{a.ClientSecretNext, true})
	}
	if a.NextInUse {
		slices.Reverse(list)
	}
	return list
}

// authenticate adds client authentication to form, or returns user and password of the Authorization header.
//
// The secret goes into the form only where the app says so; RFC 6749 §2.3.1 wants id and secret form-encoded before
// Basic joins them, or a colon in the id would move the border between them.
func (c *Client) authenticate(a App, cred credential, form url.Values) (user, password string, fail *Failure) {
	switch a.AuthMethod {
	case ClientSecretPost:
		form.Set("client_id", a.ClientID)
		form.Set("client_secret", cred.secret.Reveal())
	case NoAuth:
		form.Set("client_id", a.ClientID)
	case PrivateKeyJWT:
		assertion, err := c.assertion(a)
		if err != nil {
			return "", "", &Failure{Class: ClientRefused, Code: "private_key_unusable", Err: err}
		}
		form.Set("client_id", a.ClientID) // not needed (RFC 7521 §4.2), and some servers look for it
		form.Set("client_assertion_type", assertionType)
		form.Set("client_assertion", assertion)
	case ClientSecretBasic, "":
		return url.QueryEscape(a.ClientID), url.QueryEscape(cred.secret.Reveal()), nil
	default:
		return "", "", &Failure{Class: ClientRefused, Code: "unsupported_auth_method"}
	}
	return "", "", nil
}

// assertion makes the proof that we hold the private key of a (RFC 7523 §3): for one server, once, for a minute.
func (c *Client) assertion(a App) (string, error) {
	key, err := parseKey(a.PrivateKey)
	if err != nil {
		return "", err
	}
	now := c.cfg.Now()
	t := jwt.NewWithClaims(key.method, jwt.MapClaims{
		"iss": a.ClientID, "sub": a.ClientID, "aud": a.audience(), "jti": id.Random(16),
		"iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	})
	t.Header["kid"] = key.jwk.KeyID
	return t.SignedString(key.jwk.Key)
}

// audience is whom the assertions of a are addressed to.
func (a App) audience() string {
	if a.AssertionAudience == AudienceTokenEndpoint || a.Issuer == "" {
		return a.TokenURL
	}
	return a.Issuer
}

// rejected reports whether a server refused the credential of an app, and so did nothing else with the request: client
// authentication comes first (RFC 6749 §5.2). A code or refresh token that came with it is not spent.
func rejected(resp *http.Response, body []byte) bool {
	v, err := parseBody(resp.Header.Get("Content-Type"), body)
	if err != nil {
		return false
	}
	switch v.text("error") {
	case CodeInvalidClient, "incorrect_client_credentials":
		return true
	}
	return false
}

// post sends r with the app's client authentication and returns the whole answer, unless its status already says that
// the server failed. Of two secrets the second is shown when the first is refused as invalid_client, and only then;
// the one that was accepted is remembered.
func (c *Client) post(ctx context.Context, r request) (*http.Response, []byte, *Failure) {
	if r.anonymous {
		return c.prove(ctx, r, credential{})
	}
	var first *http.Response
	var text []byte
	for i, cred := range r.app.credentials() {
		resp, body, fail := c.prove(ctx, r, cred)
		if fail != nil {
			return nil, nil, fail
		}
		if !rejected(resp, body) {
			if cred.next != r.app.NextInUse {
				c.accepted(ctx, r.app, cred.next)
			}
			return resp, body, nil
		}
		if i == 0 {
			first, text = resp, body
		}
	}
	return first, text, nil
}

// accepted tells the registry which secret of app the server accepts. What cannot be recorded now is found again by
// the next call.
func (c *Client) accepted(ctx context.Context, app App, next bool) {
	if c.registry == nil || app.ID == "" {
		return
	}
	if err := c.registry.accepted(ctx, app, next); err != nil {
		c.cfg.Log.Warn("the client secret in use was not recorded", zap.String("app_id", app.ID), zap.Error(err))
	}
}

// accepted records which of two client secrets the authorization server of a accepts. Only a change is written.
func (r *Registry) accepted(ctx context.Context, a App, next bool) error {
	return r.amend(ctx, a, func(cur App, e *audit.Entry) (App, bool) {
		e.Detail["client_secret_in_use"] = "client_secret"
		if next {
			e.Detail["client_secret_in_use"] = "client_secret_next"
		}
		changed := cur.NextInUse != next
		cur.NextInUse = next
		return cur, changed
	})
}

// A private key.

// signingKey is a private key with what its JWK says about it.
type signingKey struct {
	jwk    jose.JSONWebKey
	method jwt.SigningMethod
}

// KeyAlgorithms are the algorithms of private_key_jwt, the default first.
var KeyAlgorithms = []string{"ES256", "RS256", "PS256", "EdDSA"}

// NewPrivateKey makes a private key for an algorithm of KeyAlgorithms, as a JWK.
func NewPrivateKey(algorithm string) (Secret, error) {
	var key any
	var err error
	switch algorithm {
	case "ES256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "RS256", "PS256":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "EdDSA":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		return Secret{}, fmt.Errorf("there is no algorithm %q", clip(algorithm))
	}
	if err != nil {
		return Secret{}, err
	}
	return encodeKey(jose.JSONWebKey{Key: key, Algorithm: algorithm, Use: "sig"})
}

// encodeKey writes a private key as a JWK, with its thumbprint (RFC 7638) as its id where it has none.
func encodeKey(k jose.JSONWebKey) (Secret, error) {
	if k.KeyID == "" {
		var err error
		if k.KeyID, err = thumbprint(k); err != nil {
			return Secret{}, err
		}
	}
	text, err := json.Marshal(k)
	if err != nil {
		return Secret{}, errors.New("the key cannot be written as a JWK")
	}
	return NewSecret(string(text)), nil
}

func thumbprint(k jose.JSONWebKey) (string, error) {
	sum, err := k.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", errors.New("has no thumbprint")
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

// CheckPrivateKey says what is wrong with a private key for private_key_jwt, or returns nil. The error is the end of a
// sentence that begins with the field's name.
func CheckPrivateKey(key Secret) error {
	_, err := parseKey(key)
	return err
}

// parseKey reads a private key: a JWK, or PEM as PKCS #8, PKCS #1 or SEC 1. The errors are the end of a sentence that
// begins with the name of the field, and say nothing of the key.
func parseKey(text Secret) (signingKey, error) {
	var k signingKey
	raw := strings.TrimSpace(text.Reveal())
	if strings.HasPrefix(raw, "{") {
		if err := json.Unmarshal([]byte(raw), &k.jwk); err != nil {
			return k, errors.New("is not a JWK (RFC 7517)")
		}
	} else {
		key, err := parsePEM([]byte(raw))
		if err != nil {
			return k, err
		}
		k.jwk.Key = key
	}
	if k.jwk.Use != "" && k.jwk.Use != "sig" {
		return k, errors.New("is a key for encryption, not for signatures")
	}
	algorithms := []string{"ES256"}
	switch key := k.jwk.Key.(type) {
	case *rsa.PrivateKey:
		if key.N.BitLen() < 2048 || key.N.BitLen() > 8192 || key.Validate() != nil {
			return k, errors.New("must be an RSA key of 2048 to 8192 bits")
		}
		algorithms = []string{"RS256", "PS256"}
	case *ecdsa.PrivateKey:
		if key.Curve != elliptic.P256() {
			return k, errors.New("must be on the curve P-256 when it is an elliptic curve key")
		}
	case ed25519.PrivateKey:
		algorithms = []string{"EdDSA"}
	case *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey:
		return k, errors.New("is a public key: the private one is needed, and the provider gets the public one")
	default:
		return k, errors.New("must be an RSA, P-256 or Ed25519 key")
	}
	if k.jwk.Algorithm == "" {
		k.jwk.Algorithm = algorithms[0]
	}
	if !slices.Contains(algorithms, k.jwk.Algorithm) {
		return k, fmt.Errorf("has an alg that does not go with it: use %s", strings.Join(algorithms, " or "))
	}
	k.jwk.Use, k.method = "sig", jwt.GetSigningMethod(k.jwk.Algorithm)
	if k.jwk.KeyID == "" {
		var err error
		if k.jwk.KeyID, err = thumbprint(k.jwk); err != nil {
			return k, err
		}
	}
	return k, nil
}

func parsePEM(text []byte) (any, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("is neither PEM nor a JWK")
	}
	switch block.Type {
	case "PRIVATE KEY":
		if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			return key, nil
		}
	case "RSA PRIVATE KEY":
		if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
			return key, nil
		}
	case "EC PRIVATE KEY":
		if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
			return key, nil
		}
	case "ENCRYPTED PRIVATE KEY":
		return nil, errors.New("is encrypted: give it without a passphrase; it is sealed here")
	case "PUBLIC KEY", "RSA PUBLIC KEY", "CERTIFICATE":
		return nil, errors.New("is a public key: the private one is needed, and the provider gets the public one")
	}
	return nil, errors.New("is not a private key that can be read")
}

// PublicKey returns the public half of a's private key as a JWK (RFC 7517), for its provider to verify what the key
// signs; nil when a has no key.
func (a App) PublicKey() json.RawMessage {
	k, err := parseKey(a.PrivateKey)
	if a.PrivateKey.Empty() || err != nil {
		return nil
	}
	text, err := k.jwk.Public().MarshalJSON()
	if err != nil {
		return nil
	}
	return text
}

// normalizeKey returns text as a JWK, or as it is when it is no usable key: check says what is wrong with it.
func normalizeKey(text Secret) Secret {
	k, err := parseKey(text)
	if text.Empty() || err != nil {
		return text
	}
	jwk, err := encodeKey(k.jwk)
	if err != nil {
		return text
	}
	return jwk
}

// The credentials of an app, as a whole.

// sameCredentials reports whether a and b are the same client with the same credentials.
func (a App) sameCredentials(b App) bool {
	return a.ClientID == b.ClientID && a.AuthMethod == b.AuthMethod && a.ClientSecret.Equal(b.ClientSecret) &&
		a.ClientSecretNext.Equal(b.ClientSecretNext) && a.PrivateKey.Equal(b.PrivateKey)
}

// kept is a credential of an app, with the time at which it was set.
type kept struct {
	value *Secret
	set   *time.Time
	used  bool // the app's method has use for it
}

// secrets are the credentials of a.
func (a *App) secrets() []kept {
	shared := a.AuthMethod == ClientSecretBasic || a.AuthMethod == ClientSecretPost
	return []kept{
		{&a.ClientSecret, &a.SecretSet, shared},
		{&a.ClientSecretNext, &a.NextSecretSet, shared},
		{&a.PrivateKey, &a.PrivateKeySet, a.AuthMethod == PrivateKeyJWT},
	}
}

// saved reports whether s is one of a's credentials.
func (a App) saved(s Secret) bool {
	return s.Equal(a.ClientSecret) || s.Equal(a.ClientSecretNext) || s.Equal(a.PrivateKey)
}

// entered reports whether every credential that a, the update of old, has was given with the update: it has no time
// yet, or is none of those that were saved, whichever of them it was.
func (a App) entered(old App) bool {
	for _, s := range a.secrets() {
		if !s.value.Empty() && !s.set.IsZero() && old.saved(*s.value) {
			return false
		}
	}
	return true
}

// renewed reports whether any credential of a was given with the update of old.
func (a App) renewed(old App) bool {
	for _, s := range a.secrets() {
		if !s.value.Empty() && (s.set.IsZero() || !old.saved(*s.value)) {
			return true
		}
	}
	return false
}

// dropUnused removes the saved credentials that a's method has no use for.
func (a *App) dropUnused(old App) {
	for _, s := range a.secrets() {
		if !s.used && !s.set.IsZero() && old.saved(*s.value) {
			*s.value = Secret{}
		}
	}
}

// stamp sets when the credentials of a, which replaces old, were set.
func (a *App) stamp(old App, now time.Time) {
	before := old.secrets()
	for i, s := range a.secrets() {
		switch {
		case s.value.Empty():
			*s.set = time.Time{}
		case s.set.IsZero() || !s.value.Equal(*before[i].value):
			*s.set = now
		}
	}
}
