package orchestrator

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/resultcache"
)

// A rollup is built in the background of whose rows they are: the source is asked for the bounds of its partitions and for its refresh
// key, and then for each partition that is missing or out of date.

// builds are those of one credential: one after another.
type builds struct {
	now     RollupID
	waiting []*building
}

// building is a build that somebody asked for.
type building struct {
	ctx   context.Context
	a     *asked
	r     *Rollup
	id    RollupID
	query bool      // a query could have used it
	since time.Time // partitions that ended before it are not fetched unless they are there

	done chan struct{} // closed when it is over
	err  error         // why it failed; read it once it is over
}

// build fetches what is missing or out of date of parts, one after another, unless a build of their credential is under way, or it was
// tried in vain just now: the next request tries again.
func (o *Orchestrators) build(ctx context.Context, a *asked, parts []part) {
	now, enough := o.cfg.Now(), enoughUses
	if o.cfg.RollupOnly {
		enough = 1 // nothing else answers
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []*building
	for _, p := range parts {
		k, ok := o.rollups.Peek(p.id)
		if p.due && ok && (k.uses >= enough || len(p.stored) > 0) && !now.Before(k.next) {
			b := newBuilding(ctx, a, p.Rollup, p.id)
			b.query = true
			all = append(all, b)
		}
	}
	if len(all) > 0 && o.builds[a.choice.Key] == nil && !o.closing && len(o.builds) < maxBuilds {
		o.begins(all[0], all[1:]...)
	}
}

func newBuilding(ctx context.Context, a *asked, r *Rollup, id RollupID) *building {
	own := *a
	own.kind, own.of = ForRollup, r.Name
	// It ends with its statements, each of which has its time.
	return &building{ctx: context.WithoutCancel(ctx), a: &own, r: r, id: id, done: make(chan struct{})}
}

// begins runs b and then what waits for it. It is called under mu.
func (o *Orchestrators) begins(b *building, waiting ...*building) {
	under := &builds{now: b.id, waiting: waiting}
	o.builds[b.id.Scope] = under
	o.spawn(func() {
		for b := b; b != nil; {
			b.err = o.buildNow(b)
			now := o.cfg.Now()
			o.cfg.Observer.Built(b.err)
			o.mu.Lock()
			if k, ok := o.rollups.Peek(b.id); ok {
				k.tried(b.err, now)
			}
			close(b.done)
			if o.closing {
				for _, w := range under.waiting {
					w.err = shuttingDown()
					close(w.done)
				}
				under.waiting = nil
			}
			b = nil
			if len(under.waiting) > 0 {
				b, under.waiting = under.waiting[0], under.waiting[1:]
				under.now = b.id
			} else {
				delete(o.builds, under.now.Scope)
			}
			o.mu.Unlock()
		}
	})
}

// buildNow does the work of one build, and says how it went.
func (o *Orchestrators) buildNow(b *building) error {
	began := time.Now()
	built, err := o.fetchRollup(b)
	fields := []zap.Field{
		zap.String("rollup", b.r.Name), zap.String("identity", string(b.a.choice.RunAs.Identity)), zap.String("user_id", b.id.Scope.Principal.Subject),
		zap.Int("partitions", built), zap.Duration("took", time.Since(began)),
	}
	if err != nil {
		o.log.Warn("rollup not built", append(fields, why(err))...)
		return err
	}
	o.log.Info("rollup built", fields...)
	return nil
}

// Build has everything fetched that is missing or out of date of the rollup of req, for sc and under the credential that a query of
// sc would use, or the service account where the rollup is shared. It returns at once; Built says how it goes. It fails with the
// refusals of Choose and FellBack, and with fault.TooMany (too_many_builds) when too many of that credential wait.
func (o *Orchestrators) Build(ctx context.Context, sc driverfactory.SecurityContext, req Request) (RollupID, error) {
	b, err := o.building(ctx, sc, req, "")
	if err != nil {
		return RollupID{}, err
	}
	return b.id, o.post(b)
}

// building returns a build of the rollup of req. Where it is not the one whose Stored.ID is only, if that is not empty, it fails with
// fault.Gone, and nobody stands in for anybody.
func (o *Orchestrators) building(ctx context.Context, sc driverfactory.SecurityContext, req Request, only string) (*building, error) {
	req, err := req.withDefaults()
	if err != nil {
		return nil, err
	}
	switch {
	case req.Rollup == nil || len(req.Rollup.Parts) > 0:
		return nil, fault.New(fault.Invalid, "There is no rollup to build in the request.")
	case !o.keeps(req.Rollup):
		return nil, fault.New(fault.Unavailable, "This server keeps no pre-aggregations.")
	}
	a, err := o.choose(ctx, sc, req)
	if err != nil {
		return nil, err
	}
	own, err := o.owning(ctx, a)
	if err != nil {
		return nil, err
	}
	b := newBuilding(ctx, own, req.Rollup, req.Rollup.id(own))
	if only != "" && storedID(b.id) != only {
		return nil, &fault.Error{Kind: fault.Gone, Code: "rollup_replaced", Detail: "The rollup is another one by now."}
	}
	if fellBack(a.choice, req) {
		if err := o.told(ctx, a); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// post begins b, or has it wait for those of its credential.
func (o *Orchestrators) post(b *building) error {
	o.used(b.id, b.r.Name)
	o.mu.Lock()
	defer o.mu.Unlock()
	under := o.builds[b.id.Scope]
	switch {
	case o.closing:
		return shuttingDown()
	case o.news.voids(b.a.choice.Key, b.a.seq):
		return errSuperseded
	case under == nil && len(o.builds) >= maxBuilds, under != nil && len(under.waiting) >= maxPosted:
		return &fault.Error{
			Kind: fault.TooMany, Code: "too_many_builds", RetryAfter: time.Minute,
			Detail: "Too many pre-aggregations are being built. Post this one again in a minute.",
		}
	case under == nil:
		o.begins(b)
	default:
		under.waiting = append(under.waiting, b)
	}
	return nil
}

// BuildState is how far a build is.
type BuildState string

// The states.
const (
	BuildWaiting BuildState = "waiting"
	BuildRunning BuildState = "running"
	BuildDone    BuildState = "done"
	BuildFailed  BuildState = "failed" // with an error
	BuildUnknown BuildState = "unknown"
)

// Built returns the state of the latest build of a rollup, and why it failed.
func (o *Orchestrators) Built(id RollupID) (BuildState, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if under := o.builds[id.Scope]; under != nil {
		if under.now == id {
			return BuildRunning, nil
		}
		if slices.ContainsFunc(under.waiting, func(b *building) bool { return b.id == id }) {
			return BuildWaiting, nil
		}
	}
	switch k, ok := o.rollups.Peek(id); {
	case !ok:
		return BuildUnknown, nil
	case k.err != nil:
		return BuildFailed, k.err
	}
	return BuildDone, nil
}

// tried notes how an attempt to build ended: after a failure the next one waits, longer each time, and a day where the rows are what
// cannot be kept.
func (k *knownRollup) tried(err error, now time.Time) {
	if k.err = err; err == nil {
		k.wait, k.next = 0, time.Time{}
		return
	}
	k.wait = min(max(2*k.wait, firstRetry), latestRetry)
	// What was dropped meanwhile, and a disk that fails, say nothing of the rows.
	if ofRollups(err) && !errors.Is(err, fault.Gone) && !errors.Is(err, fault.Unavailable) {
		k.wait = unfitRetry
	}
	k.next = now.Add(k.wait)
}

// ofRollups reports whether err is about rows as they are kept, and not about who fetches or asks for them.
func ofRollups(err error) bool {
	e, ok := errors.AsType[*fault.Error](err)
	return ok && strings.HasPrefix(e.Code, "rollup")
}

// fetchRollup does the work of b, newest partitions first, and returns how many it fetched.
func (o *Orchestrators) fetchRollup(b *building) (built int, err error) {
	ctx, a, r, id := b.ctx, b.a, b.r, b.id
	defer func() {
		if v := recover(); v != nil { // a bug is one build's failure
			err = fmt.Errorf("the build panicked: %v", v)
		}
	}()
	k, err := o.askSource(ctx, a, r, id)
	if err != nil {
		return 0, err
	}
	// Who asks beyond the bounds is answered by the source. That is no failure of what lies within them.
	spans, err := r.spans(k)
	if err != nil && !errors.Is(err, errBounds) {
		return 0, err
	}
	if b.query {
		o.inUse(ctx, a, r, id, k)
	}
	if r.InSource != nil {
		defer o.tidy(b)
	}
	stored, err := o.present(b)
	if err != nil {
		return 0, err
	}
	var from map[string][]SourceTable // what it is built from
	for _, s := range slices.Backward(spans) {
		t, ok := stored[s.Name]
		if ok && !r.outdated(s, t, k, o.cfg.Now()) || !ok && !s.To.IsZero() && !s.To.After(b.since) {
			continue
		}
		if built == 0 {
			if from, err = o.prepare(b); err != nil {
				return 0, err
			}
		}
		if err := o.fetch(b, s, k.key, from); err != nil {
			return built, err
		}
		built++
	}
	return built, nil
}

// prepare sees to it that what the rollup of b is built from is there, and returns it, and that the schema is which it is built in.
func (o *Orchestrators) prepare(b *building) (map[string][]SourceTable, error) {
	from, err := o.originals(b)
	if err == nil && b.r.InSource != nil {
		// Whoever may not make one may still use it. Where it is not there, the table says so.
		if _, err := o.exec(b, b.r.InSource.CreateSchema(SourceTable{Schema: b.r.InSource.Schema})); err != nil && !refused(err) {
			return nil, err
		}
	}
	return from, err
}

// askSource asks for the bounds of the partitions and for the answer of the refresh key, where r has them, and remembers them.
func (o *Orchestrators) askSource(ctx context.Context, a *asked, r *Rollup, id RollupID) (k knownRollup, err error) {
	k.asked = o.cfg.Now()
	if r.Partitions != nil {
		for i, to := range []*time.Time{&k.from, &k.to} {
			e, err := o.question(ctx, a, r.Bounds[i])
			if err != nil {
				return k, fmt.Errorf("bounds of the partitions: %w", err)
			}
			if *to, err = moment(e); err != nil {
				return k, err
			}
		}
	}
	if r.Key.Statement.SQL != "" {
		e, err := o.question(ctx, a, r.Key.Statement)
		if err != nil {
			told, _ := keyFailed(r.Key, err)
			return k, told
		}
		values := resultcache.ValuesOf([]*resultcache.Entry{e})
		k.key = hex.EncodeToString(values[:])
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if is, ok := o.rollups.Peek(id); ok {
		is.asked, is.from, is.to, is.key = k.asked, k.from, k.to, k.key
	}
	return k, nil
}

// moment reads the one moment of an answer: wall time.
func moment(e *resultcache.Entry) (time.Time, error) {
	if e.Rows.Len() != 1 {
		return time.Time{}, errors.New("the bounds of the partitions are not one row each")
	}
	switch v := e.Rows.First()[0].(type) {
	case time.Time:
		return time.Date(v.Year(), v.Month(), v.Day(), v.Hour(), v.Minute(), v.Second(), 0, time.UTC), nil
	case string:
		for _, layout := range []string{"2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999", time.DateOnly} {
			if t, err := time.Parse(layout, v); err == nil {
				return t, nil
			}
		}
	case nil:
		return time.Time{}, nil // there are no rows
	}
	return time.Time{}, errors.New("the bounds of the partitions are no moments")
}

// question has the source answer one statement of a rollup, after everything that somebody waits for.
func (o *Orchestrators) question(ctx context.Context, a *asked, s driverfactory.Statement) (*resultcache.Entry, error) {
	q := *a
	q.Statement, q.RefreshKeys, q.keys, q.MaxRows = s, nil, nil, maxKeyRows
	key, err := resultcache.KeyOf(a.choice.Key, s)
	if err != nil {
		return nil, err
	}
	q.key = flightKey{Key: key, maxRows: maxKeyRows}
	f, err := o.afterwards(ctx, &q)
	if err != nil {
		return nil, err
	}
	return f.entry, f.err
}

// fetch has the source answer what one partition of a rollup consists of, over what it is built from, and keeps it: here, or there.
func (o *Orchestrators) fetch(b *building, s Span, refreshKey string, from map[string][]SourceTable) error {
	rows, err := b.r.Build(s)
	if err != nil {
		return err
	}
	if len(from) > 0 {
		rows = b.r.From[0].InSource.Over(rows, from)
	}
	if b.r.InSource != nil {
		return o.make(b, s.Name, refreshKey, rows)
	}
	q, err := o.fetching(b.a, b.r, b.id, s, refreshKey, rows)
	if err != nil {
		return err
	}
	f, err := o.afterwards(b.ctx, q)
	if err != nil {
		return err
	}
	return f.err
}

// fetching returns a statement of a whose rows are kept as one partition of a rollup. Nobody could wait for it who wants something else.
func (o *Orchestrators) fetching(a *asked, r *Rollup, id RollupID, s Span, refreshKey string, rows driverfactory.Statement) (*asked, error) {
	q := *a
	q.Statement, q.RefreshKeys, q.keys = rows, nil, nil
	key, err := resultcache.KeyOf(a.choice.Key, q.Statement, driverfactory.Statement{SQL: hex.EncodeToString(id.Structure[:]), Args: []any{s.Name}})
	if err != nil {
		return nil, err
	}
	q.key = flightKey{Key: key}
	q.into = func(ctx context.Context, ranAt time.Time, rows driverfactory.Rows) error {
		if err := r.fit(rows.Columns()); err != nil {
			return err
		}
		_, err := o.cfg.PreAggregations.Write(ctx, id, RollupTable{Partition: s.Name, Key: refreshKey, BuiltAt: ranAt}, r.Columns, rows)
		return err
	}
	return &q, nil
}

// afterwards runs the statement of a in the background, and returns its flight when that is over. The choice of a was made for
// a request that has been answered meanwhile: it is looked at again.
func (o *Orchestrators) afterwards(ctx context.Context, a *asked) (*flight, error) {
	if err := o.still(ctx, a); err != nil {
		return nil, err
	}
	f, err := o.behind(ctx, a)
	if err != nil {
		return nil, err
	}
	<-f.done
	return f, nil
}
