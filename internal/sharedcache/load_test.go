package sharedcache_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-project/behalf/internal/redis/redistest"
	"github.com/behalf-project/behalf/internal/resultcache"
	"github.com/behalf-project/behalf/internal/sharedcache"
	"github.com/behalf-project/behalf/internal/sharedcache/sharedcachetest"
)

func TestOneLoadsAndTheOthersFollow(t *testing.T) {
	// A lease that is renewed in time on a machine with much else to do.
	three := replicas(t, 3, on(t, redistest.Start(t)), func(c *sharedcache.Config) { c.Lease = 2 * time.Second })
	k := key(t, scope("alice", 1), "SELECT 1")
	first := three[0].Begin(t.Context(), k, values)
	if !first.Mine {
		t.Fatal("the first is not the loader")
	}
	if l := three[2].Begin(t.Context(), k, resultcache.Values{}); !l.Mine {
		t.Error("it waits for a result of other answers of its refresh keys")
	} else {
		l.End(t.Context())
	}
	type answer struct {
		text any
		ok   bool
	}
	answers := make(chan answer, 2)
	for _, r := range three[1:] {
		l := r.Begin(t.Context(), k, values)
		if l.Mine {
			t.Fatal("there are two loaders")
		}
		go func() {
			defer l.End(t.Context())
			got, ok := l.Follow(t.Context(), time.Hour)
			var text any
			if ok {
				text = got.Rows.First()[0]
			}
			answers <- answer{text, ok}
		}()
	}
	time.Sleep(2500 * time.Millisecond) // longer than a lease
	first.Put(t.Context(), result(t, "hers"))
	for range 2 {
		if got := <-answers; got != (answer{"hers", true}) {
			t.Errorf("Follow = %v, want the loader's result", got)
		}
	}
	if l := three[1].Begin(t.Context(), k, values); !l.Mine {
		t.Error("the lease of a loader that has put its result is still there")
	} else {
		l.End(t.Context())
	}
}

// inBubble gives test two replicas in a bubble, where time is fake.
func inBubble(t *testing.T, test func(t *testing.T, store *counting, two []replica, k sharedcache.Key)) {
	synctest.Test(t, func(t *testing.T) {
		store := new(counting)
		two := replicas(t, 2, func() sharedcache.Store { return store }, func(c *sharedcache.Config) { c.Timeout = 200 * time.Millisecond })
		test(t, store, two, key(t, scope("alice", 1), "SELECT 1"))
		for _, r := range two {
			r.stop()
		}
	})
}

func TestWhoFollowsWaitsForOneLoaderAndNoLonger(t *testing.T) {
	for _, tt := range []struct {
		name   string
		end    func(store *counting, first *sharedcache.Load, die context.CancelFunc)
		within time.Duration
	}{
		{"it fails", func(_ *counting, first *sharedcache.Load, _ context.CancelFunc) { first.End(context.Background()) }, 100 * time.Millisecond},
		{"it dies", func(_ *counting, _ *sharedcache.Load, die context.CancelFunc) { die() }, 1100 * time.Millisecond},
		{"the store fails", func(store *counting, _ *sharedcache.Load, _ context.CancelFunc) { store.fail.Store(true) }, 100 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, store *counting, two []replica, k sharedcache.Key) {
				living, die := context.WithCancel(t.Context())
				defer die()
				first, second := two[0].Begin(living, k, values), two[1].Begin(t.Context(), k, values)
				ended := make(chan time.Time, 1)
				go func() {
					time.Sleep(5 * time.Second)
					ended <- time.Now()
					tt.end(store, first, die)
				}()
				if _, ok := second.Follow(t.Context(), time.Hour); ok {
					t.Error("Follow = a result of nobody")
				}
				if took := time.Since(<-ended); took < 0 || took > tt.within {
					t.Errorf("Follow ended %v after the loader, want at most %v", took, tt.within)
				}
				began := time.Now()
				if _, ok := second.Follow(t.Context(), time.Hour); ok || time.Since(began) > 0 {
					t.Error("it waits for a second one")
				}
				second.End(t.Context())
				die()
			})
		})
	}
}

// A loader whose value comes from somewhere else is not believed to be the one that was waited for, and who leaves waits no more.
func TestFollowTakesTheValueOfItsLoaderOnly(t *testing.T) {
	inBubble(t, func(t *testing.T, store *counting, two []replica, k sharedcache.Key) {
		two[0].put(t, k, "old")
		first, second := two[0].Begin(t.Context(), k, values), two[1].Begin(t.Context(), k, values)
		first.End(t.Context())
		if got, ok := second.Follow(t.Context(), time.Hour); ok {
			t.Errorf("Follow = %v, which was there before", got.Rows.First())
		}
		if !second.Mine {
			t.Error("who comes now does not wait for whom runs it")
		}
		time.Sleep(5 * time.Second) // longer than a lease
		third := two[0].Begin(t.Context(), k, values)
		began := time.Now()
		if _, ok := third.Follow(t.Context(), time.Minute); ok || time.Since(began) != time.Minute {
			t.Errorf("Follow ended after %v, want when its patience did", time.Since(began))
		}
		left, leave := context.WithTimeout(t.Context(), time.Minute)
		defer leave()
		if _, ok := third.Follow(left, time.Hour); ok || time.Since(began) != 2*time.Minute {
			t.Errorf("Follow ended after %v, want when its caller left", time.Since(began)-time.Minute)
		}
		second.End(t.Context())
	})
}

var _ sharedcache.Store = (*sharedcachetest.Memory)(nil)
