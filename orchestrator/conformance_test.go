package orchestrator_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/notify"
	"github.com/behalf-project/behalf/orchestrator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The tests of this file are those of orchestrator.md §19 by number.

func Test02FiftyEqualRequestsOfOnePersonAreOneStatementOfTwoPeopleTwo(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice, bob := person("alice"), person("bob")
		w.grant(alice.Principal, 1)
		w.grant(bob.Principal, 1)
		req := query(source("db", driverfactory.Limits{}), "sleep 3s")
		var all []<-chan answer
		var who []driverfactory.SecurityContext
		for range 50 {
			for _, sc := range []driverfactory.SecurityContext{alice, bob} {
				all = append(all, load(t.Context(), o, sc, req))
				who = append(who, sc)
			}
		}
		for i, c := range all {
			got := <-c
			if got.err != nil {
				t.Fatal(got.err)
			}
			if want := who[i].Principal.Key(); got.res.Rows.First()[0] != want {
				t.Fatalf("%s was given the rows of %v", want, got.res.Rows.First()[0])
			}
			if got.res.RunAs.Username != who[i].Username {
				t.Errorf("RunAs.Username = %q, want %q", got.res.RunAs.Username, who[i].Username)
			}
		}
		if got := w.statements.Load(); got != 2 {
			t.Errorf("%d statements ran, want 2", got)
		}
	})
}

// What the service account fetched is everybody's: the row rules are in the statement. The answer still says who asked.
func Test02StatementsOfTheServiceAccountAreShared(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		w.fallback = true
		req := query(source("db", driverfactory.Limits{}), "sleep 3s")
		alice, bob := load(t.Context(), o, person("alice"), req), load(t.Context(), o, person("bob"), req)
		for name, c := range map[string]<-chan answer{"alice": alice, "bob": bob} {
			got := <-c
			if got.err != nil || got.res.RunAs.Identity != driverfactory.IdentityServiceAccount || got.res.RunAs.Username != name {
				t.Errorf("%s: RunAs = %+v, %v, want the service account and who asked", name, got.res.RunAs, got.err)
			}
		}
		if got := w.statements.Load(); got != 1 {
			t.Errorf("%d statements ran, want 1", got)
		}
	})
}

func Test03RotationStormStartsNothingOnASupersededEpoch(t *testing.T) {
	const people, rotations = 100, 20
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		src := source("db", driverfactory.Limits{Concurrency: 64})
		ctx, stop := context.WithCancel(t.Context())
		var loads, storm sync.WaitGroup
		var mu sync.Mutex
		announced := map[driverfactory.Principal]int64{}
		for i := range people {
			sc := person(fmt.Sprintf("p%d", i))
			w.grant(sc.Principal, 1)
			for worker := range 2 {
				loads.Go(func() {
					for n := 0; ctx.Err() == nil; n++ {
						mu.Lock()
						atLeast := announced[sc.Principal]
						mu.Unlock()
						req := query(src, fmt.Sprintf("sleep 7ms -- %d %d", worker, n%3))
						res, err := poll(ctx, o, sc, req)
						if ctx.Err() != nil {
							return
						}
						if err != nil {
							if codeOf(err) != "credential_changing" {
								t.Errorf("Load = %v", err)
							}
							continue
						}
						if epoch := res.Rows.First()[1].(int64); epoch < atLeast {
							t.Errorf("a request made at epoch %d was answered from epoch %d", atLeast, epoch)
						}
						time.Sleep(time.Millisecond)
					}
				})
			}
			storm.Go(func() {
				for epoch := int64(2); epoch <= rotations+1; epoch++ {
					time.Sleep(time.Duration(rand.IntN(20)+1) * time.Millisecond)
					w.grant(sc.Principal, epoch)
					o.Forget(sc.Principal.Key(), "app", epoch, false)
					mu.Lock()
					announced[sc.Principal] = epoch
					mu.Unlock()
				}
			})
		}
		storm.Wait()
		stop()
		loads.Wait()
		time.Sleep(5 * time.Minute) // pools idle out, nobody polls
		synctest.Wait()
		s := o.Stats()
		if s.Pools.Open != 0 || s.Sessions.Open != 0 || s.Running != 0 || s.Queued != 0 || s.Kept != 0 {
			t.Errorf("after the storm Stats = %+v, want nothing open", s)
		}
	})
}

