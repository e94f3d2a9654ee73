package hooks_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/hooks"
	"github.com/behalf-project/behalf/internal/jwtauth"
	"github.com/behalf-project/behalf/internal/query"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// patience is how long hooks of tests may run that are not meant to take too long.
const patience = 10 * time.Second

// load loads a cube.js.
func load(t *testing.T, text string, change ...func(*hooks.Config)) *hooks.Hooks {
	t.Helper()
	h, err := try(text, change...)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func try(text string, change ...func(*hooks.Config)) (*hooks.Hooks, error) {
	verifier := jwtauth.New(jwtauth.Config{Domain: "dom", TrustUserCredentials: true})
	cfg := hooks.Config{Files: map[string]string{"cube.js": text}, Context: verifier.Context, Timeout: patience}
	for _, c := range change {
		c(&cfg)
	}
	return hooks.Load(context.Background(), cfg)
}

// briefly gives hooks that never end little time.
func briefly(c *hooks.Config) {
	for _, endless := range []string{"for (;;)", "/hang"} {
		if strings.Contains(c.Files["cube.js"], endless) {
			c.Timeout = 100 * time.Millisecond
		}
	}
}

// alice is somebody whom the verifier knows.
func alice() securitycontext.Context {
	claims := map[string]any{"cubeCloud": map[string]any{"username": "alice"}, "tenant": int64(7)}
	return securitycontext.Context{
		Domain: "dom", Principal: securitycontext.Principal{Realm: securitycontext.Local, Subject: "usr_alice"}, Username: "alice",
		Claims: claims, Template: claims, Groups: []string{"claimed"},
	}
}

func verified() (securitycontext.Context, error) { return alice(), nil }

func verify(t *testing.T, h *hooks.Hooks, token string) (securitycontext.Context, error) {
	t.Helper()
	return h.Verify(t.Context(), hooks.Request{
		Method: "GET", URL: "/cubejs-api/v1/load?query=x", Token: token,
		Header: http.Header{"Authorization": {token}, "X-Tenant": {"seven"}, "Cookie": {"session=canary-cookie"}},
	}, func() (securitycontext.Context, error) {
		return securitycontext.Context{}, errors.New("the verifier was asked")
	})
}

// Every way in which checkAuth gives a context (cube-rest-api.md §2.5).
func TestCheckAuthGivesTheSecurityContext(t *testing.T) {
	for name, hook := range map[string]string{
		"assigned":             "(req, auth) => { req.securityContext = {sub: auth, tenant: req.headers['x-tenant']} }",
		"assigned, async":      "async (req, auth) => { await null; req.securityContext = {sub: auth, tenant: req.headers['x-tenant']} }",
		"the old name":         "(req, auth) => { req.authInfo = {sub: auth, tenant: 'seven'} }",
		"the old name wins":    "(req, auth) => { req.securityContext = {sub: 'other'}; req.authInfo = {sub: auth, tenant: 'seven'} }",
		"returned":             "(req, auth) => ({security_context: {sub: auth, tenant: 'seven'}})",
		"returned, async":      "async (req, auth) => ({security_context: {sub: auth, tenant: 'seven'}})",
		"returned wins":        "(req, auth) => { req.authInfo = {sub: 'other'}; return {security_context: {sub: auth, tenant: 'seven'}} }",
		"a function, by name":  "function check(req, auth) { req.securityContext = {sub: auth, tenant: 'seven'} }",
		"the value is a class": "(req, auth) => { class A { constructor() { this.sub = auth; this.tenant = 'seven' } } req.securityContext = new A() }",
	} {
		t.Run(name, func(t *testing.T) {
			sc, err := verify(t, load(t, "module.exports = {checkAuth: "+hook+"}"), "u1")
			if err != nil {
				t.Fatal(err)
			}
			if sc.Principal != (securitycontext.Principal{Realm: "hook:", Subject: "u1"}) || sc.Claims["tenant"] != "seven" || sc.Domain != "dom" || sc.Username != "u1" {
				t.Errorf("context = %+v", sc)
			}
		})
	}
}

// Whatever a context of checkAuth says, it is nobody of this server.
func TestAContextOfCheckAuthIsNeverALocalPerson(t *testing.T) {
	for claims, want := range map[string]securitycontext.Principal{
		`{cubeCloud: {username: 'alice'}}`:                                    {Realm: "hook", Subject: "alice"},
		`{sub: 'alice'}`:                                                      {Realm: "hook:", Subject: "alice"},
		`{sub: 'usr_alice', iss: 'local'}`:                                    {Realm: "hook:local", Subject: "usr_alice"},
		`{sub: 's', iss: 'https://idp', cubeCloud: {username: 'alice'}}`:      {Realm: "hook:https://idp", Subject: "s"},
		`{realm: 'local', principal: {realm: 'local', subject: 'usr_alice'}}`: {},
		`undefined`: {},
	} {
		sc, err := verify(t, load(t, "module.exports = {checkAuth: (req) => { req.securityContext = "+claims+" }}"), "t")
		if err != nil || sc.Principal != want {
			t.Errorf("%s: principal %+v, %v, want %+v", claims, sc.Principal, err, want)
		}
	}
}

func TestCheckAuthThatFailsNeverAllows(t *testing.T) {
	for hook, want := range map[string]string{
		"() => { throw new Error('Access denied, you') }":                             "Access denied, you",
		"async () => { throw new Error('no') }":                                       "no",
		"() => { throw 'canary' }":                                                    "Access denied",
		"() => { throw null }":                                                        "Access denied",
		"() => { throw {get message() { throw 1 }} }":                                 "Access denied",
		"(req) => { req.securityContext = {}; canary() }":                             "Access denied",
		"(req) => { req.securityContext = {}; for (;;) {} }":                          "Access denied",
		"async (req) => { req.securityContext = {}; await new Promise(() => {}) }":    "Access denied",
		"(req) => { req.securityContext = {}; const f = () => f(); f() }":             "Access denied",
		"(req) => { req.securityContext = 'canary' }":                                 "Access denied",
		"(req) => { req.securityContext = [1] }":                                      "Access denied",
		"(req) => { req.securityContext = 7 }":                                        "Access denied",
		"(req) => { req.securityContext = {f: () => 1} }":                             "Access denied",
		"(req) => { const a = {}; a.a = a; req.securityContext = a }":                 "Access denied",
		"(req) => { req.securityContext = {x: 'x'.repeat(1 << 20)} }":                 "Access denied",
		"() => ({security_context: 'canary'})":                                        "Access denied",
		"() => ({get security_context() { throw new TypeError('canary') }})":          "Access denied",
		"(req) => { Object.defineProperty(req, 'authInfo', {get() { for (;;) {} }})}": "Access denied",
		"(req, auth) => { require('jsonwebtoken').verify('a.b.c', 'secret') }":        "Access denied",
		"(req, auth) => fetch('https://example.com/canary')":                          "Access denied",
		"() => process.exit(0)":                                                       "Access denied",
	} {
		h := load(t, "module.exports = {checkAuth: "+hook+"}", briefly)
		sc, err := verify(t, h, "t")
		e, ok := errors.AsType[*fault.Error](err)
		if !ok || !errors.Is(err, fault.Unauthenticated) || e.Detail != want {
			t.Errorf("%s: %+v, %v, want a refusal that says %q", hook, sc, err, want)
		}
		if sc.Claims != nil || !sc.Principal.Anonymous() {
			t.Errorf("%s: a context came along: %+v", hook, sc)
		}
	}
}

// The hook for one request sees nothing of another's, and two at once do not mix.
func TestTwoRequestsAtOnce(t *testing.T) {
	h := load(t, `module.exports = {checkAuth: async (req, auth) => {
		globalThis.last = auth; await null;
		if (globalThis.last !== auth) throw new Error('mixed');
		req.securityContext = {sub: auth};
	}}`)
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			token := fmt.Sprint("t", i)
			sc, err := verify(t, h, token)
			if err != nil || sc.Principal.Subject != token {
				t.Errorf("%s became %+v, %v", token, sc.Principal, err)
			}
		})
	}
	all.Wait()
}

