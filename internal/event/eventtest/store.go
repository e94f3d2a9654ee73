// Package eventtest holds the suite for the stores of package event.
package eventtest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/event"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/jobs"
)

// Opened is a store under test and the jobs that it adds.
type Opened struct {
	Store event.Store
	Jobs  jobs.Store
}

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// TestStore checks the promises of event.Store. open returns an empty store that lives until the test ends.
func TestStore(t *testing.T, open func(*testing.T) Opened) {
	revoked := event.Event{Kind: event.Revoked, At: noon, Person: "usr_a", App: "x", Object: "con_1", Detail: map[string]string{"reason": "admin"}}
	store := func(t *testing.T, s event.Store, e event.Event) event.Event {
		t.Helper()
		if ok, err := s.Append(t.Context(), e); err != nil || !ok {
			t.Fatalf("Append = %v, %v", ok, err)
		}
		all, err := s.Undispatched(t.Context(), 1000)
		if err != nil || len(all) == 0 {
			t.Fatalf("Undispatched = %v, %v", all, err)
		}
		return all[len(all)-1]
	}
	t.Run("an event is kept as it was, and found until it is dispatched", func(t *testing.T) {
		o := open(t)
		got := store(t, o.Store, revoked)
		want := revoked
		want.ID = got.ID
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if got, err := o.Store.Get(t.Context(), got.ID); err != nil || cmp.Diff(want, got) != "" {
			t.Errorf("Get = %+v, %v", got, err)
		}
		_, err := o.Store.Get(t.Context(), "evt_x")
		wantKind(t, "Get", err, fault.NotFound)
		_, err = o.Store.Append(t.Context(), event.Event{Kind: "nonsense"})
		wantKind(t, "Append of no kind", err, fault.Invalid)
	})
	t.Run("what is the same is stored once, however many say it", func(t *testing.T) {
		o := open(t)
		reminder := event.Event{Kind: event.Expiring, At: noon, Dedupe: event.Reminder("usr_a", "x", noon)}
		var mu sync.Mutex
		stored := 0
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				ok, err := o.Store.Append(t.Context(), reminder)
				if err != nil {
					t.Errorf("Append = %v", err)
				}
				mu.Lock()
				defer mu.Unlock()
				if ok {
					stored++
				}
			})
		}
		wg.Wait()
		if all, err := o.Store.Undispatched(t.Context(), 100); stored != 1 || err != nil || len(all) != 1 {
			t.Errorf("stored %d times, and %d are there, %v", stored, len(all), err)
		}
		store(t, o.Store, revoked)
		store(t, o.Store, revoked) // without a key each counts
	})
	t.Run("an event is dispatched once, with its jobs", func(t *testing.T) {
		o := open(t)
		e := store(t, o.Store, revoked)
		errs := make([]error, 10)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() {
				errs[i] = o.Store.Dispatch(t.Context(), e.ID, []event.Delivery{
					{ID: fmt.Sprintf("whd_%d_a", i), Kind: e.Kind, Receiver: event.ByWebhook + "r", At: noon, NextAt: noon},
					{ID: fmt.Sprintf("whd_%d_b", i), Kind: e.Kind, Receiver: event.ByMail + "usr_a", At: noon, NextAt: noon},
				})
			})
		}
		wg.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else if fault.KindOf(err) != fault.Conflict {
				t.Errorf("Dispatch = %v, want a conflict", err)
			}
		}
		list, err := o.Store.Deliveries(t.Context(), "", 100)
		if won != 1 || err != nil || len(list) != 2 || list[0].State != event.Pending || list[0].Kind != event.Revoked || list[0].ID < list[1].ID {
			t.Errorf("%d won, and the deliveries are %+v, %v", won, list, err)
		}
		if older, err := o.Store.Deliveries(t.Context(), list[0].ID, 100); err != nil || len(older) != 1 || older[0].ID != list[1].ID {
			t.Errorf("the page after: %+v, %v", older, err)
		}
		for _, kind := range []string{event.WebhookJob, event.MailJob} {
			if n, err := o.Jobs.Count(t.Context(), kind, ""); err != nil || n.Waiting != 1 {
				t.Errorf("%s: %+v, %v, want one job", kind, n, err)
			}
		}
		if all, err := o.Store.Undispatched(t.Context(), 100); err != nil || len(all) != 0 {
			t.Errorf("Undispatched = %v, %v", all, err)
		}
	})
	t.Run("a delivery remembers its last try, and can be made again", func(t *testing.T) {
		o := open(t)
		e := store(t, o.Store, revoked)
		d := event.Delivery{ID: "whd_1", EventID: e.ID, Kind: e.Kind, Receiver: event.ByWebhook + "r", State: event.Pending, At: noon, NextAt: noon}
		if err := o.Store.Dispatch(t.Context(), e.ID, []event.Delivery{d}); err != nil {
			t.Fatal(err)
		}
		d.State, d.Attempts, d.Status, d.Code, d.TriedAt, d.NextAt = event.Failed, 3, 500, "http_500", noon.Add(time.Hour), time.Time{}
		if err := o.Store.Attempted(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		got, of, err := o.Store.Delivery(t.Context(), d.ID)
		if diff := cmp.Diff(d, got); diff != "" || err != nil || of.ID != e.ID {
			t.Errorf("Delivery = %v of %s (-want +got):\n%s", err, of.ID, diff)
		}
		again, err := o.Store.Replay(t.Context(), d.ID, noon.Add(2*time.Hour), audit.Entry{Actor: "usr_admin", Action: audit.DeliveryReplayed, Outcome: "ok"})
		if err != nil || again.ID == d.ID || again.EventID != e.ID || again.Receiver != d.Receiver || again.State != event.Pending {
			t.Errorf("Replay = %+v, %v", again, err)
		}
		_, err = o.Store.Replay(t.Context(), "whd_x", noon, audit.Entry{Action: audit.DeliveryReplayed})
		wantKind(t, "Replay", err, fault.NotFound)
		_, _, err = o.Store.Delivery(t.Context(), "whd_x")
		wantKind(t, "Delivery", err, fault.NotFound)
		if n, err := o.Jobs.Count(t.Context(), event.WebhookJob, ""); err != nil || n.Waiting != 2 {
			t.Errorf("%+v jobs, %v, want two", n, err)
		}
	})
	t.Run("mail that waits is found by person, and old events go", func(t *testing.T) {
		o := open(t)
		e := store(t, o.Store, revoked)
		ds := []event.Delivery{
			{ID: "whd_1", EventID: e.ID, Receiver: event.ByMail + "usr_a", At: noon, NextAt: noon},
			{ID: "whd_2", EventID: e.ID, Receiver: event.ByMail + "usr_b", At: noon, NextAt: noon},
		}
		if err := o.Store.Dispatch(t.Context(), e.ID, ds); err != nil {
			t.Fatal(err)
		}
		waiting, events, err := o.Store.PendingMail(t.Context(), "usr_a")
		if err != nil || len(waiting) != 1 || waiting[0].ID != "whd_1" || events[0].ID != e.ID {
			t.Fatalf("PendingMail = %+v, %+v, %v", waiting, events, err)
		}
		if last, err := o.Store.LastMail(t.Context(), "usr_a"); err != nil || !last.IsZero() {
			t.Errorf("LastMail = %v, %v, want never", last, err)
		}
		if err := o.Store.ForgetEvents(t.Context(), noon.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if _, err := o.Store.Get(t.Context(), e.ID); err != nil {
			t.Errorf("an event that waits was forgotten: %v", err)
		}
		for _, d := range append(waiting, event.Delivery{ID: "whd_2"}) {
			d.State, d.TriedAt = event.Delivered, noon.Add(time.Minute)
			if err := o.Store.Attempted(t.Context(), d); err != nil {
				t.Fatal(err)
			}
		}
		if last, err := o.Store.LastMail(t.Context(), "usr_a"); err != nil || !last.Equal(noon.Add(time.Minute)) {
			t.Errorf("LastMail = %v, %v", last, err)
		}
		if err := o.Store.ForgetEvents(t.Context(), noon.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		_, err = o.Store.Get(t.Context(), e.ID)
		wantKind(t, "Get of a forgotten one", err, fault.NotFound)
		if list, err := o.Store.Deliveries(t.Context(), "", 10); err != nil || len(list) != 0 {
			t.Errorf("deliveries of a forgotten one: %+v, %v", list, err)
		}
	})
}

func wantKind(t *testing.T, what string, err error, want fault.Kind) {
	t.Helper()
	if got := fault.KindOf(err); err == nil || got != want {
		t.Errorf("%s = %v (kind %q), want %q", what, err, got, want)
	}
}
