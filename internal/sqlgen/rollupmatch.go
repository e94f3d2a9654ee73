package sqlgen

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/query"
)

// findRollup finds the pre-aggregation that holds the query (cube-data-model.md §20): of the cubes of its joins, the root first,
// in the order of the model. One that would give other rows than the source does not hold it, save where its buckets do not end
// with a range and the model allows that.
func (p *planner) findRollup(plan *Plan) {
	never := sync.OnceValue(p.neverRolled)
	for _, name := range p.tree.cubes() {
		for _, pre := range p.model.Cube(name).PreAggregations {
			match := p.match
			switch pre.Type {
			case datamodel.Rollup:
			case datamodel.RollupJoin:
				match = p.matchJoined
			case datamodel.RollupLambda:
				match = p.matchUnited
			default:
				continue // an original_sql holds no query, and is taken where no rollup does
			}
			r, why := (*Rollup)(nil), never()
			if why == "" {
				r, why = match(pre)
			}
			if why == "" {
				plan.Rollup = r
				return
			}
			plan.Misses = append(plan.Misses, Miss{pre.FullName(), why})
		}
	}
	var misses []Miss
	plan.Rollup, misses = p.matchOriginals()
	plan.Misses = append(plan.Misses, misses...)
}

// neverRolled says why no rollup can hold the query, or returns "".
func (p *planner) neverRolled() string {
	for _, m := range p.allLeaves() {
		switch {
		case m.Window != nil:
			return fmt.Sprintf("%s has a rolling window, which is computed from the source", m.FullName())
		case p.repeats(m):
			return fmt.Sprintf("the joins of the query repeat rows of %s, from which %s is computed", m.Cube, m.FullName())
		}
	}
	switch {
	case p.q.Ungrouped:
		return "the query is ungrouped"
	case len(p.masks) > 0:
		var masked []string
		for m := range p.masks {
			masked = append(masked, m.FullName())
		}
		return fmt.Sprintf("the caller sees a mask of %s", slices.Min(masked))
	case len(p.subqueries) > 0:
		return fmt.Sprintf("%s is a sub-query, which is computed from the source", p.subqueries[0].FullName())
	case p.remade != nil:
		return fmt.Sprintf("the sql of %s takes filters of the query through FILTER_PARAMS, and may make other rows of them", p.remade.Name)
	}
	return ""
}

// match is a query beside a pre-aggregation that may hold it.
type match struct {
	*built
	q *planner // of the query

	times  []*column // for each of its columns, the time that it is cut from; nil for others
	ranges []*column // for each of its ranges, the time that it is of
	asked  []Span    // and from where to where the buckets reach that it is read from

	parts []*built          // of which the pre-aggregation is joined; none where it is a rollup of its own
	part  map[string]*built // by the cubes that they have
}

// match returns the rollup of pre that reads the query, or why it does not hold it.
func (p *planner) match(pre *datamodel.PreAggregation) (*Rollup, string) {
	b, err := p.preAggregation(pre)
	if err != nil {
		return nil, unbuildable(err)
	}
	m := &match{built: b, q: p}
	if why := m.holds(); why != "" {
		return nil, why
	}
	r, err := b.rollup()
	if err != nil {
		return nil, unbuildable(err)
	}
	r.Range = m.reach(pre)
	return r, m.read(r, text(m.reads().Quote(r.Table)))
}

// holds says why the pre-aggregation does not hold the query, or returns "".
func (m *match) holds() string {
	for _, check := range []func() string{m.joins, m.members, m.conditions, m.rangesHeld, m.additive, m.compared} {
		if why := check(); why != "" {
			return why
		}
	}
	return ""
}

// detail returns what may be said of an error.
func detail(err error) string {
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return e.Detail
	}
	return "its SQL could not be made"
}

// has returns the column that keeps a member, cut to a granularity or not; nil where none does.
func (b *built) has(m *datamodel.Member, granularity string) *column {
	for i, c := range b.columns {
		if c.base == m && c.granularity == granularity {
			return &b.columns[i]
		}
	}
	return nil
}

