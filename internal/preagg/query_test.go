//go:build cgo

package preagg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
)

func TestARollupIsWhoseCredentialFetchedIt(t *testing.T) {
	s := open(t, Config{})
	scopes := map[string]driverfactory.PoolKey{}
	for name, change := range map[string]func(*driverfactory.PoolKey){
		"alice":                          func(*driverfactory.PoolKey) {},
		"bob":                            func(k *driverfactory.PoolKey) { k.Principal.Subject = "bob" },
		"alice of another issuer":        func(k *driverfactory.PoolKey) { k.Principal.Realm = "https://idp" },
		"alice after another consent":    func(k *driverfactory.PoolKey) { k.Epoch = 2 },
		"alice through another app":      func(k *driverfactory.PoolKey) { k.App = "other" },
		"another workspace":              func(k *driverfactory.PoolKey) { k.Domain = "other" },
		"another source":                 func(k *driverfactory.PoolKey) { k.Source = "other" },
		"another revision of the source": func(k *driverfactory.PoolKey) { k.SourceRev = 2 },
		"the service account":            func(k *driverfactory.PoolKey) { k.Service, k.Principal = true, driverfactory.Principal{} },
		"parts that run together":        func(k *driverfactory.PoolKey) { k.Domain, k.Source = "do", "mdb" },
	} {
		k := key("alice", 1)
		change(&k)
		scopes[name] = k
	}
	n := int64(0)
	want := map[string]int64{}
	for name, k := range scopes {
		of := ID{Scope: k}
		if tables := s.Tables(of); len(tables) != 0 {
			t.Errorf("%s finds the tables of another", name)
		}
		n++
		want[name] = n
		write(t, s, of, "", n)
	}
	for name, k := range scopes {
		wantNumbers(t, s, ID{Scope: k}, want[name])
		for other, k2 := range scopes {
			if other == name {
				continue
			}
			if _, err := all(s.Query(t.Context(), []Part{{ID{Scope: k2}, "t", s.Tables(ID{Scope: k})}}, driverfactory.Statement{SQL: "SELECT * FROM t"})); !errors.Is(err, fault.Denied) {
				t.Errorf("the tables of %s are read as %s: %v, want fault.Denied", name, other, err)
			}
		}
	}
	write(t, s, rollup("alice", "x"), "", 99)
	if _, err := all(s.Query(t.Context(), []Part{{rollup("alice", "y"), "t", s.Tables(rollup("alice", "x"))}}, driverfactory.Statement{SQL: "SELECT * FROM t"})); !errors.Is(err, fault.Denied) {
		t.Errorf("the tables of another rollup: %v, want fault.Denied", err)
	}
}

