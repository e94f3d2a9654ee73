//go:build cgo

package preagg

import (
	"database/sql/driver"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
)

// kind is what the values of a column are, which decides its type in DuckDB. The model's type does not: a dimension of
// type string may well be a number at its source, and must be read back as the number it was.
type kind string

// The kinds.
const (
	unknown  kind = "" // there was nothing but NULL
	booleans kind = "boolean"
	integers kind = "integer"
	decimals kind = "decimal"
	floats   kind = "double"
	texts    kind = "text"
	binaries kind = "bytes"
	times    kind = "time"
)

// maxDigits is how many digits a DECIMAL of DuckDB has at most, and smallDigits how many of them fit into 64 bits.
const (
	maxDigits   = 38
	smallDigits = 18
)

// kindsOf says what the values of a column of the model's type may be.
var kindsOf = map[Type][]kind{
	String:  {booleans, integers, decimals, floats, texts, binaries, times},
	Number:  {integers, decimals, floats},
	Boolean: {booleans, integers},
	Time:    {times},
	Extreme: {integers, decimals, floats, times},
}

// column is a Column with what is known of its values.
type column struct {
	Name   string `json:"name"`
	Type   Type   `json:"type"`
	Kind   kind   `json:"kind,omitempty"`
	Digits int    `json:"digits,omitempty"` // of integers and decimals: the most before the point
	Scale  int    `json:"scale,omitempty"`  // of decimals: the most after it
}

// columnsOf returns cols before their first value, or what is wrong with them.
func columnsOf(cols []Column) ([]column, error) {
	if len(cols) == 0 {
		return nil, fault.New(fault.Invalid, "A rollup needs a column.")
	}
	seen := map[string]bool{}
	columns := make([]column, len(cols))
	for i, c := range cols {
		name := strings.ToLower(c.Name) // DuckDB's names have no case
		switch {
		case c.Name == "", strings.ContainsRune(c.Name, 0), !utf8.ValidString(c.Name):
			return nil, fault.New(fault.Invalid, "%q cannot be the name of a column.", c.Name)
		case seen[name]:
			return nil, fault.New(fault.Invalid, "There are two columns called %q.", c.Name)
		case kindsOf[c.Type] == nil:
			return nil, fault.New(fault.Invalid, "Column %q is of type %q, which a rollup cannot hold.", c.Name, c.Type)
		}
		seen[name] = true
		columns[i] = column{Name: c.Name, Type: c.Type}
	}
	return columns, nil
}

// valid reports whether c can have come from a build.
func (c column) valid() bool {
	return c.Name != "" && !strings.ContainsRune(c.Name, 0) && utf8.ValidString(c.Name) &&
		(c.Kind == unknown && kindsOf[c.Type] != nil || slices.Contains(kindsOf[c.Type], c.Kind)) &&
		c.Digits >= 0 && c.Scale >= 0 && c.Digits+c.Scale <= maxDigits
}

// sqlType is the type in DuckDB that holds all the values.
func (c column) sqlType() string {
	switch c.Kind {
	case booleans:
		return "BOOLEAN"
	case integers:
		return "BIGINT"
	case decimals:
		if c.small() {
			return fmt.Sprintf("DECIMAL(%d,%d)", smallDigits, c.Scale)
		}
		return fmt.Sprintf("DECIMAL(%d,%d)", maxDigits, c.Scale)
	case floats:
		return "DOUBLE"
	case texts:
		return "VARCHAR"
	case binaries:
		return "BLOB"
	case times:
		return "TIMESTAMP"
	}
	// It holds NULLs only, and any type can hold those.
	switch c.Type {
	case Number:
		return "BIGINT"
	case Boolean:
		return "BOOLEAN"
	case Time:
		return "TIMESTAMP"
	}
	return "VARCHAR"
}

// small reports whether a decimal of c without its point fits into 64 bits, which are read several times as fast.
func (c column) small() bool { return c.Digits+c.Scale <= smallDigits }

// holding returns c as it must be to hold the values of d too, and whether there is such a column: exact numbers agree on
// the widest DECIMAL, and everything else on nothing but itself.
func (c column) holding(d column) (column, bool) {
	exact := func(k kind) bool { return k == integers || k == decimals }
	switch {
	case d.Kind == unknown:
	case c.Kind == unknown:
		c.Kind = d.Kind
	case c.Kind == d.Kind:
	case exact(c.Kind) && exact(d.Kind):
		c.Kind = decimals
	default:
		return c, false
	}
	c.Digits, c.Scale = max(c.Digits, d.Digits), max(c.Scale, d.Scale)
	return c, c.Kind != decimals || c.Digits+c.Scale <= maxDigits
}

