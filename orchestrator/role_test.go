package orchestrator_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/notify"
	"github.com/behalf-project/behalf/orchestrator"
)

// roleSource is a source whose results are kept for roles.
func roleSource(name string) driverfactory.Source {
	src := source(name, driverfactory.Limits{})
	src.CacheScope = driverfactory.CacheRole
	return src
}

// fetched loads sql and returns who fetched the rows, and whether that is said to be anybody of the role.
func fetched(t *testing.T, o *orchestrator.Orchestrators, sc driverfactory.SecurityContext, src driverfactory.Source, sql string) (by string, ofRole bool) {
	t.Helper()
	req := query(src, sql)
	req.FreshFor = time.Hour
	res, err := poll(t.Context(), o, sc, req)
	if err != nil {
		t.Fatalf("Load of %s = %v", sc.Username, err)
	}
	defer res.Close()
	if res.RunAs.Username != sc.Username {
		t.Errorf("RunAs = %+v, want %s, who asked", res.RunAs, sc.Username)
	}
	return res.Rows.First()[0].(string), res.OfRole
}

// wantFetched fails unless sc is answered with rows that by fetched.
func wantFetched(t *testing.T, what string, o *orchestrator.Orchestrators, sc driverfactory.SecurityContext, src driverfactory.Source, by driverfactory.SecurityContext, ofRole bool) {
	t.Helper()
	got, of := fetched(t, o, sc, src, "a")
	if got != by.Principal.Key() || of != ofRole {
		t.Errorf("%s: %s was given rows that %s fetched, of a role: %t; want those of %s, %t", what, sc.Username, got, of, by.Username, ofRole)
	}
}

// crew are alice and bob of one role, carol of another whose name differs in case only, and dave of none that is known.
func crew(w *warehouse) (alice, bob, carol, dave driverfactory.SecurityContext) {
	alice, bob, carol, dave = person("alice"), person("bob"), person("carol"), person("dave")
	for sc, role := range map[string]string{"alice": "ANALYST", "bob": "ANALYST", "carol": "Analyst", "dave": ""} {
		w.grant(person(sc).Principal, 1)
		w.has(person(sc).Principal, role)
	}
	return alice, bob, carol, dave
}

func TestPeopleOfOneRoleShareWhatTheyFetched(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice, bob, carol, dave := crew(w)
		src := roleSource("s")
		wantFetched(t, "the first of a role", o, alice, src, alice, false)
		wantFetched(t, "the second of it", o, bob, src, alice, true)
		wantFetched(t, "the first again", o, alice, src, alice, true)
		wantFetched(t, "another role", o, carol, src, carol, false)
		wantFetched(t, "no role that is known", o, dave, src, dave, false)
		wantFetched(t, "the same again", o, dave, src, dave, false)
		if n := w.ran("a"); n != 3 {
			t.Errorf("the statement ran %d times, want once for each role and once for who has none", n)
		}
		if n := w.ran("role"); n != 4 {
			t.Errorf("roles were asked for %d times, want once for each person", n)
		}
		for _, other := range []driverfactory.Source{roleSource("other"), source("s", driverfactory.Limits{}), func() driverfactory.Source {
			s := roleSource("s")
			s.Rev = 2
			return s
		}(), func() driverfactory.Source {
			s := roleSource("s")
			s.Domain = "other"
			return s
		}()} {
			wantFetched(t, "a role of the same name elsewhere", o, bob, other, bob, false)
		}
	})
}

func TestWithoutCacheScopeNobodyIsAskedForARole(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice, bob, _, _ := crew(w)
		src := source("s", driverfactory.Limits{})
		wantFetched(t, "a source of scope user", o, alice, src, alice, false)
		wantFetched(t, "a source of scope user", o, bob, src, bob, false)
		if n := w.ran("role"); n != 0 {
			t.Errorf("roles were asked for %d times, want never", n)
		}
	})
}

func TestADriverThatTellsNoRoleKeepsPeopleApart(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice, bob, _, _ := crew(w)
		w.rolesMute = true
		src := roleSource("s")
		wantFetched(t, "a driver without the ability", o, alice, src, alice, false)
		wantFetched(t, "a driver without the ability", o, bob, src, bob, false)
		wantFetched(t, "a driver without the ability", o, alice, src, alice, false)
	})
}

func TestARoleIsBelievedForABoundedTime(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice, bob, _, _ := crew(w)
		src := roleSource("s")
		wantFetched(t, "alice", o, alice, src, alice, false)
		wantFetched(t, "bob", o, bob, src, alice, true)
		w.has(bob.Principal, "INTERN")
		time.Sleep(driverfactory.RoleLife - time.Nanosecond)
		wantFetched(t, "just before the end", o, bob, src, alice, true)
		time.Sleep(time.Nanosecond)
		wantFetched(t, "at the end of it", o, bob, src, bob, false)
		wantFetched(t, "from then on", o, bob, src, bob, true)
	})
}

