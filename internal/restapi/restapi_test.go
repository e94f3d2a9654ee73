package restapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/query"
	"github.com/behalf-project/behalf/internal/rowset"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/orchestrator"
	"github.com/google/go-cmp/cmp"
)

const model = `
cubes:
  - name: orders
    sql_table: public.orders
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: status, sql: status, type: string}
      - {name: created_at, sql: created_at, type: time}
    measures:
      - {name: count, type: count}
`

var now = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

// front is a Handler over one cube whose statements are answered by load.
type front struct {
	mux     *http.ServeMux
	handler *Handler
	scopes  []string // of everybody
	mu      sync.Mutex
	seen    []orchestrator.Request
}

func newFront(t *testing.T, load func(orchestrator.Request) (*orchestrator.Result, error), change ...func(*Config)) *front {
	t.Helper()
	return newFrontOf(t, model, load, change...)
}

// newFrontOf is newFront over the cubes of a model in YAML.
func newFrontOf(t *testing.T, model string, load func(orchestrator.Request) (*orchestrator.Result, error), change ...func(*Config)) *front {
	t.Helper()
	m, err := datamodel.Load(fstest.MapFS{"orders.yml": {Data: []byte(model)}})
	if err != nil {
		t.Fatal(err)
	}
	f := &front{mux: http.NewServeMux(), scopes: DefaultScopes}
	cfg := Config{
		Verify: func(r *http.Request) (securitycontext.Context, error) {
			h := r.Header
			if h.Get("Authorization") != "alice" {
				return securitycontext.Context{}, &fault.Error{Kind: fault.Unauthenticated, Code: "invalid_token", Detail: "Invalid token"}
			}
			return securitycontext.Context{Domain: "dom", Username: "alice", Principal: securitycontext.Principal{Realm: "local", Subject: "usr_1"}}, nil
		},
		Model: func(context.Context, securitycontext.Context) (*datamodel.Model, error) { return m, nil },
		Source: func(domain, name string) (driverfactory.Source, error) {
			return driverfactory.Source{Domain: domain, Name: name, Type: "postgres"}, nil
		},
		Load: func(_ context.Context, _ securitycontext.Context, r orchestrator.Request) (*orchestrator.Result, error) {
			f.mu.Lock()
			f.seen = append(f.seen, r)
			f.mu.Unlock()
			return load(r)
		},
		Scopes: func(context.Context, securitycontext.Context) ([]string, error) { return f.scopes, nil },
		Cancel: func(id string, p securitycontext.Principal) []orchestrator.Canceled {
			if id != "tile-span-2" || p.Subject != "usr_1" {
				return nil
			}
			return []orchestrator.Canceled{{RequestID: "tile-span-1", Statement: "abc"}, {RequestID: "tile-span-1", Statement: "def", Queued: true}}
		},
		Now: func() time.Time { return now },
	}
	for _, c := range change {
		c(&cfg)
	}
	f.handler = New(cfg)
	f.handler.Mount(f.mux)
	return f
}

func (f *front) do(method, path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "alice")
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	f.mux.ServeHTTP(w, r)
	return w
}

func (f *front) get(path, query string) *httptest.ResponseRecorder {
	return f.do(http.MethodGet, "/cubejs-api/v1/"+path+"?query="+url.QueryEscape(query), "")
}

func decode(t *testing.T, w *httptest.ResponseRecorder) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return v
}

var asAlice = driverfactory.RunAs{Identity: driverfactory.IdentityUser, Username: "alice", DataSource: "default", Credential: "active", Reason: "grant"}

// shipped answers every statement with the rows of one query: a status, a day and a count.
func shipped(r orchestrator.Request) (*orchestrator.Result, error) {
	if strings.Contains(r.Statement.SQL, "total_count") {
		return resultOf([]any{int64(2)})
	}
	day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return resultOf([]any{"shipped", day, int64(812)}, []any{nil, day, driverfactory.Decimal("3")})
}

