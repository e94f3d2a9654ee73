// Package anomalytest holds the suite for the stores of package anomaly.
package anomalytest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/behalf-project/behalf/internal/anomaly"
	"github.com/behalf-project/behalf/internal/fault"
)

// TestStore checks the promises of anomaly.Store. open returns an empty store that lives until the test ends.
func TestStore(t *testing.T, open func(*testing.T) anomaly.Store) {
	noon := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	s := open(t)
	if _, err := s.LoadBaseline(t.Context(), "token tok_1"); !errors.Is(err, fault.NotFound) {
		t.Errorf("LoadBaseline of a stranger = %v, want fault.NotFound", err)
	}
	b, _ := anomaly.Baseline{}.Next(anomaly.Rules{}, noon, "192.0.2.1")
	for range 2 {
		b, _ = b.Next(anomaly.Rules{}, noon.Add(time.Hour), "198.51.100.1")
		if err := s.SaveBaseline(t.Context(), "token tok_1", b); err != nil {
			t.Fatalf("SaveBaseline = %v", err)
		}
	}
	got, err := s.LoadBaseline(t.Context(), "token tok_1")
	if diff := cmp.Diff(b, got); diff != "" || err != nil {
		t.Errorf("LoadBaseline = %v (-want +got):\n%s", err, diff)
	}
	if err := s.ForgetBaselines(t.Context(), noon); err != nil {
		t.Fatal(err)
	}
	if _, err := s.LoadBaseline(t.Context(), "token tok_1"); err != nil {
		t.Errorf("a caller that is still there was forgotten: %v", err)
	}
	if err := s.ForgetBaselines(t.Context(), noon.Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.LoadBaseline(t.Context(), "token tok_1"); !errors.Is(err, fault.NotFound) {
		t.Errorf("LoadBaseline of one that is gone = %v, want fault.NotFound", err)
	}
}
