package connectedapps_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/journal"
)

var refreshedEntry = audit.Entry{Actor: "system", Action: audit.GrantRefreshed, Outcome: "ok"}

// sleeper is a process that is stopped once the server has answered, until wake.
type sleeper struct {
	asleep, wake chan struct{}
	done         chan error
}

// sleeper begins a refresh of alice's grant in another process, and returns when it sleeps.
func (w *world) sleeper() sleeper {
	s := sleeper{make(chan struct{}), make(chan struct{}), make(chan error, 1)}
	tokens := connectedapps.NewTokens(connectedapps.Config{
		Store: w.store, Refreshes: w.store, Apps: w.apps, Client: w.client, Bus: w.bus, Now: w.clock.now, Log: w.logger(), Process: "sleeper",
		Failpoint: func(p connectedapps.Failpoint) {
			if p == connectedapps.AfterAnswer {
				close(s.asleep)
				<-s.wake
			}
		},
	})
	run(w.t, tokens)
	go func() {
		_, err := tokens.Token(context.Background(), alice, w.app.Slug)
		s.done <- err
	}()
	<-s.asleep
	return s
}

func TestALateWriterWhoseAnswerIsTheNextLinkIsAdopted(t *testing.T) {
	w := newWorld(t)
	old := w.connect(alice)
	w.clock.advance(2 * time.Hour)
	s := w.sleeper()
	w.clock.advance(time.Minute)
	// The server has rotated the token, and refuses the old one to the process that took over.
	w.server.breakNext(answering(400, "application/json", `{"error":"invalid_grant"}`))
	e := wantKind(t, second(w.token(alice)), fault.ReauthorizationRequired, "reauthorization_required")
	if e.Params["status"] != "unknown_outcome" {
		t.Errorf("status = %s, want unknown_outcome", e.Params["status"])
	}
	close(s.wake)
	if err := <-s.done; err != nil {
		t.Errorf("the late process's Token = %v, want its token", err)
	}
	g := w.grant(alice)
	if g.Revision != old.Revision+1 || !g.RefusedAt.IsZero() || g.FailureCode != "replayed" || g.RefreshToken.Equal(old.RefreshToken) {
		t.Errorf("grant at revision %d, refused %v, failure %q, want the late answer adopted", g.Revision, g.RefusedAt, g.FailureCode)
	}
	if got := w.mustToken(alice); got.Status != "unknown_outcome" || !got.Value.Equal(g.AccessToken) {
		t.Errorf("Token = %s, want the adopted one, unknown_outcome until a refresh shows that the server honours it", got.Status)
	}
	w.clock.advance(2 * time.Hour)
	if got := w.mustToken(alice); got.Status != "active" {
		t.Errorf("status = %s, want the chain to go on", got.Status)
	}
	if w.server.reuses != 0 {
		t.Errorf("%d reuses, want none", w.server.reuses)
	}
}

// A server that notices reuse ends the grant while the process sleeps that holds its next refresh token. What it says
// then is what it says of a grant that the person ended.
func TestAGrantThatOurOwnReplayEndedIsNotCalledRevoked(t *testing.T) {
	for _, tt := range []struct {
		name string
		then func(w *world)
		want string
	}{
		{"it is refused next", func(*world) {}, "unknown_outcome"},
		{"the server is away before it is refused", func(w *world) {
			w.server.breakNext(answering(503, "text/html", "away"))
			wantKind(w.t, second(w.token(alice)), fault.RefreshFailing, "refresh_failing")
			w.clock.advance(time.Minute)
		}, "unknown_outcome"},
		{"it was honoured once more, and then ended", func(w *world) {
			w.server.revive()
			if got := w.mustToken(alice); got.Status != "active" {
				w.t.Errorf("status = %s, want active: the server honours it", got.Status)
			}
			w.server.endAll()
			w.clock.advance(2 * time.Hour)
		}, "revoked"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.connect(alice)
			w.clock.advance(2 * time.Hour)
			s := w.sleeper()
			w.clock.advance(time.Minute)
			wantKind(t, second(w.token(alice)), fault.ReauthorizationRequired, "reauthorization_required") // and ends it there
			close(s.wake)
			if err := <-s.done; err != nil {
				t.Fatalf("the late process's Token = %v, want its token", err)
			}
			w.clock.advance(2 * time.Hour)
			tt.then(w)
			e := wantKind(t, second(w.token(alice)), fault.ReauthorizationRequired, "reauthorization_required")
			if e.Params["status"] != tt.want {
				t.Errorf("status = %s, want %s", e.Params["status"], tt.want)
			}
			if w.server.reuses != 1 {
				t.Errorf("%d reuses, want the one of the process that took over", w.server.reuses)
			}
		})
	}
}

