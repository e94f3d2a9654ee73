package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// socket is a WebSocket of a person.
type socket struct {
	w  *world
	ws *websocket.Conn
}

// socket opens a WebSocket as Cube's client does, and authorises it.
func (w *world) socket(token string) *socket {
	w.t.Helper()
	ws, _, err := websocket.Dial(w.t.Context(), strings.Replace(w.base, "http", "ws", 1)+"/", nil)
	w.must(err)
	w.t.Cleanup(func() { _ = ws.CloseNow() })
	ws.SetReadLimit(-1)
	s := &socket{w, ws}
	s.send(`{"authorization":"` + token + `"}`)
	if got, err := s.next(); err != nil || !got.Handshake {
		w.t.Fatalf("the authorization is answered %+v, %v", got, err)
	}
	return s
}

func (s *socket) send(text string) {
	s.w.t.Helper()
	s.w.must(s.ws.Write(s.w.t.Context(), websocket.MessageText, []byte(text)))
}

// said is a message of the server.
type said struct {
	Handshake bool
	MessageID json.RawMessage
	Status    int
	Message   loaded
}

func (s *socket) next() (m said, err error) {
	_, data, err := s.ws.Read(s.w.t.Context())
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	return m, err
}

// asks sends a message and returns its answer.
func (s *socket) asks(method, query string) said {
	s.w.t.Helper()
	s.send(`{"messageId":1,"method":"` + method + `","params":{"query":` + query + `}}`)
	for {
		switch m, err := s.next(); {
		case err != nil:
			s.w.t.Fatal(err)
		case m.MessageID != nil && m.Message.Error != "Continue wait":
			return m
		}
	}
}

func TestAWebSocketIsItsPersons(t *testing.T) {
	w := newWorld(t, worldConfig{})
	w.connect(w.alice, "databricks")
	alice, bob := w.socket(w.sign("alice")), w.socket(w.sign("bob"))
	got := alice.asks("load", atDatabricks)
	asked{loaded: got.Message, status: got.Status}.ran(t, "user", "alice")
	refused := bob.asks("load", atDatabricks)
	asked{loaded: refused.Message, status: refused.Status}.refused(t, http.StatusForbidden, "authorization_required")
	if got := alice.asks("subscribe", atDatabricks); got.Status != http.StatusOK {
		t.Errorf("subscribe = %+v", got)
	}

	// Bob lacks a grant and may go on asking. Alice loses her account, and with it the connection.
	if again := bob.asks("load", atDatabricks); again.Status != http.StatusForbidden {
		t.Errorf("bob is answered %+v", again)
	}
	u, err := w.server.people.ByUsername(t.Context(), "alice")
	w.must(err)
	ended := alice.ends()
	w.must(w.server.people.Disable(t.Context(), u.ID, "test"))
	if got := <-ended; got != websocket.StatusPolicyViolation {
		t.Errorf("the connection of alice, who is disabled, ends with %v", got)
	}

	ended = bob.ends()
	w.restart()
	if got := <-ended; got != websocket.StatusGoingAway {
		t.Errorf("at the stop bob's connection ends with %v", got)
	}
}

// ends reads until the connection ends, and returns how.
func (s *socket) ends() <-chan websocket.StatusCode {
	ended := make(chan websocket.StatusCode, 1)
	go func() {
		for {
			if _, err := s.next(); err != nil {
				ended <- websocket.CloseStatus(err)
				return
			}
		}
	}()
	return ended
}
