//go:build cgo

package sqlgen_test

import (
	"database/sql"
	"slices"
	"testing"

	_ "github.com/duckdb/duckdb-go/v2"

	"github.com/behalf-project/behalf/internal/sqlgen"
)

// openDuckDB returns a DuckDB with the tables of the shop, and what fills them.
func openDuckDB(t *testing.T, fill string) *sql.DB {
	t.Helper()
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	db.SetMaxOpenConns(1) // its database is in memory
	if _, err := db.Exec("SET TimeZone = 'UTC';" + schema + fill); err != nil {
		t.Fatal(err)
	}
	return db
}

func TestCustomGranularitiesInDuckDB(t *testing.T) {
	db := openDuckDB(t, "")
	testBuckets(t, fiscalModel(t, ""), db, db, sqlgen.DuckDB{})
}

func TestRollingWindowsInDuckDB(t *testing.T) {
	testWindows(t, windowedModel(t, ""), openDuckDB(t, seed), sqlgen.DuckDB{}, slices.Clone)
}
