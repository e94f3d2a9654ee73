package datamodel

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// node is a value of a model file with its place. The rest of the package knows model files only as nodes, whatever
// language they are written in.
type node struct {
	kind   nodeKind
	text   string // of a scalar, as written but for quotes
	fields []pair // of a mapping, in the order of the file
	items  []*node
	pos    Position
	file   *source
	block  bool // a scalar after "|", whose lines are those of the file
	quoted bool // a scalar in quotes

	// Of another language: what a scalar means where SQL is expected, that a mapping may stand for a list of what has
	// names, and that a problem of it has been told.
	template *Template
	scripted bool
	broken   bool
}

// pair is one entry of a mapping.
type pair struct {
	key   string
	pos   Position
	value *node
}

type nodeKind int

const (
	null  nodeKind = iota
	str            // a string
	other          // another scalar: number, bool
	list
	mapping
)

func (k nodeKind) String() string {
	return [...]string{"nothing", "a string", "a number or boolean", "a list", "a mapping"}[k]
}

// source is a model file.
type source struct {
	name  string
	lines []string // as YAML has them

	// Of what a template rendered: the line of the template that each line came from, 0 where that is not known; and
	// the template.
	rendered bool
	origin   []int
	template []string
}

// maxNodes bounds what the aliases of one file may expand to.
const maxNodes = 1_000_000

// yamlReader turns the syntax tree of one file into nodes.
type yamlReader struct {
	file    *source
	anchors map[string]ast.Node
	open    map[string]bool // aliases being read, to find one inside itself
	nodes   int
}

// readYAML returns the documents of a file, or a Problem.
func readYAML(file *source, data []byte) ([]*node, *Problem) {
	tree, err := parser.ParseBytes(data, 0)
	if err != nil {
		p := Problem{Position: Position{File: file.name, Line: 1, Column: 1}, Message: "this is not YAML"}
		var syntax yaml.Error
		if errors.As(err, &syntax) {
			p.Message = syntax.GetMessage()
			if strings.Contains(p.Message, "'\t'") {
				p.Message = "YAML is indented with spaces, and this line begins with a tab"
			}
			if t := syntax.GetToken(); t != nil {
				p.Position = file.position(t)
				p.Text = strings.TrimSpace(file.line(p.Line))
			}
		}
		return nil, &p
	}
	r := &yamlReader{file: file, anchors: map[string]ast.Node{}, open: map[string]bool{}}
	var docs []*node
	for _, doc := range tree.Docs {
		if doc.Body == nil {
			continue
		}
		n, err := r.node(doc.Body)
		if err != nil {
			return nil, err
		}
		docs = append(docs, n)
	}
	return docs, nil
}

func (r *yamlReader) fail(n ast.Node, format string, args ...any) *Problem {
	p := r.file.position(n.GetToken())
	return &Problem{Position: p, Message: fmt.Sprintf(format, args...), Text: strings.TrimSpace(r.file.line(p.Line))}
}

func (r *yamlReader) node(n ast.Node) (*node, *Problem) {
	if r.nodes++; r.nodes > maxNodes {
		return nil, r.fail(n, "the file has more than %d values, counting those of its aliases", maxNodes)
	}
	out := &node{file: r.file}
	if t := n.GetToken(); t != nil {
		out.pos = r.file.position(t)
	}
	switch n := n.(type) {
	case *ast.NullNode:
		out.kind = null
	case *ast.StringNode:
		out.kind, out.text = str, n.Value
		out.quoted = n.Token.Type == token.SingleQuoteType || n.Token.Type == token.DoubleQuoteType
	case *ast.LiteralNode:
		out.kind, out.text = str, n.Value.Value
		out.block = n.Start.Type == token.LiteralType
	case *ast.MappingNode:
		return out, r.mapping(out, n.Values)
	case *ast.MappingValueNode:
		return out, r.mapping(out, []*ast.MappingValueNode{n})
	case *ast.SequenceNode:
		out.kind = list
		for _, v := range n.Values {
			item, err := r.node(v)
			if err != nil {
				return nil, err
			}
			out.items = append(out.items, item)
		}
	case *ast.AnchorNode:
		r.anchors[n.Name.GetToken().Value] = n.Value
		return r.node(n.Value)
	case *ast.AliasNode:
		name := n.Value.GetToken().Value
		target, ok := r.anchors[name]
		if !ok {
			return nil, r.fail(n, "there is no anchor %q before this alias", name)
		}
		if r.open[name] {
			return nil, r.fail(n, "the anchor %q contains itself", name)
		}
		r.open[name] = true
		defer delete(r.open, name)
		return r.node(target)
	case *ast.TagNode:
		return nil, r.fail(n, "YAML tags are not used in models")
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		out.kind, out.text = other, n.GetToken().Value
	default:
		return nil, r.fail(n, "this YAML is not used in models")
	}
	return out, nil
}

// mapping reads entries. A merge key (<<) adds the entries of others that are not given here.
func (r *yamlReader) mapping(out *node, values []*ast.MappingValueNode) *Problem {
	out.kind = mapping
	var merged []pair
	for _, v := range values {
		value, err := r.node(v.Value)
		if err != nil {
			return err
		}
		if v.Key.IsMergeKey() {
			for _, m := range append([]*node{value}, value.items...) {
				merged = append(merged, m.fields...)
			}
			continue
		}
		t := v.Key.GetToken()
		out.fields = append(out.fields, pair{key: t.Value, pos: r.file.position(t), value: value})
	}
	for _, m := range merged {
		if out.field(m.key) == nil {
			out.fields = append(out.fields, m)
		}
	}
	if len(out.fields) > 0 {
		out.pos = out.fields[0].pos
	}
	return nil
}

// field returns the value of a key, or nil.
func (n *node) field(key string) *node {
	for _, f := range n.fields {
		if f.key == key {
			return f.value
		}
	}
	return nil
}

// scalar reports whether n is a string, number or boolean.
func (n *node) scalar() bool { return n.kind == str || n.kind == other }

// at returns the place of the byte at offset of n.text, as far as the spelling of the scalar permits.
func (n *node) at(offset int) Position {
	before := n.text[:min(offset, len(n.text))]
	p := n.pos
	switch {
	case n.block:
		p.Line += 1 + strings.Count(before, "\n")
		line := n.file.line(n.pos.Line + 1)
		p.Column = 1 + len(line) - len(strings.TrimLeft(line, " "))
		p.Column += utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
	case n.quoted && strings.Contains(n.file.line(p.Line), n.text):
		p.Column += 1 + utf8.RuneCountInString(before)
	case strings.Contains(n.file.line(p.Line), n.text):
		p.Column += utf8.RuneCountInString(before)
	}
	return p
}

func (s *source) position(t *token.Token) Position {
	return Position{File: s.name, Line: t.Position.Line, Column: t.Position.Column}
}

// line returns a line by its number, which counts from 1.
func (s *source) line(n int) string {
	if n < 1 || n > len(s.lines) {
		return ""
	}
	return s.lines[n-1]
}
