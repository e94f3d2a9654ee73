package connectedapps_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/notify"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/oauthapps"
)

func TestList(t *testing.T) {
	w := newWorld(t)
	list, err := w.tokens.List(t.Context(), w.app.Domain, alice)
	if err != nil || len(list) != 1 {
		t.Fatalf("List = %v, %v, want one app", list, err)
	}
	if c := list[0]; c.Status != connectedapps.NotConnected || rels(c.Actions) != "authorize" || strings.Join(c.Scopes, " ") != "sql offline_access" {
		t.Errorf("before: %s, actions %s, scopes %v", c.Status, rels(c.Actions), c.Scopes)
	}
	g := w.connect(alice)
	list, _ = w.tokens.List(t.Context(), w.app.Domain, alice)
	if c := list[0]; c.Status != connectedapps.Active || c.Account != "alice@provider" || c.Reason != "" || rels(c.Actions) != "reauthorize refresh revoke" ||
		!c.AccessExpiresAt.Equal(g.ExpiresAt) || !c.ReauthorizeBy.IsZero() {
		t.Errorf("after: %+v", c)
	}
	if list, _ = w.tokens.List(t.Context(), w.app.Domain, bob); list[0].Status != connectedapps.NotConnected {
		t.Errorf("bob sees %s", list[0].Status)
	}
	if list, _ = w.tokens.List(t.Context(), "dom_other", alice); len(list) != 0 {
		t.Errorf("another domain shows %d apps", len(list))
	}
	if list, _ = w.tokens.List(t.Context(), w.app.Domain, securitycontext.Principal{}); len(list) != 0 {
		t.Errorf("nobody sees %d apps", len(list))
	}
}

func rels(actions []fault.Action) string {
	var all []string
	for _, a := range actions {
		all = append(all, a.Rel)
	}
	return strings.Join(all, " ")
}

// Every status has a sentence, or is one that needs none, and never offers what cannot work.
func TestEveryStatusExplainsItself(t *testing.T) {
	for _, tt := range []struct {
		want   connectedapps.Status
		bring  func(w *world)
		reason string
		rels   string
	}{
		{connectedapps.Disabled, func(w *world) { w.must(w.apps.Pause(context.Background(), w.app.ID, "", "usr_admin")) }, "An admin paused Databricks.", "revoke"},
		{connectedapps.Revoked, func(w *world) {
			w.server.endAll()
			w.clock.advance(2 * time.Hour)
			_, _ = w.token(alice)
		}, "Your Databricks access ended on 1 Mar 2026 (revoked at the provider).", "reauthorize revoke"},
		{connectedapps.RefreshFailing, func(w *world) {
			w.server.breakNext(answering(500, "text/plain", ""))
			w.clock.advance(2 * time.Hour)
			_, _ = w.token(alice)
		}, "Databricks did not answer, and your last token has ended. It is tried again by itself.", "reauthorize refresh revoke"},
		{connectedapps.UnknownOutcome, func(w *world) {
			w.server.breakNext(answerLost())
			w.clock.advance(2 * time.Hour)
			_, _ = w.token(alice)
		}, "The answer of Databricks to a refresh was lost. Your access works until its token ends; then it is tried once more.", "reauthorize refresh revoke"},
		{connectedapps.NeedsConsent, func(w *world) {
			app := w.app
			app.Scopes = append([]string{"more", "most"}, app.Scopes...)
			w.must(w.apps.Update(context.Background(), app, "usr_admin"))
		}, "Your admin added scopes: more and most. Approve them to go on; current access works meanwhile.", "reauthorize refresh revoke"},
	} {
		t.Run(string(tt.want), func(t *testing.T) {
			w := newWorld(t)
			w.connect(alice)
			tt.bring(w)
			c, err := w.tokens.Get(t.Context(), alice, "databricks")
			if err != nil || c.Status != tt.want || c.Reason != tt.reason || rels(c.Actions) != tt.rels {
				t.Errorf("Get = %s, %q, %s (%v), want %s, %q, %s", c.Status, c.Reason, rels(c.Actions), err, tt.want, tt.reason, tt.rels)
			}
		})
	}
}

