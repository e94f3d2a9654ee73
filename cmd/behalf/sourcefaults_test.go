package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// heavy is a cube whose rows take their time, with a pre-aggregation that is kept here and one that is kept in the source, and one whose rows are
// there at once.
const heavy = `cubes:
  - name: heavy
    sql: SELECT n, chr(97 + n % 3) AS kind, pg_sleep(0.04) AS slept FROM generate_series(1, 15) n
    data_source: ledger
    dimensions: [{name: kind, sql: kind, type: string}]
    measures: [{name: total, sql: n, type: sum}, {name: most, sql: n, type: max}, {name: least, sql: n, type: min}]
    pre_aggregations:
      - {name: here, measures: [most], dimensions: [kind]}
      - {name: there, external: false, measures: [total], dimensions: [kind]}
  - name: light
    sql: SELECT 1 AS n
    data_source: ledger
    measures: [{name: n, sql: n, type: sum}]
`

// A database whose process is killed or frozen in the middle of a query or of a build fails that query, or that build, within its time, and nothing else:
// others are answered by the same database meanwhile, and what was built in vain is built when it is posted again.
func TestTheDatabaseIsKilledOrFrozenInTheMiddle(t *testing.T) {
	w, db := newLedger(t, "    limits: {query_timeout: 5s}\napi: {scopes: [data, jobs, meta]}\n")
	w.write("model/heavy.yml", heavy)
	w.restart()
	// backend waits for the process of the database that runs a statement of heavy, and of a table where one is made.
	backend := func(makes bool) (pid int) {
		t.Helper()
		eventually(t, "the database runs it", func() bool {
			err := db.QueryRow(t.Context(), "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep%' AND pid <> pg_backend_pid() AND (query LIKE 'CREATE TABLE%') = $1", makes).Scan(&pid)
			return err == nil
		})
		return pid
	}
	kill := func(pid int) {
		_, err := db.Exec(t.Context(), "SELECT pg_terminate_backend($1)", pid)
		w.must(err)
	}
	freeze := func(pid int) {
		w.must(syscall.Kill(pid, syscall.SIGSTOP))
		t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) }) // a test that failed leaves nobody frozen
	}
	thaw := func(pid int) { _ = syscall.Kill(pid, syscall.SIGCONT) } // it may have ended
	others := func() {
		t.Helper()
		w.ask(w.bob, `{"measures":["light.n"]}`).ran(t, "service_account", "bob")
	}
	jobs := func(body string, into any) {
		t.Helper()
		a := w.send(t.Context(), w.alice, http.MethodPost, "/cubejs-api/v1/pre-aggregations/jobs", w.sign("alice"), body)
		if err := json.Unmarshal([]byte(a.body), into); err != nil || a.status != http.StatusOK {
			t.Fatalf("the job: %d %s", a.status, a.body)
		}
	}
	for _, tt := range []struct {
		name  string
		end   func(pid int)
		after func(pid int)
	}{{"killed", kill, func(int) {}}, {"frozen", freeze, thaw}} {
		t.Run(tt.name+" in a query", func(t *testing.T) {
			answer := w.asking(w.alice, `{"measures":["heavy.least"]}`)
			pid := backend(false)
			tt.end(pid)
			others()
			a := <-answer
			tt.after(pid)
			if a.err != nil || a.status == http.StatusOK {
				t.Errorf("it is answered %d %s, %v", a.status, a.body, a.err)
			}
			w.ask(w.alice, `{"measures":["heavy.least"]}`).ran(t, "service_account", "alice")
		})
		for _, id := range []string{"heavy.here", "heavy.there"} {
			t.Run(tt.name+" in a build of "+id, func(t *testing.T) {
				var tokens []string
				status := func() string {
					var all []struct{ Status string }
					jobs(`{"action":"get","tokens":["`+tokens[0]+`"]}`, &all)
					return all[0].Status
				}
				post := func() {
					jobs(`{"action":"post","selector":{"contexts":[{"securityContext":{}}],"timezones":["UTC"],"preAggregations":["`+id+`"]}}`, &tokens)
				}
				w.write("model/heavy.yml", strings.ReplaceAll(heavy, "0.04", map[string]string{"killed": "0.041", "frozen": "0.042"}[tt.name])) // another rollup
				w.restart()
				post()
				pid := backend(id == "heavy.there")
				tt.end(pid)
				others()
				eventually(t, "the build failed", func() bool { return strings.HasPrefix(status(), "failure") })
				tt.after(pid)
				post()
				eventually(t, "the build is done", func() bool { return status() == "done" })
			})
		}
	}
}
