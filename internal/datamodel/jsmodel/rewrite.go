package jsmodel

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/dop251/goja"
	"github.com/dop251/goja/ast"
	"github.com/dop251/goja/token"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/script"
)

// lazy is a value that was rewritten to a function of the names it uses: first those that the file does not declare,
// then those that it does. A member or cube goes before a variable, as in Cube (cube-data-model.md §2).
type lazy struct {
	names  []string
	own    int                           // how many of the names the file does not declare
	chains map[string]datamodel.Position // of names and the paths that begin with them, where they are used first
	pos    datamodel.Position
	plain  bool // the text of what it returns is made without a decision
}

// place is what is known of a value of a definition from the text of its file.
type place struct {
	key, value datamodel.Position
	fields     map[string]*place
	items      []*place
}

// sources is what rewriting found in all files.
type sources struct {
	lazies []lazy
	calls  []*place        // of cube(…) and view(…); items are the arguments
	cubes  map[string]bool // the names that these spell out
}

// The keys whose values are evaluated for each query (cube-data-model.md §4.2), in snake_case.
var lazyKeys = strings.Fields(`sql sql_table extends drill_members drill_member_references time_dimension time_dimension_reference
	join_path includes excludes levels rollups rollup_references measure_references dimension_references segment_references
	dimension columns member members values if switch order_by reduce_by group_by add_group_by context_members unless filter grain
	links`)

// listKeys are lists of members in a pre-aggregation, and definitions elsewhere.
var listKeys = []string{"measures", "dimensions", "segments"}

// moduleNames are what each file finds beside what the language has.
var moduleNames = strings.Fields(`exports require module $module cube view context view_group viewGroup asyncModule addExport setExport
	COMPILE_CONTEXT console process __lazy arguments`)

// builtins are the names of the language and of modules, which are not taken for members.
var builtins = sync.OnceValue(func() map[string]bool {
	names := map[string]bool{}
	for _, n := range slices.Concat(goja.New().GlobalObject().GetOwnPropertyNames(), moduleNames) {
		names[n] = true
	}
	return names
})

// The names by which a model calls the security context.
var contextNames = []string{"SECURITY_CONTEXT", "security_context", "securityContext", "USER_CONTEXT"}

// direct is the argument that rewriting gives to an unsafeValue() whose value goes into SQL and nowhere else.
const direct = "\uE000direct"

// site is the first argument that rewriting gives to a call of cube or view: with the number of sources.calls.
const site = "\uE000site:"

// rewriter changes one file.
type rewriter struct {
	scopes
	file    *script.Parsed
	all     *sources
	edits   []script.Edit
	errs    []script.RewriteError
	keys    []string // of the properties around
	defines int      // how many calls of cube or view are around
}

// rewrite implements script.Source.Rewrite.
func (s *sources) rewrite(file *script.Parsed) ([]script.Edit, []script.RewriteError) {
	w := &rewriter{file: file, all: s}
	w.enter = w.visit
	w.walk(file.Program)
	return w.edits, w.errs
}

func (w *rewriter) at(n ast.Node) datamodel.Position {
	line, column := w.file.Position(int(n.Idx0()) - 1)
	return datamodel.Position{File: w.file.Name, Line: line, Column: column}
}

func (w *rewriter) fail(n ast.Node, format string, args ...any) {
	w.errs = append(w.errs, script.RewriteError{Offset: int(n.Idx0()) - 1, Message: fmt.Sprintf(format, args...)})
}

// visit rewrites n where it is a lazy value or a call that defines something.
func (w *rewriter) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.CallExpression:
		name, ok := n.Callee.(*ast.Identifier)
		if !ok || w.declared(name.Name.String()) || !slices.Contains([]string{"cube", "view"}, name.Name.String()) || len(n.ArgumentList) == 0 {
			return true
		}
		p := &place{key: w.at(n), value: w.at(n)}
		for _, a := range n.ArgumentList {
			p.items = append(p.items, w.place(a))
		}
		w.insert(int(n.LeftParenthesis), fmt.Sprintf("%q,", site+fmt.Sprint(len(w.all.calls))))
		w.all.calls = append(w.all.calls, p)
		w.all.cubes[literal(n.ArgumentList[0])] = true
		w.defines++
		all(&w.scopes, n.ArgumentList)
		w.defines--
		return false
	case *ast.PropertyKeyed:
		key := keyOf(n)
		if n.Kind == ast.PropertyKindValue && w.lazyKey(key, n.Value) && w.lazy(n.Value) {
			return false
		}
		if n.Computed {
			w.walk(n.Key)
		}
		w.keys = append(w.keys, key)
		w.walk(n.Value)
		w.keys = w.keys[:len(w.keys)-1]
		return false
	}
	return true
}

