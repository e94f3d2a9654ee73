package script_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dop251/goja"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/behalf-project/behalf/internal/script"
)

// limit is more than any script here needs.
const limit = time.Minute

// pool returns a pool of one runtime over files, given as name, text, name, text.
func pool(t testing.TB, c script.Config, files ...string) *script.Pool {
	t.Helper()
	all := map[string]string{}
	for i := 0; i < len(files); i += 2 {
		all[files[i]] = files[i+1]
	}
	program, errs := script.Compile(script.Source{Files: all})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	c.Program = program
	if c.Size == 0 {
		c.Size = 1
	}
	return script.NewPool(c)
}

// call returns what the exported function f of main.js returns, as plain data.
func call(t testing.TB, p *script.Pool, f string, args ...any) (any, error) {
	t.Helper()
	var out any
	err := p.Do(t.Context(), limit, func(r *script.Runtime) error {
		exports, err := r.Require("main.js")
		if err != nil {
			return err
		}
		var values []goja.Value
		for _, a := range args {
			values = append(values, r.Value(a))
		}
		v, err := r.Call(exports.Get(f), values...)
		if err != nil {
			return err
		}
		out, err = r.Plain(v)
		return err
	})
	return out, err
}

func TestModules(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files []string
		want  string
	}{
		{"CommonJS", []string{"main.js", "const {a} = require('./lib/a'); exports.f = () => a + require('./lib/d.json').d",
			"lib/a.js", "module.exports = { a: require('../b').b }", "b.js", "exports.b = 'b'", "lib/d.json", `{"d": "d"}`}, "bd"},
		{"import and export", []string{"main.js", `import def, { a, b as c } from './lib.js';
import * as all from "./lib";
import
  x,
  * as y
from './lib'
import './lib';
export const f = () => [def(), a, c, all.a, x(), y.b, d].join();
export let { d = 'd' } = {};
`, "lib.js", "export default function hello() { return 'hello' }\nexport const a = 'a', b = 'b';"}, "hello,a,b,a,hello,b,d"},
		{"export lists, stars and classes", []string{"main.js", "export * from './lib'; export { x as y } from './lib'; export * as ns from './lib'\n" +
			"export function f() { return [require('./main').x, module.exports.y, exports.ns.x, new (require('./lib').C)().v].join() }",
			"lib.js", "const x = 'x'; class C { v = 'v' }\nexport { x, C };"}, "x,x,x,v"},
		{"a default of an expression", []string{"main.js", "import d from './lib'\nimport {default as e} from './lib'\nexport async function f() { return d.a + e.a }",
			"lib.js", "export default { a: 'a' }\n"}, "aa"},
		{"a module in CommonJS is its own default", []string{"main.js", "import d, {a} from './lib'\nexport const f = () => d.a + a",
			"lib.js", "module.exports = { a: 'a' }"}, "aa"},
		{"a module without a default is its own", []string{"main.js", "import lib from './lib'\nexport const f = () => lib.a", "lib.js", "export const a = 'a'"}, "a"},
		{"names of a default", []string{"main.js", "import {a} from './lib'\nimport d from './lib'\nexport const f = () => a + d.a + require('./lib').a", "lib.js", "export default { a: 'a' }"}, "aaa"},
		{"exports of variables are live", []string{"main.js", "import * as lib from './lib'\nexport const f = () => { lib.count(); lib.count(); return String(lib.n) }",
			"lib.js", "export let n = 0\nexport const count = () => { n++ }"}, "2"},
		{"words that look like statements", []string{"main.js", "exports.f = () => { const o = { import: 1, export: 2 }; return `import ${o.import} from ${ /}`/.test('}`') }` + o.export } // import x from 'y'\n" +
			"/* export default 1\n*/"}, "import 1 from true2"},
		{"modules that require each other", []string{"main.js", "exports.early = 1; const b = require('./b'); exports.f = () => b.g()",
			"b.js", "const main = require('./main'); exports.g = () => 'early ' + main.early"}, "early 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := call(t, pool(t, script.Config{}, tt.files...), "f")
			if err != nil || got != tt.want {
				t.Errorf("f() = %v, %v, want %q", got, err, tt.want)
			}
		})
	}
}

