package connectedapps

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/url"
	"time"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/oauthapps"
)

// codeIdentityChanged is the failure code of a grant whose authorization server answered a refresh with an ID token
// for somebody else (OIDC Core §12.2).
const codeIdentityChanged = "identity_changed"

// RefreshOK is the outcome of a refresh that brought a token.
const RefreshOK = "ok"

// grace is how long after the end of a call its intent still stands: the time to record its outcome.
const grace = 5 * time.Second

// why is the reason for a refresh, which decides what may hold it up.
type why int

const (
	whenDue     why = iota // the token ends soon, or has ended
	whenAhead              // its time has come, and nobody asks
	whenRefused            // a data source refuses the token
	whenAsked              // the person pressed the button
)

// flight is one refresh, shared by everybody who waits for it.
type flight struct {
	done  chan struct{}
	grant Grant
	err   error
}

// refresh brings a newer token than that of g, by joining the refresh under way or beginning one, and waits for it as
// long as ctx lasts. It returns the grant as it is afterwards; err says why it is not newer, and may be nil when
// somebody else's doing explains it.
func (t *Tokens) refresh(ctx context.Context, app oauthapps.App, g Grant, why why) (Grant, error) {
	f, err := t.begin(ctx, app, g, why, turnWaits)
	if err != nil {
		return g, err
	}
	select {
	case <-f.done:
		return f.grant, f.err
	case <-ctx.Done():
		return g, ctx.Err()
	}
}

// behind begins a refresh that nobody waits for, if there is room for one.
func (t *Tokens) behind(ctx context.Context, app oauthapps.App, g Grant) {
	if g.refreshing(t.cfg.Now()) {
		return
	}
	if _, err := t.begin(ctx, app, g, whenDue, turnNow); err != nil {
		t.cfg.Log.Debug("refresh not begun", zap.String("app_id", app.ID), zap.Error(err))
	}
}

// underWay reports whether this process refreshes the grant of k.
func (t *Tokens) underWay(k Key) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.flights[k.String()]
	return ok
}

var errNoRoom = errors.New("as many refreshes as may run at once are running")

// turn is how a refresh comes by one of the slots of its authorization server, and its place in the pace.
type turn int

const (
	turnWaits turn = iota // it queues for a slot: somebody waits, who is not made to wait for the pace as well
	turnNow               // it begins now or not at all
	turnTaken             // whoever begins it has both already
)

// begin joins the refresh of g's key or starts one.
func (t *Tokens) begin(ctx context.Context, app oauthapps.App, g Grant, why why, turn turn) (*flight, error) {
	key, p := g.Key.String(), t.at(app)
	held, started := turn == turnTaken, false
	defer func() {
		if held && !started {
			<-p.slots
		}
	}()
	t.mu.Lock()
	defer t.mu.Unlock()
	if f, ok := t.flights[key]; ok {
		return f, nil
	}
	if t.closing {
		e := fault.New(fault.Unavailable, "The server is stopping. Try again shortly.")
		e.Code = "stopping"
		return nil, e
	}
	if !held {
		select {
		case p.slots <- struct{}{}:
			held = true
		default:
			if turn == turnNow {
				return nil, errNoRoom
			}
		}
		// What those take who wait is missing in the pace for those who do not.
		if !p.pace.AllowN(t.cfg.Now(), 1) && turn == turnNow {
			return nil, errNoRoom
		}
	}
	started = true
	f := &flight{done: make(chan struct{}), grant: g}
	t.flights[key] = f
	t.running.Add(1)
	go func() {
		defer t.running.Done()
		// Whoever began it may leave; the others, and the rotated token above all, must not be lost with them.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*t.cfg.Client.Timeout()+4*grace)
		defer cancel()
		f.grant, f.err = t.fly(ctx, app, p, g, why, held)
		t.mu.Lock()
		delete(t.flights, key)
		t.mu.Unlock()
		close(f.done)
	}()
	return f, nil
}

// fly takes its turn among the refreshes of this process at p and runs.
func (t *Tokens) fly(ctx context.Context, app oauthapps.App, p *provider, g Grant, why why, held bool) (Grant, error) {
	if !held {
		select {
		case p.slots <- struct{}{}:
		case <-ctx.Done():
			return g, gaveUp(ctx)
		}
	}
	defer func() { <-p.slots }()
	if app.TokenURL == "" { // its issuer did not answer when the app was declared, or has moved
		ready, err := t.cfg.Apps.Ready(ctx, app)
		if err != nil {
			return g, &oauthapps.Failure{Class: oauthapps.NotSent, Code: oauthapps.CodeNetworkError, Err: err}
		}
		app = ready
	}
	return t.renew(ctx, app, p, g, why)
}

