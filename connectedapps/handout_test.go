package connectedapps_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/secret"
)

func TestACallerWhoseMinimumTheHeldTokenMeetsNeverWaits(t *testing.T) {
	w := newWorld(t)
	old := w.connect(alice)
	w.clock.advance(50 * time.Minute)
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	w.server.breakNext(slow(arrived, release))
	waiting := make(chan connectedapps.Token, 1)
	go func() { // ten minutes are left
		tok, err := w.tokens.TokenFor(context.Background(), alice, "databricks", 30*time.Minute)
		if err != nil {
			t.Errorf("TokenFor 30 min = %v, want a fresh token", err)
		}
		waiting <- tok
	}()
	<-arrived
	for _, minLife := range []time.Duration{0, time.Second, 9 * time.Minute} {
		tok, err := w.tokens.TokenFor(t.Context(), alice, "databricks", minLife)
		if err != nil || tok.Revision != old.Revision {
			t.Errorf("TokenFor %v while a refresh runs = %+v, %v, want the held token", minLife, tok, err)
		}
	}
	close(release)
	if tok := <-waiting; tok.Revision != old.Revision+1 {
		t.Errorf("TokenFor 30 min has revision %d, want the next one", tok.Revision)
	}
}

func TestAskedForMoreThanAFreshTokenLivesItIsRefreshedOnceAndRefused(t *testing.T) {
	w := newWorld(t)
	w.connect(alice)
	for range 20 {
		_, err := w.tokens.TokenFor(t.Context(), alice, "databricks", 2*time.Hour)
		e := wantKind(t, err, fault.Conflict, "min_life_unavailable")
		if !strings.Contains(e.Detail, "120 min") || !strings.Contains(e.Detail, "60 min") {
			t.Errorf("the refusal says %q, want what was asked and what there is", e.Detail)
		}
		w.clock.advance(time.Second)
	}
	w.mustToken(alice)
	if n, _ := w.server.counts(); n != 1 {
		t.Errorf("%d refreshes for 20 callers who ask for too much, want 1", n)
	}
}

