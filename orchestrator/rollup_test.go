package orchestrator_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/notify"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/orchestrator"
)

// shelf keeps tables in memory. Read of one yields the first row of each, as it was fetched.
type shelf struct {
	mu     sync.Mutex
	tables map[orchestrator.RollupID]map[string]shelved
	broken error                     // of every Query
	full   error                     // of every Write
	asked  func()                    // called by every Query
	read   []orchestrator.RollupPart // by the latest Query
}

type shelved struct {
	orchestrator.RollupTable
	rows [][]any
}

func (s *shelf) IDs(match func(driverfactory.PoolKey) bool) (all []orchestrator.RollupID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.tables {
		if match(id.Scope) {
			all = append(all, id)
		}
	}
	return all
}

func (s *shelf) Tables(id orchestrator.RollupID) (all []orchestrator.RollupTable) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tables[id] {
		all = append(all, t.RollupTable)
	}
	return all
}

func (s *shelf) Refresh(context.Context, orchestrator.RollupID) error { return nil }

func (s *shelf) Write(ctx context.Context, id orchestrator.RollupID, t orchestrator.RollupTable, _ []orchestrator.RollupColumn, rows driverfactory.Rows) (orchestrator.RollupTable, error) {
	kept := shelved{RollupTable: t}
	for {
		row := make([]any, len(rows.Columns()))
		more, err := rows.Next(row)
		if err != nil {
			return t, err
		}
		if !more {
			break
		}
		kept.rows = append(kept.rows, row)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := cmp.Or(ctx.Err(), s.full); err != nil {
		return t, err
	}
	if s.tables[id] == nil {
		s.tables[id] = map[string]shelved{}
	}
	s.tables[id][t.Partition] = kept
	return t, nil
}

func (s *shelf) Query(_ context.Context, parts []orchestrator.RollupPart, _ driverfactory.Statement) (driverfactory.Rows, error) {
	if s.asked != nil {
		s.asked()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return nil, s.broken
	}
	s.read = parts
	r := &shelfRows{}
	for _, part := range parts {
		for _, t := range part.Tables {
			kept, ok := s.tables[part.ID][t.Partition]
			if !ok || kept.BuiltAt != t.BuiltAt {
				return nil, errors.New("the table is gone")
			}
			r.rows = append(r.rows, kept.rows[0])
		}
	}
	return r, nil
}

func (s *shelf) Drop(match func(driverfactory.PoolKey) bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.tables {
		if match(id.Scope) {
			delete(s.tables, id)
		}
	}
	return nil
}

type shelfRows struct{ rows [][]any }

func (*shelfRows) Columns() []driverfactory.Column { return make([]driverfactory.Column, 3) }
func (*shelfRows) Close() error                    { return nil }
func (r *shelfRows) Next(dest []any) (bool, error) {
	if len(r.rows) == 0 {
		return false, nil
	}
	copy(dest, r.rows[0])
	r.rows = r.rows[1:]
	return true, nil
}

// withRollups runs test with pre-aggregations that are kept on a shelf.
func withRollups(t *testing.T, test func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators, s *shelf)) {
	withUses(t, nil, test)
}

// withUses is withRollups, where used is told what is in use.
func withUses(t *testing.T, used func(context.Context, orchestrator.RollupUse) error, test func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators, s *shelf)) {
	s := &shelf{tables: map[orchestrator.RollupID]map[string]shelved{}}
	inBubble(t, orchestrator.Config{PreAggregations: s, Used: used}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		test(t, w, o, s)
	})
}

// What the warehouse is asked for, by the requests of these tests.
const (
	rollupSource = "read x -- source"
	rollupBuild  = "read x -- build"
)

// aggregated returns a request that a rollup without partitions holds, whose rows are an hour good.
func aggregated() orchestrator.Request {
	req := query(source("db", driverfactory.Limits{}), rollupSource)
	req.Rollup = &orchestrator.Rollup{
		Name: "orders.main", Structure: [32]byte{1}, Table: "orders__main", Read: driverfactory.Statement{SQL: "SELECT"},
		Columns: []orchestrator.RollupColumn{{Name: "who", Type: "string"}, {Name: "epoch", Type: "number"}, {Name: "value", Type: "number"}},
		Build: func(s orchestrator.Span) (driverfactory.Statement, error) {
			sql := rollupBuild
			if s.Name != "" {
				sql += " " + s.Name
			}
			return driverfactory.Statement{SQL: sql}, nil
		},
		Age: func(_ orchestrator.Span, now time.Time) (time.Time, bool) { return now.Truncate(time.Hour), false },
	}
	return req
}

// asksFor returns the answer to req once everything behind it is done.
func asksFor(t *testing.T, o *orchestrator.Orchestrators, sc driverfactory.SecurityContext, req orchestrator.Request) *orchestrator.Result {
	t.Helper()
	res, err := o.Load(t.Context(), sc, req)
	if err != nil {
		t.Fatal(err)
	}
	res.Close()
	synctest.Wait()
	return res
}

// Nobody waits for a rollup: the source answers, the second request has it built behind it, and the next is answered from it.
func TestARollupIsBuiltBehindTheSecondRequest(t *testing.T) {
	withRollups(t, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators, _ *shelf) {
		alice, bob := person("alice"), person("bob")
		for _, sc := range []driverfactory.SecurityContext{alice, bob} {
			w.grant(sc.Principal, 1)
			for n, want := range []string{"", "", "orders.main", "orders.main"} {
				res := asksFor(t, o, sc, aggregated())
				if res.Rollup != want || res.RunAs.Identity != driverfactory.IdentityUser {
					t.Errorf("request %d of %s was answered from %q as %s, want %q", n+1, sc.Username, res.Rollup, res.RunAs.Identity, want)
				}
				if who := res.Rows.First()[0]; who != sc.Principal.Key() {
					t.Errorf("request %d of %s was given the rows of %v", n+1, sc.Username, who)
				}
			}
		}
		if n := w.ran(rollupBuild); n != 2 {
			t.Errorf("%d builds for two people, want each their own", n)
		}
	})
}

