package socketapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"time"
)

// subscription is a load that is asked again and again.
type subscription struct {
	message
	cancel  context.CancelFunc
	renewed time.Time // when the client last asked for it
}

// subscribe starts a subscription, or keeps the one that the client repeats. The caller holds the lock.
func (c *conn) subscribe(ctx context.Context, m message) (repeated bool, err error) {
	s, ok := c.subscriptions[m.id.key]
	if ok && bytes.Equal(s.params, m.params) {
		s.renewed = c.h.cfg.Now()
		return true, nil
	}
	if c.followed >= maxFollowed || !ok && len(c.subscriptions) >= maxSubscriptions {
		return false, tooMany("subscriptions", maxSubscriptions)
	}
	if err := c.hold(m); err != nil {
		return false, err
	}
	if ok {
		s.cancel()
	}
	ctx, cancel := context.WithCancel(ctx)
	s = &subscription{message: m, cancel: cancel, renewed: c.h.cfg.Now()}
	c.subscriptions[m.id.key] = s
	c.followed++
	c.tasks.Go(func() {
		defer c.forget(s)
		c.follow(ctx, s)
	})
	return false, nil
}

// follow sends what a subscription answers, whenever that changed.
func (c *conn) follow(ctx context.Context, s *subscription) {
	var sent [sha256.Size]byte
	for n := 1; c.wanted(s); n++ {
		a, stay := c.ask(ctx, s.message, n)
		waits := a.waits()
		switch sum := a.essence(); {
		case waits && sent == [sha256.Size]byte{}:
			a.send(ctx, false) // how far the first answer is
		case waits || sum == sent:
			a.drop()
		default:
			a.send(ctx, true)
			sent = sum
		}
		if !stay {
			c.dismiss()
			return
		}
		if waits && ctx.Err() == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
	}
}

// wanted reports whether the client has asked for s lately.
func (c *conn) wanted(s *subscription) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.h.cfg.Now().Sub(s.renewed) < 4*heartbeat
}

// forget takes a subscription that ended out of the count, and out of the list, unless another one took its place.
func (c *conn) forget(s *subscription) {
	s.cancel()
	c.letGo(s.message)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.followed--
	if c.subscriptions[s.id.key] == s {
		delete(c.subscriptions, s.id.key)
	}
}
