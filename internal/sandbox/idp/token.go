package idp

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/sandbox/bearer"
	"github.com/behalf-project/behalf/internal/secret"
)

// grant is what a person gave a client: the family of its tokens, which ends as one.
type grant struct {
	client    string
	person    string
	service   bool // of client_credentials: nobody signed in
	scopes    []string
	resources []string // that its tokens may be for (RFC 8707)
	signedIn  time.Time
	offline   bool // its consent brings a refresh token, as far as that depends on it
	revoked   bool
}

type accessToken struct {
	grant    *grant
	scopes   []string
	audience []string // resources or, after an exchange, the audience; empty: the provider itself
	key      string   // thumbprint of the key that it is bound to (RFC 9449 §6); empty: a bearer token
	issued   time.Time
	expires  time.Time
	revoked  bool
}

type refreshToken struct {
	grant    *grant
	key      string    // as of an access token
	expires  time.Time // zero: without end
	lastUsed time.Time // or issued
	used     bool      // it was rotated; using it again ends the grant
}

// digest is what is kept of a token.
type digest [sha256.Size]byte

func hash(token string) digest { return sha256.Sum256([]byte(token)) }

const (
	maxTokens  = 200_000
	keepExpiry = time.Hour // how long an expired token is still known to have been one
)

// authenticate finds the client of a request (RFC 6749 §2.3.1). The header's id and secret are form-encoded.
func (p *Provider) authenticate(c *call) (*Client, *answer) {
	if c.form.Has("client_assertion") || c.form.Has("client_assertion_type") {
		_, _, basic := c.r.BasicAuth()
		if basic || c.form.Has("client_secret") {
			a := oauthError(http.StatusBadRequest, "invalid_request", "the client authenticates in two ways at once")
			return nil, &a
		}
		client, why := p.assertion(c)
		if why != "" {
			a := oauthError(http.StatusUnauthorized, "invalid_client", why)
			return nil, &a
		}
		return client, nil
	}
	id, pass, method := c.form.Get("client_id"), c.form.Get("client_secret"), "none"
	if pass != "" {
		method = "client_secret_post"
	}
	refuse := func(description string) (*Client, *answer) {
		a := oauthError(http.StatusUnauthorized, "invalid_client", description)
		a.header = http.Header{"Www-Authenticate": {`Basic realm="sandbox"`}}
		return nil, &a
	}
	if user, password, ok := c.r.BasicAuth(); ok {
		if pass != "" {
			a := oauthError(http.StatusBadRequest, "invalid_request", "the client authenticates in two ways at once")
			return nil, &a
		}
		var errID, errPass error
		id, errID = url.QueryUnescape(user)
		pass, errPass = url.QueryUnescape(password)
		if errID != nil || errPass != nil {
			return refuse("client id and secret must be form-encoded before Basic")
		}
		method = "client_secret_basic"
	}
	c.entry.Client = id
	p.mu.Lock()
	defer p.mu.Unlock()
	client := p.clients[id]
	switch {
	case client == nil:
		return refuse("unknown client")
	case client.Secret.Empty() && method != "none", !client.Secret.Empty() && method == "none",
		client.AuthMethod != "" && client.AuthMethod != method:
		return refuse("the client must authenticate as it is registered")
	case !client.Secret.Equal(secret.New(pass)) && (client.NextSecret.Empty() || !client.NextSecret.Equal(secret.New(pass))):
		return refuse("wrong client secret")
	}
	return client, nil
}

// token is the token endpoint.
func (p *Provider) token(c *call) answer {
	for name, values := range c.form {
		if len(values) > 1 && name != "resource" {
			return oauthError(http.StatusBadRequest, "invalid_request", "the parameter "+name+" is given twice")
		}
	}
	federated, refusal := p.subjectOf(c)
	if refusal != nil {
		return *refusal
	}
	client := &Client{}
	if !federated || !p.habits().AnonymousExchange {
		client, refusal = p.authenticate(c)
	}
	if refusal != nil && p.refusesGrantFirst(c) {
		return invalidGrant("unknown code")
	}
	if refusal != nil {
		return *refusal
	}
	key, refusal := p.proof(c, "/token", "")
	if refusal != nil {
		return *refusal
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.grantType(c, client, key)
	if p.settings.nonce != "" && key != "" && a.header == nil {
		a.header = http.Header{"Dpop-Nonce": {p.settings.nonce}}
	}
	return a
}

// refusesGrantFirst reports whether the provider says that the grant of a request is unknown, though the client is, too.
func (p *Provider) refusesGrantFirst(c *call) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	code, refresh := p.codes[hash(c.form.Get("code"))], p.refresh[hash(c.form.Get("refresh_token"))]
	return p.quirks.ClientLast && code == nil && refresh == nil && c.form.Get("grant_type") != "client_credentials"
}

