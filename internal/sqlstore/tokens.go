package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/notify"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/internal/tokens"
)

// keepTokens is how long a token is listed after its end.
const keepTokens = 30 * 24 * time.Hour

// Tokens keeps personal access tokens: a tokens.Store.
type Tokens struct{ db *DB }

var _ tokens.Store = (*Tokens)(nil)

// tokenRow is a token as its table holds it.
type tokenRow struct {
	ID           string  `db:"id"`
	UserID       string  `db:"user_id"`
	ParentID     *string `db:"parent_id"`
	Name         string  `db:"name"`
	TokenHash    string  `db:"token_hash"`
	Scopes       list    `db:"scopes"`
	Origin       string  `db:"origin"`
	CreatedAt    int64   `db:"created_at"`
	ExpiresAt    int64   `db:"expires_at"`
	UsedAt       int64   `db:"used_at"`
	RevokedAt    int64   `db:"revoked_at"`
	RevokeReason string  `db:"revoke_reason"`
}

const tokenColumns = "id, user_id, parent_id, name, token_hash, scopes, origin, created_at, expires_at, used_at, revoked_at, revoke_reason"

func (row tokenRow) token() tokens.Token {
	t := tokens.Token{
		ID: row.ID, UserID: row.UserID, Name: row.Name, Hash: row.TokenHash, Scopes: row.Scopes, Origin: row.Origin,
		CreatedAt: moment(row.CreatedAt), ExpiresAt: moment(row.ExpiresAt), UsedAt: moment(row.UsedAt),
		RevokedAt: moment(row.RevokedAt), RevokeReason: row.RevokeReason,
	}
	if row.ParentID != nil {
		t.ParentID = *row.ParentID
	}
	return t
}

var errNoToken = fault.New(fault.NotFound, "You have no such token.")

// CreateToken implements tokens.Store. The person's row is locked, so that two who count at once do not both fit; who
// was disabled meanwhile gets none.
func (s *Tokens) CreateToken(ctx context.Context, t tokens.Token, most int, e audit.Entry) error {
	if t.ID == "" || t.Hash == "" || len(t.Scopes) == 0 {
		return fault.New(fault.Invalid, "A token needs an id, the hash of its value and a scope.")
	}
	row := tokenRow{
		ID: t.ID, UserID: t.UserID, Name: t.Name, TokenHash: t.Hash, Scopes: t.Scopes, Origin: t.Origin,
		CreatedAt: millis(t.CreatedAt), ExpiresAt: millis(t.ExpiresAt), UsedAt: millis(t.UsedAt),
		RevokedAt: millis(t.RevokedAt), RevokeReason: t.RevokeReason,
	}
	if t.ParentID != "" {
		row.ParentID = &t.ParentID
	}
	return s.db.write(ctx, "store a token", func(ctx context.Context, c conn) error {
		n, err := c.exec(ctx, "UPDATE users SET rev = rev WHERE id = ? AND NOT disabled", row.UserID)
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.New(fault.NotFound, "There is no such person, or they are disabled.")
		}
		if t.ParentID != "" {
			if err := underParent(ctx, c, t); err != nil {
				return err
			}
		}
		longAgo := millis(t.CreatedAt.Add(-keepTokens))
		if _, err := c.exec(ctx, "DELETE FROM tokens WHERE user_id = ? AND (revoked_at > 0 AND revoked_at < ? OR expires_at > 0 AND expires_at < ?)",
			row.UserID, longAgo, longAgo); err != nil {
			return err
		}
		var living int
		if err := c.get(ctx, &living, "SELECT count(*) FROM tokens WHERE user_id = ? AND revoked_at = 0 AND (expires_at = 0 OR expires_at > ?)",
			row.UserID, row.CreatedAt); err != nil {
			return err
		}
		if living >= most {
			return &fault.Error{Kind: fault.TooMany, Code: "too_many_tokens", Owner: fault.User, Detail: "You have as many tokens as one person may have. Revoke one that nothing uses any more."}
		}
		if _, err := c.execNamed(ctx, `INSERT INTO tokens (`+tokenColumns+`) VALUES (:id, :user_id, :parent_id, :name, :token_hash, :scopes,
			:origin, :created_at, :expires_at, :used_at, :revoked_at, :revoke_reason)`, row); err != nil {
			return err
		}
		return s.db.record(ctx, c, e, row.ID)
	})
}

// underParent refuses t unless the token that makes it may. Its row is locked by changing it: who ends it at the same
// time either waits, and then finds t below it, or was first, and then t is refused.
func underParent(ctx context.Context, c conn, t tokens.Token) error {
	var row tokenRow
	err := c.get(ctx, &row, "UPDATE tokens SET used_at = used_at WHERE id = ? AND user_id = ? RETURNING "+tokenColumns, t.ParentID, t.UserID)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	parent := row.token()
	if err != nil || parent.Over(t.CreatedAt) {
		return &fault.Error{Kind: fault.Unauthenticated, Code: "invalid_token", Owner: fault.User, Detail: "The token that asks for a new one has ended."}
	}
	return t.Within(parent)
}

