package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/orchestrator"
)

// SourceTables keeps which tables rollups have in their sources: an orchestrator.SourceTables.
type SourceTables struct{ db *DB }

var _ orchestrator.SourceTables = (*SourceTables)(nil)

// SourceTables returns the store of the tables that rollups have in their sources.
func (db *DB) SourceTables() *SourceTables { return &SourceTables{db} }

// forgetTablesAfter is for how long the tables of somebody are remembered who does not come back: nobody else can drop them.
const forgetTablesAfter = 400 * 24 * time.Hour

// sourceTableRow is a table as it is returned.
type sourceTableRow struct {
	Name    string `db:"name"`
	Schema  string `db:"schema_name"`
	Span    string `db:"span"`
	Key     string `db:"refresh_key"`
	Rows    int64  `db:"row_count"`
	Bytes   int64  `db:"byte_count"`
	BuiltAt int64  `db:"built_at"`
}

const sourceTableColumns = `name, schema_name, span, refresh_key, row_count, byte_count, built_at`

func sourceTables(rows []sourceTableRow) []orchestrator.SourceTable {
	tables := make([]orchestrator.SourceTable, len(rows))
	for i, r := range rows {
		tables[i] = orchestrator.SourceTable{
			RollupTable: orchestrator.RollupTable{Partition: r.Span, Key: r.Key, BuiltAt: moment(r.BuiltAt), Rows: r.Rows, Bytes: r.Bytes},
			Schema:      r.Schema, Name: r.Name,
		}
	}
	return tables
}

// change runs f in a transaction that has the tables of a holder for itself.
func (s *SourceTables) change(ctx context.Context, op, holder string, f func(context.Context, conn) error) error {
	return s.db.write(ctx, op, func(ctx context.Context, c conn) error {
		if err := c.alone(ctx, "source tables of "+holder); err != nil {
			return err
		}
		return f(ctx, c)
	})
}

// Begin implements orchestrator.SourceTables.
func (s *SourceTables) Begin(ctx context.Context, of orchestrator.SourceRollup, t orchestrator.SourceTable, now, until time.Time, most int) error {
	return s.change(ctx, "begin a table at a source", of.Holder, func(ctx context.Context, c conn) error {
		if _, err := c.exec(ctx, "DELETE FROM source_tables WHERE used_at < ?", millis(now.Add(-forgetTablesAfter))); err != nil {
			return err
		}
		var there int
		if err := c.get(ctx, &there, "SELECT count(*) FROM source_tables WHERE holder = ?", of.Holder); err != nil {
			return err
		}
		if there >= most {
			return errTablesFull
		}
		_, err := c.exec(ctx, `INSERT INTO source_tables (`+sourceTableColumns+`, holder, scope, structure, begun_at, begun_until, replaced_at, used_at, left_at, again_at, person)
			VALUES (?, ?, ?, '', 0, 0, 0, ?, ?, ?, ?, ?, 0, ?, 0, 0, ?)`,
			t.Name, t.Schema, t.Partition, of.Holder, of.Scope, of.Structure, millis(now), millis(until), millis(now), of.Person)
		return err
	})
}

var (
	errTablesFull = fault.New(fault.TooMany, "There are as many tables of rollups at the source as there may be.")
	errTableGone  = fault.New(fault.Gone, "The table was not built in time, and is to be dropped.")
)

// Built implements orchestrator.SourceTables.
func (s *SourceTables) Built(ctx context.Context, of orchestrator.SourceRollup, t orchestrator.SourceTable, now time.Time) error {
	return s.change(ctx, "note a table at a source", of.Holder, func(ctx context.Context, c conn) error {
		var is struct {
			BuiltAt    int64 `db:"built_at"`
			BegunUntil int64 `db:"begun_until"`
			Over       bool  `db:"is_over"`
		}
		err := c.get(ctx, &is, `SELECT built_at, begun_until, (replaced_at > 0 OR left_at > 0) AS is_over FROM source_tables
			WHERE name = ? AND holder = ? AND scope = ? AND structure = ? AND span = ?`, t.Name, of.Holder, of.Scope, of.Structure, t.Partition)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return errTableGone
		case err != nil:
			return err
		case is.Over, is.BuiltAt == 0 && is.BegunUntil <= millis(now):
			return errTableGone
		case is.BuiltAt > 0:
			return nil // it was noted, and the answer was lost
		}
		if _, err := c.exec(ctx, `UPDATE source_tables SET replaced_at = ?
			WHERE holder = ? AND scope = ? AND structure = ? AND span = ? AND built_at > 0 AND replaced_at = 0`,
			millis(now), of.Holder, of.Scope, of.Structure, t.Partition); err != nil {
			return err
		}
		_, err = c.exec(ctx, "UPDATE source_tables SET refresh_key = ?, row_count = ?, byte_count = ?, built_at = ?, used_at = ? WHERE name = ?",
			t.Key, t.Rows, t.Bytes, millis(orElse(t.BuiltAt, now)), millis(now), t.Name)
		return err
	})
}

