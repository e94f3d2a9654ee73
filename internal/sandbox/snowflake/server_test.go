//go:build cgo

package snowflake_test

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/snowflakedb/gosnowflake/v2"

	"github.com/behalf-project/behalf/internal/sandbox/bearer"
	"github.com/behalf-project/behalf/internal/sandbox/engine"
	"github.com/behalf-project/behalf/internal/sandbox/snowflake"
	"github.com/behalf-project/behalf/internal/secret"
)

func TestMain(m *testing.M) {
	// The driver must not ask the cloud's metadata service where it runs, nor load its native library.
	_ = os.Setenv("SNOWFLAKE_DISABLE_PLATFORM_DETECTION", "true")
	_ = os.Setenv("SF_DISABLE_MINICORE", "true")
	_ = gosnowflake.GetLogger().SetLogLevel("off")
	os.Exit(m.Run())
}

type account struct {
	*snowflake.Server
	engine *engine.Engine
	tokens *bearer.Static
	role   func(user string) (string, []string) // default PUBLIC, and no secondary ones
	host   string
	port   int
}

// start returns an account on loopback in which alice sees EMEA, bob AMER without order_items, and svc everything.
// Each one's OAuth token is their name with "-token"; svc has a password and a programmatic access token too.
func start(t *testing.T, rows int) *account {
	t.Helper()
	e, err := engine.Open(t.Context(), engine.Config{Rows: rows, Rights: map[string]engine.Rights{
		"alice": {Regions: []string{"EMEA"}},
		"bob":   {Regions: []string{"AMER"}, Denied: []string{"order_items"}},
		"svc":   {Regions: engine.AllRegions, Write: true},
	}})
	if err != nil {
		t.Fatal(err)
	}
	a := &account{engine: e, tokens: &bearer.Static{}, role: func(string) (string, []string) { return "PUBLIC", nil }}
	for _, name := range []string{"alice", "bob", "svc"} {
		a.tokens.Set(name+"-token", bearer.Holder{Name: name, Status: bearer.Active})
	}
	pats := &bearer.Static{}
	pats.Set("pat", bearer.Holder{Name: "svc", Status: bearer.Active, Service: true})
	a.Server = snowflake.New(snowflake.Config{Engine: e, OAuth: a.tokens, PAT: pats, Password: func(user string, password secret.Text) bool {
		return user == "svc" && password.Equal(secret.New("pw"))
	}, Role: func(user string) (string, []string) { return a.role(user) }})
	srv := httptest.NewServer(a.Server)
	t.Cleanup(func() {
		srv.Close()
		if err := errors.Join(a.Close(), e.Close()); err != nil {
			t.Error(err)
		}
	})
	host, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	a.host = host
	a.port, _ = strconv.Atoi(port)
	return a
}

func (a *account) open(t *testing.T, change func(*gosnowflake.Config)) *sql.DB {
	t.Helper()
	cfg := gosnowflake.Config{
		Account: "sandbox", Protocol: "http", Host: a.host, Port: a.port, Database: "DEMO", Schema: "PUBLIC",
		LoginTimeout: 5 * time.Second, MaxRetryCount: 1, DisableOCSPChecks: true,
	}
	change(&cfg)
	db := sql.OpenDB(gosnowflake.NewConnector(gosnowflake.SnowflakeDriver{}, cfg))
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func oauth(token string) func(*gosnowflake.Config) {
	return func(c *gosnowflake.Config) { c.Authenticator, c.Token = gosnowflake.AuthTypeOAuth, token }
}

// number returns Snowflake's number for err, 0 for none.
func number(err error) int {
	if failed, ok := errors.AsType[*gosnowflake.SnowflakeError](err); ok {
		return failed.Number
	}
	return 0
}

func count(t *testing.T, db interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}) (int, error) {
	t.Helper()
	var n int
	err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM orders").Scan(&n)
	return n, err
}

