package hooks

import (
	"context"
	"crypto/x509"
	_ "embed"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/behalf-project/behalf/internal/jwtauth"
	"github.com/behalf-project/behalf/internal/loopback"
	"github.com/behalf-project/behalf/internal/outbound"
	"github.com/behalf-project/behalf/internal/script"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/spelling"
	"github.com/dop251/goja"
	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
)

var (
	//go:embed packages.js
	packagesSource string
	packages       = goja.MustCompile("packages.js", packagesSource, true)
)

// setup gives a runtime fetch and the packages. lodash and jwk-to-pem are also there under the names that files which
// show no require give them.
func (h *Hooks) setup(r *script.Runtime) error {
	vm := r.VM()
	maker, err := vm.RunProgram(packages)
	if err != nil {
		return err
	}
	makeAll, _ := goja.AssertFunction(maker)
	native := vm.NewObject()
	for name, f := range map[string]func(r *script.Runtime, args []goja.Value) (any, error){
		"decode": h.decode, "verify": h.verify, "pem": toPEM,
	} {
		_ = native.Set(name, func(call goja.FunctionCall) goja.Value {
			v, err := f(r, call.Arguments)
			if err != nil {
				panic(vm.NewTypeError(err.Error()))
			}
			return r.Value(v)
		})
	}
	_ = native.Set("fetch", func(call goja.FunctionCall) goja.Value { return h.fetch(r, call.Arguments) })
	made, err := makeAll(goja.Undefined(), native)
	if err != nil {
		return err
	}
	all := made.ToObject(vm)
	named := all.Get("packages").ToObject(vm)
	for _, name := range named.Keys() {
		r.Provide(name, named.Get(name))
	}
	for name, v := range map[string]goja.Value{"fetch": all.Get("fetch"), "_": named.Get("lodash"), "jwkToPem": named.Get("jwk-to-pem")} {
		if err := vm.Set(name, v); err != nil {
			return err
		}
	}
	return nil
}

// missing refuses a variable that is set and that hooks may not read.
func (h *Hooks) missing(_ *script.Runtime, name string) error {
	if slices.Contains(h.cfg.Withheld, name) {
		return fmt.Errorf("the variable %s is set, and hooks may not read it: name it in hooks.env of behalf.yaml", name)
	}
	return nil
}

// argument copies an argument of a host function, or returns nil.
func argument(r *script.Runtime, args []goja.Value, i int) (any, error) {
	if i >= len(args) {
		return nil, nil
	}
	return r.Plain(args[i])
}

// options reads an argument that is an object with these keys and no others.
func options(r *script.Runtime, args []goja.Value, i int, of string, known ...string) (map[string]any, error) {
	v, err := argument(r, args, i)
	if err != nil || v == nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s: the options are %s, and not an object", of, kind(v))
	}
	for key := range m {
		if !slices.Contains(known, key) {
			return nil, fmt.Errorf("%s: the option %q is not available%s", of, key, spelling.DidYouMean(key, known))
		}
	}
	return m, nil
}

// maxToken bounds the tokens that are read.
const maxToken = 32 << 10

// jwtParts takes a token apart without verifying it.
func jwtParts(token string) (header, payload map[string]any, signature string, ok bool) {
	if len(token) > maxToken {
		return nil, nil, "", false
	}
	claims := jwt.MapClaims{}
	t, parts, err := jwt.NewParser(jwt.WithJSONNumber()).ParseUnverified(token, claims)
	if err != nil {
		return nil, nil, "", false
	}
	return t.Header, claims, parts[2], true
}

// show hides the credentials of a payload that goes to a script.
func show(r *script.Runtime, payload map[string]any) map[string]any {
	held, _ := r.Context().Value(handlesKey{}).(handles)
	if held == nil {
		held = handles{} // nobody can use them
	}
	held.hide(payload)
	return payload
}

// decode is jsonwebtoken.decode: what a token says, which nobody vouches for.
func (h *Hooks) decode(r *script.Runtime, args []goja.Value) (any, error) {
	v, err := argument(r, args, 0)
	if err != nil {
		return nil, err
	}
	o, err := options(r, args, 1, "jwt.decode", "complete", "json")
	if err != nil {
		return nil, err
	}
	token, _ := v.(string)
	header, payload, signature, ok := jwtParts(token)
	if !ok {
		return nil, nil
	}
	if o["complete"] == true {
		return map[string]any{"header": header, "payload": show(r, payload), "signature": signature}, nil
	}
	return show(r, payload), nil
}

