package main

import (
	"flag"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// That the tests notice takes minutes and is shown by `make mutants`. That every mutant still can be made, and still has a
// test, is cheap.
func TestEveryMutantCanBeMadeAndHasATest(t *testing.T) {
	const root = "../.."
	all, err := mutants()
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, m := range all {
		if m.ID == "" || ids[m.ID] || m.Promise == "" || m.To == m.From {
			t.Errorf("the mutant %q has no id of its own, no promise, or changes nothing", m.ID)
		}
		ids[m.ID] = true
		source, err := m.broken(root)
		if err != nil {
			t.Errorf("%s: %v", m.ID, err)
			continue
		}
		if _, err := parser.ParseFile(token.NewFileSet(), m.File, source, 0); err != nil {
			t.Errorf("%s is no Go any more: %v", m.ID, err)
		}
		name, _, _ := strings.Cut(strings.Trim(m.Test, "^$"), "/")
		if !hasTest(t, filepath.Join(root, m.In), name) {
			t.Errorf("%s: there is no %s in %s", m.ID, name, m.In)
		}
	}
}

var update = flag.Bool("update", false, "write docs/reference/security-tests.md anew")

// statement is something that must hold.
type statement struct {
	ID     string `yaml:"id"`
	Source string `yaml:"source"`
	Says   string `yaml:"says"`
}

// group is statements of one kind.
type group struct {
	Title      string      `yaml:"title"`
	Statements []statement `yaml:"statements"`
}

// docs/reference/security-tests.md is written from the statements and the mutants: who changes one changes it too, with
// go test -update.
func TestEveryStatementHasAMutantAndThePageNamesItsTest(t *testing.T) {
	all, err := mutants()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("statements.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var groups []group
	if err := yaml.UnmarshalWithOptions(text, &groups, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	known := map[string][]mutant{} // by statement
	for _, g := range groups {
		for _, s := range g.Statements {
			if _, ok := known[s.ID]; ok || s.Source == "" || s.Says == "" {
				t.Errorf("the statement %q is there twice, or has no source or words", s.ID)
			}
			known[s.ID] = nil
		}
	}
	for _, m := range all {
		id := m.ID
		for !has(known, id) && id != "" {
			id = id[:max(strings.LastIndexByte(id, '-'), 0)]
		}
		if id == "" {
			t.Errorf("the mutant %s breaks no statement of statements.yaml", m.ID)
			continue
		}
		known[id] = append(known[id], m)
	}
	for id, of := range known {
		if len(of) == 0 {
			t.Errorf("no mutant breaks %s, so nothing shows that a test would notice", id)
		}
	}
	name := filepath.Join("..", "..", "docs", "reference", "security-tests.md")
	want := page(groups, known)
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/reference/security-tests.md is not what the lists say; run go test ./scripts/mutants -update, and read the difference")
	}
}

func has(known map[string][]mutant, id string) bool {
	_, ok := known[id]
	return ok
}

func page(groups []group, known map[string][]mutant) string {
	var b strings.Builder
	b.WriteString(`# What the tests show

Written by ` + "`go test ./scripts/mutants -update`" + ` from ` + "`scripts/mutants/statements.yaml`" + ` and ` + "`mutants.yaml`" + `: change those, not this page.

Each row is a program that is broken in one place, and the test that must fail on it. ` + "`make mutants`" + ` runs them all,
` + "`go run ./scripts/mutants -only O6`" + ` those of one statement. A statement without a broken program is an error, and so is one
without its test. Incidents of reverse proxies are not here: Behalf forwards no requests yet.
`)
	for _, g := range groups {
		fmt.Fprintf(&b, "\n## %s\n", g.Title)
		for _, s := range g.Statements {
			fmt.Fprintf(&b, "\n**%s** (%s). %s\n\n| broken | so that this does not hold | noticed by |\n| --- | --- | --- |\n", s.ID, s.Source, s.Says)
			for _, m := range known[s.ID] {
				fmt.Fprintf(&b, "| `%s` | %s | `%s` in `%s` |\n", m.ID, m.Promise, strings.Trim(m.Test, "^$"), strings.TrimPrefix(m.In, "./"))
			}
		}
	}
	return b.String()
}

func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "func "+strings.TrimSuffix(name, "$")+"(") {
			return true
		}
	}
	return false
}
