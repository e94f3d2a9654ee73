//go:build cgo

package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/sandbox/engine"
	"github.com/google/go-cmp/cmp"
)

// open returns a small shop in which alice sees EMEA, bob AMER without order_items, and carol everything, and may write.
func open(t *testing.T) *engine.Engine {
	t.Helper()
	e, err := engine.Open(t.Context(), engine.Config{Rows: 10_000, Rights: map[string]engine.Rights{
		"alice": {Regions: []string{"EMEA"}},
		"bob":   {Regions: []string{"AMER"}, Denied: []string{"order_items"}},
		"carol": {Regions: engine.AllRegions, Write: true},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// query runs sql and returns its cells as text, rows joined by newlines and cells by commas.
func query(t *testing.T, e *engine.Engine, who string, d engine.Dialect, sql string, args ...any) (string, error) {
	t.Helper()
	rows, err := e.Query(t.Context(), engine.Query{Identity: who, Dialect: d, SQL: sql, Args: args})
	if err != nil {
		return "", err
	}
	var lines []string
	for rows.Next() {
		var cells []string
		for _, v := range rows.Values() {
			if at, ok := v.(time.Time); ok {
				v = at.Format("2006-01-02 15:04:05")
			}
			cells = append(cells, fmt.Sprint(v))
		}
		lines = append(lines, strings.Join(cells, ","))
	}
	return strings.Join(lines, "\n"), errors.Join(rows.Err(), rows.Close())
}

func TestTwoPeopleSeeDifferentRows(t *testing.T) {
	e := open(t)
	const sql = "SELECT region, count(*) FROM orders GROUP BY 1 ORDER BY 1"
	counts := map[string]string{}
	for _, tt := range []struct{ who, regions string }{
		{"alice", "EMEA"}, {"bob", "AMER"}, {"carol", "AMER APAC EMEA"}, {"nobody", ""}, {"", ""},
	} {
		got, err := query(t, e, tt.who, engine.Databricks, sql)
		if err != nil {
			t.Fatalf("%s: %v", tt.who, err)
		}
		var regions []string
		for line := range strings.Lines(got) {
			regions = append(regions, strings.Split(line, ",")[0])
		}
		if r := strings.Join(regions, " "); r != tt.regions {
			t.Errorf("%s sees the regions %q, want %q", tt.who, r, tt.regions)
		}
		counts[tt.who] = got
	}
	if !strings.Contains(counts["carol"], counts["alice"]) {
		t.Errorf("alice sees %q, which is not what carol sees of EMEA:\n%s", counts["alice"], counts["carol"])
	}
}

func TestTheDataIsTheSameEverywhere(t *testing.T) {
	e := open(t)
	got, err := query(t, e, "carol", engine.Databricks, `SELECT count(*), sum(amount), min(created_at), max(created_at),
		count(DISTINCT status), count(DISTINCT country), sum(hash_like) FROM (SELECT *, customer_id * id AS hash_like FROM orders)`)
	if err != nil {
		t.Fatal(err)
	}
	const want = "10000,2026638.55,2024-01-01 00:00:00,2025-12-31 22:14:44,5,12,1265652280"
	if got != want {
		t.Errorf("the orders add up to\n%s, want\n%s", got, want)
	}
}

func TestDialects(t *testing.T) {
	e := open(t)
	for _, tt := range []struct {
		name    string
		dialect engine.Dialect
		sql     string
		args    []any
		want    string
	}{
		{"months in UTC", engine.Databricks, "SELECT date_trunc('month', from_utc_timestamp(`orders`.`created_at`, 'UTC')) AS `orders.month` FROM `demo`.`default`.`orders` AS `orders` GROUP BY 1 ORDER BY 1 LIMIT 1", nil, "2024-01-01 00:00:00"},
		{"months in a zone west of UTC begin in the old year", engine.Databricks, "SELECT date_trunc('month', from_utc_timestamp(created_at, 'America/New_York')) FROM orders GROUP BY 1 ORDER BY 1 LIMIT 1", nil, "2023-12-01 00:00:00"},
		{"ISO time as a parameter", engine.Databricks, "SELECT from_utc_timestamp(replace(replace(?, 'T', ' '), 'Z', ''), 'UTC')", []any{"2024-05-06T07:08:09.000Z"}, "2024-05-06 07:08:09"},
		{"contains", engine.Databricks, "SELECT DISTINCT country FROM orders WHERE LOWER(country) LIKE CONCAT('%', LOWER(?), '%')", []any{"GERM"}, "Germany"},
		{"an escaped wildcard stands for itself", engine.Databricks, "SELECT 'a%b' LIKE CONCAT(?, '%'), 'axb' LIKE ?, 'a_b' NOT LIKE ?, 'axb' ILIKE 'A_B', 'a%' LIKE 'a\\%'", []any{`a\%`, `a\%b`, `a\_b`}, "true,false,false,true,true"},
		{"approximate count", engine.Databricks, "SELECT approx_count_distinct(id) > 5 FROM orders", nil, "true"},
		{"double quotes are strings, and backslashes escape", engine.Databricks, `SELECT "a""b", 'it\'s', 'x\\y', 'c:\tmp'`, nil, "a\"b,it's,x\\y,c:\tmp"},
		{"who am I", engine.Databricks, "SELECT current_user()", nil, "alice"},
		{"backtick in a name", engine.Databricks, "SELECT 1 AS `a``b` -- it's a comment", nil, "1"},
		{"zone of the session", engine.Databricks, "SELECT CAST(timestamp '2024-01-01 00:00:00' AS STRING)", nil, "2024-01-01 00:00:00"},

		{"months in UTC", engine.Snowflake, `SELECT date_trunc('MONTH', CONVERT_TIMEZONE('UTC', "orders".created_at::timestamp_tz)::timestamp_ntz) "orders.month" FROM DEMO.PUBLIC.ORDERS AS "orders" GROUP BY 1 ORDER BY 1 LIMIT 1`, nil, "2024-01-01 00:00:00"},
		{"months in a zone west of UTC begin in the old year", engine.Snowflake, `SELECT date_trunc('MONTH', CONVERT_TIMEZONE('America/New_York', created_at::timestamp_tz)::timestamp_ntz) FROM orders GROUP BY 1 ORDER BY 1 LIMIT 1`, nil, "2023-12-01 00:00:00"},
		{"from zone to zone", engine.Snowflake, `SELECT CONVERT_TIMEZONE('Europe/Rome', 'UTC', '2024-05-06 07:08:09'::timestamp_ntz)`, nil, "2024-05-06 05:08:09"},
		{"time as a parameter", engine.Snowflake, "SELECT count(*) > 0 FROM orders WHERE created_at::timestamp_tz >= ?::timestamp_tz", []any{"2024-05-06T07:08:09.000Z"}, "true"},
		{"contains", engine.Snowflake, `SELECT DISTINCT country FROM orders WHERE country ILIKE '%' || ? || '%' ESCAPE '\\'`, []any{"germ"}, "Germany"},
		{"an escaped wildcard stands for itself", engine.Snowflake, `SELECT 'a%b' ILIKE ? ESCAPE '\\', 'axb' ILIKE ? ESCAPE '\\'`, []any{`a\%b`, `a\%b`}, "true,false"},
		{"who am I", engine.Snowflake, "SELECT CURRENT_USER(), current_user", nil, "ALICE,ALICE"},
		{"iff", engine.Snowflake, "SELECT iff(1 > 2, 'a', 'b')", nil, "b"},
	} {
		t.Run([]string{"Databricks", "Snowflake"}[tt.dialect]+"/"+tt.name, func(t *testing.T) {
			got, err := query(t, e, "alice", tt.dialect, tt.sql, tt.args...)
			if err != nil || got != tt.want {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestTypesOfColumns(t *testing.T) {
	e := open(t)
	rows, err := e.Query(t.Context(), engine.Query{Identity: "alice", SQL: `SELECT true, 1::tinyint, 1::smallint, 1, 1::bigint,
		sum(1::bigint), 1.5::float, 1.5::double, 12.50::decimal(12,2), 'x', date '2024-01-02', timestamp '2024-01-02 03:04:05.678',
		'ab'::blob, -0.05::decimal(4,2), [1, 2], NULL`})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var types []engine.Type
	for _, c := range rows.Columns {
		types = append(types, c.Type)
	}
	if diff := cmp.Diff([]engine.Type{
		engine.Bool, engine.Int8, engine.Int16, engine.Int32, engine.Int64, engine.Int64, engine.Float32, engine.Float64, engine.Decimal,
		engine.Text, engine.Date, engine.Timestamp, engine.Binary, engine.Decimal, engine.Text, engine.Int32,
	}, types); diff != "" {
		t.Errorf("types (-want +got):\n%s", diff)
	}
	if !rows.Next() {
		t.Fatal(rows.Err())
	}
	if diff := cmp.Diff([]any{
		true, int64(1), int64(1), int64(1), int64(1), int64(1), 1.5, 1.5, "12.50", "x", time.Date(2024, 1, 2, 0, 0, 0, 0, time.UTC),
		time.Date(2024, 1, 2, 3, 4, 5, 678e6, time.UTC), []byte("ab"), "-0.05", "[1,2]", nil,
	}, rows.Values()); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

// The views must not be walked around: neither to the tables beneath them, nor by becoming somebody else.
func TestNobodyReachesAroundTheirRights(t *testing.T) {
	e := open(t)
	for _, tt := range []struct {
		name, who, sql string
		want           engine.ErrorKind
	}{
		{"a table that is denied", "bob", "SELECT * FROM order_items", engine.NotAllowed},
		{"a denied table in a subquery", "bob", "SELECT 1 WHERE EXISTS (SELECT 1 FROM demo.public.order_items)", engine.NotAllowed},
		{"a denied table in a CTE", "bob", "WITH x AS (SELECT * FROM `default`.Order_Items) SELECT * FROM x", engine.NotAllowed},
		{"the table beneath the view", "alice", "SELECT * FROM base.orders", engine.TableAbsent},
		{"the table beneath the view, in full", "alice", "SELECT * FROM demo.`base`.orders", engine.TableAbsent},
		{"the rights", "alice", "SELECT * FROM base.rights", engine.TableAbsent},
		{"a table by its name in a string", "alice", "SELECT * FROM query_table('demo.base.orders')", engine.TableAbsent},
		{"a query in a string", "alice", "SELECT * FROM query('FROM demo.base.orders')", engine.TableAbsent},
		{"the definitions of the views", "alice", "SELECT * FROM duckdb_views()", engine.TableAbsent},
		{"a file", "alice", "SELECT * FROM '/etc/passwd'", engine.TableAbsent},
		{"a file by a function", "alice", "SELECT * FROM read_csv('/etc/passwd')", engine.TableAbsent},
		{"a file by another function", "alice", "SELECT * FROM read_text('/etc/passwd')", engine.TableAbsent},
		{"somebody else's name", "alice", "SET VARIABLE app_user = 'bob'", engine.Syntax},
		{"somebody else's name before a query", "alice", "SET VARIABLE app_user = 'bob'; SELECT 1", engine.Syntax},
		{"two statements", "alice", "SELECT 1; SELECT 2", engine.Syntax},
		{"a view of one's own", "alice", "CREATE VIEW v AS SELECT * FROM base.orders", engine.Syntax},
		{"another file", "alice", "ATTACH 'x.db'", engine.Syntax},
		{"a write without the right", "alice", "INSERT INTO scratch (id) VALUES (1)", engine.NotAllowed},
		{"a write elsewhere", "carol", "DELETE FROM orders", engine.NotAllowed},
		{"a write to the rights", "carol", "INSERT INTO demo.base.rights VALUES ('carol', 'EMEA')", engine.TableAbsent},
		{"a write that reads", "carol", "INSERT INTO scratch SELECT 1, name FROM demo.base.rights", engine.Syntax},
		{"a write of two statements", "carol", "INSERT INTO scratch (id) VALUES (1); DELETE FROM base.rights", engine.Syntax},
		{"a write behind a backslash", "carol", "INSERT INTO scratch (note) VALUES ('a\\\\'); DELETE FROM base.rights --'", engine.Syntax},
		{"a write behind an E string", "carol", "INSERT INTO scratch (note) VALUES (E'a\\\\', '); DELETE FROM base.rights --')", engine.Syntax},
		{"a write behind dollars", "carol", "INSERT INTO scratch (note) VALUES ($$ ' $$); DELETE FROM base.rights --'", engine.Syntax},
		{"a write behind dollars with a tag", "carol", "INSERT INTO scratch (note) VALUES ($a$ ' $a$); DELETE FROM base.rights --'", engine.Syntax},
		{"a table of what is denied", "bob", "CREATE TABLE s.t AS SELECT * FROM order_items", engine.NotAllowed},
		{"a table of the table beneath the view", "alice", "CREATE TABLE s.t AS SELECT * FROM base.orders", engine.TableAbsent},
		{"a table of the rights, in full", "alice", "CREATE TABLE s.t AS (WITH x AS (SELECT * FROM demo.base.rights) SELECT * FROM x)", engine.TableAbsent},
		{"a table of a file", "alice", "CREATE TABLE s.t AS SELECT * FROM read_text('/etc/passwd')", engine.TableAbsent},
		{"a table and something else", "alice", "CREATE TABLE s.t AS SELECT 1; DROP TABLE base.rights", engine.Syntax},
		{"a table and something else behind dollars", "alice", "CREATE TABLE s.t AS SELECT $$ ' $$; DROP TABLE base.rights --'", engine.Syntax},
		{"a table in place of another", "alice", "CREATE OR REPLACE TABLE base.rights AS SELECT 'alice', 'AMER'", engine.Syntax},
		{"a table among the rights", "alice", "CREATE TABLE demo.base.more AS SELECT 1", engine.NotAllowed},
		{"a table beside the views", "alice", "CREATE TABLE `default`.`more` AS SELECT 1", engine.NotAllowed},
		{"a table in another catalog", "alice", "CREATE TABLE memory.main.more AS SELECT 1", engine.Syntax},
		{"a table without a schema", "alice", "CREATE TABLE more AS SELECT 1", engine.Syntax},
		{"a schema of a name that is taken", "alice", "CREATE SCHEMA IF NOT EXISTS Base", engine.NotAllowed},
		{"the rights are dropped", "alice", "DROP TABLE IF EXISTS demo.base.rights", engine.NotAllowed},
		{"two tables are dropped", "alice", "DROP TABLE IF EXISTS s.t, base.rights", engine.Syntax},
		{"a table that nobody made", "alice", "SELECT * FROM information_schema.schemata", engine.TableAbsent},
		{"no SQL", "alice", "SELEC 1", engine.Syntax},
		{"a string without end", "alice", "SELECT 'x", engine.Syntax},
		{"a name without end", "alice", "SELECT 1 AS `x", engine.Syntax},
		{"half of SQL", "alice", "SELECT FROM WHERE", engine.Syntax},
		{"nothing", "alice", " ; ", engine.Syntax},
		{"a NUL", "alice", "SELECT 1 \x00 FROM base.orders", engine.Syntax},
		{"far too much", "alice", "SELECT '" + strings.Repeat("x", 1<<20) + "'", engine.Syntax},
		{"a column that is not there", "alice", "SELECT nope FROM orders", engine.NoColumn},
		{"a table that is not there", "alice", "SELECT * FROM nope", engine.TableAbsent},
		{"a function that is not there", "alice", "SELECT nope(1)", engine.TableAbsent},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := query(t, e, tt.who, engine.Databricks, tt.sql)
			failed, ok := errors.AsType[*engine.Error](err)
			if !ok || failed.Kind != tt.want {
				t.Errorf("got %q, error %v, want an error of kind %d", got, err, tt.want)
			}
		})
	}
}

func TestWritesToScratch(t *testing.T) {
	e := open(t)
	for _, tt := range []struct{ sql, want string }{
		{"INSERT INTO scratch (id, note) VALUES (1, 'a'), (2, 'b')", "2"},
		{"UPDATE `default`.scratch SET note = 'c' WHERE id = 2", "1"},
		{"SELECT note FROM scratch ORDER BY id", "a\nc"},
		{"DELETE FROM scratch WHERE id < 9", "2"},
	} {
		if got, err := query(t, e, "carol", engine.Databricks, tt.sql); err != nil || got != tt.want {
			t.Errorf("%s: got %q, %v, want %q", tt.sql, got, err, tt.want)
		}
	}
}

func TestCancelling(t *testing.T) {
	for _, tt := range []struct{ name, sql string }{
		{"a statement that is asked to take long", "SELECT 1 /* sandbox:sleep=5m */"},
		{"a statement that takes long", "SELECT count(*) FROM range(100000) a(x), range(10000000) b(y) WHERE x * y % 7 = 3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := open(t)
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				_, _ = e.Log.Await(t.Context(), func(s engine.Statement) bool { return s.Outcome == engine.Running })
				time.Sleep(20 * time.Millisecond) // let DuckDB begin, where it is the one that must be interrupted
				cancel()
			}()
			rows, err := e.Query(ctx, engine.Query{ID: "q1", Warehouse: "w", Identity: "alice", SQL: tt.sql})
			if err == nil {
				for rows.Next() {
				}
				err = rows.Err()
				_ = rows.Close()
			}
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error = %v, want context.Canceled", err)
			}
			got := e.Log.Statements()
			if len(got) != 1 || got[0].Outcome != engine.CanceledOut || got[0].Identity != "alice" || got[0].ID != "q1" {
				t.Errorf("the log holds %+v, want one cancelled statement of alice", got)
			}
			if got, err := query(t, e, "alice", engine.Databricks, "SELECT 2"); got != "2" || err != nil {
				t.Errorf("the next statement: %q, %v, want 2", got, err)
			}
		})
	}
}

func TestRightsChangeWithTheNextStatement(t *testing.T) {
	e := open(t)
	if err := e.Grant(t.Context(), "alice", engine.Rights{Regions: []string{"APAC"}}); err != nil {
		t.Fatal(err)
	}
	if got, err := query(t, e, "alice", engine.Snowflake, "SELECT DISTINCT region FROM customers"); got != "APAC" || err != nil {
		t.Errorf("got %q, %v, want APAC", got, err)
	}
}

// Whatever the text, DuckDB must see its strings and comments where the warehouse would: no quote of a closed string may
// open another, and no comment survives.
func FuzzTranslate(f *testing.F) {
	for _, s := range []string{"SELECT `a``b`, \"x\\\"y\", 'it\\'s' -- c\n/* d */ FROM t WHERE a = :p::int", "'", "/*", "`", "\\", "a:", "x[1:2]", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		for _, d := range []engine.Dialect{engine.Databricks, engine.Snowflake} {
			once := engine.Snowflake.Translate(strings.ReplaceAll(d.Translate(sql), `\`, ""))
			if twice := engine.Snowflake.Translate(once); once != twice {
				t.Errorf("%q became %q and then %q", sql, once, twice)
			}
		}
	})
}
