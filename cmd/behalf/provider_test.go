package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/sandbox/idp"
)

// refreshes counts the refresh calls that the provider got.
func (w *world) refreshes() int { return w.box.IdP.CountCalls(idp.Token, "refresh_token") }

// app returns the id of an OAuth app.
func (w *world) app(slug string) (a struct {
	ID     string `json:"id"`
	Rev    int64  `json:"rev"`
	Broken *struct {
		Code string `json:"code"`
	} `json:"broken"`
}) {
	w.t.Helper()
	w.must(w.carol.call(w.t.Context(), http.MethodGet, "/api/v1/oauth-apps/"+slug, nil, &a))
	return a
}

// retryAfter fails the test unless a says when to try again.
func (a asked) retryAfter(t *testing.T) {
	t.Helper()
	if n, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || n < 1 {
		t.Errorf("Retry-After = %q, want seconds", a.header.Get("Retry-After"))
	}
}

// A token endpoint that misbehaves when a code is exchanged: nothing is stored, the page says whose fault it is, and
// the next try works.
func TestTheTokenEndpointFailsAtConsent(t *testing.T) {
	w := newWorld(t, worldConfig{})
	for _, tt := range []struct {
		name    string
		fault   idp.Fault
		status  int
		outcome string
		says    []string
	}{
		{"it answers HTML", idp.Fault{HTML: true}, http.StatusServiceUnavailable, "provider_error", []string{"did not answer as it should", "up to the provider"}},
		{"it answers 10 MB", idp.Fault{Padding: 10 << 20}, http.StatusServiceUnavailable, "provider_error", []string{"did not answer as it should"}},
		{"it answers 503 with a time", idp.Fault{Status: 503, RetryAfter: 7 * time.Second}, http.StatusServiceUnavailable, "provider_error", []string{"did not answer as it should"}},
		{"it hangs up", idp.Fault{DropBefore: true}, http.StatusServiceUnavailable, "provider_error", []string{"did not answer as it should"}},
		{"it hangs up when all is done", idp.Fault{DropAfter: true}, http.StatusServiceUnavailable, "provider_error", []string{"did not answer as it should"}},
		{"it refuses the code", idp.Fault{Error: "invalid_grant"}, http.StatusGone, "code_refused", []string{"no longer accepts", "/oauth/callback/databricks"}},
		{"it refuses the app", idp.Fault{Error: "invalid_client"}, http.StatusServiceUnavailable, "invalid_client", []string{"rejected this app's credentials", "Only an admin"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			session, to, err := w.alice.pressAuthorize(t.Context(), "databricks")
			w.must(err)
			back, err := w.box.IdP.SignIn(t.Context(), to, "alice")
			w.must(err)
			w.box.IdP.SetFault(idp.Token, tt.fault)
			page := w.get(w.alice, back.String())
			w.box.IdP.ClearFaults()
			page.says(t, tt.status, tt.says...)
			if tt.fault.RetryAfter > 0 && page.header.Get("Retry-After") != "7" {
				t.Errorf("Retry-After = %q, want 7", page.header.Get("Retry-After"))
			}
			if got := w.grant(w.alice, "databricks").Status; got != "not_connected" {
				t.Errorf("alice is %s, want not_connected", got)
			}
			var done struct{ Outcome string }
			w.must(w.alice.call(t.Context(), http.MethodGet, "/api/v1/connect-sessions/"+session, nil, &done))
			if done.Outcome != tt.outcome {
				t.Errorf("outcome = %q, want %q", done.Outcome, tt.outcome)
			}
		})
	}
	if got := w.app("databricks").Broken; got == nil || got.Code != "invalid_client" {
		t.Errorf("the app is broken: %+v, want invalid_client", got)
	}
	t.Run("and is slow, and then all is well", func(t *testing.T) {
		w.box.IdP.SetFault(idp.Token, idp.Fault{Delay: 300 * time.Millisecond})
		w.connect(w.alice, "databricks")
		w.ask(w.alice, countOnly).ran(t, "user", "alice")
		if got := w.app("databricks").Broken; got != nil {
			t.Errorf("the app is still broken: %+v", got)
		}
	})
	t.Run("a browser that leaves during the exchange is connected all the same", func(t *testing.T) {
		back := w.callback(w.bob, "databricks")
		ctx, leave := context.WithCancel(t.Context())
		w.box.IdP.SetFault(idp.Token, idp.Fault{Seen: leave, Delay: 300 * time.Millisecond})
		if _, err := w.bob.do(ctx, http.MethodGet, back.String(), nil, nil); err == nil {
			t.Error("the browser got an answer before it left")
		}
		eventually(t, "bob is connected", func() bool { return w.grant(w.bob, "databricks").Status == "active" })
	})
}

