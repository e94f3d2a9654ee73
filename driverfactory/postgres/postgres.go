// Package postgres runs statements at PostgreSQL, with pgx.
//
// A person's token goes to the server as OAUTHBEARER (PostgreSQL 18, RFC 7628), or as the password where a cloud
// service takes one in its place. It is read at login and never again, so driverfactory lends no session whose token
// was replaced. Whoever logs in, the session reads alone.
package postgres

import (
	"context"
	"crypto/x509"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

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

// How a token is given to the server.
const (
	authOAuth    = "oauth"             // OAUTHBEARER (RFC 7628)
	authPassword = "token_as_password" // in place of the password
)

var optionNames = []string{"host", "port", "database", "user", "auth", "sslmode", "sslrootcert"}

// options are the settings of a source, parsed.
type options struct {
	host, database string
	port           int
	user           string // of a login with a token; "{username}" in it is who asked
	auth           string
	sslmode        string // empty when the source does not say
	sslrootcert    string
}

func parseOptions(c *driverfactory.Checker, src driverfactory.Source) options {
	o := options{
		host: c.Required("host", "db.example.com"), port: c.Port("port", 5432),
		database: c.Required("database", "analytics"), user: src.Options["user"],
		auth: c.OneOf("auth", authOAuth, authPassword), sslrootcert: src.Options["sslrootcert"],
	}
	if strings.ContainsAny(o.host, "/,@ ") {
		c.Wrong("options/host", "invalid", "host is %q; it is one name or address, without port", o.host)
	}
	if src.Options["sslmode"] != "" {
		o.sslmode = c.OneOf("sslmode", "disable", "prefer", "require", "verify-ca", "verify-full")
	}
	return o
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
			c.Wrong("service_account/private_key", "unsupported", "postgres takes no private key; give a user and password, a token or oauth")
		case token && !a.Password.Empty():
			c.Wrong("service_account", "invalid", "the service account has a token and a password; keep one of them")
		case a.User == "" && (!token || o.user == "" || strings.Contains(o.user, "{username}")):
			c.Wrong("service_account/user", "required", "the service account of postgres needs a user")
		}
		if token {
			encrypted(c, o)
		}
	}
	return c.Err()
}

// encrypted notes that tokens would be sent where everybody on the way reads them, and returns the mode to use.
func encrypted(c *driverfactory.Checker, o options) string {
	switch {
	case o.sslmode == "" && loopback.Host(o.host):
		return "prefer"
	case o.sslmode == "":
		return "verify-full"
	case (o.sslmode == "disable" || o.sslmode == "prefer") && !loopback.Host(o.host):
		c.Wrong("options/sslmode", "insecure", "sslmode %s sends tokens unencrypted, and %q is not this machine; use verify-full", o.sslmode, o.host)
	}
	return o.sslmode
}

