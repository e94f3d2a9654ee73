// Package adminapi is everything below /api/v1: signing in, OAuth apps, connected apps and data sources, as JSON.
//
// Each operation is one Go function over one request type and one answer type. Huma checks requests against those
// types, and the OpenAPI document is made from them, so that what is served, what is checked and what is described
// cannot differ; openapi.json in this folder is that document, kept so that clients are generated from it.
//
// A request passes, in this order: same origin, kind of body, who is asking, whether they may, its form, and only
// then the function. Every operation names who may call it; one that forgets does not start. Failures are kinds
// (internal/fault) until the one table in problem.go turns them into RFC 9457 answers.
package adminapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/httpserver"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/session"
	"github.com/behalf-project/behalf/internal/tokens"
	"github.com/behalf-project/behalf/internal/users"
)

// Prefix is the path below which this API lives.
const Prefix = "/api/v1"

// maxBody is the largest body of a request.
const maxBody = 1 << 20

// People knows who a password or an id belongs to. users.Service is one.
type People interface {
	Authenticate(ctx context.Context, login string, password secret.Text, ip string) (users.User, error)
	ByID(ctx context.Context, id string) (users.User, error)
	ByUsername(ctx context.Context, username string) (users.User, error)
}

// Sessions knows who a browser is signed in as. session.Service is one.
type Sessions interface {
	FromRequest(r *http.Request) (session.Session, users.User, error)
	Peek(r *http.Request) (session.Session, users.User, error)
	SignIn(ctx context.Context, r *http.Request, u users.User, method string) (*http.Cookie, error)
	SignOut(ctx context.Context, s session.Session, everywhere bool) (*http.Cookie, error)
	RevokeAll(ctx context.Context, userID, reason, actor string) error
	RevokeOthers(ctx context.Context, reason, actor string) error
	Ends(s session.Session) (idle, absolute time.Time)
}

// Tokens knows the tokens of ours that programs carry. tokens.Service is one.
type Tokens interface {
	Authenticate(ctx context.Context, value secret.Text) (tokens.Token, users.User, error)
	Create(ctx context.Context, u users.User, r tokens.Request) (tokens.Token, secret.Text, error)
	List(ctx context.Context, userID string) ([]tokens.Token, error)
	Revoke(ctx context.Context, userID, id, reason string) error
	RevokeAll(ctx context.Context, userID, reason, actor string) error
	RevokeEverybody(ctx context.Context, reason, actor string) error
}

// Config is what a Handler needs. Everything without a default is required.
type Config struct {
	PublicURL string // where people reach this server
	Domain    string // id of the workspace whose apps and sources are shown
	People    People
	Sessions  Sessions
	Tokens    Tokens
	Apps      OAuthApps
	Grants    Grants
	HandOuts  HandOuts
	Flow      Flow
	Providers Providers
	Sources   Sources
	Keys      Keys
	Audit     Audit

	// Record records what admins look at; when it fails they are not shown it. Default: nothing is recorded.
	Record func(ctx context.Context, e audit.Entry) error

	Revocations Revocations
	Deliveries  Deliveries

	Queries         Queries
	Orchestrators   Orchestrators
	PreAggregations PreAggregations
	Bounds          Bounds // default: not known
	Events          EventLimits

	ClientIP func(*http.Request) string // default: the peer's address
	Log      *zap.Logger                // default: no logging
	Now      func() time.Time           // default: time.Now
}

// Handler serves the API.
type Handler struct {
	cfg     Config
	mux     *http.ServeMux
	api     huma.API
	origins *http.CrossOriginProtection
	spec    []byte

	verifying sync.Mutex // held while the audit is verified
	stopping  chan struct{}
	streams   streams
}