// A rollup that the model shares is built once, by the service account, and says so. Who may not use the source is refused.
func TestASharedRollupIsBuiltOnceByTheServiceAccount(t *testing.T) {
	withRollups(t, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators, _ *shelf) {
		req := aggregated()
		req.Rollup.Shared = true
		for n := range 1000 {
			sc := person(fmt.Sprint("p", n))
			w.grant(sc.Principal, 1)
			res := asksFor(t, o, sc, req)
			switch {
			case n < 2 && (res.Rollup != "" || res.RunAs.Identity != driverfactory.IdentityUser):
				t.Errorf("before it is there, person %d was answered from %q as %s", n, res.Rollup, res.RunAs.Identity)
			case n >= 2 && (res.Rollup == "" || res.RunAs.Identity != driverfactory.IdentityServiceAccount || res.RunAs.Reason != "shared_rollup" || res.RunAs.Username != sc.Username):
				t.Errorf("person %d was answered from %q as %+v", n, res.Rollup, res.RunAs)
			}
		}
		if n := w.ran(rollupBuild); n != 1 {
			t.Errorf("%d builds for 1,000 people, want 1", n)
		}
		if _, err := o.Load(t.Context(), person("mallory"), req); !errors.Is(err, fault.ReauthorizationRequired) {
			t.Errorf("somebody without a grant is answered %v", err)
		}
	})
}

// Old rows are served while new ones are fetched, unless the request says that it wants none; then the source answers.
func TestAnOldRollupIsRenewedBehind(t *testing.T) {
	withRollups(t, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators, _ *shelf) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		first := w.change("x")
		for range 3 {
			asksFor(t, o, alice, aggregated())
		}
		second := w.change("x")
		time.Sleep(time.Hour)
		exact := aggregated()
		exact.Cache = orchestrator.MustRevalidate
		for n, tt := range []struct {
			req    orchestrator.Request
			rollup string
			value  int64
		}{{exact, "", second}, {aggregated(), "orders.main", second}, {exact, "orders.main", second}} {
			res := asksFor(t, o, alice, tt.req)
			if v := res.Rows.First()[2]; res.Rollup != tt.rollup || v != tt.value {
				t.Errorf("request %d was answered %v from %q, want %d from %q", n+1, v, res.Rollup, tt.value, tt.rollup)
			}
		}
		third := w.change("x")
		time.Sleep(time.Hour)
		if res := asksFor(t, o, alice, aggregated()); res.Rollup == "" || res.Rows.First()[2] != second {
			t.Errorf("what is old is not served meanwhile: %v from %q", res.Rows.First()[2], res.Rollup)
		}
		if res := asksFor(t, o, alice, aggregated()); res.Rows.First()[2] != third {
			t.Errorf("the rollup has %v, want %d (it began with %d)", res.Rows.First()[2], third, first)
		}
		if n := w.ran(rollupBuild); n != 3 {
			t.Errorf("%d builds, want 3", n)
		}
	})
}

// A revocation takes the rows along: nothing reads them any more, and a build under way leaves none.
func TestARevokedGrantLeavesNoRollup(t *testing.T) {
	withRollups(t, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators, s *shelf) {
		alice, bob := person("alice"), person("bob")
		slow := aggregated()
		slow.Rollup.Structure[0]++
		slow.Rollup.Build = func(orchestrator.Span) (driverfactory.Statement, error) {
			return driverfactory.Statement{SQL: "sleep 5s -- build"}, nil
		}
		for _, sc := range []driverfactory.SecurityContext{alice, bob} {
			w.grant(sc.Principal, 1)
			for range 3 {
				asksFor(t, o, sc, aggregated())
			}
			asksFor(t, o, sc, slow)
			asksFor(t, o, sc, slow) // its build is under way
		}
		w.revoke(alice.Principal)
		o.Forget(alice.Principal.Key(), "app", 0, true)
		time.Sleep(time.Minute)
		s.mu.Lock()
		for id := range s.tables {
			if id.Scope.Principal == alice.Principal {
				t.Errorf("there are rows of %+v", id.Scope)
			}
		}
		kept := len(s.tables)
		s.mu.Unlock()
		if kept != 2 {
			t.Errorf("%d rollups are kept, want the two of bob", kept)
		}
		if _, err := o.Load(t.Context(), alice, aggregated()); !errors.Is(err, fault.ReauthorizationRequired) {
			t.Errorf("alice is answered %v", err)
		}
		w.grant(alice.Principal, 2)
		o.Forget(alice.Principal.Key(), "app", 2, false)
		if res := asksFor(t, o, alice, aggregated()); res.Rollup != "" {
			t.Error("what was fetched under the revoked grant answers the next")
		}
	})
}

// partitioned returns a request whose rollup has a partition for each of some days, all of which it reads.
func partitioned(days int) orchestrator.Request {
	req := aggregated()
	first := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	req.Rollup.Bounds = [2]driverfactory.Statement{{SQL: "at 2024-01-01"}, {SQL: "at 2024-01-31"}}
	req.Rollup.Partitions = func(from, to time.Time) (spans []orchestrator.Span, all bool, err error) {
		if !from.Equal(first) || !to.Equal(first.AddDate(0, 0, 30)) {
			return nil, false, fmt.Errorf("the bounds are %s and %s", from, to)
		}
		for d := range days {
			at := first.AddDate(0, 0, d)
			spans = append(spans, orchestrator.Span{Name: at.Format("20060102"), From: at, To: at.AddDate(0, 0, 1)})
		}
		return spans, true, nil
	}
	return req
}

