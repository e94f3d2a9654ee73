package jobs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/id"
)

// The leases (design.md §2.8).
const (
	lease      = 10 * time.Second
	renewEvery = 3 * time.Second
	lookEvery  = time.Second         // for work that became due, or that another process added
	keepFailed = 30 * 24 * time.Hour // jobs that were given up, for those who ask why
)

// Kind is a sort of work, and who does it. Name and Handle are required.
type Kind struct {
	Name string

	// Handle does one job. Its ctx ends with the attempt, and as soon as the lease is lost: somebody else may have
	// begun the same job then. A failure is tried again, not before its fault.Error's RetryAfter when it has one, and
	// never when it is marked by GiveUp. What it answers with Again is no failure.
	Handle func(ctx context.Context, j Job) error

	Concurrency int           // jobs of this kind at once in this process; default 4
	PerLane     int           // and of one lane; default 1. Jobs without a lane are not counted
	PerSecond   float64       // jobs begun per second and lane; default: no limit
	Timeout     time.Duration // of one attempt; default 1 min
	MaxAttempts int           // after which the job is given up; default: never
	BackOff     func(attempts int) time.Duration

	// Every makes the work periodic: there is always one job of this kind, with the name of the kind as its key, and
	// it is due again so much later when it has succeeded.
	Every time.Duration
}

// Config is what a Runner needs. Store is required.
type Config struct {
	Store   Store
	Kinds   []Kind
	Process string           // names this process in leases; default: a random name
	Log     *zap.Logger      // default: no logging
	Now     func() time.Time // default: time.Now
}

// Runner does the jobs of its kinds. It is safe for concurrent use.
type Runner struct {
	cfg  Config
	wake map[string]chan struct{} // by the name of the kind

	mu   sync.Mutex
	held map[string]*holding // by id
}

// holding is a job that this process works on.
type holding struct {
	job    Job
	cancel context.CancelCauseFunc
}

var errLeaseLost = errors.New("the lease of the job was lost")

