package connectedapps

import (
	"slices"
	"time"

	"github.com/behalf-project/behalf/oauthapps"
)

// Status is what a grant is worth at a moment: one vocabulary in the UI, the API, the command line and the metrics
// (ux.md §1.0).
type Status string

// The statuses.
const (
	NotConnected   Status = "not_connected"   // there is no grant
	Active         Status = "active"          // all is well
	Expiring       Status = "expiring"        // the person must act soon
	RefreshFailing Status = "refresh_failing" // the last refresh failed for a reason that may pass
	NeedsConsent   Status = "needs_consent"   // an admin added scopes; the old ones go on working
	Expired        Status = "expired"         // a known end has passed
	Revoked        Status = "revoked"         // the authorization server no longer honours it
	Disabled       Status = "disabled"        // an admin paused the app
	UnknownOutcome Status = "unknown_outcome" // a refresh was sent and its answer was lost, or came late
)

// Statuses lists all of them.
func Statuses() []Status {
	return []Status{NotConnected, Active, Expiring, RefreshFailing, NeedsConsent, Expired, Revoked, Disabled, UnknownOutcome}
}

// expiringBefore is how long before its known end a grant is called expiring, or a fifth of its life if that is less.
const expiringBefore = 7 * 24 * time.Hour

// StatusOf derives the status of g, the zero Grant when there is none, at now. It is a pure function of stored facts,
// and the only place that knows which of several facts counts most.
func StatusOf(g Grant, app oauthapps.App, now time.Time) Status {
	switch {
	case app.Paused:
		return Disabled
	case g.ID == "":
		return NotConnected
	case !g.RefusedAt.IsZero() && g.outcomeUnknown(now):
		return UnknownOutcome // the try that could have healed it was refused
	case !g.RefusedAt.IsZero() && ended(g.RefreshExpiresAt, g.RefusedAt):
		return Expired
	case !g.RefusedAt.IsZero():
		return Revoked
	case !g.live(now) && !g.refreshable(now):
		return Expired
	case g.outcomeUnknown(now):
		return UnknownOutcome
	case g.FailureCode != "":
		return RefreshFailing
	case wantsMore(app, g):
		return NeedsConsent
	case g.ending(now):
		return Expiring
	}
	return Active
}

// Usable reports whether g may run queries with the access token it holds.
func Usable(g Grant, app oauthapps.App, now time.Time) bool {
	switch StatusOf(g, app, now) {
	case Active, Expiring, RefreshFailing, NeedsConsent, UnknownOutcome:
		return g.live(now) && g.RefusedAt.IsZero()
	}
	return false
}

// live reports whether the access token has not ended, as far as that is known.
func (g Grant) live(now time.Time) bool {
	return !g.AccessToken.Empty() && !ended(g.ExpiresAt, now)
}

// refreshable reports whether there is a refresh token that has not ended, as far as that is known.
func (g Grant) refreshable(now time.Time) bool {
	return !g.RefreshToken.Empty() && g.RefusedAt.IsZero() && !ended(g.RefreshExpiresAt, now)
}

// refreshing reports whether a refresh is under way that nobody may touch.
func (g Grant) refreshing(now time.Time) bool {
	return !g.IntentAt.IsZero() && now.Before(g.IntentUntil)
}

// answerLost reports whether a refresh was sent of which nobody knows what became: its answer was lost, or who sent it
// is gone.
func (g Grant) answerLost(now time.Time) bool {
	return g.FailureCode == oauthapps.CodeUnknownOutcome || !g.IntentAt.IsZero() && !now.Before(g.IntentUntil)
}

// outcomeUnknown reports whether, should the server refuse g now, nobody could tell who ended it.
func (g Grant) outcomeUnknown(now time.Time) bool {
	return g.FailureCode == codeReplayed || g.answerLost(now)
}

// ReauthorizeBy is when the person must act, or zero when that is not known: the end of the refresh token, or of the
// access token when there is no other.
func (g Grant) ReauthorizeBy() time.Time {
	if g.RefreshToken.Empty() {
		return g.ExpiresAt
	}
	return g.RefreshExpiresAt
}

// ending reports whether ReauthorizeBy is near.
func (g Grant) ending(now time.Time) bool { return g.endingWithin(expiringBefore, now) }

// endingWithin reports whether ReauthorizeBy is nearer than before, or than a fifth of the time since it is known if
// that is less. An end that moves on with each refresh is not near as long as there are refreshes.
func (g Grant) endingWithin(before time.Duration, now time.Time) bool {
	end, since := g.ReauthorizeBy(), g.ConnectedAt
	if end.IsZero() {
		return false
	}
	switch {
	case g.RefreshToken.Empty():
		since = g.RefreshedAt
	case !g.RefreshEndKnown.IsZero():
		since = g.RefreshEndKnown
	}
	return !now.Before(end.Add(-min(before, end.Sub(since)/5)))
}

// ended reports whether the known end t has come at now. A zero t is not known.
func ended(t, now time.Time) bool { return !t.IsZero() && !now.Before(t) }

// wantsMore reports whether app asks for scopes that were not asked for when g was given.
func wantsMore(app oauthapps.App, g Grant) bool {
	for _, s := range app.Scopes {
		if !slices.Contains(g.Requested, s) {
			return true
		}
	}
	return false
}
