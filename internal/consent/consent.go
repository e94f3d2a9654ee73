// Package consent is the front door where a person connects an OAuth app: the page that says who will connect what
// (/connect/<app>), and the redirect URI that the provider sends them back to (/oauth/callback/<app>).
//
//	GET /connect/<app> ──▶ POST ──303──▶ the provider ──▶ GET /oauth/callback/<app> ──303──▶ GET /connect/<app>/done
//
// What is checked, and in which order, is connectedapps.Flow's; this package reads requests, draws pages and keeps the
// URL of the callback, which holds a code, from staying anywhere. A GET of the first page changes nothing.
package consent

import (
	"context"
	"embed"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/page"
	"github.com/behalf-project/behalf/internal/returnto"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/internal/session"
	"github.com/behalf-project/behalf/internal/users"
	"github.com/behalf-project/behalf/oauthapps"
)

//go:embed connect.html connected.html
var files embed.FS

// Flow leads through an authorization. connectedapps.Flow is one.
type Flow interface {
	Start(ctx context.Context, principal securitycontext.Principal, slug, returnTo string) (connectedapps.Authorization, error)
	Get(ctx context.Context, principal securitycontext.Principal, id string) (connectedapps.Authorization, error)
	Authorize(ctx context.Context, id string, principal securitycontext.Principal, browser string, wishes ...connectedapps.Wish) (string, error)
	Finish(ctx context.Context, r connectedapps.Response) (connectedapps.Outcome, error)
}

// Apps knows the OAuth apps. oauthapps.Registry is one.
type Apps interface {
	Get(ctx context.Context, idOrSlug string) (oauthapps.App, error)
	RedirectURI(slug string) string
}

// Grants knows what has been connected. connectedapps.Tokens is one.
type Grants interface {
	Get(ctx context.Context, principal securitycontext.Principal, slug string) (connectedapps.ConnectedApp, error)
}

// Sessions knows who a browser is signed in as, and which browser session it is. session.Service is one.
type Sessions interface {
	FromRequest(r *http.Request) (session.Session, users.User, error)
	Browser(r *http.Request) string
}

// Config is what a Handler needs. Everything is required.
type Config struct {
	Site     *page.Site
	Flow     Flow
	Apps     Apps
	Grants   Grants
	Sessions Sessions
}

// Handler serves the pages.
type Handler struct {
	cfg                Config
	connect, connected *page.Template
}

// New returns a Handler over cfg. It starts nothing; see Mount.
func New(cfg Config) (*Handler, error) {
	if cfg.Site == nil || cfg.Flow == nil || cfg.Apps == nil || cfg.Grants == nil || cfg.Sessions == nil {
		return nil, errors.New("consent: every field of the Config is required")
	}
	h := &Handler{cfg: cfg}
	var err error
	if h.connect, err = cfg.Site.Parse(files, "connect.html"); err != nil {
		return nil, err
	}
	if h.connected, err = cfg.Site.Parse(files, "connected.html"); err != nil {
		return nil, err
	}
	return h, nil
}

// Mount adds the routes to mux.
func (h *Handler) Mount(mux *http.ServeMux) {
	mux.HandleFunc("GET /connect/{app}", h.show)
	mux.HandleFunc("POST /connect/{app}", h.authorize)
	mux.HandleFunc("GET /connect/{app}/done", h.done)
	mux.HandleFunc("GET /oauth/callback/{app}", h.callback)
}

// form is the form of the connect page. It is bound to the browser session that it was drawn in.
func (h *Handler) form(r *http.Request) page.Form {
	return page.Form{Name: "connect", Bind: h.cfg.Sessions.Browser(r)}
}

// view is what connect.html shows.
type view struct {
	Name, Provider, Username, DataSources string
	Scopes                                []oauthapps.Scope
	Action, Token, Session, ReturnTo      string
	Back, RedirectURI                     string
	Another                               bool // the person wants to choose who they are there
}

