//go:build cgo

package sqlgen_test

import (
	"database/sql"
	"fmt"
	"math/big"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/query"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/internal/sqlgen"
)

// rolled is the shop with pre-aggregations of its orders, and perhaps with policies and row rules.
const rolled = `
cubes:
  - name: users
    sql: SELECT * FROM users WHERE {SECURITY_CONTEXT.tenant_id.filter('tenant_id')}
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true, public: true}
      - {name: country, sql: country, type: string}
      - {name: age, sql: age, type: number}
      - {name: vip, sql: vip, type: boolean}
      - {name: orders_count, sql: "{orders.count}", type: number, sub_query: true}
    measures:
      - {name: count, type: count}
      - {name: credit, sql: credit, type: sum}
    pre_aggregations:
      - {name: by_country, measures: [count, credit], dimensions: [country, vip]}

  - name: orders
    sql_table: orders
    joins:
      - {name: users, relationship: many_to_one, sql: "{CUBE}.user_id = {users.id}"}
      - {name: line_items, relationship: one_to_many, sql: "{CUBE.id} = {line_items}.order_id"}
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true, public: true}
      - {name: status, sql: status, type: string, mask: "'hidden'"}
      - {name: kind, sql: kind, type: string}
      - {name: region, sql: region, type: string}
      - {name: amount, sql: amount, type: number}
      - {name: big, sql: "{CUBE}.amount > 50", type: boolean}
      - name: created_at
        sql: created_at
        type: time
        granularities:
          - {name: fiscal, interval: 1 year, offset: 3 months}
          - {name: sprint, interval: 2 weeks, origin: 2024-01-01}
          - {name: midweek, interval: 1 week, offset: 2 days}
          - {name: shift, interval: 8 hours}
      - {name: quarter, sql: "{created_at.quarter}", type: time}
      - {name: hour, sql: "EXTRACT(HOUR FROM {created_at})", type: number}
      - {name: user_country, sql: "{users.country}", type: string}
      - name: size
        type: string
        case:
          when: [{sql: "{CUBE}.amount >= 100", label: "big"}, {sql: "{CUBE}.amount >= 10", label: "it's \\ middling"}]
          else: {label: small}
    measures:
      - {name: count, type: count}
      - {name: total, sql: amount, type: sum}
      - {name: lowest, sql: amount, type: min}
      - {name: highest, sql: amount, type: max}
      - {name: first, sql: "{created_at}", type: min}
      - {name: average, sql: amount, type: avg}
      - {name: users, sql: user_id, type: count_distinct}
      - {name: users_about, sql: user_id, type: count_distinct_approx}
      - {name: done, type: count, filters: [{sql: "{CUBE}.status = 'done'"}]}
      - {name: with_user, type: count, sql: user_id}
      - {name: done_total, type: sum, sql: "{CUBE}.amount", filters: [{sql: "{CUBE}.status = 'done'"}]}
      - {name: done_share, type: number, sql: "1.0 * {done} / NULLIF({count}, 0)"}
      - {name: twice_share, type: number, sql: "2 * {done_share}"}
      - {name: each, type: number, sql: "{total} / {count}"}
      - {name: whole_share, type: number, sql: "100 * {done} / {count}"}
      - {name: weighed, type: number, sql: "CASE WHEN {count} > 2 AND NOT ({done} = 0) THEN {total} * -0.5 ELSE COALESCE({done_total}, 0) + ABS({lowest}) END"}
      - {name: rounded, type: number, sql: "ROUND({total} * 0.25, 1)"}
      - {name: risky, type: number, sql: "ROUND(1.0 * {total} / {done}, 2)"}
      - {name: label, type: string, sql: "CONCAT({count} % 3, ' of ', CAST({done} AS VARCHAR(9)), '%') || '!'"}
      - {name: spread, type: number, sql: "MAX({CUBE}.amount) - MIN({CUBE}.amount)"}
      - {name: last_week, sql: amount, type: sum, rolling_window: {trailing: 7 day}}
    segments:
      - {name: done_only, sql: "{CUBE}.status = 'done'"}
      - {name: large, sql: "{CUBE}.amount >= 40"}
    POLICY
    pre_aggregations: PRE

  - name: line_items
    sql_alias: items
    sql_table: line_items
    dimensions:
      - {name: order_id, sql: order_id, type: number, primary_key: true}
      - {name: line, sql: line, type: number, primary_key: true}
      - {name: sku, sql: sku, type: string}
    measures:
      - {name: count, type: count}
      - {name: qty, sql: qty, type: sum}

views:
  - name: sales
    cubes:
      - {join_path: orders, includes: [status, total, count, done_share, each, users, {name: created_at, alias: ordered_at}, done_only]}
      - {join_path: orders.users, prefix: true, includes: [country]}
`

