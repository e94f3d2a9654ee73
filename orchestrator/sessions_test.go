package orchestrator_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/caps"
	"github.com/behalf-project/behalf/internal/caps/capstest"
	"github.com/behalf-project/behalf/orchestrator"
)

// house is a warehouse behind the real factory and database/sql, where statements are "sleep 5s". It fails the test when more
// sessions are open than may be, or when somebody's statement runs in the session of somebody else.
type house struct {
	t      *testing.T
	src    driverfactory.Source
	flaky  bool // logins fail and take their time, sessions are lost
	logsIn bool // with a token each session

	mu     sync.Mutex
	open   map[string]int // sessions, by who has them
	busy   int            // logins and statements under way
	epochs map[string]int64
}

func newHouse(t *testing.T, limits driverfactory.Limits) *house {
	src := driverfactory.Source{Domain: "dom", Name: "db", Rev: 1, Type: "house", OAuthApp: "app", Limits: limits}
	return &house{t: t, src: src, open: map[string]int{}, epochs: map[string]int64{}}
}

// orchestrators returns new ones, which share caps where some are given.
func (h *house) orchestrators(shared *caps.Caps, wait time.Duration) (*orchestrator.Orchestrators, *orchestrator.Capacity) {
	capacity := orchestrator.NewCapacity(0, wait)
	f := driverfactory.New(driverfactory.Config{Credentials: h, Warehouses: map[string]driverfactory.Warehouse{"house": h}, Admit: capacity.Admit})
	return orchestrator.New(orchestrator.Config{Drivers: f, Capacity: capacity, Caps: shared, AppSlug: func(string) string { return "app" }}), capacity
}

func (h *house) Check(driverfactory.Source) error   { return nil }
func (h *house) TokenAtLogin() bool                 { return h.logsIn }
func (h *house) Value(_ string, _ int64, v any) any { return v }
func (h *house) Connector(_ driverfactory.Source, l driverfactory.Login) (driver.Connector, error) {
	return houseConnector{h, l.Username}, nil
}

// Classify implements driverfactory.Warehouse.
func (h *house) Classify(err error) driverfactory.Class {
	if strings.Contains(err.Error(), "lost") {
		return driverfactory.SessionLost
	}
	return driverfactory.StatementFailed
}

// Token implements driverfactory.Credentials.
func (h *house) Token(_ context.Context, p driverfactory.Principal, _ string) (driverfactory.Token, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return driverfactory.Token{Value: driverfactory.NewSecret("token"), Status: "active", Epoch: h.epochs[p.Subject] + 1, Revision: 1}, nil
}

// Refused implements driverfactory.Credentials.
func (h *house) Refused(ctx context.Context, p driverfactory.Principal, app string, _ driverfactory.Token) (driverfactory.Token, error) {
	return h.Token(ctx, p, app)
}

// replace gives somebody another grant, and returns its epoch.
func (h *house) replace(p driverfactory.Principal) (epoch int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.epochs[p.Subject]++
	return h.epochs[p.Subject] + 1
}

// under notes that something is under way, until end is called.
func (h *house) under() (end func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.busy++
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.busy--
	}
}

type houseConnector struct {
	h   *house
	who string
}

func (c houseConnector) Driver() driver.Driver { return nil }

func (c houseConnector) Connect(ctx context.Context) (driver.Conn, error) {
	defer c.h.under()()
	c.h.mu.Lock()
	c.h.open[c.who]++
	all := 0
	for _, n := range c.h.open {
		all += n
	}
	if most, each := c.h.src.Limits.Sessions(); all > most || c.h.open[c.who] > each {
		c.h.t.Errorf("%d sessions are open, %d of %s, want at most %d and %d", all, c.h.open[c.who], c.who, most, each)
	}
	c.h.mu.Unlock()
	conn := &houseConn{h: c.h, who: c.who}
	if !c.h.flaky {
		return conn, nil
	}
	time.Sleep(time.Duration(rand.IntN(50)) * time.Millisecond)
	if ctx.Err() != nil || rand.IntN(20) == 0 {
		_ = conn.Close()
		return nil, errors.New("no login")
	}
	return conn, nil
}

type houseConn struct {
	h   *house
	who string
}

func (*houseConn) Prepare(string) (driver.Stmt, error) { return nil, errors.New("nothing is prepared") }
func (*houseConn) Begin() (driver.Tx, error)           { return nil, errors.New("there are no transactions") }

func (c *houseConn) Close() error {
	if c.h.flaky {
		time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
	}
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	c.h.open[c.who]--
	return nil
}

