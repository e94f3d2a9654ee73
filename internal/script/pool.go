package script

import (
	"context"
	"time"
)

// Pool keeps runtimes of one Program. It is safe for concurrent use. A Program that is replaced takes its Pool along.
type Pool struct {
	config Config
	slots  chan struct{} // one for each call that runs
	idle   chan *Runtime
}

// NewPool returns a Pool over c. It starts nothing, and there is nothing to close.
func NewPool(c Config) *Pool {
	c = c.defaults()
	return &Pool{config: c, slots: make(chan struct{}, c.Size), idle: make(chan *Runtime, c.Size)}
}

// Do calls f with a Runtime that is f's alone until it returns. It waits for one as long as ctx permits; f and
// everything that it runs has the time of limit. What a script throws is an *Error.
func (p *Pool) Do(ctx context.Context, limit time.Duration, f func(*Runtime) error) error {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	var r *Runtime
	select {
	case r = <-p.idle:
	default:
		var err error
		if r, err = newRuntime(p.config, true); err != nil {
			return err
		}
	}
	clean, err := r.do(ctx, limit, f)
	if clean && r.reset() {
		p.idle <- r // there is room: a slot is held
	}
	return err
}
