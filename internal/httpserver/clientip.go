package httpserver

import (
	"net/http"
	"net/netip"
	"strings"
)

// ClientIP returns a function that says which address a request comes from: the peer's, or, when the peer is one of
// trusted, the last address of X-Forwarded-For that is not. With nobody trusted the header is never read, since
// anybody may write it. trusted holds addresses and networks; what parses as neither is an error of the
// configuration, and is left out.
func ClientIP(trusted []string) func(*http.Request) string {
	var networks []netip.Prefix
	for _, t := range trusted {
		if p, err := netip.ParsePrefix(t); err == nil {
			networks = append(networks, p)
		} else if a, err := netip.ParseAddr(t); err == nil {
			networks = append(networks, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	believed := func(a netip.Addr) bool {
		for _, n := range networks {
			if n.Contains(a.Unmap()) {
				return true
			}
		}
		return false
	}
	return func(r *http.Request) string {
		peer, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil {
			return "" // a unix socket has no address
		}
		at := peer.Addr().Unmap()
		hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		for i := len(hops) - 1; i >= 0 && believed(at); i-- {
			hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
			if err != nil {
				break
			}
			at = hop.Unmap()
		}
		return at.String()
	}
}
