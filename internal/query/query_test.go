package query

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/fault"
)

// saturday is the moment at which cube-rest-api.md §8.1 was measured.
var saturday = time.Date(2026, 11, 21, 22, 15, 0, 0, time.UTC)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	loc, err := Zone(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func TestRelativeDates(t *testing.T) {
	const utc, york = "UTC", "America/New_York"
	// In New York it is Saturday 17:15. On 1 November 2026 its clocks went back from 2 to 1; on 8 March forward.
	back := time.Date(2026, 11, 1, 6, 30, 0, 0, time.UTC) // the second 1:30
	forward := time.Date(2026, 3, 8, 7, 30, 0, 0, time.UTC)
	for _, tt := range []struct {
		text, zone string
		now        time.Time
		from, to   string
	}{
		{"today", utc, saturday, "2026-11-21T00:00:00.000", "2026-11-21T23:59:59.999"},
		{"Today", "Asia/Tokyo", saturday, "2026-11-22T00:00:00.000", "2026-11-22T23:59:59.999"},
		{"yesterday", utc, saturday, "2026-11-20T00:00:00.000", "2026-11-20T23:59:59.999"},
		{"tomorrow", utc, saturday, "2026-11-22T00:00:00.000", "2026-11-22T23:59:59.999"},
		{"this second", utc, saturday, "2026-11-21T22:15:00.000", "2026-11-21T22:15:00.999"},
		{"this minute", utc, saturday, "2026-11-21T22:15:00.000", "2026-11-21T22:15:59.999"},
		{"this hour", york, saturday, "2026-11-21T17:00:00.000", "2026-11-21T17:59:59.999"},
		{"this day", utc, saturday, "2026-11-21T00:00:00.000", "2026-11-21T23:59:59.999"},
		{"this week", utc, saturday, "2026-11-16T00:00:00.000", "2026-11-22T23:59:59.999"},
		{"this month", utc, saturday, "2026-11-01T00:00:00.000", "2026-11-30T23:59:59.999"},
		{"this quarter", utc, saturday, "2026-10-01T00:00:00.000", "2026-12-31T23:59:59.999"},
		{"this year", utc, saturday, "2026-01-01T00:00:00.000", "2026-12-31T23:59:59.999"},
		{"last hour", utc, saturday, "2026-11-21T21:00:00.000", "2026-11-21T21:59:59.999"},
		{"last day", utc, saturday, "2026-11-20T00:00:00.000", "2026-11-20T23:59:59.999"},
		{"last week", utc, saturday, "2026-11-09T00:00:00.000", "2026-11-15T23:59:59.999"},
		{"last month", utc, saturday, "2026-10-01T00:00:00.000", "2026-10-31T23:59:59.999"},
		{"last quarter", utc, saturday, "2026-07-01T00:00:00.000", "2026-09-30T23:59:59.999"},
		{"last year", utc, saturday, "2025-01-01T00:00:00.000", "2025-12-31T23:59:59.999"},
		{"last second", utc, saturday, "2026-11-21T22:14:59.000", "2026-11-21T22:14:59.999"},
		{"last minute", utc, saturday, "2026-11-21T22:14:00.000", "2026-11-21T22:14:59.999"},
		{"next second", utc, saturday, "2026-11-21T22:15:01.000", "2026-11-21T22:15:01.999"},
		{"next minute", utc, saturday, "2026-11-21T22:16:00.000", "2026-11-21T22:16:59.999"},
		{"next hour", utc, saturday, "2026-11-21T23:00:00.000", "2026-11-21T23:59:59.999"},
		{"next day", utc, saturday, "2026-11-22T00:00:00.000", "2026-11-22T23:59:59.999"},
		{"next quarter", utc, saturday, "2027-01-01T00:00:00.000", "2027-03-31T23:59:59.999"},
		{"next week", utc, saturday, "2026-11-23T00:00:00.000", "2026-11-29T23:59:59.999"},
		{"next month", utc, saturday, "2026-12-01T00:00:00.000", "2026-12-31T23:59:59.999"},
		{"next year", utc, saturday, "2027-01-01T00:00:00.000", "2027-12-31T23:59:59.999"},
		{"last 7 days", utc, saturday, "2026-11-14T00:00:00.000", "2026-11-20T23:59:59.999"},
		{"last 2 weeks", utc, saturday, "2026-11-02T00:00:00.000", "2026-11-15T23:59:59.999"},
		{"next 2 days", utc, saturday, "2026-11-22T00:00:00.000", "2026-11-23T23:59:59.999"},
		{"last 24 hours", utc, saturday, "2026-11-20T22:00:00.000", "2026-11-21T21:59:59.999"},
		{"last 24 hours", york, saturday, "2026-11-20T17:00:00.000", "2026-11-21T16:59:59.999"},
		{"last 30 seconds", utc, saturday, "2026-11-21T22:14:30.000", "2026-11-21T22:14:59.999"},
		{"next 90 minutes", utc, saturday, "2026-11-21T22:16:00.000", "2026-11-21T23:45:59.999"},
		{"next 2 quarters", utc, saturday, "2027-01-01T00:00:00.000", "2027-06-30T23:59:59.999"},
		{"LAST 3 YEARS", utc, saturday, "2023-01-01T00:00:00.000", "2025-12-31T23:59:59.999"},
		{"last 360 days", utc, saturday, "2025-11-26T00:00:00.000", "2026-11-20T23:59:59.999"},
		{"last 6 months", utc, saturday, "2026-05-01T00:00:00.000", "2026-10-31T23:59:59.999"},
		{"last 1 month", utc, time.Date(2026, 3, 31, 1, 0, 0, 0, time.UTC), "2026-02-01T00:00:00.000", "2026-02-28T23:59:59.999"},
		{"from 7 days ago to now", utc, saturday, "2026-11-14T00:00:00.000", "2026-11-21T23:59:59.999"},
		{"from 1 hour ago to now", utc, saturday, "2026-11-21T21:00:00.000", "2026-11-21T22:59:59.999"},
		{"from 30 minutes ago to now", utc, saturday, "2026-11-21T21:45:00.000", "2026-11-21T22:15:59.999"},
		{"from 90 seconds ago to 10 seconds from now", utc, saturday, "2026-11-21T22:13:30.000", "2026-11-21T22:15:10.999"},
		{"from now to 2 weeks from now", utc, saturday, "2026-11-21T00:00:00.000", "2026-12-05T23:59:59.999"},
		{"from 2024-01-05 to today", utc, saturday, "2024-01-05T00:00:00.000", "2026-11-21T23:59:59.999"},
		{"2024-01-05", utc, saturday, "2024-01-05T00:00:00.000", "2024-01-05T23:59:59.999"},
		{"2024-01-05T10:00:00", york, saturday, "2024-01-05T00:00:00.000", "2024-01-05T23:59:59.999"},
		{"7 days ago", utc, saturday, "2026-11-14T00:00:00.000", "2026-11-14T23:59:59.999"},
		{"in 3 days", utc, saturday, "2026-11-24T00:00:00.000", "2026-11-24T23:59:59.999"},
		{"1 month ago", utc, time.Date(2026, 3, 31, 1, 0, 0, 0, time.UTC), "2026-02-28T00:00:00.000", "2026-02-28T23:59:59.999"},
		{"a week ago", utc, saturday, "2026-11-14T00:00:00.000", "2026-11-14T23:59:59.999"},
		{"from an hour ago to now", utc, saturday, "2026-11-21T21:00:00.000", "2026-11-21T22:59:59.999"},
		{"Jan 5, 2024", utc, saturday, "2024-01-05T00:00:00.000", "2024-01-05T23:59:59.999"},
		{"January 5th 2024", york, saturday, "2024-01-05T00:00:00.000", "2024-01-05T23:59:59.999"},
		{"5 January 2024", utc, saturday, "2024-01-05T00:00:00.000", "2024-01-05T23:59:59.999"},
		{"from 1st of march 2024 to April 2, 2024", utc, saturday, "2024-03-01T00:00:00.000", "2024-04-02T23:59:59.999"},
		{"jan 2024", utc, saturday, "2024-01-01T00:00:00.000", "2024-01-01T23:59:59.999"},
		{"now", utc, saturday, "2026-11-21T00:00:00.000", "2026-11-21T23:59:59.999"},
		{"last hour", "Asia/Kolkata", saturday, "2026-11-22T02:00:00.000", "2026-11-22T02:59:59.999"},
		// The hour before the second hour of 1 o'clock is the first hour of 1 o'clock.
		{"last hour", york, back, "2026-11-01T01:00:00.000", "2026-11-01T01:59:59.999"},
		{"today", york, back, "2026-11-01T00:00:00.000", "2026-11-01T23:59:59.999"},
		{"last 24 hours", york, back, "2026-10-31T02:00:00.000", "2026-11-01T01:59:59.999"},
		{"last hour", york, forward, "2026-03-08T01:00:00.000", "2026-03-08T01:59:59.999"},
		{"yesterday", york, forward, "2026-03-07T00:00:00.000", "2026-03-07T23:59:59.999"},
	} {
		t.Run(tt.text+" in "+tt.zone, func(t *testing.T) {
			r, err := DateRange{Texts: []string{tt.text}}.resolve(zone(t, tt.zone), tt.now)
			if err != nil {
				t.Fatal(err)
			}
			if r.Texts[0] != tt.from || r.Texts[1] != tt.to {
				t.Errorf("%q = %q, want %s to %s", tt.text, r.Texts, tt.from, tt.to)
			}
			again, err := r.resolve(zone(t, tt.zone), tt.now.Add(1000*time.Hour))
			if err != nil || again.Texts[0] != r.Texts[0] || again.Texts[1] != r.Texts[1] {
				t.Errorf("resolved again: %q, %v, want %q", again.Texts, err, r.Texts)
			}
		})
	}
}

func TestTextThatIsNoDateIsRefused(t *testing.T) {
	for _, s := range []string{"blah blah", "", "last 0 days", "last 999999 years", "2024-13-01", "2024-02-30", "from today", "today; DROP",
		"from last monday to today", "my last week", "feb 30, 2024", "a weeks", "5 2024", "this weeks", "2024-01", "0000-01-01", "last monday", "2024-01-01T25:00:00", "from now to", strings.Repeat("9", 100)} {
		_, err := DateRange{Texts: []string{s}}.resolve(time.UTC, saturday)
		f, ok := errors.AsType[*fault.Error](err)
		if !ok || f.Detail != "Can't parse date: '"+s+"'" {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// What filters make of dates (cube-rest-api.md §9.2).
func TestFilterBounds(t *testing.T) {
	for _, tt := range []struct {
		name     string
		operator Operator
		values   []string
		from, to string // or an error, in to alone
	}{
		{"a relative date is both bounds", InDateRange, []string{"last week"}, "2026-11-09T00:00:00.000Z", "2026-11-15T23:59:59.999Z"},
		{"a day is both bounds", OnTheDate, []string{"2024-01-05"}, "2024-01-05T00:00:00.000Z", "2024-01-05T23:59:59.999Z"},
		{"a moment is its whole day", InDateRange, []string{"2024-01-05T10:00:00"}, "2024-01-05T00:00:00.000Z", "2024-01-05T23:59:59.999Z"},
		{"two days, the last one whole", NotInDateRange, []string{"2024-01-05", "2024-01-06"}, "2024-01-05T00:00:00.000Z", "2024-01-06T23:59:59.999Z"},
		{"two moments", InDateRange, []string{"2024-01-05 08:00", "2024-01-05T10:00:00.5"}, "2024-01-05T08:00:00.000Z", "2024-01-05T10:00:00.500Z"},
		{"a relative date among two", InDateRange, []string{"2024-01-05", "today"}, "", "Relative-date strings are only supported when there is one value"},
		{"no date", OnTheDate, []string{"some day"}, "", "Can't parse date: 'some day'"},
		{"null alone", BeforeDate, []string{"null"}, "", "Expected one parameter but nothing found"},
		{"a relative date before its start, and after its end", AfterDate, []string{"last week"}, "2026-11-09T00:00:00.000Z", "2026-11-15T23:59:59.999Z"},
		{"a day before its start, and after its end", BeforeOrOnDate, []string{"2024-01-31"}, "2024-01-31T00:00:00.000Z", "2024-01-31T23:59:59.999Z"},
		{"a moment is one", AfterOrOnDate, []string{"2024-01-31T10:00:00"}, "2024-01-31T10:00:00.000Z", "2024-01-31T10:00:00.000Z"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var values []Value
			for _, text := range tt.values {
				values = append(values, Value{Text: text, Null: text == "null"})
			}
			from, to, err := FilterBounds(tt.operator, values, time.UTC, saturday)
			if f, ok := errors.AsType[*fault.Error](err); ok {
				to = f.Detail
			}
			if from != tt.from || to != tt.to {
				t.Errorf("FilterBounds = %q, %q, want %q, %q", from, to, tt.from, tt.to)
			}
		})
	}
}

// Each kind of value, and each way in which filters stand in groups (cube-rest-api.md §9.1).
func TestFilters(t *testing.T) {
	for _, tt := range []struct{ name, filters, want string }{
		{"a member, an operator and values", `[{"member":"o.s","operator":"equals","values":["a"]}]`, `[{"member":"o.s","operator":"equals","values":["a"]}]`},
		{"texts, numbers, booleans and null", `[{"member":"o.s","operator":"equals","values":["a",1.50,2e2,true,false,null]}]`, `[{"member":"o.s","operator":"equals","values":["a","1.5","200","true","false",null]}]`},
		{"the old name of member", `[{"dimension":"o.s","operator":"set"}]`, `[{"member":"o.s","operator":"set"}]`},
		{"groups in groups", `[{"or":[{"and":[{"member":"o.s","operator":"set"},{"or":[{"member":"o.t","operator":"notSet"}]}]}]}]`,
			`[{"or":[{"and":[{"member":"o.s","operator":"set"},{"or":[{"member":"o.t","operator":"notSet"}]}]}]}]`},
		{"empty groups are ignored", `[{"or":[]},{"and":[{"or":[]}]},{"member":"o.s","operator":"set"}]`, `[{"member":"o.s","operator":"set"}]`},
		{"no values where none are needed", `[{"member":"o.s","operator":"set"},{"member":"o.s","operator":"notSet","values":[]},{"member":"o.c","operator":"measureFilter"}]`,
			`[{"member":"o.s","operator":"set"},{"member":"o.s","operator":"notSet","values":[]},{"member":"o.c","operator":"measureFilter"}]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := Decode([]byte(`{"measures":["o.c"],"filters":` + tt.filters + `}`))
			if err == nil {
				b, err = b.Normalize(Options{Now: saturday})
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := json.Marshal(b.Queries[0].Filters); string(got) != tt.want {
				t.Errorf("filters = %s, want %s", got, tt.want)
			}
		})
	}
}

func TestAbsoluteRanges(t *testing.T) {
	for _, tt := range []struct{ zone, from, to, wantFrom, wantTo, utcFrom, utcTo string }{
		{"UTC", "2024-01-01", "2024-01-31", "2024-01-01T00:00:00.000", "2024-01-31T23:59:59.999", "2024-01-01T00:00:00.000Z", "2024-01-31T23:59:59.999Z"},
		{"Europe/Berlin", "2024-01-01 08:30", "2024-01-31T10:00:00.123456", "2024-01-01T08:30:00.000", "2024-01-31T10:00:00.123", "2024-01-01T07:30:00.000Z", "2024-01-31T09:00:00.123Z"},
		{"Europe/Berlin", "2024-01-01T08:00:00Z", "2024-01-31T10:00:00+05:30", "2024-01-01T09:00:00.000", "2024-01-31T05:30:00.000", "2024-01-01T08:00:00.000Z", "2024-01-31T04:30:00.000Z"},
		// 25 hours on 3 November, 23 on 10 March.
		{"America/New_York", "2024-11-03", "2024-11-03", "2024-11-03T00:00:00.000", "2024-11-03T23:59:59.999", "2024-11-03T04:00:00.000Z", "2024-11-04T04:59:59.999Z"},
		{"America/New_York", "2024-03-10", "2024-03-10", "2024-03-10T00:00:00.000", "2024-03-10T23:59:59.999", "2024-03-10T05:00:00.000Z", "2024-03-11T03:59:59.999Z"},
		// A range of the hour that comes twice holds both; one of the hour that never comes holds nothing.
		{"America/New_York", "2024-11-03T01:00:00", "2024-11-03T01:59:59.999", "2024-11-03T01:00:00.000", "2024-11-03T01:59:59.999", "2024-11-03T05:00:00.000Z", "2024-11-03T06:59:59.999Z"},
		{"America/New_York", "2024-03-10T02:00:00", "2024-03-10T02:59:59.999", "2024-03-10T02:00:00.000", "2024-03-10T02:59:59.999", "2024-03-10T07:00:00.000Z", "2024-03-10T06:59:59.999Z"},
		// In Havana midnight comes twice, and in Beirut it did not come.
		{"America/Havana", "2024-11-03", "2024-11-03", "2024-11-03T00:00:00.000", "2024-11-03T23:59:59.999", "2024-11-03T04:00:00.000Z", "2024-11-04T04:59:59.999Z"},
		{"Asia/Beirut", "2024-03-31", "2024-03-31", "2024-03-31T00:00:00.000", "2024-03-31T23:59:59.999", "2024-03-30T22:00:00.000Z", "2024-03-31T20:59:59.999Z"},
	} {
		loc := zone(t, tt.zone)
		r, err := DateRange{Texts: []string{tt.from, tt.to}}.resolve(loc, saturday)
		if err != nil {
			t.Fatal(err)
		}
		if r.Texts[0] != tt.wantFrom || r.Texts[1] != tt.wantTo {
			t.Errorf("%s %s to %s = %q, want %s, %s", tt.zone, tt.from, tt.to, r.Texts, tt.wantFrom, tt.wantTo)
		}
		if from, to, err := r.Bounds(loc); from != tt.utcFrom || to != tt.utcTo || err != nil {
			t.Errorf("%s %s to %s in UTC = %s, %s, %v, want %s, %s", tt.zone, tt.from, tt.to, from, to, err, tt.utcFrom, tt.utcTo)
		}
	}
}

func TestZonesAreCanonical(t *testing.T) {
	for given, want := range map[string]string{
		"UTC": "UTC", "utc": "UTC", "europe/berlin": "Europe/Berlin", "AMERICA/PORT-AU-PRINCE": "America/Port-au-Prince",
		"europe/isle_of_man": "Europe/Isle_of_Man", "america/argentina/buenos_aires": "America/Argentina/Buenos_Aires",
		"etc/gmt+5": "Etc/GMT+5", "us/pacific": "US/Pacific", "antarctica/mcmurdo": "Antarctica/McMurdo",
	} {
		if loc, err := Zone(given); err != nil || loc.String() != want {
			t.Errorf("Zone(%q) = %v, %v, want %s", given, loc, err, want)
		}
	}
	for _, bad := range []string{"Mars/X", "", "Local", "../../etc/passwd", "/etc/localtime", "posix/UTC", "right/UTC", "UTC'--", "+02:00", strings.Repeat("a", 1000)} {
		if loc, err := Zone(bad); err == nil {
			t.Errorf("Zone(%q) = %v, want an error", bad, loc)
		} else if f, _ := errors.AsType[*fault.Error](err); f.Kind != fault.Invalid || !strings.Contains(f.Detail, `"timezone" must be a valid IANA time zone, got "`) {
			t.Errorf("Zone(%q): %v", bad, err)
		}
	}
}

// The example of cube-rest-api.md §7.2.
func TestNormalizedForm(t *testing.T) {
	b, err := Decode([]byte(`{"measures":["o.c"],"dimensions":["o.s","o.t.week"],
		"timeDimensions":[{"dimension":"o.t","dateRange":"this year"}],
		"filters":[{"dimension":"o.s","operator":"equals","values":[1,null,true,1e3,12345678901234567890]},{"or":[]}],
		"order":{"o.c":"desc"}}`))
	if err != nil {
		t.Fatal(err)
	}
	b, err = b.Normalize(Options{Now: saturday})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"measures":["o.c"],"dimensions":["o.s"],"timeDimensions":[{"dimension":"o.t","dateRange":["2026-01-01T00:00:00.000","2026-12-31T23:59:59.999"]},` +
		`{"dimension":"o.t","granularity":"week"}],"filters":[{"member":"o.s","operator":"equals","values":["1",null,"true","1000","12345678901234567890"]}],` +
		`"order":[{"id":"o.c","desc":true}],"cacheMode":"stale-if-slow","timezone":"UTC","limit":10000,"rowLimit":10000}`
	got, err := json.Marshal(b.Queries[0])
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("normalized\n got %s\nwant %s", got, want)
	}
	b2, err := b.Normalize(Options{Now: saturday.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := json.Marshal(b2.Queries[0]); string(again) != want {
		t.Errorf("normalized again\n got %s\nwant %s", again, want)
	}
}

func TestOrderAndLimits(t *testing.T) {
	for _, tt := range []struct{ name, query, order, limit string }{
		{"not given", `{"measures":["o.c"]}`, "null", "10000"},
		{"no order at all", `{"measures":["o.c"],"order":[]}`, "[]", "10000"},
		{"an empty object", `{"measures":["o.c"],"order":{}}`, "[]", "10000"},
		{"the keys in their order", `{"measures":["o.c"],"order":{"o.z":"asc","o.a.day":"desc","o.b":"none"},"limit":0}`, `[{"id":"o.z","desc":false},{"id":"o.a.day","desc":true}]`, "0"},
		{"pairs", `{"measures":["o.c"],"order":[["o.z","desc"]],"limit":50000}`, `[{"id":"o.z","desc":true}]`, "50000"},
		{"normalized", `{"measures":["o.c"],"order":[{"id":"o.z","desc":true}]}`, `[{"id":"o.z","desc":true}]`, "10000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := Decode([]byte(tt.query))
			if err != nil {
				t.Fatal(err)
			}
			if b, err = b.Normalize(Options{Now: saturday}); err != nil {
				t.Fatal(err)
			}
			order, _ := json.Marshal(b.Queries[0].Order)
			limit, _ := json.Marshal(b.Queries[0].Limit)
			if string(order) != tt.order || string(limit) != tt.limit {
				t.Errorf("order %s, limit %s, want %s, %s", order, limit, tt.order, tt.limit)
			}
		})
	}
}

func TestDecodeRefusesWithTheReason(t *testing.T) {
	for _, tt := range []struct{ name, query, want string }{
		{"nothing", ``, "Query param is required"},
		{"what a client without a query sends", `undefined`, "Query param is required"},
		{"text that is not JSON", `{"measures":`, "Unable to decode query param as JSON, error: "},
		{"more than one value", `{} {}`, "Unable to decode query param as JSON, error: "},
		{"a number", `1`, `Invalid query format: "value" must be of type object`},
		{"an unknown key", `{"foo":1}`, `Invalid query format: "foo" is not allowed`},
		{"a key twice", `{"limit":1,"limit":2}`, `Invalid query format: "limit" is given twice`},
		{"a text for a list", `{"measures":"o.c"}`, `Invalid query format: "measures" must be an array`},
		{"a name without a cube", `{"measures":["c"]}`, `Invalid query format: "measures[0]" with value "c" fails to match the required pattern: /^[a-zA-Z0-9_]+\.[a-zA-Z0-9_]+$/`},
		{"SQL", `{"measures":[{"expression":["1"]}]}`, "Expressions are not allowed in this context"},
		{"SQL in a text", `{"dimensions":["{\"expr\":1}"]}`, "Expressions are not allowed in this context"},
		{"a text for a number", `{"limit":"10"}`, `Invalid query format: "limit" must be a number`},
		{"null for a number", `{"limit":null}`, `Invalid query format: "limit" must be a number`},
		{"a fraction", `{"offset":1.5}`, `Invalid query format: "offset" must be an integer`},
		{"less than nothing", `{"limit":-1}`, `Invalid query format: "limit" must be greater than or equal to 0`},
		{"a huge number", `{"limit":1e400}`, `Invalid query format: "limit" must be a safe number`},
		{"a cache mode", `{"cache":"x"}`, `Invalid query format: "cache" must be one of [stale-if-slow, stale-while-revalidate, must-revalidate, no-cache]`},
		{"masked members", `{"maskedMembers":[]}`, "maskedMembers cannot be provided in the query"},
		{"an operator that does not exist", `{"filters":[{"member":"o.s","operator":"like","values":["x"]}]}`, `Invalid query format: "filters[0]" does not match any of the allowed types`},
		{"a group with another key", `{"filters":[{"or":[],"and":[]}]}`, `Invalid query format: "filters[0]" does not match any of the allowed types`},
		{"an object as a value", `{"filters":[{"member":"o.s","operator":"set"},{"and":[{"member":"o.s","operator":"equals","values":[{}]}]}]}`, `Invalid query format: "filters[1]" does not match any of the allowed types`},
		{"values that are missing", `{"measures":["a.c"],"filters":[{"member":"a.c","operator":"equals"}]}`, `Values required for filter: {"member":"a.c","operator":"equals"}`},
		{"no values", `{"measures":["a.c"],"filters":[{"or":[{"member":"a.c","operator":"gt","values":[]}]}]}`, `Values required for filter: {"member":"a.c","operator":"gt","values":[]}`},
		{"nothing to select", `{"timeDimensions":[{"dimension":"o.t"}]}`, "Query should contain either measures, dimensions or timeDimensions with granularities in order to be valid"},
		{"a limit over the cap", `{"measures":["o.c"],"limit":50001}`, "Error: The query limit has been exceeded."},
		{"a zone", `{"measures":["o.c"],"timezone":"Mars/X"}`, `Invalid query format: "timezone" must be a valid IANA time zone, got "Mars/X"`},
		{"a date", `{"measures":["o.c"],"timeDimensions":[{"dimension":"o.t","dateRange":"blah blah"}]}`, "Can't parse date: 'blah blah'"},
		{"three dates", `{"timeDimensions":[{"dimension":"o.t","dateRange":["2024-01-01","2024-01-01","2024-01-01"]}]}`, `Invalid query format: "timeDimensions[0].dateRange" must be a string, or an array of one or two`},
		{"two comparisons", `{"timeDimensions":[{"dimension":"o.t","compareDateRange":["today"]},{"dimension":"o.t","compareDateRange":["today"]}]}`, "compareDateRange can only exist for one timeDimension"},
		{"different granularities", `[{"measures":["o.c"],"timeDimensions":[{"dimension":"o.t","granularity":"day"}]},{"measures":["o.c"],"timeDimensions":[{"dimension":"o.t","granularity":"week"}]}]`, "Data blending query granularities must match"},
		{"no granularity", `[{"measures":["o.c"]}]`, "Data blending query without granularity is not supported"},
		{"ten thousand levels", strings.Repeat(`{"filters":[{"or":`, 10_000) + "[]", "Invalid query format: objects and arrays are nested deeper than 32 levels"},
		{"ten thousand brackets", strings.Repeat(`[`, 10_000), "Invalid query format: objects and arrays are nested deeper than 32 levels"},
		{"ten megabytes", `{"measures":["` + strings.Repeat("a", 10<<20) + `"]}`, "Invalid query format: the query is larger than 4 MiB"},
		{"too many members", `{"measures":["a.b"` + strings.Repeat(`,"a.b"`, 1000) + `]}`, `Invalid query format: "measures" must contain less than or equal to 1000 items`},
		{"too many values", `{"filters":[{"member":"a.b","operator":"equals","values":[1` + strings.Repeat(`,1`, 50_000) + `]}]}`, "Invalid query format: more than 50000 filter values"},
		{"too many values in all queries together", `[` + strings.Repeat(`{"filters":[{"member":"a.b","operator":"equals","values":[1`+strings.Repeat(`,1`, 30_000)+`]}]},`, 2) + `{}]`, "Invalid query format: more than 50000 filter values"},
		{"too many values in all date ranges together", `{"measures":["o.c"],"timeDimensions":[{"dimension":"o.t","compareDateRange":["today","yesterday"]}],"filters":[{"member":"a.b","operator":"equals","values":[1` + strings.Repeat(`,1`, 30_000) + `]}]}`, "Invalid query format: more than 50000 filter values or 5000 filters, each counted for every date range"},
		{"too many filters in all queries together", `[` + strings.Repeat(`{"filters":[`+strings.Repeat(`{"or":[]},`, 3_000)+`{"or":[]}]},`, 2) + `{}]`, "Invalid query format: more than 5000 filters"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := Decode([]byte(tt.query))
			if err == nil {
				_, err = b.Normalize(Options{Now: saturday})
			}
			f, ok := errors.AsType[*fault.Error](err)
			if !ok || f.Kind != fault.Invalid || !strings.HasPrefix(f.Detail, tt.want) {
				t.Errorf("error = %v, want invalid: %s", err, tt.want)
			}
		})
	}
}

func TestDecodeTakesAString(t *testing.T) {
	b, err := Decode([]byte(`"{\"measures\":[\"o.c\"],\"renewQuery\":true}"`))
	if err != nil || b.Type != Regular || b.Queries[0].CacheMode != MustRevalidate {
		t.Errorf("Decode = %+v, %v", b, err)
	}
}

func TestComparisonsAndBlends(t *testing.T) {
	for _, tt := range []struct {
		name, query string
		typ         Type
		n           int
		pivot       string
	}{
		{"ranges to compare", `{"measures":["o.c"],"timeDimensions":[{"dimension":"o.t","compareDateRange":["this week",["2026-05-21","2026-05-28"]]}]}`, CompareDateRange, 2,
			`{"measures":["o.c"],"dimensions":["compareDateRange"],"timeDimensions":[{"dimension":"o.t","dateRange":["2026-11-16T00:00:00.000","2026-11-22T23:59:59.999"]}],"filters":[],"cacheMode":"stale-if-slow","timezone":"UTC","limit":10000,"rowLimit":10000,"queryType":"compareDateRangeQuery"}`},
		{"ranges to compare go before a range", `{"measures":["o.c"],"timeDimensions":[{"dimension":"o.t","dateRange":"last year","compareDateRange":["this week"]}],"timezone":null}`, CompareDateRange, 1,
			`{"measures":["o.c"],"dimensions":["compareDateRange"],"timeDimensions":[{"dimension":"o.t","dateRange":["2026-11-16T00:00:00.000","2026-11-22T23:59:59.999"]}],"filters":[],"cacheMode":"stale-if-slow","timezone":"UTC","limit":10000,"rowLimit":10000,"queryType":"compareDateRangeQuery"}`},
		{"queries to blend", `[{"measures":["o.c"],"timeDimensions":[{"dimension":"o.t","granularity":"day"}]},{"measures":["p.c","o.c"],"dimensions":["p.d"],"timeDimensions":[{"dimension":"p.t","granularity":"day"}]}]`, Blending, 2,
			`{"measures":["o.c","p.c"],"dimensions":["p.d"],"timeDimensions":[{"dimension":"time","granularity":"day"}],"filters":[],"cacheMode":"stale-if-slow","timezone":"UTC","limit":10000,"rowLimit":10000,"queryType":"blendingQuery"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := Decode([]byte(tt.query))
			if err != nil {
				t.Fatal(err)
			}
			if b, err = b.Normalize(Options{Now: saturday}); err != nil {
				t.Fatal(err)
			}
			pivot, err := json.Marshal(b.Pivot())
			if err != nil {
				t.Fatal(err)
			}
			if b.Type != tt.typ || len(b.Queries) != tt.n || string(pivot) != tt.pivot {
				t.Errorf("type %s, %d queries, pivot\n got %s\nwant %s", b.Type, len(b.Queries), pivot, tt.pivot)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{"measures":["o.c"],"dimensions":["o.s","o.t.week"],"timeDimensions":[{"dimension":"o.t","dateRange":"last 7 days"}]}`,
		`{"filters":[{"or":[{"member":"o.s","operator":"inDateRange","values":["from 7 days ago to now",null]}]}],"measures":["o.c"]}`,
		`[{"measures":["o.c"],"order":[["o.c","desc"]],"timezone":"europe/berlin"}]`, `"{\"total\":true}"`, `{"limit":1e9}`, `[[[[`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := Decode(data)
		if err == nil {
			b, err = b.Normalize(Options{Now: saturday})
		}
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatalf("error of kind %q: %v", fault.KindOf(err), err)
			}
			return
		}
		for _, q := range b.Queries {
			first, err := json.Marshal(q)
			if err != nil {
				t.Fatal(err)
			}
			again, err := Decode(first)
			if err != nil {
				t.Fatalf("the normalized form is refused: %v\n%s", err, first)
			}
			if again, err = again.Normalize(Options{Now: saturday}); err != nil {
				t.Fatalf("the normalized form is refused: %v\n%s", err, first)
			}
			if second, _ := json.Marshal(again.Queries[0]); string(second) != string(first) {
				t.Fatalf("normalized twice\n got %s\nwant %s", second, first)
			}
		}
	})
}
