//go:build cgo

package duckdbinstance_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/behalf-project/behalf/internal/duckdbinstance"
)

// open opens an instance until the test ends.
func open(t *testing.T, cfg duckdbinstance.Config) *sql.DB {
	t.Helper()
	in, err := duckdbinstance.Open(cfg)
	if err != nil {
		t.Fatalf("Open = %v, want no error", err)
	}
	db := sql.OpenDB(in)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// run runs SQL and returns everything that it returns.
func run(t *testing.T, db *sql.DB, statement string) (string, error) {
	t.Helper()
	rows, err := db.Query(statement)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for rows.Next() {
		values, to := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			to[i] = &values[i]
		}
		if err := rows.Scan(to...); err != nil {
			return "", err
		}
		fmt.Fprint(&out, values...)
	}
	return out.String(), rows.Err()
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Whatever an instance is told, it is DuckDB that refuses.
func TestAnInstanceReachesItsFoldersAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(t.TempDir())
	mine, others := filepath.Join(dir, "mine"), filepath.Join(dir, "mine2")
	write(t, filepath.Join(mine, "a.csv"), "a\nmine\n")
	write(t, filepath.Join(others, "a.csv"), "a\ncanary\n")
	write(t, ".tmp/a.csv", "a\ncanary\n") // where DuckDB would spill what all instances in memory have no room for
	file := filepath.Join(others, "a.duckdb")
	if db, err := sql.Open("duckdb", file); err != nil {
		t.Fatal(err)
	} else if _, err := db.Exec("CREATE TABLE t AS SELECT 'canary' AS a"); err != nil {
		t.Fatal(err)
	} else if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db := open(t, duckdbinstance.Config{Folders: []string{mine}, Memory: 64 << 20, Threads: 1})
	if got, err := run(t, db, "SELECT * FROM read_csv('"+mine+"/a.csv')"); err != nil || got != "mine" {
		t.Fatalf("its own file = %q, %v, want it read", got, err)
	}
	for _, statement := range []string{
		"SELECT * FROM read_csv('" + others + "/a.csv')",
		"SELECT * FROM '" + others + "/a.csv'",
		"SELECT * FROM read_csv('" + mine + "/../mine2/a.csv')",
		"SELECT * FROM read_csv('" + mine + "/./../mine2/a.csv')",
		"SELECT * FROM read_csv('" + mine + "/x/../../mine2/a.csv')",
		"SELECT * FROM read_csv('file://" + others + "/a.csv')",
		"SELECT * FROM read_csv('file:" + mine + "/../mine2/a.csv')",
		"SELECT * FROM read_csv('" + strings.Replace(others, "mine2", "mine*", 1) + "/a.csv')",
		"SELECT * FROM glob('" + others + "/*')",
		"SELECT * FROM read_text('" + others + "/a.csv')",
		"SELECT * FROM read_text('.tmp/a.csv')",
		"SELECT * FROM glob('.tmp/*')",
		"SELECT * FROM read_text('/etc/passwd')",
		"SELECT * FROM read_text('/proc/self/environ')",
		"ATTACH '" + file + "' AS o",
		"ATTACH '" + file + "' AS o (READ_ONLY)",
		"SELECT * FROM read_duckdb('" + file + "')",
		"COPY (SELECT 1) TO '" + others + "/out.csv'",
		"COPY (SELECT 1) TO '" + mine + "/../mine2/out.csv'",
		"EXPORT DATABASE '" + others + "/out'",
		"CREATE TABLE x AS SELECT 1; COPY x TO '/tmp/out.csv'",
		"SELECT * FROM read_csv('https://example.com/a.csv')",
		"SELECT * FROM read_parquet('s3://bucket/a.parquet')",
		"INSTALL httpfs", "LOAD httpfs", "INSTALL httpfs FROM community", "LOAD '" + others + "/x.duckdb_extension'",
		"CREATE SECRET (TYPE s3, KEY_ID 'a', SECRET 'b')",
		"SET enable_external_access = true", "SET lock_configuration = false", "RESET lock_configuration",
		"SET allowed_directories = ['/']", "SET allowed_paths = ['" + others + "/a.csv']", "SET memory_limit = '99GB'", "SET threads = 64",
		"SET temp_directory = '" + others + "'", "SET TimeZone = 'Asia/Tokyo'", "SET home_directory = '/'", "SET profile_output = '" + others + "/out.json'",
		"PRAGMA enable_profiling = 'json'", "PRAGMA database_list; SET GLOBAL memory_limit = '99GB'",
	} {
		got, err := run(t, db, statement)
		if err == nil {
			t.Errorf("%s = %q, want a refusal", statement, got)
		}
	}
	for _, name := range []string{filepath.Join(others, "out.csv"), filepath.Join(others, "out"), filepath.Join(others, "out.json"), "/tmp/out.csv"} {
		if _, err := os.Stat(name); err == nil {
			t.Errorf("a statement wrote %s", name)
		}
	}
	got, err := run(t, db, "SELECT current_setting('temp_directory'), current_setting('memory_limit'), current_setting('threads'), current_setting('TimeZone')")
	if want := "64.0 MiB1UTC"; err != nil || got != want {
		t.Errorf("settings = %q, %v, want %q", got, err, want)
	}
}

func TestAnInstanceWithoutRoomFailsOrSpillsIntoItsFolder(t *testing.T) {
	const large = "SELECT count(*) FROM (SELECT DISTINCT range, repeat('x', 100) || range FROM range(1000000))"
	db := open(t, duckdbinstance.Config{Memory: 32 << 20, Threads: 1})
	if _, err := run(t, db, large); err == nil || !strings.Contains(err.Error(), "Out of Memory") {
		t.Errorf("without a folder to spill: %v, want Out of Memory", err)
	}
	spill := filepath.Join(t.TempDir(), "spill")
	db = open(t, duckdbinstance.Config{Memory: 48 << 20, Threads: 1, Spill: spill, AnyOrder: true})
	if got, err := run(t, db, large); err != nil || got != "1000000" {
		t.Errorf("with one: %q, %v, want 1000000", got, err)
	}
	db = open(t, duckdbinstance.Config{Memory: 48 << 20, Threads: 1, Spill: spill, SpillBytes: 4 << 20, AnyOrder: true})
	if _, err := run(t, db, large); err == nil || !strings.Contains(err.Error(), "max_temp_directory_size") {
		t.Errorf("with one that is too small: %v, want Out of Memory for max_temp_directory_size", err)
	}
}