// admit widens c so that it holds v, and returns v as stored takes it. The error says why it cannot, without the value.
func (c *column) admit(v any) (any, error) {
	of := column{Name: c.Name, Type: c.Type}
	switch x := v.(type) {
	case nil:
		return nil, nil
	case bool:
		of.Kind = booleans
	case int64:
		of.Kind, of.Digits = integers, digitsOf(x)
	case float64:
		of.Kind = floats
	case driverfactory.Decimal:
		d, ok := parseDecimal(string(x))
		if !ok {
			return nil, fmt.Errorf("it is no number with up to %d digits, and a rollup would have to round it", maxDigits)
		}
		of.Kind, of.Digits, of.Scale = decimals, d.digits, d.scale
		v = d
	case string:
		of.Kind = texts
		if c.Type == Time {
			t, ok := parseTime(x)
			if !ok {
				return nil, fmt.Errorf("it is text that is no time")
			}
			return c.admit(t)
		}
		if !utf8.ValidString(x) {
			return nil, fmt.Errorf("its text is not valid UTF-8")
		}
	case time.Time:
		of.Kind = times
		if x.Nanosecond()%1000 != 0 {
			return nil, fmt.Errorf("it has fractions of a microsecond; give the time dimension a granularity")
		}
		if y := x.Year(); y < -290_000 || y > 290_000 {
			return nil, fmt.Errorf("it is a time in a year that DuckDB does not have")
		}
		v = wall(x)
	case []byte:
		of.Kind = binaries
	default:
		return nil, fmt.Errorf("it is a %T", v)
	}
	if !slices.Contains(kindsOf[c.Type], of.Kind) {
		return nil, fmt.Errorf("it is of kind %s, and the model says that the column is of type %s", of.Kind, c.Type)
	}
	wide, ok := c.holding(of)
	switch {
	case ok:
		*c = wide
		return v, nil
	case wide.Kind == decimals:
		return nil, fmt.Errorf("with the rows before it takes %d digits before the point and %d after it, and there is room for %d",
			wide.Digits, wide.Scale, maxDigits)
	}
	return nil, fmt.Errorf("it is of kind %s, and the rows before are of kind %s", of.Kind, c.Kind)
}

// stored returns what admit returned as DuckDB's appender takes it for the present type of c.
func (c *column) stored(v any) driver.Value {
	if c.Kind != decimals {
		return v
	}
	switch v := v.(type) {
	case int64:
		return decimal{unscaled: v}.scaled(c.Scale, c.small())
	case decimal:
		return v.scaled(c.Scale, c.small())
	}
	return nil
}

// wall is the wall clock of t, in UTC: what a TIMESTAMP holds, and what answers print.
func wall(t time.Time) time.Time {
	y, m, d := t.Date()
	return time.Date(y, m, d, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// timeFormats are the texts that sources return for times.
var timeFormats = []string{
	"2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999", "2006-01-02", time.RFC3339Nano,
	"2006-01-02 15:04:05.999999999 UTC", "2006-01-02 15:04:05.999999999 +00:00",
}

// parseTime reads a time that came as text. One that has a zone is read as answers print it: in UTC.
func parseTime(s string) (time.Time, bool) {
	for _, format := range timeFormats {
		if t, err := time.Parse(format, s); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// decimal is an exact number: unscaled / 10^scale, or large / 10^scale where that does not fit.
type decimal struct {
	unscaled int64
	large    *big.Int // nil where unscaled holds it
	digits   int      // before the point, without leading zeros
	scale    int
}

// parseDecimal reads the plain notation of databases: a sign, digits, a point and more digits.
func parseDecimal(s string) (decimal, bool) {
	digits := strings.TrimPrefix(s, "-")
	before, after, point := strings.Cut(digits, ".")
	if point && after == "" && before == "" || !point && before == "" {
		return decimal{}, false
	}
	before = strings.TrimLeft(before, "0")
	d := decimal{digits: len(before), scale: len(after)}
	if d.digits+d.scale > maxDigits {
		return decimal{}, false
	}
	for _, part := range []string{before, after} {
		for i := range len(part) {
			c := part[i]
			if c < '0' || '9' < c {
				return decimal{}, false
			}
			d.unscaled = d.unscaled*10 + int64(c-'0') // what overflows here is large
		}
	}
	negative := len(digits) < len(s)
	if d.digits+d.scale > smallDigits {
		d.unscaled = 0
		d.large, _ = new(big.Int).SetString(before+after, 10)
		if negative {
			d.large.Neg(d.large)
		}
	}
	if negative {
		d.unscaled = -d.unscaled
	}
	return d, true
}

// scaled returns d without its point once it has scale digits after it: an int64 where it is small, else a *big.Int.
func (d decimal) scaled(scale int, small bool) driver.Value {
	more := scale - d.scale
	if small {
		v := d.unscaled
		for range more {
			v *= 10
		}
		return v
	}
	v := d.large
	if v == nil {
		v = big.NewInt(d.unscaled)
	}
	if more == 0 {
		return v
	}
	return new(big.Int).Mul(v, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(more)), nil))
}

// digitsOf returns how many decimal digits v has; 0 has none.
func digitsOf(v int64) (n int) {
	for ; v != 0; v /= 10 {
		n++
	}
	return n
}
