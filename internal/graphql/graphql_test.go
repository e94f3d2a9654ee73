package graphql

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/google/go-cmp/cmp"
)

const model = `
cubes:
  - name: line_items
    sql_table: line_items
    joins: [{name: Users, relationship: many_to_one, sql: "{CUBE}.user_id = {Users}.id"}]
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: status, sql: status, type: string, description: "says \"when\"\nand why"}
      - {name: paid, sql: paid, type: boolean}
      - {name: price, sql: price, type: number}
      - {name: created_at, sql: created_at, type: time}
      - {name: sent_at, sql: sent_at, type: time, granularities: [{name: fiscal_year, interval: 1 year, offset: 3 months}, {name: value, interval: 1 hour}]}
    measures:
      - {name: count, type: count}
      - {name: last, sql: created_at, type: time}
  - name: Users
    sql_table: users
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true, public: true}
      - {name: secret_name, sql: name, type: string, public: false}
      - {name: secret_at, sql: at, type: time, public: false, granularities: [{name: secret_year, interval: 1 year, offset: 1 month}]}
`

// newSchema makes the schema of a model for somebody of these groups.
func newSchema(t testing.TB, text string, groups ...string) *Schema {
	t.Helper()
	m, err := datamodel.Load(fstest.MapFS{"model.yml": {Data: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	visible, err := m.Visible(groups, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSchema(m.Meta(datamodel.MetaOptions{Visible: visible}))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestARequestIsAQueryInJSON(t *testing.T) {
	s := newSchema(t, model)
	for _, tt := range []struct{ name, text, variables, want string }{
		{"members", `{ cube { line_items { count status paid } } }`, ``, `{"measures":["line_items.count"],"dimensions":["line_items.status","line_items.paid"]}`},
		{"a cube that begins large", `{ cube { users { id } } }`, ``, `{"dimensions":["Users.id"]}`},
		{"granularities", `{ cube { line_items { created_at { value day week } last } } }`, ``,
			`{"measures":["line_items.last"],"dimensions":["line_items.created_at"],"timeDimensions":[{"dimension":"line_items.created_at","granularity":"day"},{"dimension":"line_items.created_at","granularity":"week"}]}`},
		{"a granularity of the model", `{ cube { line_items { sent_at { day fiscal_year } } } }`, ``,
			`{"timeDimensions":[{"dimension":"line_items.sent_at","granularity":"day"},{"dimension":"line_items.sent_at","granularity":"fiscal_year"}]}`},
		{"arguments", `{ cube(limit: 0, offset: 5, timezone: "Europe/Berlin", renewQuery: true, ungrouped: true, cache: "no-cache") { users { id } } }`, ``,
			`{"dimensions":["Users.id"],"limit":0,"offset":5,"timezone":"Europe/Berlin","cache":"no-cache","renewQuery":true,"ungrouped":true}`},
		{"orders, in order", `{ cube(orderBy: {users: {id: desc}, line_items: {status: asc}}) { line_items(orderBy: {count: desc}) { count } } }`, ``,
			`{"measures":["line_items.count"],"order":[["Users.id","desc"],["line_items.status","asc"],["line_items.count","desc"]]}`},
		{"an order in a variable", `query($o: RootOrderByInput) { cube(orderBy: $o) { users { id } } }`, `{"o":{"users":{"id":"asc"},"line_items":{"status":"desc","count":"asc"}}}`,
			`{"dimensions":["Users.id"],"order":[["Users.id","asc"],["line_items.status","desc"],["line_items.count","asc"]]}`},
		{"conditions", `{ cube(where: {line_items: {status: {equals: "a'b", notIn: ["x", null]}, price: {gt: 1234567890123456789, set: true}}}) { users { id } } }`, ``,
			`{"dimensions":["Users.id"],"filters":[{"member":"line_items.status","operator":"equals","values":["a'b"]},{"member":"line_items.status","operator":"notEquals","values":["x",null]},{"member":"line_items.price","operator":"gt","values":["1234567890123456789"]},{"member":"line_items.price","operator":"set"}]}`},
		{"one text where there may be some", `{ cube { line_items(where: {status: {contains: "a", set: false}}) { count } } }`, ``,
			`{"measures":["line_items.count"],"filters":[{"member":"line_items.status","operator":"contains","values":["a"]},{"member":"line_items.status","operator":"notSet"}]}`},
		{"groups", `{ cube(where: {OR: [{line_items: {status: {equals: "a"}}}, {users: {id: {equals: 1}}}]}) { line_items(where: {AND: {price: {lt: 3}}, status: {equals: "b"}}) { count } } }`, ``,
			`{"measures":["line_items.count"],"filters":[{"and":[{"member":"line_items.price","operator":"lt","values":["3"]}]},{"member":"line_items.status","operator":"equals","values":["b"]},{"or":[{"member":"line_items.status","operator":"equals","values":["a"]},{"member":"Users.id","operator":"equals","values":["1"]}]}]}`},
		{"a group beside a condition of one cube", `{ cube(where: {line_items: {OR: [{price: {lt: 3}}, {price: {gt: 5}}], status: {equals: "b"}}}) { users { id } } }`, ``,
			`{"dimensions":["Users.id"],"filters":[{"and":[{"or":[{"member":"line_items.price","operator":"lt","values":["3"]},{"member":"line_items.price","operator":"gt","values":["5"]}]},{"member":"line_items.status","operator":"equals","values":["b"]}]}]}`},
		{"a range becomes that of its granularities", `{ cube { line_items(where: {created_at: {inDateRange: "last week"}}) { created_at { day } } } }`, ``,
			`{"timeDimensions":[{"dimension":"line_items.created_at","granularity":"day","dateRange":"last week"}]}`},
		{"a range of another time stays", `{ cube(where: {line_items: {sent_at: {inDateRange: ["2026-01-01", "2026-01-31"]}}}) { line_items { created_at { day } } } }`, ``,
			`{"timeDimensions":[{"dimension":"line_items.created_at","granularity":"day"},{"dimension":"line_items.sent_at","dateRange":["2026-01-01","2026-01-31"]}]}`},
		{"fragments, aliases and directives", `query Q($no: Boolean!) { __typename cube { ...r } } fragment r on Result { a: line_items { n: count } ... on Result { a: line_items { status @skip(if: $no) paid @include(if: $no) } } }`, `{"no":true}`,
			`{"measures":["line_items.count"],"dimensions":["line_items.paid"]}`},
		{"a variable in a condition", `query($s: [String] = ["d"], $l: Int) { cube(limit: $l) { line_items(where: {status: {in: $s}}) { count } } }`, `{"l":7}`,
			`{"measures":["line_items.count"],"filters":[{"member":"line_items.status","operator":"equals","values":["d"]}],"limit":7}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			op, err := s.Read(Request{Query: tt.text, Variables: json.RawMessage(tt.variables)})
			if err != nil {
				t.Fatal(err)
			}
			if got := string(op.Fields[len(op.Fields)-1].Query); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestARowIsLaidOutAsItWasAskedFor(t *testing.T) {
	s := newSchema(t, model)
	op, err := s.Read(Request{Query: `{ cube { __typename items: line_items { n: count created_at { day __typename } status } users { id } } }`})
	if err != nil {
		t.Fatal(err)
	}
	want := []Selection{
		{Key: "__typename", Type: "Result"},
		{Key: "items", Type: "LineItemsMembers", Fields: []Selection{
			{Key: "n", Type: "Float", Column: "line_items.count"},
			{Key: "created_at", Type: "TimeDimension", Fields: []Selection{{Key: "day", Type: "DateTime", Column: "line_items.created_at.day"}, {Key: "__typename", Type: "TimeDimension"}}},
			{Key: "status", Type: "String", Column: "line_items.status"},
		}},
		{Key: "users", Type: "UsersMembers", Fields: []Selection{{Key: "id", Type: "Float", Column: "Users.id"}}},
	}
	if diff := cmp.Diff(want, op.Fields[0].Row); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhatIsRefused(t *testing.T) {
	s := newSchema(t, model)
	deep := strings.Repeat(`... on Query {`, 600)
	for _, tt := range []struct{ name, text, variables, want string }{
		{"nothing", ``, ``, "Must provide query string."},
		{"no GraphQL", `{ cube`, ``, "Expected Name"},
		{"an unknown member", `{ cube { line_items { nope } } }`, ``, `Cannot query field "nope" on type "LineItemsMembers".`},
		{"a granularity of another time", `{ cube { line_items { created_at { fiscal_year } } } }`, ``, `line_items.created_at has no granularity "fiscal_year"; it has second, minute, hour, day, week, month, quarter, year.`},
		{"a granularity that is none", `{ cube { line_items { sent_at { decade } } } }`, ``, `Cannot query field "decade" on type "TimeDimension".`},
		{"a granularity of a hidden time", `{ cube { line_items { sent_at { secret_year } } } }`, ``, `Cannot query field "secret_year" on type "TimeDimension".`},
		{"a hidden member", `{ cube { users { secret_name } } }`, ``, `Cannot query field "secret_name" on type "UsersMembers".`},
		{"a condition on a hidden member", `{ cube(where: {users: {secret_name: {set: true}}}) { users { id } } }`, ``, `Field "secret_name" is not defined by type "UsersWhereInput".`},
		{"a condition on one in a variable", `query($w: RootWhereInput) { cube(where: $w) { users { id } } }`, `{"w":{"users":{"secret_name":{"set":true}}}}`, "unknown field"},
		{"a number that is none", `{ cube(limit: 99999999999) { users { id } } }`, ``, "Int cannot represent non 32-bit signed integer value"},
		{"a mutation", `mutation { cube { users { id } } }`, ``, `Schema does not support operation type "mutation"`},
		{"two operations and no name", `query A { cube { users { id } } } query B { cube { users { id } } }`, ``, "Must provide operation name"},
		{"variables that are no JSON", `{ cube { users { id } } }`, `{`, "Variables are invalid JSON."},
		{"a variable of another type", `query($l: Int) { cube(limit: $l) { users { id } } }`, `{"l":"x"}`, "cannot use string as Int"},
		{"too many fields", `{ cube { users { ` + strings.Repeat("id ", 600) + `} } }`, ``, "more than 500 fields"},
		{"fragments that double", bomb(20), ``, "more than 500 fields"},
		{"fragments that double and are not used", `{ __typename }` + bomb(20)[len(`{ ...f0 }`):], ``, "more than 500 fields"},
		{"a fragment in itself", `{ ...f } fragment f on Query { __typename ...f }`, ``, "nests deeper than 20"},
		{"nested too deep", `{ __schema { types { ` + strings.Repeat("ofType { ", 20) + "name" + strings.Repeat(" }", 20) + ` } } }`, ``, "nests deeper than 20"},
		{"deep without a field", `{` + deep + `__typename` + strings.Repeat("}", 601), ``, "more than 500 fields"},
		{"an introspection that multiplies", `{ __schema { types { fields { type { fields { type { fields { type { fields { name } } } } } } } } } }`, ``, "Maximum introspection depth exceeded"},
		{"many queries", `{ ` + many(11) + `}`, ``, "may have 10 fields cube"},
		{"too long", `{ cube(where: {users: {id: {in: [` + strings.Repeat("1 ", maxTokens) + `]}}}) { users { id } } }`, ``, "exceeded token limit"},
	} {
		_, err := s.Read(Request{Query: tt.text, Variables: json.RawMessage(tt.variables)})
		errs, ok := errors.AsType[Errors](err)
		if !ok || !strings.Contains(errs[0].Message, tt.want) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
}

// A name costs its length wherever it is compared or told, and may be as long as the request.
func TestALongNameIsRefusedUnread(t *testing.T) {
	s := newSchema(t, model)
	long := strings.Repeat("n", maxName+1)
	for name, r := range map[string]Request{
		"a field":        {Query: `{ cube { line_items { ` + long + ` } } }`},
		"an alias":       {Query: `{ cube { line_items { ` + long + `: count } } }`},
		"an argument":    {Query: `{ cube(` + long + `: 1) { users { id } } }`},
		"a type":         {Query: `{ ... on ` + long + ` { __typename } }`},
		"a key":          {Query: `{ cube(where: {` + long + `: {}}) { users { id } } }`},
		"a word":         {Query: `{ cube(orderBy: {users: {id: ` + long + `}}) { users { id } } }`},
		"a fragment":     {Query: `{ ...` + long + ` } fragment ` + long + ` on Query { __typename }`},
		"a directive":    {Query: `{ __typename @` + long + ` }`},
		"a variable":     {Query: `query($` + long + `: Int) { __typename }`},
		"an operation":   {Query: `query ` + long + ` { __typename }`},
		"in a variable":  {Query: `query($w: RootWhereInput) { cube(where: $w) { users { id } } }`, Variables: json.RawMessage(`{"w":{"` + long + `":1}}`)},
		"of no variable": {Query: `{ __typename }`, Variables: json.RawMessage(`{"` + long + `":1}`)},
	} {
		if _, err := s.Read(r); err == nil || !strings.Contains(err.Error(), "A name may have 256 characters") {
			t.Errorf("%s: %.100v", name, err)
		}
	}
	if _, err := s.Read(Request{Query: `{ ` + long[1:] + `: __typename }`}); err != nil {
		t.Errorf("a name that is just short enough: %v", err)
	}
}

// An error names no other member: to find one that is like it, all are compared with it.
func TestAnErrorHasNoSuggestions(t *testing.T) {
	s := newSchema(t, model)
	for _, text := range []string{
		`{ cube { line_items { statu } } }`, `{ cube(limi: 1) { users { id } } }`, `{ cube(where: {line_items: {statu: {set: true}}}) { users { id } } }`,
		`{ ...f } fragment f on Quer { __typename }`, `{ cube(orderBy: {users: {id: as}}) { users { id } } }`, `{ cube(orderBy: {users: {id: "as"}}) { users { id } } }`,
	} {
		if _, err := s.Read(Request{Query: text}); err == nil || strings.Contains(err.Error(), "Did you mean") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestAnErrorIsShort(t *testing.T) {
	s := newSchema(t, model)
	long := strings.Repeat("é", 1<<19)
	for name, r := range map[string]Request{
		"a text":                  {Query: `{ cube(limit: "` + long + `") { users { id } } }`},
		"text that is no GraphQL": {Query: `{ cube(limit: 1) { users { id } } } "` + long + `"`},
		"an operation":            {Query: `{ __typename }`, OperationName: long},
		"a variable":              {Query: `query($l: Int) { cube(limit: $l) { users { id } } }`, Variables: json.RawMessage(`{"l":"` + long + `"}`)},
		"a deep variable": {Query: `query($w: RootWhereInput) { cube(where: $w) { users { id } } }`,
			Variables: json.RawMessage(`{"w":` + strings.Repeat(`{"AND":`, 3000) + "1" + strings.Repeat("}", 3001))},
	} {
		_, err := s.Read(r)
		if told, _ := json.Marshal(err); err == nil || len(told) > 2*maxTold || !utf8.Valid(told) {
			t.Errorf("%s: %d bytes, %.100v", name, len(told), err)
		}
	}
}

// bomb returns a request whose fragments would be 2^n fields.
func bomb(n int) string {
	var b strings.Builder
	b.WriteString(`{ ...f0 }`)
	for i := range n {
		fmt.Fprintf(&b, " fragment f%d on Query { a%d: __typename ...f%d ...f%d }", i, i, i+1, i+1)
	}
	fmt.Fprintf(&b, " fragment f%d on Query { __typename }", n)
	return b.String()
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "q%d: cube { users { id } } ", i)
	}
	return b.String()
}

func TestAPolicyHidesMembersFromTheSchema(t *testing.T) {
	text := model + `
    access_policy:
      - {group: staff, member_level: {includes: "*"}}
      - {group: "*", member_level: {includes: []}}
`
	all := `{ __schema { types { name fields { name } inputFields { name } } } }`
	introspect := func(groups ...string) string {
		op, err := newSchema(t, text, groups...).Read(Request{Query: all})
		if err != nil {
			t.Fatal(err)
		}
		return string(op.Fields[0].Value)
	}
	if got := introspect("staff"); !strings.Contains(got, "UsersMembers") {
		t.Errorf("staff sees %s", got)
	}
	if got := introspect("guest"); strings.Contains(strings.ToLower(got), "users") || !strings.Contains(got, "LineItemsMembers") {
		t.Errorf("a guest sees %s", got)
	}
	_, err := NewSchema(datamodel.Meta{})
	if fault.KindOf(err) != fault.Denied {
		t.Errorf("the schema of nothing: %v, want a refusal", err)
	}
}

// The introspection that GraphiQL, Apollo and the like send.
const toolsAsk = `query IntrospectionQuery { __schema { queryType { name } mutationType { name } subscriptionType { name } types { ...FullType } directives { name description locations args { ...InputValue } } } }
fragment FullType on __Type { kind name description fields(includeDeprecated: true) { name description args { ...InputValue } type { ...TypeRef } isDeprecated deprecationReason } inputFields { ...InputValue } interfaces { ...TypeRef } enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason } possibleTypes { ...TypeRef } }
fragment InputValue on __InputValue { name description type { ...TypeRef } defaultValue }
fragment TypeRef on __Type { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name } } } } } } } }`

func TestIntrospection(t *testing.T) {
	s := newSchema(t, model)
	op, err := s.Read(Request{Query: toolsAsk, OperationName: "IntrospectionQuery"})
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		QueryType struct{ Name string }
		Types     []struct {
			Kind, Name string
			Fields     []struct {
				Name, Description string
				Type              json.RawMessage
			}
		}
		Directives []struct{ Name string }
	}
	if err := json.Unmarshal(op.Fields[0].Value, &got); err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, typ := range got.Types {
		for _, f := range typ.Fields {
			found[typ.Name+"."+f.Name] = f.Description + string(f.Type)
		}
	}
	for name, want := range map[string]string{
		"Query.cube":                  `"kind":"NON_NULL","name":null,"ofType":{"kind":"LIST","name":null,"ofType":{"kind":"NON_NULL","name":null,"ofType":{"kind":"OBJECT","name":"Result"`,
		"LineItemsMembers.status":     "says \"when\"\nand why{\"kind\":\"SCALAR\",\"name\":\"String\"",
		"LineItemsMembers.created_at": `"kind":"OBJECT","name":"TimeDimension"`,
	} {
		if !strings.Contains(found[name], want) {
			t.Errorf("%s is %s, want %s", name, found[name], want)
		}
	}
	if _, ok := found["LineItemsMembers.id"]; ok {
		t.Error("a hidden key is shown")
	}
	if got.QueryType.Name != "Query" || len(got.Directives) < 3 {
		t.Errorf("%+v", got)
	}
	op, err = s.Read(Request{Query: `{ t: __type(name: "OrderBy") { name enumValues { name } } none: __type(name: "Nope") { name } __typename }`})
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for _, f := range op.Fields {
		values = append(values, f.Key+"="+string(f.Value))
	}
	if got := strings.Join(values, " "); got != `t={"name":"OrderBy","enumValues":[{"name":"asc"},{"name":"desc"}]} none=null __typename="Query"` {
		t.Error(got)
	}
}

func TestNamesThatMeet(t *testing.T) {
	s := newSchema(t, `
cubes:
  - {name: Orders, sql_table: o, measures: [{name: count, type: count}, {name: AND, type: count}]}
  - {name: orders, sql_table: o, measures: [{name: total, type: count}]}
  - {name: root, sql_table: o, measures: [{name: count, type: count}]}
`)
	for text, want := range map[string]string{
		`{ cube { Orders { count } } }`: `{"measures":["Orders.count"]}`,
		`{ cube { orders { total } } }`: `{"measures":["orders.total"]}`,
		`{ cube { root { count } } }`:   `{"measures":["root.count"]}`,
	} {
		op, err := s.Read(Request{Query: text})
		if err != nil {
			t.Fatal(err)
		}
		if got := string(op.Fields[0].Query); got != want {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	s := newSchema(f, model)
	f.Add(toolsAsk, `{}`)
	f.Add(`query($w: RootWhereInput, $l: Int = 3) { cube(where: $w, limit: $l) { ...r } } fragment r on Result { line_items { created_at { day } } }`, `{"w":{"OR":[{"users":{"id":{"in":[1,null]}}}]}}`)
	f.Add(`{ cube(orderBy: {users: {id: desc}}) { users @include(if: true) { id } } }`, `null`)
	f.Add(`{ cube(where: {line_items: {AND: null, status: null}}) { users { __typename } } }`, ``)
	f.Add(bomb(3), `[]`)
	f.Fuzz(func(t *testing.T, text, variables string) {
		op, err := s.Read(Request{Query: text, Variables: json.RawMessage(variables)})
		if err != nil {
			if errs, ok := errors.AsType[Errors](err); !ok || len(errs) == 0 {
				t.Fatalf("%v is no error of GraphQL", err)
			}
			return
		}
		for _, field := range op.Fields {
			if (field.Query == nil) == (field.Value == nil) || field.Query != nil && !json.Valid(field.Query) || field.Value != nil && !json.Valid(field.Value) {
				t.Fatalf("field %q: query %q, value %q", field.Key, field.Query, field.Value)
			}
		}
	})
}
