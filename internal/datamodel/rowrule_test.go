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
		{`{cubes: [a], ` + filter + ` }`, "m.yml:14:11: the sql of made is made of a, whose row rules do not reach into it: name made in a row rule too"},
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
