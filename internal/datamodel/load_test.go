package datamodel_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/behalf-project/behalf/internal/datamodel"
)

// files returns a folder with one file.
func files(yaml string) fstest.MapFS { return fstest.MapFS{"model.yml": {Data: []byte(yaml)}} }

const shop = `
cubes:
  - name: orders
    sql_table: public.orders
    joins:
      - name: users
        relationship: belongsTo
        sql: "{CUBE}.user_id = {users.id}"
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: status, sql: status, type: string, meta: {tags: [a, 1, true]} }
      - {name: created_at, sql: created_at, type: time}
      - name: size
        type: string
        case:
          when:
            - {sql: "{CUBE}.amount > 100", label: big}
          else: {label: small}
    measures:
      - {name: count, type: count, drill_members: [id, status, users.country]}
      - {name: total, sql: amount, type: sum, format: currency}
      - name: done
        type: count
        filters: [{sql: "{CUBE}.status = 'done'"}]
      - {name: done_share, type: number, sql: "1.0 * {done} / NULLIF({count}, 0)"}
    segments:
      - {name: done_only, sql: "{CUBE}.status = 'done'"}
    pre_aggregations:
      - {name: main, measures: [count], time_dimension: created_at, granularity: day}
      - {name: auto, type: auto_rollup}
  - name: users
    sql: SELECT * FROM public.users WHERE {SECURITY_CONTEXT.tenant_id.filter('tenant_id')}
    sql_alias: u
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: country, sql: country, type: string}
views:
  - name: sales
    cubes:
      - {join_path: orders, includes: '*', excludes: [id]}
      - {join_path: orders.users, prefix: true, includes: [country]}
    folders: [{name: Customer, includes: [users_country]}]
`

func TestLoadReadsCubesViewsAndReferences(t *testing.T) {
	m, err := datamodel.Load(files(shop))
	if err != nil {
		t.Fatal(err)
	}
	orders := m.Cube("orders")
	if j := orders.Join("users"); j.Relationship != datamodel.ManyToOne {
		t.Errorf("relationship = %q, want %q", j.Relationship, datamodel.ManyToOne)
	}
	if got := orders.Member("count").DrillMembers; !slices.Equal(got, []string{"orders.id", "orders.status", "users.country"}) {
		t.Errorf("drill members = %q", got)
	}
	if got := m.Cube("users").Alias; got != "u" {
		t.Errorf("alias = %q, want u", got)
	}
	country := m.Cube("sales").Member("users_country")
	if country == nil || country.Source.Member.FullName() != "users.country" || !slices.Equal(country.Source.Path, []string{"orders", "users"}) {
		t.Errorf("sales.users_country = %+v", country)
	}
	if len(m.Notices()) != 1 || !strings.Contains(m.Notices()[0].String(), "model.yml:30:16: pre-aggregation orders.auto is not built") {
		t.Errorf("notices = %q", m.Notices())
	}
}

