// Package displayname says which names may stand on a page beside a decision: those of programs, tokens, OAuth apps and
// people. One that holds characters that nobody sees can look like another, and one that turns the direction of writing
// can reorder what stands around it (Unicode Technical Report 36, §2.10; CVE-2021-42574).
package displayname

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/behalf-project/behalf/internal/fault"
)

// The two joiners are in the spelling of words of Persian, Hindi and other languages, and in many emoji.
const (
	nonJoiner = '\u200C'
	joiner    = '\u200D'
)

// Check refuses, with fault.Invalid and the code required or invalid, a name that is empty, longer than most characters,
// not UTF-8, or that holds a character that cannot be seen: control and format characters but the joiners, separators
// of lines, and what Unicode says is ignored where names are drawn.
func Check(name string, most int) error {
	switch at := strings.IndexFunc(name, hidden); {
	case name == "":
		return wrong("required", "The name is missing.")
	case !utf8.ValidString(name):
		return wrong("invalid", "The name is not valid UTF-8.")
	case at >= 0:
		r, _ := utf8.DecodeRuneInString(name[at:])
		return wrong("invalid", "The name holds a character that cannot be seen, %U. Type the name instead of copying it.", r)
	case utf8.RuneCountInString(name) > most:
		return wrong("invalid", "The name has more than %d characters.", most)
	case !strings.ContainsFunc(name, visible):
		return wrong("invalid", "The name has no character that can be seen.")
	}
	return nil
}

// Clean returns a name that another server gives, without what Check refuses, cut to most characters. It may be empty.
func Clean(name string, most int) string {
	name = strings.TrimSpace(strings.Map(func(r rune) rune {
		if hidden(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, "")))
	if r := []rune(name); len(r) > most {
		name = string(r[:most])
	}
	if !strings.ContainsFunc(name, visible) {
		return ""
	}
	return name
}

func wrong(code, format string, args ...any) error {
	e := fault.New(fault.Invalid, format, args...)
	e.Code = code
	return e
}

// hidden reports whether r is there and is not seen.
func hidden(r rune) bool {
	if r == nonJoiner || r == joiner {
		return false
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point)
}

// visible reports whether a reader sees r.
func visible(r rune) bool {
	return r != nonJoiner && r != joiner && unicode.IsGraphic(r) && !unicode.IsSpace(r)
}
