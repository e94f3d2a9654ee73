package jsmodel_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/datamodel/jsmodel"
	"github.com/behalf-project/behalf/internal/query"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/internal/sqlgen"
)

// load reads files, given as name, text, name, text.
func load(c jsmodel.Config, files ...string) (*datamodel.Model, error) {
	folder := fstest.MapFS{}
	for i := 0; i < len(files); i += 2 {
		folder[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	return datamodel.Load(folder, jsmodel.New(c))
}

func mustLoad(t testing.TB, files ...string) *datamodel.Model {
	t.Helper()
	m, err := load(jsmodel.Config{}, files...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// generate plans a query, given in JSON, for a security context.
func generate(m *datamodel.Model, claims map[string]any, q string, o sqlgen.Options) (string, []any, error) {
	if o.Now.IsZero() {
		o.Now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	}
	o.Dialect = func(string) (sqlgen.Dialect, error) { return sqlgen.Postgres{}, nil }
	batch, err := query.Decode([]byte(q))
	if err != nil {
		return "", nil, err
	}
	if batch, err = batch.Normalize(query.Options{Now: o.Now}); err != nil {
		return "", nil, err
	}
	plan, err := sqlgen.Generate(m, securitycontext.Context{Template: claims}, batch.Queries[0], o)
	return strings.Join(strings.Fields(plan.SQL), " "), plan.Args, err
}

// tableOf returns what a query of cube "a" reads from.
func tableOf(t *testing.T, sql string) string {
	t.Helper()
	_, from, _ := strings.Cut(sql, "FROM ")
	from, _, _ = strings.Cut(from, " AS \"a\"")
	return from
}

// limited returns short limits for what is meant to reach them.
func limited(want string) jsmodel.Config {
	if strings.Contains(want, "ran longer than 300ms") {
		return jsmodel.Config{LoadLimit: 300 * time.Millisecond, QueryLimit: 300 * time.Millisecond}
	}
	return jsmodel.Config{}
}

const count = `{"measures":["a.n"],"limit":1}`

// a returns a cube "a" with that sql.
func a(sql string) string {
	return "cube('a', { sql: " + sql + ", measures: { n: { type: 'count' } } })"
}

// What depends on a value of the security context is computed for each query; all else is static (cube-data-model.md §14).
func TestSQLOfASecurityContext(t *testing.T) {
	byRole := "SECURITY_CONTEXT.role.unsafeValue() === 'admin' ? 'SELECT * FROM t' : `SELECT * FROM t WHERE ${SECURITY_CONTEXT.tenant.requiredFilter('tenant')}`"
	for _, tt := range []struct {
		name, model string
		static      bool
		claims      map[string]any
		want        string // the table, with its arguments, or the error
	}{
		{"filter", a("`SELECT * FROM t WHERE ${SECURITY_CONTEXT.user_id.filter('user_id')}`"), true,
			map[string]any{"user_id": 42}, "(SELECT * FROM t WHERE user_id = $1) [42]"},
		{"filter of a list", a("`SELECT * FROM t WHERE ${SECURITY_CONTEXT.user_id.filter('user_id')}`"), true,
			map[string]any{"user_id": []any{1, 2}}, "(SELECT * FROM t WHERE user_id IN ($1, $2)) [1 2]"},
		{"filter of nothing", a("`SELECT * FROM t WHERE ${USER_CONTEXT.user_id.filter('user_id')}`"), true, nil, "(SELECT * FROM t WHERE 1 = 0) []"},
		{"required filter of nothing", a("`SELECT * FROM t WHERE ${securityContext.user_id.requiredFilter('user_id')}`"), true, nil, "Filter for user_id is required"},
		{"a bare value", a("`SELECT * FROM t WHERE x = ${SECURITY_CONTEXT.cubeCloud['x'].y}`"), true,
			map[string]any{"cubeCloud": map[string]any{"x": map[string]any{"y": "'"}}}, "(SELECT * FROM t WHERE x = $1) [']"},
		{"the groups", a("`SELECT * FROM t WHERE ${groups.filter('g')} AND r = ${userAttributes.region}`"), true,
			map[string]any{"cubeCloud": map[string]any{"groups": []any{"a"}, "userAttributes": map[string]any{"region": "eu"}}}, "(SELECT * FROM t WHERE g IN ($1) AND r = $2) [a eu]"},
		{"a value that is text", a("`SELECT * FROM ${SECURITY_CONTEXT.schema.unsafeValue()}.t`"), true, map[string]any{"schema": "acme"}, "acme.t []"},
		{"a value that would be more than text", a("`SELECT * FROM ${SECURITY_CONTEXT.schema.unsafeValue()}.t`"), true,
			map[string]any{"schema": "a; DROP"}, "SECURITY_CONTEXT.schema has characters that unsafeValue does not let into SQL"},
		{"a function that only writes", a("`SELECT * FROM t WHERE ${SECURITY_CONTEXT.x.filter((v) => `a = ${v} OR b = ${v}`)}`"), true,
			map[string]any{"x": 1}, "(SELECT * FROM t WHERE (a = $1 OR b = $2)) [1 1]"},
		{"a function that looks at a list", a("`SELECT * FROM t WHERE ${SECURITY_CONTEXT.x.filter((v) => v.map((one) => `a = ${one}`).join(' OR '))}`"), false,
			map[string]any{"x": []any{"p", "q"}}, "(SELECT * FROM t WHERE (a = $1 OR a = $2)) [p q]"},
		{"a function that looks whether it is a list", a("`SELECT * FROM t WHERE ${SECURITY_CONTEXT.x.filter((v) => Array.isArray(v) ? `a IN (${v.join()})` : `a = ${v}`)}`"), false,
			map[string]any{"x": "p"}, "(SELECT * FROM t WHERE (a = $1)) [p]"},
		{"a function that looks at what is missing", a("`SELECT * FROM t WHERE ${SECURITY_CONTEXT.x.filter((v) => v.map((one) => `a = ${one}`).join(' OR '))}`"), false,
			nil, "(SELECT * FROM t WHERE 1 = 0) []"},
		{"a decision, one way", a(byRole), false, map[string]any{"role": "admin", "tenant": 7}, "t []"},
		{"a decision, the other way", a(byRole), false, map[string]any{"role": "viewer", "tenant": 7}, "(SELECT * FROM t WHERE tenant = $1) [7]"},
		{"a decision without the value", a(byRole), false, nil, "Filter for tenant is required"},
		{"a decision in a helper", "const table = (c) => { const role = c.role.unsafeValue(); if (role === 'admin') return 'all_rows'; return 'own_rows' };" +
			a("`SELECT * FROM ${table(SECURITY_CONTEXT)}`"), false, map[string]any{"role": "admin"}, "all_rows []"},
		{"a decision by a text", a("() => { const role = `${SECURITY_CONTEXT.role.unsafeValue()}`; return role === 'admin' ? 'SELECT * FROM all_rows' : 'SELECT * FROM own_rows' }"), false,
			map[string]any{"role": "admin"}, "all_rows []"},
		{"a decision that is caught", a("() => { try { return SECURITY_CONTEXT.role.unsafeValue() === 'admin' ? 'SELECT * FROM all_rows' : 'SELECT * FROM own_rows' } catch { return 'SELECT * FROM all_rows' } }"), false,
			map[string]any{"role": "x"}, "own_rows []"},
		{"a decision by an object", a("SECURITY_CONTEXT.user.unsafeValue().role === 'admin' ? 'SELECT * FROM all_rows' : 'SELECT * FROM own_rows'"), false,
			map[string]any{"user": map[string]any{"role": "admin", "name": "O'Neill"}}, "all_rows []"},
		{"an injection through a decision", a("`SELECT * FROM t WHERE x = '${SECURITY_CONTEXT.x.unsafeValue().trim()}'`"), false,
			map[string]any{"x": "' OR 1=1 --"}, "SECURITY_CONTEXT.x has characters that unsafeValue does not let into SQL"},
		{"an injection through an object", a("`SELECT * FROM t WHERE x = '${SECURITY_CONTEXT.unsafeValue().x[0]}'`"), false,
			map[string]any{"x": []any{"' OR 1=1 --"}}, "SECURITY_CONTEXT.x has characters that unsafeValue does not let into SQL"},
		{"a claim that looks like a mark", a("`SELECT * FROM t WHERE x = ${SECURITY_CONTEXT.x.unsafeValue().trim()} ${SECURITY_CONTEXT.y}`"), false,
			map[string]any{"x": "\ue0000000000000000000:0\ue001", "y": 1}, "SECURITY_CONTEXT.x has characters that unsafeValue does not let into SQL"},
		{"a helper around a filter", "const wrap = (s) => `(${s})`;" + a("`SELECT * FROM t WHERE ${wrap(SECURITY_CONTEXT.x.filter('x'))}`"), false,
			map[string]any{"x": 1}, "(SELECT * FROM t WHERE (x = $1)) [1]"},
		{"the time", a("`SELECT * FROM t_${new Date().getFullYear()}`"), false, nil, "t_2026 []"},
		{"an error that the author throws", a("() => { if (!SECURITY_CONTEXT.x.unsafeValue()) throw new Error('choose a tenant'); return 'SELECT * FROM t' }"), false,
			nil, "The data model cannot make its SQL for this query: choose a tenant"},
		{"an endless loop", a("() => { while (SECURITY_CONTEXT.x.unsafeValue()) {} return 'SELECT * FROM t' }"), false,
			map[string]any{"x": 1}, "The data model cannot make its SQL for this query: the script ran longer than 300ms"},
		{"a cube that is not there", a("SECURITY_CONTEXT.x.unsafeValue() ? `SELECT * FROM ${CUBE.x}` : 'SELECT * FROM t'"), false, nil, "t []"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := load(limited(tt.want), "a.js", tt.model)
			if err != nil {
				t.Fatal(err)
			}
			script := false
			m.Cube("a").SQL.Walk(func(n datamodel.Node) {
				if _, ok := n.(datamodel.Script); ok {
					script = true
				}
			})
			if script == tt.static {
				t.Errorf("computed for each query = %v, want %v", script, !tt.static)
			}
			sql, args, err := generate(m, tt.claims, count, sqlgen.Options{})
			got := fmt.Sprint(tableOf(t, sql), " ", args)
			if err != nil {
				got = err.Error()
			}
			if !strings.HasSuffix(got, tt.want) {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// Each of these is one mistake, and the lines that say so.
func TestLoadNamesEveryMistake(t *testing.T) {
	for _, tt := range []struct{ name, model, want string }{
		{"a key that does not exist", "cube('a', {\n  sqlTabel: 't',\n  sql_table: 't' })", `a.js:2:3: a cube has no key "sqlTabel"; did you mean "sql_table"?`},
		{"a key of a member", "cube('a', { sql_table: 't', measures: {\n  n: { typ: 'count', type: 'count' } } })", `a.js:2:8: a measure has no key "typ"; did you mean "type"?`},
		{"a key given twice", "cube('a', { sql_table: 't', sqlTable: 't' })", "a.js:1:29: sqlTable is given twice"},
		{"a type that does not exist", "cube('a', { sql_table: 't', dimensions: { d: { sql: `x`, type: `text` } } })",
			`a.js:1:64: "dimensions.d.type" must be one of [boolean, geo, number, string, time]: text`},
		{"a name that nothing has", "cube('a', { sql_table: 't', dimensions: { status: { sql: `x`, type: `string` },\n  d: { sql: `${CUBE}.x + ${statu}`, type: `string` } } })",
			`a.js:2:28: "statu": statu is not defined; did you mean "status"?: {CUBE}.x + {statu}`},
		{"a name in SQL of a query", "cube('a', { sql: SECURITY_CONTEXT.x.unsafeValue() ? `${othr.sql()}` : '', measures: {} }); cube('other', { sql_table: 't' })",
			`a.js:1:56: "othr": othr is not defined; did you mean "other"?`},
		{"a member that a cube does not have", "cube('a', { sql_table: 't', measures: { n: { sql: `${CUBE.nope}`, type: `number` } } })", `a.js:1:54: "CUBE.nope": 'nope' not found in a: {CUBE.nope}`},
		{"a drill member that does not exist", "cube('a', { sql_table: 't', measures: { n: { type: `count`, drillMembers: [nope] } } })", `a.js:1:76: drill members of a.n: "nope": nope is not defined`},
		{"a function that does not exist", "cube('a', { sql: `SELECT ${hlper('x')}` })", "a.js:1:33: there is no function hlper: cube('a', { sql: `SELECT ${hlper('x')}` })"},
		{"a method that a value does not have", "cube('a', { sql: `${SECURITY_CONTEXT.x.fliter('a')}` })", "a.js:1:46: a value of the security context has filter, requiredFilter and unsafeValue, not fliter: cube('a', { sql: `${SECURITY_CONTEXT.x.fliter('a')}` })"},
		{"a bound value in quotes", "cube('a', { sql: `SELECT '${SECURITY_CONTEXT.x}'` })", "a.js:1:18: a bound value cannot stand inside quotes; leave the quotes out"},
		{"a decision by what is bound", "cube('a', { sql: SECURITY_CONTEXT.x ? 's' : 't' })", "a.js:1:18: SECURITY_CONTEXT is bound to the SQL and has no value here; compare SECURITY_CONTEXT.….unsafeValue(): cube('a', { sql: SECURITY_CONTEXT.x ? 's' : 't' })"},
		{"a comparison of what is bound", "cube('a', { sql: `${SECURITY_CONTEXT.x.y === 'admin' && 's'}` })", "a.js:1:21: SECURITY_CONTEXT is bound to the SQL and has no value here; compare SECURITY_CONTEXT.….unsafeValue(): cube('a', { sql: `${SECURITY_CONTEXT.x.y === 'admin' && 's'}` })"},
		{"a decision of an access policy", "cube('a', { sql_table: 't', accessPolicy: [{ role: '*', conditions: [{ if: securityContext.age > 18 }] }] })", "a.js:1:76: what an access policy asks of securityContext is one claim, such as securityContext.active, and not computed with: cube('a', { sql_table: 't', accessPolicy: [{ role: '*', conditions: [{ if: securityContext.age > 18 }] }] })"},
		{"a decision by filters", "cube('a', { sql: FILTER_PARAMS.a.b.filter('b') === '1 = 1' ? 's' : 't' })", "a.js:1:18: FILTER_PARAMS becomes SQL and has no value here, so nothing can be decided by it: cube('a', { sql: FILTER_PARAMS.a.b.filter('b') === '1 = 1' ? 's' : 't' })"},
		{"filters of a member that does not exist", "cube('a', { sql: `SELECT ${FILTER_PARAMS.a.x.filter('x')}` })", "a.js:1:28: 'x' not found for path 'a.x': SELECT {FILTER_PARAMS.a.x.filter('x')}"},
		{"filters with a function that decides", "cube('a', { sql: `SELECT ${FILTER_PARAMS.a.n.filter((x, y) => y ? x : y)}`, dimensions: { n: { sql: `n`, type: `string` } } })",
			"a.js:1:52: a function given to FILTER_PARAMS….filter takes placeholders by name, such as (from, to) => `…`, and decides nothing by them: cube('a', { sql: `SELECT ${FILTER_PARAMS.a.n.filter((x, y) => y ? x : y)}`, dimensions: { n: { sql: `n`, type: `string` } } })"},
		{"arithmetic with a reference", "cube('a', { sql_table: 't', measures: { n: { sql: `${CUBE.x * 2}`, type: `number` } } })", "a.js:1:54: this stands for SQL, and has no value to compute with or to compare: cube('a', { sql_table: 't', measures: { n: { sql: `${CUBE.x * 2}`, type: `number` } } })"},
		{"a reference that is cut apart", "cube('a', { sql_table: 't', dimensions: { d: { sql: `${String(CUBE).slice(1)}`, type: `number` } } })",
			"a.js:1:53: what stands for a name was taken apart; it can only be put into SQL as it is"},
		{"quotes for backquotes", "cube('a', { sql: '${CUBE}.x' })", "a.js:1:18: ${CUBE…} stands in quotes, where JavaScript leaves it as it is; write the text in backquotes"},
		{"view groups", "view_group('g', {})", "a.js:1:11: view groups are not supported yet: view_group('g', {})"},
		{"no definition", "cube('a')", "a.js:1:5: cube takes a name and a definition: cube(`orders`, { … }): cube('a')"},
		{"a name that is none", "cube('a b', { sql_table: 't' })", "a.js:1:6: a name has letters, digits and underscores, and does not begin with a digit: a b"},
		{"what nobody compiled for", "cube('a', { sql_table: COMPILE_CONTEXT.securityContext.tenant })", "a.js:1:24: COMPILE_CONTEXT can't be used unless contextToAppId is defined: cube('a', { sql_table: COMPILE_CONTEXT.securityContext.tenant })"},
		{"an access policy without policies", "cube('a', { sql_table: 't',\n accessPolicy: [] })", "a.js:2:16: an access_policy without policies lets nobody in; leave it out to let everybody in"},
		{"a cube made of itself", "cube('a', { sql: `SELECT * FROM ${b.sql()}` }); cube('b', { sql: `SELECT * FROM ${a.sql()}` })", "a.js:1:6: the sql of cube a is made of itself\na.js:1:54: the sql of cube b is made of itself"},
		{"a symbol", "cube('a', { sql_table: 't', title: Symbol('x') })", "a.js:1:36: a symbol is nothing that a model may hold"},
		{"an object in itself", "const o = { sql_table: 't' }; o.meta = o; cube('a', o)", "a.js:1:53: the definition has more than 200000 values, or is more than 50 deep"},
		{"a network", "asyncModule(async () => { await fetch('http://x') })", "a.js:1:38: ReferenceError: fetch is not defined; scripts have no network, unless it is allowed to reach hosts: asyncModule(async () => { await fetch('http://x') })"},
		{"an endless loop", "for (;;) {}", "a.js:1:1: the script ran longer than 300ms: for (;;) {}"},
		{"an endless loop in SQL", "cube('a', { sql: () => { for (;;) {} } })", "a.js:1:18: the script ran longer than 300ms: cube('a', { sql: () => { for (;;) {} } })"},
		{"endless recursion in SQL", "const f = () => f(); cube('a', { sql: () => f() })", "a.js:1:18: the script calls itself more than 400 deep: const f = () => f(); cube('a', { sql: () => f() })"},
		{"a text that is too long", "cube('a', { sql: 'x'.repeat(2 ** 21) })", "a.js:1:18: the text is longer than 1048576 characters"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := load(limited(tt.want), "a.js", tt.model)
			broken, ok := errors.AsType[*datamodel.LoadError](err)
			if !ok {
				t.Fatalf("Load = %v, want a LoadError", err)
			}
			var got []string
			for _, p := range broken.Problems {
				got = append(got, p.String())
			}
			if strings.Join(got, "\n") != tt.want {
				t.Errorf("Load\n got %s\nwant %s", strings.Join(got, "\n"), tt.want)
			}
		})
	}
}

func TestProblemsOfAllFilesAreToldAtOnce(t *testing.T) {
	_, err := load(jsmodel.Config{}, "a.js", "cube('a', { sqlTabel: 't', sql_table: 't' }); cube('b', { sql_table: 't', joins: { c: { relationship: 'hasOne', sql: `${CUBE}.id = ${c.id}` } } })",
		"b.js", "cube(", "c.js", "import './b'", "d.yml", "cubes:\n  - {name: c, sql_tabel: t, sql_table: t}\n")
	want := "Compile errors:\n" +
		"a.js:1:13: a cube has no key \"sqlTabel\"; did you mean \"sql_table\"?\n" +
		"a.js:1:134: \"c.id\": 'id' not found in c: {CUBE}.id = {c.id}\n" +
		"b.js:1:6: Unexpected end of input: cube(\n" +
		"d.yml:2:15: a cube has no key \"sql_tabel\"; did you mean \"sql_table\"?"
	if err == nil || err.Error() != want {
		t.Errorf("Load = %v\nwant %s", err, want)
	}
}

// What models of the documentation do, by the SQL that comes of it.
func TestRecipes(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files []string
		query string
		want  string
	}{
		{"measures made by a loop", []string{"a.js", `
			const statuses = ['new', 'done'];
			cube('a', { sqlTable: 't', dimensions: { status: { sql: 'status', type: 'string' } }, measures: Object.assign(
				{ n: { type: 'count' } },
				...statuses.map((s) => ({ ['total_' + s]: { type: 'sum', sql: 'amount', filters: [{ sql: ` + "`${CUBE}.status = '${s}'`" + ` }] } })),
			) })`}, `{"measures":["a.total_done"],"limit":1}`, `SELECT sum(CASE WHEN ("a".status = 'done') THEN "a".amount END) "a__total_done" FROM t AS "a" LIMIT 1`},
		{"cubes made by a loop", []string{"a.js", `
			['a', 'b'].forEach((name) => { cube(name, { sql: ` + "`SELECT * FROM ${name}_events`" + `, measures: { n: { type: 'count' } } }) })`},
			`{"measures":["b.n"],"limit":1}`, `SELECT count(*) "b__n" FROM b_events AS "b" LIMIT 1`},
		{"a helper that makes a cube", []string{"lib.js", "exports.make = (name) => cube(name, { sql_table: name, measures: { n: { type: 'count' } } })", "x.js", "require('./lib').make('a')"},
			count, `SELECT count(*) "a__n" FROM a AS "a" LIMIT 1`},
		{"a cube that extends one of another file", []string{"x.js", "cube('a', { extends: Base, sql_table: 't' })", "y.yml", "cubes: [{name: Base, sql_table: b, measures: [{name: n, type: sum, sql: \"{CUBE}.x\"}]}]"},
			count, `SELECT sum("a".x) "a__n" FROM t AS "a" LIMIT 1`},
		{"a cube that extends a text", []string{"x.js", "cube('a', { extends: 'Base', shown: true, sql: `SELECT * FROM ${Base.sql()} AS b` })\ncube(`Base`, { sqlTable: `b`, measures: { n: { type: `count` } }, shown: false })"},
			count, `SELECT count(*) "a__n" FROM (SELECT * FROM (SELECT * FROM b) AS b) AS "a" LIMIT 1`},
		{"definitions that come later", []string{"a.js", "asyncModule(async () => { const tables = await Promise.resolve(['a']); for (const t of tables) cube(t, { sql_table: t, measures: { n: { type: 'count' } } }) })"},
			count, `SELECT count(*) "a__n" FROM a AS "a" LIMIT 1`},
		{"an imported definition is defined once", []string{"a.js", "import { shared } from './b'; cube('a', { sql_table: shared, measures: { n: { type: 'count' } } })", "b.js", "export const shared = 't'; cube('b', { sql_table: 'b' })"},
			count, `SELECT count(*) "a__n" FROM t AS "a" LIMIT 1`},
		{"exports in the old way", []string{"a.js", "const { t } = require('./b'); cube('a', { sql_table: t, measures: { n: { type: 'count' } } })", "b.js", "addExport({ t: 't' })"},
			count, `SELECT count(*) "a__n" FROM t AS "a" LIMIT 1`},
		{"a member goes before a variable of its name", []string{"a.js", "const status = 'nothing'; cube('a', { sql_table: 't', dimensions: { status: { sql: `st`, type: `string` } }, measures: { n: { type: 'max', sql: `UPPER(${status})` } } })"},
			count, `SELECT max(UPPER("a".st)) "a__n" FROM t AS "a" LIMIT 1`},
		{"names of the language stay those", []string{"a.js", "const base = ['p', 'q']; cube('a', { sql_table: 't', measures: { n: { type: 'max', sql: `${JSON.stringify(base)} ${base.map((b) => `${CUBE}.${b}`).join(' + ')} {x}` } } })"},
			count, `SELECT max(["p","q"] "a".p + "a".q {x}) "a__n" FROM t AS "a" LIMIT 1`},
		{"functions with the names they use", []string{"a.js", "const total = (column) => ({ sql: (CUBE) => `${CUBE}.${column}`, type: 'sum' }); cube('a', { sql_table: 't', measures: { n: total('x') } })"},
			count, `SELECT sum("a".x) "a__n" FROM t AS "a" LIMIT 1`},
		{"imports are from the folder of the model first", []string{"cubes/a.js", "import { t } from './lib'; import { u } from './near'; import { v } from '../lib'; cube('a', { sql_table: t + u + v, measures: { n: { type: 'count' } } })",
			"cubes/lib.js", "export const t = 'near'", "lib.js", "export const t = 't', v = 'v'", "cubes/near.js", "export const u = 'u'"},
			count, `SELECT count(*) "a__n" FROM tuv AS "a" LIMIT 1`},
		{"a member that is called like a claim", []string{"a.js", "cube('a', { sql_table: 't', dimensions: { groups: { sql: `g`, type: `string` } }, measures: { n: { type: 'max', sql: `${groups}`, drillMembers: [groups] } } })"},
			count, `SELECT max("a".g) "a__n" FROM t AS "a" LIMIT 1`},
		{"a context has no effect", []string{"a.js", "context('c', { contextMembers: [a] }); " + a("'SELECT * FROM t'")}, count, `SELECT count(*) "a__n" FROM t AS "a" LIMIT 1`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, _, err := generate(mustLoad(t, tt.files...), nil, tt.query, sqlgen.Options{})
			if err != nil || got != tt.want {
				t.Errorf("got  %s, %v\nwant %s", got, err, tt.want)
			}
		})
	}
}

func TestMetadataIsAsItIs(t *testing.T) {
	m := mustLoad(t, "a.js", "const n = 'x'; cube('a', { sql_table: 't', measures: { n: { type: 'count' } }, meta: { values: [n, 1.5, null, true], sql: n } })")
	if got, want := fmt.Sprint(m.Cube("a").Meta), "map[sql:x values:[x 1.5 <nil> true]]"; got != want {
		t.Errorf("meta = %s, want %s", got, want)
	}
}

// No file can change what another one sees (and the order of files means nothing).
func TestFilesDoNotChangeEachOther(t *testing.T) {
	tamper := `Object.prototype.sql = 'evil'; Array.prototype.map = () => ['evil']; globalThis.cube = () => {}; JSON.stringify = () => 'evil';
		String.prototype.trim = () => 'evil'; const lib = require('./lib'); lib.table = 'evil'; lib.nested.x = 'evil'; evil = 1;`
	m := mustLoad(t, "a.js", tamper, "b.js", "const lib = require('./lib'); const leak = typeof evil; cube('a', { sql_table: ['t'].map((x) => x.trim()).join() + lib.table + lib.nested.x + leak, measures: { n: { type: 'count' } } })",
		"c.js", tamper, "lib.js", "module.exports = { table: 't', nested: { x: 'x' } }")
	if sql, _, err := generate(m, nil, count, sqlgen.Options{}); err != nil || tableOf(t, sql) != "ttxundefined" {
		t.Errorf("sql = %s, %v", sql, err)
	}
}

// What a query leaves behind in variables is not there for the next one.
func TestQueriesDoNotFindEachOther(t *testing.T) {
	m := mustLoad(t, "lib.js", "exports.cache = {}", "a.js", "const { cache } = require('./lib'); let last; "+
		a("() => { last ??= SECURITY_CONTEXT.tenant.unsafeValue(); cache.tenant ??= SECURITY_CONTEXT.tenant.unsafeValue(); Array.prototype.x ??= last; return `SELECT * FROM t_${last}_${cache.tenant}_${[].x}` }"))
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			tenant := fmt.Sprint("tenant", i)
			sql, _, err := generate(m, map[string]any{"tenant": tenant}, count, sqlgen.Options{})
			if want := "t_" + tenant + "_" + tenant + "_" + tenant; err != nil || tableOf(t, sql) != want {
				t.Errorf("sql = %s, %v, want %s", sql, err, want)
			}
		})
	}
	wg.Wait()
}

// A script that makes SQL refer to itself is refused, and does not end the process.
func TestSQLThatAScriptMakesReferToItself(t *testing.T) {
	m := mustLoad(t, "a.js", `
		cube('a', { sql_table: 't', dimensions: { id: { type: 'number', sql: 'id', primaryKey: true },
				p: { type: 'string', sql: SECURITY_CONTEXT.x.unsafeValue() ? `+"`${q} + ${q}` : 'p' }, q: { type: 'string', sql: `${p} + ${p}`"+` } },
			measures: { m: { type: 'number', sql: SECURITY_CONTEXT.x.unsafeValue() ? `+"`${n} + ${n}` : 'MAX(1)' }, n: { type: 'number', sql: `${m} + ${m}`"+` } } });
		cube('s', { sql_table: 's', joins: { u: { relationship: 'hasMany', sql: `+"`${CUBE}.id = ${u}.s`"+` } },
			dimensions: { id: { type: 'number', sql: 'id', primaryKey: true }, d: { type: 'number', sql: `+"`${u.m}`"+`, subQuery: true } } });
		cube('u', { sql_table: 'u', joins: { s: { relationship: 'belongsTo', sql: `+"`${CUBE}.s = ${s}.id`"+` } },
			dimensions: { id: { type: 'number', sql: 'id', primaryKey: true } },
			measures: { m: { type: 'sum', sql: SECURITY_CONTEXT.x.unsafeValue() ? `+"`${s.d}` : 'x'"+` } } });
		cube('b', { sql: SECURITY_CONTEXT.x.unsafeValue() ? `+"`SELECT * FROM ${b.sql()}` : 'SELECT * FROM t'"+`, measures: { n: { type: 'count' } } })`)
	for q, want := range map[string]string{
		`{"dimensions":["a.p"]}`: "The SQL of a.p refers to itself", `{"measures":["a.n"]}`: "The SQL of a.n refers to itself",
		`{"measures":["b.n"]}`: "The SQL of b refers to itself", `{"dimensions":["s.d"]}`: "The SQL of s.d refers to itself",
	} {
		if _, _, err := generate(m, map[string]any{"x": 1}, q, sqlgen.Options{}); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", q, err, want)
		}
		if _, _, err := generate(m, nil, q, sqlgen.Options{}); err != nil {
			t.Errorf("%s: %v", q, err)
		}
	}
}

func TestGranularities(t *testing.T) {
	m := mustLoad(t, "a.js", "cube('a', { sql_table: 't', dimensions: { at: { type: 'time', sql: 'at', granularities: {\n"+
		"fiscalYear: { interval: '1 year', offset: '3 months', title: 'FY' }, week: { sql: `${CUBE}.week` } } },\nlocal: { type: 'string', sql: `EXTRACT(HOUR FROM ${SQL_UTILS.convertTz(`${CUBE}.at`)})` },\n"+
		"link: { type: 'string', sql: `'?q=' || ${SQL_UTILS.urlEncode(`${TABLE}.at`)}` } } })")
	sql, _, err := generate(m, nil, `{"dimensions":["a.at.fiscalYear","a.at.week","a.local","a.link"]}`, sqlgen.Options{})
	for _, want := range []string{`"a".week "a__at_week"`, `EXTRACT(HOUR FROM ("a".at::timestamptz AT TIME ZONE 'UTC')) "a__local"`,
		`'?q=' || REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(CAST("a".at AS TEXT), '%', '%25'), '&', '%26'), '=', '%3D'), '+', '%2B'), ' ', '%20') "a__link"`} {
		if err != nil || !strings.Contains(sql, want) {
			t.Errorf("SQL = %s, %v, want %s in it", sql, err, want)
		}
	}
}

func TestNotices(t *testing.T) {
	m := mustLoad(t, "a.js", "cube('a', { sql_table: 't', measures: { n: { type: 'count' } }, dimensions: { at: { sql: `at`, type: `time` } },\n  preAggregations: {\n    main: { type: 'originalSql', measures: [n], timeDimension: CUBE.at, granularity: 'day' },\n    last: { type: 'rollupLambda', rollups: [CUBE.first] }, first: { measures: [n] } } })")
	var got []string
	for _, n := range m.Notices() {
		got = append(got, n.String())
	}
	if want := "a.js:3:5: pre-aggregation a.main keeps the rows of its cube as they are: the members that it names have no effect"; !slices.Equal(got, []string{want}) {
		t.Errorf("notices = %q, want %q", got, want)
	}
}

// What is no plain text does not look like one to whoever reads texts: a claim in a list of values, say, is in braces as
// in YAML.
func TestWhatIsNoTextDoesNotLookLikeOne(t *testing.T) {
	definitions, problems := jsmodel.New(jsmodel.Config{}).Read(t.Context(), new(datamodel.Compilation), map[string]string{"a.js": "cube('a', { accessPolicy: [{ rowLevel: { filters: [" +
		"{ member: CUBE.region, values: ['x', securityContext.region, `${securityContext.a.b}`, SECURITY_CONTEXT.x.filter('x')] }," +
		"{ member: region, values: securityContext.regions }, { member: region, values: securityContext.x.unsafeValue() || 'x' }] } }] })"})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	var texts []string
	var walk func(v *datamodel.Value)
	walk = func(v *datamodel.Value) {
		if v.Kind == datamodel.StringValue {
			texts = append(texts, v.Text)
		}
		for _, item := range v.Items {
			walk(item)
		}
		for _, f := range v.Fields {
			walk(f.Value)
		}
	}
	walk(definitions[0].Value)
	want := []string{"a", "CUBE.region", "x", "{SECURITY_CONTEXT.region}", "{SECURITY_CONTEXT.a.b}", "{SECURITY_CONTEXT.x.filter('x')}", "region",
		"{SECURITY_CONTEXT.regions}", "region", "{computed for each query}"}
	if !slices.Equal(texts, want) {
		t.Errorf("texts = %q\nwant %q", texts, want)
	}
}
