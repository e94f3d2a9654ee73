package main

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/behalf-project/behalf/config"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"go.uber.org/zap"
)

// assembled builds the server that text configures. It is not run.
func assembled(t *testing.T, text string) *server {
	t.Helper()
	inFolder(t, map[string]string{"behalf.yaml": text, "alice.password": "alice's long password"})
	cfg, err := config.Load(config.Options{Path: filepath.Join(".", "behalf.yaml")})
	if err != nil {
		t.Fatal(err)
	}
	s, err := assemble(t.Context(), cfg, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestWhatNeedsNoSignInAnswersToThisMachinesNamesOnly(t *testing.T) {
	for _, tt := range []struct {
		name, server string
		door         func(*server) http.Handler
		path, host   string
		want         int
	}{
		{"the admin listener as localhost", "", (*server).adminHandler, "/readyz?verbose", "localhost:4001", 200},
		{"the admin listener by a name that was made to resolve here", "", (*server).adminHandler, "/debug/pprof/", "evil.example.com:4001", 421},
		{"the admin listener where others may reach it", `, admin_listen: "0.0.0.0:0"`, (*server).adminHandler, "/livez", "behalf-0.internal:4001", 200},
		{"development mode as localhost", ", dev_mode: true", publicHandler, "/livez", "localhost:4000", 200},
		{"development mode by the name of the public URL", ", dev_mode: true, public_url: 'https://data.example.com'", publicHandler, "/livez", "data.example.com", 200},
		{"development mode by a name that was made to resolve here", ", dev_mode: true", publicHandler, "/cubejs-api/v1/meta", "evil.example.com:4000", 421},
		{"otherwise a token is asked for, whatever the name", "", publicHandler, "/cubejs-api/v1/meta", "behind.a.proxy", 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			admin := `, admin_listen: "127.0.0.1:0"`
			if strings.Contains(tt.server, "admin_listen") {
				admin = ""
			}
			s := assembled(t, `server: {listen: "127.0.0.1:0"`+admin+tt.server+"}\n")
			r := httptest.NewRequest(http.MethodGet, tt.path, nil)
			r.Host = tt.host
			w := httptest.NewRecorder()
			tt.door(s).ServeHTTP(w, r)
			if w.Code != tt.want {
				t.Errorf("%s by %s = %d, want %d", tt.path, tt.host, w.Code, tt.want)
			}
		})
	}
}

func publicHandler(s *server) http.Handler { return s.handler }

func TestTheTokenOfABrowserIsItsPersonsHoweverTokensAreConfigured(t *testing.T) {
	s := assembled(t, `
server: {listen: "127.0.0.1:0", admin_listen: "off"}
auth: {api_secret: "0123456789abcdef0123456789abcdef", jwt: {username_claim: sub, issuer: us, audience: queries, algorithms: [HS512]}}
users: [{username: alice, password: {file: alice.password}}]
`)
	do := func(method, path, body string, cookies []*http.Cookie) *http.Response {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		for _, c := range cookies {
			r.AddCookie(c)
		}
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, r)
		return w.Result()
	}
	in := do(http.MethodPost, "/api/v1/auth/login", `{"username":"alice","password":"alice's long password"}`, nil)
	r := httptest.NewRequest(http.MethodGet, "/auth/cubejs-token", nil)
	for _, c := range in.Cookies() {
		r.AddCookie(c)
	}
	token, err := s.cubeToken(r)
	if err != nil {
		t.Fatal(err)
	}
	sc, err := s.verifier.Verify(t.Context(), http.Header{"Authorization": {token.Reveal()}})
	if err != nil || sc.Principal.Realm != securitycontext.Local || sc.Username != "alice" {
		t.Errorf("alice's own token is of %+v, %v", sc.Principal, err)
	}
}
