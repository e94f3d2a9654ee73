package main

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

// What operators see of a query: figures on the admin listener, spans at a collector, the trace in the log; nobody's name.
func TestAQueryIsSeenFromOutside(t *testing.T) {
	const traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	var mu sync.Mutex
	spans, sent := map[string]bool{}, []byte(nil)
	otlp := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var request collector.ExportTraceServiceRequest
		if err != nil || proto.Unmarshal(body, &request) != nil {
			t.Error("the collector was sent what is no trace")
			return
		}
		mu.Lock()
		defer mu.Unlock()
		sent = append(sent, body...)
		for _, of := range request.ResourceSpans {
			for _, scope := range of.ScopeSpans {
				for _, s := range scope.Spans {
					if hex.EncodeToString(s.TraceId) == traceID {
						spans[s.Name] = true
					}
				}
			}
		}
	}))
	t.Cleanup(otlp.Close)
	w := newWorld(t, worldConfig{environ: []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + otlp.URL}})
	page := func() string {
		t.Helper()
		a := httptest.NewRecorder()
		w.server.adminHandler().ServeHTTP(a, httptest.NewRequest(http.MethodGet, "http://localhost/metrics", nil))
		return a.Body.String()
	}
	before := page()
	w.connect(w.alice, "databricks")

	token, err := w.alice.token(t.Context())
	w.must(err)
	header := http.Header{"Authorization": {token}, "Traceparent": {"00-" + traceID + "-00f067aa0ba902b7-01"}}
	answered, err := w.alice.do(t.Context(), http.MethodGet, "/cubejs-api/v1/load?query="+url.QueryEscape(countOnly), header, nil)
	w.must(err)
	if answered.status != 200 || strings.Contains(string(answered.body), "Continue wait") {
		t.Fatalf("the query = %d %s", answered.status, answered.body)
	}
	w.ask(w.bob, countOnly).refused(t, 403, "authorization_required")
	if a := w.get(w.alice, "/metrics"); strings.Contains(string(a.body), "behalf_build_info") {
		t.Error("the public listener has the page")
	}
	after := ""
	eventually(t, "the requests are counted", func() bool {
		after = page()
		return strings.Contains(after, `behalf_http_requests_total{code="403",method="GET",route="/cubejs-api/v1/load"} 1`)
	})
	for _, line := range []string{
		`behalf_queries_total{cache="miss",outcome="ok",source="default"} 1`,
		`behalf_queries_total{cache="none",outcome="authorization_required",source="default"} 1`,
		`behalf_http_requests_total{code="200",method="GET",route="/cubejs-api/v1/load"} 1`,
		`behalf_query_stage_duration_seconds_count{source="default",stage="execute"} 1`,
		`behalf_query_stage_duration_seconds_count{source="default",stage="plan"} 2`,
		`behalf_query_queue_wait_seconds_count 1`,
		`behalf_authorization_flows_total{app="databricks",outcome="connected"} 1`,
		`behalf_audit_write_errors_total 0`,
		`behalf_query_queue_depth{source="default"} 0`,
	} {
		if strings.Contains(before, line+"\n") && strings.HasSuffix(line, " 1") || !strings.Contains(after, line+"\n") {
			t.Errorf("the page has not, or had before: %s", line)
		}
	}
	for _, name := range []string{"alice", "bob", "carol", "usr_", "orders"} {
		if strings.Contains(after, name) {
			t.Errorf("the page of metrics says %s", name)
		}
	}
	if !strings.Contains(w.logs.String(), `"trace_id":"`+traceID+`"`) {
		t.Error("the log does not name the trace")
	}

	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	w.as("alice", "account")
	lines, followed := follow(t, "queries", "tail", "-o", "json")
	if line := <-lines; !strings.HasPrefix(line, `{"whole":true`) {
		t.Errorf("a live view begins with %s", line)
	}
	w.restart() // what is left is sent at the end
	for range lines {
	}
	if code := followed(); code != exitFailure {
		t.Errorf("a live view ended with %d when the server stopped, want with what the server said", code)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, name := range []string{"GET /cubejs-api/v1/load", "verify", "plan", "queue", "connect", "execute", "encode"} {
		if !spans[name] {
			t.Errorf("no span %q came, but %v", name, spans)
		}
	}
	for _, word := range []string{"alice", "usr_", "orders", token} {
		if strings.Contains(string(sent), word) {
			t.Errorf("spans say %q", word)
		}
	}
	w.evidence.keepText("the spans", sent) // to be searched for secrets with all the rest
}
