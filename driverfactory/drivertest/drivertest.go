// Package drivertest is the suite that every adapter of driverfactory passes, against a server that speaks its
// warehouse's protocol.
//
// TestWarehouse drives the adapter through a Factory, as the program does, so that it checks the two together: rows
// and their types, what each failure becomes, and what happens to sessions when tokens end, sessions are lost and
// callers leave.
package drivertest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
)

// Server is the other end of an adapter, with the levers that the suite pulls. Fields whose ability a server lacks
// are nil, and what needs them is not tested.
type Server struct {
	// Warehouse and Source are what is tested. The suite gives Source an OAuth app where Accept is set; elsewhere
	// it runs as the source's service account.
	Warehouse driverfactory.Warehouse
	Source    driverfactory.Source

	// Accept makes the server take token for the person called user, in place of the one before.
	Accept func(t *testing.T, user, token string)

	// End makes the server refuse token as one whose time is over.
	End func(t *testing.T, user, token string)

	// Drop makes the server forget its sessions, as a restart does.
	Drop func(t *testing.T)

	// Sessions returns how many sessions the server has open.
	Sessions func(t *testing.T) int

	// Running reports whether the server runs Slow. Without it a statement runs as long as Query does: in process.
	Running func(t *testing.T) bool

	// Settle closes what clients keep open on purpose, such as idle HTTP connections.
	Settle func()

	Reads  []Read // statements and what they return
	Many   string // returns the numbers from 1 to 25000 in order, in one column
	Slow   string // takes a minute
	Wrong  string // is not SQL
	Denied string // names what alice may not read; empty where everybody may read everything

	Makes *Makes // what alice may make; nil where nothing can be written
}

// Makes is a table that is made at a server.
type Makes struct {
	Schema string                  // makes the schema of the table, if it is not there; empty where there is one
	Table  driverfactory.Statement // makes the table, with parameters
	Read   Read                    // reads it
	Drop   string                  // drops it, if it is there
	Slow   string                  // takes a minute to make the same table
	Denied string                  // makes a table of what alice may not read

	Loosens string // reads, and lets its session write from then on; empty where nothing does

	Untold bool // a session is not told that it only reads: Query is kept from writing by nothing but whoever writes its statement
}

// Read is a statement and its result.
type Read struct {
	Name    string
	SQL     string
	Args    []any
	Columns []driverfactory.Column
	Rows    [][]any
}

// User is the person who asks.
const User = "alice"

// patience bounds every wait of the suite for something that must happen.
const patience = 20 * time.Second

// TestWarehouse runs the suite. open returns a server of its own, which lives until the test ends; alice may read
// there what s.Reads needs.
func TestWarehouse(t *testing.T, open func(t *testing.T) Server) {
	for _, tt := range []struct {
		name string
		run  func(*testing.T, *world)
	}{
		{"rows have the promised types", testReads},
		{"a long result arrives whole and in order", testMany},
		{"a wrong statement is told as the database tells it, and its session goes on", testWrong},
		{"a missing permission is no reason to refresh or to fall back", testDenied},
		{"a refused token is refreshed and the statement runs once more, unseen", testExpired},
		{"a token that is refused again is the person's to renew", testRefusedAgain},
		{"the refusal of a revoked grant is passed on, with its source", testRevoked},
		{"a grant that was replaced runs nothing more on the old driver", testReplaced},
		{"a lost session is replaced unseen", testLost},
		{"a caller who leaves cancels the statement at the server", testCancel},
		{"a statement that takes too long is cancelled", testTimeout},
		{"rows closed half-way end the statement and the session", testHalfway},
		{"a table is made, read and dropped", testMake},
		{"only what may write writes: not a query, whatever came before it", testQueryOnlyReads},
		{"a table is made with a token that was refreshed, unseen", testMakeExpired},
		{"a table is made on a session in place of a lost one", testMakeLost},
		{"nothing is made where nothing can be written", testMakeNothing},
		{"a session tells its role, if the sources may share by it", testRole},
		{"a closed driver leaves nothing behind", testLeak},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.run(t, newWorld(t, open(t)))
		})
	}
}

// world is one server, a factory, and a driver under alice's grant.
type world struct {
	Server
	grants  *Grants
	factory *driverfactory.Factory
	choice  driverfactory.Choice
	driver  driverfactory.Driver
}

