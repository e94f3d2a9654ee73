package datamodel_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/behalf-project/behalf/internal/datamodel"
)

// The example of cube-data-model.md §3.3, its measures from a loop.
const countries = `{%- set countries = ['de', 'fr'] -%}
cubes:
  - name: orders
    sql_table: orders
    measures:
    {%- for c in countries %}
      - name: total_{{ c }}
        type: sum
        sql: amount
        filters: [{sql: "{CUBE}.country = '{{ c }}'"}]
    {%- endfor %}
`

func TestATemplateIsRenderedBeforeItIsRead(t *testing.T) {
	macros := `{% macro dimension(name, type='string') -%}
- name: {{ name }}
  sql: {{ name }}
  type: {{ type }}
{%- endmacro %}`
	for _, tt := range []struct{ name, template, want string }{
		{"a loop", countries, "total_de total_fr"},
		{"macros of another file", `{% from "macros.jinja" import dimension %}
cubes:
  - name: orders
    sql_table: orders
    dimensions:
      {{ dimension('status') | indent(6) }}
      {{ dimension('id', type='number') | indent(6) }}
`, "status id"},
		{"conditions, loop, filters and tests", `
{% set columns = [{'name': 'a', 'on': true}, {'name': 'b', 'on': false}, {'name': 'c', 'on': true}] %}
cubes:
  - name: orders
    sql_table: {{ ['public', 'orders'] | join('.') }}
    measures:
    {% for c in columns if c.on %}
      - {name: {{ c.name }}_{{ loop.index }}{% if loop.last %}_last{% endif %}, title: {{ c.name | upper | tojson }}, type: count }
    {% endfor %}
`, "a_1 c_2_last"},
		{"an include", "cubes:\n{% include 'parts/orders.jinja' %}", "x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := datamodel.Load(fstest.MapFS{
				"model/orders.yml":           {Data: []byte(tt.template)},
				"macros.jinja":               {Data: []byte(macros)},
				"model/parts/orders.jinja":   {Data: []byte("{# a part #}")},
				"parts/orders.jinja":         {Data: []byte("{# not this one #}")},
				"model/parts/x.yml":          {Data: []byte("cubes:\n  - {name: x, sql_table: x}\n")},
				"model/parts/not-a-model.md": {Data: []byte("{{ }}")},
			})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			if c := m.Cube("orders"); c != nil {
				for _, member := range c.Members {
					got = append(got, member.Name)
				}
			} else {
				got = append(got, m.Cubes()[0].Name)
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("members = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestProblemsOfATemplateAreToldAtItsLines(t *testing.T) {
	for _, tt := range []struct{ name, template, want string }{
		{"a line as it is in the template", "{% set x = 1 %}\ncubes:\n  - name: a\n    sql_tabel: t\n",
			`a.yml:4:5: a cube has no key "sql_tabel"; did you mean "sql_table"?`},
		{"a line that is rendered twice, in a loop", strings.Replace(countries, "amount", "'x {amount'", 1),
			`a.yml:9:17: "{" is never closed; a brace of the SQL itself is written "\{": x {amount`},
		{"a line with an expression", strings.Replace(countries, "type: sum", "type: {{ 'su' ~ 'n' }}", 1),
			`did you mean "sum"? (rendered as "type: sun"): sun`},
		{"white space taken away on both sides", "cubes:\n  {%- for n in ['a'] -%}\n    - name: x\n  {%- endfor %}\n  - name: a\n",
			"a.yml:"},
		{"what is rendered is no YAML", "cubes:\n{% for n in 'ab' %}\n  - name: {{ n }}: x\n{% endfor %}\n", `a.yml:3:`},
		{"a tag that never ends", "cubes: []\n{% for n in [1] %}\n", `Jinja: Unable to parse controlStructure "for"`},
		{"a function of Python's", "cubes: {{ load_cubes() }}\n",
			"a.yml:1:1: Jinja: there is no function load_cubes; functions of globals.py are Python, which does not run here"},
		{"the context of the compilation", "cubes: []\n{% if COMPILE_CONTEXT.securityContext.x %}{% endif %}\n", "COMPILE_CONTEXT can't be used unless contextToAppId is defined"},
		{"a file outside of the folder", "{% include '../../etc/passwd' %}", `there is no file "../../etc/passwd" in the folder of the model`},
		{"a range as long as patience", "{% for i in range(100000000) %}{% endfor %}", "range has more than 100000 numbers"},
		{"more output than a file may have", "{% for i in range(999) %}" + strings.Repeat("x", 100_000) + "{% endfor %}", "the template renders to more than 8 MiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := datamodel.Load(fstest.MapFS{"a.yml": {Data: []byte(tt.template)}})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Load = %v\nwant it to have %s", err, tt.want)
			}
		})
	}
}
