// Package engine runs the SQL of the emulated warehouses in DuckDB, over one deterministic data set, as a named person.
//
// The data is three tables of a shop: orders (a million rows by default), customers and order_items, made by
// arithmetic and so the same on every machine. Nobody sees the tables themselves. A statement runs under an identity
// and sees views that keep the rows of the regions this identity has rights to; a table it is denied is refused as a
// real warehouse refuses. So two people who send the same statement get different rows, which is what the sandbox is
// for.
//
//	warehouse dialect ──translate──▶ DuckDB's ──analyze──▶ tables named ──rights──▶ run as the person ──▶ Rows
//
// The names of tables come from DuckDB's own parser and are compared with a list of what may be named, so a statement
// reaches neither the tables beneath the views nor the rights, whatever its spelling. One more table, scratch, takes
// writes of who may write. And everybody may make tables of what they see, in schemas beside that of the shop: such a table
// belongs to who made it, and holds what they saw then.
//
// Every statement is entered in a Log with its identity, which tests read. A comment such as
// /* sandbox:sleep=5s */ makes a statement take that long, and cancelling it works meanwhile.
//
// DuckDB needs cgo: built without it, Open says so and the rest of the program is the same.
package engine

import (
	"errors"
	"fmt"
	"time"
)

// Config is what Open needs; the zero Config is a shop of a million orders in which nobody may see anything.
type Config struct {
	Rows   int               // number of orders; default 1,000,000, at least 100
	Rights map[string]Rights // by name of the person or service account; who is not named sees no row
}

// Rights is what an identity may see and do.
type Rights struct {
	Regions []string // whose rows it sees, of Regions(); AllRegions for all of them
	Denied  []string // tables it must not read at all
	Write   bool     // whether it may insert, update and delete in scratch

	OnlyReads bool     // whether it may make no schemas and no tables
	Reads     []string // tables that others made and it may read: "schema.table"
}

// Regions returns the regions of the shop.
func Regions() []string { return []string{"AMER", "APAC", "EMEA"} }

// AllRegions are the Regions of Rights that see everything.
var AllRegions = Regions()

// Tables returns the names that statements may use, without catalog and schema.
func Tables() []string { return []string{"customers", "order_items", "orders", "scratch"} }

// Catalog is the database that holds the shop. A statement may name tables plainly, with the schema or with both.
const Catalog = "demo"

// Query is a statement to run.
type Query struct {
	ID        string  // of the statement at the warehouse; free, for the log
	Warehouse string  // name of the warehouse, for the log
	Identity  string  // who asks
	Dialect   Dialect // of SQL
	SQL       string
	Args      []any  // positional values, or sql.NamedArg
	TimeZone  string // of the session; default UTC

	Role           string // of the session, in Snowflake; it gives no rights here, which are the identity's
	SecondaryRoles string // of the session, as Snowflake writes them
}

// Type is the type of a column, and says which Go type Rows.Values has in it.
type Type int

// The types of columns.
const (
	Bool        Type = iota // bool
	Int8                    // int64, as all integers
	Int16                   //
	Int32                   //
	Int64                   //
	Float32                 // float64
	Float64                 // float64
	Decimal                 // string, with as many decimals as the column has
	Text                    // string
	Date                    // time.Time
	Time                    // time.Time
	Timestamp               // time.Time in UTC: a wall clock
	TimestampTZ             // time.Time in UTC: an instant
	Binary                  // []byte
)

// Column describes a column of a result.
type Column struct {
	Name             string
	Type             Type
	Precision, Scale int // of Decimal
}

// ErrorKind is a class of failure of a statement, which each warehouse has its own code for.
type ErrorKind int

// The classes of failure.
const (
	Failed       ErrorKind = iota // while running: a division, a cast, anything else
	Syntax                        // it is not SQL, or not the SQL that the sandbox takes
	TableAbsent                   // it names a table or function that does not exist
	NoColumn                      // it names a column that does not exist
	NotAllowed                    // it names a table that this identity is denied
	SchemaAbsent                  // it makes a table in a schema that does not exist
	Exists                        // it makes what exists
	Canceled                      // somebody stopped it
)

// Error is a failed statement. Its message may quote the statement, as those of warehouses do.
type Error struct {
	Kind    ErrorKind
	Object  string // the table or schema, for TableAbsent, NotAllowed, SchemaAbsent and Exists
	Message string
}

func (e *Error) Error() string { return e.Message }

func denied(table string) *Error {
	return &Error{Kind: NotAllowed, Object: table, Message: fmt.Sprintf("no permission SELECT on table %q", table)}
}

// ErrClosed is what a closed Engine answers.
var ErrClosed = errors.New("sandbox engine: closed")

const (
	defaultRows = 1_000_000
	minRows     = 100
	maxSleep    = 10 * time.Minute
	maxSQL      = 1 << 20 // bytes of a statement
)

func (c Config) rows() int {
	if c.Rows == 0 {
		return defaultRows
	}
	return max(c.Rows, minRows)
}
