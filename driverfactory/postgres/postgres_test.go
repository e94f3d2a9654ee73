package postgres

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
)

func TestCheck(t *testing.T) {
	secret := driverfactory.NewSecret
	for _, tt := range []struct {
		name    string
		options map[string]string
		app     string
		account *driverfactory.ServiceAccount
		want    string
	}{
		{name: "a database with an OAuth app", options: map[string]string{"host": "db", "database": "d"}, app: "pg"},
		{name: "a database with a service account", options: map[string]string{"host": "db", "port": "6543", "database": "d", "sslmode": "disable"},
			account: &driverfactory.ServiceAccount{User: "u", Password: secret("p")}},
		{name: "nothing", want: "options/host required, options/database required"},
		{name: "tokens unencrypted", options: map[string]string{"host": "db", "database": "d", "sslmode": "disable"}, app: "pg", want: "options/sslmode insecure"},
		{name: "tokens perhaps unencrypted", options: map[string]string{"host": "db", "database": "d", "sslmode": "prefer"},
			account: &driverfactory.ServiceAccount{User: "u", Token: secret("t")}, want: "options/sslmode insecure"},
		{name: "tokens unencrypted on this machine", options: map[string]string{"host": "127.0.0.1", "database": "d", "sslmode": "disable"}, app: "pg"},
		{name: "a mode that is none", options: map[string]string{"host": "db", "database": "d", "sslmode": "verify_full"}, want: "options/sslmode invalid"},
		{name: "an authentication that is none", options: map[string]string{"host": "db", "database": "d", "auth": "oath"}, want: "options/auth invalid"},
		{name: "several hosts", options: map[string]string{"host": "a,b", "database": "d"}, want: "options/host invalid"},
		{name: "an account without a user", options: map[string]string{"host": "db", "database": "d"},
			account: &driverfactory.ServiceAccount{Password: secret("p")}, want: "service_account/user required"},
		{name: "an account with a key", options: map[string]string{"host": "db", "database": "d"},
			account: &driverfactory.ServiceAccount{User: "u", PrivateKey: secret("k")}, want: "service_account/private_key unsupported"},
		{name: "an account with a token and a password", options: map[string]string{"host": "db", "database": "d"},
			account: &driverfactory.ServiceAccount{User: "u", Token: secret("t"), Password: secret("p")}, want: "service_account invalid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := New().Check(driverfactory.Source{Name: "s", Type: "postgres", Options: tt.options, OAuthApp: tt.app, ServiceAccount: tt.account})
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

// oauthServer speaks the beginning of PostgreSQL 18's protocol and lets in whoever shows the token "good". It returns
// its port and what it saw: the role and the token of each login.
func oauthServer(t *testing.T, ask string) (port string, seen chan [2]string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	seen = make(chan [2]string, 10)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serve(conn, ask, seen)
		}
	}()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), seen
}

func serve(conn net.Conn, ask string, seen chan<- [2]string) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	b := pgproto3.NewBackend(conn, conn)
	msg, err := b.ReceiveStartupMessage()
	for ; err == nil; msg, err = b.ReceiveStartupMessage() {
		if _, ok := msg.(*pgproto3.StartupMessage); ok {
			break
		}
		_, _ = conn.Write([]byte("N")) // no TLS here
	}
	if err != nil {
		return
	}
	role := msg.(*pgproto3.StartupMessage).Parameters["user"]
	if ask == "password" {
		b.Send(&pgproto3.AuthenticationCleartextPassword{})
		_ = b.Flush()
		_ = b.SetAuthType(pgproto3.AuthTypeCleartextPassword)
		if m, err := b.Receive(); err == nil {
			seen <- [2]string{role, m.(*pgproto3.PasswordMessage).Password}
		}
		return
	}
	b.Send(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"OAUTHBEARER"}})
	_ = b.Flush()
	_ = b.SetAuthType(pgproto3.AuthTypeSASL)
	m, err := b.Receive()
	if err != nil {
		return
	}
	token := strings.TrimSuffix(strings.TrimPrefix(string(m.(*pgproto3.SASLInitialResponse).Data), "n,,\x01auth=Bearer "), "\x01\x01")
	seen <- [2]string{role, token}
	if token != "good" {
		b.Send(&pgproto3.AuthenticationSASLContinue{Data: []byte(`{"status":"invalid_token"}`)})
		_ = b.Flush()
		return
	}
	b.Send(&pgproto3.AuthenticationOk{})
	b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	_ = b.Flush()
	for { // what a session says of itself
		if m, err := b.Receive(); err != nil {
			return
		} else if q, ok := m.(*pgproto3.Query); ok && strings.HasPrefix(q.String, "SET ") {
			b.Send(&pgproto3.CommandComplete{CommandTag: []byte("SET")})
			b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
			_ = b.Flush()
		}
	}
}

