// Package restapi is the front door for Cube clients: /cubejs-api/v1 and /cubejs-api/graphql (cube-rest-api.md).
//
// A request is verified, decoded into a query, planned for the caller's security context, and given to the
// orchestrator; what comes back is encoded in Cube's shapes. Beside Cube's fields an answer says which identity ran
// the statement, in runAs and in the header Behalf-Run-As, and a refusal says where to authorize.
//
//	verify ▸ decode ▸ normalize ▸ rewrite ▸ plan ▸ orchestrator ▸ encode
//
// Authentication is by header only, so any origin may call (CORS): there is no cookie that a foreign page could use.
package restapi

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/graphql"
	"github.com/behalf-project/behalf/internal/query"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/internal/sqlgen"
	"github.com/behalf-project/behalf/orchestrator"
	lru "github.com/hashicorp/golang-lru/v2"
	"go.uber.org/zap"
)

// Config is what a Handler needs. All fields without a default in the comment are required.
type Config struct {
	// Verify says who a request comes from; see jwtauth.Verifier and hooks.Hooks.
	Verify func(r *http.Request) (securitycontext.Context, error)
	// Model returns the data model that serves a caller; see datamodel.Live.
	Model func(ctx context.Context, sc securitycontext.Context) (*datamodel.Model, error)
	// Source returns a data source of a domain, or fault.NotFound.
	Source func(domain, name string) (driverfactory.Source, error)
	// Load answers one statement; see orchestrator.Orchestrators.
	Load func(ctx context.Context, sc securitycontext.Context, r orchestrator.Request) (*orchestrator.Result, error)

	// Stage hears who asked, what was planned and that an answer was written. Default: nobody hears.
	Stage driverfactory.StageFunc

	// Cancel stops what a principal waits for under a request id; see orchestrator.Orchestrators. Required.
	Cancel func(requestID string, principal securitycontext.Principal) []orchestrator.Canceled

	// Build has a rollup fetched, and Built says how far that is; see orchestrator.Orchestrators. Required where there are jobs.
	Build func(ctx context.Context, sc securitycontext.Context, r orchestrator.Request) (orchestrator.RollupID, error)
	Built func(id orchestrator.RollupID) (orchestrator.BuildState, error)

	// Refresh has a rollup fetched again that is in use; see orchestrator.Orchestrators. Required where Handler.Refresh is called.
	Refresh func(ctx context.Context, use orchestrator.RollupUse, r orchestrator.Request) error

	// Scopes returns what a caller may do. Default: DefaultScopes for everybody.
	Scopes func(ctx context.Context, sc securitycontext.Context) ([]string, error)

	// Rewrite returns a normalized query as it is to be planned, normalized too; see hooks.Hooks. What it adds is not
	// shown in answers of load and dry-run. Default: as it is.
	Rewrite func(ctx context.Context, sc securitycontext.Context, q query.Query, o query.Options) (query.Query, error)

	// Token returns a short-lived JWT for the person whose browser sent r. Without it there is no
	// /auth/cubejs-token.
	Token func(r *http.Request) (secret.Text, error)

	Masks           map[string]any // of members that an access policy masks and that have none of their own, by type; see sqlgen.Options
	Status401       bool           // who is not known is answered 401 with a challenge (RFC 6750 §3), where Cube answers 403
	DevMode         bool           // hidden members are shown
	Schema          string         // where sources keep pre-aggregations; default prod_pre_aggregations
	DefaultTimezone string         // default UTC
	DefaultLimit    int            // of rows; default 10,000
	MaxLimit        int            // of rows; default 50,000
	Wait            time.Duration  // how long a request is held before "Continue wait"; default 10 s
	Log             *zap.Logger    // default: no logging
	Now             func() time.Time
}

// maxBody bounds a request body. Cube's default is larger; a query that large is a mistake.
const maxBody = 16 << 20

// dialects are the SQL dialects by type of data source.
var dialects = map[string]sqlgen.Dialect{
	"databricks": sqlgen.Databricks{},
	"snowflake":  sqlgen.Snowflake{},
	"postgres":   sqlgen.Postgres{},
	"mysql":      sqlgen.MySQL{},
	"duckdb":     sqlgen.DuckDB{},
}

