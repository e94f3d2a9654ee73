package restapi

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/query"
	"github.com/behalf-project/behalf/internal/sqlgen"
)

// encodeData writes rows, which have a cell for each column, in the format that the query asks for (cube-rest-api.md
// §10).
func encodeData(columns []sqlgen.Column, rows [][]any, format query.ResponseFormat) []byte {
	switch format {
	case query.Compact:
		return encodeCompact(columns, rows)
	case query.Columnar:
		return encodeColumnar(columns, rows)
	}
	return encodeObjects(columns, rows)
}

// encodeObjects writes an array of objects keyed by member names.
func encodeObjects(columns []sqlgen.Column, rows [][]any) []byte {
	type cell struct {
		column int
		key    []byte // `"orders.count":`
	}
	var cells []cell
	for i, c := range columns {
		for _, key := range c.Keys {
			cells = append(cells, cell{i, append(appendString(nil, key), ':')})
		}
	}
	out := append(make([]byte, 0, 64+len(rows)*len(cells)*32), '[')
	for r, row := range rows {
		if r > 0 {
			out = append(out, ',')
		}
		out = append(out, '{')
		for i, c := range cells {
			if i > 0 {
				out = append(out, ',')
			}
			out = append(out, c.key...)
			out = appendValue(out, row[c.column], columns[c.column].Type)
		}
		out = append(out, '}')
	}
	return append(out, ']')
}

// encodeCompact writes the members once and each row as an array.
func encodeCompact(columns []sqlgen.Column, rows [][]any) []byte {
	out := append(appendMembers([]byte(`{"members":`), columns), `,"dataset":[`...)
	for r, row := range rows {
		if r > 0 {
			out = append(out, ',')
		}
		out = append(out, '[')
		first := true
		for i, c := range columns {
			for range c.Keys {
				if !first {
					out = append(out, ',')
				}
				first = false
				out = appendValue(out, row[i], c.Type)
			}
		}
		out = append(out, ']')
	}
	return append(out, `]}`...)
}

// encodeColumnar writes the members once and each column as an array.
func encodeColumnar(columns []sqlgen.Column, rows [][]any) []byte {
	out := append(appendMembers([]byte(`{"members":`), columns), `,"columns":[`...)
	first := true
	for i, c := range columns {
		for range c.Keys {
			if !first {
				out = append(out, ',')
			}
			first = false
			out = append(out, '[')
			for r, row := range rows {
				if r > 0 {
					out = append(out, ',')
				}
				out = appendValue(out, row[i], c.Type)
			}
			out = append(out, ']')
		}
	}
	return append(out, `]}`...)
}

func appendMembers(out []byte, columns []sqlgen.Column) []byte {
	out = append(out, '[')
	first := true
	for _, c := range columns {
		for _, key := range c.Keys {
			if !first {
				out = append(out, ',')
			}
			first = false
			out = appendString(out, key)
		}
	}
	return append(out, ']')
}

// wallTime is how a time is written: local to the query's time zone, without one (cube-rest-api.md §10.1).
const wallTime = "2006-01-02T15:04:05.000"

// timeFormats are the texts that sources return for times, which are rewritten as wallTime.
var timeFormats = []string{
	time.RFC3339Nano, "2006-01-02 15:04:05.999999999", "2006-01-02 15:04:05.999999999 UTC", "2006-01-02 15:04:05.999999999 +00:00",
	"2006-01-02T15:04:05.999999999", "2006-01-02",
}

// appendValue writes v as the JSON of a member of this type. Every number is a string that keeps the database's
// text: clients must parse numbers from some sources anyway, and so do it for all (cube-rest-api.md §10.1).
func appendValue(out []byte, v any, memberType string) []byte {
	switch v := v.(type) {
	case nil:
		return append(out, "null"...)
	case bool:
		return strconv.AppendBool(out, v)
	case int64:
		return appendNumber(out, strconv.FormatInt(v, 10), memberType)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return append(out, "null"...)
		}
		return appendNumber(out, strconv.FormatFloat(v, 'f', -1, 64), memberType)
	case driverfactory.Decimal:
		return appendNumber(out, string(v), memberType)
	case time.Time:
		out = append(out, '"')
		out = v.AppendFormat(out, wallTime)
		return append(out, '"')
	case string:
		if memberType == datamodel.Time {
			v = wallText(v)
		}
		return appendString(out, v)
	case []byte:
		return appendString(out, base64.StdEncoding.EncodeToString(v))
	}
	b, err := json.Marshal(v) // nothing else is promised by driverfactory.Rows; JSON shows what it is
	if err != nil {
		return appendString(out, fmt.Sprint(v))
	}
	return append(out, b...)
}

func appendNumber(out []byte, text, memberType string) []byte {
	if memberType == datamodel.Number {
		return append(append(append(out, '"'), text...), '"')
	}
	return append(out, text...)
}

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
func appendString(out []byte, s string) []byte {
	if !strings.ContainsFunc(s, mustEscape) {
		return append(append(append(out, '"'), s...), '"')
	}
	out = append(out, '"')
	for _, c := range s {
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
			out = utf8.AppendRune(out, c)
		}
	}
	return append(out, '"')
}

func mustEscape(c rune) bool {
	return c < 0x20 || c == '"' || c == '\\' || c == utf8.RuneError || c == '\u2028' || c == '\u2029'
}
