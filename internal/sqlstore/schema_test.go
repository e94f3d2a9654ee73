package sqlstore_test

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jmoiron/sqlx"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/sqlstore"
	"github.com/behalf-project/behalf/internal/sqlstore/sqlstoretest"
)

func TestBothDatabasesHaveOneSchema(t *testing.T) {
	t.Parallel()
	lite := describeSQLite(t, sqlstoretest.OpenSQLite(t, nil).Writer())
	postgres := describePostgres(t, sqlstoretest.OpenPostgres(t, nil).Writer())
	if len(lite) < 50 {
		t.Fatalf("the schema has %d lines, want it described:\n%s", len(lite), strings.Join(lite, "\n"))
	}
	if diff := cmp.Diff(lite, postgres); diff != "" {
		t.Errorf("the schemas differ (-SQLite +Postgres):\n%s", diff)
	}
}

func TestBothFoldersHoldTheSameMigrations(t *testing.T) {
	names := map[string][]string{}
	for _, folder := range []string{"sqlite", "postgres"} {
		entries, err := fs.ReadDir(sqlstore.Migrations, "migrations/"+folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names[folder] = append(names[folder], e.Name())
		}
	}
	if diff := cmp.Diff(names["sqlite"], names["postgres"]); diff != "" || len(names["sqlite"]) == 0 {
		t.Errorf("the migrations differ (-SQLite +Postgres):\n%s", diff)
	}
}

func TestASchemaFromTheFutureIsRefused(t *testing.T) {
	eachLocation(t, func(t *testing.T, l location) {
		l.with(t, func(db *sqlstore.DB) {
			db.Writer().MustExec("UPDATE goose_db_version SET version_id = 9000 WHERE version_id = (SELECT max(version_id) FROM goose_db_version)")
		})
		l.refused(t, fault.Conflict, "9000", "newer Behalf")
	})
}

// types are the names of one type in the two databases.
var types = map[string]string{"INTEGER": "bigint", "TEXT": "text", "BLOB": "bytea", "boolean": "bigint"}

func named(typ string) string {
	if name, ok := types[typ]; ok {
		return name
	}
	return typ
}

// describeSQLite returns the columns, indexes, foreign keys and triggers of a schema, sorted.
func describeSQLite(t *testing.T, db *sqlx.DB) []string {
	t.Helper()
	return describe(t, db, []string{
		`SELECT 'column ' || t.name || '.' || c.name, c.type, c."notnull" = 1, c.pk > 0
			FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table'`,
		`SELECT 'index on ' || t.name || ' (' || (SELECT group_concat(name, ', ') FROM (SELECT name FROM pragma_index_info(i.name) ORDER BY seqno)) || ')',
			'', i."unique" = 1, i.origin = 'pk' FROM sqlite_schema t, pragma_index_list(t.name) i WHERE t.type = 'table'`,
		`SELECT 'foreign key ' || t.name || '.' || f."from" || ' to ' || f."table" || '.' || f."to" || ' on delete ' || lower(f.on_delete), '', TRUE, FALSE
			FROM sqlite_schema t, pragma_foreign_key_list(t.name) f WHERE t.type = 'table'`,
		`SELECT 'trigger ' || name || ' on ' || tbl_name, '', TRUE, FALSE FROM sqlite_schema WHERE type = 'trigger'`,
	})
}

// describePostgres returns the same of Postgres.
func describePostgres(t *testing.T, db *sqlx.DB) []string {
	t.Helper()
	return describe(t, db, []string{
		`SELECT 'column ' || c.relname || '.' || a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
			EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND a.attnum = ANY (i.indkey))
			FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
			WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace`,
		`SELECT 'index on ' || c.relname || ' (' || (SELECT string_agg(a.attname, ', ' ORDER BY k.n) FROM unnest(i.indkey) WITH ORDINALITY k (attnum, n)
			JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum) || ')', '', i.indisunique, i.indisprimary
			FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE c.relnamespace = 'public'::regnamespace`,
		`SELECT 'foreign key ' || f.conrelid::regclass || '.' || a.attname || ' to ' || f.confrelid::regclass || '.' || b.attname || ' on delete ' ||
			CASE f.confdeltype WHEN 'c' THEN 'cascade' ELSE 'no action' END, '', TRUE, FALSE
			FROM pg_constraint f JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = f.conkey[1]
			JOIN pg_attribute b ON b.attrelid = f.confrelid AND b.attnum = f.confkey[1] WHERE f.contype = 'f'`,
		`SELECT 'trigger ' || tgname || ' on ' || tgrelid::regclass, '', TRUE, FALSE FROM pg_trigger WHERE NOT tgisinternal`,
	})
}

func describe(t *testing.T, db *sqlx.DB, queries []string) []string {
	t.Helper()
	var lines []string
	for _, q := range queries {
		rows, err := db.Queryx(q)
		if err != nil {
			t.Fatalf("%v in %s", err, q)
		}
		for rows.Next() {
			var what, typ string
			var must, key bool
			if err := rows.Scan(&what, &typ, &must, &key); err != nil {
				t.Fatal(err)
			}
			// goose and SQLite have tables of their own. A number that counts up is its own index in SQLite.
			if strings.Contains(what, "goose_db_version") || strings.Contains(what, "sqlite_sequence") || what == "index on audit (seq)" {
				continue
			}
			lines = append(lines, fmt.Sprintf("%s %s not null or unique: %v primary: %v", what, named(typ), must, key))
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(lines)
	return lines
}
