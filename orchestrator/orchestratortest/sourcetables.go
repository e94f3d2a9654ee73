// Package orchestratortest holds the suites that the stores of orchestrator must pass.
package orchestratortest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/orchestrator"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// forever is what nothing of a test is replaced or used before.
var forever = noon.AddDate(-1, 0, 0)

const (
	built = 10 * time.Minute // how long a table may take
	again = 5 * time.Minute  // how long who drops one may take
	most  = 100
)

// daily is a rollup of alice.
var daily = orchestrator.SourceRollup{Person: "alice", Holder: "alice", Scope: "alice 1", Structure: "daily"}

// of returns a table of a partition.
func of(partition, name string) orchestrator.SourceTable {
	return orchestrator.SourceTable{RollupTable: orchestrator.RollupTable{Partition: partition}, Schema: "rollups", Name: name}
}

// store is a SourceTables whose methods must not fail.
type store struct {
	*testing.T
	orchestrator.SourceTables
}

func (s store) begin(r orchestrator.SourceRollup, t orchestrator.SourceTable, now time.Time) {
	s.Helper()
	if err := s.Begin(s.Context(), r, t, now, now.Add(built), most); err != nil {
		s.Errorf("Begin %s = %v, want no error", t.Name, err)
	}
}

// make begins a table and notes that it is there.
func (s store) make(r orchestrator.SourceRollup, t orchestrator.SourceTable, now time.Time) orchestrator.SourceTable {
	s.Helper()
	s.begin(r, t, now)
	t.Key, t.Rows, t.Bytes, t.BuiltAt = "key of "+t.Name, 12, 3400, now
	if err := s.Built(s.Context(), r, t, now); err != nil {
		s.Errorf("Built %s = %v, want no error", t.Name, err)
	}
	return t
}

func (s store) has(r orchestrator.SourceRollup, want ...string) {
	s.Helper()
	tables, err := s.Tables(s.Context(), r)
	if diff := cmp.Diff(want, names(tables)); diff != "" || err != nil {
		s.Errorf("Tables of %v (%v, -want +got):\n%s", r, err, diff)
	}
}

// leftOver wants that these tables of a holder are to be dropped.
func (s store) leftOver(holder, scope string, now, replaced, unused time.Time, want ...string) {
	s.Helper()
	tables, err := s.LeftOver(s.Context(), holder, scope, now, replaced, unused, now.Add(again), most)
	if diff := cmp.Diff(want, names(tables)); diff != "" || err != nil {
		s.Errorf("LeftOver of %s (%v, -want +got):\n%s", holder, err, diff)
	}
}

func (s store) gone(r orchestrator.SourceRollup, t orchestrator.SourceTable, now time.Time) {
	s.Helper()
	if err := s.Built(s.Context(), r, t, now); !errors.Is(err, fault.Gone) {
		s.Errorf("Built %s = %v, want gone", t.Name, err)
	}
}

func (s store) used(r orchestrator.SourceRollup, now time.Time) {
	s.Helper()
	if err := s.Used(s.Context(), r, now); err != nil {
		s.Errorf("Used = %v, want no error", err)
	}
}

func (s store) dropped(name string) {
	s.Helper()
	if err := s.Dropped(s.Context(), name); err != nil {
		s.Errorf("Dropped %s = %v, want no error", name, err)
	}
}

func names(tables []orchestrator.SourceTable) (names []string) {
	for _, t := range tables {
		names = append(names, t.Name)
	}
	slices.Sort(names)
	return names
}