// Each of these is one mistake, and the one line that says so.
func TestLoadNamesEveryMistake(t *testing.T) {
	for _, tt := range []struct{ name, yaml, want string }{
		{"a key that does not exist", "cubes:\n  - name: a\n    sql_tabel: t\n    sql_table: t\n",
			`model.yml:3:5: a cube has no key "sql_tabel"; did you mean "sql_table"?`},
		{"a root key that does not exist", "cube:\n  - name: a\n",
			"model.yml:1:1: Unexpected YAML key: cube. Only cubes, views, view_groups, row_rules are allowed here"},
		{"an access policy is never ignored", "cubes:\n  - name: a\n    sql_table: t\n    access_policy: []\n",
			"model.yml:4:20: an access_policy without policies lets nobody in; leave it out to let everybody in"},
		{"an access policy of a view is never ignored", "cubes: [{name: a, sql_table: t}]\nviews:\n  - name: v\n    access_policy: []\n    cubes: [{join_path: a, includes: '*'}]\n",
			"model.yml:4:20: an access_policy without policies lets nobody in; leave it out to let everybody in"},
		{"a view of a cube without includes", "cubes: [{name: a, sql_table: t}]\nviews:\n  - name: v\n    cubes: [{join_path: a}]\n",
			"model.yml:4:14: the cube a of view v needs includes: '*' or a list of members"},
		{"a view of one cube by two paths", "cubes:\n  - {name: a, sql_table: t, joins: [{name: b, relationship: many_to_one, sql: x}, {name: c, relationship: many_to_one, sql: x}]}\n" +
			"  - {name: b, sql_table: t, joins: [{name: c, relationship: many_to_one, sql: x}]}\n  - {name: c, sql_table: t, segments: [{name: s, sql: x}]}\n" +
			"views:\n  - {name: v, cubes: [{join_path: a.c, includes: [s]}, {join_path: a.b.c, prefix: true, includes: [s]}]}\n",
			"model.yml:6:68: Views can't define multiple join paths to the same cube: a.c and a.b.c; use a cube that extends c"},
		{"two members of one name in a view", "cubes:\n  - {name: a, sql_table: t, segments: [{name: s, sql: x}, {name: r, sql: x}]}\nviews:\n  - {name: v, cubes: [{join_path: a, includes: [s, {name: r, alias: s}, a.r]}]}\n",
			"model.yml:4:53: Included member 's' conflicts with existing member of 'v'. Please consider excluding this member or assigning it an alias.\n" +
				"model.yml:4:73: Paths aren't allowed in cube includes but 'a.r' provided as include member"},
		{"folders", "cubes: [{name: a, sql_table: t, segments: [{name: s, sql: x}]}]\nviews:\n  - name: v\n    cubes: [{join_path: a, includes: '*'}]\n    folders:\n" +
			"      - {name: f, includes: [s, z, a.s, {name: g, includes: [t]}]}\n      - {name: f, includes: [{join_path: b}]}\n      - {name: h}\n      - {includes: []}\n",
			"model.yml:6:33: folder f: v has no member \"z\"; did you mean \"s\"?\nmodel.yml:6:36: Paths aren't allowed in the 'folders' but 'a.s' has been provided for v\n" +
				"model.yml:6:62: folder g: v has no member \"t\"; did you mean \"s\"?\nmodel.yml:7:10: Folder names must be unique within a view. Found duplicate folder 'f' in view 'v'.\n" +
				"model.yml:7:31: Join path 'b' included in folder 'f' not found in view 'v' cubes definition\nmodel.yml:8:10: the folder h needs includes\nmodel.yml:9:10: a folder needs a name"},
		{"an order that is none", "cubes:\n  - name: a\n    sql_table: t\n    dimensions: [{name: s, sql: s, type: string, order: down}]\n",
			"model.yml:4:57: order must be one of [asc, desc]: down"},
		{"a cube without a table", "cubes:\n  - name: a\n",
			"model.yml:2:11: a cube: the cube must contain at least one of [sql, sqlTable]"},
		{"a cube with two tables", "cubes:\n  - name: a\n    sql: SELECT 1\n    sql_table: t\n",
			"model.yml:2:11: a cube: the cube must contain only one of [sql, sqlTable]"},
		{"two cubes of one name", "cubes:\n  - {name: a, sql_table: t}\n  - {name: a, sql_table: t}\n",
			`model.yml:3:12: "a" is defined more than once; first at model.yml:2`},
		{"a name with a space", "cubes:\n  - {name: a b, sql_table: t}\n",
			"model.yml:2:12: a name has letters, digits and underscores, and does not begin with a digit: a b"},
		{"a type that does not exist", cube("measures:\n      - {name: m, sql: x, type: summ}"),
			`model.yml:5:33: "measures.m.type" must be one of [avg, boolean, count, countDistinct, countDistinctApprox, count_distinct, count_distinct_approx, max, min, number, string, sum, time]; did you mean "sum"?: summ`},
		{"a sum without sql", cube("measures:\n      - {name: m, type: sum}"),
			`model.yml:5:16: "measures.m.sql" is required`},
		{"a member twice", cube("dimensions:\n      - {name: m, sql: x, type: string}\n      - {name: m, sql: x, type: string}"),
			"model.yml:6:16: a.m is defined more than once; first at line 5"},
		{"a name that nothing has", cube("dimensions:\n      - {name: m, sql: \"{CUBE}.x + {statu}\", type: string}\n      - {name: status, sql: x, type: string}"),
			`model.yml:5:37: "statu": statu is not defined; did you mean "status"?: {CUBE}.x + {statu}`},
		{"another function of SQL_UTILS", cube("dimensions:\n      - {name: d, type: string, sql: \"{SQL_UTILS.urlDecode('x')}\"}"),
			"model.yml:5:40: SQL_UTILS is used as {SQL_UTILS.convertTz('column')} or {SQL_UTILS.urlEncode('column')}: {SQL_UTILS.urlDecode('x')}"},
		{"granularities that cannot be", cube(`dimensions:
      - name: at
        type: time
        sql: at
        granularities:
          - {name: a, interval: 1 fortnight}
          - {name: b, interval: 2 weeks}
          - {name: c, interval: 5 months}
          - {name: d, interval: 1 month 3 days, origin: "2024-01-01"}
          - {name: e, interval: 1 month, origin: "2024-01-31"}
          - {name: f, interval: 1 year, offset: 1 month, origin: "2024-01-01"}
          - {name: g, interval: 1 year, offset: soon}
          - {name: h, interval: 1 year, origin: yesterday}
          - {name: i, sql: x}
          - {name: day, sql: x, interval: 1 day}
          - {name: j}
          - {name: k, interval: 0 days}
      - {name: s, type: string, sql: s, granularities: [{name: x, interval: 1 year}]}`),
			`model.yml:9:33: an interval is a number and a unit from second to year, such as 2 weeks: 1 fortnight
model.yml:10:20: granularity b: Arbitrary intervals cannot be used without origin point specified
model.yml:11:20: granularity c: Arbitrary intervals cannot be used without origin point specified
model.yml:12:33: an interval of months or years has no shorter units beside them: months differ in length: 1 month 3 days
model.yml:13:20: granularity e begins on a day that not every month has; use an origin on the 1st to the 28th
model.yml:14:20: granularity f has both offset and origin
model.yml:15:49: an offset is a number and a unit from second to year, such as 3 months or -1 day: soon
model.yml:16:49: an origin is a date or a time to the second, such as 2024-01-01 or 2024-01-01T06:00:00: yesterday
model.yml:17:20: granularity i has sql, with which a granularity takes the place of a standard one: second, minute, hour, day, week, month, quarter, year
model.yml:18:20: granularity day has sql, and so no interval, offset and origin
model.yml:19:20: "granularities.j.interval" is required
model.yml:20:33: an interval is a number and a unit from second to year, such as 2 weeks: 0 days
model.yml:21:16: dimension s has granularities, but is not of type time`},
		{"rolling windows that cannot be", cube(`measures:
      - {name: a, type: count, rolling_window: 7 day}
      - {name: b, type: count, rolling_window: {}}
      - {name: c, type: count, rolling_window: {trailing: a week}}
      - {name: d, type: count, rolling_window: {trailing: 7 day, offset: middle}}
      - {name: e, type: count, rolling_window: {type: to_date}}
      - {name: f, type: count, rolling_window: {granularity: month}}
      - {name: g, type: number, sql: "{a}", rolling_window: {trailing: 7 day}}`), `model.yml:5:48: rolling_window is a mapping with the keys trailing, leading and offset, or type and granularity: 7 day
model.yml:6:48: a rolling window needs trailing or leading, such as trailing: 7 day
model.yml:7:59: how far a rolling window goes is a number and a unit from second to year, such as 7 day, or unbounded: a week
model.yml:8:74: offset must be one of [end, start]: middle
model.yml:9:49: a rolling window of type to_date has a granularity, and no trailing, leading and offset
model.yml:10:49: a rolling window with a granularity is of type to_date
model.yml:11:16: measure g has a rolling_window, so its type is an aggregate such as sum, and not number`},
		{"a member that a cube does not have", cube("dimensions:\n      - name: m\n        type: string\n        sql: |\n          1 +\n            {CUBE.nope}"),
			"model.yml:9:14: \"CUBE.nope\": 'nope' not found in a: 1 +\n  {CUBE.nope}"},
		{"a brace that is never closed", cube("dimensions:\n      - {name: m, type: string, sql: \"a {CUBE\"}"),
			`model.yml:5:41: "{" is never closed; a brace of the SQL itself is written "\{": a {CUBE`},
		{"a brace that was never opened", cube("dimensions:\n      - {name: m, type: string, sql: \"a }\"}"),
			`model.yml:5:41: "}" without "{"; a brace of the SQL itself is written "\}": a }`},
		{"an escape that is none", cube("dimensions:\n      - {name: m, type: string, sql: '\\8'}"),
			`model.yml:5:39: this is no escape; a backslash of the SQL itself is written "\\": \8`},
		{"half a character", cube("dimensions:\n      - {name: m, type: string, sql: 'a \\ud83d'}"),
			`model.yml:5:41: this is no escape; a backslash of the SQL itself is written "\\": a \ud83d`},
		{"an operator in braces", cube("dimensions:\n      - {name: m, type: string, sql: \"{CUBE + 1}\"}"),
			"model.yml:5:45: an expression in braces is a name, a path or a call, without operators: {CUBE + 1}"},
		{"a method that the security context does not have", cube("dimensions:\n      - {name: m, type: string, sql: \"{SECURITY_CONTEXT.x.fliter('a')}\"}"),
			"model.yml:5:65: a value of the security context has filter, requiredFilter and unsafeValue, not fliter: {SECURITY_CONTEXT.x.fliter('a')}"},
		{"a bound value in quotes", cube("dimensions:\n      - {name: m, type: string, sql: \"'{SECURITY_CONTEXT.x}'\"}"),
			"model.yml:5:41: a bound value cannot stand inside quotes; leave the quotes out: '{SECURITY_CONTEXT.x}'"},
		{"members that refer to each other", cube("dimensions:\n      - {name: m, type: string, sql: \"{n}\"}\n      - {name: n, type: string, sql: \"{m}\"}"),
			"model.yml:5:16: a.m refers to itself: a.m → a.n → a.m"},
		{"a cube made of itself", "cubes:\n  - {name: a, sql: \"SELECT * FROM {b.sql()}\"}\n  - {name: b, sql: \"SELECT * FROM {a.sql()}\"}\n",
			"model.yml:2:12: the sql of cube a is made of itself\nmodel.yml:3:12: the sql of cube b is made of itself"},
		{"a cube that extends itself", "cubes:\n  - {name: a, sql_table: t, extends: b}\n  - {name: b, sql_table: t, extends: a}\n",
			"model.yml:2:38: a extends itself: a → b → a"},
		{"a view that extends itself", "views:\n  - {name: v, extends: w}\n  - {name: w, extends: v}\n",
			"model.yml:2:24: v extends itself: v → w → v"},
		{"a view that extends a cube", "cubes:\n  - {name: a, sql_table: t}\nviews:\n  - {name: v, extends: a, cubes: [{join_path: a, includes: []}]}\n",
			`model.yml:4:24: v view: there is no view "a" to extend`},
		{"a join to nowhere", "cubes:\n  - name: a\n    sql_table: t\n    joins: [{name: usres, relationship: one_to_one, sql: x}]\n  - {name: users, sql_table: t}\n",
			`model.yml:4:20: a cube: Cube usres doesn't exist; did you mean "users"?`},
		{"joins without a primary key", cube("joins: [{name: a, relationship: one_to_one, sql: x}]\n    measures: [{name: n, type: count}]"),
			"model.yml:2:11: a cube: primary key for 'a' is required when join is defined in order to make aggregates work properly"},
		{"a dimension over a measure", cube("measures: [{name: n, type: count}]\n    dimensions: [{name: d, type: number, sql: \"{n}\"}]"),
			"model.yml:5:49: dimension a.d refers to the measure a.n, which is only known once rows are grouped: {n}"},
		{"a variable that Jinja does not know", "cubes:\n  - name: a\n    sql_table: {{ t }}\n",
			`model.yml:3:1: Jinja: there is no variable t; variables of globals.py are Python, which does not run here: sql_table: {{ t }}`},
		{"a cron of unequal intervals", cube("refresh_key: {every: \"0 8 1 * *\"}"),
			"model.yml:4:26: Your cron string ('0 8 1 * *') is correct, but we support only equal time intervals.: 0 8 1 * *"},
		{"what is not built is refused by name", cube("measures: [{name: n, type: count, group_by: [d] }]\n    dimensions: [{name: d, type: time, sql: x, time_shift: []}]"),
			"model.yml:4:39: group_by of a measure is not supported yet\nmodel.yml:5:48: time_shift of a dimension is not supported yet"},
		{"sql that is wrong is not missing too", "cubes: [{name: a, sql: \"{nope(1)}\"}]", "model.yml:1:31: a string in quotes is expected here: {nope(1)}"},
		{"a file with tabs", "cubes:\n  - name: a\n\tsql_table: t\n", "model.yml:3:1: YAML is indented with spaces, and this line begins with a tab: sql_table: t"},
		{"a type of a dimension", cube("dimensions: [{name: d, type: sting, sql: x}]"),
			`model.yml:4:34: "dimensions.d.type" must be one of [boolean, geo, number, string, time]; did you mean "string"?: sting`},
		{"a pre-aggregation of members that do not exist", cube("measures: [{name: n, type: count}]\n    dimensions: [{name: d, type: time, sql: x}]\n    pre_aggregations:\n" +
			"      - {name: p, measures: [n, d], dimensions: [x], segments: [CUBE.n], time_dimension: d, granularity: dayly}\n" +
			"      - {name: q, measures: [n], time_dimension: d}\n      - {name: r, partition_granularity: month}\n      - {name: s, time_dimension: n, granularity: day, partition_granularity: minute}\n"),
			"model.yml:7:33: pre-aggregation p: \"d\" is no measure\nmodel.yml:7:50: pre-aggregation p: \"x\": x is not defined; did you mean \"a\"?\nmodel.yml:7:65: pre-aggregation p: \"CUBE.n\" is no segment\n" +
				"model.yml:7:106: pre-aggregation p: Granularity \"dayly\" does not exist in dimension a.d\n" +
				"model.yml:8:50: pre-aggregation q has the time dimension d without a granularity\n" +
				"model.yml:9:16: pre-aggregation r has a partition_granularity, which needs a time_dimension\n" +
				"model.yml:10:35: pre-aggregation s: \"n\" is no dimension\n" +
				"model.yml:10:79: partition_granularity must be one of [day, hour, month, quarter, week, year]; did you mean \"month\"?: minute"},
		{"a sub-query without what it needs", cube("dimensions: [{name: d, type: number, sql: x, sub_query: true}]"),
			"model.yml:4:25: a.d is a sub_query: primary key for 'a' is required\n" +
				"model.yml:4:25: a.d is a sub_query, so its sql is made of a measure of another cube, such as {orders.count}"},
		{"a sub-query of a dimension", cube("dimensions: [{name: k, type: number, sql: k, primary_key: true}, {name: d, type: number, sql: '{k}', sub_query: true}]"),
			"model.yml:4:77: a.d is a sub_query, so its sql is made of a measure of another cube, such as {orders.count}"},
		{"a sub-query that leads back to itself", cube("measures: [{name: n, type: sum, sql: '{d}'}]\n    dimensions: [{name: k, type: number, sql: k, primary_key: true}, {name: d, type: number, sql: '{n}', sub_query: true}]"),
			"model.yml:5:77: a.d refers to itself: a.d → a.n → a.d"},
		{"a view of a member that does not exist", "cubes: [{name: a, sql_table: t}]\nviews:\n  - {name: v, cubes: [{join_path: a, includes: [x]}]}\n",
			"model.yml:3:49: Member 'a.x' is included in 'v' but not defined in any cube"},
		{"a view by a path that does not exist", "cubes: [{name: a, sql_table: t}, {name: b, sql_table: t}]\nviews:\n  - {name: v, cubes: [{join_path: a.b, includes: '*'}]}\n",
			"model.yml:3:35: join_path a.b: Can't find join path to join 'a', 'b'"},
		{"text that is not YAML", "cubes: [\n  - name: a",
			""},
		{"filter params of a member that does not exist", "cubes: [{name: a, sql: \"SELECT * FROM t WHERE {FILTER_PARAMS.a.x.filter('x')}\"}]",
			"model.yml:1:48: 'x' not found for path 'a.x': SELECT * FROM t WHERE {FILTER_PARAMS.a.x.filter('x')}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := datamodel.Load(files(tt.yaml))
			var broken *datamodel.LoadError
			if !errors.As(err, &broken) {
				t.Fatalf("Load = %v, want a LoadError", err)
			}
			var got []string
			for _, p := range broken.Problems {
				got = append(got, p.String())
			}
			if tt.want != "" && strings.Join(got, "\n") != tt.want {
				t.Errorf("Load\n got %s\nwant %s", strings.Join(got, "\n"), tt.want)
			}
		})
	}
}

