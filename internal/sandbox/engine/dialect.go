package engine

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Dialect is a warehouse's way of writing SQL. Functions and types that DuckDB lacks are macros and types of the
// dialect's schema; what differs in spelling is translated here, token by token.
type Dialect int

// The dialects that the sandbox speaks.
const (
	// Databricks quotes identifiers with backticks and strings with either quote, escapes with backslashes, and names
	// parameters :name.
	Databricks Dialect = iota
	// Snowflake escapes with backslashes in strings and folds identifiers that are not quoted to upper case.
	Snowflake

	// duck is what Translate writes: nothing escapes but the doubled quote.
	duck Dialect = -1
)

// schema is where the views and macros of d are, and what a name without a schema means.
func (d Dialect) schema() string {
	if d == Snowflake {
		return "public"
	}
	return "default"
}

type tokenKind int

const (
	word    tokenKind = iota // identifier or keyword that is not quoted
	quoted                   // identifier in quotes
	str                      // string literal
	comment                  // either kind
	other                    // one rune of anything else, or a number
)

// token is a piece of a statement. text is the piece as written; value is what quotes and escapes stand for.
type token struct {
	kind  tokenKind
	text  string
	value string
	open  bool // the quote at its begin is never closed
}

// tokens cuts sql into pieces that put together are sql again. A quote that is never closed runs to the end.
func (d Dialect) tokens(sql string) []token {
	var out []token
	for len(sql) > 0 {
		t := d.next(sql)
		out = append(out, t)
		sql = sql[len(t.text):]
	}
	return out
}

func (d Dialect) next(s string) token {
	switch c := s[0]; {
	case strings.HasPrefix(s, "--"):
		if end := strings.IndexByte(s, '\n'); end >= 0 {
			s = s[:end]
		}
		return token{kind: comment, text: s, value: s}
	case strings.HasPrefix(s, "/*"):
		if end := strings.Index(s[2:], "*/"); end >= 0 {
			s = s[:end+4]
		}
		return token{kind: comment, text: s, value: s}
	case c == '\'' || (c == '"' && d == Databricks):
		return scanQuoted(s, str, d != duck)
	case c == '"' || (c == '`' && d == Databricks):
		return scanQuoted(s, quoted, false)
	case isWordStart(s):
		n := 0
		for n < len(s) {
			r, size := utf8.DecodeRuneInString(s[n:])
			if r != '_' && r != '$' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
				break
			}
			n += size
		}
		return token{kind: word, text: s[:n], value: s[:n]}
	case c >= '0' && c <= '9':
		n := 1
		for n < len(s) && (s[n] == '_' || s[n] == '.' || s[n] >= '0' && s[n] <= '9' || s[n]|0x20 >= 'a' && s[n]|0x20 <= 'z') {
			n++
		}
		return token{kind: other, text: s[:n], value: s[:n]}
	case strings.HasPrefix(s, "::"):
		return token{kind: other, text: "::", value: "::"}
	}
	_, size := utf8.DecodeRuneInString(s)
	return token{kind: other, text: s[:size], value: s[:size]}
}

func isWordStart(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return r == '_' || unicode.IsLetter(r)
}

// scanQuoted reads what begins with a quote. A doubled quote stands for itself; where asked, a backslash escapes, except
// before % and _, where LIKE wants it kept (as in Spark and MySQL).
func scanQuoted(s string, kind tokenKind, escapes bool) token {
	q := s[0]
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == q && i+1 < len(s) && s[i+1] == q:
			b.WriteByte(q)
			i++
		case s[i] == q:
			return token{kind: kind, text: s[:i+1], value: b.String()}
		case escapes && s[i] == '\\' && i+1 < len(s):
			i++
			switch c := s[i]; c {
			case 'n':
				b.WriteByte('\n')
			case 'r':
				b.WriteByte('\r')
			case 't':
				b.WriteByte('\t')
			case '%', '_':
				b.WriteByte('\\')
				b.WriteByte(c)
			default:
				b.WriteByte(c)
			}
		default:
			b.WriteByte(s[i])
		}
	}
	return token{kind: kind, text: s, value: b.String(), open: true}
}

// Translate returns sql as DuckDB reads it. Comments, which may be optimizer hints, become spaces.
func (d Dialect) Translate(sql string) string {
	var b strings.Builder
	b.Grow(len(sql))
	toks := d.tokens(sql)
	for i, t := range toks {
		switch t.kind {
		case comment:
			b.WriteByte(' ')
		case str, quoted:
			text := literal(t.value)
			if t.kind == quoted {
				text = ident(t.value)
			}
			if t.open {
				text = text[:len(text)-1] // stays open, and DuckDB will say so
			}
			b.WriteString(text)
		case word:
			if d == Snowflake {
				b.WriteString(strings.ToUpper(t.text))
			} else {
				b.WriteString(t.text)
			}
		default:
			// :name is a parameter only where it begins a word: x[1:n] is a slice.
			if d == Databricks && t.text == ":" && i+1 < len(toks) && toks[i+1].kind == word &&
				(i == 0 || toks[i-1].kind != word && toks[i-1].text != "]") {
				b.WriteByte('$')
				continue
			}
			b.WriteString(t.text)
		}
	}
	return b.String()
}

// sleepHint returns how long the comments of sql ask the statement to take.
func (d Dialect) sleepHint(sql string) time.Duration {
	const hint = "sandbox:sleep="
	if !strings.Contains(sql, hint) {
		return 0
	}
	for _, t := range d.tokens(sql) {
		if _, rest, ok := strings.Cut(t.text, hint); ok && t.kind == comment {
			word := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789.hmsuµn"))]
			if wait, err := time.ParseDuration(word); err == nil {
				return min(max(wait, 0), maxSleep)
			}
		}
	}
	return 0
}

// literal quotes s as a string of DuckDB, ident as an identifier. DuckDB has no escapes in them but the doubled quote.
func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
func ident(s string) string   { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
