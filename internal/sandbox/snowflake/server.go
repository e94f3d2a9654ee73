// Package snowflake is an emulated Snowflake account: the JSON service that gosnowflake speaks, over the sandbox's
// engine.
//
//	login-request ──▶ session token (1 h), master token (4 h)
//	query-request ──▶ the result, or 333333 and a path to ask again ──▶ … ──▶ the result, and chunks to fetch
//	token-request ──▶ a new session token for the master token
//
// The OAuth token counts at login and never again, as at the real service: a session goes on when the token has
// expired or was revoked, until it is closed or its master token ends. All answers are HTTP 200; what went wrong is in
// the code of the body.
package snowflake

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/behalf-project/behalf/internal/sandbox/bearer"
	"github.com/behalf-project/behalf/internal/sandbox/engine"
	"github.com/behalf-project/behalf/internal/secret"
	"go.uber.org/zap"
)

// Config is what New needs. Engine is required; a way to log in without its field refuses everybody.
type Config struct {
	Engine *engine.Engine
	OAuth  bearer.Resolver // of AUTHENTICATOR OAUTH
	PAT    bearer.Resolver // of AUTHENTICATOR PROGRAMMATIC_ACCESS_TOKEN
	// Password says whether a user has that password, for logins without an AUTHENTICATOR of the above.
	Password func(user string, password secret.Text) bool
	// Role returns the role that a session of user has whose login names none, and all secondary roles that user has been
	// granted and that are active. Default: PUBLIC, and none.
	Role func(user string) (role string, secondary []string)
	Log  *zap.Logger // default: no logging
}

// The bounds of the account, and the lives that the real service gives.
const (
	maxBody      = 16 << 20
	maxSessions  = 10_000
	sessionLife  = time.Hour
	masterLife   = 4 * time.Hour
	queryLife    = 2 * time.Hour
	answerWithin = 2 * time.Second // after which a query answers 333333
	keepQueries  = 16              // finished ones of a session, for retries and chunks
	maxQueries   = 100             // of a session
)

// Server is the account. It is an http.Handler, and safe for concurrent use. Close it after its last request.
type Server struct {
	engine   *engine.Engine
	oauth    bearer.Resolver
	pat      bearer.Resolver
	password func(string, secret.Text) bool
	role     func(string) (string, []string)
	log      *zap.Logger

	running sync.WaitGroup // the queries' goroutines

	mu       sync.Mutex
	closed   bool
	lastID   int64
	sessions map[int64]*session
	byToken  map[string]*session // session and master tokens, hashed
	queries  map[string]*query   // by query id, of all sessions
	levers   levers
}

type session struct {
	id            int64
	user          string
	zone          *time.Location
	token         string // hashed
	expires       time.Time
	master        string // hashed
	masterExpires time.Time
	database      string
	schema        string
	warehouse     string
	role          string
	secondary     string            // roles, as CURRENT_SECONDARY_ROLES shows them
	requests      map[string]*query // by requestId
	order         []*query          // oldest first
}

