//go:build cgo

package databricks_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	dbsql "github.com/databricks/databricks-sql-go"
	"github.com/databricks/databricks-sql-go/auth/noop"
	dbsqlerr "github.com/databricks/databricks-sql-go/errors"
	dbsqllog "github.com/databricks/databricks-sql-go/logger"
	"github.com/google/go-cmp/cmp"

	"github.com/behalf-project/behalf/internal/sandbox/bearer"
	"github.com/behalf-project/behalf/internal/sandbox/databricks"
	"github.com/behalf-project/behalf/internal/sandbox/engine"
)

type warehouse struct {
	*databricks.Server
	engine *engine.Engine
	tokens *bearer.Static
	host   string
	port   int
}

// start returns a warehouse on loopback in which alice sees EMEA, bob AMER without order_items, and svc everything.
// Each one's token is their name with "-token".
func start(t *testing.T, rows int) *warehouse {
	t.Helper()
	_ = dbsqllog.SetLogLevel("disabled")
	e, err := engine.Open(t.Context(), engine.Config{Rows: rows, Rights: map[string]engine.Rights{
		"alice": {Regions: []string{"EMEA"}},
		"bob":   {Regions: []string{"AMER"}, Denied: []string{"order_items"}},
		"svc":   {Regions: engine.AllRegions, Write: true},
	}})
	if err != nil {
		t.Fatal(err)
	}
	w := &warehouse{engine: e, tokens: &bearer.Static{}}
	for _, name := range []string{"alice", "bob", "svc"} {
		w.tokens.Set(name+"-token", bearer.Holder{Name: name, Status: bearer.Active, Service: name == "svc"})
	}
	w.Server = databricks.New(databricks.Config{Engine: e, Bearers: w.tokens})
	srv := httptest.NewServer(w.Server)
	t.Cleanup(func() {
		srv.Close()
		if err := errors.Join(w.Close(), e.Close()); err != nil {
			t.Error(err)
		}
	})
	host, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	w.host = host
	w.port, _ = strconv.Atoi(port)
	return w
}

// transport puts a token on each request, and turns what is no answer of the Thrift service into an error, as the
// driver needs. Telemetry and feature flags, which the driver asks the real host for, stay here.
type transport struct {
	token atomic.Value
	calls chan struct{} // gets a value per call, if not nil
}

func (tr *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasPrefix(r.URL.Path, "/sql/") {
		return &http.Response{StatusCode: 200, Header: http.Header{}, Request: r, Body: io.NopCloser(strings.NewReader(`{"flags":[],"ttl_seconds":900}`))}, nil
	}
	if tr.calls != nil {
		tr.calls <- struct{}{}
	}
	r = r.Clone(r.Context())
	if tok, _ := tr.token.Load().(string); tok != "" {
		r.Header.Set("Authorization", "Bearer "+tok)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("HTTP %d %s %s retry=%s", resp.StatusCode, resp.Header.Get("X-Databricks-Reason-Phrase"),
			resp.Header.Get("X-Thriftserver-Error-Message"), resp.Header.Get("Retry-After"))
	}
	return resp, err
}

