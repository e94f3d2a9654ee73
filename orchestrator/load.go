package orchestrator

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/resultcache"
)

// maxChoices is how often a credential is chosen for one request. Each time but the first it was replaced between the
// choice and the statement.
const maxChoices = 3

// Load answers req for sc: from the cache as far as req.Cache allows, else by running the statement under the
// credential that Drivers.Choose returns, in turn with everybody else's. Equal statements under one credential run
// once.
//
// It returns *ContinueWait when there is no answer within req.Wait; the statement goes on, and the same request joins
// it. It fails with fault.TooMany (code too_many_queued) when too much of this person is waiting, fault.Unavailable
// (queue_timeout) when no turn came in time, fault.Timeout when the statement took too long, fault.Canceled after
// Cancel or when ctx ends, fault.Invalid (result_too_large), fault.TooMany (too_many_results) and fault.Unavailable
// (results_full) when there is no memory for the rows, with the refusals of Choose, and with what the driver answered, as
// it is. Where it is a refresh key that failed, its detail says whose, and what is no fault of anybody's is
// fault.Unavailable (refresh_key_failed). Where Config.RollupOnly says that no query goes to its source, it fails with fault.Invalid
// (not_preaggregated) for what no rollup answers. A failure is never cached. Close the result when it was read.
func (o *Orchestrators) Load(ctx context.Context, sc driverfactory.SecurityContext, req Request) (*Result, error) {
	res, err := o.load(ctx, sc, req)
	if _, again := errors.AsType[*ContinueWait](err); !again {
		o.cfg.Observer.Answered(req.Source, res, err)
	}
	return res, err
}

// load does the work of Load.
func (o *Orchestrators) load(ctx context.Context, sc driverfactory.SecurityContext, req Request) (*Result, error) {
	req, err := req.withDefaults()
	if err != nil {
		return nil, err
	}
	began, told := time.Now(), false
	for n := 1; ; n++ {
		a, err := o.choose(ctx, sc, req)
		if err != nil {
			return nil, err
		}
		if fellBack(a.choice, req) && !told {
			if err := o.told(ctx, a); err != nil {
				return nil, err
			}
			told = true
		}
		a.until = began.Add(req.Wait)
		if err := a.name(); err != nil {
			return nil, err
		}
		res, ok, err := o.preAggregated(ctx, a)
		switch {
		case ok || err != nil:
		case o.cfg.RollupOnly:
			err = errNotPreAggregated
		default:
			if a.Rollup != nil {
				err = o.still(ctx, a) // it may have been waited for in vain
			}
			if err == nil {
				res, err = o.answer(ctx, a)
			}
		}
		switch {
		case !errors.Is(err, fault.Conflict):
			return res, o.explain(ctx, sc, req, err)
		case n == maxChoices:
			return nil, &fault.Error{
				Kind: fault.Unavailable, Code: "credential_changing", RetryAfter: time.Second, Err: err,
				Detail: "Your credential for " + req.Source.Name + " was replaced several times while the query started. Run it again.",
			}
		}
	}
}

// choose returns req as asked by sc, under the credential that is chosen for it now.
func (o *Orchestrators) choose(ctx context.Context, sc driverfactory.SecurityContext, req Request) (*asked, error) {
	id, err := o.id(ctx, sc)
	if err != nil {
		return nil, err
	}
	// The news is read before the choice: what comes in after it makes the choice void, and not the next one.
	seq, err := o.touch(id, sc)
	if err != nil {
		return nil, err
	}
	choice, err := o.cfg.Drivers.Choose(ctx, sc, req.Source, req.Operation)
	if err != nil {
		return nil, err
	}
	return &asked{
		Request: req, sc: sc, orchestrator: id, choice: choice, seq: seq, chosen: time.Now(), asker: asker{sc.Principal, interaction(req.RequestID)},
	}, check(choice, sc)
}

// check refuses a choice that contradicts itself or its caller: another person's credential, or a service account that
// would be shown as the person. A Drivers that returns one has a bug, and nothing is run on it.
func check(c driverfactory.Choice, sc driverfactory.SecurityContext) error {
	service := c.RunAs.Identity == driverfactory.IdentityServiceAccount
	if service != c.Key.Service || !service && (c.Key.Principal != sc.Principal || sc.Principal.Anonymous()) {
		return errors.New("the credential that was chosen is not the caller's")
	}
	return nil
}

