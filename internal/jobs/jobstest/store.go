// Package jobstest holds the suite that every jobs.Store must pass.
package jobstest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/jobs"
	"github.com/behalf-project/behalf/internal/secret"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

var compare = cmp.Comparer(func(a, b secret.Text) bool { return a.Equal(b) })

const lease = 10 * time.Second

// TestStore checks the promises of jobs.Store. open returns an empty store that lives until the test ends.
func TestStore(t *testing.T, open func(*testing.T) jobs.Store) {
	mail := jobs.Job{
		ID: "job_1", Kind: "mail", Key: "k1", Lane: "smtp", Batch: "b", Payload: json.RawMessage(`{"to":"alice"}`), Secret: secret.New("s3cret"),
		CreatedAt: noon, DueAt: noon,
	}
	with := func(change func(*jobs.Job)) jobs.Job {
		j := mail
		j.ID, j.Key = "", ""
		change(&j)
		return j
	}
	add := func(t *testing.T, s jobs.Store, js ...jobs.Job) {
		t.Helper()
		if err := s.Add(t.Context(), js...); err != nil {
			t.Fatalf("Add = %v, want no error", err)
		}
	}
	claim := func(t *testing.T, s jobs.Store, by string, now time.Time) jobs.Job {
		t.Helper()
		j, err := s.Claim(t.Context(), jobs.Want{Kind: "mail", By: by}, now, now.Add(lease))
		if err != nil {
			t.Fatalf("Claim by %s = %v, want a job", by, err)
		}
		return j
	}
	none := func(t *testing.T, s jobs.Store, w jobs.Want, now time.Time) {
		t.Helper()
		j, err := s.Claim(t.Context(), w, now, now.Add(lease))
		if !errors.Is(err, fault.NotFound) {
			t.Errorf("Claim = %q, %v, want not_found", j.ID, err)
		}
	}

	t.Run("a claimed job comes back as it was added, with lease, fence and attempt", func(t *testing.T) {
		s := open(t)
		add(t, s, mail)
		got := claim(t, s, "one", noon)
		want := mail
		want.LeaseBy, want.LeaseUntil, want.Fence, want.Attempts = "one", noon.Add(lease), 1, 1
		if diff := cmp.Diff(want, got, compare); diff != "" {
			t.Errorf("Claim (-want +got):\n%s", diff)
		}
	})
	t.Run("what is not due, or of another kind, is not claimed", func(t *testing.T) {
		s := open(t)
		add(t, s, mail)
		none(t, s, jobs.Want{Kind: "mail", By: "one"}, noon.Add(-time.Millisecond))
		none(t, s, jobs.Want{Kind: "hook", By: "one"}, noon.Add(time.Hour))
	})
	t.Run("the job that is due for longest comes first", func(t *testing.T) {
		s := open(t)
		add(t, s, with(func(j *jobs.Job) { j.ID, j.Lane, j.DueAt = "job_b", "", noon.Add(-time.Minute) }),
			with(func(j *jobs.Job) { j.ID, j.Lane, j.DueAt = "job_c", "", noon }),
			with(func(j *jobs.Job) { j.ID, j.Lane, j.DueAt = "job_a", "", noon.Add(-time.Second) }))
		var got []string
		for range 3 {
			got = append(got, claim(t, s, "one", noon).ID)
		}
		if want := []string{"job_b", "job_a", "job_c"}; !slices.Equal(got, want) {
			t.Errorf("claimed %q, want %q", got, want)
		}
	})
	t.Run("a job is claimed by one of many at once", func(t *testing.T) {
		s := open(t)
		var want []string
		for i := range 5 {
			j := with(func(j *jobs.Job) { j.ID, j.Lane = fmt.Sprint("job_", i), "" })
			add(t, s, j)
			want = append(want, j.ID)
		}
		got := make([]string, 40)
		var group sync.WaitGroup
		for i := range got {
			group.Go(func() {
				j, err := s.Claim(t.Context(), jobs.Want{Kind: "mail", By: fmt.Sprint(i)}, noon, noon.Add(lease))
				if err != nil && !errors.Is(err, fault.NotFound) {
					t.Errorf("Claim = %v, want a job or not_found", err)
				}
				got[i] = j.ID
			})
		}
		group.Wait()
		got = slices.DeleteFunc(got, func(id string) bool { return id == "" })
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("claimed %q, want %q", got, want)
		}
	})
	t.Run("a lease keeps others out until its end, and its holder too", func(t *testing.T) {
		s := open(t)
		add(t, s, mail)
		first := claim(t, s, "one", noon)
		none(t, s, jobs.Want{Kind: "mail", By: "two"}, first.LeaseUntil.Add(-time.Millisecond))
		none(t, s, jobs.Want{Kind: "mail", By: "one"}, first.LeaseUntil.Add(-time.Millisecond))
		if got := claim(t, s, "two", first.LeaseUntil); got.Fence != first.Fence+1 || got.Attempts != 2 {
			t.Errorf("Claim after the lease = fence %d, attempt %d, want %d and 2", got.Fence, got.Attempts, first.Fence+1)
		}
	})
	t.Run("a renewed lease lasts longer", func(t *testing.T) {
		s := open(t)
		add(t, s, mail)
		j := claim(t, s, "one", noon)
		lost, err := s.Renew(t.Context(), []jobs.Job{j}, noon.Add(time.Minute))
		if err != nil || len(lost) > 0 {
			t.Fatalf("Renew = lost %q, %v, want none", lost, err)
		}
		none(t, s, jobs.Want{Kind: "mail", By: "two"}, noon.Add(time.Minute-time.Millisecond))
		claim(t, s, "two", noon.Add(time.Minute))
	})
	t.Run("a late holder can neither renew, release nor finish", func(t *testing.T) {
		s := open(t)
		add(t, s, mail)
		late := claim(t, s, "one", noon)
		now := claim(t, s, "two", noon.Add(lease))
		lost, err := s.Renew(t.Context(), []jobs.Job{late, now}, noon.Add(time.Minute))
		if err != nil || !slices.Equal(lost, []string{late.ID}) {
			t.Errorf("Renew = lost %q, %v, want %q", lost, err, late.ID)
		}
		wantConflict(t, "Release by the late holder", s.Release(t.Context(), late))
		wantConflict(t, "Finish by the late holder", s.Finish(t.Context(), late))
		if err := s.Finish(t.Context(), now); err != nil {
			t.Errorf("Finish by the holder = %v, want no error", err)
		}
		wantConflict(t, "Finish again", s.Finish(t.Context(), now))
	})
	t.Run("a holder that came back to its own job under another fence is late too", func(t *testing.T) {
		s := open(t)
		add(t, s, mail)
		late := claim(t, s, "one", noon)
		claim(t, s, "one", noon.Add(lease))
		wantConflict(t, "Finish", s.Finish(t.Context(), late))
	})
	t.Run("a finished job is gone", func(t *testing.T) {
		s := open(t)
		add(t, s, mail)
		if err := s.Finish(t.Context(), claim(t, s, "one", noon)); err != nil {
			t.Fatalf("Finish = %v, want no error", err)
		}
		none(t, s, jobs.Want{Kind: "mail", By: "one"}, noon.Add(time.Hour))
		wantCount(t, s, jobs.Count{})
	})
	t.Run("a released job is due when it says, with its attempts and its reason", func(t *testing.T) {
		s := open(t)
		add(t, s, mail)
		j := claim(t, s, "one", noon)
		j.DueAt, j.Code = noon.Add(time.Minute), "timeout"
		if err := s.Release(t.Context(), j); err != nil {
			t.Fatalf("Release = %v, want no error", err)
		}
		none(t, s, jobs.Want{Kind: "mail", By: "two"}, noon.Add(time.Minute-time.Millisecond))
		got := claim(t, s, "two", noon.Add(time.Minute))
		if got.Attempts != 2 || got.Code != "timeout" || got.Fence != j.Fence+1 || !got.Secret.Equal(mail.Secret) {
			t.Errorf("Claim = attempt %d, code %q, fence %d, want 2, timeout, %d and the secret", got.Attempts, got.Code, got.Fence, j.Fence+1)
		}
	})
	t.Run("a job that was given up is kept, counted, and not claimed", func(t *testing.T) {
		s := open(t)
		add(t, s, mail, with(func(j *jobs.Job) { j.Key, j.DueAt = "k2", noon.Add(time.Second) }), with(func(j *jobs.Job) { j.Key, j.Batch, j.DueAt = "k3", "other", noon.Add(time.Second) }))
		j := claim(t, s, "one", noon)
		j.FailedAt, j.Code = noon, "denied"
		if err := s.Release(t.Context(), j); err != nil {
			t.Fatalf("Release = %v, want no error", err)
		}
		wantCount(t, s, jobs.Count{Waiting: 1, Failed: 1})
		for range 2 {
			if got := claim(t, s, "one", noon.Add(time.Hour)); got.ID == j.ID {
				t.Error("a job that was given up was claimed")
			}
		}
		none(t, s, jobs.Want{Kind: "mail", By: "one"}, noon.Add(time.Hour))
		if n, err := s.Forget(t.Context(), noon); n != 0 || err != nil {
			t.Errorf("Forget before it was given up = %d, %v, want 0", n, err)
		}
		if n, err := s.Forget(t.Context(), noon.Add(time.Millisecond)); n != 1 || err != nil {
			t.Errorf("Forget = %d, %v, want 1", n, err)
		}
		wantCount(t, s, jobs.Count{Waiting: 1})
	})
	t.Run("a key is done once, whether the first waits or is under way", func(t *testing.T) {
		s := open(t)
		second := with(func(j *jobs.Job) { j.ID, j.Key, j.Payload = "job_2", mail.Key, json.RawMessage(`2`) })
		add(t, s, mail, second)
		j := claim(t, s, "one", noon)
		if j.ID != mail.ID || string(j.Payload) != string(mail.Payload) {
			t.Errorf("Claim = %s with %s, want the first", j.ID, j.Payload)
		}
		add(t, s, second)
		if err := s.Finish(t.Context(), j); err != nil {
			t.Errorf("Finish = %v, want no error: adding it again is not a new claim", err)
		}
		none(t, s, jobs.Want{Kind: "mail", By: "one"}, noon.Add(time.Hour))
		add(t, s, second)
		if got := claim(t, s, "one", noon); got.ID != second.ID || string(got.Payload) != "2" {
			t.Errorf("Claim = %s with %s, want the second: the first is done", got.ID, got.Payload)
		}
	})
	t.Run("a key is unique in its kind only", func(t *testing.T) {
		s := open(t)
		add(t, s, mail, with(func(j *jobs.Job) { j.Kind, j.Key = "hook", mail.Key }))
		if _, err := s.Claim(t.Context(), jobs.Want{Kind: "hook", By: "one"}, noon, noon.Add(lease)); err != nil {
			t.Errorf("Claim = %v, want the job of the other kind", err)
		}
	})
	t.Run("a job that was given up starts anew when it is added again", func(t *testing.T) {
		s := open(t)
		add(t, s, mail)
		j := claim(t, s, "one", noon)
		j.FailedAt, j.Code = noon, "denied"
		if err := s.Release(t.Context(), j); err != nil {
			t.Fatalf("Release = %v, want no error", err)
		}
		add(t, s, with(func(n *jobs.Job) { n.ID, n.Key, n.Secret = "job_2", mail.Key, secret.New("new") }))
		got := claim(t, s, "one", noon)
		if got.ID != "job_2" || got.Attempts != 1 || got.Code != "" || !got.FailedAt.IsZero() || got.Secret.Reveal() != "new" {
			t.Errorf("Claim = %+v, want the new job at its first attempt", got)
		}
		wantConflict(t, "Finish of the old one", s.Finish(t.Context(), j))
	})
	t.Run("an amended job has another payload and secret, and is due as it was", func(t *testing.T) {
		s := open(t)
		add(t, s, mail)
		held := claim(t, s, "one", noon)
		other := with(func(j *jobs.Job) {
			j.Key, j.Payload, j.Secret, j.DueAt = "k1", json.RawMessage(`{"to":"bob"}`), secret.New("other"), noon.Add(time.Hour)
		})
		if err := s.Amend(t.Context(), other, 1); err != nil {
			t.Fatalf("Amend = %v, want no error", err)
		}
		held.DueAt = noon.Add(time.Minute)
		if err := s.Release(t.Context(), held); err != nil {
			t.Fatalf("Release by who held it meanwhile = %v, want no error", err)
		}
		none(t, s, jobs.Want{Kind: "mail", By: "one"}, noon.Add(59*time.Second))
		got := claim(t, s, "one", noon.Add(time.Minute))
		if got.ID != "job_1" || string(got.Payload) != `{"to":"bob"}` || !got.Secret.Equal(secret.New("other")) {
			t.Errorf("Claim = %s, %s, want the old job with what it was amended to", got.ID, got.Payload)
		}
	})
	t.Run("amending what is not there adds it, and what was given up starts anew", func(t *testing.T) {
		s := open(t)
		if err := s.Amend(t.Context(), mail, 1); err != nil {
			t.Fatalf("Amend = %v, want no error", err)
		}
		held := claim(t, s, "one", noon)
		held.FailedAt = noon
		if err := s.Release(t.Context(), held); err != nil {
			t.Fatal(err)
		}
		again := with(func(j *jobs.Job) { j.Key = "k1" })
		if err := s.Amend(t.Context(), again, 1); err != nil {
			t.Fatalf("Amend = %v, want no error", err)
		}
		if got := claim(t, s, "one", noon.Add(lease)); got.ID == "job_1" || got.Attempts != 1 || !got.Secret.Equal(mail.Secret) {
			t.Errorf("Claim = %s in attempt %d, want another job in its first", got.ID, got.Attempts)
		}
	})
	t.Run("amending adds no more to a lane than it may have", func(t *testing.T) {
		s := open(t)
		another := func(key, lane string) jobs.Job { return with(func(j *jobs.Job) { j.Key, j.Lane = key, lane }) }
		for _, j := range []jobs.Job{mail, another("k2", "smtp"), another("k3", "elsewhere"), mail} {
			if err := s.Amend(t.Context(), j, 2); err != nil {
				t.Fatalf("Amend of %s = %v, want no error", j.Key, err)
			}
		}
		if err := s.Amend(t.Context(), another("k4", "smtp"), 2); !errors.Is(err, fault.TooMany) {
			t.Errorf("Amend of one more = %v, want too_many", err)
		}
		wantCount(t, s, jobs.Count{Waiting: 3})
	})
	t.Run("jobs without a key are all done", func(t *testing.T) {
		s := open(t)
		add(t, s, with(func(*jobs.Job) {}), with(func(*jobs.Job) {}))
		wantCount(t, s, jobs.Count{Waiting: 2})
	})
	t.Run("a lane is worked on by one process at a time", func(t *testing.T) {
		s := open(t)
		for i := range 3 {
			add(t, s, with(func(j *jobs.Job) { j.ID, j.DueAt = fmt.Sprint("job_", i), noon.Add(time.Duration(i)) }))
		}
		add(t, s, with(func(j *jobs.Job) { j.ID, j.Lane, j.DueAt = "job_other", "elsewhere", noon }))
		first := claim(t, s, "one", noon)
		if got := claim(t, s, "two", noon); got.Lane != "elsewhere" {
			t.Errorf("two got a job of lane %q, which one has", got.Lane)
		}
		none(t, s, jobs.Want{Kind: "mail", By: "two"}, noon)
		second := claim(t, s, "one", noon)
		for _, j := range []jobs.Job{first, second} {
			if err := s.Finish(t.Context(), j); err != nil {
				t.Fatalf("Finish = %v, want no error", err)
			}
		}
		if got := claim(t, s, "two", noon); got.Lane != mail.Lane {
			t.Errorf("two got lane %q, want %q: one has left it", got.Lane, mail.Lane)
		}
	})
	t.Run("many who ask at once for a free lane do not share it", func(t *testing.T) {
		s := open(t)
		for range 8 {
			add(t, s, with(func(*jobs.Job) {}))
		}
		var mu sync.Mutex
		holders := map[string]bool{}
		var group sync.WaitGroup
		for i := range 8 {
			group.Go(func() {
				j, err := s.Claim(t.Context(), jobs.Want{Kind: "mail", By: fmt.Sprint(i)}, noon, noon.Add(lease))
				if err == nil {
					mu.Lock()
					holders[j.LeaseBy] = true
					mu.Unlock()
				}
			})
		}
		group.Wait()
		if len(holders) != 1 {
			t.Errorf("%d processes work on one lane, want 1", len(holders))
		}
	})
	t.Run("lanes that have enough to do are passed over", func(t *testing.T) {
		s := open(t)
		add(t, s, mail, with(func(j *jobs.Job) { j.ID, j.Lane, j.DueAt = "job_2", "elsewhere", noon.Add(time.Second) }))
		j, err := s.Claim(t.Context(), jobs.Want{Kind: "mail", By: "one", Except: []string{"smtp", "a"}}, noon.Add(time.Minute), noon.Add(time.Hour))
		if err != nil || j.ID != "job_2" {
			t.Errorf("Claim = %q, %v, want job_2", j.ID, err)
		}
		none(t, s, jobs.Want{Kind: "mail", By: "one", Except: []string{"smtp", "elsewhere"}}, noon.Add(time.Minute))
	})
	t.Run("a claim without kind, holder or end is refused, and a job without a kind", func(t *testing.T) {
		s := open(t)
		for _, w := range []jobs.Want{{By: "one"}, {Kind: "mail"}} {
			if _, err := s.Claim(t.Context(), w, noon, noon.Add(lease)); !errors.Is(err, fault.Invalid) {
				t.Errorf("Claim(%+v) = %v, want invalid", w, err)
			}
		}
		if _, err := s.Claim(t.Context(), jobs.Want{Kind: "mail", By: "one"}, noon, noon); !errors.Is(err, fault.Invalid) {
			t.Errorf("Claim that ends at once = %v, want invalid", err)
		}
		if err := s.Add(t.Context(), jobs.Job{}); !errors.Is(err, fault.Invalid) {
			t.Errorf("Add = %v, want invalid", err)
		}
	})
}

func wantConflict(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, fault.Conflict) {
		t.Errorf("%s = %v, want conflict", what, err)
	}
}

func wantCount(t *testing.T, s jobs.Store, want jobs.Count) {
	t.Helper()
	if got, err := s.Count(t.Context(), "mail", "b"); err != nil || got != want {
		t.Errorf("Count = %+v, %v, want %+v", got, err, want)
	}
}