// Handler answers /cubejs-api/v1.
type Handler struct {
	cfg        Config
	operations []route
	plans      *lru.Cache[planKey, *prepared]
	schemas    *lru.Cache[schemaKey, *graphql.Schema]
	posted     *lru.Cache[string, job] // by token
}

// New returns a Handler over cfg.
func New(cfg Config) *Handler {
	if cfg.DefaultTimezone == "" {
		cfg.DefaultTimezone = "UTC"
	}
	if cfg.MaxLimit == 0 {
		cfg.MaxLimit = 50_000
	}
	if cfg.Wait == 0 {
		cfg.Wait = 10 * time.Second
	}
	if cfg.Scopes == nil {
		cfg.Scopes = func(context.Context, securitycontext.Context) ([]string, error) { return DefaultScopes, nil }
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	plans, _ := lru.New[planKey, *prepared](keptPlans) // fails for a size below one only
	schemas, _ := lru.New[schemaKey, *graphql.Schema](keptSchemas)
	posted, _ := lru.New[string, job](maxJobs)
	h := &Handler{cfg: cfg, plans: plans, schemas: schemas, posted: posted}
	h.operations = h.routes()
	return h
}

// operation answers one request of a verified caller. It writes the answer, or returns an error to be written.
type operation func(w http.ResponseWriter, r *http.Request, sc securitycontext.Context) error

// The scopes: what a caller may be allowed to do (cube-rest-api.md §3). Cancelling one's own statements needs none.
const (
	ScopeMeta    = "meta"
	ScopeData    = "data"
	ScopeSQL     = "sql"
	ScopeGraphQL = "graphql"
	ScopeJobs    = "jobs"
)

// Scopes are all there are, and DefaultScopes those of everybody where nothing else is said.
var (
	Scopes        = []string{ScopeGraphQL, ScopeMeta, ScopeData, ScopeSQL, ScopeJobs}
	DefaultScopes = []string{ScopeGraphQL, ScopeMeta, ScopeData, ScopeSQL}
)

// route is one operation of /cubejs-api/v1, and the scope that it needs.
type route struct {
	methods, path, scope string
	op                   operation
}

// routes are all operations, those that are not built yet included.
func (h *Handler) routes() []route {
	return []route{
		{"GET POST", "load", ScopeData, h.load},
		{"GET POST", "subscribe", ScopeData, h.load},
		{"GET POST", "dry-run", ScopeData, h.dryRun},
		{"GET POST", "sql", ScopeSQL, h.sql},
		{"GET", "meta", ScopeMeta, h.meta},
		{"DELETE", "running-query/{requestID}", "", h.cancel},
		{"POST", "convert-query", ScopeSQL, h.convert},
		{"POST", "cubesql", ScopeData, h.cubeSQL},
		{"POST", "graphql-to-json", "", h.graphqlToJSON},
		{"POST", "pre-aggregations/jobs", ScopeJobs, h.jobs},
		{"POST", "pre-aggregations/can-use", ScopeMeta, h.canUse},
		{"GET", "run-scheduled-refresh", ScopeJobs, h.scheduledRefresh},
	}
}

// Mount adds the routes to mux.
func (h *Handler) Mount(mux *http.ServeMux) {
	for _, route := range h.operations {
		for method := range strings.FieldsSeq(route.methods) {
			mux.HandleFunc(method+" /cubejs-api/v1/"+route.path, h.serve(route.scope, route.op))
		}
	}
	for _, method := range []string{"GET", "POST"} {
		mux.HandleFunc(method+" /cubejs-api/graphql", h.serve(ScopeGraphQL, h.graphql))
	}
	mux.HandleFunc("OPTIONS /cubejs-api/", preflight)
	if h.cfg.Token != nil {
		mux.HandleFunc("GET /auth/cubejs-token", h.token)
	}
	mux.HandleFunc("/cubejs-api/", func(w http.ResponseWriter, r *http.Request) {
		allowAnyOrigin(w)
		h.Refuse(w, r, notFound(r))
	})
}

// serve wraps op: CORS, who is asking, whether they may, and errors.
func (h *Handler) serve(scope string, op operation) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		allowAnyOrigin(w)
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		sc, err := h.Verify(r)
		if err == nil {
			err = h.perform(w, r, sc, scope, op)
		}
		if err != nil {
			h.Refuse(w, r, err)
		}
	}
}

