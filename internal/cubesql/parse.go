package cubesql

import (
	"slices"
	"strings"
)

// The bounds of a statement. They keep its query within those of the query API.
const (
	maxBytes      = 256 << 10
	maxTokens     = 50_000
	maxDigits     = 100
	maxDepth      = 50  // of parentheses, functions and NOT
	maxTables     = 20  // that are joined
	maxList       = 500 // columns of a list
	maxConditions = 1000
	maxGroups     = 12 // of conditions in one another
)

// parser reads a statement from tokens. The last one is the end, and stays.
type parser struct {
	tokens []token
	depth  int
}

// parse reads the one SELECT of a text.
func parse(statement string) (*selection, error) {
	tokens, err := lex(statement)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	s, err := p.selection()
	if err != nil {
		return nil, err
	}
	p.skip(";")
	if t := p.peek(); t.kind != end {
		return nil, t.fail("%s does not belong here; %s", t, afterTables(t))
	}
	return s, nil
}

// afterTables says what can stand where t does not belong.
func afterTables(t token) string {
	is := func(words ...string) bool { return slices.ContainsFunc(words, t.is) }
	switch {
	case is("UNION", "INTERSECT", "EXCEPT"):
		return "a query of the query API is one SELECT, so convert each by itself"
	case is("INNER", "JOIN", "RIGHT", "FULL", "NATURAL", ","):
		return "cubes are joined as the data model says, and keep all rows of the first one: write CROSS JOIN, or LEFT JOIN … ON a.__cubeJoinField = b.__cubeJoinField"
	}
	return "after the select list come FROM, WHERE, GROUP BY, HAVING, ORDER BY, LIMIT and OFFSET"
}

func (p *parser) peek() token { return p.tokens[0] }

// next takes a token.
func (p *parser) next() token {
	t := p.tokens[0]
	if t.kind != end {
		p.tokens = p.tokens[1:]
	}
	return t
}

// follow reports whether the next tokens are these symbols or keywords.
func (p *parser) follow(what ...string) bool {
	for i, w := range what {
		if i >= len(p.tokens) || !p.tokens[i].is(w) {
			return false
		}
	}
	return true
}

// skip takes the next tokens if they are these.
func (p *parser) skip(what ...string) bool {
	follow := p.follow(what...)
	if follow {
		p.tokens = p.tokens[len(what):]
	}
	return follow
}

// want takes the next tokens, which must be these.
func (p *parser) want(what ...string) error {
	for _, w := range what {
		if t := p.next(); !t.is(w) {
			return t.fail("%s is expected here, not %s", w, t)
		}
	}
	return nil
}

// reserved are the words that are no names without quotes.
var reserved = strings.Fields(`ALL AND AS ASC BETWEEN BY CASE CAST CROSS DESC DISTINCT ELSE END EXCEPT EXISTS FALSE FETCH FROM FULL GROUP
	HAVING ILIKE IN INNER INTERSECT IS JOIN LEFT LIKE LIMIT NATURAL NOT NULL OFFSET ON OR ORDER RIGHT SELECT THEN TRUE UNION USING WHEN WHERE
	WINDOW WITH`)

// named reports whether t is a name.
func (t token) named() bool {
	return t.kind == quoted || t.kind == word && !slices.Contains(reserved, strings.ToUpper(t.text))
}

// name takes a name.
func (p *parser) name(what string) (token, error) {
	t := p.next()
	if !t.named() {
		return t, t.fail("%s is expected here, not %s", what, t)
	}
	return t, nil
}

// alias takes the other name of a table or an item, if it has one.
func (p *parser) alias() (token, error) {
	switch {
	case p.skip("AS"):
		return p.name("a name")
	case p.peek().named():
		return p.next(), nil
	}
	return token{}, nil
}

// list takes what commas separate.
func (p *parser) list(one func() error) error {
	for range maxList {
		if err := one(); err != nil {
			return err
		}
		if !p.skip(",") {
			return nil
		}
	}
	return p.peek().fail("there are more than %d columns", maxList)
}

// expressions takes a list of them.
func (p *parser) expressions() (all []expr, err error) {
	err = p.list(func() error {
		e, err := p.expression(0)
		all = append(all, e)
		return err
	})
	return all, err
}

