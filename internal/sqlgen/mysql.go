package sqlgen

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strings"
	"time"
)

// MySQL is the dialect of MySQL, 8.0 and newer, and of MariaDB, 10.6 and newer. A session must have a sql_mode without
// ANSI_QUOTES, PIPES_AS_CONCAT and NO_BACKSLASH_ESCAPES, and the server the time zones of the IANA by name.
type MySQL struct{}

// Name returns "mysql", as Cube does for both servers.
func (MySQL) Name() string { return "mysql" }

// Quote returns name in back-ticks.
func (MySQL) Quote(name string) string { return backQuote(name) }

// Literal returns s in single quotes, where a backslash escapes.
func (MySQL) Literal(s string) string { return singleQuote(strings.ReplaceAll(s, `\`, `\\`)) }

// Placeholder returns a question mark.
func (MySQL) Placeholder(int) string { return "?" }

// Number returns an exact number: all values are sent as text, and a text would be compared as a float.
func (MySQL) Number(s string) Fragment {
	if n, ok := integer(s); ok {
		return Format("CAST({} AS SIGNED)", bind(n))
	}
	return Format("CAST({} AS DECIMAL(65, 30))", bind(s))
}

// InZone returns CONVERT_TZ, which is NULL where the server does not know the zone: the driver looks that no statement
// names such a one. UTC is an offset, which every server knows.
func (d MySQL) InZone(timestamp Fragment, zone string) Fragment {
	if zone == "UTC" {
		zone = "+00:00"
	}
	return Format("CONVERT_TZ({}, '+00:00', "+d.Literal(zone)+")", timestamp)
}

// mysqlTruncated are the formats of what is left of a time.
var mysqlTruncated = map[string]string{
	"second": "%Y-%m-%d %H:%i:%s", "minute": "%Y-%m-%d %H:%i:00", "hour": "%Y-%m-%d %H:00:00",
	"day": "%Y-%m-%d 00:00:00", "month": "%Y-%m-01 00:00:00", "year": "%Y-01-01 00:00:00",
}

// Truncate returns the time without what is smaller: there is no date_trunc.
func (MySQL) Truncate(wall Fragment, granularity string) Fragment {
	switch granularity {
	case "week": // WEEKDAY of a Monday is 0
		return Format("CAST(DATE({}) - INTERVAL WEEKDAY({}) DAY AS DATETIME)", wall, wall)
	case "quarter":
		return Format("CAST(MAKEDATE(YEAR({}), 1) + INTERVAL QUARTER({}) - 1 QUARTER AS DATETIME)", wall, wall)
	}
	return Format("CAST(DATE_FORMAT({}, '"+mysqlTruncated[granularity]+"') AS DATETIME)", wall)
}

// Wall returns a cast to DATETIME.
func (MySQL) Wall(text Fragment) Fragment { return Format("CAST({} AS DATETIME(3))", text) }

// Shift adds an interval.
func (MySQL) Shift(wall, n Fragment, unit string) Fragment {
	return Format("({} + INTERVAL {} "+strings.ToUpper(unit)+")", wall, n)
}

// Seconds returns a difference of whole seconds, as a float: a quotient of integers has four digits.
func (MySQL) Seconds(from, to Fragment) Fragment {
	return Format("((TO_SECONDS({}) - TO_SECONDS({})) * 1e0)", to, from)
}

// Moment binds a time without its zone: MySQL takes no Z.
func (MySQL) Moment(utc string) Fragment { return bind(strings.TrimSuffix(utc, "Z")) }

// Timestamp returns a cast to DATETIME, of a session in UTC.
func (MySQL) Timestamp(moment Fragment) Fragment { return Format("CAST({} AS DATETIME(3))", moment) }

// Like compares in lower case; LIKE's default escape character is the backslash.
func (MySQL) Like(column, value Fragment, before, after, not bool) Fragment {
	return lowerLike(column, value, before, after, not)
}

// mysqlNumber is a text that equals no other number: compared with one, it is a float.
var mysqlNumber = regexp.MustCompile(`^-?[0-9]{1,15}(\.[0-9]+)?$`)

// Exactly compares as text, too, unless all values are numbers: beside a number a text is the number it begins with, and 0
// when it begins with none. CONCAT makes text of a number, and leaves a column of texts its collation. A number that was
// bound as one is also compared as a text, which beside a column of numbers is that number again.
func (MySQL) Exactly(column Fragment, values []any) Fragment {
	bound, isText, isNumber := make([]any, len(values)), false, false
	for i, v := range values {
		bound[i] = v
		switch v := v.(type) {
		case json.Number:
			bound[i], isNumber = v.String(), true
		case string:
			isText = isText || !mysqlNumber.MatchString(v)
		}
	}
	switch {
	case isNumber:
		return Format("({} IN ({}))", column, placeholders(bound))
	case isText:
		return Format("(CONCAT({}, '') IN ({}))", column, placeholders(bound))
	}
	return Fragment{}
}

// Text returns a cast to CHAR.
func (MySQL) Text(expr Fragment) Fragment { return Format("CAST({} AS CHAR)", expr) }

// Concat returns CONCAT: || is OR.
func (MySQL) Concat(parts ...Fragment) Fragment { return Format("CONCAT({})", join(parts, ", ")) }

// Rows returns a JSON_TABLE: the two servers have no form of VALUES in common.
func (d MySQL) Rows(name string, columns []string, rows [][]string) Fragment {
	list, err := json.Marshal(rows)
	if err != nil {
		panic("sqlgen: " + err.Error()) // texts can be marshalled
	}
	paths := make([]string, len(columns))
	for i, c := range columns {
		paths[i] = fmt.Sprintf("%s VARCHAR(255) PATH '$[%d]'", c, i)
	}
	return text("JSON_TABLE(" + d.Literal(string(list)) + ", '$[*]' COLUMNS (" + strings.Join(paths, ", ") + ")) AS " + name)
}

// Page returns LIMIT and OFFSET, of which there is no second without the first.
func (MySQL) Page(limit *int, offset int) string {
	if limit == nil && offset > 0 {
		limit = new(int)
		*limit = math.MaxInt
	}
	return standard{}.Page(limit, offset)
}

// Integer returns a SIGNED.
func (MySQL) Integer(expr Fragment) Fragment { return Format("CAST({} AS SIGNED)", expr) }

// AnyValue returns the largest value: MariaDB has no ANY_VALUE.
func (MySQL) AnyValue(expr Fragment) Fragment { return Format("MAX({})", expr) }

// ApproxCountDistinct returns the exact number: neither server has an approximate one.
func (MySQL) ApproxCountDistinct(expr Fragment) Fragment { return Format("COUNT(DISTINCT {})", expr) }

// FreshFor returns 10 s.
func (MySQL) FreshFor() time.Duration { return 10 * time.Second }

// Habits returns that NULL is smaller than everything, that texts are equal as their collation says, which minds neither case
// nor accents by default, and that a quotient has four digits more than what it is of.
func (MySQL) Habits() Habits {
	return Habits{Indexes: true, NullsFirst: true, Texts: Folded, Quotients: Rounded}
}
