package sqlgen_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/sqlgen"
)

// Times of orders, cut in every way.
const fiscal = `
cubes:
  - name: orders
    sql_table: orders
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true, public: true}
      - {name: region, sql: region, type: string}
      - name: created_at
        sql: created_at
        type: time
        granularities:
          - {name: fiscal_year, interval: 1 year, offset: 3 months}
          - {name: fiscal_quarter, title: Quarter of the fiscal year, interval: 1 quarter, offset: -1 month 3 days}
          - {name: half_year, interval: 6 months}
          - {name: two_years, interval: 2 years, origin: "2023-07-15 06:00:00"}
          - {name: sprint, interval: 2 weeks, origin: "2024-01-01"}
          - {name: sunday_week, interval: 1 week, offset: -1 day}
          - {name: half_day, interval: 12 hours, origin: "2024-01-01T06:00:00Z"}
          - {name: ten_minutes, interval: 10 minutes}
          - {name: quarter, sql: "date_trunc('year', {created_at})"}
          - {name: second, sql: "{CUBE}.created_at"}
      - {name: hour, sql: 'EXTRACT(HOUR FROM {SQL_UTILS.convertTz("created_at")})', type: number}
      - {name: same_hour, sql: 'EXTRACT(HOUR FROM {SQL_UTILS.convertTz(f"{created_at}")})', type: number}
      - {name: label, sql: "'FY' || EXTRACT(YEAR FROM {created_at.fiscal_year})", type: string}
    measures:
      - {name: count, type: count}
      - {name: first, sql: "MIN({created_at.fiscal_year})", type: time}
      - {name: latest, sql: 'EXTRACT(HOUR FROM {SQL_UTILS.convertTz(f"{CUBE}.created_at")})', type: max, drill_filters: [{sql: "{CUBE}.id > 1"}]}
    POLICY
views:
  - name: sales
    cubes: [{join_path: orders, includes: "*"}]
`

