package sqlgen

import (
	"regexp"
	"slices"
	"strings"

	"github.com/behalf-project/behalf/internal/datamodel"
)

// formula is how a measure is computed from those that a rollup keeps: from itself, or, of one that is an expression over others,
// from these. SQL of a model is written for its data source, and a rollup is read in DuckDB: an expression is taken apart only
// where all of it means the same in both, and else the rollup keeps its value.
type formula struct {
	of    []*datamodel.Member
	sql   func(value func(*datamodel.Member) Fragment) Fragment // in DuckDB; value returns those of
	kind  numberKind
	exact bool // there is no quotient in it, whose last digits differ
}

// numberKind is what is known of the type of a number in a database.
type numberKind int

const (
	someNumber  numberKind = iota
	wholeNumber            // one of a type without fractions
	fraction               // one of a type with fractions
)

// formula returns how m is computed.
func (p *planner) formula(m *datamodel.Member) formula {
	if f, ok := p.formulas[m]; ok {
		return f
	}
	if p.formulas == nil {
		p.formulas = map[*datamodel.Member]formula{}
	}
	own := formula{of: []*datamodel.Member{m}, sql: func(value func(*datamodel.Member) Fragment) Fragment { return value(m) }, exact: true}
	switch m.Type {
	case datamodel.Count, datamodel.CountDistinct:
		own.kind = wholeNumber
	case datamodel.Avg:
		own.kind, own.exact = fraction, false
	}
	p.formulas[m] = own // also in its own SQL, which only a script can make refer to itself
	if m.Type == datamodel.Number {
		if tokens, ok := p.tokens(m); ok {
			a := &arithmetic{p: p, tokens: tokens}
			if f, ok := a.sum(); ok && a.at == len(tokens) {
				p.formulas[m] = f
			}
		}
	}
	return p.formulas[m]
}

// token is a word, number or sign of an expression in upper case, or a measure that it refers to.
type token struct {
	text    string
	measure *datamodel.Member
}

var (
	spaces       = regexp.MustCompile(`^\s+`)
	anyToken     = regexp.MustCompile(`^(?:[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|\.[0-9]+|[A-Za-z_][A-Za-z_0-9]*|<=|>=|<>|!=|::|[-+*/(),=<>])`)
	numericToken = regexp.MustCompile(`^[0-9.]`)
)

// tokens takes the SQL of m apart; ok is false where something is in it that arithmetic does not know.
func (p *planner) tokens(m *datamodel.Member) (all []token, ok bool) {
	t, err := p.rendered(m.SQL)
	if err != nil {
		return nil, false
	}
	for _, n := range t.Nodes {
		switch n := n.(type) {
		case datamodel.Ref:
			ref, problem := p.model.Lookup(p.model.Cube(m.Cube), n.Path)
			if problem != "" || ref.Member == nil || ref.Member.Kind != datamodel.Measure {
				return nil, false
			}
			all = append(all, token{measure: ref.Member})
		case datamodel.Text:
			rest := string(n)
			if strings.Contains(rest, "--") || strings.Contains(rest, "/*") {
				return nil, false
			}
			for rest = rest[len(spaces.FindString(rest)):]; rest != ""; rest = rest[len(spaces.FindString(rest)):] {
				found := anyToken.FindString(rest)
				if found == "" {
					return nil, false
				}
				all = append(all, token{text: strings.ToUpper(found)})
				rest = rest[len(found):]
			}
		default:
			return nil, false
		}
	}
	return all, len(all) > 0
}

// arithmetic reads an expression. Its methods return false where they do not know what stands there.
type arithmetic struct {
	p      *planner
	tokens []token
	at     int
	depth  int
}

// next reports whether one of words is next, and reads it.
func (a *arithmetic) next(words ...string) (string, bool) {
	if a.at < len(a.tokens) && a.tokens[a.at].measure == nil && slices.Contains(words, a.tokens[a.at].text) {
		a.at++
		return a.tokens[a.at-1].text, true
	}
	return "", false
}

