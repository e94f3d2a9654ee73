package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/id"
	"github.com/behalf-project/behalf/internal/jobs"
	"github.com/behalf-project/behalf/internal/secret"
)

// Jobs keeps work that is to be done: a jobs.Store.
type Jobs struct{ db *DB }

var _ jobs.Store = (*Jobs)(nil)

// jobRow is a job as its table holds it.
type jobRow struct {
	ID         string `db:"id"`
	Kind       string `db:"kind"`
	Key        string `db:"key"`
	Lane       string `db:"lane"`
	Batch      string `db:"batch"`
	Payload    string `db:"payload"`
	Secret     []byte `db:"secret"`
	CreatedAt  int64  `db:"created_at"`
	DueAt      int64  `db:"due_at"`
	Attempts   int    `db:"attempts"`
	Code       string `db:"code"`
	FailedAt   int64  `db:"failed_at"`
	LeaseUntil int64  `db:"lease_until"`
	LeaseBy    string `db:"lease_by"`
	Fence      int64  `db:"fence"`
}

const jobColumns = `id, kind, key, lane, batch, payload, secret, created_at, due_at, attempts, code, failed_at, lease_until, lease_by, fence`

func jobPlace(row jobRow) secret.Place { return sealedJobs.at("secret", row.ID, row.Kind, row.Key) }

// Add implements jobs.Store.
func (s *Jobs) Add(ctx context.Context, add ...jobs.Job) error {
	if len(add) == 0 {
		return nil
	}
	return s.db.write(ctx, "add jobs", func(ctx context.Context, c conn) error { return s.db.addJobs(ctx, c, add...) })
}

// addJobs adds jobs in the transaction of the act that they follow from.
func (db *DB) addJobs(ctx context.Context, c conn, add ...jobs.Job) error {
	rows := make([]jobRow, 0, len(add))
	seen := make(map[string]bool, len(add)) // Postgres inserts no row in place of another of the same statement
	for _, j := range add {
		row, err := db.sealJob(j)
		if err != nil {
			return err
		}
		if name := row.Kind + "\x00" + row.Key; !seen[name] {
			seen[name] = true
			rows = append(rows, row)
		}
	}
	// The id of one that was given up is replaced too: the secret is sealed for the new one.
	_, err := insertAll(ctx, c, "jobs", jobColumns, rows, `
		ON CONFLICT (kind, key) DO UPDATE SET id = excluded.id, lane = excluded.lane, batch = excluded.batch, payload = excluded.payload,
		secret = excluded.secret, created_at = excluded.created_at, due_at = excluded.due_at, attempts = 0, code = '', failed_at = 0
		WHERE jobs.failed_at > 0`)
	return err
}

// Amend implements jobs.Store.
func (s *Jobs) Amend(ctx context.Context, j jobs.Job, most int) error {
	return s.db.write(ctx, "amend a job", func(ctx context.Context, c conn) error {
		var is struct {
			ID       string `db:"id"`
			FailedAt int64  `db:"failed_at"`
		}
		err := c.get(ctx, &is, `SELECT id, failed_at FROM jobs WHERE kind = ? AND key = ?`, j.Kind, j.Key)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			var there int
			if err := c.get(ctx, &there, `SELECT count(*) FROM jobs WHERE kind = ? AND lane = ?`, j.Kind, j.Lane); err != nil {
				return err
			}
			if there >= most {
				return errLaneFull
			}
			return s.db.addJobs(ctx, c, j)
		case err == nil && is.FailedAt > 0:
			return s.db.addJobs(ctx, c, j)
		case err != nil:
			return err
		}
		j.ID = is.ID // what is sealed is bound to it
		row, err := s.db.sealJob(j)
		if err != nil {
			return err
		}
		_, err = c.exec(ctx, `UPDATE jobs SET payload = ?, secret = ? WHERE id = ?`, row.Payload, row.Secret, row.ID)
		return err
	})
}

var errLaneFull = fault.New(fault.TooMany, "The lane has as many jobs as it may have.")

// sealJob returns a new job as a row.
func (db *DB) sealJob(j jobs.Job) (jobRow, error) {
	if j.Kind == "" {
		return jobRow{}, fault.New(fault.Invalid, "A job needs a kind.")
	}
	now := db.now()
	if j.ID == "" {
		j.ID = id.New(id.Job, now)
	}
	if j.Key == "" {
		j.Key = j.ID
	}
	if len(j.Payload) == 0 {
		j.Payload = json.RawMessage("null")
	}
	row := jobRow{
		ID: j.ID, Kind: j.Kind, Key: j.Key, Lane: j.Lane, Batch: j.Batch, Payload: string(j.Payload),
		CreatedAt: millis(orElse(j.CreatedAt, now)), DueAt: millis(orElse(j.DueAt, now)),
	}
	var err error
	row.Secret, err = db.keyring.Seal(j.Secret, jobPlace(row))
	return row, err
}

