package orchestrator_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/caps"
	"github.com/behalf-project/behalf/internal/caps/capstest"
	"github.com/behalf-project/behalf/internal/notify"
	"github.com/behalf-project/behalf/orchestrator"
)

// fleet is replicas that share the caps of one source, and what runs there.
type fleet struct {
	t     *testing.T
	src   driverfactory.Source
	store *capstest.Memory

	mu      sync.Mutex
	running map[*statement]struct{}
	open    map[*session]struct{}
	peak    int // statements at once
	members []*member

	patience time.Duration // of who waits for a session of the source
}

// statement is one that runs at the source.
type statement struct {
	at      *member
	who     driverfactory.Principal
	outlast bool // it outlasts the lease under which it began, or had none: its replica cannot ask
}

// session is one that is open at the source.
type session statement

// member is a replica of a fleet, its drivers, and its way to the store.
type member struct {
	*warehouse
	fleet *fleet
	caps  *caps.Caps
	o     *orchestrator.Orchestrators
	stop  context.CancelFunc
	done  sync.WaitGroup

	mu     sync.Mutex
	thawed chan struct{} // nil while it is not frozen
	away   bool          // the store does not answer
	lost   bool          // nor does what it answers arrive
	gone   atomic.Bool
	asked  atomic.Int64 // exchanges
}

// inFleet runs test in a bubble, with a source of these limits and no replica. People have as many sessions as statements, unless
// the limits say.
func inFleet(t *testing.T, limits driverfactory.Limits, test func(t *testing.T, f *fleet)) {
	limits.PerUserConnections = cmp.Or(limits.PerUserConnections, limits.PerUserConcurrency)
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t, src: source("db", limits), store: new(capstest.Memory), running: map[*statement]struct{}{}, open: map[*session]struct{}{}, patience: time.Hour}
		test(t, f)
		for _, m := range f.members {
			m.thaw()
			m.end(true)
		}
	})
}

// join starts a replica.
func (f *fleet) join() *member {
	m := &member{warehouse: newWarehouse(f.t), fleet: f}
	m.caps = caps.New(caps.Config{Store: m, Replica: fmt.Sprint("r", len(f.members))})
	capacity := orchestrator.NewCapacity(0, f.patience)
	m.admit = func(ctx context.Context, pool driverfactory.PoolKey) (func(), error) {
		release, err := capacity.Admit(ctx, pool)
		if err != nil {
			return nil, err
		}
		end := m.login(pool.Principal)
		return func() { end(); release() }, nil
	}
	m.o = orchestrator.New(orchestrator.Config{Drivers: m, Caps: m.caps, Capacity: capacity, IdleTimeout: time.Minute})
	cancel := f.store.News.Subscribe(func(n notify.News) {
		if !m.frozen() {
			m.caps.Hear(n)
		}
	})
	ctx, stop := context.WithCancel(f.t.Context())
	m.stop = stop
	m.done.Go(func() { _ = m.caps.Run(ctx) })
	m.done.Go(func() { _ = m.o.Run(ctx) })
	m.done.Go(func() { <-ctx.Done(); cancel() })
	f.members = append(f.members, m)
	return m
}

// end stops a replica, in order or as kill -9 does.
func (m *member) end(inOrder bool) {
	if m.gone.Swap(true) {
		return
	}
	m.stop()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := m.o.Close(ctx); err != nil {
		m.fleet.t.Errorf("Close = %v, want nil", err)
	}
	m.done.Wait()
	if inOrder {
		_ = m.caps.Leave(context.Background())
	}
}

func (m *member) frozen() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.thawed != nil
}

func (m *member) freeze() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.thawed == nil {
		m.thawed = make(chan struct{})
	}
}

func (m *member) thaw() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.thawed != nil {
		close(m.thawed)
		m.thawed = nil
	}
}

// cut makes the store fail for m, before what it asks is done, or after.
func (m *member) cut(away, lost bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away, m.lost = away, lost
}

