package sqlgen

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/query"
)

// condition is a filter whose members are found: a condition on one member, or a group.
type condition struct {
	member   member
	operator query.Operator
	values   []query.Value
	dates    *query.DateRange // of a time dimension, instead of operator and values

	group    []condition
	or       bool
	measures bool // of the member, or of all members of the group
}

// conditions finds the members of filters. A group is of dimensions or of measures, for one is a condition on rows
// and the other on groups of rows.
func (p *planner) conditions(filters []query.Filter) ([]condition, error) {
	var all []condition
	for _, f := range filters {
		if !f.Group() {
			m, err := p.member(f.Member, datamodel.Dimension, datamodel.Measure)
			if err != nil {
				return nil, err
			}
			all = append(all, condition{member: m, operator: f.Operator, values: f.Values, measures: m.Kind == datamodel.Measure})
			continue
		}
		group, err := p.conditions(append(f.Or, f.And...))
		if err != nil {
			return nil, err
		}
		if len(group) == 0 {
			continue
		}
		for _, c := range group {
			if c.measures != group[0].measures {
				text, err := json.Marshal(f)
				if err != nil {
					return nil, err
				}
				return nil, refusal("You cannot use dimension and measure in same condition: %s", text)
			}
		}
		all = append(all, condition{group: group, or: f.Or != nil, measures: group[0].measures})
	}
	return all, nil
}

// each calls f for every condition on a member.
func (c condition) each(f func(condition)) {
	if c.group == nil {
		f(c)
		return
	}
	for _, g := range c.group {
		g.each(f)
	}
}

// where returns a condition without parentheses around it. value renders a member.
func (s scope) where(c condition, value func(member) (Fragment, error)) (Fragment, error) {
	if c.group != nil {
		parts := make([]Fragment, len(c.group))
		for i, g := range c.group {
			f, err := s.where(g, value)
			if err != nil {
				return f, err
			}
			parts[i] = Format("({})", f)
		}
		if c.or {
			return join(parts, " OR "), nil
		}
		return join(parts, " AND "), nil
	}
	if c.operator == query.MeasureFilter {
		if len(c.member.base.Filters) == 0 {
			return text("1 = 1"), nil
		}
		return s.conditions(c.member.cube, c.member.base.Filters)
	}
	f, err := value(c.member)
	if err != nil {
		return f, err
	}
	return s.compare(f, c)
}

// compare returns the condition c on the expression f (cube-rest-api.md §9.2). Cube puts f there as it is, so that a
// dimension a OR b that equals $1 means a OR b = $1.
func (s scope) compare(f Fragment, c condition) (Fragment, error) {
	f = operand(f)
	if c.dates != nil {
		from, to, err := c.dates.Bounds(s.p.loc)
		if err != nil {
			return f, err
		}
		return s.between(f, from, to), nil
	}
	var values []query.Value
	null := false
	for _, v := range c.values {
		if strings.ContainsRune(v.Text, 0) {
			return f, refusal("A value of the filter on %s contains a NUL character", c.member.FullName())
		}
		if v.Null {
			null = true
			continue
		}
		values = append(values, v)
	}
	isNull, isNotNull := Format("{} IS NULL", f), Format("{} IS NOT NULL", f)
	switch c.operator {
	case query.Set:
		return isNotNull, nil
	case query.NotSet:
		return isNull, nil
	case query.Equals, query.In:
		if len(values) == 0 {
			return isNull, nil
		}
		bound, err := s.bindAll(c.member, values)
		switch {
		case err != nil:
			return f, err
		}
		equal := Format("{} IN ({})", f, bound)
		if len(values) == 1 && c.operator == query.Equals && !null {
			equal = Format("{} = {}", f, bound)
		}
		if more := s.exactly(c.member, f, values); !more.empty() {
			equal = Format("({} AND {})", equal, more)
		}
		if null {
			return Format("{} OR {}", equal, isNull), nil
		}
		return equal, nil
	case query.NotEquals, query.NotIn:
		if len(values) == 0 {
			return isNotNull, nil
		}
		bound, err := s.bindAll(c.member, values)
		switch {
		case err != nil:
			return f, err
		}
		other := Format("{} NOT IN ({})", f, bound)
		if len(values) == 1 && c.operator == query.NotEquals && !null {
			other = Format("{} <> {}", f, bound)
		}
		if more := s.exactly(c.member, f, values); !more.empty() {
			other = Format("({} OR NOT {})", other, more)
		}
		if null {
			return other, nil
		}
		return Format("{} OR {}", other, isNull), nil
	case query.GT, query.GTE, query.LT, query.LTE:
		if len(values) == 0 {
			return f, refusal("Expected one parameter but nothing found")
		}
		bound, err := s.bind(c.member, values[0].Text)
		op := map[query.Operator]string{query.GT: ">", query.GTE: ">=", query.LT: "<", query.LTE: "<="}[c.operator]
		return Format("{} "+op+" {}", f, bound), err
	}
	if p, ok := patterns[c.operator]; ok {
		return s.like(f, p, values, null), nil
	}
	return s.compareDates(f, c)
}

