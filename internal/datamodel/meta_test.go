package datamodel_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/behalf-project/behalf/internal/datamodel"
)

func TestMetaIsWhatClientsExpect(t *testing.T) {
	m := load(t, `
cubes:
  - name: orders
    sql_table: t
    description: One row per order
    meta: {owner: ops, level: 2, tags: [a, true, null]}
    joins: [{name: users, relationship: many_to_one, sql: "{CUBE}.u = {users}.id"}]
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: created_at, sql: c, type: time, granularities: [{name: fiscal_year, interval: 1 year, offset: 3 months}]}
      - {name: secret, sql: s, type: string, public: false}
    measures:
      - {name: count, type: count, drill_members: [id, CUBE.unique, users.name]}
      - {name: unique, type: count_distinct, sql: u, format: percent, title: People, rolling_window: {trailing: 7 day}}
    segments: [{name: done, sql: x}]
  - {name: users, sql_table: u, public: false, dimensions: [{name: name, sql: n, type: string}]}
  - {name: alone, sql_table: u, measures: [{name: n, type: count}]}
views:
  - name: sales
    cubes: [{join_path: orders, includes: [count, id]}, {join_path: orders.users, includes: '*', prefix: true, alias: who}]
`)
	got, err := json.Marshal(m.Meta(datamodel.MetaOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		`{"cubes":[{"name":"orders","type":"cube","title":"Orders","description":"One row per order","meta":{"level":2,"owner":"ops","tags":["a",true,null]},"connectedComponent":1,"isVisible":true,"public":true,`,
		`"measures":[{"name":"orders.count","title":"Orders Count","shortTitle":"Count","formatDescription":{"name":"number","specifier":",.2~f"},"cumulativeTotal":false,"cumulative":false,"type":"number","aggType":"count","drillMembers":["orders.id","orders.unique","users.name"],`,
		`"drillMembersGrouped":{"measures":["orders.unique"],"dimensions":["orders.id","users.name"]},"isVisible":true,"public":true},`,
		`{"name":"orders.unique","title":"Orders People","shortTitle":"People","format":"percent","formatDescription":{"name":"percent","specifier":".2~%"},"cumulativeTotal":true,"cumulative":true,"type":"number","aggType":"countDistinct","drillMembers":[],"drillMembersGrouped":{"measures":[],"dimensions":[]},"isVisible":true,"public":true}],`,
		`"dimensions":[{"name":"orders.created_at","title":"Orders Created at","type":"time","shortTitle":"Created at","suggestFilterValues":true,"isVisible":true,"public":true,"primaryKey":false,"granularities":[{"name":"fiscal_year","title":"Fiscal Year","interval":"1 year","offset":"3 months"}]}],`,
		`"segments":[{"name":"orders.done","title":"Orders Done","shortTitle":"Done","isVisible":true,"public":true}],"hierarchies":[],"folders":[],"nestedFolders":[]},`,
		`{"name":"alone","type":"cube","title":"Alone","isVisible":true,"public":true,"measures":[{"name":"alone.n","title":"Alone N","shortTitle":"N","formatDescription":{"name":"number","specifier":",.2~f"},"cumulativeTotal":false,"cumulative":false,"type":"number","aggType":"count","drillMembers":[],"drillMembersGrouped":{"measures":[],"dimensions":[]},"isVisible":true,"public":true}],"dimensions":[],"segments":[],"hierarchies":[],"folders":[],"nestedFolders":[]},`,
		`{"name":"sales","type":"view","title":"Sales","isVisible":true,"public":true,"measures":[{"name":"sales.count","title":"Sales Count","shortTitle":"Count","formatDescription":{"name":"number","specifier":",.2~f"},"cumulativeTotal":false,"cumulative":false,"type":"number","aggType":"count","drillMembers":["sales.id","sales.who_name"],"drillMembersGrouped":{"measures":[],"dimensions":["sales.id","sales.who_name"]},"aliasMember":"orders.count","isVisible":true,"public":true}],`,
		`"dimensions":[{"name":"sales.id","title":"Sales ID","type":"number","shortTitle":"ID","suggestFilterValues":true,"formatDescription":{"name":"number","specifier":",.2~f"},"aliasMember":"orders.id","isVisible":true,"public":true,"primaryKey":false},`,
		`{"name":"sales.who_name","title":"Sales Who Name","type":"string","shortTitle":"Who Name","suggestFilterValues":true,"aliasMember":"users.name","isVisible":true,"public":true,"primaryKey":false}],"segments":[],"hierarchies":[],"folders":[],"nestedFolders":[]}]}`,
	}, "")
	if string(got) != want {
		t.Errorf("Meta\n got %s\nwant %s", got, want)
	}
	hidden := m.Meta(datamodel.MetaOptions{ShowHidden: true})
	if len(hidden.Cubes) != 4 || len(hidden.Cubes[0].Dimensions) != 3 || hidden.Cubes[0].Dimensions[2].Public || hidden.Cubes[1].Dimensions[0].Public {
		t.Errorf("with hidden members: %+v", hidden.Cubes)
	}
	if views := m.Meta(datamodel.MetaOptions{OnlyViews: true}); len(views.Cubes) != 1 || views.Cubes[0].Name != "sales" {
		t.Errorf("only views: %+v", views.Cubes)
	}
}

