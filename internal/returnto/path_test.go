package returnto

import (
	"net/url"
	"strings"
	"testing"
)

func TestPath(t *testing.T) {
	for _, stays := range []string{
		"/", "/connected-apps", "/query?q=%7B%22a%22%3A1%7D&rd=//x", "/a/b#c", "/deep?u=https://other.example/", "/%E2%9C%93",
	} {
		if got := Path(stays); got != stays {
			t.Errorf("Path(%q) = %q, want it unchanged", stays, got)
		}
	}
	for _, evil := range hostile {
		if got := Path(evil); got != Home {
			t.Errorf("Path(%q) = %q, want %q", evil, got, Home)
		}
	}
}

// hostile are the vectors of sso.md §4.3 and some more.
var hostile = []string{
	"", "https://evil.example/", "//evil.example/", `/\evil.example`, `\/evil.example`, `\\evil.example`, "http:evil.example", "http:/evil.example",
	"http://APP@evil.example/", "http://evil.example#@APP/", "http://APP.evil.example/", "http://evilBASE/",
	"javascript:alert(1)", "data:text/html,x", `http://APP\@evil.example/`, "http://APP%00.evil.example/",
	"http://APP%2f@evil.example/", "\thttp://evil.example/", " //evil.example", "////evil.example", "http:///evil.example",
	"http://APP:80@evil.example/", "ftp://APP/", "/\r\nSet-Cookie: a=b", "/a\nb", "/\t/evil.example", "/a b", "/\x00", "/\x7f",
	"/" + strings.Repeat("a", 5000), "login", "?rd=x", "#x", "/.//evil.example", "/a/..//evil.example", "/%5cevil.example/%00",
	"/%2f/evil.example", "/%zz",
}

func FuzzPath(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	base, err := url.Parse("https://behalf.example/login")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got := Path(raw)
		// What a browser does first: drop tabs and newlines, take \ for /.
		seen := strings.NewReplacer("\t", "", "\n", "", "\r", "", `\`, "/").Replace(strings.TrimSpace(got))
		if !strings.HasPrefix(seen, "/") || strings.HasPrefix(seen, "//") {
			t.Fatalf("Path(%q) = %q leaves the server", raw, got)
		}
		to, err := base.Parse(seen)
		if err != nil || to.Host != base.Host || to.Scheme != base.Scheme {
			t.Fatalf("Path(%q) = %q goes to %v, %v", raw, got, to, err)
		}
		if Path(got) != got {
			t.Fatalf("Path(%q) = %q, and again %q", raw, got, Path(got))
		}
	})
}
