package kms_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/keys"
	"github.com/behalf-project/behalf/internal/kms"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/sqlstore"
	"github.com/behalf-project/behalf/oauthapps"
)

// TestAStoreMovesFromAFileToAKMS is docs/how-to/keys.md on the real parts: a store, and a KMS over HTTP.
func TestAStoreMovesFromAFileToAKMS(t *testing.T) {
	each(t, func(t *testing.T, i int, e *emulator, o *kms.Opener, host string) {
		file, uri := filepath.Join(t.TempDir(), "keys.json"), services[i].uri(host)
		cfg := sqlstore.Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "behalf.db"), Keyset: file, KMS: o.Open}
		open := func() *sqlstore.DB {
			t.Helper()
			db, err := sqlstore.Open(t.Context(), cfg)
			if err != nil {
				t.Fatalf("Open with %s = %v, want no error", cfg.Keyset, err)
			}
			return db
		}
		db := open()
		admin := audit.Entry{Actor: "usr_admin", Action: audit.OAuthAppCreated, Outcome: "ok"}
		if _, err := db.OAuthApps().CreateApp(t.Context(), oauthapps.App{Domain: "dom_00000000000000000000000000", Name: "a", Slug: "a", ClientSecret: secret.New("canary")}, admin); err != nil {
			t.Fatal(err)
		}
		if err := db.Keys().Rewrap(t.Context(), secret.RemoteMaster(uri, mustOpen(t, o, uri)), admin); err != nil {
			t.Fatalf("Rewrap = %v, want no error", err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		for _, body := range e.requests {
			if strings.Contains(body, "canary") {
				t.Error("the KMS was sent a stored secret")
			}
		}

		if _, err := sqlstore.Open(t.Context(), cfg); !errors.Is(err, secret.ErrWrongMaster) || !strings.Contains(err.Error(), uri) {
			t.Errorf("Open with the old file = %v, want a refusal that names %s", err, uri)
		}
		cfg.Keyset = uri
		for _, tt := range []struct {
			name string
			with trouble
			want fault.Kind
			says string
		}{
			{"without permission", services[i].denied, fault.Denied, services[i].needs},
			{"disabled or sealed", services[i].off, fault.Unavailable, uri},
			{"broken", trouble{status: 500}, fault.Unavailable, uri},
		} {
			e.fails(&tt.with)
			if _, err := sqlstore.Open(t.Context(), cfg); fault.KindOf(err) != tt.want || !strings.Contains(err.Error(), tt.says) || errors.Is(err, secret.ErrWrongMaster) {
				t.Errorf("Open %s = %v, want %s that says %q", tt.name, err, tt.want, tt.says)
			}
		}
		e.fails(nil)
		db = open()
		report, err := db.Keys().Verify(t.Context(), func(f keys.Finding) { t.Errorf("%+v", f) })
		if err != nil || report.Values != 1 {
			t.Errorf("Verify = %+v, %v, want the one value", report, err)
		}
		before := e.called()
		for range 50 {
			if a, err := db.OAuthApps().GetApp(t.Context(), "a"); err != nil || a.ClientSecret.Reveal() != "canary" {
				t.Fatalf("GetApp = %v, want the app with its secret", err)
			}
		}
		if n := e.called() - before; n != 0 {
			t.Errorf("%d calls of the KMS for 50 secrets, want none", n)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		cfg.Keyset = services[i].other(host)
		if _, err := sqlstore.Open(t.Context(), cfg); !errors.Is(err, fault.NotFound) || !strings.Contains(err.Error(), cfg.Keyset) {
			t.Errorf("Open with a key that is gone = %v, want not_found and its name", err)
		}
	})
}
