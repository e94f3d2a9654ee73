package datamodel

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nikolalohinski/gonja/v2/builtins"
	"github.com/nikolalohinski/gonja/v2/config"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/loaders"
)

// Bounds of one template. An author is trusted, but not to never err.
const (
	renderTime = 15 * time.Second
	maxRange   = 100_000
)

// render returns what a Jinja template of a model renders to, as a file whose lines know where they come from; or a
// Problem (cube-data-model.md §3.3); or no file, when it waits for somebody to ask. Files that it imports or includes are
// of the model's folder.
func render(ctx context.Context, c *Compilation, fsys fs.FS, name string, data []byte) (*source, []byte, *Problem) {
	if line, ok := printable(data); !ok {
		return nil, nil, &Problem{Position: Position{File: name, Line: line, Column: 1}, Message: "a template is text in UTF-8, without control characters"}
	}
	around := &rendering{compilation: c, name: name, text: string(data)}
	out, problem := around.execute(ctx, fsys, string(data))
	if at, err := around.refused(); err != nil {
		if errors.Is(err, ErrNobody) {
			c.Wait(at)
			return nil, nil, nil
		}
		if problem == nil {
			problem = &Problem{Position: at}
		}
		problem.Message = err.Error()
	}
	if problem != nil {
		return nil, nil, problem
	}
	file := &source{name: name, lines: splitLines(out), rendered: true}
	// Once more, with a mark before the text of each line: so the lines of the result are known by their mark, where the
	// marks changed nothing else.
	if marked, problem := around.execute(ctx, fsys, mark(data)); problem == nil && markPattern.ReplaceAllString(string(marked), "") == string(out) {
		for _, line := range splitLines(marked) {
			n := 0
			if m := markPattern.FindStringSubmatch(line); m != nil {
				n, _ = strconv.Atoi(m[1])
			}
			file.origin = append(file.origin, n)
		}
		file.template = splitLines(data)
	}
	return file, out, nil
}

// markPattern is a mark with the number of a line.
var markPattern = regexp.MustCompile("\x01([0-9]+)\x02")

// printable reports whether YAML has a place for all of data, and else in which line it has not. The engine does not end
// with some of what YAML has no place for.
func printable(data []byte) (line int, ok bool) {
	i := bytes.IndexFunc(data, func(r rune) bool {
		return r < ' ' && r != '\n' && r != '\t' && r != '\r' || r == 0x7f || r == utf8.RuneError
	})
	if i < 0 {
		return 0, true
	}
	return 1 + bytes.Count(data[:i], []byte("\n")), false
}

// mark puts a mark before the first character of each line that is text of the template and not one of its tags. White
// space that a tag takes away on its side ends at that character with or without a mark.
func mark(template []byte) string {
	var b strings.Builder
	inside := "" // the end of the tag that a line begins in
	for i, line := range splitLines(template) {
		if i > 0 {
			b.WriteByte('\n')
		}
		rest := strings.TrimLeft(line, " \t")
		if inside == "" && rest != "" && !strings.HasPrefix(rest, "{%") && !strings.HasPrefix(rest, "{#") && !strings.HasPrefix(rest, "{{-") {
			b.WriteString(line[:len(line)-len(rest)])
			fmt.Fprintf(&b, "\x01%d\x02", i+1)
			b.WriteString(rest)
		} else {
			b.WriteString(line)
		}
		inside = unclosed(line, inside)
	}
	return b.String()
}

// unclosed returns the end of the tag that is open at the end of a line, which began inside one.
func unclosed(line, inside string) string {
	ends := map[string]string{"{%": "%}", "{{": "}}", "{#": "#}"}
	for len(line) > 1 {
		switch {
		case inside != "" && strings.HasPrefix(line, inside):
			line, inside = line[2:], ""
		case inside == "" && ends[line[:2]] != "":
			line, inside = line[2:], ends[line[:2]]
		default:
			line = line[1:]
		}
	}
	return inside
}

