package sqlgen

import (
	"strconv"
	"strings"
	"time"
)

// Databricks is the dialect of Databricks SQL.
type Databricks struct{ standard }

// Name returns "databricks".
func (Databricks) Name() string { return "databricks" }

// Quote returns name in back-ticks.
func (Databricks) Quote(name string) string { return backQuote(name) }

// Literal returns s in single quotes. A backslash escapes, and two quotes end one literal and begin the next.
func (Databricks) Literal(s string) string {
	return `'` + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + `'`
}

// Placeholder returns a question mark.
func (Databricks) Placeholder(int) string { return "?" }

// Number binds an integer or a float.
func (Databricks) Number(s string) Fragment { return bindNumber(s) }

// InZone returns from_utc_timestamp.
func (d Databricks) InZone(timestamp Fragment, zone string) Fragment {
	return Format("from_utc_timestamp({}, "+d.Literal(zone)+")", timestamp)
}

// Truncate returns date_trunc.
func (Databricks) Truncate(wall Fragment, granularity string) Fragment {
	return Format("date_trunc('"+granularity+"', {})", wall)
}

// Wall returns to_timestamp; the session is in UTC.
func (Databricks) Wall(text Fragment) Fragment { return Format("to_timestamp({})", text) }

// Shift returns timestampadd.
func (Databricks) Shift(wall, n Fragment, unit string) Fragment {
	return Format("timestampadd("+strings.ToUpper(unit)+", CAST({} AS INT), {})", n, wall)
}

// Seconds returns a difference of microseconds: timestampdiff would round towards zero.
func (Databricks) Seconds(from, to Fragment) Fragment {
	return Format("((unix_micros({}) - unix_micros({})) / 1000000)", to, from)
}

// Timestamp returns the bound text as a timestamp of a session in UTC.
func (Databricks) Timestamp(value Fragment) Fragment {
	return Format("from_utc_timestamp(replace(replace({}, 'T', ' '), 'Z', ''), 'UTC')", value)
}

// Like compares in lower case; LIKE's default escape character is the backslash.
func (Databricks) Like(column, value Fragment, before, after, not bool) Fragment {
	return lowerLike(column, value, before, after, not)
}

// Text returns a cast to STRING.
func (Databricks) Text(expr Fragment) Fragment { return Format("CAST({} AS STRING)", expr) }

// ApproxCountDistinct returns approx_count_distinct.
func (Databricks) ApproxCountDistinct(expr Fragment) Fragment {
	return Format("approx_count_distinct({})", expr)
}

// FreshFor returns 2 min.
func (Databricks) FreshFor() time.Duration { return 2 * time.Minute }

// Habits returns that NULL is smaller than everything.
func (Databricks) Habits() Habits { return Habits{NullsFirst: true, Quotients: Fractions} }

// lowerLike returns LOWER(column) [NOT] LIKE the concatenated pattern, for the dialects without ILIKE.
func lowerLike(column, value Fragment, before, after, not bool) Fragment {
	op := " LIKE "
	if not {
		op = " NOT LIKE "
	}
	parts := []Fragment{Format("LOWER({})", value)}
	if before {
		parts = append([]Fragment{text("'%'")}, parts...)
	}
	if after {
		parts = append(parts, text("'%'"))
	}
	return Format("LOWER({})"+op+"CONCAT({})", column, join(parts, ", "))
}

func backQuote(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// bindNumber binds s as int64 when it is one, else as float64.
func bindNumber(s string) Fragment {
	if n, ok := integer(s); ok {
		return bind(n)
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return bind(s) // out of range: the database decides
	}
	return bind(f)
}
