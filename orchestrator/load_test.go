package orchestrator_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/resultcache"
	"github.com/behalf-project/behalf/orchestrator"
)

func TestFailuresSayWhatHappenedAndAreNotCached(t *testing.T) {
	for _, tt := range []struct {
		name, sql string
		limits    driverfactory.Limits
		cfg       orchestrator.Config
		maxRows   int
		want      string // of the error
	}{
		{name: "the database's refusal passes as it is", sql: "fail", want: "42P01: no such table"},
		{name: "too many rows", sql: "rows 11", maxRows: 10,
			want: "result_too_large: The result has more than 10 rows. Add a filter, a coarser granularity or a limit."},
		{name: "too many bytes", sql: "rows 40000", cfg: orchestrator.Config{MaxResultBytes: 1 << 19},
			want: "result_too_large: The result takes more than 512 KiB. Ask for fewer columns or rows."},
		{name: "too slow", sql: "sleep 1h", want: "query_timeout: Query execution timeout after 10 min of waiting"},
		{name: "too slow for a driver that ignores its context", sql: "hang 11m", limits: driverfactory.Limits{QueryTimeout: 90 * time.Second},
			want: "query_timeout: Query execution timeout after 90 s of waiting"},
		{name: "a driver that panics", sql: "panic", want: "driver of db panicked: driver bug"},
		{name: "a credential that is replaced again and again", sql: "superseded",
			want: "credential_changing: Your credential for db was replaced several times while the query started. Run it again."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, tt.cfg, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
				alice := person("alice")
				w.grant(alice.Principal, 1)
				req := query(source("db", tt.limits), tt.sql)
				req.MaxRows = tt.maxRows
				for n := range 2 {
					_, err := poll(t.Context(), o, alice, req)
					if err == nil || err.Error() != tt.want {
						t.Errorf("Load = %v, want %s", err, tt.want)
					}
					if got := w.statements.Load(); got < int64(n+1) {
						t.Errorf("%d statements after %d requests: the failure was cached", got, n+1)
					}
					time.Sleep(12 * time.Minute)
				}
				if s := o.Stats(); s.Running != 0 || s.Queued != 0 || s.Kept != 0 || s.Cache.Entries != 0 {
					t.Errorf("Stats = %+v, want nothing left", s)
				}
				// The lane is whole.
				if _, err := o.Load(t.Context(), alice, query(source("db", tt.limits), "x")); err != nil {
					t.Errorf("the next statement = %v", err)
				}
			})
		})
	}
}

func TestAFailureDropsTheOlderResult(t *testing.T) {
	cache := resultcache.New(resultcache.Config{})
	inBubble(t, orchestrator.Config{Cache: cache}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		req := query(source("db", driverfactory.Limits{}), "fail")
		choice, _ := w.choose(alice, req.Source, driverfactory.UserQuery)
		key, _ := resultcache.KeyOf(choice.Key, req.Statement)
		entry, _ := resultcache.NewEntry(nil, nil, time.Now())
		cache.Put(key, entry)
		time.Sleep(time.Minute)
		if _, err := o.Load(t.Context(), alice, req); err == nil {
			t.Error("Load succeeded, want the failure")
		}
		if _, ok := cache.Get(key); ok {
			t.Error("the older result is still there")
		}
	})
}

func TestContinueWaitTellsThePlaceAndThenTheStage(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice, bob := person("alice"), person("bob")
		w.grant(alice.Principal, 1)
		w.grant(bob.Principal, 1)
		src := source("db", driverfactory.Limits{Concurrency: 1})
		var all []<-chan answer
		for n := range 3 {
			all = append(all, load(t.Context(), o, alice, query(src, fmt.Sprintf("sleep 15s -- %d", n))))
			synctest.Wait()
		}
		for n := range 2 {
			all = append(all, load(t.Context(), o, bob, query(src, fmt.Sprintf("sleep 15s -- %d", n))))
			synctest.Wait()
		}
		// alice's first runs. Then the lines take turns: alice, bob, alice, bob.
		for i, want := range []string{"Executing query", "#1 in queue", "#3 in queue", "#2 in queue", "#4 in queue"} {
			got := <-all[i]
			wait, ok := errors.AsType[*orchestrator.ContinueWait](got.err)
			if !ok || wait.Error() != "Continue wait" || wait.Stage != want || wait.Elapsed != 10*time.Second {
				t.Errorf("statement %d: %+v, want to wait in stage %s for 10 s", i, wait, want)
			}
		}
		res, err := poll(t.Context(), o, bob, query(src, "sleep 15s -- 1"))
		if err != nil || res.Cached {
			t.Errorf("a poll = %+v, %v, want the result of the statement it joined", res, err)
		}
		if got := w.statements.Load(); got > 5 {
			t.Errorf("%d statements ran, want at most 5: polls join", got)
		}
	})
}

