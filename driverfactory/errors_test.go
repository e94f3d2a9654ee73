package driverfactory

import (
	"errors"
	"strings"
	"testing"
)

func TestScrub(t *testing.T) {
	p := &pool{choice: Choice{account: &ServiceAccount{
		Password: NewSecret("hunter2!"), OAuth: &ClientCredentials{ClientSecret: NewSecret("s3cr3t-of-client")},
	}}}
	tok := Token{Value: NewSecret("opaque-token-value")}
	for _, tt := range []struct{ name, in, want string }{
		{"a plain sentence stays", `relation "orders" does not exist`, `relation "orders" does not exist`},
		{"words about tokens stay", "Token is expired", "Token is expired"},
		{"the token of the session", "no user for opaque-token-value", "no user for [redacted]"},
		{"the account's secrets", "hunter2! or s3cr3t-of-client", "[redacted] or [redacted]"},
		{"a header", "sent Authorization: Bearer abc.def-123456", "sent Authorization: Bearer [redacted]"},
		{"a JWT", "bad token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln here", "bad token [redacted] here"},
		{"a personal access token", "token dapi0123456789abcdef0123456789abcdef-2", "token [redacted]"},
		{"a URL's password", "dial postgres://alice:pw@db/x", "dial postgres://alice:[redacted]@db/x"},
		{"a URL's query", `Get "https://h/a?code=1&state=2": EOF`, `Get "https://h/a?[redacted]": EOF`},
		{"a connection string", "user=a password=x1 host=h", "user=a password=[redacted] host=h"},
		{"a long text is cut", strings.Repeat("é", 600), strings.Repeat("é", 500) + " …"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := p.scrub(tt.in, tok); got != tt.want {
				t.Errorf("scrub = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestAScrubbedErrorIsStillWhatItWas(t *testing.T) {
	inner := errors.New("Bearer abcdefgh12345678")
	err := (&pool{}).scrubbed(inner, Token{})
	if !errors.Is(err, inner) || strings.Contains(err.Error(), "abcdefgh") {
		t.Errorf("scrubbed = %v, want a text without the token around the same error", err)
	}
}

// FuzzScrub looks for a message of a database out of which a secret that we know gets through.
func FuzzScrub(f *testing.F) {
	f.Add("a ", " b")
	f.Add("https://h/?x=", "&y")
	f.Add("Bearer ", "")
	f.Add("eyJhbGciOiJIUzI1NiJ9.", ".sig")
	f.Add(strings.Repeat("x", maxSentence-5), "é")
	const secret = "kV9x-Token-77f3"
	p := &pool{choice: Choice{account: &ServiceAccount{Password: NewSecret(secret)}}}
	f.Fuzz(func(t *testing.T, before, after string) {
		if got := p.scrub(before+secret+after, Token{}); strings.Contains(got, secret) {
			t.Errorf("scrub let the secret through: %q", got)
		}
	})
}
