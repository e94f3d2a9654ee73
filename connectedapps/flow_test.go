package connectedapps_test

import (
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/notify"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/oauthapps"
)

// oidc makes the world's app one of an OpenID provider, its endpoints found from the issuer.
func oidc(w *world, a *oauthapps.App) {
	*a = oauthapps.App{
		Domain: a.Domain, Name: "Corp", Slug: "corp", Preset: "oidc", Issuer: w.server.URL,
		ClientID: clientID, ClientSecret: secret.New(clientSecret), Scopes: []string{"openid", "offline_access"},
	}
}

func TestConnect(t *testing.T) {
	w := newWorld(t)
	a, state, code := w.begin(alice, "b1")
	out, err := w.flow.Finish(t.Context(), connectedapps.Response{App: "databricks", State: state, Code: secret.New(code), Browser: "b1", Principal: alice})
	if err != nil {
		t.Fatal(err)
	}
	if out.ReturnTo != "/query?x=1" || out.Account != "alice@provider" || out.App.Slug != "databricks" {
		t.Errorf("Finish = %+v", out)
	}
	if !out.Grant.AccessToken.Empty() || !out.Grant.RefreshToken.Empty() {
		t.Error("the outcome holds tokens")
	}
	g := w.grant(alice)
	if g.AccessToken.Empty() || g.RefreshToken.Empty() || g.Epoch != w.clock.now().UnixMilli() || !g.ExpiresAt.Equal(w.clock.now().Add(time.Hour)) {
		t.Errorf("stored grant %+v", g)
	}
	if got := w.mustToken(alice); got.Value.Reveal() != g.AccessToken.Reveal() || got.Status != "active" || got.Epoch != g.Epoch {
		t.Errorf("Token = %+v, want that of the grant", got)
	}
	if done, err := w.flow.Get(t.Context(), alice, a.ID); err != nil || done.Outcome != connectedapps.OutcomeConnected || done.DoneAt.IsZero() {
		t.Errorf("Get = %+v, %v, want the outcome connected", done, err)
	}
	if _, err := w.flow.Get(t.Context(), bob, a.ID); fault.KindOf(err) != fault.NotFound {
		t.Errorf("bob's Get = %v, want not found", err)
	}
	if len(w.news) != 1 || w.news[0].Topic != notify.GrantChanged || w.news[0].Epoch != g.Epoch || w.news[0].Principal != alice.Key() {
		t.Errorf("news = %+v, want the grant with its epoch", w.news)
	}
	if _, err := w.token(bob); fault.KindOf(err) != fault.AuthorizationRequired {
		t.Errorf("bob's Token = %v, want authorization required", err)
	}
}

func TestConnectAgainKeepsTheRowAndRaisesTheEpoch(t *testing.T) {
	w := newWorld(t)
	first := w.connect(alice)
	w.mustToken(alice)
	second := w.connect(alice) // within the same millisecond of the clock
	if second.ID != first.ID || second.Epoch <= first.Epoch {
		t.Errorf("grant %s epoch %d, then %s epoch %d, want the same id and a larger epoch", first.ID, first.Epoch, second.ID, second.Epoch)
	}
	if got := w.mustToken(alice); got.Epoch != second.Epoch {
		t.Errorf("Token has epoch %d, want %d: the news must end what was in memory", got.Epoch, second.Epoch)
	}
}

// RFC 6749 §5.1: who grants less than was asked for says so, and an answer that says nothing changes nothing.
func TestTheScopesThatWereGrantedAreKept(t *testing.T) {
	w := newWorld(t)
	_, state, code := w.begin(alice, "b1")
	w.server.mu.Lock()
	c := w.server.codes[code]
	c.scope = "sql"
	w.server.codes[code] = c
	w.server.mu.Unlock()
	_, err := w.flow.Finish(t.Context(), connectedapps.Response{App: "databricks", State: state, Code: secret.New(code), Browser: "b1", Principal: alice})
	if err != nil {
		t.Fatal(err)
	}
	kept := func(when string) {
		t.Helper()
		if g := w.grant(alice); strings.Join(g.Scopes, " ") != "sql" || strings.Join(g.Requested, " ") != "sql offline_access" {
			t.Errorf("%s: granted %q of %q, want sql of what was asked for", when, g.Scopes, g.Requested)
		}
	}
	kept("after the consent")
	w.server.breakNext(answering(200, "application/json", `{"access_token":"canary","expires_in":3600}`))
	w.clock.advance(2 * time.Hour)
	w.mustToken(alice)
	kept("after a refresh that does not name them")
}