// A result is there for those who were told to come back, a failure too, and for nobody after the orphan timeout.
func TestOutcomesAreKeptForPollers(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		src := source("db", driverfactory.Limits{})
		for _, sql := range []string{"sleep 15s", "sleep 15s fail"} {
			before := w.statements.Load()
			req := query(src, sql)
			req.Cache, req.RequestID = orchestrator.NoCache, "a-span-1"
			if _, err := o.Load(t.Context(), alice, req); !isWait(err) {
				t.Fatalf("Load = %v, want Continue wait", err)
			}
			time.Sleep(100 * time.Second)
			req.RequestID = "a-span-2"
			began := time.Now()
			_, err := o.Load(t.Context(), alice, req)
			if (err != nil) != (sql != "sleep 15s") || isWait(err) || time.Since(began) != 0 {
				t.Errorf("the poll of %q = %v after %v, want its outcome at once", sql, err, time.Since(began))
			}
			if got := w.statements.Load() - before; got != 1 {
				t.Errorf("%d statements ran for %q, want 1", got, sql)
			}
			// Another interaction's request is another request.
			req.RequestID = "b-span-1"
			if _, err := o.Load(t.Context(), alice, req); !isWait(err) {
				t.Errorf("Load of another interaction = %v, want Continue wait", err)
			}
			time.Sleep(10 * time.Minute)
		}
		if got := o.Stats().Kept; got != 0 {
			t.Errorf("%d outcomes are still kept", got)
		}
	})
}

func TestAStatementThatNobodyPollsForIsCancelled(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		req := query(source("db", driverfactory.Limits{QueryTimeout: time.Hour}), "sleep 50m")
		for range 20 { // polling keeps it alive
			if _, err := o.Load(t.Context(), alice, req); !isWait(err) {
				t.Fatalf("Load = %v, want Continue wait", err)
			}
			time.Sleep(100 * time.Second)
		}
		if w.canceled.Load() != 0 || w.statements.Load() != 1 {
			t.Errorf("%d statements ran, %d were cancelled, want one that lives", w.statements.Load(), w.canceled.Load())
		}
		time.Sleep(21 * time.Second)
		synctest.Wait()
		if w.canceled.Load() != 1 {
			t.Error("it lives on although nobody polled for 120 s")
		}
	})
}

func TestCancelStopsOnePersonsInteraction(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		w.fallback = true // one statement for both
		alice, bob := person("alice"), person("bob")
		req := query(source("db", driverfactory.Limits{}), "sleep 8s")
		req.RequestID = "tile-span-1"
		a, b := load(t.Context(), o, alice, req), load(t.Context(), o, bob, req)
		synctest.Wait()
		if got := o.Cancel("tile-span-9", alice.Principal); len(got) != 1 || got[0].RequestID != "tile-span-1" || got[0].Queued {
			t.Errorf("Cancel = %+v, want the one statement that runs", got)
		}
		if got := <-a; !errors.Is(got.err, fault.Canceled) {
			t.Errorf("alice's request = %v, want canceled", got.err)
		}
		if got := <-b; got.err != nil {
			t.Errorf("bob's request = %v, want the result", got.err)
		}
		c := load(t.Context(), o, alice, query(source("db", driverfactory.Limits{}), "sleep 9s"))
		synctest.Wait()
		if got := o.Cancel("", alice.Principal); len(got) != 0 {
			t.Errorf("Cancel without a request id = %+v, want nothing", got)
		}
		<-c
		req.Statement.SQL = "sleep 1h"
		d := load(t.Context(), o, alice, req)
		synctest.Wait()
		o.Cancel("tile", alice.Principal)
		<-d
		synctest.Wait()
		if w.canceled.Load() != 1 {
			t.Error("what nobody else waits for was not cancelled at the warehouse")
		}
	})
}

