package connectedapps_test

import (
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/sandbox/bearer"
	"github.com/behalf-project/behalf/internal/sandbox/idp"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/oauthapps"
)

const (
	presetClient = "behalf"
	presetSecret = "canary-secret:%+ü"
)

// habits are the switches of the sandbox's provider that make it behave as the quirks of a preset say.
func habits(q oauthapps.Quirks) idp.Quirks {
	own := map[string]string{}
	for spelling, standard := range q.ErrorCodes {
		if own[standard] == "" || spelling == "bad_refresh_token" {
			own[standard] = spelling
		}
	}
	return idp.Quirks{
		RefreshByConsent: q.AuthParams["access_type"] == "offline",
		NoRefreshTokens:  q.RefreshTokens == oauthapps.RefreshNone,
		KeepReplaced:     q.RefreshTokens == oauthapps.RefreshReplaced,
		ReuseWindow:      q.ReuseWindow,
		RefreshIdle:      q.RefreshIdle,
		HideRefreshLife:  q.RefreshLife > 0,
		FormAnswers:      q.FormAnswers,
		CommaScopes:      q.CommaScopes,
		ErrorsWith200:    q.ErrorsWith200,
		ErrorCodes:       own,
		NoExpiresIn:      q.NoExpiresIn,
		StringNumbers:    q.StringNumbers,
		TokenType:        q.TokenType,
		AccountMember:    q.AccountMember,
		NoRevocation:     q.Revocation == oauthapps.RevokeNever,
		DeleteGrant:      q.Revocation == oauthapps.RevokeGrant,
		UnknownToken400:  q.UnknownToken400,
		ClientLast:       q.Probe == oauthapps.ProbeClientCredentials,
		MismatchMark:     q.MismatchMark,

		AnonymousExchange: q.AnonymousExchange,
	}
}

// rotates says whether a provider with these quirks replaces refresh tokens.
func rotates(q oauthapps.Quirks) bool { return q.RefreshTokens != oauthapps.RefreshKept }

func TestEveryQuirkIsASwitchOfTheSandboxProvider(t *testing.T) {
	for _, p := range oauthapps.Presets() {
		q := reflect.ValueOf(p.Quirks)
		for i := range q.NumField() {
			field := q.Type().Field(i).Name
			// ProbeScope is what we send. What RefreshTokens can be but "kept" and "replaced" is what the sandbox does anyway.
			if q.Field(i).IsZero() || field == "Citations" || field == "ProbeScope" || field == "RefreshTokens" && p.Quirks.RefreshTokens == oauthapps.RefreshSingle {
				continue
			}
			var one oauthapps.Quirks
			reflect.ValueOf(&one).Elem().Field(i).Set(q.Field(i))
			if reflect.DeepEqual(habits(one), habits(oauthapps.Quirks{})) && rotates(one) {
				t.Errorf("%s: the quirk %s is no switch of the sandbox's provider", p.Name, field)
			}
		}
	}
}

// presetWorld is a world whose app is of a preset and whose provider behaves as that preset says.
type presetWorld struct {
	*world
	idp *idp.Provider
}

