// Package socketapi is the front door for Cube's WebSocket transport (cube-rest-api.md §15.3): it carries requests of the
// query API in messages, and does nothing of its own with them.
//
// A connection is authorised by its first message, with the token that a header would hold. From then on every message
// is a request of that caller: it is verified, checked, run and refused by the query API as if it had come over HTTP,
// and its answer is the body that HTTP would have. A caller who is refused as such, because the token ended or the
// person is disabled, loses the connection with that message, or within the next check of a connection that is idle.
//
//	accepted ──authorization──▶ authorised ──messages, subscriptions──▶ closed: by the client, at the token's end,
//	   └──────── half a minute without ───────────────────────────────▶         when the caller is refused, at a stop
//
// A subscription is a load that is asked again every five seconds; what it answers is sent when it changed. It ends
// when the client has not repeated it for four minutes: clients of Cube do so every minute.
//
// Pages of all origins may connect, as they may call over HTTP: no cookie counts here, only the token of the message.
package socketapi

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/httpserver"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/internal/users"
	"github.com/coder/websocket"
	"go.uber.org/zap"
)

// API is the query API over HTTP; restapi.Handler is one.
type API interface {
	// Verify says who a request comes from, or why they are refused.
	Verify(r *http.Request) (securitycontext.Context, error)
	// Answer answers the operation of this name, such as "load". It writes when all that it writes is there.
	Answer(w http.ResponseWriter, r *http.Request, sc securitycontext.Context, operation string)
	// Refuse answers an error.
	Refuse(w http.ResponseWriter, r *http.Request, err error)
}

// Memory counts what is in memory for a caller; orchestrator.Orchestrators is one.
type Memory interface {
	// Hold counts n bytes more, or says why there may be no more.
	Hold(p securitycontext.Principal, n int64) error
	// LetGo counts n bytes that Hold allowed as gone.
	LetGo(p securitycontext.Principal, n int64)
}

// Config is what a Handler needs. API and Memory are required.
type Config struct {
	API          API
	Memory       Memory                     // for answers, and for questions that are not answered yet
	ClientIP     func(*http.Request) string // default: the peer's address; empty: there is none to count by
	Off          bool                       // every handshake is refused
	Connections  int                        // at once; default 2,000
	Strangers    int                        // of them that nobody has authorised yet; default 500
	PerAddress   int                        // from one address, of these and of callers without a name; default 50
	PerPrincipal int                        // of a caller with a name; default 100
	Grace        time.Duration              // how long messages under way may take after the end was asked for; default 30 s
	Log          *zap.Logger                // default: no logging
	Now          func() time.Time
}

// What a connection may hold and how long it may take.
const (
	maxMessage       = 1 << 20  // bytes of a message; a larger query goes over HTTP
	maxStranger      = 64 << 10 // and of one before the authorization
	maxUnderWay      = 128      // messages that are not answered yet
	maxSubscriptions = 128
	maxFollowed      = 2 * maxSubscriptions // with those that were ended, or replaced, and have not noticed

	handshakeTime = 30 * time.Second // until the authorization
	every         = 5 * time.Second  // a subscription is asked again
	heartbeat     = time.Minute      // of clients, who repeat their subscriptions; four missed ones end them
	check         = 30 * time.Second // an idle connection is pinged, and its caller verified
	stall         = 30 * time.Second // until the client has taken the next piece of an answer, or answered a ping
)

// Handler accepts connections. It is safe for concurrent use.
type Handler struct {
	cfg  Config
	stop chan struct{} // closed when the end was asked for

	mu      sync.Mutex
	stopped bool
	open    sync.WaitGroup // connections
	count   int            // of them
	of      map[string]int // and of them, by the key of the principal
	unknown int            // of them that are not authorised
	from    map[string]int // and of these and of callers without a name, by address: see users.AddressKey
}

// New returns a Handler over cfg. It starts nothing; see Run.
func New(cfg Config) *Handler {
	if cfg.Connections == 0 {
		cfg.Connections = 2000
	}
	if cfg.Strangers == 0 {
		cfg.Strangers = 500
	}
	if cfg.PerAddress == 0 {
		cfg.PerAddress = 50
	}
	if cfg.ClientIP == nil {
		cfg.ClientIP = httpserver.ClientIP(nil)
	}
	if cfg.PerPrincipal == 0 {
		cfg.PerPrincipal = 100
	}
	if cfg.Grace == 0 {
		cfg.Grace = 30 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Handler{cfg: cfg, stop: make(chan struct{}), of: map[string]int{}, from: map[string]int{}}
}

// Mount adds the path that has a name of its own. Cube's clients connect to the root; see Else.
func (h *Handler) Mount(mux *http.ServeMux) { mux.Handle("GET /cubejs-api/v1/ws", h) }

// Else returns a handler that accepts connections and leaves what is no handshake to page.
func (h *Handler) Else(page http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if handshake(r) {
			h.ServeHTTP(w, r)
			return
		}
		page.ServeHTTP(w, r)
	})
}

