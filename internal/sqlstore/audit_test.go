package sqlstore_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/connectedapps/connectedappstest"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/domains"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/internal/session"
	"github.com/behalf-project/behalf/internal/sqlstore"
	"github.com/behalf-project/behalf/internal/users"
	"github.com/behalf-project/behalf/oauthapps"
)

func TestAnActAndItsEntryCommitTogether(t *testing.T) {
	eachDatabase(t, func(t *testing.T, open opener) {
		db := withApps(t, open)
		alice := person(t, db, "alice")
		key := connectedapps.Key{Principal: securitycontext.Principal{Realm: securitycontext.Local, Subject: alice}, AppID: connectedappstest.Apps[0]}
		var g connectedapps.Grant
		// In the order of a life. Each act is tried without an entry first: then it must not have happened.
		for _, act := range []struct {
			name string
			do   func(audit.Entry) error
		}{
			{"oauth_app.created", func(e audit.Entry) error {
				_, err := db.OAuthApps().CreateApp(t.Context(), oauthapps.App{ID: "oap_c", Domain: domains.DefaultID, Slug: "c"}, e)
				return err
			}},
			{"oauth_app.updated", func(e audit.Entry) error {
				_, err := db.OAuthApps().UpdateApp(t.Context(), oauthapps.App{ID: "oap_c", Rev: 1}, e)
				return err
			}},
			{"oauth_app.deleted", func(e audit.Entry) error { return db.OAuthApps().DeleteApp(t.Context(), "oap_c", e) }},
			{"grant.created", func(e audit.Entry) (err error) {
				g, err = db.Grants().Connect(t.Context(), connectedapps.Grant{Key: key, Domain: domains.DefaultID}, "", e)
				return err
			}},
			{"grant.refresh_refused", func(e audit.Entry) (err error) {
				_, err = db.Grants().SaveRefusal(t.Context(), g, false, e)
				return err
			}},
			{"grant.refreshed", func(e audit.Entry) (err error) {
				_, err = db.Grants().SaveRefreshed(t.Context(), g, e)
				return err
			}},
			{"grant.revoked", func(e audit.Entry) error { _, err := db.Grants().Delete(t.Context(), key, e); return err }},
			{"user.declared", func(e audit.Entry) error {
				_, err := db.Users().PutUser(t.Context(), users.User{Username: "bob"}, users.Ending{}, e)
				return err
			}},
			{"session.created", func(e audit.Entry) error {
				return db.Sessions().CreateSession(t.Context(), session.Session{ID: "ses_1", UserID: alice, TokenHash: "1", AuthenticatedAt: noon}, "", e)
			}},
			{"session.ended", func(e audit.Entry) error {
				return db.Sessions().RevokeSessions(t.Context(), alice, "ses_1", "signed out", noon, e)
			}},
			{"session.refused", func(e audit.Entry) error { return db.Audit().Record(t.Context(), e) }},
		} {
			before := entries(t, db)
			if err := act.do(audit.Entry{Actor: alice}); !errors.Is(err, fault.Invalid) {
				t.Errorf("%s without an entry = %v, want invalid", act.name, err)
			}
			if after := entries(t, db); len(after) != len(before) {
				t.Errorf("%s without an entry left %d entries, want %d", act.name, len(after), len(before))
			}
			if err := act.do(audit.Entry{Actor: alice, Action: audit.Action(act.name), Outcome: "ok"}); err != nil {
				t.Errorf("%s = %v, want no error: it must not have happened before", act.name, err)
			}
			after := entries(t, db)
			if len(after) != len(before)+1 || string(after[0].Action) != act.name || after[0].ID == "" || after[0].At.IsZero() {
				t.Fatalf("%s left the entries %+v, want one more with an id and a time", act.name, after)
			}
			if act.name != "session.refused" && after[0].Object == "" {
				t.Errorf("%s names no object", act.name)
			}
		}
		n := len(entries(t, db))
		if err := db.Sessions().RevokeSessions(t.Context(), alice, "ses_1", "again", noon, entry); err != nil {
			t.Errorf("RevokeSessions = %v, want no error", err)
		}
		if _, err := db.Grants().Delete(t.Context(), key, entry); !errors.Is(err, fault.NotFound) {
			t.Errorf("Delete = %v, want not_found", err)
		}
		if got := len(entries(t, db)); got != n {
			t.Errorf("acts that changed nothing left %d entries, want %d", got, n)
		}
	})
}

func TestEntriesComeBackAsTheyWereWrittenNewestFirst(t *testing.T) {
	onBoth(t, func(t *testing.T, db *sqlstore.DB) {
		want := audit.Entry{
			ID: "aud_1", At: noon, Actor: "usr_1", Action: audit.QueryFellBack, Object: "src_1", Outcome: "ok",
			Detail: map[string]string{"reason": "not_connected", "odd\x00": "\u2028\x00"}, Request: "req-1",
		}
		if err := db.Audit().Record(t.Context(), want); err != nil {
			t.Fatalf("Record = %v, want no error", err)
		}
		for i := range 3 { // of an earlier time: the order is that of writing
			if err := db.Audit().Record(t.Context(), audit.Entry{At: noon.Add(-time.Hour), Action: "x", Object: fmt.Sprint(i)}); err != nil {
				t.Fatalf("Record = %v, want no error", err)
			}
		}
		got := entries(t, db)
		if len(got) != 4 || got[0].Object != "2" {
			t.Fatalf("List = %+v, want four entries, the last one first", got)
		}
		if diff := cmp.Diff(want, got[3]); diff != "" {
			t.Errorf("List (-want +got):\n%s", diff)
		}
		if last, err := db.Audit().List(t.Context(), 2); err != nil || len(last) != 2 {
			t.Errorf("List(2) = %d entries, %v, want 2", len(last), err)
		}
		if err := db.Audit().Record(t.Context(), want); !errors.Is(err, fault.Conflict) {
			t.Errorf("Record of the same id = %v, want conflict", err)
		}
	})
}

func TestEntriesCannotBeChangedOrRemoved(t *testing.T) {
	onBoth(t, func(t *testing.T, db *sqlstore.DB) {
		person(t, db, "alice")
		for _, statement := range []string{"UPDATE audit SET actor = 'nobody'", "DELETE FROM audit"} {
			if _, err := db.Writer().Exec(statement); err == nil {
				t.Errorf("%s succeeded, want it refused", statement)
			}
		}
		if got := entries(t, db); len(got) != 1 || got[0].Actor != "system" {
			t.Errorf("List = %+v, want the entry as it was", got)
		}
	})
}

func entries(t *testing.T, db *sqlstore.DB) []audit.Entry {
	t.Helper()
	all, err := db.Audit().List(t.Context(), 1000)
	if err != nil {
		t.Fatalf("List = %v, want no error", err)
	}
	return all
}
