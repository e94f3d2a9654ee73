package sqlstore_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/connectedapps/connectedappstest"
	"github.com/behalf-project/behalf/internal/anomaly"
	"github.com/behalf-project/behalf/internal/anomaly/anomalytest"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/authserver"
	"github.com/behalf-project/behalf/internal/authserver/authservertest"
	"github.com/behalf-project/behalf/internal/caps/capstest"
	"github.com/behalf-project/behalf/internal/domains"
	"github.com/behalf-project/behalf/internal/event/eventtest"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/jobs"
	"github.com/behalf-project/behalf/internal/jobs/jobstest"
	"github.com/behalf-project/behalf/internal/session/sessiontest"
	"github.com/behalf-project/behalf/internal/sqlstore"
	"github.com/behalf-project/behalf/internal/sqlstore/sqlstoretest"
	"github.com/behalf-project/behalf/internal/tokens/tokenstest"
	"github.com/behalf-project/behalf/internal/users"
	"github.com/behalf-project/behalf/internal/users/userstest"
	"github.com/behalf-project/behalf/oauthapps"
	"github.com/behalf-project/behalf/oauthapps/oauthappstest"
	"github.com/behalf-project/behalf/orchestrator"
	"github.com/behalf-project/behalf/orchestrator/orchestratortest"
)

var entry = audit.Entry{Actor: "system", Action: audit.UserDeclared, Outcome: "ok"}

// opener opens an empty store that lives until the test ends.
type opener func(testing.TB, func() time.Time) *sqlstore.DB

// databases are the ones that a store may be on.
var databases = []struct {
	name string
	open opener
}{
	{"SQLite", sqlstoretest.OpenSQLite},
	{"Postgres", sqlstoretest.OpenPostgres},
}

// eachDatabase runs a test for SQLite and for Postgres.
func eachDatabase(t *testing.T, test func(t *testing.T, open opener)) {
	t.Parallel()
	for _, database := range databases {
		t.Run(database.name, func(t *testing.T) {
			t.Parallel()
			test(t, database.open)
		})
	}
}

// onBoth runs a test on an empty store of each database.
func onBoth(t *testing.T, test func(*testing.T, *sqlstore.DB)) {
	eachDatabase(t, func(t *testing.T, open opener) { test(t, open(t, nil)) })
}

// withApps opens a store that knows the apps of connectedappstest.
func withApps(t testing.TB, open opener) *sqlstore.DB {
	db := open(t, nil)
	for _, id := range connectedappstest.Apps {
		a := oauthapps.App{ID: id, Domain: domains.DefaultID, Name: id, Slug: id[len("oap_"):], ClientID: "client"}
		if _, err := db.OAuthApps().CreateApp(t.Context(), a, entry); err != nil {
			t.Fatalf("CreateApp = %v, want no error", err)
		}
	}
	return db
}

func TestGrants(t *testing.T) {
	eachDatabase(t, func(t *testing.T, open opener) {
		connectedappstest.TestStore(t, func(t *testing.T) connectedapps.Store { return withApps(t, open).Grants() })
	})
}

func TestRefresh(t *testing.T) {
	eachDatabase(t, func(t *testing.T, open opener) {
		connectedappstest.TestRefreshStore(t, func(t *testing.T) connectedappstest.GrantStore { return withApps(t, open).Grants() })
	})
}

func TestBaselines(t *testing.T) {
	eachDatabase(t, func(t *testing.T, open opener) {
		anomalytest.TestStore(t, func(t *testing.T) anomaly.Store { return open(t, nil).Baselines() })
	})
}

func TestSourceTables(t *testing.T) {
	eachDatabase(t, func(t *testing.T, open opener) {
		orchestratortest.TestSourceTables(t, func(t *testing.T) orchestrator.SourceTables { return open(t, nil).SourceTables() })
	})
}

func TestTablesOfWhoDoesNotComeBackAreForgotten(t *testing.T) {
	onBoth(t, func(t *testing.T, db *sqlstore.DB) {
		s := db.SourceTables()
		begin := func(holder, name string, at time.Time) {
			t.Helper()
			of := orchestrator.SourceRollup{Holder: holder, Scope: "s", Structure: "r"}
			if err := s.Begin(t.Context(), of, orchestrator.SourceTable{Schema: "s", Name: name}, at, at.Add(time.Hour), 10); err != nil {
				t.Fatal(err)
			}
		}
		begin("alice", "a", noon)
		begin("bob", "b", noon.AddDate(0, 6, 0))
		begin("carol", "c", noon.AddDate(0, 14, 0))
		var names []string
		if err := db.Writer().Select(&names, "SELECT name FROM source_tables ORDER BY name"); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"b", "c"}, names); diff != "" {
			t.Errorf("what is kept (-want +got):\n%s", diff)
		}
	})
}

func TestEvents(t *testing.T) {
	eachDatabase(t, func(t *testing.T, open opener) {
		eventtest.TestStore(t, func(t *testing.T) eventtest.Opened {
			db := open(t, nil)
			return eventtest.Opened{Store: db.Events(), Jobs: db.Jobs()}
		})
	})
}