// fellBack reports whether the service account stands in for a person. Where a source has no OAuth app it is the only
// identity there is, and stands in for nobody.
func fellBack(c driverfactory.Choice, req Request) bool {
	return req.Operation == driverfactory.UserQuery && c.RunAs.Identity == driverfactory.IdentityServiceAccount && c.RunAs.Credential != ""
}

// told has it recorded that the service account of a stands in for its person.
func (o *Orchestrators) told(ctx context.Context, a *asked) error {
	if o.cfg.FellBack == nil {
		return nil
	}
	return o.cfg.FellBack(ctx, a.sc, a.Request, a.choice.RunAs)
}

// asked is a Request with everything that was found out about it.
type asked struct {
	Request
	sc           driverfactory.SecurityContext
	orchestrator string
	choice       driverfactory.Choice
	seq          uint64    // of the news that the choice knows
	chosen       time.Time // when the choice was made
	key          flightKey
	keys         []*asked // the statements of RefreshKeys
	answers      []Answer // of those
	asker        asker
	until        time.Time // when to answer ContinueWait

	kind Kind   // default ForAnswer
	of   string // whose refresh key, or which rollup

	reading reading // in place of Statement
	into    sink    // where the rows go, in place of the cache
	makes   bool    // it has no rows, and may write: see driverfactory.Maker
}

// answer applies the cache mode (orchestrator.md §6.2).
func (o *Orchestrators) answer(ctx context.Context, a *asked) (*Result, error) {
	if f := o.take(a); f != nil {
		return o.outcome(a, f)
	}
	if err := o.findRole(ctx, a); err != nil {
		return o.late(ctx, a, err)
	}
	if a.Cache == StaleWhileRevalidate {
		if e, ok := o.newest(ctx, a); ok {
			fresh := o.known(a) && o.fresh(a, e)
			if !fresh {
				o.renew(ctx, a)
			}
			return o.cached(a, e, !fresh)
		}
	}
	if !o.follows(a) {
		if err := o.askKeys(ctx, a); err != nil {
			return o.late(ctx, a, err)
		}
		if a.Cache != NoCache {
			if e := o.found(ctx, a); e != nil {
				return o.cached(a, e, false)
			}
		}
	}
	f, old, err := o.await(ctx, a)
	switch {
	case old != nil:
		return o.cached(a, old, true)
	case err != nil:
		return nil, err
	}
	return o.outcome(a, f)
}

// await waits for the statement of a, with everybody else's equal one. When its time is over first, it returns the older
// result that is served then, or *ContinueWait.
func (o *Orchestrators) await(ctx context.Context, a *asked) (f *flight, old *resultcache.Entry, err error) {
	f, me, err := o.join(ctx, a)
	if err != nil || me == nil {
		return f, nil, err
	}
	wait := time.NewTimer(max(time.Until(a.until), 1)) // its refresh keys may have taken all of it
	defer wait.Stop()
	select {
	case <-f.done:
		o.leave(f, me, delivered)
		return f, nil, nil
	case <-me.canceled:
		return nil, nil, wasCancelled()
	case <-ctx.Done():
		o.leave(f, me, disconnected)
		return nil, nil, fault.Wrap(fault.Canceled, context.Cause(ctx), "The caller left before the answer was ready.")
	case <-wait.C:
	}
	select {
	case <-f.done: // in the last moment
		o.leave(f, me, delivered)
		return f, nil, nil
	default:
	}
	if old := o.fallback(ctx, a); old != nil {
		o.leave(f, me, servedStale)
		return nil, old, nil
	}
	stage := o.stage(f)
	o.leave(f, me, polling)
	return nil, nil, stage
}

// fallback returns the older result that may be served in place of one that is slow. It is looked up when it is needed:
// what was there at the beginning of a wait may be of a credential that has ended.
func (o *Orchestrators) fallback(ctx context.Context, a *asked) *resultcache.Entry {
	if a.Cache != StaleIfSlow || o.still(ctx, a) != nil {
		return nil
	}
	e, _ := o.cache.Get(o.place(a.key))
	return e
}

