package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/oauthapps"
)

// clientOf returns the OAuth client that obtains the tokens of a service account.
func clientOf(c driverfactory.ClientCredentials) oauthapps.App {
	app := oauthapps.App{
		Name: "service account", TokenURL: c.TokenURL, ClientID: c.ClientID, ClientSecret: c.ClientSecret, PrivateKey: c.PrivateKey,
		AuthMethod: oauthapps.AuthMethod(c.AuthMethod),
	}
	switch {
	case app.AuthMethod != "":
	case !app.PrivateKey.Empty():
		app.AuthMethod = oauthapps.PrivateKeyJWT
	default:
		app.AuthMethod = oauthapps.ClientSecretBasic
	}
	return app
}

// clientCredentials obtains the token of a service account (RFC 6749 §4.4).
func clientCredentials(client *oauthapps.Client) func(context.Context, driverfactory.ClientCredentials) (driverfactory.Token, error) {
	return func(ctx context.Context, c driverfactory.ClientCredentials) (driverfactory.Token, error) {
		form := url.Values{"grant_type": {"client_credentials"}}
		if len(c.Scopes) > 0 {
			form.Set("scope", strings.Join(c.Scopes, " "))
		}
		if c.Audience != "" {
			form.Set("audience", c.Audience)
		}
		answer, err := client.Grant(ctx, clientOf(c), form)
		if err != nil {
			return driverfactory.Token{}, accountFailure(err)
		}
		token := driverfactory.Token{Value: answer.AccessToken, Status: "active"}
		if answer.ExpiresIn > 0 {
			token.ExpiresAt = answer.AskedAt.Add(answer.ExpiresIn)
		}
		return token, nil
	}
}

// accountFailure says whose fault it is that a service account got no token, and when to try again. Its Detail is the
// end of a sentence that begins with the service account.
func accountFailure(err error) error {
	failure, ok := errors.AsType[*oauthapps.Failure](err)
	if !ok {
		return err
	}
	e := &fault.Error{Kind: fault.Unavailable, Owner: fault.Provider, Err: err, RetryAfter: failure.RetryAfter}
	switch {
	case failure.Class == oauthapps.ClientRefused || failure.Class == oauthapps.GrantRefused:
		e.Owner = fault.Admin
		e.Detail = fmt.Sprintf("its authorization server refused the client (%s). An admin can check client_id, the secret or key, and auth_method", failure.Code)
	case failure.Code == oauthapps.CodeRateLimited:
		e.Detail = "its authorization server gets too many requests and asks to wait"
	case failure.Class == oauthapps.NotSent:
		e.Detail = "its authorization server cannot be reached. If that does not pass, an admin can check token_url"
	case failure.Class == oauthapps.OutcomeUnknown:
		e.Detail = "its authorization server did not answer in time"
	case failure.Status >= 400 && failure.Status < 500:
		e.Owner = fault.Admin
		e.Detail = fmt.Sprintf("its authorization server refused the request (%s). An admin can check scopes and audience", failure.Code)
	default:
		e.Detail = fmt.Sprintf("its authorization server answered with a failure (%s). It is not the account's fault", failure.Code)
	}
	return e
}

// checkAccount returns what is wrong with the OAuth client of a service account, all of it, or nil.
func checkAccount(a *driverfactory.ServiceAccount) error {
	if a == nil || a.OAuth == nil {
		return nil
	}
	var wrong []fault.Field
	add := func(name, code, format string, args ...any) {
		wrong = append(wrong, fault.Field{Pointer: "service_account/oauth/" + name, Code: code, Detail: fmt.Sprintf(format, args...)})
	}
	c := *a.OAuth
	if err := oauthapps.CheckURL(c.TokenURL); err != nil {
		add("token_url", "invalid", "token_url %v", err)
	}
	switch clientOf(c).AuthMethod {
	case oauthapps.ClientSecretBasic, oauthapps.ClientSecretPost:
		if c.ClientSecret.Empty() {
			add("client_secret", "required", "client_secret is missing; with a key instead, write private_key")
		}
		if !c.PrivateKey.Empty() {
			add("private_key", "unused", "private_key is not used with auth_method %s: leave it out", clientOf(c).AuthMethod)
		}
	case oauthapps.PrivateKeyJWT:
		if err := oauthapps.CheckPrivateKey(c.PrivateKey); err != nil {
			add("private_key", "invalid", "private_key %v", err)
		}
		if !c.ClientSecret.Empty() {
			add("client_secret", "unused", "client_secret is not used beside private_key: keep one of them")
		}
	default:
		add("auth_method", "unknown", "auth_method %q does not exist; there are client_secret_basic, client_secret_post and private_key_jwt", c.AuthMethod)
	}
	if len(wrong) == 0 {
		return nil
	}
	return &fault.Error{Kind: fault.Invalid, Owner: fault.Admin, Detail: wrong[0].Detail, Fields: wrong}
}
