// Package tokens owns the personal access tokens of this server: what a script, a notebook or the command line carries
// instead of a browser session (design.md §5).
//
// A token is a random value that is shown once and rests as its SHA-256. A slow or salted hash would add nothing: those
// protect values that people choose, and nobody guesses 160 random bits. Its prefix and checksum let scanners of source
// code find one that was committed, and let us refuse a mistyped one without asking the database.
//
//	made ──▶ alive ──▶ expired
//	           └─────▶ revoked: by its owner, with the token that made it, with its owner when they are disabled, or by
//	                   who contains a leak
//
// A token belongs to one person and can never do more than they can. What it may do at all is its scopes: none means
// nothing. The end of a token counts on every replica within a second; Authenticate remembers no longer than that.
package tokens

import (
	"context"
	"hash/crc32"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/id"
	"github.com/behalf-project/behalf/internal/secret"
)

// Scope is one thing that a token may do.
type Scope string

// Account is reading and managing what is one's own: connected apps, tokens. It hands out no access token.
const Account Scope = "account"

// Operate is seeing and stopping what runs here for everybody. It is worth something as long as its person is an admin.
const Operate Scope = "operate"

// slugPattern is how the slug of an app is written. Its id names it in no scope.
var slugPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// What the scopes of an OAuth app begin with.
const (
	handOut = "token:"
	connect = "connect:"
)

// HandOut is the scope of being handed the access tokens of the OAuth app with this slug.
func HandOut(slug string) Scope { return Scope(handOut + slug) }

// Connect is the scope of connecting the OAuth app with this slug by token exchange.
func Connect(slug string) Scope { return Scope(connect + slug) }

// App returns the slug of the OAuth app that s is about, and whether it is about one.
func (s Scope) App() (slug string, ok bool) {
	if slug, ok = strings.CutPrefix(string(s), handOut); ok {
		return slug, true
	}
	return strings.CutPrefix(string(s), connect)
}

// Scopes returns what was asked for without repetitions, sorted, or fault.Invalid when it is not written as scopes of ours
// are. Whether there are the apps that it names is not for everybody to know: Service.InWords says it.
func Scopes(asked []string) ([]string, error) {
	scopes := slices.Compact(slices.Sorted(slices.Values(asked)))
	switch {
	case len(scopes) == 0:
		return nil, fault.New(fault.Invalid, "A token needs a scope: account, token:<app> to be handed the access tokens of an app, connect:<app> to connect one by token exchange, or operate for admins.")
	case len(scopes) > maxScopes:
		return nil, fault.New(fault.Invalid, "A token has %d scopes at most.", maxScopes)
	}
	for _, scope := range scopes {
		if slug, ok := Scope(scope).App(); Scope(scope) != Account && Scope(scope) != Operate && (!ok || !slugPattern.MatchString(slug)) {
			return nil, fault.New(fault.Invalid, "There is no scope %q. There are account, operate, token:<app> and connect:<app>.", scope)
		}
	}
	return scopes, nil
}

// Token is one token, without its value.
type Token struct {
	ID           string // tok_…
	UserID       string
	ParentID     string // the token that made it, with which it ends; empty when its person did, in a browser
	Name         string
	Hash         string // SHA-256 of the value, in hex
	Scopes       []string
	Origin       string // "api", "device" or "login"
	CreatedAt    time.Time
	ExpiresAt    time.Time // zero when it has no end
	UsedAt       time.Time // to the minute; zero when it never was
	RevokedAt    time.Time // zero while it lives
	RevokeReason string
}

// Allows reports whether t has scope s.
func (t Token) Allows(s Scope) bool { return slices.Contains(t.Scopes, string(s)) }

// Within refuses a token that can do more than by, which makes it, or lives longer: fault.Denied, with the code
// insufficient_scope of RFC 6750 §3.1.
func (t Token) Within(by Token) error {
	for _, scope := range t.Scopes {
		if !by.Allows(Scope(scope)) {
			return &fault.Error{Kind: fault.Denied, Code: "insufficient_scope", Owner: fault.User, Params: map[string]string{"scope": scope},
				Detail: "A token makes only tokens that can do no more than itself, and this one lacks the scope " + scope + ". Make the token in the browser, or sign in again with that scope."}
		}
	}
	if !by.ExpiresAt.IsZero() && (t.ExpiresAt.IsZero() || t.ExpiresAt.After(by.ExpiresAt)) {
		return &fault.Error{Kind: fault.Denied, Code: "insufficient_scope", Owner: fault.User,
			Detail: "A token makes no token that lives longer than itself, and this one ends on " + by.ExpiresAt.Format("2 Jan 2006") + ". Make the token in the browser."}
	}
	return nil
}

// Over reports whether t no longer counts at now: at exactly its end it does not.
func (t Token) Over(now time.Time) bool {
	return !t.RevokedAt.IsZero() || !t.ExpiresAt.IsZero() && !now.Before(t.ExpiresAt)
}

// Store keeps tokens. tokenstest.TestStore says what each method must do.
//
// It announces notify.TokenChanged when a token ends, and it ends the tokens of a person in the transaction that
// disables them. With a token end all that it made, and those that they made, in the same transaction.
type Store interface {
	// CreateToken stores t, unless its person has most tokens that live already: fault.TooMany. With a ParentID, that
	// token must be of the same person and alive at CreatedAt, fault.Unauthenticated, and t Within it: what another
	// replica has committed counts. It removes tokens that ended 30 days before.
	CreateToken(ctx context.Context, t Token, most int, e audit.Entry) error

	// FindToken returns the token with this hash, dead or alive, or fault.NotFound.
	FindToken(ctx context.Context, hash string) (Token, error)

	// ListTokens returns the tokens of a person, dead ones too, the newest first.
	ListTokens(ctx context.Context, userID string) ([]Token, error)

	// RevokeToken ends a token of this person and all that came of it, each with an entry like e; what has ended stays
	// as it is. fault.NotFound when they have none with this id.
	RevokeToken(ctx context.Context, userID, id, reason string, at time.Time, e audit.Entry) error

	// RevokeTokens ends all living tokens of a person or, with no userID, of everybody.
	RevokeTokens(ctx context.Context, userID, reason string, at time.Time, e audit.Entry) error

	// TouchToken sets UsedAt to at, if that is later by a minute or more.
	TouchToken(ctx context.Context, id string, at time.Time) error
}

// Prefix begins every token. It is a word of its own, so that scanners need no context to know one.
const Prefix = "bhf_pat_"

// tokenBytes is the randomness of a token: 160 bits.
const tokenBytes = 20

// Pattern is what a token looks like, for scanners of source code and logs: the prefix, 32 characters of randomness
// and 7 of checksum.
var Pattern = regexp.MustCompile(`bhf_pat_[0-9a-hjkmnp-tv-z]{39}`)

// generate returns a new value.
func generate() secret.Text {
	random := id.Random(tokenBytes)
	return secret.New(Prefix + random + checksum(random))
}

// checksum is the CRC-32 of s in the letters that it is written in.
func checksum(s string) string {
	const letters = "0123456789abcdefghjkmnpqrstvwxyz"
	sum := crc32.ChecksumIEEE([]byte(s))
	out := make([]byte, 7)
	for i := range out {
		out[len(out)-1-i] = letters[sum&31]
		sum >>= 5
	}
	return string(out)
}

// wellFormed reports whether value can be a token at all.
func wellFormed(value string) bool {
	const random = tokenBytes * 8 / 5
	body, ok := strings.CutPrefix(value, Prefix)
	return ok && len(body) == random+7 && checksum(body[:random]) == body[random:]
}
