// Package keys says how the data keys are: those that seal secrets in the store, and how far their rotation is.
//
// A data key is replaced while everything is served. Each step is written down before the next begins, so that a process
// that takes over, or starts anew, goes on where another one stopped:
//
//	announced ──▶ resealing ──▶ settling ──▶ done
//
// Announced, the new key is in the ring and opens; every replica says that it has it. Resealing, it seals, and every
// value that another key sealed is sealed again. Settling, no such value is left, and every replica has sealed with the
// new key for longer than any call to the store may take. Then the store is searched once more, and the old keys are
// removed in the transaction that found none of their values.
//
// Nothing here holds a key. internal/sqlstore does the work.
package keys

import "time"

// State is how far a rotation is.
type State string

// The states.
const (
	Announced State = "announced"
	Resealing State = "resealing"
	Settling  State = "settling"
	Done      State = "done"
)

// Rotation is one replacement of the data keys by a new one.
type Rotation struct {
	ID         string
	NewKey     uint32
	State      State
	Resealed   int64  // values sealed again so far
	Total      int64  // values that other keys had sealed when NewKey began to seal
	Failure    string // why it does not go on, in a sentence; empty while it does
	StartedBy  string // id of who asked for it, as in the audit
	StartedAt  time.Time
	ResealedAt time.Time // when no value of another key was left; zero before
	DoneAt     time.Time // zero before
}

// Use is what a data key is for.
type Use string

// The uses.
const (
	Seals   Use = "seals"   // the primary key
	Next    Use = "next"    // will seal, when every replica has it
	Opens   Use = "opens"   // sealed once, and opens what it did
	Missing Use = "missing" // sealed values that are there, and is not
)

// Key is one data key.
type Key struct {
	ID        uint32
	Use       Use
	Values    int64     // sealed values of it in the store
	CreatedAt time.Time // zero when it is missing
}

// Status is how the data keys are.
type Status struct {
	Master   string    // which master key wraps them: "key 123 of a file", or the URI of a KMS
	Keys     []Key     // the one that seals first
	Rotation *Rotation // the last one; nil when there was none
	Waiting  []string  // names of replicas that the rotation waits for
}

// Finding is a sealed value that does not open. It holds no part of the value.
type Finding struct {
	Table, ID, Field string
	KeyID            uint32 // that sealed it, as the value says; 0 when it is none of ours
	Reason           string
}

// Report is what a verification found.
type Report struct {
	Values   int64            // sealed values that were opened or did not open
	ByKey    map[uint32]int64 // of those, by the key that sealed them; 0 for those that no key did
	Findings int64            // how many did not open
}
