package driverfactory

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/behalf-project/behalf/internal/fault"
)

// tokens is where the sessions of one pool get their token.
type tokens interface {
	// token returns the current token of the pool's key, and never one of another epoch.
	token(ctx context.Context) (Token, error)

	// refused is told that the source refused tok, and returns one with another revision or the refusal.
	refused(ctx context.Context, tok Token) (Token, error)
}

// tokensOf returns where the sessions of c get their token, or nil when they log in without one.
func (f *Factory) tokensOf(c Choice) tokens {
	switch {
	case c.carried != nil:
		return &carriedToken{f: f, choice: c}
	case c.account == nil:
		return &grantTokens{f: f, choice: c}
	case c.account.OAuth != nil:
		return f.accountTokens(c)
	case !c.account.Token.Empty():
		return &staticToken{choice: c}
	}
	return nil
}

// grantTokens are the tokens of a person's grant, bound to the epoch of the pool's key.
type grantTokens struct {
	f      *Factory
	choice Choice
}

func (g *grantTokens) token(ctx context.Context) (Token, error) {
	tok, err := g.f.cfg.Credentials.Token(ctx, g.choice.Key.Principal, g.choice.Key.App)
	return g.bound(tok, err)
}

func (g *grantTokens) refused(ctx context.Context, old Token) (Token, error) {
	tok, err := g.f.cfg.Credentials.Refused(ctx, g.choice.Key.Principal, g.choice.Key.App, old)
	if err == nil && tok.Epoch == old.Epoch && tok.Revision == old.Revision {
		return Token{}, g.choice.refusal(nil)
	}
	return g.bound(tok, err)
}

// bound returns tok if it belongs to the grant that the pool was opened for.
func (g *grantTokens) bound(tok Token, err error) (Token, error) {
	if err != nil {
		return Token{}, withSource(err, g.choice.src, g.choice.Key.App)
	}
	if tok.Epoch != g.choice.Key.Epoch {
		return Token{}, g.choice.superseded()
	}
	return tok, nil
}

// carriedToken is a token that came in the JWT.
type carriedToken struct {
	f      *Factory
	choice Choice
}

func (c *carriedToken) token(context.Context) (Token, error) {
	if status := c.f.carriedStatus(*c.choice.carried); status != statusActive {
		return Token{}, carriedRefusal(c.choice.src, CredentialsKey(c.choice.src), status)
	}
	return Token{
		Value: c.choice.carried.AccessToken, Status: statusActive, Epoch: c.choice.Key.Epoch,
		ExpiresAt: c.choice.carried.ExpiresAt,
	}, nil
}

func (c *carriedToken) refused(context.Context, Token) (Token, error) {
	return Token{}, carriedRefusal(c.choice.src, CredentialsKey(c.choice.src), "no longer accepted there")
}

// staticToken is the token of a service account as an admin wrote it down.
type staticToken struct{ choice Choice }

func (s *staticToken) token(context.Context) (Token, error) {
	return Token{Value: s.choice.account.Token, Status: statusActive}, nil
}

func (s *staticToken) refused(context.Context, Token) (Token, error) {
	return Token{}, s.choice.refusal(nil)
}

// accountTokens are the tokens of a service account with an OAuth client: fetched when needed, kept until shortly
// before they expire, by one call at a time for everybody.
type accountTokens struct {
	f      *Factory
	choice Choice
	flight singleflight.Group

	mu       sync.Mutex
	held     Token
	due      time.Time // when to fetch the next one
	failed   error     // of the last fetch, nil after a success
	retry    time.Time // before then no fetch is tried after a failed one
	failures int       // in a row
	forcedAt time.Time // of the last fetch because held was refused
}

const (
	fetchTimeout = 30 * time.Second // of one call to a token endpoint
	forcedEvery  = time.Minute      // at most one fetch in this time because a token was refused
	maxAccounts  = 4096             // whose tokens are kept
)

// accountTokens returns the token source that everybody shares for the service account of c.
func (f *Factory) accountTokens(c Choice) *accountTokens {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := accountKey{c.src.Domain, c.src.Name}
	a := f.accounts[key]
	if a == nil || a.choice.src.Rev < c.src.Rev {
		if len(f.accounts) >= maxAccounts {
			clear(f.accounts) // of sources that came and went: whoever is needed again fetches a token again
		}
		a = &accountTokens{f: f, choice: c}
		f.accounts[key] = a
	}
	if a.choice.src.Rev > c.src.Rev {
		return &accountTokens{f: f, choice: c} // an older pool still draining: its client is not the new one's
	}
	return a
}

func (a *accountTokens) token(ctx context.Context) (Token, error) {
	held, due := a.current()
	if held.Revision > 0 && a.f.cfg.Now().Before(due) {
		return held, nil
	}
	tok, err := a.fetch(ctx, held.Revision)
	if err != nil && held.Revision > 0 && a.f.cfg.Now().Before(held.ExpiresAt) && ctx.Err() == nil {
		return held, nil // still good for a moment; whoever comes next tries again
	}
	return tok, err
}

func (a *accountTokens) refused(ctx context.Context, old Token) (Token, error) {
	a.mu.Lock()
	held, now := a.held, a.f.cfg.Now()
	if held.Revision > old.Revision {
		a.mu.Unlock()
		return held, nil // somebody else fetched one meanwhile
	}
	if !a.forcedAt.IsZero() && now.Sub(a.forcedAt) < forcedEvery {
		a.mu.Unlock()
		return Token{}, a.choice.refusal(nil)
	}
	a.forcedAt = now
	a.mu.Unlock()
	return a.fetch(ctx, old.Revision)
}

