package orchestrator

import (
	"context"
	"errors"
	"time"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/resultcache"
	"github.com/behalf-project/behalf/internal/sharedcache"
)

// What other replicas fetched is looked for twice: before a request waits, and when its statement has its turn. What is found is
// from then on like what was fetched here.

// shares reports whether a's result is one for all replicas: the rows of rollups are read here, what is fetched for one is no
// result, and each replica asks its own sessions for their role, and believes them by its own clock.
func (o *Orchestrators) shares(a *asked) bool {
	return o.cfg.Shared != nil && a.reading == nil && a.into == nil && a.kind != ForRole
}

// shared names what is at the place k of a's source for all replicas.
func (a *asked) shared(k resultcache.Key) sharedcache.Key {
	return sharedcache.Key{Key: k, Source: a.Source.Digest()}
}

// newest returns what is in the cache for a, or else at another replica, fresh or not.
func (o *Orchestrators) newest(ctx context.Context, a *asked) (*resultcache.Entry, bool) {
	e, ok := o.cache.Get(o.place(a.key))
	if !ok && o.recall(ctx, a) {
		e, ok = o.cache.Get(o.place(a.key))
	}
	return e, ok
}

// found returns what is in the cache for a, or else at another replica, if it is fresh.
func (o *Orchestrators) found(ctx context.Context, a *asked) *resultcache.Entry {
	if e := o.good(a); e != nil || !o.recall(ctx, a) {
		return e
	}
	return o.good(a)
}

// recall looks for a result of a that another replica fetched, and reports whether the cache has it now.
func (o *Orchestrators) recall(ctx context.Context, a *asked) bool {
	if !o.shares(a) {
		return false
	}
	k := o.place(a.key)
	r, ok := o.cfg.Shared.Get(ctx, a.shared(k))
	if !ok {
		return false
	}
	entry, err := o.entryOf(a.key.Key, r)
	if err != nil {
		return false // no memory: the statement will say so
	}
	entry.Role = k.Role
	defer entry.Release()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.news.voids(r.By, a.seq) {
		return false // it came in the moment in which the others were purged
	}
	if e, ok := o.cache.Get(k); ok && !e.RanAt.Before(entry.RanAt) {
		return false
	}
	return o.cache.Put(k, entry)
}

// entryOf returns r as an entry of k. Whoever calls it holds the entry.
func (o *Orchestrators) entryOf(k resultcache.Key, r sharedcache.Result) (*resultcache.Entry, error) {
	draft := o.cache.Draft(k, r.Columns, o.cfg.MaxResultBytes)
	defer draft.Discard()
	if err := draft.Adopt(r.Rows); err != nil {
		return nil, err
	}
	e := draft.Entry(r.RanAt)
	e.Values, e.By, e.Role = r.Values, r.By, r.Role
	return e, nil
}

// elsewhere reports whether f has ended with what another replica fetched. Else it is to be run, and one replica at a time does: the others
// wait here for its result, for half of the time that f has, and then run it under the credential that they have by then.
func (o *Orchestrators) elsewhere(ctx context.Context, f *flight) (ended bool) {
	if f.shared == nil {
		return false
	}
	f.load = o.cfg.Shared.Begin(ctx, *f.shared, f.key.values)
	if f.load == nil || f.anew {
		return false
	}
	// Somebody may have fetched it while f waited for its turn.
	if r, ok := o.cfg.Shared.Get(ctx, *f.shared); ok && o.adopt(f, r, false) {
		return true
	}
	if f.load.Mine {
		return false
	}
	end, _ := ctx.Deadline()
	r, ok := f.load.Follow(ctx, time.Until(end)/2)
	return ok && o.adopt(f, r, true)
}

// adopt ends f with r, and reports whether it did. Whoever waits for f may have joined it at any moment: what was there before f is
// for them when it is fresh for each, what another replica was fetching meanwhile is as if it had been fetched here.
func (o *Orchestrators) adopt(f *flight, r sharedcache.Result, meanwhile bool) bool {
	if r.Values != f.key.values {
		return false
	}
	entry, err := o.entryOf(f.key.Key, r)
	if err != nil {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !meanwhile && (o.cfg.Now().Sub(r.RanAt) >= f.freshFor || r.RanAt.Before(f.freshSince)) {
		entry.Release()
		return false
	}
	f.adopted = true
	entry.By = f.choice.Key // it was found under the name of no other credential
	o.finish(f, entry, nil)
	return true
}

// wantedBy notes how fresh a wants the result of f.
func (f *flight) wantedBy(a *asked) {
	if a.Cache == NoCache {
		f.freshFor = 0
	}
	f.freshFor = min(f.freshFor, a.FreshFor)
	if a.FreshSince.After(f.freshSince) {
		f.freshSince = a.FreshSince
	}
}

// share gives what f ended with to all replicas: f is over here, and nobody waits for it any more.
func (o *Orchestrators) share(ctx context.Context, f *flight, entry *resultcache.Entry, err error, superseded bool) {
	if f.load == nil {
		return
	}
	ctx = context.WithoutCancel(ctx) // which ended with f; what is done here has its own end
	switch {
	case entry != nil && !superseded:
		f.load.Put(ctx, sharedcache.Result{Columns: entry.Columns, Rows: entry.Rows, RanAt: entry.RanAt, Role: entry.Role})
	case failed(err):
		for _, k := range o.places(f.key) {
			o.cfg.Shared.Delete(ctx, sharedcache.Key{Key: k, Source: f.shared.Source})
		}
	}
	f.load.End(ctx)
}

// failed reports whether err is the failure of a statement that was sent: nothing older is served after it.
func failed(err error) bool {
	return err != nil && !errors.Is(err, fault.Canceled) && !errors.Is(err, fault.Conflict) && codeOf(err) != "data_source_down"
}
