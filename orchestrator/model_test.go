package orchestrator_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/resultcache"
	"github.com/behalf-project/behalf/orchestrator"
)

// TestNothingEverCrosses plays random histories of requests, rotations, revocations, failures, evictions and idle times
// on few people, few statements and little room, so that everything happens to everybody at once, and checks each
// answer: it holds the rows of who asked, of an epoch that was not over when they asked, and says truly who ran it. One replica
// does it alone, or two share what they fetch. Where a source is one for roles, it may hold the rows of somebody who fetched them
// under the role that who asked has then, and whose credential was not revoked.
func TestNothingEverCrosses(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		cfg := func(name string) orchestrator.Config {
			return orchestrator.Config{
				Max:          rapid.IntRange(1, 4).Draw(rt, name+" max"),
				IdleTimeout:  time.Duration(rapid.IntRange(40, 500).Draw(rt, name+" idle ms")) * time.Millisecond,
				DrainTimeout: time.Duration(rapid.IntRange(1, 50).Draw(rt, name+" drain ms")) * time.Millisecond,
				Capacity:     orchestrator.NewCapacity(rapid.IntRange(2, 5).Draw(rt, name+" sessions"), time.Minute),
				Cache: resultcache.New(resultcache.Config{
					MaxBytes: int64(rapid.IntRange(2, 64).Draw(rt, name+" cache KiB")) << 10, MaxEntryBytes: 2 << 10,
					MaxHeldBytes: int64(rapid.IntRange(5, 64).Draw(rt, name+" held KiB")) << 10,
				}),
				PreAggregations: &shelf{tables: map[orchestrator.RollupID]map[string]shelved{}},
			}
		}
		cfgs := []orchestrator.Config{cfg("one")}
		if rapid.Bool().Draw(rt, "replicas") {
			cfgs = append(cfgs, cfg("two"))
		}
		tables := new(book)
		for i := range cfgs {
			cfgs[i].SourceTables = tables
		}
		h := history{
			people: rapid.IntRange(2, 4).Draw(rt, "people"),
			limits: driverfactory.Limits{
				Concurrency:        rapid.IntRange(1, 4).Draw(rt, "concurrency"),
				PerUserConcurrency: rapid.IntRange(1, 3).Draw(rt, "per user"),
				MaxConnections:     rapid.IntRange(1, 4).Draw(rt, "connections"),
				PerUserQueue:       rapid.IntRange(1, 8).Draw(rt, "line"),
			},
			fallback: rapid.Bool().Draw(rt, "fallback"),
			byRole:   rapid.Bool().Draw(rt, "roles"),
		}
		h.play(t, cfgs, seed)
	})
}

type history struct {
	people   int
	limits   driverfactory.Limits
	fallback bool
	byRole   bool // the second source is one for roles
}

// role is that of a credential: another one with each consent, and sometimes none that is known.
func (h history) role(who string, epoch int64) string {
	return []string{"ANALYST", "", "Analyst", "ANALYST"}[(int64(len(who))+epoch)%4]
}

