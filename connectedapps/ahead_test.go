package connectedapps_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/id"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
)

func TestDueAt(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	base := connectedapps.Grant{
		ID: "con_1", RefreshToken: secret.New("r"), ConnectedAt: at, UsedAt: at, RefreshedAt: at, ExpiresAt: at.Add(time.Hour),
	}
	never := [2]time.Duration{-1, -1}
	for _, tt := range []struct {
		name   string
		change func(*connectedapps.Grant)
		want   [2]time.Duration // after at, from and to
	}{
		{"an hour's token is due at 75 to 85 % of it", func(*connectedapps.Grant) {}, [2]time.Duration{45 * time.Minute, 51 * time.Minute}},
		{"one without a known end as if it lived an hour", func(g *connectedapps.Grant) { g.ExpiresAt = time.Time{} }, [2]time.Duration{45 * time.Minute, 51 * time.Minute}},
		{"without a refresh token never", func(g *connectedapps.Grant) { g.RefreshToken = secret.Text{} }, never},
		{"a refused one never", func(g *connectedapps.Grant) { g.RefusedAt = at }, never},
		{"one that nobody used for 30 days never", func(g *connectedapps.Grant) {
			g.ConnectedAt, g.UsedAt = at.AddDate(0, 0, -60), at.AddDate(0, 0, -31)
		}, never},
		{"one whose refresh token has ended by then never", func(g *connectedapps.Grant) { g.RefreshExpiresAt = at.Add(30 * time.Minute) }, never},
		{"one that failed when it may be tried again", func(g *connectedapps.Grant) {
			g.FailureCode, g.NextTryAt = "provider_error", at.Add(2*time.Hour)
		}, [2]time.Duration{2 * time.Hour, 2 * time.Hour}},
		{"one whose answer was lost at the end of its token", func(g *connectedapps.Grant) { g.FailureCode = "unknown_outcome" }, [2]time.Duration{time.Hour, time.Hour}},
		{"one that is being refreshed not before its intent is over", func(g *connectedapps.Grant) {
			g.IntentAt, g.IntentUntil = at.Add(time.Hour), at.Add(time.Hour+35*time.Second)
		}, [2]time.Duration{time.Hour + 35*time.Second, time.Hour + 35*time.Second}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := base
			tt.change(&g)
			got := connectedapps.DueAt(g)
			if tt.want == never {
				if !got.IsZero() {
					t.Errorf("DueAt = %v, want never", got)
				}
				return
			}
			if after := got.Sub(at); after < tt.want[0] || after > tt.want[1] {
				t.Errorf("DueAt = %v after, want %v to %v", after, tt.want[0], tt.want[1])
			}
		})
	}
	t.Run("those who connected together are not due together", func(t *testing.T) {
		perMinute := map[time.Duration]int{}
		for i := range 6000 {
			g := base
			g.ID = fmt.Sprint("con_", i)
			perMinute[connectedapps.DueAt(g).Sub(at)/time.Minute]++
		}
		for minute := time.Duration(45); minute < 51; minute++ {
			if n := perMinute[minute]; n < 800 || n > 1200 {
				t.Errorf("%d of 6000 are due in minute %d, want about 1000", n, minute)
			}
		}
	})
}

// due refreshes what is due and waits until it is.
func (w *world) due() {
	w.t.Helper()
	if err := w.tokens.RefreshDue(w.t.Context()); err != nil {
		w.t.Fatalf("RefreshDue = %v, want no error", err)
	}
	w.tokens.Settle()
}

func TestATokenIsRefreshedBeforeAnybodyNeedsIt(t *testing.T) {
	w := newWorld(t)
	old := w.connect(alice)
	w.clock.advance(44 * time.Minute)
	w.due()
	if n, _ := w.server.counts(); n != 0 {
		t.Errorf("%d refreshes before 75 %% of the token's life, want none", n)
	}
	w.clock.advance(8 * time.Minute)
	w.due()
	w.waitFor("the refresh", func() bool { return w.grant(alice).Revision == old.Revision+1 })
	arrived := make(chan struct{}, 1)
	w.server.breakNext(slow(arrived, nil)) // would hold whoever asks
	if got := w.mustToken(alice); got.Revision != old.Revision+1 {
		t.Errorf("Token = revision %d, want %d", got.Revision, old.Revision+1)
	}
	w.due()
	if n, _ := w.server.counts(); n != 1 {
		t.Errorf("%d refreshes, want 1", n)
	}
}

