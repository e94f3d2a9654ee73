package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/zap"

	"github.com/behalf-project/behalf/config"
	"github.com/behalf-project/behalf/internal/jwtauth"
	"github.com/behalf-project/behalf/internal/secret"
)

const compatibility = "docs/reference/compatibility.md"

// The cubes that the examples of the compatibility tables ask.
const compatibilityModel = `cubes:
  - name: orders
    sql: >
      SELECT * FROM (VALUES (1, 1, 'done', TIMESTAMP '2026-03-01 08:00:00'), (2, 1, 'open', TIMESTAMP '2026-03-02 09:00:00'))
      AS t(id, customer_id, status, created_at)
    joins: [{name: customers, relationship: many_to_one, sql: "{CUBE}.customer_id = {customers.id}"}]
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true, public: true}
      - {name: status, sql: status, type: string}
      - {name: created_at, sql: created_at, type: time, granularities: [{name: fiscal_year, interval: 1 year, offset: 3 months}]}
    measures: [{name: count, type: count}]
    segments: [{name: done, sql: "{CUBE}.status = 'done'"}]
  - name: customers
    sql: SELECT 1 AS id
    dimensions: [{name: id, sql: id, type: number, primary_key: true, public: true}]
`

// peer is a running server over DuckDB, and who asks it.
type peer struct {
	t           *testing.T
	base, token string
}

func newPeer(t *testing.T) *peer {
	t.Helper()
	inFolder(t, map[string]string{"model/model.yml": compatibilityModel})
	const key = "a secret of tests that is as long as one should be"
	port := strconv.Itoa(freePort(t))
	cfg, err := config.Load(config.Options{Environ: []string{
		"CUBEJS_API_SECRET=" + key, "PORT=" + port, "CUBEJS_DB_TYPE=duckdb", "CUBEJS_DEFAULT_API_SCOPES=graphql,meta,data,sql,jobs",
		"BEHALF_SERVER_ADMIN_LISTEN=off", "BEHALF_API_CONTINUE_WAIT=90s",
	}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := assemble(t.Context(), cfg, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
		s.Close()
	})
	token, err := jwtauth.Sign(secret.New(key), map[string]any{"sub": "s1"}, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t, "http://127.0.0.1:" + port, token.Reveal()}
	await(t, p.base+"/readyz")
	return p
}

// ask sends a request, with a body in JSON where there is one.
func (p *peer) ask(method, path, body string) (status int, answer string) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.base+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", p.token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// load asks load by POST with these members of the body.
func (p *peer) load(body map[string]any) (int, string) {
	p.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.ask(http.MethodPost, "/cubejs-api/v1/load", string(text))
}

// rows returns the rows of the table of a page whose first column has this name, without the marks of code.
func rows(t *testing.T, page, column string) (found [][]string) {
	t.Helper()
	inside := false
	for line := range strings.Lines(page) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "| "+column+" |"):
			inside = true
		case !strings.HasPrefix(line, "|"):
			inside = false
		case inside && !strings.HasPrefix(line, "| ---"):
			var cells []string
			for cell := range strings.SplitSeq(strings.Trim(line, "|"), " |") {
				cells = append(cells, strings.Trim(strings.TrimSpace(cell), "`"))
			}
			found = append(found, cells)
		}
	}
	if len(found) == 0 {
		t.Fatalf("the page has no table of %q", column)
	}
	return found
}

// answers fails the test unless an answer is what a row says: a status, and the beginning of an error.
func answers(t *testing.T, row []string, says string, status int, body string) {
	t.Helper()
	want, text, _ := strings.Cut(says, " ")
	var got struct{ Error string }
	first, _, _ := strings.Cut(body, "\n") // of an answer in lines
	if err := json.Unmarshal([]byte(first), &got); err != nil && status != http.StatusNotFound {
		t.Errorf("%v: the answer is no JSON: %s", row, body)
	}
	held := strconv.Itoa(status) == want && (status != http.StatusOK || got.Error == "")
	for part := range strings.SplitSeq(text, "…") {
		held = held && strings.Contains(got.Error, part)
	}
	if !held {
		t.Errorf("%v: answered %d %s", row, status, body)
	}
}