// Exchange implements caps.Store: a frozen replica asks nothing, though it has asked in time.
func (m *member) Exchange(ctx context.Context, o caps.Offer) (caps.Answer, error) {
	m.mu.Lock()
	thawed, away, lost := m.thawed, m.away, m.lost
	m.mu.Unlock()
	if thawed != nil {
		<-thawed
		return caps.Answer{}, errors.New("the connection was lost meanwhile")
	}
	if away {
		return caps.Answer{}, errors.New("the store is away")
	}
	m.asked.Add(1)
	time.Sleep(time.Duration(1+rand.IntN(3)) * time.Millisecond)
	if o.All || m.lapsed() {
		m.exempt()
	}
	a, err := m.fleet.store.Exchange(ctx, o)
	time.Sleep(time.Duration(1+rand.IntN(3)) * time.Millisecond)
	if lost {
		return caps.Answer{}, errors.New("the answer was lost")
	}
	return a, err
}

// Leave implements caps.Store.
func (m *member) Leave(ctx context.Context, replica string) error {
	return m.fleet.store.Leave(ctx, replica)
}

func (m *member) lapsed() bool { return m.caps.Lapsed(m.caps.Term()) }

// beyond reports whether what m has now it has without a lease.
func (m *member) beyond() bool { return m.caps.State().CutOff || m.lapsed() }

// exempt marks what runs under a lease that has ended.
func (m *member) exempt() {
	m.fleet.mu.Lock()
	defer m.fleet.mu.Unlock()
	for s := range m.fleet.running {
		if s.at == m {
			s.outlast = true
		}
	}
	for s := range m.fleet.open {
		if s.at == m {
			s.outlast = true
		}
	}
}

// Open implements orchestrator.Drivers.
func (m *member) Open(c driverfactory.Choice) (driverfactory.Driver, error) {
	d, err := m.warehouse.Open(c)
	return counted{d.(*fakeDriver), m}, err
}

// counted counts what runs at the source of a fleet.
type counted struct {
	*fakeDriver
	at *member
}

func (d counted) Query(ctx context.Context, s driverfactory.Statement) (driverfactory.Rows, error) {
	end := func() {}
	defer func() { end() }()
	return d.fakeDriver.Query(driverfactory.BeforeStart(ctx, func() error { // once it has its session
		if err := driverfactory.MayStart(ctx); err != nil {
			return err
		}
		end = d.at.begin(d.key.Principal)
		return nil
	}), s)
}

// begin fails the test when a statement begins that is one too many.
func (m *member) begin(who driverfactory.Principal) (end func()) {
	f := m.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	if m.lapsed() {
		f.t.Errorf("a statement began at a replica whose lease has ended")
	}
	s := &statement{at: m, who: who, outlast: m.caps.State().CutOff}
	f.running[s] = struct{}{}
	all, his := 0, 0
	for r := range f.running {
		if r.outlast = r.outlast || r.at.beyond(); !r.outlast {
			all++
			if r.who == who {
				his++
			}
		}
	}
	f.peak = max(f.peak, all)
	if limit := f.src.Limits; all > limit.Concurrency || his > limit.PerUserConcurrency {
		f.t.Errorf("%d statements run at once, %d of %s, want at most %d and %d", all, his, who.Subject, limit.Concurrency, limit.PerUserConcurrency)
	}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.running, s)
	}
}

// login fails the test when a session is opened that is one too many.
func (m *member) login(who driverfactory.Principal) (end func()) {
	f := m.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	s := &session{at: m, who: who, outlast: m.beyond()}
	f.open[s] = struct{}{}
	all, his := 0, 0
	for r := range f.open {
		if r.outlast = r.outlast || r.at.beyond(); !r.outlast {
			all++
			if r.who == who {
				his++
			}
		}
	}
	if most, each := f.src.Limits.Sessions(); all > most || his > each {
		f.t.Errorf("%d sessions are open, %d of %s, want at most %d and %d", all, his, who.Subject, most, each)
	}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.open, s)
	}
}

// ask runs a statement of somebody that takes its time, and returns what came of it.
func (m *member) ask(ctx context.Context, sc driverfactory.SecurityContext, n int, took time.Duration) error {
	m.grant(sc.Principal, 1)
	req := query(m.fleet.src, fmt.Sprintf("sleep %s -- %d", took, n))
	req.Cache = orchestrator.NoCache
	_, err := poll(ctx, m.o, sc, req)
	return err
}

