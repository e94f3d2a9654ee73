package sqlgen

import (
	"strings"
	"time"
)

// Snowflake is the dialect of Snowflake.
type Snowflake struct{ standard }

// Name returns "snowflake".
func (Snowflake) Name() string { return "snowflake" }

// Quote returns name in double quotes, which keeps its case.
func (Snowflake) Quote(name string) string { return doubleQuote(name) }

// Literal returns s in single quotes, where a backslash escapes.
func (Snowflake) Literal(s string) string { return singleQuote(strings.ReplaceAll(s, `\`, `\\`)) }

// Placeholder returns a question mark.
func (Snowflake) Placeholder(int) string { return "?" }

// Number binds an integer or a float.
func (Snowflake) Number(s string) Fragment { return bindNumber(s) }

// InZone returns CONVERT_TIMEZONE without a zone in the result.
func (d Snowflake) InZone(timestamp Fragment, zone string) Fragment {
	return Format("CONVERT_TIMEZONE("+d.Literal(zone)+", {}::timestamp_tz)::timestamp_ntz", timestamp)
}

// Truncate returns date_trunc.
func (Snowflake) Truncate(wall Fragment, granularity string) Fragment {
	return Format("date_trunc('"+strings.ToUpper(granularity)+"', {})", wall)
}

// Wall returns text::timestamp_ntz.
func (Snowflake) Wall(text Fragment) Fragment { return Format("{}::timestamp_ntz", text) }

// Shift returns DATEADD.
func (Snowflake) Shift(wall, n Fragment, unit string) Fragment {
	return Format("DATEADD('"+strings.ToUpper(unit)+"', {}, {})", n, wall)
}

// Seconds returns DATEDIFF, which counts the seconds that begin in between.
func (Snowflake) Seconds(from, to Fragment) Fragment {
	return Format("DATEDIFF('SECOND', {}, {})", from, to)
}

// Timestamp returns value::timestamp_tz.
func (Snowflake) Timestamp(value Fragment) Fragment { return Format("{}::timestamp_tz", value) }

// Like returns an ILIKE with its escape character, since Snowflake has no default one.
func (Snowflake) Like(column, value Fragment, before, after, not bool) Fragment {
	return ilike(column, value, before, after, not, ` ESCAPE '\\'`)
}

// Text returns a cast to TEXT.
func (Snowflake) Text(expr Fragment) Fragment { return Format("CAST({} AS TEXT)", expr) }

// ApproxCountDistinct returns APPROX_COUNT_DISTINCT.
func (Snowflake) ApproxCountDistinct(expr Fragment) Fragment {
	return Format("APPROX_COUNT_DISTINCT({})", expr)
}

// FreshFor returns 2 min.
func (Snowflake) FreshFor() time.Duration { return 2 * time.Minute }

// Habits returns that NULL is larger than everything, and that a quotient has six digits more than what it is of.
func (Snowflake) Habits() Habits {
	return Habits{NullsFirstDown: true, Quotients: Rounded, Doubles: []string{"FLOAT", "FLOAT8"}}
}
