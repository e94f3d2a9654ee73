package sqlgen_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"pgregory.net/rapid"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/query"
	"github.com/behalf-project/behalf/internal/sqlgen"
)

func TestGenerateRefusesInCubesWords(t *testing.T) {
	m := loadShop(t)
	for _, tt := range []struct{ name, context, query, want string }{
		{"unknown cube", tenant7, `{"measures":["Nope.count"]}`, "Cube 'Nope' not found for path 'Nope.count'"},
		{"unknown member", tenant7, `{"measures":["orders.nope"]}`, "'nope' not found for path 'orders.nope'"},
		{"a measure as a dimension", tenant7, `{"dimensions":["orders.count"]}`, "'count' not found for path 'orders.count'"},
		{"a hidden member", tenant7, `{"dimensions":["orders.id"]}`, "You requested hidden member: 'orders.id'. Please make it visible using `public: true`."},
		{"no join path", tenant7, `{"measures":["orders.count","recent.count"]}`, "Can't find join path to join 'orders', 'recent'"},
		{"a group of both kinds", tenant7, `{"measures":["orders.count"],"filters":[{"or":[{"member":"orders.count","operator":"gt","values":["1"]},{"member":"orders.status","operator":"set"}]}]}`,
			"You cannot use dimension and measure in same condition: {"},
		{"a granularity that does not exist", tenant7, `{"timeDimensions":[{"dimension":"orders.created_at","granularity":"fortnight"}]}`,
			`Granularity "fortnight" does not exist in dimension orders.created_at`},
		{"a time dimension that is none", tenant7, `{"timeDimensions":[{"dimension":"orders.status","granularity":"day"}]}`, "orders.status is not a time dimension: its type is string"},
		{"text for a number", tenant7, `{"measures":["orders.count"],"filters":[{"member":"users.age","operator":"gt","values":["1; DROP TABLE users"]}]}`,
			`The filter on users.age compares a number with "1; DROP TABLE users", which is not one`},
		{"null for an order", tenant7, `{"measures":["orders.count"],"filters":[{"member":"users.age","operator":"gt","values":[null]}]}`, "Expected one parameter but nothing found"},
		{"NUL", tenant7, `{"measures":["orders.count"],"filters":[{"member":"orders.status","operator":"equals","values":["a\u0000"]}]}`, "A value of the filter on orders.status contains a NUL character"},
		{"measure filters on ungrouped rows", tenant7, `{"measures":["orders.count"],"ungrouped":true,"filters":[{"member":"orders.count","operator":"gt","values":["1"]}]}`, "Measure filters aren't allowed in ungrouped query"},
		{"a claim that is an object", `{"tenant_id":{}}`, `{"measures":["users.count"]}`, "SECURITY_CONTEXT.tenant_id is an object"},
		{"a claim that holds an object", `{"tenant_id":[{}]}`, `{"measures":["users.count"]}`, "SECURITY_CONTEXT.tenant_id has an element that is neither text, number nor boolean"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := sqlgen.Generate(m, context(t, tt.context), decode(t, tt.query), options(sqlgen.Postgres{}))
			f, ok := errors.AsType[*fault.Error](err)
			if !ok || f.Kind != fault.Invalid || !strings.HasPrefix(f.Detail, tt.want) {
				t.Errorf("Generate = %v, want invalid: %s", err, tt.want)
			}
		})
	}
}

