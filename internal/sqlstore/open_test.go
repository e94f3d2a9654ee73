package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/sqlstore"
	"github.com/behalf-project/behalf/internal/sqlstore/postgrestest"
	"github.com/behalf-project/behalf/internal/sqlstore/ramdisk"
	"github.com/behalf-project/behalf/internal/users"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(killedURL); url != "" {
		fmt.Fprintln(os.Stderr, recordUntilKilled(url, os.Getenv(killedKeyset)))
		os.Exit(1)
	}
	os.Exit(postgrestest.Run(m))
}

// location is where a store is that can be opened again: its URL and its keyset file.
type location struct{ url, keyset string }

func newLocation(t *testing.T, url string) location {
	folder := ramdisk.TempDir(t)
	if url == "" {
		url = "sqlite:" + filepath.Join(folder, "behalf.db")
	}
	return location{url, filepath.Join(folder, "behalf.keys.json")}
}

// eachLocation runs a test for a new store of each database.
func eachLocation(t *testing.T, test func(*testing.T, location)) {
	t.Parallel()
	t.Run("SQLite", func(t *testing.T) { t.Parallel(); test(t, newLocation(t, "")) })
	t.Run("Postgres", func(t *testing.T) { t.Parallel(); test(t, newLocation(t, postgrestest.URL(t))) })
}

// with opens the store, runs f and closes it again.
func (l location) with(t *testing.T, f func(*sqlstore.DB)) {
	t.Helper()
	db, err := l.open(t.Context())
	if err != nil {
		t.Fatalf("Open = %v, want no error", err)
	}
	f(db)
	if err := db.Close(); err != nil {
		t.Errorf("Close = %v, want no error", err)
	}
}

func (l location) open(ctx context.Context) (*sqlstore.DB, error) {
	return sqlstore.Open(ctx, sqlstore.Config{URL: l.url, Keyset: l.keyset})
}

// refused checks that the store does not open, for a reason of this kind that says all of words.
func (l location) refused(t *testing.T, want fault.Kind, words ...string) {
	t.Helper()
	db, err := l.open(t.Context())
	if err == nil {
		db.Close()
	}
	if err == nil || fault.KindOf(err) != want {
		t.Errorf("Open = %v, want %q", err, want)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("Open = %q, want it to say %q", err, w)
		}
	}
}

func TestAStoreKeepsWhatItWasGiven(t *testing.T) {
	eachLocation(t, func(t *testing.T, l location) {
		var id string
		l.with(t, func(db *sqlstore.DB) {
			if err := db.Ping(t.Context()); err != nil {
				t.Errorf("Ping = %v, want no error", err)
			}
			id = person(t, db, "alice")
		})
		l.with(t, func(db *sqlstore.DB) {
			if u, err := db.Users().GetUser(t.Context(), id); err != nil || u.Username != "alice" {
				t.Errorf("GetUser = %q, %v, want alice", u.Username, err)
			}
		})
	})
}

func TestTheDefaultDomainIsThereFromTheStart(t *testing.T) {
	onBoth(t, func(t *testing.T, db *sqlstore.DB) {
		for _, ref := range []string{"default", "dom_00000000000000000000000000"} {
			d, err := db.Domains().GetDomain(t.Context(), ref)
			if err != nil || d.Name != "default" || d.ID != "dom_00000000000000000000000000" {
				t.Errorf("GetDomain(%q) = %+v, %v, want the default domain", ref, d, err)
			}
		}
		for _, ref := range []string{"none", "dom_none", ""} {
			if _, err := db.Domains().GetDomain(t.Context(), ref); !errors.Is(err, fault.NotFound) {
				t.Errorf("GetDomain(%q) = %v, want not_found", ref, err)
			}
		}
		all, err := db.Domains().ListDomains(t.Context())
		if err != nil || len(all) != 1 {
			t.Errorf("ListDomains = %+v, %v, want the default domain", all, err)
		}
	})
}

func TestReplicasMayStartTogether(t *testing.T) {
	t.Parallel()
	l := newLocation(t, postgrestest.URL(t))
	dbs, errs := make([]*sqlstore.DB, 4), make([]error, 4)
	var wg sync.WaitGroup
	for i := range dbs {
		wg.Go(func() { dbs[i], errs[i] = l.open(t.Context()) })
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			t.Errorf("Open of replica %d = %v, want no error", i, err)
			continue
		}
		defer dbs[i].Close()
	}
	if t.Failed() {
		return
	}
	// What one sealed, another opens: they agree on the data keys.
	place := secret.Place{Table: "t", ID: "1"}
	sealed, err := dbs[0].Keyring().Seal(secret.New("hunter2"), place)
	if err != nil {
		t.Fatal(err)
	}
	for i, db := range dbs {
		if got, err := db.Keyring().Open(sealed, place); err != nil || got.Reveal() != "hunter2" {
			t.Errorf("replica %d does not open what the first sealed: %v", i, err)
		}
	}
}