func (w *warehouse) open(t *testing.T, token string, opts ...dbsql.ConnOption) (*sql.DB, *transport) {
	t.Helper()
	tr := &transport{}
	tr.token.Store(token)
	c, err := dbsql.NewConnector(append([]dbsql.ConnOption{
		dbsql.WithServerHostname("http://" + w.host), dbsql.WithPort(w.port), dbsql.WithHTTPPath(databricks.HTTPPath),
		dbsql.WithInitialNamespace("demo", "default"), dbsql.WithRetries(-1, 0, 0),
		dbsql.WithAuthenticator(&noop.NoopAuth{}), dbsql.WithTransport(tr),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(c)
	t.Cleanup(func() { _ = db.Close() })
	return db, tr
}

func TestTwoPeopleSeeDifferentRows(t *testing.T) {
	w := start(t, 10_000)
	for _, tt := range []struct{ who, want string }{{"alice", "EMEA"}, {"bob", "AMER"}} {
		db, _ := w.open(t, tt.who+"-token")
		var me, region string
		var n int64
		err := db.QueryRowContext(t.Context(), "SELECT current_user(), min(region), count(*) FROM `orders`").Scan(&me, &region, &n)
		if err != nil || me != tt.who || region != tt.want || n == 0 {
			t.Errorf("%s got (%q, %q, %d), %v, want rows of %s", tt.who, me, region, n, err, tt.want)
		}
	}
	var log []string
	for _, s := range w.engine.Log.Statements() {
		if s.Outcome == engine.Finished {
			log = append(log, s.Identity+"@"+s.Warehouse)
		}
	}
	if diff := cmp.Diff([]string{"alice@databricks", "bob@databricks"}, log); diff != "" {
		t.Errorf("the statement log (-want +got):\n%s", diff)
	}
}

func TestTypes(t *testing.T) {
	w := start(t, 1000)
	for _, polling := range []bool{false, true} {
		w.SetPolling(polling)
		db, _ := w.open(t, "alice-token")
		rows, err := db.QueryContext(t.Context(), `SELECT 1::tinyint a, 2::smallint b, 3 c, 4::bigint d, sum(5) e, 1.5::float f, 2.5::double g,
			12.50::decimal(12,2) h, 'x' i, true j, date '2024-01-02' k, timestamp '2024-01-02 03:04:05.678' l, 'ab'::blob m, NULL::int n, NULL::varchar o`)
		if err != nil {
			t.Fatal(err)
		}
		types, _ := rows.ColumnTypes()
		var names []string
		got, into := make([]any, len(types)), make([]any, len(types))
		for i, c := range types {
			names, into[i] = append(names, c.DatabaseTypeName()), &got[i]
		}
		if !rows.Next() {
			t.Fatal(rows.Err())
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.Fields("TINYINT SMALLINT INT BIGINT BIGINT FLOAT DOUBLE DECIMAL STRING BOOLEAN DATE TIMESTAMP BINARY INT STRING"), names); diff != "" {
			t.Errorf("polling %v: types (-want +got):\n%s", polling, diff)
		}
		if diff := cmp.Diff([]any{
			int8(1), int16(2), int32(3), int64(4), int64(5), float32(1.5), 2.5, "12.50", "x", true, time.Date(2024, 1, 2, 0, 0, 0, 0, time.UTC),
			time.Date(2024, 1, 2, 3, 4, 5, 678e6, time.UTC), []byte("ab"), nil, nil,
		}, got); diff != "" {
			t.Errorf("polling %v: values (-want +got):\n%s", polling, diff)
		}
	}
}

func TestPaging(t *testing.T) {
	w := start(t, 100_000)
	db, _ := w.open(t, "svc-token", dbsql.WithMaxRows(7_000))
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

func TestParametersAndWrites(t *testing.T) {
	w := start(t, 1000)
	db, _ := w.open(t, "svc-token")
	at := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	res, err := db.ExecContext(t.Context(), "INSERT INTO scratch VALUES (?, ?, ?, ?)", int64(1), "it's", dbsql.Parameter{Type: dbsql.SqlDecimal, Value: "12.50"}, at)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := res.RowsAffected(); n != 1 || err != nil {
		t.Errorf("RowsAffected = %d, %v, want 1", n, err)
	}
	var note, amount string
	var back time.Time
	err = db.QueryRowContext(t.Context(), "SELECT note, amount, noted_at FROM scratch WHERE id = :id AND :nothing IS NULL",
		dbsql.Parameter{Name: "id", Value: 1}, dbsql.Parameter{Name: "nothing"}).Scan(&note, &amount, &back)
	if err != nil || note != "it's" || amount != "12.50" || !back.Equal(at) {
		t.Errorf("read %q, %q, %v, %v", note, amount, back, err)
	}
	var month time.Time
	var n int
	err = db.QueryRowContext(t.Context(), "SELECT date_trunc('month', from_utc_timestamp(`orders`.created_at, 'UTC')) `orders.month`, count(*) FROM `demo`.`default`.`orders` AS `orders` "+
		"WHERE `orders`.created_at >= from_utc_timestamp(replace(replace(?, 'T', ' '), 'Z', ''), 'UTC') AND LOWER(region) LIKE CONCAT('%', LOWER(?), '%') GROUP BY 1 ORDER BY 1 LIMIT 1",
		"2024-03-01T00:00:00.000Z", "eMe").Scan(&month, &n)
	if err != nil || month.Format(time.DateOnly) != "2024-03-01" || n == 0 {
		t.Errorf("got %v, %d, %v, want the orders of 2024-03-01", month, n, err)
	}
}

func TestTables(t *testing.T) {
	w := start(t, 1000)
	alice, _ := w.open(t, "alice-token")
	bob, _ := w.open(t, "bob-token")
	for _, tt := range []struct {
		who            *sql.DB
		statement      string
		want, sqlState string // of its error; empty where there is none
	}{
		{alice, "CREATE TABLE `rollups`.`t` AS SELECT `region`, count(*) AS `n` FROM `orders` WHERE `id` < ? GROUP BY 1", "[SCHEMA_NOT_FOUND] The schema `rollups` cannot be found", "42704"},
		{alice, "CREATE SCHEMA IF NOT EXISTS `rollups`", "", ""},
		{alice, "CREATE SCHEMA `rollups`", "[SCHEMA_ALREADY_EXISTS]", "42P06"},
		{alice, "CREATE TABLE `rollups`.`t` AS SELECT `region`, count(*) AS `n` FROM `orders` WHERE `id` < ? GROUP BY 1", "", ""},
		{alice, "CREATE TABLE `rollups`.`t` AS SELECT 1 AS `a` WHERE 1 < ?", "[TABLE_OR_VIEW_ALREADY_EXISTS] Cannot create table or view `rollups`.`t` because it already exists", "42P07"},
		{alice, "SELECT COUNT(*) FROM `rollups`.`t` WHERE 1 < ?", "", ""},
		{bob, "SELECT * FROM `rollups`.`t` WHERE 1 < ?", "[INSUFFICIENT_PERMISSIONS]", "42501"},
		{bob, "DROP TABLE IF EXISTS `rollups`.`t`", "[INSUFFICIENT_PERMISSIONS]", "42501"},
		{bob, "CREATE TABLE `rollups`.`u` AS SELECT * FROM `order_items` WHERE 1 < ?", "[INSUFFICIENT_PERMISSIONS]", "42501"},
		{alice, "DROP TABLE IF EXISTS `rollups`.`t`", "", ""},
		{alice, "DROP TABLE IF EXISTS `rollups`.`t`", "", ""},
		{alice, "SELECT * FROM `rollups`.`t` WHERE 1 < ?", "[TABLE_OR_VIEW_NOT_FOUND]", "42P01"},
	} {
		var args []any
		if strings.Contains(tt.statement, "?") {
			args = []any{int64(500)}
		}
		_, err := tt.who.ExecContext(t.Context(), tt.statement, args...)
		if tt.want == "" {
			if err != nil {
				t.Errorf("%s = %v", tt.statement, err)
			}
			continue
		}
		failed, ok := errors.AsType[dbsqlerr.DBExecutionError](err)
		if !ok || failed.SqlState() != tt.sqlState || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s = %v, want %q with the SQLSTATE %s", tt.statement, err, tt.want, tt.sqlState)
		}
	}
}

func TestRefusals(t *testing.T) {
	w := start(t, 1000)
	w.tokens.Set("old", bearer.Holder{Name: "alice", Status: bearer.Expired})
	w.tokens.Set("taken-back", bearer.Holder{Name: "alice", Status: bearer.Revoked})
	for _, tt := range []struct{ name, token, sql, want, sqlState string }{
		{"no token", "", "SELECT 1", "HTTP 401", ""},
		{"an unknown token", "made-up", "SELECT 1", "HTTP 401 Invalid Token", ""},
		{"an expired token", "old", "SELECT 1", "HTTP 403 Token is expired", ""},
		{"a revoked token", "taken-back", "SELECT 1", "HTTP 403 Invalid access token", ""},
		{"a table that is denied", "bob-token", "SELECT * FROM order_items", "INSUFFICIENT_PERMISSIONS", "42501"},
		{"a table that is not there", "bob-token", "SELECT * FROM nope", "TABLE_OR_VIEW_NOT_FOUND", "42P01"},
		{"a column that is not there", "bob-token", "SELECT nope FROM orders", "UNRESOLVED_COLUMN", "42703"},
		{"no SQL", "bob-token", "SELEC", "PARSE_SYNTAX_ERROR", "42601"},
		{"a division that cannot be", "bob-token", "SELECT CAST('x' AS INT)", "EXECUTION_FAILED", "22000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			db, _ := w.open(t, tt.token)
			rows, err := db.QueryContext(t.Context(), tt.sql)
			if err == nil {
				_ = rows.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error = %v, want one that holds %q", err, tt.want)
			}
			if failed, ok := errors.AsType[dbsqlerr.DBExecutionError](err); tt.sqlState != "" && (!ok || failed.SqlState() != tt.sqlState) {
				t.Errorf("error = %#v, want the SQLSTATE %s", err, tt.sqlState)
			}
		})
	}
}

func TestSessionsBelongToWhoOpenedThem(t *testing.T) {
	w := start(t, 1000)
	db, tr := w.open(t, "alice-token")
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tr.token.Store("bob-token")
	if rows, err := conn.QueryContext(t.Context(), "SELECT 1"); err == nil {
		_ = rows.Close()
		t.Error("bob's token ran a statement in alice's session")
	}
	for _, s := range w.engine.Log.Statements() {
		t.Errorf("the statement %q ran as %s", s.SQL, s.Identity)
	}
	_ = conn.Close()
}

func TestADroppedSessionIsReplaced(t *testing.T) {
	w := start(t, 1000)
	db, _ := w.open(t, "alice-token")
	for i := range 3 {
		var n int
		if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM customers").Scan(&n); err != nil {
			t.Fatalf("query %d: %v", i, err)
		}
		if got := w.DropSessions("alice"); got != 1 {
			t.Errorf("DropSessions = %d, want 1", got)
		}
	}
}

func TestCancelling(t *testing.T) {
	for _, polling := range []bool{false, true} {
		t.Run(fmt.Sprintf("polling %v", polling), func(t *testing.T) {
			w := start(t, 1000)
			w.SetPolling(polling)
			db, tr := w.open(t, "alice-token")
			tr.calls = make(chan struct{}, 100)
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				_, _ = w.engine.Log.Await(t.Context(), func(s engine.Statement) bool { return s.Outcome == engine.Running })
				if polling { // the driver has the handle when it asks for the status: its third call
					for range 3 {
						<-tr.calls
					}
				}
				cancel()
			}()
			if rows, err := db.QueryContext(ctx, "SELECT 1 /* sandbox:sleep=5m */"); !errors.Is(err, context.Canceled) {
				if err == nil {
					_ = rows.Close()
				}
				t.Errorf("error = %v, want context.Canceled", err)
			}
			wait, stop := context.WithTimeout(t.Context(), 10*time.Second)
			defer stop()
			if _, err := w.engine.Log.Await(wait, func(s engine.Statement) bool { return s.Outcome == engine.CanceledOut }); err != nil {
				t.Errorf("the warehouse did not notice: %+v", w.engine.Log.Statements())
			}
		})
	}
}

