package adminapi_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/behalf-project/behalf/internal/adminapi"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/fronttest"
	"github.com/behalf-project/behalf/orchestrator"
)

// Whose queries somebody sees and may cancel: their own, and an admin who says so everybody's.
func TestQueriesOfOneselfAndOfEverybody(t *testing.T) {
	s := fronttest.Start(t, nil)
	alice, bob := s.Browser(t).SignIn("alice"), s.Browser(t).SignIn("bob")
	hers, his := s.Run(t, "alice", "select 1"), s.Run(t, "bob", "select 2")
	seen := func(b *fronttest.Browser, path string) map[string]adminapi.Query {
		t.Helper()
		var list adminapi.QueryList
		if a := b.Call(http.MethodGet, path, nil, &list); a.Status != 200 {
			t.Fatalf("%s = %d %s", path, a.Status, a.Body)
		}
		of := map[string]adminapi.Query{}
		for _, q := range list.Items {
			of[q.Person.Username] = q
		}
		return of
	}
	account, operator := s.Program(t, "alice", "account"), s.Program(t, "alice", "account", "operate")
	for name, who := range map[string]*fronttest.Browser{"alice": alice, "her program": account, "her other program": operator} {
		if of := seen(who, "/api/v1/queries"); len(of) != 1 || of["alice"].ID == "" {
			t.Errorf("%s sees %+v, want what is alice's", name, of)
		}
	}
	of := seen(bob, "/api/v1/queries")
	if q := of["bob"]; len(of) != 1 || q.RequestID != "req_bob" || q.State != "running" || q.Kind != "statement" || q.RunAs != "user" || q.Askers != 1 || q.Statement == "" {
		t.Fatalf("bob sees %+v, want his own", of)
	}
	for _, who := range []*fronttest.Browser{alice, operator} {
		if of := seen(who, "/api/v1/queries?all=true"); len(of) != 2 {
			t.Errorf("an admin sees %+v, want everybody's", of)
		}
	}
	var page adminapi.QueryList
	if a := alice.Call(http.MethodGet, "/api/v1/queries?all=true&limit=1", nil, &page); len(page.Items) != 1 || page.NextCursor == "" || a.Header.Get("Link") == "" {
		t.Errorf("a page of one = %s", a.Body)
	}

	idOf := seen(alice, "/api/v1/queries?all=true")
	at := func(name string) string { return "/api/v1/queries/" + idOf[name].ID }
	for _, path := range []string{"/api/v1/queries?all=true", "/api/v1/preaggregations?all=true"} {
		refused(t, bob.Call(http.MethodGet, path, nil, nil), 403, "admin_required")
		refused(t, s.Program(t, "bob", "account", "operate").Call(http.MethodGet, path, nil, nil), 403, "admin_required")
		refused(t, account.Call(http.MethodGet, path, nil, nil), 403, "insufficient_scope")
	}
	refused(t, bob.Call(http.MethodDelete, at("alice"), nil, nil), 404, "not_found")
	refused(t, bob.Call(http.MethodDelete, at("alice")+"?all=true", nil, nil), 403, "admin_required")
	refused(t, account.Call(http.MethodDelete, at("bob")+"?all=true", nil, nil), 403, "insufficient_scope")
	refused(t, alice.Call(http.MethodDelete, at("bob"), nil, nil), 404, "not_found") // she did not say that it may be another's
	if n := s.Warehouse.Canceled.Load(); n != 0 {
		t.Fatalf("%d statements were cancelled", n)
	}

	var c adminapi.CanceledQuery
	if a := operator.Call(http.MethodDelete, at("bob")+"?all=true", nil, &c); a.Status != 200 || !c.Confirmed || c.GoesOn || c.Query.Person.Username != "bob" {
		t.Errorf("an admin cancels: %d %s", a.Status, a.Body)
	}
	if err := <-his; !errors.Is(err, fault.Canceled) || s.Warehouse.Canceled.Load() != 1 {
		t.Errorf("bob is told %v, and %d statements were cancelled", err, s.Warehouse.Canceled.Load())
	}
	refused(t, alice.Call(http.MethodDelete, at("bob")+"?all=true", nil, nil), 404, "not_found")
	if a := alice.Call(http.MethodDelete, at("alice"), nil, nil); a.Status != 200 {
		t.Errorf("alice cancels her own: %d %s", a.Status, a.Body)
	}
	if err := <-hers; !errors.Is(err, fault.Canceled) {
		t.Errorf("alice is told %v", err)
	}
	s.StopRecording()
	if looks, err := s.Store.Audit().Find(t.Context(), audit.Filter{Action: audit.AdminRead, Object: "queries"}, 0, 10); err != nil || len(looks) != 4 {
		t.Errorf("%d looks at everybody's are recorded, %v, want 4", len(looks), err)
	}
	acts, err := s.Store.Audit().Find(t.Context(), audit.Filter{Action: audit.QueryCanceled}, 0, 10)
	if err != nil || len(acts) != 2 || acts[1].Object != idOf["bob"].ID || acts[1].Detail["principal"] != idOf["bob"].Person.Principal || acts[1].Actor != idOf["alice"].Person.Principal {
		t.Errorf("recorded is %+v, %v", acts, err)
	}
}

