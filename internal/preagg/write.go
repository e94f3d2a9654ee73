//go:build cgo

package preagg

import (
	"context"
	"crypto/sha256"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/duckdbinstance"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/id"
)

// The files of a build, in a folder of its own.
const (
	buildRows  = "rows.parquet"
	buildNote  = "note.json"
	buildSpill = "spill"
)

// rowsPerCheck is how many rows are taken between two looks at the context.
const rowsPerCheck = 1024

// Write builds a table of rollup from rows, which it reads to their end and leaves to the caller to close. Of t it takes
// Partition, Content and BuiltAt, which is now where it is zero, and returns it with the rest. From then on it is the newest
// of its partition.
//
// What does not fit refuses the build, and the table before stays: a value that its column cannot hold exactly is
// fault.Invalid with code "rollup_value", and names column and row; too many rows or bytes are fault.TooMany. When ctx ends,
// or the scope is dropped, nothing is kept. Errors of rows are returned as they are.
//
// A column holds what its first value is: a whole number, an exact one of whatever scale, a float, text, a time. Times are
// kept as the wall clock shows them. What Query returns of a column prints as what was written; exact numbers have the
// largest scale of their column.
func (s *Store) Write(ctx context.Context, rollup ID, t Table, columns []Column, rows driverfactory.Rows) (Table, error) {
	cols, err := columnsOf(columns)
	switch {
	case err != nil:
		return Table{}, err
	case !validPartition(t.Partition):
		return Table{}, fault.New(fault.Invalid, "%q cannot be the name of a partition.", t.Partition)
	case len(t.Content) > maxContent:
		return Table{}, fault.New(fault.Invalid, "What says how fresh a rollup is may have %d bytes, and this has %d.", maxContent, len(t.Content))
	case len(rows.Columns()) != len(cols):
		return Table{}, fault.New(fault.Invalid, "The rollup has %d columns, and the source returned %d.", len(cols), len(rows.Columns()))
	}
	if err := s.begin(); err != nil {
		return Table{}, err
	}
	defer s.running.Done()
	sc, ctx, leave, err := s.enterNew(ctx, rollup.Scope)
	if err != nil {
		return Table{}, err
	}
	defer leave()
	if err := s.builds.Acquire(ctx, 1); err != nil {
		return Table{}, ended(ctx)
	}
	defer s.builds.Release(1)

	dir := filepath.Join(s.buildsDir(), id.Random(8))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return Table{}, notWritten(err)
	}
	defer os.RemoveAll(dir) // what cannot be removed goes at the next start
	built, err := s.build(ctx, dir, cols, rows)
	if err != nil {
		return Table{}, err
	}
	n := note{
		Format: format, Scope: sc.place.String(), Structure: fmt.Sprintf("%x", rollup.Structure), Partition: t.Partition, Content: []byte(t.Content),
		BuiltAt: t.BuiltAt, Rows: built, Columns: cols,
	}
	if n.BuiltAt.IsZero() {
		n.BuiltAt = s.cfg.Now()
	}
	n.BuiltAt = n.BuiltAt.UTC().Round(0)
	var sum [sha256.Size]byte
	if n.Bytes, sum, err = seal(ctx, filepath.Join(dir, buildRows)); err == nil {
		n.Sum = sum[:]
		err = writeNote(dir, n)
	}
	switch {
	case ctx.Err() != nil:
		return Table{}, ended(ctx)
	case err != nil:
		return Table{}, notWritten(err)
	}
	s.pass(AfterFile)
	t, err = s.commit(ctx, sc, rollup.Structure, dir, n, 0)
	if err == nil && s.shared != nil {
		s.shared.wish(rollup, false)
	}
	return t, err
}

// pass tells who listens that a Write is at p.
func (s *Store) pass(p Failpoint) {
	if s.cfg.Failpoint != nil {
		s.cfg.Failpoint(p)
	}
}

// seal makes sure that a file is on disk and nobody else's to read, and returns its size and checksum.
func seal(ctx context.Context, path string) (size int64, sum [sha256.Size]byte, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return 0, sum, err
	}
	if err := errors.Join(f.Chmod(0o600), f.Sync(), f.Close()); err != nil {
		return 0, sum, err
	}
	return checksum(ctx, path)
}

// build writes rows to a Parquet file in dir, and returns how many there are. What is known of columns at the end is in
// columns.
func (s *Store) build(ctx context.Context, dir string, columns []column, rows driverfactory.Rows) (int64, error) {
	in, err := duckdbinstance.Open(duckdbinstance.Config{
		Folders: []string{filepath.ToSlash(dir)}, Spill: filepath.Join(dir, buildSpill), SpillBytes: min(s.cfg.MaxBytes, s.cfg.MaxBytesPerOwner),
		Memory: s.buildMemory, Threads: 1, AnyOrder: true,
	})
	if err != nil {
		return 0, notStarted(err)
	}
	defer in.Close()
	conn, err := in.Connect(ctx)
	if err != nil {
		return 0, notStarted(err)
	}
	defer conn.Close()
	st := &stage{conn: conn, columns: columns, values: make([]driver.Value, len(columns)), group: s.buildMemory / 8}
	defer st.abandon()

	row := make([]any, len(columns))
	for {
		if st.rows%rowsPerCheck == 0 && ctx.Err() != nil {
			return 0, ended(ctx)
		}
		more, err := rows.Next(row)
		switch {
		case err != nil && ctx.Err() != nil:
			return 0, ended(ctx)
		case err != nil:
			return 0, err
		case !more:
			return st.rows, st.failed(ctx, st.copyTo(ctx, filepath.Join(dir, buildRows)))
		case st.rows == s.cfg.MaxRows:
			return 0, tooLarge(fmt.Sprintf("it has more than %d rows", s.cfg.MaxRows))
		}
		if err := st.add(ctx, row); err != nil {
			return 0, st.failed(ctx, err)
		}
	}
}

