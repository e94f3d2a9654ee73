package config

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/spelling"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Problem is one thing that is wrong, and where.
type Problem struct {
	Place   string // path:line:column of the file, or the name of a variable
	Message string
}

// Errors is everything that is wrong with a configuration, in the order of its places.
type Errors []Problem

// Error returns one line for each problem: "path:line:column: message".
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.Place + ": " + p.Message
	}
	return strings.Join(lines, "\n")
}

// maxFile bounds the configuration file and every file that holds a secret.
const maxFile = 4 << 20

// decoder reads a document into a Config and collects what is wrong with it. It walks the syntax tree itself, for
// only then has each problem its place and one problem does not hide the next.
type decoder struct {
	path    string // as the caller named it, for messages
	dir     string // what relative paths are relative to
	getenv  func(string) (string, bool)
	anchors map[string]ast.Node
	errs    []positioned
	set     map[string]Position // the scalars and lists that the document sets, by key path
	literal map[string]bool     // the secrets that stand in the document itself, by key path
	envUsed map[string]bool     // variables that {env:} names
}

type positioned struct {
	at  Position
	msg string
}

func (d *decoder) fail(n ast.Node, format string, args ...any) {
	d.failAt(position(n), format, args...)
}

func (d *decoder) failAt(at Position, format string, args ...any) {
	d.errs = append(d.errs, positioned{at, fmt.Sprintf(format, args...)})
}

// problems returns what went wrong so far, in document order.
func (d *decoder) problems() Errors {
	sort.SliceStable(d.errs, func(i, j int) bool {
		a, b := d.errs[i].at, d.errs[j].at
		return a.Line < b.Line || a.Line == b.Line && a.Column < b.Column
	})
	out := make(Errors, len(d.errs))
	for i, e := range d.errs {
		out[i] = Problem{fmt.Sprintf("%s:%d:%d", d.path, max(e.at.Line, 1), max(e.at.Column, 1)), e.msg}
	}
	return out
}

func position(n ast.Node) Position {
	if pair, ok := n.(*ast.MappingValueNode); ok {
		n = pair.Key
	}
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 && !m.IsFlowStyle {
		n = m.Values[0].Key
	}
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return Position{}
	}
	p := n.GetToken().Position
	return Position{p.Line, p.Column}
}

// document decodes text into cfg.
func (d *decoder) document(text []byte, cfg *Config) {
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		var syntax yaml.Error
		if errors.As(err, &syntax) && syntax.GetToken() != nil && syntax.GetToken().Position != nil {
			p := syntax.GetToken().Position
			d.failAt(Position{p.Line, p.Column}, "%s", syntax.GetMessage())
			return
		}
		d.failAt(Position{}, "this is not YAML: %v", err)
		return
	}
	if len(file.Docs) > 1 {
		d.fail(file.Docs[1].Body, "a second YAML document; the configuration is one")
		return
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		return
	}
	ast.Walk(collector(d.anchors), file.Docs[0].Body)
	d.value(file.Docs[0].Body, reflect.ValueOf(cfg).Elem(), "")
}

// collector remembers anchors, for the aliases that come after them.
type collector map[string]ast.Node

// Visit implements ast.Visitor.
func (c collector) Visit(n ast.Node) ast.Visitor {
	if a, ok := n.(*ast.AnchorNode); ok {
		c[a.Name.GetToken().Value] = a.Value
	}
	return c
}

// plain returns n without anchor, tag or alias around it.
func (d *decoder) plain(n ast.Node) ast.Node {
	for range 16 { // an alias of an alias of … ends here, and so does one of itself
		switch v := n.(type) {
		case *ast.AnchorNode:
			n = v.Value
		case *ast.TagNode:
			n = v.Value
		case *ast.AliasNode:
			n = d.anchors[v.Value.GetToken().Value]
		default:
			return n
		}
	}
	return nil
}

// pairs returns the keys and values of a mapping, or false.
func (d *decoder) pairs(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch v := n.(type) {
	case *ast.MappingNode:
		return v.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{v}, true
	}
	return nil, false
}

