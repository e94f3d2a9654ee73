package graphql

import (
	"bytes"
	"encoding/json"
	"io"

	"github.com/vektah/gqlparser/v2/ast"
)

// value is an argument, from the text of a request or from its variables. Numbers keep their text, and objects the
// order of their fields: the order of a sort is in it.
type value struct {
	kind   kind
	text   string // of a scalar
	list   []value
	fields []entry
}

type entry struct {
	name  string
	value value
}

type kind int

const (
	null kind = iota
	scalar
	list
	object
)

// get returns a field of an object; null when there is none.
func (v value) get(name string) value {
	for _, f := range v.fields {
		if f.name == name {
			return f.value
		}
	}
	return value{}
}

// items returns the elements of a list; what is none is a list of itself (GraphQL §3.11).
func (v value) items() []value {
	if v.kind == list {
		return v.list
	}
	return []value{v}
}

// isTrue reports whether v is the boolean true.
func (v value) isTrue() bool { return v.kind == scalar && v.text == "true" }

// literal returns the value of v in a request with these variables.
func literal(v *ast.Value, variables map[string]value) value {
	switch v.Kind {
	case ast.Variable:
		if given, ok := variables[v.Raw]; ok {
			return given
		}
		if d := v.VariableDefinition; d != nil && d.DefaultValue != nil {
			return literal(d.DefaultValue, nil)
		}
		return value{}
	case ast.NullValue:
		return value{}
	case ast.ListValue:
		out := value{kind: list}
		for _, c := range v.Children {
			out.list = append(out.list, literal(c.Value, variables))
		}
		return out
	case ast.ObjectValue:
		out := value{kind: object}
		for _, c := range v.Children {
			out.fields = append(out.fields, entry{c.Name, literal(c.Value, variables)})
		}
		return out
	}
	return value{kind: scalar, text: v.Raw}
}

// readVariables reads the variables of a request, if it has any: once in order, and once for the validation.
func readVariables(data json.RawMessage) (map[string]value, map[string]any, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, nil, nil
	}
	var plain map[string]any
	if err := json.Unmarshal(data, &plain); err != nil {
		return nil, nil, fail("Variables are invalid JSON.")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	v, err := decode(d)
	if err != nil {
		return nil, nil, err
	}
	ordered := map[string]value{}
	for _, f := range v.fields {
		ordered[f.name] = f.value
	}
	return ordered, plain, nil
}

// decode reads one JSON value, which was found to be one and not too deep.
func decode(d *json.Decoder) (value, error) {
	token, err := d.Token()
	if err != nil {
		return value{}, err
	}
	switch t := token.(type) {
	case nil:
		return value{}, nil
	case bool:
		if t {
			return value{kind: scalar, text: "true"}, nil
		}
		return value{kind: scalar, text: "false"}, nil
	case string:
		return value{kind: scalar, text: t}, nil
	case json.Number:
		return value{kind: scalar, text: t.String()}, nil
	case json.Delim:
		if t == '[' {
			return decodeList(d)
		}
		return decodeObject(d)
	}
	return value{}, io.ErrUnexpectedEOF
}

func decodeList(d *json.Decoder) (value, error) {
	out := value{kind: list}
	for d.More() {
		v, err := decode(d)
		if err != nil {
			return value{}, err
		}
		out.list = append(out.list, v)
	}
	_, err := d.Token()
	return out, err
}

func decodeObject(d *json.Decoder) (value, error) {
	out := value{kind: object}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return value{}, err
		}
		if len(name.(string)) > maxName {
			return value{}, fail("A name may have %d characters; one in the variables is longer.", maxName)
		}
		v, err := decode(d)
		if err != nil {
			return value{}, err
		}
		out.fields = append(out.fields, entry{name.(string), v})
	}
	_, err := d.Token()
	return out, err
}
