package query

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/behalf-project/behalf/internal/fault"
)

// Decode reads the query parameter of a request: a JSON object, an array of them, or a JSON string that holds either.
// Its errors are fault.Invalid, in Cube's words where it has some.
func Decode(data []byte) (Batch, error) {
	if len(data) > maxBytes {
		return Batch{}, invalid("", "the query is larger than %d MiB", maxBytes>>20)
	}
	if s := strings.TrimSpace(string(data)); s == "" || s == "undefined" || s == `"undefined"` || s == "null" {
		return Batch{}, fault.New(fault.Invalid, "Query param is required")
	}
	v, err := parse(data)
	if s, ok := v.(string); ok && err == nil {
		v, err = parse([]byte(s))
	}
	if errors.Is(err, errDepth) {
		return Batch{}, invalid("", "objects and arrays are nested deeper than %d levels", maxDepth)
	}
	if err != nil {
		return Batch{}, fault.New(fault.Invalid, "Unable to decode query param as JSON, error: %s", err)
	}
	return decodeBatch(v)
}

func decodeBatch(v any) (Batch, error) {
	list, blending := v.([]any)
	if !blending {
		list = []any{v}
	}
	if len(list) == 0 {
		return Batch{}, invalid("", "an array of queries must not be empty")
	}
	if len(list) > maxQueries {
		return Batch{}, invalid("", "more than %d queries in one request", maxQueries)
	}
	var b Batch
	var d decoder // one for all: its counts are of the request
	for i, v := range list {
		pointer := ""
		if blending {
			pointer = "/" + strconv.Itoa(i)
		}
		obj, ok := v.(object)
		if !ok {
			return Batch{}, invalid(pointer, `"value" must be of type object`)
		}
		d.base = pointer
		q, err := d.query(obj)
		if err != nil {
			return Batch{}, err
		}
		queries, err := q.expand()
		if err != nil {
			return Batch{}, err
		}
		if queries != nil {
			if n := len(queries); n*d.values > maxValues || n*d.filters > maxFilters { // each range is a query with all of them
				return Batch{}, invalid(pointer, "more than %d filter values or %d filters, each counted for every date range", maxValues, maxFilters)
			}
			b.Type = CompareDateRange
			b.Queries = append(b.Queries, queries...)
			continue
		}
		b.Queries = append(b.Queries, q)
	}
	switch {
	case blending && b.Type == CompareDateRange:
		return Batch{}, invalid("", "compareDateRange cannot be used in an array of queries")
	case blending:
		b.Type = Blending
	case b.Type == "":
		b.Type = Regular
	}
	if len(b.Queries) > maxQueries {
		return Batch{}, invalid("", "more than %d date ranges to compare", maxQueries)
	}
	return b, nil
}

// expand returns one query for each range to compare, or nil when q compares none.
func (q Query) expand() ([]Query, error) {
	at := -1
	for i, td := range q.TimeDimensions {
		if td.compare == nil {
			continue
		}
		if at >= 0 {
			return nil, fault.New(fault.Invalid, "compareDateRange can only exist for one timeDimension")
		}
		at = i
	}
	if at < 0 {
		return nil, nil
	}
	var queries []Query
	for _, r := range q.TimeDimensions[at].compare {
		one := q
		one.TimeDimensions = append([]TimeDimension(nil), q.TimeDimensions...)
		one.TimeDimensions[at].DateRange = &r
		one.TimeDimensions[at].compare = nil
		queries = append(queries, one)
	}
	return queries, nil
}

// decoder reads the queries of a request, one after the other. It counts what has no bound of its own.
type decoder struct {
	base            string // JSON pointer of the query
	filters, values int    // of all queries so far
}

