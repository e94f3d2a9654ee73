//go:build cgo

package preagg

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/objectstore"
	"github.com/behalf-project/behalf/internal/objectstore/objectstoretest"
	"github.com/behalf-project/behalf/internal/secret"
)

// cloud is an object store that replicas share, with the key that they have.
type cloud struct {
	t testing.TB
	objectstore.Objects
	keys *secret.Keyring
}

func newCloud(t testing.TB, url string) *cloud {
	t.Helper()
	b, err := objectstore.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	keys, err := secret.NewKeyring()
	if err != nil {
		t.Fatal(err)
	}
	return &cloud{t, b, keys}
}

// folderCloud is one in a folder.
func folderCloud(t testing.TB) *cloud { return newCloud(t, "file:"+t.TempDir()) }

// replica opens a store over c, with a folder of its own where cfg has none. It moves nothing by itself.
func (c *cloud) replica(cfg Config) *Store {
	c.t.Helper()
	if cfg.Objects == nil {
		cfg.Objects = c.Objects
	}
	cfg.Sealer = c.keys
	return open(c.t, cfg)
}

// running is a replica that runs.
func (c *cloud) running(cfg Config) *Store {
	c.t.Helper()
	s := c.replica(cfg)
	ctx, stop := context.WithCancel(context.WithoutCancel(c.t.Context()))
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	c.t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			c.t.Errorf("Run = %v", err)
		}
	})
	return s
}

// names lists the objects whose names begin with prefix.
func (c *cloud) names(prefix string) (all []string) {
	c.t.Helper()
	for o, err := range c.List(c.t.Context(), prefix) {
		if err != nil {
			c.t.Fatal(err)
		}
		all = append(all, o.Name)
	}
	return all
}

// of lists the objects of a scope that end with end.
func (c *cloud) of(id ID, end string) (all []string) {
	for _, name := range c.names(scopePrefix(placeOf(id.Scope))) {
		if strings.HasSuffix(name, end) {
			all = append(all, name)
		}
	}
	return all
}

func (c *cloud) read(name string) []byte {
	c.t.Helper()
	var b bytes.Buffer
	if err := c.Get(c.t.Context(), name, 1<<20, &b); err != nil {
		c.t.Fatal(err)
	}
	return b.Bytes()
}

func (c *cloud) write(name string, content []byte) {
	c.t.Helper()
	if err := c.Put(c.t.Context(), name, int64(len(content)), bytes.NewReader(content)); err != nil {
		c.t.Fatal(err)
	}
}

// eventually waits until is so.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in a minute it did not come true: %s", what)
		}
	}
}

// reads waits until s reads want of a rollup.
func reads(t testing.TB, s *Store, id ID, want ...int64) {
	t.Helper()
	var last string
	eventually(t, fmt.Sprintf("%v are read", want), func() bool {
		rows, err := query(t, s, id, `SELECT "orders.n" FROM t ORDER BY 1`)
		var got []int64
		for _, row := range rows {
			got = append(got, row[0].(int64))
		}
		if now := fmt.Sprint(got, err); now != last {
			last = now
			t.Log("it reads ", now)
		}
		return err == nil && fmt.Sprint(got) == fmt.Sprint(want)
	})
}

func refresh(t testing.TB, s *Store, id ID) {
	t.Helper()
	if err := s.Refresh(t.Context(), id); err != nil {
		t.Fatalf("Refresh = %v, want no error", err)
	}
}

// offset is a clock that is ahead of that of the machine, which is that of a folder.
type offset struct{ atomic.Int64 }

func (o *offset) now() time.Time       { return time.Now().Add(time.Duration(o.Load())) }
func (o *offset) move(d time.Duration) { o.Add(int64(d)) }

