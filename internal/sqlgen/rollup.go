package sqlgen

import (
	"crypto/sha256"
	"fmt"
	"io"
	"time"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/query"
)

// Rollup is a pre-aggregation that holds everything that a query asks for (cube-data-model.md §19, §20): a query of its own,
// whose rows are kept, and the statements that answer from them: in DuckDB's dialect, or in that of the source where they are kept there. Its times are wall time of the query's
// zone: a rollup in another zone is another one.
//
// What is kept are the rows that the source gives, as Build asks for them: no access policy, row rule or mask narrows them,
// so that they are good for whoever has the same credential. These hold where Read reads.
//
// One that is read from others has Parts, and no rows of its own: of it Name, Type, Shared, Range, Read and Total are set.
//
// It is immutable, and safe for concurrent use.
type Rollup struct {
	Name      string   // "orders.main"
	Type      string   // datamodel.Rollup, OriginalSQL, RollupJoin or RollupLambda
	Shared    bool     // the service account builds it, for everybody
	Scheduled bool     // it is built before anybody asks
	External  bool     // it is kept outside of the source, and Read is in the dialect of DuckDB
	Schema    string   // where the source keeps it otherwise
	Structure [32]byte // of all that its rows depend on beside the source; another structure is another rollup

	Columns []RollupColumn // of the rows that Build returns, in order
	Table   string         // the name that Read reads from, not quoted: "orders__main"; parts of one name are read as one table
	Read    Statement      // its columns, order and page are those of the Plan
	Total   *Statement     // like that of the Plan; nil unless asked for

	// Partition is the granularity of the partitions in which it is built, or "" where it is one table. Range is what of
	// their time the query is about; nil for all of it. BuildRange ask the source from where and to where they reach: for
	// one row of one time each, as the clocks of the zone show it; NULL where there is none.
	Partition  string
	Range      *Span
	BuildRange [2]Statement

	// Parts are those whose rows Read reads in place of its own, of a rollup_lambda in the order of time. WithSource says that what
	// comes after them is asked of the source, and read as if it were of the last.
	Parts      []*Rollup
	WithSource bool

	// From are the original_sql pre-aggregations that it is built from: Build reads them by their names, see Over.
	From []*Rollup

	indexes [][]string // the columns of each, where its tables have them

	table  Fragment // SELECT and FROM of what it is built from
	groups string   // its GROUP BY
	raw    Fragment // the time by which it is partitioned
	wall   Fragment // the same as wall time
	d      Dialect
	loc    *time.Location

	key     datamodel.RefreshKey
	sqlKey  *RefreshKey
	bounded [2]bool // the model says itself where partitions begin or end
}

// RollupColumn is one column of a rollup. A value that its type does not hold makes the rollup unfit: it would not compare in
// DuckDB as it does in the source. So does a text of a type that compares otherwise than texts do in the source.
type RollupColumn struct {
	Alias string
	Type  string // datamodel.String, Number, Boolean or Time, without a zone; "" of a min or max: a number or a time
}

// Miss says why a pre-aggregation does not hold a query.
type Miss struct {
	Rollup string // "orders.main"
	Why    string // a sentence without its stop: "the dimension orders.city is not in it"
}

// Span is wall time of a query's zone, given in UTC for want of a type without one: from its start to before its end. One that
// is zero is no bound; in a partition both are, of the rows that have no time.
type Span struct {
	From, To time.Time
	Name     string // of a partition: 20240101, of an hour 2024010113, or undated
}

// undated is the name of the partition of rows without a time.
const undated = "undated"

// Age says which rows of a rollup, or of a partition of it, are old.
type Age struct {
	Since time.Time   // those that were read before it; zero: none for that
	Key   *RefreshKey // those that were read when its answer was another; nil: none for that
}

// maxSpans bounds the partitions of a rollup that a query reads.
const maxSpans = 10_000

