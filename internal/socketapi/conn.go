package socketapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/coder/websocket"
	"go.uber.org/zap"
)

// conn is one connection. Its goroutines are those of serve: one reads, one keeps the time, and one for each message
// under way and each subscription.
type conn struct {
	h         *Handler
	ws        *websocket.Conn
	handshake *http.Request // what rules and hooks see of every request
	id        string        // of the handshake's request
	renewed   chan struct{} // the end of the token changed
	address   string        // "" where it is not known
	known     func()        // says that this is no stranger's
	named     func()        // and that its caller has a name

	writing chan struct{} // the turn to write, which is in it while it is taken

	mu            sync.Mutex
	token         *secret.Text // nil until authorised
	caller        securitycontext.Principal
	release       func()           // its place among the caller's connections
	ends          time.Time        // the token's end; zero: it has none
	underWay      map[string]*call // messages that have no answer yet, by id
	begun         int              // messages whose goroutine runs
	subscriptions map[string]*subscription
	followed      int // subscriptions whose goroutine runs
	draining      bool
	tasks         sync.WaitGroup // messages and subscriptions; nothing is added while draining
}

// errStranger is Cube's refusal of whoever has not authorised the connection.
var errStranger = &fault.Error{Kind: fault.Denied, Code: "not_authorized", Owner: fault.User, Detail: "Not authorized"}

// serve reads messages until the connection ends, and waits for all that it started.
func (c *conn) serve(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	var keeper sync.WaitGroup
	keeper.Go(func() { c.keep(ctx) })
	c.read(ctx)
	cancel()
	_ = c.ws.CloseNow()
	c.drain()
	c.tasks.Wait()
	keeper.Wait()
	if c.token != nil {
		c.release()
	}
}

// read takes messages until there are no more.
func (c *conn) read(ctx context.Context) {
	for {
		kind, data, err := c.ws.Read(ctx)
		if err != nil {
			return
		}
		if kind != websocket.MessageText {
			_ = c.ws.Close(websocket.StatusUnsupportedData, "Messages are JSON text.")
			return
		}
		switch m, err := decode(data); {
		case err != nil:
			c.refuse(ctx, m.id, err)
		case m.token != nil:
			c.authorize(ctx, *m.token)
		case m.ends:
			c.mu.Lock()
			c.end(m.id)
			c.mu.Unlock()
		default:
			c.begin(ctx, m)
		}
	}
}

// refuse answers a message with an error.
func (c *conn) refuse(ctx context.Context, id messageID, err error) {
	a := c.answer(id)
	c.h.cfg.API.Refuse(a, c.request(ctx, message{}, 0), err)
	a.send(ctx, false)
}

func (c *conn) answer(id messageID) *answer { return &answer{c: c, id: id, header: http.Header{}} }

// authorize verifies the token of the caller. Another one of the same caller takes the place of the first, so that a
// connection can outlive a token; somebody else needs a connection of their own.
func (c *conn) authorize(ctx context.Context, token secret.Text) {
	sc, err := c.verify(c.requestWith(ctx, token, message{}, 0))
	if err == nil && c.token != nil && sc.Principal != c.caller {
		err = fault.New(fault.Denied, "This connection is somebody else's. Open another one.")
	}
	if err == nil && c.token == nil {
		c.release, err = c.h.claim(sc.Principal, c.address)
	}
	if err != nil {
		c.refuse(ctx, messageID{}, err) // and the client may try another token, until the time for that is over
		return
	}
	c.known()
	if !sc.Principal.Anonymous() {
		c.named()
	}
	c.mu.Lock()
	if c.token == nil {
		c.caller = sc.Principal // which never changes
	}
	c.token, c.ends = &token, end(sc.Claims)
	c.mu.Unlock()
	c.ws.SetReadLimit(maxMessage)
	select {
	case c.renewed <- struct{}{}:
	default: // the keeper has not looked yet
	}
	c.say(`{"handshake":true}`)
}

// end returns when claims end (RFC 7519 §4.1.4), and zero where they do not say.
func end(claims map[string]any) time.Time {
	switch exp := claims["exp"].(type) {
	case int64:
		return time.Unix(exp, 0)
	case float64:
		return time.Unix(int64(exp), 0)
	}
	return time.Time{}
}

// verify is API.Verify in a goroutine of ours, where a panic would end the process.
func (c *conn) verify(r *http.Request) (sc securitycontext.Context, err error) {
	defer c.recovered(r, func(e error) { err = e })
	return c.h.cfg.API.Verify(r)
}

