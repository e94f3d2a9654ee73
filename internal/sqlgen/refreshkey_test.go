package sqlgen_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/sqlgen"
)

const refreshed = `cubes:
  - name: orders
    sql_table: orders
    refresh_key:
      sql: >-
        SELECT MAX(at) FROM orders WHERE {SECURITY_CONTEXT.tenant.filter('tenant')}
        AND {FILTER_PARAMS.orders.at.filter('at')}
    joins:
      - {name: users, relationship: many_to_one, sql: "{CUBE}.user_id = {users.id}"}
      - {name: stores, relationship: many_to_one, sql: "{CUBE}.store_id = {stores.id}"}
      - {name: plain, relationship: many_to_one, sql: "{CUBE}.p = {plain.id}"}
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: at, sql: at, type: time}
    measures: [{name: count, type: count}]
  - name: users
    sql_table: users
    refresh_key: {sql: "SELECT MAX(v) FROM {CUBE.sql()} AS u", every: 5 minutes}
    joins: [{name: visits, relationship: one_to_many, sql: "{CUBE}.id = {visits}.user_id"}]
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: name, sql: name, type: string}
      - {name: seen, sql: "{visits.count}", type: number, sub_query: true}
  - name: visits
    sql_table: visits
    refresh_key: {sql: "SELECT 'visits'"}
    dimensions: [{name: id, sql: id, type: number, primary_key: true}]
    measures: [{name: count, type: count}]
  - name: stores
    sql_table: stores
    refresh_key: {every: 1 day}
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: city, sql: city, type: string}
  - name: plain
    sql: "SELECT * FROM {twin.sql()}"
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: x, sql: x, type: string}
  - name: twin
    sql_table: twin
    refresh_key: {sql: "SELECT MAX(v) FROM (SELECT * FROM users) AS u", every: 1 minute}
    dimensions: [{name: x, sql: x, type: string}]
  - name: narrow
    sql_table: narrow
    refresh_key: {sql: "SELECT 1 FROM t WHERE {SECURITY_CONTEXT.tenant.requiredFilter('tenant')}"}
    dimensions: [{name: x, sql: x, type: string}]
`

// A query is refreshed by the keys of all cubes whose rows it reads, wherever in its SQL, each statement once.
func TestRefreshKeysOfAllCubesOfAQuery(t *testing.T) {
	m, err := datamodel.Load(fstest.MapFS{"shop.yml": {Data: []byte(refreshed)}})
	if err != nil {
		t.Fatal(err)
	}
	const orders = "SELECT MAX(at) FROM orders WHERE %s AND (%s) %s cube orders (shop.yml:5) every %s"
	const users = "SELECT MAX(v) FROM (SELECT * FROM users) AS u [] cube users (shop.yml:18) every 5m0s"
	day := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name, query, claims string
		dialect             sqlgen.Dialect
		fresh               time.Duration
		since               time.Time
		keys                []string
	}{
		{"one cube, with the context and the filters of the query",
			`{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.at","dateRange":["2026-01-01","2026-01-31"]}]}`, `{"tenant":7}`,
			sqlgen.Postgres{}, 6 * time.Hour, time.Time{},
			[]string{fmt.Sprintf(orders, "tenant = $1", "(at >= $2::timestamptz AND at <= $3::timestamptz)",
				"[7 2026-01-01T00:00:00.000Z 2026-01-31T23:59:59.999Z]", "10s")}},
		{"a dialect where a default is two minutes", `{"measures":["orders.count"]}`, `{"tenant":"x"}`, sqlgen.Databricks{},
			6 * time.Hour, time.Time{}, []string{fmt.Sprintf(orders, "tenant = ?", "1 = 1", "[x]", "2m0s")}},
		{"a context without the value", `{"measures":["orders.count"]}`, `{}`, sqlgen.DuckDB{},
			6 * time.Hour, time.Time{}, []string{fmt.Sprintf(orders, "1 = 0", "1 = 1", "[]", "10s")}},
		{"joined cubes", `{"measures":["orders.count"],"dimensions":["users.name","stores.city"]}`, `{"tenant":7}`, sqlgen.Postgres{},
			6 * time.Hour, day, []string{fmt.Sprintf(orders, "tenant = $1", "1 = 1", "[7]", "10s"), users}},
		{"days are those of the query's zone", `{"dimensions":["stores.city"],"timezone":"Asia/Tokyo"}`, `{}`, sqlgen.Postgres{},
			6 * time.Hour, time.Date(2026, 11, 21, 15, 0, 0, 0, time.UTC), nil},
		{"a sub-query", `{"dimensions":["users.name","users.seen"]}`, `{}`, sqlgen.Postgres{}, 6 * time.Hour, time.Time{},
			[]string{users, "SELECT 'visits' [] cube visits (shop.yml:26) every 10s"}},
		{"a cube made of another, and one without a key", `{"dimensions":["plain.x"]}`, `{}`, sqlgen.Snowflake{}, 2 * time.Minute, time.Time{},
			[]string{"SELECT MAX(v) FROM (SELECT * FROM users) AS u [] cube twin (shop.yml:42) every 1m0s"}},
		{"two cubes with one statement", `{"measures":["orders.count"],"dimensions":["users.name","plain.x"]}`, `{}`, sqlgen.Postgres{}, 10 * time.Second, time.Time{},
			[]string{fmt.Sprintf(orders, "1 = 0", "1 = 1", "[]", "10s"), strings.Replace(users, "5m0s", "1m0s", 1)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := sqlgen.Generate(m, context(t, tt.claims), decode(t, tt.query), options(tt.dialect))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, k := range p.RefreshKeys {
				got = append(got, fmt.Sprintf("%s %v %s every %s", k.SQL, k.Args, k.Of, k.Every))
			}
			if strings.Join(got, "\n") != strings.Join(tt.keys, "\n") {
				t.Errorf("RefreshKeys\n got %s\nwant %s", strings.Join(got, "\n"), strings.Join(tt.keys, "\n"))
			}
			if p.FreshFor != tt.fresh || !p.FreshSince.Equal(tt.since) {
				t.Errorf("fresh for %s since %s, want %s since %s", p.FreshFor, p.FreshSince, tt.fresh, tt.since)
			}
		})
	}
}

func TestARefreshKeyThatCannotBeMadeNamesItsCubeAndPlace(t *testing.T) {
	m, err := datamodel.Load(fstest.MapFS{"shop.yml": {Data: []byte(refreshed)}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = sqlgen.Generate(m, context(t, `{}`), decode(t, `{"dimensions":["narrow.x"]}`), options(sqlgen.Postgres{}))
	e, ok := errors.AsType[*fault.Error](err)
	if want := "The refresh_key of cube narrow (shop.yml:46): Filter for tenant is required"; !ok || e.Kind != fault.Invalid || e.Detail != want {
		t.Errorf("Generate = %v, want %s", err, want)
	}
}
