package datamodel

import (
	"regexp"
	"slices"
	"strings"

	"github.com/behalf-project/behalf/internal/spelling"
)

// keys says what may stand in one kind of mapping: how each key is read, and which keys Cube has that are not built.
type keys struct {
	of      string // what the mapping is, for errors: "a cube"
	read    map[string]func(*node)
	refused []string
}

// mapping reads the fields of n. Keys may be written in snake_case or camelCase, as in Cube.
func (l *loader) mapping(n *node, k keys) {
	seen := map[string]bool{}
	for _, f := range n.fields {
		key := Underscore(f.key)
		if seen[key] {
			l.fail(f.pos, "", "%s is given twice", f.key)
			continue
		}
		seen[key] = true
		if read, ok := k.read[key]; ok {
			if !f.value.broken {
				read(f.value)
			}
			continue
		}
		if slices.Contains(k.refused, key) {
			l.fail(f.pos, "", "%s of %s is not supported yet", f.key, k.of)
			continue
		}
		known := slices.Clone(k.refused)
		for name := range k.read {
			known = append(known, name)
		}
		slices.Sort(known)
		l.fail(f.pos, "", "%s has no key %q%s", k.of, f.key, spelling.DidYouMean(key, known))
	}
}

var namePattern = regexp.MustCompile(`^[_a-zA-Z][_a-zA-Z0-9]*$`)

// name reads the name field of n, and reports whether it is one.
func (l *loader) name(n *node, of string) (string, Position, bool) {
	for _, f := range n.fields {
		if f.key != "name" {
			continue
		}
		v := f.value
		if !v.scalar() || !namePattern.MatchString(v.text) {
			l.fail(v.pos, v.text, "a name has letters, digits and underscores, and does not begin with a digit")
			return "", v.pos, false
		}
		return v.text, v.pos, true
	}
	l.fail(n.pos, "", "%s needs a name", of)
	return "", n.pos, false
}

// text returns a reader of a string.
func (l *loader) text(to *string) func(*node) {
	return func(n *node) {
		if !n.scalar() {
			l.fail(n.pos, n.text, "a string is expected here, not %s", n.kind)
			return
		}
		*to = n.text
	}
}

// flag returns a reader of a boolean.
func (l *loader) flag(to *bool) func(*node) {
	return func(n *node) {
		switch {
		case n.scalar() && !n.quoted && n.text == "true":
			*to = true
		case n.scalar() && !n.quoted && n.text == "false":
			*to = false
		default:
			l.fail(n.pos, n.text, "true or false is expected here")
		}
	}
}

// optional returns a reader of a boolean that may be absent.
func (l *loader) optional(to **bool) func(*node) {
	return func(n *node) {
		var b bool
		l.flag(&b)(n)
		*to = &b
	}
}

// off returns a reader of a boolean that may only be false: what it would switch on is not built.
func (l *loader) off(what string) func(*node) {
	return func(n *node) {
		var on bool
		if l.flag(&on)(n); on {
			l.fail(n.pos, "", "%s is not supported yet", what)
		}
	}
}

// ignore reads nothing: the key is metadata that no answer shows.
func ignore(*node) {}

// template returns a reader of SQL.
func (l *loader) template(to **Template) func(*node) {
	return func(n *node) {
		if !n.scalar() {
			l.fail(n.pos, n.text, "SQL is expected here, not %s", n.kind)
			return
		}
		if strings.TrimSpace(n.text) == "" {
			l.fail(n.pos, "", "the SQL is empty")
			return
		}
		if strings.ContainsRune(n.text, 0) {
			l.fail(n.pos, "", "the SQL contains a NUL character")
			return
		}
		t, problem := n.parse()
		if problem != nil {
			l.problems = append(l.problems, *problem)
			return
		}
		*to = t
	}
}

// parse returns the template of a scalar.
func (n *node) parse() (*Template, *Problem) {
	if n.template != nil {
		return n.template, nil
	}
	return parseTemplate(n.text, n.at)
}

// oneOf returns a reader of one of several words, given as a map from spelling to word.
func oneOf[T ~string](l *loader, to *T, what string, words map[string]T) func(*node) {
	return func(n *node) {
		word, ok := words[n.text]
		if ok && n.scalar() {
			*to = word
			return
		}
		var all []string
		for w := range words {
			all = append(all, w)
		}
		slices.Sort(all)
		l.fail(n.pos, n.text, "%s must be one of [%s]%s", what, strings.Join(all, ", "), spelling.DidYouMean(n.text, all))
	}
}

// any returns a reader of any value, as encoding/json would show it.
func (l *loader) any(to *any) func(*node) {
	return func(n *node) { *to = plain(n) }
}

// Underscore writes camelCase in snake_case, as Cube does: every capital begins a word.
func Underscore(s string) string {
	var b strings.Builder
	for i, r := range s {
		if r >= 'A' && r <= 'Z' {
			if i > 0 {
				b.WriteByte('_')
			}
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}