// literal returns the text of an expression that spells it out, or "".
func literal(e ast.Expression) string {
	switch e := e.(type) {
	case *ast.StringLiteral:
		return e.Value.String()
	case *ast.TemplateLiteral:
		if len(e.Elements) == 1 {
			return e.Elements[0].Parsed.String()
		}
	}
	return ""
}

// insert puts text before a byte, which counts from 0.
func (w *rewriter) insert(offset int, text string) {
	w.edits = append(w.edits, script.Edit{From: offset, To: offset, Text: text})
}

// keyOf returns the key of a property in snake_case, or "".
func keyOf(p *ast.PropertyKeyed) string {
	if s, ok := p.Key.(*ast.StringLiteral); ok {
		return datamodel.Underscore(s.Value.String())
	}
	return ""
}

func (w *rewriter) lazyKey(key string, value ast.Expression) bool {
	if slices.Contains(w.keys, "meta") {
		return false
	}
	if slices.Contains(lazyKeys, key) {
		return true
	}
	if !slices.Contains(listKeys, key) {
		return false
	}
	list, ok := value.(*ast.ArrayLiteral)
	return slices.Contains(w.keys, "pre_aggregations") || ok && !slices.ContainsFunc(list.Value, func(e ast.Expression) bool { return chain(e) == "" })
}

// lazy rewrites a value that uses names which the file does not declare, or that calls something, and reports whether
// it did.
func (w *rewriter) lazy(value ast.Expression) bool {
	l := lazy{chains: map[string]datamodel.Position{}, pos: w.at(value), plain: plain(value)}
	waits := false
	var variables, fallbacks []string
	inner := scopes{}
	inner.free = func(id *ast.Identifier) {
		switch name := id.Name.String(); {
		case slices.Contains(l.names, name) || slices.Contains(variables, name):
		case w.declared(name):
			if w.defines > 0 && !special(name) {
				variables = append(variables, name)
				fallbacks = append(fallbacks, "()=>"+name)
			}
		case !builtins()[name]:
			l.names = append(l.names, name)
			l.chains[name] = w.at(id)
		}
	}
	inner.enter = func(n ast.Node) bool {
		if path := chain(n); path != "" {
			if _, ok := l.chains[path]; !ok {
				l.chains[path] = w.at(n)
			}
		}
		switch n.(type) {
		case *ast.AwaitExpression, *ast.YieldExpression:
			waits = true
		}
		w.decides(&inner, n)
		return true
	}
	inner.walk(value)
	_, function := value.(*ast.ArrowFunctionLiteral)
	if _, ok := value.(*ast.FunctionLiteral); ok {
		function = true
	}
	l.own = len(l.names)
	l.names = append(l.names, variables...)
	if len(l.names) == 0 && (w.defines == 0 || !function && constant(value)) || waits && !function && l.own == 0 {
		return false
	}
	if waits && !function {
		w.fail(value, "await cannot stand in a value that refers to %s: await it before", strings.Join(l.names, ", "))
		return true
	}
	from, to, before, after := w.file.Span(value)
	if before != ":" || after != "," && after != "}" {
		w.fail(value, "write this value as a function of the names it refers to: (%s) => …", strings.Join(l.names, ", "))
		return true
	}
	w.direct(value)
	w.insert(from, fmt.Sprintf("__lazy(%d,(%s)=>(", len(w.all.lazies), strings.Join(l.names, ",")))
	w.insert(to, "),["+strings.Join(fallbacks, ",")+"])")
	w.all.lazies = append(w.all.lazies, l)
	return true
}

