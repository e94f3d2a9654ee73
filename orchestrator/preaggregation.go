package orchestrator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"runtime"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/resultcache"
)

// Bounds of the work on rollups.
const (
	maxRollups  = 10_000 // of which anything is remembered
	maxBuilds   = 8      // at a time, in the whole process; of one credential, one
	maxPosted   = 100    // builds of one credential that wait for theirs
	enoughUses  = 2      // before a rollup is built
	firstRetry  = time.Minute
	latestRetry = 10 * time.Minute
	unfitRetry  = 24 * time.Hour
)

// knownRollup is what is remembered of one rollup under one credential.
type knownRollup struct {
	name string
	uses int       // requests that it could have answered
	err  error     // of the latest build
	next time.Time // before which it is not tried again after a failure
	wait time.Duration

	noted, since time.Time // RollupUse.At and .Since of the last one

	asked    time.Time // when the source said what follows; zero: never
	from, to time.Time // the bounds of its partitions
	key      string    // what its refresh key was answered, as a hash

	tables  map[string]SourceTable // in its source, by partition; never changed, but replaced
	listed  time.Time              // when the store was asked for those
	doubted bool                   // they may be gone
	read    time.Time              // when it was noted that they are
}

// reading is a look into tables of rollups, in place of a statement at the source.
type reading []RollupPart

// fetchedAt returns when the oldest of the rows were fetched.
func (r reading) fetchedAt() (oldest time.Time) {
	for _, part := range r {
		for _, t := range part.Tables {
			if oldest.IsZero() || t.BuiltAt.Before(oldest) {
				oldest = t.BuiltAt
			}
		}
	}
	return oldest
}

// readers is whose slots those looks take: the processor's, and no source's.
var readers = driverfactory.Source{
	Name:   "pre-aggregations",
	Limits: driverfactory.Limits{Concurrency: 2 * runtime.GOMAXPROCS(0), PerUserConcurrency: 2, PerUserQueue: 100},
}

// errNotPreAggregated is Cube's error where no query goes to its source.
var errNotPreAggregated = &fault.Error{
	Kind: fault.Invalid, Code: "not_preaggregated", Owner: fault.Admin,
	Detail: "No pre-aggregation table has been built for this query yet. Please check your refresh worker configuration if it persists.",
}

// preAggregated answers a from the rollup of its request, where all is there that it needs, and sees to it that what is missing
// or out of date is fetched, behind. ok is false where the source has to answer.
func (o *Orchestrators) preAggregated(ctx context.Context, a *asked) (res *Result, ok bool, err error) {
	if a.Rollup == nil || !o.keeps(a.Rollup) {
		return nil, false, nil
	}
	own, err := o.owning(ctx, a)
	if err != nil {
		o.log.Warn("rollup not read", zap.String("rollup", a.Rollup.Name), why(err))
		return nil, false, nil
	}
	parts := o.parts(ctx, own, a.Rollup)
	rest, ready := a.Rollup.find(parts, o.cfg.Now())
	o.build(ctx, own, parts)
	for _, p := range parts {
		if p.known.uses >= enoughUses {
			o.inUse(ctx, own, p.Rollup, p.id, p.known)
		}
	}
	exact := a.Cache == MustRevalidate || a.Cache == NoCache
	// Old rows are served while new ones come. Where none came the source answers, as after the failure of a result: what it
	// refuses this credential by now is not given away here.
	if !ready || rest != nil && (o.cfg.RollupOnly || a.Rollup.InSource != nil) || slices.ContainsFunc(parts, func(p part) bool { return p.due && (exact || p.known.err != nil) }) {
		return nil, false, nil
	}
	lent := own.choice.Key != a.choice.Key
	if lent {
		if err := o.told(ctx, own); err != nil {
			o.log.Warn("rollup not read", zap.String("rollup", a.Rollup.Name), why(err))
			return nil, false, nil
		}
	}
	res, err = o.readParts(ctx, own, a.Rollup, parts, rest)
	if err == nil && lent {
		// News of the caller ends nothing of the service account's: who may not use the source any more is refused here.
		if err = o.still(ctx, a); err != nil {
			res.Close()
		}
	}
	if err == nil {
		res.Rollup, res.Rollups = a.Rollup.Name, used(parts)
		return res, true, nil
	}
	if _, slow := errors.AsType[*ContinueWait](err); slow || !ofRollups(err) && slices.Contains(callers, fault.KindOf(err)) {
		return nil, true, err
	}
	// What a rollup cannot answer, for whatever reason, the source can, under the same credential.
	o.log.Warn("rollup not read", zap.String("rollup", a.Rollup.Name), why(err))
	if refused(err) {
		o.doubt(parts)
	}
	return nil, false, nil
}

// readParts answers from the tables of parts, and from the rest that the source has.
func (o *Orchestrators) readParts(ctx context.Context, own *asked, r *Rollup, parts []part, rest *Span) (*Result, error) {
	if rest != nil {
		after, err := o.rest(ctx, own, parts[len(parts)-1], *rest)
		if err != nil {
			return nil, err
		}
		parts = append(slices.Clip(parts), after)
	}
	look := *own
	if r.InSource == nil {
		if err := look.read(r, parts); err != nil {
			return nil, err
		}
		return o.answer(ctx, &look)
	}
	oldest, err := look.readThere(r, parts)
	if err != nil {
		return nil, err
	}
	res, err := o.answer(ctx, &look)
	if err != nil {
		return nil, err
	}
	if oldest.Before(res.RefreshedAt) {
		res.RefreshedAt = oldest
	}
	o.noteUse(ctx, parts)
	return res, nil
}

