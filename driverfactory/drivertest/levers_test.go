//go:build cgo

package drivertest_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/driverfactory/databricks"
	"github.com/behalf-project/behalf/driverfactory/drivertest"
	"github.com/behalf-project/behalf/driverfactory/postgres"
	"github.com/behalf-project/behalf/driverfactory/snowflake"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/sandbox/engine"
)

// open returns a driver under alice's grant at s.
func open(t *testing.T, s drivertest.Server, limits driverfactory.Limits) (driverfactory.Driver, *drivertest.Grants) {
	t.Helper()
	grants := drivertest.NewGrants()
	grants.Set(driverfactory.Token{Value: driverfactory.NewSecret("token-of-alice"), Status: "active", Epoch: 1, Revision: 1})
	s.Accept(t, drivertest.User, "token-of-alice")
	f := driverfactory.New(driverfactory.Config{
		Credentials: grants, Warehouses: map[string]driverfactory.Warehouse{s.Source.Type: s.Warehouse},
	})
	src := s.Source
	src.Name, src.OAuthApp, src.Limits = "source", "app", limits
	choice, err := f.Choose(t.Context(), driverfactory.SecurityContext{
		Principal: driverfactory.Principal{Realm: "local", Subject: "usr_alice"}, Username: drivertest.User,
	}, src, driverfactory.UserQuery)
	if err != nil {
		t.Fatal(err)
	}
	d, err := f.Open(choice)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d, grants
}

// run runs a statement to its end.
func run(ctx context.Context, d driverfactory.Driver, sql string) error {
	r, err := d.Query(ctx, driverfactory.Statement{SQL: sql})
	if err != nil {
		return err
	}
	defer r.Close()
	for row := make([]any, len(r.Columns())); ; {
		if more, err := r.Next(row); err != nil || !more {
			return err
		}
	}
}

func works(t *testing.T, d driverfactory.Driver, when string) {
	t.Helper()
	if err := run(t.Context(), d, "SELECT 1"); err != nil {
		t.Fatalf("%s: %v (cause %v), want an answer", when, err, errors.Unwrap(err))
	}
}

// ran counts the statements with this text in them.
func ran(e *engine.Engine, text string) int {
	n := 0
	for _, s := range e.Log.Statements() {
		if strings.Contains(s.SQL, text) {
			n++
		}
	}
	return n
}

func TestDatabricksOnABadDay(t *testing.T) {
	e := shop(t)
	s, server := emulatedDatabricks(t, e)
	d, grants := open(t, s, driverfactory.Limits{})
	works(t, d, "at first")

	server.SetLostSessionsAsStatus(true)
	server.DropSessions("")
	works(t, d, "after a session was lost, told as a Thrift status")
	server.SetLostSessionsAsStatus(false)

	server.DropSessions("")
	server.FailNext(2, 503, 0)
	if err := run(t.Context(), d, "SELECT 2"); !errors.Is(err, fault.Unavailable) {
		t.Errorf("a statement that was turned away: %v, want unavailable: it is not sent twice", err)
	}
	server.FailNext(2, 429, time.Second)
	works(t, d, "after a login was turned away twice")

	server.CutNext(1)
	err := run(t.Context(), d, "SELECT 'cut'")
	if f, _ := errors.AsType[*fault.Error](err); f == nil || f.Code != "data_source_unreachable" {
		t.Errorf("a warehouse that dies in the middle of a statement: %v, want data_source_unreachable", err)
	}
	if n := ran(e, "'cut'"); n != 1 {
		t.Errorf("the statement ran %d times, want once: nobody knows whether it did", n)
	}
	works(t, d, "after the warehouse died")

	server.SetPolling(true)
	works(t, d, "when statements must be polled for")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if err := run(ctx, d, "SELECT 1 /* sandbox:sleep=60s */"); !errors.Is(err, fault.Canceled) {
		t.Errorf("a caller who leaves while polling: %v, want cancelled", err)
	}
	until(t, "the polled statement to be cancelled", func() bool { return !running(e) })
	if n := grants.RefusedCalls(); n != 0 {
		t.Errorf("%d forced refreshes, want none on a day like this", n)
	}
}

func TestSnowflakeOnABadDay(t *testing.T) {
	e := shop(t)
	s, server := emulatedSnowflake(t, e)
	d, grants := open(t, s, driverfactory.Limits{})
	works(t, d, "at first")
	sessions := server.Sessions("")

	s.End(t, drivertest.User, "token-of-alice")
	works(t, d, "after the token ended in a live session")
	server.ExpireSessionTokens("")
	works(t, d, "after the session token ended")
	if server.Sessions("") != sessions {
		t.Errorf("%d sessions, want the one from before", server.Sessions(""))
	}
	s.Accept(t, drivertest.User, "token-of-alice")

	server.ExpireMasterTokens("")
	works(t, d, "after the master token ended")
	server.DropSessions("")
	works(t, d, "after the session was dropped")

	server.CutNext(1)
	_ = run(t.Context(), d, "SELECT 'cut'") // a retry with the same request id may bring the answer
	if n := ran(e, "'cut'"); n != 1 {
		t.Errorf("the statement ran %d times, want once", n)
	}
	works(t, d, "after the warehouse died")
	if n := grants.RefusedCalls(); n != 0 {
		t.Errorf("%d forced refreshes, want none on a day like this", n)
	}
}

