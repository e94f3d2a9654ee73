package datamodel

import (
	"fmt"
	"slices"
	"strings"

	"github.com/behalf-project/behalf/internal/spelling"
)

// RowRule is a filter that every query which touches its cube gets, whoever asks and through whatever view: what others
// write as a queryRewrite (cube-data-model.md §17). It is demanded beside the access policies, and grants nothing.
type RowRule struct {
	Filter   []RowFilter // all must hold
	Refuse   bool        // a claim that is missing refuses the query, where otherwise it lets no row through
	Position Position

	source int // its place among the rules of the model: the same for all cubes that it is of
}

// rowRule is a RowRule as its file has it.
type rowRule struct {
	RowRule
	cubes  []word
	filter []rowFilter
}

// rowRule reads one entry of row_rules.
func (l *loader) rowRule(n *node) {
	r := rowRule{RowRule: RowRule{Position: n.pos}}
	missing := "deny"
	l.mapping(n, keys{of: "a row rule", read: map[string]func(*node){
		"cubes":  l.words(&r.cubes),
		"filter": func(n *node) { r.filter = l.rowFilters(&node{kind: list, items: []*node{n}, pos: n.pos, file: n.file}) },
		"on_missing": func(n *node) {
			if n.text == "allow" {
				l.fail(n.pos, n.text, "a rule that a missing claim switches off would be none: on_missing is deny or refuse")
				return
			}
			oneOf(l, &missing, "on_missing", map[string]string{"deny": "deny", "refuse": "refuse"})(n)
		},
	}})
	r.Refuse = missing == "refuse"
	switch {
	case n.field("cubes") == nil || n.field("cubes").kind == list && len(r.cubes) == 0:
		l.fail(n.pos, "", "a row rule needs the cubes that it is of")
	case n.field("filter") == nil:
		l.fail(n.pos, "", "a row rule needs a filter, such as {member: orders.tenant_id, operator: equals, values: [\"{context.tenant_id}\"]}")
	}
	l.rules = append(l.rules, r)
}

// rowRules gives the rules to their cubes, and to the cubes that extend these.
func (l *loader) rowRules(m *Model) {
	for i, r := range l.rules {
		for _, w := range r.cubes {
			switch c := m.Cube(w.text); {
			case c == nil:
				l.fail(w.pos, "", "row rule: there is no cube %q%s", w.text, spelling.DidYouMean(w.text, l.names(false)))
				continue
			case c.View:
				l.fail(w.pos, "", "row rule: %s is a view; name the cubes beneath, and the rule holds through every view of them", w.text)
				continue
			}
			for _, c := range m.cubes {
				if !c.View && m.extends(c, w.text) {
					rule := r.RowRule
					rule.source = i
					rule.Filter = l.resolveFilters(m, c, own(r.filter, w.text), "row rule")
					c.Rules = append(c.Rules, &rule)
				}
			}
		}
	}
}

// extends reports whether c is the named cube, or extends it.
func (m *Model) extends(c *Cube, name string) bool {
	for ; c != nil; c = m.byName[c.Extends] {
		if c.Name == name {
			return true
		}
	}
	return false
}

// own returns filters in which the members of a cube are named without it, so that they are those of a cube that extends it.
func own(filters []rowFilter, cube string) []rowFilter {
	filters = slices.Clone(filters)
	for i := range filters {
		filters[i].member.text = strings.TrimPrefix(filters[i].member.text, cube+".")
		filters[i].group = own(filters[i].group, cube)
	}
	return filters
}

// Unruled says why SQL of reader may not read the rows of c as {c.sql()}, which no rule filters; it is empty when it may. The
// table of a cube may when every rule of c is one of that cube too, which then filters what is made of them. Of a member, a
// join and whatever else is no table, reader is nil: nothing filters what that makes of them.
func (c *Cube) Unruled(reader *Cube) string {
	for _, r := range c.Rules {
		switch {
		case reader == nil:
			return fmt.Sprintf("{%s.sql()} reads rows that the row rule at %s:%d would keep back: outside the sql of a cube no rule "+
				"filters them; join %[1]s, or name it in a sub_query", c.Name, r.Position.File, r.Position.Line)
		case !slices.ContainsFunc(reader.Rules, func(own *RowRule) bool { return own.source == r.source }):
			return fmt.Sprintf("{%s.sql()} reads rows that the row rule at %s:%d would keep back, and %s is not of that rule: name %[4]s "+
				"among its cubes too", c.Name, r.Position.File, r.Position.Line, reader.Name)
		}
	}
	return ""
}

// ruled checks what rules do not reach by themselves: a filter that is made of other cubes' measures.
func (c *checker) ruled() {
	for _, cube := range c.model.cubes {
		for _, r := range cube.Rules {
			c.ruledBy(r.Filter, r.Position)
		}
	}
}

func (c *checker) ruledBy(filters []RowFilter, at Position) {
	for _, f := range filters {
		c.ruledBy(f.Group, at)
		if f.Member != nil && f.Member.SubQuery {
			c.fail(at, "", "row rule: %s is a sub_query, which is known too late to filter rows by", f.Member.FullName())
		}
	}
}
