package orchestrator_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/sqlstore/sqlstoretest"
	"github.com/behalf-project/behalf/orchestrator"
	"github.com/behalf-project/behalf/orchestrator/orchestratortest"
)

// inTheSource returns aggregated, whose rollup is kept in its source.
func inTheSource() orchestrator.Request {
	req := aggregated()
	req.Rollup.InSource, req.Rollup.Type = tableSQL(), "rollup"
	req.Rollup.Read = driverfactory.Statement{SQL: "-- the rollup"}
	return req
}

// tableSQL is in the words of the warehouse.
func tableSQL() *orchestrator.TableSQL {
	say := func(verb string) func(orchestrator.SourceTable) driverfactory.Statement {
		return func(t orchestrator.SourceTable) driverfactory.Statement {
			return driverfactory.Statement{SQL: verb + " " + t.Schema + "." + t.Name}
		}
	}
	return &orchestrator.TableSQL{
		Schema: "kept",
		Over: func(s driverfactory.Statement, tables map[string][]orchestrator.SourceTable) driverfactory.Statement {
			for _, name := range slices.Sorted(maps.Keys(tables)) {
				for _, t := range tables[name] {
					s.SQL = "over " + t.Schema + "." + t.Name + " " + s.SQL
				}
			}
			return s
		},
		Create: func(t orchestrator.SourceTable, rows driverfactory.Statement) driverfactory.Statement {
			return driverfactory.Statement{SQL: "make " + t.Schema + "." + t.Name + " AS " + rows.SQL}
		},
		Indexes:      func(orchestrator.SourceTable) []driverfactory.Statement { return nil },
		CreateSchema: say("schema"), Count: say("count"), Drop: say("drop"),
	}
}

// withSources runs test with rollups that are kept in their sources, by replicas of one store.
func withSources(t *testing.T, replicas int, test func(t *testing.T, all []replica)) {
	tables := sqlstoretest.OpenSQLite(t, nil).SourceTables()
	cfgs := make([]orchestrator.Config, replicas)
	for i := range cfgs {
		cfgs[i].SourceTables = tables
	}
	inReplicas(t, cfgs, test)
}

// A rollup in its source is made by who asks for it, behind the second request, and read there under the same credential.
func TestARollupInItsSource(t *testing.T) {
	withSources(t, 1, func(t *testing.T, all []replica) {
		w, o := all[0].warehouse, all[0].Orchestrators
		w.change("x")
		for _, sc := range []driverfactory.SecurityContext{person("alice"), person("bob")} {
			w.grant(sc.Principal, 1)
			for n, want := range []string{"", "", "orders.main", "orders.main"} {
				res := asksFor(t, o, sc, inTheSource())
				if res.Rollup != want || res.RunAs.Identity != driverfactory.IdentityUser || res.Rows.First()[0] != sc.Principal.Key() {
					t.Errorf("request %d of %s was answered from %q as %s, with the rows of %v, want %q", n+1, sc.Username, res.Rollup, res.RunAs.Identity, res.Rows.First()[0], want)
				}
				if want != "" && (len(res.Rollups) != 1 || res.Rollups[0].Schema != "kept" || res.Rollups[0].Type != "rollup" || !res.RefreshedAt.Equal(res.Rollups[0].RefreshedAt)) {
					t.Errorf("request %d of %s read %+v, of %s", n+1, sc.Username, res.Rollups, res.RefreshedAt)
				}
			}
			if n := w.tables(sc.Principal); n != 1 {
				t.Errorf("%s has %d tables, want 1", sc.Username, n)
			}
		}
		list, _ := o.Rollups(orchestrator.Viewer{Principal: person("alice").Principal}, "", 0)
		if len(list) != 1 || list[0].Name != "orders.main" || list[0].Partitions != 1 || list[0].Rows != 1 || list[0].State != orchestrator.BuildDone {
			t.Errorf("alice sees %+v", list)
		}
		for _, sql := range w.started() {
			if strings.Contains(sql, "-- the rollup") && !strings.HasPrefix(sql, "over kept.r_orders_main_") {
				t.Errorf("a rollup was read by %q", sql)
			}
		}
	})
}

