// Package fronttest starts the front doors that browsers use over a real store, with an authorization server that is
// not ours, and gives tests browsers to use them with.
package fronttest

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/adminapi"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/authserver"
	"github.com/behalf-project/behalf/internal/consent"
	"github.com/behalf-project/behalf/internal/domains"
	"github.com/behalf-project/behalf/internal/event"
	"github.com/behalf-project/behalf/internal/login"
	"github.com/behalf-project/behalf/internal/page"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/internal/session"
	"github.com/behalf-project/behalf/internal/sqlstore"
	"github.com/behalf-project/behalf/internal/sqlstore/ramdisk"
	"github.com/behalf-project/behalf/internal/sqlstore/sqlstoretest"
	"github.com/behalf-project/behalf/internal/tokens"
	"github.com/behalf-project/behalf/internal/users"
	"github.com/behalf-project/behalf/oauthapps"
	"github.com/behalf-project/behalf/orchestrator"
)

// Domain is the id of the default workspace.
const Domain = domains.DefaultID

// Passwords of the people there are: alice is an admin, bob is not.
var Passwords = map[string]string{"alice": "alice's long password", "bob": "bob's own long password"}

// hashes are those of Passwords: hashing is slow on purpose, and need not be done for every test.
var hashes = sync.OnceValues(func() (map[string]secret.Text, error) {
	made := map[string]secret.Text{}
	for name, password := range Passwords {
		hash, err := users.New(users.Config{}).Hash(context.Background(), secret.New(password))
		if err != nil {
			return nil, err
		}
		made[name] = hash
	}
	return made, nil
})

// Server is the front doors on loopback.
type Server struct {
	URL      string
	Store    *sqlstore.DB
	People   *users.Service
	Sessions *session.Service
	Apps     *oauthapps.Registry
	Tokens   *connectedapps.Tokens
	Flow     *connectedapps.Flow
	Records  *audit.Writer
	PATs     *tokens.Service
	Provider *Provider

	Warehouse     *Warehouse
	Orchestrators *orchestrator.Orchestrators
	API           *adminapi.Handler

	StopRecording func() // from then on nothing can be recorded that changes nothing

	file    string // of the store
	mu      sync.Mutex
	now     time.Time
	account string
}

// Account makes everybody who connects from now on be called name at the provider, as far as the server can tell.
func (s *Server) Account(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.account = name
}

// Tamper runs statements on the file of the store, as somebody does who can write it.
func (s *Server) Tamper(t testing.TB, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", s.file+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, statement := range statements {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// Now is the time of the server. It stands still until Move: no test depends on how fast the machine is.
func (s *Server) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// Move lets time pass on the server.
func (s *Server) Move(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// Start starts a server and a provider that live until the test ends, with an adminapi that is other than usual. log may be nil.
func Start(t testing.TB, log *zap.Logger, other ...func(*adminapi.Config)) *Server {
	t.Helper()
	s := &Server{Provider: startProvider(t), now: time.Now()}
	mux := http.NewServeMux()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mux.ServeHTTP(w, r.WithContext(audit.WithRequest(r.Context(), "req_test"))) // as httpserver does
	}))
	t.Cleanup(web.Close)
	s.URL = strings.Replace(web.URL, "127.0.0.1", "localhost", 1) // another host than the provider's
	if err := s.build(t, mux, log, other); err != nil {
		t.Fatalf("start the front doors: %v", err)
	}
	return s
}

