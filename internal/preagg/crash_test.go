//go:build cgo

package preagg

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/objectstore"
	"github.com/behalf-project/behalf/internal/secret"
)

// A child process writes to the store in a folder: the numbers 1, 2, 3, … one after the other to the same partition, each
// told on its standard output once Write has returned. It ends by itself at a failpoint of the write of a number, as a
// process does that is killed, or when somebody kills it.
const (
	childDir    = "TEST_PREAGG_CHILD"
	childEnds   = "TEST_PREAGG_ENDS"    // "failpoint number"
	childShares = "TEST_PREAGG_OBJECTS" // the URL of an object store; empty: there is none
)

func child(dir string) {
	at, when, _ := strings.Cut(os.Getenv(childEnds), " ")
	number := 0
	cfg := Config{Dir: dir, Failpoint: func(p Failpoint) {
		if string(p) == at && (p == AfterRowsPut || strconv.Itoa(number) == when) {
			self, _ := os.FindProcess(os.Getpid())
			_ = self.Kill()
			select {}
		}
	}}
	if url := os.Getenv(childShares); url != "" {
		cfg.Objects, _ = objectstore.Open(context.Background(), url)
		cfg.Sealer, _ = secret.NewKeyring()
	}
	s, err := Open(cfg)
	if err == nil && cfg.Objects != nil {
		go func() { _ = s.Run(context.Background()) }()
	}
	for err == nil {
		number++
		if _, err = s.Write(context.Background(), rollup("alice", "x"), Table{Partition: "a"}, one, numbers(int64(number))); err == nil {
			fmt.Println(number)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// kill runs a child on dir until it has ended itself, or is killed after a while, and returns the last number it told.
func kill(t *testing.T, dir, ends string, after time.Duration) int64 {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(program)
	c.Env = append(os.Environ(), childDir+"="+dir, childEnds+"="+ends)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if ends == "" {
		time.Sleep(after) // at any moment of what it does
		_ = c.Process.Kill()
	}
	_ = c.Wait()
	if errs.Len() > 0 {
		t.Fatalf("the child said %s", &errs)
	}
	lines := strings.Fields(out.String())
	if len(lines) == 0 {
		return 0
	}
	last, err := strconv.ParseInt(lines[len(lines)-1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return last
}

// wantTidy says that nothing of builds and Drops is left, and, where strangers left nothing, no file without the other.
func wantTidy(t *testing.T, s *Store) {
	t.Helper()
	for _, dir := range []string{s.buildsDir(), s.trashDir()} {
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s holds %v, %v", filepath.Base(dir), left, err)
		}
	}
	for _, sc := range s.scopes {
		structures, err := os.ReadDir(s.folder(sc))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range structures {
			if structure, ok := parseStructure(e.Name()); ok {
				if _, halves, err := listFolder(filepath.Join(s.folder(sc), e.Name()), structure); err != nil || len(halves) > 0 {
					t.Errorf("halves of tables are left: %v, %v", halves, err)
				}
			}
		}
	}
}

func TestAProcessThatIsKilledLeavesTheOldOrTheNew(t *testing.T) {
	for _, p := range Failpoints() {
		for _, number := range []int64{1, 3} {
			t.Run(fmt.Sprint(p, number), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				if told := kill(t, dir, fmt.Sprint(p, " ", number), 0); told != number-1 {
					t.Fatalf("the child told %d, want %d", told, number-1)
				}
				want := number - 1
				if p == AfterRename {
					want = number
				}
				s := open(t, Config{Dir: dir})
				wantTidy(t, s)
				of := rollup("alice", "x")
				if want == 0 {
					if tables := s.Tables(of); len(tables) != 0 {
						t.Errorf("tables = %v, want none", tables)
					}
				} else {
					wantNumbers(t, s, of, want)
				}
				write(t, s, of, "a", 77)
				wantNumbers(t, s, of, 77)
			})
		}
	}
	for range 4 {
		t.Run("at any moment", func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for range 3 {
				told := kill(t, dir, "", time.Duration(rand.IntN(400))*time.Millisecond)
				s := open(t, Config{Dir: dir})
				wantTidy(t, s)
				rows, err := query(t, s, rollup("alice", "x"), "SELECT * FROM t")
				if told > 0 && (err != nil || rows[0][0] != told && rows[0][0] != told+1) {
					t.Errorf("after %d the rollup holds %v, %v", told, rows, err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// What a power cut, a full disk or a person can leave.
func TestWhatIsDamagedIsDroppedAndNamed(t *testing.T) {
	alice, bob := rollup("alice", "x"), rollup("bob", "x")
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	change := func(t *testing.T, path string, change func([]byte) []byte) {
		t.Helper()
		content, err := os.ReadFile(path)
		must(t, err)
		must(t, os.WriteFile(path, change(content), 0o600))
	}
	for _, tt := range []struct {
		name   string
		damage func(t *testing.T, s *Store, old, newer Table)
		want   []int64 // what alice reads; nil: nothing is left
		gone   bool    // the first who asks is told that it is gone
		logged string
	}{
		{name: "nothing", damage: func(*testing.T, *Store, Table, Table) {}, want: []int64{2}},
		{
			name: "a note is missing", want: []int64{1}, logged: "half a table of a rollup is removed",
			damage: func(t *testing.T, s *Store, _, newer Table) { must(t, os.Remove(s.path(newer.file, noteFile))) },
		},
		{
			name: "the rows are missing", want: []int64{1}, logged: "half a table of a rollup is removed",
			damage: func(t *testing.T, s *Store, _, newer Table) { must(t, os.Remove(s.path(newer.file, rowsFile))) },
		},
		{
			name: "a note is cut short", want: []int64{1}, logged: "a table of a rollup is damaged; it is dropped",
			damage: func(t *testing.T, s *Store, _, newer Table) { must(t, os.Truncate(s.path(newer.file, noteFile), 40)) },
		},
		{
			name: "a note is empty", want: []int64{1}, logged: "a table of a rollup is damaged; it is dropped",
			damage: func(t *testing.T, s *Store, _, newer Table) { must(t, os.Truncate(s.path(newer.file, noteFile), 0)) },
		},
		{
			name: "the rows are cut short", want: []int64{1}, logged: "a table of a rollup is damaged; it is dropped",
			damage: func(t *testing.T, s *Store, _, newer Table) {
				must(t, os.Truncate(s.path(newer.file, rowsFile), newer.Bytes-1))
			},
		},
		{
			name: "a bit of the rows is another", want: []int64{1}, gone: true, logged: "a table of a rollup is damaged; it is dropped",
			damage: func(t *testing.T, s *Store, _, newer Table) {
				change(t, s.path(newer.file, rowsFile), func(b []byte) []byte { b[len(b)/3] ^= 4; return b })
			},
		},
		{
			name: "the rows are those of another table", want: []int64{1}, gone: true, logged: "a table of a rollup is damaged; it is dropped",
			damage: func(t *testing.T, s *Store, old, newer Table) {
				other := s.Tables(bob)[0]
				if other.Bytes != newer.Bytes {
					t.Fatal("the test needs files of one length")
				}
				content, err := os.ReadFile(s.path(other.file, rowsFile))
				must(t, err)
				must(t, os.WriteFile(s.path(newer.file, rowsFile), content, 0o600))
			},
		},
		{
			name: "both files are those of another person", want: []int64{1}, logged: "a table of a rollup is damaged; it is dropped",
			damage: func(t *testing.T, s *Store, _, newer Table) {
				for _, end := range []string{rowsFile, noteFile} {
					content, err := os.ReadFile(s.path(s.Tables(bob)[0].file, end))
					must(t, err)
					must(t, os.WriteFile(s.path(newer.file, end), content, 0o600))
				}
			},
		},
		{
			name: "a note of another version of this program", want: []int64{1}, logged: "a table of a rollup is damaged; it is dropped",
			damage: func(t *testing.T, s *Store, _, newer Table) {
				change(t, s.path(newer.file, noteFile), func(b []byte) []byte {
					return bytes.Replace(b, fmt.Appendf(nil, `"format":%d`, format), fmt.Appendf(nil, `"format":%d`, format+1), 1)
				})
			},
		},
		{
			name: "both tables", logged: "a table of a rollup is damaged; it is dropped",
			damage: func(t *testing.T, s *Store, old, newer Table) {
				must(t, os.Truncate(s.path(old.file, rowsFile), 3))
				must(t, os.Truncate(s.path(newer.file, rowsFile), 3))
			},
		},
		{
			name: "the manifest is missing", logged: "a folder of rollups does not say whose it is; it is dropped",
			damage: func(t *testing.T, s *Store, _, _ Table) {
				must(t, os.Remove(filepath.Join(s.folder(s.scope(alice.Scope)), ownerFile)))
			},
		},
		{
			name: "the manifest is cut short", logged: "a folder of rollups does not say whose it is; it is dropped",
			damage: func(t *testing.T, s *Store, _, _ Table) {
				must(t, os.Truncate(filepath.Join(s.folder(s.scope(alice.Scope)), ownerFile), 20))
			},
		},
		{
			name: "the manifest is another's", logged: "a folder of rollups does not say whose it is; it is dropped",
			damage: func(t *testing.T, s *Store, _, _ Table) {
				content, err := os.ReadFile(filepath.Join(s.folder(s.scope(bob.Scope)), ownerFile))
				must(t, err)
				must(t, os.WriteFile(filepath.Join(s.folder(s.scope(alice.Scope)), ownerFile), content, 0o600))
			},
		},
		{
			name: "what a build and a Drop leave", want: []int64{2},
			damage: func(t *testing.T, s *Store, _, newer Table) {
				for _, dir := range []string{s.buildsDir(), s.trashDir()} {
					must(t, os.MkdirAll(filepath.Join(dir, "x", "y"), 0o700))
					must(t, os.WriteFile(filepath.Join(dir, "x", "y", "rows.parquet"), []byte("x"), 0o600))
				}
			},
		},
		{
			name: "files of nobody", want: []int64{2},
			damage: func(t *testing.T, s *Store, _, newer Table) {
				dir := filepath.Dir(s.path(newer.file, rowsFile))
				for _, name := range []string{".DS_Store", "p_.parquet", "p_-1.json", "p_1.json.tmp", "q_1.json", "p_01.json", "p%_1.json"} {
					must(t, os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600))
					must(t, os.WriteFile(filepath.Join(dir, "..", name), []byte("x"), 0o600))
				}
				must(t, os.Mkdir(filepath.Join(dir, "..", "lost+found"), 0o700))
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			s, err := Open(Config{Dir: dir})
			must(t, err)
			old, newer := write(t, s, alice, "", 1), write(t, s, alice, "", 2)
			write(t, s, bob, "", 3)
			tt.damage(t, s, old, newer)
			must(t, s.Close())
			core, logs := observer.New(zapcore.InfoLevel)
			s = open(t, Config{Dir: dir, Log: zap.New(core)})
			wantTidy(t, s)
			if tt.gone {
				if _, err := query(t, s, alice, "SELECT * FROM t"); code(err) != "rollup_gone" {
					t.Errorf("Query = %v, want rollup_gone", err)
				}
			}
			if tt.want == nil {
				if tables := s.Tables(alice); len(tables) != 0 {
					t.Errorf("tables = %v, want none", tables)
				}
			} else {
				wantNumbers(t, s, alice, tt.want...)
			}
			wantNumbers(t, s, bob, 3)
			if n := logs.FilterMessage(tt.logged).Len(); tt.logged != "" && n == 0 || tt.logged == "" && logs.Len() > 0 {
				t.Errorf("logged %v, want %q", logs.All(), tt.logged)
			}
			for _, l := range logs.All() {
				if f := l.ContextMap()["file"]; f == nil || strings.Contains(fmt.Sprint(l.ContextMap()), "alice") {
					t.Errorf("logged %v, want the file and no name of a person", l.ContextMap())
				}
			}
			wantCounted(t, s)
			write(t, s, alice, "", 9)
			wantNumbers(t, s, alice, 9)
		})
	}
}

// wantCounted says that what is counted is what is on disk.
func wantCounted(t interface{ Errorf(string, ...any) }, s *Store) {
	var bytes, scopes, owners int64
	for _, sc := range s.scopes {
		scopes += sc.bytes
		if !sc.made {
			continue
		}
		tables, err := s.listScope(sc)
		if err != nil {
			t.Errorf("listScope = %v", err)
		}
		for _, l := range tables {
			bytes += l.bytes
		}
	}
	for _, o := range s.owners {
		owners += o.bytes
	}
	if s.bytes != bytes || scopes != bytes || owners != bytes {
		t.Errorf("counted are %d bytes, %d of scopes and %d of owners; on disk are %d", s.bytes, scopes, owners, bytes)
	}
}

// FuzzManifest reads the JSON files of a store as anybody may leave them.
func FuzzManifest(f *testing.F) {
	dir := f.TempDir()
	s, err := Open(Config{Dir: dir})
	if err != nil {
		f.Fatal(err)
	}
	of := rollup("alice", "x")
	table, err := s.Write(context.Background(), of, Table{Partition: "2026_01", Content: "c"}, []Column{{"a", Number}, {"b", Time}}, rowsOf([]any{driverfactory.Decimal("2.50"), nil}))
	if err != nil {
		f.Fatal(err)
	}
	scope, structure := table.file.scope.String(), fmt.Sprintf("%x", of.Structure)
	for _, name := range []string{s.path(table.file, noteFile), filepath.Join(s.scopesDir(), scope, ownerFile)} {
		content, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content, table.file.name.String()+noteFile)
	}
	f.Add([]byte(`{"format":1} {}`), "p_1.json")
	f.Add([]byte(strings.Repeat("[", 20_000)), "p__1.json")
	if err := s.Close(); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte, file string) {
		if key, err := decodeManifest(text, scope); err == nil && key != of.Scope {
			t.Errorf("the manifest %q is read as that of %+v", text, key)
		}
		name, ok := parseFileName(file, noteFile)
		if ok && (name.String()+noteFile != file || strings.ContainsAny(file, `/\.`+"\x00") && strings.Count(file, ".") != 1) {
			t.Errorf("%q is read as the name %+v", file, name)
		}
		n, err := decodeNote(text, scope, structure, name)
		if err != nil {
			return
		}
		for _, c := range n.Columns {
			if c.sqlType() == "" || c.Digits+c.Scale > maxDigits {
				t.Errorf("the note %q has the column %+v", text, c)
			}
		}
		if n.Scope != scope || n.Structure != structure || n.Partition != name.partition || n.Bytes <= 0 {
			t.Errorf("the note %q is read as %+v", text, n)
		}
	})
}
