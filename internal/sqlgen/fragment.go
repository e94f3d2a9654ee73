package sqlgen

import (
	"strconv"
	"strings"
)

// Fragment is a piece of SQL with its bound values. Texts come from the model or from a dialect; a value is never
// text. The zero Fragment is empty.
type Fragment struct{ pieces []piece }

// piece is a text, or a bound value.
type piece struct {
	text  string
	value any
	bound bool
}

// text returns s as SQL.
func text(s string) Fragment {
	if s == "" {
		return Fragment{}
	}
	return Fragment{pieces: []piece{{text: s}}}
}

// bind returns a placeholder for v.
func bind(v any) Fragment { return Fragment{pieces: []piece{{value: v, bound: true}}} }

// Format returns format with each "{}" replaced by the next of args.
func Format(format string, args ...Fragment) Fragment {
	var f Fragment
	for _, arg := range args {
		before, after, ok := strings.Cut(format, "{}")
		if !ok {
			panic("sqlgen: more fragments than places in " + strconv.Quote(format))
		}
		f.add(text(before), arg)
		format = after
	}
	f.add(text(format))
	return f
}

// join returns parts with sep between them.
func join(parts []Fragment, sep string) Fragment {
	var f Fragment
	for i, p := range parts {
		if i > 0 {
			f.addText(sep)
		}
		f.add(p)
	}
	return f
}

func (f *Fragment) add(parts ...Fragment) {
	for _, p := range parts {
		f.pieces = append(f.pieces, p.pieces...)
	}
}

func (f *Fragment) addText(s string) {
	if s != "" {
		f.pieces = append(f.pieces, piece{text: s})
	}
}

// empty reports whether f has no text and no value.
func (f Fragment) empty() bool {
	for _, p := range f.pieces {
		if p.bound || p.text != "" {
			return false
		}
	}
	return true
}

// plain returns the text of f, and whether f has no bound value.
func (f Fragment) plain() (string, bool) {
	var b strings.Builder
	for _, p := range f.pieces {
		if p.bound {
			return "", false
		}
		b.WriteString(p.text)
	}
	return b.String(), true
}

// statement numbers the placeholders of f in the order of the text.
func (f Fragment) statement(d Dialect) Statement {
	var (
		b    strings.Builder
		args = []any{}
	)
	for _, p := range f.pieces {
		if !p.bound {
			b.WriteString(p.text)
			continue
		}
		args = append(args, p.value)
		b.WriteString(d.Placeholder(len(args)))
	}
	return Statement{SQL: b.String(), Args: args}
}
