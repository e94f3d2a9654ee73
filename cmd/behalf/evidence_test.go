package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/sqlstore/postgrestest"
	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// secrets are values that must not be found where anybody reads, and what they are.
type secrets struct {
	mu    sync.Mutex
	known map[string]bool
	of    map[[window]byte][]written // by how they begin
	may   [1 << 20]bool              // by the hash of how they begin: whether there are any
}

// written is a secret as it may be written, and what it is.
type written struct{ text, kind string }

// issued is what the provider gave, and was given, in all tests of this binary.
var issued = &secrets{}

func (s *secrets) add(kind string, value secret.Text) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known, s.of = map[string]bool{}, map[[window]byte][]written{}
	}
	if s.known[value.Reveal()] {
		return
	}
	s.known[value.Reveal()] = true
	for _, text := range forms(value.Reveal()) {
		at := [window]byte([]byte(text)[:window])
		s.of[at] = append(s.of[at], written{text, kind})
		s.may[hashed(binary.BigEndian.Uint64(at[:]))] = true
	}
}

// forms returns value as it may be written: as it is, in a URL, in JSON, in hex, and in base64 wherever in a longer text
// it stands, as a client secret does in a Basic header.
func forms(value string) []string {
	quoted, _ := json.Marshal(value) // a string has no errors
	all := []string{
		value, url.QueryEscape(value), url.PathEscape(value), string(quoted[1 : len(quoted)-1]), hex.EncodeToString([]byte(value)),
	}
	for before := range 3 {
		text := append(make([]byte, before), value...)
		whole := len(text) * 8 / 6      // characters that what follows does not change
		first := []int{0, 2, 3}[before] // and that what stands before does not
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			all = append(all, enc.EncodeToString(text)[first:whole])
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// window is the length by which secrets are looked for. None is shorter.
const window = 8

// hashed is the place of eight bytes in secrets.may, which most of those that begin no secret find empty: all that servers
// say goes through it, a byte at a time.
func hashed(begin uint64) uint64 { return begin * 0x9E3779B97F4A7C15 >> 44 }

// find returns what is secret in text.
func (s *secrets) find(text []byte) map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := map[string]bool{}
	var begin uint64
	for i, b := range text {
		begin = begin<<8 | uint64(b)
		if i+1 < window || !s.may[hashed(begin)] {
			continue
		}
		at := text[i+1-window:]
		for _, f := range s.of[[window]byte(at)] {
			if bytes.HasPrefix(at, []byte(f.text)) {
				found[f.kind] = true
			}
		}
	}
	return found
}

// exhibit is something that left the server, or was kept by it.
type exhibit struct {
	what string
	text []byte
}

// evidence is everything that servers answer, log and store. As the transport of their browsers it keeps all answers:
// headers and bodies. It leaves out the places that are there to carry a secret, and these are all:
//
//   - Set-Cookie, which brings the browser its session;
//   - Location of the answer to POST /connect/<app>, which takes the state to the provider (RFC 6749 §4.1.1), and of
//     that to POST /authorize, which takes our own code to a program (§4.1.2);
//   - the bodies of GET /auth/cubejs-token and POST /api/v1/tokens, which are tokens of our own for who asks.
type evidence struct {
	client *http.Transport
	own    secrets // of these servers

	mu       sync.Mutex
	bases    []string // the URLs of the servers
	exhibits []exhibit
}

// newEvidence returns evidence of the servers at these URLs.
func newEvidence(bases ...string) *evidence {
	return &evidence{client: &http.Transport{MaxIdleConnsPerHost: 64}, bases: bases}
}

// also adds the URL of one more server.
func (e *evidence) also(base string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.bases = append(e.bases, base)
}

// ours reports whether url is of one of the servers. The provider and others may show what they like.
func (e *evidence) ours(url string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.ContainsFunc(e.bases, func(base string) bool { return strings.HasPrefix(url, base+"/") })
}

// RoundTrip implements http.RoundTripper.
func (e *evidence) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := e.client.RoundTrip(r)
	if err != nil || !e.ours(r.URL.String()) {
		return resp, err
	}
	for _, c := range resp.Cookies() {
		if len(c.Value) >= window {
			e.own.add("cookie "+c.Name, secret.New(c.Value))
		}
	}
	body, err := io.ReadAll(resp.Body)
	if closed := resp.Body.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	e.keep(r, resp.Header.Clone(), body)
	return resp, nil
}

