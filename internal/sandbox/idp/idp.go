// Package idp is the sandbox's development identity provider: an OpenID provider and OAuth 2.0 authorization server
// with the people of the demo, strict where clients tend to be wrong, and with levers for everything that providers do
// to their clients.
//
//	/authorize ──sign-in page──▶ code (60 s, once) ──/token──▶ access token, refresh token, ID token
//	                                                  ▲            │
//	                                                  └──refresh───┘   rotating or not; reuse ends the grant
//
// It demands PKCE with S256, an exact redirect URI and the client's own way of authenticating (RFC 6749, 7636, 9700),
// sends iss with every authorization response (RFC 9207), and offers discovery, JWKS, userinfo, revocation (RFC 7009)
// and introspection (RFC 7662). Clients may authenticate with a key of their own (RFC 7523), push their requests
// (RFC 9126), name resources (RFC 8707), bind tokens to a key (RFC 9449) and exchange them (RFC 8693). The emulated warehouses ask it whose an access token is; see Resolve.
//
// It keeps everything in memory, is meant for loopback, and is no identity provider to rely on: by SetSignInAs anybody
// who reaches it is whoever they like to be.
package idp

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/behalf-project/behalf/internal/secret"
	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/zap"
)

// Config is what New needs. Issuer is required.
type Config struct {
	Issuer  string           // URL at which the provider is reached, without a slash at its end
	People  []Person         // who may sign in
	Clients []Client         // see AddClient
	Key     *rsa.PrivateKey  // signs ID tokens; default: a new one of 2048 bits
	Admin   bool             // whether the levers answer below /_sandbox too
	Log     *zap.Logger      // default: no logging
	Now     func() time.Time // default: time.Now
}

// Person is somebody who may sign in.
type Person struct {
	Username string
	Password secret.Text // empty: only by SetSignInAs
	Name     string
	Email    string
	Subject  string // the sub of their tokens; default: made up
}

// Client is a registered OAuth app.
type Client struct {
	ID           string
	Secret       secret.Text // empty: a public client
	NextSecret   secret.Text // accepted beside Secret, during a rollover
	AuthMethod   string      // client_secret_basic, client_secret_post, private_key_jwt or none; default: none without a secret, else basic or post
	JWKS         []byte      // of private_key_jwt: the public keys (RFC 7517 §5)
	JWKSURI      string      // instead: where they are
	RedirectURIs []string    // compared byte by byte
	Service      string      // whose tokens client_credentials gives; empty: the client may not have them

	ExchangeAudiences []string // for which it may exchange tokens; none: for none
}

// Provider is the identity provider. It is an http.Handler, and safe for concurrent use.
type Provider struct {
	issuer string
	admin  bool
	log    *zap.Logger
	clock  atomic.Pointer[func() time.Time]
	key    *rsa.PrivateKey
	keyID  string
	routes http.Handler

	mu       sync.Mutex
	people   map[string]*Person
	clients  map[string]*Client
	settings settings
	quirks   Quirks
	consents []string // client and person, once each, where it matters
	faults   map[Endpoint]*Fault
	calls    []Call
	codes    map[digest]*code
	access   map[digest]*accessToken
	refresh  map[digest]*refreshToken
	pushed   map[digest]*pushed
	ids      map[string]time.Time                 // of assertions and proofs, which are good once, until they end
	watch    func(kind string, value secret.Text) // nil: nobody watches

	federation *Federation // nil: no other issuer's tokens are exchanged
}

type settings struct {
	accessLife, refreshLife time.Duration
	rotate, jwtAccess       bool
	signInAs                bool
	pushed, pushedOnly      bool
	dpop                    DPoPMode
	nonce                   string // that proofs must hold; empty: none
}