func TestHooksSeeNoCookie(t *testing.T) {
	h := load(t, `module.exports = {checkAuth: (req) => { req.securityContext = {seen: JSON.stringify(req)} }, extendContext: (req) => ({seen: JSON.stringify(req)})}`)
	sc, err := verify(t, h, "canary-token")
	if err != nil {
		t.Fatal(err)
	}
	if seen := sc.Claims["seen"].(string); strings.Contains(seen, "canary-cookie") || !strings.Contains(seen, "canary-token") {
		t.Errorf("checkAuth sees %s", seen)
	}
	extended := strings.ReplaceAll(sc.Extended["seen"].(string), sc.Claims["seen"].(string), "")
	if i := strings.Index(extended, `"securityContext"`); strings.Contains(extended, "canary-cookie") || strings.Contains(extended[:max(i, 0)], `"authorization"`) {
		t.Errorf("extendContext sees %s", extended)
	}
}

func TestTheContextIsExtended(t *testing.T) {
	for _, async := range []string{"", "async "} {
		h := load(t, `module.exports = {
			extendContext: `+async+`(req) => { req.securityContext.tenant = 0; return {org: req.headers['x-tenant'], requestId: 'mine'} },
			contextToGroups: `+async+`({securityContext, org}) => [org, 'of ' + securityContext.tenant],
			contextToAppId: `+async+`({securityContext, org}) => 'APP_' + securityContext.tenant + org,
			contextToOrchestratorId: `+async+`({securityContext}) => 'ORCH_' + securityContext.cubeCloud.username,
			contextToApiScopes: `+async+`(securityContext, otherwise) => securityContext.tenant === 7 ? [...otherwise, 'jobs'] : [],
		}`)
		sc, err := h.Verify(t.Context(), hooks.Request{Header: http.Header{"X-Tenant": {"seven"}}}, verified)
		if err != nil {
			t.Fatal(err)
		}
		if sc.Principal != alice().Principal || fmt.Sprint(sc.Groups) != "[seven of 7]" || sc.AppID != "APP_7seven" || fmt.Sprint(sc.Extended) != "map[org:seven]" {
			t.Errorf("context = %+v", sc)
		}
		id, err := h.OrchestratorID(t.Context(), sc, nil)
		if err != nil || id != "ORCH_alice" {
			t.Errorf("orchestrator id = %q, %v", id, err)
		}
		scopes, err := h.Scopes(t.Context(), sc, []string{"meta", "data", "jobs"}, []string{"meta"})
		if err != nil || fmt.Sprint(scopes) != "[meta jobs]" {
			t.Errorf("scopes = %v, %v", scopes, err)
		}
	}
}

