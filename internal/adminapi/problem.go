package adminapi

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/behalf-project/behalf/internal/fault"
)

// Problem is the body of every refusal (RFC 9457), with what a person and a program need to go on (ux.md §3).
type Problem struct {
	Type      string         `json:"type" format:"uri" doc:"Names the kind of problem; a URN that ends in the code."`
	Title     string         `json:"title" doc:"The kind of problem in a few words."`
	Status    int            `json:"status" doc:"The HTTP status."`
	Detail    string         `json:"detail" doc:"What happened, why, and what to do."`
	Code      string         `json:"code" doc:"A stable word for programs." example:"admin_required"`
	RequestID string         `json:"request_id" doc:"Quote it when you ask for help."`
	Owner     string         `json:"owner,omitempty" enum:"user,admin,provider,database" doc:"Who can fix it."`
	Retryable bool           `json:"retryable" doc:"Whether the same request may succeed later without anybody changing anything, or once the action was taken."`
	Errors    []ProblemField `json:"errors,omitempty" nullable:"false" doc:"The wrong places of the request, all of them."`
	Actions   []Action       `json:"actions,omitempty" nullable:"false" doc:"What to do next, the main one first."`

	retryAfter time.Duration
	scope      string // that the token lacks
}

// ProblemField is one wrong place of a request.
type ProblemField struct {
	Pointer string `json:"pointer" doc:"JSON pointer into the body (RFC 6901), or the name of a parameter." example:"/client_id"`
	Code    string `json:"code" example:"required"`
	Detail  string `json:"detail"`
}

// Action is something the person can do next.
type Action struct {
	Rel   string `json:"rel" doc:"What it does." example:"authorize"`
	Href  string `json:"href,omitempty" doc:"Where; absent when the operation of the same name does it."`
	Label string `json:"label" example:"Connect"`
}

// Error returns the detail.
func (p *Problem) Error() string { return p.Detail }

// GetStatus returns the HTTP status; with it a Problem is an answer that huma can write.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType returns the media type of RFC 9457.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// GetHeaders returns the headers that belong to the status.
func (p *Problem) GetHeaders() http.Header {
	header := http.Header{}
	if p.retryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.retryAfter.Seconds()))))
	}
	switch {
	case p.Code == "invalid_token", p.Code == "token_required", p.Code == "bearer_required":
		challenge := `Bearer realm="Behalf"`
		if p.Code == "invalid_token" { // who sent none is told of no error (RFC 6750 §3.1)
			challenge += `, error="invalid_token", error_description="` + quotable(p.Detail) + `"`
		}
		header.Set("WWW-Authenticate", challenge)
	case p.Code == "insufficient_scope":
		challenge := `Bearer realm="Behalf", error="insufficient_scope"`
		if p.scope != "" {
			challenge += `, scope="` + quotable(p.scope) + `"`
		}
		header.Set("WWW-Authenticate", challenge)
	case p.Status == http.StatusUnauthorized:
		header.Set("WWW-Authenticate", `Cookie realm="Behalf", form-action="/login"`)
	}
	return header
}

// quotable leaves of s what may stand in a quoted string of WWW-Authenticate (RFC 6750 §3).
func quotable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e || r == '"' || r == '\\' {
			return -1
		}
		return r
	}, s)
}

// answer is what this front door says to one kind of failure.
type answer struct {
	status    int
	title     string
	detail    string // when the failure has no words of its own
	retryable bool
}

// answers is the one table from kinds of failure to HTTP. A test compares it with fault.Kinds.
var answers = map[fault.Kind]answer{
	fault.Invalid:                 {http.StatusUnprocessableEntity, "Invalid request", "Some values are not valid.", false},
	fault.Unauthenticated:         {http.StatusUnauthorized, "Sign in required", "Sign in to go on.", false},
	fault.Denied:                  {http.StatusForbidden, "Not allowed", "You may not do this.", false},
	fault.NotFound:                {http.StatusNotFound, "Not found", "There is no such thing here, or none that you may see.", false},
	fault.Conflict:                {http.StatusConflict, "Conflict", "It changed meanwhile. Load it again and repeat your change.", false},
	fault.Gone:                    {http.StatusGone, "Gone", "It was there once, and is used up or has expired.", false},
	fault.TooMany:                 {http.StatusTooManyRequests, "Too many requests", "You asked too often. Wait a moment.", true},
	fault.Unavailable:             {http.StatusServiceUnavailable, "Unavailable", "Something that is needed does not answer. Try again.", true},
	fault.Timeout:                 {http.StatusGatewayTimeout, "Timed out", "It took longer than allowed. Try again.", true},
	fault.Canceled:                {499, "Cancelled", "The request was cancelled.", true},
	fault.AuthorizationRequired:   {http.StatusForbidden, "Authorization required", "Connect your account first.", true},
	fault.ReauthorizationRequired: {http.StatusForbidden, "Reauthorization required", "Your access has ended. Reauthorize it.", true},
	fault.AppDisabled:             {http.StatusForbidden, "App paused", "An admin paused this app.", false},
	fault.RefreshFailing:          {http.StatusServiceUnavailable, "Refresh failing", "The provider did not answer. Your access is unchanged; try again.", true},
}

