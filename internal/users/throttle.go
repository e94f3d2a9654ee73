package users

import (
	"net/netip"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/behalf-project/behalf/internal/fault"
)

// Limits of sign-in (sso.md §6.2). An account is never locked for good.
const (
	freeFailures = 5                // of one account, before it has to wait
	longestWait  = 15 * time.Minute // of one account
	forgetAfter  = 24 * time.Hour   // failures of an account that is left alone

	addressFailures = 30 // of one address, in addressWindow
	addressWindow   = 10 * time.Minute

	// throttled is how many accounts, and how many addresses, are remembered. Who wants to push one out of memory
	// must fail for that many others, and is stopped by the limit of their addresses first.
	throttled = 20_000
)

// throttle slows down who guesses passwords. An attempt counts as a failure from the moment it begins, so that many
// at once find no gap, and is taken back when it succeeds or was never decided.
type throttle struct {
	mu        sync.Mutex
	accounts  *lru.Cache[string, account]
	addresses *lru.Cache[string, bucket]
	now       func() time.Time
}

// account is the failures in a row for one name that people sign in with, known or not.
type account struct {
	failures int
	last     time.Time
}

// bucket holds what is left of the failures that an address may have.
type bucket struct {
	left float64
	at   time.Time
}

func newThrottle(now func() time.Time) *throttle {
	accounts, _ := lru.New[string, account](throttled) // fails for a size below one only
	addresses, _ := lru.New[string, bucket](throttled)
	return &throttle{accounts: accounts, addresses: addresses, now: now}
}

// begin lets an attempt begin, or is fault.TooMany. Names that belong to nobody are treated like all others.
func (t *throttle) begin(login, ip string) error {
	login, ip = accountKey(login), AddressKey(ip)
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	b := t.bucket(ip, now)
	if b.left < 1 {
		wait := time.Duration((1 - b.left) / addressFailures * float64(addressWindow))
		return tooMany("too_many_sign_ins", wait, "Too many sign-ins failed from your network.")
	}
	a := t.account(login, now)
	if wait := a.last.Add(pause(a.failures)).Sub(now); wait > 0 {
		return tooMany("too_many_failures", wait, "Too many sign-ins with this name failed.")
	}
	b.left--
	t.addresses.Add(ip, b)
	t.accounts.Add(login, account{failures: a.failures + 1, last: now})
	return nil
}

// succeeded forgets the failures of an account, and takes back what begin counted.
func (t *throttle) succeeded(login, ip string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.accounts.Remove(accountKey(login))
	t.giveBack(ip)
}

// undecided takes back what begin counted for an attempt that found no answer.
func (t *throttle) undecided(login, ip string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a := t.account(accountKey(login), t.now()); a.failures > 0 {
		a.failures--
		t.accounts.Add(accountKey(login), a)
	}
	t.giveBack(ip)
}

func (t *throttle) giveBack(ip string) {
	b := t.bucket(AddressKey(ip), t.now())
	b.left = min(addressFailures, b.left+1)
	t.addresses.Add(AddressKey(ip), b)
}

func (t *throttle) account(login string, now time.Time) account {
	a, _ := t.accounts.Get(login)
	if now.Sub(a.last) >= forgetAfter {
		return account{}
	}
	return a
}

// bucket returns the bucket of an address as it is now: it fills up again evenly.
func (t *throttle) bucket(ip string, now time.Time) bucket {
	b, ok := t.addresses.Get(ip)
	if !ok {
		return bucket{left: addressFailures, at: now}
	}
	filled := float64(now.Sub(b.at)) / float64(addressWindow) * addressFailures
	return bucket{left: min(addressFailures, b.left+max(0, filled)), at: now}
}

// pause is how long an account waits after its nth failure in a row.
func pause(failures int) time.Duration {
	if failures < freeFailures {
		return 0
	}
	if failures >= freeFailures+10 {
		return longestWait
	}
	return min(longestWait, time.Second<<(failures-freeFailures))
}

func accountKey(login string) string { return strings.ToLower(strings.TrimSpace(login)) }

// AddressKey is what counts as one address: a host of IPv4, a network of IPv6, of which everybody has a whole /64.
func AddressKey(ip string) string {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return ip
	}
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return a.String()
	}
	p, err := a.Prefix(64)
	if err != nil {
		return a.String()
	}
	return p.String()
}

func tooMany(code string, wait time.Duration, what string) error {
	wait = max(time.Second, wait.Round(time.Second))
	return &fault.Error{Kind: fault.TooMany, Code: code, Owner: fault.User, RetryAfter: wait,
		Detail: what + " Try again in " + words(wait) + "."}
}

// words says a time to wait as a person would.
func words(d time.Duration) string {
	if d < 2*time.Minute {
		return plural(int(d/time.Second), "second")
	}
	return plural(int((d+time.Minute-1)/time.Minute), "minute")
}