// Of a rollup with partitions only what is missing or out of date is fetched, the newest first.
func TestOnlyWhatIsMissingOfARollupIsFetched(t *testing.T) {
	withRollups(t, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators, _ *shelf) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		old := time.Date(2024, 1, 3, 0, 0, 0, 0, time.UTC)
		with := func(days int) orchestrator.Request {
			req := partitioned(days)
			req.Rollup.Key = orchestrator.RefreshKey{Statement: driverfactory.Statement{SQL: "read k -- key"}, Every: time.Minute}
			req.Rollup.Age = func(s orchestrator.Span, _ time.Time) (time.Time, bool) {
				return time.Time{}, s.From.IsZero() || !s.From.Before(old)
			}
			return req
		}
		for range 2 {
			asksFor(t, o, alice, with(3))
		}
		if res := asksFor(t, o, alice, with(3)); res.Rollup == "" || res.Rows.Len() != 3 {
			t.Fatalf("answered %d rows from %q, want one of each partition", res.Rows.Len(), res.Rollup)
		}
		builds := func() (all []string) {
			for _, sql := range w.started() {
				if len(sql) > len(rollupBuild) && sql[:len(rollupBuild)] == rollupBuild {
					all = append(all, sql[len(rollupBuild)+1:])
				}
			}
			return all
		}
		if got, want := builds(), []string{"20240103", "20240102", "20240101"}; !slices.Equal(got, want) {
			t.Errorf("fetched %v, want %v", got, want)
		}
		if res := asksFor(t, o, alice, with(4)); res.Rollup != "" {
			t.Error("a partition is missing, and the rollup answered all the same")
		}
		if res := asksFor(t, o, alice, with(4)); res.Rollup == "" {
			t.Error("the missing partition was not fetched")
		}
		w.change("k")
		time.Sleep(time.Minute)
		asksFor(t, o, alice, with(4))
		if got, want := builds()[3:], []string{"20240104", "20240104", "20240103"}; !slices.Equal(got, want) {
			t.Errorf("fetched %v, want %v: what is closed is not fetched again", got, want)
		}
	})
}

// Rows outlive the process: another address or database of the source, and they are others. Those that the service account
// fetched are others with another account, or another token, which may be of one; a person's are not.
func TestARollupIsOfOneSourceAsItIsConfigured(t *testing.T) {
	withRollups(t, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators, _ *shelf) {
		alice, bob := person("alice"), person("bob") // who runs as the service account
		w.grant(alice.Principal, 1)
		w.fallback = true
		with := func(change func(*driverfactory.Source)) orchestrator.Request {
			req := aggregated()
			req.Cache = orchestrator.NoCache
			req.Source.ServiceAccount = &driverfactory.ServiceAccount{Token: secret.New("one")}
			change(&req.Source)
			return req
		}
		for _, sc := range []driverfactory.SecurityContext{alice, bob} {
			for range 3 {
				asksFor(t, o, sc, with(func(*driverfactory.Source) {}))
			}
		}
		for _, tt := range []struct {
			change     func(*driverfactory.Source)
			alice, bob string
		}{
			{func(*driverfactory.Source) {}, "orders.main", "orders.main"},
			{func(s *driverfactory.Source) { s.Type = "postgres" }, "", ""},
			{func(s *driverfactory.Source) { s.Options = map[string]string{"host": "elsewhere"} }, "", ""},
			{func(s *driverfactory.Source) { s.ServiceAccount.User = "another" }, "orders.main", ""},
			{func(s *driverfactory.Source) { s.ServiceAccount.Token = secret.New("two") }, "orders.main", ""},
			{func(s *driverfactory.Source) {
				s.ServiceAccount.OAuth = &driverfactory.ClientCredentials{ClientID: "another"}
			}, "orders.main", ""},
		} {
			req := with(tt.change)
			for sc, want := range map[*driverfactory.SecurityContext]string{&alice: tt.alice, &bob: tt.bob} {
				if res := asksFor(t, o, *sc, req); res.Rollup != want {
					t.Errorf("%s is answered from %q at %+v, want %q", sc.Username, res.Rollup, req.Source, want)
				}
			}
		}
	})
}

// What does not lie in the partitions is the source's to answer.
func TestARollupThatDoesNotReachFarEnoughDoesNotAnswer(t *testing.T) {
	withRollups(t, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators, _ *shelf) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		req := partitioned(2)
		all := req.Rollup.Partitions
		req.Rollup.Partitions = func(from, to time.Time) ([]orchestrator.Span, bool, error) {
			spans, _, err := all(from, to)
			return spans, false, err
		}
		for range 4 {
			if res := asksFor(t, o, alice, req); res.Rollup != "" {
				t.Error("it answered")
			}
		}
		// What lies within is built all the same, and goes on to be answered from while others ask beyond.
		for range 3 {
			if res := asksFor(t, o, alice, partitioned(2)); res.Rollup == "" {
				t.Error("a request within the bounds is answered by the source")
			}
			time.Sleep(time.Hour)
			asksFor(t, o, alice, req)
		}
		id, err := o.Build(t.Context(), alice, req)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if state, err := o.Built(id); state != orchestrator.BuildDone {
			t.Errorf("a build of what lies beyond is %s: %v", state, err)
		}
	})
}

// A build that fails is tried again later and later, and what cannot be read is read at the source.
func TestABrokenRollupIsTheSourcesWork(t *testing.T) {
	withRollups(t, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators, s *shelf) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		failing := aggregated()
		failing.Rollup.Structure[0]++
		failing.Rollup.Build = func(orchestrator.Span) (driverfactory.Statement, error) {
			return driverfactory.Statement{SQL: "fail -- build"}, nil
		}
		for range 60 {
			if res := asksFor(t, o, alice, failing); res.Rollup != "" {
				t.Fatal("it was answered from a rollup that cannot be built")
			}
			time.Sleep(30 * time.Second)
		}
		if n := w.ran("fail -- build"); n != 6 {
			t.Errorf("%d tries in half an hour, want 6: the first, and others 1, 3, 7, 15 and 25 minutes after it", n)
		}
		for range 3 {
			asksFor(t, o, alice, aggregated())
		}
		s.mu.Lock()
		s.broken = errors.New("disk")
		s.mu.Unlock()
		time.Sleep(10 * time.Minute)
		again := aggregated()
		again.Cache = orchestrator.NoCache
		if res := asksFor(t, o, alice, again); res.Rollup != "" || res.Rows.First()[0] != alice.Principal.Key() {
			t.Errorf("a rollup that cannot be read is answered %v from %q", res.Rows.First()[0], res.Rollup)
		}
	})
}

