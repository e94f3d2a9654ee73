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
