// Package anomaly notices hand-outs of tokens that are not like those before: what a stolen bearer token looks like
// from where the tokens are handed out.
//
// Each caller, a token of ours or a person with an app, has a Baseline of a few numbers. What a hand-out makes of it,
// and what is unusual about it, is one pure function; Watch keeps the baselines, and tells.
package anomaly

import (
	"net/netip"
	"slices"
	"time"
)

// Baseline is what is known of a caller's habits. Its zero value knows nothing.
type Baseline struct {
	Hour     int64     `json:"hour"`     // unix hours, of Count
	Count    int       `json:"count"`    // hand-outs in Hour
	Mean     float64   `json:"mean"`     // of the hours before, the latest counting most
	Peak     float64   `json:"peak"`     // the fullest hour, half forgotten after three days
	Hours    int       `json:"hours"`    // how many hours Mean is made of
	LastAt   time.Time `json:"last_at"`  // of the last hand-out
	Networks []string  `json:"networks"` // that it came from, the last one first
	Told     int64     `json:"told"`     // the hour in which it was last said that there are too many
}

// Rules say what is unusual. The zero Rules are the defaults.
type Rules struct {
	Factor  float64       // so many times the mean of an hour is too many; default 10
	Floor   int           // fewer in an hour never are; default 60
	Learn   int           // hours before a caller has a norm; default 24
	Ceiling int           // too many for one without a norm; default 1,000
	Silence time.Duration // after which a first hand-out is told; default 30 days
}

// What may be unusual about a hand-out.
const (
	FarAboveNorm = "far_above_norm"
	NewNetwork   = "new_network"
	AfterSilence = "after_silence"
)

// Finding is one unusual thing.
type Finding struct {
	Reason string
	Rate   int // hand-outs in this hour, with FarAboveNorm
	Norm   int // what would not have been told, with FarAboveNorm
}

const (
	meanHours   = 72               // that weigh in Mean
	maxNetworks = 16               // that are remembered
	forgetPeak  = 0.990419         // each hour: 0.5 ^ (1/72)
	maxHours    = 24 * 365         // so that nothing overflows
	clockSlack  = 2 * time.Hour    // a clock that was set back further starts an hour anew
	norm24, n48 = 24, 48           // bits of the network that an address belongs to
	unknownNet  = "an odd address" // what is not one
)

func (r Rules) withDefaults() Rules {
	if r.Factor <= 0 {
		r.Factor = 10
	}
	if r.Floor <= 0 {
		r.Floor = 60
	}
	if r.Learn <= 0 {
		r.Learn = 24
	}
	if r.Ceiling <= 0 {
		r.Ceiling = 1000
	}
	if r.Silence <= 0 {
		r.Silence = 30 * 24 * time.Hour
	}
	return r
}

// Next returns what b is after a hand-out at the given time to address, and what was unusual about it. It is a pure
// function. An empty address is not looked at.
func (b Baseline) Next(r Rules, at time.Time, address string) (Baseline, []Finding) {
	r = r.withDefaults()
	var found []Finding
	known := !b.LastAt.IsZero()
	if known && at.Sub(b.LastAt) >= r.Silence {
		found = append(found, Finding{Reason: AfterSilence})
	}
	b = b.at(at)
	b.Count++
	if norm := b.norm(r); b.Count > norm && b.Told != b.Hour {
		found = append(found, Finding{Reason: FarAboveNorm, Rate: b.Count, Norm: norm})
		b.Told = b.Hour
	}
	if address != "" {
		network := networkOf(address)
		i := slices.Index(b.Networks, network)
		if i < 0 && len(b.Networks) > 0 {
			found = append(found, Finding{Reason: NewNetwork})
		}
		if i != 0 {
			b.Networks = slices.Insert(slices.DeleteFunc(slices.Clone(b.Networks), func(n string) bool { return n == network }), 0, network)
			b.Networks = b.Networks[:min(len(b.Networks), maxNetworks)]
		}
	}
	b.LastAt = at
	return b, found
}

// at returns b with the hours that are over folded into its means.
func (b Baseline) at(now time.Time) Baseline {
	hour := now.Unix() / 3600
	passed := hour - b.Hour
	switch {
	case b.Hour == 0:
		b.Hour = hour
	case passed > 0:
		for range min(passed, maxHours) { // b.Count in the first, none in the others
			b.Hours = min(b.Hours+1, maxHours)
			b.Mean += (float64(b.Count) - b.Mean) / float64(min(b.Hours, meanHours))
			b.Peak = max(b.Peak*forgetPeak, float64(b.Count))
			b.Count = 0
		}
		b.Hour = hour
	case passed < -int64(clockSlack/time.Hour):
		b.Hour, b.Count = hour, 0
	}
	return b
}

// norm is how many hand-outs in an hour are not worth telling. A caller that works in bursts, once a day, has a peak
// far above its mean, and that is its habit.
func (b Baseline) norm(r Rules) int {
	if b.Hours < r.Learn {
		return r.Ceiling
	}
	return int(max(float64(r.Floor), r.Factor*b.Mean, 2*b.Peak))
}

// networkOf is what counts as the same place: people and pods change addresses within it.
func networkOf(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return unknownNet
	}
	ip = ip.Unmap().WithZone("")
	bits := n48
	if ip.Is4() {
		bits = norm24
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return unknownNet
	}
	return p.String()
}
