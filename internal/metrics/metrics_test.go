package metrics

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/oauthapps"
	"github.com/behalf-project/behalf/orchestrator"
)

var update = flag.Bool("update", false, "write the table of docs/operation.md")

// canary is what no label may ever hold.
const canary = "canary-alice"

// busy returns Metrics to which everything has happened, canaries wherever a caller could write one.
func busy(t *testing.T) *Metrics {
	t.Helper()
	var stats orchestrator.Stats
	stats.Orchestrators.Cold, stats.Orchestrators.Busy = 10_000, 3
	stats.Cache.Bytes, stats.Cache.Held = 4096, 512
	stats.Sources = []orchestrator.SourceStats{{Domain: "a", Name: "lake", Queued: 2, Open: 5, Idle: 1}, {Domain: "b", Name: "lake", Queued: 1, Open: 1}}
	m := New(Config{
		Version: "v1", Revision: "abc", GoVersion: "go1", Sources: []string{"lake", "quiet"},
		Stats: func() orchestrator.Stats { return stats }, RollupBytes: func() int64 { return 7 }, AuditErrors: func() uint64 { return 2 },
		KeyMade: func(context.Context) (time.Time, error) { return time.Now().Add(-time.Hour), nil },
		Authorizations: func(context.Context) (map[Authorization]int, error) {
			return map[Authorization]int{{"warehouse", connectedapps.Active}: 3, {"warehouse", connectedapps.Revoked}: 1}, nil
		},
	})
	m.ask(t.Context())
	src := driverfactory.Source{Name: "lake", Options: map[string]string{"host": canary}}
	for _, err := range append([]error{nil, errors.New(canary), fault.Kind(canary)}, kinds()...) {
		m.Answered(src, &orchestrator.Result{}, err)
		m.Built(err)
	}
	for _, res := range []*orchestrator.Result{{Cached: true}, {Cached: true, Stale: true}, {Rollup: canary}} {
		m.Answered(src, res, nil)
	}
	for _, stage := range append(driverfactory.Stages(), canary) {
		_, end := m.Stage(t.Context(), stage, time.Now())
		end(src, errors.New(canary))
	}
	for _, reason := range append(slices.Clone(reasons), canary) {
		m.FellBack("lake", reason)
	}
	for _, why := range append(orchestrator.Evictions(), canary) {
		m.Evicted(why)
	}
	for _, outcome := range append(slices.Clone(refreshOutcomes), canary) {
		m.Refreshed("warehouse", outcome)
	}
	for _, outcome := range append(slices.Clone(flowOutcomes), canary) {
		m.Ended("warehouse", outcome)
	}
	m.Ended("", "flow_expired")
	for _, method := range append(slices.Clone(methods), "CANARY-ALICE") {
		r := httptest.NewRequest(method, "/magic/"+canary+"?code="+canary, nil)
		r.Header.Set("Authorization", canary)
		_, done := m.Request(t.Context(), r)
		done("/magic/{token}", 200)
	}
	return m
}

func kinds() (all []error) {
	for _, k := range fault.Kinds() {
		all = append(all, fault.New(k, "%s", canary))
	}
	return all
}

// page returns what Prometheus reads.
func page(t *testing.T, m *Metrics) string {
	t.Helper()
	mux := http.NewServeMux()
	m.Mount(mux)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
		t.Fatalf("the page: %d %v", w.Code, w.Header())
	}
	return w.Body.String()
}