func TestWhatOneReplicaBuildsAnotherReads(t *testing.T) {
	for name, url := range map[string]func(*testing.T) string{
		"folder": func(t *testing.T) string { return "file:" + t.TempDir() },
		"S3":     func(t *testing.T) string { return objectstoretest.NewS3(t).URL },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t, url(t))
			clock := &offset{}
			a, b := c.running(Config{Dir: filepath.Join(t.TempDir(), "a"), Now: clock.now}), c.running(Config{Now: clock.now})
			alice, bob := rollup("alice", "x"), rollup("bob", "x")
			first := write(t, a, alice, "1", 1)
			write(t, a, alice, "2", 2, 3)
			write(t, a, bob, "1", 4)
			eventually(t, "three notes are there", func() bool { return len(c.of(alice, ".note"))+len(c.of(bob, ".note")) == 3 })

			eventually(t, "the tables are known", func() bool { return len(b.Tables(alice)) == 2 })
			if got := b.Tables(alice)[0]; got.Partition != "1" || got.Content != first.Content || !got.BuiltAt.Equal(first.BuiltAt) || got.Rows != 1 || got.Bytes != first.Bytes {
				t.Errorf("what is known is %+v, want %+v", got, first)
			}
			if left := files(t, b.scopesDir()); len(left) != 0 {
				t.Errorf("what nobody has read is fetched: %v", left)
			}
			if _, err := query(t, b, alice, "SELECT * FROM t"); code(err) != "rollup_fetching" {
				t.Errorf("the first who reads is told %v, want rollup_fetching", err)
			}
			reads(t, b, alice, 1, 2, 3)
			wantCounted(t, b)
			if tables := b.Tables(ID{Scope: key("alice", 2), Structure: alice.Structure}); len(tables) != 0 {
				t.Errorf("another epoch has %v", tables)
			}
			for _, o := range c.names("") {
				if strings.Contains(o, "alice") || strings.Contains(o, "local") || bytes.Contains(c.read(o), []byte("alice")) {
					t.Errorf("the object %s has the name of a person", o)
				}
			}

			// What is built anew takes the place of what is here, in the background, and is read in between.
			write(t, a, alice, "2", 5)
			eventually(t, "four notes are there", func() bool { return len(c.of(alice, ".note")) == 3 })
			wantNumbers(t, b, alice, 1, 2, 3)
			clock.move(lookEvery)
			reads(t, b, alice, 1, 5)
			write(t, b, alice, "1", 6) // and the other way round
			eventually(t, "it is there", func() bool { return len(c.of(alice, ".note")) == 4 })
			refresh(t, a, alice)
			reads(t, a, alice, 5, 6)

			// A machine is lost, and nothing with it.
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			reads(t, c.running(Config{}), alice, 5, 6)
			wantNumbers(t, a, bob, 4)
		})
	}
}

// Refresh is what a build asks first: it needs nobody who runs, and what another has built is not built again.
func TestRefreshKnowsWhatOthersBuilt(t *testing.T) {
	c := folderCloud(t)
	a, b := c.replica(Config{}), c.replica(Config{})
	alice := rollup("alice", "x")
	write(t, a, alice, "", 1)
	refresh(t, a, alice)
	write(t, b, alice, "other", 2)
	refresh(t, b, alice)
	if tables := b.Tables(alice); len(tables) != 2 {
		t.Errorf("it knows %v, want both", tables)
	}
	newest := write(t, a, alice, "other", 3)
	refresh(t, a, alice)
	refresh(t, b, alice)
	if tables := b.Tables(alice); len(tables) != 2 || !tables[1].BuiltAt.Equal(newest.BuiltAt) {
		t.Errorf("it knows %v, want the newest", tables)
	}
	if rows, err := all(b.Query(t.Context(), []Part{{alice, "t", b.Tables(alice)[1:]}}, driverfactory.Statement{SQL: "SELECT * FROM t"})); err != nil || rows[0][0] != int64(3) {
		t.Errorf("what is newer there than here reads %v, %v, want 3", rows, err)
	}
	if err := open(t, Config{}).Refresh(t.Context(), alice); err != nil {
		t.Errorf("Refresh without an object store = %v", err)
	}
	// A clock that is behind makes nothing older.
	late := c.replica(Config{Now: func() time.Time { return time.Now().Add(-time.Hour) }})
	refresh(t, late, alice)
	write(t, late, alice, "other", 4)
	refresh(t, late, alice)
	refresh(t, a, alice)
	reads(t, a, ID{alice.Scope, alice.Structure}, 1, 4)
}

