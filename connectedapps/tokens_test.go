package connectedapps_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/notify"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/oauthapps"
)

var _ driverfactory.Credentials = (*connectedapps.Tokens)(nil)

func TestADueTokenIsHandedOutAndRefreshedBehind(t *testing.T) {
	w := newWorld(t)
	old := w.connect(alice)
	w.clock.advance(58*time.Minute + time.Second) // two minutes before its end it is due
	if got := w.mustToken(alice); got.Revision != old.Revision {
		t.Errorf("Token has revision %d, want the held one, %d", got.Revision, old.Revision)
	}
	w.waitFor("the refresh behind", func() bool { return w.grant(alice).Revision > old.Revision })
	if got := w.mustToken(alice); got.Revision != old.Revision+1 || got.Epoch != old.Epoch || got.Value.Equal(old.AccessToken) {
		t.Errorf("Token = %+v, want the next revision of the same epoch", got)
	}
	if n, _ := w.server.counts(); n != 1 {
		t.Errorf("%d refreshes, want 1", n)
	}
}

func TestBeforeItIsDueNothingIsRefreshed(t *testing.T) {
	w := newWorld(t)
	w.connect(alice)
	for range 57 {
		w.clock.advance(time.Minute)
		w.mustToken(alice)
	}
	if n, _ := w.server.counts(); n != 0 {
		t.Errorf("%d refreshes, want none", n)
	}
	w.clock.advance(time.Minute) // two minutes before its end
	w.mustToken(alice)
	w.waitFor("the refresh behind the answer", func() bool { n, _ := w.server.counts(); return n == 1 })
}

func TestATokenOfTenSecondsIsRefreshedOncePerLife(t *testing.T) {
	w := newWorld(t)
	w.server.life = 10 * time.Second
	w.connect(alice)
	for range 40 { // 10 s
		w.clock.advance(250 * time.Millisecond)
		w.mustToken(alice)
		w.waitFor("the end of refreshes", func() bool { return w.grant(alice).IntentAt.IsZero() })
	}
	if n, _ := w.server.counts(); n != 1 {
		t.Errorf("%d refreshes in 10 s, want 1", n)
	}
}

func TestManyCallersOfManyProcessesMakeOneCall(t *testing.T) {
	w := newWorld(t)
	old := w.connect(alice)
	w.clock.advance(2 * time.Hour) // nothing is live: everybody must wait
	processes := []*connectedapps.Tokens{w.tokens, w.newTokens(), w.newTokens()}
	arrived, release := make(chan struct{}, 100), make(chan struct{})
	w.server.breakNext(slow(arrived, release))

	var mu sync.Mutex
	got := map[string]int{}
	var group sync.WaitGroup
	for i := range 64 {
		group.Go(func() {
			tok, err := processes[i%3].Token(context.Background(), alice, "databricks")
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				got["error "+err.Error()]++
				return
			}
			got[tok.Value.Hash()]++
		})
	}
	<-arrived
	time.Sleep(50 * time.Millisecond) // let the others come
	close(release)
	group.Wait()
	g := w.grant(alice)
	if len(got) != 1 || got[g.AccessToken.Hash()] != 64 {
		t.Errorf("callers got %v, want all 64 the stored token", got)
	}
	if n, _ := w.server.counts(); n != 1 || w.server.reuses != 0 {
		t.Errorf("%d refreshes, %d reuses, want 1 and 0", n, w.server.reuses)
	}
	if g.Revision != old.Revision+1 {
		t.Errorf("revision %d, want %d", g.Revision, old.Revision+1)
	}
}

func TestACallerWhoLeavesDoesNotLoseTheRefresh(t *testing.T) {
	w := newWorld(t)
	old := w.connect(alice)
	w.clock.advance(2 * time.Hour)
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	w.server.breakNext(slow(arrived, release))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := w.tokens.Token(ctx, alice, "databricks")
		done <- err
	}()
	<-arrived
	cancel()
	wantKind(t, <-done, fault.Canceled, "canceled")
	close(release)
	w.waitFor("the refresh", func() bool { return w.grant(alice).Revision == old.Revision+1 })
}

