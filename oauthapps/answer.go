package oauthapps

import (
	"encoding/json"
	"errors"
	"math"
	"mime"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/displayname"
)

// TokenAnswer is a successful answer of a token endpoint (RFC 6749 §5.1).
type TokenAnswer struct {
	AccessToken      Secret
	RefreshToken     Secret // empty when none was given: the old one stays valid (RFC 6749 §6)
	IDToken          Secret // empty when none was given; not verified yet
	TokenType        string
	Scopes           []string      // granted; nil when the server did not say, and then they are what was asked for
	ExpiresIn        time.Duration // of the access token; 0 when unknown
	RefreshExpiresIn time.Duration // of the refresh token; 0 when unknown
	IssuedTokenType  string        // of a token exchange (RFC 8693 §2.2.1)
	Username         string        // some servers say who it was (Snowflake); display data
	AskedAt          time.Time     // when it was asked for: its lifetimes are no longer than if they began then
}

// The bound of a lifetime that is believed. A longer one is cut, so that no arithmetic with it overflows.
const maxLife = 10 * 365 * 24 * time.Hour

var errNotTokens = errors.New("the answer is neither JSON nor a form")

// parseAnswer reads the body of a token endpoint's answer: JSON as the standard wants it, or a form as some old
// servers write it. It is tolerant in everything that cannot hurt, and else as q says. What is no token answer is a
// Failure.
//
// When it returns both an answer and a Failure, the access token must not be used, but the refresh token has replaced
// the one that was sent and must be kept.
func parseAnswer(q Quirks, status int, contentType string, body []byte) (TokenAnswer, *Failure) {
	v, err := parseBody(contentType, body)
	if err != nil {
		return TokenAnswer{}, &Failure{Class: ServerFailed, Code: CodeProviderError, Status: status, Err: err}
	}
	if code := v.text("error"); code != "" || status < 200 || status > 299 {
		return TokenAnswer{}, refusal(q, code, status)
	}
	a := TokenAnswer{
		AccessToken:      NewSecret(v.text("access_token")),
		RefreshToken:     NewSecret(v.text("refresh_token")),
		IDToken:          NewSecret(v.text("id_token")),
		TokenType:        v.text("token_type"),
		Scopes:           v.scopes("scope", q.CommaScopes),
		ExpiresIn:        v.seconds("expires_in"),
		RefreshExpiresIn: max(v.seconds("refresh_token_expires_in"), v.seconds("refresh_expires_in")),
		IssuedTokenType:  v.text("issued_token_type"),
	}
	if q.AccountMember != "" {
		a.Username = displayname.Clean(v.text(q.AccountMember), maxName)
	}
	if a.RefreshExpiresIn == 0 && !a.RefreshToken.Empty() {
		a.RefreshExpiresIn = q.RefreshLife
	}
	switch {
	case a.AccessToken.Empty():
		return a, &Failure{Class: ServerFailed, Code: CodeProviderError, Status: status, Err: errors.New("the answer holds no access token")}
	case a.TokenType == "":
		a.TokenType = "Bearer"
	case strings.EqualFold(a.TokenType, tokenTypeDPoP):
		a.TokenType = tokenTypeDPoP
	case !strings.EqualFold(a.TokenType, "bearer"):
		a.TokenType, a.AccessToken = "", Secret{}
		return a, &Failure{Class: ServerFailed, Code: "unsupported_token_type", Status: status, Err: errors.New("the token is not of type Bearer")}
	}
	return a, nil
}

// values are the members of an answer.
type values map[string]any

func parseBody(contentType string, body []byte) (values, error) {
	kind, _, _ := mime.ParseMediaType(contentType)
	if kind == "application/x-www-form-urlencoded" || kind == "text/plain" && !strings.HasPrefix(strings.TrimSpace(string(body)), "{") {
		form, err := url.ParseQuery(strings.TrimSpace(string(body)))
		if err != nil || !form.Has("access_token") && !form.Has("error") {
			return nil, errNotTokens
		}
		v := values{}
		for name := range form {
			v[name] = form.Get(name)
		}
		return v, nil
	}
	var v values
	dec := json.NewDecoder(strings.NewReader(string(body)))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil || v == nil {
		return nil, errNotTokens // the decoder's own error may quote the body
	}
	return v, nil
}

// text returns a member that is a string.
func (v values) text(name string) string {
	s, _ := v[name].(string)
	return s
}

// seconds returns a duration that may be a number, a float or a string of either, and 0 for what is none.
func (v values) seconds(name string) time.Duration {
	var s string
	switch x := v[name].(type) {
	case json.Number:
		s = x.String()
	case string:
		s = strings.TrimSpace(x)
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || f <= 0 {
		return 0
	}
	if f >= maxLife.Seconds() {
		return maxLife
	}
	return time.Duration(f * float64(time.Second))
}

// scopes returns a list separated by spaces, as the standard says, or a JSON array; and by commas, where these are no
// part of a scope.
func (v values) scopes(name string, commas bool) []string {
	switch x := v[name].(type) {
	case string:
		return words(strings.FieldsFunc(x, func(r rune) bool { return r == ' ' || r == '\t' || r == '\n' || commas && r == ',' }))
	case []any:
		var list []string
		for _, e := range x {
			if s, ok := e.(string); ok {
				list = append(list, s)
			}
		}
		return words(list)
	}
	return nil
}
