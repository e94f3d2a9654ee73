package driverfactory

import (
	"context"
	"time"
)

// Stage is one part of the way of a query.
type Stage string

// The stages, in their order. A session is opened in the course of Execute, when none is idle.
const (
	Verify  Stage = "verify"  // who asks
	Plan    Stage = "plan"    // what it is in SQL
	Queue   Stage = "queue"   // it waits for its turn at the source
	Connect Stage = "connect" // a session is opened
	Execute Stage = "execute" // the statement runs and its rows are read
	Encode  Stage = "encode"  // the answer is written
)

// Stages lists all of them.
func Stages() []Stage { return []Stage{Verify, Plan, Queue, Connect, Execute, Encode} }

// StageFunc hears of a stage that began at a moment, for metrics and traces. It returns the context of what belongs to the
// stage, and what is called once at its end: with the source, the zero Source where none is known, and the failure. Both
// return at once. A nil StageFunc hears nothing.
type StageFunc func(ctx context.Context, stage Stage, began time.Time) (context.Context, func(src Source, err error))

// Begin tells f.
func (f StageFunc) Begin(ctx context.Context, stage Stage, began time.Time) (context.Context, func(src Source, err error)) {
	if f == nil {
		return ctx, func(Source, error) {}
	}
	return f(ctx, stage, began)
}
