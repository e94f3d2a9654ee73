package datamodel

import (
	"context"
	"io/fs"
)

// Language reads model files that are not YAML, such as those in JavaScript. It gives what YAML would: the loader has
// one table of keys for both, and says where a value is not what it must be.
type Language interface {
	// Reads reports whether a file of that name belongs to the language: a model, or something that models use.
	Reads(name string) bool

	// Read returns the cubes and views that files define, by name and text, and what is wrong with the files. It gets
	// all files of the language at once, as they may use one another. What they see around them is that of c. It returns
	// when ctx ends.
	Read(ctx context.Context, c *Compilation, files map[string]string) ([]Definition, []Problem)
}

// Definition is a cube or a view of a model file.
type Definition struct {
	View  bool
	Value *Value // a Map with the name among its fields
}

// Value is a value of a model file that is not YAML, with its place.
type Value struct {
	Kind     ValueKind
	Text     string    // of a String or Literal; of one that is a reference alone, its path: "CUBE.total"
	SQL      *Template // of a String: what it means where SQL is expected
	Items    []*Value  // of a List
	Fields   []Field   // of a Map, in the order of the file
	Broken   bool      // a problem of it has been told, and there is nothing to read
	Position Position
}

// Field is one entry of a Map.
type Field struct {
	Key      string
	Position Position
	Value    *Value
}

// ValueKind is what a Value is.
type ValueKind int

// The kinds. A Literal is a number or a boolean.
const (
	Null ValueKind = iota
	StringValue
	Literal
	List
	Map
)

// node returns v as what the loader reads.
func (v *Value) node() *node {
	n := &node{text: v.Text, template: v.SQL, pos: v.Position, file: &source{name: v.Position.File}, scripted: true, broken: v.Broken}
	switch v.Kind {
	case StringValue:
		n.kind, n.quoted = str, true
	case Literal:
		n.kind = other
	case List:
		n.kind = list
		for _, item := range v.Items {
			n.items = append(n.items, item.node())
		}
	case Map:
		n.kind = mapping
		for _, f := range v.Fields {
			n.fields = append(n.fields, pair{key: f.Key, pos: f.Position, value: f.Value.node()})
		}
	}
	return n
}

// named returns the entries of a mapping as the list that YAML has: {total: {…}} is [{name: total, …}].
func (n *node) named() *node {
	out := &node{kind: list, pos: n.pos, file: n.file, scripted: true}
	for _, f := range n.fields {
		item := *f.value
		if item.kind == mapping {
			name := &node{kind: str, text: f.key, pos: f.pos, file: n.file, scripted: true}
			item.fields = append([]pair{{key: "name", pos: f.pos, value: name}}, f.value.fields...)
			item.pos = f.pos
		}
		out.items = append(out.items, &item)
	}
	return out
}

// read reads the files of a language, which the walk over the folder has left to it.
func (l *loader) read(ctx context.Context, language Language, fsys fs.FS, names []string) error {
	files := make(map[string]string, len(names))
	for _, name := range names {
		data, ok, err := l.readFile(fsys, name)
		if err != nil {
			return err
		}
		if ok {
			files[name] = string(data)
		}
	}
	definitions, problems := language.Read(ctx, l.compilation, files)
	l.problems = append(l.problems, problems...)
	for _, d := range definitions {
		l.define(d.Value.node(), d.View)
	}
	return nil
}
