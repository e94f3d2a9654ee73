package datamodel

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// parseTemplate parses s. at returns the place of a byte of s.
func parseTemplate(s string, at func(int) Position) (*Template, *Problem) {
	return parseText(s, at, nil)
}

// parseText parses a template in which the names of params are the parameters of the lambda around it.
func parseText(s string, at func(int) Position, params []string) (*Template, *Problem) {
	t := &Template{Source: s, Position: at(0)}
	var text strings.Builder
	quotes := 0 // single quotes so far: an odd number means that we are inside a literal
	flush := func() {
		if text.Len() > 0 {
			quotes += strings.Count(text.String(), "'")
			t.Nodes = append(t.Nodes, Text(text.String()))
			text.Reset()
		}
	}
	for i := 0; i < len(s); {
		switch {
		case s[i] == '\\':
			r, n, ok := escape(s[i:])
			if !ok {
				return nil, &Problem{Position: at(i), Message: `this is no escape; a backslash of the SQL itself is written "\\"`, Text: s}
			}
			text.WriteString(r)
			i += n
		case s[i] == '}':
			return nil, &Problem{Position: at(i), Message: `"}" without "{"; a brace of the SQL itself is written "\}"`, Text: s}
		case s[i] == '{':
			flush()
			p := &exprParser{s: s, i: i + 1, at: at, params: params, quoted: quotes%2 == 1}
			n, problem := p.expression()
			if problem != nil {
				return nil, problem
			}
			t.Nodes = append(t.Nodes, n)
			i = p.i
		default:
			text.WriteByte(s[i])
			i++
		}
	}
	flush()
	return t, nil
}

// escape reads what begins with a backslash, and returns what it stands for and its length. In Cube, SQL in YAML becomes a
// template literal of JavaScript, and has its escapes: \n is a line break, \\ a backslash, and \d no more than d.
func escape(s string) (text string, length int, ok bool) {
	if len(s) < 2 {
		return "", 0, false
	}
	digits := map[byte]int{'x': 2, 'u': 4}[s[1]]
	switch c := s[1]; {
	case digits > 0:
		if len(s) < 2+digits {
			return "", 0, false
		}
		code, err := strconv.ParseUint(s[2:2+digits], 16, 16)
		return string(rune(code)), 2 + digits, err == nil && code != 0 && !utf16.IsSurrogate(rune(code))
	case c >= '0' && c <= '9':
		return "", 0, false // an octal number there, or NUL
	case c == '\n':
		return "", 2, true // a line that goes on
	}
	if i := strings.IndexByte("ntrbvf", s[1]); i >= 0 {
		return "\n\t\r\b\v\f"[i : i+1], 2, true
	}
	_, n := utf8.DecodeRuneInString(s[1:])
	return s[1 : 1+n], 1 + n, true
}

// exprParser reads one expression in braces: the part of Python that models use.
type exprParser struct {
	s      string
	i      int
	at     func(int) Position
	params []string
	quoted bool
}

func (p *exprParser) fail(at int, format string, args ...any) *Problem {
	return &Problem{Position: p.at(at), Message: fmt.Sprintf(format, args...), Text: p.s}
}

// expression reads a node and the brace that closes it.
func (p *exprParser) expression() (Node, *Problem) {
	start := p.i
	n, problem := p.reference()
	if problem != nil {
		return nil, problem
	}
	if p.space(); !p.accept('}') {
		if p.i >= len(p.s) {
			return nil, p.fail(start-1, `"{" is never closed; a brace of the SQL itself is written "\{"`)
		}
		return nil, p.fail(p.i, "an expression in braces is a name, a path or a call, without operators")
	}
	return n, nil
}

// call is a trailing (…) of a path.
type call struct {
	column *Column
	params []FilterParam
	at     int
	none   bool // no argument
}

