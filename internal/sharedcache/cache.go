package sharedcache

import (
	"bytes"
	"context"
	"crypto/rand"
	"maps"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/resultcache"
)

// Store keeps small values for a while. redis.Client is one; sharedcachetest.TestStore says what each method must do. Values
// may go at any moment. All methods end with ctx.
type Store interface {
	// Get returns the values of names, nil where there is none.
	Get(ctx context.Context, names ...string) ([][]byte, error)

	// Set makes value that of name, for life.
	Set(ctx context.Context, name string, value []byte, life time.Duration) error

	// Add makes value that of name, for life, unless it has one, and returns what it has then.
	Add(ctx context.Context, name string, value []byte, life time.Duration) ([]byte, error)

	// Extend lets name live for life from now on, if its value is this one, and reports whether it is.
	Extend(ctx context.Context, name string, value []byte, life time.Duration) (bool, error)

	// Remove removes name if its value is this one.
	Remove(ctx context.Context, name string, value []byte) error

	// Delete removes names.
	Delete(ctx context.Context, names ...string) error
}

// Config is what a Cache needs. Store and Derive are required.
type Config struct {
	Store  Store
	Derive func(purpose string) ([32]byte, error) // a key for each purpose, the same at every replica; secret.Keyring.Derive is one

	TTL      time.Duration    // of a result; default 24 h
	MaxBytes int64            // of the rows of one result: larger ones are left where they were fetched; default 1 MiB
	Timeout  time.Duration    // of one look into the Store; default 200 ms
	Lease    time.Duration    // of a loader, who renews it three times in that; default 1 s
	Probe    time.Duration    // how often a Store that does not answer is asked again; default 500 ms
	Now      func() time.Time // default time.Now
	Log      *zap.Logger      // default: no logging
}

// What is bounded beside the times.
const (
	maxFailures = 3      // in a row, after which the Store is left alone
	maxAtOnce   = 64     // values that are read or written
	maxPurges   = 10_000 // owners whose purge is still to come; beyond that it is everybody's
	maxDeletes  = 500    // names in one call
)

// Cache is results in a Store. It is safe for concurrent use.
type Cache struct {
	cfg   Config
	seats chan struct{}
	wake  chan struct{}

	mu       sync.Mutex
	failures int // in a row
	down     bool
	purges   map[string]uint64 // by owner, Everybody among them: the number of the last one, while it is to come
	purged   uint64
	stats    Stats
}

// Everybody is the owner whose purge is that of all.
const Everybody = ""

// Stats says what a Cache did since it was made.
type Stats struct {
	Hits, Misses uint64
	Puts         uint64
	Failures     uint64 // of calls to the Store
	Refused      uint64 // values that were there and did not open: purged, changed, of another place or past their end
	Down         bool   // the Store is left alone, because it did not answer
	Purges       int    // that have not reached the Store yet
}

// Key names a result for all replicas.
type Key struct {
	resultcache.Key
	Source [32]byte // driverfactory.Source.Digest: replicas that are configured differently share nothing
}

// New returns a Cache over cfg. It starts nothing; see Run.
func New(cfg Config) *Cache {
	orDefault(&cfg.TTL, 24*time.Hour)
	orDefault(&cfg.MaxBytes, 1<<20)
	orDefault(&cfg.Timeout, 200*time.Millisecond)
	orDefault(&cfg.Lease, time.Second)
	orDefault(&cfg.Probe, 500*time.Millisecond)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	return &Cache{cfg: cfg, seats: make(chan struct{}, maxAtOnce), wake: make(chan struct{}, 1), purges: map[string]uint64{}}
}

