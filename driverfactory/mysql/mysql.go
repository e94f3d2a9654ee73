// Package mysql runs statements at MySQL and at MariaDB, with go-sql-driver/mysql.
//
// A person's token goes to the server in the place of the password, as managed MySQL takes it. It is read at login and
// never again, so driverfactory lends no session whose token was replaced. Off this machine tokens need TLS whose
// certificate is verified. A password under less goes to whoever answers, as its administrator chose.
//
// Each session is made alike, whatever the server's defaults are: UTC, one sql_mode, read-only. It refuses a server
// that does not know the time zones of a statement, which would answer NULL where a time belongs.
package mysql

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/loopback"
)

// Warehouse is the adapter. It is safe for concurrent use.
type Warehouse struct{}

var (
	_ driverfactory.Warehouse  = (*Warehouse)(nil)
	_ driverfactory.Explainer  = (*Warehouse)(nil)
	_ driverfactory.Reacher    = (*Warehouse)(nil)
	_ driverfactory.RoleTeller = (*Warehouse)(nil)
	_ driverfactory.Writer     = (*Warehouse)(nil)
)

// New returns a Warehouse.
func New() *Warehouse { return &Warehouse{} }

// How a connection is protected, in the words of the postgres data source.
const (
	tlsOff  = "disable"
	tlsAny  = "require"     // whoever answers
	tlsCA   = "verify-ca"   // with a certificate of sslrootcert or of the system, for whatever name
	tlsFull = "verify-full" // and for this host
)

var optionNames = []string{"host", "port", "database", "user", "sslmode", "sslrootcert"}

// options are the settings of a source, parsed.
type options struct {
	host, database string
	port           int
	user           string // of a login with a token; "{username}" in it is who asked
	sslmode        string
	sslrootcert    string
}

func (o options) address() string { return net.JoinHostPort(o.host, strconv.Itoa(o.port)) }

func parseOptions(c *driverfactory.Checker, src driverfactory.Source) options {
	o := options{
		host: c.Required("host", "db.example.com"), port: c.Port("port", 3306), database: c.Required("database", "analytics"),
		user: src.Options["user"], sslmode: tlsFull, sslrootcert: src.Options["sslrootcert"],
	}
	if strings.ContainsAny(o.host, "/,@ ") {
		c.Wrong("options/host", "invalid", "host is %q; it is one name or address, without port", o.host)
	}
	switch {
	case src.Options["sslmode"] != "":
		o.sslmode = c.OneOf("sslmode", tlsFull, tlsCA, tlsAny, tlsOff)
	case loopback.Host(o.host):
		o.sslmode = tlsOff
	}
	return o
}

// encrypted notes that tokens would be sent where somebody on the way could read them: whoever answers under require
// picks how a secret is shown, and may ask for it as it is.
func encrypted(c *driverfactory.Checker, o options) {
	if (o.sslmode == tlsOff || o.sslmode == tlsAny) && !loopback.Host(o.host) {
		c.Wrong("options/sslmode", "insecure", "sslmode %s sends tokens to whoever answers as %q, which is not this machine; use %s", o.sslmode, o.host, tlsFull)
	}
}

// Check returns what is wrong with src.
func (w *Warehouse) Check(src driverfactory.Source) error {
	c := driverfactory.NewChecker(src, optionNames...)
	o := parseOptions(c, src)
	if src.OAuthApp != "" {
		encrypted(c, o)
	}
	if a := src.ServiceAccount; a != nil {
		token := !a.Token.Empty() || a.OAuth != nil
		switch {
		case !a.PrivateKey.Empty():
			c.Wrong("service_account/private_key", "unsupported", "mysql takes no private key; give a user and password, a token or oauth")
		case token && !a.Password.Empty():
			c.Wrong("service_account", "invalid", "the service account has a token and a password; keep one of them")
		case a.User == "" && (!token || o.user == "" || strings.Contains(o.user, "{username}")):
			c.Wrong("service_account/user", "required", "the service account of mysql needs a user")
		}
		if token {
			encrypted(c, o)
		}
	}
	return c.Err()
}

