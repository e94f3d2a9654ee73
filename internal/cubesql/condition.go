package cubesql

import (
	"slices"
	"strings"
	"unicode"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/query"
)

// filter makes the filters and the segments of WHERE and HAVING.
func (v *converter) filter(s *selection) error {
	for _, e := range conjuncts(s.where, nil) {
		m, ok, err := v.segment(e)
		if ok {
			v.q.Segments = appendNew(v.q.Segments, m.FullName())
			continue
		}
		if err == nil {
			err = v.filterBy(e, datamodel.Dimension)
		}
		if err != nil {
			return err
		}
	}
	v.findRanges()
	for _, e := range conjuncts(s.having, nil) {
		if err := v.filterBy(e, datamodel.Measure); err != nil {
			return err
		}
	}
	return nil
}

// conjuncts adds the conditions that AND joins.
func conjuncts(e expr, to []expr) []expr {
	l, ok := e.(*logic)
	switch {
	case e == nil:
		return to
	case !ok || l.or:
		return append(to, e)
	}
	for _, one := range l.of {
		to = conjuncts(one, to)
	}
	return to
}

// segment finds the segment that a condition is: its name, perhaps with = TRUE or IS TRUE.
func (v *converter) segment(e expr) (m *datamodel.Member, ok bool, err error) {
	switch is := e.(type) {
	case *comparison:
		if l, ok := is.right.(*literal); ok && is.op == "=" && l.kind == word && l.text == "TRUE" {
			e = is.left
		}
	case *test:
		if is.what == "TRUE" && !is.not {
			e = is.of
		}
	}
	c, ok := e.(*column)
	if !ok {
		return nil, false, nil
	}
	m, err = c.member(v.tables)
	return m, err == nil && m.Kind == datamodel.Segment, err
}

// filterBy adds a condition on members of one kind.
func (v *converter) filterBy(e expr, kind datamodel.Kind) error {
	if always(e) {
		return nil
	}
	f, err := (&conditions{v, kind}).condition(e, false)
	switch {
	case err != nil:
		return err
	case nesting(f) > maxGroups:
		return e.at().fail("AND and OR are nested in one another more than %d times", maxGroups)
	}
	if f.And != nil {
		v.q.Filters = append(v.q.Filters, f.And...)
	} else {
		v.q.Filters = append(v.q.Filters, f)
	}
	return nil
}

// always reports whether e is TRUE, or 1 = 1, which programs write where they have no condition.
func always(e expr) bool {
	switch e := e.(type) {
	case *literal:
		return e.kind == word && e.text == "TRUE"
	case *comparison:
		l, ok := e.left.(*literal)
		r, ok2 := e.right.(*literal)
		return ok && ok2 && e.op == "=" && l.kind == number && r.kind == number && l.text == r.text
	}
	return false
}

// findRanges makes the first and the last moment of a time dimension its date range, which is the same and plainer. The
// moment before which something is has no such form: a range ends with a millisecond that still belongs to it.
func (v *converter) findRanges() {
	for i := 0; i < len(v.q.Filters); {
		m := v.q.Filters[i].Member
		r, rest := dateRange(v.q.Filters, m)
		if r == nil || slices.ContainsFunc(v.q.TimeDimensions, func(td query.TimeDimension) bool { return td.Dimension == m && td.DateRange != nil }) {
			i++
			continue
		}
		v.q.Filters = rest
		at := slices.IndexFunc(v.q.TimeDimensions, func(td query.TimeDimension) bool { return td.Dimension == m })
		if at < 0 {
			at = len(v.q.TimeDimensions)
			v.q.TimeDimensions = append(v.q.TimeDimensions, query.TimeDimension{Dimension: m})
		}
		v.q.TimeDimensions[at].DateRange = r
		i = 0
	}
}

