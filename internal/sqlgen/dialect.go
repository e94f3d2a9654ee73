package sqlgen

import (
	"time"
)

// Dialect is what differs between the SQL of databases. A Dialect has no state.
type Dialect interface {
	// Name returns the name of the dialect, which is also the dbType of an answer.
	Name() string

	// Quote returns name as a quoted identifier.
	Quote(name string) string

	// Literal returns s as a string literal. It is for labels of the model, never for values of a query.
	Literal(s string) string

	// Placeholder returns the placeholder of the n-th bound value, counting from 1.
	Placeholder(n int) string

	// Number returns a bound number, which has a sign, digits and perhaps a fraction or an exponent.
	Number(s string) Fragment

	// InZone returns a timestamp as wall time in an IANA zone, without a zone of its own.
	InZone(timestamp Fragment, zone string) Fragment

	// Truncate returns wall time cut to the start of a granularity: second to year, weeks start on Monday.
	Truncate(wall Fragment, granularity string) Fragment

	// Wall returns the text of a wall time, given as 2006-01-02T15:04:05.000, as the type that InZone returns.
	Wall(text Fragment) Fragment

	// Shift returns wall time and n units later, n a whole number of any type: second, minute, hour, day, week, month,
	// quarter or year.
	Shift(wall, n Fragment, unit string) Fragment

	// Seconds returns how long it is from one wall time to another, whole seconds at least.
	Seconds(from, to Fragment) Fragment

	// Moment binds a point in time, given as 2006-01-02T15:04:05.000Z, as a text that SQL of a model may take for one.
	Moment(utc string) Fragment

	// Timestamp returns a moment fit for comparing with a column.
	Timestamp(moment Fragment) Fragment

	// Like returns the condition that column matches the pattern, without regard to case. The value is bound with
	// backslashes before %, _ and backslash; before and after say where any text may stand.
	Like(column, value Fragment, before, after, not bool) Fragment

	// Exactly returns what must hold beside column being one of bound values, where the database alone takes more for equal
	// than is. A json.Number was bound by Number. It is one operand, or empty where that is enough.
	Exactly(column Fragment, values []any) Fragment

	// Text returns expr cast to text.
	Text(expr Fragment) Fragment

	// Concat returns the texts of parts as one, and NULL where one of them is.
	Concat(parts ...Fragment) Fragment

	// Rows returns a table for FROM, of constant texts without quotes and backslashes, at most 255 bytes each. The names of
	// the table and of its columns are quoted already.
	Rows(name string, columns []string, rows [][]string) Fragment

	// Page returns what follows ORDER BY to skip offset rows and then return limit; nil is no limit. It begins with a new
	// line, or is empty.
	Page(limit *int, offset int) string

	// Integer returns expr cast to a whole number of 64 bits.
	Integer(expr Fragment) Fragment

	// AnyValue returns one of the values of expr in a group of rows.
	AnyValue(expr Fragment) Fragment

	// ApproxCountDistinct returns the approximate number of distinct values.
	ApproxCountDistinct(expr Fragment) Fragment

	// FreshFor returns how long a result may be reused when the model does not say (cube-data-model.md §18).
	FreshFor() time.Duration

	// Habits returns in what the database answers otherwise than DuckDB does, from which its rollups are read.
	Habits() Habits
}

// Habits are what a database does in another way than DuckDB. What depends on one is read from a rollup in the way of the
// database, or not at all. The zero Habits are those of a DuckDB that may be written.
type Habits struct {
	ReadOnly       bool // it is only read here: nothing is kept in it
	Indexes        bool // its tables have them
	NullsFirst     bool // in ascending order
	NullsFirstDown bool // in descending order
	Texts          Texts
	Quotients      Quotients
	Doubles        []string // names of the type DOUBLE beside that
	Decimals       []string // types of exact numbers of any length, unless they say how long
}

// Texts says which texts a database takes for equal, and in which order they are.
type Texts int

// The texts.
const (
	Binary   Texts = iota // those of the same bytes, in the order of the bytes
	Collated              // those of the same bytes, in the order of a language
	Folded                // also some that differ in case, in accents or in spaces at their end
)

// Quotients says what a quotient is in a database.
type Quotients int

// The quotients.
const (
	Floats    Quotients = iota // a float, as in DuckDB
	Fractions                  // a fraction, whatever it is of, and nothing where that is divided by zero
	Whole                      // of whole numbers a whole number, and else a fraction
	Rounded                    // a fraction of a few digits
)
