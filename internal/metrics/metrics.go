// Package metrics is the page of figures for Prometheus, on the admin listener.
//
// The parts of the server know nothing of Prometheus. They tell what happens to small hooks, which Metrics satisfies, and have
// moments of themselves that are asked for when somebody looks. What costs a read of the store is read once a minute, behind;
// nobody who scrapes waits for it.
//
// No label holds a person, a query, a token or anything else of a request: sources come from the configuration, apps from the
// store, and everything else from a list, where what is unknown is "other".
package metrics

import (
	"cmp"
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/orchestrator"
)

// Config is what Metrics needs. Nothing is required: what is not there is not on the page.
type Config struct {
	Version, Revision, GoVersion string

	Sources []string // that are declared: their series are there from the start

	// What is asked for when somebody looks. It must be quick.
	Stats       func() orchestrator.Stats
	RollupBytes func() int64  // of pre-aggregations on disk
	AuditErrors func() uint64 // commits that failed

	// What Run asks for once a minute.
	KeyMade        func(ctx context.Context) (time.Time, error) // since when the data key seals
	Authorizations func(ctx context.Context) (map[Authorization]int, error)

	Log *zap.Logger      // default: no logging
	Now func() time.Time // default: time.Now
}

// Authorization is what grants are counted by.
type Authorization struct {
	App    string // slug
	Status connectedapps.Status
}

// every is how often the store is asked, and patience how long it may take.
const (
	every    = time.Minute
	patience = 10 * time.Second
)

// Metrics are the figures. They are safe for concurrent use.
type Metrics struct {
	cfg      Config
	registry *prometheus.Registry

	httpRequests                                            *prometheus.CounterVec
	httpDuration                                            *prometheus.HistogramVec
	queries, fallbacks, evictions, builds, flows, refreshes *prometheus.CounterVec
	stageDuration                                           *prometheus.HistogramVec
	queueWait                                               prometheus.Observer

	mu             sync.Mutex // guards what Run has read
	keyMade        time.Time
	authorizations map[Authorization]int
}

// New returns Metrics over cfg. It starts nothing; see Run.
func New(cfg Config) *Metrics {
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	m := &Metrics{cfg: cfg, registry: prometheus.NewRegistry()}
	m.httpRequests, m.httpDuration = m.counter(httpRequests), m.histogram(httpDuration, 0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30, 120)
	m.queries, m.fallbacks, m.builds = m.counter(queries), m.counter(fallbacks), m.counter(builds)
	m.evictions, m.flows, m.refreshes = m.counter(evictions), m.counter(flows), m.counter(refreshes)
	m.stageDuration = m.histogram(stageDuration, 0.0005, 0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30, 120, 600)
	m.queueWait = m.histogram(queueWait, 0.005, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 600).WithLabelValues()
	m.gauge(buildInfo).WithLabelValues(cmp.Or(cfg.Version, "devel"), cfg.Revision, cfg.GoVersion).Set(1)
	if cfg.AuditErrors != nil {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: auditErrors.name, Help: auditErrors.help},
			func() float64 { return float64(cfg.AuditErrors()) }))
	}
	m.registry.MustRegister(moments{m}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	// An alert on the first one needs the zero before it.
	for _, source := range cfg.Sources {
		for _, reason := range reasons {
			m.fallbacks.WithLabelValues(source, reason)
		}
	}
	for _, why := range whyEvicted {
		m.evictions.WithLabelValues(why)
	}
	m.builds.WithLabelValues("ok")
	return m
}

func (m *Metrics) counter(f family) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: f.name, Help: f.help}, f.labels)
	m.registry.MustRegister(v)
	return v
}

func (m *Metrics) gauge(f family) *prometheus.GaugeVec {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: f.name, Help: f.help}, f.labels)
	m.registry.MustRegister(v)
	return v
}