// grantType answers a token request; p.mu is held.
func (p *Provider) grantType(c *call, client *Client, key string) answer {
	switch c.form.Get("grant_type") {
	case "authorization_code":
		return p.trade(c, client, key)
	case "refresh_token":
		return p.renew(c, client, key)
	case grantTokenExchange:
		if c.subject != nil {
			return p.federate(c, client, key)
		}
		return p.exchange(c, client)
	case "client_credentials":
		if client.Service == "" && p.quirks.ClientLast {
			client = &Client{ID: client.ID, Secret: client.Secret, Service: client.ID}
		}
		if client.Service == "" || client.public() {
			return oauthError(http.StatusBadRequest, "unauthorized_client", "the client may not have tokens of its own")
		}
		c.entry.Person = client.Service
		scopes := strings.Fields(c.form.Get("scope"))
		return p.issue(c, &grant{client: client.ID, person: client.Service, service: true, scopes: scopes, signedIn: p.now()}, grantedToken{scopes: scopes, key: p.bound(key)}, nil)
	case "":
		return oauthError(http.StatusBadRequest, "invalid_request", "grant_type is missing")
	}
	return oauthError(http.StatusBadRequest, "unsupported_grant_type", "authorization_code, refresh_token, client_credentials or token exchange")
}

func invalidGrant(description string) answer {
	return oauthError(http.StatusBadRequest, "invalid_grant", description)
}