// perform has op answered, if the caller has the scope.
func (h *Handler) perform(w http.ResponseWriter, r *http.Request, sc securitycontext.Context, scope string, op operation) error {
	if err := h.allowed(r.Context(), sc, scope); err != nil {
		return err
	}
	return op(w, r, sc)
}

// Verify says who r comes from, or why they are refused; the error is for Refuse.
func (h *Handler) Verify(r *http.Request) (securitycontext.Context, error) {
	_, end := h.cfg.Stage.Begin(r.Context(), driverfactory.Verify, time.Now())
	sc, err := h.cfg.Verify(r)
	end(driverfactory.Source{}, err)
	if h.cfg.Status401 && errors.Is(err, fault.Unauthenticated) {
		err = challenge{err}
	}
	return sc, err
}

// Answer answers r, a request for /cubejs-api/v1/<name>, to the caller that Verify named. It is for transports that have
// requests of their own form: what they carry is checked, run and refused as over HTTP. It writes when all that it
// writes is there.
func (h *Handler) Answer(w http.ResponseWriter, r *http.Request, sc securitycontext.Context, name string) {
	err := notFound(r)
	if i := slices.IndexFunc(h.operations, func(o route) bool { return o.path == name }); i >= 0 {
		err = h.perform(w, r, sc, h.operations[i].scope, h.operations[i].op)
	}
	if err != nil {
		h.Refuse(w, r, err)
	}
}

// allowed refuses callers who lack the scope.
func (h *Handler) allowed(ctx context.Context, sc securitycontext.Context, scope string) error {
	if scope == "" {
		return nil
	}
	has, err := h.cfg.Scopes(ctx, sc)
	if err != nil || slices.Contains(has, scope) {
		return err
	}
	return &fault.Error{Kind: fault.Denied, Code: "scope_missing", Owner: fault.Admin, Detail: "API scope is missing: " + scope}
}

// cancel answers DELETE /v1/running-query/:requestId: it stops what the caller waits for under the id of an interaction,
// and nothing of anybody else (cube-rest-api.md §11.4).
func (h *Handler) cancel(w http.ResponseWriter, r *http.Request, sc securitycontext.Context) error {
	type item struct {
		RequestID string `json:"requestId"`
		QueryKey  string `json:"queryKey"`
		State     string `json:"state"`
	}
	items := []item{}
	for _, c := range h.cfg.Cancel(r.PathValue("requestID"), sc.Principal) {
		state := "running"
		if c.Queued {
			state = "queued"
		}
		items = append(items, item{c.RequestID, c.Statement, state})
	}
	writeJSON(w, http.StatusOK, map[string]any{"result": items})
	return nil
}

// token answers the signed-in person a JWT for this API. It is asked with a cookie, so pages of other origins may not
// read it: no CORS here.
func (h *Handler) token(w http.ResponseWriter, r *http.Request) {
	token, err := h.cfg.Token(r)
	if err != nil {
		h.Refuse(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"token": token.Reveal()})
}

// allowAnyOrigin lets pages of all origins read the answer, errors included (cube-rest-api.md §1.2).
func allowAnyOrigin(w http.ResponseWriter) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Access-Control-Expose-Headers", "Behalf-Run-As, Retry-After, X-Request-Id")
}

func preflight(w http.ResponseWriter, _ *http.Request) {
	allowAnyOrigin(w)
	w.Header().Set("Access-Control-Allow-Methods", "GET,HEAD,PUT,PATCH,POST,DELETE")
	w.Header().Set("Access-Control-Allow-Headers", "authorization,content-type,x-request-id,x-cube-authorization")
	w.Header().Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
}
