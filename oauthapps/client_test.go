package oauthapps_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/oauthapps"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func loopback(timeout time.Duration) *oauthapps.Client {
	return oauthapps.NewClient(oauthapps.ClientConfig{AllowLoopback: true, Timeout: timeout})
}

const awkward = "a:b%c+d e/ü&="

func TestClientAuthentication(t *testing.T) {
	for _, tt := range []struct {
		method oauthapps.AuthMethod
		check  func(r *http.Request) bool
	}{
		{oauthapps.ClientSecretBasic, func(r *http.Request) bool {
			id, secret, _ := r.BasicAuth()
			id, err1 := url.QueryUnescape(id)
			secret, err2 := url.QueryUnescape(secret)
			return id == awkward && secret == awkward && errors.Join(err1, err2) == nil && !r.PostForm.Has("client_id") && !r.PostForm.Has("client_secret")
		}},
		{oauthapps.ClientSecretPost, func(r *http.Request) bool {
			_, _, basic := r.BasicAuth()
			return !basic && r.PostForm.Get("client_id") == awkward && r.PostForm.Get("client_secret") == awkward
		}},
		{oauthapps.NoAuth, func(r *http.Request) bool {
			_, _, basic := r.BasicAuth()
			return !basic && r.PostForm.Get("client_id") == awkward && !r.PostForm.Has("client_secret")
		}},
	} {
		t.Run(string(tt.method), func(t *testing.T) {
			calls := 0
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				calls++
				_ = r.ParseForm()
				if !tt.check(r) || r.PostForm.Get("grant_type") != "x" {
					w.WriteHeader(401)
				}
				_, _ = io.WriteString(w, `{"access_token":"t"}`)
			})
			app := oauthapps.App{TokenURL: s.URL, ClientID: awkward, ClientSecret: oauthapps.NewSecret(awkward), AuthMethod: tt.method}
			if _, err := loopback(0).Grant(t.Context(), app, url.Values{"grant_type": {"x"}}); err != nil || calls != 1 {
				t.Errorf("Grant = %v after %d calls, want success with the first", err, calls)
			}
		})
	}
}

