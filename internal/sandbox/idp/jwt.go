package idp

import (
	"crypto/rand"
	"encoding/base64"
	"math/big"
	"net/http"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/sandbox/bearer"
	"github.com/golang-jwt/jwt/v5"
)

const idTokenLife = 10 * time.Minute

// jwks publishes the signing key (RFC 7517).
func (p *Provider) jwks(*call) answer {
	pub := p.key.PublicKey
	return jsonAnswer(http.StatusOK, map[string]any{"keys": []map[string]any{{
		"kty": "RSA", "use": "sig", "alg": jwt.SigningMethodRS256.Alg(), "kid": p.keyID,
		"n": base64.RawURLEncoding.EncodeToString(pub.N.Bytes()),
		"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(pub.E)).Bytes()),
	}}})
}

func (p *Provider) sign(claims jwt.MapClaims, typ string) (string, error) {
	t := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	t.Header["kid"], t.Header["typ"] = p.keyID, typ
	return t.SignedString(p.key)
}

// idToken makes the ID token of OpenID Connect Core §2; p.mu is held.
func (p *Provider) idToken(g *grant, nonce string, spoil func(jwt.MapClaims)) (string, error) {
	now := p.now()
	claims := jwt.MapClaims{
		"iss": p.issuer, "sub": p.subject(g), "aud": g.client, "iat": now.Unix(), "exp": now.Add(idTokenLife).Unix(), "auth_time": g.signedIn.Unix(),
	}
	if nonce != "" {
		claims["nonce"] = nonce
	}
	for name, value := range p.profile(g) {
		claims[name] = value
	}
	if spoil != nil {
		spoil(claims)
	}
	return p.sign(claims, "JWT")
}

// profile returns the claims about the person that the scopes of g open; p.mu is held.
func (p *Provider) profile(g *grant) map[string]any {
	person, out := p.people[g.person], map[string]any{}
	if person == nil {
		return out
	}
	for _, scope := range g.scopes {
		switch scope {
		case "profile":
			out["preferred_username"], out["name"] = person.Username, person.Name
		case "email":
			out["email"], out["email_verified"] = person.Email, true
		}
	}
	return out
}

// accessText returns the text of a new access token: random, or signed as RFC 9068 has it; p.mu is held.
func (p *Provider) accessText(t *accessToken) (string, error) {
	if !p.settings.jwtAccess {
		return "at_" + rand.Text() + rand.Text(), nil
	}
	audience := t.audience
	if len(audience) == 0 {
		audience = []string{p.issuer}
	}
	claims := jwt.MapClaims{
		"iss": p.issuer, "sub": p.subject(t.grant), "aud": jwt.ClaimStrings(audience), "client_id": t.grant.client, "scope": strings.Join(t.scopes, " "),
		"iat": t.issued.Unix(), "exp": t.expires.Unix(), "jti": rand.Text(),
	}
	if t.key != "" {
		claims["cnf"] = map[string]string{"jkt": t.key}
	}
	return p.sign(claims, "at+jwt")
}

// userinfo tells about the person whose access token it is shown (OpenID Connect Core §5.3). One that is bound to a key
// needs a proof, and the scheme DPoP (RFC 9449 §7.1).
func (p *Provider) userinfo(c *call) answer {
	scheme, token, _ := strings.Cut(c.r.Header.Get("Authorization"), " ")
	p.mu.Lock()
	t, nonce := p.access[hash(token)], p.settings.nonce
	var h bearer.Holder
	if t != nil {
		h = p.holder(t)
	}
	p.mu.Unlock()
	refuse := func(scheme, code, description string) answer {
		a := oauthError(http.StatusUnauthorized, code, description)
		a.header = http.Header{"Www-Authenticate": {scheme + ` error="` + code + `"`}}
		if scheme == "DPoP" && nonce != "" {
			a.header.Set("DPoP-Nonce", nonce)
		}
		return a
	}
	if h.Status != bearer.Active || h.Service {
		return refuse("Bearer", "invalid_token", "the access token is "+h.Status.String())
	}
	if t.key != "" {
		key, refusal := p.proof(c, "/userinfo", token)
		switch {
		case refusal != nil:
			code, _ := refusal.json["error"].(string)
			return refuse("DPoP", code, "the proof is not good")
		case scheme != "DPoP" || key != t.key:
			return refuse("DPoP", "invalid_token", "the access token is bound to a key")
		}
	} else if scheme != "Bearer" {
		return refuse("Bearer", "invalid_token", "the access token is a bearer token")
	}
	c.entry.Person = h.Name
	p.mu.Lock()
	defer p.mu.Unlock()
	body := p.profile(t.grant)
	body["sub"] = p.subject(t.grant)
	return jsonAnswer(http.StatusOK, body)
}
