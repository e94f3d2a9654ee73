package query

import (
	"encoding/json"
	"time"
)

// Type is what a request asks for (cube-rest-api.md §5.2).
type Type string

// The types of requests.
const (
	Regular          Type = "regularQuery"
	CompareDateRange Type = "compareDateRangeQuery" // one query for each range
	Blending         Type = "blendingQuery"         // an array of queries
)

// Batch is what one request asks: one query, or several whose results belong together.
type Batch struct {
	Type    Type
	Queries []Query // at least one
}

// Query is one question. Decode fills what the client sent; Normalize fills in the rest, and only a normalized Query
// may be given to sqlgen. Its JSON is the normalized form of cube-rest-api.md §7.2.
type Query struct {
	Measures       []string        `json:"measures,omitzero"`
	Dimensions     []string        `json:"dimensions"`
	TimeDimensions []TimeDimension `json:"timeDimensions"`
	Segments       []string        `json:"segments,omitzero"`
	Filters        []Filter        `json:"filters"`
	Order          []Order         `json:"order,omitzero"` // nil: not given, the default order; empty: no order at all
	Total          bool            `json:"total,omitzero"`
	Ungrouped      bool            `json:"ungrouped,omitzero"`
	CacheMode      CacheMode       `json:"cacheMode,omitempty"`
	ResponseFormat ResponseFormat  `json:"responseFormat,omitempty"`
	Timezone       string          `json:"timezone,omitempty"` // canonical IANA name
	Limit          *int            `json:"limit,omitempty"`    // never nil once normalized
	RowLimit       *int            `json:"rowLimit,omitempty"` // the same, as old clients read it
	Offset         int             `json:"offset,omitzero"`
	JoinHints      [][]string      `json:"joinHints,omitzero"`
}

// CacheMode says how far a cached result may be used; orchestrator has the same words.
type CacheMode string

// The modes.
const (
	StaleIfSlow          CacheMode = "stale-if-slow"
	StaleWhileRevalidate CacheMode = "stale-while-revalidate"
	MustRevalidate       CacheMode = "must-revalidate"
	NoCache              CacheMode = "no-cache"
)

// ResponseFormat says how rows are laid out in the answer (cube-rest-api.md §10).
type ResponseFormat string

// The formats. The zero value is Default.
const (
	Default  ResponseFormat = "default"
	Compact  ResponseFormat = "compact"
	Columnar ResponseFormat = "columnar"
)

// TimeDimension selects a time dimension by a granularity, limits it to a range, or both.
type TimeDimension struct {
	Dimension   string     `json:"dimension"`
	Granularity string     `json:"granularity,omitempty"`
	DateRange   *DateRange `json:"dateRange,omitempty"`

	compare []DateRange // taken apart by Decode: one query for each
}

// DateRange is a range of local times in the query's time zone. Decoded, it has one or two texts, perhaps a relative
// one; normalized, it has two of the form 2006-01-02T15:04:05.000, both inclusive.
type DateRange struct{ Texts []string }

// MarshalJSON writes the texts: one relative text as a string, everything else as an array.
func (r DateRange) MarshalJSON() ([]byte, error) {
	if len(r.Texts) == 1 {
		return json.Marshal(r.Texts[0])
	}
	return json.Marshal(r.Texts)
}

// Filter is a condition on a member, or, when Or or And is not nil, a group of conditions.
type Filter struct {
	Member   string
	Operator Operator
	Values   []Value

	Or  []Filter
	And []Filter
}

// Group reports whether f is a group.
func (f Filter) Group() bool { return f.Or != nil || f.And != nil }

// MarshalJSON writes the form in which Cube writes filters.
func (f Filter) MarshalJSON() ([]byte, error) {
	switch {
	case f.Or != nil:
		return json.Marshal(struct {
			Or []Filter `json:"or"`
		}{f.Or})
	case f.And != nil:
		return json.Marshal(struct {
			And []Filter `json:"and"`
		}{f.And})
	}
	return json.Marshal(struct {
		Member   string   `json:"member"`
		Operator Operator `json:"operator"`
		Values   []Value  `json:"values,omitzero"`
	}{f.Member, f.Operator, f.Values})
}

// Value is a filter value: a text, or null.
type Value struct {
	Text string
	Null bool
}

// MarshalJSON writes the text or null.
func (v Value) MarshalJSON() ([]byte, error) {
	if v.Null {
		return []byte("null"), nil
	}
	return json.Marshal(v.Text)
}

// Order is one element of a sort order.
type Order struct {
	ID   string `json:"id"` // cube.member or cube.member.granularity
	Desc bool   `json:"desc"`
}

// Options are what Normalize needs beside the query.
type Options struct {
	Now          time.Time // the moment to which relative dates refer; required
	Timezone     string    // of queries that name none; default UTC
	DefaultLimit int       // default 10,000
	MaxLimit     int       // default 50,000
}