func fiscalModel(t testing.TB, policy string) *datamodel.Model {
	t.Helper()
	m, err := datamodel.Load(fstest.MapFS{"shop.yml": {Data: []byte(strings.Replace(fiscal, "POLICY", policy, 1))}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Each row is a time, a zone and the buckets it is in, worked out by hand.
var buckets = []struct{ at, zone, granularity, want string }{
	{"2024-04-01 00:00:00", "UTC", "fiscal_year", "2024-04-01 00:00"},
	{"2024-03-31 23:59:59", "UTC", "fiscal_year", "2023-04-01 00:00"},
	{"2024-03-31 23:59:59", "Europe/Berlin", "fiscal_year", "2024-04-01 00:00"},
	{"2024-04-01 03:59:59", "America/New_York", "fiscal_year", "2023-04-01 00:00"},
	{"2024-05-31 12:00:00", "UTC", "fiscal_year", "2024-04-01 00:00"}, // three months before it is no day of February
	{"2024-03-03 23:59:59", "UTC", "fiscal_quarter", "2023-12-04 00:00"},
	{"2024-03-04 00:00:00", "UTC", "fiscal_quarter", "2024-03-04 00:00"},
	{"2023-12-31 00:00:00", "UTC", "fiscal_quarter", "2023-12-04 00:00"},
	{"2024-06-30 23:59:59", "UTC", "half_year", "2024-01-01 00:00"},
	{"2024-07-01 00:00:00", "UTC", "half_year", "2024-07-01 00:00"},
	{"1969-12-31 23:59:59", "UTC", "half_year", "1969-07-01 00:00"},
	{"2023-07-15 05:59:59", "UTC", "two_years", "2021-07-15 06:00"},
	{"2025-07-15 05:59:59", "UTC", "two_years", "2023-07-15 06:00"},
	{"2025-07-15 06:00:00", "UTC", "two_years", "2025-07-15 06:00"},
	{"2024-01-14 23:59:59.9", "UTC", "sprint", "2024-01-01 00:00"},
	{"2024-01-15 00:00:00", "UTC", "sprint", "2024-01-15 00:00"},
	{"2023-12-31 23:59:59.9", "UTC", "sprint", "2023-12-18 00:00"},
	// The clocks of New York go forth on 10 March and back on 3 November; its sprints begin at its own midnight.
	{"2024-03-11 03:59:59", "America/New_York", "sprint", "2024-02-26 00:00"},
	{"2024-03-11 04:00:00", "America/New_York", "sprint", "2024-03-11 00:00"},
	{"2024-11-18 04:59:59", "America/New_York", "sprint", "2024-11-04 00:00"},
	{"2024-11-18 05:00:00", "America/New_York", "sprint", "2024-11-18 00:00"},
	{"2024-11-03 05:30:00", "America/New_York", "ten_minutes", "2024-11-03 01:30"},
	{"2024-11-03 06:39:59", "America/New_York", "ten_minutes", "2024-11-03 01:30"},
	{"2024-03-10 07:05:00", "America/New_York", "ten_minutes", "2024-03-10 03:00"},
	{"2024-03-10 07:05:00", "America/New_York", "half_day", "2024-03-10 01:00"}, // 06:00 in UTC was 01:00 there
	{"2024-01-06 23:59:59", "UTC", "sunday_week", "2023-12-31 00:00"},
	{"2024-01-07 00:00:00", "UTC", "sunday_week", "2024-01-07 00:00"},
	{"2024-11-03 06:30:00", "Asia/Kolkata", "ten_minutes", "2024-11-03 12:00"},
	{"2024-08-09 10:00:00", "UTC", "quarter", "2024-01-01 00:00"}, // as its SQL says
	{"2024-12-31 23:30:00", "Asia/Tokyo", "quarter", "2025-01-01 00:00"},
}

// testBuckets runs every one of buckets in a database, whose rows filled writes.
func testBuckets(t *testing.T, m *datamodel.Model, db, filled *sql.DB, d sqlgen.Dialect) {
	for i, tt := range buckets {
		for _, query := range []string{
			`{"timeDimensions":[{"dimension":"orders.created_at","granularity":"%s"}],"filters":[{"member":"orders.id","operator":"equals","values":["%d"]}],"timezone":"%s"}`,
			`{"dimensions":["sales.created_at.%s"],"filters":[{"member":"sales.id","operator":"equals","values":["%d"]}],"timezone":"%s"}`,
		} {
			if _, err := filled.Exec(fmt.Sprintf("DELETE FROM orders; INSERT INTO orders (id, created_at) VALUES (%d, '%s')", i, tt.at)); err != nil {
				t.Fatal(err)
			}
			plan, err := sqlgen.Generate(m, context(t, `{}`), decode(t, fmt.Sprintf(query, tt.granularity, i, tt.zone)), options(d))
			if err != nil {
				t.Fatal(err)
			}
			want := []string{strings.Replace(tt.want, " ", "T", 1) + ":00.000"}
			if got := rows(t, db, plan.SQL, plan.Args); !slices.Equal(got, want) {
				t.Errorf("%s of %s in %s = %q, want %q\n%s", tt.granularity, tt.at, tt.zone, got, want, plan.SQL)
			}
		}
	}
}

func TestCustomGranularities(t *testing.T) {
	db := openShop(t, "")
	testBuckets(t, fiscalModel(t, ""), db, db, sqlgen.Postgres{})

	if _, err := db.Exec("DELETE FROM orders; " + seed); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, policy, query string
		want                []string
	}{
		{"in SQL of the model", "", `{"dimensions":["orders.label"],"measures":["orders.count"]}`, []string{"FY2024 6"}},
		{"in a measure", "", `{"measures":["orders.first"]}`, []string{"2024-04-01T00:00:00.000"}},
		{"a time that the SQL converts", "", `{"dimensions":["orders.hour","orders.same_hour"],"measures":["orders.latest"],"timezone":"Asia/Tokyo","filters":[{"member":"orders.id","operator":"equals","values":["2"]}]}`, []string{"14 14 14"}},
		{"beside others", "", `{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"sprint"},{"dimension":"orders.created_at","granularity":"fiscal_year"}]}`,
			[]string{"2024-10-21T00:00:00.000 2024-04-01T00:00:00.000 3", "2024-11-04T00:00:00.000 2024-04-01T00:00:00.000 2", "2024-12-30T00:00:00.000 2024-04-01T00:00:00.000 1"}},
		{"of rows that a policy shows", `access_policy: [{group: "*", row_level: {filters: [{member: region, operator: equals, values: [eu]}]}}]`,
			`{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"sprint"}]}`,
			[]string{"2024-10-21T00:00:00.000 1", "2024-11-04T00:00:00.000 1"}},
		{"of a time that is masked", `access_policy: [{group: "*", member_level: {includes: "*"}, member_masking: {includes: [created_at]}}]`,
			`{"measures":["orders.count"],"dimensions":["orders.created_at.sprint","orders.created_at.quarter","orders.created_at.half_year","orders.created_at.second"]}`, []string{"- - - - 6"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan, err := sqlgen.Generate(fiscalModel(t, tt.policy), caller(nil, nil), decode(t, tt.query), options(sqlgen.Postgres{}))
			if err != nil {
				t.Fatal(err)
			}
			if got := rows(t, db, plan.SQL, plan.Args); !slices.Equal(got, tt.want) {
				t.Errorf("rows %q, want %q\n%s\n%v", got, tt.want, plan.SQL, plan.Args)
			}
		})
	}
}

func TestCustomGranularitiesInEveryDialect(t *testing.T) {
	m := fiscalModel(t, "")
	for _, d := range dialects {
		var b strings.Builder
		for _, g := range m.Cube("orders").Member("created_at").Granularities {
			plan, err := sqlgen.Generate(m, context(t, `{}`), decode(t, `{"dimensions":["orders.created_at.`+g.Name+`"],"timezone":"Europe/Berlin"}`), options(d))
			if err != nil {
				t.Fatal(err)
			}
			line, _, _ := strings.Cut(plan.SQL, "\n")
			fmt.Fprintln(&b, line)
		}
		golden(t, filepath.Join("testdata/golden", "custom_granularities."+d.Name()+".sql"), b.String())
	}
}

func TestAnnotationOfACustomGranularity(t *testing.T) {
	m := fiscalModel(t, "")
	plan, err := sqlgen.Generate(m, context(t, `{}`), decode(t, `{"dimensions":["sales.created_at.fiscal_year","sales.created_at.day"]}`), options(sqlgen.Postgres{}))
	if err != nil {
		t.Fatal(err)
	}
	if got := plan.Columns[0].Alias + " " + strings.Join(plan.Columns[0].Keys, " "); got != "sales__created_at_fiscal_year sales.created_at.fiscal_year" {
		t.Errorf("column = %s", got)
	}
	if got := plan.Columns[1].Keys; !slices.Equal(got, []string{"sales.created_at.day", "sales.created_at"}) {
		t.Errorf("the finest is also the plain one: %q", got)
	}
	a := plan.Annotation.TimeDimensions["sales.created_at.fiscal_year"]
	got, err := json.Marshal(a.Granularity)
	if want := `{"name":"fiscal_year","title":"Fiscal Year","interval":"1 year","offset":"3 months"}`; string(got) != want || err != nil {
		t.Errorf("granularity = %s, want %s", got, want)
	}
	if n := len(a.Granularities); n != 10 {
		t.Errorf("%d granularities, want 10", n)
	}
	if _, err = sqlgen.Generate(m, context(t, `{}`), decode(t, `{"dimensions":["sales.created_at.fiscal"]}`), options(sqlgen.Postgres{})); err == nil ||
		!strings.Contains(err.Error(), `Granularity "fiscal" does not exist in dimension sales.created_at`) {
		t.Errorf("Generate = %v", err)
	}
}
