package sharedcache

import (
	"context"
	"sync"
	"time"

	"github.com/behalf-project/behalf/internal/resultcache"
)

// Load is a statement that a replica is about to run: by itself, or by waiting for another that runs it. End or Put ends it,
// in any case.
type Load struct {
	Mine bool // this replica is the loader; false: another one is, or everybody runs it for themselves

	cache  *Cache
	key    Key
	place  place
	name   string // of its lease: nobody waits for a result of other values
	values resultcache.Values
	in     generations // that were there before the statement
	lease  []byte      // of this replica
	other  []byte      // lease of the loader that Follow waits for; nil when there is none

	ended sync.Once
	stop  context.CancelFunc
	beats sync.WaitGroup
}

// alone in place of a lease says that nobody waits for anybody: the result is too large to be put.
var alone = []byte("alone")

// aloneLife is how long a result counts as too large that was.
const aloneLife = 10 * time.Minute

// Polls of who follows: the first soon after, then less often the longer it takes.
const (
	firstPoll = 5 * time.Millisecond
	lastPoll  = 100 * time.Millisecond
)

// Begin says that the statement of k is to be run, for refresh keys whose answers are values and under a credential that was
// chosen before. It returns nil when the Store does not answer. A load that is Mine is renewed until ctx is done or it has ended.
func (c *Cache) Begin(ctx context.Context, k Key, values resultcache.Values) *Load {
	p, ok := c.place(k)
	if !ok {
		return nil
	}
	g, ok := c.begin(ctx, p)
	if !ok {
		return nil
	}
	l := &Load{cache: c, key: k, place: p, name: p.lease(values), values: values, in: g, lease: random()}
	there := l.take(ctx)
	if !l.Mine && len(there) == generationSize {
		l.other = there
	}
	return l
}

// take takes the lease unless somebody has it, and returns whose it is then.
func (l *Load) take(ctx context.Context) (there []byte) {
	c := l.cache
	if !c.call(ctx, func(ctx context.Context) (err error) {
		there, err = c.cfg.Store.Add(ctx, l.name, l.lease, c.cfg.Lease)
		return err
	}) || !same(there, l.lease) {
		return there
	}
	l.Mine = true
	ctx, l.stop = context.WithCancel(ctx)
	l.beats.Go(func() { l.renew(ctx) })
	return there
}

// renew keeps the lease. When it was lost the statement goes on all the same: it is then run twice.
func (l *Load) renew(ctx context.Context) {
	c := l.cache
	tick := time.NewTicker(max(c.cfg.Lease/3, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		kept := true
		c.call(ctx, func(ctx context.Context) (err error) {
			kept, err = c.cfg.Store.Extend(ctx, l.name, l.lease, c.cfg.Lease)
			return err
		})
		if !kept {
			return
		}
	}
}

// Follow waits for the result of the replica that runs the statement. It returns false, and this replica runs it, when that one has
// ended without a result, when the Store does not answer, and after patience; and at once when there is nobody to wait for. ctx is
// that of Begin: when it is done, nobody runs anything.
func (l *Load) Follow(ctx context.Context, patience time.Duration) (Result, bool) {
	c := l.cache
	over := time.NewTimer(patience)
	defer over.Stop()
	for wait := firstPoll; l.other != nil; wait = min(wait+wait/4, lastPoll) {
		select {
		case <-ctx.Done():
			return Result{}, false
		case <-over.C:
			return Result{}, false
		case <-time.After(wait):
		}
		var got [][]byte
		if !c.usable(l.place.owner) || !c.call(ctx, func(ctx context.Context) (err error) {
			got, err = c.get(ctx, l.name)
			return err
		}) {
			break
		}
		if same(got[0], l.other) {
			continue
		}
		// The value of a loader is there before its lease is given back.
		if v, ok := c.read(ctx, l.place); ok && same(v.by, l.other) {
			return v.Result, true
		}
		l.take(ctx) // so that who comes now waits for us; who waited with us does not, but runs it now
		break
	}
	l.other = nil
	return Result{}, false
}

// Put gives r, whose Values are those of l, to all replicas and ends l. ctx is one that outlives the statement.
func (l *Load) Put(ctx context.Context, r Result) {
	defer l.End(ctx)
	c := l.cache
	r.Values = l.values
	if r.Rows.Size() > c.cfg.MaxBytes {
		l.leaveAlone(ctx)
		return
	}
	if !c.usable(l.place.owner) || !c.sit() {
		return
	}
	defer c.rise()
	sealed, err := l.place.seal(l.in, value{Result: r, by: l.lease, end: c.cfg.Now().Add(c.cfg.TTL)})
	if err != nil {
		return
	}
	put := false
	c.call(ctx, func(ctx context.Context) (err error) {
		// The generations live longer than what is of them.
		for name, generation := range map[string][]byte{everybodys: l.in.everybodys, l.place.generation: l.in.owners} {
			if there, err := c.cfg.Store.Extend(ctx, name, generation, 2*c.cfg.TTL); err != nil || !there {
				return err // without it nobody can read the value
			}
		}
		err = c.cfg.Store.Set(ctx, l.place.value, sealed, c.cfg.TTL)
		put = err == nil
		if put && r.Role != "" {
			err = c.hold(ctx, Key{Key: l.key.OfRole(r.Role), Source: l.key.Source}, l.key.Scope, l.in.everybodys)
		}
		return err
	})
	if put {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.stats.Puts++
	}
}

// leaveAlone says that nobody needs to wait for a result that is too large to be put.
func (l *Load) leaveAlone(ctx context.Context) {
	l.letGo()
	c := l.cache
	c.call(ctx, func(ctx context.Context) error { return c.cfg.Store.Set(ctx, l.name, alone, aloneLife) })
}

// End ends l without a result, or after it. It may be called again; nil has nothing to end.
func (l *Load) End(ctx context.Context) {
	if l == nil {
		return
	}
	l.ended.Do(func() {
		l.letGo()
		if c := l.cache; l.Mine {
			c.call(ctx, func(ctx context.Context) error { return c.cfg.Store.Remove(ctx, l.name, l.lease) })
		}
	})
}

// letGo renews the lease no more.
func (l *Load) letGo() {
	if l.stop != nil {
		l.stop()
		l.beats.Wait()
	}
}
