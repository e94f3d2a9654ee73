package certified

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/behalf-project/behalf/internal/secret"
)

// Lie is what a Liar makes of the provider's answers. The zero Lie is the truth.
type Lie struct {
	Grant string // only in answers to this grant_type; empty: to all

	Delay  time.Duration               // before the request reaches the provider
	Status int                         // answers with this status, and the provider hears nothing
	Tokens func(answer map[string]any) // changes the answer of the token endpoint
	Claims func(claims jwt.MapClaims)  // changes the ID token in it, which is signed again with the provider's key
	Issuer string                      // iss of the authorization response (RFC 9207)
}

// Liar is a proxy in front of a provider that changes what it says. It is an http.Handler, and safe for concurrent use.
type Liar struct {
	provider *Provider
	proxy    *httputil.ReverseProxy

	mu    sync.Mutex
	lie   Lie
	watch func(kind string, value secret.Text) // nil: nobody watches
}

// Liar returns a proxy to p that tells the truth.
func (p *Provider) Liar() *Liar {
	l := &Liar{provider: p}
	l.proxy = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", p.Address // and Host stays: the provider makes its URLs of it
		},
		ModifyResponse: l.change,
		ErrorHandler:   func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	return l
}

// Tell makes l tell lie from now on.
func (l *Liar) Tell(lie Lie) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lie = lie
}

// Watch calls see with every token that the provider gives from now on, and its name in the standards, as idp's does.
func (l *Liar) Watch(see func(kind string, value secret.Text)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watch = see
}

// told is the lie for r, whose body can be read again.
func (l *Liar) told(r *http.Request) (lie Lie, err error) {
	l.mu.Lock()
	lie = l.lie
	l.mu.Unlock()
	if r.URL.Path != "/token" {
		return Lie{Issuer: lie.Issuer}, nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return Lie{}, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, err := url.ParseQuery(string(body))
	if lie.Grant != "" && form.Get("grant_type") != lie.Grant {
		lie = Lie{}
	}
	return lie, err
}

// lieKey is the key of a Lie in the context of the request it is for.
type lieKey struct{}

// ServeHTTP passes a request on, unless the lie is that there is an answer already.
func (l *Liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	lie, err := l.told(r)
	if err != nil {
		http.Error(w, "the request cannot be read", http.StatusBadRequest)
		return
	}
	if lie.Delay > 0 {
		select {
		case <-time.After(lie.Delay):
		case <-r.Context().Done():
			panic(http.ErrAbortHandler) // an empty answer could still reach the caller that has just given up
		}
	}
	if lie.Status != 0 {
		w.WriteHeader(lie.Status)
		return
	}
	l.proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), lieKey{}, lie)))
}

// change makes the lie of an answer.
func (l *Liar) change(resp *http.Response) error {
	lie, _ := resp.Request.Context().Value(lieKey{}).(Lie)
	if to, err := resp.Location(); err == nil && lie.Issuer != "" && to.Query().Has("code") {
		q := to.Query()
		q.Set("iss", lie.Issuer)
		to.RawQuery = q.Encode()
		resp.Header.Set("Location", to.String())
	}
	if resp.Request.URL.Path != "/token" || resp.StatusCode != http.StatusOK {
		return nil
	}
	var answer map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	_ = resp.Body.Close()
	l.mu.Lock()
	watch := l.watch
	l.mu.Unlock()
	for _, kind := range []string{"access_token", "refresh_token", "id_token"} {
		if value, ok := answer[kind].(string); ok && watch != nil {
			watch(kind, secret.New(value))
		}
	}
	if raw, ok := answer["id_token"].(string); ok && lie.Claims != nil {
		claims := jwt.MapClaims{}
		if _, _, err := jwt.NewParser().ParseUnverified(raw, claims); err != nil {
			return fmt.Errorf("the provider's ID token: %w", err)
		}
		lie.Claims(claims)
		token := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
		token.Header["kid"] = keyID
		signed, err := token.SignedString(l.provider.key)
		if err != nil {
			return err
		}
		answer["id_token"] = signed
	}
	if lie.Tokens != nil {
		lie.Tokens(answer)
	}
	body, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}
