package datamodel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/fault"
)

// variants are the models of application ids, when the files read COMPILE_CONTEXT. Each was compiled for the first who
// asked under its id, and serves those who have what was read of that one (Compilation.Agrees). The ones that were asked
// for last are kept. It is safe for concurrent use.
type variants struct {
	kept   *lru.Cache[string, *variant] // those with a model
	failed *lru.Cache[string, *variant] // those without, until the files change

	mu     sync.Mutex
	before *Model // what served everybody until the files began to read COMPILE_CONTEXT
}

// variant is what came of the files for one application id. It never changes.
type variant struct {
	*Compilation        // the last one, good or not
	model        *Model // the last good one
	err          error  // of the last compilation
	at           time.Time
}

func (v *variants) open(max int) {
	v.kept, _ = lru.New[string, *variant](max) // fails for a size below one only
	v.failed, _ = lru.New[string, *variant](max)
}

// purge forgets all, and reports whether there was one.
func (v *variants) purge() bool {
	had := v.kept.Len() > 0
	v.kept.Purge()
	v.failed.Purge()
	v.replaced(nil)
	return had
}

// replaced remembers the model that served everybody until now; nil is none.
func (v *variants) replaced(m *Model) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.before = m
}

// lastGood returns the model that served an application id last, or nil.
func (v *variants) lastGood(appID string) *Model {
	if known, ok := v.kept.Peek(appID); ok {
		return known.model
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.before
}

// problem returns what is wrong with the files for the application ids that asked, and since when.
func (v *variants) problem() (time.Time, error) {
	var problems []error
	var at time.Time
	for _, from := range []*lru.Cache[string, *variant]{v.kept, v.failed} {
		ids := from.Keys()
		slices.Sort(ids)
		for _, id := range ids {
			if one, ok := from.Peek(id); ok && one.err != nil {
				problems = append(problems, fmt.Errorf("for the application id %q: %w", id, one.err))
				at = one.at
			}
		}
	}
	return at, errors.Join(problems...)
}

// Model returns the model that serves the application id, which is compiled when there is none yet: asker says for whom.
// Only one compilation is under way at a time. It returns a refusal when the model was compiled for somebody who differs
// in what it reads of COMPILE_CONTEXT, or when the files are wrong and there is no last good model.
func (l *Live) Model(ctx context.Context, appID string, asker func() map[string]any) (*Model, error) {
	if m := l.shared.Load(); m != nil {
		return m, nil
	}
	who := asker()
	if m, err, ok := l.variants.serve(appID, who); ok {
		return m, err
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-late.C:
		return nil, &fault.Error{Kind: fault.Unavailable, Code: "model_compiling", Owner: fault.Admin, RetryAfter: time.Second,
			Detail: "The data model is being compiled for others. Ask again."}
	}
	if m := l.shared.Load(); m != nil {
		return m, nil
	}
	if m, err, ok := l.variants.serve(appID, who); ok {
		return m, err
	}
	return l.compileFor(context.WithoutCancel(ctx), appID, who).serve(appID, who) // it is for all who wait
}

// serve returns what there is for somebody of an application id: its model, or a refusal.
func (v *variants) serve(appID string, asker map[string]any) (m *Model, err error, ok bool) {
	one, ok := v.kept.Get(appID)
	if !ok {
		if one, ok = v.failed.Get(appID); ok {
			_, ok = one.Agrees(asker) // others may have what it takes
		}
	}
	if !ok {
		return nil, nil, false
	}
	m, err = one.serve(appID, asker)
	return m, err, true
}

// serve returns the model, or a refusal.
func (v *variant) serve(appID string, asker map[string]any) (*Model, error) {
	if v.model == nil {
		return nil, fault.Wrap(fault.Unavailable, v.err, "The data model cannot be compiled for the application id %q. An admin finds the place in the log.", appID)
	}
	if where, ok := v.model.Agrees(asker); !ok {
		return nil, differs(appID, where)
	}
	return v.model, nil
}

// differs refuses somebody for whom the model of their application id is not.
func differs(appID, where string) error {
	return &fault.Error{Kind: fault.Denied, Code: "compile_context", Owner: fault.Admin, Detail: fmt.Sprintf(
		"The data model reads %s, and it was compiled for somebody of the application id %q who has another value there. What a model reads of "+
			"COMPILE_CONTEXT must follow from the application id: an admin can have contextToAppId return it too, or read it from SECURITY_CONTEXT.", where, appID)}
}

// compileFor compiles the model of one application id and keeps what came of it. The caller has the turn.
func (l *Live) compileFor(ctx context.Context, appID string, asker map[string]any) *variant {
	m, c, err := l.compile(ctx, asker)
	one := &variant{Compilation: c, model: m, err: err, at: time.Now()}
	if err != nil {
		one.model = l.variants.lastGood(appID)
		l.cfg.Log.Error("the data model cannot be compiled for an application id", zap.String("app_id", appID), zap.Bool("last_good_serves", one.model != nil), zap.Error(err))
		if one.model == nil {
			if !errors.Is(err, context.DeadlineExceeded) { // which may be in time once more
				l.variants.failed.Add(appID, one)
			}
			return one
		}
	} else {
		l.tell(m)
		l.cfg.Log.Info("the data model was compiled for an application id", zap.String("app_id", appID), zap.Int("cubes_and_views", len(m.Cubes())))
	}
	l.variants.failed.Remove(appID)
	if l.variants.kept.Add(appID, one) {
		l.cfg.Log.Warn("more application ids ask than models.max_variants keeps: each is compiled again when it comes back", zap.Int("max", l.cfg.Max))
	}
	return one
}

// recompile compiles the model of each application id that has one, after an edit, for whom it was compiled first. The
// caller has the turn.
func (l *Live) recompile(ctx context.Context) {
	l.variants.replaced(l.shared.Swap(nil))
	l.variants.failed.Purge()
	for _, appID := range l.variants.kept.Keys() { // the oldest first, so that their order stays
		if one, ok := l.variants.kept.Peek(appID); ok && ctx.Err() == nil {
			l.compileFor(ctx, appID, one.Asker)
		}
	}
}
