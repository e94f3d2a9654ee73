//go:build cgo

package preagg

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/behalf-project/behalf/driverfactory"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		child(dir)
	}
	goleak.VerifyTestMain(m)
}

// open opens the store in dir until the test ends.
func open(t testing.TB, cfg Config) *Store {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	s, err := Open(cfg)
	if err != nil {
		t.Fatalf("Open = %v, want no error", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close = %v, want no error", err)
		}
	})
	return s
}

// key is the credential of a person for a source.
func key(name string, epoch int64) driverfactory.PoolKey {
	return driverfactory.PoolKey{
		Domain: "dom", Source: "db", SourceRev: 1, App: "app", Epoch: epoch,
		Principal: driverfactory.Principal{Realm: "local", Subject: name},
	}
}

// rollup names one of that person.
func rollup(name, structure string) ID {
	return ID{Scope: key(name, 1), Structure: sha256.Sum256([]byte(structure))}
}

// result is the rows of a source.
type result struct {
	columns []driverfactory.Column
	rows    [][]any
	err     error // after the last row
	at      func(row int)
	n       int
}

// rowsOf returns the rows of a source, of which each has as many values as the first.
func rowsOf(rows ...[]any) *result {
	r := &result{rows: rows}
	if len(rows) > 0 {
		for i := range rows[0] {
			r.columns = append(r.columns, driverfactory.Column{Name: fmt.Sprint("source ", i)})
		}
	}
	return r
}

func (r *result) Columns() []driverfactory.Column { return r.columns }
func (r *result) Close() error                    { return nil }
func (r *result) Next(dest []any) (bool, error) {
	if r.at != nil {
		r.at(r.n)
	}
	if r.n == len(r.rows) {
		return false, r.err
	}
	copy(dest, r.rows[r.n])
	r.n++
	return true, nil
}

// one is a rollup with a column of numbers, and its rows.
var one = []Column{{Name: "orders.n", Type: Number}}

func numbers(n ...int64) *result {
	rows := make([][]any, len(n))
	for i, v := range n {
		rows[i] = []any{v}
	}
	r := rowsOf(rows...)
	r.columns = []driverfactory.Column{{Name: "n"}}
	return r
}

// write builds a table with the column one.
func write(t testing.TB, s *Store, of ID, partition string, n ...int64) Table {
	t.Helper()
	table, err := s.Write(t.Context(), of, Table{Partition: partition, Content: fmt.Sprint(n)}, one, numbers(n...))
	if err != nil {
		t.Fatalf("Write = %v, want no error", err)
	}
	return table
}

// all reads rows to their end.
func all(r driverfactory.Rows, err error) ([][]any, error) {
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var rows [][]any
	for {
		row := make([]any, len(r.Columns()))
		more, err := r.Next(row)
		if err != nil || !more {
			return rows, err
		}
		rows = append(rows, row)
	}
}

// query runs SQL over all tables of a rollup, which it calls t.
func query(t testing.TB, s *Store, of ID, sql string, args ...any) ([][]any, error) {
	t.Helper()
	return all(s.Query(t.Context(), []Part{{of, "t", s.Tables(of)}}, driverfactory.Statement{SQL: sql, Args: args}))
}

// wantNumbers compares what is in a rollup with the column one, in order.
func wantNumbers(t testing.TB, s *Store, of ID, want ...int64) {
	t.Helper()
	rows, err := query(t, s, of, `SELECT "orders.n" FROM t ORDER BY 1`)
	if err != nil {
		t.Fatalf("Query = %v, want %v", err, want)
	}
	var got []int64
	for _, row := range rows {
		got = append(got, row[0].(int64))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the rollup holds %v, want %v", got, want)
	}
}

// files lists the files below dir that are of tables, without their versions.
func files(t testing.TB, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasPrefix(d.Name(), "p") {
			names = append(names, path)
		}
		if errors.Is(err, fs.ErrNotExist) { // deleted meanwhile
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// clock is a time that tests move.
type clock struct{ at time.Time }

func newClock() *clock { return &clock{time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time       { return c.at }
func (c *clock) move(d time.Duration) { c.at = c.at.Add(d) }