// reference reads a path and the call at its end, and says what they mean.
func (p *exprParser) reference() (Node, *Problem) {
	p.space()
	start := p.i
	path, problem := p.path()
	if problem != nil {
		return nil, problem
	}
	pos := p.at(start)
	var c *call
	if p.space(); p.peek() == '(' {
		if c, problem = p.call(path); problem != nil {
			return nil, problem
		}
	}
	switch path[0] {
	case "SECURITY_CONTEXT", "security_context", "securityContext", "USER_CONTEXT":
		return p.context(path[1:], c, start)
	case "userAttributes", "user_attributes":
		n, problem := p.context(append([]string{"cubeCloud", "userAttributes"}, path[1:]...), c, start)
		return shorthand(n, path, c), problem
	case "groups":
		n, problem := p.context(append([]string{"cubeCloud", "groups"}, path[1:]...), c, start)
		return shorthand(n, path, c), problem
	case "FILTER_PARAMS":
		if len(path) != 4 || path[3] != "filter" || c == nil || c.column == nil {
			return nil, p.fail(start, "FILTER_PARAMS is used as {FILTER_PARAMS.cube.member.filter('column')}")
		}
		return FilterParam{Cube: path[1], Member: path[2], Column: c.column, Position: pos}, nil
	case "FILTER_GROUP":
		if len(path) != 1 || c == nil || len(c.params) == 0 {
			return nil, p.fail(start, "FILTER_GROUP is used as {FILTER_GROUP(FILTER_PARAMS.cube.member.filter('column'), …)}")
		}
		return FilterGroup{Params: c.params, Position: pos}, nil
	case "SQL_UTILS":
		switch used := len(path) == 2 && c != nil && c.column != nil && !c.column.Lambda; {
		case used && path[1] == "convertTz":
			return ConvertTZ{Column: c.column, Position: pos}, nil
		case used && path[1] == "urlEncode":
			return URLEncode{Column: c.column, Position: pos}, nil
		}
		return nil, p.fail(start, "SQL_UTILS is used as {SQL_UTILS.convertTz('column')} or {SQL_UTILS.urlEncode('column')}")
	case "COMPILE_CONTEXT":
		return nil, p.fail(start, "COMPILE_CONTEXT is for templates: write {{ %s }}", strings.Join(path, "."))
	case "True", "False", "None", "lambda", "not":
		return nil, p.fail(start, "an expression in braces is a name, a path or a call, not %s", path[0])
	}
	if c == nil {
		if len(path) == 1 && slices.Contains(p.params, path[0]) {
			return Param(path[0]), nil
		}
		return Ref{Path: path, Position: pos}, nil
	}
	if len(path) == 2 && path[1] == "sql" && c.none {
		return CubeSQL{Cube: path[0], Position: pos}, nil
	}
	return nil, p.fail(c.at, "there is no function %s", strings.Join(path, "."))
}

// shorthand keeps what a name means if the model defines it, beside the claim it otherwise stands for.
func shorthand(n Node, path []string, c *call) Node {
	if ctx, ok := n.(Context); ok && c == nil {
		return Shorthand(ctx, path)
	}
	return n
}

func (p *exprParser) context(path []string, c *call, start int) (Node, *Problem) {
	n := Context{Path: path, Quoted: p.quoted, Position: p.at(start)}
	if c != nil {
		last := len(path) - 1
		if last < 0 {
			return nil, p.fail(start, "SECURITY_CONTEXT is not a function")
		}
		n.Path, n.Method, n.Column = path[:last], Method(path[last]), c.column
		switch n.Method {
		case Filter, RequiredFilter:
			if c.column == nil {
				return nil, p.fail(c.at, "%s needs the column to compare, such as .%s('tenant_id')", n.Method, n.Method)
			}
		case UnsafeValue:
			if !c.none {
				return nil, p.fail(c.at, "unsafeValue takes no argument")
			}
		default:
			return nil, p.fail(c.at, "a value of the security context has filter, requiredFilter and unsafeValue, not %s", n.Method)
		}
	}
	if len(n.Path) == 0 {
		return nil, p.fail(start, "name a value of the security context, such as SECURITY_CONTEXT.tenant_id")
	}
	if c == nil && n.Quoted {
		return nil, p.fail(start, "a bound value cannot stand inside quotes; leave the quotes out")
	}
	return n, nil
}

// path reads a name and what follows it by dots and brackets.
func (p *exprParser) path() ([]string, *Problem) {
	name := p.name()
	if name == "" {
		return nil, p.fail(p.i, "an expression in braces begins with a name; a brace of the SQL itself is written \"\\{\"")
	}
	path := []string{name}
	for {
		p.space()
		switch p.peek() {
		case '.':
			p.i++
			p.space()
			if name = p.name(); name == "" {
				return nil, p.fail(p.i, "a name is missing after the dot")
			}
		case '[':
			p.i++
			p.space()
			var problem *Problem
			if name, _, problem = p.stringLiteral(); problem != nil {
				return nil, problem
			}
			if p.space(); !p.accept(']') {
				return nil, p.fail(p.i, `"]" is missing`)
			}
		default:
			return path, nil
		}
		path = append(path, name)
	}
}

