package sqlgen

import (
	"fmt"
	"slices"
	"time"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/query"
)

// maxBuckets bounds the time series of a query with rolling windows.
const maxBuckets = 5000

// rolling is the time over which the rolling windows of a query move (cube-data-model.md §12.7): a series with a row for
// each bucket of the date range, or, without a granularity, for all of it. All of it is wall time of the query's zone.
type rolling struct {
	at          member  // the time dimension
	granularity string  // or ""
	column      *column // with that granularity; nil without
	buckets     []Span
	windows     []leafWindow // of its measures, without duplicates
	beside      bool         // there are measures without a window
}

// leafWindow is the window of a measure. The rows of one of parts, as a sum is, come bucket by bucket in Cube, so that a
// window of months that is seen from months holds whole ones.
type leafWindow struct {
	datamodel.Window
	parts bool
}

func windowOf(leaf *datamodel.Member) leafWindow {
	return leafWindow{Window: *leaf.Window, parts: leaf.Type != datamodel.CountDistinct && leaf.Type != datamodel.Avg}
}

const wallTime = "2006-01-02T15:04:05.000"

// findRolling finds what the windows of leaves move over, or nil when nothing does: without a time dimension a measure
// with a window is over all rows.
func (p *planner) findRolling(leaves []*datamodel.Member) (*rolling, error) {
	r := &rolling{}
	for _, leaf := range leaves {
		switch {
		case leaf.Window == nil:
			r.beside = true
		case !slices.Contains(r.windows, windowOf(leaf)):
			r.windows = append(r.windows, windowOf(leaf))
		}
	}
	at := -1
	for i, td := range p.q.TimeDimensions {
		if td.DateRange == nil && td.Granularity == "" {
			continue
		}
		if at < 0 || p.q.TimeDimensions[at].Granularity == "" && td.Granularity != "" {
			at = i
		}
	}
	if len(r.windows) == 0 || at < 0 {
		return nil, nil
	}
	td := p.q.TimeDimensions[at]
	for i, other := range p.q.TimeDimensions {
		if i != at && (other.Granularity != "" || other.Dimension == td.Dimension) {
			return nil, refusal("The rolling windows of this query move over %s: a second time dimension with a granularity, or the same one twice, is not supported", td.Dimension)
		}
	}
	if td.DateRange == nil {
		return nil, refusal("Time series queries without dateRange aren't supported")
	}
	var err error
	if r.at, err = p.timeDimension(td); err != nil {
		return nil, err
	}
	r.granularity = td.Granularity
	for i, c := range p.columns {
		if c.Member == r.at.Member && c.granularity != "" {
			r.column = &p.columns[i]
		}
	}
	r.buckets, err = p.series(r.at, td)
	return r, err
}

// series returns the buckets of a range.
func (p *planner) series(at member, td query.TimeDimension) ([]Span, error) {
	var ends [2]time.Time
	for i := range ends {
		var err error
		if ends[i], err = time.Parse(wallTime, td.DateRange.Texts[i]); err != nil {
			return nil, fmt.Errorf("date range %q is not normalized", td.DateRange.Texts)
		}
	}
	whole := Span{From: ends[0], To: ends[1].Add(time.Millisecond)}
	if td.Granularity == "" {
		return []Span{whole}, nil
	}
	g, _ := at.Granularity(td.Granularity)
	if g.SQL != nil {
		return nil, refusal("A rolling window cannot move by the granularity %s of %s, which is made by SQL", g.Name, td.Dimension)
	}
	var all []Span
	for from := p.bucket(whole.From, g); from.Before(whole.To); {
		if len(all) == maxBuckets {
			return nil, refusal("The time series of a rolling window would have more than %d buckets; use a coarser granularity than %s, or a shorter dateRange", maxBuckets, g.Name)
		}
		to := p.after(from, g)
		all = append(all, Span{From: from, To: to})
		from = to
	}
	return all, nil
}

// bucket returns the start of the bucket in which a wall time is, as cut does in SQL.
func (p *planner) bucket(t time.Time, g datamodel.Granularity) time.Time {
	origin, rest := p.origin(g)
	return bucket(t, g.Every, origin, rest)
}

