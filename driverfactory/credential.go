package driverfactory

import (
	"context"

	"github.com/behalf-project/behalf/internal/credential"
)

// Operation is what a driver is wanted for. It decides, with Source.Fallback, which identities may be used.
type Operation string

// The operations.
const (
	UserQuery     Operation = "user_query" // a person asked; the person's credential, or the fallback that policy names
	LivenessCheck Operation = "liveness"   // is the source there? the service account and nothing else
	Background    Operation = "background" // work for everybody; the service account and nothing else
)

// Credentials hands out what people have authorized. connectedapps.Tokens is one; an embedding program may bring its
// own. Implementations are safe for concurrent use and answer from memory where they can: Token is asked before every
// statement.
type Credentials interface {
	// Token returns principal's access token for the OAuth app with this slug, refreshed first if it must be. It
	// fails with fault.AuthorizationRequired when principal never connected the app, ReauthorizationRequired when
	// the grant has ended, AppDisabled, RefreshFailing, Denied for a disabled person, or Unavailable.
	Token(ctx context.Context, principal Principal, app string) (Token, error)

	// Refused is told that a data source refused tok although it had not expired. It refreshes once, shared by all
	// callers and at most once a minute for one grant, and returns a token with another revision, or the refusal
	// that principal should see.
	Refused(ctx context.Context, principal Principal, app string, tok Token) (Token, error)
}

// Token is an access token at one moment of its grant's life. Its fields are Value, Status, Epoch, Revision and
// ExpiresAt.
type Token = credential.Token

// Identity is the kind of credential that runs a statement.
type Identity string

// The identities.
const (
	IdentityUser           Identity = "user"
	IdentityServiceAccount Identity = "service_account"
)

// RunAs says which identity runs, or ran, a statement and why: the runAs of an answer (design.md §4).
type RunAs struct {
	Identity   Identity
	Username   string // who asked; empty for background work
	Account    string // name of the service account, when that is the identity
	DataSource string
	Credential string // status of the person's grant, such as "active" or "not_connected"
	Reason     string // why this identity: "grant", "jwt", "no_oauth_app", "liveness", "background", or the status that made it fall back
}

// PoolKey names one credential at one data source. Pools, cached results and rollups of different keys never meet:
// it is compared as a whole and holds every part that could differ.
type PoolKey struct {
	Domain    string
	Source    string
	SourceRev int64
	Principal Principal // zero for the service account
	Service   bool      // the service account, and then Principal, App and Epoch are zero
	App       string    // slug of the OAuth app the token is for; empty for a token that came in the JWT
	Epoch     int64
}