func TestWithNoRefreshTokenTheMinimumIsWhatIsLeft(t *testing.T) {
	w := newWorld(t)
	g := w.connect(alice)
	g.RefreshToken = secret.Text{} // as a provider that gives none
	if _, err := w.db.Grants().Connect(t.Context(), g, "", audit.Entry{Action: audit.GrantReplaced}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.tokens.TokenFor(t.Context(), alice, "databricks", 59*time.Minute); err != nil {
		t.Errorf("TokenFor 59 min = %v, want the held token", err)
	}
	_, err := w.tokens.TokenFor(t.Context(), alice, "databricks", 61*time.Minute)
	wantKind(t, err, fault.Conflict, "min_life_unavailable")
}

func TestAFailingProviderIsNoReasonToHandOutLessThanTheMinimum(t *testing.T) {
	w := newWorld(t)
	old := w.connect(alice)
	w.clock.advance(50 * time.Minute)
	w.server.breakNext(answering(503, "text/plain", "busy"), answering(503, "text/plain", "busy"))
	for range 3 { // the second and third come while the back-off runs
		_, err := w.tokens.TokenFor(t.Context(), alice, "databricks", 30*time.Minute)
		if e := wantKind(t, err, fault.RefreshFailing, "refresh_failing"); e.RetryAfter <= 0 || e.Owner != fault.Provider {
			t.Errorf("the refusal is %+v, want the provider's fault and when to try again", e)
		}
	}
	if tok := w.mustToken(alice); tok.Revision != old.Revision {
		t.Errorf("Token = revision %d, want that the held one serves who asks for no more", tok.Revision)
	}
	if n, _ := w.server.counts(); n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
}

// handOuts are those of w, with what was recorded.
func (w *world) handOuts(change func(*connectedapps.HandOutConfig)) (*connectedapps.HandOuts, *[]audit.Entry) {
	recorded := new([]audit.Entry)
	cfg := connectedapps.HandOutConfig{Tokens: w.tokens, Now: w.clock.now, Record: func(_ context.Context, e audit.Entry) error {
		*recorded = append(*recorded, e)
		return nil
	}}
	if change != nil {
		change(&cfg)
	}
	return connectedapps.NewHandOuts(cfg), recorded
}

func TestEveryHandOutIsRecordedBeforeItLeaves(t *testing.T) {
	w := newWorld(t)
	g := w.connect(alice)
	var observed []connectedapps.Ask
	h, recorded := w.handOuts(func(cfg *connectedapps.HandOutConfig) {
		cfg.Observe = func(_ context.Context, ask connectedapps.Ask, at time.Time) {
			if !at.Equal(w.clock.now()) {
				t.Errorf("observed at %v, want now", at)
			}
			observed = append(observed, ask)
		}
	})
	asked := connectedapps.Ask{Principal: alice, App: "databricks", Caller: "tok_1", IP: "192.0.2.7"}
	out, err := h.HandOut(t.Context(), asked)
	if err != nil || !out.Value.Equal(g.AccessToken) || out.Type != "Bearer" || fmt.Sprint(out.Scopes) != "[sql offline_access]" || out.Status != "active" {
		t.Errorf("HandOut = %+v, %v, want the held token", out, err)
	}
	if len(*recorded) != 1 {
		t.Fatalf("%d records, want 1", len(*recorded))
	}
	e := (*recorded)[0]
	if e.Action != audit.GrantHandedOut || e.Actor != alice.Subject || e.Object != g.ID || e.Detail["by"] != "tok_1" || e.Detail["ip"] != "192.0.2.7" ||
		e.Detail["oauth_app"] != "databricks" || e.Detail["revision"] != fmt.Sprint(g.Revision) || strings.Contains(fmt.Sprint(e), canary) {
		t.Errorf("the record is %+v", e)
	}
	_, err = h.HandOut(t.Context(), connectedapps.Ask{Principal: bob, App: "databricks", Caller: "tok_2"})
	wantKind(t, err, fault.AuthorizationRequired, "authorization_required")
	if len(*recorded) != 1 {
		t.Errorf("a refusal was recorded as a hand-out: %+v", *recorded)
	}
	if !slices.Equal(observed, []connectedapps.Ask{asked}) {
		t.Errorf("observed are %+v, want the hand-out and not the refusal", observed)
	}
}

func TestWithoutARecordNoTokenLeaves(t *testing.T) {
	w := newWorld(t)
	w.connect(alice)
	h, _ := w.handOuts(func(cfg *connectedapps.HandOutConfig) {
		cfg.Record = func(context.Context, audit.Entry) error { return errors.New("disk full") }
	})
	out, err := h.HandOut(t.Context(), connectedapps.Ask{Principal: alice, App: "databricks", Caller: "tok_1"})
	wantKind(t, err, fault.Unavailable, "audit_unavailable")
	if !out.Value.Empty() {
		t.Error("the token left all the same")
	}
}

func TestACallerHasSoManyHandOutsOfAnAppAndOthersHaveTheirs(t *testing.T) {
	w := newWorld(t)
	w.connect(alice)
	h, recorded := w.handOuts(func(cfg *connectedapps.HandOutConfig) { cfg.PerSecond, cfg.Burst = 2, 5 })
	written := w.app.ID // an app is one, by its id and by its slug
	ask := func(caller string) error {
		_, err := h.HandOut(t.Context(), connectedapps.Ask{Principal: alice, App: written, Caller: caller})
		return err
	}
	for i := range 5 {
		if i == 3 {
			written = w.app.Slug
		}
		if err := ask("tok_1"); err != nil {
			t.Fatalf("HandOut = %v, want no error within the burst", err)
		}
	}
	if e := wantKind(t, ask("tok_1"), fault.TooMany, "too_many"); e.RetryAfter != 500*time.Millisecond {
		t.Errorf("RetryAfter = %v, want 500 ms", e.RetryAfter)
	}
	if err := ask("tok_2"); err != nil {
		t.Errorf("HandOut to another caller = %v, want no error", err)
	}
	w.clock.advance(500 * time.Millisecond)
	if err := ask("tok_1"); err != nil {
		t.Errorf("HandOut after the wait = %v, want no error", err)
	}
	if len(*recorded) != 7 {
		t.Errorf("%d records, want 7", len(*recorded))
	}
}
