// Package loopback knows the names of this machine, where plain http is allowed (design.md §5).
package loopback

import (
	"net"
	"strings"
)

// Host reports whether host, without a port, is this machine as seen from itself: localhost, or a loopback address. It
// resolves no name, and names below localhost do not count: who answers for those is the resolver's choice.
func Host(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return ip != nil && ip.IsLoopback()
}