// verify is jsonwebtoken.verify: the payload of a token with a good signature, or the name and text of the error.
//
// The kind of the key decides which algorithms are taken, as in jsonwebtoken: what is a public key in PEM is never
// taken for a secret.
func (h *Hooks) verify(r *script.Runtime, args []goja.Value) (any, error) {
	refuse := func(name, text string) (any, error) { return map[string]any{"name": name, "error": text}, nil }
	v, err := argument(r, args, 0)
	if err != nil {
		return nil, err
	}
	token, _ := v.(string)
	if token == "" {
		return refuse("JsonWebTokenError", "jwt must be provided")
	}
	if len(token) > maxToken {
		return refuse("JsonWebTokenError", "jwt malformed")
	}
	if v, err = argument(r, args, 1); err != nil {
		return nil, fmt.Errorf("jwt.verify: the key must be a secret or a public key in PEM: %w", err)
	}
	text, _ := v.(string)
	if text == "" {
		return refuse("JsonWebTokenError", "secret or public key must be provided")
	}
	o, err := options(r, args, 2, "jwt.verify", "algorithms", "issuer", "audience", "subject", "complete", "ignoreExpiration", "clockTolerance")
	if err != nil {
		return nil, err
	}
	algorithms, key, err := keyOf(text)
	if err != nil {
		return refuse("JsonWebTokenError", "the key cannot be read")
	}
	if o["algorithms"] != nil {
		wanted := list(o["algorithms"])
		algorithms = slices.DeleteFunc(slices.Clone(algorithms), func(a string) bool { return !slices.Contains(wanted, a) })
	}
	if len(algorithms) == 0 {
		return refuse("JsonWebTokenError", "invalid algorithm")
	}
	checks := []jwt.ParserOption{jwt.WithValidMethods(algorithms), jwt.WithTimeFunc(h.cfg.Now), jwt.WithJSONNumber()}
	if o["ignoreExpiration"] == true {
		return nil, errors.New("jwt.verify: ignoreExpiration is not available: a token that is over is over")
	}
	if o["clockTolerance"] != nil {
		return nil, errors.New("jwt.verify: clockTolerance is not available")
	}
	claims := jwt.MapClaims{}
	t, err := jwt.NewParser(checks...).ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return key, nil })
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return refuse("TokenExpiredError", "jwt expired")
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return refuse("NotBeforeError", "jwt not active")
	case errors.Is(err, jwt.ErrTokenMalformed):
		return refuse("JsonWebTokenError", "jwt malformed")
	case err != nil:
		return refuse("JsonWebTokenError", "invalid signature")
	}
	issuer, _ := claims["iss"].(string)
	subject, _ := claims["sub"].(string)
	audience, _ := claims.GetAudience()
	for _, c := range []struct {
		option string
		has    []string
	}{{"issuer", []string{issuer}}, {"subject", []string{subject}}, {"audience", audience}} {
		if o[c.option] == nil {
			continue
		}
		wanted := list(o[c.option])
		if !slices.ContainsFunc(c.has, func(s string) bool { return s != "" && slices.Contains(wanted, s) }) {
			return refuse("JsonWebTokenError", "jwt "+c.option+" invalid. expected: "+strings.Join(wanted, " or "))
		}
	}
	if o["complete"] == true {
		return map[string]any{"payload": map[string]any{"header": t.Header, "payload": show(r, claims)}}, nil
	}
	return map[string]any{"payload": show(r, claims)}, nil
}