// rolledModel returns the shop with the pre-aggregations of orders, and more keys of it and of the file.
func rolledModel(t testing.TB, pre, policy, more string) *datamodel.Model {
	t.Helper()
	text := strings.Replace(rolled, "PRE", pre, 1)
	if policy == "" {
		text = strings.Replace(text, "    POLICY\n", "", 1)
	}
	m, err := datamodel.Load(fstest.MapFS{"shop.yml": {Data: []byte(strings.Replace(text, "POLICY", policy, 1) + more)}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// moreOrders are orders around the nights in which the clocks of New York and Berlin change, and some without a time.
func moreOrders(r *rand.Rand, n int) string {
	pick := func(words ...string) string { return words[r.IntN(len(words))] }
	var b strings.Builder
	for i := range n {
		at := "NULL"
		if r.IntN(12) > 0 {
			first := []string{"2024-10-26T20:00:00Z", "2024-11-02T20:00:00Z", "2024-03-10T00:00:00Z", "2023-12-30T00:00:00Z"}[r.IntN(4)]
			from, _ := time.Parse(time.RFC3339, first)
			at = "'" + from.Add(time.Duration(r.IntN(4*24*60))*time.Minute).Format("2006-01-02 15:04:05") + pick("", ".9996") + "'"
		}
		fmt.Fprintf(&b, "INSERT INTO orders VALUES (%d, %s, %s, %s, %s, %s, %s);", 100+i, pick("1", "2", "3", "9", "77", "NULL"),
			pick("'done'", "'open'", "'Done'", "'a%b'", "NULL"), pick("10.25", "0", "NULL", "-3", "99.9", "40", "1000000.01"), at, pick("'a'", "'b'"), pick("'eu'", "'us'", "NULL"))
	}
	return b.String()
}

// source is a database with the shop, and the dialect of it.
type source struct {
	name string
	d    sqlgen.Dialect
	db   *sql.DB
}

// openSources returns the shop in DuckDB and in Postgres.
func openSources(t *testing.T, fill string) []source {
	t.Helper()
	return []source{{"duckdb", sqlgen.DuckDB{}, openDuckDB(t, fill)}, {"postgres", sqlgen.Postgres{}, openShop(t, fill)}}
}

// fetch returns the rows of statements.
func fetch(t *testing.T, db *sql.DB, statements ...sqlgen.Statement) [][]any {
	t.Helper()
	all := [][]any{}
	for _, s := range statements {
		found, err := db.Query(s.SQL, s.Args...)
		if err != nil {
			t.Fatalf("%v\n%s\n%v", err, s.SQL, s.Args)
		}
		columns, err := found.Columns()
		if err != nil {
			t.Fatal(err)
		}
		for found.Next() {
			cells := make([]any, len(columns))
			to := make([]any, len(columns))
			for i := range cells {
				to[i] = &cells[i]
			}
			if err := found.Scan(to...); err != nil {
				t.Fatal(err)
			}
			for i, c := range cells {
				if b, ok := c.([]byte); ok {
					cells[i] = string(b)
				}
			}
			all = append(all, cells)
		}
		if err := found.Err(); err != nil {
			t.Fatalf("%v\n%s\n%v", err, s.SQL, s.Args)
		}
		found.Close()
	}
	return all
}

// plain returns a value as a text, numbers to 12 digits.
func plain(v any) string {
	switch v := v.(type) {
	case nil:
		return "-"
	case time.Time:
		return v.Format("2006-01-02T15:04:05.000000")
	case bool:
		return map[bool]string{true: "1", false: "0"}[v]
	case duckdb.Decimal:
		return plain(v.Float64())
	case *big.Int:
		f, _ := new(big.Float).SetInt(v).Float64()
		return plain(f)
	case float64:
		return strconv.FormatFloat(v, 'g', 12, 64)
	case int64:
		return plain(float64(v))
	case int32:
		return plain(float64(v))
	case string:
		if f, err := strconv.ParseFloat(v, 64); err == nil {
			return plain(f)
		}
		return v
	}
	return fmt.Sprintf("%T %v", v, v)
}

func printed(rows [][]any) []string {
	all := []string{}
	for _, row := range rows {
		var cells []string
		for _, c := range row {
			cells = append(cells, plain(c))
		}
		all = append(all, strings.Join(cells, " "))
	}
	return all
}

// keep puts rows of the source into a table of DuckDB, as who keeps a rollup does: numbers without loss.
func keep(t *testing.T, duck *sql.DB, r *sqlgen.Rollup, rows [][]any) {
	t.Helper()
	var columns []string
	for i, c := range r.Columns {
		kind := map[string]string{datamodel.String: "VARCHAR", datamodel.Boolean: "BOOLEAN", datamodel.Time: "TIMESTAMP", datamodel.Number: "BIGINT", "": "BIGINT"}[c.Type]
		if slices.ContainsFunc(rows, func(row []any) bool { _, ok := row[i].(time.Time); return ok }) {
			kind = "TIMESTAMP"
		}
		if kind == "BIGINT" && slices.ContainsFunc(rows, func(row []any) bool { _, ok := row[i].(float64); return ok }) {
			kind = "DOUBLE"
		}
		if kind == "BIGINT" && slices.ContainsFunc(rows, func(row []any) bool { return strings.Contains(exact(row[i]), ".") }) {
			kind = "DECIMAL(38,18)"
		}
		columns = append(columns, fmt.Sprintf("%q %s", c.Alias, kind))
	}
	if _, err := duck.Exec(fmt.Sprintf("CREATE OR REPLACE TABLE %q (%s)", r.Table, strings.Join(columns, ", "))); err != nil {
		t.Fatal(err)
	}
	var values []string
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, v := range row {
			switch v := v.(type) {
			case nil:
				cells[i] = "NULL"
			case time.Time:
				cells[i] = "'" + v.Format("2006-01-02 15:04:05.999999") + "'"
			default:
				cells[i] = "'" + strings.ReplaceAll(exact(v), "'", "''") + "'"
			}
		}
		values = append(values, "("+strings.Join(cells, ", ")+")")
	}
	if len(values) == 0 {
		return
	}
	if _, err := duck.Exec(fmt.Sprintf("INSERT INTO %q VALUES %s", r.Table, strings.Join(values, ", "))); err != nil {
		t.Fatal(err)
	}
}

// exact returns a number as a text.
func exact(v any) string {
	switch v := v.(type) {
	case duckdb.Decimal:
		return v.String()
	case *big.Int:
		return v.String()
	}
	return fmt.Sprint(v)
}

// built returns the rows of a rollup, of all partitions that a query reads.
func built(t *testing.T, src source, r *sqlgen.Rollup) [][]any {
	t.Helper()
	var statements []sqlgen.Statement
	for _, s := range spans(t, src, r) {
		statement, err := r.Build(s)
		if err != nil {
			t.Fatal(err)
		}
		statements = append(statements, statement)
	}
	return fetch(t, src.db, statements...)
}

// spans returns the partitions that a query reads, or nil for one table.
func spans(t *testing.T, src source, r *sqlgen.Rollup) []*sqlgen.Span {
	t.Helper()
	if r.Partition == "" {
		return []*sqlgen.Span{nil}
	}
	from, to := reach(t, src, r)
	found, err := r.Spans(from, to)
	if err != nil {
		t.Fatal(err)
	}
	var all []*sqlgen.Span
	for i := range found {
		all = append(all, &found[i])
	}
	return all
}

// reach asks the source from where and to where partitions reach.
func reach(t *testing.T, src source, r *sqlgen.Rollup) (from, to time.Time) {
	t.Helper()
	from, _ = fetch(t, src.db, r.BuildRange[0])[0][0].(time.Time)
	to, _ = fetch(t, src.db, r.BuildRange[1])[0][0].(time.Time)
	return from, to
}

// keepParts puts the rows of a rollup where it is read: its own, or those of its parts.
func keepParts(t *testing.T, src source, duck *sql.DB, r *sqlgen.Rollup) {
	t.Helper()
	switch r.Type {
	case datamodel.RollupJoin:
		for _, part := range r.Parts {
			keep(t, duck, part, built(t, src, part))
		}
	case datamodel.RollupLambda:
		var rows [][]any
		for i, spans := range united(t, src, r) {
			for _, s := range spans {
				statement, err := r.Parts[i].Build(s)
				if err != nil {
					t.Fatal(err)
				}
				rows = append(rows, fetch(t, src.db, statement)...)
			}
		}
		keep(t, duck, r.Parts[0], rows)
	default:
		keep(t, duck, r, built(t, src, r))
	}
}

// united returns the partitions that a query reads of each part of a rollup_lambda, which hold everything.
func united(t *testing.T, src source, r *sqlgen.Rollup) [][]*sqlgen.Span {
	t.Helper()
	if len(r.Parts) == 1 && !r.WithSource {
		return [][]*sqlgen.Span{spans(t, src, r.Parts[0])}
	}
	var bounds [][2]time.Time
	for _, part := range r.Parts {
		from, to := reach(t, src, part)
		bounds = append(bounds, [2]time.Time{from, to})
	}
	found, rest, whole, err := r.United(bounds)
	if err != nil || !whole {
		t.Fatalf("between %v there is everything: %t, %v", bounds, whole, err)
	}
	all := make([][]*sqlgen.Span, len(found))
	for i := range found {
		for j := range found[i] {
			all[i] = append(all[i], &found[i][j])
		}
	}
	if rest != nil {
		all[len(all)-1] = append(all[len(all)-1], rest)
	}
	return all
}

// answers returns the rows of a query from the source and from its rollup.
func answers(t *testing.T, src source, duck *sql.DB, plan sqlgen.Plan) (fromSource, fromRollup [][]any) {
	t.Helper()
	r := plan.Rollup
	db, over := duck, func(s sqlgen.Statement) sqlgen.Statement { return s }
	if r.External {
		keepParts(t, src, duck, r)
	} else {
		tables := keepInSource(t, src, r)
		db, over = src.db, func(s sqlgen.Statement) sqlgen.Statement { return r.Over(s, tables) }
	}
	fromSource, fromRollup = fetch(t, src.db, sqlgen.Statement{SQL: plan.SQL, Args: plan.Args}), fetch(t, db, over(r.Read))
	if (plan.Total == nil) != (r.Total == nil) {
		t.Errorf("Total = %v, and of the rollup %v", plan.Total, r.Total)
	}
	if plan.Total != nil {
		if a, b := printed(fetch(t, src.db, *plan.Total)), printed(fetch(t, db, over(*r.Total))); !slices.Equal(a, b) {
			t.Errorf("total = %q, and of the rollup %q", a, b)
		}
	}
	return fromSource, fromRollup
}

// answersAlike compares the answers of the source and of the rollup: the same rows, in the same order as far as the query has one.
func answersAlike(t *testing.T, src source, duck *sql.DB, plan sqlgen.Plan) {
	t.Helper()
	a, b := answers(t, src, duck, plan)
	byOrder := func(rows [][]any) (all []string) {
		for _, row := range rows {
			var cells []string
			for _, o := range plan.Order {
				i := slices.IndexFunc(plan.Columns, func(c sqlgen.Column) bool {
					return c.Alias == o.ID || slices.Contains(c.Keys, o.ID) || c.Member == o.ID
				})
				cells = append(cells, plain(row[i]))
			}
			all = append(all, strings.Join(cells, " "))
		}
		return all
	}
	got, want := printed(b), printed(a)
	if src.name == "mariadb" { // one of those that are equal to it stands for a group
		got, want = strings.Split(strings.ToLower(strings.Join(got, "\n")), "\n"), strings.Split(strings.ToLower(strings.Join(want, "\n")), "\n")
	}
	ordered := slices.Equal(byOrder(a), byOrder(b))
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) || !ordered && !byText(src, plan) {
		t.Errorf("rows of the rollup %q\n     of the source %q\n%s\n%v\nsource %s\n%v", printed(b), printed(a), plan.Rollup.Read.SQL, plan.Rollup.Read.Args, plan.SQL, plan.Args)
		for _, r := range append(plan.Rollup.Parts, plan.Rollup)[:max(1, len(plan.Rollup.Parts))] {
			build, _ := r.Build(nil)
			t.Errorf("%s is built by %s\n%v", r.Name, build.SQL, build.Args)
		}
	}
}

// byText reports whether a query has an order of texts that is the source's own.
func byText(src source, plan sqlgen.Plan) bool {
	return src.name == "postgres" && slices.ContainsFunc(plan.Columns, func(c sqlgen.Column) bool {
		return c.Type == datamodel.String && slices.ContainsFunc(plan.Order, func(o query.Order) bool { return o.ID == c.Member })
	})
}

func generate(t *testing.T, m *datamodel.Model, sc securitycontext.Context, q string, d sqlgen.Dialect) sqlgen.Plan {
	t.Helper()
	plan, err := sqlgen.Generate(m, sc, decode(t, q), options(d))
	if err != nil {
		t.Fatalf("%v\n%s", err, q)
	}
	return plan
}

const (
	wide = `
      - {name: main, measures: [count, total, lowest, highest, done, done_total, with_user, each, whole_share], dimensions: [status, kind, size, amount, big, users.country, users.age, users.vip],
         segments: [done_only, large], time_dimension: created_at, granularity: day}`
	monthly = `
      - {name: main, measures: [count, total, done], dimensions: [status], time_dimension: created_at, granularity: day, partition_granularity: month}`
	hourly = `
      - {name: main, measures: [count, total], dimensions: [kind], time_dimension: created_at, granularity: hour, partition_granularity: day}`
	exactly = `
      - {name: main, measures: [users, average, count, spread, rounded, total], dimensions: [status, users.country], time_dimension: created_at, granularity: month}`
	about = `
      - {name: main, measures: [users_about], dimensions: [kind]}`
	kept = `
      - {name: main, measures: [count, total, risky, label, each, rounded], dimensions: [status, kind]}`
	whole = `
      - {name: main, measures: [users, average, spread, rounded, count], dimensions: [status, kind], segments: [large]}`
)

// Each of these queries is answered by the source, and by the rollup from what it is built of. The answers are the same.
var heldQueries = []struct {
	name, pre, query string
	only             string // the source that it is held in alone; "" for all
}{
	{"everything added up", wide, `{"measures":["orders.count","orders.total","orders.lowest","orders.highest","orders.done","orders.done_total","orders.with_user"]}`, ""},
	{"the first time", `
      - {name: main, measures: [first], dimensions: [kind, status], time_dimension: created_at, granularity: month}`, `{"measures":["orders.first"],"dimensions":["orders.kind"],"timezone":"America/New_York","order":[["orders.first","desc"]]}`, ""},
	{"by a dimension with NULL", wide, `{"measures":["orders.total","orders.count"],"dimensions":["orders.status"]}`, ""},
	{"by a dimension of a joined cube", wide, `{"measures":["orders.total"],"dimensions":["users.country"]}`, ""},
	{"by a boolean and a case", wide, `{"measures":["orders.count"],"dimensions":["users.vip","orders.size","orders.big"]}`, ""},
	{"dimensions alone", wide, `{"dimensions":["orders.kind","orders.status"]}`, ""},
	{"a dimension that is another by its SQL is not taken for it", `
      - {name: main, measures: [count], dimensions: [user_country]}`, `{"measures":["orders.count"],"dimensions":["orders.user_country"]}`, ""},
	{"a share", wide, `{"measures":["orders.done_share","orders.twice_share"],"dimensions":["orders.kind"]}`, ""},
	{"an average of sums", wide, `{"measures":["orders.each"],"dimensions":["orders.kind"]}`, "duckdb"},
	{"a quotient of whole numbers is whole where it is in the source", wide, `{"measures":["orders.whole_share"],"dimensions":["orders.kind","orders.status"]}`, ""},
	{"a case of sums", wide, `{"measures":["orders.weighed"],"dimensions":["orders.status"]}`, ""},
	{"days", wide, `{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"day"}]}`, ""},
	{"weeks of days", wide, `{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"week"}]}`, ""},
	{"months of days, in a zone", wide, `{"measures":["orders.total"],"timezone":"America/New_York","timeDimensions":[{"dimension":"orders.created_at","granularity":"month"}]}`, ""},
	{"quarters of days, in a zone", wide, `{"measures":["orders.total"],"timezone":"Asia/Kolkata","timeDimensions":[{"dimension":"orders.created_at","granularity":"quarter"}]}`, ""},
	{"years of days, in a zone ahead", wide, `{"measures":["orders.total"],"timezone":"Asia/Tokyo","timeDimensions":[{"dimension":"orders.created_at","granularity":"year"}],"order":[["orders.total","desc"]]}`, ""},
	{"several granularities of one time", wide, `{"measures":["orders.count"],"timezone":"Europe/Berlin","timeDimensions":[{"dimension":"orders.created_at","granularity":"week"},{"dimension":"orders.created_at","granularity":"month"}]}`, ""},
	{"a fiscal year of days", wide, `{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"fiscal"}]}`, ""},
	{"two weeks from an origin, of days", wide, `{"measures":["orders.count"],"timezone":"America/New_York","timeDimensions":[{"dimension":"orders.created_at","granularity":"sprint"}]}`, ""},
	{"weeks that begin on Wednesday, of days", wide, `{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"midweek"}]}`, ""},
	{"a granularity of one's own, kept as such", `
      - {name: main, measures: [count], time_dimension: created_at, granularity: sprint}`, `{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"sprint"}]}`, ""},
	{"eight hours of hours", hourly, `{"measures":["orders.count"],"timezone":"Europe/Berlin","timeDimensions":[{"dimension":"orders.created_at","granularity":"shift","dateRange":["2024-10-26","2024-10-29"]}]}`, ""},
	{"the night on which the clocks go back, by hours", hourly, `{"measures":["orders.count","orders.total"],"timezone":"America/New_York","timeDimensions":[{"dimension":"orders.created_at","granularity":"hour","dateRange":["2024-11-03","2024-11-03"]}]}`, ""},
	{"the night on which they go forward, by days", hourly, `{"measures":["orders.count"],"timezone":"America/New_York","timeDimensions":[{"dimension":"orders.created_at","granularity":"day","dateRange":["2024-03-10","2024-03-11"]}]}`, ""},
	{"a range without a granularity", wide, `{"measures":["orders.count"],"timezone":"America/New_York","timeDimensions":[{"dimension":"orders.created_at","dateRange":["2024-11-02","2024-11-03"]}]}`, ""},
	{"two ranges", monthly, `{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"day","dateRange":["2024-10-01","2024-11-05"]},{"dimension":"orders.created_at","dateRange":["2024-11-01","2024-12-31"]}]}`, ""},
	{"partitions of months", monthly, `{"measures":["orders.count","orders.total"],"dimensions":["orders.status"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"day","dateRange":["2024-10-20","2024-11-10"]}]}`, ""},
	{"all partitions, with rows that have no time", monthly, `{"measures":["orders.count","orders.total"]}`, ""},
	{"all partitions by day, with rows that have no time", monthly, `{"measures":["orders.count"],"timezone":"Asia/Tokyo","timeDimensions":[{"dimension":"orders.created_at","granularity":"day"}]}`, ""},
	{"a week in partitions of months", `
      - {name: main, measures: [count], time_dimension: created_at, granularity: week, partition_granularity: month}`,
		`{"measures":["orders.count"],"timezone":"Europe/Berlin","timeDimensions":[{"dimension":"orders.created_at","granularity":"week","dateRange":["2024-10-28","2024-11-03"]}]}`, ""},
	{"a filter that is not selected", wide, `{"measures":["orders.count"],"filters":[{"member":"orders.status","operator":"equals","values":["done"]}]}`, ""},
	{"in", wide, `{"measures":["orders.count"],"filters":[{"member":"orders.status","operator":"in","values":["done","open"]}]}`, ""},
	{"in, or none", wide, `{"measures":["orders.count"],"filters":[{"member":"orders.status","operator":"equals","values":["done",null]}]}`, ""},
	{"not equal, with NULL", wide, `{"measures":["orders.count"],"filters":[{"member":"orders.status","operator":"notEquals","values":["done"]}]}`, ""},
	{"not in", wide, `{"measures":["orders.count"],"filters":[{"member":"orders.status","operator":"notIn","values":["done",null]}]}`, ""},
	{"contains, without regard to case", wide, `{"measures":["orders.count"],"filters":[{"member":"orders.status","operator":"contains","values":["DO","%"]}]}`, ""},
	{"does not contain", wide, `{"measures":["orders.count"],"filters":[{"member":"orders.status","operator":"notContains","values":["do"]}]}`, ""},
	{"starts with", wide, `{"measures":["orders.count"],"filters":[{"member":"orders.status","operator":"startsWith","values":["o"]}]}`, ""},
	{"does not start with", wide, `{"measures":["orders.count"],"filters":[{"member":"orders.status","operator":"notStartsWith","values":["o"]}]}`, ""},
	{"ends with", wide, `{"measures":["orders.count"],"filters":[{"member":"orders.status","operator":"endsWith","values":["n"]}]}`, ""},
	{"does not end with", wide, `{"measures":["orders.count"],"filters":[{"member":"orders.status","operator":"notEndsWith","values":["n","e"]}]}`, ""},
	{"set and not set", wide, `{"measures":["orders.count"],"filters":[{"member":"orders.status","operator":"set"},{"member":"users.country","operator":"notSet"}]}`, ""},
	{"numbers", wide, `{"measures":["orders.count"],"filters":[{"member":"orders.amount","operator":"gte","values":["10.25"]},{"member":"orders.amount","operator":"lt","values":["1000000.01"]},{"member":"users.age","operator":"notEquals","values":["30"]}]}`, ""},
	{"numbers, the other bounds", wide, `{"measures":["orders.count"],"filters":[{"member":"orders.amount","operator":"gt","values":["10.25"]},{"member":"orders.amount","operator":"lte","values":["99.9"]}]}`, ""},
	{"texts in their order", wide, `{"measures":["orders.count"],"filters":[{"member":"orders.status","operator":"gt","values":["b"]}]}`, "duckdb"},
	{"booleans", wide, `{"measures":["orders.count"],"filters":[{"member":"users.vip","operator":"equals","values":[true]}]}`, ""},
	{"groups of filters", wide, `{"measures":["orders.count"],"dimensions":["orders.kind"],"filters":[{"or":[{"member":"orders.status","operator":"equals","values":["open"]},{"and":[{"member":"users.country","operator":"set"},{"member":"orders.big","operator":"equals","values":["false"]}]}]}]}`, ""},
	{"a segment", wide, `{"measures":["orders.count"],"dimensions":["orders.kind"],"segments":["orders.done_only"]}`, ""},
	{"segments of NULL too", wide, `{"measures":["orders.count"],"segments":["orders.large","orders.done_only"]}`, ""},
	{"a filter on a measure", wide, `{"measures":["orders.count"],"dimensions":["orders.status","orders.kind"],"filters":[{"member":"orders.total","operator":"gt","values":["100.5"]}]}`, ""},
	{"filters on measures that are computed", wide, `{"dimensions":["orders.kind","orders.status"],"filters":[{"or":[{"member":"orders.done_share","operator":"gte","values":["0.5"]},{"member":"orders.lowest","operator":"notSet"}]}]}`, ""},
	{"an order by what is not first", wide, `{"measures":["orders.count","orders.total"],"dimensions":["orders.status","orders.kind"],"order":[["orders.total","desc"],["orders.kind","asc"]]}`, ""},
	{"an order in which NULL has its place", wide, `{"measures":["orders.lowest"],"dimensions":["users.age"],"order":[["users.age","desc"]]}`, ""},
	{"and the other way", wide, `{"measures":["orders.lowest"],"dimensions":["users.age"],"order":[["users.age","asc"]]}`, ""},
	{"a page, and how many there are", wide, `{"measures":["orders.count"],"dimensions":["users.age","orders.amount"],"order":[["users.age","desc"],["orders.amount","asc"]],"limit":3,"offset":2,"total":true}`, ""},
	{"a page of NULLs", wide, `{"dimensions":["orders.big","users.age"],"order":[["users.age","desc"],["orders.big","desc"]],"limit":1}`, ""},
	{"no rows", wide, `{"measures":["orders.count","orders.total","orders.done_share"],"filters":[{"member":"orders.status","operator":"equals","values":["none"]}]}`, ""},
	{"no rows of a dimension", wide, `{"measures":["orders.count"],"dimensions":["orders.kind"],"filters":[{"member":"orders.status","operator":"equals","values":["none"]}],"total":true}`, ""},
	{"a view", wide, `{"measures":["sales.total","sales.done_share"],"dimensions":["sales.users_country","sales.status"],"segments":["sales.done_only"],"timeDimensions":[{"dimension":"sales.ordered_at","granularity":"month"}],"order":[["sales.total","asc"]]}`, ""},
	{"a time as a dimension", `
      - {name: main, measures: [count], dimensions: [created_at, hour]}`, `{"measures":["orders.count"],"dimensions":["orders.created_at","orders.hour"],"timezone":"America/New_York"}`, ""},
	{"the hour of the day, in a zone", `
      - {name: main, measures: [count, total], dimensions: [hour, kind]}`, `{"measures":["orders.total"],"dimensions":["orders.hour"],"timezone":"America/New_York"}`, ""},
	{"measures of a cube that another joins", `
      - {name: main, measures: [count, line_items.qty, line_items.count], dimensions: [kind, line_items.sku]}`, `{"measures":["line_items.qty"],"dimensions":["orders.kind"]}`, ""},
	{"measures alone", `
      - {name: main, measures: [count, total]}`, `{"measures":["orders.total","orders.count"]}`, ""},

	{"what is no sum, in the groups of the rollup", exactly, `{"measures":["orders.users","orders.average","orders.count"],"dimensions":["orders.status","users.country"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"month"}]}`, ""},
	{"what is no sum, about", about, `{"measures":["orders.users_about"],"dimensions":["orders.kind"]}`, ""},
	{"what is no sum, in a range", exactly, `{"measures":["orders.users"],"dimensions":["orders.status","users.country"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"month","dateRange":["2024-10-01","2024-11-30"]}]}`, ""},
	{"SQL of the source, in the groups of the rollup", whole, `{"measures":["orders.spread","orders.rounded"],"dimensions":["orders.status","orders.kind"],"segments":["orders.large"]}`, ""},
	{"what is no sum, filtered by itself", whole, `{"measures":["orders.users"],"dimensions":["orders.kind","orders.status"],"segments":["orders.large"],"filters":[{"member":"orders.users","operator":"gt","values":["1"]},{"member":"orders.kind","operator":"equals","values":["a"]}],"order":[["orders.average","desc"],["orders.users","asc"]]}`, ""},
	{"what the source computes, for fewer rows than it could divide by", kept, `{"measures":["orders.count","orders.total"],"dimensions":["orders.kind"]}`, ""},
	{"what the source computes", kept, `{"measures":["orders.risky","orders.label","orders.each","orders.rounded"],"dimensions":["orders.status","orders.kind"],"filters":[{"member":"orders.status","operator":"equals","values":["done"]}]}`, ""},
	{"what the source computes, filtered by", kept, `{"measures":["orders.label"],"dimensions":["orders.status","orders.kind"],"filters":[{"member":"orders.status","operator":"equals","values":["done"]},{"member":"orders.risky","operator":"gt","values":["1"]}]}`, ""},
	{"what is no sum, of one group", whole, `{"measures":["orders.users","orders.average"],"segments":["orders.large"],"filters":[{"member":"orders.status","operator":"equals","values":["done"]},{"member":"orders.kind","operator":"equals","values":["a"]}]}`, ""},
	{"what is no sum, of one group that is not there", whole, `{"measures":["orders.users","orders.average"],"segments":["orders.large"],"filters":[{"member":"orders.status","operator":"equals","values":["none"]},{"member":"orders.kind","operator":"equals","values":["a"]}]}`, ""},
	{"what is no sum, some groups of it", whole, `{"measures":["orders.users"],"dimensions":["orders.kind"],"segments":["orders.large"],"filters":[{"member":"orders.status","operator":"equals","values":["done"]}]}`, ""},
	{"what is no sum, in partitions of its months", `
      - {name: main, measures: [users], time_dimension: created_at, granularity: day, partition_granularity: month}`,
		`{"measures":["orders.users"],"timezone":"America/New_York","timeDimensions":[{"dimension":"orders.created_at","granularity":"day"}]}`, ""},
	{"the root cube itself", wide, `{"measures":["users.count","users.credit"],"dimensions":["users.country"]}`, ""},
}

func TestRollupsAnswerAsTheirSourceDoes(t *testing.T) {
	fill := seed + moreOrders(rand.New(rand.NewPCG(1, 2)), 300)
	duck := openDuckDB(t, "")
	for _, src := range openSources(t, fill) {
		t.Run(src.name, func(t *testing.T) {
			for _, tt := range heldQueries {
				if tt.pre == about && src.name == "postgres" {
					continue // it needs an extension
				}
				t.Run(tt.name, func(t *testing.T) {
					plan := generate(t, rolledModel(t, tt.pre, "", ""), context(t, tenant7), tt.query, src.d)
					switch held := tt.only == "" || tt.only == src.name; {
					case !held && plan.Rollup == nil:
						return
					case plan.Rollup == nil:
						t.Fatalf("no rollup holds it: %v", plan.Misses)
					case !held:
						t.Fatalf("it is held in %s", src.name)
					}
					answersAlike(t, src, duck, plan)
				})
			}
		})
	}
}

// In a database that takes texts for equal which differ in case, those queries are held that do not depend on it.
func TestRollupsAnswerAsMariaDBDoes(t *testing.T) {
	db, _ := openMariaDB(t, strings.ReplaceAll(inMariaDB, " COLLATE utf8mb4_bin", "")+seed+moreOrders(rand.New(rand.NewPCG(1, 2)), 300))
	src, duck, held := source{"mariadb", sqlgen.MySQL{}, db}, openDuckDB(t, ""), 0
	for _, tt := range heldQueries {
		plan := generate(t, rolledModel(t, tt.pre, "", ""), context(t, tenant7), tt.query, src.d)
		if plan.Rollup == nil || tt.pre == kept { // whose SQL is of another database
			continue
		}
		held++
		t.Run(tt.name, func(t *testing.T) { answersAlike(t, src, duck, plan) })
	}
	if held < 25 {
		t.Errorf("%d queries are held", held)
	}
}

// Nothing is in the tables: counts are 0, sums NULL, and there are no partitions but that of rows without a time.
func TestRollupsOfNoRows(t *testing.T) {
	duck := openDuckDB(t, "")
	for _, src := range openSources(t, "") {
		for _, tt := range heldQueries {
			plan := generate(t, rolledModel(t, tt.pre, "", ""), context(t, tenant7), tt.query, src.d)
			if plan.Rollup != nil && (tt.pre != about || src.name != "postgres") {
				answersAlike(t, src, duck, plan)
			}
		}
	}
}

// The table of cube-data-model.md §20.3.
func TestTheObservedTable(t *testing.T) {
	const pre = `
      - {name: main, measures: [count, total, highest, users_about], dimensions: [status, users.country], segments: [done_only], time_dimension: created_at, granularity: day}`
	day := func(granularity string) string {
		return `{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"` + granularity + `"}]}`
	}
	fill := seed + moreOrders(rand.New(rand.NewPCG(3, 4)), 100)
	duck, src := openDuckDB(t, ""), source{"duckdb", sqlgen.DuckDB{}, openDuckDB(t, fill)}
	m := rolledModel(t, pre, "", "")
	for _, tt := range []struct {
		name, query string
		hit         bool
	}{
		{"count without dimensions", `{"measures":["orders.count"]}`, true},
		{"total by status", `{"measures":["orders.total"],"dimensions":["orders.status"]}`, true},
		{"total by users.country", `{"measures":["orders.total"],"dimensions":["users.country"]}`, true},
		{"filter on status, not selected", `{"measures":["orders.count"],"filters":[{"member":"orders.status","operator":"equals","values":["done"]}]}`, true},
		{"number = total / count", `{"measures":["orders.each"],"dimensions":["orders.status"]}`, true},
		{"granularity day", day("day"), true},
		{"granularity week", day("week"), true},
		{"granularity month", day("month"), true},
		{"granularity quarter", day("quarter"), true},
		{"granularity year", day("year"), true},
		{"other time zone than UTC", `{"measures":["orders.count"],"timezone":"America/New_York","timeDimensions":[{"dimension":"orders.created_at","granularity":"day"}]}`, true},
		{"segment done", `{"measures":["orders.count"],"segments":["orders.done_only"]}`, true},
		{"measure filter (HAVING)", `{"measures":["orders.count"],"dimensions":["orders.status"],"filters":[{"member":"orders.count","operator":"gt","values":["2"]}]}`, true},
		{"only dimensions", `{"dimensions":["orders.status"]}`, true},
		{"via a view", `{"measures":["sales.total"],"dimensions":["sales.users_country"]}`, true},
		{"avg", `{"measures":["orders.average"]}`, false},
		{"count_distinct", `{"measures":["orders.users"]}`, false},
		{"dimension not in R", `{"measures":["orders.count"],"dimensions":["orders.kind"]}`, false},
		{"filter dimension not in R", `{"measures":["orders.count"],"filters":[{"member":"orders.kind","operator":"equals","values":["a"]}]}`, false},
		{"granularity hour", day("hour"), false},
		{"inDateRange as an ordinary filter on created_at", `{"measures":["orders.count"],"filters":[{"member":"orders.created_at","operator":"inDateRange","values":["2024-01-01","2024-12-31"]}]}`, false},
		{"ungrouped without keys", `{"measures":["orders.count"],"dimensions":["orders.status"],"ungrouped":true}`, false},
		{"fan-out dimension", `{"measures":["orders.count"],"dimensions":["line_items.sku"]}`, false},
		// Cube holds these: rolling windows are not computed from rollups here, nor distinct values from sketches.
		{"rolling window by day", `{"measures":["orders.last_week"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"day","dateRange":["2024-11-01","2024-11-05"]}]}`, false},
		{"approximate distinct", `{"measures":["orders.users_about"],"dimensions":["orders.status"]}`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan := generate(t, m, context(t, tenant7), tt.query, src.d)
			if got := plan.Rollup != nil; got != tt.hit {
				t.Fatalf("hit = %t, want %t: %v", got, tt.hit, plan.Misses)
			}
			if tt.hit {
				answersAlike(t, src, duck, plan)
			}
		})
	}

	// A range that is not of whole days compares with the starts of days, by design.
	plan := generate(t, m, context(t, tenant7), `{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","dateRange":["2024-11-02T13:00:00","2024-11-04T01:00:00"]}]}`, src.d)
	if plan.Rollup == nil {
		t.Fatalf("an unaligned range is not held: %v", plan.Misses)
	}
	keep(t, duck, plan.Rollup, built(t, src, plan.Rollup))
	want := rows(t, src.db, "SELECT count(*) FROM orders WHERE created_at >= '2024-11-03' AND created_at < '2024-11-05'", nil)
	if got := printed(fetch(t, duck, plan.Rollup.Read)); !slices.Equal(got, want) {
		t.Errorf("an unaligned range counts %q, want those of the days that begin in it, %q", got, want)
	}
}