// Build returns the statement, in the dialect of the source, whose rows the rollup is made of, or a partition of it. Every
// row is in exactly one partition.
func (r *Rollup) Build(s *Span) (Statement, error) {
	if s == nil {
		return Format("{}"+r.groups, r.table).statement(r.d), nil
	}
	if r.Partition == "" {
		return Statement{}, refusal("The pre-aggregation %s has no partitions", r.Name)
	}
	inside, err := r.inside(*s)
	if err != nil {
		return Statement{}, err
	}
	return Format("{}\nWHERE {}"+r.groups, r.table, inside).statement(r.d), nil
}

// inside returns the condition on the rows of a partition. By the moments alone the database finds them sooner; where the
// clocks show an end of the partition twice, or never, only they can tell.
func (r *Rollup) inside(s Span) (Fragment, error) {
	if s.From.IsZero() && s.To.IsZero() {
		return Format("{} IS NULL", r.raw), nil
	}
	spare := time.Duration(0)
	torn := astride(s.From, r.loc) || astride(s.To, r.loc)
	if torn {
		spare = 24 * time.Hour
	}
	first, _, err := moments(s.From.Add(-spare), r.loc)
	if err != nil {
		return Fragment{}, err
	}
	last, _, err := moments(s.To.Add(spare), r.loc)
	if err != nil {
		return Fragment{}, err
	}
	f := Format("{} >= {} AND {} < {}", r.raw, r.d.Timestamp(r.d.Moment(first)), r.raw, r.d.Timestamp(r.d.Moment(last)))
	if torn {
		f = Format("{} AND {} >= {} AND {} < {}", f, r.wall, r.d.Wall(constantWall(s.From)), r.wall, r.d.Wall(constantWall(s.To)))
	}
	return f, nil
}

// moments returns the first and the last point in time at which the clocks of a zone show a wall time. They are one, but for
// an hour that is shown twice, or skipped.
func moments(wall time.Time, loc *time.Location) (first, last string, err error) {
	text := wall.Format(wallTime)
	return query.DateRange{Texts: []string{text, text}}.Bounds(loc)
}

// astride reports whether a wall time is in the middle of what the clocks show twice, or skip: it does not part what was
// before it from what was after.
func astride(wall time.Time, loc *time.Location) bool {
	for _, t := range []time.Time{wall, wall.Add(-time.Millisecond)} {
		if first, last, err := moments(t, loc); err != nil || first == last {
			return false
		}
	}
	return true
}

// Spans returns the partitions that the query reads, oldest first, of those between two wall times, which BuildRange were
// answered; zero times where it was NULL. More than 10,000 are fault.Invalid. It is for rollups with partitions.
func (r *Rollup) Spans(from, to time.Time) ([]Span, error) {
	// Where the model says from or to where, all of that partition is built.
	if r.bounded[0] && !from.IsZero() {
		from = partitionOf(from, r.Partition).From
	}
	if r.bounded[1] && !to.IsZero() {
		to = partitionOf(to, r.Partition).To.Add(-time.Millisecond)
	}
	if r.Range != nil {
		from, to = later(from, r.Range.From), earlier(to, r.Range.To.Add(-time.Millisecond))
	}
	var all []Span
	if !from.IsZero() && !to.IsZero() && !from.After(to) {
		for at := partitionOf(from, r.Partition); !at.From.After(to); at = partitionOf(at.To, r.Partition) {
			if len(all) == maxSpans {
				return nil, refusal("The pre-aggregation %s would have more than %d partitions: use a coarser partition_granularity than %s, a build_range_start, or a shorter dateRange",
					r.Name, maxSpans, r.Partition)
			}
			all = append(all, at)
		}
	}
	if r.Range == nil {
		all = append(all, Span{Name: undated})
	}
	return all, nil
}

// later returns the later of two times, or zero where the first is.
func later(a, b time.Time) time.Time {
	if !a.IsZero() && b.After(a) {
		return b
	}
	return a
}