// runs returns how many statements run now at each replica.
func (f *fleet) runs() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := make([]int, len(f.members))
	for s := range f.running {
		for i, m := range f.members {
			if s.at == m {
				n[i]++
			}
		}
	}
	return n
}

// TestReplicasKeepToTheCapsOfAll plays random histories of replicas that come, leave, die, freeze, and lose what they ask or are
// answered, while few people ask much at all of them: never more runs than the caps say, but what outlasts a lease; and whoever
// waits at a replica that lives has a turn.
func TestReplicasKeepToTheCapsOfAll(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		limits := driverfactory.Limits{
			Concurrency: rapid.IntRange(1, 5).Draw(rt, "concurrency"), PerUserConcurrency: rapid.IntRange(1, 3).Draw(rt, "per user"), PerUserQueue: 1000,
			MaxConnections: rapid.IntRange(1, 6).Draw(rt, "sessions"), PerUserConnections: rapid.IntRange(1, 4).Draw(rt, "sessions per user"),
		}
		people, seed := rapid.IntRange(1, 4).Draw(rt, "people"), rapid.Uint64().Draw(rt, "seed")
		inFleet(t, limits, func(t *testing.T, f *fleet) {
			r := rand.New(rand.NewPCG(seed, 1))
			f.join()
			var all sync.WaitGroup
			alive := func() []*member {
				var list []*member
				for _, m := range f.members {
					if !m.gone.Load() {
						list = append(list, m)
					}
				}
				return list
			}
			for n := range 120 {
				time.Sleep(time.Duration(1+r.IntN(400)) * time.Millisecond)
				list := alive()
				m := list[r.IntN(len(list))]
				switch what := r.IntN(40); {
				case what < 2 && len(list) < 4:
					f.join()
				case what == 2 && len(list) > 1:
					m.end(true)
				case what == 3 && len(list) > 1:
					m.end(false)
				case what == 4:
					m.freeze()
					time.AfterFunc(time.Duration(1+r.IntN(20))*time.Second, m.thaw)
				case what == 5:
					m.cut(true, false)
					time.AfterFunc(time.Duration(1+r.IntN(4))*time.Second, func() { m.cut(false, false) })
				case what == 6:
					m.cut(false, true)
					time.AfterFunc(time.Duration(1+r.IntN(4))*time.Second, func() { m.cut(false, false) })
				default:
					sc := person(fmt.Sprint("p", r.IntN(people)))
					for i := range 1 + r.IntN(4) {
						took := time.Duration(1+r.IntN(300)) * time.Millisecond
						all.Go(func() {
							ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
							defer cancel()
							if err := m.ask(ctx, sc, n*10+i, took); err != nil && !m.gone.Load() {
								t.Errorf("somebody who waited at a replica that lives was told %v", err)
							}
						})
					}
				}
			}
			all.Wait()
			for _, m := range alive() {
				m.thaw()
				m.cut(false, false)
			}
			time.Sleep(lease + 20*time.Second)
			f.mu.Lock()
			defer f.mu.Unlock()
			each := map[driverfactory.Principal]int{}
			for s := range f.open {
				if each[s.who]++; each[s.who] > limits.PerUserConnections || len(f.open) > limits.MaxConnections {
					t.Errorf("%d sessions are open in the end, %d of %s, want at most %d and %d",
						len(f.open), each[s.who], s.who.Subject, limits.MaxConnections, limits.PerUserConnections)
				}
			}
		})
	})
}

// lease is how long a share is a replica's that does not say so again.
const lease = 10 * time.Second

// busy has n statements of somebody wait at a replica, one after the other, until the returned function is called.
func (m *member) busy(sc driverfactory.SecurityContext, n int, took time.Duration) (end func()) {
	ctx, cancel := context.WithCancel(m.fleet.t.Context())
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			for ctx.Err() == nil {
				if m.ask(ctx, sc, i, took) != nil {
					time.Sleep(time.Second) // it is gone
				}
			}
		})
	}
	return func() {
		cancel()
		all.Wait()
	}
}

