package adminapi

import (
	"context"
	"strings"
	"time"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/tokens"
	"github.com/behalf-project/behalf/oauthapps"
)

// HandOuts gives access tokens to programs. connectedapps.HandOuts is one.
type HandOuts interface {
	HandOut(ctx context.Context, ask connectedapps.Ask) (connectedapps.HandedOut, error)
}

type handOutInput struct {
	ConnectedInput
	MinLife  string `query:"min_life" doc:"How long the token must live at least, such as 30s or 5m. By default 30 s, or a twentieth of its life." example:"5m" maxLength:"20"`
	Audience string `query:"audience" doc:"Exchange the token at the provider for one that is good for this audience alone (RFC 8693): one of the app's token_exchange.audiences." maxLength:"2048"`
	Scope    string `query:"scope" doc:"With audience: the scopes of the exchanged token, separated by spaces, none beyond those that were granted. By default what the provider gives." maxLength:"4096"`
}

type handOutOutput struct{ Body HandedOut }

// handOut gives an access token of a connected app to the program that asks. Who may is admit's to say; that it is
// recorded, and not too often, connectedapps'.
func (h *Handler) handOut(ctx context.Context, in *handOutInput) (*handOutOutput, error) {
	var minLife time.Duration
	if in.MinLife != "" {
		var err error
		if minLife, err = time.ParseDuration(in.MinLife); err != nil || minLife < 0 {
			return nil, &fault.Error{Kind: fault.Invalid, Owner: fault.User, Detail: "min_life is a duration such as 30s, 5m or 1h.",
				Fields: []fault.Field{{Pointer: "min_life", Code: "invalid", Detail: "A duration such as 30s, 5m or 1h."}}}
		}
	}
	ask := connectedapps.Ask{MinLife: minLife}
	switch {
	case in.Audience != "":
		ask.Exchange = &connectedapps.ExchangeRequest{Audience: in.Audience, Scopes: strings.Fields(in.Scope)}
	case in.Scope != "":
		return nil, &fault.Error{Kind: fault.Invalid, Owner: fault.User, Detail: "scope is that of an exchanged token: give its audience, too.",
			Fields: []fault.Field{{Pointer: "audience", Code: "required", Detail: "scope needs it."}}}
	}
	a, err := h.named(ctx, in.App, tokens.HandOut(in.App))
	if err != nil {
		return nil, err
	}
	c := from(ctx)
	ask.Principal, ask.App, ask.Caller, ask.IP = c.user.Principal(), a.Slug, c.token.ID, h.cfg.ClientIP(c.request)
	out, err := h.cfg.HandOuts.HandOut(ctx, ask)
	if err != nil {
		return nil, err
	}
	body := HandedOut{
		AccessToken: out.Value.Reveal(), TokenType: out.Type, Epoch: out.Epoch, Revision: out.Revision, Status: out.Status,
		Scopes: list(out.Scopes), Account: out.Account, IssuedTokenType: out.IssuedType,
	}
	if !out.ExpiresAt.IsZero() {
		body.ExpiresAt, body.ExpiresInSeconds = out.ExpiresAt, max(int64(out.ExpiresAt.Sub(h.cfg.Now())/time.Second), 0)
	}
	return &handOutOutput{Body: body}, nil
}

// named returns the app with this slug for the caller, whose token, if they carry one, has scope for it. The scope names
// the slug: an id would pass by it, and so would a token that was made for an app that had the slug before.
func (h *Handler) named(ctx context.Context, slug string, scope tokens.Scope) (oauthapps.App, error) {
	a, err := h.find(ctx, slug)
	if err != nil {
		return oauthapps.App{}, err
	}
	if a.Slug != slug {
		return oauthapps.App{}, fault.New(fault.NotFound, "There is no OAuth app with this name.")
	}
	if t := from(ctx).token; t.ID != "" && t.CreatedAt.Before(a.CreatedAt) {
		return oauthapps.App{}, &fault.Error{Kind: fault.Denied, Code: "insufficient_scope", Owner: fault.User, Params: map[string]string{"scope": string(scope)},
			Detail: "This token was made before the OAuth app " + a.Slug + " was registered, for another one of that name. Make a new token."}
	}
	return a, nil
}

type createTokenInput struct{ Body NewToken }

type createTokenOutput struct{ Body MadeToken }

// createToken makes a token, and shows its value this once.
func (h *Handler) createToken(ctx context.Context, in *createTokenInput) (*createTokenOutput, error) {
	c := from(ctx)
	r := tokens.Request{Name: in.Body.Name, Scopes: in.Body.Scopes}
	if in.Body.ExpiresInSeconds != nil {
		life := time.Duration(*in.Body.ExpiresInSeconds) * time.Second
		r.Life = &life
	}
	if c.token.ID != "" {
		r.By = &c.token
	}
	made, value, err := h.cfg.Tokens.Create(ctx, c.user, r)
	if err != nil {
		return nil, err
	}
	return &createTokenOutput{Body: MadeToken{Token: h.token(made), Value: value.Reveal()}}, nil
}

type listTokensOutput struct{ Body TokenList }

func (h *Handler) listTokens(ctx context.Context, _ *struct{}) (*listTokensOutput, error) {
	found, err := h.cfg.Tokens.List(ctx, from(ctx).user.ID)
	if err != nil {
		return nil, err
	}
	out := &listTokensOutput{Body: TokenList{Items: make([]Token, 0, len(found))}}
	for _, t := range found {
		out.Body.Items = append(out.Body.Items, h.token(t))
	}
	return out, nil
}

// token is what a person sees of t.
func (h *Handler) token(t tokens.Token) Token {
	return Token{
		ID: t.ID, Name: t.Name, Scopes: list(t.Scopes), Origin: t.Origin, CreatedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt,
		UsedAt: t.UsedAt, RevokedAt: t.RevokedAt, Active: !t.Over(h.cfg.Now()),
	}
}

type revokeTokenInput struct {
	ID string `path:"id" maxLength:"100"`
}

func (h *Handler) revokeToken(ctx context.Context, in *revokeTokenInput) (*struct{}, error) {
	return nil, h.cfg.Tokens.Revoke(ctx, from(ctx).user.ID, in.ID, "revoked")
}

type currentTokenOutput struct{ Body CurrentToken }

func (h *Handler) currentToken(ctx context.Context, _ *struct{}) (*currentTokenOutput, error) {
	c := from(ctx)
	return &currentTokenOutput{Body: CurrentToken{Token: h.token(c.token), Username: c.user.Username}}, nil
}

func (h *Handler) revokeCurrentToken(ctx context.Context, _ *struct{}) (*struct{}, error) {
	c := from(ctx)
	return nil, h.cfg.Tokens.Revoke(ctx, c.user.ID, c.token.ID, "signed_out")
}
