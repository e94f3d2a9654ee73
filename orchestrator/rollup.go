package orchestrator

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
)

// Rollup is a pre-aggregation that holds what a Request asks for (cube-data-model.md §19): rows that the source has grouped
// already, which are kept here and grouped further for each query.
//
// Or they are kept in the source itself, where InSource says so.
//
// Its rows belong to the credential that fetched them, like a result. A person never waits for them: until they are there the
// source answers, and the second request that could have used them has them built, behind it (design.md §2.12).
//
// One that is read from others has Parts, and no rows of its own: of it Name, Shared, Read, Parts and United are set.
type Rollup struct {
	Name      string            // "orders.main"
	Type      string            // as the answer calls it
	Zone      string            // whose clocks its times are read from
	Structure [sha256.Size]byte // of everything that its rows depend on beside source and credential
	Shared    bool              // the service account fetches them, for everybody who may use the source

	Columns []RollupColumn          // of its rows
	Table   string                  // the name under which Read reads them; parts of one name are read as one table
	Read    driverfactory.Statement // in place of Request.Statement, in the SQL of DuckDB or, with InSource, of the source

	// InSource has it kept in the source. Without it, it is kept here.
	InSource *TableSQL

	// From are rollups in the source that Build reads by their names, in place of what they are made of.
	From []*Rollup

	// Beside says that Read reads other rows of the source, too: its answers are fresh as long as those of the Request are.
	Beside bool

	// Build returns the statement that fetches one partition, or all rows.
	Build func(Span) (driverfactory.Statement, error)

	// Partitions returns those that Read needs of what lies between two moments of wall time, oldest first, and whether that is
	// everything which Read is about. It is nil where there is one table for all. Bounds ask the source for the two moments:
	// for one row of one column each.
	Partitions func(from, to time.Time) (spans []Span, all bool, err error)
	Bounds     [2]driverfactory.Statement

	// Parts are rollups whose rows Read reads in place of its own: all that it needs of each, or the partitions that United says,
	// of those between two moments for each, of which one may have none; with them rest, which is fetched for this request as a
	// partition of the last; and whether that is everything which Read is about.
	Parts  []*Rollup
	United func(reach [][2]time.Time) (spans [][]Span, rest *Span, all bool, err error)

	// Age says which rows of a partition, or of all, are old at a moment: those fetched before since and, with key, those
	// fetched when Key was answered otherwise.
	Age func(s Span, now time.Time) (since time.Time, key bool)
	Key RefreshKey

	Ahead bool // it is fetched again before somebody asks, while it is in use
}

// RollupColumn is one column of the rows of a Rollup.
type RollupColumn struct {
	Name string
	Type string // string, number, boolean or time, as in the model; empty for a minimum or maximum: a number or a time
}

// Span is a partition: what is between two moments of wall time, the end excluded. The zero Span is everything.
type Span struct {
	Name     string // of the partition, such as "20240101"
	From, To time.Time
}

// RollupID names the rows of one rollup that one credential fetched.
type RollupID struct {
	Scope     driverfactory.PoolKey
	Structure [sha256.Size]byte
}

// RollupTable is one partition of a rollup, or all of it, as it was fetched at one time.
type RollupTable struct {
	Partition string // Span.Name
	Key       string // what the refresh key was answered, as a hash; empty where there is none
	BuiltAt   time.Time
	Rows      int64
	Bytes     int64
}

// RollupPart is what a statement reads of one rollup: Tables of ID, under Name.
type RollupPart struct {
	ID     RollupID
	Name   string
	Tables []RollupTable
}

// PreAggregations keeps the rows of rollups. preagg.Store is one.
type PreAggregations interface {
	// IDs returns the rollups that there may be tables of, of the credentials that match agrees to, in no order.
	IDs(match func(driverfactory.PoolKey) bool) []RollupID

	// Tables returns the newest table of each partition, in no order.
	Tables(id RollupID) []RollupTable

	// Refresh looks for what other processes built of a rollup, so that Tables knows it. It is asked before a build, in its time.
	// An error says that something may be built twice.
	Refresh(ctx context.Context, id RollupID) error

	// Write reads rows to their end and keeps them as a table, in place of that of the same partition. It returns t with
	// what it took. What goes wrong leaves what there was.
	Write(ctx context.Context, id RollupID, t RollupTable, columns []RollupColumn, rows driverfactory.Rows) (RollupTable, error)

	// Query runs stmt over the rows of parts, which are of one credential. Those of one name are read as one table.
	Query(ctx context.Context, parts []RollupPart, stmt driverfactory.Statement) (driverfactory.Rows, error)

	// Drop forgets all rows of the credentials that match agrees to. When it returns, nothing reads them any more, and a
	// Write under way for one of them brings nothing back. An error says what may be left on a disk, unread.
	Drop(match func(driverfactory.PoolKey) bool) error
}

// id returns the id of r's rows as the source gives them to the owner, under whom it is asked. They outlive the process, in which
// revisions count the edits of a source: what they depend on is named itself. Another token may be another account, and so is
// another id; as a hash it is no secret, since nobody guesses a token. A password is not there: it comes with a user.
func (r *Rollup) id(own *asked) RollupID {
	id, src, h := RollupID{Scope: own.choice.Key}, own.Source, sha256.New()
	fmt.Fprintf(h, "%x %q", r.Structure, src.Type)
	for _, k := range slices.Sorted(maps.Keys(src.Options)) {
		fmt.Fprintf(h, " %q %q", k, src.Options[k])
	}
	if account := src.ServiceAccount; account != nil && id.Scope.Service {
		fmt.Fprintf(h, " %q %q %q %q", account.Name, account.Kind, account.User, account.Token.Reveal())
		if c := account.OAuth; c != nil {
			fmt.Fprintf(h, " %q %q %q %q", c.TokenURL, c.ClientID, c.Scopes, c.Audience)
		}
	}
	h.Sum(id.Structure[:0])
	return id
}

