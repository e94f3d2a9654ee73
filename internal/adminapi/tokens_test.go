package adminapi_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/adminapi"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fronttest"
)

func TestATokenIsMadeShownOnceUsedAndRevoked(t *testing.T) {
	s := fronttest.Start(t, nil)
	s.AddApp(t, "warehouse")
	alice := s.Browser(t).SignIn("alice")
	alice.Get(alice.Allow(alice.ToProvider("/connect/warehouse")))
	var made adminapi.MadeToken
	a := alice.Call(http.MethodPost, "/api/v1/tokens", map[string]any{"name": "notebook", "scopes": []string{"token:warehouse"}, "expires_in_seconds": 3600}, &made)
	if a.Status != 201 || !strings.HasPrefix(made.Value, "bhf_pat_") || !made.Active || made.ExpiresAt.Sub(made.CreatedAt) != time.Hour {
		t.Fatalf("create = %d %s", a.Status, strings.ReplaceAll(a.Body, made.Value, "…"))
	}
	if list := alice.Call(http.MethodGet, "/api/v1/tokens", nil, nil); strings.Contains(list.Body, made.Value) || !strings.Contains(list.Body, made.ID) {
		t.Errorf("the list is %s, want the token without its value", list.Body)
	}

	program := s.Bearing(t, made.Value)
	var out adminapi.HandedOut
	a = program.Call(http.MethodGet, "/api/v1/connected-apps/warehouse/token?min_life=5m", nil, &out)
	if a.Status != 200 || a.Header.Get("Cache-Control") != "no-store" || out.AccessToken == "" || out.TokenType != "Bearer" || out.Status != "active" ||
		out.ExpiresInSeconds < 300 || out.ExpiresAt.IsZero() || out.Epoch == 0 || !slices.Equal(out.Scopes, []string{"sql", "offline_access"}) {
		t.Errorf("hand-out = %d %v, %+v", a.Status, a.Header, out)
	}
	for name, body := range map[string]string{"the refresh token": fronttest.RefreshToken, "the client secret": fronttest.ClientSecret} {
		if strings.Contains(a.Body, body) {
			t.Errorf("the hand-out tells %s", name)
		}
	}
	records := recorded(t, s, audit.Filter{Action: audit.GrantHandedOut}, 1)
	if len(records) != 1 || records[0].Detail["by"] != made.ID || strings.Contains(fmt.Sprint(records), out.AccessToken) {
		t.Errorf("recorded is %+v, want the hand-out without the token", records)
	}
	refused(t, program.Call(http.MethodGet, "/api/v1/connected-apps/warehouse/token?min_life=5", nil, nil), 422, "invalid")
	refused(t, program.Call(http.MethodGet, "/api/v1/connected-apps/warehouse/token?min_life=-5m", nil, nil), 422, "invalid")
	refused(t, program.Call(http.MethodGet, "/api/v1/connected-apps/warehouse/token?min_life=48h", nil, nil), 409, "min_life_unavailable")

	// A browser is handed none, whoever is signed in.
	refused(t, alice.Call(http.MethodGet, "/api/v1/connected-apps/warehouse/token", nil, nil), 403, "bearer_required")
	var current adminapi.CurrentToken
	program.Call(http.MethodGet, "/api/v1/tokens/current", nil, &current)
	if current.Username != "alice" || current.ID != made.ID {
		t.Errorf("current = %+v, want alice's token", current)
	}

	bob := s.Browser(t).SignIn("bob")
	refused(t, bob.Call(http.MethodDelete, "/api/v1/tokens/"+made.ID, nil, nil), 404, "not_found")
	if a := alice.Call(http.MethodDelete, "/api/v1/tokens/"+made.ID, nil, nil); a.Status != 204 {
		t.Errorf("revoke = %d %s", a.Status, a.Body)
	}
	refused(t, program.Call(http.MethodGet, "/api/v1/connected-apps/warehouse/token", nil, nil), 401, "invalid_token")
	var after adminapi.TokenList
	alice.Call(http.MethodGet, "/api/v1/tokens", nil, &after)
	if len(after.Items) != 1 || after.Items[0].Active || after.Items[0].RevokedAt.IsZero() {
		t.Errorf("after the end the list is %+v, want it there and ended", after)
	}
}

