package datamodel

import (
	"slices"
	"strings"
)

// checker looks at every template of a model, so that what can be wrong without a query is found at load.
type checker struct {
	*loader
	model *Model
	uses  map[*Member][]*Member // which members a member's SQL refers to
	from  map[string][]string   // which cubes a cube's sql is made of
}

func (l *loader) checkTemplates(m *Model) {
	c := &checker{loader: l, model: m, uses: map[*Member][]*Member{}, from: map[string][]string{}}
	for _, cube := range m.cubes {
		if cube.View {
			continue
		}
		for _, t := range []*Template{cube.SQL, cube.SQLTable} {
			c.cubeSQL(cube, t)
		}
		c.template(cube, nil, cube.RefreshKey.SQL, "the refresh_key of "+cube.Name)
		for _, p := range cube.PreAggregations {
			c.template(cube, nil, p.BuildStart, "the build_range_start of "+p.FullName())
			c.template(cube, nil, p.BuildEnd, "the build_range_end of "+p.FullName())
			if p.RefreshKey.SQL != cube.RefreshKey.SQL {
				c.template(cube, nil, p.RefreshKey.SQL, "the refresh_key of "+p.FullName())
			}
		}
		for _, j := range cube.Joins {
			c.template(cube, nil, j.SQL, "the join "+j.From+" to "+j.To)
		}
		for _, member := range cube.Members {
			c.member(cube, member)
		}
	}
	c.memberCycles()
	c.cubeCycles()
	c.ruled()
}

// cubeSQL checks sql and sql_table, which have no table of their own to refer to.
func (c *checker) cubeSQL(cube *Cube, t *Template) {
	if t == nil {
		return
	}
	c.settle(cube, t)
	t.Walk(func(n Node) {
		switch n := n.(type) {
		case Ref:
			c.fail(n.Position, t.Source, "the sql of a cube refers to other cubes as {cube.sql()}, not as {%s}", strings.Join(n.Path, "."))
		case CubeSQL:
			if other := c.otherCube(cube, cube, n, t); other != nil {
				c.from[cube.Name] = append(c.from[cube.Name], other.Name)
			}
		case FilterParam:
			c.filterParam(n, t)
		case Script:
			c.script(cube, n)
		}
	})
}

// script checks the names that a program uses: what it makes of them is only known in a query.
func (c *checker) script(cube *Cube, s Script) {
	for _, ref := range s.Names {
		if _, problem := c.model.Lookup(cube, ref.Path); problem != "" {
			c.fail(ref.Position, "", "%s", problem)
		}
	}
}

// otherCube returns the cube whose rows n means, if it may be used in SQL of cube. reader is cube where the SQL is that of
// its table or refresh key, and otherwise nil.
func (c *checker) otherCube(cube, reader *Cube, n CubeSQL, t *Template) *Cube {
	other := c.model.Rows(cube, n.Cube)
	switch {
	case other == nil:
		c.fail(n.Position, t.Source, "there is no cube %q", n.Cube)
	case other.DataSource != cube.DataSource:
		c.fail(n.Position, t.Source, "%s is of data source %s, and %s of %s", n.Cube, other.DataSource, cube.Name, cube.DataSource)
	default:
		if why := other.Unruled(reader); why != "" {
			c.fail(n.Position, t.Source, "%s", why)
		}
	}
	return other
}

func (c *checker) filterParam(n FilterParam, t *Template) {
	other := c.model.Cube(n.Cube)
	if other == nil {
		c.fail(n.Position, t.Source, "Cube '%s' not found for path '%s.%s'", n.Cube, n.Cube, n.Member)
		return
	}
	if m := other.Member(n.Member); m == nil || m.Kind != Dimension {
		c.fail(n.Position, t.Source, "'%s' not found for path '%s.%s'", n.Member, n.Cube, n.Member)
	}
}

// member checks all SQL of a member.
func (c *checker) member(cube *Cube, m *Member) {
	templates := []*Template{m.SQL, m.Latitude, m.Longitude}
	if m.Case != nil {
		for _, w := range m.Case.When {
			templates = append(templates, w.SQL, w.Label.SQL)
		}
		if m.Case.Else != nil {
			templates = append(templates, m.Case.Else.SQL)
		}
	}
	if m.Mask != nil {
		templates = append(templates, m.Mask.SQL)
	}
	for _, t := range append(templates, m.Filters...) {
		c.template(cube, m, t, string(m.Kind)+" "+m.FullName())
	}
	for _, g := range m.Granularities { // it may refer to m itself
		c.template(cube, nil, g.SQL, "granularity "+g.Name+" of "+m.FullName())
	}
	if m.SubQuery {
		c.subQuery(cube, m)
	}
}

