package oauthapps

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/outbound"
)

// Class says what a failed call to a token endpoint means for the one who made it (RFC 6749 §5.2).
type Class int

// The classes.
const (
	GrantRefused   Class = iota // the code or refresh token is dead: invalid_grant
	ClientRefused               // the app is broken, its people are not: invalid_client
	ServerFailed                // the server answered, but not with tokens: 5xx, 429, HTML, any other error. Try later
	NotSent                     // the server did not get the request: refused, unknown host, TLS. Try later
	OutcomeUnknown              // the request was sent and no answer came: the server may have acted on it
)

// Failure is why an authorization server did not give what was asked. Its text is made of codes and numbers: nothing
// the server wrote is in it but an error code of RFC 6749 §5.2, and never a token.
type Failure struct {
	Class      Class
	Code       string        // the server's error code, or "rate_limited", "provider_error", "network_error", "unknown_outcome"
	Status     int           // of the answer; 0 when there was none
	RetryAfter time.Duration // what the answer asked for; 0 when it did not
	Err        error         // the cause, without URL and body; may be nil
}

// Codes of failures that are not the server's own words.
const (
	CodeRateLimited    = "rate_limited"
	CodeProviderError  = "provider_error"
	CodeNetworkError   = "network_error"
	CodeUnknownOutcome = "unknown_outcome"
	CodeInvalidClient  = "invalid_client"
	CodeInvalidGrant   = "invalid_grant"
)

// Error returns the code, and the status of the answer.
func (f *Failure) Error() string {
	s := "authorization server: " + f.Code
	if f.Status != 0 {
		s += fmt.Sprintf(" (HTTP %d)", f.Status)
	}
	if f.Err != nil {
		s += ": " + f.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// refusal returns the Failure of an error code that the server wrote, in its own spelling or that of RFC 6749 §5.2.
func refusal(q Quirks, code string, status int) *Failure {
	f := &Failure{Class: ServerFailed, Code: errorCode(code), Status: status}
	if standard := q.ErrorCodes[f.Code]; standard != "" {
		f.Code = standard
	}
	switch f.Code {
	case CodeInvalidGrant:
		f.Class = GrantRefused
	case CodeInvalidClient, "unauthorized_client":
		f.Class = ClientRefused
	case "":
		f.Code = CodeProviderError
	}
	return f
}

// errorCode returns s if it looks like an error code, and "provider_error" for anything else: what a server writes
// there ends in logs and in the database.
func errorCode(s string) string {
	if len(s) > 64 {
		return CodeProviderError
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.' {
			return CodeProviderError
		}
	}
	return s
}

// statusFailure is the Failure of an answer whose status already says enough, or nil.
func statusFailure(resp *http.Response, now time.Time) *Failure {
	f := &Failure{Class: ServerFailed, Code: CodeProviderError, Status: resp.StatusCode}
	switch s := resp.StatusCode; {
	case s == http.StatusTooManyRequests:
		f.Code = CodeRateLimited
	case s >= 500:
	case s >= 300 && s < 400:
		f.Err = errors.New("it answered with a redirect, which is not followed")
		return f
	default:
		return nil
	}
	if f.RetryAfter = retryAfter(resp.Header.Get("Retry-After"), now); f.RetryAfter > 0 {
		f.Code = CodeRateLimited
	}
	return f
}

// retryAfter parses the header (RFC 9110 §10.2.3), in seconds or as a date; at most a day.
func retryAfter(header string, now time.Time) time.Duration {
	header = strings.TrimSpace(header)
	if n, err := strconv.ParseUint(header, 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, 24*time.Hour)
	}
	if t, err := http.ParseTime(header); err == nil && t.After(now) {
		return min(t.Sub(now), 24*time.Hour)
	}
	return 0
}

// networkFailure is the Failure of a call without an answer. Its cause keeps the kind of trouble and drops the text
// of net/http, which quotes the URL.
func networkFailure(err error, sent bool) *Failure {
	cause := errors.New("the connection failed")
	switch {
	case errors.Is(err, outbound.ErrAddress):
		cause = outbound.ErrAddress
	case errors.Is(err, outbound.ErrTooLarge):
		cause = outbound.ErrTooLarge
	case errors.Is(err, context.DeadlineExceeded):
		cause = context.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		cause = context.Canceled
	}
	if sent {
		return &Failure{Class: OutcomeUnknown, Code: CodeUnknownOutcome, Err: cause}
	}
	return &Failure{Class: NotSent, Code: CodeNetworkError, Err: cause}
}

func asFault(err error) (*fault.Error, bool) { return errors.AsType[*fault.Error](err) }