func TestALineAndTheServerHaveTheirBounds(t *testing.T) {
	inBubble(t, orchestrator.Config{MaxQueued: 8}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		src := source("db", driverfactory.Limits{Concurrency: 1, PerUserQueue: 5})
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		fill := func(name string, n int) driverfactory.SecurityContext {
			sc := person(name)
			w.grant(sc.Principal, 1)
			for i := range n {
				load(ctx, o, sc, query(src, fmt.Sprintf("sleep 5m -- %s %d", name, i)))
			}
			synctest.Wait()
			return sc
		}
		alice := fill("alice", 6)
		_, err := o.Load(ctx, alice, query(src, "one more"))
		e, _ := errors.AsType[*fault.Error](err)
		if e == nil || e.Kind != fault.TooMany || e.Code != "too_many_queued" || e.RetryAfter <= 0 {
			t.Errorf("Load over the person's bound = %v, want too_many_queued with a time to retry", err)
		}
		bob := fill("bob", 3)
		if _, err := o.Load(ctx, bob, query(src, "one more")); codeOf(err) != "too_many_queued" {
			t.Errorf("Load over the server's bound = %v, want too_many_queued", err)
		}
		if got := o.Stats().Queued; got != 8 {
			t.Errorf("%d statements wait, want 8", got)
		}
	})
}

func TestWhoGetsNoTurnInTimeIsToldSo(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		src := source("db", driverfactory.Limits{Concurrency: 1, QueryTimeout: time.Hour})
		ctx, stop := context.WithCancel(t.Context())
		go func() { _, _ = poll(ctx, o, alice, query(src, "sleep 50m")) }()
		synctest.Wait()
		began := time.Now()
		_, err := poll(t.Context(), o, alice, query(src, "x"))
		if codeOf(err) != "queue_timeout" || !errors.Is(err, fault.Unavailable) || time.Since(began) != 10*time.Minute {
			t.Errorf("Load = %v after %v, want queue_timeout after 10 min", err, time.Since(began))
		}
		stop()
	})
}

// The outcome comes while a poll is on its way from the finished statements to those under way.
func TestAPollThatMeetsTheEndHearsOfIt(t *testing.T) {
	var pause atomic.Int64
	now := func() time.Time { // asked by a poll that has looked among the finished statements and in the cache
		time.Sleep(time.Duration(pause.Swap(0)))
		return time.Now()
	}
	inBubble(t, orchestrator.Config{Now: now, Cache: resultcache.New(resultcache.Config{})}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		src := source("db", driverfactory.Limits{Concurrency: 1, QueryTimeout: time.Hour})
		x := query(src, "x")
		x.Cache, x.FreshFor = orchestrator.MustRevalidate, time.Second
		if _, err := poll(t.Context(), o, alice, x); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		go func() { _, _ = poll(ctx, o, alice, query(src, "sleep 50m")) }()
		time.Sleep(time.Minute)
		x.Wait = 10*time.Minute - time.Second
		if _, err := o.Load(t.Context(), alice, x); codeOf(err) != "" {
			t.Fatalf("Load = %v, want to be told to wait", err)
		}
		pause.Store(int64(2 * time.Second))
		began := time.Now()
		_, err := o.Load(t.Context(), alice, x)
		if took := time.Since(began); codeOf(err) != "queue_timeout" || took > time.Minute {
			t.Errorf("Load = %v after %v, want the queue_timeout that came meanwhile", err, took)
		}
		stop()
	})
}

func TestRenewalsWaitForPeopleAndAreOvertaken(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice, bob := person("alice"), person("bob")
		w.grant(alice.Principal, 1)
		w.grant(bob.Principal, 1)
		src := source("db", driverfactory.Limits{Concurrency: 1})
		renewed := query(src, "sleep 1s -- renewed")
		renewed.Cache = orchestrator.StaleWhileRevalidate
		if _, err := o.Load(t.Context(), alice, renewed); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		all := []<-chan answer{load(t.Context(), o, bob, query(src, "sleep 1s -- first"))}
		synctest.Wait()
		if res, err := o.Load(t.Context(), alice, renewed); err != nil || !res.Stale {
			t.Errorf("Load = %+v, %v, want the stale result", res, err)
		}
		all = append(all, load(t.Context(), o, bob, query(src, "sleep 1s -- second")))
		for _, c := range all {
			<-c
		}
		time.Sleep(5 * time.Second)
		got := w.started()
		want := []string{"sleep 1s -- renewed", "sleep 1s -- first", "sleep 1s -- second", "sleep 1s -- renewed"}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("they started as %q, want %q", got, want)
		}
	})
}