// run fails the test unless so many statements run at each replica now.
func (f *fleet) run(want ...int) {
	f.t.Helper()
	synctest.Wait()
	if got := f.runs(); !slices.Equal(got, want) {
		f.t.Errorf("%v statements run, want %v", got, want)
	}
}

func TestAReplicaThatIsAloneHasAllAndTellsNothing(t *testing.T) {
	inFleet(t, driverfactory.Limits{Concurrency: 4, PerUserConcurrency: 3}, func(t *testing.T, f *fleet) {
		a := f.join()
		endOne, endTwo := a.busy(person("p0"), 9, 90*time.Millisecond), a.busy(person("p1"), 9, 90*time.Millisecond)
		time.Sleep(50 * time.Millisecond)
		f.run(4)
		before := a.asked.Load()
		time.Sleep(30 * time.Second)
		if n := a.asked.Load() - before; n > 10 {
			t.Errorf("the store was asked %d times in 30 s, want once in 3 s, whatever ran", n)
		}
		endOne()
		endTwo()
	})
}

func TestAReplicaThatComesGetsItsPart(t *testing.T) {
	inFleet(t, driverfactory.Limits{Concurrency: 8, PerUserConcurrency: 4}, func(t *testing.T, f *fleet) {
		a := f.join()
		endA := a.busy(person("p0"), 9, 700*time.Millisecond)
		time.Sleep(time.Second)
		f.run(4)
		b := f.join()
		endB := b.busy(person("p0"), 9, 700*time.Millisecond)
		began := time.Now()
		for f.runs()[1] < 2 && time.Since(began) < time.Minute {
			time.Sleep(time.Millisecond)
		}
		t.Logf("the second had its part %v after it was asked; a statement takes 700 ms", time.Since(began))
		time.Sleep(1500 * time.Millisecond)
		f.run(2, 2)
		before := a.asked.Load() + b.asked.Load()
		time.Sleep(30 * time.Second)
		if n := a.asked.Load() + b.asked.Load() - before; n > 70 {
			t.Errorf("the store was asked %d times in 30 s, want about once a second of each while somebody waits, whatever ran", n)
		}
		endA()
		time.Sleep(10 * time.Second) // what was asked before runs
		f.run(0, 4)
		endB()
	})
}

func TestACapOfOneGoesToAndFro(t *testing.T) {
	inFleet(t, driverfactory.Limits{Concurrency: 1, PerUserConcurrency: 1}, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		endA, endB := a.busy(person("p0"), 3, 100*time.Millisecond), b.busy(person("p0"), 3, 100*time.Millisecond)
		time.Sleep(time.Minute)
		one, two := a.statements.Load(), b.statements.Load()
		t.Logf("%d and %d statements of 100 ms in a minute", one, two)
		if min(one, two) < 150 {
			t.Errorf("the replicas ran %d and %d statements, want about as many each", one, two)
		}
		endA()
		endB()
	})
}

func TestTheShareOfADeadReplicaComesBack(t *testing.T) {
	inFleet(t, driverfactory.Limits{Concurrency: 4, PerUserConcurrency: 4}, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		endA, endB := a.busy(person("p0"), 9, 100*time.Millisecond), b.busy(person("p0"), 9, 100*time.Millisecond)
		time.Sleep(3 * time.Second)
		a.end(false)
		time.Sleep(2 * time.Second)
		f.run(0, 2) // for it may only be slow
		time.Sleep(10 * time.Second)
		f.run(0, 4)
		endA()
		endB()
	})
}

func TestAFrozenReplicaBeginsNothingAfterItsLease(t *testing.T) {
	inFleet(t, driverfactory.Limits{Concurrency: 4, PerUserConcurrency: 4}, func(t *testing.T, f *fleet) {
		a := f.join()
		endA := a.busy(person("p0"), 9, 100*time.Millisecond)
		time.Sleep(time.Second)
		a.freeze()
		time.Sleep(11 * time.Second)
		f.run(0)
		b := f.join()
		endB := b.busy(person("p0"), 9, 100*time.Millisecond)
		time.Sleep(10 * time.Second)
		f.run(0, 4)
		a.thaw() // what it had asked fails now: that was long ago, and says nothing
		synctest.Wait()
		if a.caps.State().CutOff {
			t.Error("a replica that woke takes itself for cut off, want it to ask first")
		}
		f.run(0, 4)
		time.Sleep(5 * time.Second)
		f.run(2, 2)
		endA()
		endB()
	})
}

