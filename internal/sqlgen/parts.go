package sqlgen

import (
	"fmt"
	"slices"

	"github.com/behalf-project/behalf/internal/datamodel"
)

// part is a SELECT that computes some of the measures of a query in which joins repeat rows: those that stay right
// although rows repeat, or those of one cube, from the distinct keys of its rows.
type part struct {
	cube    *datamodel.Cube // whose keys; nil for the part over all rows
	rolling *rolling        // over which the windows of its measures move; nil for measures without
	leaves  []*datamodel.Member
}

// parts returns the SELECTs that the query needs, or nil when one over all rows is enough.
func (p *planner) parts() ([]part, error) {
	leaves := p.allLeaves()
	windows, err := p.findRolling(leaves)
	if err != nil {
		return nil, err
	}
	var all []part
	for _, leaf := range leaves {
		in := part{}
		if in.cube, err = p.keysOf(leaf); err != nil {
			return nil, err
		}
		if leaf.Window != nil {
			in.rolling = windows
		}
		i := slices.IndexFunc(all, func(k part) bool { return k.cube == in.cube && k.rolling == in.rolling })
		if i < 0 {
			i = len(all)
			all = append(all, in)
		}
		all[i].leaves = append(all[i].leaves, leaf)
	}
	if len(all) == 0 || len(all) == 1 && all[0].cube == nil && all[0].rolling == nil {
		return nil, nil
	}
	// Those with windows have all rows of the others; then come those over all rows.
	rank := func(pt part) int {
		switch {
		case pt.rolling != nil:
			return 0
		case pt.cube == nil:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(all, func(a, b part) int { return rank(a) - rank(b) })
	return all, nil
}

// allLeaves returns the measures from which those selected and filtered by are computed.
func (p *planner) allLeaves() []*datamodel.Member {
	var all []*datamodel.Member
	add := func(m member) {
		for _, leaf := range p.leaves(m.base) {
			if !slices.Contains(all, leaf) {
				all = append(all, leaf)
			}
		}
	}
	for _, c := range p.measures() {
		add(c.member)
	}
	for _, g := range p.groups {
		g.each(func(c condition) { add(c.member) })
	}
	return all
}

// keysOf returns the cube from whose distinct keys a measure must be computed, or nil when it is right over all rows.
func (p *planner) keysOf(m *datamodel.Member) (*datamodel.Cube, error) {
	c := p.model.Cube(m.Cube)
	inner := p.innerMeasures(m)
	// The value of a sub-query is grouped by the key of its cube, whose columns are those of one row in each group.
	if m == p.value || !p.tree.multiplied(c.Name) {
		for _, i := range inner {
			if keys, err := p.keysOf(i); err != nil || keys != nil {
				return nil, multiplies(m)
			}
		}
		return nil, nil
	}
	keys := len(c.PrimaryKey())
	switch m.Type {
	case datamodel.CountDistinct, datamodel.CountDistinctApprox, datamodel.Min, datamodel.Max:
		return nil, nil
	case datamodel.Count:
		// Keys of several columns would be counted as one text, in which two keys can look alike.
		if m.SQL == nil && keys == 1 {
			return nil, nil
		}
	}
	if keys == 0 {
		return nil, needsKey(c)
	}
	for _, i := range inner {
		if i.Cube != m.Cube {
			return nil, multiplies(m)
		}
	}
	return c, nil
}

// innerMeasures returns the measures inside an expression that must be evaluated where the rows are.
func (p *planner) innerMeasures(m *datamodel.Member) []*datamodel.Member {
	if !m.Expression() {
		return nil
	}
	var inner []*datamodel.Member
	for _, ref := range p.references(p.model.Cube(m.Cube), templates(m)) {
		if ref.Member != nil && ref.Member.Kind == datamodel.Measure {
			inner = append(inner, p.leaves(ref.Member)...)
		}
	}
	return inner
}

func multiplies(m *datamodel.Member) error {
	return refusal("'%s' references cubes that lead to row multiplication. Please rewrite it using sub query.", m.FullName())
}

// partedSelect joins parts on the dimensions. Each part has a row for every combination of them, for all have the
// same joins and filters on rows; those with rolling windows have more, and come first.
func (p *planner) partedSelect(parts []part) (Fragment, error) {
	var (
		from Fragment
		home = map[*datamodel.Member]int{}
	)
	for i, part := range parts {
		for _, leaf := range part.leaves {
			home[leaf] = i
		}
		f, err := p.part(part)
		if err != nil {
			return f, err
		}
		f = Format("({}) AS "+p.name(i), f)
		switch on := p.sameDimensions(i); {
		case i == 0:
			from = f
		case on.empty():
			from = Format("{}\nCROSS JOIN {}", from, f)
		case parts[0].rolling != nil:
			from = Format("{}\nLEFT JOIN {} ON {}", from, f, on)
		default:
			from = Format("{}\nINNER JOIN {} ON {}", from, f, on)
		}
	}
	outer := scope{p: p, measureAs: func(m *datamodel.Member) (Fragment, bool) {
		i, ok := home[m]
		return text(p.name(i) + "." + p.d.Quote(p.leafAlias(m))), ok
	}}
	var list []Fragment
	for _, c := range p.grouping() {
		list = append(list, text(p.name(0)+"."+p.d.Quote(c.alias)+" "+p.d.Quote(c.alias)))
	}
	for _, c := range p.measures() {
		f, err := outer.measure(c.base)
		if err != nil {
			return f, err
		}
		list = append(list, Format("{} "+p.d.Quote(c.alias), f))
	}
	f := Format("SELECT {}\nFROM {}", join(list, ", "), from)
	having, err := p.having(outer)
	if err != nil || having.empty() {
		return f, err
	}
	return Format("{}\nWHERE {}", f, having), nil
}

// name returns the name of the i-th part.
func (p *planner) name(i int) string { return fmt.Sprintf("q_%d", i) }

func (p *planner) leafAlias(m *datamodel.Member) string {
	return memberAlias(p.model.Cube(m.Cube), m)
}

// sameDimensions returns the condition that the i-th part has the dimensions of the first, NULL included.
func (p *planner) sameDimensions(i int) Fragment {
	var parts []Fragment
	for _, c := range p.grouping() {
		a, b := text(p.name(0)+"."+p.d.Quote(c.alias)), text(p.name(i)+"."+p.d.Quote(c.alias))
		parts = append(parts, Format("({} = {} OR ({} IS NULL AND {} IS NULL))", a, b, a, b))
	}
	return join(parts, " AND ")
}

// part returns the SELECT of one part.
func (p *planner) part(pt part) (Fragment, error) {
	switch {
	case pt.rolling != nil:
		return p.rollingPart(pt)
	case pt.cube != nil:
		return p.keysPart(pt)
	}
	s := scope{p: p, tree: p.tree}
	list, err := s.dimensions()
	if err != nil {
		return Fragment{}, err
	}
	for _, leaf := range pt.leaves {
		f, err := s.measure(leaf)
		if err != nil {
			return f, err
		}
		list = append(list, Format("{} "+p.d.Quote(p.leafAlias(leaf)), f))
	}
	from, err := s.fromWhere()
	if err != nil {
		return from, err
	}
	f := Format("SELECT {}\nFROM {}", join(list, ", "), from)
	f.addText(groupBy(len(p.grouping())))
	return f, nil
}

// dimensions returns the columns to group by.
func (s scope) dimensions() ([]Fragment, error) {
	var list []Fragment
	for _, c := range s.p.grouping() {
		f, err := s.selected(c)
		if err != nil {
			return nil, err
		}
		list = append(list, Format("{} "+s.p.d.Quote(c.alias), f))
	}
	return list, nil
}

// keysPart returns measures of one cube: the distinct dimensions and keys of all rows, with the cube joined to them
// once more, so that each of its rows comes once for each combination of dimensions (cube-data-model.md §13).
func (p *planner) keysPart(pt part) (Fragment, error) {
	prefix := datamodel.Underscore(pt.cube.Alias) + "_key__"
	inner := scope{p: p, prefix: prefix, tree: p.tree}
	list, err := inner.dimensions()
	if err != nil {
		return Fragment{}, err
	}
	own, err := p.joinOwn(pt)
	if err != nil {
		return Fragment{}, err
	}
	outer := scope{p: p, prefix: prefix, tree: own, once: true}
	keys := p.d.Quote("keys")
	var on []Fragment
	for i, k := range pt.cube.PrimaryKey() {
		in, err := inner.itself(k)
		if err != nil {
			return in, err
		}
		out, err := outer.itself(k)
		if err != nil {
			return out, err
		}
		name := p.d.Quote(fmt.Sprintf("key_%d", i))
		list = append(list, Format("{} "+name, in))
		on = append(on, Format(keys+"."+name+" = {}", out))
	}
	distinct, err := inner.fromWhere()
	if err != nil {
		return distinct, err
	}
	joined, err := outer.joinedOn(join(on, " AND "))
	if err != nil {
		return joined, err
	}
	var outerList []Fragment
	for _, c := range p.grouping() {
		outerList = append(outerList, text(keys+"."+p.d.Quote(c.alias)+" "+p.d.Quote(c.alias)))
	}
	for _, leaf := range pt.leaves {
		f, err := outer.measure(leaf)
		if err != nil {
			return f, err
		}
		outerList = append(outerList, Format("{} "+p.d.Quote(p.leafAlias(leaf)), f))
	}
	f := Format("SELECT {}\nFROM (SELECT DISTINCT {}\nFROM {}) AS "+keys+"\nLEFT JOIN {}",
		join(outerList, ", "), join(list, ", "), distinct, joined)
	f.addText(groupBy(len(p.grouping())))
	return f, nil
}

// joinOwn returns the tree of the cubes that the measures of pt refer to, from their own cube. It must not repeat the
// rows of that cube.
func (p *planner) joinOwn(pt part) (*tree, error) {
	var h hints
	h.add([]string{pt.cube.Name})
	for _, leaf := range pt.leaves {
		p.collectBase(&h, leaf)
	}
	for range 1000 {
		t, err := p.joinFrom(0, h.paths)
		switch {
		case err != nil:
			return nil, err
		case t == nil:
			return nil, noPath(h.paths)
		case p.joinConditions(&h, t):
			continue
		case t.multiplied(pt.cube.Name):
			return nil, multiplies(pt.leaves[0])
		case slices.ContainsFunc(t.cubes(), func(name string) bool { return !p.tree.has(name) && len(p.model.Cube(name).Rules) > 0 }):
			return nil, multiplies(pt.leaves[0]) // the rules of a cube hold in the query's joins alone
		}
		p.sort(t)
		return t, nil
	}
	return nil, refusal("the joins of this query refer to one another without end")
}

// joinedOn returns the tables of the scope's tree, the first with a condition on what stands before it.
func (s scope) joinedOn(on Fragment) (Fragment, error) {
	root := s.p.model.Cube(s.tree.root)
	f, err := s.from(root)
	if err != nil {
		return f, err
	}
	return s.after(Format("{} ON {}", f, on), root)
}
