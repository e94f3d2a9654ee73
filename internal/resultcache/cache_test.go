package resultcache_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/resultcache"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func scope(name string, epoch int64) driverfactory.PoolKey {
	return driverfactory.PoolKey{
		Domain: "dom", Source: "db", SourceRev: 1, App: "app", Epoch: epoch,
		Principal: driverfactory.Principal{Realm: "local", Subject: name},
	}
}

func key(t testing.TB, s driverfactory.PoolKey, sql string, args ...any) resultcache.Key {
	t.Helper()
	k, err := resultcache.KeyOf(s, driverfactory.Statement{SQL: sql, Args: args})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// entry returns one that holds name and is about size bytes.
func entry(t testing.TB, name string, size int) *resultcache.Entry {
	t.Helper()
	e, err := resultcache.NewEntry(
		[]driverfactory.Column{{Name: "v", Type: "TEXT"}}, [][]any{{name + string(make([]byte, size))}}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestKeysDifferInEveryPart(t *testing.T) {
	s := scope("alice", 1)
	at := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	seen := map[resultcache.Key]string{}
	for _, tt := range []struct {
		name  string
		scope func(*driverfactory.PoolKey)
		sql   string
		args  []any
	}{
		{name: "the statement", sql: "SELECT 1"},
		{name: "another statement", sql: "SELECT 2"},
		{name: "another principal", sql: "SELECT 1", scope: func(k *driverfactory.PoolKey) { k.Principal.Subject = "bob" }},
		{name: "another realm", sql: "SELECT 1", scope: func(k *driverfactory.PoolKey) { k.Principal.Realm = "https://idp" }},
		{name: "another epoch", sql: "SELECT 1", scope: func(k *driverfactory.PoolKey) { k.Epoch = 2 }},
		{name: "another app", sql: "SELECT 1", scope: func(k *driverfactory.PoolKey) { k.App = "other" }},
		{name: "another domain", sql: "SELECT 1", scope: func(k *driverfactory.PoolKey) { k.Domain = "other" }},
		{name: "another source", sql: "SELECT 1", scope: func(k *driverfactory.PoolKey) { k.Source = "other" }},
		{name: "another revision of the source", sql: "SELECT 1", scope: func(k *driverfactory.PoolKey) { k.SourceRev = 2 }},
		{name: "the service account", sql: "SELECT 1", scope: func(k *driverfactory.PoolKey) { k.Service = true }},
		{name: "NULL", sql: "SELECT 1", args: []any{nil}},
		{name: "two NULLs", sql: "SELECT 1", args: []any{nil, nil}},
		{name: "false", sql: "SELECT 1", args: []any{false}},
		{name: "true", sql: "SELECT 1", args: []any{true}},
		{name: "the number 1", sql: "SELECT 1", args: []any{int64(1)}},
		{name: "the number 1.0", sql: "SELECT 1", args: []any{1.0}},
		{name: "the text 1", sql: "SELECT 1", args: []any{"1"}},
		{name: "the bytes 1", sql: "SELECT 1", args: []any{[]byte("1")}},
		{name: "a text", sql: "SELECT 1", args: []any{"ab"}},
		{name: "the same characters in two texts", sql: "SELECT 1", args: []any{"a", "b"}},
		{name: "and cut elsewhere", sql: "SELECT 1", args: []any{"", "ab"}},
		{name: "a time", sql: "SELECT 1", args: []any{at}},
		{name: "the same instant in another zone", sql: "SELECT 1", args: []any{at.In(time.FixedZone("CET", 3600))}},
		{name: "a nanosecond later", sql: "SELECT 1", args: []any{at.Add(1)}},
	} {
		k := s
		if tt.scope != nil {
			tt.scope(&k)
		}
		got := key(t, k, tt.sql, tt.args...)
		if other, ok := seen[got]; ok {
			t.Errorf("%s has the key of %s", tt.name, other)
		}
		if again := key(t, k, tt.sql, tt.args...); again != got {
			t.Errorf("%s has two keys", tt.name)
		}
		seen[got] = tt.name
	}
}

func TestNothingButArgumentsIsInAKey(t *testing.T) {
	if _, err := resultcache.KeyOf(scope("alice", 1), driverfactory.Statement{Args: []any{driverfactory.NewSecret("canary")}}); !errors.Is(err, fault.Invalid) {
		t.Errorf("KeyOf with a secret = %v, want invalid", err)
	}
}

func TestRoomIsMadeAtTheExpenseOfTheLeastUsed(t *testing.T) {
	c := resultcache.New(resultcache.Config{MaxBytes: 10_000, MaxEntryBytes: 3_000, MaxOwnerBytes: 5_000})
	put := func(name, sql string) {
		if !c.Put(key(t, scope(name, 1), sql), entry(t, sql, 950)) { // about 2,000 bytes
			t.Fatalf("%s of %s was not stored", sql, name)
		}
	}
	has := func(name, sql string) bool { _, ok := c.Get(key(t, scope(name, 1), sql)); return ok }
	put("alice", "1")
	put("alice", "2")
	has("alice", "1")
	put("alice", "3") // over alice's bound: her least used goes
	if !has("alice", "1") || has("alice", "2") || !has("alice", "3") {
		t.Error("alice's third result did not replace the one she used least")
	}
	put("bob", "1")
	put("bob", "2")
	put("carol", "1") // over the bound of all: alice's 1 was used least
	if has("alice", "1") || !has("alice", "3") || !has("bob", "1") || !has("bob", "2") || !has("carol", "1") {
		t.Error("carol's result did not replace the least used of all")
	}
	if c.Put(key(t, scope("dave", 1), "1"), entry(t, "1", 3_000)) {
		t.Error("a result over the bound of one entry was stored")
	}
	if s := c.Stats(); s.Bytes > s.MaxBytes || s.Evictions != 2 {
		t.Errorf("Stats = %+v, want two evictions within the bound", s)
	}
}

func TestEntriesEndWithTheirTime(t *testing.T) {
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	c := resultcache.New(resultcache.Config{TTL: time.Hour, Now: func() time.Time { return now }})
	a, b := key(t, scope("alice", 1), "a"), key(t, scope("alice", 1), "b")
	c.Put(a, entry(t, "a", 0))
	now = now.Add(30 * time.Minute)
	c.Put(b, entry(t, "b", 0))
	now = now.Add(30*time.Minute - 1)
	if _, ok := c.Get(a); !ok {
		t.Error("a is gone before its time")
	}
	now = now.Add(1)
	c.Sweep()
	if s := c.Stats(); s.Entries != 1 {
		t.Errorf("%d entries after the sweep, want b only", s.Entries)
	}
	now = now.Add(time.Hour)
	if _, ok := c.Get(b); ok {
		t.Error("b is served after its time")
	}
	if s := c.Stats(); s.Entries != 0 || s.Bytes != 0 || s.Owners != 0 {
		t.Errorf("Stats = %+v, want empty", s)
	}
}

func TestPurge(t *testing.T) {
	for _, tt := range []struct {
		name, principal string
		match           func(driverfactory.PoolKey) bool
		want            int // left of 5
	}{
		{"all of a person", scope("alice", 0).Principal.Key(), func(driverfactory.PoolKey) bool { return true }, 3},
		{"older epochs of a person", scope("alice", 0).Principal.Key(), func(k driverfactory.PoolKey) bool { return k.Epoch != 2 }, 4},
		{"somebody unknown", "nobody", func(driverfactory.PoolKey) bool { return true }, 5},
		{"an app of everybody", "", func(k driverfactory.PoolKey) bool { return k.App == "app" }, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := resultcache.New(resultcache.Config{})
			service := driverfactory.PoolKey{Domain: "dom", Source: "db", Service: true}
			for _, s := range []driverfactory.PoolKey{scope("alice", 1), scope("alice", 2), scope("bob", 1), scope("carol", 1), service} {
				c.Put(key(t, s, "x"), entry(t, "x", 0))
			}
			removed := c.Purge(tt.principal, tt.match)
			if got := c.Stats().Entries; got != tt.want || removed != 5-tt.want {
				t.Errorf("%d entries are left and %d removed, want %d left", got, removed, tt.want)
			}
		})
	}
}

// written returns an encode that writes so many bytes, and counts how often it was asked.
func written(made *int, size int) func(io.Writer) error {
	return func(w io.Writer) error {
		*made++
		for range size / 10 {
			if _, err := w.Write(make([]byte, 10)); err != nil {
				return err
			}
		}
		return nil
	}
}

func length(parts [][]byte) (n int) {
	for _, p := range parts {
		n += len(p)
	}
	return n
}

func TestEncodedIsMadeOnceKeptAndCounted(t *testing.T) {
	c := resultcache.New(resultcache.Config{MaxBytes: 20_000, MaxEntryBytes: 10_000})
	k, e := key(t, scope("alice", 1), "x"), entry(t, "x", 0)
	made := 0
	if _, ok, err := e.Encoded("json", written(&made, 10)); ok || err != nil || made != 0 {
		t.Fatalf("what is not cached was encoded %d times, %v, %v, want it left to the caller", made, ok, err)
	}
	c.Put(k, e)
	before := c.Stats().Bytes
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if parts, ok, err := e.Encoded("json", written(&made, 1000)); err != nil || !ok || length(parts) != 1000 {
				t.Errorf("Encoded = %d bytes, %v, %v, want 1000", length(parts), ok, err)
			}
		})
	}
	all.Wait()
	if made != 1 {
		t.Errorf("made %d times, want once", made)
	}
	if got := c.Stats().Bytes - before; got != 1004 {
		t.Errorf("the form counts %d bytes, want 1004", got)
	}
	if _, ok, err := e.Encoded("csv", func(io.Writer) error { return errors.New("no") }); err == nil || ok {
		t.Error("Encoded returned no error of encode")
	}
	made = 0
	for range 3 {
		if _, ok, err := e.Encoded("large", written(&made, 20_000)); ok || err != nil {
			t.Errorf("a form over the bound of an entry: %v, %v, want it left to the caller", ok, err)
		}
	}
	if made != 1 {
		t.Errorf("a form that is too large was tried %d times, want once", made)
	}
	for n := range 10 {
		_, _, _ = e.Encoded(fmt.Sprint("form ", n), written(&made, 10))
	}
	if got := c.Stats().Bytes - before; got > 1004+4*20 {
		t.Errorf("the forms count %d bytes: too many or too large ones are kept", got)
	}
	if s := c.Stats(); s.Held != 0 {
		t.Errorf("%d bytes of forms are still held", s.Held)
	}
	c.Delete(k)
	if _, ok, err := e.Encoded("json", written(&made, 10)); ok || err != nil || c.Stats().Bytes != 0 {
		t.Errorf("after its end: %v, %v and %d bytes, want the form gone", ok, err, c.Stats().Bytes)
	}
}

