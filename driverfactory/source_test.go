package driverfactory

import (
	"reflect"
	"testing"
	"time"
)

// Every field of a Source but those that change no row makes another digest, those that are added later too.
func TestADigestIsOfOneSource(t *testing.T) {
	source := func() *Source {
		return &Source{Options: map[string]string{"host": "a"}, ServiceAccount: &ServiceAccount{OAuth: &ClientCredentials{}}}
	}
	seen := map[[32]byte]string{source().Digest(): "nothing"}
	check := func(what string, s *Source) {
		if other, ok := seen[s.Digest()]; ok {
			t.Errorf("with %s the digest is that with %s", what, other)
		}
		seen[s.Digest()] = what
	}
	var change func(what string, of func(*Source) reflect.Value)
	change = func(what string, of func(*Source) reflect.Value) {
		switch v := of(source()); v.Interface().(type) {
		case Limits, Liveness:
			return
		case Secret:
			s := source()
			of(s).Set(reflect.ValueOf(NewSecret("x")))
			check(what, s)
		default:
			if v.Kind() == reflect.Pointer {
				v = v.Elem()
			}
			if v.Kind() == reflect.Struct {
				for i := range v.NumField() {
					change(what+"."+v.Type().Field(i).Name, func(s *Source) reflect.Value { return reflect.Indirect(of(s)).Field(i) })
				}
				return
			}
			s := source()
			switch field := of(s); field.Kind() {
			case reflect.String:
				field.SetString("x")
			case reflect.Int64:
				field.SetInt(7)
			case reflect.Map:
				field.Set(reflect.ValueOf(map[string]string{"host": "b"}))
			case reflect.Slice:
				field.Set(reflect.ValueOf([]string{"x"}))
			default:
				t.Fatalf("%s is a %v: say here how it changes", what, field.Kind())
			}
			check(what, s)
		}
	}
	change("source", func(s *Source) reflect.Value { return reflect.ValueOf(s).Elem() })
	if len(seen) < 20 {
		t.Errorf("%d fields were changed, want all", len(seen)-1)
	}
	for name, s := range map[string]*Source{"no service account": {}, "no client credentials": {ServiceAccount: &ServiceAccount{}}} {
		check(name, s)
	}
	same := source()
	same.Limits.Concurrency, same.Liveness.Every = 7, time.Hour
	if same.Digest() != source().Digest() {
		t.Error("limits and liveness change the digest")
	}
}