func TestWhoAsksForWhatIsBeingRenewedGetsATurn(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice, bob := person("alice"), person("bob")
		w.grant(alice.Principal, 1)
		w.grant(bob.Principal, 1)
		src := source("db", driverfactory.Limits{Concurrency: 1})
		renewed := query(src, "sleep 1s -- renewed")
		renewed.Cache = orchestrator.StaleWhileRevalidate
		if _, err := o.Load(t.Context(), alice, renewed); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		for n := range 5 {
			load(t.Context(), o, bob, query(src, fmt.Sprintf("sleep 1s -- %d", n)))
			synctest.Wait()
		}
		if res, err := o.Load(t.Context(), alice, renewed); err != nil || !res.Stale {
			t.Errorf("Load = %+v, %v, want the stale result", res, err)
		}
		renewed.Cache = orchestrator.MustRevalidate
		began := time.Now()
		if _, err := o.Load(t.Context(), alice, renewed); err != nil || time.Since(began) > 3*time.Second {
			t.Errorf("Load = %v after %v, want a turn between bob's", err, time.Since(began))
		}
		time.Sleep(10 * time.Second)
	})
}

func TestLargeOutcomesAreKeptWithinABound(t *testing.T) {
	cfg := orchestrator.Config{
		MaxKeptBytes: 20 << 10,
		Cache:        resultcache.New(resultcache.Config{MaxBytes: 1 << 20, MaxEntryBytes: 4 << 10}),
	}
	inBubble(t, cfg, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		src := source("db", driverfactory.Limits{})
		for n := range 2 { // each about 16 KiB
			if _, err := o.Load(t.Context(), alice, query(src, fmt.Sprintf("sleep 11s rows 700 -- %d", n))); !isWait(err) {
				t.Fatalf("Load = %v, want Continue wait", err)
			}
		}
		time.Sleep(5 * time.Second)
		if s := o.Stats(); s.Kept != 1 || s.KeptSize == 0 || s.KeptSize > cfg.MaxKeptBytes {
			t.Errorf("%d outcomes of %d bytes are kept, want the first only", s.Kept, s.KeptSize)
		}
		for n := range 2 {
			if _, err := poll(t.Context(), o, alice, query(src, fmt.Sprintf("sleep 11s rows 700 -- %d", n))); err != nil {
				t.Errorf("poll = %v", err)
			}
		}
		if got := w.statements.Load(); got != 3 {
			t.Errorf("%d statements ran, want 3: what was not kept runs again", got)
		}
		if s := o.Stats(); s.Kept != 0 || s.KeptSize != 0 {
			t.Errorf("%d outcomes of %d bytes are still kept", s.Kept, s.KeptSize)
		}
	})
}

// confused is a warehouse that mixes people up.
type confused struct {
	*warehouse
	change func(*driverfactory.Choice)
}

func (c confused) Choose(ctx context.Context, sc driverfactory.SecurityContext, src driverfactory.Source, op driverfactory.Operation) (driverfactory.Choice, error) {
	choice, err := c.warehouse.Choose(ctx, sc, src, op)
	c.change(&choice)
	return choice, err
}

func TestAChoiceThatIsNotTheCallersRunsNothing(t *testing.T) {
	for name, change := range map[string]func(*driverfactory.Choice){
		"another person's credential": func(c *driverfactory.Choice) { c.Key.Principal = person("bob").Principal },
		"nobody's credential":         func(c *driverfactory.Choice) { c.Key.Principal = driverfactory.Principal{} },
		"a silent stand-in":           func(c *driverfactory.Choice) { c.Key = driverfactory.PoolKey{Source: "db", Service: true} },
		"a person shown as service":   func(c *driverfactory.Choice) { c.RunAs.Identity = driverfactory.IdentityServiceAccount },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWarehouse(t)
			w.grant(person("alice").Principal, 1)
			o := orchestrator.New(orchestrator.Config{Drivers: confused{w, change}})
			if _, err := o.Load(t.Context(), person("alice"), query(source("db", driverfactory.Limits{}), "x")); err == nil || w.statements.Load() != 0 {
				t.Errorf("Load = %v after %d statements, want a failure and none", err, w.statements.Load())
			}
		})
	}
}

