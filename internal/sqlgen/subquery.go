package sqlgen

import (
	"fmt"
	"slices"

	"github.com/behalf-project/behalf/internal/datamodel"
)

// subquery is a dimension over measures of other cubes: a grouped SELECT by the primary key of its own cube, joined to it
// (cube-data-model.md §12.6). The filters of every table, those of access policies included, hold inside it.
type subquery struct {
	*datamodel.Member
	beneath bool // it is reached through views alone
	sql     Fragment
}

// findSubqueries finds the sub-query dimensions among what the query reads.
func (p *planner) findSubqueries() error {
	find := func(m member) {
		for _, read := range p.reads(m.base) {
			if !read.SubQuery {
				continue
			}
			i := slices.IndexFunc(p.subqueries, func(s subquery) bool { return s.Member == read })
			if i < 0 {
				p.subqueries = append(p.subqueries, subquery{Member: read, beneath: true})
				i = len(p.subqueries) - 1
			}
			p.subqueries[i].beneath = p.subqueries[i].beneath && m.Source != nil
		}
	}
	for _, c := range p.columns {
		find(c.member)
	}
	for _, m := range p.segments {
		find(m)
	}
	for _, conditions := range [][]condition{p.ranges, p.rows, p.groups, p.policyConditions()} {
		for _, c := range conditions {
			c.each(func(c condition) { find(c.member) })
		}
	}
	return nil
}

// makeSubqueries plans the sub-queries of the query, whose joins and data source are known.
func (p *planner) makeSubqueries() error {
	for i := range p.subqueries {
		var err error
		if p.subqueries[i].sql, err = p.subquery(p.subqueries[i]); err != nil {
			return fmt.Errorf("%s: %w", p.subqueries[i].FullName(), err)
		}
	}
	return nil
}

// subquery returns the SELECT of one: the key of each row of its cube in key_0, key_1, …, and its value.
func (p *planner) subquery(s subquery) (Fragment, error) {
	if p.depth >= maxDepth {
		return Fragment{}, refersToItself(s.FullName())
	}
	cube := p.model.Cube(s.Cube)
	measure := *s.Member // as an expression over the measures
	measure.Kind, measure.SubQuery = datamodel.Measure, false
	in := &planner{model: p.model, sc: p.sc, o: p.o, zone: p.zone, loc: p.loc, d: p.d, dataSource: p.dataSource, value: &measure,
		touched: p.touched, scripts: p.scripts, originals: p.originals, depth: p.depth + subqueryDepth}
	for i, k := range cube.PrimaryKey() {
		in.columns = append(in.columns, column{member: p.named(k), alias: fmt.Sprintf("key_%d", i), key: true})
	}
	in.columns = append(in.columns, column{member: p.named(&measure), alias: "value"})
	if s.Propagate {
		p.propagate(in, s.Cube, p.reads(&measure))
	}
	if err := in.restrictSubquery(&measure, s.beneath); err != nil {
		return Fragment{}, err
	}
	in.pushable = in.rows
	if err := in.findSubqueries(); err != nil {
		return Fragment{}, err
	}
	if err := in.joinAll(); err != nil {
		return Fragment{}, err
	}
	if err := in.source(); err != nil {
		return Fragment{}, err
	}
	if in.dataSource != p.dataSource {
		return Fragment{}, refusal("its measures are of the data source '%s', and the query is of '%s'", in.dataSource, p.dataSource)
	}
	return in.body()
}

// propagate gives the sub-query in, of a dimension of cube, the filters and segments of p on what its measures can reach.
// What is itself made of sub-queries stays outside, as in Cube.
func (p *planner) propagate(in *planner, cube string, measures []*datamodel.Member) {
	reaches := func(m member) bool {
		if slices.ContainsFunc(p.reads(m.base), func(read *datamodel.Member) bool { return read.SubQuery }) {
			return false
		}
		return p.model.Path(cube, m.base.Cube) != nil || slices.ContainsFunc(measures, func(from *datamodel.Member) bool {
			return p.model.Path(from.Cube, m.base.Cube) != nil
		})
	}
	for _, c := range slices.Concat(p.ranges, p.rows) {
		all := true
		c.each(func(c condition) { all = all && reaches(c.member) })
		if all {
			in.rows = append(in.rows, c)
		}
	}
	for _, m := range p.segments {
		if reaches(m) {
			in.segments = append(in.segments, m)
		}
	}
}

// restrictSubquery applies the access policies to what a sub-query reads, for its value and for the filters that were
// propagated to it. The dimension itself is decided about where it is named.
func (p *planner) restrictSubquery(m *datamodel.Member, beneath bool) error {
	a := &access{p: p, rules: map[string][]rule{}}
	reads := p.reads(m)[1:]
	for _, s := range p.segments {
		reads = append(reads, p.reads(s.base)...)
	}
	for _, c := range p.rows {
		c.each(func(c condition) { reads = append(reads, p.reads(c.member.base)...) })
	}
	for _, read := range reads {
		ok, err := a.decide(decision{member: read, beneath: beneath})
		if err != nil {
			return err
		}
		a.nothing = a.nothing || !ok
	}
	p.granted, p.nothing, p.masks = a.granted, a.nothing, a.masks
	return nil
}

// subqueryAlias returns the name of the joined sub-query of m.
func (s scope) subqueryAlias(m *datamodel.Member) Fragment {
	c := s.p.model.Cube(m.Cube)
	return text(s.p.d.Quote(s.prefix + datamodel.Underscore(c.Alias) + "_" + datamodel.Underscore(m.Name) + "_subquery"))
}

// subqueriesOf joins the sub-queries of a cube whose table stands before.
func (s scope) subqueriesOf(c *datamodel.Cube) (Fragment, error) {
	var f Fragment
	for _, q := range s.p.subqueries {
		if q.Cube != c.Name {
			continue
		}
		alias := s.subqueryAlias(q.Member)
		var on []Fragment
		for i, k := range c.PrimaryKey() {
			key, err := s.itself(k)
			if err != nil {
				return f, err
			}
			on = append(on, Format("{}."+s.p.d.Quote(fmt.Sprintf("key_%d", i))+" = {}", alias, key))
		}
		f.add(Format("\nLEFT JOIN ({}) AS {} ON {}", q.sql, alias, join(on, " AND ")))
	}
	return f, nil
}
