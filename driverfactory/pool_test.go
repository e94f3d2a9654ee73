package driverfactory_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
)

func TestEachClassOfFailureHasItsFault(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		kind fault.Kind
		code string
		kept bool // the session may run the next statement
	}{
		{"a wrong statement is invalid", errStatement, fault.Invalid, "database_error", true},
		{"a missing permission is denied", errDenied, fault.Denied, "database_denied", true},
		{"a wrong setting is the admin's", errSettings, fault.Unavailable, "data_source_misconfigured", true},
		{"a warehouse that does not answer is unavailable", errTransport, fault.Unavailable, "data_source_unreachable", false},
		{"a statement cancelled at the warehouse is cancelled", errCanceled, fault.Canceled, "database_canceled", false},
		{"sessions lost again and again are unavailable", errLost, fault.Unavailable, "session_lost", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, &warehouse{atLogin: true}, nil)
			w.wants(t, "token-1-1")
			w.answer(func(*fakeConn, string) ([][]driver.Value, error) { return nil, tt.err })
			_, err := query(t.Context(), w.driver, "x")
			e := wantFault(t, err, tt.kind, tt.code)
			if !errors.Is(err, tt.err) {
				t.Errorf("the cause of %v is lost", err)
			}
			if strings.Contains(fmt.Sprint(e, e.Err), "abcdefgh12345678") {
				t.Errorf("a secret is in %v, cause %v", e, e.Err)
			}
			w.answer(nil)
			w.wants(t, "token-1-1")
			if logins := w.loginTokens(); (len(logins) == 1) != tt.kept {
				t.Errorf("%d logins; session kept: want %v", len(logins), tt.kept)
			}
			if n := w.grants.RefusedCalls(); n != 0 {
				t.Errorf("%d forced refreshes, want 0", n)
			}
		})
	}
}

func TestARefusedTokenIsRefreshedOnce(t *testing.T) {
	refresh := func(old driverfactory.Token) (driverfactory.Token, error) { return tok(old.Epoch, old.Revision+1), nil }
	t.Run("at login", func(t *testing.T) {
		w := newWorld(t, &warehouse{atLogin: true}, nil)
		w.grants.OnRefused(refresh)
		w.connect = func(tok driverfactory.Token) error {
			if tok.Revision == 1 {
				return errAuth
			}
			return nil
		}
		w.wants(t, "token-1-2")
		if n := w.grants.RefusedCalls(); n != 1 {
			t.Errorf("%d forced refreshes, want 1", n)
		}
	})
	t.Run("by a statement", func(t *testing.T) {
		w := newWorld(t, &warehouse{atLogin: true}, nil)
		w.grants.OnRefused(refresh)
		w.answer(func(c *fakeConn, _ string) ([][]driver.Value, error) {
			if c.n == 1 {
				return nil, errAuth
			}
			return [][]driver.Value{{c.token}}, nil
		})
		w.wants(t, "token-1-2")
		if got, want := w.loginTokens(), []string{"token-1-1", "token-1-2"}; !slices.Equal(got, want) {
			t.Errorf("logins = %v, want %v", got, want)
		}
	})
	t.Run("and never a second time", func(t *testing.T) {
		w := newWorld(t, &warehouse{atLogin: true}, nil)
		w.grants.OnRefused(refresh)
		w.answer(func(*fakeConn, string) ([][]driver.Value, error) { return nil, errAuth })
		_, err := query(t.Context(), w.driver, "x")
		e := wantFault(t, err, fault.ReauthorizationRequired, "reauthorization_required")
		if e.Params["oauth_app"] != "wh" {
			t.Errorf("params = %v, want the OAuth app to authorize", e.Params)
		}
		if n := w.grants.RefusedCalls(); n != 1 {
			t.Errorf("%d forced refreshes, want 1", n)
		}
	})
	t.Run("by nobody where the token goes with each request: the adapter has done it", func(t *testing.T) {
		w := newWorld(t, &warehouse{}, nil)
		w.grants.OnRefused(refresh)
		w.answer(func(*fakeConn, string) ([][]driver.Value, error) { return nil, errAuth })
		_, err := query(t.Context(), w.driver, "x")
		wantFault(t, err, fault.ReauthorizationRequired, "reauthorization_required")
		if n := w.grants.RefusedCalls(); n != 0 {
			t.Errorf("%d forced refreshes, want 0", n)
		}
	})
	t.Run("but not after a row was delivered", func(t *testing.T) {
		w := newWorld(t, &warehouse{atLogin: true}, nil)
		w.grants.OnRefused(refresh)
		w.answer(func(*fakeConn, string) ([][]driver.Value, error) { return [][]driver.Value{{"row"}}, errAuth })
		got, err := query(t.Context(), w.driver, "x")
		wantFault(t, err, fault.ReauthorizationRequired, "reauthorization_required")
		if len(got) != 1 || len(w.loginTokens()) != 1 || w.grants.RefusedCalls() != 0 {
			t.Errorf("rows %v, logins %v; want one row and no second run", got, w.loginTokens())
		}
	})
}

