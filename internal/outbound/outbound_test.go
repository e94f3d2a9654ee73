package outbound

import "testing"

func TestCheckAddress(t *testing.T) {
	for _, tt := range []struct {
		address         string
		allowed, onTest bool // without and with loopback
	}{
		{"203.0.113.7:443", true, true},
		{"10.1.2.3:443", true, true}, // a provider in one's own network
		{"[2001:db8::1]:443", true, true},
		{"127.0.0.1:443", false, true},
		{"[::1]:443", false, true},
		{"[::ffff:127.0.0.1]:443", false, true},
		{"169.254.169.254:80", false, false},
		{"[::ffff:169.254.169.254]:80", false, false},
		{"[64:ff9b::a9fe:a9fe]:80", false, false},
		{"[64:ff9b::7f00:1]:80", false, true},
		{"[64:ff9b::808:808]:443", true, true},
		{"168.63.129.16:80", false, false},
		{"192.0.0.192:80", false, false},
		{"[fe80::1]:80", false, false},
		{"[fe80::1%eth0]:80", false, false},
		{"[fd00:ec2::254]:80", false, false},
		{"100.100.100.200:80", false, false},
		{"0.0.0.0:80", false, false},
		{"[::]:80", false, false},
		{"224.0.0.1:80", false, false},
		{"nonsense", false, false},
	} {
		if got := CheckAddress("tcp", tt.address, false) == nil; got != tt.allowed {
			t.Errorf("%s allowed: %v, want %v", tt.address, got, tt.allowed)
		}
		if got := CheckAddress("tcp", tt.address, true) == nil; got != tt.onTest {
			t.Errorf("%s allowed with loopback: %v, want %v", tt.address, got, tt.onTest)
		}
	}
}