func TestTwoPeopleSeeDifferentRows(t *testing.T) {
	a := start(t, 10_000)
	for _, tt := range []struct{ who, want string }{{"alice", "EMEA"}, {"bob", "AMER"}} {
		var me, region string
		var n int64
		err := a.open(t, oauth(tt.who+"-token")).QueryRowContext(t.Context(), `SELECT CURRENT_USER(), MIN(region), COUNT(*) FROM DEMO.PUBLIC.ORDERS`).Scan(&me, &region, &n)
		if err != nil || me != strings.ToUpper(tt.who) || region != tt.want || n == 0 {
			t.Errorf("%s got (%q, %q, %d), %v, want rows of %s", tt.who, me, region, n, err, tt.want)
		}
	}
}

func TestTypes(t *testing.T) {
	a := start(t, 1000)
	db := a.open(t, oauth("alice-token"))
	for _, polling := range []bool{false, true} {
		a.SetPolling(polling)
		rows, err := db.QueryContext(t.Context(), `SELECT 42 AS n, 12.50::decimal(12,2) "amount", 1.5::double, 'x', true, date '2024-01-02', time '03:04:05.5',
			timestamp '2024-01-02 03:04:05.678', timestamp '1969-12-31 23:59:58.5', timestamptz '2024-01-02 03:04:05.678+00', 'ab'::blob, NULL::int`)
		if err != nil {
			t.Fatal(err)
		}
		types, _ := rows.ColumnTypes()
		var names []string
		got, into := make([]any, len(types)), make([]any, len(types))
		for i, c := range types {
			names, into[i] = append(names, c.DatabaseTypeName()), &got[i]
		}
		if types[0].Name() != "N" || types[1].Name() != "amount" {
			t.Errorf("columns %q and %q, want N and amount", types[0].Name(), types[1].Name())
		}
		if p, s, ok := types[1].DecimalSize(); p != 12 || s != 2 || !ok {
			t.Errorf("DecimalSize = %d, %d, %v, want 12, 2", p, s, ok)
		}
		if !rows.Next() {
			t.Fatal(rows.Err())
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		_ = rows.Close()
		for i, v := range got {
			if at, ok := v.(time.Time); ok {
				got[i] = at.UTC()
			}
		}
		if diff := cmp.Diff(strings.Fields("FIXED FIXED REAL TEXT BOOLEAN DATE TIME TIMESTAMP_NTZ TIMESTAMP_NTZ TIMESTAMP_TZ BINARY FIXED"), names); diff != "" {
			t.Errorf("types (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]any{
			"42", "12.50", "1.5", "x", "1", time.Date(2024, 1, 2, 0, 0, 0, 0, time.UTC), time.Date(1, 1, 1, 3, 4, 5, 5e8, time.UTC),
			time.Date(2024, 1, 2, 3, 4, 5, 678e6, time.UTC), time.Date(1969, 12, 31, 23, 59, 58, 5e8, time.UTC),
			time.Date(2024, 1, 2, 3, 4, 5, 678e6, time.UTC), []byte("ab"), nil,
		}, got); diff != "" {
			t.Errorf("polling %v: values (-want +got):\n%s", polling, diff)
		}
	}
}

func TestChunks(t *testing.T) {
	a := start(t, 100_000)
	db := a.open(t, oauth("svc-token"))
	rows, err := db.QueryContext(t.Context(), "SELECT id, CASE WHEN id % 3 = 0 THEN NULL ELSE country END, amount, created_at FROM orders ORDER BY id")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var n, nulls int64
	for rows.Next() {
		var id int64
		var country sql.NullString
		var amount string
		var at time.Time
		if err := rows.Scan(&id, &country, &amount, &at); err != nil {
			t.Fatal(err)
		}
		if n++; id != n {
			t.Fatalf("row %d has the id %d", n, id)
		}
		if !country.Valid {
			nulls++
		}
	}
	if rows.Err() != nil || n != 100_000 || nulls != 33_333 {
		t.Errorf("read %d rows with %d NULLs, %v, want 100000 with 33333", n, nulls, rows.Err())
	}
	empty, err := db.QueryContext(t.Context(), "SELECT id FROM orders WHERE id < 0")
	if err != nil || empty.Next() {
		t.Errorf("an empty result: %v", err)
	}
	_ = empty.Close()
}

func TestBindingsAndWrites(t *testing.T) {
	a := start(t, 1000)
	db := a.open(t, oauth("svc-token"))
	at := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	res, err := db.ExecContext(t.Context(), "INSERT INTO scratch VALUES (?, ?, ?, ?), (?, NULL, NULL, NULL)", 1, "it's", 12.5, at, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := res.RowsAffected(); n != 2 || err != nil {
		t.Errorf("RowsAffected = %d, %v, want 2", n, err)
	}
	var note, amount string
	var back time.Time
	err = db.QueryRowContext(t.Context(), "SELECT note, amount, noted_at FROM scratch WHERE id = ? AND ?", 1, true).Scan(&note, &amount, &back)
	if err != nil || note != "it's" || amount != "12.50" || !back.Equal(at) {
		t.Errorf("read %q, %q, %v, %v", note, amount, back, err)
	}
	var month time.Time
	var n int
	err = db.QueryRowContext(t.Context(), `SELECT date_trunc('MONTH', CONVERT_TIMEZONE('UTC', "orders".created_at::timestamp_tz)::timestamp_ntz) "orders.month", count(*) "orders.count"
		FROM DEMO.PUBLIC.ORDERS AS "orders" WHERE "orders".created_at::timestamp_tz >= ?::timestamp_tz AND "orders".region ILIKE '%' || ? || '%' ESCAPE '\\' GROUP BY 1 ORDER BY 1 LIMIT 1`,
		"2024-03-01T00:00:00.000Z", "eMe").Scan(&month, &n)
	if err != nil || month.Format(time.DateOnly) != "2024-03-01" || n == 0 {
		t.Errorf("got %v, %d, %v, want the orders of 2024-03-01", month, n, err)
	}
}

func TestLogins(t *testing.T) {
	a := start(t, 1000)
	a.tokens.Set("old", bearer.Holder{Name: "alice", Status: bearer.Expired})
	a.tokens.Set("taken-back", bearer.Holder{Name: "alice", Status: bearer.Revoked})
	for _, tt := range []struct {
		name string
		cfg  func(*gosnowflake.Config)
		want int
	}{
		{"a live token", oauth("alice-token"), 0},
		{"a live token and its user", func(c *gosnowflake.Config) { oauth("alice-token")(c); c.User = "ALICE" }, 0},
		{"a live token of another user", func(c *gosnowflake.Config) { oauth("alice-token")(c); c.User = "bob" }, 390309},
		{"an expired token", oauth("old"), 390318},
		{"a revoked token", oauth("taken-back"), 390303},
		{"an unknown token", oauth("made-up"), 390303},
		{"a password", func(c *gosnowflake.Config) { c.User, c.Password = "svc", "pw" }, 0},
		{"a wrong password", func(c *gosnowflake.Config) { c.User, c.Password = "svc", "x" }, 390100},
		{"a programmatic access token", func(c *gosnowflake.Config) { c.Authenticator, c.Token, c.User = gosnowflake.AuthTypePat, "pat", "svc" }, 0},
		{"an OAuth token as a programmatic one", func(c *gosnowflake.Config) {
			c.Authenticator, c.Token, c.User = gosnowflake.AuthTypePat, "alice-token", "alice"
		}, 394400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := count(t, a.open(t, tt.cfg))
			if number(err) != tt.want || tt.want == 0 && err != nil {
				t.Errorf("error = %v, want the number %d", err, tt.want)
			}
		})
	}
}

func TestTables(t *testing.T) {
	a := start(t, 1000)
	alice, bob := a.open(t, oauth("alice-token")), a.open(t, oauth("bob-token"))
	for _, tt := range []struct {
		who       *sql.DB
		statement string
		number    int // of its error; 0 where there is none
		want      string
	}{
		{alice, `CREATE TABLE "rollups"."t" AS SELECT region AS "region", count(*) AS "n" FROM orders WHERE id < ? GROUP BY 1`, 2003, "Schema 'ROLLUPS' does not exist or not authorized."},
		{alice, `CREATE SCHEMA IF NOT EXISTS "rollups"`, 0, ""},
		{alice, `CREATE SCHEMA "rollups"`, 2002, "Object 'ROLLUPS' already exists."},
		{alice, `CREATE TABLE "rollups"."t" AS SELECT region AS "region", count(*) AS "n" FROM orders WHERE id < ? GROUP BY 1`, 0, ""},
		{alice, `CREATE TABLE "rollups"."t" AS SELECT 1 AS "a" WHERE 1 < ?`, 2002, "Object 'ROLLUPS.T' already exists."},
		{alice, `SELECT COUNT(*) FROM "rollups"."t" WHERE 1 < ?`, 0, ""},
		{bob, `SELECT * FROM "rollups"."t" WHERE 1 < ?`, 3001, "Insufficient privileges to operate on table 'ROLLUPS.T'"},
		{bob, `DROP TABLE IF EXISTS "rollups"."t"`, 3001, "Insufficient privileges to operate on table 'ROLLUPS.T'"},
		{bob, `CREATE TABLE "rollups"."u" AS SELECT * FROM order_items WHERE 1 < ?`, 3001, "Insufficient privileges"},
		{alice, `DROP TABLE IF EXISTS "rollups"."t"`, 0, ""},
		{alice, `DROP TABLE IF EXISTS "rollups"."t"`, 0, ""},
		{alice, `SELECT * FROM "rollups"."t" WHERE 1 < ?`, 2003, "Object 'ROLLUPS.T' does not exist or not authorized."},
	} {
		var args []any
		if strings.Contains(tt.statement, "?") {
			args = []any{int64(500)}
		}
		_, err := tt.who.ExecContext(t.Context(), tt.statement, args...)
		if number(err) != tt.number || tt.want != "" && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s = %v, want the number %d and %q", tt.statement, err, tt.number, tt.want)
		}
	}
}

