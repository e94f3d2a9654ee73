//go:build cgo

package preagg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
)

func TestTables(t *testing.T) {
	now := newClock()
	dir := t.TempDir()
	s := open(t, Config{Dir: dir, Now: now.now})
	of := rollup("alice", "x")
	want := []Table{}
	for _, p := range []string{"20260103", "", "2026_01-A"} {
		now.move(time.Second)
		write(t, s, of, p, 1)
		now.move(time.Second)
		got, err := s.Write(t.Context(), of, Table{Partition: p, Content: "keys " + p, BuiltAt: now.at.Add(-time.Minute), Rows: 99, Bytes: 99}, one, numbers(1, 2, 3))
		if err != nil {
			t.Fatal(err)
		}
		if got.Rows != 3 || got.Bytes < 100 || got.Content != "keys "+p || !got.BuiltAt.Equal(now.at.Add(-time.Minute)) {
			t.Errorf("Write = %+v", got)
		}
		want = append(want, got)
	}
	slices.SortFunc(want, func(a, b Table) int { return strings.Compare(a.Partition, b.Partition) })
	shown := func(tables []Table) (out string) {
		for _, t := range tables {
			out += fmt.Sprintln(t.Partition, t.Content, t.BuiltAt, t.Rows, t.Bytes)
		}
		return out
	}
	if got := shown(s.Tables(of)); got != shown(want) {
		t.Errorf("Tables =\n%swant\n%s", got, shown(want))
	}
	s.Tables(of)[0].Partition = "it is the caller's"
	if got := s.Tables(rollup("alice", "y")); len(got) != 0 {
		t.Errorf("Tables of another structure = %v", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, Config{Dir: dir, Now: now.now})
	if got := shown(s.Tables(of)); got != shown(want) {
		t.Errorf("after a restart Tables =\n%swant\n%s", got, shown(want))
	}
	// A clock that went back makes no difference: what was built last is the newest.
	now.move(-time.Hour)
	write(t, s, of, "", 7)
	if got := s.Tables(of)[0]; got.Content != "[7]" {
		t.Errorf("the newest is %+v, want what was built last", got)
	}
	wantCounted(t, s)
}

func TestNoNameOfAPersonIsInAPathAndNobodyElseReadsTheFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rollups")
	s := open(t, Config{Dir: dir})
	write(t, s, rollup("alice@example.com", "x"), "2026", 1)
	n := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		n++
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := os.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has the mode %o, want %o", path, got, want)
		}
		for _, part := range []string{"alice", "example", "local", "dom"} {
			if rel, _ := filepath.Rel(dir, path); strings.Contains(rel, part) {
				t.Errorf("%s names %s", rel, part)
			}
		}
		return nil
	})
	if err != nil || n < 9 {
		t.Errorf("there are %d files, %v", n, err)
	}
}

func TestAFolderThatCannotBeUsed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]fault.Kind{"": fault.Invalid, "/tmp/a*b": fault.Invalid, file: fault.Unavailable, filepath.Join(file, "x"): fault.Unavailable} {
		s, err := Open(Config{Dir: dir})
		if !errors.Is(err, want) {
			t.Errorf("Open in %q = %v, want %s", dir, err, want)
		}
		if s != nil {
			_ = s.Close()
		}
	}
}

// DuckDB would take such a path for columns, for settings, or for more than one string.
func TestFoldersWithOddNames(t *testing.T) {
	for _, name := range []string{"year=2026", "it's", "a b&threads=9", "ünï", `back\slash`, "a{b}", "%20", "a;b--", `"q"`} {
		s := open(t, Config{Dir: filepath.Join(t.TempDir(), name)})
		of := rollup("alice", "x")
		write(t, s, of, "", 1)
		rows, err := query(t, s, of, "SELECT * FROM t")
		if err != nil || len(rows) != 1 || len(rows[0]) != 1 || rows[0][0] != int64(1) {
			t.Errorf("in %q: %v, %v, want one row of one column", name, rows, err)
		}
	}
}

