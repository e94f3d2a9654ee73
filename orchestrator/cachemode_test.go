package orchestrator_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/orchestrator"
)

// §19.1: the four modes of orchestrator.md §6.2, with a result of a given age in the cache and a statement that takes
// its time.
func TestCacheModes(t *testing.T) {
	const (
		fresh = 10 * time.Second
		young = 5 * time.Second
		old   = time.Minute
		quick = "sleep 1s"
		slow  = "sleep 15s" // longer than the wait of 10 s
	)
	type outcome struct {
		cached, stale, wait bool
		runs                int64 // statements in the end, with the one that filled the cache
		took                time.Duration
	}
	for _, tt := range []struct {
		name string
		mode orchestrator.CacheMode
		age  time.Duration // of the cached result; 0 means none
		sql  string
		want outcome
	}{
		{"stale-if-slow serves a fresh result", orchestrator.StaleIfSlow, young, quick, outcome{cached: true, runs: 1}},
		{"stale-if-slow waits for a new one when that is quick", orchestrator.StaleIfSlow, old, quick, outcome{runs: 2, took: time.Second}},
		{"stale-if-slow serves the old one when the new is slow", orchestrator.StaleIfSlow, old, slow, outcome{cached: true, stale: true, runs: 2, took: 10 * time.Second}},
		{"stale-if-slow without a result says to wait", orchestrator.StaleIfSlow, 0, slow, outcome{wait: true, runs: 1, took: 10 * time.Second}},
		{"no mode is stale-if-slow", "", old, slow, outcome{cached: true, stale: true, runs: 2, took: 10 * time.Second}},
		{"stale-while-revalidate serves a fresh result", orchestrator.StaleWhileRevalidate, young, quick, outcome{cached: true, runs: 1}},
		{"stale-while-revalidate serves the old one and renews", orchestrator.StaleWhileRevalidate, old, slow, outcome{cached: true, stale: true, runs: 2}},
		{"stale-while-revalidate without a result runs", orchestrator.StaleWhileRevalidate, 0, quick, outcome{runs: 1, took: time.Second}},
		{"must-revalidate serves a fresh result", orchestrator.MustRevalidate, young, quick, outcome{cached: true, runs: 1}},
		{"must-revalidate waits for a new one", orchestrator.MustRevalidate, old, quick, outcome{runs: 2, took: time.Second}},
		{"must-revalidate never serves an old one", orchestrator.MustRevalidate, old, slow, outcome{wait: true, runs: 2, took: 10 * time.Second}},
		{"no-cache runs although there is a fresh result", orchestrator.NoCache, young, quick, outcome{runs: 2, took: time.Second}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
				alice := person("alice")
				w.grant(alice.Principal, 1)
				req := query(source("db", driverfactory.Limits{}), tt.sql)
				req.FreshFor, req.RequestID = fresh, "first"
				if tt.age > 0 {
					if _, err := poll(t.Context(), o, alice, req); err != nil {
						t.Fatal(err)
					}
					took, _ := time.ParseDuration(tt.sql[len("sleep "):])
					time.Sleep(tt.age - min(tt.age, took))
				}
				req.Cache, req.RequestID = tt.mode, "second"
				began := time.Now()
				res, err := o.Load(t.Context(), alice, req)
				got := outcome{took: time.Since(began)}
				if _, wait := errors.AsType[*orchestrator.ContinueWait](err); wait {
					got.wait = true
				} else if err != nil {
					t.Fatal(err)
				} else {
					got.cached, got.stale = res.Cached, res.Stale
				}
				time.Sleep(20 * time.Second)
				synctest.Wait()
				got.runs = w.statements.Load()
				if got != tt.want {
					t.Errorf("Load = %+v, want %+v", got, tt.want)
				}

				// Whatever was renewed is what is served now.
				req.Cache, req.FreshFor, req.RequestID = orchestrator.MustRevalidate, time.Hour, "third"
				if res, err := o.Load(t.Context(), alice, req); err != nil || !res.Cached || res.Stale {
					t.Errorf("then Load = %+v, %v, want it cached and fresh", res, err)
				}
			})
		})
	}
}
