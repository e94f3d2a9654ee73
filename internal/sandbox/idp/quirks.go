package idp

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/secret"
)

// Quirks are habits of real providers: what they do, always and to everybody, otherwise than the standards say or than
// this provider does by itself. The zero Quirks have none. A Fault is what goes wrong; a quirk is how it works there.
type Quirks struct {
	// RefreshByConsent: a refresh token comes with access_type=offline only, and only with the first consent of a person
	// to a client unless prompt=consent asks for another. The scope offline_access is refused (Google).
	RefreshByConsent bool
	NoRefreshTokens  bool          // there are none, whatever the scopes (GitHub's OAuth apps)
	KeepReplaced     bool          // a refresh brings another refresh token, and the old one goes on working (Microsoft Entra)
	ReuseWindow      time.Duration // a replaced refresh token may be used once more for so long (Okta, Auth0)
	RefreshIdle      time.Duration // a refresh token that was not used for so long is dead (Google, Keycloak)
	HideRefreshLife  bool          // refresh_token_expires_in is left out although there is an end

	FormAnswers   bool              // the token endpoint answers with a form
	CommaScopes   bool              // scope in its answers is a list with commas
	ErrorsWith200 bool              // its errors come with status 200 (GitHub)
	ErrorCodes    map[string]string // its spelling of the error codes of RFC 6749 §5.2
	NoExpiresIn   bool              // expires_in is left out
	StringNumbers bool              // expires_in is a string
	TokenType     string            // token_type, instead of Bearer; "none" leaves it out
	AccountMember string            // a member of its answers that holds the username (Snowflake)

	NoRevocation    bool // there is no revocation endpoint, nor in the metadata
	DeleteGrant     bool // DELETE /applications/{client_id}/grant with an access token in JSON, in its place (GitHub)
	UnknownToken400 bool // revoking a token that is not good is answered 400 invalid_token (Salesforce, Google)

	// ClientLast: whether a code or a refresh token is known is looked at before the client's credentials are, and each
	// client may have tokens of its own (Microsoft Entra).
	ClientLast bool
	// MismatchMark: a redirect URI that is not registered is answered with a redirect to a page of the provider whose
	// address has this in it (Google).
	MismatchMark string
	// AnonymousExchange: a token of a federated issuer is exchanged without client authentication, and with a client_id not
	// for a person (Databricks).
	AnonymousExchange bool
	// SignInFirst: whether the redirect URI is registered is looked at only when somebody has signed in.
	SignInFirst bool
}

// SetQuirks makes the provider work as q says from now on.
func (p *Provider) SetQuirks(q Quirks) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.quirks = q
}

// habits returns the quirks that are set.
func (p *Provider) habits() Quirks {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.quirks
}

// spell writes the answer of the token endpoint as q has it.
func (q Quirks) spell(a answer, username string) answer {
	if a.json == nil {
		return a
	}
	if code, ok := a.json["error"].(string); ok {
		if own := q.ErrorCodes[code]; own != "" {
			a.json["error"] = own
		}
		if q.ErrorsWith200 {
			a.status = http.StatusOK
		}
		return a
	}
	if n, ok := a.json["expires_in"].(int64); ok && q.StringNumbers {
		a.json["expires_in"] = strconv.FormatInt(n, 10)
	}
	if q.NoExpiresIn {
		delete(a.json, "expires_in")
	}
	if q.HideRefreshLife {
		delete(a.json, "refresh_token_expires_in")
	}
	if scope, ok := a.json["scope"].(string); ok && q.CommaScopes {
		a.json["scope"] = strings.ReplaceAll(scope, " ", ",")
	}
	switch q.TokenType {
	case "":
	case "none":
		delete(a.json, "token_type")
	default:
		a.json["token_type"] = q.TokenType
	}
	if q.AccountMember != "" && username != "" {
		a.json[q.AccountMember] = username
	}
	return a
}

// grantsRefresh says whether a consent of person to client brings a refresh token, and remembers it; p.mu is held.
func (p *Provider) grantsRefresh(client, person string, request url.Values) bool {
	if p.quirks.NoRefreshTokens {
		return false
	}
	if !p.quirks.RefreshByConsent {
		return true
	}
	key := client + "|" + person
	first := !slices.Contains(p.consents, key)
	if first {
		p.consents = append(p.consents, key)
	}
	again := slices.Contains(strings.Fields(request.Get("prompt")), "consent")
	return request.Get("access_type") == "offline" && (first || again)
}

// deleteGrant is GitHub's revocation of an authorization, by one of its access tokens.
func (p *Provider) deleteGrant(c *call) answer {
	if !p.habits().DeleteGrant {
		return answer{status: http.StatusNotFound}
	}
	id, pass, _ := c.r.BasicAuth()
	c.entry.Client = id
	var body struct {
		AccessToken string `json:"access_token"`
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	client := p.clients[id]
	switch {
	case client == nil || id != c.r.PathValue("client") || client.Secret.Empty() || !client.Secret.Equal(secret.New(pass)):
		return answer{status: http.StatusUnauthorized}
	case json.Unmarshal(c.body, &body) != nil:
		return answer{status: http.StatusUnprocessableEntity}
	}
	t := p.access[hash(body.AccessToken)]
	if t == nil || t.grant.client != id || t.revoked || t.grant.revoked || !p.now().Before(t.expires) {
		return answer{status: http.StatusNotFound}
	}
	t.grant.revoked = true
	c.entry.Person = t.grant.person
	return answer{status: http.StatusNoContent}
}
