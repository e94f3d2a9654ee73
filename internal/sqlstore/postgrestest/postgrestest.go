// Package postgrestest starts a throwaway Postgres for the tests of one binary.
//
// Run wraps the tests in TestMain and stops the server after them; URL starts it when the first test asks, and gives
// each test a database of its own. The server listens on loopback at a free port, its data is in a temporary folder,
// and nothing it writes is flushed. Where the tests run as root it runs as another user, because Postgres insists.
// A machine without Postgres fails the test; it is not skipped, because then nobody would notice.
package postgrestest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/behalf-project/behalf/internal/sqlstore/ramdisk"
)

// start bounds the start of the server, stop its end.
const (
	start = time.Minute
	stop  = 20 * time.Second
)

var (
	running   atomic.Bool // inside Run
	once      sync.Once
	shared    *server // the server of this binary
	errShared error   // why there is none

	onceMigrated sync.Once
	errMigrated  error // why there is no template that is migrated

	databases atomic.Int64
)

// Run runs the tests of a binary and then stops the server, if a test started one. It is for TestMain:
//
//	func TestMain(m *testing.M) { os.Exit(postgrestest.Run(m)) }
func Run(m *testing.M) (code int) {
	running.Store(true)
	defer func() {
		if shared == nil {
			return
		}
		if err := shared.close(); err != nil {
			fmt.Fprintln(os.Stderr, "postgrestest:", err)
			code = max(code, 1)
		}
	}()
	return m.Run()
}

// URL returns the URL of a new, empty database, which lives until the test ends. Its user is a superuser.
func URL(t testing.TB) string {
	t.Helper()
	return database(t, "template1")
}

// Migrated is URL of a database that prepare has made: once for all tests of the binary, which get a copy each. All
// calls give the same prepare.
func Migrated(t testing.TB, prepare func(url string) error) string {
	t.Helper()
	const template = "migrated"
	onceMigrated.Do(func() {
		if errMigrated = up(t).exec("CREATE DATABASE " + template); errMigrated == nil {
			errMigrated = prepare(shared.url(template))
		}
	})
	if errMigrated != nil {
		t.Fatalf("postgrestest: %v", errMigrated)
	}
	return database(t, template)
}

// up returns the server, started.
func up(t testing.TB) *server {
	t.Helper()
	if !running.Load() {
		t.Fatal("postgrestest: call postgrestest.Run in TestMain, so that the server is stopped")
	}
	once.Do(func() { shared, errShared = launch() })
	if errShared != nil {
		t.Fatalf("postgrestest: %v", errShared)
	}
	return shared
}

// database makes a copy of a database and returns its URL.
func database(t testing.TB, template string) string {
	t.Helper()
	server := up(t)
	name := "test_" + strconv.FormatInt(databases.Add(1), 10)
	// Its files are copied, which takes a third of the time that it takes to write them to the log.
	if err := server.exec("CREATE DATABASE " + name + " TEMPLATE " + template + " STRATEGY file_copy"); err != nil {
		t.Fatalf("postgrestest: %v", err)
	}
	t.Cleanup(func() {
		if err := server.exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Errorf("postgrestest: %v", err)
		}
	})
	return server.url(name)
}

// server is a Postgres that this process started.
type server struct {
	folder   string
	password string
	port     int
	cmd      *exec.Cmd
	output   *bytes.Buffer // of the server; read it only once ended is closed
	ended    chan struct{}
}

// launch makes a cluster and starts its server.
func launch() (_ *server, err error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	owner, err := owner()
	if err != nil {
		return nil, err
	}
	s := &server{password: rand.Text()}
	if s.folder, err = os.MkdirTemp(ramdisk.Folder(), "pg"); err != nil {
		if s.folder, err = os.MkdirTemp("", "pg"); err != nil {
			return nil, err
		}
	}
	defer func() {
		if err != nil {
			os.RemoveAll(s.folder)
		}
	}()
	pwfile := filepath.Join(s.folder, "password")
	if err := os.WriteFile(pwfile, []byte(s.password), 0o600); err != nil {
		return nil, err
	}
	if owner != nil {
		for _, path := range []string{s.folder, pwfile} {
			if err := os.Chown(path, int(owner.Uid), int(owner.Gid)); err != nil {
				return nil, err
			}
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), start)
	defer cancel()
	// md5 and not SCRAM, which costs each of a thousand connections 10 ms: the password is random and lives for seconds.
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "--pgdata", s.data(), "--username", "behalf", "--pwfile", pwfile,
		"--auth", "md5", "--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions")
	initdb.Dir, initdb.SysProcAttr = s.folder, attributes(owner)
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	// A port that is free now may be taken a moment later; then the server ends at once and we try another.
	for range 5 {
		if err = s.start(ctx, bin, owner); err == nil {
			return s, nil
		}
	}
	return nil, err
}

func (s *server) data() string { return filepath.Join(s.folder, "data") }

// url returns the URL of a database on the server.
func (s *server) url(database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword("behalf", s.password),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)), Path: "/" + database, RawQuery: "sslmode=disable"}
	return u.String()
}

// start starts the server at a free port and waits until it answers.
func (s *server) start(ctx context.Context, bin string, owner *syscall.Credential) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	l.Close()

	s.output, s.ended = new(bytes.Buffer), make(chan struct{})
	// Without a Unix socket: its path has a short limit, and nobody needs it.
	s.cmd = exec.Command(filepath.Join(bin, "postgres"), "-D", s.data(), "-p", strconv.Itoa(s.port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off",
		"-c", "full_page_writes=off", "-c", "synchronous_commit=off", "-c", "max_connections=1000", "-c", "autovacuum=off",
		"-c", "deadlock_timeout=20ms")
	s.cmd.Dir, s.cmd.SysProcAttr = s.folder, attributes(owner)
	s.cmd.Stdout, s.cmd.Stderr = s.output, s.output
	started := make(chan error)
	go func() {
		// The thread stays with the server, because on Linux the server dies with the thread that started it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := s.cmd.Start()
		started <- err
		if err == nil {
			_ = s.cmd.Wait() // how it ended is in its output
			close(s.ended)
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	for {
		conn, err := pgx.Connect(ctx, s.url("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-s.ended:
			return fmt.Errorf("postgres ended at once:\n%s", s.output)
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("postgres did not answer within %v: %w", start, err), s.stop())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// exec runs one statement in the database postgres.
func (s *server) exec(statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), start)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.url("postgres"))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}

// stop ends the server (SIGINT is Postgres's fast shutdown) and waits for it.
func (s *server) stop() error {
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-s.ended:
		return nil
	case <-time.After(stop):
		err := s.cmd.Process.Kill()
		<-s.ended
		return errors.Join(fmt.Errorf("postgres did not end within %v", stop), err)
	}
}

// close stops the server and removes its folder.
func (s *server) close() error { return errors.Join(s.stop(), os.RemoveAll(s.folder)) }

// binaries returns the folder of initdb and postgres: on PATH, or where Debian keeps them, the newest version first.
func binaries() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		path, err = filepath.EvalSymlinks(path)
		if _, missing := os.Stat(filepath.Join(filepath.Dir(path), "postgres")); err == nil && missing == nil {
			return filepath.Dir(path), nil
		}
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		return "", errors.New("there is no Postgres on this machine: install the Debian package postgresql")
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	newest := slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })
	return filepath.Dir(newest), nil
}

// owner returns the user to run the server as, or nil for ourselves.
func owner() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("Postgres does not run as root, and there is neither a user postgres nor nobody")
}
