package oauthapps

import (
	"context"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/singleflight"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/id"
	"github.com/behalf-project/behalf/internal/notify"
)

// Origins of an app.
const (
	FromFile = "file" // declared in the configuration, and read-only elsewhere
	FromAPI  = "api"
)

// gone is the note of an app that was paused because its declaration went away, and the sign by which Declare knows
// that nobody paused it on purpose.
const gone = "It is no longer in the configuration file."

// codeHasGrants is the code of a refusal because people are connected through an app.
const codeHasGrants = "app_has_grants"

// Config is what a Registry needs. Store and PublicURL are required.
type Config struct {
	Store     Store
	PublicURL string // where people reach this server; redirect URIs and connect links begin with it

	// Discover reads the metadata of an issuer; see Client.Discover. Without it every endpoint must be given.
	Discover func(ctx context.Context, issuer string) (Metadata, error)

	// Try tries a registration; see Client.Test. Record stores the audit entry of that, which changes nothing else.
	// Registry.Test needs both.
	Try    func(ctx context.Context, a App, redirectURI string) Report
	Record func(ctx context.Context, e audit.Entry) error

	Bus   *notify.Bus      // brings OAuthAppChanged: the store's; without it a change counts after Fresh
	Fresh time.Duration    // how long a list read from the store is believed without news of it; default 1 s
	Stale time.Duration    // and how long while the store does not answer; default 60 s
	Log   *zap.Logger      // default: no logging
	Now   func() time.Time // default: time.Now
}

// Registry keeps the OAuth apps of this server. Reading is cheap: the apps are few, and kept in memory until one of
// them changes. It is safe for concurrent use. The Apps it returns are shared: copy before changing a map or slice.
type Registry struct {
	cfg Config

	mu     sync.Mutex
	all    *list // nil until read, and after a change
	change int64 // counts changes, so that a list read before one is not kept after it
	reads  singleflight.Group

	tests chan struct{} // one for each Test under way
}

// maxTests bounds the Tests under way: each takes up to half a minute, and calls where an admin wants it to.
const maxTests = 4

// list is everything in the store at one moment.
type list struct {
	apps []App // by name
	at   time.Time
}

