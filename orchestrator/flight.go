package orchestrator

import (
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/id"
	"github.com/behalf-project/behalf/internal/resultcache"
	"github.com/behalf-project/behalf/internal/sharedcache"
)

// flightKey makes two requests the same statement: one credential, one text, the same arguments, one limit, and refresh
// keys with the same answers.
type flightKey struct {
	resultcache.Key
	maxRows int
	values  resultcache.Values
	byRole  bool // its result is kept for everybody of the role of the session, if that is known; see role.go
}

// asker is one interaction of one person. Its polls are the same asker.
type asker struct {
	principal   driverfactory.Principal
	interaction string
}

// readyKey finds the outcome that an asker has not fetched yet.
type readyKey struct {
	flightKey
	asker asker
}

// flight is one statement on its way, and everybody who waits for it:
//
//	waiting ─▶ running ─▶ done ─▶ (kept for those between two polls)
//
// Nobody's request owns it: its context is its own, and it ends early only when nobody wants it any more, when its time
// is up or when its credential is revoked. All fields but the first block are guarded by Orchestrators.mu.
type flight struct {
	id     string // qry_…
	key    flightKey
	choice driverfactory.Choice
	kind   Kind
	of     string    // whose refresh key, or which rollup
	asked  time.Time // when it was first
	source driverfactory.Source
	stmt   driverfactory.Statement
	look   reading // in place of stmt at the source
	into   sink    // where its rows go; nil: they are its entry
	makes  bool    // it may write, and has no rows
	reqID  string
	asUser string // username of who began it
	home   *orchestrator
	sched  *scheduler
	owner  string        // Principal.Key under whose index it is; empty for the service account
	done   chan struct{} // closed when entry and err are final
	entry  *resultcache.Entry
	err    error

	launch func() // starts it in a goroutine
	choose func(context.Context) (driverfactory.Choice, error)
	cancel context.CancelCauseFunc
	line   *line
	place  *list.Element // in the line; nil once it runs
	class  class
	term   uint64    // of the lease under which it got its slot
	began  time.Time // in its present stage
	chosen time.Time // when the choice was made, or confirmed; from its turn on only run reads it

	askers  map[asker]*waiting
	follows []readyKey // under which its askers find it while it runs
	active  int        // requests that are waiting now
	expires time.Time  // when nobody wants it any more, if nobody asks again
	keep    bool       // it is wanted whether somebody asks or not: it renews the cache
	timer   *time.Timer
	limit   *time.Timer // for waiting in line, then for draining

	over       bool  // entry and err are final
	adopted    bool  // entry came from another replica
	superseded bool  // its credential is no longer the person's: finish, but leave nothing behind
	holds      bool  // it holds entry
	kept       int64 // bytes of the result that the cache did not take

	shared     *sharedcache.Key  // of its result for all replicas; nil when it is not for them
	load       *sharedcache.Load // from its turn on; nil when they cannot be asked
	anew       bool              // whoever began it wants no result of before
	freshFor   time.Duration     // how fresh everybody wants one
	freshSince time.Time

	ended chan struct{} // closed when its driver has let go; nil until somebody waits for that
}

// sink takes the rows of a statement that ran at a moment, to their end.
type sink func(ctx context.Context, ranAt time.Time, rows driverfactory.Rows) error

// waiting is one asker of a flight.
type waiting struct {
	asker    asker
	requests int           // of this asker, waiting now
	canceled chan struct{} // closed by Cancel
}

// maxAskers bounds the interactions that a flight tells apart. Further ones are cancelled only together.
const maxAskers = 256

// take returns the finished flight whose outcome a has not fetched yet, if there is one.
func (o *Orchestrators) take(a *asked) *flight {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.taken(a)
}

func (o *Orchestrators) taken(a *asked) *flight {
	if len(o.ready) == 0 {
		return nil
	}
	k := readyOf(a.key, a.asker)
	f := o.ready[k]
	if f == nil || o.news.voids(a.choice.Key, a.seq) {
		return nil
	}
	delete(o.ready, k)
	delete(f.askers, a.asker)
	if len(f.askers) == 0 {
		o.forget(f)
	}
	return f
}

