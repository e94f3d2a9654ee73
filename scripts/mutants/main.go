// Command mutants shows that the tests notice. Each mutant in mutants.yaml breaks one promise in one place; its test must
// then fail. The tree is not touched: go test reads the broken file through an overlay.
//
//	go run ./scripts/mutants             all of them
//	go run ./scripts/mutants -only O4    those whose id begins with O4
//
// It prints a line each and exits 1 when one survived, that is, when its test passed on the broken program.
package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

//go:embed mutants.yaml
var list []byte

// mutant is one broken program.
type mutant struct {
	ID      string `yaml:"id"`      // that of its statement in statements.yaml, and a word
	Promise string `yaml:"promise"` // what it breaks
	File    string `yaml:"file"`
	From    string `yaml:"from"` // stands in File exactly once
	To      string `yaml:"to"`
	In      string `yaml:"in"`   // the package of the test
	Test    string `yaml:"test"` // a pattern of go test -run
}

func main() {
	only := flag.String("only", "", "run the mutants whose id begins with this")
	limit := flag.Duration("timeout", 3*time.Minute, "of one test")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *only, *limit); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

// run tries every mutant whose id begins with only.
func run(ctx context.Context, only string, limit time.Duration) error {
	all, err := mutants()
	if err != nil {
		return err
	}
	tried, survived := 0, 0
	for _, m := range all {
		if !strings.HasPrefix(m.ID, only) {
			continue
		}
		tried++
		began := time.Now()
		noticed, err := m.try(ctx, limit)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			survived++
			fmt.Printf("UNTRIED   %-26s %v\n", m.ID, err)
		case noticed:
			fmt.Printf("noticed   %-26s %-76s %5.1f s\n", m.ID, m.Promise, time.Since(began).Seconds())
		default:
			survived++
			fmt.Printf("SURVIVED  %-26s %-76s %s in %s passes\n", m.ID, m.Promise, m.Test, m.In)
		}
	}
	fmt.Printf("%d passed, %d failed\n", tried-survived, survived)
	if survived > 0 || tried == 0 {
		return fmt.Errorf("%d of %d survived or could not be tried", survived, tried)
	}
	return nil
}

func mutants() (all []mutant, err error) {
	if err := yaml.UnmarshalWithOptions(list, &all, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("mutants.yaml: %w", err)
	}
	return all, nil
}

// broken returns the file of m with its one place changed. root is the folder of the module.
func (m mutant) broken(root string) ([]byte, error) {
	source, err := os.ReadFile(filepath.Join(root, m.File))
	if err != nil {
		return nil, err
	}
	if n := bytes.Count(source, []byte(m.From)); n != 1 {
		return nil, fmt.Errorf("%q stands %d times in %s, want once", m.From, n, m.File)
	}
	return bytes.Replace(source, []byte(m.From), []byte(m.To), 1), nil
}

// try runs the test of m on the broken program and reports whether it failed, as it should.
func (m mutant) try(ctx context.Context, limit time.Duration) (noticed bool, err error) {
	root, err := os.Getwd()
	if err != nil {
		return false, err
	}
	source, err := m.broken(root)
	if err != nil {
		return false, err
	}
	dir, err := os.MkdirTemp("", "mutant-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	file, overlay := filepath.Join(dir, "broken.go"), filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(root, m.File): file}})
	if err != nil {
		return false, err
	}
	if err := errors.Join(os.WriteFile(file, source, 0o600), os.WriteFile(overlay, replace, 0o600)); err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, limit+time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "test", "-overlay", overlay, "-count=1", "-timeout", limit.String(), "-run", m.Test, m.In)
	out, err := cmd.CombinedOutput()
	switch exit, failed := errors.AsType[*exec.ExitError](err); {
	case bytes.Contains(out, []byte("[build failed]")), bytes.Contains(out, []byte("[setup failed]")):
		return false, fmt.Errorf("the mutant does not compile:\n%s", out)
	case err == nil && bytes.Contains(out, []byte("no tests to run")):
		return false, fmt.Errorf("no test in %s is called %s", m.In, m.Test)
	case err == nil:
		return false, nil
	case failed && exit.ExitCode() == 1 && ctx.Err() == nil:
		return true, nil // a failed assertion, a panic, or go test's own time limit
	}
	return false, fmt.Errorf("go test: %w\n%s", err, out)
}
