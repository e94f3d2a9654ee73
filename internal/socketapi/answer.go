package socketapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"hash"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/coder/websocket"
)

// answer takes what the query API answers to one message. From the first byte on until it is sent or dropped it has the
// connection's turn to write, so that one answer of a connection is in memory and the others wait unwritten.
type answer struct {
	c       *conn
	id      messageID
	header  http.Header
	code    int
	body    [][]byte // in pieces, which are never moved
	size    int64    // of it
	counted bool     // the memory of the body is the caller's
	held    int64    // so much of it was
	failed  error    // why there is no whole body
}

// largestPiece bounds the pieces of an answer. They grow up to it, so that a small answer takes little.
const largestPiece = 64 << 10

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(code int) {
	if a.code == 0 {
		a.c.writing <- struct{}{}
		a.code = code
	}
}

// Write implements http.ResponseWriter. It fails when there is no memory for more.
func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	if a.failed != nil {
		return 0, a.failed
	}
	for rest := p; len(rest) > 0; {
		var last []byte
		if n := len(a.body); n > 0 {
			last = a.body[n-1]
		}
		if len(last) == cap(last) {
			last = make([]byte, 0, min(max(len(rest), 2*cap(last)), largestPiece))
			if err := a.hold(int64(cap(last))); err != nil {
				a.fail(err)
				return 0, err
			}
			a.body = append(a.body, last)
		}
		n := min(len(rest), cap(last)-len(last))
		a.body[len(a.body)-1] = append(last, rest[:n]...)
		a.size, rest = a.size+int64(n), rest[n:]
	}
	return len(p), nil
}

// hold counts n bytes more of the caller's memory, or says why not.
func (a *answer) hold(n int64) error {
	if !a.counted {
		return nil
	}
	if err := a.c.h.cfg.Memory.Hold(a.c.caller, n); err != nil {
		return err
	}
	a.held += n
	return nil
}

// fail keeps why there is no whole body; the first reason counts.
func (a *answer) fail(err error) {
	if a.failed == nil {
		a.failed = err
	}
}

// drop gives the memory and the turn to write back.
func (a *answer) drop() {
	if a.code != 0 {
		if a.held > 0 {
			a.c.h.cfg.Memory.LetGo(a.c.caller, a.held)
		}
		a.code, a.body, a.size, a.held = 0, nil, 0, 0
		<-a.c.writing
	}
}

// send writes the answer to the client, and that the message is done with, if it is. It gives the turn to write back.
func (a *answer) send(ctx context.Context, done bool) {
	defer a.drop()
	if a.code == 0 || ctx.Err() != nil {
		return
	}
	head := []byte("{")
	if a.id.json != nil {
		head = append(append(append(head, `"messageId":`...), a.id.json...), ',')
	}
	head = append(strconv.AppendInt(append(head, `"status":`...), int64(a.code), 10), `,"message":`...)
	if a.c.write(slices.Concat([][]byte{head}, a.body, [][]byte{[]byte("}")})...) == nil && done && a.id.json != nil {
		_ = a.c.write([]byte(`{"messageProcessedId":`), a.id.json, []byte("}"))
	}
}

// write writes one message. The caller has the turn to write. A client that takes nothing for a while loses its
// connection, as over HTTP.
func (c *conn) write(parts ...[]byte) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.handshake.Context())) // a message that is begun is finished
	defer cancel()
	watch := time.AfterFunc(stall, cancel)
	defer watch.Stop()
	w, err := c.ws.Writer(ctx, websocket.MessageText)
	if err != nil {
		return err
	}
	for _, part := range parts {
		for piece := range slices.Chunk(part, 64<<10) {
			if _, err := w.Write(piece); err != nil {
				return err
			}
			watch.Reset(stall)
		}
	}
	return w.Close()
}

// say writes a short message of ours.
func (c *conn) say(text string) {
	c.writing <- struct{}{}
	defer func() { <-c.writing }()
	_ = c.write([]byte(text)) // who is not there any more does not read it
}

// waits reports whether the answer is that there is none yet (cube-rest-api.md §6).
func (a *answer) waits() bool {
	var wait struct{ Error string }
	return a.code == http.StatusOK && len(a.body) == 1 && bytes.HasPrefix(a.body[0], []byte(`{"error":`)) &&
		json.Unmarshal(a.body[0], &wait) == nil && wait.Error == "Continue wait"
}

// essence returns the digest of what an answer says, so that a subscriber is told when that changed.
func (a *answer) essence() [sha256.Size]byte {
	e := essence{digest: sha256.New()}
	e.digest.Write(strconv.AppendInt(nil, int64(a.code), 10))
	for _, piece := range a.body {
		e.add(piece)
	}
	return [sha256.Size]byte(e.digest.Sum(nil))
}

// passing are the members of an answer, and of each of its results, that change while the result stays: when it was
// fetched and how, and which request asked.
var passing = []string{"lastRefreshTime", "cached", "slowQuery", "requestId"}

// essence digests JSON as it comes, without the values of passing members. It keeps none of it: an answer may be as large
// as there is memory for.
type essence struct {
	digest  hash.Hash
	depth   int    // of objects and arrays
	text    bool   // within a string
	escaped bool   // after a backslash
	word    []byte // how the last string of an answer or a result begins
	results bool   // within the results
	skips   bool   // within a passing member
}

// add digests the next piece.
func (e *essence) add(piece []byte) {
	from := 0 // of what is not digested yet
	for i, c := range piece {
		did := e.skips
		e.step(c)
		switch {
		case e.skips && !did:
			e.digest.Write(piece[from:i])
		case did && !e.skips:
			from = i
		}
		if e.skips {
			from = i + 1
		}
	}
	e.digest.Write(piece[from:])
}

// step goes one byte on.
func (e *essence) step(c byte) {
	members := e.depth == 1 || e.depth == 3 && e.results
	switch {
	case e.text && e.escaped:
		e.escaped = false
	case e.text && c == '\\':
		e.escaped = true
	case c == '"':
		if e.text = !e.text; e.text {
			e.word = e.word[:0]
		}
	case e.text:
		if members && len(e.word) < 32 {
			e.word = append(e.word, c)
		}
	case c == '{' || c == '[':
		e.depth++
	case c == '}' || c == ']':
		e.depth--
		e.skips = e.skips && !members
	case c == ',' && members:
		e.skips = false
	case c == ':' && members:
		e.skips = slices.Contains(passing, string(e.word))
		if e.depth == 1 {
			e.results = string(e.word) == "results"
		}
	}
}
