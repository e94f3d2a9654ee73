package adminapi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/adminapi"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fronttest"
	"github.com/behalf-project/behalf/internal/users"
	"github.com/behalf-project/behalf/orchestrator"
)

// queries returns the next event about queries; signs of life before it are none.
func queries(t *testing.T, e *fronttest.Events) adminapi.QueryEvent {
	t.Helper()
	for {
		name, data := e.Next()
		if name == ":" {
			continue
		}
		var event adminapi.QueryEvent
		if err := json.Unmarshal([]byte(data), &event); name != "queries" || err != nil {
			t.Fatalf("the next event is %q %s, %v", name, data, err)
		}
		return event
	}
}

// ended returns the code with which a stream ended.
func ended(t *testing.T, e *fronttest.Events) string {
	t.Helper()
	for {
		switch name, data := e.Next(); name {
		case "end":
			var p adminapi.Problem
			if err := json.Unmarshal([]byte(data), &p); err != nil {
				t.Fatal(err)
			}
			if name, _ := e.Next(); name != "" {
				t.Errorf("after the end comes %q", name)
			}
			return p.Code
		case "":
			t.Fatal("the stream ended and did not say why")
		}
	}
}

// cancel ends all queries of the server.
func cancel(t *testing.T, s *fronttest.Server) {
	t.Helper()
	everything := orchestrator.Viewer{All: true}
	list, _ := s.Orchestrators.Queries(everything, "", 0)
	for _, q := range list {
		if _, err := s.Orchestrators.CancelQuery(t.Context(), q.ID, everything); err != nil {
			t.Error(err)
		}
	}
}

func TestALiveViewShowsWhatThereIsAndThenWhatChanges(t *testing.T) {
	s := fronttest.Start(t, nil)
	alice, bob := s.Browser(t).SignIn("alice"), s.Browser(t).SignIn("bob")
	s.Run(t, "bob", "select 1")
	events := bob.Watch("/api/v1/events?topics=queries")
	if h := events.Header; h.Get("Content-Type") != "text/event-stream" || h.Get("Cache-Control") != "no-store" {
		t.Errorf("the stream has %v", h)
	}
	first := queries(t, events)
	if !first.Whole || len(first.Items) != 1 || first.Items[0].Person.Username != "bob" || first.Items[0].State != "running" || len(first.Gone) != 0 {
		t.Fatalf("first comes %+v, want all of bob's", first)
	}
	everything := alice.Watch("/api/v1/events?topics=queries&all=true")
	if all := queries(t, everything); !all.Whole || len(all.Items) != 1 {
		t.Errorf("an admin is shown %+v", all)
	}
	s.Run(t, "alice", "select 2") // which bob is not to see
	if next := queries(t, everything); next.Whole || len(next.Items) != 1 || next.Items[0].Person.Username != "alice" {
		t.Errorf("then comes %+v, want what is new", next)
	}
	s.Run(t, "bob", "select 3")
	next := queries(t, events)
	if next.Whole || len(next.Items) != 1 || next.Items[0].Person.Username != "bob" || next.Items[0].ID == first.Items[0].ID {
		t.Errorf("bob is shown %+v, want what is new of his", next)
	}
	cancel(t, s)
	gone := map[string]bool{}
	for len(gone) < 2 {
		for _, id := range queries(t, events).Gone {
			gone[id] = true
		}
	}
	if !gone[first.Items[0].ID] || !gone[next.Items[0].ID] {
		t.Errorf("gone are %v", gone)
	}
	for signs := 0; signs < 2; { // with nothing to tell there are signs of life
		name, data := events.Next()
		if name != ":" || data == "" {
			t.Fatalf("then comes %q %s", name, data)
		}
		signs++
	}
}

