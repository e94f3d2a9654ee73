package orchestrator_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/orchestrator"
)

// heard is an Observer that remembers.
type heard struct {
	mu    sync.Mutex
	facts []string
}

func (h *heard) add(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.facts = append(h.facts, fmt.Sprintf(format, args...))
}

// take returns what was heard since the last time.
func (h *heard) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	facts := h.facts
	h.facts = nil
	return facts
}

func (h *heard) Answered(src driverfactory.Source, res *orchestrator.Result, err error) {
	if err != nil {
		h.add("%s refused %s", src.Name, fault.KindOf(err))
		return
	}
	h.add("%s answered, cached %t", src.Name, res.Cached)
}
func (h *heard) Built(err error)                   { h.add("built %v", err) }
func (h *heard) Evicted(why orchestrator.Eviction) { h.add("evicted %s", why) }
func (h *heard) stage(ctx context.Context, stage driverfactory.Stage, began time.Time) (context.Context, func(driverfactory.Source, error)) {
	return ctx, func(src driverfactory.Source, err error) {
		h.add("%s at %s for %v, failed %t", stage, src.Name, time.Since(began), err != nil)
	}
}

func TestAnObserverHearsWhatBecameOfEachQuery(t *testing.T) {
	h := &heard{}
	inBubble(t, orchestrator.Config{Observer: h, Stage: h.stage, Max: 1}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice, bob := person("alice"), person("bob")
		w.grant(alice.Principal, 1)
		src := source("db", driverfactory.Limits{Concurrency: 1})
		heardNow := func(what string, want ...string) {
			t.Helper()
			synctest.Wait()
			got := h.take()
			slices.Sort(got) // of two statements there is no order
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%s: heard %q, want %q", what, got, want)
			}
		}
		ask := func(sc driverfactory.SecurityContext, sql string, wait time.Duration) error {
			req := query(src, sql)
			req.Wait = wait
			res, err := o.Load(t.Context(), sc, req)
			res.Close()
			return err
		}
		if err := ask(alice, "x", 0); err != nil {
			t.Fatal(err)
		}
		heardNow("a first query", "queue at db for 0s, failed false", "execute at db for 0s, failed false", "db answered, cached false")
		if err := ask(alice, "x", 0); err != nil {
			t.Fatal(err)
		}
		heardNow("the same again", "db answered, cached true")
		if err := ask(alice, "refuse", 0); err == nil {
			t.Error("it was not refused")
		}
		heardNow("one that the database refuses", "queue at db for 0s, failed false", "execute at db for 0s, failed true", "db refused invalid")

		first := load(t.Context(), o, alice, query(src, "sleep 5s"))
		synctest.Wait()
		_, again := errors.AsType[*orchestrator.ContinueWait](ask(alice, "y", time.Second))
		if !again {
			t.Error("it was not told to ask again")
		}
		heardNow("one that waits", "queue at db for 0s, failed false")
		if got := <-first; got.err != nil {
			t.Fatal(got.err)
		}
		heardNow("once it had its turn", "execute at db for 5s, failed false", "queue at db for 5s, failed false", "execute at db for 0s, failed false",
			"db answered, cached false")
		if err := ask(alice, "y", time.Second); err != nil {
			t.Error(err)
		}
		heardNow("when it is asked for again", "db answered, cached false")

		if err := ask(bob, "x", 0); !errors.Is(err, fault.ReauthorizationRequired) {
			t.Errorf("bob is told %v", err)
		}
		heardNow("somebody without a grant, who takes alice's place", "evicted capacity", "db refused reauthorization_required")
		list, _ := o.List("", 0)
		if _, err := o.Drain(list[0].ID); err != nil {
			t.Fatal(err)
		}
		heardNow("a drain", "evicted drained")
		if err := ask(bob, "x", 0); err == nil {
			t.Error("he is answered")
		}
		heardNow("whoever comes back", "db refused reauthorization_required")
	})
}

// Stats looks at no orchestrator that does nothing, and counts them all the same.
func TestStatsCountEveryOrchestratorOnce(t *testing.T) {
	inBubble(t, orchestrator.Config{Max: 3}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		src := source("db", driverfactory.Limits{})
		for _, name := range []string{"warm", "busy", "cold", "gone"} {
			w.grant(person(name).Principal, 1)
		}
		gone := load(t.Context(), o, person("gone"), query(src, "sleep 5s"))
		synctest.Wait()
		if _, err := o.Load(t.Context(), person("cold"), query(src, "x")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Minute) // its pool is closed
		<-gone
		gone = load(t.Context(), o, person("gone"), query(src, "sleep 6s"))
		synctest.Wait()
		if _, err := o.Load(t.Context(), person("warm"), query(src, "x")); err != nil {
			t.Fatal(err)
		}
		cached := query(src, "x")
		cached.FreshFor = time.Hour
		if _, err := o.Load(t.Context(), person("cold"), cached); err != nil {
			t.Fatal(err)
		}
		busy := load(t.Context(), o, person("busy"), query(src, "sleep 5s"))
		second := load(t.Context(), o, person("busy"), query(src, "sleep 5s -- again"))
		synctest.Wait()
		s := o.Stats()
		if got := s.Orchestrators; got.Cold != 1 || got.Warm != 1 || got.Busy != 1 || got.Draining != 1 {
			t.Errorf("Stats = %+v, want one of each", got)
		}
		if len(s.Sources) != 1 || s.Sources[0].Running != 3 || s.Sources[0].Open < 3 || s.Sources[0].Idle != s.Sessions.Idle {
			t.Errorf("at the source %+v", s.Sources)
		}
		for _, c := range []<-chan answer{gone, busy, second} {
			if got := <-c; got.err != nil {
				t.Error(got.err)
			}
		}
	})
}