func TestAProcessThatIsKilledBetweenRowsAndNotePutsNothing(t *testing.T) {
	url := "file:" + t.TempDir()
	c := newCloud(t, url)
	t.Setenv(childShares, url)
	dir, alice := t.TempDir(), rollup("alice", "x")
	told := kill(t, dir, string(AfterRowsPut)+" 0", 0)
	if rows, notes := c.of(alice, ".parquet"), c.of(alice, ".note"); len(rows) != 1 || len(notes) != 0 {
		t.Fatalf("there are the rows %v and the notes %v, want rows alone", rows, notes)
	}
	b := c.replica(Config{})
	refresh(t, b, alice)
	if tables := b.Tables(alice); len(tables) != 0 {
		t.Errorf("rows without a note are known as %v", tables)
	}
	a := c.replica(Config{Dir: dir})
	rows, err := query(t, a, alice, "SELECT * FROM t")
	if err != nil || rows[0][0] != told && rows[0][0] != told+1 {
		t.Fatalf("what was built is %v, %v, want %d", rows, err, told)
	}
	refresh(t, a, alice) // who uses it puts it there
	refresh(t, b, alice)
	if tables := b.Tables(alice); len(tables) != 1 {
		t.Errorf("after a restart %v are known, want one", tables)
	}
}

// flaky is an object store that fails where it is told to.
type flaky struct {
	objectstore.Objects
	fails atomic.Pointer[func(call, name string) error]
}

func (f *flaky) fail(when func(call, name string) error) { f.fails.Store(&when) }

func (f *flaky) asked(call, name string) error {
	if when := f.fails.Load(); when != nil {
		return (*when)(call, name)
	}
	return nil
}

func (f *flaky) Put(ctx context.Context, name string, size int64, from io.Reader) error {
	if err := f.asked("Put", name); err != nil {
		return err
	}
	return f.Objects.Put(ctx, name, size, from)
}

func (f *flaky) Get(ctx context.Context, name string, max int64, into io.Writer) error {
	if err := f.asked("Get", name); err != nil {
		return err
	}
	return f.Objects.Get(ctx, name, max, into)
}

func (f *flaky) List(ctx context.Context, prefix string) iter.Seq2[objectstore.Object, error] {
	if err := f.asked("List", prefix); err != nil {
		return func(yield func(objectstore.Object, error) bool) { yield(objectstore.Object{}, err) }
	}
	return f.Objects.List(ctx, prefix)
}

func (f *flaky) Delete(ctx context.Context, name string) error {
	if err := f.asked("Delete", name); err != nil {
		return err
	}
	return f.Objects.Delete(ctx, name)
}

// While the object store is down everybody goes on with what is here, and what is built meanwhile is there afterwards.
func TestAnObjectStoreThatIsDown(t *testing.T) {
	s3 := objectstoretest.NewS3(t)
	c := newCloud(t, s3.URL)
	core, logs := observer.New(zapcore.InfoLevel)
	a, alice := c.running(Config{Log: zap.New(core)}), rollup("alice", "x")
	write(t, a, alice, "1", 1)
	eventually(t, "a note is there", func() bool { return len(c.of(alice, ".note")) == 1 })
	s3.Stop()
	write(t, a, alice, "2", 2)
	wantNumbers(t, a, alice, 1, 2)
	eventually(t, "the log says so", func() bool { return logs.FilterMessageSnippet("the object store fails").Len() == 1 })
	if err := a.Refresh(t.Context(), alice); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "s3://rollups") {
		t.Errorf("Refresh = %v, want the place", err)
	}
	if err := a.Drop(of("bob")); err != nil {
		t.Errorf("Drop = %v", err)
	}
	wantNumbers(t, a, alice, 1, 2)
	s3.Start()
	eventually(t, "both notes are there", func() bool { return len(c.of(alice, ".note")) == 2 })
	eventually(t, "the log says so", func() bool { return logs.FilterMessage("the object store answers again").Len() > 0 })
	b := c.running(Config{})
	reads(t, b, alice, 1, 2)
	for _, l := range logs.All() {
		if strings.Contains(fmt.Sprint(l.ContextMap()), "canary") {
			t.Errorf("the log has a secret: %v", l.ContextMap())
		}
	}
}

