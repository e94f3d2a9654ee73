package datamodel

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/nikolalohinski/gonja/v2/exec"
)

// rendering is what one rendering of a template sees of its Compilation. It keeps the first refusal, as filters such as
// default() hide errors.
type rendering struct {
	compilation *Compilation
	name, text  string // of the template

	mu        sync.Mutex
	refusal   error
	refusedAt Position
}

// refuse keeps err, which is of a line that has the words, and returns it.
func (r *rendering) refuse(err error, words ...string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refusal == nil {
		r.refusal, r.refusedAt = err, r.place(words...)
	}
	return err
}

// refused returns the first refusal, or nil.
func (r *rendering) refused() (Position, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refusedAt, r.refusal
}

// place returns the first line of the template that has all the words, or else the first.
func (r *rendering) place(words ...string) Position {
	at := Position{File: r.name, Line: 1, Column: 1}
	for i, line := range splitLines([]byte(r.text)) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			at.Line, at.Column = i+1, strings.Index(line, words[0])+1
			break
		}
	}
	return at
}

// environment returns what the template may use.
func (r *rendering) environment() *exec.Environment {
	env := *jinjaEnvironment
	env.Context = exec.EmptyContext().Update(env.Context).Update(exec.NewContext(map[string]any{
		root: jinjaObject{{rendering: r}}, "env_var": r.envVar,
	}))
	return &env
}

// envVar is env_var(name) and env_var(name, default).
func (r *rendering) envVar(_ *exec.Evaluator, args *exec.VarArgs) (*exec.Value, error) {
	if n := len(args.Args); n < 1 || n > 2 || !args.Args[0].IsString() || len(args.KwArgs) > 0 {
		return nil, r.refuse(errors.New("env_var takes the name of a variable and a default: env_var('SCHEMA', 'public')"), "env_var")
	}
	name := args.Args[0].String()
	value, ok, err := r.compilation.Variable(name, r.place("env_var", name))
	switch {
	case err != nil:
		return nil, r.refuse(err, "env_var", name)
	case ok:
		return exec.AsValue(value), nil
	case len(args.Args) == 2:
		return args.Args[1], nil
	}
	return nil, r.refuse(fmt.Errorf("the variable %s is not set, or not named in models.env of behalf.yaml; give a default with env_var('%[1]s', '…')", name), "env_var", name)
}

// jinjaObject is an object of COMPILE_CONTEXT in a template. Its values are read by name. The engine takes it for a list
// of one item, which is an error: so a loop over it, its text and what filters make of it end the template.
type jinjaObject []*jinjaPath

type jinjaPath struct {
	*rendering
	path []string
}

// Error implements error.
func (p *jinjaPath) Error() string {
	return shownPath(p.path) + " is an object, whose values are read by name in a template"
}

// String refuses the template: an object has no text.
func (o jinjaObject) String() string {
	_ = o[0].refuse(o[0], root)
	return ""
}

// MarshalJSON refuses the template likewise.
func (o jinjaObject) MarshalJSON() ([]byte, error) { return nil, o[0].refuse(o[0], root) }

// GetAttribute implements exec.AttributeGetter.
func (o jinjaObject) GetAttribute(name string) (*exec.Value, bool) {
	path := append(slices.Clone(o[0].path), name)
	v, ok, err := o[0].compilation.Value(path...)
	if err != nil {
		return exec.AsValue(o[0].refuse(err, root)), false
	}
	if !ok && name == "get" {
		return exec.AsValue(o.get), true
	}
	if !ok {
		return exec.AsValue(fmt.Errorf("%s is undefined; give it a default with default('…')", shownPath(path))), false
	}
	if v == (Object{}) {
		return exec.AsValue(jinjaObject{{rendering: o[0].rendering, path: path}}), true
	}
	return exec.AsValue(jinjaValue(v)), true
}

// GetItem implements exec.ItemGetter.
func (o jinjaObject) GetItem(key any) (*exec.Value, bool) {
	if name, ok := key.(string); ok {
		return o.GetAttribute(name)
	}
	return exec.AsValue(o[0].refuse(o[0], root)), false
}

// get is the method of that name: get(name) and get(name, default).
func (o jinjaObject) get(_ *exec.Evaluator, args *exec.VarArgs) (*exec.Value, error) {
	if n := len(args.Args); n < 1 || n > 2 || !args.Args[0].IsString() || len(args.KwArgs) > 0 {
		return nil, o[0].refuse(errors.New("get takes the name of a value and a default"), root)
	}
	v, ok := o.GetAttribute(args.Args[0].String())
	_, refusal := o[0].refused()
	switch {
	case ok:
		return v, nil
	case refusal != nil:
		return nil, refusal
	case len(args.Args) == 2:
		return args.Args[1], nil
	}
	return exec.AsValue(nil), nil
}

// jinjaValue returns a value as the engine computes with it.
func jinjaValue(v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		f, _ := v.Float64()
		return f
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = jinjaValue(item)
		}
		return list
	case map[string]any: // in a list
		object := make(map[string]any, len(v))
		for name, item := range v {
			object[name] = jinjaValue(item)
		}
		return object
	}
	return v
}
