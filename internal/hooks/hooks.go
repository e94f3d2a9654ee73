package hooks

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/script"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/dop251/goja"
	"go.uber.org/zap"
)

// File is the name of the file that exports the hooks.
const File = "cube.js"

// Config is what Load needs. Files is required, and Context where cube.js has checkAuth or extendContext.
type Config struct {
	// Files are the texts of cube.js and of what it may require, by their paths.
	Files map[string]string

	// Context makes a security context of claims, without a principal; see jwtauth.Verifier. It takes access tokens
	// out of them.
	Context func(claims map[string]any) securitycontext.Context

	Timeout time.Duration     // of each call of a hook; default 5 s
	Hosts   []string          // that fetch may call: "host", at the port of its scheme, or "host:port"
	Env     map[string]string // what process.env has

	// Withheld are variables that are set and that process.env does not have. Reading one is an error, as undefined
	// could mean the absence of a rule.
	Withheld []string

	Client func(loopback bool) *http.Client // of fetch; default: those of package outbound
	Log    *zap.Logger                      // default: no logging
	Now    func() time.Time                 // default: time.Now
}

// Hooks are those of one cube.js. They are safe for concurrent use.
type Hooks struct {
	cfg     Config
	pool    *script.Pool
	defined map[string]string // the hooks that are there, and their names in the file
	Notices []string          // settings of the file that mean nothing here
}

// Bounds of what hooks do and give.
const (
	maxDepth   = 200       // calls in calls
	atOnce     = 16        // calls of hooks
	maxContext = 256 << 10 // bytes of a context as JSON
	maxID      = 256       // bytes of an id
	maxGroups  = 1000

	loading = 15 * time.Second // of cube.js
	waiting = 10 * time.Second // for others' hooks to end
)

// Load compiles cube.js, runs it once, and says everything that is wrong with what it exports, with fault.Invalid.
func Load(ctx context.Context, cfg Config) (*Hooks, error) {
	if cfg.Timeout == 0 {
		cfg.Timeout = 5 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	// A mistake in a file that nothing requires is no mistake; in one that is, it is the error of requiring it.
	program, _ := script.Compile(script.Source{Files: cfg.Files})
	h := &Hooks{cfg: cfg, defined: map[string]string{}}
	h.pool = script.NewPool(script.Config{
		Program: program, Setup: h.setup, Env: cfg.Env, Missing: h.missing, MaxDepth: maxDepth, Log: cfg.Log, Size: atOnce,
	})
	var problems []string
	err := h.do(ctx, loading, func(r *script.Runtime) error {
		settings, err := settings(r)
		if err != nil {
			return err
		}
		problems = h.read(settings)
		return nil
	})
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "%v", err)
	}
	if len(problems) > 0 {
		return nil, fault.New(fault.Invalid, "%s", strings.Join(problems, "\n"))
	}
	return h, nil
}

// read looks at what the file exports, and returns what is wrong.
func (h *Hooks) read(settings *goja.Object) (problems []string) {
	for _, key := range settings.Keys() {
		fail := func(format string, args ...any) {
			problems = append(problems, File+": "+key+": "+fmt.Sprintf(format, args...))
		}
		v := settings.Get(key)
		hook := run[key]
		switch {
		case goja.IsUndefined(v) || goja.IsNull(v):
		case hook != "":
			if _, ok := goja.AssertFunction(v); !ok {
				fail("it must be a function")
			} else if other := h.defined[hook]; other != "" {
				fail("it is another name of %s; leave one of them out", other)
			} else {
				h.defined[hook] = key
			}
		case idle[key] != "":
			h.Notices = append(h.Notices, fmt.Sprintf("%s: %s has no effect: %s", File, key, idle[key]))
		case refused[key] != "":
			fail("it is not available: %s", refused[key])
		default:
			fail("%s", unknown(key))
		}
	}
	return problems
}

// settings returns what cube.js exports: module.exports, or its default.
func settings(r *script.Runtime) (*goja.Object, error) {
	exports, err := r.Require(File)
	if err != nil {
		return nil, err
	}
	if es := exports.Get("__esModule"); es != nil && es.ToBoolean() {
		inner, ok := exports.Get("default").(*goja.Object)
		if !ok {
			return nil, &script.Error{File: File, Message: "there is no default export; write module.exports = {…} or export default {…}"}
		}
		return inner, nil
	}
	return exports, nil
}

// Defined returns the names of the hooks that run, sorted.
func (h *Hooks) Defined() []string { return slices.Sorted(maps.Values(h.defined)) }

