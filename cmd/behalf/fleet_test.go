package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/jwtauth"
	"github.com/behalf-project/behalf/internal/sandbox"
	"github.com/behalf-project/behalf/internal/sandbox/bearer"
	"github.com/behalf-project/behalf/internal/sandbox/databricks"
	"github.com/behalf-project/behalf/internal/sandbox/idp"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/sqlstore/ramdisk"
	"github.com/behalf-project/behalf/internal/sqlstore/sqlstoretest"
	"github.com/behalf-project/behalf/internal/users"
)

// combination is one way to run Behalf: over which store, how often, and against what kind of provider.
type combination struct {
	postgres bool
	replicas int
	rotating bool // each refresh brings a new refresh token, and using the old one again ends the grant
}

// combinations are those of broker.md §5. SQLite serves one process.
var combinations = []combination{
	{false, 1, true}, {false, 1, false},
	{true, 1, true}, {true, 1, false},
	{true, 3, true}, {true, 3, false},
}

func (c combination) String() string {
	store, kind := "SQLite", "keeps"
	if c.postgres {
		store = fmt.Sprintf("Postgres, %d", c.replicas)
	}
	if c.rotating {
		kind = "rotates"
	}
	return store + ", " + kind
}

// fleet is Behalf as an operator runs it: processes on a store, with a provider and a warehouse to themselves, and
// alice, who is signed in. Nothing of it is shared with another fleet but the warehouse's data, so fleets run side by
// side.
type fleet struct {
	combination
	t            *testing.T
	dir          string // of the configuration
	public       string // URL
	store        secret.Text
	apiSecret    secret.Text
	clientSecret secret.Text // at its providers

	at       providerOfFleet
	provider *idp.Provider // the sandbox's; nil where it is another one
	front    *wire         // between everybody and the provider
	other    *idp.Provider // of the second app
	replicas []*replicaOfFleet
	alice    []*browser // in front of each replica, with one cookie jar
	evidence *evidence

	mu       sync.Mutex
	statuses []string // seen by alice, in order, each once
	lost     int      // refresh tokens
	mark     struct { // where the counting of refresh calls ended
		calls, refused int
		done           bool
	}
}

// providerOfFleet is the provider of a fleet's first app, ours or not.
type providerOfFleet struct {
	issuer    string
	promptFor string // prompt of the authorization request, where it needs one
	bearers   bearer.Resolver
	signIn    func(ctx context.Context, authorizationURL, username string) (*url.URL, error)
	lives     func(life time.Duration) // sets how long access tokens live from now on
	refreshes func() (calls, refused int)
}

// replicaOfFleet is one process of a fleet.
type replicaOfFleet struct {
	*process
	db *wire // to Postgres; nil on SQLite
}

// The client of the fleet at its providers, and what it asks for.
const (
	fleetClient = "behalf-fleet"
	fleetApp    = "databricks"
	otherApp    = "other"
)

// fleetModel has one question for each provider.
const fleetModel = `cubes:
  - name: orders
    sql_table: orders
    dimensions: [{name: region, sql: region, type: string}]
    measures: [{name: count, type: count}]
  - name: shared_orders
    sql: "SELECT * FROM orders /* sandbox:sleep=300ms */"
    measures: [{name: count, type: count}]
  - name: other_orders
    sql_table: orders
    data_source: other
    measures: [{name: count, type: count}]
`

// fleetPassword is alice's here, and the hash by which the servers know it, made once.
var fleetPassword = sync.OnceValues(func() (p struct{ clear, hash secret.Text }, err error) {
	p.clear = secret.New(rand.Text())
	p.hash, err = users.New(users.Config{}).Hash(context.Background(), p.clear)
	return p, err
})

// fleetKey signs the ID tokens of all providers of fleets: making one takes longer than a fleet's start.
var fleetKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// newFleet starts a fleet at the sandbox's provider, in which alice is signed in and has connected nothing.
func newFleet(t *testing.T, box *sandbox.Sandbox, c combination) *fleet {
	t.Helper()
	return newFleetAt(t, box, c, func(f *fleet) providerOfFleet {
		f.provider, f.front = f.authorizationServer(fleetApp)
		f.provider.SetRotation(c.rotating)
		return providerOfFleet{
			issuer: f.provider.Issuer(), bearers: f.provider, signIn: f.provider.SignIn, lives: f.provider.SetAccessTokenLife,
			refreshes: func() (calls, refused int) {
				for _, c := range f.provider.Calls() {
					if c.Endpoint == idp.Token && c.GrantType == "refresh_token" {
						calls++
						if c.Error == "invalid_grant" {
							refused++
						}
					}
				}
				return calls, refused
			},
		}
	})
}

