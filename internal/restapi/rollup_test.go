package restapi

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/orchestrator"
	"github.com/google/go-cmp/cmp"
)

const rolledUpModel = `
cubes:
  - name: orders
    sql_table: orders
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: status, sql: status, type: string}
      - {name: city, sql: city, type: string}
      - {name: created_at, sql: created_at, type: time}
    measures: [{name: count, type: count}]
    pre_aggregations:
      - {name: by_status, measures: [count], dimensions: [status], refresh_key: {sql: SELECT MAX(id) FROM orders, every: 5 minutes}}
      - name: by_day
        measures: [count]
        dimensions: [status]
        time_dimension: created_at
        granularity: day
        partition_granularity: month
`

// A statement goes to the orchestrator with the pre-aggregation that holds its query, and an answer that was read from one says
// so, as in Cube.
func TestARollupGoesWithItsStatement(t *testing.T) {
	fetched := time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)
	read := func(r orchestrator.Request) (*orchestrator.Result, error) {
		result, err := resultOf([]any{"new", int64(3)})
		if r.Rollup != nil && err == nil {
			result.Rollup, result.RefreshedAt = r.Rollup.Name, fetched
			for i, part := range append(r.Rollup.Parts, r.Rollup)[:max(1, len(r.Rollup.Parts))] {
				result.Rollups = append(result.Rollups, orchestrator.UsedRollup{Name: part.Name, RefreshedAt: fetched.Add(time.Duration(i) * time.Second)})
			}
		}
		return result, err
	}
	f := newFrontOf(t, rolledUpModel, read)
	for _, tt := range []struct {
		query string
		used  any
	}{
		{`{"measures":["orders.count"],"dimensions":["orders.status"]}`, map[string]any{"prod_pre_aggregations.orders_by_status": map[string]any{
			"preAggregationId": "orders.by_status", "lastUpdatedAt": 1795330800000.0, "type": "rollup",
		}}},
		{`{"measures":["orders.count"],"dimensions":["orders.city"]}`, nil},
	} {
		w := f.get("load", tt.query)
		if w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		body := decode(t, w)
		if diff := cmp.Diff(tt.used, body["usedPreAggregations"]); diff != "" {
			t.Errorf("usedPreAggregations of %s (-want +got):\n%s", tt.query, diff)
		}
		if body["external"] != (tt.used != nil) {
			t.Errorf("external of %s is %v", tt.query, body["external"])
		}
	}

	byStatus := f.seen[0].Rollup
	built, err := byStatus.Build(orchestrator.Span{})
	if err != nil || !strings.Contains(built.SQL, "FROM orders") || !strings.Contains(byStatus.Read.SQL, byStatus.Table) {
		t.Errorf("it is built by %q (%v) and read by %q", built.SQL, err, byStatus.Read.SQL)
	}
	columns := []orchestrator.RollupColumn{{Name: "orders__status", Type: "string"}, {Name: "orders__count", Type: "number"}}
	if diff := cmp.Diff(columns, byStatus.Columns); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
	if since, key := byStatus.Age(orchestrator.Span{}, now); !since.IsZero() || !key || byStatus.Key.Statement.SQL != "SELECT MAX(id) FROM orders" || byStatus.Key.Every != 5*time.Minute {
		t.Errorf("it is old since %s, by its key %t: %+v", since, key, byStatus.Key)
	}
	if byStatus.Partitions != nil {
		t.Error("it has partitions")
	}

	f.get("load", `{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"week","dateRange":["2026-02-10","2026-03-20"]}],"total":true}`)
	reads := map[string]bool{}
	for _, r := range f.seen[2:] {
		reads[r.Rollup.Read.SQL] = true
		day := func(m time.Month, d int) time.Time { return time.Date(2026, m, d, 0, 0, 0, 0, time.UTC) }
		spans, all, err := r.Rollup.Partitions(day(1, 5), day(11, 3))
		want := []orchestrator.Span{{Name: "20260201", From: day(2, 1), To: day(3, 1)}, {Name: "20260301", From: day(3, 1), To: day(4, 1)}}
		if diff := cmp.Diff(want, spans); diff != "" || !all || err != nil {
			t.Errorf("partitions, all %t, %v (-want +got):\n%s", all, err, diff)
		}
		if b := r.Rollup.Bounds; !strings.Contains(strings.ToLower(b[0].SQL), "min(") || !strings.Contains(strings.ToLower(b[1].SQL), "max(") {
			t.Errorf("its bounds are %q and %q", b[0].SQL, b[1].SQL)
		}
	}
	if len(reads) != 2 {
		t.Errorf("the query and its total read by %d statements, want 2", len(reads))
	}
}

// What holds a query is told to everybody, and why the others do not to who develops a model.
func TestSQLTellsWhichRollupHoldsAQuery(t *testing.T) {
	for _, dev := range []bool{false, true} {
		f := newFrontOf(t, rolledUpModel, shippedRows(1), func(c *Config) { c.DevMode = dev })
		shown := decode(t, f.get("sql", `{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"day"}]}`))["sql"].(map[string]any)
		if diff := cmp.Diff([]any{map[string]any{"preAggregationId": "orders.by_day", "type": "rollup"}}, shown["preAggregations"]); diff != "" {
			t.Errorf("preAggregations (-want +got):\n%s", diff)
		}
		want := any(nil)
		if dev {
			want = []any{map[string]any{"preAggregationId": "orders.by_status", "reason": "the time dimension orders.created_at is not in it"}}
		}
		if diff := cmp.Diff(want, shown["rollupMatchResults"]); diff != "" {
			t.Errorf("rollupMatchResults (-want +got):\n%s", diff)
		}
	}
}

