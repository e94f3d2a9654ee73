package driverfactory_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/driverfactory/drivertest"
	"github.com/behalf-project/behalf/internal/fault"
)

// The errors that the fake warehouse answers with, one per class.
var (
	errStatement = errors.New("fake: statement failed: Bearer abcdefgh12345678")
	errLost      = errors.New("fake: session lost")
	errAuth      = errors.New("fake: token refused")
	errDenied    = errors.New("fake: permission missing")
	errCanceled  = errors.New("fake: cancelled by the server")
	errTransport = errors.New("fake: no answer")
	errSettings  = errors.New("fake: no such warehouse")
)

// warehouse is a Warehouse in memory: each session runs what run says, or answers one row with the token it logged in
// with. It counts what a real one would feel.
type warehouse struct {
	atLogin bool
	free    bool
	allow   string // the statement after which a session writes
	forbid  string

	mu      sync.Mutex
	run     func(s *fakeConn, query string) ([][]driver.Value, error)
	connect func(tok driverfactory.Token) error
	logins  []string // the token of each
	open    int
	reset   int
}

func (w *warehouse) Check(src driverfactory.Source) error {
	c := driverfactory.NewChecker(src, "host")
	c.Required("host", "db.example.com")
	return c.Err()
}

func (w *warehouse) Connector(src driverfactory.Source, login driverfactory.Login) (driver.Connector, error) {
	return &fakeConnector{w: w, login: login}, nil
}

func (w *warehouse) Classify(err error) driverfactory.Class {
	for class, e := range map[driverfactory.Class]error{
		driverfactory.SessionLost: errLost, driverfactory.AuthExpired: errAuth, driverfactory.AccessDenied: errDenied,
		driverfactory.Canceled: errCanceled, driverfactory.TransportFailed: errTransport, driverfactory.Misconfigured: errSettings,
	} {
		if errors.Is(err, e) {
			return class
		}
	}
	return driverfactory.StatementFailed
}

func (w *warehouse) TokenAtLogin() bool { return w.atLogin }
func (w *warehouse) LoginFree() bool    { return w.free }

func (w *warehouse) Value(_ string, _ int64, v any) any { return v }

func (w *warehouse) answer(run func(s *fakeConn, query string) ([][]driver.Value, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.run = run
}

func (w *warehouse) loginTokens() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.logins)
}

func (w *warehouse) openSessions() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.open
}

type fakeConnector struct {
	w     *warehouse
	login driverfactory.Login
}

func (c *fakeConnector) Driver() driver.Driver { return nil }

func (c *fakeConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn := &fakeConn{w: c.w, account: c.login.Account}
	var tok driverfactory.Token
	if c.login.Token != nil {
		var err error
		if tok, err = c.login.Token(ctx); err != nil {
			return nil, err
		}
	}
	conn.token = tok.Value.Reveal()
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	c.w.logins = append(c.w.logins, conn.token)
	if c.w.connect != nil {
		if err := c.w.connect(tok); err != nil {
			return nil, err
		}
	}
	c.w.open++
	conn.n = len(c.w.logins)
	return conn, nil
}

type fakeConn struct {
	w       *warehouse
	n       int // counts logins from 1
	token   string
	account *driverfactory.ServiceAccount
}

