package orchestrator_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/redis"
	"github.com/behalf-project/behalf/internal/redis/redistest"
	"github.com/behalf-project/behalf/internal/resultcache"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/sharedcache"
	"github.com/behalf-project/behalf/internal/sharedcache/sharedcachetest"
	"github.com/behalf-project/behalf/orchestrator"
)

// inTwo runs test with two replicas in a bubble, at both of which ann and bob have grants.
func inTwo(t *testing.T, cfg orchestrator.Config, test func(t *testing.T, a, b replica)) {
	t.Helper()
	inReplicas(t, []orchestrator.Config{cfg, cfg}, func(t *testing.T, all []replica) {
		for _, r := range all {
			r.grant(person("ann").Principal, 1)
			r.grant(person("bob").Principal, 1)
		}
		test(t, all[0], all[1])
	})
}

// answered runs req and fails unless it is answered, then or at a poll. It returns once the answer is everywhere.
func (r replica) answered(t *testing.T, who string, req orchestrator.Request) *orchestrator.Result {
	t.Helper()
	res, err := poll(t.Context(), r.Orchestrators, person(who), req)
	if err != nil {
		t.Fatal(err)
	}
	res.Close()
	synctest.Wait()
	return res
}

func TestWhatOneReplicaFetchedIsServedByAnother(t *testing.T) {
	inTwo(t, orchestrator.Config{}, func(t *testing.T, a, b replica) {
		req := query(source("db", driverfactory.Limits{}), "a")
		req.FreshFor = time.Minute
		first := a.answered(t, "ann", req)
		for _, mode := range []orchestrator.CacheMode{orchestrator.StaleIfSlow, orchestrator.StaleWhileRevalidate, orchestrator.MustRevalidate} {
			req.Cache = mode
			if res := b.answered(t, "ann", req); !res.Cached || res.Stale || !res.RefreshedAt.Equal(first.RefreshedAt) || res.RunAs.Username != "ann" {
				t.Errorf("%s at the other replica: %+v, want the first one's result", mode, res)
			}
		}
		if n := b.ran("a"); n != 0 {
			t.Errorf("the other replica ran it %d times", n)
		}
		if res := b.answered(t, "bob", req); res.Cached || res.Rows.First()[0] != person("bob").Principal.Key() {
			t.Errorf("bob was given %v", res.Rows.First())
		}
		req.Cache = orchestrator.NoCache
		if res := b.answered(t, "ann", req); res.Cached || b.ran("a") != 2 {
			t.Errorf("no-cache: %d statements, want one for bob and one for ann", b.ran("a"))
		}
		req.Cache = orchestrator.MustRevalidate
		time.Sleep(2 * time.Minute)
		a.answered(t, "ann", req)
		if a.ran("a") != 2 {
			t.Error("a result that is not fresh was served")
		}
		if s := b.Stats().Shared; s.Hits == 0 || s.Puts == 0 {
			t.Errorf("Stats = %+v, want hits and puts", s)
		}
	})
}

func TestASourceThatIsConfiguredOtherwiseSharesNothing(t *testing.T) {
	inTwo(t, orchestrator.Config{}, func(t *testing.T, a, b replica) {
		req := query(source("db", driverfactory.Limits{}), "a")
		a.answered(t, "ann", req)
		for name, change := range map[string]func(*driverfactory.Source){
			"another revision": func(s *driverfactory.Source) { s.Rev++ },
			"another host":     func(s *driverfactory.Source) { s.Options = map[string]string{"host": "new"} },
		} {
			other, before := req, b.ran(req.Statement.SQL)
			change(&other.Source)
			if res := b.answered(t, "ann", other); res.Cached || b.ran(req.Statement.SQL) != before+1 {
				t.Errorf("%s: what the other source returned was served", name)
			}
		}
	})
}

func TestOneReplicaRunsWhatBothAreAsked(t *testing.T) {
	inTwo(t, orchestrator.Config{}, func(t *testing.T, a, b replica) {
		req := query(source("db", driverfactory.Limits{}), "sleep 30s")
		first := load(t.Context(), a.Orchestrators, person("ann"), req)
		synctest.Wait()
		began := time.Now()
		res := b.answered(t, "ann", req)
		if took := time.Since(began); res.Rows.First()[0] != person("ann").Principal.Key() || took > 31*time.Second {
			t.Errorf("%v after %v, want the first one's rows when they are there", res.Rows.First(), took)
		}
		if a.ran(req.Statement.SQL) != 1 || b.ran(req.Statement.SQL) != 0 {
			t.Errorf("%d and %d statements, want one", a.ran(req.Statement.SQL), b.ran(req.Statement.SQL))
		}
		(<-first).res.Close()
	})
}

