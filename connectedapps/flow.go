package connectedapps

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/oauth2"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/id"
	"github.com/behalf-project/behalf/internal/jobs"
	"github.com/behalf-project/behalf/internal/returnto"
	"github.com/behalf-project/behalf/oauthapps"
)

// flowLife is how long a person has between asking for a connect page and coming back from the provider.
const flowLife = 10 * time.Minute

// Outcomes of an authorization. Every other one is the code of a refusal.
const (
	OutcomeConnected = "connected"
	outcomeDenied    = "consent_denied"
	outcomeExpired   = "flow_expired"
)

// FlowConfig is what a Flow needs. Store, Authorizations, Apps and Client are required.
type FlowConfig struct {
	Store          Store
	Authorizations AuthorizationStore
	Apps           *oauthapps.Registry
	Client         *oauthapps.Client

	// Person returns what somebody is called here, to be compared with who they are at the provider. It is
	// fault.NotFound for who has no name here. Default: nobody has one.
	Person func(ctx context.Context, p Principal) (Person, error)

	// WhoAmI asks a data source of app under token whose it is: what to do when the provider does not say. It returns
	// "" when there is none to ask. Default: there is none.
	WhoAmI func(ctx context.Context, app oauthapps.App, token Secret) (string, error)

	// Disabled says whether a person may not act any more. Default: nobody is.
	Disabled func(ctx context.Context, p Principal) (bool, error)

	// Ended hears how an authorization of an app ended: OutcomeConnected, or the code of a refusal; the app is empty where
	// it is not known. It returns at once. Default: nobody hears.
	Ended func(app, outcome string)

	// Record records that a consent ended without a grant. Default: nothing is recorded.
	Record func(ctx context.Context, e audit.Entry) error

	Jobs jobs.Store       // of revocations that a provider does not confirm at once; default: they are not tried again
	Log  *zap.Logger      // default: no logging
	Now  func() time.Time // default: time.Now
}

// Flow leads a person through the authorization of an OAuth app (RFC 6749 §4.1). It is safe for concurrent use.
//
//	Start ──▶ the connect page ──▶ Authorize ──▶ the provider ──▶ Finish
//
// Start may happen anywhere: an API client asks for a link. Authorize and Finish happen in one browser session of the
// same person, so that nobody can begin an authorization and have somebody else complete it, or the reverse.
//
// Exchange is the other way to connect, without a browser: see there.
type Flow struct {
	cfg    FlowConfig
	limits *limits // of exchanges
}

