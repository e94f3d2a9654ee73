package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/sandbox"
	"github.com/behalf-project/behalf/internal/sandbox/engine"
)

// fleetCap is how many statements of one person run at once at a source that does not say, and how many sessions they have.
const fleetCap = 2

// Two processes, one Postgres, one source and one person who asks both for much at once. The source says what ran when.
func TestOnePersonOnTwoReplicas(t *testing.T) {
	box := startSandbox(t)
	f := newFleet(t, box, combination{postgres: true, replicas: 2})
	f.connect(time.Hour)
	f.servesEverywhere()

	var asks sync.WaitGroup
	var over atomic.Bool // the first is killed: what it answers is nothing to us
	next := 7000         // the limit tells them apart
	ask := func(i, n int) {
		for range n {
			next++
			body := fmt.Sprintf(`{"cache":"no-cache","query":{"measures":["shared_orders.count"],"limit":%d}}`, next)
			asks.Go(func() {
				if a := f.askFor(i, body); i == 1 || !over.Load() {
					a.ran(t, "user", "alice")
				}
			})
		}
	}
	ask(0, 8)
	ask(1, 8)
	asks.Wait()
	all := statementsOf(box, "shared_orders")
	if len(all) != 16 {
		t.Fatalf("%d statements ran, want 16", len(all))
	}
	if n := atOnce(all); n != fleetCap {
		t.Errorf("%d statements of hers ran at once, want %d: never more, and the whole cap", n, fleetCap)
	}

	has := func(when string) {
		t.Helper()
		if n := box.Databricks.Sessions("alice"); n > fleetCap {
			t.Errorf("she has %d sessions %s, want at most %d", n, when, fleetCap)
		}
	}
	has("after she asked both") // idle ones stay for a minute

	// All that she has is at the first, and then she asks the second as well.
	ask(0, 8)
	eventually(t, "the first runs as much as she may", func() bool { return running(box) == fleetCap })
	began := time.Now()
	next++
	f.askFor(1, fmt.Sprintf(`{"cache":"no-cache","query":{"measures":["shared_orders.count"],"limit":%d}}`, next)).ran(t, "user", "alice")
	t.Logf("a statement of 300 ms at the second replica was answered %v after it was asked, while the first had eight waiting", time.Since(began))
	asks.Wait()
	has("after she asked the second while the first was busy")

	// Killed while it holds its share: the other has all of it when the lease ends.
	ask(0, 8)
	ask(1, 40)
	eventually(t, "both wait", func() bool { return running(box) == fleetCap })
	killed := time.Now()
	over.Store(true)
	f.replicas[0].kill()
	asks.Wait()
	all = statementsOf(box, "shared_orders")
	if n := atOnce(all); n != fleetCap {
		t.Errorf("%d statements of hers ran at once, want %d", n, fleetCap)
	}
	after := slices.DeleteFunc(all, func(s engine.Statement) bool { return s.Started.Before(killed.Add(time.Second)) })
	if n := atOnce(after); n != fleetCap {
		t.Errorf("%d statements of hers ran at once after a replica was killed, want %d", n, fleetCap)
	}
	for i, s := range after {
		if atOnce(after[:i+1]) == fleetCap {
			t.Logf("the other replica ran as much as she may %v after the kill", s.Started.Sub(killed))
			break
		}
	}
}

// statementsOf returns the statements that hold a text.
func statementsOf(box *sandbox.Sandbox, holding string) []engine.Statement {
	return slices.DeleteFunc(box.Engine.Log.Statements(), func(s engine.Statement) bool { return !strings.Contains(s.SQL, holding) })
}

func running(box *sandbox.Sandbox) int {
	return len(slices.DeleteFunc(statementsOf(box, "shared_orders"), func(s engine.Statement) bool { return s.Outcome != engine.Running }))
}

// atOnce returns how many of them ran at the same time at most.
func atOnce(all []engine.Statement) (most int) {
	for _, s := range all {
		n := 0
		for _, other := range all {
			if !other.Started.After(s.Started) && (other.Outcome == engine.Running || other.Started.Add(other.Took).After(s.Started)) {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}
