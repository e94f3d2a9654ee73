package graphql

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/validator"
	"github.com/vektah/gqlparser/v2/validator/core"
	"github.com/vektah/gqlparser/v2/validator/rules"
)

// Request is what a client sends.
type Request struct {
	Query         string          `json:"query"`
	Variables     json.RawMessage `json:"variables"`
	OperationName string          `json:"operationName"`
}

// Errors say what is wrong with a request, in the form of an answer's errors.
type Errors = gqlerror.List

// The bounds of a request. They are looked at before the validation, whose work grows with them.
const (
	maxTokens = 15_000
	maxFields = 500 // with those of fragments, wherever they are spread
	maxDepth  = 20  // of selections; the introspection of common tools has 13
	maxCubes  = 10  // fields cube, each of which runs a query
	maxName   = 256 // bytes of a name, whatever it names
	maxErrors = 20  // that are told
	maxTold   = 512 // bytes of each
)

// Operation is a request that was understood.
type Operation struct {
	Fields []Field // of the answer, in order
}

// Field is a field of the answer: what a query answers, or a value that is known.
type Field struct {
	Key   string          // its name in the answer
	Query json.RawMessage // in the format of the query API; nil where Value is the answer
	Row   []Selection     // of each row of the query's result
	Value json.RawMessage
}

// Selection is a field of an object in the answer.
type Selection struct {
	Key    string
	Type   string      // of the value: Float, DateTime, String; or the name of the object's type, where there is no column
	Column string      // of the result: "orders.count", "orders.created_at.day"; empty for Fields and for __typename
	Fields []Selection // of an object
}

// Typename reports whether the value is the name of the type.
func (s Selection) Typename() bool { return s.Column == "" && s.Fields == nil }

// Read understands r, or returns Errors.
func (s *Schema) Read(r Request) (*Operation, error) {
	op, err := s.understand(r)
	if err != nil {
		return nil, told(err)
	}
	return op, nil
}

func (s *Schema) understand(r Request) (*Operation, error) {
	if r.Query == "" {
		return nil, fail("Must provide query string.")
	}
	doc, err := parse(r.Query)
	if err != nil {
		return nil, err
	}
	if err := measure(doc); err != nil {
		return nil, err
	}
	if found := validator.ValidateWithRules(s.schema, doc, validation); len(found) > 0 {
		return nil, found
	}
	op, err := chosen(doc, r.OperationName)
	if err != nil {
		return nil, err
	}
	ordered, plain, err := readVariables(r.Variables)
	if err != nil {
		return nil, err
	}
	if _, err := validator.VariableValues(s.schema, op, plain); err != nil {
		return nil, err
	}
	return s.operation(&reader{s, doc, ordered}, op)
}

// validation is the library's, without suggestions: each compares an unknown name with all that there are, letter by
// letter, and a request may have thousands.
var validation = withoutSuggestions()

func withoutSuggestions() *rules.Rules {
	plain := []core.Rule{
		rules.FieldsOnCorrectTypeRuleWithoutSuggestions, rules.KnownArgumentNamesRuleWithoutSuggestions,
		rules.KnownTypeNamesRuleWithoutSuggestions, rules.ScalarLeafsRuleWithoutSuggestions, rules.ValuesOfCorrectTypeRuleWithoutSuggestions,
	}
	library := rules.NewDefaultRules()
	for _, rule := range plain {
		library.RemoveRule(strings.TrimSuffix(rule.Name, "WithoutSuggestions"))
		library.AddRule(rule.Name, rule.RuleFunc)
	}
	return library
}

// told returns of errors what is told of them: a client knows its request, and need not have all of it back.
func told(err error) error {
	errs := listed(err)
	errs = errs[:min(len(errs), maxErrors)]
	for _, e := range errs {
		if len(e.Message) > maxTold {
			e.Message = strings.ToValidUTF8(e.Message[:maxTold], "") + "…"
		}
		e.Path = e.Path[:min(len(e.Path), maxDepth)]
	}
	return errs
}

// fail returns one error.
func fail(format string, args ...any) error { return Errors{gqlerror.Errorf(format, args...)} }

// listed returns an error of the library as Errors.
func listed(err error) Errors {
	if list, ok := errors.AsType[Errors](err); ok {
		return list
	}
	if e, ok := errors.AsType[*gqlerror.Error](err); ok {
		return Errors{e}
	}
	return Errors{gqlerror.Errorf("%v", err)}
}

// chosen returns the operation that is to be executed (GraphQL §6.1).
func chosen(doc *ast.QueryDocument, name string) (*ast.OperationDefinition, error) {
	switch op := doc.Operations.ForName(name); {
	case len(doc.Operations) == 0:
		return nil, fail("Must provide an operation.")
	case name == "" && len(doc.Operations) > 1:
		return nil, fail("Must provide operation name if query contains multiple operations.")
	case name == "":
		return doc.Operations[0], nil
	case op == nil:
		return nil, fail("Unknown operation named %q.", name)
	default:
		return op, nil
	}
}

