package hooks

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/id"
	"github.com/behalf-project/behalf/internal/script"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/dop251/goja"
)

// Request is what hooks see of an HTTP request.
type Request struct {
	Method string
	URL    string // path and query
	Header http.Header
	Remote string // address of the caller
	Token  string // of the headers; see jwtauth.Token
}

// tokenHeaders carry the caller's token; only checkAuth sees them. A cookie is of a browser's session here, and no hook
// sees one.
var tokenHeaders = []string{"Authorization", "X-Cube-Authorization"}

func (q Request) value(withToken bool) map[string]any {
	headers := map[string]any{}
	for name, values := range q.Header {
		if name != "Cookie" && (withToken || !slices.Contains(tokenHeaders, name)) {
			headers[strings.ToLower(name)] = strings.Join(values, ", ")
		}
	}
	return map[string]any{"method": q.Method, "url": q.URL, "originalUrl": q.URL, "headers": headers, "ip": q.Remote}
}

// handles are the credentials that a call of a hook may name, by texts that nobody can guess.
type handles map[string]secret.Text

type handlesKey struct{}

// withHandles returns a context in which host functions find h.
func withHandles(ctx context.Context, h handles) context.Context {
	return context.WithValue(ctx, handlesKey{}, h)
}

// hold returns a handle for a credential.
func (h handles) hold(token secret.Text) string {
	handle := "credential-" + id.Random(16)
	h[handle] = token
	return handle
}

// hide replaces the access tokens in claims by handles, and reveal puts them back: a hook that reads a JWT sees none.
func (h handles) hide(claims map[string]any) {
	eachToken(claims, func(token string) string { return h.hold(secret.New(token)) })
}

func (h handles) reveal(claims map[string]any) {
	eachToken(claims, func(token string) string {
		if t, ok := h[token]; ok {
			return t.Reveal()
		}
		return token
	})
}

// eachToken replaces each accessToken and refreshToken of a cubeCloud.userCredentials, wherever it is.
func eachToken(v any, replace func(string) string) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			eachToken(item, replace)
		}
	case map[string]any:
		entries, _ := v["userCredentials"].(map[string]any)
		for _, entry := range entries {
			e, _ := entry.(map[string]any)
			for _, key := range []string{"accessToken", "refreshToken"} {
				if token, ok := e[key].(string); ok {
					e[key] = replace(token)
				}
			}
		}
		for _, item := range v {
			eachToken(item, replace)
		}
	}
}

// Verify says who a request comes from: checkAuth if there is one, else verify; then what extendContext,
// contextToGroups and contextToAppId make of it.
//
// A context of checkAuth is of a principal of its own realm, never of a person of this server: whatever the hook's
// claims say, nobody's stored grant is used (design.md §2.22). What it throws, and everything else that goes wrong in
// it, is fault.Unauthenticated.
func (h *Hooks) Verify(ctx context.Context, q Request, verify func() (securitycontext.Context, error)) (sc securitycontext.Context, err error) {
	if h.has(checkAuth) {
		sc, err = h.checkAuth(ctx, q)
	} else {
		sc, err = verify()
	}
	if err != nil {
		return securitycontext.Context{}, err
	}
	if h.has(extendContext) {
		if sc, err = h.extend(ctx, q, sc); err != nil {
			return securitycontext.Context{}, err
		}
	}
	if h.has(contextToGroups) {
		err = h.call(ctx, contextToGroups, given(sc, nil), func(r *script.Runtime, v goja.Value) (err error) {
			sc.Groups, err = texts(r, v)
			return err
		})
		if err != nil {
			return securitycontext.Context{}, err
		}
	}
	if h.has(contextToAppID) {
		err = h.call(ctx, contextToAppID, given(sc, nil), func(r *script.Runtime, v goja.Value) (err error) {
			sc.AppID, err = name(r, v)
			return err
		})
		if err != nil {
			return securitycontext.Context{}, err
		}
	}
	return sc, nil
}

