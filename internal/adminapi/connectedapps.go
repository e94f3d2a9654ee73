package adminapi

import (
	"context"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/internal/tokens"
	"github.com/behalf-project/behalf/oauthapps"
)

// Grants is what people have connected. connectedapps.Tokens is one.
type Grants interface {
	List(ctx context.Context, domain string, principal securitycontext.Principal) ([]connectedapps.ConnectedApp, error)
	Get(ctx context.Context, principal securitycontext.Principal, slug string) (connectedapps.ConnectedApp, error)
	Refresh(ctx context.Context, principal securitycontext.Principal, slug string) (connectedapps.ConnectedApp, error)
	KeepAccount(ctx context.Context, principal securitycontext.Principal, slug string) (connectedapps.ConnectedApp, error)
	Introspect(ctx context.Context, principal securitycontext.Principal, slug string) (connectedapps.ConnectedApp, error)
	Disconnect(ctx context.Context, principal securitycontext.Principal, slug string) (connectedapps.Disconnected, error)
	RevokeApp(ctx context.Context, app oauthapps.App, actor string) (int, error)
	CountByStatus(ctx context.Context, app oauthapps.App) (map[connectedapps.Status]int, error)
}

// Flow begins authorizations, and connects without one. connectedapps.Flow is one.
type Flow interface {
	Start(ctx context.Context, principal securitycontext.Principal, slug, returnTo string) (connectedapps.Authorization, error)
	ConnectURL(slug string, a connectedapps.Authorization) string
	Get(ctx context.Context, principal securitycontext.Principal, id string) (connectedapps.Authorization, error)
	Exchange(ctx context.Context, principal securitycontext.Principal, slug string, s oauthapps.SubjectToken) (connectedapps.Outcome, error)
}

type listConnectedOutput struct{ Body ConnectedAppList }

func (h *Handler) listConnected(ctx context.Context, _ *struct{}) (*listConnectedOutput, error) {
	found, err := h.cfg.Grants.List(ctx, h.cfg.Domain, from(ctx).user.Principal())
	if err != nil {
		return nil, err
	}
	out := &listConnectedOutput{Body: ConnectedAppList{Items: make([]ConnectedApp, 0, len(found))}}
	for _, c := range found {
		out.Body.Items = append(out.Body.Items, connectedApp(c))
	}
	return out, nil
}

// ConnectedInput names one connected app. It is exported because huma reads the parameters of an embedded struct only
// then.
type ConnectedInput struct {
	App string `path:"app" doc:"The slug of the OAuth app." maxLength:"100"`
}

type connectedOutput struct{ Body ConnectedApp }

func (h *Handler) getConnected(ctx context.Context, in *ConnectedInput) (*connectedOutput, error) {
	a, err := h.find(ctx, in.App)
	if err != nil {
		return nil, err
	}
	c, err := h.cfg.Grants.Get(ctx, from(ctx).user.Principal(), a.Slug)
	if err != nil {
		return nil, err
	}
	return &connectedOutput{Body: connectedApp(c)}, nil
}

// connectedApp is what a person sees of c.
func connectedApp(c connectedapps.ConnectedApp) ConnectedApp {
	out := ConnectedApp{
		App: c.App.Slug, Name: c.App.Name, Preset: c.App.Preset, Status: string(c.Status), Reason: c.Reason, Account: c.Account,
		Scopes: list(c.Scopes), DataSources: list(c.App.DataSources), ConnectedAt: c.ConnectedAt, RefreshedAt: c.RefreshedAt,
		UsedAt: c.UsedAt, AccessExpiresAt: c.AccessExpiresAt, ReauthorizeBy: c.ReauthorizeBy, NextTryAt: c.NextTryAt,
		PausedNote: c.App.PausedNote, Actions: actions(c.Actions),
	}
	if m := c.Mismatch; m != nil {
		out.IdentityMismatch = &IdentityMismatch{There: m.There, Here: m.Here, Detail: m.Detail, Actions: actions(m.Actions)}
	}
	return out
}

func actions(from []fault.Action) []Action {
	to := make([]Action, 0, len(from))
	for _, a := range from {
		to = append(to, Action{Rel: a.Rel, Href: a.Href, Label: a.Label})
	}
	return to
}

type authorizeInput struct {
	ConnectedInput
	Body *AuthorizeRequest `required:"false"`
}

type authorizeOutput struct{ Body AuthorizeResponse }