func TestOAuthBearer(t *testing.T) {
	for _, tt := range []struct {
		name, token, user, ask string
		fails                  error
		want                   driverfactory.Class
		seen                   [2]string
		in                     bool
	}{
		{name: "a good token, as who asked", token: "good", ask: "oauth", seen: [2]string{"alice", "good"}, in: true},
		{name: "the role that the source names", token: "good", user: "{username}@corp", ask: "oauth", seen: [2]string{"alice@corp", "good"}, in: true},
		{name: "a refused token", token: "bad", ask: "oauth", seen: [2]string{"alice", "bad"}, want: driverfactory.AuthExpired},
		{name: "a server that wants a password is not given the token", token: "good", ask: "password", want: driverfactory.Misconfigured},
		{name: "no token", fails: fault.New(fault.ReauthorizationRequired, "x"), ask: "oauth", want: driverfactory.TransportFailed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			port, seen := oauthServer(t, tt.ask)
			options := map[string]string{"host": "127.0.0.1", "port": port, "database": "d"}
			if tt.user != "" {
				options["user"] = tt.user
			}
			c, err := New().Connector(driverfactory.Source{Name: "s", Type: "postgres", Options: options}, driverfactory.Login{
				Username: "alice",
				Token: func(context.Context) (driverfactory.Token, error) {
					return driverfactory.Token{Value: driverfactory.NewSecret(tt.token)}, tt.fails
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			conn, err := c.Connect(ctx)
			if tt.in != (err == nil) {
				t.Fatalf("Connect = %v, want in: %v", err, tt.in)
			}
			if err != nil {
				if got := New().Classify(err); got != tt.want {
					t.Errorf("Classify(%v) = %v, want %v", err, got, tt.want)
				}
				if tt.fails != nil && !errors.Is(err, fault.ReauthorizationRequired) {
					t.Errorf("error = %v, want the refusal of Token in it", err)
				}
				if strings.Contains(fmt.Sprintf("%+v", err), "good") {
					t.Errorf("the error holds the token: %+v", err)
				}
			} else {
				_ = conn.Close()
			}
			if tt.seen[0] != "" {
				if got := <-seen; got != tt.seen {
					t.Errorf("the server saw %v, want %v", got, tt.seen)
				}
			}
			select {
			case got := <-seen:
				if tt.seen[0] == "" {
					t.Errorf("the server saw %v, want nothing", got)
				}
			default:
			}
		})
	}
}

func TestAPasswordOfTheEnvironmentIsNeverUsed(t *testing.T) {
	t.Setenv("PGPASSWORD", "from-the-environment")
	t.Setenv("PGUSER", "somebody")
	port, seen := oauthServer(t, "password")
	src := driverfactory.Source{Name: "s", Type: "postgres", Options: map[string]string{"host": "127.0.0.1", "port": port, "database": "d", "sslmode": "disable"}}
	c, err := New().Connector(src, driverfactory.Login{Account: &driverfactory.ServiceAccount{User: "svc", Password: driverfactory.NewSecret("pw")}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := c.Connect(ctx); err == nil || strings.Contains(err.Error(), "pw") {
		t.Errorf("Connect = %v, want an error without the password", err)
	}
	if got, want := <-seen, [2]string{"svc", "pw"}; got != want {
		t.Errorf("the server saw %v, want %v", got, want)
	}
}

func TestALoginNeedsARole(t *testing.T) {
	src := driverfactory.Source{Name: "s", Type: "postgres", Options: map[string]string{"host": "h", "database": "d"}}
	_, err := New().Connector(src, driverfactory.Login{Token: func(context.Context) (driverfactory.Token, error) { return driverfactory.Token{}, nil }})
	if !errors.Is(err, fault.Invalid) {
		t.Errorf("Connector without a username = %v, want invalid", err)
	}
}

func TestClassify(t *testing.T) {
	code := func(c string) error { return &pgconn.PgError{Code: c} }
	for _, tt := range []struct {
		name string
		err  error
		want driverfactory.Class
	}{
		{"a wrong password", code("28P01"), driverfactory.AuthExpired},
		{"a refused role", code("28000"), driverfactory.AuthExpired},
		{"a missing privilege", code("42501"), driverfactory.AccessDenied},
		{"wrong SQL", code("42601"), driverfactory.StatementFailed},
		{"no such database", code("3D000"), driverfactory.Misconfigured},
		{"cancelled", code("57014"), driverfactory.Canceled},
		{"an administrator cut it: it may have run", code("57P01"), driverfactory.TransportFailed},
		{"too many connections", code("53300"), driverfactory.TransportFailed},
		{"a closed connection", pgconn.ErrConnClosed, driverfactory.TransportFailed},
		{"a connection that database/sql gave up", driver.ErrBadConn, driverfactory.SessionLost},
		{"a host that does not answer", &connectError{errors.New("dial tcp: refused")}, driverfactory.TransportFailed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := New().Classify(fmt.Errorf("wrapped: %w", tt.err)); got != tt.want {
				t.Errorf("Classify = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestValue(t *testing.T) {
	at := time.Date(2024, 2, 29, 1, 2, 3, 0, time.UTC)
	for _, tt := range []struct {
		dbType   string
		in, want any
	}{
		{"INT8", int64(1), int64(1)}, {"FLOAT4", float64(float32(0.1)), 0.1}, {"FLOAT8", 0.1, 0.1}, {"BOOL", true, true}, {"TEXT", nil, nil},
		{"NUMERIC", "27.50", driverfactory.Decimal("27.50")}, {"NUMERIC", "NaN", "NaN"}, {"NUMERIC", "-Infinity", "-Infinity"},
		{"TEXT", "27.50", "27.50"}, {"BYTEA", []byte{1}, []byte{1}}, {"JSONB", []byte(`{}`), `{}`},
		{"TIMESTAMPTZ", at.In(time.FixedZone("", 3600)), at}, {"OID", int64(7), int64(7)},
	} {
		if got := New().Value(tt.dbType, -1, tt.in); !cmp.Equal(got, tt.want) {
			t.Errorf("Value(%s, %#v) = %#v, want %#v", tt.dbType, tt.in, got, tt.want)
		}
	}
}

// FuzzConnString looks for a name of a person or a database that escapes its quotes and becomes a setting.
func FuzzConnString(f *testing.F) {
	f.Add("alice", "d")
	f.Add(`x' host='evil.example`, `d\`)
	f.Add(`\' sslmode=disable '`, "a b=c")
	f.Fuzz(func(t *testing.T, user, database string) {
		if user == "" || database == "" || strings.ContainsRune(user+database, 0) {
			return
		}
		cfg, err := pgx.ParseConfig(connString(map[string]string{
			"host": "db.example.com", "port": "5432", "user": user, "dbname": database, "sslmode": "verify-full",
		}))
		if err != nil {
			return // refused is fine
		}
		if cfg.Host != "db.example.com" || cfg.User != user || cfg.Database != database || cfg.TLSConfig == nil || len(cfg.Fallbacks) != 0 {
			t.Errorf("user %q, database %q became host %q, user %q, database %q", user, database, cfg.Host, cfg.User, cfg.Database)
		}
	})
}
