package sqlgen

import (
	"strings"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/query"
)

// member is a member as a query names it, and the member of a cube behind it.
type member struct {
	*datamodel.Member                   // as named; of a view, perhaps
	base              *datamodel.Member // itself, unless it is of a view
	cube              *datamodel.Cube   // of base
	path              []string          // cubes by which the query reaches base; at least cube
}

// column is one column of the result.
type column struct {
	member
	granularity string // of a time dimension
	alias       string
	key         bool // a primary key, as it is: not masked, and no wall time
}

// refusal is an error in the query, in Cube's words where it has some.
func refusal(format string, args ...any) error { return fault.New(fault.Invalid, format, args...) }

// member finds a member by its full name, and refuses one of another kind. Cube's text is the same for both.
func (p *planner) member(name string, kinds ...datamodel.Kind) (member, error) {
	cubeName, memberName, _ := strings.Cut(name, ".")
	cube := p.model.Cube(cubeName)
	if cube == nil {
		return member{}, refusal("Cube '%s' not found for path '%s'", cubeName, name)
	}
	m := cube.Member(memberName)
	if m == nil {
		return member{}, refusal("'%s' not found for path '%s'", memberName, name)
	}
	for _, k := range kinds {
		if m.Kind == k {
			return p.named(m), nil
		}
	}
	return member{}, refusal("'%s' not found for path '%s'", memberName, name)
}

// named returns a member of the model as a query would name it.
func (p *planner) named(m *datamodel.Member) member {
	out := member{Member: m, base: m, cube: p.model.Cube(m.Cube), path: []string{m.Cube}}
	if m.Source != nil {
		out.base, out.path = m.Source.Member, m.Source.Path
		out.cube = p.model.Cube(out.base.Cube)
	}
	return out
}

// visible refuses to select a member that the model hides.
func (p *planner) visible(m member) error {
	if p.o.ShowHidden || m.Public && p.model.Cube(m.Cube).Public {
		return nil
	}
	return hiddenMember(m)
}

// selectColumns finds the columns of the query: dimensions, time dimensions with a granularity, measures.
func (p *planner) selectColumns() error {
	add := func(name, granularity string, kind datamodel.Kind) error {
		m, err := p.member(name, kind)
		if err != nil {
			return err
		}
		if err := p.visible(m); err != nil {
			return err
		}
		return p.addColumn(m, granularity)
	}
	for _, d := range p.q.Dimensions {
		if err := add(d, "", datamodel.Dimension); err != nil {
			return err
		}
	}
	for _, td := range p.q.TimeDimensions {
		m, err := p.timeDimension(td)
		if err != nil {
			return err
		}
		if td.Granularity == "" {
			continue
		}
		if err := add(m.FullName(), td.Granularity, datamodel.Dimension); err != nil {
			return err
		}
	}
	for _, m := range p.q.Measures {
		if err := add(m, "", datamodel.Measure); err != nil {
			return err
		}
	}
	if len(p.columns) == 0 {
		return refusal("Query should contain either measures, dimensions or timeDimensions with granularities in order to be valid")
	}
	return nil
}

// addColumn adds a column, once.
func (p *planner) addColumn(m member, granularity string) error {
	c := column{member: m, granularity: granularity, alias: p.alias(m, granularity)}
	for _, other := range p.columns {
		switch {
		case other.Member == c.Member && other.granularity == granularity:
			return nil // asked for twice, answered once
		case other.alias == c.alias:
			return refusal("%s and %s have the same column alias %s; give one of the cubes a sql_alias",
				other.FullName(), c.FullName(), c.alias)
		}
	}
	p.columns = append(p.columns, c)
	return nil
}

// timeDimension finds the member of td.
func (p *planner) timeDimension(td query.TimeDimension) (member, error) {
	m, err := p.member(td.Dimension, datamodel.Dimension)
	if err != nil {
		return m, err
	}
	if m.Type != datamodel.Time {
		return m, refusal("%s is not a time dimension: its type is %s", td.Dimension, m.Type)
	}
	if _, ok := m.Granularity(td.Granularity); ok || td.Granularity == "" {
		return m, nil
	}
	return m, refusal("Granularity \"%s\" does not exist in dimension %s", td.Granularity, td.Dimension)
}

// grouping returns the columns to group by: all but measures.
func (p *planner) grouping() []column {
	for i, c := range p.columns {
		if c.Kind == datamodel.Measure {
			return p.columns[:i]
		}
	}
	return p.columns
}

// measures returns the columns that are measures.
func (p *planner) measures() []column { return p.columns[len(p.grouping()):] }

// alias returns the column alias of a member (cube-data-model.md §12.1).
func (p *planner) alias(m member, granularity string) string {
	a := memberAlias(p.model.Cube(m.Cube), m.Member)
	if granularity != "" {
		a += "_" + granularity
	}
	return a
}

// memberAlias writes the whole name in snake_case, as Cube does: a capital after the dot begins a word too.
func memberAlias(c *datamodel.Cube, m *datamodel.Member) string {
	return strings.Replace(datamodel.Underscore(c.Alias+"."+m.Name), ".", "__", 1)
}
