package main

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/behalf-project/behalf/config"
	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/driverfactory/databricks"
	"github.com/behalf-project/behalf/driverfactory/duckdb"
	"github.com/behalf-project/behalf/driverfactory/mysql"
	"github.com/behalf-project/behalf/driverfactory/postgres"
	"github.com/behalf-project/behalf/driverfactory/snowflake"
	"github.com/behalf-project/behalf/internal/adminapi"
	"github.com/behalf-project/behalf/internal/anomaly"
	"github.com/behalf-project/behalf/internal/appkeys"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/authserver"
	"github.com/behalf-project/behalf/internal/caps"
	"github.com/behalf-project/behalf/internal/consent"
	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/domains"
	"github.com/behalf-project/behalf/internal/event"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/health"
	"github.com/behalf-project/behalf/internal/hooks"
	"github.com/behalf-project/behalf/internal/httpserver"
	"github.com/behalf-project/behalf/internal/id"
	"github.com/behalf-project/behalf/internal/jobs"
	"github.com/behalf-project/behalf/internal/journal"
	"github.com/behalf-project/behalf/internal/jwtauth"
	"github.com/behalf-project/behalf/internal/kms"
	"github.com/behalf-project/behalf/internal/login"
	"github.com/behalf-project/behalf/internal/loopback"
	"github.com/behalf-project/behalf/internal/metrics"
	"github.com/behalf-project/behalf/internal/objectstore"
	"github.com/behalf-project/behalf/internal/outbound"
	"github.com/behalf-project/behalf/internal/page"
	"github.com/behalf-project/behalf/internal/preagg"
	"github.com/behalf-project/behalf/internal/redis"
	"github.com/behalf-project/behalf/internal/refreshworker"
	"github.com/behalf-project/behalf/internal/restapi"
	"github.com/behalf-project/behalf/internal/resultcache"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/internal/session"
	"github.com/behalf-project/behalf/internal/sharedcache"
	"github.com/behalf-project/behalf/internal/socketapi"
	"github.com/behalf-project/behalf/internal/sqlstore"
	"github.com/behalf-project/behalf/internal/tokens"
	"github.com/behalf-project/behalf/internal/tracing"
	"github.com/behalf-project/behalf/internal/users"
	"github.com/behalf-project/behalf/internal/webui"
	"github.com/behalf-project/behalf/oauthapps"
	"github.com/behalf-project/behalf/orchestrator"
	"go.uber.org/zap"
)

// cubeTokenLife is how long a token of /auth/cubejs-token is good: a page asks for the next one in time.
const cubeTokenLife = 15 * time.Minute

// failpoint is told how far each refresh is. Only the tests of this package set it, before anything starts: they kill
// the process there.
var failpoint func(connectedapps.Failpoint)

// server is everything that runs, built and not yet started. Close it in the end, whether it ran or not.
type server struct {
	cfg    config.Config
	log    *zap.Logger
	page   *metrics.Metrics // of figures
	traces *tracing.Tracer
	store  *sqlstore.DB
	audit  *audit.Writer // of what changes nothing else

	people        *users.Service
	sessions      *session.Service
	apps          *oauthapps.Registry
	tokens        *connectedapps.Tokens
	flow          *connectedapps.Flow
	journal       *journal.Journal // nil on SQLite
	jobs          *jobs.Runner
	notices       *event.Dispatcher
	handOuts      *anomaly.Watch
	pats          *tokens.Service // personal access tokens
	orchestrators *orchestrator.Orchestrators
	rollups       *preagg.Store         // nil in a program without DuckDB
	objects       *objectstore.Bucket   // where they are for all replicas
	refreshes     *refreshworker.Worker // of them
	redis         *redis.Client         // nil without a shared cache
	shared        *sharedcache.Cache    // over redis
	caps          *caps.Caps            // that replicas have in common; nil on SQLite
	factory       *driverfactory.Factory
	sources       map[string]driverfactory.Source
	model         *datamodel.Live
	issuers       *jwtauth.KeySet // nil unless tokens are verified by JWKS
	verifier      *jwtauth.Verifier
	hooks         *hooks.Hooks // nil without a cube.js

	serviceHandles map[string][]secret.Text // how hooks may name the service account of a source

	public, admin net.Listener // admin is nil when it is off
	rest          *restapi.Handler
	handler       http.Handler
	health        *health.Handler
	sockets       *socketapi.Handler
	api           *adminapi.Handler
	setup         *login.Setup // of a server without people; nil where there are some
}

