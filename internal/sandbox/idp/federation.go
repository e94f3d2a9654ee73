package idp

import (
	"crypto/rand"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/secret"
	"github.com/golang-jwt/jwt/v5"
)

const (
	typeJWT     = "urn:ietf:params:oauth:token-type:jwt"
	typeIDToken = "urn:ietf:params:oauth:token-type:id_token"
)

// Federation is another issuer whose tokens of people are exchanged for tokens of this provider (RFC 8693 §2), as by the
// federation policy of a Databricks account. Who somebody is here is said by the token's sub: a username, an e-mail
// address or a subject of this provider.
type Federation struct {
	Issuer   string
	Audience string // that the tokens must name
	JWKSURI  string // the issuer's keys
	Refresh  bool   // whether a refresh token comes with the exchange, where it is asked for
}

// Federate makes the provider exchange the tokens of f from now on, or, with nil, nobody's.
func (p *Provider) Federate(f *Federation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.federation = f
}

// IssueJWT returns a JWT of this provider that says who the person username is, by their e-mail address, to audience: a
// subject token for somebody who federates this provider. change may spoil its claims; it may be nil.
func (p *Provider) IssueJWT(username, audience string, life time.Duration, change func(jwt.MapClaims)) secret.Text {
	p.mu.Lock()
	defer p.mu.Unlock()
	subject := username
	if person := p.people[username]; person != nil && person.Email != "" {
		subject = person.Email
	}
	now := p.now()
	claims := jwt.MapClaims{"iss": p.issuer, "sub": subject, "aud": audience, "iat": now.Unix(), "exp": now.Add(life).Unix(), "jti": rand.Text()}
	if change != nil {
		change(claims)
	}
	text, err := p.sign(claims, "JWT")
	if err != nil {
		return secret.Text{}
	}
	p.seen("subject_token", text)
	return secret.New(text)
}

// subjectOf reads the subject token of a token exchange into c and reports whether it is a federated issuer's: one that
// is no JWT is this provider's own. One that does not hold is refused before anything else is looked at.
func (p *Provider) subjectOf(c *call) (federated bool, refusal *answer) {
	kind := c.form.Get("subject_token_type")
	if c.form.Get("grant_type") != grantTokenExchange || kind != typeJWT && kind != typeIDToken {
		return false, nil
	}
	raw := c.form.Get("subject_token")
	p.mu.Lock()
	f := p.federation
	p.seen("subject_token", raw)
	p.mu.Unlock()
	refuse := func(description string) (bool, *answer) {
		a := oauthError(http.StatusBadRequest, "invalid_grant", description)
		return true, &a
	}
	if f == nil {
		return refuse("no issuer is federated")
	}
	keys, err := (&Client{JWKSURI: f.JWKSURI}).keys(c.r.Context())
	if err != nil {
		return refuse("the keys of the issuer cannot be read")
	}
	claims := jwt.MapClaims{}
	_, err = jwt.NewParser(
		jwt.WithValidMethods([]string{"RS256", "ES256"}), jwt.WithTimeFunc(p.now), jwt.WithExpirationRequired(),
		jwt.WithIssuer(f.Issuer), jwt.WithAudience(f.Audience),
	).ParseWithClaims(raw, claims, func(t *jwt.Token) (any, error) {
		kid, _ := t.Header["kid"].(string)
		for _, k := range keys.Key(kid) {
			return k.Key, nil
		}
		return nil, jwt.ErrTokenUnverifiable
	})
	if err != nil {
		return refuse("the subject token does not verify")
	}
	c.subject = claims
	return true, nil
}

// federate gives tokens of the person whom a federated issuer names; p.mu is held.
func (p *Provider) federate(c *call, client *Client, key string) answer {
	form := c.form
	_, _, basic := c.r.BasicAuth()
	requested := form.Get("requested_token_type")
	switch {
	case p.quirks.AnonymousExchange && (basic || form.Has("client_id") || form.Has("client_assertion")):
		return oauthError(http.StatusBadRequest, "invalid_client", "there is no service principal of this client_id")
	case requested != "" && requested != typeAccessToken:
		return oauthError(http.StatusBadRequest, "invalid_request", "tokens are exchanged for access tokens")
	case form.Has("actor_token"):
		return oauthError(http.StatusBadRequest, "invalid_request", "an actor is not known here")
	}
	subject, _ := c.subject["sub"].(string)
	name := ""
	for username, person := range p.people {
		if subject != "" && slices.Contains([]string{username, person.Email, person.Subject}, subject) {
			name = username
		}
	}
	if name == "" {
		return oauthError(http.StatusBadRequest, "invalid_grant", "the subject is nobody here")
	}
	c.entry.Person = name
	g := &grant{
		client: client.ID, person: name, scopes: strings.Fields(form.Get("scope")), resources: form["resource"], signedIn: p.now(),
		offline: p.federation != nil && p.federation.Refresh,
	}
	var next *refreshToken
	if !p.quirks.AnonymousExchange {
		next = p.newRefresh(g, client, key)
	}
	a := p.issue(c, g, grantedToken{scopes: g.scopes, audience: g.resources, key: p.bound(key)}, next)
	if a.status == http.StatusOK {
		a.json["issued_token_type"] = typeAccessToken
	}
	return a
}
