package datamodel

// definition is a cube or view as its file has it, before extends and defaults.
type definition struct {
	Cube
	public  *bool
	members []*Member
	extends word
	views   []*viewCube
	rollups []rollup
	folders []*folder
	paths   []hierarchy

	policies []*policy
	broken   bool // it has a value of which a problem has been told, so that what is missing may be there
}

// word is a text and its place.
type word struct {
	text string
	pos  Position
}

// viewCube is one cube that a view shows.
type viewCube struct {
	path     word
	all      bool
	includes []include
	excludes []word
	prefix   bool
	alias    string
	pos      Position
}

// include is one member that a view shows, and what it changes of it.
type include struct {
	word
	alias       string
	title       string
	description string
	format      any
	meta        any
}

// folder is a Folder as its file has it: what it shows is a member, the members of a cube of the view, or a folder.
type folder struct {
	name  word
	all   bool
	items []folderItem
}

type folderItem struct {
	member word
	path   word // of a cube of the view, instead
	folder *folder
}

type hierarchy struct {
	Hierarchy
	public *bool
	levels []word
	pos    Position
}

// define reads a cube or a view.
func (l *loader) define(n *node, view bool) {
	kind := "a cube"
	if view {
		kind = "a view"
	}
	name, pos, named := l.name(n, kind)
	d := &definition{Cube: Cube{Name: name, View: view, Position: pos}}
	public := l.optional(&d.public)
	k := keys{of: kind, read: map[string]func(*node){
		"name":        ignore,
		"title":       l.text(&d.Title),
		"description": l.text(&d.Description),
		"public":      public,
		"shown":       public,
		"visible":     public,
		"meta":        l.any(&d.Meta),
		"extends": func(n *node) {
			l.text(&d.extends.text)(n)
			d.extends.pos = n.pos
		},
		"hierarchies": func(n *node) { l.hierarchies(d, n) },
		"access_policy": func(n *node) {
			if n.kind == null || n.kind == list && len(n.items) == 0 {
				l.fail(n.pos, "", "an access_policy without policies lets nobody in; leave it out to let everybody in")
			}
			l.each(pair{key: "access_policy", value: n}, func(n *node) { l.accessPolicy(d, n) })
		},
	}}
	if view {
		k.read["cubes"] = func(n *node) {
			l.each(pair{key: "cubes", value: n}, func(n *node) { l.viewCube(d, n) })
		}
		k.read["folders"] = func(n *node) {
			l.each(pair{key: "folders", value: n}, func(n *node) { d.folders = append(d.folders, l.folder(n)) })
		}
		k.refused = append(k.refused, "default_filters", "view_group", "view_groups", "includes", "excludes",
			"dimensions", "measures", "segments")
	} else {
		l.cubeKeys(d, k.read)
		k.refused = append(k.refused, "folders")
	}
	l.mapping(n, k)
	for _, f := range n.fields {
		key := Underscore(f.key)
		d.broken = d.broken || f.value.broken || (key == "sql" || key == "sql_table") && d.SQL == nil && d.SQLTable == nil
	}
	if !named {
		return
	}
	if first, ok := l.defs[name]; ok {
		at := first.Position
		if file := l.files[at.File]; file != nil {
			at, _ = file.place(at)
		}
		l.fail(pos, "", "%q is defined more than once; first at %s:%d", name, at.File, at.Line)
		return
	}
	l.defs[name] = d
	l.order = append(l.order, d)
}

// cubeKeys adds the readers of what only cubes have.
func (l *loader) cubeKeys(d *definition, read map[string]func(*node)) {
	read["sql"] = l.template(&d.SQL)
	read["sql_table"] = l.template(&d.SQLTable)
	read["sql_alias"] = func(n *node) {
		if l.text(&d.Alias)(n); !namePattern.MatchString(d.Alias) {
			l.fail(n.pos, n.text, "sql_alias has letters, digits and underscores, and does not begin with a digit")
		}
	}
	read["data_source"] = func(n *node) {
		if l.text(&d.DataSource)(n); n.scalar() && d.DataSource == "" {
			l.fail(n.pos, "", "data_source is empty")
		}
	}
	read["rewrite_queries"] = l.off("rewrite_queries")
	read["calendar"] = l.off("calendar")
	read["refresh_key"] = func(n *node) { l.refreshKey(&d.RefreshKey, n) }
	list := func(name string, f func(*node)) {
		read[name] = func(n *node) { l.each(pair{key: name, value: n}, f) }
	}
	list("joins", func(n *node) { l.join(d, n) })
	list("dimensions", func(n *node) { l.dimension(d, n) })
	list("measures", func(n *node) { l.measure(d, n) })
	list("segments", func(n *node) { l.segment(d, n) })
	list("pre_aggregations", func(n *node) { l.preAggregation(d, n) })
}

var relationships = map[string]Relationship{
	"many_to_one": ManyToOne, "manyToOne": ManyToOne, "belongs_to": ManyToOne, "belongsTo": ManyToOne,
	"one_to_many": OneToMany, "oneToMany": OneToMany, "has_many": OneToMany, "hasMany": OneToMany,
	"one_to_one": OneToOne, "oneToOne": OneToOne, "has_one": OneToOne, "hasOne": OneToOne,
}