func TestOwnersHaveABoundAndEverybodyTogether(t *testing.T) {
	probe := open(t, Config{})
	size := write(t, probe, rollup("alice", "x"), "", 1).Bytes + noteCost
	now := newClock()
	s := open(t, Config{MaxBytes: 5 * size, MaxBytesPerOwner: 3 * size, Now: now.now})
	put := func(of ID, partition string, n int64) error {
		now.move(time.Second)
		_, err := s.Write(context.Background(), of, Table{Partition: partition}, one, numbers(n))
		return err
	}
	alice, bob := rollup("alice", "x"), rollup("bob", "x")
	service := ID{Scope: driverfactory.PoolKey{Domain: "dom", Source: "db", Service: true}}
	for n := range int64(10) { // one current and two superseded have room, so the rest goes before its time
		if err := put(alice, "1", n); err != nil {
			t.Fatalf("Write = %v, want room made of superseded tables", err)
		}
		wantNumbers(t, s, alice, n)
		wantCounted(t, s)
	}
	if got := len(files(t, s.scopesDir())); got != 6 {
		t.Errorf("%d files, want those of three tables", got)
	}
	for p := range 2 {
		if err := put(ID{Scope: key("alice", 2), Structure: alice.Structure}, fmt.Sprint(p), 1); err != nil { // of another scope
			t.Errorf("Write of another partition = %v, want no error", err)
		}
	}
	if err := put(alice, "2", 1); code(err) != "rollups_of_person_full" || !errors.Is(err, fault.TooMany) {
		t.Errorf("Write of a fourth table = %v, want rollups_of_person_full", err)
	}
	if err := put(alice, "1", 50); err != nil {
		t.Errorf("Write in place of one of three = %v, want no error", err)
	}
	wantNumbers(t, s, alice, 50)
	if err := put(service, "1", 1); err != nil {
		t.Error(err)
	}
	if err := put(bob, "1", 2); err != nil {
		t.Error(err)
	}
	for _, of := range []ID{bob, service} {
		if err := put(of, "2", 2); code(err) != "rollups_full" || !errors.Is(err, fault.TooMany) {
			t.Errorf("Write when everything is full = %v, want rollups_full", err)
		}
	}
	wantCounted(t, s)
	if err := s.Drop(of("alice")); err != nil {
		t.Fatal(err)
	}
	wantCounted(t, s)
	for p := range 4 { // a service account is nobody: it may take what there is
		if err := put(service, fmt.Sprint(p), 1); err != nil {
			t.Errorf("Write of the service account = %v, want no error", err)
		}
	}
	wantCounted(t, s)
}

func TestABuildThatIsTooLarge(t *testing.T) {
	s := open(t, Config{MaxRows: 3})
	of := rollup("alice", "x")
	write(t, s, of, "", 1, 2, 3)
	if _, err := s.Write(t.Context(), of, Table{}, one, numbers(1, 2, 3, 4)); code(err) != "rollup_too_large" || !errors.Is(err, fault.TooMany) {
		t.Errorf("Write of four rows = %v, want rollup_too_large", err)
	}
	s = open(t, Config{MaxMemory: 1, MaxBytesPerOwner: 1 << 20})
	if _, err := s.Write(t.Context(), of, Table{}, []Column{{"a", String}}, &longTexts{rows: 200_000}); code(err) != "rollup_too_large" {
		t.Errorf("Write of more than memory and disk may take = %v, want rollup_too_large", err)
	}
	s = open(t, Config{MaxMemory: 1})
	table, err := s.Write(t.Context(), of, Table{}, []Column{{"a", String}}, &longTexts{rows: 200_000})
	if err != nil || table.Rows != 200_000 {
		t.Errorf("Write of more than fits into memory = %+v, %v, want it to spill", table, err)
	}
	if left, err := os.ReadDir(s.buildsDir()); err != nil || len(left) > 0 {
		t.Errorf("the builds left %v, %v", left, err)
	}
}

// longTexts are rows of long texts.
type longTexts struct{ rows, n int }

func (r *longTexts) Columns() []driverfactory.Column { return make([]driverfactory.Column, 1) }
func (r *longTexts) Close() error                    { return nil }
func (r *longTexts) Next(dest []any) (bool, error) {
	r.n++
	dest[0] = fmt.Sprintf("%d %s %d", r.n*7919%r.rows, strings.Repeat("text ", 100), r.n)
	return r.n <= r.rows, nil
}