// NewRunner returns a Runner over cfg. It starts nothing; see Run.
func NewRunner(cfg Config) *Runner {
	if cfg.Process == "" {
		cfg.Process = id.Random(8)
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	r := &Runner{cfg: cfg, wake: map[string]chan struct{}{}, held: map[string]*holding{}}
	for _, k := range cfg.Kinds {
		r.wake[k.Name] = make(chan struct{}, 1)
	}
	return r
}

// Wake makes the runner look for jobs of kind now: who has added one need not wait the second until it looks by itself.
func (r *Runner) Wake(kind string) {
	select {
	case r.wake[kind] <- struct{}{}:
	default: // it looks already, or nobody here does this kind
	}
}

// Run does jobs until ctx is done. Then it begins no more, ends the context of those under way, waits for them, and
// returns nil: what was interrupted is due at once, for the next process.
func (r *Runner) Run(ctx context.Context) error {
	var running sync.WaitGroup
	for _, k := range r.cfg.Kinds {
		running.Go(func() { r.serve(ctx, k.withDefaults()) })
	}
	running.Go(func() { r.forget(ctx) })

	// Leases are renewed until the last holder is done, which is after ctx.
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	var renewer sync.WaitGroup
	renewer.Go(func() { r.renew(renewing) })
	running.Wait()
	stop()
	renewer.Wait()
	return nil
}

func (k Kind) withDefaults() Kind {
	if k.Concurrency <= 0 {
		k.Concurrency = 4
	}
	if k.PerLane <= 0 {
		k.PerLane = 1
	}
	if k.Timeout <= 0 {
		k.Timeout = time.Minute
	}
	if k.BackOff == nil {
		k.BackOff = backOff
	}
	return k
}

// backOff is how long a job rests after its nth attempt failed: 5 s, doubling to 10 min, spread so that many do not
// come back at once.
func backOff(n int) time.Duration {
	d := min(5*time.Second<<min(max(n-1, 0), 10), 10*time.Minute)
	return d + rand.N(d/5)
}

// serve does the jobs of one kind, at most k.Concurrency at once.
func (r *Runner) serve(ctx context.Context, k Kind) {
	var (
		lanes   = lanes{kind: k, now: r.cfg.Now, all: map[string]*lane{}}
		slots   = make(chan struct{}, k.Concurrency)
		working sync.WaitGroup
		planned = k.Every <= 0
	)
	defer working.Wait()
	look := time.NewTimer(lookEvery)
	defer look.Stop()
	for {
		if !planned {
			err := r.cfg.Store.Add(ctx, Job{Kind: k.Name, Key: k.Name, DueAt: r.cfg.Now().UTC()})
			planned = err == nil
			r.grumble(ctx, k, "periodic work not planned", err)
		}
		select { // a slot first: what is claimed is begun
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		j, err := r.claim(ctx, k, &lanes)
		if err == nil {
			working.Go(func() {
				again := r.work(ctx, k, j)
				lanes.leave(j.Lane, again)
				<-slots
				r.Wake(k.Name)
			})
			continue
		}
		<-slots
		if !errors.Is(err, fault.NotFound) {
			r.grumble(ctx, k, "jobs not claimed", err)
		}
		look.Reset(min(lookEvery, lanes.opensIn()))
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		case <-r.wake[k.Name]:
		}
	}
}

func (r *Runner) grumble(ctx context.Context, k Kind, what string, err error) {
	if err != nil && ctx.Err() == nil {
		r.cfg.Log.Warn(what, zap.String("kind", k.Name), zap.Error(err))
	}
}

// claim takes the next job that may be begun now, and its place in its lane.
func (r *Runner) claim(ctx context.Context, k Kind, lanes *lanes) (Job, error) {
	now := r.cfg.Now().UTC()
	j, err := r.cfg.Store.Claim(ctx, Want{Kind: k.Name, By: r.cfg.Process, Except: lanes.full()}, now, now.Add(lease))
	if err == nil {
		lanes.enter(j.Lane)
	}
	return j, err
}

// work does j, which this process holds, and records what came of it. It returns when the lane of j may be used again,
// when the failure said so.
func (r *Runner) work(ctx context.Context, k Kind, j Job) (notBefore time.Time) {
	attempt, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.mu.Lock()
	r.held[j.ID] = &holding{j, cancel}
	r.mu.Unlock()
	var err error
	switch {
	case k.MaxAttempts > 0 && j.Attempts > k.MaxAttempts: // whoever had it before was lost with it
		err = GiveUp(errors.New("as many attempts as it may have were begun"))
	default:
		err = do(attempt, k, j)
	}
	r.mu.Lock()
	delete(r.held, j.ID)
	r.mu.Unlock()

	// How it ended must be recorded although the process stops. Whether it still may be, the fence decides.
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), lease)
	defer stop()
	j, notBefore = r.outcome(ctx, k, j, err, attempt.Err() != nil)
	if err := r.end(ctx, k, j, err == nil); err != nil {
		// Its lease ends, and it is done again.
		r.cfg.Log.Warn("outcome of a job not recorded", zap.String("kind", k.Name), zap.String("job_id", j.ID), zap.Error(err))
	}
	return notBefore
}

// do calls the handler with the time it has. A handler that panics has failed.
func do(ctx context.Context, k Kind, j Job) (err error) {
	ctx, cancel := context.WithTimeout(ctx, k.Timeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("job of kind %s panicked: %v", k.Name, p)
		}
	}()
	return k.Handle(ctx, j)
}

// outcome returns j as it is to be stored after an attempt that ended in err, and when its lane may be used again.
func (r *Runner) outcome(ctx context.Context, k Kind, j Job, err error, interrupted bool) (Job, time.Time) {
	now := r.cfg.Now().UTC()
	log := r.cfg.Log.With(zap.String("kind", k.Name), zap.String("job_id", j.ID), zap.Int("attempts", j.Attempts))
	var notBefore time.Time
	later, done := errors.AsType[again](err)
	switch {
	case err == nil:
		j.Attempts, j.Code, j.DueAt = 0, "", now.Add(k.Every)
	case done:
		j.Attempts, j.Code, j.DueAt = 0, "", later.at.UTC()
	case interrupted: // the process stops, or the lease was lost: that was no attempt
		j.Attempts, j.DueAt = j.Attempts-1, now
	case isHopeless(err), k.MaxAttempts > 0 && j.Attempts >= k.MaxAttempts:
		j.FailedAt, j.Code = now, codeOf(err)
		log.Error("job given up", zap.String("code", j.Code), zap.Error(err))
	default:
		wait := k.BackOff(j.Attempts)
		if f, ok := errors.AsType[*fault.Error](err); ok && f.RetryAfter > 0 {
			notBefore, wait = now.Add(f.RetryAfter), max(wait, f.RetryAfter)
		}
		j.DueAt, j.Code = now.Add(wait), codeOf(err)
		log.Info("job will be tried again", zap.String("code", j.Code), zap.Duration("in", wait), zap.Error(err))
	}
	return j, notBefore
}

