package graphql

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
)

// maxIntrospection bounds the answer to an introspection, in bytes.
const maxIntrospection = 16 << 20

// node is an object of the introspection (GraphQL §4): its type, and the value of a field, which is nil, a bool, a
// string, a []string, a node or a []node.
type node struct {
	typename string
	get      func(f *ast.Field) any
}

// introspect answers __schema, __type and __typename.
func (r *reader) introspect(f field) (json.RawMessage, error) {
	i := introspection{r.schema.schema, r}
	var v any
	switch f.Name {
	case "__schema":
		v = i.ofSchema()
	case "__type":
		if def := i.schema.Types[r.argument(f.Field, "name").text]; def != nil {
			v = i.ofDefinition(def)
		}
	default:
		v = "Query"
	}
	out, err := i.write(nil, v, f.set)
	return out, err
}

type introspection struct {
	schema *ast.Schema
	reader *reader
}

// write writes v with what set selects of it.
func (i introspection) write(out []byte, v any, set ast.SelectionSet) ([]byte, error) {
	if len(out) > maxIntrospection {
		return nil, fail("The introspection takes more than %d MiB. Ask for less of the schema.", maxIntrospection>>20)
	}
	var err error
	switch v := v.(type) {
	case node:
		out = append(out, '{')
		for n, f := range i.reader.fields(set) {
			if n > 0 {
				out = append(out, ',')
			}
			out = append(append(append(out, '"'), f.key...), `":`...) // a name of GraphQL needs no escape
			inner := any(v.typename)
			if f.Name != "__typename" {
				inner = v.get(f.Field)
			}
			if out, err = i.write(out, inner, f.set); err != nil {
				return nil, err
			}
		}
		return append(out, '}'), nil
	case []node:
		out = append(out, '[')
		for n, item := range v {
			if n > 0 {
				out = append(out, ',')
			}
			if out, err = i.write(out, item, set); err != nil {
				return nil, err
			}
		}
		return append(out, ']'), nil
	}
	text, err := json.Marshal(v)
	return append(out, text...), err
}

func (i introspection) ofSchema() node {
	return node{"__Schema", func(f *ast.Field) any {
		switch f.Name {
		case "types":
			var all []node
			for _, name := range slices.Sorted(maps.Keys(i.schema.Types)) {
				all = append(all, i.ofDefinition(i.schema.Types[name]))
			}
			return all
		case "queryType":
			return i.ofDefinition(i.schema.Query)
		case "directives":
			var all []node
			for _, name := range slices.Sorted(maps.Keys(i.schema.Directives)) {
				all = append(all, i.ofDirective(i.schema.Directives[name]))
			}
			return all
		}
		return nil // description; there are no mutations and subscriptions
	}}
}

func (i introspection) ofDefinition(d *ast.Definition) node {
	return node{"__Type", func(f *ast.Field) any {
		switch f.Name {
		case "kind":
			return string(d.Kind)
		case "name":
			return d.Name
		case "description":
			return optional(d.Description)
		case "isOneOf":
			if d.Kind == ast.InputObject {
				return false
			}
		case "fields":
			if d.Kind == ast.Object {
				return i.ofFields(d.Fields)
			}
		case "interfaces":
			if d.Kind == ast.Object {
				return []node{}
			}
		case "inputFields":
			if d.Kind == ast.InputObject {
				all := []node{}
				for _, field := range d.Fields {
					all = append(all, i.ofInput(field.Name, field.Description, field.Type, field.DefaultValue))
				}
				return all
			}
		case "enumValues":
			if d.Kind == ast.Enum {
				all := []node{}
				for _, v := range d.EnumValues {
					all = append(all, current("__EnumValue", v.Name, v.Description, nil))
				}
				return all
			}
		}
		return nil
	}}
}

// ofFields describes the fields of an object, but for those that all objects have.
func (i introspection) ofFields(fields ast.FieldList) []node {
	all := []node{}
	for _, field := range fields {
		if strings.HasPrefix(field.Name, "__") {
			continue
		}
		all = append(all, current("__Field", field.Name, field.Description, func(f *ast.Field) any {
			if f.Name == "type" {
				return i.ofType(field.Type)
			}
			return i.ofArguments(field.Arguments)
		}))
	}
	return all
}

func (i introspection) ofArguments(arguments ast.ArgumentDefinitionList) []node {
	all := []node{}
	for _, a := range arguments {
		all = append(all, i.ofInput(a.Name, a.Description, a.Type, a.DefaultValue))
	}
	return all
}

func (i introspection) ofInput(name, description string, t *ast.Type, standard *ast.Value) node {
	return current("__InputValue", name, description, func(f *ast.Field) any {
		switch {
		case f.Name == "type":
			return i.ofType(t)
		case standard != nil:
			return standard.String()
		}
		return nil
	})
}

func (i introspection) ofDirective(d *ast.DirectiveDefinition) node {
	return current("__Directive", d.Name, d.Description, func(f *ast.Field) any {
		switch f.Name {
		case "args":
			return i.ofArguments(d.Arguments)
		case "isRepeatable":
			return d.IsRepeatable
		}
		places := []string{}
		for _, l := range d.Locations {
			places = append(places, string(l))
		}
		return places
	})
}

// ofType describes a type with what is around its name.
func (i introspection) ofType(t *ast.Type) node {
	if !t.NonNull && t.Elem == nil {
		return i.ofDefinition(i.schema.Types[t.NamedType])
	}
	inner, kind := t.Elem, "LIST"
	if t.NonNull {
		inner, kind = &ast.Type{NamedType: t.NamedType, Elem: t.Elem}, "NON_NULL"
	}
	return node{"__Type", func(f *ast.Field) any {
		switch f.Name {
		case "kind":
			return kind
		case "ofType":
			return i.ofType(inner)
		}
		return nil
	}}
}

// current describes what has a name and is not deprecated, as nothing here is; more is for its other fields.
func current(typename, name, description string, more func(f *ast.Field) any) node {
	return node{typename, func(f *ast.Field) any {
		switch f.Name {
		case "name":
			return name
		case "description":
			return optional(description)
		case "isDeprecated":
			return false
		case "deprecationReason":
			return nil
		}
		return more(f)
	}}
}

// optional returns s; nil when it is empty.
func optional(s string) any {
	if s == "" {
		return nil
	}
	return s
}
