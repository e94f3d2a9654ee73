package driverfactory

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	defaultQueryTimeout = 10 * time.Minute

	// maxLost is how many lost sessions one statement may meet before it gives up. One idle session is kept, so a
	// second loss in a row means that the warehouse is in trouble.
	maxLost = 2
)

// pool is the Driver of one Choice. Its sql.DB, which costs a goroutine, exists while a statement runs and for
// Config.IdleTimeout after the last one.
type pool struct {
	f      *Factory
	choice Choice
	wh     Warehouse
	tokens tokens // nil when sessions log in without one

	mu       sync.Mutex
	db       *sql.DB
	users    int         // statements under way, until their rows are closed
	sweep    *time.Timer // closes db; nil while there is none
	released time.Time   // when users became 0
	drains   bool        // no session is kept
	closed   bool
}

var (
	_ Driver     = (*pool)(nil)
	_ Maker      = (*pool)(nil)
	_ IdleCloser = (*pool)(nil)
	_ Roles      = (*pool)(nil)
)

func (p *pool) timeout() time.Duration {
	if t := p.choice.src.Limits.QueryTimeout; t > 0 {
		return t
	}
	return defaultQueryTimeout
}

// maxOpen is how many sessions this pool may have: what one person may, or all of the source's for the service
// account, which everybody shares.
func (p *pool) maxOpen() int {
	all, each := p.choice.src.Limits.Sessions()
	if p.choice.Key.Service {
		return all
	}
	return each
}

// acquire returns the sql.DB, opened if need be. Each successful call is followed by one of release.
func (p *pool) acquire() (*sql.DB, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, p.choice.superseded()
	}
	if p.db == nil {
		login := Login{Account: p.choice.account}
		if p.choice.account == nil {
			login.Username = p.choice.RunAs.Username
		}
		if p.tokens != nil {
			login.Token, login.Refused = p.token, p.tokens.refused
		}
		inner, err := p.wh.Connector(p.choice.src, login)
		if err != nil {
			return nil, err
		}
		p.db = sql.OpenDB(&connector{p: p, inner: inner})
		p.db.SetMaxOpenConns(p.maxOpen())
		if p.db.SetMaxIdleConns(1); p.drains {
			p.db.SetMaxIdleConns(0)
		}
		p.db.SetConnMaxIdleTime(p.f.cfg.IdleTimeout)
		p.db.SetConnMaxLifetime(maxSessionLife)
	}
	p.users++
	if p.sweep != nil {
		p.sweep.Stop()
	}
	return p.db, nil
}

func (p *pool) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.users--
	if p.users > 0 || p.closed || p.db == nil {
		return
	}
	p.released = time.Now()
	if p.sweep == nil {
		p.sweep = time.AfterFunc(p.f.cfg.IdleTimeout, p.closeIdleDB)
	} else {
		p.sweep.Reset(p.f.cfg.IdleTimeout)
	}
}

// closeIdleDB runs when the pool was unused for Config.IdleTimeout.
func (p *pool) closeIdleDB() {
	p.mu.Lock()
	if p.closed || p.users > 0 || time.Since(p.released) < p.f.cfg.IdleTimeout {
		p.mu.Unlock() // used meanwhile: that use ends with a sweep of its own
		return
	}
	db := p.db
	p.db, p.sweep = nil, nil
	p.mu.Unlock()
	p.closeDB(db)
}

// closeDB closes db, which may call the warehouse: never under p.mu.
func (p *pool) closeDB(db *sql.DB) {
	if db == nil {
		return
	}
	_ = db.Close() // a session that cannot say goodbye is gone all the same
}

// Close lends no more sessions and closes the idle ones; those in use close when their rows do.
func (p *pool) Close() error {
	p.mu.Lock()
	p.closed = true
	if p.sweep != nil {
		p.sweep.Stop()
	}
	db := p.db
	p.db, p.sweep = nil, nil
	p.mu.Unlock()
	p.closeDB(db)
	return nil
}

// CloseIdle closes the idle sessions.
func (p *pool) CloseIdle() int {
	p.mu.Lock()
	db := p.db
	p.mu.Unlock()
	if db == nil {
		return 0
	}
	before := db.Stats().MaxIdleClosed
	db.SetMaxIdleConns(0)
	db.SetMaxIdleConns(1)
	p.mu.Lock()
	drains := p.drains
	p.mu.Unlock()
	if drains { // asked last: whichever of two calls ends later, no session is kept
		db.SetMaxIdleConns(0)
	}
	return int(db.Stats().MaxIdleClosed - before)
}

// Drain keeps no session any more.
func (p *pool) Drain() {
	p.mu.Lock()
	p.drains = true
	p.mu.Unlock()
	p.CloseIdle()
}

// Stats returns the number of open and of idle sessions.
func (p *pool) Stats() (open, idle int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.db == nil {
		return 0, 0
	}
	s := p.db.Stats()
	return s.OpenConnections, s.Idle
}