// handshake reports whether r asks for a WebSocket (RFC 6455 §4.1).
func handshake(r *http.Request) bool { return strings.EqualFold(r.Header.Get("Upgrade"), "websocket") }

// Run waits until ctx is done. Then new connections are refused, messages under way are answered within the grace, and
// every connection is closed. It returns nil when the last one is.
func (h *Handler) Run(ctx context.Context) error {
	<-ctx.Done()
	h.mu.Lock()
	h.stopped = true
	h.mu.Unlock()
	close(h.stop)
	h.open.Wait()
	return nil
}

// ServeHTTP accepts a connection and serves it until it ends.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !handshake(r) {
		h.cfg.API.Refuse(w, r, fault.New(fault.Invalid, "A WebSocket is opened here: GET with Upgrade: websocket."))
		return
	}
	address := users.AddressKey(h.cfg.ClientIP(r))
	if err := h.admit(address); err != nil {
		h.cfg.API.Refuse(w, r, err)
		return
	}
	defer h.leave()
	known, named := sync.OnceFunc(h.know), sync.OnceFunc(func() { h.name(address) })
	defer known()
	defer named()
	// The library would compare the origin with the host, which protects cookies. A page that has no token gets nothing.
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return // it has said so
	}
	ws.SetReadLimit(maxStranger)
	c := &conn{
		h: h, ws: ws, handshake: r, id: httpserver.RequestID(r.Context()), renewed: make(chan struct{}, 1), writing: make(chan struct{}, 1),
		address: address, known: known, named: named,
		underWay: map[string]*call{}, subscriptions: map[string]*subscription{},
	}
	c.serve(r.Context())
}

// admit counts one connection more, of a stranger, or says why there may be none.
func (h *Handler) admit(address string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.cfg.Off:
		return &fault.Error{Kind: fault.NotFound, Code: "web_sockets_off", Owner: fault.Admin, Detail: "WebSockets are switched off here. " +
			"Remove api.web_sockets: false, or CUBEJS_WEB_SOCKETS=false, to have them."}
	case h.stopped:
		return errStopping
	case h.count >= h.cfg.Connections || h.unknown >= h.cfg.Strangers:
		return &fault.Error{Kind: fault.Unavailable, Code: "too_many_connections", Owner: fault.Admin, RetryAfter: 10 * time.Second,
			Detail: "The server has as many WebSockets as it takes. Try again soon, or send the query over HTTP."}
	case address != "" && h.from[address] >= h.cfg.PerAddress:
		return &fault.Error{Kind: fault.TooMany, Code: "too_many_connections", Owner: fault.User, RetryAfter: 10 * time.Second,
			Detail: "Your address has as many WebSockets as one may have of callers who are not signed in. Authorize them, and try again soon."}
	}
	h.count++
	h.unknown++
	h.from[address]++
	h.open.Add(1)
	return nil
}

// know counts a connection as that of a stranger no more: it was authorised, or ended.
func (h *Handler) know() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unknown--
}

// name counts a connection as one of an address no more: its caller has a name, or it ended.
func (h *Handler) name(address string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.from[address]--; h.from[address] == 0 {
		delete(h.from, address)
	}
}

var errStopping = &fault.Error{Kind: fault.Unavailable, Code: "stopping", Detail: "The server is stopping. Connect again.", RetryAfter: time.Second}

func (h *Handler) leave() {
	h.mu.Lock()
	h.count--
	h.mu.Unlock()
	h.open.Done()
}

// claim counts a connection as one of p, or says that p has as many as they may have. Who has no name is counted by their
// address, or, where that is not known, as one with all the others.
func (h *Handler) claim(p securitycontext.Principal, address string) (release func(), err error) {
	if p.Anonymous() && address != "" {
		return func() {}, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.of[p.Key()] >= h.cfg.PerPrincipal {
		return nil, &fault.Error{Kind: fault.TooMany, Code: "too_many_connections", Owner: fault.User, Detail: "You have as many WebSockets as one caller may have. Close one, or send the query over HTTP."}
	}
	h.of[p.Key()]++
	return func() { h.release(p) }, nil
}

func (h *Handler) release(p securitycontext.Principal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.of[p.Key()]--; h.of[p.Key()] == 0 {
		delete(h.of, p.Key())
	}
}
