package sqlgen

import (
	"regexp"
	"slices"
	"strings"

	"github.com/behalf-project/behalf/internal/datamodel"
)

// formula is how a measure is computed from others, or from itself alone. SQL of a model is written for its data source, and a
// rollup is read in DuckDB: a measure is computed there from those that it is made of where all of its SQL means the same in
// both. Of others the rollup keeps the value. It is computed at the source, for finer groups than anybody asked for, so that a
// division by zero is NULL in it, and does not end what builds the rollup.
type formula struct {
	of      []*datamodel.Member // what it is made of, for DuckDB
	sql     func(terms) Fragment
	kind    numberKind
	exact   bool // there is no quotient in it, whose last digits differ
	foreign bool // it means something else in DuckDB

	kept *formula // of a measure whose value is kept: how the source computes it; nil where its own SQL says
}

// terms are what the measures of a formula are where it is written, in DuckDB or at the source.
type terms struct {
	value func(*datamodel.Member) Fragment
	duck  bool
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
	own := formula{of: []*datamodel.Member{m}, sql: func(in terms) Fragment { return in.value(m) }, exact: true}
	switch m.Type {
	case datamodel.Count, datamodel.CountDistinct:
		own.kind = wholeNumber
	case datamodel.Avg:
		own.kind, own.exact = fraction, false
	}
	p.formulas[m] = own // also in its own SQL, which only a script can make refer to itself
	if !m.Expression() {
		return own
	}
	if tokens, ok := p.tokens(m); ok {
		a := &arithmetic{p: p, tokens: tokens}
		f, ok := a.sum()
		switch {
		case !ok || a.at < len(tokens):
		case f.foreign || m.Type != datamodel.Number:
			own.kept = &f
		default:
			own = f
		}
	}
	p.formulas[m] = own
	return own
}

// token is a word, a number, a text or a sign of an expression, or a measure that it refers to. Words are in upper case.
type token struct {
	text    string
	measure *datamodel.Member
}

var (
	spaces       = regexp.MustCompile(`^\s*`)
	anyToken     = regexp.MustCompile(`^(?:[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|\.[0-9]+|[A-Za-z_][A-Za-z_0-9]*|'[^'\\]*'|<=|>=|<>|!=|::|\|\||[-+*/%(),=<>])`)
	numericToken = regexp.MustCompile(`^[0-9.]`)
	wordToken    = regexp.MustCompile(`^[A-Z_]`)
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
				rest = rest[len(found):]
				if found[0] != '\'' {
					found = strings.ToUpper(found)
				}
				all = append(all, token{text: found})
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
		sign, more := a.next("+", "-", "||")
		if !more {
			break
		}
		var g formula
		if g, ok = a.product(); ok {
			f = compose("({} "+sign+" {})", f, g)
			f.foreign = f.foreign || sign == "||"
		}
	}
	return f, ok
}

// product reads factors with * and / between them.
func (a *arithmetic) product() (formula, bool) {
	f, ok := a.factor()
	for ok {
		sign, more := a.next("*", "/", "%")
		if !more {
			break
		}
		var g formula
		switch g, ok = a.factor(); {
		case !ok:
		case sign == "/":
			f = a.quotient(f, g)
		default:
			f = compose("({} "+sign+" {})", f, g)
			f.foreign = f.foreign || sign == "%"
		}
	}
	return f, ok
}