var (
	secretType   = reflect.TypeFor[secret.Text]()
	durationType = reflect.TypeFor[time.Duration]()
	bytesType    = reflect.TypeFor[Bytes]()
	positionType = reflect.TypeFor[Position]()
	keysetType   = reflect.TypeFor[Keyset]()
)

// value decodes n into v, whose key path is path.
func (d *decoder) value(n ast.Node, v reflect.Value, path string) {
	outer := n
	n = d.plain(n)
	if n == nil {
		d.fail(outer, "%s: this alias names nothing", name(path))
		return
	}
	if _, isNull := n.(*ast.NullNode); isNull {
		return // "key:" with nothing behind it says nothing
	}
	if v.Type() == secretType {
		d.secret(n, v, path)
		return
	}
	if text, ok := scalar(n); ok && v.Type() == keysetType {
		d.set[path] = position(n)
		v.Set(reflect.ValueOf(Keyset{URI: text}))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), path)
	case reflect.Struct:
		d.structure(n, v, path)
	case reflect.Slice:
		d.list(n, v, path)
	case reflect.Map:
		d.mapping(n, v, path)
	default:
		text, ok := scalar(n)
		if !ok {
			d.fail(n, "%s must be %s, not a list or a mapping", name(path), kind(v.Type()))
			return
		}
		d.set[path] = position(n)
		if err := setScalar(v, text); err != nil {
			d.fail(n, "%s: %v", name(path), err)
		}
	}
}

func (d *decoder) structure(n ast.Node, v reflect.Value, path string) {
	pairs, ok := d.pairs(n)
	if !ok {
		d.fail(n, "%s must be a mapping with the keys %s", name(path), strings.Join(keys(v.Type()), ", "))
		return
	}
	if at := v.FieldByName("At"); at.IsValid() && at.Type() == positionType {
		at.Set(reflect.ValueOf(position(n)))
	}
	seen := map[string]bool{}
	for _, pair := range pairs {
		key := pair.Key.GetToken().Value
		field, ok := fieldByKey(v, key)
		if !ok {
			d.fail(pair.Key, "unknown key %q in %s%s", key, name(path), spelling.DidYouMean(key, keys(v.Type())))
			continue
		}
		seen[key] = true
		d.value(pair.Value, field, join(path, key))
	}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Tag.Get("required") != "" && !seen[f.Tag.Get("yaml")] {
			d.fail(n, "%s has no %q", name(path), f.Tag.Get("yaml"))
		}
	}
}