func TestALoaderThatIsGoneDelaysNobodyForLong(t *testing.T) {
	for _, tt := range []struct {
		name   string
		sql    string
		end    func(t *testing.T, a replica)
		within time.Duration // of the end
		runs   int           // at the second replica
	}{
		{"cancelled", "first 30s", func(t *testing.T, a replica) { a.Cancel("r-span-1", person("ann").Principal) }, time.Second, 1},
		{"of a statement that fails", "sleep 5s fail", func(*testing.T, replica) {}, 12 * time.Second, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inTwo(t, orchestrator.Config{}, func(t *testing.T, a, b replica) {
				b.ranOnce(tt.sql)
				req := query(source("db", driverfactory.Limits{}), tt.sql)
				req.RequestID, req.Wait = "r-span-1", time.Hour
				first := load(t.Context(), a.Orchestrators, person("ann"), req)
				synctest.Wait()
				second := load(t.Context(), b.Orchestrators, person("ann"), req)
				time.Sleep(2 * time.Second)
				ended := time.Now()
				tt.end(t, a)
				got := <-second
				if took := time.Since(ended); took > tt.within || b.ran(tt.sql)-1 != tt.runs {
					t.Errorf("answered after %v, with %d statements, want %d within %v", took, b.ran(tt.sql)-1, tt.runs, tt.within)
				}
				if got.err == nil {
					got.res.Close()
				}
				if got := <-first; got.err == nil {
					got.res.Close()
				}
			})
		})
	}
	t.Run("dead", func(t *testing.T) {
		inTwo(t, orchestrator.Config{}, func(t *testing.T, a, b replica) {
			req := query(source("db", driverfactory.Limits{}), "sleep 5s")
			choice, err := a.warehouse.Choose(t.Context(), person("ann"), req.Source, driverfactory.UserQuery)
			if err != nil {
				t.Fatal(err)
			}
			key, err := resultcache.KeyOf(choice.Key, req.Statement)
			if err != nil {
				t.Fatal(err)
			}
			life, die := context.WithCancel(t.Context())
			if l := a.shared.Begin(life, sharedcache.Key{Key: key, Source: req.Source.Digest()}, resultcache.Values{}); !l.Mine {
				t.Fatal("it is not the loader")
			}
			second := load(t.Context(), b.Orchestrators, person("ann"), req)
			time.Sleep(3 * time.Second)
			die()
			ended := time.Now()
			got := <-second
			if took := time.Since(ended); got.err != nil || took > 6200*time.Millisecond || b.ran(req.Statement.SQL) != 1 {
				t.Errorf("answered after %v, %v, want its own 5 s and a lease", took, got.err)
			}
			got.res.Close()
		})
	})
}

// ranOnce makes "first" of sql a statement that has run already.
func (r replica) ranOnce(sql string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.order = append(r.order, sql)
}

func TestARevocationEndsWhatOtherReplicasWouldFind(t *testing.T) {
	inTwo(t, orchestrator.Config{}, func(t *testing.T, a, b replica) {
		ann := person("ann")
		req := query(source("db", driverfactory.Limits{}), "a")
		req.FreshFor = time.Hour
		a.answered(t, "ann", req)
		bobs := a.answered(t, "bob", req)
		running := query(req.Source, "sleep 5s")
		cut := load(t.Context(), a.Orchestrators, ann, running)
		synctest.Wait()

		// The first replica hears of it, the second one not yet: it still has the old choice.
		a.Forget(ann.Principal.Key(), "app", 0, true)
		synctest.Wait()
		if got := <-cut; got.err == nil {
			t.Error("a statement survived the revocation")
		}
		if res := b.answered(t, "ann", req); res.Cached {
			t.Error("what was purged was served")
		}
		b.Forget(ann.Principal.Key(), "app", 0, true)
		synctest.Wait()
		// The same credential again, as a token in a JWT may be: what it fetched before is gone.
		if res := a.answered(t, "ann", req); res.Cached {
			t.Error("what the second replica put before it heard was served")
		}
		if res := b.answered(t, "bob", req); !res.Cached || !res.RefreshedAt.Equal(bobs.RefreshedAt) {
			t.Error("bob lost his")
		}
	})
}

