package sqlgen_test

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/sqlgen"
)

// inSource says of the pre-aggregations of a model that they are kept in the source.
var inSource = strings.NewReplacer("{name: main,", "{name: main, external: false,", "{name: by_country,", "{name: by_country, external: false,",
	"{name: by_id,", "{name: by_id, external: false,", "{name: all,", "{name: all, external: false,", "{name: older,", "{name: older, external: false,",
	"{name: newer,", "{name: newer, external: false,", "{name: plain,", "{name: plain, external: false,", "{name: old,", "{name: old, external: false,",
	"{name: late,", "{name: late, external: false,", "name: main, allow", "name: main, external: false, allow",
	"union_with_source_data: true, rollups: [older]", "rollups: [older, newer]") // which would be asked of the source

// keepThere says so of one of a cube.
func keepThere(m *datamodel.Model, cube, name string) {
	for _, pre := range m.Cube(cube).PreAggregations {
		pre.External = pre.External && pre.Name != name
	}
}

// keepInSource makes the tables of a rollup in its source, as the credential that owns them does, and returns them by their names.
func keepInSource(t *testing.T, src source, r *sqlgen.Rollup) map[string][]sqlgen.Table {
	t.Helper()
	tables := map[string][]sqlgen.Table{}
	add := func(part *sqlgen.Rollup, spans ...*sqlgen.Span) {
		of := map[string][]sqlgen.Table{}
		for _, original := range part.From {
			of[original.Table] = []sqlgen.Table{keepTable(t, src, original, nil, nil)}
		}
		for _, s := range spans {
			tables[part.Table] = append(tables[part.Table], keepTable(t, src, part, s, of))
		}
	}
	switch r.Type {
	case datamodel.RollupJoin:
		for _, part := range r.Parts {
			add(part, spans(t, src, part)...)
		}
	case datamodel.RollupLambda:
		for i, spans := range united(t, src, r) {
			add(r.Parts[i], spans...)
		}
	case datamodel.OriginalSQL:
		for _, part := range r.Parts {
			add(part, nil)
		}
	default:
		add(r, spans(t, src, r)...)
	}
	return tables
}

// writable are what the tables are made with, where a source is read by sessions that may not write.
var writable = map[*sql.DB]*sql.DB{}

var madeTables int