func (d *decoder) query(obj object) (Query, error) {
	var (
		q    Query
		err  error
		seen = map[string]bool{}
	)
	for _, f := range obj {
		if seen[f.key] {
			return q, invalid(d.base+"/"+f.key, "%q is given twice", f.key)
		}
		seen[f.key] = true
		switch f.key {
		case "measures":
			q.Measures, err = d.members(f, memberPattern)
		case "dimensions":
			q.Dimensions, err = d.members(f, dimensionPattern)
		case "segments":
			q.Segments, err = d.members(f, memberPattern)
		case "timeDimensions":
			q.TimeDimensions, err = d.timeDimensions(f)
		case "filters":
			q.Filters, err = d.filterList(f.value, "filters", d.base+"/filters", "")
		case "order":
			q.Order, err = d.order(f)
		case "limit", "rowLimit":
			var n int
			if n, err = d.integer(f); err == nil {
				q.Limit = &n
			}
		case "offset":
			q.Offset, err = d.integer(f)
		case "total":
			q.Total, err = d.boolean(f)
		case "ungrouped":
			q.Ungrouped, err = d.boolean(f)
		case "timezone":
			if f.value != nil { // null is the default too
				q.Timezone, err = d.string(f)
			}
		case "cache", "cacheMode":
			q.CacheMode, err = enum(d, f, StaleIfSlow, StaleWhileRevalidate, MustRevalidate, NoCache)
		case "renewQuery":
			var renew bool
			if renew, err = d.boolean(f); renew && q.CacheMode == "" {
				q.CacheMode = MustRevalidate
			}
		case "responseFormat":
			q.ResponseFormat, err = enum(d, f, Default, Compact, Columnar)
		case "joinHints":
			q.JoinHints, err = d.joinHints(f)
		case "maskedMembers":
			err = fault.New(fault.Invalid, "maskedMembers cannot be provided in the query")
		default:
			err = invalid(d.base+"/"+f.key, "%q is not allowed", f.key)
		}
		if err != nil {
			return q, err
		}
	}
	return q, nil
}

var (
	memberPattern    = regexp.MustCompile(`^[a-zA-Z0-9_]+\.[a-zA-Z0-9_]+$`)
	dimensionPattern = regexp.MustCompile(`^[a-zA-Z0-9_]+\.[a-zA-Z0-9_]+(\.[a-zA-Z0-9_]+)?$`)
	orderPattern     = regexp.MustCompile(`^[a-zA-Z0-9_]+(\.[a-zA-Z0-9_]+){0,2}$`)
	cubePattern      = regexp.MustCompile(`^[a-zA-Z0-9_]+$`)
)

// list returns the value of f as a list of bounded length.
func (d *decoder) list(f field) ([]any, error) {
	list, ok := f.value.([]any)
	if !ok {
		return nil, invalid(d.base+"/"+f.key, "%q must be an array", f.key)
	}
	if len(list) > maxList {
		return nil, invalid(d.base+"/"+f.key, "%q must contain less than or equal to %d items", f.key, maxList)
	}
	return list, nil
}

