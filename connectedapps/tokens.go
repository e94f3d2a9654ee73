package connectedapps

import (
	"context"
	"errors"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/id"
	"github.com/behalf-project/behalf/internal/jobs"
	"github.com/behalf-project/behalf/internal/notify"
	"github.com/behalf-project/behalf/oauthapps"
)

// Config is what Tokens needs. Store, Refreshes, Apps and Client are required, and Revocations and Jobs for Revoke.
type Config struct {
	Store       Store
	Refreshes   RefreshStore
	Revocations RevocationStore

	// Jobs keeps what providers are to be told of the end of grants; see Revocations. Without it, what a provider does
	// not confirm at once is not tried again. Wake, which may be nil, begins such work now instead of in a second.
	Jobs jobs.Store
	Wake func(kind string)

	Apps   *oauthapps.Registry
	Client *oauthapps.Client

	// Record records what changes nothing here: a token exchanged, which is refused without it.
	Record func(ctx context.Context, e audit.Entry) error

	// Refreshed hears how a call for a newer token of an app ended: RefreshOK, or the code of a failure. It returns at once.
	// Default: nobody hears.
	Refreshed func(app, outcome string)

	// Disabled says whether a person may not act any more. It is asked at every hand-out. Default: nobody is.
	Disabled func(ctx context.Context, p Principal) (bool, error)

	Bus          *notify.Bus      // brings GrantChanged: the store's; without it a change counts after Fresh
	Process      string           // names this process in claims; default: a random name
	Size         int              // grants in memory; default 10,000
	Fresh        time.Duration    // how long a grant in memory is believed without news of it; default 1 s
	Stale        time.Duration    // and how long while the store does not answer; default 60 s
	MaxRefreshes int              // refreshes at once at one authorization server; default 64
	PerSecond    float64          // refreshes that nobody waits for, begun in a second at one server; default 10
	Journal      Journal          // for answers that the store does not take; default: memory only
	Failpoint    func(Failpoint)  // told how far each refresh is, by tests; default: nobody is
	Log          *zap.Logger      // default: no logging
	Now          func() time.Time // default: time.Now
}

// Tokens hands out the access tokens of grants, refreshed when they are due, and ends grants. It is safe for
// concurrent use, and satisfies driverfactory.Credentials.
//
// What it knows of a grant it keeps in memory for a second, so that a statement costs no database read; news of a
// change ends that at once. Refreshes run on their own, at most one for a grant: who needs a new token waits for it,
// who holds a live one does not. Run owns them.
type Tokens struct {
	cfg   Config
	cache *cache

	mu      sync.Mutex
	flights map[string]*flight   // refreshes under way, by Key.String
	unsaved map[string]Grant     // refreshed, but the store has not taken it yet: it serves from here
	probed  map[string]time.Time // when a broken app was tried last, by its id
	closing bool
	stop    chan struct{} // closed when Run ends
	running sync.WaitGroup

	providers map[string]*provider // by the origin of the token endpoint

	forced     *lru.Cache[string, forcedRefresh] // by data sources
	lengthened *lru.Cache[string, forcedRefresh] // by callers who need a token that lives long
	asked      *lru.Cache[string, time.Time]     // by people
	used       chan Key                          // grants to touch
}

