package datamodel_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/behalf-project/behalf/internal/datamodel"
)

func TestMistakesOfARowRule(t *testing.T) {
	const model = `cubes:
  - name: a
    sql_table: t
    joins: [{name: b, relationship: many_to_one, sql: "{CUBE}.b = {b.id}"}]
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: tenant, sql: tenant, type: string}
    measures: [{name: n, type: count}]
  - name: b
    sql_table: u
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: as, sql: "{a.n}", type: number, sub_query: true}
  - name: made
    sql: SELECT * FROM {a.sql()}
    dimensions: [{name: tenant, sql: tenant, type: string}]
views:
  - {name: v, cubes: [{join_path: a, includes: '*'}] }
row_rules:
  - RULE
`
	const filter = `filter: {member: tenant, operator: equals, values: ["{context.tenant}"]}`
	for _, tt := range []struct{ rule, want string }{
		{`{cubes: [a, made], ` + filter + ` }`, ""},
		{`{cubes: [a, made], filter: {or: [{member: tenant, operator: equals, values: ["{context.org.tenant}", "{ securityContext.x }"]}, {member: tenant, operator: notSet}]} }`, ""},
		{`{cubes: [b], filter: {member: b.id, operator: equals, values: [1]} }`, ""},
		{`{cubes: [c], ` + filter + ` }`, `m.yml:20:14: row rule: there is no cube "c"`},
		{`{cubes: [v], ` + filter + ` }`, "row rule: v is a view; name the cubes beneath"},
		{`{` + filter + ` }`, "a row rule needs the cubes that it is of"},
		{`{cubes: [], ` + filter + ` }`, "a row rule needs the cubes that it is of"},
		{`{cubes: [a, made]}`, "a row rule needs a filter"},
		{`{cubes: [a], ` + filter + ` }`, "m.yml:15:25: {a.sql()} reads rows that the row rule at m.yml:20 would keep back, and made is not of that rule: name made among its cubes too"},
		{`{cubes: [a, made], filter: {member: n, operator: gt, values: [1]} }`, `row rule: a has no dimension "n" to filter rows by`},
		{`{cubes: [b], filter: {member: a.tenant, operator: set} }`, "row rule: b cannot reach a.tenant"},
		{`{cubes: [b], filter: {member: as, operator: gt, values: [1]} }`, "row rule: b.as is a sub_query"},
		{`{cubes: [a, made], filter: {or: []} }`, "an empty one would let every row through"},
		{`{cubes: [a, made], filter: {member: tenant, operator: equals} }`, "the filter on tenant needs values"},
		{`{cubes: [a, made], filter: {member: tenant, operator: equals, values: ["{tenant}"]} }`, "a value of a filter on rows is text, and claims"},
		{`{cubes: [a, made], ` + filter + `, on_missing: allow}`, "a rule that a missing claim switches off would be none"},
		{`{cubes: [a, made], ` + filter + `, on_missing: ignore}`, "on_missing must be one of [deny, refuse]"},
		{`{cubes: [a, made], ` + filter + `, group: x}`, `a row rule has no key "group"`},
	} {
		_, err := datamodel.Load(fstest.MapFS{"m.yml": {Data: []byte(strings.Replace(model, "RULE", tt.rule, 1))}})
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s\nLoad = %v\nwant %s", tt.rule, err, tt.want)
		}
	}
}

// What SQL makes of the rows of a cube with a rule, the rule does not filter: the table of a cube may be made of them when the
// same rule filters it, and nothing else may.
func TestNothingReadsRowsPastARowRule(t *testing.T) {
	const model = `cubes:
  - name: a
    sql_table: t
    dimensions: [{name: tenant, sql: tenant, type: string}]
    refresh_key: {sql: "SELECT max(id) FROM {CUBE.sql()}"}
  - name: b
    sql_table: u
    dimensions: [{name: tenant, sql: tenant, type: string}]
  - name: c
    DEFINITION
row_rules:
  - {cubes: [a], filter: {member: tenant, operator: equals, values: ["{context.tenant}"]} }
  - {cubes: [b, c], filter: {member: tenant, operator: equals, values: ["{context.tenant}"]} }
`
	const tenant = `{name: tenant, sql: tenant, type: string}`
	for _, tt := range []struct{ name, definition, want string }{
		{"a cube with an unrelated rule", `sql: SELECT * FROM {a.sql()}
    dimensions: [` + tenant + `]`, "m.yml:10:25: {a.sql()}"},
		{"a cube whose rule it is", `sql: SELECT * FROM {b.sql()}
    dimensions: [` + tenant + `]`, ""},
		{"what a filter is pushed into", `sql: SELECT * FROM t WHERE {FILTER_PARAMS.c.tenant.filter(lambda v: f"id IN (SELECT {v} FROM {a.sql()})")}
    dimensions: [` + tenant + `]`, "{a.sql()}"},
		{"a dimension", `sql_table: v
    dimensions: [` + tenant + `, {name: x, type: number, sql: "(SELECT sum(x) FROM {a.sql()} x)"}]`, "m.yml:11:"},
		{"a dimension of a cube with the same rule", `sql_table: v
    dimensions: [` + tenant + `, {name: x, type: number, sql: "(SELECT sum(x) FROM {b.sql()} x)"}]`, "outside the sql of a cube no rule filters them"},
		{"a dimension of the cube itself", `sql_table: v
    dimensions: [` + tenant + `, {name: x, type: number, sql: "(SELECT sum(x) FROM {CUBE.sql()} x)"}]`, "{c.sql()} reads rows"},
		{"a measure's filter", `sql_table: v
    dimensions: [` + tenant + `]
    measures: [{name: n, type: count, filters: [{sql: "{CUBE}.x IN (SELECT x FROM {a.sql()})"}]}]`, "{a.sql()}"},
		{"a segment", `sql_table: v
    dimensions: [` + tenant + `]
    segments: [{name: n, sql: "{CUBE}.x IN (SELECT x FROM {a.sql()})"}]`, "{a.sql()}"},
		{"a mask", `sql_table: v
    dimensions: [{name: tenant, sql: tenant, type: string, mask: {sql: "(SELECT max(tenant) FROM {a.sql()})"} }]`, "{a.sql()}"},
		{"a join", `sql_table: v
    joins: [{name: b, relationship: many_to_one, sql: "{CUBE}.b IN (SELECT b FROM {a.sql()})"}]
    dimensions: [{name: id, sql: id, type: number, primary_key: true}, ` + tenant + `]`, "{a.sql()}"},
		{"a refresh key of another cube", `sql_table: v
    refresh_key: {sql: "SELECT max(id) FROM {a.sql()}"}
    dimensions: [` + tenant + `]`, "{a.sql()}"},
	} {
		_, err := datamodel.Load(fstest.MapFS{"m.yml": {Data: []byte(strings.Replace(model, "DEFINITION", tt.definition, 1))}})
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: Load = %v, want %q", tt.name, err, tt.want)
		}
	}
}
