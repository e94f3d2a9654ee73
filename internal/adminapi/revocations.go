package adminapi

import (
	"context"
	"errors"
	"strings"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/users"
)

// Revocations end the access of many at once. connectedapps.Tokens is one.
type Revocations interface {
	Affected(ctx context.Context, s connectedapps.Scope) (connectedapps.Preview, error)
	Revoke(ctx context.Context, s connectedapps.Scope, reason, actor string, confirmed int) (connectedapps.Revocation, error)
	Revocation(ctx context.Context, id string) (connectedapps.Revocation, error)
	ListRevocations(ctx context.Context) ([]connectedapps.Revocation, error)
}

type newRevocationInput struct{ Body NewRevocation }

type newRevocationOutput struct {
	Status int
	Body   RevocationAnswer
}

// createRevocation ends the access that a request names, or says what that would be. Without the number that a dry run
// gave, it is refused: nobody ends the access of more people than they have seen.
func (h *Handler) createRevocation(ctx context.Context, in *newRevocationInput) (*newRevocationOutput, error) {
	b := in.Body
	scope, person, err := h.scope(ctx, b)
	if err != nil {
		return nil, err
	}
	if b.DryRun {
		p, err := h.cfg.Revocations.Affected(ctx, scope)
		if err != nil {
			return nil, err
		}
		return &newRevocationOutput{Status: 200, Body: RevocationAnswer{Preview: &RevocationPreview{People: p.People, Connections: p.Grants, Confirm: p.Grants}}}, nil
	}
	if b.Confirm == nil {
		return nil, &fault.Error{Kind: fault.Invalid, Code: "confirmation_required", Owner: fault.Admin,
			Detail: "Ask with dry_run first, and confirm the number of connections that it shows.",
			Fields: []fault.Field{{Pointer: "/confirm", Code: "required", Detail: "Give the number that dry_run showed."}}}
	}
	actor := from(ctx).user.ID
	r, err := h.cfg.Revocations.Revoke(ctx, scope, b.Reason, actor, *b.Confirm)
	if err != nil {
		return nil, err
	}
	// What somebody began with a session that ends now, they cannot finish: a callback needs the same session. And what
	// their programs carry may be what leaked.
	switch reason := "revocation " + r.ID; {
	case scope.Everything:
		err = errors.Join(h.cfg.Sessions.RevokeOthers(ctx, reason, actor), h.cfg.Tokens.RevokeEverybody(ctx, reason, actor))
	case person.ID != "":
		err = errors.Join(h.cfg.Sessions.RevokeAll(ctx, person.ID, reason, actor), h.cfg.Tokens.RevokeAll(ctx, person.ID, reason, actor))
	}
	if err != nil {
		return nil, err
	}
	r.Waiting = r.Queued
	out := revocation(r)
	return &newRevocationOutput{Status: 201, Body: RevocationAnswer{Revocation: &out}}, nil
}

// scope is whose access a request ends; person is set when it is one of this server's.
func (h *Handler) scope(ctx context.Context, b NewRevocation) (scope connectedapps.Scope, person users.User, err error) {
	n := 0
	for _, set := range []bool{b.Principal != "", b.OAuthApp != "", b.Everything} {
		if set {
			n++
		}
	}
	if n != 1 {
		return scope, person, fault.New(fault.Invalid, "Name exactly one of principal, oauth_app and everything.")
	}
	switch {
	case b.Principal != "":
		person, err = h.cfg.People.ByID(ctx, b.Principal)
		if errors.Is(err, fault.NotFound) {
			person, err = h.cfg.People.ByUsername(ctx, strings.ToLower(b.Principal))
		}
		if errors.Is(err, fault.NotFound) {
			return scope, person, fault.Wrap(fault.NotFound, err, "There is nobody with the id or username %q.", b.Principal)
		}
		if err != nil {
			return scope, person, err
		}
		scope.Principal = person.Principal()
	case b.OAuthApp != "":
		a, err := h.find(ctx, b.OAuthApp)
		if err != nil {
			return scope, person, err
		}
		scope.AppID = a.ID
	default:
		scope.Everything = true
	}
	return scope, person, nil
}

type revocationInput struct {
	ID string `path:"id" maxLength:"100" example:"rev_01jc3v4k9e8r7x2m5n0q6t1w3y"`
}

type revocationOutput struct{ Body Revocation }

func (h *Handler) getRevocation(ctx context.Context, in *revocationInput) (*revocationOutput, error) {
	r, err := h.cfg.Revocations.Revocation(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &revocationOutput{Body: revocation(r)}, nil
}

type listRevocationsOutput struct{ Body RevocationList }

func (h *Handler) listRevocations(ctx context.Context, _ *struct{}) (*listRevocationsOutput, error) {
	list, err := h.cfg.Revocations.ListRevocations(ctx)
	if err != nil {
		return nil, err
	}
	out := &listRevocationsOutput{Body: RevocationList{Items: make([]Revocation, 0, len(list))}}
	for _, r := range list {
		out.Body.Items = append(out.Body.Items, revocation(r))
	}
	return out, nil
}

func revocation(r connectedapps.Revocation) Revocation {
	return Revocation{
		ID: r.ID, Principal: principal(r.Scope.Principal), OAuthApp: r.App, Everything: r.Scope.Everything, Reason: r.Reason, Actor: r.Actor,
		CreatedAt: r.CreatedAt, People: r.People, Connections: r.Grants,
		Provider: ProviderProgress{Total: r.Queued, Done: r.Done(), Failed: r.Failed, Waiting: r.Waiting, Unsupported: r.Grants - r.Queued},
	}
}
