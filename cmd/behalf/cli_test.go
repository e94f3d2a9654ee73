package main

import (
	"context"
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/secret"
)

// press fills the form of a page with these fields and sends it.
func (w *world) press(b *browser, page answer, fields map[string]string) answer {
	w.t.Helper()
	action := formAction.FindSubmatch(page.body)
	if action == nil {
		w.t.Fatalf("a page that answered %d has no form: %s", page.status, plainText(page.body))
	}
	form := url.Values{}
	for _, field := range formHidden.FindAllSubmatch(page.body, -1) {
		form.Set(html.UnescapeString(string(field[1])), html.UnescapeString(string(field[2])))
	}
	for name, value := range fields {
		form.Set(name, value)
	}
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Sec-Fetch-Site": {"same-origin"}}
	pressed, err := b.do(w.t.Context(), http.MethodPost, html.UnescapeString(string(action[1])), header, strings.NewReader(form.Encode()))
	w.must(err)
	return pressed
}

// login runs behalf login and lets a person answer in their browser. It returns the exit code and what was said.
func (w *world) login(b *browser, answer string, args ...string) (int, string) {
	w.t.Helper()
	var out, errs buffer
	done := make(chan int, 1)
	go func() {
		done <- run(w.t.Context(), append([]string{"login"}, args...), streams{strings.NewReader(""), &out, &errs})
	}()
	code := regexp.MustCompile(`type the code ([A-Z-]{9})`)
	eventually(w.t, "the code is shown", func() bool { return code.MatchString(errs.String()) || len(done) > 0 })
	if m := code.FindStringSubmatch(errs.String()); m != nil {
		asked := w.press(b, w.get(b, "/device"), map[string]string{"user_code": m[1]})
		w.press(b, asked, map[string]string{"answer": answer})
	}
	select {
	case n := <-done:
		if out.String() != "" {
			w.t.Errorf("login wrote %q to standard output", out.String())
		}
		return n, errs.String()
	case <-time.After(30 * time.Second):
		w.t.Fatalf("login does not end: %s", errs.String())
		return 0, ""
	}
}