// extendContext may replace what rules read, and never who asks.
func TestAReplacedContextKeepsItsPrincipal(t *testing.T) {
	h := load(t, `module.exports = {extendContext: ({securityContext}) => ({securityContext: {...securityContext, tenant: 8, groups: ['new'], cubeCloud: {username: 'bob'}}})}`)
	sc, err := h.Verify(t.Context(), hooks.Request{}, verified)
	if err != nil || sc.Principal != alice().Principal || sc.Username != "alice" || fmt.Sprint(sc.Template["tenant"], sc.Groups) != "8 [new]" {
		t.Errorf("context = %+v, %v", sc, err)
	}
}

func TestTheVerifierIsAskedWithoutCheckAuth(t *testing.T) {
	h := load(t, `module.exports = {contextToAppId: () => 'a'}`)
	if _, err := verify(t, h, ""); err == nil || !strings.Contains(err.Error(), "the verifier was asked") {
		t.Errorf("Verify = %v", err)
	}
}

// Each hook: what it does wrong ends the request as Cube ends it, and what it returned is used by nobody.
func TestAHookThatFailsIsTheEndOfTheRequest(t *testing.T) {
	calls := map[string]func(h *hooks.Hooks) error{
		"extendContext":   func(h *hooks.Hooks) error { return errOf(h.Verify(t.Context(), hooks.Request{}, verified)) },
		"contextToGroups": func(h *hooks.Hooks) error { return errOf(h.Verify(t.Context(), hooks.Request{}, verified)) },
		"contextToAppId":  func(h *hooks.Hooks) error { return errOf(h.Verify(t.Context(), hooks.Request{}, verified)) },
		"contextToOrchestratorId": func(h *hooks.Hooks) error {
			return errOf(h.OrchestratorID(t.Context(), alice(), func(securitycontext.Context) string { return "x" }))
		},
		"contextToApiScopes": func(h *hooks.Hooks) error {
			return errOf(h.Scopes(t.Context(), alice(), []string{"meta"}, []string{"meta"}))
		},
		"queryRewrite":     func(h *hooks.Hooks) error { return errOf(rewrite(t, h, question(t, `{"measures":["a.n"]}`))) },
		"queryTransformer": func(h *hooks.Hooks) error { return errOf(rewrite(t, h, question(t, `{"measures":["a.n"]}`))) },
		"driverFactory":    func(h *hooks.Hooks) error { return errOf(h.AsUser(t.Context(), alice(), warehouse, "active")) },
	}
	for name, call := range calls {
		for hook, want := range map[string]string{
			"() => { throw new Error('sorry') }":                 "Error: sorry",
			"async () => { throw new Error('sorry') }":           "Error: sorry",
			"async () => { await null; null.x }":                 "TypeError: ",
			"() => { for (;;) {} }":                              "Error: " + name + ": the script ran longer than 100ms",
			"async () => { await null; for (;;) {} }":            "Error: " + name + ": the script ran longer than 100ms",
			"() => new Promise(() => {})":                        "Error: " + name + ": the promise never ends",
			"() => { const f = () => f(); f() }":                 "Error: " + name + ": the script calls itself more than",
			"() => 7":                                            "",
			"() => () => 1":                                      "Error: " + name + ": ",
			"() => { const a = []; a[0] = a; return a }":         "Error: " + name + ": ",
			"() => new Proxy({}, {ownKeys() { throw 1 }})":       "",
			"() => [{}]":                                         "",
			"() => ({get type() { for (;;) {} }, measures: {}})": "",
		} {
			err := call(load(t, "module.exports = {"+name+": "+hook+"}", briefly))
			e, ok := errors.AsType[*fault.Error](err)
			if !ok || e.Code != hooks.CodeFailed || !strings.HasPrefix(e.Detail, want) {
				t.Errorf("%s: %s: %v, want a failure that begins with %q", name, hook, err, want)
			}
			if strings.Contains(e.Detail, "cube.js:") {
				t.Errorf("%s: %s: the answer holds the place: %s", name, hook, e.Detail)
			}
		}
		err := call(load(t, "const {UserError} = require('@cubejs-backend/api-gateway'); module.exports = {"+name+": () => { throw new UserError('ask less') }}"))
		if e, ok := errors.AsType[*fault.Error](err); !ok || e.Kind != fault.Invalid || e.Code != "" || e.Detail != "ask less" {
			t.Errorf("%s: a UserError is %v", name, err)
		}
	}
	// What returns nothing: only extendContext may.
	for name, call := range calls {
		if err := call(load(t, "module.exports = {"+name+": () => {}}")); (err == nil) != (name == "extendContext") {
			t.Errorf("%s that returns nothing: %v", name, err)
		}
	}
}

