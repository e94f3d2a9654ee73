package resultcache

import (
	"container/list"
	"sync"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
)

// Config bounds a Cache. The zero Config is good.
type Config struct {
	MaxBytes      int64            // of everything; default 256 MiB
	MaxEntryBytes int64            // of one entry with its encoded forms; default a sixteenth of MaxBytes
	MaxOwnerBytes int64            // of the results of one person; default a quarter of MaxBytes
	MaxHeldBytes  int64            // of results in use beside the cache, of which one person's may be half; default 256 MiB
	TTL           time.Duration    // after which an entry is forgotten, however often it is read; default 24 h
	Now           func() time.Time // default time.Now
}

// Cache is a bounded map of results. It is safe for concurrent use.
type Cache struct {
	cfg Config

	mu     sync.Mutex
	items  map[Key]*item
	owners map[string]*owner
	used   list.List // items, the last used first
	age    list.List // items, the newest first: all live equally long
	bytes  int64
	held   int64 // of results that are not cached and somebody reads, keeps or writes; see held.go
	stats  Stats
}

// item is an entry in its place.
type item struct {
	cache     *Cache
	key       Key
	by        driverfactory.PoolKey // the credential that fetched it
	entry     *Entry
	bytes     int64 // of the entry and its forms
	expires   time.Time
	owner     *owner
	used, age *list.Element
	owned     *list.Element
}

// owner is a person with results, or the service accounts of all sources.
type owner struct {
	id    string
	items list.List // the last used first
	bytes int64
	held  int64
}

// Stats says what a Cache holds and what it did since it was made.
type Stats struct {
	Bytes, MaxBytes int64
	Held, MaxHeld   int64 // in use beside the cache
	Entries, Owners int
	Hits, Misses    uint64
	Evictions       uint64 // for want of room
	Purged          uint64 // by Purge
}

// New returns an empty Cache. It starts nothing; see Sweep.
func New(cfg Config) *Cache {
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = 256 << 20
	}
	if cfg.MaxEntryBytes <= 0 {
		cfg.MaxEntryBytes = cfg.MaxBytes / 16
	}
	if cfg.MaxOwnerBytes <= 0 {
		cfg.MaxOwnerBytes = cfg.MaxBytes / 4
	}
	if cfg.MaxHeldBytes <= 0 {
		cfg.MaxHeldBytes = 256 << 20
	}
	if cfg.TTL <= 0 {
		cfg.TTL = 24 * time.Hour
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Cache{cfg: cfg, items: map[Key]*item{}, owners: map[string]*owner{}}
}

// Get returns the entry for k, if there is one within its time to live. Who goes on using it calls Lend.
func (c *Cache) Get(k Key) (*Entry, bool) {
	now := c.cfg.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	it := c.items[k]
	if it != nil && !now.Before(it.expires) {
		c.remove(it)
		it = nil
	}
	if it == nil {
		c.stats.Misses++
		return nil, false
	}
	c.stats.Hits++
	c.used.MoveToFront(it.used)
	it.owner.items.MoveToFront(it.owned)
	return it.entry, true
}

// Put stores e for k in place of what there was, and reports whether it did: an entry that is too large for the cache
// is not stored, and what was there is gone all the same; nor is one for another role than it was fetched under. An entry may
// be put once.
func (c *Cache) Put(k Key, e *Entry) bool {
	now := c.cfg.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.items[k]; old != nil {
		c.remove(old)
	}
	by := k.Scope
	if k.Role != "" {
		by = e.By
		if k.Role != e.Role || k.Scope != (Key{Scope: by}).OfRole(e.Role).Scope {
			return false
		}
	}
	if e.size > c.cfg.MaxEntryBytes {
		return false
	}
	o := c.ownerNamed(ownerOf(by))
	it := &item{cache: c, key: k, by: by, entry: e, expires: now.Add(c.cfg.TTL), owner: o}
	it.used, it.age, it.owned = c.used.PushFront(it), c.age.PushFront(it), o.items.PushFront(it)
	c.items[k] = it
	if e.cache == nil {
		e.cache, e.owner = c, o.id
	}
	e.item.Store(it)
	c.count(e, 0) // as held: it is the cache's
	if k.Role != "" {
		e.owner = "" // from now on others may hold it, at the expense of themselves and not of who fetched it
	}
	c.grow(it, e.size)
	return true
}

