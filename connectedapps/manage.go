package connectedapps

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/jobs"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/oauthapps"
)

// ConnectedApp is an OAuth app as one person sees it: what they have given it, or could give. It holds no token.
type ConnectedApp struct {
	App    oauthapps.App
	Status Status
	Reason string // why it has this status and what happens next, in a sentence; empty when all is well

	Account         string   // who the person is at the provider, as far as it told us
	Scopes          []string // granted; what will be asked for when there is no grant
	ConnectedAt     time.Time
	RefreshedAt     time.Time
	UsedAt          time.Time
	AccessExpiresAt time.Time // of the access token, which is refreshed by itself
	ReauthorizeBy   time.Time // when the person must act, if that is known
	NextTryAt       time.Time // when a failed refresh is tried again
	Revision        int64

	Mismatch *Mismatch // who they are there is somebody else than here; nil when not

	Actions []fault.Action // what the person can do: authorize, reauthorize or exchange, refresh, revoke
}

// List returns what principal has given, or could give, to each app of a domain, ordered by the app's name.
func (t *Tokens) List(ctx context.Context, domain string, principal Principal) ([]ConnectedApp, error) {
	apps, err := t.cfg.Apps.List(ctx, domain)
	if err != nil || principal.Anonymous() {
		return nil, err
	}
	grants, err := t.cfg.Store.List(ctx, Filter{Principal: principal})
	if err != nil {
		return nil, storeError(err)
	}
	byApp := map[string]Grant{}
	for _, g := range grants {
		byApp[g.Key.AppID] = g
	}
	list := make([]ConnectedApp, 0, len(apps))
	for _, app := range apps {
		list = append(list, t.connectedApp(app, byApp[app.ID]))
	}
	return list, nil
}

// Get returns what principal has given, or could give, to the app with this slug.
func (t *Tokens) Get(ctx context.Context, principal Principal, slug string) (ConnectedApp, error) {
	app, err := t.cfg.Apps.Get(ctx, slug)
	if err != nil {
		return ConnectedApp{}, err
	}
	if principal.Anonymous() {
		return t.connectedApp(app, Grant{}), nil
	}
	g, err := t.read(ctx, Key{Principal: principal, AppID: app.ID})
	if err != nil {
		return ConnectedApp{}, err
	}
	return t.connectedApp(app, g), nil
}

func (t *Tokens) connectedApp(app oauthapps.App, g Grant) ConnectedApp {
	now := t.cfg.Now()
	c := ConnectedApp{App: app, Status: StatusOf(g, app, now), Scopes: app.Scopes}
	if g.ID != "" {
		c.Account, c.Scopes, c.Revision = g.Account, g.Scopes, g.Revision
		c.ConnectedAt, c.RefreshedAt, c.UsedAt = g.ConnectedAt, g.RefreshedAt, g.UsedAt
		c.AccessExpiresAt, c.ReauthorizeBy = g.ExpiresAt, g.ReauthorizeBy()
		if g.refreshable(now) && now.Before(g.NextTryAt) {
			c.NextTryAt = g.NextTryAt
		}
	}
	c.Reason, c.Mismatch = t.explain(app, g, c.Status, now), t.mismatch(app, g)
	connect := func(rel, label string) {
		c.Actions = append(c.Actions, fault.Action{Rel: rel, Href: t.cfg.Apps.ConnectURL(app.Slug), Label: label})
	}
	switch again := exchangesAgain(app, g); {
	case c.Status == Disabled:
	case again:
		c.Actions = append(c.Actions, exchangeAction("Exchange again"))
	case c.Status == NotConnected:
		connect("authorize", "Authorize")
	case c.Status == NeedsConsent:
		connect("reauthorize", "Review")
	default:
		connect("reauthorize", "Reauthorize")
	}
	if c.Status != Disabled && len(app.SubjectIssuers) > 0 && !g.Exchanged {
		c.Actions = append(c.Actions, exchangeAction("Exchange a token"))
	}
	if c.Status != Disabled && g.refreshable(now) {
		c.Actions = append(c.Actions, fault.Action{Rel: "refresh", Label: "Refresh now"})
	}
	if g.ID != "" {
		c.Actions = append(c.Actions, fault.Action{Rel: "revoke", Label: "Revoke"})
	}
	return c
}

