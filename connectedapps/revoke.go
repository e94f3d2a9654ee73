package connectedapps

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/id"
	"github.com/behalf-project/behalf/internal/jobs"
	"github.com/behalf-project/behalf/oauthapps"
)

// Scope is whose access ends: exactly one of its fields is set.
type Scope struct {
	Principal  Principal // one person, with all apps
	AppID      string    // one OAuth app, for everybody
	Everything bool
}

// valid reports whether exactly one field is set.
func (s Scope) valid() bool {
	n := 0
	for _, set := range []bool{!s.Principal.Anonymous(), s.AppID != "", s.Everything} {
		if set {
			n++
		}
	}
	return n == 1
}

// Revocation is one act that ended the grants of a Scope, and how far it has come at the providers.
type Revocation struct {
	ID        string // rev_…
	Scope     Scope
	App       string // slug of Scope.AppID, which may be gone
	Reason    string // in the words of who did it
	Actor     string
	CreatedAt time.Time

	People int // who lost access
	Grants int // that ended here, all in one transaction
	Queued int // of them, whose provider can be told

	Waiting int // of Queued, whose provider has not confirmed yet
	Failed  int // of Queued, given up: it never confirmed
}

// Done is how many of Queued the providers have confirmed.
func (r Revocation) Done() int { return max(r.Queued-r.Waiting-r.Failed, 0) }

// Follow says what is left to do when a grant ends: the job that tells its provider, or false when there is none. It is
// called inside a transaction, maybe more than once, and does nothing else.
type Follow func(g Grant) (jobs.Job, bool)

// RevocationStore is the part of the database that ends many grants at once. connectedappstest.TestRevocationStore says
// what each method must do.
type RevocationStore interface {
	// Affected returns how many people and grants a scope covers now.
	Affected(ctx context.Context, s Scope) (people, grants int, err error)

	// Revoke ends all grants of r.Scope in one transaction, in which it also adds the jobs that follow, ends the
	// authorizations under way, stores r with what it counted, and records act and what record says of each grant. It
	// announces each as Delete does. With confirmed at or above 0 it is fault.Conflict, and nothing happens, when that is
	// not how many grants there are.
	Revoke(ctx context.Context, r Revocation, confirmed int, follow Follow, act audit.Entry, record func(Grant) audit.Entry) (Revocation, error)

	// GetRevocation returns the revocation with this id as it was stored, or fault.NotFound.
	GetRevocation(ctx context.Context, id string) (Revocation, error)

	// ListRevocations returns the last limit revocations, the newest first.
	ListRevocations(ctx context.Context, limit int) ([]Revocation, error)
}

// RevocationJob is the kind of the jobs that tell a provider that its tokens have ended.
const RevocationJob = "revocation"

// revoking is what such a job holds, sealed.
type revoking struct {
	RefreshToken string       `json:"refresh_token,omitempty"`
	SpareToken   string       `json:"spare_refresh_token,omitempty"`
	AccessToken  string       `json:"access_token,omitempty"`
	App          registration `json:"app"`
}

// registration is what a revocation needs of an app. It is kept with the tokens because the app may be deleted, or moved
// to another server, before every provider has been told.
type registration struct {
	ID                string                      `json:"id"`
	Name              string                      `json:"name"`
	Preset            string                      `json:"preset"`
	Issuer            string                      `json:"issuer,omitempty"`
	TokenURL          string                      `json:"token_url,omitempty"`
	RevocationURL     string                      `json:"revocation_url"`
	ClientID          string                      `json:"client_id"`
	ClientSecret      string                      `json:"client_secret,omitempty"`
	ClientSecretNext  string                      `json:"client_secret_next,omitempty"`
	NextInUse         bool                        `json:"next_in_use,omitempty"`
	PrivateKey        string                      `json:"private_key,omitempty"`
	AuthMethod        oauthapps.AuthMethod        `json:"auth_method"`
	AssertionAudience oauthapps.AssertionAudience `json:"assertion_audience,omitempty"`
}

func registrationOf(app oauthapps.App) registration {
	return registration{
		ID: app.ID, Name: app.Name, Preset: app.Preset, Issuer: app.Issuer, TokenURL: app.TokenURL, RevocationURL: app.RevocationURL,
		ClientID: app.ClientID, ClientSecret: app.ClientSecret.Reveal(), ClientSecretNext: app.ClientSecretNext.Reveal(), NextInUse: app.NextInUse,
		PrivateKey: app.PrivateKey.Reveal(), AuthMethod: app.AuthMethod, AssertionAudience: app.AssertionAudience,
	}
}