func TestASecondProcessIsKeptOffASQLiteFile(t *testing.T) {
	t.Parallel()
	l := newLocation(t, "")
	l.with(t, func(db *sqlstore.DB) {
		l.refused(t, fault.Conflict, "in use by another process", "Postgres")
		if err := db.Ping(t.Context()); err != nil {
			t.Errorf("Ping = %v, want the first to go on", err)
		}
	})
	l.with(t, func(*sqlstore.DB) {}) // it lets go
}

func TestASQLiteFileIsForItsOwnerOnly(t *testing.T) {
	t.Parallel()
	// A name that means something else in a URL.
	l := newLocation(t, "sqlite:"+filepath.Join(t.TempDir(), "50% #1 &x=y.db"))
	l.with(t, func(db *sqlstore.DB) {
		person(t, db, "alice")
		files, err := filepath.Glob(filepath.Join(filepath.Dir(strings.TrimPrefix(l.url, "sqlite:")), "50% #1 &x=y.db*"))
		if err != nil || len(files) < 3 {
			t.Fatalf("files = %q, %v, want the database, its -wal, its -shm and its lock", files, err)
		}
		for _, f := range files {
			if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("mode of %s = %v, %v, want 0600", filepath.Base(f), info.Mode(), err)
			}
		}
	})
}

