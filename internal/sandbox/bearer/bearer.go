// Package bearer says whose a bearer token is, to the emulated warehouses.
//
// The warehouses ask a Resolver about every token they are shown. The development identity provider is one, so that
// a token it issued to alice works, expires and is revoked for real; Static holds the tokens of service accounts;
// Chain asks several in turn.
package bearer

import (
	"crypto/sha256"
	"sync"
	"time"
)

// Status is what a token is worth now.
type Status int

// The states of a token. Unknown is the zero value: what nobody vouches for is refused.
const (
	Unknown Status = iota
	Active
	Expired
	Revoked
)

// String returns the name of s, for messages of tests.
func (s Status) String() string {
	return [...]string{"unknown", "active", "expired", "revoked"}[s]
}

// Holder is whom a token was issued to, and whether it still counts.
type Holder struct {
	Name    string    // name of the person or of the service account; empty when Unknown
	Status  Status    // whether the token is honoured
	Expires time.Time // end of the token; zero when it has none
	Service bool      // true for a service account
}

// Resolver answers whose a token is. It is safe for concurrent use.
type Resolver interface {
	Resolve(token string) Holder
}

// Static is a Resolver over tokens that do not expire by themselves: those of service accounts, and those that a test
// wants to hand out without an authorization server. The zero Static is empty and ready to use.
type Static struct {
	mu      sync.Mutex
	holders map[[sha256.Size]byte]Holder
}

// Set makes token stand for h, replacing what it stood for.
func (s *Static) Set(token string, h Holder) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holders == nil {
		s.holders = map[[sha256.Size]byte]Holder{}
	}
	s.holders[sha256.Sum256([]byte(token))] = h
}

// Resolve implements Resolver. An active token past its Expires is Expired.
func (s *Static) Resolve(token string) Holder {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.holders[sha256.Sum256([]byte(token))]
	if h.Status == Active && !h.Expires.IsZero() && !time.Now().Before(h.Expires) {
		h.Status = Expired
	}
	return h
}

// Chain is a Resolver that asks each of its members, and takes the first that knows the token.
type Chain []Resolver

// Resolve implements Resolver.
func (c Chain) Resolve(token string) Holder {
	for _, r := range c {
		if h := r.Resolve(token); h.Status != Unknown {
			return h
		}
	}
	return Holder{}
}