func (p *parser) selection() (*selection, error) {
	s := &selection{place: p.peek().place}
	if p.follow("WITH") {
		return nil, s.fail("WITH is not possible: a query of the query API is one SELECT over cubes and views")
	}
	if err := p.want("SELECT"); err != nil {
		return nil, err
	}
	s.distinct = p.skip("DISTINCT")
	if p.follow("ON") {
		return nil, p.peek().fail("DISTINCT ON is not possible; group by what is to be distinct")
	}
	if !s.distinct {
		p.skip("ALL")
	}
	err := p.list(func() error {
		e, err := p.expression(0)
		if err != nil {
			return err
		}
		alias, err := p.alias()
		s.items = append(s.items, item{e, alias})
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := p.want("FROM"); err != nil {
		return nil, err
	}
	if s.tables, err = p.tables(); err != nil {
		return nil, err
	}
	return s, p.clauses(s)
}

// tables takes what stands after FROM.
func (p *parser) tables() ([]tableRef, error) {
	first, err := p.table()
	if err != nil {
		return nil, err
	}
	all := []tableRef{first}
	for {
		cross := p.skip("CROSS", "JOIN")
		if !cross && !p.skip("LEFT", "JOIN") && !p.skip("LEFT", "OUTER", "JOIN") {
			return all, nil
		}
		t, err := p.table()
		if err != nil {
			return nil, err
		}
		if len(all) == maxTables {
			return nil, t.fail("more than %d cubes are joined", maxTables)
		}
		if !cross {
			if err := p.want("ON"); err != nil {
				return nil, err
			}
			if t.on, err = p.expression(0); err != nil {
				return nil, err
			}
		}
		all = append(all, t)
	}
}

func (p *parser) table() (tableRef, error) {
	t := tableRef{place: p.peek().place}
	if p.follow("(") {
		return t, t.fail("a SELECT in FROM is not possible; name a cube or a view")
	}
	var err error
	if t.name, err = p.name("the name of a cube or a view"); err != nil {
		return t, err
	}
	if t.name.text == "public" && p.skip(".") { // the schema in which Cube's SQL API shows them
		if t.name, err = p.name("the name of a cube or a view"); err != nil {
			return t, err
		}
	}
	t.alias, err = p.alias()
	return t, err
}

// clauses takes what stands after the tables.
func (p *parser) clauses(s *selection) (err error) {
	if p.skip("WHERE") {
		if s.where, err = p.expression(0); err != nil {
			return err
		}
	}
	if p.skip("GROUP", "BY") {
		if s.groups, err = p.expressions(); err != nil {
			return err
		}
	}
	if p.skip("HAVING") {
		if s.having, err = p.expression(0); err != nil {
			return err
		}
	}
	if p.skip("ORDER", "BY") {
		err = p.list(func() error {
			e, err := p.expression(0)
			o := orderItem{e, p.skip("DESC")}
			if s.orders = append(s.orders, o); !o.desc {
				p.skip("ASC")
			}
			if p.follow("NULLS") {
				return p.peek().fail("where NULLs are sorted is for the database to say; leave NULLS … out")
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	for {
		switch {
		case s.limit == nil && p.skip("LIMIT"):
			s.limit, err = p.count()
		case s.offset == nil && p.skip("OFFSET"):
			s.offset, err = p.count()
		default:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// count takes a number of rows.
func (p *parser) count() (*literal, error) {
	t := p.next()
	if t.kind != number {
		return nil, t.fail("a number of rows is expected here, not %s", t)
	}
	return &literal{place: t.place, kind: number, text: t.text}, nil
}

// The binding powers of PostgreSQL's operators.
const (
	orPower = iota + 1
	andPower
	notPower
	isPower
	comparisonPower
	likePower
	otherPower // what there is no query for
	castPower
)

// power returns how tightly the next operator binds; 0 where there is none.
func (p *parser) power() int {
	t := p.peek()
	is := func(words ...string) bool { return slices.ContainsFunc(words, t.is) }
	switch {
	case is("OR"):
		return orPower
	case is("AND"):
		return andPower
	case is("IS"):
		return isPower
	case is("=", "<>", "!=", "<", "<=", ">", ">="):
		return comparisonPower
	case is("IN", "LIKE", "ILIKE", "BETWEEN", "NOT"):
		return likePower
	case is("::"):
		return castPower
	case t.kind == symbol && !is(",", ")", ";"), is("COLLATE"), p.follow("OVER", "("), p.follow("FILTER", "("), p.follow("AT", "TIME"), p.follow("SIMILAR", "TO"):
		return otherPower
	}
	return 0
}

// expression takes an expression of operators that bind more than least (Pratt).
func (p *parser) expression(least int) (expr, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.peek().fail("parentheses and functions are nested deeper than %d levels", maxDepth)
	}
	defer func() { p.depth-- }()
	left, err := p.operand()
	for n := 0; err == nil; n++ {
		power := p.power()
		switch {
		case power <= least:
			return left, nil
		case n == maxDepth:
			return nil, p.peek().fail("more than %d operators follow one another without parentheses", maxDepth)
		}
		left, err = p.operator(left, power)
	}
	return nil, err
}

// operator takes an operator with what stands right of it.
func (p *parser) operator(left expr, power int) (expr, error) {
	t := p.peek()
	switch power {
	case orPower, andPower:
		return p.logic(left, power)
	case isPower:
		p.next()
		return p.test(t.place, left)
	case comparisonPower:
		p.next()
		right, err := p.expression(comparisonPower)
		op := t.text
		if op == "!=" {
			op = "<>"
		}
		return &comparison{t.place, op, left, right}, err
	case likePower:
		return p.matching(left)
	case castPower:
		p.next()
		return p.cast(t.place, left)
	}
	return nil, t.fail("%s is not possible here: the query API calculates nothing. Add a dimension or a measure to the data model for it", t)
}

// logic takes all that the same word joins.
func (p *parser) logic(left expr, power int) (expr, error) {
	l := &logic{left.at(), power == orPower, []expr{left}}
	joins := map[bool]string{true: "OR", false: "AND"}[l.or]
	for p.skip(joins) {
		right, err := p.expression(power)
		if err != nil {
			return nil, err
		}
		l.of = append(l.of, right)
	}
	return l, nil
}

// test takes what stands after IS.
func (p *parser) test(at place, left expr) (expr, error) {
	not := p.skip("NOT")
	t := p.next()
	for _, what := range []string{"NULL", "TRUE", "FALSE", "UNKNOWN"} {
		if t.is(what) {
			return &test{at, left, what, not}, nil
		}
	}
	return nil, t.fail("after IS come NULL, TRUE, FALSE or UNKNOWN, perhaps with NOT, and not %s", t)
}

// matching takes IN, BETWEEN, LIKE and ILIKE, perhaps with NOT.
func (p *parser) matching(left expr) (expr, error) {
	at := p.peek().place
	not := p.skip("NOT")
	t := p.next()
	switch {
	case t.is("IN"):
		if err := p.want("("); err != nil {
			return nil, err
		}
		if p.follow("SELECT") {
			return nil, p.peek().fail("a SELECT in another one is not possible; write the values")
		}
		m := &membership{place: at, of: left, not: not}
		for {
			e, err := p.expression(0)
			if err != nil {
				return nil, err
			}
			if m.list = append(m.list, e); !p.skip(",") {
				return m, p.want(")")
			}
		}
	case t.is("BETWEEN"):
		if p.follow("SYMMETRIC") {
			return nil, p.peek().fail("BETWEEN SYMMETRIC is not possible; write the lower bound first")
		}
		low, err := p.expression(likePower)
		if err != nil {
			return nil, err
		}
		if err := p.want("AND"); err != nil {
			return nil, err
		}
		high, err := p.expression(likePower)
		return &between{at, left, low, high, not}, err
	case t.is("LIKE"), t.is("ILIKE"):
		pattern, err := p.expression(likePower)
		if p.follow("ESCAPE") {
			return nil, p.peek().fail("ESCAPE is not possible; the backslash is the escape character")
		}
		return &like{at, left, pattern, t.is("ILIKE"), not}, err
	}
	return nil, t.fail("after NOT come IN, BETWEEN, LIKE or ILIKE here, and not %s", t)
}

// cast takes the type that a value is cast to.
func (p *parser) cast(at place, of expr) (expr, error) {
	l, ok := of.(*literal)
	if !ok || l.typ != "" || l.text == "NULL" && l.kind == word {
		return nil, at.fail("a value can be cast, once, and nothing else; leave the cast out")
	}
	t := p.next()
	typ := typeNames[strings.ToUpper(t.text)]
	switch {
	case t.kind != word || typ == "":
		return nil, t.fail("a cast to %s is not possible; to text, integer, numeric, boolean, date, timestamp and timestamptz one is", t)
	case typ == timestampType && p.skip("WITH", "TIME", "ZONE"):
		typ = timestamptzType
	case typ == timestampType:
		p.skip("WITHOUT", "TIME", "ZONE")
	}
	if p.follow("(") {
		return nil, p.peek().fail("a cast to a length or a precision changes values; leave it out")
	}
	out := *l
	out.typ = typ
	return &out, nil
}

// operand takes an expression without an operator around it.
func (p *parser) operand() (expr, error) {
	t := p.next()
	switch {
	case t.kind == number, t.kind == text:
		return &literal{place: t.place, kind: t.kind, text: t.text}, nil
	case (t.is("-") || t.is("+")) && p.peek().kind == number:
		sign := strings.TrimPrefix(t.text, "+")
		return &literal{place: t.place, kind: number, text: sign + p.next().text}, nil
	case t.is("TRUE"), t.is("FALSE"), t.is("NULL"):
		return &literal{place: t.place, kind: word, text: strings.ToUpper(t.text)}, nil
	case t.is("*"):
		return &star{t.place}, nil
	case t.is("NOT"):
		of, err := p.expression(notPower)
		return &negation{t.place, of}, err
	case t.is("("):
		if p.follow("SELECT") {
			return nil, p.peek().fail("a SELECT in another one is not possible")
		}
		e, err := p.expression(0)
		if err != nil {
			return nil, err
		}
		return e, p.want(")")
	case t.is("CAST"):
		if err := p.want("("); err != nil {
			return nil, err
		}
		e, err := p.expression(0)
		if err != nil {
			return nil, err
		}
		if err := p.want("AS"); err != nil {
			return nil, err
		}
		if e, err = p.cast(t.place, e); err != nil {
			return nil, err
		}
		return e, p.want(")")
	case t.is("CASE"), t.is("EXISTS"):
		return nil, t.fail("%s is not possible: the query API calculates nothing. Add a dimension or a measure to the data model for it", t)
	case t.named():
		return p.named(t)
	}
	return nil, t.fail("a column or a value is expected here, not %s", t)
}

// named takes what begins with a name: a function, a value with its type before it, or a column.
func (p *parser) named(t token) (expr, error) {
	if t.kind == word && p.follow("(") {
		return p.call(t)
	}
	if typ := typeNames[strings.ToUpper(t.text)]; t.kind == word {
		at := t.place
		if typ == timestampType && p.skip("WITH", "TIME", "ZONE") {
			typ = timestamptzType
		} else if typ == timestampType {
			p.skip("WITHOUT", "TIME", "ZONE")
		}
		switch s := p.peek(); {
		case s.kind != text:
		case typ == dateType, typ == timestampType, typ == timestamptzType:
			p.next()
			return &literal{place: at, kind: text, text: s.text, typ: typ}, nil
		default:
			return nil, t.fail("%s before a string is not possible; write the string alone, or DATE or TIMESTAMP before it", t)
		}
	}
	c := &column{t.place, []token{t}}
	for p.skip(".") {
		if p.follow("*") {
			return nil, p.peek().fail("* is not possible; name the columns")
		}
		name, err := p.name("the name of a column")
		if err != nil {
			return nil, err
		}
		c.path = append(c.path, name)
	}
	if len(c.path) > 2 {
		return nil, t.fail("a column has its own name, and that of its table before it at most")
	}
	return c, nil
}

// call takes the arguments of a function.
func (p *parser) call(t token) (expr, error) {
	c := &call{place: t.place, name: strings.ToUpper(t.text)}
	p.next()
	c.distinct = p.skip("DISTINCT")
	if p.skip(")") {
		return c, nil
	}
	var err error
	if c.args, err = p.expressions(); err != nil {
		return nil, err
	}
	return c, p.want(")")
}
