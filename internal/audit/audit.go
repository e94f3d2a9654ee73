package audit

import (
	"strings"
	"time"
	"unicode/utf8"
)

// Action is what was done: a noun and a verb, such as "grant.created".
type Action string

// The actions.
const (
	OAuthAppCreated  Action = "oauth_app.created"
	OAuthAppUpdated  Action = "oauth_app.updated"
	OAuthAppPaused   Action = "oauth_app.paused"
	OAuthAppResumed  Action = "oauth_app.resumed"
	OAuthAppDeleted  Action = "oauth_app.deleted"
	OAuthAppTested   Action = "oauth_app.tested"
	GrantCreated     Action = "grant.created"
	GrantReplaced    Action = "grant.replaced"
	GrantRefreshed   Action = "grant.refreshed"
	GrantRefused     Action = "grant.refresh_refused"
	GrantRevoked     Action = "grant.revoked"
	GrantAccountKept Action = "grant.account_kept"
	UnusualHandOut   Action = "handout.unusual"
	Contained        Action = "revocation.created"
	DeliveryReplayed Action = "delivery.replayed"
	GrantExchanged   Action = "grant.exchanged"
	SignedIn         Action = "session.created"
	SignInRefused    Action = "session.refused"
	SignedOut        Action = "session.ended"
	UserDeclared     Action = "user.declared"
	UserDisabled     Action = "user.disabled"
	UserEnabled      Action = "user.enabled"
	PasswordRehashed Action = "user.password_rehashed"
	QueryFellBack    Action = "query.fell_back"
	QueryCanceled    Action = "query.canceled" // by whose it was, or an admin

	OrchestratorDrained Action = "orchestrator.drained"
	OrchestratorFlushed Action = "orchestrator.flushed" // results and rollups were dropped

	ConsentRefused Action = "consent.refused"
	TokenCreated   Action = "token.created"
	TokenRevoked   Action = "token.revoked"
	GrantHandedOut Action = "grant.handed_out"
	ProgramAllowed Action = "program.allowed" // a program may sign in as this person
	ProgramDenied  Action = "program.denied"
	AdminRead      Action = "admin.read"       // an admin looked at what is not theirs
	Exported       Action = "audit.exported"   // somebody took the records away
	Verified       Action = "audit.verified"   // somebody had the chains checked
	Checkpoint     Action = "audit.checkpoint" // written by the store: the ends of the other chains

	KeysRotationStarted Action = "keys.rotation_started"
	KeysRotated         Action = "keys.rotated"   // the old data keys are gone
	KeysRewrapped       Action = "keys.rewrapped" // by another master key
)

// Anonymous is the Actor of an act of somebody who has not shown who they are.
const Anonymous = "anonymous"

// Entry is one record.
type Entry struct {
	ID      string            // set by the store when it is empty
	At      time.Time         // when; UTC
	Actor   string            // id of the user, or "system", "config" or Anonymous
	Action  Action            // what was done
	Object  string            // id of the thing it was done to
	Outcome string            // "ok", or the code of the refusal
	Detail  map[string]string // more facts; never a secret
	Request string            // request id, empty outside a request
}

// maxText is how long one text of an entry may be. What people type, such as the name of a refused sign-in, is cut
// there: the records are kept for years.
const maxText = 4096

// Normal returns e as every store holds it and a hash is made of it: UTF-8, without null characters outside of Detail,
// cut at 4 KiB a text, the time in whole milliseconds UTC.
func (e Entry) Normal() Entry {
	for _, s := range []*string{&e.ID, &e.Actor, (*string)(&e.Action), &e.Object, &e.Outcome, &e.Request} {
		*s = strings.ReplaceAll(normal(*s), "\x00", "\uFFFD")
	}
	e.At = time.UnixMilli(e.At.UnixMilli()).UTC()
	if len(e.Detail) == 0 {
		e.Detail = nil
		return e
	}
	for name, value := range e.Detail {
		if e.Action != Checkpoint && (normal(name) != name || normal(value) != value) { // a checkpoint's are short, and are not to be lost
			e.Detail = normalDetail(e.Detail)
			break
		}
	}
	return e
}

// normalDetail returns a copy of detail as Normal wants it.
func normalDetail(detail map[string]string) map[string]string {
	out := make(map[string]string, len(detail))
	for name, value := range detail {
		out[normal(name)] = normal(value)
	}
	return out
}

func normal(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxText {
		return s
	}
	end := maxText
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}