// NewFlow returns a Flow over cfg. It starts nothing.
func NewFlow(cfg FlowConfig) *Flow {
	if cfg.Ended == nil {
		cfg.Ended = func(string, string) {}
	}
	if cfg.Record == nil {
		cfg.Record = func(context.Context, audit.Entry) error { return nil }
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Flow{cfg: cfg, limits: newLimits(exchangesPerSecond, exchangesAtOnce)}
}

// Start prepares an authorization of the app with this slug by principal, who goes on at returnTo afterwards: a path
// of this server; anything else becomes its start page. ConnectURL says where it goes on.
func (f *Flow) Start(ctx context.Context, principal Principal, slug, returnTo string) (Authorization, error) {
	app, err := f.app(ctx, principal, slug)
	if err != nil {
		return Authorization{}, err
	}
	now := f.cfg.Now().UTC()
	a := Authorization{
		ID: string(id.Connect) + "_" + id.Random(16), Principal: principal, AppID: app.ID,
		ReturnTo: returnto.Path(returnTo), CreatedAt: now, ExpiresAt: now.Add(flowLife),
	}
	return a, storeError(f.cfg.Authorizations.CreateAuthorization(ctx, a))
}

// ConnectURL returns the page of our own where a goes on, which is safe to hand to its person.
func (f *Flow) ConnectURL(slug string, a Authorization) string {
	return f.cfg.Apps.ConnectURL(slug) + "?session=" + url.QueryEscape(a.ID)
}

// Get returns the authorization with this id if it is principal's own, else fault.NotFound: whether a callback has
// come is known here and not in a window that may be gone.
func (f *Flow) Get(ctx context.Context, principal Principal, sessionID string) (Authorization, error) {
	a, err := f.cfg.Authorizations.GetAuthorization(ctx, sessionID)
	if err == nil && (principal.Anonymous() || a.Principal != principal) || errors.Is(err, fault.NotFound) {
		return Authorization{}, fault.New(fault.NotFound, "There is no such authorization of yours.")
	}
	a.Verifier, a.Nonce, a.DPoPKey = Secret{}, Secret{}, Secret{}
	return a, storeError(err)
}

// Authorize begins the authorization in a browser and returns the provider's URL to send it to. browser is the hash of
// the browser's session; only a callback in the same session can finish. Beginning again replaces what was begun.
func (f *Flow) Authorize(ctx context.Context, sessionID string, principal Principal, browser string, wishes ...Wish) (string, error) {
	if browser == "" {
		return "", fault.New(fault.Unauthenticated, "Sign in to connect an account.")
	}
	a, err := f.Get(ctx, principal, sessionID)
	if errors.Is(err, fault.NotFound) {
		return "", f.expired(oauthapps.App{}, err)
	}
	if err != nil {
		return "", err
	}
	app, err := f.app(ctx, principal, a.AppID)
	if err != nil {
		return "", err
	}
	if app, err = f.cfg.Apps.Ready(ctx, app); err != nil {
		return "", err
	}
	state, verifier := id.Random(32), oauth2.GenerateVerifier()
	a.Browser, a.StateHash, a.Verifier = browser, newSecret(state).Hash(), newSecret(verifier)
	if slices.Contains(app.Scopes, "openid") {
		a.Nonce = newSecret(id.Random(32))
	}
	a.DPoPKey = Secret{}
	if app.BindsTokens() {
		if a.DPoPKey, err = oauthapps.NewDPoPKey(); err != nil {
			return "", err
		}
	}
	if err := f.cfg.Authorizations.BeginAuthorization(ctx, a, f.cfg.Now().UTC()); err != nil {
		if errors.Is(err, fault.Gone) {
			return "", f.expired(app, err)
		}
		return "", storeError(err)
	}
	params, err := f.parameters(app, a, state, wishes)
	if err != nil {
		return "", err
	}
	to, err := f.cfg.Client.AuthorizationURL(ctx, app, params)
	if err != nil {
		return "", f.pushFailed(app, err)
	}
	return to, nil
}

// parameters are those of the authorization request for a (RFC 6749 §4.1.1, RFC 7636 §4.3).
func (f *Flow) parameters(app oauthapps.App, a Authorization, state string, wishes []Wish) (url.Values, error) {
	params := url.Values{}
	for name, value := range app.AuthorizationParams() {
		params.Set(name, value)
	}
	for name, value := range map[string]string{
		"response_type": "code", "client_id": app.ClientID, "redirect_uri": f.cfg.Apps.RedirectURI(app.Slug), "state": state,
		"code_challenge": oauth2.S256ChallengeFromVerifier(a.Verifier.Reveal()), "code_challenge_method": "S256",
		"scope": strings.Join(app.Scopes, " "), "nonce": a.Nonce.Reveal(),
	} {
		if value != "" {
			params.Set(name, value)
		}
	}
	if slices.Contains(wishes, AnotherAccount) {
		params.Set("prompt", promptForAnother(app))
	}
	if !a.DPoPKey.Empty() { // only who holds the key can use the code (RFC 9449 §10)
		thumbprint, err := oauthapps.DPoPThumbprint(a.DPoPKey)
		if err != nil {
			return nil, err
		}
		params.Set("dpop_jkt", thumbprint)
	}
	addResources(params, app)
	return params, nil
}

// addResources names the resources that the tokens of app are for: in the authorization request and in every token
// request (RFC 8707 §2).
func addResources(params url.Values, app oauthapps.App) {
	if len(app.Resources) > 0 {
		params["resource"] = slices.Clone(app.Resources)
	}
}

// Wish is what a person wants of an authorization beside having it.
type Wish string

// AnotherAccount lets the person choose who they are at the provider, although it knows them.
const AnotherAccount Wish = "another_account"

// promptForAnother is the prompt (OIDC Core §3.1.2.1) that lets somebody choose an account: a provider without OpenID
// that knows the word at all knows login. What the app says itself is kept.
func promptForAnother(app oauthapps.App) string {
	prompt := "login"
	if app.Issuer != "" || slices.Contains(app.Scopes, "openid") {
		prompt = "select_account"
	}
	if own := app.AuthorizationParams()["prompt"]; own != "" && own != "none" && own != prompt {
		prompt = own + " " + prompt
	}
	return prompt
}

// app returns the app with this id or slug if principal may connect it.
func (f *Flow) app(ctx context.Context, principal Principal, idOrSlug string) (oauthapps.App, error) {
	if principal.Anonymous() {
		return oauthapps.App{}, fault.New(fault.Unauthenticated, "Sign in to connect an account.")
	}
	if err := allowed(ctx, f.cfg.Disabled, principal); err != nil {
		return oauthapps.App{}, err
	}
	app, err := f.cfg.Apps.Get(ctx, idOrSlug)
	if err == nil && app.Paused {
		e := fault.New(fault.AppDisabled, "%s", pausedSentence(app))
		e.Owner, e.Params = fault.Admin, map[string]string{"oauth_app": app.Slug}
		err = e
	}
	return app, err
}

// Response is an authorization response as it reached our redirect URI (RFC 6749 §4.1.2, RFC 9207).
type Response struct {
	App              string // slug, from the path of the callback
	State            string
	Code             Secret
	Error            string
	ErrorDescription string
	Issuer           string // iss

	Browser   string // hash of the session of the browser that brought it; empty when it has none
	Principal Principal
}

// Outcome is what an authorization ended in.
type Outcome struct {
	App      oauthapps.App
	ReturnTo string // path on our own origin; empty when the authorization is not known to be this browser's
	Account  string // who the person is at the provider, as far as it told us
	Grant    Grant  // without tokens
}

// Finish ends an authorization with the response to it. It is the one way in, and its order is fixed: the state is
// taken before anything that came with it is believed, even an error, so it works once however many arrive; then the
// callback path, the browser and the person must be those of the beginning, and the issuer the app's; only then are
// error answers heard and the code is exchanged. Whatever fails, nothing is stored.
//
// With an error, the Outcome still says where the person came from, as far as the one asking is that person.
func (f *Flow) Finish(ctx context.Context, r Response) (Outcome, error) {
	a, err := f.take(ctx, r.State)
	if err != nil {
		f.cfg.Ended("", codeOf(err))
		return Outcome{}, err
	}
	out, err := f.finish(ctx, a, r)
	outcome := OutcomeConnected
	if err != nil {
		outcome = codeOf(err)
		f.noteRefusal(ctx, a, err)
	}
	f.cfg.Ended(out.App.Slug, outcome)
	// The one who waits for the outcome must learn it, whether or not this browser stays.
	done, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := f.cfg.Authorizations.FinishAuthorization(done, a.ID, outcome, f.cfg.Now().UTC()); err != nil {
		f.cfg.Log.Warn("outcome of an authorization not stored", zap.String("app_id", a.AppID), zap.Error(err))
	}
	return out, err
}

// noteRefusal logs and records that a came to nothing, and why. What succeeds is recorded with its grant.
func (f *Flow) noteRefusal(ctx context.Context, a Authorization, why error) {
	outcome := codeOf(why)
	f.cfg.Log.Info("not connected", audit.Request(ctx),
		zap.String("user_id", actorOf(a.Principal)), zap.String("app_id", a.AppID), zap.String("code", outcome), zap.NamedError("cause", cause(why)))
	err := f.cfg.Record(ctx, audit.Entry{
		At: f.cfg.Now().UTC(), Actor: actorOf(a.Principal), Action: audit.ConsentRefused, Object: a.AppID, Outcome: outcome,
		Request: audit.RequestID(ctx),
	})
	if err != nil { // nothing was handed out or stored that would have to be taken back
		f.cfg.Log.Warn("refused consent not recorded", zap.String("app_id", a.AppID), zap.Error(err))
	}
}

// take ends the state: whoever sent it, it is of no use any more.
func (f *Flow) take(ctx context.Context, state string) (Authorization, error) {
	if state == "" {
		return Authorization{}, f.expired(oauthapps.App{}, nil)
	}
	a, err := f.cfg.Authorizations.TakeAuthorization(ctx, newSecret(state).Hash(), f.cfg.Now().UTC())
	if errors.Is(err, fault.Gone) || errors.Is(err, fault.NotFound) {
		return Authorization{}, f.expired(oauthapps.App{}, err)
	}
	return a, storeError(err)
}

func (f *Flow) finish(ctx context.Context, a Authorization, r Response) (Outcome, error) {
	sameBrowser := a.Browser != "" && subtle.ConstantTimeCompare([]byte(a.Browser), []byte(r.Browser)) == 1
	if !sameBrowser || r.Principal.Anonymous() || r.Principal != a.Principal || !f.cfg.Now().Before(a.ExpiresAt) {
		return Outcome{}, f.expired(oauthapps.App{}, nil)
	}
	app, err := f.app(ctx, a.Principal, a.AppID)
	out := Outcome{App: app, ReturnTo: a.ReturnTo}
	if err != nil {
		return out, err
	}
	// Each app has its own callback path, and each server that says so signs its responses with its issuer: a code
	// that another server obtained by mix-up is never sent anywhere (RFC 9700 §4.4, RFC 9207).
	if r.App != app.Slug {
		return out, f.mixedUp(app, "it came back to the address of another app")
	}
	switch {
	case r.Issuer == "" && app.IssInResponse:
		return out, f.mixedUp(app, "it does not name its issuer, although the provider says that it always does")
	case r.Issuer != "" && app.Issuer != "" && r.Issuer != app.Issuer:
		return out, f.mixedUp(app, "it names another issuer")
	}
	if r.Error != "" {
		return out, f.refused(app, r)
	}
	if r.Code.Empty() {
		return out, f.mixedUp(app, "it holds neither a code nor an error")
	}
	g, err := f.trade(ctx, app, a, r.Code)
	if err != nil {
		return out, err
	}
	out.Account, out.Grant = g.Account, g
	return out, nil
}

// trade exchanges the code and connects what it brings.
func (f *Flow) trade(ctx context.Context, app oauthapps.App, a Authorization, code Secret) (Grant, error) {
	// From here on the browser may leave: the code is spent, and half a grant is none.
	ctx = context.WithoutCancel(ctx)
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {code.Reveal()}, "code_verifier": {a.Verifier.Reveal()},
		"redirect_uri": {f.cfg.Apps.RedirectURI(app.Slug)},
	}
	addResources(form, app)
	answer, err := f.cfg.Client.Grant(ctx, app, form, oauthapps.WithDPoP(a.DPoPKey))
	if err != nil {
		return Grant{}, f.exchangeFailed(app, err)
	}
	return f.connect(ctx, app, a, answer, "")
}

