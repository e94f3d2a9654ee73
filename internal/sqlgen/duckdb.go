package sqlgen

import (
	"time"
)

// DuckDB is the dialect of DuckDB, which is that of PostgreSQL but for placeholders, patterns and bound numbers.
type DuckDB struct{ Postgres }

// Name returns "duckdb".
func (DuckDB) Name() string { return "duckdb" }

// Placeholder returns a question mark.
func (DuckDB) Placeholder(int) string { return "?" }

// Number binds an integer or a float.
func (DuckDB) Number(s string) Fragment { return bindNumber(s) }

// InZone returns timezone(zone, timestamp).
func (DuckDB) InZone(timestamp Fragment, zone string) Fragment {
	return Format("timezone("+singleQuote(zone)+", {}::timestamptz)", timestamp)
}

// Shift adds an interval, which DuckDB multiplies by integers alone.
func (DuckDB) Shift(wall, n Fragment, unit string) Fragment {
	return Format("({} + INTERVAL '1 "+unit+"' * CAST({} AS BIGINT))", wall, n)
}

// Like returns an ILIKE with its escape character, since DuckDB has no default one.
func (DuckDB) Like(column, value Fragment, before, after, not bool) Fragment {
	return ilike(column, value, before, after, not, ` ESCAPE '\'`)
}

// AnyValue returns any_value.
func (DuckDB) AnyValue(expr Fragment) Fragment { return standard{}.AnyValue(expr) }

// ApproxCountDistinct returns approx_count_distinct.
func (DuckDB) ApproxCountDistinct(expr Fragment) Fragment {
	return Format("approx_count_distinct({})", expr)
}

// FreshFor returns 10 s.
func (DuckDB) FreshFor() time.Duration { return 10 * time.Second }

// Habits returns none but names.
func (DuckDB) Habits() Habits { return Habits{ReadOnly: true, Doubles: []string{"FLOAT8"}} }
