package sqlgen

import (
	"strconv"
	"strings"
)

// standard is what most dialects have of the SQL standard.
type standard struct{}

// Moment binds a time as it is.
func (standard) Moment(utc string) Fragment { return bind(utc) }

// Integer returns a BIGINT.
func (standard) Integer(expr Fragment) Fragment { return Format("CAST({} AS BIGINT)", expr) }

// AnyValue returns any_value.
func (standard) AnyValue(expr Fragment) Fragment { return Format("any_value({})", expr) }

// Exactly returns nothing: a text beside a number is an error.
func (standard) Exactly(Fragment, []any) Fragment { return Fragment{} }

// Concat returns parts with || between them.
func (standard) Concat(parts ...Fragment) Fragment { return join(parts, " || ") }

// Rows returns VALUES.
func (standard) Rows(name string, columns []string, rows [][]string) Fragment {
	lines := make([]string, len(rows))
	for i, row := range rows {
		lines[i] = "('" + strings.Join(row, "', '") + "')"
	}
	return text("(VALUES " + strings.Join(lines, ", ") + ") AS " + name + " (" + strings.Join(columns, ", ") + ")")
}

// Page returns LIMIT and OFFSET.
func (standard) Page(limit *int, offset int) string {
	ending := ""
	if limit != nil {
		ending = "\nLIMIT " + strconv.Itoa(*limit)
	}
	if offset > 0 {
		ending += " OFFSET " + strconv.Itoa(offset)
	}
	return ending
}
