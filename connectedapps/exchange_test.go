package connectedapps_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/notify"
	"github.com/behalf-project/behalf/internal/sandbox/idp"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/oauthapps"
)

// federated is a provider that trusts another issuer, the identity provider of a company, of which the app says the same.
type federated struct {
	*provider
	company *idp.Provider
}

// lake is the audience of the company's tokens for the provider.
const lake = "lake"

// federate returns a world whose provider trusts a company, with prepare there and change here.
func federate(t *testing.T, prepare func(*idp.Provider, *idp.Federation), change func(*oauthapps.App)) *federated {
	t.Helper()
	p := &federated{}
	srv := httptest.NewUnstartedServer(nil)
	issuer := "http://" + srv.Listener.Addr().String()
	var there *idp.Provider
	p.provider = atProvider(t, idp.Client{Secret: secret.New(clientSecret)}, func(at *idp.Provider) { there = at }, func(a *oauthapps.App) {
		a.SubjectIssuers = []oauthapps.SubjectIssuer{{Issuer: issuer, Audience: lake}}
		if change != nil {
			change(a)
		}
	})
	var err error
	p.company, err = idp.New(idp.Config{
		Issuer: issuer, Key: signingKey(), Now: p.w.clock.now,
		People: []idp.Person{{Username: "alice", Email: "alice@example.com"}, {Username: "bob", Email: "bob@example.com"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Config.Handler = p.company
	srv.Start()
	t.Cleanup(srv.Close)
	f := &idp.Federation{Issuer: issuer, Audience: lake, JWKSURI: issuer + "/jwks"}
	there.AddPerson(idp.Person{Username: "bob", Email: "bob@example.com"})
	if prepare != nil {
		prepare(there, f)
	}
	there.Federate(f)
	p.w.here = connectedapps.Person{Username: "alice", Email: "alice@example.com"}
	return p
}

// exchange connects somebody by a token.
func (p *federated) exchange(who securitycontext.Principal, token secret.Text) (connectedapps.Outcome, error) {
	return p.w.flow.Exchange(p.w.t.Context(), who, p.w.app.Slug, oauthapps.SubjectToken{Token: token})
}

// token is the company's token of a person.
func (p *federated) token(username string) secret.Text {
	return p.company.IssueJWT(username, lake, time.Hour, nil)
}

func TestATokenOfAnotherIssuerConnectsLikeAConsent(t *testing.T) {
	p := federate(t, nil, nil)
	token := p.token("alice")
	out, err := p.exchange(alice, token)
	if err != nil || out.Account != "alice@example.com" || !out.Grant.AccessToken.Empty() {
		t.Fatalf("Exchange = %+v, %v (cause %v), want alice's connection and no token", out, err, errors.Unwrap(err))
	}
	g := p.w.grant(alice)
	if !g.Exchanged || !g.RefreshToken.Empty() || g.Identity != "alice@example.com" || g.Mismatch != "" || g.ExpiresAt.IsZero() || p.Resolve(g.AccessToken.Reveal()).Name != "alice" {
		t.Errorf("the grant is %+v, want alice's, without a refresh token", g)
	}
	if p.w.status(alice) != connectedapps.Active || !p.w.mustToken(alice).Value.Equal(g.AccessToken) {
		t.Error("the grant does not serve")
	}
	p.w.mu.Lock()
	announced := slices.ContainsFunc(p.w.news, func(n notify.News) bool { return n.Topic == notify.GrantChanged && n.Epoch == g.Epoch })
	p.w.mu.Unlock()
	if !announced {
		t.Error("the grant was not announced")
	}
	made := p.recorded(audit.GrantCreated)
	if len(made) != 1 || made[0].Detail["subject_issuer"] != p.company.Issuer() || made[0].Actor != alice.Subject {
		t.Errorf("audit %+v, want the connection and whose token it came of", made)
	}

	// It ends with its access token, and then it is exchanged for again: no page is named.
	p.w.clock.advance(50 * time.Minute)
	c, err := p.w.tokens.Get(t.Context(), alice, p.w.app.Slug)
	if err != nil || c.Status != connectedapps.Expiring || !strings.Contains(c.Reason, "behalf connect exchange databricks") || strings.Contains(c.Reason, "eauthorize") {
		t.Errorf("before its end: %s %q, %v, want how to exchange again", c.Status, c.Reason, err)
	}
	p.w.clock.advance(15 * time.Minute)
	c, err = p.w.tokens.Get(t.Context(), alice, p.w.app.Slug)
	if rel := rels(c.Actions); err != nil || c.Status != connectedapps.Expired || !strings.Contains(c.Reason, "Exchange a token again") || rel != "exchange revoke" {
		t.Errorf("after its end: %s %q %v, %v, want expired and exchange", c.Status, c.Reason, rel, err)
	}
	_, err = p.w.token(alice)
	e := wantKind(t, err, fault.ReauthorizationRequired, "reauthorization_required")
	if rels(e.Actions) != "exchange" || !strings.Contains(e.Detail, "Exchange a token again") {
		t.Errorf("a query is told %q %v, want to exchange again", e.Detail, e.Actions)
	}
	if _, err = p.exchange(alice, token); err == nil { // the company's token has ended, too
		t.Error("a token that has ended was exchanged")
	}
	if _, err = p.exchange(alice, p.token("alice")); err != nil {
		t.Fatalf("exchange again = %v", err)
	}
	again := p.w.grant(alice)
	if again.ID != g.ID || again.Epoch <= g.Epoch || p.w.status(alice) != connectedapps.Active || len(p.recorded(audit.GrantReplaced)) != 1 {
		t.Errorf("after exchanging again the grant is %+v, want the same one with another epoch", again)
	}
	if strings.Contains(p.w.log.String(), token.Reveal()) {
		t.Error("the log holds the subject token")
	}
}

// recorded returns the records of an action in the audit.
func (p *federated) recorded(action audit.Action) []audit.Entry {
	p.w.t.Helper()
	list, err := p.w.db.Audit().List(p.w.t.Context(), 100)
	if err != nil {
		p.w.t.Fatal(err)
	}
	return slices.DeleteFunc(list, func(e audit.Entry) bool { return e.Action != action })
}

func TestTheEndOfAnExchangedGrantIsToldAsWhatItIs(t *testing.T) {
	p := federate(t, nil, nil)
	if _, err := p.exchange(alice, p.token("alice")); err != nil {
		t.Fatal(err)
	}
	p.w.clock.advance(2 * time.Hour)
	p.w.keepUp(connectedapps.UpkeepRules{})
	p.w.tells("connection.connected", "connection.expired")
	all, err := p.w.db.Events().Undispatched(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	if said := all[len(all)-1].Sentence(); said != "The access to databricks has ended. Exchange a token for it again to go on." {
		t.Errorf("told is %q, want to exchange again", said)
	}
}

func TestARefreshTokenOfAnExchangeIsUsed(t *testing.T) {
	p := federate(t, func(_ *idp.Provider, f *idp.Federation) { f.Refresh = true }, nil)
	if _, err := p.exchange(alice, p.token("alice")); err != nil {
		t.Fatal(err)
	}
	before := p.w.grant(alice)
	if err := p.refresh(); err != nil || before.RefreshToken.Empty() || p.w.grant(alice).Revision != before.Revision+1 {
		t.Errorf("Refresh = %v, want the grant renewed without another exchange", err)
	}
	p.RevokeGrants("alice")
	if err := p.refresh(); err == nil {
		t.Error("Refresh of a revoked grant = nil")
	}
	c, err := p.w.tokens.Get(t.Context(), alice, p.w.app.Slug)
	if err != nil || c.Status != connectedapps.Revoked || rels(c.Actions) != "exchange revoke" {
		t.Errorf("after its end: %s %v, %v, want revoked and exchange", c.Status, c.Actions, err)
	}
}

// TestSubjectTokensThatDoNotHoldAreShownToNobody is X1 for what comes in: type, issuer, audience, signature and time are
// looked at here (RFC 8693 §2.1, RFC 8725 §3).
func TestSubjectTokensThatDoNotHoldAreShownToNobody(t *testing.T) {
	p := federate(t, nil, nil)
	now := func() int64 { return p.w.clock.now().Unix() }
	is := func(token secret.Text) func() secret.Text { return func() secret.Text { return token } }
	changed := func(change func(jwt.MapClaims)) func() secret.Text {
		return func() secret.Text { return p.company.IssueJWT("alice", lake, time.Hour, change) }
	}
	otherKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&signingKey().PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(method jwt.SigningMethod, key any) secret.Text {
		text, err := jwt.NewWithClaims(method, jwt.MapClaims{
			"iss": p.company.Issuer(), "aud": lake, "sub": "alice@example.com", "exp": now() + 36000,
		}).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return secret.New(text)
	}
	parts := strings.Split(p.token("alice").Reveal(), ".")
	bobs, err := json.Marshal(map[string]any{"iss": p.company.Issuer(), "aud": lake, "sub": "bob@example.com", "exp": now() + 36000})
	if err != nil {
		t.Fatal(err)
	}
	swapped := secret.New(parts[0] + "." + base64.RawURLEncoding.EncodeToString(bobs) + "." + parts[2])
	for _, tt := range []struct {
		name  string
		token func() secret.Text
		kind  string
		code  string
		says  string
	}{
		{"no JWT", is(secret.New("opaque")), "", "subject_token_invalid", "no signed JWT"},
		{"empty", is(secret.Text{}), "", "subject_token_invalid", "no signed JWT"},
		{"another type", changed(nil), "urn:ietf:params:oauth:token-type:saml2", "invalid", "its type"},
		{"a refresh token", changed(nil), "urn:ietf:params:oauth:token-type:refresh_token", "invalid", "its type"},
		{"another issuer", changed(func(c jwt.MapClaims) { c["iss"] = "https://evil.example" }), "", "exchange_not_allowed", "subject_issuers"},
		{"the issuer with a slash", changed(func(c jwt.MapClaims) { c["iss"] = p.company.Issuer() + "/" }), "", "exchange_not_allowed", "subject_issuers"},
		{"another audience", changed(func(c jwt.MapClaims) { c["aud"] = "elsewhere" }), "", "subject_token_invalid", "aud"},
		{"no audience", changed(func(c jwt.MapClaims) { delete(c, "aud") }), "", "subject_token_invalid", "aud"},
		{"it has ended", changed(func(c jwt.MapClaims) { c["exp"] = now() - 1 }), "", "subject_token_invalid", "it ended"},
		{"it ends now", changed(func(c jwt.MapClaims) { c["exp"] = now() }), "", "subject_token_invalid", "it ended"},
		{"no end", changed(func(c jwt.MapClaims) { delete(c, "exp") }), "", "subject_token_invalid", "no end"},
		{"not yet valid", changed(func(c jwt.MapClaims) { c["nbf"] = now() + 3600 }), "", "subject_token_invalid", "not valid yet"},
		{"nobody's", changed(func(c jwt.MapClaims) { delete(c, "sub") }), "", "subject_token_invalid", "names nobody"},
		{"other claims", is(swapped), "", "subject_token_invalid", "signature"},
		{"another key", is(sign(jwt.SigningMethodRS256, otherKey)), "", "subject_token_invalid", "signature"},
		{"no signature", is(sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType)), "", "subject_token_invalid", "signature"},
		{"an HMAC with the public key", is(sign(jwt.SigningMethodHS256, public)), "", "subject_token_invalid", "signature"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p.w.clock.advance(time.Minute) // for the next try
			asked := p.company.CountCalls(idp.JWKS, "")
			_, err := p.w.flow.Exchange(t.Context(), alice, p.w.app.Slug, oauthapps.SubjectToken{Token: tt.token(), Type: tt.kind})
			e, ok := errors.AsType[*fault.Error](err)
			if !ok || e.CodeOrKind() != tt.code || !strings.Contains(e.Detail, tt.says) {
				t.Errorf("Exchange = %v, want %s with %q", err, tt.code, tt.says)
			}
			if tt.code == "exchange_not_allowed" && p.company.CountCalls(idp.JWKS, "") != asked {
				t.Error("the keys of an issuer that nobody named were read")
			}
			if n := p.CountCalls(idp.Token, ""); n != 0 {
				t.Errorf("%d token requests, want none", n)
			}
			if _, err := p.w.db.Grants().Get(t.Context(), connectedapps.Key{Principal: alice, AppID: p.w.app.ID}); !errors.Is(err, fault.NotFound) {
				t.Errorf("the grant: %v, want none", err)
			}
		})
	}
	if n := len(p.recorded(audit.ConsentRefused)); n != 17 {
		t.Errorf("%d refusals are recorded, want all 17", n)
	}
	if _, err := p.exchange(alice, p.token("alice")); err != nil {
		t.Errorf("a good one afterwards = %v", err)
	}
}

func TestAnExchangeComparesWhoSomebodyIs(t *testing.T) {
	t.Run("enforced", func(t *testing.T) {
		p := federate(t, nil, func(a *oauthapps.App) { a.IdentityMatch = oauthapps.MatchEnforce })
		_, err := p.exchange(alice, p.token("bob"))
		e := wantKind(t, err, fault.Denied, "identity_mismatch")
		if rels(e.Actions) != "exchange" {
			t.Errorf("Actions = %v, want another token", e.Actions)
		}
		if _, err := p.w.db.Grants().Get(t.Context(), connectedapps.Key{Principal: alice, AppID: p.w.app.ID}); !errors.Is(err, fault.NotFound) {
			t.Errorf("the grant: %v, want none", err)
		}
		if p.CountCalls(idp.Revoke, "") == 0 {
			t.Error("the access was not given back")
		}
	})
	t.Run("told", func(t *testing.T) {
		p := federate(t, nil, nil)
		if _, err := p.exchange(alice, p.token("bob")); err != nil {
			t.Fatal(err)
		}
		c, err := p.w.tokens.Get(t.Context(), alice, p.w.app.Slug)
		if err != nil || c.Mismatch == nil || c.Mismatch.There != "bob@example.com" || rels(c.Mismatch.Actions) != "exchange keep_account" {
			t.Errorf("the notice is %+v, %v", c.Mismatch, err)
		}
	})
}

func TestWhoMayExchange(t *testing.T) {
	p := federate(t, nil, nil)
	_, err := p.exchange(securitycontext.Principal{}, p.token("alice"))
	wantKind(t, err, fault.Unauthenticated, "unauthenticated")
	if _, err := p.w.apps.Pause(t.Context(), p.w.app.ID, "", "usr_admin"); err != nil {
		t.Fatal(err)
	}
	_, err = p.exchange(alice, p.token("alice"))
	wantKind(t, err, fault.AppDisabled, "app_disabled")
	if _, err := p.w.apps.Resume(t.Context(), p.w.app.ID, "usr_admin"); err != nil {
		t.Fatal(err)
	}
	for range 6 {
		if _, err = p.exchange(alice, p.company.IssueJWT("alice", "elsewhere", time.Hour, nil)); fault.KindOf(err) != fault.Invalid {
			t.Fatalf("Exchange = %v, want the token refused", err)
		}
	}
	_, err = p.exchange(alice, p.token("alice"))
	if e := wantKind(t, err, fault.TooMany, "too_many"); e.RetryAfter != 10*time.Second {
		t.Errorf("RetryAfter = %v, want 10 s", e.RetryAfter)
	}
	app := p.current()
	app.SubjectIssuers = nil
	if _, err := p.w.apps.Update(t.Context(), app, "usr_admin"); err != nil {
		t.Fatal(err)
	}
	_, err = p.exchange(bob, p.token("bob"))
	if e := wantKind(t, err, fault.Denied, "exchange_not_allowed"); e.Owner != fault.Admin || !strings.Contains(e.Detail, "subject_issuers") {
		t.Errorf("the refusal is %+v, want what an admin can do", e)
	}
	if n := p.CountCalls(idp.Token, ""); n != 0 {
		t.Errorf("%d token requests, want none", n)
	}
	flow := connectedapps.NewFlow(connectedapps.FlowConfig{
		Store: p.w.store, Authorizations: p.w.db.Authorizations(), Apps: p.w.apps, Client: p.w.client, Now: p.w.clock.now,
		Disabled: func(context.Context, connectedapps.Principal) (bool, error) { return true, nil },
	})
	_, err = flow.Exchange(t.Context(), bob, p.w.app.Slug, oauthapps.SubjectToken{Token: p.token("bob")})
	wantKind(t, err, fault.Denied, "user_disabled")
}

func TestAProviderThatDoesNotTakeTheToken(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fault  idp.Fault
		kind   fault.Kind
		code   string
		broken bool
	}{
		{"it trusts nobody", idp.Fault{Error: "invalid_grant"}, fault.Denied, "exchange_refused", false},
		{"it does not know the person", idp.Fault{Error: "access_denied", Status: 400}, fault.Denied, "exchange_refused", false},
		{"the client may not", idp.Fault{Error: "unauthorized_client"}, fault.Denied, "exchange_refused", false},
		{"it refuses the app", idp.Fault{Error: "invalid_client"}, fault.Unavailable, "invalid_client", true},
		{"it answers HTML", idp.Fault{HTML: true}, fault.Unavailable, "provider_error", false},
		{"it answers 503", idp.Fault{Status: 503}, fault.Unavailable, "provider_error", false},
		{"it hangs up when all is done", idp.Fault{DropAfter: true}, fault.Unavailable, "provider_error", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := federate(t, nil, nil)
			p.SetFault(idp.Token, tt.fault)
			_, err := p.exchange(alice, p.token("alice"))
			wantKind(t, err, tt.kind, tt.code)
			if got := !p.current().BrokenAt.IsZero(); got != tt.broken {
				t.Errorf("the app counts as broken: %v, want %v", got, tt.broken)
			}
			if p.w.status(alice) != connectedapps.NotConnected {
				t.Errorf("alice is %s, want not connected", p.w.status(alice))
			}
		})
	}
	t.Run("the issuer does not answer", func(t *testing.T) {
		p := federate(t, nil, nil)
		p.company.SetFault(idp.JWKS, idp.Fault{Status: 503})
		_, err := p.exchange(alice, p.token("alice"))
		wantKind(t, err, fault.Unavailable, "subject_issuer_unavailable")
		if n := p.CountCalls(idp.Token, ""); n != 0 {
			t.Errorf("%d token requests, want none", n)
		}
	})
}

// TestDatabricksExchangesWithoutAClient: a client_id would name a service principal there, and the app's secret is not
// shown for nothing.
func TestDatabricksExchangesWithoutAClient(t *testing.T) {
	p := federate(t, func(at *idp.Provider, _ *idp.Federation) { at.SetQuirks(idp.Quirks{AnonymousExchange: true}) }, func(a *oauthapps.App) {
		at := a.Issuer
		a.Preset, a.Issuer, a.AuthURL, a.TokenURL, a.UserinfoURL = "databricks", "", at+"/authorize", at+"/token", at+"/userinfo"
		a.Scopes = []string{"openid", "email", "sql"}
	})
	if _, err := p.exchange(alice, p.token("alice")); err != nil {
		t.Fatalf("Exchange = %v (cause %v)", err, errors.Unwrap(err))
	}
	if g := p.w.grant(alice); g.Account != "alice@example.com" || !g.RefreshToken.Empty() {
		t.Errorf("the grant is %+v", g)
	}
	p.SetFault(idp.Token, idp.Fault{Error: "invalid_client", Times: 1})
	if _, err := p.exchange(alice, p.token("alice")); err == nil || !p.current().BrokenAt.IsZero() {
		t.Errorf("Exchange = %v; the app counts as broken: %v, though it showed no credentials", err, !p.current().BrokenAt.IsZero())
	}
}

func TestAHandOutMayBeExchanged(t *testing.T) {
	p := atProvider(t, idp.Client{Secret: secret.New(clientSecret), ExchangeAudiences: []string{"reports"}}, nil,
		func(a *oauthapps.App) { a.ExchangeAudiences = []string{"reports"} })
	p.mustConnect()
	observed := 0
	h, recorded := p.w.handOuts(func(cfg *connectedapps.HandOutConfig) {
		cfg.Observe = func(context.Context, connectedapps.Ask, time.Time) { observed++ }
		cfg.PerSecond, cfg.Burst = 1, 3
	})
	ask := connectedapps.Ask{
		Principal: alice, App: "databricks", Caller: "tok_1", IP: "192.0.2.7",
		Exchange: &connectedapps.ExchangeRequest{Audience: "reports", Scopes: []string{"sql"}},
	}
	out, err := h.HandOut(t.Context(), ask)
	if err != nil || out.Value.Empty() || out.Value.Equal(p.w.grant(alice).AccessToken) || out.IssuedType != "urn:ietf:params:oauth:token-type:access_token" ||
		!slices.Equal(out.Scopes, []string{"sql"}) || out.Type != "Bearer" || out.Account != "alice@example.com" {
		t.Fatalf("HandOut = %+v, %v, want an exchanged token", out, err)
	}
	if len(*recorded) != 1 || observed != 1 {
		t.Fatalf("%d records, observed %d times, want 1 of each", len(*recorded), observed)
	}
	if e := (*recorded)[0]; e.Action != audit.GrantExchanged || e.Detail["by"] != "tok_1" || e.Detail["ip"] != "192.0.2.7" || e.Detail["audience"] != "reports" || e.Detail["scopes"] != "sql" {
		t.Errorf("the record is %+v, want who asked and for what", e)
	}
	ask.MinLife = 2 * time.Hour
	_, err = h.HandOut(t.Context(), ask)
	wantKind(t, err, fault.Conflict, "min_life_unavailable")
	ask.MinLife = 0
	ask.Exchange = &connectedapps.ExchangeRequest{Audience: "reports", Scopes: []string{"admin"}}
	_, err = h.HandOut(t.Context(), ask)
	wantKind(t, err, fault.Invalid, "exchange_widens")
	_, err = h.HandOut(t.Context(), ask)
	wantKind(t, err, fault.TooMany, "too_many")
	broken, _ := p.w.handOuts(func(cfg *connectedapps.HandOutConfig) {
		cfg.Record = func(context.Context, audit.Entry) error { return errors.New("disk full") }
	})
	ask.Exchange.Scopes = nil
	out, err = broken.HandOut(t.Context(), ask)
	wantKind(t, err, fault.Unavailable, "audit_unavailable")
	if !out.Value.Empty() {
		t.Error("a token was handed out without a record")
	}
}

func TestAnAppThatHandsOutNothingServesQueriesAllTheSame(t *testing.T) {
	p := atProvider(t, idp.Client{Secret: secret.New(clientSecret), ExchangeAudiences: []string{"reports"}}, nil,
		func(a *oauthapps.App) {
			a.ExchangeAudiences, a.HandOut = []string{"reports"}, oauthapps.HandOutDeny
		})
	h, recorded := p.w.handOuts(nil)
	for _, connected := range []bool{false, true} {
		if connected {
			p.mustConnect()
		}
		calls := len(p.Calls())
		for _, exchange := range []*connectedapps.ExchangeRequest{nil, {Audience: "reports"}} {
			out, err := h.HandOut(t.Context(), connectedapps.Ask{Principal: alice, App: "databricks", Caller: "tok_1", Exchange: exchange})
			e := wantKind(t, err, fault.Denied, "hand_out_denied")
			if !out.Value.Empty() || e.Owner != fault.Admin || !strings.Contains(e.Detail, "hand_out: allow") {
				t.Errorf("HandOut = %+v, want nothing and what an admin can do", e)
			}
		}
		if _, err := p.w.tokens.Exchange(t.Context(), alice, "databricks", connectedapps.ExchangeRequest{Audience: "reports"}); err == nil {
			t.Error("Exchange = nil, want it refused")
		}
		if len(p.Calls()) != calls || len(*recorded) != 0 {
			t.Errorf("%d calls and %d records for what is not allowed, want none", len(p.Calls())-calls, len(*recorded))
		}
	}
	p.w.mustToken(alice) // as a query does
}
