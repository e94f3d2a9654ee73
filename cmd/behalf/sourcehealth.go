package main

import (
	"context"

	"github.com/behalf-project/behalf/internal/adminapi"
	"github.com/behalf-project/behalf/internal/health"
)

// sourceHealth is what /readyz?verbose tells of the sources.
func (s *server) sourceHealth() []health.Source {
	var out []health.Source
	for _, h := range s.orchestrators.Sources() {
		out = append(out, health.Source{
			Name: h.Name, State: string(h.State), Since: h.Since, CheckedAt: h.CheckedAt, LatencyMS: h.Latency.Milliseconds(), Detail: h.Detail, Required: h.Required,
		})
	}
	return out
}

// sourceStates tells the admin API about the sources.
type sourceStates struct{ s *server }

// Sources implements adminapi.Sources.
func (st sourceStates) Sources(_ context.Context, _ string) ([]adminapi.SourceState, error) {
	var out []adminapi.SourceState
	for _, h := range st.s.orchestrators.Sources() {
		live := adminapi.Liveness{
			State: string(h.State), CheckedAt: h.CheckedAt, LatencyMS: h.Latency.Milliseconds(), Detail: h.Detail, Required: h.Required,
			Since: h.Since, History: []adminapi.Found{},
		}
		for _, c := range h.History {
			live.History = append(live.History, adminapi.Found{State: string(c.State), From: c.From, Until: c.Until, Detail: c.Detail})
		}
		out = append(out, adminapi.SourceState{Source: st.s.sources[h.Name], Liveness: live})
	}
	return out, nil
}