func Test04RevocationCutsPurgesAndRefuses(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice, bob := person("alice"), person("bob")
		w.grant(alice.Principal, 1)
		w.grant(bob.Principal, 1)
		src := source("db", driverfactory.Limits{PerUserConcurrency: 1})
		for _, sc := range []driverfactory.SecurityContext{alice, bob} {
			if _, err := o.Load(t.Context(), sc, query(src, "cached")); err != nil {
				t.Fatal(err)
			}
		}
		running := load(t.Context(), o, alice, query(src, "sleep 5m"))
		waiting := load(t.Context(), o, alice, query(src, "sleep 6m"))
		others := load(t.Context(), o, bob, query(src, "sleep 2s"))
		synctest.Wait()

		began := time.Now()
		w.revoke(alice.Principal)
		o.Hear(notify.News{Topic: notify.GrantChanged, Principal: alice.Principal.Key(), AppID: "oap_1", Revoked: true})
		for name, c := range map[string]<-chan answer{"running": running, "waiting": waiting} {
			got := <-c
			if !errors.Is(got.err, fault.ReauthorizationRequired) {
				t.Errorf("the %s statement ended with %v, want reauthorization_required", name, got.err)
			}
			if e, ok := errors.AsType[*fault.Error](got.err); !ok || len(e.Actions) != 1 || e.Params["oauth_app"] != "app" {
				t.Errorf("the %s statement's refusal %+v has no link", name, e)
			}
		}
		synctest.Wait()
		if took := time.Since(began); took > 2*time.Second || w.canceled.Load() != 1 {
			t.Errorf("%d statements were cancelled at the warehouse after %v, want 1 within 2 s", w.canceled.Load(), took)
		}
		if _, err := o.Load(t.Context(), alice, query(src, "cached")); !errors.Is(err, fault.ReauthorizationRequired) {
			t.Errorf("the next request = %v, want reauthorization_required", err)
		}
		if got := o.Stats().Cache.Entries; got != 1 {
			t.Errorf("%d results are cached, want only bob's", got)
		}
		if got := <-others; got.err != nil {
			t.Errorf("bob's statement = %v, want it untouched", got.err)
		}
		if got := w.statements.Load(); got != 4 {
			t.Errorf("%d statements started, want 4: the waiting one never", got)
		}
	})
}

func Test04ACutQueryEndsAsRevokedEvenWhereTheNextFallsBack(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		w.fallback = true
		req := query(source("db", driverfactory.Limits{}), "sleep 5s")
		running := load(t.Context(), o, alice, req)
		synctest.Wait()
		w.revoke(alice.Principal)
		o.Forget(alice.Principal.Key(), "app", 0, true)
		if got := <-running; !errors.Is(got.err, fault.ReauthorizationRequired) {
			t.Errorf("the cut statement ended with %+v, %v, want reauthorization_required", got.res, got.err)
		}
		if res, err := o.Load(t.Context(), alice, req); err != nil || res.RunAs.Identity != driverfactory.IdentityServiceAccount {
			t.Errorf("the next = %+v, %v, want the service account", res, err)
		}
	})
}

func Test04NewsThatComesBetweenChoiceAndStatementIsNotMissed(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		w.chosen = func() {
			w.grant(alice.Principal, 2)
			o.Forget(alice.Principal.Key(), "app", 2, false)
		}
		res, err := o.Load(t.Context(), alice, query(source("db", driverfactory.Limits{}), "x"))
		if err != nil || res.Rows.First()[1] != int64(2) || w.statements.Load() != 1 {
			t.Errorf("Load = %+v, %v after %d statements, want one on epoch 2", res, err, w.statements.Load())
		}
	})
}

func Test07AFloodDelaysAnotherPersonByOneTurn(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		src := source("db", driverfactory.Limits{Concurrency: 4, PerUserConcurrency: 4, PerUserQueue: 1000})
		for n := range 1000 {
			load(t.Context(), o, alice, query(src, fmt.Sprintf("sleep 1s -- %d", n)))
		}
		synctest.Wait()
		for n := range 50 {
			sc := person(fmt.Sprintf("p%d", n))
			w.grant(sc.Principal, 1)
			began := time.Now()
			if _, err := o.Load(t.Context(), sc, query(src, "sleep 1s")); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > 2*time.Second {
				t.Fatalf("person %d waited %v behind a flood, want at most a slot's turnover and the own statement", n, took)
			}
		}
	})
}