// Why a rollup does not hold a query, in the words that are told.
func TestWhyARollupMisses(t *testing.T) {
	at := func(more string) string { return `{"measures":["orders.count"],"timeDimensions":[` + more + `]}` }
	filtered := func(member, operator, values string) string {
		return `{"measures":["orders.count"],"filters":[{"member":"orders.` + member + `","operator":"` + operator + `","values":[` + values + `]}]}`
	}
	for _, tt := range []struct {
		name, pre, query, want string
		d                      sqlgen.Dialect // default DuckDB
	}{
		{"a dimension", wide, `{"measures":["orders.count"],"dimensions":["orders.region"]}`, "the dimension orders.region is not in it", nil},
		{"a time as a dimension", wide, `{"dimensions":["orders.created_at"]}`, "the dimension orders.created_at is not in it", nil},
		{"a measure", monthly, `{"measures":["orders.lowest"]}`, "the measure orders.lowest is not in it", nil},
		{"a measure of another", `
      - {name: main, measures: [done]}`, `{"measures":["orders.done_share"]}`, "the measure orders.count, from which orders.done_share is computed, is not in it", nil},
		{"a measure in a filter", monthly, `{"measures":["orders.count"],"dimensions":["orders.status"],"filters":[{"member":"orders.lowest","operator":"gt","values":["1"]}]}`,
			"the filter is on orders.lowest, and the measure orders.lowest is not in it", nil},
		{"a segment", monthly, `{"measures":["orders.count"],"segments":["orders.large"]}`, "the segment orders.large is not in it", nil},
		{"a time dimension", whole, at(`{"dimension":"orders.created_at","granularity":"day"}`), "the time dimension orders.created_at is not in it", nil},
		{"the time dimension of a range", whole, at(`{"dimension":"orders.created_at","dateRange":["2024-01-01","2024-01-31"]}`), "the time dimension orders.created_at is not in it", nil},
		{"a finer granularity", wide, at(`{"dimension":"orders.created_at","granularity":"hour"}`), "orders.created_at is in it by day, from which hour cannot be made", nil},
		{"weeks of months", exactly, `{"measures":["orders.count"],"dimensions":["orders.status","users.country"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"week"}]}`,
			"orders.created_at is in it by month, from which week cannot be made", nil},
		{"months of weeks", `
      - {name: main, measures: [count], time_dimension: created_at, granularity: week}`, at(`{"dimension":"orders.created_at","granularity":"month"}`), "orders.created_at is in it by week, from which month cannot be made", nil},
		{"weeks that begin on Wednesday, of weeks", `
      - {name: main, measures: [count], time_dimension: created_at, granularity: week}`, at(`{"dimension":"orders.created_at","granularity":"midweek"}`), "orders.created_at is in it by week, from which midweek cannot be made", nil},
		{"a fiscal year of years", `
      - {name: main, measures: [count], time_dimension: created_at, granularity: year}`, at(`{"dimension":"orders.created_at","granularity":"fiscal"}`), "orders.created_at is in it by year, from which fiscal cannot be made", nil},
		{"quarters of fiscal years", `
      - {name: main, measures: [count], time_dimension: created_at, granularity: fiscal}`, at(`{"dimension":"orders.created_at","granularity":"quarter"}`), "orders.created_at is in it by fiscal, from which quarter cannot be made", nil},
		{"eight hours of days", wide, at(`{"dimension":"orders.created_at","granularity":"shift"}`), "orders.created_at is in it by day, from which shift cannot be made", nil},
		{"a range within a day, which is not allowed", `
      - {name: main, measures: [count], time_dimension: created_at, granularity: day, allow_non_strict_date_range_match: false}`,
			at(`{"dimension":"orders.created_at","dateRange":["2024-01-01T10:00:00","2024-01-31"]}`),
			"the range of orders.created_at begins or ends within a bucket of its day, and allow_non_strict_date_range_match is false", nil},
		{"a range that begins in an hour that comes twice", `
      - {name: main, measures: [count], time_dimension: created_at, granularity: minute}`,
			strings.Replace(at(`{"dimension":"orders.created_at","dateRange":["2024-11-03T01:30:00","2024-11-30"]}`), `{"m`, `{"timezone":"America/New_York","m`, 1),
			"the range of orders.created_at begins or ends in an hour that the clocks of America/New_York show twice, or skip", nil},
		{"a range that ends in an hour that there is not", `
      - {name: main, measures: [count], time_dimension: created_at, granularity: minute}`,
			strings.Replace(at(`{"dimension":"orders.created_at","dateRange":["2024-03-01","2024-03-10T02:30:00"]}`), `{"m`, `{"timezone":"America/New_York","m`, 1),
			"the range of orders.created_at begins or ends in an hour that the clocks of America/New_York show twice, or skip", nil},
		{"days that begin in an hour that comes twice", wide,
			strings.Replace(at(`{"dimension":"orders.created_at","dateRange":["2010-11-07","2010-11-07"]}`), `{"m`, `{"timezone":"America/St_Johns","m`, 1),
			"the range of orders.created_at begins or ends in an hour that the clocks of America/St_Johns show twice, or skip", nil},
		{"another root", wide, `{"dimensions":["users.country"]}`, "", nil},
		{"a cube that is not joined", monthly, `{"measures":["orders.count"],"dimensions":["users.country"]}`, "the query joins users, and it does not", nil},
		{"a filter", wide, filtered("region", "equals", `"eu"`), "the filter is on orders.region, which is not in it", nil},
		{"a filter on a time", `
      - {name: main, measures: [count], dimensions: [created_at]}`, filtered("created_at", "afterDate", `"2024-01-01"`), "the filter is on orders.created_at, and compares points in time, where it keeps what clocks show", nil},
		{"a filter on what is made of a time", `
      - {name: main, measures: [count], dimensions: [hour]}`, filtered("hour", "equals", `"5"`), "the filter is on orders.hour, which is made of a time: of the time in the zone where it is kept, and not where it is filtered by", nil},
		{"letters beyond ASCII", wide, filtered("status", "contains", `"é"`), "the filter is on orders.status, where the source may take letters for equal that DuckDB does not", nil},
		{"an operator of another type", wide, filtered("big", "gt", `"true"`), "the filter is on orders.big, with an operator that is not one of its type", nil},
		{"more digits than a float has", wide, filtered("amount", "lt", `"0.1234567890123456789"`), "the filter is on orders.amount, and compares a number of more digits than DuckDB does", nil},
		{"a number that is no float", wide, filtered("amount", "equals", `"1e999"`), "the filter is on orders.amount, and compares a number of more digits than DuckDB does", nil},
		{"and of a measure", wide, `{"measures":["orders.count"],"filters":[{"member":"orders.total","operator":"gt","values":["12345678901234567890"]}]}`, "the filter is on orders.total, and compares a number of more digits than DuckDB does", nil},
		{"dates in texts", wide, filtered("status", "beforeDate", `"2024-01-01"`), "the filter is on orders.status, and compares points in time, where it keeps what clocks show", nil},
		{"the filters of a measure", wide, `{"measures":["orders.count"],"filters":[{"member":"orders.done","operator":"measureFilter"}]}`, "the filter is on orders.done, with an operator that is not one of its type", nil},
		{"a measure beside a text", wide, `{"measures":["orders.count"],"dimensions":["orders.kind"],"filters":[{"member":"orders.total","operator":"contains","values":["1"]}]}`, "the filter is on orders.total, and compares what is no number", nil},
		{"joins of the query that repeat rows", wide, `{"measures":["orders.count"],"dimensions":["line_items.sku"]}`, "the joins of the query repeat rows of orders, from which orders.count is computed", nil},
		{"joins of the rollup that repeat rows", `
      - {name: main, measures: [count, line_items.qty], dimensions: [line_items.sku, kind]}`, `{"measures":["orders.count"],"dimensions":["orders.kind"]}`, "its joins repeat rows of orders, from which orders.count is computed", nil},
		{"a rolling window", wide, `{"measures":["orders.last_week"]}`, "orders.last_week has a rolling window, which is computed from the source", nil},
		{"a sub-query", wide, `{"measures":["orders.count"],"dimensions":["users.orders_count"]}`, "users.orders_count is a sub-query, which is computed from the source", nil},
		{"a sub-query in it", `
      - {name: main, measures: [count], dimensions: [users.orders_count]}`, `{"measures":["orders.count"]}`, "it cannot be built: users.orders_count is a sub-query", nil},
		{"times made of buckets in it", `
      - {name: main, measures: [count], time_dimension: quarter, granularity: month}`, `{"measures":["orders.count"]}`, "it cannot be built: orders.quarter is made of buckets of another time dimension", nil},
		{"nothing in it", `
      - {name: main}`, `{"measures":["orders.count"]}`, "it cannot be built: nothing is in it", nil},
		{"ungrouped", wide, `{"measures":["orders.count"],"ungrouped":true}`, "the query is ungrouped", nil},
		{"what is no sum, by fewer dimensions", exactly, `{"measures":["orders.users"],"dimensions":["orders.status","users.country"]}`, "orders.users cannot be added up, and it is grouped by orders.created_at by month, which the query is not", nil},
		{"what is no sum, without a segment of it", whole, `{"measures":["orders.average"],"dimensions":["orders.status","orders.kind"]}`, "orders.average cannot be added up, and it is grouped by orders.large, which the query is not", nil},
		{"what is no sum, of two values", whole, `{"measures":["orders.users"],"dimensions":["orders.kind"],"segments":["orders.large"],"filters":[{"member":"orders.status","operator":"equals","values":["done","open"]}]}`,
			"orders.users cannot be added up, and it is grouped by orders.status, which the query is not", nil},
		{"what is no sum, in partitions that part its groups", `
      - {name: main, measures: [users], time_dimension: created_at, granularity: week, partition_granularity: month}`,
			`{"measures":["orders.users"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"week"}]}`, "orders.users cannot be added up, and a week of it may be in several partitions", nil},
		{"SQL of the source, by fewer dimensions", whole, `{"measures":["orders.rounded"]}`, "orders.rounded cannot be added up, and it is grouped by orders.status, which the query is not", nil},
		{"SQL of the source, of no rows", `
      - {name: main, measures: [spread]}`, `{"measures":["orders.spread"]}`, "what orders.spread is of no rows is only known to the source", nil},
		{"a quotient that may be whole", monthly, `{"measures":["orders.each"]}`, "the measure orders.each is not in it", sqlgen.Postgres{}},
		{"a quotient that is rounded", monthly, `{"measures":["orders.done_share"]}`, "the measure orders.done_share is not in it", sqlgen.Snowflake{}},
		{"texts in the order of a language", wide, filtered("status", "lt", `"x"`), "the filter is on orders.status, where texts have another order in the source than in DuckDB", sqlgen.Postgres{}},
		{"a page cut in that order", wide, `{"dimensions":["orders.status"],"limit":2}`, "the page is cut in the order of orders.status, and texts have another order in the source than in DuckDB", sqlgen.Postgres{}},
		{"texts that are equal in the source alone", wide, filtered("status", "equals", `"done"`), "the filter is on orders.status, where the source takes texts for equal that DuckDB does not", sqlgen.MySQL{}},
		{"patterns, there", wide, filtered("status", "contains", `"done"`), "the filter is on orders.status, where the source may take letters for equal that DuckDB does not", sqlgen.MySQL{}},
		{"groups of such texts", wide, `{"measures":["orders.count"],"dimensions":["orders.status"]}`,
			"texts of orders.status that are equal in the source may be apart in it, and it is grouped by orders.kind, which the query is not", sqlgen.MySQL{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.d == nil {
				tt.d = sqlgen.DuckDB{}
			}
			plan := generate(t, rolledModel(t, tt.pre, "", ""), context(t, tenant7), tt.query, tt.d)
			if tt.want == "" {
				if plan.Rollup == nil || plan.Rollup.Name != "users.by_country" || len(plan.Misses) > 0 {
					t.Errorf("a query of users alone is held by %v, want its own rollup; %v", plan.Rollup, plan.Misses)
				}
				return
			}
			want := sqlgen.Miss{Rollup: "orders.main", Why: tt.want}
			if plan.Rollup != nil || len(plan.Misses) == 0 || plan.Misses[0] != want {
				t.Errorf("rollup %v, misses %v\nwant %v", plan.Rollup, plan.Misses, want)
			}
		})
	}
}

