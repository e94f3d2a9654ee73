package adminapi

import (
	"context"
	"net/http"
	"strings"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/returnto"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/tokens"
)

// admitSession fills c from the session cookie.
func (h *Handler) admitSession(c *caller, who access) (err error) {
	if who == holders || who == handOut {
		if _, _, err := h.cfg.Sessions.FromRequest(c.request); err != nil {
			return &fault.Error{Kind: fault.Unauthenticated, Code: "token_required", Owner: fault.User,
				Detail: "Send a token of this server: Authorization: Bearer bhf_pat_…"}
		}
		return &fault.Error{Kind: fault.Denied, Code: "bearer_required", Owner: fault.User,
			Detail: "No browser is handed an access token. Make a token for your program, and let it ask: Authorization: Bearer bhf_pat_…"}
	}
	if c.session, c.user, err = h.cfg.Sessions.FromRequest(c.request); err != nil {
		return err
	}
	if who == admins || who == operators {
		return c.admin()
	}
	return nil
}

// admitToken fills c from the Authorization header. A token may call what names a scope that it has, and nothing that
// names none; app is the one in the path.
func (h *Handler) admitToken(c *caller, who access, app string) (err error) {
	values := c.request.Header.Values("Authorization")
	scheme, value, _ := strings.Cut(values[0], " ")
	if len(values) != 1 || !strings.EqualFold(scheme, "Bearer") {
		return &fault.Error{Kind: fault.Unauthenticated, Code: "invalid_token", Owner: fault.User,
			Detail: "The Authorization header must be, once: Bearer bhf_pat_…"}
	}
	if c.token, c.user, err = h.cfg.Tokens.Authenticate(c.request.Context(), secret.New(value)); err != nil {
		return err
	}
	scope := tokens.Account
	switch who {
	case holders:
		return nil
	case account:
	case handOut:
		scope = tokens.HandOut(app)
	case connect:
		scope = tokens.Connect(app)
	case operators:
		return c.operates()
	default:
		return &fault.Error{Kind: fault.Denied, Code: "session_required", Owner: fault.User, Detail: "No token may do this. Sign in in a browser."}
	}
	if !c.token.Allows(scope) {
		return &fault.Error{Kind: fault.Denied, Code: "insufficient_scope", Owner: fault.User, Params: map[string]string{"scope": string(scope)},
			Detail: "This token lacks the scope " + string(scope) + ". Make one that has it."}
	}
	return nil
}

type loginInput struct{ Body LoginRequest }

type loginOutput struct {
	SetCookie http.Cookie `header:"Set-Cookie"`
	Body      LoginResponse
}

// login signs a person in and gives the browser its session.
func (h *Handler) login(ctx context.Context, in *loginInput) (*loginOutput, error) {
	name := in.Body.Username
	if name == "" {
		name = in.Body.Email
	}
	if name == "" || in.Body.Username != "" && in.Body.Email != "" {
		return nil, &fault.Error{Kind: fault.Invalid, Detail: "Give either a username or an e-mail address.",
			Fields: []fault.Field{{Pointer: "username", Code: "required", Detail: "Give either this or email."}}}
	}
	r := from(ctx).request
	u, err := h.cfg.People.Authenticate(ctx, name, secret.New(in.Body.Password), h.cfg.ClientIP(r))
	if err != nil {
		return nil, err
	}
	cookie, err := h.cfg.Sessions.SignIn(ctx, r, u, "password")
	if err != nil {
		return nil, err
	}
	return &loginOutput{SetCookie: *cookie, Body: LoginResponse{RedirectTo: returnto.Path(in.Body.Rd)}}, nil
}

type meOutput struct{ Body Me }

// me says who is signed in.
func (h *Handler) me(ctx context.Context, _ *struct{}) (*meOutput, error) {
	c := from(ctx)
	idle, absolute := h.cfg.Sessions.Ends(c.session)
	out := &meOutput{Body: Me{
		ID: c.user.ID, Username: c.user.Username, Email: c.user.Email, Roles: []string{}, Methods: []string{},
		Session: MySession{AuthenticatedAt: c.session.AuthenticatedAt, IdleExpiresAt: idle, AbsoluteExpiresAt: absolute},
	}}
	for _, role := range c.user.Roles {
		out.Body.Roles = append(out.Body.Roles, string(role))
	}
	if !c.user.Password.Empty() {
		out.Body.Methods = append(out.Body.Methods, "password")
	}
	return out, nil
}

type logoutInput struct {
	Body *LogoutRequest `required:"false"`
}

type logoutOutput struct {
	SetCookie http.Cookie `header:"Set-Cookie"`
}

// logout ends this session, or all of this person.
func (h *Handler) logout(ctx context.Context, in *logoutInput) (*logoutOutput, error) {
	cookie, err := h.cfg.Sessions.SignOut(ctx, from(ctx).session, in.Body != nil && in.Body.Everywhere)
	if err != nil {
		return nil, err
	}
	return &logoutOutput{SetCookie: *cookie}, nil
}
