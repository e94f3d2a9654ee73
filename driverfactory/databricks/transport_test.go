package databricks

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
)

// message is a request that calls method, as the driver writes it.
func message(method string) string {
	b := []byte{0x80, 0x01, 0, 1}
	b = binary.BigEndian.AppendUint32(b, uint32(len(method)))
	return string(b) + method + "\x00\x00\x00\x00 the rest"
}

// answers is a base transport that answers the requests in turn, and the last one for ever.
type answers struct {
	replies []reply
	got     []*http.Request
	bodies  []string
}

type reply struct {
	status int
	header http.Header
	body   string
	err    error
}

func (a *answers) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		body, _ = io.ReadAll(req.Body)
		req.Body.Close()
	}
	a.got, a.bodies = append(a.got, req), append(a.bodies, string(body))
	r := a.replies[min(len(a.got), len(a.replies))-1]
	if r.err != nil {
		return nil, r.err
	}
	h := r.header
	if h == nil {
		h = http.Header{}
	}
	return &http.Response{StatusCode: r.status, Header: h, Body: io.NopCloser(strings.NewReader(r.body)), Request: req}, nil
}

func (a *answers) tokens() (out []string) {
	for _, req := range a.got {
		out = append(out, strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer "))
	}
	return out
}

var ok200 = reply{status: 200, body: "thrift"}

// under returns a transport over base whose token is "old" until it is refused, and "new" afterwards.
func under(base http.RoundTripper) (*transport, *atomic.Int32) {
	var refused atomic.Int32
	current := func() driverfactory.Token {
		if refused.Load() > 0 {
			return driverfactory.Token{Value: driverfactory.NewSecret("new"), Revision: 2}
		}
		return driverfactory.Token{Value: driverfactory.NewSecret("old"), Revision: 1}
	}
	return &transport{
		base: base, scheme: "https", host: "dbc.example.com", path: "/sql/1.0/warehouses/w", timeout: time.Minute,
		login: driverfactory.Login{
			Token: func(context.Context) (driverfactory.Token, error) { return current(), nil },
			Refused: func(context.Context, driverfactory.Token) (driverfactory.Token, error) {
				refused.Add(1)
				return current(), nil
			},
		},
	}, &refused
}

func post(t *testing.T, tr *transport, target, body string) (string, error) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader(body))
	resp, err := tr.RoundTrip(req)
	if err != nil {
		if resp != nil {
			t.Errorf("a response beside the error %v, want none", err)
		}
		return "", err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	return string(content), err
}

const warehouseURL = "https://dbc.example.com/sql/1.0/warehouses/w"

func TestTelemetryNeverLeaves(t *testing.T) {
	base := &answers{replies: []reply{ok200}}
	tr, _ := under(base)
	for _, target := range []string{
		"https://dbc.example.com/api/2.0/connector-service/feature-flags/GOLANG/1.14.0", "https://dbc.example.com/telemetry-ext",
		"https://DBC.example.com:443/telemetry-ext", "https://dbc.example.com/sql/1.0/warehouses/another",
	} {
		if got, err := post(t, tr, target, "{}"); err != nil || got != `{"flags":[],"ttl_seconds":900}` {
			t.Errorf("%s = %q, %v; want an answer of ours", target, got, err)
		}
	}
	if len(base.got) != 0 {
		t.Errorf("%d requests left, want 0", len(base.got))
	}
}

func TestARefusedTokenIsReplacedAndTheRequestRepeatedOnce(t *testing.T) {
	for _, status := range []int{401, 403} {
		base := &answers{replies: []reply{{status: status}, ok200}}
		tr, refused := under(base)
		got, err := post(t, tr, warehouseURL, message("ExecuteStatement"))
		if err != nil || got != "thrift" || refused.Load() != 1 {
			t.Fatalf("%d: %q, %v after %d refusals; want the answer after one", status, got, err, refused.Load())
		}
		if want := []string{"old", "new"}; !slices.Equal(base.tokens(), want) || base.bodies[0] != base.bodies[1] {
			t.Errorf("%d: tokens %v, want %v with the same body", status, base.tokens(), want)
		}

		base = &answers{replies: []reply{{status: status, header: http.Header{"X-Databricks-Reason-Phrase": {"Token is expired"}}}}}
		tr, refused = under(base)
		_, err = post(t, tr, warehouseURL, message("ExecuteStatement"))
		if r, ok := errors.AsType[*responseError](err); !ok || r.class() != driverfactory.AuthExpired || !strings.Contains(err.Error(), "Token is expired") {
			t.Errorf("%d: error = %v, want the server's refusal", status, err)
		}
		if len(base.got) != 2 || refused.Load() != 1 {
			t.Errorf("%d: %d requests and %d refusals, want 2 and 1", status, len(base.got), refused.Load())
		}
	}
}