// earlier returns the earlier of two times, or zero where the first is.
func earlier(a, b time.Time) time.Time {
	if !a.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Covers reports whether the partitions between two wall times, as for Spans, hold every row that the query is about. They do
// unless the model says itself from where or to where they are built.
func (r *Rollup) Covers(from, to time.Time) bool {
	first, end, ok := r.reaches(from, to)
	return ok && (first.IsZero() || r.Range != nil && !r.Range.From.Before(first)) && (end.IsZero() || r.Range != nil && !r.Range.To.After(end))
}

// reaches returns from where to where the partitions of r have all rows that there are, of which the zero time is no bound, when its
// BuildRange were answered from and to. It reports whether it has any.
func (r *Rollup) reaches(from, to time.Time) (first, end time.Time, ok bool) {
	if r.bounded[0] && from.IsZero() || r.bounded[1] && to.IsZero() {
		return first, end, false
	}
	if r.bounded[0] {
		first = partitionOf(from, r.Partition).From
	}
	if r.bounded[1] {
		end = partitionOf(to, r.Partition).To
	}
	return first, end, true
}

// Age says which rows of the rollup, or of a partition of it, are old at a moment. What is incremental is not old any more once
// its partition ended longer than the update window ago, if it was read after that.
func (r *Rollup) Age(s *Span, now time.Time) Age {
	switch {
	case r.key.Immutable:
		return Age{}
	case s != nil && r.key.Incremental && !s.To.IsZero():
		end := move(s.To, r.key.UpdateWindow, 1)
		settled := time.Date(end.Year(), end.Month(), end.Day(), end.Hour(), end.Minute(), end.Second(), 0, r.loc)
		if !now.Before(settled) {
			return Age{Since: settled}
		}
	}
	if r.sqlKey != nil {
		return Age{Key: r.sqlKey}
	}
	return Age{Since: r.key.Since(now, r.loc)}
}

// Next returns when rows that are good at a moment may be old; zero for never.
func (r *Rollup) Next(now time.Time) time.Time {
	switch {
	case r.key.Immutable:
		return time.Time{}
	case r.sqlKey != nil:
		return now.Add(r.sqlKey.Every)
	}
	return r.key.Since(now, r.loc).Add(r.key.Every)
}

// Zone returns the name of the time zone whose clocks its times are read from.
func (r *Rollup) Zone() string { return r.loc.String() }

// monday is the first day of a year, a quarter, a month and a week: a start for buckets of all of them.
var monday = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)

// start returns the start of the bucket of a unit in which a wall time is.
func start(t time.Time, unit datamodel.Interval) time.Time { return bucket(t, unit, monday, 0) }

// partitionOf returns the partition of a granularity in which a wall time is.
func partitionOf(t time.Time, granularity string) Span {
	unit := datamodel.Unit(granularity)
	s := Span{From: start(t, unit)}
	s.To = s.From.AddDate(0, int(unit.Months), 0).Add(time.Duration(unit.Seconds) * time.Second)
	layout := "20060102"
	if granularity == "hour" {
		layout = "2006010215"
	}
	s.Name = s.From.Format(layout)
	return s
}

// structure returns the hash of what the rows of r depend on, and whether the model bounds them: how far those reach that were
// built between bounds is no answer for a model that has none any more.
func (r *Rollup) structure() (sum [32]byte) {
	h := sha256.New()
	whole := Format("{}"+r.groups, r.table).statement(r.d)
	fmt.Fprintf(h, "%q %q %v %q %v", r.d.Name(), r.Partition, r.bounded, whole.SQL, r.Columns) // a zone that counts is in the SQL
	for _, arg := range whole.Args {
		fmt.Fprintf(h, " %T %q", arg, fmt.Sprint(arg))
	}
	if !r.External {
		io.WriteString(h, "in the source")
	}
	for _, original := range r.From {
		h.Write(original.Structure[:])
	}
	for _, columns := range r.indexes {
		fmt.Fprintf(h, " %q", columns)
	}
	h.Sum(sum[:0])
	return sum
}
