package datamodel

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/query"
	"github.com/behalf-project/behalf/internal/spelling"
)

// Policy is one rule of a cube's or view's access_policy: what members of some groups may see (cube-data-model.md §16).
// Policies only ever grant. Where there is one, whoever none applies to sees nothing.
type Policy struct {
	Groups     []string // "*" is everybody
	Conditions []*Condition
	Rows       []PolicyFilter // all must hold; none lets every row through
	Position   Position

	level  members
	masked *members
}

// members are some of the members of a cube.
type members struct {
	all   bool
	named map[string]bool // includes, beside all
	not   map[string]bool // excludes
}

func (s members) has(name string) bool { return (s.all || s.named[name]) && !s.not[name] }

// Grant is how far a policy lets a member be seen.
type Grant int

// The grants.
const (
	Denied Grant = iota
	Masked       // the mask in place of the value
	Granted
)

// Grants returns how far p lets a member of its cube or view be seen. What is masked by name is masked, and so is what
// falls under a mask for all unless it is granted by name.
func (p *Policy) Grants(member string) Grant {
	switch {
	case p.masked != nil && p.masked.has(member) && (p.masked.named[member] || !p.level.named[member] || p.level.not[member]):
		return Masked
	case p.level.has(member):
		return Granted
	}
	return Denied
}

// Applies reports whether p is for a caller with these groups and claims. It fails with fault.Invalid for a condition
// that is neither true nor false.
func (p *Policy) Applies(groups []string, claims map[string]any) (bool, error) {
	if !slices.ContainsFunc(p.Groups, func(g string) bool { return g == "*" || slices.Contains(groups, g) }) {
		return false, nil
	}
	for _, c := range p.Conditions {
		if holds, err := c.holds(claims); err != nil || !holds {
			return false, err
		}
	}
	return true, nil
}

// PolicyFilter is a filter that a policy adds to a query: on one member, or a group of filters.
type PolicyFilter struct {
	Member   *Member // of the cube or view, or of a cube that it joins
	Operator query.Operator
	Values   []PolicyValue

	Group []PolicyFilter // instead of the above
	Or    bool           // one of Group must hold, and not all
}

// PolicyValue is a value of a PolicyFilter: a constant, or made of the caller's claims.
type PolicyValue struct {
	Constant query.Value
	Claims   *Template // instead of Constant
}

