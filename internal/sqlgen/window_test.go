package sqlgen_test

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/sqlgen"
)

// Measures of orders with windows of every kind.
const windowed = `
cubes:
  - name: orders
    sql_table: orders
    joins:
      - {name: line_items, relationship: one_to_many, sql: "{CUBE}.id = {line_items}.order_id"}
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: kind, sql: kind, type: string}
      - {name: status, sql: status, type: string}
      - {name: region, sql: region, type: string}
      - {name: created_at, sql: created_at, type: time, granularities: [{name: sprint, interval: 2 weeks, origin: "2024-01-01"}, {name: year, sql: created_at}]}
      - {name: paid_at, sql: "created_at + INTERVAL '1 day'", type: time}
    measures:
      - {name: total, sql: amount, type: sum}
      - {name: days2, sql: amount, type: sum, rolling_window: {trailing: 2 day}}
      - {name: ever, sql: amount, type: sum, rolling_window: {trailing: unbounded}}
      - {name: all, sql: amount, type: sum, rolling_window: {trailing: unbounded, leading: unbounded}}
      - {name: next, sql: amount, type: sum, rolling_window: {leading: 1 day}}
      - {name: before, sql: amount, type: sum, rolling_window: {trailing: 1 day, offset: start}}
      - {name: same, sql: amount, type: sum, rolling_window: {leading: 1 day, offset: start}}
      - {name: month, sql: amount, type: sum, rolling_window: {trailing: 1 month}}
      - {name: sprints, sql: amount, type: sum, rolling_window: {trailing: 2 weeks}}
      - {name: to_date, sql: amount, type: sum, rolling_window: {type: to_date, granularity: month}}
      - {name: count2, type: count, rolling_window: {trailing: 2 days}}
      - {name: users2, sql: user_id, type: count_distinct, rolling_window: {trailing: 2 days}}
      - {name: avg2, sql: amount, type: avg, rolling_window: {trailing: 2 days}}
      - {name: done2, sql: amount, type: sum, filters: [{sql: "{CUBE}.status = 'done'"}], rolling_window: {trailing: 2 days}}
      - {name: share, sql: "{days2} / {ever}", type: number}
      - {name: growth, sql: "{total} - {before}", type: number}
    POLICY
  - name: line_items
    sql_table: line_items
    dimensions:
      - {name: key, sql: "order_id || '-' || line", type: string, primary_key: true}
      - {name: sku, sql: sku, type: string}
views:
  - name: sales
    cubes: [{join_path: orders, includes: "*"}]
`

