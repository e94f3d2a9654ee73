package orchestrator_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The public packages are enough for a program of its own: examples/embed is another module, which imports nothing
// internal, builds a factory and an orchestrator, and runs one query as two people.
func TestAnotherModuleRunsAQueryAsTwoPeople(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "run", ".")
	cmd.Dir = filepath.Join("..", "examples", "embed")
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := "alice: alice-token, run by user\nbob: bob-token, run by user\ncarol: Connect the example app first.\n"
	if string(out) != want {
		t.Errorf("it printed\n%swant\n%s", out, want)
	}
}
