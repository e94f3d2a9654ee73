package jsmodel_test

import (
	"testing"
	"testing/fstest"
	"time"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/datamodel/jsmodel"
)

// A refresh key in JavaScript is SQL of the model, with its place, the cube's own rows, the context and the filters.
func TestARefreshKeyInJavaScript(t *testing.T) {
	m, err := datamodel.Load(fstest.MapFS{"a.js": {Data: []byte("cube(`a`, {\n" +
		"  sql: `SELECT * FROM t`,\n" +
		"  refreshKey: {\n" +
		"    sql: `SELECT MAX(at) FROM ${CUBE.sql()} AS r WHERE ${SECURITY_CONTEXT.tenant.filter('t')} AND ${FILTER_PARAMS.a.x.filter('x')}`,\n" +
		"    every: `0 8 * * *`,\n" +
		"    timezone: 'Europe/Rome',\n" +
		"  },\n" +
		"  dimensions: { x: { sql: `x`, type: `string` } },\n" +
		"});\n")}}, jsmodel.New(jsmodel.Config{}))
	if err != nil {
		t.Fatal(err)
	}
	k := m.Cube("a").RefreshKey
	if k.SQL == nil || k.SQL.Position.File != "a.js" || k.SQL.Position.Line != 4 {
		t.Fatalf("the key is %+v, want SQL of line 4", k)
	}
	if k.Every != 24*time.Hour || k.Phase != 8*time.Hour || k.Zone.String() != "Europe/Rome" {
		t.Errorf("the key is %+v, want a day from 8 o'clock in Rome", k)
	}
	rows, contexts, filters := 0, 0, 0
	k.SQL.Walk(func(n datamodel.Node) {
		switch n.(type) {
		case datamodel.CubeSQL:
			rows++
		case datamodel.Context:
			contexts++
		case datamodel.FilterParam:
			filters++
		}
	})
	if rows != 1 || contexts != 1 || filters != 1 {
		t.Errorf("its SQL has %d cubes, %d contexts and %d filters, want one of each", rows, contexts, filters)
	}
}
