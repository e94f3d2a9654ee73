package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-project/behalf/config"
	"github.com/behalf-project/behalf/driverfactory/mysql/mariadbtest"
	"github.com/behalf-project/behalf/driverfactory/snowflake"
	"github.com/behalf-project/behalf/internal/jwtauth"
	"github.com/behalf-project/behalf/internal/sandbox"
	"github.com/behalf-project/behalf/internal/sandbox/engine"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/sqlstore/postgrestest"
	"github.com/behalf-project/behalf/internal/sqlstore/ramdisk"
	"github.com/behalf-project/behalf/internal/sqlstore/sqlstoretest"
	"go.uber.org/zap/zapcore"
)

// theSandbox is the sandbox of all tests here, started when the first one asks.
var theSandbox = struct {
	once sync.Once
	box  *sandbox.Sandbox
	err  error
}{}

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		if folder := os.Getenv(failpointFolder); folder != "" {
			failpoint = atFailpoints(folder)
		}
		main() // which exits
	}
	snowflake.Quiet() // as main does
	code := mariadbtest.Run(func() int { return postgrestest.Run(m) })
	if box := theSandbox.box; box != nil {
		if err := box.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "sandbox:", err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// startSandbox returns the sandbox of this binary, with all its levers as they were at its start.
func startSandbox(t *testing.T) *sandbox.Sandbox {
	t.Helper()
	theSandbox.once.Do(func() {
		theSandbox.box, theSandbox.err = sandbox.Start(context.Background(), sandbox.Config{Rows: 20_000})
		if theSandbox.err == nil {
			theSandbox.box.IdP.Watch(issued.add)
		}
	})
	if theSandbox.err != nil {
		t.Fatal(theSandbox.err)
	}
	box := theSandbox.box
	reset := func() {
		box.IdP.ClearFaults()
		box.IdP.SetAccessTokenLife(time.Hour)
		box.IdP.SetRotation(true)
		box.Databricks.FailNext(0, 0, 0)
		box.Databricks.CutNext(0)
		box.Snowflake.FailNext(0, 0, 0)
		box.Snowflake.CutNext(0)
	}
	reset()
	t.Cleanup(reset)
	return box
}

// Cubes that the demo does not need.
const testModel = `cubes:
  - name: slow_orders
    sql: "SELECT * FROM orders /* sandbox:sleep=60s */"
    dimensions: [{name: region, sql: region, type: string}]
    measures: [{name: count, type: count}]
  - name: brief_orders
    sql: "SELECT * FROM orders /* sandbox:sleep=500ms */"
    dimensions: [{name: region, sql: region, type: string}]
    measures: [{name: count, type: count}]
  - name: order_items
    sql_table: order_items
    dimensions: [{name: product, sql: product, type: string}]
    measures: [{name: quantity, sql: quantity, type: sum}]
  - name: ledger
    sql: "SELECT id, concat('Customer ', id) AS customer FROM range(1000000) AS t(id)"
    dimensions: [{name: customer, sql: customer, type: string}]
    measures: [{name: count, type: count}]
`

// Queries of the tests. The story has two more.
const (
	slowly    = `{"measures":["slow_orders.count"],"dimensions":["slow_orders.region"]}`
	briefly   = `{"measures":["brief_orders.count"],"dimensions":["brief_orders.region"]}`
	ofItems   = `{"measures":["order_items.quantity"],"dimensions":["order_items.product"]}`
	countOnly = `{"measures":["orders.count"]}`
)

// world is a running server with the sandbox around it, and the three people of the demo in front of it. What leaves
// the server is kept, and searched for secrets when the world ends; see evidence.
type world struct {
	t         *testing.T
	box       *sandbox.Sandbox
	dir       string
	environ   []string
	passwords map[string]string
	base      string // public URL
	logs      *buffer
	evidence  *evidence

	server *server
	stop   func() error // ends Run, and returns what it returned

	carol, alice, bob *browser
}

// worldConfig says how a world differs from the demo's.
type worldConfig struct {
	environ []string // BEHALF_* variables
	yaml    string   // appended to the configuration
	people  string   // appended to the list of people
}

// newWorld starts a world in which everybody is signed in, both OAuth apps are registered and nobody has connected.
func newWorld(t *testing.T, cfg worldConfig) *world {
	t.Helper()
	w := &world{
		t: t, box: startSandbox(t), dir: ramdisk.TempDir(t), logs: &buffer{},
		environ: append([]string{"BEHALF_ORCHESTRATOR_IDLE_TIMEOUT=2s"}, cfg.environ...),
	}
	port := freePort(t)
	w.base = "http://localhost:" + strconv.Itoa(port)
	w.evidence = newEvidence(w.base)
	var err error
	if w.passwords, err = writeDemo(w.dir, "127.0.0.1", port, w.box); err != nil {
		t.Fatal(err)
	}
	w.rewrite("behalf.yaml", func(text string) string {
		return strings.Replace(text, "data_sources:\n", cfg.people+"data_sources:\n", 1) + cfg.yaml
	})
	w.write("model/test.yml", testModel)
	sqlstoretest.MakeFile(t, filepath.Join(w.dir, "behalf.db"))
	w.start()
	t.Cleanup(func() {
		w.evidence.operated(t, w.server.adminHandler())
		w.evidence.stored(t, w.server.cfg.Store.URL, w.dir) // with what is in SQLite's log and not yet in its file
		w.end()
		w.evidence.stored(t, w.server.cfg.Store.URL, w.dir)
		w.evidence.keepText("the log", []byte(w.logs.String()))
		w.evidence.search(t, w.given())
		if t.Failed() && testing.Verbose() {
			t.Logf("the log of the server:\n%s", w.logs)
		}
	})
	w.carol, w.alice, w.bob = w.browser("carol"), w.browser("alice"), w.browser("bob")
	for _, b := range []*browser{w.carol, w.alice, w.bob} {
		w.must(b.signIn(t.Context(), w.passwords[b.username]))
	}
	w.must(registerApps(t.Context(), w.carol, w.box, func(string, string) {}))
	return w
}

// onBoth runs test in a world on SQLite and in one on Postgres.
func onBoth(t *testing.T, cfg worldConfig, test func(t *testing.T, w *world)) {
	t.Run("SQLite", func(t *testing.T) { test(t, newWorld(t, cfg)) })
	t.Run("Postgres", func(t *testing.T) {
		cfg.environ = append([]string{"BEHALF_STORE_URL=" + sqlstoretest.PostgresURL(t)}, cfg.environ...)
		test(t, newWorld(t, cfg))
	})
}

// assemble builds the server from the files of the world.
func (w *world) assemble() (*server, error) {
	cfg, err := config.Load(config.Options{Path: filepath.Join(w.dir, "behalf.yaml"), Environ: w.environ})
	if err != nil {
		return nil, err
	}
	return assemble(w.t.Context(), cfg, newLog(w.logs, zapcore.DebugLevel))
}

// start runs the server.
func (w *world) start() {
	w.t.Helper()
	s, err := w.assemble()
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	w.server = s
	w.stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-ran:
			return err
		case <-time.After(40 * time.Second):
			return fmt.Errorf("the server did not stop")
		}
	})
}

