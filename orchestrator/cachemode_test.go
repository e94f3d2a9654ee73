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

// §19.1: the four modes of orchestrator.md §6.2 over refresh keys in SQL. A result is a minute old, and its key is asked
// again because that is longer than an answer of it is good.
func Test01CacheModesByRefreshKeys(t *testing.T) {
	const (
		quick, slow       = "sleep 1s read x", "sleep 15s read x" // longer than the wait of 10 s
		quickKey, slowKey = "sleep 2s read x -- key", "sleep 12s read x -- key"
	)
	type outcome struct {
		cached, stale, wait bool
		keys, runs          int // statements that were begun by the request, in the end
		took                time.Duration
	}
	for _, tt := range []struct {
		name    string
		mode    orchestrator.CacheMode
		changed bool
		known   bool // the answer of the key is good still
		none    bool // there is no result yet
		key     string
		sql     string
		want    outcome
	}{
		{name: "stale-if-slow serves what the key says is fresh", mode: orchestrator.StaleIfSlow, key: quickKey, sql: quick,
			want: outcome{cached: true, keys: 1, took: 2 * time.Second}},
		{name: "stale-if-slow asks no key that it knows", mode: orchestrator.StaleIfSlow, known: true, changed: true, key: quickKey, sql: quick,
			want: outcome{cached: true}},
		{name: "stale-if-slow waits for a new result when the key has changed", mode: orchestrator.StaleIfSlow, changed: true, key: quickKey, sql: quick,
			want: outcome{keys: 1, runs: 1, took: 3 * time.Second}},
		{name: "stale-if-slow serves the old result when the new one is slow", mode: orchestrator.StaleIfSlow, changed: true, key: quickKey, sql: slow,
			want: outcome{cached: true, stale: true, keys: 1, runs: 1, took: 10 * time.Second}},
		{name: "stale-if-slow serves the old result when the key is slow, and goes on behind", mode: orchestrator.StaleIfSlow, changed: true, key: slowKey, sql: quick,
			want: outcome{cached: true, stale: true, keys: 1, runs: 1, took: 10 * time.Second}},
		{name: "a key that turns out to be the same behind an answer runs nothing", mode: orchestrator.StaleIfSlow, key: slowKey, sql: quick,
			want: outcome{cached: true, stale: true, keys: 1, took: 10 * time.Second}},
		{name: "stale-if-slow without a result says to wait for the key", mode: orchestrator.StaleIfSlow, none: true, key: slowKey, sql: quick,
			want: outcome{wait: true, keys: 1, took: 10 * time.Second}},
		{name: "no mode is stale-if-slow", changed: true, key: quickKey, sql: slow,
			want: outcome{cached: true, stale: true, keys: 1, runs: 1, took: 10 * time.Second}},
		{name: "stale-while-revalidate asks behind, and renews what has changed", mode: orchestrator.StaleWhileRevalidate, changed: true, key: slowKey, sql: slow,
			want: outcome{cached: true, stale: true, keys: 1, runs: 1}},
		{name: "stale-while-revalidate asks behind, and leaves what has not", mode: orchestrator.StaleWhileRevalidate, key: quickKey, sql: quick,
			want: outcome{cached: true, stale: true, keys: 1}},
		{name: "stale-while-revalidate asks no key that it knows", mode: orchestrator.StaleWhileRevalidate, known: true, key: quickKey, sql: quick,
			want: outcome{cached: true}},
		{name: "stale-while-revalidate without a result waits", mode: orchestrator.StaleWhileRevalidate, none: true, key: quickKey, sql: quick,
			want: outcome{keys: 1, runs: 1, took: 3 * time.Second}},
		{name: "must-revalidate serves what the key says is fresh", mode: orchestrator.MustRevalidate, key: quickKey, sql: quick,
			want: outcome{cached: true, keys: 1, took: 2 * time.Second}},
		{name: "must-revalidate waits for a new result", mode: orchestrator.MustRevalidate, changed: true, key: quickKey, sql: quick,
			want: outcome{keys: 1, runs: 1, took: 3 * time.Second}},
		{name: "must-revalidate never serves an old result", mode: orchestrator.MustRevalidate, changed: true, key: quickKey, sql: slow,
			want: outcome{wait: true, keys: 1, runs: 1, took: 10 * time.Second}},
		{name: "must-revalidate serves nothing when the key is slow", mode: orchestrator.MustRevalidate, key: slowKey, sql: quick,
			want: outcome{wait: true, keys: 1, took: 10 * time.Second}},
		{name: "no-cache runs although the key has not changed", mode: orchestrator.NoCache, key: quickKey, sql: quick,
			want: outcome{keys: 1, runs: 1, took: 3 * time.Second}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
				alice := person("alice")
				w.grant(alice.Principal, 1)
				req := refreshed(tt.sql, tt.key)
				if tt.known {
					req.RefreshKeys[0].Every = time.Hour
				}
				req.RequestID = "first"
				if !tt.none {
					if _, err := poll(t.Context(), o, alice, req); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Minute)
				}
				value := int64(0)
				if tt.changed {
					value = w.change("x")
				}
				keys, runs := w.ran(tt.key), w.ran(tt.sql)
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
				time.Sleep(40 * time.Second)
				synctest.Wait()
				got.keys, got.runs = w.ran(tt.key)-keys, w.ran(tt.sql)-runs
				if got != tt.want {
					t.Errorf("Load = %+v, want %+v", got, tt.want)
				}
				if tt.known {
					return
				}

				// Whatever was renewed is what is served now, and it is of after the change.
				req.Cache, req.RequestID, req.RefreshKeys[0].Every = orchestrator.MustRevalidate, "third", time.Hour
				res, err = poll(t.Context(), o, alice, req)
				if err != nil || res.Stale || res.Rows[0][2] != value {
					t.Errorf("then Load = %+v, %v, want the value %d, fresh", res, err, value)
				}
				if len(res.RefreshKeys) != 1 || res.RefreshKeys[0].Rows[0][2] != value {
					t.Errorf("its refresh key is %v, want %d", res.RefreshKeys, value)
				}
			})
		})
	}
}

func TestAResultOfBeforeAPeriodIsNotFresh(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		req := query(source("db", driverfactory.Limits{}), "a")
		req.FreshFor, req.FreshSince = time.Hour, time.Now()
		for _, tt := range []struct {
			since  time.Time
			age    time.Duration
			cached bool
		}{
			{time.Now(), 0, false},
			{time.Now(), time.Minute, true},
			{time.Now().Add(2 * time.Minute), time.Minute, false},
			{time.Now().Add(2 * time.Minute), time.Minute, true},
			{time.Now().Add(2 * time.Minute), time.Hour, false}, // too old, whatever its period
		} {
			time.Sleep(tt.age)
			req.FreshSince = tt.since
			if res, err := o.Load(t.Context(), alice, req); err != nil || res.Cached != tt.cached {
				t.Errorf("at %s since %s: Load = %+v, %v, want cached %t", time.Now(), tt.since, res, err, tt.cached)
			}
		}
	})
}
