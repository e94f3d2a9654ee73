package main

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/caps"
)

// openCaps makes what replicas have in common of the caps of the sources, where there may be others: on Postgres. It goes by the
// name of this process's journal, so that what a process held that is gone, and has left its journal here, is given back at once.
func (s *server) openCaps(ctx context.Context) error {
	if !s.store.Shared() {
		return nil
	}
	var left []error
	for _, gone := range s.journal.Gone() {
		left = append(left, s.store.Shares().Leave(ctx, gone))
	}
	s.caps = caps.New(caps.Config{Store: s.store.Shares(), Replica: s.journal.Process(), Log: s.log.Named("caps")})
	s.store.News().Subscribe(s.caps.Hear)
	return errors.Join(left...)
}

// leaveCaps gives back what this process held, for the others to have it now. Else they have it when the lease ends.
func (s *server) leaveCaps() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second) // the server's has ended
	defer cancel()
	if err := s.caps.Leave(ctx); err != nil {
		s.log.Warn("shares of caps not given back", zap.Error(err))
	}
}
