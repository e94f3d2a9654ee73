package connectedapps

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/oauthapps"
)

// The sentences that people read. Their tone and their codes are ux.md §1.1.

// refuse is a refusal about app, with what a front door needs to lead the person on.
func (t *Tokens) refuse(kind fault.Kind, app oauthapps.App, status Status, format string, args ...any) *fault.Error {
	e := fault.New(kind, format, args...)
	e.Params = map[string]string{"oauth_app": app.Slug, "status": string(status)}
	return e
}

// refusal is what a query gets whose grant has the given status and no usable token. cause, if any, is why the
// refresh that was tried just now failed.
func (t *Tokens) refusal(app oauthapps.App, g Grant, cause error) error {
	now := t.cfg.Now()
	status := StatusOf(g, app, now)
	switch status {
	case NotConnected:
		e := t.refuse(fault.AuthorizationRequired, app, status,
			"Connect your %s account to run this query. It runs as you, with your own permissions.", app.Name)
		e.Owner, e.Actions = fault.User, t.authorize(app, "Connect")
		return e
	case Disabled:
		return t.paused(app)
	case Expired, Revoked:
		return t.reauthorize(app, g, status, now)
	case UnknownOutcome:
		if !g.RefusedAt.IsZero() {
			return t.reauthorize(app, g, status, now)
		}
	}
	if !g.refreshable(now) {
		return t.reauthorize(app, g, status, now)
	}
	if f, ok := errors.AsType[*oauthapps.Failure](cause); ok && f.Class == oauthapps.ClientRefused || cause == nil && !app.BrokenAt.IsZero() {
		return t.broken(app, status)
	}
	if fault.KindOf(cause) != "" {
		return cause // the store is away, or the caller left
	}
	wait := max(g.NextTryAt.Sub(now), time.Second).Round(time.Second)
	e := t.refuse(fault.RefreshFailing, app, RefreshFailing,
		"%s did not answer. Your access is unchanged; next try in %s.", app.Name, inWords(wait))
	e.Owner, e.RetryAfter, e.Err = fault.Provider, wait, cause
	return e
}

// reauthorize is the refusal of a grant that has ended.
func (t *Tokens) reauthorize(app oauthapps.App, g Grant, status Status, now time.Time) *fault.Error {
	when, why := ending(g, status, now)
	e := t.refuse(fault.ReauthorizationRequired, app, status,
		"Your %s access ended on %s (%s).%s Your query is kept.", app.Name, day(when), why, howToExchange(app, g))
	e.Owner, e.Actions = fault.User, t.again(app, g)
	return e
}

// again is what a person does whose grant has ended.
func (t *Tokens) again(app oauthapps.App, g Grant) []fault.Action {
	if exchangesAgain(app, g) {
		return []fault.Action{exchangeAction("Exchange again")}
	}
	return t.authorize(app, "Reauthorize")
}

// howToExchange is the end of a sentence about a grant that no page renews; empty for the others.
func howToExchange(app oauthapps.App, g Grant) string {
	if !exchangesAgain(app, g) {
		return ""
	}
	return " Exchange a token again: behalf connect exchange " + app.Slug + " --subject-token-file FILE."
}

// ending says when a grant ended and why.
func ending(g Grant, status Status, now time.Time) (time.Time, string) {
	switch {
	case g.FailureCode == codeIdentityChanged:
		return g.RefusedAt, "the provider answered for another person"
	case status == UnknownOutcome:
		return g.RefusedAt, "the provider's answer to a refresh was lost, and it refuses to repeat it"
	case status == Revoked:
		return g.RefusedAt, "revoked at the provider"
	case ended(g.RefreshExpiresAt, now):
		return g.RefreshExpiresAt, "its time limit was reached"
	case g.RefreshToken.Empty() && ended(g.ExpiresAt, now):
		return g.ExpiresAt, "the provider gave no way to renew it"
	case !g.RefusedAt.IsZero():
		return g.RefusedAt, "its time limit was reached"
	}
	return now, "the data source no longer accepts it"
}

// notAccepted is the refusal of a grant whose tokens a data source refuses although they have not expired.
func (t *Tokens) notAccepted(app oauthapps.App, g Grant, status Status) *fault.Error {
	how := howToExchange(app, g)
	if how == "" {
		how = " Reauthorize it."
	}
	e := t.refuse(fault.ReauthorizationRequired, app, status,
		"Your data source no longer accepts your %s access, even after it was renewed.%s Your query is kept.", app.Name, how)
	e.Owner, e.Actions = fault.User, t.again(app, g)
	return e
}

// codeMinLife is the code of a refusal because no token lives as long as is needed.
const codeMinLife = "min_life_unavailable"

