package mysql_test

import (
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/driverfactory/drivertest"
	"github.com/behalf-project/behalf/driverfactory/mysql"
	"github.com/behalf-project/behalf/driverfactory/mysql/mariadbtest"
)

func TestMain(m *testing.M) { os.Exit(mariadbtest.Run(m.Run)) }

func TestWarehouse(t *testing.T) { drivertest.TestWarehouse(t, open) }

func day(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC) }

// open returns a MariaDB where alice may read the table open and not secrets.
func open(t *testing.T) drivertest.Server {
	cfg := mariadbtest.Config(t)
	connector, err := driver.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	// Without a pool: its goroutines would count as leaked.
	exec := func(t *testing.T, statements ...string) (n int) {
		t.Helper()
		db := sql.OpenDB(connector)
		defer db.Close()
		for _, s := range statements {
			if err := db.QueryRow(s).Scan(&n); err != nil && !errors.Is(err, sql.ErrNoRows) {
				t.Fatalf("%s: %v", s, err)
			}
		}
		return n
	}
	exec(t, "CREATE TABLE open (n INT, bits BIT(12))", "INSERT INTO open VALUES (0, b'101'), (1, NULL), (2, NULL), (3, NULL), (4, NULL), (5, NULL), (6, NULL), (7, NULL), (8, NULL), (9, NULL)",
		"CREATE TABLE secrets (a INT)", "CREATE USER alice", "GRANT SELECT ON open TO alice", "GRANT CREATE, DROP, INSERT, SELECT ON rollups.* TO alice")
	t.Cleanup(func() { exec(t, "DROP USER alice") })
	const slow = "SELECT COUNT(*) FROM open a, open b, open c, open d, open e, open f, open g, open h, open i, open j, open k"
	const others = "FROM information_schema.processlist WHERE user = 'alice'"
	host, port, err := net.SplitHostPort(cfg.Addr)
	if err != nil {
		t.Fatal(err)
	}
	return drivertest.Server{
		Warehouse: mysql.New(),
		Source:    driverfactory.Source{Type: "mysql", Options: map[string]string{"host": host, "port": port, "database": cfg.DBName}},
		Accept: func(t *testing.T, user, token string) {
			exec(t, fmt.Sprintf("ALTER USER %s IDENTIFIED BY '%s'", user, token))
		},
		End: func(t *testing.T, user, _ string) {
			exec(t, fmt.Sprintf("ALTER USER %s IDENTIFIED BY 'another'", user))
		},
		Drop: func(t *testing.T) {
			exec(t, "KILL USER alice")
			for end := time.Now().Add(time.Minute); exec(t, "SELECT count(*) "+others) > 0; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("waited too long for the sessions to end")
				}
			}
		},
		Sessions: func(t *testing.T) int { return exec(t, "SELECT count(*) "+others) },
		Running: func(t *testing.T) bool {
			return exec(t, "SELECT count(*) "+others+" AND info LIKE '%SELECT COUNT(*)%'") > 0
		},
		Reads: []drivertest.Read{
			{Name: "one of each type",
				SQL: "SELECT CAST(1 AS SIGNED) a, 18446744073709551615 b, CAST(7 AS UNSIGNED) c, CAST(0.1 AS FLOAT) d, CAST(0.5 AS DOUBLE) e, " +
					"CAST(27.50 AS DECIMAL(12,2)) f, 'x' g, TRUE h, DATE '2024-02-29' i, TIMESTAMP '2024-02-29 01:02:03.5' j, " +
					"TIME '01:02:03' k, CAST(X'00ff' AS BINARY(2)) l, JSON_OBJECT('a', 1) m, bits o FROM open WHERE n = 0",
				Rows: [][]any{{int64(1), driverfactory.Decimal("18446744073709551615"), int64(7), 0.1, 0.5, driverfactory.Decimal("27.50"), "x", int64(1),
					day(2024, 2, 29), time.Date(2024, 2, 29, 1, 2, 3, 5e8, time.UTC), "01:02:03", []byte{0, 255}, `{"a": 1}`, int64(5)}}},
			{Name: "names of types", SQL: "SELECT 12345678901 a, CAST(2.5 AS DECIMAL(9,1)) b, 'x' c, NOW() d LIMIT 0",
				Columns: []driverfactory.Column{{Name: "a", Type: "BIGINT"}, {Name: "b", Type: "DECIMAL"}, {Name: "c", Type: "VARCHAR"}, {Name: "d", Type: "DATETIME"}}},
			{Name: "nulls", SQL: "SELECT NULL a, CAST(NULL AS DECIMAL(9,1)) b, CAST(NULL AS DATE) c", Rows: [][]any{{nil, nil, nil}}},
			{Name: "no rows", SQL: "SELECT n FROM open WHERE n < 0"},
			{Name: "parameters", SQL: "SELECT ? + 1 a, CONCAT(?, '!') b, ? = TRUE c, ? d", Args: []any{int64(41), "it's \\ \"", true, nil},
				Rows: [][]any{{float64(42), "it's \\ \"!", int64(1), nil}}},
			{Name: "the types of prepared statements",
				SQL: "SELECT 18446744073709551615 a, CAST(0.1 AS FLOAT) b, CAST(27.50 AS DECIMAL(12,2)) c, TRUE d, DATE '2024-02-29' e, " +
					"TIMESTAMP '2024-02-29 01:02:03.5' f, TIME '01:02:03' g, bits h, ? i FROM open WHERE n = 0", Args: []any{"x"},
				Rows: [][]any{{driverfactory.Decimal("18446744073709551615"), 0.1, driverfactory.Decimal("27.50"), int64(1), day(2024, 2, 29),
					time.Date(2024, 2, 29, 1, 2, 3, 5e8, time.UTC), "01:02:03", int64(5), "x"}}},
			{Name: "a number is equal to the same text, and not to what begins with it", SQL: "SELECT '7' = ? a, '7 and more' = ? b, 7 = ? c, 1.5 = ? d",
				Args: []any{int64(7), int64(7), int64(7), 1.5}, Rows: [][]any{{int64(1), int64(0), int64(1), int64(1)}}},
			{Name: "runs as alice, in UTC", SQL: "SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', 1) who, @@time_zone tz, @@sql_mode mode, @@tx_read_only ro",
				Rows: [][]any{{"alice", "+00:00", "ONLY_FULL_GROUP_BY", int64(1)}}},
		},
		Many: "SELECT 1 + a.n + 10 * b.n + 100 * c.n + 1000 * d.n + 10000 * e.n i FROM open a, open b, open c, open d, open e HAVING i <= 25000 ORDER BY i",
		// A SLEEP would notice by itself that nobody listens any more.
		Slow: slow, Wrong: "SELEC 1", Denied: "SELECT * FROM secrets",
		Makes: &drivertest.Makes{
			Schema: "CREATE SCHEMA IF NOT EXISTS `rollups`",
			Table: driverfactory.Statement{SQL: "CREATE TABLE `rollups`.`t` AS SELECT n AS `a b`, ? + 1 AS i, ? AS s, CAST(? AS DECIMAL(9,2)) AS d, " +
				"CONVERT_TZ('2024-02-29 00:00:00', '+00:00', 'Europe/London') AS z FROM open WHERE n = ? AND ?", Args: []any{int64(41), "it's", 1.5, int64(3), true}},
			Read: drivertest.Read{SQL: "SELECT * FROM `rollups`.`t`", Rows: [][]any{{int64(3), float64(42), "it's", driverfactory.Decimal("1.50"), day(2024, 2, 29)}}},
			Drop: "DROP TABLE IF EXISTS `rollups`.`t`", Slow: "CREATE TABLE `rollups`.`t` AS " + slow,
			Denied: "CREATE TABLE `rollups`.`u` AS SELECT * FROM secrets",
		},
	}
}
