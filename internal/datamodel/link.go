package datamodel

import (
	"maps"
	"slices"
	"strings"

	"github.com/behalf-project/behalf/internal/spelling"
)

// link makes the model of what was read. It goes on after a problem, to find the others; the model is only good when
// there is none.
func (l *loader) link() *Model {
	m := &Model{byName: map[string]*Cube{}, notices: l.notices}
	done := map[string]*definition{}
	for _, d := range l.order {
		l.inherit(d, done, nil)
	}
	for _, d := range l.order {
		if d.View {
			continue
		}
		c := l.cube(d)
		m.cubes, m.byName[c.Name] = append(m.cubes, c), c
	}
	for _, c := range m.cubes {
		l.checkJoins(m, c)
	}
	for i, d := range l.order {
		if !d.View {
			continue
		}
		v := l.view(m, d)
		m.byName[v.Name] = v
		m.cubes = slices.Insert(m.cubes, min(i, len(m.cubes)), v)
	}
	for _, d := range l.order {
		if c := m.byName[d.Name]; c != nil {
			l.policies(m, c, d)
			l.preAggregations(m, c, d)
		}
	}
	for _, d := range l.order {
		if c := m.byName[d.Name]; c != nil {
			l.composed(m, c, d)
		}
	}
	l.rowRules(m)
	l.checkTemplates(m)
	for _, c := range m.cubes {
		if !c.View {
			l.drillMembers(m, c)
		}
	}
	for _, c := range m.cubes {
		if c.View {
			viewDrillMembers(c)
		}
	}
	connect(m)
	m.notices = l.notices
	return m
}

// inherit completes d with what the cube or view it extends has (cube-data-model.md §11). below are those that extend d.
func (l *loader) inherit(d *definition, done map[string]*definition, below []string) {
	if d.extends.text == "" || done[d.Name] != nil {
		done[d.Name] = d
		return
	}
	if slices.Contains(below, d.Name) {
		l.fail(d.extends.pos, "", "%s extends itself: %s", d.Name, strings.Join(append(below, d.Name), " → "))
		d.extends.text = ""
		return
	}
	base, ok := l.defs[d.extends.text]
	if !ok || base.View != d.View {
		kind := "cube"
		if d.View {
			kind = "view"
		}
		others := slices.DeleteFunc(l.names(d.View), func(name string) bool { return name == d.Name })
		l.fail(d.extends.pos, "", "%s %s: there is no %[2]s %[3]q to extend%[4]s", d.Name, kind, d.extends.text,
			spelling.DidYouMean(d.extends.text, others))
		return
	}
	l.inherit(base, done, append(below, d.Name))
	if d.extends.text == "" {
		return // the cycle is reported
	}
	done[d.Name] = d
	if d.SQL == nil && d.SQLTable == nil {
		d.SQL, d.SQLTable = base.SQL, base.SQLTable
	}
	for _, f := range []struct{ own, inherited *string }{
		{&d.DataSource, &base.DataSource}, {&d.Title, &base.Title}, {&d.Description, &base.Description},
	} {
		if *f.own == "" {
			*f.own = *f.inherited
		}
	}
	if d.public == nil {
		d.public = base.public
	}
	if d.Meta == nil {
		d.Meta = base.Meta
	}
	d.policies = slices.Concat(base.policies, d.policies)
	d.views, d.folders = slices.Concat(base.views, d.views), slices.Concat(base.folders, d.folders)
	if d.RefreshKey == (RefreshKey{}) {
		d.RefreshKey = base.RefreshKey
	}
	d.members = inherited(base.members, d.members, func(m *Member) string { return m.Name }, func(m *Member) *Member {
		own := *m
		own.Cube = d.Name
		return &own
	})
	d.Joins = inherited(base.Joins, d.Joins, func(j *Join) string { return j.To }, func(j *Join) *Join {
		own := *j
		own.From = d.Name
		return &own
	})
	d.rollups = inherited(base.rollups, d.rollups, func(p rollup) string { return p.Name }, func(p rollup) rollup {
		p.Cube = d.Name
		return p
	})
	same := func(h hierarchy) hierarchy { return h }
	d.Extends = base.Name
	d.paths = inherited(base.paths, d.paths, func(h hierarchy) string { return h.Name }, same)
}

// inherited returns what a base has, with the child's own in place of those of the same name, and then the rest of
// the child's.
func inherited[T any](base, child []T, name func(T) string, adopt func(T) T) []T {
	own := map[string]T{}
	for _, c := range child {
		own[name(c)] = c
	}
	var all []T
	for _, b := range base {
		if c, ok := own[name(b)]; ok {
			all = append(all, c)
			delete(own, name(b))
			continue
		}
		all = append(all, adopt(b))
	}
	for _, c := range child {
		if _, ok := own[name(c)]; ok {
			all = append(all, c)
		}
	}
	return all
}