// join makes a wait for the flight of its statement, starting one if there is none. A flight that ended since take
// looked is returned as take does, with nothing to wait for. It fails with fault.Conflict when the choice is not the
// latest any more.
func (o *Orchestrators) join(ctx context.Context, a *asked) (*flight, *waiting, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if f := o.taken(a); f != nil {
		return f, nil, nil
	}
	f, err := o.flight(ctx, a, interactive)
	if err != nil {
		return nil, nil, err
	}
	who := a.asker
	if f.askers[who] == nil && len(f.askers) >= maxAskers {
		who.interaction = ""
	}
	w := f.askers[who]
	if w == nil {
		w = &waiting{asker: who, canceled: make(chan struct{})}
		f.askers[who] = w
		o.follow(f, who)
	}
	w.requests++
	f.active++
	f.timer.Stop()
	return f, w, nil
}

// flight returns the flight of a's statement, which is at least of class c, starting it if there is none.
func (o *Orchestrators) flight(ctx context.Context, a *asked, c class) (*flight, error) {
	if o.closing {
		return nil, shuttingDown()
	}
	if o.news.voids(a.choice.Key, a.seq) {
		return nil, errSuperseded
	}
	if f := o.flights[a.key]; f != nil && !f.superseded {
		if c == interactive {
			f.sched.promote(f)
		}
		f.wantedBy(a)
		return f, nil
	}
	if o.queued >= o.cfg.MaxQueued {
		return nil, &fault.Error{
			Kind: fault.TooMany, Code: "too_many_queued", RetryAfter: 10 * time.Second,
			Detail: "Too many queued queries: this server has " + count(o.queued, "query", "queries") + " waiting. Try again in a moment.",
		}
	}
	home := o.orchestrator(a.orchestrator, a.sc)
	slots, shared := a.Source, o.cfg.Caps
	if a.reading != nil {
		slots, shared = readers, nil
	}
	sk := sourceKey{slots.Domain, slots.Name}
	sched := o.lines[sk]
	if sched == nil {
		sched = &scheduler{caps: shared}
		o.lines[sk] = sched
	}
	sched.configure(slots)

	now := time.Now()
	f := &flight{
		id: id.New(id.Query, now), kind: a.kind, of: a.of, asked: now, asUser: a.sc.Username,
		key: a.key, choice: a.choice, chosen: a.chosen, source: a.Source, stmt: a.Statement, look: a.reading, into: a.into, makes: a.makes,
		reqID: a.RequestID, home: home, sched: sched, class: c, done: make(chan struct{}), began: now, askers: map[asker]*waiting{},
		anew: a.Cache == NoCache, freshFor: a.FreshFor,
	}
	f.wantedBy(a)
	if o.shares(a) {
		f.shared = new(a.shared(a.key.Key))
	}
	if err := sched.add(a.asker.principal, f); err != nil {
		return nil, err
	}
	// The statement outlives the request that began it: others join it, and a poll comes back for it. It keeps the
	// request's values, such as its id, and nothing of its end.
	base, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	f.cancel = cancel
	f.launch = func() { o.run(base, f) }
	f.choose = func(ctx context.Context) (driverfactory.Choice, error) {
		return o.cfg.Drivers.Choose(ctx, a.sc, a.Source, a.Operation)
	}
	f.timer = time.AfterFunc(time.Hour, func() { o.orphan(f) })
	f.timer.Stop()
	f.limit = time.AfterFunc(o.cfg.AdmissionTimeout, func() { o.refuse(f) })
	if key := a.choice.Key; !key.Service {
		f.owner = key.Principal.Key()
		o.person(f.owner).flights[f] = struct{}{}
	}
	home.flights++
	o.queued++
	o.flights[f.key], o.queries[f.id] = f, f
	o.dispatch(sched)
	return f, nil
}

// dispatch starts what has a slot.
func (o *Orchestrators) dispatch(s *scheduler) {
	for {
		term := s.caps.Term()
		f := s.next()
		if f == nil {
			break
		}
		f.term = term
		f.limit.Stop()
		f.began = time.Now()
		o.queued--
		o.spawn(f.launch)
	}
	s.caps.Stir()
}

// run executes f in its slot, and gives the slot on.
func (o *Orchestrators) run(base context.Context, f *flight) {
	limit := f.source.Limits.QueryTimeout
	orDefault(&limit, 10*time.Minute)
	ctx, cancel := context.WithTimeoutCause(base, limit, executionTimeout(f.source.Name, limit))
	defer cancel()
	// Whoever waits hears of the end at once, even where the driver takes its time to believe it.
	unhook := context.AfterFunc(ctx, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.finish(f, nil, context.Cause(ctx))
	})
	_, turn := o.cfg.Stage.Begin(ctx, driverfactory.Queue, f.asked)
	turn(f.at(), nil)
	began := time.Now()
	within, end := o.cfg.Stage.Begin(ctx, driverfactory.Execute, began)
	entry, err := o.execute(within, f)
	unhook()
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	end(f.at(), err)
	if !f.adopted {
		o.logRun(ctx, f, entry, err, time.Since(began))
	}
	superseded := o.land(f, entry, err)
	o.share(base, f, entry, err, superseded)
}