func TestANewEpochFindsNothingOfTheOld(t *testing.T) {
	inTwo(t, orchestrator.Config{}, func(t *testing.T, a, b replica) {
		ann := person("ann").Principal
		req := query(source("db", driverfactory.Limits{}), "a")
		a.answered(t, "ann", req)
		for _, r := range []replica{a, b} {
			r.grant(ann, 2)
			r.Forget(ann.Key(), "app", 2, false)
		}
		if res := b.answered(t, "ann", req); res.Cached || res.Rows.First()[1] != int64(2) {
			t.Errorf("%v, want rows of the new epoch", res.Rows.First())
		}
	})
}

// The news comes once a credential was chosen, and before what another replica fetched with it is found.
func TestNewsBeforeAResultIsFoundIsNotMissed(t *testing.T) {
	inTwo(t, orchestrator.Config{}, func(t *testing.T, a, b replica) {
		ann := person("ann").Principal
		req := query(source("db", driverfactory.Limits{}), "a")
		a.answered(t, "ann", req)
		b.chosen = func() {
			b.grant(ann, 2)
			b.Forget(ann.Key(), "app", 2, false)
		}
		if res := b.answered(t, "ann", req); res.Cached || res.Rows.First()[1] != int64(2) {
			t.Errorf("%v, want rows of the new epoch", res.Rows.First())
		}
	})
}

// slowStore takes its time to say what is there.
type slowStore struct{ sharedcachetest.Memory }

func (s *slowStore) Get(ctx context.Context, names ...string) ([][]byte, error) {
	time.Sleep(190 * time.Millisecond)
	return s.Memory.Get(ctx, names...)
}

// However slow the others are to ask, a statement begins under a credential that was there a second ago.
func TestASlowStoreMakesNoChoiceOlder(t *testing.T) {
	shared := sharedcache.New(sharedcache.Config{Store: new(slowStore), Derive: func(string) (k [32]byte, err error) { return k, nil }})
	inBubble(t, orchestrator.Config{Shared: shared}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		src := source("db", driverfactory.Limits{Concurrency: 1})
		w.grant(person("ann").Principal, 1)
		w.grant(person("bob").Principal, 1)
		before := load(t.Context(), o, person("bob"), query(src, "sleep 5s")) // for 5.57 s
		time.Sleep(4700 * time.Millisecond)
		late := load(t.Context(), o, person("ann"), query(src, "a"))
		time.Sleep(50 * time.Millisecond)
		w.revoke(person("ann").Principal) // unheard
		if got := <-late; !errors.Is(got.err, fault.ReauthorizationRequired) || w.ran("a") != 0 {
			t.Errorf("she is answered %v, with %d statements, want none", got.err, w.ran("a"))
		}
		(<-before).res.Close()
	})
}

func TestAFailureIsAFailureForAllReplicas(t *testing.T) {
	inTwo(t, orchestrator.Config{}, func(t *testing.T, a, b replica) {
		req := query(source("db", driverfactory.Limits{}), "refuse")
		a.tolerate(true)
		a.answered(t, "ann", req)
		a.tolerate(false)
		req.Cache = orchestrator.NoCache
		if _, err := a.Load(t.Context(), person("ann"), req); err == nil {
			t.Fatal("it did not fail")
		}
		synctest.Wait()
		req.Cache, req.FreshFor = orchestrator.StaleWhileRevalidate, time.Hour
		if _, err := b.Load(t.Context(), person("ann"), req); err == nil {
			t.Error("something older was served after a failure")
		}
	})
}

// What was there before a statement had its turn is for those who wait for it only as far as it is fresh for each.
func TestWhoWaitsInLineIsGivenWhatIsFreshEnough(t *testing.T) {
	for name, fresh := range map[string]time.Duration{"fresh for all": time.Minute, "not for one who joined": time.Second} {
		t.Run(name, func(t *testing.T) {
			inTwo(t, orchestrator.Config{}, func(t *testing.T, a, b replica) {
				src := source("db", driverfactory.Limits{Concurrency: 1})
				slow := load(t.Context(), b.Orchestrators, person("bob"), query(src, "sleep 8s"))
				synctest.Wait()
				req := query(src, "a")
				req.FreshFor = time.Minute
				first := load(t.Context(), b.Orchestrators, person("ann"), req)
				synctest.Wait()
				a.answered(t, "ann", req)
				time.Sleep(4 * time.Second)
				req.FreshFor, req.Cache = fresh, orchestrator.MustRevalidate
				joined, cancel := context.WithTimeout(t.Context(), 9*time.Second)
				defer cancel()
				second := load(joined, b.Orchestrators, person("ann"), req)
				want := 0
				if fresh < time.Minute {
					want = 1
				}
				for _, c := range []<-chan answer{first, second, slow} {
					got := <-c
					if got.err != nil {
						t.Fatal(got.err)
					}
					got.res.Close()
				}
				if n := b.ran("a"); n != want {
					t.Errorf("it ran %d times, want %d", n, want)
				}
			})
		})
	}
}

