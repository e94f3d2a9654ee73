//go:build cgo

package sqlgen_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/sqlgen"
)

// joinedUp is the shop with joins that compare dimensions, and rollups of each cube.
const joinedUp = `
cubes:
  - name: users
    sql_table: users
    joins:
      - {name: orders, relationship: one_to_many, sql: "{CUBE.id} = {orders.user_id}"}
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: country, sql: country, type: string}
      - {name: named, sql: "COALESCE({country}, 'nowhere')", type: string}
      - {name: home, sql: "{country}", type: string}
      - {name: age, sql: "{CUBE}.age", type: number}
      - {name: vip, sql: vip, type: boolean}
    measures:
      - {name: count, type: count}
      - {name: credit, sql: credit, type: sum}
    segments:
      - {name: old, sql: "{CUBE}.age > 30"}
    pre_aggregations:
      - {name: all, measures: [count, credit], dimensions: [id, country, named, home, age, vip], segments: [old]}
      - {name: coarse, dimensions: [country, age]}
      - {name: with_orders, type: rollup_join, measures: [orders.count, orders.total, orders.lowest, orders.done], dimensions: [country, named, vip, orders.status],
         segments: [old], time_dimension: orders.created_at, granularity: day, rollups: [all, orders.main]}

  - name: orders
    sql_table: orders
    POLICY
    joins:
      - {name: buyers, relationship: many_to_one, sql: "{CUBE.user_id} = {buyers.id}"}
      - {name: line_items, relationship: one_to_many, sql: "{CUBE.id} = {line_items.order_id}"}
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: user_id, sql: user_id, type: number}
      - {name: status, sql: status, type: string}
      - {name: kind, sql: kind, type: string}
      - {name: created_at, sql: created_at, type: time}
    measures:
      - {name: count, type: count}
      - {name: total, sql: amount, type: sum}
      - {name: lowest, sql: amount, type: min}
      - {name: done, type: count, filters: [{sql: "{CUBE}.status = 'done'"}]}
      - {name: done_share, type: number, sql: "1.0 * {done} / NULLIF({count}, 0)"}
      - {name: users, sql: user_id, type: count_distinct}
    pre_aggregations:
      - {name: main, measures: [count, total, lowest, done, users], dimensions: [user_id, status], time_dimension: created_at, granularity: day, partition_granularity: month}
      - {name: by_id, measures: [count], dimensions: [id, kind]}
      JOINED

  - name: buyers
    extends: users
    joins: []
    pre_aggregations:
      - {name: with_orders, dimensions: [id]}

  - name: line_items
    sql_table: line_items
    joins:
      - {name: orders, relationship: many_to_one, sql: "{CUBE.order_id} = {orders.id}"}
    dimensions:
      - {name: order_id, sql: order_id, type: number, primary_key: true}
      - {name: line, sql: line, type: number, primary_key: true}
      - {name: sku, sql: sku, type: string}
    measures:
      - {name: count, type: count}
      - {name: qty, sql: qty, type: sum}
    pre_aggregations:
      - {name: main, measures: [count, qty], dimensions: [order_id, sku]}
`