// renew claims the grant and calls the token endpoint, unless the row shows that this is not needed, not useful or
// somebody else's turn. from is the grant that was not good enough.
func (t *Tokens) renew(ctx context.Context, app oauthapps.App, p *provider, from Grant, why why) (Grant, error) {
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		if g, ok := t.notSaved(from.Key); ok {
			return g, nil // it was renewed, and must be stored before it can be claimed again
		}
		g, err := t.read(ctx, from.Key)
		if err != nil {
			return from, err
		}
		now := t.cfg.Now()
		switch {
		case g.Epoch != from.Epoch || g.Revision != from.Revision || !g.refreshable(now):
			return g, nil // it was renewed, replaced or ended meanwhile
		case g.FailureCode == oauthapps.CodeUnknownOutcome && g.refreshing(now):
			return g, nil // its answer was lost; the intent stands until nobody can be working on it
		case (why == whenDue || why == whenAhead) && (now.Before(g.NextTryAt) || heldBack(app, g, now)):
			return g, nil
		case g.FailureCode == oauthapps.CodeRateLimited && now.Before(g.NextTryAt):
			return g, nil // the server named the time; nobody's wish changes that
		}
		if g.refreshing(now) {
			if err := sleep(ctx, pause); err != nil {
				return g, gaveUp(ctx)
			}
			continue
		}
		if !t.mayProbe(app, now, true) {
			return g, &oauthapps.Failure{Class: oauthapps.ClientRefused, Code: oauthapps.CodeInvalidClient}
		}
		if until, ok := p.enter(now); !ok {
			g.NextTryAt = latest(g.NextTryAt, until)
			return g, &oauthapps.Failure{Class: oauthapps.ServerFailed, Code: oauthapps.CodeProviderError, RetryAfter: until.Sub(now)}
		}
		claimed, err := t.cfg.Refreshes.Claim(ctx, g, t.cfg.Process, now.UTC(), now.Add(t.cfg.Client.Timeout()+grace).UTC())
		if errors.Is(err, fault.Conflict) {
			if err := sleep(ctx, pause); err != nil {
				return g, gaveUp(ctx)
			}
			continue
		}
		if err != nil {
			return g, storeError(err) // no intent, no call
		}
		t.cache.forget(g.Key.String())
		t.pass(AfterIntent)
		fresh, err := t.redeem(ctx, app, p, claimed, g.outcomeUnknown(now))
		if errors.Is(err, errSpare) {
			continue
		}
		failure, _ := errors.AsType[*oauthapps.Failure](err)
		if why == whenRefused && (failure == nil || failure.Class != oauthapps.ClientRefused) { // a broken app is no renewal
			t.forced.Add(g.Key.String(), forcedRefresh{at: t.cfg.Now(), epoch: g.Epoch, revision: fresh.Revision})
		}
		return fresh, err
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// redeem trades the refresh token of g, which this process has claimed, for new tokens, and records what came of it.
// unknown says that the outcome of an earlier try is not known.
func (t *Tokens) redeem(ctx context.Context, app oauthapps.App, p *provider, g Grant, unknown bool) (Grant, error) {
	// No scope: asking for what was granted needs none, and a refresh never asks for more (RFC 6749 §6).
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {g.RefreshToken.Reveal()}}
	addResources(form, app)
	began := t.cfg.Now()
	if !began.Before(g.IntentAt.Add(grace)) {
		// This process slept between the intent and the call. Somebody else may have the grant before an answer comes.
		err := fault.New(fault.Timeout, "The refresh was not begun in time. Try again.")
		return t.fail(ctx, app, g, &oauthapps.Failure{Class: oauthapps.NotSent, Code: oauthapps.CodeNetworkError, Err: err}, unknown)
	}
	answer, err := t.cfg.Client.Grant(t.passing(ctx), app, form, oauthapps.WithDPoP(g.DPoPKey)) // the key of the consent, whatever the app says now
	t.pass(AfterAnswer)
	log := t.cfg.Log.With(audit.Request(ctx), zap.String("user_id", actorOf(g.Key.Principal)),
		zap.String("app_id", app.ID), zap.Duration("took", t.cfg.Now().Sub(began)))

	// What the server did is done, and must be recorded whether or not anybody still waits.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*grace)
	defer cancel()
	failure, _ := errors.AsType[*oauthapps.Failure](err)
	p.left(t.cfg.Now(), failure)
	defer t.cfg.Refreshed(app.Slug, refreshOutcome(err)) // once what came of it is safe
	switch {
	case err == nil || !answer.RefreshToken.Empty():
		return t.keep(ctx, log, app, g, answer, failure)
	case failure == nil:
		failure = &oauthapps.Failure{Class: oauthapps.OutcomeUnknown, Code: oauthapps.CodeUnknownOutcome, Err: err}
	}
	log.Warn("refresh failed", zap.String("code", failure.Code), zap.Int("status", failure.Status))
	return t.fail(ctx, app, g, failure, unknown)
}