func TestAServerThatGivesNoNewRefreshTokenLeavesTheOld(t *testing.T) {
	w := newWorld(t)
	w.server.rotate = false
	old := w.connect(alice)
	for range 3 {
		w.clock.advance(2 * time.Hour)
		w.mustToken(alice)
	}
	if g := w.grant(alice); !g.RefreshToken.Equal(old.RefreshToken) || g.Revision != old.Revision+3 {
		t.Errorf("revision %d, refresh token kept: %v; want 3 refreshes with the same token", g.Revision, g.RefreshToken.Equal(old.RefreshToken))
	}
	for _, form := range w.server.forms {
		if form.Get("grant_type") == "refresh_token" && form.Has("scope") {
			t.Error("a refresh asks for a scope")
		}
	}
}

func TestInvalidGrantEndsTheGrant(t *testing.T) {
	w := newWorld(t)
	w.connect(alice)
	w.server.endAll()
	w.clock.advance(2 * time.Hour)
	for range 3 {
		_, err := w.token(alice)
		e := wantKind(t, err, fault.ReauthorizationRequired, "reauthorization_required")
		if e.Detail != "Your Databricks access ended on 1 Mar 2026 (revoked at the provider). Your query is kept." {
			t.Errorf("Detail = %q", e.Detail)
		}
		if len(e.Actions) != 1 || e.Actions[0].Href != publicURL+"/connect/databricks" || e.Params["status"] != "revoked" {
			t.Errorf("Actions = %+v, Params = %v", e.Actions, e.Params)
		}
	}
	if n, _ := w.server.counts(); n != 1 {
		t.Errorf("%d refreshes, want 1 and none after the refusal", n)
	}
	if last := w.news[len(w.news)-1]; !last.Revoked || !last.Refused || last.Epoch != w.grant(alice).Epoch {
		t.Errorf("news = %+v, want a revocation", last)
	}
	w.connect(alice)
	if got := w.mustToken(alice); got.Status != "active" {
		t.Errorf("status after a new consent = %s, want active", got.Status)
	}
}

func TestInvalidGrantAfterAKnownEndIsExpired(t *testing.T) {
	w := newWorld(t)
	w.server.refresh = 24 * time.Hour
	w.connect(alice)
	w.clock.advance(25 * time.Hour)
	_, err := w.token(alice)
	e := wantKind(t, err, fault.ReauthorizationRequired, "reauthorization_required")
	if e.Params["status"] != "expired" || !strings.Contains(e.Detail, "2 Mar 2026") {
		t.Errorf("status %s, %q, want expired on 2 Mar", e.Params["status"], e.Detail)
	}
	if n, _ := w.server.counts(); n != 0 {
		t.Errorf("%d refreshes with a refresh token that has ended, want none", n)
	}
}

func TestTransientFailuresKillNobody(t *testing.T) {
	big := strings.Repeat("canary ", 10<<20/7)
	for _, tt := range []struct {
		name  string
		f     trouble
		code  string
		after time.Duration // the least time to wait
	}{
		{"a server error", answering(503, "text/plain", "canary"), "provider_error", 5 * time.Second},
		{"too many requests", answering(429, "application/json", `{"error":"slow_down"}`, "Retry-After", "100"), "rate_limited", 100 * time.Second},
		{"HTML", answering(200, "text/html", "<html>canary</html>"), "provider_error", 5 * time.Second},
		{"an error of 10 MB", answering(400, "application/json", `{"x":"`+big+`"}`), "provider_error", 5 * time.Second},
		{"a redirect", answering(307, "text/html", "", "Location", "http://169.254.169.254/"), "provider_error", 5 * time.Second},
		{"JSON without a token", answering(200, "application/json", `{"canary":1}`), "provider_error", 5 * time.Second},
		{"another error code", answering(400, "application/json", `{"error":"invalid_scope"}`), "invalid_scope", 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			old := w.connect(alice)
			w.clock.advance(58*time.Minute + 30*time.Second)
			w.server.breakNext(tt.f)
			if got := w.mustToken(alice); got.Status != "active" {
				t.Errorf("status = %s, want active", got.Status)
			}
			w.waitFor("the failure", func() bool { return w.grant(alice).FailureCode == tt.code })
			w.waitFor("it is counted", func() bool { return slices.Contains(w.counted(), "refresh databricks "+tt.code) })
			if got := w.mustToken(alice); got.Status != "refresh_failing" || got.Revision != old.Revision {
				t.Errorf("Token = %+v, want the held one with refresh_failing", got)
			}
			if tt.after < time.Minute {
				return
			}
			w.clock.advance(40 * time.Second) // it must be waited for now, were it not for the back-off
			w.mustToken(alice)
			w.clock.advance(52 * time.Second) // and has ended
			e := wantKind(t, second(w.token(alice)), fault.RefreshFailing, "refresh_failing")
			if e.RetryAfter != 8*time.Second {
				t.Errorf("RetryAfter = %s, want 8s", e.RetryAfter)
			}
			w.clock.advance(8 * time.Second)
			if got := w.mustToken(alice); got.Revision != old.Revision+1 || got.Status != "active" {
				t.Errorf("Token = %+v, want a new one", got)
			}
			if n, _ := w.server.counts(); n != 2 {
				t.Errorf("%d refreshes, want 2", n)
			}
		})
	}
}

