package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// browser is one person of the demo in front of the server: a cookie jar, and what a person does with pages and the
// web application with the API. Everything goes over HTTP, as it would from outside.
type browser struct {
	base     string // of the server
	username string
	http     *http.Client
}

func newBrowser(base, username string) *browser {
	jar, _ := cookiejar.New(nil) // fails for bad options only
	return &browser{base: base, username: username, http: &http.Client{
		Jar: jar, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// answer is what the server said.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// do sends one request and reads the answer.
func (b *browser) do(ctx context.Context, method, target string, header http.Header, body io.Reader) (answer, error) {
	if strings.HasPrefix(target, "/") {
		target = b.base + target
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return answer{}, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	resp, err := b.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	return answer{resp.StatusCode, resp.Header, text}, err
}

// call sends JSON to the API as the web application does, and decodes the answer into out unless it is nil.
func (b *browser) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	header := http.Header{"Sec-Fetch-Site": {"same-origin"}}
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
		header.Set("Content-Type", "application/json")
	}
	a, err := b.do(ctx, method, path, header, body)
	if err != nil {
		return err
	}
	if a.status >= 300 {
		return fmt.Errorf("%s %s answered %d: %s", method, path, a.status, a.body)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(a.body, out)
}

// signIn signs the person in with their password.
func (b *browser) signIn(ctx context.Context, password string) error {
	return b.call(ctx, http.MethodPost, "/api/v1/auth/login", map[string]string{"username": b.username, "password": password}, nil)
}

var (
	formAction = regexp.MustCompile(`(?s)<form[^>]*\baction="([^"]*)"`)
	formHidden = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`)
)

// connect authorizes an OAuth app as a person would: the connect page, its button, the provider's sign-in page (which
// provider does, given the URL the button led to), and the way back.
func (b *browser) connect(ctx context.Context, app string, provider func(ctx context.Context, authorizationURL, username string) (*url.URL, error)) error {
	session, authorizationURL, err := b.pressAuthorize(ctx, app)
	if err != nil {
		return err
	}
	back, err := provider(ctx, authorizationURL, b.username)
	if err != nil {
		return err
	}
	landed, err := b.do(ctx, http.MethodGet, back.String(), nil, nil)
	if err != nil {
		return err
	}
	var done struct {
		Outcome string `json:"outcome"`
	}
	if err := b.call(ctx, http.MethodGet, "/api/v1/connect-sessions/"+session, nil, &done); err != nil {
		return err
	}
	if done.Outcome != "connected" {
		return fmt.Errorf("connecting %s ended as %q; the callback answered %d: %.500s", app, done.Outcome, landed.status, plainText(landed.body))
	}
	return nil
}

var markup = regexp.MustCompile(`(?s)<(style|script|head).*?</(style|script|head)>|<[^>]*>|\s+`)

// plainText is what a person would read of a page.
func plainText(page []byte) string {
	return strings.TrimSpace(string(markup.ReplaceAll(page, []byte(" "))))
}

// pressAuthorize opens the connect page of an OAuth app and presses its button. It returns the id under which the
// outcome can be asked for, and the URL of the provider that the button led to.
func (b *browser) pressAuthorize(ctx context.Context, app string) (session, authorizationURL string, err error) {
	var begun struct {
		AuthorizeURL string `json:"authorize_url"`
		Session      string `json:"session"`
	}
	if err := b.call(ctx, http.MethodPost, "/api/v1/connected-apps/"+app+"/authorize", map[string]string{"return_to": "/connected-apps"}, &begun); err != nil {
		return "", "", err
	}
	page, err := b.do(ctx, http.MethodGet, begun.AuthorizeURL, nil, nil)
	if err != nil {
		return "", "", err
	}
	action := formAction.FindSubmatch(page.body)
	if page.status != http.StatusOK || action == nil {
		return "", "", fmt.Errorf("the connect page answered %d without a form", page.status)
	}
	form := url.Values{}
	for _, field := range formHidden.FindAllSubmatch(page.body, -1) {
		form.Set(html.UnescapeString(string(field[1])), html.UnescapeString(string(field[2])))
	}
	target, err := url.Parse(begun.AuthorizeURL)
	if err != nil {
		return "", "", err
	}
	if target, err = target.Parse(html.UnescapeString(string(action[1]))); err != nil {
		return "", "", err
	}
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Sec-Fetch-Site": {"same-origin"}}
	pressed, err := b.do(ctx, http.MethodPost, target.String(), header, strings.NewReader(form.Encode()))
	if err != nil {
		return "", "", err
	}
	if pressed.status != http.StatusSeeOther {
		return "", "", fmt.Errorf("pressing Authorize answered %d: %s", pressed.status, pressed.body)
	}
	return begun.Session, pressed.header.Get("Location"), nil
}

// loaded is what the demo reads of an answer of /load, refusals included.
type loaded struct {
	Error        string              `json:"error"`
	Code         string              `json:"code"`
	AuthorizeURL string              `json:"authorize_url"`
	Data         []map[string]string `json:"data"`
	RunAs        struct {
		Identity string `json:"identity"`
		Username string `json:"username"`
		Account  string `json:"account"`
		Reason   string `json:"reason"`
	} `json:"runAs"`
}

// token returns a JWT for the query API, as the person's own page would fetch it.
func (b *browser) token(ctx context.Context) (string, error) {
	var t struct {
		Token string `json:"token"`
	}
	return t.Token, b.call(ctx, http.MethodGet, "/auth/cubejs-token", nil, &t)
}

// load asks a Cube query, and again as long as the answer is "Continue wait".
func (b *browser) load(ctx context.Context, query string) (loaded, error) {
	token, err := b.token(ctx)
	if err != nil {
		return loaded{}, err
	}
	path := "/cubejs-api/v1/load?cache=no-cache&query=" + url.QueryEscape(query)
	for {
		a, err := b.do(ctx, http.MethodGet, path, http.Header{"Authorization": {token}}, nil)
		if err != nil {
			return loaded{}, err
		}
		var l loaded
		if err := json.Unmarshal(a.body, &l); err != nil {
			return loaded{}, fmt.Errorf("/load answered %d with %.200q: %w", a.status, a.body, err)
		}
		if l.Error != "Continue wait" {
			return l, nil
		}
	}
}
