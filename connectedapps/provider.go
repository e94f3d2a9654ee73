package connectedapps

import (
	"context"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/behalf-project/behalf/oauthapps"
)

// What is asked of an authorization server that fails.
const (
	failuresToOpen = 5                // in a row, until nobody tries any more but a probe
	restOpen       = 30 * time.Second // between two probes
)

// provider is what this process knows of one authorization server: how many refreshes run there, how fast more may be
// begun, and whether it is worth asking at all. All apps with a token endpoint at one origin share it, and apps at
// another origin are not touched by what happens at this one.
type provider struct {
	slots chan struct{}
	pace  *rate.Limiter

	mu       sync.Mutex
	failures int       // in a row: no answer, or none that is about the request
	notUntil time.Time // it asked to be left alone so long, or the next probe is not due
}

// at returns the provider of app.
func (t *Tokens) at(app oauthapps.App) *provider {
	server := origin(app.TokenURL)
	t.mu.Lock()
	defer t.mu.Unlock()
	p, ok := t.providers[server]
	if !ok {
		p = &provider{
			slots: make(chan struct{}, t.cfg.MaxRefreshes),
			pace:  rate.NewLimiter(rate.Limit(t.cfg.PerSecond), max(1, int(t.cfg.PerSecond/5))),
		}
		t.providers[server] = p // as many as there are servers in the configuration
	}
	return p
}

// origin returns the server of an endpoint: scheme, host and port.
func origin(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return endpoint
	}
	return strings.ToLower(u.Scheme + "://" + u.Host)
}

// closedUntil returns until when p is not asked, or zero when it may be asked now.
func (p *provider) closedUntil(now time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Before(p.notUntil) {
		return p.notUntil
	}
	return time.Time{}
}

// turn waits until the pace and the slots of p allow one more refresh that nobody waits for, and takes its place in both.
// Call release if it is not begun after all.
func (p *provider) turn(ctx context.Context, now func() time.Time) (release func(), err error) {
	for at := now(); !p.pace.AllowN(at, 1); at = now() {
		missing := (1 - p.pace.TokensAt(at)) / float64(p.pace.Limit())
		if err := sleep(ctx, max(time.Duration(missing*float64(time.Second)), time.Millisecond)); err != nil {
			return nil, err
		}
	}
	select {
	case p.slots <- struct{}{}:
		return func() { <-p.slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// enter reports whether p may be asked at now. While the circuit is open, who enters is the probe, and the next one
// has to wait.
func (p *provider) enter(now time.Time) (until time.Time, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Before(p.notUntil) {
		return p.notUntil, false
	}
	if p.failures >= failuresToOpen {
		p.notUntil = now.Add(restOpen)
	}
	return time.Time{}, true
}

// left notes how a call at p ended. Whatever the server said about the grant or the app, it is well; failing to answer
// many times in a row opens the circuit; and a server that names a time is not asked before, for anybody.
func (p *provider) left(now time.Time, failure *oauthapps.Failure) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if failure == nil || failure.Class == oauthapps.GrantRefused || failure.Class == oauthapps.ClientRefused {
		p.failures, p.notUntil = 0, time.Time{}
		return
	}
	if failure.RetryAfter > 0 {
		p.notUntil = latest(p.notUntil, now.Add(failure.RetryAfter))
		return // it speaks to us
	}
	if p.failures++; p.failures >= failuresToOpen {
		p.notUntil = latest(p.notUntil, now.Add(restOpen))
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
