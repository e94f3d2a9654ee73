// Package script runs JavaScript that comes with a deployment: data models, and the hooks of a cube.js file.
//
// Compile takes the files of one folder and returns a Program, which never changes and is shared. A Runtime is one
// instance of it: its globals, and its modules, each run when it is first required. A Pool keeps some of them for
// callers who come again and again:
//
//	files ──Compile──▶ Program ──NewPool──▶ Pool ──Do──▶ Runtime ──Require──▶ exports ──Call──▶ a value, awaited
//
//	pool := script.NewPool(script.Config{Program: program, Setup: hosts, MaxDepth: 200, Size: 8})
//	err := pool.Do(ctx, 2*time.Second, func(r *script.Runtime) error {
//		exports, err := r.Require("cube.js")
//		…
//		v, err := r.Call(exports.Get("checkAuth"), r.Value(request), r.Value(token))
//		…
//		plain, err := r.Plain(v) // out of here only as plain Go data
//	})
//
// A Runtime and every goja.Value of it belong to the function that Do runs, on its goroutine, and to nobody after it:
// values go in by Value, which copies, and come out by Plain, which copies. In a Pool, what a script leaves in global
// names is taken away before the next caller comes, and builtin objects are frozen. What it keeps in variables of its
// modules stays for the next caller in the same Runtime, as in Node; a caller for whom that is too much takes a new
// Runtime each time (Program.Run), which costs some 0.2 ms and the run of the modules it requires.
//
// Scripts are ECMAScript as goja runs it (async functions and promises included), in CommonJS modules or with import
// and export between the files of their folder. They have no file, no network, no process, no timer, and no way to
// make code from text. Beside the language they have require of relative paths, console, process.env of the names
// that are given to them, and what Config.Setup adds, such as a fetch made with Runtime.Async. What needs Node is
// refused by name.
//
// Whoever writes scripts is trusted not to exhaust memory, nor to match texts of others with a regular expression that
// backtracks without end: time and depth are bounded, memory is not, as the engine cannot; and interrupts come between
// instructions, not within one match.
//
// Errors are Error: file, line and column as the author has them, and the text of the line.
package script
