package cubesql

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/query"
)

const shop = `
cubes:
  - name: users
    sql_table: users
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true, public: true}
      - {name: country, sql: country, type: string}
      - {name: secret_name, sql: name, type: string, public: false}
    measures:
      - {name: count, type: count}
  - name: orders
    sql_table: orders
    joins:
      - {name: users, relationship: many_to_one, sql: "{CUBE}.user_id = {users.id}"}
      - {name: line_items, relationship: one_to_many, sql: "{CUBE}.id = {line_items}.order_id"}
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true, public: true}
      - {name: status, sql: status, type: string}
      - {name: amount, sql: amount, type: number}
      - {name: paid, sql: paid, type: boolean}
      - {name: created_at, sql: created_at, type: time, granularities: [{name: fiscal_year, interval: 1 year, offset: 3 months}]}
      - {name: sent_at, sql: sent_at, type: time}
    measures:
      - {name: count, type: count}
      - {name: total, sql: amount, type: sum}
      - {name: average, sql: amount, type: avg}
      - {name: lowest, sql: amount, type: min}
      - {name: highest, sql: amount, type: max}
      - {name: buyers, sql: user_id, type: count_distinct}
      - {name: done, type: count, filters: [{sql: "{CUBE}.status = 'done'"}]}
      - {name: done_share, type: number, sql: "1.0 * {done} / NULLIF({count}, 0)"}
      - {name: last_at, type: time, sql: "MAX({CUBE}.created_at)"}
      - {name: all_paid, type: boolean, sql: "BOOL_AND({CUBE}.paid)"}
      - {name: first_status, type: string, sql: "MIN({CUBE}.status)"}
    segments:
      - {name: is_done, sql: "{CUBE}.status = 'done'"}
  - name: line_items
    sql_table: line_items
    dimensions:
      - {name: order_id, sql: order_id, type: number, primary_key: true}
      - {name: line, sql: line, type: number, primary_key: true}
      - {name: sku, sql: sku, type: string}
    measures:
      - {name: count, type: count}
      - {name: qty, sql: qty, type: sum}
  - name: Events
    sql_table: events
    dimensions:
      - {name: Kind, sql: kind, type: string}
      - {name: kind, sql: lower(kind), type: string}
      - {name: userId, sql: user_id, type: number}
    measures:
      - {name: visits, sql: id, type: count}
  - name: vault
    sql_table: vault
    dimensions: [{name: id, sql: id, type: number, primary_key: true, public: true}, {name: code, sql: code, type: string}]
    measures: [{name: count, type: count}]
    access_policy: [{group: staff, member_level: {includes: "*"}}]
views:
  - name: sales
    cubes:
      - {join_path: orders, includes: [status, total, count, is_done, {name: created_at, alias: ordered_at}]}
      - {join_path: orders.users, prefix: true, includes: [country]}
  - name: order_list
    cubes: [{join_path: orders, includes: [status, count, done]}]
`

// now is the moment to which nothing here may refer.
var now = time.Date(2026, 11, 21, 22, 15, 0, 0, time.UTC)