// MySQL takes texts for equal that differ, so that only groups as they are can be read: these, and what has no texts.
func TestTextsThatAreEqualInTheSourceAlone(t *testing.T) {
	const pre = `
      - {name: main, measures: [count], dimensions: [status, big]}`
	m := rolledModel(t, pre, "", "")
	for _, q := range []string{`{"measures":["orders.count"],"dimensions":["orders.status","orders.big"]}`, `{"measures":["orders.count"],"dimensions":["orders.big"]}`,
		`{"measures":["orders.count"],"dimensions":["orders.big"],"filters":[{"member":"orders.status","operator":"set"}]}`} {
		if plan := generate(t, m, context(t, tenant7), q, sqlgen.MySQL{}); plan.Rollup == nil {
			t.Errorf("%s is not held: %v", q, plan.Misses)
		}
	}
}

// The first that holds a query is taken: of the cubes of its joins from the root on, in the order of the model.
func TestTheFirstRollupThatHoldsAQueryIsTaken(t *testing.T) {
	m := rolledModel(t, `
      - {name: raw, type: original_sql}
      - {name: narrow, measures: [count], dimensions: [kind]}
      - {name: first, measures: [count], dimensions: [status, users.country]}
      - {name: second, measures: [count], dimensions: [status, users.country, kind]}`, "", "")
	plan := generate(t, m, context(t, tenant7), `{"measures":["orders.count"],"dimensions":["users.country"]}`, sqlgen.DuckDB{})
	if plan.Rollup == nil || plan.Rollup.Name != "orders.first" || fmt.Sprint(plan.Misses) != "[{orders.narrow the query joins users, and it does not}]" {
		t.Errorf("rollup %v, misses %v", plan.Rollup, plan.Misses)
	}
}

