package jsmodel

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/dop251/goja"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/script"
)

// Bounds of what one definition is made of.
const (
	maxValues = 200_000
	maxDepth  = 50
	maxText   = 1 << 20
)

// reader turns one definition into a Value.
type reader struct {
	*run
	index int // of the call
	count int
	path  []string // to the value that is read
}

// definition returns a definition, and what is wrong with its values.
func (u *run) definition(index int) datamodel.Definition {
	c := u.calls[index]
	rd := &reader{run: u, index: index}
	body := rd.value(c.body, c.at.item(1))
	if body.Kind != datamodel.Map {
		u.problem(c.at.item(1).value, errors.New("the definition of a cube or view is an object"))
		body = &datamodel.Value{Kind: datamodel.Map, Position: c.at.value}
	}
	name := c.at.item(0).value
	body.Fields = append([]datamodel.Field{{Key: "name", Position: name,
		Value: &datamodel.Value{Kind: datamodel.StringValue, Text: c.text, Position: name}}}, slices.DeleteFunc(body.Fields, func(f datamodel.Field) bool { return f.Key == "name" })...)
	return datamodel.Definition{View: c.view, Value: body}
}

// problem records what is wrong at a place, or where an error says it is.
func (u *run) problem(at datamodel.Position, err error) {
	p := datamodel.Problem{Position: at, Message: err.Error()}
	var e *script.Error
	if errors.As(err, &e) {
		p.Message, p.Text = e.Message, e.Text
		if e.Line > 0 {
			p.Position = datamodel.Position{File: e.File, Line: e.Line, Column: e.Column}
		}
	}
	u.problems = append(u.problems, p)
}

// value returns v, whose lazy functions are called.
func (rd *reader) value(v goja.Value, at *place) *datamodel.Value {
	out := &datamodel.Value{Position: at.value}
	if rd.count++; rd.count > maxValues || len(rd.path) > maxDepth {
		out.Broken = true
		if rd.count == maxValues+1 || len(rd.path) > maxDepth {
			rd.problem(at.value, fmt.Errorf("the definition has more than %d values, or is more than %d deep", maxValues, maxDepth))
		}
		return out
	}
	if v == nil || goja.IsUndefined(v) || goja.IsNull(v) {
		return out
	}
	o, ok := v.(*goja.Object)
	if !ok {
		_, boolean := v.Export().(bool)
		switch {
		case goja.IsString(v):
			rd.text(out, v.String(), nil)
		case goja.IsNumber(v) || boolean:
			out.Kind, out.Text = datamodel.Literal, v.String()
		case goja.IsBigInt(v):
			rd.refuse(out, "bigint")
		default:
			rd.refuse(out, "symbol")
		}
		return out
	}
	if _, function := goja.AssertFunction(o); function {
		return rd.lazy(o, at)
	}
	return rd.object(o, at, nil)
}

// object returns a list, a mapping, or what has a text. In what a lazy function returned, rec knows what stands for nodes.
func (rd *reader) object(o *goja.Object, at *place, rec *recording) *datamodel.Value {
	out := &datamodel.Value{Position: at.value}
	inner := func(step string, v goja.Value, at *place) *datamodel.Value {
		rd.path = append(rd.path, step)
		defer func() { rd.path = rd.path[:len(rd.path)-1] }()
		if rec != nil {
			return rd.recorded(v, at, rec)
		}
		return rd.value(v, at)
	}
	switch class := o.ClassName(); class {
	case "Array":
		out.Kind = datamodel.List
		for i := range int(min(o.Get("length").ToInteger(), maxValues)) {
			step := strconv.Itoa(i)
			out.Items = append(out.Items, inner(step, o.Get(step), at.item(i)))
		}
	case "Object":
		out.Kind = datamodel.Map
		for _, key := range o.Keys() {
			p := at.field(key)
			if v := o.Get(key); !goja.IsUndefined(v) {
				out.Fields = append(out.Fields, datamodel.Field{Key: key, Position: p.key, Value: inner(key, v, p)})
			}
		}
	case "String", "Date":
		rd.text(out, o.String(), nil)
	case "Number", "Boolean":
		out.Kind, out.Text = datamodel.Literal, o.String()
	default:
		rd.refuse(out, strings.ToLower(class))
	}
	return out
}

// refuse records that a value is none of a model's.
func (rd *reader) refuse(out *datamodel.Value, what string) {
	out.Broken = true
	rd.problem(out.Position, fmt.Errorf("a %s is nothing that a model may hold", what))
}

// quotedTemplate finds an expression that was meant to be replaced.
var quotedTemplate = regexp.MustCompile(`\$\{(CUBE|SECURITY_CONTEXT|USER_CONTEXT|FILTER_PARAMS|FILTER_GROUP|SQL_UTILS)\b`)

