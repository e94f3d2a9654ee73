package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/resultcache"
	"github.com/behalf-project/behalf/internal/sharedcache"
)

// RefreshKey is a statement whose answer changes when the source does (cube-data-model.md §18). It is asked like any
// other statement of its request: under the same credential, in the same line, and once for all who ask at a time. What
// one person's credential was answered decides about that person's results; what the service account was answered, about
// everybody's that it fetches.
type RefreshKey struct {
	Statement driverfactory.Statement
	Every     time.Duration // how long its answer is good before it is asked again; default 10 s
	Of        string        // whose it is, and where: "cube orders (model/orders.yml:7)"
}

// Answer is what a RefreshKey was answered. It is shared: read it only.
type Answer struct {
	Columns []driverfactory.Column
	Rows    *Rows
}

// What refresh keys may take.
const (
	maxKeyRows  = 1000 // of the answer of one, which is a row as a rule
	maxRenewals = 1000 // at a time, in the whole process
)

// name finds the keys of a's statement and of its refresh keys.
func (a *asked) name() error {
	asks := make([]driverfactory.Statement, len(a.RefreshKeys))
	for i, k := range a.RefreshKeys {
		asks[i] = k.Statement
		key, err := resultcache.KeyOf(a.choice.Key, k.Statement)
		if err != nil {
			told, _ := keyFailed(k, err)
			return told
		}
		q := *a
		q.Statement, q.RefreshKeys, q.Cache, q.MaxRows = k.Statement, nil, MustRevalidate, maxKeyRows
		q.FreshFor, q.FreshSince, q.keys = k.Every, time.Time{}, nil
		orDefault(&q.FreshFor, 10*time.Second)
		q.kind, q.of = ForRefreshKey, k.Of
		q.key = flightKey{Key: key, maxRows: maxKeyRows}
		a.keys = append(a.keys, &q)
	}
	key, err := resultcache.KeyOf(a.choice.Key, a.Statement, asks...)
	byRole := a.Source.CacheScope == driverfactory.CacheRole && !a.choice.Key.Service
	a.key = flightKey{Key: key, maxRows: a.MaxRows, byRole: byRole}
	return err
}

// judge notes the answers of a's refresh keys, by which results are fresh.
func (a *asked) judge(answers []*resultcache.Entry) {
	a.key.values, a.answers = resultcache.ValuesOf(answers), nil
	for _, e := range answers {
		a.answers = append(a.answers, Answer{e.Columns, e.Rows})
	}
}

// known reports whether the answers of all refresh keys of a are in the cache and good, and notes them.
func (o *Orchestrators) known(a *asked) bool {
	answers := make([]*resultcache.Entry, len(a.keys))
	for i, q := range a.keys {
		if answers[i] = o.good(q); answers[i] == nil {
			return false
		}
	}
	a.judge(answers)
	return true
}

// good returns what is in the cache for a if it is fresh.
func (o *Orchestrators) good(a *asked) *resultcache.Entry {
	if e, ok := o.cache.Get(o.place(a.key)); ok && o.fresh(a, e) {
		return e
	}
	return nil
}

