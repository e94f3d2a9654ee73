// Package sessiontest holds the suite for session.Store: each promise that the interface makes, tried on a real
// database.
package sessiontest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/session"
)

// Opened is a store under test, with the ids of two people whom it knows.
type Opened struct {
	Store      session.Store
	Alice, Bob string
}

var (
	noon  = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	entry = audit.Entry{Actor: "system", Action: audit.SignedIn, Outcome: "ok"}
)

// TestStore checks the promises of session.Store. open returns a store that holds no sessions, and lives until the
// test ends.
func TestStore(t *testing.T, open func(*testing.T) Opened) {
	signIn := func(t *testing.T, s session.Store, user, name, replaced string) session.Session {
		t.Helper()
		ses := session.Session{
			ID: "ses_" + name, UserID: user, TokenHash: "hash of " + name, Method: "password", AuthenticatedAt: noon,
			LastSeenAt: noon, IP: "192.0.2.1", UserAgent: "Mozilla/5.0",
		}
		if err := s.CreateSession(t.Context(), ses, replaced, entry); err != nil {
			t.Fatalf("CreateSession = %v, want no error", err)
		}
		return ses
	}
	get := func(t *testing.T, s session.Store, hash string) session.Session {
		t.Helper()
		got, err := s.GetSession(t.Context(), hash)
		if err != nil {
			t.Fatalf("GetSession = %v, want no error", err)
		}
		return got
	}

	t.Run("a session comes back as it was stored, by the hash of its token", func(t *testing.T) {
		o := open(t)
		want := signIn(t, o.Store, o.Alice, "1", "")
		if diff := cmp.Diff(want, get(t, o.Store, want.TokenHash)); diff != "" {
			t.Errorf("GetSession (-want +got):\n%s", diff)
		}
		for _, hash := range []string{"", "none", want.ID} {
			_, err := o.Store.GetSession(t.Context(), hash)
			wantKind(t, "GetSession of "+hash, err, fault.NotFound)
		}
	})
	t.Run("a new sign-in ends the session that the browser had, and no other", func(t *testing.T) {
		o := open(t)
		old, other := signIn(t, o.Store, o.Alice, "1", ""), signIn(t, o.Store, o.Alice, "2", "")
		signIn(t, o.Store, o.Bob, "3", old.TokenHash)
		if got := get(t, o.Store, old.TokenHash); !got.RevokedAt.Equal(noon) || got.RevokeReason == "" {
			t.Errorf("the replaced session ended at %v because %q, want %v and a reason", got.RevokedAt, got.RevokeReason, noon)
		}
		if got := get(t, o.Store, other.TokenHash); !got.RevokedAt.IsZero() {
			t.Errorf("another session ended at %v, want it to live", got.RevokedAt)
		}
		signIn(t, o.Store, o.Alice, "4", "nobody's")
	})
	t.Run("a session of nobody, or with the token of another, is refused and replaces nothing", func(t *testing.T) {
		o := open(t)
		old := signIn(t, o.Store, o.Alice, "1", "")
		for _, tt := range []struct {
			name    string
			session session.Session
			want    fault.Kind
		}{
			{"nobody", session.Session{ID: "ses_2", UserID: "usr_none", TokenHash: "2", AuthenticatedAt: noon}, fault.NotFound},
			{"a token in use", session.Session{ID: "ses_2", UserID: o.Bob, TokenHash: old.TokenHash, AuthenticatedAt: noon}, fault.Conflict},
			{"no token", session.Session{ID: "ses_2", UserID: o.Bob, AuthenticatedAt: noon}, fault.Invalid},
			{"no id", session.Session{UserID: o.Bob, TokenHash: "2", AuthenticatedAt: noon}, fault.Invalid},
		} {
			wantKind(t, "CreateSession with "+tt.name, o.Store.CreateSession(t.Context(), tt.session, old.TokenHash, entry), tt.want)
		}
		if got := get(t, o.Store, old.TokenHash); !got.RevokedAt.IsZero() {
			t.Error("a refused sign-in ended the session before it")
		}
	})
	t.Run("a browser that sends broken text can sign in", func(t *testing.T) {
		o := open(t)
		ses := session.Session{ID: "ses_1", UserID: o.Alice, TokenHash: "1", AuthenticatedAt: noon, UserAgent: "a\x00b\xffc"}
		if err := o.Store.CreateSession(t.Context(), ses, "", entry); err != nil {
			t.Fatalf("CreateSession = %v, want no error", err)
		}
		if got := get(t, o.Store, "1").UserAgent; got != "a\uFFFDb\uFFFDc" {
			t.Errorf("UserAgent = %q, want the broken characters replaced", got)
		}
	})
	t.Run("use is noted when the last note is over a minute old", func(t *testing.T) {
		o := open(t)
		ses := signIn(t, o.Store, o.Alice, "1", "")
		for _, tt := range []struct{ at, want time.Time }{
			{noon.Add(time.Minute), noon},
			{noon.Add(time.Minute + time.Millisecond), noon.Add(time.Minute + time.Millisecond)},
			{noon, noon.Add(time.Minute + time.Millisecond)},
		} {
			if err := o.Store.TouchSession(t.Context(), ses.ID, tt.at); err != nil {
				t.Fatalf("TouchSession = %v, want no error", err)
			}
			if got := get(t, o.Store, ses.TokenHash).LastSeenAt; !got.Equal(tt.want) {
				t.Errorf("after a use at %v LastSeenAt = %v, want %v", tt.at, got, tt.want)
			}
		}
	})
	t.Run("one session is ended, once, by its owner only", func(t *testing.T) {
		o := open(t)
		ses, other := signIn(t, o.Store, o.Alice, "1", ""), signIn(t, o.Store, o.Alice, "2", "")
		revoke := func(user string, at time.Time, reason string) {
			t.Helper()
			if err := o.Store.RevokeSessions(t.Context(), user, ses.ID, reason, at, entry); err != nil {
				t.Fatalf("RevokeSessions = %v, want no error", err)
			}
		}
		revoke(o.Bob, noon, "not his")
		if got := get(t, o.Store, ses.TokenHash); !got.RevokedAt.IsZero() {
			t.Error("somebody else ended the session")
		}
		revoke(o.Alice, noon.Add(time.Minute), "signed out")
		revoke(o.Alice, noon.Add(time.Hour), "again")
		if got := get(t, o.Store, ses.TokenHash); !got.RevokedAt.Equal(noon.Add(time.Minute)) || got.RevokeReason != "signed out" {
			t.Errorf("ended at %v because %q, want %v and %q", got.RevokedAt, got.RevokeReason, noon.Add(time.Minute), "signed out")
		}
		if got := get(t, o.Store, other.TokenHash); !got.RevokedAt.IsZero() {
			t.Error("another session was ended too")
		}
		if err := o.Store.TouchSession(t.Context(), ses.ID, noon.Add(time.Hour)); err != nil {
			t.Fatalf("TouchSession = %v, want no error", err)
		}
		if got := get(t, o.Store, ses.TokenHash); !got.LastSeenAt.Equal(noon) {
			t.Error("a use was noted of a session that has ended")
		}
	})
	t.Run("all sessions of one person are ended, and nobody else's", func(t *testing.T) {
		o := open(t)
		one, two, bobs := signIn(t, o.Store, o.Alice, "1", ""), signIn(t, o.Store, o.Alice, "2", ""), signIn(t, o.Store, o.Bob, "3", "")
		if err := o.Store.RevokeSessions(t.Context(), o.Alice, "", "everywhere", noon, entry); err != nil {
			t.Fatalf("RevokeSessions = %v, want no error", err)
		}
		for _, ses := range []session.Session{one, two} {
			if got := get(t, o.Store, ses.TokenHash); !got.RevokedAt.Equal(noon) || got.RevokeReason != "everywhere" {
				t.Errorf("%s ended at %v because %q, want %v", ses.ID, got.RevokedAt, got.RevokeReason, noon)
			}
		}
		if got := get(t, o.Store, bobs.TokenHash); !got.RevokedAt.IsZero() {
			t.Error("somebody else's session was ended too")
		}
		wantKind(t, "RevokeSessions of nobody", o.Store.RevokeSessions(t.Context(), "", "", "x", noon, entry), fault.Invalid)
	})
	t.Run("everybody but one is signed out", func(t *testing.T) {
		o := open(t)
		alices := signIn(t, o.Store, o.Alice, "1", "")
		bobs := signIn(t, o.Store, o.Bob, "2", "")
		if err := o.Store.RevokeOthers(t.Context(), o.Alice, "leak", noon, entry); err != nil {
			t.Fatalf("RevokeOthers = %v, want no error", err)
		}
		if got := get(t, o.Store, alices.TokenHash); !got.RevokedAt.IsZero() {
			t.Error("who ended the others' sessions lost their own")
		}
		if got := get(t, o.Store, bobs.TokenHash); got.RevokedAt.IsZero() || got.RevokeReason != "leak" {
			t.Errorf("bob's session: %+v, want it ended", got)
		}
	})
	t.Run("many sign in at once", func(t *testing.T) {
		o := open(t)
		errs := make([]error, 20)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() {
				name := fmt.Sprint(i)
				errs[i] = o.Store.CreateSession(t.Context(), session.Session{ID: "ses_" + name, UserID: o.Alice, TokenHash: name, AuthenticatedAt: noon}, "", entry)
			})
		}
		wg.Wait()
		for i, err := range errs {
			if err != nil {
				t.Errorf("CreateSession %d = %v, want no error", i, err)
			}
		}
	})
	t.Run("a caller who left hears canceled", func(t *testing.T) {
		o := open(t)
		ses := signIn(t, o.Store, o.Alice, "1", "")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := o.Store.GetSession(ctx, ses.TokenHash)
		wantKind(t, "GetSession", err, fault.Canceled)
		wantKind(t, "TouchSession", o.Store.TouchSession(ctx, ses.ID, noon.Add(time.Hour)), fault.Canceled)
		wantKind(t, "RevokeSessions", o.Store.RevokeSessions(ctx, o.Alice, "", "x", noon, entry), fault.Canceled)
	})
}

func wantKind(t *testing.T, what string, err error, want fault.Kind) {
	t.Helper()
	if got := fault.KindOf(err); err == nil || got != want {
		t.Errorf("%s = %v (kind %q), want %q", what, err, got, want)
	}
}
