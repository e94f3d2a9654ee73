package databricks

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
)

const (
	maxRequest  = 64 << 20         // of a statement and its parameters
	maxResponse = 256 << 20        // of one page of a result
	maxReason   = 64 << 10         // of an error's body
	maxAttempts = 5                // of one request, when the warehouse says that it is busy
	maxPause    = 30 * time.Second // between two of them, whatever Retry-After says
	closing     = 10 * time.Second // for requests that only tidy up
)

// transport carries the requests of one credential. Between the driver and the network it
//
//  1. answers telemetry and feature flags itself: the driver would send them to port 443 whatever the port is, and
//     the figures of everybody at one host with the token of whoever came first;
//  2. puts the current token on each request;
//  3. has a refused token refreshed and repeats the request once. A warehouse answers 403 to an expired token, and to
//     a missing permission as well, hence only once;
//  4. turns every answer that is not 200 into an error: the driver never closes the body of one, which costs four
//     goroutines and a connection for 15 minutes;
//  5. repeats requests that a busy warehouse turned away or that did not reach it, but never ExecuteStatement, and
//     gives every request a deadline.
//
// It reads each answer whole, because the driver stops when it has its message, and the connection would stay taken
// until the driver's next request. The driver's HTTP client also leaves a goroutine that watches over each answer for
// 15 minutes, or until the next request: nothing follows CloseSession, so that one is answered with errGone.
type transport struct {
	base         http.RoundTripper
	login        driverfactory.Login
	scheme, host string
	path         string // of the warehouse, without a query
	timeout      time.Duration
}

// errGone is the answer to CloseSession, whatever the warehouse said. The driver only logs it.
var errGone = errors.New("databricks: the session is closed")

// RoundTrip carries one request.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if !strings.EqualFold(req.URL.Hostname(), t.host) {
		return t.fetchFile(req)
	}
	if req.URL.Path != t.path {
		return answer(req, []byte(`{"flags":[],"ttl_seconds":900}`)), nil // a 404 would be asked again and again
	}
	body, err := readAll(req.Body, maxRequest)
	if err != nil {
		return nil, fmt.Errorf("databricks: the request: %w", err)
	}
	method := thriftMethod(body)
	timeout := t.timeout
	if strings.HasPrefix(method, "Close") || strings.HasPrefix(method, "Cancel") {
		timeout = closing
	}
	ctx, cancel := context.WithTimeout(req.Context(), timeout)
	defer cancel()
	tok, err := t.login.Token(ctx)
	if err != nil {
		return nil, err
	}
	answered, err := t.repeat(ctx, req, body, method, tok)
	if method == "CloseSession" {
		return nil, errors.Join(errGone, err) // refused or not, it is of no use to try again
	}
	if r, ok := errors.AsType[*responseError](err); !ok || !r.refused() {
		return answered, err
	}
	fresh, refusal := t.login.Refused(ctx, tok)
	if refusal != nil {
		return nil, refusal
	}
	if fresh.Revision == tok.Revision && fresh.Value.Equal(tok.Value) {
		return nil, err
	}
	return t.repeat(ctx, req, body, method, fresh)
}

// repeat sends the request until it gets an answer that says more than "not now".
func (t *transport) repeat(ctx context.Context, req *http.Request, body []byte, method string, tok driverfactory.Token) (*http.Response, error) {
	for attempt := 1; ; attempt++ {
		resp, err := t.once(ctx, req, body, tok)
		pause, again := busy(err, attempt)
		if !again || method == "ExecuteStatement" || method == "" || attempt == maxAttempts {
			return resp, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, err
		case <-timer.C:
		}
	}
}

// busy reports whether a request that failed with err may be sent again, and after which pause.
func busy(err error, attempt int) (time.Duration, bool) {
	pause := min(time.Duration(1<<(attempt-1))*500*time.Millisecond, maxPause)
	switch r, ok := errors.AsType[*responseError](err); {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return 0, false
	case !ok:
		return pause, true // no answer
	case r.status == http.StatusTooManyRequests || r.status == http.StatusServiceUnavailable:
		if r.retryAfter > 0 {
			pause = min(r.retryAfter, maxPause)
		}
		return pause, true
	}
	return 0, false
}

