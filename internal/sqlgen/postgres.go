package sqlgen

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Postgres is the dialect of PostgreSQL.
type Postgres struct{ standard }

// Name returns "postgres".
func (Postgres) Name() string { return "postgres" }

// Quote returns name in double quotes.
func (Postgres) Quote(name string) string { return doubleQuote(name) }

// Literal returns s in single quotes; standard_conforming_strings is on, so a backslash is only a backslash.
func (Postgres) Literal(s string) string { return singleQuote(s) }

// Placeholder returns $n.
func (Postgres) Placeholder(n int) string { return "$" + strconv.Itoa(n) }

// Number binds what fits an int4 as it is, so that the server takes the type of the other side. The type is written
// beside larger numbers and fractions: the server would infer integer from an integer column, and refuse the value.
func (Postgres) Number(s string) Fragment {
	n, ok := integer(s)
	switch {
	case !ok:
		return Format("{}::numeric", bind(s))
	case n != int64(int32(n)):
		return Format("{}::bigint", bind(n))
	}
	return bind(n)
}

// InZone returns timestamp AT TIME ZONE zone.
func (Postgres) InZone(timestamp Fragment, zone string) Fragment {
	return Format("({}::timestamptz AT TIME ZONE "+singleQuote(zone)+")", timestamp)
}

// Truncate returns date_trunc.
func (Postgres) Truncate(wall Fragment, granularity string) Fragment {
	return Format("date_trunc('"+granularity+"', {})", wall)
}

// Wall returns text::timestamp.
func (Postgres) Wall(text Fragment) Fragment { return Format("{}::timestamp", text) }

// Shift adds an interval.
func (Postgres) Shift(wall, n Fragment, unit string) Fragment {
	return Format("({} + INTERVAL '1 "+unit+"' * {})", wall, n)
}

// Seconds returns the epoch of a difference.
func (Postgres) Seconds(from, to Fragment) Fragment {
	return Format("EXTRACT(EPOCH FROM ({} - {}))", to, from)
}

// Timestamp returns value::timestamptz.
func (Postgres) Timestamp(value Fragment) Fragment { return Format("{}::timestamptz", value) }

// Like returns an ILIKE, whose default escape character is the backslash.
func (Postgres) Like(column, value Fragment, before, after, not bool) Fragment {
	return ilike(column, value, before, after, not, "")
}

// Text returns a cast to TEXT.
func (Postgres) Text(expr Fragment) Fragment { return Format("CAST({} AS TEXT)", expr) }

// AnyValue returns the first of all values: any_value came with version 16.
func (Postgres) AnyValue(expr Fragment) Fragment { return Format("(array_agg({}))[1]", expr) }

// ApproxCountDistinct uses the hll extension.
func (Postgres) ApproxCountDistinct(expr Fragment) Fragment {
	return Format("round(hll_cardinality(hll_add_agg(hll_hash_any({}))))", expr)
}

// FreshFor returns 10 s.
func (Postgres) FreshFor() time.Duration { return 10 * time.Second }

// Habits returns that NULL is larger than everything, that texts have the order of the database's language, and that whole
// numbers divide into whole numbers.
func (Postgres) Habits() Habits {
	return Habits{Indexes: true, NullsFirstDown: true, Texts: Collated, Quotients: Whole, Doubles: []string{"FLOAT", "FLOAT8"}, Decimals: []string{"NUMERIC", "DECIMAL"}}
}

// ilike returns column [NOT] ILIKE with the concatenated pattern, for the dialects that have ILIKE.
func ilike(column, value Fragment, before, after, not bool, escape string) Fragment {
	op := " ILIKE "
	if not {
		op = " NOT ILIKE "
	}
	pattern := Fragment{}
	if before {
		pattern.addText("'%' || ")
	}
	pattern.add(value)
	if after {
		pattern.addText(" || '%'")
	}
	return Format("{}"+op+"{}"+escape, column, pattern)
}

var integerPattern = regexp.MustCompile(`^-?[0-9]{1,19}$`)

// integer returns s as an int64, if it is one.
func integer(s string) (int64, bool) {
	if !integerPattern.MatchString(s) {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

func doubleQuote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func singleQuote(s string) string { return `'` + strings.ReplaceAll(s, `'`, `''`) + `'` }