func newWorld(t *testing.T, s Server) *world {
	t.Helper()
	w := &world{Server: s, grants: NewGrants()}
	w.Source.Domain, w.Source.Name, w.Source.Rev = "dom_test", "source", 1
	if s.Accept != nil {
		w.Source.OAuthApp = "app"
		w.grants.Set(driverfactory.Token{Value: token(1), Status: "active", Epoch: 1, Revision: 1})
		s.Accept(t, User, token(1).Reveal())
	}
	w.factory = driverfactory.New(driverfactory.Config{
		Credentials: w.grants,
		Warehouses:  map[string]driverfactory.Warehouse{w.Source.Type: s.Warehouse},
	})
	if err := w.factory.Check(w.Source); err != nil {
		t.Fatalf("Check = %v", err)
	}
	w.choice, w.driver = w.open(t)
	return w
}

func (w *world) open(t *testing.T) (driverfactory.Choice, driverfactory.Driver) {
	t.Helper()
	sc := driverfactory.SecurityContext{
		Principal: driverfactory.Principal{Realm: "local", Subject: "usr_alice"}, Username: User,
	}
	choice, err := w.factory.Choose(t.Context(), sc, w.Source, driverfactory.UserQuery)
	if err != nil {
		t.Fatalf("Choose = %v", err)
	}
	d, err := w.factory.Open(choice)
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return choice, d
}

// token returns the n-th token of alice. It is long and odd enough to be found in any text it leaks into.
func token(n int) driverfactory.Secret {
	return driverfactory.NewSecret(fmt.Sprintf("tok-%d-of-alice-0xA11CE5ECE7", n))
}

// query runs a statement and returns all of its rows.
func query(ctx context.Context, d driverfactory.Driver, sql string, args ...any) ([]driverfactory.Column, [][]any, error) {
	r, err := d.Query(ctx, driverfactory.Statement{SQL: sql, Args: args})
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	var out [][]any
	for {
		row := make([]any, len(r.Columns()))
		more, err := r.Next(row)
		if err != nil || !more {
			return r.Columns(), out, err
		}
		out = append(out, row)
	}
}