// land ends f, which ran, and gives its slot on. It reports whether nothing of f is to be kept.
func (o *Orchestrators) land(f *flight, entry *resultcache.Entry, err error) (superseded bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.finish(f, entry, err)
	f.sched.done(f)
	o.landed(f)
	o.dispatch(f.sched)
	o.dropIfEmpty(f.sched)
	return f.superseded
}

// at is whose slots f takes.
func (f *flight) at() driverfactory.Source {
	if f.look != nil {
		return readers
	}
	return f.source
}

// believed is how long a choice is good without news of it: as long as what it was made from (design.md P4).
const believed = time.Second

// confirm chooses again for a statement whose choice was made long before its turn: its credential may have ended in
// another process whose news does not reach us. When another choice comes out, or a refusal, whoever waits hears of it
// from their own.
func (f *flight) confirm(ctx context.Context) error {
	if time.Since(f.chosen) < believed {
		return nil
	}
	now := time.Now()
	if choice, err := f.choose(ctx); err != nil || choice.Key != f.choice.Key {
		return errSuperseded
	}
	f.chosen = now
	return nil
}

// execute runs the statement and reads its rows. Whoever calls it holds the entry.
func (o *Orchestrators) execute(ctx context.Context, f *flight) (entry *resultcache.Entry, err error) {
	defer func() {
		if v := recover(); v != nil { // a driver's bug is one statement's failure
			entry.Release()
			entry, err = nil, fmt.Errorf("driver of %s panicked: %v", f.source.Name, v)
		}
	}()
	if err := f.confirm(ctx); err != nil {
		return nil, err
	}
	if o.elsewhere(ctx, f) {
		return nil, nil
	}
	if err := f.confirm(ctx); err != nil { // that may have taken long
		return nil, err
	}
	rows, ranAt, end, err := o.begin(ctx, f)
	if err != nil {
		return nil, err
	}
	defer end()
	defer func() {
		if closeErr := rows.Close(); err == nil && closeErr != nil {
			entry.Release()
			entry, err = nil, closeErr
		}
	}()
	if f.into != nil {
		return nil, f.into(ctx, ranAt, rows)
	}
	// A row exists as values for a moment only: it is packed, and its place used for the next one. They are read to the
	// end at once, into memory that is bounded, so that no session waits for a client that reads slowly, and so that
	// what goes wrong in the middle is still an error and not half an answer.
	columns := rows.Columns()
	draft := o.cache.Draft(f.key.Key, columns, o.cfg.MaxResultBytes)
	defer draft.Discard()
	row := make([]any, len(columns))
	for n := 0; ; n++ {
		more, err := rows.Next(row)
		if err != nil {
			return nil, err
		}
		if !more {
			entry := draft.Entry(ranAt)
			if f.key.byRole {
				entry.By, entry.Role = f.choice.Key, roleOf(rows)
			}
			return entry, nil
		}
		if n == f.key.maxRows {
			return nil, tooManyRows(f.key.maxRows)
		}
		if err := draft.Add(row); err != nil {
			return nil, o.noMemory(err)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
}

// begin starts the statement of f, at the source or over the tables of a rollup. The rows are of the time ranAt; end gives back
// what they come from, once they are closed.
func (o *Orchestrators) begin(ctx context.Context, f *flight) (rows driverfactory.Rows, ranAt time.Time, end func(), err error) {
	if l := f.look; l != nil {
		rows, err = o.cfg.PreAggregations.Query(ctx, l, f.stmt)
		return rows, l.fetchedAt(), func() {}, err
	}
	k, answer := sourceKey{f.source.Domain, f.source.Name}, errNotAsked
	o.mu.Lock()
	err = o.admits(k, f.key.Scope)
	o.mu.Unlock()
	if err != nil {
		return nil, ranAt, nil, err
	}
	defer func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.answered(k, f.key.Scope, answer)
	}()
	p, err := o.lend(f)
	if err != nil {
		return nil, ranAt, nil, err
	}
	defer func() {
		if rows == nil { // or the driver panics
			o.giveBack(p)
		}
	}()
	if ctx.Err() != nil {
		return nil, ranAt, nil, context.Cause(ctx)
	}
	ctx = driverfactory.BeforeStart(ctx, func() error {
		ranAt = o.cfg.Now() // it may have waited for its session
		return o.mayStart(f)
	})
	if err := o.mayStart(f); err != nil {
		return nil, ranAt, nil, err
	}
	ranAt = o.cfg.Now()
	switch {
	case f.makes:
		rows, err = exec(ctx, p.driver, f.stmt)
	case f.kind == ForRole:
		rows, err = tellRole(ctx, p.driver)
	default:
		rows, err = p.driver.Query(ctx, f.stmt)
	}
	answer = err
	if err != nil && errors.Is(err, fault.Conflict) && o.mayStart(f) == nil {
		o.discard(p)
	}
	return rows, ranAt, func() { o.giveBack(p) }, err
}

// mayStart fails when f, which has had its turn, is to choose again or to have another turn: its credential has ended since, or the
// lease under which it had its slot, and others may have that.
func (o *Orchestrators) mayStart(f *flight) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if f.superseded || f.over || o.cfg.Caps.Lapsed(f.term) {
		return errSuperseded
	}
	return nil
}

