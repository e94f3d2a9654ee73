package orchestrator_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/orchestrator"
)

// mine is what a person sees.
func mine(sc driverfactory.SecurityContext) orchestrator.Viewer {
	return orchestrator.Viewer{Principal: sc.Principal}
}

var everything = orchestrator.Viewer{All: true}

// facts are what the tests look at of the queries that v sees.
func facts(o *orchestrator.Orchestrators, v orchestrator.Viewer) (all []string) {
	list, _ := o.Queries(v, "", 0)
	for len(list) > 0 {
		q := list[0]
		all = append(all, fmt.Sprintf("%s %s %s %s/%d %s %s x%d", q.Principal.Subject, q.Username, q.RequestID, q.Stage, q.Place, q.Kind, q.Identity, q.Askers))
		list, _ = o.Queries(v, q.ID, 1)
	}
	slices.Sort(all)
	return all
}

// Whose queries are seen, and who may cancel them.
func TestPeopleSeeAndCancelTheirOwnQueries(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice, bob := person("alice"), person("bob")
		w.grant(alice.Principal, 1)
		w.grant(bob.Principal, 1)
		ask := func(sc driverfactory.SecurityContext, id string) <-chan answer {
			req := query(source("db", driverfactory.Limits{Concurrency: 1}), "sleep 1m -- "+id)
			req.RequestID, req.Wait = id+"-span-1", time.Hour
			c := load(t.Context(), o, sc, req)
			synctest.Wait()
			time.Sleep(time.Millisecond) // ids of one millisecond are in no order
			return c
		}
		his := ask(bob, "b1")
		hers := ask(alice, "a1")
		for _, tt := range []struct {
			name string
			v    orchestrator.Viewer
			want string
		}{
			{"bob", mine(bob), "[usr_bob bob b1-span-1 running/0 statement user x1]"},
			{"alice", mine(alice), "[usr_alice alice a1-span-1 waiting/1 statement user x1]"},
			{"who runs the server", everything, "[usr_alice alice a1-span-1 waiting/1 statement user x1 usr_bob bob b1-span-1 running/0 statement user x1]"},
			{"somebody else", mine(person("eve")), "[]"},
			{"bob of another realm", orchestrator.Viewer{Principal: driverfactory.Principal{Realm: "https://idp", Subject: "usr_bob"}}, "[]"},
			{"nobody", orchestrator.Viewer{}, "[]"},
		} {
			if got := fmt.Sprint(facts(o, tt.v)); got != tt.want {
				t.Errorf("%s sees %s, want %s", tt.name, got, tt.want)
			}
		}

		list, _ := o.Queries(mine(bob), "", 0)
		id := list[0].ID
		for _, v := range []orchestrator.Viewer{mine(alice), {}, mine(person("eve"))} {
			if _, err := o.CancelQuery(t.Context(), id, v); !errors.Is(err, fault.NotFound) {
				t.Errorf("somebody else cancels: %v, want that there is no such query", err)
			}
		}
		if n := w.canceled.Load(); n != 0 {
			t.Fatalf("%d statements were cancelled", n)
		}
		c, err := o.CancelQuery(t.Context(), id, everything)
		if err != nil || !c.Confirmed || c.GoesOn || c.Query.ID != id || c.Query.Statement == "" || c.Query.Principal != bob.Principal {
			t.Errorf("cancel = %+v, %v, want it confirmed", c, err)
		}
		if a := <-his; !errors.Is(a.err, fault.Canceled) || w.canceled.Load() != 1 {
			t.Errorf("bob is told %v, and %d statements were cancelled", a.err, w.canceled.Load())
		}
		if _, err := o.CancelQuery(t.Context(), id, everything); !errors.Is(err, fault.NotFound) {
			t.Errorf("cancelled again: %v", err)
		}

		// Alice's has its turn now; another one of hers waits, and she cancels that.
		more := ask(alice, "a2")
		list, _ = o.Queries(mine(alice), "", 0)
		if len(list) != 2 || list[0].Stage != orchestrator.QueryRunning || list[1].Stage != orchestrator.QueryWaiting {
			t.Fatalf("alice sees %+v", list)
		}
		if c, err := o.CancelQuery(t.Context(), list[1].ID, mine(alice)); err != nil || !c.Confirmed {
			t.Errorf("alice cancels what waits: %+v, %v", c, err)
		}
		if a := <-more; !errors.Is(a.err, fault.Canceled) {
			t.Errorf("alice is told %v", a.err)
		}
		if a := <-hers; a.err != nil {
			t.Errorf("what alice did not cancel: %v", a.err)
		}
		if left := facts(o, everything); len(left) != 0 {
			t.Errorf("left are %s", left)
		}
	})
}

