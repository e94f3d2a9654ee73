package orchestrator

import (
	"container/list"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/caps"
	"github.com/behalf-project/behalf/internal/fault"
)

// Capacity bounds the open sessions: of the whole process, of each source, and of each person there. It stands between the
// factory, which asks before it dials, and the Orchestrators, which know whose sessions are idle: at a bound the longest unused
// idle ones are closed for the one who waits, and a busy one never is. The bounds of a source and of a person are caps, of which
// replicas have their shares. It is safe for concurrent use.
type Capacity struct {
	max  int
	wait time.Duration

	caps *caps.Caps // nil: all of them are this process's
	keep keeper

	mu      sync.Mutex
	open    int
	bounds  map[caps.Key]*bound // with sessions that are open or waited for
	waiting list.List           // of *admission, the first come first
}

// keeper has the sessions, once they are open.
type keeper interface {
	// limits returns those of the source of key.
	limits(key driverfactory.PoolKey) driverfactory.Limits

	// atRest returns how many nobody will need in the next moment, by their pools.
	atRest() map[driverfactory.PoolKey]int

	// steal closes the idle sessions of a pool to which match agrees, and reports whether it found any.
	steal(match func(driverfactory.PoolKey) bool) bool
}

// bound is a cap on sessions, of a source or of a person there.
type bound struct {
	key     caps.Key
	limit   int // as it was said last
	open    int
	waiting int
}

// admission is somebody who waits for a session.
type admission struct {
	pool   driverfactory.PoolKey
	bounds []*bound // by capsOf
	given  chan error
	place  *list.Element
}

// capsOf names the caps on a session of a pool: of its source, and of its person there, if it is somebody's.
func capsOf(pool driverfactory.PoolKey) []caps.Key {
	source := caps.Key{Kind: caps.Sessions, Domain: pool.Domain, Source: pool.Source}
	if pool.Service || pool.Principal.Anonymous() {
		return []caps.Key{source}
	}
	person := source
	person.Principal = pool.Principal
	return []caps.Key{source, person}
}

// NewCapacity returns a Capacity of total sessions (default 256). Whoever finds no room at the source or in the process waits
// at most for wait (default 20 s); for a session of their own they wait as long as their statement may.
func NewCapacity(total int, wait time.Duration) *Capacity {
	orDefault(&total, 256)
	orDefault(&wait, 20*time.Second)
	return &Capacity{max: total, wait: wait, bounds: map[caps.Key]*bound{}}
}

// serve is called by New, before any Admit.
func (c *Capacity) serve(shared *caps.Caps, keep keeper) { c.caps, c.keep = shared, keep }

// Admit waits until one more session may be opened under key, and returns what must be called once when it is closed. It fails
// with driverfactory.ErrAskAgain when one of key became idle meanwhile, and with fault.Unavailable and code queue_timeout
// when there was no room in time. It is the Admit of a driverfactory.Config.
func (c *Capacity) Admit(ctx context.Context, key driverfactory.PoolKey) (release func(), err error) {
	a := &admission{pool: key, given: make(chan error, 1)}
	all, each := c.keep.limits(key).Sessions()
	c.mu.Lock()
	for i, k := range capsOf(key) {
		a.bounds = append(a.bounds, c.bound(k, []int{all, each}[i]))
	}
	release = sync.OnceFunc(func() { c.release(a) })
	// Nobody who waits could use this room: it would have been given to them, or is about to be. So there is no need to stand in line.
	if c.admit(a) {
		c.mu.Unlock()
		return release, nil
	}
	a.place = c.waiting.PushBack(a)
	wasForOwn := c.waitsForOwn(a)
	for _, b := range a.bounds {
		b.waiting++
	}
	c.mu.Unlock()
	c.caps.Stir()
	c.reclaimFor(a)
	waits := waitOf(ctx)
	waits.Store(true)

	timer := time.NewTimer(c.wait)
	defer timer.Stop()
	for {
		select {
		case err := <-a.given:
			waits.Store(false)
			if err != nil {
				return nil, err
			}
			return release, nil
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-timer.C:
			before := wasForOwn
			c.mu.Lock()
			wasForOwn = c.waitsForOwn(a)
			c.mu.Unlock()
			if before || wasForOwn { // for what is not its own it has not waited for so long
				timer.Reset(c.wait)
				continue
			}
			err = &fault.Error{
				Kind: fault.Unavailable, Code: "queue_timeout", RetryAfter: 10 * time.Second, Owner: fault.Admin,
				Detail: "Queue timeout: no session to " + key.Source + " became free within " + words(c.wait) +
					". Run the query again later, or raise max_connections.",
				Params: map[string]string{"data_source": key.Source},
			}
		}
		c.mu.Lock()
		left := a.place != nil
		if left {
			c.leave(a)
		}
		c.mu.Unlock()
		if !left && <-a.given == nil { // in the same moment: give it on
			release()
		}
		return nil, err
	}
}

