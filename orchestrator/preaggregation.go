package orchestrator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
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

	asked    time.Time // when the source said what follows; zero: never
	from, to time.Time // the bounds of its partitions
	key      string    // what its refresh key was answered, as a hash
}

// reading is a look into tables of a rollup, in place of a statement at the source.
type reading struct {
	id     RollupID
	name   string
	tables []RollupTable
}

// readers is whose slots those looks take: the processor's, and no source's.
var readers = driverfactory.Source{
	Name:   "pre-aggregations",
	Limits: driverfactory.Limits{Concurrency: 2 * runtime.GOMAXPROCS(0), PerUserConcurrency: 2, PerUserQueue: 100},
}

// preAggregated answers a from the rollup of its request, where all is there that it needs, and sees to it that what is missing
// or out of date is fetched, behind. ok is false where the source has to answer.
func (o *Orchestrators) preAggregated(ctx context.Context, a *asked) (res *Result, ok bool, err error) {
	if a.Rollup == nil || o.cfg.PreAggregations == nil {
		return nil, false, nil
	}
	own, err := o.owning(ctx, a)
	if err != nil {
		o.log.Warn("rollup not read", zap.String("rollup", a.Rollup.Name), why(err))
		return nil, false, nil
	}
	id := a.Rollup.id(own)
	stored := o.cfg.PreAggregations.Tables(id)
	k := o.used(id, a.Rollup.Name)
	tables, due := a.Rollup.tables(k, stored, o.cfg.Now())
	if due && (k.uses >= enoughUses || len(stored) > 0) {
		o.build(ctx, own, a.Rollup, id)
	}
	exact := a.Cache == MustRevalidate || a.Cache == NoCache
	// Old rows are served while new ones come. Where none came the source answers, as after the failure of a result: what it
	// refuses this credential by now is not given away here.
	if len(tables) == 0 || due && (exact || k.err != nil) {
		return nil, false, nil
	}
	lent := own.choice.Key != a.choice.Key
	if lent {
		if err := o.told(ctx, own); err != nil {
			o.log.Warn("rollup not read", zap.String("rollup", a.Rollup.Name), why(err))
			return nil, false, nil
		}
	}
	if err := own.read(a.Rollup, id, tables); err != nil {
		return nil, false, err
	}
	res, err = o.answer(ctx, own)
	if err == nil && lent {
		// News of the caller ends nothing of the service account's: who may not use the source any more is refused here.
		if err = o.still(ctx, a); err != nil {
			res.Close()
		}
	}
	if err == nil {
		res.Rollup = a.Rollup.Name
		return res, true, nil
	}
	if _, slow := errors.AsType[*ContinueWait](err); slow || !ofRollups(err) && slices.Contains(callers, fault.KindOf(err)) {
		return nil, true, err
	}
	// What a rollup cannot answer, for whatever reason, the source can, under the same credential.
	o.log.Warn("rollup not read", zap.String("rollup", a.Rollup.Name), why(err))
	return nil, false, nil
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

// id returns the id of r's rows as the source gives them to the owner, under whom it is asked. They outlive the process, in which
// revisions count the edits of a source: what they depend on is named itself. Another token may be another account, and so is
// another id; as a hash it is no secret, since nobody guesses a token. A password is not there: it comes with a user.
func (r *Rollup) id(own *asked) RollupID {
	id, src, h := RollupID{Scope: own.choice.Key}, own.Source, sha256.New()
	fmt.Fprintf(h, "%x %q", r.Structure, src.Type)
	for _, k := range slices.Sorted(maps.Keys(src.Options)) {
		fmt.Fprintf(h, " %q %q", k, src.Options[k])
	}
	if account := src.ServiceAccount; account != nil && id.Scope.Service {
		fmt.Fprintf(h, " %q %q %q %q", account.Name, account.Kind, account.User, account.Token.Reveal())
		if c := account.OAuth; c != nil {
			fmt.Fprintf(h, " %q %q %q %q", c.TokenURL, c.ClientID, c.Scopes, c.Audience)
		}
	}
	h.Sum(id.Structure[:0])
	return id
}

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

// read makes a a look into tables.
func (a *asked) read(r *Rollup, id RollupID, tables []RollupTable) error {
	// Another table of a partition is another statement: nothing that was kept of the old one is an answer to it.
	version := driverfactory.Statement{SQL: hex.EncodeToString(id.Structure[:])}
	for _, t := range tables {
		version.Args = append(version.Args, t.Partition, t.BuiltAt.UnixNano())
	}
	key, err := resultcache.KeyOf(id.Scope, r.Read, version)
	a.key = flightKey{Key: key, maxRows: a.MaxRows}
	a.reading, a.kind, a.of = &reading{id, r.Table, tables}, FromRollup, r.Name
	a.Statement, a.RefreshKeys, a.keys, a.FreshFor, a.FreshSince = r.Read, nil, nil, forever, time.Time{}
	return err
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

// tables returns the tables that r reads, none unless all that it needs are stored, and whether anything is to be fetched.
func (r *Rollup) tables(k knownRollup, stored []RollupTable, now time.Time) (needed []RollupTable, due bool) {
	due = r.asks(k, now)
	spans, err := r.spans(k)
	tables := byPartition(stored)
	for _, s := range spans {
		t, ok := tables[s.Name]
		if !ok {
			return nil, true
		}
		due = due || r.outdated(s, t, k, now)
		needed = append(needed, t)
	}
	if err != nil {
		return nil, due
	}
	return needed, due
}

// errBounds says that the partitions of a rollup do not hold what is asked for.
var errBounds = errors.New("what is asked for lies outside of what the rollup is built of")

// spans returns the partitions that r reads, or everything where there are none.
func (r *Rollup) spans(k knownRollup) ([]Span, error) {
	switch {
	case r.Partitions == nil:
		return []Span{{}}, nil
	case k.asked.IsZero():
		return nil, nil // until its bounds are known
	}
	spans, all, err := r.Partitions(k.from, k.to)
	if err == nil && !all {
		err = errBounds
	}
	return spans, err
}

// byPartition finds tables by the names of their partitions, of which there may be thousands.
func byPartition(tables []RollupTable) map[string]RollupTable {
	all := make(map[string]RollupTable, len(tables))
	for _, t := range tables {
		all[t.Partition] = t
	}
	return all
}

// asks reports whether the source is to be asked again for the bounds of the partitions and for the answer of the refresh key.
func (r *Rollup) asks(k knownRollup, now time.Time) bool {
	since, key := r.Age(Span{}, now)
	switch {
	case key:
		return now.Sub(k.asked) >= r.Key.Every
	case r.Partitions == nil:
		return false
	}
	return k.asked.IsZero() || k.asked.Before(since)
}

// outdated reports whether a table is to be fetched again.
func (r *Rollup) outdated(s Span, t RollupTable, k knownRollup, now time.Time) bool {
	since, key := r.Age(s, now)
	return t.BuiltAt.Before(since) || key && t.Key != k.key
}

// builds are those of one credential: one after another.
type builds struct {
	now     RollupID
	waiting []*building
}

// building is a build that somebody asked for.
type building struct {
	ctx context.Context
	a   *asked
	r   *Rollup
	id  RollupID
}

// build fetches what is missing or out of date of a rollup, unless one of its credential is under way, or it was tried in vain just
// now: the next request tries again.
func (o *Orchestrators) build(ctx context.Context, a *asked, r *Rollup, id RollupID) {
	now := o.cfg.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	k, ok := o.rollups.Peek(id)
	if under := o.builds[id.Scope]; under != nil || !ok || o.closing || len(o.builds) >= maxBuilds || now.Before(k.next) {
		return
	}
	o.begins(newBuilding(ctx, a, r, id))
}

func newBuilding(ctx context.Context, a *asked, r *Rollup, id RollupID) *building {
	own := *a
	own.kind, own.of = ForRollup, r.Name
	return &building{context.WithoutCancel(ctx), &own, r, id} // it ends with its statements, each of which has its time
}

// begins runs b and then what waits for it. It is called under mu.
func (o *Orchestrators) begins(b *building) {
	under := &builds{now: b.id}
	o.builds[b.id.Scope] = under
	o.spawn(func() {
		for b := b; b != nil; {
			err, now := o.buildNow(b), o.cfg.Now()
			o.mu.Lock()
			if k, ok := o.rollups.Peek(b.id); ok {
				k.tried(err, now)
			}
			b = nil
			if len(under.waiting) > 0 && !o.closing {
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
	built, err := o.fetchRollup(b.ctx, b.a, b.r, b.id)
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
	req, err := req.withDefaults()
	if err != nil {
		return RollupID{}, err
	}
	if o.cfg.PreAggregations == nil {
		return RollupID{}, fault.New(fault.Unavailable, "This server keeps no pre-aggregations.")
	}
	if req.Rollup == nil {
		return RollupID{}, fault.New(fault.Invalid, "There is no rollup to build in the request.")
	}
	a, err := o.choose(ctx, sc, req)
	if err != nil {
		return RollupID{}, err
	}
	if fellBack(a.choice, req) {
		if err := o.told(ctx, a); err != nil {
			return RollupID{}, err
		}
	}
	own, err := o.owning(ctx, a)
	if err != nil {
		return RollupID{}, err
	}
	id := req.Rollup.id(own)
	b := newBuilding(ctx, own, req.Rollup, id)
	o.used(id, req.Rollup.Name)
	o.mu.Lock()
	defer o.mu.Unlock()
	under := o.builds[id.Scope]
	switch {
	case o.closing:
		return id, shuttingDown()
	case o.news.voids(own.choice.Key, own.seq):
		return id, errSuperseded
	case under == nil && len(o.builds) >= maxBuilds, under != nil && len(under.waiting) >= maxPosted:
		return id, &fault.Error{
			Kind: fault.TooMany, Code: "too_many_builds", RetryAfter: time.Minute,
			Detail: "Too many pre-aggregations are being built. Post this one again in a minute.",
		}
	case under == nil:
		o.begins(b)
	default:
		under.waiting = append(under.waiting, b)
	}
	return id, nil
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

// fetchRollup does the work of build, newest partitions first, and returns how many it fetched.
func (o *Orchestrators) fetchRollup(ctx context.Context, a *asked, r *Rollup, id RollupID) (built int, err error) {
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
	stored := byPartition(o.cfg.PreAggregations.Tables(id)) // nobody else fetches under this credential
	for _, s := range slices.Backward(spans) {
		if t, ok := stored[s.Name]; ok && !r.outdated(s, t, k, o.cfg.Now()) {
			continue
		}
		if err := o.fetch(ctx, a, r, id, s, k.key); err != nil {
			return built, err
		}
		built++
	}
	return built, nil
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

// fetch has the source answer what one partition of a rollup consists of, and keeps it.
func (o *Orchestrators) fetch(ctx context.Context, a *asked, r *Rollup, id RollupID, s Span, refreshKey string) error {
	q := *a
	var err error
	if q.Statement, err = r.Build(s); err != nil {
		return err
	}
	q.RefreshKeys, q.keys = nil, nil
	// It is no statement that anybody else could wait for.
	key, err := resultcache.KeyOf(a.choice.Key, q.Statement, driverfactory.Statement{SQL: hex.EncodeToString(id.Structure[:]), Args: []any{s.Name}})
	if err != nil {
		return err
	}
	q.key = flightKey{Key: key}
	q.into = func(ctx context.Context, ranAt time.Time, rows driverfactory.Rows) error {
		if err := r.fit(rows.Columns()); err != nil {
			return err
		}
		_, err := o.cfg.PreAggregations.Write(ctx, id, RollupTable{Partition: s.Name, Key: refreshKey, BuiltAt: ranAt}, r.Columns, rows)
		return err
	}
	f, err := o.afterwards(ctx, &q)
	if err != nil {
		return err
	}
	return f.err
}

// plainTexts are the types of texts that are equal where their letters are, here as at the source: not those that ignore case or
// trailing spaces, nor those that are no texts there.
var plainTexts = map[string]bool{
	"TEXT": true, "VARCHAR": true, "STRING": true, "CHARACTER VARYING": true, "TINYTEXT": true, "MEDIUMTEXT": true, "LONGTEXT": true,
}

// fit refuses rows with texts that compare otherwise at the source than here.
func (r *Rollup) fit(columns []driverfactory.Column) error {
	if len(columns) != len(r.Columns) {
		return fmt.Errorf("%d columns came for a rollup of %d", len(columns), len(r.Columns))
	}
	for i, c := range r.Columns {
		if typ := columns[i].Type; c.Type == "string" && !plainTexts[typ] {
			return &fault.Error{
				Kind: fault.Invalid, Code: "rollup_unfit", Owner: fault.Admin,
				Detail: fmt.Sprintf("The column %s of the pre-aggregation %s is of the type %s at the source, which compares otherwise than a text does here. "+
					"Cast the dimension to a text in its sql.", c.Name, r.Name, typ),
			}
		}
	}
	return nil
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