func TestThePageIsAsPrometheusWantsIt(t *testing.T) {
	problems, err := promlint.New(strings.NewReader(page(t, busy(t)))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// allowed are the values that each label may have. A label that is not here is not allowed.
var allowed = map[string]func(string) bool{
	"app":     in("warehouse", "unknown"),
	"cache":   in(caches...),
	"code":    regexp.MustCompile(`^[1-5][0-9][0-9]$`).MatchString,
	"kind":    in("results", "held", "rollups"),
	"method":  in(append(methods, other)...),
	"outcome": in(slices.Concat(outcomes, refreshOutcomes, flowOutcomes, []string{other})...),
	"reason":  in(slices.Concat(reasons, whyEvicted, []string{other})...),
	"route":   in("/magic/{token}"),
	"source":  in("lake", "quiet", ""),
	"stage":   in(append(stages, other)...),
	"state":   in("cold", "warm", "busy", "draining", "idle"),
	"status":  in(texts(connectedapps.Statuses())...),

	"version": in("v1"), "revision": in("abc"), "go_version": in("go1"),
}

func in(list ...string) func(string) bool {
	return func(v string) bool { return slices.Contains(list, v) }
}

func TestEveryLabelIsOneOfAList(t *testing.T) {
	m := busy(t)
	gathered, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]*dto.MetricFamily{}
	for _, f := range gathered {
		if name := f.GetName(); strings.HasPrefix(name, "behalf_") {
			seen[name] = f
		} else if !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
			t.Errorf("%s is nobody's", name)
		}
	}
	for _, want := range families {
		f := seen[want.name]
		if f == nil {
			t.Errorf("%s is not on the page", want.name)
			continue
		}
		delete(seen, want.name)
		if kind := strings.ToLower(f.GetType().String()); kind != want.kind || f.GetHelp() != want.help {
			t.Errorf("%s is a %s: %s", want.name, kind, f.GetHelp())
		}
		for _, one := range f.GetMetric() {
			var labels []string
			for _, l := range one.GetLabel() {
				labels = append(labels, l.GetName())
				if ok := allowed[l.GetName()]; ok == nil || !ok(l.GetValue()) {
					t.Errorf("%s has %s=%q, which is on no list", want.name, l.GetName(), l.GetValue())
				}
			}
			if !slices.Equal(slices.Sorted(slices.Values(labels)), slices.Sorted(slices.Values(want.labels))) {
				t.Errorf("%s has the labels %q, want %q", want.name, labels, want.labels)
			}
		}
	}
	for name := range seen {
		t.Errorf("%s is on the page and not in the list", name)
	}
	if text := page(t, m); strings.Contains(strings.ToLower(text), canary) {
		t.Errorf("the page holds what a caller wrote:\n%s", text)
	}
}

func TestFiguresAreThoseOfTheMoment(t *testing.T) {
	text := page(t, busy(t))
	for _, line := range []string{
		`behalf_query_queue_depth{source="lake"} 3`, // of both domains
		`behalf_query_queue_depth{source="quiet"} 0`,
		`behalf_pool_connections{source="lake",state="idle"} 1`,
		`behalf_pool_connections{source="lake",state="busy"} 5`,
		`behalf_orchestrators{state="cold"} 10000`,
		`behalf_cache_bytes{kind="rollups"} 7`,
		`behalf_audit_write_errors_total 2`,
		`behalf_authorizations{app="warehouse",status="active"} 3`,
		`behalf_queries_total{cache="stale",outcome="ok",source="lake"} 1`,
		`behalf_queries_total{cache="none",outcome="authorization_required",source="lake"} 1`,
		`behalf_queries_total{cache="none",outcome="other",source="lake"} 1`,
		`behalf_fallback_queries_total{reason="hook",source="quiet"} 0`, // for an alert on the first one
		`behalf_fallback_queries_total{reason="other",source="lake"} 1`,
		`behalf_query_queue_wait_seconds_count 1`,
		`behalf_http_requests_total{code="200",method="other",route="/magic/{token}"} 1`,
		`behalf_authorization_flows_total{app="unknown",outcome="flow_expired"} 1`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("the page has no line %s", line)
		}
	}
	age := regexp.MustCompile(`behalf_key_age_seconds ([0-9.e+]+)\n`).FindStringSubmatch(text)
	if age == nil {
		t.Fatal("the key has no age")
	}
	if n, err := strconv.ParseFloat(age[1], 64); err != nil || n < 3600 || n > 3900 {
		t.Errorf("the key is %s seconds old, want an hour", age[1])
	}
}

