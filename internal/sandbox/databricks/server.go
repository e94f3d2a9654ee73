// Package databricks is an emulated Databricks SQL warehouse: the Thrift service that databricks-sql-go speaks, over
// the sandbox's engine, with every request's bearer token checked.
//
//	OpenSession ──▶ ExecuteStatement ──direct results──▶ (closed)          a small result: one request
//	                       └─RUNNING─▶ GetOperationStatus … ──▶ FetchResults … ──▶ CloseOperation
//
// A session belongs to the identity that opened it; shown under anybody else's token it does not exist. Refusals are
// those of the real service as seen from outside: 401 without a known token, 403 for an expired or revoked one, 400
// with a header for a lost session, an operation in state ERROR with an SQLSTATE for a failed statement.
//
// The levers make a test's bad day: sessions dropped, answers of 429 and 503, statements that must be polled for,
// connections cut while a statement runs.
package databricks

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/behalf-project/behalf/internal/sandbox/bearer"
	"github.com/behalf-project/behalf/internal/sandbox/engine"
	"github.com/behalf-project/behalf/internal/sandbox/tbin"
	"go.uber.org/zap"
)

// Config is what New needs. Engine and Bearers are required.
type Config struct {
	Engine  *engine.Engine
	Bearers bearer.Resolver
	Log     *zap.Logger // default: no logging
}

// HTTPPath is a path of the warehouse. It answers on every path below /sql/, so that those of clusters work too.
const HTTPPath = "/sql/1.0/warehouses/sandbox"

// The bounds of the warehouse.
const (
	maxBody       = 16 << 20
	maxSessions   = 10_000
	maxOperations = 100             // of one session
	maxPage       = 100_000         // rows
	sessionIdle   = time.Hour       // after which a session may be dropped
	statementLife = 2 * time.Hour   // of a statement, fetching its rows included
	directWait    = 2 * time.Second // how long ExecuteStatement waits before it answers RUNNING
)

// Server is the warehouse. It is an http.Handler, and safe for concurrent use. Close it after its last request.
type Server struct {
	engine  *engine.Engine
	bearers bearer.Resolver
	log     *zap.Logger

	running sync.WaitGroup // the statements' goroutines

	mu         sync.Mutex
	closed     bool
	sessions   map[string]*session   // by GUID
	operations map[string]*operation // by GUID; each is in its session too
	levers     levers
}

type session struct {
	identity   bearer.Holder
	secret     []byte
	zone       *time.Location
	lastUse    time.Time
	operations map[string]*operation // by GUID
}

// New returns a warehouse over cfg.
func New(cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	return &Server{engine: cfg.Engine, bearers: cfg.Bearers, log: cfg.Log, sessions: map[string]*session{}, operations: map[string]*operation{}}
}

// Close cancels what runs, and returns when nothing does.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.DropSessions("")
	s.running.Wait()
	return nil
}

// ServeHTTP answers one request of a driver.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	holder, ok := s.authenticate(w, r)
	if !ok {
		return
	}
	switch path := r.URL.Path; {
	case strings.HasPrefix(path, "/sql/") && r.Method == http.MethodPost:
		if s.takeFailure(w) {
			return
		}
		s.thrift(w, r, holder)
	case strings.HasPrefix(path, "/api/2.0/connector-service/feature-flags/"):
		writeJSON(w, http.StatusOK, map[string]any{"flags": []any{}, "ttl_seconds": 900})
	case path == "/telemetry-ext":
		writeJSON(w, http.StatusOK, map[string]any{"errors": []any{}, "numProtoSuccess": 0})
	default:
		writeJSON(w, http.StatusNotFound, map[string]any{"error_code": "ENDPOINT_NOT_FOUND", "message": "No API found for '" + r.Method + " " + path + "'"})
	}
}