// New returns an account over cfg.
func New(cfg Config) *Server {
	s := &Server{
		engine: cfg.Engine, oauth: cfg.OAuth, pat: cfg.PAT, password: cfg.Password, role: cfg.Role, log: cfg.Log,
		sessions: map[int64]*session{}, byToken: map[string]*session{}, queries: map[string]*query{},
	}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	if s.oauth == nil {
		s.oauth = bearer.Chain{}
	}
	if s.pat == nil {
		s.pat = bearer.Chain{}
	}
	if s.password == nil {
		s.password = func(string, secret.Text) bool { return false }
	}
	if s.role == nil {
		s.role = func(string) (string, []string) { return "PUBLIC", nil }
	}
	return s
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
	if s.takeFailure(w) {
		return
	}
	path := r.URL.Path
	switch {
	case r.Method == http.MethodPost && path == "/session/v1/login-request":
		s.login(w, r)
	case r.Method == http.MethodPost && path == "/session/token-request":
		s.renew(w, r)
	case r.Method == http.MethodPost && path == "/session/heartbeat":
		s.inSession(w, r, func(*session) { succeed(w, nil) })
	case r.Method == http.MethodPost && path == "/session" && r.URL.Query().Get("delete") == "true":
		s.inSession(w, r, func(found *session) {
			s.drop(func(other *session) bool { return other == found })
			succeed(w, nil)
		})
	case r.Method == http.MethodPost && path == "/queries/v1/query-request":
		s.inSession(w, r, func(found *session) { s.query(w, r, found) })
	case r.Method == http.MethodPost && path == "/queries/v1/abort-request":
		s.inSession(w, r, func(found *session) { s.abort(w, r, found) })
	case r.Method == http.MethodGet && strings.HasPrefix(path, "/queries/") && strings.HasSuffix(path, "/result"):
		s.inSession(w, r, func(found *session) { s.result(w, r, found) })
	case r.Method == http.MethodGet && strings.HasPrefix(path, "/chunks/"):
		s.chunk(w, r)
	case r.Method == http.MethodPost && path == "/telemetry/send":
		succeed(w, nil)
	default:
		http.NotFound(w, r)
	}
}

// envelope is the body of every answer. Code is null in a success.
type envelope struct {
	Success bool    `json:"success"`
	Code    *string `json:"code"`
	Message string  `json:"message"`
	Data    any     `json:"data"`
}

func succeed(w http.ResponseWriter, data any) { writeJSON(w, envelope{Success: true, Data: data}) }

func fail(w http.ResponseWriter, code, message string) {
	writeJSON(w, envelope{Code: &code, Message: message})
}

func writeJSON(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body)
}

// decode reads a body of JSON, or answers.
func decode(w http.ResponseWriter, r *http.Request, into any) bool {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err == nil {
		err = json.Unmarshal(body, into)
	}
	if err != nil {
		fail(w, "390142", "the body is no JSON that this request has, or too large")
	}
	return err == nil
}

type loginRequest struct {
	Data struct {
		LoginName         string         `json:"LOGIN_NAME"`
		Password          string         `json:"PASSWORD"`
		Authenticator     string         `json:"AUTHENTICATOR"`
		Token             string         `json:"TOKEN"`
		SessionParameters map[string]any `json:"SESSION_PARAMETERS"`
	} `json:"data"`
}

func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	var req loginRequest
	if !decode(w, r, &req) {
		return
	}
	user, code, message := s.whoLogsIn(req)
	if code != "" {
		s.log.Info("login refused", zap.String("user", user), zap.String("code", code))
		fail(w, code, message)
		return
	}
	zone := time.UTC
	for name, value := range req.Data.SessionParameters {
		if strings.EqualFold(name, "TIMEZONE") {
			var err error
			if zone, err = time.LoadLocation(fmt.Sprint(value)); err != nil {
				fail(w, "001007", fmt.Sprintf("invalid value [%v] for parameter 'TIMEZONE'", value))
				return
			}
		}
	}
	q := r.URL.Query()
	role, secondary := s.role(user)
	if named := q.Get("roleName"); named != "" {
		role = named
	}
	token, master := newToken(), newToken()
	now := time.Now()
	found := &session{
		user: user, zone: zone, token: token.Hash(), expires: now.Add(sessionLife), master: master.Hash(), masterExpires: now.Add(masterLife),
		database: q.Get("databaseName"), schema: q.Get("schemaName"), warehouse: q.Get("warehouse"), role: role, secondary: secondaryRoles(secondary), requests: map[string]*query{},
	}
	s.drop(func(old *session) bool { return now.After(old.masterExpires) })
	s.mu.Lock()
	full := s.closed || len(s.sessions) >= maxSessions
	if !full {
		s.lastID++
		found.id = s.lastID
		s.sessions[found.id], s.byToken[found.token], s.byToken[found.master] = found, found, found
	}
	s.mu.Unlock()
	if full {
		fail(w, "390142", "the sandbox has too many sessions")
		return
	}
	s.log.Info("session opened", zap.String("user", user))
	succeed(w, map[string]any{
		"token": token.Reveal(), "validityInSeconds": int(sessionLife / time.Second),
		"masterToken": master.Reveal(), "masterValidityInSeconds": int(masterLife / time.Second),
		"sessionId": found.id, "displayUserName": strings.ToUpper(user), "serverVersion": "9.0.0 sandbox",
		"parameters": []map[string]any{
			{"name": "TIMEZONE", "value": zone.String()},
			{"name": "CLIENT_TELEMETRY_ENABLED", "value": false},
			{"name": "CLIENT_SESSION_KEEP_ALIVE", "value": false},
		},
		"sessionInfo": map[string]any{"databaseName": found.database, "schemaName": found.schema, "warehouseName": found.warehouse, "roleName": found.role},
	})
}

