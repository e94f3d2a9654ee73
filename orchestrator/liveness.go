package orchestrator

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
)

// State is what a liveness check found.
type State string

// The states.
const (
	Up         State = "up"
	Down       State = "down"
	Unverified State = "unverified" // there is no service account to check it with
	Unknown    State = "unknown"    // not checked yet, or it could not be
)

// SourceHealth is the last result of the liveness check of a source.
type SourceHealth struct {
	Domain, Name string
	Type         string
	Required     bool // whether readiness depends on it
	State        State
	CheckedAt    time.Time // zero when never
	Latency      time.Duration
	Detail       string // a sentence; holds no address and no text of the database's

	Since   time.Time // when State was found first
	History []Change  // the states before it since the start, the newest first: at most twenty
}

// Change is a State that ended.
type Change struct {
	State       State
	From, Until time.Time
	Detail      string
}

// maxHistory is how many changes of one source are remembered.
const maxHistory = 20

// Reacher is a Drivers that can find out whether a source answers without logging in. Sources without a service account
// are checked so.
type Reacher interface {
	Reach(ctx context.Context, src driverfactory.Source) error
}

// health holds the last results.
type health struct {
	mu      sync.Mutex
	results map[sourceKey]SourceHealth
}

// Sources returns the last result for each source, ordered by domain and name.
func (o *Orchestrators) Sources() []SourceHealth {
	sources := o.cfg.Sources()
	o.health.mu.Lock()
	defer o.health.mu.Unlock()
	all := make([]SourceHealth, 0, len(sources))
	for _, src := range sources {
		r, ok := o.health.results[sourceKey{src.Domain, src.Name}]
		if !ok {
			r = SourceHealth{State: Unknown, Detail: "Not checked yet."}
		}
		r.Domain, r.Name, r.Type, r.Required = src.Domain, src.Name, src.Type, src.Liveness.Required
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b SourceHealth) int {
		return strings.Compare(a.Domain+"\x00"+a.Name, b.Domain+"\x00"+b.Name)
	})
	return all
}

// checkSources checks every source when it is due, each by itself, until ctx is done.
func (o *Orchestrators) checkSources(ctx context.Context) {
	var checks sync.WaitGroup
	defer checks.Wait()
	var mu sync.Mutex
	due := map[sourceKey]time.Time{} // when to check next; a source that is being checked has none
	busy := map[sourceKey]bool{}
	for {
		next := time.Second // new sources are found within it
		now := time.Now()
		mu.Lock()
		known := map[sourceKey]bool{}
		for _, src := range o.cfg.Sources() {
			k := sourceKey{src.Domain, src.Name}
			known[k] = true
			switch wait := due[k].Sub(now); {
			case busy[k]:
			case wait > 0:
				next = min(next, wait)
			default:
				busy[k] = true
				checks.Go(func() {
					o.check(ctx, src)
					every := src.Liveness.Every
					orDefault(&every, 30*time.Second)
					mu.Lock()
					defer mu.Unlock()
					delete(busy, k)
					due[k] = now.Add(every)
				})
			}
		}
		for k := range due {
			if !known[k] {
				delete(due, k)
			}
		}
		mu.Unlock()
		o.health.forget(known)
		select {
		case <-ctx.Done():
			return
		case <-time.After(next):
		}
	}
}

// check checks one source and keeps the result.
func (o *Orchestrators) check(ctx context.Context, src driverfactory.Source) {
	timeout := src.Liveness.Timeout
	orDefault(&timeout, 5*time.Second)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	began := time.Now()
	state, detail, err := o.probe(ctx, src)
	if errors.Is(ctx.Err(), context.Canceled) {
		return // the program is stopping, and that says nothing about the source
	}
	r := SourceHealth{State: state, Detail: detail, CheckedAt: o.cfg.Now().UTC(), Latency: time.Since(began)}
	k := sourceKey{src.Domain, src.Name}
	before := o.health.found(k, r)
	if before != state {
		log := o.log.Info
		if state == Down {
			log = o.log.Warn
		}
		log("data source "+string(state), zap.String("data_source", src.Name), zap.Duration("took", r.Latency), zap.Error(err))
	}
}

// probe asks the source whether it is there, under its service account and nobody else's.
func (o *Orchestrators) probe(ctx context.Context, src driverfactory.Source) (State, string, error) {
	choice, err := o.cfg.Drivers.Choose(ctx, driverfactory.SecurityContext{Domain: src.Domain}, src, driverfactory.LivenessCheck)
	if err != nil {
		if e, ok := errors.AsType[*fault.Error](err); ok && e.Code == "no_service_account" {
			return o.reach(ctx, src)
		}
		return Down, describe(ctx, err), err
	}
	if !choice.Key.Service {
		return Unknown, "The check was given a person's credential, so it was not made.", nil
	}
	o.mu.Lock()
	if o.closing {
		o.mu.Unlock()
		return Unknown, "The server is stopping.", nil
	}
	p := o.borrow(choice, src, nil)
	o.mu.Unlock()
	if err := o.opened(p); err != nil {
		return Down, describe(ctx, err), err
	}
	defer o.giveBack(p)
	ctx, waits := notingWait(ctx)
	err = p.driver.Ping(ctx)
	if e, ok := errors.AsType[*fault.Error](err); err != nil && waits.Load() || ok && e.Code == "queue_timeout" {
		return Unknown, "All sessions of the source are in use, so it was not checked.", err
	}
	o.mu.Lock()
	o.answered(sourceKey{src.Domain, src.Name}, choice.Key, err)
	o.mu.Unlock()
	if err != nil {
		return Down, describe(ctx, err), err
	}
	return Up, "The service account can open a session.", nil
}

// reach is what can be said without a service account.
func (o *Orchestrators) reach(ctx context.Context, src driverfactory.Source) (State, string, error) {
	const why = "There is no service account to check it with"
	r, ok := o.cfg.Drivers.(Reacher)
	if !ok {
		return Unverified, why + ".", nil
	}
	if err := r.Reach(ctx, src); err != nil {
		o.mu.Lock()
		o.answered(sourceKey{src.Domain, src.Name}, driverfactory.PoolKey{}, err)
		o.mu.Unlock()
		return Down, why + ", and it cannot be reached: " + describe(ctx, err), err
	}
	return Unverified, why + "; it can be reached.", nil
}

// describe says what is known about a failure without repeating a text that may hold anything.
func describe(ctx context.Context, err error) string {
	if ctx.Err() != nil {
		return "It did not answer in time."
	}
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return e.Detail
	}
	return "It answered with an error; the log has it."
}

// found keeps r as the last result of k, and returns the state before.
func (h *health) found(k sourceKey, r SourceHealth) State {
	h.mu.Lock()
	defer h.mu.Unlock()
	last, known := h.results[k]
	switch {
	case !known:
		r.Since = r.CheckedAt
	case last.State == r.State:
		r.Since, r.History = last.Since, last.History
	default:
		r.Since = r.CheckedAt
		past := append([]Change{{last.State, last.Since, r.CheckedAt, last.Detail}}, last.History...)
		r.History = past[:min(len(past), maxHistory)]
	}
	h.results[k] = r
	return last.State
}

// forget drops the results of sources that are gone.
func (h *health) forget(known map[sourceKey]bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for k := range h.results {
		if !known[k] {
			delete(h.results, k)
		}
	}
}