// NewTokens returns Tokens over cfg. It starts nothing; see Run.
func NewTokens(cfg Config) *Tokens {
	if cfg.Bus == nil {
		cfg.Bus = &notify.Bus{}
	}
	if cfg.Refreshed == nil {
		cfg.Refreshed = func(string, string) {}
	}
	if cfg.Process == "" {
		cfg.Process = id.Random(8)
	}
	if cfg.Size <= 0 {
		cfg.Size = 10_000
	}
	if cfg.Fresh <= 0 {
		cfg.Fresh = time.Second
	}
	if cfg.Stale <= 0 {
		cfg.Stale = time.Minute
	}
	if cfg.MaxRefreshes <= 0 {
		cfg.MaxRefreshes = 64
	}
	if cfg.PerSecond <= 0 {
		cfg.PerSecond = 10
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	forced, err1 := lru.New[string, forcedRefresh](4096)
	lengthened, err2 := lru.New[string, forcedRefresh](4096)
	asked, err3 := lru.New[string, time.Time](4096)
	if err := errors.Join(err1, err2, err3); err != nil {
		panic("connectedapps: " + err.Error()) // only a size below one is an error
	}
	t := &Tokens{
		cfg: cfg, flights: map[string]*flight{}, unsaved: map[string]Grant{}, probed: map[string]time.Time{},
		stop: make(chan struct{}), providers: map[string]*provider{},
		forced: forced, lengthened: lengthened, asked: asked, used: make(chan Key, 1024),
	}
	t.cache = newCache(cfg.Size, cfg.Fresh, cfg.Stale, cfg.Now, t.read)
	cfg.Bus.Subscribe(t.hear)
	return t
}

// hear drops what is in memory about a grant that changed.
func (t *Tokens) hear(n notify.News) {
	switch n.Topic {
	case notify.GrantChanged:
		key := n.Principal + n.AppID
		t.mu.Lock()
		if g, ok := t.unsaved[key]; ok && (g.Epoch < n.Epoch || n.Revoked && g.Epoch == n.Epoch) {
			delete(t.unsaved, key) // it was replaced or ended
		}
		t.mu.Unlock()
		t.cache.forget(key)
	case notify.Everything:
		t.cache.forgetAll() // what is not saved is newer than the store, and its saving finds out whether the grant lives
	}
}

// String returns k as one string that no other key has.
func (k Key) String() string { return k.Principal.Key() + k.AppID }

// read is what the cache asks when it knows nothing, or nothing fresh, of a grant.
func (t *Tokens) read(ctx context.Context, k Key) (Grant, error) {
	g, err := t.cfg.Store.Get(ctx, k)
	if errors.Is(err, fault.NotFound) {
		return Grant{Key: k}, nil
	}
	return g, storeError(err)
}

// grant returns what is known of the grant of k; its ID is empty when there is none. What the store has not taken yet is
// the newest, as long as the grant that it is of lives there, or nobody can say for a while whether it does.
func (t *Tokens) grant(ctx context.Context, k Key) (Grant, error) {
	newer, ok := t.notSaved(k)
	g, err := t.cache.get(ctx, k)
	switch {
	case !ok:
		return g, err
	case err != nil && t.cfg.Now().Sub(newer.RefreshedAt) < t.cfg.Stale:
		return newer, nil
	case err != nil, g.ID == "", g.Epoch != newer.Epoch:
		return g, err
	case g.Revision >= newer.Revision:
		return g, nil // it was stored since
	}
	return newer, nil
}

// notSaved returns the grant of k if it was refreshed and the store has not taken it yet.
func (t *Tokens) notSaved(k Key) (Grant, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.unsaved) == 0 {
		return Grant{}, false
	}
	g, ok := t.unsaved[k.String()]
	return g, ok
}

// look returns the app with this slug and principal's grant of it, for a hand-out.
func (t *Tokens) look(ctx context.Context, principal Principal, slug string) (oauthapps.App, Grant, error) {
	app, err := t.cfg.Apps.Get(ctx, slug)
	if err != nil {
		return oauthapps.App{}, Grant{}, err
	}
	if err := allowed(ctx, t.cfg.Disabled, principal); err != nil {
		return app, Grant{}, err
	}
	k := Key{Principal: principal, AppID: app.ID}
	if principal.Anonymous() {
		return app, Grant{Key: k}, nil
	}
	g, err := t.grant(ctx, k)
	return app, g, err
}

// Token returns principal's access token for the app with this slug, refreshed first if it must be. A token that is
// merely due is handed out, and its refresh runs behind (design.md §5). It fails with fault.AuthorizationRequired when
// principal never connected the app, ReauthorizationRequired when the grant has ended, AppDisabled when the app is
// paused, RefreshFailing or Unavailable when the token has ended and no new one can be had now, and Denied for a
// disabled person.
func (t *Tokens) Token(ctx context.Context, principal Principal, slug string) (Token, error) {
	return t.TokenFor(ctx, principal, slug, 0)
}

// TokenFor is Token for a caller who needs the token to live for minLife at least; 0 is the default of design.md §5,
// 30 s or a twentieth of its life. A caller whom the held token satisfies never waits. It also fails with
// fault.Conflict and the code min_life_unavailable when not even a fresh token lives that long, or none can be had.
func (t *Tokens) TokenFor(ctx context.Context, principal Principal, slug string, minLife time.Duration) (Token, error) {
	app, g, err := t.grantFor(ctx, principal, slug, minLife)
	if err != nil {
		return Token{}, err
	}
	return t.handOut(app, g, t.cfg.Now()), nil
}

