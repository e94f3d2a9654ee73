package orchestrator_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/notify"
	"github.com/behalf-project/behalf/orchestrator"
)

// An app that was paused and resumed leaves the epoch as it was. What drains is joined by nobody, and what came of it
// is nobody's.
func TestWhatWasSupersededIsNotJoinedAfterwards(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		req := query(source("db", driverfactory.Limits{}), "sleep 5s")
		first := load(t.Context(), o, alice, req)
		synctest.Wait()
		o.Hear(notify.News{Topic: notify.OAuthAppChanged, AppID: "oap_1"})
		second := load(t.Context(), o, alice, req)
		for _, c := range []<-chan answer{first, second} {
			if got := <-c; got.err != nil || got.res.Cached {
				t.Errorf("Load = %+v, %v, want a result of its own statement", got.res, got.err)
			}
		}
		if got := w.statements.Load(); got != 2 {
			t.Errorf("%d statements ran, want 2", got)
		}

		req = query(req.Source, "sleep 11s")
		req.Cache = orchestrator.NoCache
		if _, err := o.Load(t.Context(), alice, req); !isWait(err) {
			t.Fatalf("Load = %v, want Continue wait", err)
		}
		time.Sleep(10 * time.Second)
		o.Forget(alice.Principal.Key(), "app", 1, true)
		if got := o.Stats().Kept; got != 0 {
			t.Errorf("%d outcomes are kept after the revocation", got)
		}
		if _, err := o.Load(t.Context(), alice, req); !isWait(err) {
			t.Errorf("the poll after the revocation = %v, want a new statement", err)
		}
	})
}

func TestADrainingStatementFinishesOrIsRunAgain(t *testing.T) {
	for _, tt := range []struct {
		name, sql string
		epoch     int64
		runs      int64
	}{
		{"within the drain timeout it finishes on the old credential", "sleep 25s", 1, 1},
		{"after it the new credential runs it again", "sleep 35s", 2, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
				alice := person("alice")
				w.grant(alice.Principal, 1)
				req := query(source("db", driverfactory.Limits{}), tt.sql)
				req.Wait = time.Hour
				c := load(t.Context(), o, alice, req)
				synctest.Wait()
				w.grant(alice.Principal, 2)
				o.Forget(alice.Principal.Key(), "app", 2, false)
				got := <-c
				if got.err != nil || got.res.Rows.First()[1] != tt.epoch {
					t.Errorf("Load = %+v, %v, want epoch %d", got.res, got.err, tt.epoch)
				}
				if w.statements.Load() != tt.runs {
					t.Errorf("%d statements ran, want %d", w.statements.Load(), tt.runs)
				}
				if tt.epoch == 1 && o.Stats().Cache.Entries != 0 {
					t.Error("the result of the old credential was cached")
				}
			})
		})
	}
}

// Another process may end a credential while the news of it does not reach this one.
func TestAStatementThatWaitedForItsTurnAsksWhetherItsCredentialStillIs(t *testing.T) {
	for _, tt := range []struct {
		name, running string
		epoch         int64 // of bob's grant meanwhile; 0 when it was revoked
		code          string
		ran           int64
	}{
		{"it is", "sleep 5s", 1, "", 2},
		{"it was revoked", "sleep 5s", 0, "reauthorization_required", 1},
		{"it was replaced", "sleep 5s", 2, "", 2},
		{"the wait was short", "sleep 500ms", 0, "", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
				alice, bob := person("alice"), person("bob")
				w.grant(alice.Principal, 1)
				w.grant(bob.Principal, 1)
				src := source("db", driverfactory.Limits{Concurrency: 1})
				hers := load(t.Context(), o, alice, query(src, tt.running))
				synctest.Wait()
				his := load(t.Context(), o, bob, query(src, "x"))
				synctest.Wait()
				if w.revoke(bob.Principal); tt.epoch > 0 {
					w.grant(bob.Principal, tt.epoch)
				}
				if got := <-hers; got.err != nil {
					t.Errorf("alice's Load = %v", got.err)
				}
				got := <-his
				if codeOf(got.err) != tt.code {
					t.Errorf("bob's Load = %v, want code %q", got.err, tt.code)
				}
				if tt.epoch > 0 && got.err == nil && got.res.Rows.First()[1] != tt.epoch {
					t.Errorf("it ran under epoch %v, want %d", got.res.Rows.First()[1], tt.epoch)
				}
				if n := w.statements.Load(); n != tt.ran {
					t.Errorf("%d statements ran, want %d", n, tt.ran)
				}
			})
		})
	}
}