func (w *world) must(_ oauthapps.App, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestRefreshOnDemand(t *testing.T) {
	w := newWorld(t)
	wantKind(t, second(w.tokens.Refresh(t.Context(), alice, "databricks")), fault.AuthorizationRequired, "authorization_required")
	w.connect(alice)
	c, err := w.tokens.Refresh(t.Context(), alice, "databricks")
	if err != nil || c.Revision != 2 {
		t.Fatalf("Refresh = revision %d, %v, want 2", c.Revision, err)
	}
	w.clock.advance(29 * time.Second)
	e := wantKind(t, second(w.tokens.Refresh(t.Context(), alice, "databricks")), fault.TooMany, "too_many")
	if e.RetryAfter != time.Second {
		t.Errorf("RetryAfter = %s, want 1s", e.RetryAfter)
	}
	w.clock.advance(time.Second)
	if c, err = w.tokens.Refresh(t.Context(), alice, "databricks"); err != nil || c.Revision != 3 {
		t.Errorf("Refresh = revision %d, %v, want 3", c.Revision, err)
	}
	w.clock.advance(time.Minute)
	w.server.breakNext(answering(503, "text/plain", ""))
	wantKind(t, second(w.tokens.Refresh(t.Context(), alice, "databricks")), fault.RefreshFailing, "refresh_failing")
	w.mustToken(alice) // the held one still serves
}

func TestDisconnect(t *testing.T) {
	w := newWorld(t)
	wantKind(t, second(w.tokens.Disconnect(t.Context(), alice, "databricks")), fault.NotFound, "not_found")
	w.connect(alice)
	w.mustToken(alice)
	// When the news comes the grant is gone already, and the authorization server has not been told yet.
	w.bus.Subscribe(func(n notify.News) {
		if !n.Revoked {
			return
		}
		if _, err := w.db.Grants().Get(context.Background(), connectedapps.Key{Principal: alice, AppID: w.app.ID}); fault.KindOf(err) != fault.NotFound {
			t.Errorf("at the news the grant is still there: %v", err)
		}
		if w.server.revocations != 0 {
			t.Error("the authorization server was told before the pools")
		}
	})
	d, err := w.tokens.Disconnect(t.Context(), alice, "databricks")
	if err != nil || !d.AtProvider {
		t.Fatalf("Disconnect = %+v, %v", d, err)
	}
	if got := strings.Join(w.server.revoked, " "); got != "refresh_token access_token" {
		t.Errorf("revoked %q, want the refresh token and then the access token", got)
	}
	wantKind(t, second(w.token(alice)), fault.AuthorizationRequired, "authorization_required")
}

func TestDisconnectEndsHereWhateverTheProviderSays(t *testing.T) {
	w := newWorld(t)
	w.connect(alice)
	w.server.Close()
	d, err := w.tokens.Disconnect(t.Context(), alice, "databricks")
	if err != nil || d.AtProvider || d.Note == "" {
		t.Errorf("Disconnect = %+v, %v, want it done here and a note", d, err)
	}
	wantKind(t, second(w.token(alice)), fault.AuthorizationRequired, "authorization_required")
}

func TestADisconnectDuringARefreshLeavesNothing(t *testing.T) {
	w := newWorld(t)
	w.connect(alice)
	w.clock.advance(2 * time.Hour)
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	w.server.breakNext(slow(arrived, release))
	got := make(chan error, 1)
	go func() { got <- second(w.token(alice)) }()
	<-arrived
	if _, err := w.tokens.Disconnect(t.Context(), alice, "databricks"); err != nil {
		t.Fatal(err)
	}
	close(release)
	wantKind(t, <-got, fault.AuthorizationRequired, "authorization_required")
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	for token, f := range w.server.families {
		if !f.dead {
			t.Errorf("the server still honours %s", token)
		}
	}
}

func TestRevokeAppAndCount(t *testing.T) {
	w := newWorld(t)
	for i := range 5 {
		w.connect(securitycontext.Principal{Realm: securitycontext.Local, Subject: fmt.Sprintf("usr_%d", i)})
	}
	counts, err := w.tokens.CountByStatus(t.Context(), w.app)
	if err != nil || !maps.Equal(counts, map[connectedapps.Status]int{connectedapps.Active: 5}) {
		t.Errorf("CountByStatus = %v, %v", counts, err)
	}
	if err := w.apps.Delete(t.Context(), w.app.ID, "usr_admin"); fault.KindOf(err) != fault.Conflict {
		t.Errorf("Delete with grants = %v, want a conflict", err)
	}
	n, err := w.tokens.RevokeApp(t.Context(), w.app, "usr_admin")
	if err != nil || n != 5 {
		t.Errorf("RevokeApp = %d, %v, want 5", n, err)
	}
	if err := w.apps.Delete(t.Context(), w.app.ID, "usr_admin"); err != nil {
		t.Errorf("Delete = %v", err)
	}
}