// show says who will connect what, and to whom they go on.
func (h *Handler) show(w http.ResponseWriter, r *http.Request) {
	_, u, err := h.cfg.Sessions.FromRequest(r)
	if errors.Is(err, fault.Unauthenticated) {
		h.signIn(w, r, h.cfg.Site.URL(r.URL.RequestURI()))
		return
	}
	var app oauthapps.App
	if err == nil {
		app, err = h.app(r)
	}
	q := r.URL.Query()
	returnTo := returnto.Path(q.Get("return_to"))
	if id := q.Get("session"); err == nil && id != "" {
		var a connectedapps.Authorization
		if a, err = h.cfg.Flow.Get(r.Context(), u.Principal(), id); err == nil {
			err = h.usable(a, app)
			returnTo = a.ReturnTo
		} else if errors.Is(err, fault.NotFound) {
			err = h.notYours(u)
		}
	}
	if err != nil {
		h.refuse(w, r, app, err)
		return
	}
	v := view{
		Name: app.Name, Provider: host(app.AuthURL), Username: u.Username, DataSources: strings.Join(app.DataSources, ", "),
		Scopes: inWords(app), Action: h.cfg.Site.URL("/connect/" + app.Slug), Token: h.cfg.Site.Token(w, r, h.form(r)),
		Session: q.Get("session"), ReturnTo: returnTo, Back: h.back(returnTo), RedirectURI: h.cfg.Apps.RedirectURI(app.Slug),
		Another: q.Get("account") == "another",
	}
	if v.Provider == "" {
		v.Provider = app.Name
	}
	h.connect.Write(w, r, page.View{Title: "Connect " + app.Name, Onward: true, Script: true, Data: v})
}

// usable refuses an authorization that cannot be begun any more, and one of another app.
func (h *Handler) usable(a connectedapps.Authorization, app oauthapps.App) error {
	if a.AppID != app.ID || !a.TakenAt.IsZero() || !a.DoneAt.IsZero() {
		return &fault.Error{Kind: fault.Gone, Code: "flow_expired", Owner: fault.User,
			Detail: "This link has been used, or is not one for " + app.Name + ". Start again."}
	}
	return nil
}

// notYours refuses somebody who opened the link of somebody else, or one that is long gone.
func (h *Handler) notYours(u users.User) error {
	return &fault.Error{Kind: fault.Gone, Code: "flow_expired", Owner: fault.User,
		Detail: "This link is older than 10 minutes, or was made for somebody else: you are signed in as " + u.Username + ". Start again."}
}

// authorize begins the authorization in this browser, and sends it to the provider.
func (h *Handler) authorize(w http.ResponseWriter, r *http.Request) {
	_, u, err := h.cfg.Sessions.FromRequest(r)
	if errors.Is(err, fault.Unauthenticated) {
		h.signIn(w, r, h.cfg.Site.URL("/connect/"+url.PathEscape(r.PathValue("app"))))
		return
	}
	var app oauthapps.App
	if err == nil {
		app, err = h.app(r)
	}
	if err == nil {
		err = h.cfg.Site.Read(w, r, h.form(r))
	}
	if err != nil {
		h.refuse(w, r, app, err)
		return
	}
	id := r.PostForm.Get("session")
	if id == "" { // the page was opened by its address: nothing has been prepared
		a, err := h.cfg.Flow.Start(r.Context(), u.Principal(), app.Slug, r.PostForm.Get("return_to"))
		if err != nil {
			h.refuse(w, r, app, err)
			return
		}
		id = a.ID
	} else if a, err := h.cfg.Flow.Get(r.Context(), u.Principal(), id); err != nil || a.AppID != app.ID {
		if err == nil || errors.Is(err, fault.NotFound) {
			err = h.notYours(u)
		}
		h.refuse(w, r, app, err)
		return
	}
	var wishes []connectedapps.Wish
	if r.PostForm.Get("account") == "another" {
		wishes = append(wishes, connectedapps.AnotherAccount)
	}
	to, err := h.cfg.Flow.Authorize(r.Context(), id, u.Principal(), h.cfg.Sessions.Browser(r), wishes...)
	if err != nil {
		h.refuse(w, r, app, err)
		return
	}
	h.cfg.Site.Redirect(w, r, to)
}

