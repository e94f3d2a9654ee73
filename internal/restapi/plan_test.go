package restapi

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/orchestrator"
)

const tenants = `
cubes:
  - name: orders
    sql: "SELECT * FROM orders WHERE {SECURITY_CONTEXT.tenant.filter('tenant')}"
    dimensions:
      - {name: created_at, sql: created_at, type: time}
    measures:
      - {name: count, type: count}
`

// A plan that is kept must be nobody else's: the values of the security context are bound into it.
func TestAKeptPlanIsOfOneSecurityContextQueryAndSecond(t *testing.T) {
	m, err := datamodel.Load(fstest.MapFS{"orders.yml": {Data: []byte(tenants)}})
	if err != nil {
		t.Fatal(err)
	}
	var at time.Time
	h := New(Config{
		Verify: func(*http.Request) (securitycontext.Context, error) {
			return securitycontext.Context{}, nil
		},
		Model: func(context.Context, securitycontext.Context) (*datamodel.Model, error) { return m, nil },
		Source: func(domain, name string) (driverfactory.Source, error) {
			return driverfactory.Source{Domain: domain, Name: name, Type: "postgres"}, nil
		},
		Load: func(context.Context, securitycontext.Context, orchestrator.Request) (*orchestrator.Result, error) {
			return &orchestrator.Result{}, nil
		},
		Now: func() time.Time { return at },
	})
	ask := func(claims map[string]any, query string) string {
		t.Helper()
		p, err := h.prepare(t.Context(), securitycontext.Context{Domain: "dom", Template: claims}, request{Query: []byte(query)})
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(p.queries[0].plan.Args, len(p.queries[0].plan.Columns))
	}
	const count, today = `{"measures":["orders.count"]}`, `{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","dateRange":"today"}]}`
	at = now
	seen := map[string]string{}
	for _, tt := range []struct {
		name   string
		claims map[string]any
		query  string
		at     time.Time
	}{
		{"one tenant", map[string]any{"tenant": "a"}, count, now},
		{"another tenant", map[string]any{"tenant": "b"}, count, now},
		{"two tenants", map[string]any{"tenant": []any{"a", "b"}}, count, now},
		{"two tenants in one word", map[string]any{"tenant": `a","b`}, count, now},
		{"no tenant", nil, count, now},
		{"the days of one tenant", map[string]any{"tenant": "a"}, today, now},
		{"the next day", map[string]any{"tenant": "a"}, today, now.Add(24 * time.Hour)},
	} {
		at = tt.at
		first := ask(tt.claims, tt.query)
		if again := ask(tt.claims, tt.query); again != first {
			t.Errorf("%s: the plan is %s and then %s", tt.name, first, again)
		}
		if other, taken := seen[first]; taken {
			t.Errorf("%s got the plan of %s: %s", tt.name, other, first)
		}
		seen[first] = tt.name
	}
	if h.plans.Len() != len(seen) {
		t.Errorf("%d plans are kept, want one for each of %d", h.plans.Len(), len(seen))
	}
	long := "[" + strings.Repeat(`{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"day"}]},`, keptQueries) +
		`{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"day"}]}]`
	ask(nil, long)
	if h.plans.Len() != len(seen) {
		t.Error("the plans of a long batch are kept: each is many times as large as its query")
	}
}

// Groups and claims outside of the namespace that the model sees decide about access policies.
func TestAPlanIsOfTheCallersGroups(t *testing.T) {
	m, err := datamodel.Load(fstest.MapFS{"orders.yml": {Data: []byte(`
cubes:
  - name: orders
    sql_table: orders
    measures: [{name: count, type: count}]
    dimensions: [{name: region, sql: region, type: string}]
    access_policy:
      - {group: eu, row_level: {filters: [{member: region, operator: equals, values: [eu]}]}}
      - {group: own, row_level: {filters: [{member: region, operator: equals, values: ["{ securityContext.region }"]}]}}
`)}})
	if err != nil {
		t.Fatal(err)
	}
	h := New(Config{
		Model: func(context.Context, securitycontext.Context) (*datamodel.Model, error) { return m, nil },
		Source: func(domain, name string) (driverfactory.Source, error) {
			return driverfactory.Source{Domain: domain, Name: name, Type: "postgres"}, nil
		},
		Now: func() time.Time { return now },
	})
	for _, tt := range []struct {
		groups []string
		region string
		want   string
	}{
		{[]string{"eu"}, "", "[eu]"}, {[]string{"own"}, "us", "[us]"}, {[]string{"own"}, "xx", "[xx]"}, {[]string{"eu", "own"}, "us", "[eu us]"},
		{nil, "", "refused"}, {[]string{"eu"}, "", "[eu]"},
	} {
		sc := securitycontext.Context{Domain: "dom", Groups: tt.groups, Claims: map[string]any{"region": tt.region}, Template: map[string]any{}}
		got := "refused"
		if p, err := h.prepare(t.Context(), sc, request{Query: []byte(`{"measures":["orders.count"]}`)}); err == nil {
			got = fmt.Sprint(p.queries[0].plan.Args)
		}
		if got != tt.want {
			t.Errorf("groups %q, region %q: %s, want %s", tt.groups, tt.region, got, tt.want)
		}
	}
}

func TestTheResultsOfABatchAreBoundedTogether(t *testing.T) {
	const each = 40 << 20
	f := newFront(t, func(orchestrator.Request) (*orchestrator.Result, error) {
		return &orchestrator.Result{RunAs: asAlice, RefreshedAt: now, Bytes: each}, nil
	})
	one := `{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"day"}]}`
	if w := f.get("load", one); w.Code != http.StatusOK {
		t.Errorf("one result = %d %s, want it answered", w.Code, w.Body)
	}
	w := f.do(http.MethodPost, "/cubejs-api/v1/load", `{"queryType":"multi","query":[`+one+`,`+one+`]}`)
	if v := decode(t, w); w.Code != http.StatusBadRequest || v["code"] != "result_too_large" {
		t.Errorf("two results = %d %v, want result_too_large", w.Code, v)
	}
}
