// Package webui serves the web application: the screens of people and admins, built from app/ and embedded.
//
// The build is a page, index.html, and files whose names carry a hash of their content. A path of the application
// (Routes) answers the page, which then draws the screen; a file answers itself, for ever. The page is made anew for
// each request, because its style nonce must be: it holds the base path, so that the same build works below any
// path of a public URL, and it is never stored, because a stored page would meet the nonce of another answer.
//
// dist/ is not in the repository. Without a build everything else of the server works, and the paths of the
// application answer one small page that says how to make one.
//
// Nothing here knows who is signed in: the page is the same for everybody, and holds nothing of anybody.
package webui

import (
	"bytes"
	"crypto/rand"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// The dot-file keeps the folder, so that this compiles without a build.
//
//go:embed all:dist
var dist embed.FS

//go:embed missing.html
var missingHTML string

// Config is what a Handler needs. Every field may be left out.
type Config struct {
	// BasePath is the path of the public URL, such as "/behalf" for https://example.com/behalf; default "/". It is
	// what browsers see: requests arrive here without it, stripped by the proxy or by http.StripPrefix.
	BasePath string

	// Files is the build, with index.html at its root; default: the one that is embedded.
	Files fs.FS
}

// Handler serves the application. It is safe for concurrent use.
type Handler struct {
	page  *template.Template
	built bool
	base  string
	files map[string]*file // by path below the base, such as "/assets/index-DiwrgTda.js"
}

// Routes are the paths of the application. A path that ends in a slash stands for everything below it.
// They agree with src/router.tsx, which a test checks.
func Routes() []string {
	return []string{"/", "/query", "/connected-apps", "/tokens", "/pre-aggregations", "/activity", "/activity/", "/admin", "/admin/"}
}

// reserved are the paths of other front doors (design.md §4): what nobody answers there is not a page of ours,
// even for a browser that asks for one.
var reserved = []string{
	"/api/", "/cubejs-api/", "/cubejs-system/", "/connect/", "/oauth/", "/login", "/logout", "/auth/", "/magic/", "/_sso/",
	"/users/", "/domains/", "/proxy/", "/query/", "/mcp", "/livez", "/readyz", "/metrics", "/assets/",
}

// New returns a Handler over cfg. It reads the build once.
func New(cfg Config) (*Handler, error) {
	files := cfg.Files
	if files == nil {
		sub, err := fs.Sub(dist, "dist")
		if err != nil {
			return nil, fmt.Errorf("web application: %w", err)
		}
		files = sub
	}
	base, err := basePath(cfg.BasePath)
	if err != nil {
		return nil, err
	}
	h := &Handler{base: base}
	if h.files, err = load(files); err != nil {
		return nil, fmt.Errorf("web application: %w", err)
	}
	index, built := h.files["/index.html"]
	delete(h.files, "/index.html") // it answers only with its blanks filled in
	source := missingHTML
	if built {
		h.built = true
		if source, err = pageTemplate(index.raw); err != nil {
			return nil, err
		}
	}
	if h.page, err = template.New("page").Parse(source); err != nil {
		return nil, fmt.Errorf("web application: index.html: %w", err)
	}
	return h, nil
}

// Built reports whether there is a build to serve.
func (h *Handler) Built() bool { return h.built }

// Mount puts the application on mux, below everything that is more specific there. The pattern names no method: with
// one it would be neither more nor less specific than a front door's "/query/", and ServeMux refuses such a pair.
func (h *Handler) Mount(mux *http.ServeMux) { mux.Handle("/", h) }

// ServeHTTP answers a file, the page, or that there is nothing here.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "same-origin")

	f, isFile := h.files[r.URL.Path]
	status := http.StatusOK
	switch {
	case isFile:
	case isRoute(r.URL.Path):
	case !isReserved(r.URL.Path) && wantsPage(r):
		status = http.StatusNotFound // the application says so in its own words
	default:
		header.Set("Cache-Control", "no-store")
		http.Error(w, "Nothing is served at this path.", http.StatusNotFound)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "This path can only be read.", http.StatusMethodNotAllowed)
		return
	}
	if isFile {
		f.serve(w, r)
		return
	}
	h.servePage(w, status)
}

// servePage writes the page with a nonce of its own. It has no ETag: a browser that got 304 would keep the old nonce
// in the page and take the new one from the header, and refuse its own styles.
func (h *Handler) servePage(w http.ResponseWriter, status int) {
	nonce := rand.Text()
	var page bytes.Buffer
	if err := h.page.Execute(&page, struct{ Base, Nonce string }{h.base, nonce}); err != nil {
		http.Error(w, "The page could not be made.", http.StatusInternalServerError)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Security-Policy", policy(nonce))
	header.Set("Cross-Origin-Opener-Policy", "same-origin-allow-popups") // the window of Connect is a popup
	w.WriteHeader(status)
	_, _ = w.Write(page.Bytes())
}

// policy allows what this server serves and nothing else. Styles need the nonce because the component library writes
// its own style elements; scripts are files only.
func policy(nonce string) string {
	return "default-src 'self'; style-src 'self' 'nonce-" + nonce + "'; img-src 'self' data:; object-src 'none'; " +
		"base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
}

// The blanks of index.html as the build leaves them.
const (
	baseBlank  = `<base href="/" />`
	nonceBlank = `<meta name="style-nonce" />`
)

// pageTemplate returns the page of the build as a template. A build without our blanks is refused at start: its
// page would load nothing below a base path, or show no styles.
func pageTemplate(index []byte) (string, error) {
	if bytes.Contains(index, []byte("{{")) {
		return "", fmt.Errorf("web application: index.html holds {{, which stands for a blank of ours")
	}
	page := string(index)
	for blank, filled := range map[string]string{
		baseBlank:  `<base href="{{.Base}}" />`,
		nonceBlank: `<meta name="style-nonce" nonce="{{.Nonce}}" />`,
	} {
		if strings.Count(page, blank) != 1 {
			return "", fmt.Errorf("web application: index.html holds %s not exactly once; build it again from app/", blank)
		}
		page = strings.Replace(page, blank, filled, 1)
	}
	return page, nil
}

// basePath returns p as a base: absolute, ending in a slash.
func basePath(p string) (string, error) {
	if p == "" || p == "/" {
		return "/", nil
	}
	u, err := url.Parse(p)
	if err != nil || u.Path != p || !strings.HasPrefix(p, "/") || strings.HasPrefix(p, "//") {
		return "", fmt.Errorf("web application: base path %q must be a path that begins with one slash", p)
	}
	return strings.TrimSuffix(p, "/") + "/", nil
}

func isRoute(path string) bool { return slices.ContainsFunc(Routes(), below(path)) }

func isReserved(path string) bool { return slices.ContainsFunc(reserved, below(path)) }

// below reports of a pattern whether it names path: exactly, or as a folder when it ends in a slash.
func below(path string) func(string) bool {
	return func(pattern string) bool {
		return path == pattern || pattern != "/" && strings.HasSuffix(pattern, "/") && strings.HasPrefix(path, pattern)
	}
}

// wantsPage reports whether a browser asks for something to show.
func wantsPage(r *http.Request) bool { return strings.Contains(r.Header.Get("Accept"), "text/html") }
