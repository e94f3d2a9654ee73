package idp

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
)

// privateKeyJWT is the one method without a secret that is no public client's.
const privateKeyJWT = "private_key_jwt"

// public reports whether c cannot authenticate.
func (c *Client) public() bool { return c.Secret.Empty() && c.AuthMethod != privateKeyJWT }

// maxAssertion is how far ahead an assertion may end.
const maxAssertion = 5 * time.Minute

// assertion authenticates the client that signed client_assertion (RFC 7523 §3): for this server, in its time, once,
// with a key that the client has published. The second result is why not.
func (p *Provider) assertion(c *call) (*Client, string) {
	if c.form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
		return nil, "client_assertion_type is not known"
	}
	raw := c.form.Get("client_assertion")
	var claims jwt.RegisteredClaims
	if _, _, err := jwt.NewParser().ParseUnverified(raw, &claims); err != nil {
		return nil, "client_assertion is not a JWT"
	}
	c.entry.Client = claims.Subject
	p.mu.Lock()
	p.seen("client_assertion", raw)
	client := p.clients[claims.Subject]
	p.mu.Unlock()
	if id := c.form.Get("client_id"); client == nil || client.AuthMethod != privateKeyJWT || id != "" && id != client.ID {
		return nil, "the client is unknown, or registered to authenticate in another way"
	}
	keys, err := client.keys(c.r.Context())
	if err != nil {
		return nil, "the client's keys cannot be read"
	}
	claims = jwt.RegisteredClaims{}
	_, err = jwt.NewParser(
		jwt.WithValidMethods([]string{"RS256", "PS256", "ES256", "EdDSA"}), jwt.WithTimeFunc(p.now), jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(), jwt.WithIssuer(client.ID), jwt.WithSubject(client.ID),
	).ParseWithClaims(raw, &claims, func(t *jwt.Token) (any, error) {
		kid, _ := t.Header["kid"].(string)
		for _, k := range keys.Key(kid) {
			if k.Algorithm == "" || k.Algorithm == t.Method.Alg() {
				return k.Key, nil
			}
		}
		return nil, jwt.ErrTokenUnverifiable
	})
	now := p.now()
	switch {
	case err != nil:
		return nil, "client_assertion does not verify"
	case len(claims.Audience) != 1 || !slices.Contains([]string{p.issuer, p.issuer + "/token"}, claims.Audience[0]):
		return nil, "client_assertion is for somebody else"
	case claims.IssuedAt == nil || claims.ExpiresAt.After(now.Add(maxAssertion)):
		return nil, "client_assertion lives too long"
	case claims.ID == "" || !p.once("assertion "+client.ID+" "+claims.ID, claims.ExpiresAt.Time):
		return nil, "client_assertion was used before"
	}
	return client, ""
}

// keys returns the public keys of c, fetched from where it publishes them.
func (c *Client) keys(ctx context.Context) (jose.JSONWebKeySet, error) {
	var set jose.JSONWebKeySet
	text := c.JWKS
	if c.JWKSURI != "" {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.JWKSURI, nil)
		if err != nil {
			return set, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return set, err
		}
		defer resp.Body.Close()
		if text, err = io.ReadAll(io.LimitReader(resp.Body, maxBody)); err != nil {
			return set, err
		}
	}
	return set, json.Unmarshal(text, &set)
}

// once reports whether it is asked about id for the first time; until says how long id has to be remembered.
func (p *Provider) once(id string, until time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	for old, end := range p.ids {
		if now.After(end) {
			delete(p.ids, old)
		}
	}
	if _, seen := p.ids[id]; seen {
		return false
	}
	p.ids[id] = until
	return true
}

// pushed is an authorization request that a client pushed (RFC 9126).
type pushed struct {
	client  string
	params  url.Values
	expires time.Time
	shown   bool // its sign-in page was drawn
	used    bool
}