// newFleetAt starts a fleet at the provider that start returns.
func newFleetAt(t *testing.T, box *sandbox.Sandbox, c combination, start func(f *fleet) providerOfFleet) *fleet {
	t.Helper()
	f := &fleet{t: t, combination: c, dir: ramdisk.TempDir(t), apiSecret: secret.New(rand.Text()), clientSecret: secret.New(rand.Text())}
	f.public = "http://localhost:" + quietPort(t)
	bases := []string{f.public}
	for len(bases) < c.replicas {
		bases = append(bases, "http://localhost:"+quietPort(t))
	}
	f.at = start(f)
	f.other, _ = f.authorizationServer(otherApp)
	var warehouses []string
	for _, bearers := range []bearer.Resolver{f.at.bearers, f.other} {
		w := databricks.New(databricks.Config{Engine: box.Engine, Bearers: bearers})
		server := httptest.NewServer(w)
		t.Cleanup(func() {
			f.must(w.Close())
			server.Close()
		})
		warehouses = append(warehouses, server.URL)
	}
	prompt := ""
	if f.at.promptFor != "" {
		prompt = ", auth_params: {prompt: " + f.at.promptFor + "}"
	}
	password, err := fleetPassword()
	f.must(err)
	f.store = secret.New("sqlite:behalf.db")
	var database string
	if c.postgres {
		database = sqlstoretest.PostgresURL(t)
		f.store = secret.New(database)
	} else {
		sqlstoretest.MakeFile(t, filepath.Join(f.dir, "behalf.db"))
	}
	f.write("model/model.yml", fleetModel)
	f.write("api-secret", f.apiSecret.Reveal())
	f.write("client-secret", f.clientSecret.Reveal())
	f.write("behalf.yaml", fmt.Sprintf(`server: {public_url: %q, admin_listen: "off", grace: 5s}
keys: {keyset: {file: behalf.keys.json}}
auth: {api_secret: {file: api-secret}}
users:
  - {username: alice, email: alice@example.com, roles: [admin], password: %q}
oauth_apps:
  - {name: Databricks, preset: oidc, issuer: %q, client_id: %s, client_secret: {file: client-secret}, scopes: [openid, sql, offline_access], data_sources: [default]%s}
  - {name: Other, preset: oidc, issuer: %q, client_id: %s, client_secret: {file: client-secret}, scopes: [openid, sql, offline_access], data_sources: [other]}
data_sources:
  - {name: default, type: databricks, options: {host: %q, http_path: %s}, oauth_app: Databricks, fallback: deny}
  - {name: other, type: databricks, options: {host: %q, http_path: %s}, oauth_app: Other, fallback: deny}
`, f.public, password.hash.Reveal(), f.at.issuer, fleetClient, prompt, f.other.Issuer(), fleetClient,
		warehouses[0], databricks.HTTPPath, warehouses[1], databricks.HTTPPath))

	f.evidence = newEvidence(bases...)
	for _, p := range []*idp.Provider{f.provider, f.other} {
		if p != nil {
			p.Watch(f.evidence.own.add)
		}
	}
	t.Cleanup(func() {
		f.end(map[string]secret.Text{"client secret": f.clientSecret, "API secret": f.apiSecret, "password": password.clear})
	})
	first := newBrowser(f.public, "alice")
	first.http.Transport, first.http.Timeout = f.evidence, 3*time.Minute // longer than any freeze
	for i, base := range bases {
		f.must(os.MkdirAll(f.failpoints(i), 0o700))
		r := &replicaOfFleet{process: &process{
			t: t, config: filepath.Join(f.dir, "behalf.yaml"), base: base, logs: &buffer{},
			environ: []string{failpointFolder + "=" + f.failpoints(i), "BEHALF_SERVER_LISTEN=" + strings.Replace(strings.TrimPrefix(base, "http://"), "localhost", "127.0.0.1", 1)},
		}}
		if c.postgres {
			r.db = newWire(t, hostOf(t, database))
			r.environ = append(r.environ, "BEHALF_STORE_URL="+strings.Replace(database, hostOf(t, database), r.db.address, 1))
		}
		f.replicas = append(f.replicas, r)
		t.Cleanup(r.reap)
		b := *first
		b.base = base
		f.alice = append(f.alice, &b)
	}
	f.replicas[0].start() // the first migrates and makes the keys
	for _, r := range f.replicas[1:] {
		r.launch()
	}
	for _, r := range f.replicas[1:] {
		f.must(r.ready())
	}
	f.must(f.alice[0].signIn(t.Context(), password.clear.Reveal()))
	return f
}

