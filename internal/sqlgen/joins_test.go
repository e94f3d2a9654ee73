package sqlgen_test

import (
	"errors"
	"regexp"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/sqlgen"
)

// A diamond: a joins b and c, both join d; and d joins e on a condition that needs f.
const diamond = `
cubes:
  - name: a
    sql_table: a
    joins:
      - {name: b, relationship: many_to_one, sql: "{CUBE}.b = {b}.id"}
      - {name: c, relationship: many_to_one, sql: "{CUBE}.c = {c}.id"}
    dimensions:
      - {name: x, sql: x, type: string}
      - {name: by_c, sql: "{c.d.x}", type: string}
  - name: b
    sql_table: b
    joins: [{name: d, relationship: many_to_one, sql: "{CUBE}.d = {d}.id"}]
    dimensions: [{name: x, sql: x, type: string}]
  - name: c
    sql_table: c
    joins: [{name: d, relationship: many_to_one, sql: "{CUBE}.d = {d}.id"}]
    dimensions: [{name: x, sql: x, type: string}]
  - name: d
    sql_table: d
    joins:
      - {name: e, relationship: many_to_one, sql: "{CUBE}.e = {e}.id AND {f.x} = {e}.x"}
      - {name: f, relationship: many_to_one, sql: "{CUBE}.f = {f}.id"}
    dimensions: [{name: x, sql: x, type: string}]
  - {name: e, sql_table: e, dimensions: [{name: x, sql: x, type: string}]}
  - {name: f, sql_table: f, dimensions: [{name: x, sql: x, type: string}]}
views:
  - {name: v, cubes: [{join_path: a, includes: [x]}, {join_path: a.c.d, includes: [x], prefix: true}]}
`

func TestJoinsTakeTheShortestPathOrTheOneThatIsNamed(t *testing.T) {
	m, err := datamodel.Load(fstest.MapFS{"m.yml": {Data: []byte(diamond)}})
	if err != nil {
		t.Fatal(err)
	}
	table := regexp.MustCompile(`(?:FROM|JOIN) (\w+) AS`)
	for _, tt := range []struct {
		name, query string
		want        []string
		refusal     string
	}{
		{"one cube", `{"dimensions":["d.x"]}`, []string{"d"}, ""},
		{"of two paths of one length, the first declared", `{"dimensions":["a.x","d.x"]}`, []string{"a", "b", "d"}, ""},
		{"the root may come last", `{"dimensions":["d.x","b.x","a.x"]}`, []string{"a", "b", "d"}, ""},
		{"the path of a view", `{"dimensions":["v.x","v.d_x"]}`, []string{"a", "c", "d"}, ""},
		{"the path in a member's SQL", `{"dimensions":["a.by_c"]}`, []string{"a", "c", "d"}, ""},
		{"a plain name takes the path that another names", `{"dimensions":["d.x","a.by_c"]}`, []string{"a", "c", "d"}, ""},
		{"the path of a hint", `{"dimensions":["a.x","d.x"],"joinHints":[["a","c","d"]]}`, []string{"a", "c", "d"}, ""},
		{"a cube that a condition needs comes first", `{"dimensions":["d.x","e.x"]}`, []string{"d", "f", "e"}, ""},
		{"also when it is asked for later", `{"dimensions":["d.x","e.x","f.x"]}`, []string{"d", "f", "e"}, ""},
		{"two paths to one cube", `{"dimensions":["a.by_c"],"joinHints":[["a","b","d"]]}`, nil,
			"Cube 'd' is reached by two join paths: from 'b' and by a.c.d. Use a cube that extends it for one of them"},
		{"no path", `{"dimensions":["e.x","f.x"]}`, nil, "Can't find join path to join 'e', 'f'"},
		{"a hint to nowhere", `{"dimensions":["a.x"],"joinHints":[["a","z"]]}`, nil, "Cube 'z' not found for path 'a.z'"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan, err := sqlgen.Generate(m, context(t, `{}`), decode(t, tt.query), options(sqlgen.Postgres{}))
			if f, ok := errors.AsType[*fault.Error](err); ok || tt.refusal != "" {
				if !ok || f.Detail != tt.refusal {
					t.Errorf("Generate = %s, %v, want %s", plan.SQL, err, tt.refusal)
				}
				return
			}
			var got []string
			for _, found := range table.FindAllStringSubmatch(plan.SQL, -1) {
				got = append(got, found[1])
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("tables = %q, want %q\n%s", got, tt.want, plan.SQL)
			}
		})
	}
}
