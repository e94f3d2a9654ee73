package sqlgen

import (
	"slices"
	"strconv"
	"time"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/query"
)

// Options are what Generate needs beside the model, the context and the query.
type Options struct {
	// Dialect returns the dialect of a data source; required. Its error is returned as it is.
	Dialect func(dataSource string) (Dialect, error)

	// Schema is where sources keep rollups: letters, digits and underscores. Default: prod_pre_aggregations.
	Schema string

	// Now is the moment to which relative dates in filters refer; required.
	Now time.Time

	// ShowHidden allows selecting members with public: false; development mode.
	ShowHidden bool

	// Masks are what a caller sees in place of a member without a mask of its own, by the type of its result; NULL where
	// there is none.
	Masks map[string]any

	// AllowMissingFilter makes SECURITY_CONTEXT.x.filter() on a missing or falsy value allow all rows, as Cube does.
	// Otherwise it allows none (cube-data-model.md §14.2).
	AllowMissingFilter bool

	// AllowUnsafeValues lets unsafeValue() insert any text, as Cube does.
	AllowUnsafeValues bool
}

// Plan is a query ready to run, and how to read what it returns. It is the caller's own.
type Plan struct {
	DataSource string
	Dialect    string // name of the dialect, such as "postgres"
	SQL        string
	Args       []any // bool, int64, float64 or string, in the order of the placeholders

	// Total counts the rows without limit and offset, in the one column "total_count"; nil unless asked for.
	Total *Statement

	Columns    []Column // one for each column of the result, in order
	Annotation Annotation

	Order              []query.Order     // as it took effect: given or default, without what is not selected
	TimeDimensionAlias string            // of the first time dimension with a granularity; or ""
	TimeDimensionField string            // and its member
	AliasNameToMember  map[string]string // for /v1/sql
	MemberNames        []string          // every member the query names, filters included

	// What the refresh keys of all cubes whose rows are read say together: a result is fresh if it ran no longer than
	// FreshFor ago, not before FreshSince, and while RefreshKeys had the values that they have.
	FreshFor    time.Duration
	FreshSince  time.Time
	RefreshKeys []RefreshKey

	// Rollup is the first pre-aggregation of the queried cubes that holds everything the query asks for, or nil. Misses say
	// why those before it do not.
	Rollup *Rollup
	Misses []Miss
}

// Statement is SQL text and its bound values.
type Statement struct {
	SQL  string
	Args []any
}

// Column says what one column of the result is.
type Column struct {
	Alias  string   // as the SQL names it
	Member string   // full name
	Keys   []string // under which a row of the answer holds it; two for a time dimension with a granularity
	Type   string   // datamodel.String, Number, Boolean, Time or Geo
	Kind   datamodel.Kind
}

// Annotation describes the selected members for the client (cube-rest-api.md §5.6), ready for encoding/json.
type Annotation struct {
	Measures       map[string]AnnotatedMember `json:"measures"`
	Dimensions     map[string]AnnotatedMember `json:"dimensions"`
	Segments       map[string]AnnotatedMember `json:"segments"`
	TimeDimensions map[string]AnnotatedMember `json:"timeDimensions"`
}

// AnnotatedMember is one member in an Annotation.
type AnnotatedMember struct {
	Title               string                  `json:"title"`
	ShortTitle          string                  `json:"shortTitle"`
	Description         string                  `json:"description,omitempty"`
	Type                string                  `json:"type,omitempty"`
	Format              any                     `json:"format,omitempty"`
	Currency            string                  `json:"currency,omitempty"`
	Meta                any                     `json:"meta,omitempty"`
	DrillMembers        []string                `json:"drillMembers,omitzero"`
	DrillMembersGrouped *datamodel.DrillMembers `json:"drillMembersGrouped,omitempty"`
	Granularity         *datamodel.Granularity  `json:"granularity,omitempty"`   // of a selected time dimension
	Granularities       []datamodel.Granularity `json:"granularities,omitempty"` // that it has of its own
}

// plan finishes the statement and says how to read its result.
func (p *planner) plan(body Fragment) Plan {
	plan := Plan{
		DataSource: p.dataSource, Dialect: p.d.Name(), AliasNameToMember: map[string]string{}, MemberNames: p.names,
	}
	plain := p.finestWithout()
	for _, c := range p.columns {
		out := Column{Alias: c.alias, Member: c.FullName(), Keys: []string{c.FullName()}, Type: c.ResultType(), Kind: c.Kind}
		if c.granularity != "" {
			out.Keys = []string{c.FullName() + "." + c.granularity}
			if plain[c.FullName()] == c.granularity {
				out.Keys = append(out.Keys, c.FullName())
			}
			if plan.TimeDimensionAlias == "" {
				plan.TimeDimensionAlias, plan.TimeDimensionField = c.alias, c.FullName()
			}
		}
		plan.Columns = append(plan.Columns, out)
		plan.AliasNameToMember[c.alias] = c.FullName()
	}
	plan.Order = []query.Order{}
	for _, by := range p.order() {
		plan.Order = append(plan.Order, by.Order)
	}
	var s Statement
	s, plan.Total = p.paged(body, func(bool) string { return "" })
	plan.SQL, plan.Args = s.SQL, s.Args
	plan.Annotation = p.annotation()
	return plan
}