// New returns a Registry over cfg. It starts nothing.
func New(cfg Config) *Registry {
	cfg.PublicURL = strings.TrimRight(cfg.PublicURL, "/")
	if cfg.Bus == nil {
		cfg.Bus = &notify.Bus{}
	}
	if cfg.Fresh == 0 {
		cfg.Fresh = time.Second
	}
	if cfg.Stale == 0 {
		cfg.Stale = time.Minute
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	r := &Registry{cfg: cfg, tests: make(chan struct{}, maxTests)}
	cfg.Bus.Subscribe(r.hear) // for as long as the bus lives, as the Registry does
	return r
}

// RedirectURI returns the redirect URI of the app with this slug: what the provider must have registered, what an
// authorization request names and what the token request repeats, byte for byte (RFC 6749 §4.1.3). There is one for
// each app, so that a response meant for one authorization server cannot be taken for another's (RFC 9700 §4.4).
func (r *Registry) RedirectURI(slug string) string {
	return r.cfg.PublicURL + "/oauth/callback/" + slug
}

// JWKSURI returns where the authorization server of the app with this slug finds the public key of private_key_jwt
// (RFC 7591 §2, jwks_uri).
func (r *Registry) JWKSURI(slug string) string {
	return r.cfg.PublicURL + "/oauth/jwks/" + slug
}

// ConnectURL returns the page where a person authorizes the app with this slug.
func (r *Registry) ConnectURL(slug string) string {
	return r.cfg.PublicURL + "/connect/" + slug
}

// List returns the apps of one domain, or of all when domain is empty, ordered by name.
func (r *Registry) List(ctx context.Context, domain string) ([]App, error) {
	l, err := r.load(ctx)
	if err != nil {
		return nil, err
	}
	var apps []App
	for _, a := range l.apps {
		if domain == "" || a.Domain == domain {
			apps = append(apps, a)
		}
	}
	return apps, nil
}

// Get returns the app with this id or slug, or fault.NotFound.
func (r *Registry) Get(ctx context.Context, idOrSlug string) (App, error) {
	l, err := r.load(ctx)
	if err != nil {
		return App{}, err
	}
	for _, a := range l.apps {
		if a.ID == idOrSlug || a.Slug == idOrSlug {
			return a, nil
		}
	}
	return App{}, fault.New(fault.NotFound, "There is no OAuth app %q.", clip(idOrSlug))
}

// ForSource returns the app whose grants a data source without an oauth_app of its own uses (design.md §2.4): the
// enabled app of its domain that names it, else the app whose slug is the source's credentials key. A paused app that
// names it comes last: it makes the refusal say that the app is paused, and not that there is none.
func (r *Registry) ForSource(ctx context.Context, domain, source, credentialsKey string) (App, bool, error) {
	l, err := r.load(ctx)
	if err != nil {
		return App{}, false, err
	}
	var bySlug, paused *App
	for i := range l.apps {
		a := &l.apps[i]
		if a.Domain != domain {
			continue
		}
		if slices.Contains(a.DataSources, source) {
			if !a.Paused {
				return *a, true, nil
			}
			if paused == nil {
				paused = a
			}
		}
		if a.Slug == credentialsKey {
			bySlug = a
		}
	}
	switch {
	case bySlug != nil:
		return *bySlug, true, nil
	case paused != nil:
		return *paused, true, nil
	}
	return App{}, false, nil
}

// load returns all apps, from memory where that is fresh enough. While the store does not answer, what is in memory
// serves for Config.Stale.
func (r *Registry) load(ctx context.Context) (*list, error) {
	r.mu.Lock()
	held, change := r.all, r.change
	r.mu.Unlock()
	now := r.cfg.Now()
	if held != nil && now.Sub(held.at) < r.cfg.Fresh {
		return held, nil
	}
	v, err, _ := r.reads.Do("", func() (any, error) {
		// The caller who reads may leave; the others must not fail with it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		apps, err := r.cfg.Store.ListApps(ctx, "")
		if err != nil {
			return nil, err
		}
		l := &list{apps: apps, at: now}
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.change == change {
			r.all = l
		}
		return l, nil
	})
	if err == nil {
		return v.(*list), nil
	}
	if held != nil && now.Sub(held.at) < r.cfg.Stale {
		r.cfg.Log.Warn("OAuth apps served from memory", zap.Error(err))
		return held, nil
	}
	return nil, storeError(err)
}

// storeError gives an error of the store that has no kind the one it should have.
func storeError(err error) error {
	if err == nil || fault.KindOf(err) != "" {
		return err
	}
	e := fault.Wrap(fault.Unavailable, err, "The database did not answer. Try again shortly.")
	e.Code, e.Owner = "store_unavailable", fault.Admin
	return e
}

// hear forgets what is in memory when an app has changed.
func (r *Registry) hear(n notify.News) {
	if n.Topic == notify.OAuthAppChanged || n.Topic == notify.Everything {
		r.forget()
	}
}

func (r *Registry) forget() {
	r.mu.Lock()
	r.all = nil
	r.change++
	r.mu.Unlock()
	r.reads.Forget("") // a read under way may have begun before the change
}

// entry is the audit record of an act on a.
func (r *Registry) entry(ctx context.Context, actor string, action audit.Action, a App) audit.Entry {
	return audit.Entry{
		At: r.cfg.Now().UTC(), Actor: actor, Action: action, Object: a.ID, Outcome: "ok",
		Detail: map[string]string{"slug": a.Slug}, Request: audit.RequestID(ctx),
	}
}

// Create stores a new app. It fills in what follows from the preset and from the issuer's metadata; what is wrong is
// fault.Invalid with a Field for each place. actor is the id of the admin.
func (r *Registry) Create(ctx context.Context, a App, actor string) (App, error) {
	now := r.cfg.Now().UTC()
	a.ID, a.Origin = id.New(id.OAuthApp, now), FromAPI
	a.CreatedAt, a.UpdatedAt, a.Rev = now, now, 0
	a.BrokenAt, a.BrokenCode, a.Paused, a.PausedNote = time.Time{}, "", false, ""
	a.NextInUse, a.DPoPOffered = false, false
	a = normalize(a)
	f := fields{}
	check(a, &f)
	if len(f.list) == 0 {
		a = r.discover(ctx, a, &f)
	}
	if err := f.err(); err != nil {
		return App{}, err
	}
	a.stamp(App{}, now)
	stored, err := r.cfg.Store.CreateApp(ctx, a, r.entry(ctx, actor, audit.OAuthAppCreated, a))
	if errors.Is(err, fault.Conflict) {
		e := fault.Wrap(fault.Conflict, err, "Another OAuth app has the slug %q. Choose a different one.", a.Slug)
		e.Code, e.Owner = "slug_taken", fault.Admin
		e.Fields = []fault.Field{{Pointer: "/slug", Code: "taken", Detail: e.Detail}}
		return App{}, e
	}
	return stored, storeError(err)
}

// Update stores the new values of an app that is not managed by the configuration file: a copy of what Get returned,
// with changes. Its Rev is the one that was read; another one in the store is fault.Conflict. Domain and slug stay.
//
// Where the host, the preset or the issuer changed, endpoints that came from the old ones are derived again. Saved
// credentials clear the mark of a broken app: the next refresh shows whether they are right.
//
// An admin may replace secrets and never read them. So what was entered for one server is not sent to another: an
// update that moves an endpoint or the issuer there must bring the client secret again (SecretSet is zero when it was
// entered, though it may be the same), and is fault.Conflict with code app_has_grants while people are connected.
func (r *Registry) Update(ctx context.Context, a App, actor string) (App, error) {
	save := r.cfg.Store.UpdateApp
	return r.write(ctx, a.ID, actor, audit.OAuthAppUpdated, func(old App) (App, error) {
		if a.Rev != old.Rev {
			return App{}, changedMeanwhile(old, nil)
		}
		entered := a.entered(old)
		asked := normalize(rederive(r.keep(clone(a), old), old))
		a, f := asked, fields{}
		check(a, &f)
		if len(f.list) == 0 {
			a = r.discover(ctx, a, &f)
		}
		if name := moved(a, asked, old); name != "" && len(f.list) == 0 {
			save = r.cfg.Store.MoveApp
			switch {
			case entered:
			case !a.PrivateKey.Empty(): // what it signs for one server could be shown to the other
				f.add("private_key", "required", "private_key must be entered or made again: %s is at another server than before, which must not be sent what the saved one signs.", name)
			case !a.ClientSecret.Empty():
				f.add("client_secret", "required", "client_secret must be entered again: %s is at another server than before, which must not be sent the saved one.", name)
			}
		}
		return a, f.err()
	}, func(ctx context.Context, a App, e audit.Entry) (App, error) { return save(ctx, a, e) })
}

// moved names an endpoint of a, the update of old, that is sent credentials and is at a server that was sent none
// before; "" when there is none. What the metadata of the same issuer filled in, where asked had nothing, has not moved:
// so an issuer counts as an endpoint, or one that was put there first could name all of them later.
func moved(a, asked, old App) string {
	known := []string{
		origin(old.TokenURL), origin(old.RevocationURL), origin(old.UserinfoURL), origin(old.IntrospectionURL), origin(old.PARURL),
	}
	for _, e := range []struct{ name, value, asked string }{
		{"token_url", a.TokenURL, asked.TokenURL}, {"revocation_url", a.RevocationURL, asked.RevocationURL},
		{"userinfo_url", a.UserinfoURL, asked.UserinfoURL}, {"introspection_url", a.IntrospectionURL, asked.IntrospectionURL},
		{"par_url", a.PARURL, asked.PARURL},
	} {
		discovered := e.asked == "" && a.Issuer == old.Issuer
		if e.value != "" && !discovered && !slices.Contains(known, origin(e.value)) {
			return e.name
		}
	}
	if o := origin(a.Issuer); o != "" && o != origin(old.Issuer) && !slices.Contains(known, o) {
		return "issuer"
	}
	return ""
}

// origin returns scheme, host and port of a URL, "" of none.
func origin(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return ""
	}
	return strings.ToLower(u.Scheme + "://" + u.Host)
}