// whoLogsIn returns whose login it is, or the code and the message of the refusal.
func (s *Server) whoLogsIn(req loginRequest) (user, code, message string) {
	name := req.Data.LoginName
	switch strings.ToUpper(req.Data.Authenticator) {
	case "OAUTH":
		h := s.oauth.Resolve(req.Data.Token)
		switch {
		case h.Status == bearer.Expired:
			return h.Name, "390318", "OAuth access token expired."
		case h.Status != bearer.Active:
			return h.Name, "390303", "Invalid OAuth access token."
		case name != "" && !strings.EqualFold(name, h.Name):
			return h.Name, "390309", "The user you were trying to authenticate as differs from the user tied to the access token."
		}
		return h.Name, "", ""
	case "PROGRAMMATIC_ACCESS_TOKEN":
		h := s.pat.Resolve(req.Data.Token)
		if h.Status != bearer.Active || name != "" && !strings.EqualFold(name, h.Name) {
			return h.Name, "394400", "Programmatic access token is invalid."
		}
		return h.Name, "", ""
	case "", "SNOWFLAKE":
		if !s.password(name, secret.New(req.Data.Password)) {
			return name, "390100", "Incorrect username or password was specified."
		}
		return name, "", ""
	}
	return name, "390137", "the sandbox logs in by OAUTH, PROGRAMMATIC_ACCESS_TOKEN or password"
}

// secondaryRoles writes the roles that are active beside that of a session as CURRENT_SECONDARY_ROLES does.
func secondaryRoles(active []string) string {
	shown := struct {
		Roles string `json:"roles"`
		Value string `json:"value"`
	}{Roles: strings.Join(active, ",")}
	if len(active) > 0 {
		shown.Value = "ALL"
	}
	text, _ := json.Marshal(shown) // two strings
	return string(text)
}

func newToken() secret.Text { return secret.New("ver:1-" + rand.Text() + rand.Text()) }

// session returns the session whose session token (or master token) r shows, or the code of the refusal.
func (s *Server) session(r *http.Request, master bool) (found *session, code, message string) {
	text, ok := strings.CutPrefix(r.Header.Get("Authorization"), `Snowflake Token="`)
	text, closed := strings.CutSuffix(text, `"`)
	if !ok || !closed {
		return nil, "390101", "Authorization header not found in the request data."
	}
	hash := secret.New(text).Hash()
	s.mu.Lock()
	defer s.mu.Unlock()
	found = s.byToken[hash]
	switch now := time.Now(); {
	case found == nil:
		return nil, "390111", "Session no longer exists. New login required to access the service."
	case master && hash != found.master, !master && hash != found.token:
		return nil, "390104", "Session token not found or invalid data."
	case master && !now.Before(found.masterExpires):
		return nil, "390114", "Authentication token has expired. The user must authenticate again."
	case !master && !now.Before(found.expires):
		return nil, "390112", "Your session has expired. Please login again."
	}
	return found, "", ""
}

func (s *Server) inSession(w http.ResponseWriter, r *http.Request, then func(*session)) {
	found, code, message := s.session(r, false)
	if code != "" {
		fail(w, code, message)
		return
	}
	then(found)
}

