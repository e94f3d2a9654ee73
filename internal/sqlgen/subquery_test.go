package sqlgen_test

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/sqlgen"
)

// Each user has a number of orders and a sum of them; the orders may be guarded by a policy.
const counted = `
cubes:
  - name: users
    sql: "SELECT * FROM users WHERE {SECURITY_CONTEXT.tenant_id.filter('tenant_id')}"
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true, public: true}
      - {name: country, sql: country, type: string}
      - {name: orders_count, sql: "{orders.count}", type: number, sub_query: true}
      - {name: spent, sql: "COALESCE({orders.total}, 0)", type: number, sub_query: true, propagate_filters_to_sub_query: true}
      - {name: average, sql: "{orders.total} / NULLIF({orders.count}, 0)", type: number, sub_query: true}
      - {name: bought, sql: "{line_items.qty}", type: number, sub_query: true}
      - {name: kind, case: {when: [{sql: "{orders_count} > 1", label: regular}], else: {label: new}}, type: string}
    measures:
      - {name: count, type: count}
      - {name: avg_orders, sql: "{orders_count}", type: avg}
      - {name: most_spent, sql: "{spent}", type: max}
  - name: orders
    sql_table: orders
    joins:
      - {name: users, relationship: many_to_one, sql: "{CUBE}.user_id = {users.id}"}
      - {name: line_items, relationship: one_to_many, sql: "{CUBE}.id = {line_items}.order_id"}
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: status, sql: status, type: string}
      - {name: created_at, sql: created_at, type: time}
      - {name: items, sql: "{line_items.qty}", type: number, sub_query: true}
    measures:
      - {name: count, type: count}
      - {name: total, sql: amount, type: sum}
      - {name: items_sold, sql: "{items}", type: sum}
    POLICY
  - name: line_items
    sql_table: line_items
    joins:
      - {name: orders, relationship: many_to_one, sql: "{CUBE}.order_id = {orders.id}"}
    dimensions:
      - {name: key, sql: "{CUBE}.order_id || '-' || {CUBE}.line", type: string, primary_key: true}
      - {name: sku, sql: sku, type: string}
    measures:
      - {name: qty, sql: qty, type: sum}
views:
  - name: customers
    cubes:
      - {join_path: users, includes: [id, orders_count]}
`

