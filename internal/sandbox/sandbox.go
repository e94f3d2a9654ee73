// Package sandbox is the world around Behalf, in one process on loopback: a development identity provider and emulated
// Databricks and Snowflake warehouses, with people who may see different rows. `behalf demo` shows Behalf in it, and
// the tests of everybody run against it.
//
//	                    ┌── Databricks ──┐
//	Behalf ──drivers──▶─┤                ├──▶ engine (DuckDB, rows by person)
//	   │                └── Snowflake ───┘
//	   │                       │ whose token is this?
//	   └──────OAuth──────▶ identity provider
//
// alice sees the orders of EMEA. bob sees those of AMER, and may not read order_items. carol, the admin, and svc, the
// service account, see all of them. Every password, client secret and token is random per start, and nothing listens
// on an address that others reach.
//
// The parts are packages of their own: idp, databricks, snowflake and engine, each with its levers.
package sandbox

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/sandbox/bearer"
	"github.com/behalf-project/behalf/internal/sandbox/databricks"
	"github.com/behalf-project/behalf/internal/sandbox/engine"
	"github.com/behalf-project/behalf/internal/sandbox/idp"
	"github.com/behalf-project/behalf/internal/sandbox/snowflake"
	"github.com/behalf-project/behalf/internal/secret"
	"go.uber.org/zap"
)

// Config is what Start needs. The zero Config is the sandbox of the demo on free ports.
type Config struct {
	Rows           int           // number of orders; default 1,000,000, at least 100
	Host           string        // loopback address to listen on; default 127.0.0.1
	IdPPort        int           // default: a free one, as the next two
	DatabricksPort int           //
	SnowflakePort  int           //
	TokenLife      time.Duration // of access tokens; default an hour
	Admin          bool          // whether the provider's levers answer over HTTP, below /_sandbox
	SignInAs       bool          // whether the sign-in page offers the people by name, without passwords
	Log            *zap.Logger   // default: no logging
}

// Client is the registration of an OAuth app at the identity provider.
type Client struct {
	ID     string
	Secret secret.Text
	Scopes []string // what to ask for

	ExchangeAudiences []string // for which it may exchange tokens
}

// Person is somebody of the demo.
type Person struct {
	Username, Name, Email string
	Password              secret.Text // at the identity provider
	Sees                  string      // what they see, in words
}

// ServiceAccount is the account that both warehouses know by other means than a person's OAuth tokens.
type ServiceAccount struct {
	User              string
	DatabricksToken   secret.Text // personal access token
	SnowflakeToken    secret.Text // programmatic access token
	SnowflakePassword secret.Text
	OAuth             Client // of client_credentials at the identity provider, whose tokens both warehouses take
}

// Sandbox is a running sandbox. Close it.
type Sandbox struct {
	IdP        *idp.Provider
	Databricks *databricks.Server
	Snowflake  *snowflake.Server
	Engine     *engine.Engine

	IssuerURL     string // of the identity provider
	DatabricksURL string // scheme, host and port; the HTTP path is databricks.HTTPPath
	SnowflakeURL  string // scheme, host and port

	// Registered OAuth apps. They have no redirect URI yet: give them theirs by IdP.AddRedirectURI.
	DatabricksClient Client
	SnowflakeClient  Client
	LoginClient      Client // to sign in to Behalf itself

	People  []Person
	Service ServiceAccount

	servers []*http.Server
	serving sync.WaitGroup
	failed  chan error
	once    sync.Once
	closed  error
}