func TestSweep(t *testing.T) {
	now := newClock()
	dir := t.TempDir()
	s := open(t, Config{Dir: dir, Now: now.now})
	alice, bob := rollup("alice", "x"), rollup("bob", "x")
	write(t, s, alice, "1", 1)
	write(t, s, alice, "2", 2)
	write(t, s, bob, "1", 3)
	now.move(time.Minute)
	write(t, s, alice, "1", 4)
	now.move(graceTime - time.Second)
	s.Sweep(t.Context())
	if n := len(files(t, dir)); n != 8 {
		t.Errorf("%d files, want those of four tables: one was superseded less than %s ago", n, graceTime)
	}
	now.move(time.Second)
	s.Sweep(t.Context())
	if n := len(files(t, dir)); n != 6 {
		t.Errorf("%d files, want those of three tables", n)
	}
	wantNumbers(t, s, alice, 2, 4)
	// A table that is read stays, however old; its use is known after a restart, if it was not in the last hour.
	for range 5 {
		now.move(6 * time.Hour)
		if _, err := all(s.Query(t.Context(), []Part{{alice, "t", s.Tables(alice)[1:]}}, driverfactory.Statement{SQL: "SELECT * FROM t"})); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, Config{Dir: dir, Now: now.now})
	}
	s.Sweep(t.Context())
	wantNumbers(t, s, alice, 2)
	if tables := s.Tables(bob); len(tables) != 0 {
		t.Errorf("bob's tables that nobody read for a day: %v, want none", tables)
	}
	wantNothing(t, s, bob)
	wantCounted(t, s)
	now.move(unusedTime)
	s.Sweep(t.Context())
	wantNothing(t, s, alice)
	if len(s.scopes) != 0 || len(s.owners) != 0 || s.bytes != 0 {
		t.Errorf("%d scopes, %d owners and %d bytes are counted, want nothing", len(s.scopes), len(s.owners), s.bytes)
	}
	write(t, s, alice, "", 9)
	wantNumbers(t, s, alice, 9)
}

// A Write that begins while its empty scope is swept waits for the next one.
func TestAWriteMeetsASweep(t *testing.T) {
	s := open(t, Config{})
	of := rollup("alice", "x")
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				s.Sweep(context.Background())
			}
		}
	}()
	for n := range int64(20) {
		write(t, s, of, "", n)
		wantNumbers(t, s, of, n)
		if err := s.Drop(func(driverfactory.PoolKey) bool { return true }); err != nil {
			t.Fatal(err)
		}
		rows := numbers(1)
		rows.err = errors.New("the source fails") // and leaves a scope with nothing in it
		if _, err := s.Write(t.Context(), of, Table{}, one, rows); err != rows.err {
			t.Fatalf("Write = %v, want the error of the source", err)
		}
	}
	close(stop)
	<-done
}

func TestRunSweepsAndStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Config{})
		of := rollup("alice", "x")
		write(t, s, of, "", 1)
		wantNumbers(t, s, of, 1)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Run(ctx) }()
		time.Sleep(idleTime * 6 / 5)
		synctest.Wait()
		if n := s.readers.count(); n != 0 {
			t.Errorf("%d instances are open after minutes without use", n)
		}
		time.Sleep(unusedTime - idleTime*6/5 - 1)
		synctest.Wait()
		if len(s.Tables(of)) != 1 {
			t.Error("it was swept before its time")
		}
		time.Sleep(sweepEvery)
		synctest.Wait()
		if len(s.Tables(of)) != 0 {
			t.Error("it was not swept")
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}

