package orchestrator_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/internal/sharedcache"
	"github.com/behalf-project/behalf/internal/sharedcache/sharedcachetest"
	"github.com/behalf-project/behalf/orchestrator"
)

// warehouse is a driverfactory in which every statement answers with the key it ran under. Its SQL is words: "sleep 5s"
// takes its time, "first 5s" does so once, "rows 100" has that many, "slowly" pauses before each, "breaks" fails after
// them, "over x" reads the table x, "count x" counts its rows, "at x" answers x, "panics-closing" panics when they are closed, "read x" shows what x has changed to, "fail" fails, "refuse" is
// refused by the database, "away" is not answered, "panic" panics, "text" after "--" only makes it another one.
type warehouse struct {
	t testing.TB

	mu       sync.Mutex
	grants   map[driverfactory.Principal]int64 // epoch of whoever has one
	fallback bool                              // whoever has none runs as the service account
	noAdmin  bool                              // there is no service account
	down     bool                              // pings fail
	slow     time.Duration                     // of a ping
	admit    func(context.Context, driverfactory.PoolKey) (func(), error)
	chosen   func() // called after a choice, before it is used
	running  map[driverfactory.PoolKey]int
	peak     int // statements at once
	peakOf   map[driverfactory.Principal]int
	order    []string         // SQL in the order of its start
	values   map[string]int64 // what "read" reads
	tolerant bool             // nothing is refused
	made     *madeTables      // by Exec; replicas share them
	readOnly bool             // it makes none

	roles     map[driverfactory.Principal]string // of the sessions of who has one; drivers of others tell none
	roleOf    func(driverfactory.PoolKey) string // in place of roles, where it is set
	rolesMute bool                               // drivers cannot tell roles at all
	roleSlow  time.Duration                      // of the answer

	statements atomic.Int64
	canceled   atomic.Int64
	opened     atomic.Int64
	closed     atomic.Int64
	logins     atomic.Int64 // sessions that were opened, where admit is set
}

// The factory is what Orchestrators are run with.
var _ orchestrator.Drivers = (*driverfactory.Factory)(nil)

func newWarehouse(t testing.TB) *warehouse {
	return &warehouse{
		t: t, grants: map[driverfactory.Principal]int64{}, running: map[driverfactory.PoolKey]int{},
		peakOf: map[driverfactory.Principal]int{}, values: map[string]int64{}, made: &madeTables{byName: map[string]made{}}, roles: map[driverfactory.Principal]string{},
	}
}

// change gives x another value, and returns it.
func (w *warehouse) change(x string) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.values[x]++
	return w.values[x]
}

func (w *warehouse) tolerate(all bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tolerant = all
}

// ran returns how many statements with this SQL have begun.
func (w *warehouse) ran(sql string) int {
	n := 0
	for _, s := range w.started() {
		if s == sql {
			n++
		}
	}
	return n
}

func (w *warehouse) grant(p driverfactory.Principal, epoch int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.grants[p] = epoch
}

func (w *warehouse) revoke(p driverfactory.Principal) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.grants, p)
}

func (w *warehouse) started() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.order...)
}

func (w *warehouse) Choose(_ context.Context, sc driverfactory.SecurityContext, src driverfactory.Source, op driverfactory.Operation) (driverfactory.Choice, error) {
	c, err := w.choose(sc, src, op)
	w.mu.Lock()
	chosen := w.chosen
	w.chosen = nil
	w.mu.Unlock()
	if chosen != nil {
		chosen()
	}
	return c, err
}

func (w *warehouse) choose(sc driverfactory.SecurityContext, src driverfactory.Source, op driverfactory.Operation) (driverfactory.Choice, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := driverfactory.PoolKey{Domain: src.Domain, Source: src.Name, SourceRev: src.Rev}
	as := driverfactory.RunAs{Username: sc.Username, DataSource: src.Name}
	epoch, ok := w.grants[sc.Principal]
	_, carried := sc.Credentials["carried"]
	switch {
	case op == driverfactory.UserQuery && carried:
		key.Principal, key.Epoch = sc.Principal, 1
		as.Identity, as.Credential, as.Reason = driverfactory.IdentityUser, "active", "jwt"
		return driverfactory.Choice{Key: key, RunAs: as}, nil
	case op == driverfactory.UserQuery && ok && !sc.Principal.Anonymous():
		key.Principal, key.App, key.Epoch = sc.Principal, "app", epoch
		as.Identity, as.Credential, as.Reason = driverfactory.IdentityUser, "active", "grant"
		return driverfactory.Choice{Key: key, RunAs: as}, nil
	case op == driverfactory.UserQuery && !w.fallback:
		return driverfactory.Choice{}, &fault.Error{
			Kind: fault.ReauthorizationRequired, Detail: "Authorize.",
			Actions: []fault.Action{{Rel: "reauthorize", Href: "http://localhost/connect/app"}},
			Params:  map[string]string{"oauth_app": "app"},
		}
	case w.noAdmin:
		return driverfactory.Choice{}, &fault.Error{Kind: fault.Unavailable, Code: "no_service_account"}
	}
	key.Service = true
	as.Identity, as.Account, as.Reason = driverfactory.IdentityServiceAccount, "svc", "not_connected"
	if op == driverfactory.UserQuery {
		as.Credential = "not_connected"
	}
	return driverfactory.Choice{Key: key, RunAs: as}, nil
}