func TestTheRefusalOfCredentialsComesThrough(t *testing.T) {
	base := &answers{replies: []reply{{status: 403}}}
	tr, _ := under(base)
	tr.login.Refused = func(context.Context, driverfactory.Token) (driverfactory.Token, error) {
		return driverfactory.Token{}, fault.New(fault.ReauthorizationRequired, "revoked")
	}
	if _, err := post(t, tr, warehouseURL, message("FetchResults")); !errors.Is(err, fault.ReauthorizationRequired) {
		t.Errorf("error = %v, want that of Refused", err)
	}
	tr.login.Token = func(context.Context) (driverfactory.Token, error) {
		return driverfactory.Token{}, fault.New(fault.Conflict, "superseded")
	}
	if _, err := post(t, tr, warehouseURL, message("FetchResults")); !errors.Is(err, fault.Conflict) || len(base.got) != 1 {
		t.Errorf("error = %v after %d requests, want that of Token and none sent without one", err, len(base.got))
	}
}

func TestABusyWarehouseIsAskedAgainButNeverToExecute(t *testing.T) {
	for _, tt := range []struct {
		name, method string
		replies      []reply
		requests     int
		waits        time.Duration
		ok           bool
	}{
		{"a session that is turned away", "OpenSession", []reply{{status: 503}, {status: 429}, ok200}, 3, 1500 * time.Millisecond, true},
		{"Retry-After is honoured", "FetchResults", []reply{{status: 429, header: http.Header{"Retry-After": {"7"}}}, ok200}, 2, 7 * time.Second, true},
		{"but not for ever", "GetOperationStatus", []reply{{status: 503, header: http.Header{"Retry-After": {"100000"}}}, ok200}, 2, 30 * time.Second, true},
		{"a connection that breaks", "FetchResults", []reply{{err: io.ErrUnexpectedEOF}, ok200}, 2, 500 * time.Millisecond, true},
		{"until it has been asked often enough", "CloseOperation", []reply{{status: 503}}, 5, 7500 * time.Millisecond, false},
		{"a statement that is turned away", "ExecuteStatement", []reply{{status: 503}, ok200}, 1, 0, false},
		{"a statement whose connection breaks", "ExecuteStatement", []reply{{err: io.ErrUnexpectedEOF}, ok200}, 1, 0, false},
		{"a message that nobody knows", "", []reply{{status: 503}, ok200}, 1, 0, false},
		{"an error of the server", "FetchResults", []reply{{status: 500}, ok200}, 1, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := &answers{replies: tt.replies}
				tr, _ := under(base)
				body := "not thrift"
				if tt.method != "" {
					body = message(tt.method)
				}
				start := time.Now()
				_, err := post(t, tr, warehouseURL, body)
				if (err == nil) != tt.ok || len(base.got) != tt.requests || time.Since(start) != tt.waits {
					t.Errorf("%d requests in %v, error %v; want %d in %v, ok %v", len(base.got), time.Since(start), err, tt.requests, tt.waits, tt.ok)
				}
			})
		})
	}
}

func TestClosingASessionEndsItsConnection(t *testing.T) {
	base := &answers{replies: []reply{ok200}}
	tr, refused := under(base)
	if _, err := post(t, tr, warehouseURL, message("CloseSession")); !errors.Is(err, errGone) || len(base.got) != 1 {
		t.Errorf("error = %v after %d requests, want errGone after one", err, len(base.got))
	}
	base.replies = []reply{{status: 403}}
	if _, err := post(t, tr, warehouseURL, message("CloseSession")); !errors.Is(err, errGone) || refused.Load() != 0 {
		t.Errorf("error = %v, %d refreshes; want errGone and no refresh just to say goodbye", err, refused.Load())
	}
}

