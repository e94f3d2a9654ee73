package loopback

import "testing"

func TestHost(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LOCALHOST.": true, "127.0.0.1": true, "127.9.9.9": true, "::1": true, "[::1]": true,
		"": false, "a.localhost": false, "2130706433": false, "128.0.0.1": false, "localhost.example.com": false, "notlocalhost": false, "10.0.0.1": false, "0.0.0.0": false, "::": false, "127.0.0.1.example.com": false,
	} {
		if got := Host(host); got != want {
			t.Errorf("Host(%q) = %v, want %v", host, got, want)
		}
	}
}
