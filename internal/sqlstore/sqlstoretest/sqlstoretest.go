// Package sqlstoretest opens stores for tests: the real ones, empty, and gone when the test ends. Each is a copy of one
// that was migrated once, because the steps of the schema take longer than most tests.
package sqlstoretest

import (
	"context"
	"os"
	"path/filepath"
	"sync"
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
	MakeFile(t, path)
	return open(t, "sqlite:"+path, now)
}

// MakeFile makes a SQLite file with the schema of a store and nothing in it.
func MakeFile(t testing.TB, path string) {
	t.Helper()
	template, err := migratedFile()
	if err == nil {
		err = os.WriteFile(path, template, 0o600)
	}
	if err != nil {
		t.Fatalf("make a SQLite file: %v", err)
	}
}

// OpenPostgres opens a store on a new Postgres database, with its own master key. The binary's TestMain calls
// postgrestest.Run. A nil now is time.Now.
func OpenPostgres(t testing.TB, now func() time.Time) *sqlstore.DB {
	t.Helper()
	return open(t, PostgresURL(t), now)
}

// PostgresURL returns the URL of a new Postgres database with the schema of a store and nothing in it.
func PostgresURL(t testing.TB) string {
	t.Helper()
	return postgrestest.Migrated(t, func(url string) error { return sqlstore.Migrate(context.Background(), url) })
}

// migratedFile is a SQLite file with the schema of a store and nothing in it.
var migratedFile = sync.OnceValues(func() ([]byte, error) {
	folder, err := os.MkdirTemp(ramdisk.Folder(), "behalf")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "behalf.db")
	if err := sqlstore.Migrate(context.Background(), "sqlite:"+path); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

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
