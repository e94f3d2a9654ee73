package tokens_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/sqlstore"
	"github.com/behalf-project/behalf/internal/sqlstore/sqlstoretest"
	"github.com/behalf-project/behalf/internal/tokens"
	"github.com/behalf-project/behalf/internal/users"
)

// world is a service over a real store, with alice and a clock.
type world struct {
	t     *testing.T
	db    *sqlstore.DB
	store *store
	now   time.Time
	s     *tokens.Service
	alice users.User
}

// store can be told not to answer.
type store struct {
	tokens.Store
	down bool
}

func (s *store) FindToken(ctx context.Context, hash string) (tokens.Token, error) {
	if s.down {
		return tokens.Token{}, fault.New(fault.Unavailable, "The store does not answer.")
	}
	return s.Store.FindToken(ctx, hash)
}

func newWorld(t *testing.T, change func(*tokens.Config)) *world {
	w := &world{t: t, now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	clock := func() time.Time { return w.now }
	w.db = sqlstoretest.OpenSQLite(t, clock)
	w.store = &store{Store: w.db.Tokens()}
	people := users.New(users.Config{Store: w.db.Users(), Bus: w.db.News(), Now: clock})
	cfg := tokens.Config{
		Store: w.store, People: people, Bus: w.db.News(), Now: clock,
		App: func(_ context.Context, slug string) (string, error) {
			if slug != "databricks" {
				return "", fault.New(fault.NotFound, "There is no such app.")
			}
			return "Databricks", nil
		},
	}
	if change != nil {
		change(&cfg)
	}
	w.s = tokens.New(cfg)
	var err error
	if w.alice, err = w.db.Users().PutUser(t.Context(), users.User{Username: "alice"}, users.Ending{}, audit.Entry{Action: audit.UserDeclared}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) create(scopes ...string) (tokens.Token, secret.Text) {
	w.t.Helper()
	made, value, err := w.s.Create(w.t.Context(), w.alice, tokens.Request{Name: "notebook", Scopes: scopes})
	if err != nil {
		w.t.Fatalf("Create = %v, want no error", err)
	}
	return made, value
}

// refused checks that a value is not accepted.
func (w *world) refused(value secret.Text, kind fault.Kind, code, says string) {
	w.t.Helper()
	_, _, err := w.s.Authenticate(w.t.Context(), value)
	e, _ := errors.AsType[*fault.Error](err)
	if e == nil || e.Kind != kind || e.CodeOrKind() != code || !strings.Contains(e.Detail, says) {
		w.t.Errorf("Authenticate = %v, want %s %s that says %q", err, kind, code, says)
	}
}

func (w *world) accepted(value secret.Text) tokens.Token {
	w.t.Helper()
	found, u, err := w.s.Authenticate(w.t.Context(), value)
	if err != nil || u.ID != w.alice.ID {
		w.t.Fatalf("Authenticate = %q, %v, want alice", u.ID, err)
	}
	return found
}

func TestATokenIsRecognisedByItsValueAndKnownByItsLooks(t *testing.T) {
	w := newWorld(t, nil)
	made, value := w.create("token:databricks", "account", "account")
	if !tokens.Pattern.MatchString(value.Reveal()) || len(value.Reveal()) != 47 {
		t.Errorf("the value has %d characters and does not match %v", len(value.Reveal()), tokens.Pattern)
	}
	if got := w.accepted(value); got.ID != made.ID || fmt.Sprint(got.Scopes) != "[account token:databricks]" || !got.ExpiresAt.Equal(w.now.AddDate(0, 0, 90)) {
		t.Errorf("Authenticate = %+v, want both scopes for 90 days", got)
	}
	if made.Hash == "" || strings.Contains(made.Hash, value.Reveal()) {
		t.Error("the token holds its value")
	}
	// One letter changed: the checksum tells, and the store is not asked.
	w.store.down = true
	body := []byte(value.Reveal())
	for i := len(tokens.Prefix); i < len(body); i++ {
		changed := append([]byte(nil), body...)
		if changed[i] = '0'; body[i] == '0' {
			changed[i] = '1'
		}
		w.refused(secret.New(string(changed)), fault.Unauthenticated, "invalid_token", "not a token of this server")
	}
	for _, other := range []string{"", "bhf_pat_", "eyJhbGciOiJIUzI1NiJ9.e30.x", strings.ToUpper(string(body)), string(body) + "0", " " + string(body)} {
		w.refused(secret.New(other), fault.Unauthenticated, "invalid_token", "not a token of this server")
	}
}

func TestATokenEnds(t *testing.T) {
	t.Run("at exactly its time", func(t *testing.T) {
		w := newWorld(t, nil)
		_, value := w.create("account")
		w.now = w.now.AddDate(0, 0, 90).Add(-time.Second)
		w.accepted(value)
		w.now = w.now.Add(time.Second)
		w.refused(value, fault.Unauthenticated, "invalid_token", "ended on 20 Feb 2027")
	})
	t.Run("when its owner revokes it, though it is in memory", func(t *testing.T) {
		w := newWorld(t, nil)
		made, value := w.create("account")
		w.accepted(value)
		if err := w.s.Revoke(t.Context(), "usr_other", made.ID, "revoked"); !errors.Is(err, fault.NotFound) {
			t.Errorf("Revoke by somebody else = %v, want not found", err)
		}
		w.accepted(value)
		if err := w.s.Revoke(t.Context(), w.alice.ID, made.ID, "revoked"); err != nil {
			t.Fatal(err)
		}
		w.refused(value, fault.Unauthenticated, "invalid_token", "revoked on 22 Nov 2026")
	})
	t.Run("with its owner, and does not come back with them", func(t *testing.T) {
		w := newWorld(t, nil)
		_, value := w.create("account")
		w.accepted(value)
		for _, disabled := range []bool{true, false} {
			w.alice.Disabled = disabled
			var err error
			if w.alice, err = w.db.Users().PutUser(t.Context(), w.alice, users.Ending{}, audit.Entry{Action: audit.UserDisabled}); err != nil {
				t.Fatal(err)
			}
			w.refused(value, fault.Unauthenticated, "invalid_token", "revoked")
		}
	})
}

func TestATokenInMemoryServesWhileTheStoreDoesNotAnswerForAMinute(t *testing.T) {
	w := newWorld(t, nil)
	_, value := w.create("account")
	w.accepted(value)
	w.store.down = true
	w.now = w.now.Add(59 * time.Second)
	w.accepted(value)
	w.now = w.now.Add(time.Second)
	w.refused(value, fault.Unavailable, "unavailable", "does not answer")
}

func TestWhatATokenCannotBe(t *testing.T) {
	life := func(d time.Duration) *time.Duration { return &d }
	for _, tt := range []struct {
		name    string
		request tokens.Request
		field   string
	}{
		{"without a name", tokens.Request{Name: " ", Scopes: []string{"account"}}, "name"},
		{"with a name that turns around", tokens.Request{Name: "\u202enoitcudorp", Scopes: []string{"account"}}, "name"},
		{"with a name of two lines", tokens.Request{Name: "a\nb", Scopes: []string{"account"}}, "name"},
		{"without a scope", tokens.Request{Name: "x"}, "scopes"},
		{"with a scope that there is not", tokens.Request{Name: "x", Scopes: []string{"admin"}}, "scopes"},
		{"for an app that there is not", tokens.Request{Name: "x", Scopes: []string{"token:snowflake"}}, "scopes"},
		{"for every app at once", tokens.Request{Name: "x", Scopes: []string{"token:*"}}, "scopes"},
		{"for more than a year", tokens.Request{Name: "x", Scopes: []string{"account"}, Life: life(366 * 24 * time.Hour)}, "expires_in_seconds"},
		{"without an end", tokens.Request{Name: "x", Scopes: []string{"account"}, Life: life(0)}, "expires_in_seconds"},
		{"already over", tokens.Request{Name: "x", Scopes: []string{"account"}, Life: life(-time.Second)}, "expires_in_seconds"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			_, _, err := w.s.Create(t.Context(), w.alice, tt.request)
			e, _ := errors.AsType[*fault.Error](err)
			if e == nil || e.Kind != fault.Invalid || len(e.Fields) != 1 || e.Fields[0].Pointer != tt.field {
				t.Errorf("Create = %#v, want that %s is wrong", err, tt.field)
			}
		})
	}
	t.Run("without an end, unless the server allows it", func(t *testing.T) {
		w := newWorld(t, func(cfg *tokens.Config) { cfg.Endless = true })
		made, value, err := w.s.Create(t.Context(), w.alice, tokens.Request{Name: "x", Scopes: []string{"account"}, Life: life(0)})
		if err != nil || !made.ExpiresAt.IsZero() {
			t.Fatalf("Create = %+v, %v, want a token without an end", made, err)
		}
		w.now = w.now.AddDate(20, 0, 0)
		w.accepted(value)
	})
}

func TestATokenMakesNoTokenThatCanDoMoreThanItself(t *testing.T) {
	w := newWorld(t, nil)
	by, _ := w.create("account")
	day, year := 24*time.Hour, 365*24*time.Hour
	for _, tt := range []struct {
		name   string
		scopes []string
		life   *time.Duration
		denied bool
	}{
		{"the same scope for the rest of its life", []string{"account"}, nil, false},
		{"the same scope for a day", []string{"account"}, &day, false},
		{"another scope", []string{"account", "token:databricks"}, &day, true},
		{"a longer life", []string{"account"}, &year, true},
	} {
		w.now = w.now.Add(time.Hour)
		made, _, err := w.s.Create(t.Context(), w.alice, tokens.Request{Name: "child", Scopes: tt.scopes, Life: tt.life, By: &by})
		if denied := errors.Is(err, fault.Denied); denied != tt.denied || !denied && err != nil || made.ExpiresAt.After(by.ExpiresAt) {
			t.Errorf("%s: Create = %v until %v, want denied %t", tt.name, err, made.ExpiresAt, tt.denied)
		}
	}
}

func TestRunNotesTheUseOfATokenToTheMinute(t *testing.T) {
	w := newWorld(t, nil)
	_, value := w.create("account")
	w.now = w.now.Add(90 * time.Second)
	w.accepted(value)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.s.Run(ctx) }()
	want := time.Date(2026, 11, 22, 12, 1, 0, 0, time.UTC)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		list, err := w.s.List(t.Context(), w.alice.ID)
		if err != nil {
			t.Fatal(err)
		}
		if list[0].UsedAt.Equal(want) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("UsedAt = %v, want %v", list[0].UsedAt, want)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}
