package driverfactory

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// maxSessionLife is how long a session is lent at most, whatever its token says.
const maxSessionLife = 30 * time.Minute

// connector makes the sessions of a pool: it asks for the token and for capacity before the warehouse is dialled,
// and guards what the warehouse's own connector returns.
type connector struct {
	p     *pool
	inner driver.Connector
}

// loginError is why a session could not be made, and with which token.
type loginError struct {
	tok Token
	err error
}

func (e *loginError) Error() string { return e.err.Error() }
func (e *loginError) Unwrap() error { return e.err }

// loginToken is the key in a context for the Token that a session logs in with: the one whose revision the session
// remembers is then certainly the one that the warehouse saw.
type loginToken struct{}

// askerKey is in the context of whoever asks for a session.
type askerKey struct{}

// Connect opens a session for whoever asks. database/sql also calls it by itself, when a session broke or could not be made while
// somebody waited: on a context without an end, and whether or not they still wait when it is there. They are to ask for
// themselves, so that who waits is known, and a session that is given back finds them.
func (c *connector) Connect(ctx context.Context) (conn driver.Conn, err error) {
	if ctx.Value(askerKey{}) == nil {
		return nil, ErrAskAgain
	}
	ctx, cancel := context.WithTimeout(ctx, c.p.timeout())
	defer cancel()
	ctx, end := c.p.f.cfg.Stage.Begin(ctx, Connect, time.Now())
	defer func() {
		failed := err
		if errors.Is(err, ErrAskAgain) {
			failed = nil
		}
		end(c.p.choice.src, failed)
	}()
	release, err := c.p.f.cfg.Admit(ctx, c.p.choice.Key)
	if errors.Is(err, ErrAskAgain) {
		return nil, err
	}
	if err != nil {
		return nil, withSource(err, c.p.choice.src, c.p.choice.Key.App)
	}
	var tok Token
	if c.p.tokens != nil { // as it is after the wait
		if tok, err = c.p.tokens.token(ctx); err != nil {
			release()
			return nil, err // before dialling: a driver's own stack would try again for seconds
		}
		ctx = context.WithValue(ctx, loginToken{}, tok)
	}
	made, err := c.inner.Connect(ctx)
	if err != nil {
		release()
		return nil, &loginError{tok: tok, err: err}
	}
	until := c.p.f.cfg.Now().Add(maxSessionLife)
	if c.p.tokens != nil && c.p.wh.TokenAtLogin() && !tok.ExpiresAt.IsZero() && tok.ExpiresAt.Before(until) {
		until = tok.ExpiresAt
	}
	return &session{Conn: made, p: c.p, tok: tok, until: until, release: sync.OnceFunc(release)}, nil
}

// Driver returns the warehouse's own driver.
func (c *connector) Driver() driver.Driver { return c.inner.Driver() }

// Close closes the warehouse's connector, if it can be closed.
func (c *connector) Close() error {
	if closer, ok := c.inner.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

// token is Login.Token: the token that the session under way logs in with, or else the current one.
func (p *pool) token(ctx context.Context) (Token, error) {
	if tok, ok := ctx.Value(loginToken{}).(Token); ok {
		return tok, nil
	}
	return p.tokens.token(ctx)
}

// session is one connection to a warehouse under the pool's credential. Neither warehouse's driver tells
// database/sql that a session is dead, and none knows that its token was replaced: the session remembers both and is
// not lent again. Everything else goes through to the driver's own connection, its optional interfaces included.
type session struct {
	driver.Conn
	p       *pool
	tok     Token // it logged in with
	until   time.Time
	bad     atomic.Bool
	release func()

	role   string    // that it told; see rows.tell, and "" before. Whoever has the session lent reads and writes it
	toldAt time.Time // when it was asked, if it was
}

var (
	_ driver.QueryerContext     = (*session)(nil)
	_ driver.ExecerContext      = (*session)(nil)
	_ driver.ConnPrepareContext = (*session)(nil)
	_ driver.ConnBeginTx        = (*session)(nil)
	_ driver.Pinger             = (*session)(nil)
	_ driver.SessionResetter    = (*session)(nil)
	_ driver.Validator          = (*session)(nil)
	_ driver.NamedValueChecker  = (*session)(nil)
)

// QueryContext runs a query.
func (s *session) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if q, ok := s.Conn.(driver.QueryerContext); ok {
		return q.QueryContext(ctx, query, args)
	}
	return nil, driver.ErrSkip
}

// ExecContext runs a statement without rows.
func (s *session) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if e, ok := s.Conn.(driver.ExecerContext); ok {
		return e.ExecContext(ctx, query, args)
	}
	return nil, driver.ErrSkip
}

// PrepareContext prepares a statement.
func (s *session) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	if p, ok := s.Conn.(driver.ConnPrepareContext); ok {
		return p.PrepareContext(ctx, query)
	}
	return s.Conn.Prepare(query)
}

// BeginTx starts a transaction.
func (s *session) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if b, ok := s.Conn.(driver.ConnBeginTx); ok {
		return b.BeginTx(ctx, opts)
	}
	if opts != (driver.TxOptions{}) {
		return nil, errors.New("driverfactory: the driver knows no transaction options")
	}
	return s.Conn.Begin() //nolint:staticcheck // the only way such a driver has
}

// Ping asks the driver whether the session lives.
func (s *session) Ping(ctx context.Context) error {
	if p, ok := s.Conn.(driver.Pinger); ok {
		return p.Ping(ctx)
	}
	return nil
}

// CheckNamedValue lets the driver convert an argument.
func (s *session) CheckNamedValue(v *driver.NamedValue) error {
	if c, ok := s.Conn.(driver.NamedValueChecker); ok {
		return c.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

// ResetSession is asked before the session is lent again. It answers driver.ErrBadConn, whatever the reason, because
// that is the only answer database/sql drops a session for; the new session's login then says what is wrong.
func (s *session) ResetSession(ctx context.Context) error {
	if !s.IsValid() {
		return driver.ErrBadConn
	}
	if s.p.tokens != nil && s.p.wh.TokenAtLogin() {
		tok, err := s.p.tokens.token(ctx)
		if err != nil || tok.Revision != s.tok.Revision {
			return driver.ErrBadConn
		}
	}
	if r, ok := s.Conn.(driver.SessionResetter); ok && r.ResetSession(ctx) != nil {
		return driver.ErrBadConn
	}
	return nil
}

// IsValid reports whether the session may be lent again.
func (s *session) IsValid() bool {
	if s.bad.Load() || !s.p.f.cfg.Now().Before(s.until) {
		return false
	}
	if v, ok := s.Conn.(driver.Validator); ok {
		return v.IsValid()
	}
	return true
}

// Close closes the connection and gives its capacity back.
func (s *session) Close() error {
	defer s.release()
	return s.Conn.Close()
}
