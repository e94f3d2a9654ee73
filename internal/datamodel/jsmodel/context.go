package jsmodel

import (
	"errors"
	"slices"
	"strings"

	"github.com/dop251/goja"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/script"
)

// compileContext defines COMPILE_CONTEXT (cube-data-model.md §4.4).
func (u *run) compileContext() error {
	root := u.vm.NewDynamicObject(&compileObject{run: u, known: map[string]goja.Value{}})
	getter := u.vm.ToValue(func(goja.FunctionCall) goja.Value {
		if err := u.compilation.Readable(); err != nil {
			u.refuse(err)
		}
		return root
	})
	return u.vm.GlobalObject().DefineAccessorProperty("COMPILE_CONTEXT", getter, nil, goja.FLAG_TRUE, goja.FLAG_FALSE)
}

// refuse throws an error, and keeps the first one for a file that catches it.
func (u *run) refuse(err error) {
	if u.refusal == nil {
		u.refusal, u.refusedAt = err, u.here()
	}
	panic(u.vm.NewGoError(err))
}

// refused returns a refusal that the file has caught: what err, of the run, does not say.
func (u *run) refused(err error) error {
	e, thrown := errors.AsType[*script.Error](err)
	if u.refusal == nil || thrown && errors.Is(e.Err, u.refusal) {
		return err
	}
	return &script.Error{File: u.refusedAt.File, Line: u.refusedAt.Line, Column: u.refusedAt.Column, Message: u.refusal.Error()}
}

// compileObject is an object of COMPILE_CONTEXT. What is asked of it is recorded; it cannot be changed.
type compileObject struct {
	*run
	path  []string
	known map[string]goja.Value // objects that were read: each is one, however often it is read
}

// Get implements goja.DynamicObject.
func (o *compileObject) Get(name string) goja.Value {
	if v := o.known[name]; v != nil {
		return v
	}
	path := append(slices.Clone(o.path), name)
	v, ok, err := o.compilation.Value(path...)
	switch {
	case err != nil:
		o.refuse(err)
	case !ok:
		return nil
	case v == datamodel.Object{}:
		o.known[name] = o.vm.NewDynamicObject(&compileObject{run: o.run, path: path, known: map[string]goja.Value{}})
		return o.known[name]
	}
	return o.r.Value(v)
}

// Has implements goja.DynamicObject.
func (o *compileObject) Has(name string) bool { return o.Get(name) != nil }

// Keys implements goja.DynamicObject.
func (o *compileObject) Keys() []string {
	names, err := o.compilation.Names(o.path...)
	if err != nil {
		o.refuse(err)
	}
	return names
}

// Set implements goja.DynamicObject.
func (o *compileObject) Set(string, goja.Value) bool {
	panic(o.vm.NewTypeError("%s cannot be changed", strings.Join(append([]string{"COMPILE_CONTEXT"}, o.path...), ".")))
}

// Delete implements goja.DynamicObject.
func (o *compileObject) Delete(string) bool { return o.Set("", nil) }

// missing is told of each variable that a file asks for and that is not granted.
func (u *run) missing(_ *script.Runtime, name string) error {
	_, _, err := u.compilation.Variable(name, u.here())
	return err
}
