package httpserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs a Server over handler until the test ends, and returns its URL, its log and a way to ask for its end.
func serve(t *testing.T, handler http.Handler, grace time.Duration) (string, *observer.ObservedLogs, context.CancelFunc, <-chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.InfoLevel)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	s := New(Config{Name: "test", Listener: l, Handler: handler, HTTPS: true, Grace: grace, Log: zap.New(core)})
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		http.DefaultClient.CloseIdleConnections()
	})
	return "http://" + l.Addr().String(), logs, cancel, done
}

func get(t *testing.T, url string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp, string(body)
}

func TestEveryRequestHasAnId(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /id", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, RequestID(r.Context())) })
	url, _, _, _ := serve(t, mux, time.Second)

	resp, body := get(t, url+"/id")
	if body == "" || resp.Header.Get("X-Request-Id") != body {
		t.Errorf("id in context %q, in answer %q, want the same", body, resp.Header.Get("X-Request-Id"))
	}
	if _, body = get(t, url+"/id", "X-Request-Id", "abc-span-7"); body != "abc-span-7" {
		t.Errorf("id = %q, want the client's", body)
	}
	for _, hostile := range []string{`"><script>`, strings.Repeat("x", 129), "a b"} {
		if _, body = get(t, url+"/id", "X-Request-Id", hostile); body == hostile {
			t.Errorf("the id %.20q was believed", hostile)
		}
	}
}

func TestAPanicIsAnsweredAndDoesNotSpread(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /panic", func(http.ResponseWriter, *http.Request) { panic("canary") })
	mux.HandleFunc("GET /ok", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	url, logs, _, _ := serve(t, mux, time.Second)

	resp, body := get(t, url+"/panic")
	if resp.StatusCode != http.StatusInternalServerError || strings.Contains(body, "canary") {
		t.Errorf("a panic was answered %d %q", resp.StatusCode, body)
	}
	if logs.FilterMessage("panic in a handler").Len() != 1 {
		t.Error("the panic is not in the log")
	}
	if _, body = get(t, url+"/ok"); body != "ok" {
		t.Errorf("the next request got %q", body)
	}
}

// An answer without a length ends where it stops. One that its handler did not finish must not end as if it were whole.
func TestAnAnswerThatBreaksOffDoesNotLookWhole(t *testing.T) {
	mux := http.NewServeMux()
	begin := func(w http.ResponseWriter) { _, _ = io.WriteString(w, strings.Repeat("[1,2,3]", 10_000)) }
	mux.HandleFunc("GET /panic", func(w http.ResponseWriter, _ *http.Request) { begin(w); panic("canary") })
	mux.HandleFunc("GET /cut", func(w http.ResponseWriter, _ *http.Request) { begin(w); panic(http.ErrAbortHandler) })
	mux.HandleFunc("GET /whole", func(w http.ResponseWriter, _ *http.Request) { begin(w) })
	url, _, _, _ := serve(t, mux, time.Second)
	for path, whole := range map[string]bool{"/panic": false, "/cut": false, "/whole": true} {
		resp, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if (err == nil) != whole || strings.Contains(string(body), "canary") || resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %d, %d bytes, then %v", path, resp.StatusCode, len(body), err)
		}
	}
}

func TestEveryAnswerOverHTTPSAsksForMore(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /panic", func(http.ResponseWriter, *http.Request) { panic("no") })
	mux.HandleFunc("GET /fine", func(http.ResponseWriter, *http.Request) {})
	base, _, _, _ := serve(t, mux, 0)
	for _, path := range []string{"/fine", "/panic", "/nothing"} {
		if resp, _ := get(t, base+path); resp.Header.Get("Strict-Transport-Security") != "max-age=31536000" {
			t.Errorf("the answer to %s does not ask for https", path)
		}
	}
	plain := httptest.NewRecorder()
	New(Config{Handler: mux}).http.Handler.ServeHTTP(plain, httptest.NewRequest(http.MethodGet, "/fine", nil))
	if got := plain.Header().Get("Strict-Transport-Security"); got != "" {
		t.Errorf("an answer over http says %q, which browsers must ignore (RFC 6797 §8.1)", got)
	}
}

