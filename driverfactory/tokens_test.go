package driverfactory_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/securitycontext"
)

// tokenEndpoint is where a service account with an OAuth client gets its tokens.
type tokenEndpoint struct {
	calls atomic.Int32
	life  time.Duration
	slow  time.Duration
	fails atomic.Bool
	says  *fault.Error // when it fails
}

func (e *tokenEndpoint) grant(ctx context.Context, c driverfactory.ClientCredentials) (driverfactory.Token, error) {
	if c.ClientID != "client" || c.ClientSecret.Reveal() != "secret-of-client" {
		return driverfactory.Token{}, errors.New("wrong client")
	}
	n := e.calls.Add(1)
	select {
	case <-time.After(e.slow):
	case <-ctx.Done():
		return driverfactory.Token{}, ctx.Err()
	}
	if e.fails.Load() && e.says != nil {
		said := *e.says
		return driverfactory.Token{}, &said
	}
	if e.fails.Load() {
		return driverfactory.Token{}, errors.New("invalid_client: secret-of-client")
	}
	return driverfactory.Token{Value: driverfactory.NewSecret(fmt.Sprintf("account-token-%d", n)), ExpiresAt: time.Now().Add(e.life)}, nil
}

func accountSource() driverfactory.Source {
	src := source()
	src.ServiceAccount = &driverfactory.ServiceAccount{OAuth: &driverfactory.ClientCredentials{
		ClientID: "client", ClientSecret: driverfactory.NewSecret("secret-of-client"),
	}}
	return src
}

func withEndpoint(e *tokenEndpoint) func(*driverfactory.Config) {
	return func(c *driverfactory.Config) { c.ClientCredentials = e.grant }
}

func TestTheServiceAccountsTokenIsFetchedOnceAndKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &tokenEndpoint{life: time.Hour, slow: 100 * time.Millisecond}
		w := newWorld(t, &warehouse{}, withEndpoint(e))
		var wg sync.WaitGroup
		for range 10 {
			d := w.open(t, accountSource(), driverfactory.LivenessCheck)
			wg.Go(func() {
				if got, err := query(t.Context(), d, "x"); err != nil || got[0] != "account-token-1" {
					t.Errorf("query = %v, %v; want account-token-1", got, err)
				}
			})
		}
		wg.Wait()
		if n := e.calls.Load(); n != 1 {
			t.Fatalf("%d calls for 10 sessions, want 1", n)
		}
		d := w.open(t, accountSource(), driverfactory.Background)
		time.Sleep(47 * time.Minute)
		if got, err := query(t.Context(), d, "x"); err != nil || got[0] != "account-token-1" {
			t.Errorf("query = %v, %v; want the first token for four fifths of its life", got, err)
		}
		time.Sleep(2 * time.Minute)
		if got, err := query(t.Context(), d, "x"); err != nil || got[0] != "account-token-2" {
			t.Errorf("query = %v, %v; want a second token", got, err)
		}
	})
}

func TestACallersEndDoesNotEndTheFetchOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &tokenEndpoint{life: time.Hour, slow: time.Second}
		w := newWorld(t, &warehouse{}, withEndpoint(e))
		hasty, patient := w.open(t, accountSource(), driverfactory.LivenessCheck), w.open(t, accountSource(), driverfactory.LivenessCheck)
		var wg sync.WaitGroup
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			_, err := query(ctx, hasty, "x")
			wantFault(t, err, fault.Timeout, "query_timeout")
		})
		wg.Go(func() {
			time.Sleep(time.Millisecond)
			if _, err := query(t.Context(), patient, "x"); err != nil {
				t.Errorf("the one who waited: %v", err)
			}
		})
		wg.Wait()
		if n := e.calls.Load(); n != 1 {
			t.Errorf("%d calls, want 1", n)
		}
	})
}

func TestAFailingEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &tokenEndpoint{life: 10 * time.Minute}
		w := newWorld(t, &warehouse{}, withEndpoint(e))
		d := w.open(t, accountSource(), driverfactory.LivenessCheck)
		if _, err := query(t.Context(), d, "x"); err != nil {
			t.Fatal(err)
		}
		e.fails.Store(true)
		time.Sleep(9*time.Minute + 30*time.Second)
		if _, err := query(t.Context(), d, "x"); err != nil {
			t.Errorf("with a token that is due but alive: %v, want nil", err)
		}
		time.Sleep(time.Minute)
		_, err := query(t.Context(), d, "x")
		if e := wantFault(t, err, fault.Unavailable, "service_account_failing"); e.Owner != fault.Admin {
			t.Errorf("owner = %q, want admin", e.Owner)
		}
	})
}

func TestAFailingEndpointIsLeftAloneForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &tokenEndpoint{life: time.Hour}
		e.fails.Store(true)
		e.says = &fault.Error{Kind: fault.Unavailable, Owner: fault.Provider, RetryAfter: 30 * time.Second, Detail: "its authorization server asks to wait"}
		w := newWorld(t, &warehouse{}, withEndpoint(e))
		d := w.open(t, accountSource(), driverfactory.LivenessCheck)
		fails := func(calls int32, retry time.Duration) {
			t.Helper()
			_, err := query(t.Context(), d, "x")
			f := wantFault(t, err, fault.Unavailable, "service_account_failing")
			if f.Owner != fault.Provider || f.RetryAfter != retry || !strings.Contains(f.Detail, "got no token: its authorization server asks to wait.") {
				t.Errorf("refusal %q of %s, again after %v; want the endpoint's own reason after %v", f.Detail, f.Owner, f.RetryAfter, retry)
			}
			if n := e.calls.Load(); n != calls {
				t.Errorf("%d calls, want %d", n, calls)
			}
		}
		fails(1, 30*time.Second)
		time.Sleep(10 * time.Second)
		fails(1, 20*time.Second) // it was asked to wait, and waits
		time.Sleep(20 * time.Second)
		e.says.RetryAfter = 0
		fails(2, 10*time.Second)
		time.Sleep(10 * time.Second)
		fails(3, 20*time.Second)
		time.Sleep(20 * time.Second)
		e.fails.Store(false)
		if _, err := query(t.Context(), d, "x"); err != nil {
			t.Errorf("when it answers again: %v", err)
		}
	})
}

func TestARefusedTokenOfTheServiceAccountIsFetchedAgainOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &tokenEndpoint{life: time.Hour}
		w := newWorld(t, &warehouse{atLogin: true}, withEndpoint(e))
		d := w.open(t, accountSource(), driverfactory.LivenessCheck)
		w.answer(func(c *fakeConn, _ string) ([][]driver.Value, error) {
			if c.token == "account-token-1" {
				return nil, errAuth
			}
			return [][]driver.Value{{c.token}}, nil
		})
		if got, err := query(t.Context(), d, "x"); err != nil || got[0] != "account-token-2" {
			t.Fatalf("query = %v, %v; want the token fetched after the refusal", got, err)
		}
		w.answer(func(*fakeConn, string) ([][]driver.Value, error) { return nil, errAuth })
		for range 5 {
			_, err := query(t.Context(), d, "x")
			wantFault(t, err, fault.Unavailable, "service_account_refused")
		}
		if n := e.calls.Load(); n != 2 {
			t.Errorf("%d calls within a minute, want 2", n)
		}
	})
}

func TestAnEditedServiceAccountGetsItsOwnToken(t *testing.T) {
	e := &tokenEndpoint{life: time.Hour}
	w := newWorld(t, &warehouse{}, withEndpoint(e))
	first := w.open(t, accountSource(), driverfactory.LivenessCheck)
	edited := accountSource()
	edited.Rev++
	second := w.open(t, edited, driverfactory.LivenessCheck)
	for d, want := range map[driverfactory.Driver]bool{first: true, second: true} {
		if got, err := query(t.Context(), d, "x"); (err == nil) != want {
			t.Errorf("query = %v, %v", got, err)
		}
	}
	if n := e.calls.Load(); n != 2 {
		t.Errorf("%d calls for two revisions of the account, want 2", n)
	}
}

