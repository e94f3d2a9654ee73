package orchestrator_test

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/orchestrator"
)

// instant is a warehouse that takes no time and keeps no record. Its answers have that many rows.
type instant struct{ rows int }

func (instant) Choose(_ context.Context, sc driverfactory.SecurityContext, src driverfactory.Source, _ driverfactory.Operation) (driverfactory.Choice, error) {
	return driverfactory.Choice{
		Key:   driverfactory.PoolKey{Domain: src.Domain, Source: src.Name, SourceRev: src.Rev, Principal: sc.Principal, App: "app", Epoch: 1},
		RunAs: driverfactory.RunAs{Identity: driverfactory.IdentityUser, Username: sc.Username, DataSource: src.Name},
	}, nil
}

func (w instant) Open(driverfactory.Choice) (driverfactory.Driver, error) { return w, nil }

func (w instant) Query(context.Context, driverfactory.Statement) (driverfactory.Rows, error) {
	return &fakeRows{role: "ANALYST", n: w.rows, end: func() {}}, nil
}
func (instant) Role(context.Context) (string, error) { return "ANALYST", nil }
func (instant) Ping(context.Context) error           { return nil }
func (instant) Stats() (open, idle int)              { return 0, 0 }
func (instant) Close() error                         { return nil }

func BenchmarkCacheHit(b *testing.B) {
	for _, scope := range []driverfactory.CacheScope{driverfactory.CacheUser, driverfactory.CacheRole} {
		b.Run(string(scope), func(b *testing.B) {
			src := source("db", driverfactory.Limits{})
			src.CacheScope = scope
			benchmarkHit(b, src)
		})
	}
}

func benchmarkHit(b *testing.B, src driverfactory.Source) {
	o := orchestrator.New(orchestrator.Config{Drivers: instant{100}})
	alice, req := person("alice"), query(src, "SELECT status, count(*) FROM orders GROUP BY 1")
	req.FreshFor = time.Hour
	res, err := o.Load(b.Context(), alice, req)
	if err != nil {
		b.Fatal(err)
	}
	res.Close()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			res, err := o.Load(b.Context(), alice, req)
			if err != nil || !res.Cached {
				b.Fatal(err)
			}
			res.Close()
		}
	})
}

// BenchmarkUncached is what the orchestrator adds to a statement of 100 rows.
func BenchmarkUncached(b *testing.B) {
	o := orchestrator.New(orchestrator.Config{Drivers: instant{100}})
	alice, req := person("alice"), query(source("db", driverfactory.Limits{}), "SELECT status, count(*) FROM orders GROUP BY 1")
	req.Cache = orchestrator.NoCache
	b.ReportAllocs()
	for b.Loop() {
		res, err := o.Load(b.Context(), alice, req)
		if err != nil {
			b.Fatal(err)
		}
		res.Close()
	}
}

// BenchmarkIdlePerson prints what 10,000 people cost who were here and have nothing open any more.
func BenchmarkIdlePerson(b *testing.B) {
	const people = 10_000
	for b.Loop() {
		o := orchestrator.New(orchestrator.Config{Drivers: instant{1}, IdleTimeout: time.Nanosecond})
		bytes, goroutines := idleCost(b, o, people)
		b.ReportMetric(bytes/people, "B/person")
		b.ReportMetric(float64(goroutines)/people, "goroutines/person")
		runtime.KeepAlive(o)
	}
}

func TestAnIdlePersonCostsLittleAndNoGoroutine(t *testing.T) {
	const people = 10_000
	o := orchestrator.New(orchestrator.Config{Drivers: instant{1}, IdleTimeout: time.Nanosecond})
	bytes, goroutines := idleCost(t, o, people)
	t.Logf("%.0f bytes per idle person, of which the cache counts %d for a result of one row; %d goroutines more than before",
		bytes/people, o.Stats().Cache.Bytes/people, goroutines)
	if bytes/people > 8<<10 || goroutines > 0 {
		t.Errorf("an idle person costs %.0f bytes and %d people %d goroutines, want at most 8 KiB and none", bytes/people, people, goroutines)
	}
	if got := o.Stats(); got.Orchestrators.Cold != people || got.Pools.Open != 0 {
		t.Errorf("Stats = %+v, want 10,000 cold", got)
	}
}

// idleCost has that many people ask once, closes their pools, and returns the memory that remains in use for them and
// the goroutines that are left.
func idleCost(t testing.TB, o *orchestrator.Orchestrators, people int) (bytes float64, goroutines int) {
	heap := func() float64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc + m.StackInuse)
	}
	goroutines, bytes = runtime.NumGoroutine(), heap()
	src := source("db", driverfactory.Limits{})
	for i := range people {
		req := query(src, "SELECT "+strconv.Itoa(i))
		if _, err := o.Load(context.Background(), person(fmt.Sprint("p", i)), req); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- o.Run(ctx) }()
	for range 500 {
		if o.Stats().Pools.Open == 0 && runtime.NumGoroutine() <= goroutines+2 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	<-done
	return heap() - bytes, runtime.NumGoroutine() - goroutines
}
