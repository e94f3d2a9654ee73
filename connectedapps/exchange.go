package connectedapps

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/oauthapps"
)

// The two directions of token exchange (RFC 8693).
//
//	out: a person's token of an app ──▶ the app's server ──▶ one for another audience, handed out and stored nowhere
//	in:  a person's token of another issuer ──checked here──▶ the app's server ──▶ a grant, as after a consent

// ExchangeRequest is what a person's token is to be exchanged for (RFC 8693 §2.1).
type ExchangeRequest struct {
	Audience string   // one of the app's ExchangeAudiences
	Scopes   []string // none of them beyond the grant's; empty: what the server gives, within them
}

// Exchange trades principal's access token of the app with this slug at its authorization server for one that is good
// for one audience, and perhaps for fewer scopes (RFC 8693). The app names the audiences; without any, or where it lets no
// token leave, it is fault.Denied. A token that may do more than was asked for is refused. What comes back is stored
// nowhere and each exchange is audited before its token is handed out: without Config.Record there is none. Otherwise it
// fails as Token does.
func (t *Tokens) Exchange(ctx context.Context, principal Principal, slug string, r ExchangeRequest) (HandedOut, error) {
	return t.exchange(ctx, Ask{Principal: principal, App: slug, Exchange: &r}, t.cfg.Record)
}

// exchange is Exchange for whoever asks; record keeps the record of it.
func (t *Tokens) exchange(ctx context.Context, ask Ask, record func(context.Context, audit.Entry) error) (HandedOut, error) {
	r := *ask.Exchange
	app, g, err := t.look(ctx, ask.Principal, ask.App)
	if err == nil {
		err = mayLeave(app)
	}
	if err != nil {
		return HandedOut{}, err
	}
	if record == nil || !slices.Contains(app.ExchangeAudiences, r.Audience) {
		e := t.refuse(fault.Denied, app, StatusOf(g, app, t.cfg.Now()), "%s tokens may not be exchanged for that audience. An admin can add it to token_exchange.audiences of the app.", app.Name)
		e.Code, e.Owner = oauthapps.CodeExchangeForbidden, fault.Admin
		return HandedOut{}, e
	}
	if app, g, err = t.grantFor(ctx, ask.Principal, ask.App, ask.MinLife); err != nil {
		return HandedOut{}, err
	}
	for _, s := range r.Scopes {
		if !slices.Contains(g.Scopes, s) {
			e := t.refuse(fault.Invalid, app, StatusOf(g, app, t.cfg.Now()), "An exchange can ask for fewer scopes than were granted, never for others: %s.", list(g.Scopes))
			e.Code = "exchange_widens"
			return HandedOut{}, e
		}
	}
	out := HandedOut{Token: t.handOut(app, g, t.cfg.Now()), Account: g.Account}
	answer, err := t.cfg.Client.Exchange(ctx, app, oauthapps.Exchange{Subject: g.AccessToken, Audience: r.Audience, Scopes: r.Scopes, Held: g.Scopes})
	if err != nil {
		err = t.exchangeFailed(app, g, err)
	}
	out.Value, out.ExpiresAt = answer.AccessToken, time.Time{}
	out.Type, out.IssuedType, out.Scopes = bearerOr(answer.TokenType), answer.IssuedTokenType, answer.Scopes
	if answer.ExpiresIn > 0 {
		out.ExpiresAt = answer.AskedAt.Add(answer.ExpiresIn).UTC()
	}
	now, outcome := t.cfg.Now(), "ok"
	if err == nil && !out.ExpiresAt.IsZero() && out.ExpiresAt.Before(now.Add(ask.MinLife)) {
		e := t.refuse(fault.Conflict, app, StatusOf(g, app, now), "You need a token that lives for %s, and %s gives one for this audience that ends in %s. Ask for less.",
			inWords(ask.MinLife), app.Name, inWords(out.ExpiresAt.Sub(now)))
		e.Code, e.Owner = codeMinLife, fault.User
		err = e
	}
	if err != nil {
		outcome = codeOf(err)
	}
	entry := ask.record(ctx, audit.GrantExchanged, app, g, now, outcome)
	entry.Detail["audience"], entry.Detail["scopes"] = r.Audience, strings.Join(out.Scopes, " ")
	if recorded := record(ctx, entry); recorded != nil {
		return HandedOut{}, unrecorded(ctx, recorded) // what is not recorded has not been handed out
	}
	if err != nil {
		return HandedOut{}, err
	}
	return out, nil
}

// codeExchangeRefused is the code of a refusal because the authorization server refused an exchange.
const codeExchangeRefused = "exchange_refused"

// exchangeFailed is the refusal of an exchange that the server refused, or answered with more than was asked for.
func (t *Tokens) exchangeFailed(app oauthapps.App, g Grant, err error) error {
	failure, _ := errors.AsType[*oauthapps.Failure](err)
	if failure == nil {
		failure = &oauthapps.Failure{Class: oauthapps.ServerFailed, Code: oauthapps.CodeProviderError, Err: err}
	}
	status := StatusOf(g, app, t.cfg.Now())
	var e *fault.Error
	switch {
	case failure.Code == oauthapps.CodeInvalidClient:
		return t.broken(app, status)
	case failure.Code == oauthapps.CodeExchangeWidened:
		e = t.refuse(fault.Denied, app, status, "%s answered the exchange with a token that may do more than was asked for. It was dropped.", app.Name)
		e.Code, e.Owner = failure.Code, fault.Provider
	case failure.Status >= 400 && failure.Status < 500 && failure.Code != oauthapps.CodeRateLimited:
		e = t.refuse(fault.Denied, app, status, "%s refused the exchange (%s). Your access is unchanged; an admin can allow it there.", app.Name, failure.Code)
		e.Code, e.Owner = codeExchangeRefused, fault.Admin
	default:
		e = t.refuse(fault.Unavailable, app, status, "%s did not answer the exchange as it should. Your access is unchanged; try again shortly.", app.Name)
		e.Code, e.Owner, e.RetryAfter = oauthapps.CodeProviderError, fault.Provider, failure.RetryAfter
	}
	e.Err = err
	return e
}

