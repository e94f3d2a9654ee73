package oauthapps

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/behalf-project/behalf/internal/fault"
)

// Codes of subject tokens that are not sent to anybody.
const (
	CodeSubjectInvalid     = "subject_token_invalid"      // it does not hold
	CodeSubjectUnavailable = "subject_issuer_unavailable" // whether it holds cannot be seen now
	CodeExchangeForbidden  = "exchange_not_allowed"       // the app does not allow it
)

// SubjectTokenTypes are the types of subject tokens that can be checked here (RFC 8693 §3), the default first: what is no
// JWT says to nobody but its issuer what it is worth.
var SubjectTokenTypes = []string{typeJWT, typeIDToken, typeAccessToken}

// SubjectToken is somebody's token of another issuer, to be exchanged for one of the app's (RFC 8693 §2.1).
type SubjectToken struct {
	Token Secret
	Type  string // one of SubjectTokenTypes; the first when empty
}

// VerifySubject checks s before anybody else is shown it: it is a JWT of an issuer that app names, for the audience named
// with that, signed with a key that the issuer publishes, and in its time (RFC 7519 §4.1, RFC 8725 §3). It returns the
// issuer. It fails with fault.Invalid for a token that does not hold, fault.Denied for an issuer that app does not name,
// and fault.Unavailable when the issuer's keys cannot be read. Nothing of the token is in an error but its issuer, where
// app names that.
func (c *Client) VerifySubject(ctx context.Context, app App, s SubjectToken) (issuer string, err error) {
	if s.Type != "" && !slices.Contains(SubjectTokenTypes, s.Type) {
		e := fault.New(fault.Invalid, "The token was not exchanged: its type cannot be checked here.")
		e.Owner, e.Fields = fault.User, []fault.Field{{Pointer: "/subject_token_type", Code: "unknown", Detail: "There are " + strings.Join(SubjectTokenTypes, ", ") + "."}}
		return "", e
	}
	// Whose it says it is decides which keys are read. It is compared first: nobody makes us call where no admin said.
	claimed, _, err := ReadIDToken(s.Token)
	if err != nil {
		return "", invalidSubject(nil, "it is no signed JWT")
	}
	i := slices.IndexFunc(app.SubjectIssuers, func(s SubjectIssuer) bool { return s.Issuer == claimed })
	if i < 0 {
		e := fault.New(fault.Denied, "The issuer of this token (iss) is none whose tokens may be exchanged for a connection to %s. An admin can add it to token_exchange.subject_issuers of the app.", app.Name)
		e.Code, e.Owner = CodeExchangeForbidden, fault.Admin
		return "", e
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	keys, err := c.keysOf(ctx, claimed)
	if err != nil {
		e := fault.Wrap(fault.Unavailable, err, "The keys of %s could not be read, so the token could not be checked. Nothing was sent to %s; try again shortly.", claimed, app.Name)
		e.Code, e.Owner = CodeSubjectUnavailable, fault.Provider
		return "", e
	}
	verifier := oidc.NewVerifier(claimed, keys, &oidc.Config{SkipClientIDCheck: true, SupportedSigningAlgs: idTokenAlgorithms, Now: c.cfg.Now})
	token, err := verifier.Verify(ctx, s.Token.Reveal())
	if expired, ok := errors.AsType[*oidc.TokenExpiredError](err); ok {
		if expired.Expiry.IsZero() {
			return "", invalidSubject(err, "it has no end (exp)")
		}
		return "", invalidSubject(err, "it ended (exp). Get a new one from its issuer")
	}
	if err != nil { // its text may quote claims of the token, which go no further
		return "", invalidSubject(nil, "its signature does not hold with the keys of "+claimed+", or it is not valid yet")
	}
	if !c.cfg.Now().Before(token.Expiry) {
		return "", invalidSubject(nil, "it ended (exp). Get a new one from its issuer")
	}
	audiences := audiencesOf(app, claimed)
	if !slices.ContainsFunc(audiences, func(a string) bool { return slices.Contains(token.Audience, a) }) {
		return "", invalidSubject(nil, fmt.Sprintf("it was made for somebody else: its audience (aud) must be %s", strings.Join(audiences, " or ")))
	}
	if token.Subject == "" {
		return "", invalidSubject(nil, "it names nobody (sub)")
	}
	return claimed, nil
}

// audiencesOf are the audiences that app takes tokens of issuer for.
func audiencesOf(app App, issuer string) (list []string) {
	for _, s := range app.SubjectIssuers {
		if s.Issuer == issuer {
			list = append(list, s.Audience)
		}
	}
	return list
}

func invalidSubject(cause error, why string) error {
	e := fault.Wrap(fault.Invalid, cause, "The token was not exchanged: %s.", why)
	e.Code, e.Owner = CodeSubjectInvalid, fault.User
	e.Fields = []fault.Field{{Pointer: "/subject_token", Code: "invalid", Detail: strings.ToUpper(why[:1]) + why[1:] + "."}}
	return e
}

// keysOf reads the keys with which an issuer signs, from where its metadata says. They are read for each exchange, which
// is rare, so that a rotated one is never missed and one that was withdrawn is never believed.
func (c *Client) keysOf(ctx context.Context, issuer string) (oidc.KeySet, error) {
	m, err := c.Discover(ctx, issuer)
	if err != nil {
		return nil, err
	}
	if m.JWKSURL == "" {
		return nil, errors.New("the metadata names no jwks_uri")
	}
	var set jose.JSONWebKeySet
	if err := c.getJSON(ctx, m.JWKSURL, nil, &set); err != nil {
		return nil, err
	}
	keys := &oidc.StaticKeySet{}
	for _, k := range set.Keys {
		switch k.Key.(type) {
		case *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey:
			if k.Use != "enc" {
				keys.PublicKeys = append(keys.PublicKeys, crypto.PublicKey(k.Key))
			}
		}
	}
	return keys, nil
}

// ExchangeSubject trades s, which VerifySubject has found good, for tokens of app's own authorization server: an access
// token and, where that gives one, a refresh token. Asked for is what a consent would ask for. It fails with a *Failure.
func (c *Client) ExchangeSubject(ctx context.Context, app App, s SubjectToken, options ...Option) (TokenAnswer, error) {
	form := url.Values{
		"grant_type": {grantTokenExchange}, "subject_token": {s.Token.Reveal()}, "subject_token_type": {s.Type},
		"requested_token_type": {typeAccessToken}, "scope": {strings.Join(app.Scopes, " ")},
	}
	if s.Type == "" {
		form.Set("subject_token_type", SubjectTokenTypes[0])
	}
	if len(app.Resources) > 0 {
		form["resource"] = slices.Clone(app.Resources) // RFC 8707 §2.2
	}
	if app.Quirks().AnonymousExchange {
		options = append(options, func(r *request) { r.anonymous = true })
	}
	answer, err := c.Grant(ctx, app, form, options...)
	if err != nil {
		return TokenAnswer{}, err
	}
	// It is used as what a consent brings is. A server that leaves the type out said Bearer all the same.
	if t := answer.IssuedTokenType; t != "" && t != typeAccessToken && t != typeJWT {
		return TokenAnswer{}, &Failure{Class: ServerFailed, Code: CodeProviderError, Err: errNoAccessToken}
	}
	return answer, nil
}
