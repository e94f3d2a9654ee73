package sqlstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/domains"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/jobs"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/internal/sqlstore"
	"github.com/behalf-project/behalf/oauthapps"
)

// canary is in every secret that plant stores.
const canary = "canary-canary"

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// planted is how many secrets plant stores: one app, and two people with a grant, an authorization and a job each.
const planted = 3 + 2*4 + 2*3 + 2*1

// plant stores a secret in every sealed column, for alice and for bob, and returns the id of their app.
func plant(t *testing.T, db *sqlstore.DB) (appID string) {
	t.Helper()
	a, err := db.OAuthApps().CreateApp(t.Context(), oauthapps.App{Domain: domains.DefaultID, Name: "a", Slug: "a", ClientSecret: secret.New(canary + " client secret"),
		ClientSecretNext: secret.New(canary + " next client secret"), PrivateKey: secret.New(canary + " private key")}, entry)
	if err != nil {
		t.Fatalf("CreateApp = %v, want no error", err)
	}
	for _, name := range []string{"alice", "bob"} {
		p := securitycontext.Principal{Realm: securitycontext.Local, Subject: name}
		_, err := db.Grants().Connect(t.Context(), connectedapps.Grant{
			Key: connectedapps.Key{Principal: p, AppID: a.ID}, Domain: a.Domain,
			AccessToken: secret.New(canary + " access " + name), RefreshToken: secret.New(canary + " refresh " + name),
			SpareRefreshToken: secret.New(canary + " spare " + name),
			DPoPKey:           secret.New(canary + " dpop key " + name),
		}, "", entry)
		if err != nil {
			t.Fatalf("Connect = %v, want no error", err)
		}
		auth := connectedapps.Authorization{ID: "cs_" + name, Principal: p, AppID: a.ID, CreatedAt: noon, ExpiresAt: noon.Add(time.Hour)}
		if err := db.Authorizations().CreateAuthorization(t.Context(), auth); err != nil {
			t.Fatalf("CreateAuthorization = %v, want no error", err)
		}
		auth.Browser, auth.StateHash = "b", "state "+name
		auth.Verifier, auth.Nonce = secret.New(canary+" verifier "+name), secret.New(canary+" nonce "+name)
		auth.DPoPKey = secret.New(canary + " dpop key " + name)
		if err := db.Authorizations().BeginAuthorization(t.Context(), auth, noon); err != nil {
			t.Fatalf("BeginAuthorization = %v, want no error", err)
		}
		job := jobs.Job{ID: "job_" + name, Kind: "revoke", Key: name, Secret: secret.New(canary + " job " + name), DueAt: noon}
		if err := db.Jobs().Add(t.Context(), job); err != nil {
			t.Fatalf("Add = %v, want no error", err)
		}
	}
	return a.ID
}

func TestADumpOfTheDatabaseHoldsNoSecret(t *testing.T) {
	eachLocation(t, func(t *testing.T, l location) {
		l.with(t, func(db *sqlstore.DB) {
			plant(t, db)
			dump := dump(t, db.Writer())
			if !bytes.Contains(dump, []byte("cs_alice")) {
				t.Fatalf("the dump misses what is there:\n%s", dump)
			}
			for _, word := range []string{canary, fmt.Sprintf("%x", canary)} {
				if i := bytes.Index(dump, []byte(word)); i >= 0 {
					t.Errorf("the dump holds a secret: …%s…", dump[max(0, i-80):i])
				}
			}
			key, err := os.ReadFile(l.keyset)
			if err != nil {
				t.Fatal(err)
			}
			_, value, ok := strings.Cut(string(key), `"value":"`)
			value, _, _ = strings.Cut(value, `"`)
			if !ok || len(value) < 40 || bytes.Contains(dump, []byte(value)) {
				t.Errorf("the dump holds the master key, or its file is not what we think")
			}
			files, err := filepath.Glob(strings.TrimPrefix(l.url, "sqlite:") + "*")
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				content, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				if bytes.Contains(content, []byte(canary)) {
					t.Errorf("%s holds a secret", filepath.Base(f))
				}
			}
		})
	})
}