// A cube that is reached in another way has other rows.
func TestARollupHasTheJoinsOfTheQuery(t *testing.T) {
	m, err := datamodel.Load(fstest.MapFS{"m.yml": {Data: []byte(`
cubes:
  - name: orders
    sql_table: orders
    joins: [{name: users, relationship: many_to_one, sql: "{CUBE}.user_id = {users}.id"}, {name: shops, relationship: many_to_one, sql: "{CUBE}.kind = {shops}.kind"}]
    dimensions: [{name: id, sql: id, type: number, primary_key: true}]
    measures: [{name: count, type: count}]
    pre_aggregations:
      - {name: near, measures: [count], dimensions: [users.country]}
      - {name: far, measures: [count], dimensions: [orders.shops.users.country]}
  - name: shops
    sql_table: shops
    joins: [{name: users, relationship: many_to_one, sql: "{CUBE}.owner_id = {users}.id"}]
    dimensions: [{name: name, sql: name, type: string}]
  - name: users
    sql_table: users
    dimensions: [{name: country, sql: country, type: string}]
views:
  - {name: buyers, cubes: [{join_path: orders, includes: [count]}, {join_path: orders.users, includes: [country]}]}
  - {name: owners, cubes: [{join_path: orders, includes: [count]}, {join_path: orders.shops.users, includes: [country]}]}
`)}})
	if err != nil {
		t.Fatal(err)
	}
	for view, want := range map[string]string{
		"buyers": "orders.near []", "owners": "orders.far [{orders.near the query joins shops, and it does not}]",
	} {
		plan := generate(t, m, context(t, "{}"), `{"measures":["`+view+`.count"],"dimensions":["`+view+`.country"]}`, sqlgen.DuckDB{})
		if plan.Rollup == nil || fmt.Sprint(plan.Rollup.Name, " ", plan.Misses) != want {
			t.Errorf("%s is held by %v, %v, want %s", view, plan.Rollup, plan.Misses, want)
		}
	}
	plan := generate(t, rolledModel(t, `
      - {name: main, measures: [count], dimensions: [users.country, users.vip]}`, "", ""), context(t, tenant7), `{"measures":["users.count"],"dimensions":["users.country"]}`, sqlgen.DuckDB{})
	if plan.Rollup == nil || plan.Rollup.Name != "users.by_country" {
		t.Errorf("a query of users is held by %v", plan.Rollup)
	}
}

// A rollup of users may begin at the orders of these: users without orders are not in it, and those of two are there twice.
func TestARollupHasTheRootOfTheQuery(t *testing.T) {
	m, err := datamodel.Load(fstest.MapFS{"m.yml": {Data: []byte(`
cubes:
  - name: users
    sql_table: users
    dimensions: [{name: id, sql: id, type: number, primary_key: true}, {name: country, sql: country, type: string}]
    measures: [{name: count, type: count}]
    pre_aggregations:
      - {name: of_orders, measures: [orders.count], dimensions: [country]}
      - {name: own, dimensions: [country], measures: [count]}
  - name: orders
    sql_table: orders
    joins: [{name: users, relationship: many_to_one, sql: "{CUBE}.user_id = {users}.id"}]
    dimensions: [{name: id, sql: id, type: number, primary_key: true}]
    measures: [{name: count, type: count}]
`)}})
	if err != nil {
		t.Fatal(err)
	}
	const fill = "INSERT INTO users VALUES (1, 7, 'DE', 1, true, 1), (2, 7, 'FR', 1, true, 1); INSERT INTO orders (id, user_id) VALUES (1, 1), (2, 1)"
	src := source{"duckdb", sqlgen.DuckDB{}, openDuckDB(t, fill)}
	for query, want := range map[string]string{
		`{"dimensions":["users.country"]}`:                             "users.own [{users.of_orders its joins begin at orders, and those of the query at users}]",
		`{"measures":["users.count"]}`:                                 "users.own [{users.of_orders its joins begin at orders, and those of the query at users}]",
		`{"measures":["orders.count"],"dimensions":["users.country"]}`: "users.of_orders []",
	} {
		plan := generate(t, m, context(t, "{}"), query, src.d)
		if plan.Rollup == nil || fmt.Sprint(plan.Rollup.Name, " ", plan.Misses) != want {
			t.Errorf("%s is held by %v, %v, want %s", query, plan.Rollup, plan.Misses, want)
			continue
		}
		answersAlike(t, src, openDuckDB(t, ""), plan)
	}
}

const euOnly = `row_level: {filters: [{member: region, operator: equals, values: [eu]}]}`

// Policies and row rules hold where a rollup is read, and what it is built of is the same for everybody.
func TestPoliciesHoldWhereARollupIsRead(t *testing.T) {
	const pre = `
      - {name: main, measures: [count, total], dimensions: [region, kind, status, users.country]}`
	fill := seed + moreOrders(rand.New(rand.NewPCG(5, 6)), 100)
	duck, src := openDuckDB(t, ""), source{"duckdb", sqlgen.DuckDB{}, openDuckDB(t, fill)}
	claims := map[string]any{"tenant_id": int64(7), "regions": []any{"eu"}}
	open := generate(t, rolledModel(t, pre, "", ""), caller(nil, claims), `{"measures":["orders.count"]}`, src.d)
	for _, tt := range []struct {
		name, pre, policy, more, query string
		miss                           string
	}{
		{"a filter on rows", pre, `access_policy: [{group: "*", ` + euOnly + `}]`, "", `{"measures":["orders.count","orders.total"],"dimensions":["orders.kind"]}`, ""},
		{"two policies", pre, `access_policy: [{group: "*", ` + euOnly + `}, {group: "*", row_level: {filters: [{member: kind, operator: notEquals, values: [a]}, {member: status, operator: set}]}}]`, "",
			`{"measures":["orders.count"],"dimensions":["orders.status"]}`, ""},
		{"a claim", pre, `access_policy: [{group: "*", row_level: {filters: [{member: region, operator: equals, values: securityContext.regions}]}}]`, "", `{"measures":["orders.count"]}`, ""},
		{"a filter on a joined cube", pre, `access_policy: [{group: "*", row_level: {filters: [{member: users.country, operator: equals, values: [DE]}]}}]`, "", `{"measures":["orders.count"]}`, ""},
		{"a key that nothing grants", pre, `access_policy: [{group: "*", member_level: {includes: [count, kind]}}]`, "", `{"measures":["orders.count"]}`, ""},
		{"a row rule", pre, "", "row_rules:\n  - {cubes: [orders], filter: {member: orders.region, operator: equals, values: [\"{context.regions}\"]} }\n", `{"measures":["orders.total"],"dimensions":["orders.region"]}`, ""},
		{"a row rule of a joined cube", pre, "", "row_rules:\n  - {cubes: [users], filter: {member: users.country, operator: set} }\n", `{"measures":["orders.total"],"dimensions":["users.country"]}`, ""},
		{"a row rule without its claim", pre, "", "row_rules:\n  - {cubes: [orders], filter: {member: orders.region, operator: equals, values: [\"{context.none}\"]} }\n", `{"measures":["orders.count"]}`, ""},
		{"a filter on what is not in it", `
      - {name: main, measures: [count], dimensions: [kind]}`, `access_policy: [{group: "*", ` + euOnly + `}]`, "", `{"measures":["orders.count"],"dimensions":["orders.kind"]}`,
			"a policy or a row rule is on orders.region, which is not in it"},
		{"a row rule on a cube that is not joined in it", `
      - {name: main, measures: [count], dimensions: [kind]}`, `access_policy: [{group: "*", row_level: {filters: [{member: users.country, operator: set}]}}]`, "", `{"measures":["orders.count"],"dimensions":["orders.kind"]}`,
			"the query joins users, and it does not"},
		{"a mask", pre, `access_policy: [{group: "*", member_level: {includes: "*"}, member_masking: {includes: [status]}}]`, "", `{"measures":["orders.count"],"dimensions":["orders.status"]}`,
			"the caller sees a mask of orders.status"},
		{"a mask of a measure", pre, `access_policy: [{group: "*", member_level: {includes: "*"}, member_masking: {includes: [total]}}]`, "", `{"measures":["orders.total"]}`, "the caller sees a mask of orders.total"},
		{"a mask under a condition", pre, `access_policy: [{group: "*", member_level: {includes: [count, id]}, member_masking: {includes: [status]}}, {group: "*", ` + euOnly + `}]`, "", `{"measures":["orders.count"],"dimensions":["orders.status"]}`,
			"the caller sees a mask of orders.status"},
		{"a masked filter", pre, `access_policy: [{group: "*", member_level: {includes: "*"}, member_masking: {includes: [status]}}]`, "", `{"measures":["orders.count"],"filters":[{"member":"orders.status","operator":"equals","values":["done"]}]}`,
			"the caller sees a mask of orders.status"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan := generate(t, rolledModel(t, tt.pre, tt.policy, tt.more), caller(nil, claims), tt.query, src.d)
			if tt.miss != "" {
				if plan.Rollup != nil || len(plan.Misses) == 0 || plan.Misses[0].Why != tt.miss {
					t.Errorf("rollup %v, misses %v, want %s", plan.Rollup, plan.Misses, tt.miss)
				}
				return
			}
			if plan.Rollup == nil {
				t.Fatalf("no rollup holds it: %v", plan.Misses)
			}
			answersAlike(t, src, duck, plan)
			if plan.Rollup.Structure != open.Rollup.Structure {
				build, _ := plan.Rollup.Build(nil)
				t.Errorf("a policy changes what the rollup is built of: %s", build.SQL)
			}
		})
	}
}