func (c *fakeConn) QueryContext(ctx context.Context, query string, _ []driver.NamedValue) (driver.Rows, error) {
	c.w.mu.Lock()
	run := c.w.run
	c.w.mu.Unlock()
	if query == "wait" {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if run == nil {
		return &fakeRows{rows: [][]driver.Value{{c.token}}}, nil
	}
	rows, err := run(c, query)
	if err != nil && rows == nil {
		return nil, err
	}
	return &fakeRows{rows: rows, end: err}, nil
}

// Writing names statements that change nothing: run sees them.
func (w *warehouse) Writing() (allow, forbid string) { return w.allow, w.forbid }

func (c *fakeConn) ExecContext(ctx context.Context, query string, _ []driver.NamedValue) (driver.Result, error) {
	rows, err := c.QueryContext(ctx, query, nil)
	if err != nil {
		return nil, err
	}
	return driver.RowsAffected(0), rows.Close()
}

func (c *fakeConn) ResetSession(context.Context) error {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	c.w.reset++
	return nil
}

func (c *fakeConn) Prepare(string) (driver.Stmt, error) {
	return nil, errors.New("fake: no statements")
}
func (c *fakeConn) Begin() (driver.Tx, error) { return nil, errors.New("fake: no transactions") }
func (c *fakeConn) Close() error {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	c.w.open--
	return nil
}

type fakeRows struct {
	rows [][]driver.Value
	end  error // after the last row; nil for the ordinary end
}

func (r *fakeRows) Columns() []string { return []string{"c"} }
func (r *fakeRows) Close() error      { return nil }
func (r *fakeRows) Next(dest []driver.Value) error {
	if len(r.rows) == 0 {
		if r.end != nil {
			return r.end
		}
		return io.EOF
	}
	copy(dest, r.rows[0])
	r.rows = r.rows[1:]
	return nil
}

var alice = driverfactory.SecurityContext{
	Domain: "dom_1", Principal: driverfactory.Principal{Realm: "local", Subject: "usr_alice"}, Username: "alice",
}

// tok returns alice's token of this epoch and revision.
func tok(epoch, revision int64) driverfactory.Token {
	return driverfactory.Token{
		Value:  driverfactory.NewSecret(fmt.Sprintf("token-%d-%d", epoch, revision)),
		Status: "active", Epoch: epoch, Revision: revision,
	}
}

// source returns a source of the fake warehouse that alice connects the app "wh" for.
func source() driverfactory.Source {
	return driverfactory.Source{
		Domain: "dom_1", Name: "sales", Rev: 3, Type: "fake", OAuthApp: "wh", Options: map[string]string{"host": "h"},
	}
}

// world is a factory over the fake warehouse and a driver under alice's grant.
type world struct {
	*warehouse
	grants  *drivertest.Grants
	factory *driverfactory.Factory
	driver  driverfactory.Driver
}

func newWorld(t *testing.T, wh *warehouse, configure func(*driverfactory.Config)) *world {
	t.Helper()
	w := &world{warehouse: wh, grants: drivertest.NewGrants()}
	w.grants.Set(tok(1, 1))
	cfg := driverfactory.Config{Credentials: w.grants, Warehouses: map[string]driverfactory.Warehouse{"fake": wh}}
	if configure != nil {
		configure(&cfg)
	}
	w.factory = driverfactory.New(cfg)
	w.driver = w.open(t, source(), driverfactory.UserQuery)
	return w
}

func (w *world) open(t *testing.T, src driverfactory.Source, op driverfactory.Operation) driverfactory.Driver {
	t.Helper()
	choice, err := w.factory.Choose(t.Context(), alice, src, op)
	if err != nil {
		t.Fatalf("Choose = %v", err)
	}
	d, err := w.factory.Open(choice)
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// query runs a statement and returns the first column.
func query(ctx context.Context, d driverfactory.Driver, sql string) ([]any, error) {
	r, err := d.Query(ctx, driverfactory.Statement{SQL: sql})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var out []any
	for row := make([]any, 1); ; {
		more, err := r.Next(row)
		if err != nil || !more {
			return out, err
		}
		out = append(out, row[0])
	}
}

// wants fails the test unless the driver answers with the one value want.
func (w *world) wants(t *testing.T, want string) {
	t.Helper()
	got, err := query(t.Context(), w.driver, "who")
	if err != nil || len(got) != 1 || got[0] != want {
		t.Fatalf("query = %v, %v; want %q", got, err, want)
	}
}

func wantFault(t *testing.T, err error, kind fault.Kind, code string) *fault.Error {
	t.Helper()
	e, ok := errors.AsType[*fault.Error](err)
	if !ok || e.Kind != kind || e.CodeOrKind() != code {
		t.Fatalf("error = %v, want %s with code %s", err, kind, code)
	}
	if e.Params["data_source"] != "sales" {
		t.Errorf("params = %v, want the data source", e.Params)
	}
	return e
}

var epoch = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
