package socketapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/resultcache"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/coder/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// theAPI is a query API of which a test says what it answers. Its tokens are the names of its callers.
type theAPI struct {
	mu      sync.Mutex
	refused error // of everybody, from now on
	ends    time.Time
	asked   []*http.Request
	bodies  []string
	reply   func(w http.ResponseWriter, r *http.Request, n int) // to the nth request, from 1
}

func (a *theAPI) Verify(r *http.Request) (securitycontext.Context, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	name := r.Header.Get("Authorization")
	if name == "" || strings.HasPrefix(name, "bad") {
		return securitycontext.Context{}, fault.New(fault.Unauthenticated, "Invalid token")
	}
	sc := securitycontext.Context{Principal: securitycontext.Principal{Realm: "local", Subject: strings.TrimRight(name, "0123456789")}}
	if name == "nobody" {
		sc.Principal = securitycontext.Principal{}
	}
	if !a.ends.IsZero() {
		sc.Claims = map[string]any{"exp": a.ends.Unix()}
	}
	return sc, a.refused
}

func (a *theAPI) Answer(w http.ResponseWriter, r *http.Request, _ securitycontext.Context, operation string) {
	if !strings.HasSuffix(r.URL.Path, "/"+operation) {
		panic(r.URL.Path + " is not " + operation)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err)
	}
	a.mu.Lock()
	a.asked, a.bodies = append(a.asked, r), append(a.bodies, string(body))
	n := len(a.asked)
	a.mu.Unlock()
	a.reply(w, r, n)
}

func (a *theAPI) Refuse(w http.ResponseWriter, _ *http.Request, err error) {
	code := map[fault.Kind]int{fault.Invalid: 400, fault.Unauthenticated: 403, fault.Denied: 403, fault.NotFound: 404, fault.TooMany: 429, fault.Unavailable: 503}[fault.KindOf(err)]
	detail := "Internal Server Error"
	if e, ok := errors.AsType[*fault.Error](err); ok {
		detail = e.Detail
	} else {
		code = 500
	}
	body, err := json.Marshal(map[string]string{"error": detail})
	if err != nil {
		panic(err)
	}
	w.WriteHeader(code)
	_, _ = w.Write(body)
}

func (a *theAPI) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

func (a *theAPI) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.asked)
}

// memory is that of a cache of results, as in a server.
type memory struct{ *resultcache.Cache }

func (m memory) Hold(p securitycontext.Principal, n int64) error {
	if err := m.Cache.Hold(p.Key(), n); err != nil {
		return fault.Wrap(fault.Unavailable, err, "No memory.")
	}
	return nil
}

func (m memory) LetGo(p securitycontext.Principal, n int64) { m.Cache.LetGo(p.Key(), n) }

// says answers every request with one text.
func says(text string) func(http.ResponseWriter, *http.Request, int) {
	return func(w http.ResponseWriter, _ *http.Request, _ int) { _, _ = io.WriteString(w, text) }
}

// pipes is a listener whose connections are in memory, so that a test can wait for both ends of one.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p pipes) Close() error   { close(p.done); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// bench is a Handler that is served within a bubble of time.
type bench struct {
	t    *testing.T
	api  *theAPI
	http *http.Client
	stop context.CancelFunc
	ran  chan error
}

// serve runs test in a bubble, with a Handler over api. Everything has ended when it returns.
func serve(t *testing.T, api *theAPI, cfg Config, test func(b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		cfg.API = api
		if cfg.Memory == nil {
			cfg.Memory = memory{resultcache.New(resultcache.Config{})}
		}
		h := New(cfg)
		l := pipes{make(chan net.Conn), make(chan struct{})}
		mux := http.NewServeMux()
		mux.Handle("GET /{$}", h.Else(http.NotFoundHandler()))
		h.Mount(mux)
		server := &http.Server{Handler: mux}
		served := make(chan error, 1)
		go func() { served <- server.Serve(l) }()
		ctx, cancel := context.WithCancel(t.Context())
		b := &bench{t: t, api: api, stop: cancel, ran: make(chan error, 1), http: &http.Client{Transport: &http.Transport{
			DialContext: func(context.Context, string, string) (net.Conn, error) {
				ours, theirs := net.Pipe()
				l.conns <- theirs
				return ours, nil
			},
		}}}
		go func() { b.ran <- h.Run(ctx) }()
		defer func() {
			cancel()
			if err := <-b.ran; err != nil {
				t.Errorf("Run = %v, want nil", err)
			}
			_ = server.Close()
			<-served
			b.http.CloseIdleConnections()
		}()
		test(b)
	})
}

