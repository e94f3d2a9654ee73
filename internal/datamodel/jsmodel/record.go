package jsmodel

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/dop251/goja"
	"github.com/dop251/goja/ast"
	"github.com/dop251/goja/parser"

	"github.com/behalf-project/behalf/internal/datamodel"
)

// recording is one call of a lazy function. The objects that it hands out stand for names; what their text is found in
// becomes nodes.
type recording struct {
	*run
	site    *lazy // nil for a function that was not rewritten
	at      datamodel.Position
	nonce   string // of the marks
	nodes   []datamodel.Node
	objects map[*goja.Object]datamodel.Node // what stands for a node, for lists of members

	touched bool // the security context or the clock was asked
	needs   bool // what was returned depends on a value that is only there in a query
}

// errNeedsQuery ends a function that cannot go on without a query. Nobody sees it.
var errNeedsQuery = errors.New("this value is only known in a query")

func (r *run) record(at datamodel.Position) *recording {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails
	return &recording{run: r, at: at, nonce: hex.EncodeToString(b[:]), objects: map[*goja.Object]datamodel.Node{}}
}

// fail throws an error in the script.
func (r *recording) fail(format string, args ...any) goja.Value {
	panic(r.vm.NewGoError(fmt.Errorf(format, args...)))
}

// needQuery ends the function that is recorded.
func (r *recording) needQuery() goja.Value {
	r.needs = true
	panic(r.vm.NewGoError(errNeedsQuery))
}

// mark returns the text that stands for n.
func (r *recording) mark(n datamodel.Node) string {
	r.nodes = append(r.nodes, n)
	return "\uE000" + r.nonce + ":" + strconv.Itoa(len(r.nodes)-1) + "\uE001"
}

var marks = regexp.MustCompile("\uE000([0-9a-f]{16}):([0-9]+)\uE001")

// template takes a text apart at its marks.
func (r *recording) template(s string) (*datamodel.Template, error) {
	t := &datamodel.Template{Position: r.at}
	var source strings.Builder
	quotes, at := 0, 0
	text := func(s string) error {
		if strings.Contains(s, r.nonce) {
			return errors.New("what stands for a name was taken apart; it can only be put into SQL as it is")
		}
		if s != "" {
			quotes += strings.Count(s, "'")
			source.WriteString(s)
			t.Nodes = append(t.Nodes, datamodel.Text(s))
		}
		return nil
	}
	for _, m := range marks.FindAllStringSubmatchIndex(s, -1) {
		i, err := strconv.Atoi(s[m[4]:m[5]])
		if s[m[2]:m[3]] != r.nonce || err != nil || i >= len(r.nodes) {
			continue
		}
		if err := text(s[at:m[0]]); err != nil {
			return nil, err
		}
		at = m[1]
		n := r.nodes[i]
		if c, ok := n.(datamodel.Context); ok {
			c.Quoted = quotes%2 == 1
			if c.Quoted && c.Method == datamodel.Bare {
				return nil, errors.New("a bound value cannot stand inside quotes; leave the quotes out")
			}
			n = c
		}
		t.Nodes = append(t.Nodes, n)
		source.WriteString(shown(n))
	}
	if err := text(s[at:]); err != nil {
		return nil, err
	}
	t.Source = source.String()
	return t, nil
}

// shown returns a node as YAML has it.
func shown(n datamodel.Node) string {
	switch n := n.(type) {
	case datamodel.Ref:
		return "{" + strings.Join(n.Path, ".") + "}"
	case datamodel.CubeSQL:
		return "{" + n.Cube + ".sql()}"
	case datamodel.Context:
		path := strings.Join(append([]string{"SECURITY_CONTEXT"}, n.Path...), ".")
		switch {
		case n.Method == datamodel.Bare:
			return "{" + path + "}"
		case n.Column == nil:
			return "{" + path + "." + string(n.Method) + "()}"
		}
		return "{" + path + "." + string(n.Method) + "('" + n.Column.SQL + "')}"
	case datamodel.FilterParam:
		return "{FILTER_PARAMS." + n.Cube + "." + n.Member + ".filter('" + n.Column.SQL + "')}"
	case datamodel.FilterGroup:
		return "{FILTER_GROUP(…)}"
	case datamodel.ConvertTZ:
		return "{SQL_UTILS.convertTz('" + n.Column.SQL + "')}"
	case datamodel.URLEncode:
		return "{SQL_UTILS.urlEncode('" + n.Column.SQL + "')}"
	case datamodel.Param:
		return "{" + string(n) + "}"
	}
	return ""
}