func TestALostSessionIsReplacedOnlyBeforeTheFirstRow(t *testing.T) {
	w := newWorld(t, &warehouse{}, nil)
	w.answer(func(c *fakeConn, _ string) ([][]driver.Value, error) {
		if c.n <= 2 {
			return nil, errLost
		}
		return [][]driver.Value{{"ok"}}, nil
	})
	w.wants(t, "ok")

	w.answer(func(c *fakeConn, _ string) ([][]driver.Value, error) { return [][]driver.Value{{"row"}}, errLost })
	got, err := query(t.Context(), w.driver, "x")
	wantFault(t, err, fault.Unavailable, "session_lost")
	if len(got) != 1 {
		t.Errorf("rows = %v, want the one before the loss, once", got)
	}
}

func TestASessionOfASupersededRevisionIsNotLentAgain(t *testing.T) {
	for _, tt := range []struct {
		name    string
		atLogin bool
		logins  []string
	}{
		{"where the token is read at login", true, []string{"token-1-1", "token-1-2"}},
		{"but goes on where it goes with each request", false, []string{"token-1-1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, &warehouse{atLogin: tt.atLogin}, nil)
			w.wants(t, "token-1-1")
			w.grants.Set(tok(1, 2))
			w.wants(t, tt.logins[len(tt.logins)-1])
			if got := w.loginTokens(); !slices.Equal(got, tt.logins) {
				t.Errorf("logins = %v, want %v", got, tt.logins)
			}
			if open, idle := w.driver.Stats(); open != 1 || idle != 1 || w.openSessions() != 1 {
				t.Errorf("%d open, %d idle, %d at the warehouse; want one session", open, idle, w.openSessions())
			}
		})
	}
}

func TestNoStatementStartsUnderAnotherEpoch(t *testing.T) {
	w := newWorld(t, &warehouse{}, nil)
	w.wants(t, "token-1-1")
	w.grants.Set(tok(2, 2))
	var ran atomic.Bool
	w.answer(func(*fakeConn, string) ([][]driver.Value, error) { ran.Store(true); return nil, nil })
	_, err := query(t.Context(), w.driver, "x")
	wantFault(t, err, fault.Conflict, "credential_superseded")
	w.grants.Refuse(refusal(fault.ReauthorizationRequired, "", "revoked"))
	_, err = query(t.Context(), w.driver, "x")
	wantFault(t, err, fault.ReauthorizationRequired, "reauthorization_required")
	if ran.Load() {
		t.Error("a statement ran on a grant that was replaced")
	}
}

func TestSessionsLiveNoLongerThanTheirToken(t *testing.T) {
	now := epoch
	w := newWorld(t, &warehouse{atLogin: true}, func(c *driverfactory.Config) { c.Now = func() time.Time { return now } })
	short := tok(1, 1)
	short.ExpiresAt = epoch.Add(time.Minute)
	w.grants.Set(short)
	w.wants(t, "token-1-1")
	now = epoch.Add(59 * time.Second)
	w.wants(t, "token-1-1")
	if n := len(w.loginTokens()); n != 1 {
		t.Fatalf("%d logins within the token's life, want 1", n)
	}
	now = epoch.Add(time.Minute)
	w.wants(t, "token-1-1")
	if n := len(w.loginTokens()); n != 2 {
		t.Errorf("%d logins after the token's end, want 2", n)
	}
}