type waitKey struct{}

// notingWait returns a context that tells whether it is for a session that who has it waits.
func notingWait(ctx context.Context) (context.Context, *atomic.Bool) {
	waits := new(atomic.Bool)
	return context.WithValue(ctx, waitKey{}, waits), waits
}

func waitOf(ctx context.Context) *atomic.Bool {
	if waits, ok := ctx.Value(waitKey{}).(*atomic.Bool); ok {
		return waits
	}
	return new(atomic.Bool)
}

// bound returns the one of k, whose limit is now this one.
func (c *Capacity) bound(k caps.Key, limit int) *bound {
	b := c.bounds[k]
	if b == nil {
		b = &bound{key: k}
		c.bounds[k] = b
	}
	b.limit = limit
	return b
}

// forget drops b when there is nothing under it.
func (c *Capacity) forget(b *bound) {
	if b.open == 0 && b.waiting == 0 {
		delete(c.bounds, b.key)
	}
}

// room reports whether there is some under b.
func (c *Capacity) room(b *bound) bool { return b.open < c.caps.Allowed(b.key, b.limit) }

// admit counts a as open, if there is room for it.
func (c *Capacity) admit(a *admission) bool {
	if c.open >= c.max {
		return false
	}
	for _, b := range a.bounds {
		if !c.room(b) {
			return false
		}
	}
	for _, b := range a.bounds {
		if !c.caps.Take(b.key, b.limit, b.open) {
			return false // the lease has ended in this moment
		}
	}
	c.open++
	for _, b := range a.bounds {
		b.open++
	}
	return true
}

// leave takes a out of the line.
func (c *Capacity) leave(a *admission) {
	c.waiting.Remove(a.place)
	a.place = nil
	for _, b := range a.bounds {
		b.waiting--
		c.forget(b)
	}
}

// waitsForOwn reports whether it is a session of its own person that a waits for.
func (c *Capacity) waitsForOwn(a *admission) bool { return len(a.bounds) > 1 && !c.room(a.bounds[1]) }

// release ends a session, whose room is given to the first who can use it.
func (c *Capacity) release(a *admission) {
	c.mu.Lock()
	c.open--
	for _, b := range a.bounds {
		b.open--
		c.forget(b)
	}
	c.give()
	c.mu.Unlock()
	c.caps.Stir()
}

// give gives what room there is to those who wait.
func (c *Capacity) give() {
	for el := c.waiting.Front(); el != nil && c.open < c.max; {
		a := el.Value.(*admission)
		el = el.Next()
		if c.admit(a) {
			c.leave(a)
			a.given <- nil
		}
	}
}

// reclaim is called when a session of a pool has become idle. It is closed if its room is owed to another replica; else
// it is lent to the first who waits if that is their pool, or closed for the first who can use its room.
func (c *Capacity) reclaim(pool driverfactory.PoolKey) {
	c.mu.Lock()
	for _, k := range capsOf(pool) {
		if b := c.bounds[k]; b != nil && c.caps.Owed(k, b.limit, b.open) > 0 {
			c.mu.Unlock()
			if c.steal(k) {
				return
			}
			c.mu.Lock()
		}
	}
	line := c.line()
	c.mu.Unlock()
	for _, a := range line {
		if a.pool == pool && c.lendIdle(a) || c.reclaimFor(a) {
			return
		}
	}
}

