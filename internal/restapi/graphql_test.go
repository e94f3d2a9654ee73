package restapi

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"
	"weak"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/rowset"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/orchestrator"
)

// graphql sends a request by POST.
func (f *front) graphql(query string, header ...string) *httptest.ResponseRecorder {
	body, err := json.Marshal(map[string]string{"query": query})
	if err != nil {
		panic(err)
	}
	return f.do(http.MethodPost, "/cubejs-api/graphql", string(body), header...)
}

const dailyGraphQL = `{ cube(timezone: "Europe/Berlin") { orders { status count created_at { day } } } }`

func TestGraphQLAnswersWhatLoadDoes(t *testing.T) {
	f := newFront(t, shipped)
	w := f.graphql(dailyGraphQL)
	// The day began in Berlin an hour before it did in Greenwich.
	want := `{"data":{"cube":[{"orders":{"status":"shipped","count":812,"created_at":{"day":"2025-12-31T23:00:00.000Z"}}},` +
		`{"orders":{"status":null,"count":3,"created_at":{"day":"2025-12-31T23:00:00.000Z"}}}]},"extensions":{"annotation":{`
	if got := w.Body.String(); w.Code != http.StatusOK || !strings.HasPrefix(got, want) || !json.Valid(w.Body.Bytes()) {
		t.Errorf("%d %s\nwant %s", w.Code, got, want)
	}
	if got := w.Header().Get("Behalf-Run-As"); got != `user;username="alice"` {
		t.Errorf("Behalf-Run-As = %s", got)
	}
	if ext, _ := decode(t, w)["extensions"].(map[string]any); ext["lastRefreshTime"] != "2026-11-22T08:00:00.000Z" || ext["runAs"] == nil {
		t.Errorf("extensions = %v", ext)
	}
	for name, got := range map[string]*httptest.ResponseRecorder{
		"GET":                 f.do(http.MethodGet, "/cubejs-api/graphql?query="+url.QueryEscape(dailyGraphQL), ""),
		"the query alone":     f.do(http.MethodPost, "/cubejs-api/graphql", dailyGraphQL, "Content-Type", "application/graphql"),
		"variables as a text": f.do(http.MethodPost, "/cubejs-api/graphql", `{"query":"query($z: String) { cube(timezone: $z) { orders { status count created_at { day } } } }","variables":"{\"z\":\"Europe/Berlin\"}"}`),
	} {
		if got.Body.String() != w.Body.String() {
			t.Errorf("%s: %d %s", name, got.Code, got.Body)
		}
	}
	two := decode(t, f.graphql(`{ a: cube { orders { count status created_at { day } } } b: cube { orders { count status created_at { day } } } __typename }`))
	if data := two["data"].(map[string]any); len(data["a"].([]any)) != 2 || len(data["b"].([]any)) != 2 || data["__typename"] != "Query" || two["extensions"].(map[string]any)["results"] == nil {
		t.Errorf("two = %v", two)
	}
}

func TestGraphQLAnswersAGranularityOfTheModel(t *testing.T) {
	year := time.Date(2025, 4, 1, 0, 0, 0, 0, time.UTC)
	f := newFrontOf(t, strings.Replace(model, "type: time}", "type: time, granularities: [{name: fiscal_year, interval: 1 year, offset: 3 months}]}", 1),
		func(orchestrator.Request) (*orchestrator.Result, error) { return resultOf([]any{year, int64(7)}) })
	w := f.graphql(`{ cube { orders { created_at { fiscal_year } count } } }`)
	if want := `{"data":{"cube":[{"orders":{"created_at":{"fiscal_year":"2025-04-01T00:00:00.000Z"},"count":7}}]}`; w.Code != http.StatusOK || !strings.HasPrefix(w.Body.String(), want) {
		t.Errorf("%d %s\nwant %s", w.Code, w.Body, want)
	}
}

