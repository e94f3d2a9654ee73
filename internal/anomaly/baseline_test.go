package anomaly_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/anomaly"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// habit is a caller that got n tokens in each of the given hours before noon, from one place.
func habit(hours, n int) anomaly.Baseline {
	var b anomaly.Baseline
	for h := hours; h > 0; h-- {
		for i := range n {
			b, _ = b.Next(anomaly.Rules{}, noon.Add(-time.Duration(h)*time.Hour+time.Duration(i)*time.Second), "192.0.2.1")
		}
	}
	return b
}

// daily is a caller that gets n tokens in one hour of each day, before noon.
func daily(days, n int) anomaly.Baseline {
	var b anomaly.Baseline
	for d := days; d > 0; d-- {
		for i := range n {
			b, _ = b.Next(anomaly.Rules{}, noon.AddDate(0, 0, -d).Add(time.Duration(i)*time.Second), "192.0.2.1")
		}
	}
	return b
}

func TestWhatIsUnusual(t *testing.T) {
	for _, tt := range []struct {
		name    string
		before  anomaly.Baseline
		n       int // hand-outs now
		at      time.Time
		address string
		want    string // of all findings
	}{
		{"a caller as always", habit(48, 20), 20, noon, "192.0.2.1", ""},
		{"three times as many", habit(48, 20), 60, noon, "192.0.2.1", ""},
		{"ten times as many", habit(48, 20), 250, noon, "192.0.2.1", "far_above_norm 201/200"},
		{"many for one that gets few", habit(48, 1), 61, noon, "192.0.2.1", "far_above_norm 61/60"},
		{"few, though ten times as many", habit(48, 1), 60, noon, "192.0.2.1", ""},
		{"a burst that comes every day", daily(5, 200), 220, noon, "192.0.2.1", ""},
		{"a burst that is twice as large", daily(5, 200), 410, noon, "192.0.2.1", "far_above_norm"},
		{"a new caller that learns", anomaly.Baseline{}, 900, noon, "192.0.2.1", ""},
		{"a new caller that takes all it can get", anomaly.Baseline{}, 1200, noon, "192.0.2.1", "far_above_norm 1001/1000"},
		{"another address nearby", habit(48, 5), 1, noon, "192.0.2.77", ""},
		{"another place", habit(48, 5), 1, noon, "198.51.100.1", "new_network"},
		{"the same place, written otherwise", habit(48, 5), 1, noon, "::ffff:192.0.2.1", ""},
		{"IPv6", habit(48, 5), 1, noon, "2001:db8::1", "new_network"},
		{"no address", habit(48, 5), 1, noon, "", ""},
		{"after a month of silence", habit(48, 5), 1, noon.AddDate(0, 1, 1), "192.0.2.1", "after_silence"},
		{"after a month, from elsewhere", habit(48, 5), 1, noon.AddDate(0, 1, 1), "203.0.113.9", "after_silence new_network"},
		{"after a week", habit(48, 5), 1, noon.AddDate(0, 0, 7), "192.0.2.1", ""},
		{"a clock that was set back", habit(48, 5), 5, noon.Add(-30 * time.Hour), "192.0.2.1", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, got := tt.before, ""
			for i := range tt.n {
				var found []anomaly.Finding
				b, found = b.Next(anomaly.Rules{}, tt.at.Add(time.Duration(i)*time.Second), tt.address)
				for _, f := range found {
					if got != "" {
						got += " "
					}
					got += f.Reason
					if f.Rate > 0 && tt.want != anomaly.FarAboveNorm {
						got += fmt.Sprintf(" %d/%d", f.Rate, f.Norm)
					}
				}
			}
			if got != tt.want {
				t.Errorf("found %q, want %q (baseline %+v)", got, tt.want, b)
			}
		})
	}
}

func TestACallerFromEverywhereStaysSmall(t *testing.T) {
	var b anomaly.Baseline
	told := 0
	for i := range 1000 {
		var found []anomaly.Finding
		b, found = b.Next(anomaly.Rules{}, noon.Add(time.Duration(i)*time.Minute), fmt.Sprintf("10.%d.%d.1", i/256, i%256))
		told += len(found)
	}
	if len(b.Networks) > 16 || told < 900 {
		t.Errorf("%d networks are remembered and %d told", len(b.Networks), told)
	}
}