// position returns where a path is used, as far as that is known.
func (r *recording) position(path ...string) datamodel.Position {
	if r.site != nil {
		for n := len(path); n > 0; n-- {
			if p, ok := r.site.chains[strings.Join(path[:n], ".")]; ok {
				return p
			}
		}
	}
	return r.at
}

// resolve returns what stands for a name.
func (r *recording) resolve(name string) goja.Value {
	switch {
	case slices.Contains(contextNames, name):
		return r.context(nil, []string{name})
	case name == "userAttributes" || name == "user_attributes":
		return r.context([]string{"cubeCloud", "userAttributes"}, []string{name})
	case name == "groups":
		return r.context([]string{"cubeCloud", "groups"}, []string{name})
	case name == "FILTER_PARAMS":
		return r.filterParams(nil)
	case name == "FILTER_GROUP":
		return r.vm.ToValue(r.filterGroup)
	case name == "SQL_UTILS":
		return r.object(r.sqlUtils, nil, nil)
	}
	return r.reference([]string{name})
}

// object returns an object whose properties, calls and text are those of functions; nil is none.
func (r *recording) object(get func(string) goja.Value, call func([]goja.Value) goja.Value, text func() string) *goja.Object {
	target := r.vm.ToValue(func(goja.FunctionCall) goja.Value { return goja.Undefined() }).(*goja.Object)
	primitive := r.vm.ToValue(func(c goja.FunctionCall) goja.Value {
		if text == nil || c.Argument(0).String() == "number" {
			return r.fail("this stands for SQL, and has no value to compute with or to compare")
		}
		return r.vm.ToValue(text())
	})
	nothing := func(*goja.Object, string, goja.Value, goja.Value) bool {
		r.fail("this cannot be changed")
		return false
	}
	proxy := r.vm.NewProxy(target, &goja.ProxyTrapConfig{
		Get: func(_ *goja.Object, prop string, _ goja.Value) goja.Value {
			if prop == "toString" {
				return primitive
			}
			return get(prop)
		},
		GetIdx: func(_ *goja.Object, prop int, _ goja.Value) goja.Value { return get(strconv.Itoa(prop)) },
		GetSym: func(_ *goja.Object, prop *goja.Symbol, _ goja.Value) goja.Value {
			if prop == goja.SymToPrimitive {
				return primitive
			}
			return goja.Undefined()
		},
		Has: func(*goja.Object, string) bool { return true },
		Set: nothing,
		OwnKeys: func(*goja.Object) *goja.Object {
			r.fail("this stands for SQL, and has no properties to list")
			return nil
		},
		Apply: func(_ *goja.Object, _ goja.Value, args []goja.Value) goja.Value {
			if call == nil {
				return r.fail("this is not a function")
			}
			return call(args)
		},
	})
	return r.vm.ToValue(proxy).(*goja.Object)
}

// reference stands for a cube or a member.
func (r *recording) reference(path []string) goja.Value {
	ref := datamodel.Ref{Path: path, Position: r.position(path...)}
	o := r.object(
		func(prop string) goja.Value { return r.reference(append(slices.Clone(path), prop)) },
		func(args []goja.Value) goja.Value {
			if len(path) == 2 && path[1] == "sql" && len(args) == 0 {
				return r.vm.ToValue(r.mark(datamodel.CubeSQL{Cube: path[0], Position: ref.Position}))
			}
			return r.fail("there is no function %s", strings.Join(path, "."))
		},
		func() string { return r.mark(ref) })
	r.objects[o] = ref
	return o
}

