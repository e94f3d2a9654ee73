// Package login is the front door that people sign in at: GET and POST /login, GET and POST /logout. The pages work
// without a script.
//
// A password is checked by internal/users and ends in a session of internal/session; where to go on is a path of this
// server and nothing else (internal/returnto). Every failure draws the form again, with one answer for all wrong names
// and passwords.
package login

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/httpserver"
	"github.com/behalf-project/behalf/internal/page"
	"github.com/behalf-project/behalf/internal/returnto"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/session"
	"github.com/behalf-project/behalf/internal/users"
)

//go:embed login.html logout.html setup.html
var files embed.FS

// People knows who a password belongs to. users.Service is one.
type People interface {
	Authenticate(ctx context.Context, login string, password secret.Text, ip string) (users.User, error)
}

// Sessions makes and ends sessions. session.Service is one.
type Sessions interface {
	FromRequest(r *http.Request) (session.Session, users.User, error)
	SignIn(ctx context.Context, r *http.Request, u users.User, method string) (*http.Cookie, error)
	SignOut(ctx context.Context, s session.Session, everywhere bool) (*http.Cookie, error)
	Lives() (idle, absolute time.Duration)
}

// Config is what a Handler needs. Site, People and Sessions are required.
type Config struct {
	Site     *page.Site
	People   People
	Sessions Sessions
	ClientIP func(*http.Request) string // default: the peer's address
}

// Handler serves the pages.
type Handler struct {
	cfg           Config
	login, logout *page.Template
}

// New returns a Handler over cfg. It starts nothing; see Mount.
func New(cfg Config) (*Handler, error) {
	if cfg.ClientIP == nil {
		cfg.ClientIP = httpserver.ClientIP(nil)
	}
	h := &Handler{cfg: cfg}
	var err error
	if h.login, err = cfg.Site.Parse(files, "login.html"); err != nil {
		return nil, err
	}
	if h.logout, err = cfg.Site.Parse(files, "logout.html"); err != nil {
		return nil, err
	}
	return h, nil
}

// Mount adds the routes to mux.
func (h *Handler) Mount(mux *http.ServeMux) {
	mux.HandleFunc("GET /login", h.show)
	mux.HandleFunc("POST /login", h.signIn)
	mux.HandleFunc("GET /logout", h.confirm)
	mux.HandleFunc("POST /logout", h.signOut)
}

// loginForm is bound to nothing but the browser: nobody is signed in yet.
var loginForm = page.Form{Name: "login"}

// logoutForm is bound to the session that it ends.
func logoutForm(s session.Session) page.Form { return page.Form{Name: "logout", Bind: s.ID} }

// form is what login.html shows.
type form struct {
	Action, Token, ReturnTo, Username string
	Onward                            string // where it goes on to, in words
	Problem, Code, RequestID          string
	Limits                            string
}

// show draws the form, or goes on at once for somebody who is signed in.
func (h *Handler) show(w http.ResponseWriter, r *http.Request) {
	returnTo := h.returnTo(r.URL.Query().Get("rd"))
	_, _, err := h.cfg.Sessions.FromRequest(r)
	switch {
	case err == nil:
		h.cfg.Site.Redirect(w, r, returnTo)
	case errors.Is(err, fault.Unauthenticated), errors.Is(err, fault.Denied): // a disabled person may be another person
		h.draw(w, r, returnTo, "", nil)
	default:
		h.cfg.Site.Refuse(w, r, h.cfg.Site.Explain(r, err))
	}
}

// signIn checks the password, makes the session, and goes on. 303, so that no reload sends the password again.
func (h *Handler) signIn(w http.ResponseWriter, r *http.Request) {
	if err := h.cfg.Site.Read(w, r, loginForm); err != nil {
		h.draw(w, r, h.returnTo(r.PostForm.Get("rd")), r.PostForm.Get("username"), err)
		return
	}
	returnTo, username := h.returnTo(r.PostForm.Get("rd")), strings.TrimSpace(r.PostForm.Get("username"))
	ctx := r.Context()
	u, err := h.cfg.People.Authenticate(ctx, username, secret.New(r.PostForm.Get("password")), h.cfg.ClientIP(r))
	if err != nil {
		h.draw(w, r, returnTo, username, err)
		return
	}
	cookie, err := h.cfg.Sessions.SignIn(ctx, r, u, "password")
	if err != nil {
		h.draw(w, r, returnTo, username, err)
		return
	}
	http.SetCookie(w, cookie)
	h.cfg.Site.Redirect(w, r, returnTo)
}

