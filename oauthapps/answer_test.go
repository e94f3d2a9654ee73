package oauthapps

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/displayname"
)

func TestParseAnswer(t *testing.T) {
	known := Quirks{CommaScopes: true, AccountMember: "username", ErrorCodes: map[string]string{"bad_refresh_token": CodeInvalidGrant}}
	for _, tt := range []struct {
		name, contentType, body string
		status                  int
		want                    TokenAnswer // tokens are compared by their text
		class                   Class
		code                    string // empty: no failure
	}{
		{"the answer of the standard", "application/json;charset=UTF-8", `{"access_token":"a","token_type":"Bearer","expires_in":3600,"refresh_token":"r","scope":"x y"}`, 200,
			TokenAnswer{AccessToken: NewSecret("a"), RefreshToken: NewSecret("r"), TokenType: "Bearer", ExpiresIn: time.Hour, Scopes: []string{"x", "y"}}, 0, ""},
		{"expires_in as a string", "application/json", `{"access_token":"a","token_type":"bearer","expires_in":"3600"}`, 200,
			TokenAnswer{AccessToken: NewSecret("a"), TokenType: "bearer", ExpiresIn: time.Hour}, 0, ""},
		{"expires_in as a float", "application/json", `{"access_token":"a","token_type":"Bearer","expires_in":1.5}`, 200,
			TokenAnswer{AccessToken: NewSecret("a"), TokenType: "Bearer", ExpiresIn: 1500 * time.Millisecond}, 0, ""},
		{"expires_in that is none is unknown", "application/json", `{"access_token":"a","token_type":"Bearer","expires_in":{"in":"soon"}}`, 200,
			TokenAnswer{AccessToken: NewSecret("a"), TokenType: "Bearer"}, 0, ""},
		{"expires_in beyond reason is cut", "application/json", `{"access_token":"a","token_type":"Bearer","expires_in":1e300}`, 200,
			TokenAnswer{AccessToken: NewSecret("a"), TokenType: "Bearer", ExpiresIn: maxLife}, 0, ""},
		{"expires_in below zero is unknown", "application/json", `{"access_token":"a","token_type":"Bearer","expires_in":-5}`, 200,
			TokenAnswer{AccessToken: NewSecret("a"), TokenType: "Bearer"}, 0, ""},
		{"no expires_in, no token_type", "application/json", `{"access_token":"a"}`, 200, TokenAnswer{AccessToken: NewSecret("a"), TokenType: "Bearer"}, 0, ""},
		{"scopes with commas, and twice", "application/json", `{"access_token":"a","token_type":"Bearer","scope":"x,y x"}`, 200,
			TokenAnswer{AccessToken: NewSecret("a"), TokenType: "Bearer", Scopes: []string{"x", "y"}}, 0, ""},
		{"Snowflake's extras", "application/json", `{"access_token":"a","token_type":"Bearer","expires_in":599,"refresh_token_expires_in":7775999,"username":"ALICE","idpInitiated":false}`, 200,
			TokenAnswer{AccessToken: NewSecret("a"), TokenType: "Bearer", ExpiresIn: 599 * time.Second, RefreshExpiresIn: 7775999 * time.Second, Username: "ALICE"}, 0, ""},
		{"a form", "application/x-www-form-urlencoded", `access_token=a&token_type=bearer&expires_in=60&scope=x%2Cy`, 200,
			TokenAnswer{AccessToken: NewSecret("a"), TokenType: "bearer", ExpiresIn: time.Minute, Scopes: []string{"x", "y"}}, 0, ""},
		{"a form that says it is text", "text/plain; charset=utf-8", "access_token=a&token_type=bearer\n", 200,
			TokenAnswer{AccessToken: NewSecret("a"), TokenType: "bearer"}, 0, ""},
		{"JSON that says it is text", "text/plain", ` {"access_token":"a"}`, 200, TokenAnswer{AccessToken: NewSecret("a"), TokenType: "Bearer"}, 0, ""},

		{"invalid_grant", "application/json", `{"error":"invalid_grant","error_description":"secret"}`, 400, TokenAnswer{}, GrantRefused, "invalid_grant"},
		{"invalid_client", "application/json", `{"error":"invalid_client"}`, 401, TokenAnswer{}, ClientRefused, "invalid_client"},
		{"unauthorized_client", "application/json", `{"error":"unauthorized_client"}`, 400, TokenAnswer{}, ClientRefused, "unauthorized_client"},
		{"an error with status 200", "application/json", `{"error":"bad_refresh_token"}`, 200, TokenAnswer{}, GrantRefused, "invalid_grant"},
		{"an error in a form", "application/x-www-form-urlencoded", `error=invalid_grant`, 400, TokenAnswer{}, GrantRefused, "invalid_grant"},
		{"any other error is the server's", "application/json", `{"error":"invalid_request"}`, 400, TokenAnswer{}, ServerFailed, "invalid_request"},
		{"an error code that is a sentence is not repeated", "application/json", `{"error":"your token secret is bad"}`, 400, TokenAnswer{}, ServerFailed, "provider_error"},
		{"a refusal without a code", "application/json", `{}`, 401, TokenAnswer{}, ServerFailed, "provider_error"},
		{"HTML", "text/html", `<html>secret</html>`, 200, TokenAnswer{}, ServerFailed, "provider_error"},
		{"a JSON array", "application/json", `["a"]`, 200, TokenAnswer{}, ServerFailed, "provider_error"},
		{"null", "application/json", `null`, 200, TokenAnswer{}, ServerFailed, "provider_error"},
		{"nothing", "application/json", ``, 200, TokenAnswer{}, ServerFailed, "provider_error"},
		{"no access token", "application/json", `{"token_type":"Bearer","refresh_token":"r"}`, 200,
			TokenAnswer{TokenType: "Bearer", RefreshToken: NewSecret("r")}, ServerFailed, "provider_error"},
		{"another type of token keeps the refresh token only", "application/json", `{"access_token":"a","token_type":"mac","refresh_token":"r"}`, 200,
			TokenAnswer{RefreshToken: NewSecret("r")}, ServerFailed, "unsupported_token_type"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, fail := parseAnswer(known, tt.status, tt.contentType, []byte(tt.body))
			if !got.AccessToken.Equal(tt.want.AccessToken) || !got.RefreshToken.Equal(tt.want.RefreshToken) {
				t.Errorf("tokens %q, %q, want %q, %q", got.AccessToken.Reveal(), got.RefreshToken.Reveal(), tt.want.AccessToken.Reveal(), tt.want.RefreshToken.Reveal())
			}
			got.AccessToken, got.RefreshToken, tt.want.AccessToken, tt.want.RefreshToken = Secret{}, Secret{}, Secret{}, Secret{}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("answer %+v, want %+v", got, tt.want)
			}
			switch {
			case (fail == nil) != (tt.code == ""):
				t.Errorf("failure %v, want code %q", fail, tt.code)
			case fail != nil && (fail.Code != tt.code || fail.Class != tt.class):
				t.Errorf("failure %s of class %d, want %s of class %d", fail.Code, fail.Class, tt.code, tt.class)
			case fail != nil && strings.Contains(fail.Error(), "secret"):
				t.Errorf("failure %q repeats the answer", fail)
			}
		})
	}
}