// TestModel compares the cache with a map that forgets nothing: what Get returns is always what was put last for
// exactly that key, and the bounds always hold.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const maxBytes, maxOwner = 20_000, 8_000
		now := time.Unix(0, 0)
		c := resultcache.New(resultcache.Config{
			MaxBytes: maxBytes, MaxEntryBytes: 4_000, MaxOwnerBytes: maxOwner, TTL: time.Minute,
			Now: func() time.Time { return now },
		})
		model := map[resultcache.Key]string{}
		died := map[resultcache.Key]bool{}
		n := 0
		draw := func() resultcache.Key {
			s := scope(rapid.SampledFrom([]string{"alice", "bob", "carol"}).Draw(t, "who"), rapid.Int64Range(1, 2).Draw(t, "epoch"))
			k, err := resultcache.KeyOf(s, driverfactory.Statement{SQL: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "sql")})
			if err != nil {
				t.Fatal(err)
			}
			return k
		}
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				k := draw()
				n++
				body := bytes.Repeat([]byte{'x'}, rapid.IntRange(0, 4_500).Draw(t, "size"))
				value := fmt.Sprint(n, string(body))
				e, err := resultcache.NewEntry(nil, [][]any{{value}}, now)
				if err != nil {
					t.Fatal(err)
				}
				died[k] = !c.Put(k, e)
				model[k] = value
			},
			"get": func(t *rapid.T) {
				k := draw()
				e, ok := c.Get(k)
				if ok && (died[k] || e.Rows.First()[0] != model[k]) {
					t.Fatal("Get returned what is not there any more, or another's")
				}
				if ok {
					_, _, _ = e.Encoded("json", written(new(int), 500))
				}
			},
			"purge": func(t *rapid.T) {
				k := draw()
				c.Purge(k.Scope.Principal.Key(), func(s driverfactory.PoolKey) bool { return s.Epoch == k.Scope.Epoch })
				for other := range model {
					if other.Scope == k.Scope {
						died[other] = true
					}
				}
			},
			"time": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, "s")) * time.Second)
				c.Sweep()
			},
			"": func(t *rapid.T) {
				if s := c.Stats(); s.Bytes > maxBytes || s.Bytes < 0 || (s.Entries == 0) != (s.Bytes == 0) || s.Owners > s.Entries || s.Held != 0 {
					t.Fatalf("Stats = %+v", s)
				}
			},
		})
	})
}

