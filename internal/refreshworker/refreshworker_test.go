package refreshworker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/jobs"
	"github.com/behalf-project/behalf/internal/refreshworker"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/internal/sqlstore/sqlstoretest"
	"github.com/behalf-project/behalf/orchestrator"
)

// world is one place of rollups whose jobs are done, and what it is asked to refresh.
type world struct {
	*refreshworker.Worker
	jobs jobs.Store

	mu    sync.Mutex
	asked []orchestrator.RollupUse
	at    []time.Duration // since the world began
	next  func(n int) (time.Time, error)
}

// inBubble runs test in a world whose nth refresh answers next(n).
func inBubble(t *testing.T, next func(n int) (time.Time, error), test func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{jobs: sqlstoretest.OpenSQLite(t, nil).Jobs(), next: next}
		began := time.Now()
		w.Worker = refreshworker.New(refreshworker.Config{Place: "here", Jobs: w.jobs, Refresh: func(_ context.Context, use orchestrator.RollupUse) (time.Time, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.asked, w.at = append(w.asked, use), append(w.at, time.Since(began).Round(time.Minute))
			return w.next(len(w.asked))
		}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- jobs.NewRunner(jobs.Config{Store: w.jobs, Kinds: []jobs.Kind{w.Kind()}}).Run(ctx) }()
		test(t, w)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}

// times returns when it was asked.
func (w *world) times() []time.Duration {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

func (w *world) use(t *testing.T, u orchestrator.RollupUse) {
	t.Helper()
	if err := w.Used(t.Context(), u); err != nil {
		t.Fatalf("Used = %v, want no error", err)
	}
}

// of returns a use by somebody with claims, now.
func of(id string) orchestrator.RollupUse {
	return orchestrator.RollupUse{
		ID: id, Scope: "scope", Name: "orders.main", Zone: "UTC", Since: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), At: time.Now().UTC(),
		By: securitycontext.Context{
			Domain: "default", Principal: securitycontext.Principal{Realm: "local", Subject: "usr_1"}, Username: "alice",
			Claims: map[string]any{"tenant": "canary-7", "level": 3.0}, Template: map[string]any{"tenant": "canary-7"},
			Groups: []string{"eu"}, Extended: map[string]any{"x": []any{"y"}}, AppID: "app",
		},
	}
}

// What is in use is refreshed when its rows may be old, as its last use says.
func TestWhatIsInUseIsRefreshed(t *testing.T) {
	const every = 10 * time.Minute
	inBubble(t, func(int) (time.Time, error) { return time.Now().Add(every), nil }, func(t *testing.T, w *world) {
		use := of("rol_1")
		w.use(t, use)
		time.Sleep(30 * time.Second)
		if got := w.times(); len(got) != 0 {
			t.Fatalf("refreshed at %v: the query that used it fetches it", got)
		}
		time.Sleep(15 * time.Minute)
		if diff := cmp.Diff([]time.Duration{time.Minute, time.Minute + every}, w.times()); diff != "" {
			t.Errorf("refreshed (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(use, w.asked[0]); diff != "" {
			t.Errorf("refreshed for (-want +got):\n%s", diff)
		}
		use.At, use.By.Groups = time.Now().UTC(), []string{"us"}
		w.use(t, use)
		time.Sleep(10 * time.Minute)
		if diff := cmp.Diff([]time.Duration{time.Minute, time.Minute + every, time.Minute + 2*every}, w.times()); diff != "" {
			t.Errorf("refreshed (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(use, w.asked[2]); diff != "" {
			t.Errorf("refreshed for another than the last use (-want +got):\n%s", diff)
		}
	})
}

// A week after its last use, nothing is refreshed any more.
func TestWhatNobodyUsesIsNotRefreshed(t *testing.T) {
	for _, tt := range []struct {
		ago  time.Duration
		want int
	}{{7*24*time.Hour - 2*time.Minute, 1}, {7 * 24 * time.Hour, 0}} {
		inBubble(t, func(int) (time.Time, error) { return time.Now().Add(5 * time.Minute), nil }, func(t *testing.T, w *world) {
			use := of("rol_1")
			use.At = use.At.Add(-tt.ago)
			w.use(t, use)
			time.Sleep(20 * time.Minute)
			if n := len(w.times()); n != tt.want {
				t.Errorf("refreshed %d times from %v after the last use on, want %d", n, tt.ago, tt.want)
			}
		})
	}
}

// Of what is kept in its source there is one look more, when the week has ended: for what is to be dropped there. It is tried for an
// hour, and asked for even where the rows are good for ever.
func TestWhatIsKeptInItsSourceEndsThere(t *testing.T) {
	for _, tt := range []struct {
		name        string
		next        time.Duration // zero: never
		err         error
		most, least int // looks at its end
	}{
		{"and is done", 24 * time.Hour, nil, 1, 1},
		{"and is good for ever", 0, nil, 1, 1},
		{"and is nobody's any more", time.Hour, fault.New(fault.ReauthorizationRequired, "revoked"), 1, 1},
		{"and the source is down", time.Hour, fault.New(fault.Unavailable, "down"), 30, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var use orchestrator.RollupUse
			var w *world
			inBubble(t, func(n int) (next time.Time, err error) {
				if w.asked[n-1].Ended {
					err = tt.err
				}
				if tt.next > 0 {
					next = time.Now().Add(tt.next)
				}
				return next, err
			}, func(t *testing.T, is *world) {
				w, use = is, of("rol_1")
				use.InSource, use.At = true, use.At.Add(5*time.Minute-7*24*time.Hour)
				w.use(t, use)
				time.Sleep(4 * time.Minute)
				if got := w.times(); len(got) == 0 || w.asked[len(got)-1].Ended || !w.asked[0].InSource {
					t.Errorf("within the week it was looked at %d times, last for %+v", len(got), w.asked[len(got)-1])
				}
				before := len(w.times())
				time.Sleep(100 * time.Minute)
				got := w.times()
				if n := len(got) - before; n < tt.least || n > tt.most || !w.asked[len(got)-1].Ended || got[len(got)-1] > 90*time.Minute {
					t.Errorf("when the week had ended it was looked at %d times, last after %v for %+v; want between %d and %d", n, got[len(got)-1], w.asked[len(got)-1], tt.least, tt.most)
				}
			})
		})
	}
}

// Nothing is looked at more often than twice a minute, whatever the model says, and what is good for ever once.
func TestHowOftenIsBounded(t *testing.T) {
	inBubble(t, func(int) (time.Time, error) { return time.Now(), nil }, func(t *testing.T, w *world) {
		w.use(t, of("rol_1"))
		time.Sleep(11 * time.Minute)
		if n := len(w.times()); n < 15 || n > 21 {
			t.Errorf("refreshed %d times in ten minutes, want about 20", n)
		}
	})
	inBubble(t, func(int) (time.Time, error) { return time.Time{}, nil }, func(t *testing.T, w *world) {
		w.use(t, of("rol_1"))
		time.Sleep(20 * time.Minute)
		if n := len(w.times()); n != 1 {
			t.Errorf("refreshed %d times what is good for ever, want once", n)
		}
	})
}

// What nobody may fetch for them any more, or is another rollup by now, is left alone until it is used again. Other failures are
// tried again.
func TestWhatEndsARefresh(t *testing.T) {
	for _, tt := range []struct {
		err  error
		ends bool
	}{
		{fault.New(fault.ReauthorizationRequired, "revoked"), true},
		{fault.New(fault.AuthorizationRequired, "never"), true},
		{fault.New(fault.Denied, "disabled"), true},
		{fault.New(fault.AppDisabled, "paused"), true},
		{fault.New(fault.Gone, "replaced"), true},
		{fault.New(fault.NotFound, "no source"), true},
		{fault.New(fault.Unavailable, "down"), false},
		{fault.New(fault.RefreshFailing, "the provider is down"), false},
		{fault.New(fault.TooMany, "busy"), false},
		{errors.New("whatever"), false},
	} {
		t.Run(tt.err.Error(), func(t *testing.T) {
			inBubble(t, func(int) (time.Time, error) { return time.Now().Add(time.Hour), tt.err }, func(t *testing.T, w *world) {
				w.use(t, of("rol_1"))
				time.Sleep(5 * time.Minute)
				if n := len(w.times()); (n == 1) != tt.ends {
					t.Errorf("tried %d times", n)
				}
				before := len(w.times())
				w.use(t, of("rol_1"))
				time.Sleep(5 * time.Minute)
				if n := len(w.times()); n <= before {
					t.Error("it was used again, and not tried")
				}
			})
		})
	}
}

// Rows are fetched where they are kept: no other place's process does it. Who it is for is sealed.
func TestAJobIsOfItsPlaceAndSealed(t *testing.T) {
	inBubble(t, func(int) (time.Time, error) { return time.Now().Add(time.Hour), nil }, func(t *testing.T, w *world) {
		there := refreshworker.New(refreshworker.Config{Place: "there", Jobs: w.jobs})
		if err := there.Used(t.Context(), of("rol_1")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		if n := len(w.times()); n != 0 {
			t.Errorf("refreshed %d times what is kept elsewhere", n)
		}
		now := time.Now().UTC()
		j, err := w.jobs.Claim(t.Context(), jobs.Want{Kind: there.Kind().Name, By: "test"}, now, now.Add(time.Second))
		if err != nil || j.Lane != "scope" || j.Key != "rol_1" {
			t.Fatalf("Claim = %+v, %v, want the job of the other place", j, err)
		}
		if strings.Contains(string(j.Payload), "canary") || strings.Contains(string(j.Payload), "alice") || strings.Contains(string(j.Payload), "usr_1") {
			t.Errorf("%s says who it is for", j.Payload)
		}
		big := of("rol_2")
		big.By.Claims = map[string]any{"x": strings.Repeat("x", 65<<10)}
		if err := w.Used(t.Context(), big); err == nil {
			t.Error("claims of 65 KiB were kept")
		}
	})
}

// Of one credential so many rollups are fetched again, and no more: those of others are not kept waiting by them.
func TestOneCredentialHasSoManyJobs(t *testing.T) {
	inBubble(t, func(int) (time.Time, error) { return time.Now().Add(time.Hour), nil }, func(t *testing.T, w *world) {
		for n := range 310 {
			w.use(t, of(fmt.Sprint("rol_", n)))
		}
		other := of("rol_other")
		other.Scope = "other"
		w.use(t, other)
		w.use(t, of("rol_0")) // which is one of them
		time.Sleep(30 * time.Minute)
		if n := len(w.times()); n != 301 {
			t.Errorf("%d rollups were refreshed, want 300 of one credential and one of another", n)
		}
	})
}

// What is rarely refreshed is kept no longer after its last use than anything else.
func TestNobodysClaimsAreKeptForLong(t *testing.T) {
	inBubble(t, func(int) (time.Time, error) { return time.Now().Add(365 * 24 * time.Hour), nil }, func(t *testing.T, w *world) {
		use := of("rol_1")
		use.At = use.At.Add(5*time.Minute - 7*24*time.Hour)
		w.use(t, use)
		time.Sleep(6 * time.Minute)
		if n := len(w.times()); n != 1 {
			t.Errorf("refreshed %d times, want once", n)
		}
		late := time.Now().Add(1000 * 24 * time.Hour)
		if j, err := w.jobs.Claim(t.Context(), jobs.Want{Kind: w.Kind().Name, By: "test"}, late, late.Add(time.Minute)); !errors.Is(err, fault.NotFound) {
			t.Errorf("a week after the last use there is %s, %v, want nothing", j.Key, err)
		}
	})
}