func (e *evidence) keep(r *http.Request, header http.Header, body []byte) {
	header.Del("Set-Cookie")
	if r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/connect/") {
		header.Del("Location")
	}
	if to, err := url.Parse(header.Get("Location")); err == nil && r.Method == http.MethodPost && r.URL.Path == "/authorize" {
		header.Del("Location")
		if code := to.Query().Get("code"); code != "" {
			e.own.add("authorization code of ours", secret.New(code))
		}
	}
	var ours struct{ Token string }
	if (r.URL.Path == "/auth/cubejs-token" || r.Method == http.MethodPost && r.URL.Path == "/api/v1/tokens") && json.Unmarshal(body, &ours) == nil && ours.Token != "" {
		e.own.add("token of ours", secret.New(ours.Token))
		body = nil
	}
	e.keepText("the answer to "+r.Method+" "+r.URL.Path, append(fmt.Append(nil, header, "\n"), body...))
}

// search fails the test for every secret that is found somewhere: one of those given, of what the servers issued, or of
// the provider's. The servers have stopped.
func (e *evidence) search(t *testing.T, given map[string]secret.Text) {
	t.Helper()
	for _, found := range e.findings(given) {
		t.Error(found)
	}
}

// findings says where which secret is.
func (e *evidence) findings(given map[string]secret.Text) (all []string) {
	for kind, value := range given {
		e.own.add(kind, value)
	}
	for _, known := range []*secrets{issued, &e.own} {
		for _, x := range e.exhibits {
			for kind := range known.find(x.text) {
				all = append(all, x.what+" holds a secret: "+kind)
			}
		}
	}
	return all
}

// keepText keeps one more thing that somebody may read.
func (e *evidence) keepText(what string, text []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.exhibits = append(e.exhibits, exhibit{what, text})
}

// operated keeps what the admin listener, which is h, tells operators.
func (e *evidence) operated(t *testing.T, h http.Handler) {
	t.Helper()
	for _, path := range []string{"/livez", "/readyz?verbose", "/metrics", "/debug/pprof/", "/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1"} {
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "http://localhost"+path, nil))
		if answer.Code != http.StatusOK && !strings.HasPrefix(path, "/readyz") {
			t.Errorf("GET %s of the admin listener is %d, want 200", path, answer.Code)
		}
		e.keepText("the admin listener at "+path, append(fmt.Append(nil, answer.Header(), "\n"), answer.Body.Bytes()...))
	}
}

// stored keeps what the database of a configuration in dir holds: of SQLite the bytes of its files, of Postgres every
// row.
func (e *evidence) stored(t *testing.T, store secret.Text, dir string) {
	t.Helper()
	if url := store.Reveal(); strings.HasPrefix(url, "postgres") {
		e.keepText("the database", dump(t, url))
		return
	}
	files, err := filepath.Glob(filepath.Join(dir, "behalf.db*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no database in %s: %v", dir, err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		e.keepText("the file "+filepath.Base(name), text)
	}
}

var bytea = regexp.MustCompile(`\\\\x((?:[0-9a-f]{2})+)`)

// dump returns every row of a Postgres database as text, bytes as they are.
func dump(t *testing.T, url string) []byte {
	t.Helper()
	ctx := context.Background() // the test is over
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(tables) == 0 {
		t.Fatalf("tables = %v, %v", tables, err)
	}
	var out []byte
	for _, table := range tables {
		var text string
		name := pgx.Identifier{table}.Sanitize()
		if err := conn.QueryRow(ctx, "SELECT coalesce(string_agg(r::text, E'\n'), '') FROM "+name+" r").Scan(&text); err != nil {
			t.Fatal(err)
		}
		out = append(out, bytea.ReplaceAllFunc([]byte(text), func(found []byte) []byte {
			raw, _ := hex.DecodeString(string(found[3:])) // the pattern is hex
			return raw
		})...)
	}
	return out
}

func TestTheSearchForSecretsFindsThem(t *testing.T) {
	s := &secrets{}
	s.add("token", secret.New("abcdefghij-klmnop"))
	s.add("password", secret.New("0123456789"))
	s.add("client secret", secret.New("a:b/c+d%e f\"gö"))
	basic := func(user, password string) string {
		return base64.StdEncoding.EncodeToString([]byte(user + ":" + password + "@somewhere"))
	}
	for _, tt := range []struct {
		name, text string
		want       string
	}{
		{"nothing", "a text without either", "map[]"},
		{"the beginning only", "abcdefghij-klmno", "map[]"},
		{"in a text", `{"msg":"abcdefghij-klmnop"}`, "map[token:true]"},
		{"both, one at the end", "xabcdefghij-klmnop0123456789", "map[password:true token:true]"},
		{"in a URL", "/x?y=" + url.QueryEscape("a:b/c+d%e f\"gö"), "map[client secret:true]"},
		{"in JSON", `{"x":"a:b/c+d%e f\"gö"}`, "map[client secret:true]"},
		{"in hex", hex.EncodeToString([]byte("x0123456789x")), "map[password:true]"},
		{"in a Basic header", basic("a", "abcdefghij-klmnop"), "map[token:true]"},
		{"of a longer name", basic("ab", "abcdefghij-klmnop"), "map[token:true]"},
		{"and a longer one", basic("abc", "abcdefghij-klmnop"), "map[token:true]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := fmt.Sprint(s.find([]byte(tt.text))); got != tt.want {
				t.Errorf("find = %s, want %s", got, tt.want)
			}
		})
	}
}