// joins demands that the rollup has the joins of the query, from the same root: other cubes have other rows from there.
func (m *match) joins() string {
	if m.tree.root != m.q.tree.root {
		return fmt.Sprintf("its joins begin at %s, and those of the query at %s", m.tree.root, m.q.tree.root)
	}
	for _, j := range m.q.tree.joins {
		switch own := m.tree.by[j.To]; {
		case own == nil:
			return fmt.Sprintf("the query joins %s, and it does not", j.To)
		case own != j:
			return fmt.Sprintf("it joins %s from %s, and the query from %s", j.To, own.From, j.From)
		}
	}
	return ""
}

// members demands that everything selected, and the segments, are in the rollup.
func (m *match) members() string {
	m.times = make([]*column, len(m.q.columns))
	for i, c := range m.q.columns {
		switch {
		case c.Kind == datamodel.Measure:
			if why := m.measure(c.member); why != "" {
				return why
			}
		case c.granularity != "":
			var why string
			if m.times[i], why = m.time(c); why != "" {
				return why
			}
		case m.has(c.base, "") == nil:
			return fmt.Sprintf("the dimension %s is not in it", c.FullName())
		}
	}
	for _, s := range m.q.segments {
		if m.has(s.base, "") == nil {
			return fmt.Sprintf("the segment %s is not in it", s.FullName())
		}
	}
	return ""
}

// measure demands that what a measure is computed from is in the rollup.
func (m *match) measure(named member) string {
	for _, leaf := range m.q.formula(named.base).of {
		switch {
		case m.has(leaf, "") != nil:
		case slices.Contains(m.repeated, leaf):
			return fmt.Sprintf("its joins repeat rows of %s, from which %s is computed", leaf.Cube, leaf.FullName())
		case leaf == named.base:
			return fmt.Sprintf("the measure %s is not in it", named.FullName())
		default:
			return fmt.Sprintf("the measure %s, from which %s is computed, is not in it", leaf.FullName(), named.FullName())
		}
	}
	return ""
}

// time returns the time from which c, a time dimension with a granularity, can be cut: the one of that granularity, or the
// coarsest of those whose buckets lie in its own.
func (m *match) time(c column) (*column, string) {
	if same := m.has(c.base, c.granularity); same != nil {
		return same, ""
	}
	var best *column
	kept, wanted := "", granularity(c)
	for i, own := range m.grouping() {
		if own.base != c.base || own.granularity == "" {
			continue
		}
		kept = own.granularity
		g := granularity(own)
		if isUnit(g) && wanted.SQL == nil && m.q.fits(g.Every, wanted) && (best == nil || g.Every.Length() > granularity(*best).Every.Length()) {
			best = &m.columns[i]
		}
	}
	switch {
	case best != nil:
		return best, ""
	case kept == "":
		return nil, fmt.Sprintf("the time dimension %s is not in it", c.FullName())
	}
	return nil, fmt.Sprintf("%s is in it by %s, from which %s cannot be made", c.FullName(), kept, c.granularity)
}

// granularity returns the granularity of a column that has one.
func granularity(c column) datamodel.Granularity {
	g, _ := c.base.Granularity(c.granularity)
	return g
}

// isUnit reports whether g is a unit of time as everybody has it.
func isUnit(g datamodel.Granularity) bool {
	return g.SQL == nil && g.Start == nil && g.Shift == datamodel.Interval{} && g.Every == datamodel.Unit(g.Name)
}

// fits reports whether each bucket of a unit lies in one bucket of g.
func (p *planner) fits(unit datamodel.Interval, g datamodel.Granularity) bool {
	origin, rest := p.origin(g)
	switch {
	case g.Every.Seconds > 0:
		return unit.Seconds > 0 && g.Every.Seconds%unit.Seconds == 0 && start(origin, unit).Equal(origin)
	case unit.Months > 0:
		return rest == 0 && g.Every.Months%unit.Months == 0 && start(origin, unit).Equal(origin)
	}
	return unit != datamodel.Unit("week") && rest%unit.Seconds == 0
}

// conditions demands that the filters, and the policies and row rules, mean the same where the rollup is read.
func (m *match) conditions() string {
	for _, of := range []struct {
		who  string
		all  []condition
		each func(condition) string
	}{
		{"the filter", m.q.rows, m.condition},
		{"a policy or a row rule", m.q.granted, m.condition},
		{"the filter", m.q.groups, m.having},
	} {
		for _, c := range of.all {
			var why string
			c.each(func(c condition) {
				if why == "" {
					if why = of.each(c); why != "" {
						why = fmt.Sprintf("%s is on %s, %s", of.who, c.member.FullName(), why)
					}
				}
			})
			if why != "" {
				return why
			}
		}
	}
	return ""
}

