//go:build cgo

package preagg

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/duckdbinstance"
	"github.com/behalf-project/behalf/internal/fault"
)

// Query runs stmt, one SELECT that begins with that word, over tables of rollups of one scope, each by the name that it has there. The
// rows end when ctx does, and when the scope is dropped, also those that DuckDB has computed already.
//
// A table that is not there any more is fault.Gone: whoever asks for Tables again gets those there are. A statement that
// needs more memory than an instance has is fault.TooMany with code "rollup_memory", and what is wrong with stmt is
// fault.Invalid. A table that is in the object store only is fetched by Run, and until it is here the answer is fault.Unavailable with code
// "rollup_fetching". No error that may be shown names a path. Where as many scopes are read as may be, it waits until ctx ends.
//
// DuckDB has all rows in memory when it returns, and its own bound does not count them: stmt has a LIMIT.
func (s *Store) Query(ctx context.Context, parts []Part, stmt driverfactory.Statement) (driverfactory.Rows, error) {
	if len(parts) == 0 {
		return nil, errNoTables
	}
	for _, part := range parts {
		switch {
		case len(part.Tables) == 0:
			return nil, errNoTables
		case strings.ContainsRune(part.Name+stmt.SQL, 0): // where a C string would end
			return nil, fault.New(fault.Invalid, "The statement holds a NUL character.")
		}
	}
	if err := s.begin(); err != nil {
		return nil, err
	}
	defer s.running.Done()
	sc := s.scope(parts[0].ID.Scope)
	if sc == nil {
		return nil, errGone
	}
	var tables []Table
	for _, part := range parts {
		for _, t := range part.Tables {
			if !t.in(sc, part.ID) {
				return nil, fault.New(fault.Denied, "A table is of another rollup.")
			}
			tables = append(tables, t)
		}
	}
	if s.shared != nil {
		fetching := false
		for _, part := range parts { // all that is missing at once
			fetching = s.shared.fetch(part.ID, part.Tables, s.cfg.Now()) || fetching
		}
		if fetching {
			return nil, errFetching
		}
	}
	ctx, leave, err := sc.enter(ctx)
	if errors.Is(err, errEmpty) {
		return nil, errGone
	}
	if err != nil {
		return nil, err
	}
	for _, part := range parts {
		for _, t := range part.Tables {
			if err := s.check(ctx, sc, t, false); err != nil {
				leave()
				return nil, err
			}
			s.touch(part.ID, t)
		}
	}
	with, err := s.with(parts)
	if err != nil {
		leave()
		return nil, err
	}
	in, err := s.readers.acquire(ctx, sc)
	if err != nil {
		leave()
		return nil, err
	}
	r := &rows{s: s, ctx: ctx, in: in, leave: leave}
	if err := r.start(with, stmt); err != nil {
		err = s.refusal(ctx, sc, tables, r, err)
		_ = r.Close()
		return nil, err
	}
	return r, nil
}

var errNoTables = fault.New(fault.Invalid, "A rollup is read by its tables, and there are none.")

// with returns what gives the tables of parts their names.
func (s *Store) with(parts []Part) (string, error) {
	var names []string
	tables := map[string][]Table{}
	for _, part := range parts {
		if tables[part.Name] == nil {
			names = append(names, part.Name)
		}
		tables[part.Name] = append(tables[part.Name], part.Tables...)
	}
	for i, name := range names {
		from, err := s.from(tables[name])
		if err != nil {
			return "", err
		}
		names[i] = duckdbinstance.Identifier(name) + " AS NOT MATERIALIZED (" + from + ")"
	}
	return "WITH " + strings.Join(names, ", ") + " ", nil
}

// from returns the SELECT that reads tables as one. Numbers of different types are read as the widest, by us: DuckDB would
// round them to what the first file has.
func (s *Store) from(tables []Table) (string, error) {
	all := slices.Clone(tables[0].file.columns)
	equal := true
	for _, t := range tables[1:] {
		if t.file.types == tables[0].file.types {
			// The digits count all the same, once there is another type.
			for i, c := range t.file.columns {
				all[i].Digits = max(all[i].Digits, c.Digits)
			}
			continue
		}
		equal = false
		if len(t.file.columns) != len(all) {
			return "", mixed("they have other columns")
		}
		for i, c := range t.file.columns {
			if c.Name != all[i].Name || c.Type != all[i].Type {
				return "", mixed("they have other columns")
			}
			wide, ok := all[i].holding(c)
			if !ok {
				return "", mixed(fmt.Sprintf("column %q is of kind %s in one and %s in another", c.Name, all[i].Kind, c.Kind))
			}
			all[i] = wide
		}
	}
	if equal {
		return "SELECT * FROM " + s.read(tables), nil
	}
	casts := make([]string, len(all))
	for i, c := range all {
		name := duckdbinstance.Identifier(c.Name)
		casts[i] = fmt.Sprintf("CAST(%s AS %s) AS %s", name, c.sqlType(), name)
	}
	var parts []string
	for left := slices.Clone(tables); len(left) > 0; {
		var like, others []Table
		for _, t := range left {
			if t.file.types == left[0].file.types {
				like = append(like, t)
			} else {
				others = append(others, t)
			}
		}
		parts = append(parts, "SELECT "+strings.Join(casts, ", ")+" FROM "+s.read(like))
		left = others
	}
	return strings.Join(parts, " UNION ALL "), nil
}

func mixed(why string) error {
	return &fault.Error{
		Kind: fault.Invalid, Code: "rollup_mixed", Owner: fault.Admin,
		Detail: "The partitions of the rollup do not fit together: " + why + ".",
	}
}