// end stops the server and closes what it had open.
func (w *world) end() {
	w.t.Helper()
	if err := w.stop(); err != nil {
		w.t.Errorf("Run = %v, want nil", err)
	}
	w.server.Close()
	w.evidence.client.CloseIdleConnections()
}

// restart stops the server and starts another one on the same files.
func (w *world) restart() {
	w.t.Helper()
	w.end()
	w.start()
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) write(name, text string) {
	w.t.Helper()
	w.must(os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600))
}

func (w *world) rewrite(name string, change func(string) string) {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join(w.dir, name))
	w.must(err)
	w.write(name, change(string(text)))
}

// given are the secrets that the server was given.
func (w *world) given() map[string]secret.Text {
	given := map[string]secret.Text{
		"client secret of Databricks": w.box.DatabricksClient.Secret, "client secret of Snowflake": w.box.SnowflakeClient.Secret,
		"token of the service account": w.box.Service.DatabricksToken, "password of the service account": w.box.Service.SnowflakePassword,
		"API secret": w.server.cfg.Auth.APISecret,
	}
	for name, password := range w.passwords {
		given["password of "+name] = secret.New(password)
	}
	for _, p := range w.box.People {
		given["password of "+p.Username+" at the provider"] = p.Password
	}
	return given
}

// browser returns a browser in which nobody is signed in yet.
func (w *world) browser(username string) *browser {
	b := newBrowser(w.base, username)
	b.http.Transport = w.evidence
	return b
}