func TestTheTokenRequestRepeatsTheAuthorizationRequest(t *testing.T) {
	w := newWorld(t)
	w.connect(alice)
	form := w.server.forms[0]
	if got, want := form.Get("redirect_uri"), w.apps.RedirectURI("databricks"); got != want {
		t.Errorf("redirect_uri = %q, want %q", got, want)
	}
	if n := len(form.Get("code_verifier")); n < 43 {
		t.Errorf("code_verifier has %d characters, want 43 or more", n)
	}
	if form.Get("client_secret") != "" || form.Get("client_id") != "" {
		t.Error("credentials are in the form, although the app uses client_secret_basic")
	}
}

func TestFinishRefuses(t *testing.T) {
	other := securitycontext.Principal{Realm: "https://idp.example", Subject: alice.Subject}
	for _, tt := range []struct {
		name   string
		change func(w *world, r *connectedapps.Response)
		kind   fault.Kind
		code   string
	}{
		{"a callback in another browser", func(_ *world, r *connectedapps.Response) { r.Browser = "b2" }, fault.Gone, "flow_expired"},
		{"a callback in a browser without a session", func(_ *world, r *connectedapps.Response) { r.Browser = "" }, fault.Gone, "flow_expired"},
		{"another person in the same browser", func(_ *world, r *connectedapps.Response) { r.Principal = bob }, fault.Gone, "flow_expired"},
		{"the same subject of another realm", func(_ *world, r *connectedapps.Response) { r.Principal = other }, fault.Gone, "flow_expired"},
		{"nobody", func(_ *world, r *connectedapps.Response) { r.Principal = securitycontext.Principal{} }, fault.Gone, "flow_expired"},
		{"a state that was never made", func(_ *world, r *connectedapps.Response) { r.State = "x" }, fault.Gone, "flow_expired"},
		{"no state", func(_ *world, r *connectedapps.Response) { r.State = "" }, fault.Gone, "flow_expired"},
		{"a state after ten minutes", func(w *world, _ *connectedapps.Response) { w.clock.advance(10 * time.Minute) }, fault.Gone, "flow_expired"},
		{"the callback path of another app", func(_ *world, r *connectedapps.Response) { r.App = "other" }, fault.Invalid, "response_mismatch"},
		{"a missing issuer that was promised", func(_ *world, r *connectedapps.Response) { r.Issuer = "" }, fault.Invalid, "response_mismatch"},
		{"another issuer", func(_ *world, r *connectedapps.Response) { r.Issuer = "https://evil.example" }, fault.Invalid, "response_mismatch"},
		{"another issuer, even with an error", func(_ *world, r *connectedapps.Response) {
			r.Issuer, r.Error = "https://evil.example", "access_denied"
		}, fault.Invalid, "response_mismatch"},
		{"neither code nor error", func(_ *world, r *connectedapps.Response) { r.Code = secret.Text{} }, fault.Invalid, "response_mismatch"},
		{"a code the server does not know", func(_ *world, r *connectedapps.Response) { r.Code = secret.New("canary") }, fault.Gone, "code_refused"},
		{"a person who said no", func(_ *world, r *connectedapps.Response) { r.Error = "access_denied" }, fault.Denied, "consent_denied"},
		{"an error of the registration", func(_ *world, r *connectedapps.Response) { r.Error = "invalid_scope" }, fault.Denied, "provider_refused"},
		{"an app that was paused meanwhile", func(w *world, _ *connectedapps.Response) {
			if _, err := w.apps.Pause(w.t.Context(), w.app.ID, "moving", "usr_admin"); err != nil {
				w.t.Fatal(err)
			}
		}, fault.AppDisabled, "app_disabled"},
		{"a token endpoint that answers HTML", func(w *world, _ *connectedapps.Response) {
			w.server.breakNext(answering(200, "text/html", "<h1>canary</h1>"))
		}, fault.Unavailable, "provider_error"},
		{"a token endpoint that rejects our secret", func(w *world, _ *connectedapps.Response) {
			w.server.breakNext(answering(401, "application/json", `{"error":"invalid_client","error_description":"canary"}`))
		}, fault.Unavailable, "invalid_client"},
		{"a token that is not a bearer token", func(w *world, _ *connectedapps.Response) {
			w.server.breakNext(answering(200, "application/json", `{"access_token":"canary","token_type":"mac"}`))
		}, fault.Unavailable, "provider_error"},
		{"no ID token although openid was asked for", func(w *world, _ *connectedapps.Response) {
			w.server.breakNext(answering(200, "application/json", `{"access_token":"canary","token_type":"Bearer"}`))
		}, fault.Denied, "id_token_invalid"},
		{"an ID token with another nonce", func(w *world, r *connectedapps.Response) { w.withIDToken(r, jwt.MapClaims{"sub": "x", "nonce": "n"}) }, fault.Denied, "id_token_invalid"},
		{"an ID token of another issuer", func(w *world, r *connectedapps.Response) {
			w.withIDToken(r, jwt.MapClaims{"sub": "x", "iss": "https://evil.example"})
		}, fault.Denied, "id_token_invalid"},
		{"an ID token for another client", func(w *world, r *connectedapps.Response) { w.withIDToken(r, jwt.MapClaims{"sub": "x", "aud": "other"}) }, fault.Denied, "id_token_invalid"},
		{"an ID token for two clients that names no authorized party", func(w *world, r *connectedapps.Response) {
			w.withIDToken(r, jwt.MapClaims{"sub": "x", "aud": []string{clientID, "other"}})
		}, fault.Denied, "id_token_invalid"},
		{"an ID token that was issued to another client", func(w *world, r *connectedapps.Response) {
			w.withIDToken(r, jwt.MapClaims{"sub": "x", "aud": []string{clientID, "other"}, "azp": "other"})
		}, fault.Denied, "id_token_invalid"},
		{"an ID token that has expired", func(w *world, r *connectedapps.Response) {
			w.withIDToken(r, jwt.MapClaims{"sub": "x", "exp": w.clock.now().Add(-time.Minute).Unix()})
		}, fault.Denied, "id_token_invalid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, oidc)
			a, state, code := w.begin(alice, "b1")
			r := connectedapps.Response{App: "corp", State: state, Code: secret.New(code), Issuer: w.server.URL, Browser: "b1", Principal: alice}
			tt.change(w, &r)
			out, err := w.flow.Finish(t.Context(), r)
			e := wantKind(t, err, tt.kind, tt.code)
			if e.Detail == "" {
				t.Error("the refusal says nothing")
			}
			if got := w.counted(); len(got) != 1 || !strings.HasSuffix(got[0], " "+tt.code) {
				t.Errorf("counted is %q, want %s", got, tt.code)
			}
			if tt.code == "flow_expired" && (out.ReturnTo != "" || out.App.ID != "") {
				t.Errorf("Finish tells a stranger %+v", out)
			}
			if _, err := w.db.Grants().Get(t.Context(), connectedapps.Key{Principal: alice, AppID: w.app.ID}); fault.KindOf(err) != fault.NotFound {
				t.Errorf("a grant was stored: %v", err)
			}
			if r.State != state || tt.name == "a state after ten minutes" {
				return // it was not taken
			}
			if got, err := w.flow.Get(t.Context(), alice, a.ID); err != nil || got.Outcome != tt.code {
				t.Errorf("outcome = %q, %v, want %q", got.Outcome, err, tt.code)
			}
			recorded, err := w.db.Audit().List(t.Context(), 1)
			if err != nil || len(recorded) == 0 || recorded[0].Action != audit.ConsentRefused || recorded[0].Outcome != tt.code || recorded[0].Actor != alice.Subject {
				t.Errorf("recorded %+v, %v, want alice's consent refused with %q", recorded, err, tt.code)
			}
			// Whatever was wrong, the state is dead now, even for its own browser.
			_, err = w.flow.Finish(t.Context(), connectedapps.Response{App: "corp", State: state, Code: secret.New(code), Issuer: w.server.URL, Browser: "b1", Principal: alice})
			if tt.code != "app_disabled" {
				wantKind(t, err, fault.Gone, "flow_expired")
			}
		})
	}
}