const composedModel = `
cubes:
  - name: orders
    sql_table: orders
    joins: [{name: users, relationship: many_to_one, sql: "{CUBE.user_id} = {users.id}"}]
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: user_id, sql: user_id, type: number}
      - {name: created_at, sql: created_at, type: time}
    measures: [{name: count, type: count}]
    pre_aggregations:
      - {name: by_country, type: rollup_join, measures: [count], dimensions: [users.country], rollups: [by_user, users.all]}
      - {name: both, type: rollup_lambda, rollups: [old, late]}
      - {name: old, measures: [count], time_dimension: created_at, granularity: day, partition_granularity: month, build_range_end: {sql: "SELECT TIMESTAMP '2026-01-31'"}}
      - {name: late, measures: [count], time_dimension: created_at, granularity: day, partition_granularity: day, build_range_start: {sql: "SELECT TIMESTAMP '2026-01-01'"}}
      - {name: by_user, measures: [count], dimensions: [user_id]}
  - name: users
    sql_table: users
    dimensions: [{name: id, sql: id, type: number, primary_key: true}, {name: country, sql: country, type: string}]
    measures: [{name: count, type: count}]
    pre_aggregations: [{name: all, dimensions: [id, country]}]
`

// A pre-aggregation that is read from others goes with those, and an answer tells which were read, as in Cube.
func TestAnAnswerTellsWhichRollupsWereJoined(t *testing.T) {
	fetched := time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)
	f := newFrontOf(t, composedModel, func(r orchestrator.Request) (*orchestrator.Result, error) {
		result, err := resultOf([]any{"DE", int64(3)})
		if err != nil {
			return nil, err
		}
		result.Rollup, result.RefreshedAt = r.Rollup.Name, fetched
		for i, part := range r.Rollup.Parts {
			result.Rollups = append(result.Rollups, orchestrator.UsedRollup{Name: part.Name, RefreshedAt: fetched.Add(time.Duration(i) * time.Second)})
		}
		return result, nil
	})
	const joined, united = `{"measures":["orders.count"],"dimensions":["users.country"]}`, `{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"day","dateRange":["2026-01-30","2026-02-02"]}]}`
	for _, tt := range []struct {
		query, id, kind string
		used            map[string]any
	}{
		{joined, "orders.by_country", "rollup_join", map[string]any{
			"prod_pre_aggregations.orders_by_user": map[string]any{"preAggregationId": "orders.by_user", "lastUpdatedAt": 1795330800000.0, "type": "rollup"},
			"prod_pre_aggregations.users_all":      map[string]any{"preAggregationId": "users.all", "lastUpdatedAt": 1795330801000.0, "type": "rollup"},
		}},
		{united, "orders.both", "rollup_lambda", map[string]any{
			"prod_pre_aggregations.orders_old":  map[string]any{"preAggregationId": "orders.old", "lastUpdatedAt": 1795330800000.0, "type": "rollup"},
			"prod_pre_aggregations.orders_late": map[string]any{"preAggregationId": "orders.late", "lastUpdatedAt": 1795330801000.0, "type": "rollup"},
		}},
	} {
		w := f.get("load", tt.query)
		if w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		body := decode(t, w)
		if diff := cmp.Diff(any(tt.used), body["usedPreAggregations"]); diff != "" || body["external"] != true {
			t.Errorf("usedPreAggregations of %s, external %v (-want +got):\n%s", tt.query, body["external"], diff)
		}
		shown := decode(t, f.get("sql", tt.query))["sql"].(map[string]any)
		if diff := cmp.Diff(any([]any{map[string]any{"preAggregationId": tt.id, "type": tt.kind}}), shown["preAggregations"]); diff != "" {
			t.Errorf("preAggregations of %s (-want +got):\n%s", tt.query, diff)
		}
	}

	byCountry, both := f.seen[0].Rollup, f.seen[1].Rollup
	if byCountry.Build != nil || byCountry.United != nil || !strings.Contains(byCountry.Read.SQL, `LEFT JOIN "users__all" ON "orders__by_user"."orders__user_id" = "users__all"."users__id"`) {
		t.Errorf("what is joined is read by %s", byCountry.Read.SQL)
	}
	for _, part := range byCountry.Parts {
		if built, err := part.Build(orchestrator.Span{}); err != nil || !strings.Contains(built.SQL, "GROUP BY") || !strings.Contains(byCountry.Read.SQL, part.Table) {
			t.Errorf("%s is built by %q (%v)", part.Name, built.SQL, err)
		}
	}
	if both.Parts[0].Table != both.Parts[1].Table {
		t.Errorf("what is united is read as %s and %s, want one table", both.Parts[0].Table, both.Parts[1].Table)
	}
	day := func(m time.Month, d int) time.Time { return time.Date(2026, m, d, 0, 0, 0, 0, time.UTC) }
	spans, _, whole, err := both.United([][2]time.Time{{day(1, 1), day(1, 31)}, {day(1, 1), day(2, 5)}})
	want := [][]orchestrator.Span{{{Name: "20260101", From: day(1, 1), To: day(2, 1)}}, {{Name: "20260201", From: day(2, 1), To: day(2, 2)}, {Name: "20260202", From: day(2, 2), To: day(2, 3)}}}
	if diff := cmp.Diff(want, spans); diff != "" || !whole || err != nil {
		t.Errorf("united, everything %t, %v (-want +got):\n%s", whole, err, diff)
	}
}