// A day with outages of up to 10 min: of 10,000 hand-outs at most one waits for a refresh or is refused (broker.md §5, G6).
func TestHandOutsNeedNoWaitForADay(t *testing.T) {
	w := newWorld(t)
	random := rand.New(rand.NewPCG(24, 6))
	var people []securitycontext.Principal
	for i := range 7 {
		p := securitycontext.Principal{Realm: securitycontext.Local, Subject: fmt.Sprint("usr_", i)}
		people = append(people, p)
		w.connect(p)
		w.clock.advance(7 * time.Minute)
	}
	const step = time.Minute
	held, calls := map[securitycontext.Principal]int64{}, -1    // what is stored, and after how many calls
	down, outages, handOuts, waits := time.Duration(0), 0, 0, 0 // down is how long the outage lasts still, or until the next one if below zero
	for range int(24 * time.Hour / step) {
		switch {
		case down > 0:
			if down -= step; down <= 0 {
				w.server.mend()
				down = -time.Duration(random.Int64N(int64(4 * time.Hour)))
			}
		case down > -step:
			down, outages = time.Duration(1+random.Int64N(10))*time.Minute, outages+1
			for range 1000 {
				w.server.breakNext(answering(503, "text/plain", ""))
			}
		default:
			down += step
		}
		w.due()
		for _, p := range people {
			if n, _ := w.server.counts(); n != calls {
				calls = n
				for _, p := range people {
					held[p] = w.grant(p).Revision
				}
			}
			handOuts++
			if tok, err := w.token(p); err != nil || tok.Revision != held[p] {
				waits++
			}
			w.tokens.Settle()
		}
		w.clock.advance(step)
	}
	n, _ := w.server.counts()
	t.Logf("%d hand-outs, %d of them with a wait, through %d outages, with %d calls", handOuts, waits, outages, n)
	if waits*10_000 > handOuts || outages < 5 {
		t.Errorf("%d of %d hand-outs waited through %d outages, want at most 0.01 %%", waits, handOuts, outages)
	}
}

func TestAPausedAppIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	w.connect(alice)
	w.clock.advance(55 * time.Minute)
	if _, err := w.apps.Pause(t.Context(), w.app.ID, "", "usr_admin"); err != nil {
		t.Fatal(err)
	}
	w.due()
	if n, _ := w.server.counts(); n != 0 {
		t.Errorf("%d refreshes of a paused app, want none", n)
	}
}

