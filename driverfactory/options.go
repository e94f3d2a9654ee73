package driverfactory

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/loopback"
	"github.com/behalf-project/behalf/internal/spelling"
)

// Checker collects what is wrong with a Source, for the Check of an adapter. Every wrong place is named, not only the
// first.
type Checker struct {
	src    Source
	fields []fault.Field
}

// NewChecker returns a Checker of src, whose options may have these names and no others.
func NewChecker(src Source, names ...string) *Checker {
	c := &Checker{src: src}
	for _, name := range slices.Sorted(maps.Keys(src.Options)) {
		if !slices.Contains(names, name) {
			c.Wrong("options/"+name, "unknown", "%q is not an option of %s%s; the options are %s",
				name, src.Type, spelling.DidYouMean(name, names), strings.Join(names, ", "))
		}
	}
	return c
}

// Wrong notes that what pointer points to is wrong: a path below the data source, such as "options/host".
func (c *Checker) Wrong(pointer, code, format string, args ...any) {
	c.fields = append(c.fields, fault.Field{Pointer: pointer, Code: code, Detail: fmt.Sprintf(format, args...)})
}

// Required returns the option with this name and notes when it is empty.
func (c *Checker) Required(name, example string) string {
	v := c.src.Options[name]
	if v == "" {
		c.Wrong("options/"+name, "required", "%s needs %s, such as %s", c.src.Type, name, example)
	}
	return v
}

// OneOf returns the option with this name, the first of allowed when it is empty, and notes when it is none of them.
func (c *Checker) OneOf(name string, allowed ...string) string {
	v := c.src.Options[name]
	if v == "" {
		return allowed[0]
	}
	if !slices.Contains(allowed, v) {
		c.Wrong("options/"+name, "invalid", "%s is %q%s; it is one of %s",
			name, v, spelling.DidYouMean(v, allowed), strings.Join(allowed, ", "))
	}
	return v
}

// Port returns the option with this name as a TCP port, or def when it is empty.
func (c *Checker) Port(name string, def int) int {
	v := c.src.Options[name]
	if v == "" {
		return def
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > 65535 {
		c.Wrong("options/"+name, "invalid", "%s is %q; a port is a number from 1 to 65535", name, v)
	}
	return n
}

// PlainHTTP notes that plain http goes to a host that is not this machine, where everybody on the way reads tokens.
func (c *Checker) PlainHTTP(option, host string) {
	if !loopback.Host(host) {
		c.Wrong("options/"+option, "insecure", "plain http is for this machine only, and %q is not on it; use https", host)
	}
}

// Err returns what was noted as one fault.Invalid, or nil.
func (c *Checker) Err() error {
	if len(c.fields) == 0 {
		return nil
	}
	var details []string
	for _, f := range c.fields {
		details = append(details, f.Detail)
	}
	return &fault.Error{
		Kind: fault.Invalid, Code: "invalid_data_source", Owner: fault.Admin,
		Detail: fmt.Sprintf("data source %q: %s", c.src.Name, strings.Join(details, "; ")),
		Fields: c.fields, Params: map[string]string{"data_source": c.src.Name},
	}
}