// quotient returns f / g.
func (a *arithmetic) quotient(f, g formula) formula {
	const guarded = "({} / NULLIF({}, 0))"
	switch habit := a.p.d.Habits().Quotients; {
	case habit == Floats:
		f = compose("({} / {})", f, g)
	case habit == Whole && f.kind == wholeNumber && g.kind == wholeNumber:
		return composeBoth("({} // NULLIF({}, 0))", guarded, f, g)
	default:
		unknown := habit == Rounded || habit == Whole && f.kind != fraction && g.kind != fraction
		f = compose(guarded, f, g)
		f.foreign = f.foreign || unknown
	}
	f.kind, f.exact = fraction, false
	return f
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

// cast reads the type that f is cast to. Those that hold any fraction are known.
func (a *arithmetic) cast(f formula) (formula, bool) {
	name, ok := a.word()
	if !ok {
		return f, false
	}
	if name == "DOUBLE" && a.all("PRECISION") {
		name += " PRECISION"
	}
	habits, source := a.p.d.Habits(), "CAST({} AS "+name+")"
	switch length, sized := a.arguments(); {
	case sized:
		f = compose("CAST({} AS "+name+places(len(length))+")", append([]formula{f}, length...)...)
		f.foreign = true
		return f, true
	case len(length) > 0:
		return f, false
	case slices.Contains(habits.Decimals, name):
		f = composeBoth("{}", source, f)
	case strings.HasPrefix(name, "DOUBLE"), slices.Contains(habits.Doubles, name):
		f = composeBoth("CAST({} AS DOUBLE)", source, f)
	default:
		f = compose(source, f)
		f.kind, f.foreign = someNumber, true
		return f, true
	}
	f.kind = fraction
	return f, true
}

// word reads a word.
func (a *arithmetic) word() (string, bool) {
	if a.at == len(a.tokens) || !wordToken.MatchString(a.tokens[a.at].text) {
		return "", false
	}
	a.at++
	return a.tokens[a.at-1].text, true
}

// places returns n places of arguments, in parentheses.
func places(n int) string { return "(" + strings.Repeat(", {}", n)[2:] + ")" }

// operand reads a number, a text, a measure, an expression in parentheses, or a function of expressions.
func (a *arithmetic) operand() (formula, bool) {
	if a.at == len(a.tokens) {
		return formula{}, false
	}
	t := a.tokens[a.at]
	a.at++
	switch {
	case t.measure != nil:
		return a.p.formula(t.measure), true
	case t.text[0] == '\'':
		f := constantFormula(t.text)
		f.foreign = true
		return f, true
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
	case "CASE":
		return a.cases()
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
	}
	if !wordToken.MatchString(t.text) {
		return formula{}, false
	}
	return a.function(t.text)
}

// function reads the arguments of a function. Of NULLIF, COALESCE and ABS it is known that they are the same everywhere.
func (a *arithmetic) function(name string) (formula, bool) {
	args, ok := a.arguments()
	if !ok {
		return formula{}, false
	}
	f := compose(name+places(len(args)), args...)
	switch {
	case name == "NULLIF" && len(args) == 2:
		f.kind = args[0].kind
		f.foreign = f.foreign || !f.exact // what is NULL may be decided by last digits
	case name == "COALESCE", name == "ABS" && len(args) == 1:
	default:
		f.kind, f.foreign = someNumber, true
	}
	return f, true
}

// arguments reads expressions in parentheses, one at least.
func (a *arithmetic) arguments() (args []formula, ok bool) {
	for ok = a.all("("); ok; _, ok = a.next(",") {
		f, known := a.sum()
		args = append(args, f)
		if !known {
			return args, false
		}
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

// comparison reads a comparison of two expressions, or conditions in parentheses.
func (a *arithmetic) comparison() (formula, bool) {
	if a.depth++; a.depth > maxDepth {
		return formula{}, false
	}
	defer func() { a.depth-- }()
	start := a.at
	if f, ok := a.sum(); ok {
		if a.all("IS") {
			if a.all("NOT") {
				return compose("({} IS NOT NULL)", f), a.all("NULL")
			}
			return compose("({} IS NULL)", f), a.all("NULL")
		}
		if sign, ok := a.next("=", "<>", "!=", "<", "<=", ">", ">="); ok {
			g, ok := a.sum()
			f = compose("({} "+sign+" {})", f, g)
			f.foreign = f.foreign || !f.exact // last digits may decide
			return f, ok
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
	return formula{sql: func(terms) Fragment { return text(sql) }, exact: true}
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
func compose(format string, parts ...formula) formula { return composeBoth(format, format, parts...) }

// composeBoth returns the formula that one format makes of parts in DuckDB, and another at the source.
func composeBoth(duck, source string, parts ...formula) formula {
	f := formula{exact: true, kind: kindOf(parts)}
	for _, part := range parts {
		for _, m := range part.of {
			if !slices.Contains(f.of, m) {
				f.of = append(f.of, m)
			}
		}
		f.exact, f.foreign = f.exact && part.exact, f.foreign || part.foreign
	}
	f.sql = func(in terms) Fragment {
		all := make([]Fragment, len(parts))
		for i, part := range parts {
			all[i] = part.sql(in)
		}
		if in.duck {
			return Format(duck, all...)
		}
		return Format(source, all...)
	}
	return f
}
