package sqlgen_test

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/datamodel/jsmodel"
	"github.com/behalf-project/behalf/internal/sqlgen"
)

// ruled is the shop with a rule for the tenant of its users, which orders and line items have through their user.
const ruled = `
cubes:
  - name: users
    sql_table: users
    joins: [{name: orders, relationship: one_to_many, sql: "{CUBE}.id = {orders}.user_id"}]
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: tenant, sql: tenant_id, type: number, public: false}
      - {name: country, sql: country, type: string}
      - {name: spent, sql: "{orders.total}", type: number, sub_query: true}
    measures: [{name: count, type: count}]
  - name: customers
    extends: users
    sql_alias: customers
  - name: orders
    sql_table: orders
    joins:
      - {name: users, relationship: many_to_one, sql: "{CUBE}.user_id = {users.id}"}
      - {name: line_items, relationship: one_to_many, sql: "{CUBE}.id = {line_items}.order_id"}
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: status, sql: status, type: string}
      - {name: created_at, sql: created_at, type: time}
    measures:
      - {name: count, type: count}
      - {name: total, sql: amount, type: sum}
      - {name: so_far, sql: amount, type: sum, rolling_window: {trailing: unbounded} }
    access_policy: [{group: "*"}]
  - name: line_items
    sql_table: line_items
    joins: [{name: orders, relationship: many_to_one, sql: "{CUBE}.order_id = {orders.id}"}]
    dimensions:
      - {name: order_id, sql: order_id, type: number, primary_key: true}
      - {name: line, sql: line, type: number, primary_key: true}
      - {name: sku, sql: sku, type: string}
    measures: [{name: qty, sql: qty, type: sum}]
  - name: tickets
    sql_table: orders
    joins: [{name: users, relationship: many_to_one, sql: "{CUBE}.user_id = {users.id}"}]
    dimensions: [{name: id, sql: id, type: number, primary_key: true}]
    measures: [{name: count, type: count}]
views:
  - {name: asked, cubes: [{join_path: tickets, includes: [count]}, {join_path: tickets.users, includes: [country]}] }
  - name: sales
    cubes:
      - {join_path: orders, includes: [count, total, status, created_at]}
      - {join_path: orders.line_items, includes: [sku, qty]}
  - name: items
    cubes: [{join_path: line_items, includes: [sku, qty]}]
row_rules:
  - cubes: [users]
    filter: {member: users.tenant, operator: equals, values: ["{context.tenant_id}"]}
    ON_MISSING
  - cubes: [orders, line_items]
    filter: {member: users.tenant, operator: equals, values: ["{context.tenant_id}"]}
`