// New returns a provider over cfg. Access tokens are opaque and live an hour, refresh tokens
// rotate and have no end, and people sign in with passwords.
func New(cfg Config) (*Provider, error) {
	if cfg.Issuer == "" || strings.HasSuffix(cfg.Issuer, "/") {
		return nil, fmt.Errorf("sandbox idp: the issuer %q must be a URL without a slash at its end", cfg.Issuer)
	}
	key := cfg.Key
	if key == nil {
		var err error
		if key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			return nil, fmt.Errorf("sandbox idp: make the signing key: %w", err)
		}
	}
	p := &Provider{
		issuer: cfg.Issuer, admin: cfg.Admin, log: cfg.Log, key: key, keyID: rand.Text()[:8],
		people: map[string]*Person{}, clients: map[string]*Client{}, faults: map[Endpoint]*Fault{},
		codes: map[digest]*code{}, access: map[digest]*accessToken{}, refresh: map[digest]*refreshToken{},
		pushed: map[digest]*pushed{}, ids: map[string]time.Time{},
		settings: settings{accessLife: time.Hour, rotate: true, pushed: true},
	}
	if p.log == nil {
		p.log = zap.NewNop()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	p.SetClock(cfg.Now)
	for _, person := range cfg.People {
		p.AddPerson(person)
	}
	for _, c := range cfg.Clients {
		p.AddClient(c)
	}
	p.routes = p.mux()
	return p, nil
}

// Issuer returns the issuer identifier, which is also the provider's URL.
func (p *Provider) Issuer() string { return p.issuer }

// AddPerson adds a person, or replaces the one with that username.
func (p *Provider) AddPerson(person Person) {
	if person.Subject == "" {
		person.Subject = strings.ToLower(rand.Text())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.people[person.Username] = &person
}

// AddClient registers an OAuth app, or replaces the one with that client id.
func (p *Provider) AddClient(c Client) {
	c.RedirectURIs = slices.Clone(c.RedirectURIs)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clients[c.ID] = &c
}

// AddRedirectURI registers one more redirect URI of a client.
func (p *Provider) AddRedirectURI(clientID, uri string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.clients[clientID]
	if c == nil {
		return fmt.Errorf("sandbox idp: there is no client %q", clientID)
	}
	if !slices.Contains(c.RedirectURIs, uri) {
		c.RedirectURIs = append(c.RedirectURIs, uri)
	}
	return nil
}

// Endpoint names an endpoint, for faults and the log of calls.
type Endpoint string

// The endpoints.
const (
	Authorize  Endpoint = "authorize"
	Token      Endpoint = "token"
	Revoke     Endpoint = "revoke"
	Introspect Endpoint = "introspect"
	UserInfo   Endpoint = "userinfo"
	JWKS       Endpoint = "jwks"
	Discovery  Endpoint = "discovery"
	Push       Endpoint = "par"
)

func (p *Provider) mux() http.Handler {
	mux := http.NewServeMux()
	on := func(pattern string, e Endpoint, h func(*call) answer) { mux.Handle(pattern, p.endpoint(e, h)) }
	on("GET /.well-known/openid-configuration", Discovery, p.discovery)
	on("GET /.well-known/oauth-authorization-server", Discovery, p.discovery)
	on("GET /jwks", JWKS, p.jwks)
	on("GET /authorize", Authorize, p.authorize)
	on("POST /authorize", Authorize, p.signIn)
	on("POST /token", Token, p.token)
	on("POST /par", Push, p.push)
	on("POST /revoke", Revoke, p.revoke)
	on("DELETE /applications/{client}/grant", Revoke, p.deleteGrant)
	on("POST /introspect", Introspect, p.introspect)
	on("GET /userinfo", UserInfo, p.userinfo)
	on("POST /userinfo", UserInfo, p.userinfo)
	if p.admin {
		mux.HandleFunc("POST /_sandbox/{lever}/{value}", p.pullLever)
		mux.HandleFunc("GET /_sandbox/calls", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]any{"items": p.Calls()})
		})
	}
	// A page elsewhere must not sign its visitor in here, nor pull a lever. The endpoints for programs send no Origin.
	return http.NewCrossOriginProtection().Handler(mux)
}

// ServeHTTP answers a request.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.routes.ServeHTTP(w, r) }