// What the service account runs may be what several people wait for: none learns of the others, nor stops it for them.
func TestASharedQueryGoesOnForTheOthers(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		w.fallback = true
		alice, bob := person("alice"), person("bob")
		ask := func(sc driverfactory.SecurityContext, id string) <-chan answer {
			req := query(source("db", driverfactory.Limits{}), "sleep 1m")
			req.RequestID, req.Wait = id, time.Hour
			c := load(t.Context(), o, sc, req)
			synctest.Wait()
			return c
		}
		his, hers := ask(bob, "b1"), ask(alice, "a1")
		ask(driverfactory.SecurityContext{Domain: "dom"}, "n1") // without a name
		for _, tt := range []struct {
			name string
			v    orchestrator.Viewer
			want string
		}{
			{"alice, who came second", mine(alice), "[usr_alice  a1 running/0 statement service_account x1]"},
			{"bob, who began it", mine(bob), "[usr_bob  b1 running/0 statement service_account x1]"},
			{"who runs the server", everything, "[usr_bob bob b1 running/0 statement service_account x3]"},
			{"who does not wait for it", mine(person("eve")), "[]"},
			{"nobody", orchestrator.Viewer{}, "[]"},
		} {
			if got := fmt.Sprint(facts(o, tt.v)); got != tt.want {
				t.Errorf("%s sees %s, want %s", tt.name, got, tt.want)
			}
		}
		list, _ := o.Queries(mine(bob), "", 0)
		c, err := o.CancelQuery(t.Context(), list[0].ID, mine(bob))
		if err != nil || !c.GoesOn || c.Confirmed {
			t.Errorf("bob cancels: %+v, %v, want that it goes on", c, err)
		}
		if a := <-his; !errors.Is(a.err, fault.Canceled) {
			t.Errorf("bob is told %v", a.err)
		}
		if got := facts(o, mine(bob)); len(got) != 0 {
			t.Errorf("bob still sees %s", got)
		}
		if a := <-hers; a.err != nil || w.canceled.Load() != 0 {
			t.Errorf("alice is told %v, and %d statements were cancelled", a.err, w.canceled.Load())
		}
		last := ask(alice, "a2")
		list, _ = o.Queries(mine(alice), "", 0)
		if c, err := o.CancelQuery(t.Context(), list[0].ID, mine(alice)); err != nil || c.GoesOn || !c.Confirmed {
			t.Errorf("the last who waits cancels: %+v, %v, want it confirmed", c, err)
		}
		if a := <-last; !errors.Is(a.err, fault.Canceled) || w.canceled.Load() != 1 {
			t.Errorf("alice is told %v, and %d statements were cancelled", a.err, w.canceled.Load())
		}
	})
}