// The warehouse refuses the token, and the provider misbehaves when it is refreshed.
func TestTheTokenEndpointFailsAtRefresh(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fault  idp.Fault
		status string // of the grant afterwards
		again  func(w *world) error
	}{
		{"it answers HTML", idp.Fault{HTML: true}, "refresh_failing", refreshNow},
		{"it answers 503", idp.Fault{Status: 503}, "refresh_failing", refreshNow},
		{"it answers another error", idp.Fault{Error: "server_error", Status: 500}, "refresh_failing", refreshNow},
		// It may have replaced the refresh token, and the old one is not shown again while that is open. Who reauthorizes
		// is well at once.
		{"it hangs up when all is done", idp.Fault{DropAfter: true}, "unknown_outcome", reauthorize},
		{"it answers 10 MB", idp.Fault{Padding: 10 << 20}, "unknown_outcome", reauthorize},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, worldConfig{})
			w.box.IdP.SetRotation(false)
			w.connect(w.alice, "databricks")
			w.connect(w.bob, "databricks")
			w.ask(w.alice, countOnly).ran(t, "user", "alice")
			w.box.IdP.ExpireTokens("alice")
			before := w.refreshes()
			w.box.IdP.SetFault(idp.Token, tt.fault)
			for range 3 {
				got := w.ask(w.alice, countOnly)
				got.refused(t, http.StatusServiceUnavailable, "refresh_failing", "did not answer", "next try in")
				got.retryAfter(t)
			}
			if n := w.refreshes() - before; n != 1 {
				t.Errorf("%d refresh calls for three queries, want 1", n)
			}
			if got := w.grant(w.alice, "databricks"); got.Status != tt.status || got.Reason == "" {
				t.Errorf("alice is %+v, want %s and why", got, tt.status)
			}
			w.ask(w.bob, countOnly).ran(t, "user", "bob")
			w.box.IdP.ClearFaults()
			w.must(tt.again(w))
			w.ask(w.alice, countOnly).ran(t, "user", "alice")
			if got := w.grant(w.alice, "databricks"); got.Status != "active" {
				t.Errorf("alice is %+v afterwards, want active", got)
			}
		})
	}
}

// refreshNow is the button of the Connected apps page.
func refreshNow(w *world) error {
	return w.alice.call(w.t.Context(), http.MethodPost, "/api/v1/connected-apps/databricks/refresh", map[string]string{}, nil)
}

func reauthorize(w *world) error {
	return w.alice.connect(w.t.Context(), "databricks", w.box.IdP.SignIn)
}

func TestASlowRefreshIsOneCallAndItsTokenIsKept(t *testing.T) {
	w := newWorld(t, worldConfig{})
	w.connect(w.alice, "databricks")
	w.ask(w.alice, countOnly).ran(t, "user", "alice")
	w.box.IdP.ExpireTokens("alice")
	before := w.refreshes()
	w.box.IdP.SetFault(idp.Token, idp.Fault{Delay: 700 * time.Millisecond})
	token, err := w.alice.token(t.Context())
	w.must(err)
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan asked, 1)
	go func() {
		left <- w.send(ctx, w.alice, http.MethodPost, "/cubejs-api/v1/load", token, `{"cache":"no-cache","query":`+countOnly+`}`)
	}()
	eventually(t, "the refresh began", func() bool { return w.grantRefreshing() })
	leave()
	if got := <-left; got.err == nil {
		t.Errorf("who left got %s", got.body)
	}
	w.ask(w.alice, countOnly).ran(t, "user", "alice")
	if n := w.refreshes() - before; n != 1 {
		t.Errorf("%d refresh calls, want the one that nobody waited for", n)
	}
}

// grantRefreshing reports whether a refresh of alice's grant is under way in the server.
func (w *world) grantRefreshing() bool {
	grants, err := w.server.store.Grants().List(w.t.Context(), connectedapps.Filter{AppID: w.app("databricks").ID})
	w.must(err)
	for _, g := range grants {
		if !g.IntentAt.IsZero() {
			return true
		}
	}
	return false
}