// authenticate resolves the bearer token of r, or answers.
func (s *Server) authenticate(w http.ResponseWriter, r *http.Request) (bearer.Holder, bool) {
	token, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !found {
		w.Header().Set("WWW-Authenticate", `Bearer realm="DatabricksRealm"`)
		writeJSON(w, http.StatusUnauthorized, map[string]any{"error_code": "401", "message": "Credential was not sent or was of an unsupported type for this API."})
		return bearer.Holder{}, false
	}
	h := s.bearers.Resolve(token)
	status, reason := http.StatusForbidden, ""
	switch h.Status {
	case bearer.Active:
		return h, true
	case bearer.Expired:
		reason = "Token is expired"
	case bearer.Revoked:
		reason = "Invalid access token"
	default:
		status, reason = http.StatusUnauthorized, "Invalid Token"
		w.Header().Set("WWW-Authenticate", `Bearer realm="DatabricksRealm", error="invalid_token"`)
	}
	s.log.Info("token refused", zap.String("user", h.Name), zap.Stringer("status", h.Status))
	w.Header().Set("X-Databricks-Reason-Phrase", reason)
	writeJSON(w, status, map[string]any{"error_code": strconv.Itoa(status), "message": reason})
	return bearer.Holder{}, false
}

// refusal is an answer that is no Thrift message: the service's front refuses the request.
type refusal struct {
	status int
	reason string // of the header X-Thriftserver-Error-Message
}

func (e *refusal) Error() string { return e.reason }

var errCut = errors.New("the connection is cut")

func (s *Server) thrift(w http.ResponseWriter, r *http.Request, h bearer.Holder) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "the request is too large or was cut short", http.StatusRequestEntityTooLarge)
		return
	}
	m, err := tbin.ReadMessage(body)
	if err != nil || m.Type != tbin.Call {
		http.Error(w, "the body is no Thrift call", http.StatusBadRequest)
		return
	}
	result, err := s.call(r, h, m)
	var answer []byte
	refused, isRefusal := errors.AsType[*refusal](err)
	switch {
	case errors.Is(err, errCut):
		panic(http.ErrAbortHandler) // closes the connection without an answer
	case isRefusal:
		w.Header().Set("X-Thriftserver-Error-Message", refused.reason)
		http.Error(w, refused.reason, refused.status)
		return
	case err != nil:
		answer = tbin.AppendMessage(nil, tbin.Exception, m.Name, m.Seq, tbin.ApplicationException{Message: err.Error(), Type: tbin.ProtocolError})
	case result == nil:
		answer = tbin.AppendMessage(nil, tbin.Exception, m.Name, m.Seq, tbin.ApplicationException{
			Message: fmt.Sprintf("Invalid method name: %q", m.Name), Type: tbin.UnknownMethod})
	default:
		answer = tbin.AppendMessage(nil, tbin.Reply, m.Name, m.Seq, result)
	}
	w.Header().Set("Content-Type", "application/x-thrift")
	w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
	_, _ = w.Write(answer)
}

// reply is the result struct of every method: the response is field 0.
type reply[T any] struct {
	Success *T `thrift:"0"`
}

// method decodes the arguments of a call (the request is field 1), runs it and wraps its response.
func method[Req, Resp any](body []byte, run func(*Req) (*Resp, error)) (any, error) {
	var args struct {
		Req *Req `thrift:"1"`
	}
	if err := tbin.Decode(body, &args); err != nil {
		return nil, err
	}
	if args.Req == nil {
		return nil, errors.New("the call has no request")
	}
	resp, err := run(args.Req)
	if err != nil {
		return nil, err
	}
	return reply[Resp]{resp}, nil
}

// call runs a method. Its result is nil for a method that does not exist.
func (s *Server) call(r *http.Request, h bearer.Holder, m tbin.Message) (any, error) {
	switch m.Name {
	case "OpenSession":
		return method(m.Body, func(req *openSessionReq) (*openSessionResp, error) { return s.openSession(h, req) })
	case "CloseSession":
		return method(m.Body, func(req *closeSessionReq) (*statusResp, error) { return s.closeSession(h, req) })
	case "ExecuteStatement":
		return method(m.Body, func(req *executeStatementReq) (*executeStatementResp, error) {
			return s.executeStatement(r.Context(), h, req)
		})
	case "GetOperationStatus":
		return method(m.Body, func(req *operationReq) (*operationStatusResp, error) { return s.operationStatus(h, req) })
	case "GetResultSetMetadata":
		return method(m.Body, func(req *operationReq) (*metadataResp, error) { return s.metadata(h, req) })
	case "FetchResults":
		return method(m.Body, func(req *fetchResultsReq) (*fetchResultsResp, error) { return s.fetchResults(h, req) })
	case "CancelOperation":
		return method(m.Body, func(req *operationReq) (*statusResp, error) { return s.endOperation(h, req, false) })
	case "CloseOperation":
		return method(m.Body, func(req *operationReq) (*statusResp, error) { return s.endOperation(h, req, true) })
	}
	return nil, nil
}