// condition demands of a condition on rows that what the rollup keeps is compared as the source compares it.
func (m *match) condition(c condition) string {
	base, habits := c.member.base, m.q.d.Habits()
	isText := base.Type == datamodel.String || base.Type == datamodel.Geo
	_, isPattern := patterns[c.operator]
	switch {
	case m.has(base, "") == nil:
		return "which is not in it"
	case base.Type == datamodel.Time && (c.operator == query.Set || c.operator == query.NotSet):
		return ""
	case base.Type == datamodel.Time || c.operator.Dates():
		return "and compares points in time, where it keeps what clocks show"
	case m.q.shifts(base, 0):
		return "which is made of a time: of the time in the zone where it is kept, and not where it is filtered by"
	case !m.external():
		return ""
	}
	switch c.operator {
	case query.Set, query.NotSet:
		return ""
	case query.Equals, query.NotEquals, query.In, query.NotIn:
		switch {
		case isText && habits.Texts == Folded:
			return "where the source takes texts for equal that DuckDB does not"
		case base.Type == datamodel.Number && !keepsDigits(c.values):
			return tooManyDigits
		}
		return ""
	case query.GT, query.GTE, query.LT, query.LTE:
		switch {
		case isText && habits.Texts != Binary:
			return "where texts have another order in the source than in DuckDB"
		case base.Type == datamodel.Number && !keepsDigits(c.values):
			return tooManyDigits
		case isText || base.Type == datamodel.Number:
			return ""
		}
	}
	switch {
	case !isPattern || !isText:
		return "with an operator that is not one of its type"
	case habits.Texts == Folded, slices.ContainsFunc(c.values, func(v query.Value) bool { return !ascii(v.Text) }):
		return "where the source may take letters for equal that DuckDB does not"
	}
	return ""
}

// keepsDigits reports whether DuckDB compares with values, which are numbers, as they are.
func keepsDigits(values []query.Value) bool {
	return !slices.ContainsFunc(values, func(v query.Value) bool {
		s := strings.TrimPrefix(strings.TrimSpace(v.Text), "+")
		if _, ok := integer(s); ok || v.Null {
			return false
		}
		digits, _, _ := strings.Cut(strings.ToLower(s), "e")
		_, err := strconv.ParseFloat(s, 64)
		return err != nil || len(digits) > 17 // a sign, a point and fifteen that a float has
	})
}

const tooManyDigits = "and compares a number of more digits than DuckDB does"

func ascii(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r > 127 }) < 0
}

// shifts reports whether a dimension is made of times that are local where it is selected, and as they are where it is filtered
// by. depth bounds what only a script can make endless.
func (p *planner) shifts(m *datamodel.Member, depth int) bool {
	return depth < maxDepth && slices.ContainsFunc(p.references(p.model.Cube(m.Cube), templates(m)), func(ref datamodel.Reference) bool {
		return ref.Member != nil && ref.Granularity == "" && ref.Member.Kind == datamodel.Dimension &&
			(ref.Member.Type == datamodel.Time || p.shifts(ref.Member, depth+1))
	})
}

// having demands of a condition on a measure that it is in the rollup, and that numbers are compared.
func (m *match) having(c condition) string {
	if why := m.measure(c.member); why != "" {
		return "and " + why
	}
	switch c.operator {
	case query.Set, query.NotSet:
		return ""
	case query.Equals, query.NotEquals, query.In, query.NotIn, query.GT, query.GTE, query.LT, query.LTE:
		switch {
		case c.member.ResultType() != datamodel.Number,
			slices.ContainsFunc(c.values, func(v query.Value) bool { return !v.Null && !number.MatchString(strings.TrimSpace(v.Text)) }):
		case m.external() && !keepsDigits(c.values):
			return tooManyDigits
		default:
			return ""
		}
	}
	return "and compares what is no number"
}

