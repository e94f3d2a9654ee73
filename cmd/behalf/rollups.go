package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/filelock"
	"github.com/behalf-project/behalf/internal/objectstore"
	"github.com/behalf-project/behalf/internal/preagg"
	"github.com/behalf-project/behalf/orchestrator"
)

// maxReplicas is how many processes may keep rollups below one folder, each in one of its own.
const maxReplicas = 64

// openRollups opens the object store, and as its cache the first folder below objects.cache that no other replica has open. A program
// without DuckDB has no rollups, and says so.
func (s *server) openRollups(ctx context.Context) error {
	bucket, err := objectstore.Open(ctx, s.cfg.Objects.URL)
	if err != nil {
		return err
	}
	s.objects = bucket
	for n := range maxReplicas {
		cfg := s.folderConfig(n)
		cfg.Objects, cfg.Sealer, cfg.MaxSharedBytes = bucket, s.store.Keyring(), int64(s.cfg.Preaggs.MaxBytes)
		store, err := preagg.Open(cfg)
		e, _ := errors.AsType[*fault.Error](err)
		switch {
		case err == nil:
			s.rollups = store
			return nil
		case e != nil && e.Code == "duckdb_not_built_in":
			s.log.Warn("every query goes to its source", zap.Error(err))
			return nil
		case !errors.Is(err, filelock.ErrLocked):
			return err
		}
	}
	return &fault.Error{
		Kind: fault.Unavailable, Owner: fault.Admin,
		Detail: "objects.cache: " + strconv.Itoa(maxReplicas) + " other processes keep pre-aggregations in " + s.cfg.Objects.Cache + ". Give this one a folder of its own.",
	}
}

// preAggregations returns where the orchestrators keep rollups, if they can.
func (s *server) preAggregations() orchestrator.PreAggregations {
	if s.rollups == nil {
		return nil
	}
	return rollups{s.rollups}
}

// usedRollup returns who keeps which rollups are in use.
func (s *server) usedRollup() func(context.Context, orchestrator.RollupUse) error {
	if s.refreshes == nil {
		return nil
	}
	return s.refreshes.Used
}

// folder returns the n-th folder of rollups.
func (s *server) folder(n int) string {
	return filepath.Join(s.cfg.Objects.Cache, "rollups-"+strconv.Itoa(n))
}

func (s *server) folderConfig(n int) preagg.Config {
	return preagg.Config{
		Dir:       s.folder(n),
		MaxMemory: int64(s.cfg.Preaggs.MaxMemory), MaxOpen: s.cfg.Preaggs.MaxOpen,
		MaxBytes: int64(s.cfg.Objects.CacheMaxBytes), MaxBytesPerOwner: int64(s.cfg.Preaggs.MaxUserBytes), Log: s.log.Named("preagg"),
	}
}

// sweepEvery is how often the folders of other replicas are looked at.
const sweepEvery = 15 * time.Minute

// runRollups runs the store, and sweeps the folders beside it that nobody has open: of a replica that does not come back nobody
// else would delete what was fetched there, whatever was revoked since.
func (s *server) runRollups(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.rollups.Run(ctx) })
	g.Go(func() error {
		tick := time.NewTicker(sweepEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
				s.sweepOthers(ctx)
			}
		}
	})
	return g.Wait()
}

// sweepOthers drops what is old in the folders that nobody has open.
func (s *server) sweepOthers(ctx context.Context) {
	for n := range maxReplicas {
		if _, err := os.Stat(s.folder(n)); err != nil || ctx.Err() != nil {
			continue
		}
		left, err := preagg.Open(s.folderConfig(n))
		if err == nil {
			left.Sweep(ctx)
			err = left.Close()
		}
		if err != nil && !errors.Is(err, filelock.ErrLocked) {
			s.log.Warn("the pre-aggregations of another replica cannot be swept", zap.String("file", filepath.Base(s.folder(n))), zap.Error(err))
		}
	}
}

// rollups lets the orchestrator keep its rollups in a store.
type rollups struct{ *preagg.Store }

// IDs implements orchestrator.PreAggregations.
func (r rollups) IDs(match func(driverfactory.PoolKey) bool) (all []orchestrator.RollupID) {
	for _, id := range r.Store.IDs(match) {
		all = append(all, orchestrator.RollupID(id))
	}
	return all
}

// Tables implements orchestrator.PreAggregations.
func (r rollups) Tables(id orchestrator.RollupID) (all []orchestrator.RollupTable) {
	for _, t := range r.Store.Tables(preagg.ID(id)) {
		all = append(all, tableOf(t))
	}
	return all
}

func tableOf(t preagg.Table) orchestrator.RollupTable {
	return orchestrator.RollupTable{Partition: t.Partition, Key: t.Content, BuiltAt: t.BuiltAt, Rows: t.Rows, Bytes: t.Bytes}
}

// Refresh implements orchestrator.PreAggregations.
func (r rollups) Refresh(ctx context.Context, id orchestrator.RollupID) error {
	return r.Store.Refresh(ctx, preagg.ID(id))
}

// Write implements orchestrator.PreAggregations.
func (r rollups) Write(ctx context.Context, id orchestrator.RollupID, t orchestrator.RollupTable, columns []orchestrator.RollupColumn, rows driverfactory.Rows) (orchestrator.RollupTable, error) {
	as := make([]preagg.Column, len(columns))
	for i, c := range columns {
		as[i] = preagg.Column{Name: c.Name, Type: preagg.Type(c.Type)}
	}
	written, err := r.Store.Write(ctx, preagg.ID(id), preagg.Table{Partition: t.Partition, Content: t.Key, BuiltAt: t.BuiltAt}, as, rows)
	return tableOf(written), err
}

// Query implements orchestrator.PreAggregations. A table that was written again meanwhile is fault.Gone.
func (r rollups) Query(ctx context.Context, parts []orchestrator.RollupPart, stmt driverfactory.Statement) (driverfactory.Rows, error) {
	read := make([]preagg.Part, len(parts))
	for i, part := range parts {
		stored := map[orchestrator.RollupTable]preagg.Table{}
		for _, t := range r.Store.Tables(preagg.ID(part.ID)) {
			stored[tableOf(t)] = t
		}
		read[i] = preagg.Part{ID: preagg.ID(part.ID), Name: part.Name, Tables: make([]preagg.Table, len(part.Tables))}
		for j, t := range part.Tables {
			var ok bool
			if read[i].Tables[j], ok = stored[t]; !ok {
				return nil, fault.New(fault.Gone, "A part of the rollup was fetched again meanwhile.")
			}
		}
	}
	return r.Store.Query(ctx, read, stmt)
}
