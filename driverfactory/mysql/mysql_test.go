package mysql_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	sqldriver "database/sql/driver"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"
	"github.com/google/go-cmp/cmp"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/driverfactory/mysql"
	"github.com/behalf-project/behalf/driverfactory/mysql/mariadbtest"
	"github.com/behalf-project/behalf/internal/fault"
)

func TestCheck(t *testing.T) {
	secret := driverfactory.NewSecret
	for _, tt := range []struct {
		name    string
		options map[string]string
		app     string
		account *driverfactory.ServiceAccount
		want    string
	}{
		{name: "a database with an OAuth app", options: map[string]string{"host": "db", "database": "d"}, app: "azure"},
		{name: "a database with a service account", options: map[string]string{"host": "db", "port": "3307", "database": "d", "sslmode": "disable"},
			account: &driverfactory.ServiceAccount{User: "u", Password: secret("p")}},
		{name: "nothing", want: "options/host required, options/database required"},
		{name: "tokens unencrypted", options: map[string]string{"host": "db", "database": "d", "sslmode": "disable"}, app: "azure", want: "options/sslmode insecure"},
		{name: "an account's token unencrypted", options: map[string]string{"host": "db", "database": "d", "sslmode": "disable"},
			account: &driverfactory.ServiceAccount{User: "u", Token: secret("t")}, want: "options/sslmode insecure"},
		{name: "tokens to whoever answers", options: map[string]string{"host": "db", "database": "d", "sslmode": "require"}, app: "azure", want: "options/sslmode insecure"},
		{name: "tokens unencrypted on this machine", options: map[string]string{"host": "127.0.0.1", "database": "d"}, app: "azure"},
		{name: "a mode that falls back to none", options: map[string]string{"host": "db", "database": "d", "sslmode": "prefer"}, want: "options/sslmode invalid"},
		{name: "a socket", options: map[string]string{"host": "/run/mysqld/mysqld.sock", "database": "d"}, want: "options/host invalid"},
		{name: "files of the client", options: map[string]string{"host": "db", "database": "d", "allowAllFiles": "true"}, want: "options/allowAllFiles unknown"},
		{name: "an account without a user", options: map[string]string{"host": "db", "database": "d"},
			account: &driverfactory.ServiceAccount{Password: secret("p")}, want: "service_account/user required"},
		{name: "an account with a key", options: map[string]string{"host": "db", "database": "d"},
			account: &driverfactory.ServiceAccount{User: "u", PrivateKey: secret("k")}, want: "service_account/private_key unsupported"},
		{name: "an account with a token and a password", options: map[string]string{"host": "db", "database": "d"},
			account: &driverfactory.ServiceAccount{User: "u", Token: secret("t"), Password: secret("p")}, want: "service_account invalid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := mysql.New().Check(driverfactory.Source{Name: "s", Type: "mysql", Options: tt.options, OAuthApp: tt.app, ServiceAccount: tt.account})
			var got []string
			if e, ok := errors.AsType[*fault.Error](err); ok {
				for _, f := range e.Fields {
					got = append(got, f.Pointer+" "+f.Code)
				}
			}
			if strings.Join(got, ", ") != tt.want {
				t.Errorf("Check = %q (%v), want %q", got, err, tt.want)
			}
		})
	}
}

func TestALoginNeedsAUser(t *testing.T) {
	src := driverfactory.Source{Name: "s", Type: "mysql", Options: map[string]string{"host": "h", "database": "d"}}
	_, err := mysql.New().Connector(src, driverfactory.Login{Token: func(context.Context) (driverfactory.Token, error) { return driverfactory.Token{}, nil }})
	if !errors.Is(err, fault.Invalid) {
		t.Errorf("Connector without a username = %v, want invalid", err)
	}
}

