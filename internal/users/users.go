// Package users owns the people of this server: who they are, what they may do, and their passwords.
//
// A person is known by an id that never changes and is never used again; username and e-mail are names for display
// and for signing in. People are declared in the configuration file, or made by an admin.
package users

import (
	"context"
	"time"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
)

// Role is what a person may do in the whole server.
type Role string

// Admin may register OAuth apps and see everybody's connections (never a token).
const Admin Role = "admin"

// User is one person.
type User struct {
	ID        string // usr_…
	Username  string // unique; lower case
	Email     string // may be empty; unique where it is not
	Roles     []Role
	Password  secret.Text // PHC string of argon2id; empty when the person has none
	Disabled  bool
	Origin    string // "file" or "api"
	CreatedAt time.Time
	UpdatedAt time.Time
	Rev       int64
}

// Principal returns the identity under which u's credentials, pools and caches are kept.
func (u User) Principal() securitycontext.Principal {
	return securitycontext.Principal{Realm: securitycontext.Local, Subject: u.ID}
}

// Has reports whether u has role.
func (u User) Has(role Role) bool {
	for _, r := range u.Roles {
		if r == role {
			return true
		}
	}
	return false
}

// Ending is what ends with a change of a person. The zero Ending ends nothing.
type Ending struct {
	Sessions bool   // of browsers: they sign in again
	Tokens   bool   // personal access tokens, and what they allowed and no program has come for yet
	Reason   string // why; required where something ends
}

// Store keeps people. userstest.TestStore says what each method must do. Each method is one transaction and commits
// its audit entry with it; what changes somebody is announced as notify.UserChanged before the method returns.
type Store interface {
	// GetUser returns the person with this id, or fault.NotFound.
	GetUser(ctx context.Context, id string) (User, error)

	// FindUser returns the person with this username or e-mail, compared without case, or fault.NotFound.
	FindUser(ctx context.Context, login string) (User, error)

	// ListUsers returns everybody, ordered by username.
	ListUsers(ctx context.Context) ([]User, error)

	// PutUser stores u: a new person when u.ID is empty (and then it sets one), else u with Rev one higher if the
	// stored Rev is still u.Rev. CreatedAt never changes. A username or e-mail that somebody else has, as either of
	// the two, is fault.Conflict.
	//
	// What ends with the change ends in the same transaction, each with a record of its own by the actor of e. Whoever
	// is disabled keeps nothing.
	PutUser(ctx context.Context, u User, ends Ending, e audit.Entry) (User, error)
}