// TestSourceTables checks the promises of orchestrator.SourceTables. open returns an empty store that lives until the test ends.
func TestSourceTables(t *testing.T, open func(*testing.T) orchestrator.SourceTables) {
	for _, tt := range []struct {
		name string
		test func(store)
	}{
		{"a table that was built comes back as it was noted", testNoted},
		{"one that is being made is not read", testBegun},
		{"each rollup has its own", testApart},
		{"a newer one takes the place of the one of its partition", testReplaced},
		{"that it is there may be said twice", testTwice},
		{"one that is not built in time is left over, whatever is said of it later", testLate},
		{"one that nobody began, or as something else, is not there", testNobodys},
		{"those of another credential are left over, and those of other people are not", testScopes},
		{"those that nobody uses are left over", testUnused},
		{"those of somebody are released, at whatever source, and those of others are not", testReleased},
		{"what is left over is returned again when whoever had it did not drop it", testAgain},
		{"so many are returned and no more, the oldest first", testSomeAtATime},
		{"who has as many as they may begins no more, of whatever rollup and credential", testMost},
		{"no two tables have one name", testNames},
		{"of replicas that build one partition at once one has the table, and the others are left over", testBuiltAtOnce},
		{"replicas that begin at once begin no more than there may be", testBegunAtOnce},
		{"no table is given to two replicas that drop what is left over", testDroppedAtOnce},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(store{t, open(t)}) })
	}
}

func testNoted(s store) {
	want := []orchestrator.SourceTable{s.make(daily, of("2024", "t1"), noon), s.make(daily, of("2025", "t2"), noon.Add(time.Second))}
	got, err := s.Tables(s.Context(), daily)
	slices.SortFunc(got, func(a, b orchestrator.SourceTable) int { return a.BuiltAt.Compare(b.BuiltAt) })
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		s.Errorf("Tables (%v, -want +got):\n%s", err, diff)
	}
}

func testBegun(s store) {
	s.begin(daily, of("", "t1"), noon)
	s.has(daily)
}

func testApart(s store) {
	s.make(daily, of("", "t1"), noon)
	for i, r := range []orchestrator.SourceRollup{
		{Holder: "bob", Scope: daily.Scope, Structure: daily.Structure}, {Holder: daily.Holder, Scope: "alice 2", Structure: daily.Structure},
		{Holder: daily.Holder, Scope: daily.Scope, Structure: "monthly"},
	} {
		s.has(r)
		name := fmt.Sprint("other", i)
		s.make(r, of("", name), noon)
		s.has(r, name)
	}
	s.has(daily, "t1")
}

func testReplaced(s store) {
	s.make(daily, of("2024", "t1"), noon)
	s.make(daily, of("2025", "t2"), noon)
	s.make(daily, of("2024", "t3"), noon.Add(time.Minute))
	s.has(daily, "t2", "t3")
	s.leftOver("alice", daily.Scope, noon.Add(time.Minute), noon.Add(time.Minute), noon) // somebody may read it yet
	s.leftOver("alice", daily.Scope, noon.Add(2*time.Minute), noon.Add(time.Minute+time.Millisecond), noon, "t1")
	s.has(daily, "t2", "t3")
	s.gone(daily, of("2024", "t1"), noon.Add(2*time.Minute))
}

func testTwice(s store) {
	table := s.make(daily, of("", "t1"), noon)
	if err := s.Built(s.Context(), daily, table, noon.Add(time.Hour)); err != nil {
		s.Errorf("Built = %v, want no error", err)
	}
	s.has(daily, "t1")
}

func testLate(s store) {
	s.begin(daily, of("", "t1"), noon)
	s.begin(daily, of("", "t2"), noon)
	s.leftOver("alice", daily.Scope, noon.Add(built-time.Millisecond), noon.Add(time.Hour), noon.Add(time.Hour))
	s.leftOver("alice", "alice 2", noon.Add(built-time.Millisecond), forever, forever) // it would be there after it was dropped
	s.gone(daily, of("", "t1"), noon.Add(built))
	s.leftOver("alice", daily.Scope, noon.Add(built), forever, forever, "t1", "t2")
	s.gone(daily, of("", "t2"), noon)
	s.has(daily)
}

func testNobodys(s store) {
	s.gone(daily, of("", "t1"), noon)
	s.begin(daily, of("2024", "t1"), noon)
	s.gone(daily, of("2025", "t1"), noon)
	s.gone(orchestrator.SourceRollup{Holder: "bob", Scope: daily.Scope, Structure: daily.Structure}, of("2024", "t1"), noon)
	s.gone(orchestrator.SourceRollup{Holder: "alice", Scope: "alice 2", Structure: daily.Structure}, of("2024", "t1"), noon)
	s.gone(orchestrator.SourceRollup{Holder: "alice", Scope: daily.Scope, Structure: "monthly"}, of("2024", "t1"), noon)
	s.has(daily)
}

