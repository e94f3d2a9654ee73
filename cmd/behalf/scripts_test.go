package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// On a machine that has nothing, the setup names everything that the tests need. It has no apt-get here, so it installs
// nothing.
func TestSetupFindsWhatIsMissing(t *testing.T) {
	bare := t.TempDir()
	for _, name := range []string{"bash", "id"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(bare, name)); err != nil {
			t.Fatal(err)
		}
	}
	setup := func() (string, error) {
		cmd := exec.CommandContext(t.Context(), filepath.Join(bare, "bash"), "../../scripts/setup")
		cmd.Env = []string{"PATH=" + bare}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := setup(); err == nil || !strings.Contains(out, "Node 20.19") {
		t.Errorf("without Node: %v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(bare, "node"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := setup()
	if err == nil {
		t.Fatalf("setup succeeds on a machine that has nothing:\n%s", out)
	}
	_, packages, _ := strings.Cut(out, "apt-get install ")
	for _, p := range []string{"gcc", "g++", "chromium"} {
		if !strings.Contains(" "+strings.TrimSpace(packages)+" ", " "+p+" ") {
			t.Errorf("setup does not ask for %s:\n%s", p, out)
		}
	}
}
