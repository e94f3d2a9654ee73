package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/authserver"
	"github.com/behalf-project/behalf/internal/fault"
)

// Devices keeps the programs that ask to sign in: an authserver.Devices.
type Devices struct{ db *DB }

var _ authserver.Devices = (*Devices)(nil)

// deviceRow is such a program as its table holds it.
type deviceRow struct {
	ID           string  `db:"id"`
	DeviceHash   string  `db:"device_hash"`
	UserCodeHash string  `db:"user_code_hash"`
	Name         string  `db:"name"`
	Scopes       list    `db:"scopes"`
	IP           string  `db:"ip"`
	CreatedAt    int64   `db:"created_at"`
	ExpiresAt    int64   `db:"expires_at"`
	Interval     int64   `db:"interval_seconds"`
	PolledAt     int64   `db:"polled_at"`
	UserID       *string `db:"user_id"`
	DecidedAt    int64   `db:"decided_at"`
	Allowed      bool    `db:"allowed"`
	TakenAt      int64   `db:"taken_at"`
}

const deviceColumns = `id, device_hash, user_code_hash, name, scopes, ip, created_at, expires_at, interval_seconds, polled_at,
	user_id, decided_at, allowed, taken_at`

func (row deviceRow) device() authserver.Device {
	d := authserver.Device{
		ID: row.ID, DeviceHash: row.DeviceHash, UserCodeHash: row.UserCodeHash, Name: row.Name, Scopes: row.Scopes, IP: row.IP,
		CreatedAt: moment(row.CreatedAt), ExpiresAt: moment(row.ExpiresAt), Interval: time.Duration(row.Interval) * time.Second,
		PolledAt: moment(row.PolledAt), DecidedAt: moment(row.DecidedAt), Allowed: row.Allowed, TakenAt: moment(row.TakenAt),
	}
	if row.UserID != nil {
		d.UserID = *row.UserID
	}
	return d
}

var errNoDevice = fault.New(fault.NotFound, "No program waits with this code.")

// CreateDevice implements authserver.Devices.
func (s *Devices) CreateDevice(ctx context.Context, d authserver.Device, most int) error {
	if d.ID == "" || d.DeviceHash == "" || d.UserCodeHash == "" || d.ExpiresAt.IsZero() {
		return fault.New(fault.Invalid, "A program that asks to sign in needs an id, two codes and an end.")
	}
	row := deviceRow{
		ID: d.ID, DeviceHash: d.DeviceHash, UserCodeHash: d.UserCodeHash, Name: printable(d.Name), Scopes: d.Scopes, IP: printable(d.IP),
		CreatedAt: millis(d.CreatedAt), ExpiresAt: millis(d.ExpiresAt), Interval: int64(d.Interval / time.Second),
	}
	return s.db.write(ctx, "store a program that asks to sign in", func(ctx context.Context, c conn) error {
		if _, err := c.exec(ctx, "DELETE FROM device_authorizations WHERE expires_at < ?", millis(d.CreatedAt.AddDate(0, 0, -1))); err != nil {
			return err
		}
		var n int
		if err := c.get(ctx, &n, "SELECT count(*) FROM device_authorizations WHERE expires_at > ? AND decided_at = 0", row.CreatedAt); err != nil {
			return err
		}
		if n >= most {
			return fault.New(fault.TooMany, "Too many programs wait to be signed in. Try again in some minutes.")
		}
		_, err := c.execNamed(ctx, `INSERT INTO device_authorizations (`+deviceColumns+`) VALUES (:id, :device_hash, :user_code_hash, :name,
			:scopes, :ip, :created_at, :expires_at, :interval_seconds, :polled_at, :user_id, :decided_at, :allowed, :taken_at)`, row)
		return err
	})
}

// FindDevice implements authserver.Devices.
func (s *Devices) FindDevice(ctx context.Context, userCodeHash string, now time.Time) (authserver.Device, error) {
	var row deviceRow
	err := s.db.read(ctx, "read a program that asks to sign in", func(ctx context.Context, c conn) error {
		err := c.get(ctx, &row, "SELECT "+deviceColumns+" FROM device_authorizations WHERE user_code_hash = ? AND decided_at = 0 AND expires_at > ?",
			userCodeHash, millis(now))
		if errors.Is(err, sql.ErrNoRows) {
			return errNoDevice
		}
		return err
	})
	if err != nil {
		return authserver.Device{}, err
	}
	return row.device(), nil
}

// DecideDevice implements authserver.Devices.
func (s *Devices) DecideDevice(ctx context.Context, id, userID string, allowed bool, now time.Time, e audit.Entry) error {
	return s.db.write(ctx, "decide about a program", func(ctx context.Context, c conn) error {
		n, err := c.exec(ctx, "UPDATE device_authorizations SET user_id = ?, decided_at = ?, allowed = ? WHERE id = ? AND decided_at = 0 AND expires_at > ?",
			userID, millis(now), allowed, id, millis(now))
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.New(fault.Gone, "This was decided already, or is older than ten minutes. Start the sign-in again on your machine.")
		}
		return s.db.record(ctx, c, e, id)
	})
}

// PollDevice implements authserver.Devices.
func (s *Devices) PollDevice(ctx context.Context, deviceHash string, now time.Time) (authserver.Device, error) {
	const query = "SELECT " + deviceColumns + " FROM device_authorizations WHERE device_hash = ?"
	var d authserver.Device
	err := s.db.read(ctx, "read a program that asks to sign in", func(ctx context.Context, c conn) error {
		var row deviceRow
		err := c.get(ctx, &row, query, deviceHash)
		if errors.Is(err, sql.ErrNoRows) {
			return errNoDevice
		}
		d = row.device()
		return err
	})
	if err != nil {
		return d, err
	}
	if _, changed := d.Polled(now); !changed {
		return d, nil // anybody may ask
	}
	err = s.db.write(ctx, "answer a program that asks to sign in", func(ctx context.Context, c conn) error {
		// The row is locked by changing it, so that of many who poll at once each sees what the one before it did.
		n, err := c.exec(ctx, "UPDATE device_authorizations SET id = id WHERE device_hash = ?", deviceHash)
		if err != nil {
			return err
		}
		if n == 0 {
			return errNoDevice
		}
		var row deviceRow
		if err := c.get(ctx, &row, query, deviceHash); err != nil {
			return err
		}
		d = row.device()
		next, changed := d.Polled(now)
		if !changed {
			return nil
		}
		_, err = c.exec(ctx, "UPDATE device_authorizations SET interval_seconds = ?, polled_at = ?, taken_at = ? WHERE id = ?",
			int64(next.Interval/time.Second), millis(next.PolledAt), millis(next.TakenAt), next.ID)
		return err
	})
	return d, err
}
