// Package redistest starts throwaway Redis servers for tests.
//
// A server listens on loopback at a free port, or on a socket in its folder, wants a password, writes nothing to disk and ends
// with its test. It can be killed, frozen and started again at the same place. A machine without Redis fails the test; it is not
// skipped, because then nobody would notice.
package redistest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/behalf-project/behalf/internal/id"
	"github.com/behalf-project/behalf/internal/secret"
)

// start bounds the start of a server.
const start = 20 * time.Second

// Server is a Redis that a test started.
type Server struct {
	t        testing.TB
	binary   string
	folder   string
	port     int
	password string
	cmd      *exec.Cmd
	ended    chan struct{}
}

// Start starts a server, which lives until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("redistest: there is no Redis on this machine: install the Debian package redis-server")
	}
	folder, err := os.MkdirTemp("", "redis") // short: the path of a socket has a limit
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	s := &Server{t: t, binary: binary, folder: folder, password: id.Random(20)}
	// A port that is free now may be taken a moment later; then the server ends at once and we try another.
	for range 5 {
		l, listenErr := net.Listen("tcp", "127.0.0.1:0")
		if listenErr != nil {
			t.Fatal(listenErr)
		}
		s.port = l.Addr().(*net.TCPAddr).Port
		l.Close()
		if err = s.start(); err == nil {
			t.Cleanup(s.Kill)
			return s
		}
	}
	t.Fatalf("redistest: %v", err)
	return nil
}

// URL returns the URL of the server, with its password.
func (s *Server) URL() secret.Text {
	u := url.URL{Scheme: "redis", User: url.UserPassword("default", s.password), Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)), Path: "/3"}
	return secret.New(u.String())
}

// SocketURL returns the same server's, by its socket.
func (s *Server) SocketURL() secret.Text {
	u := url.URL{Scheme: "unix", User: url.UserPassword("default", s.password), Path: filepath.Join(s.folder, "s"), RawQuery: "db=3"}
	return secret.New(u.String())
}

// start starts the server and waits until it answers.
func (s *Server) start() error {
	var output bytes.Buffer
	s.ended = make(chan struct{})
	s.cmd = exec.Command(s.binary, "--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--unixsocket", filepath.Join(s.folder, "s"),
		"--requirepass", s.password, "--save", "", "--appendonly", "no", "--dir", s.folder)
	s.cmd.Stdout, s.cmd.Stderr, s.cmd.SysProcAttr = &output, &output, attributes()
	started := make(chan error)
	cmd, ended := s.cmd, s.ended
	go func() {
		// The thread stays with the server, because on Linux the server dies with the thread that started it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
			close(ended)
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), start)
	defer cancel()
	for {
		err := s.ping(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ended:
			return fmt.Errorf("redis-server ended at once:\n%s", &output)
		case <-ctx.Done():
			return errors.Join(err, cmd.Process.Kill())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (s *Server) ping(ctx context.Context) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Do(ctx, c.B().Ping().Build()).Error()
}

func (s *Server) client() (rueidis.Client, error) {
	opt, err := rueidis.ParseURL(s.URL().Reveal())
	if err != nil {
		return nil, err
	}
	opt.ForceSingleClient, opt.DisableCache = true, true
	c, err := rueidis.NewClient(opt)
	if err != nil && c != nil {
		c.Close()
	}
	return c, err
}

// Do sends one command, as a client of its own, and returns its answer.
func (s *Server) Do(args ...string) rueidis.RedisResult {
	s.t.Helper()
	c, err := s.client()
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	return c.Do(s.t.Context(), c.B().Arbitrary(args...).Build())
}

// Dump returns everything that is in the server: values by name.
func (s *Server) Dump() map[string]string {
	s.t.Helper()
	names, err := s.Do("KEYS", "*").AsStrSlice()
	if err != nil {
		s.t.Fatal(err)
	}
	all := map[string]string{}
	for _, name := range names {
		if value, err := s.Do("GET", name).ToString(); err == nil { // it may have ended since
			all[name] = value
		}
	}
	return all
}

// Kill ends the server as if its machine went down.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill() // it may have ended
	<-s.ended
}

// Restart starts a server that was killed again, empty.
func (s *Server) Restart() {
	s.t.Helper()
	if err := s.start(); err != nil {
		s.t.Fatalf("redistest: %v", err)
	}
}

// Freeze makes the server answer nobody, with its connections open, until Thaw.
func (s *Server) Freeze() { s.signal(syscall.SIGSTOP) }

// Thaw ends what Freeze began.
func (s *Server) Thaw() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}
