package sqlgen

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/behalf-project/behalf/internal/datamodel"
)

// claim is a value of the security context, taken apart.
type claim struct {
	values  []any // bool, int64, float64 or string
	list    bool
	missing bool // absent, null or, alone, an empty text
	falsy   bool // missing, or what JavaScript takes for false
}

// claim finds the value at path. What is neither a scalar nor a list of scalars is refused: Cube would bind an object.
func (p *planner) claim(path []string) (claim, error) {
	var v any = p.sc.Template
	for _, key := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return claim{missing: true, falsy: true}, nil
		}
		v = m[key]
	}
	if v == nil {
		return claim{missing: true, falsy: true}, nil
	}
	items, list := v.([]any)
	switch s := v.(type) {
	case []string:
		list = true
		for _, item := range s {
			items = append(items, item)
		}
	case map[string]any:
		return claim{}, contextError(path, "is an object")
	}
	if !list {
		items = []any{v}
	}
	c := claim{list: list}
	for _, item := range items {
		scalar, ok := scalar(item)
		if !ok {
			return claim{}, contextError(path, "has an element that is neither text, number nor boolean")
		}
		c.values = append(c.values, scalar)
	}
	if !list {
		switch c.values[0] {
		case "":
			c.missing, c.falsy = true, true
		case false, int64(0), float64(0):
			c.falsy = true
		}
	}
	return c, nil
}

func contextError(path []string, what string) error {
	return refusal("SECURITY_CONTEXT.%s %s", strings.Join(path, "."), what)
}

// scalar returns v as a value to bind.
func scalar(v any) (any, bool) {
	switch v := v.(type) {
	case bool:
		return v, true
	case string:
		return v, !strings.ContainsRune(v, 0)
	case int:
		return int64(v), true
	case int64:
		return v, true
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n, true
		}
		f, err := v.Float64()
		return f, err == nil
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int64(v), true
		}
		return v, !math.IsNaN(v) && !math.IsInf(v, 0)
	}
	return nil, false
}

// context evaluates {SECURITY_CONTEXT.…} (cube-data-model.md §14). By default a missing value filters everything
// away, where Cube lets everything through.
func (s scope) context(c *datamodel.Cube, n datamodel.Context, params map[string]Fragment) (Fragment, error) {
	v, err := s.p.claim(n.Path)
	if err != nil {
		return Fragment{}, err
	}
	switch n.Method {
	case datamodel.Bare:
		if len(v.values) == 0 || v.missing && !v.list {
			return Fragment{}, contextError(n.Path, "is missing, and the data model needs it")
		}
		return placeholders(v.values), nil
	case datamodel.UnsafeValue:
		return s.unsafe(n, v)
	}
	absent := v.missing
	if s.p.o.AllowMissingFilter {
		absent = v.falsy
	}
	switch {
	case absent && n.Method == datamodel.RequiredFilter:
		name := strings.Join(n.Path, ".")
		if n.Column.SQL != "" {
			name = n.Column.SQL
		}
		return Fragment{}, refusal("Filter for %s is required", name)
	case absent && s.p.o.AllowMissingFilter:
		return text("1 = 1"), nil
	case absent || len(v.values) == 0:
		return text("1 = 0"), nil
	}
	if n.Column.Lambda {
		if len(n.Column.Params) != 1 {
			return Fragment{}, contextError(n.Path, fmt.Sprintf("is one value, but its lambda takes %d", len(n.Column.Params)))
		}
		// In parentheses, unlike Cube: an OR in the lambda must not reach past it and let other rows in.
		f, err := s.lambda(c, n.Column, []Fragment{placeholders(v.values)}, elements(n.Column.Params[0], v, params))
		return Format("({})", f), err
	}
	column, err := s.column(c, n.Column, params)
	if err != nil {
		return Fragment{}, err
	}
	equal := Format("{} = {}", column, placeholders(v.values))
	if v.list {
		equal = Format("{} IN ({})", column, placeholders(v.values))
	}
	if more := s.p.d.Exactly(column, v.values); !more.empty() {
		equal = Format("({} AND {})", equal, more)
	}
	return equal, nil
}

// elements adds the elements of a list to params, by the names that a function in a script has for them.
func elements(name string, v claim, params map[string]Fragment) map[string]Fragment {
	if !v.list {
		return params
	}
	all := maps.Clone(params)
	if all == nil {
		all = map[string]Fragment{}
	}
	for i, value := range v.values {
		all[datamodel.Element(name, i)] = bind(value)
	}
	return all
}

// placeholders binds values, with commas between.
func placeholders(values []any) Fragment {
	parts := make([]Fragment, len(values))
	for i, v := range values {
		parts[i] = bind(v)
	}
	return join(parts, ", ")
}

// column evaluates the column of a filter method, unless it is a lambda.
func (s scope) column(c *datamodel.Cube, col *datamodel.Column, params map[string]Fragment) (Fragment, error) {
	if col.Body == nil {
		return text(col.SQL), nil
	}
	return s.eval(c, col.Body, params)
}

// lambda evaluates the body of a lambda with its parameters.
func (s scope) lambda(c *datamodel.Cube, col *datamodel.Column, args []Fragment, params map[string]Fragment) (Fragment, error) {
	inner := make(map[string]Fragment, len(params)+len(args))
	for k, v := range params {
		inner[k] = v
	}
	for i, name := range col.Params {
		inner[name] = args[i]
	}
	return s.eval(c, col.Body, inner)
}

// What unsafeValue inserts is text of the statement. Alone it may be one word or number; inside a literal, anything
// that cannot end the literal.
var plainLiteral = regexp.MustCompile(`^[\pL\pM\pN\pS\pP\pZ]*$`)

func (s scope) unsafe(n datamodel.Context, v claim) (Fragment, error) {
	if v.missing && !v.list {
		if s.p.o.AllowUnsafeValues {
			return text("undefined"), nil
		}
		return Fragment{}, contextError(n.Path, "is missing, and the data model needs it")
	}
	words := make([]string, len(v.values))
	for i, value := range v.values {
		switch value := value.(type) {
		case string:
			words[i] = value
		case int64:
			words[i] = strconv.FormatInt(value, 10)
		case float64:
			words[i] = strconv.FormatFloat(value, 'f', -1, 64)
		case bool:
			words[i] = strconv.FormatBool(value)
		}
		if s.p.o.AllowUnsafeValues {
			continue
		}
		safe := datamodel.PlainWord(words[i])
		if n.Quoted {
			safe = plainLiteral.MatchString(words[i]) && !strings.ContainsAny(words[i], "'\"`;\\") &&
				!strings.Contains(words[i], "--") && !strings.Contains(words[i], "/*")
		}
		if !safe {
			return Fragment{}, contextError(n.Path, "has characters that unsafeValue does not let into SQL")
		}
	}
	return text(strings.Join(words, ",")), nil
}
