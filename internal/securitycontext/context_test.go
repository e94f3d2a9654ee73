package securitycontext

import (
	"testing"

	"pgregory.net/rapid"
)

// CVE-2026-33496 and GO-2026-6204 were keys of two values that ran into each other.
func TestKeysOfDifferentPrincipalsDiffer(t *testing.T) {
	part := rapid.StringOfN(rapid.RuneFrom([]rune(":/|0123ab\x00 ")), 0, 6, -1)
	rapid.Check(t, func(t *rapid.T) {
		a := Principal{part.Draw(t, "a.realm"), part.Draw(t, "a.subject")}
		b := Principal{part.Draw(t, "b.realm"), part.Draw(t, "b.subject")}
		if (a.Key() == b.Key()) != (a == b) {
			t.Fatalf("Key(%q) = %q, Key(%q) = %q", a, a.Key(), b, b.Key())
		}
	})
}

func TestAPrincipalWithoutRealmOrSubjectIsAnonymous(t *testing.T) {
	for _, p := range []Principal{{}, {Realm: Local}, {Subject: "alice"}} {
		if !p.Anonymous() {
			t.Errorf("%+v is not anonymous", p)
		}
	}
	if (Principal{Local, "usr_1"}).Anonymous() {
		t.Error("a local user is anonymous")
	}
}
