package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/connectedapps/connectedappstest"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/domains"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/jobs"
	"github.com/behalf-project/behalf/internal/notify"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/internal/sqlstore"
)

// G10 of broker.md: one app for everybody, in one transaction, and everybody has heard when it returns. How long that takes
// is printed; the goal is two seconds for the 10,000 people of the benchmark.
func TestManyPeopleLoseAccessAtOnce(t *testing.T) {
	for _, database := range databases {
		t.Run(database.name, func(t *testing.T) {
			const people = 2_000
			t.Logf("%d grants ended in %s", people, contain(t, database.open, people))
		})
	}
}

// Whichever commits first, a consent that was under way when everything was revoked leaves no grant.
func TestAConsentBesideARevocationLeavesNoGrant(t *testing.T) {
	eachDatabase(t, func(t *testing.T, open opener) {
		db := withApps(t, open)
		k := connectedapps.Key{Principal: securitycontext.Principal{Realm: securitycontext.Local, Subject: "usr_alice"}, AppID: connectedappstest.Apps[0]}
		connected, refused := 0, 0
		for i := range 40 {
			a := connectedapps.Authorization{
				ID: fmt.Sprint("cs_", i), Principal: k.Principal, AppID: k.AppID, CreatedAt: noon, ExpiresAt: noon.Add(10 * time.Minute),
			}
			err := db.Authorizations().CreateAuthorization(t.Context(), a)
			a.Browser, a.StateHash = "browser", fmt.Sprint("state ", i)
			err = errors.Join(err, db.Authorizations().BeginAuthorization(t.Context(), a, noon))
			_, taken := db.Authorizations().TakeAuthorization(t.Context(), a.StateHash, noon)
			if err = errors.Join(err, taken); err != nil {
				t.Fatal(err)
			}
			var both sync.WaitGroup
			both.Go(func() {
				_, err = db.Grants().Connect(t.Context(), connectedapps.Grant{Key: k, Domain: domains.DefaultID, AccessToken: secret.New("a")}, a.ID, entry)
			})
			var revoked error
			both.Go(func() {
				_, revoked = db.Grants().Revoke(t.Context(), connectedapps.Revocation{ID: fmt.Sprint("rev_", i), Scope: connectedapps.Scope{Everything: true}, CreatedAt: noon}, -1,
					func(connectedapps.Grant) (jobs.Job, bool) { return jobs.Job{}, false }, entry, func(connectedapps.Grant) audit.Entry { return entry })
			})
			both.Wait()
			switch {
			case err == nil:
				connected++
			case errors.Is(err, fault.Gone):
				refused++
			default:
				t.Fatalf("Connect = %v, want no error or gone", err)
			}
			if revoked != nil {
				t.Fatalf("Revoke = %v", revoked)
			}
			if _, err := db.Grants().Get(t.Context(), k); !errors.Is(err, fault.NotFound) {
				t.Fatalf("after %d consents that were first and %d that were not, a grant is left: %v", connected, refused, err)
			}
		}
		t.Logf("%d consents were first, %d were not", connected, refused)
	})
}

func BenchmarkTenThousandPeopleLoseAccess(b *testing.B) {
	for _, database := range databases {
		b.Run(database.name, func(b *testing.B) {
			for range b.N {
				b.ReportMetric(contain(b, database.open, 10_000).Seconds(), "s/revocation")
			}
		})
	}
}

// contain revokes an app that people are connected through, and returns how long that took.
func contain(t testing.TB, open opener, people int) time.Duration {
	t.Helper()
	db := withApps(t, open)
	crowd(t, db, people)
	news := 0
	db.News().Subscribe(func(n notify.News) {
		if n.Topic == notify.GrantChanged && n.Revoked {
			news++
		}
	})
	act := connectedapps.Revocation{ID: "rev_1", Scope: connectedapps.Scope{AppID: connectedappstest.Apps[0]}, CreatedAt: noon}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // of a busy machine, under the race detector
	defer cancel()
	began := time.Now()
	r, err := db.Grants().Revoke(ctx, act, people,
		func(g connectedapps.Grant) (jobs.Job, bool) {
			return jobs.Job{Kind: "revocation", Key: g.ID, Lane: g.Key.AppID, Batch: "rev_1", Secret: g.RefreshToken}, true
		},
		audit.Entry{Action: audit.Contained, Object: "rev_1"},
		func(g connectedapps.Grant) audit.Entry {
			return audit.Entry{Action: audit.GrantRevoked, Outcome: "ok", Detail: map[string]string{"oauth_app": "a", "principal": g.Key.Principal.Subject}}
		})
	took := time.Since(began)
	if err != nil || r.Grants != people || r.People != people || r.Queued != people || news != people {
		t.Fatalf("Revoke = %+v, %v, and %d were told", r, err, news)
	}
	if n, err := db.Jobs().Count(t.Context(), "revocation", "rev_1"); err != nil || n.Waiting != people {
		t.Errorf("%+v wait, %v", n, err)
	}
	return took
}

// crowd gives n people a grant of the first app, with tokens of their own.
func crowd(t testing.TB, db *sqlstore.DB, n int) {
	t.Helper()
	one := connectedapps.Grant{
		Key:    connectedapps.Key{Principal: securitycontext.Principal{Realm: securitycontext.Local, Subject: "usr_x"}, AppID: connectedappstest.Apps[0]},
		Domain: domains.DefaultID, AccessToken: secret.New("access"), RefreshToken: secret.New("refresh"), ConnectedAt: noon, Scopes: []string{"sql"},
	}
	if err := db.FillGrants(t.Context(), one, n); err != nil {
		t.Fatal(err)
	}
}

func TestRevocations(t *testing.T) {
	eachDatabase(t, func(t *testing.T, open opener) {
		connectedappstest.TestRevocationStore(t, func(t *testing.T) connectedappstest.RevocationStore { return withApps(t, open).Grants() })
	})
}