// recovered turns a panic into an error for whoever asked; its value is for the log alone.
func (c *conn) recovered(r *http.Request, fail func(error)) {
	if cause := recover(); cause != nil {
		if cause != http.ErrAbortHandler { // which says that an answer could not be written
			c.h.cfg.Log.Error("panic in a message", audit.Request(r.Context()), zap.Any("panic", cause), zap.Stack("stack"))
		}
		fail(errors.New("panic in a message"))
	}
}

// request returns the HTTP request that m stands for, the nth time it is asked.
func (c *conn) request(ctx context.Context, m message, n int) *http.Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token == nil {
		return c.requestWith(ctx, secret.Text{}, m, n)
	}
	return c.requestWith(ctx, *c.token, m, n)
}

// requestWith is request with a token that is not the connection's yet.
func (c *conn) requestWith(ctx context.Context, token secret.Text, m message, n int) *http.Request {
	id := c.id
	if m.method != "" {
		if m.requestID != "" {
			id = m.requestID
		} else {
			before, _, _ := strings.Cut(id, "-span-")
			id = before + "-" + strings.Map(printable, m.id.key)
		}
		id += "-span-" + strconv.Itoa(n)
	}
	r := c.handshake.Clone(audit.WithRequest(ctx, id))
	for _, name := range []string{"Upgrade", "Connection", "X-Cube-Authorization", "Authorization", "Prefer"} {
		r.Header.Del(name)
	}
	for name := range r.Header {
		if strings.HasPrefix(name, "Sec-Websocket-") {
			r.Header.Del(name)
		}
	}
	if !token.Empty() {
		r.Header.Set("Authorization", token.Reveal())
	}
	r.Header.Set("X-Request-Id", id)
	r.URL.Path, r.URL.RawQuery = "/cubejs-api/v1/"+m.method, ""
	r.Method, r.Body = http.MethodPost, io.NopCloser(bytes.NewReader(m.params))
	r.Header.Set("Content-Type", "application/json")
	if m.method == "meta" {
		var p struct{ OnlyViews bool }
		_ = json.Unmarshal(m.params, &p) // another value is no
		r.Method, r.URL.RawQuery = http.MethodGet, "onlyViews="+strconv.FormatBool(p.OnlyViews)
	}
	return r
}

func printable(c rune) rune {
	if unprintable(c) {
		return '_'
	}
	return c
}

// begin starts what a message asks for, and says what is to be said at once.
func (c *conn) begin(ctx context.Context, m message) {
	replies, err := c.start(ctx, m)
	if err != nil {
		c.refuse(ctx, m.id, err)
	}
	for _, text := range replies {
		c.say(text)
	}
}

// start is begin, and leaves what is to be said to its caller.
func (c *conn) start(ctx context.Context, m message) (replies []string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	processed := `{"messageProcessedId":` + string(m.id.json) + `}`
	switch _, again := c.underWay[m.id.key]; {
	case c.token == nil:
		return nil, errStranger
	case c.draining:
		return nil, errStopping
	case m.method == "unsubscribe":
		c.end(m.id)
		return []string{`{"messageId":` + string(m.id.json) + `,"status":200,"message":{}}`, processed}, nil
	case m.method == "subscribe":
		repeated, err := c.subscribe(ctx, m)
		if repeated {
			replies = []string{processed}
		}
		return replies, err
	case again:
		return nil, nil // clients repeat what is not answered yet, and it will be
	case c.begun >= maxUnderWay:
		return nil, tooMany("messages", maxUnderWay)
	}
	if err := c.hold(m); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	k := &call{m, cancel}
	c.underWay[m.id.key] = k
	c.begun++
	c.tasks.Go(func() {
		defer cancel()
		defer c.letGo(m)
		c.run(ctx, k)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.begun--
	})
	return nil, nil
}

// hold counts the memory of a message until it ends, or refuses it.
func (c *conn) hold(m message) error { return c.h.cfg.Memory.Hold(c.caller, int64(len(m.params))) }

func (c *conn) letGo(m message) { c.h.cfg.Memory.LetGo(c.caller, int64(len(m.params))) }

// call is a message that is being answered.
type call struct {
	message
	cancel context.CancelFunc
}

func tooMany(what string, most int) error {
	return &fault.Error{Kind: fault.TooMany, Code: "too_many_" + what, Owner: fault.User, RetryAfter: time.Second,
		Detail: "This connection has " + strconv.Itoa(most) + " " + what + " already. Wait for one to end, or open another connection."}
}

// run answers a message. One that takes long is told so, as over HTTP, and asked again until it has its answer: a
// client of Cube waits for the next message, and does not repeat it.
func (c *conn) run(ctx context.Context, k *call) {
	for n := 1; ; n++ {
		a, stay := c.ask(ctx, k.message, n)
		waits := a.waits() && ctx.Err() == nil
		if !waits {
			c.done(k) // before the client hears of it, and may use the id again
		}
		a.send(ctx, !waits)
		if !stay {
			c.dismiss()
		}
		if !waits {
			return
		}
	}
}