func splitLines(data []byte) []string {
	return strings.Split(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n")
}

// execute renders a template. It returns when its time is over, too; what still renders then ends at its next output.
func (r *rendering) execute(ctx context.Context, fsys fs.FS, template string) ([]byte, *Problem) {
	name := r.name
	ctx, cancel := context.WithTimeout(ctx, renderTime)
	defer cancel()
	type result struct {
		out []byte
		err error
	}
	done := make(chan result, 1)
	go func() {
		out := &bounded{ctx: ctx}
		err := func() (err error) {
			defer func() {
				if p := recover(); p != nil {
					err = fmt.Errorf("%v", p)
				}
			}()
			strict := config.New()
			strict.StrictUndefined, strict.KeepTrailingNewline = true, true
			t, err := exec.NewTemplate("/"+name, strict, modelFiles{fsys: fsys, root: "/" + name, text: template}, r.environment())
			if err != nil {
				return err
			}
			return t.Execute(out, nil)
		}()
		done <- result{out.Bytes(), err}
	}()
	select {
	case done := <-done:
		if done.err != nil {
			return nil, jinjaProblem(name, template, done.err)
		}
		return done.out, nil
	case <-ctx.Done():
		return nil, &Problem{Position: Position{File: name, Line: 1, Column: 1},
			Message: fmt.Sprintf("the template did not end within %s; is there a loop without an end?", renderTime)}
	}
}

// bounded is the output of a template. It ends a rendering that is too large or too late.
type bounded struct {
	bytes.Buffer
	ctx context.Context
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxFile {
		return 0, fmt.Errorf("the template renders to more than %d MiB", maxFile>>20)
	}
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	return b.Buffer.Write(p)
}

// WriteString is Write: what bytes.Buffer has would go past it.
func (b *bounded) WriteString(s string) (int, error) { return b.Write([]byte(s)) }

// jinjaEnvironment is what templates may use: everything of Jinja that reads nothing from outside.
var jinjaEnvironment = func() *exec.Environment {
	functions := map[string]any{"range": boundedRange}
	for _, name := range []string{"cycler", "dict", "joiner", "namespace"} {
		functions[name], _ = builtins.GlobalFunctions.Get(name)
	}
	return &exec.Environment{
		Context: exec.EmptyContext().Update(builtins.GlobalVariables).Update(exec.NewContext(functions)),
		Filters: builtins.Filters, Tests: builtins.Tests, ControlStructures: builtins.ControlStructures, Methods: builtins.Methods,
	}
}()

// boundedRange is range(stop), range(start, stop) and range(start, stop, step).
func boundedRange(_ *exec.Evaluator, args *exec.VarArgs) ([]int, error) {
	n := make([]int, len(args.Args))
	for i, a := range args.Args {
		if !a.IsInteger() {
			return nil, errors.New("range takes integers: range(stop), range(start, stop) or range(start, stop, step)")
		}
		n[i] = a.Integer()
	}
	start, stop, step := 0, 0, 1
	switch len(n) {
	case 1:
		stop = n[0]
	case 2:
		start, stop = n[0], n[1]
	case 3:
		start, stop, step = n[0], n[1], n[2]
	default:
		return nil, errors.New("range takes one to three integers")
	}
	if step == 0 {
		return nil, errors.New("the step of range is not 0")
	}
	if (stop-start)/step > maxRange {
		return nil, fmt.Errorf("range has more than %d numbers", maxRange)
	}
	list := []int{}
	for i := start; step > 0 && i < stop || step < 0 && i > stop; i += step {
		list = append(list, i)
	}
	return list, nil
}

// modelFiles lets a template import and include files of the model's folder and no others.
type modelFiles struct {
	fsys fs.FS
	root string // path of the template that is rendered, and its text
	text string
	from string // folder of the file that asks
}

// Resolve implements loaders.Loader: names are relative to the file that asks, or else to the folder of the model.
func (m modelFiles) Resolve(name string) (string, error) {
	clean := path.Clean("/" + name)
	if !strings.HasPrefix(name, "/") && m.from != "" {
		if beside := path.Clean("/" + m.from + "/" + name); m.exists(beside) {
			clean = beside
		}
	}
	if !m.exists(clean) {
		return "", fmt.Errorf("there is no file %q in the folder of the model", name)
	}
	return clean, nil
}

func (m modelFiles) exists(name string) bool {
	if name == m.root {
		return true
	}
	info, err := fs.Stat(m.fsys, strings.TrimPrefix(name, "/"))
	return err == nil && info.Mode().IsRegular() && info.Size() <= maxFile
}

// Read implements loaders.Loader.
func (m modelFiles) Read(name string) (io.Reader, error) {
	resolved, err := m.Resolve(name)
	if err != nil {
		return nil, err
	}
	if resolved == m.root {
		return strings.NewReader(m.text), nil
	}
	data, err := fs.ReadFile(m.fsys, strings.TrimPrefix(resolved, "/"))
	if err != nil {
		return nil, err
	}
	if line, ok := printable(data); !ok {
		return nil, fmt.Errorf("line %d of %s is not text in UTF-8 without control characters", line, resolved[1:])
	}
	return bytes.NewReader(data), nil
}

// Inherit implements loaders.Loader.
func (m modelFiles) Inherit(from string) (loaders.Loader, error) {
	m.from = path.Dir(from)
	return m, nil
}

// What the engine says of a place, and around it.
var (
	jinjaPlaces = []*regexp.Regexp{
		regexp.MustCompile(`Line[:=] ?(\d+) Col[:=] ?(\d+)`),
		regexp.MustCompile(`at line (\d+)()`),
	}
	jinjaNoise = regexp.MustCompile(`(?i)unable to execute template: |failed to parse template '…': |unable to (?:render expression|execute controlStructure) at line \d+: |` +
		`[A-Za-z]+ControlStructure\([^)]*\): | \(Line: \d+ Col: \d+, near ".*"\)|(?:call\([^)]*\)|filtered_expression\(.*?\)): |unable to evaluate filter &\{.*?\}: `)
	jinjaUndefined = regexp.MustCompile(`COMPILE_CONTEXT[^ ]* is undefined; .*`)
	jinjaUnknown   = regexp.MustCompile(`Unable to evaluate name "(.*)"`)
	jinjaCallable  = regexp.MustCompile(`^(.*) is not callable$`)
)

// jinjaProblem says where a template is wrong, as far as the engine knows.
func jinjaProblem(name, template string, err error) *Problem {
	p := &Problem{Position: Position{File: name, Line: 1, Column: 1}}
	text := strings.ReplaceAll(err.Error(), template, "…")
	for _, place := range jinjaPlaces {
		if m := place.FindStringSubmatch(text); m != nil {
			line, _ := strconv.Atoi(m[1])
			p.Line = max(1, line)
			p.Column, _ = strconv.Atoi(cmp.Or(m[2], "1"))
			break
		}
	}
	if lines := splitLines([]byte(template)); p.Line <= len(lines) {
		p.Text = strings.TrimSpace(lines[p.Line-1])
	}
	text = strings.TrimSuffix(jinjaNoise.ReplaceAllString(text, ""), ".")
	undefined := jinjaUndefined.FindString(text)
	unknown := jinjaUnknown.FindStringSubmatch(text)
	switch m := jinjaCallable.FindStringSubmatch(text); {
	case undefined != "":
		p.Message = undefined
	case unknown != nil:
		p.Message = "Jinja: there is no variable " + unknown[1] + "; variables of globals.py are Python, which does not run here"
	case m != nil:
		p.Message = "Jinja: there is no function " + m[1] + "; functions of globals.py are Python, which does not run here"
	default:
		p.Message = "Jinja: " + text
	}
	return p
}

// place returns where a place of a rendered file is in its template, and the rendered text where that differs.
func (s *source) place(p Position) (at Position, rendered string) {
	if !s.rendered {
		return p, ""
	}
	line := s.line(p.Line)
	at = Position{File: p.File, Line: 1, Column: 1}
	for n := min(p.Line, len(s.origin)); n > 0; n-- {
		if s.origin[n-1] == 0 {
			continue
		}
		at.Line = s.origin[n-1]
		if original := s.template[at.Line-1]; n == p.Line {
			if original == line {
				return p.on(at.Line), ""
			}
			at.Column = column(p.Column, line, original)
		}
		break
	}
	return at, strings.TrimSpace(line)
}

// column returns the column of the template's line that a column of the rendered one comes from: that of the text they
// have in common at their beginnings or ends, or else where they part.
func column(at int, rendered, template string) int {
	r, t := []rune(rendered), []rune(template)
	begin, end, shorter := 0, 0, min(len(r), len(t))
	for begin < shorter && r[begin] == t[begin] {
		begin++
	}
	for end < shorter-begin && r[len(r)-1-end] == t[len(t)-1-end] {
		end++
	}
	if at > len(r)-end {
		return at + len(t) - len(r)
	}
	return min(at, begin+1)
}

// on returns p on another line.
func (p Position) on(line int) Position {
	p.Line = line
	return p
}
