package oauthapps

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/outbound"
)

// ClientConfig is what a Client needs. Nothing is required.
type ClientConfig struct {
	Timeout       time.Duration    // of one call; default 30 s
	AllowLoopback bool             // authorization servers on this machine may be called
	TLS           *tls.Config      // default: the system's roots
	Log           *zap.Logger      // default: no logging
	Now           func() time.Time // default: time.Now
}

// Client makes all calls to the endpoints of authorization servers. It is safe for concurrent use.
type Client struct {
	cfg      ClientConfig
	http     *http.Client
	nonces   *nonces   // that authorization servers want in proofs (RFC 9449 §8)
	registry *Registry // told whether our credentials are accepted; nil until Reports
}

// NewClient returns a Client over cfg. It starts nothing.
func NewClient(cfg ClientConfig) *Client {
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Client{cfg: cfg, http: outbound.NewClient(cfg.AllowLoopback, cfg.TLS), nonces: newNonces()}
}

// Reports makes c tell r whether authorization servers accept an app's credentials: invalid_client marks the app as
// broken, a success clears the mark. Call it once, before c is used.
func (c *Client) Reports(r *Registry) { c.registry = r }

// Timeout is how long one call may take. A refresh whose intent is older has no answer any more.
func (c *Client) Timeout() time.Duration { return c.cfg.Timeout }

// Grant posts a token request for app (RFC 6749 §4.1.3, §6): form holds grant_type and what belongs to it; client
// authentication is added by the method the app names, and is never found out by trying. With WithDPoP the tokens are
// asked to be bound to a key. No other function calls a token endpoint.
//
// It fails with a *Failure. When that comes with an answer that holds a refresh token, the new one has replaced the
// old at the server all the same: keep it.
func (c *Client) Grant(ctx context.Context, app App, form url.Values, options ...Option) (TokenAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	r := request{app: app, endpoint: app.TokenURL, form: form}
	for _, o := range options {
		o(&r)
	}
	answer, fail := c.grant(ctx, r)
	if fail != nil {
		c.cfg.Log.Info("token request failed", audit.Request(ctx), zap.String("app_id", app.ID),
			zap.String("code", fail.Code), zap.Int("status", fail.Status))
		// That the client may not use token exchange says nothing about what it may do otherwise.
		if fail.Class == ClientRefused && (fail.Code != "unauthorized_client" || form.Get("grant_type") != grantTokenExchange) {
			c.reportOn(ctx, r, CodeInvalidClient)
		}
		return answer, fail
	}
	c.reportOn(ctx, r, "")
	return answer, nil
}

// reportOn reports what the answer to r says about the app's credentials: nothing, where they were not shown.
func (c *Client) reportOn(ctx context.Context, r request, code string) {
	if !r.anonymous {
		c.report(ctx, r.app, code)
	}
}

// report tells the registry. What cannot be recorded now is found again by the next call.
func (c *Client) report(ctx context.Context, app App, code string) {
	if c.registry == nil || app.ID == "" {
		return // a service account's client is no app
	}
	if err := c.registry.report(ctx, app, code); err != nil {
		c.cfg.Log.Warn("state of an OAuth app not recorded", zap.String("app_id", app.ID), zap.Error(err))
	}
}

func (c *Client) grant(ctx context.Context, r request) (TokenAnswer, *Failure) {
	asked := c.cfg.Now()
	resp, body, fail := c.post(ctx, r)
	if fail != nil {
		return TokenAnswer{}, fail
	}
	answer, fail := parseAnswer(r.app.Quirks(), resp.StatusCode, resp.Header.Get("Content-Type"), body)
	answer.AskedAt = before(c.cfg.Now(), asked)
	if fail == nil && answer.TokenType == tokenTypeDPoP && r.dpop.Empty() {
		answer.AccessToken = Secret{} // bound to a key that we do not have
		fail = &Failure{Class: ServerFailed, Code: "unsupported_token_type", Status: resp.StatusCode, Err: errors.New("the token is bound to a key, which was not asked for")}
	}
	return answer, fail
}

// before returns asked as a clock shows it that may have been set since, and shows now: the machine's other clock, which
// nobody sets, knows how long ago it was. A machine that slept knows it only by the one that is set.
func before(now, asked time.Time) time.Time {
	if at := now.Add(-now.Sub(asked)); at.Round(0).Before(asked.Round(0)) {
		return at
	}
	return asked
}