// has reports whether a hook is defined.
func (h *Hooks) has(hook string) bool { return h.defined[hook] != "" }

// do runs f with a runtime, for as long as limit. Waiting for one has an end too, as hooks that hang may hold them all.
func (h *Hooks) do(ctx context.Context, limit time.Duration, f func(*script.Runtime) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit+waiting)
	defer cancel()
	return h.pool.Do(ctx, limit, f)
}

// call calls a hook with arguments and reads what it returns, when that is settled. What goes wrong is the request's
// end: an error that the front doors answer as Cube does, or the error of read.
func (h *Hooks) call(ctx context.Context, hook string, arguments func(*script.Runtime) []goja.Value, read func(*script.Runtime, goja.Value) error) error {
	err := h.do(ctx, h.cfg.Timeout, func(r *script.Runtime) error {
		settings, err := settings(r)
		if err != nil {
			return err
		}
		v, err := r.Call(settings.Get(h.defined[hook]), arguments(r)...)
		if err != nil {
			return err
		}
		return read(r, v)
	})
	if err == nil {
		return nil
	}
	h.cfg.Log.Warn("a hook refused or failed", zap.String("hook", h.defined[hook]), audit.Request(ctx), zap.Error(err))
	return h.failed(hook, err)
}

// CodeFailed is the code of a hook's failure, which Cube answers with 500 and "Error: " before the text.
const CodeFailed = "hook_failed"

// failed turns what went wrong in a hook into an answer: its own words where the author threw them, and the place for
// the log alone.
func (h *Hooks) failed(hook string, err error) error {
	var e *script.Error
	if !errors.As(err, &e) {
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			return fault.Wrap(fault.Unavailable, err, "%s could not run in time.", h.defined[hook])
		}
		return &fault.Error{Kind: fault.Unavailable, Code: CodeFailed, Owner: fault.Admin, Err: err, Detail: "Error: " + h.defined[hook] + ": " + err.Error()}
	}
	message := strings.TrimPrefix(e.Message, e.Name+": ")
	switch e.Name {
	case "UserError":
		return fault.Wrap(fault.Invalid, err, "%s", message)
	case "", "GoError":
		message = "Error: " + h.defined[hook] + ": " + message
	default:
		message = e.Name + ": " + message
	}
	return &fault.Error{Kind: fault.Unavailable, Code: CodeFailed, Owner: fault.Admin, Err: err, Detail: message}
}

// wrong is what a hook returned that it should not.
func wrong(format string, args ...any) error { return fmt.Errorf(format, args...) }

// object copies a value out of r that must be an object, and bounds it.
func object(r *script.Runtime, v goja.Value) (map[string]any, error) {
	plain, err := r.Plain(v)
	if err != nil {
		return nil, err
	}
	m, ok := plain.(map[string]any)
	if !ok {
		return nil, wrong("it returned %s, and not an object", kind(plain))
	}
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	if len(text) > maxContext {
		return nil, wrong("it returned more than %d KiB", maxContext>>10)
	}
	return m, nil
}

// texts copies a list of texts out of r.
func texts(r *script.Runtime, v goja.Value) ([]string, error) {
	plain, err := r.Plain(v)
	if err != nil {
		return nil, err
	}
	list, ok := plain.([]any)
	if !ok {
		return nil, wrong("it returned %s, and not a list of texts", kind(plain))
	}
	if len(list) > maxGroups {
		return nil, wrong("it returned more than %d texts", maxGroups)
	}
	out := make([]string, len(list))
	for i, item := range list {
		if out[i], ok = item.(string); !ok {
			return nil, wrong("it returned a list with %s in it", kind(item))
		}
	}
	return out, nil
}

// name copies an id out of r.
func name(r *script.Runtime, v goja.Value) (string, error) {
	plain, err := r.Plain(v)
	if err != nil {
		return "", err
	}
	s, ok := plain.(string)
	if !ok || s == "" || len(s) > maxID {
		return "", wrong("it returned %s, and not a text of 1 to %d bytes", kind(plain), maxID)
	}
	return s, nil
}

// kind says what a value is, for errors.
func kind(v any) string {
	switch v := v.(type) {
	case nil:
		return "nothing"
	case string:
		if v == "" {
			return "an empty text"
		}
		return "a text"
	case bool:
		return "a boolean"
	case []any:
		return "a list"
	case map[string]any:
		return "an object"
	}
	return "a number"
}
