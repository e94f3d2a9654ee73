package config

import (
	"slices"
	"strings"
)

// ownVariables are what the server itself may have secrets in, beside what the file reads by {env:}. Only their full names
// grant them.
var ownVariables = []string{"BEHALF_", "CUBEJS_", "AWS_", "GOOGLE_", "VAULT_", "OTEL_"}

// checkVariables looks at a list of names that grants variables.
func (l *loader) checkVariables(path string, names []string) {
	for _, name := range names {
		if prefix, all := strings.CutSuffix(name, "_*"); prefix == "" || strings.ContainsAny(prefix, "*={} ") {
			l.fail(l.place(path), "%s: %q is neither the name of a variable nor, as in MODEL_*, the beginning of several", path, name)
		} else if all && own(prefix+"_") {
			l.fail(l.place(path), "%s: %q may be secrets of the server: name each variable in full", path, name)
		}
	}
}

// own reports whether the server itself may have a secret in a variable whose name begins so.
func own(name string) bool {
	return slices.ContainsFunc(ownVariables, func(p string) bool { return strings.HasPrefix(name, p) })
}

// variables finds what a list of names grants.
func (l *loader) variables(names []string) Variables {
	v := Variables{Granted: map[string]string{}}
	for _, name := range sortedKeys(l.env) {
		secret := own(name) || l.doc != nil && l.doc.envUsed[name]
		if slices.Contains(names, name) || !secret && slices.ContainsFunc(names, func(n string) bool {
			prefix, ok := strings.CutSuffix(n, "*")
			return ok && strings.HasPrefix(name, prefix)
		}) {
			v.Granted[name] = l.env[name]
		} else {
			v.Withheld = append(v.Withheld, name)
		}
	}
	for _, name := range names {
		if _, set := l.env[name]; !set && !strings.HasSuffix(name, "*") {
			v.Unset = append(v.Unset, name)
		}
	}
	return v
}
