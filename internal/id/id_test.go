package id

import (
	"regexp"
	"testing"
	"time"
)

func TestNewHasItsFormAndSortsByTime(t *testing.T) {
	form := regexp.MustCompile(`^con_[0-9a-hjkmnp-tv-z]{26}$`)
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	seen := map[string]bool{}
	previous := ""
	for i := range 1000 {
		got := New(Grant, now.Add(time.Duration(i)*time.Millisecond))
		if !form.MatchString(got) {
			t.Fatalf("New = %q, want %v", got, form)
		}
		if got <= previous || seen[got] {
			t.Fatalf("New = %q does not sort after %q", got, previous)
		}
		previous, seen[got] = got, true
	}
}
