package connectedapps

import (
	"context"
	"net/http/httptrace"
)

// Failpoint is a moment of a refresh at which a test may end or hold the process. In production nobody listens.
type Failpoint string

// The failpoints, in the order in which a refresh passes them. AfterJournal is passed only when the database did not take
// the answer.
const (
	AfterIntent  Failpoint = "intent"    // the intent is committed, nothing is sent
	AfterRequest Failpoint = "sent"      // the request leaves, and nobody knows what the server does
	AfterAnswer  Failpoint = "received"  // the server has acted, and nothing of it is stored
	AfterJournal Failpoint = "journaled" // the answer is on this disk
	AfterCommit  Failpoint = "committed" // the answer is in the database, and announced
)

// Failpoints lists all of them.
func Failpoints() []Failpoint {
	return []Failpoint{AfterIntent, AfterRequest, AfterAnswer, AfterJournal, AfterCommit}
}

// passing returns ctx for a call that passes AfterRequest. It is told of a request that is written, a moment before the
// last of it leaves the process, which goes on with that meanwhile.
func (t *Tokens) passing(ctx context.Context) context.Context {
	if t.cfg.Failpoint == nil {
		return ctx
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(i httptrace.WroteRequestInfo) {
		if i.Err == nil {
			t.running.Go(func() { t.pass(AfterRequest) })
		}
	}})
}

// pass tells who listens that a refresh is at p.
func (t *Tokens) pass(p Failpoint) {
	if t.cfg.Failpoint != nil {
		t.cfg.Failpoint(p)
	}
}
