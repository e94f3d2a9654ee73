package oauthapps

import "time"

// Quirks are what a kind of provider does otherwise than the standards say, or than they leave open. The zero Quirks
// are a server that keeps to them. They are data: the parser, the client and the flow look at a field, and nothing
// looks at the name of a preset. Each field that a preset sets is cited, and is a switch of the sandbox's provider
// (internal/sandbox/idp), so that every preset is tested against a provider that behaves so.
type Quirks struct {
	// The authorization request.

	// AuthParams are sent with every authorization request unless the app sets them itself.
	AuthParams map[string]string

	// The life of refresh tokens.

	RefreshTokens RefreshTokens
	// ReuseWindow is for how long a refresh token that was replaced may be sent once more.
	ReuseWindow time.Duration
	// RefreshLife is the life of a refresh token where the answer does not say and nobody can configure another.
	RefreshLife time.Duration
	// RefreshIdle is after how long without use a refresh token is dead.
	RefreshIdle time.Duration

	// The answers of the token endpoint. What follows is tolerated only of a provider that is known to do it, because
	// it would be wrong of another.

	// CommaScopes: scope is a list with commas. Elsewhere a comma is a character of a scope (RFC 6749 §3.3).
	CommaScopes bool
	// ErrorCodes are the provider's own error codes, and the code of RFC 6749 §5.2 that each one means.
	ErrorCodes map[string]string
	// AccountMember is the member of the answer that names the person. What others write there is not believed.
	AccountMember string

	// And what follows is tolerated of everybody, because it can hurt nobody.

	FormAnswers   bool   // application/x-www-form-urlencoded instead of JSON
	ErrorsWith200 bool   // an error comes with status 200
	NoExpiresIn   bool   // expires_in is left out: the end of the access token is unknown
	StringNumbers bool   // expires_in is a string
	TokenType     string // what token_type says instead of Bearer; "none" when it is left out

	// Token exchange.

	// AnonymousExchange: a token of another issuer is exchanged without client authentication and without a client_id,
	// which would mean something else there.
	AnonymousExchange bool

	// Revocation.

	Revocation Revocation
	// UnknownToken400: the revocation of a token that has ended is answered with status 400, which RFC 7009 §2.2
	// answers with 200. Both are success.
	UnknownToken400 bool

	// What a Test can find out.

	// Probe is the request by which a Test sees whether the provider accepts our credentials.
	Probe Probe
	// ProbeScope is the scope of a ProbeClientCredentials.
	ProbeScope string
	// MismatchMark is in the page or the redirect by which the provider refuses a redirect URI that is not registered.
	MismatchMark string

	// Citations say where each of them is written.
	Citations []Citation
}

// Citation is the public page that a quirk is written on.
type Citation struct {
	Field string // of Quirks; empty for what is good to know and changes nothing here
	Says  string // in one sentence
	URL   string
}

// RefreshTokens is what becomes of a refresh token that is used.
type RefreshTokens string

// What providers do. The first is what has to be expected of anybody (RFC 6749 §6, RFC 9700 §4.14.2).
const (
	RefreshAnything RefreshTokens = ""           // it depends on their configuration: be ready for single use
	RefreshKept     RefreshTokens = "kept"       // it goes on being used; the answer brings no other
	RefreshReplaced RefreshTokens = "replaced"   // the answer brings another, and the old one goes on working
	RefreshSingle   RefreshTokens = "single_use" // the answer brings another, and the old one is dead
	RefreshNone     RefreshTokens = "none"       // there are none: the access token is all there is
)

// Repeatable reports whether a refresh that was sent so long ago, and whose answer was lost, may be sent again with
// the same refresh token: it either still works or is allowed once more.
func (q Quirks) Repeatable(ago time.Duration) bool {
	return q.RefreshTokens == RefreshKept || q.RefreshTokens == RefreshReplaced || ago < q.ReuseWindow
}

// Revocation is how a provider is told that a grant has ended.
type Revocation string

// The ways.
const (
	RevokeToken Revocation = ""             // RFC 7009, where there is a revocation endpoint
	RevokeGrant Revocation = "delete_grant" // DELETE with the access token in a JSON body ends the whole grant (GitHub)
	RevokeNever Revocation = "none"         // it cannot be told
)

// Probe is a token request that shows whether a client's credentials are accepted, without a grant.
type Probe string

// The probes.
const (
	ProbeCode              Probe = ""                   // with a made-up code: invalid_grant means that the credentials are right
	ProbeClientCredentials Probe = "client_credentials" // with the client's own grant, where a made-up code is refused before the credentials are looked at
)

// Quirks returns what is known of the provider of a, by its preset.
func (a App) Quirks() Quirks {
	p, _ := findPreset(a.Preset)
	return p.Quirks
}

// AuthorizationParams returns the parameters that an authorization request for a carries beside those of RFC 6749
// §4.1.1: what its preset always needs and what the app names, which wins. One that the app leaves empty is not sent.
func (a App) AuthorizationParams() map[string]string {
	params := map[string]string{}
	for _, from := range []map[string]string{a.Quirks().AuthParams, a.AuthParams} {
		for name, value := range from {
			params[name] = value
		}
	}
	for name, value := range params {
		if value == "" {
			delete(params, name)
		}
	}
	return params
}
