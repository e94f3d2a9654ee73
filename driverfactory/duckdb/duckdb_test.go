//go:build cgo

package duckdb_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/driverfactory/duckdb"
	"github.com/behalf-project/behalf/internal/fault"
)

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		name string
		src  driverfactory.Source
		want string
	}{
		{name: "a file", src: driverfactory.Source{Options: map[string]string{"path": "/data/shop.duckdb"}}},
		{name: "a file on Windows", src: driverfactory.Source{Options: map[string]string{"path": `C:\data\shop.duckdb`}}},
		{name: "a database in memory"},
		{name: "settings behind the path", src: driverfactory.Source{Options: map[string]string{"path": "a.duckdb?access_mode=read_write"}}, want: "options/path invalid"},
		{name: "an extension before the path", src: driverfactory.Source{Options: map[string]string{"path": "md:shop"}}, want: "options/path invalid"},
		{name: "a URL", src: driverfactory.Source{Options: map[string]string{"path": "https://example.com/a.duckdb"}}, want: "options/path invalid"},
		{name: "a misspelt option", src: driverfactory.Source{Options: map[string]string{"file": "x"}}, want: "options/file unknown"},
		{name: "an OAuth app", src: driverfactory.Source{OAuthApp: "x"}, want: "oauth_app unsupported"},
		{name: "an account", src: driverfactory.Source{ServiceAccount: &driverfactory.ServiceAccount{User: "u"}}, want: "service_account unsupported"},
		{name: "an account that is only a name", src: driverfactory.Source{ServiceAccount: &driverfactory.ServiceAccount{}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.src.Name, tt.src.Type = "s", "duckdb"
			err := duckdb.New().Check(tt.src)
			var got []string
			if e, ok := errors.AsType[*fault.Error](err); ok {
				for _, f := range e.Fields {
					got = append(got, f.Pointer+" "+f.Code)
				}
			}
			if strings.Join(got, ", ") != tt.want {
				t.Errorf("Check = %q (%v), want %q", got, err, tt.want)
			}
		})
	}
}

// file makes a DuckDB file with one table.
func file(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	db, err := sql.Open("duckdb", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TABLE t AS SELECT 1 AS id"); err != nil {
		t.Fatal(err)
	}
	return path
}

// open returns a driver at the file, through wh.
func open(t *testing.T, wh *duckdb.Warehouse, path string) driverfactory.Driver {
	t.Helper()
	f := driverfactory.New(driverfactory.Config{Warehouses: map[string]driverfactory.Warehouse{"duckdb": wh}})
	src := driverfactory.Source{Name: "s", Type: "duckdb", Options: map[string]string{"path": path}}
	choice, err := f.Choose(t.Context(), driverfactory.SecurityContext{}, src, driverfactory.UserQuery)
	if err != nil {
		t.Fatal(err)
	}
	d, err := f.Open(choice)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func exec(ctx context.Context, d driverfactory.Driver, statement string) error {
	r, err := d.Query(ctx, driverfactory.Statement{SQL: statement})
	if err != nil {
		return err
	}
	defer r.Close()
	for row := make([]any, len(r.Columns())); ; {
		if more, err := r.Next(row); err != nil || !more {
			return err
		}
	}
}

func TestAFileIsReadAndNothingElse(t *testing.T) {
	wh := duckdb.New()
	mine, other := file(t, "mine.duckdb"), file(t, "other.duckdb")
	csv := filepath.Join(t.TempDir(), "a.csv")
	if err := os.WriteFile(csv, []byte("a\n1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{mine, ""} {
		d := open(t, wh, path)
		if path != "" {
			if err := exec(t.Context(), d, "SELECT * FROM t"); err != nil {
				t.Fatalf("its own table: %v", err)
			}
			for _, s := range []string{"CREATE TABLE u (a INT)", "INSERT INTO t VALUES (2)", "DROP TABLE t"} {
				if err := exec(t.Context(), d, s); err == nil {
					t.Errorf("%s: no error, want a refusal", s)
				}
			}
		}
		for _, s := range []string{
			fmt.Sprintf("SELECT * FROM read_csv('%s')", csv), "SELECT * FROM read_text('/etc/passwd')", "SELECT * FROM glob('/*')",
			fmt.Sprintf("ATTACH '%s' AS o", other), fmt.Sprintf("COPY (SELECT 1) TO '%s.out'", csv),
			"SELECT * FROM read_csv('https://example.com/a.csv')", "INSTALL httpfs", "LOAD httpfs",
			"SET enable_external_access = true", "SET lock_configuration = false", "SET memory_limit = '99GB'", "SET TimeZone = 'Asia/Tokyo'",
		} {
			if err := exec(t.Context(), d, s); err == nil {
				t.Errorf("path %q: %s: no error, want a refusal", filepath.Base(path), s)
			}
		}
	}
	if _, err := os.Stat(csv + ".out"); err == nil {
		t.Error("a statement wrote a file")
	}
}

func TestDriversShareTheInstanceOfAFile(t *testing.T) {
	wh := duckdb.New()
	path := file(t, "shared.duckdb")
	a, b := open(t, wh, path), open(t, wh, path)
	for _, d := range []driverfactory.Driver{a, b, a} {
		if err := exec(t.Context(), d, "SELECT * FROM t"); err != nil {
			t.Fatal(err)
		}
	}
	_ = a.Close()
	if err := exec(t.Context(), b, "SELECT * FROM t"); err != nil {
		t.Errorf("after another driver closed: %v", err)
	}
	// Another Warehouse of the process, such as that of an embedding program, meets an instance that is locked already.
	if err := exec(t.Context(), open(t, duckdb.New(), path), "SELECT * FROM t"); err != nil {
		t.Errorf("through another Warehouse: %v", err)
	}
	_ = b.Close()
	if err := exec(t.Context(), open(t, wh, path), "SELECT * FROM t"); err != nil {
		t.Errorf("after all drivers closed: %v", err)
	}
}

func TestAFileThatIsNotThereIsTheAdminsToFix(t *testing.T) {
	d := open(t, duckdb.New(), filepath.Join(t.TempDir(), "missing.duckdb"))
	err := exec(t.Context(), d, "SELECT 1")
	if e, _ := errors.AsType[*fault.Error](err); e == nil || e.Code != "data_source_misconfigured" || e.Owner != fault.Admin {
		t.Errorf("error = %v, want data_source_misconfigured for the admin", err)
	}
}
