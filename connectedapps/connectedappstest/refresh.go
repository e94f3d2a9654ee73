package connectedappstest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/secret"
)

// GrantStore is a database of grants whole: what people do to them, and what a refresh does.
type GrantStore interface {
	connectedapps.Store
	connectedapps.RefreshStore
}

var refreshed = audit.Entry{Actor: "system", Action: audit.GrantRefreshed, Outcome: "ok"}

// TestRefreshStore checks the promises of connectedapps.RefreshStore. open is as for TestStore.
func TestRefreshStore(t *testing.T, open func(*testing.T) GrantStore) {
	until := noon.Add(35 * time.Second)
	// claimed opens a store with a grant of alice that "one" has claimed.
	claimed := func(t *testing.T) (GrantStore, connectedapps.Grant) {
		s := open(t)
		g, err := s.Claim(t.Context(), connect(t, s, grant(key(alice, Apps[0]))), "one", noon, until)
		if err != nil {
			t.Fatalf("Claim = %v, want no error", err)
		}
		return s, g
	}

	t.Run("a claim writes its intent and raises the fence", func(t *testing.T) {
		s := open(t)
		before := connect(t, s, grant(key(alice, Apps[0])))
		got, err := s.Claim(t.Context(), before, "one", noon, until)
		if err != nil {
			t.Fatalf("Claim = %v, want no error", err)
		}
		want := before
		want.IntentAt, want.IntentUntil, want.IntentBy, want.Fence, want.Rev = noon, until, "one", before.Fence+1, got.Rev
		if diff := cmp.Diff(want, got, compare); diff != "" {
			t.Errorf("Claim (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(got, read(t, s, got.Key), compare); diff != "" {
			t.Errorf("Get differs from what Claim returned (-want +got):\n%s", diff)
		}
	})
	t.Run("one of many claims succeeds", func(t *testing.T) {
		s := open(t)
		g := connect(t, s, grant(key(alice, Apps[0])))
		errs := parallel(50, func(i int) error {
			_, err := s.Claim(t.Context(), g, fmt.Sprint(i), noon, until)
			return err
		})
		wantOne(t, "Claim", errs, fault.Conflict)
	})
	t.Run("one of many claims by one process succeeds", func(t *testing.T) {
		s := open(t)
		g := connect(t, s, grant(key(alice, Apps[0])))
		errs := parallel(50, func(int) error {
			_, err := s.Claim(t.Context(), g, "one", noon, until)
			return err
		})
		wantOne(t, "Claim", errs, fault.Conflict)
	})
	t.Run("an intent under way keeps others out until its end, not its holder", func(t *testing.T) {
		s, g := claimed(t)
		_, err := s.Claim(t.Context(), g, "two", until.Add(-time.Millisecond), until.Add(time.Minute))
		wantKind(t, "Claim before the end", err, fault.Conflict)
		mine, err := s.Claim(t.Context(), g, "one", noon.Add(time.Second), until)
		if err != nil {
			t.Fatalf("Claim by the holder = %v, want no error", err)
		}
		theirs, err := s.Claim(t.Context(), mine, "two", until, until.Add(time.Minute))
		if err != nil || theirs.Fence <= mine.Fence {
			t.Errorf("Claim at the end = fence %d, %v, want more than %d and no error", theirs.Fence, err, mine.Fence)
		}
	})
	t.Run("a claim on what was read too early is a conflict", func(t *testing.T) {
		s := open(t)
		old := connect(t, s, grant(key(alice, Apps[0])))
		connect(t, s, grant(old.Key))
		_, err := s.Claim(t.Context(), old, "one", noon, until)
		wantKind(t, "Claim of a replaced grant", err, fault.Conflict)
		if _, err := s.Delete(t.Context(), old.Key, entry); err != nil {
			t.Fatalf("Delete = %v, want no error", err)
		}
		_, err = s.Claim(t.Context(), old, "one", noon, until)
		wantKind(t, "Claim of a deleted grant", err, fault.Conflict)
		connect(t, s, grant(old.Key)) // its Rev may well be the old one
		_, err = s.Claim(t.Context(), old, "one", noon, until)
		wantKind(t, "Claim of a grant made anew", err, fault.Conflict)
	})
	t.Run("a success stores the tokens and clears intent, refusal and failure", func(t *testing.T) {
		s, g := claimed(t)
		g.RefusedAt, g.FailureCode, g.FailedAt, g.Failures, g.NextTryAt = noon, "invalid_grant", noon, 3, noon
		g, err := s.SaveRefusal(t.Context(), g, true, refreshed)
		if err != nil {
			t.Fatalf("SaveRefusal = %v, want no error", err)
		}
		next := g
		next.AccessToken, next.RefreshToken, next.TokenType, next.Scopes = secret.New("a2"), secret.New("r2"), "bearer", []string{"sql"}
		next.RefreshedAt, next.ExpiresAt, next.RefreshExpiresAt = noon.Add(time.Second), noon.Add(2*time.Hour), noon.Add(48*time.Hour)
		next.RefusedAt, next.FailureCode, next.FailedAt = time.Time{}, "", time.Time{}
		got, err := s.SaveRefreshed(t.Context(), next, refreshed)
		if err != nil {
			t.Fatalf("SaveRefreshed = %v, want no error", err)
		}
		want := next
		want.Revision, want.Rev = g.Revision+1, g.Rev+1
		want.Failures, want.NextTryAt = 0, time.Time{}
		want.IntentAt, want.IntentUntil, want.IntentBy = time.Time{}, time.Time{}, ""
		if diff := cmp.Diff(want, got, compare); diff != "" {
			t.Errorf("SaveRefreshed (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(got, read(t, s, g.Key), compare); diff != "" {
			t.Errorf("Get differs from what SaveRefreshed returned (-want +got):\n%s", diff)
		}
	})
	t.Run("tokens that ended the grant are stored with its end", func(t *testing.T) {
		s, g := claimed(t)
		g.AccessToken, g.RefreshToken, g.RefusedAt, g.FailureCode, g.FailedAt = secret.Text{}, secret.New("r2"), noon, "identity_changed", noon
		got, err := s.SaveRefreshed(t.Context(), g, refreshed)
		if err != nil {
			t.Fatalf("SaveRefreshed = %v, want no error", err)
		}
		if !got.RefusedAt.Equal(noon) || got.FailureCode != "identity_changed" || got.RefreshToken.Reveal() != "r2" || !got.AccessToken.Empty() || !got.IntentAt.IsZero() {
			t.Errorf("SaveRefreshed stored a grant refused at %v with code %q, want both and the refresh token", got.RefusedAt, got.FailureCode)
		}
		if due, err := s.Due(t.Context(), Apps[0], noon.AddDate(0, 0, 1), 10); err != nil || len(due) != 0 {
			t.Errorf("Due = %d grants, %v, want none: it has ended", len(due), err)
		}
	})
	t.Run("a success leaves alone what a refresh does not bring", func(t *testing.T) {
		s, g := claimed(t)
		if err := s.Touch(t.Context(), g.Key, noon.Add(time.Hour)); err != nil {
			t.Fatalf("Touch = %v, want no error", err)
		}
		g.Account, g.Requested, g.ConnectedAt, g.UsedAt = "another", []string{"other"}, noon.Add(time.Hour), time.Time{}
		got, err := s.SaveRefreshed(t.Context(), g, refreshed)
		want := grant(g.Key)
		if err != nil || got.Account != want.Account || !got.ConnectedAt.Equal(want.ConnectedAt) || len(got.Requested) != len(want.Requested) {
			t.Errorf("SaveRefreshed = %+v, %v, want account, consent and request as connected", got, err)
		}
		if !got.UsedAt.Equal(noon.Add(time.Hour)) {
			t.Errorf("UsedAt = %v, want %v: the refresh read it before the use", got.UsedAt, noon.Add(time.Hour))
		}
	})
	t.Run("an answer may be stored again by who did not hear that it was", func(t *testing.T) {
		s, g := claimed(t)
		g.AccessToken = secret.New("a2")
		for range 2 {
			if got, err := s.SaveRefreshed(t.Context(), g, refreshed); err != nil || got.AccessToken.Reveal() != "a2" {
				t.Errorf("SaveRefreshed = %v, want no error and the token", err)
			}
		}
	})
	t.Run("an answer that comes after a newer claim is a conflict", func(t *testing.T) {
		s, slow := claimed(t)
		quick, err := s.Claim(t.Context(), slow, "two", until, until.Add(time.Minute))
		if err != nil {
			t.Fatalf("Claim = %v, want no error", err)
		}
		wantOutdated(t, s, slow)
		quick.AccessToken = secret.New("quick")
		if _, err := s.SaveRefreshed(t.Context(), quick, refreshed); err != nil {
			t.Errorf("SaveRefreshed by the newer claim = %v, want no error", err)
		}
		wantOutdated(t, s, slow)
		if got := read(t, s, slow.Key); got.AccessToken.Reveal() != "quick" {
			t.Error("the token of the outdated claim is stored")
		}
	})
	t.Run("an answer that comes after a new consent is a conflict", func(t *testing.T) {
		s, g := claimed(t)
		again := connect(t, s, grant(g.Key))
		if !again.IntentUntil.IsZero() || again.IntentBy != "" {
			t.Errorf("the new grant carries the intent of %q", again.IntentBy)
		}
		wantOutdated(t, s, g)
		if diff := cmp.Diff(again, read(t, s, g.Key), compare); diff != "" {
			t.Errorf("the new grant changed (-want +got):\n%s", diff)
		}
	})
	t.Run("an answer that comes after the end of the grant is a conflict", func(t *testing.T) {
		s, g := claimed(t)
		if _, err := s.Delete(t.Context(), g.Key, entry); err != nil {
			t.Fatalf("Delete = %v, want no error", err)
		}
		wantOutdated(t, s, g)
		again := connect(t, s, grant(g.Key))
		if again, err := s.Claim(t.Context(), again, "two", noon, until); err != nil {
			t.Fatalf("Claim = %v, want no error", err)
		} else if wantOutdated(t, s, g); again.ID == g.ID {
			t.Errorf("a grant made anew has the old id %s", g.ID)
		}
	})
	t.Run("a refusal stores what happened and clears the intent", func(t *testing.T) {
		for _, keep := range []bool{false, true} {
			s, g := claimed(t)
			next := g
			next.RefusedAt, next.FailureCode, next.FailedAt, next.Failures, next.NextTryAt = noon, "invalid_grant", noon.Add(time.Second), 2, noon.Add(time.Minute)
			next.AccessToken = secret.New("not to be stored")
			got, err := s.SaveRefusal(t.Context(), next, keep, refreshed)
			if err != nil {
				t.Fatalf("SaveRefusal = %v, want no error", err)
			}
			want := next
			want.AccessToken, want.Rev = g.AccessToken, g.Rev+1
			if !keep {
				want.IntentAt, want.IntentUntil, want.IntentBy = time.Time{}, time.Time{}, ""
			}
			if diff := cmp.Diff(want, got, compare); diff != "" {
				t.Errorf("SaveRefusal, keepIntent %v (-want +got):\n%s", keep, diff)
			}
			if diff := cmp.Diff(got, read(t, s, g.Key), compare); diff != "" {
				t.Errorf("Get differs from what SaveRefusal returned (-want +got):\n%s", diff)
			}
		}
	})
	t.Run("a use is noted to the minute, and does not stand in the way of a claim", func(t *testing.T) {
		s := open(t)
		g := connect(t, s, grant(key(alice, Apps[0])))
		for _, tt := range []struct{ at, want time.Time }{
			{noon.Add(time.Minute - time.Millisecond), noon},
			{noon.Add(time.Minute), noon.Add(time.Minute)},
			{noon, noon.Add(time.Minute)},
			{noon.Add(time.Hour), noon.Add(time.Hour)},
		} {
			if err := s.Touch(t.Context(), g.Key, tt.at); err != nil {
				t.Fatalf("Touch = %v, want no error", err)
			}
			if got := read(t, s, g.Key); !got.UsedAt.Equal(tt.want) || got.Rev != g.Rev {
				t.Errorf("after Touch at %v UsedAt = %v and Rev = %d, want %v and %d", tt.at, got.UsedAt, got.Rev, tt.want, g.Rev)
			}
		}
		if _, err := s.Claim(t.Context(), g, "one", noon, until); err != nil {
			t.Errorf("Claim after a use = %v, want no error", err)
		}
		if err := s.Touch(t.Context(), key(bob, Apps[0]), noon); err != nil {
			t.Errorf("Touch of no grant = %v, want no error: it may just have been deleted", err)
		}
	})
	t.Run("late tokens are adopted, with all that a refresh changes, by who read the grant last", func(t *testing.T) {
		s, g := claimed(t)
		late := g
		late.AccessToken, late.RefreshToken, late.SpareRefreshToken = secret.New("a2"), secret.New("r2"), secret.New("spare")
		late.RefreshedAt, late.ExpiresAt, late.RefreshExpiresAt, late.Scopes = noon.Add(time.Second), noon.Add(2*time.Hour), noon.Add(48*time.Hour), []string{"sql"}
		late.Revision, late.Fence = g.Revision+1, g.Fence+1
		late.IntentAt, late.IntentUntil, late.IntentBy = time.Time{}, time.Time{}, ""
		got, err := s.Adopt(t.Context(), late, refreshed)
		want := late
		want.Rev = g.Rev + 1
		if diff := cmp.Diff(want, got, compare); err != nil || diff != "" {
			t.Fatalf("Adopt = %v (-want +got):\n%s", err, diff)
		}
		if diff := cmp.Diff(got, read(t, s, g.Key), compare); diff != "" {
			t.Errorf("Get differs from what Adopt returned (-want +got):\n%s", diff)
		}
		_, err = s.Adopt(t.Context(), late, refreshed)
		wantKind(t, "Adopt of what was read too early", err, fault.Conflict)
		wantOutdated(t, s, g)
		connect(t, s, grant(g.Key))
		_, err = s.Adopt(t.Context(), got, refreshed)
		wantKind(t, "Adopt of a replaced grant", err, fault.Conflict)
		if read(t, s, g.Key).SpareRefreshToken.Reveal() != "" {
			t.Error("a new consent kept the spare of the old one")
		}
	})
	t.Run("one of many who adopt at once succeeds", func(t *testing.T) {
		s, g := claimed(t)
		errs := parallel(20, func(int) error {
			_, err := s.Adopt(t.Context(), g, refreshed)
			return err
		})
		wantOne(t, "Adopt", errs, fault.Conflict)
	})
	t.Run("what is due is found when it is due, the longest due first, through all that happens to it", func(t *testing.T) {
		s := open(t)
		var gs []connectedapps.Grant
		for i, p := range []connectedapps.Key{key(alice, Apps[0]), key(bob, Apps[0]), key(alice, Apps[1])} {
			g := grant(p)
			g.UsedAt, g.RefreshedAt, g.ExpiresAt, g.RefreshExpiresAt = noon, noon.Add(time.Duration(i)*time.Hour), noon.Add(time.Duration(i+1)*time.Hour), time.Time{}
			g.RefusedAt, g.FailureCode, g.FailedAt, g.Failures, g.NextTryAt = time.Time{}, "", time.Time{}, 0, time.Time{}
			gs = append(gs, connect(t, s, g))
		}
		due := func(at time.Time, want ...string) {
			t.Helper()
			list, err := s.Due(t.Context(), Apps[0], at, 10)
			var got []string
			for _, g := range list {
				got = append(got, g.ID)
			}
			if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("Due at %v = %q, %v, want %q", at.Format(time.TimeOnly), got, err, want)
			}
		}
		at := connectedapps.DueAt(gs[0])
		due(at.Add(-time.Millisecond))
		due(at.Add(time.Millisecond), gs[0].ID)
		due(noon.Add(24*time.Hour), gs[0].ID, gs[1].ID)
		if list, err := s.Due(t.Context(), Apps[0], noon.Add(24*time.Hour), 1); err != nil || len(list) != 1 {
			t.Errorf("Due with limit 1 = %d, %v, want 1", len(list), err)
		}
		g, err := s.Claim(t.Context(), gs[0], "one", at, at.Add(35*time.Second))
		if err != nil {
			t.Fatalf("Claim = %v, want no error", err)
		}
		due(g.ExpiresAt.Add(-time.Millisecond)) // its outcome is not known, and the held token serves
		due(g.ExpiresAt, gs[0].ID)
		g.RefreshedAt, g.ExpiresAt = at, at.Add(time.Hour)
		if g, err = s.SaveRefreshed(t.Context(), g, refreshed); err != nil {
			t.Fatalf("SaveRefreshed = %v, want no error", err)
		}
		due(connectedapps.DueAt(g).Add(-time.Millisecond))
		due(connectedapps.DueAt(g).Add(time.Millisecond), gs[0].ID)
		if g, err = s.Claim(t.Context(), g, "one", at, at.Add(35*time.Second)); err != nil {
			t.Fatalf("Claim = %v, want no error", err)
		}
		g.FailureCode, g.Failures, g.NextTryAt = "provider_error", 1, noon.Add(5*time.Hour)
		if g, err = s.SaveRefusal(t.Context(), g, false, refreshed); err != nil {
			t.Fatalf("SaveRefusal = %v, want no error", err)
		}
		due(noon.Add(5*time.Hour-time.Millisecond), gs[1].ID)
		due(noon.Add(5*time.Hour), gs[1].ID, gs[0].ID)
		g.RefusedAt = noon
		if _, err = s.SaveRefusal(t.Context(), g, false, refreshed); err != nil {
			t.Fatalf("SaveRefusal = %v, want no error", err)
		}
		due(noon.Add(24*time.Hour), gs[1].ID)
	})
	t.Run("of what is due, what ends first comes first", func(t *testing.T) {
		s := open(t)
		at := noon.Add(time.Hour)
		var want []string
		for i, g := range []struct {
			used, ends, refreshEnds time.Duration // after at
		}{
			{-2 * time.Hour, 5 * time.Minute, 7 * time.Minute}, // nobody uses the access token, and the refresh token ends
			{-time.Minute, 8 * time.Minute, 0},                 // the access token is in use
			{-time.Minute, 10 * time.Minute, 9 * time.Minute},  // and here the refresh token ends sooner
			{-time.Minute, -2 * time.Minute, 10 * time.Minute}, // it has ended: who needs it waits in any case
			{-2 * time.Hour, 4 * time.Minute, 24 * time.Hour},  // nobody uses it
			{-2 * time.Hour, 5 * time.Minute, 0},               // and no end is known
			{-time.Minute, -20 * time.Minute, 0},               // or all has ended
		} {
			it := grant(key(connectedapps.Principal{Realm: alice.Realm, Subject: fmt.Sprint("usr_due_", i)}, Apps[0]))
			it.ConnectedAt, it.UsedAt, it.RefreshedAt, it.ExpiresAt = noon, at.Add(g.used), noon.Add(-time.Duration(i)*time.Second), at.Add(g.ends)
			it.RefusedAt, it.FailureCode, it.FailedAt, it.Failures, it.NextTryAt = time.Time{}, "", time.Time{}, 0, time.Time{}
			if it.RefreshExpiresAt = (time.Time{}); g.refreshEnds > 0 {
				it.RefreshExpiresAt = at.Add(g.refreshEnds)
			}
			want = append(want, connect(t, s, it).ID)
		}
		want[5], want[6] = want[6], want[5] // without an end, who is due for longest comes first
		var got []string
		list, err := s.Due(t.Context(), Apps[0], at, 10)
		for _, g := range list {
			got = append(got, g.ID)
		}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("Due = %v (-want +got):\n%s", err, diff)
		}
		if list, err := s.Due(t.Context(), Apps[0], at, 2); err != nil || len(list) != 2 || list[0].ID != want[0] || list[1].ID != want[1] {
			t.Errorf("Due with limit 2 = %d, %v, want the first 2", len(list), err)
		}
	})
	t.Run("who uses a grant again makes it due again", func(t *testing.T) {
		s := open(t)
		g := grant(key(alice, Apps[0]))
		g.ConnectedAt, g.UsedAt = noon.AddDate(0, 0, -60), noon.AddDate(0, 0, -40)
		g.RefreshedAt, g.ExpiresAt, g.RefreshExpiresAt = noon, noon.Add(time.Hour), time.Time{}
		g.RefusedAt, g.FailureCode, g.FailedAt, g.Failures, g.NextTryAt = time.Time{}, "", time.Time{}, 0, time.Time{}
		connect(t, s, g)
		if list, err := s.Due(t.Context(), Apps[0], noon.Add(24*time.Hour), 10); err != nil || len(list) != 0 {
			t.Errorf("Due = %d, %v, want none: nobody used it for 40 days", len(list), err)
		}
		if err := s.Touch(t.Context(), g.Key, noon); err != nil {
			t.Fatalf("Touch = %v, want no error", err)
		}
		if list, err := s.Due(t.Context(), Apps[0], noon.Add(24*time.Hour), 10); err != nil || len(list) != 1 {
			t.Errorf("Due = %d, %v, want it", len(list), err)
		}
	})
	t.Run("a claim without a holder or an end is refused", func(t *testing.T) {
		s := open(t)
		g := connect(t, s, grant(key(alice, Apps[0])))
		_, err := s.Claim(t.Context(), g, "", noon, until)
		wantKind(t, "Claim by nobody", err, fault.Invalid)
		_, err = s.Claim(t.Context(), g, "one", noon, noon)
		wantKind(t, "Claim for no time", err, fault.Invalid)
	})
	t.Run("a caller who left hears canceled", func(t *testing.T) {
		s, g := claimed(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := s.Claim(ctx, g, "one", noon, until)
		wantKind(t, "Claim", err, fault.Canceled)
		_, err = s.SaveRefreshed(ctx, g, refreshed)
		wantKind(t, "SaveRefreshed", err, fault.Canceled)
		_, err = s.SaveRefusal(ctx, g, false, refreshed)
		wantKind(t, "SaveRefusal", err, fault.Canceled)
		wantKind(t, "Touch", s.Touch(ctx, g.Key, noon.Add(time.Hour)), fault.Canceled)
		if diff := cmp.Diff(g, read(t, s, g.Key), compare); diff != "" {
			t.Errorf("the grant changed (-want +got):\n%s", diff)
		}
	})
}

// wantOutdated checks that nothing can be saved for the claim that g holds.
func wantOutdated(t *testing.T, s GrantStore, g connectedapps.Grant) {
	t.Helper()
	g.AccessToken = secret.New("too late")
	_, err := s.SaveRefreshed(t.Context(), g, refreshed)
	wantKind(t, "SaveRefreshed", err, fault.Conflict)
	for _, keep := range []bool{false, true} {
		_, err = s.SaveRefusal(t.Context(), g, keep, refreshed)
		wantKind(t, "SaveRefusal", err, fault.Conflict)
	}
}
