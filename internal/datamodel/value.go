package datamodel

import (
	"encoding/json"
	"strconv"
)

// plain returns n as maps, slices, strings, numbers and booleans, for metadata that is handed on as it is.
func plain(n *node) any {
	switch n.kind {
	case mapping:
		m := make(map[string]any, len(n.fields))
		for _, f := range n.fields {
			m[f.key] = plain(f.value)
		}
		return m
	case list:
		items := make([]any, len(n.items))
		for i, item := range n.items {
			items[i] = plain(item)
		}
		return items
	case str:
		return n.text
	case other:
		if b, err := strconv.ParseBool(n.text); err == nil && len(n.text) > 1 {
			return b
		}
		if json.Valid([]byte(n.text)) {
			return json.Number(n.text)
		}
		if i, err := strconv.ParseInt(n.text, 0, 64); err == nil {
			return i
		}
		return n.text
	}
	return nil
}