// call reads the arguments of a call of path.
func (p *exprParser) call(path []string) (*call, *Problem) {
	c := &call{at: p.i}
	p.accept('(')
	if p.space(); p.accept(')') {
		c.none = true
		return c, nil
	}
	for {
		p.space()
		if path[0] == "FILTER_GROUP" {
			if !strings.HasPrefix(p.s[p.i:], "FILTER_PARAMS") {
				return nil, p.fail(p.i, "FILTER_GROUP takes FILTER_PARAMS.cube.member.filter(…)")
			}
			n, problem := p.reference()
			if problem != nil {
				return nil, problem
			}
			fp, ok := n.(FilterParam)
			if !ok {
				return nil, p.fail(c.at, "FILTER_GROUP takes FILTER_PARAMS.cube.member.filter(…)")
			}
			c.params = append(c.params, fp)
		} else {
			if c.column != nil {
				return nil, p.fail(p.i, "%s takes one argument", path[len(path)-1])
			}
			var problem *Problem
			if c.column, problem = p.column(); problem != nil {
				return nil, problem
			}
		}
		p.space()
		if p.accept(',') {
			if p.space(); p.peek() != ')' {
				continue
			}
		}
		if !p.accept(')') {
			return nil, p.fail(p.i, `")" is missing`)
		}
		return c, nil
	}
}

// column reads 'column', f'…' or lambda x, y: f'…'.
func (p *exprParser) column() (*Column, *Problem) {
	if !strings.HasPrefix(p.s[p.i:], "lambda") {
		at := p.i
		s, formatted, problem := p.stringLiteral()
		if problem != nil {
			return nil, problem
		}
		if !formatted {
			if strings.TrimSpace(s) == "" {
				return nil, p.fail(at, "the column is empty")
			}
			return &Column{SQL: s}, nil
		}
		body, problem := parseText(s, func(int) Position { return p.at(at) }, p.params)
		return &Column{Body: body}, problem
	}
	p.i += len("lambda")
	c := &Column{Lambda: true}
	for {
		p.space()
		name := p.name()
		if name == "" {
			break
		}
		c.Params = append(c.Params, name)
		if p.space(); !p.accept(',') {
			break
		}
	}
	if p.space(); !p.accept(':') {
		return nil, p.fail(p.i, `":" is missing after the parameters of the lambda`)
	}
	p.space()
	at := p.i
	s, formatted, problem := p.stringLiteral()
	if problem != nil {
		return nil, problem
	}
	if !formatted {
		c.Body = &Template{Source: s, Nodes: []Node{Text(s)}, Position: p.at(at)}
		return c, nil
	}
	c.Body, problem = parseText(s, func(int) Position { return p.at(at) }, append(slices.Clone(p.params), c.Params...))
	return c, problem
}

// stringLiteral reads a string in quotes, and reports whether it is an f-string, whose escapes parseText reads.
func (p *exprParser) stringLiteral() (s string, formatted bool, problem *Problem) {
	start := p.i
	if c := p.peek(); c == 'f' || c == 'F' {
		formatted = true
		p.i++
	}
	quote := p.peek()
	if quote != '\'' && quote != '"' {
		return "", false, p.fail(start, "a string in quotes is expected here")
	}
	var b strings.Builder
	for p.i++; p.i < len(p.s); p.i++ {
		switch c := p.s[p.i]; {
		case c == quote:
			p.i++
			return b.String(), formatted, nil
		case c == '\\' && formatted && p.i+1 < len(p.s):
			b.WriteString(p.s[p.i : p.i+2])
			p.i++
		case c == '\\' && p.i+1 < len(p.s) && strings.IndexByte(`'"\`, p.s[p.i+1]) >= 0:
			p.i++
			b.WriteByte(p.s[p.i])
		default:
			b.WriteByte(c)
		}
	}
	return "", false, p.fail(start, "the string is never closed")
}

func (p *exprParser) name() string {
	start := p.i
	for p.i < len(p.s) {
		c := p.s[p.i]
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (p.i == start || c < '0' || c > '9') {
			break
		}
		p.i++
	}
	return p.s[start:p.i]
}

func (p *exprParser) space() {
	for p.i < len(p.s) && strings.IndexByte(" \t\r\n", p.s[p.i]) >= 0 {
		p.i++
	}
}

func (p *exprParser) peek() byte {
	if p.i < len(p.s) {
		return p.s[p.i]
	}
	return 0
}

func (p *exprParser) accept(c byte) bool {
	if p.peek() != c || p.i >= len(p.s) {
		return false
	}
	p.i++
	return true
}