func TestRequestsThatMakeNoSenseAreRefused(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		req := query(source("db", driverfactory.Limits{}), "x")
		req.Cache = "forever"
		if _, err := o.Load(t.Context(), alice, req); !errors.Is(err, fault.Invalid) {
			t.Errorf("Load with a cache mode that does not exist = %v, want invalid", err)
		}
		req.Cache, req.Statement.Args = "", []any{driverfactory.NewSecret("canary")}
		if _, err := o.Load(t.Context(), alice, req); !errors.Is(err, fault.Invalid) {
			t.Errorf("Load with a secret as argument = %v, want invalid", err)
		}
	})
}

// People without a name are many behind one: what bounds one person must not bound all of them.
func TestAnonymousCallersAreNotOnePerson(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		w.fallback = true
		src := source("db", driverfactory.Limits{Concurrency: 8, PerUserConcurrency: 1, PerUserQueue: 1})
		var all []<-chan answer
		for n := range 16 {
			all = append(all, load(t.Context(), o, driverfactory.SecurityContext{Domain: "dom"}, query(src, fmt.Sprintf("sleep 1s -- %d", n))))
		}
		for _, c := range all {
			if got := <-c; got.err != nil {
				t.Error(got.err)
			}
		}
		if w.peak != 8 {
			t.Errorf("%d ran at once, want 8", w.peak)
		}
	})
}

// What stands in for a person is told before anything is answered, from the warehouse or from the cache; and when that
// cannot be recorded, nothing is answered.
func TestAFallbackIsToldBeforeItIsUsed(t *testing.T) {
	var told []string
	var fail error
	cfg := orchestrator.Config{FellBack: func(_ context.Context, sc driverfactory.SecurityContext, req orchestrator.Request, as driverfactory.RunAs) error {
		told = append(told, sc.Username+" "+req.Source.Name+" "+as.Account+" "+as.Reason)
		return fail
	}}
	inBubble(t, cfg, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		w.fallback = true
		w.grant(person("bob").Principal, 1)
		ask := func(name string) error {
			_, err := o.Load(t.Context(), person(name), query(source("db", driverfactory.Limits{}), "x"))
			return err
		}
		for _, name := range []string{"alice", "bob", "alice"} {
			if err := ask(name); err != nil {
				t.Fatalf("Load = %v, want no error", err)
			}
		}
		if want := []string{"alice db svc not_connected", "alice db svc not_connected"}; !slices.Equal(told, want) {
			t.Errorf("told %q, want alice's two queries, the cached one too, and not bob's", told)
		}
		ran := w.statements.Load()
		fail = &fault.Error{Kind: fault.Unavailable, Code: "audit_unavailable"}
		if err := ask("alice"); !errors.Is(err, fault.Unavailable) {
			t.Errorf("Load = %v while nothing can be recorded, want unavailable", err)
		}
		if err := ask("bob"); err != nil {
			t.Errorf("Load = %v as bob himself, want no error", err)
		}
		if n := w.statements.Load(); n != ran {
			t.Errorf("%d statements ran, want none", n-ran)
		}
	})
}

func isWait(err error) bool {
	_, ok := errors.AsType[*orchestrator.ContinueWait](err)
	return ok
}

// What everybody shares of a result is its rows, not who is asking, so that an encoded form is made once.
func TestAHitCanCostAWrite(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		w.fallback = true
		made := 0
		for _, name := range []string{"alice", "bob", "alice"} {
			res, err := o.Load(t.Context(), person(name), query(source("db", driverfactory.Limits{}), "x"))
			if err != nil {
				t.Fatal(err)
			}
			parts, ok, err := res.Encoded("json", func(w io.Writer) error {
				made++
				_, err := io.WriteString(w, "[…]")
				return err
			})
			if body := bytes.Join(parts, nil); err != nil || !ok || string(body) != "[…]" || res.RunAs.Username != name {
				t.Errorf("Encoded = %s, %v, %v for %s", body, ok, err, res.RunAs.Username)
			}
		}
		if made != 1 {
			t.Errorf("the form was made %d times, want once", made)
		}
		if _, ok, err := new(orchestrator.Result).Encoded("json", func(io.Writer) error { return errors.New("asked") }); err != nil || ok {
			t.Errorf("Encoded of a Result of one's own = %v, %v, want it not kept", ok, err)
		}
	})
}
