package driverfactory_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
)

func TestCheckerNamesEveryWrongPlace(t *testing.T) {
	src := driverfactory.Source{Name: "sales", Type: "fake", Options: map[string]string{"hots": "h", "port": "99999", "mode": "fsat"}}
	c := driverfactory.NewChecker(src, "host", "port", "mode")
	c.Required("host", "db.example.com")
	c.Port("port", 1)
	c.OneOf("mode", "fast", "slow")
	c.PlainHTTP("host", "db.example.com")
	e, _ := errors.AsType[*fault.Error](c.Err())
	if e == nil || e.Kind != fault.Invalid || e.Owner != fault.Admin {
		t.Fatalf("Err = %v, want one invalid fault for the admin", e)
	}
	var got []string
	for _, f := range e.Fields {
		got = append(got, f.Pointer+" "+f.Code)
		if !strings.Contains(e.Detail, f.Detail) {
			t.Errorf("the detail %q leaves out %q", e.Detail, f.Detail)
		}
	}
	want := "options/hots unknown, options/host required, options/port invalid, options/mode invalid, options/host insecure"
	if strings.Join(got, ", ") != want {
		t.Errorf("fields = %s, want %s", strings.Join(got, ", "), want)
	}
	for _, hint := range []string{`did you mean "host"?`, `did you mean "fast"?`} {
		if !strings.Contains(e.Detail, hint) {
			t.Errorf("detail = %q, want %s in it", e.Detail, hint)
		}
	}
	if err := driverfactory.NewChecker(src, "hots", "port", "mode").Err(); err != nil {
		t.Errorf("Err of a source with nothing wrong = %v, want nil", err)
	}
}