// dump returns every value of every table.
func dump(t *testing.T, db *sqlx.DB) []byte {
	t.Helper()
	list := "SELECT name FROM sqlite_schema WHERE type = 'table'"
	if db.DriverName() == "pgx" {
		list = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
	}
	var tables []string
	if err := db.Select(&tables, list); err != nil || len(tables) < 9 {
		t.Fatalf("tables = %q, %v", tables, err)
	}
	var out bytes.Buffer
	for _, table := range tables {
		rows, err := db.Queryx("SELECT * FROM " + table)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			values, err := rows.SliceScan()
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range values {
				if b, ok := v.([]byte); ok {
					out.Write(b)
					fmt.Fprintf(&out, " %x\n", b)
					continue
				}
				fmt.Fprintln(&out, v)
			}
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

func TestASecretThatWasMovedInTheDatabaseDoesNotOpen(t *testing.T) {
	alice := securitycontext.Principal{Realm: securitycontext.Local, Subject: "alice"}
	bob := securitycontext.Principal{Realm: securitycontext.Local, Subject: "bob"}
	for _, tt := range []struct{ name, tamper string }{
		{"another person's token", "UPDATE grants SET access_token = (SELECT access_token FROM grants WHERE subject = 'bob') WHERE subject = 'alice'"},
		{"the refresh token in place of the access token", "UPDATE grants SET access_token = refresh_token WHERE subject = 'alice'"},
		{"another person's spare", "UPDATE grants SET spare_refresh_token = (SELECT spare_refresh_token FROM grants WHERE subject = 'bob') WHERE subject = 'alice'"},
		{"the spare in place of the refresh token", "UPDATE grants SET refresh_token = spare_refresh_token WHERE subject = 'alice'"},
		{"another person's whole row", "DELETE FROM grants WHERE subject = 'alice'; UPDATE grants SET subject = 'alice' WHERE subject = 'bob'"},
		{"a row in another domain", "INSERT INTO domains (id, name, created_at, rev) VALUES ('dom_x', 'x', 0, 1); UPDATE grants SET domain = 'dom_x'"},
		{"a client secret in place of a token", "UPDATE grants SET access_token = (SELECT client_secret FROM oauth_apps)"},
		{"another person's verifier", "UPDATE authorizations SET verifier = (SELECT verifier FROM authorizations WHERE subject = 'bob') WHERE subject = 'alice'"},
		{"another person's whole authorization", "UPDATE authorizations SET subject = 'alice' WHERE subject = 'bob'"},
		{"the nonce in place of the verifier", "UPDATE authorizations SET verifier = nonce"},
		{"a token in place of a client secret", "UPDATE oauth_apps SET client_secret = (SELECT access_token FROM grants WHERE subject = 'bob')"},
		{"another person's token in a job", "UPDATE jobs SET secret = (SELECT access_token FROM grants WHERE subject = 'bob')"},
		{"the secret of another job", "UPDATE jobs SET secret = (SELECT secret FROM jobs WHERE key = 'bob')"},
		{"the secret of a job for another act", "UPDATE jobs SET kind = 'mail'"},
		{"a client secret under another id", "INSERT INTO oauth_apps (id, domain, name, slug, preset, host, issuer, auth_url, token_url, revocation_url, userinfo_url, jwks_url, iss_in_response, client_id, client_secret, auth_method, scopes, auth_params, data_sources, paused, paused_note, broken_at, broken_code, origin, secret_set_at, created_at, updated_at, rev) SELECT 'oap_thief' AS id, domain, name, 'thief' AS slug, preset, host, issuer, auth_url, token_url, revocation_url, userinfo_url, jwks_url, iss_in_response, client_id, client_secret, auth_method, scopes, auth_params, data_sources, paused, paused_note, broken_at, broken_code, origin, secret_set_at, created_at, updated_at, rev FROM oauth_apps"},
		{"the next client secret in place of the first", "UPDATE oauth_apps SET client_secret = client_secret_next"},
		{"a private key in place of a client secret", "UPDATE oauth_apps SET client_secret_next = private_key"},
		{"a spare refresh token in place of the first", "UPDATE grants SET refresh_token = spare_refresh_token WHERE subject = 'alice'"},
		{"another person's key", "UPDATE grants SET dpop_key = (SELECT dpop_key FROM grants WHERE subject = 'bob') WHERE subject = 'alice'"},
		{"another person's key of an authorization", "UPDATE authorizations SET dpop_key = (SELECT dpop_key FROM authorizations WHERE subject = 'bob') WHERE subject = 'alice'"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, db *sqlstore.DB) {
				app := plant(t, db)
				for statement := range strings.SplitSeq(tt.tamper, ";") {
					db.Writer().MustExec(statement)
				}
				// One of these reads the row, and none may hand out what was moved.
				_, grantErr := db.Grants().Get(t.Context(), connectedapps.Key{Principal: alice, AppID: app})
				_, listErr := db.Grants().List(t.Context(), connectedapps.Filter{Principal: bob})
				_, aliceErr := db.Authorizations().TakeAuthorization(t.Context(), "state alice", noon)
				_, bobErr := db.Authorizations().TakeAuthorization(t.Context(), "state bob", noon)
				_, appErr := db.OAuthApps().ListApps(t.Context(), "")
				_, jobErr := db.Jobs().Claim(t.Context(), jobs.Want{Kind: "revoke", By: "one"}, noon, noon.Add(time.Minute))
				_, otherErr := db.Jobs().Claim(t.Context(), jobs.Want{Kind: "mail", By: "one"}, noon, noon.Add(time.Minute))
				failed := 0
				for _, err := range []error{grantErr, listErr, aliceErr, bobErr, appErr, jobErr, otherErr} {
					if err == nil || errors.Is(err, fault.NotFound) {
						continue
					}
					failed++
					if strings.Contains(err.Error(), canary) {
						t.Errorf("the error holds a secret: %v", err)
					}
					if fault.KindOf(err) != "" {
						t.Errorf("error = %v, want it to be internal", err)
					}
				}
				if failed == 0 {
					t.Error("what was moved still opens")
				}
			})
		})
	}
}