// end gives j back, or removes it when it is done and not periodic.
func (r *Runner) end(ctx context.Context, k Kind, j Job, done bool) error {
	if done && k.Every <= 0 {
		return r.cfg.Store.Finish(ctx, j)
	}
	return r.cfg.Store.Release(ctx, j)
}

// codeOf is the word that is stored of err, whose text may hold anything.
func codeOf(err error) string {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f.CodeOrKind()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return string(fault.Timeout)
	}
	return "failed"
}

// renew keeps the leases of what is held until ctx is done. When a lease cannot be kept, its job is stopped before
// anybody else can begin it.
func (r *Runner) renew(ctx context.Context) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		r.mu.Lock()
		held := make([]Job, 0, len(r.held))
		for _, h := range r.held {
			held = append(held, h.job)
		}
		r.mu.Unlock()
		if len(held) == 0 {
			continue
		}
		until := r.cfg.Now().UTC().Add(lease)
		try, cancel := context.WithTimeout(ctx, renewEvery)
		lost, err := r.cfg.Store.Renew(try, held, until)
		cancel()
		if err != nil && ctx.Err() == nil {
			r.cfg.Log.Warn("leases of jobs not renewed", zap.Int("jobs", len(held)), zap.Error(err))
		}
		r.renewed(held, lost, until, err)
	}
}

// renewed notes the new end of the leases of held, and stops the jobs whose lease is lost or will be before the next
// renewal.
func (r *Runner) renewed(held []Job, lost []string, until time.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		for _, j := range held {
			if h, ok := r.held[j.ID]; ok && h.job.Fence == j.Fence {
				h.job.LeaseUntil = until
			}
		}
	}
	for _, id := range lost {
		if h, ok := r.held[id]; ok {
			h.cancel(errLeaseLost)
		}
	}
	soon := r.cfg.Now().Add(renewEvery)
	for _, h := range r.held {
		if h.job.LeaseUntil.Before(soon) {
			h.cancel(errLeaseLost)
		}
	}
}

// forget removes what was given up long ago, now and every hour.
func (r *Runner) forget(ctx context.Context) {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		if _, err := r.cfg.Store.Forget(ctx, r.cfg.Now().UTC().Add(-keepFailed)); err != nil && ctx.Err() == nil {
			r.cfg.Log.Warn("jobs that were given up long ago not removed", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// lanes knows which lanes of a kind may begin another job.
type lanes struct {
	kind Kind
	now  func() time.Time

	mu  sync.Mutex
	all map[string]*lane
}

type lane struct {
	busy      int
	notBefore time.Time     // its owner asked to be left alone
	pace      *rate.Limiter // nil when there is no limit
}

// opens returns when the lane may begin another job, if it has room for one.
func (l *lane) opens(now time.Time) time.Time {
	at := l.notBefore
	if l.pace != nil {
		if missing := 1 - l.pace.TokensAt(now); missing > 0 {
			paced := now.Add(time.Duration(missing / float64(l.pace.Limit()) * float64(time.Second)))
			at = later(at, paced)
		}
	}
	return at
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// full returns the lanes that may not begin a job now.
func (l *lanes) full() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	var names []string
	for name, one := range l.all {
		switch {
		case one.busy >= l.kind.PerLane, now.Before(one.opens(now)):
			names = append(names, name)
		case one.busy == 0:
			delete(l.all, name) // it is as good as new
		}
	}
	return names
}

// opensIn returns how long it takes until a lane that has room may begin a job.
func (l *lanes) opensIn() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, in := l.now(), lookEvery
	for _, one := range l.all {
		if wait := one.opens(now).Sub(now); one.busy < l.kind.PerLane && wait > 0 {
			in = min(in, wait)
		}
	}
	return in
}

// enter begins a job in the lane called name.
func (l *lanes) enter(name string) {
	if name == "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	one, ok := l.all[name]
	if !ok {
		one = &lane{}
		if l.kind.PerSecond > 0 {
			one.pace = rate.NewLimiter(rate.Limit(l.kind.PerSecond), 1)
		}
		l.all[name] = one
	}
	one.busy++
	if one.pace != nil {
		one.pace.AllowN(l.now(), 1)
	}
}

// leave ends a job in the lane called name, which is to be left alone until notBefore.
func (l *lanes) leave(name string, notBefore time.Time) {
	if name == "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.all[name]
	one.busy--
	if notBefore.After(one.notBefore) {
		one.notBefore = notBefore
	}
}
