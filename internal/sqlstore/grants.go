package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/id"
	"github.com/behalf-project/behalf/internal/notify"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
)

// Grants keeps grants: a connectedapps.Store and connectedapps.RefreshStore.
type Grants struct{ db *DB }

var (
	_ connectedapps.Store        = (*Grants)(nil)
	_ connectedapps.RefreshStore = (*Grants)(nil)
)

// grantRow is a grant as its table holds it.
type grantRow struct {
	ID               string `db:"id"`
	Realm            string `db:"realm"`
	Subject          string `db:"subject"`
	AppID            string `db:"app_id"`
	Domain           string `db:"domain"`
	Epoch            int64  `db:"epoch"`
	Revision         int64  `db:"revision"`
	Rev              int64  `db:"rev"`
	AccessToken      []byte `db:"access_token"`
	RefreshToken     []byte `db:"refresh_token"`
	TokenType        string `db:"token_type"`
	Scopes           list   `db:"scopes"`
	Requested        list   `db:"requested"`
	ProviderSubject  string `db:"provider_subject"`
	Account          string `db:"account"`
	ConnectedAt      int64  `db:"connected_at"`
	RefreshedAt      int64  `db:"refreshed_at"`
	ExpiresAt        int64  `db:"expires_at"`
	RefreshExpiresAt int64  `db:"refresh_expires_at"`
	UsedAt           int64  `db:"used_at"`
	RefusedAt        int64  `db:"refused_at"`
	FailureCode      string `db:"failure_code"`
	FailedAt         int64  `db:"failed_at"`
	Failures         int    `db:"failures"`
	NextTryAt        int64  `db:"next_try_at"`
	IntentAt         int64  `db:"intent_at"`
	IntentUntil      int64  `db:"intent_until"`
	IntentBy         string `db:"intent_by"`
	Fence            int64  `db:"fence"`
	Identity         string `db:"identity"`
	Mismatch         string `db:"mismatch"`
	RefreshEndKnown  int64  `db:"refresh_end_known"`
	Spare            []byte `db:"spare_refresh_token"`
	DueAt            int64  `db:"due_at"`
	DPoPKey          []byte `db:"dpop_key"`
	Exchanged        bool   `db:"exchanged"`
}

const grantColumns = `id, realm, subject, app_id, domain, epoch, revision, rev, access_token, refresh_token, token_type,
	scopes, requested, provider_subject, account, connected_at, refreshed_at, expires_at, refresh_expires_at, used_at, refused_at,
	failure_code, failed_at, failures, next_try_at, intent_at, intent_until, intent_by, fence, spare_refresh_token, due_at, identity, mismatch,
	refresh_end_known, dpop_key, exchanged`

func grantPlace(g connectedapps.Grant, field string) secret.Place {
	return sealedGrants.at(field, g.ID, g.Domain, g.Key.Principal.Realm, g.Key.Principal.Subject, g.Key.AppID)
}

// sealGrant returns g as a row.
func (s *Grants) sealGrant(g connectedapps.Grant) (grantRow, error) {
	access, err := s.db.keyring.Seal(g.AccessToken, grantPlace(g, "access_token"))
	if err != nil {
		return grantRow{}, err
	}
	refresh, err := s.db.keyring.Seal(g.RefreshToken, grantPlace(g, "refresh_token"))
	if err != nil {
		return grantRow{}, err
	}
	spare, err := s.db.keyring.Seal(g.SpareRefreshToken, grantPlace(g, "spare_refresh_token"))
	if err != nil {
		return grantRow{}, err
	}
	dpopKey, err := s.db.keyring.Seal(g.DPoPKey, grantPlace(g, "dpop_key"))
	if err != nil {
		return grantRow{}, err
	}
	return grantRow{
		Spare: spare, DueAt: millis(connectedapps.DueAt(g)),
		ID: g.ID, Realm: g.Key.Principal.Realm, Subject: g.Key.Principal.Subject, AppID: g.Key.AppID, Domain: g.Domain,
		Epoch: g.Epoch, Revision: g.Revision, Rev: g.Rev, AccessToken: access, RefreshToken: refresh, TokenType: g.TokenType,
		Scopes: g.Scopes, Requested: g.Requested, ProviderSubject: printable(g.Subject), Account: printable(g.Account),
		ConnectedAt: millis(g.ConnectedAt), RefreshedAt: millis(g.RefreshedAt), ExpiresAt: millis(g.ExpiresAt),
		RefreshExpiresAt: millis(g.RefreshExpiresAt), UsedAt: millis(g.UsedAt), RefusedAt: millis(g.RefusedAt),
		FailureCode: g.FailureCode, FailedAt: millis(g.FailedAt), Failures: g.Failures, NextTryAt: millis(g.NextTryAt),
		IntentAt: millis(g.IntentAt), IntentUntil: millis(g.IntentUntil), IntentBy: g.IntentBy, Fence: g.Fence, DPoPKey: dpopKey,
		Identity: printable(g.Identity), Mismatch: printable(g.Mismatch), RefreshEndKnown: millis(g.RefreshEndKnown),
		Exchanged: g.Exchanged,
	}, nil
}

