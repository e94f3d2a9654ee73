package health

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func ask(mount func(*http.ServeMux), path string) (int, string) {
	mux := http.NewServeMux()
	mount(mux)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, strings.TrimSpace(w.Body.String())
}

func TestReady(t *testing.T) {
	good := Check{Name: "store", Run: func(context.Context) error { return nil }}
	bad := Check{Name: "keys", Run: func(context.Context) error { return errors.New("canary: the key is lost") }}
	told := Check{Name: "model", Run: bad.Run, Advisory: true}
	up, down, needed := Source{Name: "a", State: "up", Required: true}, Source{Name: "b", State: "down"}, Source{Name: "c", State: "down", Required: true}
	for _, tt := range []struct {
		name    string
		checks  []Check
		sources []Source
		want    int
		body    string
	}{
		{"all is well", []Check{good}, []Source{up}, 200, `{"health":"HEALTH"}`},
		{"a source that nobody requires is down", []Check{good}, []Source{up, down}, 200, `{"health":"HEALTH"}`},
		{"a required source is down", []Check{good}, []Source{up, needed}, 500, `{"health":"DOWN"}`},
		{"a check fails", []Check{good, bad}, nil, 500, `{"health":"DOWN"}`},
		{"an advisory check fails", []Check{good, told}, nil, 200, `{"health":"HEALTH"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := New(Config{Checks: tt.checks, Sources: func() []Source { return tt.sources }})
			for _, path := range []string{"/readyz", "/ready", "/readyz?verbose"} {
				if code, body := ask(h.Mount, path); code != tt.want || body != tt.body {
					t.Errorf("%s = %d %s, want %d %s", path, code, body, tt.want, tt.body)
				}
			}
			if code, body := ask(h.Mount, "/livez"); code != 200 || body != `{"health":"HEALTH"}` {
				t.Errorf("/livez = %d %s, whatever is ready", code, body)
			}
		})
	}
}

func TestOnlyOperatorsReadWhy(t *testing.T) {
	h := New(Config{
		Checks:  []Check{{Name: "keys", Run: func(context.Context) error { return errors.New("canary") }}},
		Sources: func() []Source { return []Source{{Name: "lake", State: "down", Detail: "no route"}} },
	})
	_, public := ask(h.Mount, "/readyz?verbose")
	_, admin := ask(h.MountAdmin, "/readyz?verbose")
	if strings.Contains(public, "canary") {
		t.Errorf("everybody reads %s", public)
	}
	for _, want := range []string{`"name":"keys","ok":false,"detail":"canary"`, `"name":"lake","state":"down"`} {
		if !strings.Contains(admin, want) {
			t.Errorf("operators read %s, without %s", admin, want)
		}
	}
}

func TestAnEvaluationIsSharedForASecond(t *testing.T) {
	now, runs := time.Unix(100, 0), 0
	h := New(Config{Now: func() time.Time { return now }, Checks: []Check{{Name: "store", Run: func(context.Context) error { runs++; return nil }}}})
	for range 5 {
		ask(h.Mount, "/readyz")
	}
	if now = now.Add(time.Second); runs != 1 {
		t.Errorf("5 questions within a second ran the checks %d times, want once", runs)
	}
	if ask(h.Mount, "/readyz"); runs != 2 {
		t.Errorf("a second later they ran %d times, want twice", runs)
	}
}
