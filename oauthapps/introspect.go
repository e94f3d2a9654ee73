package oauthapps

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"time"

	"github.com/behalf-project/behalf/internal/fault"
)

// Introspection is what an authorization server says of a token (RFC 7662 §2.2). A token that is not active has
// nothing else.
type Introspection struct {
	Active    bool
	Scopes    []string  // nil when the server did not say
	Subject   string    // empty when the server did not say
	ExpiresAt time.Time // zero when the server did not say
}

// Introspect asks the authorization server of app whether a token is still good there (RFC 7662). hint is
// "access_token" or "refresh_token". It fails with a *Failure, or fault.NotFound when the app has no introspection
// endpoint.
func (c *Client) Introspect(ctx context.Context, app App, token Secret, hint string) (Introspection, error) {
	if app.IntrospectionURL == "" {
		return Introspection{}, fault.New(fault.NotFound, "%s has no introspection endpoint.", app.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	resp, body, fail := c.post(ctx, request{
		app: app, endpoint: app.IntrospectionURL, form: url.Values{"token": {token.Reveal()}, "token_type_hint": {hint}},
	})
	if fail != nil {
		return Introspection{}, fail
	}
	v, err := parseBody(resp.Header.Get("Content-Type"), body)
	if err != nil {
		return Introspection{}, &Failure{Class: ServerFailed, Code: CodeProviderError, Status: resp.StatusCode, Err: errors.New("the answer is not JSON")}
	}
	if code := v.text("error"); code != "" || resp.StatusCode != 200 {
		fail := refusal(app.Quirks(), code, resp.StatusCode)
		if fail.Class == GrantRefused { // no word of the standard for this endpoint: it says nothing of the token
			fail.Class = ServerFailed
		}
		return Introspection{}, fail
	}
	// Anything but a plain true or false is no answer: neither must a live token be taken for dead, nor the reverse.
	active, ok := v["active"].(bool)
	if !ok {
		return Introspection{}, &Failure{Class: ServerFailed, Code: CodeProviderError, Status: resp.StatusCode, Err: errors.New("the answer does not say whether the token is active")}
	}
	if !active {
		return Introspection{}, nil
	}
	in := Introspection{Active: true, Scopes: v.scopes("scope", app.Quirks().CommaScopes), Subject: v.text("sub")}
	if exp, ok := v["exp"].(json.Number); ok {
		if at, err := exp.Float64(); err == nil && at > 0 && at < 1<<40 {
			in.ExpiresAt = time.Unix(int64(at), 0).UTC()
		}
	}
	return in, nil
}
