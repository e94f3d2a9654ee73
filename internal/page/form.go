package page

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net/http"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/id"
)

// maxForm is the largest form that is read.
const maxForm = 64 << 10

// Form is a form that changes something. Name keeps its token from being used for another; Bind, which may be empty,
// ties it to something else, such as the session that it was drawn for.
//
// Its token is a hash of a random cookie, so that nothing has to be kept: another site can neither read the cookie nor
// plant one. This stands beside the check of the request's origin, which says nothing of old browsers (sso.md §4.4).
type Form struct{ Name, Bind string }

// cookieName is the cookie behind the tokens.
func (s *Site) cookieName() string {
	if s.secure {
		return "__Host-behalf_form"
	}
	return "behalf_form"
}

// Token returns the token of f for the browser of r, and sets the cookie where it has none.
func (s *Site) Token(w http.ResponseWriter, r *http.Request, f Form) string {
	value := s.formCookie(r)
	if value == "" {
		value = id.Random(32)
		http.SetCookie(w, &http.Cookie{Name: s.cookieName(), Value: value, Path: "/", Secure: s.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	}
	return f.token(value)
}

func (f Form) token(cookie string) string {
	h := sha256.New()
	for _, part := range []string{"form", f.Name, f.Bind, cookie} {
		sum := sha256.Sum256([]byte(part))
		h.Write(sum[:]) // each of one length, so that no two lists of parts are alike
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (s *Site) formCookie(r *http.Request) string {
	found := r.CookiesNamed(s.cookieName())
	if len(found) != 1 || len(found[0].Value) < 32 || len(found[0].Value) > 128 {
		return ""
	}
	return found[0].Value
}

// Read parses the form of r and checks that f was drawn for this browser, by this server.
func (s *Site) Read(w http.ResponseWriter, r *http.Request, f Form) error {
	if err := s.origins.Check(r); err != nil {
		return &fault.Error{Kind: fault.Denied, Code: "cross_origin", Owner: fault.Admin, Err: err,
			Detail: "This request came from another site. If you did send it from here, the address in your browser is not the public URL that the server is configured with."}
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return fault.Wrap(fault.Invalid, err, "The form could not be read.")
	}
	cookie := s.formCookie(r)
	if cookie == "" || subtle.ConstantTimeCompare([]byte(r.PostForm.Get("form_token")), []byte(f.token(cookie))) != 1 {
		return &fault.Error{Kind: fault.Denied, Code: "form_expired", Owner: fault.User,
			Detail: "This form belongs to an older visit, or your browser keeps no cookies for this site. Send it again from a fresh page."}
	}
	return nil
}

func asError(err error) *fault.Error {
	e, _ := errors.AsType[*fault.Error](err)
	return e
}
