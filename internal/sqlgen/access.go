package sqlgen

import (
	"slices"
	"strconv"
	"strings"

	"github.com/behalf-project/behalf/internal/datamodel"
)

// mask is what the caller sees instead of a member of a cube.
type mask struct {
	// unless are conditions on rows, of which one makes the value itself visible; none means never.
	unless []condition
	// groups is false where a condition on rows cannot decide for a group of rows.
	groups bool
}

// rule is an access policy that applies to the caller, with its filters on rows for this caller.
type rule struct {
	*datamodel.Policy
	rows []condition // all must hold
	void bool        // a claim that the filters need is missing: the policy grants nothing
}

// restrict applies the access policies of the model to the query (cube-data-model.md §16). It adds conditions on rows
// and masks, and refuses members that nothing grants. It runs once the query's own members are known, and before the
// joins are, since a condition may be on a joined cube.
func (p *planner) restrict() error {
	a := &access{p: p, rules: map[string][]rule{}}
	for _, c := range p.columns {
		if err := a.check(c.member, true); err != nil {
			return err
		}
	}
	for _, m := range p.segments {
		if err := a.check(m, false); err != nil {
			return err
		}
	}
	for _, conditions := range [][]condition{p.ranges, p.rows, p.groups} {
		for _, c := range conditions {
			var err error
			c.each(func(c condition) {
				if err == nil {
					err = a.check(c.member, false)
				}
			})
			if err != nil {
				return err
			}
		}
	}
	p.granted, p.nothing = a.granted, a.nothing
	p.masks = a.masks
	return nil
}

// policyConditions returns all conditions of policies that the query evaluates, for rows or for masks.
func (p *planner) policyConditions() []condition {
	all := slices.Clone(p.granted)
	for _, c := range p.columns {
		all = append(all, p.masks[c.base].unless...)
		for _, m := range p.reads(c.base) {
			all = append(all, p.masks[m].unless...)
		}
	}
	return all
}

// access decides about the members of one query.
type access struct {
	p     *planner
	rules map[string][]rule // by cube or view; those that apply

	granted []condition // on rows, ANDed
	seen    []decision  // what was decided already
	nothing bool        // a member that only decides about rows is not granted: no row is
	masks   map[*datamodel.Member]mask
}

// decision is one decision: about a member, as such or as something that a member of a view is made of.
type decision struct {
	member  *datamodel.Member
	beneath bool
}

// check decides about a member that the query names, and about everything that its SQL reads. What is selected and not
// granted is refused; what only decides about rows lets none through.
func (a *access) check(m member, selected bool) error {
	ok, err := a.decide(decision{member: m.Member})
	if err != nil {
		return err
	}
	if !ok && selected {
		return hiddenMember(m)
	}
	a.nothing = a.nothing || !ok
	view := m.Source != nil
	for _, read := range a.p.reads(m.base) {
		if ok, err = a.decide(decision{member: read, beneath: view}); err != nil {
			return err
		}
		a.nothing = a.nothing || !ok
	}
	return nil
}

// reads returns the members of cubes that the SQL of m reads: itself, what it refers to, and the key behind a count.
func (p *planner) reads(m *datamodel.Member) []*datamodel.Member {
	all := []*datamodel.Member{m}
	for i := 0; i < len(all); i++ {
		at := all[i]
		add := func(m *datamodel.Member) {
			if m != nil && !slices.Contains(all, m) {
				all = append(all, m)
			}
		}
		cube := p.model.Cube(at.Cube)
		for _, ref := range p.references(cube, templates(at)) {
			add(ref.Member)
		}
		if at.Type == datamodel.Count && at.SQL == nil {
			for _, k := range cube.PrimaryKey() {
				add(k)
			}
		}
	}
	return all
}

