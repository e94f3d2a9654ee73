// Package event turns what happened into what somebody is told: signed webhooks for programs, e-mail for people.
//
// An act is recorded in its own transaction (internal/audit). Of says which of those records are events, and the store
// writes the event into the same transaction: an event is there exactly when its fact is. Reminders, which have no act,
// are appended by themselves. From there on everything is at least once:
//
//	act ──one transaction──▶ event ──Dispatcher──▶ deliveries ──leased rows──▶ webhook (three days of tries), e-mail (a digest a day)
//
// An event names people, apps and connections by what is public about them. It holds no secret.
package event

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/behalf-project/behalf/internal/audit"
)

// Kind is what an event is about: a noun and what became of it. Receivers choose by it.
type Kind string

// The kinds.
const (
	Connected     Kind = "connection.connected"
	Expiring      Kind = "connection.expiring" // its end is near, or nobody has used it for long
	Expired       Kind = "connection.expired"
	Revoked       Kind = "connection.revoked" // by the person, an admin, the provider, or for want of use: see reason
	RefreshFailed Kind = "connection.refresh_failed"
	NeedsConsent  Kind = "connection.needs_consent"
	AppBroken     Kind = "oauth_app.broken"
	KeyRotated    Kind = "key.rotated"
	UnusualUse    Kind = "handout.unusual"
)

// Kinds lists all of them.
func Kinds() []Kind {
	return []Kind{Connected, Expiring, Expired, Revoked, RefreshFailed, NeedsConsent, AppBroken, KeyRotated, UnusualUse}
}

// Known reports whether there is a kind with this name.
func Known(name string) bool { return slices.Contains(Kinds(), Kind(name)) }

// Event is one thing that somebody may want to know.
type Event struct {
	ID     string // evt_…; the webhook-id too, so that a receiver sees a repeated one
	Kind   Kind
	At     time.Time
	Person string            // whose it is, as audit records name people; empty for an event of an app or of the server
	App    string            // slug of the OAuth app; empty where there is none
	Object string            // id of the connection, the app or the token
	Detail map[string]string // reason, code, at, …

	// Dedupe is what makes it the same as another: the second one is not stored. Empty: every one counts.
	Dedupe string
}

// Store keeps events and what became of them. eventtest.TestStore says what each method must do.
type Store interface {
	// Append stores e, with an id of its own, unless there is one with its Dedupe, and reports whether it did.
	Append(ctx context.Context, e Event) (bool, error)

	// Get returns the event with this id, or fault.NotFound.
	Get(ctx context.Context, id string) (Event, error)

	// Undispatched returns events that nobody has dispatched, the oldest first.
	Undispatched(ctx context.Context, limit int) ([]Event, error)

	// Dispatch stores the deliveries of an event, each with its job, and that it is dispatched, once: for who comes
	// second it is fault.Conflict.
	Dispatch(ctx context.Context, eventID string, deliveries []Delivery) error

	// Delivery returns the delivery with this id and its event, or fault.NotFound.
	Delivery(ctx context.Context, id string) (Delivery, Event, error)

	// Attempted stores State, Attempts, Status, Code, TriedAt and NextAt of deliveries, all or none.
	Attempted(ctx context.Context, ds ...Delivery) error

	// Deliveries returns the last limit deliveries before the one with this id, or the last ones, newest first.
	Deliveries(ctx context.Context, before string, limit int) ([]Delivery, error)

	// Replay makes a new delivery of the same event to the same receiver, due at now, and returns it.
	Replay(ctx context.Context, id string, now time.Time, e audit.Entry) (Delivery, error)

	// PendingMail returns the deliveries by mail to person that are pending, with their events, the oldest first.
	PendingMail(ctx context.Context, person string) ([]Delivery, []Event, error)

	// LastMail returns when person was last sent a mail; zero when never.
	LastMail(ctx context.Context, person string) (time.Time, error)

	// ForgetEvents removes the events from before the given time that wait for nothing, and their deliveries.
	ForgetEvents(ctx context.Context, before time.Time) error
}

