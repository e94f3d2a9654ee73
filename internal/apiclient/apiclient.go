// Package apiclient calls /api/v1 of a server, for the command line.
//
// A refusal comes back as the problem document that the server sent, so that what a person reads here is what they
// would read in the browser: the sentence, the code, and where to go on. A token goes to the server that it belongs to,
// over https or on loopback, and nowhere else: no redirect is followed.
package apiclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/loopback"
	"github.com/behalf-project/behalf/internal/secret"
)

// maxAnswer is the largest answer that is read.
const maxAnswer = 8 << 20

// Client calls one server. Make it with New.
type Client struct {
	base  string
	token secret.Text
	http  *http.Client
}

// New returns a Client of the server at base that shows token, which may be empty. It is fault.Invalid when base is no
// address that a token may be sent to.
func New(base string, token secret.Text) (*Client, error) {
	base, err := Base(base)
	if err != nil {
		return nil, err
	}
	return &Client{base: base, token: token, http: HTTP()}, nil
}

// Server is the address of the server.
func (c *Client) Server() string { return c.base }

// HTTP returns a client that follows no redirect and does not wait for ever.
func HTTP() *http.Client {
	return &http.Client{Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// Base checks the address of a server and returns it without a slash at the end.
func Base(raw string) (string, error) {
	u, err := url.Parse(strings.TrimRight(raw, "/"))
	switch {
	case !strings.Contains(raw, "://") && raw != "":
		scheme := "https"
		if host, _, _ := strings.Cut(raw, ":"); loopback.Host(host) {
			scheme = "http"
		}
		return "", fault.New(fault.Invalid, "The address of a server is a URL; did you mean %s://%s?", scheme, strings.TrimRight(raw, "/"))
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http":
		return "", fault.New(fault.Invalid, "The address of a server is a URL such as https://behalf.example.com")
	case u.Scheme == "http" && !loopback.Host(u.Hostname()):
		return "", fault.New(fault.Invalid, "%s is not https: your token would cross the network in the clear. Plain http is for loopback only.", u)
	}
	return u.String(), nil
}

// Problem is a refusal of the server (RFC 9457).
type Problem struct {
	Status    int      `json:"status"`
	Detail    string   `json:"detail"`
	Code      string   `json:"code"`
	RequestID string   `json:"request_id"`
	Actions   []Action `json:"actions"`
	Errors    []struct {
		Pointer string `json:"pointer"`
		Detail  string `json:"detail"`
	} `json:"errors"`

	Document json.RawMessage `json:"-"` // as it came
}

// Action is what one can do about a problem.
type Action struct {
	Rel   string `json:"rel"`
	Href  string `json:"href"`
	Label string `json:"label"`
}

// Error returns the sentence and the code.
func (p *Problem) Error() string { return fmt.Sprintf("%s (%s)", p.Detail, p.Code) }

// Unreachable is a server that does not answer.
type Unreachable struct {
	Base string
	Err  error
}

// Error says which server it is and why.
func (u *Unreachable) Error() string { return fmt.Sprintf("%s does not answer: %v", u.Base, u.Err) }

// Unwrap returns the cause.
func (u *Unreachable) Unwrap() error { return u.Err }

// Call sends in as JSON to a path below /api/v1, nothing when it is nil, and reads the answer into out, unless that is
// nil. It returns a *Problem when the server refuses, and an *Unreachable when nobody answers.
func (c *Client) Call(ctx context.Context, method, path string, in, out any) error {
	return c.send(ctx, method, "/api/v1"+path, in, out)
}

// Get reads a document of the server into out: one at a well-known place, which is not below /api/v1. It fails as Call
// does.
func (c *Client) Get(ctx context.Context, path string, out any) error {
	return c.send(ctx, http.MethodGet, path, nil, out)
}

func (c *Client) send(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("write the request: %w", err)
		}
		body = bytes.NewReader(text)
	}
	resp, err := c.do(ctx, c.http, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return &Unreachable{c.base, err}
	}
	if resp.StatusCode/100 != 2 {
		return c.refusal(resp.StatusCode, answer)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%s answered with no JSON: is the address right?", c.base)
	}
	return nil
}

// do sends a request by way of client, with the token.
func (c *Client) do(ctx context.Context, client *http.Client, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if !c.token.Empty() {
		req.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	}
	resp, err := client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // without the URL, which is said already
		}
		return nil, &Unreachable{c.base, err}
	}
	return resp, nil
}

// refusal reads the problem document that came with a status.
func (c *Client) refusal(status int, document []byte) error {
	p := &Problem{}
	if json.Unmarshal(document, p) != nil || p.Code == "" {
		return fmt.Errorf("%s answered %d, and not as a Behalf server does: is the address right?", c.base, status)
	}
	p.Status, p.Document = status, document
	return p
}