// assemble builds the server that cfg describes: it opens the store, declares people and apps, compiles the model and
// listens, so that everything that can be wrong at start is found before anything is served.
func assemble(ctx context.Context, cfg config.Config, log *zap.Logger) (s *server, err error) {
	s = &server{cfg: cfg, log: log, sources: map[string]driverfactory.Source{}}
	defer func() {
		if err != nil {
			s.Close()
			s = nil
		}
	}()
	s.page = s.figures()
	if s.traces, err = tracing.New(ctx, tracing.Config{Endpoint: cfg.Tracing.OTLP, Version: version(), Log: log.Named("tracing")}); err != nil {
		return s, err
	}
	if err = s.buildHooks(ctx); err != nil {
		return s, err
	}
	if s.model, err = openModel(ctx, cfg, s.hooks, log.Named("datamodel")); err != nil {
		return s, err
	}
	if s.store, err = sqlstore.Open(ctx, sqlstore.Config{
		URL: cfg.Store.URL.Reveal(), Keyset: cfg.Keys.Keyset.Name(), KMS: kms.New(kms.Config{}).Open,
		SealedOutside: func() bool { return s.journal != nil && s.journal.Len() > 0 }, Log: log.Named("store"),
	}); err != nil {
		return s, err
	}
	s.audit = audit.NewWriter(audit.WriterConfig{Store: s.store.Audit(), Log: log.Named("audit")})
	if err = s.buildPeople(ctx); err != nil {
		return s, err
	}
	if err = s.openRollups(ctx); err != nil {
		return s, err
	}
	client, err := s.buildBroker(ctx)
	if err != nil {
		return s, err
	}
	s.store.Keys().Whole() // after whatever of earlier processes is on the disk was stored
	if err = s.buildQueries(ctx, client); err != nil {
		return s, err
	}
	if err = s.buildFrontDoors(ctx, client); err != nil {
		return s, err
	}
	return s, s.listen()
}

// buildPeople makes people and their sessions.
func (s *server) buildPeople(ctx context.Context) (err error) {
	s.people = users.New(users.Config{
		Store: s.store.Users(), Bus: s.store.News(), Record: s.audit.Record, Stale: s.cfg.Store.StaleMax, Log: s.log.Named("users"),
	})
	s.sessions, err = session.New(session.Config{
		Store: s.store.Sessions(), People: s.people, PublicURL: s.cfg.Server.PublicURL,
		Idle: s.cfg.Auth.Session.Idle, Absolute: s.cfg.Auth.Session.Absolute,
		ClientIP: httpserver.ClientIP(s.cfg.Server.TrustedProxies), Log: s.log.Named("session"),
	})
	if err != nil {
		return err
	}
	return s.people.Declare(ctx, declaredPeople(s.cfg))
}

