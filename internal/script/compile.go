package script

import (
	"encoding/json"
	"slices"
	"sort"
	"strings"

	"github.com/dop251/goja"
	"github.com/dop251/goja/ast"
	"github.com/dop251/goja/parser"
)

// MaxFile bounds the text of one file, in bytes.
const MaxFile = 1 << 20

// Source is what Compile takes. Files is required.
type Source struct {
	// Files are the texts of the files by their paths, which are relative to their folder and have slashes. A name
	// that ends in .json is data, all others are JavaScript.
	Files map[string]string

	// FromFolder has "./x" mean a file x of the folder before one beside the file that says so, as in Cube's models.
	FromFolder bool

	// Rewrite returns changes to a file that is parsed, or what it refuses; nil changes nothing.
	Rewrite func(*Parsed) ([]Edit, []RewriteError)
}

// Parsed is a file on its way to a Program. Offsets are bytes of Text, which is what the author wrote but for import
// and export statements; the indexes of the AST count from 1.
type Parsed struct {
	Name    string
	Text    string
	Program *ast.Program

	file   *file
	tokens []token
}

// Position returns the line and column, from 1, of the author's file.
func (p *Parsed) Position(offset int) (line, column int) {
	return p.file.position(p.file.original(offset))
}

// Span returns the bytes of an expression, with the parentheses around it, and the tokens before and after.
func (p *Parsed) Span(n ast.Node) (from, to int, before, after string) {
	if p.tokens == nil {
		p.tokens, _ = scan(p.Text)
	}
	first := sort.Search(len(p.tokens), func(i int) bool { return p.tokens[i].to > int(n.Idx0())-1 })
	last := sort.Search(len(p.tokens), func(i int) bool { return p.tokens[i].to >= int(n.Idx1())-1 })
	for first > 0 && p.token(first-1) == "(" {
		first--
	}
	for p.token(last+1) == ")" {
		last++
	}
	if first >= len(p.tokens) || last >= len(p.tokens) {
		return 0, 0, "", ""
	}
	return p.tokens[first].from, p.tokens[last].to, p.token(first - 1), p.token(last + 1)
}

func (p *Parsed) token(i int) string {
	if i < 0 || i >= len(p.tokens) {
		return ""
	}
	return p.Text[p.tokens[i].from:p.tokens[i].to]
}

// RewriteError is what a Rewrite refuses.
type RewriteError struct {
	Offset  int
	Message string
}

// Program is the compiled files of one folder. It never changes and is shared by goroutines.
type Program struct {
	files      map[string]*file
	fromFolder bool
}

// file is one compiled file.
type file struct {
	name  string
	text  string
	lines lines

	code      *goja.Program // nil for data, and for what does not compile
	codeLines lines         // of the text that runs
	edits     []edited      // from the author's text to the one that runs
	errs      Errors
}

// Compile compiles every file of src. The Program is there even when there are Errors: what is wrong with a file is
// also the error of requiring it, so that the others can go on to find their own mistakes.
func Compile(src Source) (*Program, Errors) {
	p := &Program{files: make(map[string]*file, len(src.Files)), fromFolder: src.FromFolder}
	var errs Errors
	for _, name := range p.sorted(src.Files) {
		f := &file{name: name, text: src.Files[name]}
		f.lines = linesOf(f.text)
		f.compile(src.Rewrite)
		p.files[name] = f
		errs = append(errs, f.errs...)
	}
	return p, errs
}

func (*Program) sorted(files map[string]string) []string {
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (f *file) compile(rewrite func(*Parsed) ([]Edit, []RewriteError)) {
	switch {
	case len(f.text) > MaxFile:
		f.errs = Errors{f.errorAt(0, "the file is larger than %d KiB", MaxFile>>10)}
		return
	case strings.HasSuffix(f.name, ".json"):
		if !json.Valid([]byte(f.text)) {
			f.errs = Errors{f.errorAt(0, "this is not JSON")}
		}
		return
	}
	m := modules(f)
	if f.errs = m.errs; len(f.errs) > 0 {
		return
	}
	text, way := apply(f.text, m.edits)
	f.edits, f.codeLines = []edited{way}, linesOf(text)
	program, err := parser.ParseFile(nil, f.name, text, 0, parser.WithDisableSourceMaps)
	if err != nil {
		f.errs = f.syntax(err)
		return
	}
	m.declarations(program, way.after)
	if rewrite != nil {
		edits, refused := rewrite(&Parsed{Name: f.name, Text: text, Program: program, file: f})
		for _, r := range refused {
			f.errs = append(f.errs, f.errorAt(f.original(r.Offset), "%s", r.Message))
		}
		if len(f.errs) > 0 {
			return
		}
		text, way = apply(text, edits)
		f.edits = append(f.edits, way)
	}
	text, way = apply(text, []Edit{{0, 0, m.head()}, {len(text), len(text), "\n})"}})
	f.edits, f.codeLines = append(f.edits, way), linesOf(text)
	program, err = parser.ParseFile(nil, f.name, text, 0, parser.WithDisableSourceMaps)
	if err == nil {
		f.code, err = goja.CompileAST(program, false)
	}
	if err != nil {
		f.errs = f.syntax(err)
	}
}

// resolve finds the file that name means in the module from.
func (p *Program) resolve(name string) *file {
	for _, ending := range []string{"", ".js", ".json", "/index.js"} {
		if f := p.files[name+ending]; f != nil {
			return f
		}
	}
	return nil
}