// A text that ignores case at the source, or is none there, would be grouped and compared otherwise here.
func TestTextsThatCompareOtherwiseAreNotRolledUp(t *testing.T) {
	withRollups(t, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators, _ *shelf) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		req := aggregated()
		req.Rollup.Columns = slices.Clone(req.Rollup.Columns)
		req.Rollup.Columns[1].Type = "string" // a BIGINT at the source
		for range 100 {
			if res := asksFor(t, o, alice, req); res.Rollup != "" {
				t.Fatal("it was answered from the rollup")
			}
			time.Sleep(10 * time.Minute)
		}
		if n := w.ran(rollupBuild); n != 1 {
			t.Errorf("it was fetched %d times in 16 hours, want once", n)
		}
		id, err := o.Build(t.Context(), alice, req)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if state, err := o.Built(id); state != orchestrator.BuildFailed || codeOf(err) != "rollup_unfit" {
			t.Errorf("the build is %s: %v", state, err)
		}
	})
}

// Who posts a build is told how far it is; builds of one credential run one after another, and wait in a line with an end.
func TestBuildsThatArePosted(t *testing.T) {
	withRollups(t, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators, _ *shelf) {
		alice := person("alice")
		if _, err := o.Build(t.Context(), alice, aggregated()); !errors.Is(err, fault.ReauthorizationRequired) {
			t.Errorf("without a grant Build = %v", err)
		}
		w.grant(alice.Principal, 1)
		var ids []orchestrator.RollupID
		states := func() (all []orchestrator.BuildState) {
			synctest.Wait()
			for _, id := range ids {
				state, _ := o.Built(id)
				all = append(all, state)
			}
			return all
		}
		for n, sql := range []string{"sleep 1s", "sleep 2s", "fail"} {
			req := aggregated()
			req.Rollup.Structure[0] = byte(n)
			req.Rollup.Build = func(orchestrator.Span) (driverfactory.Statement, error) {
				return driverfactory.Statement{SQL: sql}, nil
			}
			id, err := o.Build(t.Context(), alice, req)
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		const waiting, running, done, failed = orchestrator.BuildWaiting, orchestrator.BuildRunning, orchestrator.BuildDone, orchestrator.BuildFailed
		for _, want := range [][]orchestrator.BuildState{{running, waiting, waiting}, {done, running, waiting}, {done, running, waiting}, {done, done, failed}} {
			if got := states(); !slices.Equal(got, want) {
				t.Errorf("the builds are %v, want %v", got, want)
			}
			time.Sleep(time.Second)
		}
		if state, _ := o.Built(orchestrator.RollupID{}); state != orchestrator.BuildUnknown {
			t.Errorf("a build that nobody posted is %s", state)
		}
		var err error
		for n := range 102 {
			req := aggregated()
			req.Rollup.Structure[1], req.Rollup.Structure[2] = byte(n), 1
			req.Rollup.Build = func(orchestrator.Span) (driverfactory.Statement, error) {
				return driverfactory.Statement{SQL: "sleep 1s"}, nil
			}
			_, err = o.Build(t.Context(), alice, req)
		}
		if codeOf(err) != "too_many_builds" {
			t.Errorf("the 102nd build that is posted at once: %v", err)
		}
		w.revoke(alice.Principal)
		o.Forget(alice.Principal.Key(), "app", 0, true)
		time.Sleep(time.Minute)
		if s := o.Stats(); s.Builds != 0 {
			t.Errorf("%d builds go on after the revocation", s.Builds)
		}
	})
}

// What somebody waits for comes before what is fetched for later.
func TestABuildWaitsForThePeople(t *testing.T) {
	withRollups(t, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators, _ *shelf) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		src := source("db", driverfactory.Limits{Concurrency: 1})
		req := aggregated()
		req.Source = src
		asksFor(t, o, alice, req)
		first, second := load(t.Context(), o, alice, query(src, "sleep 3s -- one")), load(t.Context(), o, alice, query(src, "sleep 3s -- two"))
		synctest.Wait()
		third := load(t.Context(), o, alice, req)
		for _, c := range []<-chan answer{first, second, third} {
			if a := <-c; a.err != nil {
				t.Fatal(a.err)
			}
		}
		synctest.Wait()
		order := w.started()
		if n := len(order); order[n-1] != rollupBuild || w.ran(rollupBuild) != 1 {
			t.Errorf("the statements ran in the order %q, want the build last", order)
		}
	})
}

// Old rows are served while new ones come, and not in place of an answer that the source does not give any more: who lost
// their rights there would read what they may not for as long as they ask.
func TestWhatTheSourceRefusesIsNotServedFromARollup(t *testing.T) {
	withRollups(t, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators, _ *shelf) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		build := rollupBuild
		ask := func(source string) (*orchestrator.Result, error) {
			req := aggregated()
			req.Statement.SQL = source
			req.Rollup.Build = func(orchestrator.Span) (driverfactory.Statement, error) {
				return driverfactory.Statement{SQL: build}, nil
			}
			res, err := o.Load(t.Context(), alice, req)
			synctest.Wait()
			return res, err
		}
		for range 3 {
			if _, err := ask(rollupSource); err != nil {
				t.Fatal(err)
			}
		}
		build = "refuse -- build"
		time.Sleep(time.Hour)
		if res, err := ask("refuse"); err != nil || res.Rollup == "" {
			t.Fatalf("what is old is not served while new rows are fetched: %v", err)
		}
		for range 3 {
			if res, err := ask("refuse"); err == nil {
				t.Errorf("the source refuses her, and she is answered from %q", res.Rollup)
			}
			time.Sleep(time.Hour)
		}
		build = rollupBuild
		for _, want := range []string{"", "orders.main"} {
			if res, err := ask(rollupSource); err != nil || res.Rollup != want {
				t.Errorf("once it gives them again she is answered %v, %v, want from %q", res, err, want)
			}
		}
	})
}

