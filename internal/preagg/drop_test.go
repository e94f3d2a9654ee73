//go:build cgo

package preagg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
)

// slow takes a minute.
const slow = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range * b.range % 7 = 3"

func of(name string) func(driverfactory.PoolKey) bool {
	return func(k driverfactory.PoolKey) bool { return k.Principal.Subject == name }
}

// wantNothing says that nothing of a person is on disk, in s and after a restart.
func wantNothing(t *testing.T, s *Store, of ID) {
	t.Helper()
	if tables := s.Tables(of); len(tables) != 0 {
		t.Errorf("there are the tables %v, want none", tables)
	}
	if _, err := os.Stat(filepath.Join(s.scopesDir(), placeOf(of.Scope).String())); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder of the scope: %v, want none", err)
	}
	s.emptyTrash() // as Run does
	if left, err := filepath.Glob(filepath.Join(s.trashDir(), "*")); err != nil || len(left) != 0 {
		t.Errorf("the trash holds %v, %v, want nothing", left, err)
	}
}

func TestWhatIsDroppedIsNotReadAnyMore(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	alice, bob := rollup("alice", "x"), rollup("bob", "x")
	write(t, s, alice, "1", 1)
	write(t, s, alice, "2", 2)
	write(t, s, alice, "2", 3)
	write(t, s, ID{Scope: key("alice", 2)}, "", 4)
	write(t, s, bob, "", 5)
	tables := s.Tables(alice)
	statement := driverfactory.Statement{SQL: "SELECT * FROM t, range(10000)"}
	r, err := s.Query(t.Context(), []Part{{alice, "t", tables}}, statement)
	if err != nil {
		t.Fatal(err)
	}
	row := make([]any, 2)
	if more, err := r.Next(row); !more || err != nil {
		t.Fatalf("Next = %v, %v, want a row", more, err)
	}
	found := s.scope(alice.Scope) // by who is about to begin
	if err := s.Drop(of("alice")); err != nil {
		t.Fatalf("Drop = %v, want no error", err)
	}
	if _, _, err := found.enter(t.Context()); code(err) != "rollup_dropped" {
		t.Errorf("enter = %v, want rollup_dropped", err)
	}
	if more, err := r.Next(row); more || code(err) != "rollup_dropped" {
		t.Errorf("Next of rows that were computed = %v, %v, want rollup_dropped", more, err)
	}
	if more, err := r.Next(row); more || err != nil {
		t.Errorf("Next after the end = %v, %v, want nothing", more, err)
	}
	if _, err := s.Query(t.Context(), []Part{{alice, "t", tables}}, statement); code(err) != "rollup_gone" {
		t.Errorf("Query of the tables that were there = %v, want rollup_gone", err)
	}
	wantNothing(t, s, alice)
	wantNothing(t, s, ID{Scope: key("alice", 2)})
	wantNumbers(t, s, bob, 5)
	if s.readers.count() != 1 {
		t.Errorf("%d instances are open, want bob's", s.readers.count())
	}
	write(t, s, alice, "", 6) // who authorizes again begins with nothing
	wantNumbers(t, s, alice, 6)
	if _, err := s.Query(t.Context(), []Part{{alice, "t", tables}}, statement); code(err) != "rollup_gone" {
		t.Errorf("Query of the tables of before = %v, want rollup_gone", err)
	}
	if err := s.Drop(of("alice")); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, Config{Dir: dir})
	wantNothing(t, s, alice)
	wantNumbers(t, s, bob, 5)
}

// Who tells of a revocation is not held up: not by who writes, where there is nothing to drop, and never by a deletion, which is
// Run's, at once.
func TestADropIsQuickAndRunDeletes(t *testing.T) {
	s := open(t, Config{})
	alice := rollup("alice", "x")
	write(t, s, alice, "", 1)
	s.folders.Lock() // somebody writes, to a slow disk
	if err := s.Drop(of("bob")); err != nil {
		t.Errorf("Drop of nothing = %v", err)
	}
	s.folders.Unlock()
	if err := s.Drop(of("alice")); err != nil {
		t.Fatal(err)
	}
	if left := files(t, s.trashDir()); len(left) == 0 {
		t.Error("the files were deleted while whoever dropped them waited")
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	for deadline := time.Now().Add(time.Minute); len(files(t, s.cfg.Dir)) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("Run leaves %v", files(t, s.cfg.Dir))
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run = %v", err)
	}
}

