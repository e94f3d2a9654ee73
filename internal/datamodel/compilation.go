package datamodel

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Compilation is one compilation of a model: for whom it is, and what its files may see of the machine. It is used for
// one Load. The zero value is for nobody, with no variable.
//
// COMPILE_CONTEXT is that of the first who asks under an application id, and the model then serves all who have this id
// (cube-data-model.md §4.4). So a Compilation records what the files read of it: the model is one for those who have the
// same values there, and for nobody else (Agrees). Values that were not read while it was compiled cannot be read later,
// by SQL that is computed for a query.
type Compilation struct {
	// ByAppID says that requests have application ids. Without them, reading COMPILE_CONTEXT is a problem.
	ByAppID bool

	// Asker is what COMPILE_CONTEXT holds. Nil is nobody: a model that reads it is a *PerAppID. Nobody changes it.
	Asker map[string]any

	Variables Variables

	mu      sync.Mutex
	reads   map[string]read
	notices []Problem
	waiting *PerAppID // of the first file that reads COMPILE_CONTEXT before anybody asked
	sealed  bool
}

// Variables are those of the environment, for model files.
type Variables struct {
	Granted  map[string]string // what files see
	Withheld []string          // set, and not granted: reading one is an error, as undefined could mean the absence of a rule
	Unset    []string          // granted, and not set: undefined without a notice
}

// PerAppID says that a model reads COMPILE_CONTEXT, so that there is one for each application id, when somebody asks.
type PerAppID struct{ At Position }

// Error says where.
func (e *PerAppID) Error() string {
	return Problem{Position: e.At, Message: "the model reads COMPILE_CONTEXT, so it is compiled for each application id, when the first of it asks"}.String()
}

// root is what files call the context.
const root = "COMPILE_CONTEXT"

// Bounds of what is recorded.
const (
	maxReads   = 1000
	maxNotices = 100
)

// Why nothing of COMPILE_CONTEXT can be read.
var (
	ErrNoAppID = errors.New("COMPILE_CONTEXT can't be used unless contextToAppId is defined")
	ErrNobody  = errors.New("nobody has asked yet")
)

// read is one thing that files have read of COMPILE_CONTEXT, and what was there.
type read struct {
	path  []string
	names bool
	found string
}

// Object stands for an object of COMPILE_CONTEXT, whose values are read one by one.
type Object struct{}

// Readable returns why nothing of COMPILE_CONTEXT can be read, or nil.
func (c *Compilation) Readable() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.ByAppID:
		return ErrNoAppID
	case c.Asker == nil && c.sealed:
		return tooLate(nil)
	case c.Asker == nil:
		return ErrNobody
	}
	return nil
}

// tooLate refuses what is read for a query, and was not when the model was compiled: it would be of whoever asked first.
func tooLate(path []string) error {
	return fmt.Errorf("%s is read for a query, and was not when the model was compiled; read it at the beginning of the file", shownPath(path))
}

// Value returns what COMPILE_CONTEXT holds at a path, and records it: a list is one value, and of an object, which is
// Object, only that it is one. ok is false where nothing is. A text must be one word, as it may become SQL.
func (c *Compilation) Value(path ...string) (v any, ok bool, err error) {
	if err := c.record(path, false); err != nil {
		return nil, false, err
	}
	if v, ok = at(c.Asker, path); !ok {
		return nil, false, nil
	}
	if _, object := v.(map[string]any); object {
		return Object{}, true, nil
	}
	return v, true, wordsOnly(path, v)
}

// Names returns the names in the object of COMPILE_CONTEXT at a path, sorted, and records them.
func (c *Compilation) Names(path ...string) ([]string, error) {
	if err := c.record(path, true); err != nil {
		return nil, err
	}
	v, _ := at(c.Asker, path)
	object, _ := v.(map[string]any)
	names := slices.Sorted(maps.Keys(object))
	return names, wordsOnly(path, names)
}

