package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Refresh keys through the whole server: a Postgres whose rows change, read by its service account, and a warehouse that
// shows each person other rows.
func TestRefreshKeysOfARealDatabase(t *testing.T) {
	w, db := newLedger(t, "")
	exec := func(sql string) {
		t.Helper()
		_, err := db.Exec(t.Context(), sql)
		w.must(err)
	}
	exec("CREATE TABLE payments (id INT PRIMARY KEY, amount INT NOT NULL, version INT NOT NULL)")
	exec("INSERT INTO payments VALUES (1, 10, 1)")
	w.write("model/ledger.yml", `cubes:
  - name: payments
    sql_table: payments
    data_source: ledger
    refresh_key: {sql: "SELECT MAX(version) FROM {CUBE.sql()} AS p WHERE {FILTER_PARAMS.payments.id.filter('id')}", every: 1 second}
    dimensions: [{name: id, sql: id, type: number, primary_key: true, public: true}]
    measures: [{name: total, sql: amount, type: sum}]
  - name: broken
    sql_table: payments
    data_source: ledger
    refresh_key:
      sql: SELECT MAX(version) FROM no_such_table
    measures: [{name: count, type: count}]
  - name: own_orders
    sql_table: orders
    refresh_key: {sql: "SELECT COUNT(*) AS own_key FROM orders", every: 1 second}
    dimensions: [{name: region, sql: region, type: string}]
    measures: [{name: count, type: count}]
`)
	w.restart()
	load := func(b *browser, mode, query string) asked {
		t.Helper()
		return w.send(t.Context(), b, http.MethodPost, "/cubejs-api/v1/load", w.sign(b.username), `{"cache":"`+mode+`","query":`+query+`}`)
	}
	total := func(mode string) (string, bool) {
		t.Helper()
		got := load(w.alice, mode, `{"measures":["payments.total"],"filters":[{"member":"payments.id","operator":"lt","values":["100"]}]}`)
		got.ran(t, "service_account", "alice")
		if len(got.Data) != 1 {
			t.Fatalf("the answer is %s", got.body)
		}
		return got.Data[0]["payments.total"], strings.Contains(got.body, `"cached":true`)
	}
	if sum, cached := total("stale-if-slow"); sum != "10" || cached {
		t.Errorf("the first answer is %s, cached %t", sum, cached)
	}
	exec("UPDATE payments SET amount = 11") // the key does not say so
	for range 3 {
		time.Sleep(1100 * time.Millisecond) // the key is asked again each time
		if sum, cached := total("must-revalidate"); sum != "10" || !cached {
			t.Errorf("while the key is the same the answer is %s, cached %t, want what was fetched once", sum, cached)
		}
	}
	exec("INSERT INTO payments VALUES (200, 1000, 2)") // nor does it of what the query does not ask for
	time.Sleep(1100 * time.Millisecond)
	if sum, cached := total("must-revalidate"); sum != "10" || !cached {
		t.Errorf("while the key of the filtered rows is the same the answer is %s, cached %t", sum, cached)
	}
	exec("INSERT INTO payments VALUES (2, 31, 3)")
	eventually(t, "the changed key brings the new rows", func() bool { sum, _ := total("stale-if-slow"); return sum == "42" })
	exec("INSERT INTO payments VALUES (3, 58, 4)")
	eventually(t, "a renewal behind stale answers brings the new rows", func() bool { sum, _ := total("stale-while-revalidate"); return sum == "100" })

	load(w.alice, "stale-if-slow", `{"measures":["broken.count"]}`).refused(t, http.StatusBadRequest, "database_error",
		"The refresh_key of cube broken (ledger.yml:12) failed: ", "no_such_table")

	// Each person's keys are asked under their own credential.
	w.connect(w.alice, "databricks")
	w.connect(w.bob, "databricks")
	since := w.mark()
	for _, b := range []*browser{w.alice, w.bob} {
		for range 2 {
			load(b, "stale-if-slow", `{"measures":["own_orders.count"],"dimensions":["own_orders.region"]}`).ran(t, "user", b.username)
		}
	}
	if got := identities(w.statements(since, "own_key")); fmt.Sprint(got) != "[alice bob]" {
		t.Errorf("the key was asked as %v, want as alice and as bob", got)
	}
}
