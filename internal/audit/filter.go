package audit

import "time"

// Filter says which records are wanted. Its zero value wants all.
type Filter struct {
	Actor   string
	Action  Action
	Object  string
	Outcome string
	Refused bool      // only what did not end "ok"
	Since   time.Time // at or after
	Until   time.Time // before
}
