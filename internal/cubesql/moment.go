package cubesql

import (
	"regexp"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/query"
)

// moment is a time that a statement says: wall time of the query's zone, given in UTC for want of a type without a zone,
// or a point in time.
type moment struct {
	time.Time
	zoned bool
}

// text returns m as a filter of the query API has it. With its time of day, a day is its first millisecond.
func (m moment) text() string {
	if m.zoned {
		return m.Format("2006-01-02T15:04:05.000Z")
	}
	return m.Format("2006-01-02T15:04:05.000")
}

var momentPattern = regexp.MustCompile(`^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(:\d{2}(?:\.\d{1,9})?)?\s?(Z|[+-]\d{2}(?::?\d{2})?)?)?$`)

// moment reads the time that e is.
func (v *converter) moment(e expr, of *datamodel.Member) (moment, error) {
	l, ok := e.(*literal)
	if !ok || l.kind != text {
		return moment{}, e.at().fail("%s is a time, which is compared with a time in quotes, such as '2024-01-31' or '2024-01-31 12:00:00'", of.FullName())
	}
	m := momentPattern.FindStringSubmatch(strings.TrimSpace(l.text))
	if m == nil {
		return moment{}, l.fail("%q is no time; write '2024-01-31', '2024-01-31 12:00:00' or '2024-01-31T12:00:00.000Z'", clip(l.text))
	}
	day, clock, seconds, zone := m[1], m[2], m[3], m[4]
	switch {
	case l.typ != "" && l.typ != dateType && l.typ != timestampType && l.typ != timestamptzType:
		return moment{}, l.fail("%s is a time, and is not compared with a value of type %s", of.FullName(), l.typ)
	case l.typ == dateType && clock != "":
		return moment{}, l.fail("a date has no time of day; cast to timestamp, or leave the cast out")
	case l.typ == timestampType && zone != "":
		return moment{}, l.fail("a timestamp has no offset; cast to timestamptz, or leave the cast out")
	}
	if clock == "" {
		clock = "00:00"
	}
	if seconds == "" {
		seconds = ":00"
	}
	layout := "2006-01-02T15:04:05"
	s := day + "T" + clock + seconds
	if zone != "" && zone != "Z" {
		layout += "-0700"
		s += (strings.ReplaceAll(zone, ":", "") + "00")[:5]
	}
	t, err := time.Parse(layout, s)
	switch {
	case err != nil || t.UTC().Year() < 1 || t.UTC().Year() > 9998: // what is cut from it may be a year later
		return moment{}, l.fail("%q is no time that there is", clip(l.text))
	case t.Truncate(time.Millisecond) != t:
		return moment{}, l.fail("%q is not a whole millisecond, to which times are compared; write < and the next moment that is", clip(l.text))
	}
	return moment{t.UTC(), zone != ""}, nil
}

// dateOperators are those that say what a comparison says of a time.
var dateOperators = map[string]query.Operator{"<": query.BeforeDate, "<=": query.BeforeOrOnDate, ">": query.AfterDate, ">=": query.AfterOrOnDate}

// compareTime returns the condition that a time is before, at or after a moment.
func (c *conditions) compareTime(o operand, op string, e expr) (query.Filter, error) {
	m, err := c.moment(e, o.Member)
	if err != nil {
		return query.Filter{}, err
	}
	if o.granularity != "" {
		return c.compareBucket(o, op, m, e.at())
	}
	switch op {
	case "=":
		return c.on(o, query.InDateRange, m.text(), m.text())
	case "<>":
		return c.on(o, query.NotInDateRange, m.text(), m.text())
	}
	return c.on(o, dateOperators[op], m.text())
}

// compareBucket returns the condition that the start of a bucket is before, at or after m, as one on the time itself: the
// bucket that m is in ends where the next one begins.
func (c *conditions) compareBucket(o operand, op string, m moment, at place) (query.Filter, error) {
	g, _ := o.Granularity(o.granularity)
	if g.SQL != nil || g.Every != datamodel.Unit(g.Name) {
		return query.Filter{}, at.fail("a condition on DATE_TRUNC is possible for %s; write one on %s itself", strings.Join(datamodel.Granularities, ", "), o.FullName())
	}
	if m.zoned {
		return query.Filter{}, at.fail("the start of a %s is a local time, without an offset", g.Name)
	}
	start := floor(m.Time, g.Name)
	next := moment{Time: following(start, g.Name)}.text()
	from := next // where no bucket starts at m, those that start later start with the next one
	if start.Equal(m.Time) {
		from = m.text()
	}
	switch op {
	case ">=":
		return c.on(o, query.AfterOrOnDate, from)
	case ">":
		return c.on(o, query.AfterOrOnDate, next)
	case "<":
		return c.on(o, query.BeforeDate, from)
	case "<=":
		return c.on(o, query.BeforeDate, next)
	}
	if from == next {
		return query.Filter{}, at.fail("no %s starts at %s; the one that holds it starts at %s", g.Name, m.text(), moment{Time: start}.text())
	}
	if op == "=" {
		return c.both(o, query.AfterOrOnDate, from, query.BeforeDate, next, and)
	}
	return c.both(o, query.BeforeDate, from, query.AfterOrOnDate, next, or)
}

// both returns two conditions on a time, joined.
func (c *conditions) both(o operand, first query.Operator, a string, second query.Operator, b string, join func(...query.Filter) query.Filter) (query.Filter, error) {
	left, err := c.on(o, first, a)
	if err != nil {
		return query.Filter{}, err
	}
	right, err := c.on(o, second, b)
	return join(left, right), err
}

// floor returns the start of the unit that holds a wall time. Weeks start on Monday.
func floor(t time.Time, unit string) time.Time {
	day := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
	switch unit {
	case "second":
		return t.Truncate(time.Second)
	case "minute":
		return t.Truncate(time.Minute)
	case "hour":
		return t.Truncate(time.Hour)
	case "week":
		return day.AddDate(0, 0, -(int(day.Weekday())+6)%7)
	case "month":
		return day.AddDate(0, 0, 1-day.Day())
	case "quarter":
		return time.Date(t.Year(), (t.Month()-1)/3*3+1, 1, 0, 0, 0, 0, time.UTC)
	case "year":
		return time.Date(t.Year(), 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return day
}

// following returns the start of the unit after the one that starts at t.
func following(t time.Time, unit string) time.Time {
	length := datamodel.Unit(unit)
	return t.AddDate(0, int(length.Months), 0).Add(time.Duration(length.Seconds) * time.Second)
}
