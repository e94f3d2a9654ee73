package datamodel

import (
	"fmt"
	"strings"
)

// Problem is one thing that is wrong with a model, and where.
type Problem struct {
	Position
	Message string // a sentence without a full stop
	Text    string // the text in question, or "" when the message has it
}

// String returns "file:line:column: message: text".
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	b.WriteString(": " + p.Message)
	if p.Text != "" {
		b.WriteString(": " + p.Text)
	}
	return b.String()
}

// LoadError is everything that is wrong with a model, in the order of files and lines.
type LoadError struct{ Problems []Problem }

// Error returns the problems in the form in which Cube answers them: "Compile errors:" and one line for each.
func (e *LoadError) Error() string {
	var b strings.Builder
	b.WriteString("Compile errors:")
	for _, p := range e.Problems {
		b.WriteString("\n" + p.String())
	}
	return b.String()
}