// peer is a client's end of a connection. What comes is read as it comes.
type peer struct {
	b    *bench
	ws   *websocket.Conn
	came chan string // closed with the connection
	end  error       // once came is closed
}

// dial opens a connection with these headers of the handshake.
func (b *bench) dial(header ...string) *peer {
	b.t.Helper()
	p, err := b.try(header...)
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

func (b *bench) try(header ...string) (*peer, error) {
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	ws, _, err := websocket.Dial(b.t.Context(), "ws://behalf/", &websocket.DialOptions{HTTPClient: b.http, HTTPHeader: h})
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(-1)
	p := &peer{b: b, ws: ws, came: make(chan string, 1000)}
	go func() {
		defer close(p.came)
		for {
			_, data, err := ws.Read(b.t.Context())
			if err != nil {
				p.end = err
				return
			}
			p.came <- string(data)
		}
	}()
	return p, nil
}

// enter opens a connection and authorises it.
func (b *bench) enter(name string) *peer {
	b.t.Helper()
	p := b.dial()
	p.send(`{"authorization":"` + name + `"}`)
	p.wants(`{"handshake":true}`)
	return p
}

func (p *peer) send(text string) {
	p.b.t.Helper()
	if err := p.ws.Write(p.b.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		p.b.t.Fatal(err)
	}
}

// wants reads the next messages, which must be these.
func (p *peer) wants(texts ...string) {
	p.b.t.Helper()
	for _, want := range texts {
		select {
		case got := <-p.came:
			if got != want {
				p.b.t.Fatalf("got  %s\nwant %s", got, want)
			}
		case <-time.After(time.Hour):
			p.b.t.Fatalf("nothing came, want %s", want)
		}
	}
}

// quiet fails if anything came.
func (p *peer) quiet() {
	p.b.t.Helper()
	synctest.Wait()
	select {
	case got, ok := <-p.came:
		p.b.t.Fatalf("%q came (%v, %v), want nothing", got, ok, p.end)
	default:
	}
}

// closed waits for the end of the connection, which must have this code.
func (p *peer) closed(want websocket.StatusCode) {
	p.b.t.Helper()
	late := time.After(time.Hour)
	for open := true; open; {
		select {
		case _, open = <-p.came:
		case <-late:
			p.b.t.Fatal("the connection did not end")
		}
	}
	if got := websocket.CloseStatus(p.end); got != want {
		p.b.t.Fatalf("the connection ended with %v (%v), want %v", got, p.end, want)
	}
}

// closedAtOnce is closed, with no time between.
func (p *peer) closedAtOnce(want websocket.StatusCode) {
	p.b.t.Helper()
	began := time.Now()
	p.closed(want)
	if took := time.Since(began); took > 0 {
		p.b.t.Fatalf("the connection ended %v later", took)
	}
}

const load = `{"messageId":1,"requestId":"tile","method":"load","params":{"query":{"measures":["orders.count"]},"queryType":"multi"}}`

func TestAMessageIsARequestOfTheQueryAPI(t *testing.T) {
	api := &theAPI{reply: says(`{"results":[]}`)}
	serve(t, api, Config{}, func(b *bench) {
		p := b.dial("Origin", "https://dashboards.example.com", "X-Forwarded-For", "192.0.2.1", "Authorization", "of the handshake", "X-Cube-Authorization", "too")
		p.send(`{"authorization":"alice"}`)
		p.wants(`{"handshake":true}`)
		p.send(load)
		p.wants(`{"messageId":1,"status":200,"message":{"results":[]}}`, `{"messageProcessedId":1}`)
		p.send(`{"messageId":"m","method":"meta","params":{"onlyViews":true}}`)
		p.wants(`{"messageId":"m","status":200,"message":{"results":[]}}`, `{"messageProcessedId":"m"}`)
		_ = p.ws.Close(websocket.StatusNormalClosure, "")
	})
	r := api.asked[0]
	if r.Method != http.MethodPost || r.URL.String() != "/cubejs-api/v1/load" || api.bodies[0] != `{"query":{"measures":["orders.count"]},"queryType":"multi"}` {
		t.Errorf("asked %s %s %s", r.Method, r.URL, api.bodies[0])
	}
	for name, want := range map[string]string{
		"Authorization": "alice", "X-Cube-Authorization": "", "X-Request-Id": "tile-span-1", "Content-Type": "application/json",
		"Origin": "https://dashboards.example.com", "X-Forwarded-For": "192.0.2.1", "Upgrade": "", "Connection": "", "Sec-Websocket-Key": "",
	} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if r := api.asked[1]; r.Method != http.MethodGet || r.URL.String() != "/cubejs-api/v1/meta?onlyViews=true" {
		t.Errorf("asked %s %s", r.Method, r.URL)
	}
}

func TestWhoIsNotAuthorisedGetsNothing(t *testing.T) {
	api := &theAPI{reply: says(`{}`)}
	serve(t, api, Config{}, func(b *bench) {
		p := b.dial()
		p.send(load)
		p.wants(`{"messageId":1,"status":403,"message":{"error":"Not authorized"}}`)
		p.send(`{"authorization":"bad"}`)
		p.wants(`{"status":403,"message":{"error":"Invalid token"}}`)
		p.send(`{"messageId":1,"method":"subscribe","params":{"query":{}}}`)
		p.wants(`{"messageId":1,"status":403,"message":{"error":"Not authorized"}}`)
		time.Sleep(handshakeTime - time.Second)
		p.quiet()
		p.closed(websocket.StatusPolicyViolation)
	})
	if api.count() != 0 {
		t.Errorf("%d requests were answered", api.count())
	}
}

// What a message may do is decided for that message, and not when the connection was opened.
func TestACallerWhoIsRefusedLosesTheConnection(t *testing.T) {
	disabled := fault.New(fault.Denied, "The account alice is disabled.")
	const refusal = `{"messageId":1,"status":403,"message":{"error":"The account alice is disabled."}}`
	t.Run("with the next message", func(t *testing.T) {
		api := &theAPI{reply: says(`{}`)}
		serve(t, api, Config{}, func(b *bench) {
			p := b.enter("alice")
			api.set(func() { api.refused = disabled })
			p.send(load)
			p.wants(refusal)
			p.closedAtOnce(websocket.StatusPolicyViolation)
		})
		if api.count() != 0 {
			t.Error("the message was answered")
		}
	})
	t.Run("with the next turn of a subscription", func(t *testing.T) {
		api := &theAPI{reply: says(`{}`)}
		serve(t, api, Config{}, func(b *bench) {
			p := b.enter("alice")
			p.send(strings.Replace(load, `"load"`, `"subscribe"`, 1))
			p.wants(`{"messageId":1,"status":200,"message":{}}`, `{"messageProcessedId":1}`)
			api.set(func() { api.refused = disabled })
			p.wants(refusal)
			p.closedAtOnce(websocket.StatusPolicyViolation)
		})
		if api.count() != 1 {
			t.Errorf("%d turns were answered, want the first", api.count())
		}
	})
	t.Run("without a message", func(t *testing.T) {
		api := &theAPI{}
		serve(t, api, Config{}, func(b *bench) {
			p := b.enter("alice")
			time.Sleep(check + time.Second)
			p.quiet()
			api.set(func() { api.refused = disabled })
			began := time.Now()
			p.closed(websocket.StatusPolicyViolation)
			if took := time.Since(began); took > check {
				t.Errorf("it took %v", took)
			}
		})
	})
	t.Run("but not for a fault of the server", func(t *testing.T) {
		api := &theAPI{refused: nil, reply: says(`{}`)}
		serve(t, api, Config{}, func(b *bench) {
			p := b.enter("alice")
			api.set(func() { api.refused = fault.New(fault.Unavailable, "The store does not answer.") })
			p.send(load)
			p.wants(`{"messageId":1,"status":503,"message":{"error":"The store does not answer."}}`, `{"messageProcessedId":1}`)
			time.Sleep(check + time.Second)
			p.quiet()
		})
	})
}

func TestTheConnectionEndsWithTheToken(t *testing.T) {
	api := &theAPI{reply: says(`{}`)}
	serve(t, api, Config{}, func(b *bench) {
		api.ends = time.Now().Add(time.Minute)
		p := b.enter("alice")
		time.Sleep(59 * time.Second)
		p.quiet()
		api.set(func() { api.ends = time.Now().Add(time.Minute) })
		p.send(`{"authorization":"alice2"}`) // another token of the same person
		p.wants(`{"handshake":true}`)
		time.Sleep(59 * time.Second)
		p.quiet()
		p.send(`{"authorization":"bob"}`)
		p.wants(`{"status":403,"message":{"error":"This connection is somebody else's. Open another one."}}`)
		p.closed(websocket.StatusPolicyViolation)
		if got := time.Until(api.ends).Abs(); got > time.Second {
			t.Errorf("it ended %v away from the token", got)
		}
	})
}

func TestASubscriptionIsToldWhatChanged(t *testing.T) {
	api := &theAPI{reply: func(w http.ResponseWriter, _ *http.Request, n int) {
		switch {
		case n == 4:
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintf(w, `{"error":"down","requestId":"%d"}`, n)
		case n == 5:
			_, _ = io.WriteString(w, `{"error":"Continue wait","timeElapsed":1}`)
		case n < 3:
			fmt.Fprintf(w, `{"results":[{"data":[1],"lastRefreshTime":"%d","cached":%t}],"slowQuery":false}`, n, n > 1)
		default:
			_, _ = io.WriteString(w, `{"results":[{"data":[2]}]}`)
		}
	}}
	serve(t, api, Config{}, func(b *bench) {
		p := b.enter("alice")
		subscribe := strings.Replace(load, `"load"`, `"subscribe"`, 1)
		p.send(subscribe)
		p.wants(`{"messageId":1,"status":200,"message":{"results":[{"data":[1],"lastRefreshTime":"1","cached":false}],"slowQuery":false}}`, `{"messageProcessedId":1}`)
		time.Sleep(every + time.Second)
		p.quiet() // the second says the same
		p.send(subscribe)
		p.wants(`{"messageProcessedId":1}`) // a heartbeat
		p.wants(`{"messageId":1,"status":200,"message":{"results":[{"data":[2]}]}}`, `{"messageProcessedId":1}`)
		p.wants(`{"messageId":1,"status":503,"message":{"error":"down","requestId":"4"}}`, `{"messageProcessedId":1}`)
		p.wants(`{"messageId":1,"status":200,"message":{"results":[{"data":[2]}]}}`, `{"messageProcessedId":1}`)
		p.send(`{"unsubscribe":1}`)
		synctest.Wait()
		n := api.count()
		time.Sleep(3 * every)
		p.quiet()
		if n != 6 || api.count() != n {
			t.Errorf("asked %d times, and %d in the end; want 6", n, api.count())
		}
		if got := api.asked[5].Header.Get("X-Request-Id"); got != "tile-span-6" {
			t.Errorf("the sixth request is %s", got)
		}
	})
}

func TestASubscriptionEndsWithTheHeartbeats(t *testing.T) {
	api := &theAPI{reply: says(`{}`)}
	serve(t, api, Config{}, func(b *bench) {
		p := b.enter("alice")
		p.send(strings.Replace(load, `"load"`, `"subscribe"`, 1))
		p.wants(`{"messageId":1,"status":200,"message":{}}`, `{"messageProcessedId":1}`)
		time.Sleep(4*heartbeat + time.Second)
		n := api.count()
		time.Sleep(3 * every)
		if api.count() != n || n != int(4*heartbeat/every) {
			t.Errorf("asked %d times in four minutes, and %d later", n, api.count())
		}
		p.quiet()
	})
}

// A client of Cube waits for the next message after one that says to go on waiting.
func TestALoadThatTakesLongIsAskedAgainHere(t *testing.T) {
	api := &theAPI{reply: func(w http.ResponseWriter, r *http.Request, n int) {
		select {
		case <-time.After(10 * time.Second):
		case <-r.Context().Done():
			return
		}
		if n < 3 {
			_, _ = io.WriteString(w, `{"error":"Continue wait"}`)
			return
		}
		_, _ = io.WriteString(w, `{"error":""}`)
	}}
	serve(t, api, Config{}, func(b *bench) {
		p := b.enter("alice")
		p.send(load)
		p.send(load) // as the client does at its next heartbeat
		p.wants(`{"messageId":1,"status":200,"message":{"error":"Continue wait"}}`, `{"messageId":1,"status":200,"message":{"error":"Continue wait"}}`,
			`{"messageId":1,"status":200,"message":{"error":""}}`, `{"messageProcessedId":1}`)
		p.quiet()
		p.send(load)
		p.send(`{"messageId":"1","method":"unsubscribe"}`)
		p.wants(`{"messageId":"1","status":200,"message":{}}`, `{"messageProcessedId":"1"}`)
		p.send(load) // the id is free again
		p.wants(`{"messageId":1,"status":200,"message":{"error":""}}`, `{"messageProcessedId":1}`)
		if got := api.count(); got != 5 {
			t.Errorf("asked %d times, want 5", got)
		}
	})
}

func TestAConnectionIsBounded(t *testing.T) {
	api := &theAPI{reply: func(_ http.ResponseWriter, r *http.Request, _ int) { <-r.Context().Done() }}
	message := func(method string, id int) string {
		return fmt.Sprintf(`{"messageId":%d,"method":%q,"params":{"query":{}}}`, id, method)
	}
	serve(t, api, Config{Connections: 3, PerPrincipal: 1}, func(b *bench) {
		p := b.enter("alice")
		for i := range maxUnderWay {
			p.send(message("load", i))
		}
		for i := range maxSubscriptions {
			p.send(message("subscribe", 1000+i))
		}
		p.quiet()
		p.send(message("load", 500))
		p.wants(`{"messageId":500,"status":429,"message":{"error":"This connection has 128 messages already. Wait for one to end, or open another connection."}}`)
		p.send(message("subscribe", 501))
		p.wants(`{"messageId":501,"status":429,"message":{"error":"This connection has 128 subscriptions already. Wait for one to end, or open another connection."}}`)

		second := b.dial()
		second.send(`{"authorization":"alice"}`)
		second.wants(`{"status":429,"message":{"error":"You have as many WebSockets as one caller may have. Close one, or send the query over HTTP."}}`)
		second.send(`{"authorization":"` + strings.Repeat("x", maxStranger) + `"}`)
		second.closed(websocket.StatusMessageTooBig)
		synctest.Wait()
		b.enter("bob")
		b.enter("carol")
		if _, err := b.try(); err == nil || !strings.Contains(err.Error(), "503") {
			t.Errorf("the fourth connection: %v, want 503", err)
		}
		if got := api.count(); got != maxUnderWay+maxSubscriptions {
			t.Errorf("%d requests were begun", got)
		}

		_ = p.ws.Write(b.t.Context(), websocket.MessageText, make([]byte, maxMessage+1)) // the other end may close while it comes
		p.closed(websocket.StatusMessageTooBig)
		synctest.Wait()
		b.enter("alice") // whose place is free again
	})
}

func TestAClientThatTakesNothingIsCut(t *testing.T) {
	api := &theAPI{reply: says(strings.Repeat("x", 1<<20))}
	serve(t, api, Config{}, func(b *bench) {
		ws, _, err := websocket.Dial(b.t.Context(), "ws://behalf/", &websocket.DialOptions{HTTPClient: b.http})
		if err != nil {
			t.Fatal(err)
		}
		ws.SetReadLimit(-1)
		p := &peer{b: b, ws: ws}
		p.send(`{"authorization":"alice"}`)
		if _, _, err := ws.Read(b.t.Context()); err != nil {
			t.Fatal(err)
		}
		p.send(load)
		time.Sleep(stall + time.Second)
		if _, _, err := ws.Read(b.t.Context()); err == nil {
			t.Error("the whole answer came to a client that had stopped reading")
		}
	})
}

func TestAPanicEndsOneMessage(t *testing.T) {
	api := &theAPI{reply: func(w http.ResponseWriter, _ *http.Request, n int) {
		if n == 1 {
			_, _ = io.WriteString(w, `{"half":`)
			panic("canary")
		}
		_, _ = io.WriteString(w, `{}`)
	}}
	serve(t, api, Config{}, func(b *bench) {
		p := b.enter("alice")
		p.send(load)
		p.wants(`{"messageId":1,"status":500,"message":{"error":"Internal Server Error"}}`, `{"messageProcessedId":1}`)
		p.send(load)
		p.wants(`{"messageId":1,"status":200,"message":{}}`)
	})
}

func TestAStopAnswersWhatIsUnderWay(t *testing.T) {
	api := &theAPI{reply: func(w http.ResponseWriter, r *http.Request, _ int) {
		select {
		case <-time.After(20 * time.Second):
			_, _ = io.WriteString(w, `{}`)
		case <-r.Context().Done():
		}
	}}
	serve(t, api, Config{}, func(b *bench) {
		p, idle := b.enter("alice"), b.enter("bob")
		p.send(load)
		p.send(`{"messageId":2,"method":"subscribe","params":{"query":{}}}`)
		p.quiet()
		b.stop()
		idle.closed(websocket.StatusGoingAway)
		synctest.Wait() // for the other connection to know
		p.send(strings.Replace(load, "1", "3", 1))
		p.wants(`{"messageId":3,"status":503,"message":{"error":"The server is stopping. Connect again."}}`)
		p.wants(`{"messageId":1,"status":200,"message":{}}`, `{"messageProcessedId":1}`)
		p.closed(websocket.StatusGoingAway)
		if _, err := b.try(); err == nil || !strings.Contains(err.Error(), "503") {
			t.Errorf("a connection at the end: %v, want 503", err)
		}
	})
	t.Run("within the grace", func(t *testing.T) {
		serve(t, api, Config{Grace: time.Second}, func(b *bench) {
			p := b.enter("alice")
			p.send(load)
			p.quiet()
			b.stop()
			p.closed(websocket.StatusGoingAway)
		})
	})
}

func TestWhatIsNoMessageOfOurs(t *testing.T) {
	serve(t, &theAPI{}, Config{}, func(b *bench) {
		p := b.enter("alice")
		p.send(`{"messageId":7,"method":"load"`)
		p.wants(`{"status":400,"message":{"error":"Invalid message format: The message is no JSON object"}}`)
		if err := p.ws.Write(b.t.Context(), websocket.MessageBinary, []byte(load)); err != nil {
			t.Fatal(err)
		}
		p.closed(websocket.StatusUnsupportedData)
		resp, err := b.http.Get("http://behalf/cubejs-api/v1/ws")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("a request that is no handshake = %d", resp.StatusCode)
		}
	})
	serve(t, &theAPI{}, Config{Off: true}, func(b *bench) {
		if _, err := b.try(); err == nil || !strings.Contains(err.Error(), "404") {
			t.Errorf("a handshake where WebSockets are off: %v, want 404", err)
		}
	})
}
