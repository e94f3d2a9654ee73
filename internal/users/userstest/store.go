// Package userstest holds the suite for users.Store: each promise that the interface makes, tried on a real database.
package userstest

import (
	"context"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/users"
)

var (
	entry   = audit.Entry{Actor: "config", Action: audit.UserDeclared, Outcome: "ok"}
	compare = cmp.Comparer(secret.Text.Equal)
)

// TestStore checks the promises of users.Store. open returns a store that holds nobody, and lives until the test ends.
func TestStore(t *testing.T, open func(*testing.T) users.Store) {
	put := func(t *testing.T, s users.Store, u users.User) users.User {
		t.Helper()
		got, err := s.PutUser(t.Context(), u, users.Ending{}, entry)
		if err != nil {
			t.Fatalf("PutUser = %v, want no error", err)
		}
		return got
	}
	alice := users.User{
		Username: "alice", Email: "Alice@Example.com", Roles: []users.Role{users.Admin}, Password: secret.New("$argon2id$v=19$…"),
		Disabled: true, Origin: "file",
	}

	t.Run("a person comes back as they were stored", func(t *testing.T) {
		s := open(t)
		got := put(t, s, alice)
		want := alice
		want.ID, want.Rev, want.CreatedAt, want.UpdatedAt = got.ID, 1, got.CreatedAt, got.CreatedAt
		if diff := cmp.Diff(want, got, compare); diff != "" || got.ID == "" || got.CreatedAt.IsZero() {
			t.Errorf("PutUser of id %q at %v (-want +got):\n%s", got.ID, got.CreatedAt, diff)
		}
		read, err := s.GetUser(t.Context(), got.ID)
		if diff := cmp.Diff(got, read, compare); err != nil || diff != "" {
			t.Errorf("GetUser = %v (-want +got):\n%s", err, diff)
		}
	})
	t.Run("a person is found by username or e-mail, without case", func(t *testing.T) {
		s := open(t)
		want := put(t, s, alice)
		put(t, s, users.User{Username: "bob"})
		for _, login := range []string{"alice", "ALICE", "alice@example.com", "Alice@EXAMPLE.com"} {
			got, err := s.FindUser(t.Context(), login)
			if err != nil || got.ID != want.ID {
				t.Errorf("FindUser(%q) = %q, %v, want alice", login, got.Username, err)
			}
		}
		for _, login := range []string{"", "carol", "alice@", "al%", "alice ", want.ID, "a\x00lice", "\xff"} {
			_, err := s.FindUser(t.Context(), login)
			wantKind(t, "FindUser of "+login, err, fault.NotFound)
		}
		for _, name := range []string{"a\x00lice", "\xff"} {
			_, err := s.PutUser(t.Context(), users.User{Username: name}, users.Ending{}, entry)
			wantKind(t, "PutUser of broken text", err, fault.Invalid)
		}
	})
	t.Run("nobody is not found", func(t *testing.T) {
		s := open(t)
		_, err := s.GetUser(t.Context(), "usr_none")
		wantKind(t, "GetUser", err, fault.NotFound)
		_, err = s.PutUser(t.Context(), users.User{ID: "usr_none", Username: "x", Rev: 1}, users.Ending{}, entry)
		wantKind(t, "PutUser", err, fault.NotFound)
		_, err = s.PutUser(t.Context(), users.User{}, users.Ending{}, entry)
		wantKind(t, "PutUser without username", err, fault.Invalid)
	})
	t.Run("an update counts the revision and frees the old names", func(t *testing.T) {
		s := open(t)
		old := put(t, s, alice)
		next := users.User{ID: old.ID, Rev: old.Rev, Username: "Alicia", Origin: "api"}
		got := put(t, s, next)
		want := next
		want.Username, want.Rev, want.CreatedAt, want.UpdatedAt = "alicia", old.Rev+1, old.CreatedAt, got.UpdatedAt
		if diff := cmp.Diff(want, got, compare); diff != "" {
			t.Errorf("PutUser (-want +got):\n%s", diff)
		}
		_, err := s.FindUser(t.Context(), "alice")
		wantKind(t, "FindUser by the old name", err, fault.NotFound)
		if again := put(t, s, alice); again.ID == old.ID {
			t.Errorf("the new alice has the id %s of the old one", old.ID)
		}
	})
	t.Run("a name that somebody else has is a conflict", func(t *testing.T) {
		s := open(t)
		put(t, s, alice)
		bob := put(t, s, users.User{Username: "bob", Email: "bob@example.com"})
		for _, tt := range []struct {
			name string
			user users.User
		}{
			{"the same username", users.User{Username: "alice"}},
			{"the same username in capitals", users.User{Username: "ALICE"}},
			{"the same e-mail in another case", users.User{Username: "carol", Email: "alice@EXAMPLE.com"}},
			{"a username that is somebody's e-mail", users.User{Username: "alice@example.com"}},
			{"an e-mail that is somebody's username", users.User{Username: "carol", Email: "Alice"}},
		} {
			_, err := s.PutUser(t.Context(), tt.user, users.Ending{}, entry)
			wantKind(t, "PutUser of a new person with "+tt.name, err, fault.Conflict)
			tt.user.ID, tt.user.Rev = bob.ID, bob.Rev
			_, err = s.PutUser(t.Context(), tt.user, users.Ending{}, entry)
			wantKind(t, "PutUser of bob with "+tt.name, err, fault.Conflict)
		}
		if got, err := s.FindUser(t.Context(), "bob@example.com"); err != nil || got.Rev != bob.Rev {
			t.Errorf("FindUser = %+v, %v, want bob unchanged", got, err)
		}
	})
	t.Run("many have no e-mail, and one may have their username as e-mail", func(t *testing.T) {
		s := open(t)
		for _, u := range []users.User{{Username: "a"}, {Username: "b"}, {Username: "c@x", Email: "C@x"}} {
			put(t, s, u)
		}
		got, err := s.ListUsers(t.Context())
		if err != nil || len(got) != 3 {
			t.Fatalf("ListUsers = %d people, %v, want 3", len(got), err)
		}
		for i, want := range []string{"a", "b", "c@x"} {
			if got[i].Username != want {
				t.Errorf("person %d is %q, want %q: the list is ordered by username", i, got[i].Username, want)
			}
		}
	})
	t.Run("one of many updates of one revision succeeds", func(t *testing.T) {
		s := open(t)
		u := put(t, s, alice)
		wantOne(t, func() error { _, err := s.PutUser(t.Context(), u, users.Ending{}, entry); return err })
	})
	t.Run("one of many people gets a name", func(t *testing.T) {
		s := open(t)
		wantOne(t, func() error {
			_, err := s.PutUser(t.Context(), users.User{Username: "same"}, users.Ending{}, entry)
			return err
		})
	})
	t.Run("a caller who left hears canceled", func(t *testing.T) {
		s := open(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := s.PutUser(ctx, alice, users.Ending{}, entry)
		wantKind(t, "PutUser", err, fault.Canceled)
		_, err = s.FindUser(ctx, "alice")
		wantKind(t, "FindUser", err, fault.Canceled)
		_, err = s.ListUsers(ctx)
		wantKind(t, "ListUsers", err, fault.Canceled)
	})
}

// wantOne calls put from many goroutines at once and checks that one of them succeeds and all others meet a conflict.
func wantOne(t *testing.T, put func() error) {
	t.Helper()
	errs := make([]error, 20)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = put() })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			wantKind(t, "PutUser by one who came too late", err, fault.Conflict)
		}
	}
	if won != 1 {
		t.Errorf("PutUser succeeded for %d of %d callers, want 1", won, len(errs))
	}
}

func wantKind(t *testing.T, what string, err error, want fault.Kind) {
	t.Helper()
	if got := fault.KindOf(err); err == nil || got != want {
		t.Errorf("%s = %v (kind %q), want %q", what, err, got, want)
	}
}