// testRole checks that two sessions of one person tell the same role, before a statement and beside it. A warehouse that cannot
// tell one has no sources that share by it.
func testRole(t *testing.T, w *world) {
	w.Source.CacheScope = driverfactory.CacheRole
	err := w.factory.Check(w.Source)
	if _, tells := w.Warehouse.(driverfactory.RoleTeller); !tells {
		e := wantFault(t, err, fault.Invalid, "invalid_data_source")
		if len(e.Fields) != 1 || e.Fields[0].Pointer != "cache_scope" {
			t.Errorf("Check = %+v, want the field cache_scope", e.Fields)
		}
		return
	}
	if err != nil {
		t.Fatalf("Check = %v", err)
	}
	_, d := w.open(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	rows, err := d.Query(ctx, driverfactory.Statement{SQL: "SELECT 1"})
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	role, err := d.(driverfactory.Roles).Role(ctx) // in another session
	if err != nil || role == "" || role != rows.(driverfactory.RoleRows).Role() {
		t.Errorf("Role = %q, %v, and that of rows %q; want the same, and a known one", role, err, rows.(driverfactory.RoleRows).Role())
	}
}

// works fails the test unless the driver answers a statement.
func (w *world) works(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, rows, err := query(ctx, w.driver, "SELECT 41 + 1"); err != nil || len(rows) != 1 {
		t.Fatalf("SELECT 41 + 1 = %v, %v; want one row", rows, explain(err))
	}
}

func testReads(t *testing.T, w *world) {
	for _, r := range w.Reads {
		t.Run(r.Name, func(t *testing.T) {
			columns, rows, err := query(t.Context(), w.driver, r.SQL, r.Args...)
			if err != nil {
				t.Fatal(explain(err))
			}
			if r.Columns != nil && !reflect.DeepEqual(columns, r.Columns) {
				t.Errorf("columns = %v, want %v", columns, r.Columns)
			}
			wantRows(t, rows, r.Rows)
		})
	}
	if err := w.driver.Ping(t.Context()); err != nil {
		t.Errorf("Ping = %v, want nil", explain(err))
	}
	if err := w.factory.Reach(t.Context(), w.Source); err != nil {
		t.Errorf("Reach = %v, want nil", explain(err))
	}
}

func testMany(t *testing.T, w *world) {
	_, rows, err := query(t.Context(), w.driver, w.Many)
	if err != nil {
		t.Fatal(explain(err))
	}
	if len(rows) != 25_000 {
		t.Fatalf("%d rows, want 25000", len(rows))
	}
	for i, row := range rows {
		if row[0] != int64(i+1) {
			t.Fatalf("row %d = %#v, want %d", i, row[0], i+1)
		}
	}
	if open, idle := w.driver.Stats(); open != 1 || idle != 1 {
		t.Errorf("Stats = %d open, %d idle; want 1, 1", open, idle)
	}
}

func testWrong(t *testing.T, w *world) {
	w.works(t)
	_, _, err := query(t.Context(), w.driver, w.Wrong)
	wantFault(t, err, fault.Invalid, "database_error")
	if open, _ := w.driver.Stats(); open != 1 {
		t.Errorf("%d sessions open after a wrong statement, want the one from before", open)
	}
	w.works(t)
	if n := w.grants.RefusedCalls(); n != 0 {
		t.Errorf("a wrong statement led to %d refreshes, want 0", n)
	}
}

func testDenied(t *testing.T, w *world) {
	if w.Denied == "" {
		return
	}
	_, _, err := query(t.Context(), w.driver, w.Denied)
	e := wantFault(t, err, fault.Denied, "database_denied")
	if e != nil && e.Owner != fault.Database {
		t.Errorf("owner = %q, want %q", e.Owner, fault.Database)
	}
	if n := w.grants.RefusedCalls(); n != 0 {
		t.Errorf("a missing permission led to %d refreshes, want 0", n)
	}
	w.works(t)
}

func testExpired(t *testing.T, w *world) {
	if w.Accept == nil {
		return
	}
	w.End(t, User, token(1).Reveal())
	w.grants.OnRefused(func(old driverfactory.Token) (driverfactory.Token, error) {
		next := driverfactory.Token{Value: token(2), Status: "active", Epoch: 1, Revision: old.Revision + 1}
		w.Accept(t, User, token(2).Reveal())
		return next, nil
	})
	w.works(t)
	w.works(t)
	if n := w.grants.RefusedCalls(); n != 1 {
		t.Errorf("%d forced refreshes, want 1", n)
	}
}

func testRefusedAgain(t *testing.T, w *world) {
	if w.Accept == nil {
		return
	}
	w.End(t, User, token(1).Reveal())
	w.grants.OnRefused(func(old driverfactory.Token) (driverfactory.Token, error) {
		return driverfactory.Token{Value: token(2), Status: "active", Epoch: 1, Revision: old.Revision + 1}, nil
	})
	_, _, err := query(t.Context(), w.driver, "SELECT 1")
	wantFault(t, err, fault.ReauthorizationRequired, "reauthorization_required")
	if n := w.grants.RefusedCalls(); n != 1 {
		t.Errorf("%d forced refreshes, want 1", n)
	}
}

func testRevoked(t *testing.T, w *world) {
	if w.Accept == nil {
		return
	}
	w.works(t)
	w.End(t, User, token(1).Reveal())
	if w.Drop != nil {
		w.Drop(t) // what the revocation at the provider does to a session that was open
	}
	w.grants.OnRefused(func(driverfactory.Token) (driverfactory.Token, error) {
		return driverfactory.Token{}, &fault.Error{Kind: fault.ReauthorizationRequired, Detail: "it was revoked",
			Params: map[string]string{"status": "revoked"}}
	})
	_, _, err := query(t.Context(), w.driver, "SELECT 1")
	e := wantFault(t, err, fault.ReauthorizationRequired, "reauthorization_required")
	if e != nil && (e.Detail != "it was revoked" || e.Params["status"] != "revoked" || e.Params["oauth_app"] != "app") {
		t.Errorf("refusal = %q with %v, want that of Credentials with its source", e.Detail, e.Params)
	}
}

func testReplaced(t *testing.T, w *world) {
	if w.Accept == nil {
		return
	}
	w.works(t)
	w.Accept(t, User, token(2).Reveal())
	w.grants.Set(driverfactory.Token{Value: token(2), Status: "active", Epoch: 2, Revision: 2})
	_, _, err := query(t.Context(), w.driver, "SELECT 1")
	wantFault(t, err, fault.Conflict, "credential_superseded")

	choice, d := w.open(t)
	if choice.Key == w.choice.Key {
		t.Errorf("the new grant has the key of the old one: %+v", choice.Key)
	}
	if _, _, err := query(t.Context(), d, "SELECT 1"); err != nil {
		t.Errorf("under the new grant: %v", explain(err))
	}
}

func testLost(t *testing.T, w *world) {
	if w.Drop == nil {
		return
	}
	for range 3 {
		w.works(t)
		w.Drop(t)
	}
	w.works(t)
	if n := w.grants.RefusedCalls(); n != 0 {
		t.Errorf("a lost session led to %d refreshes, want 0", n)
	}
}

func testCancel(t *testing.T, w *world) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, _, err := query(ctx, w.driver, w.Slow)
		done <- err
	}()
	w.await(t, "the statement to run", func() bool { return w.running(t) })
	cancel()
	select {
	case err := <-done:
		wantFault(t, err, fault.Canceled, "query_canceled")
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error = %v, want one that is context.Canceled", err)
		}
	case <-time.After(patience):
		t.Fatal("Query did not return after its context ended")
	}
	w.await(t, "the statement to end at the server", func() bool { return !w.running(t) })
	if _, idle := w.driver.Stats(); idle != 0 {
		t.Errorf("%d idle sessions after a cancelled statement, want none that was cut half-way", idle)
	}
	w.works(t)
}

