package connectedapps

import (
	"context"
	"errors"
	"time"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/oauthapps"
)

// codeInactive is the failure code of a grant whose access token the authorization server says is not active any more,
// and which cannot be renewed.
const codeInactive = "token_inactive"

// proof binds a request to the key of g if its access token is bound to it.
func (g Grant) proof() oauthapps.Option {
	if oauthapps.Bound(g.TokenType) {
		return oauthapps.WithDPoP(g.DPoPKey)
	}
	return oauthapps.WithDPoP(Secret{})
}

// Introspect asks the authorization server whether principal's access token is still good there (RFC 7662), at most
// once in 30 s for a grant, else fault.TooMany. A token that is not active although it has not ended was revoked there:
// then a refresh decides whether the person is still connected, and the grant is marked as revoked where that cannot be
// tried. The answer is the grant as it is afterwards. It is fault.NotFound when the app has no introspection endpoint,
// and otherwise fails with the refusal that a query would get.
func (t *Tokens) Introspect(ctx context.Context, principal Principal, slug string) (ConnectedApp, error) {
	app, g, err := t.look(ctx, principal, slug)
	if err != nil {
		return ConnectedApp{}, err
	}
	now := t.cfg.Now()
	switch {
	case app.IntrospectionURL == "":
		e := t.refuse(fault.NotFound, app, StatusOf(g, app, now), "%s has no introspection endpoint: whether your access is still good there shows when it is used.", app.Name)
		e.Code, e.Owner = "no_introspection", fault.Admin
		return ConnectedApp{}, e
	case !Usable(g, app, now):
		return ConnectedApp{}, t.refusal(app, g, nil)
	}
	const every = 30 * time.Second
	key := "introspection " + g.Key.String()
	if last, ok := t.asked.Get(key); ok && now.Sub(last) < every {
		e := t.refuse(fault.TooMany, app, StatusOf(g, app, now), "%s was asked a moment ago. It can be asked again in %s.", app.Name, inWords(max(every-now.Sub(last), time.Second)))
		e.RetryAfter = max(every-now.Sub(last), time.Second)
		return ConnectedApp{}, e
	}
	t.asked.Add(key, now)
	found, err := t.cfg.Client.Introspect(ctx, app, g.AccessToken, "access_token")
	if err != nil {
		return ConnectedApp{}, t.notIntrospected(app, g, err)
	}
	if found.Active {
		return t.connectedApp(app, g), nil
	}
	if !g.refreshable(now) {
		g, err = t.fail(ctx, app, g, &oauthapps.Failure{Class: oauthapps.GrantRefused, Code: codeInactive}, false)
		if err != nil && !errors.As(err, new(*oauthapps.Failure)) && !errors.Is(err, errSpare) {
			return ConnectedApp{}, err
		}
		return t.connectedApp(app, g), nil
	}
	fresh, err := t.refresh(ctx, app, g, whenRefused)
	if ctx.Err() != nil && err != nil {
		return ConnectedApp{}, gaveUp(ctx)
	}
	if fault.KindOf(err) != "" {
		return ConnectedApp{}, err
	}
	return t.connectedApp(app, fresh), nil
}

// notIntrospected is the refusal of a question that the authorization server did not answer. It says nothing about the
// grant, which stays what it is.
func (t *Tokens) notIntrospected(app oauthapps.App, g Grant, err error) error {
	failure, _ := errors.AsType[*oauthapps.Failure](err)
	status := StatusOf(g, app, t.cfg.Now())
	if failure != nil && failure.Class == oauthapps.ClientRefused {
		e := t.refuse(fault.Unavailable, app, status, "%s does not let this app ask about tokens. Your access is unchanged; an admin can allow it there.", app.Name)
		e.Code, e.Owner, e.Err = "introspection_refused", fault.Admin, err
		return e
	}
	e := t.refuse(fault.Unavailable, app, status, "%s did not answer. Your access is unchanged.", app.Name)
	e.Code, e.Owner, e.Err = oauthapps.CodeProviderError, fault.Provider, err
	if failure != nil {
		e.RetryAfter = failure.RetryAfter
	}
	return e
}