// withIDToken makes the next token answer hold an ID token with these claims and, unless they have one, the nonce that
// was sent with the request for r: what is refused is refused for what is wrong with it.
func (w *world) withIDToken(r *connectedapps.Response, claims jwt.MapClaims) {
	if claims["nonce"] == nil {
		w.server.mu.Lock()
		claims["nonce"] = w.server.codes[r.Code.Reveal()].nonce
		w.server.mu.Unlock()
	}
	body := `{"access_token":"canary","token_type":"Bearer","id_token":"` + w.server.idToken(claims) + `"}`
	w.server.breakNext(answering(200, "application/json", body))
}

func TestAnIDTokenThatVerifiesNamesTheAccount(t *testing.T) {
	w := newWorld(t, oidc)
	g := w.connect(alice)
	if g.Account != "alice@provider" {
		t.Errorf("account = %q, want alice@provider", g.Account)
	}
	if w.app.AuthURL != w.server.URL+"/authorize" || !w.app.IssInResponse {
		t.Errorf("the app was not completed from the issuer's metadata: %+v", w.app)
	}
}

func TestAStateWorksOnceOfAHundredTimes(t *testing.T) {
	w := newWorld(t)
	_, state, code := w.begin(alice, "b1")
	var ok, gone atomic.Int64
	var group sync.WaitGroup
	for range 100 {
		group.Go(func() {
			_, err := w.flow.Finish(t.Context(), connectedapps.Response{App: "databricks", State: state, Code: secret.New(code), Browser: "b1", Principal: alice})
			switch fault.KindOf(err) {
			case "":
				if err == nil {
					ok.Add(1)
				}
			case fault.Gone:
				gone.Add(1)
			}
		})
	}
	group.Wait()
	if ok.Load() != 1 || gone.Load() != 99 {
		t.Errorf("%d succeeded and %d were gone, want 1 and 99", ok.Load(), gone.Load())
	}
	if _, exchanges := w.server.counts(); exchanges != 1 {
		t.Errorf("%d token requests, want 1", exchanges)
	}
}