func second[T any](_ T, err error) error { return err }

func TestAServerThatCannotBeReachedIsRefreshFailing(t *testing.T) {
	w := newWorld(t)
	w.connect(alice)
	w.server.CloseClientConnections()
	w.server.Listener.Close()
	w.clock.advance(2 * time.Hour)
	e := wantKind(t, second(w.token(alice)), fault.RefreshFailing, "refresh_failing")
	if !strings.HasPrefix(e.Detail, "Databricks did not answer. Your access is unchanged; next try in ") || e.RetryAfter < 5*time.Second {
		t.Errorf("%q, retry after %s", e.Detail, e.RetryAfter)
	}
	if g := w.grant(alice); g.FailureCode != "network_error" || !g.IntentAt.IsZero() {
		t.Errorf("failure %q, intent %v: a request that was not sent has a known outcome", g.FailureCode, g.IntentAt)
	}
}

// Its endpoints are not known when the issuer did not answer at the start, or has moved.
func TestARefreshFindsTheTokenEndpointThatIsNotKnownYet(t *testing.T) {
	w := newWorld(t, func(w *world, a *oauthapps.App) { a.Issuer = w.server.URL })
	w.connect(alice)
	app := w.app
	app.AuthURL, app.TokenURL = "", ""
	if _, err := w.db.OAuthApps().UpdateApp(t.Context(), app, audit.Entry{Action: audit.OAuthAppUpdated}); err != nil {
		t.Fatal(err)
	}
	w.clock.advance(2 * time.Hour)
	if got := w.mustToken(alice); got.Revision != 2 {
		t.Errorf("revision = %d, want 2", got.Revision)
	}
	if n, _ := w.server.counts(); n != 1 {
		t.Errorf("%d refreshes, want 1", n)
	}
}

func TestALostAnswerIsAnUnknownOutcome(t *testing.T) {
	t.Run("the held token serves, then one try that the server refuses leaves it so", func(t *testing.T) {
		w := newWorld(t)
		w.connect(alice)
		w.clock.advance(58*time.Minute + 30*time.Second)
		w.server.breakNext(answerLost())
		w.mustToken(alice)
		w.waitFor("the unknown outcome", func() bool { return w.status(alice) == connectedapps.UnknownOutcome })
		for range 8 {
			w.clock.advance(10 * time.Second)
			if got := w.mustToken(alice); got.Status != "unknown_outcome" {
				t.Errorf("status = %s, want unknown_outcome", got.Status)
			}
		}
		w.clock.advance(time.Minute)
		for range 3 {
			e := wantKind(t, second(w.token(alice)), fault.ReauthorizationRequired, "reauthorization_required")
			if e.Params["status"] != "unknown_outcome" {
				t.Errorf("status = %s, want unknown_outcome", e.Params["status"])
			}
		}
		if n, _ := w.server.counts(); n != 2 {
			t.Errorf("%d refreshes, want 2", n)
		}
	})
	t.Run("a request that the server never saw is healed by that try", func(t *testing.T) {
		w := newWorld(t)
		old := w.connect(alice)
		w.clock.advance(58*time.Minute + 30*time.Second)
		w.server.breakNext(requestLost())
		w.mustToken(alice)
		w.waitFor("the unknown outcome", func() bool { return w.status(alice) == connectedapps.UnknownOutcome })
		w.clock.advance(2 * time.Minute)
		if got := w.mustToken(alice); got.Status != "active" || got.Revision != old.Revision+1 {
			t.Errorf("Token = %+v, want a new active one", got)
		}
	})
	t.Run("while that try fails for other reasons, it stays unknown", func(t *testing.T) {
		w := newWorld(t)
		w.connect(alice)
		w.clock.advance(2 * time.Hour)
		w.server.breakNext(requestLost(), answering(503, "text/plain", ""))
		wantKind(t, second(w.token(alice)), fault.RefreshFailing, "refresh_failing")
		w.clock.advance(time.Minute)
		wantKind(t, second(w.token(alice)), fault.RefreshFailing, "refresh_failing")
		if got := w.status(alice); got != connectedapps.UnknownOutcome {
			t.Errorf("status = %s, want unknown_outcome", got)
		}
		w.clock.advance(time.Minute)
		if got := w.mustToken(alice); got.Status != "active" {
			t.Errorf("status = %s, want active: the server never saw the lost request", got.Status)
		}
	})
}