// buildBroker makes the OAuth apps and the grants.
func (s *server) buildBroker(ctx context.Context) (*oauthapps.Client, error) {
	public, err := url.Parse(s.cfg.Server.PublicURL)
	if err != nil {
		return nil, err
	}
	client := oauthapps.NewClient(oauthapps.ClientConfig{
		AllowLoopback: loopback.Host(public.Hostname()), Log: s.log.Named("oauthapps"),
	})
	s.apps = oauthapps.New(oauthapps.Config{
		Store: s.store.OAuthApps(), PublicURL: s.cfg.Server.PublicURL, Discover: client.Discover, Bus: s.store.News(), Log: s.log.Named("oauthapps"),
		Try: client.Test, Record: s.audit.Record, Stale: s.cfg.Store.StaleMax,
	})
	client.Reports(s.apps)
	if err := s.apps.Declare(ctx, domains.DefaultID, declaredApps(s.cfg)); err != nil {
		return nil, err
	}
	var kept connectedapps.Journal
	if s.store.Shared() { // a SQLite file shares its fate with whatever lies beside it
		if s.journal, err = journal.Open(journal.Config{Dir: s.cfg.Store.Journal, Sealer: s.store.Keyring(), Log: s.log.Named("journal")}); err != nil {
			return nil, err
		}
		kept = s.journal
	}
	s.tokens = connectedapps.NewTokens(connectedapps.Config{
		Store: s.store.Grants(), Refreshes: s.store.Grants(), Revocations: s.store.Grants(), Jobs: s.store.Jobs(), Wake: s.wake, Apps: s.apps, Client: client,
		Record: s.audit.Record, Refreshed: s.page.Refreshed, Disabled: s.disabled, Bus: s.store.News(), Log: s.log.Named("connectedapps"),
		Stale: s.cfg.Store.StaleMax, Journal: kept, Failpoint: failpoint,
	})
	s.flow = connectedapps.NewFlow(connectedapps.FlowConfig{
		Store: s.store.Grants(), Authorizations: s.store.Authorizations(), Apps: s.apps, Client: client,
		Person: s.person, WhoAmI: s.whoAmI, Disabled: s.disabled, Record: s.audit.Record, Ended: s.page.Ended, Jobs: s.store.Jobs(), Log: s.log.Named("connectedapps"),
	})
	s.pats = tokens.New(tokens.Config{
		Store: s.store.Tokens(), People: s.people, Bus: s.store.News(), DefaultLife: s.cfg.Auth.Tokens.DefaultLife, MaxLife: s.cfg.Auth.Tokens.MaxLife,
		Endless: s.cfg.Auth.Tokens.Endless, Stale: s.cfg.Store.StaleMax, Log: s.log.Named("tokens"),
		App: func(ctx context.Context, slug string) (string, error) {
			app, err := s.apps.Get(ctx, slug)
			return app.Name, err
		},
	})
	if err := s.buildNotices(); err != nil {
		return nil, err
	}
	s.buildJobs(ctx)
	return client, s.tokens.Recover(ctx)
}

// buildJobs makes what does the work for which nobody waits.
func (s *server) buildJobs(ctx context.Context) {
	n := s.cfg.Notifications
	kinds := []jobs.Kind{
		{
			Name: "refresh_due", Every: 5 * time.Second, Timeout: 5 * time.Minute, BackOff: func(int) time.Duration { return 5 * time.Second },
			Handle: func(ctx context.Context, _ jobs.Job) error { return s.tokens.RefreshDue(ctx) },
		},
		s.tokens.Revocations(0),
		s.tokens.Upkeep(connectedapps.UpkeepConfig{
			Everyone: s.store.Grants().Everyone, Tell: s.store.Events().Append,
			Rules: connectedapps.UpkeepRules{WarnBefore: n.WarnBefore, DormantAfter: n.DormantAfter},
		}),
	}
	if s.rollups != nil {
		s.refreshes = refreshworker.New(refreshworker.Config{
			Place: s.rollups.Place(ctx), Jobs: s.store.Jobs(),
			Refresh: func(ctx context.Context, use orchestrator.RollupUse) (time.Time, error) {
				return s.rest.Refresh(ctx, use)
			},
		})
		kinds = append(kinds, s.refreshes.Kind())
	}
	s.jobs = jobs.NewRunner(jobs.Config{Store: s.store.Jobs(), Kinds: append(kinds, s.notices.Kinds()...), Log: s.log.Named("jobs")})
}

// wake begins jobs of a kind now.
func (s *server) wake(kind string) { s.jobs.Wake(kind) }

// person is what somebody of this server is called. Their address was given by an admin or by who signed them in.
func (s *server) person(ctx context.Context, p securitycontext.Principal) (connectedapps.Person, error) {
	if p.Realm != securitycontext.Local {
		return connectedapps.Person{}, fault.New(fault.NotFound, "Only people of this server have names here.")
	}
	u, err := s.people.ByID(ctx, p.Subject)
	return connectedapps.Person{Username: u.Username, Email: u.Email}, err
}

// whoAmI asks a data source of app under token whose it is.
func (s *server) whoAmI(ctx context.Context, app oauthapps.App, token secret.Text) (string, error) {
	for _, name := range slices.Sorted(maps.Keys(s.sources)) {
		src := s.sources[name]
		named := src.OAuthApp == app.Slug || src.OAuthApp == app.ID // what the factory is served by; other apps may have the name
		if src.OAuthApp == "" {
			of, ok, err := s.apps.ForSource(ctx, src.Domain, src.Name, src.CredentialsKey)
			named = err == nil && ok && of.ID == app.ID
		}
		if named {
			return s.factory.WhoAmI(ctx, src, driverfactory.Token{Value: token, Status: string(connectedapps.Active)})
		}
	}
	return "", nil
}