// New returns a Handler over cfg. It starts nothing; see Mount and Run.
func New(cfg Config) (*Handler, error) {
	if cfg.ClientIP == nil {
		cfg.ClientIP = httpserver.ClientIP(nil)
	}
	if cfg.Record == nil {
		cfg.Record = func(context.Context, audit.Entry) error { return nil }
	}
	cfg.Events = cfg.Events.withDefaults()
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	u, err := url.Parse(cfg.PublicURL)
	if err != nil {
		return nil, fmt.Errorf("public URL: %w", err)
	}
	h := &Handler{cfg: cfg, mux: http.NewServeMux(), origins: http.NewCrossOriginProtection(),
		stopping: make(chan struct{}), streams: streams{of: map[string]int{}}}
	if err := h.origins.AddTrustedOrigin(u.Scheme + "://" + u.Host); err != nil {
		return nil, fmt.Errorf("public URL: %w", err)
	}

	config := huma.DefaultConfig("Behalf", "1")
	config.Info.Description = "Sign in, register OAuth apps, connect them, and see the data sources, what runs there and who did what."
	config.CreateHooks = nil // no $schema in answers
	config.DocsPath = ""     // huma's page loads a viewer from a public CDN
	config.SchemasPath = ""
	config.OpenAPIPath = "" // served below, and made once
	config.NoFormatFallback = false
	config.RejectUnknownQueryParameters = true
	config.Transformers = []huma.Transformer{h.transform}
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"session": {Type: "apiKey", In: "cookie", Name: session.SecureCookie, Description: "The session of a signed-in browser."},
		"bearer": {Type: "http", Scheme: "bearer", BearerFormat: "bhf_pat_…",
			Description: "A personal access token, in the Authorization header only (RFC 6750 §2.1). Its scopes are account, token:<app> for each app whose access tokens it may be handed, connect:<app> for each that it may connect by token exchange, and operate to see and stop, as an admin, what runs for everybody."},
	}
	h.api = humago.New(h.mux, config)
	h.api.UseMiddleware(h.admit)
	h.routes()
	h.describe()
	if h.spec, err = json.MarshalIndent(h.api.OpenAPI(), "", "  "); err != nil {
		return nil, fmt.Errorf("OpenAPI document: %w", err)
	}
	h.spec = append(bytes.TrimSpace(h.spec), '\n')
	h.mux.HandleFunc("GET "+Prefix+"/openapi.json", h.openAPI)
	h.mux.HandleFunc(Prefix+"/", h.unmatched)
	return h, nil
}

// Mount adds the routes to mux.
func (h *Handler) Mount(mux *http.ServeMux) { mux.Handle(Prefix+"/", h) }

// ServeHTTP serves one request below Prefix.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	// A browser sends cookies by itself and no Authorization header of another site's making: what carries one is no
	// forgery, and no cookie counts beside it.
	if err := h.origins.Check(r); err != nil && r.Header.Get("Authorization") == "" {
		h.fail(w, r, &fault.Error{Kind: fault.Denied, Code: "cross_origin", Owner: fault.Admin, Err: err, Detail: "This request came from another site. " +
			"Open " + h.cfg.PublicURL + " itself; if you did, its address is not the public URL that the server is configured with."})
		return
	}
	if r.ContentLength != 0 && r.Body != nil && !jsonBody(r) {
		p := unsupported
		h.fail(w, r, &p)
		return
	}
	h.mux.ServeHTTP(w, r)
}

// jsonBody reports whether r says that its body is JSON. A form of another site cannot say so (sso.md §4.4).
func jsonBody(r *http.Request) bool {
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(kind), "application/json")
}

// access says who may call an operation. Its zero value is nobody: an operation must choose.
type access string

// Who may call an operation.
const (
	everybody access = "everybody"
	signedIn  access = "signed_in" // in a browser: no token will do
	account   access = "account"   // in a browser, or with a token that has the scope account
	holders   access = "holders"   // whoever has a token, whatever its scopes: it is about the token itself
	handOut   access = "hand_out"  // with a token that has the scope token:<app>, and in no other way
	connect   access = "connect"   // in a browser, or with a token that has the scope connect:<app>
	admins    access = "admin"     // in a browser, as an admin
	operators access = "operator"  // the same, or with a token of an admin that has the scope operate
)

// accessKey is where an operation's access is in its Metadata.
const accessKey = "access"

// caller is who is asking: the zero caller for somebody not signed in. Either session or token is theirs.
type caller struct {
	request *http.Request
	session session.Session
	token   tokens.Token
	user    users.User
}

type callerKey struct{}

// from returns who is asking.
func from(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// admit lets an operation's caller in or refuses, before the body is looked at.
func (h *Handler) admit(ctx huma.Context, next func(huma.Context)) {
	r, _ := humago.Unwrap(ctx)
	c := caller{request: r}
	who, _ := ctx.Operation().Metadata[accessKey].(access)
	if who != everybody {
		var err error
		if r.Header.Get("Authorization") != "" {
			err = h.admitToken(&c, who, ctx.Param("app"))
		} else {
			err = h.admitSession(&c, who)
		}
		if err != nil {
			h.refuse(ctx, err)
			return
		}
	}
	next(huma.WithValue(ctx, callerKey{}, c))
}

// route is one operation of this API.
type route struct {
	id, method, path, summary, tag string
	who                            access
	status                         int // of success
}

// register adds an operation. It panics when the operation does not say who may call it.
func register[I, O any](h *Handler, rt route, f func(context.Context, *I) (*O, error)) {
	if rt.who == "" {
		panic("adminapi: " + rt.id + " does not say who may call it")
	}
	op := huma.Operation{
		OperationID: rt.id, Method: rt.method, Path: Prefix + rt.path, Summary: rt.summary, Tags: []string{rt.tag},
		DefaultStatus: rt.status, MaxBodyBytes: maxBody, BodyReadTimeout: 10 * time.Second,
		Metadata: map[string]any{accessKey: rt.who}, Responses: map[string]*huma.Response{},
	}
	switch rt.who {
	case everybody:
	case account, connect, operators:
		op.Security = []map[string][]string{{"session": {}}, {"bearer": {}}}
	case holders, handOut:
		op.Security = []map[string][]string{{"bearer": {}}}
	default:
		op.Security = []map[string][]string{{"session": {}}}
	}
	huma.Register(h.api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := f(ctx, in)
		if err = h.recordRead(ctx, rt, err); err != nil {
			return nil, h.translate(ctx, err)
		}
		return out, nil
	})
}

