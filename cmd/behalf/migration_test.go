package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/behalf-project/behalf/internal/sqlstore/postgrestest"
)

// TestTheStepsOfAMigration takes every step of docs/how-to/migrate-from-cube.md, in order, with the example project and a
// real Postgres that has its rows. What a command prints must be what the page shows.
func TestTheStepsOfAMigration(t *testing.T) {
	project := filepath.Join(t.TempDir(), "shop")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.CopyFS(project, os.DirFS(filepath.Join(root, "examples/cube-project"))))
	modules, err := filepath.Abs(filepath.Join(root, "internal/sandbox/cubeclient/node_modules"))
	must(err)
	database, err := url.Parse(postgrestest.URL(t))
	must(err)
	rows, err := os.ReadFile(filepath.Join(project, "data.sql"))
	must(err)
	db, err := pgx.Connect(t.Context(), database.String())
	must(err)
	_, err = db.PgConn().Exec(t.Context(), string(rows)).ReadAll()
	must(err)
	must(db.Close(t.Context()))
	old := httptest.NewServer(http.HandlerFunc(oldServer))
	defer old.Close()

	// What the page calls by names that its readers replace, and what it is here.
	port, password := strconv.Itoa(freePort(t)), ""
	if p, ok := database.User.Password(); ok {
		password = p
	}
	here := strings.NewReplacer(
		"http://cube.internal:4000", old.URL, "localhost:4000", "localhost:"+port, "https://login.example.com", startSandbox(t).IssuerURL,
		"CUBEJS_DB_HOST=localhost", "CUBEJS_DB_HOST="+database.Hostname(), "CUBEJS_DB_PORT=5432", "CUBEJS_DB_PORT="+database.Port(),
		"CUBEJS_DB_NAME=shop", "CUBEJS_DB_NAME="+database.Path[1:], "CUBEJS_DB_USER=reporting", "CUBEJS_DB_USER="+database.User.Username(),
		"password_of_the_service_account", password,
		`host: localhost, port: "5432", database: shop`, fmt.Sprintf("host: %q, port: %q, database: %q", database.Hostname(), database.Port(), database.Path[1:]),
		"user: reporting", "user: "+database.User.Username(),
	)
	env, err := os.ReadFile(filepath.Join(project, ".env"))
	must(err)
	must(os.WriteFile(filepath.Join(project, ".env"), []byte(here.Replace(string(env))), 0o600))
	before := filesIn(t, project)
	must(os.Symlink(modules, filepath.Join(project, "client/node_modules"))) // what npm install does

	s := newShell(t, project, "PORT="+port, "BEHALF_SERVER_ADMIN_LISTEN=off", "BEHALF_API_CONTINUE_WAIT=90s")
	served := 0
	for _, b := range blocks(t, "console", "yaml") {
		if !strings.HasPrefix(b.name, "docs/how-to/migrate-from-cube.md") {
			continue
		}
		if b.language == "yaml" {
			must(os.WriteFile(filepath.Join(project, "behalf.yaml"), []byte(here.Replace(b.text)), 0o600))
			continue
		}
		for _, step := range steps(b.text) {
			shown := printed(here.Replace(step.shows))
			if step.command == "behalf serve" {
				s.serve(b.name, shown)
				served++
				continue
			}
			if step.command == "mv .env.cube .env" {
				s.end() // as the page says before it
			}
			if out, code := s.run(here.Replace(step.command)); code != 0 || !shown.MatchString(out) {
				t.Fatalf("%s: %s\nprinted (exit code %d)\n%s\nthe page shows\n%s", b.name, step.command, code, out, step.shows)
			}
		}
	}
	if served != 3 {
		t.Errorf("the page starts the server %d times, want 3", served)
	}
	must(os.Remove(filepath.Join(project, "client/node_modules")))
	if after := filesIn(t, project); after != before {
		t.Errorf("at the end the project is not what it was:\n%s\nwant\n%s", after, before)
	}
}

