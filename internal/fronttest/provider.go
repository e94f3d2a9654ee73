package fronttest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
)

// Secrets that must never be seen in an answer. They are recognised by the word canary.
const (
	ClientSecret = "canary-client-secret-9f2a"
	AccessToken  = "canary-access-token"
	RefreshToken = "canary-refresh-token"
)

// Provider is an authorization server that allows everything (RFC 6749, RFC 7636, RFC 7009).
type Provider struct {
	URL string

	mu       sync.Mutex
	codes    map[string]url.Values // by code: the authorization request
	made     int
	Deny     url.Values // what to answer instead of a code, if set
	Refuse   string     // error that the token endpoint answers, if set
	Exchange int        // how many codes were exchanged
	Revoked  []string   // tokens
}

func startProvider(t testing.TB) *Provider {
	p := &Provider{codes: map[string]url.Values{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("POST /revoke", p.revoke)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	p.URL = server.URL
	return p
}

// Set changes how the provider answers.
func (p *Provider) Set(change func(*Provider)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

// Exchanged returns how many codes were exchanged.
func (p *Provider) Exchanged() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.Exchange
}

func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := r.URL.Query()
	to, err := url.Parse(q.Get("redirect_uri"))
	if err != nil || q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" || q.Get("state") == "" {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	back := url.Values{"state": {q.Get("state")}}
	if p.Deny != nil {
		for name := range p.Deny {
			back.Set(name, p.Deny.Get(name))
		}
	} else {
		p.made++
		code := fmt.Sprintf("canary-code-%d", p.made)
		p.codes[code] = q
		back.Set("code", code)
	}
	to.RawQuery = back.Encode()
	http.Redirect(w, r, to.String(), http.StatusFound)
}

func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	answer, status := map[string]any{"access_token": AccessToken, "refresh_token": RefreshToken, "token_type": "Bearer", "expires_in": 3600}, http.StatusOK
	id, key, _ := r.BasicAuth()
	begun := p.codes[r.FormValue("code")]
	sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	switch {
	case id != "behalf" || key != ClientSecret:
		answer, status = map[string]any{"error": "invalid_client"}, http.StatusUnauthorized
	case p.Refuse != "":
		answer, status = map[string]any{"error": p.Refuse}, http.StatusBadRequest
	case r.FormValue("grant_type") == "refresh_token":
	case begun == nil || base64.RawURLEncoding.EncodeToString(sum[:]) != begun.Get("code_challenge") || r.FormValue("redirect_uri") != begun.Get("redirect_uri"):
		answer, status = map[string]any{"error": "invalid_grant"}, http.StatusBadRequest
	default:
		delete(p.codes, r.FormValue("code"))
		p.Exchange++
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer)
}

func (p *Provider) revoke(_ http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Revoked = append(p.Revoked, r.FormValue("token"))
}
