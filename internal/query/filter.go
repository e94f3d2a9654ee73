package query

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// filterList reads filters at a place. top is the filter of the first level around it, which Cube's errors name.
func (d *decoder) filterList(v any, path, pointer, top string) ([]Filter, error) {
	list, ok := v.([]any)
	if !ok {
		if top != "" {
			return nil, notAFilter(pointer, top, "a group must be an array")
		}
		return nil, invalid(pointer, "%q must be an array", path)
	}
	filters := make([]Filter, 0, len(list))
	for i, v := range list {
		if d.filters++; d.filters > maxFilters {
			return nil, invalid(pointer, "more than %d filters", maxFilters)
		}
		name := top
		if name == "" {
			name = fmt.Sprintf("filters[%d]", i)
		}
		f, err := d.filter(v, fmt.Sprintf("%s/%d", pointer, i), name)
		if err != nil {
			return nil, err
		}
		filters = append(filters, f)
	}
	return filters, nil
}

func (d *decoder) filter(v any, pointer, top string) (Filter, error) {
	obj, ok := v.(object)
	if !ok {
		return Filter{}, notAFilter(pointer, top, "a filter must be an object")
	}
	var (
		f   Filter
		err error
	)
	for _, kv := range obj {
		at := pointer + "/" + kv.key
		switch kv.key {
		case "or", "and":
			if len(obj) != 1 {
				return f, notAFilter(pointer, top, "a group has exactly one key, or or and")
			}
			var group []Filter
			if group, err = d.filterList(kv.value, "", at, top); err != nil {
				return f, err
			}
			if kv.key == "or" {
				return Filter{Or: group}, nil
			}
			return Filter{And: group}, nil
		case "member", "dimension":
			if f.Member != "" {
				return f, notAFilter(at, top, "the member is given twice")
			}
			if f.Member, err = d.member(kv.value, top+"."+kv.key, at, memberPattern); err != nil {
				return f, err
			}
		case "operator":
			s, _ := kv.value.(string)
			if f.Operator = Operator(s); !operators[f.Operator] {
				return f, notAFilter(at, top, "there is no such operator")
			}
		case "values":
			if f.Values, err = d.filterValues(kv.value, at, top); err != nil {
				return f, err
			}
		default:
			return f, notAFilter(at, top, "there is no such key")
		}
	}
	if f.Member == "" || f.Operator == "" {
		return f, notAFilter(pointer, top, "a filter needs a member and an operator")
	}
	return f, nil
}

// filterValues reads values, and writes each as the text that JavaScript would make of it.
func (d *decoder) filterValues(v any, pointer, top string) ([]Value, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, notAFilter(pointer, top, "values must be an array")
	}
	if d.values += len(list); d.values > maxValues {
		return nil, invalid(pointer, "more than %d filter values", maxValues)
	}
	values := make([]Value, len(list))
	for i, v := range list {
		switch v := v.(type) {
		case nil:
			values[i].Null = true
		case bool:
			values[i].Text = strconv.FormatBool(v)
		case string:
			values[i].Text = v
		case json.Number:
			text, ok := numberText(v)
			if !ok {
				return nil, notAFilter(pointer, top, "a number is out of range")
			}
			values[i].Text = text
		default:
			return nil, notAFilter(pointer, top, "a value must be a string, a number, a boolean or null")
		}
	}
	return values, nil
}

// numberText returns n in decimal notation. A whole number keeps all its digits.
func numberText(n json.Number) (string, bool) {
	s := n.String()
	if !strings.ContainsAny(s, ".eE") && len(s) <= 100 {
		return s, true
	}
	x, err := n.Float64()
	if err != nil || math.IsInf(x, 0) || len(s) > 100 {
		return "", false
	}
	if math.Abs(x) >= 1e21 {
		return strconv.FormatFloat(x, 'g', -1, 64), true
	}
	return strconv.FormatFloat(x, 'f', -1, 64), true
}

// notAFilter returns Cube's error for a filter that breaks its schema; the reason is in the field.
func notAFilter(pointer, top, reason string) error {
	return invalidWith(pointer, reason, "%q does not match any of the allowed types", top)
}
