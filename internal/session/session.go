// Package session owns the sessions of browsers that signed in: rows of our own, known by the hash of a random token
// in a cookie (sso.md §5).
//
// A session dies after seven days without use and after ninety in any case; nothing extends the latter but signing in
// again. Every sign-in makes a new one and ends the one that the browser had, so that a planted cookie is worth
// nothing. Ending a session, or disabling its person, counts on the very next request.
package session

import (
	"context"
	"time"

	"github.com/behalf-project/behalf/internal/audit"
)

// Session is one signed-in browser.
type Session struct {
	ID              string // ses_…
	UserID          string
	TokenHash       string // SHA-256 of the cookie's value, in hex
	Method          string // how the person signed in: "password"
	AuthenticatedAt time.Time
	LastSeenAt      time.Time
	IP              string
	UserAgent       string
	RevokedAt       time.Time // zero while it lives
	RevokeReason    string
}

// Store keeps sessions. sessiontest.TestStore says what each method must do.
type Store interface {
	// CreateSession stores s and, in the same transaction, ends the session with hash replaced, if there is one.
	CreateSession(ctx context.Context, s Session, replaced string, e audit.Entry) error

	// GetSession returns the session with this token hash, dead or alive, or fault.NotFound.
	GetSession(ctx context.Context, tokenHash string) (Session, error)

	// TouchSession sets LastSeenAt to at if it is older than a minute before.
	TouchSession(ctx context.Context, id string, at time.Time) error

	// RevokeSessions ends the session with this id or, when id is empty, all sessions of the user that live.
	RevokeSessions(ctx context.Context, userID, id, reason string, at time.Time, e audit.Entry) error

	// RevokeOthers ends all sessions of everybody but the user, who may be nobody.
	RevokeOthers(ctx context.Context, userID, reason string, at time.Time, e audit.Entry) error
}
