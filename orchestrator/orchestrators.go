package orchestrator

import (
	"container/list"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"go.uber.org/zap"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/caps"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/resultcache"
	"github.com/behalf-project/behalf/internal/sharedcache"
)

// Drivers chooses the credential of a request and opens drivers under it. driverfactory.Factory is one.
type Drivers interface {
	// Choose returns the credential that src is used with by sc for op, or the refusal that sc should see. It is asked
	// before every statement and every look into the cache.
	Choose(ctx context.Context, sc driverfactory.SecurityContext, src driverfactory.Source, op driverfactory.Operation) (driverfactory.Choice, error)

	// Open returns a driver under the credential of c. It does no I/O that takes long.
	Open(c driverfactory.Choice) (driverfactory.Driver, error)
}

// Config is what Orchestrators need. Drivers is required.
type Config struct {
	Drivers Drivers

	// ID returns the id of the orchestrator that sc uses; default CUBE_APP_<username>, CUBE_APP_default without one.
	// It must be a pure function of sc: an id that changes from call to call is refused. Its error is returned as it is.
	ID func(ctx context.Context, sc driverfactory.SecurityContext) (string, error)

	// FellBack is told that a person's query is about to be answered as the service account, because the person has no
	// usable grant and the source's policy says so. It is asked before the cache is, once for each Load; when it fails,
	// so does the query. It is told of a Build, too, and of each answer from a rollup that the model shares, with the
	// reason "shared_rollup"; when it fails then, the source answers the person. Default: nobody is told.
	FellBack func(ctx context.Context, sc driverfactory.SecurityContext, req Request, as driverfactory.RunAs) error

	// Sources lists the data sources whose liveness Run checks; default none.
	Sources func() []driverfactory.Source

	// Stage hears of statements that have waited, and of those that run; Observer of what came of it. Default: nobody hears.
	Stage    driverfactory.StageFunc
	Observer Observer

	// Capacity bounds the open sessions. Give it to the factory too; default: one of its own, which bounds nothing.
	Capacity *Capacity

	Cache *resultcache.Cache // default: one of 256 MiB

	Caps *caps.Caps // limits that other replicas share, which somebody else runs; default none: all of each is this process's

	Shared *sharedcache.Cache // results of all replicas, which somebody else runs; default none: each fetches its own

	PreAggregations PreAggregations // the rows of rollups; default none: every query goes to its source
	SourceTables    SourceTables    // which rollups have tables in their sources; default none: such rollups are not built
	RollupOnly      bool            // and no query does: what no rollup answers now is fault.Invalid (not_preaggregated)

	// Used is told which rollups are in use, each about once an hour; see Refresh. Default: nobody is told.
	Used func(ctx context.Context, use RollupUse) error

	// AppSlug returns the slug of the OAuth app with this id, or "". News names apps by id, a PoolKey by slug. News of
	// an app without a slug counts for every app of the person.
	AppSlug func(appID string) string

	Max            int   // orchestrators kept; default 10,000
	MaxQueued      int   // statements waiting in the whole process; default 10,000
	MaxResultBytes int64 // of one result; default 64 MiB, and never more than Cache.MaxResult
	MaxKeptBytes   int64 // of results that wait for their poller and are too large for the cache; default Cache.MaxResult

	IdleTimeout      time.Duration // after which an unused pool is closed; default 60 s
	DrainTimeout     time.Duration // for running statements whose credential was replaced; default 30 s
	AdmissionTimeout time.Duration // for waiting in line; default 10 min
	OrphanTimeout    time.Duration // a statement that nobody asked for so long is cancelled, its result dropped; default 120 s
	DisconnectGrace  time.Duration // the same, when the last one to ask has hung up; default 40 s

	Log *zap.Logger      // default: no logging
	Now func() time.Time // default: time.Now
}

const defaultWait = 10 * time.Second

