package adminapi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/adminapi"
	"github.com/behalf-project/behalf/internal/fronttest"
	"github.com/behalf-project/behalf/internal/jobs"
)

func TestALeakIsContained(t *testing.T) {
	s := fronttest.Start(t, nil)
	s.AddApp(t, "warehouse")
	alice, bob := s.Browser(t).SignIn("alice"), s.Browser(t).SignIn("bob")
	for _, b := range []*fronttest.Browser{alice, bob} {
		b.Get(b.Allow(b.ToProvider("/connect/warehouse")))
	}
	status := func(b *fronttest.Browser) string {
		var c adminapi.ConnectedApp
		a := b.Call(http.MethodGet, "/api/v1/connected-apps/warehouse", nil, nil)
		if a.Status != 200 {
			return http.StatusText(a.Status)
		}
		if err := json.Unmarshal([]byte(a.Body), &c); err != nil {
			t.Fatal(err)
		}
		return c.Status
	}
	pat := func(b *fronttest.Browser) *fronttest.Browser {
		var made adminapi.MadeToken
		if a := b.Call(http.MethodPost, "/api/v1/tokens", map[string]any{"name": "notebook", "scopes": []string{"account"}}, &made); a.Status != 201 {
			t.Fatalf("create a token = %d %s", a.Status, a.Body)
		}
		return s.Bearing(t, made.Value)
	}
	aliceProgram, bobProgram := pat(alice), pat(bob)
	post := func(body map[string]any) (fronttest.Answer, adminapi.RevocationAnswer) {
		var out adminapi.RevocationAnswer
		a := alice.Call(http.MethodPost, "/api/v1/revocations", body, nil)
		if a.Status < 300 {
			if err := json.Unmarshal([]byte(a.Body), &out); err != nil {
				t.Fatal(err)
			}
		}
		return a, out
	}

	a, out := post(map[string]any{"oauth_app": "warehouse", "dry_run": true})
	if a.Status != 200 || out.Preview == nil || out.Preview.People != 2 || out.Preview.Confirm != 2 || out.Revocation != nil {
		t.Fatalf("dry run = %d %s", a.Status, a.Body)
	}
	a, _ = post(map[string]any{"oauth_app": "warehouse"})
	refused(t, a, 422, "confirmation_required")
	a, _ = post(map[string]any{"oauth_app": "warehouse", "confirm": 1})
	refused(t, a, 409, "revocation_changed")
	for _, body := range []map[string]any{{"confirm": 0}, {"oauth_app": "warehouse", "everything": true, "confirm": 2}} {
		a, _ = post(body)
		refused(t, a, 422, "invalid")
	}
	a, _ = post(map[string]any{"principal": "nobody", "dry_run": true})
	refused(t, a, 404, "not_found")
	if status(alice) != "active" || status(bob) != "active" {
		t.Fatal("something has ended although everything was refused")
	}

	a, out = post(map[string]any{"principal": "bob", "confirm": 1, "reason": "Laptop stolen"})
	if a.Status != 201 || out.Revocation == nil || out.Revocation.People != 1 || out.Revocation.Provider.Waiting != 1 || out.Revocation.Reason != "Laptop stolen" {
		t.Fatalf("revoke = %d %s", a.Status, a.Body)
	}
	if got := status(bob); got != "Unauthorized" {
		t.Errorf("bob: %s, want that his session has ended", got)
	}
	if got, program := status(alice), status(aliceProgram); got != "active" || program != "active" {
		t.Errorf("alice: %s, and with her token %s, want active", got, program)
	}
	refused(t, bobProgram.Call(http.MethodGet, "/api/v1/connected-apps", nil, nil), 401, "invalid_token")
	if got := status(bob.SignIn("bob")); got != "not_connected" {
		t.Errorf("bob, signed in again: %s, want not_connected", got)
	}
	if a, out = post(map[string]any{"everything": true, "confirm": 1}); a.Status != 201 || !out.Revocation.Everything {
		t.Fatalf("revoke everything = %d %s", a.Status, a.Body)
	}
	if alice, bob := status(alice), status(bob); alice != "not_connected" || bob != "Unauthorized" {
		t.Errorf("alice %s, bob %s, want that only who contains goes on", alice, bob)
	}
	refused(t, aliceProgram.Call(http.MethodGet, "/api/v1/connected-apps", nil, nil), 401, "invalid_token")

	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- jobs.NewRunner(jobs.Config{Store: s.Store.Jobs(), Kinds: []jobs.Kind{s.Tokens.Revocations(1000)}}).Run(ctx)
	}()
	defer func() { stop(); <-done }()
	deadline := time.Now().Add(time.Minute)
	for {
		var list adminapi.RevocationList
		alice.Call(http.MethodGet, "/api/v1/revocations", nil, &list)
		if len(list.Items) == 2 && list.Items[0].Provider.Done == 1 && list.Items[1].Provider.Done == 1 {
			var one adminapi.Revocation
			if alice.Call(http.MethodGet, "/api/v1/revocations/"+list.Items[0].ID, nil, &one); one != list.Items[0] || one.Provider.Total != 1 || one.Provider.Waiting != 0 {
				t.Errorf("one of them: %+v, in the list %+v", one, list.Items[0])
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the providers were not told: %+v", list)
		}
		time.Sleep(20 * time.Millisecond)
	}
	refused(t, alice.Call(http.MethodGet, "/api/v1/revocations/rev_x", nil, nil), 404, "not_found")
}