// joinedModel returns that shop with one more pre-aggregation of orders, and perhaps a policy.
func joinedModel(t testing.TB, pre, policy string) *datamodel.Model {
	t.Helper()
	text := strings.Replace(joinedUp, "JOINED", pre, 1)
	m, err := datamodel.Load(fstest.MapFS{"shop.yml": {Data: []byte(strings.Replace(text, "    POLICY\n", policy, 1))}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// buyersJoined is what the tests of joins add.
const buyersJoined = `- {name: joined, type: rollup_join, measures: [count, total, lowest, done, users], dimensions: [status, buyers.country, buyers.named, buyers.home, buyers.age, buyers.vip],
         segments: [buyers.old], time_dimension: created_at, granularity: day, allow_non_strict_date_range_match: false, rollups: [main, buyers.all]}`

// What a rollup_join answers is what its source does: with buyers who are not there, orders of nobody, and users who bought nothing.
func TestJoinedRollupsAnswerAsTheirSourceDoes(t *testing.T) {
	fill := seed + moreOrders(rand.New(rand.NewPCG(1, 2)), 300)
	duck := openDuckDB(t, "")
	const inOrder = `- {name: joined, type: rollup_join, measures: [line_items.count, line_items.qty], dimensions: [line_items.sku, kind], rollups: [by_id, line_items.main]}`
	for _, src := range openSources(t, fill) {
		for _, tt := range []struct{ name, pre, query, of string }{
			{"sums by a dimension that is joined", buyersJoined, `{"measures":["orders.count","orders.total","orders.lowest"],"dimensions":["buyers.country"]}`, "orders.joined"},
			{"by one of each", buyersJoined, `{"measures":["orders.done_share","orders.total"],"dimensions":["buyers.vip","orders.status","buyers.home"]}`, "orders.joined"},
			{"dimensions alone", buyersJoined, `{"dimensions":["orders.status","buyers.age"]}`, "orders.joined"},
			{"in a range, and a zone", buyersJoined, `{"measures":["orders.count"],"dimensions":["buyers.country"],"timezone":"America/New_York","timeDimensions":[{"dimension":"orders.created_at","granularity":"week","dateRange":["2024-10-01","2024-11-04"]}]}`, "orders.joined"},
			{"filtered by both", buyersJoined, `{"measures":["orders.count"],"filters":[{"member":"buyers.country","operator":"notSet"},{"member":"orders.status","operator":"equals","values":["done"]}]}`, "orders.joined"},
			{"groups filtered, a page, a total", buyersJoined, `{"measures":["orders.count"],"dimensions":["buyers.age"],"filters":[{"member":"orders.total","operator":"gt","values":["10"]}],"order":[["buyers.age","desc"]],"limit":2,"offset":1,"total":true}`, "orders.joined"},
			{"no rows", buyersJoined, `{"measures":["orders.count","orders.total"],"filters":[{"member":"buyers.country","operator":"equals","values":["none"]}]}`, "orders.joined"},
			{"many of each one", "", `{"measures":["orders.count","orders.total","orders.lowest","orders.done"],"dimensions":["users.country","users.named"],"segments":["users.old"]}`, "users.with_orders"},
			{"many of each one, by theirs", "", `{"measures":["orders.count"],"dimensions":["users.vip","orders.status"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"month"}]}`, "users.with_orders"},
			{"of many, which are joined", inOrder, `{"measures":["line_items.qty","line_items.count"],"dimensions":["orders.kind"]}`, "orders.joined"},
		} {
			t.Run(src.name+"/"+tt.name, func(t *testing.T) {
				plan := generate(t, joinedModel(t, tt.pre, ""), context(t, tenant7), tt.query, src.d)
				if plan.Rollup == nil || plan.Rollup.Name != tt.of || plan.Rollup.Type != datamodel.RollupJoin || len(plan.Rollup.Parts) != 2 {
					t.Fatalf("it is held by %+v: %v", plan.Rollup, plan.Misses)
				}
				answersAlike(t, src, duck, plan)
			})
		}
	}
}

// A query that a join of rows which are grouped already would answer otherwise than the source is not held, and why is said.
func TestWhyAJoinOfRollupsMisses(t *testing.T) {
	join := func(more string) string { return "- {name: joined, type: rollup_join, " + more + "}" }
	const byCountry = `{"measures":["orders.count"],"dimensions":["buyers.country"]}`
	for _, tt := range []struct{ pre, query, want string }{
		{buyersJoined, `{"measures":["orders.users"],"dimensions":["buyers.country"]}`, "orders.users cannot be added up, and it is read from rollups that have more groups, and are joined"},
		{buyersJoined, `{"measures":["orders.count"],"dimensions":["buyers.named"]}`, "buyers.named is computed, and in the source perhaps not NULL where the join to buyers finds nothing"},
		{buyersJoined, `{"measures":["orders.count"],"filters":[{"member":"buyers.named","operator":"set"}]}`, "buyers.named is computed, and in the source perhaps not NULL where the join to buyers finds nothing"},
		{buyersJoined, `{"measures":["orders.count"],"segments":["buyers.old"]}`, "buyers.old is computed, and in the source perhaps not NULL where the join to buyers finds nothing"},
		{buyersJoined, `{"measures":["orders.count"],"dimensions":["orders.kind","buyers.country"]}`, "the dimension orders.kind is not in it"},
		{buyersJoined, `{"measures":["orders.count"],"dimensions":["buyers.country"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"hour"}]}`, "orders.created_at is in it by day, from which hour cannot be made"},
		{join("measures: [count], dimensions: [buyers.country], rollups: [main]"), byCountry, "none of its rollups has the cube buyers"},
		{join("measures: [count], dimensions: [buyers.country], rollups: [main, buyers.all, buyers.coarse]"), byCountry, "buyers is in two of its rollups, buyers.all and buyers.coarse"},
		{join("measures: [count], dimensions: [buyers.country], rollups: [main, buyers.all, line_items.main]"), byCountry, "its rollup line_items.main joins line_items, and it does not"},
		{join("measures: [count], dimensions: [buyers.vip, buyers.country], rollups: [main, buyers.coarse]"), byCountry, "none of its rollups has buyers.vip"},
		{join("measures: [count], dimensions: [buyers.country], rollups: [main, buyers.coarse]"), byCountry, "its rollup buyers.coarse is not grouped by the primary key of buyers, and rows of it that are one would count orders.count once"},
		{join("measures: [count], dimensions: [buyers.country], rollups: [by_id, buyers.all]"), byCountry, "the join of orders to buyers compares orders.user_id, which none of its rollups has"},
		{join("measures: [count], dimensions: [buyers.country], time_dimension: created_at, granularity: month, rollups: [main, buyers.all]"), byCountry, "none of its rollups has orders.created_at by month"},
		{join("measures: [line_items.qty], dimensions: [status], rollups: [main, line_items.main]"), `{"measures":["line_items.qty"],"dimensions":["orders.status"]}`,
			"its rollup orders.main is not grouped by the primary key of orders, and rows of it that are one would count line_items.qty once"},
	} {
		plan := generate(t, joinedModel(t, tt.pre, ""), context(t, tenant7), tt.query, sqlgen.Postgres{})
		if plan.Rollup != nil || !slices.Contains(plan.Misses, sqlgen.Miss{Rollup: "orders.joined", Why: tt.want}) {
			t.Errorf("%s\nis held by %+v, misses %q\nwant %q", tt.query, plan.Rollup, plan.Misses, tt.want)
		}
	}
}

// DuckDB joins what the source would join, or nothing: conditions that it may read otherwise are refused.
func TestOnWhatRollupsAreJoined(t *testing.T) {
	const byAge = `{"measures":["orders.count"],"dimensions":["buyers.age"]}`
	for _, tt := range []struct {
		on, kind string
		d        sqlgen.Dialect
		want     string // empty where it is joined
	}{
		{"{CUBE.user_id} = {buyers.id}", "number", sqlgen.MySQL{}, ""},
		{"{CUBE.user_id} = {buyers.id} AND {CUBE.user_id} = {buyers.id}", "number", sqlgen.Postgres{}, ""},
		{"{CUBE}.user_id = {buyers.id}", "number", sqlgen.Postgres{}, "is no comparison of their dimensions, as in {CUBE.x} = {buyers.y}"},
		{"{CUBE.user_id} = {buyers.id} OR {CUBE.user_id} = 1", "number", sqlgen.Postgres{}, "is no comparison of their dimensions, as in {CUBE.x} = {buyers.y}"},
		{"{CUBE.user_id} >= {buyers.id}", "number", sqlgen.Postgres{}, "is no comparison of their dimensions, as in {CUBE.x} = {buyers.y}"},
		{"{CUBE.created_at} = {buyers.id}", "number", sqlgen.Postgres{}, "compares orders.created_at, a time, with buyers.id, a number"},
		{"{CUBE.user_id} = {buyers.country}", "number", sqlgen.Postgres{}, "compares orders.user_id, a number, with buyers.country, a string"},
		{"{CUBE.created_at} = {CUBE.created_at}", "number", sqlgen.Postgres{}, "compares orders.created_at, which is made of a time or a place"},
		{"{CUBE.user_id} = {buyers.id}", "string", sqlgen.Postgres{}, ""},
		{"{CUBE.user_id} = {buyers.id}", "string", sqlgen.MySQL{}, "compares orders.user_id, and the source takes texts for equal that DuckDB does not"},
	} {
		text := strings.NewReplacer("JOINED", buyersJoined, "    POLICY\n", "", "{CUBE.user_id} = {buyers.id}", tt.on,
			"name: id, sql: id, type: number", "name: id, sql: id, type: "+tt.kind, "name: user_id, sql: user_id, type: number", "name: user_id, sql: user_id, type: "+tt.kind).Replace(joinedUp)
		m, err := datamodel.Load(fstest.MapFS{"shop.yml": {Data: []byte(text)}})
		if err != nil {
			t.Fatal(err)
		}
		plan := generate(t, m, context(t, tenant7), byAge, tt.d)
		want := sqlgen.Miss{Rollup: "orders.joined", Why: "the join of orders to buyers " + tt.want}
		if held := plan.Rollup != nil; held != (tt.want == "") || !held && !slices.Contains(plan.Misses, want) {
			t.Errorf("%s of a %s in %s: held by %+v, misses %q, want %q", tt.on, tt.kind, tt.d.Name(), plan.Rollup, plan.Misses, want)
		}
	}
}

// lambdas is years in partitions of months, and what came after them in partitions of days. A rollup_lambda stands before them, as in
// Cube, so that it is the first to hold a query.
const lambdas = `
      - {name: both, type: rollup_lambda, rollups: [old, new]}
      - {name: old, measures: [count, total, users], dimensions: [status], time_dimension: created_at, granularity: day, partition_granularity: month,
         allow_non_strict_date_range_match: false, build_range_end: {sql: "SELECT TIMESTAMP '2024-09-30 00:00:00'"}}
      - {name: new, measures: [count, total, users], dimensions: [status], time_dimension: created_at, granularity: day, partition_granularity: day,
         allow_non_strict_date_range_match: false, build_range_start: {sql: "SELECT TIMESTAMP '2024-09-01 00:00:00'"}}`

// What a rollup_lambda answers is what its source does: each row is in one of its rollups, and those without a time too.
func TestUnitedRollupsAnswerAsTheirSourceDoes(t *testing.T) {
	fill := seed + moreOrders(rand.New(rand.NewPCG(1, 2)), 300)
	duck := openDuckDB(t, "")
	for _, src := range openSources(t, fill) {
		for _, tt := range []struct{ query, spans string }{
			{`{"measures":["orders.count","orders.total"],"dimensions":["orders.status"]}`, ""},
			{`{"measures":["orders.total"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"month"}]}`, ""},
			{`{"measures":["orders.users"],"dimensions":["orders.status"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"day"}]}`, ""},
			{`{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"week","dateRange":["2024-09-29","2024-10-02"]}]}`, "20240901 | 20241001 20241002"},
			{`{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","dateRange":["2023-12-30","2024-01-02"]}],"total":true}`, "20231201 20240101 | "},
			{`{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","dateRange":["2024-10-27","2024-10-28"]}]}`, " | 20241027 20241028"},
		} {
			plan := generate(t, rolledModel(t, lambdas, "", ""), context(t, tenant7), tt.query, src.d)
			if plan.Rollup == nil || plan.Rollup.Name != "orders.both" || len(plan.Rollup.Parts) != 2 {
				t.Fatalf("%s is held by %+v: %v", tt.query, plan.Rollup, plan.Misses)
			}
			answersAlike(t, src, duck, plan)
			var all []string
			for _, spans := range united(t, src, plan.Rollup) {
				var names []string
				for _, s := range spans {
					names = append(names, s.Name)
				}
				all = append(all, strings.Join(names, " "))
			}
			if got := strings.Join(all, " | "); tt.spans != "" && got != tt.spans {
				t.Errorf("%s reads %q, want %q", tt.query, got, tt.spans)
			}
		}
	}
}

// With union_with_source_data, what comes after the rollups is asked of the source, and read with them.
func TestRollupsAreUnitedWithTheirSource(t *testing.T) {
	fill := seed + moreOrders(rand.New(rand.NewPCG(1, 2)), 300)
	duck := openDuckDB(t, "")
	for _, src := range openSources(t, fill) {
		for _, rollups := range []string{"old", "old, middle"} {
			pre := strings.Replace(lambdas, "rollups: [old, new]", "union_with_source_data: true, rollups: ["+rollups+"]", 1) +
				"\n" + strings.Replace(strings.Replace(lambdas[strings.Index(lambdas, "      - {name: new"):], "name: new", "name: middle", 1), "build_range_start", `build_range_end: {sql: "SELECT TIMESTAMP '2024-10-28 00:00:00'"}, build_range_start`, 1)
			for _, tt := range []struct{ query, old, middle string }{
				{`{"measures":["orders.count","orders.total"],"dimensions":["orders.status"]}`, "after_20241001T000000_99990101T000000", "after_20241029T000000_99990101T000000"},
				{`{"measures":["orders.users"],"timezone":"America/New_York","dimensions":["orders.status"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"day"}]}`, "after_20241001T000000_99990101T000000", "after_20241028T000000_99990101T000000"},
				{`{"measures":["orders.total"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"month","dateRange":["2024-09-01","2024-11-03"]}]}`, "after_20241001T000000_20241104T000000", "after_20241029T000000_20241104T000000"},
				{`{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","dateRange":["2023-12-30","2024-01-02"]}]}`, "", ""},
			} {
				plan := generate(t, rolledModel(t, pre, "", ""), context(t, tenant7), tt.query, src.d)
				if plan.Rollup == nil || plan.Rollup.Name != "orders.both" || !plan.Rollup.WithSource {
					t.Fatalf("%s is held by %+v: %v", tt.query, plan.Rollup, plan.Misses)
				}
				answersAlike(t, src, duck, plan)
				last, want := "", map[string]string{"old": tt.old, "old, middle": tt.middle}[rollups]
				for _, spans := range united(t, src, plan.Rollup) {
					for _, s := range spans {
						if strings.HasPrefix(s.Name, "after_") {
							last = s.Name
						}
					}
				}
				if last != want {
					t.Errorf("%s: %s of [%s] is asked of the source, want %s", src.name, last, rollups, want)
				}
			}
		}
	}
}

func TestWhyAUnionOfRollupsMisses(t *testing.T) {
	const q = `{"measures":["orders.count"],"dimensions":["orders.status"]}`
	for _, tt := range []struct{ old, new, query, want string }{
		{"", "", `{"measures":["orders.count"],"dimensions":["orders.kind"]}`, "its rollup orders.old does not hold it: the dimension orders.kind is not in it"},
		{"users], dimensions", "users], segments", q, "its rollup orders.new does not hold it: the dimension orders.status is not in it"},
		{"measures: [count, total, users]", "measures: [total, count, users]", q, "its rollups orders.old and orders.new do not keep the same columns in the same order"},
		{", partition_granularity: day", "", q, "its rollup orders.new is not partitioned by the time by which orders.old is, and rows of both may be the same"},
	} {
		pre := lambdas
		if i := strings.LastIndex(pre, tt.old); tt.old != "" {
			pre = pre[:i] + strings.Replace(pre[i:], tt.old, tt.new, 1)
		}
		if strings.Contains(tt.new, "segments") {
			pre = strings.Replace(pre, "segments: [status]", "segments: [large]", 1)
		}
		plan := generate(t, rolledModel(t, pre, "", ""), context(t, tenant7), tt.query, sqlgen.Postgres{})
		if want := (sqlgen.Miss{Rollup: "orders.both", Why: tt.want}); len(plan.Misses) == 0 || plan.Misses[0] != want {
			t.Errorf("held by %+v, misses %q, want %q", plan.Rollup, plan.Misses, want)
		}
	}
}

// What an earlier rollup holds is not read from a later one, and what none holds is not answered.
func TestWhichPartitionsAreUnited(t *testing.T) {
	at := func(days ...string) (all [2]time.Time) {
		for i, day := range days {
			all[i], _ = time.Parse(time.DateOnly, day)
		}
		return all
	}
	const days = "partition_granularity: day"
	for _, tt := range []struct {
		name, replace, with, ranged string
		old, new                    [2]time.Time
		want                        string
	}{
		{"one after the other", "", "", "", at("2024-08-20", "2024-09-30"), at("2024-10-01", "2024-10-02"), "20240801 20240901 undated | 20241001 20241002"},
		{"what both have is read from the first", "", "", "", at("2024-09-20", "2024-09-30"), at("2024-09-29", "2024-10-01"), "20240901 undated | 20241001"},
		{"a gap between them", "", "", "", at("2024-08-20", "2024-08-30"), at("2024-10-01", "2024-10-02"), "not all"},
		{"a gap that nobody asks for", "", "", `"2024-10-01","2024-10-02"`, at("2024-08-20", "2024-08-30"), at("2024-10-01", "2024-10-02"), " | 20241001 20241002"},
		{"before the gap", "", "", `"2024-08-01","2024-08-31"`, at("2024-08-20", "2024-08-30"), at("2024-10-01", "2024-10-02"), "20240801 | "},
		{"a partition of which half is read already", days, "partition_granularity: year", "", at("2024-08-20", "2024-09-30"), at("2024-01-01", "2024-10-02"), "not all"},
		{"a partition in which a range begins", "", "", `"2024-09-15","2024-10-01"`, at("2024-08-20", "2024-09-30"), at("2024-10-01", "2024-10-02"), "20240901 | 20241001"},
		{"a range behind the end of the first, in its last partition", "", "", `"2024-09-20","2024-10-01"`, at("2024-08-20", "2024-09-15"), at("2024-10-01", "2024-10-02"), "20240901 | 20241001"},
		{"the first has nothing yet", "", "", "", at("", ""), at("2024-10-01", "2024-10-02"), "not all"},
		{"the second has nothing yet", "", "", "", at("2024-08-20", "2024-09-30"), at("", ""), "not all"},
		{"the first has no end", ", build_range_end: {sql: \"SELECT TIMESTAMP '2024-09-30 00:00:00'\"}", "", "", at("2024-09-20", "2024-10-02"), at("2024-09-29", "2024-10-02"), "20240901 20241001 undated | "},
		{"the first has no end, and the second nothing", ", build_range_end: {sql: \"SELECT TIMESTAMP '2024-09-30 00:00:00'\"}", "", "", at("", ""), at("", ""), "undated | "},
	} {
		pre := strings.ReplaceAll(lambdas, "\n         allow", " allow")
		if tt.replace != "" {
			pre = strings.Replace(pre, tt.replace, tt.with, 1)
		}
		q := `{"measures":["orders.count"]}`
		if tt.ranged != "" {
			q = fmt.Sprintf(`{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","dateRange":[%s]}]}`, tt.ranged)
		}
		plan := generate(t, rolledModel(t, pre, "", ""), context(t, tenant7), q, sqlgen.Postgres{})
		if plan.Rollup == nil || plan.Rollup.Type != datamodel.RollupLambda {
			t.Fatalf("%s: held by %+v, %v", tt.name, plan.Rollup, plan.Misses)
		}
		spans, _, whole, err := plan.Rollup.United([][2]time.Time{tt.old, tt.new})
		if err != nil {
			t.Fatal(err)
		}
		got := "not all"
		if whole {
			var all []string
			for _, of := range spans {
				var names []string
				for _, s := range of {
					names = append(names, s.Name)
				}
				all = append(all, strings.Join(names, " "))
			}
			got = strings.Join(all, " | ")
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// Whatever a join or a union of rollups holds is answered as the source does: random queries over random ones.
func TestWhateverIsJoinedOrUnitedAnswersAsItsSource(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	fill := seed + moreOrders(r, 150)
	duck := openDuckDB(t, "")
	for _, src := range openSources(t, fill) {
		t.Run(src.name, func(t *testing.T) {
			held := map[string]int{}
			for round := 0; held[datamodel.RollupJoin] < 25 || held[datamodel.RollupLambda] < 25; round++ {
				if round == 1000 {
					t.Fatalf("of %d queries only %v were held", 10*round, held)
				}
				pre := randomParts(r)
				m := joinedModel(t, pre, "")
				for range 10 {
					q := randomJoin(r)
					plan, err := sqlgen.Generate(m, context(t, tenant7), decode(t, q), options(src.d))
					if err != nil {
						t.Fatalf("%v\n%s", err, q)
					}
					if plan.Rollup == nil || len(plan.Rollup.Parts) == 0 {
						continue
					}
					held[plan.Rollup.Type]++
					if answersAlike(t, src, duck, plan); t.Failed() {
						t.Fatalf("round %d\n%s\n%s", round, pre, q)
					}
				}
			}
		})
	}
}

// randomParts returns rollups of orders, a join of them with one of buyers, and a union of two of them.
func randomParts(r *rand.Rand) string {
	measures := strings.Join(append(some(r, 2, "lowest", "done"), "count", "total"), ", ")
	dimensions := append(some(r, 1, "kind"), "user_id", "status")
	granularity := one(r, "hour", "day", "week", "month")
	of := func(name, more string) string {
		return fmt.Sprintf("- {name: %s, allow_non_strict_date_range_match: false, measures: [%s], dimensions: [%s], time_dimension: created_at, granularity: %s%s}\n      ",
			name, measures, strings.Join(dimensions, ", "), granularity, more)
	}
	end := one(r, "2024-01-15", "2024-09-30", "2024-10-27", "2024-11-02")
	parts := of("older", fmt.Sprintf(", partition_granularity: %s, build_range_end: {sql: \"SELECT TIMESTAMP '%s 00:00:00'\"}", one(r, "month", "quarter", "year"), end)) +
		of("newer", ", partition_granularity: month, build_range_start: {sql: \"SELECT TIMESTAMP '2024-01-01 00:00:00'\"}") +
		of("plain", one(r, "", ", partition_granularity: month"))
	own := strings.Join(append(some(r, 1, "kind"), "status", "buyers.country"), ", ")
	united := one(r, "rollups: [older, newer]", "rollups: [older, newer]", "union_with_source_data: true, rollups: [older]")
	return "- {name: united, type: rollup_lambda, " + united + "}\n      " + parts +
		fmt.Sprintf("- {name: joined, type: rollup_join, allow_non_strict_date_range_match: false, measures: [%s], dimensions: [%s, %s], time_dimension: created_at, granularity: %s, rollups: [plain, buyers.all]}",
			measures, own, strings.Join(some(r, 3, "buyers.age", "buyers.vip", "buyers.home"), ", "), granularity)
}

func randomJoin(r *rand.Rand) string {
	quoted := func(members []string) string {
		return strings.TrimSuffix(fmt.Sprintf(`"%s"`, strings.Join(members, `","`)), `""`)
	}
	measures := append(some(r, 2, "orders.total", "orders.lowest", "orders.done_share"), "orders.count")
	dimensions := some(r, 2, "orders.status", "orders.kind", "buyers.country", "buyers.vip", "buyers.home", "buyers.age")
	times := ""
	if r.IntN(2) == 0 {
		times = fmt.Sprintf(`{"dimension":"orders.created_at","granularity":"%s"`, one(r, "hour", "day", "week", "month", "quarter"))
		if r.IntN(2) == 0 {
			times += `,"dateRange":[` + one(r, `"2024-01-01","2024-12-31"`, `"2024-10-28","2024-11-03"`, `"2024-11-03","2024-11-03"`, `"2023-12-01","2024-03-31"`) + `]`
		}
		times += "}"
	}
	filters := some(r, 2, `{"member":"orders.status","operator":"equals","values":["done"]}`, `{"member":"orders.kind","operator":"notEquals","values":["a"]}`,
		`{"member":"buyers.vip","operator":"equals","values":["true"]}`, `{"member":"buyers.country","operator":"notSet"}`, `{"member":"orders.count","operator":"gt","values":["2"]}`)
	return fmt.Sprintf(`{"measures":[%s],"dimensions":[%s],"timeDimensions":[%s],"filters":[%s],"timezone":"%s"}`, quoted(measures), quoted(dimensions),
		times, strings.Join(filters, ","), one(r, "UTC", "America/New_York", "Asia/Kolkata"))
}

// What policies and row rules demand is demanded of joined rows too, of every rollup that is read.
func TestPoliciesHoldWhereRollupsAreJoined(t *testing.T) {
	src, duck := source{"duckdb", sqlgen.DuckDB{}, openDuckDB(t, seed)}, openDuckDB(t, "")
	const byStatus = `{"measures":["orders.count"],"dimensions":["orders.status"]}`
	for _, tt := range []struct{ policy, more, query, miss string }{
		{`    access_policy: [{group: "*", row_level: {filters: [{member: status, operator: equals, values: [done]}]}}]` + "\n", "", byStatus, ""},
		{`    access_policy: [{group: "*", row_level: {filters: [{member: buyers.country, operator: equals, values: [DE]}]}}]` + "\n", "", byStatus, ""},
		{"", "\nrow_rules:\n  - {cubes: [buyers], filter: {member: buyers.country, operator: equals, values: [DE]} }\n", `{"measures":["orders.count"],"dimensions":["buyers.vip"]}`, ""},
		{"", "\nrow_rules:\n  - {cubes: [buyers], filter: {member: buyers.country, operator: equals, values: [\"{context.none}\"]} }\n", `{"measures":["orders.count"],"dimensions":["buyers.vip"]}`, ""},
		{"", "\nrow_rules:\n  - {cubes: [buyers], filter: {member: buyers.id, operator: equals, values: [1]} }\n", `{"measures":["orders.count"],"dimensions":["buyers.vip"]}`,
			"a policy or a row rule is on buyers.id, which is not in it"},
		{`    access_policy: [{group: "*", member_level: {includes: "*"}, member_masking: {includes: [status]}}]` + "\n", "", `{"measures":["orders.count"],"dimensions":["orders.status","buyers.vip"]}`,
			"the caller sees a mask of orders.status"},
	} {
		text := strings.NewReplacer("JOINED", buyersJoined, "    POLICY\n", tt.policy).Replace(joinedUp) + tt.more
		m, err := datamodel.Load(fstest.MapFS{"shop.yml": {Data: []byte(text)}})
		if err != nil {
			t.Fatal(err)
		}
		// The rollup of orders alone would hold what does not ask for a buyer.
		plan := generate(t, m, caller(nil, map[string]any{"tenant_id": int64(7)}), tt.query, src.d)
		if tt.miss != "" {
			if plan.Rollup != nil || !slices.Contains(plan.Misses, sqlgen.Miss{Rollup: "orders.joined", Why: tt.miss}) {
				t.Errorf("%s%s: held by %+v, misses %q, want %q", tt.policy, tt.more, plan.Rollup, plan.Misses, tt.miss)
			}
			continue
		}
		if plan.Rollup == nil {
			t.Fatalf("%s%s: %q", tt.policy, tt.more, plan.Misses)
		}
		if strings.Contains(tt.policy+tt.more, "buyers") && plan.Rollup.Name != "orders.joined" {
			t.Errorf("%s%s is held by %s", tt.policy, tt.more, plan.Rollup.Name)
		}
		answersAlike(t, src, duck, plan)
	}
}

// Rows of one credential are not read with those of another: all rollups that are joined or united are shared, or none is.
func TestWhoseRollupsAreReadTogether(t *testing.T) {
	const q = `{"measures":["orders.count"],"dimensions":["buyers.country"]}`
	for _, tt := range []struct {
		orders, buyers string
		held, shared   bool
	}{
		{"", "", true, false},
		{"meta: {shared_rollup: true}", "meta: {shared_rollup: true}", true, true},
		{"meta: {shared_rollup: true}", "", false, false},
		{"", "meta: {shared_rollup: true}", false, false},
	} {
		text := strings.NewReplacer("JOINED", buyersJoined, "    POLICY\n", "    "+tt.orders+"\n", "extends: users\n", "extends: users\n    "+tt.buyers+"\n").Replace(joinedUp)
		m, err := datamodel.Load(fstest.MapFS{"shop.yml": {Data: []byte(text)}})
		if err != nil {
			t.Fatal(err)
		}
		plan := generate(t, m, context(t, tenant7), q, sqlgen.Postgres{})
		miss := sqlgen.Miss{Rollup: "orders.joined", Why: "of its rollups orders.main and buyers.all one is shared, and what one credential fetched is not read with what another did"}
		switch {
		case tt.held != (plan.Rollup != nil), tt.held && plan.Rollup.Shared != tt.shared, !tt.held && !slices.Contains(plan.Misses, miss):
			t.Errorf("orders %q, buyers %q: held by %+v, misses %q", tt.orders, tt.buyers, plan.Rollup, plan.Misses)
		}
	}
}
