package sqlstore_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/id"
	"github.com/behalf-project/behalf/internal/sqlstore"
	"github.com/behalf-project/behalf/internal/sqlstore/sqlstoretest"
)

// BenchmarkRecord is what 64 callers pay for a record: one row with no chain, in its own transaction, which is the
// floor of what commits each by itself; the same with the chain; and the group commit, for callers who wait
// for the commit and for those who do not.
func BenchmarkRecord(b *testing.B) {
	const callers = 64
	e := audit.Entry{Actor: "usr_1", Action: audit.AdminRead, Object: "con_1", Outcome: "ok", Detail: map[string]string{"oauth_app": "databricks"}}
	for _, database := range []struct {
		name string
		open opener
	}{{"SQLite", sqlstoretest.OpenSQLite}, {"Postgres", sqlstoretest.OpenPostgres}} {
		for _, way := range []struct {
			name string
			of   func(*sqlstore.DB, *audit.Writer) func(context.Context) error
		}{
			{"row without chain", func(db *sqlstore.DB, _ *audit.Writer) func(context.Context) error {
				statement := db.Writer().Rebind(`INSERT INTO audit (id, at, actor, action, object, outcome, detail, request, writer, position, prev, hash)
					VALUES (?, 1, 'usr_1', 'admin.read', 'con_1', 'ok', '{"oauth_app":"databricks"}', '', 'bench', ?, ?, ?)`)
				var n atomic.Int64
				hash := make([]byte, 32)
				return func(ctx context.Context) error {
					tx, err := db.Writer().BeginTxx(ctx, nil)
					if err != nil {
						return err
					}
					if _, err = tx.ExecContext(ctx, statement, "aud_"+id.Random(16), n.Add(1), hash, hash); err != nil {
						return errors.Join(err, tx.Rollback())
					}
					return tx.Commit()
				}
			}},
			{"own transaction", func(db *sqlstore.DB, _ *audit.Writer) func(context.Context) error {
				return func(ctx context.Context) error { return db.Audit().Record(ctx, e) }
			}},
			{"group, durable", func(_ *sqlstore.DB, w *audit.Writer) func(context.Context) error {
				return func(ctx context.Context) error { return w.Durable(ctx, e) }
			}},
			{"group", func(_ *sqlstore.DB, w *audit.Writer) func(context.Context) error {
				return func(ctx context.Context) error {
					err := w.Record(ctx, e)
					for err != nil { // the queue is full: this is faster than the store
						time.Sleep(time.Millisecond)
						err = w.Record(ctx, e)
					}
					return err
				}
			}},
		} {
			b.Run(database.name+"/"+way.name, func(b *testing.B) {
				db := database.open(b, nil)
				w := audit.NewWriter(audit.WriterConfig{Store: db.Audit()})
				ctx, stop := context.WithCancel(context.Background())
				ended := make(chan error, 1)
				go func() { ended <- w.Run(ctx) }()
				record := way.of(db, w)
				b.ReportAllocs()
				b.SetParallelism(callers / 2) // times the processors
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if err := record(context.Background()); err != nil {
							b.Error(err)
							return
						}
					}
				})
				stop()
				<-ended // what was accepted is written, and counts
				b.StopTimer()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
			})
		}
	}
}

// BenchmarkVerify is what a verification of 100,000 records takes.
func BenchmarkVerify(b *testing.B) {
	for _, database := range []struct {
		name string
		open opener
	}{{"SQLite", sqlstoretest.OpenSQLite}, {"Postgres", sqlstoretest.OpenPostgres}} {
		b.Run(database.name, func(b *testing.B) {
			db := database.open(b, nil)
			batch := make([]audit.Entry, 1000)
			for i := range batch {
				batch[i] = audit.Entry{Actor: "usr_1", Action: audit.AdminRead, Object: "con_1", Outcome: "ok", Detail: map[string]string{"oauth_app": "databricks"}}
			}
			for range 100 {
				if err := db.Audit().Append(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ResetTimer()
			for range b.N {
				if report, err := db.Audit().Verify(b.Context()); err != nil || !report.Intact() {
					b.Fatal(report, err)
				}
			}
			b.ReportMetric(100_001*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