// askKeys waits for the answers of a's refresh keys, all at once, and notes them.
func (o *Orchestrators) askKeys(ctx context.Context, a *asked) error {
	if o.known(a) {
		return nil
	}
	answers := make([]*resultcache.Entry, len(a.keys))
	group, gctx := errgroup.WithContext(ctx)
	for i, q := range a.keys {
		group.Go(func() (err error) {
			answers[i], err = o.askKey(gctx, q)
			return o.keyEnded(ctx, a, i, err)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	a.judge(answers)
	return o.still(ctx, a)
}

// askKey waits for the answer of one refresh key.
func (o *Orchestrators) askKey(ctx context.Context, q *asked) (*resultcache.Entry, error) {
	f := o.take(q)
	if f == nil {
		if e := o.found(ctx, q); e != nil {
			return e, nil
		}
		var err error
		if f, _, err = o.await(ctx, q); err != nil {
			return nil, err
		}
	}
	return f.entry, f.err
}

// still fails with fault.Conflict when the choice of a was overtaken by news, or is older than may be believed, and another
// comes out now: its credential may have ended, unheard too, during a wait. Otherwise it is as good as made now.
func (o *Orchestrators) still(ctx context.Context, a *asked) error {
	o.mu.Lock()
	seq, void := o.news.seq, o.news.voids(a.choice.Key, a.seq)
	o.mu.Unlock()
	if !void && time.Since(a.chosen) < believed {
		return nil
	}
	choice, err := o.cfg.Drivers.Choose(ctx, a.sc, a.Source, a.Operation)
	if err != nil || choice.Key != a.choice.Key {
		return errSuperseded
	}
	a.chosen, a.seq = time.Now(), seq
	return nil
}

// late answers a, whose refresh keys could not be asked in time: with an older result where the mode allows it, and the
// rest is done behind.
func (o *Orchestrators) late(ctx context.Context, a *asked, err error) (*Result, error) {
	if _, slow := errors.AsType[*ContinueWait](err); slow {
		if old := o.fallback(ctx, a); old != nil {
			o.renew(ctx, a)
			return o.cached(a, old, true)
		}
	}
	return nil, err
}

// renew asks the refresh keys of a and, unless its result turns out to be fresh, runs its statement: behind an answer that
// was given already, and once at a time. When there is no room for that, the next request tries again.
func (o *Orchestrators) renew(ctx context.Context, a *asked) {
	if len(a.keys) == 0 {
		_, err := o.behind(ctx, a)
		o.postponed(a, err)
		return
	}
	own := *a
	own.key.values = resultcache.Values{}
	name := own.key
	ctx = context.WithoutCancel(ctx) // it ends with its statements, each of which has its time

	o.mu.Lock()
	defer o.mu.Unlock()
	if _, under := o.renewals[name]; under || o.closing || len(o.renewals) >= maxRenewals {
		return
	}
	o.renewals[name] = struct{}{}
	o.spawn(func() {
		o.postponed(a, o.revalidate(ctx, &own))
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.renewals, name)
	})
}

// postponed notes why a renewal came to nothing, if it did.
func (o *Orchestrators) postponed(a *asked, err error) {
	if err != nil {
		o.log.Debug("renewal postponed", zap.String("data_source", a.Source.Name), zap.Error(err))
	}
}

// behind returns the flight of a's statement, which goes on whether anybody asks or not.
func (o *Orchestrators) behind(ctx context.Context, a *asked) (*flight, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f, err := o.flight(ctx, a, background)
	if err == nil {
		f.keep = true
	}
	return f, err
}

// revalidate does the work of renew. The statement of a is under way when it returns.
func (o *Orchestrators) revalidate(ctx context.Context, a *asked) (err error) {
	defer func() {
		if v := recover(); v != nil { // a bug in choosing is one renewal's failure
			err = fmt.Errorf("the renewal panicked: %v", v)
		}
	}()
	answers, flights := make([]*resultcache.Entry, len(a.keys)), make([]*flight, len(a.keys))
	for i, q := range a.keys {
		if answers[i] = o.good(q); answers[i] != nil {
			continue
		}
		if flights[i], err = o.behind(ctx, q); err != nil {
			return err
		}
	}
	for i, f := range flights {
		if f == nil {
			continue
		}
		<-f.done
		if err := o.keyEnded(ctx, a, i, f.err); err != nil {
			return err
		}
		answers[i] = f.entry
	}
	a.judge(answers)
	if err := o.still(ctx, a); err != nil || o.good(a) != nil {
		return err
	}
	_, err = o.behind(ctx, a)
	return err
}

// keyEnded returns err, with which the i-th refresh key of a ended, as it is told. After a failure nothing older is served
// either: the next request is told of it too.
func (o *Orchestrators) keyEnded(ctx context.Context, a *asked, i int, err error) error {
	if err == nil {
		return nil
	}
	if _, slow := errors.AsType[*ContinueWait](err); slow {
		return err
	}
	told, failed := keyFailed(a.RefreshKeys[i], err)
	if failed {
		for _, k := range o.places(a.key) {
			o.cache.Delete(k)
			if o.shares(a) {
				o.cfg.Shared.Delete(ctx, sharedcache.Key{Key: k, Source: a.Source.Digest()})
			}
		}
	}
	return told
}

// keyFailed says whose refresh key failed, and where it is written. What is not the key's failure, but that of a queue, a
// credential or a caller, is returned as it is.
func keyFailed(k RefreshKey, err error) (told error, failed bool) {
	what := "The refresh_key of " + k.Of
	if k.Of == "" {
		what = "A refresh key"
	}
	switch fault.KindOf(err) {
	case fault.Invalid, fault.Denied, fault.NotFound, fault.Timeout:
		if e, ok := errors.AsType[*fault.Error](err); ok {
			named := *e
			named.Detail = what + " failed: " + e.Detail
			return &named, true
		}
	case "":
		return &fault.Error{
			Kind: fault.Unavailable, Code: "refresh_key_failed", Owner: fault.Admin, Err: err,
			Detail: what + " failed. The log of the server says why.",
		}, true
	}
	return err, false
}

// readyOf returns the key under which who finds the outcome of the statement k. An interaction that asked for it once is
// given that outcome, whatever its refresh keys say meanwhile: it would never end where they change faster than the
// statement runs (orchestrator.md §6.2, 3b).
func readyOf(k flightKey, who asker) readyKey {
	if who.interaction != "" {
		k.values = resultcache.Values{}
	}
	return readyKey{k, who}
}

// follow lets the polls of who find f while it runs.
func (o *Orchestrators) follow(f *flight, who asker) {
	if f.key.values == (resultcache.Values{}) || who.interaction == "" {
		return // its key alone leads to it
	}
	k := readyOf(f.key, who)
	o.followed[k] = f
	if !slices.Contains(f.follows, k) {
		f.follows = append(f.follows, k)
	}
}

// unfollow ends what follow began.
func (o *Orchestrators) unfollow(f *flight) {
	for _, k := range f.follows {
		if o.followed[k] == f {
			delete(o.followed, k)
		}
	}
	f.follows = nil
}

// outdated reports whether a newer result than that of f is in the cache for k: refresh keys that changed while f ran began
// another run, or somebody else of its role did, which was quicker.
func (o *Orchestrators) outdated(f *flight, k resultcache.Key, entry *resultcache.Entry) bool {
	if f.key.values == (resultcache.Values{}) && k.Role == "" {
		return false
	}
	e, ok := o.cache.Get(k)
	return ok && e.RanAt.After(entry.RanAt)
}

// follows reports whether a statement that a's interaction asked for is under way, and makes a join that one.
func (o *Orchestrators) follows(a *asked) bool {
	if len(a.keys) == 0 {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	f := o.followed[readyOf(a.key, a.asker)]
	if f == nil || f.superseded || f.askers[a.asker] == nil {
		return false
	}
	a.key.values = f.key.values
	return true
}
