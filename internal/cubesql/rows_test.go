//go:build cgo

package cubesql

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/duckdb/duckdb-go/v2"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/query"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/internal/sqlgen"
)

// Order 4 was made between the last millisecond of January and February, 5 has next to nothing, and the texts are alike but
// for their case and for what patterns mean.
const seed = `
CREATE TABLE users (id int, country text, name text);
CREATE TABLE orders (id int, user_id int, status text, amount decimal(10, 2), paid boolean, created_at timestamp, sent_at timestamp);
CREATE TABLE line_items (order_id int, line int, sku text, qty int);
CREATE TABLE events (id int, user_id int, kind text);
INSERT INTO users VALUES (1, 'DE', 'a'), (2, 'FR', 'b'), (3, NULL, 'c');
INSERT INTO orders VALUES
	(1, 1, 'done', 10, true, '2024-01-01 00:00:00', '2024-01-02 08:00:00'),
	(2, 1, 'Done', 20.50, false, '2024-01-15 12:30:00', NULL),
	(3, 2, 'open', 30, NULL, '2024-01-31 23:59:59.999', '2024-02-01 00:00:00'),
	(4, 2, 'a%b_c\d', 40, true, '2024-01-31 23:59:59.9995', '2024-02-03 10:00:00'),
	(5, NULL, NULL, NULL, NULL, NULL, NULL),
	(6, 3, '', 0, false, '2024-02-01 00:00:00', '2024-03-31 00:00:00'),
	(7, 9, 'x12', -5, true, '2024-03-04 00:00:00', '2024-12-31 23:00:00');
INSERT INTO line_items VALUES (1, 1, 'x', 1), (1, 2, 'y', 2), (3, 1, 'x', 4), (4, 1, 'z', 8);
INSERT INTO events VALUES (1, 1, 'Visit'), (2, 2, 'visit'), (3, NULL, 'leave');`

func openDuckDB(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	db.SetMaxOpenConns(1) // its database is in memory
	if _, err := db.Exec("SET TimeZone = 'UTC';" + seed); err != nil {
		t.Fatal(err)
	}
	return db
}

