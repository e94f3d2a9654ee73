package httpserver

import (
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/behalf-project/behalf/internal/loopback"
)

// LocalNames lets through to next what was sent to this machine by one of its own names, or by one of names, and
// refuses the rest with 421. It is for what anybody on this machine may read without signing in: a page of another site
// can have its name resolve to 127.0.0.1 and then read what listens there, but the request still says that name (DNS
// rebinding).
func LocalNames(next http.Handler, names ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if !loopback.Host(host) && !slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, host) }) {
			http.Error(w, "This is for this machine only. Open it as localhost.", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}