// checkAuth runs the hook of that name (cube-rest-api.md §2.5).
func (h *Hooks) checkAuth(ctx context.Context, q Request) (securitycontext.Context, error) {
	held := handles{}
	var claims map[string]any
	var req *goja.Object
	err := h.call(withHandles(ctx, held), checkAuth, func(r *script.Runtime) []goja.Value {
		req = r.Value(q.value(true)).(*goja.Object)
		token := goja.Undefined()
		if q.Token != "" {
			token = r.Value(q.Token)
		}
		return []goja.Value{req, token}
	}, func(r *script.Runtime, returned goja.Value) (err error) {
		claims, err = claimsOf(r, req, returned)
		return err
	})
	if err != nil {
		return securitycontext.Context{}, refusedByCheckAuth(err)
	}
	held.reveal(claims)
	sc := h.cfg.Context(claims)
	eachToken(sc.Claims, func(string) string { return "" }) // where nobody looks for a credential
	sc.Principal = principal(sc)
	if sc.Username == "" {
		sc.Username, _ = sc.Claims["sub"].(string)
	}
	return sc, nil
}

// claimsOf returns the context that checkAuth gives: what it returned before what it assigned, and authInfo, the old
// name, before securityContext. None at all is a caller of whom nothing is known.
func claimsOf(r *script.Runtime, req *goja.Object, returned goja.Value) (map[string]any, error) {
	candidates := []goja.Value{nil, req.Get("authInfo"), req.Get("securityContext")}
	if o, ok := returned.(*goja.Object); ok {
		candidates[0] = o.Get("security_context")
	}
	for _, v := range candidates {
		if v == nil || goja.IsUndefined(v) || goja.IsNull(v) {
			continue
		}
		claims, err := object(r, v)
		if err != nil {
			return nil, wrong("the security context: %w", err)
		}
		return claims, nil
	}
	return map[string]any{}, nil
}

// refusedByCheckAuth is the answer to a request that checkAuth did not let through, for whatever reason. The author's
// own words are shown; what a mistake says of the code is not.
func refusedByCheckAuth(err error) error {
	detail := "Access denied"
	if e, ok := scriptError(err); ok && (e.Name == "Error" || e.Name == "UserError" || e.Name == "CubejsHandlerError") && e.Message != "" {
		detail = strings.TrimPrefix(e.Message, e.Name+": ")
	}
	return &fault.Error{Kind: fault.Unauthenticated, Code: "check_auth", Owner: fault.User, Detail: detail, Err: err}
}

// principal returns whose context of checkAuth it is: the subject of an issuer, or a name, each in a realm of its own.
func principal(sc securitycontext.Context) securitycontext.Principal {
	issuer, _ := sc.Claims["iss"].(string)
	if subject, _ := sc.Claims["sub"].(string); subject != "" {
		return securitycontext.Principal{Realm: securitycontext.Hook + ":" + issuer, Subject: subject}
	}
	if sc.Username != "" {
		return securitycontext.Principal{Realm: securitycontext.Hook, Subject: sc.Username}
	}
	return securitycontext.Principal{}
}

// extend runs extendContext: what it returns is laid over the request context. It may replace the security context, and
// so what rules read; who asks stays who was verified.
func (h *Hooks) extend(ctx context.Context, q Request, sc securitycontext.Context) (securitycontext.Context, error) {
	var extension map[string]any
	err := h.call(ctx, extendContext, func(r *script.Runtime) []goja.Value {
		req := q.value(false)
		maps.Copy(req, contextOf(sc))
		req["requestId"] = audit.RequestID(ctx)
		return []goja.Value{r.Value(req)}
	}, func(r *script.Runtime, v goja.Value) (err error) {
		if goja.IsUndefined(v) || goja.IsNull(v) {
			return nil
		}
		extension, err = object(r, v)
		return err
	})
	if err != nil {
		return sc, err
	}
	if replaced, ok := extension["securityContext"]; ok {
		claims, isObject := replaced.(map[string]any)
		if !isObject {
			return sc, h.failed(extendContext, wrong("its securityContext is %s, and not an object", kind(replaced)))
		}
		made := h.cfg.Context(claims)
		sc.Claims, sc.Template, sc.Groups = made.Claims, made.Template, made.Groups
	}
	for _, ours := range []string{"securityContext", "authInfo", "requestId", "signedWithPlaygroundAuthSecret"} {
		delete(extension, ours)
	}
	sc.Extended = extension
	return sc, nil
}

