package query

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/fault"
)

// wall is the form of local times in a normalized query.
const wall = "2006-01-02T15:04:05.000"

// utc is the form of points in time in SQL.
const utc = "2006-01-02T15:04:05.000Z"

// civilRange is a range of wall times, both inclusive. The times are in UTC for want of a type without a zone.
type civilRange struct{ from, to time.Time }

func (r civilRange) texts() []string { return []string{r.from.Format(wall), r.to.Format(wall)} }

// Bounds returns r as points in time for SQL, both inclusive. r is normalized.
func (r DateRange) Bounds(loc *time.Location) (from, to string, err error) {
	if len(r.Texts) != 2 {
		return "", "", fmt.Errorf("date range %q is not normalized", r.Texts)
	}
	start, err := time.Parse(wall, r.Texts[0])
	if err != nil {
		return "", "", badDate(r.Texts[0])
	}
	last, err := time.Parse(wall, r.Texts[1])
	if err != nil {
		return "", "", badDate(r.Texts[1])
	}
	return instant(start, loc, false).UTC().Format(utc), instant(last, loc, true).UTC().Format(utc), nil
}

// FilterBounds returns the points in time of a date operator for SQL. from is the bound of beforeDate and
// afterOrOnDate, to that of beforeOrOnDate and afterDate; the range operators use both.
func FilterBounds(op Operator, values []Value, loc *time.Location, now time.Time) (from, to string, err error) {
	var texts []string
	for _, v := range values {
		if !v.Null {
			texts = append(texts, v.Text)
		}
	}
	if len(texts) == 0 {
		return "", "", fault.New(fault.Invalid, "Expected one parameter but nothing found")
	}
	switch op {
	case InDateRange, NotInDateRange, OnTheDate:
		r, err := filterRange(op, texts, loc, now)
		if err != nil {
			return "", "", err
		}
		return instant(r.from, loc, false).UTC().Format(utc), instant(r.to, loc, true).UTC().Format(utc), nil
	}
	r, ok := absolute(texts[0], loc)
	if !ok {
		if r, err = relative(texts[0], loc, now); err != nil {
			return "", "", err
		}
	}
	return instant(r.from, loc, false).UTC().Format(utc), instant(r.to, loc, true).UTC().Format(utc), nil
}

// filterRange returns the range of one or two values. One absolute value means its whole day, even with a time.
func filterRange(op Operator, texts []string, loc *time.Location, now time.Time) (civilRange, error) {
	if len(texts) > 2 {
		return civilRange{}, fault.New(fault.Invalid, "%s takes one date or a start and an end, but has %d values", op, len(texts))
	}
	from, ok := absolute(texts[0], loc)
	if len(texts) == 1 {
		if !ok {
			return relative(texts[0], loc, now)
		}
		day := midnight(from.from)
		return civilRange{day, day.AddDate(0, 0, 1).Add(-time.Millisecond)}, nil
	}
	to, ok2 := absolute(texts[1], loc)
	for i, absolute := range []bool{ok, ok2} {
		if absolute {
			continue
		}
		if _, err := relative(texts[i], loc, now); err != nil {
			return civilRange{}, err
		}
		return civilRange{}, fault.New(fault.Invalid, "Relative-date strings are only supported when there is one value")
	}
	return civilRange{from.from, to.to}, nil
}

// resolve returns the normalized form of a date range.
func (r DateRange) resolve(loc *time.Location, now time.Time) (DateRange, error) {
	var c civilRange
	switch from, ok := absolute(r.Texts[0], loc); {
	case len(r.Texts) == 1 && ok:
		// A string goes through Cube's reader of dates in words, for which a date is a day whatever the time.
		day := midnight(from.from)
		c = civilRange{day, day.AddDate(0, 0, 1).Add(-time.Millisecond)}
	case !ok && (len(r.Texts) == 1 || r.Texts[0] == r.Texts[1]):
		var err error
		if c, err = relative(r.Texts[0], loc, now); err != nil {
			return DateRange{}, err
		}
	case !ok:
		return DateRange{}, badDate(r.Texts[0])
	default:
		to, ok := absolute(r.Texts[1], loc)
		if !ok {
			return DateRange{}, badDate(r.Texts[1])
		}
		c = civilRange{from.from, to.to}
	}
	return DateRange{Texts: c.texts()}, nil
}