func resultOf(rows ...[]any) (*orchestrator.Result, error) {
	result, err := orchestrator.NewResult(rows)
	if err != nil {
		return nil, err
	}
	result.RunAs, result.RefreshedAt = asAlice, now
	return result, nil
}

const daily = `{"measures":["orders.count"],"dimensions":["orders.status"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"day"}],"total":true}`

func TestLoadAnswersInCubesShape(t *testing.T) {
	f := newFront(t, shipped)
	w := f.get("load", daily)
	v := decode(t, w)
	wantData := []any{
		map[string]any{"orders.status": "shipped", "orders.created_at.day": "2026-01-01T00:00:00.000", "orders.created_at": "2026-01-01T00:00:00.000", "orders.count": "812"},
		map[string]any{"orders.status": nil, "orders.created_at.day": "2026-01-01T00:00:00.000", "orders.created_at": "2026-01-01T00:00:00.000", "orders.count": "3"},
	}
	if diff := cmp.Diff(wantData, v["data"]); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
	for key, want := range map[string]any{"dbType": "postgres", "dataSource": "default", "slowQuery": false, "total": 2.0, "lastRefreshTime": "2026-11-22T08:00:00.000Z", "external": false} {
		if v[key] != want {
			t.Errorf("%s = %v, want %v", key, v[key], want)
		}
	}
	wantRunAs := map[string]any{"identity": "user", "username": "alice", "dataSource": "default", "credential": "active", "reason": "grant"}
	if diff := cmp.Diff(wantRunAs, v["runAs"]); diff != "" {
		t.Errorf("runAs (-want +got):\n%s", diff)
	}
	if got := w.Header().Get("Behalf-Run-As"); got != `user;username="alice"` {
		t.Errorf("Behalf-Run-As = %s", got)
	}
	q := v["query"].(map[string]any)
	if q["rowLimit"] != 10000.0 || q["timezone"] != "UTC" || q["cacheMode"] != nil {
		t.Errorf("query = %v", q)
	}
}

func TestTheWaysToAskAreEqual(t *testing.T) {
	f := newFront(t, shipped)
	want := f.get("load", daily).Body.String()
	text, err := json.Marshal(daily)
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]*httptest.ResponseRecorder{
		"POST with an object":  f.do(http.MethodPost, "/cubejs-api/v1/load", `{"query":`+daily+`}`),
		"POST with a string":   f.do(http.MethodPost, "/cubejs-api/v1/load", `{"query":`+string(text)+`}`),
		"the alias, subscribe": f.get("subscribe", daily),
	} {
		if got.Body.String() != want {
			t.Errorf("%s: got %s, want %s", name, got.Body, want)
		}
	}
}

func TestTheMultiEnvelope(t *testing.T) {
	f := newFront(t, shipped)
	v := decode(t, f.do(http.MethodGet, "/cubejs-api/v1/load?queryType=multi&query="+url.QueryEscape(daily), ""))
	results, _ := v["results"].([]any)
	if v["queryType"] != "regularQuery" || len(results) != 1 || v["slowQuery"] != false {
		t.Fatalf("envelope = %v", v)
	}
	if pivot := v["pivotQuery"].(map[string]any); pivot["queryType"] != "regularQuery" {
		t.Errorf("pivotQuery = %v", pivot)
	}
	if v["runAs"].(map[string]any)["username"] != "alice" || results[0].(map[string]any)["data"] == nil {
		t.Errorf("runAs or data is missing in %v", v)
	}
}

