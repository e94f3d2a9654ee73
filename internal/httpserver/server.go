// Package httpserver listens: it accepts connections, gives every request an id, a deadline for its headers, a line
// in the log and a net under its panics, and stops gracefully.
//
// It knows no route. The front doors mount theirs on one ServeMux, and cmd hands it to New.
package httpserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/id"
	"go.uber.org/zap"
)

// Config is what a Server needs. Handler and Listener are required.
type Config struct {
	Name     string // of the listener, in the log: "public", "admin"
	Listener net.Listener
	Handler  http.Handler
	HTTPS    bool          // clients come over https: they are told to do so for a year (RFC 6797), by every answer
	Grace    time.Duration // how long running requests may take after the end was asked for; default 30 s
	Observe  []Observer    // hear of every request, in this order; default: nobody hears
	Stall    time.Duration // how long a client may take no more of its answer before it is cut; default 30 s
	Log      *zap.Logger   // default: no logging
	Now      func() time.Time
}

// Observer hears that r begins, whose context is ctx. It returns the context of what belongs to it, and what is called once
// when it was answered: with the path of its route, a pattern that holds nothing of the request, and the status. Both return
// at once.
type Observer func(ctx context.Context, r *http.Request) (context.Context, func(route string, status int))

// Server serves one listener.
type Server struct {
	cfg  Config
	http *http.Server
}

// New returns a Server over cfg. It starts nothing; see Run.
func New(cfg Config) *Server {
	if cfg.Grace == 0 {
		cfg.Grace = 30 * time.Second
	}
	if cfg.Stall == 0 {
		cfg.Stall = 30 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Server{cfg: cfg}
	s.http = &http.Server{
		Handler:           s.wrap(cfg.Handler),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       2 * time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          zap.NewStdLog(cfg.Log.Named("http").WithOptions(zap.IncreaseLevel(zap.ErrorLevel))),
	}
	return s
}

// Run serves until ctx is done, then refuses new connections, lets running requests finish within the grace, and
// cuts what is left. It returns nil after an orderly stop, and the error of the listener otherwise.
func (s *Server) Run(ctx context.Context) error {
	// Requests outlive ctx by the grace: their contexts end when the clients go, or when Close cuts them.
	s.http.BaseContext = func(net.Listener) context.Context { return context.WithoutCancel(ctx) }
	failed := make(chan error, 1)
	go func() { failed <- s.http.Serve(s.cfg.Listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve %s: %w", s.cfg.Name, err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Grace)
	defer cancel()
	if err := s.http.Shutdown(stop); err != nil {
		s.cfg.Log.Warn("requests cut at the end of the grace", zap.String("listener", s.cfg.Name))
		_ = s.http.Close()
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", s.cfg.Name, err)
	}
	return nil
}

// RequestID returns the id of the request that ctx belongs to, or "" outside a request.
func RequestID(ctx context.Context) string { return audit.RequestID(ctx) }

// wrap puts the id, the log line and the net under panics around next.
func (s *Server) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := s.cfg.Now()
		requestID := requestID(r, started)
		w.Header().Set("X-Request-Id", requestID)
		w.Header().Set("X-Content-Type-Options", "nosniff") // on every answer, whoever writes it
		if s.cfg.HTTPS {
			w.Header().Set("Strict-Transport-Security", "max-age=31536000")
		}
		rec := &recorder{ResponseWriter: w, control: http.NewResponseController(w), stall: s.cfg.Stall}
		rec.extend()
		defer rec.extend() // what is still in the buffer
		ctx := audit.WithRequest(r.Context(), requestID)
		var observed []func(route string, status int)
		for _, observe := range s.cfg.Observe {
			var done func(route string, status int)
			ctx, done = observe(ctx, r)
			observed = append(observed, done)
		}
		defer func() {
			cut := false
			if cause := recover(); cause != nil {
				cut = s.recovered(rec, r, requestID, cause)
			}
			what := "request"
			if cut {
				what = "request cut"
			}
			for _, done := range observed {
				done(path(r), rec.status())
			}
			s.cfg.Log.Info(what, zap.String("listener", s.cfg.Name), audit.Request(ctx),
				zap.String("method", r.Method), zap.String("route", route(r)), zap.Int("status", rec.status()),
				zap.Int64("bytes", rec.bytes), zap.Duration("took", s.cfg.Now().Sub(started)))
			if cut {
				panic(http.ErrAbortHandler) // net/http's own way to cut a connection
			}
		}()
		*r = *r.WithContext(ctx) // in place: the mux leaves the pattern in r
		next.ServeHTTP(rec, r)
	})
}

