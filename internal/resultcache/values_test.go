package resultcache_test

import (
	"testing"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/resultcache"
)

// A result refreshed by one statement is not found for who has it refreshed by another.
func TestKeysDifferInTheirRefreshKeys(t *testing.T) {
	statement := func(sql string, args ...any) driverfactory.Statement {
		return driverfactory.Statement{SQL: sql, Args: args}
	}
	seen := map[resultcache.Key]string{}
	for name, keys := range map[string][]driverfactory.Statement{
		"none": nil, "one": {statement("a")}, "another": {statement("b")}, "both": {statement("a"), statement("b")},
		"both the other way": {statement("b"), statement("a")}, "with an argument": {statement("a", "b")}, "with another": {statement("a", "c")},
	} {
		k, err := resultcache.KeyOf(scope("alice", 1), statement("SELECT 1"), keys...)
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[k]; ok {
			t.Errorf("%s has the key of %s", name, other)
		}
		seen[k] = name
	}
}

func TestValuesAreEqualForEqualAnswersOnly(t *testing.T) {
	at := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	seen := map[resultcache.Values]string{}
	for _, tt := range []struct {
		name    string
		answers [][][]any // rows of each key
	}{
		{"no keys", nil},
		{"no rows", [][][]any{{}}},
		{"no rows twice", [][][]any{{}, {}}},
		{"NULL", [][][]any{{{nil}}}},
		{"a number", [][][]any{{{int64(1)}}}},
		{"a number as text", [][][]any{{{"1"}}}},
		{"a decimal", [][][]any{{{driverfactory.Decimal("1")}}}},
		{"a float", [][][]any{{{1.0}}}},
		{"a boolean", [][][]any{{{true}}}},
		{"bytes", [][][]any{{{[]byte("1")}}}},
		{"a time", [][][]any{{{at}}}},
		{"a later time", [][][]any{{{at.Add(time.Microsecond)}}}},
		{"two columns", [][][]any{{{"a", "b"}}}},
		{"two rows", [][][]any{{{"a"}, {"b"}}}},
		{"two keys", [][][]any{{{"a"}}, {{"b"}}}},
		{"two keys the other way", [][][]any{{{"b"}}, {{"a"}}}},
		{"texts cut elsewhere", [][][]any{{{"ab", ""}}}},
	} {
		values := func() resultcache.Values {
			var all []*resultcache.Entry
			for _, rows := range tt.answers {
				e, err := resultcache.NewEntry(nil, rows, at)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, e)
			}
			return resultcache.ValuesOf(all)
		}
		got := values()
		if other, ok := seen[got]; ok {
			t.Errorf("%s has the values of %s", tt.name, other)
		}
		if values() != got {
			t.Errorf("%s has two values", tt.name)
		}
		if (got == resultcache.Values{}) != (tt.answers == nil) {
			t.Errorf("%s has the values %x; zero is for no keys", tt.name, got)
		}
		seen[got] = tt.name
	}
}
