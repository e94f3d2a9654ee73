//go:build cgo

package drivertest_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/driverfactory/postgres"
	"github.com/behalf-project/behalf/driverfactory/snowflake"
	"github.com/behalf-project/behalf/internal/resultcache"
	"github.com/behalf-project/behalf/internal/sandbox/bearer"
	"github.com/behalf-project/behalf/internal/sandbox/engine"
	sandboxsnowflake "github.com/behalf-project/behalf/internal/sandbox/snowflake"
	"github.com/behalf-project/behalf/internal/sqlstore/postgrestest"
	"github.com/behalf-project/behalf/orchestrator"
)

// office is a source whose results are kept for roles, with the orchestrators of everybody.
type office struct {
	*orchestrator.Orchestrators
	src   driverfactory.Source
	later atomic.Int64 // how far the clock is ahead
}

func openOffice(t *testing.T, wh driverfactory.Warehouse, src driverfactory.Source) *office {
	t.Helper()
	o := &office{src: src}
	o.src.Domain, o.src.Name, o.src.Rev, o.src.OAuthApp, o.src.CacheScope = "dom", "source", 1, "app", driverfactory.CacheRole
	now := func() time.Time { return time.Now().Add(time.Duration(o.later.Load())) }
	f := driverfactory.New(driverfactory.Config{
		Credentials: everybody{}, Warehouses: map[string]driverfactory.Warehouse{src.Type: wh}, Now: now,
	})
	if err := f.Check(o.src); err != nil {
		t.Fatal(err)
	}
	o.Orchestrators = orchestrator.New(orchestrator.Config{Drivers: f, Cache: resultcache.New(resultcache.Config{Now: now}), Now: now})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := o.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return o
}

// wants fails the test unless user is answered with want, from the rows of a role or not.
func (o *office) wants(t *testing.T, what, user, sql string, want any, ofRole bool) {
	t.Helper()
	res, err := o.Load(t.Context(), driverfactory.SecurityContext{
		Domain: "dom", Username: user, Principal: driverfactory.Principal{Realm: "local", Subject: user},
	}, orchestrator.Request{Source: o.src, Statement: driverfactory.Statement{SQL: sql}, FreshFor: time.Hour})
	if err != nil {
		t.Fatalf("%s: Load of %s = %v", what, user, err)
	}
	defer res.Close()
	if got := res.Rows.First()[0]; got != want || res.OfRole != ofRole {
		t.Errorf("%s: %s was answered %v, of a role: %t; want %v, %t", what, user, got, res.OfRole, want, ofRole)
	}
	if res.RunAs.Username != user || res.RunAs.Identity != driverfactory.IdentityUser {
		t.Errorf("%s: RunAs = %+v, want %s", what, res.RunAs, user)
	}
}

