package connectedapps

import (
	"strings"
	"testing"
)

// What providers call people is theirs to choose: no two names may become one but by the case of ASCII letters.
func FuzzNormalIdentity(f *testing.F) {
	for _, s := range []string{"alice@corp.example", "a@x.com@evil", "ALICE", "\u212A", "a b", "@", "a@", "@b", "\u0430lice", "a\u200bb"} {
		f.Add(s, strings.ToUpper(s))
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		x, okX := normalIdentity(a)
		y, okY := normalIdentity(b)
		if okX {
			if again, ok := normalIdentity(x); !ok || again != x {
				t.Errorf("normalIdentity(%q) = %q, which is not its own normal form", a, x)
			}
			if len(x) != len(a) || strings.Count(x, "@") > 1 {
				t.Errorf("normalIdentity(%q) = %q", a, x)
			}
		}
		if okX && okY && x == y {
			for i := range len(a) {
				if a[i] != b[i] && a[i]|0x20 != b[i]|0x20 {
					t.Errorf("%q and %q are one name", a, b)
				}
			}
		}
	})
}