func TestRefreshKeysDecideAboutWhatOthersFetched(t *testing.T) {
	inTwo(t, orchestrator.Config{}, func(t *testing.T, a, b replica) {
		req := query(source("db", driverfactory.Limits{}), "a")
		req.FreshFor = time.Hour
		req.RefreshKeys = []orchestrator.RefreshKey{{Statement: driverfactory.Statement{SQL: "read x"}, Every: time.Minute}}
		a.answered(t, "ann", req)
		if res := b.answered(t, "ann", req); !res.Cached || b.ran("a") != 0 || b.ran("read x") != 0 {
			t.Errorf("%+v, with %d and %d statements, want what the other replica asked and fetched", res, b.ran("a"), b.ran("read x"))
		}
		time.Sleep(2 * time.Minute)
		b.change("x")
		if res := b.answered(t, "ann", req); res.Cached || b.ran("a") != 1 {
			t.Error("a result of another answer of its refresh key was served")
		}
	})
}

// Two replicas over a real Redis answer every query whatever becomes of it.
func TestQueriesAreAnsweredWithoutRedis(t *testing.T) {
	server := redistest.Start(t)
	ring, err := secret.NewKeyring()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var two []replica
	for range 2 {
		store, err := redis.Open(server.URL())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(store.Close)
		r := replica{warehouse: newWarehouse(t), shared: sharedcache.New(sharedcache.Config{Store: store, Derive: ring.Derive, Probe: 20 * time.Millisecond})}
		r.grant(person("ann").Principal, 1)
		r.Orchestrators = orchestrator.New(orchestrator.Config{Drivers: r.warehouse, Shared: r.shared})
		done := make(chan struct{})
		go func() { defer close(done); _ = r.shared.Run(ctx) }()
		t.Cleanup(func() { stop(); <-done })
		t.Cleanup(func() {
			if err := r.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
		two = append(two, r)
	}
	src := source("db", driverfactory.Limits{})
	ask := func(r replica, sql string) *orchestrator.Result {
		t.Helper()
		res, err := poll(ctx, r.Orchestrators, person("ann"), query(src, sql))
		if err != nil {
			t.Fatal(err)
		}
		res.Close()
		return res
	}
	wait := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("never: %s", what)
			}
		}
	}
	crosses := func(sql string) {
		t.Helper()
		wait("both use it", func() bool { return !two[0].shared.Stats().Down && !two[1].shared.Stats().Down })
		puts := two[0].shared.Stats().Puts
		ask(two[0], sql)
		wait("the result is put", func() bool { return two[0].shared.Stats().Puts > puts })
		if res := ask(two[1], sql); !res.Cached || two[1].ran(sql) != 0 {
			t.Errorf("%q: %+v, want the first one's result", sql, res)
		}
	}
	crosses("a -- 1")
	for _, tt := range []struct {
		name      string
		end, heal func()
	}{{"frozen", server.Freeze, server.Thaw}, {"killed", server.Kill, server.Restart}} {
		t.Run(tt.name, func(t *testing.T) {
			sql := "sleep 300ms -- " + tt.name
			// One follows the other when it happens: it runs the statement then.
			first := load(ctx, two[0].Orchestrators, person("ann"), query(src, "first 2s -- "+tt.name))
			wait("the first runs", func() bool { return two[0].ran("first 2s -- "+tt.name) == 1 })
			second := load(ctx, two[1].Orchestrators, person("ann"), query(src, "first 2s -- "+tt.name))
			wait("the second waits", func() bool { return two[1].Stats().Running == 1 })
			tt.end()
			for range 5 {
				ask(two[0], sql)
				ask(two[1], sql)
			}
			for _, c := range []<-chan answer{first, second} {
				got := <-c
				if got.err != nil {
					t.Fatal(got.err)
				}
				got.res.Close()
			}
			if n := two[1].ran("first 2s -- " + tt.name); n != 1 {
				t.Errorf("who followed ran it %d times, want once", n)
			}
			tt.heal()
			crosses("a -- after " + tt.name)
		})
	}
}
