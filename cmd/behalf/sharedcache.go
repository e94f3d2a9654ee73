package main

import (
	"context"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/redis"
	"github.com/behalf-project/behalf/internal/sharedcache"
)

// openShared opens the cache of all replicas, where there is to be one. Redis need not be there.
func (s *server) openShared() (err error) {
	if s.cfg.Cache.Redis.Empty() {
		return nil
	}
	if s.redis, err = redis.Open(s.cfg.Cache.Redis); err != nil {
		return err
	}
	s.shared = sharedcache.New(sharedcache.Config{Store: s.redis, Derive: s.store.Keyring().Derive, Log: s.log.Named("sharedcache")})
	return nil
}

// sharedHealth fails while the shared cache is not used.
func (s *server) sharedHealth(context.Context) error {
	if s.shared.Stats().Down {
		return fault.New(fault.Unavailable, "The Redis of cache.redis does not answer: each replica uses its own cache until it does.")
	}
	return nil
}
