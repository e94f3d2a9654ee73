package webui_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/behalf-project/behalf/internal/webui"
)

const index = `<!doctype html><html><head><base href="/" /><meta name="style-nonce" /></head></html>`

func build() fstest.MapFS {
	return fstest.MapFS{
		".keep":                  {},
		"index.html":             {Data: []byte(index)},
		"theme.js":               {Data: []byte("theme")},
		"assets/index-abc123.js": {Data: []byte(strings.Repeat("console.log(1);\n", 500))},
	}
}

// serve returns the answer to one request, with a front door beside the application on the same mux.
func serve(t *testing.T, cfg webui.Config, method, target string, header ...string) *http.Response {
	t.Helper()
	h, err := webui.New(cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/auth/login", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("api")) })
	mux.HandleFunc("/query/{domain}/v1/", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("cube")) })
	h.Mount(mux)
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, res *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPaths(t *testing.T) {
	const page = "<base href="
	for _, tt := range []struct {
		name, method, path, accept string
		status                     int
		want                       string
	}{
		{"the root is the page", "GET", "/", "text/html", 200, page},
		{"a screen is the page", "GET", "/query?query=%7B%7D", "text/html", 200, page},
		{"a screen below admin is the page", "GET", "/admin/oauth-apps/databricks", "text/html", 200, page},
		{"a screen is the page for HEAD too", "HEAD", "/connected-apps", "text/html", 200, page},
		{"a file is itself", "GET", "/theme.js", "*/*", 200, "theme"},
		{"an unknown path is the page with 404 for a browser", "GET", "/nowhere", "text/html", 404, page},
		{"an unknown path is no page for a program", "GET", "/nowhere", "application/json", 404, "Nothing is served"},
		{"an old asset is not the page", "GET", "/assets/index-old.js", "text/html", 404, "Nothing is served"},
		{"the page of the build has no path of its own", "GET", "/index.html", "application/json", 404, "Nothing is served"},
		{"a dot-file is not served", "GET", "/.keep", "*/*", 404, "Nothing is served"},
		{"the API is not swallowed", "POST", "/api/v1/auth/login", "text/html", 200, "api"},
		{"an unknown path of the API is no page", "GET", "/api/v1/nowhere", "text/html", 404, "Nothing is served"},
		{"a Cube path is not swallowed", "GET", "/query/research/v1/load", "text/html", 200, "cube"},
		{"an unknown Cube path is no page", "GET", "/cubejs-api/v1/nowhere", "text/html", 404, "Nothing is served"},
		{"sign-in is not ours", "GET", "/login", "text/html", 404, "Nothing is served"},
		{"the callback is not ours", "GET", "/oauth/callback/databricks", "text/html", 404, "Nothing is served"},
		{"connect is not ours", "GET", "/connect/databricks", "text/html", 404, "Nothing is served"},
		{"a Cube token is not ours", "GET", "/auth/cubejs-token", "text/html", 404, "Nothing is served"},
		{"the page cannot be posted to", "POST", "/query", "text/html", 405, "only be read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res := serve(t, webui.Config{Files: build()}, tt.method, tt.path, "Accept", tt.accept)
			if res.StatusCode != tt.status {
				t.Errorf("status = %d, want %d", res.StatusCode, tt.status)
			}
			if got := body(t, res); !strings.Contains(got, tt.want) {
				t.Errorf("body = %.80q, want it to contain %q", got, tt.want)
			}
			if got := res.Header.Get("X-Content-Type-Options"); tt.want != "api" && tt.want != "cube" && got != "nosniff" {
				t.Errorf("X-Content-Type-Options = %q, want nosniff", got)
			}
		})
	}
}

func TestThePageHasANonceOfItsOwnAndIsNeverStored(t *testing.T) {
	nonce := regexp.MustCompile(`nonce="([^"]+)"`)
	seen := map[string]bool{}
	for range 2 {
		res := serve(t, webui.Config{Files: build()}, "GET", "/")
		m := nonce.FindStringSubmatch(body(t, res))
		if m == nil {
			t.Fatal("the page has no nonce")
		}
		csp := res.Header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "'nonce-"+m[1]+"'") {
			t.Errorf("policy = %q, want the nonce of the page, %q", csp, m[1])
		}
		for _, want := range []string{"default-src 'self'", "frame-ancestors 'none'", "object-src 'none'", "base-uri 'self'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("policy = %q, want %s in it", csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") {
			t.Errorf("policy = %q, want nothing unsafe", csp)
		}
		if got := res.Header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("Cache-Control = %q, want no-store", got)
		}
		if got := res.Header.Get("ETag"); got != "" {
			t.Errorf("ETag = %q, want none: 304 would pair an old nonce with a new policy", got)
		}
		if seen[m[1]] {
			t.Error("two answers have the same nonce")
		}
		seen[m[1]] = true
	}
}

