package script

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// tokenKind is what scan tells apart: as much as it takes to know where statements begin, and no more.
type tokenKind int

const (
	word     tokenKind = iota // a name or keyword
	literal                   // a number, string, template or regular expression
	operator                  // one character of punctuation
)

// token is a piece of a text, its white space and comments left out.
type token struct {
	kind     tokenKind
	from, to int
	depth    int  // how many brackets are open around it
	fresh    bool // a line ends before it
}

// maxNesting bounds the brackets in one another: the parser is recursive.
const maxNesting = 250

// scan splits a text into tokens. Where it cannot go on, it stops, and the parser says what is wrong; deep is the
// place of a bracket that is nested too deeply, or -1.
func scan(text string) (tokens []token, deep int) {
	s := scanner{text: text, fresh: true}
	for s.next() {
		if len(s.open) > maxNesting {
			return s.tokens, s.i - 1
		}
	}
	return s.tokens, -1
}

type scanner struct {
	text   string
	i      int
	tokens []token
	open   []byte // brackets; '$' is that of a template
	fresh  bool
}

func (s *scanner) add(kind tokenKind, from int) {
	s.tokens = append(s.tokens, token{kind, from, s.i, len(s.open), s.fresh})
	s.fresh = false
}

// next reads one token, or some space.
func (s *scanner) next() bool {
	if s.i >= len(s.text) {
		return false
	}
	start, c := s.i, s.text[s.i]
	switch {
	case c == '\n' || c == '\r':
		s.fresh = true
		s.i++
	case c == ' ' || c == '\t':
		s.i++
	case strings.HasPrefix(s.text[s.i:], "//") || s.i == 0 && strings.HasPrefix(s.text, "#!"):
		for s.i < len(s.text) && s.text[s.i] != '\n' && s.text[s.i] != '\r' {
			s.i++
		}
	case strings.HasPrefix(s.text[s.i:], "/*"):
		end := strings.Index(s.text[s.i+2:], "*/")
		if end < 0 {
			return false
		}
		s.i += 2 + end + 2
		s.fresh = s.fresh || strings.ContainsAny(s.text[start:s.i], "\r\n")
	case c == '\'' || c == '"':
		if !s.quoted(c) {
			return false
		}
		s.add(literal, start)
	case c == '`':
		s.i++
		return s.template(start)
	case c == '}' && len(s.open) > 0 && s.open[len(s.open)-1] == '$':
		s.open = s.open[:len(s.open)-1]
		s.i++
		return s.template(start)
	case c == '/' && s.regular():
		if !s.pattern() {
			return false
		}
		s.add(literal, start)
	case c >= '0' && c <= '9':
		for s.i < len(s.text) && (isWord(rune(s.text[s.i])) || s.text[s.i] == '.') {
			s.i++
		}
		s.add(literal, start)
	default:
		r, size := utf8.DecodeRuneInString(s.text[s.i:])
		if isWord(r) || r == '#' || r == '\\' {
			for s.i < len(s.text) && (isWord(r) || r == '#' || r == '\\') {
				s.i += size
				r, size = utf8.DecodeRuneInString(s.text[s.i:])
			}
			s.add(word, start)
			return true
		}
		s.i += size
		if r > unicode.MaxASCII {
			s.fresh = s.fresh || r == '\u2028' || r == '\u2029'
			return true // other space
		}
		s.punctuation(c, start)
	}
	return true
}

func (s *scanner) punctuation(c byte, start int) {
	if strings.IndexByte(")]}", c) >= 0 && len(s.open) > 0 {
		s.open = s.open[:len(s.open)-1]
	}
	s.add(operator, start)
	if strings.IndexByte("([{", c) >= 0 {
		s.open = append(s.open, c)
	}
}

// template reads the text of a template up to its end or to the next expression.
func (s *scanner) template(start int) bool {
	for ; s.i < len(s.text); s.i++ {
		switch {
		case s.text[s.i] == '\\':
			s.i++
		case s.text[s.i] == '`':
			s.i++
			s.add(literal, start)
			return true
		case strings.HasPrefix(s.text[s.i:], "${"):
			s.i += 2
			s.add(operator, start)
			s.open = append(s.open, '$')
			return true
		}
	}
	return false
}

func (s *scanner) quoted(quote byte) bool {
	for s.i++; s.i < len(s.text); s.i++ {
		switch s.text[s.i] {
		case '\\':
			s.i++
		case quote:
			s.i++
			return true
		case '\n':
			return false
		}
	}
	return false
}

// regular reports whether a slash here begins a regular expression rather than dividing.
func (s *scanner) regular() bool {
	if len(s.tokens) == 0 {
		return true
	}
	last := s.tokens[len(s.tokens)-1]
	before := s.text[last.from:last.to]
	switch last.kind {
	case word:
		return slices.Contains([]string{"return", "typeof", "case", "in", "of", "delete", "void", "throw", "new", "instanceof", "else",
			"do", "yield", "await", "default"}, before)
	case literal:
		return false
	}
	return before != ")" && before != "]"
}

func (s *scanner) pattern() bool {
	class := false
	for s.i++; s.i < len(s.text); s.i++ {
		switch c := s.text[s.i]; {
		case c == '\n':
			return false
		case c == '\\':
			s.i++
		case c == '[':
			class = true
		case c == ']':
			class = false
		case c == '/' && !class:
			for s.i++; s.i < len(s.text) && isWord(rune(s.text[s.i])); s.i++ {
			}
			return true
		}
	}
	return false
}

func isWord(r rune) bool {
	return r == '_' || r == '$' || unicode.IsLetter(r) || unicode.IsDigit(r) || r == '\u200c' || r == '\u200d'
}