// Connector returns a connector whose sessions log in with login.
func (w *Warehouse) Connector(src driverfactory.Source, login driverfactory.Login) (driver.Connector, error) {
	c := driverfactory.NewChecker(src, optionNames...)
	o := parseOptions(c, src)
	cfg := mysql.NewConfig()
	cfg.User = o.user
	if a := login.Account; a != nil && a.User != "" {
		cfg.User, cfg.Passwd = a.User, a.Password.Reveal()
	}
	if login.Account == nil {
		if cfg.User == "" {
			cfg.User = "{username}"
		}
		cfg.User = strings.ReplaceAll(cfg.User, "{username}", login.Username)
	}
	if cfg.User == "" {
		c.Wrong("options/user", "required", "mysql needs a user to log in as: a username of who asks, or the option user")
	}
	if login.Token != nil {
		encrypted(c, o)
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	cfg.Net, cfg.Addr, cfg.DBName = "tcp", o.address(), o.database
	var err error
	if cfg.TLS, err = o.tls(); err != nil {
		return nil, err
	}
	cfg.ParseTime, cfg.Timeout, cfg.Logger = true, 10*time.Second, &mysql.NopLogger{}
	cfg.ConnectionAttributes = "program_name:behalf"
	if login.Token != nil {
		cfg.AllowCleartextPasswords = o.sslmode == tlsFull || o.sslmode == tlsCA
		err = cfg.Apply(mysql.BeforeConnect(func(ctx context.Context, cfg *mysql.Config) error {
			tok, err := login.Token(ctx)
			cfg.Passwd = tok.Value.Reveal()
			return err
		}))
		if err != nil {
			return nil, err
		}
	}
	inner, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	timeout := src.Limits.QueryTimeout
	if timeout <= 0 {
		timeout = 10 * time.Minute
	}
	return &connector{Connector: inner, timeout: timeout}, nil
}

// tls returns how connections are encrypted; nil is not at all.
func (o options) tls() (*tls.Config, error) {
	if o.sslmode == tlsOff {
		return nil, nil
	}
	cfg := &tls.Config{ServerName: o.host}
	if o.sslrootcert != "" {
		cfg.RootCAs = x509.NewCertPool()
		text, err := os.ReadFile(o.sslrootcert)
		if err != nil || !cfg.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("mysql: sslrootcert %q cannot be used: it is no file of certificates in PEM that can be read", o.sslrootcert)
		}
	}
	switch o.sslmode {
	case tlsAny:
		cfg.InsecureSkipVerify = true
	case tlsCA:
		cfg.InsecureSkipVerify = true // of the name alone: the rest is verified here
		cfg.VerifyConnection = func(s tls.ConnectionState) error {
			chain := x509.NewCertPool()
			for _, c := range s.PeerCertificates[1:] {
				chain.AddCert(c)
			}
			_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: cfg.RootCAs, Intermediates: chain})
			return err
		}
	}
	return cfg, nil
}

// Writing implements driverfactory.Writer. A transaction would be over before a table is made, and another one begin.
func (w *Warehouse) Writing() (allow, forbid string) {
	return "SET SESSION TRANSACTION READ WRITE", onlyReads
}

