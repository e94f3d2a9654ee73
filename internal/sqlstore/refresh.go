package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
)

// Claim implements connectedapps.RefreshStore.
func (s *Grants) Claim(ctx context.Context, g connectedapps.Grant, by string, now, until time.Time) (connectedapps.Grant, error) {
	if by == "" || !until.After(now) {
		return connectedapps.Grant{}, fault.New(fault.Invalid, "A claim needs a holder and an end in the future.")
	}
	return s.change(ctx, "claim a grant", func(ctx context.Context, c conn, row *grantRow) error {
		err := c.get(ctx, row, `UPDATE grants SET intent_at = ?, intent_until = ?, intent_by = ?, fence = fence + 1, rev = rev + 1
			WHERE id = ? AND rev = ? AND (intent_until <= ? OR intent_by = ?) RETURNING `+grantColumns,
			millis(now), millis(until), by, g.ID, g.Rev, millis(now), by)
		if err != nil {
			return err
		}
		return s.schedule(ctx, c, *row)
	})
}

// SaveRefreshed implements connectedapps.RefreshStore. The epoch is compared with the fence, because a grant that was
// replaced is another one. Saving the same answer twice is allowed: who lost the connection during the commit does.
func (s *Grants) SaveRefreshed(ctx context.Context, g connectedapps.Grant, e audit.Entry) (connectedapps.Grant, error) {
	next, err := s.sealGrant(g)
	if err != nil {
		return connectedapps.Grant{}, err
	}
	return s.change(ctx, "store refreshed tokens", func(ctx context.Context, c conn, row *grantRow) error {
		err := c.getNamed(ctx, row, `UPDATE grants SET revision = revision + 1, rev = rev + 1, access_token = :access_token,
			refresh_token = :refresh_token, token_type = :token_type, scopes = :scopes, refreshed_at = :refreshed_at,
			expires_at = :expires_at, refresh_expires_at = :refresh_expires_at, refresh_end_known = :refresh_end_known, refused_at = :refused_at,
			failure_code = :failure_code, failed_at = :failed_at,
			failures = 0, next_try_at = 0, intent_at = 0, intent_until = 0, intent_by = ''
			WHERE id = :id AND realm = :realm AND subject = :subject AND app_id = :app_id AND domain = :domain
			AND epoch = :epoch AND fence = :fence RETURNING `+grantColumns, next)
		if err != nil {
			return err
		}
		return s.changed(ctx, c, *row, e)
	})
}

// changed plans the next refresh of a grant that is now as in row, and announces and records what happened to it.
func (s *Grants) changed(ctx context.Context, c conn, row grantRow, e audit.Entry) error {
	if err := s.schedule(ctx, c, row); err != nil {
		return err
	}
	news := row.news()
	news.Revoked = row.RefusedAt != 0
	news.Refused = news.Revoked
	if err := c.announce(ctx, news); err != nil {
		return err
	}
	return s.db.record(ctx, c, e, row.ID)
}

// schedule stores when the grant of row is due, if that is not what the row says.
func (s *Grants) schedule(ctx context.Context, c conn, row grantRow) error {
	g, err := s.openGrant(row)
	if err != nil {
		return err
	}
	due := millis(connectedapps.DueAt(g))
	if due == row.DueAt {
		return nil
	}
	_, err = c.exec(ctx, "UPDATE grants SET due_at = ? WHERE id = ?", due, row.ID)
	return err
}

