// Package certified runs an OpenID provider that is not ours for the tests of Behalf: the certified oidc-provider
// of npm, in a process of Node's.
//
// The sandbox's own provider (idp) does what we believe providers do. This one does what its authors read in the
// specifications, so that a misunderstanding of ours cannot hide on both sides. It has one client and one person, who
// signs in by opening the authorization URL.
//
// It is lenient for the tests of what goes wrong, and as strict as it can be set (Config.Strict) for those of the flows.
// What it does wrong, it is made to do by Liar, a proxy in front of it. Its program is provider.mjs.
package certified

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/behalf-project/behalf/internal/sandbox/bearer"
	"github.com/behalf-project/behalf/internal/secret"
)

// Config is what Start needs. ClientID, RedirectURIs and Subject are required.
type Config struct {
	Issuer       string // URL at which the provider is reached, on loopback; default: where it listens
	ClientID     string
	ClientSecret secret.Text    // required where the client authenticates with one
	Client       map[string]any // more metadata of the client (RFC 7591 §2); default: it authenticates with client_secret_basic
	RedirectURIs []string
	Subject      string // the person's sub
	Rotate       bool   // a refresh brings a new refresh token, and using the old one again ends the grant
	Strict       bool   // requests must be pushed (RFC 9126), and proofs of possession need a nonce (RFC 9449 §8)
}

// client is the metadata of the only client.
func (c Config) client() map[string]any {
	all := map[string]any{"client_id": c.ClientID, "redirect_uris": c.RedirectURIs, "token_endpoint_auth_method": "client_secret_basic"}
	if !c.ClientSecret.Empty() {
		all["client_secret"] = c.ClientSecret.Reveal()
	}
	maps.Copy(all, c.Client)
	return all
}

// Provider is a running provider. It is safe for concurrent use.
type Provider struct {
	Address string // host and port where it listens
	Issuer  string // Config's, or the URL of Address

	cfg  Config
	key  *rsa.PrivateKey
	http *http.Client
}

// keyID is the kid of the provider's only key.
const keyID = "sandbox"

// signingKey is that of all providers: making one takes longer than starting a provider.
var signingKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// Start starts a provider, which runs until the test ends. A machine without Node, or without the package, fails the
// test: scripts/setup installs it.
func Start(t testing.TB, cfg Config) *Provider {
	t.Helper()
	p, err := launch(t, cfg)
	if err != nil {
		t.Fatalf("certified: %v", err)
	}
	return p
}

// folder is where the program and its packages are.
func folder() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(file)
}

func launch(t testing.TB, cfg Config) (*Provider, error) {
	if _, err := os.Stat(filepath.Join(folder(), "node_modules", "oidc-provider")); err != nil {
		return nil, fmt.Errorf("the npm package is not installed; run scripts/setup (%w)", err)
	}
	key, err := signingKey()
	if err != nil {
		return nil, err
	}
	environ, err := json.Marshal(map[string]any{
		"issuer": cfg.Issuer, "client": cfg.client(), "subject": cfg.Subject, "rotate": cfg.Rotate, "strict": cfg.Strict,
		"key": jose.JSONWebKey{Key: key, KeyID: keyID, Algorithm: string(jose.RS256), Use: "sig"},
	})
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("node", "provider.mjs")
	cmd.Dir = folder()
	cmd.Env = append(os.Environ(), "PROVIDER="+string(environ))
	var errs bytes.Buffer
	cmd.Stderr = &errs
	stdin, err := cmd.StdinPipe() // it ends with it, and so with us, whatever becomes of us
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w; the tests need Node 20.19 or newer", err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		ended := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		defer ended.Stop()
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Logf("certified: %v\n%s", err, &errs)
		}
	})
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(stdout).ReadString('\n')
		line <- text
	}()
	select {
	case text := <-line:
		port, ok := strings.CutPrefix(strings.TrimSpace(text), "listening ")
		if !ok {
			return nil, fmt.Errorf("it did not start:\n%s", &errs)
		}
		p := &Provider{Address: "127.0.0.1:" + port, Issuer: cfg.Issuer, cfg: cfg, key: key, http: &http.Client{Timeout: 30 * time.Second}}
		if p.Issuer == "" {
			p.Issuer = "http://" + p.Address
		}
		return p, nil
	case <-time.After(time.Minute):
		return nil, fmt.Errorf("it did not start within a minute")
	}
}

// SignIn does what a browser does with an authorization URL, as the person, who agrees to everything. It returns where
// the provider redirects to in the end.
func (p *Provider) SignIn(ctx context.Context, authorizationURL, _ string) (*url.URL, error) {
	jar, _ := cookiejar.New(nil) // fails for bad options only
	client := &http.Client{Jar: jar, Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	at := authorizationURL
	for range 10 {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
		if err != nil {
			return nil, err
		}
		resp, err := client.Do(r)
		if err != nil {
			return nil, err
		}
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		resp.Body.Close()
		to, err := resp.Location()
		if err != nil {
			return nil, fmt.Errorf("certified: %s answered %d: %s", r.URL.Path, resp.StatusCode, body)
		}
		if !strings.HasPrefix(to.String(), p.Issuer+"/") {
			return to, nil
		}
		at = to.String()
	}
	return nil, fmt.Errorf("certified: the sign-in has no end")
}

// Calls are the refresh calls that the provider answered, and how many of them it refused with each error code.
type Calls struct {
	Refreshes int            `json:"refreshes"`
	Refused   map[string]int `json:"refused"`
}

// Calls counts.
func (p *Provider) Calls(ctx context.Context) (c Calls, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Address+"/_calls", nil)
	if err != nil {
		return c, err
	}
	resp, err := p.http.Do(r)
	if err != nil {
		return c, err
	}
	defer resp.Body.Close()
	return c, json.NewDecoder(resp.Body).Decode(&c)
}

// SetAccessTokenLife sets how long access tokens live from now on, in whole seconds.
func (p *Provider) SetAccessTokenLife(ctx context.Context, d time.Duration) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/_access-token-life/%d", p.Address, d/time.Second), nil)
	if err != nil {
		return err
	}
	resp, err := p.http.Do(r)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// Resolve implements bearer.Resolver by introspection (RFC 7662). A token that is not active may be an expired or an
// unknown one: it is called expired. It needs a client with a secret.
func (p *Provider) Resolve(token string) bearer.Holder {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second) // the interface has no context
	defer cancel()
	form := url.Values{"token": {token}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.Address+"/token/introspection", strings.NewReader(form.Encode()))
	if err != nil {
		return bearer.Holder{}
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(url.QueryEscape(p.cfg.ClientID), url.QueryEscape(p.cfg.ClientSecret.Reveal()))
	resp, err := p.http.Do(r)
	if err != nil {
		return bearer.Holder{}
	}
	defer resp.Body.Close()
	var said struct {
		Active bool   `json:"active"`
		Sub    string `json:"sub"`
		Exp    int64  `json:"exp"`
	}
	if json.NewDecoder(resp.Body).Decode(&said) != nil || resp.StatusCode != http.StatusOK {
		return bearer.Holder{}
	}
	if !said.Active {
		return bearer.Holder{Name: p.cfg.Subject, Status: bearer.Expired}
	}
	return bearer.Holder{Name: said.Sub, Status: bearer.Active, Expires: time.Unix(said.Exp, 0)}
}