// Orchestrators are all orchestrators of the process, with what they share: the schedulers of the sources, the pools,
// the result cache. It is safe for concurrent use.
type Orchestrators struct {
	cfg      Config
	log      *zap.Logger
	cache    *resultcache.Cache
	capacity *Capacity
	health   health

	// mu guards everything below. It is held for moments: never while a driver or a hook is called. The cache's lock
	// may be taken under it, the capacity's may not.
	mu       sync.Mutex
	open     *simplelru.LRU[string, *orchestrator]
	draining map[string]*orchestrator // evicted with statements under way
	flights  map[flightKey]*flight    // waiting or running
	queries  map[string]*flight       // by id: these, those whose credential was replaced, and those that are being stopped
	ready    map[readyKey]*flight     // finished, and not yet fetched by who asked
	followed map[readyKey]*flight     // with refresh keys, waiting or running, by who asked
	renewals map[flightKey]struct{}   // under way behind an answer; without values
	rollups  *simplelru.LRU[RollupID, *knownRollup]
	rolled   map[string]map[RollupID]struct{}  // those of people, by Principal.Key, for news to find
	builds   map[driverfactory.PoolKey]*builds // under way
	lines    map[sourceKey]*scheduler
	breakers map[sourceKey]*breaker // of sources that did not answer the last time
	pools    map[driverfactory.PoolKey]*pool
	idle     list.List          // pools that nobody uses, the longest unused first
	people   map[string]*person // by Principal.Key
	news     newsLog
	queued   int
	kept     int64 // bytes of finished results that only ready holds

	closing bool
	tasks   int           // goroutines that a request left behind: statements, and pools being closed
	quiet   chan struct{} // closed when closing and there are none
}

// orchestrator is one person's: what must be closed when the person is forgotten. It is all that an idle person costs
// beside what is open or cached for them.
type orchestrator struct {
	id      string
	flights int // statements under way; 0 lets it close
	pools   map[*pool]struct{}

	username string // of who used it last
	people   []driverfactory.Principal
	crowded  bool // there are more than people names
	used     time.Time
}

// maxPeople is how many people an orchestrator remembers. Where ids are those of people, it is one.
const maxPeople = 32

// usedBy notes who uses it.
func (one *orchestrator) usedBy(sc driverfactory.SecurityContext) {
	one.username, one.used = sc.Username, time.Now()
	switch p := sc.Principal; {
	case p.Anonymous() || slices.Contains(one.people, p):
	case len(one.people) < maxPeople:
		one.people = append(one.people, p)
	default:
		one.crowded = true
	}
}

// person is what goes on under the credentials of one principal, for Forget to find.
type person struct {
	flights map[*flight]struct{}
	pools   map[*pool]struct{}
}

// sourceKey names a source whatever its revision: its limits are those of the newest.
type sourceKey struct{ domain, name string }