func TestADropEndsWhatRuns(t *testing.T) {
	s := open(t, Config{})
	alice := rollup("alice", "x")
	write(t, s, alice, "", 1)
	tables := s.Tables(alice)
	var group sync.WaitGroup
	started := make(chan struct{}, 3)
	for range 2 {
		group.Go(func() {
			started <- struct{}{}
			_, err := all(s.Query(t.Context(), []Part{{alice, "t", tables}}, driverfactory.Statement{SQL: slow}))
			if code(err) != "rollup_dropped" && code(err) != "rollup_gone" { // gone when it has not begun
				t.Errorf("a statement that ran = %v, want rollup_dropped", err)
			}
		})
	}
	group.Go(func() {
		rows := numbers(2, 3)
		rows.at = func(n int) { // the source is slow: it returns the second row after the Drop
			if n == 1 {
				started <- struct{}{}
				for s.scope(alice.Scope) != nil {
					time.Sleep(time.Millisecond)
				}
			}
		}
		_, err := s.Write(t.Context(), alice, Table{Partition: "2"}, one, rows)
		if code(err) != "rollup_dropped" {
			t.Errorf("a Write under way = %v, want rollup_dropped", err)
		}
	})
	for range 3 {
		<-started
	}
	if err := s.Drop(of("alice")); err != nil {
		t.Fatal(err)
	}
	group.Wait()
	wantNothing(t, s, alice)
}

// At whatever moment of a Write the Drop comes, nothing of it is left.
func TestAWriteBringsBackNothingThatWasDropped(t *testing.T) {
	alice := rollup("alice", "x")
	for _, at := range []Failpoint{"rows", AfterFile} {
		for _, there := range []bool{false, true} {
			t.Run(fmt.Sprint(at, there), func(t *testing.T) {
				dir := t.TempDir()
				var s *Store
				drop := sync.OnceFunc(func() {
					if err := s.Drop(of("alice")); err != nil {
						t.Errorf("Drop = %v, want no error", err)
					}
					wantNothing(t, s, alice)
				})
				armed := false
				s = open(t, Config{Dir: dir, Failpoint: func(p Failpoint) {
					if armed && p == at {
						drop()
					}
				}})
				if there {
					write(t, s, alice, "", 1)
				}
				armed = true
				rows := numbers(2)
				rows.at = func(int) {
					if at == "rows" {
						drop()
					}
				}
				_, err := s.Write(t.Context(), alice, Table{}, one, rows)
				if code(err) != "rollup_dropped" {
					t.Errorf("Write = %v, want rollup_dropped", err)
				}
				wantNothing(t, s, alice)
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = open(t, Config{Dir: dir})
				wantNothing(t, s, alice)
			})
		}
	}
	// Once the Table is in its place the Drop waits, and takes it away.
	for _, at := range []Failpoint{AfterRows, AfterRename} {
		var s *Store
		dropped := make(chan error, 1)
		s = open(t, Config{Failpoint: func(p Failpoint) {
			if p == at {
				go func() { dropped <- s.Drop(of("alice")) }()
			}
		}})
		if _, err := s.Write(t.Context(), alice, Table{}, one, numbers(2)); err != nil {
			t.Errorf("Write = %v, want no error: it was done before", err)
		}
		if err := <-dropped; err != nil {
			t.Errorf("Drop = %v, want no error", err)
		}
		wantNothing(t, s, alice)
	}
}

// A credential ends as the orchestrator does it: its fetches are cancelled, then its rollups dropped. Whatever runs at the
// same time, nobody reads what was fetched before, and nobody another's.
func TestWhatWasFetchedBeforeADropIsNeverReadAfterIt(t *testing.T) {
	s := open(t, Config{MaxOpen: 2})
	people := []string{"alice", "bob", "carol"}
	type person struct {
		mu         sync.Mutex
		generation atomic.Int64
		fetch      context.Context
		cancel     context.CancelFunc
	}
	all3 := map[string]*person{}
	for i, name := range people {
		p := &person{}
		p.fetch, p.cancel = context.WithCancel(t.Context())
		p.generation.Store(int64(i+1) * 1_000_000)
		all3[name] = p
	}
	var group sync.WaitGroup
	var stop atomic.Bool
	var dropped, written, read atomic.Int64
	for _, name := range people {
		p := all3[name]
		id := rollup(name, "x")
		for range 2 {
			group.Go(func() {
				for n := 0; !stop.Load(); n++ {
					p.mu.Lock()
					ctx, generation := p.fetch, p.generation.Load()
					p.mu.Unlock()
					if _, err := s.Write(ctx, id, Table{Partition: fmt.Sprint(n % 3)}, one, numbers(generation, generation)); err == nil {
						written.Add(1)
					} else if !errors.Is(err, fault.Canceled) && !errors.Is(err, fault.Gone) {
						t.Errorf("Write = %v", err)
					}
				}
			})
			group.Go(func() {
				for !stop.Load() {
					from := p.generation.Load()
					rows, err := all(s.Query(t.Context(), []Part{{id, "t", s.Tables(id)}}, driverfactory.Statement{SQL: "SELECT * FROM t"}))
					if err != nil && !errors.Is(err, fault.Gone) && !errors.Is(err, fault.Invalid) {
						t.Errorf("Query = %v", err)
					}
					to := p.generation.Load()
					for _, row := range rows {
						read.Add(1)
						if v := row[0].(int64); v < from || v > to {
							t.Errorf("%s read %d, which was fetched before %d or is another's", name, v, from)
						}
					}
				}
			})
		}
	}
	for n := range 30 {
		name := people[n%3]
		p := all3[name]
		p.mu.Lock()
		p.cancel()
		p.mu.Unlock()
		if err := s.Drop(of(name)); err != nil {
			t.Errorf("Drop = %v", err)
		}
		p.mu.Lock()
		p.fetch, p.cancel = context.WithCancel(t.Context())
		p.generation.Add(1)
		p.mu.Unlock()
		dropped.Add(1)
		if n%10 == 0 {
			s.Sweep(t.Context())
		}
		for before := written.Load(); written.Load() == before && !t.Failed(); {
			time.Sleep(time.Millisecond)
		}
	}
	stop.Store(true)
	group.Wait()
	for _, p := range all3 {
		p.cancel()
	}
	t.Logf("%d drops, %d tables written, %d rows read", dropped.Load(), written.Load(), read.Load())
}