// grantFor returns the grant whose token may be handed out, and its app.
func (t *Tokens) grantFor(ctx context.Context, principal Principal, slug string, minLife time.Duration) (oauthapps.App, Grant, error) {
	app, g, err := t.look(ctx, principal, slug)
	if err != nil {
		return app, Grant{}, err
	}
	now := t.cfg.Now()
	usable := Usable(g, app, now)
	if usable && oauthapps.Bound(g.TokenType) {
		return app, Grant{}, t.bound(app, g)
	}
	if !usable || g.due(now) { // while its server is left alone, a grant waits as if it had failed itself
		g.NextTryAt = latest(g.NextTryAt, t.at(app).closedUntil(now))
	}
	switch {
	case usable && g.lives(minLife, now):
		if g.due(now) && t.mayRefresh(app, g, now) {
			t.behind(ctx, app, g)
		}
		return app, g, nil
	case usable && minLife == 0 && !t.mayRefresh(app, g, now):
		return app, g, nil
	case usable && (!t.mayRefresh(app, g, now) || t.isFresh(g, minLife, now)):
		return app, Grant{}, t.tooShort(app, g, minLife, now)
	case !usable && !t.mayRefresh(app, g, now):
		return app, Grant{}, t.refusal(app, g, nil)
	}
	fresh, err := t.refresh(ctx, app, g, whenDue)
	if ctx.Err() != nil && err != nil {
		if usable && minLife == 0 {
			return app, g, nil
		}
		return app, Grant{}, gaveUp(ctx)
	}
	now = t.cfg.Now()
	if minLife > 0 && fresh.Epoch == g.Epoch && fresh.Revision != g.Revision {
		t.lengthened.Add(fresh.Key.String(), forcedRefresh{at: now, epoch: fresh.Epoch, revision: fresh.Revision, left: fresh.ExpiresAt.Sub(now)})
	}
	switch {
	case !Usable(fresh, app, now):
		return app, Grant{}, t.refusal(app, fresh, err)
	case oauthapps.Bound(fresh.TokenType):
		return app, Grant{}, t.bound(app, fresh)
	case minLife == 0 || fresh.lives(minLife, now): // renewed or not: by default it serves until it ends
		return app, fresh, nil
	}
	return app, Grant{}, t.tooShort(app, fresh, minLife, now)
}

// isFresh reports whether the token of g was brought by a refresh for a caller who needed a long-lived one, and did not
// live for minLife when it came, or such a refresh was a moment ago: another one would bring no more, and a caller who
// asks for too much causes no storm.
func (t *Tokens) isFresh(g Grant, minLife time.Duration, now time.Time) bool {
	last, ok := t.lengthened.Get(g.Key.String())
	if !ok || last.epoch != g.Epoch || last.revision > g.Revision || t.underWay(g.Key) {
		return false // or g was looked at before that, and refresh finds what it brought
	}
	ago := now.Sub(last.at) // below zero when the clock was set back
	return last.revision == g.Revision && minLife > last.left || ago >= 0 && ago < time.Minute
}

// Refused is told that a data source refused tok although it had not expired. It refreshes once, shared by all
// callers, at most once a minute for a grant and never for a token that such a refresh has just brought, and returns
// a token of another revision, or else the refusal that principal should see.
func (t *Tokens) Refused(ctx context.Context, principal Principal, slug string, tok Token) (Token, error) {
	app, g, err := t.look(ctx, principal, slug)
	if err != nil {
		return Token{}, err
	}
	now := t.cfg.Now()
	if g.Epoch != tok.Epoch || g.Revision != tok.Revision {
		return t.Token(ctx, principal, slug) // somebody has refreshed or reconnected it already
	}
	switch status := StatusOf(g, app, now); {
	case status == NotConnected, status == Disabled, status == Expired, status == Revoked, !g.RefusedAt.IsZero():
		return Token{}, t.refusal(app, g, nil)
	case !g.refreshable(now):
		return Token{}, t.notAccepted(app, g, status)
	}
	last, _ := t.forced.Get(g.Key.String())
	// What brought a newer token than g has came after g was looked at: there is nothing to force, and refresh finds it.
	if !t.underWay(g.Key) && last.epoch == g.Epoch && last.revision <= g.Revision && (last.revision == tok.Revision || now.Sub(last.at) < time.Minute) {
		if g.FailureCode != "" {
			return Token{}, t.refusal(app, g, nil) // the refresh did not bring one; it will be tried again
		}
		return Token{}, t.notAccepted(app, g, StatusOf(g, app, now))
	}
	fresh, err := t.refresh(ctx, app, g, whenRefused)
	if ctx.Err() != nil && err != nil {
		return Token{}, gaveUp(ctx)
	}
	now = t.cfg.Now()
	if Usable(fresh, app, now) && oauthapps.Bound(fresh.TokenType) {
		return Token{}, t.bound(app, fresh)
	}
	if Usable(fresh, app, now) && (fresh.Revision != tok.Revision || fresh.Epoch != tok.Epoch) {
		return t.handOut(app, fresh, now), nil
	}
	return Token{}, t.refusal(app, fresh, err)
}

// forcedRefresh is the last refresh of a grant that was not due by itself.
type forcedRefresh struct {
	at       time.Time
	epoch    int64
	revision int64         // that it brought
	left     time.Duration // for how long its token lived then, where that was asked for
}