func TestWhatIsDroppedHereIsGoneThere(t *testing.T) {
	c := folderCloud(t)
	failing := &flaky{Objects: c.Objects}
	a, b := c.running(Config{}), c.running(Config{Objects: failing})
	alice, next, bob := rollup("alice", "x"), ID{key("alice", 2), sha256.Sum256([]byte("x"))}, rollup("bob", "x")
	for _, id := range []ID{alice, bob} {
		write(t, a, id, "", 1)
		eventually(t, "a note is there", func() bool { return len(c.of(id, ".note")) == 1 })
	}
	reads(t, b, alice, 1)
	// Who built it does not hear, and the object store fails: who hears has it deleted as soon as that works.
	failing.fail(func(call, _ string) error {
		if call == "Delete" {
			return errors.New("canary")
		}
		return nil
	})
	if err := b.Drop(of("alice")); err != nil {
		t.Fatal(err)
	}
	if tables := b.Tables(alice); len(tables) != 0 {
		t.Errorf("after the Drop %v are known", tables)
	}
	if err := b.Refresh(t.Context(), alice); err == nil || len(b.Tables(alice)) != 0 {
		t.Errorf("Refresh = %v, and %v are known before what was dropped is deleted", err, b.Tables(alice))
	}
	failing.fail(func(string, string) error { return nil })
	eventually(t, "nothing of it is there", func() bool { return len(c.of(alice, "")) == 0 })
	eventually(t, "nor whose it is", func() bool { return len(c.names(ownersPrefix)) == 1 })
	// Who has not heard puts it back. Whoever has does not use it.
	refresh(t, a, alice)
	if len(c.of(alice, ".note")) != 1 {
		t.Fatal("the test needs one who puts back")
	}
	refresh(t, b, alice)
	if tables := b.Tables(alice); len(tables) != 0 {
		t.Errorf("what was built before a Drop is known after it: %v", tables)
	}
	if err := a.Drop(of("alice")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing of it is there", func() bool { return len(c.of(alice, "")) == 0 })
	// Who is given a new credential begins with nothing, everywhere; others keep what is theirs.
	write(t, b, next, "", 7)
	reads(t, a, next, 7)
	reads(t, b, bob, 1)
}

// Whoever built something is gone, and who hears of the revocation has never used it.
func TestADropReachesWhatOnlyOthersKnew(t *testing.T) {
	c := folderCloud(t)
	alice, bob := rollup("alice", "x"), rollup("bob", "x")
	a := c.replica(Config{})
	for _, id := range []ID{alice, bob} {
		write(t, a, id, "", 1)
		refresh(t, a, id)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	b := c.running(Config{})
	if err := b.Drop(of("alice")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing of alice's is there", func() bool { return len(c.of(alice, "")) == 0 && len(c.names(ownersPrefix)) == 1 })
	if len(c.of(bob, ".note")) != 1 {
		t.Error("bob's is gone too")
	}
}

// A Drop ends what is moved, and nothing of it comes back.
func TestADropMeetsAnUploadAndAFetch(t *testing.T) {
	c := folderCloud(t)
	alice := rollup("alice", "x")
	for _, call := range []string{"Put", "Get"} {
		t.Run(call, func(t *testing.T) {
			builder := c.replica(Config{})
			held, goOn := make(chan struct{}), make(chan struct{})
			holding := &flaky{Objects: c.Objects}
			var once atomic.Bool
			holding.fail(func(is, name string) error {
				if is == call && strings.HasSuffix(name, rowsFile) && once.CompareAndSwap(false, true) {
					close(held)
					<-goOn
				}
				return nil
			})
			s := c.running(Config{Objects: holding})
			if call == "Put" {
				write(t, s, alice, "", 1)
			} else {
				write(t, builder, alice, "", 1)
				refresh(t, builder, alice)
				refresh(t, s, alice)
				if _, err := query(t, s, alice, "SELECT * FROM t"); code(err) != "rollup_fetching" {
					t.Fatalf("Query = %v, want rollup_fetching", err)
				}
			}
			<-held
			if err := s.Drop(of("alice")); err != nil {
				t.Fatal(err)
			}
			close(goOn)
			eventually(t, "nothing is there", func() bool { return len(c.names(scopesPrefix)) == 0 && len(c.names(ownersPrefix)) == 0 })
			wantNothing(t, s, alice)
		})
	}
}

// What is in an object store is only what its place says. Anything else is refused and named, and what is next to it is read.
func TestAnObjectThatDoesNotBelongThereIsRefused(t *testing.T) {
	alice, bob := rollup("alice", "x"), rollup("bob", "x")
	one := func(t *testing.T, names []string) string {
		t.Helper()
		if len(names) != 1 {
			t.Fatalf("there are %v, want one", names)
		}
		return names[0]
	}
	move := func(t *testing.T, c *cloud, from, to ID) {
		for _, end := range []string{rowsFile, noteObject} {
			c.write(one(t, c.of(to, end)), c.read(one(t, c.of(from, end))))
		}
	}
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, c *cloud)
	}{
		{"both objects are those of another person", func(t *testing.T, c *cloud) { move(t, c, bob, alice) }},
		{"the rows are those of another person", func(t *testing.T, c *cloud) {
			c.write(one(t, c.of(alice, rowsFile)), c.read(one(t, c.of(bob, rowsFile))))
		}},
		{"a bit of the rows is another", func(t *testing.T, c *cloud) {
			rows := c.read(one(t, c.of(alice, rowsFile)))
			rows[len(rows)/3] ^= 4
			c.write(one(t, c.of(alice, rowsFile)), rows)
		}},
		{"the rows are cut short", func(t *testing.T, c *cloud) {
			rows := c.read(one(t, c.of(alice, rowsFile)))
			c.write(one(t, c.of(alice, rowsFile)), rows[:len(rows)-1])
		}},
		{"the rows are longer", func(t *testing.T, c *cloud) {
			rows := c.read(one(t, c.of(alice, rowsFile)))
			c.write(one(t, c.of(alice, rowsFile)), append(rows, 0))
		}},
		{"a bit of the note is another", func(t *testing.T, c *cloud) {
			note := c.read(one(t, c.of(alice, noteObject)))
			note[len(note)/2] ^= 4
			c.write(one(t, c.of(alice, noteObject)), note)
		}},
		{"the note is cut short", func(t *testing.T, c *cloud) {
			c.write(one(t, c.of(alice, noteObject)), c.read(one(t, c.of(alice, noteObject)))[:20])
		}},
		{"the note is empty", func(t *testing.T, c *cloud) { c.write(one(t, c.of(alice, noteObject)), nil) }},
		{"the note is huge", func(t *testing.T, c *cloud) {
			c.write(one(t, c.of(alice, noteObject)), bytes.Repeat([]byte("x"), 2*maxManifest+1))
		}},
		{"the note is a plain one", func(t *testing.T, c *cloud) {
			name := one(t, c.of(alice, noteObject))
			text, err := c.keys.Open(c.read(name), sealedAt(name))
			if err != nil {
				t.Fatal(err)
			}
			c.write(name, []byte(text.Reveal()))
		}},
		{"the note is sealed with another key", func(t *testing.T, c *cloud) {
			name := one(t, c.of(alice, noteObject))
			text, err := c.keys.Open(c.read(name), sealedAt(name))
			if err != nil {
				t.Fatal(err)
			}
			keys, err := secret.NewKeyring()
			if err != nil {
				t.Fatal(err)
			}
			sealed, err := keys.Seal(text, sealedAt(name))
			if err != nil {
				t.Fatal(err)
			}
			c.write(name, sealed)
		}},
		{"an older table is put again as the newest", func(t *testing.T, c *cloud) {
			for _, end := range []string{rowsFile, noteObject} {
				name := one(t, c.of(alice, end))
				newer := strings.Replace(name, "p_", "p_9", 1)
				c.write(newer, c.read(name))
				if err := c.Delete(t.Context(), name); err != nil {
					t.Fatal(err)
				}
			}
		}},
		{"a table is put as another partition", func(t *testing.T, c *cloud) {
			for _, end := range []string{rowsFile, noteObject} {
				name := one(t, c.of(alice, end))
				c.write(strings.Replace(name, "p_", "pother_", 1), c.read(name))
				if err := c.Delete(t.Context(), name); err != nil {
					t.Fatal(err)
				}
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := folderCloud(t)
			a := c.replica(Config{})
			write(t, a, alice, "", 1)
			write(t, a, bob, "", 2)
			refresh(t, a, alice)
			refresh(t, a, bob)
			tt.change(t, c)
			core, logs := observer.New(zapcore.InfoLevel)
			b := c.running(Config{Log: zap.New(core)})
			eventually(t, "it is refused", func() bool {
				_, err := query(t, b, alice, "SELECT * FROM t")
				if err == nil {
					t.Fatal("it is read")
				}
				return logs.FilterMessageSnippet("an object is not what its place says").Len() == 1
			})
			eventually(t, "it is known no more", func() bool { return len(b.Tables(alice)) == 0 })
			refresh(t, b, alice)
			if n := logs.FilterMessageSnippet("an object is not").Len(); n != 1 || len(b.Tables(alice)) != 0 {
				t.Errorf("it is named %d times and known as %v, want once and as nothing", n, b.Tables(alice))
			}
			reads(t, b, bob, 2)
			write(t, b, alice, "", 3) // and what is built in its place is everybody's
			eventually(t, "it is there", func() bool {
				return len(c.of(alice, noteObject)) > 1 || len(c.of(alice, noteObject)) == 1 && !b.shared.refused.Contains(c.of(alice, noteObject)[0])
			})
			reads(t, c.running(Config{}), alice, 3)
		})
	}
}

// The folder is a cache: what is there too makes way, but not what somebody reads.
func TestTheCacheIsBounded(t *testing.T) {
	c := folderCloud(t)
	clock := &offset{}
	a := c.replica(Config{Now: clock.now})
	var ids []ID
	var size int64
	for i := range 4 {
		id := rollup(fmt.Sprint("person", i), "x")
		size = write(t, a, id, "", int64(i)).Bytes + noteCost
		refresh(t, a, id)
		ids = append(ids, id)
	}
	b := c.running(Config{Now: clock.now, MaxBytes: 2*size + size/2, MaxBytesPerOwner: 2*size + size/2})
	reads(t, b, ids[0], 0)
	reads(t, b, ids[1], 1)
	clock.move(2 * touchEvery)
	reads(t, b, ids[1], 1) // so that the other was not used for longer
	reads(t, b, ids[2], 2) // takes the place of the first
	if names := files(t, b.folder(b.scope(ids[0].Scope))); len(names) != 0 {
		t.Errorf("what nobody used for longest is here: %v", names)
	}
	wantNumbers(t, b, ids[1], 1)
	wantCounted(t, b)
	// What everybody reads stays, and what does not fit is the source's to answer.
	eventually(t, "it is known", func() bool { return len(b.Tables(ids[3])) == 1 })
	refresh(t, b, ids[3])
	for range 3 {
		if _, err := query(t, b, ids[3], "SELECT * FROM t"); code(err) != "rollup_fetching" {
			t.Errorf("what has no room reads %v, want rollup_fetching", err)
		}
		refresh(t, b, ids[3])
	}
	wantNumbers(t, b, ids[1], 1)
	wantNumbers(t, b, ids[2], 2)
	clock.move(2 * touchEvery)
	reads(t, b, ids[3], 3)
	reads(t, b, ids[0], 0)
	// A build takes the place of what is there too, and of nothing else.
	alone := open(t, Config{MaxBytes: size + size/2, MaxBytesPerOwner: size + size/2, Now: clock.now})
	write(t, alone, ids[0], "", 1)
	clock.move(2 * touchEvery)
	if _, err := alone.Write(t.Context(), ids[1], Table{}, one, numbers(1)); code(err) != codeFull {
		t.Errorf("Write = %v, want %s: it is nowhere else", err, codeFull)
	}
	write(t, b, ids[2], "more", 9)
	wantCounted(t, b)
}

func TestTheObjectStoreIsSwept(t *testing.T) {
	c := folderCloud(t)
	clock := &offset{}
	a, b := c.replica(Config{Now: clock.now}), c.replica(Config{Now: clock.now})
	alice, bob := rollup("alice", "x"), rollup("bob", "x")
	sweep := func(s *Store) {
		t.Helper()
		if err := s.sweepShared(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []ID{alice, bob} {
		write(t, a, id, "", 1)
		write(t, a, id, "", 2)
		refresh(t, a, id)
	}
	write(t, a, alice, "", 3)
	refresh(t, a, alice)
	if n := len(c.of(alice, rowsFile)); n != 2 {
		t.Errorf("%d tables are there, want the one before too", n)
	}
	clock.move(2 * graceTime)
	refresh(t, b, alice)
	if n := len(c.of(alice, rowsFile)); n != 1 {
		t.Errorf("%d tables are there, want the newest", n)
	}
	sweep(a)
	if len(c.of(bob, noteObject)) != 1 || len(c.of(alice, noteObject)) != 1 {
		t.Error("what was used within the day is gone")
	}
	// The day is over for what nobody reads. Alice's is read on one replica, and swept by the other.
	clock.move(unusedTime - 2*touchEvery)
	if _, err := query(t, b, alice, "SELECT * FROM t"); code(err) != "rollup_fetching" {
		t.Fatal(err)
	}
	refresh(t, b, alice)
	reads(t, b, alice, 3)
	refresh(t, b, alice)
	used := rollupPrefix(placeOf(alice.Scope), alice.Structure) + usedObject
	if len(c.of(alice, usedObject)) != 1 {
		t.Fatal("nobody said that it is used")
	}
	at := clock.now()
	if err := os.Chtimes(filepath.Join(c.folder(), used), at, at); err != nil { // as a store whose clock is that of the test
		t.Fatal(err)
	}
	clock.move(2 * touchEvery)
	sweep(a)
	if len(c.of(bob, "")) != 0 || len(c.of(alice, noteObject)) != 1 || len(c.names(ownersPrefix)) != 1 {
		t.Errorf("there are %v, want alice's alone", c.names(""))
	}
	// Somebody has just swept.
	clock.move(unusedTime)
	at = clock.now()
	if err := os.Chtimes(filepath.Join(c.folder(), sweptObject), at, at); err != nil {
		t.Fatal(err)
	}
	sweep(b)
	if len(c.of(alice, noteObject)) != 1 {
		t.Error("two sweep within an hour")
	}
}

// folder returns where the objects of c are.
func (c *cloud) folder() string {
	return strings.TrimPrefix(c.Objects.(*objectstore.Bucket).Place(), "file:")
}

func TestTheObjectStoreIsBounded(t *testing.T) {
	c := folderCloud(t)
	a := c.replica(Config{})
	var size int64
	for i := range 4 {
		id := rollup(fmt.Sprint("person", i), "x")
		write(t, a, id, "", int64(i))
		refresh(t, a, id)
		size = 0
		for o, err := range c.List(t.Context(), scopePrefix(placeOf(id.Scope))) {
			if err != nil {
				t.Fatal(err)
			}
			size += o.Size
			at := time.Now().Add(time.Duration(i-10) * time.Minute)
			if err := os.Chtimes(filepath.Join(c.folder(), o.Name), at, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	b := c.replica(Config{MaxSharedBytes: 2*size + size/2})
	if err := b.sweepShared(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		if n, want := len(c.of(rollup(fmt.Sprint("person", i), "x"), noteObject)), i/2; n != want {
			t.Errorf("of person %d there are %d notes, want %d: what nobody used for longest goes", i, n, want)
		}
	}
}

// All replicas call their object store the same, now and at their next start; one that does not answer is no reason not to start.
func TestAPlaceIsCalledTheSameByAll(t *testing.T) {
	c := folderCloud(t)
	dir := t.TempDir()
	one, two := c.replica(Config{Dir: dir}), c.replica(Config{})
	name := one.Place(t.Context())
	if !placeName.MatchString(name) || two.Place(t.Context()) != name || one.Place(t.Context()) != name {
		t.Errorf("it is called %q by one and %q by another", name, two.Place(t.Context()))
	}
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	if again := c.replica(Config{Dir: dir}); again.Place(t.Context()) != name {
		t.Errorf("after a restart it is called %q, want %q", again.Place(t.Context()), name)
	}
	if other := folderCloud(t).replica(Config{}); other.Place(t.Context()) == name {
		t.Errorf("two object stores are called %q", name)
	}
	alone := open(t, Config{Dir: t.TempDir()})
	name = alone.Place(t.Context())
	if err := alone.Close(); err != nil {
		t.Fatal(err)
	}
	if again := open(t, Config{Dir: alone.cfg.Dir}); !placeName.MatchString(name) || again.Place(t.Context()) != name {
		t.Errorf("a folder is called %q, and then %q", name, again.Place(t.Context()))
	}
	if err := c.Put(t.Context(), idObject, 3, strings.NewReader("../")); err != nil {
		t.Fatal(err)
	}
	if got := two.Place(t.Context()); got != two.named {
		t.Errorf("a name that is none is taken: %q", got)
	}
}

// What a query reads of several rollups is fetched together.
func TestSeveralRollupsAreFetchedAtOnce(t *testing.T) {
	c := folderCloud(t)
	a, b := c.running(Config{}), c.running(Config{})
	one, two := rollup("alice", "x"), rollup("alice", "y")
	write(t, a, one, "", 1)
	write(t, a, two, "", 2)
	eventually(t, "both are there", func() bool { return len(c.of(one, noteObject)) == 2 })
	for _, id := range []ID{one, two} {
		if err := b.Refresh(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	parts := func() []Part { return []Part{{one, "t", b.Tables(one)}, {two, "u", b.Tables(two)}} }
	if _, err := all(b.Query(t.Context(), parts(), driverfactory.Statement{SQL: "SELECT 1"})); code(err) != "rollup_fetching" {
		t.Fatalf("the first query: %v, want rollup_fetching", err)
	}
	var rows [][]any
	var err error
	eventually(t, "both are here", func() bool {
		rows, err = all(b.Query(t.Context(), parts(), driverfactory.Statement{SQL: "SELECT (SELECT count(*) FROM t) + (SELECT count(*) FROM u)"}))
		return code(err) != "rollup_fetching"
	})
	if err != nil || len(rows) != 1 || fmt.Sprint(rows[0][0]) != "2" {
		t.Errorf("both together have %v rows, %v, want 2", rows, err)
	}
}