func TestStatementErrors(t *testing.T) {
	a := start(t, 1000)
	db := a.open(t, oauth("bob-token"))
	for _, tt := range []struct {
		name, sql, state string
		want             int
	}{
		{"a table that is denied", "SELECT * FROM order_items", "42501", 3001},
		{"a table that is not there", "SELECT * FROM nope", "42S02", 2003},
		{"a column that is not there", "SELECT nope FROM orders", "42000", 904},
		{"no SQL", "SELEC", "42000", 1003},
		{"a cast that cannot be", "SELECT 'x'::int", "22018", 100038},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rows, err := db.QueryContext(t.Context(), tt.sql)
			if err == nil {
				_ = rows.Close()
			}
			failed, ok := errors.AsType[*gosnowflake.SnowflakeError](err)
			if !ok || failed.Number != tt.want || failed.SQLState != tt.state {
				t.Errorf("error = %v, want the number %d and the SQLSTATE %s", err, tt.want, tt.state)
			}
		})
	}
}

func TestTheLifeOfASession(t *testing.T) {
	a := start(t, 1000)
	db := a.open(t, oauth("alice-token"))
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for _, step := range []struct {
		name string
		do   func()
		want int
	}{
		{"new", func() {}, 0},
		{"its OAuth token was revoked", func() { a.tokens.Set("alice-token", bearer.Holder{Name: "alice", Status: bearer.Revoked}) }, 0},
		{"its session token expired: the driver renews", func() { a.ExpireSessionTokens("alice") }, 0},
		{"again", func() { a.ExpireSessionTokens("") }, 0},
		{"its master token expired", func() { a.ExpireMasterTokens("alice") }, 390114},
	} {
		step.do()
		if _, err := count(t, conn); number(err) != step.want || step.want == 0 && err != nil {
			t.Errorf("%s: error = %v, want the number %d", step.name, err, step.want)
		}
	}
	a.tokens.Set("alice-token", bearer.Holder{Name: "alice", Status: bearer.Active})
	other, err := a.open(t, oauth("alice-token")).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := a.DropSessions("alice"); n != 1 { // the login above swept the session whose master token had ended
		t.Errorf("DropSessions = %d, want 1", n)
	}
	if _, err := count(t, other); number(err) != 390111 {
		t.Errorf("a dropped session: %v, want 390111", err)
	}
	_ = other.Close()
}

