// Package cubeclient runs published clients of Cube, @cubejs-client/core of npm, against a running server: the latest, over
// HTTP and over a WebSocket (@cubejs-client/ws-transport), and the last of 0.35.
//
// What a client makes of our answers is its authors' reading of them, so that a misunderstanding of ours cannot hide on
// both sides. client.mjs is the program; it asks about the cubes of Model.
package cubeclient

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// Model is the data model that the program asks about. Its rows are in its SQL, so that every source has them.
const Model = `cubes:
  - name: sales
    sql: >
      SELECT * FROM (VALUES
        (1, 'done', 'eu', CAST(10.50 AS DECIMAL(12,2)), TIMESTAMP '2024-03-01 08:00:00'), (2, 'done', 'eu', 20.00, TIMESTAMP '2024-03-02 09:00:00'),
        (3, 'open', 'eu', 100.00, TIMESTAMP '2024-03-01 23:59:59'), (4, 'done', 'us', 31.00, TIMESTAMP '2024-03-04 00:00:00'),
        (5, 'void', 'us', NULL, TIMESTAMP '2024-03-04 12:00:00')) AS t(id, status, region, amount, sold_at)
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true, public: true}
      - {name: status, sql: status, type: string}
      - {name: region, sql: region, type: string}
      - {name: sold_at, sql: sold_at, type: time}
    measures:
      - {name: count, type: count, drill_members: [id, region]}
      - {name: total, sql: amount, type: sum}
  - name: slow_sales
    sql: SELECT 1 AS id /* sandbox:sleep=2500ms */
    measures: [{name: count, type: count}]
  - name: slower_sales
    sql: SELECT 1 AS id /* sandbox:sleep=60s */
    measures: [{name: count, type: count}]
views:
  - name: sold
    cubes: [{join_path: sales, includes: [count]}]
`

// checks are the names of what every client checks, and young of what only the latest has.
var (
	checks = []string{
		"load", "load by POST, and by a token that is fetched", "numbers are cast on request", "compact", "the total of rows", "tablePivot",
		"chartPivot fills the dates that are missing", "comparison of date ranges", "multi-query", "drillDown",
		"a result that was stored", "a query of nulls, as query builders send it", "sql", "dryRun", "meta",
		"an error is a RequestError with its status", "subscribe over HTTP", "progressCallback", "mutex: only the last of two is answered",
	}
	young = []string{
		"columnar", "meta of views", "abort ends the request", "cubeSql", "cubeSql: a query that takes long", "cubeSql: an error is told", "cubeSqlStream", "over a WebSocket: load, sql, dryRun and meta", "over a WebSocket: a query that takes long",
		"over a WebSocket: an error is a RequestError with its status", "over a WebSocket: subscribe",
	}
)

// Run runs the program with each client against the server at url, with a token that the query API takes. Every check is
// a subtest. A machine without Node, or without the packages, fails the test: make setup installs them.
func Run(t *testing.T, url, token string) {
	t.Run("latest", func(t *testing.T) { run(t, "@cubejs-client/core", url, token, slices.Concat(checks, young)) })
	t.Run("0.35", func(t *testing.T) { run(t, "cubejs-client-core-of-old", url, token, checks) })
}

func run(t *testing.T, name, url, token string, checks []string) {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	folder := filepath.Dir(file)
	if _, err := os.Stat(filepath.Join(folder, "node_modules", filepath.FromSlash(name))); err != nil {
		t.Fatalf("cubeclient: the npm package is not installed; run: make setup (%v)", err)
	}
	client, err := json.Marshal(map[string]string{"url": url, "token": token, "package": name})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", "client.mjs")
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "CLIENT="+string(client))
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("cubeclient: %v; the tests need Node 20.19 or newer\n%s", err, &errs)
	}
	said := map[string]string{}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		verdict, name, _ := strings.Cut(lines.Text(), " ")
		said[name] = verdict
	}
	for _, name := range checks {
		t.Run(name, func(t *testing.T) {
			if said[name] != "ok" {
				t.Errorf("it says %q\n%s", said[name], &errs)
			}
		})
	}
}