// context stands for a value of the security context. name is how the model calls it.
func (r *recording) context(path, name []string) goja.Value {
	r.touched = true
	n := datamodel.Context{Path: path, Position: r.position(name...)}
	if len(path) > 0 && !slices.Contains(contextNames, name[0]) {
		n = datamodel.Shorthand(n, name)
	}
	o := r.object(
		func(prop string) goja.Value {
			switch m := datamodel.Method(prop); m {
			case datamodel.Filter, datamodel.RequiredFilter:
				return r.vm.ToValue(func(call goja.FunctionCall) goja.Value { return r.filter(path, m, call.Argument(0), n.Position) })
			case datamodel.UnsafeValue:
				return r.vm.ToValue(func(call goja.FunctionCall) goja.Value { return r.unsafe(path, call.Argument(0), n.Position) })
			}
			return r.context(append(slices.Clone(path), prop), append(slices.Clone(name), prop))
		},
		func([]goja.Value) goja.Value {
			if len(path) == 0 {
				return r.fail("%s is not a function", name[0])
			}
			return r.fail("a value of the security context has filter, requiredFilter and unsafeValue, not %s", path[len(path)-1])
		},
		func() string {
			if len(path) == 0 {
				r.fail("name a value of the security context, such as SECURITY_CONTEXT.tenant_id")
			}
			return r.mark(n)
		})
	r.objects[o] = n
	return o
}

// filter is SECURITY_CONTEXT.x.filter(column) and requiredFilter.
func (r *recording) filter(path []string, m datamodel.Method, arg goja.Value, at datamodel.Position) goja.Value {
	if len(path) == 0 {
		return r.fail("name a value of the security context, such as SECURITY_CONTEXT.tenant_id")
	}
	n := datamodel.Context{Path: path, Method: m, Position: at}
	f, ok := goja.AssertFunction(arg)
	if o, is := arg.(*goja.Object); ok && is && r.objects[o] == nil {
		n.Column = r.lookingColumn(path, o, f)
	} else {
		n.Column = r.column(arg, string(m))
	}
	return r.vm.ToValue(r.mark(n))
}

// column is a column that is given as text.
func (r *recording) column(arg goja.Value, method string) *datamodel.Column {
	if goja.IsUndefined(arg) {
		r.fail("%s needs the column to compare, such as .%s('tenant_id')", method, method)
	}
	s := arg.String()
	if strings.TrimSpace(s) == "" {
		r.fail("the column is empty")
	}
	t, err := r.template(s)
	if err != nil {
		r.fail("%s", err)
	}
	if text, ok := t.Nodes[0].(datamodel.Text); ok && len(t.Nodes) == 1 {
		return &datamodel.Column{SQL: string(text)}
	}
	return &datamodel.Column{Body: t}
}

// lookingColumn is a function of the security context's value. One that only puts it into a text is the same for every
// value; any other has to see whether it is one or a list.
func (r *recording) lookingColumn(path []string, o *goja.Object, f goja.Callable) *datamodel.Column {
	fn := parseFunction(o.String())
	if fn == nil || len(fn.params) > 1 {
		r.fail("a function given to filter has one parameter")
	}
	name := "value"
	if len(fn.params) == 1 {
		name = fn.params[0]
	}
	arg := r.vm.ToValue(r.mark(datamodel.Param(name)))
	if !fn.simple {
		if r.input == nil {
			r.needQuery()
		}
		switch v := claim(r.input.Claims, path).(type) {
		case nil:
			return &datamodel.Column{Params: []string{name}, Body: &datamodel.Template{Position: r.at}, Lambda: true} // not asked for
		case []any:
			arg = r.placeholders(name, len(v))
		case []string:
			arg = r.placeholders(name, len(v))
		}
	}
	return r.lambda([]string{name}, f, arg)
}

// placeholders returns a list of what stands for the elements of a list.
func (r *recording) placeholders(name string, n int) goja.Value {
	items := make([]any, n)
	for i := range items {
		items[i] = r.mark(datamodel.Param(datamodel.Element(name, i)))
	}
	return r.vm.NewArray(items...)
}