// One that is out of date is made again behind the answer, beside the old one, which is dropped when nobody can be reading it any more.
func TestAnOldTableIsReplacedAndDropped(t *testing.T) {
	withSources(t, 1, func(t *testing.T, all []replica) {
		w, o, alice := all[0].warehouse, all[0].Orchestrators, person("alice")
		w.grant(alice.Principal, 1)
		first := w.change("x")
		for range 3 {
			asksFor(t, o, alice, inTheSource())
		}
		for hour := range 3 {
			next := w.change("x")
			time.Sleep(time.Hour)
			if got := asksFor(t, o, alice, inTheSource()).Rows.First()[2]; got != first {
				t.Errorf("in hour %d it reads %v, want the old %d", hour, got, first)
			}
			if got := asksFor(t, o, alice, inTheSource()).Rows.First()[2]; got != next {
				t.Errorf("in hour %d it reads %v, want the new %d", hour, got, next)
			}
			if n := w.tables(alice.Principal); n != 2 {
				t.Errorf("in hour %d there are %d tables, want the new one and the one before", hour, n)
			}
			first = next
		}
	})
}

// What a grant made that has ended is not read under the next one, which drops it.
func TestTablesOfAnEndedGrantAreDroppedUnderTheNext(t *testing.T) {
	withSources(t, 1, func(t *testing.T, all []replica) {
		w, o, alice := all[0].warehouse, all[0].Orchestrators, person("alice")
		w.grant(alice.Principal, 1)
		w.change("x")
		for range 3 {
			asksFor(t, o, alice, inTheSource())
		}
		before := w.made.names("")
		o.Forget(alice.Principal.Key(), "app", 0, true)
		w.revoke(alice.Principal)
		if _, err := o.Load(t.Context(), alice, inTheSource()); !errors.Is(err, fault.ReauthorizationRequired) {
			t.Fatalf("without a grant she is answered %v", err)
		}
		w.grant(alice.Principal, 2)
		for n, want := range []string{"", "", "orders.main"} {
			if res := asksFor(t, o, alice, inTheSource()); res.Rollup != want || res.Rows.First()[1] != int64(2) {
				t.Errorf("request %d under the next grant is answered from %q by %v", n+1, res.Rollup, res.Rows.First())
			}
		}
		if w.tables(alice.Principal) != 1 || slices.Contains(w.made.names(""), before[0]) {
			t.Errorf("there are %v, and %v was made before", w.made.names(""), before)
		}
	})
}

// Who may make no table is answered by the source, and it is not tried with each request.
func TestWhoMayMakeNoTableIsAnsweredByTheSource(t *testing.T) {
	withSources(t, 1, func(t *testing.T, all []replica) {
		w, o, alice := all[0].warehouse, all[0].Orchestrators, person("alice")
		w.grant(alice.Principal, 1)
		w.readOnly = true
		for range 20 {
			if res := asksFor(t, o, alice, inTheSource()); res.Rollup != "" {
				t.Fatalf("it is answered from %q", res.Rollup)
			}
		}
		tries := 0
		for _, sql := range w.started() {
			if strings.HasPrefix(sql, "make ") {
				tries++
			}
		}
		if tries != 1 {
			t.Errorf("a table was tried %d times in one moment, want once", tries)
		}
	})
}

// A table that somebody dropped in the source is noticed: the source answers, and it is made again.
func TestATableThatIsGoneIsMadeAgain(t *testing.T) {
	withSources(t, 1, func(t *testing.T, all []replica) {
		w, o, alice := all[0].warehouse, all[0].Orchestrators, person("alice")
		w.grant(alice.Principal, 1)
		w.change("x")
		for range 3 {
			asksFor(t, o, alice, inTheSource())
		}
		clear(w.made.byName)
		req := inTheSource()
		req.Cache = orchestrator.NoCache
		for n, want := range []string{"", "", "orders.main"} {
			if res := asksFor(t, o, alice, req); res.Rollup != want {
				t.Errorf("request %d after it was dropped is answered from %q, want %q", n+1, res.Rollup, want)
			}
		}
		if n := w.tables(alice.Principal); n != 1 {
			t.Errorf("there are %d tables, want 1", n)
		}
	})
}

