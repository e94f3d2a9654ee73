package users_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/notify"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/session"
	"github.com/behalf-project/behalf/internal/sqlstore"
	"github.com/behalf-project/behalf/internal/sqlstore/sqlstoretest"
	"github.com/behalf-project/behalf/internal/tokens"
	"github.com/behalf-project/behalf/internal/users"
)

const (
	alicePassword = "alice's long password"
	bobPassword   = "bob's own long password"
)

func declared() []users.Declared {
	return []users.Declared{
		{Username: "alice", Email: "Alice@Example.com", Roles: []users.Role{users.Admin}, Password: secret.New(alicePassword)},
		{Username: "bob", Password: secret.New(bobPassword)},
		{Username: "carol"},
	}
}

func newService(t *testing.T) (*users.Service, *sqlstore.DB) {
	t.Helper()
	db := sqlstoretest.OpenSQLite(t, nil)
	s := users.New(users.Config{Store: db.Users(), Bus: db.News()})
	if err := s.Declare(t.Context(), declared()); err != nil {
		t.Fatal(err)
	}
	return s, db
}

// hold gives the person called name a session and a token. living says which of the two have not ended.
func hold(t *testing.T, s *users.Service, db *sqlstore.DB, name string) (living func() string) {
	t.Helper()
	u, err := s.ByUsername(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if err := db.Sessions().CreateSession(t.Context(), session.Session{ID: "ses_" + name, UserID: u.ID, TokenHash: name, AuthenticatedAt: now}, "", sampleEntry); err != nil {
		t.Fatal(err)
	}
	if err := db.Tokens().CreateToken(t.Context(), tokens.Token{ID: "tok_" + name, UserID: u.ID, Hash: name, Scopes: []string{"account"}, CreatedAt: now}, 10, sampleEntry); err != nil {
		t.Fatal(err)
	}
	return func() string {
		browser, err1 := db.Sessions().GetSession(t.Context(), name)
		token, err2 := db.Tokens().FindToken(t.Context(), name)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		switch {
		case browser.RevokedAt.IsZero() && token.RevokedAt.IsZero():
			return "session and token"
		case browser.RevokedAt.IsZero():
			return "session"
		case token.RevokedAt.IsZero():
			return "token"
		}
		return "nothing"
	}
}

func TestAuthenticate(t *testing.T) {
	s, _ := newService(t)
	if err := s.Declare(t.Context(), append(declared(), users.Declared{Username: "dora", Password: secret.New("dora's long password")})); err != nil {
		t.Fatal(err)
	}
	if err := s.Declare(t.Context(), declared()); err != nil { // dora is gone from the file
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, login, password, want string }{
		{"by username", "alice", alicePassword, "alice"},
		{"by e-mail", "alice@example.com", alicePassword, "alice"},
		{"case and spaces around a name do not matter", " ALICE ", alicePassword, "alice"},
		{"with a wrong password", "alice", bobPassword, ""},
		{"with no password", "alice", "", ""},
		{"an unknown name", "nobody", alicePassword, ""},
		{"an empty name", "", alicePassword, ""},
		{"a person without a password", "carol", "", ""},
		{"a person who is gone from the file", "dora", "dora's long password", ""},
		{"a name as long as a book", strings.Repeat("a", 1<<20), alicePassword, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u, err := s.Authenticate(t.Context(), tt.login, secret.New(tt.password), "192.0.2.1")
			if tt.want == "" {
				e, ok := errors.AsType[*fault.Error](err)
				if !ok || e.Kind != fault.Unauthenticated || e.Code != "invalid_credentials" || e.Detail != "The username or password is not right." {
					t.Errorf("Authenticate = %v, want the one refusal of all", err)
				}
				return
			}
			if err != nil || u.Username != tt.want {
				t.Errorf("Authenticate = %q, %v, want %q", u.Username, err, tt.want)
			}
		})
	}
}