func (m *Metrics) histogram(f family, buckets ...float64) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: f.name, Help: f.help, Buckets: buckets}, f.labels)
	m.registry.MustRegister(v)
	return v
}

// Mount adds the page to mux, which must be that of the admin listener.
func (m *Metrics) Mount(mux *http.ServeMux) {
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: 4, Timeout: patience, ErrorLog: zap.NewStdLog(m.cfg.Log),
	}))
}

// Run asks the store once a minute, until ctx is done. It returns nil then, and never before.
func (m *Metrics) Run(ctx context.Context) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		m.ask(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// ask asks the store. What it does not answer is as it was, and an age goes on.
func (m *Metrics) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if m.cfg.KeyMade != nil {
		made, err := m.cfg.KeyMade(ctx)
		m.read("the age of the data key", err, func() { m.keyMade = made })
	}
	if m.cfg.Authorizations != nil {
		counted, err := m.cfg.Authorizations(ctx)
		m.read("the number of authorizations", err, func() { m.authorizations = counted })
		for a := range counted {
			for _, outcome := range refreshOutcomes { // zeros, as in New
				m.refreshes.WithLabelValues(a.App, outcome)
			}
		}
	}
}

func (m *Metrics) read(what string, err error, keep func()) {
	if err != nil {
		m.cfg.Log.Debug("not on the page of metrics: "+what, zap.Error(err))
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	keep()
}

// Request hears of a request; see httpserver.Observer.
func (m *Metrics) Request(ctx context.Context, r *http.Request) (context.Context, func(route string, status int)) {
	method, began := among(methods, r.Method), time.Now()
	return ctx, func(route string, status int) {
		m.httpRequests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
		m.httpDuration.WithLabelValues(route, method).Observe(time.Since(began).Seconds())
	}
}

// Stage hears of a stage; see driverfactory.StageFunc.
func (m *Metrics) Stage(ctx context.Context, stage driverfactory.Stage, began time.Time) (context.Context, func(driverfactory.Source, error)) {
	return ctx, func(src driverfactory.Source, _ error) {
		took := time.Since(began).Seconds()
		m.stageDuration.WithLabelValues(src.Name, among(stages, string(stage))).Observe(took)
		if stage == driverfactory.Queue {
			m.queueWait.Observe(took)
		}
	}
}

// Answered implements orchestrator.Observer.
func (m *Metrics) Answered(src driverfactory.Source, res *orchestrator.Result, err error) {
	from := fromNone
	switch {
	case err != nil:
	case res.Rollup != "":
		from = fromRollup
	case res.Stale:
		from = fromOld
	case res.Cached:
		from = fromCache
	default:
		from = fromSource
	}
	m.queries.WithLabelValues(src.Name, outcome(err), from).Inc()
}

// outcome is "ok", or the kind of a failure.
func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	return among(outcomes, cmp.Or(string(fault.KindOf(err)), "internal"))
}

// Built implements orchestrator.Observer.
func (m *Metrics) Built(err error) { m.builds.WithLabelValues(outcome(err)).Inc() }

// Evicted implements orchestrator.Observer.
func (m *Metrics) Evicted(why orchestrator.Eviction) {
	m.evictions.WithLabelValues(among(whyEvicted, string(why))).Inc()
}

// FellBack hears that the service account stands in for a person, and why.
func (m *Metrics) FellBack(source, reason string) {
	m.fallbacks.WithLabelValues(source, among(reasons, reason)).Inc()
}

// Refreshed hears how a call for a newer token ended; see connectedapps.Config.
func (m *Metrics) Refreshed(app, outcome string) {
	m.refreshes.WithLabelValues(app, among(refreshOutcomes, outcome)).Inc()
}

// Ended hears how an authorization ended; see connectedapps.FlowConfig.
func (m *Metrics) Ended(app, outcome string) {
	m.flows.WithLabelValues(cmp.Or(app, "unknown"), among(flowOutcomes, outcome)).Inc()
}