// openGrant returns the grant of row.
func (s *Grants) openGrant(row grantRow) (connectedapps.Grant, error) {
	g := connectedapps.Grant{
		ID: row.ID, Domain: row.Domain,
		Key:   connectedapps.Key{Principal: securitycontext.Principal{Realm: row.Realm, Subject: row.Subject}, AppID: row.AppID},
		Epoch: row.Epoch, Revision: row.Revision, Rev: row.Rev, TokenType: row.TokenType,
		Scopes: row.Scopes, Requested: row.Requested, Subject: row.ProviderSubject, Account: row.Account,
		ConnectedAt: moment(row.ConnectedAt), RefreshedAt: moment(row.RefreshedAt), ExpiresAt: moment(row.ExpiresAt),
		RefreshExpiresAt: moment(row.RefreshExpiresAt), UsedAt: moment(row.UsedAt), RefusedAt: moment(row.RefusedAt),
		FailureCode: row.FailureCode, FailedAt: moment(row.FailedAt), Failures: row.Failures, NextTryAt: moment(row.NextTryAt),
		IntentAt: moment(row.IntentAt), IntentUntil: moment(row.IntentUntil), IntentBy: row.IntentBy, Fence: row.Fence,
		Identity: row.Identity, Mismatch: row.Mismatch, RefreshEndKnown: moment(row.RefreshEndKnown),
		Exchanged: row.Exchanged,
	}
	var err error
	if g.AccessToken, err = s.db.keyring.Open(row.AccessToken, grantPlace(g, "access_token")); err != nil {
		return connectedapps.Grant{}, err
	}
	if g.RefreshToken, err = s.db.keyring.Open(row.RefreshToken, grantPlace(g, "refresh_token")); err != nil {
		return connectedapps.Grant{}, err
	}
	if g.SpareRefreshToken, err = s.db.keyring.Open(row.Spare, grantPlace(g, "spare_refresh_token")); err != nil {
		return connectedapps.Grant{}, err
	}
	if g.DPoPKey, err = s.db.keyring.Open(row.DPoPKey, grantPlace(g, "dpop_key")); err != nil {
		return connectedapps.Grant{}, err
	}
	return g, nil
}

// news says that the grant is now as in row.
func (row grantRow) news() notify.News {
	p := securitycontext.Principal{Realm: row.Realm, Subject: row.Subject}
	return notify.News{Topic: notify.GrantChanged, Principal: p.Key(), AppID: row.AppID, Epoch: row.Epoch, Revision: row.Revision}
}

var errNoGrant = fault.New(fault.NotFound, "There is no such connection.")

// Get implements connectedapps.Store.
func (s *Grants) Get(ctx context.Context, k connectedapps.Key) (connectedapps.Grant, error) {
	var row grantRow
	err := s.db.read(ctx, "read a grant", func(ctx context.Context, c conn) error {
		return getGrant(ctx, c, &row, k)
	})
	if err != nil {
		return connectedapps.Grant{}, err
	}
	return s.openGrant(row)
}

// getGrant reads the row of k, or returns errNoGrant.
func getGrant(ctx context.Context, c conn, row *grantRow, k connectedapps.Key) error {
	err := c.get(ctx, row, "SELECT "+grantColumns+" FROM grants WHERE realm = ? AND subject = ? AND app_id = ?",
		k.Principal.Realm, k.Principal.Subject, k.AppID)
	if errors.Is(err, sql.ErrNoRows) {
		return errNoGrant
	}
	return err
}

