//go:build !cgo

package preagg

import (
	"context"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
)

// file is never made.
type file struct{}

// Store stands in for the store in a build without cgo. There is none: Open refuses.
type Store struct{}

func notBuiltIn() error {
	return &fault.Error{
		Kind: fault.Unavailable, Code: "duckdb_not_built_in", Owner: fault.Admin,
		Detail: "Pre-aggregations are read with DuckDB, which is not built in: this program was built without cgo. " +
			"Build it with a C compiler on the PATH.",
	}
}

// Open says that DuckDB is not built in.
func Open(Config) (*Store, error) { return nil, notBuiltIn() }

// Place is never asked.
func (s *Store) Place(context.Context) string { return "" }

// IDs is never asked.
func (s *Store) IDs(func(driverfactory.PoolKey) bool) []ID { return nil }

// Tables is never asked.
func (s *Store) Tables(ID) []Table { return nil }

// Write is never asked.
func (s *Store) Write(context.Context, ID, Table, []Column, driverfactory.Rows) (Table, error) {
	return Table{}, notBuiltIn()
}

// Query is never asked.
func (s *Store) Query(context.Context, []Part, driverfactory.Statement) (driverfactory.Rows, error) {
	return nil, notBuiltIn()
}

// Refresh is never asked.
func (s *Store) Refresh(context.Context, ID) error { return nil }

// Drop is never asked.
func (s *Store) Drop(func(driverfactory.PoolKey) bool) error { return nil }

// Bytes is never asked.
func (s *Store) Bytes() int64 { return 0 }

// Sweep is never asked.
func (s *Store) Sweep(context.Context) {}

// Run is never asked.
func (s *Store) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Close is never asked.
func (s *Store) Close() error { return nil }