func TestOrchestratorsAreSeenDrainedAndFlushedByAdmins(t *testing.T) {
	s := fronttest.Start(t, nil)
	operator := s.Program(t, "alice", "operate")
	ended := s.Run(t, "bob", "select 1")
	var list adminapi.OrchestratorList
	if a := operator.Call(http.MethodGet, "/api/v1/orchestrators", nil, &list); a.Status != 200 || len(list.Items) != 1 {
		t.Fatalf("list = %d %s", a.Status, a.Body)
	}
	one := list.Items[0]
	if one.Name != "CUBE_APP_bob" || one.State != "busy" || one.Running != 1 || one.Sessions.Open != 1 || len(one.People) != 1 || one.People[0].Username != "bob" {
		t.Errorf("bob's is %+v", one)
	}
	if got := list.Totals; got.Orchestrators != 1 || got.MaxOrchestrators != 10_000 || got.Running != 1 || got.Sessions.Max != 256 || got.Cache.MaxBytes == 0 {
		t.Errorf("the totals are %+v", got)
	}
	var drained adminapi.Drained
	if a := operator.Call(http.MethodPost, "/api/v1/orchestrators/"+one.ID+"/drain", nil, &drained); a.Status != 200 || drained.Under != 1 {
		t.Errorf("drain = %d %s", a.Status, a.Body)
	}
	var flushed adminapi.Flushed
	if a := operator.Call(http.MethodPost, "/api/v1/orchestrators/"+one.ID+"/flush", nil, &flushed); a.Status != 200 || flushed.Name != "CUBE_APP_bob" {
		t.Errorf("flush = %d %s", a.Status, a.Body)
	}
	refused(t, operator.Call(http.MethodPost, "/api/v1/orchestrators/orc_x/flush", nil, nil), 404, "not_found")
	queries, _ := s.Orchestrators.Queries(orchestrator.Viewer{All: true}, "", 0)
	if _, err := s.Orchestrators.CancelQuery(t.Context(), queries[0].ID, orchestrator.Viewer{All: true}); err != nil {
		t.Error(err)
	}
	<-ended
	if operator.Call(http.MethodGet, "/api/v1/orchestrators", nil, &list); len(list.Items) != 0 || list.Totals.Orchestrators != 0 || list.Totals.Running != 0 {
		t.Errorf("after its last query there is %+v", list)
	}
	s.StopRecording()
	for _, action := range []audit.Action{audit.OrchestratorDrained, audit.OrchestratorFlushed, audit.AdminRead} {
		if acts, err := s.Store.Audit().Find(t.Context(), audit.Filter{Action: action}, 0, 10); err != nil || len(acts) == 0 {
			t.Errorf("%d records of %s, %v, want some", len(acts), action, err)
		}
	}
}
