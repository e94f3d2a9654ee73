package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/secret"
)

// aTerminal returns standard error of somebody who sits at this machine, as far as the program can tell.
func aTerminal(t *testing.T) *os.File {
	t.Helper()
	f, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // a character device
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	t.Setenv("SSH_CONNECTION", "")
	t.Setenv("DISPLAY", ":0")
	return f
}

// decide presses a button on the page at address, and returns where the browser is sent: to the program.
func (w *world) decide(b *browser, address, answer string) *url.URL {
	w.t.Helper()
	pressed := w.press(b, w.get(b, address), map[string]string{"answer": answer})
	to, err := url.Parse(pressed.header.Get("Location"))
	if err != nil || pressed.status != http.StatusSeeOther || to.Hostname() != "127.0.0.1" || to.Path != "/callback" {
		w.t.Fatalf("%s answered %d to %q", answer, pressed.status, pressed.header.Get("Location"))
	}
	return to
}

// TestTheProgramSignsInByTheBrowserOfItsMachine is RFC 8252 with the program as a process: it opens the browser, which
// here is a script that tells us the address.
func TestTheProgramSignsInByTheBrowserOfItsMachine(t *testing.T) {
	w := newWorld(t, worldConfig{})
	dir, terminal := t.TempDir(), aTerminal(t)
	opened := filepath.Join(dir, "opened")
	script := "#!/bin/sh\nprintf %s \"$1\" > " + opened + ".part && mv " + opened + ".part " + opened + "\n"
	w.must(os.WriteFile(filepath.Join(dir, "xdg-open"), []byte(script), 0o755))
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("XDG_CONFIG_HOME", dir)
	program, err := os.Executable()
	w.must(err)
	cmd := exec.CommandContext(t.Context(), program, "login", w.base, "--app", "databricks")
	cmd.Env, cmd.Stderr, cmd.SysProcAttr = append(os.Environ(), asProgram+"=1"), terminal, mortal()
	w.must(cmd.Start())
	var address []byte
	eventually(t, "the browser is opened", func() bool { address, err = os.ReadFile(opened); return err == nil })

	asked, err := url.Parse(string(address))
	w.must(err)
	redirect, err := url.Parse(asked.Query().Get("redirect_uri"))
	w.must(err)
	for _, stray := range []string{"/favicon.ico", "/callback", "/callback?code=x", "/callback?code=x&state=wrong"} {
		resp, err := http.Get("http://" + redirect.Host + stray)
		w.must(err)
		resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s without its state is answered %d, want 404", stray, resp.StatusCode)
		}
	}
	back := w.decide(w.alice, string(address), "allow")
	resp, err := http.Get(back.String())
	w.must(err)
	page, err := io.ReadAll(resp.Body)
	w.must(err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || !strings.Contains(string(page), "You are signed in") || !strings.Contains(string(page), "You can close this window") || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("the browser ends on %d %s", resp.StatusCode, plainText(page))
	}
	w.must(cmd.Wait())
	if c, err := net.DialTimeout("tcp", redirect.Host, time.Second); err == nil {
		c.Close()
		t.Error("something still listens after the sign-in")
	}
	if code, out, errs := command(t, "", "whoami"); code != 0 || !strings.Contains(out, "alice") || !strings.Contains(out, "token:databricks") {
		t.Errorf("whoami = exit %d, %q, %q", code, out, errs)
	}
	known, err := openContexts()
	w.must(err)
	w.evidence.own.add("token of ours", secret.New(known.Servers[known.Current].Token))
}