// holdsForNull reports whether c, which is no group, holds where its member is NULL.
func (c condition) holdsForNull() bool {
	null := slices.ContainsFunc(c.values, func(v query.Value) bool { return v.Null })
	switch c.operator {
	case query.NotSet:
		return true
	case query.Equals, query.In:
		return null
	case query.NotEquals, query.NotIn:
		return !null
	}
	p, ok := patterns[c.operator]
	return ok && p.not != null
}

// pattern says where an operator lets any text stand.
type pattern struct{ before, after, not bool }

var patterns = map[query.Operator]pattern{
	query.Contains:      {before: true, after: true},
	query.NotContains:   {before: true, after: true, not: true},
	query.StartsWith:    {after: true},
	query.NotStartsWith: {after: true, not: true},
	query.EndsWith:      {before: true},
	query.NotEndsWith:   {before: true, not: true},
}

var likeEscapes = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

func (s scope) like(f Fragment, p pattern, values []query.Value, null bool) Fragment {
	isNull := Format("{} IS NULL", f)
	if len(values) == 0 {
		if p.not {
			return Format("{} IS NOT NULL", f)
		}
		return isNull
	}
	parts := make([]Fragment, len(values))
	for i, v := range values {
		parts[i] = s.p.d.Like(f, bind(likeEscapes.Replace(v.Text)), p.before, p.after, p.not)
	}
	sep := " OR "
	if p.not {
		sep = " AND "
	}
	if out := join(parts, sep); p.not == null {
		return out
	} else {
		return Format("{} OR {}", out, isNull)
	}
}

func (s scope) compareDates(f Fragment, c condition) (Fragment, error) {
	from, to, err := query.FilterBounds(c.operator, c.values, s.p.loc, s.p.o.Now)
	if err != nil {
		return f, err
	}
	first, last := s.p.d.Timestamp(s.p.d.Moment(from)), s.p.d.Timestamp(s.p.d.Moment(to))
	switch c.operator {
	case query.InDateRange, query.OnTheDate:
		return s.between(f, from, to), nil
	case query.NotInDateRange:
		return Format("{} < {} OR {} > {}", f, first, f, last), nil
	case query.BeforeDate:
		return Format("{} < {}", f, first), nil
	case query.BeforeOrOnDate:
		return Format("{} <= {}", f, last), nil
	case query.AfterDate:
		return Format("{} > {}", f, last), nil
	case query.AfterOrOnDate:
		return Format("{} >= {}", f, first), nil
	}
	return f, refusal("The operator %s of the filter on %s is not supported", c.operator, c.member.FullName())
}

func (s scope) between(f Fragment, from, to string) Fragment {
	return Format("{} >= {} AND {} <= {}", f, s.p.d.Timestamp(s.p.d.Moment(from)), f, s.p.d.Timestamp(s.p.d.Moment(to)))
}

func (s scope) bindAll(m member, values []query.Value) (Fragment, error) {
	parts := make([]Fragment, len(values))
	for i, v := range values {
		var err error
		if parts[i], err = s.bind(m, v.Text); err != nil {
			return Fragment{}, err
		}
	}
	return join(parts, ", "), nil
}

// exactly returns what must hold beside f, a dimension, being one of values: a filter may decide who sees a row, whoever wrote
// it, and a text that begins with a number is not that number.
func (s scope) exactly(m member, f Fragment, values []query.Value) Fragment {
	typ := m.ResultType()
	if m.Kind != datamodel.Dimension || typ != datamodel.String && typ != datamodel.Number {
		return Fragment{}
	}
	all := make([]any, len(values))
	for i, v := range values {
		all[i] = v.Text
		if typ == datamodel.Number {
			all[i] = json.Number(strings.TrimPrefix(strings.TrimSpace(v.Text), "+"))
		}
	}
	return s.p.d.Exactly(f, all)
}

