package cubesql

import (
	"slices"
	"strconv"
	"strings"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/query"
)

// Select is a SELECT as the query that has its rows.
type Select struct {
	Query   query.Query
	Columns []Column // as the SELECT lists them
}

// Column is a column of a SELECT. Several may be the same one of the query.
type Column struct {
	Name        string // its alias, or that of the member, or the function
	Member      *datamodel.Member
	Granularity string // of a time that is cut
}

// Select returns the query that has the rows of a SELECT, and the columns of that. Its order is always given: where the SELECT has
// none, neither has the query. maxLimit is what a query may have; without LIMIT, the query API's own limit holds. What is refused
// is fault.Invalid, and begins with the line and column.
func (c *Catalog) Select(statement string, maxLimit int) (Select, error) {
	s, err := parse(statement)
	if err != nil {
		return Select{}, err
	}
	tables, err := c.tables(s.tables)
	if err != nil {
		return Select{}, err
	}
	v := &converter{model: c.model, tables: tables, q: query.Query{
		Dimensions: []string{}, TimeDimensions: []query.TimeDimension{}, Filters: []query.Filter{}, Order: []query.Order{},
	}}
	for _, t := range tables[1:] {
		v.q.JoinHints = append(v.q.JoinHints, t.path)
	}
	for _, step := range []func(*selection) error{v.selectItems, v.groupBy, v.filter, v.orderBy} {
		if err := step(s); err != nil {
			return Select{}, err
		}
	}
	if err := v.page(s, maxLimit); err != nil {
		return Select{}, err
	}
	out := Select{Query: v.q}
	for i, item := range s.items {
		c := v.columns[i]
		out.Columns = append(out.Columns, Column{item.name(c), c.Member, c.granularity})
	}
	return out, nil
}

// name returns what a column is called: its alias, or as PostgreSQL would call it.
func (i item) name(s selected) string {
	switch e := i.expr.(type) {
	case *call:
		if i.alias.kind == end {
			return strings.ToLower(e.name)
		}
	default:
		if i.alias.kind == end {
			return s.Name
		}
	}
	return i.alias.text
}

// converter makes the query of one statement.
type converter struct {
	model   *datamodel.Model
	tables  []*table
	q       query.Query
	columns []selected
	count   int // of conditions
}

// selected is a column of the result, or something that could be one.
type selected struct {
	*datamodel.Member
	granularity string // of a time dimension
	aggregated  bool   // of a measure: by MEASURE or another function, and not as it is
}

// id returns how a query names the column in its order.
func (s selected) id() string {
	if s.granularity != "" {
		return s.FullName() + "." + s.granularity
	}
	return s.FullName()
}

// same reports whether both are the same column of a result.
func (s selected) same(o selected) bool {
	return s.Member == o.Member && s.granularity == o.granularity
}

// selectItems finds the columns of the result.
func (v *converter) selectItems(s *selection) error {
	for _, i := range s.items {
		one, err := v.column(i.expr)
		if err != nil {
			return err
		}
		switch v.columns = append(v.columns, one); {
		case one.Kind == datamodel.Segment:
			return i.expr.at().fail("%s is a segment, which is a condition: it can stand in WHERE", one.FullName())
		case one.Kind == datamodel.Measure:
			v.q.Measures = appendNew(v.q.Measures, one.FullName())
		case one.granularity == "":
			v.q.Dimensions = appendNew(v.q.Dimensions, one.FullName())
		default:
			td := query.TimeDimension{Dimension: one.FullName(), Granularity: one.granularity}
			if !slices.ContainsFunc(v.q.TimeDimensions, func(o query.TimeDimension) bool {
				return o.Dimension == td.Dimension && o.Granularity == td.Granularity
			}) {
				v.q.TimeDimensions = append(v.q.TimeDimensions, td)
			}
		}
	}
	return nil
}