func Test07EverybodysTurnComes(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		src := source("db", driverfactory.Limits{Concurrency: 1})
		var all []<-chan answer
		for _, name := range []string{"a", "b", "c"} {
			sc := person(name)
			w.grant(sc.Principal, 1)
			for n := range 3 {
				all = append(all, load(t.Context(), o, sc, query(src, fmt.Sprintf("sleep 1s -- %s%d", name, n))))
				synctest.Wait()
			}
		}
		for _, c := range all {
			if got := <-c; got.err != nil {
				t.Fatal(got.err)
			}
		}
		var order []string
		for _, sql := range w.started() {
			order = append(order, sql[len("sleep 1s -- "):])
		}
		if got, want := strings.Join(order, " "), "a0 a1 b0 c0 a2 b1 c1 b2 c2"; got != want {
			t.Errorf("they started as %s, want %s", got, want)
		}
	})
}

func Test08CapsAreNeverExceeded(t *testing.T) {
	inBubble(t, orchestrator.Config{Capacity: orchestrator.NewCapacity(8, time.Minute)}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		one := source("one", driverfactory.Limits{Concurrency: 6, PerUserConcurrency: 2, MaxConnections: 5})
		two := source("two", driverfactory.Limits{Concurrency: 6, PerUserConcurrency: 2, MaxConnections: 5})
		done := make(chan struct{})
		go func() {
			for {
				select {
				case <-done:
					return
				case <-time.After(time.Millisecond):
					if open := o.Stats().Sessions.Open; open > 8 {
						t.Errorf("%d sessions are open, want at most 8", open)
					}
				}
			}
		}()
		var all sync.WaitGroup
		for i := range 40 {
			sc := person(fmt.Sprintf("p%d", i))
			w.grant(sc.Principal, 1)
			all.Go(func() {
				for n := range 25 {
					src := one
					if (i+n)%2 == 0 {
						src = two
					}
					req := query(src, fmt.Sprintf("sleep %dms -- %d", 1+(i*n)%50, n))
					if _, err := poll(t.Context(), o, sc, req); err != nil {
						t.Errorf("Load = %v", err)
					}
				}
			})
		}
		all.Wait()
		close(done)
		synctest.Wait()
		if w.peak > 8 {
			t.Errorf("%d statements ran at once on 8 sessions", w.peak)
		}
		for who, n := range w.peakOf {
			if n > 2 {
				t.Errorf("%v had %d statements at once at one source, want at most 2", who, n)
			}
		}
		if got := w.statements.Load(); got != 40*25 {
			t.Errorf("%d statements ran, want %d", got, 40*25)
		}
	})
}

func Test10ADisconnectedClientsStatementIsCancelledAfterTheGrace(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		req := query(source("db", driverfactory.Limits{}), "sleep 9m")
		ctx, hangUp := context.WithCancel(t.Context())
		gone := load(ctx, o, alice, req)
		synctest.Wait()
		hangUp()
		if got := <-gone; !errors.Is(got.err, fault.Canceled) {
			t.Errorf("Load of who hung up = %v, want canceled", got.err)
		}
		time.Sleep(39 * time.Second)
		synctest.Wait()
		if w.canceled.Load() != 0 {
			t.Error("the statement was cancelled before its grace of 40 s")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if w.canceled.Load() != 1 || o.Stats().Running != 0 {
			t.Errorf("%d statements were cancelled, %d run, want it cancelled after the grace", w.canceled.Load(), o.Stats().Running)
		}
	})
}

func Test10WhoComesBackWithinTheGraceGetsTheResult(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		req := query(source("db", driverfactory.Limits{}), "sleep 30s")
		req.Cache, req.RequestID = orchestrator.NoCache, "tile-span-1"
		ctx, hangUp := context.WithCancel(t.Context())
		gone := load(ctx, o, alice, req)
		synctest.Wait()
		hangUp()
		<-gone
		time.Sleep(25 * time.Second)
		req.RequestID = "tile-span-2"
		if _, err := o.Load(t.Context(), alice, req); err != nil {
			t.Fatal(err)
		}
		if got := w.statements.Load(); got != 1 {
			t.Errorf("%d statements ran, want 1", got)
		}
	})
}

