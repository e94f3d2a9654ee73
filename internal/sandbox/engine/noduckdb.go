//go:build !cgo

package engine

import (
	"context"

	"github.com/behalf-project/behalf/internal/fault"
)

// Engine would run statements in DuckDB. Built without cgo there is none.
type Engine struct{ Log Log }

// Rows are the rows of a statement.
type Rows struct{ Columns []Column }

// Open answers that DuckDB is not built in.
func Open(context.Context, Config) (*Engine, error) { return nil, missing() }

// Close does nothing.
func (*Engine) Close() error { return nil }

// Grant answers that DuckDB is not built in.
func (*Engine) Grant(context.Context, string, Rights) error { return missing() }

// Query answers that DuckDB is not built in.
func (*Engine) Query(context.Context, Query) (*Rows, error) { return nil, missing() }

// Writes reports false.
func (*Rows) Writes() bool { return false }

// Defines reports false.
func (*Rows) Defines() bool { return false }

// Next reports false.
func (*Rows) Next() bool { return false }

// Values returns nothing.
func (*Rows) Values() []any { return nil }

// Err returns that DuckDB is not built in.
func (*Rows) Err() error { return missing() }

// Close does nothing.
func (*Rows) Close() error { return nil }

func missing() error {
	return fault.New(fault.Unavailable, "DuckDB is not built in: build with CGO_ENABLED=1 and a C compiler to run the sandbox's warehouses")
}
