// Package notify carries news of what changed: a grant, an OAuth app, a person. What hears it drops pools and caches,
// so that a change counts at once.
//
// The store is the one that tells: it publishes what it has committed, and what other processes on the same database
// have (internal/sqlstore). News is an announcement, not a record: the truth is in the database, and whoever missed
// something reads it there.
package notify

import (
	"slices"
	"sync"
)

// Topic is what a piece of news is about.
type Topic string

// The topics.
const (
	GrantChanged    Topic = "grant_changed"     // the grant of Principal for AppID
	OAuthAppChanged Topic = "oauth_app_changed" // AppID
	UserChanged     Topic = "user_changed"      // Principal
	KeysChanged     Topic = "keys_changed"      // the data keys: there is a new one, another one seals, or an old one is gone
	TokenChanged    Topic = "token_changed"     // Principal, whose token of ours ended; none when everybody's did

	// SharesMoved says that Replica may take of a cap that it has in common with others, or is to give back.
	SharesMoved Topic = "shares_moved"

	// Everything says that news may have been missed, of anything: what is in memory is to be read again, and what
	// was decided by it decided again. No other field is set.
	Everything Topic = "everything"
)

// News is one announcement. Fields that do not belong to the topic are empty.
type News struct {
	Topic     Topic
	Principal string // Principal.Key of whose grant or account it is
	AppID     string // the OAuth app
	Epoch     int64  // the grant's epoch from now on; with Revoked, the one that ended
	Revision  int64  // the grant's revision from now on
	Replica   string // whom it concerns
	Revoked   bool   // running statements must be cut, not drained
	Refused   bool   // the authorization server ended the grant: what it cut may be asked again, and chooses anew
}

// Bus delivers news to everybody who subscribed. The zero Bus is ready to use, and safe for concurrent use.
type Bus struct {
	mu   sync.RWMutex
	subs []*func(News)
}

// Publish calls every subscriber, in the order in which they subscribed, and returns when all have heard n: after
// Publish, nobody acts on the old state any more. Subscribers must be quick and must not call Publish.
func (b *Bus) Publish(n News) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, hear := range b.subs {
		(*hear)(n)
	}
}

// Subscribe calls hear for all news from now on, until cancel is called. hear may be called concurrently, and news of
// two changes that follow closely may come in either order: the epoch says which is older.
func (b *Bus) Subscribe(hear func(News)) (cancel func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subs = append(b.subs, &hear)
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.subs = slices.DeleteFunc(b.subs, func(h *func(News)) bool { return h == &hear })
	}
}