// translate makes the answer of err, and logs what has no kind.
func (h *Handler) translate(ctx context.Context, err error) *Problem {
	requestID := httpserver.RequestID(ctx)
	p := problem(err, requestID)
	if p.Status >= 500 {
		h.cfg.Log.Error("request failed", zap.String("request_id", requestID), zap.String("kind", p.Code), zap.Error(err))
	}
	return p
}

// refuse answers with err from a middleware.
func (h *Handler) refuse(ctx huma.Context, err error) {
	r, w := humago.Unwrap(ctx)
	h.fail(w, r, err)
}

// fail answers with err outside of an operation.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := h.translate(r.Context(), err)
	for name, values := range p.GetHeaders() {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client is gone
}

// transform gives huma's own refusals the form of ours.
func (h *Handler) transform(ctx huma.Context, _ string, v any) (any, error) {
	if m, ok := v.(*huma.ErrorModel); ok {
		return fromHuma(m, httpserver.RequestID(ctx.Context())), nil
	}
	return v, nil
}

// openAPI serves the description of this API.
func (h *Handler) openAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/openapi+json")
	_, _ = w.Write(h.spec) // the client is gone
}

// unmatched answers what no operation answers: 405 where another method would do, else 404.
func (h *Handler) unmatched(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		probe := r.Clone(r.Context())
		probe.Method = method
		if _, pattern := h.mux.Handler(probe); pattern != Prefix+"/" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) > 0 {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		h.fail(w, r, &Problem{Type: problemType("method_not_allowed"), Title: "Method not allowed", Status: http.StatusMethodNotAllowed,
			Code: "method_not_allowed", Detail: "Use " + strings.Join(allowed, " or ") + " here."})
		return
	}
	h.fail(w, r, &fault.Error{Kind: fault.NotFound, Code: "no_such_endpoint", Detail: "There is no such endpoint. " + Prefix + "/openapi.json lists them all."})
}

// describe puts into the document what the types cannot say: every refusal is a Problem, and broken may be null.
func (h *Handler) describe() {
	schemas := h.api.OpenAPI().Components.Schemas
	problemRef := schemas.Schema(reflect.TypeFor[Problem](), true, "Problem")
	for _, item := range h.api.OpenAPI().Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Patch, item.Delete} {
			if op == nil {
				continue
			}
			op.Responses["default"] = &huma.Response{
				Description: "Refused or failed",
				Content:     map[string]*huma.MediaType{"application/problem+json": {Schema: problemRef}},
			}
		}
	}
	export := h.api.OpenAPI().Paths[Prefix+"/audit/export"].Get.Responses["200"]
	export.Content = map[string]*huma.MediaType{
		"application/x-ndjson": {Schema: &huma.Schema{Type: huma.TypeString, Description: "One record a line, with its hash and that of the one before."}},
		"text/csv":             {Schema: &huma.Schema{Type: huma.TypeString}},
	}
	events := h.api.OpenAPI().Paths[Prefix+"/events"].Get.Responses["200"]
	for _, t := range []reflect.Type{reflect.TypeFor[QueryEvent](), reflect.TypeFor[OrchestratorEvent]()} {
		schemas.Schema(t, true, t.Name())
	}
	events.Content = map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString,
		Description: "Server-sent events: queries, whose data is a QueryEvent, and orchestrators, whose data is an OrchestratorEvent; a few a second at most. " +
			"A comment comes every few seconds. The event end comes last, with the Problem for which the server ended the stream; without one, connect again."}}}
	app := schemas.Map()["OAuthApp"]
	app.Properties["broken"] = &huma.Schema{
		Description: app.Properties["broken"].Description,
		OneOf:       []*huma.Schema{{Ref: "#/components/schemas/Broken"}, {Type: "null"}},
	}
	delete(schemas.Map(), "ErrorModel") // huma's own, which transform replaces
	delete(schemas.Map(), "ErrorDetail")
}

// list returns s, and never null in JSON.
func list(s []string) []string {
	if s == nil {
		return []string{}
	}
	return slices.Clone(s)
}