func (s *Server) build(t testing.TB, mux *http.ServeMux, log *zap.Logger, other []func(*adminapi.Config)) (err error) {
	s.file = filepath.Join(ramdisk.TempDir(t), "behalf.db")
	s.Store = sqlstoretest.OpenFile(t, s.file, s.Now)
	s.Records = audit.NewWriter(audit.WriterConfig{Store: s.Store.Audit(), Log: log, Now: s.Now})
	s.People = users.New(users.Config{Store: s.Store.Users(), Bus: s.Store.News(), Record: s.Records.Record, Log: log, Now: s.Now})
	if s.Sessions, err = session.New(session.Config{Store: s.Store.Sessions(), People: s.People, PublicURL: s.URL, Log: log, Now: s.Now}); err != nil {
		return err
	}
	password, err := hashes()
	if err != nil {
		return err
	}
	if err := s.People.Declare(t.Context(), []users.Declared{
		{Username: "alice", Email: "alice@example.com", Roles: []users.Role{users.Admin}, Password: password["alice"]},
		{Username: "bob", Password: password["bob"]},
	}); err != nil {
		return err
	}
	client := oauthapps.NewClient(oauthapps.ClientConfig{AllowLoopback: true, Timeout: 5 * time.Second, Log: log, Now: s.Now})
	s.Apps = oauthapps.New(oauthapps.Config{
		Store: s.Store.OAuthApps(), PublicURL: s.URL, Discover: client.Discover, Try: client.Test, Record: s.Records.Record,
		Bus: s.Store.News(), Log: log, Now: s.Now,
	})
	client.Reports(s.Apps)
	disabled := func(ctx context.Context, p securitycontext.Principal) (bool, error) {
		u, err := s.People.ByID(ctx, p.Subject)
		return u.Disabled, err
	}
	s.Tokens = connectedapps.NewTokens(connectedapps.Config{
		Store: s.Store.Grants(), Refreshes: s.Store.Grants(), Revocations: s.Store.Grants(), Jobs: s.Store.Jobs(), Apps: s.Apps, Client: client, Disabled: disabled, Bus: s.Store.News(), Log: log, Now: s.Now,
	})
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() { _ = s.Tokens.Run(ctx) }) // returns nil
	recording, stopRecording := context.WithCancel(ctx)
	recorded := make(chan struct{})
	go func() {
		defer close(recorded)
		_ = s.Records.Run(recording) // returns nil
	}()
	s.StopRecording = func() { stopRecording(); <-recorded }
	t.Cleanup(func() { s.StopRecording(); stop(); running.Wait() })
	s.Flow = connectedapps.NewFlow(connectedapps.FlowConfig{
		Store: s.Store.Grants(), Authorizations: s.Store.Authorizations(), Apps: s.Apps, Client: client, Disabled: disabled, Record: s.Records.Record, Log: log, Now: s.Now,
		Person: func(ctx context.Context, p securitycontext.Principal) (connectedapps.Person, error) {
			u, err := s.People.ByID(ctx, p.Subject)
			return connectedapps.Person{Username: u.Username, Email: u.Email}, err
		},
		WhoAmI: func(context.Context, oauthapps.App, secret.Text) (string, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.account, nil
		},
	})

	site, err := page.New(page.Config{PublicURL: s.URL, Log: log})
	if err != nil {
		return err
	}
	signIn, err := login.New(login.Config{Site: site, People: s.People, Sessions: s.Sessions})
	if err != nil {
		return err
	}
	connect, err := consent.New(consent.Config{Site: site, Flow: s.Flow, Apps: s.Apps, Grants: s.Tokens, Sessions: s.Sessions})
	if err != nil {
		return err
	}
	s.PATs = tokens.New(tokens.Config{
		Store: s.Store.Tokens(), People: s.People, Bus: s.Store.News(), Log: log, Now: s.Now,
		App: func(ctx context.Context, slug string) (string, error) {
			a, err := s.Apps.Get(ctx, slug)
			return a.Name, err
		},
	})
	s.Warehouse = &Warehouse{}
	s.Orchestrators = orchestrator.New(orchestrator.Config{Drivers: s.Warehouse, Log: log})
	t.Cleanup(func() {
		over, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
		cancel() // what runs is cancelled
		if err := s.Orchestrators.Close(over); err != nil {
			t.Errorf("close the orchestrators: %v", err)
		}
	})
	api := adminapi.Config{
		PublicURL: s.URL, Domain: Domain, People: s.People, Sessions: s.Sessions, Tokens: s.PATs, Apps: s.Apps, Grants: s.Tokens, Flow: s.Flow,
		HandOuts:  connectedapps.NewHandOuts(connectedapps.HandOutConfig{Tokens: s.Tokens, Record: s.Records.Record, Now: s.Now}),
		Providers: client, Sources: sources{}, Keys: s.Store.Keys(), Audit: s.Store.Audit(), Record: s.Records.Record,
		Revocations: s.Tokens, Deliveries: event.NewDispatcher(event.Config{Store: s.Store.Events(), Now: s.Now}), Log: log, Now: s.Now,
		Queries: s.Orchestrators, Orchestrators: s.Orchestrators, PreAggregations: s.Orchestrators,
		Bounds: adminapi.Bounds{Orchestrators: 10_000, Sessions: 256},
		Events: adminapi.EventLimits{Total: 3, PerPerson: 2, Pace: 5 * time.Millisecond, Check: 20 * time.Millisecond},
	}
	for _, change := range other {
		change(&api)
	}
	if s.API, err = adminapi.New(api); err != nil {
		return err
	}
	programs, err := authserver.NewHandler(authserver.HandlerConfig{
		Service: authserver.New(authserver.Config{Devices: s.Store.Devices(), Codes: s.Store.Codes(), Tokens: s.PATs, People: s.People, Record: s.Records.Record, Now: s.Now}),
		Site:    site, Sessions: s.Sessions, PublicURL: s.URL, Log: log,
	})
	if err != nil {
		return err
	}
	for _, door := range []interface{ Mount(*http.ServeMux) }{site, signIn, connect, programs, s.API} {
		door.Mount(mux)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "the web application") })
	return nil
}

