// Package outbound makes the HTTP clients for addresses that somebody else chose: endpoints of authorization servers that
// an admin entered or an issuer's metadata names, and the receivers of webhooks.
//
// Such a URL may lead inside: to the metadata service of a cloud, or to this machine (server-side request forgery). So
// what is dialled is checked, not what is written; redirects are never followed; and every answer is bounded.
package outbound

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"crypto/tls"
)

// maxBody bounds every answer (CVE-2025-22868 was one without a bound).
const maxBody = 1 << 20

// What a call may fail with, beside the errors of net/http.
var (
	ErrTooLarge = errors.New("the answer is larger than 1 MiB")
	ErrAddress  = errors.New("the address is one that Behalf does not call")
)

// NewClient returns a client for URLs that others chose. allowLoopback lets it call this machine; roots may be nil for
// the system's.
//
// Names resolve to whatever their owners say. So the address is checked when it is
// dialled, after every resolution: link-local ones (cloud metadata services) and unspecified ones never, loopback
// only when allowed. There is no proxy from the environment, because the check would see nothing but the proxy.
//
// Each call has a connection of its own. On a kept one, a request may be lost to a server that was just closing it,
// and a refresh whose answer is lost is an unknown outcome. Redirects are answers, not instructions: credentials
// never follow one.
func NewClient(allowLoopback bool, roots *tls.Config) *http.Client {
	return &http.Client{
		Transport: limited{&http.Transport{
			DialContext:            NewDialer(allowLoopback).DialContext,
			TLSClientConfig:        roots,
			TLSHandshakeTimeout:    10 * time.Second,
			ForceAttemptHTTP2:      true,
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: 64 << 10,
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// NewDialer returns the only dialer for such addresses: it checks each as it is dialled.
func NewDialer(allowLoopback bool) *net.Dialer {
	return &net.Dialer{
		Timeout: 10 * time.Second,
		ControlContext: func(_ context.Context, network, address string, _ syscall.RawConn) error {
			return CheckAddress(network, address, allowLoopback)
		},
	}
}

// CheckAddress refuses the addresses that nobody out there has, with ErrAddress. address is an IP address and a port.
func CheckAddress(network, address string, allowLoopback bool) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %s", ErrAddress, network)
	}
	ip := ap.Addr().Unmap()
	if nat64.Contains(ip) {
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:])) // the gateway dials this one
	}
	switch {
	case ip.IsLinkLocalUnicast(), ip.IsLinkLocalMulticast(), ip.IsMulticast(), ip.IsUnspecified(), slices.Contains(metadata, ip):
		return ErrAddress
	case ip.IsLoopback() && !allowLoopback:
		return fmt.Errorf("%w: loopback", ErrAddress)
	}
	return nil
}

// metadata are services of clouds that are not on link-local addresses: AWS, Alibaba, Azure's host, Oracle.
var metadata = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("100.100.100.200"),
	netip.MustParseAddr("168.63.129.16"), netip.MustParseAddr("192.0.0.192"),
}

// nat64 holds every IPv4 address once more (RFC 6052 §2.1).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// limited bounds the bodies of all answers, whoever reads them.
type limited struct{ next http.RoundTripper }

func (l limited) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(req)
	if err == nil {
		resp.Body = &limitedBody{body: resp.Body, left: maxBody}
	}
	return resp, err
}

type limitedBody struct {
	body io.ReadCloser
	left int
}

func (b *limitedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, ErrTooLarge
	}
	n, err := b.body.Read(p[:min(len(p), b.left+1)])
	if b.left -= n; b.left < 0 {
		return 0, ErrTooLarge
	}
	return n, err
}

func (b *limitedBody) Close() error { return b.body.Close() }
