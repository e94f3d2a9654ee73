package spelling

import "testing"

func TestNearest(t *testing.T) {
	known := []string{"client_id", "client_secret", "scopes", "host", "url"}
	for _, tt := range []struct{ word, want string }{
		{"clientid", "client_id"},
		{"client_sceret", "client_secret"},
		{"scope", "scopes"},
		{"hots", "host"},
		{"ulr", "url"},
		{"warehouse", ""},
		{"", ""},
	} {
		if got := Nearest(tt.word, known); got != tt.want {
			t.Errorf("Nearest(%q) = %q, want %q", tt.word, got, tt.want)
		}
	}
}
