package connectedapps_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/jobs"
)

const day = 24 * time.Hour

// events returns what was told so far, each as kind and reason.
func (w *world) events() []string {
	w.t.Helper()
	all, err := w.db.Events().Undispatched(context.Background(), 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	var told []string
	for _, e := range all {
		line := string(e.Kind)
		if reason := e.Detail["reason"]; reason != "" {
			line += " " + reason
		}
		told = append(told, line)
	}
	return told
}

// keepUp looks at every grant, as it is done once an hour.
func (w *world) keepUp(rules connectedapps.UpkeepRules) {
	w.t.Helper()
	kind := w.tokens.Upkeep(connectedapps.UpkeepConfig{Everyone: w.db.Grants().Everyone, Tell: w.db.Events().Append, Rules: rules})
	if err := kind.Handle(context.Background(), jobs.Job{}); err != nil {
		w.t.Fatalf("upkeep = %v", err)
	}
}

func (w *world) tells(want ...string) {
	w.t.Helper()
	got := w.events()
	slices.Sort(got) // those of one millisecond come in any order
	slices.Sort(want)
	if !slices.Equal(got, want) {
		w.t.Errorf("told %q, want %q", got, want)
	}
}

// Every row of broker.md §5 about warnings: 7 days before a known end and after 30 days without use, at most one a day.
func TestWhoMustActSoonIsToldOnceADay(t *testing.T) {
	w := newWorld(t)
	w.server.refresh = 35 * day
	w.connect(alice)
	w.keepUp(connectedapps.UpkeepRules{})
	w.tells("connection.connected")
	w.clock.advance(27 * day)
	w.keepUp(connectedapps.UpkeepRules{})
	w.tells("connection.connected")
	w.clock.advance(day + time.Hour)
	for range 5 {
		w.keepUp(connectedapps.UpkeepRules{})
	}
	w.tells("connection.connected", "connection.expiring")
	w.clock.advance(day)
	w.keepUp(connectedapps.UpkeepRules{})
	w.tells("connection.connected", "connection.expiring", "connection.expiring")
	w.clock.advance(6 * day) // it has ended by itself
	for range 3 {
		w.keepUp(connectedapps.UpkeepRules{})
		w.clock.advance(day)
	}
	w.tells("connection.connected", "connection.expiring", "connection.expiring", "connection.expired")
}

// A refresh token of half an hour that each refresh replaces is no reason to write letters.
func TestAnEndThatMovesWithEachRefreshIsNotNear(t *testing.T) {
	w := newWorld(t)
	w.server.refresh, w.server.life = 30*time.Minute, 5*time.Minute
	w.connect(alice)
	for range 20 {
		w.clock.advance(5 * time.Minute)
		if got := w.mustToken(alice); got.Status != "active" {
			t.Fatalf("status = %s, want active", got.Status)
		}
		w.keepUp(connectedapps.UpkeepRules{})
	}
	w.tells("connection.connected")
	w.clock.advance(25 * time.Minute)
	w.keepUp(connectedapps.UpkeepRules{})
	w.tells("connection.connected", "connection.expiring")
}

func TestWhatNobodyUsesIsToldAndThenDisconnected(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		rules := connectedapps.UpkeepRules{DormantAfter: 90 * day}
		w.connect(alice)
		w.clock.advance(20 * day)
		w.connect(bob)
		w.keepUp(rules)
		w.tells("connection.connected", "connection.connected")
		w.clock.advance(11 * day)
		for range 3 {
			w.keepUp(rules)
			w.clock.advance(day)
		}
		w.tells("connection.connected", "connection.connected", "connection.expiring unused")
		w.clock.advance(50 * day) // alice: 84 days; bob: 64
		w.keepUp(rules)
		w.keepUp(rules)
		w.tells("connection.connected", "connection.connected", "connection.expiring unused", "connection.expiring dormant", "connection.expiring unused")
		w.clock.advance(7 * day)
		w.keepUp(rules)
		if got := w.events(); !slices.Contains(got, "connection.revoked dormant") {
			t.Errorf("told %q, want that it was disconnected at last", got)
		}
		wantKind(t, second(w.token(alice)), fault.AuthorizationRequired, "authorization_required")
		w.grant(bob)
		entries, err := w.db.Audit().List(t.Context(), 1)
		if err != nil || entries[0].Action != "grant.revoked" || entries[0].Actor != "system" || entries[0].Detail["reason"] != "dormant" {
			t.Errorf("audit %+v, %v", entries, err)
		}
		w.drain()
		w.waitFor("the end at the provider", func() bool {
			w.server.mu.Lock()
			defer w.server.mu.Unlock()
			return strings.Join(w.server.revoked, " ") == "refresh_token access_token"
		})
		w.keepUp(connectedapps.UpkeepRules{}) // off: nothing ends
		w.clock.advance(1000 * day)
		w.keepUp(connectedapps.UpkeepRules{})
		w.grant(bob)
	})
}