// list returns a text, or the texts of a list.
func list(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, item := range v {
			if s, ok := item.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}

var pemHead = regexp.MustCompile(`-----BEGIN `)

// keyOf returns a key, and the algorithms that one of its kind may verify.
func keyOf(text string) (algorithms []string, key any, err error) {
	if !pemHead.MatchString(text) {
		return []string{"HS256", "HS384", "HS512"}, []byte(text), nil
	}
	if key, err = jwtauth.ParsePublicKey(secret.New(text)); err != nil {
		return nil, nil, err
	}
	return asymmetric, key, nil // each checks that the key is of its kind
}

var asymmetric = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// toPEM is jwk-to-pem: the public key of a JWK in PEM.
func toPEM(r *script.Runtime, args []goja.Value) (any, error) {
	v, err := argument(r, args, 0)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var key jose.JSONWebKey
	if v == nil || key.UnmarshalJSON(text) != nil || !key.IsPublic() || !key.Valid() {
		return nil, errors.New("jwkToPem: this is not a public key in JWK")
	}
	der, err := x509.MarshalPKIXPublicKey(key.Key)
	if err != nil {
		return nil, errors.New("jwkToPem: this is not a public key that PEM can hold")
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), nil
}

// fetch is the function of that name. It calls hosts that are allowed, and follows no redirect.
func (h *Hooks) fetch(r *script.Runtime, args []goja.Value) goja.Value {
	req, local, err := h.outgoing(r, args)
	if err != nil {
		panic(r.VM().NewTypeError(err.Error()))
	}
	client := h.cfg.Client
	if client == nil {
		client = func(local bool) *http.Client { return outbound.NewClient(local, nil) }
	}
	return r.Async(func(ctx context.Context) (any, error) {
		resp, err := client(local).Do(req.WithContext(ctx))
		if err != nil {
			return nil, fmt.Errorf("fetch: %s does not answer: %w", req.URL.Host, err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return nil, fmt.Errorf("fetch: the answer of %s: %w", req.URL.Host, err)
		}
		headers := map[string]any{}
		for name, values := range resp.Header {
			headers[strings.ToLower(name)] = strings.Join(values, ", ")
		}
		return map[string]any{
			"status": resp.StatusCode, "statusText": http.StatusText(resp.StatusCode), "url": req.URL.String(),
			"headers": headers, "body": string(body),
		}, nil
	})
}

// outgoing makes the request of a fetch, and says whether it goes to this machine.
func (h *Hooks) outgoing(r *script.Runtime, args []goja.Value) (req *http.Request, local bool, err error) {
	v, err := argument(r, args, 0)
	if err != nil {
		return nil, false, err
	}
	text, _ := v.(string)
	target, err := url.Parse(text)
	if err != nil || target.Host == "" || target.User != nil {
		return nil, false, fmt.Errorf("fetch: %q is not a URL that can be called", text)
	}
	local = loopback.Host(target.Hostname())
	if target.Scheme != "https" && (target.Scheme != "http" || !local) {
		return nil, false, fmt.Errorf("fetch: %q must be https: plain http is for loopback only", text)
	}
	if !h.mayCall(target) {
		return nil, false, fmt.Errorf("fetch: %s is not among hooks.allow_hosts of behalf.yaml", target.Host)
	}
	o, err := options(r, args, 1, "fetch", "method", "headers", "body", "redirect")
	if err != nil {
		return nil, false, err
	}
	method, _ := o["method"].(string)
	var body io.Reader
	if s, ok := o["body"].(string); ok {
		body = strings.NewReader(s)
	} else if o["body"] != nil {
		return nil, false, errors.New("fetch: the body must be a text")
	}
	if req, err = http.NewRequest(strings.ToUpper(method), target.String(), body); err != nil {
		return nil, false, fmt.Errorf("fetch: %w", err)
	}
	headers, _ := o["headers"].(map[string]any)
	for name, value := range headers {
		req.Header.Set(name, fmt.Sprint(value))
	}
	return req, local, nil
}

// mayCall reports whether the host of a URL is allowed, at its port.
func (h *Hooks) mayCall(u *url.URL) bool {
	port := u.Port()
	usual := map[string]string{"https": "443", "http": "80"}[u.Scheme]
	if port == "" {
		port = usual
	}
	return slices.ContainsFunc(h.cfg.Hosts, func(allowed string) bool {
		host, at, err := net.SplitHostPort(allowed)
		if err != nil {
			host, at = strings.Trim(allowed, "[]"), usual
		}
		return strings.EqualFold(host, u.Hostname()) && at == port
	})
}
