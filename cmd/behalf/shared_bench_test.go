package main

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/redis"
	"github.com/behalf-project/behalf/internal/redis/redistest"
	"github.com/behalf-project/behalf/internal/resultcache"
	"github.com/behalf-project/behalf/internal/rowset"
	"github.com/behalf-project/behalf/internal/sharedcache"
)

// shared compares a result from the cache of all replicas, opened and checked, with a GET of its bytes on the same connections.
func (f *figures) shared() {
	server := redistest.Start(f.b)
	store, err := redis.Open(server.URL())
	if err != nil {
		f.b.Fatal(err)
	}
	defer store.Close()
	c := sharedcache.New(sharedcache.Config{Store: store, Derive: f.s.store.Keyring().Derive})
	for _, tt := range []struct {
		rows int
		goal string
	}{{5, "≤ 2"}, {5000, "≤ 5, opened and checked cell by cell"}} {
		rows, goal := tt.rows, tt.goal
		scope := driverfactory.PoolKey{Domain: "dom", Source: "default", Principal: driverfactory.Principal{Realm: "local", Subject: "usr"}, App: "lake", Epoch: int64(rows)}
		key, err := resultcache.KeyOf(scope, driverfactory.Statement{SQL: "SELECT 1"})
		if err != nil {
			f.b.Fatal(err)
		}
		k := sharedcache.Key{Key: key}
		b := rowset.Builder{Columns: 5}
		for i := range rows {
			if err := b.Add([]any{"shipped", fmt.Sprintf("Customer %07d", i), time.Unix(int64(i), 0), int64(i), driverfactory.Decimal("27.50")}); err != nil {
				f.b.Fatal(err)
			}
		}
		c.Begin(f.b.Context(), k, resultcache.Values{}).Put(f.b.Context(), sharedcache.Result{
			Columns: make([]driverfactory.Column, 5), Rows: b.Rows(), RanAt: time.Now(),
		})
		dump := server.Dump()
		name := ""
		for n := range dump {
			if len(dump[n]) > len(dump[name]) {
				name = n
			}
		}
		for _, callers := range []int{1, 16} {
			ours := f.often(callers, func() bool { _, ok := c.Get(f.b.Context(), k); return ok })
			theirs := f.often(callers, func() bool { got, err := store.Get(f.b.Context(), name); return err == nil && got[0] != nil })
			f.row(fmt.Sprintf("result in Redis, %d rows, %d callers, p50", rows, callers), ours.String(), theirs.String(),
				fmt.Sprintf("%.2f", float64(ours)/float64(theirs)), goal)
		}
	}
}

// often calls once from so many callers for a while, and returns how long half of the calls took at most.
func (f *figures) often(callers int, once func() bool) (p50 time.Duration) {
	const life = time.Second
	took := make([][]time.Duration, callers)
	var all sync.WaitGroup
	began := time.Now()
	for i := range callers {
		all.Go(func() {
			for time.Since(began) < life {
				at := time.Now()
				if !once() {
					f.b.Error("nothing was found")
					return
				}
				took[i] = append(took[i], time.Since(at))
			}
		})
	}
	all.Wait()
	times := slices.Concat(took...)
	if len(times) == 0 {
		f.b.Fatal("nothing was found")
	}
	slices.Sort(times)
	return times[len(times)/2].Round(time.Microsecond)
}