// Delete removes the entry for k, if there is one.
func (c *Cache) Delete(k Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if it := c.items[k]; it != nil {
		c.remove(it)
	}
}

// Purge removes what principal owns and match agrees to the credential of, and returns how many entries that were: what they
// fetched for others of their role, too. principal is a Principal.Key; empty means everybody, the service accounts included.
func (c *Cache) Purge(principal string, match func(driverfactory.PoolKey) bool) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	within := &c.used
	if principal != "" {
		o := c.owners[principal]
		if o == nil {
			return 0
		}
		within = &o.items
	}
	n := 0
	for el := within.Front(); el != nil; {
		it := el.Value.(*item)
		el = el.Next() // before remove, which unlinks it
		if match(it.by) {
			c.remove(it)
			n++
		}
	}
	c.stats.Purged += uint64(n)
	return n
}

// Sweep removes what has outlived its time. What is never asked for again leaves memory by it.
func (c *Cache) Sweep() {
	now := c.cfg.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for el := c.age.Back(); el != nil; el = c.age.Back() {
		it := el.Value.(*item)
		if now.Before(it.expires) {
			return
		}
		c.remove(it)
	}
}

// Stats returns what the cache holds now and what it did so far.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Bytes, s.MaxBytes, s.Entries, s.Owners = c.bytes, c.cfg.MaxBytes, len(c.items), len(c.owners)
	s.Held, s.MaxHeld = c.held, c.cfg.MaxHeldBytes
	return s
}

// Of returns how many results principal, a Principal.Key, has here, and their bytes.
func (c *Cache) Of(principal string) (entries int, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.owners[principal]
	if o == nil {
		return 0, 0
	}
	return o.items.Len(), o.bytes
}

// keep adds f, which m made, to the forms of its item, and reports whether it did: not when that has left the cache
// meanwhile.
func (c *Cache) keep(m *making, f form) bool {
	it := m.item
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.items[it.key] != it {
		return false
	}
	forms := append(it.entry.known(), f) // a copy: others are reading the old one
	it.entry.forms.Store(&forms)
	size := int64(len(f.name))
	if f.parts != nil {
		size += m.size
		c.letGo(it.entry.owner, m.size)
		m.size = 0
	}
	c.grow(it, size)
	return true
}

// grow counts n more bytes for it, and makes room for them: at the expense of its owner's other results when those are
// too many, else of what was not used for longest. It may evict it itself, when it alone is too much.
func (c *Cache) grow(it *item, n int64) {
	it.bytes += n
	it.owner.bytes += n
	c.bytes += n
	o := it.owner
	if o.id != "" {
		for o.bytes > c.cfg.MaxOwnerBytes {
			c.evict(o.items.Back())
		}
	}
	for c.bytes > c.cfg.MaxBytes {
		c.evict(c.used.Back())
	}
}

func (c *Cache) evict(el *list.Element) {
	c.stats.Evictions++
	c.remove(el.Value.(*item))
}

// remove takes it out, with its encoded forms. Whoever holds the entry goes on reading it, and then it counts as held.
func (c *Cache) remove(it *item) {
	delete(c.items, it.key)
	c.used.Remove(it.used)
	c.age.Remove(it.age)
	o := it.owner
	o.items.Remove(it.owned)
	o.bytes -= it.bytes
	c.bytes -= it.bytes
	it.entry.item.Store(nil)
	it.entry.forms.Store(nil)
	if it.entry.refs > 0 {
		c.count(it.entry, it.bytes)
	}
	c.dropIfEmpty(o)
}

// ownerNamed returns the owner with this id, made if need be.
func (c *Cache) ownerNamed(id string) *owner {
	o := c.owners[id]
	if o == nil {
		o = &owner{id: id}
		c.owners[id] = o
	}
	return o
}

// dropIfEmpty forgets an owner of nothing.
func (c *Cache) dropIfEmpty(o *owner) {
	if o.items.Len() == 0 && o.held == 0 {
		delete(c.owners, o.id)
	}
}

// ownerOf returns whose the results under key are: a Principal.Key, or "" for those of a service account, which belong
// to nobody and may fill the cache.
func ownerOf(key driverfactory.PoolKey) string {
	if key.Service {
		return ""
	}
	return key.Principal.Key()
}
