// Package page draws the few pages that must work without the web application: signing in, connecting an app, and
// every refusal on the way (design.md §2.19).
//
// They are plain HTML with one style sheet, follow the theme of the system, and need no script; the one script there
// is tells other tabs that an app was connected. Nothing on them comes from anywhere but this server, and the content
// security policy says so. A form carries a token that only the browser it was drawn for can have (Form).
package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/httpserver"
)

//go:embed layout.html page.css connected.js logo.svg
var files embed.FS

// kinds are the files that browsers may fetch.
var kinds = map[string]string{
	"page.css":     "text/css; charset=utf-8",
	"connected.js": "text/javascript; charset=utf-8",
	"logo.svg":     "image/svg+xml",
}

// Config is what a Site needs. PublicURL is required.
type Config struct {
	PublicURL string      // links begin with its path; https makes cookies Secure
	Log       *zap.Logger // default: no logging
}

// Site draws pages. It is safe for concurrent use.
type Site struct {
	cfg     Config
	base    string // path of the public URL, without a slash at the end
	secure  bool
	origins *http.CrossOriginProtection
	assets  map[string]string // name to the URL that holds a hash of its content
	refusal *Template
}

// New returns a Site over cfg. It starts nothing.
func New(cfg Config) (*Site, error) {
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	u, err := url.Parse(cfg.PublicURL)
	if err != nil {
		return nil, fmt.Errorf("public URL: %w", err)
	}
	s := &Site{
		cfg: cfg, base: strings.TrimRight(u.Path, "/"), secure: u.Scheme == "https", origins: http.NewCrossOriginProtection(),
		assets: map[string]string{},
	}
	if err := s.origins.AddTrustedOrigin(u.Scheme + "://" + u.Host); err != nil {
		return nil, fmt.Errorf("public URL: %w", err)
	}
	for name := range kinds {
		content, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(content)
		s.assets[name] = s.base + "/pages/" + name + "?v=" + hex.EncodeToString(sum[:6])
	}
	if s.refusal, err = s.Parse(nil, ""); err != nil {
		return nil, err
	}
	return s, nil
}

// Mount adds the files of the pages to mux.
func (s *Site) Mount(mux *http.ServeMux) { mux.HandleFunc("GET /pages/{name}", s.asset) }

// asset serves a file. Its URL changes with its content, so it may be kept for ever.
func (s *Site) asset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	kind, ok := kinds[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	content, err := files.ReadFile(name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(content) // the client is gone
}

// URL returns path as browsers see it: below the path of the public URL.
func (s *Site) URL(path string) string { return s.base + path }

// Template is one page, or some that belong together.
type Template struct {
	site *Site
	tmpl *template.Template
}

// Parse reads a file that defines "content", and makes it a page. Without a file it is the page of refusals.
func (s *Site) Parse(from fs.FS, name string) (*Template, error) {
	t, err := template.New("layout.html").Option("missingkey=error").ParseFS(files, "layout.html")
	if err == nil && from != nil {
		t, err = t.ParseFS(from, name)
	}
	if err != nil {
		return nil, fmt.Errorf("page %s: %w", name, err)
	}
	return &Template{s, t}, nil
}

// View is one page to be drawn.
type View struct {
	Title  string
	Status int  // default 200
	Script bool // the script that tells other tabs runs on this page
	// Onward says that the page's form leads to another server, by a redirect that its action answers. Browsers
	// apply form-action to such redirects too, so the policy then cannot name one.
	Onward bool
	Data   any
}

// Write draws v.
func (t *Template) Write(w http.ResponseWriter, r *http.Request, v View) {
	s := t.site
	script := ""
	if v.Script {
		script = s.assets["connected.js"]
	}
	var out bytes.Buffer // whole before anything is sent: half a page is no answer
	err := t.tmpl.Execute(&out, map[string]any{
		"Base": s.base, "CSS": s.assets["page.css"], "Logo": s.assets["logo.svg"], "Script": script, "Title": v.Title, "Data": v.Data,
	})
	if err != nil {
		s.cfg.Log.Error("page not drawn", audit.Request(r.Context()), zap.Error(err))
		http.Error(w, "Internal Server Error", http.StatusInternalServerError)
		return
	}
	s.headers(w, v)
	if v.Status != 0 {
		w.WriteHeader(v.Status)
	}
	_, _ = w.Write(out.Bytes()) // the client is gone
}

// headers say what a page may do: show itself, and send its form.
func (s *Site) headers(w http.ResponseWriter, v View) {
	policy := "default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'; base-uri 'none'"
	if !v.Onward {
		policy += "; form-action 'self'"
	}
	if v.Script {
		policy += "; script-src 'self'"
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	s.Private(w)
}

// Private sets the headers that every answer of these pages has, redirects too: it is kept nowhere, and its URL, which
// may hold a code, goes nowhere.
func (s *Site) Private(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
}

// Redirect sends the browser to a URL with 303, which makes a GET of a POST and so repeats no form.
func (s *Site) Redirect(w http.ResponseWriter, r *http.Request, to string) {
	s.Private(w)
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// Refusal is an error block (ux.md §1.0): what happened, why, who can fix it, and one thing to do.
type Refusal struct {
	Status    int
	Title     string // what happened
	Detail    string // why, and what to do
	Who       string // who can fix it
	Action    Link   // the one thing to do; empty when there is none here
	Provider  string // the provider's own words
	Register  string // the redirect URI to register, where that may be the cause
	Code      string
	RequestID string
	CleanURL  string // what the address becomes, where it holds a code; needs the script

	RetryAfter time.Duration
}

// Link is a link with a label.
type Link struct{ Href, Label string }

// owners say who can fix it.
var owners = map[fault.Owner]string{
	fault.User: "You can fix this.", fault.Admin: "Only an admin of this server can fix this.",
	fault.Provider: "This is up to the provider.", fault.Database: "This is up to the owner of the database.",
}

// Refuse draws f and nothing else.
func (s *Site) Refuse(w http.ResponseWriter, r *http.Request, f Refusal) {
	f.RequestID = httpserver.RequestID(r.Context())
	f.SetRetryAfter(w)
	s.refusal.Write(w, r, View{Title: f.Title, Status: f.Status, Script: f.CleanURL != "", Data: f})
}

// SetRetryAfter sets the header of that name, if it is known when to try again.
func (f Refusal) SetRetryAfter(w http.ResponseWriter) {
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(f.RetryAfter.Seconds()))))
	}
}

