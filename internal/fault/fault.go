// Package fault names the ways in which Behalf refuses or fails.
//
// A Kind is a class of failure and itself an error, so a caller asks errors.Is(err, fault.NotFound). An *Error adds
// what a person may read: a sentence, who can fix it, and what to do next. Its cause is for the log and goes no
// further. Each front door has one table from Kind to its own answer; what has no Kind is internal there, and is
// answered with a fixed text, because the real one may hold anything.
package fault

import (
	"errors"
	"fmt"
	"time"
)

// Kind is a class of failure. It is an error so that errors.Is finds it anywhere in a chain.
type Kind string

// Error returns the name of k.
func (k Kind) Error() string { return string(k) }

// The kinds. A test of each front door lists them all: a new one must be given an answer everywhere.
const (
	Invalid                 Kind = "invalid"                  // the request is wrong as it stands
	Unauthenticated         Kind = "unauthenticated"          // nobody we know is asking
	Denied                  Kind = "denied"                   // we know who asks, and they may not
	NotFound                Kind = "not_found"                // there is no such thing, or none they may see
	Conflict                Kind = "conflict"                 // it changed meanwhile, or stands in the way of itself
	Gone                    Kind = "gone"                     // it was there, once: a used state, an expired link
	TooMany                 Kind = "too_many"                 // a limit of this caller; see RetryAfter
	Unavailable             Kind = "unavailable"              // something we need does not answer
	Timeout                 Kind = "timeout"                  // it took longer than allowed
	Canceled                Kind = "canceled"                 // the caller left, or somebody stopped it
	AuthorizationRequired   Kind = "authorization_required"   // the person never connected the OAuth app
	ReauthorizationRequired Kind = "reauthorization_required" // they did, and the grant has ended
	AppDisabled             Kind = "app_disabled"             // an admin paused the OAuth app
	RefreshFailing          Kind = "refresh_failing"          // the authorization server does not answer and the token ended
)

// Kinds lists every Kind, for the tests of the front doors.
func Kinds() []Kind {
	return []Kind{
		Invalid, Unauthenticated, Denied, NotFound, Conflict, Gone, TooMany, Unavailable, Timeout, Canceled,
		AuthorizationRequired, ReauthorizationRequired, AppDisabled, RefreshFailing,
	}
}

// Owner is who can fix a failure.
type Owner string

// The owners of a failure (ux.md §3).
const (
	User     Owner = "user"
	Admin    Owner = "admin"
	Provider Owner = "provider"
	Database Owner = "database"
)

// Action is something the reader of an error can do: a link with a label.
type Action struct {
	Rel   string // what it does, such as "authorize"
	Href  string // absolute URL
	Label string // text of the button
}

// Field is one wrong place in a request or a document.
type Field struct {
	Pointer string // JSON pointer (RFC 6901) or the name of a form field
	Code    string // stable, such as "required"
	Detail  string // a sentence
}

// Error is a failure whose Detail may be shown to the caller. Err, the cause, goes to the log and no further.
type Error struct {
	Kind       Kind
	Code       string            // stable word for programs; empty means Kind
	Detail     string            // what happened, why, and how to fix it, in plain words
	Owner      Owner             // who can fix it; empty when that is nobody in particular
	Actions    []Action          // what to do next, the main one first
	Fields     []Field           // the wrong places, all of them
	RetryAfter time.Duration     // when it makes sense to try again; zero when it is not known
	Params     map[string]string // facts a front door may need, such as "data_source"; never secret
	Err        error             // the cause; never shown
}

// Error returns the code and the detail. It leaves out the cause, which may hold anything; a log prints Unwrap.
func (e *Error) Error() string {
	if e.Detail == "" {
		return e.CodeOrKind()
	}
	return e.CodeOrKind() + ": " + e.Detail
}

// Unwrap makes both errors.Is(err, fault.NotFound) and the cause reachable.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// CodeOrKind returns the stable word for e: its Code, or else the name of its Kind.
func (e *Error) CodeOrKind() string {
	if e.Code != "" {
		return e.Code
	}
	return string(e.Kind)
}

// New returns an *Error of kind with a formatted detail that may be shown to the caller. It does not wrap: give the
// cause with Wrap, so that its text cannot end up in the detail by mistake.
func New(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Detail: fmt.Sprintf(format, args...)}
}

// Wrap returns an *Error of kind with cause and a formatted detail that may be shown to the caller.
func Wrap(kind Kind, cause error, format string, args ...any) *Error {
	return &Error{Kind: kind, Err: cause, Detail: fmt.Sprintf(format, args...)}
}

// KindOf returns the outermost Kind in the chain of err, and "" when there is none: err is internal.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	if k, ok := errors.AsType[Kind](err); ok {
		return k
	}
	return ""
}