// explain says why a grant has its status.
func (t *Tokens) explain(app oauthapps.App, g Grant, status Status, now time.Time) string {
	switch status {
	case Disabled:
		return pausedSentence(app)
	case Expired, Revoked:
		when, why := ending(g, status, now)
		return fmt.Sprintf("Your %s access ended on %s (%s).%s", app.Name, day(when), why, howToExchange(app, g))
	case UnknownOutcome:
		if !g.RefusedAt.IsZero() {
			when, why := ending(g, status, now)
			return fmt.Sprintf("Your %s access ended on %s (%s).%s", app.Name, day(when), why, howToExchange(app, g))
		}
		return fmt.Sprintf("The answer of %s to a refresh was lost. Your access works until its token ends; then it is tried once more.", app.Name)
	case RefreshFailing:
		if g.live(now) {
			return fmt.Sprintf("%s did not answer. Your access is unchanged; it is tried again by itself.", app.Name)
		}
		return fmt.Sprintf("%s did not answer, and your last token has ended. It is tried again by itself.", app.Name)
	case NeedsConsent:
		if how := howToExchange(app, g); how != "" {
			return fmt.Sprintf("Your admin added scopes: %s.%s Current access works meanwhile.", list(missing(app, g)), how)
		}
		return fmt.Sprintf("Your admin added scopes: %s. Approve them to go on; current access works meanwhile.", list(missing(app, g)))
	case Expiring:
		if how := howToExchange(app, g); how != "" {
			return fmt.Sprintf("Your %s access ends at %s.%s", app.Name, g.ReauthorizeBy().UTC().Format("15:04 UTC on 2 Jan 2006"), how)
		}
		return fmt.Sprintf("Reauthorize by %s.", day(g.ReauthorizeBy()))
	}
	if !app.BrokenAt.IsZero() && g.ID != "" {
		return fmt.Sprintf("%s rejects this app's credentials since %s. Only an admin can fix this; your access works until its token ends.", app.Name, day(app.BrokenAt))
	}
	return ""
}

func missing(app oauthapps.App, g Grant) (scopes []string) {
	for _, s := range app.Scopes {
		if !slices.Contains(g.Requested, s) {
			scopes = append(scopes, s)
		}
	}
	return scopes
}

// Refresh renews principal's grant now, or joins the refresh under way: at most once in 30 s, else fault.TooMany. It
// fails with the refusal that a query would get.
func (t *Tokens) Refresh(ctx context.Context, principal Principal, slug string) (ConnectedApp, error) {
	const every = 30 * time.Second
	app, g, err := t.look(ctx, principal, slug)
	if err != nil {
		return ConnectedApp{}, err
	}
	now := t.cfg.Now()
	if app.Paused || g.ID == "" || !g.refreshable(now) {
		if Usable(g, app, now) {
			e := t.refuse(fault.Conflict, app, StatusOf(g, app, now),
				"%s gave no way to renew your access. It works until it ends; then %s.", app.Name, strings.ToLower(t.again(app, g)[0].Label))
			e.Code, e.Owner, e.Actions = "not_refreshable", fault.User, t.again(app, g)
			return ConnectedApp{}, e
		}
		return ConnectedApp{}, t.refusal(app, g, nil)
	}
	if !t.underWay(g.Key) {
		if last, ok := t.asked.Get(g.Key.String()); ok && now.Sub(last) < every {
			e := t.refuse(fault.TooMany, app, StatusOf(g, app, now),
				"Your %s access was renewed a moment ago. It can be renewed again in %s.", app.Name, inWords(max(every-now.Sub(last), time.Second)))
			e.RetryAfter = max(every-now.Sub(last), time.Second)
			return ConnectedApp{}, e
		}
		t.asked.Add(g.Key.String(), now)
	}
	fresh, err := t.refresh(ctx, app, g, whenAsked)
	switch {
	case ctx.Err() != nil && err != nil:
		return ConnectedApp{}, gaveUp(ctx)
	case fresh.Epoch == g.Epoch && fresh.Revision == g.Revision:
		return ConnectedApp{}, t.refusal(app, fresh, err)
	}
	return t.connectedApp(app, fresh), nil
}