func orDefault[T int64 | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

// Get returns the result for k that a replica put, if it is there. Whatever is wrong, it is not.
func (c *Cache) Get(ctx context.Context, k Key) (Result, bool) {
	role, found := k.Role, true
	if role != "" {
		k, found = c.holder(ctx, k)
	}
	p, ok := c.place(k)
	if !ok {
		return Result{}, false
	}
	var v value
	if ok = false; found {
		v, ok = c.read(ctx, p)
		ok = ok && (role == "" || v.Role == role)
		v.By = k.Scope
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if ok {
		c.stats.Hits++
	} else {
		c.stats.Misses++
	}
	return v.Result, ok
}

// Delete removes the result for k: of a role, for all but who fetched it.
func (c *Cache) Delete(ctx context.Context, k Key) {
	if k.Role != "" {
		c.release(ctx, k)
		return
	}
	if p, ok := c.place(k); ok {
		c.call(ctx, func(ctx context.Context) error { return c.cfg.Store.Delete(ctx, p.value) })
	}
}

// Purge makes the results of owner, a Principal.Key or Everybody, such that nobody can read them any more: here from now on,
// elsewhere as soon as Run has reached the Store. Those of the service accounts belong to Everybody and are purged with it.
func (c *Cache) Purge(owner string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.purges) >= maxPurges {
		owner = Everybody
		clear(c.purges)
	}
	c.purged++
	c.purges[owner] = c.purged
	c.rouse()
}

// rouse makes Run do what there is to do.
func (c *Cache) rouse() {
	select {
	case c.wake <- struct{}{}:
	default: // it has been told
	}
}

// Run does the purges, and asks a Store that did not answer whether it does again, until ctx is done. It returns nil then, and
// never before.
func (c *Cache) Run(ctx context.Context) error {
	tick := time.NewTicker(c.cfg.Probe)
	defer tick.Stop()
	for {
		c.tend(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		case <-tick.C:
		}
	}
}

// tend does the purges that are to come. Where the Store did not answer, that is done before anything else is asked of it.
func (c *Cache) tend(ctx context.Context) {
	c.mu.Lock()
	todo, down := maps.Clone(c.purges), c.down
	c.mu.Unlock()
	if len(todo) == 0 && !down {
		return
	}
	err := c.purge(ctx, todo)
	if err == nil && down { // a Store that takes a deletion from nobody may be one that is only read
		_, err = c.get(ctx, everybodys)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.stats.Failures++
		return
	}
	for owner, number := range todo {
		if c.purges[owner] == number { // or there was another one meanwhile
			delete(c.purges, owner)
		}
	}
	if c.down {
		c.down, c.failures = false, 0
		c.cfg.Log.Info("the shared cache answers again")
	}
}

// purge removes the generations of owners from the Store.
func (c *Cache) purge(ctx context.Context, owners map[string]uint64) error {
	var names []string
	for owner := range owners {
		name, err := c.generation(owner)
		if err != nil {
			return err
		}
		names = append(names, name)
	}
	for len(names) > 0 {
		n := min(len(names), maxDeletes)
		if err := c.within(ctx, func(ctx context.Context) error { return c.cfg.Store.Delete(ctx, names[:n]...) }); err != nil {
			return err
		}
		names = names[n:]
	}
	return nil
}

// usable reports whether the Store is asked about the values of owner.
func (c *Cache) usable(owner string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, all := c.purges[Everybody]
	_, own := c.purges[owner]
	return !c.down && !all && !own
}

// Stats returns what the cache did so far.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Down, s.Purges = c.down, len(c.purges)
	return s
}

// read returns the value at p, if it is there and opens.
func (c *Cache) read(ctx context.Context, p place) (value, bool) {
	if !c.sit() {
		return value{}, false
	}
	defer c.rise()
	var got [][]byte
	if !c.call(ctx, func(ctx context.Context) (err error) {
		got, err = c.get(ctx, everybodys, p.generation, p.value)
		return err
	}) || got[2] == nil || !c.usable(p.owner) {
		return value{}, false
	}
	v, err := p.open(generations{got[0], got[1]}, got[2])
	now := c.cfg.Now()
	if err != nil || !now.Before(v.end) || v.RanAt.After(now.Add(maxSkew)) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.stats.Refused++
		return value{}, false
	}
	return v, true
}

// maxSkew is how far the clock of another replica may be ahead. A result that is further from the future would be fresh for too
// long.
const maxSkew = 5 * time.Second

// get is Store.Get, of which nothing is believed.
func (c *Cache) get(ctx context.Context, names ...string) ([][]byte, error) {
	got, err := c.cfg.Store.Get(ctx, names...)
	for len(got) < len(names) {
		got = append(got, nil)
	}
	return got, err
}

// begin returns the generations of p, made if need be.
func (c *Cache) begin(ctx context.Context, p place) (g generations, ok bool) {
	ok = c.call(ctx, func(ctx context.Context) error {
		got, err := c.get(ctx, everybodys, p.generation)
		if err != nil {
			return err
		}
		for i, name := range []string{everybodys, p.generation} {
			if len(got[i]) == generationSize {
				continue
			}
			if got[i], err = c.cfg.Store.Add(ctx, name, random(), 2*c.cfg.TTL); err != nil {
				return err
			}
		}
		g = generations{got[0], got[1]}
		return nil
	})
	return g, ok && g.whole()
}

// random returns a number that nobody guesses and nothing else has.
func random() []byte {
	b := make([]byte, generationSize)
	_, _ = rand.Read(b) // it never fails
	return b
}

// call makes calls to the Store, with one end for all of them, and reports whether they succeeded.
func (c *Cache) call(ctx context.Context, calls func(context.Context) error) bool {
	err := c.within(ctx, calls)
	if err != nil && ctx.Err() != nil {
		return false // the caller has left: that says nothing of the Store
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.failures = 0
		return true
	}
	c.stats.Failures++
	c.failures++
	if c.failures >= maxFailures && !c.down {
		c.down = true
		c.cfg.Log.Warn("the shared cache does not answer: each replica uses its own until it does", zap.Error(err))
	}
	return false
}

func (c *Cache) within(ctx context.Context, calls func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	return calls(ctx)
}

// sit takes the memory of one value, if there is some. Nobody waits for it.
func (c *Cache) sit() bool {
	select {
	case c.seats <- struct{}{}:
		return true
	default:
		return false
	}
}

func (c *Cache) rise() { <-c.seats }

func same(a, b []byte) bool { return len(a) > 0 && bytes.Equal(a, b) }
