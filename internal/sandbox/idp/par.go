package idp

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// pushedLife is how long a pushed request waits for its browser.
const pushedLife = time.Minute

const requestURIPrefix = "urn:ietf:params:oauth:request_uri:"

// SetPushedRequests chooses whether the provider takes pushed authorization requests (RFC 9126), which it always does
// unless off, and whether it takes no others.
func (p *Provider) SetPushedRequests(offered, required bool) {
	p.set(func(s *settings) { s.pushed, s.pushedOnly = offered, offered && required })
}

// push is the pushed authorization request endpoint. The client authenticates as at the token endpoint, and learns
// here what is wrong with its request.
func (p *Provider) push(c *call) answer {
	p.mu.Lock()
	offered := p.settings.pushed
	p.mu.Unlock()
	if !offered {
		return oauthError(http.StatusNotFound, "invalid_request", "pushed requests are not offered")
	}
	client, refusal := p.authenticate(c)
	if refusal != nil {
		return *refusal
	}
	if c.form.Has("request_uri") {
		return oauthError(http.StatusBadRequest, "invalid_request", "a pushed request does not name another (RFC 9126 §2.1)")
	}
	if id := c.form.Get("client_id"); id != "" && id != client.ID {
		return oauthError(http.StatusBadRequest, "invalid_request", "client_id is another client's")
	}
	params := url.Values{}
	for name, values := range c.form {
		switch name {
		case "client_secret", "client_assertion", "client_assertion_type":
		default:
			params[name] = values
		}
	}
	params.Set("client_id", client.ID)
	if code, description := p.check(client, params); code != "" {
		return oauthError(http.StatusBadRequest, code, description)
	}
	handle := rand.Text() + rand.Text()
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	for d, old := range p.pushed {
		if now.After(old.expires) {
			delete(p.pushed, d)
		}
	}
	p.pushed[hash(handle)] = &pushed{client: client.ID, params: params, expires: now.Add(pushedLife)}
	return jsonAnswer(http.StatusCreated, map[string]any{"request_uri": requestURIPrefix + handle, "expires_in": int64(pushedLife / time.Second)})
}

// resolve returns the parameters that q stands for: those that were pushed, where it names a request_uri, and else its
// own. A handle is good for one visit of the sign-in page, and until somebody has answered there. The second result is
// why it is not.
func (p *Provider) resolve(q url.Values, visit bool) (url.Values, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !q.Has("request_uri") {
		if p.settings.pushedOnly {
			return q, "authorization requests must be pushed (RFC 9126)"
		}
		return q, ""
	}
	handle, ok := strings.CutPrefix(q.Get("request_uri"), requestURIPrefix)
	found := p.pushed[hash(handle)]
	switch {
	case !ok || found == nil || found.client != q.Get("client_id"):
		return q, "this request_uri is not known"
	case found.used || visit && found.shown:
		return q, "this request_uri was used before"
	case !p.now().Before(found.expires):
		return q, "this request_uri has expired"
	}
	found.shown = true
	return found.params, ""
}

// spend ends the handle that q names, if it names one.
func (p *Provider) spend(q url.Values) {
	handle, _ := strings.CutPrefix(q.Get("request_uri"), requestURIPrefix)
	p.mu.Lock()
	defer p.mu.Unlock()
	if found := p.pushed[hash(handle)]; found != nil {
		found.used = true
	}
}