// bucket returns the start of the bucket in which a wall time is, of those that are every long and of which one begins at an
// origin, or rest seconds later.
func bucket(t time.Time, every datamodel.Interval, origin time.Time, rest int64) time.Time {
	if n := every.Seconds; n > 0 {
		return time.Unix(origin.Unix()+floor(t.Unix()-origin.Unix(), n)*n, 0).UTC()
	}
	t = t.Add(-time.Duration(rest) * time.Second)
	months := int64(t.Year()-origin.Year())*12 + int64(t.Month()-origin.Month())
	return origin.AddDate(0, int(floor(months, every.Months)*every.Months), 0).Add(time.Duration(rest) * time.Second)
}

// after returns the start of the bucket after the one that begins at t.
func (p *planner) after(t time.Time, g datamodel.Granularity) time.Time {
	_, rest := p.origin(g)
	t = t.Add(-time.Duration(rest)*time.Second).AddDate(0, int(g.Every.Months), 0)
	return t.Add(time.Duration(rest+g.Every.Seconds) * time.Second)
}

// floor returns a / b rounded down.
func floor(a, b int64) int64 {
	if a < 0 {
		return -((-a + b - 1) / b)
	}
	return a / b
}

// move adds an interval to wall time as databases do: a day that a month does not have becomes its last.
func move(t time.Time, i datamodel.Interval, sign int64) time.Time {
	moved := t.AddDate(0, int(sign*i.Months), 0)
	if moved.Day() != t.Day() {
		moved = moved.AddDate(0, 0, -moved.Day())
	}
	return moved.Add(time.Duration(sign*i.Seconds) * time.Second)
}

// seen returns what a window holds, seen from a bucket. Cube compares with the last millisecond of a bucket, which counts
// where months are of different lengths.
func (p *planner) seen(r *rolling, w leafWindow, from Span) (Span, error) {
	if w.ToDate != "" {
		g, ok := r.at.Granularity(w.ToDate)
		if !ok || g.SQL != nil {
			return Span{}, refusal("Granularity \"%s\" does not exist in dimension %s", w.ToDate, r.at.FullName())
		}
		return Span{From: p.bucket(from.From, g), To: from.To}, nil
	}
	var out Span
	stands, more := from.To.Add(-time.Millisecond), time.Millisecond
	switch {
	case w.Start:
		stands, more = from.From, 0
	case w.parts && p.whole(r, w.Window):
		stands, more = from.To, 0
	}
	if !w.Trailing.Unbounded {
		out.From = move(stands, w.Trailing.Interval, -1).Add(more)
	}
	if !w.Leading.Unbounded {
		out.To = move(stands, w.Leading.Interval, 1).Add(more)
	}
	return out, nil
}

// whole reports whether a window and the buckets of r are both made of months of the calendar.
func (p *planner) whole(r *rolling, w datamodel.Window) bool {
	g, ok := r.at.Granularity(r.granularity)
	return ok && g.Every.Months > 0 && g.Shift.Seconds == 0 && g.Start == nil && w.Trailing.Interval.Seconds == 0 && w.Leading.Interval.Seconds == 0
}

// timeline is the series of a rolling in SQL.
type timeline struct {
	sql    Fragment
	inside []Fragment // the condition of each window on the rows of the base, and last that of the bucket itself, if asked for
	reach  Span       // what all windows hold together
	atom   string     // the largest unit at whose starts all windows begin and end; "" when there is none
}

