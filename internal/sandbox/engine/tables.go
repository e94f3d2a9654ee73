//go:build cgo

package engine

import (
	"context"
	"database/sql"
	"fmt"
)

// made is a table that somebody made.
type made struct {
	owner string
	whole bool // its rows are there
}

const maxMade = 10_000 // schemas and tables

// define runs d, which q.Identity may.
func (e *Engine) define(ctx context.Context, conn *sql.Conn, q Query, d definition) error {
	if d.act == createTable {
		return e.createTable(ctx, conn, q, d)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if d.act == createSchema {
		switch {
		case e.schemas[d.name.schema] && d.there:
			return nil
		case e.schemas[d.name.schema]:
			return exists(d.name)
		case len(e.schemas) >= maxMade:
			return full()
		}
		if _, err := conn.ExecContext(ctx, "CREATE SCHEMA "+d.name.ident()); err != nil {
			return err
		}
		e.schemas[d.name.schema] = true
		return nil
	}
	switch t := e.tables[d.name]; {
	case (t == nil || !t.whole) && d.there:
		return nil
	case t == nil || !t.whole:
		return absent(d.name)
	case t.owner != q.Identity:
		return &Error{Kind: NotAllowed, Object: d.name.String(), Message: fmt.Sprintf("no permission MANAGE on table %q", d.name)}
	}
	if _, err := conn.ExecContext(ctx, "DROP TABLE "+d.name.ident()); err != nil {
		return err
	}
	delete(e.tables, d.name)
	return nil
}

// createTable makes a table of the rows that q.Identity sees. Its name is theirs from the begin on.
func (e *Engine) createTable(ctx context.Context, conn *sql.Conn, q Query, d definition) error {
	t := &made{owner: q.Identity}
	if err := e.reserve(d.name, t); err != nil {
		return err
	}
	_, err := conn.ExecContext(ctx, "CREATE TABLE "+d.name.ident()+" AS "+d.of, q.Args...)
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		delete(e.tables, d.name)
		return err
	}
	t.whole = true
	return nil
}

// reserve enters t, whose rows are not there yet.
func (e *Engine) reserve(n name, t *made) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case !e.schemas[n.schema]:
		return &Error{Kind: SchemaAbsent, Object: n.schema, Message: fmt.Sprintf("schema %q does not exist", n.schema)}
	case e.tables[n] != nil:
		return exists(n)
	case len(e.tables) >= maxMade:
		return full()
	}
	e.tables[n] = t
	return nil
}

func full() *Error { return &Error{Kind: Failed, Message: "the sandbox keeps no more of these"} }