// Tables implements orchestrator.SourceTables.
func (s *SourceTables) Tables(ctx context.Context, of orchestrator.SourceRollup) ([]orchestrator.SourceTable, error) {
	var rows []sourceTableRow
	err := s.db.read(ctx, "read the tables of a rollup", func(ctx context.Context, c conn) error {
		rows = nil
		return c.all(ctx, &rows, `SELECT `+sourceTableColumns+` FROM source_tables
			WHERE holder = ? AND scope = ? AND structure = ? AND built_at > 0 AND replaced_at = 0 AND left_at = 0`, of.Holder, of.Scope, of.Structure)
	})
	return sourceTables(rows), err
}

// Used implements orchestrator.SourceTables.
func (s *SourceTables) Used(ctx context.Context, of orchestrator.SourceRollup, now time.Time) error {
	return s.db.write(ctx, "note that a rollup was read", func(ctx context.Context, c conn) error {
		_, err := c.exec(ctx, `UPDATE source_tables SET used_at = ?
			WHERE holder = ? AND scope = ? AND structure = ? AND left_at = 0 AND used_at < ?`, millis(now), of.Holder, of.Scope, of.Structure, millis(now))
		return err
	})
}

// LeftOver implements orchestrator.SourceTables.
func (s *SourceTables) LeftOver(ctx context.Context, holder, scope string, now, replaced, unused, again time.Time, n int) ([]orchestrator.SourceTable, error) {
	var rows []sourceTableRow
	err := s.change(ctx, "find tables to drop", holder, func(ctx context.Context, c conn) error {
		rows = nil
		// One that is being made is left alone: it would be there after it was dropped.
		return c.all(ctx, &rows, `UPDATE source_tables SET left_at = ?, again_at = ? WHERE name IN (
			SELECT name FROM source_tables WHERE holder = ? AND again_at <= ? AND (
				built_at = 0 AND begun_until <= ? OR
				built_at > 0 AND (left_at > 0 OR scope <> ? OR replaced_at > 0 AND replaced_at < ? OR replaced_at = 0 AND used_at < ?))
			ORDER BY begun_at, name LIMIT ?) RETURNING `+sourceTableColumns,
			millis(now), millis(again), holder, millis(now), millis(now), scope, millis(replaced), millis(unused), n)
	})
	return sourceTables(rows), err
}

// Release implements orchestrator.SourceTables.
func (s *SourceTables) Release(ctx context.Context, person string, now time.Time) (rollups int, err error) {
	if person == "" {
		return 0, nil // a service account is nobody
	}
	err = s.db.write(ctx, "release the tables of somebody", func(ctx context.Context, c conn) error {
		var of []struct {
			Holder    string `db:"holder"`
			Structure string `db:"structure"`
		}
		err := c.all(ctx, &of, `UPDATE source_tables SET left_at = ? WHERE person = ? AND built_at > 0 AND left_at = 0
			RETURNING holder, structure`, millis(now), person)
		seen := map[[2]string]bool{}
		for _, r := range of {
			seen[[2]string{r.Holder, r.Structure}] = true
		}
		rollups = len(seen)
		return err
	})
	return rollups, err
}

// Dropped implements orchestrator.SourceTables.
func (s *SourceTables) Dropped(ctx context.Context, name string) error {
	return s.db.write(ctx, "forget a table at a source", func(ctx context.Context, c conn) error {
		_, err := c.exec(ctx, "DELETE FROM source_tables WHERE name = ?", name)
		return err
	})
}
