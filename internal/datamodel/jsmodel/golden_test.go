package jsmodel_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/goccy/go-yaml"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/datamodel/jsmodel"
)

// Every example model means the same in both languages (cube-data-model.md §23.9): the YAML is written as JavaScript in
// two styles, and what Load makes of them is equal but for places.
func TestBothLanguagesGiveOneModel(t *testing.T) {
	var files []string
	for _, pattern := range []string{"../../sqlgen/testdata/model/*.yml", "../../../cmd/behalf/demo/model/*.yml", "testdata/*.yml"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	if len(files) < 4 {
		t.Fatalf("found only %q", files)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			want, err := datamodel.Load(fstest.MapFS{"model.yml": {Data: text}})
			if err != nil {
				t.Fatal(err)
			}
			for _, camel := range []bool{true, false} {
				js := javascript(t, text, camel)
				got, err := datamodel.Load(fstest.MapFS{"model.js": {Data: []byte(js)}}, jsmodel.New(jsmodel.Config{}))
				if err != nil {
					t.Fatalf("%v\n%s", err, js)
				}
				sameModel(t, got, want)
			}
		})
	}
}

// A model that somebody wrote by hand, with what JavaScript has of its own.
func TestTheShopByHand(t *testing.T) {
	want, err := datamodel.Load(os.DirFS("../../sqlgen/testdata/model"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := datamodel.Load(os.DirFS("testdata/shop"), jsmodel.New(jsmodel.Config{}))
	if err != nil {
		t.Fatal(err)
	}
	sameModel(t, got, want)
}

// sameModel compares the internal form of two models, without places and the texts that problems quote.
func sameModel(t *testing.T, got, want *datamodel.Model) {
	t.Helper()
	g, w := dump(reflect.ValueOf(got).Elem(), map[uintptr]bool{}), dump(reflect.ValueOf(want).Elem(), map[uintptr]bool{})
	if g == w {
		return
	}
	gl, wl := strings.Split(g, "\n"), strings.Split(w, "\n")
	for i := range min(len(gl), len(wl)) {
		if gl[i] != wl[i] {
			from := max(0, i-12)
			t.Fatalf("line %d\n got %s\nwant %s", i, strings.Join(gl[from:i+1], "\n     "), strings.Join(wl[from:i+1], "\n     "))
		}
	}
	t.Fatalf("one model is longer: %d and %d lines", len(gl), len(wl))
}

// dump writes a value, unexported fields included, one line for each scalar.
func dump(v reflect.Value, open map[uintptr]bool) string {
	var b strings.Builder
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer:
			if v.IsNil() {
				return
			}
			if open[v.Pointer()] {
				fmt.Fprintf(&b, "%s = (above)\n", path)
				return
			}
			open[v.Pointer()] = true
			walk(path, v.Elem())
			delete(open, v.Pointer())
		case reflect.Interface:
			if !v.IsNil() {
				fmt.Fprintf(&b, "%s is %s\n", path, v.Elem().Type())
				walk(path, v.Elem())
			}
		case reflect.Struct:
			for i := range v.NumField() {
				name := v.Type().Field(i).Name
				if slices.Contains([]string{"Position", "Source", "pos", "notices"}, name) && (name != "Source" || v.Type().Name() == "Template") {
					continue
				}
				walk(path+"."+name, v.Field(i))
			}
		case reflect.Slice:
			for i := range v.Len() {
				walk(path+"["+strconv.Itoa(i)+"]", v.Index(i))
			}
		case reflect.Map:
			keys := v.MapKeys()
			slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
			for _, k := range keys {
				walk(path+"["+k.String()+"]", v.MapIndex(k))
			}
		case reflect.Func:
			fmt.Fprintf(&b, "%s = a function\n", path)
		default:
			fmt.Fprintf(&b, "%s = %v\n", path, v)
		}
	}
	walk("model", v)
	return b.String()
}

// javascript writes a YAML model as JavaScript.
func javascript(t *testing.T, text []byte, camel bool) string {
	t.Helper()
	var doc yaml.MapSlice
	if err := yaml.UnmarshalWithOptions(text, &doc, yaml.UseOrderedMap()); err != nil {
		t.Fatal(err)
	}
	w := writer{camel: camel}
	var b strings.Builder
	for _, root := range doc {
		for _, item := range root.Value.([]any) {
			d := item.(yaml.MapSlice)
			name, rest := named(d)
			fmt.Fprintf(&b, "%s(`%s`, %s);\n", strings.TrimSuffix(root.Key.(string), "s"), name, w.value("", "", rest))
		}
	}
	return b.String()
}

func named(d yaml.MapSlice) (string, yaml.MapSlice) {
	i := slices.IndexFunc(d, func(m yaml.MapItem) bool { return m.Key == "name" })
	return d[i].Value.(string), slices.Delete(slices.Clone(d), i, i+1)
}

type writer struct{ camel bool }

var lists = []string{"dimensions", "measures", "segments", "joins", "pre_aggregations", "hierarchies"}

func (w writer) value(in, key string, v any) string {
	switch v := v.(type) {
	case yaml.MapSlice:
		var fields []string
		for _, f := range v {
			k := f.Key.(string)
			written := k
			if w.camel && in != "meta" && key != "meta" {
				written = camelCase(k)
			}
			fields = append(fields, strconv.Quote(written)+": "+w.value(key, k, f.Value))
		}
		return "{" + strings.Join(fields, ",\n") + "}"
	case []any:
		var items []string
		for _, item := range v {
			if d, ok := item.(yaml.MapSlice); ok && slices.Contains(lists, key) {
				name, rest := named(d)
				items = append(items, name+": "+w.value(key, "", rest))
				continue
			}
			items = append(items, w.value(key, key, item))
		}
		if len(v) > 0 && slices.Contains(lists, key) {
			if _, ok := v[0].(yaml.MapSlice); ok {
				return "{" + strings.Join(items, ",\n") + "}"
			}
		}
		return "[" + strings.Join(items, ", ") + "]"
	case string:
		switch {
		case key == "sql" || key == "sql_table":
			return "`" + templates(v) + "`"
		case key == "values" && !strings.ContainsAny(v, "{}"):
			if strings.HasPrefix(v, "securityContext") {
				return v
			}
		case key == "values":
			return "`" + templates(v) + "`"
		case key == "if":
			return strings.Trim(v, "{ }")
		case slices.Contains([]string{"drill_members", "levels", "excludes", "member"}, key) || key == "join_path" || key == "extends":
			return v
		case (key == "type" || key == "relationship") && w.camel:
			v = camelCase(v)
		}
		return strconv.Quote(v)
	}
	return fmt.Sprint(v)
}

func camelCase(s string) string {
	words := strings.Split(s, "_")
	for i := 1; i < len(words); i++ {
		words[i] = strings.ToUpper(words[i][:1]) + words[i][1:]
	}
	return strings.Join(words, "")
}

var lambda = regexp.MustCompile(`lambda ([\w, ]+): f"([^"]*)"`)

// templates writes {CUBE}.x as ${CUBE}.x, and a lambda as an arrow function.
func templates(s string) string {
	s = strings.ReplaceAll(s, `\`, `\\`)
	s = lambda.ReplaceAllStringFunc(s, func(f string) string {
		m := lambda.FindStringSubmatch(f)
		return "(" + m[1] + ") => `" + strings.ReplaceAll(m[2], "{", "\x00") + "`"
	})
	return strings.ReplaceAll(strings.ReplaceAll(s, "{", "${"), "\x00", "${")
}
