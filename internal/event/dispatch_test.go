package event_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/event"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/jobs"
	"github.com/behalf-project/behalf/internal/mail"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/sqlstore"
	"github.com/behalf-project/behalf/internal/sqlstore/sqlstoretest"
	"github.com/behalf-project/behalf/internal/webhook"
)

var known = secret.New("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

// hook is a program that gets webhooks, refuses the first few, and verifies all.
type hook struct {
	refuse int

	mu   sync.Mutex
	got  []map[string]any
	ids  []string
	seen int
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen++
	if err := webhook.Verify([]secret.Text{known}, r.Header, body, time.Now()); err != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if h.seen <= h.refuse {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	var m map[string]any
	_ = json.Unmarshal(body, &m)
	h.got, h.ids = append(h.got, m), append(h.ids, r.Header.Get("Webhook-Id"))
}

func (h *hook) messages() []map[string]any { h.mu.Lock(); defer h.mu.Unlock(); return h.got }

// start runs a dispatcher and its jobs until the test ends. Time stands still for it unless the test moves it.
func start(t *testing.T, db *sqlstore.DB, cfg event.Config, now func() time.Time) {
	t.Helper()
	cfg.Store, cfg.PublicURL, cfg.Sender, cfg.Now = db.Events(), "https://behalf.example.com", webhook.New(webhook.Config{AllowLoopback: true}), now
	d := event.NewDispatcher(cfg)
	kinds := d.Kinds()
	for i := range kinds {
		kinds[i].BackOff = func(int) time.Duration { return time.Millisecond } // the three days are webhook.Again's test
	}
	runner := jobs.NewRunner(jobs.Config{Store: db.Jobs(), Kinds: kinds, Now: now})
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, part := range []interface{ Run(context.Context) error }{d, runner} {
		running.Go(func() {
			if err := part.Run(ctx); err != nil {
				t.Errorf("Run = %v, want nil", err)
			}
		})
	}
	t.Cleanup(func() { stop(); running.Wait() })
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 3000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s did not happen", what)
}

func add(t *testing.T, db *sqlstore.DB, e event.Event) {
	t.Helper()
	if _, err := db.Events().Append(t.Context(), e); err != nil {
		t.Fatal(err)
	}
}

func TestAnEventReachesTheReceiversThatWantIt(t *testing.T) {
	db := sqlstoretest.OpenSQLite(t, nil)
	all, some := &hook{refuse: 2}, &hook{}
	servers := []*httptest.Server{httptest.NewServer(all), httptest.NewServer(some)}
	for _, s := range servers {
		t.Cleanup(s.Close)
	}
	start(t, db, event.Config{Webhooks: []event.Receiver{
		{URL: secret.New(servers[0].URL + "/?key=canary"), Secrets: []secret.Text{known}},
		{URL: secret.New(servers[1].URL), Secrets: []secret.Text{known}, Kinds: []event.Kind{event.AppBroken}},
	}}, time.Now)
	add(t, db, event.Event{Kind: event.Revoked, Person: "usr_a", App: "databricks", Object: "con_1", Detail: map[string]string{"reason": "provider"}})
	add(t, db, event.Event{Kind: event.AppBroken, App: "databricks", Object: "oap_1", Detail: map[string]string{"code": "invalid_client"}})
	waitFor(t, "all messages", func() bool { return len(all.messages()) == 2 && len(some.messages()) == 1 })
	for _, m := range all.messages() {
		data, _ := m["data"].(map[string]any)
		if m["type"] == "connection.revoked" && (data["id"] != "con_1" || data["person"] != "usr_a" || data["oauth_app"] != "databricks" ||
			data["reason"] != "provider" || data["url"] != "https://behalf.example.com/connect/databricks" || m["timestamp"] == "") {
			t.Errorf("message %v", m)
		}
	}
	if m := some.messages()[0]; m["type"] != "oauth_app.broken" {
		t.Errorf("message %v, want only oauth_app.broken", m)
	}
	var list []event.Delivery
	waitFor(t, "the log", func() bool {
		var err error
		list, err = db.Events().Deliveries(t.Context(), "", 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range list {
			if d.State != event.Delivered {
				return false
			}
		}
		return len(list) == 3
	})
	tries := 0
	for _, d := range list {
		tries += d.Attempts
		if strings.Contains(d.Receiver, "canary") {
			t.Errorf("the log tells the URL: %s", d.Receiver)
		}
	}
	if tries != 5 {
		t.Errorf("%d tries, want 3 and 2 more", tries)
	}
}

func TestAReceiverThatIsGoneIsNotTriedAgain(t *testing.T) {
	db := sqlstoretest.OpenSQLite(t, nil)
	var calls atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { calls.Add(1); w.WriteHeader(http.StatusGone) }))
	t.Cleanup(s.Close)
	start(t, db, event.Config{Webhooks: []event.Receiver{{URL: secret.New(s.URL), Secrets: []secret.Text{known}}}}, time.Now)
	add(t, db, event.Event{Kind: event.Connected})
	waitFor(t, "the end", func() bool {
		list, err := db.Events().Deliveries(t.Context(), "", 10)
		return err == nil && len(list) == 1 && list[0].State == event.Failed && list[0].Code == "gone" && list[0].Status == 410
	})
	if n := calls.Load(); n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
}

func TestAPersonGetsOneLetterADay(t *testing.T) {
	db := sqlstoretest.OpenSQLite(t, nil)
	dir := t.TempDir()
	var mu sync.Mutex
	moved := time.Duration(0)
	now := func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(moved) }
	move := func(d time.Duration) { mu.Lock(); defer mu.Unlock(); moved += d }
	letters := func() []string {
		files, err := filepath.Glob(filepath.Join(dir, "*.eml"))
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, string(b))
		}
		return all
	}
	start(t, db, event.Config{
		Mailer: mail.Folder{Dir: dir, Now: now},
		Admins: func(context.Context) ([]string, error) { return []string{"usr_admin"}, nil },
		Address: func(_ context.Context, person string) (string, error) {
			if person == "usr_nobody" {
				return "", fault.New(fault.NotFound, "none")
			}
			return strings.TrimPrefix(person, "usr_") + "@example.com", nil
		},
	}, now)
	expiring := event.Event{Kind: event.Expiring, Person: "usr_a", App: "databricks", Detail: map[string]string{"by": "2026-12-01"}}
	add(t, db, expiring)
	add(t, db, event.Event{Kind: event.Revoked, Person: "usr_a", App: "snowflake", Detail: map[string]string{"reason": "admin"}})
	add(t, db, event.Event{Kind: event.Revoked, Person: "usr_a", App: "own", Detail: map[string]string{"reason": "person"}})
	add(t, db, event.Event{Kind: event.Expired, Person: "usr_nobody", App: "databricks"})
	waitFor(t, "the dispatch", func() bool { all, err := db.Events().Undispatched(t.Context(), 1); return err == nil && len(all) == 0 })
	if n := len(letters()); n != 0 {
		t.Errorf("%d letters at once, want that they wait for more to say", n)
	}
	move(11 * time.Minute)
	waitFor(t, "a letter", func() bool { return len(letters()) == 1 })
	text := letters()[0]
	for _, want := range []string{"To: <a@example.com>", "2 notices", "databricks ends on 2026-12-01", "https://behalf.example.com/connect/databricks", "An admin ended the access to snowflake"} {
		if !strings.Contains(strings.ReplaceAll(text, "=\r\n", ""), want) {
			t.Errorf("the letter does not say %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "own") {
		t.Error("it tells what the person did themselves")
	}
	add(t, db, expiring)
	add(t, db, event.Event{Kind: event.AppBroken, App: "databricks"})
	waitFor(t, "the dispatch", func() bool { all, err := db.Events().Undispatched(t.Context(), 1); return err == nil && len(all) == 0 })
	move(12 * time.Hour)
	waitFor(t, "the admin's letter", func() bool { return len(letters()) == 2 })
	time.Sleep(1200 * time.Millisecond) // a look at the queue
	if n := len(letters()); n != 2 {
		t.Errorf("%d letters, want that the person's second waits for the day to end", n)
	}
	move(13 * time.Hour)
	waitFor(t, "the second letter", func() bool { return len(letters()) == 3 })
	waitFor(t, "the one without an address", func() bool {
		list, err := db.Events().Deliveries(t.Context(), "", 100)
		for _, d := range list {
			if d.Receiver == event.ByMail+"usr_nobody" {
				return err == nil && d.State == event.Failed && d.Code == "no_address"
			}
		}
		return false
	})
}
