package jsmodel

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dop251/goja"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/script"
)

// run is one run of one file, in a runtime of its own.
type run struct {
	*models
	root string
	r    *script.Runtime
	vm   *goja.Runtime

	input *datamodel.ScriptInput // of the query; nil at load

	calls    []call
	tasks    []goja.Value // of asyncModule
	tagged   map[*goja.Object]tagged
	current  *recording // the lazy function that runs, if one does
	problems []datamodel.Problem

	refusal   error // of something around it that the file may not read: the first one
	refusedAt datamodel.Position
}

// tagged is what rewriting left with a lazy function.
type tagged struct {
	*lazy
	variables *goja.Object // functions that return them
}

// call is one call of cube or view.
type call struct {
	view bool
	at   *place
	text string
	body goja.Value

	members map[string]bool // nil until asked for
}

// models is what one folder holds. It never changes once read.
type models struct {
	program     *script.Program
	sources     *sources
	config      Config
	compilation *datamodel.Compilation
	loaded      time.Time
}

// run runs a file and calls f with what it defined, until ctx ends or the limit is over. It returns the run, too.
func (m *models) run(ctx context.Context, root string, limit time.Duration, input *datamodel.ScriptInput, f func(*run) error) (*run, error) {
	u := &run{models: m, root: root, input: input, tagged: map[*goja.Object]tagged{}}
	c := script.Config{Env: m.compilation.Variables.Granted, Missing: u.missing, Log: m.config.Log, Setup: u.setup}
	err := m.program.Run(ctx, limit, c, func(r *script.Runtime) error {
		if _, err := r.Require(root); err != nil {
			return err
		}
		for _, task := range u.tasks {
			if _, err := r.Call(task); err != nil {
				return err
			}
		}
		return f(u)
	})
	return u, u.refused(err)
}

// setup adds the names that models find.
func (u *run) setup(r *script.Runtime) error {
	u.r, u.vm = r, r.VM()
	// What a file defines is the same in each run: it sees the time of the first one, and the same random numbers. A
	// lazy function that asks for the time is one that needs a query, and sees that of the query.
	random := rand.New(rand.NewPCG(1, 2))
	u.vm.SetRandSource(random.Float64)
	u.vm.SetTimeSource(func() time.Time {
		switch {
		case u.current == nil:
			return u.loaded
		case u.input == nil:
			u.current.touched, u.current.needs = true, true
			return u.loaded
		}
		return u.input.Now
	})
	names := map[string]any{
		"cube":       func(c goja.FunctionCall) goja.Value { return u.define("cube", c) },
		"view":       func(c goja.FunctionCall) goja.Value { return u.define("view", c) },
		"context":    func(goja.FunctionCall) goja.Value { return goja.Undefined() },
		"view_group": u.viewGroup, "viewGroup": u.viewGroup,
		"asyncModule": func(c goja.FunctionCall) goja.Value {
			if _, ok := goja.AssertFunction(c.Argument(0)); !ok {
				panic(u.vm.NewGoError(errors.New("asyncModule takes a function")))
			}
			if u.own() {
				u.tasks = append(u.tasks, c.Argument(0))
			}
			return goja.Undefined()
		},
		"addExport": func(c goja.FunctionCall) goja.Value {
			exports := u.r.Module().Get("exports").ToObject(u.vm)
			from := c.Argument(0).ToObject(u.vm)
			for _, key := range from.Keys() {
				if err := exports.Set(key, from.Get(key)); err != nil {
					panic(err)
				}
			}
			return goja.Undefined()
		},
		"setExport": func(c goja.FunctionCall) goja.Value {
			if err := u.r.Module().Set("exports", c.Argument(0)); err != nil {
				panic(err)
			}
			return goja.Undefined()
		},
		"__lazy": func(c goja.FunctionCall) goja.Value {
			f := c.Argument(1).ToObject(u.vm)
			if i := c.Argument(0).ToInteger(); i >= 0 && i < int64(len(u.sources.lazies)) {
				u.tagged[f] = tagged{&u.sources.lazies[i], c.Argument(2).ToObject(u.vm)}
			}
			return f
		},
	}
	for name, value := range names {
		if err := u.vm.Set(name, value); err != nil {
			return err
		}
	}
	return u.compileContext()
}

// own reports whether what runs is the file itself, and not one that it requires, which defines what is in it when its
// turn comes.
func (u *run) own() bool { return slices.Contains([]string{u.root, ""}, u.r.Loading()) }

func (u *run) viewGroup(goja.FunctionCall) goja.Value {
	panic(u.vm.NewGoError(errors.New("view groups are not supported yet")))
}

// define is cube(name, definition) and view(name, definition).
func (u *run) define(kind string, c goja.FunctionCall) goja.Value {
	args := c.Arguments
	at := (*place)(nil)
	if len(args) > 0 {
		if number, ok := strings.CutPrefix(args[0].String(), site); ok {
			if i, err := strconv.Atoi(number); err == nil && i < len(u.sources.calls) {
				at, args = u.sources.calls[i], args[1:]
			}
		}
	}
	if at == nil {
		at = &place{}
		at.value = u.here()
		at.key = at.value
	}
	if len(args) < 2 {
		panic(u.vm.NewGoError(fmt.Errorf("%s takes a name and a definition: %s(`orders`, { … })", kind, kind)))
	}
	if !u.own() {
		return goja.Undefined()
	}
	if len(u.calls) >= maxDefinitions {
		panic(u.vm.NewGoError(fmt.Errorf("a file defines at most %d cubes and views", maxDefinitions)))
	}
	u.calls = append(u.calls, call{view: kind == "view", at: at, text: args[0].String(), body: args[1]})
	return goja.Undefined()
}

// knows reports whether a name is that of a member of the definition, or of a cube.
func (u *run) knows(index int, name string) bool {
	c := &u.calls[index]
	if c.members == nil {
		c.members = map[string]bool{}
		for _, kind := range listKeys {
			body, _ := c.body.(*goja.Object)
			if body == nil {
				break
			}
			list, ok := body.Get(kind).(*goja.Object)
			if !ok {
				continue
			}
			for _, key := range list.Keys() {
				if item, ok := list.Get(key).(*goja.Object); ok && list.ClassName() == "Array" && item.Get("name") != nil {
					key = item.Get("name").String()
				}
				c.members[key] = true
			}
		}
	}
	return c.members[name] || u.sources.cubes[name]
}

// maxDefinitions bounds what one file defines.
const maxDefinitions = 10_000

// here returns the place of the statement that runs.
func (u *run) here() datamodel.Position {
	file, line, column := u.r.Here()
	return datamodel.Position{File: file, Line: line, Column: column}
}