func appendNew(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

// column finds the member that an expression of the select list, or one beside it, means.
func (v *converter) column(e expr) (selected, error) {
	switch e := e.(type) {
	case *column:
		m, err := e.member(v.tables)
		return selected{Member: m}, err
	case *call:
		if e.name == "DATE_TRUNC" {
			return v.truncated(e)
		}
		m, err := v.aggregate(e)
		return selected{Member: m, aggregated: true}, err
	case *star:
		return selected{}, e.fail("* is not possible; name the columns")
	}
	return selected{}, e.at().fail("a dimension, DATE_TRUNC of a time, or MEASURE() of a measure is expected here; the query API calculates nothing else")
}

// truncated finds what DATE_TRUNC cuts.
func (v *converter) truncated(e *call) (selected, error) {
	if len(e.args) != 2 || e.distinct {
		return selected{}, e.fail("DATE_TRUNC has a granularity in quotes and a time dimension: DATE_TRUNC('month', created_at)")
	}
	unit, ok := e.args[0].(*literal)
	if !ok || unit.kind != text {
		return selected{}, e.args[0].at().fail("the granularity of DATE_TRUNC is a string, such as 'month'")
	}
	of, ok := e.args[1].(*column)
	if !ok {
		return selected{}, e.args[1].at().fail("DATE_TRUNC cuts a time dimension")
	}
	m, err := of.member(v.tables)
	if err != nil {
		return selected{}, err
	}
	if m.Kind != datamodel.Dimension || m.Type != datamodel.Time {
		return selected{}, of.fail("DATE_TRUNC cuts a time dimension, and %s is %s", m.FullName(), kindOf(m))
	}
	for _, name := range []string{unit.text, strings.ToLower(unit.text)} {
		if g, ok := m.Granularity(name); ok {
			return selected{Member: m, granularity: g.Name}, nil
		}
	}
	all := slices.Clone(datamodel.Granularities)
	for _, g := range m.Granularities {
		all = appendNew(all, g.Name)
	}
	return selected{}, unit.fail("%s has no granularity %q; it has %s", m.FullName(), clip(unit.text), strings.Join(all, ", "))
}

// functions are those that aggregate measures of a type, beside MEASURE, which does so with all (Cube's SQL API, "Query
// format").
var functions = map[string][]string{
	datamodel.Avg: {"AVG"}, datamodel.Count: {"COUNT"}, datamodel.Max: {"MAX"}, datamodel.Min: {"MIN"}, datamodel.Sum: {"SUM"},
	datamodel.CountDistinct: {"COUNT DISTINCT"}, datamodel.CountDistinctApprox: {"COUNT DISTINCT"}, datamodel.Time: {"MAX", "MIN"},
	datamodel.Number: {"AVG", "COUNT", "COUNT DISTINCT", "MAX", "MIN", "SUM"},
}

// aggregate finds the measure that a function aggregates.
func (v *converter) aggregate(e *call) (*datamodel.Member, error) {
	name := e.name
	if e.distinct {
		name += " DISTINCT"
	}
	if !slices.Contains(functions[datamodel.Number], name) && name != "MEASURE" {
		return nil, e.fail("the function %s is not possible: MEASURE, COUNT, SUM, AVG, MIN and MAX of a measure are, and DATE_TRUNC of a time dimension", clip(name))
	}
	if len(e.args) != 1 {
		return nil, e.fail("%s has one measure in its parentheses", name)
	}
	if _, all := e.args[0].(*star); all && name == "COUNT" {
		return v.counts(e)
	}
	of, ok := e.args[0].(*column)
	if !ok {
		return nil, e.args[0].at().fail("%s aggregates a measure of the data model, and nothing else", name)
	}
	m, err := of.member(v.tables)
	switch {
	case err != nil:
		return nil, err
	case m.Kind != datamodel.Measure:
		return nil, of.fail("%s is %s, and %s aggregates measures; add one to the data model for it", m.FullName(), kindOf(m), name)
	case name != "MEASURE" && !slices.Contains(functions[m.Type], name):
		return nil, e.fail("Measure aggregation type doesn't match: %s is %s; write MEASURE(%s)", m.FullName(), kindOf(m), m.Name)
	}
	return m, nil
}

// counts finds the measure that counts all rows of the one cube that is read.
func (v *converter) counts(e *call) (*datamodel.Member, error) {
	t := v.tables[0]
	joined := func(m *datamodel.Member) bool { return m.Source != nil && len(m.Source.Path) > 1 }
	if len(v.tables) > 1 || slices.ContainsFunc(t.members, joined) {
		return nil, e.fail("COUNT(*) counts the rows of one cube, and here some are joined; write MEASURE() of the count that is meant")
	}
	for _, m := range t.members {
		if v.countsRows(m) {
			return m, nil
		}
	}
	return nil, e.fail("%s has no measure that counts its rows, which is one of type count without filters", t.cube.Name)
}

// countsRows reports whether m counts all rows of its cube: the cube's rows as such, or its keys, of which each row has one.
func (v *converter) countsRows(m *datamodel.Member) bool {
	if m.Source != nil {
		m = m.Source.Member
	}
	if m.Kind != datamodel.Measure || m.Type != datamodel.Count || len(m.Filters) > 0 || m.Window != nil {
		return false
	}
	keys := v.model.Cube(m.Cube).PrimaryKey()
	return m.SQL == nil || len(keys) == 1 && keys[0].SQL != nil && m.SQL.Source != "" && m.SQL.Source == keys[0].SQL.Source
}

// groupBy checks that groups and columns agree: a query groups by all its dimensions, and shows all that it groups by.
func (v *converter) groupBy(s *selection) error {
	aggregated := s.having != nil || slices.ContainsFunc(v.columns, func(c selected) bool { return c.aggregated })
	grouped := aggregated || s.distinct || len(s.groups) > 0
	v.q.Ungrouped = !grouped
	if !grouped {
		return nil
	}
	var by []selected
	for _, e := range s.groups {
		g, err := v.group(s, e)
		if err != nil {
			return err
		}
		by = append(by, g)
	}
	for i, c := range v.columns {
		at := s.items[i].expr.at()
		switch {
		case c.Kind == datamodel.Measure && !c.aggregated:
			return at.fail("%s is a measure; write MEASURE(%s) where rows are grouped", c.FullName(), c.Name)
		case c.aggregated || len(by) == 0 && !aggregated:
		case !slices.ContainsFunc(by, c.same):
			return at.fail("%s is selected and not grouped by; add it to GROUP BY", c.id())
		}
	}
	return nil
}

// group finds one of the select list's columns by which rows are grouped.
func (v *converter) group(s *selection, e expr) (selected, error) {
	g, err := v.named(s, e, false)
	switch {
	case err != nil:
		return g, err
	case g.Kind == datamodel.Measure:
		return g, e.at().fail("%s is a measure, by which no rows are grouped; a condition on it can stand in HAVING", g.FullName())
	case !slices.ContainsFunc(v.columns, g.same):
		return g, e.at().fail("%s is grouped by and not selected; a query shows all that it groups by", g.id())
	}
	return g, nil
}

// named finds what an expression after GROUP BY or ORDER BY means: a column by its number, by the name that the select
// list gives it, or an expression. As in PostgreSQL, names of the list go first in ORDER BY, and last in GROUP BY.
func (v *converter) named(s *selection, e expr, listFirst bool) (selected, error) {
	if n, ok := e.(*literal); ok && n.kind == number && n.typ == "" {
		i, err := strconv.Atoi(n.text)
		if err != nil || i < 1 || i > len(v.columns) {
			return selected{}, n.fail("there is no column %s; the select list has %d", n.text, len(v.columns))
		}
		return v.columns[i-1], nil
	}
	inList := -1
	if c, ok := e.(*column); ok && len(c.path) == 1 {
		for i, one := range s.items {
			if _, ok := find(c.path[0], []token{one.alias}, func(t token) string { return t.text }); !ok || one.alias.kind == end {
				continue
			}
			if inList >= 0 && !v.columns[inList].same(v.columns[i]) {
				return selected{}, c.fail("two columns of the select list are called %q; write the number of the one that is meant", clip(c.path[0].text))
			}
			inList = i
		}
	}
	if inList >= 0 && listFirst {
		return v.columns[inList], nil
	}
	found, err := v.column(e)
	if err != nil && inList >= 0 {
		return v.columns[inList], nil
	}
	return found, err
}

func (v *converter) orderBy(s *selection) error {
	for _, o := range s.orders {
		by, err := v.named(s, o.expr, true)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(v.columns, by.same) {
			return o.expr.at().fail("%s is not selected; a query is sorted by what it shows", by.id())
		}
		if by.Kind == datamodel.Measure && !by.aggregated && !v.q.Ungrouped {
			return o.expr.at().fail("%s is a measure; write MEASURE(%s) where rows are grouped", by.FullName(), by.Name)
		}
		if !slices.ContainsFunc(v.q.Order, func(have query.Order) bool { return have.ID == by.id() }) { // what comes later decides nothing
			v.q.Order = append(v.q.Order, query.Order{ID: by.id(), Desc: o.desc})
		}
	}
	return nil
}

// page reads LIMIT and OFFSET.
func (v *converter) page(s *selection, maxLimit int) error {
	number := func(l *literal) (int, error) {
		n, err := strconv.Atoi(l.text)
		if err != nil || n > 1<<53 {
			return 0, l.fail("%s is no number of rows", l.text)
		}
		return n, nil
	}
	if s.limit != nil {
		n, err := number(s.limit)
		if err != nil {
			return err
		}
		if n > maxLimit {
			return s.limit.fail("a query has %d rows at most; ask for the rest with OFFSET", maxLimit)
		}
		v.q.Limit = &n
	}
	if s.offset == nil {
		return nil
	}
	var err error
	v.q.Offset, err = number(s.offset)
	return err
}
