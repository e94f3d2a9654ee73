package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/session"
)

// keepSessions is how long after its sign-in the row of a session is kept: the longest life and 30 days.
const keepSessions = (90 + 30) * 24 * time.Hour

// Sessions keeps the sessions of browsers: a session.Store.
type Sessions struct{ db *DB }

var _ session.Store = (*Sessions)(nil)

// sessionRow is a session as its table holds it.
type sessionRow struct {
	ID              string `db:"id"`
	UserID          string `db:"user_id"`
	TokenHash       string `db:"token_hash"`
	Method          string `db:"method"`
	AuthenticatedAt int64  `db:"authenticated_at"`
	LastSeenAt      int64  `db:"last_seen_at"`
	IP              string `db:"ip"`
	UserAgent       string `db:"user_agent"`
	RevokedAt       int64  `db:"revoked_at"`
	RevokeReason    string `db:"revoke_reason"`
}

const sessionColumns = "id, user_id, token_hash, method, authenticated_at, last_seen_at, ip, user_agent, revoked_at, revoke_reason"

// CreateSession implements session.Store. It also removes rows that have long been of no use.
func (s *Sessions) CreateSession(ctx context.Context, ses session.Session, replaced string, e audit.Entry) error {
	if ses.ID == "" || ses.TokenHash == "" {
		return fault.New(fault.Invalid, "A session needs an id and the hash of its token.")
	}
	row := sessionRow{
		ID: ses.ID, UserID: ses.UserID, TokenHash: ses.TokenHash, Method: ses.Method,
		AuthenticatedAt: millis(ses.AuthenticatedAt), LastSeenAt: millis(ses.LastSeenAt), IP: printable(ses.IP),
		UserAgent: printable(ses.UserAgent), RevokedAt: millis(ses.RevokedAt), RevokeReason: ses.RevokeReason,
	}
	err := s.db.write(ctx, "store a session", func(ctx context.Context, c conn) error {
		if _, err := c.exec(ctx, "DELETE FROM sessions WHERE authenticated_at < ?", millis(ses.AuthenticatedAt.Add(-keepSessions))); err != nil {
			return err
		}
		if replaced != "" {
			_, err := c.exec(ctx, "UPDATE sessions SET revoked_at = ?, revoke_reason = 'replaced' WHERE token_hash = ? AND revoked_at = 0",
				row.AuthenticatedAt, replaced)
			if err != nil {
				return err
			}
		}
		_, err := c.execNamed(ctx, `INSERT INTO sessions (`+sessionColumns+`) VALUES (:id, :user_id, :token_hash, :method,
			:authenticated_at, :last_seen_at, :ip, :user_agent, :revoked_at, :revoke_reason)`, row)
		if err != nil {
			return err
		}
		return s.db.record(ctx, c, e, row.ID)
	})
	if s.db.dialect.classify(err) == notReferenced {
		return fault.Wrap(fault.NotFound, err, "There is no such person.")
	}
	return err
}

// GetSession implements session.Store.
func (s *Sessions) GetSession(ctx context.Context, tokenHash string) (session.Session, error) {
	var row sessionRow
	err := s.db.read(ctx, "read a session", func(ctx context.Context, c conn) error {
		err := c.get(ctx, &row, "SELECT "+sessionColumns+" FROM sessions WHERE token_hash = ?", tokenHash)
		if errors.Is(err, sql.ErrNoRows) {
			return fault.New(fault.NotFound, "There is no such session.")
		}
		return err
	})
	if err != nil {
		return session.Session{}, err
	}
	return session.Session{
		ID: row.ID, UserID: row.UserID, TokenHash: row.TokenHash, Method: row.Method,
		AuthenticatedAt: moment(row.AuthenticatedAt), LastSeenAt: moment(row.LastSeenAt), IP: row.IP, UserAgent: row.UserAgent,
		RevokedAt: moment(row.RevokedAt), RevokeReason: row.RevokeReason,
	}, nil
}

// TouchSession implements session.Store. It never moves backwards and never touches a session that has ended.
func (s *Sessions) TouchSession(ctx context.Context, id string, at time.Time) error {
	return s.db.write(ctx, "note the use of a session", func(ctx context.Context, c conn) error {
		_, err := c.exec(ctx, "UPDATE sessions SET last_seen_at = ? WHERE id = ? AND revoked_at = 0 AND last_seen_at < ?",
			millis(at), id, millis(at.Add(-time.Minute)))
		return err
	})
}

// RevokeSessions implements session.Store. Sessions that have ended already keep when and why; when there is nothing
// left to end, nothing is recorded.
func (s *Sessions) RevokeSessions(ctx context.Context, userID, id, reason string, at time.Time, e audit.Entry) error {
	if userID == "" {
		return fault.New(fault.Invalid, "Sessions are ended of one person.")
	}
	return s.db.write(ctx, "end sessions", func(ctx context.Context, c conn) error {
		return s.db.revokeSessions(ctx, c, userID, id, reason, at, e)
	})
}

// revokeSessions ends the session id of a person, or all of them, with e as its record if there was one to end.
func (db *DB) revokeSessions(ctx context.Context, c conn, userID, id, reason string, at time.Time, e audit.Entry) error {
	query, args := "UPDATE sessions SET revoked_at = ?, revoke_reason = ? WHERE revoked_at = 0 AND user_id = ?", []any{millis(at), reason, userID}
	object := userID
	if id != "" {
		query, args, object = query+" AND id = ?", append(args, id), id
	}
	n, err := c.exec(ctx, query, args...)
	if err != nil || n == 0 {
		return err
	}
	return db.record(ctx, c, e, object)
}

// RevokeOthers implements session.Store.
func (s *Sessions) RevokeOthers(ctx context.Context, userID, reason string, at time.Time, e audit.Entry) error {
	return s.db.write(ctx, "end sessions", func(ctx context.Context, c conn) error {
		n, err := c.exec(ctx, "UPDATE sessions SET revoked_at = ?, revoke_reason = ? WHERE revoked_at = 0 AND user_id <> ?", millis(at), reason, userID)
		if err != nil || n == 0 {
			return err
		}
		return s.db.record(ctx, c, e, "everybody")
	})
}