// TestASignInByTheBrowserThatEndsOtherwise: nothing is believed of an answer that is not its server's.
func TestASignInByTheBrowserThatEndsOtherwise(t *testing.T) {
	w := newWorld(t, worldConfig{})
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	streams := streams{strings.NewReader(""), io.Discard, aTerminal(t)}
	defer func(was func(string) error) { openPage = was }(openPage)
	for _, tt := range []struct {
		name string
		code int
		page string
		act  func(address string) *url.URL // of a person, and of whoever is in between
	}{
		{"allowed", 0, "You are signed in", func(address string) *url.URL { return w.decide(w.alice, address, "allow") }},
		{"denied", exitDenied, "You are not signed in", func(address string) *url.URL { return w.decide(w.alice, address, "deny") }},
		{"the answer of another server", exitDenied, "You are not signed in", func(address string) *url.URL {
			return with(w.decide(w.alice, address, "allow"), "iss", "https://evil.example.com")
		}},
		{"the answer of nobody", exitDenied, "You are not signed in", func(address string) *url.URL {
			return with(w.decide(w.alice, address, "allow"), "iss", "")
		}},
		{"the code of somebody else", exitDenied, "You are not signed in", func(address string) *url.URL {
			other, err := url.Parse(address)
			w.must(err)
			theirs := w.decide(w.bob, with(other, "code_challenge", strings.Repeat("x", 43)).String(), "allow") // made for another verifier
			return with(w.decide(w.alice, address, "deny"), "code", theirs.Query().Get("code"), "error", "")
		}},
	} {
		pages := make(chan string, 1)
		openPage = func(address string) error {
			go func() {
				resp, err := http.Get(tt.act(address).String())
				if err != nil {
					pages <- err.Error()
					return
				}
				defer resp.Body.Close()
				text, _ := io.ReadAll(resp.Body)
				pages <- plainText(text)
			}()
			return nil
		}
		code := run(t.Context(), []string{"login", w.base}, streams)
		if page := <-pages; code != tt.code || !strings.Contains(page, tt.page) {
			t.Errorf("%s: exit %d, the browser ends on %q; want %d, %q", tt.name, code, page, tt.code, tt.page)
		}
	}
}

// with is u with some parameters of its query changed; empty ones are left out.
func with(u *url.URL, changes ...string) *url.URL {
	changed, q := *u, u.Query()
	for i := 0; i < len(changes); i += 2 {
		q.Set(changes[i], changes[i+1])
		if changes[i+1] == "" {
			q.Del(changes[i])
		}
	}
	changed.RawQuery = q.Encode()
	return &changed
}

// TestAServerByAnotherName: what it answers could not be told from another server's.
func TestAServerByAnotherName(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	issuer := "https://behalf.example.com"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"issuer": "`+issuer+`"}`)
	}))
	defer server.Close()
	defer func(was func(string) error) { openPage = was }(openPage)
	openPage = func(page string) error { t.Errorf("%s was opened", page); return nil }
	for _, tt := range []struct{ says, want string }{
		{"javascript:alert(1)", "not as a Behalf server does"},
		{issuer, "run: behalf login https://behalf.example.com"},
	} {
		issuer = tt.says
		if err := checkIssuer(t.Context(), server.URL); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("a server that calls itself %s is %v, want %q", tt.says, err, tt.want)
		}
	}
	if code := run(t.Context(), []string{"login", server.URL}, streams{strings.NewReader(""), io.Discard, aTerminal(t)}); code != exitInvalid {
		t.Errorf("signing in there = exit %d, want %d", code, exitInvalid)
	}
}

// TestWhereThereIsNoBrowserACodeIsShown: over SSH, without a display, in a script, and when somebody says so.
func TestWhereThereIsNoBrowserACodeIsShown(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error": "invalid_scope", "error_description": "No."}`)
	}))
	defer server.Close()
	defer func(was func(string) error) { openPage = was }(openPage)
	openPage = func(string) error { return nil }
	terminal := aTerminal(t)
	for _, tt := range []struct {
		name    string
		args    []string
		prepare func(t *testing.T)
		err     io.Writer
		want    string
	}{
		{"at the machine", nil, func(*testing.T) {}, terminal, "/.well-known/oauth-authorization-server"},
		{"--device", []string{"--device"}, func(*testing.T) {}, terminal, "/api/v1/auth/device"},
		{"--no-browser", []string{"--no-browser"}, func(*testing.T) {}, terminal, "/api/v1/auth/device"},
		{"over SSH", nil, func(t *testing.T) { t.Setenv("SSH_CONNECTION", "192.0.2.1 1 192.0.2.2 22") }, terminal, "/api/v1/auth/device"},
		{"without a display", nil, func(t *testing.T) { t.Setenv("DISPLAY", ""); t.Setenv("WAYLAND_DISPLAY", "") }, terminal, "/api/v1/auth/device"},
		{"in a script", nil, func(*testing.T) {}, io.Discard, "/api/v1/auth/device"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.prepare(t)
			asked = nil
			run(t.Context(), append([]string{"login", server.URL}, tt.args...), streams{strings.NewReader(""), io.Discard, tt.err})
			if len(asked) != 1 || asked[0] != tt.want {
				t.Errorf("the server is asked for %q, want %q", asked, tt.want)
			}
		})
	}
}
