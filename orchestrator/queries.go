package orchestrator

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
)

// Viewer is on whose behalf somebody looks at what goes on. The zero Viewer sees nothing.
type Viewer struct {
	Principal driverfactory.Principal // what is theirs
	All       bool                    // everybody's: for who runs the server
}

// Kind is what a statement is for.
type Kind string

// The kinds.
const (
	ForAnswer     Kind = "statement"
	ForRefreshKey Kind = "refresh_key"
	ForRole       Kind = "role"         // what role the person has at the source
	FromRollup    Kind = "rollup_read"  // an answer too
	ForRollup     Kind = "rollup_build" // with the questions about its partitions
)

// Stage is how far a statement is.
type Stage string

// The stages.
const (
	QueryWaiting  Stage = "waiting"
	QueryRunning  Stage = "running"
	QueryStopping Stage = "stopping" // nobody waits for it any more, and its driver has not let go yet
)

// Query is a statement on its way.
type Query struct {
	ID        string // qry_…
	Principal driverfactory.Principal
	Username  string // what they were called in the request
	RequestID string // of the request that began it

	Domain, Source string
	Kind           Kind
	Of             string // whose refresh key, or which rollup
	Statement      string // its text, as a hash

	Identity driverfactory.Identity // it runs under
	Account  string                 // name of the service account, when it is that

	Stage  Stage
	Place  int       // in line, from 1, while it waits
	Asked  time.Time // when it began to wait
	Since  time.Time // when its stage began
	Askers int       // interactions that wait for it; none for what is done ahead
}

// seenBy reports whether v sees f, and whether it is theirs altogether: it runs under their own credential, or everything is
// theirs. What the service account runs is seen by those who wait for it.
func (f *flight) seenBy(v Viewer) (seen, whole bool) {
	switch {
	case v.All:
		return true, true
	case v.Principal.Anonymous():
		return false, false
	case !f.key.Scope.Service:
		own := f.key.Scope.Principal == v.Principal
		return own, own
	}
	return len(f.waitsOf(v.Principal)) > 0, false
}

// waitsOf returns the waits of p for f.
func (f *flight) waitsOf(p driverfactory.Principal) (all []*waiting) {
	for a, w := range f.askers {
		if a.principal == p {
			all = append(all, w)
		}
	}
	return all
}

// query describes f to v, who sees it. Who waits for the same statement of the service account learns nothing of the others.
func (f *flight) query(v Viewer) Query {
	q := Query{
		ID: f.id, Domain: f.source.Domain, Source: f.source.Name, Kind: f.kind, Of: f.of, Identity: f.choice.RunAs.Identity,
		Account: f.choice.RunAs.Account, Stage: QueryRunning, Since: f.began,
	}
	if q.Kind == "" {
		q.Kind = ForAnswer
	}
	switch {
	case f.place != nil:
		q.Stage, q.Place = QueryWaiting, f.sched.ahead(f)+1
	case f.over:
		q.Stage = QueryStopping
	}
	if _, whole := f.seenBy(v); whole {
		q.Principal, q.Username, q.RequestID, q.Asked, q.Askers = f.line.who, f.asUser, f.reqID, f.asked, len(f.askers)
		return q
	}
	own := f.waitsOf(v.Principal)
	q.Principal, q.Askers = v.Principal, len(own)
	for _, w := range own {
		q.RequestID = max(q.RequestID, w.asker.interaction)
	}
	return q
}

// maxPage is the most that a list here returns at once.
const maxPage = 200

// Queries returns what v sees of the statements that wait or run in this process, those that were asked first first, after
// the one with the id after: at most limit of them (default 200, and never more). next is where the next page begins, empty after
// the last one.
func (o *Orchestrators) Queries(v Viewer, after string, limit int) (list []Query, next string) {
	var seen []*flight
	o.mu.Lock()
	for _, f := range o.queries {
		if ok, _ := f.seenBy(v); ok && f.id > after {
			seen = append(seen, f)
		}
	}
	o.mu.Unlock()
	slices.SortFunc(seen, func(a, b *flight) int { return strings.Compare(a.id, b.id) })
	seen, next = page(seen, limit, func(f *flight) string { return f.id })

	list = make([]Query, 0, len(seen))
	texts := make([]*flight, 0, len(seen))
	o.mu.Lock()
	for _, f := range seen {
		if ok, _ := f.seenBy(v); ok && o.queries[f.id] == f { // or it has ended meanwhile
			list, texts = append(list, f.query(v)), append(texts, f)
		}
	}
	o.mu.Unlock()
	for i, f := range texts {
		list[i].Statement = f.hash() // of a text that may be long
	}
	return list, next
}

// page cuts all, which is sorted, to limit.
func page[T any](all []T, limit int, name func(T) string) (cut []T, next string) {
	orDefault(&limit, maxPage)
	limit = min(limit, maxPage)
	if len(all) <= limit {
		return all, ""
	}
	return all[:limit], name(all[limit-1])
}

// CanceledQuery is what CancelQuery did.
type CanceledQuery struct {
	Query     Query // as it was
	GoesOn    bool  // others wait for it too
	Confirmed bool  // its driver has let go
}

// letGo is how long CancelQuery waits for a driver.
const letGo = 5 * time.Second

// CancelQuery stops a statement: one under v's own credential, or any where v sees everything. Of one that the service
// account runs, v no longer waits for it; it ends with the last who does. It returns when the driver has let go of the
// statement, after 5 s, or when ctx ends; Confirmed says which. It is fault.NotFound where v sees no statement with this id.
func (o *Orchestrators) CancelQuery(ctx context.Context, id string, v Viewer) (CanceledQuery, error) {
	o.mu.Lock()
	f := o.queries[id]
	if f == nil {
		o.mu.Unlock()
		return CanceledQuery{}, noSuchQuery()
	}
	seen, whole := f.seenBy(v)
	if !seen {
		o.mu.Unlock()
		return CanceledQuery{}, noSuchQuery()
	}
	c := CanceledQuery{Query: f.query(v)}
	switch {
	case f.over:
	case whole:
		o.cut(f, wasCancelled())
	default:
		for _, w := range f.waitsOf(v.Principal) {
			if !f.over {
				o.withdraw(f, w)
			}
		}
		c.GoesOn = !f.over
	}
	c.Confirmed = o.queries[id] != f
	if !c.Confirmed && f.ended == nil {
		f.ended = make(chan struct{})
	}
	ended := f.ended
	o.mu.Unlock()
	c.Query.Statement = f.hash()
	if c.GoesOn || c.Confirmed {
		return c, nil
	}
	timer := time.NewTimer(letGo)
	defer timer.Stop()
	select {
	case <-ended:
		c.Confirmed = true
	case <-timer.C:
	case <-ctx.Done():
	}
	return c, nil
}

func noSuchQuery() error {
	return fault.New(fault.NotFound, "There is no query with this id, or it has ended.")
}
