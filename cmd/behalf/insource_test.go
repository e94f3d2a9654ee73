package main

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/sandbox/engine"
)

// keptThere are cubes whose rows are kept in their source: grouped, in partitions, and as they are.
const keptThere = `cubes:
  - name: held
    sql: SELECT * FROM orders WHERE amount IS NOT NULL
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: region, sql: region, type: string}
      - {name: status, sql: status, type: string}
      - {name: created_at, sql: created_at, type: time}
    measures:
      - {name: count, type: count}
      - {name: total, sql: amount, type: sum}
      - {name: mean, sql: amount, type: avg}
    pre_aggregations:
      - {name: raw, type: original_sql}
      - name: by_day
        external: false
        use_original_sql_pre_aggregations: true
        measures: [count, total]
        dimensions: [region]
        time_dimension: created_at
        granularity: day
        partition_granularity: year
  - name: cold
    extends: held
    data_source: snowflake
`

// used is what an answer says that it was read from.
func used(t *testing.T, a asked) (external bool, types map[string]string) {
	t.Helper()
	var body struct {
		External bool
		Used     map[string]struct{ PreAggregationID, Type string } `json:"usedPreAggregations"`
	}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		t.Fatal(err)
	}
	types = map[string]string{}
	for name, u := range body.Used {
		if want := "prod_pre_aggregations." + strings.ReplaceAll(u.PreAggregationID, ".", "_"); name != want {
			t.Errorf("%s is called %s, want %s", u.PreAggregationID, name, want)
		}
		types[u.PreAggregationID] = u.Type
	}
	return body.External, types
}

// askThere asks until a pre-aggregation in the source answers.
func (w *world) askThere(b *browser, query, id, kind string) asked {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		a := w.ask(b, query)
		if a.err != nil || a.status != http.StatusOK || time.Now().After(deadline) {
			w.t.Fatalf("no pre-aggregation answers %s: %d %.300s %v", b.username, a.status, a.body, a.err)
		}
		switch external, types := used(w.t, a); {
		case external:
			w.t.Fatalf("what is kept in the source is called external: %.300s", a.body)
		case types[id] == kind:
			return a
		}
	}
}

// What is kept in the warehouse is made there by whose it is, from the rows that they see, and read by nobody else. It is made with the
// real drivers, and dropped under the next grant where the one that made it was revoked.
func TestARollupInTheWarehouseIsItsPersons(t *testing.T) {
	w := newWorld(t, worldConfig{})
	w.write("model/kept.yml", keptThere)
	w.restart()
	w.connect(w.alice, "databricks", "snowflake")
	w.connect(w.bob, "databricks", "snowflake")
	for _, cube := range []string{"held", "cold"} {
		grouped := `{"measures":["` + cube + `.count","` + cube + `.total"],"dimensions":["` + cube + `.region"],"timeDimensions":[{"dimension":"` + cube + `.created_at","granularity":"month"}],"order":{"` + cube + `.created_at":"asc","` + cube + `.region":"asc"}}`
		plain := `{"measures":["` + cube + `.mean"],"dimensions":["` + cube + `.status"],"order":{"` + cube + `.status":"asc"}}`
		seen := map[*browser]asked{}
		for _, b := range []*browser{w.alice, w.bob} {
			before := w.mark()
			seen[b] = w.ask(b, grouped)
			seen[b].ran(t, "user", b.username)
			alike := w.ask(b, plain)
			got := w.askThere(b, grouped, cube+".by_day", "rollup")
			got.ran(t, "user", b.username)
			if !reflect.DeepEqual(got.Data, seen[b].Data) {
				t.Errorf("%s: the tables of %s answer %v, and the source %v", cube, b.username, got.Data, seen[b].Data)
			}
			if got := w.askThere(b, plain, cube+".raw", "originalSql"); !reflect.DeepEqual(got.Data, alike.Data) {
				t.Errorf("%s: the rows of %s answer %v, and the source %v", cube, b.username, got.Data, alike.Data)
			}
			made := w.statements(before, "CREATE TABLE prod_pre_aggregations.r_"+cube)
			if len(made) < 2 {
				t.Errorf("%s: %d tables were made for %s, want one of the rows and one of each year", cube, len(made), b.username)
			}
			for _, s := range w.statements(before, "prod_pre_aggregations.r_") {
				if s.Identity != b.username {
					t.Errorf("%s: %s ran as %s", cube, s.SQL, s.Identity)
				}
			}
		}
		if reflect.DeepEqual(seen[w.alice].Data, seen[w.bob].Data) {
			t.Fatalf("%s: alice and bob see the same rows: this proves nothing", cube)
		}

		before := w.mark()
		w.restart()
		if got := w.askThere(w.alice, grouped, cube+".by_day", "rollup"); !reflect.DeepEqual(got.Data, seen[w.alice].Data) {
			t.Errorf("%s: after a restart her tables answer %v", cube, got.Data)
		}
		if made := w.statements(before, "CREATE TABLE"); len(made) > 0 {
			t.Errorf("%s: after a restart what was there is made again: %s", cube, made[0].SQL)
		}
	}

	w.disconnect(w.alice, "databricks")
	const ofHeld = `{"measures":["held.total"],"dimensions":["held.region"]}`
	w.ask(w.alice, ofHeld).refused(t, http.StatusForbidden, "authorization_required")
	before := w.mark()
	w.connect(w.alice, "databricks")
	if external, types := used(t, w.ask(w.alice, ofHeld)); external || len(types) > 0 {
		t.Errorf("under the next grant the tables of the one before answer: %v", types)
	}
	w.askThere(w.alice, ofHeld, "held.by_day", "rollup")
	var dropped int
	for deadline := time.Now().Add(time.Minute); dropped < 2 && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		dropped = len(w.statements(before, "DROP TABLE IF EXISTS prod_pre_aggregations.r_held"))
	}
	if dropped < 2 {
		t.Errorf("%d tables of the grant that was revoked were dropped", dropped)
	}
	for _, s := range w.statements(before, "DROP TABLE") {
		if s.Identity != "alice" || s.Outcome != engine.Finished {
			t.Errorf("%s ran as %s: %s", s.SQL, s.Identity, s.Outcome)
		}
	}
}

