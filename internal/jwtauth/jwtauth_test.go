package jwtauth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
)

var now = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

// people is a directory of alice and of mallory, who is disabled.
func people(_ context.Context, username string) (string, bool, error) {
	switch username {
	case "alice":
		return "usr_alice", false, nil
	case "mallory":
		return "usr_mallory", true, nil
	case "down":
		return "", false, fault.New(fault.Unavailable, "The database does not answer.")
	}
	return "", false, fault.NotFound
}

func verifier(change func(*Config)) *Verifier {
	cfg := Config{
		Secrets: []secret.Text{secret.New("new"), secret.New("old")}, People: people, Domain: "dom_1",
		Now: func() time.Time { return now },
	}
	if change != nil {
		change(&cfg)
	}
	return New(cfg)
}

func sign(t *testing.T, method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
	t.Helper()
	s, err := jwt.NewWithClaims(method, claims).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func header(name, value string) http.Header {
	h := http.Header{}
	h.Set(name, value)
	return h
}

func TestTokensThatAreRefused(t *testing.T) {
	hs := func(claims jwt.MapClaims) string { return sign(t, jwt.SigningMethodHS256, []byte("new"), claims) }
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	for _, tt := range []struct {
		name, token string
		change      func(*Config)
		want        fault.Kind
		code        string
	}{
		{"no token", "", nil, fault.Unauthenticated, "missing_token"},
		{"not a token", "nonsense", nil, fault.Unauthenticated, "invalid_token"},
		{"expired a second ago", hs(jwt.MapClaims{"exp": now.Add(-time.Second).Unix()}), nil, fault.Unauthenticated, "invalid_token"},
		{"not valid yet", hs(jwt.MapClaims{"nbf": now.Add(time.Second).Unix()}), nil, fault.Unauthenticated, "invalid_token"},
		{"another secret", sign(t, jwt.SigningMethodHS256, []byte("guess"), jwt.MapClaims{}), nil, fault.Unauthenticated, "invalid_token"},
		{"alg none", sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, jwt.MapClaims{}), nil, fault.Unauthenticated, "invalid_token"},
		{"an algorithm that is not allowed", sign(t, jwt.SigningMethodHS512, []byte("new"), jwt.MapClaims{}), func(c *Config) { c.Algorithms = []string{"HS256"} }, fault.Unauthenticated, "invalid_token"},
		{"a payload that is a string", part(`{"alg":"HS256"}`) + "." + part(`"alice"`) + ".", nil, fault.Unauthenticated, "invalid_token"},
		{"another audience", hs(jwt.MapClaims{"aud": "them"}), func(c *Config) { c.Audience = "us" }, fault.Unauthenticated, "invalid_token"},
		{"another issuer", hs(jwt.MapClaims{"iss": "them"}), func(c *Config) { c.Issuers = []string{"us"} }, fault.Unauthenticated, "invalid_token"},
		{"no secret at all", hs(jwt.MapClaims{}), func(c *Config) { c.Secrets = nil }, fault.Unauthenticated, "invalid_token"},
		{"an empty secret", sign(t, jwt.SigningMethodHS256, []byte(""), jwt.MapClaims{}), func(c *Config) { c.Secrets = []secret.Text{{}} }, fault.Unauthenticated, "invalid_token"},
		{"longer than a token may be", strings.Repeat("a", maxToken+1), nil, fault.Unauthenticated, "invalid_token"},
		{"a disabled person", hs(jwt.MapClaims{"cubeCloud": map[string]any{"username": "mallory"}}), nil, fault.Denied, "user_disabled"},
		{"a directory that is down", hs(jwt.MapClaims{"cubeCloud": map[string]any{"username": "down"}}), nil, fault.Unavailable, "unavailable"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := verifier(tt.change).Verify(t.Context(), header("Authorization", tt.token))
			var f *fault.Error
			if !errors.As(err, &f) || f.Kind != tt.want || f.CodeOrKind() != tt.code {
				t.Errorf("Verify = %v, want %s %s", err, tt.want, tt.code)
			}
		})
	}
}

func TestWhereTheTokenIsFound(t *testing.T) {
	for _, tt := range []struct {
		name   string
		header http.Header
	}{
		{"alone", header("Authorization", "T")},
		{"behind Bearer", header("Authorization", "Bearer T")},
		{"behind any word", header("Authorization", "Foo T")},
		{"in Cube's own header", header("X-Cube-Authorization", "T")},
		{"in Cube's own header before the other", http.Header{"Authorization": {"X"}, "X-Cube-Authorization": {"Bearer T"}}},
	} {
		if got := Token(tt.header); got != "T" {
			t.Errorf("%s: Token = %q, want T", tt.name, got)
		}
	}
}