// Evaluate returns the values that v stands for with these claims: a claim alone may be a list. ok is false when a
// claim is missing: then the filter cannot be made, and the policy grants nothing.
func (v PolicyValue) Evaluate(claims map[string]any) (values []query.Value, ok bool, err error) {
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
	return fault.New(fault.Invalid, "securityContext.%s is neither text, number nor boolean, as the access policy needs it", strings.Join(path, "."))
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

// Condition is what a policy demands of the caller's claims: a claim, or claims with and, or and not.
type Condition struct {
	op    string // "and", "or", "not", "claim" or "constant"
	args  []*Condition
	path  []string
	value bool
}

// holds evaluates c. A claim that is missing is false; one that is no boolean is an error, as in Cube.
func (c *Condition) holds(claims map[string]any) (bool, error) {
	switch c.op {
	case "constant":
		return c.value, nil
	case "claim":
		switch v := claimAt(claims, c.path).(type) {
		case nil:
			return false, nil
		case bool:
			return v, nil
		}
		return false, fault.New(fault.Invalid, "Access policy condition must return boolean, and securityContext.%s is none", strings.Join(c.path, "."))
	case "not":
		v, err := c.args[0].holds(claims)
		return !v && err == nil, err
	}
	for _, arg := range c.args {
		if v, err := arg.holds(claims); err != nil || v == (c.op == "or") {
			return v, err
		}
	}
	return c.op == "and", nil
}

// condition reads the text of an if: an expression in braces.
func (p *exprParser) condition() (*Condition, *Problem) {
	return p.operands("or", func() (*Condition, *Problem) { return p.operands("and", p.negated) })
}

// operands reads operands with op between them.
func (p *exprParser) operands(op string, operand func() (*Condition, *Problem)) (*Condition, *Problem) {
	first, problem := operand()
	if problem != nil {
		return nil, problem
	}
	all := &Condition{op: op, args: []*Condition{first}}
	for p.word(op) {
		next, problem := operand()
		if problem != nil {
			return nil, problem
		}
		all.args = append(all.args, next)
	}
	if len(all.args) == 1 {
		return first, nil
	}
	return all, nil
}

func (p *exprParser) negated() (*Condition, *Problem) {
	if p.word("not") {
		inner, problem := p.negated()
		return &Condition{op: "not", args: []*Condition{inner}}, problem
	}
	if p.space(); p.accept('(') {
		inner, problem := p.condition()
		if problem != nil {
			return nil, problem
		}
		if p.space(); !p.accept(')') {
			return nil, p.fail(p.i, `")" is missing`)
		}
		return inner, nil
	}
	start := p.i
	path, problem := p.path()
	if problem != nil {
		return nil, problem
	}
	switch path[0] {
	case "securityContext", "security_context", "SECURITY_CONTEXT", "USER_CONTEXT":
		path = path[1:]
	case "userAttributes", "user_attributes":
		path = append([]string{"cubeCloud", "userAttributes"}, path[1:]...)
	case "True", "true", "False", "false":
		if len(path) == 1 {
			return &Condition{op: "constant", value: strings.EqualFold(path[0], "true")}, nil
		}
	default:
		return nil, p.fail(start, "a condition is made of securityContext, userAttributes, True and False, with and, or and not; there is no %s", path[0])
	}
	if len(path) == 0 {
		return nil, p.fail(start, "name a value of the security context, such as securityContext.active")
	}
	return &Condition{op: "claim", path: path}, nil
}

// word reads a word of the language, if it is next.
func (p *exprParser) word(w string) bool {
	p.space()
	rest, ok := strings.CutPrefix(p.s[p.i:], w)
	if !ok || rest != "" && strings.IndexByte(" \t\r\n(", rest[0]) < 0 {
		return false
	}
	p.i += len(w)
	return true
}

// policy is a Policy as its file has it: names are resolved when the members of its cube are known.
type policy struct {
	Policy
	names []word // that must be members
	rows  []policyFilter
}

type policyFilter struct {
	member   word
	operator query.Operator
	values   []PolicyValue
	group    []policyFilter
	or       bool
	pos      Position
}

// accessPolicy reads one entry of access_policy.
func (l *loader) accessPolicy(d *definition, n *node) {
	p := &policy{Policy: Policy{Position: n.pos, level: members{all: true}}}
	groups := 0
	group := func(n *node) {
		groups++
		var one string
		if l.text(&one)(n); one != "" {
			p.Groups = append(p.Groups, one)
		}
	}
	allowAll, filters := false, false
	l.mapping(n, keys{of: "an access policy", read: map[string]func(*node){
		"group": group,
		"role":  group,
		"groups": func(n *node) {
			groups++
			var names []word
			l.words(&names)(n)
			for _, w := range names {
				p.Groups = append(p.Groups, w.text)
			}
		},
		"conditions": func(n *node) {
			l.each(pair{key: "conditions", value: n}, func(n *node) {
				l.mapping(n, keys{of: "a condition", read: map[string]func(*node){"if": func(n *node) { l.condition(p, n) }}})
				if n.field("if") == nil {
					l.fail(n.pos, "", "a condition needs if")
				}
			})
		},
		"member_level":   func(n *node) { p.level = l.members(p, n) },
		"member_masking": func(n *node) { masked := l.members(p, n); p.masked = &masked },
		"row_level": func(n *node) {
			if n.kind != mapping {
				l.fail(n.pos, n.text, "row_level is a mapping with filters or allow_all")
				return
			}
			l.mapping(n, keys{of: "row_level", read: map[string]func(*node){
				"allow_all": func(n *node) {
					if l.flag(&allowAll)(n); n.text == "false" {
						l.fail(n.pos, "", "allow_all: false says nothing: leave it out, or give filters")
					}
				},
				"filters": func(n *node) {
					filters = true
					p.rows = l.policyFilters(n)
				},
			}})
			if allowAll && filters {
				l.fail(n.pos, "", "row_level has either filters or allow_all")
			}
		},
	}})
	switch {
	case groups == 0:
		l.fail(n.pos, "", `an access policy needs group or groups; "*" is everybody`)
	case groups > 1:
		l.fail(n.pos, "", "an access policy has one of group, groups and role")
	case len(p.Groups) == 0:
		l.fail(n.pos, "", "an access policy for no group is for nobody")
	}
	if p.masked != nil && n.field("member_level") == nil && n.field("memberLevel") == nil {
		l.fail(n.pos, "", "member_masking needs member_level beside it")
	}
	d.policies = append(d.policies, p)
}

// condition reads {if: "{ … }"}.
func (l *loader) condition(p *policy, n *node) {
	if n.scalar() && !n.quoted && (n.text == "true" || n.text == "false") {
		p.Conditions = append(p.Conditions, &Condition{op: "constant", value: n.text == "true"})
		return
	}
	if !n.scalar() || !strings.HasPrefix(strings.TrimSpace(n.text), "{") {
		l.fail(n.pos, n.text, `a condition is an expression in braces, such as "{ securityContext.active }"`)
		return
	}
	e := &exprParser{s: n.text, i: strings.IndexByte(n.text, '{') + 1, at: n.at}
	c, problem := e.condition()
	if problem == nil {
		if e.space(); !e.accept('}') {
			problem = e.fail(e.i, "a condition is made of claims with and, or and not; comparisons are not supported")
		} else if e.space(); e.i < len(e.s) {
			problem = e.fail(e.i, "a condition ends with its brace")
		}
	}
	if problem != nil {
		l.problems = append(l.problems, *problem)
		return
	}
	p.Conditions = append(p.Conditions, c)
}

// members reads {includes, excludes}.
func (l *loader) members(p *policy, n *node) members {
	m := members{all: true, named: map[string]bool{}, not: map[string]bool{}}
	if n.kind != mapping {
		l.fail(n.pos, n.text, "this is a mapping with includes and excludes")
		return m
	}
	names := func(to map[string]bool) func(*node) {
		return func(n *node) {
			var list []word
			l.words(&list)(n)
			for _, w := range list {
				w.text = strings.TrimPrefix(w.text, "CUBE.")
				to[w.text] = true
				p.names = append(p.names, w)
			}
		}
	}
	l.mapping(n, keys{of: "a list of members", read: map[string]func(*node){
		"includes": func(n *node) {
			if n.scalar() && n.text == "*" {
				return
			}
			m.all = false
			names(m.named)(n)
		},
		"excludes": func(n *node) {
			if n.scalar() && n.text == "*" {
				m.all, m.named = false, map[string]bool{}
				return
			}
			names(m.not)(n)
		},
	}})
	return m
}

// policyFilters reads the filters of row_level.
func (l *loader) policyFilters(n *node) []policyFilter {
	var all []policyFilter
	l.each(pair{key: "filters", value: n}, func(n *node) {
		f := policyFilter{pos: n.pos}
		group := func(or bool) func(*node) {
			return func(n *node) { f.group, f.or = l.policyFilters(n), or }
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
			"values": func(n *node) { f.values = l.policyValues(n) },
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

// policyValues reads a list of values, or a claim that is one.
func (l *loader) policyValues(n *node) []PolicyValue {
	claim := func(n *node, text string, at func(int) Position) (PolicyValue, bool) {
		t := n.template
		if t == nil {
			var problem *Problem
			if t, problem = parseTemplate(text, at); problem != nil {
				l.problems = append(l.problems, *problem)
				return PolicyValue{}, false
			}
		}
		claims := false
		for _, node := range t.Nodes {
			switch node := node.(type) {
			case Text:
				continue
			case Context:
				if claims = true; node.Method == Bare {
					continue
				}
			}
			l.fail(n.pos, n.text, "a value of an access policy is text, and claims such as { securityContext.region }")
			return PolicyValue{}, false
		}
		if !claims {
			return PolicyValue{Constant: query.Value{Text: text}}, true
		}
		return PolicyValue{Claims: t}, true
	}
	if n.scalar() {
		if v, ok := claim(n, "{"+n.text+"}", func(i int) Position { return n.at(max(0, i-1)) }); ok {
			if v.Claims == nil {
				l.fail(n.pos, n.text, "values is a list, or a claim such as securityContext.regions")
			}
			return []PolicyValue{v}
		}
		return nil
	}
	if n.kind != list {
		l.fail(n.pos, n.text, "values is a list, or a claim such as securityContext.regions")
		return nil
	}
	var all []PolicyValue
	for _, item := range n.items {
		switch {
		case item.kind == null:
			all = append(all, PolicyValue{Constant: query.Value{Null: true}})
		case item.template != nil || item.kind == str && strings.ContainsAny(item.text, `{}`):
			if v, ok := claim(item, item.text, item.at); ok {
				all = append(all, v)
			}
		case item.scalar():
			all = append(all, PolicyValue{Constant: query.Value{Text: item.text}})
		default:
			l.fail(item.pos, "", "a value is a text, a number, a boolean or nothing, not %s", item.kind)
		}
	}
	return all
}

// policies resolves the names in the policies of a cube or view.
func (l *loader) policies(m *Model, c *Cube, d *definition) {
	for _, raw := range d.policies {
		p := raw.Policy
		for _, w := range raw.names {
			name := strings.TrimPrefix(w.text, "CUBE.")
			if c.Member(name) == nil {
				l.fail(w.pos, "", "access policy: %s has no member %q%s", c.Name, w.text, spelling.DidYouMean(name, slices.Sorted(maps.Keys(c.byName))))
			}
		}
		p.Rows = l.resolveFilters(m, c, raw.rows)
		c.Policies = append(c.Policies, &p)
	}
}

func (l *loader) resolveFilters(m *Model, c *Cube, filters []policyFilter) []PolicyFilter {
	var all []PolicyFilter
	for _, f := range filters {
		if f.group != nil {
			all = append(all, PolicyFilter{Group: l.resolveFilters(m, c, f.group), Or: f.or})
			continue
		}
		member := c.Member(strings.TrimPrefix(f.member.text, "CUBE."))
		if cube, name, dotted := strings.Cut(f.member.text, "."); dotted && cube != "CUBE" && m.Cube(cube) != nil {
			member = m.Cube(cube).Member(name)
			if cube != c.Name && (c.View || m.Path(c.Name, cube) == nil) {
				l.fail(f.member.pos, "", "access policy: %s cannot reach %s", c.Name, f.member.text)
				continue
			}
		}
		if member == nil || member.Kind != Dimension {
			l.fail(f.member.pos, "", "access policy: %s has no dimension %q to filter rows by%s", c.Name, f.member.text,
				spelling.DidYouMean(f.member.text, slices.Sorted(maps.Keys(c.byName))))
			continue
		}
		all = append(all, PolicyFilter{Member: member, Operator: f.operator, Values: f.values})
	}
	return all
}

// Mask is what stands in place of a value that a caller may not see.
type Mask struct {
	SQL   *Template
	Value any // string, json.Number or bool, when there is no SQL
}

// mask returns a reader of a mask: a number, a boolean, {sql: …}, or a text in quotes of its own, since a bare one is an
// expression to Cube (cube-data-model.md §16.4).
func (l *loader) mask(to **Mask) func(*node) {
	return func(n *node) {
		m := &Mask{}
		*to = m
		switch n.kind {
		case mapping:
			l.onlySQL("mask", &m.SQL, n)
			return
		case other:
			m.Value = plain(n)
			return
		case str:
			e := &exprParser{s: n.text, at: n.at}
			if text, formatted, problem := e.stringLiteral(); problem == nil && !formatted && e.i == len(n.text) {
				m.Value = text
				return
			}
		}
		l.fail(n.pos, n.text, `a mask is a number, true, false, {sql: …}, or a text in quotes of its own, such as "'hidden'"`)
	}
}

// Visible returns which members a caller with these groups and claims may name. A view's members are those that its own
// policies grant; the policies of its cubes filter rows only.
func (m *Model) Visible(groups []string, claims map[string]any) (func(*Member) bool, error) {
	applicable := map[string][]*Policy{}
	for _, c := range m.cubes {
		for _, p := range c.Policies {
			applies, err := p.Applies(groups, claims)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.Name, err)
			}
			if applies {
				applicable[c.Name] = append(applicable[c.Name], p)
			}
		}
	}
	return func(member *Member) bool {
		if len(m.byName[member.Cube].Policies) == 0 {
			return true
		}
		return slices.ContainsFunc(applicable[member.Cube], func(p *Policy) bool { return p.Grants(member.Name) != Denied })
	}, nil
}