// Tables that are there, and that the source does not answer from, are not looked for again and again.
func TestATableThatIsNotReadIsLeftAlone(t *testing.T) {
	withSources(t, 1, func(t *testing.T, all []replica) {
		w, o, alice := all[0].warehouse, all[0].Orchestrators, person("alice")
		w.grant(alice.Principal, 1)
		req := inTheSource()
		req.Rollup.Read.SQL = "refuse"
		for range 20 {
			if res := asksFor(t, o, alice, req); res.Rollup != "" {
				t.Fatalf("it is answered from %q", res.Rollup)
			}
		}
		counts := 0
		for _, sql := range w.started() {
			if strings.HasPrefix(sql, "count ") {
				counts++
			}
		}
		if counts != 2 { // when it was made, and when it was doubted
			t.Errorf("its rows were counted %d times", counts)
		}
	})
}

// What one replica made another reads, without a build of its own.
func TestAReplicaReadsTheTablesOfAnother(t *testing.T) {
	withSources(t, 2, func(t *testing.T, all []replica) {
		alice := person("alice")
		for _, r := range all {
			r.grant(alice.Principal, 1)
		}
		for range 3 {
			asksFor(t, all[0].Orchestrators, alice, inTheSource())
		}
		all[1].made = all[0].made // one database
		req := inTheSource()
		req.Cache = orchestrator.NoCache
		if res := asksFor(t, all[1].Orchestrators, alice, req); res.Rollup != "orders.main" {
			t.Errorf("the other is answered from %q", res.Rollup)
		}
		for _, sql := range all[1].started() {
			if strings.HasPrefix(sql, "make ") {
				t.Errorf("the other makes %q", sql)
			}
		}
	})
}

// A build that its source did not answer leaves nothing that nobody knows of: what it may have made is dropped.
func TestWhatABuildMayHaveLeftIsDropped(t *testing.T) {
	withSources(t, 1, func(t *testing.T, all []replica) {
		w, o, alice := all[0].warehouse, all[0].Orchestrators, person("alice")
		w.grant(alice.Principal, 1)
		req := inTheSource()
		build := req.Rollup.Build
		broken := true
		req.Rollup.Build = func(s orchestrator.Span) (driverfactory.Statement, error) {
			if broken {
				return driverfactory.Statement{SQL: "away"}, nil
			}
			return build(s)
		}
		for range 2 {
			asksFor(t, o, alice, req)
		}
		if res := asksFor(t, o, alice, req); res.Rollup != "" {
			t.Fatalf("it is answered from %q", res.Rollup)
		}
		broken = false
		time.Sleep(90 * time.Minute)
		for range 2 {
			asksFor(t, o, alice, req)
		}
		dropped := 0
		for _, sql := range w.started() {
			if strings.HasPrefix(sql, "drop kept.") {
				dropped++
			}
		}
		if dropped != 1 || w.tables(alice.Principal) != 1 {
			t.Errorf("%d tables were dropped, want the one that may have been made, and %d are there", dropped, w.tables(alice.Principal))
		}
	})
}