// send makes one POST and returns the whole answer, unless its status already says that the server failed. The header
// says who asks.
func (c *Client) send(ctx context.Context, endpoint string, header http.Header, body url.Values) (*http.Response, []byte, *Failure) {
	var sent atomic.Bool
	trace := &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), http.MethodPost, endpoint, strings.NewReader(body.Encode()))
	if err != nil || endpoint == "" {
		return nil, nil, &Failure{Class: NotSent, Code: CodeNetworkError, Err: errors.New("the endpoint's URL is not valid")}
	}
	maps.Copy(req.Header, header)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, nil, networkFailure(err, sent.Load())
	}
	defer resp.Body.Close()
	c.nonces.learn(resp)
	if fail := statusFailure(resp, c.cfg.Now()); fail != nil {
		return nil, nil, fail
	}
	all, err := io.ReadAll(resp.Body)
	switch {
	case err != nil && resp.StatusCode < 300: // it began to give tokens, and they were lost on the way, or in too much
		return nil, nil, networkFailure(err, true)
	case errors.Is(err, outbound.ErrTooLarge):
		return nil, nil, &Failure{Class: ServerFailed, Code: CodeProviderError, Status: resp.StatusCode, Err: outbound.ErrTooLarge}
	case err != nil:
		return nil, nil, &Failure{Class: ServerFailed, Code: CodeProviderError, Status: resp.StatusCode}
	}
	return resp, all, nil
}

// Revoke ends a token at the authorization server (RFC 7009). hint is "refresh_token" or "access_token". A token that
// the server does not know is revoked. It fails with a *Failure, or fault.NotFound when the app has no revocation
// endpoint.
func (c *Client) Revoke(ctx context.Context, app App, token Secret, hint string) error {
	if app.RevocationURL == "" {
		return fault.New(fault.NotFound, "%s has no revocation endpoint.", app.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	if app.Quirks().Revocation == RevokeGrant {
		return c.deleteGrant(ctx, app, token, hint)
	}
	resp, body, fail := c.post(ctx, request{app: app, endpoint: app.RevocationURL, form: url.Values{"token": {token.Reveal()}, "token_type_hint": {hint}}})
	if fail != nil {
		return fail
	}
	if resp.StatusCode < 300 {
		return nil
	}
	v, err := parseBody(resp.Header.Get("Content-Type"), body)
	if err != nil {
		return &Failure{Class: ServerFailed, Code: CodeProviderError, Status: resp.StatusCode}
	}
	if f := refusal(app.Quirks(), v.text("error"), resp.StatusCode); f.Code != "invalid_token" {
		return f
	}
	return nil
}

// deleteGrant ends the grant of an access token where the provider has an API of its own for that (RevokeGrant). It
// knows no refresh tokens: those end with the grant.
func (c *Client) deleteGrant(ctx context.Context, app App, token Secret, hint string) error {
	if hint == "refresh_token" {
		return nil
	}
	endpoint := strings.ReplaceAll(app.RevocationURL, "{client_id}", url.PathEscape(app.ClientID))
	body, err := json.Marshal(map[string]string{"access_token": token.Reveal()})
	if err != nil {
		return &Failure{Class: NotSent, Code: CodeNetworkError, Err: errors.New("the token cannot be sent")}
	}
	var sent atomic.Bool
	trace := &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), http.MethodDelete, endpoint, bytes.NewReader(body))
	if err != nil {
		return &Failure{Class: NotSent, Code: CodeNetworkError, Err: errors.New("the endpoint's URL is not valid")}
	}
	req.SetBasicAuth(app.ClientID, app.ClientSecret.Reveal()) // of an API (RFC 7617), and so without the encoding of RFC 6749
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return networkFailure(err, sent.Load())
	}
	defer resp.Body.Close()
	if fail := statusFailure(resp, c.cfg.Now()); fail != nil {
		return fail
	}
	switch s := resp.StatusCode; {
	case s < 300, s == http.StatusNotFound, s == http.StatusUnprocessableEntity: // the last two: no such token any more
		return nil
	case s == http.StatusUnauthorized:
		return &Failure{Class: ClientRefused, Code: CodeInvalidClient, Status: s}
	default:
		return &Failure{Class: ServerFailed, Code: CodeProviderError, Status: s}
	}
}

// Userinfo returns who the holder of an access token is, by the app's UserInfo endpoint (OIDC Core §5.3). A token that
// is bound to a key needs WithDPoP.
func (c *Client) Userinfo(ctx context.Context, app App, token Secret, options ...Option) (Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	r := request{app: app, endpoint: app.UserinfoURL}
	for _, o := range options {
		o(&r)
	}
	var claims identityClaims
	if err := c.getAs(ctx, r, token, &claims); err != nil {
		return Identity{}, err
	}
	return claims.identity(), nil
}

// getJSON reads a JSON document. Its errors are Failures.
func (c *Client) getJSON(ctx context.Context, endpoint string, header http.Header, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint, nil)
	if err != nil {
		return &Failure{Class: NotSent, Code: CodeNetworkError, Err: errors.New("the URL is not valid")}
	}
	maps.Copy(req.Header, header)
	req.Header.Set("Accept", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return networkFailure(err, false)
	}
	defer resp.Body.Close()
	c.nonces.learn(resp)
	if nonceDemanded(resp) {
		return errNonce
	}
	if resp.StatusCode != http.StatusOK {
		return &Failure{Class: ServerFailed, Code: CodeProviderError, Status: resp.StatusCode}
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return networkFailure(err, false)
	}
	if err := json.Unmarshal(body, v); err != nil {
		return &Failure{Class: ServerFailed, Code: CodeProviderError, Status: resp.StatusCode, Err: errors.New("the answer is not the JSON that was expected")}
	}
	return nil
}
