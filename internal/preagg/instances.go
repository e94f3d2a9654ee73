//go:build cgo

package preagg

import (
	"container/list"
	"context"
	"path/filepath"
	"sync"
	"time"

	"github.com/duckdb/duckdb-go/v2"
	"golang.org/x/sync/semaphore"

	"github.com/behalf-project/behalf/internal/duckdbinstance"
)

// instances are the instances of DuckDB that read: one for each scope that is read, so many at most.
//
// A scope's readers share its instance, and the first of them takes a slot for it; whoever finds no slot waits in line
// until ctx ends. An instance that nobody uses has no slot and stays open, until another scope needs its place or nobody
// came for some minutes.
type instances struct {
	max    int
	memory int64 // of each
	folder func(*scope) string
	now    func() time.Time
	slots  *semaphore.Weighted // of instances in use

	mu     sync.Mutex
	of     map[*scope]*instance
	idle   list.List // of *instance, the last used first
	open   int       // all there are, also those in use that of does not have any more
	closed bool
}

// instance reads the folder of one scope.
type instance struct {
	scope *scope
	ready chan struct{} // closed when db or err is set
	db    *duckdb.Connector
	err   error

	users int           // guarded by instances.mu, like the rest
	place *list.Element // in idle; nil while it is used
	since time.Time     // when it became idle
}

func newInstances(max int, memory int64, folder func(*scope) string, now func() time.Time) *instances {
	return &instances{
		max: max, memory: memory, folder: folder, now: now,
		slots: semaphore.NewWeighted(int64(max)), of: map[*scope]*instance{},
	}
}

// acquire returns the instance of sc, opened if need be. Each successful call is followed by one of release.
func (p *instances) acquire(ctx context.Context, sc *scope) (*instance, error) {
	for {
		in := p.share(sc)
		if in == nil {
			if err := p.slots.Acquire(ctx, 1); err != nil {
				return nil, ended(ctx)
			}
			if in = p.take(sc); in == nil {
				continue // somebody opened it meanwhile
			}
		}
		select {
		case <-in.ready:
		case <-ctx.Done():
			p.release(in)
			return nil, ended(ctx)
		}
		if in.err != nil {
			p.release(in)
			return nil, notStarted(in.err)
		}
		return in, nil
	}
}

// share returns the instance of sc if it is used already.
func (p *instances) share(sc *scope) *instance {
	p.mu.Lock()
	defer p.mu.Unlock()
	in := p.of[sc]
	if in == nil || in.users == 0 {
		return nil
	}
	in.users++
	return in
}

// take returns the instance of sc for who has a slot for it, and opens it if it is not there. It returns nil, and takes the
// slot back, when somebody else has one for it already.
func (p *instances) take(sc *scope) *instance {
	p.mu.Lock()
	in := p.of[sc]
	if in != nil {
		defer p.mu.Unlock()
		if in.users > 0 {
			p.slots.Release(1)
			return nil
		}
		p.idle.Remove(in.place)
		in.place, in.users = nil, 1
		return in
	}
	in = &instance{scope: sc, ready: make(chan struct{}), users: 1}
	p.of[sc] = in
	var evicted *instance
	if p.open == p.max {
		// Fewer than max are used, since there was a slot: so one is idle.
		evicted = p.forget(p.idle.Back().Value.(*instance))
	}
	p.open++
	p.mu.Unlock()

	if evicted != nil {
		evicted.close()
	}
	in.db, in.err = duckdbinstance.Open(duckdbinstance.Config{
		Folders: []string{filepath.ToSlash(p.folder(sc))}, Memory: p.memory, Threads: 1, AnyOrder: true,
	})
	if in.err != nil {
		p.retire(in)
	}
	close(in.ready)
	return in
}

// retire lets nobody else begin to use in.
func (p *instances) retire(in *instance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of[in.scope] == in {
		delete(p.of, in.scope)
	}
}

// forget takes an idle instance out of everything. The caller closes it without p.mu, which takes a millisecond.
func (p *instances) forget(in *instance) *instance {
	delete(p.of, in.scope)
	p.idle.Remove(in.place)
	p.open--
	return in
}

// release gives in back. The last one to do so leaves it idle, or closes it where it is not to be used again.
func (p *instances) release(in *instance) {
	p.mu.Lock()
	in.users--
	if in.users > 0 {
		p.mu.Unlock()
		return
	}
	if p.of[in.scope] == in && !p.closed {
		in.since = p.now()
		in.place = p.idle.PushFront(in)
		p.mu.Unlock()
	} else {
		if p.of[in.scope] == in {
			delete(p.of, in.scope)
		}
		p.open--
		p.mu.Unlock()
		in.close()
	}
	p.slots.Release(1)
}

func (in *instance) close() {
	if in.db != nil {
		_ = in.db.Close() // it never fails
	}
}

// drop closes the instance of sc, now or when its last reader is through.
func (p *instances) drop(sc *scope) {
	p.mu.Lock()
	in := p.of[sc]
	idle := in != nil && in.users == 0
	if idle {
		p.forget(in)
	}
	delete(p.of, sc)
	p.mu.Unlock()
	if idle {
		in.close()
	}
}

// closeIdle closes the instances that have been idle since a time.
func (p *instances) closeIdle(since time.Time) {
	p.mu.Lock()
	var over []*instance
	for el := p.idle.Back(); el != nil && !el.Value.(*instance).since.After(since); el = p.idle.Back() {
		over = append(over, p.forget(el.Value.(*instance)))
	}
	p.mu.Unlock()
	for _, in := range over {
		in.close()
	}
}

// close closes all instances, those in use when their last reader is through.
func (p *instances) close() {
	p.mu.Lock()
	p.closed = true
	var over []*instance
	for el := p.idle.Back(); el != nil; el = p.idle.Back() {
		over = append(over, p.forget(el.Value.(*instance)))
	}
	p.mu.Unlock()
	for _, in := range over {
		in.close()
	}
}
