package event_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/event"
)

func TestWhichRecordsAreEvents(t *testing.T) {
	at := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	detail := func(more ...string) map[string]string {
		d := map[string]string{"oauth_app": "databricks", "principal": "usr_alice"}
		for i := 0; i+1 < len(more); i += 2 {
			d[more[i]] = more[i+1]
		}
		return d
	}
	of := func(kind event.Kind, detail map[string]string) *event.Event {
		return &event.Event{Kind: kind, At: at, Person: "usr_alice", App: "databricks", Object: "con_1", Detail: detail}
	}
	for _, tt := range []struct {
		name  string
		entry audit.Entry
		want  *event.Event // nil: none
	}{
		{"a consent", audit.Entry{Action: audit.GrantCreated, Actor: "usr_alice", Outcome: "ok", Detail: map[string]string{"oauth_app": "databricks", "account": "a@x"}},
			of(event.Connected, map[string]string{"account": "a@x"})},
		{"a consent that failed", audit.Entry{Action: audit.GrantCreated, Actor: "usr_alice", Outcome: "x", Detail: detail()}, nil},
		{"one's own disconnect", audit.Entry{Action: audit.GrantRevoked, Actor: "usr_alice", Outcome: "ok", Detail: detail()},
			of(event.Revoked, map[string]string{"reason": "person"})},
		{"an admin's", audit.Entry{Action: audit.GrantRevoked, Actor: "usr_admin", Outcome: "ok", Detail: detail()},
			of(event.Revoked, map[string]string{"reason": "admin"})},
		{"one for want of use", audit.Entry{Action: audit.GrantRevoked, Actor: "system", Outcome: "ok", Detail: detail("reason", "dormant")},
			of(event.Revoked, map[string]string{"reason": "dormant"})},
		{"invalid_grant", audit.Entry{Action: audit.GrantRefused, Actor: "system", Outcome: "invalid_grant", Detail: detail("status", "revoked", "ended", "true")},
			of(event.Revoked, map[string]string{"reason": "provider", "code": "invalid_grant"})},
		{"invalid_grant after a known end", audit.Entry{Action: audit.GrantRefused, Actor: "system", Outcome: "invalid_grant", Detail: detail("status", "expired", "ended", "true")},
			of(event.Expired, map[string]string{"code": "invalid_grant"})},
		{"a lost answer", audit.Entry{Action: audit.GrantRefused, Actor: "system", Outcome: "unknown_outcome", Detail: detail("status", "unknown_outcome")}, nil},
		{"a refusal after a lost answer", audit.Entry{Action: audit.GrantRefused, Actor: "system", Outcome: "invalid_grant", Detail: detail("status", "unknown_outcome", "ended", "true")},
			of(event.Revoked, map[string]string{"reason": "unknown_outcome", "code": "invalid_grant"})},
		{"invalid_client is not the person's", audit.Entry{Action: audit.GrantRefused, Actor: "system", Outcome: "invalid_client", Detail: detail("status", "active")}, nil},
		{"an app that breaks", audit.Entry{Action: audit.OAuthAppUpdated, Actor: "system", Outcome: "invalid_client", Detail: map[string]string{"slug": "databricks"}},
			&event.Event{Kind: event.AppBroken, At: at, App: "databricks", Object: "con_1", Detail: map[string]string{"code": "invalid_client"}}},
		{"an app that is edited, or works again", audit.Entry{Action: audit.OAuthAppUpdated, Actor: "usr_admin", Outcome: "ok", Detail: map[string]string{"slug": "databricks"}}, nil},
		{"a refresh", audit.Entry{Action: audit.GrantRefreshed, Actor: "system", Outcome: "ok", Detail: detail()}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.entry.At, tt.entry.Object = at, "con_1"
			got, ok := event.Of(tt.entry)
			if tt.want == nil {
				if ok {
					t.Errorf("Of = %+v, want none", got)
				}
				return
			}
			if diff := cmp.Diff(*tt.want, got); diff != "" || !ok {
				t.Errorf("Of = %v (-want +got):\n%s", ok, diff)
			}
		})
	}
}

func TestAFailingRefreshIsOneEventADay(t *testing.T) {
	at := time.Date(2026, 11, 28, 23, 59, 0, 0, time.UTC)
	of := func(person, app string, at time.Time) string {
		e, ok := event.Of(audit.Entry{At: at, Action: audit.GrantRefused, Outcome: "provider_error",
			Detail: map[string]string{"oauth_app": app, "principal": person, "status": "refresh_failing"}})
		if !ok || e.Kind != event.RefreshFailed || e.Dedupe == "" {
			t.Fatalf("Of = %+v, %v", e, ok)
		}
		return e.Dedupe
	}
	first := of("usr_a", "x", at)
	if of("usr_a", "x", at.Add(-23*time.Hour)) != first {
		t.Error("two of one day differ")
	}
	for _, other := range []string{of("usr_a", "x", at.Add(2*time.Minute)), of("usr_b", "x", at), of("usr_a", "y", at), of("usr_a 1:x", "", at)} {
		if other == first {
			t.Errorf("another day, person or app has the same key %q", other)
		}
	}
}