func TestAProcessThatDiedInMidRefresh(t *testing.T) {
	w := newWorld(t)
	g := w.connect(alice)
	now := w.clock.now()
	if _, err := w.db.Grants().Claim(t.Context(), g, "dead", now, now.Add(35*time.Second)); err != nil {
		t.Fatal(err)
	}
	w.clock.advance(time.Minute)
	if got := w.mustToken(alice); got.Status != "unknown_outcome" {
		t.Errorf("status = %s, want unknown_outcome with the held token", got.Status)
	}
	w.clock.advance(time.Hour)
	if got := w.mustToken(alice); got.Status != "active" || got.Revision != g.Revision+1 {
		t.Errorf("Token = %+v, want a new one: the dead process had not sent anything", got)
	}
}

func TestInvalidClientBreaksTheAppAndNobodyElse(t *testing.T) {
	w := newWorld(t)
	w.connect(alice)
	w.connect(bob)
	w.clock.advance(2 * time.Hour)
	w.server.breakNext(answering(401, "application/json", `{"error":"invalid_client","error_description":"canary"}`))
	for range 3 {
		e := wantKind(t, second(w.token(alice)), fault.Unavailable, "invalid_client")
		if e.Owner != fault.Admin {
			t.Errorf("owner = %s, want admin", e.Owner)
		}
	}
	wantKind(t, second(w.token(bob)), fault.Unavailable, "invalid_client")
	if n, _ := w.server.counts(); n != 1 {
		t.Errorf("%d refreshes, want 1: a broken app is not tried for everybody", n)
	}
	if app, _ := w.apps.Get(t.Context(), "databricks"); app.BrokenAt.IsZero() || app.BrokenCode != "invalid_client" {
		t.Errorf("app broken at %v, code %q, want it marked", app.BrokenAt, app.BrokenCode)
	}
	if got := w.status(alice); got != connectedapps.Active {
		t.Errorf("alice's status = %s, want active: she is not at fault", got)
	}
	w.clock.advance(5 * time.Minute) // a probe
	if got := w.mustToken(bob); got.Status != "active" {
		t.Errorf("bob's status = %s", got.Status)
	}
	w.mustToken(alice)
	if app, _ := w.apps.Get(t.Context(), "databricks"); !app.BrokenAt.IsZero() {
		t.Error("the app is still marked as broken after a success")
	}
}

func TestSavedCredentialsEndTheMarkOfABrokenApp(t *testing.T) {
	w := newWorld(t)
	w.connect(alice)
	w.clock.advance(2 * time.Hour)
	w.server.breakNext(answering(401, "application/json", `{"error":"invalid_client"}`))
	wantKind(t, second(w.token(alice)), fault.Unavailable, "invalid_client")
	app, err := w.apps.Get(t.Context(), "databricks")
	if err != nil {
		t.Fatal(err)
	}
	app.ClientSecret = secret.New(clientSecret + " new")
	if app, err = w.apps.Update(t.Context(), app, "usr_admin"); err != nil || !app.BrokenAt.IsZero() {
		t.Fatalf("Update = broken at %v, %v", app.BrokenAt, err)
	}
	wantKind(t, second(w.token(alice)), fault.Unavailable, "invalid_client") // it was tried at once, and is wrong
	if n, _ := w.server.counts(); n != 2 {
		t.Errorf("%d refreshes, want 2", n)
	}
}

