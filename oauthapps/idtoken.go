package oauthapps

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/behalf-project/behalf/internal/displayname"
)

// Identity is who somebody is at an authorization server.
type Identity struct {
	Subject string // unique and stable there (OIDC Core §5.7)
	Account string // what people call them there: display data
	Login   string // the name by which they can be recognized elsewhere; empty when none was given that counts
}

// identityClaims are the claims that an Identity is made of.
type identityClaims struct {
	Subject           string `json:"sub"`
	Email             string `json:"email"`
	EmailVerified     any    `json:"email_verified"` // some send it as a string
	PreferredUsername string `json:"preferred_username"`
	UPN               string `json:"upn"`
	Name              string `json:"name"`
}

// login is the claim that others cannot have chosen: an address that the server does not call unverified, else the name
// that its administrators gave. Not "name", which anybody chooses.
func (c identityClaims) login() string {
	if c.Email != "" && c.EmailVerified != false && c.EmailVerified != "false" {
		return c.Email
	}
	if c.UPN != "" {
		return c.UPN
	}
	return c.PreferredUsername
}

func (c identityClaims) identity() Identity {
	for _, name := range []string{c.Email, c.PreferredUsername, c.UPN, c.Name, c.Subject} {
		if name = displayname.Clean(name, maxName); name != "" {
			return Identity{Subject: c.Subject, Account: name, Login: c.login()}
		}
	}
	return Identity{}
}

// Algorithms of ID tokens that are accepted: asymmetric ones only, so that neither "none" nor an HMAC over a public
// key passes.
var idTokenAlgorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// VerifiesIDTokens reports whether ID tokens of app can be verified: its issuer and its keys are known. Those of other
// apps are not read.
func VerifiesIDTokens(app App) bool { return app.Issuer != "" && app.JWKSURL != "" }

// VerifyIDToken checks the ID token of a token answer as OIDC Core §3.1.3.7 says (iss, aud, azp, exp, signature,
// nonce) and returns whom it names.
func (c *Client) VerifyIDToken(ctx context.Context, app App, raw, nonce Secret) (Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	// go-oidc fetches keys without the caller's deadline: the client brings its own. The keys are read for each
	// consent, which is rare, so a rotated one is never missed.
	keys := oidc.NewRemoteKeySet(oidc.ClientContext(ctx, &http.Client{
		Transport: c.http.Transport, CheckRedirect: c.http.CheckRedirect, Timeout: c.cfg.Timeout,
	}), app.JWKSURL)
	verifier := oidc.NewVerifier(app.Issuer, keys, &oidc.Config{
		ClientID: app.ClientID, SupportedSigningAlgs: idTokenAlgorithms, Now: c.cfg.Now,
	})
	token, err := verifier.Verify(ctx, raw.Reveal())
	if err != nil {
		// Its text may quote claims of the token, which go no further.
		return Identity{}, errors.New("the ID token does not verify")
	}
	if nonce.Empty() || subtle.ConstantTimeCompare([]byte(token.Nonce), []byte(nonce.Reveal())) != 1 {
		return Identity{}, errors.New("the ID token has another nonce")
	}
	var claims struct {
		identityClaims
		AuthorizedParty string `json:"azp"`
	}
	if err := token.Claims(&claims); err != nil || claims.Subject == "" {
		return Identity{}, errors.New("the ID token names no subject")
	}
	if claims.AuthorizedParty != "" && claims.AuthorizedParty != app.ClientID || len(token.Audience) > 1 && claims.AuthorizedParty == "" {
		return Identity{}, errors.New("the ID token was issued to another client")
	}
	return claims.identity(), nil
}

// ReadIDToken returns the issuer and the subject of an ID token without verifying its signature. That is enough for
// one that came with a refresh, straight from the token endpoint over TLS (OIDC Core §3.1.3.7 point 6), where fetching
// keys could only lose the new tokens.
func ReadIDToken(raw Secret) (issuer, subject string, err error) {
	parts := strings.Split(raw.Reveal(), ".")
	if len(parts) != 3 {
		return "", "", errors.New("the ID token is not a JWT")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", "", errors.New("the ID token is not a JWT")
	}
	var claims struct {
		Issuer  string `json:"iss"`
		Subject string `json:"sub"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return "", "", errors.New("the ID token is not a JWT")
	}
	return claims.Issuer, claims.Subject, nil
}

// statusText is a status code with its name.
func statusText(status int) string {
	if name := http.StatusText(status); name != "" {
		return strconv.Itoa(status) + " " + name
	}
	return strconv.Itoa(status)
}
