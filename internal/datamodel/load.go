package datamodel

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// maxFile bounds one model file.
const maxFile = 8 << 20

// Load compiles a model that is for nobody in particular and sees no variable, without a deadline; see Compilation.
func Load(fsys fs.FS, languages ...Language) (*Model, error) {
	return new(Compilation).Load(context.Background(), fsys, languages...)
}

// Load reads every .yml, .yaml and .jinja file below fsys, and those of the languages given, until ctx ends. What is
// written in one may refer to what is written in another. Its error is a *LoadError with everything that is wrong, a
// *PerAppID, or that of fsys or ctx.
func (c *Compilation) Load(ctx context.Context, fsys fs.FS, languages ...Language) (*Model, error) {
	defer c.seal()
	l := &loader{compilation: c, defs: map[string]*definition{}, files: map[string]*source{}, rank: map[string]int{}}
	theirs := make([][]string, len(languages))
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err = cmp.Or(err, ctx.Err()); err != nil {
			return err
		}
		if d.IsDir() {
			if hidden(name, d) {
				return fs.SkipDir
			}
			return nil
		}
		l.rank[name] = len(l.rank)
		if i := slices.IndexFunc(languages, func(one Language) bool { return one.Reads(name) }); i >= 0 {
			theirs[i] = append(theirs[i], name)
			return nil
		}
		return l.file(ctx, fsys, name)
	})
	for i, names := range theirs {
		if err == nil && len(names) > 0 {
			err = l.read(ctx, languages[i], fsys, names)
		}
	}
	if err = cmp.Or(err, ctx.Err()); err != nil {
		return nil, err
	}
	slices.SortStableFunc(l.order, func(a, b *definition) int { return l.rank[a.Position.File] - l.rank[b.Position.File] })
	waits := c.waits()
	var m *Model
	if waits == nil { // else what was read is not all there is
		m = l.link()
	}
	l.replace(l.problems)
	l.replace(l.notices)
	if len(l.problems) > 0 {
		slices.SortStableFunc(l.problems, func(a, b Problem) int {
			return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
		})
		return nil, &LoadError{Problems: slices.Compact(l.problems)}
	}
	if waits != nil {
		return nil, waits
	}
	m.compilation, m.notices = c, append(m.notices, c.told()...)
	return m, nil
}

// hidden reports whether a folder is none of the model's.
func hidden(name string, d fs.DirEntry) bool {
	return name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules")
}

// loader collects definitions and what is wrong with them.
type loader struct {
	compilation *Compilation
	order       []*definition
	defs        map[string]*definition
	files       map[string]*source
	rank        map[string]int // the place of each file in the order of the folder
	rules       []rowRule
	problems    []Problem
	notices     []Problem
}

// fail records a problem at a place. text is the text in question, "" when the message has it.
func (l *loader) fail(at Position, text, format string, args ...any) {
	l.problems = append(l.problems, Problem{Position: at, Message: fmt.Sprintf(format, args...), Text: strings.TrimSpace(text)})
}

func (l *loader) notice(at Position, format string, args ...any) {
	l.notices = append(l.notices, Problem{Position: at, Message: fmt.Sprintf(format, args...)})
}

// file reads one file, if it is one of a model.
func (l *loader) file(ctx context.Context, fsys fs.FS, name string) error {
	ext := path.Ext(name)
	switch ext {
	case ".yml", ".yaml", ".jinja":
	case ".js":
		l.fail(Position{File: name, Line: 1, Column: 1}, "", "models in JavaScript are not read here")
		return nil
	default:
		if path.Base(name) == "globals.py" {
			l.fail(Position{File: name, Line: 1, Column: 1}, "", "globals.py is Python, which does not run here: write its variables and macros in a Jinja template that others import")
		}
		return nil
	}
	data, ok, err := l.readFile(fsys, name)
	if ok {
		l.parse(ctx, fsys, name, data)
	}
	return err
}

// readFile returns the text of a file, or false when it is too large, which is a problem.
func (l *loader) readFile(fsys fs.FS, name string) (data []byte, ok bool, err error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, false, err
	}
	if info.Size() > maxFile {
		l.fail(Position{File: name, Line: 1, Column: 1}, "", "the file is larger than %d MiB", maxFile>>20)
		return nil, false, nil
	}
	data, err = fs.ReadFile(fsys, name)
	return data, err == nil, err
}

// parse reads the text of one file. What has a mark of Jinja, or the name of a template, is one.
func (l *loader) parse(ctx context.Context, fsys fs.FS, name string, data []byte) {
	file := &source{name: name, lines: splitLines(data)}
	if path.Ext(name) == ".jinja" || jinja(data) {
		var problem *Problem
		if file, data, problem = render(ctx, l.compilation, fsys, name, data); problem != nil {
			l.problems = append(l.problems, *problem)
			return
		}
		if file == nil { // it waits for somebody to ask
			return
		}
	}
	l.files[name] = file
	docs, problem := readYAML(file, data)
	if problem != nil {
		l.problems = append(l.problems, *problem)
		return
	}
	for _, doc := range docs {
		l.document(doc)
	}
}

// replace gives problems of what a template rendered the place in the template.
func (l *loader) replace(problems []Problem) {
	for i, p := range problems {
		file := l.files[p.File]
		if file == nil {
			continue
		}
		at, rendered := file.place(p.Position)
		problems[i].Position = at
		if rendered != "" {
			problems[i].Message += " (rendered as " + strconv.Quote(rendered) + ")"
		}
	}
}

// jinja reports whether data has a mark that makes Cube take a file for a template (cube-data-model.md §3.1).
func jinja(data []byte) bool {
	for _, m := range []string{"{{", "}}", "{%", "%}"} {
		if bytes.Contains(data, []byte(m)) {
			return true
		}
	}
	return false
}

func (l *loader) document(doc *node) {
	if doc.kind == null {
		return
	}
	if doc.kind != mapping {
		l.fail(doc.pos, doc.text, "a model file is a mapping with the keys cubes and views, not %s", doc.kind)
		return
	}
	for _, f := range doc.fields {
		switch f.key {
		case "cubes":
			l.each(f, func(n *node) { l.define(n, false) })
		case "views":
			l.each(f, func(n *node) { l.define(n, true) })
		case "row_rules", "rowRules":
			l.each(f, l.rowRule)
		case "view_groups", "viewGroups":
			l.fail(f.pos, "", "view_groups are not supported yet")
		default:
			l.fail(f.pos, "", "Unexpected YAML key: %s. Only cubes, views, view_groups, row_rules are allowed here", f.key)
		}
	}
}

// each calls f for every mapping of a list. A list that is missing is empty.
func (l *loader) each(entries pair, f func(*node)) {
	n := entries.value
	if n.kind == mapping && n.scripted {
		n = n.named()
	}
	switch n.kind {
	case null:
		return
	case list:
	default:
		l.fail(n.pos, n.text, "%s must be a list, not %s", entries.key, n.kind)
		return
	}
	for _, item := range n.items {
		if item.kind != mapping {
			l.fail(item.pos, item.text, "an item of %s must be a mapping with a name, not %s", entries.key, item.kind)
			continue
		}
		f(item)
	}
}