func (c *houseConn) QueryContext(ctx context.Context, sql string, _ []driver.NamedValue) (driver.Rows, error) {
	defer c.h.under()()
	words := strings.Fields(sql)
	if words[3] != c.who {
		c.h.t.Errorf("%q ran in a session of %s", sql, c.who)
	}
	if c.h.flaky && rand.IntN(10) == 0 {
		return nil, errors.New("lost")
	}
	took, _ := time.ParseDuration(words[1])
	select {
	case <-time.After(took):
		return houseRows{}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type houseRows struct{}

func (houseRows) Columns() []string         { return []string{"c"} }
func (houseRows) Close() error              { return nil }
func (houseRows) Next([]driver.Value) error { return io.EOF }

// sleeps is a statement of somebody at h, the nth.
func (h *house) sleeps(who string, n int, took time.Duration) orchestrator.Request {
	req := query(h.src, fmt.Sprintf("sleep %s -- %s %d", took, who, n))
	req.Cache, req.RequestID = orchestrator.NoCache, fmt.Sprint(who, n)
	return req
}

// database/sql dials by itself where a session could not be made, and nobody may be waiting any more when it has one. An idle session
// is not kept for that.
func TestAnIdleSessionIsNotKeptForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, driverfactory.Limits{Concurrency: 10, PerUserConcurrency: 3, PerUserConnections: 2, MaxConnections: 2})
		o, capacity := h.orchestrators(nil, 0)
		alice, bob, carol := person("alice"), person("bob"), person("carol")
		one, other := load(t.Context(), o, alice, h.sleeps("alice", 1, 5*time.Second)), load(t.Context(), o, bob, h.sleeps("bob", 1, 9*time.Second))
		synctest.Wait()
		two := load(t.Context(), o, alice, h.sleeps("alice", 2, 0))
		synctest.Wait() // it waits for room at the source
		three := load(t.Context(), o, alice, h.sleeps("alice", 3, 0))
		synctest.Wait() // it waits in database/sql, which has as many sessions of hers, open or being opened, as it may
		o.Cancel("alice2", alice.Principal)
		synctest.Wait() // database/sql would dial for the third
		if open, waiting := capacity.Open(); open != 2 || waiting != 1 {
			t.Fatalf("%d sessions are open and %d wait, want 2, and her third", open, waiting)
		}
		began := time.Now()
		hers := load(t.Context(), o, carol, h.sleeps("carol", 1, 0))
		<-one
		if got := <-three; got.err != nil {
			t.Errorf("her third statement = %v, want it to run", got.err)
		}
		if got := <-hers; got.err != nil || time.Since(began) > 6*time.Second {
			t.Errorf("carol was told %v after %v, while a session of alice's was idle after 5 s", got.err, time.Since(began))
		}
		<-two
		<-other
		if err := o.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Few people ask few sessions for much, at up to three replicas, while statements are cancelled, grants replaced, logins fail and
// sessions are lost. Nobody has more sessions than they may, or another's; nobody waits while nothing is under way; and all ends.
func TestSessionsOverRandomHistories(t *testing.T) {
	for seed := range 12 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, driverfactory.Limits{
					Concurrency: 1 + rand.IntN(12), PerUserConcurrency: 1 + rand.IntN(5), PerUserConnections: 1 + rand.IntN(4), MaxConnections: 1 + rand.IntN(2), PerUserQueue: 1000,
				})
				h.flaky, h.logsIn = true, seed%2 == 0
				sessionsOverHistory(t, h, 1+seed%3)
			})
		})
	}
}

func sessionsOverHistory(t *testing.T, h *house, replicas int) {
	var (
		parts, asks sync.WaitGroup
		all         []*orchestrator.Orchestrators
		capacities  []*orchestrator.Capacity
		store       = new(capstest.Memory)
	)
	ctx, stop := context.WithCancel(t.Context())
	for i := range replicas {
		var shared *caps.Caps
		if replicas > 1 {
			shared = caps.New(caps.Config{Store: store, Replica: fmt.Sprint("r", i)})
			store.News.Subscribe(shared.Hear)
		}
		o, capacity := h.orchestrators(shared, time.Hour)
		if shared != nil {
			parts.Go(func() { _ = shared.Run(ctx) })
		}
		parts.Go(func() { _ = o.Run(ctx) })
		all, capacities = append(all, o), append(capacities, capacity)
	}
	time.Sleep(5 * time.Second)
	parts.Go(func() {
		for since := time.Now(); ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
			waiting := 0
			for _, c := range capacities {
				_, n := c.Open()
				waiting += n
			}
			h.mu.Lock()
			if waiting == 0 || h.busy > 0 {
				since = time.Now()
			}
			h.mu.Unlock()
			if time.Since(since) > 4*time.Second {
				t.Errorf("%d statements wait for a session, and nothing has been under way for 4 s: %+v", waiting, h.src.Limits)
				since = time.Now()
			}
		}
	})
	for i := range 300 {
		time.Sleep(time.Duration(rand.IntN(120)) * time.Millisecond)
		sc, o := person(fmt.Sprint("p", rand.IntN(4))), all[rand.IntN(len(all))]
		asks.Go(func() {
			_, err := poll(t.Context(), o, sc, h.sleeps(sc.Username, i, time.Duration(rand.IntN(300))*time.Millisecond))
			switch code := codeOf(err); code {
			case "", "canceled", "credential_changing", "database_error", "session_lost":
			default:
				t.Errorf("a statement of %s = %v", sc.Username, err)
			}
		})
		if rand.IntN(6) == 0 {
			time.AfterFunc(time.Duration(rand.IntN(300))*time.Millisecond, func() { o.Cancel(fmt.Sprint(sc.Username, i), sc.Principal) })
		}
		if rand.IntN(25) == 0 {
			epoch := h.replace(sc.Principal)
			for _, o := range all {
				o.Forget(sc.Principal.Key(), "app", epoch, false)
			}
		}
	}
	asks.Wait()
	stop()
	parts.Wait()
	for i, o := range all {
		if err := o.Close(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		time.Sleep(time.Second)
		if open, waiting := capacities[i].Open(); open != 0 || waiting != 0 {
			t.Errorf("%d sessions are open and %d waited for in the end", open, waiting)
		}
	}
	for who, n := range h.open {
		if n != 0 {
			t.Errorf("%d sessions of %s are left", n, who)
		}
	}
}
