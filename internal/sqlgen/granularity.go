package sqlgen

import (
	"slices"
	"strconv"
	"time"

	"github.com/behalf-project/behalf/internal/datamodel"
)

// wall returns a time dimension as wall time of the query's zone, cut to the start of its granularity unless that is "".
// A time is converted once, at the outside: what it is made of is not.
func (s scope) wall(m *datamodel.Member, granularity string) (Fragment, error) {
	g, ok := m.Granularity(granularity)
	if ok && g.SQL != nil {
		s.inZone = true // the SQL says it all, of times that are local already
		value := func() (Fragment, error) { return s.sql(s.p.model.Cube(m.Cube), g.SQL) }
		if f, ok, err := s.instead(m, value); ok || err != nil {
			return f, err
		}
		return value()
	}
	s.inZone = !ok && s.p.local(m, 0)
	f, err := s.dimension(m)
	if err != nil || s.inZone {
		return f, err
	}
	if f = s.p.d.InZone(operand(f), s.p.zone); ok {
		f = s.p.cut(f, g)
	}
	return f, nil
}

// local reports whether the SQL of a time dimension is made of the buckets of another, as in {created_at.quarter}: these are
// wall time already. depth bounds what only a script can make endless.
func (p *planner) local(m *datamodel.Member, depth int) bool {
	return depth < maxDepth && slices.ContainsFunc(p.references(p.model.Cube(m.Cube), templates(m)), func(ref datamodel.Reference) bool {
		return ref.Granularity != "" || ref.Member != nil && ref.Member != m && ref.Member.Type == datamodel.Time &&
			ref.Member.Kind == datamodel.Dimension && p.local(ref.Member, depth+1)
	})
}

// convertTZ evaluates SQL_UTILS.convertTz: what stands in it is converted here, and no further in.
func (s scope) convertTZ(c *datamodel.Cube, n datamodel.ConvertTZ, params map[string]Fragment) (Fragment, error) {
	s.inZone = false
	f, err := s.column(c, n.Column, params)
	return s.p.d.InZone(operand(f), s.p.zone), err
}

// cut returns wall time cut to the start of its bucket (cube-data-model.md §7). All of it is arithmetic of wall time, in
// which every day has 24 hours.
func (p *planner) cut(wall Fragment, g datamodel.Granularity) Fragment {
	if unit := g.Every.Unit(); unit != "" && g.Start == nil && (g.Every.Months > 0 || g.Shift.Months == 0) {
		// Back goes the other way round: the seconds first, then the months.
		back := p.shift(p.shift(wall, datamodel.Interval{Seconds: -g.Shift.Seconds}), datamodel.Interval{Months: -g.Shift.Months})
		return p.shift(p.d.Truncate(back, unit), g.Shift)
	}
	origin, rest := p.origin(g)
	if g.Every.Seconds > 0 {
		first := p.d.Wall(constantWall(origin))
		n, unit := inUnits(g.Every.Seconds)
		return p.d.Shift(first, Format("(FLOOR({} / "+strconv.FormatInt(g.Every.Seconds, 10)+") * "+n+")", p.d.Seconds(first, wall)), unit)
	}
	wall = p.shift(wall, datamodel.Interval{Seconds: -rest})
	every := strconv.FormatInt(g.Every.Months, 10)
	n := Format("(FLOOR((EXTRACT(YEAR FROM {}) * 12 + EXTRACT(MONTH FROM {}) - "+strconv.Itoa(origin.Year()*12+int(origin.Month()))+") / "+every+") * "+every+")", wall, wall)
	return p.shift(p.d.Shift(p.d.Wall(constantWall(origin)), n, "month"), datamodel.Interval{Seconds: rest})
}

// origin returns the wall time at which a bucket of g begins. Of months it is the start of one, and the bucket begins
// rest seconds later.
func (p *planner) origin(g datamodel.Granularity) (origin time.Time, rest int64) {
	switch {
	case g.Start == nil:
		origin = time.Date(p.o.Now.In(p.loc).Year(), 1, 1, 0, 0, 0, 0, time.UTC)
		if g.Every == datamodel.Unit("week") {
			origin = origin.AddDate(0, 0, -(int(origin.Weekday())+6)%7)
		}
		origin = origin.AddDate(0, int(g.Shift.Months), 0)
		rest = g.Shift.Seconds
	case g.Start.Zoned:
		local := g.Start.Time.In(p.loc)
		_, offset := local.Zone()
		origin = g.Start.Time.UTC().Add(time.Duration(offset) * time.Second)
	default:
		origin = g.Start.Time
	}
	if g.Every.Seconds > 0 {
		return origin.Add(time.Duration(rest) * time.Second), 0
	}
	month := time.Date(origin.Year(), origin.Month(), 1, 0, 0, 0, 0, time.UTC)
	return month, rest + int64(origin.Sub(month)/time.Second)
}

// shift returns wall time moved by i, the months first: from the start of a month that is exact.
func (p *planner) shift(wall Fragment, i datamodel.Interval) Fragment {
	if i.Months != 0 {
		wall = p.d.Shift(wall, text(strconv.FormatInt(i.Months, 10)), "month")
	}
	if i.Seconds != 0 {
		n, unit := inUnits(i.Seconds)
		wall = p.d.Shift(wall, text(n), unit)
	}
	return wall
}

// inUnits returns seconds as a number of the largest unit that divides them.
func inUnits(seconds int64) (n, unit string) {
	for _, unit := range []string{"day", "hour", "minute"} {
		if length := datamodel.Unit(unit).Seconds; seconds%length == 0 {
			return strconv.FormatInt(seconds/length, 10), unit
		}
	}
	return strconv.FormatInt(seconds, 10), "second"
}

// constantWall returns a wall time of the model as a literal.
func constantWall(t time.Time) Fragment { return text("'" + t.Format("2006-01-02T15:04:05.000") + "'") }