// rangesHeld demands that date ranges mean the same of the buckets of the rollup as of the times in them, but for buckets in which
// a range begins or ends, if the model allows these.
func (m *match) rangesHeld() string {
	for _, c := range m.q.ranges {
		var finest *column
		for i, own := range m.grouping() {
			if own.base != c.member.base || own.granularity == "" || granularity(own).SQL != nil {
				continue
			}
			if finest == nil || granularity(own).Every.Length() < granularity(*finest).Every.Length() {
				finest = &m.columns[i]
			}
		}
		if finest == nil {
			return fmt.Sprintf("the time dimension %s is not in it", c.member.FullName())
		}
		m.ranges = append(m.ranges, finest)
		r := Span{}
		for i, to := range []*time.Time{&r.From, &r.To} {
			var err error
			if *to, err = time.Parse(wallTime, c.dates.Texts[i]); err != nil {
				return "its date range cannot be read"
			}
		}
		r.To = r.To.Add(time.Millisecond)
		g := granularity(*finest)
		last := m.q.bucket(r.To.Add(-time.Millisecond), g)
		switch {
		case astride(r.From, m.loc) || astride(r.To, m.loc):
			return fmt.Sprintf("the range of %s begins or ends in an hour that the clocks of %s show twice, or skip", c.member.FullName(), m.zone)
		case !m.pre.AllowNonStrict && (!m.q.bucket(r.From, g).Equal(r.From) || !m.q.bucket(r.To, g).Equal(r.To)):
			return fmt.Sprintf("the range of %s begins or ends within a bucket of its %s, and allow_non_strict_date_range_match is false", c.member.FullName(), g.Name)
		}
		r.To = m.q.after(last, g)
		m.asked = append(m.asked, r)
	}
	return ""
}

// reach returns what the query is about of the time by which pre is partitioned: all of it where that is nil.
func (m *match) reach(pre *datamodel.PreAggregation) (needed *Span) {
	for i, c := range m.q.ranges {
		if pre.Partition == "" || c.member.base != pre.Times[0].Member {
			continue
		}
		r := m.asked[i]
		if needed != nil {
			r = Span{From: later(r.From, needed.From), To: earlier(r.To, needed.To)}
		}
		needed = &r
	}
	return needed
}

// additive demands of measures that are no sum of parts that each group of the query is one group of the rollup.
func (m *match) additive() string {
	for _, leaf := range m.leaves() {
		switch leaf.Type {
		case datamodel.Count, datamodel.Sum, datamodel.Min, datamodel.Max:
			continue
		}
		if why := m.groupsAreOne(); why != "" {
			return fmt.Sprintf("%s cannot be added up, and %s", leaf.FullName(), why)
		}
		if leaf.Expression() && len(m.q.grouping()) == 0 {
			return fmt.Sprintf("what %s is of no rows is only known to the source", leaf.FullName())
		}
	}
	return ""
}

// leaves returns the measures of the rollup that the query reads.
func (m *match) leaves() []*datamodel.Member {
	var all []*datamodel.Member
	add := func(c member) { all = append(all, m.q.formula(c.base).of...) }
	for _, c := range m.q.measures() {
		add(c.member)
	}
	for _, c := range m.q.groups {
		c.each(func(c condition) { add(c.member) })
	}
	return all
}

// groupsAreOne says why a group of the query may be several groups of the rollup: something by which the rollup is grouped is
// neither selected nor one value, or a group is in several partitions.
func (m *match) groupsAreOne() string {
	if len(m.parts) > 0 {
		return "it is read from rollups that have more groups, and are joined"
	}
	for _, own := range m.grouping() {
		selected := slices.ContainsFunc(m.q.grouping(), func(c column) bool { return c.base == own.base && c.granularity == own.granularity })
		held := slices.ContainsFunc(m.q.segments, func(s member) bool { return s.base == own.base })
		pinned := slices.ContainsFunc(m.q.rows, func(c condition) bool {
			return c.group == nil && c.member.base == own.base && own.granularity == "" && c.operator == query.Equals && len(c.values) == 1
		})
		if !selected && !held && !pinned {
			name := own.FullName()
			if own.granularity != "" {
				name += " by " + own.granularity
			}
			return fmt.Sprintf("it is grouped by %s, which the query is not", name)
		}
	}
	if m.pre.Partition != "" {
		g := granularity(*m.has(m.pre.Times[0].Member, m.pre.Times[0].Granularity))
		if !isUnit(g) || !m.q.fits(g.Every, partitionGranularity(m.pre.Partition)) {
			return fmt.Sprintf("a %s of it may be in several partitions", g.Name)
		}
	}
	return ""
}