func TestClassify(t *testing.T) {
	number := func(n uint16) error { return &driver.MySQLError{Number: n} }
	for _, tt := range []struct {
		name string
		err  error
		want driverfactory.Class
	}{
		{"a wrong password", number(1045), driverfactory.AuthExpired},
		{"a missing privilege on a table", number(1142), driverfactory.AccessDenied},
		{"a missing privilege on the database", number(1044), driverfactory.AccessDenied},
		{"wrong SQL", number(1064), driverfactory.StatementFailed},
		{"no such table", number(1146), driverfactory.StatementFailed},
		{"a change in a session that only reads", number(1792), driverfactory.StatementFailed},
		{"no such database", number(1049), driverfactory.Misconfigured},
		{"cancelled", number(1317), driverfactory.Canceled},
		{"too long for the server", number(1969), driverfactory.Canceled},
		{"too many connections", number(1040), driverfactory.TransportFailed},
		{"an administrator cut it: it may have run", number(1927), driverfactory.TransportFailed},
		{"it was idle for too long", number(4031), driverfactory.SessionLost},
		{"a connection that broke: it may have run", driver.ErrInvalidConn, driverfactory.TransportFailed},
		{"a connection that database/sql gave up", sqldriver.ErrBadConn, driverfactory.SessionLost},
		{"a server without TLS", driver.ErrNoTLS, driverfactory.Misconfigured},
		{"a certificate of nobody", x509.UnknownAuthorityError{}, driverfactory.Misconfigured},
		{"a host that does not answer", &net.OpError{Op: "dial", Err: errors.New("refused")}, driverfactory.TransportFailed},
		{"anything else", errors.New("x"), driverfactory.StatementFailed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := mysql.New().Classify(fmt.Errorf("wrapped: %w", tt.err)); got != tt.want {
				t.Errorf("Classify = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestValue(t *testing.T) {
	at := time.Date(2024, 2, 29, 1, 2, 3, 0, time.UTC)
	for _, tt := range []struct {
		dbType   string
		in, want any
	}{
		{"BIGINT", int64(1), int64(1)}, {"UNSIGNED BIGINT", uint64(7), int64(7)}, {"UNSIGNED BIGINT", uint64(1 << 63), driverfactory.Decimal("9223372036854775808")},
		{"UNSIGNED BIGINT", []byte("9223372036854775808"), driverfactory.Decimal("9223372036854775808")}, {"FLOAT", float32(0.1), 0.1}, {"DOUBLE", 0.1, 0.1},
		{"DECIMAL", []byte("27.50"), driverfactory.Decimal("27.50")}, {"TEXT", []byte("27.50"), "27.50"}, {"TEXT", nil, nil}, {"JSON", []byte(`{}`), `{}`},
		{"BLOB", []byte{1}, []byte{1}}, {"VARBINARY", []byte{1}, []byte{1}}, {"BIT", []byte{1, 0}, int64(256)}, {"TIME", []byte("-01:00:00"), "-01:00:00"},
		{"DATETIME", at, at}, {"DATE", time.Time{}, nil},
	} {
		if got := mysql.New().Value(tt.dbType, -1, tt.in); !cmp.Equal(got, tt.want) {
			t.Errorf("Value(%s, %#v) = %#v, want %#v", tt.dbType, tt.in, got, tt.want)
		}
	}
}

// account returns a source whose service account is the user of cfg, and a driver for it.
func account(t *testing.T, cfg *driver.Config) driverfactory.Driver {
	t.Helper()
	host, port, err := net.SplitHostPort(cfg.Addr)
	if err != nil {
		t.Fatal(err)
	}
	src := driverfactory.Source{Domain: "dom_test", Name: "source", Rev: 1, Type: "mysql", Fallback: driverfactory.FallbackServiceAccount,
		Options:        map[string]string{"host": host, "port": port, "database": cfg.DBName},
		ServiceAccount: &driverfactory.ServiceAccount{User: cfg.User, Password: driverfactory.NewSecret(cfg.Passwd)},
		Limits:         driverfactory.Limits{QueryTimeout: time.Minute}}
	f := driverfactory.New(driverfactory.Config{Warehouses: map[string]driverfactory.Warehouse{"mysql": mysql.New()}})
	choice, err := f.Choose(t.Context(), driverfactory.SecurityContext{}, src, driverfactory.LivenessCheck)
	if err != nil {
		t.Fatal(err)
	}
	d, err := f.Open(choice)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// ask runs a statement and returns the first value of its first row.
func ask(t *testing.T, d driverfactory.Driver, statement string, args ...any) (any, error) {
	t.Helper()
	r, err := d.Query(t.Context(), driverfactory.Statement{SQL: statement, Args: args})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	row := make([]any, len(r.Columns()))
	if _, err := r.Next(row); err != nil || len(row) == 0 {
		return nil, err
	}
	return row[0], nil
}

func TestAServerWithoutTimeZonesIsRefused(t *testing.T) {
	d := account(t, mariadbtest.WithoutZones(t))
	err := d.Ping(t.Context())
	e, ok := errors.AsType[*fault.Error](err)
	if !ok || e.Code != "data_source_misconfigured" || !strings.Contains(e.Detail, "mysql_tzinfo_to_sql") {
		t.Errorf("Ping = %v, want data_source_misconfigured with the fix", err)
	}
}

func TestAZoneThatTheServerDoesNotKnowIsRefused(t *testing.T) {
	d := account(t, mariadbtest.Config(t))
	const statement = "SELECT CONVERT_TZ('2024-07-01 12:00:00', '+00:00', 'Europe/%s')"
	if got, err := ask(t, d, fmt.Sprintf(statement, "Berlin")); err != nil || got != time.Date(2024, 7, 1, 14, 0, 0, 0, time.UTC) {
		t.Errorf("in Berlin = %v, %v; want two hours later", got, err)
	}
	for _, args := range [][]any{nil, {"x"}} {
		text := fmt.Sprintf(statement, "Kyiv")
		if args != nil {
			text += " WHERE 'x' = ?"
		}
		got, err := ask(t, d, text, args...)
		if e, ok := errors.AsType[*fault.Error](err); !ok || e.Code != "data_source_misconfigured" || !strings.Contains(e.Detail, "Europe/Kyiv") {
			t.Errorf("in Kyiv with %v = %v, %v; want data_source_misconfigured with its name", args, got, err)
		}
	}
}

func TestSessionsChangeNothing(t *testing.T) {
	cfg := mariadbtest.Config(t)
	connector, err := driver.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	if _, err := db.Exec("CREATE TABLE t (a VARCHAR(255))"); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := account(t, cfg)
	for _, statement := range []string{
		"INSERT INTO t VALUES ('x')", "CREATE TABLE u (a INT)", "DROP TABLE t", "SELECT 1; DROP TABLE t",
		"LOAD DATA LOCAL INFILE '" + secret + "' INTO TABLE t",
	} {
		if _, err := ask(t, d, statement); err == nil {
			t.Errorf("%s = nil, want a refusal", statement)
		}
	}
	var n int
	if err := db.QueryRow("SELECT count(*) FROM t").Scan(&n); err != nil || n != 0 {
		t.Errorf("t has %d rows, %v; want 0", n, err)
	}
}

// A server's own settings do not change what SQL means.
func TestSessionsAreAlikeWhateverTheServerIsSetTo(t *testing.T) {
	cfg := mariadbtest.Config(t)
	connector, err := driver.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	for _, set := range []string{"SET GLOBAL sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES'", "SET GLOBAL time_zone = '+05:00'"} {
		if _, err := db.Exec(set); err != nil {
			t.Fatal(err)
		}
	}
	defer db.Exec("SET GLOBAL sql_mode = DEFAULT, time_zone = DEFAULT") //nolint:errcheck // of a server that is thrown away
	d := account(t, cfg)
	for statement, want := range map[string]any{
		`SELECT "text"`: "text", `SELECT 0 || 0`: int64(0), `SELECT 'a_b' LIKE 'a\_b' AND 'axb' NOT LIKE 'a\_b'`: int64(1),
		`SELECT @@max_statement_time`: float64(60), `SELECT TIMESTAMPDIFF(HOUR, UTC_TIMESTAMP(), NOW())`: int64(0),
	} {
		if got, err := ask(t, d, statement); err != nil || got != want {
			t.Errorf("%s = %#v, %v; want %#v", statement, got, err, want)
		}
	}
}

// clearServer speaks the beginning of MySQL's protocol, with TLS where cert is one, and asks everybody for their password
// in the clear. It returns its address, and what it is given: "" where the client hangs up.
func clearServer(t *testing.T, cert *tls.Certificate) (host, port string, given chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	given = make(chan string, 10)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(time.Minute))
				given <- askInTheClear(conn, cert)
			}()
		}
	}()
	host, port, err = net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return host, port, given
}

// askInTheClear greets a client, switches it to mysql_clear_password, and returns its answer.
func askInTheClear(conn net.Conn, cert *tls.Certificate) string {
	const (
		withTLS  = 0x0800
		protocol = 0x0001 | 0x0008 | 0x0200 | 0x2000 | 0x8000 // long passwords, a database, 4.1, transactions, authentication of 4.1
		plugins  = 0x0008                                     // in the upper half
	)
	write := func(seq byte, payload string) {
		_, _ = conn.Write(append([]byte{byte(len(payload)), byte(len(payload) >> 8), 0, seq}, payload...))
	}
	read := func() (seq byte, payload []byte) {
		head := make([]byte, 4)
		if _, err := io.ReadFull(conn, head); err != nil {
			return 0, nil
		}
		payload = make([]byte, int(head[0])|int(head[1])<<8)
		if _, err := io.ReadFull(conn, payload); err != nil {
			return 0, nil
		}
		return head[3], payload
	}
	lower := protocol
	if cert != nil {
		lower |= withTLS
	}
	write(0, "\x0a5.7.0\x00\x01\x00\x00\x0012345678\x00"+string([]byte{byte(lower), byte(lower >> 8), 45, 2, 0, plugins, 0, 21})+
		strings.Repeat("\x00", 10)+"123456789012\x00mysql_native_password\x00")
	seq, payload := read()
	if cert != nil && len(payload) == 32 { // the request for TLS
		secure := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{*cert}})
		if secure.Handshake() != nil {
			return ""
		}
		conn = secure
		seq, payload = read()
	}
	if payload == nil {
		return ""
	}
	write(seq+1, "\xfemysql_clear_password\x00")
	seq, payload = read()
	write(seq+1, "\xff\x15\x04#28000Access denied")
	return strings.TrimSuffix(string(payload), "\x00")
}

