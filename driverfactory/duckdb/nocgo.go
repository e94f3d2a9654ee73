//go:build !cgo

// Package duckdb stands in for DuckDB in a build without cgo: it says that DuckDB is not built in.
package duckdb

import (
	"database/sql/driver"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
)

// Warehouse refuses every source.
type Warehouse struct{}

// New returns a Warehouse.
func New() *Warehouse { return &Warehouse{} }

// Connector says that DuckDB is not built in.
func (w *Warehouse) Connector(src driverfactory.Source, _ driverfactory.Login) (driver.Connector, error) {
	return nil, &fault.Error{
		Kind: fault.Unavailable, Code: "duckdb_not_built_in", Owner: fault.Admin,
		Detail: "DuckDB is not built in: this program was built without cgo. Build it with a C compiler on the PATH.",
		Params: map[string]string{"data_source": src.Name},
	}
}

// Classify is never asked: no statement runs.
func (w *Warehouse) Classify(error) driverfactory.Class { return driverfactory.Misconfigured }

// Value is never asked: no statement runs.
func (w *Warehouse) Value(_ string, _ int64, v any) any { return v }
