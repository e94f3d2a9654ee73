package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/behalf-project/behalf/config"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/id"
	"github.com/behalf-project/behalf/internal/sandbox"
	"github.com/behalf-project/behalf/internal/sandbox/databricks"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sync/errgroup"
)

// demoModel is the data model of the demo.
//
//go:embed demo/model
var demoModel embed.FS

// demoCommand runs the real server against the sandbox, and the story that shows what it is for.
type demoCommand struct {
	Port     int    `help:"The port of Behalf." default:"4000"`
	Host     string `help:"The loopback address to listen on." default:"127.0.0.1" hidden:""`
	Rows     int    `help:"How many orders the warehouses hold." default:"1000000"`
	Once     bool   `help:"Tell the story, check it, and exit: 0 when all of it held, 1 naming what did not."`
	LogLevel string `help:"How much of the server's log to show: debug, info, warn or error." default:"error" enum:"debug,info,warn,error"`
}

// Run implements the command.
func (c *demoCommand) Run(ctx context.Context, std streams) error {
	if ip := net.ParseIP(c.Host); ip == nil || !ip.IsLoopback() {
		return fault.New(fault.Invalid, "The demo listens on loopback only, and %s is not: its people sign in without a password.", c.Host)
	}
	dir, err := os.MkdirTemp("", "behalf-demo-")
	if err != nil {
		return fmt.Errorf("make a folder for the demo: %w", err)
	}
	defer os.RemoveAll(dir)
	level, err := zapcore.ParseLevel(c.LogLevel)
	if err != nil {
		return err
	}
	log := newLog(std.Err, level)

	fmt.Fprintf(std.Out, "Starting an identity provider and two warehouses with %s orders …\n", grouped(c.Rows))
	box, err := sandbox.Start(ctx, sandbox.Config{Rows: c.Rows, SignInAs: true, Log: log.Named("sandbox")})
	if err != nil {
		return err
	}
	defer box.Close()
	passwords, err := writeDemo(dir, c.Host, c.Port, box)
	if err != nil {
		return err
	}
	cfg, err := config.Load(config.Options{Path: filepath.Join(dir, "behalf.yaml")})
	if err != nil {
		return err
	}
	s, err := assemble(ctx, cfg, log)
	if err != nil {
		return demoPortHint(err, c.Port)
	}
	defer s.Close()

	running, stop := context.WithCancel(ctx)
	defer stop()
	var g errgroup.Group
	g.Go(func() error {
		defer stop() // a server that fails ends the story
		return s.Run(running)
	})
	tale := newStory(std.Out, cfg.Server.PublicURL, box, passwords)
	told := tale.tell(running)
	if told == nil && !c.Once {
		told = goOn(running, std.Out, tale, cfg)
	}
	if told == nil && !c.Once {
		<-running.Done()
		fmt.Fprintln(std.Out, "\nStopping. Everything the demo made is gone.")
	}
	stop()
	if err := g.Wait(); err != nil {
		return err
	}
	if ctx.Err() != nil && !c.Once {
		return nil // the person pressed Ctrl-C
	}
	return told
}

// writeDemo writes what `behalf serve --config` needs to dir: the configuration, the data model and the secrets. It
// returns the passwords of the people, which are made anew at every start.
func writeDemo(dir, host string, port int, box *sandbox.Sandbox) (map[string]string, error) {
	model, err := fs.Sub(demoModel, "demo/model")
	if err != nil {
		return nil, err
	}
	if err := os.CopyFS(filepath.Join(dir, "model"), model); err != nil {
		return nil, fmt.Errorf("write the data model: %w", err)
	}
	passwords := map[string]string{"carol": id.Random(8), "alice": id.Random(8), "bob": id.Random(8)}
	files := map[string]string{
		"api-secret": id.Random(32), "databricks-token": box.Service.DatabricksToken.Reveal(),
		"snowflake-password": box.Service.SnowflakePassword.Reveal(),
	}
	for name, password := range passwords {
		files[name+".password"] = password
	}
	if files["behalf.yaml"], err = demoYAML(host, port, box); err != nil {
		return nil, err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("write the configuration: %w", err)
		}
	}
	return passwords, nil
}