func TestRefused(t *testing.T) {
	w := newWorld(t)
	w.connect(alice)
	first := w.mustToken(alice)
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			got, err := w.tokens.Refused(context.Background(), alice, "databricks", first)
			if err != nil || got.Revision != first.Revision+1 {
				t.Errorf("Refused = revision %d, %v, want %d", got.Revision, err, first.Revision+1)
			}
		})
	}
	group.Wait()
	if n, _ := w.server.counts(); n != 1 {
		t.Errorf("%d refreshes, want 1 for all who were refused", n)
	}
	next := w.mustToken(alice)
	e := wantKind(t, second(w.tokens.Refused(t.Context(), alice, "databricks", next)), fault.ReauthorizationRequired, "reauthorization_required")
	if len(e.Actions) == 0 {
		t.Error("the refusal does not say where to authorize")
	}
	w.clock.advance(10 * time.Minute)
	wantKind(t, second(w.tokens.Refused(t.Context(), alice, "databricks", next)), fault.ReauthorizationRequired, "reauthorization_required")
	if n, _ := w.server.counts(); n != 1 {
		t.Errorf("%d refreshes, want none for a token that a forced refresh has brought", n)
	}
	w.clock.advance(time.Hour)
	later := w.mustToken(alice) // renewed because it was due
	if got, err := w.tokens.Refused(t.Context(), alice, "databricks", later); err != nil || got.Revision != later.Revision+1 {
		t.Errorf("Refused later = revision %d, %v, want a new one", got.Revision, err)
	}
	if got, err := w.tokens.Refused(t.Context(), alice, "databricks", first); err != nil || got.Revision != later.Revision+1 {
		t.Errorf("Refused of an old token = revision %d, %v, want the current one without a refresh", got.Revision, err)
	}
}

// Whoever is overtaken by a forced refresh, wherever they were when it ended, has the token that it brought.
func TestRefusedMeetsARefreshThatEndsMeanwhile(t *testing.T) {
	for nth := int64(1); nth <= 4; nth++ {
		w := newWorld(t)
		w.connect(alice)
		first := w.mustToken(alice)
		var asked atomic.Int64
		waits, over := make(chan struct{}), make(chan struct{})
		w.clock.tell(func() {
			if asked.Add(1) == nth {
				close(waits)
				select {
				case <-over:
				case <-time.After(2 * time.Second): // the other one waits for this one
				}
			}
		})
		late := make(chan error, 1)
		go func() {
			got, err := w.tokens.Refused(context.Background(), alice, "databricks", first)
			if err == nil && got.Revision != first.Revision+1 {
				err = fmt.Errorf("revision %d", got.Revision)
			}
			late <- err
		}()
		<-waits
		if got, err := w.tokens.Refused(t.Context(), alice, "databricks", first); err != nil || got.Revision != first.Revision+1 {
			t.Errorf("Refused = revision %d, %v, want %d", got.Revision, err, first.Revision+1)
		}
		close(over)
		if err := <-late; err != nil {
			t.Errorf("Refused of who was held at the %dth look at the clock: %v, want revision %d", nth, err, first.Revision+1)
		}
		w.clock.tell(nil)
		if n, _ := w.server.counts(); n != 1 {
			t.Errorf("%d refreshes, want 1 for both", n)
		}
	}
}

func TestAnIDTokenOfSomebodyElseAtRefresh(t *testing.T) {
	w := newWorld(t, oidc)
	old := w.connect(alice)
	w.clock.advance(2 * time.Hour)
	w.server.mu.Lock()
	w.server.subject = "sub-mallory"
	w.server.mu.Unlock()
	e := wantKind(t, second(w.token(alice)), fault.ReauthorizationRequired, "reauthorization_required")
	if !strings.Contains(e.Detail, "another person") {
		t.Errorf("Detail = %q", e.Detail)
	}
	g := w.grant(alice)
	if g.RefreshToken.Equal(old.RefreshToken) || !g.AccessToken.Empty() {
		t.Error("want the rotated refresh token stored and the access token withheld")
	}
}

