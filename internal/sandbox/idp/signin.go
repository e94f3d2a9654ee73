package idp

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// SignIn does what the browser of the person username does with an authorization URL: it opens the page over HTTP,
// sends the form with their password, and returns where the provider redirects to, with the code and the state in its
// query. The demo and the tests are the browsers.
func (p *Provider) SignIn(ctx context.Context, authorizationURL, username string) (*url.URL, error) {
	p.mu.Lock()
	person := p.people[username]
	p.mu.Unlock()
	if person == nil {
		return nil, fmt.Errorf("sandbox idp: there is no %q to sign in", username)
	}
	at, err := url.Parse(authorizationURL)
	if err != nil {
		return nil, fmt.Errorf("sandbox idp: %w", err)
	}
	client := &http.Client{Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	location, err := send(ctx, client, http.MethodGet, authorizationURL, nil)
	if err != nil || location != nil {
		return location, err
	}
	form := url.Values{"request": {at.RawQuery}, "username": {username}, "password": {person.Password.Reveal()}}
	location, err = send(ctx, client, http.MethodPost, p.issuer+"/authorize", form)
	if err == nil && location == nil {
		err = fmt.Errorf("sandbox idp: %q could not sign in", username)
	}
	return location, err
}

// send returns where the answer redirects to, nil for a page, and an error for everything else.
func send(ctx context.Context, client *http.Client, method, target string, form url.Values) (*url.URL, error) {
	r, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, fmt.Errorf("sandbox idp: %w", err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("sandbox idp: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxBody))
	switch resp.StatusCode {
	case http.StatusOK:
		return nil, nil
	case http.StatusSeeOther:
		return resp.Location()
	}
	return nil, fmt.Errorf("sandbox idp: %s %s answered HTTP %d", method, r.URL.Path, resp.StatusCode)
}