func TestLevers(t *testing.T) {
	w := start(t, 1000)
	db, _ := w.open(t, "alice-token")
	run := func(q string) error {
		rows, err := db.QueryContext(t.Context(), q)
		if err != nil {
			return err
		}
		return errors.Join(rows.Err(), rows.Close())
	}
	if err := run("SELECT 1"); err != nil {
		t.Fatal(err)
	}
	w.FailNext(1, http.StatusServiceUnavailable, 1500*time.Millisecond)
	if err := run("SELECT 1"); err == nil || !strings.Contains(err.Error(), "HTTP 503") || !strings.Contains(err.Error(), "retry=2") {
		t.Errorf("error = %v, want HTTP 503 with Retry-After 2", err)
	}
	w.CutNext(1)
	if err := run("SELECT 1"); err == nil {
		t.Error("a statement of a warehouse that dies succeeded")
	}
	w.SetLostSessionsAsStatus(true)
	w.DropSessions("")
	if err := run("SELECT 1"); err == nil || !strings.Contains(err.Error(), "Invalid SessionHandle") {
		t.Errorf("error = %v, want Invalid SessionHandle", err)
	}
	w.SetLostSessionsAsStatus(false)

	go func() {
		_, _ = w.engine.Log.Await(t.Context(), func(s engine.Statement) bool {
			return s.Outcome == engine.Running && strings.Contains(s.SQL, "sleep")
		})
		w.KillRunning("alice")
	}()
	if err := run("SELECT 1 /* sandbox:sleep=5m */"); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("error = %v, want one that says killed", err)
	}
}

func TestWhatIsNoCallIsRefused(t *testing.T) {
	w := start(t, 1000)
	for _, tt := range []struct {
		name, path, body string
		want             int
	}{
		{"no Thrift", databricks.HTTPPath, "hello", http.StatusBadRequest},
		{"nothing", databricks.HTTPPath, "", http.StatusBadRequest},
		{"a method that does not exist", databricks.HTTPPath, "\x80\x01\x00\x01\x00\x00\x00\x01X\x00\x00\x00\x00\x00", http.StatusOK},
		{"another path", "/api/2.0/clusters/list", "", http.StatusNotFound},
		{"feature flags", "/api/2.0/connector-service/feature-flags/GOLANG/1.14.0", "", http.StatusOK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, tt.path, strings.NewReader(tt.body))
			r.Header.Set("Authorization", "Bearer alice-token")
			rec := httptest.NewRecorder()
			w.ServeHTTP(rec, r)
			if rec.Code != tt.want {
				t.Errorf("status = %d, want %d", rec.Code, tt.want)
			}
		})
	}
}
