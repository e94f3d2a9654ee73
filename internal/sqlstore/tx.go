package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jmoiron/sqlx"
	"github.com/pressly/goose/v3"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/event"
	"github.com/behalf-project/behalf/internal/fault"
)

const (
	openTimeout = time.Minute      // to connect, migrate and unlock
	timeout     = 10 * time.Second // of a method whose caller gives no deadline
	writeLimit  = 30 * time.Second // of a method that changes something, whatever its caller allows; see settleFor
	tries       = 8                // of a transaction that meets a busy file, a deadlock or the like
)

// dialect is what the two databases do differently.
type dialect struct {
	name      string
	goose     goose.Dialect
	folder    string // of the migrations
	binding   int    // the placeholders, as sqlx numbers them
	binary    string // the type of sealed columns
	classify  func(error) failure
	alone     string // takes the lock of a name until the transaction ends; empty where transactions take turns anyway
	clock     string // asks for the database's time in unix milliseconds; empty where its only process has the same
	notify    bool   // other processes may use the database, and NOTIFY tells them what changed
	remembers bool   // the driver keeps the statements that it has parsed
	insert    string // begins the insertion of many rows, whose failure fails the transaction: none of it is undone alone
}

// failure is what an error of a driver means to us.
type failure int

const (
	other         failure = iota // a fault of ours, or of the schema
	transient                    // the same transaction may well succeed now
	unreachable                  // the database is not there, or cannot work
	severed                      // the connection is lost; another one may do
	notUnique                    // a unique index has that value already
	notReferenced                // a foreign key points at nothing, or would after a deletion
)

// conn runs statements, written with ? or with :names, on a handle or in a transaction.
type conn struct {
	ext     sqlx.ExtContext
	dialect dialect
	news    *announced           // nil outside a transaction
	acts    *[]audit.Entry       // what is recorded at its end; nil outside a transaction
	parsed  map[string]*sql.Stmt // by execAgain; nil outside a transaction, and where the driver remembers by itself
}

// get stores the only row of query in dest, or returns sql.ErrNoRows.
func (c conn) get(ctx context.Context, dest any, query string, args ...any) error {
	if err := checkText(args); err != nil {
		return err
	}
	return sqlx.GetContext(ctx, c.ext, dest, sqlx.Rebind(c.dialect.binding, query), args...)
}

// all stores the rows of query in dest, a pointer to a slice.
func (c conn) all(ctx context.Context, dest any, query string, args ...any) error {
	if err := checkText(args); err != nil {
		return err
	}
	return sqlx.SelectContext(ctx, c.ext, dest, sqlx.Rebind(c.dialect.binding, query), args...)
}

// query returns the rows of query, to be read one by one.
func (c conn) query(ctx context.Context, query string, args ...any) (*sqlx.Rows, error) {
	if err := checkText(args); err != nil {
		return nil, err
	}
	return c.ext.QueryxContext(ctx, sqlx.Rebind(c.dialect.binding, query), args...)
}