func TestCubesOfTwoDataSourcesAreNotJoined(t *testing.T) {
	m, err := datamodel.Load(fstest.MapFS{"a.yml": {Data: []byte(`
cubes:
  - name: a
    sql_table: a
    joins: [{name: b, relationship: one_to_one, sql: "{CUBE}.x = {b}.x"}]
    dimensions: [{name: x, sql: x, type: number, primary_key: true, public: true}]
  - {name: b, sql_table: b, data_source: other, measures: [{name: n, type: count}]}
`)}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = sqlgen.Generate(m, context(t, `{}`), decode(t, `{"dimensions":["a.x"],"measures":["b.n"]}`), options(sqlgen.Postgres{}))
	want := "invalid: Cubes 'a' and 'b' cannot be joined: their data sources are 'default' and 'other'"
	if err == nil || err.Error() != want {
		t.Errorf("Generate = %v, want %s", err, want)
	}
}

// Each of these would give wrong numbers without a word.
func TestWhatCannotBeCountedRightIsRefused(t *testing.T) {
	m, err := datamodel.Load(fstest.MapFS{"a.yml": {Data: []byte(`
cubes:
  - name: a
    sql_table: a
    joins:
      - {name: b, relationship: one_to_many, sql: "{CUBE}.x = {b}.x"}
      - {name: c, relationship: many_to_one, sql: "{CUBE}.y = {c}.y"}
    dimensions: [{name: x, sql: x, type: number, primary_key: true, public: true}]
    measures:
      - {name: mixed, type: sum, sql: "{CUBE}.x * {b.z}"}
      - {name: outer, type: number, sql: "SUM({CUBE}.x) / {c.total}"}
  - name: b
    sql_table: b
    dimensions: [{name: z, sql: z, type: number}]
    measures: [{name: n, type: count}]
  - name: c
    sql_table: c
    dimensions: [{name: y, sql: y, type: number, primary_key: true}]
    measures: [{name: total, type: sum, sql: t}]
`)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, query, want string }{
		{"rows that a join did not find", `{"measures":["b.n"],"dimensions":["a.x"]}`,
			"The joins of this query repeat or miss rows of 'b': primary key for 'b' is required in order to make aggregates work properly"},
		{"a sum over the rows of two cubes", `{"measures":["a.mixed"]}`,
			"'a.mixed' references cubes that lead to row multiplication. Please rewrite it using sub query."},
		{"an aggregate beside one that joins repeat", `{"measures":["a.outer"]}`,
			"'a.outer' references cubes that lead to row multiplication. Please rewrite it using sub query."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan, err := sqlgen.Generate(m, context(t, `{}`), decode(t, tt.query), options(sqlgen.Postgres{}))
			if f, ok := errors.AsType[*fault.Error](err); !ok || f.Detail != tt.want {
				t.Errorf("Generate = %s, %v, want %s", plan.SQL, err, tt.want)
			}
		})
	}
}

// model returns a model of one cube with the given sql.
func model(t testing.TB, sql string) *datamodel.Model {
	t.Helper()
	m, err := datamodel.Load(fstest.MapFS{"a.yml": {Data: []byte("cubes:\n  - name: a\n    sql: >\n      " + sql +
		"\n    dimensions: [{name: s, sql: s, type: string}]\n    measures: [{name: n, type: count}]\n")}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The table of cube-data-model.md §14.1, and our own rules of §14.2.
func TestValuesOfTheSecurityContext(t *testing.T) {
	const filter, required, unsafe, literal, bare = "{SECURITY_CONTEXT.u.id.filter('id')}", "{SECURITY_CONTEXT.u.id.requiredFilter('id')}",
		"{SECURITY_CONTEXT.u.id.unsafeValue()}", "'{SECURITY_CONTEXT.u.id.unsafeValue()}'", "{USER_CONTEXT.u.id}"
	for _, tt := range []struct{ name, sql, claims, strict, lax string }{
		{"a number", filter, `{"u":{"id":42}}`, "id = $1 [42]", "id = $1 [42]"},
		{"a text", filter, `{"u":{"id":"abc"}}`, "id = $1 [abc]", "id = $1 [abc]"},
		{"a list", filter, `{"u":{"id":[1,"b"]}}`, "id IN ($1, $2) [1 b]", "id IN ($1, $2) [1 b]"},
		{"an empty list", filter, `{"u":{"id":[]}}`, "1 = 0 []", "1 = 0 []"},
		{"nothing", filter, `{}`, "1 = 0 []", "1 = 1 []"},
		{"a path through a text", filter, `{"u":"x"}`, "1 = 0 []", "1 = 1 []"},
		{"null", filter, `{"u":{"id":null}}`, "1 = 0 []", "1 = 1 []"},
		{"an empty text", filter, `{"u":{"id":""}}`, "1 = 0 []", "1 = 1 []"},
		{"zero", filter, `{"u":{"id":0}}`, "id = $1 [0]", "1 = 1 []"},
		{"false", filter, `{"u":{"id":false}}`, "id = $1 [false]", "1 = 1 []"},
		{"a required number", required, `{"u":{"id":42}}`, "id = $1 [42]", "id = $1 [42]"},
		{"a required list that is empty", required, `{"u":{"id":[]}}`, "1 = 0 []", "1 = 0 []"},
		{"a required value that is missing", required, `{}`, "Filter for id is required", "Filter for id is required"},
		{"a required zero", required, `{"u":{"id":0}}`, "id = $1 [0]", "Filter for id is required"},
		{"a bound number", bare, `{"u":{"id":42}}`, "$1 [42]", "$1 [42]"},
		{"a bound list", bare, `{"u":{"id":[1,2]}}`, "$1, $2 [1 2]", "$1, $2 [1 2]"},
		{"a bound value that is missing", bare, `{}`, "SECURITY_CONTEXT.u.id is missing, and the data model needs it", "SECURITY_CONTEXT.u.id is missing, and the data model needs it"},
		{"an inserted word", unsafe, `{"u":{"id":"eu_west-1"}}`, "eu_west-1 []", "eu_west-1 []"},
		{"inserted numbers", unsafe, `{"u":{"id":[1,2]}}`, "1,2 []", "1,2 []"},
		{"an inserted condition", unsafe, `{"u":{"id":"1 OR true"}}`, "SECURITY_CONTEXT.u.id has characters that unsafeValue does not let into SQL", "1 OR true []"},
		{"words in a literal", literal, `{"u":{"id":"New York, (N.Y.)"}}`, "'New York, (N.Y.)' []", "'New York, (N.Y.)' []"},
		{"the end of a literal", literal, `{"u":{"id":"x' OR 'y"}}`, "SECURITY_CONTEXT.u.id has characters that unsafeValue does not let into SQL", "'x' OR 'y' []"},
		{"a backslash in a literal", literal, `{"u":{"id":"x\\"}}`, "SECURITY_CONTEXT.u.id has characters that unsafeValue does not let into SQL", `'x\' []`},
		{"a line break in a literal", literal, `{"u":{"id":"x\ny"}}`, "SECURITY_CONTEXT.u.id has characters that unsafeValue does not let into SQL", "'x\ny' []"},
		{"a lambda", `{SECURITY_CONTEXT.u.id.filter(lambda v: f"id IN ({v}) OR id = 0")}`, `{"u":{"id":[1,2]}}`, "(id IN ($1, $2) OR id = 0) [1 2]", "(id IN ($1, $2) OR id = 0) [1 2]"},
		{"groups", `x IN ({groups})`, `{"cubeCloud":{"groups":["a","b"]}}`, "x IN ($1, $2) [a b]", "x IN ($1, $2) [a b]"},
		{"user attributes", `{userAttributes.country.filter('c')}`, `{"cubeCloud":{"userAttributes":{"country":"DE"}}}`, "c = $1 [DE]", "c = $1 [DE]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := model(t, "SELECT * FROM t WHERE "+tt.sql)
			for _, lax := range []bool{false, true} {
				o, want := options(sqlgen.Postgres{}), tt.strict
				if o.AllowMissingFilter, o.AllowUnsafeValues = lax, lax; lax {
					want = tt.lax
				}
				plan, err := sqlgen.Generate(m, context(t, tt.claims), decode(t, `{"measures":["a.n"]}`), o)
				got := ""
				if f, ok := errors.AsType[*fault.Error](err); ok {
					got = f.Detail
				} else {
					_, got, _ = strings.Cut(plan.SQL, " WHERE ")
					got = strings.TrimSuffix(strings.TrimSpace(strings.Split(got, "\n) AS")[0]), ") AS \"a\"\nLIMIT 10000")
					got = strings.TrimSpace(got) + " " + sprint(plan.Args)
				}
				if got != want {
					t.Errorf("lax %v: got %q, want %q", lax, got, want)
				}
			}
		})
	}
}

func TestConcurrentQueriesNeverSeeEachOthersContext(t *testing.T) {
	m := loadShop(t)
	q := decode(t, `{"measures":["orders.total","line_items.qty"],"dimensions":["users.country"]}`)
	var g sync.WaitGroup
	for i := range 8 {
		g.Go(func() {
			claims := map[string]any{"tenant_id": int64(i)}
			for range 50 {
				sc := context(t, `{}`)
				sc.Template = claims
				plan, err := sqlgen.Generate(m, sc, q, options(sqlgen.Postgres{}))
				if err != nil {
					t.Error(err)
					return
				}
				for _, a := range plan.Args {
					if a != int64(i) {
						t.Errorf("args of tenant %d = %v", i, plan.Args)
						return
					}
				}
			}
		})
	}
	g.Wait()
}

// Whatever the values, the text of the statement is that of other values: of a word or, where a dialect compares them in
// other ways, of a number.
func TestValuesNeverReachTheText(t *testing.T) {
	m := loadShop(t)
	operators := []query.Operator{query.Equals, query.NotEquals, query.In, query.NotIn, query.Contains, query.NotContains,
		query.StartsWith, query.NotStartsWith, query.EndsWith, query.NotEndsWith, query.GT, query.GTE, query.LT, query.LTE}
	hostile := rapid.StringOfN(rapid.RuneFrom([]rune("'\"`\\%_;-/*{}$?() \n\taé🙂1")), 0, 12, -1)
	rapid.Check(t, func(t *rapid.T) {
		op := rapid.SampledFrom(operators).Draw(t, "operator")
		d := rapid.SampledFrom(dialects).Draw(t, "dialect")
		n := rapid.IntRange(1, 3).Draw(t, "values")
		sql := func(value, claim func() string) string {
			f := query.Filter{Member: "recent.status", Operator: op}
			for range n {
				f.Values = append(f.Values, query.Value{Text: value()})
			}
			limit := 10
			q := query.Query{Measures: []string{"recent.count"}, Filters: []query.Filter{f}, Timezone: "UTC", Limit: &limit}
			sc := securityContext(map[string]any{"regions": []any{claim()}})
			plan, err := sqlgen.Generate(m, sc, q, options(d))
			if err != nil {
				t.Fatal(err)
			}
			return plan.SQL
		}
		drawn := func() string { return hostile.Draw(t, "value") }
		got, word, number := sql(drawn, drawn), func() string { return "x" }, func() string { return "1" }
		harmless := []string{sql(word, word), sql(word, number), sql(number, word), sql(number, number)}
		if !slices.Contains(harmless, got) {
			t.Fatalf("SQL = %s\nwant %s", got, harmless[0])
		}
	})
}