// direct marks the calls of unsafeValue whose value goes straight into the text of a template.
func (w *rewriter) direct(value ast.Expression) {
	t, ok := returned(value).(*ast.TemplateLiteral)
	if !ok || t.Tag != nil {
		return
	}
	for _, e := range t.Expressions {
		if call, ok := e.(*ast.CallExpression); ok && method(call) == "unsafeValue" && len(call.ArgumentList) == 0 {
			w.insert(int(call.RightParenthesis)-1, fmt.Sprintf("%q", direct))
		}
	}
}

// returned returns the expression of a function that only returns one, and any other expression as it is.
func returned(value ast.Expression) ast.Expression {
	switch f := value.(type) {
	case *ast.ArrowFunctionLiteral:
		switch body := f.Body.(type) {
		case *ast.ExpressionBody:
			return body.Expression
		case *ast.BlockStatement:
			return onlyReturn(body)
		}
	case *ast.FunctionLiteral:
		return onlyReturn(f.Body)
	}
	return value
}

func onlyReturn(b *ast.BlockStatement) ast.Expression {
	if len(b.List) == 1 {
		if r, ok := b.List[0].(*ast.ReturnStatement); ok {
			return r.Argument
		}
	}
	return nil
}

// decides refuses a decision by what is bound and has no value here: in Cube it is always the same one.
func (w *rewriter) decides(s *scopes, n ast.Node) {
	var tests []ast.Expression
	switch n := n.(type) {
	case *ast.ConditionalExpression:
		tests = []ast.Expression{n.Test}
	case *ast.IfStatement:
		tests = []ast.Expression{n.Test}
	case *ast.SwitchStatement:
		tests = []ast.Expression{n.Discriminant}
	case *ast.UnaryExpression:
		if n.Operator == token.NOT || n.Operator == token.TYPEOF {
			tests = []ast.Expression{n.Operand}
		}
	case *ast.BinaryExpression:
		switch n.Operator {
		case token.LOGICAL_AND, token.LOGICAL_OR, token.COALESCE, token.EQUAL, token.STRICT_EQUAL, token.NOT_EQUAL, token.STRICT_NOT_EQUAL,
			token.LESS, token.GREATER, token.LESS_OR_EQUAL, token.GREATER_OR_EQUAL, token.IN, token.INSTANCEOF:
			tests = []ast.Expression{n.Left, n.Right}
		}
	}
	for _, test := range tests {
		root, methods := rootOf(test)
		if root == nil || s.declared(root.Name.String()) || w.declared(root.Name.String()) || slices.Contains(methods, "unsafeValue") {
			continue
		}
		switch name := root.Name.String(); {
		case slices.Contains(contextNames, name) && slices.Contains(w.keys, "access_policy"):
			w.fail(test, "what an access policy asks of %s is one claim, such as %s.active, and not computed with", name, name)
		case slices.Contains(contextNames, name):
			w.fail(test, "%s is bound to the SQL and has no value here; compare %s.….unsafeValue()", name, name)
		case name == "FILTER_PARAMS" || name == "FILTER_GROUP":
			w.fail(test, "%s becomes SQL and has no value here, so nothing can be decided by it", name)
		}
	}
}

// rootOf returns the name that a path with calls begins with, and the methods it calls.
func rootOf(e ast.Expression) (*ast.Identifier, []string) {
	var methods []string
	for {
		switch n := e.(type) {
		case *ast.Identifier:
			return n, methods
		case *ast.DotExpression:
			e = n.Left
		case *ast.BracketExpression:
			e = n.Left
		case *ast.OptionalChain:
			e = n.Expression
		case *ast.Optional:
			e = n.Expression
		case *ast.CallExpression:
			methods = append(methods, method(n))
			e = n.Callee
		default:
			return nil, nil
		}
	}
}

// method returns the name of the method that a call calls, or "".
func method(call *ast.CallExpression) string {
	if dot, ok := call.Callee.(*ast.DotExpression); ok {
		return dot.Identifier.Name.String()
	}
	return ""
}