// rollingPart returns the SELECT of measures with windows: the series, joined to the rows that its windows hold.
func (p *planner) rollingPart(pt part) (Fragment, error) {
	r := pt.rolling
	line, err := p.timeline(r)
	if err != nil {
		return Fragment{}, err
	}
	base, counted, err := p.within(r, line.reach).rollingRows(pt, line.atom)
	if err != nil {
		return base, err
	}
	inside := line.inside
	var list []Fragment
	bases, dates := p.d.Quote("base"), p.d.Quote("series")
	for _, c := range p.grouping() {
		from := bases
		if r.column != nil && c.Member == r.column.Member && c.granularity == r.granularity {
			from = dates
		}
		list = append(list, text(from+"."+p.d.Quote(c.alias)+" "+p.d.Quote(c.alias)))
	}
	var some []Fragment
	for _, f := range inside {
		if !slices.ContainsFunc(some, func(had Fragment) bool { return slices.Equal(had.pieces, f.pieces) }) {
			some = append(some, Format("({})", f))
		}
	}
	for i, leaf := range pt.leaves {
		window := inside[slices.Index(r.windows, windowOf(leaf))]
		value := text(bases + "." + p.d.Quote(fmt.Sprintf("value_%d", i)))
		list = append(list, Format("{} "+p.d.Quote(p.leafAlias(leaf)), p.windowed(leaf, window, value, counted[i], r.column != nil)))
	}
	// Without a series there is no row for what is not there.
	kind := "LEFT"
	if r.column == nil && len(p.grouping()) > 0 {
		kind = "INNER"
	}
	f := Format("SELECT {}\nFROM ({}) AS "+dates+"\n"+kind+" JOIN ({}) AS "+bases+" ON {}", join(list, ", "), line.sql, base, join(some, " OR "))
	f.addText(groupBy(len(p.grouping())))
	return f, nil
}

// windowed returns the aggregate of the values in a window; those of a count are counts. In a series, a bucket without any
// counts NULL, as a sum does.
func (p *planner) windowed(m *datamodel.Member, window, value Fragment, distinct, series bool) Fragment {
	held := Format("CASE WHEN {} THEN {} END", window, value)
	switch {
	case m.Type == datamodel.CountDistinct, m.Type == datamodel.Count && distinct:
		return Format("COUNT(DISTINCT {})", held)
	case m.Type == datamodel.CountDistinctApprox:
		return p.d.ApproxCountDistinct(held)
	case m.Type == datamodel.Count && series:
		return Format("sum({})", held)
	case m.Type == datamodel.Count:
		return Format("COALESCE(sum({}), 0)", held)
	}
	return Format(m.Type+"({})", held)
}

// timeline returns the series of r. Beside measures without a window, the bucket itself counts as one window more.
func (p *planner) timeline(r *rolling) (out timeline, err error) {
	var (
		names []string
		atoms = []string{"day", "hour", "minute", "second"} // that are left
		lines = make([][]string, len(r.buckets))
		at    = p.d.Quote("base") + "." + p.d.Quote("at")
	)
	add := func(name string, value func(Span) time.Time) Fragment {
		names = append(names, p.d.Quote(name))
		for i, b := range r.buckets {
			v := value(b)
			lines[i] = append(lines[i], v.Format(wallTime))
			for len(atoms) > 0 && !v.Equal(v.Truncate(time.Duration(datamodel.Unit(atoms[0]).Seconds)*time.Second)) {
				atoms = atoms[1:]
			}
		}
		return text(p.d.Quote("series") + "." + p.d.Quote(name))
	}
	name := "date_from"
	if r.column != nil {
		name = r.column.alias
	}
	add(name, func(b Span) time.Time { return b.From })
	n := len(r.windows)
	if r.beside {
		n++
	}
	for i := range n {
		held := make(map[Span]Span, len(r.buckets))
		for _, b := range r.buckets {
			if held[b] = b; i < len(r.windows) {
				if held[b], err = p.seen(r, r.windows[i], b); err != nil {
					return out, err
				}
			}
		}
		var bounds []Fragment
		begin, end := held[r.buckets[0]], held[r.buckets[len(r.buckets)-1]]
		if !begin.From.IsZero() {
			from := add(fmt.Sprintf("from_%d", i), func(b Span) time.Time { return held[b].From })
			bounds = append(bounds, Format(at+" >= {}", from))
		}
		if !end.To.IsZero() {
			to := add(fmt.Sprintf("to_%d", i), func(b Span) time.Time { return held[b].To })
			bounds = append(bounds, Format(at+" < {}", to))
		}
		if len(bounds) == 0 {
			bounds = append(bounds, text(at+" IS NOT NULL"))
		}
		out.inside = append(out.inside, join(bounds, " AND "))
		if i == 0 || begin.From.Before(out.reach.From) {
			out.reach.From = begin.From
		}
		if i == 0 || end.To.IsZero() || !out.reach.To.IsZero() && end.To.After(out.reach.To) {
			out.reach.To = end.To
		}
	}
	list := make([]Fragment, len(names))
	for i, name := range names {
		list[i] = Format("{} AS "+name, p.d.Wall(text(name)))
	}
	if len(atoms) > 0 {
		out.atom = atoms[0]
	}
	out.sql = Format("SELECT {} FROM {}", join(list, ", "), p.d.Rows(p.d.Quote("dates"), names, lines))
	return out, nil
}