// cube returns a cube "a" with more keys from line 4 on.
func cube(more string) string { return "cubes:\n  - name: a\n    sql_table: t\n    " + more + "\n" }

func TestLoadRefusesOtherLanguagesByName(t *testing.T) {
	_, err := datamodel.Load(fstest.MapFS{
		"cubes/orders.js":   {Data: []byte("cube(`orders`, {})")},
		"globals.py":        {Data: []byte("")},
		"README.md":         {Data: []byte("{{ not a model }}")},
		"node_modules/x.js": {Data: []byte("")},
	})
	want := "Compile errors:\n" +
		"cubes/orders.js:1:1: models in JavaScript are not read here\n" +
		"globals.py:1:1: globals.py is Python, which does not run here: write its variables and macros in a Jinja template that others import"
	if err == nil || err.Error() != want {
		t.Errorf("Load = %v\nwant %s", err, want)
	}
}

// What Cube has and this version has not is refused by name and place (cube-data-model.md §1), and never ignored.
func TestWhatIsNotBuiltIsRefusedByName(t *testing.T) {
	for _, tt := range []struct{ in, refused string }{
		{"cube", "calendar: true"}, {"cube", "rewrite_queries: true"}, {"cube", "folders: []"},
		{"dimension", "multi_stage: true"}, {"dimension", "time_shift: []"}, {"dimension", "links: []"}, {"dimension", "key: x"},
		{"dimension", "aliases: []"}, {"dimension", "values: []"}, {"dimension", "case: {switch: x}"}, {"dimension", "type: switch"},
		{"measure", "multi_stage: true"}, {"measure", "group_by: []"}, {"measure", "reduce_by: []"}, {"measure", "add_group_by: []"},
		{"measure", "time_shift: []"}, {"measure", "order_by: []"}, {"measure", "case: {}"}, {"measure", "filter: {}"}, {"measure", "grain: {}"},
		{"measure", "type: rank"}, {"measure", "type: number_agg"}, {"measure", "type: running_total"},
		{"view", "default_filters: []"}, {"view", "hierarchies: [{name: h}]"}, {"view", "split: true"},
	} {
		template, ok := map[string]string{
			"cube":      "cubes: [{name: a, sql_table: t, X}]",
			"dimension": "cubes: [{name: a, sql_table: t, dimensions: [{name: d, X}]}]",
			"measure":   "cubes: [{name: a, sql_table: t, measures: [{name: m, X}]}]",
			"view":      "cubes: [{name: a, sql_table: t, segments: [{name: s, sql: x}]}]\nviews: [{name: v, cubes: [{join_path: a, includes: [s]}], X}]",
		}[tt.in]
		if tt.refused == "split: true" {
			template = "cubes: [{name: a, sql_table: t}]\nviews: [{name: v, cubes: [{join_path: a, includes: '*', X}]}]"
		}
		key, value, _ := strings.Cut(tt.refused, ": ")
		if key == "type" {
			key = value
		}
		if key == "case" && strings.Contains(value, "switch") {
			key = "switch"
		}
		_, err := datamodel.Load(files(strings.ReplaceAll(strings.Replace(template, "X", tt.refused, 1), "}}", "} }")))
		if !ok || err == nil || !strings.Contains(err.Error(), key) || !strings.Contains(err.Error(), "not supported yet") {
			t.Errorf("%s of a %s: Load = %v, want a refusal with its name", tt.refused, tt.in, err)
		}
	}
}
