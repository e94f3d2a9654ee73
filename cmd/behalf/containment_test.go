package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/adminapi"
)

// The steps of docs/how-to/containment.md, as they are written there.
func TestALeakIsContainedAsTheHowToSays(t *testing.T) {
	w := newWorld(t, worldConfig{})
	w.connect(w.alice, "databricks")
	w.connect(w.bob, "databricks", "snowflake")
	at, err := url.Parse(w.base)
	w.must(err)
	var cookies []string
	for _, c := range w.carol.http.Jar.Cookies(at) {
		cookies = append(cookies, c.Name+"="+c.Value)
	}
	var steps []string
	for _, b := range blocks(t, "sh") {
		if strings.HasPrefix(b.name, "docs/how-to/containment.md") {
			steps = append(steps, b.text)
		}
	}
	if len(steps) != 3 {
		t.Fatalf("the how-to has %d steps with a command, want 3", len(steps))
	}
	run := func(step string, into any) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", step)
		cmd.Env = append(os.Environ(), "BEHALF="+w.base, "COOKIE="+strings.Join(cookies, "; "))
		out, err := cmd.Output()
		w.must(err)
		if err := json.Unmarshal(out, into); err != nil {
			t.Fatalf("%s printed %q: %v", step, out, err)
		}
	}
	var preview, ended adminapi.RevocationAnswer
	if run(steps[0], &preview); preview.Preview == nil || preview.Preview.People != 2 {
		t.Fatalf("the preview is %+v", preview)
	}
	if got := w.grant(w.alice, "databricks").Status; got != "active" {
		t.Fatalf("alice after the preview: %s", got)
	}
	began := time.Now()
	if run(strings.Replace(steps[1], "214", "2", 1), &ended); ended.Revocation == nil || ended.Revocation.Connections != 2 {
		t.Fatalf("the revocation is %+v", ended)
	}
	t.Logf("the access of both ended within %v", time.Since(began))
	for _, b := range []*browser{w.alice, w.bob} {
		w.ask(b, countOnly).refused(t, http.StatusForbidden, "authorization_required")
	}
	if got := w.grant(w.bob, "snowflake").Status; got != "active" {
		t.Errorf("bob's other app: %s, want active", got)
	}
	for range 100 {
		var r adminapi.Revocation
		run(strings.Replace(steps[2], "rev_01jc3v4k9e8r7x2m5n0q6t1w3y", ended.Revocation.ID, 1), &r)
		if r.Provider.Done+r.Provider.Unsupported == 2 && r.Provider.Waiting == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("the provider was not told")
}