// A build that runs on a credential that was replaced ends with it, and is not drained as an answer is: what it brought would
// come after what is dropped.
func TestABuildDoesNotOutliveItsCredential(t *testing.T) {
	for name, hear := range map[string]func(*orchestrator.Orchestrators, string){
		"another consent":         func(o *orchestrator.Orchestrators, alice string) { o.Forget(alice, "app", 2, false) },
		"news that may be missed": func(o *orchestrator.Orchestrators, _ string) { o.Hear(notify.News{Topic: notify.Everything}) },
	} {
		t.Run(name, func(t *testing.T) {
			withRollups(t, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators, s *shelf) {
				alice := person("alice")
				w.grant(alice.Principal, 1)
				req := aggregated()
				req.Rollup.Build = func(orchestrator.Span) (driverfactory.Statement, error) {
					return driverfactory.Statement{SQL: "sleep 5s -- build"}, nil
				}
				asksFor(t, o, alice, req)
				asksFor(t, o, alice, req)
				w.grant(alice.Principal, 2)
				hear(o, alice.Principal.Key())
				time.Sleep(time.Minute)
				s.mu.Lock()
				defer s.mu.Unlock()
				if len(s.tables) != 0 {
					t.Errorf("%d rollups are left of a credential that was replaced", len(s.tables))
				}
			})
		})
	}
}

// Everybody's grants are revoked at once, and so are all rows.
func TestWhatIsRevokedForEverybodyLeavesNoRollup(t *testing.T) {
	withRollups(t, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators, s *shelf) {
		for _, sc := range []driverfactory.SecurityContext{person("alice"), person("bob")} {
			w.grant(sc.Principal, 1)
			for range 3 {
				asksFor(t, o, sc, aggregated())
			}
		}
		o.Forget("", "", 0, true)
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.tables) != 0 {
			t.Errorf("%d rollups are left", len(s.tables))
		}
	})
}

// Who may not use the source any more is not answered from what everybody shares, though nothing ended for the account that
// reads it.
func TestARevocationReachesWhoReadsASharedRollup(t *testing.T) {
	for name, revoke := range map[string]func(*warehouse, *orchestrator.Orchestrators, driverfactory.Principal){
		"heard": func(w *warehouse, o *orchestrator.Orchestrators, p driverfactory.Principal) {
			w.revoke(p)
			o.Forget(p.Key(), "app", 0, true)
		},
		"unheard": func(w *warehouse, _ *orchestrator.Orchestrators, p driverfactory.Principal) {
			w.revoke(p)
			time.Sleep(time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			withRollups(t, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators, s *shelf) {
				alice := person("alice")
				w.grant(alice.Principal, 1)
				req := aggregated()
				req.Rollup.Shared = true
				for range 2 {
					asksFor(t, o, alice, req)
				}
				s.asked = func() { revoke(w, o, alice.Principal) }
				if res, err := o.Load(t.Context(), alice, req); !errors.Is(err, fault.ReauthorizationRequired) {
					t.Errorf("she is answered %v, %v", res, err)
				}
			})
		})
	}
}

// Nor is who waited for a rollup in vain, and whose grant ended meanwhile, answered from what is kept for them.
func TestARevocationReachesWhoWaitedForARollupInVain(t *testing.T) {
	withRollups(t, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators, s *shelf) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		req := aggregated()
		for range 2 {
			asksFor(t, o, alice, req)
		}
		plain := req
		plain.Rollup, plain.FreshFor, req.FreshFor = nil, time.Hour, time.Hour
		asksFor(t, o, alice, plain)
		s.asked = func() {
			w.revoke(alice.Principal) // unheard
			time.Sleep(time.Second)
		}
		s.broken = errors.New("the file is damaged")
		if res, err := o.Load(t.Context(), alice, req); !errors.Is(err, fault.ReauthorizationRequired) {
			t.Errorf("she is answered %v, %v", res, err)
		}
	})
}

// Whoever is answered by the service account is recorded, by a rollup too: where nothing can be recorded, the source answers under
// their own credential, and what would fall back is not built.
func TestARollupOfTheServiceAccountIsTold(t *testing.T) {
	var (
		told []string
		fail error
	)
	s := &shelf{tables: map[orchestrator.RollupID]map[string]shelved{}}
	cfg := orchestrator.Config{PreAggregations: s, FellBack: func(_ context.Context, sc driverfactory.SecurityContext, req orchestrator.Request, as driverfactory.RunAs) error {
		told = append(told, sc.Username+" "+req.Source.Name+" "+as.Account+" "+as.Reason)
		return fail
	}}
	inBubble(t, cfg, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice, bob := person("alice"), person("bob") // who has no grant
		w.grant(alice.Principal, 1)
		w.fallback = true
		shared := aggregated()
		shared.Rollup.Shared = true
		want := func(all ...string) {
			t.Helper()
			if !slices.Equal(told, all) {
				t.Errorf("told %q, want %q", told, all)
			}
			told = nil
		}
		if _, err := o.Build(t.Context(), alice, shared); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want()
		for range 2 {
			if res := asksFor(t, o, alice, shared); res.Rollup == "" {
				t.Error("alice is not answered from the rollup")
			}
		}
		want("alice db svc shared_rollup", "alice db svc shared_rollup")
		if _, err := o.Build(t.Context(), bob, aggregated()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want("bob db svc not_connected")

		fail = &fault.Error{Kind: fault.Unavailable, Code: "audit_unavailable"}
		if res := asksFor(t, o, alice, shared); res.Rollup != "" || res.RunAs.Identity != driverfactory.IdentityUser {
			t.Errorf("while nothing can be recorded she is answered from %q as %s", res.Rollup, res.RunAs.Identity)
		}
		other := aggregated()
		other.Rollup.Structure[0]++
		if _, err := o.Build(t.Context(), bob, other); codeOf(err) != "audit_unavailable" {
			t.Errorf("while nothing can be recorded Build = %v", err)
		}
	})
}