func TestALiveViewOfOrchestratorsIsForAdmins(t *testing.T) {
	s := fronttest.Start(t, nil)
	operator := s.Program(t, "alice", "account", "operate")
	s.Run(t, "bob", "select 1")
	events := operator.Watch("/api/v1/events?topics=orchestrators,queries")
	seen := map[string]string{}
	for len(seen) < 2 {
		name, data := events.Next()
		seen[name] = data
	}
	var first adminapi.OrchestratorEvent
	if err := json.Unmarshal([]byte(seen["orchestrators"]), &first); err != nil || !first.Whole || len(first.Items) != 1 || first.Items[0].Name != "CUBE_APP_bob" {
		t.Errorf("the orchestrators are %s, %v", seen["orchestrators"], err)
	}
	if got := first.Totals; got.Orchestrators != 1 || got.Running != 1 || got.MaxOrchestrators != 10_000 {
		t.Errorf("the totals are %+v", got)
	}
	var own adminapi.QueryEvent // all was not said
	if err := json.Unmarshal([]byte(seen["queries"]), &own); err != nil || !own.Whole || len(own.Items) != 0 {
		t.Errorf("alice's own queries are %s, %v", seen["queries"], err)
	}
	for _, path := range []string{"/api/v1/events?topics=orchestrators", "/api/v1/events?topics=queries&all=true"} {
		refused(t, s.Browser(t).Call(http.MethodGet, path, nil, nil), 401, "not_signed_in")
		refused(t, s.Browser(t).SignIn("bob").Call(http.MethodGet, path, nil, nil), 403, "admin_required")
		refused(t, s.Program(t, "bob", "account", "operate").Call(http.MethodGet, path, nil, nil), 403, "admin_required")
		refused(t, s.Program(t, "alice", "account").Call(http.MethodGet, path, nil, nil), 403, "insufficient_scope")
		refused(t, s.Program(t, "alice", "operate").Call(http.MethodGet, path, nil, nil), 403, "insufficient_scope")
	}
	for _, path := range []string{"/api/v1/events", "/api/v1/events?topics=", "/api/v1/events?topics=tokens", "/api/v1/events?topics=queries,tokens"} {
		refused(t, operator.Call(http.MethodGet, path, nil, nil), 422, "invalid")
	}
	s.StopRecording()
	if looks, err := s.Store.Audit().Find(t.Context(), audit.Filter{Action: audit.AdminRead, Object: "events"}, 0, 10); err != nil || len(looks) != 1 {
		t.Errorf("%d looks at everybody's are recorded, %v, want 1", len(looks), err)
	}
	refused(t, operator.Call(http.MethodGet, "/api/v1/events?topics=orchestrators", nil, nil), 503, "audit_unavailable") // what is not recorded is not shown
}