// disabled says whether a person of this server may not act any more. Others are not ours to disable.
func (s *server) disabled(ctx context.Context, p securitycontext.Principal) (bool, error) {
	if p.Realm != securitycontext.Local {
		return false, nil
	}
	u, err := s.people.ByID(ctx, p.Subject)
	if errors.Is(err, fault.NotFound) {
		return true, nil
	}
	return u.Disabled, err
}

// buildQueries makes the drivers and the orchestrators.
func (s *server) buildQueries(ctx context.Context, client *oauthapps.Client) error {
	capacity := orchestrator.NewCapacity(s.cfg.Orchestrator.MaxConnections, 0)
	drivers := driverfactory.Config{
		Credentials: s.tokens,
		Warehouses:  warehouses(),
		App: func(ctx context.Context, src driverfactory.Source) (string, bool, error) {
			app, ok, err := s.apps.ForSource(ctx, src.Domain, src.Name, src.CredentialsKey)
			return app.Slug, ok, err
		},
		Allowed:           s.allowed,
		ClientCredentials: clientCredentials(client),
		Admit:             capacity.Admit,
		Stage:             s.stages(),
		IdleTimeout:       s.cfg.Orchestrator.IdleTimeout,
		Log:               s.log.Named("driverfactory"),
	}
	if s.hooks != nil && s.hooks.Drives() {
		drivers.AsUser = s.asUser
	}
	s.factory = driverfactory.New(drivers)
	sources, err := declaredSources(s.cfg, s.factory.Check)
	if err != nil {
		return err
	}
	for _, src := range sources {
		s.sources[src.Name] = src
	}
	if err := s.openShared(); err != nil {
		return err
	}
	if err := s.openCaps(ctx); err != nil {
		return err
	}
	s.orchestrators = orchestrator.New(orchestrator.Config{
		PreAggregations: s.preAggregations(), SourceTables: s.store.SourceTables(), RollupOnly: s.cfg.Preaggs.RollupOnly, Used: s.usedRollup(), Shared: s.shared, Caps: s.caps,
		Drivers: s.factory, Capacity: capacity, FellBack: s.fellBack, Stage: s.stages(), Observer: s.page,
		ID:      s.orchestratorID,
		Sources: func() []driverfactory.Source { return sources },
		Cache: resultcache.New(resultcache.Config{
			MaxBytes: int64(s.cfg.Cache.MaxBytes), MaxHeldBytes: int64(s.cfg.Orchestrator.MaxHeldBytes),
		}),
		AppSlug: func(appID string) string {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second) // news has no context; the apps are in memory
			defer cancel()
			app, err := s.apps.Get(ctx, appID)
			if err != nil {
				return ""
			}
			return app.Slug
		},
		Max: s.cfg.Orchestrator.Max, MaxResultBytes: int64(s.cfg.Orchestrator.MaxResultBytes),
		IdleTimeout: s.cfg.Orchestrator.IdleTimeout, Log: s.log.Named("orchestrator"),
	})
	s.store.News().Subscribe(s.orchestrators.Hear)
	return nil
}

// fellBack records that the service account stands in for a person.
func (s *server) fellBack(ctx context.Context, sc driverfactory.SecurityContext, req orchestrator.Request, as driverfactory.RunAs) error {
	actor := sc.Principal.Subject
	if sc.Principal.Realm != securitycontext.Local {
		actor = sc.Principal.Realm + " " + actor
	}
	if sc.Principal.Anonymous() {
		actor = audit.Anonymous
	}
	err := s.audit.Record(ctx, audit.Entry{
		Actor: actor, Action: audit.QueryFellBack, Object: req.Source.Name, Outcome: "ok", Request: req.RequestID,
		Detail: map[string]string{"domain": req.Source.Domain, "username": sc.Username, "account": as.Account, "reason": as.Reason},
	})
	if err == nil { // or nobody stands in
		s.page.FellBack(req.Source.Name, as.Reason)
	}
	return err
}

// warehouses are the types of data sources.
func warehouses() map[string]driverfactory.Warehouse {
	return map[string]driverfactory.Warehouse{
		"databricks": databricks.New(databricks.Config{}),
		"snowflake":  snowflake.New(snowflake.Config{}),
		"postgres":   postgres.New(),
		"mysql":      mysql.New(),
		"duckdb":     duckdb.New(),
	}
}