// Each of these fails, and the error says where, in the author's own file.
func TestErrorsHaveThePlaceInTheAuthorsFile(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"a mistake in the syntax", "import x from './lib'; const a = ;\n", "main.js:1:34: Unexpected token ;: import x from './lib'; const a = ;"},
		{"after an import of several lines", "import {\n a\n} from './lib'; export const b = 1; nope();\n", "main.js:3:41: ReferenceError: nope is not defined: } from './lib'; export const b = 1; nope();"},
		{"characters beyond ASCII", "const s = 'ä€𝄞'; nope()", "main.js:1:22: ReferenceError: nope is not defined: const s = 'ä€𝄞'; nope()"},
		{"thrown by the author", "export const f = () => {\n  throw new Error('no tenant') }", "main.js:2:9: no tenant: throw new Error('no tenant') }"},
		{"thrown in an async function", "exports.f = async () => {\n  await null;\n  null.x }", "main.js:3:8: TypeError: Cannot read property 'x' of undefined: null.x }"},
		{"something that is not an error", "exports.f = () => { throw 'words' }", "main.js:1:21: thrown: words: exports.f = () => { throw 'words' }"},
		{"a module of Node", "const fs = require('fs')", "main.js:1:19: fs is a part of Node and is not available: scripts have no files, network or processes: const fs = require('fs')"},
		{"a module of Node by its scheme", "import os from 'node:os'", "main.js:1:1: os is a part of Node and is not available: scripts have no files, network or processes: import os from 'node:os'"},
		{"a package", "require('lodash')", `main.js:1:8: the package "lodash" cannot be required: only files of the folder can, such as ./helpers: require('lodash')`},
		{"a file by the name of a package", "require('lib')", `main.js:1:8: "lib" is the name of a package; a file beside this one is "./lib": require('lib')`},
		{"a file outside", "require('../x')", `main.js:1:8: "../x" is outside of the folder: require('../x')`},
		{"a file that is not there", "require('./x')", `main.js:1:8: there is no file "x": require('./x')`},
		{"a name that is not exported", "import {bb} from './lib'", `main.js:1:1: ./lib does not export "bb": import {bb} from './lib'`},
		{"a mistake in another file", "require('./broken')", "broken.js:1:4: Unexpected end of input: 1 +"},
		{"dynamic import", "exports.f = () => import('./lib')", "main.js:1:19: import() is not available; write an import statement at the top of the file: exports.f = () => import('./lib')"},
		{"types", "import type { A } from './lib'", "main.js:1:8: types are TypeScript; write plain JavaScript: import type { A } from './lib'"},
		{"a timer", "exports.f = () => setTimeout(() => 1, 10)", "main.js:1:29: ReferenceError: setTimeout is not defined; scripts have no timers: exports.f = () => setTimeout(() => 1, 10)"},
		{"a promise that nothing settles", "exports.f = () => new Promise(() => {})", "the promise never ends: nothing is under way that could settle it"},
		{"code from text", "exports.f = () => eval('1')", "main.js:1:23: TypeError: eval is not available: scripts cannot make code from text: exports.f = () => eval('1')"},
		{"functions from text", "exports.f = () => new Function('return 1')", "main.js:1:19: TypeError: Function is not available: scripts cannot make code from text: exports.f = () => new Function('return 1')"},
		{"functions from text, by a way around", "exports.f = async () => (async () => 1).constructor('return 1')", "main.js:1:52: TypeError: Function is not available: scripts cannot make code from text: exports.f = async () => (async () => 1).constructor('return 1')"},
		{"generators from text", "exports.f = () => Object.getPrototypeOf(function* () {}).constructor('1')", "main.js:1:69: TypeError: Function is not available: scripts cannot make code from text: exports.f = () => Object.getPrototypeOf(function* () {}).constructor('1')"},
		{"endless recursion", "const g = () => g() + 1\nexports.f = g", "main.js:1:18: the script calls itself more than 400 deep: const g = () => g() + 1"},
		{"endless recursion through builtins", "const g = () => [1].map(g)\nexports.f = g", "main.js:1:24: the script calls itself more than 400 deep: const g = () => [1].map(g)"},
		{"a string that is too long", "exports.f = () => 'x'.repeat(2 ** 30)", "main.js:1:29: the string would have more than 16777216 characters: exports.f = () => 'x'.repeat(2 ** 30)"},
		{"brackets that are nested too deeply", strings.Repeat("[", 300), "main.js:1:251: brackets are nested more than 250 deep: " + strings.Repeat("[", 300)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			program, errs := script.Compile(script.Source{Files: map[string]string{"main.js": tt.text, "lib.js": "export const a = 1", "broken.js": "1 +"}})
			got := ""
			for _, e := range errs {
				if e.File == "main.js" {
					got = e.Error()
				}
			}
			if got == "" {
				if _, err := call(t, script.NewPool(script.Config{Program: program}), "f"); err != nil {
					got = err.Error()
				}
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestAnEndlessLoopIsStopped(t *testing.T) {
	p := pool(t, script.Config{}, "main.js", "exports.f = () => { for (;;) {} }\nexports.g = async () => { await null; for (;;) {} }\nexports.h = () => 1")
	for _, f := range []string{"f", "g"} {
		err := p.Do(t.Context(), 20*time.Millisecond, func(r *script.Runtime) error {
			exports, err := r.Require("main.js")
			if err != nil {
				return err
			}
			_, err = r.Call(exports.Get(f))
			return err
		})
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "the script ran longer than 20ms") || !strings.HasPrefix(err.Error(), "main.js:") {
			t.Errorf("%s: %v, want to be stopped, with a place", f, err)
		}
	}
	if got, err := call(t, p, "h"); got != int64(1) || err != nil {
		t.Errorf("the call after it = %v, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := p.Do(ctx, limit, func(r *script.Runtime) error { _, err := r.Require("main.js"); return err })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("with a caller that is gone: %v", err)
	}
}

func TestHostFunctionsAreAwaited(t *testing.T) {
	refused := errors.New("the host is not allowed")
	setup := func(r *script.Runtime) error {
		return r.VM().Set("fetch", func(url string) goja.Value {
			return r.Async(func(ctx context.Context) (any, error) {
				if url == "forbidden" {
					return nil, refused
				}
				if url == "slow" {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return map[string]any{"url": url, "__proto__": map[string]any{"admin": true}}, nil
			})
		})
	}
	p := pool(t, script.Config{Setup: setup}, "main.js", `
		exports.two = async () => (await Promise.all([fetch('a'), fetch('b')])).map((r) => r.url).join();
		exports.own = async () => { const r = await fetch('a'); return [r.admin === undefined, Object.keys(r).join()]; };
		exports.caught = async () => { try { await fetch('forbidden') } catch (e) { return e.message } };
		exports.failing = async () => { await fetch('forbidden') };
		exports.left = async () => { fetch('slow'); return 'not waited for' };
		exports.raced = () => Promise.race([fetch('slow'), fetch('a')]).then((r) => r.url);`)
	for f, want := range map[string]any{"two": "a,b", "caught": "the host is not allowed", "left": "not waited for", "raced": "a"} {
		if got, err := call(t, p, f); got != want || err != nil {
			t.Errorf("%s = %v, %v, want %v", f, got, err, want)
		}
	}
	if got, err := call(t, p, "own"); err != nil || got.([]any)[0] != true || got.([]any)[1] != "__proto__,url" {
		t.Errorf("own = %v, %v", got, err)
	}
	if _, err := call(t, p, "failing"); !errors.Is(err, refused) {
		t.Errorf("failing = %v, want the error of the host function", err)
	}
}

// What one call does, the next does not find: neither in builtin objects nor in global names.
func TestCallsDoNotSeeEachOther(t *testing.T) {
	for _, tt := range []struct{ name, first, second string }{
		{"a prototype polluted by a value", "const merge = (to, from) => { for (const k in from) { if (typeof from[k] === 'object') merge(to[k] ??= {}, from[k]); else to[k] = from[k] } }; merge({}, JSON.parse('{\"__proto__\": {\"admin\": true}}'))",
			"({}).admin === undefined"},
		{"a builtin method", "Array.prototype.map = () => 'evil'", "[1].map((x) => x)[0] === 1"},
		{"a builtin method by its property", "Object.defineProperty(String.prototype, 'trim', { value: () => 'evil' })", "' a '.trim() === 'a'"},
		{"an inherited method", "Object.prototype.toString = () => 'evil'", "String({}) === '[object Object]'"},
		{"a builtin object", "JSON.stringify = () => 'evil'", "JSON.stringify(1) === '1'"},
		{"a builtin name", "Array = 1", "Array.isArray([])"},
		{"a builtin name, deleted", "delete globalThis.Map", "new Map().size === 0"},
		{"a global name", "leak = 'secret'; globalThis.other = 'secret'", "typeof leak === 'undefined' && typeof other === 'undefined'"},
		{"a global name that cannot be deleted", "Object.defineProperty(globalThis, 'leak', { value: 'secret' })", "typeof leak === 'undefined'"},
		{"a global symbol", "globalThis[Symbol.for('leak')] = 'secret'", "globalThis[Symbol.for('leak')] === undefined"},
		{"an iterator", "Object.getPrototypeOf([][Symbol.iterator]()).next = () => ({ done: true })", "[...[1]].length === 1"},
		{"promises", "Promise.prototype.then = () => 'evil'", "typeof Promise.resolve().then(() => 1) === 'object'"},
		{"the environment", "process.env.TENANT = 'evil'", "process.env.TENANT === 'acme'"},
		{"the console", "console.log = () => { throw 1 }", "console.log('x') === undefined"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := pool(t, script.Config{Env: map[string]string{"TENANT": "acme"}}, "main.js",
				"exports.first = () => { try { "+tt.first+" } catch (e) {} }; exports.second = () => "+tt.second)
			if _, err := call(t, p, "first"); err != nil {
				t.Fatal(err)
			}
			if got, err := call(t, p, "second"); got != true || err != nil {
				t.Errorf("%s after %s: %v, %v", tt.second, tt.first, got, err)
			}
		})
	}
}

func TestObjectsMayHaveNamesOfBuiltins(t *testing.T) {
	p := pool(t, script.Config{}, "main.js", "exports.f = () => { const o = {}; o.toString = () => 'own'; o.constructor = 1; const e = new Error('x'); e.name = 'Own'; e.message = 'y'; class A { toString() { return 'A' } }; return `${o} ${o.constructor} ${e} ${new A()}` }")
	if got, err := call(t, p, "f"); got != "own 1 Own: y A" || err != nil {
		t.Errorf("f = %v, %v", got, err)
	}
}

func TestOnlyTheEnvironmentThatIsGiven(t *testing.T) {
	t.Setenv("BEHALF_SECRET", "s")
	p := pool(t, script.Config{Env: map[string]string{"A": "1"}}, "main.js", "exports.f = () => JSON.stringify(process)")
	if got, err := call(t, p, "f"); got != `{"env":{"A":"1"}}` || err != nil {
		t.Errorf("process = %v, %v", got, err)
	}
}

func TestConsoleWritesToTheLog(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	p := pool(t, script.Config{Log: zap.New(core)}, "main.js", "exports.f = () => console.warn('slow', { a: [1] }, new Error('x'), () => 1)")
	if _, err := call(t, p, "f"); err != nil {
		t.Fatal(err)
	}
	if got := logs.All()[0]; got.Level != zap.WarnLevel || got.Message != `script: slow {"a":[1]} Error: x () => 1` {
		t.Errorf("log = %s %q", got.Level, got.Message)
	}
}

func TestPlain(t *testing.T) {
	p := pool(t, script.Config{}, "main.js", `
		exports.data = () => ({ a: [1, 1.5, 'x', true, null], d: new Date(0), u: undefined, s: new String('s') });
		exports.cycle = () => { const o = {}; o.o = o; return o };
		exports.method = () => ({ a: { f: () => 1 } });
		exports.getter = () => ({ get a() { throw new Error('from a getter') } });
		exports.deep = () => { let o = {}; for (let i = 0; i < 1000; i++) o = { o }; return o };`)
	got, err := call(t, p, "data")
	if want := `{"a":[1,1.5,"x",true,null],"d":"1970-01-01T00:00:00.000Z","s":"s"}`; err != nil || jsonOf(t, got) != want {
		t.Errorf("data = %s, %v, want %s", jsonOf(t, got), err, want)
	}
	for f, want := range map[string]string{
		"cycle": "o: the object is in itself, or too deep", "method": "a.f: a function is not plain data", "getter": "from a getter",
		"deep": "the object is in itself, or too deep",
	} {
		if _, err := call(t, p, f); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s = %v, want %q", f, err, want)
		}
	}
}

// Calls at the same time have runtimes of their own, and no more run than the pool has.
func TestPoolIsShared(t *testing.T) {
	p := pool(t, script.Config{Size: 2}, "main.js", "let running = 0; exports.f = async (x) => { running++; if (running > 1) throw new Error('shared'); await null; running--; return x }")
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			if got, err := call(t, p, "f", i); got != int64(i) || err != nil {
				t.Errorf("f(%d) = %v, %v", i, got, err)
			}
		})
	}
	wg.Wait()
}