func tooLarge(why string) *fault.Error {
	return &fault.Error{
		Kind: fault.TooMany, Code: "rollup_too_large", Owner: fault.Admin,
		Detail: "The rollup is too large to be kept here: " + why + ". Give the pre-aggregation fewer dimensions, a larger granularity or smaller partitions.",
	}
}

func notStarted(err error) error {
	return fault.Wrap(fault.Unavailable, err, "DuckDB, which keeps the rollups, did not start. Try again in a moment.")
}

// stage is a table of DuckDB in which the rows of a build gather. Its columns change their types when a row does not fit:
// the first value of a column after NULLs, a number with a larger scale.
type stage struct {
	conn     driver.Conn
	columns  []column
	types    []string // of the table; nil before there is one
	appender *duckdb.Appender
	values   []driver.Value
	rows     int64
	group    int64 // bytes of a row group, which is in memory while it is written
}

// add appends a row.
func (st *stage) add(ctx context.Context, row []any) error {
	changed := st.types == nil
	for i := range st.columns {
		c := &st.columns[i]
		before := *c
		v, err := c.admit(row[i])
		if err != nil {
			return &fault.Error{
				Kind: fault.Invalid, Code: "rollup_value", Owner: fault.Admin,
				Detail: fmt.Sprintf("The rollup cannot be built. A value does not fit its column: of column %q in row %d, %v.", c.Name, st.rows+1, err),
			}
		}
		changed = changed || *c != before && c.sqlType() != before.sqlType()
		st.values[i] = v
	}
	if changed {
		if err := st.retype(ctx); err != nil {
			return err
		}
	}
	for i := range st.columns {
		st.values[i] = st.columns[i].stored(st.values[i])
	}
	if err := st.appender.AppendRow(st.values...); err != nil {
		if _, ok := errors.AsType[*duckdb.Error](err); ok {
			return err
		}
		return errors.New("a row cannot be appended") // the driver's own text holds the value
	}
	st.rows++
	return nil
}

// retype makes the table fit the columns.
func (st *stage) retype(ctx context.Context) error {
	if err := st.flush(ctx); err != nil {
		return err
	}
	first := st.types == nil
	if first {
		st.types = make([]string, len(st.columns))
	}
	definitions := make([]string, len(st.columns))
	for i, c := range st.columns {
		was := st.types[i]
		st.types[i] = c.sqlType()
		definitions[i] = fmt.Sprintf("c%d %s", i, st.types[i])
		if first || was == st.types[i] {
			continue
		}
		if err := st.exec(ctx, fmt.Sprintf("ALTER TABLE stage ALTER COLUMN c%d TYPE %s", i, st.types[i])); err != nil {
			return err
		}
	}
	if first {
		if err := st.exec(ctx, "CREATE TABLE stage ("+strings.Join(definitions, ", ")+")"); err != nil {
			return err
		}
	}
	var err error
	st.appender, err = duckdb.NewAppenderFromConn(st.conn, "", "stage")
	return err
}

// flush ends the appender, if there is one.
func (st *stage) flush(ctx context.Context) error {
	if st.appender == nil {
		return nil
	}
	a := st.appender
	st.appender = nil
	return a.CloseWithCancel(ctx)
}

// abandon frees what a build that failed has not appended.
func (st *stage) abandon() {
	if st.appender != nil {
		_ = st.appender.Clear()
		_ = st.appender.Close()
	}
}

// copyTo writes all rows to a Parquet file.
func (st *stage) copyTo(ctx context.Context, path string) error {
	if st.types == nil {
		if err := st.retype(ctx); err != nil {
			return err
		}
	}
	if err := st.flush(ctx); err != nil {
		return err
	}
	names := make([]string, len(st.columns))
	for i, c := range st.columns {
		names[i] = fmt.Sprintf("c%d AS %s", i, duckdbinstance.Identifier(c.Name))
	}
	return st.exec(ctx, fmt.Sprintf("COPY (SELECT %s FROM stage) TO %s (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE_BYTES %d)",
		strings.Join(names, ", "), duckdbinstance.Literal(filepath.ToSlash(path)), st.group))
}

func (st *stage) exec(ctx context.Context, statement string) error {
	_, err := st.conn.(driver.ExecerContext).ExecContext(ctx, statement, nil)
	return err
}

// failed is the fault of what went wrong in DuckDB, or err where it is one already.
func (st *stage) failed(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ended(ctx)
	}
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	if strings.Contains(err.Error(), "memory_limit") { // the appender loses the type, but not the advice
		e := tooLarge("it takes more memory or disk while it is built than one build may")
		e.Err = err
		return e
	}
	return fault.Wrap(fault.Unavailable, err, "DuckDB could not build the rollup.")
}
