package graphql

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/behalf-project/behalf/internal/datamodel"
)

// apiQuery is a query in the format of the query API (cube-rest-api.md §7.1).
type apiQuery struct {
	Measures       []string        `json:"measures,omitempty"`
	Dimensions     []string        `json:"dimensions,omitempty"`
	TimeDimensions []timeDimension `json:"timeDimensions,omitempty"`
	Filters        []filter        `json:"filters,omitempty"`
	Order          [][2]string     `json:"order,omitempty"`
	Limit          json.RawMessage `json:"limit,omitempty"`
	Offset         json.RawMessage `json:"offset,omitempty"`
	Timezone       string          `json:"timezone,omitempty"`
	Cache          string          `json:"cache,omitempty"`
	RenewQuery     bool            `json:"renewQuery,omitempty"`
	Ungrouped      bool            `json:"ungrouped,omitempty"`
}

type timeDimension struct {
	Dimension   string `json:"dimension"`
	Granularity string `json:"granularity,omitempty"`
	DateRange   any    `json:"dateRange,omitempty"` // a text, or two
}

// filter is a condition, or a group of some.
type filter struct {
	Member   string    `json:"member,omitempty"`
	Operator string    `json:"operator,omitempty"`
	Values   []*string `json:"values,omitempty"` // nil is null
	And      []filter  `json:"and,omitempty"`
	Or       []filter  `json:"or,omitempty"`
}

// cube returns the query of a field cube, and how its rows are laid out.
func (r *reader) cube(f field) (json.RawMessage, []Selection, error) {
	q := &apiQuery{
		Timezone: r.argument(f.Field, "timezone").text, Cache: r.argument(f.Field, "cache").text,
		RenewQuery: r.argument(f.Field, "renewQuery").isTrue(), Ungrouped: r.argument(f.Field, "ungrouped").isTrue(),
	}
	var err error
	if q.Limit, err = integer(r.argument(f.Field, "limit")); err != nil {
		return nil, nil, err
	}
	if q.Offset, err = integer(r.argument(f.Field, "offset")); err != nil {
		return nil, nil, err
	}
	for _, of := range r.argument(f.Field, "orderBy").fields {
		q.order(r.schema.cubes[of.name], of.value)
	}
	filters := r.schema.rootFilters(r.argument(f.Field, "where"))
	var row []Selection
	for _, cf := range r.fields(f.set) {
		c := r.schema.cubes[cf.Name]
		if c == nil {
			row = append(row, Selection{Key: cf.key, Type: "Result"}) // __typename
			continue
		}
		q.order(c, r.argument(cf.Field, "orderBy"))
		filters = append(c.filters(r.argument(cf.Field, "where")), filters...)
		members, err := r.members(q, c, cf)
		if err != nil {
			return nil, nil, err
		}
		row = append(row, Selection{Key: cf.key, Type: c.types + "Members", Fields: members})
	}
	q.filter(filters)
	out, err := json.Marshal(q)
	return out, row, err
}

// integer returns an Int as JSON. One that came in a variable may be text, or have an exponent.
func integer(v value) (json.RawMessage, error) {
	if v.kind != scalar {
		return nil, nil
	}
	n, err := strconv.ParseFloat(v.text, 64)
	if err != nil || n != float64(int32(n)) {
		return nil, fail("Int cannot represent non 32-bit signed integer value: %.40s", v.text)
	}
	return strconv.AppendInt(nil, int64(n), 10), nil
}

// order adds a sort order.
func (q *apiQuery) order(c *cube, by value) {
	for _, f := range by.fields {
		if m := c.by[f.name]; m != nil && f.value.kind == scalar {
			q.Order = append(q.Order, [2]string{m.path, f.value.text})
		}
	}
}

// members adds what is selected of a cube to the query.
func (r *reader) members(q *apiQuery, c *cube, f field) ([]Selection, error) {
	out := []Selection{}
	for _, mf := range r.fields(f.set) {
		m := c.by[mf.Name]
		switch {
		case m == nil:
			out = append(out, Selection{Key: mf.key, Type: c.types + "Members"}) // __typename
		case m.measure:
			q.Measures = add(q.Measures, m.path)
			out = append(out, Selection{Key: mf.key, Type: m.output(), Column: m.path})
		case m.kind == datamodel.Time:
			times, err := r.times(q, m, mf)
			if err != nil {
				return nil, err
			}
			out = append(out, Selection{Key: mf.key, Type: "TimeDimension", Fields: times})
		default:
			q.Dimensions = add(q.Dimensions, m.path)
			out = append(out, Selection{Key: mf.key, Type: m.output(), Column: m.path})
		}
	}
	return out, nil
}