// List implements connectedapps.Store.
func (s *Grants) List(ctx context.Context, f connectedapps.Filter) ([]connectedapps.Grant, error) {
	if f.Principal.Anonymous() == (f.AppID == "") {
		return nil, fault.New(fault.Invalid, "Grants are listed of one person or of one OAuth app.")
	}
	query, args := "SELECT "+grantColumns+" FROM grants WHERE app_id = ?", []any{f.AppID}
	if f.AppID == "" {
		query, args = "SELECT "+grantColumns+" FROM grants WHERE realm = ? AND subject = ?", []any{f.Principal.Realm, f.Principal.Subject}
	}
	if f.After != "" {
		query, args = query+" AND id > ?", append(args, f.After)
	}
	query += " ORDER BY id"
	if f.Limit > 0 {
		query, args = query+" LIMIT ?", append(args, f.Limit)
	}
	return s.grants(ctx, query, args...)
}

// grants returns the grants that query selects.
func (s *Grants) grants(ctx context.Context, query string, args ...any) ([]connectedapps.Grant, error) {
	var rows []grantRow
	err := s.db.read(ctx, "list grants", func(ctx context.Context, c conn) error {
		rows = nil
		return c.all(ctx, &rows, query, args...)
	})
	if err != nil {
		return nil, err
	}
	grants := make([]connectedapps.Grant, len(rows))
	for i, row := range rows {
		if grants[i], err = s.openGrant(row); err != nil {
			return nil, err
		}
	}
	return grants, nil
}

// Everyone returns grants of all people and apps, ordered by id, after the given one.
func (s *Grants) Everyone(ctx context.Context, after string, limit int) ([]connectedapps.Grant, error) {
	return s.grants(ctx, "SELECT "+grantColumns+" FROM grants WHERE id > ? ORDER BY id LIMIT ?", after, limit)
}

// Connect implements connectedapps.Store.
func (s *Grants) Connect(ctx context.Context, g connectedapps.Grant, authorization string, e audit.Entry) (connectedapps.Grant, error) {
	if g.Key.Principal.Anonymous() || g.Key.AppID == "" {
		return connectedapps.Grant{}, fault.New(fault.Invalid, "A grant belongs to a person and an OAuth app.")
	}
	if g.ID == "" {
		g.ID = id.New(id.Grant, s.db.now())
	}
	var stored grantRow
	err := s.db.write(ctx, "store a grant", func(ctx context.Context, c conn) error {
		if authorization != "" {
			if err := s.finishConnected(ctx, c, authorization, g.Key); err != nil {
				return err
			}
		}
		// The row of the epoch is locked until the commit: whoever connects the same key waits here.
		epoch, err := nextEpoch(ctx, c, g.Key, g.Epoch)
		if err != nil {
			return err
		}
		next := g
		next.Epoch, next.Revision, next.Rev, next.Fence = epoch, 1, 1, 1
		next.IntentAt, next.IntentUntil, next.IntentBy = time.Time{}, time.Time{}, ""
		var old grantRow
		switch err := getGrant(ctx, c, &old, g.Key); {
		case err == nil:
			next.ID, next.Revision, next.Rev, next.Fence = old.ID, old.Revision+1, old.Rev+1, old.Fence+1
			if _, err := c.exec(ctx, "DELETE FROM grants WHERE id = ?", old.ID); err != nil {
				return err
			}
		case !errors.Is(err, fault.NotFound):
			return err
		}
		if stored, err = s.sealGrant(next); err != nil {
			return err
		}
		_, err = c.execNamed(ctx, `INSERT INTO grants (`+grantColumns+`) VALUES (:id, :realm, :subject, :app_id, :domain, :epoch,
			:revision, :rev, :access_token, :refresh_token, :token_type, :scopes, :requested, :provider_subject, :account, :connected_at,
			:refreshed_at, :expires_at, :refresh_expires_at, :used_at, :refused_at, :failure_code, :failed_at, :failures,
			:next_try_at, :intent_at, :intent_until, :intent_by, :fence, :spare_refresh_token, :due_at, :identity, :mismatch,
			:refresh_end_known, :dpop_key, :exchanged)`, stored)
		if err != nil {
			return err
		}
		if err := c.announce(ctx, stored.news()); err != nil {
			return err
		}
		return s.db.record(ctx, c, e, stored.ID)
	})
	if s.db.dialect.classify(err) == notReferenced {
		return connectedapps.Grant{}, fault.Wrap(fault.NotFound, err, "The OAuth app was deleted meanwhile.")
	}
	if err != nil {
		return connectedapps.Grant{}, err
	}
	return s.openGrant(stored)
}