// keep gives a the values of old that an update cannot set.
func (r *Registry) keep(a, old App) App {
	a.Domain, a.Slug, a.Origin, a.CreatedAt, a.Rev = old.Domain, old.Slug, old.Origin, old.CreatedAt, old.Rev
	a.Paused, a.PausedNote, a.IssInResponse = old.Paused, old.PausedNote, old.IssInResponse
	a.DPoPOffered, a.BrokenAt, a.BrokenCode = old.DPoPOffered, old.BrokenAt, old.BrokenCode
	renewed := a.renewed(old)
	a.dropUnused(old)
	a.stamp(old, r.cfg.Now().UTC())
	if renewed || !a.sameCredentials(old) || a.TokenURL != old.TokenURL {
		a.BrokenAt, a.BrokenCode = time.Time{}, ""
	}
	a.NextInUse = old.NextInUse && a.sameCredentials(old)
	return a
}

// rederive empties the endpoints of a that came from the host, preset or issuer of old, where these changed.
func rederive(a, old App) App {
	var derived App
	if p, ok := findPreset(old.Preset); ok {
		derived, _ = p.urls(old.Host) // it was valid when it was stored
	}
	hostChanged := a.Host != old.Host || a.Preset != old.Preset
	if hostChanged && a.Issuer == old.Issuer && old.Issuer == derived.Issuer {
		a.Issuer = ""
	}
	if a.Issuer != old.Issuer {
		a.IssInResponse, a.DPoPOffered = false, false
		a.PARRequired = a.PARRequired && !old.PARRequired
	}
	issuerChanged := a.Issuer != old.Issuer && old.Issuer != ""
	for _, f := range []struct {
		value             *string
		old, derivedValue string
	}{
		{&a.AuthURL, old.AuthURL, derived.AuthURL}, {&a.TokenURL, old.TokenURL, derived.TokenURL},
		{&a.RevocationURL, old.RevocationURL, derived.RevocationURL}, {&a.UserinfoURL, old.UserinfoURL, derived.UserinfoURL},
		{&a.JWKSURL, old.JWKSURL, ""}, {&a.IntrospectionURL, old.IntrospectionURL, ""}, {&a.PARURL, old.PARURL, ""},
	} {
		untouched := *f.value == f.old
		if untouched && f.old != "" && (issuerChanged || hostChanged && f.old == f.derivedValue) {
			*f.value = ""
		}
	}
	return a
}