func testTimeout(t *testing.T, w *world) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, _, err := query(ctx, w.driver, w.Slow)
	wantFault(t, err, fault.Timeout, "query_timeout")
	w.await(t, "the statement to end at the server", func() bool { return !w.running(t) })
	w.works(t)
}

func testHalfway(t *testing.T, w *world) {
	r, err := w.driver.Query(t.Context(), driverfactory.Statement{SQL: w.Many})
	if err != nil {
		t.Fatal(explain(err))
	}
	if more, err := r.Next(make([]any, 1)); !more || err != nil {
		t.Fatalf("Next = %v, %v; want a row", more, explain(err))
	}
	for range 2 {
		if err := r.Close(); err != nil {
			t.Fatalf("Close = %v, want nil", err)
		}
	}
	if more, err := r.Next(make([]any, 1)); more || err != nil {
		t.Errorf("Next after Close = %v, %v; want false, nil", more, err)
	}
	if open, _ := w.driver.Stats(); open != 0 {
		t.Errorf("%d sessions open after rows were closed half-way, want 0", open)
	}
	w.works(t)
}

func testLeak(t *testing.T, w *world) {
	settled := runtime.NumGoroutine()
	for range 5 {
		w.works(t)
	}
	held, err := w.driver.Query(t.Context(), driverfactory.Statement{SQL: w.Many})
	if err != nil {
		t.Fatal(explain(err))
	}
	if err := w.driver.Close(); err != nil {
		t.Fatalf("Close = %v", err)
	}
	n := 0
	for row := make([]any, 1); ; n++ {
		more, err := held.Next(row)
		if err != nil {
			t.Fatalf("row %d after Close: %v", n, explain(err))
		}
		if !more {
			break
		}
	}
	if n != 25_000 {
		t.Errorf("%d rows after Close, want all 25000", n)
	}
	_, _, err = query(t.Context(), w.driver, "SELECT 1")
	wantFault(t, err, fault.Conflict, "credential_superseded")
	if open, idle := w.driver.Stats(); open != 0 || idle != 0 {
		t.Errorf("Stats after Close = %d, %d; want 0, 0", open, idle)
	}
	if w.Sessions != nil {
		w.await(t, "the server's sessions to end", func() bool { return w.Sessions(t) == 0 })
	}
	if w.Settle != nil {
		w.Settle()
	}
	w.await(t, fmt.Sprintf("the goroutines to end (there were %d)", settled), func() bool {
		return runtime.NumGoroutine() <= settled
	})
}

// running reports whether Slow runs.
func (w *world) running(t *testing.T) bool {
	if w.Running != nil {
		return w.Running(t)
	}
	open, idle := w.driver.Stats()
	return open > idle
}

// await waits until ok, and fails the test when that takes too long.
func (w *world) await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("waited %v for %s; goroutines:\n%s", patience, what, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// wantFault fails the test unless err is a fault of this kind and code, names its source, and holds no token.
func wantFault(t *testing.T, err error, kind fault.Kind, code string) *fault.Error {
	t.Helper()
	e, ok := errors.AsType[*fault.Error](err)
	if !ok || e.Kind != kind || e.CodeOrKind() != code {
		t.Errorf("error = %v, want %s with code %s", explain(err), kind, code)
		return nil
	}
	if e.Detail == "" {
		t.Errorf("%s has no detail", code)
	}
	if e.Params["data_source"] != "source" {
		t.Errorf("params of %s = %v, want data_source", code, e.Params)
	}
	for text := fmt.Sprintf("%v %+v %v", err, e, explain(err)); strings.Contains(text, "A11CE5ECE7"); {
		t.Fatalf("the error holds a token: %s", text)
	}
	return e
}

func wantRows(t *testing.T, got, want [][]any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("rows = %#v, want %#v", got, want)
	}
}

// explain prints err with its cause.
func explain(err error) string {
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return fmt.Sprintf("%v (cause: %v)", e, e.Err)
	}
	return fmt.Sprint(err)
}
