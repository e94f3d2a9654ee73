package connectedapps_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/notify"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/internal/sqlstore"
	"github.com/behalf-project/behalf/internal/sqlstore/postgrestest"
	"github.com/behalf-project/behalf/internal/sqlstore/sqlstoretest"
	"github.com/behalf-project/behalf/oauthapps"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(postgresToo{m}) }

// postgresToo runs the tests with a Postgres server that ends with them.
type postgresToo struct{ m *testing.M }

func (p postgresToo) Run() int { return postgrestest.Run(p.m) }

var (
	alice = securitycontext.Principal{Realm: securitycontext.Local, Subject: "usr_alice"}
	bob   = securitycontext.Principal{Realm: securitycontext.Local, Subject: "usr_bob"}
)

const publicURL = "http://localhost:4000"

// world is a server's parts around one store and one authorization server, with a clock that the test moves.
type world struct {
	t      *testing.T
	clock  *clock
	server *authServer
	db     *sqlstore.DB
	bus    *notify.Bus
	apps   *oauthapps.Registry
	client *oauthapps.Client
	tokens *connectedapps.Tokens
	flow   *connectedapps.Flow
	app    oauthapps.App
	store  *brokenStore
	log    *safeBuffer

	here        connectedapps.Person // everybody, as they are called here
	inWarehouse string               // and as the data source calls them

	mu    sync.Mutex
	news  []notify.News
	ended []string // refreshes and authorizations, as they are counted
}

type clock struct {
	mu    sync.Mutex
	t     time.Time
	asked func() // by everybody who asks, if it is set
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	t, asked := c.t, c.asked
	c.mu.Unlock()
	if asked != nil {
		asked()
	}
	return t
}

// tell has asked called from now on.
func (c *clock) tell(asked func()) { c.mu.Lock(); defer c.mu.Unlock(); c.asked = asked }

func (c *clock) advance(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.t = c.t.Add(d) }

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}
func (s *safeBuffer) String() string { s.mu.Lock(); defer s.mu.Unlock(); return s.b.String() }

// brokenStore is a store of grants whose writes can be made to fail.
type brokenStore struct {
	*sqlstore.Grants
	mu     sync.Mutex
	refuse error // of SaveRefreshed
	down   error // of Claim
	away   error // of Get
}

func (b *brokenStore) Get(ctx context.Context, k connectedapps.Key) (connectedapps.Grant, error) {
	b.mu.Lock()
	err := b.away
	b.mu.Unlock()
	if err != nil {
		return connectedapps.Grant{}, err
	}
	return b.Grants.Get(ctx, k)
}

func (b *brokenStore) Claim(ctx context.Context, g connectedapps.Grant, by string, now, until time.Time) (connectedapps.Grant, error) {
	b.mu.Lock()
	err := b.down
	b.mu.Unlock()
	if err != nil {
		return connectedapps.Grant{}, err
	}
	return b.Grants.Claim(ctx, g, by, now, until)
}

func (b *brokenStore) fail(err error) { b.mu.Lock(); defer b.mu.Unlock(); b.refuse = err }

func (b *brokenStore) SaveRefreshed(ctx context.Context, g connectedapps.Grant, e audit.Entry) (connectedapps.Grant, error) {
	b.mu.Lock()
	err := b.refuse
	b.mu.Unlock()
	if err != nil {
		return connectedapps.Grant{}, err
	}
	return b.Grants.SaveRefreshed(ctx, g, e)
}

// option changes the app of a world before it is registered.
type option func(*world, *oauthapps.App)

func (w *world) logger() *zap.Logger {
	return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(w.log), zap.DebugLevel))
}

func newWorld(t *testing.T, options ...option) *world {
	t.Helper()
	return newWorldOn(t, sqlstoretest.OpenSQLite, options...)
}

// eachDatabase runs a test in a world on SQLite and in one on Postgres.
func eachDatabase(t *testing.T, test func(*testing.T, *world)) {
	for _, database := range []struct {
		name string
		open func(testing.TB, func() time.Time) *sqlstore.DB
	}{
		{"SQLite", sqlstoretest.OpenSQLite},
		{"Postgres", sqlstoretest.OpenPostgres},
	} {
		t.Run(database.name, func(t *testing.T) { test(t, newWorldOn(t, database.open)) })
	}
}

func newWorldOn(t *testing.T, open func(testing.TB, func() time.Time) *sqlstore.DB, options ...option) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{t: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}, log: &safeBuffer{}}
	w.server = newAuthServer(t, w.clock.now)
	w.db = open(t, w.clock.now)
	w.bus = w.db.News()
	w.store = &brokenStore{Grants: w.db.Grants()}
	w.client = oauthapps.NewClient(oauthapps.ClientConfig{AllowLoopback: true, Timeout: 5 * time.Second, Now: w.clock.now, Log: w.logger()})
	app := oauthapps.App{
		Domain: defaultDomain(t, w.db), Name: "Databricks", Slug: "databricks", Preset: "oauth2", AuthURL: w.server.URL + "/authorize",
		TokenURL: w.server.URL + "/token", RevocationURL: w.server.URL + "/revoke", UserinfoURL: w.server.URL + "/userinfo",
		ClientID: clientID, ClientSecret: secret.New(clientSecret), Scopes: []string{"sql", "offline_access"},
	}
	for _, o := range options {
		o(w, &app)
	}
	w.apps = oauthapps.New(oauthapps.Config{
		Store: w.db.OAuthApps(), PublicURL: publicURL, Discover: w.client.Discover, Bus: w.bus, Now: w.clock.now, Log: w.logger(),
	})
	w.client.Reports(w.apps)
	var err error
	if w.app, err = w.apps.Create(t.Context(), app, "usr_admin"); err != nil {
		t.Fatalf("create the app: %v", err)
	}
	w.tokens = w.newTokens()
	w.flow = connectedapps.NewFlow(connectedapps.FlowConfig{
		Store: w.store, Authorizations: w.db.Authorizations(), Apps: w.apps, Client: w.client, Jobs: w.db.Jobs(), Record: w.db.Audit().Record, Ended: w.count("authorization"), Now: w.clock.now, Log: w.logger(),
		Person: func(context.Context, connectedapps.Principal) (connectedapps.Person, error) { return w.here, nil },
		WhoAmI: func(context.Context, oauthapps.App, secret.Text) (string, error) { return w.inWarehouse, nil },
	})
	w.bus.Subscribe(func(n notify.News) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.news = append(w.news, n)
	})
	t.Cleanup(func() {
		if strings.Contains(w.log.String(), canary) {
			t.Errorf("the log holds a secret:\n%s", w.log)
		}
	})
	return w
}