// FindToken implements tokens.Store.
func (s *Tokens) FindToken(ctx context.Context, hash string) (tokens.Token, error) {
	var row tokenRow
	err := s.db.read(ctx, "read a token", func(ctx context.Context, c conn) error {
		err := c.get(ctx, &row, "SELECT "+tokenColumns+" FROM tokens WHERE token_hash = ?", hash)
		if errors.Is(err, sql.ErrNoRows) {
			return errNoToken
		}
		return err
	})
	if err != nil {
		return tokens.Token{}, err
	}
	return row.token(), nil
}

// ListTokens implements tokens.Store.
func (s *Tokens) ListTokens(ctx context.Context, userID string) ([]tokens.Token, error) {
	var rows []tokenRow
	err := s.db.read(ctx, "list tokens", func(ctx context.Context, c conn) error {
		rows = nil
		return c.all(ctx, &rows, "SELECT "+tokenColumns+" FROM tokens WHERE user_id = ? ORDER BY id DESC", userID)
	})
	if err != nil {
		return nil, err
	}
	found := make([]tokens.Token, len(rows))
	for i, row := range rows {
		found[i] = row.token()
	}
	return found, nil
}

// RevokeToken implements tokens.Store. Nothing is recorded of a token that had ended already.
func (s *Tokens) RevokeToken(ctx context.Context, userID, id, reason string, at time.Time, e audit.Entry) error {
	return s.db.write(ctx, "end a token", func(ctx context.Context, c conn) error {
		var exists bool
		if err := c.get(ctx, &exists, "SELECT EXISTS (SELECT 1 FROM tokens WHERE id = ? AND user_id = ?)", id, userID); err != nil {
			return err
		}
		if !exists {
			return errNoToken
		}
		over, err := endTokens(ctx, c, reason, at, `id IN (WITH RECURSIVE family (id) AS (SELECT id FROM tokens WHERE id = ?
			UNION SELECT child.id FROM tokens child JOIN family ON child.parent_id = family.id) SELECT id FROM family)`, id)
		if err != nil || len(over) == 0 {
			return err
		}
		owner := securitycontext.Principal{Realm: securitycontext.Local, Subject: userID}
		if err := c.announce(ctx, notify.News{Topic: notify.TokenChanged, Principal: owner.Key()}); err != nil {
			return err
		}
		for _, ended := range over {
			each := e
			each.Object = ended
			if ended != id {
				each.Detail = map[string]string{"with": id}
			}
			if err := s.db.record(ctx, c, each, ended); err != nil {
				return err
			}
		}
		return nil
	})
}

// endTokens ends the living tokens of which where is true, and returns which they were, ordered by id: who makes others
// stands before them. It looks again until it finds none, as a statement does not see what is committed while it waits
// for the row of a parent.
func endTokens(ctx context.Context, c conn, reason string, at time.Time, where string, args ...any) (over []string, err error) {
	args = append([]any{millis(at), reason}, args...)
	for {
		var ids []string
		err := c.all(ctx, &ids, "UPDATE tokens SET revoked_at = ?, revoke_reason = ? WHERE revoked_at = 0 AND "+where+" RETURNING id", args...)
		if err != nil || len(ids) == 0 {
			slices.Sort(over)
			return over, err
		}
		over = append(over, ids...)
	}
}

// RevokeTokens implements tokens.Store. It is recorded even when there was none: somebody had to be sure.
func (s *Tokens) RevokeTokens(ctx context.Context, userID, reason string, at time.Time, e audit.Entry) error {
	return s.db.write(ctx, "end tokens", func(ctx context.Context, c conn) error {
		where, args := "TRUE", []any(nil)
		news := notify.News{Topic: notify.TokenChanged}
		if userID != "" {
			where, args = "user_id = ?", []any{userID}
			news.Principal = securitycontext.Principal{Realm: securitycontext.Local, Subject: userID}.Key()
		}
		if _, err := endTokens(ctx, c, reason, at, where, args...); err != nil {
			return err
		}
		if err := c.announce(ctx, news); err != nil {
			return err
		}
		return s.db.record(ctx, c, e, userID)
	})
}

// TouchToken implements tokens.Store. It never moves backwards.
func (s *Tokens) TouchToken(ctx context.Context, id string, at time.Time) error {
	return s.db.write(ctx, "note the use of a token", func(ctx context.Context, c conn) error {
		_, err := c.exec(ctx, "UPDATE tokens SET used_at = ? WHERE id = ? AND used_at <= ?", millis(at), id, millis(at.Add(-time.Minute)))
		return err
	})
}