// Each row of docs/reference/compatibility.md is asked of a running server.
func TestTheCompatibilityTablesAreTrue(t *testing.T) {
	page := documents(t)[compatibility] // before the working folder is another
	p := newPeer(t)
	measures := []string{"orders.count"}
	t.Run("endpoints", func(t *testing.T) {
		const q = `{"measures":["orders.count"]}`
		bodies := map[string]string{
			"pre-aggregations/jobs":    `{"action":"post","selector":{"contexts":[{"securityContext":{}}],"timezones":["UTC"]}}`,
			"pre-aggregations/can-use": `{"transformedQuery":{"measures":["orders.count"]},"references":{}}`,
			"convert-query":            `{"input":"sql","output":"rest","query":"SELECT MEASURE(count) FROM orders"}`,
			"cubesql":                  `{"query":"SELECT MEASURE(count) FROM orders"}`,
			"graphql-to-json":          `{"query":"{ cube { orders { count } } }"}`,
			"/cubejs-api/graphql":      `{"query":"{ cube { orders { count } } }"}`,
		}
		for _, row := range rows(t, page, "method") {
			path, body := row[1], bodies[row[1]]
			asked := url.QueryEscape(q)
			if path == "/cubejs-api/graphql" {
				asked = url.QueryEscape("{ cube { orders { count } } }")
			}
			if body == "" {
				body = `{"query":` + q + `}`
			}
			if !strings.HasPrefix(path, "/") {
				path = "/cubejs-api/v1/" + strings.ReplaceAll(path, "{requestID}", "none")
			}
			for method := range strings.FieldsSeq(row[0]) {
				status, answer := 0, ""
				if method == http.MethodPost {
					status, answer = p.ask(method, path, body)
				} else {
					status, answer = p.ask(method, path+"?query="+asked, "")
				}
				want, _ := strconv.Atoi(row[3])
				if status != want {
					t.Errorf("%s %s answers %d %s, want %d", method, path, status, answer, want)
				}
			}
		}
	})
	t.Run("parameters", func(t *testing.T) {
		for _, row := range rows(t, page, "parameter") {
			params := url.Values{"query": {`{"measures":["orders.count"]}`}}
			params.Set(row[0], row[1])
			status, body := p.ask(http.MethodGet, "/cubejs-api/v1/load?"+params.Encode(), "")
			answers(t, row, row[2], status, body)
		}
	})
	t.Run("keys", func(t *testing.T) {
		for _, row := range rows(t, page, "key") {
			query := map[string]any{"measures": measures}
			if strings.HasPrefix(row[1], `{"dimension"`) {
				query["timeDimensions"] = []json.RawMessage{json.RawMessage(row[1])}
			} else {
				query[row[0]] = json.RawMessage(row[1])
			}
			status, body := p.load(map[string]any{"query": query, "queryType": "multi"})
			answers(t, row, row[2], status, body)
		}
	})
	t.Run("filters", func(t *testing.T) {
		for _, row := range rows(t, page, "operator") {
			status, body := p.load(map[string]any{"query": map[string]any{"measures": measures, "filters": []json.RawMessage{json.RawMessage(row[1])}}})
			answers(t, row, row[2], status, body)
		}
	})
	t.Run("fields", func(t *testing.T) {
		query := map[string]any{"measures": measures, "total": true}
		for column, body := range map[string]map[string]any{"field": {"query": query}, "envelope": {"query": query, "queryType": "multi"}} {
			_, answer := p.load(body)
			var there map[string]json.RawMessage
			if err := json.Unmarshal([]byte(answer), &there); err != nil {
				t.Fatalf("%v: %s", err, answer)
			}
			table := rows(t, page, column)
			for _, row := range table {
				if _, ok := there[row[0]]; ok != (row[1] == "yes") {
					t.Errorf("%s %s is there: %t, and the page says %s", column, row[0], ok, row[1])
				}
			}
			for name := range there {
				if !slices.ContainsFunc(table, func(row []string) bool { return row[0] == name }) {
					t.Errorf("%s %s is not on the page", column, name)
				}
			}
		}
	})
	t.Run("SELECTs", func(t *testing.T) {
		for _, row := range rows(t, page, "part of a SELECT") {
			body, err := json.Marshal(map[string]string{"input": "sql", "output": "rest", "query": row[1]})
			if err != nil {
				t.Fatal(err)
			}
			status, answer := p.ask(http.MethodPost, "/cubejs-api/v1/convert-query", string(body))
			var got struct {
				Status string
				Query  json.RawMessage
			}
			if err := json.Unmarshal([]byte(answer), &got); err != nil || status != http.StatusOK || got.Status != row[2] {
				t.Errorf("%v: answered %d %s", row, status, answer)
			}
			if got.Query != nil {
				if status, answer := p.load(map[string]any{"query": got.Query}); status != http.StatusOK {
					t.Errorf("%v: the query is answered %d %s", row, status, answer)
				}
			}
		}
	})
	t.Run("methods of a WebSocket", func(t *testing.T) {
		ws, _, err := websocket.Dial(t.Context(), strings.Replace(p.base, "http", "ws", 1)+"/cubejs-api/v1/ws", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer ws.CloseNow() //nolint:errcheck // it is done with
		say := func(text string) {
			if err := ws.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		say(`{"authorization":"` + p.token + `"}`)
		for i, row := range rows(t, page, "method of a socket") {
			id := strconv.Itoa(i + 1)
			say(`{"messageId":"` + id + `","method":"` + row[0] + `","params":` + row[1] + `}`)
			for {
				_, data, err := ws.Read(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				var m struct {
					MessageID string
					Status    int
					Message   json.RawMessage
				}
				if err := json.Unmarshal(data, &m); err == nil && m.MessageID == id && m.Message != nil {
					answers(t, row, row[2], m.Status, string(m.Message))
					break
				}
			}
		}
	})
	t.Run("GraphQL", func(t *testing.T) {
		for _, row := range rows(t, page, "what") {
			body, err := json.Marshal(map[string]string{"query": row[1]})
			if err != nil {
				t.Fatal(err)
			}
			if status, answer := p.ask(http.MethodPost, "/cubejs-api/graphql", string(body)); strconv.Itoa(status) != row[2] {
				t.Errorf("%v: answered %d %s", row, status, answer)
			}
		}
	})
}

func TestTheVariablesOfTheCompatibilityTableAreRead(t *testing.T) {
	for _, row := range rows(t, documents(t)[compatibility], "variable") {
		cfg, _ := config.Load(config.Options{Environ: []string{row[0] + "=x"}}) // which may be no value of it
		if read := !slices.Contains(cfg.Unused, row[0]); read != (row[1] == "yes") {
			t.Errorf("%s is read: %t, and the page says %s", row[0], read, row[1])
		}
	}
}

// The clients of the page are those that TestThePublishedClientOfCube runs.
func TestTheClientsOfTheCompatibilityTableAreTested(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "internal/sandbox/cubeclient/package.json"))
	if err != nil {
		t.Fatal(err)
	}
	var installed struct{ Dependencies map[string]string }
	if err := json.Unmarshal(text, &installed); err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for name, version := range installed.Dependencies {
		if other, ok := strings.CutPrefix(version, "npm:"); ok {
			i := strings.LastIndexByte(other, '@')
			name, version = other[:i], other[i+1:]
		}
		want = append(want, name+" "+version)
	}
	for _, row := range rows(t, documents(t)[compatibility], "package of npm") {
		got = append(got, row[0]+" "+row[1])
	}
	slices.Sort(want)
	slices.Sort(got)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the page has %v, and tested are %v", got, want)
	}
}