// authorizationServer starts a provider behind a wire.
func (f *fleet) authorizationServer(app string) (*idp.Provider, *wire) {
	f.t.Helper()
	server := httptest.NewUnstartedServer(nil)
	front := newWire(f.t, server.Listener.Addr().String())
	key, err := fleetKey()
	f.must(err)
	p, err := idp.New(idp.Config{
		Issuer: "http://" + front.address, Key: key, People: []idp.Person{{Username: "alice", Password: secret.New(rand.Text())}},
	})
	f.must(err)
	f.register(p, app)
	server.Config.Handler = p
	server.Start()
	f.t.Cleanup(server.Close)
	return p, front
}

// register makes the fleet's app a client of p, in place of the client it was.
func (f *fleet) register(p *idp.Provider, app string) {
	p.AddClient(idp.Client{ID: fleetClient, Secret: f.clientSecret, RedirectURIs: []string{f.public + "/oauth/callback/" + app}})
}

func (f *fleet) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fleet) write(name, text string) {
	f.t.Helper()
	f.must(os.MkdirAll(filepath.Join(f.dir, filepath.Dir(name)), 0o700))
	f.must(os.WriteFile(filepath.Join(f.dir, name), []byte(text), 0o600))
}

// failpoints is the folder of failpoints of replica i.
func (f *fleet) failpoints(i int) string {
	return filepath.Join(f.dir, fmt.Sprintf("failpoints-%d", i+1))
}

// end stops the processes and searches for secrets in what they answered, logged and stored.
func (f *fleet) end(given map[string]secret.Text) {
	for _, r := range f.replicas {
		r.terminate()
		f.evidence.keepText("the log", []byte(r.logs.String()))
	}
	f.evidence.client.CloseIdleConnections()
	f.evidence.stored(f.t, f.store, f.dir)
	f.keepJournal()
	f.evidence.search(f.t, given)
	if f.t.Failed() {
		for _, r := range f.replicas {
			f.t.Logf("the log of %s:\n%s", r.base, tail(r.logs.String()))
		}
	}
}

// keepJournal keeps what is in the journal now, and returns how many bytes those are.
func (f *fleet) keepJournal() (size int) {
	f.t.Helper()
	files, err := filepath.Glob(filepath.Join(f.dir, "journal", "*"))
	f.must(err)
	for _, name := range files {
		text, err := os.ReadFile(name)
		f.must(err)
		f.evidence.keepText("the journal "+filepath.Base(name), text)
		size += len(text)
	}
	return size
}

// connect authorizes the app whose access tokens live that long; those that a refresh brings live an hour.
func (f *fleet) connect(life time.Duration) {
	f.t.Helper()
	f.at.lives(life)
	f.must(f.alice[0].connect(f.t.Context(), fleetApp, f.at.signIn))
	f.at.lives(time.Hour)
}

// connectOther authorizes the app of the other provider.
func (f *fleet) connectOther() {
	f.t.Helper()
	f.must(f.alice[0].connect(f.t.Context(), otherApp, f.other.SignIn))
}

// question is a body of POST /load that no cache may answer.
func question(measure string) string {
	return `{"cache":"no-cache","query":{"measures":["` + measure + `"]}}`
}

// ask asks replica i as alice.
func (f *fleet) ask(i int) asked { return f.askOf(i, "orders.count") }

func (f *fleet) askOf(i int, measure string) asked { return f.askFor(i, question(measure)) }

// askFor sends a body to POST /load.
func (f *fleet) askFor(i int, body string) asked {
	claims := map[string]any{"cubeCloud": map[string]any{"username": "alice"}}
	token, err := jwtauth.Sign(f.apiSecret, claims, time.Now(), 10*time.Minute)
	if err != nil {
		return asked{err: err}
	}
	return f.alice[i].ask(f.t.Context(), http.MethodPost, "/cubejs-api/v1/load", token.Reveal(), body)
}

// askTogether asks n times at once, the replicas in turn.
func (f *fleet) askTogether(n int) []asked {
	answers := make([]asked, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { answers[i] = f.ask(i % len(f.replicas)) })
	}
	all.Wait()
	return answers
}

