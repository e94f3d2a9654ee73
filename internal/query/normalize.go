package query

import (
	"cmp"
	"encoding/json"
	"strings"

	"github.com/behalf-project/behalf/internal/fault"
)

// Normalize returns b in normalized form. It may be called again on what it returned.
func (b Batch) Normalize(o Options) (Batch, error) {
	out := Batch{Type: b.Type, Queries: make([]Query, len(b.Queries))}
	for i, q := range b.Queries {
		var err error
		if out.Queries[i], err = q.Normalize(o); err != nil {
			return Batch{}, err
		}
	}
	if b.Type != Blending {
		return out, nil
	}
	granularity := out.Queries[0].granularity()
	for _, q := range out.Queries[1:] {
		if q.granularity() != granularity {
			return Batch{}, fault.New(fault.Invalid, "Data blending query granularities must match")
		}
	}
	if granularity == "" {
		return Batch{}, fault.New(fault.Invalid, "Data blending query without granularity is not supported")
	}
	return out, nil
}

// granularity returns the granularity of the first time dimension.
func (q Query) granularity() string {
	if len(q.TimeDimensions) == 0 {
		return ""
	}
	return q.TimeDimensions[0].Granularity
}

// Normalize returns q in normalized form. It may be called again on what it returned. It shares nothing with q that
// it changes.
func (q Query) Normalize(o Options) (Query, error) {
	loc, err := Zone(cmp.Or(q.Timezone, o.Timezone, "UTC"))
	if err != nil {
		return Query{}, err
	}
	q.Timezone = loc.String()
	dimensions, tds := []string{}, []TimeDimension{}
	for _, td := range q.TimeDimensions {
		if td.DateRange != nil {
			r, err := td.DateRange.resolve(loc, o.Now)
			if err != nil {
				return Query{}, err
			}
			td.DateRange = &r
		}
		tds = append(tds, td)
	}
	for _, d := range q.Dimensions {
		if i := strings.LastIndexByte(d, '.'); strings.Count(d, ".") == 2 {
			tds = append(tds, TimeDimension{Dimension: d[:i], Granularity: d[i+1:]})
			continue
		}
		dimensions = append(dimensions, d)
	}
	q.Dimensions, q.TimeDimensions = dimensions, tds
	if q.Filters, err = normalizeFilters(q.Filters); err != nil {
		return Query{}, err
	}
	if q.CacheMode == "" {
		q.CacheMode = StaleIfSlow
	}
	highest := cmp.Or(o.MaxLimit, 50_000)
	limit := min(cmp.Or(o.DefaultLimit, 10_000), highest)
	if q.Limit != nil {
		if limit = *q.Limit; limit > highest {
			return Query{}, fault.New(fault.Invalid, "Error: The query limit has been exceeded.")
		}
	}
	q.Limit, q.RowLimit = &limit, &limit
	if !q.selects() {
		return Query{}, fault.New(fault.Invalid,
			"Query should contain either measures, dimensions or timeDimensions with granularities in order to be valid")
	}
	return q, nil
}

// selects reports whether q has a column.
func (q Query) selects() bool {
	if len(q.Measures) > 0 || len(q.Dimensions) > 0 {
		return true
	}
	for _, td := range q.TimeDimensions {
		if td.Granularity != "" {
			return true
		}
	}
	return false
}

// normalizeFilters drops empty groups, and refuses filters that lack values.
func normalizeFilters(filters []Filter) ([]Filter, error) {
	out := []Filter{}
	for _, f := range filters {
		if !f.Group() {
			if len(f.Values) == 0 && !f.Operator.Valueless() {
				text, err := json.Marshal(f)
				if err != nil {
					return nil, err
				}
				return nil, fault.New(fault.Invalid, "Values required for filter: %s", text)
			}
			out = append(out, f)
			continue
		}
		or, err := normalizeFilters(f.Or)
		if err != nil {
			return nil, err
		}
		and, err := normalizeFilters(f.And)
		if err != nil {
			return nil, err
		}
		switch {
		case len(or) > 0:
			out = append(out, Filter{Or: or})
		case len(and) > 0:
			out = append(out, Filter{And: and})
		}
	}
	return out, nil
}

// PivotQuery is the query that stands for a whole Batch in an answer, from which clients build their tables.
type PivotQuery struct {
	Query
	Type Type `json:"queryType"`
}

// Pivot returns the pivotQuery of a normalized batch (cube-rest-api.md §5.5).
func (b Batch) Pivot() PivotQuery {
	p := PivotQuery{Query: b.Queries[0], Type: b.Type}
	switch b.Type {
	case CompareDateRange:
		p.Dimensions = append([]string{"compareDateRange"}, p.Dimensions...)
	case Blending:
		p.Measures, p.Dimensions = nil, []string{}
		measures, dimensions := map[string]bool{}, map[string]bool{}
		for _, q := range b.Queries {
			p.Measures = appendNew(p.Measures, measures, q.Measures)
			p.Dimensions = appendNew(p.Dimensions, dimensions, q.Dimensions)
		}
		p.TimeDimensions = []TimeDimension{{Dimension: "time", Granularity: b.Queries[0].granularity()}}
	}
	return p
}

func appendNew(list []string, seen map[string]bool, more []string) []string {
	for _, s := range more {
		if !seen[s] {
			seen[s] = true
			list = append(list, s)
		}
	}
	return list
}