// draw draws the form, with what went wrong, if something did.
func (h *Handler) draw(w http.ResponseWriter, r *http.Request, returnTo, username string, err error) {
	idle, absolute := h.cfg.Sessions.Lives()
	f := form{
		Action: h.cfg.Site.URL("/login"), Token: h.cfg.Site.Token(w, r, loginForm), ReturnTo: returnTo, Username: clip(username),
		Onward: onward(returnTo, h.cfg.Site.URL("")),
		Limits: fmt.Sprintf("You stay signed in for up to %s, or until %s pass without a visit.", days(absolute), days(idle)),
	}
	v := page.View{Title: "Sign in"}
	if err != nil {
		refused := h.cfg.Site.Explain(r, err)
		refused.SetRetryAfter(w)
		f.Problem, f.Code, f.RequestID = refused.Detail, refused.Code, httpserver.RequestID(r.Context())
		if f.Problem == "" {
			f.Problem = refused.Title + "."
		}
		v.Status = refused.Status
	}
	v.Data = f
	h.login.Write(w, r, v)
}

// confirm asks before it signs out: a GET changes nothing.
func (h *Handler) confirm(w http.ResponseWriter, r *http.Request) {
	s, u, err := h.cfg.Sessions.FromRequest(r)
	switch {
	case errors.Is(err, fault.Unauthenticated), errors.Is(err, fault.Denied):
		h.cfg.Site.Redirect(w, r, h.cfg.Site.URL("/login"))
	case err != nil:
		h.cfg.Site.Refuse(w, r, h.cfg.Site.Explain(r, err))
	default:
		h.logout.Write(w, r, page.View{Title: "Sign out", Data: map[string]string{
			"Username": u.Username, "Action": h.cfg.Site.URL("/logout"), "Home": h.cfg.Site.URL("/"), "Token": h.cfg.Site.Token(w, r, logoutForm(s)),
		}})
	}
}

// signOut ends the session.
func (h *Handler) signOut(w http.ResponseWriter, r *http.Request) {
	s, _, err := h.cfg.Sessions.FromRequest(r)
	if errors.Is(err, fault.Unauthenticated) || errors.Is(err, fault.Denied) {
		h.cfg.Site.Redirect(w, r, h.cfg.Site.URL("/login")) // there is nothing left to end
		return
	}
	if err == nil {
		err = h.cfg.Site.Read(w, r, logoutForm(s))
	}
	var cookie *http.Cookie
	if err == nil {
		cookie, err = h.cfg.Sessions.SignOut(r.Context(), s, false)
	}
	if err != nil {
		f := h.cfg.Site.Explain(r, err)
		f.Action = page.Link{Href: h.cfg.Site.URL("/logout"), Label: "Try again"}
		h.cfg.Site.Refuse(w, r, f)
		return
	}
	http.SetCookie(w, cookie)
	h.cfg.Site.Redirect(w, r, h.cfg.Site.URL("/login"))
}

// returnTo returns where to go on: the path that was asked for, if it is one of ours.
func (h *Handler) returnTo(rd string) string {
	if to := returnto.Path(rd); to != returnto.Home {
		return to
	}
	return h.cfg.Site.URL("/")
}

// onward says where a path leads, where people would know the place.
func onward(returnTo, base string) string {
	u, err := url.Parse(returnTo)
	if err != nil {
		return ""
	}
	path := strings.TrimPrefix(u.Path, base)
	if app, ok := strings.CutPrefix(path, "/connect/"); ok && app != "" && !strings.Contains(app, "/") {
		return "You will go on to connecting " + app + "."
	}
	switch path {
	case "", "/":
		return ""
	case "/connected-apps":
		return "You will go on to your connected apps."
	}
	return "You will go on to where you were."
}

func days(d time.Duration) string {
	switch n := int(d / (24 * time.Hour)); {
	case d < 2*time.Hour:
		return fmt.Sprintf("%d minutes", int(d/time.Minute))
	case n < 2:
		return fmt.Sprintf("%d hours", int(d/time.Hour))
	default:
		return fmt.Sprintf("%d days", n)
	}
}

// clip bounds what is repeated in the form.
func clip(s string) string {
	if len(s) > 254 {
		return ""
	}
	return s
}
