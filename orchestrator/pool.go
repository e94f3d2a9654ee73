package orchestrator

import (
	"container/list"
	"sync"
	"sync/atomic"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
)

// pool is the driver of one credential: opened when a statement needs it, lent to statements, and closed when it was
// idle for long, when its sessions are needed elsewhere or when its credential has ended. There is one for a key.
// Fields below once are guarded by Orchestrators.mu.
type pool struct {
	key    driverfactory.PoolKey
	choice driverfactory.Choice
	limits driverfactory.Limits
	owner  string
	home   *orchestrator // nil for the service account, which belongs to nobody

	once   sync.Once
	driver driverfactory.Driver
	err    error
	isOpen atomic.Bool // driver is there; whoever got the pool from opened need not ask

	refs      int
	idleSince time.Time
	place     *list.Element // in Orchestrators.idle while refs is 0
	retired   bool          // lent no more
}

// lend returns the pool for f with one more reference, or fault.Conflict when its credential has ended meanwhile: from
// the moment Forget returns, no statement starts on the old one.
func (o *Orchestrators) lend(f *flight) (*pool, error) {
	o.mu.Lock()
	if f.superseded || f.over {
		o.mu.Unlock()
		return nil, errSuperseded
	}
	p := o.borrow(f.choice, f.source, f.home)
	o.mu.Unlock()
	return p, o.opened(p)
}

// borrow returns the pool for choice with one more reference. Its driver may not be open yet; see opened.
func (o *Orchestrators) borrow(choice driverfactory.Choice, src driverfactory.Source, home *orchestrator) *pool {
	p := o.pools[choice.Key]
	if p == nil {
		p = &pool{key: choice.Key, choice: choice, limits: src.Limits}
		if !p.key.Service {
			p.owner, p.home = p.key.Principal.Key(), home
			o.person(p.owner).pools[p] = struct{}{}
			if home.pools == nil {
				home.pools = map[*pool]struct{}{}
			}
			home.pools[p] = struct{}{}
		}
		o.pools[p.key] = p
	}
	p.refs++
	if p.place != nil {
		o.idle.Remove(p.place)
		p.place = nil
	}
	return p
}

// opened opens the driver of p if nobody did. On failure it gives p back.
func (o *Orchestrators) opened(p *pool) error {
	p.once.Do(func() {
		p.driver, p.err = o.cfg.Drivers.Open(p.choice)
		o.mu.Lock()
		defer o.mu.Unlock()
		p.isOpen.Store(p.err == nil)
		if p.retired {
			o.drain(p)
		}
	})
	if p.err != nil {
		o.discard(p)
		o.giveBack(p)
	}
	return p.err
}

// giveBack ends a loan.
func (o *Orchestrators) giveBack(p *pool) {
	o.mu.Lock()
	p.refs--
	if p.refs == 0 {
		if p.retired {
			o.closeLater(p)
		} else {
			p.idleSince = o.cfg.Now()
			p.place = o.idle.PushBack(p)
		}
	}
	o.mu.Unlock()
	if !p.isOpen.Load() {
		return
	}
	if _, idle := p.driver.Stats(); idle > 0 {
		o.capacity.reclaim(p.key) // outside mu: somebody may be waiting for the session that just became idle
	}
}

// discard retires a pool that turned out to be of no use.
func (o *Orchestrators) discard(p *pool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.retire(p)
}

// retire lends p no more, and closes it when the last statement on it has ended.
func (o *Orchestrators) retire(p *pool) {
	if p.retired {
		return
	}
	p.retired = true
	delete(o.pools, p.key)
	if p.home != nil {
		delete(p.home.pools, p)
		if len(p.home.pools) == 0 {
			p.home.pools = nil // an idle person keeps no empty map
		}
	}
	if i := o.people[p.owner]; i != nil {
		delete(i.pools, p)
		o.left(p.owner)
	}
	if p.refs > 0 {
		o.drain(p)
		return
	}
	if p.place != nil {
		o.idle.Remove(p.place)
		p.place = nil
	}
	o.closeLater(p)
}

// drain has the sessions of p closed that nobody uses, and from now on each as soon as nobody does: nobody else would find them. It
// is called under mu.
func (o *Orchestrators) drain(p *pool) {
	if !p.isOpen.Load() {
		return
	}
	if c, ok := p.driver.(driverfactory.IdleCloser); ok {
		o.spawn(c.Drain)
	}
}

// closeLater closes p outside the lock: closing a session may be a call to the database.
func (o *Orchestrators) closeLater(p *pool) {
	if !p.isOpen.Load() {
		return
	}
	o.spawn(func() { _ = p.driver.Close() }) // what it reports concerns nobody any more
}

// sweep closes pools that nobody used for IdleTimeout.
func (o *Orchestrators) sweep() {
	o.mu.Lock()
	defer o.mu.Unlock()
	before := o.cfg.Now().Add(-o.cfg.IdleTimeout)
	for el := o.idle.Front(); el != nil; el = o.idle.Front() {
		p := el.Value.(*pool)
		if p.idleSince.After(before) {
			return
		}
		o.retire(p)
	}
}

// steal closes the idle sessions of somebody, whoever it is, where match agrees to their pool: of the longest unused
// pool, else those beside a busy one. A busy session is never touched. It reports whether it found any.
func (o *Orchestrators) steal(match func(driverfactory.PoolKey) bool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for el := o.idle.Front(); el != nil; el = el.Next() {
		p := el.Value.(*pool)
		if !match(p.key) {
			continue
		}
		if _, idle := p.driver.Stats(); idle > 0 {
			o.retire(p)
			return true
		}
	}
	for _, p := range o.pools {
		if p.refs == 0 || !p.isOpen.Load() || !match(p.key) {
			continue
		}
		if c, ok := p.driver.(driverfactory.IdleCloser); ok {
			if _, idle := p.driver.Stats(); idle > 0 {
				o.spawn(func() { c.CloseIdle() })
				return true
			}
		}
	}
	return false
}

// limits returns those of the source of key.
func (o *Orchestrators) limits(key driverfactory.PoolKey) driverfactory.Limits {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s := o.lines[sourceKey{key.Domain, key.Source}]; s != nil {
		return s.source.Limits
	}
	if p := o.pools[key]; p != nil {
		return p.limits
	}
	return driverfactory.Limits{}
}

// atRest returns how many sessions nobody will need in the next moment, by their pools.
func (o *Orchestrators) atRest() map[driverfactory.PoolKey]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := map[driverfactory.PoolKey]int{}
	for el := o.idle.Front(); el != nil; el = el.Next() {
		p := el.Value.(*pool)
		if open, _ := p.driver.Stats(); open > 0 && !o.expected(p.key) {
			all[p.key] = open
		}
	}
	return all
}

// expected reports whether a statement that waits, or has just begun, may be one that needs a session of this pool.
func (o *Orchestrators) expected(pool driverfactory.PoolKey) bool {
	s := o.lines[sourceKey{pool.Domain, pool.Source}]
	if s == nil || pool.Service {
		return s != nil && !s.empty()
	}
	return s.lines[pool.Principal] != nil
}
