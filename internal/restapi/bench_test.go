package restapi

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"runtime/metrics"
	"testing"
	"testing/fstest"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/orchestrator"
)

// ledger is a warehouse that takes no time. Each answer has that many rows of a status, a customer, a day, a count and
// a sum.
type ledger struct{ rows int }

func (ledger) Choose(_ context.Context, sc driverfactory.SecurityContext, src driverfactory.Source, _ driverfactory.Operation) (driverfactory.Choice, error) {
	return driverfactory.Choice{
		Key:   driverfactory.PoolKey{Domain: src.Domain, Source: src.Name, Principal: sc.Principal, App: "app", Epoch: 1},
		RunAs: driverfactory.RunAs{Identity: driverfactory.IdentityUser, Username: sc.Username, DataSource: src.Name},
	}, nil
}

func (l ledger) Open(driverfactory.Choice) (driverfactory.Driver, error) { return l, nil }

func (l ledger) Query(context.Context, driverfactory.Statement) (driverfactory.Rows, error) {
	return &ledgerRows{n: l.rows}, nil
}
func (ledger) Ping(context.Context) error { return nil }
func (ledger) Stats() (open, idle int)    { return 0, 0 }
func (ledger) Close() error               { return nil }

type ledgerRows struct{ at, n int }

func (*ledgerRows) Columns() []driverfactory.Column {
	return []driverfactory.Column{{Name: "s"}, {Name: "c"}, {Name: "d"}, {Name: "n"}, {Name: "t"}}
}

func (r *ledgerRows) Next(dest []any) (bool, error) {
	if r.at == r.n {
		return false, nil
	}
	r.at++
	dest[0], dest[1] = [...]string{"new", "paid", "shipped"}[r.at%3], fmt.Sprintf("Customer %07d", r.at)
	dest[2] = time.Date(2026, 1, 1+r.at%365, 0, 0, 0, 0, time.UTC)
	dest[3], dest[4] = int64(1000+r.at), driverfactory.Decimal(fmt.Sprint(r.at, ".50"))
	return true, nil
}

func (*ledgerRows) Close() error { return nil }

// drain is a client that takes everything at once.
type drain struct {
	header http.Header
	code   int
	bytes  int64
}

func (d *drain) Header() http.Header { return d.header }
func (d *drain) WriteHeader(c int)   { d.code = c }
func (d *drain) Write(p []byte) (int, error) {
	d.bytes += int64(len(p))
	return len(p), nil
}

// BenchmarkLoad answers /load from the first row of the warehouse to the last byte, and from the cache. peak-MB is the
// most that was on the heap meanwhile, garbage included, and live-MB what is still in use afterwards.
func BenchmarkLoad(b *testing.B) {
	for _, bm := range []struct {
		rows  int
		cache string
	}{{50_000, "no-cache"}, {1_000_000, "no-cache"}, {10, "stale-if-slow"}, {50_000, "stale-if-slow"}} {
		b.Run(fmt.Sprintf("%d rows, %s", bm.rows, bm.cache), func(b *testing.B) { benchmarkLoad(b, bm.rows, bm.cache) })
	}
}

// ledgerFront is a Handler over an orchestrator over a ledger, and the orchestrator.
func ledgerFront(t testing.TB, rows int, cfg orchestrator.Config) (http.Handler, *orchestrator.Orchestrators) {
	t.Helper()
	m, err := datamodel.Load(fstest.MapFS{"orders.yml": {Data: []byte(`
cubes:
  - name: orders
    sql_table: orders
    dimensions:
      - {name: status, sql: status, type: string}
      - {name: customer, sql: customer, type: string}
      - {name: created_at, sql: created_at, type: time}
    measures:
      - {name: count, type: count}
      - {name: total, type: sum, sql: amount}
`)}})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Drivers = ledger{rows}
	o := orchestrator.New(cfg)
	mux := http.NewServeMux()
	New(Config{
		Verify: func(*http.Request) (securitycontext.Context, error) {
			return securitycontext.Context{Domain: "dom", Username: "alice", Principal: securitycontext.Principal{Realm: "local", Subject: "usr_1"}}, nil
		},
		Model: func(context.Context, securitycontext.Context) (*datamodel.Model, error) { return m, nil },
		Source: func(domain, name string) (driverfactory.Source, error) {
			return driverfactory.Source{Domain: domain, Name: name, Type: "postgres"}, nil
		},
		Load: func(ctx context.Context, sc securitycontext.Context, r orchestrator.Request) (*orchestrator.Result, error) {
			r.FreshFor, r.Wait = time.Hour, time.Hour
			return o.Load(ctx, sc, r)
		},
		MaxLimit: 1_000_000,
		Now:      func() time.Time { return now },
	}).Mount(mux)
	return mux, o
}

// ledgerLoad asks for all rows of a ledger.
func ledgerLoad(base string, rows int, format, cache string) *http.Request {
	return httptest.NewRequest(http.MethodGet, base+"/cubejs-api/v1/load?cache="+cache+"&query="+url.QueryEscape(fmt.Sprintf(
		`{"limit":%d,"responseFormat":%q,"measures":["orders.count","orders.total"],"dimensions":["orders.status","orders.customer"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"day"}]}`,
		rows, format)), nil)
}

func benchmarkLoad(b *testing.B, rows int, cache string) {
	front, o := ledgerFront(b, rows, orchestrator.Config{})
	ask := func() *drain {
		w := &drain{header: http.Header{}}
		front.ServeHTTP(w, ledgerLoad("", rows, "default", cache))
		if w.code >= 400 || w.bytes < int64(rows)*100 {
			b.Fatalf("%d, %d bytes", w.code, w.bytes)
		}
		return w
	}
	w := ask()
	before, stop := heap(), make(chan struct{})
	peak := make(chan uint64)
	go func() {
		most := uint64(0)
		for tick := time.NewTicker(time.Millisecond); ; {
			select {
			case <-tick.C:
				most = max(most, inUse())
			case <-stop:
				tick.Stop()
				peak <- most
				return
			}
		}
	}()
	b.ReportAllocs()
	for b.Loop() {
		ask()
	}
	close(stop)
	most := <-peak
	b.ReportMetric(float64(w.bytes)/1e6, "MB-answer")
	b.ReportMetric(float64(most)/1e6, "peak-MB")
	b.ReportMetric(float64(before)/1e6, "live-MB")
	runtime.KeepAlive(o)
}

func inUse() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// heap is what is in use and no garbage.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	return inUse()
}