func errOf[T any](_ T, err error) error { return err }

func TestScopesAreThoseThereAre(t *testing.T) {
	for returned, want := range map[string]string{
		"['zzz']": "Error: A user-defined contextToApiScopes function returns a wrong scope: zzz",
		"'meta'":  "Error: A user-defined contextToApiScopes function returns an inconsistent type.",
	} {
		_, err := load(t, "module.exports = {contextToApiScopes: () => "+returned+"}").Scopes(t.Context(), alice(), []string{"meta"}, nil)
		if e, ok := errors.AsType[*fault.Error](err); !ok || e.Detail != want {
			t.Errorf("%s: %v, want %s", returned, err, want)
		}
	}
}

// question returns a normalized query.
func question(t *testing.T, text string) query.Query {
	t.Helper()
	batch, err := query.Decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	q, err := batch.Queries[0].Normalize(normal)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

var normal = query.Options{Now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}

func rewrite(t *testing.T, h *hooks.Hooks, q query.Query) (query.Query, error) {
	t.Helper()
	return h.Rewrite(t.Context(), alice(), q, normal)
}

func TestAQueryIsRewritten(t *testing.T) {
	const asked = `{"measures":["a.n"],"dimensions":["a.d"],"filters":[{"member":"a.x","operator":"equals","values":["1"]}],"order":{"a.n":"desc"},"limit":5}`
	for name, tt := range map[string]struct {
		hook string
		want func(q *query.Query)
	}{
		"as it is": {"(q) => q", func(*query.Query) {}},
		"a filter": {"(q, {securityContext}) => { q.filters.push({member: 'a.tenant', operator: 'equals', values: [securityContext.tenant]}); return q }", func(q *query.Query) {
			q.Filters = append(slices.Clone(q.Filters), query.Filter{Member: "a.tenant", Operator: "equals", Values: []query.Value{{Text: "7"}}})
		}},
		"async, and a new object": {"async (q) => ({...q, filters: [...q.filters, {dimension: 'a.y', operator: 'set'}]})", func(q *query.Query) {
			q.Filters = append(slices.Clone(q.Filters), query.Filter{Member: "a.y", Operator: "set"})
		}},
		"a limit":     {"(q) => { q.limit = 3; return q }", func(q *query.Query) { q.Limit, q.RowLimit = new(3), new(3) }},
		"a row limit": {"(q) => { q.rowLimit = 3; return q }", func(q *query.Query) { q.Limit, q.RowLimit = new(3), new(3) }},
		"a segment":   {"(q) => ({...q, segments: ['a.s']})", func(q *query.Query) { q.Segments = []string{"a.s"} }},
		"a relative date": {"(q) => { q.timeDimensions.push({dimension: 'a.t', dateRange: 'yesterday'}); return q }", func(q *query.Query) {
			q.TimeDimensions = []query.TimeDimension{{Dimension: "a.t", DateRange: &query.DateRange{Texts: []string{"2026-02-28T00:00:00.000", "2026-02-28T23:59:59.999"}}}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			q, want := question(t, asked), question(t, asked)
			tt.want(&want)
			got, err := rewrite(t, load(t, "module.exports = {queryRewrite: "+tt.hook+"}"), q)
			if err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(text(t, got)) != fmt.Sprint(text(t, want)) {
				t.Errorf("rewritten to %s\nwant         %s", text(t, got), text(t, want))
			}
			if text(t, q) != text(t, question(t, asked)) {
				t.Errorf("the query itself was changed: %s", text(t, q))
			}
		})
	}
}

// What comes back is read as if a client had sent it.
func TestARewrittenQueryIsChecked(t *testing.T) {
	for returned, want := range map[string]string{
		"{}":                                "should contain either measures",
		"{measures: ['a.n'], foo: 1}":       `"foo" is not allowed`,
		"{measures: ['a.n; drop table x']}": "measures",
		"{measures: ['a.n'], filters: [{member: 'a.x', operator: 'sql', values: ['1']}]}":          "filters[0]",
		"{measures: ['a.n'], filters: [{member: 'a.x', operator: 'equals', values: [{}]}]}":        "filters[0]",
		"{measures: ['a.n'], filters: [{member: 'a.x', operator: 'equals', values: []}]}":          "Values required",
		"{measures: ['a.n'], filters: [{member: 'a.x', operator: 'equals', values: [undefined]}]}": "",
		"{measures: ['a.n'], limit: 1e9}": "limit",
		"{measures: ['a.n'], timeDimensions: [{dimension: 'a.t', compareDateRange: ['today', 'yesterday']}]}": "compareDateRange",
		"[{measures: ['a.n']}]": "a list, and not a query",
	} {
		got, err := rewrite(t, load(t, "module.exports = {queryRewrite: () => ("+returned+")}"), question(t, `{"measures":["a.n"]}`))
		e, ok := errors.AsType[*fault.Error](err)
		if want == "" {
			continue // null is a value, as in a client's query
		}
		if !ok || e.Code != hooks.CodeFailed || !strings.Contains(e.Detail, want) {
			t.Errorf("%s: %s, %v, want a failure that says %q", returned, text(t, got), err, want)
		}
	}
}

var warehouse = hooks.Source{
	Name: "default", Type: "databricks", Key: "databricks", Options: map[string]string{"host": "dbc.example.com", "http_path": "/sql/1", "catalog": "main"},
	User: "svc", Service: []secret.Text{secret.New("canary-service"), secret.New("handle-of-service")},
}

// recipe is that of the documentation for per-user credentials.
const recipe = `module.exports = {driverFactory: ASYNC ({securityContext}) => {
	const creds = securityContext?.cubeCloud?.userCredentials?.databricks;
	const token = creds?.status === 'active' ? creds.accessToken : null;
	return {type: 'databricks-jdbc', url: process.env.CUBEJS_DB_DATABRICKS_URL, token: token || process.env.CUBEJS_DB_DATABRICKS_TOKEN,
		acceptPolicy: true, catalog: process.env.CUBEJS_DB_DATABRICKS_CATALOG};
}}`

func granted(c *hooks.Config) {
	c.Env = map[string]string{"CUBEJS_DB_DATABRICKS_URL": "jdbc:databricks://x", "CUBEJS_DB_DATABRICKS_TOKEN": "handle-of-service"}
}

func TestDriverFactoryChoosesTheIdentity(t *testing.T) {
	for _, async := range []string{"", "async"} {
		h := load(t, strings.Replace(recipe, "ASYNC", async, 1), granted)
		for status, want := range map[string]bool{"active": true, "expired": false, "not_connected": false, "": false} {
			if user, err := h.AsUser(t.Context(), alice(), warehouse, status); err != nil || user != want {
				t.Errorf("with a credential that is %q: as user %v, %v, want %v", status, user, err, want)
			}
		}
	}
	for hook, want := range map[string]string{
		"() => 'databricks-jdbc'": "",
		"() => ({type: 'databricks', host: 'dbc.example.com', httpPath: '/sql/1'})": "",
		"() => ({type: 'postgres'})": "the type is",
		"() => ({})":                 "the type is",
		"() => ({type: 'databricks', host: 'evil.example.com'})":                                                            `"host" is not what is configured`,
		"() => ({type: 'databricks', token: 'another'})":                                                                    `"token" is neither`,
		"() => ({type: 'databricks', password: ['x']})":                                                                     `no setting "password"`,
		"() => ({type: 'databricks', token: {toString: () => 'x'}})":                                                        "driver",
		"(c) => ({type: 'databricks', url: 'x;PWD=' + c.securityContext.cubeCloud.userCredentials.databricks.accessToken})": "part of the text",
		"(c) => ({type: 'databricks', catalog: c.securityContext.cubeCloud.userCredentials.databricks.accessToken})":        "it belongs in",
		"() => new (class PostgresDriver { query() {} })()":                                                                 "the type is",
		"() => ({type: 'databricks', schema: 'other'})":                                                                     `"schema" is not what is configured`,
	} {
		user, err := load(t, "module.exports = {driverFactory: "+hook+"}", granted).AsUser(t.Context(), alice(), warehouse, "active")
		if want == "" {
			if err != nil || user {
				t.Errorf("%s: %v, %v", hook, user, err)
			}
		} else if err == nil || user || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v, want a failure that says %q", hook, user, err, want)
		}
	}
}

// A handle is for one call: another one, or another person's, means nothing.
func TestAHandleIsForOneCall(t *testing.T) {
	h := load(t, `let kept; module.exports = {driverFactory: ({securityContext}) => {
		const now = securityContext.cubeCloud.userCredentials.databricks.accessToken;
		const token = kept || now; kept = now;
		return {type: 'databricks', token};
	}}`)
	if user, err := h.AsUser(t.Context(), alice(), warehouse, "active"); err != nil || !user {
		t.Fatalf("AsUser = %v, %v", user, err)
	}
	if user, err := h.AsUser(t.Context(), alice(), warehouse, "active"); err == nil || user {
		t.Errorf("with an old handle: AsUser = %v, %v, want a failure", user, err)
	}
}

// No hook sees an access token, in whatever it is given or can read from a verified JWT; and what it says goes nowhere
// with one.
func TestNoHookSeesACredential(t *testing.T) {
	key := secret.New("0123456789abcdef0123456789abcdef")
	claims := map[string]any{"sub": "s", "cubeCloud": map[string]any{"username": "alice", "userCredentials": map[string]any{
		"databricks": map[string]any{"accessToken": "canary-access", "refreshToken": "canary-refresh", "status": "active"},
	}}}
	token, err := jwtauth.Sign(key, claims, time.Now(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zapcore.DebugLevel)
	h := load(t, `
		const jwt = require('jsonwebtoken');
		const saw = [];
		const see = (v) => { saw.push(JSON.stringify(v)); console.log(v) };
		module.exports = {
			checkAuth: (req, auth) => { see(jwt.decode(auth)); see(jwt.decode(auth, {complete: true})); req.securityContext = jwt.verify(auth, process.env.KEY); see(req.securityContext) },
			extendContext: (req) => { see(req) },
			contextToGroups: (c) => { see(c); return [] },
			contextToAppId: (c) => { see(c); return 'a' },
			contextToOrchestratorId: (c) => { see(c); return 'a' },
			queryRewrite: (q, c) => { see(c); return q },
			contextToApiScopes: (s) => { see(s); throw new Error(saw.join()) },
			driverFactory: (c) => { see(c); see(process.env); return {type: 'databricks', token: c.securityContext.cubeCloud.userCredentials.databricks.accessToken} },
		}`, func(c *hooks.Config) { c.Env = map[string]string{"KEY": key.Reveal()}; c.Log = zap.New(core) })
	sc, err := h.Verify(t.Context(), hooks.Request{Token: token.Reveal()}, verified)
	if err != nil {
		t.Fatal(err)
	}
	if got := sc.Credentials["databricks"]; got.AccessToken.Reveal() != "canary-access" || got.Status != "active" {
		t.Errorf("the credential of the verified JWT is %+v", got)
	}
	if user, err := h.AsUser(t.Context(), sc, warehouse, "active"); err != nil || !user {
		t.Errorf("AsUser = %v, %v", user, err)
	}
	_, _ = h.OrchestratorID(t.Context(), sc, nil)
	_, _ = h.Rewrite(t.Context(), sc, question(t, `{"measures":["a.n"]}`), normal)
	_, said := h.Scopes(t.Context(), sc, nil, nil)
	if !strings.Contains(said.Error(), "alice") {
		t.Errorf("the hooks saw %v", said)
	}
	everything := said.Error() + fmt.Sprint(sc.Claims, sc.Template, sc.Extended)
	for _, entry := range logs.All() {
		everything += entry.Message + fmt.Sprint(entry.ContextMap())
	}
	if strings.Contains(everything, "canary") {
		t.Errorf("a credential is visible: %s", everything)
	}
}

// A handle that a hook puts where nobody looks for a credential brings no token there.
func TestACredentialOutOfPlaceIsNone(t *testing.T) {
	key := secret.New("0123456789abcdef0123456789abcdef")
	token, err := jwtauth.Sign(key, map[string]any{"cubeCloud": map[string]any{"userCredentials": map[string]any{
		"databricks": map[string]any{"accessToken": "canary-access", "status": "active"},
	}}}, time.Now(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	h := load(t, `module.exports = {checkAuth: (req, auth) => {
		const claims = require('jsonwebtoken').verify(auth, process.env.KEY);
		req.securityContext = {sub: 's', deep: [claims], token: claims.cubeCloud.userCredentials.databricks.accessToken};
	}}`, func(c *hooks.Config) { c.Env = map[string]string{"KEY": key.Reveal()} })
	sc, err := verify(t, h, token.Reveal())
	if err != nil || len(sc.Credentials) != 0 || strings.Contains(fmt.Sprint(sc.Claims, sc.Template), "canary") {
		t.Errorf("context = %+v, %v", sc, err)
	}
}

func TestWhatCannotRunIsRefusedByName(t *testing.T) {
	for file, want := range map[string]string{
		"module.exports = {checkauth: () => 1}":                                 `cube.js: checkauth: there is no such setting; did you mean "checkAuth"?`,
		"module.exports = {canSwitchSqlUser: () => true}":                       "cube.js: canSwitchSqlUser: it is not available: it is of the SQL API",
		"module.exports = {checkSqlAuth: () => true, jwt: {}}":                  "cube.js: jwt: it is not available: write auth.jwt in behalf.yaml",
		"module.exports = {checkAuthMiddleware: () => true}":                    "write checkAuth",
		"module.exports = {initApp: () => 1}":                                   "Express",
		"module.exports = {dialectFactory: () => 1}":                            "Node",
		"module.exports = {repositoryFactory: () => 1}":                         "models.path",
		"module.exports = {checkAuth: true}":                                    "cube.js: checkAuth: it must be a function",
		"module.exports = {queryRewrite: (q) => q, queryTransformer: (q) => q}": "another name of queryRewrite",
		"const fs = require('fs')":                                              "cube.js:1:19: fs is a part of Node",
		"const pg = require('pg')":                                              `the package "pg" cannot be required`,
		"module.exports = {checkAuth: (req) => {":                               "cube.js:1",
		"export const checkAuth = () => {}":                                     "no default export",
		"throw new Error('x')":                                                  "cube.js:1:7: x",
		"module.exports = 7":                                                    "exports no object",
	} {
		h, err := try(file)
		if err == nil || !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v, want a refusal that says %q", file, h, err, want)
		}
	}
}

func TestAFileThatNeverEndsIsStopped(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if h, err := hooks.Load(ctx, hooks.Config{Files: map[string]string{"cube.js": "for (;;) {}"}}); err == nil {
		t.Errorf("Load = %v", h)
	}
}

func TestWhatMeansNothingYetIsNoticed(t *testing.T) {
	h := load(t, `export default {
		scheduledRefreshTimer: 60, dbType: 'postgres', telemetry: false, scheduledRefreshContexts: async () => [], contextToRoles: () => ['a'], queryTransformer: (q) => q,
		driverFactory: undefined,
	}`)
	if len(h.Notices) != 4 || !strings.Contains(strings.Join(h.Notices, "\n"), "cube.js: scheduledRefreshTimer has no effect") {
		t.Errorf("notices = %q", h.Notices)
	}
	if got := fmt.Sprint(h.Defined()); got != "[contextToRoles queryTransformer]" {
		t.Errorf("defined = %s", got)
	}
}

func TestHooksOfSeveralFiles(t *testing.T) {
	h := load(t, "import { app } from './lib/app';\nexport default { contextToAppId: app };", func(c *hooks.Config) {
		c.Files = maps.Clone(c.Files)
		c.Files["lib/app.js"] = "export const app = () => require('../names.json').app"
		c.Files["names.json"] = `{"app": "A"}`
		c.Files["broken.js"] = "this is not JavaScript"
	})
	if sc, err := h.Verify(t.Context(), hooks.Request{}, verified); err != nil || sc.AppID != "A" {
		t.Errorf("app id = %q, %v", sc.AppID, err)
	}
}

// A variable that is set and not granted is an error when it is read, and one that is not set is undefined.
func TestOnlyGrantedVariablesAreThere(t *testing.T) {
	h := load(t, `module.exports = {
		contextToAppId: () => process.env.A + process.env.UNSET + Object.keys(process.env) + Object.hasOwn(process.env, 'A'),
		contextToOrchestratorId: () => process.env.SECRET || 'none',
		contextToApiScopes: () => ['SECRET' in process.env ? 'meta' : 'data'],
	}`, func(c *hooks.Config) { c.Env, c.Withheld = map[string]string{"A": "a"}, []string{"SECRET"} })
	if sc, err := h.Verify(t.Context(), hooks.Request{}, verified); err != nil || sc.AppID != "aundefinedAtrue" {
		t.Errorf("app id = %q, %v", sc.AppID, err)
	}
	_, err := h.OrchestratorID(t.Context(), alice(), nil)
	if err == nil || !strings.Contains(err.Error(), "name it in hooks.env") {
		t.Errorf("a withheld variable: %v", err)
	}
	if scopes, err := h.Scopes(t.Context(), alice(), []string{"meta", "data"}, nil); err == nil || !strings.Contains(err.Error(), "name it in hooks.env") {
		t.Errorf("whether a withheld variable is set: %v, %v", scopes, err)
	}
}