// Disconnected is how far a disconnect went. Here it is always complete.
type Disconnected struct {
	AtProvider bool   // the authorization server confirmed the revocation
	Note       string // what is left to do there, when it did not
}

// Disconnect ends principal's grant, in this order: it is deleted, so that no hand-out finds it; everybody is told, so
// that running statements are cut, pools closed and caches purged; then its tokens are revoked at the authorization
// server (RFC 7009). That is written down with the deletion: what the server does not confirm while the caller waits is
// tried again for three days, by whichever process is there. It is fault.NotFound without a grant.
func (t *Tokens) Disconnect(ctx context.Context, principal Principal, slug string) (Disconnected, error) {
	app, err := t.cfg.Apps.Get(ctx, slug)
	if err != nil {
		return Disconnected{}, err
	}
	k := Key{Principal: principal, AppID: app.ID}
	g, j, err := t.delete(ctx, app, k, t.entry(ctx, actorOf(principal), audit.GrantRevoked, Grant{Key: k}, app, "ok"))
	if errors.Is(err, fault.NotFound) {
		return Disconnected{}, t.refuse(fault.NotFound, app, NotConnected, "You have not connected %s.", app.Name)
	}
	if err != nil {
		return Disconnected{}, err
	}
	// Who asked may leave: the tokens must be revoked all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeTimeout)
	defer cancel()
	done := t.endAtProvider(ctx, app, g, j.ID != "")
	if done.AtProvider && j.ID != "" {
		if err := t.cfg.Jobs.Finish(ctx, j); err != nil && !errors.Is(err, fault.Conflict) {
			t.cfg.Log.Info("a revocation that is done will be repeated", zap.String("app_id", app.ID), zap.Error(err))
		}
	}
	return done, nil
}

// revokeTimeout bounds how long a disconnect waits for an authorization server.
const revokeTimeout = 10 * time.Second

// delete removes a grant. When it returns, everybody has heard, and the job it returns tells the provider, unless the
// caller does that first. Without a queue, or a way to tell the provider, the job is empty.
func (t *Tokens) delete(ctx context.Context, app oauthapps.App, k Key, e audit.Entry) (Grant, jobs.Job, error) {
	newer, unsaved := t.notSaved(k) // before the news, which drops it
	var j jobs.Job
	var then []Follow
	if t.cfg.Jobs != nil {
		due := t.cfg.Now().Add(revokeTimeout + grace) // not while the caller tries
		then = append(then, func(g Grant) (jobs.Job, bool) {
			if unsaved && newer.Epoch == g.Epoch {
				g = newer // these are the tokens that the server honours
			}
			var ok bool
			j, ok = revocationJob(app, g, "", due)
			return j, ok
		})
	}
	g, err := t.cfg.Store.Delete(ctx, k, e, then...)
	if err != nil {
		return Grant{}, jobs.Job{}, storeError(err)
	}
	if unsaved && newer.Epoch == g.Epoch {
		g = newer
	}
	return g, j, nil
}