func TestAnAppWithAWrongSecretIsBrokenAndItsPeopleAreNot(t *testing.T) {
	w := newWorld(t, worldConfig{})
	w.connect(w.alice, "databricks", "snowflake")
	w.connect(w.bob, "databricks")
	app := w.app("databricks")
	change := func(secret string) {
		t.Helper()
		app = w.app("databricks")
		w.must(w.carol.call(t.Context(), http.MethodPatch, "/api/v1/oauth-apps/"+app.ID, map[string]any{"client_secret": secret, "rev": app.Rev}, nil))
	}
	change("not-the-secret")
	w.ask(w.alice, countOnly).ran(t, "user", "alice") // her token lives
	w.box.IdP.ExpireTokens("alice")
	before := w.refreshes()
	for range 3 {
		w.ask(w.alice, countOnly).refused(t, http.StatusServiceUnavailable, "invalid_client", "rejected this app's credentials", "Only an admin")
	}
	if n := w.refreshes() - before; n != 1 {
		t.Errorf("%d refresh calls with the wrong secret, want 1", n)
	}
	if got := w.app("databricks").Broken; got == nil {
		t.Error("the app is not marked as broken")
	}
	w.ask(w.bob, countOnly).ran(t, "user", "bob")
	w.ask(w.alice, atSnowflake).ran(t, "user", "alice")
	if got := w.grant(w.alice, "databricks").Status; got != "active" {
		t.Errorf("alice is %s, want active: nothing is wrong with her grant", got)
	}
	change(w.box.DatabricksClient.Secret.Reveal())
	w.ask(w.alice, countOnly).ran(t, "user", "alice")
	if got := w.app("databricks").Broken; got != nil {
		t.Errorf("the app is still broken: %+v", got)
	}
}

func TestTheProviderIsDown(t *testing.T) {
	onBoth(t, worldConfig{}, func(t *testing.T, w *world) {
		w.box.IdP.SetAccessTokenLife(time.Second)
		w.connect(w.bob, "databricks", "snowflake")
		w.box.IdP.SetAccessTokenLife(time.Hour)
		w.connect(w.alice, "databricks")
		w.box.IdP.SetFault(idp.Token, idp.Fault{Status: http.StatusServiceUnavailable})

		w.ask(w.alice, countOnly).ran(t, "user", "alice") // while her token lives, queries go on

		time.Sleep(1100 * time.Millisecond) // bob's tokens end
		got := w.ask(w.bob, countOnly)
		got.refused(t, http.StatusServiceUnavailable, "refresh_failing", "Databricks did not answer. Your access is unchanged")
		got.retryAfter(t)
		// Where the source lets the service account stand in, it says so, and why.
		instead := w.ask(w.bob, atSnowflake)
		instead.ran(t, "service_account", "bob")
		if !strings.Contains(instead.header.Get("Behalf-Run-As"), "service_account") || instead.RunAs.Reason == "" || instead.RunAs.Reason == "grant" {
			t.Errorf("the answer does not say why: %s, %+v", instead.header.Get("Behalf-Run-As"), instead.RunAs)
		}
		w.box.IdP.ClearFaults()
		w.must(w.bob.call(t.Context(), http.MethodPost, "/api/v1/connected-apps/databricks/refresh", map[string]string{}, nil))
		w.ask(w.bob, countOnly).ran(t, "user", "bob")
	})
}

func TestManyQueriesWithAnEndedTokenRefreshOnce(t *testing.T) {
	onBoth(t, worldConfig{}, func(t *testing.T, w *world) {
		many := func(t *testing.T) {
			before := w.refreshes()
			token, err := w.alice.token(t.Context())
			w.must(err)
			var all sync.WaitGroup
			for n := range 64 {
				all.Go(func() {
					query := fmt.Sprintf(`{"measures":["orders.count"],"limit":%d}`, n+1)
					got := w.send(t.Context(), w.alice, http.MethodPost, "/cubejs-api/v1/load", token, `{"cache":"no-cache","query":`+query+`}`)
					got.ran(t, "user", "alice")
				})
			}
			all.Wait()
			if n := w.refreshes() - before; n != 1 {
				t.Errorf("%d refresh calls, want 1", n)
			}
		}
		w.box.IdP.SetAccessTokenLife(time.Second)
		w.connect(w.alice, "databricks")
		w.box.IdP.SetAccessTokenLife(time.Hour)
		time.Sleep(1100 * time.Millisecond)
		t.Run("its time is over", many)
		w.box.IdP.ExpireTokens("alice")
		t.Run("the warehouse does not take it any more", many)
	})
}