// internal is the answer to what has no kind. Its text is fixed, because the real one may hold anything.
var internal = answer{http.StatusInternalServerError, "Internal error",
	"Something went wrong on our side. Quote the request id when you ask for help.", true}

// problem translates err for a person. What err wraps is not shown.
func problem(err error, requestID string) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		p.RequestID = requestID
		return p
	}
	kind := fault.KindOf(err)
	a, known := answers[kind]
	if !known {
		a, kind = internal, "internal"
	}
	p = &Problem{
		Title: a.title, Status: a.status, Detail: a.detail, Code: string(kind), RequestID: requestID, Retryable: a.retryable,
	}
	if e, ok := errors.AsType[*fault.Error](err); ok && known {
		p.Code, p.Owner, p.retryAfter, p.scope = e.CodeOrKind(), string(e.Owner), e.RetryAfter, e.Params["scope"]
		if e.Detail != "" {
			p.Detail = e.Detail
		}
		for _, f := range e.Fields {
			p.Errors = append(p.Errors, ProblemField{Pointer: pointer(f.Pointer), Code: f.Code, Detail: f.Detail})
		}
		for _, action := range e.Actions {
			p.Actions = append(p.Actions, Action{Rel: action.Rel, Href: action.Href, Label: action.Label})
		}
	}
	p.Type = problemType(p.Code)
	return p
}

func problemType(code string) string { return "urn:behalf:problem:" + code }

// pointer makes a JSON pointer of the name of a field.
func pointer(name string) string {
	if name == "" || strings.HasPrefix(name, "/") {
		return name
	}
	return "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

// fromHuma translates huma's own refusals, which are about the form of a request. The values it would echo are left
// out: one of them may be a client secret.
func fromHuma(m *huma.ErrorModel, requestID string) *Problem {
	p := &Problem{Status: m.Status, RequestID: requestID}
	switch m.Status {
	case http.StatusUnprocessableEntity:
		p.Title, p.Code, p.Detail = answers[fault.Invalid].title, string(fault.Invalid), answers[fault.Invalid].detail
		for _, e := range m.Errors {
			at := location(e.Location)
			if name, ok := missing(e.Message); ok {
				at += "/" + name // the form marks the field, not the object that lacks it
			}
			p.Errors = append(p.Errors, ProblemField{Pointer: at, Code: fieldCode(e.Message), Detail: sentence(e.Message)})
		}
	case http.StatusBadRequest:
		p.Title, p.Code, p.Detail = "Malformed request", "malformed", "The body must be one JSON object."
	case http.StatusRequestTimeout:
		p.Title, p.Code, p.Detail, p.Retryable = "Timed out", "body_timeout", "The body of the request did not arrive in time.", true
	case http.StatusRequestEntityTooLarge:
		p.Title, p.Code, p.Detail = "Too large", "body_too_large", "The body of a request may have at most 1 MiB."
	case http.StatusUnsupportedMediaType:
		p.Title, p.Code, p.Detail = unsupported.Title, unsupported.Code, unsupported.Detail
	default:
		p.Status, p.Title, p.Code, p.Detail, p.Retryable = internal.status, internal.title, "internal", internal.detail, true
	}
	p.Type = problemType(p.Code)
	return p
}

var unsupported = Problem{
	Type: problemType("unsupported_media_type"), Title: "Unsupported media type", Status: http.StatusUnsupportedMediaType,
	Code: "unsupported_media_type", Detail: "Send the body as Content-Type: application/json.",
}

// location turns huma's body.data_sources[0] into the JSON pointer /data_sources/0, and path.id into id.
func location(l string) string {
	in, rest, _ := strings.Cut(l, ".")
	if in != "body" {
		if rest == "" {
			return in
		}
		return rest
	}
	if rest == "" {
		return ""
	}
	return "/" + strings.NewReplacer("~", "~0", "/", "~1", ".", "/", "[", "/", "]", "").Replace(rest) // names of ours hold none of these
}

// missing returns the name of the property that the validator misses.
func missing(message string) (name string, ok bool) {
	name, ok = strings.CutPrefix(message, "expected required property ")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(name, " to be present")
}

// fieldCode names the validator's messages that a form treats differently.
func fieldCode(message string) string {
	switch {
	case strings.HasPrefix(message, "unexpected property"):
		return "unknown_field"
	case strings.HasPrefix(message, "expected required property"), strings.HasPrefix(message, "required "):
		return "required"
	}
	return "invalid"
}

func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}