// chain returns "a.b.c" for a path of names, or "".
func chain(n ast.Node) string {
	switch n := n.(type) {
	case *ast.Identifier:
		return n.Name.String()
	case *ast.DotExpression:
		if left := chain(n.Left); left != "" {
			return left + "." + n.Identifier.Name.String()
		}
	}
	return ""
}

// constant reports whether e calls nothing and so is the same at load as in a query.
func constant(e ast.Expression) bool {
	calls := false
	s := scopes{enter: func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpression, *ast.NewExpression:
			calls = true
		case *ast.TemplateLiteral:
			calls = calls || n.Tag != nil
		}
		return !calls
	}}
	s.walk(e)
	return !calls
}

// plain reports whether e, or what the function e returns, is made of texts, names, and the methods of what stands for
// them, so that no value could have led to another text.
func plain(e ast.Expression) bool {
	if e = returned(e); e == nil {
		return false
	}
	ok := true
	s := scopes{}
	s.enter = func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.TemplateLiteral:
			ok = ok && n.Tag == nil
			for _, e := range n.Expressions {
				if call, is := e.(*ast.CallExpression); is && method(call) == "unsafeValue" {
					continue // marked as direct
				}
				s.walk(e)
			}
			return false
		case *ast.CallExpression:
			callee, _ := n.Callee.(*ast.Identifier)
			name := method(n)
			group := callee != nil && callee.Name.String() == "FILTER_GROUP"
			root, _ := rootOf(n)
			ok = ok && (group || root != nil && slices.Contains([]string{"filter", "requiredFilter", "sql", "convertTz", "urlEncode"}, name))
			for _, a := range n.ArgumentList {
				switch a.(type) {
				case *ast.ArrowFunctionLiteral, *ast.FunctionLiteral: // record looks into it
				default:
					s.walk(a)
				}
			}
			return false
		case *ast.BinaryExpression:
			ok = ok && n.Operator == token.PLUS
		case *ast.Identifier, *ast.DotExpression, *ast.ArrayLiteral, *ast.ObjectLiteral, *ast.PropertyKeyed, *ast.PropertyShort, *ast.StringLiteral,
			*ast.NumberLiteral, *ast.BooleanLiteral, *ast.NullLiteral:
		case *ast.BracketExpression:
			_, literal := n.Member.(*ast.StringLiteral)
			ok = ok && literal
		default:
			ok = false
		}
		return ok
	}
	s.walk(e)
	return ok
}

// place returns where the values in e are, as far as it spells them out.
func (w *rewriter) place(e ast.Expression) *place {
	p := &place{key: w.at(e), value: w.at(e), fields: map[string]*place{}}
	switch e := e.(type) {
	case *ast.ObjectLiteral:
		for _, property := range e.Value {
			switch property := property.(type) {
			case *ast.PropertyKeyed:
				if key, ok := property.Key.(*ast.StringLiteral); ok {
					inner := w.place(property.Value)
					inner.key = w.at(property.Key)
					p.fields[key.Value.String()] = inner
				}
			case *ast.PropertyShort:
				p.fields[property.Name.Name.String()] = &place{key: w.at(property), value: w.at(property)}
			case *ast.SpreadElement:
				w.merge(p, property.Expression)
			}
		}
	case *ast.ArrayLiteral:
		for _, item := range e.Value {
			if item == nil {
				return p
			}
			p.items = append(p.items, w.place(item))
		}
	case *ast.CallExpression: // Object.assign({…}, {…})
		for _, a := range e.ArgumentList {
			w.merge(p, a)
		}
	}
	return p
}

func (w *rewriter) merge(into *place, e ast.Expression) {
	switch e.(type) {
	case *ast.ObjectLiteral, *ast.CallExpression:
		for key, inner := range w.place(e).fields {
			into.fields[key] = inner
		}
	}
}

// field returns where the value of a key is, as far as that is known.
func (p *place) field(key string) *place {
	if inner := p.fields[key]; inner != nil {
		return inner
	}
	return &place{key: p.value, value: p.value}
}

func (p *place) item(i int) *place {
	if i < len(p.items) {
		return p.items[i]
	}
	return &place{key: p.value, value: p.value}
}
