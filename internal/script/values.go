package script

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/dop251/goja"
)

// maxValues bounds what Plain copies.
const maxValues = 1_000_000

// maxValueDepth bounds the lists and maps in one another that Value and Plain copy.
const maxValueDepth = 100

// Value copies plain Go data into r: nil, bool, string, numbers, json.Number, and slices and maps with string keys of
// these. Anything else becomes null.
func (r *Runtime) Value(v any) goja.Value { return r.value(v, 0) }

func (r *Runtime) value(v any, depth int) goja.Value {
	if depth > maxValueDepth {
		return goja.Null()
	}
	switch v := v.(type) {
	case bool, string, int, int64, float64:
		return r.vm.ToValue(v)
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return r.vm.ToValue(i)
		}
		f, _ := v.Float64()
		return r.vm.ToValue(f)
	case []string:
		items := make([]any, len(v))
		for i, s := range v {
			items[i] = s
		}
		return r.value(items, depth)
	case []any:
		items := make([]any, len(v))
		for i, item := range v {
			items[i] = r.value(item, depth+1)
		}
		return r.vm.NewArray(items...)
	case map[string]string:
		o := r.vm.NewObject()
		for _, k := range sortedKeys(v) {
			define(o, k, r.vm.ToValue(v[k]))
		}
		return o
	case map[string]any:
		o := r.vm.NewObject()
		for _, k := range sortedKeys(v) {
			define(o, k, r.value(v[k], depth+1))
		}
		return o
	}
	return goja.Null()
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// define sets an own property, whatever its name: "__proto__" is a name like others.
func define(o *goja.Object, name string, v goja.Value) {
	_ = o.DefineDataProperty(name, v, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_TRUE) // o is ours, and takes it
}

// Plain copies a value out of r: nil, bool, string, int64, float64, []any and map[string]any. A property that is
// undefined is left out; a date is its text in UTC. What is none of these, such as a function, is an error.
func (r *Runtime) Plain(v goja.Value) (any, error) {
	c := copier{r: r}
	var plain any
	var err error
	if stopped := r.try(func() { plain, err = c.plain(v, "") }); stopped != nil {
		return nil, r.failure(stopped)
	}
	return plain, err
}

type copier struct {
	r     *Runtime
	count int
	open  []*goja.Object
}

func (c *copier) plain(v goja.Value, path string) (any, error) {
	if c.count++; c.count > maxValues {
		return nil, fmt.Errorf("there are more than %d values", maxValues)
	}
	if v == nil || goja.IsUndefined(v) || goja.IsNull(v) {
		return nil, nil
	}
	o, ok := v.(*goja.Object)
	if !ok {
		switch e := v.Export().(type) {
		case bool, string, int64:
			return e, nil
		case float64:
			if math.IsNaN(e) || math.IsInf(e, 0) {
				return nil, fmt.Errorf("%sthe number is not finite", at(path))
			}
			return e, nil
		}
		return nil, fmt.Errorf("%sa %T is not plain data", at(path), v.Export())
	}
	if len(c.open) > maxValueDepth || slices.Contains(c.open, o) {
		return nil, fmt.Errorf("%sthe object is in itself, or too deep", at(path))
	}
	c.open = append(c.open, o)
	defer func() { c.open = c.open[:len(c.open)-1] }()
	switch o.ClassName() {
	case "Array":
		n := o.Get("length").ToInteger()
		if n > maxValues {
			return nil, fmt.Errorf("%sthe list has more than %d items", at(path), maxValues)
		}
		items := make([]any, n)
		for i := range items {
			item, err := c.plain(o.Get(strconv.Itoa(i)), path+"["+strconv.Itoa(i)+"]")
			if err != nil {
				return nil, err
			}
			items[i] = item
		}
		return items, nil
	case "Object":
		m := map[string]any{}
		for _, k := range o.Keys() {
			field := o.Get(k)
			if goja.IsUndefined(field) {
				continue
			}
			item, err := c.plain(field, strings.TrimPrefix(path+"."+k, "."))
			if err != nil {
				return nil, err
			}
			m[k] = item
		}
		return m, nil
	case "Date":
		if iso, ok := goja.AssertFunction(o.Get("toISOString")); ok {
			s, err := iso(o)
			if err != nil {
				return nil, err
			}
			return s.String(), nil
		}
	case "String", "Number", "Boolean":
		if value, ok := goja.AssertFunction(o.Get("valueOf")); ok {
			s, err := value(o)
			if err != nil {
				return nil, err
			}
			if _, still := s.(*goja.Object); !still {
				return c.plain(s, path)
			}
		}
	}
	return nil, fmt.Errorf("%sa %s is not plain data", at(path), strings.ToLower(o.ClassName()))
}

func at(path string) string {
	if path == "" {
		return ""
	}
	return path + ": "
}

// jsonText returns plain data as JSON.
func jsonText(plain any) string {
	b, err := json.Marshal(plain)
	if err != nil {
		return ""
	}
	return string(b)
}
