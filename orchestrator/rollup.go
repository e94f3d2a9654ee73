package orchestrator

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
)

// Rollup is a pre-aggregation that holds what a Request asks for (cube-data-model.md §19): rows that the source has grouped
// already, which are kept here and grouped further for each query.
//
// Its rows belong to the credential that fetched them, like a result. A person never waits for them: until they are there the
// source answers, and the second request that could have used them has them built, behind it (design.md §2.12).
type Rollup struct {
	Name      string            // "orders.main"
	Structure [sha256.Size]byte // of everything that its rows depend on beside source and credential
	Shared    bool              // the service account fetches them, for everybody who may use the source

	Columns []RollupColumn          // of its rows
	Table   string                  // the name under which Read reads them
	Read    driverfactory.Statement // in place of Request.Statement, in the SQL of DuckDB

	// Build returns the statement that fetches one partition, or all rows.
	Build func(Span) (driverfactory.Statement, error)

	// Partitions returns those that Read needs of what lies between two moments of wall time, oldest first, and whether that is
	// everything which Read is about. It is nil where there is one table for all. Bounds ask the source for the two moments:
	// for one row of one column each.
	Partitions func(from, to time.Time) (spans []Span, all bool, err error)
	Bounds     [2]driverfactory.Statement

	// Age says which rows of a partition, or of all, are old at a moment: those fetched before since and, with key, those
	// fetched when Key was answered otherwise.
	Age func(s Span, now time.Time) (since time.Time, key bool)
	Key RefreshKey
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

// PreAggregations keeps the rows of rollups. preagg.Store is one.
type PreAggregations interface {
	// IDs returns the rollups that there may be tables of, of the credentials that match agrees to, in no order.
	IDs(match func(driverfactory.PoolKey) bool) []RollupID

	// Tables returns the newest table of each partition, in no order.
	Tables(id RollupID) []RollupTable

	// Write reads rows to their end and keeps them as a table, in place of that of the same partition. It returns t with
	// what it took. What goes wrong leaves what there was.
	Write(ctx context.Context, id RollupID, t RollupTable, columns []RollupColumn, rows driverfactory.Rows) (RollupTable, error)

	// Query runs stmt, which reads name, over the rows of tables.
	Query(ctx context.Context, id RollupID, name string, tables []RollupTable, stmt driverfactory.Statement) (driverfactory.Rows, error)

	// Drop forgets all rows of the credentials that match agrees to. When it returns, nothing reads them any more, and a
	// Write under way for one of them brings nothing back. An error says what may be left on a disk, unread.
	Drop(match func(driverfactory.PoolKey) bool) error
}
