package httpserver

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestLocalNames(t *testing.T) {
	h := LocalNames(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), "data.example.com")
	for host, want := range map[string]int{
		"localhost": 200, "localhost:4001": 200, "127.0.0.1:4001": 200, "[::1]:4001": 200, "[::1]": 200, "Data.Example.com:443": 200,
		"evil.example.com": 421, "evil.example.com:4001": 421, "127.0.0.1.evil.example.com:4001": 421, "localhost.evil.example.com": 421,
		"data.example.com.evil.example.com": 421, "10.0.0.1:4001": 421, "": 421,
	} {
		r := httptest.NewRequest(http.MethodGet, "/debug/pprof/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("Host %q = %d, want %d", host, w.Code, want)
		}
	}
}
