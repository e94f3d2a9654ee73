package datamodel_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/datamodel"
)

// The periods of refresh keys, as cube-data-model.md §18 counts them: whole seconds since 1970 at the wall of a zone.
func TestThePeriodsOfARefreshKey(t *testing.T) {
	for _, tt := range []struct {
		key   string
		query string // zone of the query; default UTC
		now   string // default a Wednesday at noon
		want  string
	}{
		{key: "every: 10 seconds", now: "2026-11-25T12:00:09.9Z", want: "2026-11-25T12:00:00Z"},
		{key: "every: 7 minutes", want: "2026-11-25T11:59:00Z"},
		{key: "every: 1 hour", query: "Asia/Kolkata", want: "2026-11-25T11:30:00Z"}, // half an hour off
		{key: "every: 1 day", want: "2026-11-25T00:00:00Z"},
		{key: "every: 1 day", query: "America/New_York", want: "2026-11-25T05:00:00Z"},
		{key: "every: 1 week", want: "2026-11-19T00:00:00Z"}, // a Thursday
		{key: `every: "*/15 * * * *"`, want: "2026-11-25T12:00:00Z"},
		{key: `every: "30 * * * *"`, want: "2026-11-25T11:30:00Z"},
		{key: `every: "0 20 */6 * * *"`, want: "2026-11-25T06:20:00Z"},
		{key: `every: "0 8 * * *"`, want: "2026-11-25T08:00:00Z"},
		{key: `every: "0 13 * * *"`, want: "2026-11-24T13:00:00Z"},
		{key: `every: "0 8 * * *"`, query: "America/New_York", want: "2026-11-25T08:00:00Z"}, // a cron is in UTC
		{key: `every: "0 8 * * *", timezone: America/Los_Angeles`, want: "2026-11-24T16:00:00Z"},
		{key: `timezone: america/los_angeles, every: "0 8 * * *"`, want: "2026-11-24T16:00:00Z"},
		{key: `every: "30 7 * * 1"`, want: "2026-11-23T07:30:00Z"},
		{key: `every: "30 7 * * mon"`, want: "2026-11-23T07:30:00Z"},
		{key: `every: "0 0 * * 7"`, want: "2026-11-22T00:00:00Z"},
		{key: `every: "0 0 * * 4"`, want: "2026-11-19T00:00:00Z"},
		// Clocks go back on 1 November 2026 in New York, and forward on 8 March.
		{key: `every: "0 0 * * *", timezone: America/New_York`, now: "2026-11-01T12:00:00Z", want: "2026-11-01T04:00:00Z"},
		{key: `every: "0 0 * * *", timezone: America/New_York`, now: "2026-03-08T12:00:00Z", want: "2026-03-08T05:00:00Z"},
		{key: `every: "30 2 * * *", timezone: America/New_York`, now: "2026-03-08T07:10:00Z", want: "2026-03-08T06:30:00Z"},
		{key: "every: 1 day", now: "1969-12-31T23:00:00Z", want: "1969-12-31T00:00:00Z"},
	} {
		t.Run(tt.key+" "+tt.query, func(t *testing.T) {
			k := load(t, "cubes: [{name: a, sql_table: t, refresh_key: {"+tt.key+"} }]").Cube("a").RefreshKey
			zone, err := time.LoadLocation(tt.query)
			if err != nil {
				t.Fatal(err)
			}
			now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
			if tt.now != "" {
				if now, err = time.Parse(time.RFC3339Nano, tt.now); err != nil {
					t.Fatal(err)
				}
			}
			if got := k.Since(now, zone).UTC().Format(time.RFC3339); got != tt.want {
				t.Errorf("Since = %s, want %s", got, tt.want)
			}
		})
	}
}

// At every moment of two nights in which the clocks change, a period has begun, and not longer ago than it lasts and the
// clocks moved.
func TestAPeriodHasAlwaysBegun(t *testing.T) {
	for _, every := range []string{"1 hour", "6 hours", "25 hours", "1 day", "30 2 * * *", "30 1 * * *", "0 */3 * * *", "0 3 * * 0"} {
		k := load(t, fmt.Sprintf("cubes: [{name: a, sql_table: t, refresh_key: {every: %q, timezone: America/New_York} }]", every)).Cube("a").RefreshKey
		for _, night := range []string{"2026-11-01T00:00:00Z", "2026-03-08T00:00:00Z"} {
			at, err := time.Parse(time.RFC3339, night)
			if err != nil {
				t.Fatal(err)
			}
			for end := at.Add(36 * time.Hour); at.Before(end); at = at.Add(7 * time.Minute) {
				if past := at.Sub(k.Since(at, time.UTC)); past < 0 || past >= k.Every+time.Hour {
					t.Fatalf("every %q at %s: the period began %s ago", every, at, past)
				}
			}
		}
	}
}

func TestARefreshKeyInSQL(t *testing.T) {
	m := load(t, `cubes:
  - name: base
    sql_table: t
    refresh_key:
      sql: SELECT MAX(at) FROM {CUBE.sql()}
      every: 5 minutes
  - {name: child, sql_table: u, extends: base}
  - {name: other, sql_table: u, extends: base, refresh_key: {immutable: true} }
`)
	k := m.Cube("child").RefreshKey
	if k.SQL == nil || k.Every != 5*time.Minute || k.Position.File != "model.yml" || k.Position.Line != 5 {
		t.Errorf("the inherited key is %+v, want the base's, with its place", k)
	}
	if k := m.Cube("other").RefreshKey; k.SQL != nil || k.Every != 0 {
		t.Errorf("the key of other is %+v, want its own", k)
	}
	if got := m.Notices(); len(got) != 0 {
		t.Errorf("notices = %q", got)
	}
	if got := m.Rows(m.Cube("child"), "CUBE"); got != m.Cube("child") {
		t.Errorf("CUBE in the key of child is %v", got)
	}
}

func TestARefreshKeyIsCheckedWhenItIsLoaded(t *testing.T) {
	for _, tt := range []struct{ key, want string }{
		{"{sql: 'SELECT MAX(at) FROM {ordres.sql()}'}", `model.yml:4:46: there is no cube "ordres"`},
		{"{sql: 'SELECT {FILTER_PARAMS.a.nope.filter(\"x\")}'}", "'nope' not found for path 'a.nope'"},
		{"{sql: 'SELECT {CUBE.nope}'}", "'nope' not found in a"},
		{"{sql: ''}", "the SQL is empty"},
		{"{every: 1 day, timezone: Mars/X}", "model.yml:4:43: this is not an IANA time zone, such as America/Los_Angeles: Mars/X"},
		{"{every: '99 * * * *'}", "model.yml:4:26: this is not a cron expression"},
		{"{every: '0 8 * * 9'}", "we support only equal time intervals"},
		{"{every: '0 8 * * $'}", "this is not a cron expression"},
	} {
		_, err := datamodel.Load(files(cube("refresh_key: " + tt.key)))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("refresh_key: %s: Load = %v, want %s", tt.key, err, tt.want)
		}
	}
}