func TestGraphQLRefuses(t *testing.T) {
	f := newFront(t, shipped)
	for _, tt := range []struct {
		name   string
		answer *httptest.ResponseRecorder
		status int
		want   string
	}{
		{"no token", f.graphql(dailyGraphQL, "Authorization", ""), 403, `{"error":"Invalid token"`},
		{"no query", f.do(http.MethodGet, "/cubejs-api/graphql", ""), 400, `{"errors":[{"message":"Must provide query string."}]}`},
		{"an unknown member", f.graphql(`{ cube { orders { nope } } }`), 400, `{"errors":[{"message":"Cannot query field \"nope\" on type \"OrdersMembers\".","locations":[{"line":1,"column":19}]}]}`},
		{"a mutation by GET", f.do(http.MethodGet, "/cubejs-api/graphql?query="+url.QueryEscape(`mutation { x }`), ""), 400, `{"errors":[{"message":"Schema does not support operation type`},
		{"nothing selected", f.graphql(`{ cube { orders { __typename } } }`), 400, `{"errors":[{"message":"Query should contain either measures`},
		{"a bad zone", f.graphql(`{ cube(timezone: "Mars/X") { orders { count } } }`), 400, `{"errors":[{"message":`},
		{"a form", f.do(http.MethodPost, "/cubejs-api/graphql", "query={}", "Content-Type", "application/x-www-form-urlencoded"), 400, `{"errors":[{"message":"A POST needs a body`},
		{"a body that is no JSON", f.do(http.MethodPost, "/cubejs-api/graphql", "{"), 400, `{"errors":[{"message":"The request body is not JSON`},
		{"a body of 2 MB", f.graphql(strings.Repeat(" ", 2<<20)), 413, `{"errors":[{"message":"The request is larger than 1 MiB`},
	} {
		if tt.answer.Code != tt.status || !strings.HasPrefix(tt.answer.Body.String(), tt.want) {
			t.Errorf("%s: %d %s, want %d %s", tt.name, tt.answer.Code, tt.answer.Body, tt.status, tt.want)
		}
	}
	if len(f.seen) != 0 {
		t.Errorf("%d statements ran", len(f.seen))
	}
	connect := &fault.Error{Kind: fault.AuthorizationRequired, Detail: "Connect your account.", Actions: []fault.Action{{Rel: "authorize", Href: "http://localhost:4000/connect/x"}}}
	w := newFront(t, func(orchestrator.Request) (*orchestrator.Result, error) { return nil, connect }).graphql(dailyGraphQL)
	want := `{"errors":[{"message":"Connect your account. http://localhost:4000/connect/x","extensions":{"code":"authorization_required","authorize_url":"http://localhost:4000/connect/x"}}],"data":null}`
	if w.Code != http.StatusForbidden || w.Body.String() != want {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// A client of GraphQL does not know to ask again.
func TestGraphQLWaitsForTheAnswer(t *testing.T) {
	asked := 0
	f := newFront(t, func(r orchestrator.Request) (*orchestrator.Result, error) {
		if asked++; asked < 4 {
			return nil, &orchestrator.ContinueWait{Stage: "Executing query"}
		}
		return shipped(r)
	})
	if w := f.graphql(dailyGraphQL); w.Code != http.StatusOK || asked != 4 {
		t.Errorf("asked %d times: %d %s", asked, w.Code, w.Body)
	}
	clock := now
	f = newFront(t, func(orchestrator.Request) (*orchestrator.Result, error) {
		clock = clock.Add(10 * time.Second)
		return nil, &orchestrator.ContinueWait{}
	}, func(c *Config) { c.Now = func() time.Time { return clock } })
	if w := f.graphql(dailyGraphQL); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "not answered within 10m0s") || len(f.seen) != 60 {
		t.Errorf("asked %d times: %d %s", len(f.seen), w.Code, w.Body)
	}
}

func TestGraphQLFilterValuesNeverReachTheSQL(t *testing.T) {
	f := newFront(t, shipped)
	hostile := `x' OR 1=1; DROP TABLE orders; --`
	w := f.graphql(`{ cube { orders(where: {OR: [{status: {equals: "` + hostile + `"}}, {status: {contains: "` + hostile + `"}}]}) { status count created_at { day } } } }`)
	if w.Code != http.StatusOK || len(f.seen) != 1 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if s := f.seen[0].Statement; strings.Contains(s.SQL, "DROP") || len(s.Args) < 2 || s.Args[0] != hostile {
		t.Errorf("%s %v", s.SQL, s.Args)
	}
}

func TestGraphQLIsOfWhatThePoliciesShow(t *testing.T) {
	groups := []string{"staff"}
	f := newFrontOf(t, model+`    access_policy:
      - {group: staff, member_level: {includes: "*"}}
      - {group: "*", member_level: {excludes: [status]}, row_level: {filters: [{member: status, operator: equals, values: [confidential]}]}}
`, shipped, func(c *Config) {
		verify := c.Verify
		c.Verify = func(r *http.Request) (securitycontext.Context, error) {
			sc, err := verify(r)
			sc.Groups = groups
			return sc, err
		}
	})
	if w := f.graphql(dailyGraphQL); w.Code != http.StatusOK {
		t.Errorf("staff: %d %s", w.Code, w.Body)
	}
	groups = []string{"guest"}
	for _, text := range []string{
		dailyGraphQL, `{ cube(where: {orders: {status: {equals: "x"}}}) { orders { count } } }`, `{ cube { orders(orderBy: {status: asc}) { count } } }`,
	} {
		if w := f.graphql(text); w.Code != http.StatusBadRequest || strings.Contains(w.Body.String(), "data") {
			t.Errorf("a guest asks %s: %d %s", text, w.Code, w.Body)
		}
	}
	if w := f.graphql(`{ __type(name: "OrdersMembers") { fields { name } } }`); strings.Contains(w.Body.String(), "status") || !strings.Contains(w.Body.String(), "count") {
		t.Errorf("a guest sees %s", w.Body)
	}
	if w := f.graphql(`{ cube { orders { count } } }`); strings.Contains(w.Body.String(), "confidential") || len(f.seen) != 2 || f.seen[1].Statement.Args[0] != "confidential" {
		t.Errorf("a guest's rows: %s, of %v", w.Body, f.seen)
	}
}

// Rows that are not those of the plan would be written under names of others.
func TestGraphQLWritesRowsOfThePlanOnly(t *testing.T) {
	for _, row := range [][]any{{"shipped", now}, {"shipped", now, int64(1), "secret"}} {
		f := newFront(t, func(orchestrator.Request) (*orchestrator.Result, error) { return resultOf(row) })
		if w := f.graphql(dailyGraphQL); w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "shipped") {
			t.Errorf("%d columns: %d %s", len(row), w.Code, w.Body)
		}
	}
}

