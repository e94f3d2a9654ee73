package databricks

import (
	"math"
	"net/http"
	"strconv"
	"time"
)

// levers are the ways in which a test, or the demo, makes the warehouse misbehave; Server.mu guards them.
type levers struct {
	failures   int
	failStatus int
	retryAfter time.Duration
	cuts       int
	polling    bool
	lostStatus bool
}

// FailNext makes the next n calls fail with an HTTP status such as 429 or 503, before anything is done. A positive
// retryAfter is sent as Retry-After, in whole seconds.
func (s *Server) FailNext(n, status int, retryAfter time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.levers.failures, s.levers.failStatus, s.levers.retryAfter = n, status, retryAfter
}

// CutNext makes the warehouse die in the middle of the next n statements: it runs them, and closes the connection
// instead of answering.
func (s *Server) CutNext(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.levers.cuts = n
}

// SetPolling makes every statement answer RUNNING at first, however quick it is, so that clients must poll.
func (s *Server) SetPolling(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.levers.polling = on
}

// SetLostSessionsAsStatus chooses how an unknown session is answered at ExecuteStatement: by a Thrift status of ERROR,
// which some deployments send, or as by default by HTTP 400.
func (s *Server) SetLostSessionsAsStatus(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.levers.lostStatus = on
}

// DropSessions forgets the sessions of name, or all of them for "", and what runs in them. It returns their number.
func (s *Server) DropSessions(name string) int {
	s.mu.Lock()
	var gone []*operation
	n := 0
	for guid, found := range s.sessions {
		if name == "" || found.identity.Name == name {
			gone = append(gone, s.forget(guid)...)
			n++
		}
	}
	s.mu.Unlock()
	for _, op := range gone {
		op.close()
	}
	return n
}

// KillRunning ends the statements of name, or all of them for "", as an administrator does: they end in state ERROR.
// It returns their number.
func (s *Server) KillRunning(name string) int {
	s.mu.Lock()
	var victims []*operation
	for _, found := range s.sessions {
		if name == "" || found.identity.Name == name {
			for _, op := range found.operations {
				victims = append(victims, op)
			}
		}
	}
	s.mu.Unlock()
	n := 0
	for _, op := range victims {
		if op.kill() {
			n++
		}
	}
	return n
}

// Sessions returns how many sessions name has, or how many there are for "".
func (s *Server) Sessions(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, found := range s.sessions {
		if name == "" || found.identity.Name == name {
			n++
		}
	}
	return n
}

// takeFailure answers with the failure that is set, if one is left.
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
	w.Header().Set("X-Databricks-Reason-Phrase", "TEMPORARILY_UNAVAILABLE")
	writeJSON(w, l.failStatus, map[string]any{"error_code": "TEMPORARILY_UNAVAILABLE", "message": "the sandbox was told to fail"})
	return true
}
