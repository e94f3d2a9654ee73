//go:build cgo

package drivertest_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/driverfactory/databricks"
	"github.com/behalf-project/behalf/driverfactory/drivertest"
	"github.com/behalf-project/behalf/driverfactory/duckdb"
	"github.com/behalf-project/behalf/driverfactory/postgres"
	"github.com/behalf-project/behalf/driverfactory/snowflake"
	"github.com/behalf-project/behalf/internal/sandbox/bearer"
	sandboxdatabricks "github.com/behalf-project/behalf/internal/sandbox/databricks"
	"github.com/behalf-project/behalf/internal/sandbox/engine"
	sandboxsnowflake "github.com/behalf-project/behalf/internal/sandbox/snowflake"
	"github.com/behalf-project/behalf/internal/sqlstore/postgrestest"
)

func TestMain(m *testing.M) { os.Exit(postgrestest.Run(m)) }

// shop returns a small engine in which alice sees EMEA but no order_items.
func shop(t *testing.T) *engine.Engine {
	t.Helper()
	e, err := engine.Open(t.Context(), engine.Config{Rows: 200, Rights: map[string]engine.Rights{
		drivertest.User: {Regions: []string{"EMEA"}, Denied: []string{"order_items"}},
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

// running reports whether the engine runs a statement that sleeps.
func running(e *engine.Engine) bool {
	for _, s := range e.Log.Statements() {
		if strings.Contains(s.SQL, "sandbox:sleep") && s.Outcome == engine.Running {
			return true
		}
	}
	return false
}

// people are the tokens of an emulated warehouse.
func people() (tokens *bearer.Static, accept, end func(t *testing.T, user, token string)) {
	tokens = &bearer.Static{}
	accept = func(_ *testing.T, user, token string) {
		tokens.Set(token, bearer.Holder{Name: user, Status: bearer.Active})
	}
	end = func(_ *testing.T, user, token string) {
		tokens.Set(token, bearer.Holder{Name: user, Status: bearer.Expired})
	}
	return tokens, accept, end
}

// columns reads a list of names and types: "a INT, b STRING".
func columns(list string) []driverfactory.Column {
	var out []driverfactory.Column
	for column := range strings.SplitSeq(list, ", ") {
		name, kind, _ := strings.Cut(column, " ")
		out = append(out, driverfactory.Column{Name: name, Type: kind})
	}
	return out
}

func day(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC) }

func openDatabricks(t *testing.T) drivertest.Server {
	s, _ := emulatedDatabricks(t, shop(t))
	return s
}

func emulatedDatabricks(t *testing.T, e *engine.Engine) (drivertest.Server, *sandboxdatabricks.Server) {
	t.Helper()
	tokens, accept, end := people()
	server := sandboxdatabricks.New(sandboxdatabricks.Config{Engine: e, Bearers: tokens})
	http1 := &http.Transport{}
	srv := httptest.NewServer(server)
	t.Cleanup(func() {
		http1.CloseIdleConnections()
		srv.Close()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return drivertest.Server{
		Warehouse: databricks.New(databricks.Config{Transport: http1}),
		Source: driverfactory.Source{Type: "databricks", Options: map[string]string{
			"host": srv.URL, "http_path": strings.TrimPrefix(sandboxdatabricks.HTTPPath, "/"), "catalog": "demo", "schema": "default",
		}},
		Accept: accept, End: end,
		Drop:     func(*testing.T) { server.DropSessions("") },
		Sessions: func(*testing.T) int { return server.Sessions("") },
		Running:  func(*testing.T) bool { return running(e) },
		Settle:   http1.CloseIdleConnections,
		Reads: []drivertest.Read{
			{Name: "one of each type",
				SQL: "SELECT CAST(1 AS TINYINT) a, CAST(2 AS INT) b, CAST(3 AS BIGINT) c, CAST(0.1 AS FLOAT) d, CAST(0.5 AS DOUBLE) e, " +
					"CAST(27.50 AS DECIMAL(12,2)) f, 'x' g, true h, CAST('2024-02-29' AS DATE) i, CAST('2024-02-29 01:02:03' AS TIMESTAMP) j",
				Columns: columns("a TINYINT, b INT, c BIGINT, d FLOAT, e DOUBLE, f DECIMAL, g STRING, h BOOLEAN, i DATE, j TIMESTAMP"),
				Rows: [][]any{{int64(1), int64(2), int64(3), 0.1, 0.5, driverfactory.Decimal("27.50"), "x", true, day(2024, 2, 29),
					time.Date(2024, 2, 29, 1, 2, 3, 0, time.UTC)}}},
			{Name: "nulls and no rows", SQL: "SELECT CAST(NULL AS INT) a, CAST(NULL AS STRING) b, CAST(NULL AS DECIMAL(9,1)) c",
				Rows: [][]any{{nil, nil, nil}}},
			{Name: "no rows", SQL: "SELECT id FROM orders WHERE id < 0"},
			{Name: "parameters", SQL: "SELECT ? + 1 a, ? || '!' b, ? c", Args: []any{int64(41), "it's", true},
				Rows: [][]any{{int64(42), "it's!", true}}},
			{Name: "runs as alice", SQL: "SELECT current_user() who, count(DISTINCT region) n FROM orders", Rows: [][]any{{"alice", int64(1)}}},
		},
		Many: "SELECT CAST(range AS BIGINT) n FROM range(1, 25001) ORDER BY 1", Slow: "SELECT 1 /* sandbox:sleep=60s */", Wrong: "SELEC 1",
		Denied: "SELECT * FROM order_items",
		Makes: &drivertest.Makes{
			Schema: "CREATE SCHEMA IF NOT EXISTS `rollups`",
			Table: driverfactory.Statement{SQL: "CREATE TABLE `rollups`.`t` AS SELECT `region` AS `a b`, COUNT(DISTINCT region) AS `n`, ? + 1 AS `i`, ? AS `s`, CAST(? AS DECIMAL(9,2)) AS `d` " +
				"FROM `orders` WHERE region <> ? AND ? GROUP BY 1", Args: []any{int64(41), "it's", 1.5, "APAC", true}},
			Read: drivertest.Read{SQL: "SELECT * FROM `rollups`.`t`", Rows: [][]any{{"EMEA", int64(1), int64(42), "it's", driverfactory.Decimal("1.50")}}},
			Drop: "DROP TABLE IF EXISTS `rollups`.`t`", Slow: "CREATE TABLE `rollups`.`t` AS SELECT 1 AS a /* sandbox:sleep=60s */",
			Denied: "CREATE TABLE `rollups`.`u` AS SELECT * FROM order_items", Untold: true,
		},
	}, server
}

func openSnowflake(t *testing.T) drivertest.Server {
	s, _ := emulatedSnowflake(t, shop(t))
	return s
}

func emulatedSnowflake(t *testing.T, e *engine.Engine) (drivertest.Server, *sandboxsnowflake.Server) {
	t.Helper()
	if err := snowflake.Quiet(); err != nil {
		t.Fatal(err)
	}
	tokens, accept, end := people()
	server := sandboxsnowflake.New(sandboxsnowflake.Config{Engine: e, OAuth: tokens})
	http1 := &http.Transport{}
	srv := httptest.NewServer(server)
	t.Cleanup(func() {
		http1.CloseIdleConnections()
		srv.Close()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	return drivertest.Server{
		Warehouse: snowflake.New(snowflake.Config{Transport: http1}),
		Source: driverfactory.Source{Type: "snowflake", Options: map[string]string{
			"account": "sandbox", "protocol": "http", "host": u.Hostname(), "port": u.Port(),
			"database": "DEMO", "schema": "PUBLIC", "warehouse": "WH", "role": "ANALYST",
		}},
		Accept: accept, End: end,
		Drop:     func(*testing.T) { server.DropSessions("") },
		Sessions: func(*testing.T) int { return server.Sessions("") },
		Running:  func(*testing.T) bool { return running(e) },
		Settle:   http1.CloseIdleConnections,
		Reads: []drivertest.Read{
			{Name: "one of each type",
				SQL: "SELECT CAST(3 AS BIGINT) c, CAST(0.5 AS DOUBLE) e, CAST(27.50 AS DECIMAL(12,2)) f, 'x' g, true h, " +
					"CAST('2024-02-29' AS DATE) i, CAST('2024-02-29 01:02:03' AS TIMESTAMP) j, CAST('01:02:03' AS TIME) k, " +
					"CAST(123456789012345678.91 AS DECIMAL(20,2)) l",
				Columns: columns("C FIXED, E REAL, F FIXED, G TEXT, H BOOLEAN, I DATE, J TIMESTAMP_NTZ, K TIME, L FIXED"),
				Rows: [][]any{{int64(3), 0.5, driverfactory.Decimal("27.50"), "x", true, day(2024, 2, 29),
					time.Date(2024, 2, 29, 1, 2, 3, 0, time.UTC), "01:02:03", driverfactory.Decimal("123456789012345678.91")}}},
			{Name: "nulls", SQL: "SELECT CAST(NULL AS BIGINT) a, CAST(NULL AS VARCHAR) b, CAST(NULL AS DECIMAL(9,1)) c, CAST(NULL AS DATE) d",
				Rows: [][]any{{nil, nil, nil, nil}}},
			{Name: "no rows", SQL: "SELECT id FROM orders WHERE id < 0"},
			{Name: "parameters", SQL: "SELECT ? + 1 a, ? || '!' b, ? c", Args: []any{int64(41), "it's", true},
				Rows: [][]any{{int64(42), "it's!", true}}},
			{Name: "runs as alice", SQL: "SELECT current_user() who, count(DISTINCT region) n FROM orders", Rows: [][]any{{"ALICE", int64(1)}}},
		},
		Many: "SELECT CAST(range AS BIGINT) n FROM range(1, 25001) ORDER BY 1", Slow: "SELECT 1 /* sandbox:sleep=60s */", Wrong: "SELEC 1",
		Denied: "SELECT * FROM order_items",
		Makes: &drivertest.Makes{
			Schema: `CREATE SCHEMA IF NOT EXISTS "rollups"`,
			Table: driverfactory.Statement{SQL: `CREATE TABLE "rollups"."t" AS SELECT region AS "a b", COUNT(DISTINCT region) AS "n", ? + 1 AS "i", ? AS "s", CAST(? AS DECIMAL(9,2)) AS "d" ` +
				"FROM orders WHERE region <> ? AND ? GROUP BY 1", Args: []any{int64(41), "it's", 1.5, "APAC", true}},
			Read: drivertest.Read{SQL: `SELECT * FROM "rollups"."t"`, Rows: [][]any{{"EMEA", int64(1), int64(42), "it's", driverfactory.Decimal("1.50")}}},
			Drop: `DROP TABLE IF EXISTS "rollups"."t"`, Slow: `CREATE TABLE "rollups"."t" AS SELECT 1 AS a /* sandbox:sleep=60s */`,
			Denied: `CREATE TABLE "rollups"."u" AS SELECT * FROM order_items`, Untold: true,
		},
	}, server
}

func openPostgres(t *testing.T) drivertest.Server {
	admin, err := url.Parse(postgrestest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	exec := func(t *testing.T, statement string) (n int) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		conn, err := pgx.Connect(ctx, admin.String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(ctx)
		err = conn.QueryRow(ctx, statement).Scan(&n)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			t.Fatalf("%s: %v", statement, err)
		}
		return n
	}
	exec(t, "DROP ROLE IF EXISTS alice")
	exec(t, "CREATE ROLE alice LOGIN")
	exec(t, "CREATE TABLE secrets (a INT)")
	exec(t, "GRANT CREATE ON DATABASE "+pgx.Identifier{strings.TrimPrefix(admin.Path, "/")}.Sanitize()+" TO alice")
	t.Cleanup(func() { exec(t, "DROP OWNED BY alice"); exec(t, "DROP ROLE alice") })
	const others = "FROM pg_stat_activity WHERE usename = 'alice'"
	return drivertest.Server{
		Warehouse: postgres.New(),
		Source: driverfactory.Source{Type: "postgres", Options: map[string]string{
			"host": admin.Hostname(), "port": admin.Port(), "database": strings.TrimPrefix(admin.Path, "/"),
			"auth": "token_as_password", "sslmode": "disable",
		}},
		Accept: func(t *testing.T, user, token string) {
			exec(t, fmt.Sprintf("ALTER ROLE %s PASSWORD '%s'", user, token))
		},
		End: func(t *testing.T, user, _ string) { exec(t, fmt.Sprintf("ALTER ROLE %s PASSWORD NULL", user)) },
		Drop: func(t *testing.T) {
			exec(t, "SELECT count(pg_terminate_backend(pid, 5000)) "+others)
		},
		Sessions: func(t *testing.T) int { return exec(t, "SELECT count(*) "+others) },
		Running: func(t *testing.T) bool {
			return exec(t, "SELECT count(*) "+others+" AND state = 'active' AND query LIKE '%pg_sleep%'") > 0
		},
		Reads: []drivertest.Read{
			{Name: "one of each type",
				SQL: "SELECT 1::int2 a, 2::int4 b, 3::int8 c, 0.1::float4 d, 0.5::float8 e, 27.50::numeric(12,2) f, 'x'::text g, true h, " +
					"'2024-02-29'::date i, '2024-02-29 01:02:03'::timestamp j, '2024-02-29 01:02:03+02'::timestamptz k, " +
					`'\x00ff'::bytea l, '{"a": 1}'::jsonb m, '00000000-0000-0000-0000-000000000001'::uuid o`,
				Rows: [][]any{{int64(1), int64(2), int64(3), 0.1, 0.5, driverfactory.Decimal("27.50"), "x", true, day(2024, 2, 29),
					time.Date(2024, 2, 29, 1, 2, 3, 0, time.UTC), time.Date(2024, 2, 28, 23, 2, 3, 0, time.UTC), []byte{0, 255},
					`{"a": 1}`, "00000000-0000-0000-0000-000000000001"}}},
			{Name: "names of types", SQL: "SELECT 1::int8 a, 2.5::numeric b, 'x'::varchar(3) c, now()::timestamptz d LIMIT 0",
				Columns: columns("a INT8, b NUMERIC, c VARCHAR, d TIMESTAMPTZ")},
			{Name: "nulls", SQL: "SELECT NULL::int a, NULL::text b, NULL::numeric c, NULL::bytea d", Rows: [][]any{{nil, nil, nil, nil}}},
			{Name: "a numeric beyond 64 bits", SQL: "SELECT 12345678901234567890123456789012345678.90::numeric, 1e20::numeric",
				Rows: [][]any{{driverfactory.Decimal("12345678901234567890123456789012345678.90"), driverfactory.Decimal("100000000000000000000")}}},
			{Name: "parameters take their types from the statement",
				SQL:  "SELECT $1::int8 + 1 a, $2::text || '!' b, $3::bool c, count(*) n FROM pg_class WHERE $4::timestamptz < now() AND relname = $5",
				Args: []any{int64(41), "it's", true, "2024-01-01T00:00:00Z", "pg_class"}, Rows: [][]any{{int64(42), "it's!", true, int64(1)}}},
			{Name: "a number may be compared with a column of text", SQL: "SELECT $1::text = '42' a, 'true' = $2 b, 1.5::numeric = $3 c",
				Args: []any{int64(42), true, 1.5}, Rows: [][]any{{true, true, true}}},
			{Name: "runs as alice, in UTC, and reads alone",
				SQL:  "SELECT current_user::text who, current_setting('TimeZone') tz, current_setting('transaction_read_only') alone",
				Rows: [][]any{{"alice", "UTC", "on"}}},
		},
		Many: "SELECT n::int8 FROM generate_series(1, 25000) n ORDER BY 1", Slow: "SELECT pg_sleep(60)", Wrong: "SELEC 1", Denied: "SELECT * FROM secrets",
		Makes: &drivertest.Makes{
			Schema: `CREATE SCHEMA IF NOT EXISTS "rollups"`,
			Table: driverfactory.Statement{SQL: `CREATE TABLE "rollups"."t" AS SELECT relname::text AS "a b", $1::int8 AS n, $2::text AS s, $3::numeric AS d ` +
				"FROM pg_class WHERE relname = $4 AND $5::timestamptz < now() AND $6", Args: []any{int64(41), "it's", 1.5, "pg_class", "2024-01-01T00:00:00Z", true}},
			Read: drivertest.Read{SQL: `SELECT * FROM "rollups"."t"`, Rows: [][]any{{"pg_class", int64(41), "it's", driverfactory.Decimal("1.5")}}},
			Drop: `DROP TABLE IF EXISTS "rollups"."t"`, Loosens: "SELECT set_config('default_transaction_read_only', 'off', false)",
			Slow:   `CREATE TABLE "rollups"."t" AS SELECT 1 FROM pg_sleep(60)`,
			Denied: `CREATE TABLE "rollups"."u" AS SELECT * FROM secrets`,
		},
	}
}

func openDuckDB(t *testing.T) drivertest.Server {
	path := filepath.Join(t.TempDir(), "data.duckdb")
	db, err := sql.Open("duckdb", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("CREATE TABLE t AS SELECT range AS id FROM range(10)"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	const slow = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range * b.range % 7 = 3"
	return drivertest.Server{
		Warehouse: duckdb.New(),
		Source:    driverfactory.Source{Type: "duckdb", Options: map[string]string{"path": path}},
		Reads: []drivertest.Read{
			{Name: "one of each type",
				SQL: "SELECT 1::TINYINT a, 2::INTEGER b, 3::BIGINT c, 4::UBIGINT d, 18446744073709551615::UBIGINT e, 5::HUGEINT f, " +
					"0.1::FLOAT g, 0.5::DOUBLE h, 27.50::DECIMAL(12,2) i, -0.05::DECIMAL(4,2) j, 7::DECIMAL(20,0) k, 'x' l, true m, DATE '2024-02-29' o, " +
					"TIMESTAMP '2024-02-29 01:02:03' p, TIMESTAMPTZ '2024-02-29 01:02:03+02' q, TIME '01:02:03.5' r, '\\x00\\xFF'::BLOB s, " +
					"UUID '00000000-0000-0000-0000-000000000001' u, [1, 2] v, {'a': 1} w",
				Rows: [][]any{{int64(1), int64(2), int64(3), int64(4), driverfactory.Decimal("18446744073709551615"), int64(5), 0.1, 0.5,
					driverfactory.Decimal("27.50"), driverfactory.Decimal("-0.05"), driverfactory.Decimal("7"), "x", true, day(2024, 2, 29), time.Date(2024, 2, 29, 1, 2, 3, 0, time.UTC),
					time.Date(2024, 2, 28, 23, 2, 3, 0, time.UTC), "01:02:03.5", []byte{0, 255}, "00000000-0000-0000-0000-000000000001", "[1,2]", `{"a":1}`}}},
			{Name: "names of types", SQL: "SELECT 1::BIGINT a, 2.5::DECIMAL(9,1) b, 'x' c",
				Columns: columns("a BIGINT, b DECIMAL, c VARCHAR"), Rows: [][]any{{int64(1), driverfactory.Decimal("2.5"), "x"}}},
			{Name: "nulls and no rows", SQL: "SELECT NULL::INTEGER a, NULL::DECIMAL(9,1) b", Rows: [][]any{{nil, nil}}},
			{Name: "parameters", SQL: "SELECT ? + 1 a, ? || '!' b, ?::BOOLEAN c", Args: []any{int64(41), "it's", true}, Rows: [][]any{{int64(42), "it's!", true}}},
			{Name: "the file's table, in UTC", SQL: "SELECT count(*) n, current_setting('TimeZone') tz FROM t", Rows: [][]any{{int64(10), "UTC"}}},
		},
		Many: "SELECT range n FROM range(1, 25001) ORDER BY 1", Slow: slow, Wrong: "SELEC 1",
		Denied: "SELECT * FROM read_csv('/etc/passwd')",
	}
}

func TestDatabricks(t *testing.T) { drivertest.TestWarehouse(t, openDatabricks) }
func TestSnowflake(t *testing.T)  { drivertest.TestWarehouse(t, openSnowflake) }
func TestPostgres(t *testing.T)   { drivertest.TestWarehouse(t, openPostgres) }
func TestDuckDB(t *testing.T)     { drivertest.TestWarehouse(t, openDuckDB) }
