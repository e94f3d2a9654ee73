package anomaly

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/securitycontext"
)

// HandOut is one access token that somebody got.
type HandOut struct {
	Token     string                    // id of the bearer token of ours that asked; empty when a person's own query did
	Principal securitycontext.Principal // whose token it is
	App       string                    // slug of the OAuth app
	At        time.Time
	Address   string // of who asked; empty inside the process
}

// caller names whose habits a hand-out belongs to.
func (h HandOut) caller() string {
	if h.Token != "" {
		return "token " + h.Token
	}
	return h.Principal.Key() + h.App
}

// Store keeps baselines. anomalytest.TestStore says what each method must do.
type Store interface {
	// LoadBaseline returns what is known of a caller, or fault.NotFound.
	LoadBaseline(ctx context.Context, caller string) (Baseline, error)

	// SaveBaseline stores b in place of what is known.
	SaveBaseline(ctx context.Context, caller string, b Baseline) error

	// ForgetBaselines removes those of callers that were last seen before the given time.
	ForgetBaselines(ctx context.Context, before time.Time) error
}

// Config is what a Watch needs. Store and Record are required.
type Config struct {
	Store  Store
	Record func(ctx context.Context, e audit.Entry) error // keeps the alarm, which is an event too
	Rules  Rules
	Size   int                 // callers in memory; default 10,000
	Count  func(reason string) // counts alarms, for a metric; default: nobody counts
	Log    *zap.Logger         // default: no logging
	Now    func() time.Time    // default: time.Now
}

// Watch learns the habits of callers and tells what is unusual. Observe is safe for concurrent use and never waits.
//
// Each process watches what it hands out, and what it knows is stored coarsely, once an hour for each caller: several
// replicas share a memory and not a count.
type Watch struct {
	cfg     Config
	seen    chan HandOut
	missed  atomic.Int64
	callers *lru.Cache[string, known] // used by Run alone
}

// known is a baseline in memory.
type known struct {
	Baseline
	saved int64 // the hour in which it was stored last
}

const (
	waiting   = 4096                 // hand-outs that wait to be looked at
	forgotten = 400 * 24 * time.Hour // baselines of callers that are gone
)

// New returns a Watch over cfg. It starts nothing; see Run.
func New(cfg Config) *Watch {
	if cfg.Size <= 0 {
		cfg.Size = 10_000
	}
	if cfg.Count == nil {
		cfg.Count = func(string) {}
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	callers, err := lru.New[string, known](cfg.Size)
	if err != nil {
		panic("anomaly: " + err.Error()) // only a size below one is an error
	}
	return &Watch{cfg: cfg, seen: make(chan HandOut, waiting), callers: callers}
}

// Observe notes one hand-out. It returns at once: when more come than can be looked at, some are not, and it is logged
// how many.
func (w *Watch) Observe(_ context.Context, h HandOut) {
	if h.At.IsZero() {
		h.At = w.cfg.Now()
	}
	select {
	case w.seen <- h:
	default:
		w.missed.Add(1)
	}
}

// Run looks at what was observed until ctx is done, then stores what it knows and returns nil.
func (w *Watch) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			w.saveAll(ctx)
			return nil
		case h := <-w.seen:
			w.look(ctx, h)
		case <-tick.C:
			if n := w.missed.Swap(0); n > 0 {
				w.cfg.Log.Warn("hand-outs not looked at: too many at once", zap.Int64("hand_outs", n))
			}
			if err := w.cfg.Store.ForgetBaselines(ctx, w.cfg.Now().Add(-forgotten)); err != nil && ctx.Err() == nil {
				w.cfg.Log.Warn("habits of callers who are gone not removed", zap.Error(err))
			}
		}
	}
}

// look compares one hand-out with what is known of its caller.
func (w *Watch) look(ctx context.Context, h HandOut) {
	caller := h.caller()
	k, ok := w.callers.Get(caller)
	if !ok {
		b, err := w.cfg.Store.LoadBaseline(ctx, caller)
		if err != nil && !errors.Is(err, fault.NotFound) {
			w.cfg.Log.Warn("habits of a caller not read", zap.Error(err))
			return // a caller that seems new is not one; it is looked at when the store answers
		}
		k = known{Baseline: b, saved: b.Hour}
	}
	next, found := k.Baseline.Next(w.cfg.Rules, h.At.UTC(), h.Address)
	k.Baseline = next
	if k.saved != next.Hour || len(found) > 0 {
		if err := w.cfg.Store.SaveBaseline(ctx, caller, next); err != nil {
			w.cfg.Log.Warn("habits of a caller not stored", zap.Error(err))
		} else {
			k.saved = next.Hour
		}
	}
	w.callers.Add(caller, k)
	for _, f := range found {
		w.tell(ctx, h, f)
	}
}

// tell records an alarm, which makes it an event.
func (w *Watch) tell(ctx context.Context, h HandOut, f Finding) {
	w.cfg.Count(f.Reason)
	person := h.Principal.Subject
	if h.Principal.Realm != securitycontext.Local {
		person = h.Principal.Realm + " " + h.Principal.Subject
	}
	object := h.Token
	if object == "" {
		object = person
	}
	detail := map[string]string{"oauth_app": h.App, "principal": person, "reason": f.Reason}
	if h.Token != "" {
		detail["token"] = h.Token
	}
	if h.Address != "" {
		detail["address"] = h.Address
	}
	if f.Reason == FarAboveNorm {
		detail["rate"], detail["norm"] = strconv.Itoa(f.Rate), strconv.Itoa(f.Norm)
	}
	w.cfg.Log.Warn("unusual hand-out of a token", zap.String("user_id", person), zap.String("app", h.App), zap.String("token_id", h.Token), zap.String("kind", f.Reason))
	err := w.cfg.Record(ctx, audit.Entry{
		At: h.At.UTC(), Actor: "system", Action: audit.UnusualHandOut, Object: object, Outcome: f.Reason, Detail: detail,
	})
	if err != nil {
		w.cfg.Log.Error("an unusual hand-out was not recorded", zap.Error(err))
	}
}

// saveAll stores what is only in memory, as far as there is time: the process ends.
func (w *Watch) saveAll(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	for _, caller := range w.callers.Keys() {
		k, _ := w.callers.Peek(caller)
		if err := w.cfg.Store.SaveBaseline(ctx, caller, k.Baseline); err != nil {
			w.cfg.Log.Warn("habits of callers not stored at the end", zap.Error(err))
			return
		}
	}
}
