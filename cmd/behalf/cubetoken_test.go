package main

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/jwtauth"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/google/go-cmp/cmp"
)

func TestASignedTokenIsOneThatTheServerTakes(t *testing.T) {
	inFolder(t, map[string]string{"behalf.yaml": "auth: {api_secret: 0123456789abcdef0123456789abcdef}\n"})
	code, out, errs := command(t, "", "tokens", "cube", "--claim", "user_id=42", "--claim", "cubeCloud.username=alice", "-c", "cubeCloud.groups=[\"finance\"]",
		"--claim", "plan=pro,free", "--claim", `zip="01067"`, "--expires", "1h")
	if code != 0 {
		t.Fatalf("exit %d: %s", code, errs)
	}
	v := jwtauth.New(jwtauth.Config{
		Secrets: []secret.Text{secret.New("0123456789abcdef0123456789abcdef")},
		People:  func(context.Context, string) (string, bool, error) { return "", false, fault.NotFound },
	})
	sc, err := v.Verify(t.Context(), http.Header{"Authorization": {strings.TrimSpace(out)}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"user_id": int64(42), "cubeCloud": map[string]any{"username": "alice", "groups": []any{"finance"}}, "plan": "pro,free", "zip": "01067"}
	life := sc.Claims["exp"].(int64) - sc.Claims["iat"].(int64)
	delete(sc.Claims, "exp")
	delete(sc.Claims, "iat")
	if diff := cmp.Diff(want, sc.Claims); diff != "" || life != 3600 {
		t.Errorf("it lives %d s, and its claims (-want +got):\n%s", life, diff)
	}
	for _, tt := range []struct {
		name, want string
		args       []string
	}{
		{"no pair", `--claim "x" is not of the form name=value`, []string{"--claim", "x"}},
		{"twice", "--claim a is given twice", []string{"--claim", "a=1", "--claim", "a=2"}},
		{"inside a value", "--claim a.b: a has a value of its own already", []string{"--claim", "a=1", "--claim", "a.b=2"}},
		{"no time", `--expires "soon" is no time`, []string{"--expires", "soon"}},
		{"no secret", "There is no API secret", []string{"--config", "empty.yaml"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inFolder(t, map[string]string{"empty.yaml": "server: {}\n", "behalf.yaml": "auth: {api_secret: 0123456789abcdef0123456789abcdef}\n"})
			code, out, errs := command(t, "", append([]string{"tokens", "cube"}, tt.args...)...)
			if code == 0 || out != "" || !strings.Contains(errs, tt.want) {
				t.Errorf("exit %d, %q; want an error with %q", code, errs, tt.want)
			}
		})
	}
}