// many stores n grants that are due since long, of different people, as after a time when no process ran.
func (w *world) many(n int, now time.Time) {
	w.t.Helper()
	for i := range n {
		token := canary + "-refresh-" + id.Random(16)
		w.server.mu.Lock()
		w.server.families[token] = &family{current: token}
		w.server.mu.Unlock()
		_, err := w.db.Grants().Connect(w.t.Context(), connectedapps.Grant{
			Key:    connectedapps.Key{Principal: securitycontext.Principal{Realm: securitycontext.Local, Subject: fmt.Sprint("usr_", i)}, AppID: w.app.ID},
			Domain: w.app.Domain, AccessToken: secret.New(canary), RefreshToken: secret.New(token), Requested: w.app.Scopes,
			ConnectedAt: now.Add(-time.Hour), UsedAt: now, RefreshedAt: now.Add(-50 * time.Minute), ExpiresAt: now.Add(5 * time.Minute),
		}, "", refreshedEntry)
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

func TestARestartWithManyDueGrantsNeitherStormsNorMisses(t *testing.T) {
	w := newWorld(t)
	const n, perSecond, burst = 120, 40, 40 / 5
	w.many(n, w.clock.now())
	var calls, allowed atomic.Int64
	for range n {
		w.server.breakNext(trouble{before: func(http.ResponseWriter, *http.Request) bool {
			if made, most := calls.Add(1), allowed.Load(); made > most {
				t.Errorf("call %d was made when the pace had given %d", made, most)
			}
			return false
		}})
	}
	tokens := connectedapps.NewTokens(connectedapps.Config{
		Store: w.store, Refreshes: w.store, Apps: w.apps, Client: w.client, Bus: w.bus, PerSecond: perSecond, Now: w.clock.now, Log: w.logger(),
	})
	run(t, tokens)
	allowed.Store(burst)
	done := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() { done <- tokens.RefreshDue(ctx) }()
	for allowed.Load() <= n { // the pace is that of the world's clock, which gives a burst at a time
		w.waitFor("a burst of refreshes", func() bool { return calls.Load() == allowed.Load() })
		allowed.Add(burst)
		w.clock.advance(burst * time.Second / perSecond * 5 / 4)
	}
	if err := <-done; err != nil {
		t.Fatalf("RefreshDue = %v, want no error", err)
	}
	left, err := w.db.Grants().Due(t.Context(), w.app.ID, w.clock.now(), 1)
	if err != nil || len(left) > 0 || calls.Load() != n {
		t.Errorf("%d calls for %d grants, %d left (%v), want one each", calls.Load(), n, len(left), err)
	}
}

func TestAProviderThatFailsForAnHourIsProbedAndNobodyIsMarkedDead(t *testing.T) {
	w := newWorld(t)
	w.connect(alice)
	w.many(20, w.clock.now())
	other := newAuthServer(t, w.clock.now)
	app := w.app
	app.ID, app.Slug, app.Name, app.AuthURL, app.TokenURL = "", "other", "Other", other.URL+"/authorize", other.URL+"/token"
	app.ClientSecret = secret.New(clientSecret)
	app, err := w.apps.Create(t.Context(), app, "usr_admin")
	if err != nil {
		t.Fatal(err)
	}
	ours, server := w.app, w.server
	w.app, w.server = app, other
	w.connect(bob) // at the other provider
	w.app, w.server = ours, server

	down := answering(503, "text/html", "<html>canary</html>")
	w.clock.advance(50 * time.Minute)
	for range 400 {
		w.server.breakNext(down)
	}
	const hour = 90 // steps of 40 s
	for range hour {
		w.clock.advance(40 * time.Second)
		w.due()
		_, _ = w.token(alice)
		// A refresh under way is overtaken by a clock that jumps, and reads as unknown until it is done, a moment later.
		w.waitFor("an active token of the other provider", func() bool {
			got, err := w.tokens.Token(t.Context(), bob, app.Slug)
			if err != nil {
				t.Fatalf("the other provider's Token = %v, want one", err)
			}
			return got.Status == "active"
		})
	}
	n, _ := w.server.counts()
	if most := 5 + hour*40/30 + 21; n > most || n < 30 {
		t.Errorf("%d calls in an hour, want probes each 30 s: at most %d", n, most)
	}
	e := wantKind(t, second(w.token(alice)), fault.RefreshFailing, "refresh_failing")
	if e.RetryAfter <= 0 || e.RetryAfter > 2*time.Minute+30*time.Second || e.Owner != fault.Provider {
		t.Errorf("refusal %+v, want the provider's, with the next try", e)
	}
	list, err := w.db.Grants().List(t.Context(), connectedapps.Filter{AppID: w.app.ID})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range list {
		if !g.RefusedAt.IsZero() {
			t.Errorf("%s is marked dead", g.ID)
		}
	}
	w.server.mend()
	w.clock.advance(3 * time.Minute)
	if got := w.mustToken(alice); got.Status != "active" {
		t.Errorf("status after the outage = %s, want active", got.Status)
	}
}

func TestRetryAfterIsObeyedForTheWholeProvider(t *testing.T) {
	w := newWorld(t)
	w.connect(alice)
	w.connect(bob)
	w.clock.advance(2 * time.Hour)
	w.server.breakNext(answering(429, "application/json", `{"error":"slow_down"}`, "Retry-After", "90"))
	wantKind(t, second(w.token(alice)), fault.RefreshFailing, "refresh_failing")
	for range 8 {
		e := wantKind(t, second(w.token(bob)), fault.RefreshFailing, "refresh_failing")
		if e.RetryAfter > 90*time.Second {
			t.Errorf("retry after %v, want what the server said", e.RetryAfter)
		}
		w.due()
		w.clock.advance(11 * time.Second)
	}
	if n, _ := w.server.counts(); n != 1 {
		t.Errorf("%d calls in the 90 s, want 1", n)
	}
	w.clock.advance(3 * time.Second)
	if got := w.mustToken(bob); got.Status != "active" {
		t.Errorf("status = %s, want active: its time has come", got.Status)
	}
}

// A clock that is set makes tokens neither be refreshed in a storm nor over and over.
func TestAClockThatIsSetCausesNoStorm(t *testing.T) {
	for _, step := range []time.Duration{-time.Hour, -5 * time.Minute, 5 * time.Minute, time.Second} {
		t.Run(step.String(), func(t *testing.T) {
			w := newWorld(t)
			w.connect(alice)
			w.clock.advance(30 * time.Minute)
			w.clock.advance(step)
			for range 50 {
				w.mustToken(alice)
				w.due()
				w.clock.advance(time.Second)
			}
			if n, _ := w.server.counts(); n > 1 {
				t.Errorf("%d refreshes, want at most 1", n)
			}
		})
	}
}

func TestAnswersThatAreNoTokensEndNothing(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault trouble
	}{
		{"HTML with a 200", answering(200, "text/html", "<html>login</html>")},
		{"a 500", answering(500, "text/plain", "")},
		{"an answer of 10 MB", answering(200, "application/json", `{"access_token":"`+string(make([]byte, 10<<20)))},
		{"an error of no standard", answering(400, "application/json", `{"error":"temporarily_unavailable"}`)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.connect(alice)
			w.clock.advance(2 * time.Hour)
			w.server.breakNext(tt.fault)
			wantKind(t, second(w.token(alice)), fault.RefreshFailing, "refresh_failing")
			if g := w.grant(alice); !g.RefusedAt.IsZero() || g.Failures != 1 {
				t.Errorf("refused at %v, %d failures, want one failure", g.RefusedAt, g.Failures)
			}
			w.clock.advance(time.Minute)
			if got := w.mustToken(alice); got.Status != "active" {
				t.Errorf("status = %s, want active after the next try", got.Status)
			}
		})
	}
}

func TestInvalidGrantIsNotTriedAgain(t *testing.T) {
	w := newWorld(t)
	w.connect(alice)
	w.server.endAll()
	w.clock.advance(2 * time.Hour)
	for range 5 {
		wantKind(t, second(w.token(alice)), fault.ReauthorizationRequired, "reauthorization_required")
		w.due()
		w.clock.advance(time.Hour)
	}
	if n, _ := w.server.counts(); n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
	if got := w.status(alice); got != connectedapps.Revoked {
		t.Errorf("status = %s, want revoked", got)
	}
}