// allowed refuses the queries of disabled people, whatever credential they would run under.
func (s *server) allowed(ctx context.Context, p securitycontext.Principal) error {
	disabled, err := s.disabled(ctx, p)
	if err == nil && disabled {
		err = &fault.Error{Kind: fault.Denied, Code: "user_disabled", Owner: fault.Admin, Detail: "Your account is disabled. An admin can enable it again."}
	}
	return err
}

// source returns a data source, or fault.NotFound.
func (s *server) source(_, name string) (driverfactory.Source, error) {
	src, ok := s.sources[name]
	if !ok {
		return driverfactory.Source{}, fault.New(fault.NotFound, "There is no data source %q. The data model names it; declare it in data_sources.", name)
	}
	return src, nil
}

// masks are what masked members show, by the type of their values.
func masks(m config.Masks) map[string]any {
	out := map[string]any{}
	if m.String != nil {
		out[datamodel.String] = *m.String
	}
	if m.Number != nil {
		out[datamodel.Number] = json.Number(*m.Number)
	}
	if m.Boolean != nil {
		out[datamodel.Boolean] = *m.Boolean
	}
	if m.Time != nil {
		out[datamodel.Time] = *m.Time
	}
	return out
}

// issuerKeys returns the public key of the issuer of tokens, if it was given, and opens its key set, if that was.
func (s *server) issuerKeys() (any, error) {
	jwt := s.cfg.Auth.JWT
	if jwt.JWKURL != "" {
		at, err := url.Parse(jwt.JWKURL)
		if err != nil {
			return nil, err
		}
		s.issuers = jwtauth.NewKeySet(jwtauth.KeySetConfig{
			URL: jwt.JWKURL, HTTP: outbound.NewClient(loopback.Host(at.Hostname()), nil), Log: s.log.Named("jwtauth"),
		})
	}
	if jwt.Key.Empty() {
		return nil, nil
	}
	return jwtauth.ParsePublicKey(jwt.Key)
}