func (r *recording) lambda(params []string, f goja.Callable, args ...goja.Value) *datamodel.Column {
	v, err := f(goja.Undefined(), args...)
	if err != nil {
		panic(err)
	}
	t, err := r.template(v.String())
	if err != nil {
		r.fail("%s", err)
	}
	return &datamodel.Column{Params: params, Body: t, Lambda: true}
}

// unsafe is SECURITY_CONTEXT.x.unsafeValue(). Where its value goes into the text and nowhere else, it is a node; in a
// query it is the value. At load there is none.
func (r *recording) unsafe(path []string, arg goja.Value, at datamodel.Position) goja.Value {
	if len(path) > 0 && arg.String() == direct {
		return r.vm.ToValue(r.mark(datamodel.Context{Path: path, Method: datamodel.UnsafeValue, Position: at}))
	}
	if r.input == nil {
		return r.needQuery()
	}
	return r.guarded(claim(r.input.Claims, path), path)
}

// guarded returns a claim as a value of the script. Since the script may put it into SQL as text, only what is one word
// comes in; the rest fails when it is read.
func (r *recording) guarded(v any, path []string) goja.Value {
	switch v := v.(type) {
	case string:
		if v != "" && !r.input.AllowUnsafeValues && !datamodel.PlainWord(v) {
			return r.fail("SECURITY_CONTEXT.%s has characters that unsafeValue does not let into SQL", strings.Join(path, "."))
		}
	case []string:
		items := make([]any, len(v))
		for i, s := range v {
			items[i] = r.guarded(s, path)
		}
		return r.vm.NewArray(items...)
	case []any:
		items := make([]any, len(v))
		for i, item := range v {
			items[i] = r.guarded(item, path)
		}
		return r.vm.NewArray(items...)
	case map[string]any:
		o := r.vm.NewObject()
		for _, key := range slices.Sorted(maps.Keys(v)) {
			get := func() goja.Value { return r.guarded(v[key], append(slices.Clone(path), key)) }
			_ = o.DefineAccessorProperty(key, r.vm.ToValue(get), nil, goja.FLAG_TRUE, goja.FLAG_TRUE) // o is ours
		}
		return o
	case nil:
		return goja.Undefined()
	}
	return r.r.Value(v)
}

// claim returns the value at a path of the security context, or nil.
func claim(claims map[string]any, path []string) any {
	var v any = claims
	for _, key := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[key]
	}
	return v
}

// filterParams stands for FILTER_PARAMS and the paths below it.
func (r *recording) filterParams(path []string) goja.Value {
	use := func() string {
		r.fail("FILTER_PARAMS is used as FILTER_PARAMS.cube.member.filter('column')")
		return ""
	}
	return r.object(func(prop string) goja.Value {
		if prop == "filter" && len(path) == 2 {
			return r.vm.ToValue(func(call goja.FunctionCall) goja.Value {
				n := datamodel.FilterParam{Cube: path[0], Member: path[1], Position: r.position("FILTER_PARAMS", path[0], path[1])}
				n.Column = r.filterColumn(call.Argument(0))
				return r.vm.ToValue(r.mark(n))
			})
		}
		if len(path) == 2 {
			use()
		}
		return r.filterParams(append(slices.Clone(path), prop))
	}, nil, use)
}

// sqlUtils stands for a function of SQL_UTILS.
func (r *recording) sqlUtils(name string) goja.Value {
	if name != "convertTz" && name != "urlEncode" {
		return r.fail("SQL_UTILS.%s is not supported yet", name)
	}
	return r.vm.ToValue(func(call goja.FunctionCall) goja.Value {
		column, position := r.column(call.Argument(0), name), r.position("SQL_UTILS", name)
		if name == "urlEncode" {
			return r.vm.ToValue(r.mark(datamodel.URLEncode{Column: column, Position: position}))
		}
		return r.vm.ToValue(r.mark(datamodel.ConvertTZ{Column: column, Position: position}))
	})
}