func TestAStoreWithoutItsMasterKeyIsRefused(t *testing.T) {
	eachLocation(t, func(t *testing.T, l location) {
		l.with(t, func(db *sqlstore.DB) { plant(t, db) })
		key, err := os.ReadFile(l.keyset)
		if err != nil {
			t.Fatal(err)
		}

		if err := os.Remove(l.keyset); err != nil {
			t.Fatal(err)
		}
		l.refused(t, fault.NotFound, l.keyset, "missing", "backup")
		if _, err := os.Stat(l.keyset); err == nil {
			t.Error("a new key was made in place of the lost one")
		}
		if _, err := secret.CreateMaster(l.keyset); err != nil {
			t.Fatal(err)
		}
		l.refused(t, fault.Denied, l.keyset, "does not belong to this store")
		if err := os.WriteFile(l.keyset, key[:len(key)/2], 0o600); err != nil {
			t.Fatal(err)
		}
		l.refused(t, fault.Invalid, l.keyset)

		if err := os.WriteFile(l.keyset, key, 0o600); err != nil {
			t.Fatal(err)
		}
		l.with(t, func(db *sqlstore.DB) {
			apps, err := db.OAuthApps().ListApps(t.Context(), "")
			if err != nil || len(apps) != 1 || apps[0].ClientSecret.Reveal() != canary+" client secret" {
				t.Errorf("ListApps = %d apps, %v, want the app with its secret", len(apps), err)
			}
			db.Writer().MustExec("DELETE FROM data_keys")
		})
		l.refused(t, fault.NotFound, "data_keys", "backup")
	})
}

func TestAnOldMasterKeyIsTakenIntoUseByANewStore(t *testing.T) {
	t.Parallel()
	one, two := newLocation(t, ""), newLocation(t, "")
	two.keyset = one.keyset
	for _, l := range []location{one, two} {
		l.with(t, func(db *sqlstore.DB) { plant(t, db) })
	}
	// The data keys are still their own.
	one.with(t, func(a *sqlstore.DB) {
		two.with(t, func(b *sqlstore.DB) {
			place := secret.Place{Table: "t", ID: "1"}
			sealed, err := a.Keyring().Seal(secret.New(canary), place)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.Keyring().Open(sealed, place); err == nil {
				t.Error("two stores share their data keys")
			}
		})
	})
}
