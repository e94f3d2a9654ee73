package snowflake

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"database/sql/driver"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/snowflakedb/gosnowflake/v2"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
)

func TestMain(m *testing.M) {
	if err := Quiet(); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func pemKey(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func TestCheck(t *testing.T) {
	secret := driverfactory.NewSecret
	ok := map[string]string{"account": "org-acct", "warehouse": "WH", "role": "R", "database": "D", "schema": "S"}
	for _, tt := range []struct {
		name    string
		options map[string]string
		account *driverfactory.ServiceAccount
		want    string
	}{
		{name: "an account", options: ok},
		{name: "an account in a region", options: map[string]string{"account": "acct.eu-central-1"}},
		{name: "the sandbox", options: map[string]string{"account": "x", "host": "127.0.0.1", "port": "8080", "protocol": "http"}},
		{name: "nothing", want: "options/account required"},
		{name: "plain http elsewhere", options: map[string]string{"account": "x", "host": "h.example.com", "protocol": "http"}, want: "options/protocol insecure"},
		{name: "plain http to the account's own host", options: map[string]string{"account": "x", "protocol": "http"}, want: "options/protocol insecure"},
		{name: "a host with a scheme", options: map[string]string{"account": "x", "host": "https://h"}, want: "options/host invalid"},
		{name: "an account that is a URL", options: map[string]string{"account": "h/x?role=admin"}, want: "options/account invalid"},
		{name: "a port that is none", options: map[string]string{"account": "x", "port": "https"}, want: "options/port invalid"},
		{name: "a misspelt option", options: map[string]string{"account": "x", "warehose": "WH"}, want: "options/warehose unknown"},
		{name: "a service account with a token", options: ok, account: &driverfactory.ServiceAccount{Token: secret("t")}},
		{name: "with a programmatic access token", options: ok, account: &driverfactory.ServiceAccount{Token: secret("t"), Kind: "pat"}},
		{name: "with a token of another kind", options: ok, account: &driverfactory.ServiceAccount{Token: secret("t"), Kind: "jwt"}, want: "service_account/kind invalid"},
		{name: "with a user and password", options: ok, account: &driverfactory.ServiceAccount{User: "u", Password: secret("p")}},
		{name: "with a password and no user", options: ok, account: &driverfactory.ServiceAccount{Password: secret("p")}, want: "service_account/user required"},
		{name: "with a key", options: ok, account: &driverfactory.ServiceAccount{User: "u", PrivateKey: secret(pemKey(t))}},
		{name: "with something else than a key", options: ok, account: &driverfactory.ServiceAccount{User: "u", PrivateKey: secret("-----BEGIN hm")}, want: "service_account/private_key invalid"},
		{name: "with nothing", options: ok, account: &driverfactory.ServiceAccount{User: "u"}, want: "service_account required"},
		{name: "with two", options: ok, account: &driverfactory.ServiceAccount{User: "u", Password: secret("p"), Token: secret("t")}, want: "service_account invalid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := New(Config{}).Check(driverfactory.Source{Name: "s", Type: "snowflake", Options: tt.options, ServiceAccount: tt.account})
			var got []string
			if e, ok := errors.AsType[*fault.Error](err); ok {
				for _, f := range e.Fields {
					got = append(got, f.Pointer+" "+f.Code)
				}
			}
			if strings.Join(got, ", ") != tt.want {
				t.Errorf("Check = %q (%v), want %q", got, err, tt.want)
			}
		})
	}
}

func TestValue(t *testing.T) {
	at := time.Date(2024, 2, 29, 1, 2, 3, 4000, time.UTC)
	paris := time.FixedZone("CET", 3600)
	d := func(s string) driverfactory.Decimal { return driverfactory.Decimal(s) }
	for _, tt := range []struct {
		dbType   string
		scale    int64
		in, want any
	}{
		// As JSON everything is text.
		{"FIXED", 0, "42", int64(42)}, {"FIXED", 2, "27.50", d("27.50")}, {"FIXED", 2, "27", d("27")}, {"FIXED", -1, "42", int64(42)}, {"FIXED", -1, "4.2", d("4.2")},
		{"FIXED", 0, "99999999999999999999999999999999999999", d("99999999999999999999999999999999999999")},
		{"REAL", -1, "0.5", 0.5}, {"REAL", -1, "1e300", 1e300}, {"BOOLEAN", -1, "1", true}, {"BOOLEAN", -1, "0", false},
		{"TEXT", -1, "1", "1"}, {"VARIANT", -1, `{"a":1}`, `{"a":1}`}, {"TEXT", -1, nil, nil},
		// As Arrow some of it is native.
		{"FIXED", 0, int64(42), int64(42)}, {"FIXED", 2, 27.5, d("27.50")}, {"FIXED", 0, big.NewInt(42), int64(42)},
		{"FIXED", 2, big.NewFloat(27.5), d("27.50")}, {"REAL", -1, 0.5, 0.5}, {"BOOLEAN", -1, true, true},
		{"DATE", -1, at.Truncate(24 * time.Hour), at.Truncate(24 * time.Hour)}, {"TIMESTAMP_TZ", -1, at.In(paris), at}, {"TIMESTAMP_NTZ", -1, at, at},
		{"TIME", -1, time.Date(1, 1, 1, 1, 2, 3, 5e8, time.UTC), "01:02:03.5"}, {"BINARY", -1, []byte{1}, []byte{1}}, {"TEXT", -1, []byte("x"), "x"},
	} {
		if got := New(Config{}).Value(tt.dbType, tt.scale, tt.in); !cmp.Equal(got, tt.want) {
			t.Errorf("Value(%s, %d, %#v) = %#v, want %#v", tt.dbType, tt.scale, tt.in, got, tt.want)
		}
	}
}

func TestClassify(t *testing.T) {
	number := func(n int, state string) error { return &gosnowflake.SnowflakeError{Number: n, SQLState: state} }
	for _, tt := range []struct {
		name string
		err  error
		want driverfactory.Class
	}{
		{"an expired token at login", number(390318, "08004"), driverfactory.AuthExpired},
		{"an invalid or revoked token at login", number(390303, "08004"), driverfactory.AuthExpired},
		{"another user's token", number(390309, "08004"), driverfactory.Misconfigured},
		{"an unknown role", number(390189, "08004"), driverfactory.Misconfigured},
		{"a session that is gone", number(390111, ""), driverfactory.SessionLost},
		{"a master token that ended", number(390114, ""), driverfactory.SessionLost},
		{"a session token that could not be renewed", number(390112, ""), driverfactory.SessionLost},
		{"wrong SQL", number(1003, "42000"), driverfactory.StatementFailed},
		{"an unknown object", number(2003, "02000"), driverfactory.StatementFailed},
		{"a missing privilege", number(3001, "42501"), driverfactory.AccessDenied},
		{"cancelled at the server", number(604, "57014"), driverfactory.Canceled},
		{"a request that failed", number(261000, ""), driverfactory.TransportFailed},
		{"a host that does not answer", &url.Error{Op: "Post", URL: "u", Err: io.EOF}, driverfactory.TransportFailed},
		{"a connection that database/sql gave up", driver.ErrBadConn, driverfactory.SessionLost},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := New(Config{}).Classify(fmt.Errorf("wrapped: %w", tt.err)); got != tt.want {
				t.Errorf("Classify = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestExplain(t *testing.T) {
	inner := &gosnowflake.SnowflakeError{Number: 1003, SQLState: "42000", Message: "SQL compilation error (line 1): unexpected 'x'"}
	outer := &gosnowflake.SnowflakeError{Number: 1003, SQLState: "42000", Message: inner.Error()}
	if got := New(Config{}).Explain(outer); got != inner.Message {
		t.Errorf("Explain = %q, want %q", got, inner.Message)
	}
	if got := New(Config{}).Explain(errors.New("x")); got != "" {
		t.Errorf("Explain of another error = %q, want none", got)
	}
}

// recorder is an account that lets everybody in, wants telemetry, and remembers what it was sent.
type recorder struct {
	mu       sync.Mutex
	requests []*http.Request
	logins   []map[string]any
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, req)
	data := map[string]any{}
	if req.URL.Path == "/session/v1/login-request" {
		var login struct{ Data map[string]any }
		_ = json.Unmarshal(body, &login)
		r.logins = append(r.logins, login.Data)
		data = map[string]any{"token": "session", "masterToken": "master", "sessionId": 1, "validityInSeconds": 3600, "masterValidityInSeconds": 14400}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"success": true, "data": data})
}

func TestALoginSaysWhatItMustAndNoMore(t *testing.T) {
	for _, tt := range []struct {
		name    string
		account *driverfactory.ServiceAccount
		want    map[string]any // of the login request; nil for what must be absent
	}{
		{"a person", nil, map[string]any{"AUTHENTICATOR": "OAUTH", "TOKEN": "the-token", "LOGIN_NAME": nil, "PASSWORD": nil}},
		{"a service account with a token", &driverfactory.ServiceAccount{Token: driverfactory.NewSecret("the-token")},
			map[string]any{"AUTHENTICATOR": "OAUTH", "TOKEN": "the-token"}},
		{"with a programmatic access token", &driverfactory.ServiceAccount{Token: driverfactory.NewSecret("the-token"), Kind: "pat", User: "svc"},
			map[string]any{"AUTHENTICATOR": "PROGRAMMATIC_ACCESS_TOKEN", "TOKEN": "the-token", "LOGIN_NAME": "svc"}},
		{"with a user and password", &driverfactory.ServiceAccount{User: "svc", Password: driverfactory.NewSecret("pw")},
			map[string]any{"LOGIN_NAME": "svc", "PASSWORD": "pw", "TOKEN": nil}},
		{"with a key", &driverfactory.ServiceAccount{User: "svc", PrivateKey: driverfactory.NewSecret(pemKey(t))},
			map[string]any{"AUTHENTICATOR": "SNOWFLAKE_JWT", "PASSWORD": nil}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &recorder{}
			srv := httptest.NewServer(r)
			defer srv.Close()
			u, _ := url.Parse(srv.URL)
			base := &http.Transport{}
			defer base.CloseIdleConnections()
			login := driverfactory.Login{Account: tt.account}
			if tt.account == nil || !tt.account.Token.Empty() {
				login.Token = func(context.Context) (driverfactory.Token, error) {
					return driverfactory.Token{Value: driverfactory.NewSecret("the-token")}, nil
				}
			}
			c, err := New(Config{Transport: base}).Connector(driverfactory.Source{Name: "s", Type: "snowflake", ServiceAccount: tt.account, Options: map[string]string{
				"account": "acct", "host": u.Hostname(), "port": u.Port(), "protocol": "http", "role": "R", "warehouse": "WH",
			}}, login)
			if err != nil {
				t.Fatal(err)
			}
			conn, err := c.Connect(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := conn.Close(); err != nil {
				t.Errorf("Close = %v", err)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			if len(r.logins) != 1 {
				t.Fatalf("%d logins, want 1", len(r.logins))
			}
			for key, want := range tt.want {
				if got := r.logins[0][key]; got != want && !(want == nil && got == "") {
					t.Errorf("%s = %v, want %v", key, got, want)
				}
			}
			params, _ := r.logins[0]["SESSION_PARAMETERS"].(map[string]any)
			for key, want := range map[string]string{"TIMEZONE": "UTC", "CLIENT_TELEMETRY_ENABLED": "false", "STATEMENT_TIMEOUT_IN_SECONDS": "600"} {
				if got := fmt.Sprint(params[key]); got != want {
					t.Errorf("session parameter %s = %v, want %v", key, got, want)
				}
			}
			for _, req := range r.requests {
				if strings.Contains(req.URL.String(), "the-token") || strings.Contains(req.URL.Path, "telemetry") {
					t.Errorf("request %s, want no token in a URL and no telemetry", req.URL)
				}
			}
		})
	}
}

// TestSessionsShareConnections opens and closes sessions of two people over one transport: closing one must not close
// the idle connections of everybody.
func TestSessionsShareConnections(t *testing.T) {
	r := &recorder{}
	srv := httptest.NewUnstartedServer(r)
	var mu sync.Mutex
	connections := 0
	srv.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		mu.Lock()
		defer mu.Unlock()
		if state == http.StateNew {
			connections++
		}
	}
	srv.Start()
	defer srv.Close()
	u, _ := url.Parse(srv.URL)
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	wh := New(Config{Transport: base})
	for _, who := range []string{"a", "b", "a", "b"} {
		c, err := wh.Connector(driverfactory.Source{Name: "s", Type: "snowflake", Options: map[string]string{
			"account": "acct", "host": u.Hostname(), "port": u.Port(), "protocol": "http"}},
			driverfactory.Login{Token: func(context.Context) (driverfactory.Token, error) {
				return driverfactory.Token{Value: driverfactory.NewSecret(who)}, nil
			}})
		if err != nil {
			t.Fatal(err)
		}
		conn, err := c.Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	}
	mu.Lock()
	defer mu.Unlock()
	if connections != 1 {
		t.Errorf("%d TCP connections for four sessions in turn, want 1", connections)
	}
}