// restFor is how long rows that nobody's refresh key is asked about stand for those of the source.
const restFor = 10 * time.Second

// rest returns the rows of the source that come after those of a rollup, grouped as it is: fetched now, unless that was done so lately
// that a result of the source would be served. They are kept apart from those of the rollup, and are of the same credential.
func (o *Orchestrators) rest(ctx context.Context, own *asked, last part, s Span) (part, error) {
	p := part{Rollup: last.Rollup, id: RollupID{last.id.Scope, sha256.Sum256(append([]byte("rest\x00"), last.id.Structure[:]...))}}
	goodFor := own.FreshFor
	if len(own.RefreshKeys) > 0 {
		goodFor = min(goodFor, restFor)
	}
	find := func() bool {
		t, ok := byPartition(o.cfg.PreAggregations.Tables(p.id))[s.Name]
		p.tables = []RollupTable{t}
		return ok
	}
	if own.Cache != NoCache && find() && o.cfg.Now().Sub(p.tables[0].BuiltAt) < goodFor && !p.tables[0].BuiltAt.Before(own.FreshSince) {
		return p, nil
	}
	rows, err := p.Build(s)
	if err != nil {
		return p, err
	}
	q, err := o.fetching(own, p.Rollup, p.id, s, "", rows)
	if err != nil {
		return p, err
	}
	q.kind, q.of = ForRollup, p.Name
	f, _, err := o.await(ctx, q)
	switch {
	case err != nil:
		return p, err
	case f.err != nil:
		return p, f.err
	case !find():
		return p, fault.New(fault.Gone, "What the source answered was dropped meanwhile.")
	}
	return p, o.still(ctx, own)
}

// why is what the log says of a failure. The words of a database may quote rows and arguments: they are for who asks.
func why(err error) zap.Field {
	if e, ok := errors.AsType[*fault.Error](err); ok && e.Owner == fault.Database {
		return zap.String("error", e.CodeOrKind())
	}
	return zap.Error(err)
}

// callers are the kinds of failures that are of who asks, and not of a rollup.
var callers = []fault.Kind{fault.Conflict, fault.Canceled, fault.TooMany, fault.ReauthorizationRequired}

// owning returns a as asked by who owns the rows of its rollup: its own credential, or the service account that fetches them for
// everybody. That is chosen once the caller's own was: who may not use the source does not see the rollup.
func (o *Orchestrators) owning(ctx context.Context, a *asked) (*asked, error) {
	own := *a
	own.Rollup = nil
	if !a.Rollup.Shared || a.choice.Key.Service {
		return &own, nil
	}
	own.Operation = driverfactory.Background
	choice, err := o.cfg.Drivers.Choose(ctx, a.sc, a.Source, own.Operation)
	if err != nil {
		return nil, err
	}
	choice.RunAs.Username, choice.RunAs.Reason = a.sc.Username, "shared_rollup"
	own.choice, own.chosen = choice, time.Now()
	return &own, check(choice, a.sc)
}

// read makes a a look into the tables of parts.
func (a *asked) read(r *Rollup, parts []part) error {
	// Another table of a partition is another statement: nothing that was kept of the old one is an answer to it.
	var (
		look    reading
		version driverfactory.Statement
	)
	for _, p := range parts {
		if len(p.tables) == 0 {
			continue
		}
		look = append(look, RollupPart{ID: p.id, Name: p.Table, Tables: p.tables})
		version.SQL += hex.EncodeToString(p.id.Structure[:])
		for _, t := range p.tables {
			version.Args = append(version.Args, t.Partition, t.BuiltAt.UnixNano())
		}
		version.Args = append(version.Args, p.Table)
	}
	key, err := resultcache.KeyOf(a.choice.Key, r.Read, version)
	a.key = flightKey{Key: key, maxRows: a.MaxRows}
	a.reading, a.kind, a.of = look, FromRollup, r.Name
	a.Statement, a.RefreshKeys, a.keys, a.FreshFor, a.FreshSince = r.Read, nil, nil, forever, time.Time{}
	return err
}

// used returns the rollups of parts that were read.
func used(parts []part) (all []UsedRollup) {
	for _, p := range parts {
		if len(p.tables) > 0 {
			u := UsedRollup{Name: p.Name, Type: p.Type, RefreshedAt: reading{{Tables: p.tables}}.fetchedAt()}
			if p.InSource != nil {
				u.Schema = p.InSource.Schema
			}
			all = append(all, u)
		}
	}
	return all
}

const forever = 1<<63 - 1

// used counts one more use of a rollup, and returns what is known of it.
func (o *Orchestrators) used(id RollupID, name string) knownRollup {
	o.mu.Lock()
	defer o.mu.Unlock()
	k, ok := o.rollups.Get(id)
	if !ok {
		k = &knownRollup{name: name}
		o.rollups.Add(id, k)
		if who := id.Scope.Principal.Key(); !id.Scope.Service {
			if o.rolled[who] == nil {
				o.rolled[who] = map[RollupID]struct{}{}
			}
			o.rolled[who][id] = struct{}{}
		}
	}
	k.uses++
	return *k
}

// unrolled is told that nothing is remembered of a rollup any more.
func (o *Orchestrators) unrolled(id RollupID, _ *knownRollup) {
	who := id.Scope.Principal.Key()
	delete(o.rolled[who], id)
	if len(o.rolled[who]) == 0 {
		delete(o.rolled, who)
	}
}