func TestAuthorizations(t *testing.T) {
	eachDatabase(t, func(t *testing.T, open opener) {
		connectedappstest.TestAuthorizationStore(t, func(t *testing.T) connectedapps.AuthorizationStore {
			return withApps(t, open).Authorizations()
		})
	})
}

func TestOAuthApps(t *testing.T) {
	eachDatabase(t, func(t *testing.T, open opener) {
		oauthappstest.TestStore(t, func(t *testing.T) oauthappstest.Stores {
			db := open(t, nil)
			db.Writer().MustExec("INSERT INTO domains (id, name, created_at, rev) VALUES ('" + oauthappstest.OtherDomain + "', 'other', 0, 1)")
			return oauthappstest.Stores{Apps: db.OAuthApps(), Grants: db.Grants()}
		})
	})
}

func TestUsers(t *testing.T) {
	eachDatabase(t, func(t *testing.T, open opener) {
		userstest.TestStore(t, func(t *testing.T) users.Store { return open(t, nil).Users() })
	})
}

func TestSessions(t *testing.T) {
	eachDatabase(t, func(t *testing.T, open opener) {
		sessiontest.TestStore(t, func(t *testing.T) sessiontest.Opened {
			db := open(t, nil)
			return sessiontest.Opened{Store: db.Sessions(), Alice: person(t, db, "alice"), Bob: person(t, db, "bob")}
		})
	})
}

func TestTokens(t *testing.T) {
	eachDatabase(t, func(t *testing.T, open opener) {
		tokenstest.TestStore(t, func(t *testing.T) tokenstest.Opened {
			db := open(t, nil)
			return tokenstest.Opened{
				Store: db.Tokens(), Alice: person(t, db, "alice"), Bob: person(t, db, "bob"), Bus: db.News(),
				Disable: func(id string) error {
					u, err := db.Users().GetUser(t.Context(), id)
					if err != nil {
						return err
					}
					u.Disabled = true
					_, err = db.Users().PutUser(t.Context(), u, users.Ending{}, entry)
					return err
				},
				Entries: func() ([]audit.Entry, error) { return db.Audit().List(t.Context(), 10) },
			}
		})
	})
}

func TestDevices(t *testing.T) {
	eachDatabase(t, func(t *testing.T, open opener) {
		authservertest.TestDevices(t, programs(open))
	})
}

func TestCodes(t *testing.T) {
	eachDatabase(t, func(t *testing.T, open opener) {
		authservertest.TestCodes(t, programs(open))
	})
}

// programs opens the stores of the authorization server.
func programs(open opener) func(t *testing.T) authservertest.Opened {
	return func(t *testing.T) authservertest.Opened {
		db := open(t, nil)
		return authservertest.Opened{Devices: db.Devices(), Codes: db.Codes(), Alice: person(t, db, "alice"), Bob: person(t, db, "bob")}
	}
}

// person makes somebody and returns their id.
func person(t *testing.T, db *sqlstore.DB, name string) string {
	u, err := db.Users().PutUser(t.Context(), users.User{Username: name}, users.Ending{}, entry)
	if err != nil {
		t.Fatalf("PutUser = %v, want no error", err)
	}
	return u.ID
}

func TestJobs(t *testing.T) {
	eachDatabase(t, func(t *testing.T, open opener) {
		jobstest.TestStore(t, func(t *testing.T) jobs.Store { return open(t, nil).Jobs() })
	})
}

func TestShares(t *testing.T) {
	eachDatabase(t, func(t *testing.T, open opener) {
		capstest.TestStore(t, func(t *testing.T) capstest.Opened {
			db := open(t, nil)
			return capstest.Opened{Store: db.Shares(), News: db.News()}
		})
	})
}

func TestAPollThatNobodyWaitsForCostsNoWrite(t *testing.T) {
	db := sqlstoretest.OpenSQLite(t, nil)
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	d := authserver.Device{ID: "dev_1", DeviceHash: "old", UserCodeHash: "user", CreatedAt: now.Add(-time.Hour), ExpiresAt: now, Interval: time.Second}
	if err := db.Devices().CreateDevice(t.Context(), d, 10); err != nil {
		t.Fatal(err)
	}
	hasty := d
	hasty.ID, hasty.DeviceHash, hasty.UserCodeHash, hasty.ExpiresAt, hasty.Interval = "dev_2", "hasty", "another", now.Add(time.Hour), time.Minute
	if err := db.Devices().CreateDevice(t.Context(), hasty, 10); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Devices().PollDevice(t.Context(), "hasty", now); err != nil {
		t.Fatal(err)
	}
	tx := db.Writer().MustBegin() // whoever writes now waits for it
	defer func() { _ = tx.Rollback() }()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := db.Devices().PollDevice(ctx, "none", now); !errors.Is(err, fault.NotFound) {
		t.Errorf("PollDevice with an unknown code = %v, want not_found", err)
	}
	if got, err := db.Devices().PollDevice(ctx, "old", now); err != nil || !got.Over(now) {
		t.Errorf("PollDevice with a code that is over = %+v, %v, want it as it is", got, err)
	}
	if got, err := db.Devices().PollDevice(ctx, "hasty", now.Add(time.Second)); err != nil || !got.TooEarly(now.Add(time.Second)) {
		t.Errorf("PollDevice of who cannot be slowed down any more = %+v, %v, want it as it is", got, err)
	}
}
