package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"time"
)

// connector makes sessions that are alike, and remembers which time zones their server knows.
type connector struct {
	driver.Connector
	timeout time.Duration // of a statement, at the server
	zones   sync.Map      // names that the server knows; as many as there are zones
}

// connectError is why a session could not be opened.
type connectError struct{ err error }

func (e *connectError) Error() string { return "mysql: connect: " + e.err.Error() }
func (e *connectError) Unwrap() error { return e.err }

// Connect opens a session.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	opened, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, &connectError{err}
	}
	s := &session{conn: opened.(conn), connector: c}
	if err := s.begin(ctx); err != nil {
		_ = opened.Close()
		return nil, &connectError{err}
	}
	return s, nil
}

// conn is a connection of go-sql-driver/mysql.
type conn interface {
	driver.Conn
	driver.QueryerContext
	driver.ExecerContext
	driver.ConnPrepareContext
	driver.ConnBeginTx
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// session is a connection that ends its statement at the server when it is closed in the middle of one, and sends
// values as text.
type session struct {
	conn
	connector *connector
	id        string          // of the session at its server
	server    string          // which of those behind one address it is
	ctx       context.Context //nolint:containedctx // of the last statement: it says whether its caller gave it up
}

var (
	_ driver.QueryerContext    = (*session)(nil)
	_ driver.ExecerContext     = (*session)(nil)
	_ driver.NamedValueChecker = (*session)(nil)
)

// onlyReads makes a session that only reads.
const onlyReads = "SET SESSION TRANSACTION READ ONLY"

// anyZone is a zone that every server knows whose tables are filled.
const anyZone = "Europe/London"

// begin makes the session what every session is. The comments are read by one of the servers each: both end a statement
// that nobody can cancel any more, and name the setting differently.
func (s *session) begin(ctx context.Context) error {
	limit := max(s.connector.timeout, time.Second)
	settings := fmt.Sprintf("SET time_zone = '+00:00', sql_mode = 'ONLY_FULL_GROUP_BY' /*M! , max_statement_time = %d */ /*!80000 , max_execution_time = %d */",
		limit/time.Second, limit.Milliseconds())
	for _, statement := range []string{settings, onlyReads} {
		if _, err := s.conn.ExecContext(ctx, statement, nil); err != nil {
			return err
		}
	}
	var err error
	if s.id, err = one(ctx, s.conn, "SELECT CONNECTION_ID()"); err != nil {
		return err
	}
	if s.server, err = one(ctx, s.conn, whichServer); err != nil {
		return err
	}
	return s.knows(ctx, anyZone)
}

const whichServer = "SELECT CONCAT_WS(' ', @@hostname, @@port, @@server_id)"

// one returns the only value of a statement as text.
func one(ctx context.Context, c conn, statement string) (string, error) {
	rows, err := c.QueryContext(ctx, statement, nil)
	if err != nil {
		return "", err
	}
	value := make([]driver.Value, 1)
	err = errors.Join(rows.Next(value), rows.Close())
	if text, ok := value[0].([]byte); ok {
		return string(text), err
	}
	return fmt.Sprint(value[0]), err
}

// zoneError is a time zone that the server does not know.
type zoneError struct{ zone string }

func (e *zoneError) Error() string {
	return "the server does not know the time zone " + e.zone + ": its time zone tables are empty or old. Fill them, as its " +
		"administrator: mysql_tzinfo_to_sql /usr/share/zoneinfo | mysql -u root mysql (mariadb-tzinfo-to-sql and mariadb, at MariaDB)"
}

// knows returns a zoneError when the server does not know a zone: what it would answer is NULL, and not an error.
func (s *session) knows(ctx context.Context, zone string) error {
	if _, ok := s.connector.zones.Load(zone); ok {
		return nil
	}
	known, err := one(ctx, s.conn, "SELECT CONVERT_TZ('2024-01-01', '+00:00', '"+zone+"') IS NOT NULL")
	if err != nil {
		return err
	}
	if known != "1" {
		return &zoneError{zone}
	}
	s.connector.zones.Store(zone, true)
	return nil
}

// zoneNames are the zones in the SQL of the dialect, which converts from UTC alone.
var zoneNames = regexp.MustCompile(`, '\+00:00', '([\w/+-]+)'\)`)

// QueryContext runs a query, once the server is seen to know its time zones. With parameters it answers driver.ErrSkip:
// database/sql prepares the statement then.
func (s *session) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if err := s.runs(ctx, query); err != nil {
		return nil, err
	}
	return s.conn.QueryContext(ctx, query, args)
}

// ExecContext runs a statement without rows, as QueryContext does a query.
func (s *session) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if err := s.runs(ctx, query); err != nil {
		return nil, err
	}
	return s.conn.ExecContext(ctx, query, args)
}

// runs notes whose the statement is that runs now, and returns a zoneError for a time zone in it that the server does not know.
func (s *session) runs(ctx context.Context, statement string) error {
	s.ctx = ctx
	for _, name := range zoneNames.FindAllStringSubmatch(statement, -1) {
		if name[1][0] == '+' || name[1][0] == '-' {
			continue
		}
		if err := s.knows(ctx, name[1]); err != nil {
			return err
		}
	}
	return nil
}

// PrepareContext prepares a statement.
func (s *session) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	prepared, err := s.conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return statement{prepared.(stmt)}, nil
}

// CheckNamedValue makes text of numbers and booleans. A number beside a column of text would be compared with the
// number that each text begins with: 7 is then equal to '7 and more', and a filter lets through what it should not.
func (s *session) CheckNamedValue(v *driver.NamedValue) error { return asText(v) }

func asText(v *driver.NamedValue) error {
	switch value := v.Value.(type) {
	case int64:
		v.Value = strconv.FormatInt(value, 10)
	case float64:
		v.Value = strconv.FormatFloat(value, 'g', -1, 64)
	case bool: // a boolean is a number there
		v.Value = "0"
		if value {
			v.Value = "1"
		}
	}
	return nil
}

// stmt is a prepared statement of go-sql-driver/mysql.
type stmt interface {
	driver.Stmt
	driver.StmtQueryContext
	driver.StmtExecContext
}

// statement is a prepared statement that sends values as text.
type statement struct{ stmt }

// CheckNamedValue makes text of numbers and booleans.
func (statement) CheckNamedValue(v *driver.NamedValue) error { return asText(v) }

// goodbye bounds how long the end of a statement takes at most.
const goodbye = 5 * time.Second

// Close closes the session. go-sql-driver/mysql hangs up when the caller of a statement leaves, and the server, which
// looks at a connection only when it writes, would go on with it: so it is told over another connection.
func (s *session) Close() error {
	cut := s.ctx != nil && s.ctx.Err() != nil && !s.IsValid()
	err := s.conn.Close()
	if !cut {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), goodbye) // its caller has gone
	defer cancel()
	return errors.Join(err, s.kill(ctx))
}

// kill ends the statement of the session. Behind a load balancer the other connection may be at another server, where
// the number is somebody else's.
func (s *session) kill(ctx context.Context) error {
	opened, err := s.connector.Connector.Connect(ctx)
	if err != nil {
		return err
	}
	other := opened.(conn)
	defer other.Close()
	server, err := one(ctx, other, whichServer)
	if err != nil || server != s.server {
		return err
	}
	_, err = other.ExecContext(ctx, "KILL QUERY "+s.id, nil)
	return err
}
