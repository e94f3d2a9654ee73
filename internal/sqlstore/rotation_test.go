package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jmoiron/sqlx"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/keys"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/internal/sqlstore"
	"github.com/behalf-project/behalf/internal/sqlstore/postgrestest"
)

// admin is who rotates.
var admin = audit.Entry{Actor: "usr_admin"}

// connect stores n grants of an app of plant, of people p0, p1, …
func connect(t testing.TB, db *sqlstore.DB, app string, n int) []connectedapps.Key {
	t.Helper()
	all := make([]connectedapps.Key, n)
	for i := range all {
		all[i] = connectedapps.Key{Principal: securitycontext.Principal{Realm: securitycontext.Local, Subject: fmt.Sprint("p", i)}, AppID: app}
		_, err := db.Grants().Connect(t.Context(), connectedapps.Grant{
			Key: all[i], Domain: "dom_00000000000000000000000000",
			AccessToken: secret.New(fmt.Sprint(canary, " access ", i)), RefreshToken: secret.New(fmt.Sprint(canary, " refresh ", i)),
		}, "", entry)
		if err != nil {
			t.Fatalf("Connect = %v, want no error", err)
		}
	}
	return all
}

// run runs the keys' work until the test ends or stop is called.
func run(t testing.TB, k interface{ Run(context.Context) error }) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// until waits for a status that is as ok says.
func until(t testing.TB, k *sqlstore.Keys, ok func(keys.Status) bool) keys.Status {
	t.Helper()
	var st keys.Status
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		var err error
		if st, err = k.Status(t.Context()); err != nil {
			t.Fatalf("Status = %v, want no error", err)
		}
		if ok(st) {
			return st
		}
	}
	t.Fatalf("the status stays %+v, rotation %+v", st, st.Rotation)
	return st
}

func done(st keys.Status) bool { return st.Rotation != nil && st.Rotation.State == keys.Done }

func in(state keys.State) func(keys.Status) bool {
	return func(st keys.Status) bool { return st.Rotation != nil && st.Rotation.State == state }
}

// unsealed are the binary columns that hold no secret: the hashes of the audit.
var unsealed = []string{"audit.prev", "audit.hash", "audit_heads.hash"}

func TestEverySealedColumnIsListed(t *testing.T) {
	for _, db := range []struct {
		name, query string
		handle      *sqlx.DB
	}{
		{"SQLite", `SELECT t.name || '.' || c.name FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table' AND c.type = 'BLOB'`, openFor(t, newLocation(t, "")).Writer()},
		{"Postgres", `SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = 'public' AND data_type = 'bytea'`, openFor(t, newLocation(t, postgrestest.URL(t))).Writer()},
	} {
		t.Run(db.name, func(t *testing.T) {
			var columns []string
			if err := db.handle.Select(&columns, db.query); err != nil {
				t.Fatal(err)
			}
			columns = slices.DeleteFunc(columns, func(c string) bool {
				return c == "data_keys.keyset" || slices.Contains(unsealed, c)
			})
			listed := sqlstore.SealedColumns() // data_keys.keyset is wrapped by the master
			slices.Sort(columns)
			slices.Sort(listed)
			if diff := cmp.Diff(columns, listed); diff != "" {
				t.Errorf("the binary columns are not those of sealedTables (-schema +listed); name the new one there:\n%s", diff)
			}
		})
	}
}