// tooShort is the refusal of a caller who needs more of the token's life than there is, or than a refresh brings.
func (t *Tokens) tooShort(app oauthapps.App, g Grant, minLife time.Duration, now time.Time) *fault.Error {
	left := max(g.ExpiresAt.Sub(now), 0)
	if g.refreshable(now) && now.Before(g.NextTryAt) { // it was tried, and will be again
		wait := max(g.NextTryAt.Sub(now), time.Second).Round(time.Second)
		e := t.refuse(fault.RefreshFailing, app, StatusOf(g, app, now),
			"%s did not answer, and the token that is held ends in %s, sooner than you need. Next try in %s.", app.Name, inWords(left), inWords(wait))
		e.Owner, e.RetryAfter = fault.Provider, wait
		return e
	}
	e := t.refuse(fault.Conflict, app, StatusOf(g, app, now),
		"You need a token that lives for %s, and the one of %s ends in %s; a newer one cannot be had, or lives no longer. Ask for less.", inWords(minLife), app.Name, inWords(left))
	e.Code, e.Owner = codeMinLife, fault.User
	return e
}

func (t *Tokens) paused(app oauthapps.App) *fault.Error {
	e := t.refuse(fault.AppDisabled, app, Disabled, "%s", pausedSentence(app))
	e.Owner = fault.Admin
	return e
}

func pausedSentence(app oauthapps.App) string {
	if app.PausedNote == "" {
		return fmt.Sprintf("An admin paused %s.", app.Name)
	}
	return fmt.Sprintf("An admin paused %s: %q.", app.Name, app.PausedNote)
}

// bound is the refusal of an access token that is of no use without the key it is bound to, which never leaves: data
// sources and programs would need a proof of possession for each of their requests (RFC 9449 §7.1).
func (t *Tokens) bound(app oauthapps.App, g Grant) error {
	e := t.refuse(fault.Denied, app, StatusOf(g, app, t.cfg.Now()),
		"%s gave an access token that is bound to a key (token_type DPoP), and no data source here can prove that it holds the key. "+
			"An admin can set dpop: false for this app, or have the provider bind refresh tokens only; then reauthorize it.", app.Name)
	e.Code, e.Owner = "dpop_bound_token", fault.Admin
	return e
}

// broken is the refusal of an app whose credentials the authorization server rejects. The person's grant is not at
// fault and stays what it is.
func (t *Tokens) broken(app oauthapps.App, status Status) *fault.Error {
	e := t.refuse(fault.Unavailable, app, status, "%s rejected this app's credentials. Only an admin can fix this.", app.Name)
	e.Code, e.Owner = oauthapps.CodeInvalidClient, fault.Admin
	return e
}

// authorize leads to the page where the person connects app.
func (t *Tokens) authorize(app oauthapps.App, label string) []fault.Action {
	return []fault.Action{{Rel: "authorize", Href: t.cfg.Apps.ConnectURL(app.Slug), Label: label}}
}

// disabledPerson refuses whoever may not act at all.
func disabledPerson() error {
	e := fault.New(fault.Denied, "Your account is disabled. Ask an admin to enable it.")
	e.Code, e.Owner = "user_disabled", fault.Admin
	return e
}

// allowed asks whether principal may act; when that cannot be found out, they may not.
func allowed(ctx context.Context, disabled func(context.Context, Principal) (bool, error), p Principal) error {
	if disabled == nil {
		return nil
	}
	switch off, err := disabled(ctx, p); {
	case err != nil:
		return storeError(err)
	case off:
		return disabledPerson()
	}
	return nil
}

// storeError gives an error of a store that has no kind the one it should have.
func storeError(err error) error {
	if err == nil || fault.KindOf(err) != "" {
		return err
	}
	e := fault.Wrap(fault.Unavailable, err, "The database did not answer. Try again shortly.")
	e.Code, e.Owner = "store_unavailable", fault.Admin
	return e
}

// gaveUp is the error of a caller whose ctx ended while it waited.
func gaveUp(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fault.Wrap(fault.Timeout, ctx.Err(), "The provider took longer to renew your access than this request may wait.")
	}
	return fault.Wrap(fault.Canceled, ctx.Err(), "The request was cancelled.")
}

func day(t time.Time) string { return t.UTC().Format("2 Jan 2006") }

// inWords writes a waiting time as people say it.
func inWords(d time.Duration) string {
	if d < 2*time.Minute {
		return fmt.Sprintf("%d s", int(d.Seconds()))
	}
	return fmt.Sprintf("%d min", int(d.Round(time.Minute).Minutes()))
}
