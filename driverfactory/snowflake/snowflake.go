// Package snowflake runs statements at Snowflake, with gosnowflake.
//
// The token is read at login and never again: a session lives on for hours after its token was refreshed or revoked.
// So a connector logs in afresh for each session with the token of that moment, and driverfactory lends no session
// whose token was replaced.
package snowflake

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"database/sql/driver"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/snowflakedb/gosnowflake/v2"

	"github.com/behalf-project/behalf/driverfactory"
)

// Config is what a Warehouse needs. The zero Config is complete.
type Config struct {
	// Transport carries the requests of everybody to every source: who asks is in a header, never in a connection.
	// Default: an http.Transport of its own. With it certificates are verified as everywhere in Go, and the OCSP
	// requests of the driver, which go to third parties, are not made.
	Transport http.RoundTripper
}

// Warehouse is the adapter. It is safe for concurrent use.
type Warehouse struct {
	base http.RoundTripper
}

var (
	_ driverfactory.Warehouse  = (*Warehouse)(nil)
	_ driverfactory.Explainer  = (*Warehouse)(nil)
	_ driverfactory.Reacher    = (*Warehouse)(nil)
	_ driverfactory.RoleTeller = (*Warehouse)(nil)
	_ driverfactory.Writer     = (*Warehouse)(nil)
)

// Quiet stops what the driver does beside its work: it asks the metadata addresses of clouds where it runs, and it
// unpacks a native library and loads it. Both are decided by the environment when the first session opens, so a
// program calls Quiet first thing in main.
func Quiet() error {
	return errors.Join(
		os.Setenv("SNOWFLAKE_DISABLE_PLATFORM_DETECTION", "true"),
		os.Setenv("SF_DISABLE_MINICORE", "true"),
	)
}

// silence turns the driver's logger off, once: it is one for the process, and it logs statements and names.
var silence = sync.OnceFunc(func() {
	if err := gosnowflake.GetLogger().SetLogLevel("off"); err != nil {
		panic("snowflake: " + err.Error()) // a word of the driver's own documentation
	}
})

// New returns a Warehouse over cfg.
func New(cfg Config) *Warehouse {
	silence()
	if cfg.Transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConns, t.MaxIdleConnsPerHost = 256, 64
		t.IdleConnTimeout = 30 * time.Second // sessions outlive it only where they are used
		cfg.Transport = t
	}
	return &Warehouse{base: cfg.Transport}
}

var optionNames = []string{"account", "host", "port", "protocol", "database", "schema", "warehouse", "role"}

// Check returns what is wrong with src.
func (w *Warehouse) Check(src driverfactory.Source) error {
	c := driverfactory.NewChecker(src, optionNames...)
	parseOptions(c, src)
	if src.ServiceAccount != nil {
		login(c, *src.ServiceAccount)
	}
	return c.Err()
}

// parseOptions returns the settings of a session, all but who logs in.
func parseOptions(c *driverfactory.Checker, src driverfactory.Source) gosnowflake.Config {
	o := src.Options
	cfg := gosnowflake.Config{
		Account: c.Required("account", "myorg-myaccount"), Host: o["host"],
		Protocol: c.OneOf("protocol", "https", "http"),
		Database: o["database"], Schema: o["schema"], Warehouse: o["warehouse"], Role: o["role"],
	}
	def := 443
	if cfg.Protocol == "http" {
		def = 80
		c.PlainHTTP("protocol", cfg.Host)
	}
	cfg.Port = c.Port("port", def)
	for _, name := range []string{"account", "host"} {
		if strings.ContainsAny(o[name], "/:@?# ") {
			c.Wrong("options/"+name, "invalid", "%s is %q; it is a bare name, without scheme, port or path", name, o[name])
		}
	}
	timeout := src.Limits.QueryTimeout
	if timeout <= 0 {
		timeout = 10 * time.Minute
	}
	cfg.Application = "behalf"
	// A dead host would hang a login for five minutes, and every wait of a session is bounded by its statement's.
	cfg.LoginTimeout, cfg.RequestTimeout, cfg.ClientTimeout, cfg.MaxRetryCount = 10*time.Second, timeout, timeout, 1
	cfg.DisableOCSPChecks = cfg.Protocol == "http"
	param := func(s string) *string { return &s }
	cfg.Params = map[string]*string{
		"TIMEZONE":                     param("UTC"),
		"CLIENT_TELEMETRY_ENABLED":     param("false"),
		"CLIENT_SESSION_KEEP_ALIVE":    param("false"),
		"STATEMENT_TIMEOUT_IN_SECONDS": param(strconv.Itoa(int(timeout.Seconds()))),
		// In the Arrow format the driver turns decimals into floats on their way to text; as JSON they are exact.
		"GO_QUERY_RESULT_FORMAT": param("JSON"),
		// How many chunks of a result are fetched ahead of the one that is read. Ten, the driver's default, are up to
		// 160 MB for each statement. It looks for the name in lower case.
		"client_prefetch_threads": param("2"),
	}
	return cfg
}