// Test tries the registration a at its authorization server and returns what each stage found; see Client.Test. It is
// an app that is stored, as Get returned it, or one that is not stored yet, without an ID: then what is wrong with it by
// itself is fault.Invalid, as for Create. With several under way it is fault.TooMany. actor is the id of the admin. A
// test that cannot be recorded is not told.
func (r *Registry) Test(ctx context.Context, a App, actor string) (Report, error) {
	a = normalize(clone(a))
	if a.ID == "" {
		f := fields{}
		if check(a, &f); len(f.list) > 0 {
			return Report{}, f.err()
		}
	}
	select {
	case r.tests <- struct{}{}:
		defer func() { <-r.tests }()
	default:
		e := fault.New(fault.TooMany, "%d registrations are being tested. Try again in half a minute.", maxTests)
		e.RetryAfter, e.Owner = testTimeout, fault.Admin
		return Report{}, e
	}
	report := r.cfg.Try(ctx, a, r.RedirectURI(a.Slug))
	e := r.entry(ctx, actor, audit.OAuthAppTested, a)
	for _, s := range report.Stages {
		if s.State == StageFailed && e.Outcome == "ok" {
			e.Outcome = s.Name + "_failed"
		}
	}
	// Credentials were sent, whether or not the admin still waits for the answer.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := r.cfg.Record(ctx, e); err != nil {
		return Report{}, storeError(err)
	}
	return report, nil
}

// Pause makes the grants of an app unusable until Resume, without losing them. People read the note.
func (r *Registry) Pause(ctx context.Context, idOrSlug, note, actor string) (App, error) {
	note = strings.TrimSpace(note)
	if len(note) > maxText || hasControl(strings.NewReplacer("\n", "", "\r", "", "\t", "").Replace(note)) {
		e := fault.New(fault.Invalid, "The note must be at most %d bytes without control characters.", maxText)
		e.Fields = []fault.Field{{Pointer: "/note", Code: "invalid", Detail: e.Detail}}
		return App{}, e
	}
	return r.write(ctx, idOrSlug, actor, audit.OAuthAppPaused, func(a App) (App, error) {
		a.Paused, a.PausedNote = true, note
		return a, nil
	}, r.cfg.Store.UpdateApp)
}