func TestReplicasThatCannotAskGoOnWithTheirPart(t *testing.T) {
	for _, tt := range []struct{ limit, want int }{{5, 2}, {1, 1}} {
		inFleet(t, driverfactory.Limits{Concurrency: 20, PerUserConcurrency: tt.limit}, func(t *testing.T, f *fleet) {
			a, b := f.join(), f.join()
			time.Sleep(time.Second)
			endA := a.busy(person("p0"), 9, 100*time.Millisecond)
			time.Sleep(time.Second)
			f.run(tt.limit, 0)
			a.cut(true, false)
			b.cut(true, false)
			time.Sleep(5 * time.Second)
			f.run(tt.limit, 0) // as long as the lease lasts
			endB := b.busy(person("p0"), 9, 100*time.Millisecond)
			time.Sleep(10 * time.Second)
			f.run(tt.want, tt.want)
			a.cut(false, false)
			b.cut(false, false)
			time.Sleep(5 * time.Second)
			if runs := f.runs(); runs[0]+runs[1] != tt.limit {
				t.Errorf("%v statements run when the store answers again, want the cap of %d", runs, tt.limit)
			}
			endA()
			endB()
		})
	}
}

// sessions returns how many are open now at each replica.
func (f *fleet) sessions() []int {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	n := make([]int, len(f.members))
	for s := range f.open {
		for i, m := range f.members {
			if s.at == m {
				n[i]++
			}
		}
	}
	return n
}

// logins fails the test unless so many sessions were opened at each replica until now.
func (f *fleet) logins(want ...int64) {
	f.t.Helper()
	synctest.Wait()
	var got []int64
	for _, m := range f.members {
		got = append(got, m.warehouse.logins.Load())
	}
	if !slices.Equal(got, want) {
		f.t.Errorf("%d sessions were opened, want %d", got, want)
	}
}

func TestAnIdleSessionIsClosedForWhoWaitsAtAnotherReplica(t *testing.T) {
	limits := driverfactory.Limits{Concurrency: 8, PerUserConcurrency: 1, PerUserConnections: 1, MaxConnections: 3}
	inFleet(t, limits, func(t *testing.T, f *fleet) {
		a := f.join()
		ask := func(m *member, name string) {
			t.Helper()
			began := time.Now()
			if err := m.ask(t.Context(), person(name), 1, 500*time.Millisecond); err != nil {
				t.Errorf("a statement = %v, want it to run", err)
			}
			if took := time.Since(began); took > time.Second { // long before a session was idle for so long that it is closed anyway
				t.Errorf("%s had a session after %v", name, took)
			}
		}
		is := func(what string, open []int, logins ...int64) {
			t.Helper()
			if got := f.sessions(); !slices.Equal(got, open) {
				t.Errorf("%v sessions are open %s, want %v", got, what, open)
			}
			f.logins(logins...)
		}
		for _, name := range []string{"p0", "p1", "p2"} {
			ask(a, name)
		}
		b := f.join()
		time.Sleep(10 * time.Second)
		ask(a, "p0")
		is("when another replica came", []int{3, 0}, 3, 0)
		ask(b, "p0")
		is("after one at the second, of somebody who had one at the first", []int{2, 1}, 3, 1)
		ask(b, "p3")
		is("after one of somebody else, who finds an idle one nearer by", []int{2, 1}, 3, 2)
		time.Sleep(5 * time.Second)
		var all sync.WaitGroup
		for i := range 3 {
			all.Go(func() { ask(b, fmt.Sprint("p", 4+i)) })
		}
		all.Wait()
		if n := f.sessions()[0]; n != 0 {
			t.Errorf("%d sessions rest at the first, while three are wanted at once at the second", n)
		}
	})
}