// A secret that leaves in any of the ways is found there: in an answer's header or body, in the log, and in what either
// database holds.
func TestEvidenceHoldsWhateverLeaves(t *testing.T) {
	const planted = "planted-0123456789"
	leaking := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/header":
			w.Header().Set("X-Debug", planted)
		case "/body":
			fmt.Fprint(w, planted)
		case "/error":
			http.Error(w, planted, http.StatusInternalServerError)
		case "/redirect":
			w.Header().Set("Location", "/login?token="+planted)
			w.WriteHeader(http.StatusSeeOther)
		}
	}))
	defer leaking.Close()
	given := map[string]secret.Text{"token": secret.New(planted)}
	want := func(t *testing.T, e *evidence, what string) {
		t.Helper()
		if got := e.findings(given); len(got) != 1 || got[0] != what+" holds a secret: token" {
			t.Errorf("findings = %q, want it in %s", got, what)
		}
	}
	for _, path := range []string{"/header", "/body", "/error", "/redirect"} {
		t.Run(path, func(t *testing.T) {
			e := newEvidence(leaking.URL)
			defer e.client.CloseIdleConnections()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, leaking.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := e.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			want(t, e, "the answer to GET "+path)
		})
	}
	t.Run("the log", func(t *testing.T) {
		e, logs := newEvidence(), &buffer{}
		newLog(logs, zapcore.DebugLevel).Debug("a call failed", zap.Error(errors.New("of "+planted)))
		e.keepText("the log", []byte(logs.String()))
		want(t, e, "the log")
	})
	t.Run("the admin listener", func(t *testing.T) {
		e := newEvidence()
		e.operated(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery == "verbose" {
				_, _ = io.WriteString(w, planted)
			}
		}))
		want(t, e, "the admin listener at /readyz?verbose")
	})
	t.Run("SQLite", func(t *testing.T) {
		e, dir := newEvidence(), t.TempDir()
		db, err := sql.Open("sqlite", filepath.Join(dir, "behalf.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.ExecContext(t.Context(), "CREATE TABLE leak (value BLOB); INSERT INTO leak VALUES (CAST(? AS BLOB))", planted); err != nil {
			t.Fatal(err)
		}
		e.stored(t, secret.New("sqlite:behalf.db"), dir)
		want(t, e, "the file behalf.db")
	})
	for column, kind := range map[string]string{"as text": "TEXT", "as bytes": "BYTEA", "in JSON": "JSONB"} {
		t.Run("Postgres "+column, func(t *testing.T) {
			e, url := newEvidence(), postgrestest.URL(t)
			conn, err := pgx.Connect(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(context.Background())
			value := planted
			if kind == "JSONB" {
				value = `{"x": "` + planted + `"}`
			}
			if _, err := conn.Exec(t.Context(), "CREATE TABLE leak (value "+kind+")"); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Exec(t.Context(), "INSERT INTO leak VALUES ($1)", []byte(value)); err != nil {
				t.Fatal(err)
			}
			e.stored(t, secret.New(url), "")
			want(t, e, "the database")
		})
	}
}