func (h history) play(t *testing.T, cfgs []orchestrator.Config, seed uint64) {
	inReplicas(t, cfgs, func(t *testing.T, replicas []replica) {
		for _, r := range replicas {
			r.fallback = h.fallback
			r.roleOf = func(key driverfactory.PoolKey) string { return h.role(key.Principal.Key(), key.Epoch) }
		}
		for i := range replicas {
			replicas[i].made = replicas[0].made // one database
		}
		sources := []driverfactory.Source{source("one", h.limits), source("two", h.limits)}
		if h.byRole {
			sources[1].CacheScope = driverfactory.CacheRole
		}
		statements := []string{"a", "sleep 1ms", "sleep 20ms", "sleep 200ms", "sleep 3ms fail", "sleep 2ms panic", "rows 20", "superseded"}
		modes := []orchestrator.CacheMode{
			orchestrator.StaleIfSlow, orchestrator.StaleWhileRevalidate, orchestrator.MustRevalidate, orchestrator.NoCache,
		}

		// truth is what is known to everybody: the epoch whose announcement is over, 0 when it is a revocation.
		var mu sync.Mutex
		truth := map[driverfactory.Principal]int64{}
		last := map[driverfactory.Principal]int64{}
		gone := map[string]int64{} // by Principal.Key: the last epoch of which everybody knows that it was revoked
		var people []driverfactory.SecurityContext
		for i := range h.people {
			sc := person(fmt.Sprintf("p%d", i))
			if i == h.people-1 { // two issuers' people of one name
				sc.Username, sc.Principal = "p0", driverfactory.Principal{Realm: "https://idp", Subject: "usr_p0"}
			}
			people = append(people, sc)
			for _, r := range replicas {
				r.grant(sc.Principal, 1)
			}
			truth[sc.Principal], last[sc.Principal] = 1, 1
		}

		// x changes, and its refresh keys with it. changes are the times of its values from 1 on.
		var changes []time.Time
		valueAt := func(at time.Time) (value int64) {
			mu.Lock()
			defer mu.Unlock()
			for _, changed := range changes {
				if changed.Before(at) {
					value++
				}
			}
			return value
		}
		keys := []string{"read x", "sleep 5ms read x", "sleep 30ms read x", "sleep 2ms fail", "sleep 1ms read y"}

		var all sync.WaitGroup
		for worker := range 10 {
			r := rand.New(rand.NewPCG(seed, uint64(worker)))
			all.Go(func() {
				for n := range 40 {
					sc := people[r.IntN(len(people))]
					req := query(sources[r.IntN(len(sources))], statements[r.IntN(len(statements))])
					req.Cache = modes[r.IntN(len(modes))]
					req.FreshFor = time.Duration(1+r.IntN(100)) * time.Millisecond
					req.Wait = time.Duration(1+r.IntN(50)) * time.Millisecond
					req.RequestID = fmt.Sprintf("r%d-span-1", r.IntN(4))
					asks := r.IntN(2) == 0
					if asks {
						// An interaction of its own: a poll is answered by what the key said when it began.
						req.Statement.SQL, req.RequestID = "sleep 4ms read x", fmt.Sprintf("w%d.%d", worker, n)
						req.RefreshKeys = []orchestrator.RefreshKey{{
							Statement: driverfactory.Statement{SQL: keys[r.IntN(len(keys))]}, Every: time.Duration(1+r.IntN(50)) * time.Millisecond, Of: "cube x",
						}}
						req.FreshFor = time.Duration(1+r.IntN(1000)) * time.Millisecond
					} else if r.IntN(2) == 0 {
						there := r.IntN(3) == 0
						req.Statement.SQL, req.Rollup = "a", h.rollup(byte(r.IntN(3)), r.IntN(4) == 0, there)
						if r.IntN(3) == 0 {
							other := h.rollup(byte(r.IntN(3)), req.Rollup.Shared, there)
							req.Rollup = &orchestrator.Rollup{Name: "joined", Shared: other.Shared, Read: other.Read, InSource: other.InSource, Parts: []*orchestrator.Rollup{req.Rollup, other}}
							if r.IntN(2) == 0 && !there { // united, and with the rest of the source
								whole, rest := [][]orchestrator.Span{{{}}, {{}}}, orchestrator.Span{Name: "after"}
								req.Rollup.United = func([][2]time.Time) ([][]orchestrator.Span, *orchestrator.Span, bool, error) {
									return whole, &rest, true, nil
								}
							}
						}
					}
					asked := time.Now()
					ctx, cancel := context.WithCancel(t.Context())
					// A client that hangs up, never at once: a bubble's timer of no time runs beside the bubble's own timers, and
					// the race detector dies of that (golang/go#78156).
					if r.IntN(5) == 0 {
						time.AfterFunc(time.Duration(1+r.IntN(30))*time.Millisecond, cancel)
					}
					mu.Lock()
					atLeast, ended := truth[sc.Principal], maps.Clone(gone)
					mu.Unlock()
					// others reports whether a row that somebody else fetched may be in an answer of the role of sc.
					others := func(who string, epoch int64) bool {
						mu.Lock()
						defer mu.Unlock()
						role, had := h.role(who, epoch), false
						for e := atLeast; e <= last[sc.Principal]; e++ {
							had = had || h.role(sc.Principal.Key(), e) == role
						}
						return h.byRole && req.Source.Name == "two" && role != "" && had && epoch > ended[who]
					}
					o := replicas[r.IntN(len(replicas))]
					res, err := o.Load(ctx, sc, req)
					cancel()
					if err != nil {
						h.checkRefusal(t, err)
					} else {
						h.checkAnswer(t, sc, req, res, atLeast, others)
						if key := ""; asks {
							key = req.RefreshKeys[0].Statement.SQL
							h.checkKeys(t, sc, res)
							if least := valueAt(asked.Add(-req.RefreshKeys[0].Every)); strings.Contains(key, "read x") && !res.Stale && res.Rows.First()[2].(int64) < least {
								t.Errorf("%q was answered with the value %v, and its key had %d", key, res.Rows.First()[2], least)
							}
						}
						time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond) // a client that reads slowly
						h.checkAnswer(t, sc, req, res, atLeast, others)
						res.Close()
					}
					if r.IntN(10) == 0 {
						o.Cancel(req.RequestID, sc.Principal)
					}
					time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
				}
			})
		}
		all.Go(func() { // the life of x
			r := rand.New(rand.NewPCG(seed, 1001))
			for range 60 {
				time.Sleep(time.Duration(1+r.IntN(30)) * time.Millisecond)
				mu.Lock()
				changes = append(changes, time.Now())
				for _, r := range replicas {
					r.change("x")
				}
				mu.Unlock()
			}
		})
		all.Go(func() { // the grants' lives
			r := rand.New(rand.NewPCG(seed, 1000))
			for range 60 {
				time.Sleep(time.Duration(r.IntN(30)) * time.Millisecond)
				p := people[r.IntN(len(people))].Principal
				switch r.IntN(3) {
				case 0:
					for _, o := range replicas {
						time.Sleep(time.Duration(r.IntN(5)) * time.Millisecond) // the others hear of it later
						o.revoke(p)
						o.Forget(p.Key(), "app", 0, true)
					}
					mu.Lock()
					truth[p] = last[p] + 1
					gone[p.Key()] = last[p]
					mu.Unlock()
				default:
					mu.Lock()
					last[p]++
					epoch := last[p]
					mu.Unlock()
					revoked := r.IntN(4) == 0
					for _, o := range replicas {
						time.Sleep(time.Duration(r.IntN(5)) * time.Millisecond)
						o.grant(p, epoch)
						o.Forget(p.Key(), "app", epoch, revoked)
					}
					mu.Lock()
					truth[p] = epoch
					if revoked {
						gone[p.Key()] = epoch - 1
					}
					mu.Unlock()
				}
			}
		})
		all.Wait()

		time.Sleep(3 * time.Minute) // everything that is bounded by time ends
		synctest.Wait()
		for _, o := range replicas {
			s := o.Stats()
			if s.Cache.Held != 0 {
				t.Errorf("at rest %d bytes are held, and nobody reads them", s.Cache.Held)
			}
			if s.Queued != 0 || s.Running != 0 || s.Renewals != 0 || s.Builds != 0 || s.Kept != 0 || s.Pools.Open != 0 || s.Sessions.Open != 0 || s.Sessions.Waiting != 0 ||
				s.Orchestrators.Busy != 0 || s.Orchestrators.Draining != 0 {
				t.Errorf("at rest Stats = %+v, want nothing waiting, running, kept or open", s)
			}
		}
	})
}

