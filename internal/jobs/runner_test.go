package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/jobs"
	"github.com/behalf-project/behalf/internal/sqlstore/sqlstoretest"
)

// run starts a runner over store and returns what stops it, and waits until it has stopped.
func run(t *testing.T, store jobs.Store, process string, kinds ...jobs.Kind) (stop func()) {
	t.Helper()
	r := jobs.NewRunner(jobs.Config{Store: store, Kinds: kinds, Process: process})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func add(t *testing.T, store jobs.Store, js ...jobs.Job) {
	t.Helper()
	if err := store.Add(t.Context(), js...); err != nil {
		t.Fatalf("Add = %v, want no error", err)
	}
}

func count(t *testing.T, store jobs.Store) jobs.Count {
	t.Helper()
	n, err := store.Count(t.Context(), "mail", "")
	if err != nil {
		t.Fatalf("Count = %v, want no error", err)
	}
	return n
}

func TestAJobThatFailsIsTriedAgainUntilItWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := sqlstoretest.OpenSQLite(t, nil).Jobs()
		add(t, store, jobs.Job{Kind: "mail"})
		var at []time.Duration
		began := time.Now()
		run(t, store, "one", jobs.Kind{Name: "mail", BackOff: func(n int) time.Duration { return time.Duration(n) * time.Minute },
			Handle: func(_ context.Context, j jobs.Job) error {
				at = append(at, time.Since(began).Round(time.Minute))
				if len(at) != j.Attempts {
					t.Errorf("attempt %d says it is number %d", len(at), j.Attempts)
				}
				if len(at) < 3 {
					return errors.New("down")
				}
				return nil
			}})
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if want := []time.Duration{0, time.Minute, 3 * time.Minute}; !slices.Equal(at, want) {
			t.Errorf("tried at %v, want %v", at, want)
		}
		if n := count(t, store); n != (jobs.Count{}) {
			t.Errorf("Count = %+v, want none left", n)
		}
	})
}

func TestAJobThatIsDoneForNowIsDueWhenItSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := sqlstoretest.OpenSQLite(t, nil).Jobs()
		add(t, store, jobs.Job{Kind: "mail"})
		var at []time.Duration
		began := time.Now()
		run(t, store, "one", jobs.Kind{Name: "mail", MaxAttempts: 1, Handle: func(_ context.Context, j jobs.Job) error {
			at = append(at, time.Since(began).Round(time.Minute))
			if j.Attempts != 1 {
				t.Errorf("it is attempt %d, want the first each time", j.Attempts)
			}
			if len(at) < 3 {
				return jobs.Again(time.Now().Add(time.Hour))
			}
			return nil
		}})
		time.Sleep(5 * time.Hour)
		synctest.Wait()
		if want := []time.Duration{0, time.Hour, 2 * time.Hour}; !slices.Equal(at, want) {
			t.Errorf("done at %v, want %v", at, want)
		}
		if n := count(t, store); n != (jobs.Count{}) {
			t.Errorf("Count = %+v, want none left", n)
		}
	})
}

func TestRetryAfterIsObeyedByTheWholeLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := sqlstoretest.OpenSQLite(t, nil).Jobs()
		began := time.Now()
		for i := range 4 {
			add(t, store, jobs.Job{Kind: "mail", Key: fmt.Sprint("slow", i), Lane: "slow"}, jobs.Job{Kind: "mail", Key: fmt.Sprint("quick", i), Lane: "quick"})
		}
		var mu sync.Mutex
		calls := map[string][]time.Duration{}
		run(t, store, "one", jobs.Kind{Name: "mail", Concurrency: 4, Handle: func(_ context.Context, j jobs.Job) error {
			mu.Lock()
			defer mu.Unlock()
			calls[j.Lane] = append(calls[j.Lane], time.Since(began))
			if j.Lane == "slow" && len(calls["slow"]) == 1 {
				return &fault.Error{Kind: fault.TooMany, RetryAfter: 5 * time.Minute}
			}
			return nil
		}})
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if last := slices.Max(calls["quick"]); len(calls["quick"]) != 4 || last > time.Second {
			t.Errorf("the other lane was done at %v, want at once", calls["quick"])
		}
		if len(calls["slow"]) != 5 {
			t.Fatalf("%d calls in the lane, want 5", len(calls["slow"]))
		}
		if second := calls["slow"][1]; second < 5*time.Minute || second > 5*time.Minute+2*time.Second {
			t.Errorf("the lane was used again after %v, want 5 min", second)
		}
	})
}

func TestALaneIsWorkedOnAtItsPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := sqlstoretest.OpenSQLite(t, nil).Jobs()
		for i := range 100 {
			add(t, store, jobs.Job{Kind: "mail", Key: fmt.Sprint(i), Lane: "smtp"})
		}
		began := time.Now()
		var at []time.Duration
		var busy atomic.Int64
		kind := jobs.Kind{Name: "mail", PerSecond: 5, Handle: func(context.Context, jobs.Job) error {
			if busy.Add(1) > 1 {
				t.Error("two jobs of one lane at once")
			}
			defer busy.Add(-1)
			at = append(at, time.Since(began))
			time.Sleep(50 * time.Millisecond)
			return nil
		}}
		run(t, store, "one", kind)
		run(t, store, "two", kind) // another process does not double the pace
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(at) != 100 {
			t.Fatalf("%d jobs done, want 100", len(at))
		}
		for i, when := range at[5:] {
			if took := when - at[i]; took < time.Second-250*time.Millisecond {
				t.Errorf("six jobs began in %v, want no more than 5 a second", took)
			}
		}
		if total := at[99]; total > 25*time.Second {
			t.Errorf("100 jobs at 5 a second took %v", total)
		}
	})
}

func TestADeadHoldersJobIsTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := sqlstoretest.OpenSQLite(t, nil).Jobs()
		add(t, store, jobs.Job{Kind: "mail"})
		now := time.Now()
		dead, err := store.Claim(t.Context(), jobs.Want{Kind: "mail", By: "dead"}, now, now.Add(10*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		var after time.Duration
		run(t, store, "one", jobs.Kind{Name: "mail", Handle: func(context.Context, jobs.Job) error {
			after = time.Since(now)
			return nil
		}})
		time.Sleep(time.Minute)
		synctest.Wait()
		if after < 10*time.Second || after > 11*time.Second+time.Millisecond {
			t.Errorf("taken over after %v, want when its lease ended", after)
		}
		if err := store.Finish(t.Context(), dead); !errors.Is(err, fault.Conflict) {
			t.Errorf("Finish by the one that was thought dead = %v, want conflict", err)
		}
	})
}

func TestALongJobKeepsItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := sqlstoretest.OpenSQLite(t, nil).Jobs()
		add(t, store, jobs.Job{Kind: "mail"})
		var runs atomic.Int64
		kind := jobs.Kind{Name: "mail", Timeout: time.Hour, Handle: func(ctx context.Context, _ jobs.Job) error {
			runs.Add(1)
			select {
			case <-time.After(2 * time.Minute):
			case <-ctx.Done():
				t.Errorf("the context ended: %v", context.Cause(ctx))
			}
			return nil
		}}
		run(t, store, "one", kind)
		run(t, store, "two", kind)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if runs.Load() != 1 || count(t, store).Waiting != 0 {
			t.Errorf("the job ran %d times and %d wait, want it done once", runs.Load(), count(t, store).Waiting)
		}
	})
}

// failing is a store whose leases cannot be renewed.
type failing struct{ jobs.Store }

func (failing) Renew(context.Context, []jobs.Job, time.Time) ([]string, error) {
	return nil, errors.New("down")
}

func TestAJobIsStoppedBeforeItsLeaseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := sqlstoretest.OpenSQLite(t, nil).Jobs()
		add(t, store, jobs.Job{Kind: "mail"})
		began := time.Now()
		var stopped time.Duration
		stop := run(t, failing{store}, "one", jobs.Kind{Name: "mail", Timeout: time.Hour, Handle: func(ctx context.Context, _ jobs.Job) error {
			<-ctx.Done()
			if stopped == 0 {
				stopped = time.Since(began)
			}
			return ctx.Err()
		}})
		time.Sleep(9 * time.Second)
		synctest.Wait()
		stop()
		if stopped == 0 || stopped >= 10*time.Second {
			t.Errorf("stopped after %v, want before the 10 s of the lease", stopped)
		}
	})
}

func TestAJobIsGivenUp(t *testing.T) {
	for _, tt := range []struct {
		name     string
		max      int
		err      error
		attempts int
		code     string
	}{
		{"when its failure cannot be mended", 0, jobs.GiveUp(fault.New(fault.Denied, "no")), 1, "denied"},
		{"after as many attempts as it may have", 3, errors.New("down"), 3, "failed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := sqlstoretest.OpenSQLite(t, nil).Jobs()
				add(t, store, jobs.Job{Kind: "mail"})
				attempts := 0
				run(t, store, "one", jobs.Kind{Name: "mail", MaxAttempts: tt.max, Handle: func(context.Context, jobs.Job) error {
					attempts++
					return tt.err
				}})
				time.Sleep(5 * time.Minute)
				synctest.Wait()
				if attempts != tt.attempts || count(t, store) != (jobs.Count{Failed: 1}) {
					t.Errorf("%d attempts, %+v, want %d and one failed", attempts, count(t, store), tt.attempts)
				}
			})
		})
	}
}

