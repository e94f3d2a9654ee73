package login

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/httpserver"
	"github.com/behalf-project/behalf/internal/page"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/users"
)

// setupLife is how long the link of the first start is good.
const setupLife = 15 * time.Minute

// Founder makes the first admin of a server without people. users.Service is one.
type Founder interface {
	Nobody(ctx context.Context) (bool, error)
	First(ctx context.Context, username string, password secret.Text) (users.User, error)
}

// SetupConfig is what a Setup needs. All but Now are required.
type SetupConfig struct {
	Site     *page.Site
	People   Founder
	Sessions Sessions
	Token    secret.Text      // in the link that only who started the server has seen
	Now      func() time.Time // default: time.Now
}

// Setup is the page of the very first start: who has the link from the console makes the first admin there. There is
// no default password, and the link is dead after a quarter of an hour, or as soon as there is anybody.
type Setup struct {
	cfg  SetupConfig
	page *page.Template
	ends time.Time
}

// NewSetup returns a Setup over cfg, whose link is good from now on.
func NewSetup(cfg SetupConfig) (*Setup, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	t, err := cfg.Site.Parse(files, "setup.html")
	return &Setup{cfg: cfg, page: t, ends: cfg.Now().Add(setupLife)}, err
}

// Path returns the path of the link. It is a secret: print it where only who started the server reads it.
func (s *Setup) Path() secret.Text { return secret.New("/setup/" + s.cfg.Token.Reveal()) }

// Mount adds the routes to mux.
func (s *Setup) Mount(mux *http.ServeMux) {
	mux.HandleFunc("GET /setup/{token}", s.show)
	mux.HandleFunc("POST /setup/{token}", s.found)
}

var setupPage = page.Form{Name: "setup"}

// open refuses every link but the one, and that one when its time is over.
func (s *Setup) open(r *http.Request) error {
	if !secret.New(r.PathValue("token")).Equal(s.cfg.Token) || !s.cfg.Now().Before(s.ends) {
		return fault.New(fault.Gone, "This link is not good, or not any more. Restart the server for a new one.")
	}
	nobody, err := s.cfg.People.Nobody(r.Context())
	if err == nil && !nobody {
		err = fault.New(fault.Gone, "This server has people already. Sign in, or ask an admin.")
	}
	return err
}

func (s *Setup) show(w http.ResponseWriter, r *http.Request) {
	if err := s.open(r); err != nil {
		s.cfg.Site.Refuse(w, r, s.cfg.Site.Explain(r, err))
		return
	}
	s.draw(w, r, "", nil)
}

// found makes the admin and signs them in.
func (s *Setup) found(w http.ResponseWriter, r *http.Request) {
	if err := s.open(r); err != nil {
		s.cfg.Site.Refuse(w, r, s.cfg.Site.Explain(r, err))
		return
	}
	err := s.cfg.Site.Read(w, r, setupPage)
	username := r.PostForm.Get("username")
	var u users.User
	if err == nil {
		u, err = s.cfg.People.First(r.Context(), username, secret.New(r.PostForm.Get("password")))
	}
	if errors.Is(err, fault.Gone) {
		s.cfg.Site.Refuse(w, r, s.cfg.Site.Explain(r, err))
		return
	}
	var cookie *http.Cookie
	if err == nil {
		cookie, err = s.cfg.Sessions.SignIn(r.Context(), r, u, "password")
	}
	if err != nil {
		s.draw(w, r, username, err)
		return
	}
	http.SetCookie(w, cookie)
	s.cfg.Site.Redirect(w, r, s.cfg.Site.URL("/"))
}

func (s *Setup) draw(w http.ResponseWriter, r *http.Request, username string, err error) {
	f := form{Action: s.cfg.Site.URL(r.URL.Path), Token: s.cfg.Site.Token(w, r, setupPage), Username: clip(username)}
	v := page.View{Title: "Set up"}
	if err != nil {
		refused := s.cfg.Site.Explain(r, err)
		f.Problem, f.Code, f.RequestID = refused.Detail, refused.Code, httpserver.RequestID(r.Context())
		v.Status = refused.Status
	}
	v.Data = f
	s.page.Write(w, r, v)
}