// TestRolesOfPostgres has people whose logins are their own and whose sessions act as a role of their department, by which a
// row policy goes.
func TestRolesOfPostgres(t *testing.T) {
	admin, err := url.Parse(postgrestest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, admin.String())
	if err != nil {
		t.Fatal(err)
	}
	exec := func(ctx context.Context, statements ...string) {
		t.Helper()
		for _, s := range statements {
			if _, err := conn.Exec(ctx, s); err != nil {
				t.Fatalf("%s: %v", s, err)
			}
		}
	}
	t.Cleanup(func() {
		ctx := context.Background()
		for _, r := range []string{"ann", "ben", "cem", "dan", "analysts", "interns"} {
			exec(ctx, "DROP OWNED BY "+r, "DROP ROLE "+r)
		}
		_ = conn.Close(ctx)
	})
	exec(ctx, "CREATE ROLE analysts", "CREATE ROLE interns", "CREATE TABLE deals (n BIGINT, department TEXT)",
		"INSERT INTO deals SELECT n, CASE WHEN n <= 7 THEN 'analysts' ELSE 'interns' END FROM generate_series(1, 9) n",
		"ALTER TABLE deals ENABLE ROW LEVEL SECURITY", "CREATE POLICY departments ON deals USING (department = current_user)",
		"GRANT SELECT ON deals TO analysts, interns")
	for user, role := range map[string]string{"ann": "analysts", "ben": "analysts", "cem": "interns", "dan": "analysts"} {
		exec(ctx, fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD 'token-of-%s'", user, user), fmt.Sprintf("GRANT %s TO %s", role, user), fmt.Sprintf("ALTER ROLE %s SET role = '%s'", user, role))
	}
	exec(ctx, "CREATE SCHEMA old", "GRANT USAGE ON SCHEMA old TO analysts", "ALTER ROLE dan SET search_path = old, public")
	o := openOffice(t, postgres.New(), driverfactory.Source{Type: "postgres", Options: map[string]string{
		"host": admin.Hostname(), "port": admin.Port(), "database": strings.TrimPrefix(admin.Path, "/"), "auth": "token_as_password", "sslmode": "disable",
	}})
	const sql = "SELECT count(*) FROM deals"
	o.wants(t, "the first analyst", "ann", sql, int64(7), false)
	exec(ctx, "INSERT INTO deals VALUES (10, 'analysts'), (11, 'interns')") // the rows of before are told by it
	o.wants(t, "the second", "ben", sql, int64(7), true)
	o.wants(t, "an intern", "cem", sql, int64(3), false)
	o.wants(t, "an analyst who looks for tables elsewhere", "dan", sql, int64(8), false)

	// A statement may have its session act as another role: what comes after it does not, and is not taken for the one of before.
	exec(ctx, "GRANT interns TO ann")
	o.wants(t, "an analyst who is an intern, too", "ann", "SELECT set_config('role', 'interns', false)", "interns", false)
	o.wants(t, "her next statement", "ann", "SELECT max(n) FROM deals", int64(10), false)
	o.wants(t, "who finds what she fetched", "ben", "SELECT max(n) FROM deals", int64(10), true)
	exec(ctx, "REVOKE interns FROM ann")

	exec(ctx, "REVOKE analysts FROM ben", "GRANT interns TO ben", "ALTER ROLE ben SET role = 'interns'",
		"SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE usename = 'ben'")
	o.later.Store(int64(driverfactory.RoleLife))
	o.wants(t, "who became an intern", "ben", sql, int64(3), true)
	o.wants(t, "who is an analyst still", "ann", sql, int64(7), true)
}

// TestRolesOfSnowflake has people whose sessions have the roles that the account gives them.
func TestRolesOfSnowflake(t *testing.T) {
	if err := snowflake.Quiet(); err != nil {
		t.Fatal(err)
	}
	rights := map[string]engine.Rights{}
	for _, user := range []string{"ann", "ben", "cem", "dan", "eve"} {
		rights[user] = engine.Rights{Regions: []string{"EMEA"}}
	}
	e, err := engine.Open(t.Context(), engine.Config{Rows: 200, Rights: rights})
	if err != nil {
		t.Fatal(err)
	}
	tokens := &bearer.Static{}
	for user := range rights {
		tokens.Set("token-of-"+user, bearer.Holder{Name: user, Status: bearer.Active})
	}
	var benWas atomic.Pointer[string]
	benWas.Store(new("ANALYST"))
	server := sandboxsnowflake.New(sandboxsnowflake.Config{Engine: e, OAuth: tokens, Role: func(user string) (string, []string) {
		switch user {
		case "ben":
			return *benWas.Load(), nil
		case "cem":
			return "Analyst", nil // quoted when it was made, and another one
		case "dan", "eve":
			return "ANALYST", []string{"ANALYST", "AUDITOR"}
		}
		return "ANALYST", nil
	}})
	http1 := &http.Transport{}
	srv := httptest.NewServer(server)
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		http1.CloseIdleConnections()
		srv.Close()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	o := openOffice(t, snowflake.New(snowflake.Config{Transport: http1}), driverfactory.Source{Type: "snowflake", Options: map[string]string{
		"account": "sandbox", "protocol": "http", "host": u.Hostname(), "port": u.Port(), "database": "DEMO", "schema": "PUBLIC",
	}})
	const sql = "SELECT CURRENT_USER() /* who fetched it */"
	o.wants(t, "the first of a role", "ann", sql, "ANN", false)
	o.wants(t, "the second", "ben", sql, "ANN", true)
	o.wants(t, "a role of another spelling", "cem", sql, "CEM", false)
	o.wants(t, "secondary roles", "dan", sql, "DAN", false)
	o.wants(t, "the same secondary roles", "eve", sql, "EVE", false)
	o.wants(t, "who is alone with them", "dan", sql, "DAN", false)
	if n := ran(e, "who fetched it"); n != 4 {
		t.Errorf("the statement ran %d times, want once for each of two roles and of two people with more than one", n)
	}
	benWas.Store(new("Analyst"))
	server.DropSessions("ben")
	o.later.Store(int64(driverfactory.RoleLife))
	o.wants(t, "another role since", "ben", sql, "CEM", true)
	if role, secondary := ran(e, "CURRENT_ROLE()"), ran(e, "CURRENT_SECONDARY_ROLES()"); role == 0 || role != secondary {
		t.Errorf("sessions were asked for roles %d times and for secondary ones %d times", role, secondary)
	}
}