// Resume ends a pause.
func (r *Registry) Resume(ctx context.Context, idOrSlug, actor string) (App, error) {
	return r.write(ctx, idOrSlug, actor, audit.OAuthAppResumed, func(a App) (App, error) {
		a.Paused, a.PausedNote = false, ""
		return a, nil
	}, r.cfg.Store.UpdateApp)
}

// write reads an app, refuses what may not be changed, and saves what change makes of it.
func (r *Registry) write(ctx context.Context, idOrSlug, actor string, action audit.Action, change func(App) (App, error),
	save func(context.Context, App, audit.Entry) (App, error)) (App, error) {
	old, err := r.editable(ctx, idOrSlug)
	if err != nil {
		return App{}, err
	}
	a, err := change(clone(old))
	if err != nil {
		return App{}, err
	}
	a.UpdatedAt = r.cfg.Now().UTC()
	stored, err := save(ctx, a, r.entry(ctx, actor, action, a))
	if err := notMoved(old, err); codeOf(err) == codeHasGrants {
		return App{}, err
	}
	if errors.Is(err, fault.Conflict) {
		r.forget()
		return App{}, changedMeanwhile(old, err)
	}
	return stored, storeError(err)
}

// notMoved says what to do where err is that people are connected through a, which was to be moved. Any other error is
// returned as it is.
func notMoved(a App, err error) error {
	if codeOf(err) != codeHasGrants {
		return err
	}
	e := fault.Wrap(fault.Conflict, err, "People are connected through the OAuth app %q, and their tokens must not be sent to another server. "+
		"Register another app for that one, or revoke their access first.", a.Name)
	e.Code, e.Owner = codeHasGrants, fault.Admin
	return e
}

// codeOf is the code of err; "" when it has none.
func codeOf(err error) string {
	if e, ok := asFault(err); ok {
		return e.Code
	}
	return ""
}

func changedMeanwhile(a App, cause error) error {
	e := fault.Wrap(fault.Conflict, cause, "The OAuth app %q was changed meanwhile. Read it again and repeat your change.", a.Name)
	e.Owner = fault.Admin
	return e
}

// editable returns the app as it is in the store, unless it is managed by the configuration file.
func (r *Registry) editable(ctx context.Context, idOrSlug string) (App, error) {
	a, err := r.cfg.Store.GetApp(ctx, idOrSlug)
	if errors.Is(err, fault.NotFound) {
		return App{}, fault.Wrap(fault.NotFound, err, "There is no OAuth app %q.", clip(idOrSlug))
	}
	if err != nil {
		return App{}, storeError(err)
	}
	if a.Origin == FromFile {
		e := fault.New(fault.Conflict, "The OAuth app %q is managed by the configuration file. Change it there and restart.", a.Name)
		e.Code, e.Owner = "managed_by_file", fault.Admin
		return App{}, e
	}
	return a, nil
}

// Delete removes an app. While people have grants for it, it is fault.Conflict with code app_has_grants: revoke them
// first (connectedapps.Tokens.RevokeApp), so that nobody's access is forgotten at the provider.
func (r *Registry) Delete(ctx context.Context, idOrSlug, actor string) error {
	a, err := r.editable(ctx, idOrSlug)
	if err != nil {
		return err
	}
	err = r.cfg.Store.DeleteApp(ctx, a.ID, r.entry(ctx, actor, audit.OAuthAppDeleted, a))
	if errors.Is(err, fault.Conflict) {
		e := fault.Wrap(fault.Conflict, err, "People are connected through the OAuth app %q. Revoke their access first, or delete it with revoke=true.", a.Name)
		e.Code, e.Owner = codeHasGrants, fault.Admin
		return e
	}
	return storeError(err)
}

// clone copies the maps and slices of a, which is shared.
func clone(a App) App {
	a.Scopes, a.DataSources = slices.Clone(a.Scopes), slices.Clone(a.DataSources)
	a.Resources, a.ExchangeAudiences = slices.Clone(a.Resources), slices.Clone(a.ExchangeAudiences)
	a.SubjectIssuers = slices.Clone(a.SubjectIssuers)
	a.AuthParams = maps.Clone(a.AuthParams)
	return a
}