func TestACarriedTokenIsUsedUntilItsEnd(t *testing.T) {
	now := epoch
	w := newWorld(t, &warehouse{atLogin: true}, func(c *driverfactory.Config) { c.Now = func() time.Time { return now } })
	sc := alice
	sc.Credentials = map[string]securitycontext.Credential{
		"fake": {AccessToken: driverfactory.NewSecret("carried-token"), Status: "active", ExpiresAt: epoch.Add(time.Minute)},
	}
	src := source()
	src.OAuthApp = ""
	choice, err := w.factory.Choose(t.Context(), sc, src, driverfactory.UserQuery)
	if err != nil {
		t.Fatal(err)
	}
	d, err := w.factory.Open(choice)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got, err := query(t.Context(), d, "x"); err != nil || got[0] != "carried-token" {
		t.Fatalf("query = %v, %v; want carried-token", got, err)
	}
	w.answer(func(*fakeConn, string) ([][]driver.Value, error) { return nil, errAuth })
	_, err = query(t.Context(), d, "x")
	wantFault(t, err, fault.ReauthorizationRequired, "reauthorization_required")
	now = epoch.Add(time.Minute)
	_, err = query(t.Context(), d, "x")
	wantFault(t, err, fault.ReauthorizationRequired, "reauthorization_required")
}

// TestNoHistoryLetsTheServiceAccountStandIn plays random histories of a grant and a JWT at a source that denies: the
// service account never answers, whatever happens in whatever order, and nobody's token but alice's current one does.
func TestNoHistoryLetsTheServiceAccountStandIn(t *testing.T) {
	const account = "the-service-account"
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 0))
		w := newWorld(t, &warehouse{atLogin: r.IntN(2) == 0}, nil)
		w.grants.OnRefused(func(old driverfactory.Token) (driverfactory.Token, error) {
			if r.IntN(3) == 0 {
				return driverfactory.Token{}, refusal(fault.ReauthorizationRequired, "", "revoked")
			}
			return tok(old.Epoch, old.Revision+1), nil
		})
		w.answer(func(c *fakeConn, _ string) ([][]driver.Value, error) {
			switch r.IntN(12) {
			case 0:
				return nil, errAuth
			case 1:
				return nil, errDenied
			case 2:
				return nil, errLost
			case 3:
				return nil, errTransport
			}
			return [][]driver.Value{{c.token}}, nil
		})
		src := source()
		src.ServiceAccount = &driverfactory.ServiceAccount{Token: driverfactory.NewSecret(account)}
		current := tok(1, 1)
		for range 20 {
			sc := alice
			switch r.IntN(8) {
			case 0:
				current = tok(current.Epoch+1, current.Revision+1)
				w.grants.Set(current)
			case 1:
				w.grants.Refuse(grants[3+r.IntN(len(grants)-3)].err)
			case 2:
				sc.Credentials = map[string]securitycontext.Credential{"fake": {AccessToken: driverfactory.NewSecret("carried"), Status: "active"}}
			case 3:
				sc.Principal = driverfactory.Principal{}
			}
			choice, err := w.factory.Choose(t.Context(), sc, src, driverfactory.UserQuery)
			if err != nil {
				continue
			}
			d, err := w.factory.Open(choice)
			if err != nil {
				t.Fatal(err)
			}
			got, err := query(t.Context(), d, "x")
			_ = d.Close()
			if choice.Key.Service || err == nil && len(got) == 1 && got[0] == account {
				t.Fatalf("seed %d: the service account answered a person's query: %+v", seed, choice.RunAs)
			}
		}
	}
}