// connect finds out who the tokens of answer are for and stores them as the grant of a's person: the one way to a grant,
// whether a consent or an exchange brought them. issuer is that of the subject token of an exchange, and empty after a
// consent. The Grant it returns has no tokens.
func (f *Flow) connect(ctx context.Context, app oauthapps.App, a Authorization, answer oauthapps.TokenAnswer, issuer string) (Grant, error) {
	g := Grant{
		Key: Key{Principal: a.Principal, AppID: app.ID}, Domain: app.Domain, Requested: app.Scopes, Scopes: app.Scopes,
		Account: answer.Username, DPoPKey: a.DPoPKey, Exchanged: issuer != "",
	}.with(answer)
	g.ConnectedAt, g.Epoch = g.RefreshedAt, g.RefreshedAt.UnixMilli()
	g.Identity, _ = normalIdentity(answer.Username)
	err := f.identify(ctx, app, a, answer, &g)
	if err == nil {
		err = f.match(ctx, app, a, answer.AccessToken, &g)
	}
	if err != nil {
		f.discard(ctx, app, answer)
		return Grant{}, err
	}
	g.ID = id.New(id.Grant, g.ConnectedAt)
	entry := audit.Entry{
		At: f.cfg.Now().UTC(), Actor: actorOf(a.Principal), Action: audit.GrantCreated, Object: g.ID, Outcome: "ok",
		Request: audit.RequestID(ctx), Detail: map[string]string{"oauth_app": app.Slug, "account": g.Account, "scopes": strings.Join(g.Scopes, " ")},
	}
	if issuer != "" {
		entry.Detail["subject_issuer"] = issuer
	}
	old, err := f.cfg.Store.Get(ctx, g.Key)
	if err == nil {
		g.ID, entry.Object, entry.Action = old.ID, old.ID, audit.GrantReplaced
	}
	saving, cancel := context.WithTimeout(ctx, 2*grace)
	defer cancel()
	stored, err := f.cfg.Store.Connect(saving, g, a.ID, entry)
	if err != nil {
		f.discard(ctx, app, answer)
		if errors.Is(err, fault.Gone) {
			return Grant{}, f.fail(fault.Gone, outcomeExpired, fault.Admin, app, err,
				"While you connected %s, an admin ended its connections or changed it. Nothing was stored. Start again.", app.Name)
		}
		return Grant{}, storeError(err)
	}
	f.cfg.Log.Info("connected", audit.Request(ctx), zap.String("user_id", actorOf(a.Principal)), zap.String("app_id", app.ID))
	stored.AccessToken, stored.RefreshToken, stored.DPoPKey = Secret{}, Secret{}, Secret{}
	return stored, nil
}