// done takes a message out of those under way, unless another one has its id by now.
func (c *conn) done(k *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.underWay[k.id.key] == k {
		delete(c.underWay, k.id.key)
	}
}

// end ends the subscription or the message of this id, if there is one. The caller holds the lock.
func (c *conn) end(id messageID) {
	if s := c.subscriptions[id.key]; s != nil {
		s.cancel()
		delete(c.subscriptions, id.key)
	}
	if k := c.underWay[id.key]; k != nil {
		k.cancel()
		delete(c.underWay, id.key)
	}
}

// ask has m answered once. It reports whether the caller may stay; the connection of one who may not is to be closed.
func (c *conn) ask(ctx context.Context, m message, n int) (a *answer, stay bool) {
	began := c.h.cfg.Now()
	a = c.answer(m.id)
	r := c.request(ctx, m, n)
	sc, err := c.verify(r)
	if err == nil && sc.Principal != c.caller {
		err = errStranger // a name that has come to be another person
	}
	if err != nil {
		c.h.cfg.API.Refuse(a, r, err)
		return a, !refused(err)
	}
	a.counted = true
	func() {
		defer c.recovered(r, a.fail)
		c.h.cfg.API.Answer(a, r, sc, m.method)
	}()
	if err := a.failed; err != nil {
		a.drop()
		a.counted, a.failed, a.header = false, nil, http.Header{} // a refusal is small
		c.h.cfg.API.Refuse(a, r, err)
	}
	level := zap.DebugLevel // of a turn of a subscription, or of what takes long
	if n == 1 {
		level = zap.InfoLevel
	}
	c.h.cfg.Log.Log(level, "message", audit.Request(r.Context()), zap.String("method", m.method),
		zap.Int("status", a.code), zap.Int64("bytes", a.size), zap.Duration("took", c.h.cfg.Now().Sub(began)))
	return a, true
}

// refused reports whether err is about the caller, and not about the server.
func refused(err error) bool {
	return errors.Is(err, fault.Unauthenticated) || errors.Is(err, fault.Denied)
}

// dismiss closes the connection of a caller who may not ask any more.
func (c *conn) dismiss() {
	_ = c.ws.Close(websocket.StatusPolicyViolation, "The token or the account is no longer good.")
}

// keep closes the connection when its time is over, and looks now and then whether anybody is there who may be.
func (c *conn) keep(ctx context.Context) {
	opening := time.NewTimer(handshakeTime)
	defer opening.Stop()
	ticker := time.NewTicker(check)
	defer ticker.Stop()
	var over <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.h.stop:
			c.stop(ctx)
			return
		case <-opening.C:
			if !c.authorised() {
				_ = c.ws.Close(websocket.StatusPolicyViolation, "There was no authorization.")
			}
		case <-c.renewed:
			over = c.over()
		case <-over:
			_ = c.ws.Close(websocket.StatusPolicyViolation, "The token has expired.")
		case <-ticker.C:
			c.look(ctx)
		}
	}
}

func (c *conn) authorised() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.token != nil
}

// over returns when the token ends; nil when it does not.
func (c *conn) over() <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ends.IsZero() {
		return nil
	}
	return time.After(max(c.ends.Sub(c.h.cfg.Now()), time.Millisecond))
}

// look closes the connection of a caller who is refused, and of a client that is not there any more.
func (c *conn) look(ctx context.Context) {
	if c.authorised() {
		sc, err := c.verify(c.request(ctx, message{}, 0))
		if refused(err) || err == nil && sc.Principal != c.caller {
			c.dismiss()
			return
		}
	}
	ctx, cancel := context.WithTimeout(ctx, stall)
	defer cancel()
	if c.ws.Ping(ctx) != nil {
		_ = c.ws.CloseNow()
	}
}

// stop ends the connection in order: subscriptions at once, messages when they are answered or the grace is over.
func (c *conn) stop(ctx context.Context) {
	c.drain()
	idle := make(chan struct{})
	go func() {
		c.tasks.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-ctx.Done():
	case <-time.After(c.h.cfg.Grace):
	}
	_ = c.ws.Close(websocket.StatusGoingAway, "The server is stopping. Connect again.")
	_ = c.ws.CloseNow()
	<-idle // what is left was cut with the connection
}

// drain ends subscriptions, and lets nothing begin any more.
func (c *conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	for _, s := range c.subscriptions {
		s.cancel()
	}
}