// Start makes the data and starts the three servers. They serve until Close, or until the end of Run; ctx bounds the
// start only.
func Start(ctx context.Context, cfg Config) (*Sandbox, error) {
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Host == "" {
		cfg.Host = "127.0.0.1"
	}
	if !loopback(cfg.Host) {
		return nil, fault.New(fault.Invalid, "the sandbox must not listen on %q: whoever reaches it may be anybody; use a loopback address such as 127.0.0.1", cfg.Host)
	}
	s := &Sandbox{failed: make(chan error, 3)}
	var err error
	if s.Engine, err = engine.Open(ctx, engine.Config{Rows: cfg.Rows, Rights: rights()}); err != nil {
		return nil, err
	}
	if err := s.start(ctx, cfg); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// rights are those of the people and the service account.
func rights() map[string]engine.Rights {
	return map[string]engine.Rights{
		"alice": {Regions: []string{"EMEA"}},
		"bob":   {Regions: []string{"AMER"}, Denied: []string{"order_items"}},
		"carol": {Regions: engine.AllRegions},
		"svc":   {Regions: engine.AllRegions, Write: true},
	}
}

func (s *Sandbox) start(ctx context.Context, cfg Config) error {
	s.People = []Person{
		{Username: "alice", Name: "Alice Arden", Email: "alice@example.com", Password: random(""), Sees: "the orders of EMEA"},
		{Username: "bob", Name: "Bob Birk", Email: "bob@example.com", Password: random(""), Sees: "the orders of AMER, and no order_items"},
		{Username: "carol", Name: "Carol Cruz", Email: "carol@example.com", Password: random(""), Sees: "the orders of all regions"},
	}
	warehouse := []string{"openid", "profile", "email", "offline_access"}
	s.DatabricksClient = Client{ID: "behalf-databricks", Secret: random(""), Scopes: append([]string{"sql"}, warehouse...), ExchangeAudiences: []string{"reports"}}
	s.SnowflakeClient = Client{ID: "behalf-snowflake", Secret: random(""), Scopes: append([]string{"session:role-any"}, warehouse...)}
	s.LoginClient = Client{ID: "behalf-login", Secret: random(""), Scopes: []string{"openid", "profile", "email"}}
	s.Service = ServiceAccount{
		User: "svc", DatabricksToken: random("dapi"), SnowflakeToken: random("pat_"), SnowflakePassword: random(""),
		OAuth: Client{ID: "svc-oauth", Secret: random(""), Scopes: []string{"sql"}},
	}

	var listeners []net.Listener
	for _, port := range []int{cfg.IdPPort, cfg.DatabricksPort, cfg.SnowflakePort} {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(cfg.Host, strconv.Itoa(port)))
		if err != nil {
			for _, open := range listeners {
				_ = open.Close()
			}
			return fmt.Errorf("sandbox: %w", err)
		}
		listeners = append(listeners, l)
	}
	s.IssuerURL, s.DatabricksURL, s.SnowflakeURL = address(listeners[0]), address(listeners[1]), address(listeners[2])

	provider := idp.Config{Issuer: s.IssuerURL, Admin: cfg.Admin, Log: cfg.Log.Named("idp")}
	for _, p := range s.People {
		provider.People = append(provider.People, idp.Person{Username: p.Username, Password: p.Password, Name: p.Name, Email: p.Email})
	}
	for _, c := range []Client{s.DatabricksClient, s.SnowflakeClient, s.LoginClient} {
		provider.Clients = append(provider.Clients, idp.Client{ID: c.ID, Secret: c.Secret, ExchangeAudiences: c.ExchangeAudiences})
	}
	provider.Clients = append(provider.Clients, idp.Client{ID: s.Service.OAuth.ID, Secret: s.Service.OAuth.Secret, Service: s.Service.User})
	var err error
	if s.IdP, err = idp.New(provider); err != nil {
		for _, open := range listeners {
			_ = open.Close()
		}
		return err
	}
	s.IdP.SetSignInAs(cfg.SignInAs)
	if cfg.TokenLife > 0 {
		s.IdP.SetAccessTokenLife(cfg.TokenLife)
	}

	var personal, programmatic bearer.Static
	service := bearer.Holder{Name: s.Service.User, Status: bearer.Active, Service: true}
	personal.Set(s.Service.DatabricksToken.Reveal(), service)
	programmatic.Set(s.Service.SnowflakeToken.Reveal(), service)
	s.Databricks = databricks.New(databricks.Config{Engine: s.Engine, Bearers: bearer.Chain{s.IdP, &personal}, Log: cfg.Log.Named("databricks")})
	s.Snowflake = snowflake.New(snowflake.Config{
		Engine: s.Engine, OAuth: s.IdP, PAT: &programmatic, Log: cfg.Log.Named("snowflake"),
		Password: func(user string, password secret.Text) bool {
			return user == s.Service.User && password.Equal(s.Service.SnowflakePassword)
		},
	})
	for i, h := range []http.Handler{s.IdP, s.Databricks, s.Snowflake} {
		s.serve(listeners[i], h, cfg.Log)
	}
	return nil
}

