package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// buffer is a bytes.Buffer that a running command and the test may use at once.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// command runs the command line to its end and returns the exit code and what it wrote.
func command(t *testing.T, in string, args ...string) (code int, out, errs string) {
	t.Helper()
	var stdout, stderr buffer
	code = run(t.Context(), args, streams{strings.NewReader(in), &stdout, &stderr})
	return code, stdout.String(), stderr.String()
}

// freePort returns a port that nobody listened on a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// inFolder makes an empty folder with these files the working folder.
func inFolder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	return dir
}

func TestTheDemoTellsItsStory(t *testing.T) {
	code, out, errs := command(t, "", "demo", "--once", "--rows", "20000", "--port", fmt.Sprint(freePort(t)))
	if code != 0 || !strings.HasSuffix(out, "The whole story held.\n") {
		t.Errorf("exit %d\n%s\n%s", code, out, errs)
	}
}

func TestTheDemoListensOnLoopbackOnly(t *testing.T) {
	code, _, errs := command(t, "", "demo", "--once", "--host", "0.0.0.0")
	if code != exitInvalid || !strings.Contains(errs, "loopback only") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

func TestTheDemoSaysThatItsPortIsTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	code, _, errs := command(t, "", "demo", "--once", "--rows", "1000", "--port", fmt.Sprint(port))
	if code != exitFailure || !strings.Contains(errs, fmt.Sprintf("behalf demo --port %d", port+1000)) {
		t.Errorf("exit %d: %s", code, errs)
	}
}

func TestMistakesOnTheCommandLine(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		files    map[string]string
		args     []string
		code     int
		want     []string
	}{
		{"a command that does not exist", "", nil, []string{"srve"}, exitUsage, []string{`unexpected argument srve`, "behalf --help"}},
		{"an argument that is missing", "", nil, []string{"connect", "token"}, exitUsage, []string{`expected "<app>"`, "behalf connect token --help"}},
		{"a store that is not there", "", nil, []string{"audit", "tail"}, exitFailure, []string{"There is no store", "--config", "(not_found)"}},
		{"a configuration with two mistakes", "", map[string]string{"b.yaml": "server: {listn: x}\nstore: {url: 5}\n"}, []string{"serve", "--config", "b.yaml"}, exitInvalid,
			[]string{`b.yaml:1:10: unknown key "listn" in server; did you mean "listen"?`, `b.yaml:2:14: store.url must start with sqlite: or postgres://`}},
		{"a configuration that is not there", "", nil, []string{"serve", "--config", "nope.yaml"}, exitInvalid, []string{"nope.yaml: cannot read the configuration"}},
		{"a source with a wrong option", "", map[string]string{"behalf.yaml": "data_sources:\n  - {name: default, type: databricks, options: {hots: x, http_path: /sql/1.0/warehouses/a}}\n"}, []string{"serve"}, exitInvalid,
			[]string{`behalf.yaml:2:5: data source "default": `, "hots"}},
		{"a source that shares by what it cannot tell", "", map[string]string{"behalf.yaml": "data_sources:\n  - {name: default, type: databricks, cache_scope: role, options: {host: x, http_path: /sql/1.0/warehouses/a}}\n"}, []string{"serve"}, exitInvalid,
			[]string{`behalf.yaml:2:5: data source "default": cache_scope: role needs sessions that tell`, "those of databricks cannot; sources of these types can: mysql, postgres, snowflake"}},
		{"a variable that is not set, found by --check", "", map[string]string{"behalf.yaml": "users:\n  - {username: carol, password: {env: HOME_OF_NOBODY}}\n"}, []string{"serve", "--check"}, exitInvalid,
			[]string{`behalf.yaml:2:39: users[0].password: the environment variable HOME_OF_NOBODY is not set`}},
		{"objects that are wrong, found by --check, all at once", "", map[string]string{
			"short": "short", "behalf.yaml": "users:\n  - {username: carol, password: {file: short}}\noauth_apps:\n  - {name: lake, preset: databrick, client_id: x}\ndata_sources:\n  - {name: default, type: databricks, options: {katalog: main}}\n",
		}, []string{"serve", "--check"}, exitInvalid,
			[]string{`behalf.yaml:2:5: User "carol": the password must have 12`, `behalf.yaml:4:5: `, `behalf.yaml:6:5: data source "default": `, "katalog"}},
		{"notices that reach nobody, found by --check", "", map[string]string{
			"behalf.yaml": "notifications:\n  webhooks:\n    - {url: \"http://hooks.example.com/?key=canary\", secret: whsec_short, events: [connection.revokd]}\n" +
				"auth: {magic_link: {smtp: {host: mail.example.com, from: b@example.com, tls: none}}}\n",
		}, []string{"serve", "--check"}, exitInvalid,
			[]string{`behalf.yaml:3:7: the url of a webhook must be https`, "behalf.yaml:3:7: the secret of a webhook: ", "connection.revoked", `tls may be "none" only for a mail server on this machine`}},
		{"a model that does not compile", "", map[string]string{"model/a.yml": "cubes:\n  - name: a\n    sql_tabel: x\n"}, []string{"models", "validate"}, exitInvalid, []string{"a.yml:3:5: ", "sql_table"}},
		{"a model with mistakes in two files", "", map[string]string{"model/a.yml": "cubes:\n  - name: a\n    sql_tabel: x\n", "model/b.yml": "cube: x\n"}, []string{"models", "validate"}, exitInvalid,
			[]string{"a.yml:3:5: ", "a.yml:2:11: ", "b.yml:1:1: Unexpected YAML key: cube", "3 problems, in 2 of the files."}},
		{"a model in JavaScript that does not compile", "", map[string]string{"model/a.js": "cube(`a`, {\n  sqlTabel: `x`,\n});\n"}, []string{"models", "validate"}, exitInvalid, []string{"a.js:2:3: ", "sql_table"}},
		{"a model that does not compile, at start", "", map[string]string{"model/a.yml": "cubes:\n  - name: a\n    sql_tabel: x\n"}, []string{"serve"}, exitInvalid, []string{"a.yml:3:5: "}},
		{"no password to hash", "", nil, []string{"users", "hash"}, exitInvalid, []string{"standard input"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inFolder(t, tt.files)
			code, _, errs := command(t, tt.in, tt.args...)
			if code != tt.code {
				t.Errorf("exit %d, want %d", code, tt.code)
			}
			for _, want := range tt.want {
				if !strings.Contains(errs, want) {
					t.Errorf("standard error does not say %q:\n%s", want, errs)
				}
			}
		})
	}
}

