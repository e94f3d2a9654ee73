// Package databricks runs statements at a Databricks SQL warehouse or cluster, with databricks-sql-go.
//
// The token goes with every HTTP request, so a refreshed one reaches sessions that are open already. What the driver
// would do with tokens, errors and telemetry by itself is not what a server for many people needs; transport.go
// stands between it and the network and says why at each point.
package databricks

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	dbsql "github.com/databricks/databricks-sql-go"
	"github.com/databricks/databricks-sql-go/auth/noop"
	dbsqlerr "github.com/databricks/databricks-sql-go/errors"
	"github.com/databricks/databricks-sql-go/logger"

	"github.com/behalf-project/behalf/driverfactory"
)

// Config is what a Warehouse needs. The zero Config is complete.
type Config struct {
	// Transport carries the requests of everybody to every source: who asks is in a header, never in a connection.
	// Default: an http.Transport of its own.
	Transport http.RoundTripper
}

// Warehouse is the adapter. It is safe for concurrent use.
type Warehouse struct {
	base http.RoundTripper
}

var (
	_ driverfactory.Warehouse = (*Warehouse)(nil)
	_ driverfactory.Explainer = (*Warehouse)(nil)
	_ driverfactory.Reacher   = (*Warehouse)(nil)
	_ driverfactory.Writer    = (*Warehouse)(nil)
)

// quiet turns the driver's logger off, once: it is one for the process, and it logs statements.
var quiet = sync.OnceFunc(func() {
	if err := logger.SetLogLevel("disabled"); err != nil {
		panic("databricks: " + err.Error()) // a word of the driver's own documentation
	}
})

// New returns a Warehouse over cfg.
func New(cfg Config) *Warehouse {
	quiet()
	if cfg.Transport == nil {
		cfg.Transport = newTransport()
	}
	return &Warehouse{base: cfg.Transport}
}

// newTransport is http.DefaultTransport with room for the sessions of many people at one host.
func newTransport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConns, t.MaxIdleConnsPerHost = 256, 64
	t.IdleConnTimeout = 30 * time.Second // sessions outlive it only where they are used
	return t
}

var optionNames = []string{"host", "http_path", "catalog", "schema", "cloud_fetch"}

// Check returns what is wrong with src.
func (w *Warehouse) Check(src driverfactory.Source) error {
	c := driverfactory.NewChecker(src, optionNames...)
	parseOptions(c, src)
	if a := src.ServiceAccount; a != nil {
		switch {
		case !a.Password.Empty() || !a.PrivateKey.Empty():
			c.Wrong("service_account", "unsupported",
				"databricks takes no password or private key; give the service account a token or oauth")
		case a.Token.Empty() && a.OAuth == nil:
			c.Wrong("service_account", "required", "the service account of databricks needs a token or oauth")
		case !a.Token.Empty() && a.OAuth != nil:
			c.Wrong("service_account", "invalid", "the service account has a token and oauth; keep one of them")
		}
	}
	return c.Err()
}

// options are the settings of a source, parsed.
type options struct {
	scheme, host string
	port         int
	path         string // of the warehouse or cluster, with its leading slash and perhaps a query (?o=…)
	cloudFetch   bool
}

func parseOptions(c *driverfactory.Checker, src driverfactory.Source) options {
	o := options{scheme: "https", port: 443}
	if host := c.Required("host", "dbc-a1b2c3d4-e5f6.cloud.databricks.com"); host != "" {
		if !strings.Contains(host, "://") {
			host = "https://" + host
		}
		u, err := url.Parse(host)
		switch {
		case err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
			strings.Trim(u.Path, "/") != "" || u.Scheme != "https" && u.Scheme != "http":
			c.Wrong("options/host", "invalid", "host is a name like dbc-….cloud.databricks.com, "+
				"perhaps with https:// before it or a port after it, and nothing else")
		default:
			o.scheme, o.host = u.Scheme, u.Hostname()
			if strings.Contains(o.host, ":") {
				o.host = "[" + o.host + "]"
			}
			if o.scheme == "http" {
				o.port = 80
				c.PlainHTTP("host", u.Hostname())
			}
			if p := u.Port(); p != "" {
				o.port, err = strconv.Atoi(p)
				if err != nil || o.port < 1 || o.port > 65535 {
					c.Wrong("options/host", "invalid", "the port of host is %q; a port is a number from 1 to 65535", p)
				}
			}
		}
	}
	if path := c.Required("http_path", "/sql/1.0/warehouses/1234567890abcdef"); path != "" {
		o.path = "/" + strings.TrimLeft(path, "/")
		u, err := url.Parse(o.path)
		if err != nil || u.Host != "" || u.Fragment != "" || strings.Contains(u.Path, "..") || !strings.HasPrefix(u.Path, "/sql/") {
			c.Wrong("options/http_path", "invalid", "http_path is %q; copy it from the connection details: "+
				"/sql/1.0/warehouses/… of a warehouse, or sql/protocolv1/o/… of a cluster", path)
		}
	}
	o.cloudFetch = c.OneOf("cloud_fetch", "true", "false") == "true"
	return o
}

