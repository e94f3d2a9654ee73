package orchestrator_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/orchestrator"
)

// uses keeps what an Orchestrators says is in use.
type uses struct {
	mu  sync.Mutex
	all []orchestrator.RollupUse
}

func (u *uses) used(_ context.Context, use orchestrator.RollupUse) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.all = append(u.all, use)
	return nil
}

// last returns the newest, and how many there are.
func (u *uses) last() (orchestrator.RollupUse, int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.all) == 0 {
		return orchestrator.RollupUse{}, 0
	}
	return u.all[len(u.all)-1], len(u.all)
}

// builtDays returns the partitions that the warehouse was asked for, in order.
func builtDays(w *warehouse) (all []string) {
	for _, sql := range w.started() {
		if day, ok := strings.CutPrefix(sql, rollupBuild+" "); ok {
			all = append(all, day)
		}
	}
	return all
}

// fresh returns partitioned(days), whose key is asked each minute, and which is fetched before anybody asks.
func fresh(days int) orchestrator.Request {
	req := partitioned(days)
	req.Rollup.Zone = "Europe/Paris"
	req.Rollup.Key = orchestrator.RefreshKey{Statement: driverfactory.Statement{SQL: "read k -- key"}, Every: time.Minute}
	req.Rollup.Age = func(orchestrator.Span, time.Time) (time.Time, bool) { return time.Time{}, true }
	req.Rollup.Ahead = true
	return req
}

// What is in use is told about once an hour, with all that it takes to plan it again, and without anybody's token.
func TestWhatIsInUseIsTold(t *testing.T) {
	var told uses
	withUses(t, told.used, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators, _ *shelf) {
		alice := person("alice")
		alice.Claims = map[string]any{"tenant": "acme"}
		alice.Credentials = map[string]securitycontext.Credential{"db": {}}
		w.grant(alice.Principal, 1)
		asksFor(t, o, alice, fresh(3))
		if _, n := told.last(); n != 0 {
			t.Errorf("%d uses were told of the first request: nothing is built for it", n)
		}
		began := time.Now().UTC()
		asksFor(t, o, alice, fresh(3))
		use, n := told.last()
		stored, _ := o.Rollups(orchestrator.Viewer{All: true}, "", 0)
		if n != 1 || len(stored) != 1 || use.ID != stored[0].ID || use.Name != "orders.main" || use.Zone != "Europe/Paris" ||
			!use.Since.Equal(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)) || !use.At.Equal(began) {
			t.Fatalf("told %d times, last of %+v, want once of %+v", n, use, stored)
		}
		if use.By.Principal != alice.Principal || use.By.Claims["tenant"] != "acme" || use.By.Credentials != nil {
			t.Errorf("told of %+v, want who used it, without tokens", use.By)
		}
		asksFor(t, o, alice, fresh(3))
		if _, n := told.last(); n != 1 {
			t.Errorf("told %d times within the hour, want once", n)
		}
		time.Sleep(time.Hour)
		asksFor(t, o, alice, fresh(3))
		if _, n := told.last(); n != 2 {
			t.Errorf("told %d times after an hour, want twice", n)
		}
		bob := person("bob")
		w.grant(bob.Principal, 1)
		for range 2 {
			asksFor(t, o, bob, fresh(3))
		}
		if of, n := told.last(); n != 3 || of.ID == use.ID || of.Scope == use.Scope || of.By.Principal != bob.Principal {
			t.Errorf("told %d times, last of %+v, want bob's too", n, of)
		}
		never := fresh(3)
		never.Rollup.Structure[0], never.Rollup.Ahead = 9, false
		for range 3 {
			asksFor(t, o, bob, never)
		}
		if _, n := told.last(); n != 3 {
			t.Errorf("told %d times, want nothing of what is not fetched before somebody asks", n)
		}
		eve := person("eve")
		eve.Credentials = map[string]securitycontext.Credential{"carried": {}}
		for range 3 {
			asksFor(t, o, eve, fresh(3))
		}
		if _, n := told.last(); n != 3 {
			t.Errorf("told %d times, want nothing of who brings a token that nobody has later", n)
		}
	})
}

