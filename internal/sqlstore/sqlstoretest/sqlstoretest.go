// Package sqlstoretest opens stores for tests: the real ones, empty, and gone when the test ends.
package sqlstoretest

import (
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/behalf-project/behalf/internal/sqlstore"
	"github.com/behalf-project/behalf/internal/sqlstore/postgrestest"
	"github.com/behalf-project/behalf/internal/sqlstore/ramdisk"
)

// OpenSQLite opens a store on a new SQLite file, with its own master key. A nil now is time.Now.
func OpenSQLite(t testing.TB, now func() time.Time) *sqlstore.DB {
	t.Helper()
	return OpenFile(t, filepath.Join(ramdisk.TempDir(t), "behalf.db"), now)
}

// OpenFile is OpenSQLite with the path of the file, for those who look into it beside the store.
func OpenFile(t testing.TB, path string, now func() time.Time) *sqlstore.DB {
	t.Helper()
	return open(t, "sqlite:"+path, now)
}

// OpenPostgres opens a store on a new Postgres database, with its own master key. The binary's TestMain calls
// postgrestest.Run. A nil now is time.Now.
func OpenPostgres(t testing.TB, now func() time.Time) *sqlstore.DB {
	t.Helper()
	return open(t, postgrestest.URL(t), now)
}

func open(t testing.TB, url string, now func() time.Time) *sqlstore.DB {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), sqlstore.Config{
		URL: url, Keyset: filepath.Join(ramdisk.TempDir(t), "behalf.keys.json"), Log: zaptest.NewLogger(t), Now: now,
	})
	if err != nil {
		t.Fatalf("open the store: %v", err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	return db
}
