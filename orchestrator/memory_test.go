package orchestrator_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/resultcache"
	"github.com/behalf-project/behalf/orchestrator"
)

// little is room for a handful of results of a thousand rows, none of which is cached.
func little() orchestrator.Config {
	return orchestrator.Config{Cache: resultcache.New(resultcache.Config{MaxEntryBytes: 1 << 10, MaxHeldBytes: 118 << 10})}
}

func TestResultsThatAreBeingSentAreBounded(t *testing.T) {
	inBubble(t, little(), func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		n := 0
		ask := func(name, code string) *orchestrator.Result {
			t.Helper()
			n++
			res, err := o.Load(t.Context(), person(name), query(source("db", driverfactory.Limits{}), fmt.Sprint("rows 1000 -- ", n)))
			if codeOf(err) != code {
				t.Fatalf("%s: %v, want %q", name, err, code)
			}
			if e, ok := errors.AsType[*fault.Error](err); ok && (e.RetryAfter == 0 || !strings.Contains(e.Detail, "KiB")) {
				t.Errorf("%s: %+v, want when to ask again, and the bound", name, e)
			}
			return res
		}
		for _, name := range []string{"alice", "bob", "carol", "dave"} {
			w.grant(person(name).Principal, 1)
		}
		first := ask("alice", "")
		ask("alice", "")
		ask("alice", "too_many_results") // and not the others
		ask("bob", "")
		last := ask("carol", "")
		ask("dave", "results_full")
		first.Close()
		first.Close() // once counts
		second := ask("dave", "")
		ask("dave", "results_full")
		last.Close()
		second.Close()
		if got := o.Stats().Cache.Held; got < 2*21_000 || got > 60_000 {
			t.Errorf("%d bytes are held for two results of 22,000", got)
		}
	})
}

// What a service account fetches is everybody's, and who reads it slowly holds no more of it than of their own: there is
// always something left for the others.
func TestOnePersonDoesNotHoldTheResultsOfEverybody(t *testing.T) {
	inBubble(t, little(), func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		w.fallback = true
		ask := func(name string, n int) (*orchestrator.Result, error) {
			return o.Load(t.Context(), person(name), query(source("db", driverfactory.Limits{}), fmt.Sprint("rows 1000 -- ", n)))
		}
		var read []*orchestrator.Result
		held := int64(0)
		for n := 0; ; n++ {
			res, err := ask("alice", n)
			if err != nil {
				if codeOf(err) != "too_many_results" || n < 2 {
					t.Errorf("result %d of alice: %v, want too_many_results after some", n+1, err)
				}
				break
			}
			if held += res.Bytes; held > 59<<10 || res.RunAs.Identity != driverfactory.IdentityServiceAccount {
				t.Fatalf("alice holds %d bytes, as %+v, want at most half of all", held, res.RunAs)
			}
			read = append(read, res)
		}
		if res, err := ask("bob", 100); err != nil {
			t.Errorf("bob: %v, want his result", err)
		} else {
			res.Close()
		}
		read[0].Close()
		read[0].Close() // once counts
		if res, err := ask("alice", 101); err != nil {
			t.Errorf("alice, when she has read one: %v, want a result", err)
		} else {
			res.Close()
		}
		for _, res := range read {
			res.Close()
		}
	})
}

// Whatever ends a result, nothing of it is left: no session, no memory, nothing in the cache.
func TestNothingIsLeftOfAResultThatIsNotWhole(t *testing.T) {
	for _, tt := range []struct {
		name, sql string
		want      fault.Kind
	}{
		{"the rows end early", "rows 500 breaks", ""},
		{"the driver has a bug", "rows 500 panics-closing", ""},
		{"there are too many", "rows 50001", fault.Invalid},
		{"they are too large", "rows 5000", fault.Invalid},
		{"nobody waits any more", "slowly rows 100000000", fault.Canceled},
		{"it takes too long", "slowly rows 100000000 -- too long", fault.Timeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, little(), func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
				alice := person("alice")
				w.grant(alice.Principal, 1)
				req := query(source("db", driverfactory.Limits{QueryTimeout: time.Minute}), tt.sql)
				req.RequestID, req.Wait, req.MaxRows = "tile", time.Hour, 50_000_000
				if tt.sql == "rows 50001" {
					req.MaxRows = 500
				}
				if tt.want == fault.Canceled {
					time.AfterFunc(50*time.Millisecond, func() { o.Cancel("tile", alice.Principal) })
				}
				if tt.want == fault.Timeout {
					o = orchestrator.New(orchestrator.Config{Drivers: w}) // with room until its time is up
				}
				res, err := o.Load(t.Context(), alice, req)
				if err == nil || fault.KindOf(err) != tt.want {
					t.Errorf("Load = %+v, %v, want %s", res, err, tt.want)
				}
				time.Sleep(time.Second)
				synctest.Wait()
				if s := o.Stats(); s.Running != 0 || s.Cache.Held != 0 || s.Cache.Entries != 0 {
					t.Errorf("Stats = %+v, want nothing left", s)
				}
				if tt.want == fault.Timeout {
					_ = o.Close(t.Context())
				}
			})
		})
	}
}

// A result that nobody has read to its end holds memory, and no session of the warehouse.
func TestWhoReadsSlowlyHoldsNoSession(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		res, err := o.Load(t.Context(), alice, query(source("db", driverfactory.Limits{}), "rows 1000"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute) // the pool of nobody is closed
		if s := o.Stats(); s.Running != 0 || s.Pools.Open != 0 {
			t.Errorf("Stats = %+v, want no statement and no pool", s)
		}
		o.Forget(alice.Principal.Key(), "app", 0, true)
		if n := o.Stats().Cache.Held; n == 0 {
			t.Error("what is read after a revocation counts no more")
		}
		rows := 0
		for row := range res.Rows.All() {
			rows++
			if row[0] != alice.Principal.Key() {
				t.Fatalf("row %d is of %v", rows, row[0])
			}
		}
		res.Close()
		if n := o.Stats().Cache.Held; n != 0 || rows != 1000 {
			t.Errorf("%d rows were read, and %d bytes are held", rows, n)
		}
	})
}