// all reads words, one after the other.
func (a *arithmetic) all(words ...string) bool {
	for _, w := range words {
		if _, ok := a.next(w); !ok {
			return false
		}
	}
	return true
}

// sum reads terms with + and - between them.
func (a *arithmetic) sum() (formula, bool) {
	if a.depth++; a.depth > maxDepth {
		return formula{}, false
	}
	defer func() { a.depth-- }()
	f, ok := a.product()
	for ok {
		sign, more := a.next("+", "-")
		if !more {
			break
		}
		var g formula
		if g, ok = a.product(); ok {
			f = compose("({} "+sign+" {})", f, g)
		}
	}
	return f, ok
}

// product reads factors with * and / between them.
func (a *arithmetic) product() (formula, bool) {
	f, ok := a.factor()
	for ok {
		sign, more := a.next("*", "/")
		if !more {
			break
		}
		var g formula
		switch g, ok = a.factor(); {
		case !ok:
		case sign == "*":
			f = compose("({} * {})", f, g)
		default:
			f, ok = a.quotient(f, g)
		}
	}
	return f, ok
}

// quotient returns f / g. Where the database refuses to divide by zero, NULL stands in place of its refusal.
func (a *arithmetic) quotient(f, g formula) (formula, bool) {
	format := "({} / NULLIF({}, 0))"
	switch habit := a.p.d.Habits().Quotients; {
	case habit == Floats:
		format = "({} / {})"
	case habit == Whole && f.kind == wholeNumber && g.kind == wholeNumber:
		return compose("({} // NULLIF({}, 0))", f, g), true
	case habit == Rounded, habit == Whole && f.kind != fraction && g.kind != fraction:
		return f, false
	}
	f = compose(format, f, g)
	f.kind, f.exact = fraction, false
	return f, true
}

// factor reads one operand with its sign and its casts.
func (a *arithmetic) factor() (formula, bool) {
	if _, ok := a.next("-"); ok {
		f, ok := a.factor()
		return compose("(-{})", f), ok
	}
	f, ok := a.operand()
	for ok {
		if _, more := a.next("::"); !more {
			break
		}
		f, ok = a.cast(f)
	}
	return f, ok
}

// cast reads the type that f is cast to, one that holds any fraction.
func (a *arithmetic) cast(f formula) (formula, bool) {
	habits := a.p.d.Habits()
	if _, ok := a.next(habits.Decimals...); ok {
		f.kind = fraction
		_, short := a.next("(") // of so many digits
		return f, !short
	}
	if _, ok := a.next(append(habits.Doubles, "DOUBLE")...); !ok {
		return f, false
	}
	a.next("PRECISION")
	f = compose("CAST({} AS DOUBLE)", f)
	f.kind = fraction
	return f, true
}

// operand reads a number, a measure, an expression in parentheses, or a function of expressions.
func (a *arithmetic) operand() (formula, bool) {
	if a.at == len(a.tokens) {
		return formula{}, false
	}
	t := a.tokens[a.at]
	a.at++
	switch {
	case t.measure != nil:
		return a.p.formula(t.measure), true
	case numericToken.MatchString(t.text):
		f := constantFormula(t.text)
		if f.kind = wholeNumber; strings.ContainsAny(t.text, ".E") {
			f.kind = fraction
		}
		return f, true
	}
	switch t.text {
	case "(":
		f, ok := a.sum()
		return f, ok && a.all(")")
	case "NULL":
		return constantFormula("NULL"), true
	case "NULLIF":
		args, ok := a.arguments()
		if !ok || len(args) != 2 || !args[0].exact || !args[1].exact {
			return formula{}, false
		}
		f := compose("NULLIF({}, {})", args...)
		f.kind = args[0].kind
		return f, true
	case "COALESCE":
		args, ok := a.arguments()
		return compose("COALESCE({}"+strings.Repeat(", {}", max(len(args), 1)-1)+")", args...), ok
	case "ABS":
		args, ok := a.arguments()
		return compose("ABS({})", args...), ok && len(args) == 1
	case "CAST":
		if !a.all("(") {
			return formula{}, false
		}
		f, ok := a.sum()
		if !ok || !a.all("AS") {
			return formula{}, false
		}
		f, ok = a.cast(f)
		return f, ok && a.all(")")
	case "CASE":
		return a.cases()
	}
	return formula{}, false
}

