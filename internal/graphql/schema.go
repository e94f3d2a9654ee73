// Package graphql turns GraphQL requests into queries of the query API (cube-rest-api.md §15.2).
//
// A Schema is made of what /v1/meta shows one caller, so that what a policy hides is not there to be named: not in a
// query, not in the introspection, not in the suggestions of an error. Read checks a request against it, and returns
// for each field cube its query in Cube's format, and how a row of its result is laid out in the answer. The schema,
// its names and what a filter means are Cube's (packages/cubejs-api-gateway/src/graphql.ts of 1.7), so that requests
// written for Cube run unchanged.
//
//	meta ▸ Schema;   text, variables ▸ Schema.Read: bounds, syntax, validation ▸ Operation: queries, selections
//
// Nothing here runs a query or knows HTTP.
package graphql

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/lexer"
	"github.com/vektah/gqlparser/v2/parser"
	"github.com/vektah/gqlparser/v2/validator"
)

// Schema is what one caller may ask for. It is safe for concurrent use.
type Schema struct {
	schema *ast.Schema
	cubes  map[string]*cube // by the field of Result
	own    []string         // granularities that some times have
}

// cube is a cube or view of the model that has something to show.
type cube struct {
	name    string // of the model
	field   string // of Result
	types   string // what the names of its types begin with
	members []*member
	by      map[string]*member // by field
}

// member is a measure or a dimension.
type member struct {
	path        string // of the query API
	field       string
	kind        string // datamodel's, of its values
	measure     bool
	description string
	own         []string // granularities, beside those that every time has
}

// nameable reports whether name may be a field (GraphQL §2.1.9): two underscores begin GraphQL's own, and AND and OR are
// groups.
func nameable(name string) bool { return isName.MatchString(name) && name != "AND" && name != "OR" }

var isName = regexp.MustCompile(`^(_[A-Za-z0-9]|[A-Za-z])[_A-Za-z0-9]*$`)

// NewSchema makes the schema of what meta shows. It fails with fault.Denied where that is nothing.
func NewSchema(meta datamodel.Meta) (*Schema, error) {
	s := &Schema{cubes: map[string]*cube{}}
	cubes := s.read(meta)
	if len(cubes) == 0 {
		return nil, &fault.Error{Kind: fault.Denied, Code: "nothing_to_ask", Owner: fault.Admin, Detail: "The data model shows you nothing that could be asked for."}
	}
	schema, err := validator.LoadSchema(validator.Prelude, &ast.Source{Name: "schema", Input: s.sdl(cubes)})
	if err != nil {
		return nil, fmt.Errorf("schema of the data model: %w", err)
	}
	s.schema = schema
	return s, nil
}

// read names what meta shows. Cube writes the first letter of a cube's field small; where another cube has that name,
// it keeps its own.
func (s *Schema) read(meta datamodel.Meta) (cubes []*cube) {
	exact, types := map[string]bool{}, map[string]bool{"Root": true}
	for _, mc := range meta.Cubes {
		exact[mc.Name] = true
	}
	for _, mc := range meta.Cubes {
		c := &cube{name: mc.Name, field: mc.Name, by: map[string]*member{}}
		if small := strings.ToLower(mc.Name[:1]) + mc.Name[1:]; !exact[small] {
			c.field = small
		}
		for _, m := range mc.Measures {
			c.add(&member{path: m.Name, kind: m.Type, measure: true, description: m.Description})
		}
		for _, d := range mc.Dimensions {
			c.add(&member{path: d.Name, kind: d.Type, description: d.Description, own: s.granularities(d.Granularities)})
		}
		if len(c.members) == 0 || !nameable(c.field) || s.cubes[c.field] != nil {
			continue
		}
		for c.types = typeName(mc.Name); types[c.types]; {
			c.types += "_"
		}
		types[c.types] = true
		s.cubes[c.field] = c
		cubes = append(cubes, c)
	}
	return cubes
}

// granularities returns those that a time has of its own. All times are of one type, so that requests that ran before a
// model had them run on: it has a field for each, and whether a time has it is asked when a request is read.
func (s *Schema) granularities(of []datamodel.Granularity) (own []string) {
	for _, g := range of {
		if !nameable(g.Name) || g.Name == "value" || slices.Contains(datamodel.Granularities, g.Name) {
			continue
		}
		if own = append(own, g.Name); !slices.Contains(s.own, g.Name) {
			s.own = append(s.own, g.Name)
		}
	}
	return own
}

func (c *cube) add(m *member) {
	_, m.field, _ = strings.Cut(m.path, ".")
	if nameable(m.field) && c.by[m.field] == nil {
		c.by[m.field] = m
		c.members = append(c.members, m)
	}
}