// How often a person may exchange for one app: a program that tries again and again makes two servers work each time.
const (
	exchangesPerSecond = 0.1
	exchangesAtOnce    = 6
)

// Exchange connects the app with this slug for principal by s, their token of another issuer: what a consent is where no
// browser is at hand. The app names the issuers; without any it is fault.Denied. s is checked here before anybody else is
// shown it (oauthapps.Client.VerifySubject), sent to the app's token endpoint, and kept nowhere. From then on all is as
// after a consent: who the person is there is found out and compared, and the grant replaces the one there was. Where no
// refresh token comes, it lives as long as its access token and is exchanged for again.
//
// It fails as oauthapps.Client.VerifySubject does; with fault.TooMany after several exchanges in a row; with Denied and
// the code exchange_refused when the server does not take the token, identity_mismatch or identity_unknown as after a
// consent; Unavailable when a server does not answer; AppDisabled, and Denied for a disabled person. Whatever fails,
// nothing is stored.
func (f *Flow) Exchange(ctx context.Context, principal Principal, slug string, s oauthapps.SubjectToken) (Outcome, error) {
	app, err := f.app(ctx, principal, slug)
	if err != nil {
		return Outcome{App: app}, err
	}
	if len(app.SubjectIssuers) == 0 {
		e := fault.New(fault.Denied, "%s is connected in a browser: no token is exchanged for a connection. An admin can name issuers in token_exchange.subject_issuers of the app.", app.Name)
		e.Code, e.Owner, e.Params = oauthapps.CodeExchangeForbidden, fault.Admin, map[string]string{"oauth_app": app.Slug}
		return Outcome{App: app}, e
	}
	if wait, ok := f.limits.take(principal.Key(), app.ID, f.cfg.Now()); !ok {
		e := fault.New(fault.TooMany, "You exchanged tokens for %s several times in a row. It can be done again in %s.", app.Name, inWords(max(wait, time.Second)))
		e.Owner, e.RetryAfter = fault.User, wait
		return Outcome{App: app}, e
	}
	a := Authorization{Principal: principal, AppID: app.ID}
	g, err := f.exchange(ctx, app, a, s)
	if err != nil {
		f.noteRefusal(ctx, a, err)
		if e, ok := errors.AsType[*fault.Error](err); ok && len(e.Actions) > 0 { // a browser helps as little as it was needed
			e.Actions = []fault.Action{exchangeAction("Exchange another token")}
		}
		return Outcome{App: app}, err
	}
	return Outcome{App: app, Account: g.Account, Grant: g}, nil
}

// exchange checks s, trades it and connects what it brings.
func (f *Flow) exchange(ctx context.Context, app oauthapps.App, a Authorization, s oauthapps.SubjectToken) (Grant, error) {
	app, err := f.cfg.Apps.Ready(ctx, app)
	if err != nil {
		return Grant{}, err
	}
	issuer, err := f.cfg.Client.VerifySubject(ctx, app, s)
	if err != nil {
		return Grant{}, err
	}
	if app.BindsTokens() {
		if a.DPoPKey, err = oauthapps.NewDPoPKey(); err != nil {
			return Grant{}, err
		}
	}
	// From here on the caller may leave: half a grant is none.
	ctx = context.WithoutCancel(ctx)
	answer, err := f.cfg.Client.ExchangeSubject(ctx, app, s, oauthapps.WithDPoP(a.DPoPKey))
	if err != nil {
		return Grant{}, f.subjectRefused(app, issuer, err)
	}
	return f.connect(ctx, app, a, answer, issuer)
}

// subjectRefused is the refusal of a subject token that app's server did not give tokens for.
func (f *Flow) subjectRefused(app oauthapps.App, issuer string, err error) error {
	failure, ok := errors.AsType[*oauthapps.Failure](err)
	switch {
	case !ok || failure.Class == oauthapps.ClientRefused && failure.Code != "unauthorized_client":
		return f.exchangeFailed(app, err)
	case failure.Status >= 400 && failure.Status < 500 && failure.Code != oauthapps.CodeRateLimited:
		return f.fail(fault.Denied, codeExchangeRefused, fault.Admin, app, err,
			"%s did not take the token (%s). Nothing was stored. Whether it trusts %s, and whom it takes its people for, an admin sets there.", app.Name, failure.Code, issuer)
	}
	e := f.fail(fault.Unavailable, oauthapps.CodeProviderError, fault.Provider, app, err,
		"%s did not answer the exchange as it should. Nothing was stored; try again shortly.", app.Name)
	e.RetryAfter = failure.RetryAfter
	return e
}

// exchangesAgain reports whether g is renewed by another exchange, and not in a browser.
func exchangesAgain(app oauthapps.App, g Grant) bool {
	return g.Exchanged && len(app.SubjectIssuers) > 0
}

// exchangeAction leads to an exchange: it is a call of the API, or a command, and no page.
func exchangeAction(label string) fault.Action { return fault.Action{Rel: "exchange", Label: label} }