// sources is one data source that answers.
type sources struct{}

func (sources) Sources(context.Context, string) ([]adminapi.SourceState, error) {
	return []adminapi.SourceState{{
		Source: driverfactory.Source{
			Domain: Domain, Name: "default", Type: "databricks", OAuthApp: "warehouse", Options: map[string]string{"host": "canary-host"},
			ServiceAccount: &driverfactory.ServiceAccount{Token: secret.New("canary-service-token")},
		},
		Liveness: adminapi.Liveness{State: "up", LatencyMS: 12},
	}}, nil
}

// AddApp registers an OAuth app at the provider.
func (s *Server) AddApp(t testing.TB, slug string) oauthapps.App {
	t.Helper()
	a, err := s.Apps.Create(t.Context(), oauthapps.App{
		Domain: Domain, Name: "Warehouse", Slug: slug, Preset: "oauth2", AuthURL: s.Provider.URL + "/authorize", TokenURL: s.Provider.URL + "/token",
		RevocationURL: s.Provider.URL + "/revoke", ClientID: "behalf", ClientSecret: secret.New(ClientSecret), Scopes: []string{"sql", "offline_access"},
		DataSources: []string{"default"},
	}, "usr_test")
	if err != nil {
		t.Fatalf("register the app: %v", err)
	}
	return a
}

// Browser is one browser: it keeps cookies and follows no redirect by itself.
type Browser struct {
	t      testing.TB
	server *Server
	client *http.Client
	bearer string
}

// Program returns a program that carries a token of a person with these scopes, and no cookie.
func (s *Server) Program(t testing.TB, username string, scopes ...string) *Browser {
	t.Helper()
	u, err := s.People.ByUsername(t.Context(), username)
	if err != nil {
		t.Fatal(err)
	}
	_, value, err := s.PATs.Create(t.Context(), u, tokens.Request{Name: "program", Scopes: scopes})
	if err != nil {
		t.Fatalf("make a token of %s: %v", username, err)
	}
	return s.Bearing(t, value.Reveal())
}

// Bearing returns a program that carries this token.
func (s *Server) Bearing(t testing.TB, token string) *Browser {
	b := s.Browser(t)
	b.bearer = token
	return b
}

// Answer is what a browser got.
type Answer struct {
	Status   int
	Header   http.Header
	Body     string
	Location string
}