// partitionGranularity returns a standard granularity.
func partitionGranularity(name string) datamodel.Granularity {
	return datamodel.Granularity{Name: name, Every: datamodel.Unit(name)}
}

// uncut is how many rows a page has when nobody asks for fewer.
const uncut = 10_000

// compared demands that texts which the rollup has apart are apart in the source, and that the order of texts cuts nothing off.
func (m *match) compared() string {
	texts := m.q.d.Habits().Texts
	if texts == Binary || !m.external() {
		return ""
	}
	text := func(c column) bool { return c.Type == datamodel.String || c.Type == datamodel.Geo }
	for _, c := range m.q.grouping() {
		if !text(c) || texts != Folded {
			continue
		}
		if why := m.groupsAreOne(); why != "" {
			return fmt.Sprintf("texts of %s that are equal in the source may be apart in it, and %s", c.FullName(), why)
		}
	}
	for _, by := range m.q.order() {
		if c := m.q.columns[by.column]; text(c) && (m.q.q.Offset > 0 || m.q.q.Limit != nil && *m.q.q.Limit < uncut) {
			return fmt.Sprintf("the page is cut in the order of %s, and texts have another order in the source than in DuckDB", c.FullName())
		}
	}
	return ""
}

// narrows reports whether a condition on m that stands in place of fp in SQL of c leaves out rows that it leaves out outside,
// too, and changes nothing else. It does where it is on the same column, and one of the conditions of a statement that takes
// rows as they are.
func (s scope) narrows(c *datamodel.Cube, fp datamodel.FilterParam, m *datamodel.Member) bool {
	if s.rowsOf != c || c.SQL == nil || m.Cube != c.Name || m.SQL == nil || len(m.SQL.Nodes) != 1 || fp.Column.Lambda || fp.Column.Body != nil {
		return false
	}
	own, ok := m.SQL.Nodes[0].(datamodel.Text)
	column := strings.TrimSpace(fp.Column.SQL)
	if _, name, qualified := strings.Cut(column, "."); qualified {
		column = name
	}
	if !ok || !identifier.MatchString(column) || column != strings.TrimSpace(string(own)) {
		return false
	}
	rows, err := s.p.rendered(c.SQL)
	if err != nil {
		return false
	}
	var all strings.Builder
	for _, n := range rows.Nodes {
		switch n := n.(type) {
		case datamodel.Text:
			all.WriteString(string(n))
		case datamodel.FilterParam, datamodel.FilterGroup:
			all.WriteString(" \x01 ")
		default:
			all.WriteString(" \x00 ")
		}
	}
	sql := all.String()
	begin := takenRows.FindString(sql)
	params := strings.Count(sql, "\x01")
	return begin != "" && !otherRows.MatchString(sql[len(begin):]) &&
		len(oneOfAll[0].FindAllString(sql, -1)) == params && len(oneOfAll[1].FindAllString(sql, -1)) == params
}

var (
	// takenRows is the beginning of a statement that takes the rows of a table, or of SQL in its place, as they are.
	takenRows = regexp.MustCompile("(?i)^\\s*select\\s+\\*\\s+from\\s+([\\w\\-`\".]+|\\(?\\s*\x00\\s*\\)?)(\\s+as)?(\\s+\\w+)?\\s+where\\b")

	// otherRows is what would make others of them, or turn a condition around.
	otherRows = regexp.MustCompile(`(?i)\b(select|group|having|distinct|union|intersect|except|minus|order|limit|offset|fetch|top|window|over|qualify|` +
		`sample|tablesample|connect|start|case|not\s*\()\b|--|/\*|#`)

	// oneOfAll are what stands before and after a condition that must hold beside others.
	oneOfAll = []*regexp.Regexp{regexp.MustCompile("(?i)\\b(where|and)[\\s(]*\x01"), regexp.MustCompile("(?i)\x01[\\s)]*(\\band\\b|$)")}
)
