package restapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/orchestrator"
	"github.com/google/go-cmp/cmp"
)

// What is asked of pre-aggregations that are not there, or not rightly, is answered as it is (cube-rest-api.md §13).
func TestPreAggregationsThatAreNotThere(t *testing.T) {
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
		{"a job with credentials", http.MethodPost, jobs, `{"action":"post","selector":{"timezones":["UTC"],"contexts":[{"securityContext":{"cubeCloud":{"userCredentials":{"x":{}}}}}]}}`, 403, "under their own credential"},
		{"a job for somebody else", http.MethodPost, jobs, `{"action":"post","selector":{"timezones":["UTC"],"contexts":[{"securityContext":{}},{"securityContext":{"user":"bob"}}]}}`, 403, "under their own credential"},
		{"half a range", http.MethodPost, jobs, `{"action":"post",` + selector + `,"dateRange":["2026-01-01"]}}`, 400, `selector.dateRange`},
		{"a range of no dates", http.MethodPost, jobs, `{"action":"post",` + selector + `,"dateRange":["2026-01-01","tomorrow"]}}`, 400, `selector.dateRange[1]`},
		{"nothing of the model", http.MethodPost, jobs, `{"action":"post",` + selector + `,"cubes":["nothing"]}}`, 400, "A user's selector doesn't match any of the pre-aggregations defined in the data model."},
	} {
		if w := f.do(tt.method, "/cubejs-api/v1/"+tt.path, tt.body); w.Code != tt.code || !strings.Contains(w.Body.String(), tt.want) {
			t.Errorf("%s: %d %s, want %d and %s", tt.name, w.Code, w.Body, tt.code, tt.want)
		}
	}
}

// A job builds for who posts it, and nobody else hears of it (cube-rest-api.md §13.1).
func TestJobsAreOfWhoPostsThem(t *testing.T) {
	states := map[orchestrator.RollupID]orchestrator.BuildState{}
	var failure error
	var service bool
	var built []orchestrator.Request
	asks := securitycontext.Principal{Realm: "local", Subject: "usr_1"}
	f := newFrontOf(t, rolledUpModel, shipped, func(c *Config) {
		c.Verify = func(*http.Request) (securitycontext.Context, error) {
			return securitycontext.Context{Domain: "dom", Principal: asks}, nil
		}
		c.Build = func(_ context.Context, sc securitycontext.Context, r orchestrator.Request) (orchestrator.RollupID, error) {
			built = append(built, r)
			id := orchestrator.RollupID{Scope: driverfactory.PoolKey{Principal: sc.Principal, Service: service}, Structure: r.Rollup.Structure}
			states[id] = orchestrator.BuildWaiting
			return id, nil
		}
		c.Built = func(id orchestrator.RollupID) (orchestrator.BuildState, error) { return states[id], failure }
	})
	f.scopes = Scopes
	post := func(body string, into any) {
		t.Helper()
		w := f.do(http.MethodPost, "/cubejs-api/v1/pre-aggregations/jobs", body)
		if err := json.Unmarshal(w.Body.Bytes(), into); err != nil || w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	var tokens []string
	post(`{"action":"post","selector":{"contexts":[{"securityContext":{}}],"timezones":["UTC","America/New_York"],"preAggregations":["orders.by_day"],"dateRange":["2026-02-10","2026-03-20"]}}`, &tokens)
	if len(tokens) != 2 || tokens[0] == tokens[1] || len(built) != 2 {
		t.Fatalf("the tokens are %q, and %d builds", tokens, len(built))
	}
	for _, r := range built {
		spans, all, err := r.Rollup.Partitions(time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC))
		if r.Rollup.Name != "orders.by_day" || len(spans) != 2 || !all || err != nil {
			t.Errorf("%s is built, of it %v, all %t, %v", r.Rollup.Name, spans, all, err)
		}
	}
	type state struct {
		Token, Table, Status string
		Selector             struct{ PreAggregations, Timezones []string }
	}
	for _, tt := range []struct {
		state orchestrator.BuildState
		err   error
		says  string
	}{
		{orchestrator.BuildWaiting, nil, "scheduled"}, {orchestrator.BuildRunning, nil, "processing"}, {orchestrator.BuildDone, nil, "done"},
		{orchestrator.BuildUnknown, nil, "missing_partition"},
		{orchestrator.BuildFailed, fault.New(fault.Invalid, "no such column"), "failure: no such column"},
		{orchestrator.BuildFailed, errors.New("secret"), "failure: The source refused it. The log of the server says why."},
	} {
		for id := range states {
			states[id] = tt.state
		}
		failure = tt.err
		var all []state
		post(`{"action":"get","tokens":["`+tokens[1]+`","nothing"]}`, &all)
		want := []state{{Token: tokens[1], Table: "orders__by_day", Status: tt.says}, {Token: "nothing", Status: "not_found"}}
		want[0].Selector.PreAggregations, want[0].Selector.Timezones = []string{"orders.by_day"}, []string{"America/New_York"}
		if diff := cmp.Diff(want, all); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.state, diff)
		}
	}
	// What the database says to the service account may quote rows that policies hide from who posts.
	service, failure = true, &fault.Error{Kind: fault.Invalid, Code: "database_error", Owner: fault.Database, Detail: "canary"}
	post(`{"action":"post","selector":{"contexts":[{"securityContext":{}}],"timezones":["UTC"],"preAggregations":["by_status"]}}`, &tokens)
	for id := range states {
		states[id] = orchestrator.BuildFailed
	}
	var failed []state
	post(`{"action":"get","tokens":["`+tokens[0]+`"]}`, &failed)
	if want := "failure: The source refused it to the service account (database_error)."; failed[0].Status != want {
		t.Errorf("the job is %q, want %q", failed[0].Status, want)
	}
	asks.Subject = "usr_bob"
	var all map[string]state
	post(`{"action":"get","tokens":["`+tokens[0]+`"],"resType":"object"}`, &all)
	if all[tokens[0]].Status != "not_found" {
		t.Errorf("bob is told of the job of alice: %+v", all)
	}
}