func load(t testing.TB, yaml string) *datamodel.Model {
	t.Helper()
	m, err := datamodel.Load(files(yaml))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestExtendsInheritsAndOverrides(t *testing.T) {
	m := load(t, `
cubes:
  - name: child
    extends: middle
    sql_alias: c
    dimensions:
      - {name: b, sql: other, type: number}
      - {name: d, sql: d, type: string}
    joins: []
  - name: middle
    extends: base
    title: The middle
    refresh_key: {every: 1 hour}
  - name: base
    sql_table: base
    data_source: lake
    description: the base
    joins: [{name: users, relationship: one_to_one, sql: "{CUBE}.u = {users}.id"}]
    dimensions:
      - {name: a, sql: "{CUBE}.a", type: string, primary_key: true}
      - {name: b, sql: b, type: string}
    measures: [{name: n, type: count, drill_members: [a]}]
  - {name: users, sql_table: users, data_source: lake}
`)
	c := m.Cube("child")
	var names []string
	for _, member := range c.Members {
		names = append(names, member.FullName()+":"+member.Type)
	}
	if want := []string{"child.a:string", "child.b:number", "child.d:string", "child.n:count"}; !slices.Equal(names, want) {
		t.Errorf("members = %q, want %q", names, want)
	}
	if c.DataSource != "lake" || c.Title != "The middle" || c.Description != "the base" || c.Alias != "c" || c.RefreshKey.Every != time.Hour ||
		c.Join("users") == nil || c.Join("users").From != "child" || c.SQLTable.Source != "base" {
		t.Errorf("child = %+v", c)
	}
	if got := c.Member("n").DrillMembers; !slices.Equal(got, []string{"child.a"}) {
		t.Errorf("drill members = %q, want those of the child", got)
	}
	if base := m.Cube("base"); len(base.Members) != 3 || base.Title != "Base" || base.Member("n").Title != "Base N" {
		t.Errorf("base = %+v", base)
	}
}

func TestAnchorsAndMergeKeys(t *testing.T) {
	m := load(t, `
cubes:
  - name: a
    sql_table: t
    dimensions:
      - &id {name: id, sql: id, type: number, primary_key: true}
  - name: b
    sql_table: t
    dimensions:
      - *id
      - {<<: *id, name: id2, primary_key: false}
`)
	if d := m.Cube("b").Member("id2"); d == nil || d.Type != datamodel.Number || d.PrimaryKey || !m.Cube("b").Member("id").PrimaryKey {
		t.Errorf("b.id2 = %+v", d)
	}
}

func TestTheIntervalOfARefreshKey(t *testing.T) {
	for every, want := range map[string]time.Duration{
		"1 second": time.Second, "10 minutes": 10 * time.Minute, "2 hours": 2 * time.Hour, "1 week": 7 * 24 * time.Hour,
		"*/5 * * * *": 5 * time.Minute, "0 * * * *": time.Hour, "0 8 * * *": 24 * time.Hour, "0 0 */6 * * *": 6 * time.Hour,
		"30 7 * * 1": 7 * 24 * time.Hour, "* * * * *": time.Minute, "*/30 * * * * *": 30 * time.Second,
	} {
		m := load(t, fmt.Sprintf("cubes: [{name: a, sql_table: t, refresh_key: {every: %q} }]", every))
		if got := m.Cube("a").RefreshKey.Every; got != want {
			t.Errorf("every %q = %s, want %s", every, got, want)
		}
	}
	for _, bad := range []string{"0 minutes", "often", "10", "1 fortnight", "0 8 1 * *", "*/7 * * * *", "0 8,9 * * *", "* 8 * * *", "-1 hour"} {
		_, err := datamodel.Load(files(fmt.Sprintf("cubes: [{name: a, sql_table: t, refresh_key: {every: %q} }]", bad)))
		if err == nil {
			t.Errorf("every %q is accepted", bad)
		}
	}
}

func BenchmarkLoad500Cubes(b *testing.B) {
	fsys := fstest.MapFS{}
	for i := range 500 {
		name := fmt.Sprintf("orders_%d", i)
		text := strings.NewReplacer("orders", name, "users", fmt.Sprintf("users_%d", i), "sales", fmt.Sprintf("sales_%d", i)).Replace(shop)
		fsys[name+".yml"] = &fstest.MapFile{Data: []byte(strings.Split(text, "views:")[0])}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := datamodel.Load(fsys); err != nil {
			b.Fatal(err)
		}
	}
}

func TestExtendedMetaShowsHowThingsAreMade(t *testing.T) {
	m, err := datamodel.Load(files(`cubes:
  - name: base
    sql_table: t
    refresh_key: {every: 10 minutes}
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true, public: true}
      - {name: size, type: string, case: {when: [{sql: "{CUBE}.n > 1", label: big}], else: {label: {sql: "'small'"}}}}
    measures:
      - {name: done, type: sum, sql: "{CUBE}.n", filters: [{sql: "{CUBE}.ok"}]}
  - name: child
    extends: base
    joins: [{name: base, relationship: one_to_one, sql: "{CUBE}.id = {base.id}"}]
    pre_aggregations: [{name: main, measures: [done]}]
`))
	if err != nil {
		t.Fatal(err)
	}
	text := func(o datamodel.MetaOptions) string {
		b, err := json.Marshal(m.Meta(o).Cubes[1])
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	extended, plain := text(datamodel.MetaOptions{Extended: true}), text(datamodel.MetaOptions{})
	for _, want := range []string{
		`"extends":"base"`, `"sqlTable":"t"`, `"fileName":"model.yml"`, `"refreshKey":{"every":"10m0s"}`,
		`"joins":[{"name":"base","relationship":"one_to_one","sql":"{CUBE}.id = {base.id}"}]`, `"preAggregations":[{"name":"main","type":"rollup"}]`,
		`"sql":"{CUBE}.n","filters":[{"sql":"{CUBE}.ok"}]`, `"case":{"when":[{"sql":"{CUBE}.n \u003e 1","label":"big"}],"else":{"label":{"sql":"'small'"}}}`,
	} {
		if !strings.Contains(extended, want) {
			t.Errorf("the extended form lacks %s:\n%s", want, extended)
		}
	}
	for _, not := range []string{"sql", "extends", "fileName", "joins", "filters"} {
		if strings.Contains(plain, `"`+not) {
			t.Errorf("the plain form has %s:\n%s", not, plain)
		}
	}
}
