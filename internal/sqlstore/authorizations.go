package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
)

// keepAuthorizations is how long the outcome of an authorization can be asked for after its end.
const keepAuthorizations = 24 * time.Hour

// Authorizations keeps pending authorizations: a connectedapps.AuthorizationStore.
type Authorizations struct{ db *DB }

var _ connectedapps.AuthorizationStore = (*Authorizations)(nil)

// authorizationRow is an authorization as its table holds it.
type authorizationRow struct {
	ID        string  `db:"id"`
	Realm     string  `db:"realm"`
	Subject   string  `db:"subject"`
	AppID     string  `db:"app_id"`
	ReturnTo  string  `db:"return_to"`
	Browser   string  `db:"browser"`
	StateHash *string `db:"state_hash"` // NULL is not unique: many wait for their state
	Verifier  []byte  `db:"verifier"`
	Nonce     []byte  `db:"nonce"`
	CreatedAt int64   `db:"created_at"`
	ExpiresAt int64   `db:"expires_at"`
	TakenAt   int64   `db:"taken_at"`
	DoneAt    int64   `db:"done_at"`
	Outcome   string  `db:"outcome"`
	DPoPKey   []byte  `db:"dpop_key"`
}

const authorizationColumns = `id, realm, subject, app_id, return_to, browser, state_hash, verifier, nonce, created_at,
	expires_at, taken_at, done_at, outcome, dpop_key`

func authorizationPlace(a connectedapps.Authorization, field string) secret.Place {
	return sealedAuthorizations.at(field, a.ID, a.Principal.Realm, a.Principal.Subject, a.AppID)
}

// sealAuthorization returns a as a row.
func (s *Authorizations) sealAuthorization(a connectedapps.Authorization) (authorizationRow, error) {
	verifier, err := s.db.keyring.Seal(a.Verifier, authorizationPlace(a, "verifier"))
	if err != nil {
		return authorizationRow{}, err
	}
	nonce, err := s.db.keyring.Seal(a.Nonce, authorizationPlace(a, "nonce"))
	if err != nil {
		return authorizationRow{}, err
	}
	dpopKey, err := s.db.keyring.Seal(a.DPoPKey, authorizationPlace(a, "dpop_key"))
	if err != nil {
		return authorizationRow{}, err
	}
	row := authorizationRow{
		ID: a.ID, Realm: a.Principal.Realm, Subject: a.Principal.Subject, AppID: a.AppID, ReturnTo: a.ReturnTo,
		Browser: a.Browser, Verifier: verifier, Nonce: nonce, CreatedAt: millis(a.CreatedAt), ExpiresAt: millis(a.ExpiresAt),
		TakenAt: millis(a.TakenAt), DoneAt: millis(a.DoneAt), Outcome: a.Outcome, DPoPKey: dpopKey,
	}
	if a.StateHash != "" {
		row.StateHash = &a.StateHash
	}
	return row, nil
}

// openAuthorization returns the authorization of row.
func (s *Authorizations) openAuthorization(row authorizationRow) (connectedapps.Authorization, error) {
	a := connectedapps.Authorization{
		ID: row.ID, Principal: securitycontext.Principal{Realm: row.Realm, Subject: row.Subject}, AppID: row.AppID,
		ReturnTo: row.ReturnTo, Browser: row.Browser, CreatedAt: moment(row.CreatedAt), ExpiresAt: moment(row.ExpiresAt),
		TakenAt: moment(row.TakenAt), DoneAt: moment(row.DoneAt), Outcome: row.Outcome,
	}
	if row.StateHash != nil {
		a.StateHash = *row.StateHash
	}
	var err error
	if a.Verifier, err = s.db.keyring.Open(row.Verifier, authorizationPlace(a, "verifier")); err != nil {
		return connectedapps.Authorization{}, err
	}
	if a.Nonce, err = s.db.keyring.Open(row.Nonce, authorizationPlace(a, "nonce")); err != nil {
		return connectedapps.Authorization{}, err
	}
	if a.DPoPKey, err = s.db.keyring.Open(row.DPoPKey, authorizationPlace(a, "dpop_key")); err != nil {
		return connectedapps.Authorization{}, err
	}
	return a, nil
}