// demoYAML is the configuration of the demo. The OAuth apps are not in it: the admin of the story registers them.
func demoYAML(host string, port int, box *sandbox.Sandbox) (string, error) {
	snow, err := url.Parse(box.SnowflakeURL)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf(`# The configuration of the demo. It is real: behalf serve --config would take it.
server:
  listen: %q
  public_url: http://localhost:%d
  admin_listen: 127.0.0.1:0
keys: {keyset: {file: behalf.keys.json}}
auth:
  api_secret: {file: api-secret}
users:
  - {username: carol, email: carol@example.com, roles: [admin], password: {file: carol.password}}
  - {username: alice, email: alice@example.com, password: {file: alice.password}}
  - {username: bob, email: bob@example.com, password: {file: bob.password}}
data_sources:
  - name: default
    type: databricks
    options: {host: %q, http_path: %s}
    service_account: {token: {file: databricks-token}}
    fallback: deny
  - name: snowflake
    type: snowflake
    options: {account: demo, protocol: http, host: %s, port: %q, database: DEMO, schema: PUBLIC, warehouse: DEMO}
    service_account: {user: %s, password: {file: snowflake-password}}
    fallback: service_account
`, net.JoinHostPort(host, strconv.Itoa(port)), port,
		box.DatabricksURL, databricks.HTTPPath, snow.Hostname(), snow.Port(), box.Service.User), nil
}

// demoApp is what the admin of the story sends to POST /api/v1/oauth-apps.
type demoApp struct {
	Name         string   `json:"name"`
	Preset       string   `json:"preset"`
	Issuer       string   `json:"issuer"`
	ClientID     string   `json:"client_id"`
	ClientSecret string   `json:"client_secret"`
	Scopes       []string `json:"scopes"`
	DataSources  []string `json:"data_sources"`
}

// demoApps are the OAuth apps of the story. The provider is the sandbox's, so its issuer is given and the preset's
// hosts are not.
func demoApps(box *sandbox.Sandbox) []demoApp {
	of := func(name, source string, client sandbox.Client) demoApp {
		return demoApp{name, strings.ToLower(name), box.IssuerURL, client.ID, client.Secret.Reveal(), client.Scopes, []string{source}}
	}
	return []demoApp{of("Databricks", "default", box.DatabricksClient), of("Snowflake", "snowflake", box.SnowflakeClient)}
}

// registerApps registers the OAuth apps of the story as an admin does: here, and with the redirect URI that comes back
// at the provider. registered is told each.
func registerApps(ctx context.Context, admin *browser, box *sandbox.Sandbox, registered func(name, redirectURI string)) error {
	for _, app := range demoApps(box) {
		var created struct {
			RedirectURI string `json:"redirect_uri"`
		}
		if err := admin.call(ctx, http.MethodPost, "/api/v1/oauth-apps", app, &created); err != nil {
			return err
		}
		if err := box.IdP.AddRedirectURI(app.ClientID, created.RedirectURI); err != nil {
			return err
		}
		registered(app.Name, created.RedirectURI)
	}
	return nil
}

// goOn prints what to open and what to try, once the story is told.
func goOn(ctx context.Context, w io.Writer, s *story, cfg config.Config) error {
	token, err := s.alice.token(ctx)
	if err != nil {
		return err
	}
	url := cfg.Server.PublicURL
	fmt.Fprintf(w, `
Behalf stays up. Open %s and sign in:

`, url)
	for _, name := range []string{"carol", "alice", "bob"} {
		what := map[string]string{"carol": "the admin: OAuth apps", "alice": "connected; sees EMEA", "bob": "revoked; connect again and see AMER"}[name]
		fmt.Fprintf(w, "   %-6s password %s   %s\n", name, s.passwords[name], what)
	}
	fmt.Fprintf(w, `
The identity provider is %s; it signs in whom you choose.

A query as alice (the token is good for 15 minutes):

   export BEHALF=%s
   export TOKEN=%s
   curl -s "$BEHALF/cubejs-api/v1/load" -H "Authorization: $TOKEN" -G \
     --data-urlencode 'query={"measures":["orders.count"],"dimensions":["orders.region"]}'

The command line, as whom you sign in:

   behalf login %s --app databricks
   behalf connect list
   behalf connect token databricks

Its configuration, while it runs: %s
Stop it with Ctrl-C.
`, s.box.IssuerURL, url, token, url, cfg.Path)
	return nil
}

// demoPortHint says what to do when the port is taken.
func demoPortHint(err error, port int) error {
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return fmt.Errorf("%w\nSomething else uses port %d. Try: behalf demo --port %d", err, port, port+1000)
	}
	return err
}
