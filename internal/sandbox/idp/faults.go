package idp

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/zap"
)

// Fault is a way in which an endpoint misbehaves. The fields of the first group replace the answer and nothing is done;
// those of the second change the answer to what was done.
type Fault struct {
	Times int    // how often (the sign-in page and its form are two calls); zero: until it is cleared
	Grant string // only for this grant_type; empty: for all

	Seen       func()        // is called when a call comes
	Delay      time.Duration // waits before anything else, or until the client hangs up
	DropBefore bool          // closes the connection
	Status     int           // answers with this status
	RetryAfter time.Duration // and with Retry-After in whole seconds
	HTML       bool          // and with a page of HTML; without Status it is 200
	Error      string        // answers with this error code of RFC 6749 §5.2

	DropAfter       bool                // closes the connection when the work is done
	NoExpiresIn     bool                // leaves expires_in out
	ExpiresInString bool                // sends expires_in as a string
	FormEncoded     bool                // answers application/x-www-form-urlencoded instead of JSON
	NoRefreshToken  bool                // leaves refresh_token out
	WrongIssuer     bool                // sends another iss with the authorization response
	Widen           string              // adds a scope to the answer of a token exchange
	Padding         int                 // adds that many bytes to a JSON answer
	IDToken         func(jwt.MapClaims) // changes the claims of the ID token before it is signed
}

// SetFault makes e misbehave, in place of how it misbehaved before.
func (p *Provider) SetFault(e Endpoint, f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults[e] = &f
}

// ClearFaults makes all endpoints behave.
func (p *Provider) ClearFaults() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.faults)
}

// takeFault returns the fault of this call, which is the zero Fault when there is none.
func (p *Provider) takeFault(e Endpoint, grantType string) Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.faults[e]
	if f == nil || f.Grant != "" && f.Grant != grantType {
		return Fault{}
	}
	out := *f
	if f.Times > 0 {
		if f.Times--; f.Times == 0 {
			delete(p.faults, e)
		}
	}
	return out
}

// Call is an entry of the log of calls: who asked what, and what became of it. It holds no token, code or secret.
type Call struct {
	At        time.Time `json:"at"`
	Endpoint  Endpoint  `json:"endpoint"`
	Client    string    `json:"client,omitempty"`
	GrantType string    `json:"grant_type,omitempty"`
	Person    string    `json:"person,omitempty"`
	Status    int       `json:"status"`          // zero: the connection was closed
	Error     string    `json:"error,omitempty"` // error code of RFC 6749 that was answered
}

const maxCalls = 10_000

// Calls returns the last 10,000 calls, oldest first.
func (p *Provider) Calls() []Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.calls)
}

// CountCalls returns how many of Calls went to e with that grant type, or with any for "".
func (p *Provider) CountCalls(e Endpoint, grantType string) int {
	n := 0
	for _, c := range p.Calls() {
		if c.Endpoint == e && (grantType == "" || c.GrantType == grantType) {
			n++
		}
	}
	return n
}

// call is one request, with what its handler finds out for the log.
type call struct {
	r     *http.Request
	form  url.Values // of the query and the body
	body  []byte
	fault Fault
	entry Call

	subject jwt.MapClaims // of the subject token of an exchange, if a federated issuer's
}

// answer is what a handler answers; writing it is left to endpoint, which may spoil it.
type answer struct {
	status int
	header http.Header
	body   []byte
	json   map[string]any // instead of body
}

func jsonAnswer(status int, body map[string]any) answer { return answer{status: status, json: body} }

// oauthError is an error answer of RFC 6749 §5.2.
func oauthError(status int, code, description string) answer {
	return jsonAnswer(status, map[string]any{"error": code, "error_description": description})
}

const (
	maxBody  = 1 << 20
	maxDelay = 5 * time.Minute
)

