package cubesql

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/behalf-project/behalf/internal/fault"
)

// place is where something stands in the text. Both count from 1, the column in characters.
type place struct{ line, column int }

// at returns p, for what embeds a place.
func (p place) at() place { return p }

// fail returns an error at p.
func (p place) fail(format string, args ...any) error {
	return fault.New(fault.Invalid, "Line "+strconv.Itoa(p.line)+", column "+strconv.Itoa(p.column)+": "+format, args...)
}

type tokenKind int

const (
	end    tokenKind = iota
	word             // a name or a keyword, as it was written
	quoted           // a name in double quotes
	text             // a string
	number
	symbol
)

type token struct {
	place
	kind tokenKind
	text string // without quotes
}

// is reports whether t is a symbol, or a keyword whatever its case.
func (t token) is(what string) bool {
	return t.kind == symbol && t.text == what || t.kind == word && strings.EqualFold(t.text, what)
}

// String returns t as an error says it.
func (t token) String() string {
	if t.kind == end {
		return "the end"
	}
	return strconv.Quote(clip(t.text))
}

// clip shortens what a client sent, for an error that repeats it.
func clip(s string) string {
	if len(s) > 100 {
		return strings.ToValidUTF8(s[:100], "") + "…"
	}
	return s
}

// lexer reads tokens from what is left of a text.
type lexer struct {
	rest string
	place
}

// lex returns the tokens of a statement. The last one is its end.
func lex(statement string) ([]token, error) {
	l := &lexer{statement, place{1, 1}}
	switch {
	case len(statement) > maxBytes:
		return nil, l.fail("the statement is larger than %d KiB", maxBytes>>10)
	case !utf8.ValidString(statement):
		return nil, l.fail("the statement is not valid UTF-8")
	}
	var tokens []token
	for {
		t, err := l.next()
		if err != nil {
			return nil, err
		}
		if tokens = append(tokens, t); t.kind == end {
			return tokens, nil
		}
		if len(tokens) > maxTokens {
			return nil, t.fail("the statement has more than %d words and signs", maxTokens)
		}
	}
}

// take returns the next n bytes, which are whole characters.
func (l *lexer) take(n int) string {
	taken := l.rest[:n]
	l.rest = l.rest[n:]
	for _, r := range taken {
		if l.column++; r == '\n' {
			l.line, l.column = l.line+1, 1
		}
	}
	return taken
}

// while takes characters as long as is says so.
func (l *lexer) while(is func(rune) bool) string {
	n := strings.IndexFunc(l.rest, func(r rune) bool { return !is(r) })
	if n < 0 {
		n = len(l.rest)
	}
	return l.take(n)
}

func isDigit(r rune) bool  { return '0' <= r && r <= '9' }
func isLetter(r rune) bool { return r == '_' || unicode.IsLetter(r) }

func (l *lexer) next() (token, error) {
	if err := l.space(); err != nil {
		return token{}, err
	}
	t := token{place: l.place}
	r, size := utf8.DecodeRuneInString(l.rest)
	var err error
	switch {
	case size == 0:
	case r == '\'':
		t.kind = text
		t.text, err = l.between(`'`, "a string")
	case r == '"':
		t.kind = quoted
		t.text, err = l.between(`"`, "a name")
	case isDigit(r) || r == '.' && len(l.rest) > 1 && isDigit(rune(l.rest[1])):
		t.kind = number
		t.text, err = l.number()
	case isLetter(r):
		t.kind = word
		t.text = l.while(func(r rune) bool { return isLetter(r) || isDigit(r) })
	case r == '$' || r == '?':
		err = t.fail("a parameter has no value here; write the value itself")
	case !unicode.IsPrint(r):
		err = t.fail("there is a character that no SQL has: %q", r)
	default:
		t.kind = symbol
		t.text = l.symbol(size)
	}
	return t, err
}

// space skips white space and comments.
func (l *lexer) space() error {
	for {
		l.while(unicode.IsSpace)
		switch {
		case strings.HasPrefix(l.rest, "--"):
			l.while(func(r rune) bool { return r != '\n' })
		case strings.HasPrefix(l.rest, "/*"):
			if err := l.comment(); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// comment skips one in /* */, which may hold others, as in PostgreSQL.
func (l *lexer) comment() error {
	begin, open := l.place, 0
	for {
		switch {
		case l.rest == "":
			return begin.fail("a comment begins here and does not end")
		case strings.HasPrefix(l.rest, "/*"):
			open++
			l.take(2)
		case strings.HasPrefix(l.rest, "*/"):
			l.take(2)
			if open--; open == 0 {
				return nil
			}
		default:
			l.while(func(r rune) bool { return r != '*' && r != '/' })
			if l.rest != "" && !strings.HasPrefix(l.rest, "/*") && !strings.HasPrefix(l.rest, "*/") {
				l.take(1)
			}
		}
	}
}

// between reads what stands in quotes, in which two of them are one.
func (l *lexer) between(quote, what string) (string, error) {
	begin := l.place
	l.take(1)
	var out strings.Builder
	for {
		i := strings.Index(l.rest, quote)
		if i < 0 {
			return "", begin.fail("%s begins here and does not end", what)
		}
		out.WriteString(l.take(i))
		l.take(1)
		if !strings.HasPrefix(l.rest, quote) {
			break
		}
		out.WriteString(l.take(1))
	}
	if s := out.String(); strings.ContainsRune(s, 0) {
		return "", begin.fail("%s has a NUL character", what)
	}
	return out.String(), nil
}

var (
	leadingNumber = regexp.MustCompile(`^([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?`)
	numberPattern = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$`)
)

// number reads digits, perhaps with a fraction and an exponent.
func (l *lexer) number() (string, error) {
	begin := l.place
	out := l.take(len(leadingNumber.FindString(l.rest)))
	if r, _ := utf8.DecodeRuneInString(l.rest); isLetter(r) || isDigit(r) || len(out) > maxDigits {
		return "", begin.fail("this is not a number: %q", clip(out+l.while(func(r rune) bool { return isLetter(r) || isDigit(r) })))
	}
	return out, nil
}

// symbol reads a sign, the first character of which has size bytes.
func (l *lexer) symbol(size int) string {
	for _, two := range []string{"<>", "!=", "<=", ">=", "::", "||"} {
		if strings.HasPrefix(l.rest, two) {
			return l.take(2)
		}
	}
	return l.take(size)
}
