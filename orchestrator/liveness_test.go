package orchestrator_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/orchestrator"
)

// reacher is a warehouse that can be reached without logging in, or not.
type reacher struct {
	*warehouse
	err error
}

func (r reacher) Reach(context.Context, driverfactory.Source) error { return r.err }

func TestLivenessSaysWhatItKnows(t *testing.T) {
	src := source("db", driverfactory.Limits{})
	src.Liveness.Required = true
	for _, tt := range []struct {
		name    string
		prepare func(*warehouse)
		drivers func(*warehouse) orchestrator.Drivers
		want    orchestrator.State
	}{
		{"a source that answers is up", func(*warehouse) {}, nil, orchestrator.Up},
		{"a source that refuses is down", func(w *warehouse) { w.down = true }, nil, orchestrator.Down},
		{"a source that is silent is down", func(w *warehouse) { w.slow = time.Hour }, nil, orchestrator.Down},
		{"without a service account it is unverified", func(w *warehouse) { w.noAdmin = true }, nil, orchestrator.Unverified},
		{"and unverified when it can be reached", func(w *warehouse) { w.noAdmin = true },
			func(w *warehouse) orchestrator.Drivers { return reacher{w, nil} }, orchestrator.Unverified},
		{"and down when it cannot", func(w *warehouse) { w.noAdmin = true },
			func(w *warehouse) orchestrator.Drivers { return reacher{w, errors.New("canary")} }, orchestrator.Down},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWarehouse(t)
				tt.prepare(w)
				cfg := orchestrator.Config{Drivers: w, Sources: func() []driverfactory.Source { return []driverfactory.Source{src} }}
				if tt.drivers != nil {
					cfg.Drivers = tt.drivers(w)
				}
				o := orchestrator.New(cfg)
				if got := o.Sources(); len(got) != 1 || got[0].State != orchestrator.Unknown || !got[0].Required {
					t.Errorf("before the first check Sources = %+v, want unknown and required", got)
				}
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- o.Run(ctx) }()
				time.Sleep(6 * time.Second)
				got := o.Sources()[0]
				if got.State != tt.want || got.CheckedAt.IsZero() || got.Detail == "" {
					t.Errorf("Sources = %+v, want %s with a time and a sentence", got, tt.want)
				}
				if strings.Contains(got.Detail, "canary") {
					t.Errorf("Detail = %q repeats the database's text", got.Detail)
				}
				stop()
				<-done
				if err := o.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestASlowSourceDelaysNoOther(t *testing.T) {
	slow, quick := source("slow", driverfactory.Limits{}), source("quick", driverfactory.Limits{})
	slow.Liveness.Timeout, quick.Liveness.Every = time.Hour, 10*time.Second
	sources := []driverfactory.Source{slow, quick}
	synctest.Test(t, func(t *testing.T) {
		w := newWarehouse(t)
		pings := map[string]int{}
		o := orchestrator.New(orchestrator.Config{
			Drivers: perSource{w, pings}, Sources: func() []driverfactory.Source { return sources },
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- o.Run(ctx) }()
		time.Sleep(61 * time.Second)
		synctest.Wait()
		if pings["quick"] != 7 || pings["slow"] != 1 {
			t.Errorf("checks begun in 61 s: %v, want 7 of the quick source and 1 of the slow one", pings)
		}
		states := map[string]orchestrator.State{}
		for _, s := range o.Sources() {
			states[s.Name] = s.State
		}
		if states["quick"] != orchestrator.Up || states["slow"] != orchestrator.Unknown {
			t.Errorf("states = %v, want quick up and slow unknown", states)
		}
		stop()
		<-done
		if err := o.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// perSource is a warehouse whose source "slow" never answers a choice.
type perSource struct {
	*warehouse
	asked map[string]int // guarded by the bubble: read when everybody sleeps
}

func (p perSource) Choose(ctx context.Context, sc driverfactory.SecurityContext, src driverfactory.Source, op driverfactory.Operation) (driverfactory.Choice, error) {
	p.mu.Lock()
	p.asked[src.Name]++
	p.mu.Unlock()
	if src.Name == "slow" {
		<-ctx.Done()
		return driverfactory.Choice{}, ctx.Err()
	}
	return p.warehouse.Choose(ctx, sc, src, op)
}

// A source whose sessions are all in use answers somebody: that it is not checked says nothing of it.
func TestASourceWhoseSessionsAreInUseIsNotDown(t *testing.T) {
	src := source("db", driverfactory.Limits{MaxConnections: 1})
	cfg := orchestrator.Config{Capacity: orchestrator.NewCapacity(0, 0), Sources: func() []driverfactory.Source { return []driverfactory.Source{src} }}
	inBubble(t, cfg, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice := person("alice")
		w.grant(alice.Principal, 1)
		time.Sleep(10 * time.Second)
		if s := o.Sources()[0]; s.State != orchestrator.Up {
			t.Errorf("the source is %+v, want it up", s)
		}
		ended := make(chan error)
		go func() {
			_, err := poll(t.Context(), o, alice, query(src, "sleep 2m"))
			ended <- err
		}()
		time.Sleep(time.Minute)
		if s := o.Sources()[0]; s.State != orchestrator.Unknown || !strings.Contains(s.Detail, "in use") {
			t.Errorf("the source is %+v, want that it was not checked", s)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