// oldServer stands for the server that is left. It answers the query of the page as Cube 1.7 does at a Postgres
// (cube-rest-api.md §5.4, §10.1).
func oldServer(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/cubejs-api/v1/load" || r.Header.Get("Authorization") == "" {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"query":{"measures":["orders.total","orders.count"],"dimensions":["customers.country"],"timezone":"UTC","limit":10000,"rowLimit":10000},`+
		`"lastRefreshTime":"2026-03-05T09:30:00.512Z","annotation":{},"dataSource":"default","dbType":"postgres","external":false,"slowQuery":false,"data":[`+
		`{"customers.country":"France","orders.total":"100.00","orders.count":"1"},{"customers.country":"Germany","orders.total":"61.50","orders.count":"3"},`+
		`{"customers.country":"Elsewhere","orders.total":"7.00","orders.count":"1"}]}`)
}

// filesIn returns the names and texts of the files of a folder.
func filesIn(t *testing.T, folder string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(folder, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		fmt.Fprintf(&all, "%s:\n%s\n", strings.TrimPrefix(path, folder), text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// step is a command of a page, and what the page shows that it prints.
type step struct{ command, shows string }

// steps returns the steps of a block of the language console.
func steps(text string) (all []step) {
	for line := range strings.Lines(text) {
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			all = append(all, step{command: strings.TrimSpace(command)})
		} else if len(all) > 0 {
			all[len(all)-1].shows += line
		}
	}
	return all
}

// printed matches what a page shows, in which … stands for anything.
func printed(shows string) *regexp.Regexp {
	pattern := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(shows)), "…", "(?s:.*?)")
	return regexp.MustCompile(`\A\s*` + pattern + `\s*\z`)
}

// shell is a bash in which commands run one after the other, as in a terminal. behalf is this test binary.
type shell struct {
	t       *testing.T
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	log     string // file with what the server that runs has printed
	serving bool
}

func newShell(t *testing.T, folder string, environ ...string) *shell {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "behalf"), []byte("#!/bin/sh\n"+asProgram+"=1 exec "+program+" \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 8*time.Minute)
	s := &shell{t: t, cmd: exec.CommandContext(ctx, "bash", "--noprofile", "--norc"), log: filepath.Join(bin, "serve.log")}
	s.cmd.Dir = folder
	s.cmd.Env = append(append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH")), environ...)
	s.cmd.SysProcAttr, s.cmd.WaitDelay = mortal(), 10*time.Second
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.out = bufio.NewReader(out)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.in.Close() // at its end the shell stops the server
		_ = s.cmd.Wait()
		cancel()
	})
	s.run("exec 2>&1; trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT")
	return s
}

// run runs a command and returns what it printed and its exit code.
func (s *shell) run(command string) (out string, code int) {
	s.t.Helper()
	const mark = "--- the end of the command, which returned "
	if _, err := fmt.Fprintf(s.in, "%s\necho \"\n%s$?\"\n", command, mark); err != nil {
		s.t.Fatal(err)
	}
	for {
		line, err := s.out.ReadString('\n')
		if err != nil {
			s.t.Fatalf("the shell ended in %s: %v\n%s", command, err, out)
		}
		if returned, ok := strings.CutPrefix(line, mark); ok {
			code, _ = strconv.Atoi(strings.TrimSpace(returned))
			return out, code
		}
		out += line
	}
}

// serve starts the server in place of the one that runs, and waits until it has printed what the page shows.
func (s *shell) serve(name string, shows *regexp.Regexp) {
	s.t.Helper()
	s.end()
	s.serving = true
	_ = os.Remove(s.log) // of the one before, if there was one
	s.run("behalf serve >" + s.log + " 2>&1 </dev/null & SERVER=$!")
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		text, err := os.ReadFile(s.log)
		if err == nil && shows.Match(text) {
			return
		}
		if out, code := s.run("kill -0 $SERVER"); code != 0 || time.Now().After(deadline) {
			s.t.Fatalf("%s: the server printed %s\n%s, which is not what the page shows", name, text, out)
		}
	}
}

// end stops the server that runs, if one does, in order.
func (s *shell) end() {
	s.t.Helper()
	if !s.serving {
		return
	}
	s.serving = false
	if out, code := s.run("kill $SERVER; wait $SERVER"); code != 0 {
		text, _ := os.ReadFile(s.log)
		s.t.Errorf("the server ended with %d: %s\n%s", code, out, text)
	}
}
