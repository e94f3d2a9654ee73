package sqlgen_test

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/internal/sqlgen"
)

// guarded is the shop with access policies. Expected rows are worked out by hand from seed.
const guarded = `
cubes:
  - name: users
    sql_table: users
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: country, sql: country, type: string}
      - {name: age, sql: age, type: number}
  - name: orders
    sql_table: orders
    joins:
      - {name: users, relationship: many_to_one, sql: "{CUBE}.user_id = {users.id}"}
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true, public: true, mask: -1}
      - {name: status, sql: status, type: string, mask: "'hidden'"}
      - {name: kind, sql: kind, type: string}
      - {name: region, sql: region, type: string, mask: {sql: "CONCAT('*', RIGHT({CUBE}.region, 1))"}}
      - {name: shout, sql: "UPPER({region})", type: string}
    measures:
      - {name: count, type: count}
      - {name: total, sql: amount, type: sum, mask: -7}
      - {name: largest, sql: amount, type: max}
    access_policy: POLICY
views:
  - name: sales
    cubes:
      - {join_path: orders, includes: '*'}
      - {join_path: orders.users, prefix: true, includes: [country]}
`

const everything = `{"measures":["orders.count"],"dimensions":["orders.status"],"order":[["orders.status","asc"]]}`

func guardedModel(t testing.TB, policy, view string) *datamodel.Model {
	t.Helper()
	text := strings.Replace(guarded, "POLICY", policy, 1)
	if policy == "" {
		text = strings.Replace(text, "    access_policy: \n", "", 1)
	}
	if view != "" {
		text += "    access_policy: " + view + "\n"
	}
	m, err := datamodel.Load(fstest.MapFS{"shop.yml": {Data: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func caller(groups []string, claims map[string]any) securitycontext.Context {
	return securitycontext.Context{Claims: claims, Template: claims, Groups: groups}
}

// What a caller of some groups gets where a policy stands (cube-data-model.md §16.2, §16.3, §16.4).
func TestAccessPolicies(t *testing.T) {
	db := openShop(t, seed)
	sales, admin, nobody := []string{"sales"}, []string{"admin"}, []string(nil)
	const (
		onlyEU    = `{filters: [{member: region, operator: equals, values: [eu]}]}`
		ownRegion = `{filters: [{member: region, operator: equals, values: securityContext.regions}]}`
		twoRules  = `[{group: "*", row_level: ` + onlyEU + `}, {group: admin, row_level: {allow_all: true}}]`
	)
	eu := map[string]any{"regions": []any{"eu"}}
	for _, tt := range []struct {
		name, policy, view string
		groups             []string
		claims             map[string]any
		query              string
		want               []string // a row each; or "! " and a part of the refusal
	}{
		{"no policy", ``, "", nobody, nil, everything, []string{"done 3", "open 2", "- 1"}},
		{"a policy of another group", `[{group: admin}]`, "", sales, nil, everything, []string{"! You requested hidden member: 'orders.status'"}},
		{"a policy of the caller's group", `[{groups: [sales, support]}]`, "", sales, nil, everything, []string{"done 3", "open 2", "- 1"}},
		{"an old spelling of a group", `[{role: sales}]`, "", sales, nil, everything, []string{"done 3", "open 2", "- 1"}},
		{"of everybody, with a filter", twoRules, "", sales, nil, everything, []string{"done 1", "- 1"}},
		{"one that grants every row beside one that does not", twoRules, "", admin, nil, everything, []string{"done 3", "open 2", "- 1"}},
		{"policies widen one another", `[{group: "*", row_level: ` + onlyEU + `}, {group: sales, row_level: {filters: [{member: kind, operator: equals, values: [b]}]}}]`, "", sales, nil,
			everything, []string{"done 2", "open 2", "- 1"}},
		{"filters of one policy narrow one another", `[{group: "*", row_level: {filters: [{member: region, operator: equals, values: [eu]}, {member: status, operator: set}]}}]`, "", nobody, nil,
			everything, []string{"done 1"}},
		{"a group of filters", `[{group: "*", row_level: {filters: [{or: [{member: region, operator: equals, values: [xx]}, {member: kind, operator: equals, values: [a]}]}]}}]`, "", nobody, nil,
			everything, []string{"done 3", "- 1"}},
		{"a filter on a joined cube, which the query does not name", `[{group: "*", row_level: {filters: [{member: users.country, operator: equals, values: [DE]}]}}]`, "", nobody, nil,
			everything, []string{"done 2", "open 1"}},

		{"a claim that is a list", `[{group: "*", row_level: ` + ownRegion + `}]`, "", nobody, map[string]any{"regions": []any{"eu", "xx"}}, everything, []string{"done 2", "- 1"}},
		{"a claim in a list, alone in its braces, that is a list", `[{group: "*", row_level: {filters: [{member: region, operator: equals, values: ["{ securityContext.regions }"]}]}}]`, "", nobody,
			map[string]any{"regions": []any{"eu", "xx"}}, everything, []string{"done 2", "- 1"}},
		{"a claim that is missing grants nothing", `[{group: "*", row_level: ` + ownRegion + `}]`, "", nobody, nil, everything, []string{"! You requested hidden member"}},
		{"a claim that is an empty list grants nothing", `[{group: "*", row_level: ` + ownRegion + `}]`, "", nobody, map[string]any{"regions": []any{}}, everything, []string{"! You requested hidden member"}},
		{"a claim that is an object is a mistake", `[{group: "*", row_level: ` + ownRegion + `}]`, "", nobody, map[string]any{"regions": map[string]any{}}, everything, []string{"! securityContext.regions is neither"}},
		{"a claim within a text", `[{group: "*", row_level: {filters: [{member: region, operator: equals, values: ["{securityContext.half}u"]}]}}]`, "", nobody, map[string]any{"half": "e"}, everything, []string{"done 1", "- 1"}},

		{"a condition that holds", `[{group: "*", conditions: [{if: "{ securityContext.active and not securityContext.locked }"}]}]`, "", nobody, map[string]any{"active": true}, everything, []string{"done 3", "open 2", "- 1"}},
		{"a condition that does not", `[{group: "*", conditions: [{if: "{ securityContext.active }"}, {if: "{ securityContext.staff }"}]}]`, "", nobody, map[string]any{"active": true}, everything, []string{"! You requested hidden member"}},
		{"a condition that is no boolean", `[{group: "*", conditions: [{if: "{ securityContext.active }"}]}]`, "", nobody, map[string]any{"active": "yes"}, everything, []string{"! Access policy condition must return boolean"}},

		{"a member that is not granted, selected", `[{group: "*", member_level: {excludes: [status]}}]`, "", nobody, nil, everything, []string{"! You requested hidden member: 'orders.status'"}},
		{"a member that is not granted, filtered by", `[{group: "*", member_level: {excludes: [status]}}]`, "", nobody, nil,
			`{"measures":["orders.count"],"dimensions":["orders.kind"],"filters":[{"member":"orders.status","operator":"equals","values":["done"]}]}`, nil},
		{"the key behind a count is not granted", `[{group: "*", member_level: {includes: [count, kind]}}]`, "", nobody, nil, `{"measures":["orders.count"]}`, []string{"0"}},
		{"a member of which another is made is not granted", `[{group: "*", member_level: {excludes: [region]}}]`, "", nobody, nil, `{"dimensions":["orders.shout"]}`, nil},
		{"what different policies grant meets", `[{group: "*", member_level: {includes: [kind, region]}, row_level: ` + onlyEU + `}, {group: sales, member_level: {includes: [status, kind]}, row_level: {filters: [{member: status, operator: equals, values: [done]}]}}]`, "",
			sales, nil, `{"dimensions":["orders.region","orders.status"]}`, []string{"eu done"}},

		{"a mask of a text", `[{group: "*", member_level: {includes: "*"}, member_masking: {includes: [status]}}]`, "", nobody, nil, everything, []string{"hidden 6"}},
		{"masks of SQL and of a number, in what is made of them too", `[{group: "*", member_level: {includes: [id, kind, shout]}, member_masking: {includes: "*"}}]`, "", nobody, nil,
			`{"measures":["orders.total"],"dimensions":["orders.region","orders.shout"],"filters":[{"member":"orders.kind","operator":"equals","values":["b"]}],"order":[["orders.region","asc"]]}`, []string{"*s *S -7", "*x *X -7"}},
		{"the mask of last resort is NULL", `[{group: "*", member_level: {includes: [id]}, member_masking: {includes: [kind, largest]}}]`, "", nobody, nil, `{"measures":["orders.largest"],"dimensions":["orders.kind"]}`, []string{"- -"}},
		{"a filter on a masked member compares the mask", `[{group: "*", member_level: {includes: "*"}, member_masking: {includes: [status, total]}}]`, "", nobody, nil,
			`{"measures":["orders.count"],"filters":[{"member":"orders.status","operator":"equals","values":["done"]}]}`, []string{"0"}},
		{"and one on a masked measure too", `[{group: "*", member_level: {includes: "*"}, member_masking: {includes: [total]}}]`, "", nobody, nil,
			`{"measures":["orders.count"],"dimensions":["orders.kind"],"filters":[{"member":"orders.total","operator":"gt","values":["0"]}]}`, nil},
		{"a masked key still tells rows apart", `[{group: "*", member_level: {includes: "*"}, member_masking: {includes: [id]}}]`, "", nobody, nil,
			`{"measures":["orders.count"],"dimensions":["orders.id","users.country"],"order":[["users.country","asc"]]}`, []string{"-1 DE 3", "-1 FR 1", "-1 - 2"}},
		{"unmasked in the rows of another policy", `[{group: "*", member_level: {includes: [kind, region]}, member_masking: {includes: [status]}}, {group: sales, row_level: ` + onlyEU + `}]`, "", sales, nil,
			`{"dimensions":["orders.id","orders.status"],"order":[["orders.id","asc"]]}`, []string{"1 done", "5 -"}},
		{"unmasked under a condition, beside masked rows", `[{group: "*", member_level: {includes: [id]}, member_masking: {includes: [status]}}, {group: sales, member_level: {includes: [status, region]}, row_level: ` + onlyEU + `}]`, "", sales, nil,
			`{"dimensions":["orders.id","orders.status"],"order":[["orders.id","asc"]]}`, []string{"1 done", "2 hidden", "3 hidden", "4 hidden", "5 -", "6 hidden"}},
		{"a policy's own filter sees the value and not the mask", `[{group: "*", member_level: {includes: "*"}, member_masking: {includes: [region]}, row_level: ` + onlyEU + `}]`, "", nobody, nil, everything, []string{"done 1", "- 1"}},

		{"a view without a policy, over a cube that hides a member", `[{group: "*", member_level: {excludes: [status]}, row_level: ` + onlyEU + `}]`, "", nobody, nil,
			`{"measures":["sales.count"],"dimensions":["sales.status"],"order":[["sales.status","asc"]]}`, []string{"done 1", "- 1"}},
		{"a view over a cube that lets nobody in", `[{group: admin}]`, "", nobody, nil, `{"measures":["sales.count"]}`, []string{"0"}},
		{"a view with a policy of its own", ``, `[{group: sales, member_level: {excludes: [status]}, row_level: {filters: [{member: users_country, operator: equals, values: [DE]}]}}]`, sales, nil,
			`{"measures":["sales.count"],"dimensions":["sales.kind"],"order":[["sales.kind","asc"]]}`, []string{"a 2", "b 1"}},
		{"and a member that it hides", ``, `[{group: sales, member_level: {excludes: [status]}}]`, sales, nil, `{"dimensions":["sales.status"]}`, []string{"! You requested hidden member: 'sales.status'"}},
		{"the cube beneath is not the view's", ``, `[{group: admin}]`, sales, nil, everything, []string{"done 3", "open 2", "- 1"}},
		{"policies of a view and of its cube meet", `[{group: "*", row_level: ` + ownRegion + `}]`, `[{group: "*", row_level: {filters: [{member: kind, operator: equals, values: [a]}]}}]`, nobody, eu,
			`{"measures":["sales.count"],"dimensions":["sales.region"]}`, []string{"eu 2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := guardedModel(t, tt.policy, tt.view)
			plan, err := sqlgen.Generate(m, caller(tt.groups, tt.claims), decode(t, tt.query), options(sqlgen.Postgres{}))
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
			for _, name := range plan.MemberNames {
				if !strings.Contains(tt.query, name) {
					t.Errorf("the answer names %s, which the query does not: a policy shows", name)
				}
			}
		})
	}
}

// What joins repeat is filtered in each of its parts, and a hit of FILTER_PARAMS does not look beneath a mask.
func TestAccessPoliciesHoldInEveryPart(t *testing.T) {
	m, err := datamodel.Load(fstest.MapFS{"shop.yml": {Data: []byte(`
cubes:
  - name: orders
    sql: "SELECT * FROM orders WHERE {FILTER_PARAMS.orders.status.filter('status')}"
    joins:
      - {name: line_items, relationship: one_to_many, sql: "{CUBE}.id = {line_items}.order_id"}
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: status, sql: status, type: string, mask: "'hidden'"}
      - {name: region, sql: region, type: string}
    measures:
      - {name: total, sql: amount, type: sum}
      - {name: secret, sql: amount, type: avg, mask: {sql: "COUNT({CUBE}.id)"}}
    access_policy:
      - {group: "*", member_level: {includes: "*"}, member_masking: {includes: [status, secret]}, row_level: {filters: [{member: region, operator: equals, values: [eu]}]}}
  - name: line_items
    sql_table: line_items
    dimensions:
      - {name: key, sql: "order_id || '-' || line", type: string, primary_key: true}
      - {name: sku, sql: sku, type: string}
    measures:
      - {name: qty, sql: qty, type: sum}
    access_policy:
      - {group: "*", row_level: {filters: [{member: sku, operator: set}]}}
`)}})
	if err != nil {
		t.Fatal(err)
	}
	db := openShop(t, seed)
	for query, want := range map[string][]string{
		`{"measures":["orders.total","line_items.qty"],"dimensions":["line_items.sku"],"order":[["line_items.sku","asc"]]}`: {"x 10 3", "y 170 36"},
		`{"measures":["orders.total"],"filters":[{"member":"orders.status","operator":"equals","values":["done"]}]}`:        {"-"},
		`{"measures":["orders.secret"]}`: {"2"},
		`{"measures":["orders.total","orders.secret"],"dimensions":["line_items.sku"],"order":[["line_items.sku","asc"]]}`: {"x 10 -", "y 170 -"},
		`{"measures":["orders.total"],"filters":[{"member":"orders.status","operator":"equals","values":["hidden"]}]}`:     {"170"},
	} {
		plan, err := sqlgen.Generate(m, caller(nil, nil), decode(t, query), options(sqlgen.Postgres{}))
		if err != nil {
			t.Fatal(err)
		}
		if got := rows(t, db, plan.SQL, plan.Args); !slices.Equal(got, want) {
			t.Errorf("%s\nrows %q, want %q\n%s\n%v", query, got, want, plan.SQL, plan.Args)
		}
	}
}