// dateRange returns the range of a member that filters demand, and the others; nil where there is none.
func dateRange(filters []query.Filter, member string) (*query.DateRange, []query.Filter) {
	find := func(op query.Operator) int {
		return slices.IndexFunc(filters, func(f query.Filter) bool { return !f.Group() && f.Member == member && f.Operator == op })
	}
	without := func(at ...int) []query.Filter {
		rest := []query.Filter{}
		for i, f := range filters {
			if !slices.Contains(at, i) {
				rest = append(rest, f)
			}
		}
		return rest
	}
	if i := find(query.InDateRange); i >= 0 {
		return &query.DateRange{Texts: []string{filters[i].Values[0].Text, filters[i].Values[1].Text}}, without(i)
	}
	first, last := find(query.AfterOrOnDate), find(query.BeforeOrOnDate)
	if first < 0 || last < 0 {
		return nil, nil
	}
	return &query.DateRange{Texts: []string{filters[first].Values[0].Text, filters[last].Values[0].Text}}, without(first, last)
}

// conditions makes filters on members of one kind: dimensions of WHERE, measures of HAVING.
type conditions struct {
	*converter
	kind datamodel.Kind
}

// operand is the member that a condition is on.
type operand struct {
	selected
	lower bool // in LOWER()
	at    place
}

// condition returns e, or what is true where e is false. Both say of NULL what SQL says: NOT (a AND b) is NOT a OR NOT b
// with it too.
func (c *conditions) condition(e expr, not bool) (query.Filter, error) {
	switch e := e.(type) {
	case *logic:
		parts := make([]query.Filter, len(e.of))
		for i, one := range e.of {
			var err error
			if parts[i], err = c.condition(one, not); err != nil {
				return query.Filter{}, err
			}
		}
		if e.or != not {
			return or(parts...), nil
		}
		return and(parts...), nil
	case *negation:
		return c.condition(e.of, !not)
	case *comparison:
		return c.comparison(e, not)
	case *membership:
		return c.membership(e, e.not != not)
	case *between:
		return c.between(e, e.not != not)
	case *like:
		return c.like(e, e.not != not)
	case *test:
		return c.test(e, e.not != not)
	case *column, *call:
		o, err := c.operand(e)
		if err != nil {
			return query.Filter{}, err
		}
		if o.ResultType() != datamodel.Boolean {
			return query.Filter{}, o.at.fail("%s is no condition by itself; compare it with a value", o.id())
		}
		return c.on(o, query.Equals, truth(!not))
	}
	return query.Filter{}, e.at().fail("a condition is expected here: a column compared with values")
}

func truth(is bool) string {
	if is {
		return "true"
	}
	return "false"
}

// operand finds the member that a condition is on.
func (c *conditions) operand(e expr) (operand, error) {
	o := operand{at: e.at()}
	if f, ok := e.(*call); ok && f.name == "LOWER" && len(f.args) == 1 && !f.distinct {
		o.lower, e = true, f.args[0]
	}
	if _, ok := e.(*literal); ok {
		return o, o.at.fail("a column is expected here, and not a value")
	}
	var err error
	o.selected, err = c.column(e)
	switch {
	case err != nil:
	case o.lower && o.ResultType() != datamodel.String:
		err = o.at.fail("%s is no string, so LOWER is not possible", o.FullName())
	case o.Kind == datamodel.Segment:
		err = o.at.fail("the segment %s can only be joined with AND to all other conditions of WHERE", o.FullName())
	case c.kind == datamodel.Dimension && o.Kind == datamodel.Measure:
		err = o.at.fail("%s is a measure: a condition on it stands in HAVING", o.FullName())
	case c.kind == datamodel.Measure && o.Kind == datamodel.Dimension:
		err = o.at.fail("%s is a dimension: a condition on it stands in WHERE, joined to the others with AND", o.FullName())
	case c.kind == datamodel.Measure && !o.aggregated:
		err = o.at.fail("%s is a measure; write MEASURE(%s)", o.FullName(), o.Name)
	}
	return o, err
}

