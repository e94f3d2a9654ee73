package sqlgen_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/query"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/internal/sqlgen"
)

var update = flag.Bool("update", false, "write the golden files")

var now = time.Date(2026, 11, 21, 22, 15, 0, 0, time.UTC)

func loadShop(t testing.TB) *datamodel.Model {
	t.Helper()
	m, err := datamodel.Load(os.DirFS("testdata/model"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// context returns a security context whose template claims are the JSON text claims.
func context(t testing.TB, claims string) securitycontext.Context {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(claims))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		t.Fatal(err)
	}
	return securitycontext.Context{Template: m}
}

// decode returns the one normalized query of a JSON text.
func decode(t testing.TB, text string) query.Query {
	t.Helper()
	b, err := query.Decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if b, err = b.Normalize(query.Options{Now: now}); err != nil {
		t.Fatal(err)
	}
	return b.Queries[0]
}

func options(d sqlgen.Dialect) sqlgen.Options {
	return sqlgen.Options{Now: now, Dialect: func(string) (sqlgen.Dialect, error) { return d, nil }}
}

var dialects = []sqlgen.Dialect{sqlgen.Postgres{}, sqlgen.DuckDB{}, sqlgen.Databricks{}, sqlgen.Snowflake{}, sqlgen.MySQL{}}

const tenant7 = `{"tenant_id": 7, "regions": ["eu", "us"]}`

// cases are queries with a golden file for each dialect.
var cases = []struct{ name, query string }{
	{"full", `{"measures":["orders.count","orders.total"],"dimensions":["orders.status"],
		"timeDimensions":[{"dimension":"orders.created_at","granularity":"month","dateRange":["2024-01-01","2024-03-31"]}],
		"segments":["orders.done_only"],
		"filters":[{"member":"orders.total","operator":"gt","values":["10"]},{"member":"users.country","operator":"equals","values":["DE"]}]}`},
	{"measures_only", `{"measures":["orders.count","orders.done","orders.done_total","orders.done_share","orders.twice_share","orders.users","orders.users_about","orders.spread"]}`},
	{"dimensions_only", `{"dimensions":["orders.size","orders.user_country","orders.hour","orders.created_at"],"timezone":"America/New_York","limit":5,"offset":10,"total":true}`},
	{"granularities", `{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"second"},
		{"dimension":"orders.created_at","granularity":"week"},{"dimension":"orders.created_at","granularity":"quarter"}],"timezone":"Europe/Berlin"}`},
	{"multiplied", `{"measures":["orders.total","orders.count","line_items.qty"],"dimensions":["users.country"],
		"timeDimensions":[{"dimension":"orders.created_at","granularity":"day","dateRange":"last 7 days"}],
		"filters":[{"member":"orders.total","operator":"gte","values":[1.5]},{"member":"line_items.sku","operator":"set"}]}`},
	{"multiplied_counts", `{"measures":["orders.count","orders.highest","orders.users","line_items.count"]}`},
	{"two_cubes_of_keys", `{"measures":["users.credit","orders.average","line_items.revenue"],"dimensions":["products.label"]}`},
	{"share_of_multiplied", `{"measures":["orders.done_share","orders.spread"],"dimensions":["line_items.sku"]}`},
	{"composite_key", `{"measures":["line_items.count"],"dimensions":["orders.status"]}`},
	{"view", `{"measures":["sales.total"],"dimensions":["sales.users_country"],"timeDimensions":[{"dimension":"sales.ordered_at","granularity":"year"}],
		"segments":["sales.done_only"],"order":{"sales.total":"desc","sales.ordered_at":"asc","orders.status":"asc"}}`},
	{"ungrouped", `{"measures":["orders.count","orders.total","orders.done","orders.done_share"],"dimensions":["orders.status"],"ungrouped":true,"order":[["orders.status","asc"]]}`},
	{"filters", `{"measures":["orders.count"],"order":[],"filters":[
		{"or":[{"member":"orders.status","operator":"contains","values":["a%_b\\c","x"]},{"and":[
			{"member":"users.age","operator":"gte","values":[21]},{"member":"users.vip","operator":"equals","values":[true]}]}]},
		{"member":"orders.status","operator":"notContains","values":["q"]},
		{"member":"orders.status","operator":"notContains","values":["q","r",null]},
		{"member":"orders.status","operator":"startsWith","values":["s",null]},
		{"member":"orders.status","operator":"notStartsWith","values":["s"]},
		{"member":"orders.status","operator":"endsWith","values":["e"]},
		{"member":"orders.status","operator":"notEndsWith","values":["e"]},
		{"member":"orders.status","operator":"equals","values":["a","b"]},
		{"member":"orders.status","operator":"equals","values":["a",null]},
		{"member":"orders.status","operator":"equals","values":[null]},
		{"member":"orders.status","operator":"in","values":["a"]},
		{"member":"orders.status","operator":"notEquals","values":["a"]},
		{"member":"orders.status","operator":"notEquals","values":["a","b"]},
		{"member":"orders.status","operator":"notIn","values":["a",null]},
		{"member":"orders.status","operator":"notEquals","values":[null]},
		{"member":"orders.status","operator":"set"},{"member":"orders.status","operator":"notSet"},
		{"member":"users.age","operator":"lt","values":["20.5"]},{"member":"users.age","operator":"lte","values":["3000000000"]}]}`},
	{"date_filters", `{"measures":["orders.count"],"timezone":"America/New_York","filters":[
		{"member":"orders.created_at","operator":"inDateRange","values":["2026-01-01","2026-01-31"]},
		{"member":"orders.created_at","operator":"notInDateRange","values":["last month"]},
		{"member":"orders.created_at","operator":"onTheDate","values":["2026-01-05T10:00:00"]},
		{"member":"orders.created_at","operator":"beforeDate","values":["2026-01-05"]},
		{"member":"orders.created_at","operator":"beforeOrOnDate","values":["2026-01-05"]},
		{"member":"orders.created_at","operator":"afterDate","values":["2026-01-05"]},
		{"member":"orders.created_at","operator":"afterOrOnDate","values":["today"]}]}`},
	{"filter_params", `{"measures":["recent.count"],"timeDimensions":[{"dimension":"recent.created_at","dateRange":["2026-01-01","2026-01-02"]}],
		"filters":[{"or":[{"member":"recent.status","operator":"equals","values":["a"]},{"member":"recent.kind","operator":"equals","values":["b"]}]},
			{"member":"recent.id","operator":"gt","values":[5]}]}`},
	{"filter_params_absent", `{"measures":["recent.count"],"filters":[{"or":[{"member":"recent.status","operator":"equals","values":["a"]},
		{"member":"recent.id","operator":"equals","values":["3"]}]}]}`},
}

func TestGeneratedSQLIsTheGoldenOne(t *testing.T) {
	m := loadShop(t)
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			q := decode(t, tt.query)
			for _, d := range dialects {
				plan, err := sqlgen.Generate(m, context(t, tenant7), q, options(d))
				if err != nil {
					t.Fatal(err)
				}
				golden(t, filepath.Join("testdata/golden", tt.name+"."+d.Name()+".sql"), show(t, plan))
			}
		})
	}
}