// A job is refused as a whole, before any of it is built.
func TestAJobIsPostedWholeOrNot(t *testing.T) {
	built := 0
	f := newFrontOf(t, strings.ReplaceAll(rolledUpModel, "pre_aggregations:", "pre_aggregations:\n      - {name: none}"), shipped, func(c *Config) {
		c.Build = func(context.Context, securitycontext.Context, orchestrator.Request) (orchestrator.RollupID, error) {
			built++
			return orchestrator.RollupID{}, nil
		}
	})
	f.scopes = Scopes
	zones := strings.TrimSuffix(strings.Repeat(`"UTC",`, 51), ",")
	for _, tt := range []struct{ selector, want string }{
		{`"preAggregations":["by_day","by_status"],"timezones":[` + zones + `]`, "A job builds at most 100 pre-aggregations, each time zone counted"},
		{`"preAggregations":["orders.none"],"timezones":["UTC"]`, "The pre-aggregation orders.none is not built: it cannot be built: nothing is in it."},
		{`"preAggregations":["by_day"],"timezones":["UTC","Nowhere/At_All"]`, "Nowhere/At_All"},
	} {
		w := f.do(http.MethodPost, "/cubejs-api/v1/pre-aggregations/jobs", `{"action":"post","selector":{"contexts":[{"securityContext":{}}],`+tt.selector+`}}`)
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), tt.want) || built != 0 {
			t.Errorf("%.200s: %d %s, and %d are built; want %q", tt.selector, w.Code, w.Body, built, tt.want)
		}
	}
}

// A rollup in use is planned anew for who uses it; one that is gone, or is fetched only when somebody asks, is not.
func TestARollupInUseIsPlannedAnew(t *testing.T) {
	var asked []orchestrator.Request
	f := newFrontOf(t, strings.ReplaceAll(rolledUpModel, "pre_aggregations:", "pre_aggregations:\n      - {name: lazy, measures: [count], scheduled_refresh: false}"), shipped, func(c *Config) {
		c.Refresh = func(_ context.Context, _ orchestrator.RollupUse, r orchestrator.Request) error {
			asked = append(asked, r)
			return nil
		}
	})
	now := f.handler.cfg.Now()
	next, err := f.handler.Refresh(t.Context(), orchestrator.RollupUse{Name: "orders.by_day", Zone: "Europe/Paris"})
	if err != nil || !next.After(now) {
		t.Fatalf("Refresh = %s, %v, want a moment after %s", next, err, now)
	}
	if len(asked) != 1 || asked[0].Rollup.Name != "orders.by_day" || asked[0].Rollup.Zone != "Europe/Paris" || !asked[0].Rollup.Ahead || asked[0].Source.Name != "default" {
		t.Errorf("asked for %+v, want the rollup in its zone, at its source", asked)
	}
	for _, name := range []string{"orders.lazy", "orders.gone", "gone.by_day", "gone"} {
		if _, err := f.handler.Refresh(t.Context(), orchestrator.RollupUse{Name: name, Zone: "UTC"}); !errors.Is(err, fault.Gone) {
			t.Errorf("Refresh of %s = %v, want gone", name, err)
		}
	}
	if len(asked) != 1 {
		t.Errorf("%d were fetched, want one", len(asked))
	}
}
