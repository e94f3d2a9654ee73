package orchestrator

import (
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
}

// Stats returns the present figures. It looks at every orchestrator and pool: it is for a page that is asked for now and
// then.
func (o *Orchestrators) Stats() Stats {
	var s Stats
	o.mu.Lock()
	for _, one := range o.open.Values() {
		switch {
		case one.flights > 0:
			s.Orchestrators.Busy++
		case len(one.pools) > 0:
			s.Orchestrators.Warm++
		default:
			s.Orchestrators.Cold++
		}
	}
	s.Orchestrators.Draining = len(o.draining)
	s.Pools.Open, s.Pools.Idle = len(o.pools), o.idle.Len()
	for el := o.idle.Front(); el != nil; el = el.Next() {
		_, idle := el.Value.(*pool).driver.Stats()
		s.Sessions.Idle += idle
	}
	for k, sched := range o.lines {
		at := SourceStats{Domain: k.domain, Name: k.name, Running: sched.running}
		for _, l := range sched.lines {
			at.Queued += l.waiting[interactive].Len() + l.waiting[background].Len()
		}
		s.Running += at.Running
		s.Sources = append(s.Sources, at)
	}
	s.Queued, s.Renewals, s.Builds, s.Kept, s.KeptSize = o.queued, len(o.renewals), len(o.builds), len(o.ready), o.kept
	o.mu.Unlock()
	s.Sessions.Open, s.Sessions.Waiting = o.capacity.Open()
	s.Cache = o.cache.Stats()
	if o.cfg.Shared != nil {
		s.Shared = o.cfg.Shared.Stats()
	}
	return s
}