func TestTheCommandLineFromSignInToSignOut(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	t.Setenv("HOME", dir)
	onBoth(t, worldConfig{}, func(t *testing.T, w *world) {
		// expect runs a command and checks its exit code, and what it says to whom.
		expect := func(code int, out, errs string, args ...string) (stdout string) {
			t.Helper()
			n, o, e := command(t, "", args...)
			if n != code || !strings.Contains(o, out) || !strings.Contains(e, errs) {
				t.Errorf("behalf %s = exit %d, %q, %q; want %d, %q, %q", strings.Join(args, " "), n, o, e, code, out, errs)
			}
			return o
		}
		expect(exitSignIn, "", "You are not signed in", "whoami")
		expect(exitUsage, "", "Which server?", "login")
		expect(exitInvalid, "", "not https", "login", "http://behalf.example.com")
		expect(exitInvalid, "", "did you mean https://behalf.example.com?", "login", "behalf.example.com/")
		expect(exitUnreachable, "", "does not answer", "login", "http://127.0.0.1:1")

		if code, said := w.login(w.alice, "deny", w.base); code != exitDenied || !strings.Contains(said, "denied in the browser") {
			t.Errorf("a denied sign-in = exit %d, %q", code, said)
		}
		if code, said := w.login(w.alice, "allow", w.base); code != 0 || !strings.Contains(said, "You are alice") {
			t.Fatalf("sign-in = exit %d, %q", code, said)
		}
		file := filepath.Join(dir, "behalf", "contexts.json")
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the file of tokens is %v, %v, want mode 0600", info, err)
		}
		expect(0, w.base, "", "whoami")
		expect(exitSignIn, "", "You are signed in to: localhost:", "whoami", "--context", "nowhere")
		expect(0, "not_connected", "", "connect", "list")
		expect(exitDenied, "", "behalf login --app", "connect", "token", "databricks")

		if code, said := w.login(w.alice, "allow", w.base, "--app", "databricks"); code != 0 {
			t.Fatalf("sign-in with an app = exit %d, %q", code, said)
		}
		expect(exitSignIn, "", "/connect/databricks", "connect", "token", "databricks")
		page := strings.TrimSpace(expect(0, w.base+"/connect/databricks?session=", "Open this address", "connect", "databricks"))
		if u, err := url.Parse(page); err != nil || u.Query().Get("session") == "" {
			t.Errorf("connect printed %q, want the address alone", page)
		}
		w.connect(w.alice, "databricks")
		expect(0, "active", "", "connect", "status", "databricks")
		token := expect(0, "", "", "connect", "token", "databricks", "--min-life", "5m")
		if strings.Count(token, "\n") != 1 || len(token) < 20 {
			t.Errorf("connect token printed %d lines, want the token alone", strings.Count(token, "\n"))
		}
		var out struct {
			AccessToken string `json:"access_token"`
			Status      string
		}
		if err := json.Unmarshal([]byte(expect(0, "", "", "connect", "token", "databricks", "-o", "json")), &out); err != nil || out.AccessToken+"\n" != token || out.Status != "active" {
			t.Errorf("connect token -o json: %v, status %q, want the same token", err, out.Status)
		}
		expect(exitConflict, "", "min_life_unavailable", "connect", "token", "databricks", "--min-life", "100h")
		token = expect(0, "", "", "connect", "token", "databricks") // asking for more than there is brought a fresh one
		expect(exitNotFound, "", "behalf connect list", "connect", "status", "nothing")
		expect(exitDenied, "", `"code":"insufficient_scope"`, "connect", "token", "snowflake", "-o", "json")

		// A token for a script, which works without the file.
		script := strings.TrimSpace(expect(0, "bhf_pat_", "It is shown this once", "tokens", "create", "nightly", "-s", "token:databricks", "--days", "7"))
		expect(exitDenied, "", "insufficient_scope", "tokens", "create", "more", "-s", "token:snowflake")
		expect(exitUsage, "", `There is no scope "everything"`, "tokens", "create", "wrong", "-s", "everything")
		expect(exitUsage, "", "--days", "tokens", "create", "never", "-s", "account", "--days=-1")
		expect(exitUsage, "", "--min-life", "connect", "token", "databricks", "--min-life=-5m")
		expect(exitNotFound, "", "behalf tokens list", "tokens", "revoke", "nightly")
		known, err := openContexts()
		w.must(err)
		for _, value := range []string{script, known.Servers[known.Current].Token} { // the end of this world looks for them
			w.evidence.own.add("token of ours", secret.New(value))
		}
		list := expect(0, "nightly", "", "tokens", "list")
		if strings.Contains(list, script) {
			t.Error("the list shows a token")
		}
		t.Setenv("BEHALF_CLI_URL", w.base)
		t.Setenv("BEHALF_CLI_TOKEN", script)
		if again := expect(0, "", "", "connect", "token", "databricks"); again != token {
			t.Error("the script is handed another token than alice")
		}
		expect(exitDenied, "", "insufficient_scope", "connect", "list")
		t.Setenv("BEHALF_CLI_TOKEN", "")
		id := regexp.MustCompile(`tok_\w+`).FindString(list[strings.Index(list, "\n"):])
		expect(0, "", "is revoked", "tokens", "revoke", id)
		t.Setenv("BEHALF_CLI_TOKEN", script)
		expect(exitSignIn, "", "invalid_token", "connect", "token", "databricks")
		if code, _, said := command(t, script, "login", w.base, "--token-stdin", "--context", "dead"); code != exitSignIn {
			t.Errorf("signing in with a revoked token = exit %d, %q", code, said)
		}
		t.Setenv("BEHALF_CLI_TOKEN", "")

		expect(0, "", "is revoked", "connect", "revoke", "databricks")
		expect(0, "not_connected", "", "connect", "status", "databricks")
		kept, err := os.ReadFile(file)
		w.must(err)
		expect(0, "", "Signed out", "logout")
		expect(exitSignIn, "", "You are not signed in", "whoami")
		w.must(os.WriteFile(file, kept, 0o600)) // whoever had copied it has nothing
		expect(exitSignIn, "", "revoked", "whoami")
		w.must(os.Remove(file))
	})
}

