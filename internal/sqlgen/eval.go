package sqlgen

import (
	"regexp"
	"slices"
	"strings"

	"github.com/behalf-project/behalf/internal/datamodel"
)

// scope is one SELECT in which SQL of the model is evaluated.
type scope struct {
	p      *planner
	prefix string // of the table aliases
	tree   *tree  // its joins; nil where nothing is joined

	// inZone: time members are wall time of the query's zone, as in everything that is selected as a dimension. In
	// filters and measures they are the column as it is (cube-data-model.md §12.4).
	inZone bool

	// measureAs renders a measure that was computed further in, or returns false.
	measureAs func(*datamodel.Member) (Fragment, bool)

	// raw: values are themselves, where others see a mask.
	raw bool

	// optional: the table that is rendered is joined to others, so that a row which it lacks is one of NULLs.
	optional bool

	// rowsOf is the cube whose rows the SQL makes, or whose refresh key it is; nil in members and joins, which no row rule
	// of that cube filters.
	rowsOf *datamodel.Cube

	// once: each row of a measure's cube comes once, because the rows are those of distinct keys.
	once bool
}

// table returns the alias of a cube's table.
func (s scope) table(c *datamodel.Cube) Fragment {
	return text(s.p.d.Quote(s.prefix + datamodel.Underscore(c.Alias)))
}

var (
	identifier = regexp.MustCompile(`^[_a-zA-Z][_a-zA-Z0-9]*$`)
	selectStar = regexp.MustCompile("(?i)^\\s*select\\s+\\*\\s+from\\s+([a-zA-Z0-9_\\-`\".]+)\\s*$")
)

// from returns the table of c with its alias. The context filters of a cube are in its sql, so they are evaluated
// again wherever the table appears.
func (s scope) from(c *datamodel.Cube) (Fragment, error) {
	s.p.touches(c)
	switch r, err := s.p.original(c); {
	case err != nil:
		return Fragment{}, err
	case r != nil:
		return Format("{} AS {}", text(s.p.d.Quote(r.Table)), s.table(c)), nil
	}
	s.rowsOf = c
	if c.SQLTable != nil {
		f, err := s.eval(c, c.SQLTable, nil)
		return Format("{} AS {}", f, s.table(c)), err
	}
	f, err := s.eval(c, c.SQL, nil)
	if err != nil {
		return f, err
	}
	if plain, ok := f.plain(); ok {
		if m := selectStar.FindStringSubmatch(plain); m != nil {
			return Format("{} AS {}", text(m[1]), s.table(c)), nil
		}
	}
	return Format("{} AS {}", subselect(f), s.table(c)), nil
}

// subselect returns f in parentheses. A comment at its end must not swallow them.
func subselect(f Fragment) Fragment {
	for _, p := range f.pieces {
		if strings.Contains(p.text, "--") {
			return Format("({}\n)", f)
		}
	}
	return Format("({})", f)
}

// source returns what n means in SQL of reader, {cube.sql()}: the rows of a cube, in parentheses. The model was checked for
// what no row rule filters; what a script makes is only known here.
func (s scope) source(reader *datamodel.Cube, n datamodel.CubeSQL) (Fragment, error) {
	c := s.p.model.Rows(reader, n.Cube)
	if why := c.Unruled(s.rowsOf); why != "" {
		return Fragment{}, refusal("SQL of %s (%s:%d): %s", reader.Name, n.Position.File, n.Position.Line, why)
	}
	s.p.touches(c)
	switch r, err := s.p.original(c); {
	case err != nil:
		return Fragment{}, err
	case r != nil:
		return Format("(SELECT * FROM {})", text(s.p.d.Quote(r.Table))), nil
	}
	s.rowsOf = c
	if c.SQLTable != nil {
		f, err := s.eval(c, c.SQLTable, nil)
		return Format("(SELECT * FROM {})", f), err
	}
	f, err := s.eval(c, c.SQL, nil)
	return subselect(f), err
}

