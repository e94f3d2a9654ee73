package script

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dop251/goja"
	"github.com/dop251/goja/parser"
	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/spelling"
)

// Config says how runtimes of a program are made. Program is required.
type Config struct {
	Program *Program

	// Setup adds what scripts find as global names, before any of them runs; nil adds nothing. What it sets cannot be
	// changed by scripts.
	Setup func(r *Runtime) error

	// Env is what process.env has; nothing else of the environment is visible.
	Env map[string]string

	// Missing is told of each variable that a script asks for and Env does not have. Its error is thrown; without one the
	// variable is undefined. Default: all are.
	Missing func(r *Runtime, name string) error

	// MaxDepth bounds calls in calls. Default: 400.
	MaxDepth int

	// Log takes what scripts write to console. Default: nothing is logged.
	Log *zap.Logger

	// Size is how many calls of a Pool may run at once, and how many runtimes it keeps. Default: 4.
	Size int
}

func (c Config) defaults() Config {
	if c.MaxDepth == 0 {
		c.MaxDepth = 400
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	if c.Size == 0 {
		c.Size = 4
	}
	return c
}

// Runtime is one instance of a Program. It belongs to the function that it was given to, and is not safe for
// concurrent use.
type Runtime struct {
	vm      *goja.Runtime
	config  Config
	program *Program
	modules map[string]*goja.Object // by file, from when it begins to run
	loading []string
	globals []string // the names that were there at the beginning
	symbols int      // and how many symbols

	packages map[string]goja.Value // of Provide

	// Of the call that runs.
	ctx     context.Context
	limit   time.Duration
	arrived chan func() // results of Async, to be settled here
	waiting int         // results that have not arrived
	broken  bool        // a getter was stopped in the middle
	workers *sync.WaitGroup
}

// maxWaiting bounds the calls of Async that are under way at once, in one call.
const maxWaiting = 64

var (
	//go:embed notext.js
	noTextSource string
	//go:embed freeze.js
	freezeSource string

	noText = goja.MustCompile("notext.js", noTextSource, true)
	freeze = goja.MustCompile("freeze.js", freezeSource, true)
)

// newRuntime returns a runtime in which nothing has run. One that is kept has what the language comes with frozen,
// which takes a few milliseconds.
func newRuntime(c Config, kept bool) (*Runtime, error) {
	r := &Runtime{vm: goja.New(), config: c, program: c.Program, modules: map[string]*goja.Object{}}
	r.vm.SetMaxCallStackSize(c.MaxDepth)
	r.vm.SetParserOptions(parser.WithDisableSourceMaps)
	r.console()
	env := r.vm.NewObject()
	for k, v := range c.Env {
		define(env, k, r.vm.ToValue(v))
	}
	process := r.vm.NewObject()
	define(process, "env", r.environment(env))
	r.vm.Set("process", process)
	r.bound()
	if c.Setup != nil {
		if err := c.Setup(r); err != nil {
			return nil, err
		}
	}
	if _, err := r.vm.RunProgram(noText); err != nil {
		return nil, fmt.Errorf("prepare the runtime: %w", err)
	}
	if kept {
		if _, err := r.vm.RunProgram(freeze); err != nil {
			return nil, fmt.Errorf("freeze the runtime: %w", err)
		}
	}
	r.globals, r.symbols = r.vm.GlobalObject().GetOwnPropertyNames(), len(r.vm.GlobalObject().Symbols())
	return r, nil
}

// environment returns process.env over the variables that are there: it tells Config.Missing of all others.
func (r *Runtime) environment(env *goja.Object) goja.Value {
	if r.config.Missing == nil {
		return env
	}
	ask := func(name string) {
		if env.Get(name) != nil || name == "toJSON" { // of which the language asks every object
			return
		}
		if err := r.config.Missing(r, name); err != nil {
			panic(r.vm.NewTypeError("%s", err.Error()))
		}
	}
	object := r.vm.Get("Object").ToObject(r.vm)
	descriptor, _ := goja.AssertFunction(object.Get("getOwnPropertyDescriptor"))
	// describe returns what env, which may be frozen by now, says of a variable that it has.
	describe := func(env *goja.Object, name string) *goja.Object {
		d, err := descriptor(object, env, r.vm.ToValue(name))
		if err != nil {
			panic(err)
		}
		return d.ToObject(r.vm)
	}
	return r.vm.ToValue(r.vm.NewProxy(env, &goja.ProxyTrapConfig{
		Get: func(env *goja.Object, name string, _ goja.Value) goja.Value {
			ask(name)
			return env.Get(name)
		},
		Has: func(env *goja.Object, name string) bool {
			ask(name)
			return env.Get(name) != nil
		},
		GetOwnPropertyDescriptor: func(env *goja.Object, name string) (own goja.PropertyDescriptor) {
			ask(name)
			if v := env.Get(name); v != nil {
				d := describe(env, name)
				flag := func(name string) goja.Flag { return goja.ToFlag(d.Get(name).ToBoolean()) }
				own = goja.PropertyDescriptor{Value: v, Writable: flag("writable"), Enumerable: flag("enumerable"), Configurable: flag("configurable")}
			}
			return own
		},
	}))
}

// Provide has require and import find v under a name that is no path, such as that of a package. Config.Setup calls it.
func (r *Runtime) Provide(name string, v goja.Value) {
	if r.packages == nil {
		r.packages = map[string]goja.Value{}
	}
	r.packages[name] = v
}

// VM returns the engine, to make values and host functions with. It stays with r.
func (r *Runtime) VM() *goja.Runtime { return r.vm }

// Context returns the context of the call that runs. Host functions use it.
func (r *Runtime) Context() context.Context { return r.ctx }

// Run makes a Runtime, calls f with it, and forgets it. f and everything that it runs has the time of limit, and less
// when ctx ends. What a script throws is an *Error.
func (p *Program) Run(ctx context.Context, limit time.Duration, c Config, f func(*Runtime) error) error {
	c.Program = p
	r, err := newRuntime(c.defaults(), false)
	if err != nil {
		return err
	}
	_, err = r.do(ctx, limit, f)
	return err
}

// do runs f. It reports whether r may be used again.
func (r *Runtime) do(ctx context.Context, limit time.Duration, f func(*Runtime) error) (clean bool, err error) {
	if err := ctx.Err(); err != nil {
		return true, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errTooLong)
	r.ctx, r.limit, r.arrived, r.workers = ctx, limit, make(chan func(), maxWaiting), &sync.WaitGroup{}
	stop := context.AfterFunc(ctx, func() { r.vm.Interrupt(ctx.Err()) })
	defer func() {
		// A timer that has begun to interrupt may do so in a later call: such a runtime is not used again.
		clean = stop() && clean && r.waiting == 0
		cancel()
		r.workers.Wait()
		r.ctx, r.waiting = nil, 0
	}()
	// What a getter of the author throws while f reads a value comes as a panic.
	var inner error
	if err := r.try(func() { inner = f(r) }); err != nil {
		return false, r.failure(err)
	}
	var interrupted *goja.InterruptedError
	return !r.broken && !errors.As(inner, &interrupted), inner
}

// try runs f and returns what the author's code in it throws: an exception, or the end of its time or depth, which the
// engine's Try lets through as a panic. After the latter r is not used again.
func (r *Runtime) try(f func()) (err error) {
	defer func() {
		switch e := recover().(type) {
		case nil:
		case *goja.InterruptedError:
			r.broken, err = true, e
		case *goja.StackOverflowError:
			r.broken, err = true, e
		default:
			panic(e)
		}
	}()
	if ex := r.vm.Try(f); ex != nil {
		return ex
	}
	return nil
}

// Require runs a file, the first time, and returns what it exports. name is a path of the Program.
func (r *Runtime) Require(name string) (*goja.Object, error) {
	f := r.program.resolve(path.Clean(name))
	if f == nil {
		return nil, &Error{File: name, Message: "there is no such file"}
	}
	v, err := r.load(f)
	if err != nil {
		return nil, r.failure(err)
	}
	if _, err = r.Await(r.vm.ToValue(0)); err != nil { // jobs of the file
		return nil, err
	}
	o, ok := v.(*goja.Object)
	if !ok {
		return nil, &Error{File: f.name, Message: "the file exports no object"}
	}
	return o, nil
}

// Loading returns the file that is being run by require, or "": the innermost one.
func (r *Runtime) Loading() string {
	if len(r.loading) == 0 {
		return ""
	}
	return r.loading[len(r.loading)-1]
}

// Module returns the module object of the file that is being run by require, with its exports; outside of one, an
// object that nobody reads.
func (r *Runtime) Module() *goja.Object {
	if m := r.modules[r.Loading()]; m != nil {
		return m
	}
	m := r.vm.NewObject()
	define(m, "exports", r.vm.NewObject())
	return m
}

func (r *Runtime) load(f *file) (goja.Value, error) {
	if m := r.modules[f.name]; m != nil {
		return m.Get("exports"), nil
	}
	if len(f.errs) > 0 {
		return nil, f.errs[0]
	}
	module := r.vm.NewObject()
	exports := r.vm.NewObject()
	define(module, "exports", exports)
	r.modules[f.name] = module
	r.loading = append(r.loading, f.name)
	defer func() { r.loading = r.loading[:len(r.loading)-1] }()
	err := r.run(f, module, exports)
	if err != nil {
		delete(r.modules, f.name)
		return nil, err
	}
	return module.Get("exports"), nil
}

func (r *Runtime) run(f *file, module, exports *goja.Object) error {
	if f.code == nil { // JSON
		parse, _ := goja.AssertFunction(r.vm.Get("JSON").ToObject(r.vm).Get("parse"))
		v, err := parse(goja.Undefined(), r.vm.ToValue(f.text))
		if err == nil {
			err = module.Set("exports", v)
		}
		return err
	}
	wrapper, err := r.vm.RunProgram(f.code)
	if err != nil {
		return err
	}
	require := func(call goja.FunctionCall) goja.Value { return onlyDefault(r.require(f, call.Argument(0).String())) }
	call, _ := goja.AssertFunction(wrapper)
	_, err = call(exports, exports, r.vm.ToValue(require), module, r.statements(f, exports))
	return err
}

// onlyDefault returns what a module exports as its default when it exports nothing else, as Cube's require does.
func onlyDefault(v goja.Value) goja.Value {
	if o, ok := v.(*goja.Object); ok && esModule(o) && slices.Equal(o.Keys(), []string{"default"}) {
		return o.Get("default")
	}
	return v
}

// esModule reports whether o are the exports of a file with import or export statements.
func esModule(o *goja.Object) bool {
	es := o.Get("__esModule")
	return es != nil && es.ToBoolean()
}

// require is the function of that name in f, but for onlyDefault.
func (r *Runtime) require(f *file, name string) goja.Value {
	if v := r.packages[name]; v != nil {
		return v
	}
	target, err := r.find(f, name)
	if err == nil {
		var v goja.Value
		if v, err = r.load(target); err == nil {
			return v
		}
	}
	if ex := (*goja.Exception)(nil); errors.As(err, &ex) {
		panic(ex.Value())
	}
	var interrupted *goja.InterruptedError
	if errors.As(err, &interrupted) {
		panic(interrupted)
	}
	panic(r.vm.NewGoError(err))
}

// nodeModules are those of Node that hooks and models are known to ask for; the others are packages to us.
var nodeModules = strings.Fields(`assert async_hooks buffer child_process cluster console crypto dgram dns events fs fs/promises http
	http2 https module net os path perf_hooks process querystring readline stream string_decoder timers timers/promises tls tty url
	util v8 vm worker_threads zlib`)

// find returns the file that require(name) in f means.
func (r *Runtime) find(f *file, name string) (*file, error) {
	if plain := strings.TrimPrefix(name, "node:"); slices.Contains(nodeModules, plain) {
		return nil, fmt.Errorf("%s is a part of Node and is not available: scripts have no files, network or processes", plain)
	}
	if !strings.HasPrefix(name, "./") && !strings.HasPrefix(name, "../") && name != "." && name != ".." {
		if target := r.program.resolve(path.Clean(strings.TrimPrefix(name, "/"))); target != nil {
			return nil, fmt.Errorf("%q is the name of a package; a file beside this one is %q", name, "./"+strings.TrimPrefix(name, "/"))
		}
		return nil, fmt.Errorf("the package %q cannot be required: only files of the folder can, such as ./helpers", name)
	}
	if r.program.fromFolder && strings.HasPrefix(name, "./") {
		if target := r.program.resolve(path.Clean(name)); target != nil {
			return target, nil
		}
	}
	full := path.Join(path.Dir(f.name), name)
	if full == ".." || strings.HasPrefix(full, "../") {
		return nil, fmt.Errorf("%q is outside of the folder", name)
	}
	target := r.program.resolve(full)
	if target == nil {
		return nil, fmt.Errorf("there is no file %q", full)
	}
	return target, nil
}

// Call calls a function and, when it returns a promise, waits for that. this is undefined.
func (r *Runtime) Call(f goja.Value, args ...goja.Value) (goja.Value, error) {
	call, ok := goja.AssertFunction(f)
	if !ok {
		return nil, &Error{Message: "this is not a function"}
	}
	v, err := call(goja.Undefined(), args...)
	if err != nil {
		return nil, r.failure(err)
	}
	return r.Await(v)
}

// Await returns v, or what it comes to when it is a promise. Meanwhile it settles the promises of Async.
func (r *Runtime) Await(v goja.Value) (goja.Value, error) {
	promise, ok := v.Export().(*goja.Promise)
	if !ok {
		return v, nil
	}
	for promise.State() == goja.PromiseStatePending {
		if r.waiting == 0 {
			return nil, &Error{Message: "the promise never ends: nothing is under way that could settle it"}
		}
		select {
		case settle := <-r.arrived:
			r.waiting--
			settle()
		case <-r.ctx.Done():
			return nil, r.stopped()
		}
	}
	if promise.State() == goja.PromiseStateRejected {
		e := &Error{}
		r.thrown(e, promise.Result())
		return nil, e
	}
	return promise.Result(), nil
}

// Async returns a promise of what work returns. work runs on a goroutine of its own, which must end when its context
// does: the call waits for it. It must not touch r or its values; its result comes into the script as Value copies it.
func (r *Runtime) Async(work func(context.Context) (any, error)) goja.Value {
	promise, resolve, reject := r.vm.NewPromise()
	if r.waiting >= maxWaiting {
		reject(r.vm.NewGoError(fmt.Errorf("more than %d calls are under way at once", maxWaiting)))
		return r.vm.ToValue(promise)
	}
	r.waiting++
	ctx, arrived := r.ctx, r.arrived
	r.workers.Go(func() {
		v, err := work(ctx)
		arrived <- func() { // there is room: maxWaiting
			if err != nil {
				reject(r.vm.NewGoError(err))
				return
			}
			resolve(r.Value(v))
		}
	})
	return r.vm.ToValue(promise)
}

// reset takes away what the last call left in global names, and reports whether it could: a name that cannot be deleted
// would stay for the next one.
func (r *Runtime) reset() bool {
	global := r.vm.GlobalObject()
	for _, name := range global.GetOwnPropertyNames() {
		if !slices.Contains(r.globals, name) && global.Delete(name) != nil {
			return false
		}
	}
	return len(global.Symbols()) == r.symbols
}

// console gives scripts a console that writes to the log.
func (r *Runtime) console() {
	o := r.vm.NewObject()
	for name, write := range map[string]func(string, ...zap.Field){
		"log": r.config.Log.Info, "info": r.config.Log.Info, "warn": r.config.Log.Warn, "error": r.config.Log.Error,
		"debug": r.config.Log.Debug, "trace": r.config.Log.Debug,
	} {
		define(o, name, r.vm.ToValue(func(call goja.FunctionCall) goja.Value {
			words := make([]string, len(call.Arguments))
			for i, a := range call.Arguments {
				words[i] = r.shown(a)
			}
			write("script: "+truncate(strings.Join(words, " ")), zap.String("file", r.Loading()))
			return goja.Undefined()
		}))
	}
	r.vm.Set("console", o)
}

// shown returns a value as the console shows it.
func (r *Runtime) shown(v goja.Value) string {
	if o, ok := v.(*goja.Object); ok && o.ClassName() != "Error" {
		if plain, err := r.Plain(v); err == nil {
			return jsonText(plain)
		}
	}
	return v.String()
}

// statements returns what the rewritten import and export statements of f call.
func (r *Runtime) statements(f *file, exports *goja.Object) *goja.Object {
	o := r.vm.NewObject()
	getter := func(get goja.Value, name string) {
		if err := exports.DefineAccessorProperty(name, get, nil, goja.FLAG_FALSE, goja.FLAG_TRUE); err != nil {
			panic(r.vm.NewGoError(err))
		}
	}
	define(o, "default", goja.Undefined())
	define(o, "export", r.vm.ToValue(func(getters *goja.Object) {
		exports.DefineDataProperty("__esModule", r.vm.ToValue(true), goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_FALSE)
		for _, name := range getters.Keys() {
			getter(getters.Get(name), name)
		}
	}))
	define(o, "all", r.vm.ToValue(func(name string) {
		from := r.require(f, name).ToObject(r.vm)
		for _, key := range from.Keys() {
			if key != "default" && exports.Get(key) == nil {
				getter(r.vm.ToValue(func() goja.Value { return from.Get(key) }), key)
			}
		}
	}))
	define(o, "import", r.vm.ToValue(func(name string, wanted []string) goja.Value {
		return r.imported(r.require(f, name), name, wanted)
	}))
	return o
}

// imported returns the names of a module for an import statement. What has no default is its own, and what is the
// property of a default can be imported by its name, as in Cube.
func (r *Runtime) imported(v goja.Value, name string, wanted []string) goja.Value {
	o, isObject := v.(*goja.Object)
	namespace := r.vm.NewObject()
	if isObject && esModule(o) {
		exported := o.Keys()
		if !slices.ContainsFunc(wanted, func(want string) bool { return !slices.Contains(exported, want) }) {
			return o
		}
		if inner, ok := o.Get("default").(*goja.Object); ok {
			copyKeys(namespace, inner)
		}
	}
	if isObject {
		copyKeys(namespace, o)
	}
	if !slices.Contains(namespace.Keys(), "default") {
		define(namespace, "default", v)
	}
	if isObject && esModule(o) {
		for _, want := range wanted {
			if !slices.Contains(namespace.Keys(), want) {
				panic(r.vm.NewGoError(fmt.Errorf("%s does not export %q%s", name, want, spelling.DidYouMean(want, o.Keys()))))
			}
		}
	}
	return namespace
}

func copyKeys(to, from *goja.Object) {
	for _, key := range from.Keys() {
		define(to, key, from.Get(key))
	}
}

// Here returns the place of the author's code that runs, or nothing when none does.
func (r *Runtime) Here() (file string, line, column int) {
	e := &Error{}
	r.place(e, r.vm.CaptureCallStack(0, nil))
	return e.File, e.Line, e.Column
}

// Failure returns err, which a function of the engine returned, as an *Error with a place.
func (r *Runtime) Failure(err error) error { return r.failure(err) }