// line is who waits, the first come first.
func (c *Capacity) line() []*admission {
	line := make([]*admission, 0, c.waiting.Len())
	for el := c.waiting.Front(); el != nil; el = el.Next() {
		line = append(line, el.Value.(*admission))
	}
	return line
}

// lendIdle tells a, if it still waits, to use an idle session of its pool.
func (c *Capacity) lendIdle(a *admission) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.place == nil {
		return false
	}
	c.leave(a)
	a.given <- driverfactory.ErrAskAgain
	return true
}

// reclaimFor has idle sessions closed whose room a could use, and reports whether there were any.
func (c *Capacity) reclaimFor(a *admission) bool {
	c.mu.Lock()
	if a.place == nil {
		c.mu.Unlock()
		return false
	}
	var full *bound // nil: it is the process that is full
	for _, b := range a.bounds {
		if !c.room(b) {
			full = b // the person's rather than the source's, if both are: it is of the source, too
		}
	}
	noUse := full != nil && full.open != c.caps.Allowed(full.key, full.limit) // one less makes no room
	if full == nil && c.open < c.max {
		c.give() // there is room by now
		noUse = true
	}
	c.mu.Unlock()
	switch {
	case noUse:
		return false
	case full == nil:
		return c.keep.steal(func(driverfactory.PoolKey) bool { return true })
	}
	return c.steal(full.key)
}

// steal has idle sessions closed that k is a cap of, and reports whether there were any.
func (c *Capacity) steal(k caps.Key) bool {
	return c.keep.steal(func(pool driverfactory.PoolKey) bool { return slices.Contains(capsOf(pool), k) })
}

// Count implements caps.Part: of the caps on sessions. One that rests is used, and not wanted; which do is as of a moment before.
// Who waits for a session of their own does not wait for the source.
func (c *Capacity) Count(use func([]caps.Count)) {
	resting := c.keep.atRest()
	c.mu.Lock()
	defer c.mu.Unlock()
	wants := make(map[*bound]int, len(c.bounds))
	for _, b := range c.bounds {
		wants[b] = b.open
	}
	for pool, n := range resting {
		for _, k := range capsOf(pool) {
			if b := c.bounds[k]; b != nil {
				wants[b] -= n
			}
		}
	}
	ready := map[*bound]int{} // of who waits, for whom there is room of their own
	for _, a := range c.line() {
		source, own := a.bounds[0], a.bounds[len(a.bounds)-1]
		wants[own]++
		if own != source && own.open+ready[own] < c.caps.Allowed(own.key, own.limit) {
			ready[own]++
			wants[source]++
		}
	}
	all := make([]caps.Count, 0, len(c.bounds))
	for _, b := range c.bounds {
		all = append(all, caps.Count{Key: b.key, Cap: b.limit, Uses: b.open, Wants: max(wants[b], 0)})
	}
	use(all)
}

// Resume implements caps.Part: who waits has what is given now, and idle sessions whose room is owed to another replica are closed.
func (c *Capacity) Resume() {
	c.mu.Lock()
	c.give()
	owed := map[caps.Key]int{}
	for _, b := range c.bounds {
		if n := c.caps.Owed(b.key, b.limit, b.open); n > 0 {
			owed[b.key] = n
		}
	}
	line := c.line()
	c.mu.Unlock()
	for k, n := range owed {
		for n > 0 && c.steal(k) {
			n--
		}
	}
	for _, a := range line {
		c.reclaimFor(a)
	}
}

// Open returns how many sessions are open, and how many callers wait for one.
func (c *Capacity) Open() (open, waiting int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open, c.waiting.Len()
}