// eval evaluates t as SQL of c. params are those of the lambdas around it.
func (s scope) eval(c *datamodel.Cube, t *datamodel.Template, params map[string]Fragment) (Fragment, error) {
	var f Fragment
	t, err := s.p.rendered(t)
	if err != nil {
		return f, err
	}
	if s.p.depth++; s.p.depth > maxDepth {
		return f, refersToItself(c.Name)
	}
	defer func() { s.p.depth-- }()
	for _, n := range t.Nodes {
		var (
			part Fragment
			err  error
		)
		switch n := n.(type) {
		case datamodel.Text:
			part = text(string(n))
		case datamodel.Param:
			part = params[string(n)]
		case datamodel.Ref:
			part, err = s.ref(c, n, len(t.Nodes) == 1)
		case datamodel.CubeSQL:
			part, err = s.source(c, n)
		case datamodel.Context:
			part, err = s.context(c, n, params)
		case datamodel.FilterParam:
			part, err = s.filterParams(c, []datamodel.FilterParam{n}, params)
		case datamodel.ConvertTZ:
			part, err = s.convertTZ(c, n, params)
		case datamodel.URLEncode:
			part, err = s.urlEncode(c, n, params)
		case datamodel.FilterGroup:
			part, err = s.filterParams(c, n.Params, params)
		}
		if err != nil {
			return Fragment{}, err
		}
		f.add(part)
	}
	return f, nil
}

// urlEncode evaluates SQL_UTILS.urlEncode. It encodes what ends a value in the query of a URL, as Cube does.
func (s scope) urlEncode(c *datamodel.Cube, n datamodel.URLEncode, params map[string]Fragment) (Fragment, error) {
	f, err := s.column(c, n.Column, params)
	f = s.p.d.Text(f)
	for _, e := range [][2]string{{"%", "%25"}, {"&", "%26"}, {"=", "%3D"}, {"+", "%2B"}, {" ", "%20"}} {
		f = Format("REPLACE({}, '"+e[0]+"', '"+e[1]+"')", f)
	}
	return f, err
}

// ref evaluates a reference. alone says that it is the whole template, and needs no parentheses.
func (s scope) ref(c *datamodel.Cube, n datamodel.Ref, alone bool) (Fragment, error) {
	ref, problem := s.p.model.Lookup(c, n.Path)
	switch {
	case problem != "":
		return Fragment{}, refusal("%s", problem)
	case ref.Member == nil:
		return s.table(ref.Cube), nil
	}
	s.rowsOf = nil
	value := s.value
	if ref.Member.Type == datamodel.Time && ref.Member.Kind == datamodel.Dimension && (s.inZone || ref.Granularity != "") {
		value = func(m *datamodel.Member) (Fragment, error) { return s.wall(m, ref.Granularity) }
	}
	f, err := value(ref.Member)
	if err != nil {
		return f, err
	}
	if !alone {
		f = operand(f)
	}
	return f, nil
}

// operand returns f as an operator beside it takes it whole: in parentheses where it has parts.
func operand(f Fragment) Fragment {
	if compound(f) {
		return Format("({})", f)
	}
	return f
}

// compound reports whether f is an expression whose parts an operator beside it could bind to: Cube inserts such
// members bare, so that {a} * 2 with a = x + y means x + y * 2.
func compound(f Fragment) bool {
	depth, quote := 0, byte(0)
	for _, p := range f.pieces {
		for i := 0; i < len(p.text); i++ {
			switch c := p.text[i]; {
			case quote != 0:
				if c == quote {
					quote = 0
				}
			case c == '\'' || c == '"' || c == '`':
				quote = c
			case c == '(':
				depth++
			case c == ')':
				depth--
			case depth == 0 && strings.IndexByte(" \t\r\n+-*/%|<>=", c) >= 0:
				return true
			}
		}
	}
	return false
}

// value returns the value of a dimension or measure of a cube.
func (s scope) value(m *datamodel.Member) (Fragment, error) {
	if m.Kind == datamodel.Measure {
		return s.measure(m)
	}
	return s.dimension(m)
}

// sql evaluates the SQL of a member; a bare column is one of its own table (cube-data-model.md §2).
func (s scope) sql(c *datamodel.Cube, t *datamodel.Template) (Fragment, error) {
	t, err := s.p.rendered(t)
	if err != nil {
		return Fragment{}, err
	}
	if len(t.Nodes) == 1 {
		if name, ok := t.Nodes[0].(datamodel.Text); ok && identifier.MatchString(strings.TrimSpace(string(name))) {
			return Format("{}."+strings.TrimSpace(string(name)), s.table(c)), nil
		}
	}
	return s.eval(c, t, nil)
}