func (d *decoder) members(f field, pattern *regexp.Regexp) ([]string, error) {
	list, err := d.list(f)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(list))
	for i, v := range list {
		path := fmt.Sprintf("%s[%d]", f.key, i)
		if names[i], err = d.member(v, path, fmt.Sprintf("%s/%s/%d", d.base, f.key, i), pattern); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// member returns v as the name of a member. The SQL expressions of Cube's own SQL API come as objects, or as strings
// that hold one; no client may send SQL.
func (d *decoder) member(v any, path, pointer string, pattern *regexp.Regexp) (string, error) {
	s, ok := v.(string)
	if _, expression := v.(object); expression || strings.HasPrefix(strings.TrimSpace(s), "{") {
		return "", fault.New(fault.Invalid, "Expressions are not allowed in this context")
	}
	if !ok {
		return "", invalid(pointer, "%q must be a string", path)
	}
	if len(s) > 300 || !pattern.MatchString(s) {
		return "", invalid(pointer, "%q with value %q fails to match the required pattern: /%s/", path, clip(s), pattern)
	}
	return s, nil
}

func (d *decoder) timeDimensions(f field) ([]TimeDimension, error) {
	list, err := d.list(f)
	if err != nil {
		return nil, err
	}
	tds := make([]TimeDimension, len(list))
	for i, v := range list {
		path, pointer := fmt.Sprintf("timeDimensions[%d]", i), fmt.Sprintf("%s/timeDimensions/%d", d.base, i)
		obj, ok := v.(object)
		if !ok {
			return nil, invalid(pointer, "%q must be of type object", path)
		}
		if tds[i], err = d.timeDimension(obj, path, pointer); err != nil {
			return nil, err
		}
	}
	return tds, nil
}

func (d *decoder) timeDimension(obj object, path, pointer string) (TimeDimension, error) {
	var (
		td  TimeDimension
		err error
	)
	for _, f := range obj {
		name, at := path+"."+f.key, pointer+"/"+f.key
		switch f.key {
		case "dimension":
			td.Dimension, err = d.member(f.value, name, at, memberPattern)
		case "granularity":
			s, ok := f.value.(string)
			if !ok || s == "" || len(s) > 128 || !cubePattern.MatchString(s) {
				return td, invalid(at, "%q must be the name of a granularity", name)
			}
			td.Granularity = s
		case "dateRange":
			var r DateRange
			r, err = dateRange(f.value, name, at)
			td.DateRange = &r
		case "compareDateRange":
			list, ok := f.value.([]any)
			if !ok || len(list) == 0 || len(list) > maxQueries {
				return td, invalid(at, "%q must be an array of 1 to %d date ranges", name, maxQueries)
			}
			for i, v := range list {
				r, err := dateRange(v, fmt.Sprintf("%s[%d]", name, i), fmt.Sprintf("%s/%d", at, i))
				if err != nil {
					return td, err
				}
				td.compare = append(td.compare, r)
			}
		default:
			err = invalid(at, "%q is not allowed", name)
		}
		if err != nil {
			return td, err
		}
	}
	if td.Dimension == "" {
		return td, invalid(pointer, `"%s.dimension" is required`, path)
	}
	return td, nil
}

// dateRange reads a text, or an array of one or two.
func dateRange(v any, path, pointer string) (DateRange, error) {
	if s, ok := v.(string); ok && len(s) <= 128 {
		return DateRange{Texts: []string{s}}, nil
	}
	list, ok := v.([]any)
	if !ok || len(list) == 0 || len(list) > 2 {
		return DateRange{}, invalid(pointer, "%q must be a string, or an array of one or two", path)
	}
	var r DateRange
	for _, v := range list {
		s, ok := v.(string)
		if !ok || len(s) > 128 {
			return DateRange{}, invalid(pointer, "%q must be a string, or an array of one or two", path)
		}
		r.Texts = append(r.Texts, s)
	}
	if len(r.Texts) == 1 {
		r.Texts = append(r.Texts, r.Texts[0])
	}
	return r, nil
}

// order reads {"a.b": "asc"}, [["a.b", "asc"]] or [{"id": "a.b", "desc": false}].
func (d *decoder) order(f field) ([]Order, error) {
	order := []Order{}
	add := func(id any, pointer string, direction any) error {
		name, err := d.member(id, f.key, pointer, orderPattern)
		if err != nil {
			return err
		}
		switch direction {
		case "asc", false, nil:
			order = append(order, Order{ID: name})
		case "desc", true:
			order = append(order, Order{ID: name, Desc: true})
		case "none":
		default:
			return invalid(pointer, `"order.%s" must be one of [asc, desc]`, name)
		}
		return nil
	}
	if obj, ok := f.value.(object); ok {
		if len(obj) > maxList {
			return nil, invalid(d.base+"/order", "%q must contain less than or equal to %d items", f.key, maxList)
		}
		for _, o := range obj {
			if _, ok := o.value.(string); !ok {
				return nil, invalid(d.base+"/order", `"order.%s" must be one of [asc, desc]`, clip(o.key))
			}
			if err := add(o.key, d.base+"/order", o.value); err != nil {
				return nil, err
			}
		}
		return order, nil
	}
	if _, ok := f.value.([]any); !ok {
		return nil, invalid(d.base+"/order", `"order" must be an object or an array of pairs`)
	}
	list, err := d.list(f)
	if err != nil {
		return nil, err
	}
	for i, v := range list {
		pointer := fmt.Sprintf("%s/order/%d", d.base, i)
		var id, direction any
		switch v := v.(type) {
		case []any:
			if len(v) != 2 {
				return nil, invalid(pointer, `"order[%d]" must be a pair of a member and asc or desc`, i)
			}
			id = v[0]
			if direction, _ = v[1].(string); direction == "" {
				direction = v
			}
		case object:
			for _, f := range v {
				switch f.key {
				case "id":
					id = f.value
				case "desc":
					if direction, _ = f.value.(bool); direction != f.value {
						return nil, invalid(pointer, `"order[%d].desc" must be a boolean`, i)
					}
				default:
					return nil, invalid(pointer, `"order[%d].%s" is not allowed`, i, clip(f.key))
				}
			}
		}
		if _, ok := direction.([]any); ok || id == nil {
			return nil, invalid(pointer, `"order[%d]" must be a pair of a member and asc or desc`, i)
		}
		if err := add(id, pointer, direction); err != nil {
			return nil, err
		}
	}
	return order, nil
}

func (d *decoder) joinHints(f field) ([][]string, error) {
	list, err := d.list(f)
	if err != nil {
		return nil, err
	}
	hints := [][]string{}
	for i, v := range list {
		names, ok := v.([]any)
		if !ok || len(names) == 0 || len(names) > 100 {
			return nil, invalid(fmt.Sprintf("%s/joinHints/%d", d.base, i), `"joinHints[%d]" must be an array of cubes`, i)
		}
		var hint []string
		for _, n := range names {
			name, err := d.member(n, fmt.Sprintf("joinHints[%d]", i), fmt.Sprintf("%s/joinHints/%d", d.base, i), cubePattern)
			if err != nil {
				return nil, err
			}
			hint = append(hint, name)
		}
		hints = append(hints, hint)
	}
	return hints, nil
}

// integer returns f as a whole number that is not negative. A string or null is not one (cube-rest-api.md §7.1).
func (d *decoder) integer(f field) (int, error) {
	n, ok := f.value.(json.Number)
	if !ok {
		return 0, invalid(d.base+"/"+f.key, "%q must be a number", f.key)
	}
	x, err := n.Float64()
	switch {
	case err != nil || x > 1<<53 || x < -(1<<53):
		return 0, invalid(d.base+"/"+f.key, "%q must be a safe number", f.key)
	case x != float64(int64(x)):
		return 0, invalid(d.base+"/"+f.key, "%q must be an integer", f.key)
	case x < 0:
		return 0, invalid(d.base+"/"+f.key, "%q must be greater than or equal to 0", f.key)
	}
	return int(x), nil
}

func (d *decoder) boolean(f field) (bool, error) {
	b, ok := f.value.(bool)
	if !ok {
		return false, invalid(d.base+"/"+f.key, "%q must be a boolean", f.key)
	}
	return b, nil
}

func (d *decoder) string(f field) (string, error) {
	s, ok := f.value.(string)
	if !ok {
		return "", invalid(d.base+"/"+f.key, "%q must be a string", f.key)
	}
	return s, nil
}

// enum returns f as one of allowed.
func enum[T ~string](d *decoder, f field, allowed ...T) (T, error) {
	var names []string
	s, ok := f.value.(string)
	for _, a := range allowed {
		if ok && T(s) == a {
			return a, nil
		}
		names = append(names, string(a))
	}
	return "", invalid(d.base+"/"+f.key, "%q must be one of [%s]", f.key, strings.Join(names, ", "))
}

// clip shortens what a client sent, for an error that repeats it.
func clip(s string) string {
	if len(s) > 100 {
		return strings.ToValidUTF8(s[:100], "") + "…"
	}
	return s
}