func TestFilesAreKeptAndAskedForAgain(t *testing.T) {
	cfg := webui.Config{Files: build()}
	const asset = "/assets/index-abc123.js"

	res := serve(t, cfg, "GET", asset)
	if got := res.Header.Get("Cache-Control"); got != "public, max-age=31536000, immutable" {
		t.Errorf("Cache-Control of a hashed file = %q, want immutable", got)
	}
	if got := res.Header.Get("Content-Type"); got != "text/javascript; charset=utf-8" {
		t.Errorf("Content-Type = %q, want text/javascript", got)
	}
	plain, etag := body(t, res), res.Header.Get("ETag")

	res = serve(t, cfg, "GET", asset, "If-None-Match", etag)
	if res.StatusCode != http.StatusNotModified || body(t, res) != "" {
		t.Errorf("with its ETag: status = %d, want 304 and no body", res.StatusCode)
	}

	res = serve(t, cfg, "GET", asset, "Accept-Encoding", "br, gzip")
	if got := res.Header.Get("Content-Encoding"); got != "gzip" {
		t.Fatalf("Content-Encoding = %q, want gzip", got)
	}
	if res.Header.Get("ETag") == etag {
		t.Error("the compressed bytes have the ETag of the plain ones")
	}
	z, err := gzip.NewReader(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(z); string(b) != plain {
		t.Error("the compressed file is another one")
	}

	if res = serve(t, cfg, "GET", asset, "Accept-Encoding", "gzip;q=0"); res.Header.Get("Content-Encoding") != "" {
		t.Error("gzip;q=0 was answered with gzip")
	}
	if res = serve(t, cfg, "GET", "/theme.js"); res.Header.Get("Cache-Control") != "no-cache" {
		t.Errorf("Cache-Control of a file without a hash = %q, want no-cache", res.Header.Get("Cache-Control"))
	}
}

func TestBasePath(t *testing.T) {
	for _, tt := range []struct{ name, base, want string }{
		{"none is the root", "", `<base href="/" />`},
		{"a folder gets its slash", "/behalf", `<base href="/behalf/" />`},
		{"a folder keeps its slash", "/a/b/", `<base href="/a/b/" />`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := body(t, serve(t, webui.Config{Files: build(), BasePath: tt.base}, "GET", "/")); !strings.Contains(got, tt.want) {
				t.Errorf("page = %q, want %s in it", got, tt.want)
			}
		})
	}
	for _, base := range []string{"behalf", "//evil.example", "https://evil.example/", "/a?b", "/a#b"} {
		if _, err := webui.New(webui.Config{Files: build(), BasePath: base}); err == nil {
			t.Errorf("New with base path %q succeeded, want an error", base)
		}
	}
}

func TestWithoutABuildThePageSaysHowToMakeOne(t *testing.T) {
	cfg := webui.Config{Files: fstest.MapFS{".keep": {}}}
	res := serve(t, cfg, "GET", "/query", "Accept", "text/html")
	got := body(t, res)
	if res.StatusCode != http.StatusOK || !strings.Contains(got, "npm run build") {
		t.Errorf("status = %d, page = %.200q, want 200 and how to build", res.StatusCode, got)
	}
	if m := regexp.MustCompile(`<style nonce="([^"]+)"`).FindStringSubmatch(got); m == nil ||
		!strings.Contains(res.Header.Get("Content-Security-Policy"), m[1]) {
		t.Error("the styles of the page are not allowed by its own policy")
	}
	if res := serve(t, cfg, "GET", "/api/v1/nowhere", "Accept", "text/html"); res.StatusCode != http.StatusNotFound {
		t.Errorf("an unknown path of the API = %d, want 404", res.StatusCode)
	}
	h, err := webui.New(cfg)
	if err != nil || h.Built() {
		t.Errorf("Built = %v, %v, want false", h.Built(), err)
	}
}

func TestABuildWithoutItsBlanksIsRefused(t *testing.T) {
	files := build()
	files["index.html"] = &fstest.MapFile{Data: []byte("<!doctype html><html></html>")}
	if _, err := webui.New(webui.Config{Files: files}); err == nil {
		t.Error("New succeeded, want an error that names the blank")
	}
}

// The page in the sources has the blanks that the server fills in, and no script of its own that the policy refuses.
func TestTheSourcePageFitsTheServer(t *testing.T) {
	source, err := os.ReadFile("app/index.html")
	if err != nil {
		t.Fatal(err)
	}
	files := build()
	files["index.html"] = &fstest.MapFile{Data: source}
	if _, err := webui.New(webui.Config{Files: files}); err != nil {
		t.Errorf("New: %v", err)
	}
	if m := regexp.MustCompile(`(?s)<script[^>]*>[^<]+</script>|<style|style="|\son\w+=|https?://`).Find(source); m != nil {
		t.Errorf("app/index.html holds %q, which the policy refuses", m)
	}
}

// Every path of the application's router is one that the server answers with the page.
func TestRoutesAreThoseOfTheRouter(t *testing.T) {
	source, err := os.ReadFile("app/src/router.tsx")
	if err != nil {
		t.Fatal(err)
	}
	paths := regexp.MustCompile(`path: "([^"]+)"`).FindAllStringSubmatch(string(source), -1)
	if len(paths) < 5 {
		t.Fatalf("found %d paths in router.tsx, want at least 5", len(paths))
	}
	for _, m := range paths {
		if res := serve(t, webui.Config{Files: build()}, "GET", strings.ReplaceAll(m[1], "$", "")); res.StatusCode != http.StatusOK {
			t.Errorf("GET %s = %d, want 200: add it to Routes", m[1], res.StatusCode)
		}
	}
}
