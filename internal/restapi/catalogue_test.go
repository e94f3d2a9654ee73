package restapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/hooks"
	"github.com/behalf-project/behalf/internal/jwtauth"
	"github.com/behalf-project/behalf/internal/query"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/orchestrator"
)

// Cubes of which each is refused in its own way.
const refusedCubes = model + `
  - name: lonely
    sql_table: public.lonely
    measures: [{name: count, type: count}]
  - name: tenants
    sql: "SELECT * FROM public.tenants WHERE {SECURITY_CONTEXT.tenant_id.requiredFilter('tenant_id')}"
    measures: [{name: count, type: count}]
`

// The rows of the error catalogue of cube-rest-api.md §17 that this package answers, each by its name there. Where the
// answer is not Cube's, docs/divergences.md says why.
func TestTheErrorCatalogue(t *testing.T) {
	const count = `{"measures":["orders.count"]}`
	front := func(change func(*Config)) *front { return newFrontOf(t, refusedCubes, shipped, change) }
	as := func(q string) func() *httptest.ResponseRecorder {
		return func() *httptest.ResponseRecorder { return front(func(*Config) {}).get("load", q) }
	}
	fails := func(err error) func() *httptest.ResponseRecorder {
		return func() *httptest.ResponseRecorder {
			return newFront(t, func(orchestrator.Request) (*orchestrator.Result, error) { return nil, err }).get("load", count)
		}
	}
	// token asks with a token that the real verifier reads; "" is none.
	token := func(text string) func() *httptest.ResponseRecorder {
		v := jwtauth.New(jwtauth.Config{Secrets: []secret.Text{secret.New("the secret of this test")}, Now: func() time.Time { return now }})
		return func() *httptest.ResponseRecorder {
			f := front(func(c *Config) {
				c.Verify = func(r *http.Request) (securitycontext.Context, error) { return v.Verify(r.Context(), r.Header) }
			})
			return f.do(http.MethodGet, "/cubejs-api/v1/load?query="+url.QueryEscape(count), "", "Authorization", text)
		}
	}
	for _, tt := range []struct {
		class  string
		answer func() *httptest.ResponseRecorder
		status int
		error  string // all of it, or, before "…", what it begins with
		more   map[string]any
	}{
		{"no token", token(""), 403, "Authorization header isn't set", nil},
		{"bad token", token("x.y.z"), 403, "Invalid token", nil},
		{"scope", func() *httptest.ResponseRecorder {
			f := front(func(*Config) {})
			f.scopes = []string{ScopeMeta}
			return f.get("load", count)
		}, 403, "API scope is missing: data", nil},
		{"missing query", func() *httptest.ResponseRecorder {
			return front(func(*Config) {}).do(http.MethodGet, "/cubejs-api/v1/load", "")
		}, 400, "Query param is required", nil},
		{"query not JSON", as(`{"measures"`), 400, "Unable to decode query param as JSON, error: …", nil},
		{"schema violation", as(`{"foo":1}`), 400, `Invalid query format: "foo" is not allowed`, nil},
		{"empty query", as(`{}`), 400, "Query should contain either measures, dimensions or timeDimensions with granularities in order to be valid", nil},
		{"bad date", as(`{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","dateRange":"blah blah"}]}`), 400, "Can't parse date: 'blah blah'", nil},
		{"missing filter values", as(`{"measures":["orders.count"],"filters":[{"member":"orders.status","operator":"equals"}]}`), 400,
			`Values required for filter: {"member":"orders.status","operator":"equals"}`, nil},
		{"client too old", as("[" + daily + "]"), 400, "'blendingQuery' query type is not supported by the client.Please update the client.", nil},
		{"limit over cap", as(`{"measures":["orders.count"],"limit":50001}`), 400, "Error: The query limit has been exceeded.", nil},
		{"unknown cube", as(`{"measures":["Nope.count"]}`), 400, "Cube 'Nope' not found for path 'Nope.count'", map[string]any{"type": "UserError"}},
		{"unknown member", as(`{"measures":["orders.nope"]}`), 400, "'nope' not found for path 'orders.nope'", map[string]any{"type": "UserError"}},
		{"a member of another kind", as(`{"measures":["orders.status"]}`), 400, "'status' not found for path 'orders.status'", map[string]any{"type": "UserError"}},
		{"hidden member requested", as(`{"dimensions":["orders.id"]}`), 400, "You requested hidden member: 'orders.id'. Please make it visible using `public: true`. Please note primaryKey fields are `public: false` by default: …", nil},
		{"no join path", as(`{"measures":["orders.count","lonely.count"]}`), 400, "Can't find join path to join 'orders', 'lonely'", map[string]any{"type": "UserError"}},
		{"requiredFilter missing", as(`{"measures":["tenants.count"]}`), 400, "Filter for tenant_id is required", map[string]any{"type": "UserError"}},
		{"model does not compile", func() *httptest.ResponseRecorder {
			return front(func(c *Config) {
				c.Model = func(context.Context, securitycontext.Context) (*datamodel.Model, error) {
					return nil, fault.Wrap(fault.Unavailable, errors.New("canary.yml:1:1"), "The data model cannot be compiled.")
				}
			}).get("load", count)
		}, 503, "The data model cannot be compiled.", nil},
		{"queryRewrite threw", func() *httptest.ResponseRecorder {
			return front(func(c *Config) {
				c.Rewrite = func(context.Context, securitycontext.Context, query.Query, query.Options) (query.Query, error) {
					return query.Query{}, &fault.Error{Kind: fault.Unavailable, Code: hooks.CodeFailed, Detail: "Error: You shall not pass"}
				}
			}).get("load", count)
		}, 500, "Error: You shall not pass", nil},
		{"database error", fails(&fault.Error{Kind: fault.Invalid, Code: "database_refused", Owner: fault.Database, Detail: `relation "x" does not exist`}), 400, `Error: relation "x" does not exist`, nil},
		{"execution timeout", fails(&fault.Error{Kind: fault.Timeout, Code: "query_timeout", Detail: "Query execution timeout after 10 min of waiting"}), 400,
			"Error: Query execution timeout after 10 min of waiting", nil},
		{"rollup-only mode miss", fails(&fault.Error{Kind: fault.Invalid, Code: "not_preaggregated", Owner: fault.Admin,
			Detail: "No pre-aggregation table has been built for this query yet. Please check your refresh worker configuration if it persists."}), 400,
			"Error: No pre-aggregation table has been built for this query yet. Please check your refresh worker configuration if it persists.", nil},
		{"malformed JSON body", func() *httptest.ResponseRecorder {
			return front(func(*Config) {}).do(http.MethodPost, "/cubejs-api/v1/load", `{"query":`)
		}, 400, "The request body is not JSON: …", nil},
		{"still running", fails(&orchestrator.ContinueWait{Stage: "Executing query"}), 200, "Continue wait", map[string]any{"stage": "Executing query"}},
		{"anything else", fails(errors.New("canary")), 500, "Internal Server Error", nil},

		{"an object for a member", as(`{"measures":[{"expression":["1"]}]}`), 400, "Expressions are not allowed in this context", nil},
		{"gt with null alone", as(`{"measures":["orders.count"],"filters":[{"member":"orders.id","operator":"gt","values":[null]}]}`), 400, "Expected one parameter but nothing found", nil},

		{"authorization_required", fails(&fault.Error{Kind: fault.AuthorizationRequired, Detail: "Connect."}), 403, "Connect.", map[string]any{"code": "authorization_required"}},
		{"reauthorization_required", fails(&fault.Error{Kind: fault.ReauthorizationRequired, Detail: "Again."}), 403, "Again.", map[string]any{"code": "reauthorization_required"}},
		{"app_disabled", fails(&fault.Error{Kind: fault.AppDisabled, Detail: "Paused."}), 403, "Paused.", map[string]any{"code": "app_disabled"}},
		{"refresh_failing", fails(&fault.Error{Kind: fault.RefreshFailing, Detail: "Down.", RetryAfter: time.Second}), 503, "Down.", map[string]any{"code": "refresh_failing", "Retry-After": "1"}},
		{"database_denied", fails(&fault.Error{Kind: fault.Denied, Code: "database_denied", Owner: fault.Database, Detail: "no SELECT on orders"}), 400, "Error: no SELECT on orders", map[string]any{"code": "database_denied"}},
		{"too_many_queued", fails(&fault.Error{Kind: fault.TooMany, Code: "too_many_queued", Detail: "Many.", RetryAfter: time.Second}), 429, "Many.", map[string]any{"code": "too_many_queued", "Retry-After": "1"}},
		{"queue_timeout", fails(&fault.Error{Kind: fault.Unavailable, Code: "queue_timeout", Detail: "Full.", RetryAfter: 30 * time.Second}), 503, "Full.", map[string]any{"code": "queue_timeout", "Retry-After": "30"}},
	} {
		t.Run(tt.class, func(t *testing.T) {
			w := tt.answer()
			var got map[string]any
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatalf("%d %s: %v", w.Code, w.Body, err)
			}
			text, _ := got["error"].(string)
			begins, open := strings.CutSuffix(tt.error, "…")
			if w.Code != tt.status || text != tt.error && !(open && strings.HasPrefix(text, begins)) {
				t.Errorf("%d %q, want %d %q", w.Code, text, tt.status, tt.error)
			}
			for key, want := range tt.more {
				if got := got[key]; got != want && (key != "Retry-After" || w.Header().Get(key) != want) {
					t.Errorf("%s = %v, want %v", key, got, want)
				}
			}
			if strings.Contains(w.Body.String(), "canary") {
				t.Errorf("the cause is shown: %s", w.Body)
			}
		})
	}
}
