package fronttest

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/orchestrator"
)

// Warehouse is a source where everybody has a credential of their own, and every statement runs until it is cancelled.
type Warehouse struct{ begun, Canceled atomic.Int64 }

// Choose implements orchestrator.Drivers.
func (*Warehouse) Choose(_ context.Context, sc driverfactory.SecurityContext, src driverfactory.Source, _ driverfactory.Operation) (driverfactory.Choice, error) {
	return driverfactory.Choice{
		Key:   driverfactory.PoolKey{Domain: src.Domain, Source: src.Name, Principal: sc.Principal, Epoch: 1},
		RunAs: driverfactory.RunAs{Identity: driverfactory.IdentityUser, Username: sc.Username, DataSource: src.Name},
	}, nil
}

// Open implements orchestrator.Drivers.
func (w *Warehouse) Open(driverfactory.Choice) (driverfactory.Driver, error) {
	return (*sessions)(w), nil
}

// sessions are the driver of everybody.
type sessions Warehouse

func (s *sessions) Query(ctx context.Context, _ driverfactory.Statement) (driverfactory.Rows, error) {
	s.begun.Add(1)
	<-ctx.Done()
	s.Canceled.Add(1)
	return nil, context.Cause(ctx)
}

func (*sessions) Ping(context.Context) error { return nil }
func (*sessions) Stats() (open, idle int)    { return 1, 0 }
func (*sessions) Close() error               { return nil }

// Run has a person run a statement at the warehouse, and returns once it runs. What it came to is sent on the channel.
func (s *Server) Run(t testing.TB, username, sql string) <-chan error {
	t.Helper()
	u, err := s.People.ByUsername(t.Context(), username)
	if err != nil {
		t.Fatal(err)
	}
	sc := driverfactory.SecurityContext{Domain: Domain, Username: username, Principal: u.Principal()}
	ended := make(chan error, 1)
	before := s.Warehouse.begun.Load()
	go func() {
		_, err := s.Orchestrators.Load(context.WithoutCancel(t.Context()), sc, orchestrator.Request{
			Source: driverfactory.Source{Domain: Domain, Name: "default"}, Statement: driverfactory.Statement{SQL: sql}, RequestID: "req_" + username, Wait: time.Minute,
		})
		ended <- err
	}()
	for deadline := time.Now().Add(20 * time.Second); s.Warehouse.begun.Load() == before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the statement does not run")
		}
	}
	return ended
}