// login returns how a service account logs in: all but a token.
func login(c *driverfactory.Checker, a driverfactory.ServiceAccount) gosnowflake.Config {
	var cfg gosnowflake.Config
	var given []string
	give := func(name string, is bool) {
		if is {
			given = append(given, name)
		}
	}
	give("token", !a.Token.Empty())
	give("oauth", a.OAuth != nil)
	give("password", !a.Password.Empty())
	give("private_key", !a.PrivateKey.Empty())
	switch len(given) {
	case 0:
		c.Wrong("service_account", "required",
			"the service account of snowflake needs a token, oauth, a user and password, or a user and private_key")
		return cfg
	case 1:
	default:
		c.Wrong("service_account", "invalid", "the service account has %s; keep one of them", strings.Join(given, " and "))
		return cfg
	}
	cfg.User = a.User
	if (given[0] == "password" || given[0] == "private_key") && a.User == "" {
		c.Wrong("service_account/user", "required", "a service account with a %s needs a user", given[0])
	}
	switch given[0] {
	case "oauth":
		cfg.Authenticator = gosnowflake.AuthTypeOAuth
	case "token":
		switch a.Kind {
		case "", "oauth":
			cfg.Authenticator = gosnowflake.AuthTypeOAuth
		case "pat":
			cfg.Authenticator = gosnowflake.AuthTypePat
		default:
			c.Wrong("service_account/kind", "invalid", "kind is %q; it is oauth or pat (a programmatic access token)", a.Kind)
		}
	case "password":
		cfg.Authenticator, cfg.Password = gosnowflake.AuthTypeSnowflake, a.Password.Reveal()
	case "private_key":
		key, err := parseKey(a.PrivateKey.Reveal())
		if err != nil {
			c.Wrong("service_account/private_key", "invalid",
				"private_key is no unencrypted RSA key in PEM (-----BEGIN PRIVATE KEY-----)")
		}
		cfg.Authenticator, cfg.PrivateKey = gosnowflake.AuthTypeJwt, key
	}
	return cfg
}

// parseKey reads an RSA key in PEM, as PKCS #8 or PKCS #1. Its errors say nothing of the key.
func parseKey(text string) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(strings.TrimSpace(text)))
	if block == nil {
		return nil, errors.New("no PEM")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("no PKCS #8")
	}
	if rsaKey, ok := key.(*rsa.PrivateKey); ok {
		return rsaKey, nil
	}
	return nil, errors.New("no RSA key")
}