func TestCancelling(t *testing.T) {
	for _, name := range []string{"by the client", "by an administrator"} {
		t.Run(name, func(t *testing.T) {
			a := start(t, 1000)
			db := a.open(t, oauth("alice-token"))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				_, _ = a.engine.Log.Await(t.Context(), func(s engine.Statement) bool { return s.Outcome == engine.Running })
				if name == "by the client" {
					cancel()
				} else {
					a.KillRunning("alice")
				}
			}()
			rows, err := db.QueryContext(ctx, "SELECT 1 /* sandbox:sleep=5m */")
			if err == nil {
				_ = rows.Close()
			}
			if !errors.Is(err, context.Canceled) && number(err) != 604 {
				t.Errorf("error = %v, want a cancellation", err)
			}
			wait, stop := context.WithTimeout(t.Context(), 10*time.Second)
			defer stop()
			if _, err := a.engine.Log.Await(wait, func(s engine.Statement) bool { return s.Outcome == engine.CanceledOut }); err != nil {
				t.Errorf("the account did not notice: %+v", a.engine.Log.Statements())
			}
		})
	}
}

func TestARetryDoesNotRunTwice(t *testing.T) {
	a := start(t, 1000)
	db := a.open(t, oauth("svc-token"))
	if err := db.PingContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.CutNext(1) // the row goes in, and the answer is lost
	if _, err := db.ExecContext(t.Context(), "INSERT INTO scratch (id) VALUES (7)"); err != nil {
		t.Errorf("the driver did not ask again: %v", err)
	}
	var n int
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM scratch").Scan(&n); err != nil || n != 1 {
		t.Errorf("scratch has %d rows, %v, want 1", n, err)
	}
}