// decide applies the policies of the member's cube or view to it, and reports whether they grant it.
func (a *access) decide(what decision) (bool, error) {
	cube := a.p.model.Cube(what.member.Cube)
	if len(cube.Policies) == 0 || slices.Contains(a.seen, what) {
		return true, nil
	}
	rules, err := a.applicable(cube)
	if err != nil {
		return false, err
	}
	// A policy of a cube beneath a view filters rows, and its lists of members are not asked: the view has its own.
	grants := func(r rule) datamodel.Grant {
		switch {
		case r.void:
			return datamodel.Denied
		case what.beneath:
			return datamodel.Granted
		}
		return r.Grants(what.member.Name)
	}
	var (
		alternatives []condition // of filters on rows; one must hold
		shown        []condition // those under which the value is not masked
		every        bool        // some policy grants every row
		plain        bool        // some policy grants the value of every row
		masked       bool        // some policy grants the mask
		granted      bool
	)
	for _, r := range rules {
		g := grants(r)
		if g == datamodel.Denied {
			continue
		}
		granted = true
		masked = masked || g == datamodel.Masked
		if len(r.rows) == 0 {
			every = true
			plain = plain || g == datamodel.Granted
			continue
		}
		all := condition{group: r.rows}
		alternatives = append(alternatives, all)
		if g == datamodel.Granted {
			shown = append(shown, all)
		}
	}
	if !granted {
		return false, nil
	}
	a.seen = append(a.seen, what)
	if !every {
		a.filter(condition{group: alternatives, or: true})
	}
	if masked && !plain {
		base := what.member
		if base.Source != nil {
			base = base.Source.Member
		}
		a.mask(base, shown)
	}
	return true, nil
}

// filter adds a condition on rows, once.
func (a *access) filter(c condition) {
	if !slices.ContainsFunc(a.granted, c.same) {
		a.granted = append(a.granted, c)
	}
}

// mask masks a member of a cube. One that is masked twice, as itself and as a member of a view, is masked the more.
func (a *access) mask(m *datamodel.Member, unless []condition) {
	if a.masks == nil {
		a.masks = map[*datamodel.Member]mask{}
	}
	if had, twice := a.masks[m]; twice && len(had.unless) == 0 {
		return
	}
	a.masks[m] = mask{unless: unless, groups: a.decidesForGroups(unless)}
}

// decidesForGroups reports whether conditions on rows are of members by which the query groups.
func (a *access) decidesForGroups(conditions []condition) bool {
	for _, c := range conditions {
		all := true
		c.each(func(c condition) {
			all = all && slices.ContainsFunc(a.p.grouping(), func(g column) bool { return g.base == c.member.base && g.granularity == "" })
		})
		if !all {
			return false
		}
	}
	return true
}

// applicable returns the policies of cube that apply to the caller.
func (a *access) applicable(cube *datamodel.Cube) ([]rule, error) {
	if rules, ok := a.rules[cube.Name]; ok {
		return rules, nil
	}
	rules := []rule{}
	for _, policy := range cube.Policies {
		applies, err := policy.Applies(a.p.sc.Groups, a.p.sc.Claims)
		if err != nil {
			return nil, err
		}
		if !applies {
			continue
		}
		r := rule{Policy: policy}
		var ok bool
		if r.rows, ok, err = a.conditions(policy.Rows); err != nil {
			return nil, err
		}
		r.void = !ok
		rules = append(rules, r)
	}
	a.rules[cube.Name] = rules
	return rules, nil
}

// conditions makes the filters of a policy for the caller. ok is false when a claim that they need is missing.
func (a *access) conditions(filters []datamodel.RowFilter) (all []condition, ok bool, err error) {
	for _, f := range filters {
		if f.Group != nil {
			group, ok, err := a.conditions(f.Group)
			if err != nil || !ok {
				return nil, false, err
			}
			all = append(all, condition{group: group, or: f.Or})
			continue
		}
		c := condition{member: a.p.named(f.Member), operator: f.Operator}
		for _, v := range f.Values {
			values, ok, err := v.Evaluate(a.p.sc.Claims)
			if err != nil || !ok {
				return nil, false, err
			}
			c.values = append(c.values, values...)
		}
		if len(c.values) == 0 && !f.Operator.Valueless() {
			return nil, false, nil
		}
		all = append(all, c)
	}
	return all, true, nil
}