// subQuery checks what a sub_query dimension needs beside its SQL.
func (c *checker) subQuery(cube *Cube, m *Member) {
	if len(cube.PrimaryKey()) == 0 {
		c.fail(m.Position, "", "%s is a sub_query: primary key for '%s' is required", m.FullName(), cube.Name)
	}
	if !slices.ContainsFunc(c.uses[m], func(used *Member) bool { return used.Kind == Measure }) {
		c.fail(m.Position, "", "%s is a sub_query, so its sql is made of a measure of another cube, such as {orders.count}", m.FullName())
	}
}

// template checks one template of a member, or of a join when m is nil.
func (c *checker) template(cube *Cube, m *Member, t *Template, of string) {
	if t == nil {
		return
	}
	c.settle(cube, t)
	t.Walk(func(n Node) {
		switch n := n.(type) {
		case Ref:
			ref, problem := c.model.Lookup(cube, n.Path)
			if problem != "" {
				c.fail(n.Position, t.Source, "%s", problem)
				return
			}
			if ref.Member == nil {
				return
			}
			if ref.Member.Kind == Segment {
				c.fail(n.Position, t.Source, "%s: a segment cannot be referred to in SQL", of)
				return
			}
			if ref.Member.Kind == Measure {
				if m == nil || !m.SubQuery && (m.Kind != Measure || !m.Expression() || slices.Contains(m.Filters, t)) {
					c.fail(n.Position, t.Source, "%s refers to the measure %s, which is only known once rows are grouped",
						of, ref.Member.FullName())
					return
				}
			}
			if m != nil {
				c.uses[m] = append(c.uses[m], ref.Member)
			}
		case CubeSQL:
			var reader *Cube
			if cube.asks(t) {
				reader = cube
			}
			c.otherCube(cube, reader, n, t)
		case FilterParam:
			c.filterParam(n, t)
		case Script:
			c.script(cube, n)
		}
	})
}

// asks reports whether t asks the source of c about its rows, and makes none: a refresh key, or how far partitions reach.
func (c *Cube) asks(t *Template) bool {
	return t == c.RefreshKey.SQL || slices.ContainsFunc(c.PreAggregations, func(p *PreAggregation) bool {
		return t == p.RefreshKey.SQL || t == p.BuildStart || t == p.BuildEnd
	})
}

// settle decides what {groups} and {userAttributes} mean: the model's own names first.
func (c *checker) settle(cube *Cube, t *Template) {
	for i, n := range t.Nodes {
		ctx, ok := n.(Context)
		if !ok || ctx.unless == nil {
			continue
		}
		if _, problem := c.model.Lookup(cube, ctx.unless.Path); problem == "" {
			t.Nodes[i] = *ctx.unless
			continue
		}
		ctx.unless = nil
		t.Nodes[i] = ctx
	}
}

// memberCycles finds members whose SQL leads back to themselves.
func (c *checker) memberCycles() {
	const open, closed = 1, 2
	state := map[*Member]int{}
	var visit func(m *Member, path []string)
	visit = func(m *Member, path []string) {
		path = append(path, m.FullName())
		switch state[m] {
		case closed:
			return
		case open:
			c.fail(m.Position, "", "%s refers to itself: %s", m.FullName(), strings.Join(path[slices.Index(path, m.FullName()):], " → "))
			return
		}
		state[m] = open
		for _, used := range c.uses[m] {
			visit(used, path)
		}
		state[m] = closed
	}
	for _, cube := range c.model.cubes {
		for _, m := range cube.Members {
			visit(m, nil)
		}
	}
}

// cubeCycles finds cubes whose sql is made of itself.
func (c *checker) cubeCycles() {
	for _, cube := range c.model.cubes {
		seen := map[string]bool{}
		for queue := slices.Clone(c.from[cube.Name]); len(queue) > 0; queue = queue[1:] {
			if queue[0] == cube.Name {
				c.fail(cube.Position, "", "the sql of cube %s is made of itself", cube.Name)
				break
			}
			if !seen[queue[0]] {
				seen[queue[0]] = true
				queue = append(queue, c.from[queue[0]]...)
			}
		}
	}
}
