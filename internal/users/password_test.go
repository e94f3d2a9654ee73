package users

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/secret"
)

var vectors = []struct{ name, phc string }{
	{"not PHC", "password"},
	{"another algorithm", "$argon2i$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
	{"another version", "$argon2id$v=16$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
	{"too much memory", "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
	{"too many passes", "$argon2id$v=19$m=19456,t=4000000000,p=1$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
	{"no passes", "$argon2id$v=19$m=19456,t=0,p=1$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
	{"too many threads", "$argon2id$v=19$m=19456,t=2,p=255$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
	{"threads wrap around", "$argon2id$v=19$m=19456,t=2,p=257$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
	{"a cost with a sign", "$argon2id$v=19$m=+19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
	{"costs in another order", "$argon2id$v=19$t=2,m=19456,p=1$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
	{"a short hash", "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$AAAA"},
	{"an empty hash", "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$"},
	{"padding", "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
	{"something after it", "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA$x"},
}

func TestHashesThatAreNotOursAreRefused(t *testing.T) {
	for _, tt := range vectors {
		t.Run(tt.name, func(t *testing.T) {
			if h, err := parsePHC(tt.phc); err == nil {
				t.Errorf("parsePHC(%q) = %+v, want an error", tt.phc, h.params)
			}
		})
	}
}

func TestAHashFitsItsPasswordAndNoOther(t *testing.T) {
	h := newHasher(Floor)
	stored, err := h.hash(t.Context(), secret.New("correct horse battery"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(stored.Reveal(), "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("hash = %q, want the costs of the floor", stored.Reveal())
	}
	for _, tt := range []struct {
		name, typed string
		stored      secret.Text
		want        bool
	}{
		{"the password itself", "correct horse battery", stored, true},
		{"another one", "correct horse batterz", stored, false},
		{"none", "", stored, false},
		{"a person without a password", "correct horse battery", secret.Text{}, false},
		{"nothing for a person without a password", "", secret.Text{}, false},
		{"a hash that cannot be read", "correct horse battery", secret.New("$argon2id$v=19$m=1"), false},
		{"longer than any password", strings.Repeat("a", 5000), stored, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, _, err := h.verify(t.Context(), tt.stored, secret.New(tt.typed))
			if err != nil || got != tt.want {
				t.Errorf("verify = %v, %v, want %v", got, err, tt.want)
			}
		})
	}
}

func TestAPasswordIsTheSameHoweverItsCharactersAreComposed(t *testing.T) {
	h := newHasher(Floor)
	stored, err := h.hash(t.Context(), secret.New("pa\u0308sswo\u0308rter")) // decomposed
	if err != nil {
		t.Fatal(err)
	}
	if match, _, err := h.verify(t.Context(), stored, secret.New("p\u00e4ssw\u00f6rter")); err != nil || !match { // composed
		t.Errorf("verify = %v, %v, want a match", match, err)
	}
}

func TestSigningInWaitsForItsTurnAndNotForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHasher(Floor)
		for range cap(h.slots) {
			h.slots <- struct{}{}
		}
		before := time.Now()
		err := h.turn(context.Background(), func() { t.Error("it ran without a slot") })
		if !errors.Is(err, fault.Unavailable) || time.Since(before) != wait {
			t.Errorf("turn = %v after %v, want unavailable after %v", err, time.Since(before), wait)
		}
		<-h.slots
		ran := false
		if err := h.turn(context.Background(), func() { ran = true }); err != nil || !ran {
			t.Errorf("turn = %v, ran %v, want it to run", err, ran)
		}
	})
}

func FuzzParsePHC(f *testing.F) {
	f.Add("$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	for _, v := range vectors {
		f.Add(v.phc)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := parsePHC(s)
		if err != nil {
			return
		}
		if h.params.Memory > ceiling.Memory || h.params.Time > ceiling.Time || h.params.Threads > ceiling.Threads || h.params.Time < 1 || h.params.Threads < 1 {
			t.Fatalf("parsePHC(%q) allows %+v", s, h.params)
		}
		if h.String() != s {
			t.Fatalf("parsePHC(%q).String() = %q", s, h.String())
		}
	})
}