func (w *warehouse) Open(c driverfactory.Choice) (driverfactory.Driver, error) {
	w.opened.Add(1)
	d := &fakeDriver{w: w, key: c.Key}
	if w.rolesMute {
		return struct{ driverfactory.Driver }{d}, nil
	}
	return d, nil
}

// has gives the sessions of p this role, empty for one that is not known.
func (w *warehouse) has(p driverfactory.Principal, role string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.roles[p] = role
}

// Role is a statement like any other, "role" in the order of their start.
func (d *fakeDriver) Role(ctx context.Context) (string, error) {
	sql := "role"
	if d.w.roleSlow > 0 {
		sql = "sleep " + d.w.roleSlow.String() + " role"
	}
	rows, err := d.Query(ctx, driverfactory.Statement{SQL: sql})
	if err != nil {
		return "", err
	}
	return rows.(driverfactory.RoleRows).Role(), rows.Close()
}

// Role is that of the session when the statement began.
func (r *fakeRows) Role() string { return r.role }

// fakeDriver keeps one idle session, once it had one.
type fakeDriver struct {
	w   *warehouse
	key driverfactory.PoolKey

	mu       sync.Mutex
	busy     int
	idle     []func() // what gives back the room of each
	drains   bool
	isClosed bool
}

func (d *fakeDriver) session(ctx context.Context) (release func(), err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.isClosed {
		d.w.t.Errorf("a statement was given to the closed driver of %+v", d.key)
		return nil, errors.New("closed")
	}
	for {
		if n := len(d.idle); n > 0 {
			release, d.idle = d.idle[n-1], d.idle[:n-1]
			d.busy++
			return release, nil
		}
		if d.w.admit == nil {
			d.busy++
			return func() {}, nil
		}
		d.mu.Unlock()
		release, err = d.w.admit(ctx, d.key)
		d.mu.Lock()
		if errors.Is(err, driverfactory.ErrAskAgain) {
			continue
		}
		if err == nil {
			d.w.logins.Add(1)
			d.busy++
		}
		return release, err
	}
}

func (d *fakeDriver) back(release func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy--
	if d.isClosed || d.drains || len(d.idle) > 0 {
		release()
		return
	}
	d.idle = append(d.idle, release)
}

func (d *fakeDriver) Query(ctx context.Context, s driverfactory.Statement) (driverfactory.Rows, error) {
	release, err := d.session(ctx)
	if err != nil {
		return nil, err
	}
	if err := driverfactory.MayStart(ctx); err != nil {
		d.back(release)
		return nil, err
	}
	w := d.w
	w.statements.Add(1)
	w.mu.Lock()
	w.order = append(w.order, s.SQL)
	w.running[d.key]++
	all := 0
	for k, n := range w.running {
		all += n
		if k == d.key {
			w.peakOf[k.Principal] = max(w.peakOf[k.Principal], n)
		}
	}
	w.peak = max(w.peak, all)
	role := w.roles[d.key.Principal]
	if w.roleOf != nil {
		role = w.roleOf(d.key)
	}
	w.mu.Unlock()
	end := func() {
		w.mu.Lock()
		w.running[d.key]--
		w.mu.Unlock()
		d.back(release)
	}
	rows := &fakeRows{key: d.key, role: role, n: 1, end: end}
	words := strings.Fields(s.SQL)
	for i, word := range words {
		if word == "first" && w.ran(s.SQL) == 1 {
			word = "sleep"
		}
		switch word {
		case "sleep":
			took, _ := time.ParseDuration(words[i+1])
			select {
			case <-time.After(took):
			case <-ctx.Done():
				w.canceled.Add(1)
				end()
				return nil, ctx.Err()
			}
		case "hang": // a driver that does not believe in contexts
			took, _ := time.ParseDuration(words[i+1])
			time.Sleep(took)
		case "rows":
			_, _ = fmt.Sscan(words[i+1], &rows.n)
		case "at":
			rows.first = words[i+1]
		case "breaks":
			rows.err = errors.New("57P01: the rows ended early")
		case "panics-closing":
			rows.end = func() { end(); panic("driver bug") }
		case "slowly":
			rows.pause = time.Millisecond
		case "read":
			w.mu.Lock()
			rows.value = w.values[words[i+1]]
			w.mu.Unlock()
		case "over", "count":
			table, ok := w.made.get(words[i+1])
			if !ok {
				end()
				return nil, &fault.Error{Kind: fault.Invalid, Owner: fault.Database, Detail: "relation " + words[i+1] + " does not exist"}
			}
			if table.by != d.key {
				w.t.Errorf("%+v reads the table %s of %+v", d.key, words[i+1], table.by)
			}
			rows.value = table.value
			if word == "count" {
				rows.first = int64(1)
			}
		case "make", "drop", "schema":
			w.t.Errorf("%s was given to sessions that only read", s.SQL)
		case "refuse":
			w.mu.Lock()
			tolerant := w.tolerant
			w.mu.Unlock()
			if tolerant {
				continue
			}
			end()
			return nil, &fault.Error{Kind: fault.Invalid, Owner: fault.Database, Detail: "relation \"visits\" does not exist"}
		case "away":
			w.mu.Lock()
			tolerant := w.tolerant
			w.mu.Unlock()
			if tolerant {
				continue
			}
			end()
			return nil, &fault.Error{Kind: fault.Unavailable, Code: "data_source_unreachable", Owner: fault.Database}
		case "fail":
			end()
			return nil, errors.New("42P01: no such table")
		case "panic":
			end()
			panic("driver bug")
		case "superseded":
			end()
			return nil, fault.New(fault.Conflict, "choose again")
		}
	}
	return rows, nil
}