// Browser opens a browser. Nobody is signed in.
func (s *Server) Browser(t testing.TB) *Browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &Browser{t: t, server: s, client: &http.Client{
		Jar: jar, Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Cookies returns the cookies that the browser has for the server.
func (b *Browser) Cookies() []*http.Cookie {
	u, err := url.Parse(b.server.URL)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.client.Jar.Cookies(u)
}

// SetCookie plants a cookie.
func (b *Browser) SetCookie(c *http.Cookie) {
	u, err := url.Parse(b.server.URL)
	if err != nil {
		b.t.Fatal(err)
	}
	b.client.Jar.SetCookies(u, []*http.Cookie{c})
}

// Do sends one request to a path of the server, or to another URL.
func (b *Browser) Do(method, path string, header http.Header, body string) Answer {
	b.t.Helper()
	if strings.HasPrefix(path, "/") {
		path = b.server.URL + path
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	if b.bearer != "" {
		req.Header.Set("Authorization", "Bearer "+b.bearer)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return Answer{resp.StatusCode, resp.Header, string(text), resp.Header.Get("Location")}
}

// Get opens a page.
func (b *Browser) Get(path string) Answer {
	b.t.Helper()
	return b.Do(http.MethodGet, path, nil, "")
}

// Call calls the API with a JSON body, none when in is nil, and decodes the answer into out, unless that is nil.
func (b *Browser) Call(method, path string, in, out any) Answer {
	b.t.Helper()
	header, body := http.Header{"Sec-Fetch-Site": {"same-origin"}}, ""
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			b.t.Fatal(err)
		}
		header.Set("Content-Type", "application/json")
		body = string(text)
	}
	a := b.Do(method, path, header, body)
	if out != nil {
		if err := json.Unmarshal([]byte(a.Body), out); err != nil {
			b.t.Fatalf("%s %s answered %d with no JSON: %s", method, path, a.Status, a.Body)
		}
	}
	return a
}

// SignIn signs a person in by the API.
func (b *Browser) SignIn(username string) *Browser {
	b.t.Helper()
	if a := b.Call(http.MethodPost, "/api/v1/auth/login", map[string]string{"username": username, "password": Passwords[username]}, nil); a.Status != http.StatusOK {
		b.t.Fatalf("sign in %s: %d %s", username, a.Status, a.Body)
	}
	return b
}

var (
	formAction = regexp.MustCompile(`<form[^>]*\baction="([^"]*)"`)
	formHidden = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`)
)

// Fill returns the action of the form of a page, and its hidden fields.
func (b *Browser) Fill(page Answer) (action string, form url.Values) {
	b.t.Helper()
	found := formAction.FindStringSubmatch(page.Body)
	if found == nil {
		b.t.Fatalf("status %d, and no form in %s", page.Status, page.Body)
	}
	form = url.Values{}
	for _, f := range formHidden.FindAllStringSubmatch(page.Body, -1) {
		form.Set(f[1], html.UnescapeString(f[2]))
	}
	return html.UnescapeString(found[1]), form
}

// Send sends a form, as from the page itself.
func (b *Browser) Send(action string, form url.Values) Answer {
	b.t.Helper()
	return b.Do(http.MethodPost, action, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Sec-Fetch-Site": {"same-origin"}}, form.Encode())
}

// ToProvider opens the connect page of an app, presses its button, and returns the provider's URL.
func (b *Browser) ToProvider(path string) string {
	b.t.Helper()
	a := b.Send(b.Fill(b.Get(path)))
	if a.Status != http.StatusSeeOther || !strings.HasPrefix(a.Location, b.server.Provider.URL) {
		b.t.Fatalf("the button of %s answered %d to %q: %s", path, a.Status, a.Location, a.Body)
	}
	return a.Location
}

// Allow allows the request at the provider, and returns where the provider sends the browser.
func (b *Browser) Allow(authorizationURL string) string {
	b.t.Helper()
	a := b.Get(authorizationURL)
	if a.Status != http.StatusFound {
		b.t.Fatalf("the provider answered %d: %s", a.Status, a.Body)
	}
	return a.Location
}
