package orchestrator_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/resultcache"
	"github.com/behalf-project/behalf/orchestrator"
)

// refreshed returns a request of sql whose refresh keys are asked with those statements, each good for 10 s.
func refreshed(sql string, keys ...string) orchestrator.Request {
	req := query(source("db", driverfactory.Limits{}), sql)
	req.FreshFor = 6 * time.Hour
	for i, k := range keys {
		req.RefreshKeys = append(req.RefreshKeys, orchestrator.RefreshKey{
			Statement: driverfactory.Statement{SQL: k}, Every: 10 * time.Second, Of: fmt.Sprintf("cube c%d (model/c.yml:%d)", i, i+7),
		})
	}
	return req
}

// §19.2, for refresh keys: one statement for all who ask as one identity, and nobody is served by another's answer.
func Test02OneAnswerOfARefreshKeyForAllWhoAskAsOneIdentity(t *testing.T) {
	const key, sql = "sleep 3s read x -- key", "sleep 3s read x"
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice, bob := person("alice"), person("bob")
		w.grant(alice.Principal, 1)
		w.grant(bob.Principal, 1)
		var all []<-chan answer
		var who []driverfactory.SecurityContext
		for i := range 50 {
			for _, sc := range []driverfactory.SecurityContext{alice, bob} {
				req := refreshed(sql, key)
				req.RequestID = fmt.Sprint(i)
				all, who = append(all, load(t.Context(), o, sc, req)), append(who, sc)
			}
		}
		for i, c := range all {
			got := <-c
			if got.err != nil {
				t.Fatal(got.err)
			}
			want := who[i].Principal.Key()
			if got.res.Rows[0][0] != want || got.res.RefreshKeys[0].Rows[0][0] != want {
				t.Fatalf("%s was given the rows of %v, by the key of %v", want, got.res.Rows[0][0], got.res.RefreshKeys[0].Rows[0][0])
			}
		}
		if keys, runs := w.ran(key), w.ran(sql); keys != 2 || runs != 2 {
			t.Errorf("%d keys and %d statements ran, want 2 and 2", keys, runs)
		}
	})
}

// An answer of one person's refresh key decides nothing for another, however new it is: theirs may say something else.
func TestARefreshKeyOfOnePersonDecidesForNobodyElse(t *testing.T) {
	const key, sql = "read x -- key", "read x"
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice, bob := person("alice"), person("bob")
		w.grant(alice.Principal, 1)
		w.grant(bob.Principal, 1)
		req := refreshed(sql, key)
		ask := func(sc driverfactory.SecurityContext) *orchestrator.Result {
			t.Helper()
			res, err := o.Load(t.Context(), sc, req)
			if err != nil {
				t.Fatal(err)
			}
			if who := res.RefreshKeys[0].Rows[0][0]; who != sc.Principal.Key() {
				t.Errorf("%s was answered by the key of %v", sc.Username, who)
			}
			return res
		}
		ask(alice)
		ask(bob)
		w.change("x")
		time.Sleep(time.Minute)
		if res := ask(alice); res.Cached {
			t.Error("alice's result is served after the change")
		}
		if res := ask(bob); res.Cached || res.Rows[0][2] != int64(1) {
			t.Errorf("bob was given %+v, want a new result: his key has changed too", res)
		}
		if got := w.ran(key); got != 4 {
			t.Errorf("the key was asked %d times, want 4: twice by each", got)
		}
	})
}

// What the service account was answered is everybody's, as its results are; but where the statement of a key depends on
// the person, so does what it decides about.
func TestRefreshKeysOfTheServiceAccountAreShared(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		w.fallback = true
		req := refreshed("read x", "read x -- key")
		for _, name := range []string{"alice", "bob"} {
			if res, err := o.Load(t.Context(), person(name), req); err != nil || res.Cached != (name == "bob") {
				t.Errorf("%s: Load = %+v, %v", name, res, err)
			}
		}
		own := refreshed("read x", "read x -- key")
		own.RefreshKeys[0].Statement.Args = []any{"carol"}
		if res, err := o.Load(t.Context(), person("carol"), own); err != nil || res.Cached {
			t.Errorf("carol: Load = %+v, %v, want it run: her key is another", res, err)
		}
		// Neither takes the other's place.
		for i, r := range []orchestrator.Request{req, own} {
			if res, err := o.Load(t.Context(), person("dave"), r); err != nil || !res.Cached {
				t.Errorf("%d: Load = %+v, %v, want it cached", i, res, err)
			}
		}
	})
}