// refreshOutcome is how a call ended that failed with err, or did not.
func refreshOutcome(err error) string {
	if err == nil {
		return RefreshOK
	}
	if failure, ok := errors.AsType[*oauthapps.Failure](err); ok {
		return failure.Code
	}
	return oauthapps.CodeUnknownOutcome
}

// keep stores new tokens. With a failure, or when they are another person's, the refresh token is stored all the
// same, because the old one is spent, and the access token is not. Another person's are stored as a grant that has
// ended, in one step: no moment, and no process that dies, leaves them in use.
func (t *Tokens) keep(ctx context.Context, log *zap.Logger, app oauthapps.App, g Grant, answer oauthapps.TokenAnswer, failure *oauthapps.Failure) (Grant, error) {
	next := g.with(answer)
	if failure == nil && !sameSubject(app, g, answer) {
		failure = &oauthapps.Failure{Class: oauthapps.GrantRefused, Code: codeIdentityChanged}
	}
	entry := t.entry(ctx, "system", audit.GrantRefreshed, g, app, "ok")
	if failure != nil {
		next.AccessToken, entry.Outcome = Secret{}, failure.Code
	}
	foreign := failure != nil && failure.Class == oauthapps.GrantRefused
	if foreign {
		next.RefusedAt, next.FailureCode, next.FailedAt = next.RefreshedAt, failure.Code, next.RefreshedAt
		entry = t.refusalEntry(ctx, app, next, failure)
	}
	late := Answer{Grant: next, App: registrationOf(app), Source: g.RefreshToken.Hash(), Entry: entry}
	saved, kept, err := t.save(ctx, late)
	switch {
	case errors.Is(err, errOvertaken):
		return saved, nil
	case err != nil:
		log.Error("refreshed tokens not stored yet; they serve from memory", zap.Error(err))
		saved = next
		saved.Revision++
		t.saveLater(ctx, log, saved, late, kept)
	default:
		t.pass(AfterCommit)
	}
	if failure == nil {
		log.Info("token refreshed", zap.Int64("revision", saved.Revision))
		return saved, nil
	}
	if !saved.RefreshToken.Equal(next.RefreshToken) {
		return saved, nil // another process has brought it further since
	}
	log.Error("refreshed tokens withheld", zap.String("code", failure.Code))
	if foreign {
		return saved, failure
	}
	return t.fail(ctx, app, saved, failure, false)
}

// with returns g with the tokens of answer. What the answer does not say stays as it was. A token ends
// expires_in after it was asked for: it is not older than that, however long its answer took.
func (g Grant) with(answer oauthapps.TokenAnswer) Grant {
	g.AccessToken, g.RefreshedAt = answer.AccessToken, answer.AskedAt.UTC()
	if answer.TokenType != "" {
		g.TokenType = answer.TokenType
	}
	if !answer.RefreshToken.Empty() {
		g.RefreshToken = answer.RefreshToken
	}
	if answer.Scopes != nil {
		g.Scopes = answer.Scopes
	}
	g.ExpiresAt = time.Time{}
	if answer.ExpiresIn > 0 {
		g.ExpiresAt = g.RefreshedAt.Add(answer.ExpiresIn)
	}
	if answer.RefreshExpiresIn > 0 {
		end := g.RefreshedAt.Add(answer.RefreshExpiresIn)
		if moved := end.Sub(g.RefreshExpiresAt); moved > time.Minute || moved < -time.Minute || g.RefreshEndKnown.IsZero() {
			g.RefreshEndKnown = g.RefreshedAt // a server that says what is left of a fixed end moves it by the way of its answer
		}
		g.RefreshExpiresAt = end
	}
	g.RefusedAt, g.FailureCode, g.FailedAt, g.Failures, g.NextTryAt = time.Time{}, "", time.Time{}, 0, time.Time{}
	g.IntentAt, g.IntentUntil, g.IntentBy = time.Time{}, time.Time{}, ""
	return g
}