func TestWhatIsNoRequestIsRefused(t *testing.T) {
	a := start(t, 1000)
	for _, tt := range []struct{ name, method, path, auth, body, want string }{
		{"a login that is no JSON", "POST", "/session/v1/login-request", "", "hello", "390142"},
		{"a query without a session", "POST", "/queries/v1/query-request", "", "{}", "390101"},
		{"a query with a made-up session", "POST", "/queries/v1/query-request", `Snowflake Token="x"`, "{}", "390111"},
		{"a chunk without its key", "GET", "/chunks/x/0", "", "", "AccessDenied"},
		{"another path", "GET", "/", "", "", "404"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), tt.method, tt.path, strings.NewReader(tt.body))
			r.Header.Set("Authorization", tt.auth)
			rec := httptest.NewRecorder()
			a.ServeHTTP(rec, r)
			if !strings.Contains(rec.Body.String(), tt.want) {
				t.Errorf("answer %q, want %s", rec.Body, tt.want)
			}
		})
	}
}

func TestASessionTellsItsRoles(t *testing.T) {
	a := start(t, 100)
	a.role = func(user string) (string, []string) {
		if user == "bob" {
			return "ANALYST", []string{"ANALYST", "LOADER"}
		}
		return "ANALYST", nil
	}
	for _, tt := range []struct{ who, named, role, secondary string }{
		{"alice", "", "ANALYST", `{"roles":"","value":""}`},
		{"alice", "Auditor", "Auditor", `{"roles":"","value":""}`},
		{"bob", "", "ANALYST", `{"roles":"ANALYST,LOADER","value":"ALL"}`},
	} {
		var role, secondary string
		err := a.open(t, func(c *gosnowflake.Config) {
			oauth(tt.who + "-token")(c)
			c.Role = tt.named
		}).QueryRowContext(t.Context(), "SELECT CURRENT_ROLE(), CURRENT_SECONDARY_ROLES()").Scan(&role, &secondary)
		if err != nil || role != tt.role || secondary != tt.secondary {
			t.Errorf("%s with %q has (%q, %s), %v, want (%q, %s)", tt.who, tt.named, role, secondary, err, tt.role, tt.secondary)
		}
	}
}