// A rollup that is built from an original_sql has that made first, and an answer over one is as fresh as the cubes beside it.
func TestARollupIsBuiltFromAnOriginal(t *testing.T) {
	withSources(t, 1, func(t *testing.T, all []replica) {
		w, o, alice := all[0].warehouse, all[0].Orchestrators, person("alice")
		w.grant(alice.Principal, 1)
		w.change("x")
		original := *inTheSource().Rollup
		original.Name, original.Table, original.Structure, original.Type = "orders.raw", "orders__raw", [32]byte{2}, "originalSql"
		original.Build = func(orchestrator.Span) (driverfactory.Statement, error) {
			return driverfactory.Statement{SQL: "read x -- original"}, nil
		}
		req := inTheSource()
		req.Rollup.From = []*orchestrator.Rollup{&original}
		for n, want := range []string{"", "", "orders.main"} {
			if res := asksFor(t, o, alice, req); res.Rollup != want {
				t.Errorf("request %d is answered from %q, want %q", n+1, res.Rollup, want)
			}
		}
		if n := w.tables(alice.Principal); n != 2 {
			t.Errorf("there are %d tables, want those of both", n)
		}
		over := query(source("db", driverfactory.Limits{}), rollupSource)
		over.Rollup = &orchestrator.Rollup{Name: "orders.raw", InSource: tableSQL(), Parts: []*orchestrator.Rollup{&original}, Read: driverfactory.Statement{SQL: "read y"}, Beside: true}
		over.RefreshKeys = []orchestrator.RefreshKey{{Statement: driverfactory.Statement{SQL: "read y -- key"}, Every: time.Minute}}
		over.FreshFor = 6 * time.Hour
		for range 3 {
			res := asksFor(t, o, alice, over)
			if res.Rollup != "orders.raw" || len(res.Rollups) != 1 || res.Rollups[0].Type != "originalSql" {
				t.Fatalf("it is answered from %q: %+v", res.Rollup, res.Rollups)
			}
		}
		look := "over " + w.made.names("orders_raw")[0] + " read y"
		before := w.ran(look)
		w.change("y")
		time.Sleep(2 * time.Minute)
		if asksFor(t, o, alice, over); w.ran(look) != before+1 {
			t.Error("another answer of the refresh key of the cube beside it brings no new answer")
		}
	})
}

// Revoked while a table is made: what comes of it is read by nobody.
func TestATableThatIsMadeWhileTheGrantEnds(t *testing.T) {
	withSources(t, 1, func(t *testing.T, all []replica) {
		w, o, alice := all[0].warehouse, all[0].Orchestrators, person("alice")
		w.grant(alice.Principal, 1)
		req := inTheSource()
		build := req.Rollup.Build
		req.Rollup.Build = func(s orchestrator.Span) (driverfactory.Statement, error) {
			made, err := build(s)
			made.SQL = "sleep 5s " + made.SQL
			return made, err
		}
		for range 2 {
			res, err := o.Load(t.Context(), alice, req)
			if err != nil {
				t.Fatal(err)
			}
			res.Close()
		}
		time.Sleep(time.Second)
		o.Forget(alice.Principal.Key(), "app", 0, true)
		w.grant(alice.Principal, 2)
		synctest.Wait()
		if res := asksFor(t, o, alice, inTheSource()); res.Rollup != "" {
			t.Errorf("it is answered from %q", res.Rollup)
		}
		if n := w.canceled.Load(); n != 1 {
			t.Errorf("%d statements were cancelled, want the one that made a table", n)
		}
	})
}

// An orchestrator that is flushed reads no table of before, and drops it.
func TestFlushedTablesAreDropped(t *testing.T) {
	withSources(t, 1, func(t *testing.T, all []replica) {
		w, o, alice := all[0].warehouse, all[0].Orchestrators, person("alice")
		w.grant(alice.Principal, 1)
		for range 3 {
			asksFor(t, o, alice, inTheSource())
		}
		list, _ := o.List("", 0)
		flushed, err := o.Flush(t.Context(), list[0].ID)
		if err != nil || flushed.Rollups != 1 {
			t.Fatalf("Flush = %+v, %v", flushed, err)
		}
		before := w.made.names("")[0]
		for n, want := range []string{"", "", "orders.main"} {
			if res := asksFor(t, o, alice, inTheSource()); res.Rollup != want {
				t.Errorf("request %d is answered from %q, want %q", n+1, res.Rollup, want)
			}
		}
		if w.tables(alice.Principal) != 1 || w.made.names("")[0] == before {
			t.Errorf("there are %v", w.made.names(""))
		}
	})
}

