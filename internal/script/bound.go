package script

import (
	"fmt"

	"github.com/dop251/goja"
)

// maxString bounds the strings that one call of a builtin makes, in characters.
const maxString = 16 << 20

// bound keeps a slip from making a string that does not fit into memory.
func (r *Runtime) bound() {
	prototype := r.vm.Get("String").ToObject(r.vm).Get("prototype").ToObject(r.vm)
	for name, length := range map[string]func(s, n int64) int64{
		"repeat":   func(s, n int64) int64 { return s * max(n, 0) },
		"padStart": func(_, n int64) int64 { return n },
		"padEnd":   func(_, n int64) int64 { return n },
	} {
		builtin, _ := goja.AssertFunction(prototype.Get(name))
		prototype.DefineDataProperty(name, r.vm.ToValue(func(call goja.FunctionCall) goja.Value {
			s := int64(0)
			if text, ok := call.This.(goja.String); ok {
				s = int64(text.Length())
			}
			n := call.Argument(0).ToInteger()
			if n > maxString || length(s, n) > maxString {
				panic(r.vm.NewGoError(fmt.Errorf("the string would have more than %d characters", maxString)))
			}
			v, err := builtin(call.This, call.Arguments...)
			if err != nil {
				panic(err)
			}
			return v
		}), goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE)
	}
}
