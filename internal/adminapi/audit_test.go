package adminapi_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/behalf-project/behalf/internal/adminapi"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fronttest"
)

// recorded waits until the records of an action are written, and returns them, the newest first.
func recorded(t *testing.T, s *fronttest.Server, f audit.Filter, atLeast int) []audit.Record {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		found, err := s.Store.Audit().Find(t.Context(), f, 0, 200)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) >= atLeast || time.Now().After(deadline) {
			return found
		}
	}
}

func TestWhatAnAdminLooksAtIsRecorded(t *testing.T) {
	s := fronttest.Start(t, nil)
	s.AddApp(t, "warehouse")
	alice, bob := s.Browser(t).SignIn("alice"), s.Browser(t).SignIn("bob")
	u, err := s.People.ByUsername(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	for _, get := range []struct {
		b    *fronttest.Browser
		path string
	}{
		{alice, "oauth-apps"}, {alice, "oauth-apps/warehouse"}, {alice, "oauth-apps/none"}, {alice, "audit?limit=1"},
		{alice, "oauth-apps/presets"}, {bob, "oauth-apps"}, {bob, "connected-apps"}, {bob, "data-sources"},
	} {
		get.b.Get("/api/v1/" + get.path)
	}
	got := recorded(t, s, audit.Filter{Action: audit.AdminRead}, 4)
	want := []string{"audit list-audit ok", "oauth-apps/none get-oauth-app not_found", "oauth-apps/warehouse get-oauth-app ok", "oauth-apps list-oauth-apps ok"}
	var have []string
	for _, r := range got {
		have = append(have, r.Object+" "+r.Detail["operation"]+" "+r.Outcome)
		if r.Actor != u.ID || r.Request != "req_test" {
			t.Errorf("%+v, want alice and her request", r)
		}
	}
	if strings.Join(have, "\n") != strings.Join(want, "\n") {
		t.Errorf("recorded\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
}

func TestWhatCannotBeRecordedIsNotShown(t *testing.T) {
	s := fronttest.Start(t, nil)
	alice, bob := s.Browser(t).SignIn("alice"), s.Browser(t).SignIn("bob")
	s.StopRecording()
	for _, path := range []string{"oauth-apps", "audit", "audit/export"} {
		a := alice.Get("/api/v1/" + path)
		refused(t, a, http.StatusServiceUnavailable, "audit_unavailable")
		if a.Header.Get("Retry-After") == "" {
			t.Errorf("%s does not say when to try again", path)
		}
	}
	if a := bob.Get("/api/v1/connected-apps"); a.Status != http.StatusOK {
		t.Errorf("what is one's own answers %d, want 200", a.Status)
	}
}

func TestTheRecordsAreListedInPages(t *testing.T) {
	s := fronttest.Start(t, nil)
	for i := range 5 {
		s.AddApp(t, fmt.Sprintf("app%d", i))
	}
	alice := s.Browser(t).SignIn("alice")
	var seen []string
	path := "/api/v1/audit?limit=2&action=oauth_app.created"
	for pages := 1; path != ""; pages++ {
		var page adminapi.AuditList
		a := alice.Call(http.MethodGet, path, nil, &page)
		if a.Status != http.StatusOK || len(page.Items) > 2 || pages > 3 {
			t.Fatalf("page %d: %d %s", pages, a.Status, a.Body)
		}
		for _, r := range page.Items {
			if r.Action != "oauth_app.created" || r.Hash == "" || r.Writer == "" || r.Position < 2 {
				t.Errorf("a record is %+v", r)
			}
			seen = append(seen, r.Object)
		}
		link, ok := strings.CutSuffix(a.Header.Get("Link"), `>; rel="next"`)
		if ok != (page.NextCursor != "") || ok && !strings.Contains(link, "action=oauth_app.created") {
			t.Errorf("Link = %q with next_cursor %q, want them to agree, and to keep the filter", link, page.NextCursor)
		}
		path = strings.TrimPrefix(link, "<")
	}
	if len(seen) != 5 {
		t.Errorf("%d records in all pages, want 5", len(seen))
	}
	var byAlice adminapi.AuditList
	u, _ := s.People.ByUsername(t.Context(), "alice")
	alice.Call(http.MethodGet, "/api/v1/audit?actor="+u.ID+"&action=session.created&since="+url.QueryEscape(time.Now().Add(-time.Hour).Format(time.RFC3339)), nil, &byAlice)
	if len(byAlice.Items) != 1 || byAlice.Items[0].ActorName != "alice" {
		t.Errorf("alice's sign-in = %+v, want it with her name", byAlice.Items)
	}
	s.Browser(t).Call(http.MethodPost, "/api/v1/auth/login", map[string]string{"username": "bob", "password": "wrong"}, nil)
	recorded(t, s, audit.Filter{Refused: true}, 1) // it is written behind the answer
	var refusals adminapi.AuditList
	alice.Call(http.MethodGet, "/api/v1/audit?refused=true&limit=200", nil, &refusals)
	if len(refusals.Items) != 1 || refusals.Items[0].Action != "session.refused" {
		t.Errorf("what was refused = %+v, want bob's sign-in alone", refusals.Items)
	}
	for _, query := range []string{"cursor=x", "cursor=-1", "limit=0", "limit=201", "since=yesterday", "who=alice"} {
		refused(t, alice.Get("/api/v1/audit?"+query), http.StatusUnprocessableEntity, "invalid")
	}
}

func TestAnExportIsVerifiedAwayFromTheServer(t *testing.T) {
	s := fronttest.Start(t, nil)
	app := s.AddApp(t, "warehouse")
	alice := s.Browser(t).SignIn("alice")
	alice.Get(alice.Allow(alice.ToProvider("/connect/warehouse")))
	alice.Call(http.MethodPost, "/api/v1/connected-apps/warehouse/refresh", nil, nil)
	alice.Call(http.MethodDelete, "/api/v1/connected-apps/warehouse", nil, nil)
	s.Browser(t).Call(http.MethodPost, "/api/v1/auth/login", map[string]string{"username": "bob", "password": "canary-of-a-password"}, nil)
	bob, err := s.People.ByUsername(t.Context(), "bob")
	if err != nil {
		t.Fatal(err)
	}
	refusals := recorded(t, s, audit.Filter{Action: audit.SignInRefused}, 1)
	if len(refusals) != 1 || refusals[0].Actor != audit.Anonymous || refusals[0].Object != bob.ID || refusals[0].Outcome != "wrong_credentials" {
		t.Errorf("the refused sign-in is recorded as %+v, want somebody who was not let in as bob", refusals)
	}
	a := alice.Get("/api/v1/audit/export")
	if a.Status != http.StatusOK || a.Header.Get("Content-Type") != "application/x-ndjson" || !strings.Contains(a.Header.Get("Content-Disposition"), "behalf-audit.jsonl") {
		t.Fatalf("the export: %d %v", a.Status, a.Header)
	}
	verify := func(export string) audit.Report {
		v := audit.NewVerifier()
		if err := audit.ReadExport(strings.NewReader(export), v.Add); err != nil {
			t.Fatal(err)
		}
		return v.Report(nil)
	}
	if got := verify(a.Body); !got.Intact() || got.Records < 8 {
		t.Errorf("the export verifies as %+v", got)
	}
	// P5: nothing of what was secret on the way is in a record.
	for _, secret := range []string{"canary", fronttest.ClientSecret, fronttest.Passwords["alice"], fronttest.Passwords["bob"]} {
		if strings.Contains(a.Body, secret) {
			t.Errorf("a record holds the secret %q", secret)
		}
	}
	for _, c := range alice.Cookies() {
		if strings.Contains(a.Body, c.Value) {
			t.Errorf("a record holds the cookie %s", c.Name)
		}
	}
	for _, action := range []audit.Action{audit.GrantCreated, audit.GrantRevoked, audit.SignInRefused, audit.OAuthAppCreated} {
		if !strings.Contains(a.Body, `"action":"`+string(action)+`"`) {
			t.Errorf("the export holds no %s", action)
		}
	}
	lines := strings.SplitAfter(a.Body, "\n")
	if got := verify(strings.Join(append(lines[:3:3], lines[4:]...), "")); got.Intact() || got.Breaks[0].Reason != audit.Missing || got.Breaks[0].Position != 4 {
		t.Errorf("without its fourth line the export verifies as %+v, want position 4 missing", got)
	}
	if got := verify(strings.Replace(a.Body, app.ID, "oap_other", 1)); got.Intact() || got.Breaks[0].Reason != audit.Altered {
		t.Errorf("with another app the export verifies as %+v, want a record altered", got)
	}
	if a := alice.Get("/api/v1/audit/export?format=csv&action=grant.created"); a.Status != http.StatusOK || strings.Count(a.Body, "\n") != 2 {
		t.Errorf("the export as CSV: %d %s", a.Status, a.Body)
	}
	if got := recorded(t, s, audit.Filter{Action: audit.Exported}, 2); len(got) != 2 {
		t.Errorf("%d exports recorded, want 2", len(got))
	}
}

func TestTheRecordsAreVerifiedThroughTheAPI(t *testing.T) {
	core, logged := observer.New(zap.InfoLevel)
	s := fronttest.Start(t, zap.New(core))
	s.AddApp(t, "warehouse")
	alice := s.Browser(t).SignIn("alice")
	verify := func(body any) adminapi.AuditReport {
		t.Helper()
		var report adminapi.AuditReport
		if a := alice.Call(http.MethodPost, "/api/v1/audit/verify", body, &report); a.Status != http.StatusOK {
			t.Fatalf("verify: %d %s", a.Status, a.Body)
		}
		return report
	}
	got := verify(nil)
	if !got.Intact || got.Chains != 1 || got.Records < 4 || got.LastSeq < 4 || len(got.Ends) != 1 || got.VerifiedAt.IsZero() {
		t.Errorf("the report is %+v", got)
	}
	if again := verify(map[string]any{"heads": []string{got.Ends[0].Hash}}); !again.Intact {
		t.Errorf("with the end of before: %+v", again)
	}
	if other := verify(map[string]any{"heads": []string{strings.Repeat("00", 32)}}); other.Intact || other.Breaks[0].Reason != "head_unknown" {
		t.Errorf("with a hash that was never there: %+v, want head_unknown", other)
	}
	refused(t, alice.Call(http.MethodPost, "/api/v1/audit/verify", map[string]any{"heads": []string{"x"}}, nil), http.StatusUnprocessableEntity, "invalid")

	s.Tamper(t, "DROP TRIGGER audit_delete", "DELETE FROM audit WHERE position = 3")
	bad := verify(nil)
	if bad.Intact || len(bad.Breaks) != 1 || bad.Breaks[0].Reason != "missing" || bad.Breaks[0].Position != 3 || bad.Breaks[0].Writer == "" {
		t.Errorf("the report is %+v, want position 3 missing", bad)
	}
	if logged.FilterMessage("the audit log was changed").Len() == 0 {
		t.Error("the log does not say that the records were changed")
	}
	outcomes := map[string]int{}
	for _, r := range recorded(t, s, audit.Filter{Action: audit.Verified}, 4) {
		outcomes[r.Outcome]++
	}
	if outcomes["ok"] != 2 || outcomes["broken"] != 2 {
		t.Errorf("verifications recorded: %v, want two of each", outcomes)
	}
}