func (r registration) app() oauthapps.App {
	return oauthapps.App{
		ID: r.ID, Name: r.Name, Preset: r.Preset, Issuer: r.Issuer, TokenURL: r.TokenURL, RevocationURL: r.RevocationURL,
		ClientID: r.ClientID, ClientSecret: newSecret(r.ClientSecret), ClientSecretNext: newSecret(r.ClientSecretNext), NextInUse: r.NextInUse,
		PrivateKey: newSecret(r.PrivateKey), AuthMethod: r.AuthMethod, AssertionAudience: r.AssertionAudience,
	}
}

// revocationJob returns the job that tells app's provider of the end of g, due at the given time; false when there is no
// way to tell it, or nothing.
func revocationJob(app oauthapps.App, g Grant, batch string, due time.Time) (jobs.Job, bool) {
	if app.RevocationURL == "" || g.RefreshToken.Empty() && g.AccessToken.Empty() {
		return jobs.Job{}, false
	}
	sealed, err := json.Marshal(revoking{
		RefreshToken: g.RefreshToken.Reveal(), SpareToken: g.SpareRefreshToken.Reveal(), AccessToken: g.AccessToken.Reveal(), App: registrationOf(app),
	})
	if err != nil {
		return jobs.Job{}, false // strings have no errors
	}
	// A grant may have several to revoke: what a late answer brought is not what was stored.
	tokens := strings.Join([]string{g.RefreshToken.Reveal(), g.SpareRefreshToken.Reveal(), g.AccessToken.Reveal()}, " ")
	return jobs.Job{
		ID: id.New(id.Job, due), Kind: RevocationJob, Key: g.ID + " " + newSecret(tokens).Hash(), Lane: app.ID, Batch: batch,
		Secret: newSecret(string(sealed)), DueAt: due.UTC(),
	}, true
}

// Revocations returns the work that tells providers what has ended: at most rate a second at each (0 means 20), tried
// for three days.
func (t *Tokens) Revocations(rate float64) jobs.Kind {
	if rate <= 0 {
		rate = 20
	}
	return jobs.Kind{
		Name: RevocationJob, Handle: t.tellProvider, Concurrency: 16, PerLane: 4, PerSecond: rate,
		Timeout: 2*t.cfg.Client.Timeout() + grace, MaxAttempts: 450,
	}
}

// tellProvider does one revocation job.
func (t *Tokens) tellProvider(ctx context.Context, j jobs.Job) error {
	var r revoking
	if err := json.Unmarshal([]byte(j.Secret.Reveal()), &r); err != nil {
		return jobs.GiveUp(errors.New("the job holds no tokens"))
	}
	app, err := t.cfg.Apps.Get(ctx, r.App.ID)
	if errors.Is(err, fault.NotFound) || err == nil && origin(app.RevocationURL) != origin(r.App.RevocationURL) {
		app = r.App.app() // the tokens are for the server that gave them, wherever the app is now
	} else if err != nil {
		return err
	}
	err = t.revoke(ctx, app, Grant{RefreshToken: newSecret(r.RefreshToken), SpareRefreshToken: newSecret(r.SpareToken), AccessToken: newSecret(r.AccessToken)})
	failure, ok := errors.AsType[*oauthapps.Failure](err)
	if !ok {
		return err
	}
	e := fault.Wrap(fault.Unavailable, failure, "%s did not confirm a revocation.", app.Name)
	e.Code, e.RetryAfter = failure.Code, failure.RetryAfter
	return e
}

// forsake ends tokens at the provider that nothing here honours any more, such as those that a refresh brought for a
// grant that had ended.
func (t *Tokens) forsake(ctx context.Context, log *zap.Logger, app oauthapps.App, g Grant) {
	if t.cfg.Jobs == nil {
		t.endAtProvider(ctx, app, g, false)
		return
	}
	later(ctx, t.cfg.Jobs, log, app, g, t.cfg.Now())
	t.wake()
}

// later adds the job that tells the provider of the end of g's tokens.
func later(ctx context.Context, queue jobs.Store, log *zap.Logger, app oauthapps.App, g Grant, due time.Time) {
	j, ok := revocationJob(app, g, "", due)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace) // the tokens outlive who asked
	defer cancel()
	if err := queue.Add(ctx, j); err != nil {
		log.Error("tokens that are of no use here stay valid at the provider", zap.String("app_id", app.ID), zap.Error(err))
	}
}