// Connector returns a connector whose sessions log in with login.
func (w *Warehouse) Connector(src driverfactory.Source, login driverfactory.Login) (driver.Connector, error) {
	c := driverfactory.NewChecker(src, optionNames...)
	o := parseOptions(c, src)
	user, password, sslmode := o.user, "", o.sslmode
	if a := login.Account; a != nil && a.User != "" {
		user, password = a.User, a.Password.Reveal()
	}
	if login.Account == nil {
		if user == "" {
			user = "{username}"
		}
		user = strings.ReplaceAll(user, "{username}", login.Username)
	}
	if login.Token != nil {
		sslmode = encrypted(c, o)
	} else if sslmode == "" {
		sslmode = "prefer"
	}
	if user == "" {
		c.Wrong("options/user", "required", "postgres needs a role to log in as: a username of who asks, or the option user")
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	settings := map[string]string{
		"host": o.host, "port": strconv.Itoa(o.port), "dbname": o.database, "user": user, "sslmode": sslmode,
		"connect_timeout": "10", "application_name": "behalf", "timezone": "UTC",
	}
	if o.sslrootcert != "" {
		settings["sslrootcert"] = o.sslrootcert
	}
	cfg, err := pgx.ParseConfig(connString(settings))
	if err != nil {
		// Its text quotes the settings; none of them is a secret, and all were checked: what is left is the file.
		return nil, fmt.Errorf("postgres: sslrootcert %q cannot be used", o.sslrootcert)
	}
	cfg.Password = password // and never one from the environment
	// The server tells the types of the parameters, and nothing is kept in the session under a name.
	cfg.DefaultQueryExecMode = pgx.QueryExecModeDescribeExec
	opts := []stdlib.OptionOpenDB{
		// Said in the session, not at its start: a pooler in between knows few of the settings that may be given there.
		stdlib.OptionAfterConnect(func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, onlyReads)
			return err
		}),
		// Before it is lent again a session is made what it was: with set_config a mere SELECT lets the next statements write, or
		// has them run as another role, which was told before. A session that was cut while it rested is found by that, too, before
		// a statement is sent, which could not be sent again.
		stdlib.OptionResetSession(func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, asOpened+"; "+onlyReads)
			return err
		}),
		stdlib.OptionShouldPing(func(context.Context, stdlib.ShouldPingParams) bool { return false }),
	}
	switch {
	case login.Token == nil:
	case o.auth == authOAuth:
		cfg.RequireAuth = "oauth" // a server that asks for a password instead is not given the token as one
		cfg.OAuthTokenProvider = func(ctx context.Context) (string, error) {
			tok, err := login.Token(ctx)
			return tok.Value.Reveal(), err
		}
	default:
		opts = append(opts, stdlib.OptionBeforeConnect(func(ctx context.Context, cfg *pgx.ConnConfig) error {
			tok, err := login.Token(ctx)
			cfg.Password = tok.Value.Reveal()
			return err
		}))
	}
	return connector{stdlib.GetConnector(*cfg, opts...)}, nil
}

const (
	onlyReads = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"

	// A pooler in between may have opened the session in another time zone.
	asOpened = "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; SET TIME ZONE 'UTC'"
)

// Writing implements driverfactory.Writer, with a transaction: one that is cut before its end has done nothing, and a pooler in
// between takes no session for one that may write.
func (w *Warehouse) Writing() (allow, forbid string) { return "BEGIN READ WRITE", "COMMIT" }

// Reach opens a TCP connection and closes it.
func (w *Warehouse) Reach(ctx context.Context, src driverfactory.Source) error {
	c := driverfactory.NewChecker(src, optionNames...)
	o := parseOptions(c, src)
	if err := c.Err(); err != nil {
		return err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(o.host, strconv.Itoa(o.port)))
	if err != nil {
		return err
	}
	return conn.Close()
}

// connString writes settings in the keyword form of libpq, quoted. It holds no secret.
func connString(settings map[string]string) string {
	var b strings.Builder
	quote := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	for k, v := range settings {
		fmt.Fprintf(&b, "%s='%s' ", k, quote.Replace(v))
	}
	return b.String()
}

// connector keeps the password out of errors: pgx's error of a failed login holds its whole configuration.
type connector struct{ driver.Connector }

// Connect opens a session.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	opened, err := c.Connector.Connect(ctx)
	if ce, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return nil, &connectError{ce.Unwrap()}
	}
	if pg, ok := opened.(*stdlib.Conn); ok {
		return conn{pg}, nil
	}
	return opened, err
}

// conn is a session that sends numbers and booleans as text, as Cube does, and lets the server take them for what
// they are compared with: a claim that is a number may be compared with a column of text.
type conn struct{ *stdlib.Conn }

// CheckNamedValue implements driver.NamedValueChecker.
func (c conn) CheckNamedValue(v *driver.NamedValue) error {
	switch value := v.Value.(type) {
	case int64:
		v.Value = strconv.FormatInt(value, 10)
	case float64:
		v.Value = strconv.FormatFloat(value, 'g', -1, 64)
	case bool:
		v.Value = strconv.FormatBool(value)
	}
	return c.Conn.CheckNamedValue(v)
}