// What SQL an owner ever gets to run, it reads the owner's files.
func TestSQLReachesNothingOfAnother(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	alice, bob := rollup("alice", "x"), rollup("bob", "x")
	write(t, s, alice, "", 1)
	const canary = 424242
	write(t, s, bob, "", canary)
	theirs := s.path(s.Tables(bob)[0].file, rowsFile)
	mine := filepath.Dir(s.path(s.Tables(alice)[0].file, rowsFile))
	up := filepath.Join(mine, "../..") // the folder of all scopes
	before := files(t, dir)
	for _, statement := range []string{
		"SELECT * FROM '" + theirs + "'",
		"SELECT * FROM \"" + theirs + "\"",
		"SELECT * FROM read_parquet('" + theirs + "')",
		"SELECT * FROM parquet_scan('" + theirs + "')",
		"SELECT * FROM read_parquet('" + strings.Replace(theirs, up, mine+"/../..", 1) + "')",
		"SELECT * FROM '" + strings.Replace(theirs, up, mine+"/../..", 1) + "'",
		"SELECT * FROM '" + dir + "/scopes/*/*/*.parquet'",
		"SELECT * FROM glob('" + dir + "/scopes/*/*/*.parquet')",
		"SELECT * FROM read_text('" + dir + "/scopes/" + s.Tables(bob)[0].file.scope.String() + "/owner.json')",
		"SELECT * FROM query('SELECT * FROM ''" + theirs + "''')",
		"SELECT * FROM query_table('" + theirs + "')",
		"SELECT (SELECT max(content) FROM read_text('" + theirs + "'))",
		"SELECT * FROM t WHERE EXISTS (SELECT 1 FROM parquet_metadata('" + theirs + "'))",
		"SELECT * FROM t, LATERAL (SELECT * FROM read_parquet('" + theirs + "'))",
		"SELECT * FROM enable_logging(storage := 'file', storage_path := '/tmp/logs')", // it would end the process
		"SELECT (SELECT * FROM system.main.enable_logging())",
		"SELECT * FROM enable_profiling(save_location := '" + mine + "/owner.json', format := 'json')",
		"SELECT * FROM checkpoint()", "SELECT 1e400 FROM checkpoint()", "SELECT * FROM (FROM checkpoint()) PIVOT (count(*) FOR Success IN (true))",
		"ATTACH '" + theirs + "' AS o", "COPY (SELECT 1) TO '" + mine + "/x.csv'", "COPY (SELECT 1) TO '" + theirs + "'",
		"INSTALL httpfs", "LOAD httpfs", "SET memory_limit = '99GB'", "SET lock_configuration = false", "SET enable_external_access = true",
		"CREATE TABLE x AS SELECT 1", "INSERT INTO x VALUES (1)", "DROP TABLE t", "PRAGMA version", "CALL enable_logging()", "EXPLAIN SELECT 1", "DESCRIBE t",
		"SELECT 1; SELECT * FROM '" + theirs + "'", "COPY (SELECT 1) TO '" + mine + "/x.csv'; SELECT 1", "SELECT 1; SET memory_limit = '99GB'", "SELECT 1;;SELECT 2",
		"SELECT 1\x00; SELECT 2", "", ";", "--", "WITH x AS (SELECT 1) SELECT * FROM x", "PREPARE x AS SELECT 1", "EXECUTE x", "SELECT * FROM read_csv('https://example.com/a.csv')",
	} {
		rows, err := query(t, s, alice, statement)
		if err == nil || strings.Contains(fmt.Sprint(rows), fmt.Sprint(canary)) {
			t.Errorf("%s = %v, want a refusal", statement, rows)
			continue
		}
		if f, ok := errors.AsType[*fault.Error](err); !ok || f.Kind != fault.Invalid && f.Kind != fault.Denied {
			t.Errorf("%s: %v, want fault.Invalid or fault.Denied", statement, err)
		} else if strings.Contains(f.Error(), dir) || strings.Contains(f.Error(), s.Tables(bob)[0].file.scope.String()) {
			t.Errorf("%s: %v names a path of the server", statement, err)
		}
	}
	if after := files(t, dir); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("statements left the files %v, want %v", after, before)
	}
	wantNumbers(t, s, alice, 1)
	wantNumbers(t, s, bob, canary)
	for _, statement := range []string{
		`SELECT "orders.n" FROM t`, `SELECT sum("orders.n") + ? FROM t`, `SELECT * FROM (SELECT * FROM t) x, range(2)`, "SELECT * FROM generate_series(1, 3)",
		"SELECT * FROM unnest([1, 2])", "SELECT 1 -- read_text('x')", `SELECT 'read_text(''x'')' AS "a;b" FROM t;`, "(SELECT 1) UNION ALL SELECT 2 ORDER BY 1",
	} {
		if _, err := query(t, s, alice, statement, int64(1)); err != nil {
			t.Errorf("%s: %v, want no error", statement, err)
		}
	}
}