func openFor(t *testing.T, l location) *sqlstore.DB {
	t.Helper()
	db, err := l.open(t.Context())
	if err != nil {
		t.Fatalf("Open = %v, want no error", err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// TestDataKeysAreRotatedWhileServing is G8 of the goals: no hand-out fails, no token is lost, the old key is gone.
func TestDataKeysAreRotatedWhileServing(t *testing.T) {
	eachLocation(t, func(t *testing.T, l location) {
		db := openFor(t, l)
		all := connect(t, db, plant(t, db), 450) // more than two batches
		old := db.Keyring().Primary()
		k := db.KeysEvery(10*time.Millisecond, 100*time.Millisecond)
		run(t, k)
		replicas := []*sqlstore.DB{db}
		if strings.HasPrefix(l.url, "postgres") {
			other := openFor(t, l)
			replicas = append(replicas, other)
			run(t, other.KeysEvery(10*time.Millisecond, 100*time.Millisecond))
		}
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		latest := make([]atomic.Int64, len(all))
		reads, writes := atomic.Int64{}, atomic.Int64{}
		for w, replica := range replicas {
			wg.Go(func() { // hand-outs
				for i := w; ctx.Err() == nil; i++ {
					if _, err := replica.Grants().Get(t.Context(), all[i%len(all)]); err != nil {
						t.Errorf("Get = %v, want no error", err)
						return
					}
					reads.Add(1)
				}
			})
			wg.Go(func() { // refreshes, of grants of its own
				for i := w; ctx.Err() == nil; i = (i+len(replicas))%len(all)/len(replicas)*len(replicas) + w {
					g, err := replica.Grants().Get(t.Context(), all[i])
					if err != nil {
						t.Errorf("Get = %v, want no error", err)
						return
					}
					n := latest[i].Load() + 1
					g.AccessToken, g.RefreshToken = secret.New(fmt.Sprint("a", n)), secret.New(fmt.Sprint("r", n))
					if _, err := replica.Grants().SaveRefreshed(t.Context(), g, entry); err != nil {
						t.Errorf("SaveRefreshed = %v, want no error", err)
						return
					}
					latest[i].Store(n)
					writes.Add(1)
				}
			})
		}
		r, err := replicas[len(replicas)-1].Keys().Rotate(t.Context(), admin)
		if err != nil {
			t.Fatalf("Rotate = %v, want no error", err)
		}
		if _, err := k.Rotate(t.Context(), admin); !errors.Is(err, fault.Conflict) {
			t.Errorf("a second Rotate = %v, want a conflict", err)
		}
		st := until(t, k, done)
		stop()
		wg.Wait()
		if len(st.Keys) != 1 || st.Keys[0].ID != r.NewKey || st.Keys[0].Use != keys.Seals || st.Keys[0].ID == old {
			t.Errorf("keys = %+v, want %d alone", st.Keys, r.NewKey)
		}
		if st.Rotation.Total == 0 || st.Rotation.Resealed == 0 || st.Rotation.Failure != "" || st.Rotation.StartedBy != "usr_admin" {
			t.Errorf("rotation = %+v, want its progress and who began it", st.Rotation)
		}
		for i, key := range all {
			g, err := db.Grants().Get(t.Context(), key)
			want := fmt.Sprint(canary, " refresh ", i)
			if n := latest[i].Load(); n > 0 {
				want = fmt.Sprint("r", n)
			}
			if err != nil || g.RefreshToken.Reveal() != want {
				t.Fatalf("refresh token %d = %q, %v, want %q", i, g.RefreshToken.Reveal(), err, want)
			}
		}
		report, err := k.Verify(t.Context(), func(f keys.Finding) { t.Errorf("does not open: %+v", f) })
		if err != nil || report.ByKey[r.NewKey] != report.Values || report.Values != st.Keys[0].Values {
			t.Errorf("Verify = %+v, %v, want all values under %d", report, err, r.NewKey)
		}
		if reads.Load() == 0 || writes.Load() == 0 {
			t.Errorf("%d reads and %d writes meanwhile, want some", reads.Load(), writes.Load())
		}
		entries, err := db.Audit().List(t.Context(), 100000)
		if err != nil {
			t.Fatal(err)
		}
		var said []string
		for _, e := range entries {
			if strings.HasPrefix(string(e.Action), "keys.") && e.Object == r.ID {
				said = append(said, fmt.Sprint(e.Actor, " ", e.Action, " ", e.Detail["key_id"], " ", e.Detail["removed"]))
			}
		}
		want := []string{fmt.Sprint("system keys.rotated ", r.NewKey, " ", old), fmt.Sprint("usr_admin keys.rotation_started ", r.NewKey, " ")}
		if diff := cmp.Diff(want, said); diff != "" {
			t.Errorf("audit (-want +got):\n%s", diff)
		}
		for _, other := range replicas {
			if ids := other.Keyring().IDs(); len(ids) != 1 {
				until(t, other.Keys(), func(keys.Status) bool { return len(other.Keyring().IDs()) == 1 })
			}
		}
	})
}

func TestANewKeySealsOnlyWhenEveryReplicaHasIt(t *testing.T) {
	t.Parallel()
	l := newLocation(t, postgrestest.URL(t))
	db, slow := openFor(t, l), openFor(t, l) // which does not run
	app := plant(t, db)
	k := db.KeysEvery(time.Hour, 0)
	r, err := k.Rotate(t.Context(), admin)
	if err != nil {
		t.Fatal(err)
	}
	step := func(want keys.State, waiting int) {
		t.Helper()
		if err := k.Step(t.Context()); err != nil {
			t.Fatalf("a step = %v, want no error", err)
		}
		st, err := k.Status(t.Context())
		if err != nil || st.Rotation.State != want || len(st.Waiting) != waiting {
			t.Fatalf("Status = %s waiting for %q, %v, want %s and %d waited for", st.Rotation.State, st.Waiting, err, want, waiting)
		}
	}
	step(keys.Announced, 1)
	if db.Keyring().Primary() == r.NewKey {
		t.Fatal("the new key seals while a replica does not have it")
	}
	if err := slow.KeysEvery(time.Hour, 0).Step(t.Context()); err != nil { // it has it, and may have taken over
		t.Fatal(err)
	}
	if slow.Keyring().Primary() == r.NewKey {
		t.Fatal("who does not hold the rotation goes on with it")
	}
	step(keys.Resealing, 1) // the other one must say that it no longer seals with the old key
	// What it seals meanwhile is found, and the old key stays until it has stopped.
	p := connectedapps.Key{Principal: securitycontext.Principal{Realm: securitycontext.Local, Subject: "late"}, AppID: app}
	if _, err := slow.Grants().Connect(t.Context(), connectedapps.Grant{Key: p, Domain: "dom_00000000000000000000000000", AccessToken: secret.New("late")}, "", entry); err != nil {
		t.Fatal(err)
	}
	if err := slow.KeysEvery(time.Hour, 0).Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	step(keys.Done, 0)
	for _, replica := range []*sqlstore.DB{db, slow} {
		if g, err := replica.Grants().Get(t.Context(), p); err != nil || g.AccessToken.Reveal() != "late" {
			t.Errorf("Get = %v, want the token", err)
		}
	}
}

func TestAReplicaThatMeetsANewerKeyLoadsIt(t *testing.T) {
	t.Parallel()
	l := newLocation(t, postgrestest.URL(t))
	db, asleep := openFor(t, l), openFor(t, l)
	app := plant(t, db)
	// It counts as gone, and wakes up after the rotation.
	db.Writer().MustExec("UPDATE key_holders SET seen_at = 0")
	k := db.KeysEvery(time.Hour, 0)
	if _, err := k.Rotate(t.Context(), admin); err != nil {
		t.Fatal(err)
	}
	if err := k.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, k, done)
	alice := connectedapps.Key{Principal: securitycontext.Principal{Realm: securitycontext.Local, Subject: "alice"}, AppID: app}
	if g, err := asleep.Grants().Get(t.Context(), alice); err != nil || g.RefreshToken.Reveal() != canary+" refresh alice" {
		t.Errorf("Get = %v, want the token", err)
	}
}

func TestARefreshDuringReSealingIsNotOverwritten(t *testing.T) {
	onBoth(t, func(t *testing.T, db *sqlstore.DB) {
		all := connect(t, db, plant(t, db), 1)
		db.Writer().MustExec("DELETE FROM grants WHERE subject <> 'p0'")
		n, err := db.ReplaceGrants(t.Context(), func() {
			g, err := db.Grants().Get(t.Context(), all[0])
			if err != nil {
				t.Fatal(err)
			}
			g.RefreshToken = secret.New("rotated")
			if _, err := db.Grants().SaveRefreshed(t.Context(), g, entry); err != nil {
				t.Fatal(err)
			}
		}, []byte("stale"))
		if err != nil || n != 0 {
			t.Errorf("replaced %d values, %v, want none: one of them changed meanwhile", n, err)
		}
		if g, err := db.Grants().Get(t.Context(), all[0]); err != nil || g.RefreshToken.Reveal() != "rotated" {
			t.Errorf("refresh token = %q, %v, want the newer one", g.RefreshToken.Reveal(), err)
		}
		if n, err := db.ReplaceGrants(t.Context(), func() {}, []byte("next")); err != nil || n != 2 {
			t.Errorf("replaced %d values, %v, want those that did not change", n, err)
		}
	})
}

func TestARotationGoesOnAfterACrash(t *testing.T) {
	eachLocation(t, func(t *testing.T, l location) {
		var all []connectedapps.Key
		l.with(t, func(db *sqlstore.DB) {
			all = connect(t, db, plant(t, db), 450)
			if _, err := db.Keys().Rotate(t.Context(), admin); err != nil {
				t.Fatal(err)
			}
		})
		// Each life ends in the middle of the work, with its lease still held. What was sealed again stays so.
		var before int64 = -1
		for life := range 3 {
			l.with(t, func(db *sqlstore.DB) {
				db.Writer().MustExec("UPDATE key_holders SET seen_at = 0 WHERE process <> (SELECT process FROM key_holders ORDER BY seen_at DESC LIMIT 1)")
				db.Writer().MustExec("UPDATE key_rotations SET held_until = 0") // time passes
				ctx, crash := context.WithCancel(t.Context())
				go func() {
					for ctx.Err() == nil {
						var n int64
						if err := db.Writer().Get(&n, "SELECT resealed FROM key_rotations"); err == nil && n > int64(life)*200 {
							crash()
						}
						time.Sleep(time.Millisecond)
					}
				}()
				_ = db.KeysEvery(time.Hour, time.Hour).Step(ctx)
				crash()
				var now int64
				if err := db.Writer().Get(&now, "SELECT resealed FROM key_rotations"); err != nil || now < before {
					t.Errorf("resealed = %d after %d, %v, want it to go on", now, before, err)
				}
				before = now
				for i, key := range all {
					if g, err := db.Grants().Get(t.Context(), key); err != nil || g.RefreshToken.Reveal() != fmt.Sprint(canary, " refresh ", i) {
						t.Fatalf("refresh token %d: %v, want it", i, err)
					}
				}
			})
		}
		l.with(t, func(db *sqlstore.DB) {
			db.Writer().MustExec("UPDATE key_holders SET seen_at = 0 WHERE process <> (SELECT process FROM key_holders ORDER BY seen_at DESC LIMIT 1)")
			db.Writer().MustExec("UPDATE key_rotations SET held_until = 0")
			k := db.KeysEvery(10*time.Millisecond, 0)
			run(t, k)
			st := until(t, k, done)
			if want := int64(planted + 450*2); st.Rotation.Resealed != want || st.Rotation.Total != want {
				t.Errorf("resealed %d of %d, want %d, each once", st.Rotation.Resealed, st.Rotation.Total, want)
			}
		})
	})
}

func TestAnOldKeyIsKeptWhileAValueOfItIsThere(t *testing.T) {
	onBoth(t, func(t *testing.T, db *sqlstore.DB) {
		app := plant(t, db)
		// Sealed before the new key sealed, and stored when the store has settled: a call that was very slow.
		late := connect(t, db, app, 1)[0]
		var sealed []byte
		if err := db.Writer().Get(&sealed, "SELECT access_token FROM grants WHERE subject = 'p0'"); err != nil {
			t.Fatal(err)
		}
		k := db.KeysEvery(time.Hour, time.Hour)
		if _, err := k.Rotate(t.Context(), admin); err != nil {
			t.Fatal(err)
		}
		if err := k.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		until(t, k, in(keys.Settling))
		if len(db.Keyring().IDs()) != 2 {
			t.Fatal("the old key is gone before the store has settled")
		}
		db.Writer().MustExec(db.Writer().Rebind("UPDATE grants SET access_token = ? WHERE subject = 'p0'"), sealed)
		now := db.KeysEvery(time.Hour, 0) // an hour later
		if err := now.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		until(t, now, done)
		if g, err := db.Grants().Get(t.Context(), late); err != nil || g.AccessToken.Reveal() != canary+" access 0" {
			t.Errorf("Get = %v, want the late value to open under the new key", err)
		}
	})
}

// TestAnOldKeyWaitsForWhatIsSealedOutsideOfTheStore: a journal keeps refreshed tokens while the database is down.
func TestAnOldKeyWaitsForWhatIsSealedOutsideOfTheStore(t *testing.T) {
	eachLocation(t, func(t *testing.T, l location) {
		var outside atomic.Bool
		outside.Store(true)
		db, err := sqlstore.Open(t.Context(), sqlstore.Config{URL: l.url, Keyset: l.keyset, SealedOutside: outside.Load})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		plant(t, db)
		k := db.KeysEvery(time.Hour, 0)
		step := func(want keys.State, waiting int) {
			t.Helper()
			if err := k.Step(t.Context()); err != nil {
				t.Fatal(err)
			}
			if st, err := k.Status(t.Context()); err != nil || st.Rotation.State != want || len(st.Waiting) != waiting {
				t.Fatalf("Status = %s waiting for %q, %v, want %s and %d waited for", st.Rotation.State, st.Waiting, err, want, waiting)
			}
		}
		if _, err := k.Rotate(t.Context(), admin); err != nil {
			t.Fatal(err)
		}
		step(keys.Announced, 1)
		outside.Store(false) // it is in the store

		// Another process here was killed an hour ago, and may have left something on the disk.
		db.Writer().MustExec(db.Writer().Rebind("INSERT INTO key_holders (process, host, name, keys_rev, seen_at) SELECT 'killed', host, 'killed', 1, ? FROM key_holders"), time.Now().Add(-time.Hour).UnixMilli())
		step(keys.Settling, 1)
		if len(db.Keyring().IDs()) != 2 {
			t.Error("the old key is removed, and a value of it may be on the disk")
		}
		k.Whole() // what was there has been stored
		step(keys.Done, 0)
	})
}

func TestAnIdleProcessNeedNotWaitForTheStoreToSettleWhenItIsAlone(t *testing.T) {
	t.Parallel()
	l := newLocation(t, postgrestest.URL(t))
	db, other := openFor(t, l), openFor(t, l)
	plant(t, db)
	k := db.KeysEvery(time.Hour, time.Hour).Idle()
	if _, err := k.Rotate(t.Context(), admin); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the other one loads the new key, and then seals with it
		if err := errors.Join(k.Step(t.Context()), other.KeysEvery(time.Hour, time.Hour).Step(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, k, in(keys.Settling))
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if err := k.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, k, done)
}

func TestAValueThatDoesNotOpenKeepsTheOldKeyAndIsNamed(t *testing.T) {
	onBoth(t, func(t *testing.T, db *sqlstore.DB) {
		plant(t, db)
		old := db.Keyring().Primary()
		db.Writer().MustExec("UPDATE grants SET access_token = refresh_token WHERE subject = 'alice'")
		var id string
		if err := db.Writer().Get(&id, "SELECT id FROM grants WHERE subject = 'alice'"); err != nil {
			t.Fatal(err)
		}
		k := db.KeysEvery(time.Hour, 0)
		var found []keys.Finding
		report, err := k.Verify(t.Context(), func(f keys.Finding) { found = append(found, f) })
		if err != nil || report.Values != planted || report.Findings != 1 || report.ByKey[old] != planted {
			t.Errorf("Verify = %+v, %v, want one of %d not to open", report, err, planted)
		}
		if len(found) != 1 || found[0].Table != "grants" || found[0].ID != id || found[0].Field != "access_token" || found[0].KeyID != old || strings.Contains(fmt.Sprint(found), canary) {
			t.Errorf("findings = %+v, want the access token of %s under %d", found, id, old)
		}
		if _, err := k.Rotate(t.Context(), admin); err != nil {
			t.Fatal(err)
		}
		if err := k.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		st := until(t, k, in(keys.Resealing))
		if !strings.Contains(st.Rotation.Failure, "1 values do not open") || len(st.Keys) != 2 || st.Keys[1].ID != old || st.Keys[1].Values != 1 {
			t.Errorf("status = %+v, rotation %+v, want the old key kept for one value", st, st.Rotation)
		}
		// The admin gives the value up.
		db.Writer().MustExec("UPDATE grants SET access_token = NULL WHERE subject = 'alice'")
		db.Writer().MustExec("UPDATE key_rotations SET held_until = 0") // a minute later
		if err := k.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		until(t, k, done)
	})
}

func TestAStoreWithoutADataKeyIsRefusedAndExamined(t *testing.T) {
	eachLocation(t, func(t *testing.T, l location) {
		var before []byte
		var old uint32
		l.with(t, func(db *sqlstore.DB) {
			plant(t, db)
			old = db.Keyring().Primary()
			if err := db.Writer().Get(&before, "SELECT keyset FROM data_keys"); err != nil {
				t.Fatal(err)
			}
			k := db.KeysEvery(time.Hour, 0)
			if _, err := k.Rotate(t.Context(), admin); err != nil {
				t.Fatal(err)
			}
			if err := k.Step(t.Context()); err != nil {
				t.Fatal(err)
			}
			until(t, k, done)
			db.Writer().MustExec(db.Writer().Rebind("UPDATE data_keys SET keyset = ?"), before) // of another backup
		})
		l.refused(t, fault.NotFound, "data key that is missing", "oauth_apps.client_secret", "grants.refresh_token", "backup", "behalf keys verify")
		db, err := sqlstore.Open(t.Context(), sqlstore.Config{URL: l.url, Keyset: l.keyset, Damaged: true})
		if err != nil {
			t.Fatalf("Open of a damaged store = %v, want no error", err)
		}
		defer db.Close()
		n := 0
		report, err := db.Keys().Verify(t.Context(), func(f keys.Finding) {
			n++
			if f.KeyID == old || !strings.Contains(f.Reason, "not here") {
				t.Errorf("finding = %+v, want the missing key", f)
			}
		})
		if err != nil || report.Findings != planted || n != planted {
			t.Errorf("Verify = %+v, %v with %d findings, want %d", report, err, n, planted)
		}
	})
}

func TestAnotherMasterWrapsTheDataKeysAndTheOldOneIsRefused(t *testing.T) {
	eachLocation(t, func(t *testing.T, l location) {
		next := l
		next.keyset = filepath.Join(t.TempDir(), "next.keys.json")
		l.with(t, func(db *sqlstore.DB) {
			plant(t, db)
			master, err := secret.CreateMaster(next.keyset)
			if err != nil {
				t.Fatal(err)
			}
			if err := db.Keys().Rewrap(t.Context(), master, admin); err != nil {
				t.Fatalf("Rewrap = %v, want no error", err)
			}
			st, err := db.Keys().Status(t.Context())
			if err != nil || st.Master != master.Name() {
				t.Errorf("Status = %+v, %v, want the new master %s", st, err, master.Name())
			}
			entries, err := db.Audit().List(t.Context(), 1)
			if err != nil || entries[0].Action != audit.KeysRewrapped || entries[0].Detail["to"] != master.Name() {
				t.Errorf("audit = %+v, %v, want the rewrapping", entries, err)
			}
			// It goes on, and rotates under the new master.
			k := db.KeysEvery(time.Hour, 0)
			if _, err := k.Rotate(t.Context(), admin); err != nil {
				t.Fatal(err)
			}
			if err := k.Step(t.Context()); err != nil {
				t.Fatal(err)
			}
			until(t, k, done)
		})
		l.refused(t, fault.Denied, l.keyset, "does not belong to this store", "key ")
		if err := os.Remove(l.keyset); err != nil {
			t.Fatal(err)
		}
		next.with(t, func(db *sqlstore.DB) {
			if r, err := db.Keys().Verify(t.Context(), func(f keys.Finding) { t.Errorf("%+v", f) }); err != nil || r.Values != planted {
				t.Errorf("Verify = %+v, %v, want all %d values", r, err, planted)
			}
		})
	})
}

// TestADumpAndADiskWithoutTheMasterKeyYieldNoToken is the lesson of the token vaults that were stolen in 2025 and 2026:
// the database, and a replica's whole disk but for the master key, are not enough. Every stored value is tried with what
// a thief can make.
func TestADumpAndADiskWithoutTheMasterKeyYieldNoToken(t *testing.T) {
	eachLocation(t, func(t *testing.T, l location) {
		l.with(t, func(db *sqlstore.DB) {
			plant(t, db)
			if bytesOf := string(dump(t, db.Writer())); strings.Contains(bytesOf, canary) {
				t.Error("the dump holds a token")
			}
		})
		if err := os.Remove(l.keyset); err != nil {
			t.Fatal(err)
		}
		files, err := os.ReadDir(filepath.Dir(l.keyset))
		if err != nil {
			t.Fatal(err)
		}
		usable := 0
		for _, f := range files { // one of them may be the key, left lying about
			if f.IsDir() {
				continue
			}
			path := filepath.Join(filepath.Dir(l.keyset), f.Name())
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			usable += strings.Count(string(content), canary)
			if _, err := secret.OpenMaster(path); err == nil {
				t.Errorf("%s is a master key", f.Name())
			}
		}
		for _, damaged := range []bool{false, true} {
			db, err := sqlstore.Open(t.Context(), sqlstore.Config{URL: l.url, Keyset: l.keyset, Damaged: damaged})
			if err == nil {
				usable++
				db.Close()
			}
		}
		forged := filepath.Join(t.TempDir(), "forged.json")
		if _, err := secret.CreateMaster(forged); err != nil {
			t.Fatal(err)
		}
		if db, err := sqlstore.Open(t.Context(), sqlstore.Config{URL: l.url, Keyset: forged, Damaged: true}); err == nil {
			usable++
			db.Close()
		}
		if usable != 0 {
			t.Errorf("%d usable tokens, want 0", usable)
		}
	})
}

// countingKMS is a key in memory that counts how often it is asked.
type countingKMS struct {
	calls atomic.Int64
	down  atomic.Bool
}

func (k *countingKMS) EncryptWithContext(_ context.Context, plain, ad []byte) ([]byte, error) {
	return k.xor(plain)
}

func (k *countingKMS) DecryptWithContext(_ context.Context, sealed, ad []byte) ([]byte, error) {
	return k.xor(sealed)
}

func (k *countingKMS) xor(in []byte) ([]byte, error) {
	k.calls.Add(1)
	if k.down.Load() {
		return nil, fault.New(fault.Unavailable, "The KMS does not answer.")
	}
	out := slices.Clone(in)
	for i := range out {
		out[i] ^= 0x55
	}
	return out, nil
}

func TestAKMSIsAskedAtStartAndAtRotationOnly(t *testing.T) {
	eachLocation(t, func(t *testing.T, l location) {
		kms := new(countingKMS)
		l.keyset = "hcvault://vault.example.com/transit/keys/behalf"
		open := func() (*sqlstore.DB, error) {
			return sqlstore.Open(t.Context(), sqlstore.Config{URL: l.url, Keyset: l.keyset, KMS: func(_ context.Context, uri string) (secret.KMS, error) {
				if uri != l.keyset {
					t.Errorf("uri = %q, want %q", uri, l.keyset)
				}
				return kms, nil
			}})
		}
		db, err := open()
		if err != nil {
			t.Fatalf("Open = %v, want no error", err)
		}
		if n := kms.calls.Load(); n != 2 {
			t.Errorf("%d calls at the first start, want 2: wrapped, and opened", n)
		}
		app := plant(t, db)
		for _, key := range connect(t, db, app, 50) {
			if _, err := db.Grants().Get(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
		k := db.KeysEvery(time.Hour, 0)
		for range 5 {
			if err := k.Step(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n := kms.calls.Load(); n != 2 {
			t.Errorf("%d calls after 100 secrets, want still 2", n)
		}
		kms.down.Store(true)
		if _, err := db.OAuthApps().ListApps(t.Context(), ""); err != nil {
			t.Errorf("ListApps = %v, want it to go on without the KMS", err)
		}
		if _, err := k.Rotate(t.Context(), admin); !errors.Is(err, fault.Unavailable) {
			t.Errorf("Rotate = %v, want unavailable", err)
		}
		kms.down.Store(false)
		if _, err := k.Rotate(t.Context(), admin); err != nil {
			t.Fatal(err)
		}
		if err := k.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		until(t, k, done)
		if n := kms.calls.Load(); n > 20 {
			t.Errorf("%d calls for a rotation, want a handful", n)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		kms.down.Store(true)
		if _, err := open(); !errors.Is(err, fault.Unavailable) {
			t.Errorf("Open without the KMS = %v, want unavailable", err)
		}
		l.refused(t, fault.Invalid, l.keyset, "KMS")
		kms.down.Store(false)
		if db, err = open(); err != nil {
			t.Fatal(err)
		}
		if r, err := db.Keys().Verify(t.Context(), func(f keys.Finding) { t.Errorf("%+v", f) }); err != nil || r.Values != planted+100 {
			t.Errorf("Verify = %+v, %v, want %d values", r, err, planted+100)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