func TestWhatIsKnownOfOneProviderIsNotBelievedOfAnother(t *testing.T) {
	body := []byte(`{"access_token":"a","token_type":"Bearer","refresh_token":"r","scope":"x,y","username":"MALLORY"}`)
	got, fail := parseAnswer(Quirks{}, 200, "application/json", body)
	if fail != nil || !reflect.DeepEqual(got.Scopes, []string{"x,y"}) || got.Username != "" || got.RefreshExpiresIn != 0 {
		t.Errorf("a provider without quirks: %+v, %v, want one scope with a comma, no name and no end", got, fail)
	}
	got, _ = parseAnswer(App{Preset: "fabric"}.Quirks(), 200, "application/json", body)
	if got.RefreshExpiresIn != 90*24*time.Hour {
		t.Errorf("the refresh token of Microsoft Entra lives %s, want 90 days", got.RefreshExpiresIn)
	}
	got, _ = parseAnswer(App{Preset: "fabric"}.Quirks(), 200, "application/json", []byte(`{"access_token":"a","token_type":"Bearer"}`))
	if got.RefreshExpiresIn != 0 {
		t.Errorf("without a refresh token in the answer, it lives %s, want nothing said", got.RefreshExpiresIn)
	}
	if _, fail := parseAnswer(Quirks{}, 400, "application/json", []byte(`{"error":"bad_refresh_token"}`)); fail == nil || fail.Class != ServerFailed {
		t.Errorf("GitHub's code from somebody else = %v, want a failure of the server", fail)
	}
}

func FuzzParseAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"access_token":"a","token_type":"Bearer","expires_in":3600,"scope":"x y"}`, `{"access_token":"a","expires_in":"1e999"}`,
		`{"access_token":{},"scope":["x",1]}`, `access_token=a&token_type=bearer`, `error=%zz`, "<html>", `{"error":"\u0000"}`, `{"a":1e}`, "",
	} {
		for _, contentType := range []string{"application/json", "application/x-www-form-urlencoded", "text/plain", ";;"} {
			f.Add(200, contentType, []byte(seed))
			f.Add(400, contentType, []byte(seed))
		}
	}
	f.Fuzz(func(t *testing.T, status int, contentType string, body []byte) {
		a, fail := parseAnswer(Quirks{CommaScopes: true, AccountMember: "username", RefreshLife: time.Hour}, status, contentType, body)
		if fail == nil && (a.AccessToken.Empty() || !strings.EqualFold(a.TokenType, "bearer") || status < 200 || status > 299) {
			t.Fatalf("accepted %+v", a)
		}
		if a.ExpiresIn < 0 || a.ExpiresIn > maxLife || a.RefreshExpiresIn < 0 || a.RefreshExpiresIn > maxLife {
			t.Fatalf("lifetimes %s, %s", a.ExpiresIn, a.RefreshExpiresIn)
		}
		if fail != nil && (fail.Code == "" || len(fail.Code) > 64 || strings.ContainsAny(fail.Code, " <>\"\n")) {
			t.Fatalf("code %q", fail.Code)
		}
		if a.Username != "" && displayname.Check(a.Username, maxName) != nil {
			t.Fatalf("username %q", a.Username)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		header string
		want   time.Duration
	}{
		{"", 0}, {"77", 77 * time.Second}, {" 5 ", 5 * time.Second}, {"-1", 0}, {"soon", 0}, {"999999999", 24 * time.Hour},
		{now.Add(time.Minute).Format(http.TimeFormat), time.Minute}, {now.Add(-time.Minute).Format(http.TimeFormat), 0},
	} {
		if got := retryAfter(tt.header, now); got != tt.want {
			t.Errorf("retryAfter(%q) = %s, want %s", tt.header, got, tt.want)
		}
	}
}