var number = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$`)

// bind binds a filter value with the type of the member it is compared with. Cube binds text, and leaves it to the
// database to take a number for a number.
func (s scope) bind(m member, value string) (Fragment, error) {
	switch typ := m.ResultType(); {
	case typ == datamodel.Number && number.MatchString(strings.TrimSpace(value)):
		return s.p.d.Number(strings.TrimPrefix(strings.TrimSpace(value), "+")), nil
	case typ == datamodel.Number && m.base.Type != datamodel.Min && m.base.Type != datamodel.Max:
		return Fragment{}, refusal("The filter on %s compares a number with %q, which is not one", m.FullName(), clip(value))
	case typ == datamodel.Boolean:
		switch strings.ToLower(strings.TrimSpace(value)) {
		case "true", "t", "1", "yes", "on":
			return bind(true), nil
		case "false", "f", "0", "no", "off":
			return bind(false), nil
		}
		return Fragment{}, refusal("The filter on %s compares a boolean with %q, which is not one", m.FullName(), clip(value))
	}
	return bind(value), nil
}

// clip shortens a value for an error that repeats it.
func clip(s string) string {
	if len(s) > 100 {
		return strings.ToValidUTF8(s[:100], "") + "…"
	}
	return s
}

// filterParams evaluates FILTER_PARAMS and FILTER_GROUP: the query's own conditions on the members of ps, with their
// and/or structure. What involves any other member must not narrow the rows here, so it becomes true.
func (s scope) filterParams(c *datamodel.Cube, ps []datamodel.FilterParam, params map[string]Fragment) (Fragment, error) {
	var parts []Fragment
	for _, cond := range s.p.pushable {
		f, ok, err := s.pushed(c, cond, ps, params)
		if err != nil {
			return f, err
		}
		if ok {
			parts = append(parts, f)
		}
	}
	if len(parts) == 0 {
		return text("(1 = 1)"), nil
	}
	return Format("({})", join(parts, " AND ")), nil
}

// pushed returns a condition on the columns of ps, in parentheses; ok is false when it is not on their members alone.
func (s scope) pushed(c *datamodel.Cube, cond condition, ps []datamodel.FilterParam, params map[string]Fragment) (f Fragment, ok bool, err error) {
	if cond.group != nil {
		var parts []Fragment
		for _, g := range cond.group {
			f, ok, err := s.pushed(c, g, ps, params)
			if err != nil {
				return f, false, err
			}
			if !ok && cond.or {
				return Fragment{}, false, nil
			}
			if ok {
				parts = append(parts, f)
			}
		}
		if len(parts) == 0 {
			return Fragment{}, false, nil
		}
		sep := " AND "
		if cond.or {
			sep = " OR "
		}
		return Format("({})", join(parts, sep)), true, nil
	}
	if _, masked := s.p.masks[cond.member.base]; masked {
		return Fragment{}, false, nil // the column would tell what the mask hides
	}
	if s.optional && cond.holdsForNull() {
		return Fragment{}, false, nil // a row that it drops here would come back as NULLs, for which it holds
	}
	for _, p := range ps {
		name := p.Cube + "." + p.Member
		if name != cond.member.FullName() && name != cond.member.base.FullName() {
			continue
		}
		if !s.narrows(c, p, cond.member.base) {
			s.p.remade = c
		}
		if p.Column.Lambda {
			return s.pushedLambda(c, cond, p, params)
		}
		column, err := s.column(c, p.Column, params)
		if err != nil {
			return f, false, err
		}
		f, err := s.compare(column, cond)
		return Format("({})", f), true, err
	}
	return Fragment{}, false, nil
}

// pushedLambda gives the values of a condition to a lambda, one for each parameter; from a range it may take the start
// alone. Where the numbers differ, and for null, the lambda cannot say what the condition says, so the rows stay: the
// condition itself is always in the outer query.
func (s scope) pushedLambda(c *datamodel.Cube, cond condition, p datamodel.FilterParam, params map[string]Fragment) (f Fragment, ok bool, err error) {
	args, err := s.arguments(cond)
	if err != nil || len(args) == 0 {
		return f, false, err
	}
	dates := len(args) == 2 && (cond.dates != nil || cond.operator == query.InDateRange || cond.operator == query.OnTheDate)
	if n := len(p.Column.Params); n != len(args) && !(dates && n == 1) {
		return f, false, nil
	}
	f, err = s.lambda(c, p.Column, args, params)
	return Format("({})", f), true, err
}

// arguments returns the values of a condition as a lambda gets them; none when they do not say what it says.
func (s scope) arguments(cond condition) ([]Fragment, error) {
	var (
		from, to string
		err      error
	)
	switch op := cond.operator; {
	case cond.dates != nil:
		from, to, err = cond.dates.Bounds(s.p.loc)
		return []Fragment{s.p.d.Moment(from), s.p.d.Moment(to)}, err
	case op.Dates():
		if from, to, err = query.FilterBounds(op, cond.values, s.p.loc, s.p.o.Now); err != nil {
			return nil, err
		}
		switch op {
		case query.BeforeDate, query.AfterOrOnDate:
			return []Fragment{s.p.d.Moment(from)}, nil
		case query.BeforeOrOnDate, query.AfterDate:
			return []Fragment{s.p.d.Moment(to)}, nil
		}
		return []Fragment{s.p.d.Moment(from), s.p.d.Moment(to)}, nil
	case op.Valueless():
		return nil, nil
	}
	var args []Fragment
	for _, v := range cond.values {
		if v.Null {
			return nil, nil
		}
		arg, err := s.bind(cond.member, v.Text)
		if err != nil {
			return nil, err
		}
		args = append(args, arg)
	}
	return args, nil
}