// dimension returns the value of a dimension or segment, a time as it is.
func (s scope) dimension(m *datamodel.Member) (Fragment, error) {
	if f, ok, err := s.instead(m, func() (Fragment, error) { return s.dimensionOf(m) }); ok || err != nil {
		return f, err
	}
	return s.dimensionOf(m)
}

// itself returns the value of a dimension and never its mask: keys tell rows apart, and are not shown.
func (s scope) itself(m *datamodel.Member) (Fragment, error) {
	s.raw = true
	return s.dimension(m)
}

// dimensionOf returns the value of a dimension or segment that is not masked.
func (s scope) dimensionOf(m *datamodel.Member) (Fragment, error) {
	c := s.p.model.Cube(m.Cube)
	switch {
	case m.SubQuery:
		return Format("{}."+s.p.d.Quote("value"), s.subqueryAlias(m)), nil
	case m.Case != nil:
		return s.caseOf(c, m.Case)
	case m.Latitude != nil:
		lat, err := s.sql(c, m.Latitude)
		if err != nil {
			return lat, err
		}
		long, err := s.sql(c, m.Longitude)
		return s.p.d.Concat(s.p.d.Text(lat), text("','"), s.p.d.Text(long)), err
	}
	return s.sql(c, m.SQL)
}

func (s scope) caseOf(c *datamodel.Cube, cs *datamodel.Case) (Fragment, error) {
	label := func(l datamodel.Label) (Fragment, error) {
		if l.SQL != nil {
			return s.sql(c, l.SQL)
		}
		return text(s.p.d.Literal(l.Text)), nil
	}
	f := text("CASE")
	for _, w := range cs.When {
		condition, err := s.eval(c, w.SQL, nil)
		if err != nil {
			return f, err
		}
		value, err := label(w.Label)
		if err != nil {
			return f, err
		}
		f.add(Format(" WHEN {} THEN {}", condition, value))
	}
	if cs.Else != nil {
		value, err := label(*cs.Else)
		if err != nil {
			return f, err
		}
		f.add(Format(" ELSE {}", value))
	}
	f.addText(" END")
	return f, nil
}

// selected returns the value of a dimension as a column of a result: times in the query's zone, perhaps truncated.
func (s scope) selected(c column) (Fragment, error) {
	if c.key {
		return s.itself(c.base)
	}
	if c.base.Type == datamodel.Time {
		return s.wall(c.base, c.granularity)
	}
	s.inZone = true
	return s.dimension(c.base)
}

// key returns the primary key of c as one expression.
func (s scope) key(c *datamodel.Cube) (Fragment, bool, error) {
	keys := c.PrimaryKey()
	parts := make([]Fragment, len(keys))
	for i, k := range keys {
		f, err := s.itself(k)
		if err != nil {
			return f, false, err
		}
		if len(keys) > 1 {
			f = s.p.d.Text(f)
		}
		parts[i] = f
	}
	switch len(keys) {
	case 0:
		return Fragment{}, false, nil
	case 1:
		return parts[0], true, nil
	}
	return s.p.d.Concat(parts...), true, nil
}

// measure returns a measure: its aggregate, the row's share of it in an ungrouped query, or the column in which it
// was computed further in.
func (s scope) measure(m *datamodel.Member) (Fragment, error) {
	if f, ok, err := s.instead(m, func() (Fragment, error) { return s.measureOf(m) }); ok || err != nil {
		return f, err
	}
	return s.measureOf(m)
}

// measureOf returns a measure that is not masked.
func (s scope) measureOf(m *datamodel.Member) (Fragment, error) {
	if s.measureAs != nil {
		if f, ok := s.measureAs(m); ok {
			return f, nil
		}
	}
	c := s.p.model.Cube(m.Cube)
	s.inZone = false
	if m.Expression() {
		return s.sql(c, m.SQL)
	}
	input, err := s.measured(c, m)
	if err != nil || s.p.q.Ungrouped {
		return input, err
	}
	switch m.Type {
	case datamodel.Count:
		if m.SQL == nil && s.repeats(c) {
			if keys := len(c.PrimaryKey()); keys != 1 {
				return Fragment{}, needsKey(c)
			}
			return Format("count(distinct {})", input), nil
		}
		return Format("count({})", input), nil
	case datamodel.CountDistinct:
		return Format("COUNT(DISTINCT {})", input), nil
	case datamodel.CountDistinctApprox:
		return s.p.d.ApproxCountDistinct(input), nil
	}
	return Format(m.Type+"({})", input), nil
}