// §8: who polls is given the outcome of what they began, although the key moves faster than the statement runs. Somebody
// who asks anew is not, but where the mode lets them have an older result meanwhile.
func Test09APollIsAnsweredWhateverItsRefreshKeySays(t *testing.T) {
	const key, sql = "read x -- key", "sleep 35s read x"
	for mode, want := range map[orchestrator.CacheMode]time.Duration{ // between the runs that the two are answered from
		orchestrator.StaleIfSlow: 0, orchestrator.StaleWhileRevalidate: 0,
		orchestrator.MustRevalidate: 20 * time.Second, orchestrator.NoCache: 20 * time.Second,
	} {
		t.Run(string(mode), func(t *testing.T) {
			inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
				alice := person("alice")
				w.grant(alice.Principal, 1)
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				go func() {
					for ctx.Err() == nil {
						w.change("x")
						time.Sleep(3 * time.Second)
					}
				}()
				req := refreshed(sql, key)
				req.Cache, req.RefreshKeys[0].Every, req.RequestID = mode, time.Second, "one-span-1"
				first := make(chan answer, 1)
				go func() {
					res, err := poll(t.Context(), o, alice, req)
					first <- answer{res, err}
				}()
				time.Sleep(20 * time.Second)
				other := req
				other.RequestID = "two-span-1"
				second, err := poll(t.Context(), o, alice, other)
				if err != nil {
					t.Fatal(err)
				}
				got := <-first
				if got.err != nil || got.res.Stale {
					t.Fatalf("the polls came to %+v, %v", got.res, got.err)
				}
				if between := second.RefreshedAt.Sub(got.res.RefreshedAt); between != want || second.Stale != (want == 0) {
					t.Errorf("who asked later was given a result that ran %s later, stale %t; want %s later", between, second.Stale, want)
				}
				// Behind a stale answer that was asked for, another begins in the same moment.
				if got := w.ran(sql); got != 2 && mode != orchestrator.StaleWhileRevalidate {
					t.Errorf("%d statements ran, want 2: one for each who began", got)
				}
				stop()
				time.Sleep(5 * time.Minute)
			})
		})
	}
}

// A run that began before a change ends after one that began later: the newer result stays.
func TestAnOlderRunDoesNotReplaceANewerResult(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		req := refreshed("first 5s read x", "read x -- key")
		req.RefreshKeys[0].Every, req.RequestID = time.Second, "old"
		old := load(t.Context(), o, alice, req)
		time.Sleep(2 * time.Second)
		w.change("x")
		req.RequestID = "new"
		renewed, err := o.Load(t.Context(), alice, req)
		if err != nil {
			t.Fatal(err)
		}
		if got := <-old; got.err != nil || !got.res.RefreshedAt.Before(renewed.RefreshedAt) {
			t.Fatalf("the old run came to %+v, %v", got.res, got.err)
		}
		req.RequestID = "last"
		if res, err := o.Load(t.Context(), alice, req); err != nil || !res.Cached || !res.RefreshedAt.Equal(renewed.RefreshedAt) {
			t.Errorf("Load = %+v, %v, want the newer result", res, err)
		}
	})
}

func TestARefreshKeyThatFailsIsAnErrorThatNamesIt(t *testing.T) {
	for _, tt := range []struct {
		name, key, code, detail string
	}{
		{"the database refuses it", "refuse", "invalid", `The refresh_key of cube c1 (model/c.yml:8) failed: relation "visits" does not exist`},
		{"its answer is too large", "rows 1001", "result_too_large", "The refresh_key of cube c1 (model/c.yml:8) failed: The result has more than 1000 rows."},
		{"its driver fails", "fail", "refresh_key_failed", "The refresh_key of cube c1 (model/c.yml:8) failed. The log of the server says why."},
		{"its driver has a bug", "panic", "refresh_key_failed", "The refresh_key of cube c1 (model/c.yml:8) failed. The log of the server says why."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
				alice := person("alice")
				w.grant(alice.Principal, 1)
				good, broken := refreshed("sleep 1s", "read x -- a", "read y"), refreshed("sleep 1s", "read x -- a", tt.key)
				fails := func(mode orchestrator.CacheMode) {
					t.Helper()
					broken.Cache = mode
					res, err := o.Load(t.Context(), alice, broken)
					e, ok := errors.AsType[*fault.Error](err)
					if !ok || e.CodeOrKind() != tt.code || !strings.HasPrefix(e.Detail, tt.detail) {
						t.Errorf("%s: Load = %+v, %v, want %s: %s", mode, res, err, tt.code, tt.detail)
					}
				}
				for _, mode := range []orchestrator.CacheMode{
					orchestrator.StaleIfSlow, orchestrator.StaleWhileRevalidate, orchestrator.MustRevalidate, orchestrator.NoCache,
				} {
					fails(mode)
				}
				if w.ran("sleep 1s") != 0 {
					t.Error("the statement ran although its refresh key failed")
				}
				if _, err := o.Load(t.Context(), alice, good); err != nil {
					t.Errorf("with another key Load = %v", err)
				}
			})
		})
	}
}