func windowedModel(t testing.TB, policy string) *datamodel.Model {
	t.Helper()
	m, err := datamodel.Load(fstest.MapFS{"shop.yml": {Data: []byte(strings.Replace(windowed, "POLICY", policy, 1))}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// over returns a query over days of November; rest are more keys of it.
func over(measures, granularity, from, to, rest string) string {
	if granularity != "" {
		granularity = `"granularity":"` + granularity + `",`
	}
	return `{"measures":["orders.` + strings.ReplaceAll(measures, ` `, `","orders.`) + `"],"timeDimensions":[{"dimension":"orders.created_at",` + granularity +
		`"dateRange":["` + from + `","` + to + `"]}]` + rest + `}`
}

const byKind = `,"dimensions":["orders.kind"],"order":[["orders.created_at","asc"],["orders.kind","asc"]]`

// The rows are worked out by hand from seed. The time of a day is left out of them.
var windows = []struct {
	name, query string
	want        []string
}{
	{"two days back", over("days2", "day", "2024-11-01", "2024-11-06", ""), []string{"01 -", "02 10", "03 70", "04 300", "05 240", "06 -"}},
	{"everything before", over("ever", "day", "2024-11-01", "2024-11-06", ""), []string{"01 -", "02 10", "03 70", "04 310", "05 310", "06 310"}},
	{"everything", over("all", "day", "2024-11-01", "2024-11-02", ""), []string{"01 630", "02 630"}},
	{"the day after", over("next", "day", "2024-11-01", "2024-11-04", ""), []string{"01 10", "02 60", "03 240", "04 -"}},
	{"the day before", over("before", "day", "2024-11-02", "2024-11-06", ""), []string{"02 -", "03 10", "04 60", "05 240", "06 -"}},
	{"a day from its start", over("same", "day", "2024-11-01", "2024-11-04", ""), []string{"01 -", "02 10", "03 60", "04 240"}},
	{"several windows", over("days2 before ever", "day", "2024-11-03", "2024-11-05", ""), []string{"03 70 10 70", "04 300 60 310", "05 240 240 310"}},
	{"the month to date", over("to_date", "day", "2024-11-30", "2024-12-01", ""), []string{"30 310", "01 -"}},
	{"counts, without a row and without a value", over("count2 users2", "day", "2024-11-01", "2024-11-06", ""), []string{"01 - 0", "02 1 1", "03 3 2", "04 4 3", "05 2 1", "06 - 0"}},
	{"an average of rows, and not of averages", over("avg2", "day", "2024-11-04", "2024-11-05", ""), []string{"04 75", "05 120"}},
	{"with filters of its own", over("done2", "day", "2024-11-03", "2024-11-05", ""), []string{"03 50", "04 120", "05 80"}},
	{"in an expression", over("share", "day", "2024-11-02", "2024-11-03", ""), []string{"02 1", "03 1"}},
	{"in one with a measure that has none", over("growth", "day", "2024-11-03", "2024-11-04", ""), []string{"03 50", "04 180"}},
	{"months are those of the calendar", over("month", "month", "2024-11-01", "2024-12-31", ""), []string{"01 310", "01 320"}},
	{"a granularity of its own", over("sprints", "sprint", "2024-10-25", "2024-11-05", ""), []string{"21 70", "04 240"}},
	{"days of New York", over("same days2", "day", "2024-11-02", "2024-11-05", `,"timezone":"America/New_York"`), []string{"02 10 10", "03 140 150", "04 160 300", "05 - 160"}},
	{"by a dimension", over("days2", "day", "2024-11-02", "2024-11-05", byKind), []string{"02 a 10", "03 a 50", "03 b 20", "04 a 200", "04 b 100", "05 a 160", "05 b 80"}},
	{"beside a measure without a window", over("days2 total", "day", "2024-11-03", "2024-11-05", byKind), []string{"03 a 50 40", "03 b 20 20", "04 a 200 160", "04 b 100 80", "05 a 160 -", "05 b 80 -"}},
	{"beside one, in a group that the window does not hold", over("before total", "day", "2024-11-03", "2024-11-03", byKind), []string{"03 a 10 40", "03 b - 20"}},
	{"rows that joins repeat", over("days2 count2", "day", "2024-11-03", "2024-11-04", `,"dimensions":["line_items.sku"],"order":[["orders.created_at","asc"],["line_items.sku","asc"]]`),
		[]string{"03 x 30 2", "03 y 10 1", "03 z 40 1", "04 x 20 1", "04 y 160 1", "04 z 40 1", "04 - 240 2"}},
	{"beside sums of such rows", over("days2 total", "day", "2024-11-04", "2024-11-04", `,"dimensions":["line_items.sku"],"order":[["line_items.sku","asc"]]`),
		[]string{"04 x 20 -", "04 y 160 160", "04 z 40 -", "04 - 240 240"}},
	{"of filtered rows", over("days2", "day", "2024-11-03", "2024-11-04", `,"filters":[{"member":"orders.status","operator":"equals","values":["done"]}]`), []string{"03 50", "04 120"}},
	{"filtered by", over("days2", "day", "2024-11-01", "2024-11-06", `,"filters":[{"member":"orders.days2","operator":"gt","values":["100"]}]`), []string{"04 300", "05 240"}},
	{"through a view", strings.ReplaceAll(over("days2", "day", "2024-11-03", "2024-11-04", ""), "orders.", "sales."), []string{"03 70", "04 300"}},
	{"another time limits the rows", `{"measures":["orders.days2"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"day","dateRange":["2024-11-03","2024-11-04"]},{"dimension":"orders.paid_at","dateRange":["2024-11-04","2024-11-04"]}]}`,
		[]string{"03 60", "04 60"}},

	{"a range alone: the window ends with it", over("days2", "", "2024-11-04", "2024-11-04", ""), []string{"300"}},
	{"and it may have no start", over("ever", "", "2024-11-04", "2024-11-04", ""), []string{"310"}},
	{"beside others", over("days2 total count2", "", "2024-11-04", "2024-11-05", ""), []string{"240 240 2"}},
	{"to date", over("to_date", "", "2024-11-03", "2024-11-03", ""), []string{"70"}},
	{"by a dimension, in groups that are there", over("days2", "", "2024-11-02", "2024-11-02", `,"dimensions":["orders.kind"]`), []string{"a 10"}},
	{"no time at all", `{"measures":["orders.days2","orders.count2"],"dimensions":["orders.kind"],"order":[["orders.kind","asc"]]}`, []string{"a 210 3", "b 420 3"}},
}

// days leaves the day of the time in each row, and puts it first.
func days(rows []string) []string {
	out := make([]string, len(rows))
	for i, r := range rows {
		cells := strings.Fields(r)
		if at := slices.IndexFunc(cells, func(c string) bool { return strings.HasPrefix(c, "2024-") }); at >= 0 {
			day := cells[at][8:10]
			cells = slices.Insert(slices.Delete(cells, at, at+1), 0, day)
		}
		out[i] = strings.Join(cells, " ")
	}
	return out
}

func TestRollingWindows(t *testing.T) {
	testWindows(t, windowedModel(t, ""), openShop(t, seed), sqlgen.Postgres{}, slices.Clone)
}

// testWindows runs every one of windows in a database. alike makes alike what the database may show in another way.
func testWindows(t *testing.T, m *datamodel.Model, db *sql.DB, d sqlgen.Dialect, alike func([]string) []string) {
	for _, tt := range windows {
		t.Run(tt.name, func(t *testing.T) {
			plan, err := sqlgen.Generate(m, caller(nil, nil), decode(t, tt.query), options(d))
			if err != nil {
				t.Fatal(err)
			}
			if got := days(rows(t, db, plan.SQL, plan.Args)); !slices.Equal(alike(got), alike(tt.want)) {
				t.Errorf("rows %q, want %q\n%s\n%v", got, tt.want, plan.SQL, plan.Args)
			}
		})
	}
}

func TestPoliciesHoldInsideRollingWindows(t *testing.T) {
	db := openShop(t, seed)
	q := over("days2 total", "day", "2024-11-03", "2024-11-05", "")
	for _, tt := range []struct {
		name, policy, query string
		want                []string
	}{
		{"rows that a policy hides", `access_policy: [{group: "*", row_level: {filters: [{member: region, operator: equals, values: [eu]}]}}]`, q, []string{"03 10 -", "04 160 160", "05 160 -"}},
		{"and of a range alone", `access_policy: [{group: "*", row_level: {filters: [{member: region, operator: equals, values: [eu]}]}}]`, over("days2 ever", "", "2024-11-03", "2024-11-03", ""), []string{"10 10"}},
		{"nobody is let in", `access_policy: [{group: admin}]`, strings.ReplaceAll(q, "orders.", "sales."), []string{"03 - -", "04 - -", "05 - -"}},
		{"the time is masked", `access_policy: [{group: "*", member_level: {includes: "*"}, member_masking: {includes: [created_at]}}]`, over("ever", "day", "2024-11-04", "2024-11-04", ""), []string{"04 -"}},
		{"the measure is masked", `access_policy: [{group: "*", member_level: {includes: "*"}, member_masking: {includes: [days2]}}]`, over("days2 share", "day", "2024-11-04", "2024-11-04", ""), []string{"04 - -"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan, err := sqlgen.Generate(windowedModel(t, tt.policy), caller(nil, nil), decode(t, tt.query), options(sqlgen.Postgres{}))
			if err != nil {
				t.Fatal(err)
			}
			if got := days(rows(t, db, plan.SQL, plan.Args)); !slices.Equal(got, tt.want) {
				t.Errorf("rows %q, want %q\n%s\n%v", got, tt.want, plan.SQL, plan.Args)
			}
		})
	}
}

// What a cube's own SQL filters by the query's range must reach as far back as the windows do.
func TestFilterParamsReachAsFarAsRollingWindows(t *testing.T) {
	db := openShop(t, seed)
	for _, filter := range []string{"'created_at'", `lambda a, b: f"created_at >= {a}::timestamp AND created_at <= {b}::timestamp"`} {
		m, err := datamodel.Load(fstest.MapFS{"a.yml": {Data: []byte(`
cubes:
  - name: recent
    sql: |
      SELECT * FROM orders WHERE {FILTER_PARAMS.recent.at.filter(` + filter + `)}
    dimensions: [{name: at, sql: created_at, type: time}]
    measures: [{name: days2, sql: amount, type: sum, rolling_window: {trailing: 2 day}}, {name: total, sql: amount, type: sum}]
`)}})
		if err != nil {
			t.Fatal(err)
		}
		q := `{"measures":["recent.days2","recent.total"],"timeDimensions":[{"dimension":"recent.at","granularity":"day","dateRange":["2024-11-04","2024-11-04"]}]}`
		plan, err := sqlgen.Generate(m, caller(nil, nil), decode(t, q), options(sqlgen.Postgres{}))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := days(rows(t, db, plan.SQL, plan.Args)), []string{"04 300 240"}; !slices.Equal(got, want) {
			t.Errorf("%s: rows %q, want %q\n%s", filter, got, want, plan.SQL)
		}
	}
}

func TestRollingWindowsInEveryDialect(t *testing.T) {
	m := windowedModel(t, "")
	q := over("days2 ever total", "day", "2024-11-03", "2024-11-05", byKind)
	for _, d := range dialects {
		plan, err := sqlgen.Generate(m, caller(nil, nil), decode(t, q), options(d))
		if err != nil {
			t.Fatal(err)
		}
		golden(t, filepath.Join("testdata/golden", "rolling_windows."+d.Name()+".sql"), show(t, plan))
	}
}

func TestRollingWindowsThatAreRefused(t *testing.T) {
	m := windowedModel(t, "")
	for _, tt := range []struct{ name, query, want string }{
		{"no range", `{"measures":["orders.days2"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"day"}]}`, "Time series queries without dateRange aren't supported"},
		{"too many buckets", over("days2", "second", "2024-11-01", "2024-11-01", ""), "The time series of a rolling window would have more than 5000 buckets"},
		{"two series", `{"measures":["orders.days2"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"day","dateRange":["2024-11-03","2024-11-04"]},{"dimension":"orders.created_at","granularity":"month"}]}`,
			"a second time dimension with a granularity"},
		{"a granularity by SQL", over("days2", "year", "2024-11-01", "2024-11-01", ""), "which is made by SQL"},
	} {
		_, err := sqlgen.Generate(m, caller(nil, nil), decode(t, tt.query), options(sqlgen.Postgres{}))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
}

func TestRollingWindowsHoldTheRowsOfTheirTime(t *testing.T) {
	db := openShop(t, "")
	testWindowSums(t, db, db, sqlgen.Postgres{})
}

// testWindowSums compares with sums made in memory from random rows, which filled writes, hour by hour of a day on which
// the clocks go back.
func testWindowSums(t *testing.T, db, filled *sql.DB, d sqlgen.Dialect) {
	r := rand.New(rand.NewPCG(3, 4))
	loc, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	for round := range 25 {
		back, forth, start := r.IntN(50), r.IntN(30), r.IntN(2) == 0
		offset := map[bool]string{true: "start", false: "end"}[start]
		m, err := datamodel.Load(fstest.MapFS{"a.yml": {Data: fmt.Appendf(nil, `
cubes:
  - name: o
    sql_table: orders
    dimensions: [{name: at, sql: created_at, type: time}, {name: kind, sql: kind, type: string}]
    measures:
      - {name: n, sql: amount, type: sum, rolling_window: {trailing: %d hours, leading: %d hours, offset: %s}}
`, back, forth, offset)}})
		if err != nil {
			t.Fatal(err)
		}
		type row struct {
			wall time.Time
			kind string
		}
		var data []row
		fill := "DELETE FROM orders;"
		for i := range r.IntN(20) {
			at := time.Date(2024, 11, 1, 0, 15*r.IntN(4*24*5), 0, 0, time.UTC)
			local := at.In(loc)
			_, seconds := local.Zone()
			data = append(data, row{at.Add(time.Duration(seconds) * time.Second), string("ab"[r.IntN(2)])})
			fill += fmt.Sprintf("INSERT INTO orders (id, amount, created_at, kind) VALUES (%d, %d, '%s', '%s');", i, 1<<i, at.Format(time.DateTime), data[i].kind)
		}
		if _, err := filled.Exec(fill); err != nil {
			t.Fatal(err)
		}
		var want []string
		first := time.Date(2024, 11, 2, 0, 0, 0, 0, time.UTC)
		for hour := range 48 {
			from := first.Add(time.Duration(hour) * time.Hour)
			stands := from
			if !start {
				stands = from.Add(time.Hour)
			}
			lo, hi := stands.Add(-time.Duration(back)*time.Hour), stands.Add(time.Duration(forth)*time.Hour)
			sums := map[string]int{}
			for i, d := range data {
				if !d.wall.Before(lo) && d.wall.Before(hi) {
					sums[d.kind] += 1 << i
				}
			}
			at := from.Format("2006-01-02T15:04:05.000")
			for _, kind := range []string{"a", "b"} {
				if sums[kind] > 0 {
					want = append(want, fmt.Sprintf("%s %s %d", kind, at, sums[kind]))
				}
			}
			if len(sums) == 0 {
				want = append(want, "- "+at+" -")
			}
		}
		plan, err := sqlgen.Generate(m, caller(nil, nil), decode(t, `{"measures":["o.n"],"dimensions":["o.kind"],"timezone":"America/New_York","order":[["o.at","asc"],["o.kind","asc"]],
			"timeDimensions":[{"dimension":"o.at","granularity":"hour","dateRange":["2024-11-02","2024-11-03"]}]}`), options(d))
		if err != nil {
			t.Fatal(err)
		}
		if got := rows(t, db, plan.SQL, plan.Args); !slices.Equal(got, want) {
			t.Fatalf("round %d, %d hours back, %d forth from the %s\n got %q\nwant %q\n%s\n%s", round, back, forth, offset, got, want, fill, plan.SQL)
		}
	}
}