// filterColumn is the column of FILTER_PARAMS, or a function of the placeholders of a filter.
func (r *recording) filterColumn(arg goja.Value) *datamodel.Column {
	o, ok := arg.(*goja.Object)
	if !ok || r.objects[o] != nil {
		return r.column(arg, "filter")
	}
	f, ok := goja.AssertFunction(o)
	if !ok {
		return r.column(arg, "filter")
	}
	fn := parseFunction(o.String())
	if fn == nil || fn.decides {
		r.fail("a function given to FILTER_PARAMS….filter takes placeholders by name, such as (from, to) => `…`, and decides nothing by them")
	}
	args := make([]goja.Value, len(fn.params))
	for i, name := range fn.params {
		args[i] = r.vm.ToValue(r.mark(datamodel.Param(name)))
	}
	return r.lambda(fn.params, f, args...)
}

// filterGroup is FILTER_GROUP(FILTER_PARAMS…, …).
func (r *recording) filterGroup(call goja.FunctionCall) goja.Value {
	n := datamodel.FilterGroup{Position: r.position("FILTER_GROUP")}
	for _, a := range call.Arguments {
		t, err := r.template(a.String())
		if err != nil {
			r.fail("%s", err)
		}
		p, ok := datamodel.Node(nil), false
		if len(t.Nodes) == 1 {
			p = t.Nodes[0]
		}
		param, ok := p.(datamodel.FilterParam)
		if !ok {
			r.fail("FILTER_GROUP takes FILTER_PARAMS.cube.member.filter(…)")
		}
		n.Params = append(n.Params, param)
	}
	if len(n.Params) == 0 {
		r.fail("FILTER_GROUP takes FILTER_PARAMS.cube.member.filter(…)")
	}
	return r.vm.ToValue(r.mark(n))
}

// function is what the text of a function says of it.
type function struct {
	params  []string
	simple  bool // it returns a text with its parameters put into it, and nothing else
	decides bool // it has conditions or loops
	plain   bool
}

// parseFunction reads the text of a function, or returns nil when its parameters are not names.
func parseFunction(source string) *function {
	var e ast.Expression
	for _, text := range []string{"(" + source + ")", "({" + source + "})", "({async " + source + "})"} {
		program, err := parser.ParseFile(nil, "", text, 0, parser.WithDisableSourceMaps)
		if err != nil || len(program.Body) != 1 {
			continue
		}
		if st, ok := program.Body[0].(*ast.ExpressionStatement); ok {
			e = st.Expression
			break
		}
	}
	if o, ok := e.(*ast.ObjectLiteral); ok && len(o.Value) == 1 {
		if p, ok := o.Value[0].(*ast.PropertyKeyed); ok {
			e = p.Value
		}
	}
	var list *ast.ParameterList
	switch f := e.(type) {
	case *ast.ArrowFunctionLiteral:
		list = f.ParameterList
	case *ast.FunctionLiteral:
		list = f.ParameterList
	default:
		return nil
	}
	fn := &function{plain: plain(e)}
	for _, b := range list.List {
		id, ok := b.Target.(*ast.Identifier)
		if !ok || b.Initializer != nil {
			return nil
		}
		fn.params = append(fn.params, id.Name.String())
	}
	if list.Rest != nil {
		return nil
	}
	s := scopes{enter: func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ConditionalExpression, *ast.IfStatement, *ast.SwitchStatement, *ast.ForStatement, *ast.ForInStatement, *ast.ForOfStatement,
			*ast.WhileStatement, *ast.DoWhileStatement, *ast.TryStatement:
			fn.decides = true
		case *ast.BinaryExpression:
			fn.decides = fn.decides || !slices.Contains([]string{"+", "-", "*", "/", "%"}, n.Operator.String())
		}
		return true
	}}
	s.walk(e)
	if t, ok := returned(e).(*ast.TemplateLiteral); ok && t.Tag == nil {
		fn.simple = !slices.ContainsFunc(t.Expressions, func(e ast.Expression) bool {
			_, name := e.(*ast.Identifier)
			return !name && chain(e) == ""
		})
		for _, e := range t.Expressions {
			if path := chain(e); strings.Contains(path, ".") && slices.Contains(fn.params, strings.Split(path, ".")[0]) {
				fn.simple = false
			}
		}
	}
	return fn
}