// rollup returns one of a few, whose rows are soon old, and take their time or fail; perhaps one in its source.
func (h history) rollup(n byte, shared, there bool) *orchestrator.Rollup {
	r := *aggregated().Rollup
	r.Structure[0], r.Shared = 2*n, shared
	if shared {
		r.Structure[0]++
	}
	if there {
		r.InSource, r.Structure[1], r.Read.SQL = tableSQL(), 1, "-- the rollup"
	}
	build := []string{"a", "sleep 20ms", "sleep 3ms fail"}[n]
	r.Build = func(orchestrator.Span) (driverfactory.Statement, error) {
		return driverfactory.Statement{SQL: build}, nil
	}
	r.Age = func(_ orchestrator.Span, now time.Time) (time.Time, bool) {
		return now.Truncate(50 * time.Millisecond), false
	}
	return &r
}

func (h history) checkAnswer(t *testing.T, sc driverfactory.SecurityContext, req orchestrator.Request, res *orchestrator.Result, atLeast int64, others func(who string, epoch int64) bool) {
	for row := range res.Rows.All() { // of several rollups, one each
		who, epoch := row[0].(string), row[1].(int64)
		switch res.RunAs.Identity {
		case driverfactory.IdentityServiceAccount:
			shared := req.Rollup != nil && req.Rollup.Shared && res.Rollup != "" && res.RunAs.Reason == "shared_rollup"
			if who != "service" || !h.fallback && !shared {
				t.Errorf("%v was told that the service account ran it, and it was %s", sc.Principal, who)
			}
		default:
			if res.OfRole && others(who, epoch) {
				continue
			}
			if who != sc.Principal.Key() {
				t.Errorf("%v was given the rows of %s, of epoch %d", sc.Principal, who, epoch)
			}
			if epoch < atLeast {
				t.Errorf("%v asked in epoch %d and was answered from epoch %d", sc.Principal, atLeast, epoch)
			}
		}
	}
	if res.RunAs.Username != sc.Username || res.RunAs.DataSource != req.Source.Name {
		t.Errorf("RunAs = %+v, want %s at %s", res.RunAs, sc.Username, req.Source.Name)
	}
	want := max(1, len(res.Rollups))
	if len(res.Rollups) > 0 && res.Rollups[0].Schema != "" { // the source reads them together
		want = 1
	}
	if req.Rollup != nil && req.Rollup.United != nil && res.Rollup != "" {
		want++
	}
	if req.Statement.SQL == "rows 20" {
		want = 20
	}
	if res.Rows.Len() != want {
		t.Errorf("%q was answered with %d rows, want %d", req.Statement.SQL, res.Rows.Len(), want)
	}
}

// checkKeys fails when others' refresh keys decided about res.
func (h history) checkKeys(t *testing.T, sc driverfactory.SecurityContext, res *orchestrator.Result) {
	for _, k := range res.RefreshKeys {
		who := k.Rows.First()[0].(string)
		if service := res.RunAs.Identity == driverfactory.IdentityServiceAccount; who != sc.Principal.Key() && !(service && who == "service") {
			t.Errorf("the refresh key of %s decided about the result of %v", who, sc.Principal)
		}
	}
}

// checkRefusal fails for an error that nothing in a history can lead to.
func (h history) checkRefusal(t *testing.T, err error) {
	if _, wait := errors.AsType[*orchestrator.ContinueWait](err); wait {
		return
	}
	switch fault.KindOf(err) {
	case fault.TooMany, fault.Canceled, fault.ReauthorizationRequired, fault.Unavailable:
		return
	case "":
		if msg := err.Error(); msg == "42P01: no such table" || msg == "driver of one panicked: driver bug" || msg == "driver of two panicked: driver bug" {
			return
		}
	}
	t.Errorf("Load = %v", err)
}