// authorize begins an authorization. What it returns is a page of ours: the state is made in the person's own browser.
func (h *Handler) authorize(ctx context.Context, in *authorizeInput) (*authorizeOutput, error) {
	a, err := h.find(ctx, in.App)
	if err != nil {
		return nil, err
	}
	returnTo := ""
	if in.Body != nil {
		returnTo = in.Body.ReturnTo // Start takes what is no path of this server for none
	}
	begun, err := h.cfg.Flow.Start(ctx, from(ctx).user.Principal(), a.Slug, returnTo)
	if err != nil {
		return nil, err
	}
	return &authorizeOutput{Body: AuthorizeResponse{AuthorizeURL: h.cfg.Flow.ConnectURL(a.Slug, begun), Session: begun.ID}}, nil
}

type exchangeInput struct {
	ConnectedInput
	Body ExchangeRequest
}

// exchange connects an app by a token of another issuer, which is checked, sent to the provider and kept nowhere.
func (h *Handler) exchange(ctx context.Context, in *exchangeInput) (*connectedOutput, error) {
	a, err := h.named(ctx, in.App, tokens.Connect(in.App))
	if err != nil {
		return nil, err
	}
	principal := from(ctx).user.Principal()
	subject := oauthapps.SubjectToken{Token: secret.New(in.Body.SubjectToken), Type: in.Body.SubjectTokenType}
	if _, err := h.cfg.Flow.Exchange(ctx, principal, a.Slug, subject); err != nil {
		return nil, err
	}
	c, err := h.cfg.Grants.Get(ctx, principal, a.Slug)
	if err != nil {
		return nil, err
	}
	return &connectedOutput{Body: connectedApp(c)}, nil
}

type noBodyInput struct {
	ConnectedInput
	Body *Nothing `required:"false"`
}

func (h *Handler) refresh(ctx context.Context, in *noBodyInput) (*connectedOutput, error) {
	a, err := h.find(ctx, in.App)
	if err != nil {
		return nil, err
	}
	c, err := h.cfg.Grants.Refresh(ctx, from(ctx).user.Principal(), a.Slug)
	if err != nil {
		return nil, err
	}
	return &connectedOutput{Body: connectedApp(c)}, nil
}

// keepAccount ends the notice that the person is somebody else at the provider than here.
func (h *Handler) keepAccount(ctx context.Context, in *noBodyInput) (*connectedOutput, error) {
	a, err := h.find(ctx, in.App)
	if err != nil {
		return nil, err
	}
	c, err := h.cfg.Grants.KeepAccount(ctx, from(ctx).user.Principal(), a.Slug)
	if err != nil {
		return nil, err
	}
	return &connectedOutput{Body: connectedApp(c)}, nil
}

// introspect asks the provider whether one's own grant is still good there. It is a POST, although it answers with a
// status: a token that was revoked there is refreshed or given up.
func (h *Handler) introspect(ctx context.Context, in *noBodyInput) (*connectedOutput, error) {
	a, err := h.find(ctx, in.App)
	if err != nil {
		return nil, err
	}
	c, err := h.cfg.Grants.Introspect(ctx, from(ctx).user.Principal(), a.Slug)
	if err != nil {
		return nil, err
	}
	return &connectedOutput{Body: connectedApp(c)}, nil
}

func (h *Handler) revoke(ctx context.Context, in *ConnectedInput) (*struct{}, error) {
	a, err := h.find(ctx, in.App)
	if err != nil {
		return nil, err
	}
	_, err = h.cfg.Grants.Disconnect(ctx, from(ctx).user.Principal(), a.Slug)
	return nil, err
}

type connectSessionInput struct {
	ID string `path:"id" maxLength:"100"`
}

type connectSessionOutput struct{ Body ConnectSession }

// connectSession says how an attempt to authorize went, to the person who began it.
func (h *Handler) connectSession(ctx context.Context, in *connectSessionInput) (*connectSessionOutput, error) {
	begun, err := h.cfg.Flow.Get(ctx, from(ctx).user.Principal(), in.ID)
	if err != nil {
		return nil, err
	}
	a, err := h.find(ctx, begun.AppID)
	if err != nil {
		return nil, err
	}
	return &connectSessionOutput{Body: ConnectSession{
		ID: begun.ID, App: a.Slug, Done: !begun.DoneAt.IsZero(), Outcome: begun.Outcome, ExpiresAt: begun.ExpiresAt,
	}}, nil
}
