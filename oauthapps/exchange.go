package oauthapps

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
)

// Token types of RFC 8693 §3.
const (
	grantTokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeAccessToken    = "urn:ietf:params:oauth:token-type:access_token"
	typeIDToken        = "urn:ietf:params:oauth:token-type:id_token"
	typeJWT            = "urn:ietf:params:oauth:token-type:jwt"
)

// CodeExchangeWidened is the code of an exchange whose token may do more than was asked for.
const CodeExchangeWidened = "exchange_widened"

var errNoAccessToken = errors.New("issued_token_type is not that of an access token (RFC 8693 §2.2.1)")

// Exchange is what a token is to be exchanged for (RFC 8693 §2.1).
type Exchange struct {
	Subject  Secret   // the access token of the person whom the new one speaks for
	Audience string   // where it is to be used
	Scopes   []string // what it may do there; never more than held
	Held     []string // the scopes of Subject
}

// Exchange trades an access token for one that is good at one place only. What comes back is checked: it must be an
// access token, a bearer one, and its scopes none that were not asked for, or held when none were. It fails with a
// *Failure; a token that may do more than was asked for is CodeExchangeWidened.
func (c *Client) Exchange(ctx context.Context, app App, e Exchange) (TokenAnswer, error) {
	form := url.Values{
		"grant_type": {grantTokenExchange}, "subject_token": {e.Subject.Reveal()}, "subject_token_type": {typeAccessToken},
		"requested_token_type": {typeAccessToken}, "audience": {e.Audience},
	}
	if len(e.Scopes) > 0 {
		form.Set("scope", strings.Join(e.Scopes, " "))
	}
	answer, err := c.Grant(ctx, app, form)
	if err != nil {
		return TokenAnswer{}, err
	}
	limit := e.Scopes
	if len(limit) == 0 {
		limit = e.Held
	}
	switch {
	case answer.IssuedTokenType != typeAccessToken && answer.IssuedTokenType != typeJWT:
		return TokenAnswer{}, &Failure{Class: ServerFailed, Code: CodeProviderError, Err: errNoAccessToken}
	case slices.ContainsFunc(answer.Scopes, func(s string) bool { return !slices.Contains(limit, s) }):
		return TokenAnswer{}, &Failure{Class: ServerFailed, Code: CodeExchangeWidened, Err: errors.New("the new token may do more than was asked for")}
	}
	if answer.Scopes == nil {
		answer.Scopes = limit
	}
	// A refresh token would be a second grant that nobody consented to, counts or can end: it is dropped.
	answer.RefreshToken, answer.IDToken = Secret{}, Secret{}
	return answer, nil
}
