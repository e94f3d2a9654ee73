package idp

import (
	"net/http"
	"slices"
	"strings"
)

const (
	grantTokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeAccessToken    = "urn:ietf:params:oauth:token-type:access_token"
)

// exchange gives a token of the same person for one audience (RFC 8693), with the scopes that are asked for and that
// the shown token has; p.mu is held.
func (p *Provider) exchange(c *call, client *Client) answer {
	form := c.form
	if len(client.ExchangeAudiences) == 0 {
		return oauthError(http.StatusBadRequest, "unauthorized_client", "the client may not exchange tokens")
	}
	requested := form.Get("requested_token_type")
	switch {
	case form.Get("subject_token_type") != typeAccessToken || requested != "" && requested != typeAccessToken:
		return oauthError(http.StatusBadRequest, "invalid_request", "only access tokens are exchanged, for access tokens")
	case form.Has("actor_token"):
		return oauthError(http.StatusBadRequest, "invalid_request", "an actor is not known here")
	case !slices.Contains(client.ExchangeAudiences, form.Get("audience")):
		return oauthError(http.StatusBadRequest, "invalid_target", "tokens are not given for this audience")
	}
	found := p.access[hash(form.Get("subject_token"))]
	if found == nil || found.revoked || found.grant.revoked || !p.now().Before(found.expires) || found.grant.client != client.ID || found.key != "" {
		return oauthError(http.StatusBadRequest, "invalid_request", "the subject token is not good")
	}
	c.entry.Person = found.grant.person
	scopes := found.scopes
	if asked := strings.Fields(form.Get("scope")); len(asked) > 0 {
		for _, s := range asked {
			if !slices.Contains(found.scopes, s) {
				return oauthError(http.StatusBadRequest, "invalid_scope", "an exchange cannot ask for more than the subject token has")
			}
		}
		scopes = asked
	}
	scopes = slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return s == "openid" || s == "offline_access" })
	a := p.issue(c, found.grant, grantedToken{scopes: scopes, audience: []string{form.Get("audience")}}, nil)
	if a.status == http.StatusOK {
		a.json["issued_token_type"] = typeAccessToken
		if c.fault.Widen != "" {
			a.json["scope"] = strings.Join(append(scopes, c.fault.Widen), " ")
		}
	}
	return a
}