func TestManyGuessesAtOnceFindNoGap(t *testing.T) {
	s, _ := newService(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	tried := 0
	for range 20 {
		wg.Go(func() {
			_, err := s.Authenticate(t.Context(), "alice", secret.New("not the password"), "192.0.2.1")
			if errors.Is(err, fault.Unauthenticated) {
				mu.Lock()
				tried++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if tried > 6 { // five are free, and a second may have passed
		t.Errorf("%d guesses were compared, want at most 6", tried)
	}
}

func TestAHashIsMadeAnewWhenItsCostsAreLow(t *testing.T) {
	store := sqlstoretest.OpenSQLite(t, nil).Users()
	weak := users.New(users.Config{Store: store})
	if err := weak.Declare(t.Context(), declared()); err != nil {
		t.Fatal(err)
	}
	u, err := store.FindUser(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	old := u.Password.Reveal()
	strong := users.New(users.Config{Store: store, Params: users.Params{Memory: 20480, Time: 3, Threads: 1}})

	// A declared person's hash is made by Declare, which knows the password.
	if err := strong.Declare(t.Context(), declared()); err != nil {
		t.Fatal(err)
	}
	if u, _ = store.FindUser(t.Context(), "alice"); !strings.Contains(u.Password.Reveal(), "m=20480,t=3,p=1") {
		t.Errorf("after Declare the hash is %q, want higher costs", u.Password.Reveal())
	}

	// That of another person is made when they sign in.
	u.Origin, u.Password = users.FromAPI, secret.New(old)
	if _, err = store.PutUser(t.Context(), u, users.Ending{}, sampleEntry); err != nil {
		t.Fatal(err)
	}
	if _, err := strong.Authenticate(t.Context(), "alice", secret.New(alicePassword), "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	u, _ = store.FindUser(t.Context(), "alice")
	if !strings.Contains(u.Password.Reveal(), "m=20480,t=3,p=1") {
		t.Errorf("after signing in the hash is %q, want higher costs", u.Password.Reveal())
	}
	if _, err := strong.Authenticate(t.Context(), "alice", secret.New(alicePassword), "192.0.2.1"); err != nil {
		t.Errorf("with the new hash: %v", err)
	}
}

func TestDeclare(t *testing.T) {
	t.Run("again changes nothing", func(t *testing.T) {
		s, _ := newService(t)
		before, err := s.ByUsername(t.Context(), "alice")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Declare(t.Context(), declared()); err != nil {
			t.Fatal(err)
		}
		after, err := s.ByUsername(t.Context(), "alice")
		if err != nil || after.Rev != before.Rev {
			t.Errorf("rev %d became %d (%v), want nothing changed", before.Rev, after.Rev, err)
		}
	})
	for _, tt := range []struct {
		name   string
		change func(*users.Declared)
		want   string // what lives on
	}{
		{"another password", func(d *users.Declared) { d.Password = secret.New("another long password") }, "nothing"},
		{"no password any more", func(d *users.Declared) { d.Password = secret.Text{} }, "nothing"},
		{"another password and other roles", func(d *users.Declared) { d.Password, d.Roles = secret.New("another long password"), nil }, "nothing"},
		{"other roles", func(d *users.Declared) { d.Roles = nil }, "token"},
		{"another address", func(d *users.Declared) { d.Email = "a@example.com" }, "session and token"},
		{"what was there", func(*users.Declared) {}, "session and token"},
	} {
		t.Run("with "+tt.name+" leaves "+tt.want, func(t *testing.T) {
			s, db := newService(t)
			living, bob := hold(t, s, db, "alice"), hold(t, s, db, "bob")
			people := declared()
			tt.change(&people[0])
			if err := s.Declare(t.Context(), people); err != nil {
				t.Fatal(err)
			}
			if got := living(); got != tt.want {
				t.Errorf("alice keeps %s, want %s", got, tt.want)
			}
			if got := bob(); got != "session and token" {
				t.Errorf("bob, who did not change, keeps %s", got)
			}
			if given := people[0].Password; !given.Empty() {
				if _, err := s.Authenticate(t.Context(), "alice", given, ""); err != nil {
					t.Errorf("with the declared password: %v", err)
				}
			}
		})
	}
	t.Run("with higher costs of hashing ends nothing", func(t *testing.T) {
		s, db := newService(t)
		living := hold(t, s, db, "alice")
		strong := users.New(users.Config{Store: db.Users(), Params: users.Params{Memory: 20480, Time: 3, Threads: 1}})
		if err := strong.Declare(t.Context(), declared()); err != nil {
			t.Fatal(err)
		}
		if got := living(); got != "session and token" {
			t.Errorf("alice keeps %s, want both: her password is the same", got)
		}
	})
	t.Run("does not give a name to a second person", func(t *testing.T) {
		s, _ := newService(t)
		people := declared()
		if err := s.Declare(t.Context(), people[1:]); err != nil {
			t.Fatal(err)
		}
		people[0].Email = "somebody.else@example.com"
		err := s.Declare(t.Context(), people)
		if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "names are not given to a second person") {
			t.Errorf("Declare = %v, want a refusal that says why", err)
		}
	})
	t.Run("without somebody disables them, and with them again enables the same person", func(t *testing.T) {
		s, db := newService(t)
		before, _ := s.ByUsername(t.Context(), "bob")
		living := hold(t, s, db, "bob")
		if err := s.Declare(t.Context(), declared()[:1]); err != nil {
			t.Fatal(err)
		}
		if u, err := s.ByID(t.Context(), before.ID); err != nil || !u.Disabled || living() != "nothing" {
			t.Errorf("ByID = %+v, %v, who keeps %s, want bob disabled and signed out", u, err, living())
		}
		if err := s.Declare(t.Context(), declared()); err != nil {
			t.Fatal(err)
		}
		if u, err := s.ByID(t.Context(), before.ID); err != nil || u.Disabled {
			t.Errorf("ByID = %+v, %v, want bob back", u, err)
		}
	})
	t.Run("gives an address to somebody else", func(t *testing.T) {
		s, _ := newService(t)
		people := []users.Declared{{Username: "alicia", Email: "alice@example.com", Password: secret.New(alicePassword)}}
		if err := s.Declare(t.Context(), people); err != nil {
			t.Fatal(err)
		}
		if u, err := s.Authenticate(t.Context(), "alice@example.com", secret.New(alicePassword), ""); err != nil || u.Username != "alicia" {
			t.Errorf("Authenticate = %q, %v, want alicia", u.Username, err)
		}
	})
	t.Run("takes a hash as it is", func(t *testing.T) {
		s, _ := newService(t)
		hash, err := s.Hash(t.Context(), secret.New("a hashed long password"))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Declare(t.Context(), []users.Declared{{Username: "alice", Password: hash}}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Authenticate(t.Context(), "alice", secret.New("a hashed long password"), ""); err != nil {
			t.Errorf("Authenticate = %v", err)
		}
		if _, err := s.Authenticate(t.Context(), "alice", hash, ""); err == nil {
			t.Error("the hash itself is a password")
		}
	})
	t.Run("names every mistake and changes nothing", func(t *testing.T) {
		s, _ := newService(t)
		err := s.Declare(t.Context(), []users.Declared{
			{Username: "Alice"},
			{Username: "bob", Email: "bob"},
			{Username: "carol", Roles: []users.Role{"root"}},
			{Username: "dora", Password: secret.New("short")},
			{Username: "erin", Password: secret.New("$argon2id$v=19$m=99999999,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA")},
			{Username: "erin"},
			{Username: "faye", Email: "erin"},
			{Username: "gina", Email: "gi\u2066na@example.com"},
		})
		e, ok := errors.AsType[*fault.Error](err)
		if !ok || e.Kind != fault.Invalid {
			t.Fatalf("Declare = %v, want it refused", err)
		}
		var got []string
		for _, f := range e.Fields {
			got = append(got, f.Pointer+" "+f.Code)
		}
		want := "users.Alice.username invalid, users.bob.email invalid, users.carol.roles unknown, users.dora.password length, " +
			"users.erin.password invalid, users.erin.username taken, users.faye.username taken, users.faye.email invalid, users.gina.email invalid"
		if strings.Join(got, ", ") != want {
			t.Errorf("fields = %s\nwant     %s", strings.Join(got, ", "), want)
		}
		if strings.Contains(err.Error(), "short") && strings.Contains(err.Error(), `"short"`) {
			t.Errorf("the error shows a password: %v", err)
		}
		if u, err := s.ByUsername(t.Context(), "alice"); err != nil || u.Disabled {
			t.Errorf("alice = %+v, %v, want her untouched", u, err)
		}
	})
}

func TestADisabledPersonIsKnownAsSuchAtOnce(t *testing.T) {
	db := sqlstoretest.OpenSQLite(t, nil)
	s := users.New(users.Config{Store: db.Users(), Bus: db.News()})
	if err := s.Declare(t.Context(), declared()); err != nil {
		t.Fatal(err)
	}
	u, err := s.ByUsername(t.Context(), "bob")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.ByID(t.Context(), u.ID); err != nil {
		t.Fatal(err)
	}
	var heard []notify.News
	db.News().Subscribe(func(n notify.News) { heard = append(heard, n) })
	if err := s.Disable(t.Context(), u.ID, "usr_admin"); err != nil {
		t.Fatal(err)
	}
	if got, err := s.ByID(t.Context(), u.ID); err != nil || !got.Disabled {
		t.Errorf("ByID = %+v, %v, want bob disabled", got, err)
	}
	if got, err := s.ByUsername(t.Context(), "bob"); err != nil || !got.Disabled {
		t.Errorf("ByUsername = %+v, %v, want bob disabled", got, err)
	}
	if len(heard) != 1 || heard[0].Topic != notify.UserChanged || heard[0].Principal != u.Principal().Key() || !heard[0].Revoked {
		t.Errorf("news = %+v, want one of bob", heard)
	}
}

func TestWhatAnotherProcessChangedCountsWithinASecond(t *testing.T) {
	store := sqlstoretest.OpenSQLite(t, nil).Users()
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	var news notify.Bus
	here := users.New(users.Config{Store: store, Bus: &news, Now: func() time.Time { return now }})
	there := users.New(users.Config{Store: store})
	if err := here.Declare(t.Context(), declared()); err != nil {
		t.Fatal(err)
	}
	u, err := here.ByUsername(t.Context(), "bob")
	if err != nil {
		t.Fatal(err)
	}
	if err := there.Disable(t.Context(), u.ID, "usr_admin"); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Second)
	if got, err := here.ByUsername(t.Context(), "bob"); err != nil || !got.Disabled {
		t.Errorf("ByUsername a second later = %+v, %v, want bob disabled", got, err)
	}
	alice, err := here.ByUsername(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	if err := there.Disable(t.Context(), alice.ID, "usr_admin"); err != nil {
		t.Fatal(err)
	}
	news.Publish(notify.News{Topic: notify.Everything})
	if got, err := here.ByUsername(t.Context(), "alice"); err != nil || !got.Disabled {
		t.Errorf("ByUsername when anything may have changed = %+v, %v, want alice disabled", got, err)
	}
}

func TestAUsernameIsNotAnAddress(t *testing.T) {
	s, _ := newService(t)
	for _, name := range []string{"alice@example.com", "ALICE", "nobody", ""} {
		if u, err := s.ByUsername(t.Context(), name); !errors.Is(err, fault.NotFound) {
			t.Errorf("ByUsername(%q) = %q, %v, want not found", name, u.Username, err)
		}
	}
}

var sampleEntry = audit.Entry{Actor: "test", Action: audit.UserDeclared, Outcome: "ok"}

// away is a store of people that does not answer while fails is set.
type away struct {
	users.Store
	fails error
	then  func() // happens before it fails
}

func (a *away) FindUser(ctx context.Context, name string) (users.User, error) {
	if a.fails != nil {
		a.then()
		return users.User{}, a.fails
	}
	return a.Store.FindUser(ctx, name)
}

func TestWhoIsInMemoryServesWhileTheStoreDoesNotAnswer(t *testing.T) {
	store := &away{Store: sqlstoretest.OpenSQLite(t, nil).Users(), then: func() {}}
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	var news notify.Bus
	s := users.New(users.Config{Store: store, Bus: &news, Stale: 30 * time.Second, Now: func() time.Time { return now }})
	if err := s.Declare(t.Context(), declared()); err != nil {
		t.Fatal(err)
	}
	alice, err := s.ByUsername(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	noAnswer := fault.New(fault.Unavailable, "The store does not answer.")
	for _, step := range []struct {
		after  time.Duration // since the store answered
		fails  error
		served bool
	}{
		{29 * time.Second, noAnswer, true},
		{29 * time.Second, fault.New(fault.NotFound, "There is nobody with this username."), false},
		{30 * time.Second, noAnswer, false},
	} {
		now, store.fails = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC).Add(step.after), step.fails
		got, err := s.ByUsername(t.Context(), "alice")
		if served := err == nil && got.ID == alice.ID; served != step.served || !served && !errors.Is(err, fault.KindOf(step.fails)) {
			t.Errorf("after %v, the store failing with %v: ByUsername = %v, %v, want served %v", step.after, step.fails, got.ID, err, step.served)
		}
	}

	store.fails = nil
	if _, err := s.ByUsername(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	now, store.fails = now.Add(2*time.Second), noAnswer
	store.then = func() { news.Publish(notify.News{Topic: notify.UserChanged}) }
	if got, err := s.ByUsername(t.Context(), "alice"); !errors.Is(err, fault.Unavailable) {
		t.Errorf("who changed while the store was asked: ByUsername = %v, %v, want what the store said", got.ID, err)
	}
	store.then = func() {}
	if got, err := s.ByUsername(t.Context(), "alice"); !errors.Is(err, fault.Unavailable) {
		t.Errorf("after news that she changed: ByUsername = %v, %v, want what the store said", got.ID, err)
	}
}