var verifierForm = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`)

// trade gives tokens for a code (RFC 6749 §4.1.3). A code shown twice ends what came of it; p.mu is held.
func (p *Provider) trade(c *call, client *Client, key string) answer {
	found := p.codes[hash(c.form.Get("code"))]
	if found == nil || found.grant.client != client.ID {
		return invalidGrant("unknown code")
	}
	c.entry.Person = found.grant.person
	if found.used {
		found.grant.revoked = true
		return invalidGrant("the code was used before; its tokens are revoked")
	}
	found.used = true
	verifier := c.form.Get("code_verifier")
	p.seen("code_verifier", verifier)
	sum := sha256.Sum256([]byte(verifier))
	switch {
	case found.grant.revoked:
		return invalidGrant("the grant was revoked")
	case !p.now().Before(found.expires):
		return invalidGrant("the code has expired")
	case c.form.Get("redirect_uri") != found.redirectURI:
		return invalidGrant("redirect_uri is not that of the authorization request")
	case !verifierForm.MatchString(verifier) || base64.RawURLEncoding.EncodeToString(sum[:]) != found.challenge:
		return invalidGrant("code_verifier does not match")
	case found.key != "" && found.key != key:
		return invalidGrant("the code is bound to another key (RFC 9449 §10)")
	}
	audience, refusal := target(c, found.grant)
	if refusal != nil {
		return *refusal
	}
	t := grantedToken{scopes: found.grant.scopes, audience: audience, key: p.bound(key), nonce: found.nonce}
	return p.issue(c, found.grant, t, p.newRefresh(found.grant, client, key))
}

// renew is the refresh of RFC 6749 §6; p.mu is held.
func (p *Provider) renew(c *call, client *Client, key string) answer {
	found := p.refresh[hash(c.form.Get("refresh_token"))]
	if found == nil || found.grant.client != client.ID {
		return invalidGrant("unknown refresh token")
	}
	c.entry.Person = found.grant.person
	scopes := found.grant.scopes
	if asked := strings.Fields(c.form.Get("scope")); len(asked) > 0 {
		for _, s := range asked {
			if !slices.Contains(scopes, s) {
				return oauthError(http.StatusBadRequest, "invalid_scope", "a refresh cannot ask for more than was granted")
			}
		}
		scopes = asked
	}
	now, since := p.now(), found.lastUsed
	switch {
	case found.grant.revoked:
		return invalidGrant("the grant was revoked")
	case found.used && now.Sub(since) >= p.quirks.ReuseWindow:
		found.grant.revoked = true
		return invalidGrant("the refresh token was used before; its family is revoked")
	case !found.expires.IsZero() && !now.Before(found.expires):
		return invalidGrant("the refresh token has expired")
	case p.quirks.RefreshIdle > 0 && now.Sub(since) >= p.quirks.RefreshIdle:
		return invalidGrant("the refresh token was not used for too long")
	case found.key != "" && found.key != key:
		return oauthError(http.StatusBadRequest, "invalid_dpop_proof", "the refresh token is bound to another key")
	}
	audience, refusal := target(c, found.grant)
	if refusal != nil {
		return *refusal
	}
	if !found.used {
		found.lastUsed = now
	}
	var next *refreshToken
	if p.settings.rotate {
		next = p.newRefresh(found.grant, client, key)
		found.used = next != nil && !p.quirks.KeepReplaced
	}
	return p.issue(c, found.grant, grantedToken{scopes: scopes, audience: audience, key: p.bound(key)}, next)
}

// target returns the resources of a token request, which are among those of the authorization (RFC 8707 §2.2). A request
// that names none gets a token for the provider alone, so that a client which forgets them notices.
func target(c *call, g *grant) ([]string, *answer) {
	asked := c.form["resource"]
	for _, r := range asked {
		if !slices.Contains(g.resources, r) {
			a := oauthError(http.StatusBadRequest, "invalid_target", "the resource is none of the authorization")
			return nil, &a
		}
	}
	return asked, nil
}

// bound returns the thumbprint that an access token is bound to; p.mu is held.
func (p *Provider) bound(key string) string {
	if p.settings.dpop != DPoPOn {
		return ""
	}
	return key
}

// newRefresh returns a refresh token of g if g was asked for one (OpenID Connect Core §11; refresh_token is
// Snowflake's name for that scope) or its consent brings one, else nil.
func (p *Provider) newRefresh(g *grant, client *Client, key string) *refreshToken {
	asked := slices.Contains(g.scopes, "offline_access") || slices.Contains(g.scopes, "refresh_token") || p.quirks.RefreshByConsent
	if !asked || !g.offline {
		return nil
	}
	t := &refreshToken{grant: g, lastUsed: p.now()}
	if client.public() {
		t.key = key // RFC 9449 §5: a confidential client's is bound by its authentication
	}
	if p.settings.refreshLife > 0 {
		t.expires = p.now().Add(p.settings.refreshLife)
	}
	return t
}

// grantedToken is what an access token is to be.
type grantedToken struct {
	scopes   []string
	audience []string
	key      string
	nonce    string // of the ID token that comes with it
}

// issue makes an access token of g and, where they are due, an ID token and the refresh token next; p.mu is held.
func (p *Provider) issue(c *call, g *grant, granted grantedToken, next *refreshToken) answer {
	scopes := granted.scopes
	now := p.now()
	if !p.makeRoom(now) {
		return oauthError(http.StatusServiceUnavailable, "temporarily_unavailable", "the sandbox holds too many tokens")
	}
	t := &accessToken{grant: g, scopes: scopes, audience: granted.audience, key: granted.key, issued: now, expires: now.Add(p.settings.accessLife)}
	text, err := p.accessText(t)
	if err != nil {
		return oauthError(http.StatusInternalServerError, "server_error", "the token cannot be signed")
	}
	p.access[hash(text)] = t
	p.seen("access_token", text)
	body := map[string]any{
		"access_token": text, "token_type": "Bearer", "expires_in": int64(p.settings.accessLife / time.Second), "scope": strings.Join(scopes, " "),
	}
	if t.key != "" {
		body["token_type"] = "DPoP"
	}
	if next != nil {
		refresh := "rt_" + rand.Text() + rand.Text()
		p.refresh[hash(refresh)] = next
		p.seen("refresh_token", refresh)
		body["refresh_token"] = refresh
		if !next.expires.IsZero() {
			body["refresh_token_expires_in"] = int64(p.settings.refreshLife / time.Second)
		}
	}
	if slices.Contains(scopes, "openid") && !g.service {
		if body["id_token"], err = p.idToken(g, granted.nonce, c.fault.IDToken); err != nil {
			return oauthError(http.StatusInternalServerError, "server_error", "the ID token cannot be signed")
		}
		p.seen("id_token", body["id_token"].(string))
	}
	return jsonAnswer(http.StatusOK, body)
}

// makeRoom forgets tokens that ended long ago when there are many, and reports whether one more fits.
func (p *Provider) makeRoom(now time.Time) bool {
	if len(p.access)+len(p.refresh) < maxTokens {
		return true
	}
	for d, t := range p.access {
		if now.After(t.expires.Add(keepExpiry)) {
			delete(p.access, d)
		}
	}
	for d, t := range p.refresh {
		if t.grant.revoked || t.used || !t.expires.IsZero() && now.After(t.expires.Add(keepExpiry)) {
			delete(p.refresh, d)
		}
	}
	return len(p.access)+len(p.refresh) < maxTokens
}

// IssueToken returns an access token of the person username that lives for life, without a sign-in: for tests of the
// warehouses. ExpireTokens and RevokeGrants end it like any other.
func (p *Provider) IssueToken(username string, life time.Duration) secret.Text {
	p.mu.Lock()
	defer p.mu.Unlock()
	text, now := rand.Text()+rand.Text(), p.now()
	p.access[hash(text)] = &accessToken{grant: &grant{person: username, signedIn: now}, issued: now, expires: now.Add(life)}
	return secret.New(text)
}

// Resolve implements bearer.Resolver for access tokens. One that is bound to a key is worth nothing as a bearer token.
func (p *Provider) Resolve(token string) bearer.Holder {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.access[hash(token)]; t != nil && t.key == "" {
		return p.holder(t)
	}
	return bearer.Holder{}
}

// holder says whose t is and what it is worth; p.mu is held.
func (p *Provider) holder(t *accessToken) bearer.Holder {
	h := bearer.Holder{Name: t.grant.person, Service: t.grant.service, Expires: t.expires, Status: bearer.Active}
	switch {
	case t.revoked || t.grant.revoked:
		h.Status = bearer.Revoked
	case !p.now().Before(t.expires):
		h.Status = bearer.Expired
	}
	return h
}

// revoke is RFC 7009: a refresh token takes its whole grant with it, an access token only itself. A token that is
// unknown, or another client's, is answered as revoked.
func (p *Provider) revoke(c *call) answer {
	if q := p.habits(); q.NoRevocation || q.DeleteGrant {
		return answer{status: http.StatusNotFound}
	}
	client, refusal := p.authenticate(c)
	if refusal != nil {
		return *refusal
	}
	d, known := hash(c.form.Get("token")), false
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.refresh[d]; t != nil && t.grant.client == client.ID {
		known = !t.grant.revoked
		t.grant.revoked = true
		c.entry.Person = t.grant.person
	}
	if t := p.access[d]; t != nil && t.grant.client == client.ID {
		known = !t.revoked && !t.grant.revoked
		t.revoked = true
		c.entry.Person = t.grant.person
	}
	if !known && p.quirks.UnknownToken400 {
		return oauthError(http.StatusBadRequest, "invalid_token", "the token is unknown or has ended")
	}
	return answer{status: http.StatusOK}
}

// introspect is RFC 7662, for clients with a secret.
func (p *Provider) introspect(c *call) answer {
	client, refusal := p.authenticate(c)
	if refusal != nil {
		return *refusal
	}
	if client.public() {
		return oauthError(http.StatusForbidden, "unauthorized_client", "a public client may not introspect")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.access[hash(c.form.Get("token"))]
	if t == nil || p.holder(t).Status != bearer.Active {
		return jsonAnswer(http.StatusOK, map[string]any{"active": false})
	}
	c.entry.Person = t.grant.person
	body := map[string]any{
		"active": true, "sub": p.subject(t.grant), "username": t.grant.person, "client_id": t.grant.client, "scope": strings.Join(t.scopes, " "),
		"iss": p.issuer, "token_type": "Bearer", "iat": t.issued.Unix(), "exp": t.expires.Unix(),
	}
	if len(t.audience) > 0 {
		body["aud"] = t.audience
	}
	if t.key != "" {
		body["token_type"], body["cnf"] = "DPoP", map[string]string{"jkt": t.key}
	}
	return jsonAnswer(http.StatusOK, body)
}

// subject returns the sub of g's tokens; p.mu is held.
func (p *Provider) subject(g *grant) string {
	if person := p.people[g.person]; person != nil && !g.service {
		return person.Subject
	}
	sum := sha256.Sum256([]byte("service|" + g.person))
	return hex.EncodeToString(sum[:8])
}