// finishConnected ends the authorization of k that brought a grant. Its row is locked until the commit: who removes it
// waits here, and then finds the grant. So those who end grants remove authorizations first.
func (s *Grants) finishConnected(ctx context.Context, c conn, authorization string, k connectedapps.Key) error {
	n, err := c.exec(ctx, `UPDATE authorizations SET done_at = ?, outcome = ? WHERE id = ? AND realm = ? AND subject = ? AND app_id = ?
		AND taken_at > 0 AND done_at = 0`, millis(s.db.now()), connectedapps.OutcomeConnected, authorization, k.Principal.Realm, k.Principal.Subject, k.AppID)
	if err == nil && n == 0 {
		return errOver
	}
	return err
}

// nextEpoch returns the epoch of a new grant of k, and remembers it: want, or one more than the last if that is not
// less. The clock is not asked to be right: two consents within a millisecond, or a clock set back, still differ.
func nextEpoch(ctx context.Context, c conn, k connectedapps.Key, want int64) (epoch int64, err error) {
	err = c.get(ctx, &epoch, `INSERT INTO grant_epochs (realm, subject, app_id, epoch) VALUES (?, ?, ?, ?)
		ON CONFLICT (realm, subject, app_id) DO UPDATE
		SET epoch = CASE WHEN excluded.epoch > grant_epochs.epoch THEN excluded.epoch ELSE grant_epochs.epoch + 1 END
		RETURNING epoch`, k.Principal.Realm, k.Principal.Subject, k.AppID, want)
	return epoch, err
}

// KeepAccount implements connectedapps.Store.
func (s *Grants) KeepAccount(ctx context.Context, k connectedapps.Key, epoch int64, e audit.Entry) (connectedapps.Grant, error) {
	return s.change(ctx, "keep an account", func(ctx context.Context, c conn, row *grantRow) error {
		err := c.get(ctx, row, `UPDATE grants SET mismatch = '', rev = rev + 1
			WHERE realm = ? AND subject = ? AND app_id = ? AND epoch = ? RETURNING `+grantColumns,
			k.Principal.Realm, k.Principal.Subject, k.AppID, epoch)
		if err != nil {
			return err
		}
		if err := c.announce(ctx, row.news()); err != nil {
			return err
		}
		return s.db.record(ctx, c, e, row.ID)
	})
}

// Delete implements connectedapps.Store.
func (s *Grants) Delete(ctx context.Context, k connectedapps.Key, e audit.Entry, then ...connectedapps.Follow) (connectedapps.Grant, error) {
	var row grantRow
	var g connectedapps.Grant
	var opened error
	err := s.db.write(ctx, "delete a grant", func(ctx context.Context, c conn) error {
		err := c.get(ctx, &row, "DELETE FROM grants WHERE realm = ? AND subject = ? AND app_id = ? RETURNING "+grantColumns,
			k.Principal.Realm, k.Principal.Subject, k.AppID)
		if errors.Is(err, sql.ErrNoRows) {
			return errNoGrant
		}
		if err != nil {
			return err
		}
		g, opened = s.openGrant(row) // one that cannot be opened ends all the same
		for _, follow := range then {
			if opened != nil {
				break // nobody knows its tokens
			}
			if j, ok := follow(g); ok {
				if err := s.db.addJobs(ctx, c, j); err != nil {
					return err
				}
			}
		}
		ended := row.news()
		ended.Revoked = true
		if err := c.announce(ctx, ended); err != nil {
			return err
		}
		return s.db.record(ctx, c, e, row.ID)
	})
	if err != nil {
		return connectedapps.Grant{}, err
	}
	return g, opened
}