// Ping runs the smallest statement there is: the pings of the drivers hide why they failed.
func (p *pool) Ping(ctx context.Context) error {
	r, err := p.Query(ctx, Statement{SQL: "SELECT 1"})
	if err != nil {
		return err
	}
	defer r.Close()
	dest := make([]any, len(r.Columns()))
	for {
		if more, err := r.Next(dest); err != nil || !more {
			return err
		}
	}
}

// Query runs s.
func (p *pool) Query(ctx context.Context, s Statement) (Rows, error) {
	r, err := p.lend(ctx, func(ctx context.Context, r *rows) error {
		if err := r.tell(ctx); err != nil {
			return err
		}
		return r.start(ctx, s)
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// lend returns rows whose session start was called with, once more where it may be. They are to be closed.
func (p *pool) lend(ctx context.Context, start func(context.Context, *rows) error) (*rows, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout())
	r, err := p.query(ctx, start)
	if err != nil {
		cancel()
		return nil, err
	}
	r.cancel = cancel
	return r, nil
}

func (p *pool) query(ctx context.Context, start func(context.Context, *rows) error) (*rows, error) {
	var r *rows
	err := p.onSession(ctx, func(l lease) error {
		r = &rows{lease: l}
		return start(ctx, r)
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Exec runs s on a session that may write for as long.
func (p *pool) Exec(ctx context.Context, s Statement) error {
	w, ok := p.wh.(Writer)
	if !ok {
		return p.choice.readOnly()
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout())
	defer cancel()
	allow, forbid := w.Writing()
	var l lease
	if err := p.onSession(ctx, func(lent lease) error {
		l = lent
		return l.allow(ctx, allow)
	}); err != nil {
		return err
	}
	defer p.release()
	defer l.giveBack()
	if err := l.write(ctx, s, forbid); err != nil {
		return p.fail(ctx, err, l.sess.tok)
	}
	return nil
}

// onSession runs use on a session, and on another one where the warehouse lost that or refused its token: use then had no
// effect. Where use succeeded, it has the session, to be given back, and release is to be called after that.
func (p *pool) onSession(ctx context.Context, use func(lease) error) error {
	if p.tokens != nil {
		// Who may not log in is told so at once, and not after waiting for a session.
		if _, err := p.tokens.token(ctx); err != nil {
			return p.fail(ctx, err, Token{})
		}
	}
	db, err := p.acquire()
	if err != nil {
		return p.fail(ctx, err, Token{})
	}
	lost, refreshed := 0, false
	for {
		tok, err := p.attempt(ctx, db, use)
		if err == nil {
			return nil
		}
		switch class := p.classify(ctx, err); {
		case errors.Is(err, ErrAskAgain) && ctx.Err() == nil:
			continue
		case class == SessionLost && lost < maxLost:
			lost++
			p.log().Info("session lost, taking another")
			continue
		case class == AuthExpired && p.tokens != nil && p.wh.TokenAtLogin() && !refreshed:
			// Where the token goes with each request, the warehouse's transport has done this already.
			refreshed = true
			_, refusal := p.tokens.refused(ctx, tok)
			if refusal == nil {
				p.log().Info("token refused, running once more with a new one")
				continue
			}
			err = refusal
		}
		p.release()
		return p.fail(ctx, err, tok)
	}
}

// attempt runs use on a session once, and returns the token of the session. One that might not be as it was is not lent
// again.
func (p *pool) attempt(ctx context.Context, db *sql.DB, use func(lease) error) (Token, error) {
	conn, err := db.Conn(context.WithValue(ctx, askerKey{}, true))
	if err != nil {
		if login, ok := errors.AsType[*loginError](err); ok {
			return login.tok, login.err
		}
		if p.isClosed() {
			err = p.choice.superseded() // and not "sql: database is closed"
		}
		return Token{}, err
	}
	l := lease{p: p, conn: conn}
	_ = conn.Raw(func(c any) error { // cannot fail: the connection was lent a moment ago
		l.sess = c.(*session)
		return nil
	})
	if err := MayStart(ctx); err != nil {
		l.giveBack()
		return l.sess.tok, err
	}
	if err := use(l); err != nil {
		l.spoil(p.classify(ctx, err))
		l.giveBack()
		return l.sess.tok, err
	}
	return l.sess.tok, nil
}

func (p *pool) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// classify says what err means. The caller's own end comes first, because drivers report it in many ways; then the
// adapter's opinion; then what database/sql itself knows.
func (p *pool) classify(ctx context.Context, err error) Class {
	if ctx.Err() != nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return Canceled
	}
	class := p.wh.Classify(err)
	if class == StatementFailed && errors.Is(err, driver.ErrBadConn) {
		return SessionLost
	}
	return class
}

func (p *pool) log() *zap.Logger {
	return p.f.cfg.Log.With(zap.String("data_source", p.choice.src.Name),
		zap.String("user_id", p.choice.Key.Principal.Subject), zap.String("identity", string(p.choice.RunAs.Identity)))
}