// What is kept for a role was fetched by a session that told this role itself, whatever was told of the person before.
func TestRowsAreOfTheRoleOfTheirOwnSession(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice, bob, carol, _ := crew(w)
		src := roleSource("s")
		fetched(t, o, alice, src, "something else") // alice is known to be ANALYST
		w.has(alice.Principal, "Analyst")           // and her sessions are not any more
		wantFetched(t, "alice", o, alice, src, alice, false)
		wantFetched(t, "bob, who is what she was", o, bob, src, bob, false)
		wantFetched(t, "carol, who is what she is", o, carol, src, alice, true)
	})
}

func TestTheRoleGoesWithTheCredential(t *testing.T) {
	for _, tt := range []struct {
		name string
		news func(o *orchestrator.Orchestrators, p driverfactory.Principal)
	}{
		{"a new epoch", func(o *orchestrator.Orchestrators, p driverfactory.Principal) { o.Forget(p.Key(), "app", 2, false) }},
		{"a revocation, and a new consent", func(o *orchestrator.Orchestrators, p driverfactory.Principal) {
			o.Forget(p.Key(), "app", 0, true)
		}},
		{"missed news", func(o *orchestrator.Orchestrators, _ driverfactory.Principal) {
			o.Hear(notify.News{Topic: notify.Everything})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
				alice, bob, _, _ := crew(w)
				src := roleSource("s")
				wantFetched(t, "alice", o, alice, src, alice, false)
				wantFetched(t, "bob", o, bob, src, alice, true)
				w.grant(bob.Principal, 2)
				w.has(bob.Principal, "INTERN")
				tt.news(o, bob.Principal)
				wantFetched(t, "bob under the new credential", o, bob, src, bob, false)
			})
		})
	}
}

func TestARevocationTakesWhatWasFetchedForARole(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice, bob, carol, _ := crew(w)
		w.has(carol.Principal, "ANALYST")
		src := roleSource("s")
		wantFetched(t, "alice", o, alice, src, alice, false)
		wantFetched(t, "bob", o, bob, src, alice, true)
		if n := o.Stats().Cache.Entries; n != 3 { // two roles, and the rows
			t.Errorf("%d entries are cached, want 3", n)
		}
		w.revoke(bob.Principal)
		o.Forget(bob.Principal.Key(), "app", 0, true)
		wantFetched(t, "what alice fetched is there", o, carol, src, alice, true)
		if _, err := o.Load(t.Context(), bob, query(src, "a")); !errors.Is(err, fault.ReauthorizationRequired) {
			t.Errorf("Load of bob = %v, want a refusal before the cache is looked into", err)
		}
		w.revoke(alice.Principal)
		o.Hear(notify.News{Topic: notify.UserChanged, Principal: alice.Principal.Key(), Revoked: true})
		wantFetched(t, "what alice fetched is gone", o, carol, src, carol, false)
	})
}

func TestRowsOfTheServiceAccountAndOfRolesAreApart(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice, bob, _, dave := crew(w)
		w.fallback = true
		w.revoke(dave.Principal)
		w.has(driverfactory.Principal{}, "ANALYST")
		src := roleSource("s")
		if by, of := fetched(t, o, dave, src, "a"); by != "service" || of {
			t.Errorf("the fallback was answered by %s, of a role: %t", by, of)
		}
		wantFetched(t, "who has a credential", o, alice, src, alice, false)
		wantFetched(t, "who has a credential", o, bob, src, alice, true)
		if by, of := fetched(t, o, dave, src, "a"); by != "service" || of {
			t.Errorf("the fallback was answered by %s, of a role: %t", by, of)
		}
		if n := w.ran("a"); n != 2 {
			t.Errorf("the statement ran %d times, want 2", n)
		}
	})
}

func TestTheCacheModesAtARole(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice, bob, _, _ := crew(w)
		src := roleSource("s")
		load := func(sc driverfactory.SecurityContext, mode orchestrator.CacheMode, sql string) *orchestrator.Result {
			t.Helper()
			req := query(src, sql)
			req.Cache, req.FreshFor = mode, time.Minute
			res, err := poll(t.Context(), o, sc, req)
			if err != nil {
				t.Fatal(err)
			}
			res.Close()
			return res
		}
		load(alice, orchestrator.NoCache, "a")
		if n := w.ran("role"); n != 0 {
			t.Errorf("no-cache asked for the role %d times, which it has no use for", n)
		}
		if res := load(bob, orchestrator.MustRevalidate, "a"); !res.OfRole {
			t.Error("what no-cache fetched is not there for the role")
		}
		if res := load(bob, orchestrator.NoCache, "a"); res.Cached {
			t.Error("no-cache was answered from the cache")
		}
		time.Sleep(2 * time.Minute)
		if res := load(alice, orchestrator.StaleWhileRevalidate, "a"); !res.OfRole || !res.Stale {
			t.Errorf("stale-while-revalidate: of the role: %t, stale: %t, want both", res.OfRole, res.Stale)
		}
		time.Sleep(time.Second)
		if res := load(bob, orchestrator.MustRevalidate, "a"); res.Rows.First()[0] != alice.Principal.Key() || !res.OfRole {
			t.Errorf("what was fetched behind is of %v, want of alice, for the role", res.Rows.First()[0])
		}
	})
}

