package restapi

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/hooks"
	"github.com/behalf-project/behalf/internal/query"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/orchestrator"
)

// onlyPaid is a Rewrite that adds a filter, whose value changes with each call.
func onlyPaid(calls *int) func(*Config) {
	return func(c *Config) {
		c.Rewrite = func(_ context.Context, _ securitycontext.Context, q query.Query, _ query.Options) (query.Query, error) {
			*calls++
			q.Filters = append([]query.Filter{{Member: "orders.status", Operator: "equals", Values: []query.Value{{Text: fmt.Sprint("canary-", *calls)}}}}, q.Filters...)
			return q, nil
		}
	}
}

func TestWhatARewriteAddsIsExecutedAndNotShown(t *testing.T) {
	calls := 0
	f := newFront(t, oneRow, onlyPaid(&calls))
	const asked = `{"measures":["orders.count"],"filters":[{"member":"orders.id","operator":"gt","values":["1"]}]}`
	for i := 1; i <= 2; i++ { // the second one is not answered from the plan of the first
		w := f.get("load", asked)
		if w.Code != http.StatusOK || strings.Contains(w.Body.String(), "canary") || !strings.Contains(w.Body.String(), "orders.id") {
			t.Errorf("load = %d %s", w.Code, w.Body)
		}
		if args := fmt.Sprint(f.seen[i-1].Statement.Args); args != fmt.Sprintf("[canary-%d 1]", i) && args != fmt.Sprintf("[1 canary-%d]", i) {
			t.Errorf("executed with %s", args)
		}
	}
	if w := f.get("dry-run", asked); w.Code != http.StatusOK || strings.Contains(w.Body.String(), "canary") || strings.Contains(w.Body.String(), "orders.status") {
		t.Errorf("dry-run = %d %s", w.Code, w.Body)
	}
	if w := f.get("sql", asked); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "canary-4") {
		t.Errorf("sql = %d %s", w.Code, w.Body)
	}
	if w := f.get("meta", ""); w.Code != http.StatusOK || calls != 4 {
		t.Errorf("meta = %d, after %d calls", w.Code, calls)
	}
}

func TestEachQueryOfABatchIsRewritten(t *testing.T) {
	calls := 0
	f := newFront(t, oneRow, onlyPaid(&calls))
	w := f.do(http.MethodPost, "/cubejs-api/v1/load", `{"queryType":"multi","query":{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","compareDateRange":["today","yesterday"]}]}}`)
	if w.Code != http.StatusOK || calls != 2 || strings.Contains(w.Body.String(), "canary") || len(f.seen) != 2 {
		t.Errorf("load = %d after %d calls: %s", w.Code, calls, w.Body)
	}
	for _, r := range f.seen {
		if !strings.Contains(fmt.Sprint(r.Statement.Args), "canary-") {
			t.Errorf("executed with %v", r.Statement.Args)
		}
	}
}

// A rewrite that fails is never an answer, in no endpoint that runs or shows a query.
func TestARewriteThatFailsIsTheEndOfTheRequest(t *testing.T) {
	for want, err := range map[string]error{
		`500 "Error: no rows for you"`: &fault.Error{Kind: fault.Unavailable, Code: hooks.CodeFailed, Owner: fault.Admin, Detail: "Error: no rows for you"},
		`400 "ask less"`:               fault.New(fault.Invalid, "ask less"),
		`500 "Internal Server Error"`:  context.DeadlineExceeded,
	} {
		f := newFront(t, oneRow, func(c *Config) {
			c.Rewrite = func(context.Context, securitycontext.Context, query.Query, query.Options) (query.Query, error) {
				return query.Query{}, err
			}
		})
		for _, path := range []string{"load", "sql", "dry-run", "subscribe"} {
			w := f.get(path, `{"measures":["orders.count"]}`)
			if got := fmt.Sprintf("%d %q", w.Code, decode(t, w)["error"]); got != want {
				t.Errorf("%s = %s, want %s", path, got, want)
			}
		}
		if len(f.seen) != 0 {
			t.Error("a statement ran")
		}
	}
}

func TestWhoIsNotKnownIsChallengedWhereTheConfigurationSaysSo(t *testing.T) {
	for status401, want := range map[bool]string{false: "403 ", true: "401 Bearer"} {
		f := newFront(t, oneRow, func(c *Config) { c.Status401 = status401 })
		w := f.do(http.MethodGet, "/cubejs-api/v1/meta", "", "Authorization", "mallory")
		if got := fmt.Sprint(w.Code, " ", w.Header().Get("WWW-Authenticate")); got != want || decode(t, w)["error"] != "Invalid token" {
			t.Errorf("status_401 %v: %s %s, want %s", status401, got, w.Body, want)
		}
	}
}

func oneRow(orchestrator.Request) (*orchestrator.Result, error) {
	return resultOf([]any{int64(1)})
}
