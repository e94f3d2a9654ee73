package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/audit"
)

// Audit keeps the records of who did what: an audit.Store. They are only ever added: the database refuses to change or
// remove one, and who makes it do so all the same breaks a chain, which Verify finds.
type Audit struct{ db *DB }

var _ audit.Store = (*Audit)(nil)

// OpenAudit opens the records of the store at url to be read: with List, Find, Export and Verify. It changes nothing
// and needs no key, so it may be used while a server runs on the store, also on a SQLite file. Close it in the end.
func OpenAudit(ctx context.Context, url string) (*Audit, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	db, err := connectReader(ctx, url)
	if err != nil {
		return nil, err
	}
	db.log, db.now, db.chain = zap.NewNop(), time.Now, newChain()
	if err := db.checkSchema(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &Audit{db}, nil
}

// Close closes what OpenAudit opened.
func (s *Audit) Close() error { return s.db.Close() }

// auditRow is a record as its table holds it.
type auditRow struct {
	Seq      int64  `db:"seq"`
	ID       string `db:"id"`
	At       int64  `db:"at"`
	Actor    string `db:"actor"`
	Action   string `db:"action"`
	Object   string `db:"object"`
	Outcome  string `db:"outcome"`
	Detail   string `db:"detail"`
	Request  string `db:"request"`
	Writer   string `db:"writer"`
	Position int64  `db:"position"`
	Prev     []byte `db:"prev"`
	Hash     []byte `db:"hash"`
}

const auditColumns = "seq, id, at, actor, action, object, outcome, detail, request, writer, position, prev, hash"

// record returns the record of row.
func (row auditRow) record() audit.Record {
	r := audit.Record{
		Entry: audit.Entry{
			ID: row.ID, At: time.UnixMilli(row.At).UTC(), Actor: row.Actor, Action: audit.Action(row.Action), Object: row.Object,
			Outcome: row.Outcome, Detail: row.facts(), Request: row.Request,
		},
		Seq: row.Seq, Writer: row.Writer, Position: row.Position,
	}
	copy(r.Prev[:], row.Prev)
	copy(r.Hash[:], row.Hash)
	return r
}

// facts returns the details of row. Those that are not written as we write them, though they may read the same, somebody
// else wrote: they come back as one that was never hashed.
func (row auditRow) facts() map[string]string {
	var f facts
	if err := f.Scan(row.Detail); err == nil {
		if text, err := f.Value(); err == nil && text == row.Detail {
			return f
		}
	}
	return map[string]string{"": row.Detail}
}

// eachRecord calls f with the records of a query, one after the other.
func eachRecord(ctx context.Context, c conn, where string, args []any, f func(audit.Record) error) error {
	rows, err := c.query(ctx, "SELECT "+auditColumns+" FROM audit "+where, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // its error is that of Err
	for rows.Next() {
		var row auditRow
		if err := rows.StructScan(&row); err != nil {
			return err
		}
		if err := f(row.record()); err != nil {
			return err
		}
	}
	return rows.Err()
}

// List returns the last limit acts, the newest first. Checkpoints are none.
func (s *Audit) List(ctx context.Context, limit int) ([]audit.Entry, error) {
	var rows []auditRow
	err := s.db.read(ctx, "list audit entries", func(ctx context.Context, c conn) error {
		rows = nil
		return c.all(ctx, &rows, "SELECT "+auditColumns+" FROM audit WHERE action <> ? ORDER BY seq DESC LIMIT ?", string(audit.Checkpoint), limit)
	})
	if err != nil {
		return nil, err
	}
	entries := make([]audit.Entry, len(rows))
	for i, row := range rows {
		entries[i] = row.record().Entry
	}
	return entries, nil
}

// Find returns the last limit records that f wants and that are older than before, the newest first. A before of 0
// begins with the newest.
func (s *Audit) Find(ctx context.Context, f audit.Filter, before int64, limit int) ([]audit.Record, error) {
	where, args := conditions(f)
	if before > 0 {
		where, args = append(where, "seq < ?"), append(args, before)
	}
	var rows []auditRow
	err := s.db.read(ctx, "list audit records", func(ctx context.Context, c conn) error {
		rows = nil
		return c.all(ctx, &rows, "SELECT "+auditColumns+" FROM audit "+all(where)+" ORDER BY seq DESC LIMIT ?", append(args, limit)...)
	})
	if err != nil {
		return nil, err
	}
	records := make([]audit.Record, len(rows))
	for i, row := range rows {
		records[i] = row.record()
	}
	return records, nil
}

func conditions(f audit.Filter) (where []string, args []any) {
	for _, c := range []struct{ column, value string }{
		{"actor", f.Actor}, {"action", string(f.Action)}, {"object", f.Object}, {"outcome", f.Outcome},
	} {
		if c.value != "" {
			where, args = append(where, c.column+" = ?"), append(args, c.value)
		}
	}
	if f.Refused {
		where, args = append(where, "outcome <> ?"), append(args, "ok")
	}
	if !f.Since.IsZero() {
		where, args = append(where, "at >= ?"), append(args, f.Since.UnixMilli())
	}
	if !f.Until.IsZero() {
		where, args = append(where, "at < ?"), append(args, f.Until.UnixMilli())
	}
	return where, args
}

// all joins conditions that must all hold.
func all(conditions []string) string {
	if len(conditions) == 0 {
		return ""
	}
	return "WHERE " + strings.Join(conditions, " AND ")
}

// scanTimeout bounds a walk over all records.
const scanTimeout = time.Hour

// Export calls each with the records that f wants, after the one with the Seq after, in the order of their Seq, as they
// were at one moment. Without a filter they are what audit.Verifier takes. An error of each ends it.
func (s *Audit) Export(ctx context.Context, f audit.Filter, after int64, each func(audit.Record) error) error {
	where, args := conditions(f)
	if after > 0 {
		where, args = append(where, "seq > ?"), append(args, after)
	}
	return s.db.snapshot(ctx, "export audit records", func(ctx context.Context, c conn) error {
		return eachRecord(ctx, c, all(where)+" ORDER BY seq", args, each)
	})
}

// Verify checks all chains of the store as they are at one moment, and that the kept heads are in them.
func (s *Audit) Verify(ctx context.Context, kept ...audit.Head) (audit.Report, error) {
	v := audit.NewVerifier(kept...)
	var heads []audit.Head
	err := s.db.snapshot(ctx, "verify audit records", func(ctx context.Context, c conn) (err error) {
		if heads, err = getHeads(ctx, c, ""); err != nil {
			return err
		}
		return eachRecord(ctx, c, "ORDER BY seq", nil, func(r audit.Record) error { v.Add(r); return nil })
	})
	if err != nil {
		return audit.Report{}, err
	}
	return v.Report(append([]audit.Head{}, heads...)), nil // not nil: the store has written down that there is none
}

// snapshot runs f in a transaction that reads the database as it is at one moment, however long that takes.
func (db *DB) snapshot(ctx context.Context, op string, f func(context.Context, conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, scanTimeout)
	defer cancel()
	tx, err := db.reader.BeginTxx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return db.fail(ctx, op, err)
	}
	defer func() { _ = tx.Rollback() }() // it changed nothing
	if err := f(ctx, conn{ext: tx, dialect: db.dialect}); err != nil {
		return db.fail(ctx, op, err)
	}
	return nil
}
