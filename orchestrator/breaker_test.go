package orchestrator_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/orchestrator"
)

// outcome is the code with which a statement fails, or "".
func outcome(t *testing.T, o *orchestrator.Orchestrators, sc driverfactory.SecurityContext, req orchestrator.Request) (code string, err error) {
	t.Helper()
	req.Cache = orchestrator.NoCache
	res, err := o.Load(t.Context(), sc, req)
	if err == nil {
		res.Close()
	}
	return codeOf(err), err
}

// trip has a source called db fail for two people, until it is left alone.
func trip(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) (alice, bob driverfactory.SecurityContext, req orchestrator.Request) {
	t.Helper()
	alice, bob, req = person("alice"), person("bob"), query(source("db", driverfactory.Limits{}), "away")
	w.grant(alice.Principal, 1)
	w.grant(bob.Principal, 1)
	for n, sc := range []driverfactory.SecurityContext{alice, alice, bob} {
		if code, err := outcome(t, o, sc, req); code != "data_source_unreachable" {
			t.Fatalf("failure %d is %v, want data_source_unreachable", n+1, err)
		}
	}
	return alice, bob, req
}

// A source that does not answer is left alone: who asks is told so at once, what is kept is served, other sources work. It is
// tried now and then, by one statement; when that is answered, all are.
func TestASourceThatIsDownIsLeftAlone(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		kept := query(source("db", driverfactory.Limits{}), "read x")
		alice := person("alice")
		w.grant(alice.Principal, 1)
		asksFor(t, o, alice, kept)
		alice, bob, req := trip(t, w, o)
		before := len(w.started())
		code, err := outcome(t, o, bob, req)
		e, _ := err.(*fault.Error)
		if code != "data_source_down" || e.Kind != fault.Unavailable || e.RetryAfter != time.Second || e.Detail == "" {
			t.Errorf("the next is told %+v, want data_source_down for a second", err)
		}
		if n := len(w.started()) - before; n != 0 {
			t.Errorf("%d statements were sent to a source that is left alone", n)
		}
		if res := asksFor(t, o, alice, kept); res.Rows.Len() != 1 {
			t.Error("what is kept and fresh was not served")
		}
		if code, err := outcome(t, o, bob, query(source("other", driverfactory.Limits{}), "read x")); code != "" {
			t.Errorf("another source: %v, want an answer", err)
		}
		who, other := alice, bob
		for _, wait := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
			time.Sleep(wait*time.Second - time.Millisecond)
			if code, err := outcome(t, o, who, req); code != "data_source_down" {
				t.Errorf("just before %ds are over: %v, want data_source_down", wait, err)
			}
			time.Sleep(time.Millisecond)
			if code, err := outcome(t, o, who, req); code != "data_source_unreachable" {
				t.Errorf("after %ds: %v, want that it is tried", wait, err)
			}
			who, other = other, who
		}
		time.Sleep(45 * time.Second)
		slow := query(source("db", driverfactory.Limits{}), "sleep 1s away")
		tried := make(chan string, 1)
		go func() {
			code, _ := outcome(t, o, alice, slow)
			tried <- code
		}()
		time.Sleep(500 * time.Millisecond)
		if code, err := outcome(t, o, bob, req); code != "data_source_down" {
			t.Errorf("while one statement tries: %v, want data_source_down", err)
		}
		w.tolerate(true)
		if code := <-tried; code != "" {
			t.Fatalf("the trial ended in %s, want an answer", code)
		}
		for range 3 {
			if code, err := outcome(t, o, bob, req); code != "" {
				t.Errorf("after an answer: %v, want one too", err)
			}
		}
	})
}

// What ails one person is nobody else's: however often their statements fail, those of others are sent.
func TestTheFailuresOfOnePersonStopNobodyElse(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice, bob := person("alice"), person("bob")
		w.grant(alice.Principal, 1)
		w.grant(bob.Principal, 1)
		src := source("db", driverfactory.Limits{})
		for n := range 20 {
			if code, err := outcome(t, o, alice, query(src, "away")); code != "data_source_unreachable" {
				t.Errorf("failure %d of alice: %v, want that it was tried", n, err)
			}
		}
		if code, err := outcome(t, o, bob, query(src, "read x")); code != "" {
			t.Errorf("bob: %v, want an answer", err)
		}
	})
}

// Nor does it help that they come with one credential after another.
func TestTheCredentialsOfOnePersonAreOnePersons(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice, bob := person("alice"), person("bob")
		w.grant(bob.Principal, 1)
		src := source("db", driverfactory.Limits{})
		for n := range 5 {
			w.grant(alice.Principal, int64(n+1))
			o.Forget(alice.Principal.Key(), "app", int64(n+1), false)
			if code, err := outcome(t, o, alice, query(src, "away")); code != "data_source_unreachable" {
				t.Errorf("failure %d of alice: %v, want that it was tried", n, err)
			}
		}
		if code, err := outcome(t, o, bob, query(src, "read x")); code != "" {
			t.Errorf("bob: %v, want an answer", err)
		}
	})
}