func (l *loader) join(d *definition, n *node) {
	name, pos, ok := l.name(n, "a join")
	j := &Join{From: d.Name, To: name, Position: pos}
	l.mapping(n, keys{of: "a join", read: map[string]func(*node){
		"name":         ignore,
		"relationship": oneOf(l, &j.Relationship, "relationship", relationships),
		"sql":          l.template(&j.SQL),
	}})
	if !ok {
		return
	}
	for _, key := range []string{"relationship", "sql"} {
		if n.field(key) == nil {
			l.fail(pos, "", `"joins.%s.%s" is required`, name, key)
		}
	}
	if d.Join(name) != nil {
		l.fail(pos, "", "the join %q is defined more than once", name)
		return
	}
	d.Joins = append(d.Joins, j)
}

func (l *loader) hierarchies(d *definition, n *node) {
	l.each(pair{key: "hierarchies", value: n}, func(n *node) {
		name, pos, ok := l.name(n, "a hierarchy")
		h := hierarchy{Hierarchy: Hierarchy{Name: name}, pos: pos}
		l.mapping(n, keys{of: "a hierarchy", read: map[string]func(*node){
			"name": ignore, "title": l.text(&h.Title), "public": l.optional(&h.public), "levels": l.words(&h.levels),
		}})
		if ok {
			d.paths = append(d.paths, h)
		}
	})
}

// word returns a reader of a name and its place.
func (l *loader) word(to *word) func(*node) {
	return func(n *node) {
		l.text(&to.text)(n)
		to.pos = n.pos
	}
}

// words returns a reader of a list of names.
func (l *loader) words(to *[]word) func(*node) {
	return func(n *node) {
		if n.kind != list {
			l.fail(n.pos, n.text, "a list of names is expected here, not %s", n.kind)
			return
		}
		for _, item := range n.items {
			if !item.scalar() {
				l.fail(item.pos, "", "a name is expected here, not %s", item.kind)
				continue
			}
			*to = append(*to, word{item.text, item.pos})
		}
	}
}

func (l *loader) viewCube(d *definition, n *node) {
	v := &viewCube{pos: n.pos}
	l.mapping(n, keys{of: "a cube of a view", read: map[string]func(*node){
		"join_path": func(n *node) {
			l.text(&v.path.text)(n)
			v.path.pos = n.pos
		},
		"includes": func(n *node) {
			if n.scalar() && n.text == "*" {
				v.all = true
				return
			}
			if n.kind != list {
				l.fail(n.pos, n.text, "includes is '*' or a list of members, not %s", n.kind)
				return
			}
			for _, item := range n.items {
				v.includes = append(v.includes, l.include(item))
			}
		},
		"excludes": l.words(&v.excludes),
		"prefix":   l.flag(&v.prefix),
		"alias":    l.text(&v.alias),
		"split":    l.off("split"),
	}})
	switch {
	case v.path.text == "":
		l.fail(n.pos, "", "a cube of a view needs a join_path")
		return
	case n.field("includes") == nil:
		l.fail(n.pos, "", "the cube %s of view %s needs includes: '*' or a list of members", v.path.text, d.Name)
	}
	d.views = append(d.views, v)
}

func (l *loader) include(n *node) include {
	i := include{word: word{pos: n.pos}}
	if n.kind != mapping {
		l.text(&i.text)(n)
		return i
	}
	l.mapping(n, keys{of: "an included member", read: map[string]func(*node){
		"name": l.text(&i.text), "alias": l.text(&i.alias), "title": l.text(&i.title),
		"description": l.text(&i.description), "format": l.any(&i.format), "meta": l.any(&i.meta),
	}})
	if i.alias != "" && !namePattern.MatchString(i.alias) {
		l.fail(n.pos, i.alias, "an alias has letters, digits and underscores, and does not begin with a digit")
	}
	return i
}

// folder reads a folder, and those in it.
func (l *loader) folder(n *node) *folder {
	f := &folder{name: word{pos: n.pos}}
	l.mapping(n, keys{of: "a folder", read: map[string]func(*node){
		"name": l.text(&f.name.text),
		"includes": func(n *node) {
			if n.scalar() && n.text == "*" {
				f.all = true
				return
			}
			if n.kind != list {
				l.fail(n.pos, n.text, "includes is '*' or a list of members and folders, not %s", n.kind)
				return
			}
			for _, item := range n.items {
				f.items = append(f.items, l.folderItem(item))
			}
		},
	}})
	switch {
	case f.name.text == "":
		l.fail(n.pos, "", "a folder needs a name")
	case n.field("includes") == nil:
		l.fail(n.pos, "", "the folder %s needs includes", f.name.text)
	}
	return f
}

func (l *loader) folderItem(n *node) folderItem {
	item := folderItem{member: word{pos: n.pos}}
	switch {
	case n.kind != mapping:
		l.text(&item.member.text)(n)
	case n.field("join_path") != nil || n.field("joinPath") != nil:
		item.path.pos = n.pos
		l.mapping(n, keys{of: "the members of a join path", read: map[string]func(*node){"join_path": l.text(&item.path.text)}})
	default:
		item.folder = l.folder(n)
	}
	return item
}