func TestAdmissionIsAskedBeforeDiallingAndGivenBack(t *testing.T) {
	var admitted, released atomic.Int32
	full := fault.New(fault.Unavailable, "no room")
	var refuse atomic.Bool
	w := newWorld(t, &warehouse{}, func(c *driverfactory.Config) {
		c.Admit = func(_ context.Context, key driverfactory.PoolKey) (func(), error) {
			if key.Principal != alice.Principal {
				t.Errorf("admission for %+v, want alice", key)
			}
			if refuse.Load() {
				return nil, full
			}
			admitted.Add(1)
			return func() { released.Add(1) }, nil
		}
	})
	refuse.Store(true)
	_, err := query(t.Context(), w.driver, "x")
	wantFault(t, err, fault.Unavailable, "unavailable")
	if n := len(w.loginTokens()); n != 0 {
		t.Errorf("%d logins without admission, want 0", n)
	}
	refuse.Store(false)
	w.connect = func(driverfactory.Token) error { return errTransport }
	_, err = query(t.Context(), w.driver, "x")
	wantFault(t, err, fault.Unavailable, "data_source_unreachable")
	if admitted.Load() != 1 || released.Load() != 1 {
		t.Errorf("after a failed login: %d admitted, %d released; want 1, 1", admitted.Load(), released.Load())
	}
	w.connect = nil
	w.wants(t, "token-1-1")
	if admitted.Load() != 2 || released.Load() != 1 {
		t.Errorf("with an idle session: %d admitted, %d released; want 2, 1", admitted.Load(), released.Load())
	}
	if n := w.driver.(driverfactory.IdleCloser).CloseIdle(); n != 1 {
		t.Errorf("CloseIdle = %d, want 1", n)
	}
	if released.Load() != 2 || w.openSessions() != 0 {
		t.Errorf("after CloseIdle: %d released, %d open; want 2, 0", released.Load(), w.openSessions())
	}
	w.wants(t, "token-1-1")
	_ = w.driver.Close()
	if released.Load() != 3 {
		t.Errorf("after Close: %d released, want 3", released.Load())
	}
}