func (s *Server) openSession(h bearer.Holder, req *openSessionReq) (*openSessionResp, error) {
	zone := time.UTC
	for name, value := range req.Configuration {
		if strings.EqualFold(name, "timezone") {
			var err error
			if zone, err = time.LoadLocation(value); err != nil {
				return &openSessionResp{Protocol: protocolV8, Status: status{Code: statusError, SQLState: "22023",
					ErrorMessage: fmt.Sprintf("[INVALID_CONF_VALUE.TIME_ZONE] The value %q in the config \"timezone\" is invalid.", value)}}, nil
			}
		}
	}
	id := newHandle()
	now := time.Now()
	s.mu.Lock()
	var stale []*operation
	for guid, old := range s.sessions {
		if now.Sub(old.lastUse) > sessionIdle {
			stale = append(stale, s.forget(guid)...)
		}
	}
	full := s.closed || len(s.sessions) >= maxSessions
	if !full {
		s.sessions[string(id.GUID)] = &session{identity: h, secret: id.Secret, zone: zone, lastUse: now, operations: map[string]*operation{}}
	}
	s.mu.Unlock()
	for _, op := range stale {
		op.close()
	}
	if full {
		return nil, &refusal{http.StatusServiceUnavailable, "TEMPORARILY_UNAVAILABLE: the warehouse has too many sessions"}
	}
	s.log.Info("session opened", zap.String("user", h.Name))
	return &openSessionResp{Protocol: protocolV8, Session: &sessionHandle{id}, Configuration: map[string]string{}}, nil
}

func (s *Server) closeSession(h bearer.Holder, req *closeSessionReq) (*statusResp, error) {
	s.mu.Lock()
	var gone []*operation
	_, err := s.find(h, req.Session.ID)
	if err == nil {
		gone = s.forget(string(req.Session.ID.GUID))
	}
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	for _, op := range gone {
		op.close()
	}
	return &statusResp{}, nil
}

// find returns the session id of h; s.mu is held. One of another identity is as unknown as one that never was.
func (s *Server) find(h bearer.Holder, id handleID) (*session, error) {
	found := s.sessions[string(id.GUID)]
	if found == nil || string(found.secret) != string(id.Secret) || found.identity.Name != h.Name || found.identity.Service != h.Service {
		return nil, &refusal{http.StatusBadRequest, "Invalid SessionHandle: SessionHandle [" + guid(id) + "]"}
	}
	found.lastUse = time.Now()
	return found, nil
}

// forget removes a session and returns its operations, for the caller to close after s.mu; s.mu is held.
func (s *Server) forget(guid string) []*operation {
	found := s.sessions[guid]
	if found == nil {
		return nil
	}
	delete(s.sessions, guid)
	gone := make([]*operation, 0, len(found.operations))
	for guid, op := range found.operations {
		gone = append(gone, op)
		delete(s.operations, guid)
	}
	return gone
}

func newHandle() handleID {
	id := handleID{GUID: make([]byte, 16), Secret: make([]byte, 16)}
	_, _ = rand.Read(id.GUID) // never fails
	_, _ = rand.Read(id.Secret)
	id.GUID[6], id.GUID[8] = id.GUID[6]&0x0f|0x40, id.GUID[8]&0x3f|0x80 // a UUID of version 4: the driver prints it
	return id
}

func guid(id handleID) string {
	if len(id.GUID) != 16 {
		return hex.EncodeToString(id.GUID)
	}
	b := id.GUID
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
