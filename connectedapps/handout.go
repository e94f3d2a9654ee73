package connectedapps

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/id"
	"github.com/behalf-project/behalf/oauthapps"
)

// HandOutConfig is what HandOuts needs. Tokens and Record are required.
type HandOutConfig struct {
	Tokens *Tokens

	// Record keeps the record of a hand-out, or fails: then nothing is handed out. It may wait for others to commit
	// with them.
	Record func(ctx context.Context, e audit.Entry) error

	// Observe is told of each hand-out once it is recorded, and must not wait. The App of ask is its slug. Default: nobody
	// is told.
	Observe func(ctx context.Context, ask Ask, at time.Time)

	PerSecond float64          // hand-outs of one app to one caller, over time; default 50
	Burst     int              // and at once; default 200
	Now       func() time.Time // default: time.Now
}

// HandOuts gives people's access tokens to programs outside this server, which is what Tokens does for our own
// queries and more: each is recorded before it leaves, and a caller can have only so many. Refresh tokens and client
// secrets have no way out at all. It is safe for concurrent use.
type HandOuts struct {
	cfg    HandOutConfig
	limits *limits
}

// NewHandOuts returns HandOuts over cfg. It starts nothing.
func NewHandOuts(cfg HandOutConfig) *HandOuts {
	if cfg.PerSecond <= 0 {
		cfg.PerSecond = 50
	}
	if cfg.Burst <= 0 {
		cfg.Burst = 200
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &HandOuts{cfg: cfg, limits: newLimits(cfg.PerSecond, cfg.Burst)}
}

// Ask is somebody asking to be handed an access token.
type Ask struct {
	Principal Principal // whose
	App       string    // slug or id of the OAuth app
	MinLife   time.Duration
	Caller    string // what is limited and recorded: the id of the token of ours that asks
	IP        string // where it asks from, for the record

	Exchange *ExchangeRequest // what the token is exchanged for before it leaves; nil: it leaves as it is
}

// HandedOut is an access token on its way out.
type HandedOut struct {
	Token
	Type    string   // of the token, as the authorization server said (RFC 6749 §7.1)
	Scopes  []string // granted
	Account string   // who the person is at the provider, as far as it told us

	IssuedType string // issued_token_type of an exchange (RFC 8693 §2.2.1); empty without one
}

// HandOut returns an access token as Tokens.TokenFor does, and fails as it does; with ask.Exchange, as Tokens.Exchange
// does. It also fails with fault.Denied, code hand_out_denied, where the app lets no token leave; fault.TooMany when the
// caller asks too often; and Unavailable, code audit_unavailable, when it cannot be recorded.
func (h *HandOuts) HandOut(ctx context.Context, ask Ask) (out HandedOut, err error) {
	app, err := h.cfg.Tokens.cfg.Apps.Get(ctx, ask.App)
	if err != nil {
		return HandedOut{}, err
	}
	if err := h.admit(ask.Caller, app); err != nil {
		return HandedOut{}, err
	}
	ask.App = app.Slug
	if ask.Exchange != nil {
		out, err = h.cfg.Tokens.exchange(ctx, ask, h.cfg.Record)
	} else {
		out, err = h.plain(ctx, ask, app)
	}
	if err != nil {
		return HandedOut{}, err
	}
	if h.cfg.Observe != nil {
		h.cfg.Observe(ctx, ask, h.cfg.Now())
	}
	return out, nil
}

// plain hands out a token as it is. What was refused is no hand-out, and its cause is in the grant's own records.
func (h *HandOuts) plain(ctx context.Context, ask Ask, app oauthapps.App) (HandedOut, error) {
	if err := mayLeave(app); err != nil {
		return HandedOut{}, err
	}
	t := h.cfg.Tokens
	app, g, err := t.grantFor(ctx, ask.Principal, ask.App, ask.MinLife)
	if err != nil {
		return HandedOut{}, err
	}
	now := h.cfg.Now()
	out := HandedOut{Token: t.handOut(app, g, now), Type: bearerOr(g.TokenType), Scopes: g.Scopes, Account: g.Account}
	if err := h.cfg.Record(ctx, ask.record(ctx, audit.GrantHandedOut, app, g, now, "ok")); err != nil {
		return HandedOut{}, unrecorded(ctx, err)
	}
	return out, nil
}

// mayLeave refuses hand-outs of an app that lets none of its tokens out. Queries do not ask it.
func mayLeave(app oauthapps.App) error {
	if app.HandOut != oauthapps.HandOutDeny {
		return nil
	}
	e := fault.New(fault.Denied, "%s hands out no access tokens: queries use your access, and no program is given it. An admin can set hand_out: allow for this app.", app.Name)
	e.Code, e.Owner, e.Params = "hand_out_denied", fault.Admin, map[string]string{"oauth_app": app.Slug}
	return e
}

// bearerOr returns Bearer as RFC 6750 §2.1 writes it in the header, whatever the server's spelling, or another type as
// it is.
func bearerOr(tokenType string) string {
	if tokenType == "" || strings.EqualFold(tokenType, "bearer") {
		return "Bearer"
	}
	return tokenType
}

// unrecorded is the refusal of a hand-out whose record could not be kept.
func unrecorded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return gaveUp(ctx)
	}
	return &fault.Error{Kind: fault.Unavailable, Code: "audit_unavailable", Owner: fault.Admin, RetryAfter: time.Second, Err: err,
		Detail: "The record of this hand-out could not be written, and without one no token leaves. Try again shortly."}
}

// admit takes one from what the caller may have of the app, however they wrote it.
func (h *HandOuts) admit(caller string, app oauthapps.App) error {
	wait, ok := h.limits.take(caller, app.ID, h.cfg.Now())
	if ok {
		return nil
	}
	return &fault.Error{Kind: fault.TooMany, Owner: fault.User, RetryAfter: wait, Params: map[string]string{"oauth_app": app.Slug},
		Detail: "This token asked for the access tokens of " + strconv.Quote(app.Slug) + " too often. Keep the one you were handed until shortly before its end."}
}

// record is the record of a hand-out: who asked with what, and which token it was, but never the token.
func (ask Ask) record(ctx context.Context, action audit.Action, app oauthapps.App, g Grant, now time.Time, outcome string) audit.Entry {
	return audit.Entry{
		ID: id.New(id.Audit, now), At: now.UTC(), Actor: actorOf(ask.Principal), Action: action, Object: g.ID, Outcome: outcome, Request: audit.RequestID(ctx),
		Detail: map[string]string{
			"oauth_app": app.Slug, "by": ask.Caller, "ip": ask.IP,
			"epoch": strconv.FormatInt(g.Epoch, 10), "revision": strconv.FormatInt(g.Revision, 10),
		},
	}
}