func TestALateAnswerOfAServerThatKeepsRefreshTokensIsNoReplay(t *testing.T) {
	w := newWorld(t)
	w.server.rotate = false
	w.connect(alice)
	w.clock.advance(2 * time.Hour)
	arrived, release, done := make(chan struct{}, 1), make(chan struct{}), make(chan error, 1)
	w.server.breakNext(slow(arrived, release))
	frozen := w.newTokens()
	go func() { _, err := frozen.Token(context.Background(), alice, w.app.Slug); done <- err }()
	<-arrived
	w.clock.advance(time.Minute) // its intent is over
	w.mustToken(alice)
	w.clock.advance(time.Minute)
	close(release)
	if err := <-done; err != nil {
		t.Fatalf("the late process's Token = %v, want a token", err)
	}
	if got := w.status(alice); got != connectedapps.Active {
		t.Errorf("status = %s, want active: nothing was spent", got)
	}
}

func TestALateAnswerBesideANewerOneIsTheSpare(t *testing.T) {
	w := newWorld(t)
	w.connect(alice)
	w.clock.advance(2 * time.Hour)
	s := w.sleeper()
	w.clock.advance(time.Minute)
	// A server that tolerates reuse gives the other process a token of its own, and will not honour it for long.
	w.server.breakNext(answering(200, "application/json", `{"access_token":"canary-x","token_type":"Bearer","expires_in":3600,"refresh_token":"canary-sibling"}`))
	current := w.mustToken(alice)
	close(s.wake)
	if err := <-s.done; err != nil {
		t.Errorf("the late process's Token = %v, want the current one", err)
	}
	g := w.grant(alice)
	if g.RefreshToken.Reveal() != "canary-sibling" || g.SpareRefreshToken.Empty() || !g.AccessToken.Equal(current.Value) {
		t.Error("want the newer answer to serve and the late one to be its spare")
	}
	w.clock.advance(2 * time.Hour)
	if got := w.mustToken(alice); got.Status != "active" {
		t.Errorf("status = %s, want the spare to have brought a token", got.Status)
	}
	if g := w.grant(alice); !g.SpareRefreshToken.Empty() {
		t.Error("the spare is kept although it is in use")
	}
	w.server.endAll()
	w.clock.advance(2 * time.Hour)
	wantKind(t, second(w.token(alice)), fault.ReauthorizationRequired, "reauthorization_required")
}

func TestALateAnswerToADisconnectedGrantIsEndedAtTheServer(t *testing.T) {
	w := newWorld(t)
	w.connect(alice)
	w.clock.advance(2 * time.Hour)
	s := w.sleeper()
	if _, err := w.tokens.Disconnect(t.Context(), alice, w.app.Slug); err != nil {
		t.Fatal(err)
	}
	close(s.wake)
	wantKind(t, <-s.done, fault.AuthorizationRequired, "authorization_required")
	w.endedThere()
}

// endedThere checks that no token lives on at the server.
func (w *world) endedThere() {
	w.t.Helper()
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	for token, f := range w.server.families {
		if f.current == token && !f.dead {
			w.t.Error("a token of the ended grant lives on at the server")
		}
	}
}

// Tokens of no use go back to the server that gave them: not where their app was moved while they were on their way.
func TestALateAnswerGoesBackToTheServerThatGaveIt(t *testing.T) {
	w := newWorld(t)
	w.connect(alice)
	w.clock.advance(2 * time.Hour)
	s := w.sleeper()
	if _, err := w.tokens.Disconnect(t.Context(), alice, w.app.Slug); err != nil {
		t.Fatal(err)
	}
	another := w.move()
	close(s.wake)
	wantKind(t, <-s.done, fault.AuthorizationRequired, "authorization_required")
	if n := another.told(); n > 0 {
		t.Errorf("%d tokens were sent to another server", n)
	}
	w.endedThere()
}

func TestNoIntentNoCall(t *testing.T) {
	w := newWorld(t)
	w.connect(alice)
	w.store.mu.Lock()
	w.store.down = errors.New("down")
	w.store.mu.Unlock()
	w.clock.advance(59*time.Minute + 45*time.Second)
	if got := w.mustToken(alice); got.Revision != 1 {
		t.Errorf("Token = revision %d, want the held one", got.Revision)
	}
	w.clock.advance(time.Hour)
	wantKind(t, second(w.token(alice)), fault.Unavailable, "store_unavailable")
	if n, _ := w.server.counts(); n != 0 {
		t.Errorf("%d calls, want none: what came of them could not be stored", n)
	}
}