// record notes that a path is read, and what is there.
func (c *Compilation) record(path []string, names bool) error {
	if err := c.Readable(); err != nil {
		return err
	}
	key := fmt.Sprintf("%t%q", names, path)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch _, known := c.reads[key]; {
	case known:
		return nil
	case c.sealed:
		return tooLate(path)
	case len(c.reads) >= maxReads:
		return fmt.Errorf("a model reads at most %d values of COMPILE_CONTEXT", maxReads)
	case c.reads == nil:
		c.reads = map[string]read{}
	}
	c.reads[key] = read{slices.Clone(path), names, found(c.Asker, path, names)}
	return nil
}

// Agrees reports whether asker has what was read of COMPILE_CONTEXT, or else where not.
func (c *Compilation) Agrees(asker map[string]any) (where string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.reads {
		if found(asker, r.path, r.names) != r.found && (where == "" || shownPath(r.path) < where) {
			where = shownPath(r.path)
		}
	}
	return where, where == ""
}

// Wait notes that the file at a place cannot be read before somebody asks.
func (c *Compilation) Wait(at Position) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting == nil {
		c.waiting = &PerAppID{At: at}
	}
}

func (c *Compilation) waits() *PerAppID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waiting
}

// told returns the notices.
func (c *Compilation) told() []Problem {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.notices
}

// seal ends the compilation: what was read is settled.
func (c *Compilation) seal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sealed = true
}

// at returns what is at a path.
func at(values map[string]any, path []string) (any, bool) {
	var v any = values
	for _, name := range path {
		object, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = object[name]; !ok {
			return nil, false
		}
	}
	return v, true
}

// found returns what a path holds as a text that no other value has.
func found(values map[string]any, path []string, names bool) string {
	v, ok := at(values, path)
	object, isObject := v.(map[string]any)
	switch text, isText := v.(string); {
	case !ok:
		return "nothing"
	case isObject && names:
		return fmt.Sprintf("names %q", slices.Sorted(maps.Keys(object)))
	case isObject:
		return "object"
	case isText:
		return "text " + text
	}
	value, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("value %#v", v)
	}
	return "value " + string(value)
}

// wordsOnly returns an error for a text in v that is more than a word or a number.
func wordsOnly(path []string, v any) error {
	switch v := v.(type) {
	case string:
		if v != "" && !PlainWord(v) {
			return fmt.Errorf("%s is a text of more than one word, which could become SQL; read it from SECURITY_CONTEXT, where it is bound", shownPath(path))
		}
	case []string:
		for _, item := range v {
			if err := wordsOnly(path, item); err != nil {
				return err
			}
		}
	case []any:
		for _, item := range v {
			if err := wordsOnly(path, item); err != nil {
				return err
			}
		}
	case map[string]any: // in a list
		for name, item := range v {
			if err := errors.Join(wordsOnly(path, name), wordsOnly(path, item)); err != nil {
				return err
			}
		}
	}
	return nil
}

func shownPath(path []string) string {
	return strings.Join(append([]string{root}, path...), ".")
}

// Variable returns a variable of the machine for a file, which asks at a place. One that is set and not granted is an
// error; one that is neither is undefined, and a notice says so.
func (c *Compilation) Variable(name string, at Position) (value string, ok bool, err error) {
	if value, ok = c.Variables.Granted[name]; ok {
		return value, true, nil
	}
	if slices.Contains(c.Variables.Withheld, name) {
		return "", false, fmt.Errorf("the variable %s is set, and models may not read it: name it in models.env of behalf.yaml", name)
	}
	if slices.Contains(c.Variables.Unset, name) {
		return "", false, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	notice := Problem{Position: at, Message: fmt.Sprintf("the variable %s is undefined: it is not set, and not named in models.env of behalf.yaml", name)}
	if !c.sealed && len(c.notices) < maxNotices && !slices.Contains(c.notices, notice) {
		c.notices = append(c.notices, notice)
	}
	return "", false, nil
}