func badDate(s string) error { return fault.New(fault.Invalid, "Can't parse date: '%s'", clip(s)) }

var absolutePattern = regexp.MustCompile(
	`^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(:\d{2})?(\.\d{1,9})?\s?(Z|[+-]\d{2}:?\d{2})?)?$`)

// absolute returns the wall time in loc that s names: from and to are the same moment, or the ends of a day. A time
// with an offset is converted to loc.
func absolute(s string, loc *time.Location) (civilRange, bool) {
	m := absolutePattern.FindStringSubmatch(strings.TrimSpace(s))
	if m == nil || m[4] != "" && m[3] == "" {
		return civilRange{}, false
	}
	if m[2] == "" {
		day, err := time.Parse(time.DateOnly, m[1])
		return civilRange{day, day.AddDate(0, 0, 1).Add(-time.Millisecond)}, err == nil && day.Year() > 0
	}
	if m[3] == "" {
		m[3] = ":00"
	}
	t, err := time.Parse("2006-01-02T15:04:05.999999999", m[1]+"T"+m[2]+m[3]+m[4])
	if err != nil || t.Year() == 0 {
		return civilRange{}, false
	}
	if zone := strings.Replace(m[5], ":", "", 1); zone != "" && zone != "Z" {
		at, err := time.Parse("-0700", zone)
		if err != nil {
			return civilRange{}, false
		}
		_, offset := at.Zone()
		t = civil(t.Add(-time.Duration(offset)*time.Second), loc)
	} else if zone == "Z" {
		t = civil(t, loc)
	}
	t = t.Truncate(time.Millisecond)
	return civilRange{t, t}, true
}