// madeTables are those of a database.
type madeTables struct {
	mu     sync.Mutex
	byName map[string]made
}

func (m *madeTables) get(name string) (made, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.byName[name]
	return t, ok
}

// names returns those of the tables that hold a text.
func (m *madeTables) names(holding string) (all []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.byName {
		if strings.Contains(name, holding) {
			all = append(all, name)
		}
	}
	return all
}

// made is a table, and what was read of x when it was made.
type made struct {
	by    driverfactory.PoolKey
	value int64
}

// Exec runs "make x AS ...", "drop x" and "schema x".
func (d *fakeDriver) Exec(ctx context.Context, s driverfactory.Statement) error {
	verb, rest, _ := strings.Cut(s.SQL, " ")
	name, sql, _ := strings.Cut(rest, " AS ")
	rows, err := d.Query(ctx, driverfactory.Statement{SQL: sql})
	if err != nil {
		return err
	}
	defer rows.Close()
	w := d.w
	w.mu.Lock()
	w.order = append(w.order, verb+" "+name)
	readOnly := w.readOnly
	w.mu.Unlock()
	w.made.mu.Lock()
	defer w.made.mu.Unlock()
	old, there := w.made.byName[name]
	switch {
	case readOnly:
		return &fault.Error{Kind: fault.Denied, Owner: fault.Database, Detail: "permission denied"}
	case there && (old.by.Principal != d.key.Principal || old.by.Service != d.key.Service):
		w.t.Errorf("%+v would %s the table %s of %+v", d.key, verb, name, old.by)
	case verb == "make" && there:
		w.t.Errorf("%s is made twice", name)
	case verb == "make":
		w.made.byName[name] = made{d.key, rows.(*fakeRows).value}
	case verb == "drop":
		delete(w.made.byName, name)
	}
	return nil
}

// tables returns how many tables somebody has.
func (w *warehouse) tables(p driverfactory.Principal) (n int) {
	w.made.mu.Lock()
	defer w.made.mu.Unlock()
	for _, t := range w.made.byName {
		if t.by.Principal == p {
			n++
		}
	}
	return n
}

func (d *fakeDriver) Ping(ctx context.Context) error {
	release, err := d.session(ctx)
	if err != nil {
		return err
	}
	defer d.back(release)
	d.w.mu.Lock()
	slow, down := d.w.slow, d.w.down
	d.w.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		return ctx.Err()
	}
	if down {
		return errors.New("connection refused: canary")
	}
	return nil
}

func (d *fakeDriver) Stats() (open, idle int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.busy + len(d.idle), len(d.idle)
}

func (d *fakeDriver) CloseIdle() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(d.idle)
	for _, release := range d.idle {
		release()
	}
	d.idle = nil
	return n
}

func (d *fakeDriver) Drain() {
	d.mu.Lock()
	d.drains = true
	d.mu.Unlock()
	d.CloseIdle()
}

func (d *fakeDriver) Close() error {
	d.CloseIdle()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.isClosed {
		d.w.t.Errorf("the driver of %+v was closed twice", d.key)
	}
	d.isClosed = true
	d.w.closed.Add(1)
	return nil
}