func (d *decoder) list(n ast.Node, v reflect.Value, path string) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		if text, isScalar := scalar(n); isScalar && v.Type().Elem().Kind() == reflect.String {
			d.fail(n, "%s must be a list, such as [%s]", name(path), text)
			return
		}
		d.fail(n, "%s must be a list", name(path))
		return
	}
	d.set[path] = position(n)
	v.Set(reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values)))
	for i, item := range seq.Values {
		d.value(item, v.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
}

func (d *decoder) mapping(n ast.Node, v reflect.Value, path string) {
	pairs, ok := d.pairs(n)
	if !ok {
		d.fail(n, "%s must be a mapping", name(path))
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for _, pair := range pairs {
		key := pair.Key.GetToken().Value
		text, ok := scalar(d.plain(pair.Value))
		if !ok {
			d.fail(pair.Value, "%s must be a single value", name(join(path, key)))
			continue
		}
		d.set[join(path, key)] = position(pair.Value)
		v.SetMapIndex(reflect.ValueOf(key), reflect.ValueOf(text))
	}
}

// secret reads a literal, {env: NAME} or {file: PATH}.
func (d *decoder) secret(n ast.Node, v reflect.Value, path string) {
	d.set[path] = position(n)
	if text, ok := scalar(n); ok {
		d.literal[path] = true
		v.Set(reflect.ValueOf(secret.New(text)))
		return
	}
	pairs, ok := d.pairs(n)
	if !ok || len(pairs) != 1 {
		d.fail(n, "%s must be a text, {env: NAME} or {file: PATH}", name(path))
		return
	}
	from := pairs[0].Key.GetToken().Value
	arg, ok := scalar(d.plain(pairs[0].Value))
	if !ok || arg == "" {
		d.fail(pairs[0].Value, "%s.%s must be a single value", name(path), from)
		return
	}
	switch from {
	case "env":
		d.envUsed[arg] = true
		text, ok := d.getenv(arg)
		if !ok || text == "" {
			d.fail(pairs[0].Value, "%s: the environment variable %s is not set", name(path), arg)
			return
		}
		v.Set(reflect.ValueOf(secret.New(text)))
	case "file":
		text, err := readSecretFile(absolute(d.dir, arg))
		if err != nil {
			d.fail(pairs[0].Value, "%s: %v", name(path), err)
			return
		}
		v.Set(reflect.ValueOf(text))
	default:
		d.fail(pairs[0].Key, "%s: a secret is a text, {env: NAME} or {file: PATH}; %q is none of them", name(path), from)
	}
}

// readSecretFile returns the content of a file without the line end that editors add.
func readSecretFile(path string) (secret.Text, error) {
	info, err := os.Stat(path)
	if err != nil {
		return secret.Text{}, fmt.Errorf("cannot read the file %s: %w", path, errors.Unwrap(err))
	}
	if info.Size() > maxFile || info.IsDir() {
		return secret.Text{}, fmt.Errorf("the file %s is not a secret: it is a folder, or larger than 4 MiB", path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return secret.Text{}, fmt.Errorf("cannot read the file %s: %w", path, errors.Unwrap(err))
	}
	return secret.New(strings.TrimRight(string(b), "\r\n")), nil
}

// absolute returns path, relative to dir unless it is absolute.
func absolute(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// scalar returns the text of a scalar.
func scalar(n ast.Node) (string, bool) {
	switch v := n.(type) {
	case *ast.StringNode:
		return v.Value, true
	case *ast.LiteralNode:
		return v.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return v.GetToken().Value, true
	}
	return "", false
}

// setScalar parses text into v. Its errors say what the value must look like.
func setScalar(v reflect.Value, text string) error {
	switch v.Type() {
	case durationType:
		t, err := time.ParseDuration(text)
		if err != nil || t < 0 {
			return fmt.Errorf("%q is not a duration; write it like 30s, 10m or 168h", text)
		}
		v.SetInt(int64(t))
		return nil
	case bytesType:
		b, err := parseBytes(text)
		if err != nil {
			return err
		}
		v.SetInt(int64(b))
		return nil
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		v.SetBool(b)
	case reflect.Int:
		i, err := strconv.Atoi(text)
		if err != nil || i < 0 {
			return fmt.Errorf("%q is not a whole number of 0 or more", text)
		}
		v.SetInt(int64(i))
	default:
		return fmt.Errorf("a value of type %s cannot be read", v.Type())
	}
	return nil
}

var sizes = []struct {
	suffix string
	factor int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}, {"", 1},
}

func parseBytes(text string) (Bytes, error) {
	for _, s := range sizes {
		number, ok := strings.CutSuffix(text, s.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/s.factor {
			break
		}
		return Bytes(n * s.factor), nil
	}
	return 0, fmt.Errorf("%q is not a size; write it like 256MiB or 10GB", text)
}

// keys returns the keys of a mapping that becomes a t, sorted.
func keys(t reflect.Type) []string {
	var out []string
	for i := range t.NumField() {
		if k := t.Field(i).Tag.Get("yaml"); k != "-" && k != "" {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

func fieldByKey(v reflect.Value, key string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("yaml") == key && key != "-" {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

func kind(t reflect.Type) string {
	switch {
	case t == durationType:
		return "a duration such as 30s"
	case t == bytesType:
		return "a size such as 256MiB"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Int:
		return "a number"
	}
	return "a text"
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func name(path string) string {
	if path == "" {
		return "the configuration"
	}
	return path
}
