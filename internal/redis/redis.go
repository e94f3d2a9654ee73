// Package redis is a sharedcache.Store on a Redis or Valkey.
//
// The server is one address: a single server, or whatever stands in front of several and acts like one. It need not be there
// when a Client is opened, nor afterwards: a call fails then, by the end of its context at the latest.
package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/rueidis"

	"github.com/behalf-project/behalf/internal/secret"
)

// dialTimeout bounds how long a call waits for a connection to be made.
const dialTimeout = time.Second

// Client speaks to one server. It is safe for concurrent use.
type Client struct{ c rueidis.Client }

// Open returns a Client of the server at url: redis://[user:password@]host[:port][/database], rediss://… over TLS, or
// unix:///path[?db=database]. Close it.
func Open(url secret.Text) (*Client, error) {
	opt, err := rueidis.ParseURL(url.Reveal())
	if err != nil {
		return nil, errors.New("cache.redis is not the URL of a Redis") // what is wrong with it may quote the password
	}
	opt.ForceSingleClient = true
	opt.Dialer = net.Dialer{Timeout: dialTimeout}
	opt.ConnWriteTimeout = dialTimeout // a connection that does not answer for so long is made anew
	opt.DisableRetry = true            // nothing found is an answer
	opt.DisableCache = true            // what changed elsewhere must be seen at once
	opt.PipelineMultiplex = 1
	opt.ReadBufferEachConn, opt.WriteBufferEachConn = 64<<10, 64<<10
	opt.ClientName = "behalf"
	c, err := rueidis.NewClient(opt)
	if c == nil {
		return nil, fmt.Errorf("open the Redis: %w", err)
	}
	return &Client{c}, nil // an err with a client says that it is not there yet
}

// Close closes the connections.
func (c *Client) Close() { c.c.Close() }

// Get implements sharedcache.Store.
func (c *Client) Get(ctx context.Context, names ...string) ([][]byte, error) {
	got, err := c.c.Do(ctx, c.c.B().Mget().Key(names...).Build()).ToArray()
	if err != nil {
		return nil, err
	}
	values := make([][]byte, len(got))
	for i := range got {
		if got[i].IsNil() {
			continue
		}
		if values[i], err = got[i].AsBytes(); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// Set implements sharedcache.Store.
func (c *Client) Set(ctx context.Context, name string, value []byte, life time.Duration) error {
	return c.c.Do(ctx, c.c.B().Set().Key(name).Value(rueidis.BinaryString(value)).PxMilliseconds(life.Milliseconds()).Build()).Error()
}

// Add implements sharedcache.Store.
func (c *Client) Add(ctx context.Context, name string, value []byte, life time.Duration) ([]byte, error) {
	got := c.c.DoMulti(ctx,
		c.c.B().Set().Key(name).Value(rueidis.BinaryString(value)).Nx().PxMilliseconds(life.Milliseconds()).Build(),
		c.c.B().Get().Key(name).Build())
	if err := got[0].Error(); err != nil && !rueidis.IsRedisNil(err) { // nil: it has one
		return nil, err
	}
	there, err := got[1].AsBytes()
	if rueidis.IsRedisNil(err) { // and has ended since
		return nil, nil
	}
	return there, err
}

var (
	extend = rueidis.NewLuaScript(`return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('PEXPIRE', KEYS[1], ARGV[2]) or 0`)
	remove = rueidis.NewLuaScript(`return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('UNLINK', KEYS[1]) or 0`)
)

// Extend implements sharedcache.Store.
func (c *Client) Extend(ctx context.Context, name string, value []byte, life time.Duration) (bool, error) {
	n, err := extend.Exec(ctx, c.c, []string{name}, []string{rueidis.BinaryString(value), fmt.Sprint(life.Milliseconds())}).AsInt64()
	return n == 1, err
}

// Remove implements sharedcache.Store.
func (c *Client) Remove(ctx context.Context, name string, value []byte) error {
	return remove.Exec(ctx, c.c, []string{name}, []string{rueidis.BinaryString(value)}).Error()
}

// Delete implements sharedcache.Store.
func (c *Client) Delete(ctx context.Context, names ...string) error {
	return c.c.Do(ctx, c.c.B().Unlink().Key(names...).Build()).Error()
}