// callback receives the authorization response, granted or refused (RFC 6749 §4.1.2, RFC 9207). Success leaves the
// URL with the code at once; a refusal is drawn here, and its script cleans the address.
func (h *Handler) callback(w http.ResponseWriter, r *http.Request) {
	response := connectedapps.Response{App: r.PathValue("app"), Browser: h.cfg.Sessions.Browser(r)}
	var err error
	q := r.URL.Query()
	for name, to := range map[string]*string{
		"state": &response.State, "error": &response.Error, "error_description": &response.ErrorDescription, "iss": &response.Issuer,
	} {
		if *to, err = once(q, name); err != nil {
			h.refuse(w, r, oauthapps.App{}, err)
			return
		}
	}
	code, err := once(q, "code")
	if err != nil {
		h.refuse(w, r, oauthapps.App{}, err)
		return
	}
	response.Code = secret.New(code)

	// Who is not signed in is nobody: Finish takes the state all the same, so that it is of no use to anybody else.
	_, u, err := h.cfg.Sessions.FromRequest(r)
	switch {
	case err == nil:
		response.Principal = u.Principal()
	case !errors.Is(err, fault.Unauthenticated) && !errors.Is(err, fault.Denied):
		h.refuse(w, r, oauthapps.App{}, err) // nothing can be decided, and nothing is used up
		return
	}
	out, err := h.cfg.Flow.Finish(r.Context(), response)
	if err != nil {
		h.refuse(w, r, out.App, err)
		return
	}
	h.cfg.Site.Redirect(w, r, h.cfg.Site.URL("/connect/"+out.App.Slug+"/done")+"?return_to="+url.QueryEscape(out.ReturnTo))
}

// once returns a parameter of an authorization response, which must not be repeated (RFC 6749 §3.1).
func once(q url.Values, name string) (string, error) {
	switch values := q[name]; {
	case len(values) == 0:
		return "", nil
	case len(values) == 1 && len(values[0]) <= 8192:
		return values[0], nil
	}
	return "", &fault.Error{Kind: fault.Invalid, Code: "response_malformed", Owner: fault.Provider,
		Detail: "The answer of the provider was not accepted: it holds " + name + " more than once, or far too long. Nothing was stored."}
}

// done says that an app is connected, as far as it is: the page can be loaded again, and by its address alone.
func (h *Handler) done(w http.ResponseWriter, r *http.Request) {
	_, u, err := h.cfg.Sessions.FromRequest(r)
	if errors.Is(err, fault.Unauthenticated) {
		h.signIn(w, r, h.cfg.Site.URL(r.URL.RequestURI()))
		return
	}
	var app oauthapps.App
	if err == nil {
		app, err = h.app(r)
	}
	var c connectedapps.ConnectedApp
	if err == nil {
		c, err = h.cfg.Grants.Get(r.Context(), u.Principal(), app.Slug)
	}
	if err != nil {
		h.refuse(w, r, app, err)
		return
	}
	switch c.Status {
	case connectedapps.NotConnected, connectedapps.Expired, connectedapps.Revoked, connectedapps.Disabled:
		h.cfg.Site.Redirect(w, r, h.cfg.Site.URL("/connect/"+app.Slug))
		return
	}
	returnTo := returnto.Path(r.URL.Query().Get("return_to"))
	data := map[string]string{"App": app.Slug, "Name": app.Name, "Account": c.Account, "ReturnTo": h.back(returnTo), "Next": "", "Mismatch": "", "Another": ""}
	if c.Mismatch != nil {
		data["Mismatch"], data["Another"] = c.Mismatch.Detail, c.Mismatch.Actions[0].Href
	}
	if returnTo != returnto.Home && c.Mismatch == nil { // somebody waits to go on there; who is somebody else reads that first
		data["Next"] = returnTo
	}
	h.connected.Write(w, r, page.View{Title: app.Name + " is connected", Script: true, Data: data})
}