// buildFrontDoors mounts every route.
func (s *server) buildFrontDoors(ctx context.Context, client *oauthapps.Client) error {
	clientIP := httpserver.ClientIP(s.cfg.Server.TrustedProxies)
	issuer, err := s.issuerKeys()
	if err != nil {
		return err
	}
	s.verifier = jwtauth.New(jwtauth.Config{
		Secrets: s.cfg.Auth.APISecrets, PublicKey: issuer, Keys: s.issuers, Algorithms: s.cfg.Auth.JWT.Algorithms,
		Issuers: commaList(s.cfg.Auth.JWT.Issuer), Audience: s.cfg.Auth.JWT.Audience, Subject: s.cfg.Auth.JWT.Subject,
		ClaimsNamespace: s.cfg.Auth.JWT.ClaimsNamespace, UsernameClaim: s.cfg.Auth.JWT.UsernameClaim,
		TrustUserCredentials: s.cfg.Auth.JWT.TrustUserCredentials, DevMode: s.cfg.Server.DevMode,
		People: func(ctx context.Context, username string) (string, bool, error) {
			u, err := s.people.ByUsername(ctx, username)
			return u.ID, u.Disabled, err
		},
		Domain: domains.DefaultID, Log: s.log.Named("jwtauth"),
	})
	site, err := page.New(page.Config{PublicURL: s.cfg.Server.PublicURL})
	if err != nil {
		return err
	}
	signIn, err := login.New(login.Config{Site: site, People: s.people, Sessions: s.sessions, ClientIP: clientIP})
	if err != nil {
		return err
	}
	connect, err := consent.New(consent.Config{Site: site, Flow: s.flow, Apps: s.apps, Grants: s.tokens, Sessions: s.sessions})
	if err != nil {
		return err
	}
	s.api, err = adminapi.New(adminapi.Config{
		PublicURL: s.cfg.Server.PublicURL, Domain: domains.DefaultID, People: s.people, Sessions: s.sessions, Tokens: s.pats,
		HandOuts: connectedapps.NewHandOuts(connectedapps.HandOutConfig{
			Tokens: s.tokens, Record: s.audit.Record, Observe: s.observe, PerSecond: float64(s.cfg.Auth.Tokens.HandOutsPerSecond), Burst: 4 * s.cfg.Auth.Tokens.HandOutsPerSecond,
		}),
		Apps: s.apps, Grants: s.tokens, Flow: s.flow, Providers: client, Sources: sourceStates{s}, Keys: s.store.Keys(),
		Audit: s.store.Audit(), Record: s.audit.Record, Revocations: s.tokens, Deliveries: s.notices, ClientIP: clientIP, Log: s.log.Named("adminapi"),
		Queries: s.orchestrators, Orchestrators: s.orchestrators, PreAggregations: s.orchestrators,
		Bounds: adminapi.Bounds{Orchestrators: s.cfg.Orchestrator.Max, Sessions: s.cfg.Orchestrator.MaxConnections},
	})
	if err != nil {
		return err
	}
	programs, err := authserver.NewHandler(authserver.HandlerConfig{
		Service: authserver.New(authserver.Config{Devices: s.store.Devices(), Codes: s.store.Codes(), Tokens: s.pats, People: s.people, Record: s.audit.Record}),
		Site:    site, Sessions: s.sessions, PublicURL: s.cfg.Server.PublicURL, ClientIP: clientIP, Log: s.log.Named("authserver"),
	})
	if err != nil {
		return err
	}
	ui, err := webui.New(webui.Config{})
	if err != nil {
		return err
	}
	query := restapi.Config{
		Verify: s.verify, Stage: s.stages(), Model: s.modelOf, Source: s.source, Load: s.orchestrators.Load,
		Cancel: s.orchestrators.Cancel, Build: s.orchestrators.Build, Built: s.orchestrators.Built, Refresh: s.orchestrators.Refresh, Scopes: s.apiScopes, DefaultTimezone: s.cfg.API.DefaultTimezone,
		Masks: masks(s.cfg.API.Masks), DefaultLimit: s.cfg.API.DefaultLimit, MaxLimit: s.cfg.API.MaxLimit, Wait: s.cfg.API.ContinueWait,
		Token: s.cubeToken, DevMode: s.cfg.Server.DevMode, Status401: s.cfg.Auth.Status401, Schema: s.cfg.Preaggs.Schema, Log: s.log.Named("restapi"),
	}
	if s.hooks != nil && s.hooks.Rewrites() {
		query.Rewrite = s.hooks.Rewrite
	}
	s.rest = restapi.New(query)
	s.sockets = socketapi.New(socketapi.Config{API: s.rest, Memory: s.orchestrators, ClientIP: clientIP, Off: !s.cfg.API.WebSockets, Grace: s.cfg.Server.Grace, Log: s.log.Named("socketapi")})
	checks := []health.Check{
		{Name: "store", Run: s.store.Ping},
		{Name: "model", Run: func(context.Context) error { return s.model.State().Problem }, Advisory: true},
	}
	if s.shared != nil {
		checks = append(checks, health.Check{Name: "cache", Run: s.sharedHealth, Advisory: true})
	}
	s.health = health.New(health.Config{
		Checks:  checks,
		Sources: s.sourceHealth,
	})
	mux := http.NewServeMux()
	nobody, err := s.people.Nobody(ctx)
	if err != nil {
		return err
	}
	if nobody {
		if s.setup, err = login.NewSetup(login.SetupConfig{Site: site, People: s.people, Sessions: s.sessions, Token: secret.New(id.Random(32))}); err != nil {
			return err
		}
		s.setup.Mount(mux)
	}
	for _, door := range []interface{ Mount(*http.ServeMux) }{site, signIn, connect, programs, &appkeys.Handler{Apps: s.apps}, s.api, s.rest, s.sockets, s.health, ui} {
		door.Mount(mux)
	}
	mux.Handle("GET /{$}", s.sockets.Else(ui)) // where Cube's clients open theirs
	s.handler = mux
	if s.cfg.Server.DevMode && onLoopback(s.cfg.Server.Listen) {
		public, err := url.Parse(s.cfg.Server.PublicURL)
		if err != nil {
			return err
		}
		s.handler = httpserver.LocalNames(mux, public.Hostname()) // what needs no token is not for every page of the web
	}
	return nil
}

// onLoopback reports whether nobody but this machine reaches what listens at address.
func onLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && loopback.Host(host)
}

// cubeToken signs a token for the query API of the person whose browser sent r.
func (s *server) cubeToken(r *http.Request) (secret.Text, error) {
	_, u, err := s.sessions.FromRequest(r)
	if err != nil {
		return secret.Text{}, err
	}
	return s.verifier.Issue(u.Username, cubeTokenLife)
}

func commaList(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}