// Reach opens a TCP connection and closes it.
func (w *Warehouse) Reach(ctx context.Context, src driverfactory.Source) error {
	c := driverfactory.NewChecker(src, optionNames...)
	o := parseOptions(c, src)
	if err := c.Err(); err != nil {
		return err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", o.address())
	if err != nil {
		return err
	}
	return conn.Close()
}

// AskRole implements driverfactory.RoleTeller. A server without roles, such as MySQL 5.7, does not know the function.
func (w *Warehouse) AskRole() string { return "SELECT CURRENT_USER(), CURRENT_ROLE()" }

// Role returns the account whose rights count, which those who log in may share, with its active roles: an account has
// rights of its own beside theirs, so that the roles alone would say too little.
func (w *Warehouse) Role(row []string) string {
	if row[0] == "" {
		return ""
	}
	return driverfactory.JoinRole(row...)
}

// TokenAtLogin is true: a session goes on after its token ended.
func (w *Warehouse) TokenAtLogin() bool { return true }

// classes are the errors of both servers that are no matter of the statement, by their numbers.
var classes = map[uint16]driverfactory.Class{
	1045: driverfactory.AuthExpired, // access denied, whatever is wrong: the user or the password
	1698: driverfactory.AuthExpired, // access denied, MariaDB's for a user without password

	1044: driverfactory.AccessDenied, // to the database
	1142: driverfactory.AccessDenied, // to a table
	1143: driverfactory.AccessDenied, // to a column
	1227: driverfactory.AccessDenied, // a privilege of the whole server
	1370: driverfactory.AccessDenied, // to a routine
	1820: driverfactory.AccessDenied, // the password must be changed first
	1862: driverfactory.AccessDenied, // the password has expired
	3118: driverfactory.AccessDenied, // the account is locked
	4151: driverfactory.AccessDenied, // the account is locked, MariaDB

	1049: driverfactory.Misconfigured, // no such database
	1130: driverfactory.Misconfigured, // the server takes nobody from this host
	1251: driverfactory.Misconfigured, // the way to authenticate
	3159: driverfactory.Misconfigured, // the server insists on TLS

	1317: driverfactory.Canceled, // KILL QUERY
	1969: driverfactory.Canceled, // max_statement_time, MariaDB
	3024: driverfactory.Canceled, // max_execution_time, MySQL

	4031: driverfactory.SessionLost, // it was idle for too long

	1037: driverfactory.TransportFailed, // no memory
	1040: driverfactory.TransportFailed, // too many connections
	1041: driverfactory.TransportFailed, // no memory
	1053: driverfactory.TransportFailed, // shutdown
	1129: driverfactory.TransportFailed, // this host failed too often
	1203: driverfactory.TransportFailed, // too many connections of this user
	1205: driverfactory.TransportFailed, // a lock was not given in time
	1213: driverfactory.TransportFailed, // deadlock
	1226: driverfactory.TransportFailed, // a quota of this user
	1927: driverfactory.TransportFailed, // KILL CONNECTION, MariaDB: the statement may have run
	3168: driverfactory.TransportFailed, // the server is not available
	3169: driverfactory.TransportFailed, // the session was killed
}

// Classify says what err means, by the server's number where it spoke.
func (w *Warehouse) Classify(err error) driverfactory.Class {
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return classes[e.Number] // else StatementFailed
	}
	if _, ok := errors.AsType[*zoneError](err); ok {
		return driverfactory.Misconfigured
	}
	_, connecting := errors.AsType[*connectError](err)
	for _, wrong := range []error{mysql.ErrNoTLS, mysql.ErrCleartextPassword, mysql.ErrOldPassword, mysql.ErrNativePassword,
		mysql.ErrUnknownPlugin, mysql.ErrOldProtocol} {
		if errors.Is(err, wrong) {
			return driverfactory.Misconfigured
		}
	}
	_, network := errors.AsType[net.Error](err)
	switch {
	case badCertificate(err):
		return driverfactory.Misconfigured
	case connecting, network, errors.Is(err, mysql.ErrInvalidConn):
		return driverfactory.TransportFailed
	case errors.Is(err, driver.ErrBadConn):
		return driverfactory.SessionLost
	}
	return driverfactory.StatementFailed
}

func badCertificate(err error) bool {
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, host := errors.AsType[x509.HostnameError](err)
	_, invalid := errors.AsType[x509.CertificateInvalidError](err)
	return unknown || host || invalid
}

// Explain returns the server's own sentence, or what it lacks.
func (w *Warehouse) Explain(err error) string {
	if e, ok := errors.AsType[*zoneError](err); ok {
		return e.Error()
	}
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return e.Message
	}
	return ""
}

// Value converts a value by the name of its type. A zero date, 0000-00-00, is no date.
func (w *Warehouse) Value(dbType string, _ int64, v any) any {
	switch v := v.(type) {
	case nil, int64, float64, string:
		return v
	case uint64:
		if v > math.MaxInt64 {
			return driverfactory.Decimal(strconv.FormatUint(v, 10))
		}
		return int64(v)
	case float32: // 0.1, as people see it, and not 0.10000000149011612
		f, _ := strconv.ParseFloat(strconv.FormatFloat(float64(v), 'g', -1, 32), 64)
		return f
	case time.Time:
		if v.IsZero() {
			return nil
		}
		return v.UTC()
	case []byte:
		switch {
		case dbType == "DECIMAL", dbType == "UNSIGNED BIGINT": // one beyond int64, of a prepared statement
			return driverfactory.Decimal(v)
		case dbType == "BIT":
			bits := make([]byte, 8)
			copy(bits[max(0, 8-len(v)):], v)
			return w.Value(dbType, -1, binary.BigEndian.Uint64(bits))
		case strings.HasSuffix(dbType, "BINARY"), strings.HasSuffix(dbType, "BLOB"), dbType == "GEOMETRY", dbType == "VECTOR":
			return v
		}
		return string(v)
	}
	return fmt.Sprint(v)
}