// An owner whose rollups nobody reads is a scope in memory and files.
func TestAnOwnerAtRestIsSmall(t *testing.T) {
	s := open(t, Config{})
	heap := func() float64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	const people = 20_000
	before := heap()
	for i := range people {
		k := key(fmt.Sprintf("usr_01jc3v4k9e8r7x2m5n0q6t%04d", i), 1)
		s.account(s.register(k), 1)
	}
	if each := (heap() - before) / people; each > 600 {
		t.Errorf("a scope takes %.0f bytes, want less than 600", each)
	} else {
		t.Logf("a scope takes %.0f bytes", each)
	}
	if err := s.Drop(func(driverfactory.PoolKey) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if len(s.scopes) != 0 || len(s.owners) != 0 {
		t.Errorf("%d scopes and %d owners are left", len(s.scopes), len(s.owners))
	}
}

func TestTheShelfIsBounded(t *testing.T) {
	s := newShelf()
	for i := range 100 {
		s.put(shelfKey{scope: place{byte(i)}}, make([]Table, maxShelved/10))
	}
	if s.tables > maxShelved || s.used.Len() != len(s.lists) || len(s.lists) != 9 {
		t.Errorf("%d tables in %d lists, want no more than %d", s.tables, len(s.lists), maxShelved)
	}
	if _, ok := s.get(shelfKey{scope: place{99}}); !ok {
		t.Error("the last is not there")
	}
	s.forget(map[place]bool{{99}: true, {98}: true})
	s.remove(shelfKey{scope: place{97}})
	if len(s.lists) != 6 {
		t.Errorf("%d lists, want 6", len(s.lists))
	}
	s.put(shelfKey{}, make([]Table, 2*maxShelved))
	s.put(shelfKey{scope: place{1}}, nil)
	if len(s.lists) != 1 || s.tables != 1 {
		t.Errorf("%d tables in %d lists, want the last, which is empty", s.tables, len(s.lists))
	}
}

// Nothing stays open that was read or built: no file, no memory of DuckDB, no goroutine (see TestMain).
func TestNothingStaysOpen(t *testing.T) {
	openFiles := func() int {
		entries, err := os.ReadDir("/dev/fd")
		if err != nil {
			t.Fatalf("The files that are open cannot be counted: %v", err)
		}
		return len(entries)
	}
	dir := t.TempDir()
	round := func() {
		s, err := Open(Config{Dir: dir, MaxOpen: 3})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 6 {
			id := rollup(fmt.Sprint("p", i), "x")
			write(t, s, id, "", int64(i))
			wantNumbers(t, s, id, int64(i))
			if _, err := query(t, s, id, "SELECT * FROM u"); err == nil {
				t.Error("no error")
			}
			if _, err := s.Write(t.Context(), id, Table{}, one, rowsOf([]any{"x"})); err == nil {
				t.Error("no error")
			}
		}
		if err := s.Drop(of("p1")); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	round()
	files, goroutines := openFiles(), runtime.NumGoroutine()
	const rounds = 5
	for range rounds {
		round()
	}
	if n := openFiles(); n > files {
		t.Errorf("%d files are open, want %d as before", n, files)
	}
	// Less than one a round: the runtime has goroutines of its own, of finalizers and clean-ups, that come and go.
	if n := runtime.NumGoroutine(); n >= goroutines+rounds {
		t.Errorf("%d goroutines, want about %d as before", n, goroutines)
	}
}

// TestModel compares the store with a map, through any history of writes, reads, drops, sweeps, restarts and time.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "preagg")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		now := newClock()
		var s *Store
		start := func() {
			var err error
			if s, err = Open(Config{Dir: dir, MaxOpen: 2, Now: now.now}); err != nil {
				t.Fatal(err)
			}
		}
		start()
		defer func() { _ = s.Close() }()
		type part struct {
			id        ID
			partition string
		}
		type held struct {
			value int64
			used  time.Time
		}
		model := map[part]held{}
		var earlier []Table // that somebody has been told of
		n := int64(0)
		drawID := func(t *rapid.T) ID {
			return ID{
				Scope:     key(rapid.SampledFrom([]string{"alice", "bob"}).Draw(t, "who"), rapid.Int64Range(1, 2).Draw(t, "epoch")),
				Structure: [32]byte{byte(rapid.IntRange(1, 2).Draw(t, "structure"))},
			}
		}
		of := func(id ID) map[string]int64 {
			parts := map[string]int64{}
			for p, h := range model {
				if p.id == id {
					parts[p.partition] = h.value
				}
			}
			return parts
		}
		check := func(t *rapid.T, id ID) {
			want := of(id)
			tables := s.Tables(id)
			got := map[string]int64{}
			for _, table := range tables {
				rows, err := all(s.Query(context.Background(), []Part{{id, "t", []Table{table}}}, driverfactory.Statement{SQL: "SELECT * FROM t"}))
				if err != nil || len(rows) != 1 || table.Content != fmt.Sprint(rows[0]) {
					t.Fatalf("the table %+v holds %v, %v", table, rows, err)
				}
				got[table.Partition] = rows[0][0].(int64)
				p := part{id, table.Partition}
				model[p] = held{model[p].value, now.at}
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("the rollup holds %v, want %v", got, want)
			}
			if len(tables) == 0 {
				return
			}
			rows, err := all(s.Query(context.Background(), []Part{{id, "t", tables}}, driverfactory.Statement{SQL: `SELECT sum("orders.n") FROM t`}))
			sum := int64(0)
			for _, v := range want {
				sum += v
			}
			if err != nil || rows[0][0] != sum {
				t.Fatalf("the sum of all partitions is %v, %v, want %d", rows, err, sum)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				p := part{drawID(t), rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "partition")}
				n++
				if _, err := s.Write(context.Background(), p.id, Table{Partition: p.partition, Content: fmt.Sprint([]int64{n})}, one, numbers(n)); err != nil {
					t.Fatal(err)
				}
				model[p] = held{n, now.at}
			},
			"write in vain": func(t *rapid.T) {
				id := drawID(t)
				rows := numbers(1)
				rows.err = errors.New("the source fails")
				if _, err := s.Write(context.Background(), id, Table{}, one, rows); err != rows.err {
					t.Fatal(err)
				}
			},
			"read": func(t *rapid.T) {
				id := drawID(t)
				earlier = s.Tables(id)
				check(t, id)
			},
			"read what was there": func(t *rapid.T) {
				id := drawID(t)
				if len(earlier) == 0 {
					return
				}
				rows, err := all(s.Query(context.Background(), []Part{{id, "t", earlier}}, driverfactory.Statement{SQL: "SELECT * FROM t"}))
				if err == nil && fmt.Sprint(rows[0]) != earlier[0].Content || err != nil && !errors.Is(err, fault.Gone) && !errors.Is(err, fault.Denied) {
					t.Fatalf("the table %+v holds %v, %v", earlier[0], rows, err)
				}
				for _, table := range earlier {
					if p := (part{id, table.Partition}); err == nil && table.Content == fmt.Sprint([]int64{model[p].value}) {
						model[p] = held{model[p].value, now.at}
					}
				}
			},
			"drop": func(t *rapid.T) {
				who, epoch := rapid.SampledFrom([]string{"alice", "bob"}).Draw(t, "who"), rapid.Int64Range(1, 2).Draw(t, "up to")
				match := func(k driverfactory.PoolKey) bool { return k.Principal.Subject == who && k.Epoch <= epoch }
				if err := s.Drop(match); err != nil {
					t.Fatal(err)
				}
				for p := range model {
					if match(p.id.Scope) {
						delete(model, p)
					}
				}
			},
			"restart": func(t *rapid.T) {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				start()
			},
			"time": func(t *rapid.T) {
				now.move(time.Duration(rapid.IntRange(1, 700).Draw(t, "minutes")) * time.Minute)
			},
			"sweep": func(t *rapid.T) {
				s.Sweep(context.Background())
				for p, h := range model {
					there := slices.ContainsFunc(s.Tables(p.id), func(table Table) bool { return table.Partition == p.partition })
					switch age := now.at.Sub(h.used); {
					case there && age >= unusedTime:
						t.Fatalf("a table that nobody used for %s is there", age)
					case !there && age < unusedTime-touchEvery-time.Second:
						t.Fatalf("a table that was used %s ago is gone", age)
					case !there:
						delete(model, p)
					}
				}
			},
			"": func(t *rapid.T) {
				if n := s.readers.count(); n > 2 {
					t.Fatalf("%d instances are open", n)
				}
				wantCounted(t, s)
			},
		})
		for _, who := range []string{"alice", "bob"} {
			for epoch := range int64(2) {
				for structure := range 2 {
					check(t, ID{Scope: key(who, epoch+1), Structure: [32]byte{byte(structure + 1)}})
				}
			}
		}
	})
}
