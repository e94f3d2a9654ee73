package datamodel

import (
	"maps"
	"slices"
	"strings"

	"github.com/behalf-project/behalf/internal/spelling"
)

// view makes a view of its definition and the finished cubes (cube-data-model.md §10).
func (l *loader) view(m *Model, d *definition) *Cube {
	v := &d.Cube
	defaults(v, d)
	v.Alias = v.Name
	v.byName = map[string]*Member{}
	ends := map[string]string{}
	for _, vc := range d.views {
		path := strings.Split(vc.path.text, ".")
		if !l.checkPath(m, vc, path) {
			continue
		}
		last := path[len(path)-1]
		if first, ok := ends[last]; ok && first != vc.path.text {
			l.fail(vc.path.pos, "", "Views can't define multiple join paths to the same cube: %s and %s; use a cube that extends %s",
				first, vc.path.text, last)
			continue
		}
		ends[last] = vc.path.text
		l.show(v, m.Cube(last), vc, path)
	}
	slices.SortStableFunc(v.Members, func(a, b *Member) int { return kindOrder(a) - kindOrder(b) })
	if len(v.Members) == 0 && len(d.views) == 0 && d.extends == (word{}) {
		l.fail(v.Position, "", "view %s needs cubes", v.Name)
	}
	seen := map[string]bool{}
	for _, f := range d.folders {
		if seen[f.name.text] {
			l.fail(f.name.pos, "", "Folder names must be unique within a view. Found duplicate folder '%s' in view '%s'.", f.name.text, v.Name)
		}
		seen[f.name.text] = true
		v.Folders = append(v.Folders, l.folderOf(v, d, f))
	}
	for _, h := range d.paths {
		l.fail(h.pos, "", "hierarchies of a view are not supported yet; include those of its cubes")
	}
	return v
}

// folderOf finds what a folder of a view shows.
func (l *loader) folderOf(v *Cube, d *definition, f *folder) Folder {
	out := Folder{Name: f.name.text}
	add := func(m *Member) { out.Items = append(out.Items, FolderItem{Member: m.FullName()}) }
	if f.all { // measures first, as in Cube
		for _, m := range v.Members {
			if m.Kind == Measure {
				add(m)
			}
		}
		for _, m := range v.Members {
			if m.Kind != Measure {
				add(m)
			}
		}
	}
	for _, item := range f.items {
		switch w := item.member; {
		case item.folder != nil:
			inner := l.folderOf(v, d, item.folder)
			out.Items = append(out.Items, FolderItem{Folder: &inner})
		case item.path != (word{}):
			path := strings.Split(item.path.text, ".")
			if !slices.ContainsFunc(d.views, func(vc *viewCube) bool { return vc.path.text == item.path.text }) {
				l.fail(item.path.pos, "", "Join path '%s' included in folder '%s' not found in view '%s' cubes definition", item.path.text, f.name.text, v.Name)
			}
			for _, m := range v.Members {
				if m.Source.Member.Cube == path[len(path)-1] {
					add(m)
				}
			}
		case strings.Contains(w.text, "."):
			l.fail(w.pos, "", "Paths aren't allowed in the 'folders' but '%s' has been provided for %s", w.text, v.Name)
		case v.Member(w.text) == nil:
			l.fail(w.pos, "", "folder %s: %s has no member %q%s", f.name.text, v.Name, w.text,
				spelling.DidYouMean(w.text, slices.Sorted(maps.Keys(v.byName))))
		default:
			add(v.Member(w.text))
		}
	}
	return out
}

func kindOrder(m *Member) int { return slices.Index([]Kind{Dimension, Measure, Segment}, m.Kind) }

// checkPath reports whether each cube of a join path exists and can be reached from the one before.
func (l *loader) checkPath(m *Model, vc *viewCube, path []string) bool {
	for i, name := range path {
		c := m.Cube(name)
		if c == nil || c.View {
			l.fail(vc.path.pos, "", "join_path %s: there is no cube %q%s", vc.path.text, name, spelling.DidYouMean(name, l.names(false)))
			return false
		}
		if i > 0 && m.Path(path[i-1], name) == nil {
			l.fail(vc.path.pos, "", "join_path %s: Can't find join path to join '%s', '%s'", vc.path.text, path[i-1], name)
			return false
		}
	}
	return true
}