// What is in use is fetched again where it is out of date, and what came after it, under the credential of who uses it. Once that
// has ended, or is another one, nothing is.
func TestWhatIsInUseIsFetchedAgain(t *testing.T) {
	var told uses
	withUses(t, told.used, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators, s *shelf) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		for range 2 {
			asksFor(t, o, alice, fresh(2))
		}
		use, _ := told.last()
		use.Since = time.Date(2024, 1, 4, 0, 0, 0, 0, time.UTC) // the third is missing, and nobody uses it
		before := len(builtDays(w))
		w.change("k")
		if err := o.Refresh(t.Context(), use, fresh(5)); err != nil {
			t.Fatalf("Refresh = %v, want no error", err)
		}
		if got, want := builtDays(w)[before:], []string{"20240105", "20240104", "20240102", "20240101"}; !slices.Equal(got, want) {
			t.Errorf("fetched %v, want %v", got, want)
		}
		if err := o.Refresh(t.Context(), use, fresh(5)); err != nil {
			t.Fatalf("Refresh = %v, want no error", err)
		}
		if got := builtDays(w)[before+4:]; len(got) != 0 {
			t.Errorf("fetched %v again although nothing has changed", got)
		}
		for id, tables := range s.tables {
			for _, kept := range tables {
				if id.Scope.Principal != alice.Principal || kept.rows[0][0] != alice.Principal.Key() {
					t.Errorf("%v holds rows of %v, want only alice's", id.Scope, kept.rows[0][0])
				}
			}
		}
		if _, n := told.last(); n != 1 {
			t.Errorf("told of %d uses: a refresh is none", n)
		}

		other := fresh(5)
		other.Rollup.Structure[0] = 7
		if err := o.Refresh(t.Context(), use, other); codeOf(err) != "rollup_replaced" {
			t.Errorf("Refresh of what the model has changed = %v, want rollup_replaced", err)
		}
		w.grant(alice.Principal, 2)
		o.Forget(alice.Principal.Key(), "app", 2, false)
		if err := o.Refresh(t.Context(), use, fresh(5)); codeOf(err) != "rollup_replaced" {
			t.Errorf("Refresh under another grant = %v, want rollup_replaced", err)
		}
		w.revoke(alice.Principal)
		o.Forget(alice.Principal.Key(), "app", 0, true)
		if err := o.Refresh(t.Context(), use, fresh(5)); !errors.Is(err, fault.ReauthorizationRequired) {
			t.Errorf("Refresh after the revocation = %v, want reauthorization_required", err)
		}
		if got := builtDays(w)[before+4:]; len(got) != 0 {
			t.Errorf("fetched %v for a rollup that is another one", got)
		}
	})
}

// A refresh that finds another credential fetches nothing, and nothing is recorded of anybody standing in for who used the rollup.
func TestARefreshThatFetchesNothingIsNobodysStandIn(t *testing.T) {
	var (
		used uses
		told int
	)
	s := &shelf{tables: map[orchestrator.RollupID]map[string]shelved{}}
	inBubble(t, orchestrator.Config{PreAggregations: s, Used: used.used, FellBack: func(context.Context, driverfactory.SecurityContext, orchestrator.Request, driverfactory.RunAs) error {
		told++
		return nil
	}}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		for range 2 {
			asksFor(t, o, alice, fresh(2))
		}
		use, _ := used.last()
		w.fallback = true
		w.revoke(alice.Principal)
		o.Forget(alice.Principal.Key(), "app", 0, true)
		if err := o.Refresh(t.Context(), use, fresh(2)); codeOf(err) != "rollup_replaced" || told != 0 {
			t.Errorf("Refresh = %v, and the service account stood in %d times, want rollup_replaced and never", err, told)
		}
	})
}