func TestBeginningAgainKillsTheOlderState(t *testing.T) {
	w := newWorld(t)
	a, oldState, code := w.begin(alice, "b1")
	to, err := w.flow.Authorize(t.Context(), a.ID, alice, "b2")
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.flow.Finish(t.Context(), connectedapps.Response{App: "databricks", State: oldState, Code: secret.New(code), Browser: "b1", Principal: alice})
	wantKind(t, err, fault.Gone, "flow_expired")
	state, code := w.server.authorize(t, to)
	if _, err := w.flow.Finish(t.Context(), connectedapps.Response{App: "databricks", State: state, Code: secret.New(code), Browser: "b2", Principal: alice}); err != nil {
		t.Errorf("Finish with the newer state = %v", err)
	}
}

func TestAuthorize(t *testing.T) {
	w := newWorld(t, func(_ *world, a *oauthapps.App) { a.AuthParams = map[string]string{"access_type": "offline"} })
	a, err := w.flow.Start(t.Context(), alice, "databricks", "https://evil.example/")
	if err != nil {
		t.Fatal(err)
	}
	if a.ReturnTo != "/" {
		t.Errorf("ReturnTo = %q, want / for another origin", a.ReturnTo)
	}
	if got, want := w.flow.ConnectURL("databricks", a), publicURL+"/connect/databricks?session="+a.ID; got != want {
		t.Errorf("ConnectURL = %q, want %q", got, want)
	}
	_, err = w.flow.Authorize(t.Context(), a.ID, bob, "b1")
	wantKind(t, err, fault.Gone, "flow_expired")
	_, err = w.flow.Authorize(t.Context(), a.ID, alice, "")
	wantKind(t, err, fault.Unauthenticated, "unauthenticated")
	_, err = w.flow.Start(t.Context(), securitycontext.Principal{}, "databricks", "/")
	wantKind(t, err, fault.Unauthenticated, "unauthenticated")
	_, err = w.flow.Start(t.Context(), alice, "nothing", "/")
	wantKind(t, err, fault.NotFound, "not_found")

	to, err := w.flow.Authorize(t.Context(), a.ID, alice, "b1")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if !strings.HasPrefix(to, w.server.URL+"/authorize?") || q.Get("access_type") != "offline" || q.Get("scope") != "sql offline_access" ||
		q.Get("redirect_uri") != publicURL+"/oauth/callback/databricks" || len(q.Get("state")) < 26 || q.Get("nonce") != "" {
		t.Errorf("Authorize = %s", to)
	}
}