// show adds the members of c that a view includes.
func (l *loader) show(v, c *Cube, vc *viewCube, path []string) {
	includes := vc.includes
	if vc.all {
		hidden := false
		for _, member := range c.Members {
			includes = append(includes, include{word: word{member.Name, vc.pos}})
			excluded := slices.ContainsFunc(vc.excludes, func(w word) bool { return w.text == member.Name })
			hidden = hidden || !member.Public && !excluded
		}
		if hidden {
			l.notice(vc.pos, "view %s includes all of %s, and so shows members that are not public there, such as keys", v.Name, c.Name)
		}
	}
	excluded := map[string]bool{}
	for _, w := range vc.excludes {
		if c.Member(w.text) == nil && !slices.ContainsFunc(c.Hierarchies, func(h Hierarchy) bool { return h.Name == w.text }) {
			l.fail(w.pos, "", "%s has no member %q to exclude%s", c.Name, w.text,
				spelling.DidYouMean(w.text, slices.Sorted(maps.Keys(c.byName))))
		}
		excluded[w.text] = true
	}
	prefix := ""
	if vc.prefix {
		if prefix = vc.alias; prefix == "" {
			prefix = c.Name
		}
		prefix += "_"
	}
	names := map[string]string{} // of c's members in the view
	for _, i := range includes {
		if excluded[i.text] {
			continue
		}
		if strings.Contains(i.text, ".") {
			l.fail(i.pos, "", "Paths aren't allowed in cube includes but '%s' provided as include member", i.text)
			continue
		}
		if h := slices.IndexFunc(c.Hierarchies, func(h Hierarchy) bool { return h.Name == i.text }); h >= 0 {
			for _, level := range c.Hierarchies[h].Levels {
				_, name, _ := strings.Cut(level, ".")
				if names[name] == "" && !slices.ContainsFunc(vc.includes, func(i include) bool { return i.text == name }) {
					l.showMember(v, c, path, include{word: word{name, i.pos}}, prefix, names)
				}
			}
			continue
		}
		if c.Member(i.text) == nil {
			l.fail(i.pos, "", "Member '%s.%s' is included in '%s' but not defined in any cube%s", c.Name, i.text, v.Name,
				spelling.DidYouMean(i.text, slices.Sorted(maps.Keys(c.byName))))
			continue
		}
		l.showMember(v, c, path, i, prefix, names)
	}
	for _, h := range c.Hierarchies {
		if wanted := vc.all || slices.ContainsFunc(vc.includes, func(i include) bool { return i.text == h.Name }); !wanted || excluded[h.Name] {
			continue
		}
		out := Hierarchy{Name: prefix + h.Name, Title: h.Title, Public: h.Public}
		for _, level := range h.Levels {
			_, name, _ := strings.Cut(level, ".")
			if names[name] != "" {
				out.Levels = append(out.Levels, v.Name+"."+names[name])
			}
		}
		v.Hierarchies = append(v.Hierarchies, out)
	}
}

// showMember adds one member to a view. What a cube hides, a view that includes it shows, as in Cube.
func (l *loader) showMember(v, c *Cube, path []string, i include, prefix string, names map[string]string) {
	source := c.Member(i.text)
	m := *source
	m.Name = i.text
	if i.alias != "" {
		m.Name = i.alias
	}
	m.Name = prefix + m.Name
	if v.byName[m.Name] != nil {
		l.fail(i.pos, "", "Included member '%s' conflicts with existing member of '%s'. Please consider excluding this member or assigning it an alias.",
			m.Name, v.Name)
		return
	}
	m.Cube, m.Position = v.Name, i.pos
	m.SQL, m.Case, m.Latitude, m.Longitude, m.Filters = nil, nil, nil, nil, nil
	m.PrimaryKey, m.Public, m.DrillMembers, m.Order = false, true, nil, ""
	m.Source = &Source{Member: source, Path: path}
	if i.title != "" {
		m.title = i.title
	}
	if i.description != "" {
		m.Description = i.description
	}
	if i.format != nil {
		m.Format = i.format
	}
	if i.meta != nil {
		m.Meta = i.meta
	}
	if m.ShortTitle = m.title; m.title == "" {
		m.ShortTitle = titleOf(m.Name)
	}
	m.Title = v.Title + " " + m.ShortTitle
	names[i.text] = m.Name
	v.Members, v.byName[m.Name] = append(v.Members, &m), &m
}