func TestTokensSurviveAStoreThatTakesNothing(t *testing.T) {
	w := newWorld(t)
	old := w.connect(alice)
	w.clock.advance(2 * time.Hour)
	w.store.fail(errors.New("disk full"))
	got := w.mustToken(alice)
	if got.Revision != old.Revision+1 {
		t.Fatalf("Token = revision %d, want %d from memory", got.Revision, old.Revision+1)
	}
	if again := w.mustToken(alice); !again.Value.Equal(got.Value) {
		t.Error("the next caller got another token")
	}
	if g := w.grant(alice); g.Revision != old.Revision {
		t.Fatal("the store took it after all")
	}
	w.store.fail(nil)
	w.waitFor("the write", func() bool { return w.grant(alice).Revision == old.Revision+1 })
	if g := w.grant(alice); !g.AccessToken.Equal(got.Value) {
		t.Error("another token was stored than the one handed out")
	}
	if n, _ := w.server.counts(); n != 1 || w.server.reuses != 0 {
		t.Errorf("%d refreshes, %d reuses, want 1 and 0", n, w.server.reuses)
	}
}

func TestPausedAppAndDisabledPerson(t *testing.T) {
	w := newWorld(t)
	w.connect(alice)
	w.mustToken(alice)
	if _, err := w.apps.Pause(t.Context(), w.app.ID, "Moving to another workspace", "usr_admin"); err != nil {
		t.Fatal(err)
	}
	e := wantKind(t, second(w.token(alice)), fault.AppDisabled, "app_disabled")
	if e.Detail != `An admin paused Databricks: "Moving to another workspace".` {
		t.Errorf("Detail = %q", e.Detail)
	}
	if _, err := w.apps.Resume(t.Context(), w.app.ID, "usr_admin"); err != nil {
		t.Fatal(err)
	}
	w.mustToken(alice)

	off := connectedapps.NewTokens(connectedapps.Config{
		Store: w.store, Refreshes: w.store, Apps: w.apps, Client: w.client, Now: w.clock.now,
		Disabled: func(_ context.Context, p securitycontext.Principal) (bool, error) {
			return p == alice, map[bool]error{true: errors.New("down")}[p == bob]
		},
	})
	wantKind(t, second(off.Token(t.Context(), alice, "databricks")), fault.Denied, "user_disabled")
	wantKind(t, second(off.Token(t.Context(), bob, "databricks")), fault.Unavailable, "store_unavailable")
}

func TestAnonymousAndUnknown(t *testing.T) {
	w := newWorld(t)
	wantKind(t, second(w.token(securitycontext.Principal{})), fault.AuthorizationRequired, "authorization_required")
	e := wantKind(t, second(w.token(bob)), fault.AuthorizationRequired, "authorization_required")
	if e.Detail != "Connect your Databricks account to run this query. It runs as you, with your own permissions." ||
		e.Actions[0].Rel != "authorize" || e.Actions[0].Label != "Connect" || e.Params["oauth_app"] != "databricks" {
		t.Errorf("refusal %+v", e)
	}
	wantKind(t, second(w.tokens.Token(t.Context(), alice, "nothing")), fault.NotFound, "not_found")
}

func TestAGrantWithoutRefreshToken(t *testing.T) {
	w := newWorld(t)
	w.server.noRefr = true
	w.connect(alice)
	w.clock.advance(59*time.Minute + 50*time.Second)
	if got := w.mustToken(alice); got.Status != "expiring" {
		t.Errorf("status = %s, want expiring", got.Status)
	}
	w.clock.advance(10 * time.Second)
	e := wantKind(t, second(w.token(alice)), fault.ReauthorizationRequired, "reauthorization_required")
	if e.Params["status"] != "expired" {
		t.Errorf("status = %s, want expired", e.Params["status"])
	}
	if n, _ := w.server.counts(); n != 0 {
		t.Errorf("%d refreshes, want none", n)
	}
}

