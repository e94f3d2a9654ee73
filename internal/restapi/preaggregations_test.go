package restapi

import (
	"net/http"
	"strings"
	"testing"
)

// What is asked of pre-aggregations is answered as it is, with none built (cube-rest-api.md §13).
func TestPreAggregationsThatAreNotBuilt(t *testing.T) {
	f := newFront(t, shipped)
	f.scopes = Scopes
	const jobs, selector = "pre-aggregations/jobs", `"selector":{"contexts":[{"securityContext":{}}],"timezones":["UTC"]`
	for _, tt := range []struct {
		name, method, path, body string
		code                     int
		want                     string
	}{
		{"none can be used", http.MethodPost, "pre-aggregations/can-use", `{"transformedQuery":{"measures":[]},"references":{}}`, 200, `{"canUsePreAggregationForTransformedQuery":false}`},
		{"none is behind", http.MethodGet, "run-scheduled-refresh", "", 200, `{"finished":true}`},
		{"nothing was posted", http.MethodPost, jobs, `{"action":"get","tokens":["a"]}`, 200, `[{"token":"a","status":"not_found"}]`},
		{"nothing was posted, as an object", http.MethodPost, jobs, `{"action":"get","tokens":["a"],"resType":"object"}`, 200, `{"a":{"status":"not_found"}}`},
		{"no job", http.MethodPost, jobs, ``, 400, "No job description provided"},
		{"a job that is no JSON", http.MethodPost, jobs, `{"action"`, 400, "is not JSON"},
		{"no such action", http.MethodPost, jobs, `{"action":"put"}`, 400, `Invalid Job query format: \"action\" must be one of`},
		{"no tokens", http.MethodPost, jobs, `{"action":"get"}`, 400, `Invalid Job query format: \"tokens\" is required`},
		{"no contexts", http.MethodPost, jobs, `{"action":"post","selector":{"timezones":["UTC"]}}`, 400, `selector.contexts`},
		{"no time zones", http.MethodPost, jobs, `{"action":"post","selector":{"contexts":[{"securityContext":{}}]}}`, 400, `selector.timezones`},
		{"a job with credentials", http.MethodPost, jobs, `{"action":"post","selector":{"timezones":["UTC"],"contexts":[{"securityContext":{"cubeCloud":{"userCredentials":{"x":{}}}}}]}}`, 403, "userCredentials"},
		{"nothing of the model", http.MethodPost, jobs, `{"action":"post",` + selector + `,"cubes":["nothing"]}}`, 400, "A user's selector doesn't match any of the pre-aggregations defined in the data model."},
	} {
		if w := f.do(tt.method, "/cubejs-api/v1/"+tt.path, tt.body); w.Code != tt.code || !strings.Contains(w.Body.String(), tt.want) {
			t.Errorf("%s: %d %s, want %d and %s", tt.name, w.Code, w.Body, tt.code, tt.want)
		}
	}
}