func testScopes(s store) {
	s.make(daily, of("", "t1"), noon)
	s.make(orchestrator.SourceRollup{Holder: "bob", Scope: "bob 1", Structure: "daily"}, of("", "t2"), noon)
	s.leftOver("alice", daily.Scope, noon, forever, forever)
	s.leftOver("alice", "alice 2", noon, forever, forever, "t1")
	s.has(daily)
}

func testUnused(s store) {
	s.make(daily, of("2024", "t1"), noon)
	s.make(daily, of("2025", "t2"), noon)
	monthly := orchestrator.SourceRollup{Holder: "alice", Scope: daily.Scope, Structure: "monthly"}
	s.make(monthly, of("", "t3"), noon)
	s.leftOver("alice", daily.Scope, noon.Add(time.Hour), forever, noon)
	s.used(daily, noon.Add(time.Hour))
	s.used(daily, noon.Add(time.Minute)) // by a replica that was slow to say so
	s.leftOver("alice", daily.Scope, noon.Add(2*time.Hour), forever, noon.Add(time.Hour), "t3")
	s.has(daily, "t1", "t2")
	s.has(monthly)
	s.used(monthly, noon.Add(3*time.Hour))
	s.has(monthly) // too late
}

func testReleased(s store) {
	elsewhere := orchestrator.SourceRollup{Person: "alice", Holder: "alice elsewhere", Scope: "alice there", Structure: "daily"}
	bobs := orchestrator.SourceRollup{Person: "bob", Holder: "bob", Scope: "bob 1", Structure: "daily"}
	everybodys := orchestrator.SourceRollup{Holder: "account", Scope: "account", Structure: "daily"}
	s.make(daily, of("2024", "t1"), noon)
	s.make(daily, of("2025", "t2"), noon)
	s.begin(daily, of("2026", "t3"), noon)
	s.make(elsewhere, of("", "t4"), noon)
	s.make(bobs, of("", "t5"), noon)
	s.make(everybodys, of("", "t6"), noon)
	for person, want := range map[string]int{"": 0, "carol": 0, "alice": 2} {
		if n, err := s.Release(s.Context(), person, noon.Add(time.Second)); n != want || err != nil {
			s.Errorf("Release of %q = %d, %v, want %d rollups", person, n, err, want)
		}
	}
	s.has(daily)
	s.has(elsewhere)
	s.has(bobs, "t5")
	s.has(everybodys, "t6")
	s.leftOver("alice", daily.Scope, noon.Add(time.Second), forever, forever, "t1", "t2")
	s.leftOver("alice elsewhere", "alice there", noon.Add(time.Second), forever, forever, "t4")
	if n, err := s.Release(s.Context(), "alice", noon.Add(time.Minute)); n != 0 || err != nil {
		s.Errorf("Release again = %d, %v, want none", n, err)
	}
}

func testAgain(s store) {
	s.make(daily, of("", "t1"), noon)
	s.leftOver("alice", "alice 2", noon, forever, forever, "t1")
	s.leftOver("alice", "alice 2", noon.Add(again-time.Millisecond), forever, forever)
	s.leftOver("alice", daily.Scope, noon.Add(again), forever, forever, "t1") // whatever its scope is now
	s.leftOver("alice", daily.Scope, noon.Add(again), forever, forever)
	s.dropped("t1")
	s.dropped("t1")
	s.leftOver("alice", daily.Scope, noon.Add(24*time.Hour), forever, forever)
}

func testSomeAtATime(s store) {
	for i := range 5 {
		s.make(daily, of(fmt.Sprint(i), fmt.Sprint("t", 9-i)), noon.Add(time.Duration(i)*time.Second))
	}
	for _, want := range [][]string{{"t8", "t9"}, {"t6", "t7"}, {"t5"}, nil} {
		tables, err := s.LeftOver(s.Context(), "alice", "alice 2", noon.Add(time.Minute), forever, forever, noon.Add(time.Hour), 2)
		if diff := cmp.Diff(want, names(tables)); diff != "" || err != nil {
			s.Errorf("LeftOver (%v, -want +got):\n%s", err, diff)
		}
	}
}