// A long build is not lost because there was much news of others meanwhile.
func TestNewsOfOthersEndsNoBuild(t *testing.T) {
	withRollups(t, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators, _ *shelf) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		req := partitioned(3)
		req.Rollup.Build = func(orchestrator.Span) (driverfactory.Statement, error) {
			return driverfactory.Statement{SQL: "sleep 2s"}, nil
		}
		id, err := o.Build(t.Context(), alice, req)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			synctest.Wait()
			for n := range 1100 {
				o.Forget(person(fmt.Sprint("p", n)).Principal.Key(), "app", 2, false)
			}
			time.Sleep(2 * time.Second)
		}
		synctest.Wait()
		if state, err := o.Built(id); state != orchestrator.BuildDone {
			t.Errorf("the build is %s: %v", state, err)
		}
		if _, err := o.Build(t.Context(), alice, query(source("db", driverfactory.Limits{}), "x")); !errors.Is(err, fault.Invalid) {
			t.Errorf("a build of no rollup = %v", err)
		}
	})
}

// What a database says may quote rows: it is no part of the log.
func TestTheLogOfARollupHoldsNoRows(t *testing.T) {
	core, logged := observer.New(zap.DebugLevel)
	s := &shelf{tables: map[orchestrator.RollupID]map[string]shelved{}}
	inBubble(t, orchestrator.Config{PreAggregations: s, Log: zap.New(core)}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		req := aggregated()
		for range 3 {
			asksFor(t, o, alice, req)
		}
		s.broken = &fault.Error{Kind: fault.Invalid, Owner: fault.Database, Detail: "canary"}
		req.Cache = orchestrator.NoCache
		asksFor(t, o, alice, req)
		refused := aggregated()
		refused.Rollup.Structure[0]++
		refused.Rollup.Build = func(orchestrator.Span) (driverfactory.Statement, error) {
			return driverfactory.Statement{SQL: "refuse"}, nil // relation "visits" does not exist
		}
		for range 2 {
			asksFor(t, o, alice, refused)
		}
		for _, message := range []string{"rollup not read", "rollup not built"} {
			if logged.FilterMessage(message).Len() != 1 {
				t.Errorf("%q is logged %d times", message, logged.FilterMessage(message).Len())
			}
		}
		for _, e := range logged.All() {
			if text := fmt.Sprint(e.ContextMap()); strings.Contains(text, "canary") || strings.Contains(text, "visits") {
				t.Errorf("logged: %s %s", e.Message, text)
			}
		}
	})
}

// Rows that cannot be kept are fetched once a day in vain, and those that a disk has no room for soon again.
func TestWhatCannotBeKeptIsNotFetchedAgainAndAgain(t *testing.T) {
	for _, tt := range []struct {
		err  *fault.Error
		want int // in 16 hours
	}{
		{&fault.Error{Kind: fault.TooMany, Code: "rollups_of_person_full"}, 1},
		{&fault.Error{Kind: fault.Unavailable, Code: "rollups_unavailable"}, 100},
	} {
		withRollups(t, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators, s *shelf) {
			alice := person("alice")
			w.grant(alice.Principal, 1)
			s.full = tt.err
			for range 101 {
				asksFor(t, o, alice, aggregated())
				time.Sleep(10 * time.Minute)
			}
			if n := w.ran(rollupBuild); n != tt.want {
				t.Errorf("after %s it was fetched %d times, want %d", tt.err.Code, n, tt.want)
			}
		})
	}
}

// joined returns a request that is read from two rollups: one table, and a partition for each of some days.
func joined(days int) orchestrator.Request {
	one, other := aggregated(), partitioned(days)
	one.Rollup.Name, one.Rollup.Table, one.Rollup.Structure[0] = "users.all", "users__all", 9
	one.Rollup.Build = func(orchestrator.Span) (driverfactory.Statement, error) {
		return driverfactory.Statement{SQL: "read x -- users"}, nil
	}
	other.Rollup = &orchestrator.Rollup{Name: "orders.joined", Read: other.Rollup.Read, Parts: []*orchestrator.Rollup{other.Rollup, one.Rollup}}
	return other
}

// readOf writes what a statement read of each rollup.
func (s *shelf) readOf() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, part := range s.read {
		name := part.Name + ":"
		for _, t := range part.Tables {
			name += " " + t.Partition
		}
		all = append(all, fmt.Sprintf("%s of %t", strings.TrimSpace(name), part.ID.Scope == s.read[0].ID.Scope))
	}
	return strings.Join(all, ", ")
}

// What is read from several rollups has each of them built behind the second request, as it would be by itself, and is answered from
// all of them as soon as they are there.
func TestSeveralRollupsAreReadTogether(t *testing.T) {
	withRollups(t, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators, s *shelf) {
		for _, name := range []string{"alice", "bob"} {
			sc := person(name)
			w.grant(sc.Principal, 1)
			for n, want := range []string{"", "", "orders.joined", "orders.joined"} {
				res := asksFor(t, o, sc, joined(2))
				if res.Rollup != want {
					t.Errorf("request %d of %s is answered from %q, want %q", n+1, name, res.Rollup, want)
				}
				for row := range res.Rows.All() {
					if row[0] != sc.Principal.Key() {
						t.Errorf("request %d of %s was given rows of %v", n+1, name, row[0])
					}
				}
				if want == "" {
					continue
				}
				if len(res.Rollups) != 2 || res.Rollups[0].Name != "orders.main" || res.Rollups[1].Name != "users.all" || res.RefreshedAt.After(res.Rollups[0].RefreshedAt) || res.RefreshedAt.After(res.Rollups[1].RefreshedAt) {
					t.Errorf("request %d of %s was read from %+v, the oldest at %s", n+1, name, res.Rollups, res.RefreshedAt)
				}
			}
			if got, want := s.readOf(), "orders__main: 20240101 20240102 of true, users__all: of true"; got != want {
				t.Errorf("read %q, want %q", got, want)
			}
			// A part answers by itself too.
			if res := asksFor(t, o, sc, partitioned(2)); res.Rollup != "orders.main" || len(res.Rollups) != 1 {
				t.Errorf("a part by itself is answered from %q, %+v", res.Rollup, res.Rollups)
			}
		}
		if builds, users := w.ran(rollupBuild+" 20240101"), w.ran("read x -- users"); builds != 2 || users != 2 {
			t.Errorf("%d and %d builds for two people, want each their own", builds, users)
		}
		if _, err := o.Build(t.Context(), person("alice"), joined(2)); !errors.Is(err, fault.Invalid) {
			t.Errorf("what has no rows of its own is built: %v", err)
		}
	})
}