// TestBearersAreReadAsRFC6750Says is B1 of the standards we keep (RFC 6750 §2.1, §3).
func TestBearersAreReadAsRFC6750Says(t *testing.T) {
	s := fronttest.Start(t, nil)
	s.AddApp(t, "warehouse")
	s.AddApp(t, "other")
	program := s.Program(t, "alice", "token:warehouse")
	const path = "/api/v1/connected-apps/warehouse/token"
	bare := s.Browser(t)
	made, value := "", ""
	{
		var m adminapi.MadeToken
		s.Browser(t).SignIn("alice").Call(http.MethodPost, "/api/v1/tokens", map[string]any{"name": "x", "scopes": []string{"token:warehouse"}}, &m)
		made, value = m.ID, m.Value
	}
	if made == "" {
		t.Fatal("no token was made")
	}
	for _, tt := range []struct {
		name, path    string
		authorization []string
		status        int
		code, says    string // of WWW-Authenticate
	}{
		{"no token", path, nil, 401, "token_required", `Bearer realm="Behalf"`},
		{"a token in the URL", path + "?access_token=" + value, nil, 401, "token_required", `Bearer realm="Behalf"`},
		{"another scheme", path, []string{"Basic " + value}, 401, "invalid_token", `error="invalid_token"`},
		{"no scheme", path, []string{value}, 401, "invalid_token", `error="invalid_token"`},
		{"two tokens", path, []string{"Bearer " + value, "Bearer " + value}, 401, "invalid_token", `error="invalid_token"`},
		{"a Cube JWT", path, []string{"Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ1Ijp7fX0.c2lnbmF0dXJl"}, 401, "invalid_token", `error="invalid_token"`},
		{"the scope of another app", "/api/v1/connected-apps/other/token", []string{"Bearer " + value}, 403, "insufficient_scope", `error="insufficient_scope", scope="token:other"`},
		{"the scheme in small letters", path, []string{"bearer " + value}, 403, "authorization_required", ""},
	} {
		a := bare.Do(http.MethodGet, tt.path, http.Header{"Authorization": tt.authorization}, "")
		refused(t, a, tt.status, tt.code)
		if got := a.Header.Get("WWW-Authenticate"); !strings.Contains(got, tt.says) || tt.says == "" && got != "" {
			t.Errorf("%s: WWW-Authenticate = %q, want %q", tt.name, got, tt.says)
		}
		if strings.Contains(a.Body+fmt.Sprint(a.Header), value) {
			t.Errorf("%s: the refusal repeats the token", tt.name)
		}
	}
	// A page of another site cannot set the header, so it is no forgery; what it can send is refused as ever.
	if a := program.Do(http.MethodDelete, "/api/v1/tokens/current", http.Header{"Sec-Fetch-Site": {"cross-site"}}, ""); a.Status != 204 {
		t.Errorf("a program that says it is a cross-site page is answered %d %s", a.Status, a.Body)
	}
	alice := s.Browser(t).SignIn("alice")
	refused(t, alice.Do(http.MethodDelete, "/api/v1/tokens/"+made, http.Header{"Sec-Fetch-Site": {"cross-site"}}, ""), 403, "cross_origin")
	// A cookie beside a token counts for nothing.
	refused(t, alice.Do(http.MethodGet, "/api/v1/oauth-apps", http.Header{"Authorization": {"Bearer " + value}, "Sec-Fetch-Site": {"same-origin"}}, ""), 403, "session_required")
}

func TestATokenMakesNoStrongerOneByTheAPI(t *testing.T) {
	s := fronttest.Start(t, nil)
	s.AddApp(t, "warehouse")
	program := s.Program(t, "alice", "account")
	refused(t, program.Call(http.MethodPost, "/api/v1/tokens", map[string]any{"name": "x", "scopes": []string{"token:warehouse"}}, nil), 403, "insufficient_scope")
	refused(t, program.Call(http.MethodPost, "/api/v1/tokens", map[string]any{"name": "x", "scopes": []string{"account"}, "expires_in_seconds": 365 * 86400}, nil), 403, "insufficient_scope")
	var made adminapi.MadeToken
	if a := program.Call(http.MethodPost, "/api/v1/tokens", map[string]any{"name": "x", "scopes": []string{"account"}}, &made); a.Status != 201 {
		t.Errorf("a token that can do as much = %d %s", a.Status, a.Body)
	}
	p := refused(t, program.Call(http.MethodPost, "/api/v1/tokens", map[string]any{"name": "", "scopes": []string{"everything"}, "expires_in_seconds": 0}, nil), 422, "invalid")
	var where []string
	for _, e := range p.Errors {
		where = append(where, e.Pointer)
	}
	if !slices.Equal(where, []string{"/name", "/scopes", "/expires_in_seconds"}) {
		t.Errorf("errors at %v, want all three fields", where)
	}
}

func TestWithADisabledPersonTheirTokensEnd(t *testing.T) {
	s := fronttest.Start(t, nil)
	program := s.Program(t, "bob", "account")
	if a := program.Call(http.MethodGet, "/api/v1/connected-apps", nil, nil); a.Status != 200 {
		t.Fatalf("before: %d %s", a.Status, a.Body)
	}
	bob, err := s.People.ByUsername(t.Context(), "bob")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.People.Disable(t.Context(), bob.ID, "usr_admin"); err != nil {
		t.Fatal(err)
	}
	refused(t, program.Call(http.MethodGet, "/api/v1/connected-apps", nil, nil), 401, "invalid_token")
}

// TestATokenIsForTheAppThatThereWas: a slug may be used again, and what was allowed for one app is not for its successor.
func TestATokenIsForTheAppThatThereWas(t *testing.T) {
	s := fronttest.Start(t, nil)
	old := s.AddApp(t, "warehouse")
	program := s.Program(t, "alice", "token:warehouse")
	if err := s.Apps.Delete(t.Context(), old.ID, "usr_admin"); err != nil {
		t.Fatal(err)
	}
	s.Move(time.Second)
	s.AddApp(t, "warehouse")
	alice := s.Browser(t).SignIn("alice")
	alice.Get(alice.Allow(alice.ToProvider("/connect/warehouse")))
	refused(t, program.Call(http.MethodGet, "/api/v1/connected-apps/warehouse/token", nil, nil), 403, "insufficient_scope")
	if a := s.Program(t, "alice", "token:warehouse").Call(http.MethodGet, "/api/v1/connected-apps/warehouse/token", nil, nil); a.Status != 200 {
		t.Errorf("a token made for the new app = %d %s", a.Status, a.Body)
	}
}
