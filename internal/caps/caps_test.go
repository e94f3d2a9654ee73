package caps_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/behalf-project/behalf/internal/caps"
	"github.com/behalf-project/behalf/internal/caps/capstest"
)

func TestMemory(t *testing.T) {
	capstest.TestStore(t, func(*testing.T) capstest.Opened {
		m := new(capstest.Memory)
		return capstest.Opened{Store: m, News: &m.News}
	})
}

func TestDivide(t *testing.T) {
	for _, tt := range []struct {
		name   string
		claims []caps.Claim
		want   []int
	}{
		{"nobody", nil, []int{}},
		{"one has all", []caps.Claim{claim("a", 4, 0, 1, 0)}, []int{4}},
		{"what nobody wants is for all alike", []caps.Claim{claim("a", 10, 10, 3, 0), claim("b", 10, 0, 1, 0)}, []int{6, 4}},
		{"who wants nothing has what is left", []caps.Claim{claim("a", 2, 2, 0, 0), claim("b", 2, 0, 2, 0)}, []int{0, 2}},
		{"who wants little has it", []caps.Claim{claim("a", 10, 10, 50, 0), claim("b", 10, 0, 2, 0)}, []int{8, 2}},
		{"who wants more than there is has as much as another", []caps.Claim{claim("a", 10, 10, 50, 0), claim("b", 10, 0, 20, 0)}, []int{5, 5}},
		{"who has more keeps what cannot be divided", []caps.Claim{claim("a", 3, 1, 3, 9), claim("b", 3, 2, 3, 0)}, []int{1, 2}},
		{"where there is less than one for each they take turns", []caps.Claim{claim("a", 1, 1, 1, 9), claim("b", 1, 0, 1, 5), claim("c", 1, 0, 1, 7)}, []int{0, 1, 0}},
		{"who wants nothing has no turn", []caps.Claim{claim("a", 1, 1, 1, 9), claim("b", 1, 0, 0, 5)}, []int{1, 0}},
		{"the smallest cap is in force", []caps.Claim{claim("a", 4, 0, 4, 0), claim("b", 2, 0, 4, 0)}, []int{1, 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, caps.Divide(tt.claims)); diff != "" {
				t.Errorf("Divide (-want +got):\n%s", diff)
			}
		})
	}
}

func claim(replica string, of, held, wants int, turn int64) caps.Claim {
	return caps.Claim{Replica: replica, Cap: of, Held: held, Wants: wants, TurnAt: turn}
}

// part uses nothing.
type part struct{}

func (part) Count(use func([]caps.Count)) { use(nil) }
func (part) Resume()                      {}

// BenchmarkTakeAlone is what a statement waits for in a replica that is alone, for each of the two caps that it needs.
func BenchmarkTakeAlone(b *testing.B) {
	c := caps.New(caps.Config{Store: new(capstest.Memory)})
	c.Serve(caps.Statements, part{})
	go func() { _ = c.Run(b.Context()) }()
	k := caps.Key{Kind: caps.Statements, Domain: "dom", Source: "db"}
	for !c.Take(k, 1, 0) {
		time.Sleep(time.Millisecond)
	}
	b.ReportAllocs()
	for b.Loop() {
		if !c.Take(k, 1, 0) {
			b.Fatal("a replica that is alone may not begin")
		}
	}
}