func TestSubQueries(t *testing.T) {
	db := openShop(t, seed)
	tenant := map[string]any{"tenant_id": int64(7)}
	for _, tt := range []struct {
		name, policy, query string
		want                []string
	}{
		{"a count for each row", "", `{"dimensions":["users.id","users.orders_count"],"order":[["users.id","asc"]]}`, []string{"1 2", "2 1", "3 1"}},
		{"a measure over them", "", `{"measures":["users.avg_orders","users.count"],"dimensions":["users.country"],"order":[["users.country","asc"]]}`, []string{"DE 1.5 2", "- 1 1"}},
		{"two measures in one", "", `{"dimensions":["users.id","users.average"],"order":[["users.id","asc"]]}`, []string{"1 15", "2 40", "3 80"}},
		{"a measure that the joins on the way would repeat", "", `{"dimensions":["users.id","users.bought"],"order":[["users.id","asc"]]}`, []string{"1 15", "2 16", "3 -"}},
		{"inside another dimension, and filtered by", "", `{"dimensions":["users.kind"],"measures":["users.count"],"filters":[{"member":"users.orders_count","operator":"lte","values":["2"]}],"order":[["users.kind","asc"]]}`,
			[]string{"new 2", "regular 1"}},
		{"filters of the query stay outside", "", `{"dimensions":["users.id","users.orders_count"],"filters":[{"member":"users.country","operator":"equals","values":["DE"]}],"order":[["users.id","asc"]]}`, []string{"1 2", "2 1"}},
		{"and go inside where the dimension says so", "", `{"dimensions":["users.id","users.orders_count","users.spent"],"filters":[{"member":"orders.status","operator":"equals","values":["done"]}],"order":[["users.id","asc"]]}`,
			[]string{"1 2 10", "2 1 40", "3 1 80"}},
		{"within a query that repeats rows", "", `{"measures":["orders.items_sold"],"dimensions":["line_items.sku"],"order":[["line_items.sku","asc"]]}`, []string{"x 15", "y 103", "z 16", "- 96"}},
		{"of one that is joined", "", `{"measures":["orders.total"],"dimensions":["users.orders_count"],"order":[["users.orders_count","asc"]]}`, []string{"1 120", "2 30", "- 480"}},
		{"through a view", "", `{"dimensions":["customers.id","customers.orders_count"],"order":[["customers.id","asc"]]}`, []string{"1 2", "2 1", "3 1"}},
		{"of rows that a policy hides", `access_policy: [{group: "*", row_level: {filters: [{member: status, operator: equals, values: [done]}]}}]`,
			`{"dimensions":["users.id","users.orders_count"],"order":[["users.id","asc"]]}`, []string{"1 1", "2 1", "3 1"}},
		{"of a cube that lets nobody in", `access_policy: [{group: admin}]`, `{"dimensions":["users.id","users.orders_count"],"order":[["users.id","asc"]]}`, []string{"1 -", "2 -", "3 -"}},
		{"of such a cube, through a view", `access_policy: [{group: admin}]`, `{"dimensions":["customers.id","customers.orders_count"],"order":[["customers.id","asc"]]}`, []string{"1 -", "2 -", "3 -"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := datamodel.Load(fstest.MapFS{"shop.yml": {Data: []byte(strings.Replace(counted, "POLICY", tt.policy, 1))}})
			if err != nil {
				t.Fatal(err)
			}
			plan, err := sqlgen.Generate(m, caller(nil, tenant), decode(t, tt.query), options(sqlgen.Postgres{}))
			if err != nil {
				t.Fatal(err)
			}
			if got := rows(t, db, plan.SQL, plan.Args); !slices.Equal(got, tt.want) {
				t.Errorf("rows %q, want %q\n%s\n%v", got, tt.want, plan.SQL, plan.Args)
			}
			// Row security holds inside: every table of users has the filter of its tenant.
			if n, of := strings.Count(plan.SQL, "FROM users"), strings.Count(plan.SQL, "tenant_id ="); n != of {
				t.Errorf("users stand %d times in the SQL, and their filter %d times\n%s", n, of, plan.SQL)
			}
		})
	}
}

// A filter that is propagated reads a cube of its own: its policies hold inside the sub-query too.
func TestPoliciesHoldForWhatIsPropagated(t *testing.T) {
	m, err := datamodel.Load(fstest.MapFS{"shop.yml": {Data: []byte(`
cubes:
  - name: regions
    sql: SELECT DISTINCT region FROM orders
    joins: [{name: orders, relationship: one_to_many, sql: "{CUBE}.region = {orders}.region"}]
    dimensions:
      - {name: region, sql: region, type: string, primary_key: true, public: true}
      - {name: spent, sql: "{orders.total}", type: number, sub_query: true, propagate_filters_to_sub_query: true}
  - name: orders
    sql_table: orders
    joins: [{name: buyers, relationship: many_to_one, sql: "{CUBE}.user_id = {buyers.id}"}]
    dimensions: [{name: id, sql: id, type: number, primary_key: true}]
    measures: [{name: total, sql: amount, type: sum}]
  - name: buyers
    sql_table: users
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: country, sql: country, type: string}
      - {name: age, sql: age, type: number}
    segments: [{name: grown, sql: "{CUBE}.age > 1"}]
    access_policy: [{group: "*", row_level: {filters: [{member: country, operator: equals, values: [DE]}]}}]
`)}})
	if err != nil {
		t.Fatal(err)
	}
	db := openShop(t, seed)
	for _, narrowed := range []string{`"filters":[{"member":"buyers.age","operator":"gt","values":["1"]}]`, `"segments":["buyers.grown"]`} {
		plan, err := sqlgen.Generate(m, caller(nil, nil), decode(t, `{"dimensions":["regions.region","regions.spent"],"order":[["regions.region","asc"]],`+narrowed+`}`), options(sqlgen.Postgres{}))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := rows(t, db, plan.SQL, plan.Args), []string{"eu 10", "us 20"}; !slices.Equal(got, want) {
			t.Errorf("%s: rows %q, want %q\n%s\n%v", narrowed, got, want, plan.SQL, plan.Args)
		}
	}
}