// A key that begins to fail is told of: at once to who waits for it, and with the next request to who is served meanwhile.
func TestARefreshKeyThatBeginsToFailServesNothingOldUnasked(t *testing.T) {
	for _, mode := range []orchestrator.CacheMode{orchestrator.StaleIfSlow, orchestrator.MustRevalidate, orchestrator.StaleWhileRevalidate} {
		t.Run(string(mode), func(t *testing.T) {
			inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
				alice := person("alice")
				w.grant(alice.Principal, 1)
				req := refreshed("sleep 1s", "refuse")
				w.tolerate(true)
				if _, err := o.Load(t.Context(), alice, req); err != nil {
					t.Fatal(err)
				}
				w.tolerate(false)
				time.Sleep(time.Minute)
				req.Cache = mode
				res, err := o.Load(t.Context(), alice, req)
				if mode == orchestrator.StaleWhileRevalidate {
					if err != nil || !res.Stale {
						t.Errorf("%s: Load = %+v, %v, want the old result, which was asked for", mode, res, err)
					}
					time.Sleep(time.Second)
					res, err = o.Load(t.Context(), alice, req)
				}
				if codeOf(err) != "invalid" {
					t.Errorf("%s: Load = %+v, %v, want what is wrong with the key", mode, res, err)
				}
				w.tolerate(true)
				if res, err = o.Load(t.Context(), alice, req); err != nil || res.Cached {
					t.Errorf("%s: once the key is well again Load = %+v, %v, want a new result", mode, res, err)
				}
			})
		})
	}
}

// §19.4, for refresh keys: what a revocation ends are answers, keys that are being asked, and renewals behind an answer.
func Test04RevocationEndsRefreshKeysAndRenewals(t *testing.T) {
	const sql = "sleep 1s read x"
	for _, tt := range []struct {
		name, key string
		after     time.Duration // of the request that begins the renewal
	}{
		{"while the key is asked", "sleep 5s read x -- key", 2 * time.Second},
		{"while the result is renewed", "sleep 5s read x -- key", 5*time.Second + 500*time.Millisecond},
		{"when all is done", "sleep 5s read x -- key", 20 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
				alice, bob := person("alice"), person("bob")
				w.grant(alice.Principal, 1)
				w.grant(bob.Principal, 1)
				req := refreshed(sql, tt.key)
				for _, sc := range []driverfactory.SecurityContext{alice, bob} {
					if _, err := o.Load(t.Context(), sc, req); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(time.Minute)
				w.change("x")
				req.Cache = orchestrator.StaleWhileRevalidate
				if res, err := o.Load(t.Context(), alice, req); err != nil || !res.Stale {
					t.Fatalf("Load = %+v, %v, want the old result", res, err)
				}
				time.Sleep(tt.after)
				started := len(w.started())
				w.revoke(alice.Principal)
				o.Forget(alice.Principal.Key(), "app", 0, true)
				synctest.Wait()
				if s := o.Stats(); s.Running != 0 || s.Renewals != 0 || s.Cache.Owners != 1 {
					t.Errorf("after the revocation Stats = %+v, want nothing of alice", s)
				}
				time.Sleep(time.Minute)
				if got := len(w.started()); got != started {
					t.Errorf("%d statements began after the revocation", got-started)
				}
				if _, err := o.Load(t.Context(), alice, req); !errors.Is(err, fault.ReauthorizationRequired) {
					t.Errorf("Load = %v, want a refusal", err)
				}
				// The same epoch once more: nothing of before is left.
				w.grant(alice.Principal, 1)
				if res, err := o.Load(t.Context(), alice, req); err != nil || res.Cached {
					t.Errorf("after another consent Load = %+v, %v, want it run", res, err)
				}
			})
		})
	}
}

