package connectedapps

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"
)

// cache keeps grants in memory, bounded in number. What it holds is believed for as long as fresh says, unless news
// comes; then it is dropped, and nothing that was read before the news is kept or handed to later callers.
type cache struct {
	fresh, stale time.Duration
	now          func() time.Time
	read         func(context.Context, Key) (Grant, error)

	entries *lru.Cache[string, *entry]
	reads   atomic.Pointer[singleflight.Group]
	seed    maphash.Seed
	news    [256]atomic.Int64 // counts news, by hash of the key
	mu      sync.Mutex        // makes "no news since" and "keep" one step
}

type entry struct {
	grant  Grant // its ID is empty when there is none
	at     time.Time
	used   atomic.Int64 // unix seconds of the last get
	touchd atomic.Int64 // unix seconds of the last use that was noted
}

func newCache(size int, fresh, stale time.Duration, now func() time.Time, read func(context.Context, Key) (Grant, error)) *cache {
	entries, err := lru.New[string, *entry](size)
	if err != nil {
		panic("connectedapps: " + err.Error()) // only a size below one is an error
	}
	c := &cache{fresh: fresh, stale: stale, now: now, read: read, entries: entries, seed: maphash.MakeSeed()}
	c.reads.Store(new(singleflight.Group))
	return c
}

func (c *cache) counter(key string) *atomic.Int64 {
	return &c.news[maphash.String(c.seed, key)%uint64(len(c.news))]
}

// get returns the grant of k; its ID is empty when there is none. While the store does not answer, what is held is
// good for as long as stale says.
func (c *cache) get(ctx context.Context, k Key) (Grant, error) {
	key := k.String()
	now := c.now()
	held, ok := c.entries.Get(key)
	if ok {
		held.used.Store(now.Unix())
		if now.Sub(held.at) < c.fresh {
			return held.grant, nil
		}
	}
	news := c.counter(key)
	v, err, _ := c.reads.Load().Do(key, func() (any, error) {
		before := news.Load()
		// One caller reads for all who ask meanwhile: that it leaves must not fail the others.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		g, err := c.read(ctx, k)
		if err != nil {
			return nil, err
		}
		c.keep(key, g, now, before)
		return g, nil
	})
	if err == nil {
		return v.(Grant), nil
	}
	if ok && now.Sub(held.at) < c.stale {
		return held.grant, nil
	}
	return Grant{}, err
}

// keep holds g unless there was news since before.
func (c *cache) keep(key string, g Grant, now time.Time, before int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counter(key).Load() != before {
		return
	}
	e := &entry{grant: g, at: now}
	e.used.Store(now.Unix())
	if old, ok := c.entries.Peek(key); ok {
		e.touchd.Store(old.touchd.Load())
	}
	c.entries.Add(key, e)
}

// forget drops what is held under key, and what is being read.
func (c *cache) forget(key string) {
	c.mu.Lock()
	c.counter(key).Add(1)
	c.entries.Remove(key)
	c.mu.Unlock()
	c.reads.Load().Forget(key)
}

// forgetAll drops everything that is held, and what is being read.
func (c *cache) forgetAll() {
	c.mu.Lock()
	for i := range c.news {
		c.news[i].Add(1)
	}
	c.entries.Purge()
	c.mu.Unlock()
	c.reads.Store(new(singleflight.Group))
}

// noteUse reports whether the use of key at now should be noted: at most one in a minute.
func (c *cache) noteUse(key string, now time.Time) bool {
	e, ok := c.entries.Peek(key)
	if !ok {
		return true
	}
	last := e.touchd.Load()
	return now.Unix()-last >= 60 && e.touchd.CompareAndSwap(last, now.Unix())
}

// sweep drops what nobody asked for in the given time. The oldest come first, so it ends at the first that is not.
func (c *cache) sweep(idle time.Duration) {
	for {
		key, e, ok := c.entries.GetOldest()
		if !ok || c.now().Unix()-e.used.Load() < int64(idle.Seconds()) {
			return
		}
		c.entries.Remove(key)
	}
}