// connect authorizes apps for a person.
func (w *world) connect(b *browser, apps ...string) {
	w.t.Helper()
	for _, app := range apps {
		w.must(b.connect(w.t.Context(), app, w.box.IdP.SignIn))
	}
}

// callback lets a person press Authorize and sign in at the provider, and returns where the provider sends them back
// to, which nobody has opened yet.
func (w *world) callback(b *browser, app string) *url.URL {
	w.t.Helper()
	_, to, err := b.pressAuthorize(w.t.Context(), app)
	w.must(err)
	back, err := w.box.IdP.SignIn(w.t.Context(), to, b.username)
	w.must(err)
	return back
}

// get opens a page.
func (w *world) get(b *browser, target string) answer {
	w.t.Helper()
	a, err := b.do(w.t.Context(), http.MethodGet, target, nil, nil)
	w.must(err)
	return a
}

// grant returns what the API says of a person's connected app.
func (w *world) grant(b *browser, app string) (g struct{ Status, Reason string }) {
	w.t.Helper()
	w.must(b.call(w.t.Context(), http.MethodGet, "/api/v1/connected-apps/"+app, nil, &g))
	return g
}

// asked is the answer to a query.
type asked struct {
	loaded
	status int
	header http.Header
	body   string
	err    error // nobody answered
}

// send is one way to ask a query: with a token, by a method, with a body.
func (w *world) send(ctx context.Context, b *browser, method, path, token, body string) asked {
	return b.ask(ctx, method, path, token, body)
}

// ask asks a query, as often as it takes.
func (b *browser) ask(ctx context.Context, method, path, token, body string) asked {
	header := http.Header{"Authorization": {token}, "Content-Type": {"application/json"}}
	for {
		got, err := b.do(ctx, method, path, header, strings.NewReader(body))
		if err != nil {
			return asked{err: err}
		}
		a := asked{status: got.status, header: got.header, body: string(got.body)}
		if err := json.Unmarshal(got.body, &a.loaded); err != nil {
			a.err = fmt.Errorf("%s answered %d with %.300q", path, got.status, got.body)
		}
		if a.Error != "Continue wait" {
			return a
		}
	}
}

// ask asks a query that no cache may answer, as often as it takes.
func (w *world) ask(b *browser, query string) asked {
	token, err := b.token(w.t.Context())
	if err != nil {
		return asked{err: err}
	}
	return w.send(w.t.Context(), b, http.MethodGet, "/cubejs-api/v1/load?cache=no-cache&query="+url.QueryEscape(query), token, "")
}

// asking asks a query and does not wait for the answer.
func (w *world) asking(b *browser, query string) <-chan asked {
	answered := make(chan asked, 1)
	go func() { answered <- w.ask(b, query) }()
	return answered
}

// sign returns a JWT of an application that says who asks.
func (w *world) sign(username string) string {
	w.t.Helper()
	claims := map[string]any{"cubeCloud": map[string]any{"username": username}}
	token, err := jwtauth.Sign(w.server.cfg.Auth.APISecret, claims, time.Now(), time.Minute)
	w.must(err)
	return token.Reveal()
}

