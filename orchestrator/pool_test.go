package orchestrator_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/orchestrator"
)

func TestAnEvictedOrchestratorDrainsIsRevivedAndCloses(t *testing.T) {
	inBubble(t, orchestrator.Config{Max: 1}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice, bob := person("alice"), person("bob")
		w.grant(alice.Principal, 1)
		w.grant(bob.Principal, 1)
		src := source("db", driverfactory.Limits{})
		first := load(t.Context(), o, alice, query(src, "sleep 5s"))
		synctest.Wait()
		if _, err := o.Load(t.Context(), bob, query(src, "x")); err != nil {
			t.Fatal(err)
		}
		if s := o.Stats().Orchestrators; s.Draining != 1 || s.Warm != 1 {
			t.Errorf("after the eviction %+v, want alice's draining and bob's warm", s)
		}
		second := load(t.Context(), o, alice, query(src, "sleep 6s"))
		synctest.Wait()
		if s := o.Stats(); s.Orchestrators.Draining != 0 || s.Orchestrators.Busy != 1 || w.opened.Load() != 2 || w.closed.Load() != 1 {
			t.Errorf("after she came back %+v with %d drivers opened and %d closed, want hers revived and bob's closed",
				s.Orchestrators, w.opened.Load(), w.closed.Load())
		}
		if _, err := o.Load(t.Context(), bob, query(src, "y")); err != nil {
			t.Fatal(err)
		}
		for _, c := range []<-chan answer{first, second} {
			if got := <-c; got.err != nil {
				t.Errorf("a statement of the evicted one = %v, want it finished", got.err)
			}
		}
		synctest.Wait()
		if s := o.Stats(); s.Orchestrators.Draining != 0 || s.Pools.Open != 1 {
			t.Errorf("at the end %+v, want alice's closed", s)
		}
	})
}

func TestIdleSessionsAreStolenAndBusyOnesAreNot(t *testing.T) {
	capacity := orchestrator.NewCapacity(4, 20*time.Second)
	inBubble(t, orchestrator.Config{Capacity: capacity}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		one, two := source("one", driverfactory.Limits{MaxConnections: 2}), source("two", driverfactory.Limits{})
		use := func(name string, src driverfactory.Source, sql string) <-chan answer {
			sc := person(name)
			w.grant(sc.Principal, 1)
			c := load(t.Context(), o, sc, query(src, sql))
			synctest.Wait()
			return c
		}
		<-use("a", one, "x")
		<-use("b", one, "x")
		<-use("c", two, "x")
		<-use("d", two, "x")
		if open, _ := capacity.Open(); open != 4 {
			t.Fatalf("%d sessions are open, want 4", open)
		}
		// The source is full: a's is the longest idle of its two.
		if got := <-use("e", one, "x"); got.err != nil {
			t.Error(got.err)
		}
		// The process is full: b's is the longest idle of all.
		long := use("f", two, "sleep 5s")
		if s := o.Stats(); s.Sessions.Open != 4 || s.Pools.Open != 4 || w.closed.Load() != 2 {
			t.Errorf("Stats = %+v with %d closed, want 4 sessions, and two pools closed for them", s, w.closed.Load())
		}
		// All sessions of two are busy in the end, and nobody is cut for another.
		busy := []<-chan answer{long, use("g", two, "sleep 8s"), use("h", two, "sleep 8s"), use("i", two, "sleep 8s")}
		late := use("j", one, "x")
		for _, c := range append(busy, late) {
			if got := <-c; got.err != nil {
				t.Errorf("a statement = %v, want it to run in its turn", got.err)
			}
		}
	})
}

func TestWhoFindsNoSessionIsToldSo(t *testing.T) {
	capacity := orchestrator.NewCapacity(1, 20*time.Second)
	inBubble(t, orchestrator.Config{Capacity: capacity}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		src := source("db", driverfactory.Limits{})
		alice, bob := person("alice"), person("bob")
		w.grant(alice.Principal, 1)
		w.grant(bob.Principal, 1)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go func() { _, _ = poll(ctx, o, alice, query(src, "sleep 5m")) }()
		synctest.Wait()
		if _, err := poll(t.Context(), o, bob, query(src, "x")); codeOf(err) != "queue_timeout" || !errors.Is(err, fault.Unavailable) {
			t.Errorf("Load = %v, want queue_timeout", err)
		}
		if _, waiting := capacity.Open(); waiting != 0 {
			t.Errorf("%d still wait for a session", waiting)
		}
	})
}

