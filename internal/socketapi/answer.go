package socketapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/coder/websocket"
)

// answer takes what the query API answers to one message. From the first byte on until it is sent or dropped it has the
// connection's turn to write, so that one answer of a connection is in memory and the others wait unwritten.
type answer struct {
	c      *conn
	id     messageID
	header http.Header
	code   int
	body   []byte
}

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(code int) {
	if a.code != 0 {
		return
	}
	a.c.writing.Lock()
	a.code = code
	if n, err := strconv.Atoi(a.header.Get("Content-Length")); err == nil {
		a.body = make([]byte, 0, n)
	}
}

// Write implements http.ResponseWriter.
func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	a.body = append(a.body, p...)
	return len(p), nil
}

// drop gives the turn to write back.
func (a *answer) drop() {
	if a.code != 0 {
		a.code, a.body = 0, nil
		a.c.writing.Unlock()
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
	if a.c.write(head, a.body, []byte("}")) == nil && done && a.id.json != nil {
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
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = c.write([]byte(text)) // who is not there any more does not read it
}

// waits reports whether the answer is that there is none yet (cube-rest-api.md §6).
func (a *answer) waits() bool {
	var wait struct{ Error string }
	return a.code == http.StatusOK && bytes.HasPrefix(a.body, []byte(`{"error":`)) && json.Unmarshal(a.body, &wait) == nil && wait.Error == "Continue wait"
}

// passing are the members of an answer that change while the result stays: when it was fetched and how, and which
// request asked.
var passing = []string{"lastRefreshTime", "cached", "slowQuery", "requestId"}

// essence returns the digest of what an answer says, so that a subscriber is told when that changed.
func (a *answer) essence() [sha256.Size]byte {
	digest := sha256.New()
	digest.Write(strconv.AppendInt(nil, int64(a.code), 10))
	add := func(members map[string]json.RawMessage) {
		for _, name := range slices.Sorted(maps.Keys(members)) {
			if !slices.Contains(passing, name) {
				digest.Write(strconv.AppendQuote(nil, name))
				digest.Write(members[name])
			}
		}
	}
	var all map[string]json.RawMessage
	if json.Unmarshal(a.body, &all) != nil {
		return sha256.Sum256(a.body)
	}
	var results []map[string]json.RawMessage
	if json.Unmarshal(all["results"], &results) == nil {
		delete(all, "results")
		for _, r := range results {
			add(r)
		}
	}
	add(all)
	return [sha256.Size]byte(digest.Sum(nil))
}