// CreateAuthorization implements connectedapps.AuthorizationStore. It also removes those that ended a day before, so
// that the table stays as small as a day's traffic.
func (s *Authorizations) CreateAuthorization(ctx context.Context, a connectedapps.Authorization) error {
	if a.ID == "" || a.Principal.Anonymous() || a.ExpiresAt.IsZero() {
		return fault.New(fault.Invalid, "An authorization needs an id, a person and an end.")
	}
	row, err := s.sealAuthorization(a)
	if err != nil {
		return err
	}
	err = s.db.write(ctx, "store an authorization", func(ctx context.Context, c conn) error {
		if _, err := c.exec(ctx, "DELETE FROM authorizations WHERE expires_at < ?", millis(a.CreatedAt.Add(-keepAuthorizations))); err != nil {
			return err
		}
		_, err := c.execNamed(ctx, `INSERT INTO authorizations (`+authorizationColumns+`) VALUES (:id, :realm, :subject, :app_id,
			:return_to, :browser, :state_hash, :verifier, :nonce, :created_at, :expires_at, :taken_at, :done_at, :outcome, :dpop_key)`, row)
		return err
	})
	if s.db.dialect.classify(err) == notReferenced {
		return fault.Wrap(fault.NotFound, err, "The OAuth app was deleted meanwhile.")
	}
	return err
}

// GetAuthorization implements connectedapps.AuthorizationStore.
func (s *Authorizations) GetAuthorization(ctx context.Context, id string) (connectedapps.Authorization, error) {
	var row authorizationRow
	err := s.db.read(ctx, "read an authorization", func(ctx context.Context, c conn) error {
		err := c.get(ctx, &row, "SELECT "+authorizationColumns+" FROM authorizations WHERE id = ?", id)
		if errors.Is(err, sql.ErrNoRows) {
			return fault.New(fault.NotFound, "There is no such authorization.")
		}
		return err
	})
	if err != nil {
		return connectedapps.Authorization{}, err
	}
	return s.openAuthorization(row)
}

var errOver = fault.New(fault.Gone, "This authorization is over. Start again.")

// BeginAuthorization implements connectedapps.AuthorizationStore.
func (s *Authorizations) BeginAuthorization(ctx context.Context, a connectedapps.Authorization, now time.Time) error {
	if a.StateHash == "" || a.Browser == "" {
		return fault.New(fault.Invalid, "An authorization begins with a state, in a browser.")
	}
	row, err := s.sealAuthorization(a)
	if err != nil {
		return err
	}
	return s.db.write(ctx, "begin an authorization", func(ctx context.Context, c conn) error {
		// The person and the app are compared, because verifier, nonce and key are sealed for them.
		n, err := c.exec(ctx, `UPDATE authorizations SET browser = ?, state_hash = ?, verifier = ?, nonce = ?, dpop_key = ?
			WHERE id = ? AND realm = ? AND subject = ? AND app_id = ? AND taken_at = 0 AND done_at = 0 AND expires_at > ?`,
			row.Browser, row.StateHash, row.Verifier, row.Nonce, row.DPoPKey, row.ID, row.Realm, row.Subject, row.AppID, millis(now))
		if err == nil && n == 0 {
			return errOver
		}
		return err
	})
}

// TakeAuthorization implements connectedapps.AuthorizationStore. Verifier, nonce and key leave the database with it:
// they are of no use any more but to who took them.
func (s *Authorizations) TakeAuthorization(ctx context.Context, stateHash string, now time.Time) (connectedapps.Authorization, error) {
	if stateHash == "" {
		return connectedapps.Authorization{}, errOver
	}
	var row authorizationRow
	err := s.db.write(ctx, "take an authorization", func(ctx context.Context, c conn) error {
		row = authorizationRow{}
		err := c.get(ctx, &row, "SELECT "+authorizationColumns+" FROM authorizations WHERE state_hash = ?", stateHash)
		if errors.Is(err, sql.ErrNoRows) {
			return errOver
		}
		if err != nil {
			return err
		}
		// Many may have read the row. This changes it for one of them: the others' condition no longer holds.
		n, err := c.exec(ctx, `UPDATE authorizations SET taken_at = ?, verifier = NULL, nonce = NULL, dpop_key = NULL
			WHERE id = ? AND state_hash = ? AND taken_at = 0 AND done_at = 0 AND expires_at > ?`, millis(now), row.ID, stateHash, millis(now))
		if err == nil && n == 0 {
			return errOver
		}
		return err
	})
	if err != nil {
		return connectedapps.Authorization{}, err
	}
	row.TakenAt = millis(now)
	return s.openAuthorization(row)
}

// FinishAuthorization implements connectedapps.AuthorizationStore.
func (s *Authorizations) FinishAuthorization(ctx context.Context, id, outcome string, now time.Time) error {
	return s.db.write(ctx, "finish an authorization", func(ctx context.Context, c conn) error {
		n, err := c.exec(ctx, "UPDATE authorizations SET done_at = ?, outcome = ?, verifier = NULL, nonce = NULL, dpop_key = NULL WHERE id = ?",
			millis(now), outcome, id)
		if err == nil && n == 0 {
			return fault.New(fault.NotFound, "There is no such authorization.")
		}
		return err
	})
}