// endAtProvider revokes the tokens of g at the authorization server and says how that went. queued says that it is
// tried again by itself.
func (t *Tokens) endAtProvider(ctx context.Context, app oauthapps.App, g Grant, queued bool) Disconnected {
	err := t.revoke(ctx, app, g)
	switch {
	case err == nil:
		return Disconnected{AtProvider: true}
	case errors.Is(err, fault.NotFound):
		return Disconnected{Note: fmt.Sprintf("%s has no way for us to revoke access there. Your tokens are deleted here; to end them at %s too, remove the app in its own settings.", app.Name, app.Name)}
	}
	t.cfg.Log.Warn("tokens not revoked at the authorization server", audit.Request(ctx),
		zap.String("user_id", actorOf(g.Key.Principal)), zap.String("app_id", app.ID), zap.Error(err))
	if queued {
		return Disconnected{Note: fmt.Sprintf("%s has not confirmed yet that your access ended there. Your tokens are deleted here, and it is told again until it does.", app.Name)}
	}
	return Disconnected{Note: fmt.Sprintf("%s did not confirm that your access ended there. Your tokens are deleted here; to be sure, remove the app in its own settings.", app.Name)}
}

// revoke ends the refresh token and then the access token of g at the authorization server.
func (t *Tokens) revoke(ctx context.Context, app oauthapps.App, g Grant) error {
	if app.RevocationURL == "" {
		return fault.New(fault.NotFound, "%s has no revocation endpoint.", app.Name)
	}
	return revokeTokens(ctx, t.cfg.Client, app, g)
}

// revokeTokens ends the tokens of g at a server that has a revocation endpoint. The refresh token takes the access token
// with it, but not at every provider.
func revokeTokens(ctx context.Context, client *oauthapps.Client, app oauthapps.App, g Grant) error {
	var refresh, access error
	for _, token := range []Secret{g.RefreshToken, g.SpareRefreshToken} {
		if !token.Empty() {
			refresh = errors.Join(refresh, client.Revoke(ctx, app, token, "refresh_token"))
		}
	}
	if !g.AccessToken.Empty() {
		access = client.Revoke(ctx, app, g.AccessToken, "access_token")
		f, _ := errors.AsType[*oauthapps.Failure](access)
		if f != nil && f.Code == codeUnsupportedTokenType && !g.RefreshToken.Empty() {
			access = nil // RFC 7009 §2.2.1: the server revokes grants by their refresh tokens, and that it did or did not
		}
	}
	return errors.Join(refresh, access)
}

// codeUnsupportedTokenType is the answer of a server that cannot revoke access tokens (RFC 7009 §2.2.1).
const codeUnsupportedTokenType = "unsupported_token_type"

// RevokeApp ends the grants that anybody gave to app, as Revoke does, and returns how many there were. actor is the id of
// the admin.
func (t *Tokens) RevokeApp(ctx context.Context, app oauthapps.App, actor string) (n int, err error) {
	r, err := t.Revoke(ctx, Scope{AppID: app.ID}, "The OAuth app was deleted.", actor, -1)
	return r.Grants, err
}

// CountByStatus counts the grants that people gave to app.
func (t *Tokens) CountByStatus(ctx context.Context, app oauthapps.App) (map[Status]int, error) {
	counts, after := map[Status]int{}, ""
	for {
		page, err := t.cfg.Store.List(ctx, Filter{AppID: app.ID, After: after, Limit: 500})
		if err != nil {
			return nil, storeError(err)
		}
		for _, g := range page {
			counts[StatusOf(g, app, t.cfg.Now())]++
			after = g.ID
		}
		if len(page) < 500 {
			return counts, nil
		}
	}
}

// actorOf is how a principal is named in audit records and logs: a local person by id.
func actorOf(p Principal) string {
	if p.Realm == securitycontext.Local {
		return p.Subject
	}
	return p.Realm + " " + p.Subject
}

func list(words []string) string {
	switch n := len(words); n {
	case 0:
		return "none"
	case 1:
		return words[0]
	default:
		s := words[0]
		for _, w := range words[1 : n-1] {
			s += ", " + w
		}
		return s + " and " + words[n-1]
	}
}