func TestCloseLetsWorkFinishWithinTheGraceAndCutsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWarehouse(t)
		o := orchestrator.New(orchestrator.Config{Drivers: w})
		alice := person("alice")
		w.grant(alice.Principal, 1)
		src := source("db", driverfactory.Limits{})
		quick, long := load(t.Context(), o, alice, query(src, "sleep 3s")), load(t.Context(), o, alice, query(src, "sleep 9s"))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		closed := make(chan error)
		go func() { closed <- o.Close(ctx) }()
		synctest.Wait()
		if _, err := o.Load(t.Context(), alice, query(src, "x")); codeOf(err) != "shutting_down" {
			t.Errorf("Load after Close = %v, want shutting_down", err)
		}
		if got := <-quick; got.err != nil {
			t.Errorf("what ends within the grace = %v", got.err)
		}
		if got := <-long; codeOf(got.err) != "shutting_down" {
			t.Errorf("what does not = %v, want shutting_down", got.err)
		}
		if err := <-closed; err != nil || w.opened.Load() != w.closed.Load() {
			t.Errorf("Close = %v with %d drivers opened and %d closed", err, w.opened.Load(), w.closed.Load())
		}
		if err := o.Close(t.Context()); err != nil {
			t.Errorf("a second Close = %v", err)
		}
	})
}

func TestASessionThatBecomesIdleIsLentToWhoWaitsForOne(t *testing.T) {
	for name, limits := range map[string]driverfactory.Limits{
		"of the person": {Concurrency: 4, PerUserConcurrency: 4, PerUserConnections: 1},
		"of the source": {Concurrency: 4, PerUserConcurrency: 4, PerUserConnections: 4, MaxConnections: 1},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, orchestrator.Config{Capacity: orchestrator.NewCapacity(0, time.Minute)}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
				alice := person("alice")
				w.grant(alice.Principal, 1)
				src := source("db", limits)
				var all []<-chan answer
				for i := range 4 {
					all = append(all, load(t.Context(), o, alice, query(src, fmt.Sprint("sleep 1s -- ", i))))
				}
				for _, c := range all {
					if got := <-c; got.err != nil {
						t.Errorf("a statement = %v, want it to run in its turn", got.err)
					}
				}
				if n := w.logins.Load(); n != 1 {
					t.Errorf("%d sessions were opened, want 1 that all used", n)
				}
			})
		})
	}
}

// The sessions of a credential that was replaced make way when their statements end, and not when the last of them does.
func TestAnIdleSessionOfAReplacedCredentialMakesWay(t *testing.T) {
	inBubble(t, orchestrator.Config{Capacity: orchestrator.NewCapacity(0, 0)}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		src := source("db", driverfactory.Limits{Concurrency: 4, PerUserConcurrency: 4, PerUserConnections: 2})
		long, short := load(t.Context(), o, alice, query(src, "sleep 25s")), load(t.Context(), o, alice, query(src, "sleep 2s"))
		time.Sleep(500 * time.Millisecond)
		w.grant(alice.Principal, 2)
		o.Forget(alice.Principal.Key(), "app", 2, false)
		began := time.Now()
		if _, err := poll(t.Context(), o, alice, query(src, "x")); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("under the new credential she had a session after %v, want it when the shorter of her statements ended", took)
		}
		<-long
		<-short
	})
}

// What waits for a session has not begun: it begins under no credential that has been replaced meanwhile.
func TestWhoWaitsForASessionBeginsUnderNoReplacedCredential(t *testing.T) {
	inBubble(t, orchestrator.Config{Capacity: orchestrator.NewCapacity(1, 0)}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice, bob := person("alice"), person("bob")
		w.grant(alice.Principal, 1)
		w.grant(bob.Principal, 1)
		src := source("db", driverfactory.Limits{Concurrency: 4})
		other := load(t.Context(), o, bob, query(src, "sleep 5s"))
		synctest.Wait()
		hers := load(t.Context(), o, alice, query(src, "x"))
		synctest.Wait()
		w.grant(alice.Principal, 2)
		o.Forget(alice.Principal.Key(), "app", 2, false)
		<-other
		if got := <-hers; got.err != nil || got.res.Rows.First()[1] != int64(2) || w.ran("x") != 1 {
			t.Errorf("she was answered %+v, %v, by %d statements; want one, under the new credential", got.res, got.err, w.ran("x"))
		}
	})
}