func TestAnIdleSessionIsUsedInPlaceOfANewOne(t *testing.T) {
	waits, idle := make(chan struct{}), make(chan struct{})
	var asked atomic.Int32
	w := newWorld(t, &warehouse{}, func(c *driverfactory.Config) {
		c.Admit = func(context.Context, driverfactory.PoolKey) (func(), error) {
			if asked.Add(1) == 1 {
				return func() {}, nil
			}
			close(waits)
			<-idle
			return nil, driverfactory.ErrAskAgain
		}
	})
	first, err := w.driver.Query(t.Context(), driverfactory.Statement{SQL: "x"})
	if err != nil {
		t.Fatal(err)
	}
	second := make(chan error)
	go func() {
		_, err := query(t.Context(), w.driver, "x")
		second <- err
	}()
	<-waits
	for more := true; more; { // a session whose rows were left unread is not lent again
		if more, err = first.Next(make([]any, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	close(idle)
	if err := <-second; err != nil {
		t.Errorf("who waited for a session = %v, want the idle one", err)
	}
	if n := len(w.loginTokens()); n != 1 {
		t.Errorf("%d logins, want 1", n)
	}
}

func TestACredentialThatEndedWhileRoomWasWaitedForDoesNotLogIn(t *testing.T) {
	for name, ends := range map[string]func(w *world){
		"replaced":  func(w *world) { w.grants.Set(tok(2, 2)) },
		"refreshed": func(w *world) { w.grants.Set(tok(1, 2)) },
		"revoked":   func(w *world) { w.grants.Refuse(refusal(fault.ReauthorizationRequired, "", "revoked")) },
	} {
		t.Run(name, func(t *testing.T) {
			waits, room := make(chan struct{}), make(chan struct{})
			var released atomic.Int32
			w := newWorld(t, &warehouse{atLogin: true}, func(c *driverfactory.Config) {
				c.Admit = func(context.Context, driverfactory.PoolKey) (func(), error) {
					close(waits)
					<-room
					return func() { released.Add(1) }, nil
				}
			})
			done := make(chan error)
			go func() {
				_, err := query(t.Context(), w.driver, "x")
				done <- err
			}()
			<-waits
			ends(w)
			close(room)
			err := <-done
			if tokens := w.loginTokens(); slices.Contains(tokens, "token-1-1") || (err == nil) != (name == "refreshed") {
				t.Errorf("it logged in with %v, and answered %v", tokens, err)
			}
			if err != nil && released.Load() != 1 {
				t.Errorf("the room was given back %d times, want once", released.Load())
			}
		})
	}
}

func TestAStatementThatMayNotStartIsNotSent(t *testing.T) {
	w := newWorld(t, &warehouse{}, nil)
	w.answer(func(_ *fakeConn, query string) ([][]driver.Value, error) {
		if query != "x" {
			t.Errorf("%q was sent", query)
		}
		return [][]driver.Value{{"a"}}, nil
	})
	late := fault.New(fault.Conflict, "It is too late.")
	ctx := driverfactory.BeforeStart(t.Context(), func() error { return late })
	if _, err := w.driver.Query(ctx, driverfactory.Statement{SQL: "late"}); !errors.Is(err, fault.Conflict) {
		t.Errorf("Query = %v, want %v", err, late)
	}
	if _, err := query(driverfactory.BeforeStart(t.Context(), func() error { return nil }), w.driver, "x"); err != nil || len(w.loginTokens()) != 1 {
		t.Errorf("the next statement = %v, after %d logins; want it in the same session", err, len(w.loginTokens()))
	}
}

func TestADriverThatDrainsKeepsNoSession(t *testing.T) {
	w := newWorld(t, &warehouse{}, nil)
	w.wants(t, "token-1-1")
	rows, err := w.driver.Query(t.Context(), driverfactory.Statement{SQL: "x"})
	if err != nil {
		t.Fatal(err)
	}
	w.driver.(driverfactory.IdleCloser).Drain()
	if n := w.openSessions(); n != 1 {
		t.Errorf("%d sessions are open, want the one in use", n)
	}
	for more := true; more; {
		if more, err = rows.Next(make([]any, 1)); err != nil {
			t.Fatal(err)
		}
	}
	_ = rows.Close()
	if n := w.openSessions(); n != 0 {
		t.Errorf("%d sessions are open after the last statement, want none", n)
	}
	w.wants(t, "token-1-1") // what was lent before may still ask
	if n := w.openSessions(); n != 0 {
		t.Errorf("%d sessions are open after one more, want none", n)
	}
}

func TestOnePersonHasNoMoreSessionsThanAllowed(t *testing.T) {
	w := newWorld(t, &warehouse{}, nil)
	src := source()
	src.Limits.PerUserConnections = 3
	d := w.open(t, src, driverfactory.UserQuery)
	var most, now atomic.Int32
	w.answer(func(*fakeConn, string) ([][]driver.Value, error) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		time.Sleep(time.Millisecond)
		return [][]driver.Value{{"x"}}, nil
	})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := query(t.Context(), d, "x"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if most.Load() > 3 {
		t.Errorf("%d statements at once, want at most 3", most.Load())
	}
	if open, idle := d.Stats(); open != 1 || idle != 1 {
		t.Errorf("afterwards %d open, %d idle; want one kept", open, idle)
	}
}

// TestIdleDriversCostNothing is about the goroutine that a sql.DB has: 10,000 people with a driver each must not cost
// 10,000 of them.
func TestIdleDriversCostNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &warehouse{}, func(c *driverfactory.Config) { c.IdleTimeout = time.Minute })
		before := runtime.NumGoroutine()
		drivers := make([]driverfactory.Driver, 100)
		for i := range drivers {
			drivers[i] = w.open(t, source(), driverfactory.UserQuery)
			if _, err := query(t.Context(), drivers[i], "x"); err != nil {
				t.Fatal(err)
			}
		}
		if w.openSessions() != 100 {
			t.Fatalf("%d sessions open, want 100", w.openSessions())
		}
		time.Sleep(59 * time.Second)
		if _, err := query(t.Context(), drivers[0], "x"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if n := w.openSessions(); n != 1 {
			t.Errorf("%d sessions after the idle time, want the one that was used meanwhile", n)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := w.openSessions(); n != 0 {
			t.Errorf("%d sessions after the idle time, want 0", n)
		}
		// Not exactly as before: the runtime has goroutines of its own, of finalizers and clean-ups, that come and go.
		if after := runtime.NumGoroutine(); after >= before+len(drivers)/10 {
			t.Errorf("%d goroutines with 100 idle drivers, want about %d as before", after, before)
		}
		if _, err := query(t.Context(), drivers[7], "x"); err != nil {
			t.Errorf("an idle driver's next query: %v", err)
		}
	})
}

func TestACallerWhoLeavesIsToldSo(t *testing.T) {
	w := newWorld(t, &warehouse{}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	_, err := query(ctx, w.driver, "wait")
	wantFault(t, err, fault.Canceled, "query_canceled")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want context.Canceled in it", err)
	}
	src := source()
	src.Limits.QueryTimeout = 10 * time.Millisecond
	_, err = query(t.Context(), w.open(t, src, driverfactory.UserQuery), "wait")
	wantFault(t, err, fault.Timeout, "query_timeout")
	if n := w.openSessions(); n != 0 {
		t.Errorf("%d sessions after cancelled statements, want 0", n)
	}
}

func TestTheServiceAccountLogsInAsItself(t *testing.T) {
	w := newWorld(t, &warehouse{atLogin: true}, nil)
	src := source()
	src.ServiceAccount = &driverfactory.ServiceAccount{Name: "svc", Token: driverfactory.NewSecret("svc-token-1234")}
	d := w.open(t, src, driverfactory.LivenessCheck)
	if got, err := query(t.Context(), d, "x"); err != nil || got[0] != "svc-token-1234" {
		t.Errorf("query = %v, %v; want the account's token", got, err)
	}
	w.answer(func(*fakeConn, string) ([][]driver.Value, error) { return nil, errAuth })
	_, err := query(t.Context(), d, "x")
	e := wantFault(t, err, fault.Unavailable, "service_account_refused")
	if e.Owner != fault.Admin {
		t.Errorf("owner = %q, want admin", e.Owner)
	}

	src.Rev++
	src.ServiceAccount = &driverfactory.ServiceAccount{User: "svc", Password: driverfactory.NewSecret("pw")}
	w.answer(func(c *fakeConn, _ string) ([][]driver.Value, error) {
		return [][]driver.Value{{fmt.Sprintf("%v %s", c.token == "", c.account.User)}}, nil
	})
	if got, err := query(t.Context(), w.open(t, src, driverfactory.Background), "x"); err != nil || got[0] != "true svc" {
		t.Errorf("query = %v, %v; want a login by user and password, without a token", got, err)
	}
}

func BenchmarkIdleDriver(b *testing.B) {
	grantsOf := &warehouse{}
	f := driverfactory.New(driverfactory.Config{Warehouses: map[string]driverfactory.Warehouse{"fake": grantsOf}})
	src := source()
	src.OAuthApp, src.ServiceAccount = "", &driverfactory.ServiceAccount{User: "svc", Password: driverfactory.NewSecret("pw")}
	choice, err := f.Choose(b.Context(), alice, src, driverfactory.UserQuery)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		d, err := f.Open(choice)
		if err != nil {
			b.Fatal(err)
		}
		runtime.KeepAlive(d)
	}
}