func TestTheLogNamesTheRouteAndNotThePath(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /magic/{token}", func(http.ResponseWriter, *http.Request) {})
	url, logs, _, _ := serve(t, mux, time.Second)
	get(t, url+"/magic/canary?code=canary")

	deadline := time.Now().Add(30 * time.Second)
	for logs.FilterMessage("request").Len() == 0 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	entries := logs.FilterMessage("request").All()
	if len(entries) != 1 || entries[0].ContextMap()["route"] != "GET /magic/{token}" {
		t.Fatalf("log = %v, want the pattern", entries)
	}
	for k, v := range entries[0].ContextMap() {
		if s, ok := v.(string); ok && strings.Contains(s, "canary") {
			t.Errorf("%s = %q shows the path", k, s)
		}
	}
}

func TestObserversHearOfTheRouteAndNotOfThePath(t *testing.T) {
	type key struct{}
	heard := make(chan string, 10)
	observe := func(name string) Observer {
		return func(ctx context.Context, r *http.Request) (context.Context, func(string, int)) {
			before, _ := ctx.Value(key{}).(string)
			if RequestID(ctx) == "" {
				t.Error("a request has no id yet")
			}
			return context.WithValue(ctx, key{}, before+name), func(route string, status int) { heard <- fmt.Sprint(name, " ", route, " ", status) }
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /magic/{token}", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Context().Value(key{}).(string))
	})
	mux.HandleFunc("/panic/{token}", func(http.ResponseWriter, *http.Request) { panic("canary") })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	s := New(Config{Name: "test", Listener: l, Handler: mux, Observe: []Observer{observe("a"), observe("b")}})
	go func() { done <- s.Run(ctx) }()
	url := "http://" + l.Addr().String()
	if _, body := get(t, url+"/magic/canary?code=canary"); body != "ab" {
		t.Errorf("the context of the request is that of %q, want of both", body)
	}
	get(t, url+"/panic/canary")
	get(t, url+"/canary")
	for _, want := range []string{"/magic/{token} 200", "/panic/{token} 500", "unmatched 404"} {
		for _, name := range []string{"a ", "b "} {
			if got := <-heard; got != name+want {
				t.Errorf("heard %q, want %q", got, name+want)
			}
		}
	}
	stop()
	http.DefaultClient.CloseIdleConnections()
	if err := <-done; err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}

func TestAClientThatStopsReadingIsCut(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	wrote := make(chan error, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /large", func(w http.ResponseWriter, _ *http.Request) {
		_, err := w.Write(make([]byte, 64<<20)) // more than the sockets between hold
		wrote <- err
	})
	mux.HandleFunc("GET /small", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	s := New(Config{Name: "test", Listener: l, Handler: mux, Grace: time.Second, Stall: 100 * time.Millisecond})
	go func() { done <- s.Run(ctx) }()

	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-wrote:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the answer was written: %v, want its deadline exceeded", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the handler still waits for a client that reads nothing")
	}

	// A client that reads is not held to the deadline of an earlier answer on its connection.
	url := "http://" + l.Addr().String() + "/small"
	for range 2 {
		if resp, body := get(t, url); body != "ok" || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("a client that reads got %q with %v", body, resp.Header)
		}
		time.Sleep(150 * time.Millisecond) // past the deadline
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestRunLetsRunningRequestsFinish(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /slow", func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		select {
		case <-release:
			_, _ = io.WriteString(w, "finished")
		case <-r.Context().Done():
		}
	})
	url, _, cancel, done := serve(t, mux, 10*time.Second)
	answer := make(chan string, 1)
	go func() {
		resp, err := http.Get(url + "/slow")
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		answer <- string(b)
	}()
	<-entered
	cancel()
	close(release)
	if got := <-answer; got != "finished" {
		t.Errorf("the running request got %q", got)
	}
	if err := <-done; err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}

func TestRunCutsWhatOutlivesTheGrace(t *testing.T) {
	entered := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stuck", func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	})
	url, _, cancel, done := serve(t, mux, 10*time.Millisecond)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if resp, err := http.Get(url + "/stuck"); err == nil {
			resp.Body.Close()
		}
	}()
	<-entered
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	<-gone
}