func TestAnOlderResultOfARoleIsServedWhileTheRoleIsKnown(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before time.Duration // that bob's role was told before he asks
		served bool
	}{
		{"the role is known still", time.Second, true},
		{"the role was told too long ago when the wait ends", driverfactory.RoleLife - time.Second, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
				alice, bob, _, _ := crew(w)
				src := roleSource("s")
				fetched(t, o, alice, src, "sleep 20s")
				fetched(t, o, bob, src, "something else")
				time.Sleep(tt.before)
				req := query(src, "sleep 20s")
				req.FreshFor = time.Millisecond
				res, err := o.Load(t.Context(), bob, req)
				if _, again := errors.AsType[*orchestrator.ContinueWait](err); again == tt.served {
					t.Fatalf("Load = %v, want an older result: %t", err, tt.served)
				}
				if tt.served {
					if !res.Stale || !res.OfRole {
						t.Errorf("stale: %t, of the role: %t, want both", res.Stale, res.OfRole)
					}
					res.Close()
				}
				time.Sleep(time.Minute)
			})
		})
	}
}

// A refresh key is asked by everybody for themselves, and decides about the rows of the role as it would about their own.
func TestRefreshKeysAtARole(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice, bob, _, _ := crew(w)
		req := query(roleSource("s"), "a")
		req.FreshFor = time.Hour
		req.RefreshKeys = []orchestrator.RefreshKey{{Statement: driverfactory.Statement{SQL: "at 1 read x"}, Every: time.Second}}
		ask := func(sc driverfactory.SecurityContext, cached bool) {
			t.Helper()
			res, err := poll(t.Context(), o, sc, req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Close()
			if res.Cached != cached || len(res.RefreshKeys) != 1 {
				t.Errorf("%s: cached %t with %d keys, want %t with 1", sc.Username, res.Cached, len(res.RefreshKeys), cached)
			}
		}
		key := func() int {
			n := 0
			for _, sql := range w.started() {
				if sql == "at 1 read x" {
					n++
				}
			}
			return n
		}
		ask(alice, false)
		ask(bob, true)
		if n := key(); n != 2 {
			t.Errorf("the refresh key was asked %d times, want once under each credential", n)
		}
		w.change("x")
		time.Sleep(time.Second)
		ask(bob, false)
		ask(alice, true)
	})
}

// A poll waits for its statement and not for the role, which would stand in line behind it.
func TestAPollFindsItsStatementWithoutAskingForTheRole(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice, _, _, _ := crew(w)
		src := roleSource("s")
		src.Limits.PerUserConcurrency = 1
		req := query(src, "sleep 5m")
		req.RequestID = "r-span-1"
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
		defer cancel()
		res, err := poll(ctx, o, alice, req)
		if err != nil {
			t.Fatal(err)
		}
		res.Close()
		if role, slow := w.ran("role"), w.ran("sleep 5m"); role != 1 || slow != 1 {
			t.Errorf("the role was asked for %d times and the statement ran %d times, want once each", role, slow)
		}
	})
}

func TestTheQuestionForARoleIsAStatementOfThePerson(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice, _, _, _ := crew(w)
		w.roleSlow = time.Minute
		src := roleSource("s")
		answers := load(t.Context(), o, alice, query(src, "a"))
		synctest.Wait()
		list, _ := o.Queries(orchestrator.Viewer{Principal: alice.Principal}, "", 0)
		if len(list) != 1 || list[0].Kind != orchestrator.ForRole || list[0].Stage != orchestrator.QueryRunning {
			t.Errorf("Queries = %+v, want the question", list)
		}
		if again, ok := errors.AsType[*orchestrator.ContinueWait]((<-answers).err); !ok {
			t.Errorf("who waits for longer than they may is told %v", again)
		}
		w.revoke(alice.Principal)
		o.Forget(alice.Principal.Key(), "app", 0, true)
		synctest.Wait()
		if n := w.canceled.Load(); n != 1 {
			t.Errorf("%d statements were cut by the revocation, want the question", n)
		}
	})
}