func (a *accountTokens) current() (Token, time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.held, a.due
}

// fetch returns a token newer than revision after. One caller makes the call, on a context of its own: another
// one's end must not take the token from those who still wait.
func (a *accountTokens) fetch(ctx context.Context, after int64) (Token, error) {
	result := a.flight.DoChan("", func() (any, error) {
		if held, due := a.current(); held.Revision > after && a.f.cfg.Now().Before(due) {
			return held, nil
		}
		if err := a.waiting(); err != nil {
			return Token{}, err
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		return a.call(ctx)
	})
	select {
	case <-ctx.Done():
		return Token{}, ctx.Err()
	case r := <-result:
		if r.Err != nil {
			return Token{}, r.Err
		}
		return r.Val.(Token), nil
	}
}

func (a *accountTokens) call(ctx context.Context) (Token, error) {
	if a.f.cfg.ClientCredentials == nil {
		return Token{}, errors.New("driverfactory: Config.ClientCredentials is not set, and a service account needs it")
	}
	tok, err := a.f.cfg.ClientCredentials(ctx, *a.choice.account.OAuth)
	if err == nil && tok.Value.Empty() {
		err = errors.New("the token endpoint gave no token")
	}
	if err != nil {
		return Token{}, a.fails(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failed, a.failures = nil, 0
	tok.Status, tok.Epoch, tok.Revision = statusActive, 0, a.held.Revision+1
	a.held, a.due = tok, dueAt(a.f.cfg.Now(), tok.ExpiresAt)
	return tok, nil
}

// fails makes the refusal of a fetch that failed because of err, and leaves the token endpoint alone for a while: 5 s,
// doubling with each failure to 2 min, or as long as it asked for. Statements that come meanwhile get the same refusal
// at once.
func (a *accountTokens) fails(err error) error {
	e := &fault.Error{
		Kind: fault.Unavailable, Code: "service_account_failing", Owner: fault.Admin, Err: err,
		Detail: fmt.Sprintf("The service account of data source %q got no token from its authorization server. "+
			"An admin can check its client id and secret.", a.choice.src.Name),
		Params: map[string]string{"data_source": a.choice.src.Name},
	}
	if said, ok := errors.AsType[*fault.Error](err); ok && said.Detail != "" {
		e.Owner, e.RetryAfter = said.Owner, said.RetryAfter
		e.Detail = fmt.Sprintf("The service account of data source %q got no token: %s.", a.choice.src.Name, said.Detail)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	wait := max(min(5*time.Second<<min(a.failures, 5), 2*time.Minute), e.RetryAfter)
	a.failures++
	e.RetryAfter = wait
	a.failed, a.retry = e, a.f.cfg.Now().Add(wait)
	return e
}

// waiting returns the refusal of the last fetch while the token endpoint is left alone, and else nil.
func (a *accountTokens) waiting() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	left := a.retry.Sub(a.f.cfg.Now())
	if a.failed == nil || left <= 0 {
		return nil
	}
	e, ok := errors.AsType[*fault.Error](a.failed)
	if !ok {
		return a.failed
	}
	again := *e
	again.RetryAfter = left
	return &again
}

// dueAt returns when to fetch the token after one that was received at now and ends at expires: after four fifths of
// its life, so that one failure costs nothing. A token that does not say when it ends is kept for an hour.
func dueAt(now, expires time.Time) time.Time {
	if expires.IsZero() {
		return now.Add(time.Hour)
	}
	return now.Add(expires.Sub(now) * 4 / 5)
}

// refusal says that the source refused the credential of c although everything that could be done was done.
func (c Choice) refusal(cause error) error {
	if c.account != nil {
		return &fault.Error{
			Kind: fault.Unavailable, Code: "service_account_refused", Owner: fault.Admin, Err: cause,
			Detail: fmt.Sprintf("Data source %q refused its service account %q. An admin can replace the credential.",
				c.src.Name, AccountName(c.account)),
			Params: c.params(),
		}
	}
	if c.carried != nil {
		return carriedRefusal(c.src, CredentialsKey(c.src), "no longer accepted there")
	}
	return &fault.Error{
		Kind: fault.ReauthorizationRequired, Owner: fault.User, Err: cause,
		Detail: fmt.Sprintf("Data source %q no longer accepts your authorization, and renewing it did not help. "+
			"Authorize it again; your query is kept.", c.src.Name),
		Params: c.params(),
	}
}

// superseded says that the credential of c is no longer the current one.
func (c Choice) superseded() error {
	return &fault.Error{
		Kind: fault.Conflict, Code: "credential_superseded",
		Detail: fmt.Sprintf("The credential for data source %q was replaced meanwhile. Run the query again.", c.src.Name),
		Params: c.params(),
	}
}

// readOnly says that nothing can be made at the source of c.
func (c Choice) readOnly() error {
	return &fault.Error{
		Kind: fault.Invalid, Code: "source_read_only",
		Detail: fmt.Sprintf("No table can be made in data source %q: a %s is only read.", c.src.Name, c.src.Type),
		Params: c.params(),
	}
}

// params are the facts that a front door needs of a failure under c.
func (c Choice) params() map[string]string {
	p := map[string]string{"data_source": c.src.Name}
	if c.Key.App != "" {
		p["oauth_app"] = c.Key.App
	}
	return p
}