// renew gives a session new tokens for its master token.
func (s *Server) renew(w http.ResponseWriter, r *http.Request) {
	found, code, message := s.session(r, true)
	if code != "" {
		fail(w, code, message)
		return
	}
	token, master := newToken(), newToken()
	s.mu.Lock()
	now := time.Now()
	delete(s.byToken, found.token)
	delete(s.byToken, found.master)
	if s.sessions[found.id] == found { // not dropped meanwhile
		found.token, found.expires = token.Hash(), now.Add(sessionLife)
		found.master, found.masterExpires = master.Hash(), now.Add(masterLife)
		s.byToken[found.token], s.byToken[found.master] = found, found
	}
	s.mu.Unlock()
	succeed(w, map[string]any{
		"sessionToken": token.Reveal(), "validityInSecondsST": int(sessionLife / time.Second),
		"masterToken": master.Reveal(), "validityInSecondsMT": int(masterLife / time.Second), "sessionId": found.id,
	})
}

// drop forgets the sessions for which gone is true, ends what runs in them, and returns their number.
func (s *Server) drop(gone func(*session) bool) int {
	s.mu.Lock()
	var ended []*query
	n := 0
	for id, found := range s.sessions {
		if !gone(found) {
			continue
		}
		n++
		delete(s.sessions, id)
		delete(s.byToken, found.token)
		delete(s.byToken, found.master)
		for _, q := range found.order {
			delete(s.queries, q.id)
			ended = append(ended, q)
		}
	}
	s.mu.Unlock()
	for _, q := range ended {
		q.cancel(errCanceled)
		<-q.done
	}
	return n
}

// levers are the ways in which a test, or the demo, makes the account misbehave; Server.mu guards them.
type levers struct {
	failures   int
	failStatus int
	retryAfter time.Duration
	cuts       int
	polling    bool
}

// FailNext makes the next n requests fail with an HTTP status such as 503, before anything is done. A positive
// retryAfter is sent as Retry-After, in whole seconds.
func (s *Server) FailNext(n, status int, retryAfter time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.levers.failures, s.levers.failStatus, s.levers.retryAfter = n, status, retryAfter
}

// CutNext makes the service die in the middle of the next n queries: it runs them, and closes the connection instead of
// answering. The driver asks again with the same request id, and then gets the result.
func (s *Server) CutNext(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.levers.cuts = n
}

// SetPolling makes every query answer 333333 at first, however quick it is.
func (s *Server) SetPolling(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.levers.polling = on
}

// ExpireSessionTokens ends the session tokens of user, or of everybody for "". Clients renew with the master token.
func (s *Server) ExpireSessionTokens(user string) int { return s.expire(user, false) }

// ExpireMasterTokens ends the session and master tokens of user, or of everybody for "". Clients must log in again.
func (s *Server) ExpireMasterTokens(user string) int { return s.expire(user, true) }

func (s *Server) expire(user string, master bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, now := 0, time.Now()
	for _, found := range s.sessions {
		if user == "" || found.user == user {
			n++
			if found.expires = now; master {
				found.masterExpires = now
			}
		}
	}
	return n
}

// DropSessions forgets the sessions of user, or all of them for "", and what runs in them. It returns their number.
func (s *Server) DropSessions(user string) int {
	return s.drop(func(found *session) bool { return user == "" || found.user == user })
}

// KillRunning ends the queries of user, or all of them for "", as an administrator does. It returns their number.
func (s *Server) KillRunning(user string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, q := range s.queries {
		select {
		case <-q.done:
		default:
			if user == "" || q.user == user {
				q.cancel(errCanceled)
				n++
			}
		}
	}
	return n
}

// Sessions returns how many sessions user has, or how many there are for "".
func (s *Server) Sessions(user string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, found := range s.sessions {
		if user == "" || found.user == user {
			n++
		}
	}
	return n
}

func (s *Server) takeFailure(w http.ResponseWriter) bool {
	s.mu.Lock()
	l := s.levers
	if l.failures > 0 {
		s.levers.failures--
	}
	s.mu.Unlock()
	if l.failures <= 0 {
		return false
	}
	if l.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(l.retryAfter.Seconds()))))
	}
	http.Error(w, "the sandbox was told to fail", l.failStatus)
	return true
}
