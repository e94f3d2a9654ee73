package sqlstore

import (
	"context"
	"database/sql"
	"errors"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/authserver"
	"github.com/behalf-project/behalf/internal/fault"
)

// Codes keeps authorization codes of ours: an authserver.Codes.
type Codes struct{ db *DB }

var _ authserver.Codes = (*Codes)(nil)

// codeRow is a code as its table holds it.
type codeRow struct {
	ID          string `db:"id"`
	Hash        string `db:"code_hash"`
	UserID      string `db:"user_id"`
	RedirectURI string `db:"redirect_uri"`
	Challenge   string `db:"code_challenge"`
	Name        string `db:"name"`
	Scopes      list   `db:"scopes"`
	TokenID     string `db:"token_id"`
	CreatedAt   int64  `db:"created_at"`
	ExpiresAt   int64  `db:"expires_at"`
	Uses        int    `db:"uses"`
}

const codeColumns = "id, code_hash, user_id, redirect_uri, code_challenge, name, scopes, token_id, created_at, expires_at, uses"

// CreateCode implements authserver.Codes. The person's row is locked, so that two who count at once do not both fit.
func (s *Codes) CreateCode(ctx context.Context, code authserver.Code, most int, e audit.Entry) error {
	if code.ID == "" || code.Hash == "" || code.TokenID == "" || code.ExpiresAt.IsZero() {
		return fault.New(fault.Invalid, "An authorization code needs an id, a hash, a token and an end.")
	}
	row := codeRow{
		ID: code.ID, Hash: code.Hash, UserID: code.UserID, RedirectURI: code.RedirectURI, Challenge: code.Challenge, Name: printable(code.Name),
		Scopes: code.Scopes, TokenID: code.TokenID, CreatedAt: millis(code.CreatedAt), ExpiresAt: millis(code.ExpiresAt), Uses: code.Uses,
	}
	return s.db.write(ctx, "store an authorization code", func(ctx context.Context, c conn) error {
		n, err := c.exec(ctx, "UPDATE users SET rev = rev WHERE id = ? AND NOT disabled", row.UserID)
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.New(fault.NotFound, "There is no such person, or they are disabled.")
		}
		if _, err := c.exec(ctx, "DELETE FROM authorization_codes WHERE expires_at < ?", millis(code.CreatedAt.AddDate(0, 0, -1))); err != nil {
			return err
		}
		var living int
		if err := c.get(ctx, &living, "SELECT count(*) FROM authorization_codes WHERE user_id = ? AND expires_at > ?", row.UserID, row.CreatedAt); err != nil {
			return err
		}
		if living >= most {
			return fault.New(fault.TooMany, "You allowed many programs within a minute. Wait one, and allow this one again.")
		}
		if _, err := c.execNamed(ctx, `INSERT INTO authorization_codes (`+codeColumns+`) VALUES (:id, :code_hash, :user_id, :redirect_uri,
			:code_challenge, :name, :scopes, :token_id, :created_at, :expires_at, :uses)`, row); err != nil {
			return err
		}
		return s.db.record(ctx, c, e, row.ID)
	})
}

// UseCode implements authserver.Codes. The row is locked by counting, so that of many at once each sees its own count.
func (s *Codes) UseCode(ctx context.Context, hash string) (code authserver.Code, err error) {
	err = s.db.write(ctx, "use an authorization code", func(ctx context.Context, c conn) error {
		if _, err := c.exec(ctx, "UPDATE authorization_codes SET uses = uses + 1 WHERE code_hash = ?", hash); err != nil {
			return err
		}
		code, err = findCode(ctx, c, hash)
		return err
	})
	return code, err
}

// FindCode implements authserver.Codes.
func (s *Codes) FindCode(ctx context.Context, hash string) (code authserver.Code, err error) {
	err = s.db.read(ctx, "read an authorization code", func(ctx context.Context, c conn) error {
		code, err = findCode(ctx, c, hash)
		return err
	})
	return code, err
}

func findCode(ctx context.Context, c conn, hash string) (authserver.Code, error) {
	var row codeRow
	err := c.get(ctx, &row, "SELECT "+codeColumns+" FROM authorization_codes WHERE code_hash = ?", hash)
	if errors.Is(err, sql.ErrNoRows) {
		return authserver.Code{}, fault.New(fault.NotFound, "There is no such authorization code.")
	}
	return authserver.Code{
		ID: row.ID, Hash: row.Hash, UserID: row.UserID, RedirectURI: row.RedirectURI, Challenge: row.Challenge, Name: row.Name, Scopes: row.Scopes,
		TokenID: row.TokenID, CreatedAt: moment(row.CreatedAt), ExpiresAt: moment(row.ExpiresAt), Uses: row.Uses,
	}, err
}
