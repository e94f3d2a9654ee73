package datamodel

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/spelling"
)

// Policy is one rule of a cube's or view's access_policy: what members of some groups may see (cube-data-model.md §16).
// Policies only ever grant. Where there is one, whoever none applies to sees nothing.
type Policy struct {
	Groups     []string // "*" is everybody
	Conditions []*Condition
	Rows       []RowFilter // all must hold; none lets every row through
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
	rows  []rowFilter
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
					p.rows = l.rowFilters(n)
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
				w.text = unqualified(w.text)
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

// policies resolves the names in the policies of a cube or view.
func (l *loader) policies(m *Model, c *Cube, d *definition) {
	for _, raw := range d.policies {
		p := raw.Policy
		for _, w := range raw.names {
			name := unqualified(w.text)
			if c.Member(name) == nil {
				l.fail(w.pos, "", "access policy: %s has no member %q%s", c.Name, w.text, spelling.DidYouMean(name, slices.Sorted(maps.Keys(c.byName))))
			}
		}
		p.Rows = l.resolveFilters(m, c, raw.rows, "access policy")
		c.Policies = append(c.Policies, &p)
	}
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
