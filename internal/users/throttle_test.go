package users

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/fault"
)

// clock is a time that a test moves.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newClock() *clock { return &clock{time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)} }

func TestAnAccountWaitsLongerWithEveryFailure(t *testing.T) {
	c := newClock()
	th := newThrottle(c.now)
	for n := 1; n <= freeFailures; n++ {
		if err := th.begin("alice", fmt.Sprintf("192.0.2.%d", n)); err != nil {
			t.Fatalf("failure %d: %v, want none of the first %d to wait", n, err, freeFailures)
		}
	}
	for n, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second} {
		err := th.begin("ALICE ", "198.51.100.1")
		e, ok := errors.AsType[*fault.Error](err)
		if !ok || e.Kind != fault.TooMany || e.RetryAfter != want {
			t.Fatalf("after failure %d: %v, want to wait %v", freeFailures+n, err, want)
		}
		c.t = c.t.Add(want)
		if err := th.begin("alice", "198.51.100.1"); err != nil {
			t.Fatalf("after waiting %v: %v, want a try", want, err)
		}
	}
	if err := th.begin("bob", "198.51.100.1"); err != nil {
		t.Errorf("somebody else: %v, want a try", err)
	}
	if got := pause(1000); got != longestWait {
		t.Errorf("pause(1000) = %v, want %v: an account is never locked for good", got, longestWait)
	}
}

func TestASuccessForgetsTheFailures(t *testing.T) {
	c := newClock()
	th := newThrottle(c.now)
	for range freeFailures - 1 {
		_ = th.begin("alice", "192.0.2.1")
	}
	_ = th.begin("alice", "192.0.2.1")
	th.succeeded("alice", "192.0.2.1")
	for n := 1; n <= freeFailures; n++ {
		if err := th.begin("alice", "192.0.2.1"); err != nil {
			t.Fatalf("failure %d after a success: %v, want a try", n, err)
		}
	}
}

func TestAnAddressMayFailThirtyTimesInTenMinutes(t *testing.T) {
	c := newClock()
	th := newThrottle(c.now)
	for n := range addressFailures {
		if err := th.begin(fmt.Sprintf("user%d", n), "2001:db8::1"); err != nil {
			t.Fatalf("failure %d: %v, want a try", n+1, err)
		}
	}
	for _, neighbour := range []string{"2001:db8::1", "2001:db8::ffff"} { // one /64 is one address
		if err := th.begin("another", neighbour); !errors.Is(err, fault.TooMany) {
			t.Errorf("failure %d from %s: %v, want too many", addressFailures+1, neighbour, err)
		}
	}
	if err := th.begin("another", "2001:db8:0:1::1"); err != nil {
		t.Errorf("from another network: %v, want a try", err)
	}
	c.t = c.t.Add(addressWindow / addressFailures)
	if err := th.begin("yet-another", "2001:db8::1"); err != nil {
		t.Errorf("a while later: %v, want a try", err)
	}
}

func TestAnUndecidedAttemptCountsForNothing(t *testing.T) {
	c := newClock()
	th := newThrottle(c.now)
	for n := range 3 * addressFailures {
		if err := th.begin("alice", "192.0.2.1"); err != nil {
			t.Fatalf("attempt %d: %v, want a try", n+1, err)
		}
		th.undecided("alice", "192.0.2.1")
	}
}

func TestThrottlingRemembersABoundedNumber(t *testing.T) {
	c := newClock()
	th := newThrottle(c.now)
	for n := range throttled + 100 {
		_ = th.begin(fmt.Sprintf("user%d", n), fmt.Sprintf("10.%d.%d.%d", n>>16&255, n>>8&255, n&255))
	}
	if th.accounts.Len() != throttled || th.addresses.Len() != throttled {
		t.Errorf("%d accounts and %d addresses remembered, want %d each", th.accounts.Len(), th.addresses.Len(), throttled)
	}
}