// on returns the condition on a member.
func (c *conditions) on(o operand, op query.Operator, values ...string) (query.Filter, error) {
	f := query.Filter{Member: o.FullName(), Operator: op}
	for _, text := range values {
		f.Values = append(f.Values, query.Value{Text: text})
	}
	if c.count++; c.count > maxConditions {
		return f, o.at.fail("there are more than %d conditions; IN takes many values", maxConditions)
	}
	return f, nil
}

// onNoNull is on for an operator that is the opposite of another, and holds for NULL unless that is among its values.
func (c *conditions) onNoNull(o operand, op query.Operator, values ...string) (query.Filter, error) {
	f, err := c.on(o, op, values...)
	f.Values = append(f.Values, query.Value{Null: true})
	return f, err
}

var (
	negated  = map[string]string{"=": "<>", "<>": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
	mirrored = map[string]string{"=": "=", "<>": "<>", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
	ordered  = map[string]query.Operator{"<": query.LT, "<=": query.LTE, ">": query.GT, ">=": query.GTE}
)

func (c *conditions) comparison(e *comparison, not bool) (query.Filter, error) {
	left, right, op := e.left, e.right, e.op
	if _, ok := left.(*literal); ok {
		left, right, op = right, left, mirrored[op]
	}
	if not {
		op = negated[op]
	}
	o, err := c.operand(left)
	if err != nil {
		return query.Filter{}, err
	}
	return c.compare(o, op, right)
}

// compare returns the condition that compares a member with a value.
func (c *conditions) compare(o operand, op string, with expr) (query.Filter, error) {
	switch typ := o.ResultType(); {
	case o.lower:
		return query.Filter{}, o.at.fail("LOWER is possible before LIKE alone; = and the others mind case here")
	case typ == datamodel.Time:
		return c.compareTime(o, op, with)
	case (typ == datamodel.Boolean || typ == datamodel.Geo) && ordered[op] != "":
		return query.Filter{}, o.at.fail("%s is a %s, which is not sorted; it can be = or <>", o.FullName(), typ)
	}
	value, err := c.value(o, with)
	switch {
	case err != nil:
		return query.Filter{}, err
	case op == "=":
		return c.on(o, query.Equals, value)
	case op == "<>":
		return c.onNoNull(o, query.NotEquals, value)
	}
	return c.on(o, ordered[op], value)
}

// value reads what a member that is no time is compared with.
func (c *conditions) value(o operand, e expr) (string, error) {
	l, ok := e.(*literal)
	switch {
	case !ok:
		return "", e.at().fail("%s is compared with a value, and nothing else", o.FullName())
	case l.kind == word && l.text == "NULL":
		return "", l.fail("nothing is equal to NULL; write IS NULL or IS NOT NULL")
	}
	typ := o.ResultType()
	wrong := func() error { return l.fail("%s is a %s, and %q is none", o.FullName(), typ, clip(l.text)) }
	switch {
	case typ == datamodel.Boolean && (l.typ == "" || l.typ == booleanType):
		if is := strings.ToLower(l.text); l.kind != number && (is == "true" || is == "false") {
			return is, nil
		}
		return "", wrong()
	case typ == datamodel.Number && (l.typ == "" || l.typ == integerType || l.typ == numericType):
		if l.kind == word || !numberPattern.MatchString(l.text) || l.typ == integerType && strings.ContainsAny(l.text, ".eE") || len(l.text) > maxDigits {
			return "", wrong()
		}
		return l.text, nil
	case typ == datamodel.String || typ == datamodel.Geo:
		if l.kind != text && !(l.kind == number && l.typ == textType) || l.typ != "" && l.typ != textType {
			return "", l.fail("%s is a %s; write the value in quotes, without another type", o.FullName(), typ)
		}
		return l.text, nil
	}
	return "", l.fail("%s is a %s, and is not compared with a value of type %s", o.FullName(), typ, l.typ)
}

func (c *conditions) membership(e *membership, not bool) (query.Filter, error) {
	o, err := c.operand(e.of)
	if err != nil {
		return query.Filter{}, err
	}
	op := "="
	if not {
		op = "<>"
	}
	if o.lower || o.ResultType() == datamodel.Time {
		parts := make([]query.Filter, len(e.list))
		for i, one := range e.list {
			if parts[i], err = c.compare(o, op, one); err != nil {
				return query.Filter{}, err
			}
		}
		if not {
			return and(parts...), nil
		}
		return or(parts...), nil
	}
	values := make([]string, len(e.list))
	for i, one := range e.list {
		if values[i], err = c.value(o, one); err != nil {
			return query.Filter{}, err
		}
	}
	if not {
		return c.onNoNull(o, query.NotEquals, values...)
	}
	return c.on(o, query.Equals, values...)
}

func (c *conditions) between(e *between, not bool) (query.Filter, error) {
	o, err := c.operand(e.of)
	if err != nil {
		return query.Filter{}, err
	}
	if o.ResultType() == datamodel.Time && o.granularity == "" && !o.lower {
		low, err := c.moment(e.low, o.Member)
		if err != nil {
			return query.Filter{}, err
		}
		high, err := c.moment(e.high, o.Member)
		if err != nil {
			return query.Filter{}, err
		}
		if not {
			return c.on(o, query.NotInDateRange, low.text(), high.text())
		}
		return c.on(o, query.InDateRange, low.text(), high.text())
	}
	first, last, join := ">=", "<=", and
	if not {
		first, last, join = "<", ">", or
	}
	low, err := c.compare(o, first, e.low)
	if err != nil {
		return query.Filter{}, err
	}
	high, err := c.compare(o, last, e.high)
	return join(low, high), err
}

func (c *conditions) test(e *test, not bool) (query.Filter, error) {
	o, err := c.operand(e.of)
	if err != nil {
		return query.Filter{}, err
	}
	switch {
	case e.what != "NULL" && o.ResultType() != datamodel.Boolean:
		return query.Filter{}, e.fail("%s is no boolean; IS NULL is possible, perhaps with NOT", o.id())
	case e.what != "NULL" && e.what != "UNKNOWN":
		f, err := c.on(o, query.Equals, truth((e.what == "TRUE") != not))
		if not {
			f.Values = append(f.Values, query.Value{Null: true})
		}
		return f, err
	case not:
		return c.on(o, query.Set)
	}
	return c.on(o, query.NotSet)
}

// patterns are the operators that say what a pattern says, by where any text may stand, and their opposites.
var patterns = map[[2]bool][2]query.Operator{
	{true, true}:   {query.Contains, query.NotContains},
	{false, true}:  {query.StartsWith, query.NotStartsWith},
	{true, false}:  {query.EndsWith, query.NotEndsWith},
	{false, false}: {query.Equals, query.NotEquals},
}

func (c *conditions) like(e *like, not bool) (query.Filter, error) {
	o, err := c.operand(e.of)
	if err != nil {
		return query.Filter{}, err
	}
	l, ok := e.pattern.(*literal)
	switch {
	case o.ResultType() != datamodel.String:
		return query.Filter{}, e.fail("%s is a %s; LIKE and ILIKE are for strings", o.id(), o.ResultType())
	case !ok || l.kind != text || l.typ != "" && l.typ != textType:
		return query.Filter{}, e.pattern.at().fail("a pattern is a string, such as '%%text%%'")
	}
	what, before, after, ok := readPattern(l.text)
	letters := strings.ContainsFunc(what, func(r rune) bool { return unicode.ToUpper(r) != r || unicode.ToLower(r) != r })
	equals := !before && !after
	switch {
	case !ok:
		return query.Filter{}, l.fail("a pattern has %% at its ends alone: '%%text%%', 'text%%' or '%%text'; elsewhere write \\%% and \\_")
	case what == "" && !equals && not:
		return query.Filter{}, l.fail("no text is unlike %q; write IS NULL for those that have none", l.text)
	case what == "" && !equals:
		return c.on(o, query.Set)
	case letters && equals && (e.insensitive || o.lower):
		return query.Filter{}, l.fail("no filter compares a whole text without regard to case; write = for this very text, or %% at an end")
	case letters && o.lower && !e.insensitive && strings.ToLower(what) != what:
		return query.Filter{}, l.fail("LOWER has no capitals, and so nothing is like %q", l.text)
	case letters && !equals && !o.lower && !e.insensitive:
		return query.Filter{}, l.fail("LIKE minds case, and no filter of the query API does; write ILIKE")
	}
	op := patterns[[2]bool{before, after}]
	if not {
		return c.onNoNull(o, op[1], what)
	}
	return c.on(o, op[0], what)
}

// readPattern returns the text of a pattern, and whether any text may stand before and after it. ok is false where
// something else may stand elsewhere.
func readPattern(pattern string) (what string, before, after, ok bool) {
	var (
		out     strings.Builder
		escaped bool
	)
	for i, r := range pattern {
		switch {
		case after && r != '%', r == '_' && !escaped:
			return "", false, false, false
		case escaped:
			out.WriteRune(r)
			escaped = false
		case r == '\\':
			escaped = true
		case r == '%' && out.Len() == 0 && (i == 0 || before):
			before = true
		case r == '%':
			after = true
		default:
			out.WriteRune(r)
		}
	}
	return out.String(), before, after, !escaped
}

// and returns what holds where all of these do.
func and(parts ...query.Filter) query.Filter {
	var all []query.Filter
	for _, p := range parts {
		if p.And != nil {
			all = append(all, p.And...)
		} else {
			all = append(all, p)
		}
	}
	if len(all) == 1 {
		return all[0]
	}
	return query.Filter{And: all}
}

// or returns what holds where one of these does.
func or(parts ...query.Filter) query.Filter {
	var all []query.Filter
	for _, p := range parts {
		if p.Or != nil {
			all = append(all, p.Or...)
		} else {
			all = append(all, p)
		}
	}
	all = mergeNull(all)
	if len(all) == 1 {
		return all[0]
	}
	return query.Filter{Or: all}
}

// mergeNull makes IS NULL one with another condition on the same member: NULL among the values of an operator says that
// it may be NULL too, and among those of its opposite that it may not.
func mergeNull(all []query.Filter) []query.Filter {
	null, merged := map[string]bool{}, map[string]bool{}
	for _, f := range all {
		if f.Operator == query.NotSet {
			null[f.Member] = true
		}
	}
	for i, f := range all {
		if !null[f.Member] || merged[f.Member] {
			continue
		}
		at := slices.IndexFunc(f.Values, func(v query.Value) bool { return v.Null })
		switch {
		case at < 0 && slices.Contains(withNull, f.Operator):
			all[i].Values = append(f.Values, query.Value{Null: true})
		case at >= 0 && slices.Contains(withoutNull, f.Operator):
			all[i].Values = slices.Delete(f.Values, at, at+1)
		default:
			continue
		}
		merged[f.Member] = true
	}
	return slices.DeleteFunc(all, func(f query.Filter) bool { return f.Operator == query.NotSet && merged[f.Member] })
}

var (
	withNull    = []query.Operator{query.Equals, query.Contains, query.StartsWith, query.EndsWith}
	withoutNull = []query.Operator{query.NotEquals, query.NotContains, query.NotStartsWith, query.NotEndsWith}
)

// nesting returns how deep the groups of f are.
func nesting(f query.Filter) int {
	deepest := 0
	for _, g := range append(f.And, f.Or...) {
		deepest = max(deepest, nesting(g))
	}
	if f.Group() {
		deepest++
	}
	return deepest
}