// once sends the request with tok and returns its answer, read to the end, or an error that says what it was.
func (t *transport) once(ctx context.Context, req *http.Request, body []byte, tok driverfactory.Token) (*http.Response, error) {
	out := req.Clone(ctx)
	out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	out.Header.Set("Authorization", "Bearer "+tok.Value.Reveal())
	resp, err := t.base.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, newResponseError(resp)
	}
	content, err := readAll(resp.Body, maxResponse)
	if err != nil {
		return nil, fmt.Errorf("databricks: the answer: %w", err)
	}
	whole := answer(req, content)
	whole.Header = resp.Header
	return whole, nil
}

// fetchFile fetches a result file from cloud storage. Its URL is signed; it is never given a token.
func (t *transport) fetchFile(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodGet || req.URL.Scheme != "https" && t.scheme == "https" {
		return nil, fmt.Errorf("databricks: %s to %s is refused: only result files are fetched from other hosts, over https",
			req.Method, req.URL.Hostname())
	}
	out := req.Clone(req.Context())
	out.Header.Del("Authorization")
	return t.base.RoundTrip(out)
}

// responseError is an answer that is not 200.
type responseError struct {
	status     int
	reason     string // the server's words
	code       string // error_code of its JSON body
	retryAfter time.Duration
}

// Error returns the server's words. A lost session must be told by these: the driver recognises it by its text.
func (e *responseError) Error() string {
	if e.reason == "" {
		return fmt.Sprintf("the warehouse answered HTTP %d", e.status)
	}
	return fmt.Sprintf("the warehouse answered HTTP %d: %s", e.status, e.reason)
}

func newResponseError(resp *http.Response) *responseError {
	e := &responseError{status: resp.StatusCode}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		e.retryAfter = time.Duration(min(s, 3600)) * time.Second
	}
	content, _ := io.ReadAll(io.LimitReader(resp.Body, maxReason)) // an error's body is a courtesy
	var said struct {
		Code    json.RawMessage `json:"error_code"` // a word, and from some gateways a number
		Message string          `json:"message"`
	}
	if json.Unmarshal(content, &said) == nil {
		e.code, e.reason = strings.Trim(string(said.Code), `"`), said.Message
	}
	for _, header := range []string{"X-Thriftserver-Error-Message", "X-Databricks-Reason-Phrase"} {
		if text := resp.Header.Get(header); text != "" {
			e.reason = text
		}
	}
	return e
}

// refused reports whether a newer token may help.
func (e *responseError) refused() bool {
	return e.status == http.StatusUnauthorized || e.status == http.StatusForbidden
}

// class says what an answer means once a newer token did not help or was of no use.
func (e *responseError) class() driverfactory.Class {
	text := strings.ToLower(e.reason)
	switch {
	case strings.Contains(e.reason, "Invalid SessionHandle"):
		return driverfactory.SessionLost
	case e.status == http.StatusUnauthorized:
		return driverfactory.AuthExpired
	case e.status == http.StatusForbidden && strings.Contains(text, "token"):
		return driverfactory.AuthExpired
	case e.status == http.StatusForbidden && (e.code == "PERMISSION_DENIED" ||
		strings.Contains(text, "permission") || strings.Contains(text, "ip address")):
		return driverfactory.AccessDenied
	case e.status == http.StatusForbidden:
		return driverfactory.AuthExpired
	case e.status == http.StatusBadRequest || e.status == http.StatusNotFound || e.status == http.StatusMethodNotAllowed,
		e.status >= 300 && e.status < 400:
		return driverfactory.Misconfigured
	}
	return driverfactory.TransportFailed
}

// thriftMethod returns the name of the method that a request calls: after a version and a type of four bytes, the
// name with its length before it (Thrift's strict binary protocol). It is "" for anything else.
func thriftMethod(body []byte) string {
	const longest = 64
	if len(body) < 8 || body[0] != 0x80 || body[1] != 0x01 {
		return ""
	}
	n := binary.BigEndian.Uint32(body[4:])
	if n > longest || int(n) > len(body)-8 {
		return ""
	}
	return string(body[8 : 8+n])
}

// answer returns a response that holds content.
func answer(req *http.Request, content []byte) *http.Response {
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(content)), ContentLength: int64(len(content)), Request: req,
	}
}

// readAll reads r to its end, and fails when that is further than limit.
func readAll(r io.ReadCloser, limit int64) ([]byte, error) {
	if r == nil {
		return nil, nil
	}
	defer r.Close()
	content, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = fmt.Errorf("it is larger than %d bytes", limit)
	}
	return content, err
}