// part is a rollup whose rows are read, with what is known and stored of it under a credential.
type part struct {
	*Rollup
	id     RollupID
	known  knownRollup
	stored map[string]RollupTable // by partition
	there  map[string]SourceTable // the same, of one in its source

	tables []RollupTable // those that are read
	due    bool          // something of it is to be fetched
}

// parts returns the rollups that r is read from, each of which this is one more use of: r itself, or its Parts.
func (o *Orchestrators) parts(ctx context.Context, own *asked, r *Rollup) []part {
	rollups := r.Parts
	if len(rollups) == 0 {
		rollups = []*Rollup{r}
	}
	all := make([]part, len(rollups))
	for i, r := range rollups {
		id := r.id(own)
		all[i] = part{Rollup: r, id: id, known: o.used(id, r.Name)}
		all[i].stored, all[i].there = o.tables(ctx, r, id)
	}
	return all
}

// find finds the tables that r reads of parts, what is to be fetched of them, and what the source is to be asked for beside them. It
// reports whether all that r reads are stored.
func (r *Rollup) find(parts []part, now time.Time) (rest *Span, ready bool) {
	needed, ready := make([][]Span, len(parts)), true
	for i := range parts {
		p := &parts[i]
		spans, err := p.spans(p.known)
		ready = ready && err == nil
		p.due = p.asks(p.known, now) || p.known.doubted
		for _, s := range spans {
			t, ok := p.stored[s.Name]
			p.due = p.due || !ok || p.outdated(s, t, p.known, now)
		}
		needed[i] = spans
	}
	if r.United != nil {
		needed, rest, ready = r.united(parts)
	}
	some := false
	for i, spans := range needed {
		for _, s := range spans {
			t, ok := parts[i].stored[s.Name]
			ready = ready && ok
			parts[i].tables = append(parts[i].tables, t)
		}
		ready = ready && (len(spans) > 0 || r.United != nil)
		some = some || len(spans) > 0
	}
	return rest, ready && some
}

// united returns the partitions that r reads of parts, what comes after them, and whether that is everything.
func (r *Rollup) united(parts []part) (spans [][]Span, rest *Span, all bool) {
	reach := make([][2]time.Time, len(parts))
	for i, p := range parts {
		if p.known.asked.IsZero() {
			return nil, nil, false
		}
		reach[i] = [2]time.Time{p.known.from, p.known.to}
	}
	spans, rest, all, err := r.United(reach)
	return spans, rest, all && err == nil
}

// errBounds says that the partitions of a rollup do not hold what is asked for.
var errBounds = errors.New("what is asked for lies outside of what the rollup is built of")

// spans returns the partitions that r reads, or everything where there are none.
func (r *Rollup) spans(k knownRollup) ([]Span, error) {
	switch {
	case r.Partitions == nil:
		return []Span{{}}, nil
	case k.asked.IsZero():
		return nil, nil // until its bounds are known
	}
	spans, all, err := r.Partitions(k.from, k.to)
	if err == nil && !all {
		err = errBounds
	}
	return spans, err
}

// byPartition finds tables by the names of their partitions, of which there may be thousands.
func byPartition(tables []RollupTable) map[string]RollupTable {
	all := make(map[string]RollupTable, len(tables))
	for _, t := range tables {
		all[t.Partition] = t
	}
	return all
}

// asks reports whether the source is to be asked again for the bounds of the partitions and for the answer of the refresh key.
func (r *Rollup) asks(k knownRollup, now time.Time) bool {
	since, key := r.Age(Span{}, now)
	switch {
	case key:
		return now.Sub(k.asked) >= r.Key.Every
	case r.Partitions == nil:
		return false
	}
	return k.asked.IsZero() || k.asked.Before(since)
}

// outdated reports whether a table is to be fetched again.
func (r *Rollup) outdated(s Span, t RollupTable, k knownRollup, now time.Time) bool {
	since, key := r.Age(s, now)
	return t.BuiltAt.Before(since) || key && t.Key != k.key
}

// plainTexts are the types of texts that are equal where their letters are, here as at the source: not those that ignore case or
// trailing spaces, nor those that are no texts there.
var plainTexts = map[string]bool{
	"TEXT": true, "VARCHAR": true, "STRING": true, "CHARACTER VARYING": true, "TINYTEXT": true, "MEDIUMTEXT": true, "LONGTEXT": true,
}

// fit refuses rows with texts that compare otherwise at the source than here.
func (r *Rollup) fit(columns []driverfactory.Column) error {
	if len(columns) != len(r.Columns) {
		return fmt.Errorf("%d columns came for a rollup of %d", len(columns), len(r.Columns))
	}
	for i, c := range r.Columns {
		if typ := columns[i].Type; c.Type == "string" && !plainTexts[typ] {
			return &fault.Error{
				Kind: fault.Invalid, Code: "rollup_unfit", Owner: fault.Admin,
				Detail: fmt.Sprintf("The column %s of the pre-aggregation %s is of the type %s at the source, which compares otherwise than a text does here. "+
					"Cast the dimension to a text in its sql.", c.Name, r.Name, typ),
			}
		}
	}
	return nil
}
