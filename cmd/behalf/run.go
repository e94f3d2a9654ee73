package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/behalf-project/behalf/internal/httpserver"
)

// listen opens the listeners. They accept nothing until Run.
func (s *server) listen() (err error) {
	if s.public, err = net.Listen("tcp", s.cfg.Server.Listen); err != nil {
		return fmt.Errorf("server.listen: %w; stop what listens there, or give another address with --listen", err)
	}
	if s.cfg.Server.AdminListen == "off" {
		return nil
	}
	if s.admin, err = net.Listen("tcp", s.cfg.Server.AdminListen); err != nil {
		return fmt.Errorf("server.admin_listen: %w; stop what listens there, or set another address, or off, with BEHALF_SERVER_ADMIN_LISTEN", err)
	}
	return nil
}

// Run serves until ctx is done and then stops in order: no new requests, running ones finish within the grace, then
// the work behind them ends. It returns the first error of a part, which stops the others.
func (s *server) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	work, stop := context.WithCancel(context.WithoutCancel(ctx)) // outlives the requests that need it
	defer stop()
	records, end := context.WithCancel(context.WithoutCancel(ctx)) // outlives the work that is recorded
	defer end()
	var recording errgroup.Group
	recording.Go(func() error { return s.audit.Run(records) })
	recording.Go(func() error { return s.traces.Run(records) })
	var doors errgroup.Group
	public := httpserver.New(httpserver.Config{
		Name: "public", Listener: s.public, Handler: s.handler, HTTPS: strings.HasPrefix(s.cfg.Server.PublicURL, "https://"), Grace: s.cfg.Server.Grace, Log: s.log,
		Observe: []httpserver.Observer{s.traces.Request, s.page.Request},
	})
	doors.Go(func() error { return public.Run(ctx) })
	if s.admin != nil {
		admin := httpserver.New(httpserver.Config{Name: "admin", Listener: s.admin, Handler: s.adminHandler(), Grace: time.Second, Observe: []httpserver.Observer{s.page.Request}, Log: s.log})
		doors.Go(func() error { return admin.Run(ctx) })
	}
	doors.Go(func() error { return s.sockets.Run(ctx) })
	doors.Go(func() error { return s.api.Run(ctx) })
	g.Go(func() error {
		defer stop()
		return doors.Wait()
	})
	g.Go(func() error { return s.store.Run(work) })
	parts := []interface{ Run(context.Context) error }{s.store.Keys(), s.model, s.tokens, s.pats, s.jobs, s.notices, s.handOuts, s.page}
	if s.rollups != nil {
		g.Go(func() error { return s.runRollups(work) })
	}
	if s.issuers != nil {
		parts = append(parts, s.issuers)
	}
	if s.shared != nil {
		parts = append(parts, s.shared)
	}
	if s.caps != nil {
		parts = append(parts, s.caps)
	}
	for _, part := range parts {
		g.Go(func() error { return part.Run(work) })
	}
	g.Go(func() error {
		err := s.orchestrators.Run(work)
		// Nobody is left to hear of a statement that still runs: it is cancelled at the warehouse, and every session closed.
		if left := s.orchestrators.Close(work); left != nil {
			s.log.Warn("sessions at a warehouse left open", zap.Error(left)) // which others are to count until the lease ends
			return err
		}
		s.leaveCaps()
		return err
	})
	err := g.Wait()
	end()
	return errors.Join(err, recording.Wait())
}

// adminHandler serves operators: readiness in full, metrics and profiles.
func (s *server) adminHandler() http.Handler {
	mux := http.NewServeMux()
	s.health.MountAdmin(mux)
	s.page.Mount(mux)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	if onLoopback(s.cfg.Server.AdminListen) {
		return httpserver.LocalNames(mux)
	}
	return mux
}

// Close gives back what assemble opened.
func (s *server) Close() {
	for _, l := range []net.Listener{s.public, s.admin} {
		if l != nil {
			_ = l.Close() // closed already where it was served
		}
	}
	if s.traces != nil {
		s.traces.Close(context.Background()) // for the spans of a server that never ran
	}
	if s.rollups != nil {
		if err := s.rollups.Close(); err != nil {
			s.log.Warn("the pre-aggregations did not close cleanly", zap.Error(err))
		}
	}
	if s.objects != nil {
		if err := s.objects.Close(); err != nil {
			s.log.Warn("the object store did not close cleanly", zap.Error(err))
		}
	}
	if s.redis != nil {
		s.redis.Close()
	}
	if s.journal != nil {
		if err := s.journal.Close(); err != nil {
			s.log.Warn("the journal did not close cleanly", zap.Error(err))
		}
	}
	if s.store != nil {
		if err := s.store.Close(); err != nil {
			s.log.Warn("the store did not close cleanly", zap.Error(err))
		}
	}
}
