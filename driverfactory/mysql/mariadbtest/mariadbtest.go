// Package mariadbtest starts throwaway MariaDB servers for the tests of one binary.
//
// Run wraps the tests in TestMain and stops the server after them; Config starts it when the first test asks, and gives
// each test a database of its own. The server listens on loopback at a free port, its data is in a temporary folder,
// and nothing it writes is flushed. A machine without MariaDB fails the test; it is not skipped, because then nobody
// would notice.
package mariadbtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/behalf-project/behalf/internal/sqlstore/ramdisk"
)

// start bounds the start of a server, stop its end.
const (
	start = time.Minute
	stop  = 20 * time.Second
)

// Zones are the time zones that the server knows. Its tables are filled from Go's, because the zones of the whole world
// would take longer than most tests.
var Zones = []string{"America/Los_Angeles", "America/New_York", "Asia/Kathmandu", "Asia/Kolkata", "Asia/Tokyo", "Australia/Lord_Howe", "Europe/Berlin", "Europe/London"}

var (
	running   atomic.Bool // inside Run
	once      sync.Once
	shared    *server // the server of this binary
	errShared error   // why there is none
	databases atomic.Int64
)

// Run calls run, which runs the tests of a binary, and then stops the server, if a test started one. It is for TestMain:
//
//	func TestMain(m *testing.M) { os.Exit(mariadbtest.Run(m.Run)) }
func Run(run func() int) (code int) {
	running.Store(true)
	defer func() {
		if shared == nil {
			return
		}
		if err := shared.close(); err != nil {
			fmt.Fprintln(os.Stderr, "mariadbtest:", err)
			code = max(code, 1)
		}
	}()
	return run()
}

// Config returns how to log in to a new, empty database, which lives until the test ends. Its user may do everything.
func Config(t testing.TB) *mysql.Config {
	t.Helper()
	if !running.Load() {
		t.Fatal("mariadbtest: call mariadbtest.Run in TestMain, so that the server is stopped")
	}
	once.Do(func() { shared, errShared = launch(Zones) })
	if errShared != nil {
		t.Fatalf("mariadbtest: %v", errShared)
	}
	cfg := shared.config()
	cfg.DBName = "test_" + strconv.FormatInt(databases.Add(1), 10)
	if err := shared.exec("CREATE DATABASE " + cfg.DBName); err != nil {
		t.Fatalf("mariadbtest: %v", err)
	}
	t.Cleanup(func() {
		if err := shared.exec("DROP DATABASE " + cfg.DBName); err != nil {
			t.Errorf("mariadbtest: %v", err)
		}
	})
	return cfg
}

// WithoutZones returns how to log in to a server of its own, whose tables of time zones are empty, as they are where
// nobody filled them. It lives until the test ends.
func WithoutZones(t testing.TB) *mysql.Config {
	t.Helper()
	s, err := launch(nil)
	if err != nil {
		t.Fatalf("mariadbtest: %v", err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Errorf("mariadbtest: %v", err)
		}
	})
	cfg := s.config()
	cfg.DBName = "mysql"
	return cfg
}

// server is a MariaDB that this process started.
type server struct {
	folder   string
	password string
	port     int
	cmd      *exec.Cmd
	output   *bytes.Buffer // of the server; read it only once ended is closed
	ended    chan struct{}
}

// launch makes a folder of data and starts its server.
func launch(zones []string) (_ *server, err error) {
	bin, err := binary()
	if err != nil {
		return nil, err
	}
	s := &server{password: rand.Text()}
	if s.folder, err = os.MkdirTemp(ramdisk.Folder(), "mariadb"); err != nil {
		if s.folder, err = os.MkdirTemp("", "mariadb"); err != nil {
			return nil, err
		}
	}
	defer func() {
		if err != nil {
			os.RemoveAll(s.folder)
		}
	}()
	if err := os.Mkdir(s.data(), 0o700); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), start)
	defer cancel()
	statements, err := s.bootstrap(zones)
	if err != nil {
		return nil, err
	}
	boot := exec.CommandContext(ctx, bin, append(s.flags(), "--bootstrap")...)
	boot.Dir, boot.Stdin = s.folder, statements
	if out, err := boot.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("mariadbd --bootstrap: %w\n%s", err, out)
	}
	// A port that is free now may be taken a moment later; then the server ends at once and we try another.
	for range 5 {
		if err = s.start(ctx, bin); err == nil {
			return s, nil
		}
	}
	return nil, err
}

func (s *server) data() string { return filepath.Join(s.folder, "data") }