func (p *Provider) discovery(*call) answer {
	p.mu.Lock()
	s := p.settings
	p.mu.Unlock()
	metadata := map[string]any{
		"issuer":                                           p.issuer,
		"authorization_endpoint":                           p.issuer + "/authorize",
		"token_endpoint":                                   p.issuer + "/token",
		"revocation_endpoint":                              p.issuer + "/revoke",
		"introspection_endpoint":                           p.issuer + "/introspect",
		"userinfo_endpoint":                                p.issuer + "/userinfo",
		"jwks_uri":                                         p.issuer + "/jwks",
		"scopes_supported":                                 []string{"openid", "profile", "email", "offline_access", "sql", "all-apis", "refresh_token"},
		"response_types_supported":                         []string{"code"},
		"response_modes_supported":                         []string{"query"},
		"grant_types_supported":                            []string{"authorization_code", "refresh_token", "client_credentials", grantTokenExchange},
		"subject_types_supported":                          []string{"public"},
		"id_token_signing_alg_values_supported":            []string{jwt.SigningMethodRS256.Alg()},
		"token_endpoint_auth_methods_supported":            []string{"client_secret_basic", "client_secret_post", privateKeyJWT, "none"},
		"token_endpoint_auth_signing_alg_values_supported": []string{"RS256", "PS256", "ES256", "EdDSA"},
		"code_challenge_methods_supported":                 []string{"S256"},
		"claims_supported":                                 []string{"sub", "preferred_username", "name", "email", "email_verified"},
		"authorization_response_iss_parameter_supported":   true,
	}
	if s.pushed {
		metadata["pushed_authorization_request_endpoint"], metadata["require_pushed_authorization_requests"] = p.issuer+"/par", s.pushedOnly
	}
	if s.dpop != DPoPOff {
		metadata["dpop_signing_alg_values_supported"] = []string{"ES256"}
	}
	if q := p.habits(); q.NoRevocation || q.DeleteGrant {
		delete(metadata, "revocation_endpoint")
	}
	return jsonAnswer(http.StatusOK, metadata)
}

// SetAccessTokenLife sets how long access tokens live from now on, at least one second.
func (p *Provider) SetAccessTokenLife(d time.Duration) {
	p.set(func(s *settings) { s.accessLife = max(d, time.Second) })
}

// SetRefreshTokenLife sets how long refresh tokens live from now on; zero is without end.
func (p *Provider) SetRefreshTokenLife(d time.Duration) {
	p.set(func(s *settings) { s.refreshLife = d })
}

// SetRotation chooses whether a refresh brings a new refresh token and ends the old one. Using an ended one again
// revokes the grant.
func (p *Provider) SetRotation(on bool) { p.set(func(s *settings) { s.rotate = on }) }

// SetJWTAccessTokens chooses between signed (RFC 9068) and opaque access tokens.
func (p *Provider) SetJWTAccessTokens(on bool) { p.set(func(s *settings) { s.jwtAccess = on }) }

// SetSignInAs adds a list of the people to the sign-in page: a click is a sign-in, without a password.
func (p *Provider) SetSignInAs(on bool) { p.set(func(s *settings) { s.signInAs = on }) }

// SetClock sets the provider's clock from now on.
func (p *Provider) SetClock(now func() time.Time) { p.clock.Store(&now) }

// now is what the provider's clock shows.
func (p *Provider) now() time.Time { return (*p.clock.Load())() }

func (p *Provider) set(change func(*settings)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.settings)
}

// ExpireTokens ends all access tokens of the person username as if their time had come. Refresh tokens go on working.
// It returns how many tokens ended.
func (p *Provider) ExpireTokens(username string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, now := 0, p.now()
	for _, t := range p.access {
		if t.grant.person == username && now.Before(t.expires) {
			t.expires = now
			n++
		}
	}
	return n
}

// RevokeGrants ends all grants of the person username, with their access and refresh tokens, as an admin at the
// provider does. It returns how many grants ended.
func (p *Provider) RevokeGrants(username string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	end := func(g *grant) {
		if g.person == username && !g.revoked {
			g.revoked = true
			n++
		}
	}
	for _, t := range p.access {
		end(t.grant)
	}
	for _, t := range p.refresh {
		end(t.grant)
	}
	for _, c := range p.codes {
		end(c.grant)
	}
	return n
}

var errNoLever = errors.New("there is no such lever: expire, revoke, access-token-life, refresh-token-life, rotation")

// pullLever answers POST /_sandbox/{lever}/{value}, such as /_sandbox/expire/alice.
func (p *Provider) pullLever(w http.ResponseWriter, r *http.Request) {
	value := r.PathValue("value")
	var err error
	switch r.PathValue("lever") {
	case "expire":
		p.ExpireTokens(value)
	case "revoke":
		p.RevokeGrants(value)
	case "rotation":
		p.SetRotation(value == "on")
	case "access-token-life", "refresh-token-life":
		var d time.Duration
		if d, err = time.ParseDuration(value); err == nil && r.PathValue("lever") == "access-token-life" {
			p.SetAccessTokenLife(d)
		} else if err == nil {
			p.SetRefreshTokenLife(d)
		}
	default:
		err = errNoLever
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
