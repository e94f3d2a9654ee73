package restapi

import (
	"net/http"
	"testing"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/orchestrator"
	"github.com/google/go-cmp/cmp"
)

const refreshedModel = `
cubes:
  - name: orders
    sql_table: orders
    refresh_key: {sql: "SELECT MAX(updated_at) AS at FROM orders", every: 5 minutes}
    joins: [{name: stores, relationship: many_to_one, sql: "{CUBE}.store_id = {stores.id}"}]
    dimensions: [{name: id, sql: id, type: number, primary_key: true}]
    measures: [{name: count, type: count}]
  - name: stores
    sql_table: stores
    refresh_key: {every: "0 6 * * *", timezone: Europe/Berlin}
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: city, sql: city, type: string}
`

// A statement goes to the orchestrator with the refresh keys of the cubes it reads; what they were answered is shown
// where one develops a model, and nowhere else.
func TestRefreshKeysGoWithEveryStatement(t *testing.T) {
	answered := func(orchestrator.Request) (*orchestrator.Result, error) {
		return &orchestrator.Result{
			RunAs: asAlice, RefreshedAt: now, Rows: [][]any{{"Rome", int64(3)}},
			RefreshKeys: []orchestrator.Answer{{
				Columns: []driverfactory.Column{{Name: "at"}, {Name: "n"}}, Rows: [][]any{{now, int64(7)}, {nil, driverfactory.Decimal("1.50")}},
			}},
		}, nil
	}
	for _, dev := range []bool{false, true} {
		f := newFrontOf(t, refreshedModel, answered, func(c *Config) { c.DevMode = dev })
		w := f.get("load", `{"measures":["orders.count"],"dimensions":["stores.city"]}`)
		if w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		want := any(nil)
		if dev {
			want = []any{[]any{map[string]any{"at": "2026-11-22T08:00:00.000", "n": "7"}, map[string]any{"at": nil, "n": "1.50"}}}
		}
		if diff := cmp.Diff(want, decode(t, w)["refreshKeyValues"]); diff != "" {
			t.Errorf("refreshKeyValues (-want +got):\n%s", diff)
		}
		want = nil
		if dev {
			want = []any{[]any{"SELECT MAX(updated_at) AS at FROM orders", []any{}, map[string]any{"external": false, "renewalThreshold": 300.0}}}
		}
		shown := decode(t, f.get("sql", `{"measures":["orders.count"]}`))["sql"].(map[string]any)
		if diff := cmp.Diff(want, shown["cacheKeyQueries"]); diff != "" {
			t.Errorf("cacheKeyQueries (-want +got):\n%s", diff)
		}
		r := f.seen[0]
		keys := []orchestrator.RefreshKey{{
			Statement: driverfactory.Statement{SQL: "SELECT MAX(updated_at) AS at FROM orders", Args: []any{}},
			Every:     5 * time.Minute, Of: "cube orders (orders.yml:5)",
		}}
		if diff := cmp.Diff(keys, r.RefreshKeys); diff != "" {
			t.Errorf("RefreshKeys (-want +got):\n%s", diff)
		}
		if since := time.Date(2026, 11, 22, 5, 0, 0, 0, time.UTC); !r.FreshSince.Equal(since) || r.FreshFor != 6*time.Hour {
			t.Errorf("fresh for %s since %s, want 6h since %s", r.FreshFor, r.FreshSince, since)
		}
	}
}

// A plan is kept for a second; a period that begins in the next one begins for everybody.
func TestAPeriodBeginsForPlansThatAreKept(t *testing.T) {
	at := time.Date(2026, 11, 22, 4, 59, 59, 900_000_000, time.UTC)
	f := newFrontOf(t, refreshedModel, shippedRows(1), func(c *Config) { c.Now = func() time.Time { return at } })
	for _, step := range []time.Duration{0, 50 * time.Millisecond, 100 * time.Millisecond} {
		at = at.Add(step)
		f.get("load", `{"dimensions":["stores.city"]}`)
	}
	var got []int
	for _, r := range f.seen {
		got = append(got, r.FreshSince.UTC().Day())
	}
	if diff := cmp.Diff([]int{21, 21, 22}, got); diff != "" {
		t.Errorf("days since when results are fresh (-want +got):\n%s", diff)
	}
}

// shippedRows answers every statement with one row of n columns.
func shippedRows(n int) func(orchestrator.Request) (*orchestrator.Result, error) {
	return func(orchestrator.Request) (*orchestrator.Result, error) {
		return &orchestrator.Result{RunAs: asAlice, RefreshedAt: now, Rows: [][]any{make([]any, n)}}, nil
	}
}