// paged returns the page of body that the query asks for, in its order, and what counts all rows, if that is asked for too.
// nulls returns what says where NULL stands in an order, perhaps a descending one.
func (p *planner) paged(body Fragment, nulls func(desc bool) string) (page Statement, total *Statement) {
	if p.q.Total {
		count := Format("select count(*) "+p.d.Quote("total_count")+" from ({}) "+p.d.Quote("original_query"), body).statement(p.d)
		total = &count
	}
	for i, by := range p.order() {
		before, direction := "\nORDER BY ", " ASC"
		if i > 0 {
			before = ", "
		}
		if by.Desc {
			direction = " DESC"
		}
		body.addText(before + strconv.Itoa(by.column+1) + direction + nulls(by.Desc))
	}
	body.addText(p.d.Page(p.q.Limit, p.q.Offset))
	return body.statement(p.d), total
}

// finestWithout returns, for each time dimension with granularities, the finest one: its value is also shown under
// the plain name, unless the dimension itself is selected too.
func (p *planner) finestWithout() map[string]string {
	finest := map[string]string{}
	shortest := map[string]int64{}
	for _, c := range p.grouping() {
		g, ok := c.Granularity(c.granularity)
		if length := g.Every.Length(); ok && (finest[c.FullName()] == "" || length < shortest[c.FullName()]) {
			finest[c.FullName()], shortest[c.FullName()] = g.Name, length
		}
	}
	for _, c := range p.grouping() {
		if c.granularity == "" {
			delete(finest, c.FullName())
		}
	}
	return finest
}

// sorting is one element of the sort order, and the column that it is by.
type sorting struct {
	query.Order
	column int // of planner.columns
}

// order returns the sort order as it takes effect (cube-rest-api.md §7.3).
func (p *planner) order() []sorting {
	given := p.q.Order
	if given == nil {
		given = p.defaultOrder()
	}
	var order []sorting
	for _, o := range given {
		i := slices.IndexFunc(p.columns, func(c column) bool {
			return o.ID == c.FullName() || o.ID == c.FullName()+"."+c.granularity || o.ID == c.alias
		})
		if i >= 0 {
			order = append(order, sorting{o, i})
		}
	}
	return order
}

// defaultOrder is the first time dimension with a granularity, else the first measure descending, else the first
// dimension; measures alone have none.
func (p *planner) defaultOrder() []query.Order {
	grouping, measures := p.grouping(), p.measures()
	for _, c := range grouping {
		if c.granularity != "" {
			return []query.Order{{ID: c.FullName() + "." + c.granularity}}
		}
	}
	switch {
	case len(grouping) > 0 && len(measures) > 0:
		return []query.Order{{ID: measures[0].FullName(), Desc: true}}
	case len(grouping) > 0:
		return []query.Order{{ID: grouping[0].FullName()}}
	}
	return nil
}

func (p *planner) annotation() Annotation {
	a := Annotation{
		Measures: map[string]AnnotatedMember{}, Dimensions: map[string]AnnotatedMember{},
		Segments: map[string]AnnotatedMember{}, TimeDimensions: map[string]AnnotatedMember{},
	}
	for _, c := range p.columns {
		m := p.annotate(c.Member)
		switch {
		case c.Kind == datamodel.Measure:
			grouped := p.model.GroupedDrillMembers(c.Member)
			m.DrillMembers, m.DrillMembersGrouped = c.DrillMembers, &grouped
			if m.DrillMembers == nil {
				m.DrillMembers = []string{}
			}
			a.Measures[c.FullName()] = m
		case c.granularity == "":
			a.Dimensions[c.FullName()] = m
		default:
			if !p.selectsPlain(c) {
				a.TimeDimensions[c.FullName()] = m
			}
			g, _ := c.Granularity(c.granularity)
			m.Granularity = &g
			a.TimeDimensions[c.FullName()+"."+c.granularity] = m
		}
	}
	for _, s := range p.segments {
		if s.Public {
			a.Segments[s.FullName()] = p.annotate(s.Member)
		}
	}
	return a
}

// selectsPlain reports whether the member of c is also selected without a granularity.
func (p *planner) selectsPlain(c column) bool {
	for _, other := range p.grouping() {
		if other.Member == c.Member && other.granularity == "" {
			return true
		}
	}
	return false
}

func (p *planner) annotate(m *datamodel.Member) AnnotatedMember {
	return AnnotatedMember{
		Title: m.Title, ShortTitle: m.ShortTitle, Description: m.Description, Type: m.ResultType(), Format: m.ShownFormat(),
		Currency: m.Currency, Meta: m.Meta, Granularities: m.Granularities,
	}
}