// sameSubject reports whether the ID token that came with a refresh, if one did, names who consented.
func sameSubject(app oauthapps.App, g Grant, answer oauthapps.TokenAnswer) bool {
	if answer.IDToken.Empty() || g.Subject == "" || !oauthapps.VerifiesIDTokens(app) {
		return true
	}
	issuer, subject, err := oauthapps.ReadIDToken(answer.IDToken)
	return err == nil && issuer == app.Issuer && subject == g.Subject
}

// fail records a failed refresh of g. unknown says that the outcome of an earlier try is not known; then it stays so
// until a success, because a refusal may only mean that the lost answer had replaced the refresh token.
func (t *Tokens) fail(ctx context.Context, app oauthapps.App, g Grant, failure *oauthapps.Failure, unknown bool) (Grant, error) {
	now := t.cfg.Now().UTC()
	replayed := g.FailureCode == codeReplayed && failure.Class != oauthapps.OutcomeUnknown
	switch failure.Class {
	case oauthapps.GrantRefused:
		// Once more from the row: if somebody else has refreshed it, what was refused was the older token.
		if cur, err := t.read(ctx, g.Key); err == nil && (cur.Fence != g.Fence || cur.Epoch != g.Epoch) {
			return cur, nil
		}
		if cur, err := t.trySpare(ctx, app, g); err == nil {
			return cur, errSpare
		}
		g.RefusedAt, g.FailureCode, g.FailedAt = now, failure.Code, now
	case oauthapps.ClientRefused:
		// The app is broken; its people are not.
	case oauthapps.OutcomeUnknown:
		unknown = true
		fallthrough
	default:
		g.FailureCode, g.FailedAt, g.Failures = failure.Code, now, g.Failures+1
		g.NextTryAt = now.Add(backOff(g.Failures, failure.RetryAfter))
	}
	switch {
	case replayed && g.RefusedAt.IsZero():
		g.FailureCode = codeReplayed // its refresh token was not spent: there is nothing to hold it back for
	case unknown:
		g.FailureCode = oauthapps.CodeUnknownOutcome
		if g.RefusedAt.IsZero() && g.NextTryAt.Before(g.IntentUntil) {
			g.NextTryAt = g.IntentUntil
		}
	}
	entry := t.refusalEntry(ctx, app, g, failure)
	for pause := 20 * time.Millisecond; ; pause *= 3 {
		saved, err := t.cfg.Refreshes.SaveRefusal(ctx, g, unknown && !replayed, entry)
		switch {
		case err == nil:
			return saved, failure
		case errors.Is(err, fault.Conflict), errors.Is(err, fault.NotFound):
			t.cache.forget(g.Key.String())
			if cur, err := t.read(ctx, g.Key); err == nil {
				return cur, nil
			}
			return g, failure
		case pause > time.Second || sleep(ctx, pause) != nil:
			t.cfg.Log.Error("outcome of a refresh not recorded", zap.String("app_id", app.ID), zap.Error(err))
			t.cache.forget(g.Key.String())
			return g, failure
		}
	}
}

// refusalEntry is the record of a refresh that failed and made g what it is now.
func (t *Tokens) refusalEntry(ctx context.Context, app oauthapps.App, g Grant, failure *oauthapps.Failure) audit.Entry {
	e := t.entry(ctx, "system", audit.GrantRefused, g, app, failure.Code)
	if failure.Class != oauthapps.ClientRefused { // that one is the app's, and told of it
		e.Detail["status"] = string(StatusOf(g, app, t.cfg.Now().UTC()))
	}
	if !g.RefusedAt.IsZero() {
		e.Detail["ended"] = "true"
	}
	return e
}

// backOff is how long to leave a server alone after the nth failure in a row: 5 s, doubling to 2 min, spread so that
// many grants do not come back at once, and never less than the server asked for.
func backOff(n int, asked time.Duration) time.Duration {
	d := min(5*time.Second<<min(max(n-1, 0), 10), 2*time.Minute)
	d += rand.N(d / 5)
	return max(d, asked)
}
