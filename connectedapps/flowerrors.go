package connectedapps

import (
	"errors"
	"fmt"
	"strings"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/oauthapps"
)

// fail is a refusal of an authorization of app, which the person may begin again.
func (f *Flow) fail(kind fault.Kind, code string, owner fault.Owner, app oauthapps.App, cause error, format string, args ...any) *fault.Error {
	e := fault.Wrap(kind, cause, format, args...)
	e.Code, e.Owner = code, owner
	if app.Slug != "" {
		e.Params = map[string]string{"oauth_app": app.Slug}
		e.Actions = []fault.Action{{Rel: "authorize", Href: f.cfg.Apps.ConnectURL(app.Slug), Label: "Try again"}}
	}
	return e
}

// expired is one answer to everything that a stranger might learn from: a state that was never made, was used, is too
// old, or belongs to another browser or person.
func (f *Flow) expired(app oauthapps.App, cause error) error {
	e := f.fail(fault.Gone, outcomeExpired, fault.User, app, cause, "This link is older than 10 minutes or was opened in another browser. Start again.")
	if len(e.Actions) > 0 {
		e.Actions[0].Label = "Start again"
	}
	return e
}

// mixedUp refuses a response that does not fit its request.
func (f *Flow) mixedUp(app oauthapps.App, why string) error {
	return f.fail(fault.Invalid, "response_mismatch", fault.Provider, app, nil,
		"The answer of %s was not accepted: %s. Nothing was stored.", app.Name, why)
}

// refused is the refusal of an error answer (RFC 6749 §4.1.2.1). What the provider wrote is in Params
// "provider_error" and "provider_text", to be shown as its words and not as ours.
func (f *Flow) refused(app oauthapps.App, r Response) error {
	var e *fault.Error
	switch r.Error {
	case "access_denied", "consent_required", "login_required", "interaction_required":
		e = f.fail(fault.Denied, outcomeDenied, fault.User, app, nil, "You cancelled at %s. Nothing was stored.", app.Name)
	case "server_error", "temporarily_unavailable":
		e = f.fail(fault.Unavailable, oauthapps.CodeProviderError, fault.Provider, app, nil,
			"%s could not answer just now. Nothing was stored; try again shortly.", app.Name)
	default:
		e = f.fail(fault.Denied, "provider_refused", fault.Admin, app, nil,
			"%s refused the request, which is a matter of how this app is registered there. Nothing was stored.", app.Name)
	}
	e.Params["provider_error"] = text(r.Error, 64)
	if t := text(r.ErrorDescription, 500); t != "" {
		e.Params["provider_text"] = t
	}
	return e
}

// exchangeFailed is the refusal of a code that could not be exchanged.
func (f *Flow) exchangeFailed(app oauthapps.App, err error) error {
	failure, _ := errors.AsType[*oauthapps.Failure](err)
	switch {
	case failure != nil && failure.Class == oauthapps.ClientRefused:
		e := f.fail(fault.Unavailable, oauthapps.CodeInvalidClient, fault.Admin, app, err,
			"%s rejected this app's credentials. Only an admin can fix this.", app.Name)
		e.Actions = nil
		return e
	case failure != nil && failure.Class == oauthapps.GrantRefused:
		return f.fail(fault.Gone, "code_refused", fault.User, app, err,
			"%s no longer accepts this authorization. Nothing was stored; start again.", app.Name)
	}
	e := f.fail(fault.Unavailable, oauthapps.CodeProviderError, fault.Provider, app, err,
		"%s did not answer as it should when the authorization was completed. Nothing was stored; start again.", app.Name)
	if failure != nil {
		e.RetryAfter = failure.RetryAfter
	}
	return e
}

// pushFailed is the refusal of an authorization request that the server would not take (RFC 9126 §2.3).
func (f *Flow) pushFailed(app oauthapps.App, err error) error {
	failure, ok := errors.AsType[*oauthapps.Failure](err)
	switch {
	case ok && failure.Class == oauthapps.ClientRefused:
		return f.exchangeFailed(app, err)
	case ok && failure.Status >= 400 && failure.Status < 500 && failure.Code != oauthapps.CodeRateLimited:
		e := f.fail(fault.Denied, "provider_refused", fault.Admin, app, err,
			"%s refused the request, which is a matter of how this app is registered there. Nothing was stored.", app.Name)
		if e.Params != nil {
			e.Params["provider_error"] = failure.Code
		}
		return e
	}
	e := f.fail(fault.Unavailable, oauthapps.CodeProviderError, fault.Provider, app, err,
		"%s could not answer just now. Nothing was stored; try again shortly.", app.Name)
	if ok {
		e.RetryAfter = failure.RetryAfter
	}
	return e
}

func (f *Flow) identityFailed(app oauthapps.App, err error) error {
	return f.fail(fault.Denied, "id_token_invalid", fault.Admin, app, err,
		"%s answered with a proof of identity that does not hold. Nothing was stored.", app.Name)
}

// codeOf is the code under which an authorization's refusal is kept.
func codeOf(err error) string {
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return e.CodeOrKind()
	}
	return "internal"
}

// cause is what the log says of a refusal beside its code.
func cause(err error) error {
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return e.Err
	}
	return fmt.Errorf("unclassified: %w", err)
}

// text is what somebody else wrote, cut and without control characters. Pages escape it.
func text(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return strings.TrimSpace(s)
}

func newSecret(s string) Secret { return secret.New(s) }