// A server, a provider and whoever wrote a file may be somebody who means harm: the terminal shows what they wrote, and
// does not obey it.
func TestWhatOthersWroteDoesNotRunOnTheTerminal(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	const attack = "\x1b[2J\x1b]0;x\x07\u009b2J\u202eVerified"
	body := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	refuse := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case refuse:
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, body(map[string]any{"code": "x", "detail": attack, "actions": []any{map[string]string{"href": attack, "label": attack}}}))
		case r.URL.Path == "/api/v1/auth/device":
			_, _ = io.WriteString(w, body(map[string]any{"device_code": "d", "user_code": attack, "verification_uri": attack, "expires_in": 60, "interval": 1}))
		case r.URL.Path == "/api/v1/auth/token":
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, body(map[string]any{"error": "invalid_grant", "error_description": attack}))
		case r.URL.Path == "/api/v1/tokens":
			_, _ = io.WriteString(w, body(map[string]any{"items": []any{map[string]any{"id": "tok_1", "name": attack, "scopes": []string{attack}}}}))
		case r.URL.Path == "/api/v1/connected-apps":
			_, _ = io.WriteString(w, body(map[string]any{"items": []any{map[string]any{"app": "a", "status": "active", "account": attack, "reason": attack}}}))
		case r.URL.Path == "/api/v1/connected-apps/a/authorize":
			_, _ = io.WriteString(w, body(map[string]any{"authorize_url": attack, "session": "con_1"}))
		default:
			_, _ = io.WriteString(w, body(map[string]any{"username": attack, "name": attack}))
		}
	}))
	defer server.Close()
	export := filepath.Join(t.TempDir(), "export.jsonl")
	record := audit.Head{Writer: "w" + attack}.Next(audit.Entry{ID: "adt_" + attack, At: time.UnixMilli(1).UTC(), Action: audit.GrantRevoked})
	record.Outcome = "changed"
	line, err := record.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(export, append(line, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	check := func(in string, args ...string) {
		t.Helper()
		_, out, errs := command(t, in, args...)
		if said := out + errs; strings.ContainsAny(said, "\x1b\x07\u009b\u202e") || !strings.Contains(said, "Verified") {
			t.Errorf("behalf %s prints %q, want the attack quoted", strings.Join(args, " "), said)
		}
	}
	check("", "audit", "verify", "--file", export)
	check("", "login", server.URL)
	check("token", "login", server.URL, "--token-stdin")
	check("", "whoami")
	check("", "tokens", "list")
	check("", "connect", "list")
	check("", "connect", "a")
	refuse = true
	check("", "tokens", "list")
	check("token", "login", server.URL, "--token-stdin")
}

// TestATokenWithoutItsServerIsNoReasonToBeSomebodyElse: the file holds whoever signed in on this machine.
func TestATokenWithoutItsServerIsNoReasonToBeSomebodyElse(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		_, _ = io.WriteString(w, `{"username": "alice"}`)
	}))
	defer server.Close()
	if code, _, errs := command(t, "token", "login", server.URL, "--token-stdin"); code != 0 {
		t.Fatalf("sign-in = exit %d, %s", code, errs)
	}
	t.Setenv("BEHALF_CLI_TOKEN", "bhf_pat_of_bob")
	if code, _, errs := command(t, "", "whoami"); code != exitUsage || !strings.Contains(errs, "BEHALF_CLI_URL") || asked != 1 {
		t.Errorf("whoami = exit %d, %q, after %d calls; want it to ask for the server, and no call as alice", code, errs, asked)
	}
	if code, out, _ := command(t, "", "whoami", "--context", strings.TrimPrefix(server.URL, "http://")); code != 0 || !strings.Contains(out, "alice") {
		t.Errorf("whoami --context = exit %d, %q, want alice, who was asked for", code, out)
	}
}

// TestOnlyPagesOfTheWebAreOpened: what opens a page opens a program or a file just as well, and a server named it.
func TestOnlyPagesOfTheWebAreOpened(t *testing.T) {
	var opened []string
	defer func(was func(string) error) { openPage = was }(openPage)
	openPage = func(page string) error { opened = append(opened, page); return nil }
	terminal := aTerminal(t)
	for _, page := range []string{
		`C:\Windows\System32\calc.exe`, `\\evil.example.com\share\run.exe`, "file:///etc/passwd", "/System/Applications/Calculator.app", "-aCalculator",
		"javascript:alert(1)", "ms-msdt:/id", "http://evil.example.com/", "https://user@evil.example.com/", "https://behalf.example.com/device?user_code=BCDF-GHJK", "http://127.0.0.1:4000/device", "",
	} {
		openBrowser(streams{Err: terminal}, page)
	}
	if want := []string{"https://behalf.example.com/device?user_code=BCDF-GHJK", "http://127.0.0.1:4000/device"}; !slices.Equal(opened, want) {
		t.Errorf("opened %q, want %q", opened, want)
	}
}

func TestConnectWaitsUntilThePersonIsDone(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	w := newWorld(t, worldConfig{})
	if code, said := w.login(w.alice, "allow", w.base); code != 0 {
		t.Fatalf("sign-in = exit %d, %q", code, said)
	}
	var out, errs buffer
	done := make(chan int, 1)
	go func() {
		done <- run(context.WithoutCancel(t.Context()), []string{"connect", "databricks", "--wait"}, streams{strings.NewReader(""), &out, &errs})
	}()
	eventually(t, "the address is printed", func() bool { return strings.Contains(out.String(), "session=") })
	page := strings.TrimSpace(out.String())
	pressed := w.press(w.alice, w.get(w.alice, page), nil)
	back, err := w.box.IdP.SignIn(t.Context(), pressed.header.Get("Location"), "alice")
	w.must(err)
	w.get(w.alice, back.String())
	select {
	case code := <-done:
		if code != 0 || !strings.Contains(errs.String(), "databricks is connected") {
			t.Errorf("connect --wait = exit %d, %q", code, errs.String())
		}
	case <-time.After(20 * time.Second):
		t.Error("connect --wait does not end")
	}
}