// flags are those of every start. MariaDB runs as root only where it is told to.
func (s *server) flags() []string {
	flags := []string{"--no-defaults", "--datadir=" + s.data(), "--innodb-log-file-size=4M", "--innodb-buffer-pool-size=16M",
		"--innodb-flush-log-at-trx-commit=0", "--innodb-fast-shutdown=2", "--aria-log-file-size=8M", "--key-buffer-size=1M"}
	if os.Geteuid() == 0 {
		flags = append(flags, "--user=root")
	}
	return flags
}

// bootstrap returns the statements that make the system's own tables, one a line as the server wants them.
func (s *server) bootstrap(zones []string) (*bytes.Buffer, error) {
	b := bytes.NewBufferString("CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket = NULL;\n")
	for _, name := range []string{"mysql_system_tables.sql", "mysql_system_tables_data.sql"} {
		text, err := os.ReadFile(filepath.Join("/usr/share/mysql", name))
		if err != nil {
			return nil, err
		}
		b.Write(text)
	}
	fmt.Fprintf(b, "UPDATE global_priv SET Priv = JSON_SET(Priv, '$.plugin', 'mysql_native_password', '$.authentication_string', PASSWORD('%s'));\n", s.password)
	for i, name := range zones {
		zone, err := time.LoadLocation(name)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(b, "INSERT INTO time_zone VALUES (%d, 'N');\nINSERT INTO time_zone_name VALUES ('%s', %d);\n", i+1, name, i+1)
		types := map[int]int{} // by offset: the server has room for few
		for at := time.Date(1960, 1, 1, 0, 0, 0, 0, zone); at.Year() < 2038; {
			_, offset := at.Zone()
			id, known := types[offset]
			if !known {
				id = len(types)
				types[offset] = id
				fmt.Fprintf(b, "INSERT INTO time_zone_transition_type VALUES (%d, %d, %d, 0, '');\n", i+1, id, offset)
			}
			from, to := at.ZoneBounds()
			if !from.IsZero() {
				fmt.Fprintf(b, "INSERT INTO time_zone_transition VALUES (%d, %d, %d);\n", i+1, from.Unix(), id)
			}
			if to.IsZero() {
				break
			}
			at = to
		}
	}
	return b, nil
}

// config returns how to log in as the superuser.
func (s *server) config() *mysql.Config {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.Net, cfg.Addr = "root", s.password, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
	cfg.Logger = &mysql.NopLogger{}
	return cfg
}

// start starts the server at a free port and waits until it answers.
func (s *server) start(ctx context.Context, bin string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	l.Close()

	s.output, s.ended = new(bytes.Buffer), make(chan struct{})
	s.cmd = exec.Command(bin, append(s.flags(), "--bind-address=127.0.0.1", "--port="+strconv.Itoa(s.port), "--skip-name-resolve",
		"--socket="+filepath.Join(s.folder, "socket"), "--pid-file="+filepath.Join(s.folder, "pid"), "--max-connections=200")...)
	s.cmd.Dir, s.cmd.SysProcAttr = s.folder, attributes()
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
		err := s.exec("DO 1")
		if err == nil {
			return nil
		}
		select {
		case <-s.ended:
			return fmt.Errorf("mariadbd ended at once:\n%s", s.output)
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("mariadbd did not answer within %v: %w", start, err), s.stop())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// exec runs one statement.
func (s *server) exec(statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), start)
	defer cancel()
	connector, err := mysql.NewConnector(s.config())
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	_, err = db.ExecContext(ctx, statement)
	return errors.Join(err, db.Close())
}

// stop ends the server and waits for it.
func (s *server) stop() error {
	if err := s.cmd.Process.Signal(terminate); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-s.ended:
		return nil
	case <-time.After(stop):
		err := s.cmd.Process.Kill()
		<-s.ended
		return errors.Join(fmt.Errorf("mariadbd did not end within %v", stop), err)
	}
}

// close stops the server and removes its folder.
func (s *server) close() error { return errors.Join(s.stop(), os.RemoveAll(s.folder)) }

// binary returns the path of the server: on PATH, or where Debian keeps it, which is on the PATH of root alone.
func binary() (string, error) {
	if path, err := exec.LookPath("mariadbd"); err == nil {
		return path, nil
	}
	const debian = "/usr/sbin/mariadbd"
	if _, err := os.Stat(debian); err != nil {
		return "", errors.New("there is no MariaDB on this machine: install the Debian package mariadb-server-core")
	}
	return debian, nil
}
