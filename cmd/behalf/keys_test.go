package main

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/behalf-project/behalf/internal/adminapi"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/domains"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/sqlstore"
	"github.com/behalf-project/behalf/internal/sqlstore/postgrestest"
	"github.com/behalf-project/behalf/oauthapps"
)

func TestDataKeysAreRotatedOnTheRunningServer(t *testing.T) {
	onBoth(t, worldConfig{}, func(t *testing.T, w *world) {
		w.connect(w.alice, "databricks", "snowflake")
		var before, after adminapi.DataKeys
		w.must(w.carol.call(t.Context(), http.MethodGet, "/api/v1/keys", nil, &before))
		var begun adminapi.KeyRotation
		w.must(w.carol.call(t.Context(), http.MethodPost, "/api/v1/keys/rotate", nil, &begun))
		w.ask(w.alice, countOnly).ran(t, "user", "alice")
		w.restart() // wherever it is
		eventually(t, "everything is sealed again", func() bool {
			after = adminapi.DataKeys{}
			w.must(w.carol.call(t.Context(), http.MethodGet, "/api/v1/keys", nil, &after))
			return after.Rotation.State == "settling" || after.Rotation.State == "done"
		})
		if after.Keys[0].ID != begun.NewKey || after.Keys[0].Values == 0 || after.Rotation.Resealed != before.Keys[0].Values {
			t.Errorf("keys = %+v, rotation %+v, want the new key to seal all %d values", after.Keys, after.Rotation, before.Keys[0].Values)
		}
		w.ask(w.alice, countOnly).ran(t, "user", "alice")
		w.box.IdP.ExpireTokens("alice") // and a refresh needs the refresh token and the client secret
		w.ask(w.alice, countOnly).ran(t, "user", "alice")
		w.ask(w.alice, atSnowflake).ran(t, "user", "alice")
	})
}