// The credential may end unheard while the keys are asked. Neither a result of before is served then, nor a statement run.
func TestWhoAsksKeysForLongIsAskedWhoTheyAreAgain(t *testing.T) {
	for _, changed := range []bool{false, true} {
		t.Run(fmt.Sprintf("changed %t", changed), func(t *testing.T) {
			inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
				alice := person("alice")
				w.grant(alice.Principal, 1)
				req := refreshed("read x", "sleep 3s read x -- key")
				if _, err := o.Load(t.Context(), alice, req); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				if changed {
					w.change("x")
				}
				c := load(t.Context(), o, alice, req)
				time.Sleep(time.Second)
				w.revoke(alice.Principal) // and no news of it
				if got := <-c; !errors.Is(got.err, fault.ReauthorizationRequired) {
					t.Errorf("Load = %+v, %v, want a refusal", got.res, got.err)
				}
				if got := w.ran("read x"); got != 1 {
					t.Errorf("the statement ran %d times, want once", got)
				}
			})
		})
	}
}

// A new consent replaces the credential while an old result waits to be served in place of a slow one: it is gone.
func TestAnOlderResultOfAnEndedCredentialIsNotServedInPlaceOfASlowOne(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		req := query(source("db", driverfactory.Limits{}), "sleep 15s")
		if _, err := poll(t.Context(), o, alice, req); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		c := load(t.Context(), o, alice, req)
		time.Sleep(5 * time.Second)
		w.grant(alice.Principal, 2)
		o.Forget(alice.Principal.Key(), "app", 2, false)
		if got := <-c; got.res != nil {
			t.Errorf("Load = %+v, want none of the rows of epoch 1", got.res)
		}
		time.Sleep(10 * time.Minute)
	})
}

// Nor is it served when the credential ended unheard meanwhile, whatever was slow.
func TestAnOlderResultIsNotServedToWhomNobodyKnowsAnyMore(t *testing.T) {
	for _, slow := range []string{"the statement", "its key"} {
		t.Run(slow, func(t *testing.T) {
			inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
				alice := person("alice")
				w.grant(alice.Principal, 1)
				req := refreshed("sleep 15s read x", "read x -- key")
				if slow == "its key" {
					req = refreshed("read x", "sleep 15s read x -- key")
				}
				if _, err := poll(t.Context(), o, alice, req); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				w.change("x")
				c := load(t.Context(), o, alice, req)
				time.Sleep(5 * time.Second)
				w.revoke(alice.Principal) // and no news of it
				if got := <-c; got.res != nil {
					t.Errorf("Load = %+v, want no rows", got.res)
				}
				if _, err := o.Load(t.Context(), alice, req); !errors.Is(err, fault.ReauthorizationRequired) {
					t.Errorf("then Load = %v, want a refusal", err)
				}
				time.Sleep(10 * time.Minute)
			})
		})
	}
}

// What refresh keys take is bounded: renewals under way by their number, answers by the cache's bytes.
func TestRefreshKeysAreBounded(t *testing.T) {
	const statements = 1200
	cfg := orchestrator.Config{Cache: resultcache.New(resultcache.Config{MaxBytes: 8 << 20})}
	inBubble(t, cfg, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		w.fallback = true
		src := source("db", driverfactory.Limits{Concurrency: 64, PerUserConcurrency: 64, PerUserQueue: 10 * statements})
		ask := func(i int, mode orchestrator.CacheMode) error {
			req := refreshed(fmt.Sprintf("read x -- %d", i), fmt.Sprintf("sleep 1s read x -- key %d", i))
			req.Source, req.Cache = src, mode
			_, err := poll(t.Context(), o, person("alice"), req)
			return err
		}
		var all sync.WaitGroup
		for i := range statements {
			all.Go(func() {
				if err := ask(i, orchestrator.MustRevalidate); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		time.Sleep(time.Minute)
		for i := range statements {
			if err := ask(i, orchestrator.StaleWhileRevalidate); err != nil {
				t.Error(err)
			}
		}
		if s := o.Stats(); s.Renewals == 0 || s.Renewals > 1000 || s.Cache.Bytes > s.Cache.MaxBytes {
			t.Errorf("Stats = %+v, want at most 1000 renewals, within the bytes of the cache", s)
		}
		time.Sleep(5 * time.Minute)
		if s := o.Stats(); s.Renewals != 0 || s.Running != 0 {
			t.Errorf("at rest Stats = %+v", s)
		}
	})
}