// identify finds out who the person is at the provider. An ID token that can be verified must verify; the rest is
// best effort, and match decides what it means that nobody said.
func (f *Flow) identify(ctx context.Context, app oauthapps.App, a Authorization, answer oauthapps.TokenAnswer, g *Grant) error {
	if oauthapps.VerifiesIDTokens(app) && !a.Nonce.Empty() {
		if answer.IDToken.Empty() {
			return f.identityFailed(app, errors.New("openid was asked for and no ID token came"))
		}
		who, err := f.cfg.Client.VerifyIDToken(ctx, app, answer.IDToken, a.Nonce)
		if err != nil {
			return f.identityFailed(app, err)
		}
		g.Subject = who.Subject
		if g.Identity == "" {
			g.Identity, _ = normalIdentity(who.Login)
		}
		if g.Account == "" && who.Account != who.Subject {
			g.Account = who.Account
		}
	}
	if (g.Account == "" || g.Identity == "") && app.UserinfoURL != "" {
		asking, cancel := context.WithTimeout(ctx, grace)
		defer cancel()
		who, err := f.cfg.Client.Userinfo(asking, app, answer.AccessToken, g.proof())
		if err == nil && (g.Subject == "" || who.Subject == g.Subject) { // OIDC Core §5.3.2
			if g.Account == "" {
				g.Account = who.Account
			}
			if g.Identity == "" {
				g.Identity, _ = normalIdentity(who.Login)
			}
		}
	}
	if g.Account == "" {
		g.Account = g.Subject
	}
	return nil
}

// discard revokes tokens that are not going to be stored: now, or else later.
func (f *Flow) discard(ctx context.Context, app oauthapps.App, answer oauthapps.TokenAnswer) {
	if app.RevocationURL == "" {
		return
	}
	g := Grant{ID: id.New(id.Grant, f.cfg.Now()), AccessToken: answer.AccessToken, RefreshToken: answer.RefreshToken}
	asking, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	if err := revokeTokens(asking, f.cfg.Client, app, g); err != nil {
		f.cfg.Log.Warn("unused tokens not revoked at once", zap.String("app_id", app.ID), zap.Error(err))
		if f.cfg.Jobs != nil {
			later(ctx, f.cfg.Jobs, f.cfg.Log, app, g, f.cfg.Now())
		}
	}
}
