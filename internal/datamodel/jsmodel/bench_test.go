package jsmodel_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/datamodel/jsmodel"
	"github.com/behalf-project/behalf/internal/sqlgen"
)

// A model of 500 cubes with 8 dimensions and 6 measures each, all joined to one of them.
const (
	benchCubes = 500
	yamlCube   = `  - name: c%[1]d
    sql: SELECT * FROM t%[1]d WHERE {SECURITY_CONTEXT.tenant.filter('tenant')}
    joins: [{name: c0, relationship: many_to_one, sql: "{CUBE}.c0_id = {c0.id}"}]
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
`
)

func benchYAML() string {
	var b strings.Builder
	b.WriteString("cubes:\n")
	for i := range benchCubes {
		fmt.Fprintf(&b, yamlCube, i)
		for d := range 7 {
			fmt.Fprintf(&b, "      - {name: d%[1]d, sql: \"{CUBE}.d%[1]d\", type: string}\n", d)
		}
		b.WriteString("    measures:\n")
		for m := range 6 {
			fmt.Fprintf(&b, "      - {name: m%[1]d, sql: \"{CUBE}.m%[1]d\", type: sum, drill_members: [id, d0], filters: [{sql: \"{CUBE}.d1 = 'x'\"}]}\n", m)
		}
	}
	return b.String()
}

func benchCube(i int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "cube(`c%[1]d`, {\n  sql: `SELECT * FROM t%[1]d WHERE ${SECURITY_CONTEXT.tenant.filter('tenant')}`,\n"+
		"  joins: { c0: { relationship: `belongsTo`, sql: `${CUBE}.c0_id = ${c0.id}` } },\n  dimensions: {\n    id: { sql: `id`, type: `number`, primaryKey: true },\n", i)
	for d := range 7 {
		fmt.Fprintf(&b, "    d%[1]d: { sql: `${CUBE}.d%[1]d`, type: `string` },\n", d)
	}
	b.WriteString("  },\n  measures: {\n")
	for m := range 6 {
		fmt.Fprintf(&b, "    m%[1]d: { sql: `${CUBE}.m%[1]d`, type: `sum`, drillMembers: [id, d0], filters: [{ sql: `${CUBE}.d1 = 'x'` }] },\n", m)
	}
	b.WriteString("  },\n});\n")
	return b.String()
}

func BenchmarkLoad500Cubes(b *testing.B) {
	files := fstest.MapFS{}
	for i := range benchCubes {
		files[fmt.Sprintf("c%d.js", i)] = &fstest.MapFile{Data: []byte(benchCube(i))}
	}
	var one strings.Builder
	for i := range benchCubes {
		one.WriteString(benchCube(i))
	}
	for _, bb := range []struct {
		name  string
		files fstest.MapFS
	}{
		{"yaml", fstest.MapFS{"model.yml": {Data: []byte(benchYAML())}}},
		{"js_one_file", fstest.MapFS{"model.js": {Data: []byte(one.String())}}},
		{"js_file_each", files},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m, err := datamodel.Load(bb.files, jsmodel.New(jsmodel.Config{}))
				if err != nil || len(m.Cubes()) != benchCubes {
					b.Fatal(err)
				}
			}
		})
	}
}

// What a query costs when its SQL is static, and when it is computed for it.
func BenchmarkQuery(b *testing.B) {
	for name, sql := range map[string]string{
		"static": "`SELECT * FROM t WHERE ${SECURITY_CONTEXT.tenant.filter('tenant')}`",
		"script": "SECURITY_CONTEXT.role.unsafeValue() === 'admin' ? 'SELECT * FROM t' : `SELECT * FROM t WHERE ${SECURITY_CONTEXT.tenant.filter('tenant')}`",
	} {
		m := mustLoad(b, "a.js", a(sql))
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := generate(m, map[string]any{"tenant": 1}, count, sqlgen.Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What the models of sixteen application ids take, of 500 cubes each: the bytes of one, and the time for all.
func BenchmarkModelsOfApplicationIDs(b *testing.B) {
	var js strings.Builder
	js.WriteString("const { tenant } = COMPILE_CONTEXT.securityContext;\n")
	for i := range benchCubes {
		js.WriteString(strings.Replace(benchCube(i), "FROM t", "FROM ${tenant}.t", 1))
	}
	yaml := strings.ReplaceAll(benchYAML(), "FROM t", "FROM {{ COMPILE_CONTEXT.securityContext.tenant }}.t")
	for name, text := range map[string]string{"model.yml": yaml, "model.js": js.String()} {
		b.Run(name, func(b *testing.B) {
			var before, after runtime.MemStats
			for b.Loop() {
				var kept [16]*datamodel.Model
				runtime.GC()
				runtime.ReadMemStats(&before)
				for i := range kept {
					c := &datamodel.Compilation{ByAppID: true, Asker: map[string]any{"securityContext": map[string]any{"tenant": fmt.Sprint("tenant", i)}}}
					m, err := compile(c, name, text)
					if err != nil {
						b.Fatal(err)
					}
					kept[i] = m
				}
				runtime.GC()
				runtime.ReadMemStats(&after)
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(len(kept)), "bytes/model")
				runtime.KeepAlive(kept)
			}
		})
	}
}