func TestASessionOfOneGoesToAndFro(t *testing.T) {
	inFleet(t, driverfactory.Limits{Concurrency: 4, PerUserConcurrency: 4, PerUserConnections: 1}, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		endA, endB := a.busy(person("p0"), 4, 100*time.Millisecond), b.busy(person("p0"), 4, 100*time.Millisecond)
		time.Sleep(time.Minute)
		one, two := a.statements.Load(), b.statements.Load()
		t.Logf("%d and %d statements of 100 ms in a minute, in %d and %d sessions", one, two, a.warehouse.logins.Load(), b.warehouse.logins.Load())
		if min(one, two) < 150 {
			t.Errorf("the replicas ran %d and %d statements, want about as many each", one, two)
		}
		endA()
		endB()
	})
}

func TestSessionsInUseElsewhereAreWaitedForAsLongAsAStatementMay(t *testing.T) {
	inFleet(t, driverfactory.Limits{Concurrency: 4, PerUserConcurrency: 2, PerUserConnections: 1}, func(t *testing.T, f *fleet) {
		f.patience = time.Second
		a, b := f.join(), f.join()
		long := make(chan error)
		go func() { long <- a.ask(t.Context(), person("p0"), 1, 5*time.Minute) }()
		time.Sleep(time.Second)
		if err := b.ask(t.Context(), person("p0"), 1, time.Millisecond); err != nil {
			t.Errorf("who waited for their own session was told %v, want that it ran", err)
		}
		if err := <-long; err != nil {
			t.Errorf("the long statement = %v, want it left alone", err)
		}
	})
}

func TestASessionThatIsOwedIsClosedInAPoolThatDrains(t *testing.T) {
	inFleet(t, driverfactory.Limits{Concurrency: 8, PerUserConcurrency: 8, PerUserConnections: 1}, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		alice := person("alice")
		a.grant(alice.Principal, 1)
		b.grant(alice.Principal, 2)
		time.Sleep(5 * time.Second)
		one, two := load(t.Context(), a.o, alice, query(f.src, "sleep 5s -- 1")), load(t.Context(), a.o, alice, query(f.src, "sleep 1s -- 2"))
		time.Sleep(time.Second) // the second waits for the session of the first
		a.grant(alice.Principal, 2)
		for _, m := range f.members {
			m.o.Forget(alice.Principal.Key(), "app", 2, false)
		}
		began := time.Now()
		if _, err := poll(t.Context(), b.o, alice, query(f.src, "x")); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 7*time.Second {
			t.Errorf("at the second replica she had a session after %v: her only one was idle after 4 s", took)
		}
		<-one
		<-two
	})
}

func TestASlotIsNoneWhenItsLeaseEndsWhileASessionIsWaitedFor(t *testing.T) {
	inFleet(t, driverfactory.Limits{Concurrency: 2, PerUserConcurrency: 2, PerUserConnections: 1}, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		time.Sleep(5 * time.Second)
		var all sync.WaitGroup
		ask := func(m *member, name string, n int, took time.Duration) {
			all.Go(func() {
				if err := m.ask(t.Context(), person(name), n, took); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		ask(b, "p0", 1, 20*time.Second)
		time.Sleep(time.Second)
		ask(a, "p0", 2, 30*time.Second) // it has its slot, and waits for her session
		time.Sleep(time.Second)
		a.freeze()
		time.Sleep(13 * time.Second)
		ask(b, "p1", 3, time.Minute)
		ask(b, "p2", 4, time.Minute)
		time.Sleep(10 * time.Second)
		a.thaw()
		time.Sleep(10 * time.Second)
		f.run(0, 2)
		all.Wait()
	})
}

func TestNoIdleSessionIsClosedWhileMostOfTheCapIsUnused(t *testing.T) {
	inFleet(t, driverfactory.Limits{Concurrency: 8, PerUserConcurrency: 2, MaxConnections: 64}, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		time.Sleep(5 * time.Second)
		_ = a.ask(t.Context(), person("a"), 1, 100*time.Millisecond)
		for n := range 3 {
			for i := range 5 {
				_ = b.ask(t.Context(), person(fmt.Sprint("b", i)), n, 100*time.Millisecond)
				time.Sleep(time.Second)
			}
		}
		f.logins(1, 5)
	})
}

func TestNoIdleSessionIsClosedBecauseTheStoreWasAway(t *testing.T) {
	inFleet(t, driverfactory.Limits{Concurrency: 8, PerUserConcurrency: 2, PerUserConnections: 2, MaxConnections: 20}, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		time.Sleep(5 * time.Second)
		for i := range 3 {
			_ = a.ask(t.Context(), person(fmt.Sprint("a", i)), 1, 100*time.Millisecond)
			_ = b.ask(t.Context(), person(fmt.Sprint("b", i)), 1, 100*time.Millisecond)
		}
		before := f.sessions()
		a.cut(true, false)
		b.cut(true, false)
		time.Sleep(20 * time.Second)
		a.cut(false, false)
		b.cut(false, false)
		time.Sleep(5 * time.Second)
		if after := f.sessions(); !slices.Equal(before, after) {
			t.Errorf("%v idle sessions before the store was away, %v after: nobody waited for one", before, after)
		}
	})
}