// times adds what is selected of a time dimension: itself, and its granularities.
func (r *reader) times(q *apiQuery, m *member, f field) ([]Selection, error) {
	out := []Selection{}
	for _, g := range r.fields(f.set) {
		switch g.Name {
		case "__typename":
			out = append(out, Selection{Key: g.key, Type: "TimeDimension"})
		case "value":
			q.Dimensions = add(q.Dimensions, m.path)
			out = append(out, Selection{Key: g.key, Type: "DateTime", Column: m.path})
		default:
			if !slices.Contains(datamodel.Granularities, g.Name) && !slices.Contains(m.own, g.Name) {
				return nil, fail("%s has no granularity %q; it has %s.", m.path, g.Name, strings.Join(slices.Concat(datamodel.Granularities, m.own), ", "))
			}
			td := timeDimension{Dimension: m.path, Granularity: g.Name}
			if !slices.Contains(q.TimeDimensions, td) {
				q.TimeDimensions = append(q.TimeDimensions, td)
			}
			out = append(out, Selection{Key: g.key, Type: "DateTime", Column: m.path + "." + g.Name})
		}
	}
	return out, nil
}

func add(to []string, path string) []string {
	if slices.Contains(to, path) {
		return to
	}
	return append(to, path)
}

// filter adds conditions. The first range of a time becomes that of its time dimension, as in Cube, which loses it where
// only another time is selected; here it becomes a time dimension of its own.
func (q *apiQuery) filter(filters []filter) {
	ranges := map[string]bool{}
	for _, f := range filters {
		if f.Operator != "inDateRange" || ranges[f.Member] {
			q.Filters = append(q.Filters, f)
			continue
		}
		ranges[f.Member] = true
		between, used := f.dateRange(), false
		for i := range q.TimeDimensions {
			if td := &q.TimeDimensions[i]; td.Dimension == f.Member {
				td.DateRange, used = between, true
			}
		}
		if !used {
			q.TimeDimensions = append(q.TimeDimensions, timeDimension{Dimension: f.Member, DateRange: between})
		}
	}
}

var isDate = regexp.MustCompile(`^\d\d\d\d-\d\d-\d\d`)

// dateRange returns the values of a range: one that is no date is a text such as "last week".
func (f filter) dateRange() any {
	if len(f.Values) == 1 && f.Values[0] != nil && !isDate.MatchString(*f.Values[0]) {
		return *f.Values[0]
	}
	return f.Values
}

// rootFilters returns the conditions of the argument where of cube. What is several conditions on one cube, groups among
// them, is one group.
func (s *Schema) rootFilters(where value) (out []filter) {
	for _, f := range where.fields {
		switch c := s.cubes[f.name]; {
		case f.value.kind == null:
		case c == nil: // AND, OR
			out = append(out, group(f, s.rootFilters))
		case len(f.value.fields) > 1 && (f.value.get("AND").kind != null || f.value.get("OR").kind != null):
			out = append(out, filter{And: c.filters(f.value)})
		default:
			out = append(out, c.filters(f.value)...)
		}
	}
	return out
}

// filters returns the conditions on one cube.
func (c *cube) filters(where value) (out []filter) {
	for _, f := range where.fields {
		m := c.by[f.name]
		switch {
		case f.value.kind == null:
		case m == nil: // AND, OR
			out = append(out, group(f, c.filters))
		default:
			for _, o := range f.value.fields {
				out = append(out, condition(m, o))
			}
		}
	}
	return out
}

// group returns a group of conditions. As in Cube, all conditions of an element are elements of the group, so that two
// in one element of OR are alternatives too.
func group(f entry, filters func(value) []filter) filter {
	var all []filter
	for _, item := range f.value.items() {
		all = append(all, filters(item)...)
	}
	if f.name == "OR" {
		return filter{Or: all}
	}
	return filter{And: all}
}

// condition returns one condition on a member.
func condition(m *member, o entry) filter {
	out := filter{Member: m.path, Operator: o.name}
	switch o.name {
	case "set":
		if !o.value.isTrue() {
			out.Operator = "notSet"
		}
		return out
	case "in":
		out.Operator = "equals"
	case "notIn":
		out.Operator = "notEquals"
	}
	for _, v := range o.value.items() {
		if v.kind == null {
			out.Values = append(out.Values, nil)
			continue
		}
		out.Values = append(out.Values, &v.text)
	}
	return out
}