func TestEveryRequestHasADeadline(t *testing.T) {
	for method, want := range map[string]time.Duration{"FetchResults": time.Minute, "CancelOperation": closing, "CloseSession": closing} {
		synctest.Test(t, func(t *testing.T) {
			tr, _ := under(roundTripper(func(req *http.Request) (*http.Response, error) {
				<-req.Context().Done()
				return nil, req.Context().Err()
			}))
			start := time.Now()
			_, err := post(t, tr, warehouseURL, message(method))
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != want {
				t.Errorf("%s ended with %v after %v, want its deadline after %v", method, err, time.Since(start), want)
			}
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func TestResultFilesAreFetchedWithoutAToken(t *testing.T) {
	base := &answers{replies: []reply{{status: 200, body: "file"}}}
	tr, _ := under(base)
	get := func(method, target string) error {
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := tr.RoundTrip((&http.Request{Method: method, URL: u, Header: http.Header{"Authorization": {"Bearer x"}}}).WithContext(t.Context()))
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	if err := get("GET", "https://bucket.s3.example/part-1?signature=abc"); err != nil {
		t.Fatal(err)
	}
	if got := base.got[0].Header.Get("Authorization"); got != "" {
		t.Errorf("storage was sent Authorization %q, want none", got)
	}
	for _, r := range [][2]string{{"POST", "https://bucket.s3.example/"}, {"GET", "http://bucket.s3.example/part-1?signature=abc"}} {
		err := get(r[0], r[1])
		if err == nil || strings.Contains(err.Error(), "signature") {
			t.Errorf("%s %s = %v, want a refusal that does not quote the URL", r[0], r[1], err)
		}
	}
	if len(base.got) != 1 {
		t.Errorf("%d requests left, want 1", len(base.got))
	}
}

func TestAnErrorsWords(t *testing.T) {
	for _, tt := range []struct {
		name  string
		reply reply
		want  responseError
	}{
		{"the reason phrase", reply{status: 403, header: http.Header{"X-Databricks-Reason-Phrase": {"expired"}}, body: `{"error_code":"403","message":"m"}`},
			responseError{status: 403, reason: "expired", code: "403"}},
		{"the Thrift server's", reply{status: 400, header: http.Header{"X-Thriftserver-Error-Message": {"Invalid SessionHandle: x"}}},
			responseError{status: 400, reason: "Invalid SessionHandle: x"}},
		{"the body's", reply{status: 403, body: `{"error_code":"PERMISSION_DENIED","message":"no"}`}, responseError{status: 403, reason: "no", code: "PERMISSION_DENIED"}},
		{"a code that is a number", reply{status: 403, body: `{"error_code":403,"message":"no"}`}, responseError{status: 403, reason: "no", code: "403"}},
		{"a page in HTML", reply{status: 502, body: "<html>" + strings.Repeat("x", 1<<20)}, responseError{status: 502}},
		{"how long to wait", reply{status: 429, header: http.Header{"Retry-After": {"3"}}}, responseError{status: 429, retryAfter: 3 * time.Second}},
		{"nonsense to wait for", reply{status: 429, header: http.Header{"Retry-After": {"-3"}}}, responseError{status: 429}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base := &answers{replies: []reply{tt.reply}}
			resp, _ := base.RoundTrip(httptest.NewRequest("POST", "/", nil))
			if got := *newResponseError(resp); got != tt.want {
				t.Errorf("error = %+v, want %+v", got, tt.want)
			}
		})
	}
}

// FuzzErrorAnswer feeds answers of a warehouse, or of whatever stands before it, to the code that explains them.
func FuzzErrorAnswer(f *testing.F) {
	f.Add(403, `{"error_code":"PERMISSION_DENIED","message":"no"}`, "expired", "5")
	f.Add(400, "<html>", "Invalid SessionHandle", "")
	f.Add(429, `{"error_code":{"a":1}}`, "", "99999999999999999999")
	f.Fuzz(func(t *testing.T, status int, body, phrase, after string) {
		e := newResponseError(&http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body)),
			Header: http.Header{"X-Databricks-Reason-Phrase": {phrase}, "Retry-After": {after}}})
		if e.retryAfter < 0 || e.retryAfter > time.Hour {
			t.Errorf("retryAfter = %v, want at most an hour", e.retryAfter)
		}
		if pause, _ := busy(e, 1); pause > maxPause {
			t.Errorf("pause = %v, want at most %v", pause, maxPause)
		}
		_, _ = e.class(), e.Error()
	})
}

func TestThriftMethod(t *testing.T) {
	for body, want := range map[string]string{
		message("OpenSession"): "OpenSession", "": "", "\x80\x01\x00\x01": "", "\x80\x01\x00\x01\xff\xff\xff\xffx": "",
		"\x80\x01\x00\x01\x00\x00\x00\x05abc": "", "{\"json\": true}": "",
	} {
		if got := thriftMethod([]byte(body)); got != want {
			t.Errorf("thriftMethod(%q) = %q, want %q", body, got, want)
		}
	}
}