// openJob returns the job of row.
func (s *Jobs) openJob(row jobRow) (jobs.Job, error) {
	text, err := s.db.keyring.Open(row.Secret, jobPlace(row))
	if err != nil {
		return jobs.Job{}, err
	}
	return jobs.Job{
		ID: row.ID, Kind: row.Kind, Key: row.Key, Lane: row.Lane, Batch: row.Batch, Payload: json.RawMessage(row.Payload), Secret: text,
		CreatedAt: moment(row.CreatedAt), DueAt: moment(row.DueAt), Attempts: row.Attempts, Code: row.Code, FailedAt: moment(row.FailedAt),
		LeaseUntil: moment(row.LeaseUntil), LeaseBy: row.LeaseBy, Fence: row.Fence,
	}, nil
}

// Claim implements jobs.Store.
func (s *Jobs) Claim(ctx context.Context, w jobs.Want, now, until time.Time) (jobs.Job, error) {
	if w.Kind == "" || w.By == "" || !until.After(now) {
		return jobs.Job{}, fault.New(fault.Invalid, "A claim needs a kind, a holder and an end in the future.")
	}
	query := `UPDATE jobs SET lease_by = ?, lease_until = ?, fence = fence + 1, attempts = attempts + 1 WHERE id = (
		SELECT j.id FROM jobs j WHERE j.kind = ? AND j.failed_at = 0 AND j.due_at <= ? AND j.lease_until <= ?
		AND (j.lane = '' OR NOT EXISTS (SELECT 1 FROM jobs o WHERE o.kind = j.kind AND o.lane = j.lane AND o.lease_until > ? AND o.lease_by <> ?))`
	args := []any{w.By, millis(until), w.Kind, millis(now), millis(now), millis(now), w.By}
	if len(w.Except) > 0 {
		query += ` AND j.lane NOT IN (?)`
		args = append(args, w.Except)
	}
	query, args, err := sqlx.In(query+` ORDER BY j.due_at, j.id LIMIT 1) RETURNING `+jobColumns, args...)
	if err != nil {
		return jobs.Job{}, err
	}
	var row jobRow
	err = s.db.write(ctx, "claim a job", func(ctx context.Context, c conn) error {
		// One claim of a kind at a time: two who look at once would both find a lane free.
		if err := c.alone(ctx, "jobs "+w.Kind); err != nil {
			return err
		}
		row = jobRow{}
		err := c.get(ctx, &row, query, args...)
		if errors.Is(err, sql.ErrNoRows) {
			return errNoJob
		}
		return err
	})
	if err != nil {
		return jobs.Job{}, err
	}
	return s.openJob(row)
}

var errNoJob = fault.New(fault.NotFound, "There is no work to do.")

// Renew implements jobs.Store.
func (s *Jobs) Renew(ctx context.Context, held []jobs.Job, until time.Time) (lost []string, err error) {
	err = s.db.write(ctx, "renew leases", func(ctx context.Context, c conn) error {
		lost = nil
		for _, j := range held {
			n, err := c.exec(ctx, "UPDATE jobs SET lease_until = ? WHERE id = ? AND fence = ? AND lease_by = ?", millis(until), j.ID, j.Fence, j.LeaseBy)
			if err != nil {
				return err
			}
			if n == 0 {
				lost = append(lost, j.ID)
			}
		}
		return nil
	})
	return lost, err
}

// Finish implements jobs.Store.
func (s *Jobs) Finish(ctx context.Context, j jobs.Job) error {
	return s.settle(ctx, "finish a job", "DELETE FROM jobs WHERE id = ? AND fence = ? AND lease_by = ?", j.ID, j.Fence, j.LeaseBy)
}

// Release implements jobs.Store.
func (s *Jobs) Release(ctx context.Context, j jobs.Job) error {
	return s.settle(ctx, "release a job", `UPDATE jobs SET due_at = ?, attempts = ?, code = ?, failed_at = ?, lease_until = 0, lease_by = ''
		WHERE id = ? AND fence = ? AND lease_by = ?`,
		millis(j.DueAt), j.Attempts, j.Code, millis(j.FailedAt), j.ID, j.Fence, j.LeaseBy)
}

// settle runs a statement on a job that its caller must hold.
func (s *Jobs) settle(ctx context.Context, op, query string, args ...any) error {
	return s.db.write(ctx, op, func(ctx context.Context, c conn) error {
		n, err := c.exec(ctx, query, args...)
		if err == nil && n == 0 {
			return fault.New(fault.Conflict, "Another process has this job now, or it is done.")
		}
		return err
	})
}

// Count implements jobs.Store.
func (s *Jobs) Count(ctx context.Context, kind, batch string) (jobs.Count, error) {
	var n struct {
		Waiting int `db:"waiting"`
		Failed  int `db:"failed"`
	}
	err := s.db.read(ctx, "count jobs", func(ctx context.Context, c conn) error {
		return c.get(ctx, &n, `SELECT count(CASE WHEN failed_at = 0 THEN 1 END) AS waiting, count(CASE WHEN failed_at > 0 THEN 1 END) AS failed
			FROM jobs WHERE kind = ? AND batch = ?`, kind, batch)
	})
	return jobs.Count{Waiting: n.Waiting, Failed: n.Failed}, err
}

// Forget implements jobs.Store.
func (s *Jobs) Forget(ctx context.Context, before time.Time) (int, error) {
	var n int64
	err := s.db.write(ctx, "forget jobs", func(ctx context.Context, c conn) (err error) {
		n, err = c.exec(ctx, "DELETE FROM jobs WHERE failed_at > 0 AND failed_at < ?", millis(before))
		return err
	})
	return int(n), err
}