// In Postgres the service account makes tables with their indexes, for everybody who may use the source, by sessions that write nothing else.
func TestARollupInPostgres(t *testing.T) {
	w, db := newLedger(t, "")
	_, err := db.Exec(t.Context(), "CREATE TABLE payments (id INT PRIMARY KEY, kind TEXT, amount NUMERIC, paid TIMESTAMP); "+
		"INSERT INTO payments SELECT n, chr(97 + n % 3), n * 0.5, TIMESTAMP '2024-01-01' + n * INTERVAL '9 hours' FROM generate_series(1, 300) n")
	w.must(err)
	w.write("model/ledger.yml", `cubes:
  - name: payments
    sql_table: payments
    data_source: ledger
    dimensions:
      - {name: kind, sql: kind, type: string}
      - {name: paid, sql: paid, type: time}
    measures: [{name: total, sql: amount, type: sum}]
    pre_aggregations:
      - {name: by_month, external: false, measures: [total], dimensions: [kind], time_dimension: paid, granularity: month, partition_granularity: month,
         indexes: [{name: kinds, columns: [kind]}]}
`)
	w.restart()
	const query = `{"measures":["payments.total"],"dimensions":["payments.kind"],"timeDimensions":[{"dimension":"payments.paid","granularity":"quarter","dateRange":["2024-01-01","2024-03-31"]}],"order":{"payments.kind":"asc"}}`
	source := w.ask(w.alice, query)
	source.ran(t, "service_account", "alice")
	got := w.askThere(w.alice, query, "payments.by_month", "rollup")
	got.ran(t, "service_account", "alice")
	if !reflect.DeepEqual(got.Data, source.Data) || len(got.Data) != 3 {
		t.Errorf("the tables answer %v, and the source %v", got.Data, source.Data)
	}
	var tables, indexes int
	w.must(db.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM pg_tables WHERE schemaname = 'prod_pre_aggregations'),
		(SELECT count(*) FROM pg_indexes WHERE schemaname = 'prod_pre_aggregations' AND indexdef LIKE '%(payments__kind)')`).Scan(&tables, &indexes))
	if tables != 3 || indexes != 3 {
		t.Errorf("there are %d tables and %d indexes, want one of each month", tables, indexes)
	}
	// Bob runs as the same account, and reads the same tables.
	if external, types := used(t, w.ask(w.bob, query)); external || types["payments.by_month"] != "rollup" {
		t.Errorf("bob is answered from %v", types)
	}
	// What somebody drops there is made again.
	_, err = db.Exec(t.Context(), "DROP SCHEMA prod_pre_aggregations CASCADE")
	w.must(err)
	if got := w.ask(w.alice, query); !reflect.DeepEqual(got.Data, source.Data) {
		t.Errorf("without its tables the source answers %v", got.Data)
	}
	if got := w.askThere(w.alice, query, "payments.by_month", "rollup"); !reflect.DeepEqual(got.Data, source.Data) {
		t.Errorf("the tables that were made again answer %v", got.Data)
	}
}