// A source that answers again is everybody's again, although one person's trial takes long and another's fail.
func TestNobodyKeepsASourceFromTheOthers(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice, bob, req := trip(t, w, o)
		time.Sleep(time.Second)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = outcome(t, o, alice, query(req.Source, "sleep 5m read y"))
		}()
		time.Sleep(2 * time.Second)
		if code, err := outcome(t, o, bob, query(req.Source, "read x")); code != "" {
			t.Errorf("while a trial takes long: %v, want that the next is made", err)
		}
		<-ended
	})
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		alice, bob, req := trip(t, w, o)
		asks := func(during time.Duration) { // all the time
			for range during / (100 * time.Millisecond) {
				time.Sleep(100 * time.Millisecond)
				_, _ = outcome(t, o, alice, req)
			}
		}
		asks(2 * time.Minute)
		healthy := query(req.Source, "read x")
		code, err := outcome(t, o, bob, healthy)
		if e, _ := err.(*fault.Error); code == "data_source_down" && e.RetryAfter <= 30*time.Second {
			asks(e.RetryAfter)
			code, err = outcome(t, o, bob, healthy)
		}
		if code != "" {
			t.Errorf("who came when he was told to: %v, want an answer", err)
		}
	})
}

// What says nothing of the source neither opens nor closes, and a trial that never came to it leaves the next one its turn.
func TestWhatIsNoAnswerSaysNothing(t *testing.T) {
	inBubble(t, orchestrator.Config{}, func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
		_, bob, req := trip(t, w, o)
		time.Sleep(time.Second)
		for n, sql := range []string{"superseded", "panic", "fail"} {
			if code, err := outcome(t, o, bob, query(req.Source, sql)); code == "data_source_down" {
				t.Errorf("trial %d: %v, want that it is made", n, err)
			}
		}
		if code, err := outcome(t, o, bob, req); code != "data_source_unreachable" {
			t.Errorf("after trials that say nothing: %v, want one more", err)
		}
		if code, err := outcome(t, o, bob, req); code != "data_source_down" {
			t.Errorf("after a trial that failed: %v, want data_source_down", err)
		}
	})
}

// A liveness check that is answered ends the waiting before the next trial would.
func TestALivenessCheckEndsTheWaiting(t *testing.T) {
	src := source("db", driverfactory.Limits{})
	src.Liveness.Every = 10 * time.Second
	inBubble(t, orchestrator.Config{Sources: func() []driverfactory.Source { return []driverfactory.Source{src} }},
		func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
			time.Sleep(9 * time.Second)
			_, bob, req := trip(t, w, o)
			time.Sleep(900 * time.Millisecond)
			if code, err := outcome(t, o, bob, req); code != "data_source_down" {
				t.Errorf("before the check: %v, want data_source_down", err)
			}
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			for range 2 {
				if code, err := outcome(t, o, bob, req); code != "data_source_unreachable" {
					t.Errorf("after the check: %v, want that it is tried", err)
				}
			}
		})
}

// The state of a source has a history: when each began and ended, the newest first, and so many.
func TestASourceHasAHistory(t *testing.T) {
	src := source("db", driverfactory.Limits{})
	src.Liveness.Every = time.Second
	inBubble(t, orchestrator.Config{Sources: func() []driverfactory.Source { return []driverfactory.Source{src} }},
		func(t *testing.T, w *warehouse, o *orchestrator.Orchestrators) {
			began := time.Now()
			flip := func(down bool) {
				w.mu.Lock()
				w.down = down
				w.mu.Unlock()
				time.Sleep(3 * time.Second)
			}
			time.Sleep(100 * time.Millisecond)
			flip(false)
			flip(true)
			flip(false)
			h := o.Sources()[0]
			var got []string
			for _, c := range append([]orchestrator.Change{{State: h.State, From: h.Since}}, h.History...) {
				got = append(got, fmt.Sprint(c.State, " ", c.From.Sub(began).Round(time.Second)))
			}
			if want := []string{"up 7s", "down 4s", "up 0s"}; fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("the history is %v, want %v", got, want)
			}
			for n := range 50 {
				flip(n%2 == 0)
			}
			if h := o.Sources()[0]; len(h.History) != 20 || !h.History[0].Until.Equal(h.Since) || h.History[1].Until != h.History[0].From {
				t.Errorf("%d states are remembered, want the last twenty, one after another", len(h.History))
			}
		})
}