func TestCloseEndsWhatRuns(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	alice := rollup("alice", "x")
	write(t, s, alice, "", 1)
	r, err := s.Query(t.Context(), []Part{{alice, "t", s.Tables(alice)}}, driverfactory.Statement{SQL: "SELECT * FROM t"})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	started := make(chan struct{})
	tables := s.Tables(alice)
	go func() {
		close(started)
		_, err := all(s.Query(t.Context(), []Part{{alice, "t", tables}}, driverfactory.Statement{SQL: slow}))
		ended <- err
	}()
	<-started
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; code(err) != "stopping" {
		t.Errorf("a statement that ran = %v, want stopping", err)
	}
	if more, err := r.Next(make([]any, 1)); more || code(err) != "stopping" {
		t.Errorf("Next = %v, %v, want stopping", more, err)
	}
	if s.readers.count() != 0 {
		t.Errorf("%d instances are open", s.readers.count())
	}
	if _, err := s.Write(t.Context(), alice, Table{}, one, numbers(1)); code(err) != "stopping" {
		t.Errorf("Write = %v, want stopping", err)
	}
	if err := s.Drop(of("alice")); code(err) != "stopping" {
		t.Errorf("Drop = %v, want stopping", err)
	}
	if tables := s.Tables(alice); tables != nil {
		t.Errorf("Tables = %v, want none", tables)
	}
	s.Sweep(t.Context())
	s2 := open(t, Config{Dir: dir})
	wantNumbers(t, s2, alice, 1)
	if _, err := Open(Config{Dir: dir}); !errors.Is(err, fault.Unavailable) {
		t.Errorf("Open of what is open = %v, want fault.Unavailable", err)
	}
}

func TestACallerWhoLeavesEndsTheBuildAndTheStatement(t *testing.T) {
	s := open(t, Config{})
	alice := rollup("alice", "x")
	write(t, s, alice, "", 1)
	for _, tt := range []struct {
		name string
		err  error
		want fault.Kind
	}{{"leaves", nil, fault.Canceled}, {"says why", errDropped, fault.Gone}, {"has no more time", context.DeadlineExceeded, fault.Timeout}} {
		ctx, cancel := context.WithCancelCause(t.Context())
		rows := numbers(make([]int64, 5000)...)
		rows.at = func(n int) {
			if n == 2000 {
				cancel(tt.err)
			}
			if n > 2000+rowsPerCheck {
				t.Errorf("row %d is read after the caller left", n)
			}
		}
		if _, err := s.Write(ctx, alice, Table{}, one, rows); fault.KindOf(err) != tt.want {
			t.Errorf("Write, and the caller %s: %v, want %s", tt.name, err, tt.want)
		}
		ctx, cancel = context.WithCancelCause(t.Context())
		started := make(chan struct{})
		go func() {
			<-started
			cancel(tt.err)
		}()
		close(started)
		if _, err := all(s.Query(ctx, []Part{{alice, "t", s.Tables(alice)}}, driverfactory.Statement{SQL: slow})); fault.KindOf(err) != tt.want {
			t.Errorf("Query, and the caller %s: %v, want %s", tt.name, err, tt.want)
		}
		ctx, cancel = context.WithCancelCause(t.Context())
		r, err := s.Query(ctx, []Part{{alice, "t", s.Tables(alice)}}, driverfactory.Statement{SQL: "SELECT * FROM t"})
		if err != nil {
			t.Fatal(err)
		}
		cancel(tt.err)
		if more, err := r.Next(make([]any, 1)); more || fault.KindOf(err) != tt.want {
			t.Errorf("Next, and the caller %s: %v, %v, want %s", tt.name, more, err, tt.want)
		}
	}
	if left, err := filepath.Glob(filepath.Join(s.buildsDir(), "*")); err != nil || len(left) != 0 {
		t.Errorf("builds left %v, %v", left, err)
	}
	wantNumbers(t, s, alice, 1)
	failing := errors.New("canary")
	rows := numbers(1)
	rows.err = failing
	if _, err := s.Write(t.Context(), alice, Table{}, one, rows); err != failing {
		t.Errorf("Write = %v, want the error of the source as it is", err)
	}
}