// fakeRows are n rows that name the credential they were fetched with.
type fakeRows struct {
	key   driverfactory.PoolKey
	role  string
	n     int
	err   error         // after them
	pause time.Duration // before each, whatever becomes of the context
	value int64         // that was read
	first any           // in place of the key
	end   func()
}

func (*fakeRows) Columns() []driverfactory.Column {
	return []driverfactory.Column{{Name: "who", Type: "TEXT"}, {Name: "epoch", Type: "BIGINT"}, {Name: "value", Type: "BIGINT"}}
}

func (r *fakeRows) Next(dest []any) (bool, error) {
	time.Sleep(r.pause)
	if r.n == 0 {
		return false, r.err
	}
	r.n--
	who := r.key.Principal.Key()
	if r.key.Service {
		who = "service"
	}
	dest[0], dest[1], dest[2] = who, r.key.Epoch, r.value
	if r.first != nil {
		dest[0] = r.first
	}
	return true, nil
}

func (r *fakeRows) Close() error {
	r.end()
	return nil
}

func person(name string) driverfactory.SecurityContext {
	return driverfactory.SecurityContext{
		Domain: "dom", Username: name, Principal: driverfactory.Principal{Realm: securitycontext.Local, Subject: "usr_" + name},
	}
}

func source(name string, limits driverfactory.Limits) driverfactory.Source {
	return driverfactory.Source{Domain: "dom", Name: name, Rev: 1, Type: "duckdb", Limits: limits}
}

func query(src driverfactory.Source, sql string) orchestrator.Request {
	return orchestrator.Request{Source: src, Statement: driverfactory.Statement{SQL: sql}}
}

// inBubble runs test in a synctest bubble, where time is fake, with Orchestrators that must close at its end.
func inBubble(t *testing.T, cfg orchestrator.Config, test func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators)) {
	t.Helper()
	inReplicas(t, []orchestrator.Config{cfg}, func(t *testing.T, all []replica) { test(t, all[0].warehouse, all[0].Orchestrators) })
}

// replica is one of several Orchestrators, and its way to the warehouse.
type replica struct {
	*warehouse
	*orchestrator.Orchestrators
	shared *sharedcache.Cache // nil where it is the only one
}

// inReplicas is inBubble with a replica for each cfg. Where there are several, they share what they fetch.
func inReplicas(t *testing.T, cfgs []orchestrator.Config, test func(t *testing.T, all []replica)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var all []replica
		var parts sync.WaitGroup
		ctx, stop := context.WithCancel(t.Context())
		run := func(part interface{ Run(context.Context) error }) {
			parts.Go(func() {
				if err := part.Run(ctx); err != nil {
					t.Errorf("Run = %v, want nil", err)
				}
			})
		}
		store := new(sharedcachetest.Memory)
		for _, cfg := range cfgs {
			r := replica{warehouse: newWarehouse(t)}
			cfg.Drivers = r.warehouse
			if cfg.Capacity != nil {
				r.admit = cfg.Capacity.Admit
			}
			if len(cfgs) > 1 {
				r.shared = sharedcache.New(sharedcache.Config{Store: store, Derive: func(purpose string) ([32]byte, error) { return sha256.Sum256([]byte(purpose)), nil }})
				cfg.Shared = r.shared
				run(r.shared)
			}
			r.Orchestrators = orchestrator.New(cfg)
			run(r.Orchestrators)
			all = append(all, r)
		}
		test(t, all)
		stop()
		parts.Wait()
		over, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		for _, r := range all {
			if err := r.Close(over); err != nil {
				t.Errorf("Close = %v, want nil", err)
			}
			if opened, closed := r.opened.Load(), r.closed.Load(); opened != closed {
				t.Errorf("%d drivers were opened and %d closed", opened, closed)
			}
		}
	})
}

// answer is what a Load in the background came to.
type answer struct {
	res *orchestrator.Result
	err error
}

// load runs Load in the background.
func load(ctx context.Context, o *orchestrator.Orchestrators, sc driverfactory.SecurityContext, req orchestrator.Request) <-chan answer {
	c := make(chan answer, 1)
	go func() {
		res, err := o.Load(ctx, sc, req)
		c <- answer{res, err}
	}()
	return c
}

// poll asks until the answer is not "Continue wait", as Cube's clients do.
func poll(ctx context.Context, o *orchestrator.Orchestrators, sc driverfactory.SecurityContext, req orchestrator.Request) (*orchestrator.Result, error) {
	for {
		res, err := o.Load(ctx, sc, req)
		if _, again := errors.AsType[*orchestrator.ContinueWait](err); !again {
			return res, err
		}
	}
}

func codeOf(err error) string {
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return e.CodeOrKind()
	}
	return ""
}