func TestWhatACallWithoutTokensMeans(t *testing.T) {
	refused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused.Close()
	drop := func(w http.ResponseWriter) {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			conn.Close()
		}
	}
	redirected := 0
	target := serve(t, func(http.ResponseWriter, *http.Request) { redirected++ })
	for _, tt := range []struct {
		name    string
		url     string
		handler http.HandlerFunc
		class   oauthapps.Class
		code    string
	}{
		{"a refused connection was not sent", "http://" + refused.Addr().String(), nil, oauthapps.NotSent, "network_error"},
		{"an unknown host was not sent", "https://nothing.invalid/token", nil, oauthapps.NotSent, "network_error"},
		{"a server without TLS was not sent", "tls", func(http.ResponseWriter, *http.Request) {}, oauthapps.NotSent, "network_error"},
		{"a metadata service is not called", "http://169.254.169.254/", nil, oauthapps.NotSent, "network_error"},
		{"a dropped connection is unknown", "", func(w http.ResponseWriter, _ *http.Request) { drop(w) }, oauthapps.OutcomeUnknown, "unknown_outcome"},
		{"an answer after the time limit is unknown", "", func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // only then does the server see the client go
			<-r.Context().Done()
			panic(http.ErrAbortHandler) // an empty answer could still reach the caller that has just given up
		}, oauthapps.OutcomeUnknown, "unknown_outcome"},
		{"half an answer is unknown", "", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, `{"access_token":"canary`)
			_ = http.NewResponseController(w).Flush()
			drop(w)
		}, oauthapps.OutcomeUnknown, "unknown_outcome"},
		{"a server error is the server's", "", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }, oauthapps.ServerFailed, "provider_error"},
		{"429 is rate limited", "", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) }, oauthapps.ServerFailed, "rate_limited"},
		{"503 with Retry-After is rate limited", "", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "9")
			w.WriteHeader(503)
		}, oauthapps.ServerFailed, "rate_limited"},
		{"a redirect is not followed", "", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, target.URL, http.StatusTemporaryRedirect)
		}, oauthapps.ServerFailed, "provider_error"},
		{"an error code that is none is not repeated", "", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(400)
			_, _ = io.WriteString(w, `{"error":"<canary>"}`)
		}, oauthapps.ServerFailed, "provider_error"},
		// There may be a new refresh token in it, and the old one may be spent.
		{"2 MB that may hold tokens are not read, and the outcome is unknown", "", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"access_token":"`+strings.Repeat("canary", 1<<18)+`"}`)
		}, oauthapps.OutcomeUnknown, "unknown_outcome"},
		{"2 MB of an error are the server's", "", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(400)
			_, _ = io.WriteString(w, `{"error":"`+strings.Repeat("canary", 1<<18)+`"}`)
		}, oauthapps.ServerFailed, "provider_error"},
		{"invalid_grant is the grant's", "", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(400)
			_, _ = io.WriteString(w, `{"error":"invalid_grant","error_description":"canary"}`)
		}, oauthapps.GrantRefused, "invalid_grant"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			endpoint := tt.url
			if tt.handler != nil {
				endpoint = serve(t, tt.handler).URL + tt.url
				if tt.url == "tls" {
					endpoint = strings.Replace(strings.TrimSuffix(endpoint, "tls"), "http:", "https:", 1)
				}
			}
			app := oauthapps.App{ID: "oap_1", TokenURL: endpoint, ClientID: "id", ClientSecret: oauthapps.NewSecret("canary")}
			_, err := loopback(300*time.Millisecond).Grant(t.Context(), app, url.Values{"refresh_token": {"canary"}})
			f, ok := errors.AsType[*oauthapps.Failure](err)
			if !ok || f.Class != tt.class || f.Code != tt.code {
				t.Fatalf("Grant = %v, want class %d, %s", err, tt.class, tt.code)
			}
			for e := error(f); e != nil; e = errors.Unwrap(e) {
				if strings.Contains(e.Error(), "canary") || strings.Contains(e.Error(), "http") {
					t.Errorf("the error tells too much: %v", e)
				}
			}
		})
	}
	if redirected != 0 {
		t.Error("a redirect was followed")
	}
}

func TestLoopbackIsNotCalledUnlessAllowed(t *testing.T) {
	called := false
	s := serve(t, func(http.ResponseWriter, *http.Request) { called = true })
	client := oauthapps.NewClient(oauthapps.ClientConfig{})
	_, err := client.Grant(t.Context(), oauthapps.App{TokenURL: s.URL, ClientID: "id"}, nil)
	if f, ok := errors.AsType[*oauthapps.Failure](err); !ok || f.Class != oauthapps.NotSent || called {
		t.Errorf("Grant = %v, called: %v, want it not sent", err, called)
	}
	if _, err := client.Discover(t.Context(), s.URL); fault.KindOf(err) != fault.Invalid || called {
		t.Errorf("Discover = %v, called: %v", err, called)
	}
	if _, err := client.Userinfo(t.Context(), oauthapps.App{UserinfoURL: s.URL}, oauthapps.NewSecret("t")); err == nil || called {
		t.Errorf("Userinfo = %v, called: %v", err, called)
	}
	if err := client.Revoke(t.Context(), oauthapps.App{RevocationURL: s.URL}, oauthapps.NewSecret("t"), ""); err == nil || called {
		t.Errorf("Revoke = %v, called: %v", err, called)
	}
}

func TestDiscover(t *testing.T) {
	var s *httptest.Server
	documents := map[string]string{}
	s = serve(t, func(w http.ResponseWriter, r *http.Request) {
		doc, ok := documents[r.URL.Path]
		if !ok {
			w.WriteHeader(404)
			return
		}
		_, _ = io.WriteString(w, strings.ReplaceAll(doc, "$", s.URL))
	})
	const good = `{"issuer":"$%","authorization_endpoint":"$/a","token_endpoint":"$/t","jwks_uri":"$/j","authorization_response_iss_parameter_supported":true}`
	for _, tt := range []struct {
		name, issuer, place, document, detail string
	}{
		{"OpenID Connect", "$", "/.well-known/openid-configuration", strings.ReplaceAll(good, "%", ""), ""},
		{"OpenID Connect with a path", "$/tenant", "/tenant/.well-known/openid-configuration", strings.ReplaceAll(good, "%", "/tenant"), ""},
		{"RFC 8414", "$", "/.well-known/oauth-authorization-server", strings.ReplaceAll(good, "%", ""), ""},
		{"RFC 8414 inserts before the path", "$/tenant", "/.well-known/oauth-authorization-server/tenant", strings.ReplaceAll(good, "%", "/tenant"), ""},
		{"some append", "$/oidc", "/oidc/.well-known/oauth-authorization-server", strings.ReplaceAll(good, "%", "/oidc"), ""},
		{"another issuer", "$", "/.well-known/openid-configuration", strings.ReplaceAll(good, "%", ".evil"), "is not exactly"},
		{"a slash at the end is another issuer", "$", "/.well-known/openid-configuration", strings.ReplaceAll(good, "%", "/"), "is not exactly"},
		{"an endpoint without TLS", "$", "/.well-known/openid-configuration", `{"issuer":"$","token_endpoint":"http://idp.example/t"}`, "must be https"},
		{"HTML", "$", "/.well-known/openid-configuration", `<html>`, "could not be read"},
		{"nothing there", "$", "", "", "404"},
		{"no URL", "idp.example.com", "", "", "absolute URL"},
		{"plain http", "http://idp.example.com", "", "", "must be https"},
		{"a query", "$?x=1", "", "", "query"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			clear(documents)
			documents[tt.place] = tt.document
			if tt.place == "" {
				clear(documents)
			}
			m, err := loopback(0).Discover(t.Context(), strings.ReplaceAll(tt.issuer, "$", s.URL))
			if tt.detail == "" {
				if err != nil || m.AuthURL != s.URL+"/a" || m.TokenURL != s.URL+"/t" || m.JWKSURL != s.URL+"/j" || !m.IssInResponse {
					t.Errorf("Discover = %+v, %v", m, err)
				}
				return
			}
			e, ok := errors.AsType[*fault.Error](err)
			if !ok || e.Kind != fault.Invalid || !strings.Contains(e.Detail, tt.detail) || len(e.Fields) != 1 || e.Fields[0].Pointer != "/issuer" {
				t.Errorf("Discover = %v, want fault.Invalid at /issuer about %q", err, tt.detail)
			}
		})
	}
}

func TestRevoke(t *testing.T) {
	status, body := 200, ""
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("token") != "t" || r.FormValue("token_type_hint") != "refresh_token" {
			t.Errorf("form %v", r.Form)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
	app := oauthapps.App{RevocationURL: s.URL, ClientID: "id", ClientSecret: oauthapps.NewSecret("s")}
	revoke := func() error {
		return loopback(0).Revoke(context.Background(), app, oauthapps.NewSecret("t"), "refresh_token")
	}
	if err := revoke(); err != nil {
		t.Errorf("Revoke = %v", err)
	}
	if status, body = 400, `{"error":"invalid_token"}`; revoke() != nil {
		t.Errorf("Revoke of an unknown token = %v, want success", revoke())
	}
	if status, body = 400, `{"error":"unsupported_token_type"}`; revoke() == nil {
		t.Error("Revoke of an unsupported type succeeded")
	}
	if status, body = 503, ``; revoke() == nil {
		t.Error("Revoke at a failing server succeeded")
	}
	if app.RevocationURL = ""; fault.KindOf(revoke()) != fault.NotFound {
		t.Errorf("Revoke without an endpoint = %v, want not found", revoke())
	}
}