// servesEverywhere fails the test unless every replica answers alice's query, as her.
func (f *fleet) servesEverywhere() {
	f.t.Helper()
	for i := range f.replicas {
		f.ask(i).ran(f.t, "user", "alice")
	}
}

// refreshAt presses the button for a new token at replica i, and does not wait for the answer.
func (f *fleet) refreshAt(i int) <-chan error {
	done := make(chan error, 1)
	go func() {
		done <- f.alice[i].call(f.t.Context(), http.MethodPost, "/api/v1/connected-apps/"+fleetApp+"/refresh", map[string]string{}, nil)
	}()
	return done
}

// status returns what replica i says of alice's grant, and remembers that it was seen; empty when it does not know.
func (f *fleet) status(i int) string {
	f.t.Helper()
	var g struct{ Status string }
	if err := f.alice[i].call(f.t.Context(), http.MethodGet, "/api/v1/connected-apps/"+fleetApp, nil, &g); err != nil {
		f.t.Logf("replica %d: %v", i+1, err)
		return ""
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Contains(f.statuses, g.Status) {
		f.statuses = append(f.statuses, g.Status)
	}
	return g.Status
}

// is fails the test unless every replica comes to say that alice's grant has one of these statuses.
func (f *fleet) is(want ...string) {
	f.t.Helper()
	for i := range f.replicas {
		got := ""
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			if got = f.status(i); slices.Contains(want, got) {
				break
			}
		}
		if !slices.Contains(want, got) {
			f.t.Errorf("replica %d says %s, want %s", i+1, got, strings.Join(want, " or "))
		}
	}
}

// refreshes counts the refresh calls that reached the provider, and those that it answered with invalid_grant.
func (f *fleet) refreshes() (calls, refused int) { return f.at.refreshes() }

// called fails the test unless the provider got so many refresh calls, of which it refused so many.
func (f *fleet) called(calls, refused int) {
	f.t.Helper()
	if gotCalls, gotRefused := f.refreshes(); gotCalls != calls || gotRefused != refused {
		f.t.Errorf("the provider got %d refresh calls and answered %d with invalid_grant, want %d and %d", gotCalls, gotRefused, calls, refused)
	}
}

// hostOf returns host and port of a URL.
func hostOf(t *testing.T, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// recovers fails the test unless alice's queries work by themselves, after a while where need be: nobody presses
// anything.
func (f *fleet) recovers() {
	f.t.Helper()
	for i := range f.replicas {
		var last asked
		for deadline := time.Now().Add(90 * time.Second); ; time.Sleep(200 * time.Millisecond) {
			if last = f.ask(i); last.err == nil && last.Error == "" {
				break
			}
			if time.Now().After(deadline) {
				f.t.Errorf("alice's queries do not work again at replica %d: %d %s %v", i+1, last.status, last.body, last.err)
				return
			}
		}
		last.ran(f.t, "user", "alice")
	}
	f.is("active")
}

// hasLostNothing fails the test unless alice can go on for good: the refresh token that is held is the one that the
// provider honours. It ends the row: what it does is not counted.
func (f *fleet) hasLostNothing() {
	f.t.Helper()
	f.mu.Lock()
	f.mark.calls, f.mark.refused = f.refreshes()
	f.mark.done = true
	f.mu.Unlock()
	if f.recovers(); f.t.Failed() {
		return
	}
	f.provider.ExpireTokens("alice")
	before, _ := f.refreshes()
	f.recovers()
	if calls, refused := f.refreshes(); refused > f.mark.refused || calls-before != 1 {
		f.lost++
		f.t.Errorf("the token after this one took %d refresh calls, and %d were refused: the refresh token is lost", calls-before, refused-f.mark.refused)
	}
}

// mustReauthorize fails the test unless the grant has ended with one of these statuses, everywhere and for good: queries are
// refused with a link, the provider is left alone, and a new consent makes all well. lost says that the refresh token
// is lost, and not ended by the provider.
func (f *fleet) mustReauthorize(lost bool, statuses ...string) {
	f.t.Helper()
	if lost {
		f.lost++
	}
	f.is(statuses...)
	calls, refused := f.refreshes()
	for i := range f.replicas {
		f.ask(i).refused(f.t, http.StatusForbidden, "reauthorization_required", f.alice[0].base+"/connect/")
		f.ask(i)
	}
	f.called(calls, refused)
	f.mu.Lock()
	f.mark.calls, f.mark.refused, f.mark.done = calls, refused, true
	f.mu.Unlock()
	f.connect(time.Hour)
	f.recovers()
}
