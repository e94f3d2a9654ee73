package sqlstore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/behalf-project/behalf/connectedapps"
)

// Writer returns the handle, for tests that look at tables or spoil them.
func (db *DB) Writer() *sqlx.DB { return db.writer }

// Migrations are both folders.
var Migrations = migrations

// Bounded is what every method does to its context.
var Bounded = bounded

// Shell opens the SQLite file at path as an operator would, on one connection.
func Shell(t *testing.T, path string) *sqlx.DB {
	t.Helper()
	db, err := sqliteHandle(path, "deferred")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	return db
}

// FillGrants stores g for n people, each sealed for itself.
func (db *DB) FillGrants(ctx context.Context, g connectedapps.Grant, n int) error {
	rows := make([]grantRow, n)
	for i := range rows {
		g.ID, g.Key.Principal.Subject = fmt.Sprintf("con_%06d", i), fmt.Sprintf("usr_%06d", i)
		var err error
		if rows[i], err = db.Grants().sealGrant(g); err != nil {
			return err
		}
	}
	return db.write(ctx, "fill grants", func(ctx context.Context, c conn) error {
		_, err := insertAll(ctx, c, "grants", grantColumns, rows, "")
		return err
	})
}

// TouchUsers locks the rows of people in the order given, slowly, in one transaction.
func (db *DB) TouchUsers(ctx context.Context, ids []string) error {
	return db.write(ctx, "touch users", func(ctx context.Context, c conn) error {
		for _, id := range ids {
			if _, err := c.exec(ctx, "UPDATE users SET rev = rev + 1 WHERE id = ?", id); err != nil {
				return err
			}
			time.Sleep(2 * time.Millisecond)
		}
		return nil
	})
}

// KeysEvery returns the data keys' administration with another clockwork.
func (db *DB) KeysEvery(beat, settle time.Duration) *Keys {
	return &Keys{db: db, beat: beat, settle: settle}
}

// Step does what Run does at each beat.
func (k *Keys) Step(ctx context.Context) error { return k.step(ctx) }

// Hold says that this process holds the revision rev of the data keys.
func (db *DB) Hold(ctx context.Context, rev int64) error { return db.hold(ctx, rev) }

// SealedColumns are the columns, as table.column, that the store knows to be sealed.
func SealedColumns() (columns []string) {
	for _, t := range sealedTables {
		for _, f := range t.fields {
			columns = append(columns, t.name+"."+f)
		}
	}
	return columns
}

// PlantGrants stores grants in transactions of a thousand: a hundred thousand consents take long.
func (db *DB) PlantGrants(ctx context.Context, all []connectedapps.Grant) error {
	for batch := range slices.Chunk(all, 1000) {
		err := db.write(ctx, "test", func(ctx context.Context, c conn) error {
			for _, g := range batch {
				row, err := db.Grants().sealGrant(g)
				if err != nil {
					return err
				}
				row.DueAt = millis(connectedapps.DueAt(g))
				if _, err := c.execNamed(ctx, `INSERT INTO grants (`+grantColumns+`) VALUES (:`+strings.Join(strings.FieldsFunc(grantColumns, func(r rune) bool { return r < 'A' }), ", :")+`)`, row); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ReplaceGrants reads the sealed columns of all grants, calls meanwhile, and then does what re-sealing does with next in
// the place of each value. It returns how many values it changed.
func (db *DB) ReplaceGrants(ctx context.Context, meanwhile func(), next []byte) (changed int64, err error) {
	var page []sealedRow
	err = db.read(ctx, "test", func(ctx context.Context, c conn) (err error) {
		page, err = sealedGrants.page(ctx, c, "", 100, nil)
		return err
	})
	if err != nil {
		return 0, err
	}
	meanwhile()
	all := make([][][]byte, len(page))
	for i, row := range page {
		all[i] = make([][]byte, len(row.values))
		for j, v := range row.values {
			if v != nil {
				all[i][j] = next
			}
		}
	}
	err = db.write(ctx, "test", func(ctx context.Context, c conn) (err error) {
		changed, err = sealedGrants.replace(ctx, c, page, all)
		return err
	})
	return changed, err
}