// count hears how what ends.
func (w *world) count(what string) func(app, outcome string) {
	return func(app, outcome string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.ended = append(w.ended, what+" "+app+" "+outcome)
	}
}

// counted returns how what is counted ended, in its order.
func (w *world) counted() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.ended)
}

// newTokens makes Tokens over the world's store as another process would, and runs them until the test ends.
func (w *world) newTokens() *connectedapps.Tokens {
	tokens := connectedapps.NewTokens(connectedapps.Config{
		Store: w.store, Refreshes: w.store, Revocations: w.store, Jobs: w.db.Jobs(), Apps: w.apps, Client: w.client, Bus: w.bus,
		Refreshed: w.count("refresh"), Now: w.clock.now, Log: w.logger(),
		PerSecond: 1000, // the clock stands still while what is due is refreshed
	})
	run(w.t, tokens)
	return tokens
}

func run(t *testing.T, tokens interface{ Run(context.Context) error }) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- tokens.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run = %v, want nil", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("Run did not end")
		}
	})
}

// begin starts an authorization of alice's in browser "b1" and returns state and code as the provider sends them.
func (w *world) begin(p securitycontext.Principal, browser string) (connectedapps.Authorization, string, string) {
	w.t.Helper()
	a, err := w.flow.Start(w.t.Context(), p, w.app.Slug, "/query?x=1")
	if err != nil {
		w.t.Fatalf("Start = %v", err)
	}
	to, err := w.flow.Authorize(w.t.Context(), a.ID, p, browser)
	if err != nil {
		w.t.Fatalf("Authorize = %v", err)
	}
	state, code := w.server.authorize(w.t, to)
	return a, state, code
}

// connect connects p and returns the grant as it is stored.
func (w *world) connect(p securitycontext.Principal) connectedapps.Grant {
	w.t.Helper()
	_, state, code := w.begin(p, "b1")
	_, err := w.flow.Finish(w.t.Context(), connectedapps.Response{
		App: w.app.Slug, State: state, Code: secret.New(code), Issuer: w.app.Issuer, Browser: "b1", Principal: p,
	})
	if err != nil {
		w.t.Fatalf("Finish = %v (cause %v)", err, errors.Unwrap(err))
	}
	return w.grant(p)
}

func (w *world) grant(p securitycontext.Principal) connectedapps.Grant {
	w.t.Helper()
	g, err := w.db.Grants().Get(context.Background(), connectedapps.Key{Principal: p, AppID: w.app.ID})
	if err != nil {
		w.t.Fatalf("the grant of %v: %v", p, err)
	}
	return g
}

func (w *world) status(p securitycontext.Principal) connectedapps.Status {
	w.t.Helper()
	c, err := w.tokens.Get(context.Background(), p, w.app.Slug)
	if err != nil {
		w.t.Fatal(err)
	}
	return c.Status
}

func (w *world) token(p securitycontext.Principal) (connectedapps.Token, error) {
	return w.tokens.Token(context.Background(), p, w.app.Slug)
}

func (w *world) mustToken(p securitycontext.Principal) connectedapps.Token {
	w.t.Helper()
	tok, err := w.token(p)
	if err != nil {
		w.t.Fatalf("Token = %v", err)
	}
	return tok
}

// waitFor asks until ok, for what happens behind.
func (w *world) waitFor(what string, ok func() bool) {
	w.t.Helper()
	for range 500 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.t.Fatalf("%s did not happen", what)
}

// wantKind fails unless err has the kind and the code, and tells nothing secret.
func wantKind(t *testing.T, err error, kind fault.Kind, code string) *fault.Error {
	t.Helper()
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		t.Fatalf("got %v, want a fault of kind %s", err, kind)
	}
	if e.Kind != kind || e.CodeOrKind() != code {
		t.Fatalf("got %s %s: %v (cause %v), want %s %s", e.Kind, e.CodeOrKind(), e, e.Err, kind, code)
	}
	for cause := err; cause != nil; {
		if strings.Contains(cause.Error(), canary) {
			t.Errorf("an error tells a secret: %v", cause)
		}
		f, ok := errors.AsType[*fault.Error](cause)
		if !ok {
			break
		}
		cause = f.Err
	}
	return e
}

func defaultDomain(t *testing.T, db *sqlstore.DB) string {
	t.Helper()
	d, err := db.Domains().GetDomain(t.Context(), "default")
	if err != nil {
		t.Fatalf("the default domain: %v", err)
	}
	return d.ID
}