func TestAnAddressWhereNobodyAnswers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	for kind, wh := range map[string]driverfactory.Warehouse{
		"databricks": databricks.New(databricks.Config{}), "snowflake": snowflake.New(snowflake.Config{}), "postgres": postgres.New(),
	} {
		options := map[string]map[string]string{
			"databricks": {"host": "http://" + host + ":" + port, "http_path": "/sql/1.0/warehouses/x"},
			"snowflake":  {"account": "x", "host": host, "port": port, "protocol": "http"},
			"postgres":   {"host": host, "port": port, "database": "d"},
		}[kind]
		src := driverfactory.Source{Name: "source", Type: kind, Options: options}
		f := driverfactory.New(driverfactory.Config{Warehouses: map[string]driverfactory.Warehouse{kind: wh}})
		err := f.Reach(t.Context(), src)
		if e, _ := errors.AsType[*fault.Error](err); e == nil || e.Code != "data_source_unreachable" || e.Params["data_source"] != "source" {
			t.Errorf("%s: Reach = %v, want data_source_unreachable", kind, err)
		}
	}
}

// TestPeopleAtOnce runs two people against one warehouse while its sessions are dropped again and again: sessions are
// replaced, no session is poisoned, and everybody's answers are their own.
func TestPeopleAtOnce(t *testing.T) {
	for name, emulated := range map[string]func(*testing.T) (drivertest.Server, func()){
		"databricks": func(t *testing.T) (drivertest.Server, func()) {
			s, server := emulatedDatabricks(t, shop(t))
			return s, func() { server.DropSessions("") }
		},
		"snowflake": func(t *testing.T) (drivertest.Server, func()) {
			s, server := emulatedSnowflake(t, shop(t))
			return s, func() { server.DropSessions("") }
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, drop := emulated(t)
			grants := everybody{}
			f := driverfactory.New(driverfactory.Config{
				Credentials: grants, Warehouses: map[string]driverfactory.Warehouse{s.Source.Type: s.Warehouse},
			})
			src := s.Source
			src.Name, src.OAuthApp, src.Limits.PerUserConnections = "source", "app", 4
			var wg sync.WaitGroup
			var answers atomic.Int32
			stop := make(chan struct{})
			var dropper sync.WaitGroup
			dropper.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(20 * time.Millisecond):
						drop()
					}
				}
			})
			for _, user := range []string{"ann", "ben"} {
				s.Accept(t, user, "token-of-"+user)
				choice, err := f.Choose(t.Context(), driverfactory.SecurityContext{
					Principal: driverfactory.Principal{Realm: "local", Subject: user}, Username: user,
				}, src, driverfactory.UserQuery)
				if err != nil {
					t.Fatal(err)
				}
				d, err := f.Open(choice)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = d.Close() })
				for range 4 {
					wg.Go(func() {
						for range 20 {
							r, err := d.Query(t.Context(), driverfactory.Statement{SQL: "SELECT current_user()"})
							if err != nil {
								// A statement that ran when its session was dropped is told so, and not run twice.
								if f, _ := errors.AsType[*fault.Error](err); f != nil && (f.Code == "database_canceled" || f.Code == "session_lost") {
									continue
								}
								t.Errorf("%s: %v (cause %v)", user, err, errors.Unwrap(err))
								return
							}
							row := make([]any, 1)
							more, err := r.Next(row)
							if more && err == nil {
								answers.Add(1)
							}
							if more && err == nil && !strings.EqualFold(row[0].(string), user) {
								t.Errorf("%s was answered as %v", user, row[0])
							}
							_ = r.Close()
						}
					})
				}
			}
			wg.Wait()
			close(stop)
			dropper.Wait()
			if n := answers.Load(); n < 80 {
				t.Errorf("%d of 160 statements were answered, want at least half on such a day", n)
			}
		})
	}
}

// everybody is everybody's grants.
type everybody struct{}

func (everybody) Token(_ context.Context, p driverfactory.Principal, _ string) (driverfactory.Token, error) {
	return driverfactory.Token{Value: driverfactory.NewSecret("token-of-" + p.Subject), Status: "active", Epoch: 1, Revision: 1}, nil
}

func (everybody) Refused(context.Context, driverfactory.Principal, string, driverfactory.Token) (driverfactory.Token, error) {
	return driverfactory.Token{}, fault.New(fault.ReauthorizationRequired, "refused")
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}