func TestATokenWithoutExpiresIn(t *testing.T) {
	w := newWorld(t)
	w.connect(alice)
	w.clock.advance(2 * time.Hour)
	w.server.breakNext(answering(200, "application/json", `{"access_token":"canary-x","token_type":"Bearer"}`))
	got := w.mustToken(alice)
	if !got.ExpiresAt.IsZero() || got.Status != "active" {
		t.Errorf("Token = %+v, want one without a known end", got)
	}
	w.clock.advance(50 * time.Minute)
	w.mustToken(alice)
	w.clock.advance(20 * time.Minute) // after an assumed hour it is refreshed, behind
	if again := w.mustToken(alice); again.Revision != got.Revision {
		t.Error("a caller waited for a token without a known end")
	}
	w.waitFor("the refresh behind", func() bool { return w.grant(alice).Revision == got.Revision+1 })
}

func TestRunWaitsForRefreshesAndLetsNoneBegin(t *testing.T) {
	w := newWorld(t)
	old := w.connect(alice)
	w.clock.advance(2 * time.Hour)
	tokens := connectedapps.NewTokens(connectedapps.Config{Store: w.store, Refreshes: w.store, Apps: w.apps, Client: w.client, Now: w.clock.now})
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- tokens.Run(ctx) }()
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	w.server.breakNext(slow(arrived, release))
	got := make(chan error, 1)
	go func() { got <- second(tokens.Token(context.Background(), alice, "databricks")) }()
	<-arrived
	cancel()
	select {
	case <-ran:
		t.Fatal("Run ended while a refresh was under way")
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	if err := <-got; err != nil {
		t.Errorf("Token = %v", err)
	}
	if err := <-ran; err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	if g := w.grant(alice); g.Revision != old.Revision+1 {
		t.Error("the refreshed token was not stored")
	}
	w.clock.advance(2 * time.Hour)
	wantKind(t, second(tokens.Token(t.Context(), alice, "databricks")), fault.Unavailable, "stopping")
}

func TestUseIsNotedOnceAMinute(t *testing.T) {
	w := newWorld(t)
	w.connect(alice)
	w.clock.advance(5 * time.Minute)
	w.mustToken(alice)
	w.waitFor("the note", func() bool { return w.grant(alice).UsedAt.Equal(w.clock.now()) })
	first := w.clock.now()
	w.clock.advance(30 * time.Second)
	w.mustToken(alice)
	w.clock.advance(31 * time.Second)
	if g := w.grant(alice); !g.UsedAt.Equal(first) {
		t.Errorf("used at %v, want %v", g.UsedAt, first)
	}
	w.mustToken(alice)
	w.waitFor("the next note", func() bool { return w.grant(alice).UsedAt.Equal(w.clock.now()) })
}

func TestNeedsConsent(t *testing.T) {
	w := newWorld(t)
	w.connect(alice)
	app := w.app
	app.Scopes = []string{"sql", "offline_access", "more"}
	if _, err := w.apps.Update(t.Context(), app, "usr_admin"); err != nil {
		t.Fatal(err)
	}
	if got := w.mustToken(alice); got.Status != "needs_consent" {
		t.Errorf("status = %s, want needs_consent with a usable token", got.Status)
	}
	w.clock.advance(2 * time.Hour)
	if got := w.mustToken(alice); got.Status != "needs_consent" || got.Revision != 2 {
		t.Errorf("Token = %+v, want it refreshed with the old scopes", got)
	}
}

// News of another process may be lost. What says so ends what is in memory.
func TestWhenAnythingMayHaveChangedGrantsAreReadAgain(t *testing.T) {
	w := newWorld(t)
	w.connect(alice)
	var news notify.Bus // of a process that has not heard of the end of the grant
	deaf := connectedapps.NewTokens(connectedapps.Config{
		Store: w.store, Refreshes: w.store, Apps: w.apps, Client: w.client, Bus: &news, Now: w.clock.now, Log: w.logger(),
	})
	if _, err := deaf.Token(t.Context(), alice, w.app.Slug); err != nil {
		t.Fatal(err)
	}
	if _, err := w.tokens.Disconnect(t.Context(), alice, w.app.Slug); err != nil {
		t.Fatal(err)
	}
	if _, err := deaf.Token(t.Context(), alice, w.app.Slug); err != nil {
		t.Fatalf("Token = %v, want the one in memory: no second has passed", err)
	}
	news.Publish(notify.News{Topic: notify.Everything})
	_, err := deaf.Token(t.Context(), alice, w.app.Slug)
	wantKind(t, err, fault.AuthorizationRequired, "authorization_required")
}