// text sets a string. rec is that of the lazy function that returned it.
func (rd *reader) text(out *datamodel.Value, s string, rec *recording) {
	out.Kind, out.Text = datamodel.StringValue, s
	if len(s) > maxText {
		out.Text, out.Broken = "", true
		rd.problem(out.Position, fmt.Errorf("the text is longer than %d characters", maxText))
		return
	}
	if m := quotedTemplate.FindString(s); m != "" {
		out.Broken = true
		rd.problem(out.Position, fmt.Errorf("%s…} stands in quotes, where JavaScript leaves it as it is; write the text in backquotes", m))
		return
	}
	if rec == nil {
		out.SQL = &datamodel.Template{Source: s, Position: out.Position}
		if s != "" {
			out.SQL.Nodes = []datamodel.Node{datamodel.Text(s)}
		}
		return
	}
	t, err := rec.template(s)
	if err == nil && len(t.Nodes) == 0 {
		out.SQL, out.Text = t, ""
		return
	}
	if err != nil {
		rd.problem(out.Position, err)
		out.Broken = true
		return
	}
	out.SQL, out.Text = t, t.Source
	if ref, ok := t.Nodes[0].(datamodel.Ref); ok && len(t.Nodes) == 1 {
		out.Text = strings.Join(ref.Path, ".") // as YAML lists it
	}
}

// lazy calls a lazy function and returns what it makes.
func (rd *reader) lazy(f *goja.Object, at *place) *datamodel.Value {
	pos := at.value
	if l, ok := rd.tagged[f]; ok {
		pos = l.pos
	}
	rec, v, plain, err := rd.call(rd.index, f, pos)
	out := &datamodel.Value{Position: pos, Kind: datamodel.StringValue}
	if rec.needs || err == nil && rec.touched && !plain {
		out.Text = "{computed for each query}" // with braces, which no reader of plain text takes for one
		s := datamodel.Script{Position: pos, Names: rec.names(), Run: rd.script(rd.root, rd.index, slices.Clone(rd.path))}
		out.SQL = &datamodel.Template{Source: out.Text, Position: pos, Nodes: []datamodel.Node{s}}
		return out
	}
	if err != nil {
		rd.problem(pos, err)
		out.Broken = true
		return out
	}
	return rd.recorded(v, &place{key: at.key, value: pos, fields: at.fields, items: at.items}, rec)
}

// names returns what a function refers to by names that are none of the language's.
func (r *recording) names() []datamodel.Ref {
	var refs []datamodel.Ref
	if r.site == nil {
		return nil
	}
	for _, name := range r.site.names[:r.site.own] {
		if !special(name) {
			refs = append(refs, datamodel.Ref{Path: []string{name}, Position: r.position(name)})
		}
	}
	return refs
}

func special(name string) bool {
	return slices.Contains(contextNames, name) ||
		slices.Contains([]string{"userAttributes", "user_attributes", "groups", "FILTER_PARAMS", "FILTER_GROUP", "SQL_UTILS", "CUBE", "TABLE"}, name)
}

// call calls a lazy function, and what it returns as long as that is a function, and awaits the result. plain reports
// whether the texts of all of them are without decisions.
func (u *run) call(index int, f *goja.Object, pos datamodel.Position) (rec *recording, v goja.Value, plain bool, err error) {
	rec, plain = u.record(pos), true
	u.current = rec
	defer func() { u.current = nil }()
	v = f
	for depth := 0; ; depth++ {
		o, ok := v.(*goja.Object)
		if !ok || rec.objects[o] != nil {
			return rec, v, plain, nil
		}
		call, ok := goja.AssertFunction(o)
		if !ok {
			return rec, v, plain, nil
		}
		if depth > 10 {
			return rec, nil, plain, errors.New("the function returns functions without end")
		}
		var names []string
		l, tagged := u.tagged[o]
		if tagged {
			if rec.site == nil {
				rec.site = l.lazy
			}
			names, plain = l.names, plain && l.plain
		} else {
			fn := parseFunction(o.String())
			if fn == nil {
				return rec, nil, plain, errors.New("a function in a model takes the names it refers to as parameters: (CUBE, users) => …")
			}
			names, plain = fn.params, plain && fn.plain
		}
		args := make([]goja.Value, len(names))
		for i, name := range names {
			switch known := u.knows(index, name); {
			case known:
				args[i] = rec.reference([]string{name})
				continue
			case !tagged || i < l.own:
				args[i] = rec.resolve(name)
				continue
			}
			variable, _ := goja.AssertFunction(l.variables.Get(strconv.Itoa(i - l.own)))
			if args[i], err = variable(goja.Undefined()); err != nil {
				return rec, nil, plain, u.r.Failure(err)
			}
		}
		if v, err = call(goja.Undefined(), args...); err == nil {
			v, err = u.r.Await(v)
		}
		if err != nil {
			return rec, nil, plain, u.r.Failure(err)
		}
	}
}

// recorded returns what a lazy function returned.
func (rd *reader) recorded(v goja.Value, at *place, rec *recording) *datamodel.Value {
	out := &datamodel.Value{Position: at.value}
	o, ok := v.(*goja.Object)
	if !ok {
		if s, ok := v.Export().(string); ok {
			rd.text(out, s, rec)
			return out
		}
		return rd.value(v, at)
	}
	switch n := rec.objects[o].(type) {
	case datamodel.Ref:
		out.Position = n.Position
		rd.text(out, rec.mark(n), rec)
		return out
	case datamodel.Context:
		if len(n.Path) == 0 {
			out.Broken = true
			rd.problem(at.value, errors.New("name a value of the security context, such as SECURITY_CONTEXT.tenant_id"))
			return out
		}
		out.Position = n.Position
		rd.text(out, rec.mark(n), rec)
		return out
	}
	if _, function := goja.AssertFunction(o); function {
		return rd.lazy(o, at)
	}
	return rd.object(o, at, rec)
}