// News of two changes that follow closely may come in either order.
func TestARevocationHeardLateSparesTheNextConsent(t *testing.T) {
	for _, tt := range []struct {
		name  string
		ended int64
		code  string
	}{
		{"of an older epoch", 1, ""},
		{"of this epoch", 2, "reauthorization_required"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := orchestrator.Config{AppSlug: func(string) string { return "app" }}
			inBubble(t, cfg, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
				alice := person("alice")
				w.grant(alice.Principal, 2)
				c := load(t.Context(), o, alice, query(source("db", driverfactory.Limits{}), "sleep 5s"))
				synctest.Wait()
				o.Hear(notify.News{Topic: notify.GrantChanged, Principal: alice.Principal.Key(), AppID: "oap_1", Epoch: tt.ended, Revoked: true})
				if got := <-c; codeOf(got.err) != tt.code {
					t.Errorf("Load = %v, want code %q", got.err, tt.code)
				}
			})
		})
	}
}

func TestNews(t *testing.T) {
	alice := person("alice")
	slugs := func(id string) string { return map[string]string{"oap_1": "app", "oap_2": "other"}[id] }
	for _, tt := range []struct {
		name      string
		news      notify.News
		cut       string // code of the running statement's end; empty when it goes on
		cached    int    // results left
		pools     int    // still lent
		withSlugs bool
	}{
		{"a refresh touches nothing", notify.News{Topic: notify.GrantChanged, AppID: "oap_1", Epoch: 1, Revision: 2}, "", 1, 1, true},
		{"another app's grant touches nothing", notify.News{Topic: notify.GrantChanged, AppID: "oap_2", Epoch: 9, Revoked: true}, "", 1, 1, true},
		{"a new epoch purges and drains", notify.News{Topic: notify.GrantChanged, AppID: "oap_1", Epoch: 2}, "", 0, 0, true},
		{"a revocation cuts", notify.News{Topic: notify.GrantChanged, AppID: "oap_1", Epoch: 1, Revoked: true}, "reauthorization_required", 0, 0, true},
		{"an app that cannot be named counts for all", notify.News{Topic: notify.GrantChanged, AppID: "oap_3", Epoch: 9, Revoked: true}, "reauthorization_required", 0, 0, false},
		{"a paused app drains, and its people's results stay theirs", notify.News{Topic: notify.OAuthAppChanged, AppID: "oap_1"}, "", 1, 0, true},
		{"a deleted app cuts", notify.News{Topic: notify.OAuthAppChanged, AppID: "oap_1", Revoked: true}, "reauthorization_required", 0, 0, true},
		{"a disabled person is cut", notify.News{Topic: notify.UserChanged, Revoked: true}, "user_disabled", 0, 0, true},
		{"a person with a new role keeps what they have", notify.News{Topic: notify.UserChanged}, "", 1, 1, true},
		{"when anything may have changed, people keep no results and no pools", notify.News{Topic: notify.Everything}, "", 0, 0, true},
		{"news of another person touches nothing", notify.News{Topic: notify.UserChanged, Principal: person("bob").Principal.Key(), Revoked: true}, "", 1, 1, true},
		{"news of nobody touches nothing", notify.News{Topic: notify.GrantChanged, AppID: "oap_1", Principal: "none", Revoked: true}, "", 1, 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var cfg orchestrator.Config
			if tt.withSlugs {
				cfg.AppSlug = slugs
			}
			inBubble(t, cfg, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
				w.grant(alice.Principal, 1)
				src := source("db", driverfactory.Limits{})
				if _, err := o.Load(t.Context(), alice, query(src, "x")); err != nil {
					t.Fatal(err)
				}
				c := load(t.Context(), o, alice, query(src, "sleep 5s"))
				synctest.Wait()
				n := tt.news
				if n.Principal == "" && (n.Topic == notify.GrantChanged || n.Topic == notify.UserChanged) {
					n.Principal = alice.Principal.Key()
				}
				var bus notify.Bus
				defer bus.Subscribe(o.Hear)()
				bus.Publish(n)
				if s := o.Stats(); s.Cache.Entries != tt.cached || s.Pools.Open != tt.pools {
					t.Errorf("%d results and %d pools are left, want %d and %d", s.Cache.Entries, s.Pools.Open, tt.cached, tt.pools)
				}
				if got := <-c; codeOf(got.err) != tt.cut {
					t.Errorf("the running statement ended with %v, want code %q", got.err, tt.cut)
				}
			})
		})
	}
}