// keyStore makes a store with a client secret and a configuration, and returns how to open it.
func keyStore(t *testing.T, url string) (open func() *sqlstore.DB, configFile string) {
	t.Helper()
	dir := inFolder(t, nil)
	if url == "" {
		url = "sqlite:" + filepath.Join(dir, "behalf.db")
	}
	configFile = filepath.Join(dir, "behalf.yaml")
	text := fmt.Sprintf("store: {url: %q}\nkeys: {keyset: {file: behalf.keys.json}}\n", url)
	if err := os.WriteFile(configFile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	open = func() *sqlstore.DB {
		t.Helper()
		db, err := sqlstore.Open(t.Context(), sqlstore.Config{URL: url, Keyset: filepath.Join(dir, "behalf.keys.json")})
		if err != nil {
			t.Fatal(err)
		}
		return db
	}
	db := open()
	for _, name := range []string{"lake", "warehouse"} {
		_, err := db.OAuthApps().CreateApp(t.Context(), oauthapps.App{Domain: domains.DefaultID, Name: name, Slug: name, ClientSecret: secret.New("canary-" + name)},
			audit.Entry{Actor: "system", Action: audit.OAuthAppCreated, Outcome: "ok"})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return open, configFile
}

func TestTheKeysCommand(t *testing.T) {
	for _, database := range []string{"SQLite", "Postgres"} {
		t.Run(database, func(t *testing.T) {
			url := ""
			if database == "Postgres" {
				url = postgrestest.URL(t)
			}
			_, configFile := keyStore(t, url)
			keys := func(want int, args ...string) (out, errs string) {
				t.Helper()
				code, out, errs := command(t, "", append([]string{"keys", "--config", configFile}, args...)...)
				if code != want {
					t.Errorf("keys %s = %d, %s%s, want %d", strings.Join(args, " "), code, out, errs, want)
				}
				if strings.Contains(out+errs, "canary") {
					t.Errorf("keys %s prints a secret: %s%s", args[0], out, errs)
				}
				return out, errs
			}
			line := regexp.MustCompile(`(?m)^(\d+) +seals +2 +\d{4}-`)
			out, errs := keys(0, "list")
			first := line.FindStringSubmatch(out)
			if first == nil || strings.Count(out, "\n") != 2 || !strings.Contains(errs, "master key is key ") {
				t.Fatalf("list = %s%s, want one key that seals two values", out, errs)
			}
			out, errs = keys(0, "rotate")
			second := line.FindStringSubmatch(out)
			if second == nil || second[1] == first[1] || strings.Count(out, "\n") != 2 || !strings.Contains(errs, "Done") {
				t.Fatalf("rotate = %s%s, want another key alone, and that it is done", out, errs)
			}
			if _, errs = keys(0, "verify"); !strings.Contains(errs, "all 2 sealed values") || !strings.Contains(errs, "key "+second[1]+": 2") {
				t.Errorf("verify = %s, want that both values open under %s", errs, second[1])
			}

			next := filepath.Join(t.TempDir(), "next.keys.json")
			out, errs = keys(0, "rewrap", "--to", next)
			if info, err := os.Stat(next); err != nil || info.Mode().Perm() != 0o600 || !strings.Contains(out, next) || !strings.Contains(errs, "restart every replica") {
				t.Errorf("rewrap = %s%s, file %v, %v, want a new file of mode 0600, and what to set", out, errs, info, err)
			}
			if _, errs = keys(exitDenied, "list"); !strings.Contains(errs, "does not belong to this store") {
				t.Errorf("list with the old master key = %s, want it refused", errs)
			}
			text, err := os.ReadFile(configFile)
			if err != nil {
				t.Fatal(err)
			}
			head, _, _ := strings.Cut(string(text), "keys:")
			if err := os.WriteFile(configFile, []byte(head+out), 0o600); err != nil { // as it said
				t.Fatal(err)
			}
			keys(0, "verify")

			// A value that was moved is named, and the others are still opened.
			if url == "" {
				exchange(t, filepath.Join(filepath.Dir(configFile), "behalf.db"))
				out, errs = keys(1, "verify")
				if strings.Count(out, "oauth_apps oap_") != 2 || !strings.Contains(out, "client_secret: it was changed, or moved here") || !strings.Contains(errs, "2 of 2 sealed values do not open") {
					t.Errorf("verify = %s%s, want both rows named", out, errs)
				}
			}
		})
	}
}

// exchange gives two OAuth apps each other's client secret, as who has the file can.
func exchange(t *testing.T, path string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	var a, b []byte
	for slug, dest := range map[string]*[]byte{"lake": &a, "warehouse": &b} {
		if err := db.QueryRow("SELECT client_secret FROM oauth_apps WHERE slug = ?", slug).Scan(dest); err != nil {
			t.Fatal(err)
		}
	}
	for slug, value := range map[string][]byte{"lake": b, "warehouse": a} {
		if _, err := db.Exec("UPDATE oauth_apps SET client_secret = ? WHERE slug = ?", value, slug); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestTheKeysCommandSaysWhatToDoWhileTheServerRuns(t *testing.T) {
	open, configFile := keyStore(t, "")
	db := open()
	code, _, errs := command(t, "", "keys", "--config", configFile, "rotate")
	if code != exitFailure || !strings.Contains(errs, "in use by another process") || !strings.Contains(errs, "POST http://localhost:4000/api/v1/keys/rotate") {
		t.Errorf("rotate = %d %s, want how to rotate on the running server", code, errs)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(filepath.Dir(configFile), "behalf.db")); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := command(t, "", "keys", "--config", configFile, "list"); code != exitFailure || !strings.Contains(errs, "There is no store") {
		t.Errorf("list without a store = %d %s, want it refused", code, errs)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(configFile), "behalf.db")); err == nil {
		t.Error("a command that looks made a store")
	}
}

func TestAnEndedRotationGoesOnWithTheSameCommand(t *testing.T) {
	open, configFile := keyStore(t, "")
	db := open()
	if _, err := db.Keys().Rotate(t.Context(), audit.Entry{Actor: "usr_x"}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs buffer
	if code := run(ctx, []string{"keys", "--config", configFile, "rotate"}, streams{strings.NewReader(""), &out, &errs}); code != exitInterrupted {
		t.Errorf("rotate that is interrupted = %d %s, want to hear that it was", code, errs.String())
	}
	if code, out, errs := command(t, "", "keys", "--config", configFile, "rotate"); code != 0 || !strings.Contains(errs, "It goes on") || strings.Count(out, "\n") != 2 {
		t.Errorf("rotate = %d %s%s, want the rotation of before to be done", code, out, errs)
	}
}