// exec runs query and returns how many rows it changed.
func (c conn) exec(ctx context.Context, query string, args ...any) (int64, error) {
	if err := checkText(args); err != nil {
		return 0, err
	}
	res, err := c.ext.ExecContext(ctx, sqlx.Rebind(c.dialect.binding, query), args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// execAgain is exec for a statement that a transaction runs many times: it is parsed once.
func (c conn) execAgain(ctx context.Context, query string, args ...any) (int64, error) {
	if c.parsed == nil {
		return c.exec(ctx, query, args...)
	}
	if err := checkText(args); err != nil {
		return 0, err
	}
	s := c.parsed[query]
	if s == nil {
		var err error
		if s, err = c.ext.(*sqlx.Tx).PrepareContext(ctx, sqlx.Rebind(c.dialect.binding, query)); err != nil {
			return 0, err
		}
		c.parsed[query] = s // until the transaction ends, which closes it
	}
	res, err := s.ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// alone keeps out, until the transaction ends, whoever asks for the same name.
func (c conn) alone(ctx context.Context, name string) error {
	if c.dialect.alone == "" {
		return nil
	}
	_, err := c.exec(ctx, c.dialect.alone, name)
	return err
}

// each calls f for every row of query, with what scans it.
func (c conn) each(ctx context.Context, query string, args []any, f func(scan func(...any) error) error) error {
	if err := checkText(args); err != nil {
		return err
	}
	rows, err := c.ext.QueryxContext(ctx, sqlx.Rebind(c.dialect.binding, query), args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// getNamed is get with the arguments in the fields of row.
func (c conn) getNamed(ctx context.Context, dest any, query string, row any) error {
	query, args, err := sqlx.Named(query, row)
	if err != nil {
		return err
	}
	return c.get(ctx, dest, query, args...)
}

// execNamed is exec with the arguments in the fields of row.
func (c conn) execNamed(ctx context.Context, query string, row any) (int64, error) {
	query, args, err := sqlx.Named(query, row)
	if err != nil {
		return 0, err
	}
	return c.exec(ctx, query, args...)
}

// checkText refuses text that Postgres cannot hold, so that both databases answer alike.
func checkText(args []any) error {
	for _, a := range args {
		s, ok := a.(string)
		if p, isPointer := a.(*string); isPointer && p != nil {
			s, ok = *p, true
		}
		if ok && (!utf8.ValidString(s) || strings.ContainsRune(s, 0)) {
			return fault.New(fault.Invalid, "Text must be valid UTF-8 without null characters.")
		}
	}
	return nil
}

// printable returns s as text that both databases hold, for what is only ever shown, such as a user agent.
func printable(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// read runs f for the operation op, outside a transaction: what f reads in one statement is consistent.
func (db *DB) read(ctx context.Context, op string, f func(context.Context, conn) error) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	return db.retry(ctx, op, func() error { return f(ctx, conn{ext: db.reader, dialect: db.dialect}) })
}

// write runs f for the operation op, in a transaction that commits when f returns nil. f may run several times. When
// write returns, everybody in this process has heard what f announced.
//
// When the connection is lost during the commit itself, nobody knows whether it happened, and it is not tried again:
// the caller hears Unavailable or Timeout, and whoever repeats the method meets its revision or fence. What f announced
// is told all the same, because it may be so.
func (db *DB) write(ctx context.Context, op string, f func(context.Context, conn) error) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, writeLimit)
	defer cancel()
	return db.retry(ctx, op, func() error {
		tx, err := db.writer.BeginTxx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // nothing to undo after a commit
		news, acts := announced{by: db.process}, []audit.Entry{}
		c := conn{ext: tx, dialect: db.dialect, news: &news, acts: &acts}
		if !db.dialect.remembers {
			c.parsed = map[string]*sql.Stmt{}
		}
		if err := f(ctx, c); err != nil {
			return err
		}
		err = db.commit(ctx, c, tx, acts)
		if unknown, ok := errors.AsType[*commitError](err); err == nil || ok && db.dialect.classify(unknown.error) != transient {
			news.publish(&db.news)
		}
		return err
	})
}

// commitError is what a commit failed with: it may have happened all the same.
type commitError struct{ error }

func (e *commitError) Unwrap() error { return e.error }

// commit puts acts into the audit chain, stores the events that they are, and commits.
func (db *DB) commit(ctx context.Context, c conn, tx *sqlx.Tx, acts []audit.Entry) error {
	var a *appended
	if len(acts) > 0 {
		var events []event.Event
		for _, e := range acts {
			if ev, ok := event.Of(e); ok {
				events = append(events, ev)
			}
		}
		// Before the turn in the chain: who stores the same event at once waits for us, and must not hold it then.
		_, err := db.addEvents(ctx, c, events...)
		if err != nil {
			return err
		}
		if a, err = db.append(ctx, c, acts); err != nil {
			return err
		}
		defer a.close()
	}
	err := tx.Commit()
	if err != nil {
		err = &commitError{err}
	}
	switch {
	case a == nil:
	case err == nil:
		a.commit()
		for _, h := range a.checkpoints {
			db.log.Info(audit.CheckpointMessage, zap.String("writer", h.Writer), zap.Int64("position", h.Position), zap.Stringer("hash", h.Hash))
		}
	case db.dialect.classify(err) != transient: // nobody knows whether it happened
		a.leave()
	}
	return err
}

// bounded gives ctx a deadline when it has none.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, timeout)
}

// retry runs f until it succeeds, fails for good, or was tried often enough; then it translates the error. When the
// database has restarted, every connection of the pool is lost, and not only the one that f met: they are all given up,
// and f is tried once more. What was lost in the middle of a commit is not tried again.
func (db *DB) retry(ctx context.Context, op string, f func() error) error {
	pause := 5 * time.Millisecond
	reconnected := false
	for try := 1; ; try++ {
		err := f()
		if err == nil {
			return nil
		}
		if _, committing := errors.AsType[*commitError](err); !reconnected && !committing && db.dialect.classify(err) == severed && ctx.Err() == nil {
			reconnected = true
			db.reconnect()
			continue
		}
		again := errors.Is(err, errForked) || db.dialect.classify(err) == transient
		if try == tries || fault.KindOf(err) != "" || !again {
			return db.fail(ctx, op, err)
		}
		select {
		case <-ctx.Done():
			return db.fail(ctx, op, err)
		case <-time.After(pause + rand.N(pause)): // apart, so that two who collided do not do so again
		}
		pause *= 2
	}
}

// fail translates the error of a driver into a kind. What a method has given a kind already stays as it is.
func (db *DB) fail(ctx context.Context, op string, err error) error {
	switch {
	case fault.KindOf(err) != "":
		return err
	case errors.Is(ctx.Err(), context.Canceled):
		return fault.Wrap(fault.Canceled, err, "The caller left before the store answered.")
	case ctx.Err() != nil:
		return fault.Wrap(fault.Timeout, err, "The store did not answer in time.")
	}
	switch db.dialect.classify(err) {
	case transient:
		return fault.Wrap(fault.Unavailable, err, "The store is too busy. Try again.")
	case notUnique:
		return fault.Wrap(fault.Conflict, err, "There is one like this already.")
	case notReferenced:
		return fault.Wrap(fault.Conflict, err, "Something that this belongs to, or that belongs to this, stands in the way.")
	case unreachable, severed:
		return unavailable(err)
	}
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) {
		return unavailable(err)
	}
	return fmt.Errorf("store: %s: %w", op, err)
}

func unavailable(err error) error {
	return &fault.Error{Kind: fault.Unavailable, Code: "store_unavailable", Detail: "The store does not answer.", Owner: fault.Admin, Err: err}
}
