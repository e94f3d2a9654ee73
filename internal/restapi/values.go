package restapi

import (
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/rowset"
)

// wallTime is how a time is written: local to the query's time zone, without one (cube-rest-api.md §10.1).
const wallTime = "2006-01-02T15:04:05.000"

// timeFormats are the texts that sources return for times, which are rewritten as wallTime.
var timeFormats = []string{
	time.RFC3339Nano, "2006-01-02 15:04:05.999999999", "2006-01-02 15:04:05.999999999 UTC", "2006-01-02 15:04:05.999999999 +00:00",
	"2006-01-02T15:04:05.999999999", "2006-01-02",
}

// longestTime is above the length of every text that is a time.
const longestTime = 64

// appendCell writes the JSON of a cell, of whatever kind but text, for a member of this type.
func appendCell(out []byte, v *rowset.Cell, memberType string) []byte {
	switch v.Kind {
	case rowset.False, rowset.True:
		return strconv.AppendBool(out, v.Kind == rowset.True)
	case rowset.Int:
		if memberType == datamodel.Number {
			return append(strconv.AppendInt(append(out, '"'), v.Int, 10), '"')
		}
		return strconv.AppendInt(out, v.Int, 10)
	case rowset.Float:
		switch {
		case math.IsNaN(v.Float) || math.IsInf(v.Float, 0):
		case memberType == datamodel.Number:
			return append(strconv.AppendFloat(append(out, '"'), v.Float, 'f', -1, 64), '"')
		default:
			return strconv.AppendFloat(out, v.Float, 'f', -1, 64)
		}
	case rowset.Decimal:
		if memberType == datamodel.Number || !isNumber(v.Text) {
			return appendString(out, v.Text)
		}
		return append(out, v.Text...)
	case rowset.Time:
		return append(appendWall(append(out, '"'), v.Time), '"')
	}
	return append(out, "null"...)
}

// isNumber reports whether text is a number in JSON, which not every decimal of a database is: "NaN", ".5".
func isNumber(text []byte) bool {
	digits := func() (n int) {
		for n < len(text) && '0' <= text[n] && text[n] <= '9' {
			n++
		}
		text = text[n:]
		return n
	}
	if len(text) > 0 && text[0] == '-' {
		text = text[1:]
	}
	zero := len(text) > 0 && text[0] == '0'
	if n := digits(); n == 0 || zero && n > 1 {
		return false
	}
	if len(text) > 0 && text[0] == '.' {
		text = text[1:]
		if digits() == 0 {
			return false
		}
	}
	return len(text) == 0
}

// appendWall writes t as wallTime. Formatting by a layout takes a fifth of the time that an answer needs.
func appendWall(out []byte, t time.Time) []byte {
	year, month, day := t.Date()
	if year < 1000 || year > 9999 {
		return t.AppendFormat(out, wallTime)
	}
	hour, minute, second := t.Clock()
	ms := t.Nanosecond() / 1e6
	out = strconv.AppendInt(out, int64(year), 10)
	out = appendTwo(append(out, '-'), int(month))
	out = appendTwo(append(out, '-'), day)
	out = appendTwo(append(out, 'T'), hour)
	out = appendTwo(append(out, ':'), minute)
	out = appendTwo(append(out, ':'), second)
	return append(out, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
}

func appendTwo(out []byte, n int) []byte { return append(out, byte('0'+n/10), byte('0'+n%10)) }

// wallText rewrites a time that came as text; what is not a time passes unchanged.
func wallText(s string) string {
	for _, format := range timeFormats {
		if t, err := time.Parse(format, s); err == nil {
			return t.UTC().Format(wallTime)
		}
	}
	return s
}

const hexDigits = "0123456789abcdef"

// appendString writes s as a JSON string. Invalid UTF-8 becomes the replacement character, as encoding/json does.
func appendString[S string | []byte](out []byte, s S) []byte {
	return append(appendEscaped(append(out, '"'), s), '"')
}

// appendEscaped writes what is between the quotes of a JSON string.
func appendEscaped[S string | []byte](out []byte, s S) []byte {
	done := 0 // so much of s is written
	for i := 0; i < len(s); {
		c, size := rune(s[i]), 1
		if c >= utf8.RuneSelf {
			c, size = utf8.DecodeRuneInString(string(s[i:min(len(s), i+utf8.UTFMax)]))
		}
		if !mustEscape(c) {
			i += size
			continue
		}
		out = append(out, s[done:i]...)
		switch {
		case c == '"' || c == '\\':
			out = append(out, '\\', byte(c))
		case c == '\n':
			out = append(out, '\\', 'n')
		case c == '\r':
			out = append(out, '\\', 'r')
		case c == '\t':
			out = append(out, '\\', 't')
		case c < 0x20:
			out = append(out, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
		case c == '\u2028' || c == '\u2029':
			out = append(out, `\u202`...)
			out = append(out, hexDigits[c&0xf])
		default:
			out = utf8.AppendRune(out, utf8.RuneError)
		}
		i += size
		done = i
	}
	return append(out, s[done:]...)
}

func mustEscape(c rune) bool {
	return c < 0x20 || c == '"' || c == '\\' || c == utf8.RuneError || c == '\u2028' || c == '\u2029'
}