// What the rows of a rollup depend on is in its structure: claims in the SQL of a cube, the zone, the partitions.
func TestTheStructureOfARollup(t *testing.T) {
	q := `{"measures":["orders.count"],"dimensions":["users.country"]}`
	of := func(pre, claims, q string, d sqlgen.Dialect) [32]byte {
		plan := generate(t, rolledModel(t, pre, "", ""), context(t, claims), q, d)
		if plan.Rollup == nil {
			t.Fatal(plan.Misses)
		}
		return plan.Rollup.Structure
	}
	first := of(wide, tenant7, q, sqlgen.DuckDB{})
	if of(wide, tenant7, `{"measures":["orders.total"],"dimensions":["orders.kind"],"filters":[{"member":"orders.status","operator":"equals","values":["x"]}]}`, sqlgen.DuckDB{}) != first {
		t.Error("two queries of one rollup have it in two structures")
	}
	if of(whole, tenant7, `{"dimensions":["orders.kind"]}`, sqlgen.DuckDB{}) != of(whole, tenant7, `{"dimensions":["orders.kind"],"timezone":"Europe/Berlin"}`, sqlgen.DuckDB{}) {
		t.Error("a rollup without times is another one in another zone")
	}
	seen := map[[32]byte]string{first: "the first"}
	for name, other := range map[string][32]byte{
		"another claim":          of(wide, `{"tenant_id": 8}`, q, sqlgen.DuckDB{}),
		"a claim that is a text": of(wide, `{"tenant_id": "7"}`, q, sqlgen.DuckDB{}),
		"another zone":           of(wide, tenant7, `{"timezone":"Europe/Berlin",`+q[1:], sqlgen.DuckDB{}),
		"another source":         of(wide, tenant7, q, sqlgen.Postgres{}),
		"another measure":        of(strings.Replace(wide, "total, ", "", 1), tenant7, q, sqlgen.DuckDB{}),
		"partitions":             of(strings.Replace(wide, "granularity: day", "granularity: day, partition_granularity: month", 1), tenant7, q, sqlgen.DuckDB{}),
		"other partitions":       of(strings.Replace(wide, "granularity: day", "granularity: day, partition_granularity: year", 1), tenant7, q, sqlgen.DuckDB{}),
	} {
		if had, ok := seen[other]; ok {
			t.Errorf("%s has the structure of %s", name, had)
		}
		seen[other] = name
	}
}

// Every row is in exactly one partition, whatever the clocks did, and a query reads those of its range alone. In St. John's they
// went back over a midnight, so that a day has moments after the next one began.
func TestPartitionsHoldEveryRowOnce(t *testing.T) {
	const fill = `INSERT INTO orders SELECT i, i, 'done', 1, CASE WHEN i > 9 THEN timestamp '2010-11-06 22:00:00' + interval '7 minutes' * i END, 'a', 'eu' FROM generate_series(0, 400) AS s(i);
		INSERT INTO orders VALUES (500, 1, 'done', 1, '2010-11-07 23:59:59.9997', 'a', 'eu')`
	duck := openDuckDB(t, "")
	for _, src := range openSources(t, fill) {
		for _, partition := range []string{"hour", "day", "week", "month", "quarter", "year"} {
			m := rolledModel(t, `
      - {name: main, measures: [count, users], time_dimension: created_at, granularity: day, partition_granularity: `+partition+`}`, "", "")
			for _, zone := range []string{"UTC", "America/St_Johns", "America/New_York", "Asia/Kolkata"} {
				for _, more := range []string{"", `,"granularity":"day"`, `,"dateRange":["2010-11-06","2010-11-06"]`, `,"granularity":"week","dateRange":["2010-11-08","2010-11-14"]`} {
					times := ""
					if more != "" {
						times = `{"dimension":"orders.created_at"` + more + `}`
					}
					plan := generate(t, m, context(t, tenant7), `{"measures":["orders.count"],"timezone":"`+zone+`","timeDimensions":[`+times+`]}`, src.d)
					if plan.Rollup != nil {
						answersAlike(t, src, duck, plan)
					} else if zone != "America/St_Johns" {
						t.Errorf("in %s: %v", zone, plan.Misses)
					}
				}
				// A day is in one partition: its users are no sum of those of two.
				plan := generate(t, m, context(t, tenant7), `{"measures":["orders.users"],"timezone":"`+zone+`","timeDimensions":[{"dimension":"orders.created_at","granularity":"day"}]}`, src.d)
				switch held := partition != "hour"; {
				case held != (plan.Rollup != nil):
					t.Errorf("users of days in partitions of a %s: %v, %v", partition, plan.Rollup, plan.Misses)
				case held:
					answersAlike(t, src, duck, plan)
				}
			}
		}
	}
}

