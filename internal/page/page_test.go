package page

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/behalf-project/behalf/internal/fault"
)

func newSite(t *testing.T, publicURL string) *Site {
	t.Helper()
	s, err := New(Config{PublicURL: publicURL})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEveryKindHasAnAnswer(t *testing.T) {
	s := newSite(t, "https://behalf.example.com")
	for _, k := range fault.Kinds() {
		if _, ok := answers[k]; !ok {
			t.Errorf("%s has no answer", k)
		}
		f := s.Explain(httptest.NewRequest(http.MethodGet, "/", nil), fault.Wrap(k, errors.New("canary"), "What happened."))
		if f.Status < 400 || f.Title == "" || f.Code != string(k) || f.Detail != "What happened." {
			t.Errorf("%s is answered %+v", k, f)
		}
	}
	if len(answers) != len(fault.Kinds()) {
		t.Errorf("%d answers for %d kinds", len(answers), len(fault.Kinds()))
	}
	rec := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	s.Refuse(rec, r, s.Explain(r, errors.New("canary")))
	if rec.Code != http.StatusInternalServerError || strings.Contains(rec.Body.String(), "canary") {
		t.Errorf("an error without a kind is answered %d: %s", rec.Code, rec.Body)
	}
}

func TestWhatOthersWriteIsText(t *testing.T) {
	s := newSite(t, "https://behalf.example.com")
	rec := httptest.NewRecorder()
	s.Refuse(rec, httptest.NewRequest(http.MethodGet, "/", nil), Refusal{
		Status: 403, Title: "<b>t</b>", Detail: "<b>d</b>", Provider: `"><script>alert(1)</script>`, Register: "<b>", Code: "<b>", CleanURL: `/"><b>`,
		Action: Link{Href: "javascript:alert(1)", Label: "<b>"},
	})
	body := rec.Body.String()
	for _, bad := range []string{"<b>", "<script>alert", `href="javascript`} {
		if strings.Contains(body, bad) {
			t.Errorf("the page holds %q: %s", bad, body)
		}
	}
}

func TestFilesOfPages(t *testing.T) {
	s := newSite(t, "https://example.com/behalf/")
	mux := http.NewServeMux()
	s.Mount(mux)
	for name, kind := range kinds {
		u := s.assets[name]
		if !strings.HasPrefix(u, "/behalf/pages/"+name+"?v=") {
			t.Errorf("the URL of %s is %q, want it below the path of the public URL", name, u)
		}
		rec := httptest.NewRecorder()
		mux.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, strings.TrimPrefix(u, "/behalf"), nil))
		if rec.Code != http.StatusOK || rec.Header().Get("Content-Type") != kind || !strings.Contains(rec.Header().Get("Cache-Control"), "immutable") {
			t.Errorf("GET %s = %d, %v", u, rec.Code, rec.Header())
		}
	}
	for _, path := range []string{"/pages/layout.html", "/pages/nothing", "/pages/..%2fpage.go"} {
		rec := httptest.NewRecorder()
		mux.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
		if rec.Code != http.StatusNotFound {
			t.Errorf("GET %s = %d, want 404", path, rec.Code)
		}
	}
}

func TestAFormBelongsToItsBrowserItsNameAndWhatItIsBoundTo(t *testing.T) {
	for _, tt := range []struct{ url, cookie string }{
		{"https://behalf.example.com", "__Host-behalf_form"}, {"http://localhost:4000", "behalf_form"},
	} {
		s := newSite(t, tt.url)
		rec := httptest.NewRecorder()
		f := Form{Name: "connect", Bind: "session"}
		token := s.Token(rec, httptest.NewRequest(http.MethodGet, "/", nil), f)
		set := rec.Result().Cookies()
		if len(set) != 1 || set[0].Name != tt.cookie || !set[0].HttpOnly || set[0].Secure != strings.HasPrefix(tt.url, "https") || strings.Contains(token, set[0].Value) {
			t.Fatalf("cookies = %v, want one %s that is not the token", set, tt.cookie)
		}
		read := func(f Form, token string, cookies ...*http.Cookie) error {
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(url.Values{"form_token": {token}}.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			for _, c := range cookies {
				r.AddCookie(c)
			}
			return s.Read(httptest.NewRecorder(), r, f)
		}
		other := &http.Cookie{Name: tt.cookie, Value: strings.Repeat("0", 52)}
		if err := read(f, token, set[0]); err != nil {
			t.Errorf("the form itself: %v", err)
		}
		for name, err := range map[string]error{
			"another browser":  read(f, token, other),
			"no cookie":        read(f, token),
			"two cookies":      read(f, token, set[0], other),
			"another form":     read(Form{Name: "logout", Bind: "session"}, token, set[0]),
			"another session":  read(Form{Name: "connect", Bind: "another"}, token, set[0]),
			"parts that shift": read(Form{Name: "connectsession"}, token, set[0]),
			"no token":         read(f, "", set[0]),
			"an empty cookie":  read(f, f.token(""), &http.Cookie{Name: tt.cookie}),
		} {
			if e, ok := errors.AsType[*fault.Error](err); !ok || e.Code != "form_expired" {
				t.Errorf("%s: %v, want form_expired", name, err)
			}
		}
		// A second page shares the cookie, so that two tabs work.
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.AddCookie(set[0])
		rec = httptest.NewRecorder()
		if again := s.Token(rec, r, f); again != token || len(rec.Result().Cookies()) != 0 {
			t.Errorf("the second page has another token, or set a cookie")
		}
	}
}