func newPresetWorld(t *testing.T, p oauthapps.Preset, q idp.Quirks, scopes []string) presetWorld {
	t.Helper()
	var provider *idp.Provider
	w := newWorld(t, func(w *world, a *oauthapps.App) {
		srv := httptest.NewUnstartedServer(nil)
		var err error
		provider, err = idp.New(idp.Config{
			Issuer: "http://" + srv.Listener.Addr().String(), Key: signingKey(), Now: w.clock.now,
			People: []idp.Person{{Username: "alice", Password: secret.New("pw"), Name: "Alice", Email: "alice@example.com", Subject: "sub-alice"}},
			Clients: []idp.Client{{
				ID: presetClient, Secret: secret.New(presetSecret), AuthMethod: string(p.AuthMethods[0]),
				RedirectURIs: []string{publicURL + "/oauth/callback/" + p.Name},
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		srv.Config.Handler = provider
		srv.Start()
		t.Cleanup(srv.Close)
		provider.SetQuirks(q)
		provider.SetRotation(rotates(p.Quirks))
		if p.Quirks.RefreshLife > 0 {
			provider.SetRefreshTokenLife(p.Quirks.RefreshLife)
		}
		at := provider.Issuer()
		*a = oauthapps.App{
			Domain: a.Domain, Name: p.Title, Slug: p.Name, Preset: p.Name, AuthURL: at + "/authorize", TokenURL: at + "/token",
			ClientID: presetClient, ClientSecret: secret.New(presetSecret), Scopes: scopes, AuthParams: map[string]string{},
		}
		switch p.Quirks.Revocation {
		case oauthapps.RevokeToken:
			a.RevocationURL = at + "/revoke"
		case oauthapps.RevokeGrant:
			a.RevocationURL = at + "/applications/{client_id}/grant"
		}
		if slices.Contains(scopes, "openid") {
			a.Issuer, a.JWKSURL = at, at+"/jwks"
		}
		for _, param := range p.Params {
			a.AuthParams[param.Name] = param.Example
		}
	})
	return presetWorld{w, provider}
}

// consent leads alice through the whole flow in a browser.
func (w presetWorld) consent() connectedapps.Grant {
	w.t.Helper()
	a, err := w.flow.Start(w.t.Context(), alice, w.app.Slug, "/")
	if err != nil {
		w.t.Fatal(err)
	}
	to, err := w.flow.Authorize(w.t.Context(), a.ID, alice, "b1")
	if err != nil {
		w.t.Fatal(err)
	}
	back, err := w.idp.SignIn(w.t.Context(), to, "alice")
	if err != nil {
		w.t.Fatal(err)
	}
	q := back.Query()
	if _, err = w.flow.Finish(w.t.Context(), connectedapps.Response{
		App: w.app.Slug, State: q.Get("state"), Code: secret.New(q.Get("code")), Error: q.Get("error"), Issuer: q.Get("iss"), Browser: "b1", Principal: alice,
	}); err != nil {
		w.t.Fatalf("Finish = %v", err)
	}
	return w.grant(alice)
}

func (w presetWorld) wantStatus(want connectedapps.Status) {
	w.t.Helper()
	if got := w.status(alice); got != want {
		w.t.Errorf("status = %s, want %s", got, want)
	}
}

// TestTheWholeFlowAtEveryPreset connects, consents again, refreshes, is refused and revokes, at a provider that behaves
// as the preset says.
func TestTheWholeFlowAtEveryPreset(t *testing.T) {
	type scenario struct {
		name   string
		preset oauthapps.Preset
		quirks idp.Quirks
		scopes []string
	}
	var all []scenario
	for _, p := range oauthapps.Presets() {
		var scopes []string
		for _, s := range p.Scopes {
			if s.Default {
				scopes = append(scopes, s.Name)
			}
		}
		if len(scopes) == 0 {
			scopes = []string{"sql", "offline_access"}
		}
		all = append(all, scenario{p.Name, p, habits(p.Quirks), scopes})
		if p.Name == "github" { // a GitHub App, whose tokens expire
			q := habits(p.Quirks)
			q.NoExpiresIn = false
			all = append(all, scenario{"github, as a GitHub App", p, q, []string{"read:user", "offline_access"}})
		}
	}
	for _, tt := range all {
		t.Run(tt.name, func(t *testing.T) {
			w := newPresetWorld(t, tt.preset, tt.quirks, tt.scopes)
			q := tt.preset.Quirks
			refreshable := tt.quirks.RefreshByConsent || slices.Contains(tt.scopes, "offline_access") || slices.Contains(tt.scopes, "refresh_token")

			first := w.consent()
			w.clock.advance(time.Minute)
			g := w.consent()
			switch {
			case g.AccessToken.Empty() || g.AccessToken.Equal(first.AccessToken) || g.Epoch <= first.Epoch:
				t.Errorf("consenting again brought no new grant: %+v", g)
			case !slices.Equal(g.Scopes, tt.scopes):
				t.Errorf("granted %q, want %q", g.Scopes, tt.scopes)
			case !strings.EqualFold(g.TokenType, "Bearer"):
				t.Errorf("token type %q", g.TokenType)
			case g.RefreshToken.Empty() == refreshable:
				t.Errorf("a refresh token: %v, want %v", !g.RefreshToken.Empty(), refreshable)
			case g.ExpiresAt.IsZero() != tt.quirks.NoExpiresIn:
				t.Errorf("the access token ends at %s, expires_in was left out: %v", g.ExpiresAt, tt.quirks.NoExpiresIn)
			case q.RefreshLife > 0 != !g.RefreshExpiresAt.IsZero() || q.RefreshLife > 0 && !g.RefreshExpiresAt.Equal(w.clock.now().Add(q.RefreshLife)):
				t.Errorf("the refresh token ends at %s, want %s from now", g.RefreshExpiresAt, q.RefreshLife)
			}
			if w.app.Issuer != "" && g.Subject != "sub-alice" {
				t.Errorf("subject %q, want that of the ID token", g.Subject)
			}
			if q.AccountMember != "" && g.Account != "alice" {
				t.Errorf("account %q, want the one that the answer names", g.Account)
			}
			w.wantStatus(connectedapps.Active)

			if refreshable {
				w.refreshes(g, q)
			}
			w.ends(refreshable, q)
		})
	}
}

// refreshes lets the access token of g end, or asks for another where no end is known.
func (w presetWorld) refreshes(g connectedapps.Grant, q oauthapps.Quirks) {
	w.t.Helper()
	before := w.idp.CountCalls(idp.Token, "refresh_token")
	w.clock.advance(2 * time.Hour)
	if g.ExpiresAt.IsZero() {
		if _, err := w.tokens.Refresh(w.t.Context(), alice, w.app.Slug); err != nil {
			w.t.Fatalf("Refresh = %v", err)
		}
	} else if tok := w.mustToken(alice); tok.Value.Equal(g.AccessToken) {
		w.t.Error("an ended token was handed out")
	}
	next := w.grant(alice)
	if n := w.idp.CountCalls(idp.Token, "refresh_token") - before; n != 1 || next.Revision != g.Revision+1 || next.AccessToken.Equal(g.AccessToken) {
		w.t.Errorf("%d refreshes, revision %d after %d", n, next.Revision, g.Revision)
	}
	if next.RefreshToken.Empty() || next.RefreshToken.Equal(g.RefreshToken) == rotates(q) {
		w.t.Errorf("the refresh token is the old one: %v, want %v", next.RefreshToken.Equal(g.RefreshToken), !rotates(q))
	}
	w.wantStatus(connectedapps.Active)
}

// ends revokes the grant at the provider, and disconnects.
func (w presetWorld) ends(refreshable bool, q oauthapps.Quirks) {
	w.t.Helper()
	if refreshable {
		w.clock.advance(time.Minute)
		w.idp.RevokeGrants("alice")
		if _, err := w.tokens.Refresh(w.t.Context(), alice, w.app.Slug); err == nil {
			w.t.Error("a revoked grant was refreshed")
		}
		w.wantStatus(connectedapps.Revoked)
	}
	g := w.consent()
	held := g.AccessToken.Reveal()
	if h := w.idp.Resolve(held); h.Status != bearer.Active {
		w.t.Fatalf("the new token is %s", h.Status)
	}
	out, err := w.tokens.Disconnect(w.t.Context(), alice, w.app.Slug)
	if err != nil {
		w.t.Fatal(err)
	}
	told := q.Revocation != oauthapps.RevokeNever
	if out.AtProvider != told || (out.Note == "") != told {
		w.t.Errorf("Disconnect = %+v, want that the provider confirmed: %v", out, told)
	}
	if h := w.idp.Resolve(held); (h.Status == bearer.Revoked) != told {
		w.t.Errorf("after the disconnect the token is %s there", h.Status)
	}
	if n := w.idp.CountCalls(idp.Revoke, ""); (n > 0) != told {
		w.t.Errorf("%d calls to revoke, the provider can be told: %v", n, told)
	}
	w.wantStatus(connectedapps.NotConnected)

	// The client secret is replaced at the provider: the app is broken, and nobody's grant is.
	w.consent()
	w.idp.AddClient(idp.Client{ID: presetClient, Secret: secret.New("another"), AuthMethod: string(w.app.AuthMethod)})
	if refreshable {
		w.clock.advance(2 * time.Hour)
		if _, err := w.tokens.Refresh(w.t.Context(), alice, w.app.Slug); err == nil {
			w.t.Error("a refresh with a wrong secret succeeded")
		}
		a, err := w.apps.Get(w.t.Context(), w.app.Slug)
		if err != nil || a.BrokenCode != oauthapps.CodeInvalidClient || !w.grant(alice).RefusedAt.IsZero() {
			w.t.Errorf("with a wrong secret the app is broken by %q (%v), the grant refused at %s", a.BrokenCode, err, w.grant(alice).RefusedAt)
		}
	}
}

// A refresh token that the provider lets die unused is found dead, and is no broken app.
func TestAnIdleRefreshTokenDiesWhereThePresetSaysSo(t *testing.T) {
	for _, p := range oauthapps.Presets() {
		if p.Quirks.RefreshIdle == 0 {
			continue
		}
		t.Run(p.Name, func(t *testing.T) {
			scopes := []string{"openid", "offline_access"}
			if p.Quirks.AuthParams["access_type"] != "" {
				scopes = []string{"openid"}
			}
			w := newPresetWorld(t, p, habits(p.Quirks), scopes)
			w.consent()
			w.clock.advance(p.Quirks.RefreshIdle - time.Hour)
			w.mustToken(alice)
			w.clock.advance(p.Quirks.RefreshIdle + time.Hour)
			if _, err := w.token(alice); err == nil {
				t.Error("a token was handed out")
			}
			w.wantStatus(connectedapps.Revoked)
		})
	}
}

// TestARegistrationIsJudgedRightAtEveryPreset runs the Test of a registration at each provider: with the right and a
// wrong secret, and with a redirect URI that is registered and one that is not.
func TestARegistrationIsJudgedRightAtEveryPreset(t *testing.T) {
	for _, p := range oauthapps.Presets() {
		t.Run(p.Name, func(t *testing.T) {
			scopes := []string{"openid"}
			if p.Quirks.AuthParams["access_type"] == "" {
				scopes = append(scopes, "offline_access")
			}
			w := newPresetWorld(t, p, habits(p.Quirks), scopes)
			registered := publicURL + "/oauth/callback/" + p.Name
			judge := func(a oauthapps.App, redirectURI string) map[string]oauthapps.Stage {
				stages := map[string]oauthapps.Stage{}
				for _, s := range w.client.Test(t.Context(), a, redirectURI).Stages {
					stages[s.Name] = s
					if strings.Contains(s.Detail+s.Fix, "canary") {
						t.Errorf("the report tells a secret: %+v", s)
					}
				}
				return stages
			}
			right := judge(w.app, registered)
			for stage, want := range map[string]oauthapps.StageState{
				oauthapps.StageDNS: "pass", oauthapps.StageTLS: "skipped", oauthapps.StageMetadata: "pass", oauthapps.StageCredentials: "pass", oauthapps.StageRedirectURI: "pass",
			} {
				if right[stage].State != want {
					t.Errorf("%s = %+v, want %s", stage, right[stage], want)
				}
			}
			wrong := w.app
			wrong.ID, wrong.ClientSecret = "", secret.New("canary-wrong")
			if s := judge(wrong, registered)[oauthapps.StageCredentials]; s.State != "fail" || s.Fix == "" {
				t.Errorf("with a wrong secret: %+v, want a failure", s)
			}
			other := publicURL + "/oauth/callback/other"
			if s := judge(w.app, other)[oauthapps.StageRedirectURI]; s.State != "fail" || !strings.HasSuffix(s.Fix, other) {
				t.Errorf("with another redirect URI: %+v, want a failure that names it", s)
			}
			q := habits(p.Quirks)
			q.SignInFirst, q.MismatchMark = true, ""
			w.idp.SetQuirks(q)
			if s := judge(w.app, other)[oauthapps.StageRedirectURI]; s.State != "skipped" || !strings.Contains(s.Detail, other) {
				t.Errorf("at a provider that looks later: %+v, want that it cannot be seen", s)
			}
		})
	}
}

// A refresh whose answer was lost is sent again before the held token ends, where the provider is known to allow that,
// and not a moment earlier where it may burn the grant.
func TestALostAnswerIsAskedForAgainWhereThatIsSafe(t *testing.T) {
	for _, tt := range []struct {
		preset string
		scopes []string
		again  bool
	}{
		{"google", []string{"openid"}, true},
		{"fabric", []string{"openid", "offline_access"}, true},
		{"databricks", []string{"sql", "offline_access"}, false},
		{"oidc", []string{"openid", "offline_access"}, false},
	} {
		t.Run(tt.preset, func(t *testing.T) {
			presets := oauthapps.Presets()
			p := presets[slices.IndexFunc(presets, func(p oauthapps.Preset) bool { return p.Name == tt.preset })]
			w := newPresetWorld(t, p, habits(p.Quirks), tt.scopes)
			g := w.consent()
			w.idp.SetFault(idp.Token, idp.Fault{Grant: "refresh_token", Times: 1, DropAfter: true})
			w.clock.advance(58*time.Minute + time.Second)
			w.mustToken(alice)
			w.waitFor("the lost refresh", func() bool { return w.status(alice) == connectedapps.UnknownOutcome })
			w.clock.advance(time.Minute)
			if tok := w.mustToken(alice); !tok.Value.Equal(g.AccessToken) {
				t.Error("a token that still lives was waited for")
			}
			if tt.again {
				w.waitFor("the second refresh", func() bool { return w.status(alice) == connectedapps.Active })
			}
			for range 20 { // what is begun behind shows soon
				if time.Sleep(5 * time.Millisecond); !tt.again && w.idp.CountCalls(idp.Token, "refresh_token") != 1 {
					t.Fatal("the old refresh token was sent again while the held token lives")
				}
			}
			w.clock.advance(time.Minute)
			tok, err := w.token(alice)
			if tt.again && (err != nil || tok.Value.Equal(g.AccessToken) || w.idp.CountCalls(idp.Token, "refresh_token") != 2) {
				t.Errorf("Token = %v after %d refreshes, want the new one after 2", err, w.idp.CountCalls(idp.Token, "refresh_token"))
			}
			if !tt.again { // only now it is tried, and the provider takes it for theft
				w.wantStatus(connectedapps.UnknownOutcome)
				if err == nil || w.idp.CountCalls(idp.Token, "refresh_token") != 2 {
					t.Errorf("Token = %v after %d refreshes, want a refusal after 2", err, w.idp.CountCalls(idp.Token, "refresh_token"))
				}
			}
		})
	}
}