// given makes the one argument of most hooks.
func given(sc securitycontext.Context, more map[string]any) func(*script.Runtime) []goja.Value {
	return func(r *script.Runtime) []goja.Value {
		c := contextOf(sc)
		maps.Copy(c, more)
		return []goja.Value{r.Value(c)}
	}
}

// contextOf is the request context that hooks see, without any credential.
func contextOf(sc securitycontext.Context) map[string]any {
	claims := claimsFor(sc)
	c := map[string]any{}
	maps.Copy(c, sc.Extended)
	c["securityContext"], c["authInfo"], c["signedWithPlaygroundAuthSecret"] = claims, claims, false
	return c
}

// ByAppID reports whether requests have application ids: whether there is a contextToAppId.
func (h *Hooks) ByAppID() bool { return h.has(contextToAppID) }

// CompileContext is the COMPILE_CONTEXT of a request: what contextToAppId sees of it. Do not change what it returns.
func CompileContext(sc securitycontext.Context) map[string]any { return contextOf(sc) }

// claimsFor are the claims as hooks see them: those of the legacy "u" object are laid over them, and it stays.
func claimsFor(sc securitycontext.Context) map[string]any {
	legacy, ok := sc.Claims["u"].(map[string]any)
	if !ok {
		if sc.Claims == nil {
			return map[string]any{}
		}
		return sc.Claims
	}
	merged := maps.Clone(sc.Claims)
	maps.Copy(merged, legacy)
	merged["u"] = legacy
	return merged
}

// Scopes returns what contextToApiScopes lets a caller do, or else what everybody may.
func (h *Hooks) Scopes(ctx context.Context, sc securitycontext.Context, known, otherwise []string) (scopes []string, err error) {
	if !h.has(contextToAPIScopes) {
		return otherwise, nil
	}
	err = h.call(ctx, contextToAPIScopes, func(r *script.Runtime) []goja.Value {
		return []goja.Value{r.Value(claimsFor(sc)), r.Value(otherwise)}
	}, func(r *script.Runtime, v goja.Value) error {
		plain, err := r.Plain(v)
		if err != nil {
			return err
		}
		if _, ok := plain.([]any); !ok {
			return &script.Error{Name: "Error", Message: "A user-defined contextToApiScopes function returns an inconsistent type."}
		}
		if scopes, err = texts(r, v); err != nil {
			return err
		}
		for _, s := range scopes {
			if !slices.Contains(known, s) {
				return &script.Error{Name: "Error", Message: "A user-defined contextToApiScopes function returns a wrong scope: " + s}
			}
		}
		return nil
	})
	return scopes, err
}

// OrchestratorID returns what contextToOrchestratorId says, and otherwise's answer where there is no such hook.
func (h *Hooks) OrchestratorID(ctx context.Context, sc securitycontext.Context, otherwise func(securitycontext.Context) string) (orchestrator string, err error) {
	if !h.has(contextToOrchestratorID) {
		return otherwise(sc), nil
	}
	err = h.call(ctx, contextToOrchestratorID, given(sc, nil), func(r *script.Runtime, v goja.Value) (err error) {
		orchestrator, err = name(r, v)
		return err
	})
	return orchestrator, err
}