// ExecContext implements driver.ExecerContext. A text without parameters is one statement here, too: pgx would send it in the way in
// which it may be several, and one of these end the transaction in which it may write.
func (c conn) ExecContext(ctx context.Context, statement string, args []driver.NamedValue) (driver.Result, error) {
	if len(args) > 0 {
		return c.Conn.ExecContext(ctx, statement, args)
	}
	rows, err := c.Conn.QueryContext(ctx, statement, []driver.NamedValue{{Value: pgx.QueryExecModeExec}})
	if err != nil {
		return nil, err
	}
	return driver.ResultNoRows, rows.Close()
}

// connectError is why a session could not be opened.
type connectError struct{ err error }

func (e *connectError) Error() string { return "postgres: connect: " + e.err.Error() }
func (e *connectError) Unwrap() error { return e.err }

// AskRole implements driverfactory.RoleTeller.
func (w *Warehouse) AskRole() string {
	return "SELECT current_user::text, current_schemas(true)::text"
}

// Role returns the role whose rights count, and the schemas in which names are looked for, which may be set for whoever
// logged in. Everything else that the server goes by is that role's: what it inherits, and whether row policies are for it
// at all (SUPERUSER, BYPASSRLS).
func (w *Warehouse) Role(row []string) string {
	if row[0] == "" {
		return ""
	}
	return driverfactory.JoinRole(row...)
}

// TokenAtLogin is true: a session goes on after its token ended.
func (w *Warehouse) TokenAtLogin() bool { return true }

// Classify says what err means, by SQLSTATE where the server spoke.
func (w *Warehouse) Classify(err error) driverfactory.Class {
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch {
		case pe.Code == "28000" || pe.Code == "28P01":
			return driverfactory.AuthExpired
		case pe.Code == "42501":
			return driverfactory.AccessDenied
		case pe.Code == "57014":
			return driverfactory.Canceled
		case pe.Code == "3D000":
			return driverfactory.Misconfigured
		case strings.HasPrefix(pe.Code, "08") || strings.HasPrefix(pe.Code, "53") || strings.HasPrefix(pe.Code, "57P") ||
			strings.HasPrefix(pe.Code, "58"):
			return driverfactory.TransportFailed
		}
		return driverfactory.StatementFailed
	}
	if _, ok := errors.AsType[*connectError](err); ok {
		text := err.Error()
		switch {
		case strings.Contains(text, "OAuth authentication failed"): // pgx has no type for it
			return driverfactory.AuthExpired
		case strings.Contains(text, "authentication method requirement"), badCertificate(err):
			return driverfactory.Misconfigured
		}
		return driverfactory.TransportFailed
	}
	if errors.Is(err, driver.ErrBadConn) {
		return driverfactory.SessionLost
	}
	if _, ok := errors.AsType[net.Error](err); ok || errors.Is(err, pgconn.ErrConnClosed) ||
		strings.Contains(err.Error(), "unexpected EOF") {
		return driverfactory.TransportFailed
	}
	return driverfactory.StatementFailed
}

func badCertificate(err error) bool {
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, host := errors.AsType[x509.HostnameError](err)
	_, invalid := errors.AsType[x509.CertificateInvalidError](err)
	return unknown || host || invalid
}

// Explain returns the server's own sentence.
func (w *Warehouse) Explain(err error) string {
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pe.Message
	}
	return ""
}

// Value converts a value by the name of its type.
func (w *Warehouse) Value(dbType string, _ int64, v any) any {
	switch v := v.(type) {
	case nil, bool, int64:
		return v
	case float64:
		if dbType == "FLOAT4" { // 0.1, as people see it, and not 0.10000000149011612
			v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'g', -1, 32), 64)
		}
		return v
	case time.Time:
		return v.UTC()
	case []byte:
		if dbType == "BYTEA" {
			return v
		}
		return string(v) // JSON and XML
	case string:
		if dbType == "NUMERIC" && v != "NaN" && !strings.HasSuffix(v, "Infinity") {
			return driverfactory.Decimal(v)
		}
		return v
	case int32:
		return int64(v)
	case uint32:
		return int64(v)
	}
	return fmt.Sprint(v)
}
