package datamodel

import (
	"maps"
	"slices"
	"strings"

	"github.com/behalf-project/behalf/internal/spelling"
)

// Reference is what a path in a template means.
type Reference struct {
	Cube        *Cube    // whose alias it is, or whose member
	Member      *Member  // nil for an alias
	Granularity string   // of {created_at.day}
	Path        []string // cubes from the one that refers to Cube, both included, as far as the path names them
}

// Rows returns the cube whose rows {name.sql()} means in SQL of c, or nil when there is none.
func (m *Model) Rows(c *Cube, name string) *Cube {
	if name == "CUBE" {
		return c
	}
	if other := m.byName[name]; other != nil && !other.View {
		return other
	}
	return nil
}

// Lookup says what path means in SQL of c: first c's own members, then cubes. problem is a sentence when it means
// nothing.
func (m *Model) Lookup(c *Cube, path []string) (ref Reference, problem string) {
	ref = Reference{Cube: c, Path: []string{c.Name}}
	rest := path
	switch own := c.Member(path[0]); {
	case current(path[0]):
		rest = path[1:]
	case own != nil && (len(path) == 1 || m.byName[path[0]] == nil):
	case m.byName[path[0]] == nil:
		return ref, `"` + strings.Join(path, ".") + `": ` + path[0] + " is not defined" + spelling.DidYouMean(path[0], m.known(c))
	}
	for len(rest) > 0 {
		if member := ref.Cube.Member(rest[0]); member != nil && (len(rest) == 1 || m.byName[rest[0]] == nil) {
			ref.Member = member
			rest = rest[1:]
			break
		}
		next := m.byName[rest[0]]
		switch {
		case next == nil:
			return ref, `"` + strings.Join(path, ".") + `": '` + rest[0] + "' not found in " + ref.Cube.Name +
				spelling.DidYouMean(rest[0], slices.Sorted(maps.Keys(ref.Cube.byName)))
		case next.View:
			return ref, `"` + strings.Join(path, ".") + `": ` + next.Name + " is a view; SQL of a cube refers to cubes"
		case next != ref.Cube:
			ref.Cube = next
			ref.Path = append(ref.Path, next.Name)
		}
		rest = rest[1:]
	}
	switch len(rest) {
	case 0:
		return ref, ""
	case 1:
		if _, ok := ref.Member.Granularity(rest[0]); ok {
			ref.Granularity = rest[0]
			return ref, ""
		}
	}
	return ref, `"` + strings.Join(path, ".") + `": ` + ref.Member.FullName() + " has no " + strings.Join(rest, ".")
}

// current reports whether name stands for the cube in whose SQL it is.
func current(name string) bool { return name == "CUBE" || name == "TABLE" }

// unqualified returns the name of a member without the word for its own cube before it.
func unqualified(name string) string {
	if first, rest, ok := strings.Cut(name, "."); ok && current(first) {
		return rest
	}
	return name
}

// known returns the names that SQL of c may begin a path with.
func (m *Model) known(c *Cube) []string {
	names := append(slices.Collect(maps.Keys(c.byName)), slices.Collect(maps.Keys(m.byName))...)
	slices.Sort(names)
	return names
}

// Path returns the joins of the shortest way from one cube to another, in their declared direction, or nil when there
// is none. Of equally short ways it is the one whose joins are declared first.
func (m *Model) Path(from, to string) []*Join {
	if from == to {
		return []*Join{}
	}
	by := map[string]*Join{}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		c := m.byName[queue[0]]
		if c == nil {
			continue
		}
		for _, j := range c.Joins {
			if by[j.To] != nil || j.To == from {
				continue
			}
			by[j.To] = j
			if j.To == to {
				var path []*Join
				for at := to; at != from; at = by[at].From {
					path = append(path, by[at])
				}
				slices.Reverse(path)
				return path
			}
			queue = append(queue, j.To)
		}
	}
	return nil
}