// Whoever asks for a password or token in the clear is given a token inside verified TLS, and nothing elsewhere.
func TestTokensInTheClearGoToVerifiedServersAlone(t *testing.T) {
	https := httptest.NewTLSServer(nil)
	defer https.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: https.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	token := driverfactory.Login{Username: "alice", Token: func(context.Context) (driverfactory.Token, error) {
		return driverfactory.Token{Value: driverfactory.NewSecret("the-token")}, nil
	}}
	password := driverfactory.Login{Account: &driverfactory.ServiceAccount{User: "svc", Password: driverfactory.NewSecret("the-password")}}
	for _, tt := range []struct {
		name    string
		login   driverfactory.Login
		tls     bool
		options map[string]string
		given   string
		want    driverfactory.Class
	}{
		{"a token, verified", token, true, map[string]string{"sslmode": "verify-full", "sslrootcert": ca}, "the-token", driverfactory.AuthExpired},
		{"a token, by the authority alone", token, true, map[string]string{"sslmode": "verify-ca", "sslrootcert": ca}, "the-token", driverfactory.AuthExpired},
		{"a token, to whoever answers", token, true, map[string]string{"sslmode": "require"}, "", driverfactory.Misconfigured},
		{"a token, to a certificate of nobody", token, true, map[string]string{"sslmode": "verify-full"}, "", driverfactory.Misconfigured},
		{"a token, to a certificate of nobody, whatever its name", token, true, map[string]string{"sslmode": "verify-ca"}, "", driverfactory.Misconfigured},
		{"a token, to a server that has no TLS", token, false, map[string]string{"sslmode": "verify-full", "sslrootcert": ca}, "", driverfactory.Misconfigured},
		{"a token, unencrypted on this machine", token, false, nil, "", driverfactory.Misconfigured},
		{"a password, verified", password, true, map[string]string{"sslmode": "verify-full", "sslrootcert": ca}, "", driverfactory.Misconfigured},
		{"a password, unencrypted", password, false, nil, "", driverfactory.Misconfigured},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var cert *tls.Certificate
			if tt.tls {
				cert = &https.TLS.Certificates[0]
			}
			host, port, given := clearServer(t, cert)
			options := map[string]string{"host": host, "port": port, "database": "d"}
			for k, v := range tt.options {
				options[k] = v
			}
			c, err := mysql.New().Connector(driverfactory.Source{Name: "s", Type: "mysql", Options: options}, tt.login)
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Connect(t.Context())
			if got := mysql.New().Classify(err); err == nil || got != tt.want {
				t.Errorf("Connect = %v of class %v, want class %v", err, got, tt.want)
			}
			if strings.Contains(fmt.Sprintf("%+v", err), "the-") {
				t.Errorf("the error holds what was given: %+v", err)
			}
			if got := <-given; got != tt.given {
				t.Errorf("the server was given %q, want %q", got, tt.given)
			}
		})
	}
}
