package jsmodel_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/datamodel/jsmodel"
	"github.com/behalf-project/behalf/internal/sqlgen"
)

// FuzzLoad feeds the rewriter and the reader. Whatever comes, it is a model or a list of problems with places, and what a
// claim holds is never text of the SQL.
func FuzzLoad(f *testing.F) {
	for _, s := range []string{
		"cube('a', { sql: `SELECT * FROM t WHERE ${SECURITY_CONTEXT.x.filter('x')}`, measures: { n: { type: 'count', drillMembers: [d] } }, dimensions: { d: { sql: `${CUBE}.d`, type: 'string' } } })",
		"cube('a', { sql: SECURITY_CONTEXT.x.unsafeValue() ? `${b.sql()}` : 't' }); cube('b', { extends: a, sql_table: `t` })",
		"cube(`a`, { sql: () => `${FILTER_GROUP(FILTER_PARAMS.a.d.filter((x) => `${x}`))}`, dimensions: { d: { case: { when: [{ sql: `1`, label: { sql: CUBE } }], else: { label: 'x' } }, type: `string` } } })",
		"view('v', { cubes: [{ joinPath: a.b, includes: '*', prefix: true }] })", "import { x } from './b'; asyncModule(async () => { await x })",
		"cube('a', Object.assign({}, { sql: (a + b) + (c) }))", "const o = { get sql() { return CUBE } }; cube('a', o)", "cube('a', { sql() { return `x` } })",
		"cube('a', { sql: class { static x = CUBE } })", "cube('a', { sql: ((x) => x)(CUBE) })", "cube('a', { sql: { toString: () => CUBE } })", "asyncModule(1)",
		"cube('a', { sql: `x`, measures: new Proxy({}, { ownKeys: () => ['n'] }) })",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c := jsmodel.Config{LoadLimit: 200 * time.Millisecond, QueryLimit: 200 * time.Millisecond}
		m, err := load(c, "a.js", text, "b.js", "export const x = 1")
		if err == nil {
			const secret = "s'ecret\u00a7"
			for _, cube := range m.Cubes() {
				for _, member := range cube.Members {
					q := fmt.Sprintf(`{"dimensions":[%q]}`, member.FullName())
					if member.Kind == datamodel.Measure {
						q = fmt.Sprintf(`{"measures":[%q]}`, member.FullName())
					}
					sql, _, err := generate(m, map[string]any{"x": secret}, q, sqlgen.Options{ShowHidden: true})
					if err == nil && strings.Contains(sql, secret) {
						t.Errorf("a claim is text of %s", sql)
					}
				}
			}
			return
		}
		broken, ok := errors.AsType[*datamodel.LoadError](err)
		if !ok || len(broken.Problems) == 0 {
			t.Fatalf("Load = %v, want problems", err)
		}
		for _, p := range broken.Problems {
			if p.File == "" || p.Line < 1 || p.Column < 1 || p.Message == "" {
				t.Errorf("problem without a place: %+v", p)
			}
		}
	})
}

// A model is one for those whom it is said to be for: compiled for each of them it is the same.
func FuzzAModelIsForWhomItIsSaidToBe(f *testing.F) {
	reads := []string{
		"c.x", "c.x?.y", "'x' in c", "Object.keys(c).join('_')", "JSON.stringify(c).length", "c.x ? 1 : 2", "typeof c.x", "c.x == c.y", "String(c.x?.y)",
		"Object.entries(c).flat(9).join('_')", "Array.isArray(c.x)", "[].concat(c.x).length", "Object.assign({}, c).x", "(({ x, ...rest }) => Object.keys(rest).length)(c)",
		"c.hasOwnProperty('y')", "Reflect.ownKeys(c).length", "Object.getOwnPropertyNames(c.x ?? {}).length", "c.x?.valueOf() === c.x", "c == '[object Object]'",
	}
	templates := []string{
		"c.x", "c.x.y", "c.get('x', 1)", "c.get('x').y", "1 if c.get('x') else 2", "c.x | default('d')", "c.x is defined", "c.x is string", "c.x is mapping", "c.x is number",
		"c.x is iterable", "c.x == c.get('y')", "c.x | length", "c.x | first", "c.x | join('_')", "c | length", "c.x | tojson", "'y' in c.x", "c['x'][0]", "c.x is none", "c.x | string | length",
		"c.x | list | length", "c.x | items | list | length", "c.x | dictsort | length", "c.x ~ 'z'", "not c.get('x')", "c.x[0:1]", "c.x | pprint", "c.x is sequence", "c.x == c",
	}
	for i := range max(len(reads), len(templates)) {
		f.Add(uint8(i), `{"x": {"y": 1}}`, `{"x": {"y": 2}}`)
		f.Add(uint8(i), `{"x": "a", "y": null}`, `{"x": "b"}`)
		f.Add(uint8(i), `{"x": ["a"]}`, `{"x": ["a", {"y": "b"}]}`)
		f.Add(uint8(i), `{}`, `{"x": 1.5, "y": 1.5, "toJSON": true}`)
		f.Add(uint8(i), `{"x": {}, "z": 1}`, `{"x": {"y": false}, "get": "a"}`)
	}
	f.Fuzz(func(t *testing.T, i uint8, one, other string) {
		var a, b map[string]any
		if json.Unmarshal([]byte(one), &a) != nil || json.Unmarshal([]byte(other), &b) != nil {
			return // no context is that
		}
		js := "const c = COMPILE_CONTEXT.securityContext; cube('a', { sql_table: 't_' + (" + reads[int(i)%len(reads)] + "), measures: { n: { type: 'count' } } })"
		jinja := "{% set c = COMPILE_CONTEXT.securityContext %}\n" + template("{{ "+templates[int(i)%len(templates)]+" }}")
		for _, file := range [][2]string{{"a.js", js}, {"a.yml", jinja}} {
			first, got := tableFor(a, file)
			_, want := tableFor(b, file)
			if where, ok := first.Agrees(map[string]any{"securityContext": b}); ok && got != want {
				t.Errorf("%s\nof %s is %q and of %s %q, and is said to be one for both (%s)", file[1], one, got, other, want, where)
			}
		}
	})
}

// tableFor compiles a model for somebody and returns what its cube reads, or what is wrong.
func tableFor(claims map[string]any, file [2]string) (*datamodel.Compilation, string) {
	c := &datamodel.Compilation{ByAppID: true, Asker: map[string]any{"securityContext": claims}}
	m, err := compile(c, file[:]...)
	if err != nil {
		return c, err.Error()
	}
	return c, m.Cube("a").SQLTable.Source
}