// fresh reports whether e is fresh for a, whose refresh keys are answered.
func (o *Orchestrators) fresh(a *asked, e *resultcache.Entry) bool {
	return o.cfg.Now().Sub(e.RanAt) < a.FreshFor && !e.RanAt.Before(a.FreshSince) && e.Values == a.key.values
}

// cached returns e as an answer from the cache.
func (o *Orchestrators) cached(a *asked, e *resultcache.Entry, stale bool) (*Result, error) {
	r, err := o.result(a, e)
	if err != nil {
		return nil, err
	}
	r.Cached, r.Stale, r.OfRole = true, stale, e.Role != ""
	if !stale {
		r.RefreshKeys = a.answers
	}
	return r, nil
}

// outcome returns what f ended with. f is done.
func (o *Orchestrators) outcome(a *asked, f *flight) (*Result, error) {
	if f.err != nil {
		return nil, f.err
	}
	r, err := o.result(a, f.entry)
	if err == nil {
		r.RefreshKeys = a.answers
	}
	return r, err
}

// explain adds the way out to the end of a statement that a revocation cut: the link that Choose gives to everybody
// whose grant has ended. It stays what it is even where the next query would run as the service account.
func (o *Orchestrators) explain(ctx context.Context, sc driverfactory.SecurityContext, req Request, err error) error {
	cut, ok := errors.AsType[*revokedError](err)
	if !ok {
		return err
	}
	e := cut.fault(req.Source)
	if _, refusal := o.cfg.Drivers.Choose(ctx, sc, req.Source, req.Operation); refusal != nil {
		if r, ok := errors.AsType[*fault.Error](refusal); ok {
			e.Actions = r.Actions
			if app := r.Params["oauth_app"]; app != "" {
				e.Params["oauth_app"] = app
			}
		}
	}
	return e
}

// revokedError ends a statement whose credential was revoked while it waited or ran.
type revokedError struct{ app string }

func (*revokedError) Error() string { return "the credential was revoked" }
func (*revokedError) Unwrap() error { return fault.ReauthorizationRequired }

func (r *revokedError) fault(src driverfactory.Source) *fault.Error {
	e := &fault.Error{
		Kind: fault.ReauthorizationRequired, Owner: fault.User,
		Detail: "Your authorization for " + src.Name + " was revoked while the query ran, so it was stopped. " +
			"Authorize it again, then run the query again.",
		Params: map[string]string{"data_source": src.Name},
	}
	if r.app != "" {
		e.Params["oauth_app"] = r.app
	}
	return e
}

func wasCancelled() error {
	return &fault.Error{Kind: fault.Canceled, Detail: "Query was cancelled"} // Cube's words
}

func tooManyRows(limit int) error {
	return &fault.Error{
		Kind: fault.Invalid, Code: "result_too_large", Owner: fault.User,
		Detail: "The result has more than " + count(limit, "row", "rows") + ". Add a filter, a coarser granularity or a limit.",
	}
}

func queueTimeout(source string, waited time.Duration) error {
	return &fault.Error{
		Kind: fault.Unavailable, Code: "queue_timeout", RetryAfter: 30 * time.Second, Owner: fault.Admin,
		Detail: "Queue timeout: " + source + " had no free slot for this query within " + words(waited) +
			". Run it again later, or raise the concurrency of the data source.",
		Params: map[string]string{"data_source": source},
	}
}

func executionTimeout(source string, limit time.Duration) error {
	return &fault.Error{
		Kind: fault.Timeout, Code: "query_timeout",
		Detail: "Query execution timeout after " + words(limit) + " of waiting", // Cube's words
		Params: map[string]string{"data_source": source},
	}
}

// words writes d as Cube does: "10 min".
func words(d time.Duration) string {
	if d >= time.Minute && d%time.Minute == 0 {
		return strconv.Itoa(int(d/time.Minute)) + " min"
	}
	if d >= time.Second {
		return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + " s"
	}
	return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}