// recovered answers a request whose handler panicked. The value goes to the log, which alone may see it. It reports
// whether the connection must be cut, because the handler wants that or its answer had begun: an answer without a length
// would end as if it were whole.
func (s *Server) recovered(rec *recorder, r *http.Request, requestID string, cause any) (cut bool) {
	if err, ok := cause.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		return true
	}
	s.cfg.Log.Error("panic in a handler", zap.String("request_id", requestID), zap.String("route", route(r)),
		zap.Any("panic", cause), zap.Stack("stack"))
	if rec.code != 0 {
		return true
	}
	rec.Header().Set("Content-Type", "application/json")
	rec.WriteHeader(http.StatusInternalServerError)
	fmt.Fprintf(rec, `{"error":"Internal Server Error","code":"internal","requestId":%q}`+"\n", requestID)
	return false
}

// route names the route of r for logs: the pattern that matched, and never the path or query, which may hold a code,
// a state or a magic link.
func route(r *http.Request) string {
	if r.Pattern != "" {
		return r.Pattern
	}
	return "unmatched"
}

// path is the route without its method.
func path(r *http.Request) string {
	if _, path, ok := strings.Cut(r.Pattern, " "); ok {
		return path
	}
	return route(r)
}

// requestID returns the id that the client sent, if it is one we can repeat safely, or else its traceparent, or a
// new one in Cube's form (cube-rest-api.md §1.1).
func requestID(r *http.Request, now time.Time) string {
	for _, name := range []string{"X-Request-Id", "Traceparent"} {
		if v := r.Header.Get(name); v != "" && len(v) <= 128 && !strings.ContainsFunc(v, unprintable) {
			return v
		}
	}
	return id.New("req", now) + "-span-1"
}

func unprintable(c rune) bool { return c <= ' ' || c > '~' || c == '"' || c == '\\' || c == '<' }

// recorder remembers what was answered, for the log, and ends with the client that stops reading: an answer is held in
// memory until it was taken. There is no deadline for the whole, because a query may wait and a result may be large.
type recorder struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
	code    int
	bytes   int64
}

// extend gives the client another while to take what is written next.
func (r *recorder) extend() {
	_ = r.control.SetWriteDeadline(time.Now().Add(r.stall)) // a connection that knows none is a test's
}

func (r *recorder) status() int {
	if r.code == 0 {
		return http.StatusOK
	}
	return r.code
}

// WriteHeader remembers the first final status.
func (r *recorder) WriteHeader(code int) {
	if r.code == 0 && code >= 200 {
		r.code = code
	}
	r.extend()
	r.ResponseWriter.WriteHeader(code)
}

// piece is how much a client must take within Config.Stall.
const piece = 64 << 10

// Write counts the bytes, and writes them in pieces, each with its own deadline.
func (r *recorder) Write(p []byte) (n int, err error) {
	if r.code == 0 {
		r.code = http.StatusOK
	}
	for first := true; err == nil && (first || n < len(p)); first = false {
		var wrote int
		r.extend()
		wrote, err = r.ResponseWriter.Write(p[n:min(len(p), n+piece)])
		n += wrote
	}
	r.bytes += int64(n)
	return n, err
}

// Unwrap gives http.ResponseController the writer beneath, for flushing and deadlines.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