func testMost(s store) {
	begin := func(r orchestrator.SourceRollup, t orchestrator.SourceTable) error {
		return s.Begin(s.Context(), r, t, noon, noon.Add(built), 2)
	}
	s.make(daily, of("", "t1"), noon)
	s.begin(orchestrator.SourceRollup{Holder: "alice", Scope: "alice 0", Structure: "monthly"}, of("", "t2"), noon)
	if err := begin(daily, of("2024", "t3")); !errors.Is(err, fault.TooMany) {
		s.Errorf("Begin of the third of two = %v, want too_many", err)
	}
	s.gone(daily, of("2024", "t3"), noon)
	if err := begin(orchestrator.SourceRollup{Holder: "bob", Scope: "b", Structure: "daily"}, of("", "t4")); err != nil {
		s.Errorf("Begin of somebody else's first = %v, want no error", err)
	}
	s.dropped("t2")
	if err := begin(daily, of("2024", "t3")); err != nil {
		s.Errorf("Begin once one is dropped = %v, want no error", err)
	}
}

func testNames(s store) {
	s.make(daily, of("", "t1"), noon)
	err := s.Begin(s.Context(), orchestrator.SourceRollup{Holder: "bob", Scope: "b", Structure: "daily"}, of("", "t1"), noon, noon.Add(built), most)
	if !errors.Is(err, fault.Conflict) {
		s.Errorf("Begin of a name that is taken = %v, want conflict", err)
	}
	s.has(daily, "t1")
}

const replicas = 8

func testBuiltAtOnce(s store) {
	var wg sync.WaitGroup
	for i := range replicas {
		wg.Go(func() { s.make(daily, of("2024", fmt.Sprint("t", i)), noon) })
	}
	wg.Wait()
	current, err := s.Tables(s.Context(), daily)
	if len(current) != 1 || err != nil {
		s.Fatalf("Tables = %q, %v, want one", names(current), err)
	}
	over, err := s.LeftOver(s.Context(), "alice", daily.Scope, noon.Add(time.Second), noon.Add(time.Second), forever, noon.Add(time.Hour), most)
	if len(over) != replicas-1 || err != nil || slices.Contains(names(over), current[0].Name) {
		s.Errorf("LeftOver = %q, %v, want all but %s", names(over), err, current[0].Name)
	}
}

func testBegunAtOnce(s store) {
	const may = 3
	var wg sync.WaitGroup
	errs := make([]error, replicas)
	for i := range replicas {
		wg.Go(func() {
			errs[i] = s.Begin(s.Context(), daily, of("", fmt.Sprint("t", i)), noon, noon.Add(built), may)
		})
	}
	wg.Wait()
	begun := 0
	for _, err := range errs {
		if err == nil {
			begun++
		} else if !errors.Is(err, fault.TooMany) {
			s.Errorf("Begin = %v, want no error or too_many", err)
		}
	}
	if begun != may {
		s.Errorf("%d tables were begun, want %d", begun, may)
	}
}

func testDroppedAtOnce(s store) {
	const tables = 20
	for i := range tables {
		s.make(daily, of(fmt.Sprint(i), fmt.Sprint("t", i)), noon)
	}
	given := make(chan string, 3*replicas*tables)
	var wg sync.WaitGroup
	for range replicas {
		wg.Go(func() {
			for range tables { // more than there is to do
				got, err := s.LeftOver(s.Context(), "alice", "alice 2", noon, forever, forever, noon.Add(time.Hour), 3)
				if err != nil {
					s.Errorf("LeftOver = %v, want no error", err)
				}
				for _, t := range got {
					given <- t.Name
				}
				if len(got) == 0 {
					return
				}
			}
		})
	}
	wg.Wait()
	close(given)
	times := map[string]int{}
	for name := range given {
		if times[name]++; times[name] > 1 {
			s.Errorf("%s was given %d times, want once", name, times[name])
		}
	}
	if len(times) != tables {
		s.Errorf("%d tables were given, want %d", len(times), tables)
	}
}