// rowsOf runs a statement and returns its rows as texts.
func rowsOf(t *testing.T, db *sql.DB, statement string, args ...any) []string {
	t.Helper()
	found, err := db.Query(statement, args...)
	if err != nil {
		t.Fatalf("%v\n%s\n%v", err, statement, args)
	}
	defer found.Close()
	columns, err := found.Columns()
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for found.Next() {
		cells := make([]any, len(columns))
		for i := range cells {
			cells[i] = new(any)
		}
		if err := found.Scan(cells...); err != nil {
			t.Fatal(err)
		}
		var texts []string
		for _, c := range cells {
			text := fmt.Sprint(*c.(*any))
			if at, ok := (*c.(*any)).(time.Time); ok {
				text = at.UTC().Format(time.RFC3339Nano)
			}
			texts = append(texts, text)
		}
		out = append(out, strings.Join(texts, " | "))
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// plan returns the SQL of a query as the query API runs it, which reads it as a client would send it.
func plan(t *testing.T, m *datamodel.Model, q query.Query) sqlgen.Plan {
	t.Helper()
	text, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	b, err := query.Decode(text)
	if err == nil {
		b, err = b.Normalize(query.Options{Now: now})
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	p, err := sqlgen.Generate(m, securitycontext.Context{}, b.Queries[0], sqlgen.Options{
		Now: now, Dialect: func(string) (sqlgen.Dialect, error) { return sqlgen.DuckDB{}, nil },
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return p
}

// The rows of the query are those of the SELECT over the tables, which are written side by side. Columns are in the order of a
// query: dimensions, times that are cut, measures. A SELECT without ORDER BY has its rows in any order.
func TestRowsAreThoseOfTheSelect(t *testing.T) {
	db, m := openDuckDB(t), loadShop(t)
	catalog := newCatalog(t, m)
	for _, tt := range []struct{ name, cubes, tables string }{
		{"groups", `SELECT status, count(*), sum(total) FROM orders GROUP BY 1`, `SELECT status, count(*), sum(amount) FROM orders GROUP BY 1`},
		{"distinct", `SELECT DISTINCT paid FROM orders`, `SELECT DISTINCT paid FROM orders`},
		{"rows as they are, equal ones too", `SELECT paid FROM orders`, `SELECT paid FROM orders`},
		{"no groups", `SELECT count(*), avg(average), min(lowest), max(highest), count(DISTINCT buyers) FROM orders`, `SELECT count(*), avg(amount), min(amount), max(amount), count(DISTINCT user_id) FROM orders`},
		{"no groups and no rows", `SELECT count(*), sum(total) FROM orders WHERE status = 'none'`, `SELECT count(*), sum(amount) FROM orders WHERE status = 'none'`},
		{"equal", `SELECT id FROM orders WHERE status = 'done'`, `SELECT id FROM orders WHERE status = 'done'`},
		{"not equal loses NULL", `SELECT id FROM orders WHERE status <> 'done'`, `SELECT id FROM orders WHERE status <> 'done'`},
		{"not equal, or NULL", `SELECT id FROM orders WHERE status <> 'done' OR status IS NULL`, `SELECT id FROM orders WHERE status <> 'done' OR status IS NULL`},
		{"IN", `SELECT id FROM orders WHERE status IN ('open', '')`, `SELECT id FROM orders WHERE status IN ('open', '')`},
		{"NOT IN", `SELECT id FROM orders WHERE status NOT IN ('open', '')`, `SELECT id FROM orders WHERE status NOT IN ('open', '')`},
		{"NOT of all", `SELECT id FROM orders WHERE NOT (status = 'done' OR amount >= 20.5 AND paid)`, `SELECT id FROM orders WHERE NOT (status = 'done' OR amount >= 20.5 AND paid)`},
		{"ILIKE", `SELECT id FROM orders WHERE status ILIKE '%DON%'`, `SELECT id FROM orders WHERE status ILIKE '%DON%'`},
		{"NOT ILIKE", `SELECT id FROM orders WHERE status NOT ILIKE 'd%'`, `SELECT id FROM orders WHERE status NOT ILIKE 'd%'`},
		{"a pattern with escapes", `SELECT id FROM orders WHERE status ILIKE 'a\%b\_%' AND status ILIKE '%\\D'`, `SELECT id FROM orders WHERE status ILIKE 'a\%b\_%' ESCAPE '\' AND status ILIKE '%\\D' ESCAPE '\'`},
		{"LIKE without letters", `SELECT id FROM orders WHERE status LIKE '%12'`, `SELECT id FROM orders WHERE status LIKE '%12'`},
		{"LIKE of any text", `SELECT id FROM orders WHERE status LIKE '%'`, `SELECT id FROM orders WHERE status LIKE '%'`},
		{"LIKE of a whole text", `SELECT id FROM orders WHERE status LIKE 'Done'`, `SELECT id FROM orders WHERE status LIKE 'Done'`},
		{"LOWER", `SELECT id FROM orders WHERE LOWER(status) NOT LIKE 'do%'`, `SELECT id FROM orders WHERE LOWER(status) NOT LIKE 'do%'`},
		{"numbers", `SELECT id FROM orders WHERE amount > -5 AND amount <= 20.50 AND amount <> 0`, `SELECT id FROM orders WHERE amount > -5 AND amount <= 20.50 AND amount <> 0`},
		{"NOT BETWEEN", `SELECT id FROM orders WHERE amount NOT BETWEEN 10 AND 30`, `SELECT id FROM orders WHERE amount NOT BETWEEN 10 AND 30`},
		{"booleans", `SELECT id FROM orders WHERE paid`, `SELECT id FROM orders WHERE paid`},
		{"NOT of a boolean", `SELECT id FROM orders WHERE NOT paid`, `SELECT id FROM orders WHERE NOT paid`},
		{"IS NOT TRUE", `SELECT id FROM orders WHERE paid IS NOT TRUE`, `SELECT id FROM orders WHERE paid IS NOT TRUE`},
		{"a boolean that is not", `SELECT id FROM orders WHERE paid <> true`, `SELECT id FROM orders WHERE paid <> true`},
		{"a segment", `SELECT count(*) FROM orders WHERE is_done AND amount > 1`, `SELECT count(*) FROM orders WHERE status = 'done' AND amount > 1`},
		{"before a moment, between milliseconds too", `SELECT id FROM orders WHERE created_at >= '2024-01-01' AND created_at < '2024-02-01'`, `SELECT id FROM orders WHERE created_at >= '2024-01-01' AND created_at < '2024-02-01'`},
		{"up to a millisecond", `SELECT id FROM orders WHERE created_at >= '2024-01-01' AND created_at <= '2024-01-31 23:59:59.999'`, `SELECT id FROM orders WHERE created_at >= '2024-01-01' AND created_at <= '2024-01-31 23:59:59.999'`},
		{"BETWEEN of days ends with the first moment of the last", `SELECT id FROM orders WHERE created_at BETWEEN '2024-01-15' AND '2024-02-01'`, `SELECT id FROM orders WHERE created_at BETWEEN '2024-01-15' AND '2024-02-01'`},
		{"NOT BETWEEN of times", `SELECT id FROM orders WHERE created_at NOT BETWEEN '2024-01-15' AND '2024-02-01'`, `SELECT id FROM orders WHERE created_at NOT BETWEEN '2024-01-15' AND '2024-02-01'`},
		{"after a moment", `SELECT id FROM orders WHERE created_at > '2024-02-01' OR sent_at <= '2024-01-02 08:00'`, `SELECT id FROM orders WHERE created_at > '2024-02-01' OR sent_at <= '2024-01-02 08:00'`},
		{"another moment", `SELECT id FROM orders WHERE created_at <> '2024-02-01' AND created_at NOT IN ('2024-01-01')`, `SELECT id FROM orders WHERE created_at <> '2024-02-01' AND created_at NOT IN ('2024-01-01')`},
		{"this moment", `SELECT id FROM orders WHERE created_at = '2024-02-01' OR created_at IN ('2024-01-01', '2024-03-04')`, `SELECT id FROM orders WHERE created_at = '2024-02-01' OR created_at IN ('2024-01-01', '2024-03-04')`},
		{"a point in time", `SELECT id FROM orders WHERE created_at < '2024-02-01 02:00:00+02:00'::timestamptz`, `SELECT id FROM orders WHERE created_at < '2024-02-01'`},
		{"months", `SELECT date_trunc('month', created_at), count(*) FROM orders GROUP BY 1`, `SELECT date_trunc('month', created_at), count(*) FROM orders GROUP BY 1`},
		{"weeks and days", `SELECT date_trunc('week', created_at), date_trunc('day', created_at), sum(total) FROM orders WHERE created_at BETWEEN '2024-01-01' AND '2024-01-31' GROUP BY 1, 2`,
			`SELECT date_trunc('week', created_at), date_trunc('day', created_at), sum(amount) FROM orders WHERE created_at BETWEEN '2024-01-01' AND '2024-01-31' GROUP BY 1, 2`},
		{"a month", `SELECT id FROM orders WHERE date_trunc('month', created_at) = '2024-01-01'`, `SELECT id FROM orders WHERE date_trunc('month', created_at) = '2024-01-01'`},
		{"months compared", `SELECT id FROM orders WHERE date_trunc('month', created_at) > '2024-01-20' OR date_trunc('month', sent_at) <= '2024-02-01'`, `SELECT id FROM orders WHERE date_trunc('month', created_at) > '2024-01-20' OR date_trunc('month', sent_at) <= '2024-02-01'`},
		{"weeks compared", `SELECT id FROM orders WHERE date_trunc('week', created_at) < '2024-03-05' AND date_trunc('week', created_at) >= '2024-01-02'`, `SELECT id FROM orders WHERE date_trunc('week', created_at) < '2024-03-05' AND date_trunc('week', created_at) >= '2024-01-02'`},
		{"another quarter, month or second", `SELECT id FROM orders WHERE date_trunc('quarter', sent_at) <> '2024-01-01' OR date_trunc('month', created_at) NOT IN ('2024-01-01', '2024-02-01') OR date_trunc('second', created_at) BETWEEN '2024-01-15 12:29:59.5' AND '2024-01-15 12:30:00'`,
			`SELECT id FROM orders WHERE date_trunc('quarter', sent_at) <> '2024-01-01' OR date_trunc('month', created_at) NOT IN ('2024-01-01', '2024-02-01') OR date_trunc('second', created_at) BETWEEN '2024-01-15 12:29:59.5' AND '2024-01-15 12:30:00'`},
		{"HAVING", `SELECT paid, sum(total) FROM orders GROUP BY 1 HAVING count(*) > 1 AND sum(total) <> 15.5`, `SELECT paid, sum(amount) FROM orders GROUP BY 1 HAVING count(*) > 1 AND sum(amount) <> 15.5`},
		{"HAVING of a time", `SELECT paid FROM orders GROUP BY paid HAVING MEASURE(last_at) < '2024-03-01'`, `SELECT paid FROM orders GROUP BY paid HAVING max(created_at) < '2024-03-01'`},
		{"HAVING without groups", `SELECT count(*) FROM orders HAVING count(*) > 100`, `SELECT count(*) FROM orders HAVING count(*) > 100`},
		{"order and page", `SELECT id, amount FROM orders WHERE amount IS NOT NULL ORDER BY amount DESC, 1 LIMIT 3 OFFSET 1`, `SELECT id, amount FROM orders WHERE amount IS NOT NULL ORDER BY amount DESC, 1 LIMIT 3 OFFSET 1`},
		{"order by a measure", `SELECT paid AS p, count(*) AS n FROM orders GROUP BY p ORDER BY n DESC, p`, `SELECT paid AS p, count(*) AS n FROM orders GROUP BY p ORDER BY n DESC, p`},
		{"no rows at all", `SELECT id FROM orders LIMIT 0`, `SELECT id FROM orders LIMIT 0`},
		{"a join", `SELECT country, count(o.count), sum(total) FROM orders o LEFT JOIN users u ON o.__cubeJoinField = u.__cubeJoinField GROUP BY 1`,
			`SELECT country, count(*), sum(amount) FROM orders o LEFT JOIN users u ON o.user_id = u.id GROUP BY 1`},
		{"joined rows, none of the first cube", `SELECT sku, qty FROM orders CROSS JOIN line_items`, `SELECT sku, qty FROM orders o LEFT JOIN line_items l ON o.id = l.order_id`},
		{"a sum that a join does not repeat", `SELECT sku, MEASURE(qty), MEASURE(total) FROM orders CROSS JOIN line_items WHERE sku IS NOT NULL GROUP BY 1`,
			`SELECT sku, sum(qty), sum(DISTINCT amount) FROM orders o LEFT JOIN line_items l ON o.id = l.order_id WHERE sku IS NOT NULL GROUP BY 1`},
		{"a view", `SELECT users_country, MEASURE(count), sum(total) FROM sales WHERE ordered_at <= '2024-01-31' AND is_done IS TRUE GROUP BY 1`,
			`SELECT country, count(*), sum(amount) FROM orders o LEFT JOIN users u ON o.user_id = u.id WHERE created_at <= '2024-01-31' AND status = 'done' GROUP BY 1`},
		{"names that differ in case", `SELECT Kind FROM Events WHERE kind = 'visit'`, `SELECT kind FROM events WHERE lower(kind) = 'visit'`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q, err := queryOf(catalog, tt.cubes)
			if err != nil {
				t.Fatalf("%s: %v", tt.cubes, err)
			}
			p := plan(t, m, q)
			got, want := rowsOf(t, db, p.SQL, p.Args...), rowsOf(t, db, tt.tables)
			if !strings.Contains(tt.tables, "ORDER BY") {
				slices.Sort(got)
				slices.Sort(want)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s\n got %q\nwant %q\n%s %v", tt.cubes, got, want, p.SQL, p.Args)
			}
		})
	}
}

// sql returns a condition at random, as it can be asked of the cube and of its table alike.
func (a author) sql(depth int) string {
	if depth > 0 && a.chance(2) {
		var all []string
		for range 2 + a.IntN(2) {
			all = append(all, a.sql(depth-1))
		}
		return pick(a, "", "NOT ") + "(" + strings.Join(all, pick(a, " AND ", " OR ")) + ")"
	}
	op := func() string { return pick(a, "=", "<>", "<", "<=", ">", ">=") }
	text := func() string { return quote(pick(a, "done", "Done", "open", "", "x12", `a%b_c\d`)) }
	amount := func() string { return pick(a, "10", "20.5", "-5", "0", "1e1") }
	day := func() string {
		return quote(pick(a, "2024-01-01", "2024-01-31 23:59:59.999", "2024-02-01", "2024-03-04"))
	}
	at := func() string { return pick(a, day(), "timestamp "+day(), "'2024-01-15T12:30:00.000Z'") }
	not := pick(a, "", " NOT")
	switch a.IntN(10) {
	case 0:
		return "status " + op() + " " + text()
	case 1:
		return "status" + not + " IN (" + text() + ", " + text() + ")"
	case 2:
		return "status" + not + " ILIKE " + quote(pick(a, "%o%", "D%", "%12", `%\%%`, `a\%b\_%`)) + ` ESCAPE '\'`
	case 3:
		return "amount " + op() + " " + amount()
	case 4:
		return "amount" + not + " BETWEEN " + amount() + " AND " + amount()
	case 5:
		return "paid" + pick(a, "", " = true", " <> false", " IS TRUE", " IS NOT TRUE", " IS NOT FALSE", " IS NULL", " IS NOT NULL")
	case 6:
		return "created_at " + pick(a, "<", "<=", ">", ">=", "=", "<>") + " " + at()
	case 7:
		return "created_at" + not + " BETWEEN " + at() + " AND " + at()
	case 8:
		return "date_trunc(" + quote(pick(a, "second", "day", "week", "month", "quarter", "year")) + ", created_at) " + pick(a, "<", "<=", ">", ">=") + " " + day()
	}
	return pick(a, "status", "amount", "sent_at") + " IS" + not + " NULL"
}

func TestConditionsMeanWhatTheyMeanInTheDatabase(t *testing.T) {
	db, m := openDuckDB(t), loadShop(t)
	catalog := newCatalog(t, m)
	a := author{rand.New(rand.NewPCG(5, 6))}
	found := 0
	for range 1000 {
		text := "SELECT id FROM orders WHERE " + a.sql(3)
		want := rowsOf(t, db, text)
		q, err := queryOf(catalog, strings.ReplaceAll(text, ` ESCAPE '\'`, "")) // DuckDB has no escape character of its own
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		p := plan(t, m, q)
		got := rowsOf(t, db, p.SQL, p.Args...)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("%s\n got %q\nwant %q\n%s %v", text, got, want, p.SQL, p.Args)
		}
		found += len(got)
	}
	if found < 1000 {
		t.Errorf("%d rows were found in all, which tells little", found)
	}
}