func TestWhatWasGivenUpIsForgottenAfterAMonth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := sqlstoretest.OpenSQLite(t, nil).Jobs()
		for i, days := range []int{29, 31} {
			add(t, store, jobs.Job{Kind: "mail", Key: fmt.Sprint(i)})
			j, err := store.Claim(t.Context(), jobs.Want{Kind: "mail", By: "one"}, time.Now(), time.Now().Add(time.Second))
			if err != nil {
				t.Fatal(err)
			}
			j.FailedAt = time.Now().AddDate(0, 0, -days)
			if err := store.Release(t.Context(), j); err != nil {
				t.Fatal(err)
			}
		}
		run(t, store, "one", jobs.Kind{Name: "mail", Handle: func(context.Context, jobs.Job) error { return nil }})
		time.Sleep(time.Second)
		synctest.Wait()
		if n := count(t, store); n != (jobs.Count{Failed: 1}) {
			t.Errorf("Count = %+v, want the younger one kept", n)
		}
	})
}

func TestAJobThatKillsItsHoldersIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := sqlstoretest.OpenSQLite(t, nil).Jobs()
		add(t, store, jobs.Job{Kind: "mail"})
		for range 3 {
			if _, err := store.Claim(t.Context(), jobs.Want{Kind: "mail", By: "dead"}, time.Now(), time.Now().Add(time.Second)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		run(t, store, "one", jobs.Kind{Name: "mail", MaxAttempts: 3, Handle: func(context.Context, jobs.Job) error {
			t.Error("it was begun a fourth time")
			return nil
		}})
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := count(t, store); n != (jobs.Count{Failed: 1}) {
			t.Errorf("Count = %+v, want one failed", n)
		}
	})
}

func TestAPanicIsAFailedAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := sqlstoretest.OpenSQLite(t, nil).Jobs()
		add(t, store, jobs.Job{Kind: "mail"})
		run(t, store, "one", jobs.Kind{Name: "mail", Handle: func(_ context.Context, j jobs.Job) error {
			if j.Attempts == 1 {
				panic("nil")
			}
			return nil
		}})
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := count(t, store); n != (jobs.Count{}) {
			t.Errorf("Count = %+v, want it done at the second attempt", n)
		}
	})
}

func TestPeriodicWorkIsAlwaysPlannedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := sqlstoretest.OpenSQLite(t, nil).Jobs()
		var runs atomic.Int64
		kind := jobs.Kind{Name: "sweep", Every: time.Minute, Handle: func(context.Context, jobs.Job) error {
			if runs.Add(1) == 2 {
				return errors.New("down")
			}
			return nil
		}}
		run(t, store, "one", kind)
		run(t, store, "two", kind)
		time.Sleep(10*time.Minute + 30*time.Second)
		synctest.Wait()
		if n := runs.Load(); n < 10 || n > 12 { // at 0, again 5 s after the failure, and then each minute
			t.Errorf("ran %d times in ten minutes, want 11", n)
		}
	})
}

func TestRunGivesBackWhatItInterrupts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := sqlstoretest.OpenSQLite(t, nil).Jobs()
		add(t, store, jobs.Job{Kind: "mail"})
		began := make(chan struct{})
		stop := run(t, store, "one", jobs.Kind{Name: "mail", Handle: func(ctx context.Context, _ jobs.Job) error {
			close(began)
			<-ctx.Done()
			return ctx.Err()
		}})
		<-began
		stop()
		var attempt int
		run(t, store, "two", jobs.Kind{Name: "mail", Handle: func(_ context.Context, j jobs.Job) error {
			attempt = j.Attempts
			return nil
		}})
		time.Sleep(time.Second)
		synctest.Wait()
		if attempt != 1 {
			t.Errorf("the next process makes attempt %d, want 1 at once: the first was interrupted", attempt)
		}
	})
}

func TestWakeMakesTheRunnerLookAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := sqlstoretest.OpenSQLite(t, nil).Jobs()
		did := make(chan time.Time, 1)
		r := jobs.NewRunner(jobs.Config{Store: store, Kinds: []jobs.Kind{{Name: "mail", Handle: func(context.Context, jobs.Job) error {
			did <- time.Now()
			return nil
		}}}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		time.Sleep(300 * time.Millisecond)
		added := time.Now()
		add(t, store, jobs.Job{Kind: "mail"})
		r.Wake("mail")
		r.Wake("of another process")
		if took := (<-did).Sub(added); took > 100*time.Millisecond {
			t.Errorf("begun after %v, want at once", took)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}
