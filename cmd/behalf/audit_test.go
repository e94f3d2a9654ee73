package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/sqlstore"
	"go.uber.org/zap/zapcore"
)

func TestAuditFromTheCommandLine(t *testing.T) {
	dir := inFolder(t, map[string]string{"behalf.yaml": "server: {public_url: \"http://localhost:4000\"}\nstore: {url: sqlite:records.db}\nauth: {api_secret: {env: TEST_API_SECRET}}\n"})
	t.Setenv("TEST_API_SECRET", strings.Repeat("s", 32))
	file := filepath.Join(dir, "records.db")
	var log buffer
	store, err := sqlstore.Open(t.Context(), sqlstore.Config{
		URL: "sqlite:" + file, Keyset: filepath.Join(dir, "keys.json"), Log: newLog(&log, zapcore.InfoLevel),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	for _, object := range []string{"con_1", "con_2", "con_3"} {
		e := audit.Entry{Actor: "usr_1", Action: audit.GrantRevoked, Object: object, Outcome: "ok", Detail: map[string]string{"oauth_app": "a\x1b[2J"}}
		if err := store.Audit().Record(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Audit().Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	// All of it beside a process that has the store open: the server.
	url := "sqlite:" + file
	code, out, errs := command(t, "", "audit", "verify")
	if code != 0 || !strings.Contains(out, "Verified: 5 records in 1 chain, up to #5.") {
		t.Fatalf("verify of the store of behalf.yaml = %d\n%s%s", code, out, errs)
	}
	head := regexp.MustCompile(`[0-9a-f]{64}`).FindString(out)
	code, export, errs := command(t, "", "audit", "export", "--store", url)
	if code != 0 || strings.Count(export, "\n") != 5 || !strings.Contains(errs, "5 records") || !strings.Contains(errs, head) {
		t.Fatalf("export = %d\n%s%s", code, export, errs)
	}
	whole := filepath.Join(dir, "whole.jsonl")
	logged := filepath.Join(dir, "log.jsonl")
	for name, text := range map[string]string{whole: export, logged: log.String()} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lines := strings.SplitAfter(strings.TrimSpace(export), "\n")
	without := func(n int) string { return strings.Join(append(lines[:n:n], lines[n+1:]...), "") }
	for _, tt := range []struct {
		name, in string
		args     []string
		code     int
		says     string
	}{
		{"the store, with an end that was kept", "", []string{"--store", url, "--head", head}, 0, "All 1 kept hashes are there"},
		{"the store, with the log", "", []string{"--store", url, "--log", logged}, 0, "All 2 kept hashes are there"},
		{"an export", "", []string{"--file", whole}, 0, "Verified: 5 records"},
		{"an export through a pipe", export, []string{"--file", "-"}, 0, "Verified: 5 records"},
		{"an export without its third line", without(2), []string{"--file", "-"}, 1, "missing: position 3 of chain"},
		{"an export in which con_2 is con_9", strings.Replace(export, "con_2", "con_9", 1), []string{"--file", "-"}, 1, "altered: position 3 of chain"},
		{"an export without its end", without(4), []string{"--file", "-"}, 0, "Verified: 4 records"},
		{"the same, with the end that was kept", without(4), []string{"--file", "-", "--head", head}, 1, "head_unknown"},
		{"the same, with the log", without(4), []string{"--file", "-", "--log", logged}, 1, "head_unknown: position 5 of chain"},
		{"a hash that is none", "", []string{"--head", "abc"}, exitInvalid, ""},
		{"a log without checkpoints", "", []string{"--log", whole}, exitInvalid, ""},
		{"an export that is none", "x", []string{"--file", "-"}, 1, ""},
		{"a store that is not there", "", []string{"--store", "sqlite:none.db"}, 1, ""},
		{"a file that is no store", "", []string{"--store", "sqlite:" + whole}, 1, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, errs := command(t, tt.in, append([]string{"audit", "verify"}, tt.args...)...)
			if code != tt.code || !strings.Contains(out, tt.says) || code != 0 && errs == "" {
				t.Errorf("verify = %d, want %d and %q\n%s%s", code, tt.code, tt.says, out, errs)
			}
		})
	}
	code, out, _ = command(t, "", "audit", "tail", "--store", url, "-n", "2", "--action", "grant.revoked")
	if code != 0 || strings.Count(out, "\n") != 2 || !strings.Contains(out, "\tusr_1\tgrant.revoked\tcon_3\tok\t\"oauth_app=a\\x1b[2J\"\n") || strings.Contains(out, "\x1b") {
		t.Errorf("tail = %d\n%q", code, out)
	}
	code, out, _ = command(t, "", "audit", "export", "--store", url, "-o", "csv", "--object", "con_1", "--since", "1h")
	if code != 0 || strings.Count(out, "\n") != 2 {
		t.Errorf("export as CSV = %d\n%s", code, out)
	}
	if code, _, errs := command(t, "", "audit", "tail", "--store", url, "--since", "yesterday"); code != exitInvalid || !strings.Contains(errs, "--since") {
		t.Errorf("tail since yesterday = %d %s, want it explained", code, errs)
	}

	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, statement := range []string{"DROP TRIGGER audit_update", "UPDATE audit SET object = 'con_9' WHERE object = 'con_2'"} {
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	code, out, errs = command(t, "", "audit", "verify")
	if code != 1 || !strings.Contains(out, "altered: position 3 of chain") || !strings.Contains(errs, "the audit log was changed") {
		t.Errorf("verify of an edited row = %d\n%s%s", code, out, errs)
	}
}

func TestAuditTailFollows(t *testing.T) {
	dir := t.TempDir()
	url := "sqlite:" + filepath.Join(dir, "records.db")
	store, err := sqlstore.Open(t.Context(), sqlstore.Config{URL: url, Keyset: filepath.Join(dir, "keys.json")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var out buffer
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"audit", "tail", "-f", "--store", url, "--action", "grant.revoked"}, streams{strings.NewReader(""), &out, &out})
	}()
	for n := 0; strings.Count(out.String(), "grant.revoked") < 2 && ctx.Err() == nil; n++ {
		if n < 2 {
			if err := store.Audit().Record(t.Context(), audit.Entry{Action: audit.GrantRevoked, Object: "con_1", Outcome: "ok"}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	cancel()
	if code := <-ended; code != 0 || strings.Count(out.String(), "\n") != 2 {
		t.Errorf("tail -f = %d\n%s\nwant two lines, and 0 when it is interrupted", code, out.String())
	}
}

// What bob's queries at a source that falls back leave behind: a record each, in a chain that is whole after the stop.
func TestFallbacksAreRecordedUntilTheLastOne(t *testing.T) {
	onBoth(t, worldConfig{}, func(t *testing.T, w *world) {
		w.connect(w.alice, "databricks", "snowflake")
		w.ask(w.alice, atSnowflake).ran(t, "user", "alice")
		for range 3 {
			w.ask(w.bob, atSnowflake).ran(t, "service_account", "bob")
		}
		url := w.server.cfg.Store.URL.Reveal()
		w.end() // at once: what was accepted is written
		code, export, errs := command(t, "", "audit", "export", "--store", url)
		if code != 0 {
			t.Fatalf("export = %d %s", code, errs)
		}
		fellBack := 0
		v := audit.NewVerifier()
		err := audit.ReadExport(strings.NewReader(export), func(r audit.Record) {
			v.Add(r)
			if r.Action == audit.QueryFellBack {
				fellBack++
				if r.Detail["username"] != "bob" || r.Detail["reason"] != "not_connected" || r.Request == "" || !strings.HasPrefix(r.Actor, "usr_") {
					text, _ := json.Marshal(r)
					t.Errorf("a fallback is recorded as %s", text)
				}
			}
		})
		if err != nil || !v.Report(nil).Intact() {
			t.Errorf("the export: %v, %+v, want it whole", err, v.Report(nil).Breaks)
		}
		if fellBack != 3 {
			t.Errorf("%d fallbacks recorded, want bob's 3", fellBack)
		}
		if code, out, _ := command(t, "", "audit", "verify", "--store", url); code != 0 {
			t.Errorf("verify = %d\n%s", code, out)
		}
	})
}
