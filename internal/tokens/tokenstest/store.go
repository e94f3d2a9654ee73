// Package tokenstest holds the suite for tokens.Store: each promise that the interface makes, tried on a real
// database.
package tokenstest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/notify"
	"github.com/behalf-project/behalf/internal/tokens"
)

// Opened is a store under test, with the ids of two people whom it knows, and the bus it announces on.
type Opened struct {
	Store      tokens.Store
	Alice, Bob string
	Bus        *notify.Bus
	Disable    func(userID string) error     // disables a person
	Entries    func() ([]audit.Entry, error) // the last records

}

var (
	noon  = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	entry = audit.Entry{Actor: "usr_test", Action: audit.TokenCreated, Outcome: "ok"}
	ended = audit.Entry{Actor: "usr_test", Action: audit.TokenRevoked, Outcome: "ok"}
)

// TestStore checks the promises of tokens.Store. open returns a store that holds no tokens, and lives until the test
// ends.
func TestStore(t *testing.T, open func(*testing.T) Opened) {
	token := func(user, name string) tokens.Token {
		return tokens.Token{
			ID: "tok_" + name, UserID: user, Name: name, Hash: "hash of " + name, Scopes: []string{"account", "token:databricks"},
			Origin: "api", CreatedAt: noon, ExpiresAt: noon.Add(time.Hour),
		}
	}
	create := func(t *testing.T, o Opened, k tokens.Token) tokens.Token {
		t.Helper()
		if err := o.Store.CreateToken(t.Context(), k, 10, entry); err != nil {
			t.Fatalf("CreateToken = %v, want no error", err)
		}
		return k
	}
	find := func(t *testing.T, o Opened, hash string) tokens.Token {
		t.Helper()
		got, err := o.Store.FindToken(t.Context(), hash)
		if err != nil {
			t.Fatalf("FindToken = %v, want no error", err)
		}
		return got
	}
	wantKind := func(t *testing.T, what string, err error, kind fault.Kind) {
		t.Helper()
		if !errors.Is(err, kind) {
			t.Errorf("%s = %v, want %s", what, err, kind)
		}
	}

	t.Run("a token comes back as it was stored, by the hash of its value only", func(t *testing.T) {
		o := open(t)
		want := create(t, o, token(o.Alice, "1"))
		if diff := cmp.Diff(want, find(t, o, want.Hash)); diff != "" {
			t.Errorf("FindToken (-want +got):\n%s", diff)
		}
		for _, hash := range []string{"", "none", want.ID} {
			_, err := o.Store.FindToken(t.Context(), hash)
			wantKind(t, "FindToken of "+hash, err, fault.NotFound)
		}
	})
	t.Run("each person sees their own tokens, the newest first", func(t *testing.T) {
		o := open(t)
		create(t, o, token(o.Alice, "1"))
		create(t, o, token(o.Alice, "2"))
		create(t, o, token(o.Bob, "3"))
		list, err := o.Store.ListTokens(t.Context(), o.Alice)
		if err != nil || len(list) != 2 || list[0].ID != "tok_2" || list[1].ID != "tok_1" {
			t.Errorf("ListTokens = %v, %v, want tok_2 and tok_1", list, err)
		}
	})
	t.Run("a token ends once, is announced, and keeps when and why", func(t *testing.T) {
		o := open(t)
		k := create(t, o, token(o.Alice, "1"))
		var news []notify.News
		defer o.Bus.Subscribe(func(n notify.News) { news = append(news, n) })()
		wantKind(t, "RevokeToken by somebody else", o.Store.RevokeToken(t.Context(), o.Bob, k.ID, "theft", noon, ended), fault.NotFound)
		for i, reason := range []string{"revoked", "again"} {
			if err := o.Store.RevokeToken(t.Context(), o.Alice, k.ID, reason, noon.Add(time.Duration(i)*time.Minute), ended); err != nil {
				t.Errorf("RevokeToken = %v, want no error", err)
			}
		}
		if got := find(t, o, k.Hash); !got.RevokedAt.Equal(noon) || got.RevokeReason != "revoked" {
			t.Errorf("it ended at %v because %q, want %v and revoked", got.RevokedAt, got.RevokeReason, noon)
		}
		if len(news) != 1 || news[0].Topic != notify.TokenChanged || news[0].Principal == "" {
			t.Errorf("news = %+v, want one of TokenChanged", news)
		}
		entries, err := o.Entries()
		if err != nil || len(entries) < 2 || entries[0].Action != audit.TokenRevoked || entries[0].Object != k.ID || entries[1].Action == audit.TokenRevoked {
			t.Errorf("the records are %+v, %v, want one of the end", entries, err)
		}
	})
	t.Run("the tokens of a disabled person end with the same commit, and they get no new one", func(t *testing.T) {
		o := open(t)
		k, other := create(t, o, token(o.Alice, "1")), create(t, o, token(o.Bob, "2"))
		if err := o.Disable(o.Alice); err != nil {
			t.Fatal(err)
		}
		if got := find(t, o, k.Hash); got.RevokedAt.IsZero() || got.RevokeReason == "" {
			t.Errorf("the token is %+v, want it revoked", got)
		}
		if got := find(t, o, other.Hash); !got.RevokedAt.IsZero() {
			t.Errorf("the token of somebody else is %+v, want it alive", got)
		}
		wantKind(t, "CreateToken", o.Store.CreateToken(t.Context(), token(o.Alice, "3"), 10, entry), fault.NotFound)
	})
	for _, everybody := range []bool{false, true} {
		t.Run(fmt.Sprintf("the tokens of a person end at once, and with everybody's (%t) those of others", everybody), func(t *testing.T) {
			o := open(t)
			k, before, other := create(t, o, token(o.Alice, "1")), create(t, o, token(o.Alice, "2")), create(t, o, token(o.Bob, "3"))
			if err := o.Store.RevokeToken(t.Context(), o.Alice, before.ID, "mine", noon, ended); err != nil {
				t.Fatalf("RevokeToken = %v, want no error", err)
			}
			var news []notify.News
			o.Bus.Subscribe(func(n notify.News) { news = append(news, n) })
			whose := o.Alice
			if everybody {
				whose = ""
			}
			if err := o.Store.RevokeTokens(t.Context(), whose, "leak", noon.Add(time.Minute), ended); err != nil {
				t.Fatalf("RevokeTokens = %v, want no error", err)
			}
			if got := find(t, o, k.Hash); !got.RevokedAt.Equal(noon.Add(time.Minute)) || got.RevokeReason != "leak" {
				t.Errorf("the token is %+v, want it revoked", got)
			}
			if got := find(t, o, before.Hash); !got.RevokedAt.Equal(noon) || got.RevokeReason != "mine" {
				t.Errorf("the token that had ended is %+v, want it as it was", got)
			}
			if got := find(t, o, other.Hash); got.RevokedAt.IsZero() == everybody {
				t.Errorf("the token of somebody else is %+v, want it revoked: %t", got, everybody)
			}
			if len(news) != 1 || news[0].Topic != notify.TokenChanged || (news[0].Principal == "") != everybody {
				t.Errorf("news = %+v, want one of TokenChanged", news)
			}
		})
	}
	t.Run("with a token ends all that came of it, and nothing else", func(t *testing.T) {
		o := open(t)
		under := func(parent, name string) tokens.Token {
			k := token(o.Alice, name)
			k.ParentID = parent
			return create(t, o, k)
		}
		root, beside := create(t, o, token(o.Alice, "1")), create(t, o, token(o.Alice, "2"))
		child, sibling, before := under(root.ID, "3"), under(root.ID, "4"), under(root.ID, "5")
		grandchild, other := under(child.ID, "6"), under(beside.ID, "7")
		if got := find(t, o, grandchild.Hash); got.ParentID != child.ID {
			t.Errorf("the token is %+v, want it made by %s", got, child.ID)
		}
		for i, id := range []string{before.ID, root.ID} {
			if err := o.Store.RevokeToken(t.Context(), o.Alice, id, fmt.Sprint("reason ", i), noon.Add(time.Duration(i)*time.Minute), ended); err != nil {
				t.Fatalf("RevokeToken = %v, want no error", err)
			}
		}
		for _, k := range []tokens.Token{root, child, sibling, grandchild} {
			if got := find(t, o, k.Hash); !got.RevokedAt.Equal(noon.Add(time.Minute)) || got.RevokeReason != "reason 1" {
				t.Errorf("%s is %+v, want it to have ended with %s", k.ID, got, root.ID)
			}
		}
		if got := find(t, o, before.Hash); !got.RevokedAt.Equal(noon) {
			t.Errorf("the token that had ended is %+v, want it as it was", got)
		}
		for _, k := range []tokens.Token{beside, other} {
			if got := find(t, o, k.Hash); !got.RevokedAt.IsZero() {
				t.Errorf("%s is %+v, want it alive", k.ID, got)
			}
		}
		var objects []string
		entries, err := o.Entries()
		for _, e := range entries {
			if e.Action == audit.TokenRevoked {
				objects = append(objects, e.Object+" "+e.Detail["with"])
			}
		}
		if diff := cmp.Diff([]string{"tok_6 tok_1", "tok_4 tok_1", "tok_3 tok_1", "tok_1 ", "tok_5 "}, objects); err != nil || diff != "" {
			t.Errorf("the records of what ended, %v (-want +got):\n%s", err, diff)
		}
	})
	t.Run("nothing is made by a token that ended, is somebody else's, or can do less", func(t *testing.T) {
		o := open(t)
		revoked, alive, others := create(t, o, token(o.Alice, "1")), create(t, o, token(o.Alice, "2")), create(t, o, token(o.Bob, "3"))
		if err := o.Store.RevokeToken(t.Context(), o.Alice, revoked.ID, "revoked", noon, ended); err != nil {
			t.Fatal(err)
		}
		for name, tt := range map[string]struct {
			change func(*tokens.Token)
			want   fault.Kind
		}{
			"revoked":         {func(k *tokens.Token) { k.ParentID = revoked.ID }, fault.Unauthenticated},
			"none":            {func(k *tokens.Token) { k.ParentID = "tok_none" }, fault.Unauthenticated},
			"of another":      {func(k *tokens.Token) { k.ParentID = others.ID }, fault.Unauthenticated},
			"expired":         {func(k *tokens.Token) { k.CreatedAt = alive.ExpiresAt }, fault.Unauthenticated},
			"more scope":      {func(k *tokens.Token) { k.Scopes = []string{"token:snowflake"} }, fault.Denied},
			"a longer life":   {func(k *tokens.Token) { k.ExpiresAt = k.ExpiresAt.Add(time.Millisecond) }, fault.Denied},
			"an endless life": {func(k *tokens.Token) { k.ExpiresAt = time.Time{} }, fault.Denied},
		} {
			k := token(o.Alice, "child")
			k.ParentID = alive.ID
			tt.change(&k)
			wantKind(t, "CreateToken under a parent that is or has "+name, o.Store.CreateToken(t.Context(), k, 10, entry), tt.want)
		}
	})
	t.Run("nothing outlives its parent, however many are made while it ends", func(t *testing.T) {
		o := open(t)
		root := create(t, o, token(o.Alice, "root"))
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				if i == 10 {
					if err := o.Store.RevokeToken(t.Context(), o.Alice, root.ID, "revoked", noon, ended); err != nil {
						t.Errorf("RevokeToken = %v, want no error", err)
					}
					return
				}
				k := token(o.Alice, fmt.Sprint(i))
				k.ParentID = root.ID
				if err := o.Store.CreateToken(t.Context(), k, 100, entry); err != nil {
					wantKind(t, "CreateToken", err, fault.Unauthenticated)
				}
			})
		}
		all.Wait()
		list, err := o.Store.ListTokens(t.Context(), o.Alice)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range list {
			if k.RevokedAt.IsZero() {
				t.Errorf("%s is alive, and what made it has ended", k.ID)
			}
		}
	})
	t.Run("nobody has more living tokens than they may, however many ask at once", func(t *testing.T) {
		o := open(t)
		old := token(o.Alice, "old")
		old.ExpiresAt = noon.Add(-time.Minute) // it does not count
		old.CreatedAt = noon.Add(-time.Hour)
		create(t, o, old)
		var (
			all  sync.WaitGroup
			made atomic.Int32
		)
		for i := range 20 {
			all.Go(func() {
				switch err := o.Store.CreateToken(t.Context(), token(o.Alice, fmt.Sprint(i)), 5, entry); {
				case err == nil:
					made.Add(1)
				default:
					wantKind(t, "CreateToken", err, fault.TooMany)
				}
			})
		}
		all.Wait()
		if made.Load() != 5 {
			t.Errorf("%d tokens were made, want 5", made.Load())
		}
	})
	t.Run("what ended 30 days ago is forgotten with the next token", func(t *testing.T) {
		o := open(t)
		gone, kept := token(o.Alice, "1"), token(o.Alice, "2")
		gone.ExpiresAt, kept.ExpiresAt = noon.AddDate(0, 0, -31), noon.AddDate(0, 0, -29)
		create(t, o, gone)
		create(t, o, kept)
		create(t, o, token(o.Alice, "3"))
		_, err := o.Store.FindToken(t.Context(), gone.Hash)
		wantKind(t, "FindToken of the old one", err, fault.NotFound)
		find(t, o, kept.Hash)
	})
	t.Run("the last use is kept to the minute and never moves backwards", func(t *testing.T) {
		o := open(t)
		k := create(t, o, token(o.Alice, "1"))
		for _, tt := range []struct{ at, want time.Time }{
			{noon, noon}, {noon.Add(30 * time.Second), noon}, {noon.Add(time.Minute), noon.Add(time.Minute)}, {noon.Add(-time.Hour), noon.Add(time.Minute)},
		} {
			if err := o.Store.TouchToken(t.Context(), k.ID, tt.at); err != nil {
				t.Fatalf("TouchToken = %v, want no error", err)
			}
			if got := find(t, o, k.Hash); !got.UsedAt.Equal(tt.want) {
				t.Errorf("after a use at %v UsedAt = %v, want %v", tt.at, got.UsedAt, tt.want)
			}
		}
	})
	t.Run("a token without an id, a hash or a scope is refused", func(t *testing.T) {
		o := open(t)
		for _, change := range []func(*tokens.Token){
			func(k *tokens.Token) { k.ID = "" }, func(k *tokens.Token) { k.Hash = "" }, func(k *tokens.Token) { k.Scopes = nil },
		} {
			k := token(o.Alice, "1")
			change(&k)
			wantKind(t, "CreateToken", o.Store.CreateToken(t.Context(), k, 10, entry), fault.Invalid)
		}
		k := create(t, o, token(o.Alice, "1"))
		k.ID = "tok_2"
		wantKind(t, "CreateToken with a hash in use", o.Store.CreateToken(t.Context(), k, 10, entry), fault.Conflict)
	})
}
