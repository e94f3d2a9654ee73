package adminapi

import (
	"context"

	"github.com/behalf-project/behalf/driverfactory"
)

// SourceState is a data source and the outcome of its last check.
type SourceState struct {
	Source   driverfactory.Source
	Liveness Liveness
}

// Sources lists the data sources.
type Sources interface {
	Sources(ctx context.Context, domain string) ([]SourceState, error)
}

type sourcesOutput struct{ Body DataSourceList }

// listSources shows no options of a source: they may name hosts that are nobody's business but the admin's.
func (h *Handler) listSources(ctx context.Context, _ *struct{}) (*sourcesOutput, error) {
	states, err := h.cfg.Sources.Sources(ctx, h.cfg.Domain)
	if err != nil {
		return nil, err
	}
	out := &sourcesOutput{Body: DataSourceList{Items: make([]DataSource, 0, len(states))}}
	for _, s := range states {
		fallback := s.Source.Fallback
		if fallback == "" {
			fallback = driverfactory.FallbackDeny
		}
		scope := s.Source.CacheScope
		if scope == "" {
			scope = driverfactory.CacheUser
		}
		live := s.Liveness
		if live.State == "" {
			live.State = "unknown"
		}
		live.Required = s.Source.Liveness.Required
		out.Body.Items = append(out.Body.Items, DataSource{
			Name: s.Source.Name, Type: s.Source.Type, Domain: s.Source.Domain, OAuthApp: s.Source.OAuthApp,
			Fallback: string(fallback), CacheScope: string(scope), ServiceAccount: s.Source.ServiceAccount != nil, Liveness: live,
		})
	}
	return out, nil
}
