package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/behalf-project/behalf/internal/sandbox/cubeclient"
	"github.com/google/go-cmp/cmp"
)

// A request of GraphQL runs at the warehouse, as the person who asked.
func TestGraphQLRunsAsThePersonWhoAsked(t *testing.T) {
	w := newWorld(t, worldConfig{environ: []string{"BEHALF_API_CONTINUE_WAIT=1s"}})
	w.write("model/sales.yml", cubeclient.Model)
	w.restart()
	w.connect(w.alice, "databricks")
	ask := func(b *browser, query string) (int, string) {
		body, err := json.Marshal(map[string]string{"query": query})
		w.must(err)
		header := http.Header{"Authorization": {w.sign(b.username)}, "Content-Type": {"application/json"}}
		got, err := b.do(t.Context(), http.MethodPost, "/cubejs-api/graphql", header, strings.NewReader(string(body)))
		w.must(err)
		return got.status, string(got.body)
	}
	for _, tt := range []struct{ name, query, want string }{
		{"members and an order", `{ cube(orderBy: {sales: {status: asc}}) { sales { status count total } } }`,
			`[{"sales":{"status":"done","count":3,"total":61.50}},{"sales":{"status":"open","count":1,"total":100.00}},{"sales":{"status":"void","count":1,"total":null}}]`},
		{"days of a range", `{ cube(where: {sales: {sold_at: {inDateRange: ["2024-03-01", "2024-03-02"]}}}) { sales { sold_at { day } count } } }`,
			`[{"sales":{"sold_at":{"day":"2024-03-01T00:00:00.000Z"},"count":2}},{"sales":{"sold_at":{"day":"2024-03-02T00:00:00.000Z"},"count":1}}]`},
		{"alternatives, a limit and an offset", `{ cube(limit: 1, offset: 1) { sales(where: {OR: [{status: {equals: "open"}}, {region: {startsWith: "us"}}]}, orderBy: {id: desc}) { id sold_at { value } } } }`,
			`[{"sales":{"id":4,"sold_at":{"value":"2024-03-04T00:00:00.000Z"}}}]`},
		{"a condition on a measure", `{ cube(where: {sales: {count: {gt: 1}}}) { sales { status } } }`, `[{"sales":{"status":"done"}}]`},
		{"a view", `{ cube { sold { count } } }`, `[{"sold":{"count":5}}]`},
		{"what takes longer than a client of JSON waits", `{ cube { slow_sales { count } } }`, `[{"slow_sales":{"count":1}}]`},
	} {
		status, body := ask(w.alice, tt.query)
		var got struct {
			Data       struct{ Cube json.RawMessage }
			Extensions loaded
		}
		w.must(json.Unmarshal([]byte(body), &got))
		if diff := cmp.Diff(tt.want, string(got.Data.Cube)); diff != "" || status != http.StatusOK {
			t.Errorf("%s: %d %s (-want +got):\n%s", tt.name, status, body, diff)
			continue
		}
		if got.Extensions.RunAs.Identity != "user" || got.Extensions.RunAs.Username != "alice" {
			t.Errorf("%s ran as %+v", tt.name, got.Extensions.RunAs)
		}
	}
	if status, body := ask(w.bob, `{ cube { sales { count } } }`); status != http.StatusForbidden || !strings.Contains(body, `"code":"authorization_required"`) {
		t.Errorf("bob, who connected nothing: %d %s", status, body)
	}
}