// repeats reports whether the rows of c come more than once in this SELECT.
func (s scope) repeats(c *datamodel.Cube) bool {
	return !s.once && s.tree != nil && s.tree.multiplied(c.Name)
}

func needsKey(c *datamodel.Cube) error {
	return refusal("The joins of this query repeat or miss rows of '%s': primary key for '%s' is required in order to make aggregates work properly",
		c.Name, c.Name)
}

// counts reports whether measures of a type count: a row of an ungrouped query is one, or none.
func counts(t string) bool {
	return t == datamodel.Count || t == datamodel.CountDistinct || t == datamodel.CountDistinctApprox
}

// measured returns what a measure aggregates: its SQL or the key, within its filters.
func (s scope) measured(c *datamodel.Cube, m *datamodel.Member) (Fragment, error) {
	var (
		f   Fragment
		err error
	)
	switch {
	case m.SQL != nil:
		f, err = s.sql(c, m.SQL)
	default:
		var keyed bool
		if f, keyed, err = s.key(c); err == nil && !keyed {
			// Without a key, a row that the join did not find would count as one.
			if s.tree != nil && s.tree.root != c.Name {
				return f, needsKey(c)
			}
			f = text("*")
		}
	}
	if err != nil {
		return f, err
	}
	star, _ := f.plain()
	if s.p.q.Ungrouped && counts(m.Type) {
		if f = Format("CASE WHEN ({}) IS NOT NULL THEN 1 END", f); star == "*" {
			f = text("1")
		}
	}
	if len(m.Filters) == 0 {
		return f, nil
	}
	if star == "*" {
		f = text("1")
	}
	conditions, err := s.conditions(c, m.Filters)
	if err != nil {
		return f, err
	}
	return Format("CASE WHEN {} THEN {} END", conditions, f), nil
}

// conditions returns templates in parentheses, ANDed.
func (s scope) conditions(c *datamodel.Cube, ts []*datamodel.Template) (Fragment, error) {
	parts := make([]Fragment, len(ts))
	for i, t := range ts {
		f, err := s.eval(c, t, nil)
		if err != nil {
			return f, err
		}
		parts[i] = Format("({})", f)
	}
	return join(parts, " AND "), nil
}

// leaves returns the measures from which m is computed: itself, or, for an expression over other measures alone,
// those of them.
func (p *planner) leaves(m *datamodel.Member) []*datamodel.Member {
	if !m.Expression() || p.atomic(m) {
		return []*datamodel.Member{m}
	}
	var all []*datamodel.Member
	for _, ref := range p.references(p.model.Cube(m.Cube), templates(m)) {
		for _, leaf := range p.leaves(ref.Member) {
			if !slices.Contains(all, leaf) {
				all = append(all, leaf)
			}
		}
	}
	return all
}

var aggregate = regexp.MustCompile(`(?i)\b(count|sum|avg|min|max|median|mode|stddev|stddev_\w+|var\w*|percentile\w*|quantile\w*|corr\w*|` +
	`covar\w*|regr\w*|approx\w*|array_agg|string_agg|listagg|group_concat|json\w*agg|any_value|first|last|bool_and|bool_or|every|hll\w*)\s*\(`)

// atomic reports whether an expression has an aggregate of its own, or refers to rows, and so must be evaluated where
// the rows are.
func (p *planner) atomic(m *datamodel.Member) bool {
	measures := false
	for _, ref := range p.references(p.model.Cube(m.Cube), templates(m)) {
		if ref.Member == nil || ref.Member.Kind != datamodel.Measure {
			return true
		}
		measures = true
	}
	t, err := p.rendered(m.SQL)
	if err != nil {
		return true // eval returns it
	}
	for _, n := range t.Nodes {
		if t, ok := n.(datamodel.Text); ok && aggregate.MatchString(string(t)) {
			return true
		}
	}
	return !measures
}