func loadShop(t testing.TB) *datamodel.Model {
	t.Helper()
	m, err := datamodel.Load(fstest.MapFS{"shop.yml": {Data: []byte(shop)}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// newCatalog returns what somebody of these groups may name.
func newCatalog(t testing.TB, m *datamodel.Model, groups ...string) *Catalog {
	t.Helper()
	visible, err := m.Visible(groups, nil)
	if err != nil {
		t.Fatal(err)
	}
	return NewCatalog(m, m.Meta(datamodel.MetaOptions{Visible: visible}))
}

var nothing = regexp.MustCompile(`"(dimensions|timeDimensions|filters|order)":\[\],?`)

// spelled returns a query in JSON, without what is empty.
func spelled(t testing.TB, q query.Query) string {
	t.Helper()
	text, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(nothing.ReplaceAllString(string(text), ""), ",}", "}")
}

// queryOf returns the query of a SELECT.
func queryOf(c *Catalog, sql string) (query.Query, error) {
	s, err := c.Select(sql, 50_000)
	return s.Query, err
}

func TestASelectIsAQuery(t *testing.T) {
	catalog := newCatalog(t, loadShop(t))
	for _, tt := range []struct{ name, sql, want string }{
		// What is selected.
		{"a dimension", `SELECT status FROM orders GROUP BY status`, `{"dimensions":["orders.status"]}`},
		{"a dimension, distinct", `SELECT DISTINCT status FROM orders`, `{"dimensions":["orders.status"]}`},
		{"rows as they are", `SELECT status, id FROM orders`, `{"dimensions":["orders.status","orders.id"],"ungrouped":true}`},
		{"rows with a measure as it is", `SELECT id, total FROM orders`, `{"measures":["orders.total"],"dimensions":["orders.id"],"ungrouped":true}`},
		{"MEASURE", `SELECT MEASURE(total) FROM orders`, `{"measures":["orders.total"]}`},
		{"functions of the types of measures", `SELECT count(*), sum(total), avg(average), min(lowest), max(highest), count(distinct buyers), count(done), avg(done_share), max(last_at) FROM orders`,
			`{"measures":["orders.count","orders.total","orders.average","orders.lowest","orders.highest","orders.buyers","orders.done","orders.done_share","orders.last_at"]}`},
		{"a count of keys counts rows", `SELECT COUNT(*) FROM order_list`, `{"measures":["order_list.count"]}`},
		{"a column twice", `SELECT status, status AS s, count(*), count(count) FROM orders GROUP BY 1, 2`, `{"measures":["orders.count"],"dimensions":["orders.status"]}`},
		{"a time cut", `SELECT DATE_TRUNC('month', created_at) AS month, count(*) FROM orders GROUP BY 1`,
			`{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"month"}]}`},
		{"a time cut twice, and as it is", `SELECT created_at, date_trunc('DAY', created_at), date_trunc('week', created_at) FROM orders GROUP BY created_at, date_trunc('week', created_at), 2`,
			`{"dimensions":["orders.created_at"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"day"},{"dimension":"orders.created_at","granularity":"week"}]}`},
		{"a granularity of the model", `SELECT date_trunc('fiscal_year', created_at) FROM orders GROUP BY 1`,
			`{"timeDimensions":[{"dimension":"orders.created_at","granularity":"fiscal_year"}]}`},

		// Names.
		{"names in quotes", `SELECT "orders"."status" FROM "public"."orders" GROUP BY "orders"."status"`, `{"dimensions":["orders.status"]}`},
		{"whatever the case without quotes", `select EVENTS.USERID, measure(Visits) from events group by userid`, `{"measures":["Events.visits"],"dimensions":["Events.userId"]}`},
		{"the very name goes first", `SELECT Kind, kind FROM Events`, `{"dimensions":["Events.Kind","Events.kind"],"ungrouped":true}`},
		{"another name of the table", `SELECT o.status FROM orders AS o GROUP BY o.status`, `{"dimensions":["orders.status"]}`},
		{"another name without AS", `SELECT o.status s FROM public.orders o GROUP BY s;`, `{"dimensions":["orders.status"]}`},
		{"a view", `SELECT users_country, MEASURE(total) FROM sales WHERE is_done GROUP BY 1`, `{"measures":["sales.total"],"dimensions":["sales.users_country"],"segments":["sales.is_done"]}`},
		{"comments", "SELECT -- which?\n status /* of /* all */ */ FROM orders GROUP BY 1 -- end", `{"dimensions":["orders.status"]}`},

		// Joins.
		{"a cross join", `SELECT u.country, count(o.count) FROM orders o CROSS JOIN users u GROUP BY 1`, `{"measures":["orders.count"],"dimensions":["users.country"],"joinHints":[["orders","users"]]}`},
		{"a left join by the field of joins", `SELECT country, MEASURE(total) FROM orders o LEFT OUTER JOIN users u ON u.__cubeJoinField = o."__cubeJoinField" GROUP BY country`,
			`{"measures":["orders.total"],"dimensions":["users.country"],"joinHints":[["orders","users"]]}`},
		{"two joins", `SELECT sku, country FROM orders LEFT JOIN users ON orders.__cubeJoinField = users.__cubeJoinField CROSS JOIN line_items`,
			`{"dimensions":["line_items.sku","users.country"],"ungrouped":true,"joinHints":[["orders","users"],["orders","line_items"]]}`},

		// Conditions on texts.
		{"equal", `SELECT id FROM orders WHERE status = 'it''s'`, `{"dimensions":["orders.id"],"filters":[{"member":"orders.status","operator":"equals","values":["it's"]}],"ungrouped":true}`},
		{"the value first", `SELECT id FROM orders WHERE 10 < amount`, `{"dimensions":["orders.id"],"filters":[{"member":"orders.amount","operator":"gt","values":["10"]}],"ungrouped":true}`},
		{"another value is no NULL", `SELECT id FROM orders WHERE status <> 'a'`, `{"dimensions":["orders.id"],"filters":[{"member":"orders.status","operator":"notEquals","values":["a",null]}],"ungrouped":true}`},
		{"another value, or NULL", `SELECT id FROM orders WHERE (status != 'a' OR status IS NULL)`, `{"dimensions":["orders.id"],"filters":[{"member":"orders.status","operator":"notEquals","values":["a"]}],"ungrouped":true}`},
		{"a value, or NULL", `SELECT id FROM orders WHERE status IS NULL OR status IN ('a', 'b')`, `{"dimensions":["orders.id"],"filters":[{"member":"orders.status","operator":"equals","values":["a","b",null]}],"ungrouped":true}`},
		{"one of some", `SELECT id FROM orders WHERE status IN ('a', 'b') AND id NOT IN (1, 2)`,
			`{"dimensions":["orders.id"],"filters":[{"member":"orders.status","operator":"equals","values":["a","b"]},{"member":"orders.id","operator":"notEquals","values":["1","2",null]}],"ungrouped":true}`},
		{"patterns", `SELECT id FROM orders WHERE status ILIKE '%a%' AND status ILIKE 'b\%%' AND status ILIKE '%c' AND status NOT ILIKE '%d%'`,
			`{"dimensions":["orders.id"],"filters":[{"member":"orders.status","operator":"contains","values":["a"]},{"member":"orders.status","operator":"startsWith","values":["b%"]},` +
				`{"member":"orders.status","operator":"endsWith","values":["c"]},{"member":"orders.status","operator":"notContains","values":["d",null]}],"ungrouped":true}`},
		{"a pattern whose case decides nothing", `SELECT id FROM orders WHERE status LIKE '%12%' AND LOWER(status) LIKE 'ab%' AND status LIKE 'Ab'`,
			`{"dimensions":["orders.id"],"filters":[{"member":"orders.status","operator":"contains","values":["12"]},{"member":"orders.status","operator":"startsWith","values":["ab"]},` +
				`{"member":"orders.status","operator":"equals","values":["Ab"]}],"ungrouped":true}`},
		{"a pattern of any text", `SELECT id FROM orders WHERE status LIKE '%'`, `{"dimensions":["orders.id"],"filters":[{"member":"orders.status","operator":"set"}],"ungrouped":true}`},
		{"NULL and not", `SELECT id FROM orders WHERE status IS NULL AND amount IS NOT NULL`,
			`{"dimensions":["orders.id"],"filters":[{"member":"orders.status","operator":"notSet"},{"member":"orders.amount","operator":"set"}],"ungrouped":true}`},
		{"NOT in front", `SELECT id FROM orders WHERE NOT (status = 'a' OR NOT amount > 3 AND id IS NULL)`,
			`{"dimensions":["orders.id"],"filters":[{"member":"orders.status","operator":"notEquals","values":["a",null]},{"or":[{"member":"orders.amount","operator":"gt","values":["3"]},{"member":"orders.id","operator":"set"}]}],"ungrouped":true}`},
		{"AND binds more than OR", `SELECT id FROM orders WHERE status = 'a' OR status = 'b' AND amount >= 1.5e1`,
			`{"dimensions":["orders.id"],"filters":[{"or":[{"member":"orders.status","operator":"equals","values":["a"]},{"and":[{"member":"orders.status","operator":"equals","values":["b"]},{"member":"orders.amount","operator":"gte","values":["1.5e1"]}]}]}],"ungrouped":true}`},
		{"texts in order", `SELECT id FROM orders WHERE status BETWEEN 'a' AND 'c'`,
			`{"dimensions":["orders.id"],"filters":[{"member":"orders.status","operator":"gte","values":["a"]},{"member":"orders.status","operator":"lte","values":["c"]}],"ungrouped":true}`},

		// Conditions on numbers and booleans.
		{"numbers", `SELECT id FROM orders WHERE amount > -1.50 AND amount <= '7' AND amount NOT BETWEEN 2 AND +3 AND id = 5::bigint`,
			`{"dimensions":["orders.id"],"filters":[{"member":"orders.amount","operator":"gt","values":["-1.50"]},{"member":"orders.amount","operator":"lte","values":["7"]},` +
				`{"or":[{"member":"orders.amount","operator":"lt","values":["2"]},{"member":"orders.amount","operator":"gt","values":["3"]}]},{"member":"orders.id","operator":"equals","values":["5"]}],"ungrouped":true}`},
		{"a boolean by itself", `SELECT id FROM orders WHERE paid`, `{"dimensions":["orders.id"],"filters":[{"member":"orders.paid","operator":"equals","values":["true"]}],"ungrouped":true}`},
		{"a boolean in all ways", `SELECT id FROM orders WHERE NOT paid AND paid = FALSE AND paid <> 'true' AND paid IS FALSE AND paid IS NOT TRUE AND paid IS NOT UNKNOWN`,
			`{"dimensions":["orders.id"],"filters":[{"member":"orders.paid","operator":"equals","values":["false"]},{"member":"orders.paid","operator":"equals","values":["false"]},` +
				`{"member":"orders.paid","operator":"notEquals","values":["true",null]},{"member":"orders.paid","operator":"equals","values":["false"]},` +
				`{"member":"orders.paid","operator":"equals","values":["false",null]},{"member":"orders.paid","operator":"set"}],"ungrouped":true}`},
		{"segments", `SELECT count(*) FROM orders WHERE is_done AND is_done = true AND is_done IS TRUE AND amount > 1`,
			`{"measures":["orders.count"],"segments":["orders.is_done"],"filters":[{"member":"orders.amount","operator":"gt","values":["1"]}]}`},
		{"what programs write where there is no condition", `SELECT count(*) FROM orders WHERE 1 = 1 AND TRUE AND is_done`, `{"measures":["orders.count"],"segments":["orders.is_done"]}`},

		// Conditions on times.
		{"a range", `SELECT count(*) FROM orders WHERE created_at BETWEEN '2024-01-01' AND '2024-01-31 23:59:59.999'`,
			`{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","dateRange":["2024-01-01T00:00:00.000","2024-01-31T23:59:59.999"]}]}`},
		{"a range of what is selected", `SELECT date_trunc('day', created_at), count(*) FROM orders WHERE created_at <= timestamp '2024-01-31T12:00' AND status = 'a' AND created_at >= '2024-01-01'::date GROUP BY 1`,
			`{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"day","dateRange":["2024-01-01T00:00:00.000","2024-01-31T12:00:00.000"]}],` +
				`"filters":[{"member":"orders.status","operator":"equals","values":["a"]}]}`},
		{"a range that ends before a moment", `SELECT count(*) FROM orders WHERE created_at >= DATE '2024-01-01' AND created_at < CAST('2024-02-01' AS timestamp without time zone)`,
			`{"measures":["orders.count"],"filters":[{"member":"orders.created_at","operator":"afterOrOnDate","values":["2024-01-01T00:00:00.000"]},{"member":"orders.created_at","operator":"beforeDate","values":["2024-02-01T00:00:00.000"]}]}`},
		{"two ranges of one time", `SELECT count(*) FROM orders WHERE created_at BETWEEN '2024-01-01' AND '2024-02-01' AND created_at BETWEEN '2024-01-15' AND '2024-03-01'`,
			`{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","dateRange":["2024-01-01T00:00:00.000","2024-02-01T00:00:00.000"]}],` +
				`"filters":[{"member":"orders.created_at","operator":"inDateRange","values":["2024-01-15T00:00:00.000","2024-03-01T00:00:00.000"]}]}`},
		{"ranges of two times", `SELECT count(*) FROM orders WHERE created_at BETWEEN '2024-01-01' AND '2024-02-01' AND sent_at BETWEEN '2024-01-15' AND '2024-03-01'`,
			`{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","dateRange":["2024-01-01T00:00:00.000","2024-02-01T00:00:00.000"]},` +
				`{"dimension":"orders.sent_at","dateRange":["2024-01-15T00:00:00.000","2024-03-01T00:00:00.000"]}]}`},
		{"a range that is one of two", `SELECT count(*) FROM orders WHERE created_at BETWEEN '2024-01-01' AND '2024-02-01' OR paid`,
			`{"measures":["orders.count"],"filters":[{"or":[{"member":"orders.created_at","operator":"inDateRange","values":["2024-01-01T00:00:00.000","2024-02-01T00:00:00.000"]},{"member":"orders.paid","operator":"equals","values":["true"]}]}]}`},
		{"times compared", `SELECT count(*) FROM orders WHERE created_at > '2024-01-01 10:00' AND created_at < '2024-01-02' AND created_at <> '2024-01-01 12:00:00' AND created_at NOT BETWEEN '2024-01-01' AND '2024-01-02'`,
			`{"measures":["orders.count"],"filters":[{"member":"orders.created_at","operator":"afterDate","values":["2024-01-01T10:00:00.000"]},{"member":"orders.created_at","operator":"beforeDate","values":["2024-01-02T00:00:00.000"]},` +
				`{"member":"orders.created_at","operator":"notInDateRange","values":["2024-01-01T12:00:00.000","2024-01-01T12:00:00.000"]},{"member":"orders.created_at","operator":"notInDateRange","values":["2024-01-01T00:00:00.000","2024-01-02T00:00:00.000"]}]}`},
		{"one of two moments", `SELECT count(*) FROM orders WHERE created_at IN ('2024-01-01', '2024-01-02 08:00')`,
			`{"measures":["orders.count"],"filters":[{"or":[{"member":"orders.created_at","operator":"inDateRange","values":["2024-01-01T00:00:00.000","2024-01-01T00:00:00.000"]},{"member":"orders.created_at","operator":"inDateRange","values":["2024-01-02T08:00:00.000","2024-01-02T08:00:00.000"]}]}]}`},
		{"points in time", `SELECT count(*) FROM orders WHERE created_at >= '2024-01-01T00:00:00.000Z' AND created_at < TIMESTAMP WITH TIME ZONE '2024-01-02 00:00:00+02'`,
			`{"measures":["orders.count"],"filters":[{"member":"orders.created_at","operator":"afterOrOnDate","values":["2024-01-01T00:00:00.000Z"]},{"member":"orders.created_at","operator":"beforeDate","values":["2024-01-01T22:00:00.000Z"]}]}`},
		{"the month of a time", `SELECT count(*) FROM orders WHERE date_trunc('month', created_at) = '2024-02-01'`,
			`{"measures":["orders.count"],"filters":[{"member":"orders.created_at","operator":"afterOrOnDate","values":["2024-02-01T00:00:00.000"]},{"member":"orders.created_at","operator":"beforeDate","values":["2024-03-01T00:00:00.000"]}]}`},
		{"a time cut, compared", `SELECT count(*) FROM orders WHERE date_trunc('week', created_at) >= '2024-01-02' AND date_trunc('quarter', created_at) <= '2024-05-05' AND date_trunc('day', created_at) <> '2024-01-05'`,
			`{"measures":["orders.count"],"filters":[{"member":"orders.created_at","operator":"afterOrOnDate","values":["2024-01-08T00:00:00.000"]},{"member":"orders.created_at","operator":"beforeDate","values":["2024-07-01T00:00:00.000"]},` +
				`{"or":[{"member":"orders.created_at","operator":"beforeDate","values":["2024-01-05T00:00:00.000"]},{"member":"orders.created_at","operator":"afterOrOnDate","values":["2024-01-06T00:00:00.000"]}]}]}`},

		// Groups of rows, order and pages.
		{"HAVING", `SELECT status, count(*) FROM orders GROUP BY 1 HAVING count(*) > 10 AND NOT MEASURE(total) BETWEEN 1 AND 2`,
			`{"measures":["orders.count"],"dimensions":["orders.status"],"filters":[{"member":"orders.count","operator":"gt","values":["10"]},{"or":[{"member":"orders.total","operator":"lt","values":["1"]},{"member":"orders.total","operator":"gt","values":["2"]}]}]}`},
		{"HAVING of what is not selected, of every type", `SELECT status FROM orders GROUP BY 1 HAVING MEASURE(last_at) >= '2024-01-01' AND MEASURE(last_at) <= '2024-01-02' AND MEASURE(all_paid) AND MEASURE(first_status) ILIKE 'a%'`,
			`{"dimensions":["orders.status"],"filters":[{"member":"orders.last_at","operator":"afterOrOnDate","values":["2024-01-01T00:00:00.000"]},{"member":"orders.last_at","operator":"beforeOrOnDate","values":["2024-01-02T00:00:00.000"]},` +
				`{"member":"orders.all_paid","operator":"equals","values":["true"]},{"member":"orders.first_status","operator":"startsWith","values":["a"]}]}`},
		{"order by number, name and expression", `SELECT status AS s, date_trunc('day', created_at) d, count(*) n, MEASURE(total) FROM orders GROUP BY 1, 2 ORDER BY 2 DESC, n, "s" ASC, sum(total) DESC, date_trunc('day', created_at)`,
			`{"measures":["orders.count","orders.total"],"dimensions":["orders.status"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"day"}],` +
				`"order":[{"id":"orders.created_at.day","desc":true},{"id":"orders.count","desc":false},{"id":"orders.status","desc":false},{"id":"orders.total","desc":true}]}`},
		{"a name of the list goes first in ORDER BY, and last in GROUP BY", `SELECT status AS id, count(*) AS amount FROM orders GROUP BY status ORDER BY amount, id`,
			`{"measures":["orders.count"],"dimensions":["orders.status"],"order":[{"id":"orders.count","desc":false},{"id":"orders.status","desc":false}]}`},
		{"a page", `SELECT DISTINCT status FROM orders LIMIT 0 OFFSET 20`, `{"dimensions":["orders.status"],"limit":0,"offset":20}`},
		{"a page, the other way round", `SELECT DISTINCT status FROM orders OFFSET 5 LIMIT 10`, `{"dimensions":["orders.status"],"limit":10,"offset":5}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q, err := queryOf(catalog, tt.sql)
			if err != nil {
				t.Fatalf("%s: %v", tt.sql, err)
			}
			if got := spelled(t, q); got != tt.want {
				t.Errorf("%s\n got %s\nwant %s", tt.sql, got, tt.want)
			}
			if q.Order == nil {
				t.Error("the order is the query API's own, which the statement does not ask for")
			}
		})
	}
}

func TestWhatASelectIsRefusedFor(t *testing.T) {
	catalog := newCatalog(t, loadShop(t))
	for _, tt := range []struct{ name, sql, want string }{
		{"nothing", ``, `Line 1, column 1: SELECT is expected here, not the end`},
		{"no SELECT", `DELETE FROM orders`, `Line 1, column 1: SELECT is expected here, not "DELETE"`},
		{"two statements", `SELECT status FROM orders; SELECT 1`, `Line 1, column 28: "SELECT" does not belong here`},
		{"WITH", `WITH x AS (SELECT 1) SELECT 1 FROM x`, `Line 1, column 1: WITH is not possible`},
		{"UNION", "SELECT id FROM orders\nUNION SELECT id FROM users", `Line 2, column 1: "UNION" does not belong here; a query of the query API is one SELECT`},
		{"a SELECT in FROM", `SELECT 1 FROM (SELECT 1)`, `Line 1, column 15: a SELECT in FROM is not possible`},
		{"a SELECT in IN", `SELECT id FROM orders WHERE id IN (SELECT 1)`, `Line 1, column 36: a SELECT in another one is not possible`},
		{"no table", `SELECT 1`, `Line 1, column 9: FROM is expected here, not the end`},
		{"everything", `SELECT * FROM orders`, `Line 1, column 8: * is not possible; name the columns`},
		{"everything of one", `SELECT o.* FROM orders o`, `Line 1, column 10: * is not possible`},
		{"a calculation", `SELECT amount * 2 FROM orders`, `Line 1, column 15: "*" is not possible here: the query API calculates nothing`},
		{"CASE", `SELECT CASE WHEN paid THEN 1 END FROM orders`, `Line 1, column 8: "CASE" is not possible`},
		{"a window", `SELECT count(*) OVER () FROM orders`, `Line 1, column 17: "OVER" is not possible here`},
		{"a filter of an aggregate", `SELECT count(*) FILTER (WHERE paid) FROM orders`, `Line 1, column 17: "FILTER" is not possible here`},
		{"another function", `SELECT coalesce(status, 'x') FROM orders`, `Line 1, column 8: the function COALESCE is not possible`},
		{"a constant", `SELECT 1 FROM orders`, `Line 1, column 8: a dimension, DATE_TRUNC of a time, or MEASURE() of a measure is expected`},
		{"a segment in the list", `SELECT is_done FROM orders`, `Line 1, column 8: orders.is_done is a segment, which is a condition`},
		{"an unknown table", `SELECT id FROM order_s`, `Line 1, column 16: there is no cube or view "order_s"; did you mean "orders"?`},
		{"an unknown column", `SELECT statu FROM orders`, `Line 1, column 8: there is no column "statu"; did you mean "status"?`},
		{"another schema", `SELECT id FROM main.orders`, `Line 1, column 20: "." does not belong here`},
		{"a table that is not read", `SELECT users.id FROM orders`, `Line 1, column 8: there is no table "users"`},
		{"a table by its name beside another", `SELECT orders.id FROM orders o`, `Line 1, column 8: there is no table "orders"`},
		{"a name that may be two", `SELECT id FROM orders CROSS JOIN users`, `Line 1, column 8: "id" may be orders.id or users.id; write the table before it`},
		{"a name in quotes in another case", `SELECT "Status" FROM orders`, `Line 1, column 8: there is no column "Status"; did you mean "status"?`},
		{"a name that may be two but for its case", `SELECT KIND FROM Events`, `Line 1, column 8: there is no column "KIND"`},
		{"a comma for a join", `SELECT u.id FROM orders, users u`, `Line 1, column 24: "," does not belong here; cubes are joined as the data model says`},
		{"an inner join", `SELECT u.id FROM orders o JOIN users u ON o.__cubeJoinField = u.__cubeJoinField`, `Line 1, column 27: "JOIN" does not belong here; cubes are joined as the data model says`},
		{"a join of one's own", `SELECT u.id FROM orders o LEFT JOIN users u ON o.id = u.id`, `Line 1, column 53: cubes are joined by a.__cubeJoinField = b.__cubeJoinField`},
		{"a join that the model has not", `SELECT u.id FROM users u CROSS JOIN line_items`, `Line 1, column 37: the data model has no join that leads from there to line_items`},
		{"a join the other way", `SELECT u.id FROM users u CROSS JOIN orders`, `Line 1, column 37: the data model has no join that leads from there to orders`},
		{"a cube twice", `SELECT a.id FROM orders a CROSS JOIN orders b`, `Line 1, column 38: orders is read twice`},
		{"a view that is joined", `SELECT a.status FROM sales a CROSS JOIN users`, `Line 1, column 41: a view is not joined`},
		{"two tables of one name", `SELECT a.status FROM orders a CROSS JOIN users A`, `Line 1, column 42: two tables are called "A"`},

		{"a measure that is not aggregated", `SELECT status, total FROM orders GROUP BY 1`, `Line 1, column 16: orders.total is a measure; write MEASURE(total) where rows are grouped`},
		{"a function of another type", `SELECT sum(average) FROM orders`, `Line 1, column 8: Measure aggregation type doesn't match: orders.average is a measure of type avg; write MEASURE(average)`},
		{"a sum of a dimension", `SELECT sum(amount) FROM orders`, `Line 1, column 12: orders.amount is a dimension of type number, and SUM aggregates measures`},
		{"a count of rows where there is none", `SELECT count(*) FROM sales`, `Line 1, column 8: COUNT(*) counts the rows of one cube, and here some are joined`},
		{"a count of joined rows", `SELECT count(*) FROM orders CROSS JOIN users`, `Line 1, column 8: COUNT(*) counts the rows of one cube, and here some are joined`},
		{"a cube that counts no rows", `SELECT count(*) FROM Events`, `Line 1, column 8: Events has no measure that counts its rows`},
		{"no granularity", `SELECT date_trunc('decade', created_at) FROM orders`, `Line 1, column 19: orders.created_at has no granularity "decade"; it has second, minute, hour, day, week, month, quarter, year, fiscal_year`},
		{"no time", `SELECT date_trunc('day', status) FROM orders`, `Line 1, column 26: DATE_TRUNC cuts a time dimension, and orders.status is a dimension of type string`},
		{"a column that is not grouped by", `SELECT status, count(*) FROM orders`, `Line 1, column 8: orders.status is selected and not grouped by`},
		{"another granularity than is grouped by", `SELECT date_trunc('day', created_at) FROM orders GROUP BY created_at`, `Line 1, column 59: orders.created_at is grouped by and not selected`},
		{"a group that is not selected", `SELECT count(*) FROM orders GROUP BY status`, `Line 1, column 38: orders.status is grouped by and not selected`},
		{"a group of a measure", `SELECT count(*) FROM orders GROUP BY 1`, `Line 1, column 38: orders.count is a measure, by which no rows are grouped`},
		{"no such number", `SELECT status FROM orders GROUP BY 2`, `Line 1, column 36: there is no column 2; the select list has 1`},
		{"a column that shadows the list in GROUP BY", `SELECT status AS id FROM orders GROUP BY id`, `Line 1, column 42: orders.id is grouped by and not selected`},
		{"an order by what is not selected", `SELECT status FROM orders GROUP BY 1 ORDER BY count(*)`, `Line 1, column 47: orders.count is not selected`},
		{"an order by a name of two columns", `SELECT status AS x, id AS x FROM orders ORDER BY x`, `Line 1, column 50: two columns of the select list are called "x"`},
		{"NULLS FIRST", `SELECT status FROM orders GROUP BY 1 ORDER BY 1 NULLS FIRST`, `Line 1, column 49: where NULLs are sorted is for the database to say`},
		{"more rows than a query has", `SELECT status FROM orders LIMIT 50001`, `Line 1, column 33: a query has 50000 rows at most`},
		{"half a row", `SELECT status FROM orders LIMIT 1.5`, `Line 1, column 33: 1.5 is no number of rows`},
		{"LIMIT ALL", `SELECT status FROM orders LIMIT ALL`, `Line 1, column 33: a number of rows is expected here, not "ALL"`},

		{"a measure in WHERE", `SELECT id FROM orders WHERE total > 1`, `Line 1, column 29: orders.total is a measure: a condition on it stands in HAVING`},
		{"a dimension in HAVING", `SELECT status FROM orders GROUP BY 1 HAVING status = 'a'`, `Line 1, column 45: orders.status is a dimension: a condition on it stands in WHERE`},
		{"a measure as it is in HAVING", `SELECT status FROM orders GROUP BY 1 HAVING total > 1`, `Line 1, column 45: orders.total is a measure; write MEASURE(total)`},
		{"a segment in OR", `SELECT id FROM orders WHERE is_done OR paid`, `Line 1, column 29: the segment orders.is_done can only be joined with AND`},
		{"a segment in NOT", `SELECT id FROM orders WHERE NOT is_done`, `Line 1, column 33: the segment orders.is_done can only be joined with AND`},
		{"two columns", `SELECT id FROM orders WHERE id = amount`, `Line 1, column 34: orders.id is compared with a value, and nothing else`},
		{"two values", `SELECT id FROM orders WHERE 1 = 2`, `Line 1, column 33: a column is expected here, and not a value`},
		{"equal to NULL", `SELECT id FROM orders WHERE status = NULL`, `Line 1, column 38: nothing is equal to NULL; write IS NULL or IS NOT NULL`},
		{"NULL in IN", `SELECT id FROM orders WHERE status NOT IN ('a', NULL)`, `Line 1, column 49: nothing is equal to NULL`},
		{"a number for a text", `SELECT id FROM orders WHERE status = 5`, `Line 1, column 38: orders.status is a string; write the value in quotes`},
		{"a text for a number", `SELECT id FROM orders WHERE amount = 'x'`, `Line 1, column 38: orders.amount is a number, and "x" is none`},
		{"a boolean that is more", `SELECT id FROM orders WHERE paid > false`, `Line 1, column 29: orders.paid is a boolean, which is not sorted`},
		{"a text by itself", `SELECT id FROM orders WHERE status`, `Line 1, column 29: orders.status is no condition by itself`},
		{"LIKE of letters", `SELECT id FROM orders WHERE status LIKE '%a%'`, `Line 1, column 41: LIKE minds case, and no filter of the query API does; write ILIKE`},
		{"ILIKE of a whole text", `SELECT id FROM orders WHERE status ILIKE 'abc'`, `Line 1, column 42: no filter compares a whole text without regard to case`},
		{"LOWER of capitals", `SELECT id FROM orders WHERE LOWER(status) LIKE 'A%'`, `Line 1, column 48: LOWER has no capitals`},
		{"LOWER of another comparison", `SELECT id FROM orders WHERE LOWER(status) = 'a'`, `Line 1, column 29: LOWER is possible before LIKE alone`},
		{"a pattern with something in the middle", `SELECT id FROM orders WHERE status ILIKE 'a%b'`, `Line 1, column 42: a pattern has % at its ends alone`},
		{"a pattern of one letter", `SELECT id FROM orders WHERE status ILIKE 'a_'`, `Line 1, column 42: a pattern has % at its ends alone`},
		{"unlike anything", `SELECT id FROM orders WHERE status NOT LIKE '%'`, `Line 1, column 45: no text is unlike "%"`},
		{"LIKE of a number", `SELECT id FROM orders WHERE amount LIKE '1%'`, `Line 1, column 36: orders.amount is a number; LIKE and ILIKE are for strings`},
		{"ESCAPE", `SELECT id FROM orders WHERE status ILIKE 'a!%' ESCAPE '!'`, `Line 1, column 48: ESCAPE is not possible`},
		{"a time in words", `SELECT id FROM orders WHERE created_at > 'yesterday'`, `Line 1, column 42: "yesterday" is no time`},
		{"a day that is none", `SELECT id FROM orders WHERE created_at > '2024-02-30'`, `Line 1, column 42: "2024-02-30" is no time that there is`},
		{"a moment between milliseconds", `SELECT id FROM orders WHERE created_at <= '2024-01-31 23:59:59.999999'`, `Line 1, column 43: "2024-01-31 23:59:59.999999" is not a whole millisecond`},
		{"a timestamp with an offset", `SELECT id FROM orders WHERE created_at > '2024-01-01T00:00:00+02'::timestamp`, `Line 1, column 42: a timestamp has no offset`},
		{"an interval", `SELECT id FROM orders WHERE created_at > INTERVAL '1 day'`, `Line 1, column 42: "INTERVAL" before a string is not possible`},
		{"a function of time", `SELECT id FROM orders WHERE created_at > now()`, `Line 1, column 42: orders.created_at is a time, which is compared with a time in quotes`},
		{"a bucket that is none", `SELECT id FROM orders WHERE date_trunc('month', created_at) = '2024-02-02'`, `Line 1, column 63: no month starts at 2024-02-02T00:00:00.000; the one that holds it starts at 2024-02-01T00:00:00.000`},
		{"a bucket of the model's", `SELECT id FROM orders WHERE date_trunc('fiscal_year', created_at) = '2024-04-01'`, `Line 1, column 69: a condition on DATE_TRUNC is possible for second, minute`},
		{"a cast of a column", `SELECT created_at::date FROM orders`, `Line 1, column 18: a value can be cast, once, and nothing else`},
		{"a cast that changes a value", `SELECT id FROM orders WHERE amount = 1.5::integer`, `Line 1, column 38: orders.amount is a number, and "1.5" is none`},
		{"a cast to a length", `SELECT id FROM orders WHERE status = 'abc'::varchar(2)`, `Line 1, column 52: a cast to a length or a precision changes values`},
		{"a cast to something else", `SELECT id FROM orders WHERE status = 'abc'::uuid`, `Line 1, column 45: a cast to "uuid" is not possible`},
		{"a string with escapes", `SELECT id FROM orders WHERE status = E'a\n'`, `Line 1, column 38: "E" before a string is not possible`},

		{"a parameter", `SELECT id FROM orders WHERE id = $1`, `Line 1, column 34: a parameter has no value here`},
		{"a string without an end", "SELECT id FROM orders\n  WHERE status = 'a", `Line 2, column 18: a string begins here and does not end`},
		{"a comment without an end", `SELECT /* id FROM orders`, `Line 1, column 8: a comment begins here and does not end`},
		{"a character of no SQL", "SELECT id\x01 FROM orders", `Line 1, column 10: there is a character that no SQL has: '\x01'`},
		{"no number", `SELECT id FROM orders WHERE id = 12ab`, `Line 1, column 34: this is not a number: "12ab"`},
		{"too much", strings.Repeat(" ", maxBytes+1), `Line 1, column 1: the statement is larger than 256 KiB`},
		{"too many words", `SELECT id FROM orders WHERE id IN (1` + strings.Repeat(`,1`, maxTokens), `: the statement has more than 50000 words and signs`},
		{"too deep", `SELECT id FROM orders WHERE ` + strings.Repeat(`(`, 100) + `paid`, `: parentheses and functions are nested deeper than 50 levels`},
		{"too deep with NOT", `SELECT id FROM orders WHERE ` + strings.Repeat(`NOT `, 100) + `paid`, `: parentheses and functions are nested deeper than 50 levels`},
		{"too many tests", `SELECT id FROM orders WHERE paid` + strings.Repeat(` IS NULL`, 100), `: more than 50 operators follow one another`},
		{"too many columns", `SELECT id` + strings.Repeat(`,id`, maxList) + ` FROM orders`, `: there are more than 500 columns`},
		{"too many conditions", `SELECT id FROM orders WHERE paid` + strings.Repeat(` OR paid`, maxConditions), `: there are more than 1000 conditions`},
		{"too many groups in one another", `SELECT id FROM orders WHERE ` + strings.Repeat(`paid OR (id = 1 AND (`, 10) + `paid` + strings.Repeat(`))`, 10), `Line 1, column 29: AND and OR are nested in one another more than 12 times`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q, err := queryOf(catalog, tt.sql)
			f, ok := errors.AsType[*fault.Error](err)
			if !ok || f.Kind != fault.Invalid || !strings.Contains(f.Detail, tt.want) {
				t.Errorf("%.300s\n got %v, %v\nwant %s", tt.sql, q, err, tt.want)
			}
		})
	}
}

// What is not shown is not there, in the words in which something is that is not there.
func TestNamesAreOfWhatTheCallerSees(t *testing.T) {
	m := loadShop(t)
	guest, staff := newCatalog(t, m), newCatalog(t, m, "staff")
	for _, sql := range []string{`SELECT code FROM vault`, `SELECT MEASURE(count) FROM vault`} {
		if _, err := queryOf(staff, sql); err != nil {
			t.Errorf("staff: %s: %v", sql, err)
		}
	}
	for _, hidden := range []string{`SELECT code FROM %s`, `SELECT id FROM orders CROSS JOIN %s`} {
		const there, not = "vault", "fault"
		_, got := queryOf(guest, fmt.Sprintf(hidden, there))
		_, want := queryOf(guest, fmt.Sprintf(hidden, not))
		if got == nil || want == nil || strings.ReplaceAll(got.Error(), there, not) != want.Error() {
			t.Errorf("a cube that is hidden: %v\nand one that is not there: %v", got, want)
		}
	}
	for _, hidden := range []string{`SELECT %s FROM users`, `SELECT id FROM users WHERE %s = 'x'`, `SELECT id FROM users ORDER BY %s`, `SELECT id FROM users GROUP BY %s`, `SELECT id FROM users WHERE id = 1 OR %s IS NULL`} {
		const there, not = "secret_name", "another_name"
		_, got := queryOf(staff, fmt.Sprintf(hidden, there))
		_, want := queryOf(staff, fmt.Sprintf(hidden, not))
		if got == nil || want == nil || strings.ReplaceAll(got.Error(), there, not) != want.Error() {
			t.Errorf("a member that is hidden: %v\nand one that is not there: %v", got, want)
		}
	}
	if _, err := queryOf(staff, `SELECT secret_nam FROM users`); strings.Contains(err.Error(), "secret_name") {
		t.Errorf("a member that is hidden is suggested: %v", err)
	}
}
