package driverfactory

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// rows are the Rows of one statement and hold its session until they are closed.
type rows struct {
	lease
	role   string // of the session, when it ran the statement; see tell
	cancel context.CancelFunc
	ctx    context.Context //nolint:containedctx // of the statement: it says why reading it ended

	rows    *sql.Rows
	columns []Column
	types   []columnType
	values  []any // pointers to themselves, for Scan
	ptrs    []any

	primed bool // the first row was fetched already, and more says whether there was one
	more   bool
	ended  bool // nothing of the statement is left at the warehouse
	closed bool
}

// columnType is what an adapter needs to convert a value.
type columnType struct {
	name  string
	scale int64
}

// start runs the statement and fetches its first row, so that everything that goes wrong before a row is there goes
// wrong here, where the statement can still be run once more.
func (r *rows) start(ctx context.Context, s Statement) (err error) {
	r.ctx = ctx
	defer func() {
		if err != nil && r.rows != nil {
			_ = r.rows.Close() // they hold the session
		}
	}()
	if r.rows, err = r.conn.QueryContext(ctx, s.SQL, s.Args...); err != nil {
		return err
	}
	types, err := r.rows.ColumnTypes()
	if err != nil {
		return err
	}
	r.columns, r.types = make([]Column, len(types)), make([]columnType, len(types))
	for i, t := range types {
		name, scale := strings.ToUpper(t.DatabaseTypeName()), int64(-1)
		if _, s, ok := t.DecimalSize(); ok {
			scale = s
		}
		short, _, _ := strings.Cut(name, "(")
		r.columns[i], r.types[i] = Column{Name: t.Name(), Type: short}, columnType{name, scale}
	}
	r.values, r.ptrs = make([]any, len(types)), make([]any, len(types))
	for i := range r.values {
		r.ptrs[i] = &r.values[i]
	}
	r.primed, r.more = true, r.rows.Next()
	if !r.more {
		return r.rows.Err()
	}
	return nil
}

// Columns returns the columns, in order.
func (r *rows) Columns() []Column { return r.columns }

// Next reads the next row into dest.
func (r *rows) Next(dest []any) (bool, error) {
	if r.closed {
		return false, nil
	}
	more := r.more
	if !r.primed {
		more = r.rows.Next()
	}
	r.primed = false
	if !more {
		err := r.rows.Err()
		return false, r.end(err)
	}
	if len(dest) != len(r.columns) {
		_ = r.Close()
		return false, fmt.Errorf("driverfactory: a row of %d columns does not fit into %d", len(r.columns), len(dest))
	}
	if err := r.rows.Scan(r.ptrs...); err != nil {
		defer r.Close()
		return false, r.p.fail(r.ctx, err, r.sess.tok)
	}
	for i, v := range r.values {
		if v == nil {
			dest[i] = nil
			continue
		}
		dest[i] = r.p.wh.Value(r.types[i].name, r.types[i].scale, v)
	}
	return true, nil
}

// end closes the rows after err, or after the last row, and returns the failure to show.
func (r *rows) end(err error) error {
	r.ended = true
	if err != nil {
		r.spoil(r.p.classify(r.ctx, err))
		err = r.p.fail(r.ctx, err, r.sess.tok)
	}
	_ = r.Close()
	return err
}

// Close ends the statement at the warehouse if it still runs, and gives the session back.
func (r *rows) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	if !r.ended {
		// Somebody stopped reading half-way. The drivers would fetch the rest first, or leave the session in the
		// middle of an answer: the statement is cancelled, and the session is not lent again.
		r.sess.bad.Store(true)
		r.cancel()
	}
	r.giveBack()
	r.cancel()
	r.p.release()
	return nil
}

// giveBack closes the rows and returns the session to the pool.
func (r *rows) giveBack() {
	if r.rows != nil {
		_ = r.rows.Close() // what could go wrong has been reported by Next
	}
	r.lease.giveBack()
}
