// Package credential is the word that the owner of grants and the opener of drivers share: an access token, with the
// facts that pools and caches are keyed by. connectedapps hands Tokens out and driverfactory takes them in, so that
// neither imports the other.
package credential

import (
	"time"

	"github.com/behalf-project/behalf/internal/secret"
)

// Token is an access token at one moment of its grant's life.
type Token struct {
	Value     secret.Text
	Status    string    // of the grant: "active" and the other words of ux.md §1.0
	Epoch     int64     // changes with the grant itself: new consent, other account or scopes, revoked
	Revision  int64     // changes with each refresh
	ExpiresAt time.Time // zero when unknown
}
