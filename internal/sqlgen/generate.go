package sqlgen

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/query"
	"github.com/behalf-project/behalf/internal/securitycontext"
)

// Generate plans a normalized query for one security context. What it refuses is fault.Invalid, with Cube's own words
// where it has some. It is safe for concurrent use.
func Generate(m *datamodel.Model, sc securitycontext.Context, q query.Query, o Options) (Plan, error) {
	loc, err := query.Zone(q.Timezone)
	if err != nil {
		return Plan{}, err
	}
	p := &planner{model: m, sc: sc, q: q, o: o, zone: loc.String(), loc: loc,
		touched: new([]*datamodel.Cube), scripts: map[*datamodel.Template]script{}}
	if err := p.resolve(); err != nil {
		return Plan{}, err
	}
	body, err := p.body()
	if err != nil {
		return Plan{}, err
	}
	plan := p.plan(body)
	if err := p.freshness(&plan); err != nil {
		return Plan{}, err
	}
	p.findRollup(&plan)
	return plan, nil
}

// planner holds one query on its way to a Plan.
type planner struct {
	model *datamodel.Model
	sc    securitycontext.Context
	q     query.Query
	o     Options
	zone  string
	loc   *time.Location

	columns  []column    // dimensions, then measures
	ranges   []condition // of time dimensions
	segments []member
	rows     []condition // filters on rows: WHERE
	groups   []condition // filters on groups of rows: HAVING
	pushable []condition // what FILTER_PARAMS may use: ranges and rows

	subqueries []subquery
	value      *datamodel.Member // of the sub-query that is planned; nil in the query itself

	remade *datamodel.Cube // whose SQL took a condition in a way that may make other rows of it, if any did

	granted []condition // what access policies and row rules demand of rows: WHERE
	nothing bool        // they let no row through
	masks   map[*datamodel.Member]mask

	names []string // all members the query names

	touched *[]*datamodel.Cube // whose rows the SQL reads, each once; shared with the planners of sub-queries

	scripts  map[*datamodel.Template]script // what they made
	formulas map[*datamodel.Member]formula  // of measures, for rollups
	depth    int                            // of SQL in SQL
	open     []*datamodel.Member            // whose references are being collected
	cycle    *datamodel.Member              // one that refers to itself, if any does

	originals *originals // from which rows are taken in place of the sql of cubes; nil: none. Shared with the planners of sub-queries

	tree       *tree
	d          Dialect
	dataSource string
}

// resolve finds members, the tree of joins and the data source.
func (p *planner) resolve() error {
	if err := p.selectColumns(); err != nil {
		return err
	}
	for _, td := range p.q.TimeDimensions {
		m, err := p.timeDimension(td)
		if err != nil {
			return err
		}
		if td.DateRange != nil {
			p.ranges = append(p.ranges, condition{member: m, operator: query.InDateRange, dates: td.DateRange})
		}
	}
	for _, name := range p.q.Segments {
		m, err := p.member(name, datamodel.Segment)
		if err != nil {
			return err
		}
		p.segments = append(p.segments, m)
	}
	conditions, err := p.conditions(p.q.Filters)
	if err != nil {
		return err
	}
	for _, c := range conditions {
		measureFilter := false
		c.each(func(c condition) { measureFilter = measureFilter || c.operator == query.MeasureFilter })
		switch {
		case measureFilter && c.group != nil:
			return refusal("The operator measureFilter cannot be used in a group")
		case c.measures && !measureFilter && p.q.Ungrouped:
			return refusal("Measure filters aren't allowed in ungrouped query")
		case c.measures && !measureFilter:
			p.groups = append(p.groups, c)
		default:
			p.rows = append(p.rows, c)
		}
	}
	if err := p.restrict(); err != nil {
		return err
	}
	p.pushable = append(append(p.pushable, p.ranges...), p.rows...)
	if err := p.findSubqueries(); err != nil {
		return err
	}
	if err := p.joinAll(); err != nil {
		return err
	}
	return p.source()
}

// joinAll finds the joins, and what the row rules of all joined cubes demand.
func (p *planner) joinAll() error {
	for {
		if err := p.joinMembers(); err != nil {
			return err
		}
		if more, err := p.rule(); err != nil || !more {
			return err
		}
		if err := p.findSubqueries(); err != nil {
			return err
		}
	}
}

// joinMembers finds the joins. The members are given in the order in which Cube considers their cubes as roots.
func (p *planner) joinMembers() error {
	var (
		h   hints
		all []member
	)
	for _, c := range slices.Concat(p.measures(), p.grouping()) {
		if c.granularity == "" {
			all = append(all, c.member)
		}
	}
	all = append(all, p.segments...)
	for _, conditions := range [][]condition{p.rows, p.groups, p.ranges} {
		for _, c := range conditions {
			c.each(func(c condition) { all = append(all, c.member) })
		}
	}
	for _, c := range p.grouping() {
		if c.granularity != "" {
			all = append(all, c.member)
		}
	}
	for _, m := range all {
		p.names = appendNew(p.names, m.FullName())
		p.collect(&h, m)
	}
	for _, c := range p.policyConditions() { // last: they are not the query's, and choose no root
		c.each(func(c condition) { p.collect(&h, c.member) })
	}
	for _, hint := range p.q.JoinHints {
		for _, cube := range hint {
			if c := p.model.Cube(cube); c == nil || c.View {
				return refusal("Cube '%s' not found for path '%s'", cube, strings.Join(hint, "."))
			}
		}
		h.add(hint)
	}
	var err error
	if p.tree, err = p.join(h); err == nil && p.cycle != nil {
		err = refersToItself(p.cycle.FullName())
	}
	return err
}