func keepTable(t *testing.T, src source, r *sqlgen.Rollup, s *sqlgen.Span, of map[string][]sqlgen.Table) sqlgen.Table {
	t.Helper()
	db := src.db
	if writer, ok := writable[db]; ok {
		db = writer
	}
	madeTables++
	table := sqlgen.Table{Schema: "kept", Name: fmt.Sprintf("t%d", madeTables)}
	built, err := r.Build(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range append([]sqlgen.Statement{table.CreateSchema(), table.Create(r.Over(built, of))}, r.Indexes(table)...) {
		if _, err := db.Exec(statement.SQL, statement.Args...); err != nil {
			t.Fatalf("%v\n%s\n%v", err, statement.SQL, statement.Args)
		}
	}
	return table
}

// openWritable returns the shop in the databases in which rollups are kept.
func openWritable(t *testing.T, fill string) []source {
	t.Helper()
	maria, writer := openMariaDB(t, inMariaDB+fill)
	writable[maria] = writer
	t.Cleanup(func() {
		delete(writable, maria)
		if _, err := writer.Exec("DROP SCHEMA IF EXISTS kept"); err != nil {
			t.Error(err)
		}
	})
	return []source{{"postgres", sqlgen.Postgres{}, openShop(t, fill)}, {"mariadb", sqlgen.MySQL{}, maria}}
}

// What is kept in the source answers as the source does.
func TestRollupsInTheirSourceAnswerAsItDoes(t *testing.T) {
	for _, src := range openWritable(t, seed+moreOrders(rand.New(rand.NewPCG(1, 2)), 300)) {
		held := 0
		for _, tt := range heldQueries {
			if tt.pre == about && src.name == "postgres" || tt.pre == kept && src.name == "mariadb" {
				continue // it needs an extension, or its SQL is of another database
			}
			m := rolledModel(t, inSource.Replace(tt.pre), "", "")
			keepThere(m, "users", "by_country")
			plan := generate(t, m, context(t, tenant7), tt.query, src.d)
			if plan.Rollup == nil {
				continue
			}
			held++
			t.Run(src.name+"/"+tt.name, func(t *testing.T) {
				if plan.Rollup.External {
					t.Fatalf("%s is kept outside", plan.Rollup.Name)
				}
				answersAlike(t, src, nil, plan)
			})
		}
		if held < 35 {
			t.Errorf("%d queries are held in %s", held, src.name)
		}
	}
}

// Random queries over random rollups, joined and united ones among them, that are kept in the source.
func TestWhateverIsKeptInTheSourceAnswersAsItDoes(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	for _, src := range openWritable(t, seed+moreOrders(r, 150)) {
		t.Run(src.name, func(t *testing.T) {
			held := map[string]int{}
			for round := 0; held[datamodel.Rollup] < 30 || held[datamodel.RollupJoin] < 10 || held[datamodel.RollupLambda] < 10; round++ {
				if round == 1000 {
					t.Fatalf("of %d queries only %v were held", 10*round, held)
				}
				pre, query := inSource.Replace(randomRollup(r)), randomQuery
				m := rolledModel(t, pre, "", "")
				if round%2 == 1 {
					pre, query = inSource.Replace(randomParts(r)), randomJoin
					m = joinedModel(t, pre, "")
					keepThere(m, "buyers", "all")
				}
				for range 10 {
					q := query(r)
					plan, err := sqlgen.Generate(m, context(t, tenant7), decode(t, q), options(src.d))
					if err != nil {
						t.Fatalf("%v\n%s", err, q)
					}
					if plan.Rollup == nil || plan.Rollup.External {
						continue
					}
					held[plan.Rollup.Type]++
					if answersAlike(t, src, nil, plan); t.Failed() {
						t.Fatalf("round %d\n%s\n%s", round, pre, q)
					}
				}
			}
		})
	}
}

// originals are an original_sql of each cube, and a rollup that is built from them.
const originals = `
      - {name: raw, type: original_sql, indexes: [{name: by_user, columns: [user_id, id]}]}
      - {name: main, indexes: [{name: by_country, columns: [users.country, status]}], measures: [count, total, done], dimensions: [status, users.country], use_original_sql_pre_aggregations: true}`

// Queries that no rollup holds take the rows of a cube from its original_sql: whatever they ask for.
func TestOriginalsAnswerAsTheirCubesDo(t *testing.T) {
	queries := []string{
		`{"measures":["orders.average"],"dimensions":["orders.status"]}`,
		`{"measures":["orders.users"],"dimensions":["users.country"],"filters":[{"member":"users.age","operator":"gt","values":["20"]}]}`,
		`{"measures":["orders.last_week"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"day","dateRange":["2024-11-01","2024-11-06"]}],"timezone":"America/New_York"}`,
		`{"measures":["users.credit","orders.count","line_items.qty"],"dimensions":["users.country"]}`,
		`{"measures":["users.count"],"dimensions":["users.orders_count"]}`,
		`{"dimensions":["orders.id","orders.status"],"ungrouped":true,"limit":7,"order":[["orders.id","desc"]]}`,
		`{"measures":["orders.average"],"filters":[{"member":"orders.count","operator":"gt","values":["2"]}],"dimensions":["orders.kind"],"total":true}`,
	}
	for _, src := range openWritable(t, seed+moreOrders(rand.New(rand.NewPCG(1, 2)), 300)) {
		text := strings.Replace(strings.Replace(rolled, "    POLICY\n", "", 1), "PRE", originals, 1)
		m := loadText(t, strings.Replace(text, "      - {name: by_country,", "      - {name: kept, type: original_sql}\n      - {name: by_country,", 1))
		for _, q := range queries {
			t.Run(src.name, func(t *testing.T) {
				plan := generate(t, m, context(t, tenant7), q, src.d)
				if plan.Rollup == nil || plan.Rollup.Type != datamodel.OriginalSQL || plan.Rollup.External {
					t.Fatalf("%s is held by %+v: %v", q, plan.Rollup, plan.Misses)
				}
				for _, part := range plan.Rollup.Parts {
					if !strings.Contains(plan.Rollup.Read.SQL, src.d.Quote(part.Table)) {
						t.Errorf("%s is not read in %s", part.Table, plan.Rollup.Read.SQL)
					}
				}
				if strings.Contains(plan.Rollup.Read.SQL, "tenant_id") {
					t.Errorf("the sql of a cube is in %s", plan.Rollup.Read.SQL)
				}
				answersAlike(t, src, nil, plan)
			})
		}
		// A rollup that is built from them is read here, and so is it in the source.
		for _, external := range []bool{true, false} {
			if external && src.name == "mariadb" {
				continue // texts that are equal there are apart here
			}
			m.Cube("orders").PreAggregations[1].External = external
			plan := generate(t, m, context(t, tenant7), `{"measures":["orders.count","orders.done"],"dimensions":["users.country"]}`, src.d)
			if plan.Rollup == nil || plan.Rollup.Name != "orders.main" || plan.Rollup.External != external {
				t.Fatalf("it is held by %+v: %v", plan.Rollup, plan.Misses)
			}
			var from []string
			for _, original := range plan.Rollup.From {
				from = append(from, original.Name)
			}
			if !slices.Equal(from, []string{"orders.raw", "users.kept"}) {
				t.Errorf("it is built from %q", from)
			}
			if built, err := plan.Rollup.Build(nil); err != nil || strings.Contains(built.SQL, "tenant_id") {
				t.Errorf("it is built by %s, %v", built.SQL, err)
			}
			if !external {
				answersAlike(t, src, nil, plan)
			}
			var indexes []string
			for _, s := range append(plan.Rollup.Indexes(sqlgen.Table{Schema: "kept", Name: "t"}), plan.Rollup.From[0].Indexes(sqlgen.Table{Schema: "kept", Name: "u"})...) {
				indexes = append(indexes, s.SQL)
			}
			want := []string{"CREATE INDEX t_1 ON kept.t (" + src.d.Quote("users__country") + ", " + src.d.Quote("orders__status") + ")",
				"CREATE INDEX u_1 ON kept.u (" + src.d.Quote("user_id") + ", " + src.d.Quote("id") + ")"}
			if external {
				want = want[1:]
			}
			if !slices.Equal(indexes, want) {
				t.Errorf("indexes %q, want %q", indexes, want)
			}
		}
	}
}

// Why the original_sql of a cube is not taken is said. In DuckDB, which is only read here, nothing is kept, and what would be kept there is
// kept here.
func TestWhyAnOriginalMisses(t *testing.T) {
	const raw = `[{name: raw, type: original_sql}]`
	plan := generate(t, rolledModel(t, raw, "", ""), context(t, tenant7), `{"measures":["orders.count"]}`, sqlgen.DuckDB{})
	if plan.Rollup != nil || fmt.Sprint(plan.Misses) != "[{orders.raw it cannot be built: its source is only read here, and nothing is kept in it}]" {
		t.Errorf("in DuckDB it is held by %+v: %v", plan.Rollup, plan.Misses)
	}
	plan = generate(t, rolledModel(t, inSource.Replace("[{name: main, measures: [count], use_original_sql_pre_aggregations: true}]"), "", ""), context(t, tenant7), `{"measures":["orders.count"]}`, sqlgen.DuckDB{})
	if plan.Rollup == nil || !plan.Rollup.External || len(plan.Rollup.From) > 0 {
		t.Errorf("in DuckDB it is held by %+v: %v", plan.Rollup, plan.Misses)
	}
	const filtered = `
cubes:
  - name: orders
    sql: SELECT max(id) AS id FROM orders WHERE {FILTER_PARAMS.orders.id.filter('id')}
    dimensions: [{name: id, sql: id, type: number, primary_key: true, public: true}]
    measures: [{name: count, type: count}]
    pre_aggregations: [{name: raw, type: original_sql}]
`
	for q, held := range map[string]bool{`{"measures":["orders.count"]}`: true, `{"measures":["orders.count"],"filters":[{"member":"orders.id","operator":"lt","values":["3"]}]}`: false} {
		plan := generate(t, loadText(t, filtered), context(t, tenant7), q, sqlgen.Postgres{})
		if (plan.Rollup != nil) != held {
			t.Errorf("%s is held by %+v: %v", q, plan.Rollup, plan.Misses)
		}
	}
}

// Two original_sql whose tables would have one name are not read together: the rows of each would be those of both.
func TestOriginalsOfOneNameAreNotReadTogether(t *testing.T) {
	const model = `
cubes:
  - name: a
    sql: SELECT 1 AS id, 'mine' AS whose
    joins: [{name: a__b, relationship: one_to_one, sql: "{CUBE}.id = {a__b}.id"}]
    dimensions: [{name: id, sql: id, type: number, primary_key: true, public: true}, {name: whose, sql: whose, type: string}]
    pre_aggregations: [{name: b__c, type: original_sql}]
  - name: a__b
    sql: SELECT 1 AS id, 'theirs' AS whose
    dimensions: [{name: id, sql: id, type: number, primary_key: true, public: true}, {name: whose, sql: whose, type: string}]
    pre_aggregations: [{name: c, type: original_sql}]
`
	for q, why := range map[string]string{
		`{"dimensions":["a.whose"]}`:              "[]",
		`{"dimensions":["a.whose","a__b.whose"]}`: "[{a.b__c it cannot be built: the table of a__b.c has the name of that of a.b__c} {a__b.c it cannot be built: the table of a__b.c has the name of that of a.b__c}]",
	} {
		if plan := generate(t, loadText(t, model), context(t, tenant7), q, sqlgen.Postgres{}); (plan.Rollup != nil) != (why == "[]") || fmt.Sprint(plan.Misses) != why {
			t.Errorf("%s is held by %+v: %v", q, plan.Rollup, plan.Misses)
		}
	}
}

// Of rollups that are read together, all are kept at one place, and of one who shares its rows all cubes do.
func TestWhatIsReadTogetherIsKeptAtOnePlace(t *testing.T) {
	const joined = `{"measures":["orders.count"],"dimensions":["buyers.country"]}`
	m := joinedModel(t, buyersJoined, "")
	keepThere(m, "buyers", "all")
	plan := generate(t, m, context(t, tenant7), joined, sqlgen.Postgres{})
	if want := "{orders.joined of its rollups orders.main and buyers.all one is kept in the source, and the other is not}"; plan.Rollup != nil || !strings.Contains(fmt.Sprint(plan.Misses), want) {
		t.Errorf("it is held by %+v: %v, want %s", plan.Rollup, plan.Misses, want)
	}
	for _, tt := range []struct {
		users bool
		query string
		want  bool
	}{{true, `{"measures":["orders.count"],"dimensions":["users.country"]}`, true}, {false, `{"measures":["orders.count"],"dimensions":["users.country"]}`, false}, {false, `{"measures":["orders.count"]}`, true}} {
		m := loadText(t, fmt.Sprintf(`
cubes:
  - name: orders
    sql_table: orders
    meta: {shared_rollup: true}
    joins: [{name: users, relationship: many_to_one, sql: "{CUBE}.user_id = {users.id}"}]
    measures: [{name: count, type: count}]
    dimensions: [{name: id, sql: id, type: number, primary_key: true}]
    pre_aggregations: [{name: raw, type: original_sql}]
  - name: users
    sql_table: users
    meta: {shared_rollup: %t}
    dimensions: [{name: id, sql: id, type: number, primary_key: true}, {name: country, sql: country, type: string}]
`, tt.users))
		plan := generate(t, m, context(t, tenant7), tt.query, sqlgen.Postgres{})
		if plan.Rollup == nil || plan.Rollup.Shared != tt.want || plan.Rollup.Parts[0].Shared != tt.want {
			t.Errorf("%s, where users are shared %t: %+v, want it shared %t", tt.query, tt.users, plan.Rollup, tt.want)
		}
	}
}

func loadText(t testing.TB, text string) *datamodel.Model {
	t.Helper()
	m, err := datamodel.Load(fstest.MapFS{"shop.yml": {Data: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}