// And when SQL gets past what we look at, DuckDB refuses: the instance itself is locked.
func TestTheInstanceOfAScopeIsLocked(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir, MaxMemory: 256 << 20, MaxOpen: 4})
	alice, bob := rollup("alice", "x"), rollup("bob", "x")
	write(t, s, alice, "", 1)
	write(t, s, bob, "", 2)
	theirs := s.path(s.Tables(bob)[0].file, rowsFile)
	in, err := s.readers.acquire(t.Context(), s.scope(alice.Scope))
	if err != nil {
		t.Fatal(err)
	}
	defer s.readers.release(in)
	for _, statement := range []string{
		"SELECT * FROM '" + theirs + "'", "ATTACH '" + filepath.Join(dir, "x.duckdb") + "'", "COPY (SELECT 1) TO '" + theirs + "'", "COPY (SELECT 1) TO '" + dir + "/x'",
		"SELECT * FROM read_text('" + filepath.Join(dir, "lock") + "')", "SET memory_limit = '1GB'", "SET lock_configuration = false", "INSTALL httpfs",
		"SELECT * FROM read_csv('https://example.com/a.csv')",
	} {
		conn, err := in.db.Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		stmt, err := conn.Prepare(statement)
		if err == nil {
			_, err = stmt.Exec(nil) //nolint:staticcheck // the simplest that a driver has
			_ = stmt.Close()
		}
		if err == nil {
			t.Errorf("%s: no error, want a refusal", statement)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if rows, err := query(t, s, alice, "SELECT current_setting('memory_limit'), current_setting('threads'), current_setting('temp_directory')"); err != nil ||
		fmt.Sprint(rows) != "[[48.0 MiB 1 ]]" {
		t.Errorf("settings = %v, %v, want a quarter of three quarters of the memory, one thread and no folder to spill", rows, err)
	}
}

func TestARefusalOfDuckDBIsAFault(t *testing.T) {
	s := open(t, Config{MaxMemory: 64 << 20})
	of := rollup("alice", "x")
	write(t, s, of, "", 1)
	for _, tt := range []struct{ name, sql, code, detail string }{
		{"no SQL", "SELEC 1", "rollup_query", "Parser Error"},
		{"no such column", `SELECT "orders.x" FROM t`, "rollup_query", "Binder Error"},
		{"no such table", "SELECT * FROM u", "rollup_query", "Table with name u does not exist"},
		{"a value that cannot be cast", `SELECT CAST("orders.n" || 'x' AS BIGINT) FROM t`, "rollup_query", "Conversion Error"},
		{"too few arguments", "SELECT ? FROM t", "invalid", ""},
		{"too much memory", "SELECT count(DISTINCT repeat('x', 100) || range) FROM range(3000000)", "rollup_memory", "preaggs.max_memory"},
	} {
		_, err := query(t, s, of, tt.sql)
		e, _ := errors.AsType[*fault.Error](err)
		if e == nil || e.CodeOrKind() != tt.code || !strings.Contains(e.Detail, tt.detail) || strings.Contains(e.Detail, s.cfg.Dir) || strings.Contains(e.Detail, "\n") {
			t.Errorf("%s: %v, want %s with %q", tt.name, err, tt.code, tt.detail)
		}
	}
	wantNumbers(t, s, of, 1)
	if _, err := all(s.Query(t.Context(), []Part{{of, "t", nil}}, driverfactory.Statement{SQL: "SELECT 1"})); !errors.Is(err, fault.Invalid) {
		t.Errorf("no tables: %v, want fault.Invalid", err)
	}
}

func TestArgumentsAndColumns(t *testing.T) {
	s := open(t, Config{})
	of := rollup("alice", "x")
	day := newClock().now()
	if _, err := s.Write(t.Context(), of, Table{}, []Column{{"o.day", Time}, {"o.sum", Number}, {"o.ok", Boolean}}, rowsOf([]any{day, driverfactory.Decimal("2.50"), true})); err != nil {
		t.Fatal(err)
	}
	r, err := s.Query(t.Context(), []Part{{of, `a "rollup"`, s.Tables(of)}}, driverfactory.Statement{
		SQL: `SELECT "o.day" AS "d", sum("o.sum") AS "s", count(*) AS "n", ? AS "b", ? AS "z" FROM "a ""rollup""" WHERE "o.day" = CAST(? AS TIMESTAMP)
			AND "o.day" = ? AND "o.ok" = ? AND "o.sum" > ? AND "o.sum" > ? GROUP BY 1`,
		Args: []any{[]byte{1, 2}, nil, "2026-11-22 08:00:00", day, true, int64(2), 2.25},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	want := []driverfactory.Column{{Name: "d", Type: "TIMESTAMP"}, {Name: "s", Type: "DECIMAL"}, {Name: "n", Type: "BIGINT"}, {Name: "b", Type: "BLOB"}, {Name: "z", Type: "INTEGER"}}
	if got := r.Columns(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("columns = %v, want %v", got, want)
	}
	if _, err := r.Next(make([]any, 2)); err == nil {
		t.Error("a row fits into less than it has")
	}
	rows, err := query(t, s, of, `SELECT "o.day", "o.sum", "o.ok" FROM t`)
	if err != nil || fmt.Sprint(rows) != fmt.Sprint([][]any{{day, driverfactory.Decimal("2.50"), true}}) {
		t.Errorf("rows = %v, %v", rows, err)
	}
}

func TestFewInstancesAreOpenAndWhoFindsNoneWaits(t *testing.T) {
	now := newClock()
	s := open(t, Config{MaxOpen: 2, Now: now.now})
	ask := func(name string) driverfactory.Rows {
		t.Helper()
		of := rollup(name, "x")
		r, err := s.Query(t.Context(), []Part{{of, "t", s.Tables(of)}}, driverfactory.Statement{SQL: "SELECT * FROM t"})
		if err != nil {
			t.Fatalf("Query of %s = %v, want no error", name, err)
		}
		return r
	}
	for i, name := range []string{"alice", "bob", "carol"} {
		write(t, s, rollup(name, "x"), "", int64(i))
	}
	alice, bob := ask("alice"), ask("bob")
	alice2 := ask("alice") // shares
	if n := s.readers.count(); n != 2 {
		t.Errorf("%d instances are open, want 2", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	of := rollup("carol", "x")
	if _, err := s.Query(ctx, []Part{{of, "t", s.Tables(of)}}, driverfactory.Statement{SQL: "SELECT * FROM t"}); !errors.Is(err, fault.Canceled) {
		t.Errorf("Query while all are busy and nobody waits = %v, want fault.Canceled", err)
	}
	got := make(chan error)
	go func() {
		_, err := all(s.Query(t.Context(), []Part{{of, "t", s.Tables(of)}}, driverfactory.Statement{SQL: "SELECT * FROM t"}))
		got <- err
	}()
	_ = alice.Close() // alice2 still reads
	_ = bob.Close()
	if err := <-got; err != nil {
		t.Errorf("Query that waited = %v, want no error", err)
	}
	if n := s.readers.count(); n != 2 {
		t.Errorf("%d instances are open, want 2: bob's made place for carol's", n)
	}
	_ = alice2.Close()
	_ = alice2.Close() // again: nothing happens
	now.move(idleTime - 1)
	s.Sweep(t.Context())
	if n := s.readers.count(); n != 2 {
		t.Errorf("%d instances are open before their time is over, want 2", n)
	}
	now.move(1)
	s.Sweep(t.Context())
	if n := s.readers.count(); n != 0 {
		t.Errorf("%d instances are open after minutes without use, want none", n)
	}
	wantNumbers(t, s, of, 2)
}

func (p *instances) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open
}

func TestManyReadersOfFewInstances(t *testing.T) {
	s := open(t, Config{MaxOpen: 3})
	for i := range 8 {
		write(t, s, rollup(fmt.Sprint("p", i), "x"), "", int64(i))
	}
	done := make(chan error)
	for i := range 24 {
		go func() {
			var err error
			for n := range 20 {
				p := (i + n*5) % 8
				of := rollup(fmt.Sprint("p", p), "x")
				rows, e := all(s.Query(t.Context(), []Part{{of, "t", s.Tables(of)}}, driverfactory.Statement{SQL: "SELECT * FROM t"}))
				if e != nil || len(rows) != 1 || rows[0][0] != int64(p) {
					err = fmt.Errorf("p%d read %v, %w", p, rows, e)
				}
				if n := s.readers.count(); n > 3 {
					err = fmt.Errorf("%d instances are open", n)
				}
			}
			done <- err
		}()
	}
	for range 24 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// A file that is gone or another under a table that is known is told, and the next who asks finds what there is.
func TestATableThatIsNotThereAnyMoreIsGone(t *testing.T) {
	s := open(t, Config{})
	of := rollup("alice", "x")
	first := write(t, s, of, "", 1)
	second := write(t, s, of, "", 2)
	ask := func(t Table) error {
		_, err := all(s.Query(context.Background(), []Part{{of, "t", []Table{t}}}, driverfactory.Statement{SQL: "SELECT * FROM t"}))
		return err
	}
	if err := ask(first); err != nil {
		t.Errorf("a table that was superseded a moment ago: %v, want it read", err)
	}
	if err := os.Remove(s.path(second.file, rowsFile)); err != nil {
		t.Fatal(err)
	}
	if err := ask(second); code(err) != "rollup_gone" {
		t.Errorf("a table without its file: %v, want rollup_gone", err)
	}
	wantNumbers(t, s, of, 1)
	// Cut short while it is known to have been whole.
	if err := os.Truncate(s.path(first.file, rowsFile), 100); err != nil {
		t.Fatal(err)
	}
	if err := ask(first); code(err) != "rollup_gone" {
		t.Errorf("a table cut short: %v, want rollup_gone", err)
	}
	if tables := s.Tables(of); len(tables) != 0 {
		t.Errorf("tables = %v, want none", tables)
	}
	if err := s.Drop(func(driverfactory.PoolKey) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if err := ask(first); code(err) != "rollup_gone" {
		t.Errorf("a table of a scope that is not there: %v, want rollup_gone", err)
	}
}

// A statement reads several rollups of one scope, each by its name; those of one name are one table, whose numbers are read as the widest.
func TestRollupsAreReadTogether(t *testing.T) {
	s := open(t, Config{})
	x, y, z := rollup("alice", "x"), rollup("alice", "y"), rollup("bob", "x")
	for i, of := range []ID{x, y, z} {
		write(t, s, of, "", int64(i+1), 10)
	}
	half, err := s.Write(t.Context(), y, Table{Partition: "20240101"}, one, rowsOf([]any{driverfactory.Decimal("0.5")}))
	if err != nil {
		t.Fatal(err)
	}
	part := func(of ID, name string) Part { return Part{of, name, s.Tables(of)} }
	for _, tt := range []struct {
		parts []Part
		sql   string
		want  string // or the kind of error
	}{
		{[]Part{part(x, "a"), part(y, "b")}, `SELECT a."orders.n", CAST(b."orders.n" AS BIGINT) FROM a LEFT JOIN b ON a."orders.n" = b."orders.n" ORDER BY 1`, "[[1 <nil>] [10 10]]"},
		{[]Part{part(x, "a"), part(y, "a")}, `SELECT CAST(sum("orders.n") AS DOUBLE), count(*) FROM a`, "[[23.5 5]]"},
		{[]Part{part(x, "a"), part(z, "b")}, "SELECT 1", string(fault.Denied)},
		{[]Part{part(z, "a"), part(x, "b")}, "SELECT 1", string(fault.Denied)},
		{[]Part{part(x, "a"), {x, "b", []Table{half}}}, "SELECT 1", string(fault.Denied)},
		{[]Part{part(x, "a"), {x, "b", nil}}, "SELECT 1", string(fault.Invalid)},
		{nil, "SELECT 1", string(fault.Invalid)},
		{[]Part{part(x, "a"), part(y, "b\x00")}, "SELECT 1", string(fault.Invalid)},
	} {
		rows, err := all(s.Query(t.Context(), tt.parts, driverfactory.Statement{SQL: tt.sql}))
		got := fmt.Sprint(rows)
		if err != nil {
			got = string(fault.KindOf(err))
		}
		if got != tt.want {
			t.Errorf("%s of %d parts = %s (%v), want %s", tt.sql, len(tt.parts), got, err, tt.want)
		}
	}
}