func Test12PeoplesFailuresDoNotTouchHealth(t *testing.T) {
	src := source("db", driverfactory.Limits{})
	cfg := orchestrator.Config{Sources: func() []driverfactory.Source { return []driverfactory.Source{src} }}
	inBubble(t, cfg, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		synctest.Wait()
		for range 20 {
			if _, err := o.Load(t.Context(), person("alice"), query(src, "x")); !errors.Is(err, fault.ReauthorizationRequired) {
				t.Fatalf("Load = %v, want a refusal", err)
			}
			time.Sleep(10 * time.Second)
		}
		if got := o.Sources(); len(got) != 1 || got[0].State != orchestrator.Up {
			t.Errorf("Sources = %+v, want up", got)
		}
	})
}

func Test14AnUnstableOrchestratorIDIsRefusedAtOnce(t *testing.T) {
	n := 0
	for _, tt := range []struct {
		name, code string
		id         func(driverfactory.SecurityContext) string
	}{
		{"random", "unstable_orchestrator_id", func(driverfactory.SecurityContext) string { n++; return fmt.Sprint("APP_", n) }},
		{"empty", "bad_orchestrator_id", func(driverfactory.SecurityContext) string { return "" }},
		{"huge", "bad_orchestrator_id", func(driverfactory.SecurityContext) string { return strings.Repeat("x", 10_000) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id := func(_ context.Context, sc driverfactory.SecurityContext) (string, error) { return tt.id(sc), nil }
			inBubble(t, orchestrator.Config{ID: id}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
				_, err := o.Load(t.Context(), person("alice"), query(source("db", driverfactory.Limits{}), "x"))
				if !errors.Is(err, fault.Invalid) || codeOf(err) != tt.code {
					t.Errorf("Load = %v, want invalid with code %s", err, tt.code)
				}
			})
		})
	}
}

func Test15TenThousandPeopleLeaveNothingOpen(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		src := source("db", driverfactory.Limits{})
		for i := range 10_000 {
			sc := person(fmt.Sprintf("p%d", i))
			w.grant(sc.Principal, 1)
			if _, err := o.Load(t.Context(), sc, query(src, "x")); err != nil {
				t.Fatal(err)
			}
		}
		if got := o.Stats(); got.Pools.Open != 10_000 || got.Orchestrators.Warm != 10_000 {
			t.Errorf("Stats = %+v, want 10,000 warm", got)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		got := o.Stats()
		if got.Pools.Open != 0 || got.Orchestrators.Cold != 10_000 || w.closed.Load() != 10_000 {
			t.Errorf("after the idle timeout Stats = %+v, %d closed, want no pool", got, w.closed.Load())
		}
	})
}

func Test16EqualUsernamesOfTwoIssuersShareNothing(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		ours, theirs := person("alice"), person("alice")
		theirs.Principal.Realm = "https://idp.example.com"
		w.grant(ours.Principal, 7)
		w.grant(theirs.Principal, 7)
		src := source("db", driverfactory.Limits{Concurrency: 2, PerUserConcurrency: 1})
		req := query(src, "sleep 1s")
		req.RequestID = "same"
		a, b := load(t.Context(), o, ours, req), load(t.Context(), o, theirs, req)
		for sc, c := range map[string]<-chan answer{ours.Principal.Key(): a, theirs.Principal.Key(): b} {
			if got := <-c; got.err != nil || got.res.Cached || got.res.Rows.First()[0] != sc {
				t.Errorf("%s was answered %+v, %v", sc, got.res, got.err)
			}
		}
		// Neither's line holds the other up, although one orchestrator serves both.
		began := time.Now()
		a, b = load(t.Context(), o, ours, query(src, "sleep 2s")), load(t.Context(), o, theirs, query(src, "sleep 2s"))
		<-a
		<-b
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("two people's statements took %v, want 2 s side by side", took)
		}
		if got := o.Cancel("same", theirs.Principal); len(got) != 0 {
			t.Errorf("Cancel = %+v, want nothing to cancel", got)
		}
		o.Forget(theirs.Principal.Key(), "app", 0, true)
		if res, err := o.Load(t.Context(), ours, req); err != nil || !res.Cached {
			t.Errorf("after the other's revocation Load = %+v, %v, want the own result from the cache", res, err)
		}
	})
}