func TestWhoMayHaveOneSessionWantsOneOfTheSource(t *testing.T) {
	inFleet(t, driverfactory.Limits{Concurrency: 20, PerUserConcurrency: 9, PerUserConnections: 4, MaxConnections: 8}, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		time.Sleep(5 * time.Second)
		var all sync.WaitGroup
		for i := range 3 {
			all.Go(func() { _ = a.ask(t.Context(), person("p0"), i, 40*time.Second) })
		}
		time.Sleep(time.Second)
		for i := range 5 {
			_ = a.ask(t.Context(), person(fmt.Sprint("q", i)), 1, 10*time.Millisecond)
		}
		before := f.sessions()
		for i := range 4 {
			all.Go(func() { _ = b.ask(t.Context(), person("p0"), 10+i, 5*time.Second) })
		}
		time.Sleep(3 * time.Second)
		if after := f.sessions(); after[0] != before[0]-1 {
			t.Errorf("%d idle sessions were closed for the one that she may have there", before[0]-after[0])
		}
		all.Wait()
	})
}

func TestAReplicaThatIsHeardOfAgainBeginsNothingThatIsAnothers(t *testing.T) {
	inFleet(t, driverfactory.Limits{Concurrency: 60, PerUserConcurrency: 1}, func(t *testing.T, f *fleet) {
		const people = 10
		var ends []func()
		ask := func(m *member) {
			for i := range people { // what is theirs ends at other moments each
				ends = append(ends, m.busy(person(fmt.Sprint("p", i)), 3, 7*time.Millisecond+time.Duration(i)*531*time.Microsecond))
			}
		}
		a := f.join()
		time.Sleep(time.Second)
		a.cut(true, false)
		time.Sleep(15 * time.Second) // it was alone, and goes on
		ask(a)
		b := f.join()
		ask(b)
		time.Sleep(time.Second)
		a.cut(false, false)
		time.Sleep(time.Second) // begin looks at what runs beside
		for _, end := range ends {
			end()
		}
	})
}

func TestNothingBeginsWhileAnotherReplicaHasAll(t *testing.T) {
	inFleet(t, driverfactory.Limits{Concurrency: 1, PerUserConcurrency: 1}, func(t *testing.T, f *fleet) {
		a, b := f.join(), f.join()
		time.Sleep(5 * time.Second)
		a.cut(true, false)
		b.end(false)
		time.Sleep(12 * time.Second)
		endA := a.busy(person("p0"), 2, 300*time.Millisecond) // it cannot ask, and goes on with its part
		c := f.join()                                         // for which nobody else is there
		endC := c.busy(person("p1"), 2, 300*time.Millisecond)
		time.Sleep(time.Second)
		c.cut(false, true) // it does not hear that somebody is
		a.cut(false, false)
		time.Sleep(6 * time.Second) // begin looks at what runs beside
		f.run(0, 0, 1)
		c.cut(false, false)
		endA()
		endC()
	})
}