// answers is the one table from kinds of failure to these pages. A test compares it with fault.Kinds.
var answers = map[fault.Kind]struct {
	status int
	title  string
}{
	fault.Invalid:                 {http.StatusBadRequest, "That request makes no sense"},
	fault.Unauthenticated:         {http.StatusUnauthorized, "You are not signed in"},
	fault.Denied:                  {http.StatusForbidden, "You may not do this"},
	fault.NotFound:                {http.StatusNotFound, "There is nothing here"},
	fault.Conflict:                {http.StatusConflict, "Something changed meanwhile"},
	fault.Gone:                    {http.StatusGone, "This link has ended"},
	fault.TooMany:                 {http.StatusTooManyRequests, "Too many tries"},
	fault.Unavailable:             {http.StatusServiceUnavailable, "Something does not answer"},
	fault.Timeout:                 {http.StatusGatewayTimeout, "That took too long"},
	fault.Canceled:                {499, "The request was cancelled"},
	fault.AuthorizationRequired:   {http.StatusForbidden, "Connect your account first"},
	fault.ReauthorizationRequired: {http.StatusForbidden, "Your access has ended"},
	fault.AppDisabled:             {http.StatusForbidden, "This app is paused"},
	fault.RefreshFailing:          {http.StatusServiceUnavailable, "The provider does not answer"},
}

// Explain makes a Refusal of err. What err wraps is not shown; what has no kind is logged, and answered with a fixed
// text.
func (s *Site) Explain(r *http.Request, err error) Refusal {
	kind := fault.KindOf(err)
	a, known := answers[kind]
	if !known {
		s.cfg.Log.Error("page failed", audit.Request(r.Context()), zap.Error(err))
		return Refusal{Status: http.StatusInternalServerError, Title: "Something went wrong on our side", Code: "internal",
			Detail: "It was not your doing. Try again; if it stays, tell your admin the request id.", Who: owners[fault.Admin]}
	}
	f := Refusal{Status: a.status, Title: a.title, Code: string(kind)}
	if e := asError(err); e != nil {
		f.Detail, f.Code, f.Who, f.RetryAfter = e.Detail, e.CodeOrKind(), owners[e.Owner], e.RetryAfter
		f.Provider = e.Params["provider_error"]
		if text := e.Params["provider_text"]; text != "" {
			f.Provider = text + " (" + f.Provider + ")"
		}
		if len(e.Actions) > 0 {
			f.Action = Link{e.Actions[0].Href, e.Actions[0].Label}
		}
	}
	return f
}