// New returns Orchestrators over cfg. It starts nothing; see Run.
func New(cfg Config) *Orchestrators {
	if cfg.ID == nil {
		cfg.ID = func(_ context.Context, sc driverfactory.SecurityContext) (string, error) { return DefaultID(sc), nil }
	}
	if cfg.Sources == nil {
		cfg.Sources = func() []driverfactory.Source { return nil }
	}
	if cfg.AppSlug == nil {
		cfg.AppSlug = func(string) string { return "" }
	}
	if cfg.Observer == nil {
		cfg.Observer = nobody{}
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Cache == nil {
		cfg.Cache = resultcache.New(resultcache.Config{Now: cfg.Now})
	}
	if cfg.Capacity == nil {
		cfg.Capacity = NewCapacity(0, 0)
	}
	orDefault(&cfg.Max, 10_000)
	orDefault(&cfg.MaxQueued, 10_000)
	orDefault(&cfg.MaxResultBytes, 64<<20)
	cfg.MaxResultBytes = min(cfg.MaxResultBytes, cfg.Cache.MaxResult())
	orDefault(&cfg.MaxKeptBytes, cfg.Cache.MaxResult())
	orDefault(&cfg.IdleTimeout, time.Minute)
	orDefault(&cfg.DrainTimeout, 30*time.Second)
	orDefault(&cfg.AdmissionTimeout, 10*time.Minute)
	orDefault(&cfg.OrphanTimeout, 2*time.Minute)
	orDefault(&cfg.DisconnectGrace, defaultWait+30*time.Second)

	o := &Orchestrators{
		cfg: cfg, log: cfg.Log, cache: cfg.Cache, capacity: cfg.Capacity,
		draining: map[string]*orchestrator{}, flights: map[flightKey]*flight{}, ready: map[readyKey]*flight{},
		queries:  map[string]*flight{},
		followed: map[readyKey]*flight{}, renewals: map[flightKey]struct{}{},
		builds: map[driverfactory.PoolKey]*builds{}, rolled: map[string]map[RollupID]struct{}{},
		lines: map[sourceKey]*scheduler{}, breakers: map[sourceKey]*breaker{}, pools: map[driverfactory.PoolKey]*pool{}, people: map[string]*person{},
		quiet: make(chan struct{}),
	}
	// simplelru, not lru: our own lock covers it together with what it is tied to.
	o.open, _ = simplelru.NewLRU(cfg.Max, o.evicted) // its error is a size below 1
	o.rollups, _ = simplelru.NewLRU(maxRollups, o.unrolled)
	o.health.results = map[sourceKey]SourceHealth{}
	cfg.Capacity.serve(cfg.Caps, o)
	cfg.Caps.Serve(caps.Statements, slots{o})
	cfg.Caps.Serve(caps.Sessions, cfg.Capacity)
	return o
}

func orDefault[T int | int64 | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

// DefaultID returns CUBE_APP_<username>, or CUBE_APP_default when sc has no username.
func DefaultID(sc driverfactory.SecurityContext) string {
	if sc.Username == "" {
		return "CUBE_APP_default"
	}
	return "CUBE_APP_" + sc.Username
}

// id evaluates Config.ID twice. An id that depends on the time or on chance would make every poll of a statement a new
// statement, and its caller wait for ever (orchestrator.md §8).
func (o *Orchestrators) id(ctx context.Context, sc driverfactory.SecurityContext) (string, error) {
	id, err := o.cfg.ID(ctx, sc)
	if err != nil {
		return "", err
	}
	again, err := o.cfg.ID(ctx, sc)
	if err != nil {
		return "", err
	}
	if again != id {
		return "", &fault.Error{
			Kind: fault.Invalid, Code: "unstable_orchestrator_id", Owner: fault.Admin,
			Detail: "contextToOrchestratorId returned two different ids for one request. It must depend on the " +
				"security context only: take out what comes from the time, a counter or chance.",
		}
	}
	if id == "" || len(id) > 256 {
		return "", &fault.Error{
			Kind: fault.Invalid, Code: "bad_orchestrator_id", Owner: fault.Admin,
			Detail: "contextToOrchestratorId must return between 1 and 256 bytes.",
		}
	}
	return id, nil
}

// touch marks the orchestrator with this id as used by sc, opening or reviving it, and returns the number of the latest
// news: a credential that is chosen from now on knows everything up to it.
func (o *Orchestrators) touch(id string, sc driverfactory.SecurityContext) (seq uint64, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closing {
		return 0, shuttingDown()
	}
	o.orchestrator(id, sc)
	return o.news.seq, nil
}

// orchestrator returns the one with this id, which sc uses: the open one, or the draining one brought back, or a new one.
func (o *Orchestrators) orchestrator(id string, sc driverfactory.SecurityContext) *orchestrator {
	one, ok := o.open.Get(id)
	if !ok {
		one = o.draining[id]
	}
	if one == nil {
		one = &orchestrator{id: id}
	}
	one.usedBy(sc)
	if ok {
		return one
	}
	delete(o.draining, id)
	if o.open.Add(id, one) { // which has called evicted for another
		o.cfg.Observer.Evicted(ForRoom)
	}
	return one
}

// evicted is told that one left the LRU.
func (o *Orchestrators) evicted(id string, one *orchestrator) {
	if one.flights > 0 {
		o.draining[id] = one
		return
	}
	o.closeOrchestrator(one)
}

// landed counts a statement as over, and closes its orchestrator when that was only kept for it.
func (o *Orchestrators) landed(f *flight) {
	delete(o.queries, f.id)
	if f.ended != nil {
		close(f.ended)
	}
	one := f.home
	one.flights--
	if one.flights == 0 && o.draining[one.id] == one {
		delete(o.draining, one.id)
		o.closeOrchestrator(one)
	}
}

// closeOrchestrator closes its pools. One that a statement of another orchestrator still uses is left to the idle sweep.
func (o *Orchestrators) closeOrchestrator(one *orchestrator) {
	for p := range one.pools {
		if p.refs == 0 {
			o.retire(p)
		}
	}
}

// person returns the index of principal, making it if need be.
func (o *Orchestrators) person(principal string) *person {
	p := o.people[principal]
	if p == nil {
		p = &person{flights: map[*flight]struct{}{}, pools: map[*pool]struct{}{}}
		o.people[principal] = p
	}
	return p
}

// left drops the index of principal when there is nothing in it any more.
func (o *Orchestrators) left(principal string) {
	if p := o.people[principal]; p != nil && len(p.flights) == 0 && len(p.pools) == 0 {
		delete(o.people, principal)
	}
}

// spawn runs task in a goroutine that Close waits for. It is called under mu.
func (o *Orchestrators) spawn(task func()) {
	o.tasks++
	go func() {
		defer func() {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.tasks--
			o.settle()
		}()
		task()
	}()
}

// settle tells Close when there is nothing left to wait for.
func (o *Orchestrators) settle() {
	if o.closing && o.tasks == 0 && o.queued == 0 {
		select {
		case <-o.quiet:
		default:
			close(o.quiet)
		}
	}
}

// Run checks the liveness of the sources, closes pools that were idle for long and forgets results past their time,
// until ctx is done. It returns nil then, and never before.
func (o *Orchestrators) Run(ctx context.Context) error {
	var parts sync.WaitGroup
	parts.Go(func() { o.checkSources(ctx) })
	tick := time.NewTicker(max(o.cfg.IdleTimeout/4, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			parts.Wait()
			return nil
		case <-tick.C:
			o.sweep()
			o.cache.Sweep()
		}
	}
}

// Close refuses new statements and waits for those under way. When ctx is done first, it cancels them. It returns when
// all sessions are closed, or an error when a driver does not let go of some within 5 s.
func (o *Orchestrators) Close(ctx context.Context) error {
	o.mu.Lock()
	o.closing = true
	o.settle()
	quiet := o.quiet
	o.mu.Unlock()

	select {
	case <-quiet:
	case <-ctx.Done():
		o.mu.Lock()
		for _, f := range o.flights {
			o.cut(f, shuttingDown())
		}
		o.mu.Unlock()
	}

	o.mu.Lock()
	for _, p := range o.pools {
		o.retire(p)
	}
	for _, f := range o.ready {
		o.forget(f)
	}
	o.quiet = make(chan struct{}) // closing a pool is a task too
	o.settle()
	quiet = o.quiet
	o.mu.Unlock()
	select {
	case <-quiet:
		return nil
	case <-time.After(5 * time.Second):
		o.mu.Lock()
		defer o.mu.Unlock()
		return fault.New(fault.Timeout, "%d statements or pools did not end in time.", o.tasks)
	}
}

func shuttingDown() error {
	return &fault.Error{
		Kind: fault.Unavailable, Code: "shutting_down", RetryAfter: 5 * time.Second,
		Detail: "This server is stopping. Ask again in a moment.",
	}
}