func appendNew(list []string, s string) []string {
	for _, have := range list {
		if have == s {
			return list
		}
	}
	return append(list, s)
}

// source finds the one data source of all cubes, and its dialect.
func (p *planner) source() error {
	for i, name := range p.tree.cubes() {
		c := p.model.Cube(name)
		if i > 0 && c.DataSource != p.dataSource {
			return refusal("Cubes '%s' and '%s' cannot be joined: their data sources are '%s' and '%s'",
				p.tree.root, name, p.dataSource, c.DataSource)
		}
		p.dataSource = c.DataSource
	}
	var err error
	p.d, err = p.o.Dialect(p.dataSource)
	return err
}

// body returns the query without order, limit and offset.
func (p *planner) body() (Fragment, error) {
	if err := p.makeSubqueries(); err != nil {
		return Fragment{}, err
	}
	if p.q.Ungrouped {
		return p.plainSelect("", p.tree)
	}
	parts, err := p.parts()
	if err != nil {
		return Fragment{}, err
	}
	if parts == nil {
		return p.plainSelect("", p.tree)
	}
	return p.partedSelect(parts)
}

// plainSelect returns one SELECT over the tree.
func (p *planner) plainSelect(prefix string, t *tree) (Fragment, error) {
	s := scope{p: p, prefix: prefix, tree: t}
	var list []Fragment
	for _, c := range p.columns {
		value := s.selected
		if c.Kind == datamodel.Measure {
			value = func(c column) (Fragment, error) { return s.measure(c.base) }
		}
		f, err := value(c)
		if err != nil {
			return f, err
		}
		list = append(list, Format("{} "+p.d.Quote(c.alias), f))
	}
	from, err := s.fromWhere()
	if err != nil {
		return from, err
	}
	f := Format("SELECT {}\nFROM {}", join(list, ", "), from)
	if p.q.Ungrouped {
		return f, nil
	}
	f.addText(groupBy(len(p.grouping())))
	having, err := p.having(s)
	if err != nil || having.empty() {
		return f, err
	}
	return Format("{} HAVING {}", f, having), nil
}

// groupBy returns GROUP BY 1, 2, … n.
func groupBy(n int) string {
	if n == 0 {
		return ""
	}
	numbers := make([]string, n)
	for i := range numbers {
		numbers[i] = strconv.Itoa(i + 1)
	}
	return "\nGROUP BY " + strings.Join(numbers, ", ")
}

// having returns the filters on measures, ANDed.
func (p *planner) having(s scope) (Fragment, error) {
	var parts []Fragment
	for _, c := range p.groups {
		f, err := s.where(c, func(m member) (Fragment, error) { return s.measure(m.base) })
		if err != nil {
			return f, err
		}
		parts = append(parts, Format("({})", f))
	}
	return join(parts, " AND "), nil
}

// fromWhere returns the tables of the tree, joined, and the filters on their rows.
func (s scope) fromWhere() (Fragment, error) {
	f, err := s.joined()
	if err != nil {
		return f, err
	}
	var parts []Fragment
	raw := func(m member) (Fragment, error) { return s.dimension(m.base) }
	add := func(c condition) error {
		part, err := s.where(c, raw)
		parts = append(parts, Format("({})", part))
		return err
	}
	for _, c := range s.p.ranges {
		if err := add(c); err != nil {
			return f, err
		}
	}
	for _, m := range s.p.segments {
		part, err := s.dimension(m.base)
		if err != nil {
			return f, err
		}
		parts = append(parts, Format("({})", part))
	}
	for _, c := range s.p.rows {
		if err := add(c); err != nil {
			return f, err
		}
	}
	granted, err := s.policyRows(s.p.granted, " AND ")
	if err != nil {
		return f, err
	}
	if !granted.empty() {
		parts = append(parts, granted)
	}
	if s.p.nothing {
		parts = append(parts, text("1 = 0"))
	}
	if len(parts) == 0 {
		return f, nil
	}
	return Format("{}\nWHERE {}", f, join(parts, " AND ")), nil
}

// joined returns the tables of the scope's tree.
func (s scope) joined() (Fragment, error) {
	root := s.p.model.Cube(s.tree.root)
	f, err := s.from(root)
	if err != nil {
		return f, err
	}
	return s.after(f, root)
}

// after returns f, in which the table of the root stands, with the sub-queries of the root and the rest of the tree.
func (s scope) after(f Fragment, root *datamodel.Cube) (Fragment, error) {
	own, err := s.subqueriesOf(root)
	if err != nil {
		return f, err
	}
	rest, err := s.rest()
	return Format("{}{}{}", f, own, rest), err
}

// rest returns the joins of the scope's tree. Rows are joined by the values themselves, masked or not.
func (s scope) rest() (Fragment, error) {
	s.raw = true
	joined := s
	joined.optional = true
	var f Fragment
	for _, j := range s.tree.joins {
		table, err := joined.from(s.p.model.Cube(j.To))
		if err != nil {
			return f, err
		}
		on, err := s.eval(s.p.model.Cube(j.From), j.SQL, nil)
		if err != nil {
			return f, err
		}
		own, err := s.subqueriesOf(s.p.model.Cube(j.To))
		if err != nil {
			return f, err
		}
		f.add(Format("\nLEFT JOIN {} ON {}{}", table, on, own))
	}
	return f, nil
}