// app returns the app that the path names, if it can be connected now.
func (h *Handler) app(r *http.Request) (oauthapps.App, error) {
	app, err := h.cfg.Apps.Get(r.Context(), r.PathValue("app"))
	switch {
	case err != nil:
		return oauthapps.App{}, err
	case app.Slug != r.PathValue("app"):
		return oauthapps.App{}, fault.New(fault.NotFound, "There is no OAuth app with this name.") // it was named by its id
	case app.Paused:
		detail := "An admin paused " + app.Name + "."
		if app.PausedNote != "" {
			detail = "An admin paused " + app.Name + ": " + app.PausedNote
		}
		return app, &fault.Error{Kind: fault.AppDisabled, Owner: fault.Admin, Detail: detail}
	}
	return app, nil
}

// signIn sends somebody who is not signed in to do so, and back.
func (h *Handler) signIn(w http.ResponseWriter, r *http.Request, back string) {
	h.cfg.Site.Redirect(w, r, h.cfg.Site.URL("/login")+"?rd="+url.QueryEscape(back))
}

// back is where a person goes who does not go on.
func (h *Handler) back(returnTo string) string {
	if returnTo == returnto.Home {
		return h.cfg.Site.URL("/connected-apps")
	}
	return returnTo
}

// refuse draws what went wrong with app, the zero App where it is not known, and one thing to do about it.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, app oauthapps.App, err error) {
	f := h.cfg.Site.Explain(r, err)
	f.Title = title(f.Code, app.Name, f.Title)
	switch {
	case f.Action.Href != "":
	case f.Code == "flow_expired":
		f.Action = page.Link{Href: h.cfg.Site.URL("/connect/" + url.PathEscape(r.PathValue("app"))), Label: "Start again"}
	case app.Slug != "" && f.Code != string(fault.AppDisabled) && f.Code != oauthapps.CodeInvalidClient:
		f.Action = page.Link{Href: h.cfg.Site.URL("/connect/" + app.Slug), Label: "Start again"}
	default:
		f.Action = page.Link{Href: h.cfg.Site.URL("/connected-apps"), Label: "Connected apps"}
	}
	// What these codes have in common is a registration at the provider that differs from ours. Its own page would
	// tell more, but never to us.
	e, _ := errors.AsType[*fault.Error](err)
	if app.Slug != "" && (f.Code == "code_refused" || f.Code == "provider_refused" && e.Params["provider_error"] != "invalid_scope") {
		f.Register = h.cfg.Apps.RedirectURI(app.Slug)
	}
	f.CleanURL = h.cfg.Site.URL("/connect/" + url.PathEscape(r.PathValue("app")))
	h.cfg.Site.Refuse(w, r, f)
}

// title says what happened, by the codes of connectedapps.Flow.
func title(code, app, otherwise string) string {
	if app == "" {
		app = "the provider"
	}
	switch code {
	case "consent_denied":
		return "You cancelled at " + app
	case "flow_expired":
		return "This link has ended"
	case "identity_mismatch", "identity_unknown":
		return "Not your account at " + app
	case "response_mismatch", "response_malformed":
		return "The answer of " + app + " was not accepted"
	case "provider_refused", "code_refused":
		return "Connecting did not work"
	case "form_expired":
		return "This page was open for too long"
	case oauthapps.CodeInvalidClient:
		return strings.ToUpper(app[:1]) + app[1:] + " rejects this app"
	}
	return otherwise
}

// inWords returns the scopes of an app with their meaning, where its preset or another one knows it: openid means the
// same everywhere, and an app of a generic preset may well ask for sql.
func inWords(app oauthapps.App) []oauthapps.Scope {
	known := map[string]string{"session:role-any": "Use any of your roles"}
	for _, p := range oauthapps.Presets() {
		for _, s := range p.Scopes {
			if known[s.Name] == "" || p.Name == app.Preset {
				known[s.Name] = s.Title
			}
		}
	}
	scopes := make([]oauthapps.Scope, 0, len(app.Scopes))
	for _, name := range app.Scopes {
		title := known[name]
		if role, ok := strings.CutPrefix(name, "session:role:"); ok && title == "" {
			title = "Use the role " + role
		}
		scopes = append(scopes, oauthapps.Scope{Name: name, Title: title})
	}
	return scopes
}

// host is what people recognise of a provider's URL.
func host(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Host
}
