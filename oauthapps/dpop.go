package oauthapps

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/behalf-project/behalf/internal/id"
)

// Proof of possession (RFC 9449). Each connection has a key of its own; its refresh token, and where the server says
// so its access token, is of no use to anybody without it.

const (
	dpopAlgorithm  = "ES256"
	tokenTypeDPoP  = "DPoP"
	maxNonce       = 1024
	codeWantsNonce = "use_dpop_nonce"
)

// BindsTokens reports whether the tokens of a are bound to keys.
func (a App) BindsTokens() bool { return a.DPoP == DPoPAlways || a.DPoP == DPoPAuto && a.DPoPOffered }

// Bound reports whether a token of this type is of no use without a proof.
func Bound(tokenType string) bool { return strings.EqualFold(tokenType, tokenTypeDPoP) }

// NewDPoPKey makes the key of one connection.
func NewDPoPKey() (Secret, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Secret{}, err
	}
	return encodeKey(jose.JSONWebKey{Key: key, Algorithm: dpopAlgorithm, Use: "sig"})
}

// DPoPThumbprint returns what names key in an authorization request: dpop_jkt (RFC 9449 §10).
func DPoPThumbprint(key Secret) (string, error) {
	k, err := parseKey(key)
	if err != nil {
		return "", err
	}
	return thumbprint(k.jwk)
}

// WithDPoP binds a request to key, which NewDPoPKey made. An empty key adds nothing.
func WithDPoP(key Secret) Option { return func(r *request) { r.dpop = key } }

// proof makes a DPoP proof for one request (RFC 9449 §4.2). token is the access token that is shown with it, empty at
// the endpoints that give tokens.
func (c *Client) proof(key Secret, method, endpoint string, token Secret) (string, error) {
	k, err := parseKey(key)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", errors.New("the endpoint's URL is not valid")
	}
	claims := jwt.MapClaims{
		"htm": method, "htu": u.Scheme + "://" + u.Host + u.EscapedPath(), "jti": id.Random(16), "iat": c.cfg.Now().Unix(),
	}
	if !token.Empty() {
		sum := sha256.Sum256([]byte(token.Reveal()))
		claims["ath"] = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	if nonce := c.nonces.of(u); nonce != "" {
		claims["nonce"] = nonce
	}
	t := jwt.NewWithClaims(k.method, claims)
	public := jose.JSONWebKey{Key: k.jwk.Public().Key} // without an id: the thumbprint is its name here
	t.Header["typ"], t.Header["jwk"] = "dpop+jwt", public
	return t.SignedString(k.jwk.Key)
}

// prove sends r under one credential, with a proof where r has a key. A server that wants a nonce in the proof says so
// before it does anything else, refusing the request and naming the nonce (RFC 9449 §8): then it is sent once more.
func (c *Client) prove(ctx context.Context, r request, cred credential) (*http.Response, []byte, *Failure) {
	for again := false; ; again = true {
		body, header := maps.Clone(r.form), http.Header{}
		if body == nil {
			body = url.Values{}
		}
		if !r.anonymous {
			user, password, fail := c.authenticate(r.app, cred, body)
			if fail != nil {
				return nil, nil, fail
			}
			if user != "" {
				header.Set("Authorization", basic(user, password))
			}
		}
		if !r.dpop.Empty() {
			proof, err := c.proof(r.dpop, http.MethodPost, r.endpoint, Secret{})
			if err != nil {
				return nil, nil, &Failure{Class: NotSent, Code: "dpop_key_unusable", Err: err}
			}
			header.Set("DPoP", proof)
		}
		resp, text, fail := c.send(ctx, r.endpoint, header, body)
		if fail != nil || again || r.dpop.Empty() || resp.Header.Get("DPoP-Nonce") == "" {
			return resp, text, fail
		}
		if v, err := parseBody(resp.Header.Get("Content-Type"), text); err != nil || v.text("error") != codeWantsNonce {
			return resp, text, nil
		}
	}
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// getAs reads a JSON document as the holder of an access token, which is bound to the key of r if that has one. A
// server may ask for a nonce here, too (RFC 9449 §9).
func (c *Client) getAs(ctx context.Context, r request, token Secret, v any) error {
	if r.dpop.Empty() {
		return c.getJSON(ctx, r.endpoint, http.Header{"Authorization": {"Bearer " + token.Reveal()}}, v)
	}
	for again := false; ; again = true {
		proof, err := c.proof(r.dpop, http.MethodGet, r.endpoint, token)
		if err != nil {
			return &Failure{Class: NotSent, Code: "dpop_key_unusable", Err: err}
		}
		header := http.Header{"Authorization": {tokenTypeDPoP + " " + token.Reveal()}}
		header.Set("DPoP", proof)
		err = c.getJSON(ctx, r.endpoint, header, v)
		if errors.Is(err, errNonce) && again {
			return &Failure{Class: ServerFailed, Code: CodeProviderError, Status: http.StatusUnauthorized, Err: errors.New("it wants another nonce each time")}
		}
		if !errors.Is(err, errNonce) {
			return err
		}
	}
}

// errNonce says that the request has to be repeated with the nonce that was just learned.
var errNonce = errors.New("the server wants a nonce in the proof")

// nonceDemanded reports whether a protected resource refuses a proof for want of a nonce (RFC 9449 §9).
func nonceDemanded(resp *http.Response) bool {
	return resp.StatusCode == http.StatusUnauthorized && resp.Header.Get("DPoP-Nonce") != "" &&
		strings.Contains(resp.Header.Get("WWW-Authenticate"), codeWantsNonce)
}

// nonces are the last nonces of authorization servers, by origin: one that a server gave before saves the request that
// would be refused for want of it.
type nonces struct{ last *lru.Cache[string, string] }

func newNonces() *nonces {
	last, err := lru.New[string, string](256)
	if err != nil {
		panic("oauthapps: " + err.Error()) // only a size below one is an error
	}
	return &nonces{last}
}

func (n *nonces) of(u *url.URL) string {
	nonce, _ := n.last.Get(u.Scheme + "://" + u.Host)
	return nonce
}

// learn keeps the nonce of an answer, whatever the answer is (RFC 9449 §8.2).
func (n *nonces) learn(resp *http.Response) {
	nonce := resp.Header.Get("DPoP-Nonce")
	if nonce == "" || len(nonce) > maxNonce {
		return
	}
	for i := range len(nonce) {
		if c := nonce[i]; c < 0x21 || c > 0x7e || c == '"' || c == '\\' { // RFC 9449 §8.1
			return
		}
	}
	n.last.Add(resp.Request.URL.Scheme+"://"+resp.Request.URL.Host, nonce)
}