// Tables that another process made, or this one before it was started anew, are flushed all the same.
func TestTablesOfAnotherProcessAreFlushed(t *testing.T) {
	withSources(t, 2, func(t *testing.T, all []replica) {
		alice, bob := person("alice"), person("bob")
		all[1].made = all[0].made
		for _, r := range all {
			r.grant(alice.Principal, 1)
			r.grant(bob.Principal, 1)
		}
		for range 3 {
			asksFor(t, all[0].Orchestrators, bob, inTheSource())
			asksFor(t, all[0].Orchestrators, alice, inTheSource())
		}
		asksFor(t, all[1].Orchestrators, alice, query(source("db", driverfactory.Limits{}), "something else"))
		list, _ := all[1].List("", 0)
		flushed, err := all[1].Flush(t.Context(), list[0].ID)
		if err != nil || flushed.Rollups != 1 {
			t.Fatalf("Flush = %+v, %v, want her one rollup", flushed, err)
		}
		for n, want := range []string{"", "", "orders.main"} {
			if res := asksFor(t, all[1].Orchestrators, alice, inTheSource()); res.Rollup != want {
				t.Errorf("request %d after it is answered from %q, want %q", n+1, res.Rollup, want)
			}
		}
		if res := asksFor(t, all[0].Orchestrators, bob, inTheSource()); res.Rollup != "orders.main" || all[0].tables(bob.Principal) != 1 || all[0].tables(alice.Principal) != 1 {
			t.Errorf("bob is answered from %q, and they have %d and %d tables", res.Rollup, all[0].tables(bob.Principal), all[0].tables(alice.Principal))
		}
	})
}

// What nobody uses any more is dropped in the end, under the credential that made it, although nothing is built there again.
func TestTablesThatNobodyUsesAreDroppedInTheEnd(t *testing.T) {
	var told uses
	tables := sqlstoretest.OpenSQLite(t, nil).SourceTables()
	inBubble(t, orchestrator.Config{SourceTables: tables, Used: told.used}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		req := partitioned(30)
		req.Rollup.InSource, req.Rollup.Type, req.Rollup.Ahead = tableSQL(), "rollup", true
		for range 3 {
			asksFor(t, o, alice, req)
		}
		use, n := told.last()
		if n != 1 || !use.InSource || use.Ended {
			t.Fatalf("told %d times, last of %+v", n, use)
		}
		if n := w.tables(alice.Principal); n != 30 {
			t.Fatalf("she has %d tables, want 30", n)
		}
		ends := func(after time.Duration, want int) {
			t.Helper()
			time.Sleep(time.Until(use.At.Add(after)))
			use.Ended = true
			if err := o.Refresh(t.Context(), use, req); err != nil {
				t.Errorf("Refresh = %v, want no error", err)
			}
			if n := w.tables(alice.Principal); n != want {
				t.Errorf("%v after the last use she has %d tables, want %d", after, n, want)
			}
		}
		ends(6*24*time.Hour, 30)
		ends(7*24*time.Hour, 0)
		w.revoke(alice.Principal)
		if err := o.Refresh(t.Context(), use, req); !errors.Is(err, fault.ReauthorizationRequired) {
			t.Errorf("Refresh without a grant = %v, want refused", err)
		}
	})
}

// Nobody drops the tables of another, whatever they build: those are neither older nor of another grant for them.
func TestNobodyDropsTheTablesOfAnother(t *testing.T) {
	withSources(t, 1, func(t *testing.T, all []replica) {
		w, o, alice, bob := all[0].warehouse, all[0].Orchestrators, person("alice"), person("bob")
		w.grant(alice.Principal, 1)
		w.grant(bob.Principal, 7)
		for range 2 {
			for _, sc := range []driverfactory.SecurityContext{alice, bob} {
				for range 3 {
					asksFor(t, o, sc, inTheSource())
				}
			}
			time.Sleep(2 * time.Hour)
		}
		for _, sc := range []driverfactory.SecurityContext{alice, bob} {
			if res := asksFor(t, o, sc, inTheSource()); res.Rollup != "orders.main" || w.tables(sc.Principal) == 0 {
				t.Errorf("%s is answered from %q, and has %d tables", sc.Username, res.Rollup, w.tables(sc.Principal))
			}
		}
	})
}

// book is a SourceTables in memory, for histories that are played many times.
type book struct {
	mu   sync.Mutex
	rows []*page
}

// page is a table in a book.
type page struct {
	of                 orchestrator.SourceRollup
	t                  orchestrator.SourceTable
	until, used, again time.Time
	built, left        bool
	replaced           time.Time
}

