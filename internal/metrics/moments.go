package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/behalf-project/behalf/orchestrator"
)

// moments are the figures that are so at the moment when somebody looks.
type moments struct{ m *Metrics }

func (f family) desc() *prometheus.Desc { return prometheus.NewDesc(f.name, f.help, f.labels, nil) }

// Descriptions of them: a description is made once.
var (
	queueDepthDesc, connectionsDesc, orchestratorsDesc = queueDepth.desc(), connections.desc(), orchestrators.desc()
	cacheBytesDesc, keyAgeDesc, authorizationsDesc     = cacheBytes.desc(), keyAge.desc(), authorizations.desc()
)

// Describe implements prometheus.Collector.
func (moments) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{queueDepthDesc, connectionsDesc, orchestratorsDesc, cacheBytesDesc, keyAgeDesc, authorizationsDesc} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c moments) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	if c.m.cfg.Stats != nil {
		s := c.m.cfg.Stats()
		// One series for a name, whatever domains have a source of that name.
		at := map[string]orchestrator.SourceStats{}
		for _, name := range c.m.cfg.Sources {
			at[name] = orchestrator.SourceStats{}
		}
		for _, one := range s.Sources {
			sum := at[one.Name]
			sum.Queued += one.Queued
			sum.Open += one.Open
			sum.Idle += one.Idle
			at[one.Name] = sum
		}
		for name, sum := range at {
			gauge(queueDepthDesc, float64(sum.Queued), name)
			gauge(connectionsDesc, float64(sum.Idle), name, "idle")
			gauge(connectionsDesc, float64(max(sum.Open-sum.Idle, 0)), name, "busy")
		}
		gauge(orchestratorsDesc, float64(s.Orchestrators.Cold), string(orchestrator.Cold))
		gauge(orchestratorsDesc, float64(s.Orchestrators.Warm), string(orchestrator.Warm))
		gauge(orchestratorsDesc, float64(s.Orchestrators.Busy), string(orchestrator.Busy))
		gauge(orchestratorsDesc, float64(s.Orchestrators.Draining), string(orchestrator.Draining))
		gauge(cacheBytesDesc, float64(s.Cache.Bytes), "results")
		gauge(cacheBytesDesc, float64(s.Cache.Held), "held")
	}
	if c.m.cfg.RollupBytes != nil {
		gauge(cacheBytesDesc, float64(c.m.cfg.RollupBytes()), "rollups")
	}
	c.m.mu.Lock()
	made, counted := c.m.keyMade, c.m.authorizations
	c.m.mu.Unlock()
	if !made.IsZero() {
		gauge(keyAgeDesc, max(c.m.cfg.Now().Sub(made).Seconds(), 0))
	}
	for a, n := range counted {
		gauge(authorizationsDesc, float64(n), a.App, string(a.Status))
	}
}
