package query

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/behalf-project/behalf/internal/fault"
)

// The bounds of a request. A query beyond them is refused, whatever it asks.
const (
	maxBytes   = 4 << 20 // of the text
	maxDepth   = 32      // of nested objects and arrays; planning copies the values of a group once for each level
	maxQueries = 100     // of a batch
	maxList    = 1000    // members, segments, time dimensions, order
	maxFilters = 5000    // conditions and groups
	maxValues  = 50_000  // filter values; PostgreSQL binds at most 65,535
)

// object is a JSON object whose keys keep their order, which matters to the sort order of a query.
type object []field

type field struct {
	key   string
	value any
}

var errDepth = errors.New("nested too deeply")

// parse reads one JSON value: nil, bool, json.Number, string, []any or object. It never goes deeper than maxDepth.
func parse(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	v, err := parseValue(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("unexpected text after the JSON value")
	}
	return v, nil
}

func parseValue(d *json.Decoder, depth int) (any, error) {
	tok, err := d.Token()
	if err == io.EOF {
		return nil, errors.New("unexpected end of JSON input")
	}
	if err != nil {
		return nil, err
	}
	delim, ok := tok.(json.Delim)
	if !ok {
		return tok, nil
	}
	if depth == maxDepth {
		return nil, errDepth
	}
	if delim == '[' {
		list := []any{}
		for d.More() {
			v, err := parseValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, end(d)
	}
	var obj object
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		v, err := parseValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		obj = append(obj, field{key.(string), v})
	}
	return obj, end(d)
}

// end reads the closing bracket.
func end(d *json.Decoder) error {
	_, err := d.Token()
	if err == io.EOF {
		return errors.New("unexpected end of JSON input")
	}
	return err
}

// invalid returns Cube's error for a query that breaks its schema. pointer is the wrong place (RFC 6901).
func invalid(pointer, format string, args ...any) error {
	detail := fmt.Sprintf(format, args...)
	e := fault.New(fault.Invalid, "Invalid query format: %s", detail)
	e.Fields = []fault.Field{{Pointer: pointer, Code: "invalid", Detail: detail}}
	return e
}

// invalidWith is invalid with a reason of its own at the wrong place, where Cube's words do not tell it.
func invalidWith(pointer, reason, format string, args ...any) error {
	e := fault.New(fault.Invalid, "Invalid query format: "+format, args...)
	e.Fields = []fault.Field{{Pointer: pointer, Code: "invalid", Detail: reason}}
	return e
}