// endpoint reads a request, lets the fault of e have its way, logs and answers.
func (p *Provider) endpoint(e Endpoint, h func(*call) answer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c := &call{r: r, entry: Call{At: p.now().UTC(), Endpoint: e}}
		quirks := p.habits()
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			http.Error(w, "the request is too large", http.StatusRequestEntityTooLarge)
			return
		}
		c.form, c.body = r.URL.Query(), body
		if r.Method == http.MethodPost {
			if c.form, err = url.ParseQuery(string(body)); err != nil {
				http.Error(w, "the body is no form", http.StatusBadRequest)
				return
			}
		}
		if e == Token {
			c.entry.GrantType = c.form.Get("grant_type")
		}
		c.fault = p.takeFault(e, c.entry.GrantType)
		a, drop := p.run(c, h)
		if code, ok := a.json["error"].(string); ok && !drop {
			c.entry.Error = code
		}
		if e == Token {
			a = quirks.spell(a, c.entry.Person)
			c.fault.FormEncoded = c.fault.FormEncoded || quirks.FormAnswers
		}
		if !drop {
			c.entry.Status = a.status
		}
		p.record(c.entry)
		if drop {
			panic(http.ErrAbortHandler) // closes the connection without an answer
		}
		for name, values := range a.header {
			w.Header()[name] = values
		}
		a.write(w, c.fault)
	}
}

// run returns the answer to c, or that there shall be none.
func (p *Provider) run(c *call, h func(*call) answer) (a answer, drop bool) {
	f := c.fault
	if f.Seen != nil {
		f.Seen()
	}
	if f.Delay > 0 {
		select {
		case <-time.After(min(f.Delay, maxDelay)):
		case <-c.r.Context().Done():
			return answer{}, true
		}
	}
	header := http.Header{}
	if f.RetryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(int(math.Ceil(f.RetryAfter.Seconds()))))
	}
	switch {
	case f.DropBefore:
		return answer{}, true
	case f.HTML:
		header.Set("Content-Type", "text/html; charset=utf-8")
		status := f.Status
		if status == 0 {
			status = http.StatusOK
		}
		return answer{status: status, header: header, body: []byte("<!doctype html><title>Maintenance</title><h1>We will be back soon</h1>")}, false
	case f.Error != "":
		status := f.Status
		if status == 0 && f.Error == "invalid_client" {
			status = http.StatusUnauthorized
		} else if status == 0 {
			status = http.StatusBadRequest
		}
		a = oauthError(status, f.Error, "the sandbox was told to answer so")
		a.header = header
		return a, false
	case f.Status != 0:
		return answer{status: f.Status, header: header, body: []byte(http.StatusText(f.Status))}, false
	}
	return h(c), f.DropAfter
}

func (a answer) write(w http.ResponseWriter, f Fault) {
	if a.json == nil {
		w.WriteHeader(a.status)
		_, _ = w.Write(a.body)
		return
	}
	if f.NoExpiresIn {
		delete(a.json, "expires_in")
	}
	if n, ok := a.json["expires_in"].(int64); ok && f.ExpiresInString {
		a.json["expires_in"] = strconv.FormatInt(n, 10)
	}
	if f.NoRefreshToken {
		delete(a.json, "refresh_token")
	}
	if f.Padding > 0 {
		a.json["padding"] = strings.Repeat("x", f.Padding)
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Pragma", "no-cache")
	if f.FormEncoded {
		form := url.Values{}
		for name, value := range a.json {
			var b bytes.Buffer
			_ = json.NewEncoder(&b).Encode(value)
			form.Set(name, strings.Trim(strings.TrimSpace(b.String()), `"`))
		}
		w.Header().Set("Content-Type", "application/x-www-form-urlencoded")
		w.WriteHeader(a.status)
		_, _ = io.WriteString(w, form.Encode())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.status)
	_ = json.NewEncoder(w).Encode(a.json)
}

func (p *Provider) record(c Call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.calls) == maxCalls {
		p.calls = slices.Delete(p.calls, 0, maxCalls/10)
	}
	p.calls = append(p.calls, c)
	p.log.Debug("call", zap.String("endpoint", string(c.Endpoint)), zap.String("client_id", c.Client),
		zap.String("grant_type", c.GrantType), zap.String("user", c.Person), zap.Int("status", c.Status), zap.String("error", c.Error))
}
