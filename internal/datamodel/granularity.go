package datamodel

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Granularities are the units to which a time can be cut, finest first.
var Granularities = []string{"second", "minute", "hour", "day", "week", "month", "quarter", "year"}

// Granularity is one that a time dimension has of its own. As JSON it is what clients see of it.
type Granularity struct {
	Name     string `json:"name"`
	Title    string `json:"title"`
	Interval string `json:"interval,omitempty"` // as in the file, as are Offset and Origin
	Offset   string `json:"offset,omitempty"`
	Origin   string `json:"origin,omitempty"`

	SQL   *Template `json:"-"` // instead of an interval; the name is then one of Granularities
	Every Interval  `json:"-"` // months or seconds, never both
	Shift Interval  `json:"-"` // from the default origin
	Start *Start    `json:"-"` // nil for the default origin: the current year
}

// Start is where a bucket of a granularity begins.
type Start struct {
	Time  time.Time // to the second
	Zoned bool      // a point in time; else wall time of the query's zone, given in UTC for want of a type without one
}

// Interval is a length of time: months, which differ in length, and seconds. A day of wall time has 86,400.
type Interval struct{ Months, Seconds int64 }

// Length returns the length of i for comparing granularities, in seconds: a month counts as 30 days.
func (i Interval) Length() int64 { return i.Months*30*day + i.Seconds }

const day = 24 * 60 * 60

var units = map[string]Interval{
	"second": {Seconds: 1}, "minute": {Seconds: 60}, "hour": {Seconds: 60 * 60}, "day": {Seconds: day}, "week": {Seconds: 7 * day},
	"month": {Months: 1}, "quarter": {Months: 3}, "year": {Months: 12},
}

// Unit returns the length of one of Granularities.
func Unit(name string) Interval { return units[name] }

// Unit returns the one of Granularities that is as long as i, or "".
func (i Interval) Unit() string {
	for _, name := range Granularities {
		if units[name] == i {
			return name
		}
	}
	return ""
}

// Granularity returns the granularity of that name, standard or m's own, and whether m has it.
func (m *Member) Granularity(name string) (Granularity, bool) {
	if m.Kind != Dimension || m.Type != Time {
		return Granularity{}, false
	}
	for _, g := range m.Granularities {
		if g.Name == name {
			return g, true
		}
	}
	standard := Granularity{Name: name, Title: name, Interval: "1 " + name, Every: units[name]}
	return standard, slices.Contains(Granularities, name)
}

// granularity reads one of the granularities of m.
func (l *loader) granularity(m *Member, n *node) {
	name, pos, ok := l.name(n, "a granularity")
	g := Granularity{Name: name}
	l.mapping(n, keys{of: "a granularity", read: map[string]func(*node){
		"name": ignore, "title": l.text(&g.Title), "sql": l.template(&g.SQL),
		"interval": func(n *node) {
			if l.text(&g.Interval)(n); n.scalar() {
				l.everyOf(&g, n)
			}
		},
		"offset": func(n *node) {
			var ok bool
			if l.text(&g.Offset)(n); !n.scalar() {
				return
			}
			if g.Shift, ok = interval(g.Offset); !ok {
				l.fail(n.pos, n.text, "an offset is a number and a unit from second to year, such as 3 months or -1 day")
			}
		},
		"origin": func(n *node) {
			if l.text(&g.Origin)(n); !n.scalar() {
				return
			}
			if g.Start = start(g.Origin); g.Start == nil {
				l.fail(n.pos, n.text, "an origin is a date or a time to the second, such as 2024-01-01 or 2024-01-01T06:00:00")
			}
		},
	}})
	if !ok {
		return
	}
	if g.Title == "" {
		g.Title = titleOf(name)
	}
	standard := slices.Contains(Granularities, name)
	has := func(key string) bool { return n.field(key) != nil }
	switch {
	case slices.ContainsFunc(m.Granularities, func(other Granularity) bool { return other.Name == name }):
		l.fail(pos, "", "granularity %s is defined more than once", name)
	case has("sql") && (has("interval") || has("offset") || has("origin")):
		l.fail(pos, "", "granularity %s has sql, and so no interval, offset and origin", name)
	case has("sql") && !standard:
		l.fail(pos, "", "granularity %s has sql, with which a granularity takes the place of a standard one: %s", name, strings.Join(Granularities, ", "))
	case has("sql"):
		g.Every, g.Interval = units[name], "1 "+name
	case !has("interval"):
		l.fail(pos, "", `"granularities.%s.interval" is required`, name)
	case has("offset") && has("origin"):
		l.fail(pos, "", "granularity %s has both offset and origin", name)
	case standard:
		l.notice(pos, "granularity %s of %s is not used: the standard one of that name is", name, m.FullName())
		return
	case !has("origin") && !aligned(g):
		l.fail(pos, "", "granularity %s: Arbitrary intervals cannot be used without origin point specified", name)
	case g.Every.Months > 0 && g.Start != nil && g.Start.Time.Day() > 28:
		l.fail(pos, "", "granularity %s begins on a day that not every month has; use an origin on the 1st to the 28th", name)
	}
	m.Granularities = append(m.Granularities, g)
}

// everyOf reads the interval of g.
func (l *loader) everyOf(g *Granularity, n *node) {
	every, ok := interval(g.Interval)
	switch {
	case !ok || every.Months < 0 || every.Seconds < 0 || every == Interval{}:
		l.fail(n.pos, n.text, "an interval is a number and a unit from second to year, such as 2 weeks")
	case every.Months > 0 && every.Seconds > 0:
		l.fail(n.pos, n.text, "an interval of months or years has no shorter units beside them: months differ in length")
	default:
		g.Every = every
	}
}

// aligned reports whether buckets of g end where those of a larger unit do, so that they need no origin.
func aligned(g Granularity) bool {
	divides := func(whole int64, part int64) bool { return part > 0 && whole%part == 0 }
	switch every := g.Every; {
	case every == Interval{}:
		return true // reported already
	case every.Months > 0:
		return divides(12, every.Months) || divides(every.Months, 12)
	case every.Seconds < 60:
		return divides(60, every.Seconds)
	case every.Seconds < 60*60:
		return divides(60*60, every.Seconds)
	}
	return divides(day, g.Every.Seconds) || g.Every.Seconds == 7*day
}

var intervalPattern = regexp.MustCompile(`^(-?)([0-9]{1,5})\s+(second|minute|hour|day|week|month|quarter|year)s?(?:\s+|$)`)

// interval reads "1 year", or several parts such as "-1 day 6 hours".
func interval(s string) (Interval, bool) {
	var sum Interval
	s = strings.TrimSpace(s)
	for range 8 {
		part := intervalPattern.FindStringSubmatch(s)
		if part == nil {
			return sum, false
		}
		n, err := strconv.ParseInt(part[1]+part[2], 10, 64)
		if err != nil {
			return sum, false
		}
		sum.Months += n * units[part[3]].Months
		sum.Seconds += n * units[part[3]].Seconds
		if s = s[len(part[0]):]; s == "" {
			return sum, true
		}
	}
	return sum, false
}

// start reads an origin, or returns nil.
func start(s string) *Start {
	for _, layout := range []string{"2006", "2006-01", "2006-01-02", "2006-01-02T15:04", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02 15:04:05"} {
		if t, err := time.Parse(layout, s); err == nil && t.Nanosecond() == 0 && t.Year() > 0 {
			return &Start{Time: t}
		}
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil && t.Nanosecond() == 0 && t.Year() > 0 {
		return &Start{Time: t, Zoned: true}
	}
	return nil
}