// A rule holds wherever a row of its cube is read. Expected rows are worked out by hand from seed, of which tenant 8 has one
// user, with one order of 320 and no items.
func TestRowRules(t *testing.T) {
	db := openShop(t, seed)
	seven, eight := map[string]any{"tenant_id": int64(7)}, map[string]any{"tenant_id": int64(8)}
	for _, tt := range []struct {
		name, onMissing string
		claims          map[string]any
		query           string
		want            []string // a row each; or "! " and a part of the refusal
	}{
		{"its own members", "", eight, `{"measures":["users.count"],"dimensions":["users.country"]}`, []string{"FR 1"}},
		{"of a joined cube, by which no member of the query is", "", eight, `{"measures":["orders.count","orders.total"]}`, []string{"1 320"}},
		{"two joins away", "", seven, `{"measures":["line_items.qty"]}`, []string{"31"}},
		{"of a cube on the way", "", seven, `{"measures":["line_items.qty"],"dimensions":["users.country"],"order":[["users.country","asc"]]}`, []string{"DE 31"}},
		{"of a cube that is joined to one without", "", eight, `{"measures":["tickets.count"],"dimensions":["users.country"]}`, []string{"FR 1"}},
		{"of such a cube, through a view", "", eight, `{"measures":["asked.count"],"dimensions":["asked.country"]}`, []string{"FR 1"}},
		{"which without it is free", "", eight, `{"measures":["asked.count"]}`, []string{"6"}},
		{"through a view", "", eight, `{"measures":["sales.total"],"dimensions":["sales.status"]}`, []string{"open 320"}},
		{"through a view that shows nothing of the cube filtered by", "", seven, `{"measures":["items.qty"],"dimensions":["items.sku"],"order":[["items.sku","asc"]]}`, []string{"x 11", "y 4", "z 16"}},
		{"in every part of what joins repeat", "", seven, `{"measures":["orders.total","line_items.qty"],"dimensions":["line_items.sku"],"order":[["line_items.sku","asc"]]}`, []string{"x 30 11", "y 10 4", "z 40 16", "- 80 -"}},
		{"in a sub-query", "", seven, `{"dimensions":["users.spent"],"order":[["users.spent","asc"]]}`, []string{"30", "40", "80"}},
		{"in a rolling window", "", eight, `{"measures":["orders.so_far"],"timeDimensions":[{"dimension":"orders.created_at","dateRange":["2024-01-01","2025-01-01"]}]}`, []string{"320"}},
		{"by time, through a view", "", eight, `{"measures":["sales.total"],"timeDimensions":[{"dimension":"sales.created_at","granularity":"year"}]}`, []string{"2024-01-01T00:00:00.000 320"}},
		{"ungrouped", "", eight, `{"dimensions":["orders.status"],"ungrouped":true}`, []string{"open"}},
		{"of a cube that extends it", "", eight, `{"measures":["customers.count"]}`, []string{"1"}},
		{"a segment and a filter cannot widen it", "", eight, `{"measures":["orders.count"],"filters":[{"or":[{"member":"users.tenant","operator":"equals","values":["7"]},{"member":"users.tenant","operator":"notSet"}]}]}`, []string{"0"}},
		{"a claim that is a list", "", map[string]any{"tenant_id": []any{int64(7), int64(8)}}, `{"measures":["users.count"]}`, []string{"4"}},
		{"a missing claim lets no row through", "", nil, `{"measures":["orders.count"]}`, []string{"0"}},
		{"an empty list neither", "", map[string]any{"tenant_id": []any{}}, `{"dimensions":["users.country"]}`, nil},
		{"a missing claim refuses, where it is written", "on_missing: refuse", nil, `{"measures":["users.count"]}`, []string{"! Filter for users.tenant is required"}},
		{"a claim that is an object is a mistake", "", map[string]any{"tenant_id": map[string]any{}}, `{"measures":["users.count"]}`, []string{"! securityContext.tenant_id is neither"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := datamodel.Load(fstest.MapFS{"shop.yml": {Data: []byte(strings.Replace(ruled, "ON_MISSING", tt.onMissing, 1))}})
			if err != nil {
				t.Fatal(err)
			}
			o := options(sqlgen.Postgres{})
			plan, err := sqlgen.Generate(m, caller(nil, tt.claims), decode(t, tt.query), o)
			if len(tt.want) == 1 && strings.HasPrefix(tt.want[0], "! ") {
				if err == nil || !strings.Contains(err.Error(), tt.want[0][2:]) {
					t.Fatalf("Generate = %v, want a refusal with %q", err, tt.want[0][2:])
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := rows(t, db, plan.SQL, plan.Args); !slices.Equal(got, tt.want) {
				t.Errorf("rows %q, want %q\n%s\n%v", got, tt.want, plan.SQL, plan.Args)
			}
			if slices.Contains(plan.MemberNames, "users.tenant") && !strings.Contains(tt.query, "users.tenant") {
				t.Error("the answer names the member of a rule")
			}
		})
	}
}

// What a program makes of the rows of a cube with a rule is refused when it is made: nothing filters it.
func TestAScriptReadsNothingPastARowRule(t *testing.T) {
	m, err := datamodel.Load(fstest.MapFS{
		"rules.yml": {Data: []byte(`
row_rules:
  - {cubes: [a, same], filter: {member: tenant, operator: equals, values: ["{context.tenant}"]} }
  - {cubes: [other], filter: {member: tenant, operator: equals, values: ["{context.tenant}"]} }
`)},
		"model.js": {Data: []byte("cube(`a`, {sqlTable: `t`, dimensions: {tenant: {sql: `tenant`, type: `string`}}});\n" +
			"cube(`same`, {sql: () => SECURITY_CONTEXT.way.unsafeValue() === 'past' ? `SELECT * FROM ${a.sql()}` : `SELECT * FROM t`, dimensions: {tenant: {sql: `tenant`, type: `string`}}});\n" +
			"cube(`other`, {sql: () => SECURITY_CONTEXT.way.unsafeValue() === 'past' ? `SELECT * FROM ${a.sql()}` : `SELECT * FROM t`, dimensions: {tenant: {sql: `tenant`, type: `string`}}});\n" +
			"cube(`member`, {sqlTable: `u`, dimensions: {x: {sql: () => `(${SECURITY_CONTEXT.way.unsafeValue() === 'past' ? `SELECT 1 FROM ${a.sql()}` : `1`})`, type: `string`}}});\n")},
	}, jsmodel.New(jsmodel.Config{}))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ query, way, want string }{
		{`{"dimensions":["same.tenant"]}`, "past", ""},
		{`{"dimensions":["other.tenant"]}`, "around", ""},
		{`{"dimensions":["other.tenant"]}`, "past", "{a.sql()} reads rows that the row rule at rules.yml:3 would keep back, and other is not of that rule"},
		{`{"dimensions":["member.x"]}`, "around", ""},
		{`{"dimensions":["member.x"]}`, "past", "SQL of member (model.js:"},
	} {
		_, err := sqlgen.Generate(m, context(t, `{"tenant": "7", "way": "`+tt.way+`"}`), decode(t, tt.query), options(sqlgen.Postgres{}))
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s %s: Generate = %v, want %q", tt.query, tt.way, err, tt.want)
		}
	}
}