func (b *book) Begin(_ context.Context, of orchestrator.SourceRollup, t orchestrator.SourceTable, now, until time.Time, most int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, p := range b.rows {
		if p.of.Holder == of.Holder {
			n++
		}
		if p.t.Name == t.Name {
			return fault.New(fault.Conflict, "taken")
		}
	}
	if n >= most {
		return fault.New(fault.TooMany, "too many")
	}
	b.rows = append(b.rows, &page{of: of, t: t, until: until, used: now})
	return nil
}

func (b *book) Built(_ context.Context, of orchestrator.SourceRollup, t orchestrator.SourceTable, now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.rows, func(p *page) bool { return p.t.Name == t.Name && p.of == of && p.t.Partition == t.Partition })
	if i < 0 || b.rows[i].left || !b.rows[i].replaced.IsZero() || !b.rows[i].built && !b.rows[i].until.After(now) {
		return fault.New(fault.Gone, "gone")
	}
	if b.rows[i].built {
		return nil
	}
	for _, p := range b.rows {
		if p.of == of && p.t.Partition == t.Partition && p.built && p.replaced.IsZero() {
			p.replaced = now
		}
	}
	b.rows[i].t, b.rows[i].built, b.rows[i].used = t, true, now
	return nil
}

func (b *book) Tables(_ context.Context, of orchestrator.SourceRollup) (all []orchestrator.SourceTable, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.rows {
		if p.of == of && p.built && !p.left && p.replaced.IsZero() {
			all = append(all, p.t)
		}
	}
	return all, nil
}

func (b *book) Used(_ context.Context, of orchestrator.SourceRollup, now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.rows {
		if p.of == of && !p.left && p.used.Before(now) {
			p.used = now
		}
	}
	return nil
}

func (b *book) LeftOver(_ context.Context, holder, scope string, now, replaced, unused, again time.Time, n int) (all []orchestrator.SourceTable, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.rows {
		over := p.left || p.of.Scope != scope || !p.replaced.IsZero() && p.replaced.Before(replaced) || p.replaced.IsZero() && p.used.Before(unused)
		if !p.built {
			over = !p.until.After(now)
		}
		if p.of.Holder == holder && over && !p.again.After(now) && len(all) < n {
			p.left, p.again = true, again
			all = append(all, p.t)
		}
	}
	return all, nil
}

func (b *book) Release(_ context.Context, person string, _ time.Time) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	rollups := map[[2]string]bool{}
	for _, p := range b.rows {
		if p.of.Person == person && person != "" && p.built && !p.left {
			p.left = true
			rollups[[2]string{p.of.Holder, p.of.Structure}] = true
		}
	}
	return len(rollups), nil
}

func (b *book) Dropped(_ context.Context, name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rows = slices.DeleteFunc(b.rows, func(p *page) bool { return p.t.Name == name })
	return nil
}

// The book keeps what a store must keep.
func TestTheBook(t *testing.T) {
	orchestratortest.TestSourceTables(t, func(*testing.T) orchestrator.SourceTables { return new(book) })
}

// silent is a book that does not say what is in it.
type silent struct {
	book
	asked atomic.Int64
}

func (s *silent) Tables(context.Context, orchestrator.SourceRollup) ([]orchestrator.SourceTable, error) {
	s.asked.Add(1)
	return nil, fault.New(fault.Unavailable, "The store does not answer.")
}

// A store that does not answer is waited for now and then, and not by every request: the source answers these.
func TestAStoreThatIsAwayIsNotAskedByEveryRequest(t *testing.T) {
	store := new(silent)
	inBubble(t, orchestrator.Config{SourceTables: store}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		for range 20 {
			if res := asksFor(t, o, alice, inTheSource()); res.Rollup != "" {
				t.Fatalf("it is answered from %q", res.Rollup)
			}
		}
		if n := store.asked.Load(); n != 2 { // by the first request, and by a build
			t.Errorf("the store was asked %d times in one moment", n)
		}
		time.Sleep(6 * time.Second)
		if asksFor(t, o, alice, inTheSource()); store.asked.Load() != 3 {
			t.Errorf("the store was asked %d times after a while", store.asked.Load())
		}
	})
}