// After a failure nothing older is served, for the role neither.
func TestAFailureEndsWhatIsKeptForTheRole(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice, bob, _, _ := crew(w)
		src := roleSource("s")
		w.tolerate(true)
		fetched(t, o, alice, src, "refuse")
		fetched(t, o, bob, src, "refuse")
		w.tolerate(false)
		req := query(src, "refuse")
		req.Cache = orchestrator.NoCache
		if _, err := o.Load(t.Context(), alice, req); !errors.Is(err, fault.Invalid) {
			t.Fatalf("Load = %v, want the database's refusal", err)
		}
		req.Cache, req.FreshFor = orchestrator.StaleIfSlow, time.Hour
		if _, err := o.Load(t.Context(), bob, req); !errors.Is(err, fault.Invalid) {
			t.Errorf("Load = %v, want the database's refusal and no older rows", err)
		}
	})
}

func TestReplicasShareWhatIsKeptForARole(t *testing.T) {
	inReplicas(t, make([]orchestrator.Config, 2), func(t *testing.T, all []replica) {
		src := roleSource("s")
		var alice, bob, carol, dave driverfactory.SecurityContext
		for _, r := range all {
			alice, bob, carol, dave = crew(r.warehouse)
		}
		one, two := all[0], all[1]
		wantFetched(t, "alice at one", one.Orchestrators, alice, src, alice, false)
		synctest.Wait() // until it is there for both
		wantFetched(t, "bob at the other", two.Orchestrators, bob, src, alice, true)
		wantFetched(t, "alice at the other", two.Orchestrators, alice, src, alice, true)
		if n := two.ran("role"); n != 2 {
			t.Errorf("the other replica asked for roles %d times, want once for each person, whatever the first one knows", n)
		}
		wantFetched(t, "carol, of another role", two.Orchestrators, carol, src, carol, false)
		wantFetched(t, "dave, of none that is known", two.Orchestrators, dave, src, dave, false)

		// Who fetched it has another role by now, and what she fetched under it lies where the first rows lay.
		for _, r := range all {
			r.has(alice.Principal, "Analyst")
		}
		req := query(src, "b")
		req.Cache = orchestrator.NoCache
		for _, role := range []string{"ANALYST", "Analyst"} {
			one.has(alice.Principal, role)
			res, err := poll(t.Context(), one.Orchestrators, alice, req)
			if err != nil {
				t.Fatal(err)
			}
			res.Close()
			time.Sleep(time.Second)
		}
		if by, _ := fetched(t, two.Orchestrators, bob, src, "b"); by != bob.Principal.Key() {
			t.Errorf("bob was given what %s fetched under another role", by)
		}
		if by, _ := fetched(t, two.Orchestrators, carol, src, "b"); by != alice.Principal.Key() {
			t.Errorf("carol was given what %s fetched, want alice, whose role is hers", by)
		}
	})
}

func TestARevocationTakesWhatReplicasKeepForARole(t *testing.T) {
	inReplicas(t, make([]orchestrator.Config, 2), func(t *testing.T, all []replica) {
		src := roleSource("s")
		one, two := all[0], all[1]
		alice, bob, _, _ := crew(one.warehouse)
		crew(two.warehouse)
		wantFetched(t, "alice at one", one.Orchestrators, alice, src, alice, false)
		synctest.Wait() // until it is there for both
		for _, r := range all {
			r.revoke(alice.Principal)
			r.Forget(alice.Principal.Key(), "app", 0, true)
		}
		time.Sleep(time.Second)
		wantFetched(t, "bob at the other, after that", two.Orchestrators, bob, src, bob, false)
		synctest.Wait()
		// In memory of a replica that took it from another one, too.
		wantFetched(t, "alice's role at one", one.Orchestrators, bob, src, bob, true)
		for _, r := range all {
			r.Forget(bob.Principal.Key(), "app", 0, true)
		}
		time.Sleep(time.Second)
		wantFetched(t, "bob, who came back", one.Orchestrators, bob, src, bob, false)
	})
}

// News of who fetched the rows that comes while another replica's are looked for ends them for the role.
func TestNewsOfWhoFetchedRowsForARoleIsNotMissed(t *testing.T) {
	inReplicas(t, make([]orchestrator.Config, 2), func(t *testing.T, all []replica) {
		src := roleSource("s")
		one, two := all[0], all[1]
		alice, bob, _, _ := crew(one.warehouse)
		crew(two.warehouse)
		wantFetched(t, "alice at one", one.Orchestrators, alice, src, alice, false)
		synctest.Wait() // until it is there for both
		two.chosen = func() { two.Forget(alice.Principal.Key(), "app", 2, false) }
		wantFetched(t, "bob at the other", two.Orchestrators, bob, src, bob, false)
	})
}
