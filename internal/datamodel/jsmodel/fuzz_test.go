package jsmodel_test

import (
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