func TestAURLThatCannotBeOpenedIsRefusedWithoutItsPassword(t *testing.T) {
	t.Parallel()
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close() // its port is closed now
	notSQLite := filepath.Join(t.TempDir(), "text.db")
	if err := os.WriteFile(notSQLite, []byte(strings.Repeat("not a database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	server, err := url.Parse(postgrestest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	server.User = url.UserPassword("behalf", "hunter2")
	for _, tt := range []struct {
		name, url string
		want      fault.Kind
	}{
		{"nothing", "", fault.Invalid},
		{"another database", "mysql://behalf:hunter2@db/behalf", fault.Invalid},
		{"no file", "sqlite:", fault.Invalid},
		{"a database in memory", "sqlite::memory:", fault.Invalid},
		{"a SQLite URL with a host", "sqlite://host/hunter2.db", fault.Invalid},
		{"a SQLite URL with parameters", "sqlite:behalf.db?mode=ro", fault.Invalid},
		{"a folder that is not there", "sqlite:" + filepath.Join(t.TempDir(), "none", "behalf.db"), fault.Unavailable},
		{"a file that is no database", "sqlite:" + notSQLite, fault.Unavailable},
		{"a broken Postgres URL", "postgres://behalf:hunter2@db:port/behalf", fault.Invalid},
		{"a Postgres that is not there", "postgres://behalf:hunter2@" + nobody.Addr().String() + "/behalf", fault.Unavailable},
		{"a wrong password", server.String(), fault.Unavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLocation(t, tt.url)
			l.url = tt.url
			db, err := l.open(t.Context())
			if err == nil {
				db.Close()
			}
			if fault.KindOf(err) != tt.want {
				t.Fatalf("Open = %v (kind %q), want %q", err, fault.KindOf(err), tt.want)
			}
			e, _ := errors.AsType[*fault.Error](err)
			if said := err.Error() + " " + causes(e); strings.Contains(said, ":hunter2") || strings.Contains(said, "hunter2@") {
				t.Errorf("the error holds the password: %s", said)
			}
		})
	}
}

func TestAPostgresWithoutAConnectionLeftIsNotCalledAWrongPassword(t *testing.T) {
	t.Parallel()
	l := newLocation(t, postgrestest.URL(t))
	l.with(t, func(db *sqlstore.DB) {
		db.Writer().MustExec("CREATE ROLE crowded LOGIN PASSWORD 'hunter2' CONNECTION LIMIT 0")
	})
	u, err := url.Parse(l.url)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("crowded", "hunter2")
	l.url = u.String()
	db, err := l.open(t.Context())
	if err == nil {
		db.Close()
	}
	if !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "has no connection left") || !strings.Contains(err.Error(), "max_connections") {
		t.Errorf("Open = %v, want it to name max_connections", err)
	}
}

func causes(e *fault.Error) string {
	if e == nil || e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

func TestAMethodWithoutADeadlineGetsOne(t *testing.T) {
	t.Parallel()
	l := newLocation(t, "")
	l.with(t, func(db *sqlstore.DB) {
		ctx, cancel := sqlstore.Bounded(t.Context())
		defer cancel()
		if _, ok := ctx.Deadline(); !ok {
			t.Error("a context without a deadline was given none")
		}
		want := time.Now().Add(time.Hour)
		mine, cancel := context.WithDeadline(t.Context(), want)
		defer cancel()
		ctx, cancel = sqlstore.Bounded(mine)
		defer cancel()
		if got, _ := ctx.Deadline(); !got.Equal(want) {
			t.Errorf("deadline = %v, want the caller's %v", got, want)
		}
	})
}

func TestACallerWhoWaitsForTheWriterHearsTheirDeadline(t *testing.T) {
	onBoth(t, func(t *testing.T, db *sqlstore.DB) {
		id := person(t, db, "alice")
		tx := db.Writer().MustBegin() // and somebody does not finish
		tx.MustExec("UPDATE users SET origin = 'held'")
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := db.Users().PutUser(ctx, users.User{ID: id, Username: "alice", Rev: 1}, users.Ending{}, entry)
		if !errors.Is(err, fault.Timeout) {
			t.Errorf("PutUser = %v, want timeout", err)
		}
		if _, err := db.Users().GetUser(t.Context(), id); err != nil {
			t.Errorf("GetUser = %v, want readers to go on", err)
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Users().PutUser(t.Context(), users.User{ID: id, Username: "alice", Rev: 1}, users.Ending{}, entry); err != nil {
			t.Errorf("PutUser = %v, want no error once the writer is free", err)
		}
	})
}

func TestABusySQLiteFileIsWaitedFor(t *testing.T) {
	t.Parallel()
	l := newLocation(t, "")
	l.with(t, func(db *sqlstore.DB) {
		// The lock keeps out Behalf, not the sqlite3 shell of an operator.
		shell := sqlstore.Shell(t, strings.TrimPrefix(l.url, "sqlite:"))
		shell.MustExec("BEGIN IMMEDIATE")
		done := make(chan error)
		go func() {
			_, err := db.Users().PutUser(t.Context(), users.User{Username: "alice"}, users.Ending{}, entry)
			done <- err
		}()
		select {
		case err := <-done:
			t.Fatalf("PutUser = %v, want it to wait", err)
		case <-time.After(1100 * time.Millisecond): // longer than SQLite itself waits
		}
		shell.MustExec("ROLLBACK")
		if err := <-done; err != nil {
			t.Errorf("PutUser = %v, want no error once the file is free", err)
		}
	})
}

func TestAStoreSurvivesTheLossOfItsConnections(t *testing.T) {
	t.Parallel()
	l := newLocation(t, postgrestest.URL(t))
	l.with(t, func(db *sqlstore.DB) {
		id := person(t, db, "alice")
		operator := newLocation(t, l.url)
		operator.keyset = l.keyset
		operator.with(t, func(other *sqlstore.DB) {
			for i := range 5 {
				var busy sync.WaitGroup // so that the pool holds several connections
				for range 8 {
					busy.Go(func() { _, _ = db.Writer().Exec("SELECT pg_sleep(0.05)") })
				}
				busy.Wait()
				other.Writer().MustExec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
				// The first to meet it reads, or writes.
				read := func() {
					if _, err := db.Users().GetUser(t.Context(), id); err != nil {
						t.Errorf("GetUser = %v, want it over another connection", err)
					}
				}
				if i%2 == 0 {
					read()
				}
				if err := db.Audit().Record(t.Context(), entry); err != nil {
					t.Errorf("Record = %v, want it over another connection", err)
				}
				read()
			}
		})
		if _, err := db.Users().GetUser(t.Context(), id); err != nil {
			t.Errorf("GetUser = %v, want no error", err)
		}
	})
}

func TestDeadlocksAreRetried(t *testing.T) {
	t.Parallel()
	l := newLocation(t, postgrestest.URL(t))
	l.with(t, func(db *sqlstore.DB) {
		// Two people who swap their names lock each other's row in opposite order, again and again.
		a, b := person(t, db, "a"), person(t, db, "b")
		var wg sync.WaitGroup
		errs := make([]error, 2)
		for i, order := range [][]string{{a, b}, {b, a}} {
			wg.Go(func() {
				for range 10 {
					if err := db.TouchUsers(t.Context(), order); err != nil {
						errs[i] = err
					}
				}
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Errorf("transactions that deadlock = %v, want them retried", err)
		}
	})
}