// Preview is what a revocation would do.
type Preview struct {
	People int
	Grants int
}

// Affected returns what a revocation of scope would end now.
func (t *Tokens) Affected(ctx context.Context, s Scope) (Preview, error) {
	if !s.valid() {
		return Preview{}, fault.New(fault.Invalid, "A revocation names one person, one OAuth app, or everything.")
	}
	people, grants, err := t.cfg.Revocations.Affected(ctx, s)
	return Preview{People: people, Grants: grants}, storeError(err)
}

// Revoke ends all grants of scope. When it returns, no hand-out finds any of them, and everybody who runs a statement
// with one has been told to cut it; the providers are told by jobs, at the pace they bear. confirmed is how many grants
// the one who asks has seen in a Preview: with another number now it is fault.Conflict, and nothing has happened. A
// negative one confirms any number.
func (t *Tokens) Revoke(ctx context.Context, s Scope, reason, actor string, confirmed int) (Revocation, error) {
	if !s.valid() {
		return Revocation{}, fault.New(fault.Invalid, "A revocation names one person, one OAuth app, or everything.")
	}
	all, err := t.cfg.Apps.List(ctx, "")
	if err != nil {
		return Revocation{}, err
	}
	apps := make(map[string]oauthapps.App, len(all))
	for _, app := range all {
		apps[app.ID] = app
	}
	now := t.cfg.Now().UTC()
	r := Revocation{
		ID: id.New(id.Revoke, now), Scope: s, App: apps[s.AppID].Slug, Reason: text(reason, 500), Actor: actor, CreatedAt: now,
	}
	act := audit.Entry{
		At: now, Actor: actor, Action: audit.Contained, Object: r.ID, Outcome: "ok", Request: audit.RequestID(ctx),
		Detail: map[string]string{"scope": s.word(), "reason": r.Reason},
	}
	// Half of it is worse than all of it a little later: who asked may leave.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
	defer cancel()
	r, err = t.cfg.Revocations.Revoke(ctx, r, confirmed,
		func(g Grant) (jobs.Job, bool) { return revocationJob(apps[g.Key.AppID], g, r.ID, now) }, act,
		func(g Grant) audit.Entry {
			e := t.entry(ctx, actor, audit.GrantRevoked, g, apps[g.Key.AppID], "ok")
			e.Detail["revocation"] = r.ID
			return e
		})
	if err != nil {
		return Revocation{}, storeError(err)
	}
	t.cfg.Log.Warn("access revoked", audit.Request(ctx), zap.String("kind", s.word()),
		zap.String("user_id", actor), zap.Int("people", r.People), zap.Int("grants", r.Grants), zap.Duration("took", t.cfg.Now().Sub(now)))
	t.wake()
	return r, nil
}

// wake begins to tell the providers now.
func (t *Tokens) wake() {
	if t.cfg.Wake != nil {
		t.cfg.Wake(RevocationJob)
	}
}

// word says what a scope is, in audit records.
func (s Scope) word() string {
	switch {
	case s.Everything:
		return "everything"
	case s.AppID != "":
		return "oauth_app " + s.AppID
	}
	return "principal " + actorOf(s.Principal)
}

// Revocation returns the revocation with this id and how far it has come, or fault.NotFound.
func (t *Tokens) Revocation(ctx context.Context, id string) (Revocation, error) {
	r, err := t.cfg.Revocations.GetRevocation(ctx, id)
	if err != nil {
		return Revocation{}, storeError(err)
	}
	return t.progress(ctx, r)
}

// ListRevocations returns the last hundred revocations and how far they have come, the newest first.
func (t *Tokens) ListRevocations(ctx context.Context) ([]Revocation, error) {
	list, err := t.cfg.Revocations.ListRevocations(ctx, 100)
	if err != nil {
		return nil, storeError(err)
	}
	for i := range list {
		if list[i], err = t.progress(ctx, list[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (t *Tokens) progress(ctx context.Context, r Revocation) (Revocation, error) {
	n, err := t.cfg.Jobs.Count(ctx, RevocationJob, r.ID)
	r.Waiting, r.Failed = n.Waiting, n.Failed
	return r, storeError(err)
}