func BenchmarkNewRuntime(b *testing.B) {
	program, _ := script.Compile(script.Source{Files: map[string]string{"main.js": "exports.f = () => 1"}})
	for b.Loop() {
		if err := program.Run(b.Context(), limit, script.Config{}, func(r *script.Runtime) error {
			_, err := r.Require("main.js")
			return err
		}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCall(b *testing.B) {
	p := pool(b, script.Config{}, "main.js", "exports.f = async (c) => ({ ...c, tenant: c.tenant.toUpperCase() })")
	for b.Loop() {
		if _, err := call(b, p, "f", map[string]any{"tenant": "acme", "groups": []any{"a", "b"}}); err != nil {
			b.Fatal(err)
		}
	}
}

// A getter of the author may run when its value is read, with no call around it; its end is an error all the same.
func TestAGetterThatIsReadIsStoppedToo(t *testing.T) {
	p := pool(t, script.Config{}, "main.js", `
		exports.endless = () => ({get x() { for (;;) {} }});
		exports.deep = () => ({get x() { const f = () => f(); return f() }});
		exports.one = () => 1;`)
	for _, name := range []string{"endless", "deep"} {
		for how, read := range map[string]func(r *script.Runtime, v goja.Value) error{
			"Plain": func(r *script.Runtime, v goja.Value) error { _, err := r.Plain(v); return err },
			"Get":   func(r *script.Runtime, v goja.Value) error { v.ToObject(r.VM()).Get("x"); return nil },
		} {
			err := p.Do(t.Context(), 50*time.Millisecond, func(r *script.Runtime) error {
				exports, err := r.Require("main.js")
				if err != nil {
					return err
				}
				v, err := r.Call(exports.Get(name))
				if err != nil {
					return err
				}
				return read(r, v)
			})
			if e := (*script.Error)(nil); !errors.As(err, &e) {
				t.Errorf("%s, read by %s: %v", name, how, err)
			}
			if v, err := call(t, p, "one"); err != nil || v != int64(1) {
				t.Errorf("after it: %v, %v", v, err)
			}
		}
	}
}

func TestPackagesAreThoseThatAreProvided(t *testing.T) {
	p := pool(t, script.Config{Setup: func(r *script.Runtime) error {
		r.Provide("answer", r.Value(map[string]any{"n": 42}))
		return nil
	}}, "main.js", `import { n } from 'answer'; export const f = () => n + require('answer').n;`)
	if v, err := call(t, p, "f"); err != nil || v != int64(84) {
		t.Errorf("%v, %v", v, err)
	}
}