// A store that does not answer holds up no scrape, and what was read stays.
func TestTheStoreIsAskedBehind(t *testing.T) {
	fails := false
	m := New(Config{KeyMade: func(context.Context) (time.Time, error) {
		if fails {
			return time.Time{}, errors.New("no store")
		}
		return time.Now(), nil
	}})
	if text := page(t, m); strings.Contains(text, "behalf_key_age_seconds ") {
		t.Error("an age is told that nobody has asked for")
	}
	m.ask(t.Context())
	fails = true
	m.ask(t.Context())
	if text := page(t, m); !strings.Contains(text, "behalf_key_age_seconds ") {
		t.Error("the age is forgotten when the store does not answer")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Run(ctx); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}

// The lists here are those of the packages that say the words.
func TestTheListsAreWhole(t *testing.T) {
	for _, code := range []string{
		oauthapps.CodeInvalidGrant, oauthapps.CodeInvalidClient, oauthapps.CodeRateLimited, oauthapps.CodeProviderError, oauthapps.CodeNetworkError,
		oauthapps.CodeUnknownOutcome,
	} {
		if !slices.Contains(refreshOutcomes, code) {
			t.Errorf("a refresh may end as %s", code)
		}
	}
	for _, status := range connectedapps.Statuses() {
		if !slices.Contains(reasons, string(status)) {
			t.Errorf("a fallback may be because of %s", status)
		}
	}
}

// The table of the documentation is the list.
func TestTheDocumentationListsEveryMetric(t *testing.T) {
	const path, begin, end = "../../docs/operation.md", "<!-- metrics -->\n", "<!-- end of metrics -->\n"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", path)
	}
	var b strings.Builder
	b.WriteString("| metric | labels | what |\n|---|---|---|\n")
	for _, f := range families {
		labels := make([]string, len(f.labels))
		for i, l := range f.labels {
			labels[i] = "`" + l + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.name, strings.Join(labels, ", "), f.help)
	}
	want := before + begin + "\n" + b.String() + "\n" + end + after
	if want == string(text) {
		return
	}
	if !*update {
		t.Fatalf("%s does not list the metrics: go test ./internal/metrics -update", path)
	}
	if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Alerts and the dashboard ask for metrics that there are, with labels and values that those have; and the dashboard shows all
// of them that change.
func TestAlertsAndTheDashboardAskForMetricsThatThereAre(t *testing.T) {
	for _, file := range []string{"alerts.yml", "dashboard.json"} {
		text, err := os.ReadFile("../../docs/monitoring/" + file)
		if err != nil {
			t.Fatal(err)
		}
		asked := asksFor(t, file, strings.ReplaceAll(string(text), `\"`, `"`))
		for _, f := range families {
			if file == "dashboard.json" && !asked[f.name] && f.name != buildInfo.name && f.name != keyAge.name {
				t.Errorf("the dashboard does not show %s", f.name)
			}
		}
	}
}

// asksFor returns the metrics that the text of a file asks for.
func asksFor(t *testing.T, file, text string) map[string]bool {
	t.Helper()
	found, known := map[string]bool{}, map[string]family{}
	for _, f := range families {
		known[f.name] = f
		if f.kind == "histogram" {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				known[f.name+suffix] = f
			}
		}
	}
	asked := regexp.MustCompile(`(behalf_\w+)(?:\{([^}]*)\})?`).FindAllStringSubmatch(text, -1)
	if len(asked) < 5 {
		t.Fatalf("%s asks for %d metrics", file, len(asked))
	}
	for _, a := range asked {
		f, ok := known[a[1]]
		if !ok {
			t.Errorf("%s asks for %s, and there are %q", file, a[1], slices.Sorted(maps.Keys(known)))
		}
		found[f.name] = true
		for _, l := range regexp.MustCompile(`(\w+)\s*(?:=|!=|=~|!~)\s*"([^"]*)"`).FindAllStringSubmatch(a[2], -1) {
			if !slices.Contains(f.labels, l[1]) {
				t.Errorf("%s has no label %s", a[1], l[1])
				continue
			}
			for v := range strings.SplitSeq(l[2], "|") {
				if !allowed[l[1]](v) {
					t.Errorf("no %s of %s is ever %q", l[1], a[1], v)
				}
			}
		}
	}
	return found
}