// Connector returns a connector whose sessions log in with login.
func (w *Warehouse) Connector(src driverfactory.Source, login driverfactory.Login) (driver.Connector, error) {
	c := driverfactory.NewChecker(src, optionNames...)
	o := parseOptions(c, src)
	if err := c.Err(); err != nil {
		return nil, err
	}
	if login.Token == nil || login.Refused == nil {
		return nil, errors.New("databricks: a session needs a token")
	}
	timeout := src.Limits.QueryTimeout
	if timeout <= 0 {
		timeout = 10 * time.Minute
	}
	path, _, _ := strings.Cut(o.path, "?")
	return dbsql.NewConnector(
		// Always with its scheme: the driver takes a bare "localhost" for http and cuts "http" off "httpbin.corp".
		dbsql.WithServerHostname(o.scheme+"://"+o.host),
		dbsql.WithPort(o.port),
		dbsql.WithHTTPPath(o.path),
		dbsql.WithInitialNamespace(src.Options["catalog"], src.Options["schema"]),
		dbsql.WithUserAgentEntry("behalf"),
		dbsql.WithSessionParams(map[string]string{"timezone": "UTC"}),
		dbsql.WithTimeout(timeout),
		dbsql.WithMaxRows(10_000),
		dbsql.WithCloudFetch(o.cloudFetch),
		dbsql.WithRetries(-1, 0, 0), // the transport repeats what may be repeated
		dbsql.WithAuthenticator(&noop.NoopAuth{}),
		dbsql.WithTransport(&transport{
			base: w.base, login: login, scheme: o.scheme, host: strings.Trim(o.host, "[]"), path: path, timeout: timeout,
		}),
	)
}

// Writing implements driverfactory.Writer. A session is not told that it only reads: there are no such sessions.
func (w *Warehouse) Writing() (allow, forbid string) { return "", "" }

// Reach asks the host for its front page, with no credential.
func (w *Warehouse) Reach(ctx context.Context, src driverfactory.Source) error {
	c := driverfactory.NewChecker(src, optionNames...)
	o := parseOptions(c, src)
	if err := c.Err(); err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, fmt.Sprintf("%s://%s:%d/", o.scheme, o.host, o.port), nil)
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
func (w *Warehouse) CurrentUser() string { return "SELECT current_user()" }

// TokenAtLogin is false: the token goes with every request.
func (w *Warehouse) TokenAtLogin() bool { return false }

// Classify says what err means.
func (w *Warehouse) Classify(err error) driverfactory.Class {
	if r, ok := errors.AsType[*responseError](err); ok {
		return r.class()
	}
	text := err.Error()
	if strings.Contains(text, "Invalid SessionHandle") || strings.Contains(text, "thrift: invalid handle") {
		// As a Thrift status, which the driver does not recognise: it would keep the dead session for ever.
		return driverfactory.SessionLost
	}
	if errors.Is(err, driver.ErrBadConn) {
		return driverfactory.SessionLost
	}
	if e, ok := errors.AsType[dbsqlerr.DBExecutionError](err); ok {
		switch state := e.SqlState(); {
		case state == "42501" || state == "28000" || denied(text):
			return driverfactory.AccessDenied
		case state == "57014" || strings.Contains(text, "CANCELED_STATE"):
			return driverfactory.Canceled
		case errors.Is(err, dbsqlerr.RequestError):
			return driverfactory.TransportFailed // it failed on the way; nobody knows whether it ran
		}
		return driverfactory.StatementFailed
	}
	if errors.Is(err, dbsqlerr.RequestError) {
		return driverfactory.TransportFailed
	}
	return driverfactory.StatementFailed
}

// denied recognises a missing permission where the state does not tell.
func denied(text string) bool {
	return strings.Contains(text, "PERMISSION_DENIED") || strings.Contains(text, "INSUFFICIENT_PERMISSIONS") ||
		strings.Contains(text, "INSUFFICIENT_PRIVILEGES")
}

// Explain returns the warehouse's own sentence: the innermost error, without the layers of the driver.
func (w *Warehouse) Explain(err error) string {
	if r, ok := errors.AsType[*responseError](err); ok {
		return r.reason
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

// Value converts a value by the name of its type.
func (w *Warehouse) Value(dbType string, scale int64, v any) any {
	switch v := v.(type) {
	case int8:
		return int64(v)
	case int16:
		return int64(v)
	case int32:
		return int64(v)
	case int:
		return int64(v)
	case float32:
		return shortest(v)
	case time.Time:
		return v.UTC()
	case []byte:
		if dbType != "BINARY" {
			return w.Value(dbType, scale, string(v))
		}
		return v
	case string:
		return fromText(dbType, v)
	case nil, bool, int64, float64:
		return v
	}
	return fmt.Sprint(v)
}

// shortest widens a 32-bit float to the number that people see: 0.1 and not 0.10000000149011612.
func shortest(v float32) float64 {
	f, err := strconv.ParseFloat(strconv.FormatFloat(float64(v), 'g', -1, 32), 64)
	if err != nil {
		return float64(v)
	}
	return f
}

// fromText converts what arrives as text in one of the two result formats, and only there.
func fromText(dbType, v string) any {
	switch dbType {
	case "DECIMAL":
		return driverfactory.Decimal(v)
	case "DATE":
		if t, err := time.Parse(time.DateOnly, v); err == nil {
			return t
		}
	case "TIMESTAMP", "TIMESTAMP_NTZ":
		if t, err := time.Parse("2006-01-02 15:04:05.999999999", v); err == nil {
			return t
		}
	}
	return v
}
