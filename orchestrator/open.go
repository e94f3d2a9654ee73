package orchestrator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
)

// OpenState is what an orchestrator is doing.
type OpenState string

// The states.
const (
	Cold     OpenState = "cold"     // it has no pool
	Warm     OpenState = "warm"     // it has a pool that no statement uses
	Busy     OpenState = "busy"     // a statement waits or runs
	Draining OpenState = "draining" // the same, and it is forgotten when that has ended
)

// Open is an orchestrator that this process has open.
type Open struct {
	ID       string // orc_…: a hash of Name, which may hold anything
	Name     string // what Config.ID returned
	Username string // of who used it last
	People   []driverfactory.Principal
	Crowded  bool // there are more than People names
	State    OpenState

	SessionsOpen, SessionsIdle int // of its people's own pools; those of the service account are nobody's
	Waiting, Running           int
	Results                    int // of its people, in the cache
	ResultBytes                int64
	UsedAt                     time.Time
}

// openID is the id of the orchestrator that is called name.
func openID(name string) string {
	sum := sha256.Sum256([]byte(name))
	return "orc_" + hex.EncodeToString(sum[:12])
}

// List returns the open orchestrators in the order of their names, after the one that is called after: at most limit of them
// (default 200, and never more). next is where the next page begins, empty after the last one.
func (o *Orchestrators) List(after string, limit int) (list []Open, next string) {
	names := slices.DeleteFunc(o.names(), func(name string) bool { return name <= after })
	slices.Sort(names)
	names, next = page(names, limit, func(name string) string { return name })

	o.mu.Lock()
	type under struct{ waiting, running int }
	statements := map[*orchestrator]under{}
	for _, f := range o.queries {
		u := statements[f.home]
		if f.place != nil {
			u.waiting++
		} else {
			u.running++
		}
		statements[f.home] = u
	}
	for _, name := range names {
		one, draining := o.named(name)
		if one == nil {
			continue // closed meanwhile
		}
		u := statements[one]
		v := Open{
			Name: name, Username: one.username, People: slices.Clone(one.people), Crowded: one.crowded, State: Cold,
			Waiting: u.waiting, Running: u.running, UsedAt: one.used,
		}
		switch {
		case draining:
			v.State = Draining
		case one.flights > 0:
			v.State = Busy
		case len(one.pools) > 0:
			v.State = Warm
		}
		for p := range one.pools {
			if p.isOpen.Load() {
				open, idle := p.driver.Stats()
				v.SessionsOpen += open
				v.SessionsIdle += idle
			}
		}
		list = append(list, v)
	}
	o.mu.Unlock()
	for i := range list {
		v := &list[i]
		v.ID = openID(v.Name)
		for _, p := range v.People {
			n, bytes := o.cache.Of(p.Key())
			v.Results += n
			v.ResultBytes += bytes
		}
	}
	return list, next
}

// names returns those of all orchestrators.
func (o *Orchestrators) names() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	names := o.open.Keys()
	for name := range o.draining {
		names = append(names, name)
	}
	return names
}

// named returns the orchestrator that is called name, or nil, and whether it is draining. It does not count as a use.
func (o *Orchestrators) named(name string) (one *orchestrator, draining bool) {
	if one, ok := o.open.Peek(name); ok {
		return one, false
	}
	one = o.draining[name]
	return one, one != nil
}

// find calls do with the orchestrator with this id, under mu, or fails with fault.NotFound.
func (o *Orchestrators) find(id string, do func(*orchestrator) error) error {
	names := o.names()
	i := slices.IndexFunc(names, func(name string) bool { return openID(name) == id })
	o.mu.Lock()
	defer o.mu.Unlock()
	if i >= 0 {
		if one, _ := o.named(names[i]); one != nil {
			return do(one)
		}
	}
	return fault.New(fault.NotFound, "There is no open orchestrator with this id.")
}

// Drained is what Drain did.
type Drained struct {
	Name   string
	Closed int // pools
	Under  int // statements that wait or run: with the last of them the rest is closed
}

// Drain closes the idle pools of an orchestrator and forgets it, once its statements have ended. It refuses nobody: the next
// request opens it again. It is fault.NotFound where none is open with this id.
func (o *Orchestrators) Drain(id string) (d Drained, err error) {
	err = o.find(id, func(one *orchestrator) error {
		d.Name, d.Under = one.id, one.flights
		before := len(one.pools)
		o.closeOrchestrator(one)
		d.Closed = before - len(one.pools)
		if o.open.Remove(one.id) { // which calls evicted
			o.cfg.Observer.Evicted(WhenDrained)
		}
		return nil
	})
	return d, err
}

// Flushed is what Flush did.
type Flushed struct {
	Name    string
	Results int // dropped
	Rollups int // dropped, with all their tables
}

// Flush drops the results and rollups of the people of an orchestrator: the next answer comes from the source. What the
// service account fetched is everybody's, and stays. It is fault.NotFound where none is open with this id, and
// fault.Conflict where so many people share it that they are not all known.
func (o *Orchestrators) Flush(ctx context.Context, id string) (d Flushed, err error) {
	var people []driverfactory.Principal
	theirs := func(key driverfactory.PoolKey) bool { return !key.Service && slices.Contains(people, key.Principal) }
	err = o.find(id, func(one *orchestrator) error {
		d.Name = one.id
		if one.crowded {
			return &fault.Error{
				Kind: fault.Conflict, Code: "too_many_people", Owner: fault.Admin,
				Detail: "More than " + count(maxPeople, "person shares", "people share") + " this orchestrator, so whose results to drop is not known. Restart the server to drop everybody's.",
			}
		}
		people = slices.Clone(one.people)
		return nil
	})
	if err != nil {
		return d, err
	}
	// Before it is forgotten that tables in their sources are there: nobody is to find them again in between. And outside the lock,
	// as in announce.
	if d.Rollups, err = o.release(ctx, people); err != nil {
		return d, err
	}
	o.mu.Lock()
	for _, p := range people {
		d.Results += o.cache.Purge(p.Key(), theirs)
	}
	for _, r := range o.rollups.Keys() {
		if theirs(r.Scope) {
			o.rollups.Remove(r)
		}
	}
	o.mu.Unlock()
	if o.cfg.PreAggregations == nil {
		return d, nil
	}
	d.Rollups += len(o.cfg.PreAggregations.IDs(theirs))
	return d, o.cfg.PreAggregations.Drop(theirs)
}
