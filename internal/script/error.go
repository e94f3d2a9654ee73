package script

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/dop251/goja"
	"github.com/dop251/goja/parser"
)

// Error is what went wrong in a script, and where. Its texts may be shown to whoever runs the server; they may hold
// what the script put into them.
type Error struct {
	File    string
	Line    int    // from 1; 0 when no place is known
	Column  int    // in characters, from 1
	Name    string // of the Error that was thrown, such as TypeError; "" when none was
	Message string
	Text    string // the line, without the space around it
	Err     error  // the cause, when it is one of Go: an error of a host function, or of the context
}

// Error returns "file:line:column: message: text".
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
		}
		b.WriteString(": ")
	}
	b.WriteString(e.Message)
	if e.Text != "" {
		b.WriteString(": " + e.Text)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errors is everything that is wrong with the files of a Program.
type Errors []*Error

// Error returns one line for each.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// syntax returns the errors of the parser and the compiler with the places of the author's file.
func (f *file) syntax(err error) Errors {
	var list parser.ErrorList
	if errors.As(err, &list) {
		// What follows the first one is most often a consequence of it.
		return Errors{f.errorAt(f.offset(list[0].Position.Line, list[0].Position.Column), "%s", list[0].Message)}
	}
	var compile *goja.CompilerSyntaxError
	if errors.As(err, &compile) && compile.File != nil {
		return Errors{f.errorAt(f.original(compile.Offset), "%s", compile.Message)}
	}
	var reference *goja.CompilerReferenceError
	if errors.As(err, &reference) && reference.File != nil {
		return Errors{f.errorAt(f.original(reference.Offset), "%s", reference.Message)}
	}
	return Errors{{File: f.name, Message: err.Error()}}
}

// errorAt returns an error at a byte of the author's text.
func (f *file) errorAt(offset int, format string, args ...any) *Error {
	line, column := f.position(offset)
	return &Error{File: f.name, Line: line, Column: column, Message: fmt.Sprintf(format, args...), Text: strings.TrimSpace(f.line(line))}
}

// place fills in where the innermost frame of a script was.
func (r *Runtime) place(e *Error, frames []goja.StackFrame) {
	for _, frame := range frames {
		if p := frame.Position(); r.at(e, frame.SrcName(), p.Line, p.Column) {
			return
		}
	}
}

// at sets the place of e, given that of the text that runs, if it is in one of the program's files.
func (r *Runtime) at(e *Error, name string, line, column int) bool {
	f := r.program.files[name]
	if f == nil || f.code == nil || line < 1 {
		return false
	}
	at := f.errorAt(f.offset(line, column), "")
	e.File, e.Line, e.Column, e.Text = at.File, at.Line, at.Column, at.Text
	return true
}

// frame is a line of the stack of an Error: "at f (orders.js:3:7(12))".
var frame = regexp.MustCompile(`(?m)^\s*at (?:.* \()?([^\s()]+):(\d+):(\d+)\(\d+\)\)?$`)

// failure returns err, which the engine returned, as an *Error.
func (r *Runtime) failure(err error) error {
	if err == nil {
		return nil
	}
	var known *Error
	if errors.As(err, &known) && !isException(err) {
		return err
	}
	e := &Error{Err: err, Message: err.Error()}
	var interrupted *goja.InterruptedError
	var overflow *goja.StackOverflowError
	var exception *goja.Exception
	switch {
	case errors.As(err, &interrupted):
		*e = *r.stopped()
		r.place(e, interrupted.Stack())
	case errors.As(err, &overflow):
		r.place(e, overflow.Stack())
		e.Message, e.Err = fmt.Sprintf("the script calls itself more than %d deep", r.config.MaxDepth), nil
	case errors.As(err, &exception):
		e.Err = nil
		r.thrown(e, exception.Value())
		if e.Line == 0 {
			r.place(e, exception.Stack())
		}
		if inner := (*Error)(nil); errors.As(e.Err, &inner) {
			return inner // of a module that was required
		}
	}
	return e
}

// stopped is the error of a script whose time is over.
func (r *Runtime) stopped() *Error {
	if errors.Is(context.Cause(r.ctx), errTooLong) {
		return &Error{Message: fmt.Sprintf("the script ran longer than %s", r.limit), Err: context.DeadlineExceeded}
	}
	return &Error{Message: "the script was stopped: its caller did not wait", Err: r.ctx.Err()}
}

func isException(err error) bool {
	var exception *goja.Exception
	return errors.As(err, &exception)
}

// errTooLong is the cause of a context that ended because the script's own time was over.
var errTooLong = errors.New("the time of the script is over")

// thrown fills in what a thrown value says.
func (r *Runtime) thrown(e *Error, v goja.Value) {
	e.Message = "something was thrown"
	err := r.try(func() {
		o, ok := v.(*goja.Object)
		if !ok {
			e.Message = "thrown: " + truncate(v.String())
			return
		}
		if o.ClassName() != "Error" {
			if message := o.Get("message"); message != nil && !goja.IsUndefined(message) {
				e.Message = truncate(message.String())
			}
			return
		}
		name, message := text(o.Get("name")), text(o.Get("message"))
		e.Name = truncate(name)
		switch {
		case name == "Error" || name == "GoError" || name == "":
			e.Message = truncate(message)
		default:
			e.Message = truncate(name + ": " + message)
		}
		e.Message += hint(name, message)
		if cause := o.Get("value"); name == "GoError" && cause != nil {
			e.Err, _ = cause.Export().(error)
		}
		for _, m := range frame.FindAllStringSubmatch(text(o.Get("stack")), -1) {
			line, _ := strconv.Atoi(m[2])
			column, _ := strconv.Atoi(m[3])
			if r.at(e, m[1], line, column) {
				return
			}
		}
	})
	if err != nil {
		e.Message = "what was thrown cannot be shown"
	}
}

func text(v goja.Value) string {
	if v == nil || goja.IsUndefined(v) {
		return ""
	}
	return v.String()
}

// truncate bounds what a script says in errors and logs.
func truncate(s string) string {
	const most = 2000
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// missing are names that Node or a browser has.
var missing = map[string]string{
	"setTimeout": "timers", "setInterval": "timers", "setImmediate": "timers", "queueMicrotask": "timers", "clearTimeout": "timers",
	"Buffer": "Buffer", "__dirname": "files", "__filename": "files", "XMLHttpRequest": "network", "WebSocket": "network",
	"fetch":  "network, unless it is allowed to reach hosts",
	"Intl":   "Intl",
	"window": "window", "document": "document", "global": "global; use globalThis", "URL": "URL", "structuredClone": "structuredClone",
	"TextEncoder": "TextEncoder", "TextDecoder": "TextDecoder", "crypto": "crypto",
}

// hint says why a name that is defined elsewhere is not here.
func hint(name, message string) string {
	word, ok := strings.CutSuffix(message, " is not defined")
	if what := missing[word]; name == "ReferenceError" && ok && what != "" {
		return "; scripts have no " + what
	}
	return ""
}
