package datamodel

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/query"
	"github.com/behalf-project/behalf/internal/spelling"
)

// RowFilter is a filter that the model adds to a query, for a Policy or a RowRule: on one member, or a group of filters.
type RowFilter struct {
	Member   *Member // of the cube or view, or of a cube that it joins
	Operator query.Operator
	Values   []FilterValue

	Group []RowFilter // instead of the above
	Or    bool        // one of Group must hold, and not all
}

// FilterValue is a value of a RowFilter: a constant, or made of the caller's claims.
type FilterValue struct {
	Constant query.Value
	Claims   *Template // instead of Constant
}

// Evaluate returns the values that v stands for with these claims: a claim alone may be a list. ok is false when a
// claim is missing: then the filter cannot be made, and the policy grants nothing.
func (v FilterValue) Evaluate(claims map[string]any) (values []query.Value, ok bool, err error) {
	if v.Claims == nil {
		return []query.Value{v.Constant}, true, nil
	}
	if ctx, alone := v.Claims.Nodes[0].(Context); alone && len(v.Claims.Nodes) == 1 {
		claim := claimAt(claims, ctx.Path)
		items, list := claim.([]any)
		if !list {
			items = []any{claim}
		}
		for _, item := range items {
			text, ok := scalarText(item)
			if !ok {
				return nil, false, claimError(ctx.Path, item)
			}
			values = append(values, query.Value{Text: text})
		}
		return values, len(values) > 0, nil
	}
	var b strings.Builder
	for _, n := range v.Claims.Nodes {
		switch n := n.(type) {
		case Text:
			b.WriteString(string(n))
		case Context:
			claim := claimAt(claims, n.Path)
			text, ok := scalarText(claim)
			if !ok {
				return nil, false, claimError(n.Path, claim)
			}
			b.WriteString(text)
		}
	}
	return []query.Value{{Text: b.String()}}, true, nil
}

// claimError is nil for a claim that is missing: that is no mistake of anybody's.
func claimError(path []string, claim any) error {
	if claim == nil || claim == "" {
		return nil
	}
	return fault.New(fault.Invalid, "securityContext.%s is neither text, number nor boolean, as a filter on rows needs it", strings.Join(path, "."))
}

// claimAt returns the claim at path, or nil.
func claimAt(claims map[string]any, path []string) any {
	var at any = claims
	for _, key := range path {
		m, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = m[key]
	}
	if s, ok := at.([]string); ok {
		items := make([]any, len(s))
		for i := range s {
			items[i] = s[i]
		}
		return items
	}
	return at
}

// scalarText returns a claim as the text of a filter's value. An empty one counts as missing.
func scalarText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, v != ""
	case bool:
		return strconv.FormatBool(v), true
	case int:
		return strconv.Itoa(v), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), !math.IsNaN(v) && !math.IsInf(v, 0)
	case json.Number:
		return v.String(), true
	}
	return "", false
}

// rowFilter is a RowFilter as its file has it: names are resolved when the members of its cube are known.
type rowFilter struct {
	member   word
	operator query.Operator
	values   []FilterValue
	group    []rowFilter
	or       bool
	pos      Position
}

// rowFilters reads a list of filters.
func (l *loader) rowFilters(n *node) []rowFilter {
	var all []rowFilter
	l.each(pair{key: "filters", value: n}, func(n *node) {
		f := rowFilter{pos: n.pos}
		group := func(or bool) func(*node) {
			return func(n *node) { f.group, f.or = l.rowFilters(n), or }
		}
		l.mapping(n, keys{of: "a filter", read: map[string]func(*node){
			"or":  group(true),
			"and": group(false),
			"member": func(n *node) {
				l.text(&f.member.text)(n)
				f.member.pos = n.pos
			},
			"operator": func(n *node) {
				var ok bool
				if f.operator, ok = query.ParseOperator(n.text); !ok || f.operator == query.MeasureFilter {
					l.fail(n.pos, n.text, "there is no such operator")
				}
			},
			"values": func(n *node) { f.values = l.filterValues(n) },
		}})
		switch grouped := n.field("or") != nil || n.field("and") != nil; {
		case grouped && len(n.fields) > 1:
			l.fail(n.pos, "", "a group of filters has one key, or or and")
			return
		case grouped && len(f.group) == 0:
			l.fail(n.pos, "", "a group of filters has filters: an empty one would let every row through")
			return
		case !grouped && (f.member.text == "" || n.field("operator") == nil):
			l.fail(n.pos, "", "a filter needs a member and an operator")
			return
		case !grouped && n.field("values") == nil && !f.operator.Valueless():
			l.fail(n.pos, "", "the filter on %s needs values", f.member.text)
			return
		}
		all = append(all, f)
	})
	return all
}

