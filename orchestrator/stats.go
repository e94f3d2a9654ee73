package orchestrator

import (
	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/resultcache"
	"github.com/behalf-project/behalf/internal/sharedcache"
)

// Stats is a moment of the Orchestrators, for metrics and for judging what people cost.
type Stats struct {
	Orchestrators struct {
		Cold     int // open, with no pool
		Warm     int // with a pool that no statement uses
		Busy     int // with a statement waiting or running
		Draining int // evicted, with a statement waiting or running
	}
	Pools    struct{ Open, Idle int }          // open driver pools, and those among them that nobody uses
	Sessions struct{ Open, Idle, Waiting int } // open sessions, idle ones, and callers who wait for one
	Sources  []SourceStats
	Queued   int   // statements waiting, of all sources
	Running  int   // statements running, of all sources
	Renewals int   // of results whose refresh keys are asked behind an answer
	Builds   int   // of rollups
	Kept     int   // outcomes that were not fetched yet
	KeptSize int64 // bytes of those that the cache does not hold
	Cache    resultcache.Stats
	Shared   sharedcache.Stats // zero where there is none
}

// SourceStats is what goes on at one source. Sources where nothing does are left out.
type SourceStats struct {
	Domain, Name    string
	Queued, Running int
	Open, Idle      int // sessions of pools, and those among them that no statement uses
}

// Stats returns the present figures, for a page that is asked for now and then. It looks at every pool and statement, and at
// no orchestrator that has neither: ten thousand of those hold nobody up.
func (o *Orchestrators) Stats() Stats {
	var s Stats
	sources := map[sourceKey]*SourceStats{}
	at := func(k sourceKey) *SourceStats {
		if sources[k] == nil {
			sources[k] = &SourceStats{Domain: k.domain, Name: k.name}
		}
		return sources[k]
	}
	type opened struct {
		source sourceKey
		driver driverfactory.Driver
	}
	var drivers []opened

	o.mu.Lock()
	warm := map[*orchestrator]struct{}{}
	for key, p := range o.pools {
		if p.isOpen.Load() {
			drivers = append(drivers, opened{sourceKey{key.Domain, key.Source}, p.driver})
		}
		if one := p.home; one != nil && one.flights == 0 {
			if open, ok := o.open.Peek(one.id); ok && open == one {
				warm[one] = struct{}{}
			}
		}
	}
	busy := map[*orchestrator]struct{}{}
	for _, f := range o.queries {
		busy[f.home] = struct{}{}
	}
	s.Orchestrators.Draining = len(o.draining)
	s.Orchestrators.Busy = len(busy) - len(o.draining)
	s.Orchestrators.Warm = len(warm)
	s.Orchestrators.Cold = o.open.Len() - s.Orchestrators.Busy - len(warm)
	s.Pools.Open, s.Pools.Idle = len(o.pools), o.idle.Len()
	for k, sched := range o.lines {
		line := at(k)
		line.Running = sched.running
		for _, l := range sched.lines {
			line.Queued += l.waiting[interactive].Len() + l.waiting[background].Len()
		}
		s.Running += line.Running
	}
	s.Queued, s.Renewals, s.Builds, s.Kept, s.KeptSize = o.queued, len(o.renewals), len(o.builds), len(o.ready), o.kept
	o.mu.Unlock()

	for _, d := range drivers { // outside the lock: each has its own
		open, idle := d.driver.Stats()
		at(d.source).Open += open
		at(d.source).Idle += idle
		s.Sessions.Idle += idle
	}
	for _, one := range sources {
		s.Sources = append(s.Sources, *one)
	}
	s.Sessions.Open, s.Sessions.Waiting = o.capacity.Open()
	s.Cache = o.cache.Stats()
	if o.cfg.Shared != nil {
		s.Shared = o.cfg.Shared.Stats()
	}
	return s
}