func (s *Sandbox) serve(l net.Listener, h http.Handler, log *zap.Logger) {
	srv := &http.Server{Handler: onlyLoopback(h), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, ErrorLog: zap.NewStdLog(log)}
	s.servers = append(s.servers, srv)
	s.serving.Go(func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- fmt.Errorf("sandbox: serve %s: %w", l.Addr(), err)
		}
	})
}

// onlyLoopback refuses requests for a name that is not this machine's own: a page of the internet whose name was
// pointed at 127.0.0.1 must not talk to the sandbox as if it were of the same origin.
func onlyLoopback(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if !loopback(host) {
			http.Error(w, "the sandbox answers on loopback addresses only", http.StatusMisdirectedRequest)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func address(l net.Listener) string { return "http://" + l.Addr().String() }

func random(prefix string) secret.Text { return secret.New(prefix + rand.Text()) }

// Person returns the person with that username, or the zero Person.
func (s *Sandbox) Person(username string) Person {
	for _, p := range s.People {
		if p.Username == username {
			return p
		}
	}
	return Person{}
}

// AddPerson adds a person with a random password and the given rights at the warehouses. People stays as it is. It is
// safe for concurrent use.
func (s *Sandbox) AddPerson(ctx context.Context, username string, r engine.Rights) (Person, error) {
	p := Person{Username: username, Name: username, Email: username + "@example.com", Password: random("")}
	if err := s.Engine.Grant(ctx, username, r); err != nil {
		return Person{}, fmt.Errorf("sandbox: add %s: %w", username, err)
	}
	s.IdP.AddPerson(idp.Person{Username: p.Username, Password: p.Password, Name: p.Name, Email: p.Email})
	return p, nil
}

// CloseIdle closes the connections on which nothing is under way, as a load balancer in front of a warehouse does.
func (s *Sandbox) CloseIdle() {
	for _, srv := range s.servers {
		srv.SetKeepAlivesEnabled(false)
		srv.SetKeepAlivesEnabled(true)
	}
}

// Run waits until ctx is done or a server fails, closes the sandbox, and returns the failure.
func (s *Sandbox) Run(ctx context.Context) error {
	var err error
	select {
	case <-ctx.Done():
	case err = <-s.failed:
	}
	return errors.Join(err, s.Close())
}

const closeWithin = 2 * time.Second

// Close ends what runs at the warehouses, stops the servers and frees the data. Nothing of the sandbox is left when it
// returns. It may be called twice.
func (s *Sandbox) Close() error {
	s.once.Do(func() {
		var errs []error
		if s.Databricks != nil {
			errs = append(errs, s.Databricks.Close())
		}
		if s.Snowflake != nil {
			errs = append(errs, s.Snowflake.Close())
		}
		ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
		defer cancel()
		for _, srv := range s.servers {
			if srv.Shutdown(ctx) != nil { // a slow answer is under way
				errs = append(errs, srv.Close())
			}
		}
		s.serving.Wait()
		s.closed = errors.Join(append(errs, s.Engine.Close())...)
	})
	return s.closed
}
