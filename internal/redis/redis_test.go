package redis_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/behalf-project/behalf/internal/redis"
	"github.com/behalf-project/behalf/internal/redis/redistest"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/sharedcache"
	"github.com/behalf-project/behalf/internal/sharedcache/sharedcachetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, url secret.Text) *redis.Client {
	t.Helper()
	c, err := redis.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestStore(t *testing.T) {
	server := redistest.Start(t)
	for name, url := range map[string]secret.Text{"by its port": server.URL(), "by its socket": server.SocketURL()} {
		t.Run(name, func(t *testing.T) {
			sharedcachetest.TestStore(t, func(t *testing.T) sharedcache.Store {
				if err := server.Do("FLUSHALL").Error(); err != nil {
					t.Fatal(err)
				}
				return open(t, url)
			})
		})
	}
}

func TestMemory(t *testing.T) {
	sharedcachetest.TestStore(t, func(*testing.T) sharedcache.Store { return new(sharedcachetest.Memory) })
}

// A server that is not there, killed, frozen or that knows another password is one whose calls fail in time, and it is used
// again when it answers.
func TestACallToAServerThatDoesNotAnswerEnds(t *testing.T) {
	server := redistest.Start(t)
	c := open(t, server.URL())
	fails := func(what string) {
		t.Helper()
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			err := c.Set(ctx, "a", []byte("1"), time.Minute)
			late := ctx.Err() != nil && time.Since(deadline(ctx)) > time.Second // far beyond what a busy machine adds
			cancel()
			if err == nil || late {
				t.Errorf("%s: Set = %v, late: %t, want an error in time", what, err, late)
			}
		}
	}
	answers := func(what string) {
		t.Helper()
		end := time.Now().Add(20 * time.Second)
		for {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			err := c.Set(ctx, "a", []byte("1"), time.Minute)
			cancel()
			if err == nil {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s: %v", what, err)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	answers("at first")
	server.Freeze()
	fails("frozen")
	server.Thaw()
	answers("thawed")
	server.Kill()
	fails("killed")
	early := open(t, server.URL()) // before it is there
	server.Restart()
	answers("restarted")
	c = early
	answers("opened before")

	c = open(t, secret.New(strings.Replace(server.URL().Reveal(), "@", "x@", 1)))
	fails("another password")
}

func deadline(ctx context.Context) time.Time {
	at, _ := ctx.Deadline()
	return at
}

func TestAWrongURLIsRefusedWithoutItsPassword(t *testing.T) {
	for _, url := range []string{"http://u:canary@h", "redis://u:canary@h/x", "redis://u:canary@h:%zz"} {
		c, err := redis.Open(secret.New(url))
		if err == nil {
			c.Close()
			t.Errorf("Open(%q) = no error, want one", url)
		} else if strings.Contains(err.Error(), "canary") || errors.Unwrap(err) != nil {
			t.Errorf("Open shows the password: %v", err)
		}
	}
}