// A live view ends with what it was begun with.
func TestALiveViewEndsWithItsSessionItsTokenAndTheServer(t *testing.T) {
	const path = "/api/v1/events?topics=queries"
	for _, tt := range []struct {
		name, code string
		everything bool
		end        func(t *testing.T, s *fronttest.Server, b *fronttest.Browser)
	}{
		{"the person signs out", "session_ended", false, func(_ *testing.T, _ *fronttest.Server, b *fronttest.Browser) {
			b.Call(http.MethodPost, "/api/v1/auth/logout", map[string]bool{}, nil)
		}},
		{"the session is over, however long the page was open", "session_ended", false, func(_ *testing.T, s *fronttest.Server, _ *fronttest.Browser) {
			for range 8 { // a use each day would keep it
				s.Move(24 * time.Hour)
				time.Sleep(40 * time.Millisecond) // and here it would be noted; see TestWhoLooksOnDoesNotUseASession
			}
		}},
		{"the person is disabled", "session_ended", false, func(t *testing.T, s *fronttest.Server, _ *fronttest.Browser) {
			if err := s.People.Disable(t.Context(), userNamed(t, s, "alice").ID, "config"); err != nil {
				t.Fatal(err)
			}
		}},
		{"the person is no admin any more", "admin_required", true, func(t *testing.T, s *fronttest.Server, _ *fronttest.Browser) {
			u := userNamed(t, s, "alice")
			u.Roles = nil
			if _, err := s.Store.Users().PutUser(t.Context(), u, users.Ending{}, audit.Entry{Actor: "config", Action: audit.UserDeclared, Outcome: "ok"}); err != nil {
				t.Fatal(err)
			}
		}},
		{"the server stops", "stopping", false, func(t *testing.T, s *fronttest.Server, _ *fronttest.Browser) {
			ctx, stop := context.WithCancel(t.Context())
			stop()
			if err := s.API.Run(ctx); err != nil {
				t.Errorf("Run = %v, want nil", err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := fronttest.Start(t, nil)
			alice, target := s.Browser(t).SignIn("alice"), path
			if tt.everything {
				target += "&all=true"
			}
			events := alice.Watch(target)
			queries(t, events)
			tt.end(t, s, alice)
			if code := ended(t, events); code != tt.code {
				t.Errorf("it ended with %s, want %s", code, tt.code)
			}
		})
	}
	t.Run("the token is revoked", func(t *testing.T) {
		s := fronttest.Start(t, nil)
		program := s.Program(t, "bob", "account")
		events := program.Watch(path)
		queries(t, events)
		if a := program.Call(http.MethodDelete, "/api/v1/tokens/current", nil, nil); a.Status != 204 {
			t.Fatalf("revoke = %d %s", a.Status, a.Body)
		}
		if code := ended(t, events); code != "invalid_token" {
			t.Errorf("it ended with %s, want invalid_token", code)
		}
	})
}

// What is told was allowed when it was told: no event is sent on a right that has ended, however far off the next check is.
func TestALiveViewTellsNothingAfterTheEndOfARight(t *testing.T) {
	s := fronttest.Start(t, nil, func(c *adminapi.Config) { c.Events.Check = time.Hour })
	events := s.Browser(t).SignIn("alice").Watch("/api/v1/events?topics=queries&all=true")
	queries(t, events)
	u := userNamed(t, s, "alice")
	u.Roles = nil
	if _, err := s.Store.Users().PutUser(t.Context(), u, users.Ending{}, audit.Entry{Actor: "config", Action: audit.UserDeclared, Outcome: "ok"}); err != nil {
		t.Fatal(err)
	}
	s.Run(t, "bob", "select 1")
	name, data := events.Next()
	var p adminapi.Problem
	if err := json.Unmarshal([]byte(data), &p); err != nil || name != "end" || p.Code != "admin_required" {
		t.Errorf("then comes %q %s, %v, want the end", name, data, err)
	}
}

func userNamed(t *testing.T, s *fronttest.Server, name string) users.User {
	t.Helper()
	u, err := s.People.ByUsername(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// One person has so many live views, and everybody together has so many.
func TestLiveViewsHaveBounds(t *testing.T) {
	s := fronttest.Start(t, nil) // two of a person, three of everybody
	const path = "/api/v1/events?topics=queries"
	bob := s.Browser(t).SignIn("bob")
	first, second := bob.Watch(path), s.Program(t, "bob", "account").Watch(path)
	queries(t, first)
	queries(t, second)
	full := refused(t, bob.Call(http.MethodGet, path, nil, nil), 429, "too_many_streams")
	if !strings.Contains(full.Detail, "2 live views") {
		t.Errorf("he is told %q", full.Detail)
	}
	third := s.Browser(t).SignIn("alice").Watch(path)
	queries(t, third)
	refused(t, s.Browser(t).SignIn("alice").Call(http.MethodGet, path, nil, nil), 503, "too_many_streams")
	first.Leave()
	eventually(t, "the place of a view that was left is free", func() bool { return bob.Watch(path).Status == 200 })
}

// eventually fails the test unless ok becomes true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it did not come to be: %s", what)
		}
	}
}