// rule adds what the row rules of the cubes of the tree demand, and reports whether that is more than before: it may need
// more cubes, with rules of their own. Rules hold wherever a cube's rows are joined, though no member of it is read.
func (p *planner) rule() (more bool, err error) {
	a := &access{p: p, granted: p.granted, nothing: p.nothing}
	for _, name := range p.tree.cubes() {
		for _, r := range p.model.Cube(name).Rules {
			rows, ok, err := a.conditions(r.Filter)
			switch {
			case err != nil:
				return false, err
			case !ok && r.Refuse:
				return false, refusal("Filter for %s is required", filtered(r.Filter[0]))
			case !ok:
				a.nothing = true
			}
			for _, c := range rows {
				a.filter(c)
			}
		}
	}
	more = len(a.granted) > len(p.granted)
	p.granted, p.nothing = a.granted, a.nothing
	return more, nil
}

// filtered names a member that a filter is on.
func filtered(f datamodel.RowFilter) string {
	for f.Member == nil {
		f = f.Group[0]
	}
	return f.Member.FullName()
}

// same reports whether two conditions say the same of the same members.
func (c condition) same(other condition) bool {
	if c.group != nil || other.group != nil {
		return c.or == other.or && slices.EqualFunc(c.group, other.group, condition.same)
	}
	return c.member.base == other.member.base && c.operator == other.operator && slices.Equal(c.values, other.values)
}

// hiddenMember refuses to select a member that the caller may not see, in the words that Cube has for it.
func hiddenMember(m member) error {
	return refusal("You requested hidden member: '%s'. Please make it visible using `public: true`. Please note primaryKey "+
		"fields are `public: false` by default: https://cube.dev/docs/schema/reference/joins#setting-a-primary-key.", m.FullName())
}

// instead returns what stands in place of m for this caller; ok is false where m stands for itself. value renders it.
func (s scope) instead(m *datamodel.Member, value func() (Fragment, error)) (f Fragment, ok bool, err error) {
	if s.raw {
		return f, false, nil
	}
	k, masked := s.p.masks[m]
	if !masked {
		return f, false, nil
	}
	if f, err = s.masked(m); err != nil {
		return f, true, err
	}
	measure := m.Kind == datamodel.Measure
	if len(k.unless) == 0 || measure && (s.measureAs != nil || !k.groups && !s.p.q.Ungrouped) {
		return f, true, nil
	}
	shown, err := s.policyRows(k.unless, " OR ")
	if err != nil {
		return f, true, err
	}
	v, err := value()
	return Format("CASE WHEN {} THEN {} ELSE {} END", shown, v, f), true, err
}

// masked returns the mask of m. That of a measure in SQL needs the rows that it is of: where they are grouped away, or one
// by one, the default mask stands for it.
func (s scope) masked(m *datamodel.Member) (Fragment, error) {
	switch {
	case m.Mask != nil && m.Mask.SQL != nil && (m.Kind != datamodel.Measure || !s.p.q.Ungrouped && s.measureAs == nil):
		s.raw = true
		return s.sql(s.p.model.Cube(m.Cube), m.Mask.SQL)
	case m.Mask != nil && m.Mask.SQL == nil:
		return constant(m.Mask.Value), nil
	}
	return constant(s.p.o.Masks[m.ResultType()]), nil
}

// constant returns a value of the model or of the configuration as SQL: a text bound, and NULL where there is none. A
// placeholder alone has no type but that of a text.
func constant(v any) Fragment {
	switch v, _ := scalar(v); v := v.(type) {
	case string:
		return bind(v)
	case bool:
		return text(strings.ToUpper(strconv.FormatBool(v)))
	case int64:
		return text(strconv.FormatInt(v, 10))
	case float64:
		return text(strconv.FormatFloat(v, 'f', -1, 64))
	}
	return text("NULL")
}

// policyRows returns conditions of policies, which see the values themselves.
func (s scope) policyRows(conditions []condition, sep string) (Fragment, error) {
	s.raw, s.inZone = true, false
	var parts []Fragment
	for _, c := range conditions {
		f, err := s.where(c, func(m member) (Fragment, error) { return s.dimension(m.base) })
		if err != nil {
			return f, err
		}
		parts = append(parts, Format("({})", f))
	}
	return join(parts, sep), nil
}
