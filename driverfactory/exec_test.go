package driverfactory_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
)

func exec(ctx context.Context, d driverfactory.Driver, sql string) error {
	return d.(driverfactory.Maker).Exec(ctx, driverfactory.Statement{SQL: sql})
}

// diary is what each session of a warehouse ran: "1 allow", "1 make".
type diary struct {
	mu    sync.Mutex
	lines []string
	fails map[string]error // of a line; once
}

func (d *diary) run(c *fakeConn, query string) ([][]driver.Value, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	line := fmt.Sprint(c.n, " ", query)
	d.lines = append(d.lines, line)
	err := d.fails[line]
	delete(d.fails, line)
	if err == errPanic {
		panic(err)
	}
	if err != nil {
		return nil, err
	}
	return [][]driver.Value{{c.token}}, nil
}

var errPanic = errors.New("fake: panic")

func TestASessionThatMayWriteIsNeverLentToAQuery(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fails map[string]error
		want  string // what the sessions ran, with a query at the end
		code  string // of the failure
	}{
		{"it is forbidden again", nil, "1 allow, 1 make, 1 forbid, 1 who", ""},
		{"after a wrong statement too", map[string]error{"1 make": errStatement}, "1 allow, 1 make, 1 forbid, 1 who", "database_error"},
		{"after a missing permission too", map[string]error{"1 make": errDenied}, "1 allow, 1 make, 1 forbid, 1 who", "database_denied"},
		{"one that cannot be forbidden is closed", map[string]error{"1 forbid": errStatement}, "1 allow, 1 make, 1 forbid, 2 who", "database_error"},
		{"so is one whose statement failed before that", map[string]error{"1 make": errDenied, "1 forbid": errTransport},
			"1 allow, 1 make, 1 forbid, 2 who", "database_denied"},
		{"one that is not allowed is closed: nobody knows what it may", map[string]error{"1 allow": errStatement}, "1 allow, 2 who", "database_error"},
		{"one that is lost is closed, and nobody runs the statement again", map[string]error{"1 make": errLost}, "1 allow, 1 make, 2 who", "session_lost"},
		{"as is one that does not answer", map[string]error{"1 make": errTransport}, "1 allow, 1 make, 2 who", "data_source_unreachable"},
		{"as is one whose statement is cancelled", map[string]error{"1 make": errCanceled}, "1 allow, 1 make, 2 who", "database_canceled"},
		{"as is one whose token is refused in the middle", map[string]error{"1 make": errAuth}, "1 allow, 1 make, 2 who", "reauthorization_required"},
		{"one that is lost before the statement is replaced", map[string]error{"1 allow": errLost}, "1 allow, 2 allow, 2 make, 2 forbid, 2 who", ""},
		{"as is one whose token is refused before the statement", map[string]error{"1 allow": errAuth}, "1 allow, 2 allow, 2 make, 2 forbid, 2 who", ""},
		{"one whose driver panics is closed", map[string]error{"1 make": errPanic}, "1 allow, 1 make, 2 who", "panic"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, &warehouse{atLogin: true, allow: "allow", forbid: "forbid"}, nil)
			w.grants.OnRefused(func(old driverfactory.Token) (driverfactory.Token, error) { return tok(old.Epoch, old.Revision+1), nil })
			ran := &diary{fails: tt.fails}
			w.answer(ran.run)
			err := func() (err error) {
				defer func() {
					if p := recover(); p != nil {
						err = &fault.Error{Kind: fault.Unavailable, Code: "panic"}
					}
				}()
				return exec(t.Context(), w.driver, "make")
			}()
			code := ""
			if e, ok := errors.AsType[*fault.Error](err); ok {
				code = e.CodeOrKind()
			}
			if code != tt.code || (err == nil) != (tt.code == "") {
				t.Errorf("Exec = %v, want the code %q", err, tt.code)
			}
			if strings.Contains(fmt.Sprint(err), "abcdefgh12345678") {
				t.Errorf("a secret is in %v", err)
			}
			if _, err := query(t.Context(), w.driver, "who"); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(ran.lines, ", "); got != tt.want {
				t.Errorf("the sessions ran\n%s, want\n%s", got, tt.want)
			}
			if got := w.openSessions(); got != 1 {
				t.Errorf("%d sessions are open, want the last one alone", got)
			}
		})
	}
}

func TestWhereASessionIsNotToldItIsSeenToLiveBeforeAStatementThatWrites(t *testing.T) {
	w := newWorld(t, &warehouse{}, nil)
	ran := &diary{fails: map[string]error{"1 SELECT 1": errLost}}
	w.answer(ran.run)
	if err := exec(t.Context(), w.driver, "make"); err != nil {
		t.Fatal(err)
	}
	if want := []string{"1 SELECT 1", "2 SELECT 1", "2 make"}; !slices.Equal(ran.lines, want) {
		t.Errorf("the sessions ran %q, want %q", ran.lines, want)
	}
}

func TestAStatementThatWritesEndsInTimeAndWithItsCaller(t *testing.T) {
	for _, tt := range []struct {
		name, code string
		kind       fault.Kind
		leave      time.Duration // when its caller does
		took       time.Duration
	}{
		{"it takes longer than the source allows", "query_timeout", fault.Timeout, time.Hour, time.Minute},
		{"its caller leaves", "query_canceled", fault.Canceled, time.Second, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, &warehouse{allow: "allow", forbid: "forbid"}, nil)
				src := source()
				src.Limits.QueryTimeout = time.Minute
				d := w.open(t, src, driverfactory.UserQuery)
				defer d.Close()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				defer time.AfterFunc(tt.leave, cancel).Stop()
				began := time.Now()
				wantFault(t, exec(ctx, d, "wait"), tt.kind, tt.code)
				if took := time.Since(began); took != tt.took {
					t.Errorf("it took %v, want %v", took, tt.took)
				}
				if open, _ := d.Stats(); open != 0 {
					t.Errorf("%d sessions are open, want none that might write", open)
				}
			})
		})
	}
}

func TestNothingIsMadeAtASourceThatIsOnlyRead(t *testing.T) {
	w := newWorld(t, &warehouse{}, func(cfg *driverfactory.Config) {
		cfg.Warehouses["fake"] = struct{ driverfactory.Warehouse }{cfg.Warehouses["fake"]}
	})
	e := wantFault(t, exec(t.Context(), w.driver, "make"), fault.Invalid, "source_read_only")
	if !strings.Contains(e.Detail, `"sales"`) {
		t.Errorf("the detail is %q, want it to name the source", e.Detail)
	}
	if logins := w.loginTokens(); len(logins) != 0 {
		t.Errorf("%d logins, want none", len(logins))
	}
}

func TestASessionThatWritesWaitsForItsPlace(t *testing.T) {
	full := fault.New(fault.TooMany, "no place")
	w := newWorld(t, &warehouse{}, func(cfg *driverfactory.Config) {
		cfg.Admit = func(context.Context, driverfactory.PoolKey) (func(), error) { return nil, full }
	})
	if err := exec(t.Context(), w.driver, "make"); !errors.Is(err, fault.TooMany) {
		t.Errorf("Exec = %v, want what Admit answered", err)
	}
}
