// Package returnto decides where a browser may be sent back to: a path of this server, and nothing else.
package returnto

import (
	"net/url"
	"strings"
)

// Home is where a person goes who came from nowhere, or from a place we do not send people to.
const Home = "/"

// maxLength bounds what is kept in a pending authorization and repeated in pages.
const maxLength = 2048

// Path returns raw if it is a path on this server, with its query and fragment, and Home for everything else: other
// origins in all their spellings (sso.md §4.3), control characters, and what is too long.
//
// Browsers treat \ as / and drop tabs and newlines before they parse, so a URL that looks like a path to net/url may
// be another host to them. All of these are refused before anything is parsed.
func Path(raw string) string {
	if len(raw) == 0 || len(raw) > maxLength || raw[0] != '/' || strings.HasPrefix(raw, "//") {
		return Home
	}
	for i := range len(raw) {
		if c := raw[i]; c < 0x21 || c == 0x7f || c == '\\' {
			return Home
		}
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" || !strings.HasPrefix(u.Path, "/") {
		return Home
	}
	// A path such as /.//host is a same-origin path to every browser, but Path is also the input of other joins and
	// cleanings: what becomes //host or holds an encoded backslash or NUL when cleaned is not worth keeping.
	if strings.Contains(u.Path, "//") || strings.ContainsAny(u.Path, "\\\x00") {
		return Home
	}
	return raw
}