func TestSpans(t *testing.T) {
	of := func(granularity, partition, query string) *sqlgen.Rollup {
		plan := generate(t, rolledModel(t, `
      - {name: main, measures: [count], time_dimension: created_at, granularity: `+granularity+`, partition_granularity: `+partition+`}`, "", ""), context(t, tenant7), query, sqlgen.DuckDB{})
		if plan.Rollup == nil {
			t.Fatal(plan.Misses)
		}
		return plan.Rollup
	}
	at := func(s string) time.Time {
		if s == "" {
			return time.Time{}
		}
		when, err := time.Parse("2006-01-02T15:04:05", s)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	ranged := func(from, to string) string {
		return `{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","dateRange":["` + from + `","` + to + `"]}]}`
	}
	const all = `{"measures":["orders.count"]}`
	for _, tt := range []struct{ granularity, partition, query, from, to, want string }{
		{"day", "month", all, "2024-01-31T23:59:59", "2024-03-01T00:00:00", "20240101 20240201 20240301 undated"},
		{"day", "day", all, "2024-02-28T10:00:00", "2024-03-01T00:00:00", "20240228 20240229 20240301 undated"},
		{"hour", "hour", all, "2024-02-28T22:10:00", "2024-02-29T00:00:00", "2024022822 2024022823 2024022900 undated"},
		{"day", "week", all, "2024-01-01T00:00:00", "2024-01-08T00:00:00", "20240101 20240108 undated"},
		{"day", "quarter", all, "2023-12-31T00:00:00", "2024-04-01T00:00:00", "20231001 20240101 20240401 undated"},
		{"day", "year", all, "1999-12-31T00:00:00", "2000-01-01T00:00:00", "19990101 20000101 undated"},
		{"day", "month", all, "", "", "undated"},
		{"day", "month", ranged("2024-02-10", "2024-02-20"), "2023-01-01T00:00:00", "2025-01-01T00:00:00", "20240201"},
		{"day", "month", ranged("2024-02-10", "2024-02-29"), "2024-02-15T00:00:00", "2025-01-01T00:00:00", "20240201"},
		{"day", "month", ranged("2022-02-10", "2022-02-20"), "2023-01-01T00:00:00", "2025-01-01T00:00:00", ""},
		{"week", "day", ranged("2024-01-01", "2024-01-02"), "2023-01-01T00:00:00", "2025-01-01T00:00:00", "20240101 20240102 20240103 20240104 20240105 20240106 20240107"},
		{"day", "month", ranged("2024-02-20", "2024-02-10"), "2023-01-01T00:00:00", "2025-01-01T00:00:00", ""},
		{"day", "month", ranged("2024-02-10", "2024-02-20"), "", "", ""},
	} {
		spans, err := of(tt.granularity, tt.partition, tt.query).Spans(at(tt.from), at(tt.to))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for i, s := range spans {
			names = append(names, s.Name)
			if i > 0 && s.Name != "undated" && !s.From.Equal(spans[i-1].To) {
				t.Errorf("%+v does not follow %+v", s, spans[i-1])
			}
		}
		if got := strings.Join(names, " "); got != tt.want {
			t.Errorf("%s of %s from %s to %s: %s, want %s", tt.partition, tt.granularity, tt.from, tt.to, got, tt.want)
		}
	}
	if _, err := of("hour", "hour", all).Spans(at("2000-01-01T00:00:00"), at("2024-01-01T00:00:00")); err == nil || !strings.Contains(err.Error(), "more than 10000 partitions") {
		t.Errorf("two hundred thousand partitions: %v", err)
	}
	if _, err := of("day", "month", all).Build(nil); err != nil {
		t.Error(err)
	}
	plan := generate(t, rolledModel(t, whole, "", ""), context(t, tenant7), `{"dimensions":["orders.kind"]}`, sqlgen.DuckDB{})
	if _, err := plan.Rollup.Build(&sqlgen.Span{}); err == nil || !strings.Contains(err.Error(), "orders.main has no partitions") {
		t.Errorf("a partition of one table: %v", err)
	}
}

// Where the model says how far partitions reach, what a query is about may lie beyond.
func TestWhatPartitionsCover(t *testing.T) {
	const built = "build_range_start: {sql: \"SELECT TIMESTAMP '2024-02-10 00:00:00'\"}, build_range_end: {sql: \"SELECT TIMESTAMP '2024-03-05 00:00:00'\"}"
	src := source{"duckdb", sqlgen.DuckDB{}, openDuckDB(t, seed)}
	for _, tt := range []struct {
		more, ranged, zone string
		want               bool
	}{
		{"", "", "UTC", true},
		{built, "", "UTC", false},
		{built, `"2024-02-01","2024-03-31"`, "UTC", true},
		{built, `"2024-01-31","2024-03-31"`, "UTC", false},
		{built, `"2024-02-01","2024-04-01"`, "UTC", false},
		{built, `"2024-02-01","2024-03-31"`, "America/New_York", true},
		{"build_range_start: {sql: \"SELECT TIMESTAMP '2024-03-01 00:00:00'\"}", `"2024-02-01","2028-03-31"`, "America/New_York", true}, // the evening before, there
		{"build_range_start: {sql: \"SELECT TIMESTAMP '2024-03-01 00:00:00'\"}", `"2024-02-01","2028-03-31"`, "UTC", false},
		{"build_range_end: {sql: \"SELECT CAST(NULL AS TIMESTAMP)\"}", `"2024-02-01","2024-03-31"`, "UTC", false},
	} {
		pre := "[{name: main, measures: [count], time_dimension: created_at, granularity: day, partition_granularity: month, " + tt.more + "}]"
		q := `{"measures":["orders.count"],"timezone":"` + tt.zone + `","timeDimensions":[{"dimension":"orders.created_at","dateRange":[` + tt.ranged + `]}]}`
		if tt.ranged == "" {
			q = `{"measures":["orders.count"]}`
		}
		r := generate(t, rolledModel(t, strings.Replace(pre, ", }", "}", 1), "", ""), context(t, tenant7), q, src.d).Rollup
		from, to := reach(t, src, r)
		if got := r.Covers(from, to); got != tt.want {
			t.Errorf("%s %s in %s: Covers(%s, %s) = %t", tt.more, tt.ranged, tt.zone, from, to, got)
		}
	}
}

func TestTheAgeOfARollup(t *testing.T) {
	at := func(s string) time.Time {
		when, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	moment := at("2024-03-10T12:30:00Z")
	for _, tt := range []struct{ key, zone, span, want string }{
		{"", "UTC", "", "2024-03-10T12:00:00Z"},
		{"refresh_key: {every: 1 day}", "America/New_York", "", "2024-03-10T05:00:00Z"},
		{"refresh_key: {immutable: true}", "UTC", "", "never"},
		{"refresh_key: {sql: \"SELECT MAX(id) FROM {CUBE.sql()}\", every: 5 minutes}", "UTC", "", "SELECT MAX(id) FROM (SELECT * FROM orders) 5m0s pre-aggregation orders.main"},
		{"refresh_key: {every: 1 hour, incremental: true}", "UTC", "2024-02-01", "2024-03-01T00:00:00Z"},
		{"refresh_key: {every: 1 hour, incremental: true}", "UTC", "2024-03-01", "2024-03-10T12:00:00Z"},
		{"refresh_key: {every: 1 hour, incremental: true, update_window: 9 day}", "UTC", "2024-02-01", "2024-03-10T00:00:00Z"},
		{"refresh_key: {every: 1 hour, incremental: true, update_window: 10 day}", "UTC", "2024-02-01", "2024-03-10T12:00:00Z"},
		{"refresh_key: {every: 1 hour, incremental: true, update_window: 9 day}", "America/New_York", "2024-02-01", "2024-03-10T05:00:00Z"},
		{"refresh_key: {sql: SELECT 1, incremental: true}", "UTC", "2024-02-01", "2024-03-01T00:00:00Z"},
		{"refresh_key: {sql: SELECT 1, incremental: true}", "UTC", "undated", "SELECT 1 10s pre-aggregation orders.main"},
		{"refresh_key: {every: 1 hour}", "UTC", "2024-02-01", "2024-03-10T12:00:00Z"},
	} {
		pre := strings.Replace("[{name: main, measures: [count], time_dimension: created_at, granularity: day, partition_granularity: month, "+tt.key+"}]", ", }", "}", 1)
		r := generate(t, rolledModel(t, pre, "", ""), context(t, tenant7), `{"measures":["orders.count"],"timezone":"`+tt.zone+`"}`, sqlgen.DuckDB{}).Rollup
		var span *sqlgen.Span
		switch {
		case tt.span == "undated":
			span = &sqlgen.Span{Name: tt.span}
		case tt.span != "":
			from := at(tt.span + "T00:00:00Z")
			span = &sqlgen.Span{From: from, To: from.AddDate(0, 1, 0)}
		}
		age, got := r.Age(span, moment), "never"
		switch {
		case age.Key != nil:
			of, at, _ := strings.Cut(age.Key.Of, " (")
			if !strings.HasPrefix(at, "shop.yml:") {
				t.Errorf("the key is of %q, want its place", age.Key.Of)
			}
			got = fmt.Sprintf("%s %s %s", age.Key.SQL, age.Key.Every, of)
		case !age.Since.IsZero():
			got = age.Since.UTC().Format(time.RFC3339)
		}
		if got != tt.want {
			t.Errorf("%s in %s, %s: %s, want %s", tt.key, tt.zone, tt.span, got, tt.want)
		}
	}
}

// A filter that FILTER_PARAMS puts into the SQL of a cube may change more than it leaves out, unless that takes rows as they are.
func TestFiltersInTheSQLOfARolledUpCube(t *testing.T) {
	const params = "{FILTER_PARAMS.orders.status.filter('status')}"
	for _, tt := range []struct {
		sql  string
		held bool
	}{
		{"SELECT * FROM orders WHERE " + params, true},
		{"select * from orders AS o where ({FILTER_PARAMS.orders.status.filter('o.status')}) AND NOT o.id IS NULL", true},
		{"SELECT * FROM orders WHERE id > 0 AND {FILTER_GROUP(FILTER_PARAMS.orders.status.filter('status'), FILTER_PARAMS.orders.kind.filter('kind'))}", true},
		{"SELECT * FROM orders WHERE {SECURITY_CONTEXT.tenant_id.filter('7')} AND " + params, true},
		{"SELECT * FROM orders WHERE {FILTER_PARAMS.orders.status.filter('kind')}", false},
		{"SELECT * FROM orders WHERE NOT (id > 3 AND " + params + ")", false},
		{"SELECT * FROM orders WHERE id > 3 OR " + params, false},
		{"SELECT * FROM orders WHERE NOT " + params, false},
		{"SELECT * FROM orders WHERE " + params + " ORDER BY id LIMIT 3", false},
		{"SELECT * FROM orders WHERE id IN (SELECT MAX(id) FROM orders WHERE " + params + ")", false},
		{"SELECT 'x' AS status, kind, id FROM orders WHERE " + params, false},
		{"SELECT DISTINCT ON (kind) * FROM orders WHERE " + params, false},
		{"SELECT MAX(id) AS id, status, kind FROM orders WHERE " + params + " GROUP BY 2, 3", false},
		{"SELECT * FROM orders WHERE {FILTER_PARAMS.orders.status.filter(lambda s: f'status = {s}')}", false},
	} {
		m, err := datamodel.Load(fstest.MapFS{"m.yml": {Data: []byte(`
cubes:
  - name: orders
    sql: "` + tt.sql + `"
    dimensions: [{name: id, sql: id, type: number, primary_key: true}, {name: status, sql: status, type: string}, {name: kind, sql: kind, type: string}]
    measures: [{name: count, type: count}]
    pre_aggregations: [{name: main, measures: [count], dimensions: [status, kind]}]
`)}})
		if err != nil {
			t.Fatal(err)
		}
		filtered := generate(t, m, context(t, tenant7), `{"measures":["orders.count"],"filters":[{"member":"orders.status","operator":"equals","values":["done"]}]}`, sqlgen.DuckDB{})
		if held := filtered.Rollup != nil; held != tt.held {
			t.Errorf("%s\nis held: %t, %v", tt.sql, held, filtered.Misses)
		}
		if !tt.held && (len(filtered.Misses) != 1 || filtered.Misses[0].Why != "the sql of orders takes filters of the query through FILTER_PARAMS, and may make other rows of them") {
			t.Errorf("%s\nmisses %v", tt.sql, filtered.Misses)
		}
		other := generate(t, m, context(t, tenant7), `{"measures":["orders.count"],"dimensions":["orders.kind"]}`, sqlgen.DuckDB{})
		if other.Rollup == nil {
			t.Errorf("%s\nwithout a filter it is not held: %v", tt.sql, other.Misses)
			continue
		}
		if build, err := other.Rollup.Build(nil); err != nil || strings.Contains(build.SQL, "done") {
			t.Errorf("it is built by %s, %v", build.SQL, err)
		}
	}
}

// Which SQL of a measure is computed in DuckDB, from its sums, and how.
func TestArithmeticOfMeasures(t *testing.T) {
	const n, d = `CAST(COALESCE(sum("orders__main"."orders__count"), 0) AS BIGINT)`, `CAST(COALESCE(sum("orders__main"."orders__done"), 0) AS BIGINT)`
	const s = `sum("orders__main"."orders__total")`
	for _, tt := range []struct {
		sql, want string         // "" where its value is kept
		d         sqlgen.Dialect // default Postgres
	}{
		{"{count}", n, nil},
		{"{count} + {done} - 1", "((" + n + " + " + d + ") - 1)", nil},
		{"-{count}*(2+{done})", "((-" + n + ") * (2 + " + d + "))", nil},
		{"1.0 * {done} / NULLIF({count}, 0)", "((1.0 * " + d + ") / NULLIF(NULLIF(" + n + ", 0), 0))", nil},
		{"{done} / {count}", "(" + d + " // NULLIF(" + n + ", 0))", nil},
		{"{done} / {count}", "(" + d + " / NULLIF(" + n + ", 0))", sqlgen.Databricks{}},
		{"{done} / {count}", "(" + d + " / " + n + ")", sqlgen.DuckDB{}},
		{"{done} / {count}", "", sqlgen.Snowflake{}},
		{"{done} / {count}", "", sqlgen.MySQL{}},
		{"{done} - {count}", "(" + d + " - " + n + ")", sqlgen.MySQL{}},
		{"{total} / {count}", "", nil},
		{"{total}::float / {count}", "(CAST(" + s + " AS DOUBLE) / NULLIF(" + n + ", 0))", nil},
		{"{total}::NUMERIC / {count}", "(" + s + " / NULLIF(" + n + ", 0))", nil},
		{"{total}::numeric(10, 2)", "", nil},
		{"{total}::float", "", sqlgen.DuckDB{}},
		{"CAST({total} AS double precision) * 2", "(CAST(" + s + " AS DOUBLE) * 2)", nil},
		{"{total} * 1e3 + .5", "((" + s + " * 1E3) + .5)", nil},
		{"case when {count} > 0 then {total} end", "CASE WHEN (" + n + " > 0) THEN " + s + " END", nil},
		{"CASE WHEN {count} = 0 OR {total} IS NOT NULL AND NOT {done} <> 2 THEN NULL ELSE ABS({total}) END",
			"CASE WHEN ((" + n + " = 0) OR ((" + s + " IS NOT NULL) AND (NOT (" + d + " <> 2)))) THEN NULL ELSE ABS(" + s + ") END", nil},
		{"CASE WHEN ({count} > 0 AND ({done}) < 5) THEN 1 ELSE 0 END", "CASE WHEN ((" + n + " > 0) AND (" + d + " < 5)) THEN 1 ELSE 0 END", nil},
		{"COALESCE({total}, {count}, 0)", "COALESCE(" + s + ", " + n + ", 0)", nil},
		{"CASE WHEN 1.0 * {done} / {count} > 0.3 THEN 1 END", "", nil}, // its last digits may decide
		{"NULLIF(1.0 * {done} / {count}, 0.5)", "", nil},
		{"CASE {count} WHEN 1 THEN 2 END", "", nil},
		{"ROUND({total}, 2)", "", nil},
		{"{total} % 2", "", nil},
		{"{total} || 'x'", "", nil},
		{"{total} -- a comment", "", nil},
		{"{total} + SUM(amount)", "", nil},
		{"{total} + {CUBE}.amount", "", nil},
		{"({total}", "", nil},
		{"{total})", "", nil},
		{"{total} {count}", "", nil},
		{"GREATEST({total}, 1)", "", nil},
		{"{total} / /* */ 1", "", nil},
		{"CASE WHEN {count} BETWEEN 1 AND 2 THEN 3 END", "", nil},
		{"{total}::", "", nil},
		{"{total}::numeric()", "", nil},
		{"COALESCE()", "", nil},
		{"NULLIF({total}, {count}) * ABS({done})", "(NULLIF(" + s + ", " + n + ") * ABS(" + d + "))", sqlgen.MySQL{}},
		{"{SECURITY_CONTEXT.tenant_id} * {count}", "", nil},
	} {
		if tt.d == nil {
			tt.d = sqlgen.Postgres{}
		}
		m, err := datamodel.Load(fstest.MapFS{"m.yml": {Data: []byte(`
cubes:
  - name: orders
    sql_table: orders
    dimensions: [{name: id, sql: id, type: number, primary_key: true}, {name: kind, sql: kind, type: string}]
    measures: [{name: count, type: count}, {name: done, type: count, sql: done}, {name: total, type: sum, sql: amount}, {name: made, type: number, sql: "` + tt.sql + `"}]
    pre_aggregations: [{name: main, measures: [count, done, total], dimensions: [kind]}]
`)}})
		if err != nil {
			t.Fatal(err)
		}
		plan := generate(t, m, context(t, tenant7), `{"measures":["orders.made"]}`, tt.d)
		got := ""
		if plan.Rollup != nil {
			got, _, _ = strings.Cut(strings.TrimPrefix(plan.Rollup.Read.SQL, "SELECT "), ` "orders__made"`)
		}
		if got != tt.want {
			t.Errorf("%s in %s\n got %s\nwant %s\n%v", tt.sql, tt.d.Name(), got, tt.want, plan.Misses)
		}
	}
}

// What a rollup is built by and read by, in every dialect.
func TestRollupsInEveryDialect(t *testing.T) {
	m := rolledModel(t, strings.Replace(wide, "granularity: day", `granularity: day, partition_granularity: month, build_range_start: {sql: "SELECT DATE '2024-01-01'"}`, 1), "", "")
	q := `{"measures":["orders.count","orders.total","orders.lowest"],"dimensions":["users.vip"],"timezone":"America/New_York","segments":["orders.large"],"order":[["orders.total","desc"],["users.vip","asc"]],"limit":5,"offset":1,"total":true,
		"timeDimensions":[{"dimension":"orders.created_at","granularity":"week","dateRange":["2024-01-01","2024-03-31"]}],"filters":[{"member":"orders.total","operator":"gt","values":["10"]},{"member":"users.age","operator":"gte","values":["18"]}]}`
	for _, d := range dialects {
		r := generate(t, m, context(t, tenant7), q, d).Rollup
		if r == nil {
			t.Fatalf("%s: nothing holds it", d.Name())
		}
		spans, err := r.Spans(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2024, 2, 1, 0, 0, 0, 0, time.UTC))
		if err != nil {
			t.Fatal(err)
		}
		build, err := r.Build(&spans[1])
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, s := range []sqlgen.Statement{r.BuildRange[0], r.BuildRange[1], build, r.Read, *r.Total} {
			fmt.Fprintf(&b, "%s\n-- %v\n", s.SQL, s.Args)
		}
		for _, c := range r.Columns {
			fmt.Fprintf(&b, "-- %s %s\n", c.Alias, c.Type)
		}
		golden(t, filepath.Join("testdata/golden", "rollup."+d.Name()+".sql"), b.String())
	}
}

// A plan is shared by everybody who asks the same, and so is its rollup.
func TestARollupIsSafeForConcurrentUse(t *testing.T) {
	r := generate(t, rolledModel(t, monthly, "", ""), context(t, tenant7), `{"measures":["orders.count"]}`, sqlgen.Postgres{}).Rollup
	day := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	var group sync.WaitGroup
	statements := make([]string, 8)
	for i := range statements {
		group.Go(func() {
			spans, err := r.Spans(day, day.AddDate(0, 8, 0))
			if err != nil {
				t.Error(err)
				return
			}
			s, err := r.Build(&spans[i])
			if err != nil {
				t.Error(err)
			}
			statements[i] = fmt.Sprint(s.Args)
			r.Age(&spans[i], day)
		})
	}
	group.Wait()
	for i, got := range statements {
		from := day.AddDate(0, i, 0)
		if want := fmt.Sprintf("[%s %s]", from.Format("2006-01-02T15:04:05.000Z"), from.AddDate(0, 1, 0).Format("2006-01-02T15:04:05.000Z")); got != want {
			t.Errorf("partition %d is built with %s, want %s", i, got, want)
		}
	}
}

func everyOne(*datamodel.PreAggregation) bool { return true }

// Whoever builds before anybody asks has every rollup of the model, and is told of those that cannot be built.
func TestRollupsOfAModel(t *testing.T) {
	m := rolledModel(t, wide+`
      - {name: raw, type: original_sql}
      - {name: none}
      - {name: later, measures: [count], scheduled_refresh: false, external: false}`, "", "")
	all, misses, err := sqlgen.Rollups(m, context(t, tenant7), "Europe/Berlin", options(sqlgen.Postgres{}), everyOne)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range all {
		got = append(got, fmt.Sprintf("%s %t %t %t %s", r.Name, r.Scheduled, r.External, r.Shared, r.Table))
	}
	if want := []string{"users.by_country true true false users__by_country", "orders.main true true false orders__main", "orders.raw true false false behalf__orders__raw", "orders.later false false false behalf__orders__later"}; !slices.Equal(got, want) {
		t.Errorf("rollups %q, want %q", got, want)
	}
	if fmt.Sprint(misses) != "[{orders.none it cannot be built: nothing is in it}]" {
		t.Errorf("misses %v", misses)
	}
	plan := generate(t, m, context(t, tenant7), `{"measures":["orders.count"],"timezone":"Europe/Berlin"}`, sqlgen.Postgres{})
	if all[1].Structure != plan.Rollup.Structure || all[1].Structure == all[3].Structure {
		t.Error("a query has another rollup than who builds it before")
	}
}

// A cube shares its own rows: those of a cube that is joined, or read in its SQL, are shared where that says so, too.
func TestACubeSharesItsOwnRows(t *testing.T) {
	const model = `cubes:
  - name: orders
    sql: %s
    meta: {shared_rollup: true}
    joins: [{name: users, relationship: many_to_one, sql: "{CUBE}.user_id = {users.id}"}]
    measures: [{name: count, type: count}]
    dimensions: [{name: id, sql: id, type: number, primary_key: true}]
    pre_aggregations: [{name: main, measures: [count]%s}]
  - name: users
    sql_table: users
    meta: {shared_rollup: %t}
    joins: [{name: companies, relationship: many_to_one, sql: "{CUBE}.company_id = {companies.id}"}]
    dimensions: [{name: id, sql: id, type: number, primary_key: true}, {name: country, sql: country, type: string}]
  - name: companies
    sql_table: companies
    meta: {shared_rollup: true}
    dimensions: [{name: id, sql: id, type: number, primary_key: true}, {name: name, sql: name, type: string}]
`
	const own, joined, through, inside = "", ", dimensions: [users.country]", ", dimensions: [companies.name]", "SELECT * FROM {users.sql()}"
	for _, tt := range []struct {
		sql, more    string
		users, share bool
	}{
		{"SELECT * FROM orders", own, false, true},
		{"SELECT * FROM orders", joined, true, true},
		{"SELECT * FROM orders", joined, false, false},
		{"SELECT * FROM orders", through, true, true},
		{"SELECT * FROM orders", through, false, false},
		{inside, own, true, true},
		{inside, own, false, false},
	} {
		m, err := datamodel.Load(fstest.MapFS{"shop.yml": {Data: fmt.Appendf(nil, model, tt.sql, tt.more, tt.users)}})
		if err != nil {
			t.Fatal(err)
		}
		all, misses, err := sqlgen.Rollups(m, context(t, tenant7), "UTC", options(sqlgen.Postgres{}), everyOne)
		if err != nil || len(all) != 1 {
			t.Fatalf("rollups %v, %v, %v", all, misses, err)
		}
		if all[0].Shared != tt.share {
			t.Errorf("%s with %q is shared: %t, want %t", tt.sql, tt.more, all[0].Shared, tt.share)
		}
	}
}

// Where a rollup reached when its model bounded it says nothing of where it reaches without a bound.
func TestARollupWithoutABoundIsAnotherThanWithOne(t *testing.T) {
	structures := map[[32]byte]string{}
	for _, bound := range []string{"", ", build_range_start: {sql: SELECT DATE '2024-01-01'}", ", build_range_end: {sql: SELECT DATE '2024-01-01'}"} {
		m := rolledModel(t, strings.TrimSuffix(monthly, "}")+bound+"}", "", "")
		r := generate(t, m, context(t, tenant7), `{"measures":["orders.count"]}`, sqlgen.Postgres{}).Rollup
		if was, ok := structures[r.Structure]; ok {
			t.Errorf("with %q it is the same as with %q", bound, was)
		}
		structures[r.Structure] = bound
	}
}

// Whatever holds a query answers as its source does: random queries over random rollups.
func TestWhateverHoldsAQueryAnswersAsItsSource(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	fill := seed + moreOrders(r, 150)
	duck := openDuckDB(t, "")
	for _, src := range openSources(t, fill) {
		t.Run(src.name, func(t *testing.T) {
			held := 0
			for round := 0; held < 150; round++ {
				if round == 1000 {
					t.Fatalf("of %d queries only %d were held", 10*round, held)
				}
				pre := randomRollup(r)
				m := rolledModel(t, pre, "", "")
				for range 10 {
					q := randomQuery(r)
					plan, err := sqlgen.Generate(m, context(t, tenant7), decode(t, q), options(src.d))
					if err != nil {
						t.Fatalf("%v\n%s", err, q)
					}
					if plan.Rollup == nil || plan.Rollup.Name != "orders.main" {
						continue
					}
					held++
					if answersAlike(t, src, duck, plan); t.Failed() {
						t.Fatalf("round %d\n%s\n%s", round, pre, q)
					}
				}
			}
		})
	}
}

// some returns at most n of names.
func some(r *rand.Rand, n int, names ...string) []string {
	r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names[:r.IntN(n+1)]
}

func one(r *rand.Rand, names ...string) string { return names[r.IntN(len(names))] }

// randomRollup returns one that holds no range which is not of its buckets: of such it says less than the source, by design.
func randomRollup(r *rand.Rand) string {
	pre := fmt.Sprintf("name: main, allow_non_strict_date_range_match: false, measures: [%s], dimensions: [%s], segments: [%s]",
		strings.Join(append(some(r, 4, "users", "done_share", "weighed", "spread", "lowest", "line_items.qty"), "count", "total"), ", "),
		strings.Join(append(some(r, 5, "size", "hour", "users.country", "users.vip", "line_items.sku"), some(r, 2, "status", "kind")...), ", "), strings.Join(some(r, 1, "done_only"), ""))
	if r.IntN(4) > 0 {
		pre += ", time_dimension: created_at, granularity: " + one(r, "hour", "day", "week", "month", "sprint", "fiscal")
		if r.IntN(3) == 0 {
			pre += ", partition_granularity: " + one(r, "week", "month", "year")
		}
	}
	return "[{" + pre + "}]"
}

func randomQuery(r *rand.Rand) string {
	names := func(members []string) string {
		var all []string
		for _, m := range members {
			if !strings.Contains(m, ".") {
				m = "orders." + m
			}
			all = append(all, `"`+m+`"`)
		}
		return strings.Join(all, ", ")
	}
	measures := some(r, 2, "count", "total", "lowest", "done_share", "weighed", "users")
	dimensions := some(r, 2, "status", "kind", "size", "hour", "users.country", "users.vip")
	if len(measures)+len(dimensions) == 0 {
		measures = []string{"count"}
	}
	times := ""
	if r.IntN(2) == 0 {
		times = `{"dimension":"orders.created_at"`
		if r.IntN(3) > 0 {
			times += `,"granularity":"` + one(r, "hour", "day", "week", "month", "quarter", "sprint", "fiscal", "midweek") + `"`
		}
		if r.IntN(2) == 0 {
			times += `,"dateRange":[` + one(r, `"2024-01-01","2024-12-31"`, `"2024-10-28","2024-11-03"`, `"2024-11-03","2024-11-03"`, `"2023-04-01","2024-03-31"`, `"2024-11-02T10:00:00","2024-11-03T12:59:59.999"`) + `]`
		}
		times += "}"
	}
	filters := some(r, 2, `{"member":"orders.status","operator":"equals","values":["done"]}`, `{"member":"orders.kind","operator":"notEquals","values":["a"]}`,
		`{"member":"users.vip","operator":"equals","values":["true"]}`, `{"member":"users.country","operator":"notSet"}`, `{"member":"orders.kind","operator":"equals","values":["b"]}`)
	return fmt.Sprintf(`{"measures":[%s],"dimensions":[%s],"timeDimensions":[%s],"filters":[%s],"segments":[%s],"timezone":"%s"}`, names(measures), names(dimensions),
		times, strings.Join(filters, ","), names(some(r, 1, "done_only")), one(r, "UTC", "America/New_York", "Asia/Kolkata"))
}

func BenchmarkGenerateWithARollup(b *testing.B) {
	m := rolledModel(b, wide, "", "")
	q, sc, o := decode(b, `{"measures":["orders.count","orders.done_share"],"dimensions":["users.country"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"week","dateRange":["2024-01-01","2024-03-31"]}]}`),
		context(b, tenant7), options(sqlgen.Postgres{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := sqlgen.Generate(m, sc, q, o); err != nil {
			b.Fatal(err)
		}
	}
}
