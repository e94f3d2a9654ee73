package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/behalf-project/behalf/config"
	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/datamodel/jsmodel"
	"github.com/behalf-project/behalf/internal/hooks"
)

// root is the folder of the repository.
const root = "../.."

// documents returns the texts that people read, by their path from the root.
func documents(t *testing.T) map[string]string {
	t.Helper()
	docs := map[string]string{}
	read := func(name string) {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		docs[filepath.ToSlash(name)] = string(text)
	}
	read("README.md")
	if err := filepath.WalkDir(filepath.Join(root, "docs"), func(name string, entry fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(name, ".md") {
			rel, _ := filepath.Rel(root, name)
			read(rel)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if len(docs) < 5 {
		t.Fatalf("only %d documents found", len(docs))
	}
	return docs
}

// block is a fenced block of a document.
type block struct{ name, language, text string }

var fence = regexp.MustCompile("(?ms)^([ ]*)```([a-z]*)\n(.*?)^[ ]*```$")

func blocks(t *testing.T, languages ...string) []block {
	t.Helper()
	var found []block
	for name, text := range documents(t) {
		for _, at := range fence.FindAllStringSubmatchIndex(text, -1) {
			indent, language, inside := text[at[2]:at[3]], text[at[4]:at[5]], text[at[6]:at[7]]
			for _, want := range languages {
				if language == want {
					line := 1 + strings.Count(text[:at[0]], "\n")
					found = append(found, block{fmt.Sprintf("%s:%d", name, line), language, strings.ReplaceAll("\n"+inside, "\n"+indent, "\n")[1:]})
				}
			}
		}
	}
	if len(found) == 0 {
		t.Fatalf("no block of %v found", languages)
	}
	return found
}

// words splits a line as a shell does, as far as the documents need it.
func words(line string) (out []string) {
	for _, m := range regexp.MustCompile(`"([^"]*)"|'([^']*)'|([^\s"']+)`).FindAllStringSubmatch(line, -1) {
		out = append(out, m[1]+m[2]+m[3])
	}
	return out
}

func TestCommandsInTheDocumentsExist(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blocks(t, "sh") {
		t.Run(b.name, func(t *testing.T) {
			var environ []string
			for line := range strings.SplitSeq(strings.ReplaceAll(b.text, "\\\n", " "), "\n") {
				switch args := words(line); {
				case len(args) == 0, strings.HasPrefix(args[0], "#"):
				case args[0] == "export":
					name, value, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
					environ = append(environ, name+"="+strings.Trim(value, `"`))
				case args[0] == "behalf":
					if i := slices.Index(args, ">"); i >= 0 { // the shell's
						args = args[:i]
					}
					parser := newParser(t.Context(), streams{strings.NewReader(""), t.Output(), t.Output()}, func(int) {})
					if _, err := parser.Parse(args[1:]); err != nil {
						t.Errorf("%s: %v", line, err)
					}
				case args[0] == "make":
					for _, target := range args[1:] {
						if !strings.Contains(target, "=") && !regexp.MustCompile(`(?m)^`+target+`:`).Match(makefile) {
							t.Errorf("%s: the Makefile has no target %s", line, target)
						}
					}
				case strings.HasPrefix(line, "cd ") && strings.HasSuffix(line, "&& go run ."):
					if _, err := os.Stat(filepath.Join(root, args[1], "main.go")); err != nil {
						t.Errorf("%s: %v", line, err)
					}
				case args[0] == "curl": // TestTheQueryOfTheREADME
				default:
					t.Errorf("%s: this test does not know the command", line)
				}
			}
			if len(environ) == 0 {
				return
			}
			cfg, err := config.Load(config.Options{Environ: environ})
			if err != nil {
				t.Errorf("these variables do not start a server: %v", err)
			}
			if len(cfg.Unused) > 0 {
				t.Errorf("these variables have no effect: %v", cfg.Unused)
			}
		})
	}
}

func TestConfigurationsInTheDocumentsLoad(t *testing.T) {
	secret := regexp.MustCompile(`\{(env|file): ([^}]+)\}`)
	for _, b := range blocks(t, "yaml") {
		t.Run(b.name, func(t *testing.T) {
			if strings.HasPrefix(b.text, "cubes:") { // a data model
				if _, err := askedBySomebody().Load(t.Context(), fstest.MapFS{"model.yml": {Data: []byte(b.text)}}); err != nil {
					t.Error(err)
				}
				return
			}
			dir := t.TempDir()
			var environ []string
			for _, m := range secret.FindAllStringSubmatch(b.text, -1) {
				if m[1] == "env" {
					environ = append(environ, m[2]+"=dummy-of-the-test")
				} else if err := os.WriteFile(filepath.Join(dir, m[2]), []byte("dummy-of-the-test"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			name := filepath.Join(dir, "behalf.yaml")
			if err := os.WriteFile(name, []byte(b.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := config.Load(config.Options{Path: name, Environ: environ}); err != nil {
				t.Error(err)
			}
		})
	}
}

// askedBySomebody is a compilation for somebody of a tenant.
func askedBySomebody() *datamodel.Compilation {
	return &datamodel.Compilation{ByAppID: true, Asker: map[string]any{"securityContext": map[string]any{"tenant": "acme", "audit": true}}}
}

func TestScriptsInTheDocumentsLoad(t *testing.T) {
	for _, b := range blocks(t, "javascript") {
		t.Run(b.name, func(t *testing.T) {
			if strings.Contains(b.text, "module.exports") { // a cube.js
				h, err := hooks.Load(t.Context(), hooks.Config{Files: map[string]string{hooks.File: b.text}})
				if err != nil || len(h.Notices) > 0 {
					t.Error(h, err)
				}
				return
			}
			files := fstest.MapFS{
				"model.js":    {Data: []byte(b.text)},
				"statuses.js": {Data: []byte("export const statuses = ['new', 'done']")},
				"users.yml":   {Data: []byte("cubes: [{name: users, sql_table: users, dimensions: [{name: id, sql: id, type: number, primary_key: true}]}]")},
			}
			if _, err := askedBySomebody().Load(t.Context(), files, jsmodel.New(jsmodel.Config{})); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestJSONInTheDocumentsIsJSON(t *testing.T) {
	for _, b := range blocks(t, "json") {
		if !json.Valid([]byte(b.text)) {
			t.Errorf("%s is no JSON:\n%s", b.name, b.text)
		}
	}
}

// anchor returns the name that a heading has in links.
func anchor(heading string) string {
	heading = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(heading), "")
	return strings.ReplaceAll(strings.TrimSpace(heading), " ", "-")
}

func TestLinksInTheDocumentsLead(t *testing.T) {
	docs := documents(t)
	anchors := map[string]map[string]bool{}
	prose := map[string]string{}
	for name, text := range docs {
		prose[name] = fence.ReplaceAllString(text, "")
		anchors[name] = map[string]bool{}
		for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(prose[name], -1) {
			anchors[name][anchor(m[1])] = true
		}
	}
	for name, text := range prose {
		for _, m := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			file, section, _ := strings.Cut(m[1], "#")
			target := name
			if file != "" {
				target = path.Join(path.Dir(name), file)
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s links to %s, which is not there", name, m[1])
			} else if section != "" && !anchors[target][section] {
				t.Errorf("%s links to %s, which has no such section", name, m[1])
			}
		}
	}
}

func TestTheDemoCountsWhatTheREADMESays(t *testing.T) {
	code, out, errs := command(t, "", "demo", "--once", "--port", fmt.Sprint(freePort(t)))
	if code != 0 {
		t.Fatalf("exit %d\n%s\n%s", code, out, errs)
	}
	readme := documents(t)["README.md"]
	for _, tt := range []struct{ pattern, says string }{
		{`alice at Databricks +→ ([0-9 ]+) orders in EMEA`, "her %s orders, all EMEA"},
		{`bob +at Databricks +→ ([0-9 ]+) orders in AMER`, "his %s orders, all AMER"},
	} {
		m := regexp.MustCompile(tt.pattern).FindStringSubmatch(out)
		if m == nil {
			t.Errorf("the story does not say %q:\n%s", tt.pattern, out)
		} else if want := fmt.Sprintf(tt.says, m[1]); !strings.Contains(readme, want) {
			t.Errorf("the README does not say %q, as the story does", want)
		}
	}
}

func TestTheQueryOfTheREADME(t *testing.T) {
	w := newWorld(t, worldConfig{})
	w.connect(w.alice, "databricks")
	ran := 0
	for _, b := range blocks(t, "sh") {
		if !strings.HasPrefix(b.text, "curl ") || !strings.Contains(b.text, "$TOKEN") {
			continue
		}
		ran++
		cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", b.text)
		cmd.Env = append(os.Environ(), "BEHALF="+w.base, "TOKEN="+w.sign("alice"))
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", b.name, err)
		}
		var got loaded
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%s printed %q: %v", b.name, out, err)
		}
		if err := ranAs(got, "user", "alice"); err != nil {
			t.Errorf("%s: %v", b.name, err)
		}
	}
	if ran == 0 {
		t.Error("the README has no curl to try")
	}
}

// The command that hands a script its token, with the token of ours that another page tells how to make.
func TestTheHandOutOfTheDocuments(t *testing.T) {
	w := newWorld(t, worldConfig{})
	w.connect(w.alice, "databricks")
	var made struct{ Token string }
	w.must(w.alice.call(t.Context(), http.MethodPost, "/api/v1/tokens", map[string]any{"name": "script", "scopes": []string{"token:databricks"}}, &made))
	ran := 0
	for _, b := range blocks(t, "sh") {
		if !strings.HasPrefix(b.text, "curl ") || !strings.Contains(b.text, "$BEHALF_CLI_TOKEN") {
			continue
		}
		ran++
		cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", strings.ReplaceAll(b.text, "https://behalf.example.com", w.base))
		cmd.Env = append(os.Environ(), "BEHALF_CLI_TOKEN="+made.Token)
		out, err := cmd.Output()
		var got struct {
			AccessToken string `json:"access_token"`
			TokenType   string `json:"token_type"`
		}
		if err != nil || json.Unmarshal(out, &got) != nil || got.AccessToken == "" || got.TokenType != "Bearer" {
			t.Errorf("%s: %v, want a token", b.name, err)
		}
	}
	if ran == 0 {
		t.Error("no document shows how to be handed a token")
	}
}
