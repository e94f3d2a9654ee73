package sqlgen

import (
	"slices"
	"strings"

	"github.com/behalf-project/behalf/internal/datamodel"
)

// tree is the cubes of a query and the joins between them, from one root.
type tree struct {
	root  string
	joins []*datamodel.Join // each begins at the root or at the end of one before it
	by    map[string]*datamodel.Join
}

// has reports whether cube is in t.
func (t *tree) has(cube string) bool { return cube == t.root || t.by[cube] != nil }

// cubes returns the names of the cubes of t, the root first.
func (t *tree) cubes() []string {
	names := []string{t.root}
	for _, j := range t.joins {
		names = append(names, j.To)
	}
	return names
}

// multiplied reports whether t repeats rows of cube: a walk over t from cube crosses a join towards its many side.
func (t *tree) multiplied(cube string) bool {
	seen := map[string]bool{cube: true}
	for queue := []string{cube}; len(queue) > 0; queue = queue[1:] {
		for _, j := range t.joins {
			switch {
			case j.From == queue[0] && !seen[j.To]:
				if j.Relationship == datamodel.OneToMany {
					return true
				}
				seen[j.To] = true
				queue = append(queue, j.To)
			case j.To == queue[0] && !seen[j.From]:
				if j.Relationship == datamodel.ManyToOne {
					return true
				}
				seen[j.From] = true
				queue = append(queue, j.From)
			}
		}
	}
	return false
}

// hints are join paths that a query needs, in the order in which Cube considers them as roots.
type hints struct{ paths [][]string }

func (h *hints) add(path []string) {
	for _, p := range h.paths {
		if slices.Equal(p, path) {
			return
		}
	}
	h.paths = append(h.paths, path)
}

// collect adds what m needs: its own cube, and the cubes its SQL refers to.
func (p *planner) collect(h *hints, m member) {
	h.add(m.path)
	p.collectBase(h, m.base)
}

func (p *planner) collectBase(h *hints, m *datamodel.Member) {
	if slices.Contains(p.open, m) {
		p.cycle = m // which only a script can lead to
		return
	}
	p.open = append(p.open, m)
	defer func() { p.open = p.open[:len(p.open)-1] }()
	cube := p.model.Cube(m.Cube)
	for _, ref := range p.references(cube, templates(m)) {
		path := ref.Path
		if m == p.value {
			path = path[1:] // its measures lead to its cube, and not the other way
		}
		switch {
		case len(path) == 2 && m != p.value:
			h.add(path[1:]) // a neighbour, which the tree may reach in another way
		case len(path) > 1 || m == p.value && len(path) > 0:
			h.add(path)
		}
		if ref.Member != nil && ref.Member != m { // as the SQL of a granularity does, of the dimension that has it
			p.collectBase(h, ref.Member)
		}
	}
}

// references returns what templates of cube refer to. They were checked when the model was loaded, but for what scripts
// make.
func (p *planner) references(cube *datamodel.Cube, ts []*datamodel.Template) []datamodel.Reference {
	var refs []datamodel.Reference
	for _, t := range ts {
		t, err := p.rendered(t)
		if err != nil {
			continue // eval returns it
		}
		t.Walk(func(n datamodel.Node) {
			if r, ok := n.(datamodel.Ref); ok {
				if ref, problem := p.model.Lookup(cube, r.Path); problem == "" {
					refs = append(refs, ref)
				}
			}
		})
	}
	return refs
}

// templates returns all SQL of a member that is evaluated where the member is: that of a sub-query is not.
func templates(m *datamodel.Member) []*datamodel.Template {
	if m.SubQuery {
		return nil
	}
	all := []*datamodel.Template{m.SQL, m.Latitude, m.Longitude}
	if m.Case != nil {
		for _, w := range m.Case.When {
			all = append(all, w.SQL, w.Label.SQL)
		}
		if m.Case.Else != nil {
			all = append(all, m.Case.Else.SQL)
		}
	}
	all = append(all, m.Filters...)
	for _, g := range m.Granularities {
		all = append(all, g.SQL)
	}
	return slices.DeleteFunc(all, func(t *datamodel.Template) bool { return t == nil })
}

