package main

import (
	"context"
	"errors"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/metrics"
	"github.com/behalf-project/behalf/oauthapps"
	"github.com/behalf-project/behalf/orchestrator"
)

// maxCounted is how many grants are looked at once a minute to be counted.
const maxCounted = 50_000

// figures returns the page of metrics. What it asks for is there once the server runs.
func (s *server) figures() *metrics.Metrics {
	cfg := metrics.Config{
		Version: version(), GoVersion: runtime.Version(),
		Stats:       func() orchestrator.Stats { return s.orchestrators.Stats() },
		AuditErrors: func() uint64 { return s.audit.Errors() },
		RollupBytes: func() int64 {
			if s.rollups == nil {
				return 0
			}
			return s.rollups.Bytes()
		},
		KeyMade:        func(ctx context.Context) (time.Time, error) { return s.store.Keys().SealingSince(ctx) },
		Authorizations: s.countGrants,
		Log:            s.log.Named("metrics"),
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				cfg.Revision = setting.Value
			}
		}
	}
	for _, src := range s.cfg.DataSources {
		cfg.Sources = append(cfg.Sources, src.Name)
	}
	return metrics.New(cfg)
}

// stages hears of the stages of queries, for metrics and, where they are made, spans.
func (s *server) stages() driverfactory.StageFunc {
	spans := s.traces.Stages()
	if spans == nil {
		return s.page.Stage
	}
	return func(ctx context.Context, stage driverfactory.Stage, began time.Time) (context.Context, func(driverfactory.Source, error)) {
		_, counted := s.page.Stage(ctx, stage, began)
		ctx, end := spans(ctx, stage, began)
		return ctx, func(src driverfactory.Source, err error) {
			counted(src, err)
			end(src, err)
		}
	}
}

// version is what this program is called.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "devel"
}

// countGrants counts grants by app and status.
func (s *server) countGrants(ctx context.Context) (map[metrics.Authorization]int, error) {
	list, err := s.apps.List(ctx, "")
	if err != nil {
		return nil, err
	}
	apps, counted := map[string]oauthapps.App{}, map[metrics.Authorization]int{}
	for _, app := range list {
		apps[app.ID] = app
	}
	now := time.Now().UTC()
	err = s.store.Grants().Facts(ctx, maxCounted, func(g connectedapps.Grant) {
		if app, ok := apps[g.Key.AppID]; ok {
			counted[metrics.Authorization{App: app.Slug, Status: connectedapps.StatusOf(g, app, now)}]++
		}
	})
	if errors.Is(err, fault.TooMany) {
		return nil, nil // and none of an earlier minute
	}
	return counted, err
}
