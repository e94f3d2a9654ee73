package orchestrator

import (
	"container/list"
	"context"
	"sync"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
)

// Capacity bounds the open sessions: of each source, and of the whole process. It stands between the factory, which
// asks before it dials, and the Orchestrators, which know whose sessions are idle: at a bound the longest unused idle
// ones are closed for the one who waits, and a busy one never is.
type Capacity struct {
	max  int
	wait time.Duration

	limitOf func(driverfactory.PoolKey) int
	steal   func(match func(driverfactory.PoolKey) bool) bool

	mu      sync.Mutex
	open    int
	sources map[sourceKey]int // open sessions
	waiting list.List         // of *admission, the first come first
}

// admission is somebody who waits for a session.
type admission struct {
	source sourceKey
	limit  int
	given  chan struct{}
	place  *list.Element
}

// defaultMaxConnections is the bound of a source that says none.
const defaultMaxConnections = 64

// NewCapacity returns a Capacity of total sessions (default 256). Whoever finds no room waits at most for wait (default
// 20 s).
func NewCapacity(total int, wait time.Duration) *Capacity {
	orDefault(&total, 256)
	orDefault(&wait, 20*time.Second)
	return &Capacity{
		max: total, wait: wait, sources: map[sourceKey]int{},
		limitOf: func(driverfactory.PoolKey) int { return 0 },
		steal:   func(func(driverfactory.PoolKey) bool) bool { return false },
	}
}

// serve is called by New, before any Admit.
func (c *Capacity) serve(limitOf func(driverfactory.PoolKey) int, steal func(func(driverfactory.PoolKey) bool) bool) {
	c.limitOf, c.steal = limitOf, steal
}

// Admit waits until one more session may be opened under key, and returns what must be called once when it is closed.
// It fails with fault.Unavailable and code queue_timeout when there was no room in time. It is the Admit of a
// driverfactory.Config.
func (c *Capacity) Admit(ctx context.Context, key driverfactory.PoolKey) (release func(), err error) {
	a := &admission{source: sourceKey{key.Domain, key.Source}, limit: c.limitOf(key), given: make(chan struct{})}
	orDefault(&a.limit, defaultMaxConnections)
	release = sync.OnceFunc(func() { c.release(a.source) })

	c.mu.Lock()
	// Nobody who waits could use this room: it would have been given to them. So there is no need to stand in line.
	if c.room(a) {
		c.take(a)
		c.mu.Unlock()
		return release, nil
	}
	a.place = c.waiting.PushBack(a)
	c.mu.Unlock()
	c.reclaimFor(a)

	timer := time.NewTimer(c.wait)
	defer timer.Stop()
	select {
	case <-a.given:
		return release, nil
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-timer.C:
		err = &fault.Error{
			Kind: fault.Unavailable, Code: "queue_timeout", RetryAfter: 10 * time.Second, Owner: fault.Admin,
			Detail: "Queue timeout: no session to " + key.Source + " became free within " + words(c.wait) +
				". Run the query again later, or raise max_connections.",
			Params: map[string]string{"data_source": key.Source},
		}
	}
	c.mu.Lock()
	given := a.place == nil
	if !given {
		c.waiting.Remove(a.place)
	}
	c.mu.Unlock()
	if given { // in the same moment: give it on
		release()
	}
	return nil, err
}

func (c *Capacity) room(a *admission) bool { return c.open < c.max && c.sources[a.source] < a.limit }

func (c *Capacity) take(a *admission) {
	c.open++
	c.sources[a.source]++
}

// release gives the room of a closed session to the first who can use it.
func (c *Capacity) release(source sourceKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
	if c.sources[source]--; c.sources[source] == 0 {
		delete(c.sources, source)
	}
	for el := c.waiting.Front(); el != nil; {
		a := el.Value.(*admission)
		el = el.Next()
		if c.room(a) {
			c.take(a)
			c.waiting.Remove(a.place)
			a.place = nil
			close(a.given)
		}
	}
}

// reclaim is called when a session became idle: it is closed for the first who waits and can use its room.
func (c *Capacity) reclaim() {
	c.mu.Lock()
	var all []*admission
	for el := c.waiting.Front(); el != nil; el = el.Next() {
		all = append(all, el.Value.(*admission))
	}
	c.mu.Unlock()
	for _, a := range all {
		if c.reclaimFor(a) {
			return
		}
	}
}

// reclaimFor has idle sessions closed whose room a could use, and reports whether there were any.
func (c *Capacity) reclaimFor(a *admission) bool {
	c.mu.Lock()
	anySource := c.sources[a.source] < a.limit // then it is the process that is full
	c.mu.Unlock()
	return c.steal(func(key driverfactory.PoolKey) bool {
		return anySource || sourceKey{key.Domain, key.Source} == a.source
	})
}

// Open returns how many sessions are open, and how many callers wait for one.
func (c *Capacity) Open() (open, waiting int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open, c.waiting.Len()
}
