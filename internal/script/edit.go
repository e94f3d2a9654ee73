package script

import (
	"slices"
	"sort"
	"strings"
	"unicode/utf8"
)

// Edit replaces the bytes From to To of a text. It keeps the lines: Text has as many line ends as what it replaces.
type Edit struct {
	From, To int
	Text     string
}

// apply returns text after edits, which must not overlap, and the way back. Edits at one place keep their order.
func apply(text string, edits []Edit) (string, edited) {
	edits = slices.Clone(edits)
	slices.SortStableFunc(edits, func(a, b Edit) int { return a.From - b.From })
	var b strings.Builder
	var way edited
	at := 0
	for _, e := range edits {
		b.WriteString(text[at:e.From])
		way = append(way, span{from: e.From, to: e.To, start: b.Len(), end: b.Len() + len(e.Text)})
		b.WriteString(e.Text)
		at = e.To
	}
	b.WriteString(text[at:])
	return b.String(), way
}

// edited knows where the bytes of an edited text come from.
type edited []span

// span is one edit: the bytes from to to of the text before are start to end of the text after.
type span struct{ from, to, start, end int }

// original returns the byte of the text before that became offset. What was inserted or replaced belongs to the place
// where that was done.
func (e edited) original(offset int) int {
	i := sort.Search(len(e), func(i int) bool { return e[i].start > offset }) - 1
	if i < 0 {
		return offset
	}
	if s := e[i]; offset < s.end {
		return s.from
	}
	return e[i].to + offset - e[i].end
}

// after returns where offset of the text before is now.
func (e edited) after(offset int) int {
	i := sort.Search(len(e), func(i int) bool { return e[i].from > offset }) - 1
	if i < 0 {
		return offset
	}
	if s := e[i]; offset < s.to {
		return s.start
	}
	return e[i].end + offset - e[i].to
}

// lines are the offsets at which the lines of a text begin.
type lines []int

func linesOf(text string) lines {
	starts := lines{0}
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\n', text[i] == '\r' && (i+1 == len(text) || text[i+1] != '\n'):
			starts = append(starts, i+1)
		case strings.HasPrefix(text[i:], "\u2028"), strings.HasPrefix(text[i:], "\u2029"):
			starts = append(starts, i+3)
		}
	}
	return starts
}

// position returns the line and the column, in characters, of a byte of the author's text.
func (f *file) position(offset int) (line, column int) {
	offset = max(0, min(offset, len(f.text)))
	line = sort.SearchInts(f.lines, offset+1)
	return line, 1 + utf8.RuneCountInString(f.text[f.lines[line-1]:offset])
}

// line returns a line of the author's text.
func (f *file) line(n int) string {
	if n < 1 || n > len(f.lines) {
		return ""
	}
	s := f.text[f.lines[n-1]:]
	if n < len(f.lines) {
		s = f.text[f.lines[n-1]:f.lines[n]]
	}
	return strings.TrimRight(s, "\r\n\u2028\u2029")
}

// original returns the byte of the author's text behind a byte of the text that runs.
func (f *file) original(offset int) int {
	for i := len(f.edits) - 1; i >= 0; i-- {
		offset = f.edits[i].original(offset)
	}
	return max(0, min(offset, len(f.text)))
}

// offset returns the byte of the author's text behind a line and a column, in bytes, of the text that runs.
func (f *file) offset(line, column int) int {
	if line < 1 || line > len(f.codeLines) {
		return 0
	}
	return f.original(f.codeLines[line-1] + column - 1)
}