// The bound protects the machine only if what is counted is what is used.
func TestCountedBytesAreNearTheTruth(t *testing.T) {
	for _, tt := range []struct{ entries, rows int }{{5_000, 1}, {100, 500}} {
		c := resultcache.New(resultcache.Config{})
		heap := func() float64 {
			runtime.GC()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return float64(m.HeapAlloc)
		}
		before := heap()
		for n := range tt.entries {
			rows := make([][]any, tt.rows)
			for i := range rows {
				rows[i] = []any{fmt.Sprint("status ", i), int64(1000 + i), driverfactory.Decimal(fmt.Sprint(i, ".50")), time.Unix(int64(i), 0)}
			}
			columns := []driverfactory.Column{{Name: "status", Type: "TEXT"}, {Name: "n", Type: "BIGINT"}, {Name: "sum", Type: "DECIMAL"}, {Name: "at", Type: "TIMESTAMP"}}
			e, err := resultcache.NewEntry(columns, rows, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			c.Put(key(t, scope(fmt.Sprint("p", n), 1), "SELECT 1"), e)
		}
		used, counted := heap()-before, float64(c.Stats().Bytes)
		if ratio := counted / used; ratio < 0.7 || ratio > 1.5 {
			t.Errorf("%d results of %d rows take %.0f bytes and count as %.0f, %.2f of it", tt.entries, tt.rows, used, counted, ratio)
		} else {
			t.Logf("%d results of %d rows: counted %.2f of what they take", tt.entries, tt.rows, ratio)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	c := resultcache.New(resultcache.Config{})
	k := key(b, scope("alice", 1), "SELECT 1")
	c.Put(k, entry(b, "x", 0))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := c.Get(k); !ok {
			b.Fatal("not there")
		}
	}
}