// filterValues reads a list of values, or a claim that is one.
func (l *loader) filterValues(n *node) []FilterValue {
	claim := func(n *node, text string, at func(int) Position) (FilterValue, bool) {
		t := n.template
		if t == nil {
			var problem *Problem
			if t, problem = parseTemplate(text, at); problem != nil {
				l.problems = append(l.problems, *problem)
				return FilterValue{}, false
			}
		}
		claims := false
		for i, node := range t.Nodes {
			switch node := node.(type) {
			case Text:
				continue
			case Context:
				if claims = true; node.Method == Bare {
					continue
				}
			case Ref:
				if node.Path[0] == "context" && len(node.Path) > 1 {
					claims = true
					t.Nodes[i] = Context{Path: node.Path[1:], Position: node.Position}
					continue
				}
			}
			l.fail(n.pos, n.text, "a value of a filter on rows is text, and claims such as { securityContext.region }")
			return FilterValue{}, false
		}
		if !claims {
			return FilterValue{Constant: query.Value{Text: text}}, true
		}
		return FilterValue{Claims: t}, true
	}
	if n.scalar() {
		if v, ok := claim(n, "{"+n.text+"}", func(i int) Position { return n.at(max(0, i-1)) }); ok {
			if v.Claims == nil {
				l.fail(n.pos, n.text, "values is a list, or a claim such as securityContext.regions")
			}
			return []FilterValue{v}
		}
		return nil
	}
	if n.kind != list {
		l.fail(n.pos, n.text, "values is a list, or a claim such as securityContext.regions")
		return nil
	}
	var all []FilterValue
	for _, item := range n.items {
		switch {
		case item.kind == null:
			all = append(all, FilterValue{Constant: query.Value{Null: true}})
		case item.template != nil || item.kind == str && strings.ContainsAny(item.text, `{}`):
			if v, ok := claim(item, item.text, item.at); ok {
				all = append(all, v)
			}
		case item.scalar():
			all = append(all, FilterValue{Constant: query.Value{Text: item.text}})
		default:
			l.fail(item.pos, "", "a value is a text, a number, a boolean or nothing, not %s", item.kind)
		}
	}
	return all
}

// resolveFilters finds the dimensions of filters on rows of c. of says whose filters they are, for errors.
func (l *loader) resolveFilters(m *Model, c *Cube, filters []rowFilter, of string) []RowFilter {
	var all []RowFilter
	for _, f := range filters {
		if f.group != nil {
			all = append(all, RowFilter{Group: l.resolveFilters(m, c, f.group, of), Or: f.or})
			continue
		}
		member := c.Member(unqualified(f.member.text))
		if cube, name, dotted := strings.Cut(f.member.text, "."); dotted && !current(cube) && m.Cube(cube) != nil {
			member = m.Cube(cube).Member(name)
			if cube != c.Name && (c.View || m.Path(c.Name, cube) == nil) {
				l.fail(f.member.pos, "", "%s: %s cannot reach %s", of, c.Name, f.member.text)
				continue
			}
		}
		if member == nil || member.Kind != Dimension {
			l.fail(f.member.pos, "", "%s: %s has no dimension %q to filter rows by%s", of, c.Name, f.member.text,
				spelling.DidYouMean(f.member.text, slices.Sorted(maps.Keys(c.byName))))
			continue
		}
		all = append(all, RowFilter{Member: member, Operator: f.operator, Values: f.values})
	}
	return all
}
