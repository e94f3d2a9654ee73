package oauthapps

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// AuthorizationURL returns where to send a browser with an authorization request (RFC 6749 §4.1.1). Where the server
// takes pushed requests (RFC 9126), it is given params first, by us and not through the browser, and the URL holds
// nothing but the handle that it answered with, which is good once. It fails with a *Failure; nothing is sent through
// the browser instead.
func (c *Client) AuthorizationURL(ctx context.Context, app App, params url.Values) (string, error) {
	switch {
	case app.PARURL == "" && app.PARRequired:
		return "", &Failure{Class: NotSent, Code: CodeNetworkError, Err: errors.New("requests must be pushed, and it is not known where")}
	case app.PARURL == "":
		return withQuery(app.AuthURL, params), nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	resp, body, fail := c.post(ctx, request{app: app, endpoint: app.PARURL, form: params})
	if fail == nil {
		var handle string
		if handle, fail = parsePushed(app.Quirks(), resp, body); fail == nil {
			c.report(ctx, app, "")
			return withQuery(app.AuthURL, url.Values{"client_id": {app.ClientID}, "request_uri": {handle}}), nil
		}
	}
	if fail.Class == ClientRefused && fail.Code != "unauthorized_client" { // which may be about pushing only
		c.report(ctx, app, CodeInvalidClient)
	}
	return "", fail
}

// parsePushed returns the request_uri of an answer (RFC 9126 §2.2).
func parsePushed(q Quirks, resp *http.Response, body []byte) (string, *Failure) {
	v, err := parseBody(resp.Header.Get("Content-Type"), body)
	if err != nil {
		return "", &Failure{Class: ServerFailed, Code: CodeProviderError, Status: resp.StatusCode, Err: errors.New("the answer is not JSON")}
	}
	if code := v.text("error"); code != "" || resp.StatusCode < 200 || resp.StatusCode > 299 {
		return "", refusal(q, code, resp.StatusCode)
	}
	handle := v.text("request_uri")
	if handle == "" || len(handle) > maxURL || hasControl(handle) {
		return "", &Failure{Class: ServerFailed, Code: CodeProviderError, Status: resp.StatusCode, Err: errors.New("the answer holds no request_uri")}
	}
	return handle, nil
}

// withQuery adds params to the query that endpoint may have (RFC 6749 §3.1).
func withQuery(endpoint string, params url.Values) string {
	sep := "?"
	if strings.Contains(endpoint, "?") {
		sep = "&"
	}
	return endpoint + sep + params.Encode()
}