// names returns the names of the cubes or of the views.
func (l *loader) names(views bool) []string {
	var names []string
	for _, d := range l.order {
		if d.View == views {
			names = append(names, d.Name)
		}
	}
	return names
}

// cube fills in defaults.
func (l *loader) cube(d *definition) *Cube {
	c := &d.Cube
	defaults(c, d)
	if c.DataSource == "" {
		c.DataSource = "default"
	}
	if c.Alias == "" {
		c.Alias = c.Name
	}
	switch {
	case c.SQL == nil && c.SQLTable == nil && !d.broken:
		l.fail(c.Position, "", "%s cube: the cube must contain at least one of [sql, sqlTable]", c.Name)
	case c.SQL != nil && c.SQLTable != nil:
		l.fail(c.Position, "", "%s cube: the cube must contain only one of [sql, sqlTable]", c.Name)
	}
	c.byName = map[string]*Member{}
	for _, kind := range []Kind{Dimension, Measure, Segment} {
		for _, m := range d.members {
			if m.Kind != kind {
				continue
			}
			m.ShortTitle = m.title
			if m.title == "" {
				m.ShortTitle = titleOf(m.Name)
			}
			m.Title = c.Title + " " + m.ShortTitle
			m.Public = m.public == nil && !m.PrimaryKey || m.public != nil && *m.public
			c.Members, c.byName[m.Name] = append(c.Members, m), m
		}
	}
	for _, h := range d.paths {
		out := h.Hierarchy
		out.Public = h.public == nil || *h.public
		for _, level := range h.levels {
			name := unqualified(level.text)
			if m := c.Member(name); m == nil || m.Kind != Dimension {
				l.fail(level.pos, "", "%s.%s: there is no dimension %q%s", c.Name, h.Name, level.text,
					spelling.DidYouMean(name, slices.Sorted(maps.Keys(c.byName))))
				continue
			}
			out.Levels = append(out.Levels, c.Name+"."+name)
		}
		c.Hierarchies = append(c.Hierarchies, out)
	}
	return c
}

// defaults fills in what cubes and views share.
func defaults(c *Cube, d *definition) {
	if c.Title == "" {
		c.Title = titleOf(c.Name)
	}
	c.Public = d.public == nil || *d.public
}

func (l *loader) checkJoins(m *Model, c *Cube) {
	measures := false
	for _, member := range c.Members {
		measures = measures || member.Kind == Measure
	}
	if len(c.Joins) > 0 && measures && len(c.PrimaryKey()) == 0 {
		l.fail(c.Position, "", "%s cube: primary key for '%s' is required when join is defined in order to make aggregates work properly",
			c.Name, c.Name)
	}
	for _, j := range c.Joins {
		if m.Cube(j.To) == nil {
			l.fail(j.Position, "", "%s cube: Cube %s doesn't exist%s", c.Name, j.To, spelling.DidYouMean(j.To, l.names(false)))
		}
	}
}

// drillMembers resolves the names of drill members: x and CUBE.x are the cube's own, other.x and a.b.x of a joined one.
func (l *loader) drillMembers(m *Model, c *Cube) {
	for _, member := range c.Members {
		member.DrillMembers = nil
		for _, w := range member.drill {
			ref, problem := m.Lookup(c, strings.Split(w.text, "."))
			switch {
			case problem != "":
				l.fail(w.pos, "", "drill members of %s: %s", member.FullName(), problem)
			case ref.Member == nil || ref.Granularity != "":
				l.fail(w.pos, "", "drill members of %s: %q is not a member", member.FullName(), w.text)
			default:
				member.DrillMembers = append(member.DrillMembers, ref.Member.FullName())
			}
		}
	}
}

// viewDrillMembers gives the measures of a view those drill members that the view shows, under their names there.
func viewDrillMembers(v *Cube) {
	shown := map[string]string{}
	for _, m := range v.Members {
		if name := m.Source.Member.FullName(); shown[name] == "" {
			shown[name] = m.FullName()
		}
	}
	for _, m := range v.Members {
		for _, name := range m.Source.Member.DrillMembers {
			if shown[name] != "" {
				m.DrillMembers = append(m.DrillMembers, shown[name])
			}
		}
	}
}

// connect numbers the components of the join graph.
func connect(m *Model) {
	neighbours := map[string][]string{}
	for _, c := range m.cubes {
		for _, j := range c.Joins {
			neighbours[j.From] = append(neighbours[j.From], j.To)
			neighbours[j.To] = append(neighbours[j.To], j.From)
		}
	}
	n := 0
	for _, c := range m.cubes {
		if c.View || c.component != 0 || len(neighbours[c.Name]) == 0 {
			continue
		}
		n++
		for queue := []string{c.Name}; len(queue) > 0; queue = queue[1:] {
			at := m.byName[queue[0]]
			if at == nil || at.component != 0 {
				continue
			}
			at.component = n
			queue = append(queue, neighbours[at.Name]...)
		}
	}
}
