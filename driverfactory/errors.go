package driverfactory

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/behalf-project/behalf/internal/fault"
)

// fail returns err as the fault that the caller is shown. tok is the token that the failing session used, so that it
// can be taken out of the text.
func (p *pool) fail(ctx context.Context, err error, tok Token) error {
	src := p.choice.src
	if ended := ctx.Err(); ended != nil {
		return p.ended(ended, err, tok)
	}
	if ours, ok := errors.AsType[*fault.Error](err); ok {
		// It comes from Credentials, Admit or the guard, through however many layers of a driver.
		return withSource(ours, src, p.choice.Key.App)
	}
	e := &fault.Error{Owner: fault.Database, Err: p.scrubbed(err, tok), Params: p.choice.params()}
	switch p.classify(ctx, err) {
	case AuthExpired:
		return p.choice.refusal(e.Err)
	case AccessDenied:
		e.Kind, e.Code = fault.Denied, "database_denied"
		e.Detail = fmt.Sprintf("Data source %q says that %s may not do this: %s", src.Name, p.who(), p.sentence(err, tok))
	case StatementFailed:
		e.Kind, e.Code, e.Detail = fault.Invalid, "database_error", p.sentence(err, tok)
	case Misconfigured:
		e.Kind, e.Code, e.Owner = fault.Unavailable, "data_source_misconfigured", fault.Admin
		e.Detail = fmt.Sprintf("Data source %q refused the session: %s. An admin can correct its settings.",
			src.Name, strings.TrimSuffix(p.sentence(err, tok), "."))
	case SessionLost:
		e.Kind, e.Code = fault.Unavailable, "session_lost"
		e.Detail = fmt.Sprintf("Data source %q dropped the session again and again. Try again in a moment.", src.Name)
	case Canceled:
		e.Kind, e.Code = fault.Canceled, "database_canceled"
		e.Detail = fmt.Sprintf("The query was cancelled at data source %q.", src.Name)
	default:
		e.Kind, e.Code = fault.Unavailable, "data_source_unreachable"
		e.Detail = fmt.Sprintf("Data source %q does not answer. Try again in a moment.", src.Name)
	}
	return e
}

// ended is the fault of a statement whose caller left, or whose time is up.
func (p *pool) ended(ended, err error, tok Token) error {
	e := &fault.Error{Err: errors.Join(ended, p.scrubbed(err, tok)), Params: p.choice.params()}
	if errors.Is(ended, context.DeadlineExceeded) {
		e.Kind, e.Code = fault.Timeout, "query_timeout"
		e.Detail = fmt.Sprintf("The query at data source %q took longer than it may.", p.choice.src.Name)
		return e
	}
	e.Kind, e.Code = fault.Canceled, "query_canceled"
	e.Detail = fmt.Sprintf("The query at data source %q was cancelled.", p.choice.src.Name)
	return e
}

// who names the identity of the pool in a sentence.
func (p *pool) who() string {
	switch {
	case p.choice.RunAs.Identity == IdentityServiceAccount:
		return "the service account " + p.choice.RunAs.Account
	case p.choice.RunAs.Username != "":
		return p.choice.RunAs.Username
	}
	return "your account there"
}

// sentence is what the database itself said, safe to show.
func (p *pool) sentence(err error, tok Token) string {
	text := ""
	if x, ok := p.wh.(Explainer); ok {
		text = x.Explain(err)
	}
	if text == "" {
		text = err.Error()
	}
	return p.scrub(text, tok)
}

// maxSentence is how much of a database's message is passed on, in bytes.
const maxSentence = 1000

// scrub takes the secrets that could be in text out of it: those of this pool by value, and everything that looks
// like one.
func (p *pool) scrub(text string, tok Token) string {
	known := []Secret{tok.Value}
	if a := p.choice.account; a != nil {
		known = append(known, a.Token, a.Password, a.PrivateKey)
		if a.OAuth != nil {
			known = append(known, a.OAuth.ClientSecret, a.OAuth.PrivateKey)
		}
	}
	if c := p.choice.carried; c != nil {
		known = append(known, c.AccessToken)
	}
	for _, s := range known {
		if v := s.Reveal(); len(v) >= 4 { // a shorter one would blot out ordinary words
			text = strings.ReplaceAll(text, v, "[redacted]")
		}
	}
	for _, r := range looksSecret {
		text = r.pattern.ReplaceAllString(text, r.by)
	}
	text = strings.TrimSpace(text)
	if len(text) > maxSentence {
		text = strings.ToValidUTF8(text[:maxSentence], "") + " …"
	}
	return text
}

// looksSecret are the shapes that secrets have in the messages of drivers: headers, JWTs, personal access tokens,
// passwords in connection strings, and the query strings of URLs.
var looksSecret = []struct {
	pattern *regexp.Regexp
	by      string
}{
	{regexp.MustCompile(`(?i)\b(bearer|basic)\s+[a-z0-9._~+/=-]{8,}`), "$1 [redacted]"},
	{regexp.MustCompile(`eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_.-]+`), "[redacted]"},
	{regexp.MustCompile(`\bdapi[0-9a-f]{16,}[0-9-]*`), "[redacted]"},
	{regexp.MustCompile(`(://[^\s/:@]+):[^\s/@]+@`), "$1:[redacted]@"},
	{regexp.MustCompile(`(?i)\b(access_token|refresh_token|client_secret|password|pwd)=[^\s&;'"]+`), "$1=[redacted]"},
	{regexp.MustCompile(`(https?://[^\s?"']+)\?[^\s"']*`), "$1?[redacted]"},
}

// scrubbed returns err with a text that is safe to log. What is inside is still found by errors.Is and errors.As.
func (p *pool) scrubbed(err error, tok Token) error {
	if err == nil {
		return nil
	}
	return &scrubbedError{text: p.scrub(err.Error(), tok), err: err}
}

type scrubbedError struct {
	text string
	err  error
}

func (e *scrubbedError) Error() string { return e.text }
func (e *scrubbedError) Unwrap() error { return e.err }
