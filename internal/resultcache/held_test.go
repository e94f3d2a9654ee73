package resultcache_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/resultcache"
)

// read reads size bytes for s into an entry.
func read(t testing.TB, c *resultcache.Cache, s driverfactory.PoolKey, size int) (*resultcache.Entry, error) {
	t.Helper()
	d := c.Draft(key(t, s, "x"), []driverfactory.Column{{Name: "v"}}, 1<<20)
	defer d.Discard()
	if err := d.Add([]any{string(make([]byte, size))}); err != nil {
		return nil, err
	}
	return d.Entry(time.Time{}), nil
}

// lend holds e for nobody in particular.
func lend(t interface{ Fatal(...any) }, e *resultcache.Entry) {
	if err := e.Lend(""); err != nil {
		t.Fatal(err)
	}
}

// One result follows its life: read, cached, evicted while somebody is being sent it, and sent.
func TestMemoryCountsAsLongAsSomebodyHasIt(t *testing.T) {
	c := resultcache.New(resultcache.Config{})
	stats := func(when string, cached, held bool) {
		t.Helper()
		s := c.Stats()
		if (s.Bytes > 10_000) != cached || (s.Held > 10_000) != held || !cached && s.Bytes != 0 || !held && s.Held != 0 {
			t.Errorf("%s: %d bytes are cached and %d held, want %v and %v", when, s.Bytes, s.Held, cached, held)
		}
	}
	alice := scope("alice", 1)
	e, err := read(t, c, alice, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	stats("read", false, true)
	c.Put(key(t, alice, "x"), e)
	stats("cached", true, false)
	e.Release()
	stats("cached and not read", true, false)
	e, _ = c.Get(key(t, alice, "x"))
	lend(t, e)
	c.Purge(alice.Principal.Key(), func(driverfactory.PoolKey) bool { return true })
	stats("revoked while it is sent", false, true)
	e.Return("")
	stats("sent", false, false)
	lend(t, e)
	stats("sent again by somebody who had it", false, true)
	e.Return("")
	stats("sent again", false, false)
	if n := c.Stats().Owners; n != 0 {
		t.Errorf("%d people are remembered for nothing", n)
	}
}

func TestOnePersonTakesHalfOfTheMemoryAtMost(t *testing.T) {
	c := resultcache.New(resultcache.Config{MaxHeldBytes: 100_000})
	hold := func(s driverfactory.PoolKey, want error) *resultcache.Entry {
		t.Helper()
		e, err := read(t, c, s, 20_000)
		if !errors.Is(err, want) {
			t.Errorf("a result of %s: %v, want %v", s.Principal.Subject, err, want)
		}
		return e
	}
	service := driverfactory.PoolKey{Source: "db", Service: true}
	first := hold(scope("alice", 1), nil)
	hold(scope("alice", 1), nil)
	hold(scope("alice", 2), resultcache.ErrShare)
	hold(scope("bob", 1), nil)
	hold(service, nil)
	hold(scope("carol", 1), resultcache.ErrFull)
	first.Release()
	hold(service, nil) // which belongs to nobody
	hold(scope("alice", 1), resultcache.ErrFull)

	d := resultcache.New(resultcache.Config{}).Draft(key(t, service, "x"), nil, 5_000)
	if err := d.Add(nil); err != nil {
		t.Errorf("a row of nothing = %v", err)
	}
	d = resultcache.New(resultcache.Config{}).Draft(key(t, service, "x"), make([]driverfactory.Column, 1), 5_000)
	if err := d.Add([]any{string(make([]byte, 5_000))}); !errors.Is(err, resultcache.ErrTooLarge) {
		t.Errorf("a result over its bound = %v, want too large", err)
	}
}

// TestNeverMoreThanTheBounds plays random histories and compares what is counted with what somebody has.
func TestNeverMoreThanTheBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const maxBytes, maxHeld = 20_000, 30_000
		c := resultcache.New(resultcache.Config{MaxBytes: maxBytes, MaxEntryBytes: 12_000, MaxOwnerBytes: 15_000, MaxHeldBytes: maxHeld})
		var having []*resultcache.Entry // once for each time that it is held
		draw := func() resultcache.Key {
			s := scope(rapid.SampledFrom([]string{"alice", "bob"}).Draw(t, "who"), 1)
			k, _ := resultcache.KeyOf(s, driverfactory.Statement{SQL: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "sql")})
			return k
		}
		t.Repeat(map[string]func(*rapid.T){
			"read": func(t *rapid.T) {
				k := draw()
				d := c.Draft(k, []driverfactory.Column{{Name: "v"}}, 14_000)
				defer d.Discard()
				for range rapid.IntRange(0, 12).Draw(t, "rows") {
					if err := d.Add([]any{string(make([]byte, 1000))}); err != nil {
						return
					}
				}
				e := d.Entry(time.Time{})
				having = append(having, e)
				if rapid.Bool().Draw(t, "cached") {
					c.Put(k, e)
				}
			},
			"get": func(t *rapid.T) {
				if e, ok := c.Get(draw()); ok {
					lend(t, e)
					having = append(having, e)
					_, _, _ = e.Encoded(fmt.Sprint("form ", rapid.IntRange(0, 5).Draw(t, "form")), written(new(int), rapid.IntRange(10, 8_000).Draw(t, "size")))
				}
			},
			"delete": func(*rapid.T) { c.Delete(draw()) },
			"release": func(t *rapid.T) {
				if len(having) > 0 {
					i := rapid.IntRange(0, len(having)-1).Draw(t, "which")
					having[i].Release()
					having = append(having[:i], having[i+1:]...)
				}
			},
			"": func(t *rapid.T) {
				s := c.Stats()
				if s.Bytes < 0 || s.Held < 0 || s.Bytes > maxBytes || s.Bytes+s.Held > maxBytes+maxHeld || (s.Entries == 0) != (s.Bytes == 0) {
					t.Fatalf("Stats = %+v", s)
				}
				have := int64(0)
				seen := map[*resultcache.Entry]bool{}
				for _, e := range having {
					if !seen[e] {
						have += e.Size()
					}
					seen[e] = true
				}
				if s.Bytes+s.Held < have || len(having) == 0 && s.Held != 0 {
					t.Fatalf("%d bytes of results are read, and %+v counted", have, s)
				}
			},
		})
	})
}