func TestAGrantThatIsUsedStays(t *testing.T) {
	w := newWorld(t)
	w.connect(alice)
	w.clock.advance(89 * day)
	w.mustToken(alice)
	w.waitFor("the note", func() bool { return w.grant(alice).UsedAt.Equal(w.clock.now()) })
	w.clock.advance(2 * day)
	w.keepUp(connectedapps.UpkeepRules{DormantAfter: 90 * day})
	w.grant(alice)
}

func TestAddedScopesAreToldOnceForEachAddition(t *testing.T) {
	w := newWorld(t)
	w.connect(alice)
	for i, scope := range []string{"more", "most"} {
		app, err := w.apps.Get(t.Context(), w.app.ID)
		if err != nil {
			t.Fatal(err)
		}
		app.Scopes = append(app.Scopes, scope)
		w.must(w.apps.Update(t.Context(), app, "usr_admin"))
		for range 3 {
			w.keepUp(connectedapps.UpkeepRules{})
			w.clock.advance(day)
		}
		if got := strings.Count(fmt.Sprint(w.events()), "needs_consent"); got != i+1 {
			t.Errorf("after %s: told %d times, want %d", scope, got, i+1)
		}
	}
}

// broker.md §5: invalid_grant notifies the person once and makes no further call, invalid_client alarms the admin once
// and marks nobody.
func TestARefusalIsToldOnce(t *testing.T) {
	w := newWorld(t)
	w.connect(alice)
	w.server.endAll()
	w.clock.advance(2 * time.Hour)
	for range 5 {
		wantKind(t, second(w.token(alice)), fault.ReauthorizationRequired, "reauthorization_required")
		w.clock.advance(time.Hour)
		w.keepUp(connectedapps.UpkeepRules{})
	}
	w.tells("connection.connected", "connection.revoked provider")
	if n, _ := w.server.counts(); n != 1 {
		t.Errorf("%d refreshes, want 1", n)
	}
}

func TestABrokenAppIsToldOnceEachTimeItBreaks(t *testing.T) {
	w := newWorld(t)
	w.connect(alice)
	w.connect(bob)
	invalid := answering(401, "application/json", `{"error":"invalid_client"}`)
	w.clock.advance(2 * time.Hour)
	for range 3 {
		w.server.breakNext(invalid, invalid)
		_, _ = w.token(alice)
		_, _ = w.token(bob)
		w.clock.advance(6 * time.Minute)
	}
	w.tells("connection.connected", "connection.connected", "oauth_app.broken")
	w.server.mu.Lock()
	w.server.faults = nil
	w.server.mu.Unlock()
	w.mustToken(alice) // the probe: it works again
	w.clock.advance(2 * time.Hour)
	w.server.breakNext(invalid)
	_, _ = w.token(alice)
	w.tells("connection.connected", "connection.connected", "oauth_app.broken", "oauth_app.broken")
}

func TestAFailingProviderIsToldOnceADay(t *testing.T) {
	w := newWorld(t)
	w.connect(alice)
	w.clock.advance(2 * time.Hour)
	for range 4 {
		w.server.breakNext(answering(500, "text/plain", ""))
		_, _ = w.token(alice)
		w.clock.advance(10 * time.Minute)
	}
	w.tells("connection.connected", "connection.refresh_failed")
}

func TestAPausedAppRemindsNobody(t *testing.T) {
	w := newWorld(t)
	w.connect(alice)
	w.must(w.apps.Pause(t.Context(), w.app.ID, "", "usr_admin"))
	w.clock.advance(40 * day)
	w.keepUp(connectedapps.UpkeepRules{})
	w.tells("connection.connected")
}
