//go:build cgo

package sandbox_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	dbsql "github.com/databricks/databricks-sql-go"
	dbsqllog "github.com/databricks/databricks-sql-go/logger"
	"github.com/snowflakedb/gosnowflake/v2"
	"go.uber.org/goleak"
	"golang.org/x/oauth2"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/sandbox"
	"github.com/behalf-project/behalf/internal/sandbox/databricks"
	"github.com/behalf-project/behalf/internal/sandbox/engine"
)

func TestMain(m *testing.M) {
	_ = os.Setenv("SNOWFLAKE_DISABLE_PLATFORM_DETECTION", "true")
	_ = os.Setenv("SF_DISABLE_MINICORE", "true")
	_ = gosnowflake.GetLogger().SetLogLevel("off")
	_ = dbsqllog.SetLogLevel("disabled")
	os.Exit(m.Run())
}

const redirectURI = "http://localhost:4000/oauth/callback/databricks"

func start(t *testing.T) *sandbox.Sandbox {
	t.Helper()
	s, err := sandbox.Start(t.Context(), sandbox.Config{Rows: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, c := range []sandbox.Client{s.DatabricksClient, s.SnowflakeClient} {
		if err := s.IdP.AddRedirectURI(c.ID, redirectURI); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// connect does the whole authorization code flow of an OAuth app for a person.
func connect(t *testing.T, s *sandbox.Sandbox, c sandbox.Client, username string) *oauth2.Token {
	t.Helper()
	conf := oauth2.Config{ClientID: c.ID, ClientSecret: c.Secret.Reveal(), RedirectURL: redirectURI, Scopes: c.Scopes, Endpoint: oauth2.Endpoint{
		AuthURL: s.IssuerURL + "/authorize", TokenURL: s.IssuerURL + "/token", AuthStyle: oauth2.AuthStyleInHeader}}
	verifier := oauth2.GenerateVerifier()
	to, err := s.IdP.SignIn(t.Context(), conf.AuthCodeURL("st", oauth2.S256ChallengeOption(verifier)), username)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := conf.Exchange(t.Context(), to.Query().Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

type local struct{ token string }

// RoundTrip keeps the driver's telemetry from the network.
func (l local) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasPrefix(r.URL.Path, "/sql/") {
		return &http.Response{StatusCode: 200, Header: http.Header{}, Request: r, Body: io.NopCloser(strings.NewReader(`{"flags":[],"ttl_seconds":900}`))}, nil
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+l.token)
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("HTTP %d", resp.StatusCode)
	}
	return resp, err
}

func hostPort(t *testing.T, address string) (string, int) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	host, text, _ := net.SplitHostPort(u.Host)
	port, _ := strconv.Atoi(text)
	return host, port
}

func openDatabricks(t *testing.T, s *sandbox.Sandbox, token string) *sql.DB {
	t.Helper()
	host, port := hostPort(t, s.DatabricksURL)
	c, err := dbsql.NewConnector(dbsql.WithServerHostname("http://"+host), dbsql.WithPort(port), dbsql.WithHTTPPath(databricks.HTTPPath),
		dbsql.WithRetries(-1, 0, 0), dbsql.WithTransport(local{token}))
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(c)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func openSnowflake(t *testing.T, s *sandbox.Sandbox, change func(*gosnowflake.Config)) *sql.DB {
	t.Helper()
	host, port := hostPort(t, s.SnowflakeURL)
	cfg := gosnowflake.Config{Account: "sandbox", Protocol: "http", Host: host, Port: port, LoginTimeout: 5 * time.Second, MaxRetryCount: 1, DisableOCSPChecks: true}
	change(&cfg)
	db := sql.OpenDB(gosnowflake.NewConnector(gosnowflake.SnowflakeDriver{}, cfg))
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func region(t *testing.T, db *sql.DB) (string, error) {
	t.Helper()
	var lowest, highest string
	err := db.QueryRowContext(t.Context(), "SELECT min(region), max(region) FROM orders").Scan(&lowest, &highest)
	return lowest + " to " + highest, err
}

func TestWhatThePeopleSee(t *testing.T) {
	s := start(t)
	for _, tt := range []struct{ who, want string }{{"alice", "EMEA to EMEA"}, {"bob", "AMER to AMER"}, {"carol", "AMER to EMEA"}} {
		got, err := region(t, openDatabricks(t, s, connect(t, s, s.DatabricksClient, tt.who).AccessToken))
		if err != nil || got != tt.want {
			t.Errorf("%s at Databricks: %q, %v, want %q", tt.who, got, err, tt.want)
		}
		got, err = region(t, openSnowflake(t, s, func(c *gosnowflake.Config) {
			c.Authenticator, c.Token = gosnowflake.AuthTypeOAuth, connect(t, s, s.SnowflakeClient, tt.who).AccessToken
		}))
		if err != nil || got != tt.want {
			t.Errorf("%s at Snowflake: %q, %v, want %q", tt.who, got, err, tt.want)
		}
	}
}

func TestTheServiceAccount(t *testing.T) {
	s := start(t)
	const want = "AMER to EMEA"
	if got, err := region(t, openDatabricks(t, s, s.Service.DatabricksToken.Reveal())); err != nil || got != want {
		t.Errorf("Databricks: %q, %v, want %q", got, err, want)
	}
	for name, change := range map[string]func(*gosnowflake.Config){
		"password": func(c *gosnowflake.Config) { c.User, c.Password = s.Service.User, s.Service.SnowflakePassword.Reveal() },
		"token": func(c *gosnowflake.Config) {
			c.Authenticator, c.User, c.Token = gosnowflake.AuthTypePat, s.Service.User, s.Service.SnowflakeToken.Reveal()
		},
	} {
		if got, err := region(t, openSnowflake(t, s, change)); err != nil || got != want {
			t.Errorf("Snowflake by %s: %q, %v, want %q", name, got, err, want)
		}
	}
	for _, st := range s.Engine.Log.Statements() {
		if st.Identity != "svc" {
			t.Errorf("%q ran as %s", st.SQL, st.Identity)
		}
	}
}

func TestTokensEndForReal(t *testing.T) {
	s := start(t)
	alice, bob := connect(t, s, s.DatabricksClient, "alice"), connect(t, s, s.DatabricksClient, "bob")
	a, b := openDatabricks(t, s, alice.AccessToken), openDatabricks(t, s, bob.AccessToken)
	for who, db := range map[string]*sql.DB{"alice": a, "bob": b} {
		if _, err := region(t, db); err != nil {
			t.Fatalf("%s: %v", who, err)
		}
	}
	s.IdP.ExpireTokens("alice")
	s.IdP.RevokeGrants("bob")
	for who, db := range map[string]*sql.DB{"alice": a, "bob": b} {
		if got, err := region(t, db); err == nil || !strings.Contains(err.Error(), "HTTP 403") {
			t.Errorf("%s after the end of the token: %q, %v, want HTTP 403", who, got, err)
		}
	}
}

func TestPeopleCanBeAdded(t *testing.T) {
	s := start(t)
	if _, err := s.AddPerson(t.Context(), "dan", engine.Rights{Regions: []string{"APAC"}}); err != nil {
		t.Fatal(err)
	}
	got, err := region(t, openDatabricks(t, s, connect(t, s, s.DatabricksClient, "dan").AccessToken))
	if err != nil || got != "APAC to APAC" {
		t.Errorf("dan sees %q, %v, want APAC", got, err)
	}
}

func TestOnlyLoopback(t *testing.T) {
	for _, host := range []string{"0.0.0.0", "::", "192.0.2.1", "example.com", ":"} {
		if s, err := sandbox.Start(t.Context(), sandbox.Config{Rows: 100, Host: host}); !errors.Is(err, fault.Invalid) {
			t.Errorf("Start on %q: %v, want a refusal", host, err)
			if err == nil {
				_ = s.Close()
			}
		}
	}
	s := start(t)
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, s.IssuerURL+"/.well-known/openid-configuration", nil)
	r.Host = "evil.example:80"
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("a request for evil.example: HTTP %d, want 421", resp.StatusCode)
	}
}

func TestSecretsDifferPerStart(t *testing.T) {
	a, b := start(t), start(t)
	seen := map[string]bool{}
	for _, s := range []*sandbox.Sandbox{a, b} {
		secrets := []string{s.DatabricksClient.Secret.Reveal(), s.SnowflakeClient.Secret.Reveal(), s.LoginClient.Secret.Reveal(), s.Service.DatabricksToken.Reveal(),
			s.Service.SnowflakeToken.Reveal(), s.Service.SnowflakePassword.Reveal(), s.Service.OAuth.Secret.Reveal()}
		for _, p := range s.People {
			secrets = append(secrets, p.Password.Reveal())
		}
		for _, text := range secrets {
			if len(text) < 26 || seen[text] {
				t.Errorf("a secret of %d characters is short or was seen before", len(text))
			}
			seen[text] = true
		}
	}
}

func TestRunEndsWithNothingLeft(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s, err := sandbox.Start(t.Context(), sandbox.Config{Rows: 1000})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	client := &http.Client{Transport: &http.Transport{}}
	resp, err := client.Get(s.IssuerURL + "/jwks")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	client.CloseIdleConnections()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	if _, err := net.DialTimeout("tcp", strings.TrimPrefix(s.SnowflakeURL, "http://"), time.Second); err == nil {
		t.Error("the port is still open after Run")
	}
}