// finish makes the outcome of f final and known, once. Its result goes to the cache, and to those between two polls; f
// holds it until nobody may come for it any more.
func (o *Orchestrators) finish(f *flight, entry *resultcache.Entry, err error) {
	if f.over {
		entry.Release()
		return
	}
	f.over, f.entry, f.err, f.holds = true, entry, err, true
	f.limit.Stop()
	o.unfollow(f)
	if o.flights[f.key] == f {
		delete(o.flights, f.key)
	}
	switch {
	case f.superseded, f.into != nil:
	case err == nil:
		entry.Values = f.key.values
		if k := f.key.OfRole(entry.Role); o.outdated(f, k, entry) || !o.cache.Put(k, entry) {
			f.kept = entry.Size()
			o.kept += f.kept
		}
	case failed(err):
		for _, k := range o.places(f.key) {
			o.cache.Delete(k) // as Cube does: after a failure nothing older is served either
		}
	}
	keep := !f.superseded && (f.kept == 0 || o.kept <= o.cfg.MaxKeptBytes)
	for a, w := range f.askers {
		if w.requests > 0 {
			continue
		}
		if keep {
			o.ready[readyOf(f.key, a)] = f
		} else {
			delete(f.askers, a)
		}
	}
	close(f.done)
	f.cancel(nil)
	if len(f.askers) == 0 {
		o.forget(f)
	} else if f.active == 0 {
		o.expire(f)
	}
}

// departure is how a request stops waiting for a flight.
type departure int

const (
	delivered    departure = iota // with the outcome
	polling                       // told to come back
	servedStale                   // with an older result; the flight renews it
	disconnected                  // without an answer
)

// leave ends a request's wait.
func (o *Orchestrators) leave(f *flight, w *waiting, how departure) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if f.askers[w.asker] != w {
		return // cancelled in the same moment, and counted out there
	}
	f.active--
	w.requests--
	switch how {
	case delivered, servedStale:
		if w.requests == 0 {
			delete(f.askers, w.asker)
		}
		f.keep = f.keep || how == servedStale
	case polling:
		f.wantedUntil(time.Now().Add(o.cfg.OrphanTimeout))
	case disconnected:
		f.wantedUntil(time.Now().Add(o.cfg.DisconnectGrace))
	}
	if f.over {
		// It ended just before: who comes back finds the outcome.
		if w.requests == 0 && f.askers[w.asker] == w && !f.superseded {
			o.ready[readyOf(f.key, w.asker)] = f
		}
		if len(f.askers) == 0 {
			o.forget(f)
			return
		}
	}
	if f.active == 0 && (f.over || !f.keep) {
		o.expire(f)
	}
}

func (f *flight) wantedUntil(t time.Time) {
	if t.After(f.expires) {
		f.expires = t
	}
}

// expire ends a flight that nobody waits for once nobody may come back for it: later, or now when that is past.
func (o *Orchestrators) expire(f *flight) {
	if left := time.Until(f.expires); left > 0 {
		f.timer.Reset(left)
		return
	}
	o.abandon(f)
}

// orphan is expire's later.
func (o *Orchestrators) orphan(f *flight) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if f.active > 0 || time.Now().Before(f.expires) || f.keep && !f.over {
		return // somebody came back meanwhile
	}
	o.abandon(f)
}