// typeName returns name as Cube writes it in the names of types: line_items is LineItems.
func typeName(name string) string {
	var out strings.Builder
	for i, part := range strings.Split(name, "_") {
		if i > 0 {
			part = strings.ToLower(part)
		}
		if part != "" {
			out.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return out.String()
}

// common are the types that all schemas share.
const common = `
scalar DateTime
enum OrderBy { asc desc }
input FloatFilter {
  equals: Float notEquals: Float in: [Float] notIn: [Float] set: Boolean gt: Float lt: Float gte: Float lte: Float
}
input StringFilter {
  equals: String notEquals: String in: [String] notIn: [String] contains: [String] notContains: [String]
  startsWith: [String] notStartsWith: [String] endsWith: [String] notEndsWith: [String] set: Boolean
}
input DateTimeFilter {
  equals: [String] notEquals: [String] in: [String] notIn: [String] inDateRange: [String] notInDateRange: [String]
  beforeDate: String beforeOrOnDate: String afterDate: String afterOrOnDate: String set: Boolean
}
type Query {
  cube(where: RootWhereInput limit: Int offset: Int timezone: String renewQuery: Boolean cache: String ungrouped: Boolean orderBy: RootOrderByInput): [Result!]!
}
`

// sdl writes the schema in GraphQL's own language. Names of the model are of letters, digits and underscores, and
// descriptions are quoted.
func (s *Schema) sdl(cubes []*cube) string {
	var types, where, order, result strings.Builder
	times := "type TimeDimension {\nvalue: DateTime\n" + strings.Join(slices.Concat(datamodel.Granularities, s.own), ": DateTime\n") + ": DateTime\n}\n"
	for _, c := range cubes {
		var members, wheres, orders strings.Builder
		for _, m := range c.members {
			fmt.Fprintf(&members, "%s%s: %s\n", description(m.description), m.field, m.output())
			fmt.Fprintf(&wheres, "%s: %s\n", m.field, m.filter())
			fmt.Fprintf(&orders, "%s: OrderBy\n", m.field)
		}
		fmt.Fprintf(&types, "type %[1]sMembers {\n%[2]s}\ninput %[1]sWhereInput {\nAND: [%[1]sWhereInput!]\nOR: [%[1]sWhereInput!]\n%[3]s}\ninput %[1]sOrderByInput {\n%[4]s}\n",
			c.types, members.String(), wheres.String(), orders.String())
		fmt.Fprintf(&where, "%s: %sWhereInput\n", c.field, c.types)
		fmt.Fprintf(&order, "%s: %sOrderByInput\n", c.field, c.types)
		fmt.Fprintf(&result, "%[1]s(where: %[2]sWhereInput orderBy: %[2]sOrderByInput): %[2]sMembers!\n", c.field, c.types)
	}
	return common + times + "input RootWhereInput {\nAND: [RootWhereInput!]\nOR: [RootWhereInput!]\n" + where.String() + "}\ninput RootOrderByInput {\n" +
		order.String() + "}\ntype Result {\n" + result.String() + "}\n" + types.String()
}

// description writes text before a field. A JSON string is one of GraphQL too (GraphQL §2.9.4).
func description(text string) string {
	if text == "" {
		return ""
	}
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err) // a string marshals
	}
	return string(quoted) + " "
}

// output is the type of a member in an answer. Cube says TimeDimension of a measure that is a time, too, and then
// answers null; here it is the time.
func (m *member) output() string {
	switch {
	case m.kind == datamodel.Time && !m.measure:
		return "TimeDimension"
	case m.kind == datamodel.Time:
		return "DateTime"
	case m.kind == datamodel.Number:
		return "Float"
	}
	return "String"
}

// filter is the type of the conditions on a member.
func (m *member) filter() string {
	switch m.kind {
	case datamodel.Time:
		return "DateTimeFilter"
	case datamodel.Number:
		return "FloatFilter"
	}
	return "StringFilter"
}

// parse reads the text of a request. A name that nothing can have is refused: what is done with names takes longer the
// longer they are, and an answer may say them many times.
func parse(text string) (*ast.QueryDocument, error) {
	source := &ast.Source{Input: text}
	doc, err := parser.ParseQueryWithTokenLimit(source, maxTokens)
	if err != nil {
		return nil, err
	}
	words := lexer.New(source)
	for {
		switch word, err := words.ReadToken(); {
		case err != nil || word.Kind == lexer.EOF:
			return doc, err
		case word.Kind == lexer.Name && len(word.Value) > maxName:
			return nil, fail("A name may have %d characters; one in line %d is longer.", maxName, word.Pos.Line)
		}
	}
}