// operation reads the fields of op.
func (s *Schema) operation(r *reader, op *ast.OperationDefinition) (*Operation, error) {
	out := &Operation{}
	cubes := 0
	for _, f := range r.fields(op.SelectionSet) {
		field := Field{Key: f.key}
		var err error
		switch f.Name {
		case "cube":
			if cubes++; cubes > maxCubes {
				return nil, fail("A request may have %d fields cube. Send the others in another one.", maxCubes)
			}
			field.Query, field.Row, err = r.cube(f)
		default:
			field.Value, err = r.introspect(f)
		}
		if err != nil {
			return nil, err
		}
		out.Fields = append(out.Fields, field)
	}
	return out, nil
}

// measure refuses what is too large or too deep, with the fragments wherever they are spread. It looks at each fragment
// once.
func measure(doc *ast.QueryDocument) error {
	m := meter{doc: doc, known: map[string]size{}}
	var most size
	for _, op := range doc.Operations {
		most = most.and(m.of(op.SelectionSet))
	}
	for _, f := range doc.Fragments { // of which a request may have some that it does not use
		most = most.and(m.fragment(f.Name))
	}
	switch {
	case most.depth > maxDepth:
		return fail("The request nests deeper than %d fields.", maxDepth)
	case most.fields > maxFields:
		return fail("The request selects more than %d fields. Ask for less in one request.", maxFields)
	}
	return nil
}

type size struct{ fields, depth int }

// and is the size of two selections beside each other, which is at most a little too much.
func (s size) and(o size) size {
	return size{min(s.fields+o.fields, maxFields+1), min(max(s.depth, o.depth), maxDepth+1)}
}

type meter struct {
	doc   *ast.QueryDocument
	known map[string]size // of fragments; too much while it is being counted, because one that holds itself never ends
}

// of returns the size of set, or one that is too much.
func (m *meter) of(set ast.SelectionSet) (total size) {
	for _, s := range set {
		var inner size
		switch s := s.(type) {
		case *ast.Field:
			inner = m.of(s.SelectionSet)
			inner.fields++
			inner.depth++
		case *ast.InlineFragment:
			inner = m.of(s.SelectionSet)
			inner.fields++
		case *ast.FragmentSpread:
			inner = m.fragment(s.Name)
			inner.fields++
		}
		total = total.and(inner)
	}
	return total
}

func (m *meter) fragment(name string) size {
	if got, ok := m.known[name]; ok {
		return got
	}
	f := m.doc.Fragments.ForName(name)
	if f == nil {
		return size{} // which the validation says
	}
	m.known[name] = size{maxFields + 1, maxDepth + 1}
	m.known[name] = m.of(f.SelectionSet)
	return m.known[name]
}

// reader reads a request that is valid.
type reader struct {
	schema    *Schema
	doc       *ast.QueryDocument
	variables map[string]value
}

// field is a field of an answer, with all that is selected of it in one place or another.
type field struct {
	*ast.Field
	key string
	set ast.SelectionSet
}

// fields collects the fields of set by their names in the answer (GraphQL §6.3.2).
func (r *reader) fields(set ast.SelectionSet) (out []field) {
	for _, s := range set {
		switch s := s.(type) {
		case *ast.Field:
			if !r.included(s.Directives) {
				continue
			}
			i := slices.IndexFunc(out, func(f field) bool { return f.key == s.Alias })
			if i < 0 {
				out = append(out, field{Field: s, key: s.Alias})
				i = len(out) - 1
			}
			out[i].set = append(out[i].set[:len(out[i].set):len(out[i].set)], s.SelectionSet...)
		case *ast.InlineFragment:
			if r.included(s.Directives) {
				out = r.merge(out, s.SelectionSet)
			}
		case *ast.FragmentSpread:
			if r.included(s.Directives) {
				out = r.merge(out, s.Definition.SelectionSet)
			}
		}
	}
	return out
}

// merge adds the fields of set to out.
func (r *reader) merge(out []field, set ast.SelectionSet) []field {
	for _, f := range r.fields(set) {
		i := slices.IndexFunc(out, func(o field) bool { return o.key == f.key })
		if i < 0 {
			out = append(out, f)
			continue
		}
		out[i].set = append(out[i].set[:len(out[i].set):len(out[i].set)], f.set...)
	}
	return out
}

// included evaluates @skip and @include (GraphQL §3.13).
func (r *reader) included(directives ast.DirectiveList) bool {
	for _, d := range directives {
		if condition := d.Arguments.ForName("if"); condition != nil && (d.Name == "skip") == literal(condition.Value, r.variables).isTrue() {
			return false
		}
	}
	return true
}

// argument returns an argument of f; null when there is none.
func (r *reader) argument(f *ast.Field, name string) value {
	if a := f.Arguments.ForName(name); a != nil {
		return literal(a.Value, r.variables)
	}
	return value{}
}