// abandon ends a flight that nobody asked for in time, and forgets what came of it.
func (o *Orchestrators) abandon(f *flight) {
	o.cut(f, fault.New(fault.Canceled, "Nobody waited for the query any more, so it was cancelled."))
	o.forget(f)
}

// refuse ends a flight that had no turn in time.
func (o *Orchestrators) refuse(f *flight) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if f.place != nil {
		o.cut(f, queueTimeout(f.source.Name, o.cfg.AdmissionTimeout))
	}
}

// cut ends a flight now, with err: one that waits leaves its line, one that runs is cancelled at the database.
func (o *Orchestrators) cut(f *flight, err error) {
	if f.over {
		return
	}
	if f.place != nil {
		f.sched.unqueue(f)
		o.queued--
		o.landed(f)
		o.dropIfEmpty(f.sched)
		o.settle()
	}
	f.cancel(err)
	o.finish(f, nil, err)
}

// forget drops the last traces of a flight that is over.
func (o *Orchestrators) forget(f *flight) {
	f.timer.Stop()
	for a := range f.askers {
		k := readyOf(f.key, a)
		if o.ready[k] == f {
			delete(o.ready, k)
		}
		if f.askers[a].requests == 0 {
			delete(f.askers, a)
		}
	}
	o.kept -= f.kept
	f.kept = 0
	if f.holds {
		f.holds = false
		f.entry.Release()
	}
	if p := o.people[f.owner]; p != nil {
		delete(p.flights, f)
		o.left(f.owner)
	}
}

// dropIfEmpty forgets a scheduler with nothing to do.
func (o *Orchestrators) dropIfEmpty(s *scheduler) {
	k := sourceKey{s.source.Domain, s.source.Name}
	if s.empty() && o.lines[k] == s {
		delete(o.lines, k)
	}
}

// stage says where f is, for a caller who has to ask again.
func (o *Orchestrators) stage(f *flight) *ContinueWait {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := &ContinueWait{Stage: "Executing query", Elapsed: time.Since(f.began)}
	if f.place != nil {
		w.Stage = fmt.Sprintf("#%d in queue", f.sched.ahead(f)+1)
	}
	return w
}

// Canceled is a statement that somebody no longer waits for.
type Canceled struct {
	RequestID string // of the request that began it
	Statement string // its text, as a hash
	Queued    bool   // it had not begun
}

// Cancel stops what principal waits for under this request id, and returns what that was. A statement that others wait
// for too goes on for them.
func (o *Orchestrators) Cancel(requestID string, principal driverfactory.Principal) []Canceled {
	who := asker{principal, interaction(requestID)}
	if who.interaction == "" {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	var canceled []Canceled
	for _, f := range o.flights {
		w := f.askers[who]
		if w == nil {
			continue
		}
		canceled = append(canceled, Canceled{f.reqID, f.hash(), f.place != nil})
		o.withdraw(f, w)
	}
	return canceled
}

// withdraw ends the wait of one asker of a flight that is not over. It goes on for the others.
func (o *Orchestrators) withdraw(f *flight, w *waiting) {
	close(w.canceled)
	delete(f.askers, w.asker)
	f.active -= w.requests
	switch {
	case f.keep:
	case len(f.askers) == 0:
		o.cut(f, wasCancelled())
	case f.active == 0:
		o.expire(f)
	}
}

// hash stands for the text of the statement where the text must not be: in logs, and in answers.
func (f *flight) hash() string {
	sum := sha256.Sum256([]byte(f.stmt.SQL))
	return hex.EncodeToString(sum[:8])
}

// logRun is the fact that a statement ran: who, as whom, where, how long. The text is there as a hash only.
func (o *Orchestrators) logRun(ctx context.Context, f *flight, entry *resultcache.Entry, err error, took time.Duration) {
	fields := []zap.Field{
		zap.String("request_id", f.reqID), audit.Trace(ctx), zap.String("user_id", f.line.who.Subject), zap.String("app_id", f.choice.Key.App),
		zap.String("data_source", f.source.Name), zap.String("identity", string(f.choice.RunAs.Identity)),
		zap.String("reason", f.choice.RunAs.Reason), zap.String("statement", f.hash()),
		zap.Duration("took", took),
	}
	if err != nil {
		o.log.Info("statement failed", append(fields, zap.String("kind", string(fault.KindOf(err))))...)
		return
	}
	if entry != nil {
		fields = append(fields, zap.Int("rows", entry.Rows.Len()), zap.Int64("bytes", entry.Size()))
	}
	o.log.Info("statement ran", fields...)
}
