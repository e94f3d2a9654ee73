package drivertest

import (
	"context"
	"testing"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
)

// exec runs a statement that may write.
func (w *world) exec(ctx context.Context, s driverfactory.Statement) error {
	return w.driver.(driverfactory.Maker).Exec(ctx, s)
}

// makes runs what needs no parameters and must succeed.
func (w *world) makes(t *testing.T, sql string) {
	t.Helper()
	if sql == "" {
		return
	}
	if err := w.exec(t.Context(), driverfactory.Statement{SQL: sql}); err != nil {
		t.Fatalf("Exec(%q) = %v", sql, explain(err))
	}
}

// made fails the test unless the table is there, or is not.
func (w *world) made(t *testing.T, want bool) {
	t.Helper()
	_, rows, err := query(t.Context(), w.driver, w.Makes.Read.SQL, w.Makes.Read.Args...)
	if got := err == nil; got != want {
		t.Errorf("the table is there: %v (%v), want %v", got, explain(err), want)
	}
	if err == nil {
		wantRows(t, rows, w.Makes.Read.Rows)
	}
}

func testMake(t *testing.T, w *world) {
	if w.Makes == nil {
		return
	}
	for range 2 {
		w.makes(t, w.Makes.Schema)
		if err := w.exec(t.Context(), w.Makes.Table); err != nil {
			t.Fatalf("Exec = %v", explain(err))
		}
		w.made(t, true)
		wantFault(t, w.exec(t.Context(), w.Makes.Table), fault.Invalid, "database_error") // it is there
		w.made(t, true)
		w.makes(t, w.Makes.Drop)
		w.made(t, false)
		w.makes(t, w.Makes.Drop)
	}
	// Two statements are not one: the second could end what lets the first write.
	if err := w.exec(t.Context(), driverfactory.Statement{SQL: w.Makes.Drop + "; " + w.Makes.Drop}); err == nil {
		t.Error("two statements were run as one")
	}
	if open, idle := w.driver.Stats(); open != 1 || idle != 1 {
		t.Errorf("Stats = %d open, %d idle; want the one session that did it all", open, idle)
	}
	if w.Makes.Denied != "" {
		wantFault(t, w.exec(t.Context(), driverfactory.Statement{SQL: w.Makes.Denied}), fault.Denied, "database_denied")
	}
}

func testQueryOnlyReads(t *testing.T, w *world) {
	if w.Makes == nil {
		return
	}
	onlyReads := func(t *testing.T) {
		t.Helper()
		w.works(t)
		if w.Makes.Untold {
			return
		}
		_, _, err := query(t.Context(), w.driver, w.Makes.Table.SQL, w.Makes.Table.Args...)
		wantFault(t, err, fault.Invalid, "database_error")
		w.made(t, false)
	}
	w.makes(t, w.Makes.Schema)
	onlyReads(t)
	if err := w.exec(t.Context(), w.Makes.Table); err != nil {
		t.Fatalf("Exec = %v", explain(err))
	}
	w.makes(t, w.Makes.Drop)
	onlyReads(t)

	if w.Makes.Loosens != "" {
		if _, _, err := query(t.Context(), w.driver, w.Makes.Loosens); err != nil {
			t.Fatal(explain(err))
		}
		if _, idle := w.driver.Stats(); idle != 1 {
			t.Errorf("%d idle sessions, want the one that was let write", idle)
		}
		onlyReads(t)
	}

	wantFault(t, w.exec(t.Context(), driverfactory.Statement{SQL: w.Wrong}), fault.Invalid, "database_error")
	if _, idle := w.driver.Stats(); idle != 1 {
		t.Errorf("%d idle sessions after a wrong statement, want the one from before", idle)
	}
	onlyReads(t)

	w.driver.(driverfactory.IdleCloser).CloseIdle() // the session has run nothing before
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- w.exec(ctx, driverfactory.Statement{SQL: w.Makes.Slow}) }()
	w.await(t, "the statement to run", func() bool { return w.running(t) })
	cancel()
	wantFault(t, <-done, fault.Canceled, "query_canceled")
	if _, idle := w.driver.Stats(); idle != 0 {
		t.Errorf("%d idle sessions after a cancelled statement, want none that might write", idle)
	}
	w.await(t, "the statement to end at the server", func() bool { return !w.running(t) })
	w.made(t, false)
	onlyReads(t)
}

func testMakeExpired(t *testing.T, w *world) {
	if w.Makes == nil || w.Accept == nil {
		return
	}
	w.makes(t, w.Makes.Schema)
	w.End(t, User, token(1).Reveal())
	if w.Drop != nil {
		w.Drop(t) // a session that is open goes on where the token is read at login
	}
	w.grants.OnRefused(func(old driverfactory.Token) (driverfactory.Token, error) {
		if old.Revision > 1 {
			return driverfactory.Token{}, fault.New(fault.ReauthorizationRequired, "it was revoked")
		}
		w.Accept(t, User, token(2).Reveal())
		return driverfactory.Token{Value: token(2), Status: "active", Epoch: 1, Revision: 2}, nil
	})
	if err := w.exec(t.Context(), w.Makes.Table); err != nil {
		t.Fatalf("Exec = %v", explain(err))
	}
	w.made(t, true)
	if n := w.grants.RefusedCalls(); n != 1 {
		t.Errorf("%d forced refreshes, want 1", n)
	}
	w.makes(t, w.Makes.Drop)

	w.End(t, User, token(2).Reveal())
	if w.Drop != nil {
		w.Drop(t)
	}
	wantFault(t, w.exec(t.Context(), w.Makes.Table), fault.ReauthorizationRequired, "reauthorization_required")
}

func testMakeLost(t *testing.T, w *world) {
	if w.Makes == nil || w.Drop == nil {
		return
	}
	w.makes(t, w.Makes.Schema)
	w.Drop(t)
	if err := w.exec(t.Context(), w.Makes.Table); err != nil {
		t.Fatalf("Exec = %v", explain(err))
	}
	w.Drop(t)
	w.makes(t, w.Makes.Drop)
	w.made(t, false)
}

func testMakeNothing(t *testing.T, w *world) {
	if w.Makes != nil {
		return
	}
	w.works(t)
	wantFault(t, w.exec(t.Context(), driverfactory.Statement{SQL: "CREATE TABLE t AS SELECT 1"}), fault.Invalid, "source_read_only")
	w.works(t)
}