// within returns p with the date range of r replaced by what its windows reach. Every other condition holds as before.
func (p *planner) within(r *rolling, reach Span) *planner {
	in := *p
	in.ranges = nil
	for _, c := range p.ranges {
		if c.member.Member != r.at.Member {
			in.ranges = append(in.ranges, c)
		}
	}
	bound := func(op query.Operator, t time.Time) {
		if !t.IsZero() {
			in.ranges = append(in.ranges, condition{member: r.at, operator: op, values: []query.Value{{Text: t.Format(wallTime)}}})
		}
	}
	bound(query.AfterOrOnDate, reach.From)
	if !reach.To.IsZero() {
		bound(query.BeforeOrOnDate, reach.To.Add(-time.Millisecond))
	}
	in.pushable = slices.Concat(in.ranges, p.rows)
	return &in
}

// rollingRows returns the rows that the measures of pt are over: their dimensions, the time in "at" and what each
// measure aggregates. Rows that joins repeat come once for each key. counted says which counts are of distinct values.
// Where every measure is one of parts, the rows of an atom of time come as one: a row is in many windows.
func (p *planner) rollingRows(pt part, atom string) (f Fragment, counted []bool, err error) {
	s := scope{p: p, tree: p.tree}
	var list, summed []Fragment
	for _, c := range p.grouping() {
		if pt.rolling.column != nil && c.alias == pt.rolling.column.alias {
			continue
		}
		f, err := s.selected(c)
		if err != nil {
			return f, nil, err
		}
		list = append(list, Format("{} "+p.d.Quote(c.alias), f))
		summed = append(summed, text(p.d.Quote(c.alias)))
	}
	at, err := s.wall(pt.rolling.at.base, "")
	if err != nil {
		return f, nil, err
	}
	list = append(list, Format("{} "+p.d.Quote("at"), at))
	keys := len(list)
	if atom != "" {
		summed = append(summed, Format("{} "+p.d.Quote("at"), p.d.Truncate(text(p.d.Quote("at")), atom)))
	}
	distinct := ""
	if pt.cube != nil {
		if _, err := p.joinOwn(pt); err != nil {
			return f, nil, err
		}
		distinct = "DISTINCT "
		for i, k := range pt.cube.PrimaryKey() {
			key, err := s.itself(k)
			if err != nil {
				return f, nil, err
			}
			list = append(list, Format("{} "+p.d.Quote(fmt.Sprintf("key_%d", i)), key))
		}
	}
	for i, leaf := range pt.leaves {
		c := p.model.Cube(leaf.Cube)
		value, err := s.measured(c, leaf)
		if err != nil {
			return f, nil, err
		}
		if star, _ := value.plain(); star == "*" {
			value = text("1")
		}
		counted = append(counted, leaf.Type == datamodel.Count && pt.cube == nil && leaf.SQL == nil && s.repeats(c))
		if leaf.Type == datamodel.Count && !counted[i] {
			value = Format("CASE WHEN {} IS NULL THEN 0 ELSE 1 END", operand(value))
		}
		name := p.d.Quote(fmt.Sprintf("value_%d", i))
		list = append(list, Format("{} "+name, value))
		switch {
		case counted[i]:
			atom = ""
		case leaf.Type == datamodel.Count, leaf.Type == datamodel.Sum:
			summed = append(summed, text("sum("+name+") "+name))
		case leaf.Type == datamodel.Min, leaf.Type == datamodel.Max:
			summed = append(summed, text(leaf.Type+"("+name+") "+name))
		default:
			atom = ""
		}
	}
	from, err := s.fromWhere()
	f = Format("SELECT "+distinct+"{}\nFROM {}", join(list, ", "), from)
	if atom == "" || err != nil {
		return f, counted, err
	}
	f = Format("SELECT {}\nFROM ({}) AS "+p.d.Quote("rows"), join(summed, ", "), f)
	f.addText(groupBy(keys))
	return f, counted, nil
}
