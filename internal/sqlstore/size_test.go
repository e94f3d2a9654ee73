package sqlstore_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/connectedapps/connectedappstest"
	"github.com/behalf-project/behalf/internal/domains"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/internal/session"
)

func TestTenThousandGrantsAreReadByIndexInPages(t *testing.T) {
	eachDatabase(t, func(t *testing.T, open opener) {
		db := withApps(t, open)
		alice := securitycontext.Principal{Realm: securitycontext.Local, Subject: "alice"}
		for _, app := range connectedappstest.Apps {
			g := connectedapps.Grant{Key: connectedapps.Key{Principal: alice, AppID: app}, Domain: domains.DefaultID, AccessToken: secret.New("t")}
			if _, err := db.Grants().Connect(t.Context(), g, "", entry); err != nil {
				t.Fatalf("Connect = %v, want no error", err)
			}
		}
		const n = 10_000
		db.Writer().MustExec(fmt.Sprintf(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
			INSERT INTO grants (id, realm, subject, app_id, domain, epoch, revision, rev, access_token, refresh_token, token_type,
			scopes, requested, provider_subject, account, connected_at, refreshed_at, expires_at, refresh_expires_at, used_at, refused_at, failure_code,
			failed_at, failures, next_try_at, intent_at, intent_until, intent_by, fence) SELECT 'con_x' || (100000 + i), realm, subject || i, app_id, domain, epoch, revision, rev, NULL, NULL, token_type,
			scopes, requested, provider_subject, account, connected_at, refreshed_at, expires_at, refresh_expires_at, used_at, refused_at, failure_code,
			failed_at, failures, next_try_at, intent_at, intent_until, intent_by, fence FROM grants, n WHERE app_id = '%s'`, n, connectedappstest.Apps[0]))
		db.Writer().MustExec("ANALYZE")

		seen, f := 0, connectedapps.Filter{AppID: connectedappstest.Apps[0], Limit: 1000}
		for {
			page, err := db.Grants().List(t.Context(), f)
			if err != nil || len(page) > f.Limit {
				t.Fatalf("List = %d grants, %v, want at most %d", len(page), err, f.Limit)
			}
			if seen += len(page); len(page) < f.Limit {
				break
			}
			f.After = page[len(page)-1].ID
		}
		if seen != n+1 {
			t.Errorf("pages hold %d grants, want %d", seen, n+1)
		}
		if mine, err := db.Grants().List(t.Context(), connectedapps.Filter{Principal: alice}); err != nil || len(mine) != 2 {
			t.Errorf("List of one person = %d grants, %v, want 2", len(mine), err)
		}
		for _, tt := range []struct{ where, index string }{
			{"app_id = 'oap_a' AND id > 'con_x100500' ORDER BY id LIMIT 100", "grants_app"},
			{"realm = 'local' AND subject = 'alice' ORDER BY id", "grants_key"},
			{"realm = 'local' AND subject = 'alice77' AND app_id = 'oap_a'", "grants_key"},
		} {
			explain := "EXPLAIN QUERY PLAN "
			if db.Writer().DriverName() == "pgx" {
				explain = "EXPLAIN "
			}
			rows, err := db.Writer().Queryx(explain + "SELECT * FROM grants WHERE " + tt.where)
			if err != nil {
				t.Fatal(err)
			}
			plan := ""
			for rows.Next() {
				line, err := rows.SliceScan()
				if err != nil {
					t.Fatal(err)
				}
				plan += fmt.Sprintln(line...)
			}
			if !strings.Contains(plan, tt.index) && !strings.Contains(plan, "grants_pkey") {
				t.Errorf("the plan for %s does not use %s:\n%s", tt.where, tt.index, plan)
			}
		}
	})
}

func TestWhatHasLongEndedIsRemoved(t *testing.T) {
	eachDatabase(t, func(t *testing.T, open opener) {
		db := withApps(t, open)
		alice := person(t, db, "alice")
		count := func(table string) (n int) {
			if err := db.Writer().Get(&n, "SELECT count(*) FROM "+table); err != nil {
				t.Fatal(err)
			}
			return n
		}
		for i, at := range []time.Time{noon, noon.Add(time.Hour), noon.Add(25 * time.Hour)} {
			a := connectedapps.Authorization{
				ID: fmt.Sprint("cs_", i), Principal: securitycontext.Principal{Realm: securitycontext.Local, Subject: alice},
				AppID: connectedappstest.Apps[0], CreatedAt: at, ExpiresAt: at.Add(10 * time.Minute),
			}
			if err := db.Authorizations().CreateAuthorization(t.Context(), a); err != nil {
				t.Fatalf("CreateAuthorization = %v, want no error", err)
			}
		}
		if got := count("authorizations"); got != 2 {
			t.Errorf("%d authorizations are kept, want 2: the first ended over a day ago", got)
		}
		const day = 24 * time.Hour
		for i, at := range []time.Time{noon, noon.Add(day), noon.Add(121 * day)} {
			s := session.Session{ID: fmt.Sprint("ses_", i), UserID: alice, TokenHash: fmt.Sprint(i), AuthenticatedAt: at}
			if err := db.Sessions().CreateSession(t.Context(), s, "", entry); err != nil {
				t.Fatalf("CreateSession = %v, want no error", err)
			}
		}
		if got := count("sessions"); got != 2 {
			t.Errorf("%d sessions are kept, want 2: the first began over 120 days ago", got)
		}
	})
}