// read is the function that reads the files of tables, which have the same types.
func (s *Store) read(tables []Table) string {
	files := make([]string, len(tables))
	for i, t := range tables {
		files[i] = duckdbinstance.Literal(filepath.ToSlash(s.path(t.file, rowsFile)))
	}
	return "read_parquet([" + strings.Join(files, ", ") + "], hive_partitioning = false)"
}

// rows are the Rows of one statement, which has a connection of its own.
type rows struct {
	s     *Store
	ctx   context.Context //nolint:containedctx // of the statement and its scope: it says why reading it ended
	in    *instance
	leave func()

	conn    driver.Conn
	stmt    *duckdb.Stmt
	rows    driver.Rows
	columns []driverfactory.Column
	types   []string
	values  []driver.Value
	closed  bool
}

// start runs the statement, below with. DuckDB has computed all of its rows when it returns.
func (r *rows) start(with string, stmt driverfactory.Statement) error {
	var err error
	if r.conn, err = r.in.db.Connect(r.ctx); err != nil {
		return notStarted(err)
	}
	if err := r.s.vetted.check(r.ctx, r.conn, stmt.SQL); err != nil {
		return err
	}
	// Prepare takes one statement only: QueryContext of a connection would run all that stand before the last.
	prepared, err := r.conn.Prepare(with + stmt.SQL)
	if err != nil {
		return err
	}
	r.stmt = prepared.(*duckdb.Stmt)
	args := make([]driver.NamedValue, len(stmt.Args))
	for i, v := range stmt.Args {
		args[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	if r.rows, err = r.stmt.QueryContext(r.ctx, args); err != nil {
		return err
	}
	names, types := r.rows.Columns(), r.rows.(driver.RowsColumnTypeDatabaseTypeName)
	r.columns, r.types, r.values = make([]driverfactory.Column, len(names)), make([]string, len(names)), make([]driver.Value, len(names))
	for i, name := range names {
		r.types[i] = types.ColumnTypeDatabaseTypeName(i)
		short, _, _ := strings.Cut(r.types[i], "(")
		r.columns[i] = driverfactory.Column{Name: name, Type: short}
	}
	return nil
}

// Columns returns the columns, in order.
func (r *rows) Columns() []driverfactory.Column { return r.columns }

// Next reads the next row into dest.
func (r *rows) Next(dest []any) (bool, error) {
	if r.closed {
		return false, nil
	}
	if r.ctx.Err() != nil {
		err := ended(r.ctx) // before Close, which ends ctx too
		_ = r.Close()
		return false, err
	}
	if len(dest) != len(r.columns) {
		_ = r.Close()
		return false, fmt.Errorf("preagg: a row of %d columns does not fit into %d", len(r.columns), len(dest))
	}
	switch err := r.rows.Next(r.values); {
	case errors.Is(err, io.EOF):
		return false, r.Close()
	case err != nil:
		_ = r.Close()
		return false, fault.Wrap(fault.Unavailable, err, "DuckDB could not read the rollup.")
	}
	for i, v := range r.values {
		dest[i] = duckdbinstance.Value(r.types[i], v)
	}
	return true, nil
}

// Close frees the rows and gives the instance back.
func (r *rows) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	var errs []error // in this order: each needs the next
	if r.rows != nil {
		errs = append(errs, r.rows.Close())
	}
	if r.stmt != nil {
		errs = append(errs, r.stmt.Close())
	}
	if r.conn != nil {
		errs = append(errs, r.conn.Close())
	}
	r.s.readers.release(r.in)
	r.leave()
	return errors.Join(errs...)
}

// refusal is the fault of a statement that did not run.
func (s *Store) refusal(ctx context.Context, sc *scope, tables []Table, r *rows, err error) error {
	if ctx.Err() != nil {
		return ended(ctx)
	}
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	e, ok := errors.AsType[*duckdb.Error](err)
	if !ok {
		// It is of the driver: arguments that do not fit the statement.
		return fault.Wrap(fault.Invalid, err, "The statement cannot run on a rollup.")
	}
	switch e.Type {
	case duckdb.ErrorTypeOutOfMemory:
		return &fault.Error{
			Kind: fault.TooMany, Code: "rollup_memory", Owner: fault.Admin, Err: err,
			Detail: "The query on a rollup needs more memory than one may take. Ask for less at once, or raise preaggs.max_memory.",
		}
	case duckdb.ErrorTypeParser, duckdb.ErrorTypeSyntax, duckdb.ErrorTypeBinder, duckdb.ErrorTypeCatalog, duckdb.ErrorTypePermission:
	case duckdb.ErrorTypeFatal, duckdb.ErrorTypeInternal:
		s.readers.retire(r.in) // DuckDB does not use it any more
		fallthrough
	default:
		for _, t := range tables {
			if err := s.check(ctx, sc, t, true); err != nil {
				return err
			}
		}
	}
	return &fault.Error{Kind: fault.Invalid, Code: "rollup_query", Owner: fault.Database, Err: err, Detail: s.sentence(e)}
}

// maxSentence is how much of DuckDB's message is passed on, in bytes.
const maxSentence = 1000

// sentence is what DuckDB said, without the paths of the store. What follows the first line is a piece of the statement,
// which names files.
func (s *Store) sentence(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	text = strings.TrimSpace(s.paths.ReplaceAllString(text, "[file]"))
	if len(text) > maxSentence {
		text = strings.ToValidUTF8(text[:maxSentence], "") + " …"
	}
	return text
}
