package sqlgen

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/behalf-project/behalf/internal/datamodel"
)

// A rollup_join is read from rollups of several cubes: those of its joins that none of them has are made of their rows, as the source
// would make them of its own. It holds a query that a rollup with its members would hold, where no join of rows that are grouped
// already gives others than a join of rows that are grouped after it.

// matchJoined returns the rollup_join pre that reads the query from its rollups, or why it does not hold it.
func (p *planner) matchJoined(pre *datamodel.PreAggregation) (*Rollup, string) {
	b, err := p.preAggregation(pre)
	if err != nil {
		return nil, unbuildable(err)
	}
	m := &match{built: b, q: p, part: map[string]*built{}}
	r := &Rollup{Name: pre.FullName(), Type: pre.Type, Scheduled: pre.Scheduled}
	for _, of := range pre.Rollups {
		part, err := p.preAggregation(of)
		if err == nil {
			var rows *Rollup
			rows, err = part.rollup()
			m.parts, r.Parts = append(m.parts, part), append(r.Parts, rows)
		}
		if err != nil {
			return nil, fmt.Sprintf("its rollup %s: %s", of.FullName(), unbuildable(err))
		}
	}
	for _, check := range []func() string{m.placed, m.kept, m.holds, m.apart, r.ofOne} {
		if why := check(); why != "" {
			return nil, why
		}
	}
	from, why := m.joined()
	if why != "" {
		return nil, why
	}
	for i, part := range m.parts {
		r.Parts[i].Range = m.reach(part.pre)
	}
	return r, m.read(r, from)
}

// ofOne demands that the rows of all parts are of one credential, and kept at one place.
func (r *Rollup) ofOne() string {
	first := r.Parts[0]
	r.Shared, r.External, r.Schema, r.d = first.Shared, first.External, first.Schema, first.d
	for _, part := range r.Parts {
		switch {
		case part.External != r.External:
			return fmt.Sprintf("of its rollups %s and %s one is kept in the source, and the other is not", first.Name, part.Name)
		case part.Shared != r.Shared:
			return fmt.Sprintf("of its rollups %s and %s one is shared, and what one credential fetched is not read with what another did", first.Name, part.Name)
		}
	}
	return ""
}

// placed demands that each cube of its joins is in one of its rollups, joined there as here.
func (m *match) placed() string {
	for _, part := range m.parts {
		for _, name := range part.tree.cubes() {
			switch {
			case !m.tree.has(name):
				return fmt.Sprintf("its rollup %s joins %s, and it does not", part.pre.FullName(), name)
			case m.part[name] != nil:
				return fmt.Sprintf("%s is in two of its rollups, %s and %s", name, m.part[name].pre.FullName(), part.pre.FullName())
			case name != part.tree.root && m.tree.by[name] != part.tree.by[name]:
				return fmt.Sprintf("its rollup %s joins %s from %s, and it does from %s", part.pre.FullName(), name, part.tree.from(name), m.tree.from(name))
			}
			m.part[name] = part
		}
	}
	for _, name := range m.tree.cubes() {
		if m.part[name] == nil {
			return fmt.Sprintf("none of its rollups has the cube %s", name)
		}
	}
	return ""
}

// kept demands that one of its rollups keeps each of its members.
func (m *match) kept() string {
	for i, c := range m.columns {
		if m.keeper(&m.columns[i]) == nil {
			name := c.FullName()
			if c.granularity != "" {
				name += " by " + c.granularity
			}
			return fmt.Sprintf("none of its rollups has %s", name)
		}
	}
	return ""
}

// keeper returns what keeps a column: the rollup itself, or one of those that are joined.
func (m *match) keeper(c *column) *built {
	if len(m.parts) == 0 {
		return m.built
	}
	i := slices.IndexFunc(m.parts, func(part *built) bool { return part.has(c.base, c.granularity) != nil })
	if i < 0 {
		return nil
	}
	return m.parts[i]
}

// apart demands that each row of a rollup with a measure that is read meets as many rows of the other rollups as it would meet rows
// of the source: where these are entered from there, they are grouped by the primary key.
func (m *match) apart() string {
	for _, leaf := range m.leaves() {
		own := m.keeper(m.has(leaf, ""))
		entered := map[*built]string{} // those between it and the root, by which cube
		for at := own; at.tree.root != m.tree.root; {
			by := m.tree.by[at.tree.root]
			at = m.part[by.From]
			entered[at] = by.From
		}
		for _, part := range m.parts {
			cube := part.tree.root
			if by, ok := entered[part]; ok {
				cube = by
			}
			if part != own && !m.keyed(part, m.model.Cube(cube)) {
				return fmt.Sprintf("its rollup %s is not grouped by the primary key of %s, and rows of it that are one would count %s once", part.pre.FullName(), cube, leaf.FullName())
			}
		}
	}
	return ""
}

// keyed reports whether part has each row of a cube apart.
func (m *match) keyed(part *built, cube *datamodel.Cube) bool {
	keys := cube.PrimaryKey()
	return len(keys) > 0 && !slices.ContainsFunc(keys, func(k *datamodel.Member) bool {
		return part.has(k, "") == nil || k.Type == datamodel.Time || m.q.shifts(k, 0)
	})
}