// One of several that is missing, old or failed is as it would be by itself: the source answers, or old rows do while new ones come.
func TestOneOfSeveralRollupsIsMissingOrOld(t *testing.T) {
	withRollups(t, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators, s *shelf) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		failing := joined(2)
		failing.Rollup.Parts[1].Build = func(orchestrator.Span) (driverfactory.Statement, error) {
			return driverfactory.Statement{SQL: "fail"}, nil
		}
		for n := range 4 {
			if res := asksFor(t, o, alice, failing); res.Rollup != "" {
				t.Errorf("request %d is answered from %q, half of which cannot be built", n+1, res.Rollup)
			}
		}
		if n := w.ran(rollupBuild + " 20240101"); n != 1 {
			t.Errorf("%d builds of the half that can, want 1", n)
		}
		time.Sleep(time.Minute)
		asksFor(t, o, alice, joined(2)) // the other half is tried again
		if res := asksFor(t, o, alice, joined(2)); res.Rollup == "" {
			t.Error("with both halves there the source answers")
		}
		if res := asksFor(t, o, alice, joined(3)); res.Rollup != "" {
			t.Error("a partition that is not there is answered")
		}
		if res := asksFor(t, o, alice, joined(3)); res.Rollup == "" {
			t.Error("the partition was not built behind it")
		}
		time.Sleep(time.Hour)
		exact := joined(3)
		exact.Cache = orchestrator.MustRevalidate
		if res := asksFor(t, o, alice, exact); res.Rollup != "" {
			t.Error("who wants nothing old is answered from what is old")
		}
		if res := asksFor(t, o, alice, exact); res.Rollup == "" {
			t.Error("all parts were not renewed behind it")
		}
		time.Sleep(time.Hour)
		exact.Rollup.Parts[0].Age = func(orchestrator.Span, time.Time) (time.Time, bool) { return time.Time{}, false }
		if res := asksFor(t, o, alice, exact); res.Rollup != "" {
			t.Error("who wants nothing old is answered where one of two is old")
		}
		if res := asksFor(t, o, alice, exact); res.Rollup == "" {
			t.Error("the one that was old was not renewed behind it")
		}
		s.mu.Lock()
		s.broken = errors.New("broken")
		s.mu.Unlock()
		again := joined(2)
		if res := asksFor(t, o, alice, again); res.Rollup != "" {
			t.Errorf("rollups that cannot be read are answered from %q", res.Rollup)
		}
	})
}

// Of rollups that are united the partitions are read that the plan says; one of them may have none.
func TestUnitedRollupsAreReadAsThePlanSays(t *testing.T) {
	withRollups(t, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators, s *shelf) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		united := func(whole bool, of ...int) orchestrator.Request {
			old, late := partitioned(3), partitioned(3)
			late.Rollup.Name, late.Rollup.Structure[0] = "orders.late", 7
			partial := old.Rollup.Partitions
			old.Rollup.Partitions = func(from, to time.Time) ([]orchestrator.Span, bool, error) {
				spans, _, err := partial(from, to)
				return spans, false, err // by itself it would not do
			}
			old.Rollup = &orchestrator.Rollup{Name: "orders.both", Read: old.Rollup.Read, Parts: []*orchestrator.Rollup{old.Rollup, late.Rollup}}
			old.Rollup.United = func(reach [][2]time.Time) (spans [][]orchestrator.Span, rest *orchestrator.Span, all bool, err error) {
				for i, r := range reach {
					if r[0].Format(time.DateOnly) != "2024-01-01" || r[1].Format(time.DateOnly) != "2024-01-31" {
						return nil, nil, false, fmt.Errorf("the bounds are %v", r)
					}
					days, _, err := partial(r[0], r[1])
					if err != nil {
						return nil, nil, false, err
					}
					var read []orchestrator.Span
					for d, s := range days {
						if d < len(of) && of[d] == i {
							read = append(read, s)
						}
					}
					spans = append(spans, read)
				}
				return spans, nil, whole, nil
			}
			return old
		}
		asksFor(t, o, alice, united(true, 0, 1, 1))
		asksFor(t, o, alice, united(true, 0, 1, 1))
		for _, tt := range []struct {
			req        orchestrator.Request
			want, used string
		}{
			{united(true, 0, 1, 1), "orders__main: 20240101 of true, orders__main: 20240102 20240103 of true", "orders.main orders.late"},
			{united(true, 0, 0), "orders__main: 20240101 20240102 of true", "orders.main"},
			{united(true, 1), "orders__main: 20240101 of true", "orders.late"},
			{united(true), "", ""},
			{united(false, 0, 1, 1), "", ""},
		} {
			s.mu.Lock()
			s.read = nil
			s.mu.Unlock()
			res := asksFor(t, o, alice, tt.req)
			var names []string
			for _, r := range res.Rollups {
				names = append(names, r.Name)
			}
			if got, used := s.readOf(), strings.Join(names, " "); got != tt.want || used != tt.used || (res.Rollup != "") != (tt.want != "") {
				t.Errorf("%q read %q of %q, want %q of %q", res.Rollup, got, used, tt.want, tt.used)
			}
		}
	})
}