// A value that is not of its type is found before the first byte, even behind many that are.
func TestGraphQLFindsAWrongValueFirst(t *testing.T) {
	rows := make([][]any, 5000)
	for i := range rows {
		rows[i] = []any{"shipped", now, int64(i)}
	}
	rows[len(rows)-1][2] = "many"
	f := newFront(t, func(orchestrator.Request) (*orchestrator.Result, error) { return resultOf(rows...) })
	if w := f.graphql(dailyGraphQL); w.Code != http.StatusBadRequest || strings.Contains(w.Body.String(), "shipped") || !strings.Contains(w.Body.String(), "non numeric") {
		t.Errorf("%d %.200s", w.Code, w.Body)
	}
}

func TestAModelThatIsLetGoDoesNotStayForItsSchema(t *testing.T) {
	load := func() *datamodel.Model {
		m, err := datamodel.Load(fstest.MapFS{"orders.yml": {Data: []byte(model)}})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	serving := load()
	f := newFront(t, shipped, func(c *Config) {
		c.Model = func(context.Context, securitycontext.Context) (*datamodel.Model, error) { return serving, nil }
	})
	if w := f.graphql(`{ __typename }`); w.Code != http.StatusOK {
		t.Fatal(w.Body)
	}
	old := weak.Make(serving)
	serving = load()
	runtime.GC()
	runtime.GC()
	if old.Value() != nil {
		t.Error("the old model is still there")
	}
	if w := f.graphql(`{ __typename }`); w.Code != http.StatusOK {
		t.Error(w.Body)
	}
	runtime.KeepAlive(f)
}

func TestGraphQLToJSON(t *testing.T) {
	f := newFront(t, shipped)
	for text, want := range map[string]string{
		`{ cube { orders { count } } }`: `{"jsonQuery":{"measures":["orders.count"]}}`,
		`{ cube { orders { nope } } }`:  `{"jsonQuery":null}`,
	} {
		body, err := json.Marshal(map[string]string{"query": text})
		if err != nil {
			t.Fatal(err)
		}
		if w := f.do(http.MethodPost, "/cubejs-api/v1/graphql-to-json", string(body)); w.Code != http.StatusOK || w.Body.String() != want {
			t.Errorf("%s: %d %s, want %s", text, w.Code, w.Body, want)
		}
	}
}

func TestScalarsOfGraphQL(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		v    any
		kind string
		want string
	}{
		{"a count", int64(812), "Float", `812`},
		{"a decimal keeps its digits", driverfactory.Decimal("27.50"), "Float", `27.50`},
		{"digits that no float has", driverfactory.Decimal("12345678901234567890.123"), "Float", `12345678901234567890.123`},
		{"a number as text", "007", "Float", `7`},
		{"no number", nil, "Float", `null`},
		{"a word", "x", "Float", `error`},
		{"infinity", math.Inf(1), "Float", `null`},
		{"bytes", []byte("ab"), "String", `"YWI="`},
		{"a boolean", true, "String", `"true"`},
		{"a number in a text", int64(7), "String", `"7"`},
		{"null", nil, "String", `null`},
		{"a time in summer", time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC), "DateTime", `"2026-06-30T22:00:00.000Z"`},
		{"a time as text", "2026-01-02 03:04:05.678", "DateTime", `"2026-01-02T02:04:05.678Z"`},
		{"no time", nil, "DateTime", `null`},
	} {
		rows, err := rowset.Of([][]any{{tt.v}})
		if err != nil {
			t.Fatal(err)
		}
		l, got := layout{cells: []cell{{key: []byte(`"x":`), kind: tt.kind, value: newField("x", datamodel.String, 0)}}, columns: 1, zone: berlin}, bytes.Buffer{}
		want := `[{"x":` + tt.want + `}]`
		if err := l.write(&got, rows); (err != nil) != (tt.want == "error") || err == nil && got.String() != want {
			t.Errorf("%s: %s, %v, want %s", tt.name, &got, err, want)
		}
	}
}