func TestFormatsOfRows(t *testing.T) {
	f := newFront(t, shipped)
	for format, want := range map[string]string{
		"compact":  `{"members":["orders.status","orders.created_at.day","orders.created_at","orders.count"],"dataset":[["shipped","2026-01-01T00:00:00.000","2026-01-01T00:00:00.000","812"],[null,"2026-01-01T00:00:00.000","2026-01-01T00:00:00.000","3"]]}`,
		"columnar": `{"members":["orders.status","orders.created_at.day","orders.created_at","orders.count"],"columns":[["shipped",null],["2026-01-01T00:00:00.000","2026-01-01T00:00:00.000"],["2026-01-01T00:00:00.000","2026-01-01T00:00:00.000"],["812","3"]]}`,
	} {
		w := f.get("load", strings.Replace(daily, `{"measures"`, `{"responseFormat":"`+format+`","measures"`, 1))
		if !strings.Contains(w.Body.String(), `"data":`+want) {
			t.Errorf("%s: %s\nwant data %s", format, w.Body, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	connect := &fault.Error{
		Kind: fault.AuthorizationRequired, Detail: "Connect your Databricks account to run this query.",
		Actions: []fault.Action{{Rel: "authorize", Href: "http://localhost:4000/connect/databricks", Label: "Connect"}},
		Params:  map[string]string{"data_source": "default", "oauth_app": "databricks"},
	}
	for _, tt := range []struct {
		name   string
		err    error
		status int
		want   map[string]any
	}{
		{"not connected", connect, 403, map[string]any{
			"code": "authorization_required", "dataSource": "default", "oauthApp": "databricks", "authorize_url": "http://localhost:4000/connect/databricks",
			"error": "Connect your Databricks account to run this query. http://localhost:4000/connect/databricks",
		}},
		{"the provider is down", &fault.Error{Kind: fault.RefreshFailing, Detail: "x", RetryAfter: 1500 * time.Millisecond}, 503, map[string]any{"code": "refresh_failing"}},
		{"too many waiting", &fault.Error{Kind: fault.TooMany, Code: "too_many_queued", Detail: "x", RetryAfter: time.Second}, 429, map[string]any{"code": "too_many_queued"}},
		{"the database refuses", &fault.Error{Kind: fault.Denied, Code: "database_denied", Owner: fault.Database, Detail: "no SELECT on orders"}, 400, map[string]any{"code": "database_denied", "error": "Error: no SELECT on orders"}},
		{"it took too long", &fault.Error{Kind: fault.Timeout, Code: "query_timeout", Detail: "Query execution timeout after 10 min of waiting"}, 400, map[string]any{"code": "query_timeout", "error": "Error: Query execution timeout after 10 min of waiting"}},
		{"something of ours broke", errors.New("canary"), 500, map[string]any{"error": "Internal Server Error", "code": "internal"}},
		{"not ready yet", &orchestrator.ContinueWait{Stage: "#2 in queue", Elapsed: 5 * time.Second}, 200, map[string]any{"error": "Continue wait", "stage": "#2 in queue", "timeElapsed": 5000.0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newFront(t, func(orchestrator.Request) (*orchestrator.Result, error) { return nil, tt.err }).get("load", `{"measures":["orders.count"]}`)
			v := decode(t, w)
			for key, want := range tt.want {
				if v[key] != want {
					t.Errorf("%s = %v, want %v", key, v[key], want)
				}
			}
			if w.Code != tt.status {
				t.Errorf("status = %d, want %d", w.Code, tt.status)
			}
			if strings.Contains(w.Body.String(), "canary") {
				t.Errorf("the cause is shown: %s", w.Body)
			}
			if f, ok := errors.AsType[*fault.Error](tt.err); ok && f.RetryAfter > 0 && w.Header().Get("Retry-After") == "" {
				t.Error("there is no Retry-After")
			}
			if w.Header().Get("Access-Control-Allow-Origin") != "*" {
				t.Error("the refusal has no CORS header")
			}
		})
	}
}

func TestRequestsThatAreWrong(t *testing.T) {
	f := newFront(t, shipped)
	for _, tt := range []struct {
		name   string
		answer *httptest.ResponseRecorder
		status int
		want   string
	}{
		{"no token", f.do(http.MethodGet, "/cubejs-api/v1/load?query={}", "", "Authorization", ""), 403, "Invalid token"},
		{"no query", f.do(http.MethodGet, "/cubejs-api/v1/load", ""), 400, "Query param is required"},
		{"the text undefined", f.do(http.MethodGet, "/cubejs-api/v1/load?query=undefined", ""), 400, "Query param is required"},
		{"a query that is not JSON", f.do(http.MethodGet, "/cubejs-api/v1/load?query={", ""), 400, "Unable to decode query param as JSON"},
		{"a body that is not JSON", f.do(http.MethodPost, "/cubejs-api/v1/load", `{"query":`), 400, "The request body is not JSON"},
		{"a form", f.do(http.MethodPost, "/cubejs-api/v1/load", `query={}`, "Content-Type", "application/x-www-form-urlencoded"), 400, "Content-Type: application/json"},
		{"an empty query", f.get("load", `{}`), 400, "Query should contain either measures"},
		{"an unknown cube", f.get("load", `{"measures":["nope.count"]}`), 400, "Cube 'nope' not found for path 'nope.count'"},
		{"an unknown member", f.get("sql", `{"measures":["orders.nope"]}`), 400, "'nope' not found for path 'orders.nope'"},
		{"an unknown cache mode", f.do(http.MethodGet, "/cubejs-api/v1/load?cache=x&query="+url.QueryEscape(daily), ""), 400, `"cacheMode" must be one of`},
		{"an unknown route", f.do(http.MethodGet, "/cubejs-api/v1/nope", ""), 404, "Not Found"},
		{"a body of 20 MB", f.do(http.MethodPost, "/cubejs-api/v1/load", `{"query":"`+strings.Repeat("x", 20<<20)+`"}`), 413, "larger than 16 MiB"},
		{"a query of 10 MB", f.do(http.MethodPost, "/cubejs-api/v1/load", `{"query":{"measures":["orders.count"],"filters":[{"member":"orders.status","operator":"equals","values":["`+strings.Repeat("x", 10<<20)+`"]}]}}`), 400, ""},
	} {
		v := decode(t, tt.answer)
		if text, _ := v["error"].(string); tt.answer.Code != tt.status || !strings.Contains(text, tt.want) {
			t.Errorf("%s: %d %.200v, want %d with %q", tt.name, tt.answer.Code, v, tt.status, tt.want)
		}
	}
	if len(f.seen) != 0 {
		t.Errorf("%d statements ran", len(f.seen))
	}
}

func TestFilterValuesNeverReachTheSQL(t *testing.T) {
	f := newFront(t, shipped)
	hostile := `x' OR 1=1; DROP TABLE orders; --`
	w := f.get("sql", `{"measures":["orders.count"],"filters":[{"member":"orders.status","operator":"equals","values":["`+hostile+`"]}]}`)
	plan := decode(t, w)["sql"].(map[string]any)
	pair := plan["sql"].([]any)
	if strings.Contains(pair[0].(string), "DROP") || pair[1].([]any)[0] != hostile {
		t.Errorf("sql = %v", pair)
	}
	if plan["aliasNameToMember"].(map[string]any)["orders__count"] != "orders.count" {
		t.Errorf("aliases = %v", plan["aliasNameToMember"])
	}
}

func TestDryRunAndMeta(t *testing.T) {
	f := newFront(t, shipped)
	v := decode(t, f.get("dry-run", daily))
	if v["queryType"] != "regularQuery" || len(v["normalizedQueries"].([]any)) != 1 || v["pivotQuery"] == nil {
		t.Errorf("dry-run = %v", v)
	}
	cubes := decode(t, f.do(http.MethodGet, "/cubejs-api/v1/meta", ""))["cubes"].([]any)
	if len(cubes) != 1 || cubes[0].(map[string]any)["name"] != "orders" {
		t.Errorf("meta = %v", cubes)
	}
	if len(f.seen) != 0 {
		t.Errorf("%d statements ran", len(f.seen))
	}
}

// What a policy adds is told by nothing that the caller sees, in dry-run as in load. The statement has it.
func TestDryRunTellsNoFilterOfAPolicy(t *testing.T) {
	f := newFrontOf(t, model+`    access_policy:
      - {group: "*", row_level: {filters: [{member: status, operator: equals, values: [confidential]}]}}
`, shipped)
	for _, endpoint := range []string{"dry-run", "load"} {
		if w := f.get(endpoint, daily); w.Code != http.StatusOK || strings.Contains(w.Body.String(), "confidential") {
			t.Errorf("%s = %d %s, want nothing of the policy", endpoint, w.Code, w.Body)
		}
	}
	for _, r := range f.seen {
		if !slices.Contains(r.Statement.Args, any("confidential")) {
			t.Errorf("the policy is not in %s %v", r.Statement.SQL, r.Statement.Args)
		}
	}
	if len(f.seen) != 2 {
		t.Errorf("%d statements ran, want that of load and its total", len(f.seen))
	}
}

func TestPreflightNeedsNoToken(t *testing.T) {
	w := newFront(t, shipped).do(http.MethodOptions, "/cubejs-api/v1/load", "", "Authorization", "")
	if w.Code != http.StatusNoContent || !strings.Contains(w.Header().Get("Access-Control-Allow-Headers"), "authorization") || w.Body.Len() != 0 {
		t.Errorf("preflight = %d %v", w.Code, w.Header())
	}
	if w = newFront(t, shipped).get("load", `{}`); w.Code != http.StatusBadRequest || w.Header().Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("an error = %d %v, want it to be read by pages of every origin", w.Code, w.Header())
	}
}

func TestPreferWait(t *testing.T) {
	f := newFront(t, shipped)
	for value, want := range map[string]time.Duration{"": 10 * time.Second, "wait=55": 55 * time.Second, "respond-async, wait=3": 3 * time.Second, "wait=9999": 90 * time.Second, "wait=x": 10 * time.Second} {
		f.seen = nil
		f.do(http.MethodGet, "/cubejs-api/v1/load?query="+url.QueryEscape(`{"measures":["orders.count"]}`), "", "Prefer", value)
		if len(f.seen) != 1 || f.seen[0].Wait != want {
			t.Errorf("Prefer: %s waits %v, want %v", value, f.seen, want)
		}
	}
}

func TestEveryKindHasAnAnswer(t *testing.T) {
	for _, k := range fault.Kinds() {
		code, body := answer(fault.New(k, "why"))
		if code < 400 || body.Error == "" {
			t.Errorf("%s is answered %d %+v", k, code, body)
		}
		if _, ok := status[k]; !ok {
			t.Errorf("%s has no status", k)
		}
	}
}

func TestAnAnswerFromTheRowsOfARoleSaysSo(t *testing.T) {
	for _, ofRole := range []bool{true, false} {
		f := newFront(t, func(r orchestrator.Request) (*orchestrator.Result, error) {
			res, err := shipped(r)
			res.Cached, res.OfRole = true, ofRole
			return res, err
		})
		body := f.get("load", daily).Body.String()
		if got := strings.Contains(body, `"cached":true,"cacheScope":"role","data"`); got != ofRole || strings.Contains(body, "cacheScope") != ofRole {
			t.Errorf("of a role: %t, and the answer is %s", ofRole, body)
		}
	}
}

func TestRunAsHeader(t *testing.T) {
	svc := driverfactory.RunAs{Identity: driverfactory.IdentityServiceAccount, Account: `svc "ro"`, Username: "zoë", Reason: "not_connected"}
	h := http.Header{}
	setRunAs(h, []*orchestrator.Result{{RunAs: asAlice, Cached: true}, {RunAs: asAlice, Cached: true, OfRole: true}, {RunAs: svc}, {RunAs: svc}})
	want := `user;username="alice";cached, user;username="alice";cached;cache-scope="role", service_account;account="svc \"ro\"";username=%"zo%c3%ab";reason="not_connected"`
	if got := h.Get("Behalf-Run-As"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestCubeToken(t *testing.T) {
	mux := http.NewServeMux()
	New(Config{Token: func(r *http.Request) (secret.Text, error) {
		if r.Header.Get("Cookie") == "" {
			return secret.Text{}, fault.New(fault.Unauthenticated, "Sign in first.")
		}
		return secret.New("jwt"), nil
	}}).Mount(mux)
	for cookie, want := range map[string]string{"s=1": `{"token":"jwt"}`, "": `{"error":"Sign in first.","code":"unauthenticated"}`} {
		r := httptest.NewRequest(http.MethodGet, "/auth/cubejs-token", nil)
		r.Header.Set("Cookie", cookie)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		if got := w.Body.String(); got != want {
			t.Errorf("with cookie %q: %s, want %s", cookie, got, want)
		}
		if w.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Error("pages of other origins may read the token")
		}
	}
}

func TestValues(t *testing.T) {
	for _, tt := range []struct {
		name string
		v    any
		kind string
		want string
	}{
		{"null", nil, datamodel.Number, `null`},
		{"a count is text", int64(812), datamodel.Number, `"812"`},
		{"a decimal keeps its scale", driverfactory.Decimal("27.50"), datamodel.Number, `"27.50"`},
		{"a float", 1.5, datamodel.Number, `"1.5"`},
		{"a large float has no exponent", 1e21, datamodel.Number, `"1000000000000000000000"`},
		{"a number that is text", "12.00", datamodel.Number, `"12.00"`},
		{"a number in a text dimension", int64(7), datamodel.String, `7`},
		{"a decimal in a text dimension", driverfactory.Decimal("-0.50"), datamodel.String, `-0.50`},
		{"a decimal that is no number in JSON", driverfactory.Decimal("NaN"), datamodel.String, `"NaN"`},
		{"a decimal that is none at all", driverfactory.Decimal(`"`), datamodel.Number, `"\""`},
		{"a boolean", true, datamodel.Boolean, `true`},
		{"a time", time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC), datamodel.Time, `"2026-01-02T03:04:05.006"`},
		{"a time that came as text", "2026-01-02 03:04:05", datamodel.Time, `"2026-01-02T03:04:05.000"`},
		{"a date that came as text", "2026-01-02", datamodel.Time, `"2026-01-02T00:00:00.000"`},
		{"a text that is no time", "soon", datamodel.Time, `"soon"`},
		{"text with everything", "a\"b\\c\n\t\x01é\u2028", datamodel.String, `"a\"b\\c\n\t\u0001é\u2028"`},
		{"bytes", []byte{1, 2}, datamodel.String, `"AQI="`},
	} {
		if got := one(t, tt.v, tt.kind); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// one returns what a value of a member of this type is written as.
func one(t *testing.T, v any, kind string) string {
	t.Helper()
	rows, err := rowset.Of([][]any{{v}})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	e := encoding{format: query.Compact, cells: 1, fields: []field{newField("a.b", kind, 0)}}
	if err := e.write(&out, rows); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(strings.TrimPrefix(out.String(), `{"members":["a.b"],"dataset":[[`), `]]}`)
}

func FuzzStringsAreJSON(f *testing.F) {
	f.Add("plain")
	f.Add("a\"\\\x00\xff\u2029")
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		if err := json.Unmarshal(appendString(nil, s), &got); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if want := strings.ToValidUTF8(s, "\ufffd"); strings.ToValidUTF8(got, "\ufffd") != got || len([]rune(got)) < len([]rune(want)) {
			t.Errorf("%q became %q", s, got)
		}
	})
}

func TestResultsThatBelongTogether(t *testing.T) {
	f := newFront(t, shipped)
	ask := func(query string) map[string]any {
		return decode(t, f.do(http.MethodGet, "/cubejs-api/v1/load?queryType=multi&query="+url.QueryEscape(query), ""))
	}
	row := func(v map[string]any, result int) map[string]any {
		return v["results"].([]any)[result].(map[string]any)["data"].([]any)[0].(map[string]any)
	}
	t.Run("ranges that are compared", func(t *testing.T) {
		v := ask(`{"measures":["orders.count"],"dimensions":["orders.status"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"day","compareDateRange":["2026-01-01",["2026-02-01","2026-02-02"]]}]}`)
		if got := row(v, 1)["compareDateRange"]; v["queryType"] != "compareDateRangeQuery" || got != "2026-02-01T00:00:00.000 - 2026-02-02T23:59:59.999" {
			t.Errorf("compareDateRange = %v in %v", got, v)
		}
	})
	t.Run("queries that are blended", func(t *testing.T) {
		q := strings.Replace(daily, `,"total":true`, "", 1)
		v := ask("[" + q + "," + q + "]")
		if got := row(v, 1)["time.day"]; v["queryType"] != "blendingQuery" || got != "2026-01-01T00:00:00.000" {
			t.Errorf("time.day = %v in %v", got, v)
		}
	})
	t.Run("old clients are told", func(t *testing.T) {
		w := f.get("load", "["+daily+"]")
		if got := decode(t, w)["error"]; w.Code != 400 || got != "'blendingQuery' query type is not supported by the client.Please update the client." {
			t.Errorf("%d %v", w.Code, got)
		}
	})
}

func TestAScopeIsNeededForEachOperation(t *testing.T) {
	const q = `?query={"measures":["orders.count"]}`
	for _, tt := range []struct{ method, path, scope string }{
		{"GET", "v1/load" + q, ScopeData}, {"POST", "v1/load", ScopeData}, {"GET", "v1/subscribe" + q, ScopeData}, {"GET", "v1/dry-run" + q, ScopeData},
		{"GET", "v1/sql" + q, ScopeSQL}, {"GET", "v1/meta", ScopeMeta}, {"POST", "v1/convert-query", ScopeSQL}, {"POST", "v1/cubesql", ScopeData},
		{"GET", "graphql", ScopeGraphQL}, {"POST", "graphql", ScopeGraphQL}, {"POST", "v1/pre-aggregations/jobs", ScopeJobs},
		{"POST", "v1/pre-aggregations/can-use", ScopeMeta}, {"GET", "v1/run-scheduled-refresh", ScopeJobs},
	} {
		f := newFront(t, shipped)
		body := ""
		if tt.method == "POST" {
			body = `{"query":{"measures":["orders.count"]}}`
		}
		for _, s := range Scopes {
			f.scopes = []string{s}
			w := f.do(tt.method, "/cubejs-api/"+tt.path, body)
			if missing := "API scope is missing: " + tt.scope; (w.Code == http.StatusForbidden && decode(t, w)["error"] == missing) == (s == tt.scope) {
				t.Errorf("%s %s with scope %s answers %d %s", tt.method, tt.path, s, w.Code, w.Body)
			}
		}
	}
}

func TestCancellingIsOfOnesOwn(t *testing.T) {
	f := newFront(t, shipped)
	f.scopes = nil
	w := f.do(http.MethodDelete, "/cubejs-api/v1/running-query/tile-span-2", "")
	want := map[string]any{"result": []any{
		map[string]any{"requestId": "tile-span-1", "queryKey": "abc", "state": "running"},
		map[string]any{"requestId": "tile-span-1", "queryKey": "def", "state": "queued"},
	}}
	if diff := cmp.Diff(want, decode(t, w)); diff != "" || w.Code != http.StatusOK {
		t.Errorf("%d (-want +got):\n%s", w.Code, diff)
	}
	if w := f.do(http.MethodDelete, "/cubejs-api/v1/running-query/other", ""); w.Body.String() != `{"result":[]}` {
		t.Errorf("of another id: %s", w.Body)
	}
	if w := f.do(http.MethodDelete, "/cubejs-api/v1/running-query/tile-span-2", "", "Authorization", "nobody"); w.Code != http.StatusForbidden {
		t.Errorf("without a token: %d", w.Code)
	}
}

func TestMetaInFull(t *testing.T) {
	f := newFront(t, shipped)
	if w := f.do(http.MethodGet, "/cubejs-api/v1/meta?extended", ""); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"sqlTable":"public.orders"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
