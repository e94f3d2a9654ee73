// Package sharedcachetest says what a sharedcache.Store must do, and has one in memory.
package sharedcachetest

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/sharedcache"
)

// TestStore checks the promises of sharedcache.Store. open returns one whose names have no values.
func TestStore(t *testing.T, open func(*testing.T) sharedcache.Store) {
	ctx := t.Context()
	one, two := []byte{0, 1, 0xff, '\n'}, []byte("two")
	is := func(t *testing.T, s sharedcache.Store, want []byte) {
		t.Helper()
		got, err := s.Get(ctx, "nobody", "a")
		if err != nil || len(got) != 2 || got[0] != nil || !bytes.Equal(got[1], want) {
			t.Errorf("Get = %q, %v, want nothing and %q", got, err, want)
		}
	}
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Run("a value is found until it is deleted", func(t *testing.T) {
		s := open(t)
		is(t, s, nil)
		must(t, s.Set(ctx, "a", one, time.Minute))
		is(t, s, one)
		must(t, s.Set(ctx, "a", two, time.Minute))
		is(t, s, two)
		must(t, s.Delete(ctx, "nobody", "a"))
		is(t, s, nil)
	})
	t.Run("a value ends", func(t *testing.T) {
		s := open(t)
		must(t, s.Set(ctx, "a", one, 30*time.Millisecond))
		time.Sleep(50 * time.Millisecond)
		is(t, s, nil)
	})
	t.Run("what is added stays as it was first", func(t *testing.T) {
		s := open(t)
		for _, value := range [][]byte{one, two} {
			if there, err := s.Add(ctx, "a", value, time.Minute); err != nil || !bytes.Equal(there, one) {
				t.Errorf("Add of %q = %q, %v, want %q", value, there, err, one)
			}
		}
		is(t, s, one)
		must(t, s.Remove(ctx, "a", two))
		is(t, s, one)
		must(t, s.Remove(ctx, "a", one))
		is(t, s, nil)
	})
	t.Run("who has its value extends a life", func(t *testing.T) {
		s := open(t)
		must(t, s.Set(ctx, "a", one, 200*time.Millisecond))
		for value, want := range map[string]bool{string(one): true, string(two): false} {
			if ok, err := s.Extend(ctx, "a", []byte(value), time.Minute); err != nil || ok != want {
				t.Errorf("Extend of %q = %t, %v, want %t", value, ok, err, want)
			}
		}
		time.Sleep(250 * time.Millisecond)
		is(t, s, one)
		if ok, err := s.Extend(ctx, "nobody", one, time.Minute); err != nil || ok {
			t.Errorf("Extend of nothing = %t, %v, want false", ok, err)
		}
	})
	t.Run("a call ends with its context", func(t *testing.T) {
		s := open(t)
		over, cancel := context.WithCancel(ctx)
		cancel()
		_, err := s.Get(over, "a")
		_, err2 := s.Add(over, "a", one, time.Minute)
		_, err3 := s.Extend(over, "a", one, time.Minute)
		for i, err := range []error{err, err2, err3, s.Set(over, "a", one, time.Minute), s.Remove(over, "a", one), s.Delete(over, "a")} {
			if err == nil {
				t.Errorf("call %d = no error, want one", i)
			}
		}
	})
}

// Memory is a sharedcache.Store. The zero Memory is ready to use, and safe for concurrent use.
type Memory struct {
	mu     sync.Mutex
	values map[string]kept
}

type kept struct {
	value []byte
	end   time.Time
}

// at returns what name has now. The caller holds the lock.
func (m *Memory) at(name string) []byte {
	if k, ok := m.values[name]; ok && time.Now().Before(k.end) {
		return k.value
	}
	return nil
}

func (m *Memory) put(name string, value []byte, life time.Duration) {
	if m.values == nil {
		m.values = map[string]kept{}
	}
	m.values[name] = kept{bytes.Clone(value), time.Now().Add(life)}
}

// Get implements sharedcache.Store.
func (m *Memory) Get(ctx context.Context, names ...string) ([][]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var values [][]byte
	for _, name := range names {
		values = append(values, bytes.Clone(m.at(name)))
	}
	return values, ctx.Err()
}

// Set implements sharedcache.Store.
func (m *Memory) Set(ctx context.Context, name string, value []byte, life time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ctx.Err() == nil {
		m.put(name, value, life)
	}
	return ctx.Err()
}

// Add implements sharedcache.Store.
func (m *Memory) Add(ctx context.Context, name string, value []byte, life time.Duration) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ctx.Err() == nil && m.at(name) == nil {
		m.put(name, value, life)
	}
	return bytes.Clone(m.at(name)), ctx.Err()
}

// Extend implements sharedcache.Store.
func (m *Memory) Extend(ctx context.Context, name string, value []byte, life time.Duration) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ok := ctx.Err() == nil && m.at(name) != nil && bytes.Equal(m.at(name), value)
	if ok {
		m.put(name, value, life)
	}
	return ok, ctx.Err()
}

// Remove implements sharedcache.Store.
func (m *Memory) Remove(ctx context.Context, name string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ctx.Err() == nil && bytes.Equal(m.at(name), value) {
		delete(m.values, name)
	}
	return ctx.Err()
}

// Delete implements sharedcache.Store.
func (m *Memory) Delete(ctx context.Context, names ...string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ctx.Err() == nil {
		for _, name := range names {
			delete(m.values, name)
		}
	}
	return ctx.Err()
}