// seedHooks is the configuration in code that the documentation of Cube Cloud shows for per-user OAuth.
const seedHooks = `from cube import config
@config("driver_factory")
def driver_factory(ctx: dict) -> dict:
    databricks_creds = ctx.get("securityContext", {}).get("cubeCloud", {}).get("userCredentials", {}).get("databricks", {})
`

func TestConfigurationInCodeIsNeverIgnored(t *testing.T) {
	inFolder(t, map[string]string{"cube.py": seedHooks})
	t.Setenv("CUBEJS_DB_TYPE", "databricks-jdbc")
	t.Setenv("CUBEJS_DB_DATABRICKS_URL", "jdbc:databricks://dbc-X.cloud.databricks.com:443/default;httpPath=sql/protocolv1/o/X/X;AuthMech=3;UID=token")
	t.Setenv("CUBEJS_DB_DATABRICKS_TOKEN", "canary-dapi")
	code, _, errs := command(t, "", "serve")
	if code != exitInvalid {
		t.Errorf("exit %d, want %d", code, exitInvalid)
	}
	for _, want := range []string{"cube.py", "data_sources:", `host: "dbc-X.cloud.databricks.com"`, "fallback: service_account"} {
		if !strings.Contains(errs, want) {
			t.Errorf("it does not say %q:\n%s", want, errs)
		}
	}
	if strings.Contains(errs, "canary") {
		t.Errorf("it shows the token:\n%s", errs)
	}
}

func TestHashOfAPassword(t *testing.T) {
	code, out, errs := command(t, "correct horse battery\n", "users", "hash")
	if code != 0 || !strings.HasPrefix(out, "$argon2id$") || strings.Contains(out, "horse") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}

// The environment of seed 001 and nothing else starts a server; SIGTERM, which ends the context, stops it in order.
func TestServeFromCubesVariablesAlone(t *testing.T) {
	inFolder(t, nil)
	port := freePort(t)
	for k, v := range map[string]string{
		"CUBEJS_API_SECRET": "canary-secret", "CUBEJS_DB_TYPE": "databricks-jdbc",
		"CUBEJS_DB_DATABRICKS_URL":           "jdbc:databricks://dbc-XXXXXXX-XXXX.cloud.databricks.com:443/default;transportMode=http;ssl=1;httpPath=sql/protocolv1/o/XXXXX/XXXXX;AuthMech=3;UID=token",
		"CUBEJS_DB_DATABRICKS_TOKEN":         "canary-dapi",
		"CUBEJS_DB_DATABRICKS_ACCEPT_POLICY": "true", "CUBEJS_DB_DATABRICKS_CATALOG": "my_catalog",
		"CUBEJS_REFRESH_WORKER": "true", "PORT": fmt.Sprint(port), "BEHALF_SERVER_ADMIN_LISTEN": "off",
	} {
		t.Setenv(k, v)
	}
	ctx, stop := context.WithCancel(t.Context())
	var out, errs buffer
	done := make(chan int, 1)
	go func() { done <- run(ctx, []string{"serve"}, streams{strings.NewReader(""), &out, &errs}) }()

	base := fmt.Sprintf("http://127.0.0.1:%d", port)
	for _, want := range []string{`{"health":"HEALTH"}`} {
		if got := await(t, base+"/readyz"); got != want {
			t.Errorf("/readyz = %s, want %s", got, want)
		}
	}
	resp, err := http.Get(base + "/cubejs-api/v1/meta")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden || !strings.Contains(string(body), "Authorization header isn't set") {
		t.Errorf("/meta without a token = %d %s", resp.StatusCode, body)
	}
	http.DefaultClient.CloseIdleConnections()
	stop()
	if code := <-done; code != 0 {
		t.Errorf("exit %d after the signal, want 0:\n%s", code, errs.String())
	}
	for _, want := range []string{"CUBEJS_REFRESH_WORKER", "as Cube documents", "there is no data model", "http://localhost:" + fmt.Sprint(port) + "/setup/"} {
		if !strings.Contains(errs.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, errs.String())
		}
	}
	if all := out.String() + errs.String(); strings.Contains(all, "canary") {
		t.Errorf("a secret was printed:\n%s", all)
	}
}

// await asks until somebody answers, and returns the body.
func await(t *testing.T, url string) string {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get(url)
		if err != nil {
			continue
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil {
			return strings.TrimSpace(string(body))
		}
	}
	t.Fatalf("nobody answers at %s", url)
	return ""
}
