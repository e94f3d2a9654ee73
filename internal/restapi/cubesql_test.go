package restapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/orchestrator"
	"github.com/google/go-cmp/cmp"
)

// A SELECT over cubes is answered in lines: the schema, then rows, in the order of its columns (cube-rest-api.md §15.1).
func TestASelectIsAnsweredInLines(t *testing.T) {
	var rows [][]any
	f := newFrontOf(t, rolledUpModel, func(r orchestrator.Request) (*orchestrator.Result, error) { return resultOf(rows...) })
	ask := func(body string) (lines []string) {
		t.Helper()
		w := f.do(http.MethodPost, "/cubejs-api/v1/cubesql", body)
		if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") {
			t.Fatalf("%d %s %s", w.Code, w.Header(), w.Body)
		}
		return strings.Split(strings.TrimSuffix(w.Body.String(), "\n"), "\n")
	}
	const statement = `{"query":"SELECT COUNT(*) AS n, status, DATE_TRUNC('day', created_at), status AS again FROM orders WHERE city = 'Rome' GROUP BY 2, 3 ORDER BY 1 DESC LIMIT 5","timezone":"America/New_York","cache":"must-revalidate"}`
	rows = [][]any{{"new", now, int64(3)}, {nil, now, int64(1)}}
	lines := ask(statement)
	schema := `{"schema":[{"name":"n","column_type":"Int64"},{"name":"status","column_type":"String"},{"name":"date_trunc","column_type":"Timestamp"},{"name":"again","column_type":"String"}],`
	if !strings.HasPrefix(lines[0], schema) || !strings.Contains(lines[0], `"runAs":{`) {
		t.Errorf("the schema is %s", lines[0])
	}
	want := []string{`{"data":[["3","new","2026-11-22T08:00:00.000","new"],["1",null,"2026-11-22T08:00:00.000",null]]}`}
	if diff := cmp.Diff(want, lines[1:]); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	r := f.seen[0]
	if sql := r.Statement.SQL; !strings.Contains(sql, "America/New_York") || !strings.Contains(sql, "LIMIT 5") || strings.Contains(sql, "Rome") || r.Cache != orchestrator.MustRevalidate {
		t.Errorf("it ran, with the cache mode %s, %s", r.Cache, sql)
	}

	rows = nil
	if lines := ask(statement); len(lines) != 2 || lines[1] != `{"data":[]}` {
		t.Errorf("no rows are %q, want a line without any", lines)
	}
	for n := range 2500 {
		rows = append(rows, []any{fmt.Sprint("s", n), now, int64(n)})
	}
	var all [][]any
	for n, line := range ask(statement)[1:] {
		var some struct{ Data [][]any }
		if err := json.Unmarshal([]byte(line), &some); err != nil || len(some.Data) == 0 || len(some.Data) > rowsInLine {
			t.Fatalf("line %d has %d rows: %v", n, len(some.Data), err)
		}
		all = append(all, some.Data...)
	}
	if len(all) != len(rows) || all[2499][1] != "s2499" {
		t.Errorf("%d rows came, want %d", len(all), len(rows))
	}
}

// What is wrong with a SELECT is a refusal, and who asks again is told to; the others are held.
func TestASelectThatIsNotAnswered(t *testing.T) {
	waits := 2
	f := newFrontOf(t, rolledUpModel, func(orchestrator.Request) (*orchestrator.Result, error) {
		if waits--; waits >= 0 {
			return nil, &orchestrator.ContinueWait{Stage: "Executing query"}
		}
		return resultOf([]any{int64(3)})
	})
	for _, tt := range []struct {
		name, body string
		code       int
		says       string
	}{
		{"nothing", `{}`, 400, "query parameter must be a non-empty string"},
		{"no SQL", `{"query":"SELEKT 1"}`, 400, "Line 1, column 1"},
		{"a member that is not there", `{"query":"SELECT nothing FROM orders"}`, 400, "Line 1, column 8"},
		{"more rows than there may be", `{"query":"SELECT status FROM orders LIMIT 1000000"}`, 400, "rows at most"},
		{"no such cache mode", `{"query":"SELECT COUNT(*) FROM orders","cache":"never"}`, 400, "must be one of [stale-if-slow"},
		{"who asks again", `{"query":"SELECT COUNT(*) FROM orders","throwContinueWait":true}`, 200, `"error":"Continue wait"`},
		{"who does not", `{"query":"SELECT COUNT(*) FROM orders"}`, 200, `{"data":[["3"]]}`},
	} {
		if w := f.do(http.MethodPost, "/cubejs-api/v1/cubesql", tt.body); w.Code != tt.code || !strings.Contains(w.Body.String(), tt.says) {
			t.Errorf("%s: %d %s, want %d and %q", tt.name, w.Code, w.Body, tt.code, tt.says)
		}
	}
	f = newFrontOf(t, rolledUpModel, func(orchestrator.Request) (*orchestrator.Result, error) {
		return nil, fault.New(fault.AuthorizationRequired, "Connect.")
	})
	if w := f.do(http.MethodPost, "/cubejs-api/v1/cubesql", `{"query":"SELECT COUNT(*) FROM orders"}`); w.Code != http.StatusForbidden {
		t.Errorf("without a grant: %d %s", w.Code, w.Body)
	}
}