func TestWhoATokenIs(t *testing.T) {
	alice := securitycontext.Principal{Realm: securitycontext.Local, Subject: "usr_alice"}
	for _, tt := range []struct {
		name      string
		claims    jwt.MapClaims
		change    func(*Config)
		principal securitycontext.Principal
		template  map[string]any
	}{
		{"nobody", jwt.MapClaims{"user_id": 42}, nil, securitycontext.Principal{}, map[string]any{"user_id": int64(42)}},
		{"a local person", jwt.MapClaims{"cubeCloud": map[string]any{"username": "alice"}}, nil, alice,
			map[string]any{"cubeCloud": map[string]any{"username": "alice"}}},
		{"a local person in the legacy object", jwt.MapClaims{"u": map[string]any{"cubeCloud": map[string]any{"username": "alice"}, "id": 1.5}, "id": 1}, nil, alice,
			map[string]any{"cubeCloud": map[string]any{"username": "alice"}, "id": 1.5}},
		{"a name that is nobody's", jwt.MapClaims{"cubeCloud": map[string]any{"username": "zoe"}}, nil,
			securitycontext.Principal{Realm: securitycontext.APISecret, Subject: "zoe"}, map[string]any{"cubeCloud": map[string]any{"username": "zoe"}}},
		{"a subject is no name", jwt.MapClaims{"sub": "alice"}, nil, securitycontext.Principal{}, map[string]any{"sub": "alice"}},
		{"another claim, when configured", jwt.MapClaims{"sub": "alice"}, func(c *Config) { c.UsernameClaim = "sub" }, alice, map[string]any{"sub": "alice"}},
		{"a name that is no text", jwt.MapClaims{"cubeCloud": map[string]any{"username": []string{"alice"}}}, nil, securitycontext.Principal{},
			map[string]any{"cubeCloud": map[string]any{"username": []any{"alice"}}}},
		{"a namespace hides the rest", jwt.MapClaims{"https://x/": map[string]any{"a": true}, "b": 1}, func(c *Config) { c.ClaimsNamespace = "https://x/" }, securitycontext.Principal{}, map[string]any{"a": true}},
		{"a namespace that is missing", jwt.MapClaims{"b": 1}, func(c *Config) { c.ClaimsNamespace = "https://x/" }, securitycontext.Principal{}, map[string]any{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, key := range []string{"new", "old"} {
				sc, err := verifier(tt.change).Verify(t.Context(), header("Authorization", sign(t, jwt.SigningMethodHS256, []byte(key), tt.claims)))
				if err != nil {
					t.Fatal(err)
				}
				if sc.Principal != tt.principal || sc.Domain != "dom_1" {
					t.Errorf("principal = %+v, want %+v", sc.Principal, tt.principal)
				}
				if diff := cmp.Diff(tt.template, sc.Template); diff != "" {
					t.Errorf("template (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestGroupsOfAToken(t *testing.T) {
	for _, tt := range []struct {
		claims jwt.MapClaims
		want   string
	}{
		{jwt.MapClaims{}, "[]"},
		{jwt.MapClaims{"groups": []string{"a", "b"}}, "[a b]"},
		{jwt.MapClaims{"cubeCloud": map[string]any{"groups": []string{"c"}}}, "[c]"},
		{jwt.MapClaims{"groups": []string{"a"}, "cubeCloud": map[string]any{"groups": []string{"c"}}}, "[a]"},
		{jwt.MapClaims{"u": map[string]any{"groups": []string{"d"}}}, "[d]"},
		{jwt.MapClaims{"groups": "admin"}, "[]"},
		{jwt.MapClaims{"groups": []any{"a", 1, nil}}, "[a]"},
	} {
		sc, err := verifier(nil).Verify(t.Context(), header("Authorization", sign(t, jwt.SigningMethodHS256, []byte("new"), tt.claims)))
		if err != nil || fmt.Sprint(sc.Groups) != tt.want {
			t.Errorf("%v: groups %v, %v; want %s", tt.claims, sc.Groups, err, tt.want)
		}
	}
}

func TestAccessTokensLeaveTheClaims(t *testing.T) {
	credentials := map[string]any{"userCredentials": map[string]any{"databricks": map[string]any{
		"accessToken": "canary", "refreshToken": "canary", "status": "active", "accessTokenExpiresAt": "2026-11-22T09:00:00Z",
	}}}
	for _, where := range []jwt.MapClaims{{"cubeCloud": credentials}, {"u": map[string]any{"cubeCloud": credentials}}, {"ns": map[string]any{"cubeCloud": credentials}}} {
		for _, trusted := range []bool{false, true} {
			v := verifier(func(c *Config) { c.TrustUserCredentials, c.ClaimsNamespace = trusted, "ns" })
			sc, err := v.Verify(t.Context(), header("Authorization", sign(t, jwt.SigningMethodHS256, []byte("new"), where)))
			if err != nil {
				t.Fatal(err)
			}
			j, _ := json.Marshal(sc)
			if strings.Contains(string(j)+fmt.Sprintf("%+v", sc), "canary") {
				t.Errorf("an access token is still in %s", j)
			}
			c, ok := sc.Credentials["databricks"]
			if ok != trusted {
				t.Errorf("trusted %v: credential found %v", trusted, ok)
			}
			if trusted && (c.AccessToken.Reveal() != "canary" || c.Status != "active" || !c.ExpiresAt.Equal(now.Add(time.Hour))) {
				t.Errorf("credential = %+v", c)
			}
		}
	}
}

func TestDevelopmentModeNeedsNoToken(t *testing.T) {
	v := verifier(func(c *Config) { c.DevMode = true })
	for _, token := range []string{"", "nonsense"} {
		sc, err := v.Verify(t.Context(), header("Authorization", token))
		if err != nil || !sc.Principal.Anonymous() {
			t.Errorf("token %q: %+v, %v; want the anonymous principal", token, sc.Principal, err)
		}
	}
	for origin, want := range map[string]bool{
		"http://localhost:3000": true, "http://127.0.0.1:4000": true, "http://[::1]:4000": true,
		"https://evil.example.com": false, "http://localhost.evil.example.com": false, "null": false, "http://10.0.0.7:3000": false, "%": false,
	} {
		h := header("Origin", origin)
		if _, err := v.Verify(t.Context(), h); (err == nil) != want {
			t.Errorf("a page of %s without a token: %v, want it let in: %v", origin, err, want)
		}
		h.Set("Authorization", "nonsense")
		if _, err := v.Verify(t.Context(), h); (err == nil) != want {
			t.Errorf("a page of %s with a bad token: %v, want it let in: %v", origin, err, want)
		}
	}
	good, err := Sign(secret.New("new"), map[string]any{"cubeCloud": map[string]any{"username": "alice"}}, now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if sc, err := v.Verify(t.Context(), header("Authorization", good.Reveal())); err != nil || sc.Principal.Subject != "usr_alice" {
		t.Errorf("a good token is %+v, %v", sc.Principal, err)
	}
}

func TestWhatIsIssuedIsTakenByWhoIssuedIt(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Config)
	}{
		{"by default", nil},
		{"with a claim of its own for the name", func(c *Config) { c.UsernameClaim = "sub" }},
		{"with a deep one", func(c *Config) { c.UsernameClaim = "https://x/.who.name" }},
		{"with an issuer and an audience", func(c *Config) { c.Issuers, c.Audience = []string{"us", "them"}, "queries" }},
		{"with another algorithm", func(c *Config) { c.Algorithms = []string{"HS512"} }},
		{"with a namespace", func(c *Config) { c.ClaimsNamespace = "https://x/" }},
		{"in development mode", func(c *Config) { c.DevMode = true }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := verifier(tt.change)
			token, err := v.Issue("alice", time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			sc, err := v.Verify(t.Context(), header("Authorization", token.Reveal()))
			if err != nil || sc.Principal != (securitycontext.Principal{Realm: securitycontext.Local, Subject: "usr_alice"}) {
				t.Errorf("alice's own token is of %+v, %v", sc.Principal, err)
			}
		})
	}
	if _, err := verifier(func(c *Config) { c.Secrets = nil }).Issue("alice", time.Minute); !errors.Is(err, fault.Unavailable) {
		t.Errorf("Issue without a secret = %v, want Unavailable", err)
	}
}

func TestATokenThatIsKnownStillEnds(t *testing.T) {
	at, disabled := now, false
	v := verifier(func(c *Config) {
		c.Now = func() time.Time { return at }
		c.People = func(context.Context, string) (string, bool, error) { return "usr_1", disabled, nil }
	})
	token, err := Sign(secret.New("new"), map[string]any{"cubeCloud": map[string]any{"username": "alice"}}, now, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	h := header("Authorization", token.Reveal())
	for range 2 {
		if sc, err := v.Verify(t.Context(), h); err != nil || sc.Principal.Subject != "usr_1" {
			t.Fatalf("Verify = %+v, %v", sc.Principal, err)
		}
	}
	disabled = true
	if _, err := v.Verify(t.Context(), h); !errors.Is(err, fault.Denied) {
		t.Errorf("after the person was disabled: %v, want Denied", err)
	}
	disabled = false
	for _, tt := range []struct {
		name string
		at   time.Time
		want fault.Kind
	}{
		{"a second before its end", now.Add(59 * time.Second), ""},
		{"at its end", now.Add(time.Minute), fault.Unauthenticated},
		{"after its end", now.Add(2 * time.Minute), fault.Unauthenticated},
	} {
		at = tt.at
		if _, err := v.Verify(t.Context(), h); fault.KindOf(err) != tt.want {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func FuzzVerify(f *testing.F) {
	f.Add("Bearer x.y.z")
	f.Add(strings.Repeat(".", 100))
	v := verifier(nil)
	f.Fuzz(func(t *testing.T, value string) {
		h := http.Header{"Authorization": {value}}
		if sc, err := v.Verify(context.Background(), h); err == nil {
			t.Errorf("%q is %+v", value, sc)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	v := verifier(nil)
	token, err := Sign(secret.New("new"), map[string]any{"cubeCloud": map[string]any{"username": "alice"}}, now, time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	h := header("Authorization", token.Reveal())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(b.Context(), h); err != nil {
			b.Fatal(err)
		}
	}
}