// Adopt implements connectedapps.RefreshStore.
func (s *Grants) Adopt(ctx context.Context, g connectedapps.Grant, e audit.Entry) (connectedapps.Grant, error) {
	next, err := s.sealGrant(g)
	if err != nil {
		return connectedapps.Grant{}, err
	}
	return s.change(ctx, "adopt late tokens", func(ctx context.Context, c conn, row *grantRow) error {
		err := c.getNamed(ctx, row, `UPDATE grants SET revision = :revision, fence = :fence, rev = rev + 1, access_token = :access_token,
			refresh_token = :refresh_token, spare_refresh_token = :spare_refresh_token, token_type = :token_type, scopes = :scopes,
			refreshed_at = :refreshed_at, expires_at = :expires_at, refresh_expires_at = :refresh_expires_at,
			refresh_end_known = :refresh_end_known, refused_at = :refused_at,
			failure_code = :failure_code, failed_at = :failed_at, failures = :failures, next_try_at = :next_try_at,
			intent_at = :intent_at, intent_until = :intent_until, intent_by = :intent_by
			WHERE id = :id AND realm = :realm AND subject = :subject AND app_id = :app_id AND domain = :domain
			AND epoch = :epoch AND rev = :rev RETURNING `+grantColumns, next)
		if err != nil {
			return err
		}
		return s.changed(ctx, c, *row, e)
	})
}

// Due implements connectedapps.RefreshStore.
func (s *Grants) Due(ctx context.Context, appID string, now time.Time, limit int) ([]connectedapps.Grant, error) {
	// The index grants_due holds all that chooses and orders; the rows themselves are large.
	const chosen = `SELECT id, CASE
		WHEN used_at > refreshed_at AND expires_at > ? AND (expires_at < refresh_expires_at OR refresh_expires_at <= ?) THEN expires_at
		WHEN refresh_expires_at > ? THEN refresh_expires_at
		ELSE 9223372036854775807 END AS ends_at
		FROM grants WHERE app_id = ? AND due_at > 0 AND due_at <= ? ORDER BY ends_at, due_at, id LIMIT ?`
	at := millis(now)
	return s.grants(ctx, "SELECT "+grantColumns+" FROM grants JOIN ("+chosen+") AS chosen USING (id) ORDER BY ends_at, due_at, id",
		at, at, at, appID, at, limit)
}

// SaveRefusal implements connectedapps.RefreshStore.
func (s *Grants) SaveRefusal(ctx context.Context, g connectedapps.Grant, keepIntent bool, e audit.Entry) (connectedapps.Grant, error) {
	clear := ", intent_at = 0, intent_until = 0, intent_by = ''"
	if keepIntent {
		clear = ""
	}
	return s.change(ctx, "store a refusal", func(ctx context.Context, c conn, row *grantRow) error {
		err := c.get(ctx, row, `UPDATE grants SET rev = rev + 1, refused_at = ?, failure_code = ?, failed_at = ?, failures = ?,
			next_try_at = ?`+clear+` WHERE id = ? AND epoch = ? AND fence = ? RETURNING `+grantColumns,
			millis(g.RefusedAt), g.FailureCode, millis(g.FailedAt), g.Failures, millis(g.NextTryAt), g.ID, g.Epoch, g.Fence)
		if err != nil {
			return err
		}
		return s.changed(ctx, c, *row, e)
	})
}

// change runs an update of one grant that returns its row; that it matches none means the grant changed meanwhile.
func (s *Grants) change(ctx context.Context, op string, update func(context.Context, conn, *grantRow) error) (connectedapps.Grant, error) {
	var row grantRow
	err := s.db.write(ctx, op, func(ctx context.Context, c conn) error {
		row = grantRow{}
		err := update(ctx, c, &row)
		if errors.Is(err, sql.ErrNoRows) {
			return fault.New(fault.Conflict, "The connection changed meanwhile.")
		}
		return err
	})
	if err != nil {
		return connectedapps.Grant{}, err
	}
	return s.openGrant(row)
}

// Touch implements connectedapps.RefreshStore.
func (s *Grants) Touch(ctx context.Context, k connectedapps.Key, at time.Time) error {
	return s.db.write(ctx, "note the use of a grant", func(ctx context.Context, c conn) error {
		var row grantRow
		err := c.get(ctx, &row, "UPDATE grants SET used_at = ? WHERE realm = ? AND subject = ? AND app_id = ? AND used_at <= ? RETURNING "+grantColumns,
			millis(at), k.Principal.Realm, k.Principal.Subject, k.AppID, millis(at.Add(-time.Minute)))
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		return s.schedule(ctx, c, row)
	})
}