func TestQueriesComeInPages(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		bob := person("bob")
		w.grant(bob.Principal, 1)
		for n := range 5 {
			req := query(source("db", driverfactory.Limits{}), fmt.Sprintf("sleep 1m -- %d", n))
			req.RequestID, req.Wait = fmt.Sprint(n), time.Hour
			load(t.Context(), o, bob, req)
			synctest.Wait()
			time.Sleep(time.Millisecond)
		}
		var seen []string
		for after, pages := "", 0; pages == 0 || after != ""; pages++ {
			var list []orchestrator.Query
			list, after = o.Queries(mine(bob), after, 2)
			for _, q := range list {
				seen = append(seen, q.RequestID)
			}
			if pages > 3 || len(list) > 2 {
				t.Fatalf("page %d has %d queries", pages, len(list))
			}
		}
		if got := strings.Join(seen, " "); got != "0 1 2 3 4" {
			t.Errorf("the pages hold %s", got)
		}
		list, _ := o.Queries(everything, "", 0)
		for _, q := range list { // so that nothing outlives the test
			if _, err := o.CancelQuery(t.Context(), q.ID, everything); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestAnOrchestratorIsDrainedAndFlushed(t *testing.T) {
	s := &shelf{tables: map[orchestrator.RollupID]map[string]shelved{}}
	inBubble(t, orchestrator.Config{PreAggregations: s, IdleTimeout: time.Hour}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice, bob := person("alice"), person("bob")
		w.grant(alice.Principal, 1)
		w.grant(bob.Principal, 1)
		req := query(source("db", driverfactory.Limits{}), "at x")
		cached := func(sc driverfactory.SecurityContext) bool {
			t.Helper()
			res, err := o.Load(t.Context(), sc, req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Close()
			return res.Cached
		}
		named := func(name string) orchestrator.Open {
			t.Helper()
			list, next := o.List("", 0)
			for next != "" {
				var more []orchestrator.Open
				more, next = o.List(next, 1)
				list = append(list, more...)
			}
			i := slices.IndexFunc(list, func(one orchestrator.Open) bool { return one.Name == name })
			if i < 0 {
				return orchestrator.Open{}
			}
			return list[i]
		}
		for _, sc := range []driverfactory.SecurityContext{alice, bob} {
			for n := range 3 { // and its rollup is built behind the second
				if _, err := o.Load(t.Context(), sc, aggregated()); err != nil {
					t.Fatal(err)
				}
				if cached(sc) != (n > 0) {
					t.Fatalf("request %d of %s is answered from the cache: %t", n, sc.Username, n == 0)
				}
				synctest.Wait()
			}
		}
		his := named("CUBE_APP_bob")
		if his.State != orchestrator.Warm || his.Username != "bob" || !slices.Equal(his.People, []driverfactory.Principal{bob.Principal}) || his.Results == 0 || his.ResultBytes == 0 || his.Waiting+his.Running != 0 {
			t.Errorf("bob's orchestrator is %+v", his)
		}
		rollups := func(v orchestrator.Viewer) (n int) {
			list, next := o.Rollups(v, "", 0)
			for next != "" {
				var more []orchestrator.Stored
				more, next = o.Rollups(v, next, 1)
				list = append(list, more...)
			}
			for _, r := range list {
				if r.Name != "orders.main" || r.State != orchestrator.BuildDone || r.Partitions != 1 || !v.All && r.Scope.Principal != v.Principal {
					t.Errorf("a rollup is %+v", r)
				}
			}
			return len(list)
		}
		if own, all, none := rollups(mine(bob)), rollups(everything), rollups(orchestrator.Viewer{}); own != 1 || all != 2 || none != 0 {
			t.Errorf("bob sees %d rollups, who runs the server %d, nobody %d", own, all, none)
		}

		f, err := o.Flush(t.Context(), his.ID)
		if err != nil || f.Results == 0 || f.Rollups != 1 {
			t.Errorf("flush = %+v, %v", f, err)
		}
		if rollups(mine(bob)) != 0 || rollups(mine(alice)) != 1 {
			t.Error("the rollup of bob is there, or that of alice is not")
		}
		if cached(bob) || !cached(alice) {
			t.Error("bob is answered from the cache, or alice is not")
		}

		closed := w.closed.Load()
		d, err := o.Drain(his.ID)
		synctest.Wait()
		if err != nil || d.Closed != 1 || d.Under != 0 || w.closed.Load() != closed+1 {
			t.Errorf("drain = %+v, %v, and %d drivers were closed", d, err, w.closed.Load()-closed)
		}
		if gone := named("CUBE_APP_bob"); gone.Name != "" || named("CUBE_APP_alice").State != orchestrator.Warm {
			t.Errorf("after that there is %+v", gone)
		}
		if _, err := o.Drain(his.ID); !errors.Is(err, fault.NotFound) {
			t.Errorf("drained again: %v", err)
		}
		if _, err := o.Flush(t.Context(), "orc_x"); !errors.Is(err, fault.NotFound) {
			t.Errorf("something unknown flushed: %v", err)
		}
		if !cached(bob) {
			t.Error("draining dropped a result")
		}

		// What runs ends as it would have.
		req.Statement.SQL = "sleep 5s"
		running := load(t.Context(), o, bob, req)
		synctest.Wait()
		if d, err := o.Drain(his.ID); err != nil || d.Under != 1 {
			t.Errorf("drain of a busy one = %+v, %v", d, err)
		}
		if one := named("CUBE_APP_bob"); one.State != orchestrator.Draining || one.Running != 1 {
			t.Errorf("it is %+v", one)
		}
		if a := <-running; a.err != nil {
			t.Errorf("what ran while it was drained: %v", a.err)
		}
		synctest.Wait()
		if one := named("CUBE_APP_bob"); one.Name != "" {
			t.Errorf("it is still %+v", one)
		}
	})
}

func TestAnOrchestratorOfManyPeopleIsNotFlushedForSome(t *testing.T) {
	inBubble(t, orchestrator.Config{
		ID: func(_ context.Context, _ driverfactory.SecurityContext) (string, error) { return "tenant", nil },
	}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		for n := range 40 {
			sc := person(fmt.Sprint("p", n))
			w.grant(sc.Principal, 1)
			if _, err := o.Load(t.Context(), sc, query(source("db", driverfactory.Limits{}), "at x")); err != nil {
				t.Fatal(err)
			}
		}
		list, _ := o.List("", 0)
		if len(list) != 1 || !list[0].Crowded || len(list[0].People) != 32 {
			t.Fatalf("there are %+v", list)
		}
		if _, err := o.Flush(t.Context(), list[0].ID); codeOf(err) != "too_many_people" {
			t.Errorf("flush = %v", err)
		}
	})
}