// The kinds of the jobs by which deliveries are made. The payload of a WebhookJob is the id of a delivery; that of a
// MailJob is the person whose letter is due.
const (
	WebhookJob = "webhook"
	MailJob    = "mail"
)

// How a Receiver begins.
const (
	ByWebhook = "webhook "
	ByMail    = "mail "
)

// State is how far a delivery is.
type State string

// The states of a delivery.
const (
	Pending   State = "pending"
	Delivered State = "delivered"
	Failed    State = "failed" // given up
)

// Delivery is one event on its way to one receiver.
type Delivery struct {
	ID       string // whd_…
	EventID  string
	Kind     Kind   // of the event
	Receiver string // "webhook <name>" or "mail <person>"
	State    State
	Attempts int
	Status   int    // HTTP status of the last answer; 0 when there was none
	Code     string // why the last try failed; empty when it did not
	At       time.Time
	TriedAt  time.Time
	NextAt   time.Time // of the next try; zero when there is none
}

// Of returns the event that an audit record is, and false when it is none. It is a pure function.
func Of(e audit.Entry) (Event, bool) {
	ev := Event{
		At: e.At, Object: e.Object, App: e.Detail["oauth_app"], Person: e.Detail["principal"],
		Detail: map[string]string{},
	}
	switch e.Action {
	case audit.GrantCreated, audit.GrantReplaced:
		if e.Outcome != "ok" {
			return Event{}, false
		}
		ev.Kind, ev.Person = Connected, e.Actor
		keep(ev.Detail, e.Detail, "account")
	case audit.GrantRevoked:
		ev.Kind = Revoked
		ev.Detail["reason"] = "admin"
		switch {
		case e.Detail["reason"] != "":
			ev.Detail["reason"] = e.Detail["reason"]
		case e.Actor == ev.Person:
			ev.Detail["reason"] = "person"
		}
	case audit.GrantRefused:
		ev.Detail["code"] = e.Outcome
		switch status := e.Detail["status"]; status {
		case "expired":
			ev.Kind = Expired
		case "revoked":
			ev.Kind, ev.Detail["reason"] = Revoked, "provider"
		case "unknown_outcome":
			if e.Detail["ended"] == "" {
				return Event{}, false // it may heal
			}
			ev.Kind, ev.Detail["reason"] = Revoked, "unknown_outcome"
		case "refresh_failing":
			ev.Kind = RefreshFailed
			ev.Dedupe = Daily(RefreshFailed, ev.Person, ev.App, e.At)
		default:
			return Event{}, false // such as invalid_client: the app is broken, its people are not
		}
	case audit.OAuthAppUpdated:
		if e.Outcome == "ok" || e.Outcome == "" {
			return Event{}, false
		}
		ev.Kind, ev.Person, ev.App, ev.Detail["code"] = AppBroken, "", e.Detail["slug"], e.Outcome
	case audit.UnusualHandOut:
		ev.Kind = UnusualUse
		keep(ev.Detail, e.Detail, "reason", "rate", "norm", "address", "token")
		ev.Dedupe = fmt.Sprintf("%s %s %s %s", UnusualUse, e.Object, e.Detail["reason"], e.At.UTC().Format("2006-01-02 15"))
	default:
		return Event{}, false
	}
	return ev, true
}

// Daily is the Dedupe of an event of which there is at most one for each app, person and day.
func Daily(kind Kind, person, app string, at time.Time) string {
	return fmt.Sprintf("%s %d:%s %d:%s %s", kind, len(person), person, len(app), app, at.UTC().Format(time.DateOnly))
}

// Reminder is the Dedupe that all reminders share: at most one for each app, person and day, whatever it is about.
func Reminder(person, app string, at time.Time) string { return Daily("reminder", person, app, at) }

func keep(to, from map[string]string, names ...string) {
	for _, name := range names {
		if v := from[name]; v != "" {
			to[name] = v
		}
	}
}