// absent demands of a column that is read of a rollup which is joined to others that it is NULL where the join finds nothing, as it
// is in the source: an expression may be something else of NULLs.
func (m *match) absent(c *column) string {
	if len(m.parts) == 0 || m.keeper(c) == m.part[m.tree.root] || m.ofNothing(c.base, c.granularity) {
		return ""
	}
	return fmt.Sprintf("%s is computed, and in the source perhaps not NULL where the join to %s finds nothing", c.FullName(), m.keeper(c).tree.root)
}

// ofNothing reports whether a member is NULL, or counts and adds up nothing, of a row that no table has.
func (m *match) ofNothing(of *datamodel.Member, granularity string) bool {
	switch {
	case of.Kind == datamodel.Measure && of.SQL == nil:
		return !slices.ContainsFunc(m.model.Cube(of.Cube).PrimaryKey(), func(k *datamodel.Member) bool { return !m.ofNothing(k, "") })
	case of.Kind == datamodel.Segment || of.SQL == nil || of.SubQuery || of.Case != nil:
		return false
	case granularity != "":
		if g, _ := of.Granularity(granularity); g.SQL != nil {
			return false
		}
	}
	sql, err := m.q.rendered(of.SQL)
	if err != nil || len(sql.Nodes) == 0 || len(sql.Nodes) > 2 {
		return false
	}
	c := m.model.Cube(of.Cube)
	last, isText := sql.Nodes[len(sql.Nodes)-1].(datamodel.Text)
	column := strings.TrimSpace(string(last))
	if len(sql.Nodes) == 1 && isText {
		return identifier.MatchString(column)
	}
	first, isRef := sql.Nodes[0].(datamodel.Ref)
	if !isRef {
		return false
	}
	ref, problem := m.model.Lookup(c, first.Path)
	switch {
	case problem != "":
		return false
	case len(sql.Nodes) == 1:
		return ref.Member != nil && ref.Granularity == "" && ref.Member != of && m.ofNothing(ref.Member, "")
	}
	name, dotted := strings.CutPrefix(column, ".")
	return ref.Member == nil && isText && dotted && identifier.MatchString(name)
}

// joined returns the tables of the rollups, joined.
func (m *match) joined() (Fragment, string) {
	table := func(part *built) string { return m.reads().Quote(part.table()) }
	known := []*built{m.part[m.tree.root]}
	from := text(table(known[0]))
	for _, j := range m.tree.joins {
		part := m.part[j.To]
		if part == m.part[j.From] {
			continue
		}
		known = append(known, part)
		keys, why := m.keys(j)
		if why != "" {
			return from, fmt.Sprintf("the join of %s to %s %s", j.From, j.To, why)
		}
		var on []Fragment
		for _, k := range keys {
			i := slices.IndexFunc(known, func(part *built) bool { return part.has(k, "") != nil })
			if i < 0 {
				return from, fmt.Sprintf("the join of %s to %s compares %s, which none of its rollups has", j.From, j.To, k.FullName())
			}
			if own := known[i].has(k, ""); known[i] != part {
				if why := m.absent(own); why != "" {
					return from, why
				}
			}
			on = append(on, text(table(known[i])+"."+m.reads().Quote(known[i].has(k, "").alias)))
		}
		for i := 0; i < len(on); i += 2 {
			before := " AND "
			if i == 0 {
				before = "\nLEFT JOIN " + table(part) + " ON "
			}
			from = Format("{}"+before+"{} = {}", from, on[i], on[i+1])
		}
	}
	return from, ""
}

// equalities is what a condition looks like that compares dimensions, each of which is one character here.
var equalities = regexp.MustCompile(`(?i)^\s*\x00\s*=\s*\x00(\s+and\s+\x00\s*=\s*\x00)*\s*$`)

// keys returns the dimensions that a join compares, two and two, or says why those may not be equal that the source takes for equal.
func (m *match) keys(j *datamodel.Join) (keys []*datamodel.Member, why string) {
	of := fmt.Sprintf("is no comparison of their dimensions, as in {CUBE.x} = {%s.y}", j.To)
	sql, err := m.q.rendered(j.SQL)
	if err != nil {
		return nil, of
	}
	shape := ""
	for _, n := range sql.Nodes {
		switch n := n.(type) {
		case datamodel.Text:
			shape += string(n)
		case datamodel.Ref:
			ref, problem := m.model.Lookup(m.model.Cube(j.From), n.Path)
			if problem != "" || ref.Member == nil || ref.Member.Kind != datamodel.Dimension || ref.Granularity != "" {
				return nil, of
			}
			shape += "\x00"
			keys = append(keys, ref.Member)
		default:
			return nil, of
		}
	}
	if !equalities.MatchString(shape) {
		return nil, of
	}
	for i := 0; i < len(keys); i += 2 {
		a, b := keys[i], keys[i+1]
		switch {
		case a.Type != b.Type:
			return nil, fmt.Sprintf("compares %s, a %s, with %s, a %s", a.FullName(), a.Type, b.FullName(), b.Type)
		case a.Type != datamodel.String && a.Type != datamodel.Number && a.Type != datamodel.Boolean, m.q.shifts(a, 0), m.q.shifts(b, 0):
			return nil, fmt.Sprintf("compares %s, which is made of a time or a place", a.FullName())
		case a.Type == datamodel.String && m.q.d.Habits().Texts == Folded && m.external():
			return nil, fmt.Sprintf("compares %s, and the source takes texts for equal that DuckDB does not", a.FullName())
		}
	}
	return keys, ""
}
