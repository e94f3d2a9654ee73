package cubesql

import (
	"cmp"
	"slices"
	"strings"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/spelling"
)

// Catalog is what one caller may name. It is safe for concurrent use.
type Catalog struct {
	model *datamodel.Model
	shown []datamodel.MetaCube
}

// NewCatalog returns the catalog of a model of which somebody sees meta.
func NewCatalog(model *datamodel.Model, meta datamodel.Meta) *Catalog {
	return &Catalog{model, meta.Cubes}
}

// table is a cube or a view that a statement reads.
type table struct {
	cube    *datamodel.Cube
	ref     tableRef
	members []*datamodel.Member // that the caller sees
	path    []string            // the cubes by which it is reached from the first one, both included
}

// called returns the name by which columns refer to t.
func (t *table) called() token {
	if t.ref.alias.kind != end {
		return t.ref.alias
	}
	return token{kind: quoted, text: t.cube.Name}
}

// find returns the one of all that t names: exactly, or, without quotes, whatever the case if there is no other such.
func find[T any](t token, all []T, name func(T) string) (found T, ok bool) {
	var alike []T
	for _, one := range all {
		switch n := name(one); {
		case n == t.text:
			return one, true
		case t.kind == word && strings.EqualFold(n, t.text):
			alike = append(alike, one)
		}
	}
	if len(alike) == 1 {
		return alike[0], true
	}
	return found, false
}

// unknown returns an error for a name that nothing has.
func unknown[T any](t token, what string, all []T, name func(T) string) error {
	names := make([]string, len(all))
	for i, one := range all {
		names[i] = name(one)
	}
	slices.Sort(names)
	return t.fail("there is no %s %q%s", what, clip(t.text), spelling.DidYouMean(t.text, names))
}

// table finds the cube or view of ref.
func (c *Catalog) table(ref tableRef) (*table, error) {
	name := func(m datamodel.MetaCube) string { return m.Name }
	meta, ok := find(ref.name, c.shown, name)
	if !ok {
		return nil, unknown(ref.name, "cube or view", c.shown, name)
	}
	shown := map[string]bool{}
	for _, m := range meta.Measures {
		shown[m.Name] = true
	}
	for _, m := range meta.Dimensions {
		shown[m.Name] = true
	}
	for _, m := range meta.Segments {
		shown[m.Name] = true
	}
	t := &table{cube: c.model.Cube(meta.Name), ref: ref, path: []string{meta.Name}}
	for _, m := range t.cube.Members {
		if shown[m.FullName()] {
			t.members = append(t.members, m)
		}
	}
	return t, nil
}

// tables finds what a statement reads, and how it is joined.
func (c *Catalog) tables(refs []tableRef) ([]*table, error) {
	var all []*table
	for _, ref := range refs {
		t, err := c.table(ref)
		if err != nil {
			return nil, err
		}
		for _, other := range all {
			if other.cube == t.cube {
				return nil, ref.fail("%s is read twice; a query reads each cube once", t.cube.Name)
			}
			if strings.EqualFold(other.called().text, t.called().text) {
				return nil, ref.fail("two tables are called %q; give one of them another name with AS", clip(t.called().text))
			}
		}
		if all = append(all, t); len(all) == 1 {
			continue
		}
		if all[0].cube.View || t.cube.View {
			return nil, ref.fail("a view is not joined; it has its joins already")
		}
		if err := join(all[:len(all)-1], t); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// join finds the cube of before from which the data model joins t.
func join(before []*table, t *table) error {
	joins := func(b *table) bool { return b.cube.Join(t.cube.Name) != nil }
	if t.ref.on != nil {
		left, err := joinField(t.ref.on, append(slices.Clone(before), t))
		if err != nil {
			return err
		}
		joins = func(b *table) bool { return b == left && b.cube.Join(t.cube.Name) != nil }
	}
	i := slices.IndexFunc(before, joins)
	switch {
	case i < 0:
		return t.ref.fail("the data model has no join that leads from there to %s; a cube that is joined comes after the one that joins it", t.cube.Name)
	case slices.ContainsFunc(before[i+1:], joins):
		return t.ref.fail("more than one of these cubes joins %s; say which one: LEFT JOIN … ON a.__cubeJoinField = b.__cubeJoinField", t.cube.Name)
	}
	t.path = append(slices.Clone(before[i].path), t.cube.Name)
	return nil
}

// joinField reads a.__cubeJoinField = b.__cubeJoinField, where one is the last of tables, and returns the other.
func joinField(on expr, tables []*table) (*table, error) {
	wrong := on.at().fail("cubes are joined by a.__cubeJoinField = b.__cubeJoinField, which stands for the join of the data model")
	c, ok := on.(*comparison)
	if !ok || c.op != "=" {
		return nil, wrong
	}
	var sides []*table
	for _, e := range []expr{c.left, c.right} {
		col, ok := e.(*column)
		if !ok || len(col.path) != 2 || !strings.EqualFold(col.path[1].text, "__cubeJoinField") {
			return nil, wrong
		}
		t, err := qualified(col.path[0], tables)
		if err != nil {
			return nil, err
		}
		sides = append(sides, t)
	}
	last := tables[len(tables)-1]
	switch {
	case sides[0] != last && sides[1] == last:
		return sides[0], nil
	case sides[0] == last && sides[1] != last:
		return sides[1], nil
	}
	return nil, wrong
}

// qualified finds the table that a column is said to be of.
func qualified(name token, tables []*table) (*table, error) {
	called := func(t *table) string { return t.called().text }
	t, ok := find(name, tables, called)
	if !ok {
		return nil, unknown(name, "table", tables, called)
	}
	return t, nil
}

// member finds what a column names.
func (c *column) member(tables []*table) (*datamodel.Member, error) {
	name := c.path[len(c.path)-1]
	if len(c.path) == 2 {
		t, err := qualified(c.path[0], tables)
		if err != nil {
			return nil, err
		}
		tables = []*table{t}
	}
	var found, known []*datamodel.Member
	for _, t := range tables {
		known = append(known, t.members...)
		if m, ok := find(name, t.members, memberName); ok {
			found = append(found, m)
		}
	}
	switch len(found) {
	case 0:
		return nil, unknown(name, "column", known, memberName)
	case 1:
		return found[0], nil
	}
	return nil, name.fail("%q may be %s or %s; write the table before it", clip(name.text), found[0].FullName(), found[1].FullName())
}

func memberName(m *datamodel.Member) string { return m.Name }

// kindOf names what m is, for an error.
func kindOf(m *datamodel.Member) string {
	return map[datamodel.Kind]string{datamodel.Dimension: "a dimension", datamodel.Measure: "a measure", datamodel.Segment: "a segment"}[m.Kind] +
		cmp.Or(map[bool]string{true: " of type " + m.Type}[m.Type != ""], "")
}