// ran fails the test unless a has rows, and ran under this identity for this person.
func (a asked) ran(t *testing.T, identity, username string) {
	t.Helper()
	if a.err != nil {
		t.Errorf("the query: %v", a.err)
	} else if err := ranAs(a.loaded, identity, username); err != nil {
		t.Errorf("the query of %s: %v (HTTP %d)", username, err, a.status)
	}
}

// refused fails the test unless a is a refusal with this status and code whose sentence says all of this.
func (a asked) refused(t *testing.T, status int, code string, says ...string) {
	t.Helper()
	if a.err != nil {
		t.Errorf("the query: %v", a.err)
		return
	}
	if a.status != status || a.Code != code {
		t.Errorf("the query = %d %q, want %d %q: %.500s", a.status, a.Code, status, code, a.body)
	}
	for _, text := range says {
		if !strings.Contains(a.Error, text) {
			t.Errorf("the refusal says %q, want it to say %q", a.Error, text)
		}
	}
}

// mark is a place in the log of statements of the warehouses.
func (w *world) mark() int64 {
	all := w.box.Engine.Log.Statements()
	if len(all) == 0 {
		return 0
	}
	return all[len(all)-1].Seq
}

// statements returns those since a mark that hold a text, of people; liveness checks are the service account's.
func (w *world) statements(since int64, holding string) []engine.Statement {
	return slices.DeleteFunc(w.box.Engine.Log.Statements(), func(s engine.Statement) bool {
		return s.Seq <= since || !strings.Contains(s.SQL, holding)
	})
}

// await waits for a statement of a person since a mark that holds a text and has this outcome.
func (w *world) await(since int64, identity, holding string, outcome engine.Outcome) engine.Statement {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	s, err := w.box.Engine.Log.Await(ctx, func(s engine.Statement) bool {
		return s.Seq > since && s.Identity == identity && s.Outcome == outcome && strings.Contains(s.SQL, holding)
	})
	if err != nil {
		w.t.Fatalf("no statement of %s with %q is %s: %+v", identity, holding, outcome, w.statements(since, holding))
	}
	return s
}

// eventually fails the test unless ok becomes true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	eventuallyWithin(t, time.Minute, what, ok)
}

// eventuallyWithin is eventually for what takes longer.
func eventuallyWithin(t *testing.T, d time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(d); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it did not come to be: %s", what)
		}
	}
}

// identities lists whose statements these are.
func identities(statements []engine.Statement) []string {
	names := map[string]bool{}
	for _, s := range statements {
		names[s.Identity] = true
	}
	return slices.Sorted(maps.Keys(names))
}

func TestEverybodySeesTheirOwnRows(t *testing.T) {
	onBoth(t, worldConfig{}, func(t *testing.T, w *world) {
		w.connect(w.alice, "databricks", "snowflake")
		w.connect(w.bob, "databricks", "snowflake")
		for _, tt := range []struct {
			who            *browser
			query, regions string
		}{
			{w.alice, atDatabricks, "[EMEA]"}, {w.bob, atDatabricks, "[AMER]"},
			{w.alice, atSnowflake, "[EMEA]"}, {w.bob, atSnowflake, "[AMER]"},
		} {
			got := w.ask(tt.who, tt.query)
			got.ran(t, "user", tt.who.username)
			if seen := fmt.Sprint(regions(got.loaded)); seen != tt.regions {
				t.Errorf("%s sees %s, want %s", tt.who.username, seen, tt.regions)
			}
			if want := `user;username="` + tt.who.username + `"`; !strings.HasPrefix(got.header.Get("Behalf-Run-As"), want) {
				t.Errorf("Behalf-Run-As = %q, want %s", got.header.Get("Behalf-Run-As"), want)
			}
		}
	})
}
