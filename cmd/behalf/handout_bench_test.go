package main

import (
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/tokens"
)

// BenchmarkHandOut is a hand-out without the wire: what this server does for one, and its record. cpu-ns is what the
// whole process spent, because the records are committed beside the requests, and on a busy machine it says more than
// the time that passed.
func BenchmarkHandOut(b *testing.B) {
	f := newFigures(b)
	f.start()
	alice, err := f.s.people.ByUsername(b.Context(), "alice")
	if err != nil {
		b.Fatal(err)
	}
	_, value, err := f.s.pats.Create(b.Context(), alice, tokens.Request{Name: "bench", Scopes: []string{"token:databricks"}})
	if err != nil {
		b.Fatal(err)
	}
	request, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "http://localhost:1/api/v1/connected-apps/databricks/token", nil)
	if err != nil {
		b.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+value.Reveal())
	request.RemoteAddr = "192.0.2.1:1234"
	b.ReportAllocs()
	b.ResetTimer()
	began := spent(b)
	for range b.N {
		w := unread{header: make(http.Header, 8)}
		f.s.handler.ServeHTTP(&w, request.Clone(request.Context()))
		for w.status == http.StatusServiceUnavailable { // this is faster than the store
			time.Sleep(10 * time.Millisecond)
			f.s.handler.ServeHTTP(&w, request.Clone(request.Context()))
		}
		if w.status != http.StatusOK {
			b.Fatalf("status %d", w.status)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(spent(b)-began)/float64(b.N), "cpu-ns/op")
}

// spent is the CPU time that this process has taken.
func spent(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// unread is an answer that nobody reads.
type unread struct {
	header http.Header
	status int
}

func (w *unread) Header() http.Header         { return w.header }
func (w *unread) WriteHeader(status int)      { w.status = status }
func (w *unread) Write(p []byte) (int, error) { return len(p), nil }
