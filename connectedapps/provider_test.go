package connectedapps_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/appkeys"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/sandbox/idp"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/oauthapps"
)

// provider is the sandbox's identity provider as the authorization server of a world. It is as strict as a certified
// one, so that what passes here is not only what we think of ourselves.
type provider struct {
	*idp.Provider
	w *world
}

// atProvider returns a world whose app is registered at a sandbox provider: client there, and with change here.
func atProvider(t *testing.T, client idp.Client, prepare func(*idp.Provider), change func(*oauthapps.App)) *provider {
	t.Helper()
	p := &provider{}
	p.w = newWorld(t, func(w *world, a *oauthapps.App) {
		srv := httptest.NewUnstartedServer(nil)
		var err error
		p.Provider, err = idp.New(idp.Config{
			Issuer: "http://" + srv.Listener.Addr().String(), Key: signingKey(), Now: w.clock.now,
			People: []idp.Person{{Username: "alice", Password: secret.New("pw"), Email: "alice@example.com"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		srv.Config.Handler = p.Provider
		srv.Start()
		t.Cleanup(srv.Close)
		if prepare != nil {
			prepare(p.Provider)
		}
		client.ID, client.RedirectURIs = clientID, []string{publicURL + "/oauth/callback/databricks"}
		p.AddClient(client)
		*a = oauthapps.App{
			Domain: a.Domain, Name: a.Name, Slug: a.Slug, Preset: "oidc", Issuer: p.Issuer(), ClientID: clientID,
			ClientSecret: a.ClientSecret, Scopes: []string{"openid", "email", "offline_access", "sql"},
		}
		if change != nil {
			change(a)
		}
	})
	return p
}

// connect sends alice through the flow and returns the URL that her browser was sent to.
func (p *provider) connect() (to string, err error) {
	p.w.t.Helper()
	a, err := p.w.flow.Start(p.w.t.Context(), alice, p.w.app.Slug, "/")
	if err != nil {
		return "", err
	}
	to, err = p.w.flow.Authorize(p.w.t.Context(), a.ID, alice, "b1")
	if err != nil {
		return "", err
	}
	back, err := p.SignIn(p.w.t.Context(), to, "alice")
	if err != nil {
		p.w.t.Fatalf("sign in at the provider: %v", err)
	}
	q := back.Query()
	_, err = p.w.flow.Finish(p.w.t.Context(), connectedapps.Response{
		App: p.w.app.Slug, State: q.Get("state"), Code: secret.New(q.Get("code")), Error: q.Get("error"), Issuer: q.Get("iss"), Browser: "b1", Principal: alice,
	})
	return to, err
}

func (p *provider) mustConnect() string {
	p.w.t.Helper()
	to, err := p.connect()
	if err != nil {
		p.w.t.Fatalf("connect = %v (cause %v)", err, errors.Unwrap(err))
	}
	return to
}

// refresh renews alice's grant.
func (p *provider) refresh() error {
	p.w.clock.advance(time.Minute)
	_, err := p.w.tokens.Refresh(p.w.t.Context(), alice, p.w.app.Slug)
	return err
}

// current is the app as it is stored.
func (p *provider) current() oauthapps.App {
	p.w.t.Helper()
	a, err := p.w.db.OAuthApps().GetApp(p.w.t.Context(), p.w.app.ID)
	if err != nil {
		p.w.t.Fatal(err)
	}
	return a
}

func TestAnAppAuthenticatesWithItsOwnKey(t *testing.T) {
	for _, algorithm := range oauthapps.KeyAlgorithms {
		for _, audience := range []oauthapps.AssertionAudience{"", oauthapps.AudienceTokenEndpoint} {
			t.Run(algorithm+" "+string(audience), func(t *testing.T) {
				key, err := oauthapps.NewPrivateKey(algorithm)
				if err != nil {
					t.Fatal(err)
				}
				p := atProvider(t, idp.Client{AuthMethod: "private_key_jwt"}, nil, func(a *oauthapps.App) {
					a.ClientSecret, a.AuthMethod, a.PrivateKey, a.AssertionAudience = secret.Text{}, oauthapps.PrivateKeyJWT, key, audience
				})
				// The provider reads the public key where we publish it.
				mux := http.NewServeMux()
				(&appkeys.Handler{Apps: p.w.apps}).Mount(mux)
				ours := httptest.NewServer(mux)
				t.Cleanup(ours.Close)
				p.AddClient(idp.Client{
					ID: clientID, AuthMethod: "private_key_jwt", JWKSURI: ours.URL + "/oauth/jwks/databricks",
					RedirectURIs: []string{publicURL + "/oauth/callback/databricks"},
				})
				p.mustConnect()
				if err := p.refresh(); err != nil {
					t.Errorf("Refresh = %v", err)
				}
				gone, err := p.w.tokens.Disconnect(t.Context(), alice, p.w.app.Slug)
				if err != nil || !gone.AtProvider {
					t.Errorf("Disconnect = %+v, %v, want it revoked at the provider", gone, err)
				}
				for _, c := range p.Calls() {
					if c.Error != "" {
						t.Errorf("%s answered %s", c.Endpoint, c.Error)
					}
				}
			})
		}
	}
}

func TestAKeyThatTheProviderDoesNotKnowBreaksTheAppAndNobodysGrant(t *testing.T) {
	key, err := oauthapps.NewPrivateKey("ES256")
	if err != nil {
		t.Fatal(err)
	}
	p := atProvider(t, idp.Client{AuthMethod: "private_key_jwt", JWKS: []byte(`{"keys":[]}`)},
		func(p *idp.Provider) { p.SetPushedRequests(false, false) },
		func(a *oauthapps.App) {
			a.ClientSecret, a.AuthMethod, a.PrivateKey = secret.Text{}, oauthapps.PrivateKeyJWT, key
		})
	_, err = p.connect()
	wantKind(t, err, fault.Unavailable, "invalid_client")
	if a := p.current(); a.BrokenCode != "invalid_client" {
		t.Errorf("the app is not marked as broken: %+v", a.BrokenAt)
	}
}

// A secret is rolled over: the old one ends, the next one works, and no refresh token is lost on the way, because a
// server that refuses the client has not looked at the token (RFC 6749 §5.2).
func TestASecondSecretCarriesOverARollover(t *testing.T) {
	redirect := []string{publicURL + "/oauth/callback/databricks"}
	p := atProvider(t, idp.Client{Secret: secret.New(clientSecret)}, nil, func(a *oauthapps.App) {
		a.ClientSecretNext = secret.New("next " + canary)
	})
	p.mustConnect()
	if n := p.CountCalls(idp.Token, ""); n != 1 {
		t.Fatalf("%d token requests for a consent, want 1: the first secret works", n)
	}
	p.AddClient(idp.Client{ID: clientID, Secret: secret.New("next " + canary), RedirectURIs: redirect})
	if err := p.refresh(); err != nil {
		t.Fatalf("Refresh = %v, want the next secret tried", err)
	}
	if n := p.CountCalls(idp.Token, "refresh_token"); n != 2 {
		t.Errorf("%d refresh requests, want 2: one refused for its secret, one with the next", n)
	}
	if a := p.current(); !a.NextInUse || !a.BrokenAt.IsZero() {
		t.Errorf("NextInUse = %v, broken at %v; want the next one remembered and the app whole", a.NextInUse, a.BrokenAt)
	}
	if err := p.refresh(); err != nil {
		t.Fatal(err)
	}
	if n := p.CountCalls(idp.Token, "refresh_token"); n != 3 {
		t.Errorf("%d refresh requests, want 3: the secret that worked comes first", n)
	}
	// Back again: the first one is still tried.
	p.AddClient(idp.Client{ID: clientID, Secret: secret.New(clientSecret), RedirectURIs: redirect})
	if err := p.refresh(); err != nil || p.current().NextInUse {
		t.Errorf("Refresh = %v, NextInUse = %v, want the first one in use again", err, p.current().NextInUse)
	}
	// Neither is right: the app is broken, and nobody's grant.
	p.AddClient(idp.Client{ID: clientID, Secret: secret.New("third"), RedirectURIs: redirect})
	wantKind(t, p.refresh(), fault.Unavailable, "invalid_client")
	if a := p.current(); a.BrokenAt.IsZero() || p.w.status(alice) != connectedapps.Active {
		t.Errorf("broken at %v, the grant is %s; want a broken app and an active grant", a.BrokenAt, p.w.status(alice))
	}
}

func TestASecondSecretIsNotShownForAnyOtherFailure(t *testing.T) {
	p := atProvider(t, idp.Client{Secret: secret.New(clientSecret)}, nil, func(a *oauthapps.App) { a.ClientSecretNext = secret.New("next") })
	p.mustConnect()
	for _, f := range []idp.Fault{{Error: "invalid_grant"}, {Status: 503}, {DropBefore: true}, {Error: "invalid_request"}} {
		before := p.CountCalls(idp.Token, "refresh_token")
		p.SetFault(idp.Token, f)
		_ = p.refresh()
		if n := p.CountCalls(idp.Token, "refresh_token") - before; n > 1 {
			t.Errorf("%d requests after %+v, want at most 1", n, f)
		}
		p.ClearFaults()
		p.w.clock.advance(10 * time.Minute)
	}
}

func TestAuthorizationRequestsArePushedWhereTheyCanBe(t *testing.T) {
	for _, required := range []bool{false, true} {
		p := atProvider(t, idp.Client{Secret: secret.New(clientSecret)}, func(p *idp.Provider) { p.SetPushedRequests(true, required) }, nil)
		to, err := url.Parse(p.mustConnect())
		if err != nil {
			t.Fatal(err)
		}
		q := to.Query()
		if q.Get("client_id") != clientID || q.Get("request_uri") == "" || len(q) != 2 {
			t.Errorf("the browser was sent with %v, want the client id and the handle only", q)
		}
		if p.current().PARRequired != required {
			t.Errorf("PARRequired = %v, want what the metadata says: %v", p.current().PARRequired, required)
		}
		if _, err := p.SignIn(t.Context(), to.String(), "alice"); err == nil {
			t.Error("the handle worked twice")
		}
	}
}

func TestAPushThatFailsSendsNothingThroughTheBrowser(t *testing.T) {
	p := atProvider(t, idp.Client{Secret: secret.New(clientSecret)}, nil, nil)
	for _, tt := range []struct {
		name  string
		fault idp.Fault
		kind  fault.Kind
		code  string
	}{
		{"it is down", idp.Fault{Status: 503}, fault.Unavailable, "provider_error"},
		{"it answers HTML", idp.Fault{HTML: true}, fault.Unavailable, "provider_error"},
		{"it does not take the request", idp.Fault{Error: "invalid_scope"}, fault.Denied, "provider_refused"},
		{"it refuses the app", idp.Fault{Error: "invalid_client"}, fault.Unavailable, "invalid_client"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p.SetFault(idp.Push, tt.fault)
			_, err := p.connect()
			wantKind(t, err, tt.kind, tt.code)
		})
	}
	p.ClearFaults()
	p.mustConnect()
	if a := p.current(); !a.BrokenAt.IsZero() {
		t.Errorf("the app is broken since %v, want the mark cleared by a push that worked", a.BrokenAt)
	}
}

func TestResourcesAreNamedInEveryRequest(t *testing.T) {
	resources := []string{"https://sql.example.com", "https://reports.example.com"}
	p := atProvider(t, idp.Client{Secret: secret.New(clientSecret)}, func(p *idp.Provider) {
		p.SetJWTAccessTokens(true)
		p.SetPushedRequests(false, false)
	}, func(a *oauthapps.App) { a.Resources = resources })
	to, err := url.Parse(p.mustConnect())
	if err != nil || !slices.Equal(to.Query()["resource"], resources) {
		t.Errorf("the authorization request names %v, want %v", to.Query()["resource"], resources)
	}
	for _, when := range []string{"after the consent", "after a refresh"} {
		if got := audienceOf(t, p.w.grant(alice).AccessToken); !slices.Equal(got, resources) {
			t.Errorf("%s the token is for %v, want %v", when, got, resources)
		}
		if err := p.refresh(); err != nil {
			t.Fatal(err)
		}
	}
}

func audienceOf(t *testing.T, token secret.Text) []string {
	t.Helper()
	parts := strings.Split(token.Reveal(), ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Audience []string `json:"aud"`
	}
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		t.Fatal("the access token is no JWT")
	}
	return claims.Audience
}

func TestTokensAreBoundToAKeyOfTheConnection(t *testing.T) {
	public := func(a *oauthapps.App) {
		a.ClientSecret, a.AuthMethod, a.DPoP = secret.Text{}, oauthapps.NoAuth, oauthapps.DPoPAuto
	}
	t.Run("the refresh token is, and the access token serves as before", func(t *testing.T) {
		p := atProvider(t, idp.Client{}, func(p *idp.Provider) {
			p.SetDPoP(idp.DPoPRefresh)
			p.SetDPoPNonce(true)
			p.SetPushedRequests(false, false)
		}, public)
		to, err := url.Parse(p.mustConnect())
		if err != nil {
			t.Fatal(err)
		}
		g := p.w.grant(alice)
		if jkt, err := oauthapps.DPoPThumbprint(g.DPoPKey); err != nil || to.Query().Get("dpop_jkt") != jkt {
			t.Errorf("dpop_jkt = %q, want %q: the code is for who holds the key (RFC 9449 §10)", to.Query().Get("dpop_jkt"), jkt)
		}
		if g.DPoPKey.Empty() || g.TokenType != "Bearer" || g.Account != "alice@example.com" {
			t.Fatalf("key empty: %v, type %q, account %q", g.DPoPKey.Empty(), g.TokenType, g.Account)
		}
		p.w.mustToken(alice)
		p.SetDPoPNonce(true) // a new one: the one that we know is refused once
		before := p.CountCalls(idp.Token, "refresh_token")
		if err := p.refresh(); err != nil {
			t.Fatalf("Refresh = %v, want the nonce learned and the request repeated once", err)
		}
		if n := p.CountCalls(idp.Token, "refresh_token") - before; n != 2 {
			t.Errorf("%d requests, want 2: one that learns the nonce", n)
		}
		before = p.CountCalls(idp.Token, "refresh_token")
		if err := p.refresh(); err != nil {
			t.Fatal(err)
		}
		if n := p.CountCalls(idp.Token, "refresh_token") - before; n != 1 {
			t.Errorf("%d requests, want 1: the nonce is known", n)
		}
		// Who has the refresh token and not the key has nothing.
		other, err := oauthapps.NewDPoPKey()
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []secret.Text{{}, other} {
			form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {p.w.grant(alice).RefreshToken.Reveal()}}
			if _, err := p.w.client.Grant(t.Context(), p.w.app, form, oauthapps.WithDPoP(key)); err == nil {
				t.Errorf("the refresh token worked with a key of %v", key)
			}
		}
		if err := p.refresh(); err != nil {
			t.Errorf("Refresh with the key afterwards = %v", err)
		}
	})
	t.Run("an access token that is too serves for userinfo, and no data source gets it", func(t *testing.T) {
		p := atProvider(t, idp.Client{}, func(p *idp.Provider) { p.SetDPoP(idp.DPoPOn); p.SetDPoPNonce(true) }, func(a *oauthapps.App) {
			public(a)
			a.DPoP, a.JWKSURL = oauthapps.DPoPAlways, ""
		})
		p.mustConnect()
		g := p.w.grant(alice)
		who, err := p.w.client.Userinfo(t.Context(), p.w.app, g.AccessToken, oauthapps.WithDPoP(g.DPoPKey))
		if err != nil || who.Account != "alice@example.com" || g.TokenType != "DPoP" {
			t.Errorf("Userinfo = %+v, %v with a token of type %q", who, err, g.TokenType)
		}
		if _, err := p.w.client.Userinfo(t.Context(), p.w.app, g.AccessToken); err == nil {
			t.Error("the token worked without a proof")
		}
		_, err = p.w.token(alice)
		e := wantKind(t, err, fault.Denied, "dpop_bound_token")
		if e.Owner != fault.Admin || !strings.Contains(e.Detail, "dpop: false") {
			t.Errorf("the refusal is %q for %s, want the admin told what to do", e.Detail, e.Owner)
		}
		if err := p.refresh(); err != nil {
			t.Errorf("Refresh = %v", err)
		}
	})
	t.Run("auto binds nothing where the provider does not offer it", func(t *testing.T) {
		p := atProvider(t, idp.Client{}, nil, public)
		p.mustConnect()
		if g := p.w.grant(alice); !g.DPoPKey.Empty() {
			t.Error("there is a key, want none")
		}
	})
	t.Run("a bound token that nobody asked for is refused", func(t *testing.T) {
		p := newWorld(t)
		p.server.breakNext(answering(200, "application/json", `{"access_token":"canary","token_type":"DPoP","refresh_token":"canary"}`))
		_, state, code := p.begin(alice, "b1")
		_, err := p.flow.Finish(t.Context(), connectedapps.Response{App: p.app.Slug, State: state, Code: secret.New(code), Browser: "b1", Principal: alice})
		wantKind(t, err, fault.Unavailable, "provider_error")
	})
}

// records keeps audit entries.
type records struct {
	entries []audit.Entry
	refuse  error
}

func (r *records) Record(_ context.Context, e audit.Entry) error {
	if r.refuse == nil {
		r.entries = append(r.entries, e)
	}
	return r.refuse
}

func TestATokenIsExchangedForOneAudience(t *testing.T) {
	p := atProvider(t, idp.Client{Secret: secret.New(clientSecret), ExchangeAudiences: []string{"reports", "billing"}}, nil,
		func(a *oauthapps.App) { a.ExchangeAudiences = []string{"reports", "elsewhere"} })
	book := &records{}
	tokens := connectedapps.NewTokens(connectedapps.Config{
		Store: p.w.store, Refreshes: p.w.store, Apps: p.w.apps, Client: p.w.client, Bus: p.w.bus, Now: p.w.clock.now, Record: book.Record,
	})
	run(t, tokens)
	exchange := func(who securitycontext.Principal, audience string, scopes ...string) (connectedapps.HandedOut, error) {
		return tokens.Exchange(t.Context(), who, p.w.app.Slug, connectedapps.ExchangeRequest{Audience: audience, Scopes: scopes})
	}
	_, err := exchange(alice, "reports")
	wantKind(t, err, fault.AuthorizationRequired, "authorization_required")
	p.mustConnect()
	held := p.w.grant(alice)

	tok, err := exchange(alice, "reports", "sql")
	if err != nil || tok.Value.Empty() || tok.Value.Equal(held.AccessToken) || tok.ExpiresAt.IsZero() {
		t.Fatalf("Exchange = %v of %v, want another token with an end", err, tok.ExpiresAt)
	}
	if h := p.Resolve(tok.Value.Reveal()); h.Name != "alice" {
		t.Errorf("the token is %q's, want alice's", h.Name)
	}
	if len(book.entries) != 1 || book.entries[0].Action != audit.GrantExchanged || book.entries[0].Actor != alice.Subject ||
		book.entries[0].Detail["audience"] != "reports" || book.entries[0].Detail["scopes"] != "sql" {
		t.Errorf("audit %+v, want the exchange with its audience and scopes", book.entries)
	}
	if after := p.w.grant(alice); after.Rev != held.Rev {
		t.Error("the exchange changed the grant")
	}

	calls := len(p.Calls())
	_, err = exchange(alice, "billing")
	wantKind(t, err, fault.Denied, "exchange_not_allowed")
	_, err = exchange(alice, "reports", "admin")
	wantKind(t, err, fault.Invalid, "exchange_widens")
	_, err = exchange(bob, "reports")
	wantKind(t, err, fault.AuthorizationRequired, "authorization_required")
	if n := len(p.Calls()) - calls; n != 0 {
		t.Errorf("%d calls for what is not allowed, want 0", n)
	}
	_, err = exchange(alice, "elsewhere")
	wantKind(t, err, fault.Denied, "exchange_refused")
	p.SetFault(idp.Token, idp.Fault{Widen: "admin", Times: 1})
	_, err = exchange(alice, "reports", "sql")
	wantKind(t, err, fault.Denied, "exchange_widened")
	p.SetFault(idp.Token, idp.Fault{Error: "unauthorized_client", Times: 1})
	_, err = exchange(alice, "reports", "sql")
	wantKind(t, err, fault.Denied, "exchange_refused")
	if a := p.current(); !a.BrokenAt.IsZero() {
		t.Error("the app counts as broken because it may not exchange")
	}
	book.refuse = errors.New("disk full")
	if tok, err = exchange(alice, "reports", "sql"); err == nil || !tok.Value.Empty() {
		t.Error("a token was handed out without a record")
	}
}

func TestIntrospectionFindsATokenThatWasRevokedThere(t *testing.T) {
	introspect := func(p *provider) (connectedapps.ConnectedApp, error) {
		p.w.clock.advance(time.Minute)
		return p.w.tokens.Introspect(t.Context(), alice, p.w.app.Slug)
	}
	at := func(change func(*oauthapps.App)) *provider {
		p := atProvider(t, idp.Client{Secret: secret.New(clientSecret)}, nil, change)
		p.mustConnect()
		return p
	}
	t.Run("an active one stays, and is asked about at most twice a minute", func(t *testing.T) {
		p := at(nil)
		c, err := introspect(p)
		if err != nil || c.Status != connectedapps.Active || p.CountCalls(idp.Introspect, "") != 1 {
			t.Fatalf("Introspect = %s, %v after %d calls", c.Status, err, p.CountCalls(idp.Introspect, ""))
		}
		_, err = p.w.tokens.Introspect(t.Context(), alice, p.w.app.Slug)
		if e := wantKind(t, err, fault.TooMany, "too_many"); e.RetryAfter <= 0 {
			t.Error("it does not say when to ask again")
		}
	})
	t.Run("the access token alone was revoked: it is renewed", func(t *testing.T) {
		p := at(nil)
		before := p.w.grant(alice)
		if err := p.w.client.Revoke(t.Context(), p.current(), before.AccessToken, "access_token"); err != nil {
			t.Fatal(err)
		}
		c, err := introspect(p)
		if after := p.w.grant(alice); err != nil || c.Status != connectedapps.Active || after.Revision != before.Revision+1 {
			t.Errorf("Introspect = %s, %v, revision %d, want a new token", c.Status, err, after.Revision)
		}
	})
	t.Run("the whole grant was revoked", func(t *testing.T) {
		p := at(nil)
		p.RevokeGrants("alice")
		if c, err := introspect(p); err != nil || c.Status != connectedapps.Revoked {
			t.Errorf("Introspect = %s, %v, want revoked", c.Status, err)
		}
		_, err := p.w.token(alice)
		wantKind(t, err, fault.ReauthorizationRequired, "reauthorization_required")
	})
	t.Run("there is nothing to renew it with", func(t *testing.T) {
		p := at(func(a *oauthapps.App) { a.Scopes = []string{"openid", "sql"} })
		p.RevokeGrants("alice")
		if c, err := introspect(p); err != nil || c.Status != connectedapps.Revoked || p.CountCalls(idp.Token, "refresh_token") != 0 {
			t.Errorf("Introspect = %s, %v, want revoked", c.Status, err)
		}
	})
	t.Run("an answer that is none changes nothing", func(t *testing.T) {
		p := at(nil)
		for _, f := range []idp.Fault{{Status: 503}, {HTML: true}, {Error: "invalid_grant"}, {Error: "invalid_client"}, {DropAfter: true}} {
			p.SetFault(idp.Introspect, f)
			_, err := introspect(p)
			if fault.KindOf(err) != fault.Unavailable || p.w.status(alice) != connectedapps.Active || !p.current().BrokenAt.IsZero() {
				t.Errorf("after %+v: %v, the grant is %s; want unavailable and nothing changed", f, err, p.w.status(alice))
			}
		}
	})
	t.Run("a provider that cannot be asked", func(t *testing.T) {
		w := newWorld(t)
		w.connect(alice)
		_, err := w.tokens.Introspect(t.Context(), alice, w.app.Slug)
		wantKind(t, err, fault.NotFound, "no_introspection")
	})
}
