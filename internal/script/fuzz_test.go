package script_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/script"
)

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// FuzzCompile feeds the rewriter of modules. Whatever comes, it compiles or is refused at a place of the file, and runs
// or fails with an error.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{
		"import a, {b as c} from './lib'\nexport default class A {}", "export * from './lib'", "export const {a, ...b} = {}, [c = 1] = []",
		"import * as x from './lib'; export {x as y}", "`${`${1}`}` / /[/]/g", "export", "import", "import {", "export default async",
		"export async function", "export {a as default}", "#!/x\nexport let a", "const a = 1 /* import */ / 2", "require('./main')", "\u2028export var é",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		program, errs := script.Compile(script.Source{Files: map[string]string{"main.js": text, "lib.js": "export const b = 1; export default 2"}})
		for _, e := range errs {
			if e.File != "main.js" || e.Line < 1 || e.Column < 1 || e.Message == "" {
				t.Errorf("error without a place: %+v", e)
			}
		}
		if len(errs) > 0 {
			return
		}
		err := program.Run(t.Context(), 100*time.Millisecond, script.Config{}, func(r *script.Runtime) error {
			_, err := r.Require("main.js")
			return err
		})
		if err != nil && err.Error() == "" {
			t.Error("an error without words")
		}
	})
}
