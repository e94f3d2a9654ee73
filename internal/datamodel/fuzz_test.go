package datamodel_test

import (
	"errors"
	"testing"

	"github.com/behalf-project/behalf/internal/datamodel"
)

// FuzzLoad feeds the reader of YAML and of templates. Whatever comes, it is a model or a list of problems with places.
func FuzzLoad(f *testing.F) {
	f.Add(shop)
	for _, s := range []string{
		"cubes: [{name: a, sql: \"{SECURITY_CONTEXT.x['y'].filter(lambda v: f'{v}')}\"}]",
		"cubes:\n  - name: a\n    extends: a\n    sql: |\n      {a.sql()}\n",
		"a: &a [*a]", "cubes: &c\n  - name: a\n    sql_table: t\nviews: *c\n", "- - - -", "cubes: [{<<: {name: a}, sql_table: t}]",
		"cubes: [{name: a, sql_table: t, dimensions: [{name: b, type: string, sql: \"{FILTER_GROUP(FILTER_PARAMS.a.b.filter('x'))}\"}]}]",
		"cubes: [{name: a, sql_table: t, refresh_key: {every: \"*/5 * * * *\"}}]",
		"cubes: [{name: a, sql_table: t, refresh_key: {every: \"30 7 * * MON\", timezone: America/New_York, sql: \"SELECT 1 FROM {CUBE.sql()}\"}}]",
		"cubes: [{name: a, sql_table: t, access_policy: [{group: x, conditions: [{if: \"{ not (securityContext.a or True) }\"}], row_level: {filters: [{or: [{member: b, operator: equals, values: [\"{userAttributes.x}\", null, 1]}]}]}}]}]",
		"{% for c in ['a', 'b'] %}\n{%- set n = c ~ loop.index %}\n  - {{ n | upper }}\n{% endfor %}", "{{ range(9) | join }} {# x", "{% macro m(x) %}{{ x.y[0] }}{% endmacro %}{{ m({}) }}",
		"views: [{name: v, cubes: [{join_path: v, includes: '*'}]}]",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, yaml string) {
		m, err := datamodel.Load(files(yaml))
		if err == nil {
			m.Meta(datamodel.MetaOptions{ShowHidden: true})
			return
		}
		broken, ok := errors.AsType[*datamodel.LoadError](err)
		if !ok || len(broken.Problems) == 0 {
			t.Fatalf("Load = %v, want problems", err)
		}
		for _, p := range broken.Problems {
			if p.File == "" || p.Line < 1 || p.Column < 0 || p.Message == "" {
				t.Errorf("problem without a place: %+v", p)
			}
		}
	})
}