// join finds the tree with the fewest joins that holds every path of h. The root is one of their beginnings; of
// equally good ones, the first (cube-data-model.md §6).
func (p *planner) join(h hints) (*tree, error) {
	for range 1000 {
		best, conflict := (*tree)(nil), error(nil)
		for i := range h.paths {
			t, err := p.joinFrom(i, h.paths)
			if err != nil {
				conflict = err
			}
			if t != nil && (best == nil || len(t.joins) < len(best.joins)) {
				best = t
			}
		}
		if best == nil {
			if conflict != nil {
				return nil, conflict
			}
			return nil, noPath(h.paths)
		}
		if !p.joinConditions(&h, best) {
			p.sort(best)
			return best, nil
		}
	}
	return nil, refusal("the joins of this query refer to one another without end")
}

// needs returns the join paths to cubes that only the condition of j refers to.
func (p *planner) needs(j *datamodel.Join) [][]string {
	var h hints
	for _, ref := range p.references(p.model.Cube(j.From), []*datamodel.Template{j.SQL}) {
		if len(ref.Path) > 1 && ref.Cube.Name != j.To {
			h.add(ref.Path)
		}
		if ref.Member != nil {
			p.collectBase(&h, ref.Member)
		}
	}
	return h.paths
}

// sort puts each join of t after those whose tables its condition refers to.
func (p *planner) sort(t *tree) {
	placed := map[string]bool{t.root: true}
	ready := func(j *datamodel.Join) bool {
		for _, path := range p.needs(j) {
			if last := path[len(path)-1]; last != j.To && !placed[last] {
				return false
			}
		}
		return placed[j.From]
	}
	rest := slices.Clone(t.joins)
	t.joins = t.joins[:0]
	for len(rest) > 0 {
		next := max(0, slices.IndexFunc(rest, ready)) // two that need each other stay: the database says so
		placed[rest[next].To] = true
		t.joins = append(t.joins, rest[next])
		rest = slices.Delete(rest, next, next+1)
	}
}

// joinConditions adds the cubes that only the conditions of t's joins refer to, and reports whether there are some.
func (p *planner) joinConditions(h *hints, t *tree) bool {
	more := false
	for _, j := range t.joins {
		for _, path := range p.needs(j) {
			if !t.has(path[len(path)-1]) {
				h.add(path)
				more = true
			}
		}
	}
	return more
}

// joinFrom builds the tree whose root is the beginning of one path; nil when some cube cannot be reached from there.
// Paths of several cubes go first: they say how a cube is reached, and the others take it as it is.
func (p *planner) joinFrom(root int, paths [][]string) (*tree, error) {
	t := &tree{root: paths[root][0], by: map[string]*datamodel.Join{}}
	ordered := [][]string{paths[root]}
	for _, long := range []bool{true, false} {
		for i, path := range paths {
			if i != root && (len(path) > 1) == long {
				ordered = append(ordered, path)
			}
		}
	}
	for _, path := range ordered {
		at := t.root
		for i, cube := range path {
			if cube == at {
				continue
			}
			steps := p.model.Path(at, cube)
			if steps == nil && !(i == 0 && t.has(cube)) {
				return nil, nil
			}
			if t.has(cube) {
				if i > 0 && cube != t.root && t.by[cube] != steps[len(steps)-1] || i > 0 && cube == t.root {
					return nil, refusal("Cube '%s' is reached by two join paths: from '%s' and by %s. Use a cube that extends it for one of them",
						cube, t.from(cube), strings.Join(path, "."))
				}
				at = cube
				continue
			}
			for _, j := range steps {
				if t.has(j.To) {
					if j.To != t.root && t.by[j.To] == j {
						continue
					}
					return nil, refusal("Cube '%s' is reached by two join paths: from '%s' and from '%s'. Use a cube that extends it for one of them",
						j.To, t.from(j.To), j.From)
				}
				t.by[j.To] = j
				t.joins = append(t.joins, j)
			}
			at = cube
		}
	}
	return t, nil
}

// from returns the cube from which t joins cube.
func (t *tree) from(cube string) string {
	if j := t.by[cube]; j != nil {
		return j.From
	}
	return cube
}

// noPath returns Cube's error for cubes that no tree holds.
func noPath(paths [][]string) error {
	var names []string
	for _, path := range paths {
		for _, name := range path {
			if quoted := "'" + name + "'"; !slices.Contains(names, quoted) {
				names = append(names, quoted)
			}
		}
	}
	return refusal("Can't find join path to join %s", strings.Join(names, ", "))
}
