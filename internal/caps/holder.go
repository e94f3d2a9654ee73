package caps

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/id"
	"github.com/behalf-project/behalf/internal/notify"
)

// The lease (design.md §2.8), and how the store is asked.
const (
	lease      = 10 * time.Second
	renewEvery = 3 * time.Second
	askEvery   = time.Second // while somebody waits for what others have, or the store cannot be asked
	askTimeout = 3 * time.Second
	pace       = 5 * time.Millisecond // between two exchanges: what happens meanwhile goes together
	keepIdle   = time.Minute          // a share that is not used
	maxIdle    = 10_000               // shares beyond which none is kept unused
)

// Part is what uses caps of one kind.
type Part interface {
	// Count calls use with all caps of which something is used or wanted. Nothing begins or ends before use returns.
	Count(use func([]Count))

	// Resume is told that shares may have changed: what waited may begin, and what is idle and too much may end.
	Resume()
}

// Count is what is used and wanted of a cap in this process.
type Count struct {
	Key
	Cap   int
	Uses  int
	Wants int // what is used, and what waits
}

// Config is what New needs. Store is required.
type Config struct {
	Store   Store
	Replica string      // names this process; default: a random name
	Log     *zap.Logger // default: no logging
}

// Caps is what this process may use of the caps that it has in common with other replicas. The nil *Caps is that of a process
// that has none: all is its. It is safe for concurrent use.
type Caps struct {
	cfg   Config
	log   *zap.Logger
	wake  chan struct{}
	parts map[Kind]Part
	whole atomic.Pointer[time.Time] // from when the lease of a replica that is alone is counted; nil when it is not
	term  atomic.Uint64             // how often a lease has ended

	mu       sync.Mutex // taken under the lock of a Part, never the other way round
	from     time.Time  // when the lease that was confirmed last had been asked for; zero before the first
	sharing  bool
	frozen   bool // as of the last answer, another has all
	cutOff   bool // the store was asked after the lease had ended, and did not answer
	replicas int  // that lived, as of the last answer
	round    uint64
	news     bool
	anew     bool // the store is to be told of everything
	shares   map[Key]*share
	names    map[string]*share
}

// share is what this process has of one cap.
type share struct {
	key       Key
	name      string
	cap       int
	uses      int // as counted last
	wants     int
	held      int
	fair      int
	owes      bool
	waited    bool      // elsewhere
	used      bool      // since it was given something and had nothing
	givenAt   time.Time // which was then
	counted   uint64    // the last round in which something of it was used or wanted
	idleSince time.Time
	told      Demand // what the store knows
}