func TestAnAnswerInTheJournalSurvivesTheProcess(t *testing.T) {
	var (
		another *authServer
		before  int
	)
	for _, tt := range []struct {
		name      string
		meanwhile func(w *world, old connectedapps.Grant)
		want      func(t *testing.T, w *world, old connectedapps.Grant)
	}{
		{"the database comes back", func(*world, connectedapps.Grant) {}, func(t *testing.T, w *world, old connectedapps.Grant) {
			if got := w.mustToken(alice); got.Status != "active" || got.Revision != old.Revision+1 {
				t.Errorf("Token = %s at revision %d, want the one of the journal", got.Status, got.Revision)
			}
		}},
		{"another process was refused meanwhile", func(w *world, _ connectedapps.Grant) {
			w.clock.advance(time.Minute)
			w.server.breakNext(answering(400, "application/json", `{"error":"invalid_grant"}`))
			wantKind(w.t, second(w.token(alice)), fault.ReauthorizationRequired, "reauthorization_required")
		}, func(t *testing.T, w *world, old connectedapps.Grant) {
			if got := w.mustToken(alice); got.Status != "unknown_outcome" || got.Revision != old.Revision+1 {
				t.Errorf("Token = %s at revision %d, want the one of the journal", got.Status, got.Revision)
			}
		}},
		{"the person connected anew meanwhile", func(w *world, _ connectedapps.Grant) { w.connect(alice) }, func(t *testing.T, w *world, old connectedapps.Grant) {
			if g := w.grant(alice); g.Revision != old.Revision+1 || g.Epoch == old.Epoch {
				t.Errorf("grant at revision %d, want the new consent untouched", g.Revision)
			}
		}},
		{"the grant ended and its app was moved", func(w *world, _ connectedapps.Grant) {
			if _, err := w.tokens.Disconnect(t.Context(), alice, w.app.Slug); err != nil {
				w.t.Fatal(err)
			}
			another, before = w.move(), w.server.told()
		}, func(t *testing.T, w *world, _ connectedapps.Grant) {
			if n := another.told(); n > 0 {
				t.Errorf("%d tokens were sent to another server", n)
			}
			if n := w.server.told() - before; n != 2 {
				t.Errorf("the server that gave the tokens was told %d times, want of both", n)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			old := w.connect(alice)
			w.clock.advance(2 * time.Hour)
			folder := filepath.Join(t.TempDir(), "journal")
			process := func() (*connectedapps.Tokens, *journal.Journal) {
				j, err := journal.Open(journal.Config{Dir: folder, Sealer: w.db.Keyring()})
				if err != nil {
					t.Fatal(err)
				}
				return connectedapps.NewTokens(connectedapps.Config{
					Store: w.store, Refreshes: w.store, Apps: w.apps, Client: w.client, Now: w.clock.now, Log: w.logger(), Journal: j,
				}), j
			}
			dying, kept := process()
			ctx, stop := context.WithCancel(t.Context())
			ran := make(chan error, 1)
			go func() { ran <- dying.Run(ctx) }()
			w.store.fail(errors.New("down"))
			if tok, err := dying.Token(t.Context(), alice, w.app.Slug); err != nil || tok.Revision != old.Revision+1 {
				t.Fatalf("Token = revision %d, %v, want the new one from memory", tok.Revision, err)
			}
			if kept.Len() != 1 {
				t.Fatalf("%d records in the journal, want 1", kept.Len())
			}
			stop()
			if err := <-ran; err != nil {
				t.Fatal(err)
			}
			if err := kept.Close(); err != nil {
				t.Fatal(err)
			}
			w.store.fail(nil)
			tt.meanwhile(w, old)

			next, kept := process()
			if err := next.Recover(t.Context()); err != nil {
				t.Fatalf("Recover = %v, want no error", err)
			}
			if kept.Len() != 0 {
				t.Errorf("%d records left in the journal, want none", kept.Len())
			}
			tt.want(t, w, old)
			if err := next.Recover(t.Context()); err != nil {
				t.Errorf("Recover again = %v, want nothing to do", err)
			}
			if err := kept.Close(); err != nil {
				t.Fatal(err)
			}
			if w.server.reuses != 0 {
				t.Errorf("%d reuses, want none", w.server.reuses)
			}
		})
	}
}

// What the store has not taken serves from memory as what it has does: while the grant lives, and no longer than
// Config.Stale when nobody can say whether it does (design.md §2.16).
func TestWhatIsNotStoredServesNoLongerThanItsGrant(t *testing.T) {
	unsaved := func(t *testing.T) (*world, *connectedapps.Tokens) {
		w := newWorld(t)
		old := w.connect(alice)
		w.clock.advance(2 * time.Hour)
		deaf := connectedapps.NewTokens(connectedapps.Config{ // no news reaches it
			Store: w.store, Refreshes: w.store, Apps: w.apps, Client: w.client, Now: w.clock.now, Log: w.logger(),
		})
		run(t, deaf)
		w.store.fail(errors.New("down"))
		if tok, err := deaf.Token(t.Context(), alice, w.app.Slug); err != nil || tok.Revision != old.Revision+1 {
			t.Fatalf("Token = revision %d, %v, want the new one from memory", tok.Revision, err)
		}
		return w, deaf
	}
	t.Run("the grant was ended elsewhere", func(t *testing.T) {
		w, deaf := unsaved(t)
		w.clock.advance(2 * time.Second)
		if _, err := deaf.Token(t.Context(), alice, w.app.Slug); err != nil {
			t.Errorf("Token = %v, want the one in memory", err)
		}
		if _, err := w.db.Grants().Delete(t.Context(), connectedapps.Key{Principal: alice, AppID: w.app.ID}, audit.Entry{Action: audit.GrantRevoked}); err != nil {
			t.Fatal(err)
		}
		w.clock.advance(2 * time.Second)
		wantKind(t, second(deaf.Token(t.Context(), alice, w.app.Slug)), fault.AuthorizationRequired, "authorization_required")
	})
	t.Run("the database does not answer", func(t *testing.T) {
		w, deaf := unsaved(t)
		w.store.mu.Lock()
		w.store.away = errors.New("away")
		w.store.mu.Unlock()
		w.clock.advance(50 * time.Second)
		if _, err := deaf.Token(t.Context(), alice, w.app.Slug); err != nil {
			t.Errorf("Token after 50 s = %v, want the one in memory", err)
		}
		w.clock.advance(15 * time.Second)
		wantKind(t, second(deaf.Token(t.Context(), alice, w.app.Slug)), fault.Unavailable, "store_unavailable")
	})
}

// C2 of broker.md: tokens that came for somebody else are of no use to anybody, however the process that got them ends.
// The refresh token that came with them would bring more of them.
func TestTokensOfSomebodyElseServeNobodyWhateverFails(t *testing.T) {
	tampered := func(t *testing.T) (*world, connectedapps.Grant) {
		w := newWorld(t, oidc)
		old := w.connect(alice)
		w.clock.advance(2 * time.Hour)
		w.server.mu.Lock()
		w.server.subject = "sub-mallory"
		w.server.mu.Unlock()
		return w, old
	}
	// ended fails the test unless alice is refused, without another call, and the rotated token was stored.
	ended := func(t *testing.T, w *world, old connectedapps.Grant, tokens *connectedapps.Tokens) {
		t.Helper()
		w.server.mu.Lock()
		w.server.subject = ""
		w.server.mu.Unlock()
		wantKind(t, second(tokens.Token(t.Context(), alice, w.app.Slug)), fault.ReauthorizationRequired, "reauthorization_required")
		if n, _ := w.server.counts(); n != 1 {
			t.Errorf("%d refreshes, want none with the token of somebody else", n)
		}
		g := w.grant(alice)
		if g.RefusedAt.IsZero() || g.FailureCode != "identity_changed" || !g.AccessToken.Empty() || g.RefreshToken.Equal(old.RefreshToken) {
			t.Errorf("the grant is refused at %v, failure %q, want the answer stored and refused", g.RefusedAt, g.FailureCode)
		}
	}
	t.Run("the process ends once they are stored", func(t *testing.T) {
		w, old := tampered(t)
		stored, ending := make(chan struct{}), make(chan struct{})
		defer close(ending)
		dying := connectedapps.NewTokens(connectedapps.Config{
			Store: w.store, Refreshes: w.store, Apps: w.apps, Client: w.client, Bus: w.bus, Now: w.clock.now, Log: w.logger(), Process: "dying",
			Failpoint: func(p connectedapps.Failpoint) {
				if p == connectedapps.AfterCommit {
					close(stored)
					<-ending
				}
			},
		})
		go func() { _, _ = dying.Token(context.Background(), alice, w.app.Slug) }()
		<-stored
		ended(t, w, old, w.tokens)
	})
	t.Run("the database takes them late", func(t *testing.T) {
		w, old := tampered(t)
		w.store.fail(errors.New("down"))
		wantKind(t, second(w.token(alice)), fault.ReauthorizationRequired, "reauthorization_required")
		w.store.fail(nil)
		w.waitFor("the answer in the database", func() bool { return !w.grant(alice).RefreshToken.Equal(old.RefreshToken) })
		ended(t, w, old, w.newTokens())
	})
	t.Run("another process has taken over", func(t *testing.T) {
		w, old := tampered(t)
		s := w.sleeper()
		w.clock.advance(time.Minute)
		w.server.breakNext(requestLost())
		if _, err := w.token(alice); err == nil {
			t.Fatal("Token = nil, want that the outcome is unknown")
		}
		w.server.mu.Lock()
		w.server.refreshes-- // that one never arrived
		w.server.mu.Unlock()
		close(s.wake)
		wantKind(t, <-s.done, fault.ReauthorizationRequired, "reauthorization_required")
		ended(t, w, old, w.newTokens())
	})
}
