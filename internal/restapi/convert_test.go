package restapi

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/behalf-project/behalf/internal/securitycontext"
)

// convert asks for the query of a SELECT.
func (f *front) convert(sql string) *httptest.ResponseRecorder {
	body, err := json.Marshal(map[string]string{"input": "sql", "output": "rest", "query": sql})
	if err != nil {
		panic(err)
	}
	return f.do(http.MethodPost, "/cubejs-api/v1/convert-query", string(body))
}

func TestASelectIsConvertedAndLoads(t *testing.T) {
	f := newFront(t, shipped)
	w := f.convert(`SELECT status, DATE_TRUNC('day', created_at) AS day, count(*) FROM orders WHERE status <> 'void' GROUP BY 1, 2 ORDER BY day, status DESC LIMIT 5`)
	want := `{"status":"ok","query":{"measures":["orders.count"],"dimensions":["orders.status"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"day"}],` +
		`"filters":[{"member":"orders.status","operator":"notEquals","values":["void",null]}],"limit":5,"order":{"orders.created_at.day":"asc","orders.status":"desc"}}}`
	if w.Code != http.StatusOK || w.Body.String() != want {
		t.Fatalf("%d %s\nwant %s", w.Code, w.Body, want)
	}
	var got struct{ Query json.RawMessage }
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if w := f.get("load", string(got.Query)); w.Code != http.StatusOK {
		t.Errorf("load answers %d %s", w.Code, w.Body)
	}
	if w := f.convert(`SELECT count(*) FROM orders`); !strings.Contains(w.Body.String(), `"order":{}`) {
		t.Errorf("no order is not said: %s", w.Body)
	}
}

// The statement of a SELECT is the one of the query that has its rows, by GET and by POST; that there is none is an answer, too.
func TestTheSQLOfASelect(t *testing.T) {
	f := newFront(t, shipped)
	type answer struct {
		SQL struct {
			Status, Error string
			SQL           []any
			Type          string `json:"query_type"`
		}
	}
	ask := func(w *httptest.ResponseRecorder) (a answer) {
		t.Helper()
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != http.StatusOK {
			t.Fatalf("%d %s %v", w.Code, w.Body, err)
		}
		return a
	}
	const text = `SELECT status, MEASURE(count) FROM orders WHERE status = 'paid' GROUP BY 1`
	var rest struct {
		SQL struct{ SQL []any }
	}
	w := f.get("sql", `{"measures":["orders.count"],"dimensions":["orders.status"],"filters":[{"member":"orders.status","operator":"equals","values":["paid"]}],"order":{}}`)
	if err := json.Unmarshal(w.Body.Bytes(), &rest); err != nil || w.Code != http.StatusOK {
		t.Fatalf("%d %s %v", w.Code, w.Body, err)
	}
	body, err := json.Marshal(map[string]string{"format": "sql", "query": text})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []*httptest.ResponseRecorder{
		f.do(http.MethodGet, "/cubejs-api/v1/sql?format=sql&query="+url.QueryEscape(text), ""), f.do(http.MethodPost, "/cubejs-api/v1/sql", string(body)),
	} {
		if got := ask(w); got.SQL.Status != "ok" || got.SQL.Type != "regular" || got.SQL.Error != "" || !reflect.DeepEqual(got.SQL.SQL, rest.SQL.SQL) {
			t.Errorf("%s\nwant the statement %v", w.Body, rest.SQL.SQL)
		}
	}
	if got := ask(f.do(http.MethodGet, "/cubejs-api/v1/sql?format=sql&query="+url.QueryEscape("SELECT status || 'x' FROM orders"), "")); got.SQL.Status != "error" ||
		!strings.HasPrefix(got.SQL.Error, "Line 1, column 15: ") || got.SQL.SQL != nil || got.SQL.Type != "" {
		t.Errorf("what is no query of this API: %+v", got)
	}
	for _, query := range []string{"?format=sql&query=%20", "?format=sql", "?format=xml&query={}"} {
		if w := f.do(http.MethodGet, "/cubejs-api/v1/sql"+query, ""); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d %s, want 400", query, w.Code, w.Body)
		}
	}
}

func TestWhatIsNotConverted(t *testing.T) {
	f := newFront(t, shipped, func(c *Config) { c.MaxLimit = 7 })
	for _, tt := range []struct {
		name, body string
		status     int
		want       string
	}{
		{"no query of the query API", `{"input":"sql","output":"rest","query":"SELECT status\n  || 'x' FROM orders"}`, 200, `{"status":"error","error":"Line 2, column 3: \"||\" is not possible here`},
		{"more rows than one query has", `{"input":"sql","output":"rest","query":"SELECT status FROM orders LIMIT 8"}`, 200, `{"status":"error","error":"Line 1, column 33: a query has 7 rows at most`},
		{"another input", `{"input":"x","output":"rest","query":"SELECT status FROM orders"}`, 500, `{"error":"Error: Unexpected input parameter value 'x'"`},
		{"no input", `{"output":"rest","query":"SELECT status FROM orders"}`, 500, `{"error":"Error: Unexpected input parameter value ''"`},
		{"another output", `{"input":"sql","output":"json","query":"SELECT status FROM orders"}`, 500, `{"error":"Error: Unexpected output parameter value 'json'"`},
		{"no query", `{"input":"sql","output":"rest","query":" "}`, 400, `{"error":"query parameter must be a non-empty string"`},
		{"a query in JSON", `{"input":"sql","output":"rest","query":{}}`, 400, `{"error":"The request body is wrong at \"query\"`},
		{"no JSON", `SELECT`, 400, `{"error":"The request body is not JSON`},
	} {
		w := f.do(http.MethodPost, "/cubejs-api/v1/convert-query", tt.body)
		if w.Code != tt.status || !strings.HasPrefix(w.Body.String(), tt.want) {
			t.Errorf("%s: %d %s, want %d %s", tt.name, w.Code, w.Body, tt.status, tt.want)
		}
	}
	if len(f.seen) != 0 {
		t.Errorf("%d statements ran", len(f.seen))
	}
}

func TestASelectIsOfWhatThePoliciesShow(t *testing.T) {
	groups := []string{"staff"}
	f := newFrontOf(t, model+`    access_policy:
      - {group: staff, member_level: {includes: "*"}}
      - {group: "*", member_level: {excludes: [status]}}
`, shipped, func(c *Config) {
		verify := c.Verify
		c.Verify = func(r *http.Request) (securitycontext.Context, error) {
			sc, err := verify(r)
			sc.Groups = groups
			return sc, err
		}
	})
	const asked = `SELECT count(*) FROM orders WHERE status = 'x'`
	if w := f.convert(asked); !strings.HasPrefix(w.Body.String(), `{"status":"ok"`) {
		t.Errorf("staff: %d %s", w.Code, w.Body)
	}
	groups = []string{"guest"}
	hidden, missing := f.convert(asked).Body.String(), f.convert(strings.ReplaceAll(asked, "status", "stetus")).Body.String()
	if !strings.HasPrefix(hidden, `{"status":"error"`) || strings.ReplaceAll(hidden, "status\\", "stetus\\") != missing {
		t.Errorf("a guest asks for what is hidden: %s\nand for what is not there: %s", hidden, missing)
	}
}
