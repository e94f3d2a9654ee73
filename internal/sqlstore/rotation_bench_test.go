package sqlstore_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/keys"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/internal/sqlstore"
	"github.com/behalf-project/behalf/internal/sqlstore/sqlstoretest"
	"github.com/behalf-project/behalf/oauthapps"
)

// BenchmarkRotationWhileServing seals 100,000 grants under a new data key while four callers read grants and one
// refreshes them. The goal is 60 s, without one call that fails. Run it with -benchtime 1x.
func BenchmarkRotationWhileServing(b *testing.B) {
	const grants, readers = 100_000, 4
	for _, database := range []struct {
		name string
		open func(testing.TB, func() time.Time) *sqlstore.DB
	}{{"SQLite", sqlstoretest.OpenSQLite}, {"Postgres", sqlstoretest.OpenPostgres}} {
		b.Run(database.name, func(b *testing.B) {
			db := database.open(b, nil)
			app, err := db.OAuthApps().CreateApp(b.Context(), oauthapps.App{Domain: "dom_00000000000000000000000000", Name: "a", Slug: "a"}, entry)
			if err != nil {
				b.Fatal(err)
			}
			all := make([]connectedapps.Grant, grants)
			for i := range all {
				p := securitycontext.Principal{Realm: securitycontext.Local, Subject: fmt.Sprint("p", i)}
				all[i] = connectedapps.Grant{
					ID: fmt.Sprintf("con_%026d", i), Key: connectedapps.Key{Principal: p, AppID: app.ID}, Domain: app.Domain, Epoch: 1, Revision: 1, Rev: 1, Fence: 1,
					AccessToken: secret.New(strings.Repeat("a", 1000)), RefreshToken: secret.New(strings.Repeat("r", 100)),
				}
			}
			if err := db.PlantGrants(b.Context(), all); err != nil {
				b.Fatal(err)
			}
			k := db.KeysEvery(time.Second, time.Minute)
			run(b, k)
			for b.Loop() {
				rotateOnce(b, db, k, all, readers)
			}
		})
	}
}

// rotateOnce rotates until nothing is left to seal again, and reports how it went.
func rotateOnce(b *testing.B, db *sqlstore.DB, k *sqlstore.Keys, all []connectedapps.Grant, readers int) {
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	var wg sync.WaitGroup
	took := make([][]time.Duration, readers+1)
	call := func(caller int, f func() error) {
		start := time.Now()
		if err := f(); err != nil {
			b.Errorf("a call failed: %v", err)
		}
		took[caller] = append(took[caller], time.Since(start))
	}
	for r := range readers {
		wg.Go(func() {
			for i := r; ctx.Err() == nil; i += 7919 {
				call(r, func() error { _, err := db.Grants().Get(b.Context(), all[i%len(all)].Key); return err })
				time.Sleep(time.Millisecond) // a busy server, not one that does nothing else
			}
		})
	}
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i += 7919 {
			call(readers, func() error {
				g, err := db.Grants().Get(b.Context(), all[i%len(all)].Key)
				if err == nil {
					_, err = db.Grants().SaveRefreshed(b.Context(), g, entry)
				}
				return err
			})
			time.Sleep(10 * time.Millisecond)
		}
	})
	start := time.Now()
	if _, err := k.Rotate(b.Context(), admin); err != nil {
		b.Fatal(err)
	}
	var st keys.Status
	for st.Rotation == nil || st.Rotation.State != keys.Settling && st.Rotation.State != keys.Done {
		time.Sleep(500 * time.Millisecond)
		var err error
		if st, err = k.Status(b.Context()); err != nil {
			b.Fatal(err)
		}
		if time.Since(start) > 5*time.Minute {
			b.Fatalf("the rotation stays %+v", st.Rotation)
		}
	}
	seconds := st.Rotation.ResealedAt.Sub(st.Rotation.StartedAt).Seconds()
	stop()
	wg.Wait()
	reads := slices.Concat(took[:readers]...)
	slices.Sort(reads)
	writes := took[readers]
	b.ReportMetric(seconds, "s/rotation")
	b.ReportMetric(float64(len(all))/seconds, "grants/s")
	b.ReportMetric(float64(len(reads)), "reads")
	b.ReportMetric(float64(reads[len(reads)*99/100].Microseconds())/1000, "ms-read-p99")
	b.ReportMetric(float64(reads[len(reads)-1].Microseconds())/1000, "ms-read-max")
	b.ReportMetric(float64(slices.Max(writes).Microseconds())/1000, "ms-refresh-max")
	b.Logf("%d values of %d grants sealed again in %.1f s; meanwhile %d reads and %d refreshes", st.Rotation.Resealed, len(all), seconds, len(reads), len(writes))
}
