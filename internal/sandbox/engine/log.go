package engine

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Outcome is what became of a statement.
type Outcome string

// The outcomes of a statement.
const (
	Running      Outcome = "running"
	Finished     Outcome = "finished"
	FailedOut    Outcome = "failed"
	RefusedOut   Outcome = "refused"  // the identity lacks a right
	CanceledOut  Outcome = "canceled" // before its last row
	maxLogged            = 10_000
	maxLoggedSQL         = 4 << 10
)

// Statement is an entry of a Log: one statement as it arrived, and who asked. It holds no argument and no row.
type Statement struct {
	Seq       int64 // counts from 1
	ID        string
	Warehouse string
	Identity  string
	SQL       string // as the client wrote it; its first 4 KiB
	Args      int    // number of arguments
	Rows      int64  // rows read by the client so far
	Outcome   Outcome
	Started   time.Time
	Took      time.Duration // until the outcome; zero while running
}

// Log remembers the last 10,000 statements. It is safe for concurrent use.
type Log struct {
	mu      sync.Mutex
	seq     int64
	entries []*Statement
	changed chan struct{} // closed and replaced at each change
}

// Statements returns the statements so far, oldest first.
func (l *Log) Statements() []Statement {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.copied()
}

func (l *Log) copied() []Statement {
	out := make([]Statement, len(l.entries))
	for i, s := range l.entries {
		out[i] = *s
	}
	return out
}

// Await returns the first statement for which want is true, waiting for it until ctx is done.
func (l *Log) Await(ctx context.Context, want func(Statement) bool) (Statement, error) {
	for {
		l.mu.Lock()
		all := l.copied()
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		l.mu.Unlock()
		if i := slices.IndexFunc(all, want); i >= 0 {
			return all[i], nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Statement{}, ctx.Err()
		}
	}
}

func (l *Log) start(q Query) *Statement {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	s := &Statement{
		Seq: l.seq, ID: q.ID, Warehouse: q.Warehouse, Identity: q.Identity, Args: len(q.Args), Outcome: Running,
		SQL: q.SQL[:min(len(q.SQL), maxLoggedSQL)], Started: time.Now(),
	}
	if len(l.entries) == maxLogged {
		l.entries = slices.Delete(l.entries, 0, maxLogged/10)
	}
	l.entries = append(l.entries, s)
	l.notify()
	return s
}

// end enters the outcome of s, unless it has one.
func (l *Log) end(s *Statement, o Outcome, rows int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.Outcome != Running {
		return
	}
	s.Outcome, s.Rows, s.Took = o, rows, time.Since(s.Started)
	l.notify()
}

func (l *Log) notify() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}
