package httpserver

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestClientIP(t *testing.T) {
	for _, tt := range []struct {
		name, peer string
		trusted    []string
		forwarded  []string
		want       string
	}{
		{"nobody is trusted", "10.0.0.1:5", nil, []string{"6.6.6.6"}, "10.0.0.1"},
		{"a stranger's header is not read", "192.0.2.9:5", []string{"10.0.0.0/8"}, []string{"6.6.6.6"}, "192.0.2.9"},
		{"a trusted proxy tells", "10.0.0.1:5", []string{"10.0.0.0/8"}, []string{"192.0.2.7"}, "192.0.2.7"},
		{"what the client wrote before is not believed", "10.0.0.1:5", []string{"10.0.0.0/8"}, []string{"6.6.6.6, 192.0.2.7"}, "192.0.2.7"},
		{"two proxies, two headers", "10.0.0.1:5", []string{"10.0.0.0/8"}, []string{"192.0.2.7", "10.0.0.2"}, "192.0.2.7"},
		{"nonsense ends the chain", "10.0.0.1:5", []string{"10.0.0.1"}, []string{"evil"}, "10.0.0.1"},
		{"an IPv4 address in IPv6 clothes", "[::ffff:10.0.0.1]:5", []string{"10.0.0.1"}, []string{"192.0.2.7"}, "192.0.2.7"},
		{"no header", "10.0.0.1:5", []string{"10.0.0.1"}, nil, "10.0.0.1"},
		{"no address", "@", nil, nil, ""},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = tt.peer
		for _, f := range tt.forwarded {
			r.Header.Add("X-Forwarded-For", f)
		}
		if got := ClientIP(tt.trusted)(r); got != tt.want {
			t.Errorf("%s: ClientIP = %q, want %q", tt.name, got, tt.want)
		}
	}
}