// show prints a plan for people.
func show(t *testing.T, p sqlgen.Plan) string {
	var b strings.Builder
	args := func(a []any) {
		text, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "-- %s\n", text)
	}
	b.WriteString(p.SQL + "\n")
	args(p.Args)
	if p.Total != nil {
		b.WriteString(p.Total.SQL + "\n")
		args(p.Total.Args)
	}
	for _, c := range p.Columns {
		fmt.Fprintf(&b, "-- %s %s %s\n", c.Alias, c.Type, strings.Join(c.Keys, " "))
	}
	fmt.Fprintf(&b, "-- source %s, order %v, fresh for %s", p.DataSource, p.Order, p.FreshFor)
	if !p.FreshSince.IsZero() {
		fmt.Fprintf(&b, ", since %s", p.FreshSince.UTC().Format(time.RFC3339))
	}
	b.WriteString("\n")
	return b.String()
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s\n got %s\nwant %s", file, got, want)
	}
}

func securityContext(claims map[string]any) securitycontext.Context {
	return securitycontext.Context{Template: claims}
}

func sprint(args []any) string { return fmt.Sprint(args) }

func BenchmarkGenerate(b *testing.B) {
	m := loadShop(b)
	for _, tt := range cases[:5] {
		b.Run(tt.name, func(b *testing.B) {
			q, sc, o := decode(b, tt.query), context(b, tenant7), options(sqlgen.Postgres{})
			b.ReportAllocs()
			for b.Loop() {
				if _, err := sqlgen.Generate(m, sc, q, o); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
