package driverfactory

import (
	"context"
	"database/sql"
)

// lease is a session that one statement has for itself, until it is given back.
type lease struct {
	p    *pool
	conn *sql.Conn
	sess *session
}

// spoil marks the session as not to be lent again, unless an error of this class leaves it as it was.
func (l lease) spoil(class Class) {
	if class.spoils() {
		l.sess.bad.Store(true)
	}
}

// spoils reports whether a session might not be as it was after an error of this class.
func (c Class) spoils() bool {
	switch c {
	case StatementFailed, AccessDenied, Misconfigured:
		return false
	case SessionLost, AuthExpired, Canceled, TransportFailed:
	}
	return true
}

// giveBack returns the session to the pool, which closes it if it is not to be lent again.
func (l lease) giveBack() { _ = l.conn.Close() }

// allow lets the session write, with a statement of the warehouse's. From here on the session is not to be lent again, whatever
// becomes of its user, until write has forbidden it.
//
// Where a session is not told, it is asked for nothing much: a session that is lost, or a token that is refused, is then found
// before the statement that must not run twice. Of what goes wrong in the middle of that nobody knows whether it ran.
func (l lease) allow(ctx context.Context, statement string) error {
	l.sess.bad.Store(true)
	if statement == "" {
		statement = "SELECT 1"
	}
	_, err := l.conn.ExecContext(ctx, statement)
	return err
}

// write runs s, and forbids the session to write again.
func (l lease) write(ctx context.Context, s Statement, forbid string) error {
	_, err := l.conn.ExecContext(ctx, s.SQL, s.Args...)
	if err != nil && l.p.classify(ctx, err).spoils() {
		return err
	}
	if forbid != "" {
		if _, kept := l.conn.ExecContext(ctx, forbid); kept != nil {
			if err == nil {
				err = kept
			}
			return err
		}
	}
	l.sess.bad.Store(false)
	return err
}