// In rollup-only mode nothing goes to the source: what no rollup holds is refused in Cube's words, and so is what is not built yet,
// which is built at once.
func TestRollupOnlyModeAsksNoSource(t *testing.T) {
	s := &shelf{tables: map[orchestrator.RollupID]map[string]shelved{}}
	inBubble(t, orchestrator.Config{PreAggregations: s, RollupOnly: true}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		exact, both := aggregated(), joined(1)
		exact.Cache, both.Rollup.Parts[0].Structure[0] = orchestrator.NoCache, 5
		rest := joined(1)
		rest.Rollup.Parts = rest.Rollup.Parts[:1]
		rest.Rollup.Parts[0].Structure[0] = 6
		rest.Rollup.United = func(reach [][2]time.Time) ([][]orchestrator.Span, *orchestrator.Span, bool, error) {
			spans, _, err := rest.Rollup.Parts[0].Partitions(reach[0][0], reach[0][1])
			return [][]orchestrator.Span{spans}, &orchestrator.Span{Name: "after"}, true, err
		}
		for n, tt := range []struct {
			req     orchestrator.Request
			refused bool
			passed  time.Duration // before
		}{
			{query(source("db", driverfactory.Limits{}), rollupSource), true, 0},
			{aggregated(), true, 0},
			{aggregated(), false, 0},
			{both, true, 0},
			{both, false, 0},
			{rest, true, 0},
			{rest, true, 0}, // what comes after the rollup is the source's
			{exact, true, time.Hour},
			{exact, false, 0},
		} {
			time.Sleep(tt.passed)
			res, err := o.Load(t.Context(), alice, tt.req)
			synctest.Wait()
			e, _ := errors.AsType[*fault.Error](err)
			switch {
			case tt.refused && (e == nil || e.Kind != fault.Invalid || e.Code != "not_preaggregated" ||
				e.Detail != "No pre-aggregation table has been built for this query yet. Please check your refresh worker configuration if it persists."):
				t.Errorf("request %d is answered %v", n+1, err)
			case !tt.refused && err != nil:
				t.Errorf("request %d: %v", n+1, err)
			case err == nil && res.Rollup == "":
				t.Errorf("request %d went to the source", n+1)
			}
			res.Close()
		}
		if n := w.ran(rollupSource) + w.ran(rollupBuild+" after"); n != 0 {
			t.Errorf("%d statements went to the source", n)
		}
		if _, err := o.Load(t.Context(), person("mallory"), aggregated()); !errors.Is(err, fault.ReauthorizationRequired) {
			t.Errorf("somebody without a grant is answered %v", err)
		}
	})
}

// What comes after the rollups of a union is asked of the source for who asks, who waits for it as for any statement; it is kept as long
// as a result would be served, for them alone.
func TestARollupIsReadWithTheRestOfItsSource(t *testing.T) {
	withRollups(t, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators, s *shelf) {
		after := orchestrator.Span{Name: "after", From: time.Date(2024, 1, 3, 0, 0, 0, 0, time.UTC), To: time.Date(2024, 2, 1, 0, 0, 0, 0, time.UTC)}
		with := func(rest string) orchestrator.Request {
			req := partitioned(2)
			of := *req.Rollup
			build := of.Build
			of.Build = func(s orchestrator.Span) (driverfactory.Statement, error) {
				if s == after {
					return driverfactory.Statement{SQL: rest}, nil
				}
				return build(s)
			}
			req.Rollup = &orchestrator.Rollup{Name: "orders.both", Read: of.Read, Parts: []*orchestrator.Rollup{&of}}
			req.Rollup.United = func(reach [][2]time.Time) ([][]orchestrator.Span, *orchestrator.Span, bool, error) {
				spans, _, err := of.Partitions(reach[0][0], reach[0][1])
				return [][]orchestrator.Span{spans}, &after, true, err
			}
			return req
		}
		const rest = "read x -- rest"
		for _, name := range []string{"alice", "bob"} {
			sc := person(name)
			w.grant(sc.Principal, 1)
			ran := w.ran(rest)
			for n := range 4 {
				res := asksFor(t, o, sc, with(rest))
				if want := map[bool]string{true: "orders.both"}[n > 1]; res.Rollup != want {
					t.Errorf("request %d of %s is answered from %q, want %q", n+1, name, res.Rollup, want)
				}
				for row := range res.Rows.All() {
					if row[0] != sc.Principal.Key() {
						t.Errorf("request %d of %s was given rows of %v", n+1, name, row[0])
					}
				}
				if n > 1 && (len(res.Rollups) != 1 || res.Rollups[0].Name != "orders.main") {
					t.Errorf("it was read from %+v", res.Rollups)
				}
			}
			if got, want := s.readOf(), "orders__main: 20240101 20240102 of true, orders__main: after of true"; got != want {
				t.Errorf("read %q, want %q", got, want)
			}
			if n := w.ran(rest) - ran; n != 1 {
				t.Errorf("the rest of %s was asked for %d times in one moment, want once", name, n)
			}
		}

		alice, ran := person("alice"), w.ran(rest)
		time.Sleep(10 * time.Second)
		now := w.change("x")
		res := asksFor(t, o, alice, with(rest))
		last := int64(0)
		for row := range res.Rows.All() {
			last = row[2].(int64)
		}
		if last != now || w.ran(rest) != ran+1 {
			t.Errorf("after ten seconds the rest is %d, asked for %d times more, want %d", last, w.ran(rest)-ran, now)
		}
		exact := with(rest)
		exact.Cache = orchestrator.NoCache
		if asksFor(t, o, alice, exact); w.ran(rest) != ran+2 {
			t.Error("who wants nothing kept is answered with a rest that was")
		}

		// It takes its time, and is waited for as a statement is.
		slow := with("sleep 15s read x -- rest")
		slow.Cache = orchestrator.NoCache
		if _, err := o.Load(t.Context(), alice, slow); !errors.As(err, new(*orchestrator.ContinueWait)) {
			t.Errorf("a rest that takes 15 s is answered after 10 s: %v", err)
		}
		time.Sleep(6 * time.Second)
		if res := asksFor(t, o, alice, slow); res.Rollup != "orders.both" {
			t.Errorf("the next poll is answered from %q", res.Rollup)
		}

		// What the source refuses it refuses for the whole query, and a revocation leaves nothing of it.
		refused := with("refuse -- rest")
		refused.Cache, refused.Statement.SQL = orchestrator.NoCache, "refuse"
		if res, err := o.Load(t.Context(), alice, refused); err == nil {
			t.Errorf("what the source refuses is answered from %q", res.Rollup)
		}
		w.revoke(alice.Principal)
		o.Forget(alice.Principal.Key(), "app", 0, true)
		synctest.Wait()
		for id := range s.tables {
			if id.Scope.Principal == alice.Principal {
				t.Errorf("there are rows of %+v", id.Scope)
			}
		}
		if _, err := o.Load(t.Context(), alice, with(rest)); !errors.Is(err, fault.ReauthorizationRequired) {
			t.Errorf("after a revocation she is answered %v", err)
		}
	})
}
