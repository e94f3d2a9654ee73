package sqlstore_test

import (
	"errors"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/authserver"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/session"
	"github.com/behalf-project/behalf/internal/sqlstore"
	"github.com/behalf-project/behalf/internal/tokens"
	"github.com/behalf-project/behalf/internal/users"
)

// A person who changes and what ends with that are one transaction: otherwise a process that dies between the two leaves
// what should have ended, and the next start sees no change.
func TestWhatEndsWithAChangeOfAPersonEndsInItsTransaction(t *testing.T) {
	onBoth(t, func(t *testing.T, db *sqlstore.DB) {
		ctx := t.Context()
		alice, err := db.Users().PutUser(ctx, users.User{Username: "alice"}, users.Ending{}, entry)
		if err != nil {
			t.Fatal(err)
		}
		err = errors.Join(
			db.Sessions().CreateSession(ctx, session.Session{ID: "ses_1", UserID: alice.ID, TokenHash: "1", AuthenticatedAt: noon}, "", entry),
			db.Tokens().CreateToken(ctx, tokens.Token{ID: "tok_1", UserID: alice.ID, Hash: "1", Scopes: []string{"account"}, CreatedAt: noon}, 9, entry),
			db.Codes().CreateCode(ctx, authserver.Code{ID: "cod_1", Hash: "1", UserID: alice.ID, TokenID: "tok_2", CreatedAt: noon, ExpiresAt: noon.Add(time.Minute)}, 9, entry),
			db.Devices().CreateDevice(ctx, authserver.Device{ID: "dev_1", DeviceHash: "1", UserCodeHash: "1", CreatedAt: noon, ExpiresAt: noon.Add(time.Minute)}, 9),
			db.Devices().DecideDevice(ctx, "dev_1", alice.ID, true, noon, entry),
		)
		if err != nil {
			t.Fatal(err)
		}
		reset := alice
		reset.Roles = []users.Role{users.Admin}
		// A reason that cannot be stored: the ending fails, and the change with it.
		if _, err := db.Users().PutUser(ctx, reset, users.Ending{Sessions: true, Reason: "\x00"}, entry); !errors.Is(err, fault.Invalid) {
			t.Fatalf("PutUser with a broken ending = %v, want invalid", err)
		}
		if u, err := db.Users().GetUser(ctx, alice.ID); err != nil || u.Rev != alice.Rev || u.Has(users.Admin) {
			t.Fatalf("after an ending that failed the person is %+v, %v, want them unchanged", u, err)
		}

		before := len(entries(t, db))
		if _, err := db.Users().PutUser(ctx, reset, users.Ending{Sessions: true, Tokens: true, Reason: "reset"}, entry); err != nil {
			t.Fatal(err)
		}
		if ses, err := db.Sessions().GetSession(ctx, "1"); err != nil || ses.RevokedAt.IsZero() || ses.RevokeReason != "reset" {
			t.Errorf("the session is %+v, %v, want it ended by the reset", ses, err)
		}
		if tok, err := db.Tokens().FindToken(ctx, "1"); err != nil || tok.RevokedAt.IsZero() || tok.RevokeReason != "reset" {
			t.Errorf("the token is %+v, %v, want it ended by the reset", tok, err)
		}
		if _, err := db.Codes().FindCode(ctx, "1"); !errors.Is(err, fault.NotFound) {
			t.Errorf("the code that was allowed before the reset = %v, want not found", err)
		}
		if d, err := db.Devices().PollDevice(ctx, "1", noon); err != nil || d.Allowed {
			t.Errorf("the program that was allowed before the reset = %+v, %v, want it denied", d, err)
		}
		made := entries(t, db)
		made = made[:len(made)-before]
		want := []audit.Action{audit.TokenRevoked, audit.SignedOut, entry.Action} // newest first
		if len(made) != len(want) {
			t.Fatalf("the reset left the records %+v, want %v", made, want)
		}
		for i, e := range made {
			if e.Action != want[i] || e.Actor != entry.Actor || i < 2 && e.Detail["reason"] != "reset" {
				t.Errorf("record %d is %+v, want %s by %s", i, e, want[i], entry.Actor)
			}
		}
	})
}