// Connector returns a connector whose sessions log in with l.
func (w *Warehouse) Connector(src driverfactory.Source, l driverfactory.Login) (driver.Connector, error) {
	c := driverfactory.NewChecker(src, optionNames...)
	cfg := parseOptions(c, src)
	if l.Account != nil {
		who := login(c, *l.Account)
		cfg.Authenticator, cfg.User, cfg.Password, cfg.PrivateKey = who.Authenticator, who.User, who.Password, who.PrivateKey
	} else {
		// The user is left out: the token says who it is, and a name that differs is refused.
		cfg.Authenticator = gosnowflake.AuthTypeOAuth
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	if l.Account == nil && l.Token == nil {
		return nil, errors.New("snowflake: a session needs a token")
	}
	cfg.Transporter = &transport{base: w.base}
	return &connector{cfg: cfg, token: l.Token}, nil
}

// connector logs in for each session with the token of the moment. The token is never part of a DSN.
type connector struct {
	cfg   gosnowflake.Config
	token func(context.Context) (driverfactory.Token, error) // nil for a password or a key
}

// Connect opens a session.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	cfg := c.cfg
	cfg.Params = make(map[string]*string, len(c.cfg.Params)) // the driver writes into it
	for k, v := range c.cfg.Params {
		cfg.Params[k] = v
	}
	if c.token != nil {
		tok, err := c.token(ctx)
		if err != nil {
			return nil, err
		}
		cfg.Token = tok.Value.Reveal()
	}
	return gosnowflake.NewConnector(gosnowflake.SnowflakeDriver{}, cfg).Connect(ctx)
}

// Driver returns gosnowflake's driver.
func (c *connector) Driver() driver.Driver { return gosnowflake.SnowflakeDriver{} }

// transport is the shared transport as one session sees it. A session that closes must not close the idle connections
// of everybody, which the driver does where it can: this type has no CloseIdleConnections. And it must not wait for
// long to say goodbye.
type transport struct{ base http.RoundTripper }

const closing = 10 * time.Second

// RoundTrip carries one request.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	tidying := req.URL.Path == "/session" || req.URL.Path == "/queries/v1/abort-request" || req.URL.Path == "/telemetry/send"
	if !tidying {
		return t.base.RoundTrip(req)
	}
	ctx, cancel := context.WithTimeout(req.Context(), closing)
	resp, err := t.base.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	resp.Body = &cancelBody{ReadCloser: resp.Body, cancel: cancel}
	return resp, nil
}

// cancelBody ends the deadline of a request with its body.
type cancelBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b *cancelBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}

// Writing implements driverfactory.Writer. A session is not told that it only reads: there are no such sessions.
func (w *Warehouse) Writing() (allow, forbid string) { return "", "" }

// Reach asks the account's host for its front page, with no credential.
func (w *Warehouse) Reach(ctx context.Context, src driverfactory.Source) error {
	c := driverfactory.NewChecker(src, optionNames...)
	cfg := parseOptions(c, src)
	if err := c.Err(); err != nil {
		return err
	}
	cfg.Authenticator = gosnowflake.AuthTypeOAuth
	if _, err := gosnowflake.DSN(&cfg); err != nil { // it derives the host from the account; it is not used as a DSN
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, fmt.Sprintf("%s://%s:%d/", cfg.Protocol, cfg.Host, cfg.Port), nil)
	if err != nil {
		return err
	}
	resp, err := w.base.RoundTrip(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// CurrentUser implements driverfactory.Namer.
func (w *Warehouse) CurrentUser() string { return "SELECT CURRENT_USER()" }

// AskRole implements driverfactory.RoleTeller.
func (w *Warehouse) AskRole() string {
	return "SELECT CURRENT_ROLE(), CURRENT_SECONDARY_ROLES(), CURRENT_DATABASE(), CURRENT_SCHEMA()"
}

// Role returns the role, and the schema in which names are looked for, which is the user's own where the source names none.
// Where secondary roles are active, the rights of a session are those of all roles that its user was granted, now and later:
// then the role says too little, and is not known.
func (w *Warehouse) Role(row []string) string {
	var secondary struct{ Roles, Value string }
	if err := json.Unmarshal([]byte(row[1]), &secondary); err != nil || secondary.Roles != "" ||
		secondary.Value != "" && secondary.Value != "NONE" {
		return ""
	}
	if row[0] == "" {
		return ""
	}
	return driverfactory.JoinRole(row[0], row[2], row[3])
}

// TokenAtLogin is true: a session goes on after its token ended.
func (w *Warehouse) TokenAtLogin() bool { return true }