// civil returns the wall time that the clocks of loc show at t, as a time in UTC.
func civil(t time.Time, loc *time.Location) time.Time {
	_, offset := t.In(loc).Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

func midnight(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
}

const (
	units  = `(second|minute|hour|day|week|month|quarter|year)`
	months = `(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*`
)

var (
	wholePattern   = regexp.MustCompile(`^(this|last|next) ` + units + `$`)
	severalPattern = regexp.MustCompile(`^(last|next) (\d{1,6}) ` + units + `s?$`)
	fromToPattern  = regexp.MustCompile(`^from (.+) to (.+)$`)
	agoPattern     = regexp.MustCompile(`^(an?|\d{1,6}) ` + units + `s? (ago|from now)$`)
	inPattern      = regexp.MustCompile(`^in (\d{1,6}) ` + units + `s?$`)
	monthPattern   = regexp.MustCompile(`^` + months + ` (\d{4})$`)
	dayPattern     = regexp.MustCompile(`^` + months + ` (\d{1,2})(?:st|nd|rd|th)?,? (\d{4})$`)
	ofMonthPattern = regexp.MustCompile(`^(\d{1,2})(?:st|nd|rd|th)? (?:of )?` + months + `,? (\d{4})$`)
	finePattern    = regexp.MustCompile(`\b(second|minute|hour)s?\b`)
)

// relative returns the range that s means at now, by the rules of cube-rest-api.md §8.1. The patterns are anchored,
// so a longer text never means a part of itself.
func relative(s string, loc *time.Location, now time.Time) (civilRange, error) {
	r, ok := relativeRange(strings.Join(strings.Fields(strings.ToLower(s)), " "), loc, now)
	if !ok || r.from.Year() < 1 || r.to.Year() > 9999 {
		return civilRange{}, badDate(s)
	}
	return r, nil
}

func relativeRange(s string, loc *time.Location, now time.Time) (civilRange, bool) {
	if m := wholePattern.FindStringSubmatch(s); m != nil {
		n := map[string]int{"this": 0, "last": -1, "next": 1}[m[1]]
		return span(now, loc, m[2], n, n), true
	}
	if m := severalPattern.FindStringSubmatch(s); m != nil {
		n, _ := strconv.Atoi(m[2])
		if n == 0 {
			return civilRange{}, false
		}
		if m[1] == "last" {
			return span(now, loc, m[3], -n, -1), true
		}
		return span(now, loc, m[3], 1, n), true
	}
	unit := "day"
	if m := finePattern.FindStringSubmatch(s); m != nil {
		unit = m[1]
	}
	a, b := s, s
	if m := fromToPattern.FindStringSubmatch(s); m != nil {
		a, b = m[1], m[2]
	}
	from, ok := moment(a, loc, now)
	if !ok {
		return civilRange{}, false
	}
	to, ok := moment(b, loc, now)
	if !ok {
		return civilRange{}, false
	}
	return civilRange{span(from, loc, unit, 0, 0).from, span(to, loc, unit, 0, 0).to}, true
}

// moment returns the point in time that one expression means.
func moment(s string, loc *time.Location, now time.Time) (time.Time, bool) {
	switch s {
	case "now", "today":
		return now, true
	case "yesterday":
		return add(now, loc, "day", -1), true
	case "tomorrow":
		return add(now, loc, "day", 1), true
	}
	if m := agoPattern.FindStringSubmatch(s); m != nil {
		n := 1
		if m[1][0] != 'a' {
			n, _ = strconv.Atoi(m[1])
		}
		if m[3] == "ago" {
			n = -n
		}
		return add(now, loc, m[2], n), true
	}
	if m := inPattern.FindStringSubmatch(s); m != nil {
		n, _ := strconv.Atoi(m[1])
		return add(now, loc, m[2], n), true
	}
	if m := monthPattern.FindStringSubmatch(s); m != nil {
		return spelled(m[1], "1", m[2], loc)
	}
	if m := dayPattern.FindStringSubmatch(s); m != nil {
		return spelled(m[1], m[2], m[3], loc)
	}
	if m := ofMonthPattern.FindStringSubmatch(s); m != nil {
		return spelled(m[2], m[1], m[3], loc)
	}
	if r, ok := absolute(strings.ToUpper(s), loc); ok {
		return instant(r.from, loc, false), true
	}
	return time.Time{}, false
}

// spelled returns the start of a day whose month is a word, of which three letters count.
func spelled(month, day, year string, loc *time.Location) (time.Time, bool) {
	t, err := time.Parse("Jan 2 2006", strings.ToUpper(month[:1])+month[1:]+" "+day+" "+year)
	return instant(t, loc, false), err == nil
}

// span returns the units first to last, counted from the one that holds t, whole.
func span(t time.Time, loc *time.Location, unit string, first, last int) civilRange {
	if d, ok := clockUnits[unit]; ok {
		// Hours and less are counted in time that passes, so that the day on which the clocks change has its own
		// number of them. A zone's offset may hold half an hour, so the unit begins where its clocks say.
		c := civil(t, loc)
		start := t.Add(-c.Sub(c.Truncate(d)))
		from, to := start.Add(time.Duration(first)*d), start.Add(time.Duration(last+1)*d-time.Millisecond)
		return civilRange{civil(from, loc), civil(to, loc)}
	}
	start := midnight(civil(t, loc))
	switch unit {
	case "week":
		start = start.AddDate(0, 0, -(int(start.Weekday())+6)%7)
	case "month":
		start = start.AddDate(0, 0, 1-start.Day())
	case "quarter":
		start = time.Date(start.Year(), (start.Month()-1)/3*3+1, 1, 0, 0, 0, 0, time.UTC)
	case "year":
		start = time.Date(start.Year(), 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return civilRange{addCivil(start, unit, first), addCivil(start, unit, last+1).Add(-time.Millisecond)}
}

var clockUnits = map[string]time.Duration{"second": time.Second, "minute": time.Minute, "hour": time.Hour}

// add returns t moved by n units: time that passes for clock units, the same wall time otherwise.
func add(t time.Time, loc *time.Location, unit string, n int) time.Time {
	if d, ok := clockUnits[unit]; ok {
		return t.Add(time.Duration(n) * d)
	}
	return instant(addCivil(civil(t, loc), unit, n), loc, false)
}

// addCivil moves c by n days or more. A day that the month does not have becomes its last one.
func addCivil(c time.Time, unit string, n int) time.Time {
	switch unit {
	case "day":
		return c.AddDate(0, 0, n)
	case "week":
		return c.AddDate(0, 0, 7*n)
	case "quarter":
		n *= 3
	case "year":
		n *= 12
	}
	moved := c.AddDate(0, n, 0)
	if moved.Day() != c.Day() {
		moved = moved.AddDate(0, 0, -moved.Day())
	}
	return moved
}