// handOut returns the token of g and notes its use.
func (t *Tokens) handOut(app oauthapps.App, g Grant, now time.Time) Token {
	if now.Sub(g.UsedAt) >= time.Minute && t.cache.noteUse(g.Key.String(), now) {
		select {
		case t.used <- g.Key:
		default: // the store is slow; a use that is not noted does no harm
		}
	}
	return Token{
		Value: g.AccessToken, Status: string(StatusOf(g, app, now)), Epoch: g.Epoch, Revision: g.Revision, ExpiresAt: g.ExpiresAt,
	}
}

// assumedLife is the life of an access token whose end the server did not tell: after it, a new one is fetched.
const assumedLife = time.Hour

// life is how long the access token lives, or lived.
func (g Grant) life() time.Duration {
	if g.ExpiresAt.IsZero() {
		return assumedLife
	}
	return max(g.ExpiresAt.Sub(g.RefreshedAt), 0)
}

// due reports whether a refresh should run behind at now: 120 s before the end, or a tenth of the token's life if that is
// less. A token of unknown age is due.
func (g Grant) due(now time.Time) bool {
	return g.ageless(now) || !now.Before(g.RefreshedAt.Add(g.life()-min(2*time.Minute, g.life()/10)))
}

// lives reports whether the token still lives for minLife at now, by default 30 s or a twentieth of its life: otherwise
// a caller waits for the refresh. One without a known end is never waited for.
func (g Grant) lives(minLife time.Duration, now time.Time) bool {
	if g.ExpiresAt.IsZero() {
		return true
	}
	if minLife <= 0 {
		minLife = min(30*time.Second, g.life()/20)
	}
	return !g.ageless(now) && now.Before(g.ExpiresAt.Add(-minLife))
}

// ageless reports whether nobody knows how old the token is, because it came at a time that is still to come: the clock
// was set back since. That is less than grace where the clocks of a cluster differ.
func (g Grant) ageless(now time.Time) bool { return g.RefreshedAt.After(now.Add(grace)) }

// mayRefresh reports whether a refresh may be tried at now: there is a refresh token that may still work, no back-off
// is running, and the app's credentials are not known to be broken.
func (t *Tokens) mayRefresh(app oauthapps.App, g Grant, now time.Time) bool {
	switch {
	case g.ID == "" || app.Paused || !g.refreshable(now) || now.Before(g.NextTryAt):
		return false
	case heldBack(app, g, now):
		return false
	}
	return t.mayProbe(app, now, false)
}

// heldBack reports whether the held token serves to its end before the next try, because the outcome of the last one is
// unknown: the old refresh token may be spent, and presenting it again could end the grant (RFC 9700 §4.14). Where the
// provider is known to take it again, there is nothing to wait for.
func heldBack(app oauthapps.App, g Grant, now time.Time) bool {
	return g.answerLost(now) && g.live(now) && !app.Quirks().Repeatable(now.Sub(g.IntentAt))
}

// probeEvery is how often a broken app's credentials are tried again without an admin's doing.
const probeEvery = 5 * time.Minute

// mayProbe reports whether app's token endpoint may be called: it is not broken, or the last try is long enough ago.
// With take set, this is a try.
func (t *Tokens) mayProbe(app oauthapps.App, now time.Time, take bool) bool {
	if app.BrokenAt.IsZero() {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	last := app.BrokenAt
	if p := t.probed[app.ID]; p.After(last) {
		last = p
	}
	if now.Sub(last) < probeEvery {
		return false
	}
	if take {
		t.probed[app.ID] = now
	}
	return true
}

// Run owns the refreshes and what else goes on behind: it notes the use of grants, keeps trying to store refreshed
// tokens that the store would not take, and forgets who is idle. When ctx is done, no refresh begins any more; it
// waits for those under way, whose new tokens must not be lost, and returns nil.
func (t *Tokens) Run(ctx context.Context) error {
	sweep := time.NewTicker(time.Minute)
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			t.mu.Lock()
			if !t.closing {
				t.closing = true
				close(t.stop)
			}
			t.mu.Unlock()
			t.running.Wait()
			return nil
		case k := <-t.used:
			if err := t.cfg.Refreshes.Touch(ctx, k, t.cfg.Now().UTC()); err != nil && ctx.Err() == nil {
				t.cfg.Log.Warn("use of a grant not noted", zap.String("app_id", k.AppID), zap.Error(err))
			}
		case <-sweep.C:
			t.cache.sweep(10 * time.Minute)
		}
	}
}

// entry is the audit record of an act on the grant of k.
func (t *Tokens) entry(ctx context.Context, actor string, action audit.Action, g Grant, app oauthapps.App, outcome string) audit.Entry {
	return audit.Entry{
		At: t.cfg.Now().UTC(), Actor: actor, Action: action, Object: g.ID, Outcome: outcome, Request: audit.RequestID(ctx),
		Detail: map[string]string{"oauth_app": app.Slug, "principal": actorOf(g.Key.Principal)},
	}
}
