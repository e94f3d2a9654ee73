package anomaly_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-project/behalf/internal/anomaly"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/securitycontext"
)

// memory is a store and a record of alarms.
type memory struct {
	mu     sync.Mutex
	known  map[string]anomaly.Baseline
	saves  int
	alarms []audit.Entry
}

func (m *memory) LoadBaseline(_ context.Context, caller string) (anomaly.Baseline, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.known[caller]
	if !ok {
		return b, fault.New(fault.NotFound, "none")
	}
	return b, nil
}

func (m *memory) SaveBaseline(_ context.Context, caller string, b anomaly.Baseline) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known[caller] = b
	m.saves++
	return nil
}

func (m *memory) ForgetBaselines(context.Context, time.Time) error { return nil }

func (m *memory) record(_ context.Context, e audit.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.alarms = append(m.alarms, e)
	return nil
}

func TestAStolenTokenRaisesOneAlarmAnHourAndItsHabitsSurviveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{known: map[string]anomaly.Baseline{}}
		alice := securitycontext.Principal{Realm: securitycontext.Local, Subject: "usr_alice"}
		counted := map[string]int{}
		run := func(use func(*anomaly.Watch)) {
			w := anomaly.New(anomaly.Config{Store: m, Record: m.record, Count: func(reason string) { counted[reason]++ }})
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- w.Run(ctx) }()
			use(w)
			synctest.Wait()
			stop()
			if err := <-done; err != nil {
				t.Errorf("Run = %v, want nil", err)
			}
		}
		hand := func(w *anomaly.Watch, n int, address string) {
			for range n {
				w.Observe(t.Context(), anomaly.HandOut{Token: "tok_1", Principal: alice, App: "databricks", Address: address})
			}
			synctest.Wait()
		}
		run(func(w *anomaly.Watch) {
			for range 48 {
				hand(w, 5, "192.0.2.1")
				time.Sleep(time.Hour)
			}
		})
		if len(m.alarms) != 0 || m.saves > 50 {
			t.Errorf("%d alarms and %d writes for a caller as always", len(m.alarms), m.saves)
		}
		run(func(w *anomaly.Watch) { // another process, or the same after a restart
			hand(w, 500, "203.0.113.9")
		})
		if len(m.alarms) != 2 || m.alarms[0].Outcome != anomaly.NewNetwork || m.alarms[1].Outcome != anomaly.FarAboveNorm {
			t.Fatalf("alarms %+v, want a new network and too many, once each", m.alarms)
		}
		e := m.alarms[1]
		if e.Action != audit.UnusualHandOut || e.Object != "tok_1" || e.Detail["principal"] != "usr_alice" || e.Detail["rate"] != "61" || e.Detail["norm"] != "60" {
			t.Errorf("the record is %+v", e)
		}
		if counted[anomaly.FarAboveNorm] != 1 {
			t.Errorf("counted %v", counted)
		}
	})
}

func TestObserveNeverWaits(t *testing.T) {
	w := anomaly.New(anomaly.Config{Store: &memory{}}) // nobody runs it
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 10_000 {
			w.Observe(context.Background(), anomaly.HandOut{Token: "tok_1"})
		}
	}()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Fatal("Observe waits")
	}
}