// arguments reads expressions in parentheses, one at least.
func (a *arithmetic) arguments() (args []formula, ok bool) {
	for ok = a.all("("); ok; _, ok = a.next(",") {
		f, known := a.sum()
		if !known {
			return nil, false
		}
		args = append(args, f)
	}
	return args, len(args) > 0 && a.all(")")
}

// cases reads the branches of a CASE that decides by conditions.
func (a *arithmetic) cases() (formula, bool) {
	format := "CASE"
	var parts, values []formula
	for a.all("WHEN") {
		condition, ok := a.or()
		if !ok || !a.all("THEN") {
			return formula{}, false
		}
		value, ok := a.sum()
		if !ok {
			return formula{}, false
		}
		format += " WHEN {} THEN {}"
		parts, values = append(parts, condition, value), append(values, value)
	}
	if a.all("ELSE") {
		value, ok := a.sum()
		if !ok {
			return formula{}, false
		}
		format += " ELSE {}"
		parts, values = append(parts, value), append(values, value)
	}
	f := compose(format+" END", parts...)
	f.kind = kindOf(values)
	return f, len(values) > 0 && a.all("END")
}

// or reads conditions with OR between them.
func (a *arithmetic) or() (formula, bool) { return a.joined("OR", a.and) }

func (a *arithmetic) and() (formula, bool) { return a.joined("AND", a.not) }

func (a *arithmetic) joined(word string, part func() (formula, bool)) (formula, bool) {
	f, ok := part()
	for ok && a.all(word) {
		var g formula
		if g, ok = part(); ok {
			f = compose("({} "+word+" {})", f, g)
		}
	}
	return f, ok
}

func (a *arithmetic) not() (formula, bool) {
	if a.all("NOT") {
		f, ok := a.not()
		return compose("(NOT {})", f), ok
	}
	return a.comparison()
}

// comparison reads a comparison of two expressions, which must be exact, or conditions in parentheses.
func (a *arithmetic) comparison() (formula, bool) {
	if a.depth++; a.depth > maxDepth {
		return formula{}, false
	}
	defer func() { a.depth-- }()
	start := a.at
	if f, ok := a.sum(); ok && f.exact {
		if a.all("IS") {
			if a.all("NOT") {
				return compose("({} IS NOT NULL)", f), a.all("NULL")
			}
			return compose("({} IS NULL)", f), a.all("NULL")
		}
		if sign, ok := a.next("=", "<>", "!=", "<", "<=", ">", ">="); ok {
			g, ok := a.sum()
			return compose("({} "+sign+" {})", f, g), ok && g.exact
		}
	}
	if a.at = start; !a.all("(") {
		return formula{}, false
	}
	f, ok := a.or()
	return f, ok && a.all(")")
}

// constantFormula returns a formula of no measure.
func constantFormula(sql string) formula {
	return formula{sql: func(func(*datamodel.Member) Fragment) Fragment { return text(sql) }, exact: true}
}

// kindOf returns the kind of what is made of parts: a fraction where one is one, and whole where all are.
func kindOf(parts []formula) numberKind {
	kind := wholeNumber
	for _, part := range parts {
		switch {
		case part.kind == fraction:
			return fraction
		case part.kind == someNumber:
			kind = someNumber
		}
	}
	return kind
}

// compose returns the formula that format makes of parts.
func compose(format string, parts ...formula) formula {
	f := formula{exact: true, kind: kindOf(parts)}
	for _, part := range parts {
		for _, m := range part.of {
			if !slices.Contains(f.of, m) {
				f.of = append(f.of, m)
			}
		}
		f.exact = f.exact && part.exact
	}
	f.sql = func(value func(*datamodel.Member) Fragment) Fragment {
		all := make([]Fragment, len(parts))
		for i, part := range parts {
			all[i] = part.sql(value)
		}
		return Format(format, all...)
	}
	return f
}