// New returns Caps over cfg. It starts nothing; see Run.
func New(cfg Config) *Caps {
	if cfg.Replica == "" {
		cfg.Replica = id.Random(8)
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	return &Caps{
		cfg: cfg, log: cfg.Log, wake: make(chan struct{}, 1), parts: map[Kind]Part{}, shares: map[Key]*share{}, names: map[string]*share{},
	}
}

// Serve makes p the part that uses caps of a kind. It is called before Run.
func (c *Caps) Serve(kind Kind, p Part) {
	if c != nil {
		c.parts[kind] = p
	}
}

// live reports whether a lease that is counted from a moment holds now. The clock of a time that is compared stands still while
// the machine sleeps, and the other one may be set: whichever went further decides.
func live(from, now time.Time) bool {
	return now.Sub(from) < lease && now.Round(0).Sub(from.Round(0)) < lease
}

// alone reports whether all of every cap is this process's.
func (c *Caps) alone() bool {
	from := c.whole.Load()
	return from != nil && live(*from, time.Now())
}

// Allowed returns how much of a cap of limit may be in use here when something begins now.
func (c *Caps) Allowed(k Key, limit int) int {
	if c == nil || c.alone() {
		return limit
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.allowed(c.shares[k], limit, time.Now())
}

// Take is Allowed for what begins now, when so much is in use, and reports whether it may.
func (c *Caps) Take(k Key, limit, uses int) bool {
	if c == nil || c.alone() {
		return uses < limit
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.shares[k]
	if uses >= c.allowed(s, limit, time.Now()) {
		return false
	}
	if s != nil {
		s.used, s.counted = true, c.round
	}
	return true
}

// Owed returns how much of what is in use of a cap of limit is to end, for another replica to have it, or because there is less
// than there was. Where that is not known, nothing is.
func (c *Caps) Owed(k Key, limit, uses int) int {
	if c == nil || c.alone() {
		return max(uses-limit, 0)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s, now := c.shares[k], time.Now()
	if !c.cutOff && (s == nil || c.frozen || !live(c.from, now)) {
		return 0
	}
	return max(uses-c.allowed(s, limit, now), 0)
}

// allowed returns what may be in use of s, which is nil when nothing is known of it.
func (c *Caps) allowed(s *share, limit int, now time.Time) int {
	switch {
	case c.from.IsZero():
		return 0 // nobody has said who else is there
	case !live(c.from, now):
		if c.cutOff {
			return careful(limit, c.replicas)
		}
		return 0
	case !c.sharing:
		if c.whole.Load() != nil {
			return limit
		}
		return 0
	case s == nil, c.frozen:
		return 0
	}
	return min(limit, s.lends(now))
}

// careful is what a replica goes on with that cannot ask.
func careful(limit, replicas int) int { return max(limit/max(replicas, 1), 1) }

// lends returns how much of s may be in use when something begins. What was given for what waits here is good for one use at
// least, unless that cannot begin: who waits for two things would give one back while it gets the other, without end.
func (s *share) lends(now time.Time) int {
	if !s.owes || !s.used && s.wants > s.uses && now.Sub(s.givenAt) < renewEvery {
		return s.held
	}
	return min(s.held, s.fair)
}

// Term returns the number of the lease that what is allowed now is allowed under.
func (c *Caps) Term() uint64 {
	if c == nil {
		return 0
	}
	return c.term.Load()
}

// Lapsed reports whether what was allowed in a term, and has not begun, counts no more: its lease has ended meanwhile.
func (c *Caps) Lapsed(term uint64) bool {
	if c == nil {
		return false
	}
	if c.alone() {
		return c.term.Load() != term
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.term.Load() != term || !c.cutOff && !live(c.from, time.Now())
}

// State is how this process stands to other replicas.
type State struct {
	Replicas int  // that live, as of the last answer; 1 where it is alone, 0 before the first
	CutOff   bool // the store cannot be asked: it goes on with its part of each cap
}

// State returns the present one.
func (c *Caps) State() State {
	if c == nil {
		return State{Replicas: 1}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return State{Replicas: c.replicas, CutOff: c.cutOff}
}

// Stir tells that something waits or has ended. It does not wait.
func (c *Caps) Stir() {
	if c == nil || c.alone() {
		return
	}
	c.ring()
}

func (c *Caps) ring() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Hear acts on news: subscribe it to the bus.
func (c *Caps) Hear(n notify.News) {
	if n.Topic == notify.Everything || n.Topic == notify.SharesMoved && n.Replica == c.cfg.Replica {
		c.mu.Lock()
		c.news = true
		c.mu.Unlock()
		c.ring()
	}
}

// Run renews the lease and moves shares until ctx is done. It returns nil then, and never before. What is held is still held:
// see Leave.
func (c *Caps) Run(ctx context.Context) error {
	next, answers := c.exchange(ctx, true)
	timer := time.NewTimer(next)
	defer timer.Stop()
	for {
		due := false
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
			due = true
		case <-c.wake:
			if !answers {
				continue // it is asked again in time
			}
		}
		began := time.Now()
		if wait, ok := c.exchange(ctx, due); wait > 0 {
			answers = ok
			timer.Reset(wait)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(max(pace, time.Since(began)/4)): // who holds much is not busy with that all the time
		}
	}
}

// exchange tells the store what has changed, or that nothing has where that is due, and does as it answers. It returns after how
// long the next is due, 0 where nothing was to be told, and whether the store answers.
func (c *Caps) exchange(ctx context.Context, due bool) (wait time.Duration, answers bool) {
	began := time.Now()
	offer, changed := c.offer(began, due)
	if !due && !changed {
		return 0, true
	}
	try, cancel := context.WithTimeout(ctx, askTimeout)
	answer, err := c.cfg.Store.Exchange(try, offer)
	cancel()
	switch {
	case err == nil:
		wait = c.take(began, offer, answer)
	case ctx.Err() != nil:
		return renewEvery, true
	default:
		c.failed(began, err)
		wait = askEvery
	}
	for _, p := range c.parts {
		p.Resume()
	}
	return wait, err == nil
}

// offer counts what is used and wanted, gives back what is to be given back, and returns what to tell the store; changed is whether
// that is more than that this process lives. Nothing is lent above what is offered until the answer comes.
func (c *Caps) offer(now time.Time, due bool) (o Offer, changed bool) {
	c.mu.Lock()
	c.round++
	lapsed := !live(c.from, now)
	c.anew = c.anew || lapsed
	o = Offer{Replica: c.cfg.Replica, Lease: lease, Sharing: c.sharing, All: c.anew && c.sharing}
	news := c.news
	c.news = false
	c.mu.Unlock()
	if !o.Sharing {
		return o, news || lapsed
	}
	for kind, p := range c.parts {
		p.Count(func(counts []Count) { c.count(kind, counts, now) })
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.shares {
		d := Demand{Name: s.name, Cap: s.cap, Keep: s.held, Wants: s.wants}
		nothing := d.Keep == 0 && d.Wants == 0
		if nothing {
			delete(c.shares, s.key)
			delete(c.names, s.name)
		}
		if known := s.told.Keep > 0 || s.told.Wants > 0; nothing && (o.All || !known) || !nothing && !o.All && !s.tell(d, due || news) {
			continue
		}
		sent := d
		sent.New = d.Wants > d.Keep && s.told.Wants <= s.told.Keep
		s.told = d
		o.Demands = append(o.Demands, sent)
	}
	return o, news || lapsed || len(o.Demands) > 0
}

// tell reports whether the store is to be told d: at once, or when it is asked anyway. As long as nobody waits, statements come
// and go and nothing is told. That less is wanted than before matters where somebody does, and there is some for them; how much
// is waited for has time.
func (s *share) tell(d Demand, anyway bool) bool {
	switch {
	case d == s.told:
		return false
	case d.Keep != s.told.Keep, d.Cap != s.told.Cap:
		return true
	case anyway:
		return s.waited || d.Wants > d.Keep || s.told.Wants > s.told.Keep
	case d.Wants > d.Keep:
		return s.told.Wants <= s.told.Keep
	}
	return s.waited && d.Wants < min(d.Keep, s.told.Wants)
}

// count takes what is used and wanted of caps of a kind. Nothing of it begins or ends meanwhile.
func (c *Caps) count(kind Kind, counts []Count, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range counts {
		s := c.shares[n.Key]
		if s == nil {
			s = &share{key: n.Key, name: n.name(), owes: true} // what is in use may be too much: nothing more begins before the answer
			c.shares[n.Key], c.names[s.name] = s, s
		}
		s.cap, s.uses, s.wants, s.counted, s.idleSince = n.Cap, n.Uses, min(n.Wants, n.Cap), c.round, now
		s.held = max(s.uses, c.allowed(s, n.Cap, now))
	}
	idle := keepIdle
	if len(c.shares) > maxIdle {
		idle = 0
	}
	for _, s := range c.shares {
		if s.key.Kind != kind || s.counted == c.round {
			continue
		}
		s.uses, s.wants = 0, 0
		if s.held = c.allowed(s, s.cap, now); now.Sub(s.idleSince) >= idle {
			s.held = 0
		}
	}
}

// failed notes that the store did not answer what was asked at a moment.
func (c *Caps) failed(began time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.anew = true // whether it was stored, nobody knows
	if cut := !c.from.IsZero() && !live(c.from, began); cut && !c.cutOff {
		c.cutOff = true
		c.term.Add(1)
		c.log.Warn("what this replica may use of the caps of all is not known: it goes on with its part",
			zap.Int("replicas", c.replicas), zap.Error(err))
	}
}

// take does as the store answered to an offer that was made at a moment, and returns after how long the next is due.
func (c *Caps) take(began time.Time, o Offer, a Answer) (wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cutOff {
		c.log.Info("what this replica may use of the caps of all is known again")
	}
	if c.cutOff || !live(c.from, time.Now()) {
		c.term.Add(1) // before anybody is allowed anything again
	}
	c.from, c.replicas, c.cutOff, c.frozen = began, a.Replicas, false, a.Frozen
	switch {
	case a.Alone:
		c.sharing, c.anew = false, false
		clear(c.shares)
		clear(c.names)
		c.whole.Store(&began)
		return renewEvery
	case !o.Sharing:
		// From here on nothing is allowed that is not stored. What runs is counted, and offered at once.
		c.log.Info("sharing caps", zap.Int("replicas", a.Replicas))
		c.sharing, c.anew = true, true
		c.whole.Store(nil)
		c.ring()
		return renewEvery
	case a.Anew:
		c.anew = true
		c.ring()
		return renewEvery
	}
	if o.All {
		c.anew = false
	}
	for _, s := range c.shares {
		s.owes, s.waited = false, false
	}
	for _, is := range a.Shares {
		s := c.names[is.Name]
		if s == nil {
			continue
		}
		if s.held == 0 && is.Held > 0 {
			s.used, s.givenAt = false, began
		}
		s.held, s.fair, s.owes, s.waited, s.told.Keep = is.Held, is.Fair, is.Owes > 0, is.Waited, is.Held
		if s.key.Kind == Sessions {
			s.fair = max(is.Fair, min(s.uses, is.Held-is.Owes)) // one that is closed for nobody would have to log in again
		}
		if s.owes && s.held > max(s.uses, s.lends(began)) || s.waited && s.wants < min(s.held, s.told.Wants) {
			c.ring() // some can be given back at once
		}
	}
	for _, s := range c.shares {
		if s.wants > s.held || s.owes || s.waited && s.held > 0 {
			return askEvery
		}
	}
	return renewEvery
}

// Leave gives back what this process holds: nothing of it runs any more, and nothing begins again.
func (c *Caps) Leave(ctx context.Context) error {
	if c == nil {
		return nil
	}
	c.whole.Store(nil)
	c.mu.Lock()
	c.from, c.cutOff = time.Time{}, false
	c.mu.Unlock()
	return c.cfg.Store.Leave(ctx, c.cfg.Replica)
}
