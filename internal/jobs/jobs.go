// Package jobs does the work that must be done although nobody waits for it: tokens to revoke at their provider,
// notices to send, rows to clean up, rollups in use to fetch again.
//
// A job is a row. Whoever adds it can forget it: from then on it is due, claimed by one process of the cluster under
// a lease, tried until it works or is given up, and gone when it is done.
//
//	Add ──▶ due ──Claim──▶ leased ──Finish──▶ (deleted)
//	         ▲               │ ├────Release──▶ due again later, or given up and kept for a while
//	         └─ lease ended ─┘ └────Renew, every third of the lease
//
// A holder that dies is followed by another when its lease ends. One that merely slept finds its fence outdated, and
// can no longer say how the work ended: the work may be done twice and is never lost, so what a job does must bear
// being repeated. One that is done for now comes back when it says (Again), and sees then what Amend has made of it.
//
// Jobs of one lane, such as all that call one provider, are worked on by one process at a time, so that what the
// lane's owner can bear is kept to in the whole cluster. A batch counts what belongs together, to show its progress.
package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/behalf-project/behalf/internal/secret"
)

// Job is one piece of work.
type Job struct {
	ID      string // job_…; made by Add when it is empty
	Kind    string // who does it
	Key     string // what it does, once: unique among the jobs of its kind. Empty: this one is like no other
	Lane    string // what it must share with the jobs of this lane, such as the origin of a provider; may be empty
	Batch   string // what it is part of; may be empty
	Payload json.RawMessage
	Secret  secret.Text // sealed by the store, bound to the job; may be empty

	CreatedAt time.Time
	DueAt     time.Time

	Attempts int       // begun, the one under way included
	Code     string    // why the last attempt failed; empty before and after a success
	FailedAt time.Time // when the job was given up; zero as long as there is hope

	LeaseUntil time.Time // nobody else touches it before
	LeaseBy    string    // the process that holds it
	Fence      int64     // grows with every claim
}

// Want says which job a process would do next.
type Want struct {
	Kind   string
	By     string   // the process
	Except []string // lanes that have enough to do
}

// Count says how far a batch is. What is done is gone, so whoever began the batch knows how many there were.
type Count struct {
	Waiting int // due now or later, or under way
	Failed  int // given up
}

// Store keeps jobs. jobstest.TestStore says what each method must do. Times are the caller's, so that all processes
// that share a store must agree on the time to well within a lease.
type Store interface {
	// Add stores jobs. One whose kind and key another has already is left out, whether that one waits or is under
	// way; if that one was given up, it starts anew as the new one says.
	Add(ctx context.Context, jobs ...Job) error

	// Amend adds j, or gives the job that has its kind and key already the payload and the secret of j, and leaves that one
	// alone otherwise: who works on it sees them the next time. One that was given up starts anew, as with Add. Where j is
	// new, and its lane has so many jobs of its kind, it is fault.TooMany.
	Amend(ctx context.Context, j Job, most int) error

	// Claim leases the job that has been due for longest among those that nobody holds at now, and returns it with its
	// fence and attempts one higher, or fault.NotFound when there is none. A lane of which another process holds a
	// job is left to that process.
	Claim(ctx context.Context, w Want, now, until time.Time) (Job, error)

	// Renew moves the end of the leases of held to until and returns the ids of those whose fence is outdated.
	Renew(ctx context.Context, held []Job, until time.Time) (lost []string, err error)

	// Finish removes a job that is done. It is fault.Conflict when the fence of j is outdated: another process has the
	// job, or it is done.
	Finish(ctx context.Context, j Job) error

	// Release ends the lease of a job that is not done, and stores DueAt, Attempts, Code and FailedAt of j.
	// Conflict as for Finish.
	Release(ctx context.Context, j Job) error

	// Count returns how far batch is.
	Count(ctx context.Context, kind, batch string) (Count, error)

	// Forget removes the jobs that were given up before the given time, and returns how many they were.
	Forget(ctx context.Context, before time.Time) (int, error)
}

// again is a success after which there is more to do later.
type again struct{ at time.Time }

func (again) Error() string { return "the job is done for now" }

// Again is what a job's handler returns that has done it for now: the job is due again at a time, as one that was not tried.
func Again(at time.Time) error { return again{at} }

// hopeless is a failure that no repetition mends.
type hopeless struct{ error }

func (e hopeless) Unwrap() error { return e.error }

// GiveUp marks err as a failure that no repetition mends: the job is given up at once.
func GiveUp(err error) error { return hopeless{err} }

func isHopeless(err error) bool {
	_, ok := errors.AsType[hopeless](err)
	return ok
}
