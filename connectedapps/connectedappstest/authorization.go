package connectedappstest

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/secret"
)

// TestAuthorizationStore checks the promises of connectedapps.AuthorizationStore. open returns a store that knows
// Apps, holds no authorizations, and lives until the test ends.
func TestAuthorizationStore(t *testing.T, open func(*testing.T) connectedapps.AuthorizationStore) {
	pending := connectedapps.Authorization{
		ID: "cs_1", Principal: alice, AppID: Apps[0], ReturnTo: "/connected", CreatedAt: noon, ExpiresAt: noon.Add(10 * time.Minute),
	}
	begun := pending
	begun.Browser, begun.StateHash, begun.Verifier, begun.Nonce = "browser", "state-1", secret.New("verifier"), secret.New("nonce")
	begun.DPoPKey = secret.New("key")
	create := func(t *testing.T, s connectedapps.AuthorizationStore, a connectedapps.Authorization) {
		t.Helper()
		if err := s.CreateAuthorization(t.Context(), a); err != nil {
			t.Fatalf("CreateAuthorization = %v, want no error", err)
		}
	}
	begin := func(t *testing.T, s connectedapps.AuthorizationStore, a connectedapps.Authorization) {
		t.Helper()
		if err := s.BeginAuthorization(t.Context(), a, noon); err != nil {
			t.Fatalf("BeginAuthorization = %v, want no error", err)
		}
	}

	t.Run("an authorization comes back as it was stored, before and after it began", func(t *testing.T) {
		s := open(t)
		_, err := s.GetAuthorization(t.Context(), pending.ID)
		wantKind(t, "GetAuthorization", err, fault.NotFound)
		create(t, s, pending)
		got, err := s.GetAuthorization(t.Context(), pending.ID)
		if diff := cmp.Diff(pending, got, compare); err != nil || diff != "" {
			t.Errorf("GetAuthorization = %v (-want +got):\n%s", err, diff)
		}
		begin(t, s, begun)
		got, err = s.GetAuthorization(t.Context(), pending.ID)
		if diff := cmp.Diff(begun, got, compare); err != nil || diff != "" {
			t.Errorf("GetAuthorization = %v (-want +got):\n%s", err, diff)
		}
	})
	t.Run("many wait for their state at once", func(t *testing.T) {
		s := open(t)
		other := pending
		other.ID = "cs_2"
		create(t, s, pending)
		create(t, s, other)
		wantKind(t, "CreateAuthorization with the same id", s.CreateAuthorization(t.Context(), pending), fault.Conflict)
		_, err := s.TakeAuthorization(t.Context(), "", noon)
		wantKind(t, "TakeAuthorization of no state", err, fault.Gone)
	})
	t.Run("an authorization of nobody, without end, or for a deleted app is refused", func(t *testing.T) {
		s := open(t)
		nobody, endless, orphan := pending, pending, pending
		nobody.Principal.Subject, endless.ExpiresAt, orphan.AppID = "", time.Time{}, "oap_gone"
		wantKind(t, "CreateAuthorization of nobody", s.CreateAuthorization(t.Context(), nobody), fault.Invalid)
		wantKind(t, "CreateAuthorization without end", s.CreateAuthorization(t.Context(), endless), fault.Invalid)
		wantKind(t, "CreateAuthorization for no app", s.CreateAuthorization(t.Context(), orphan), fault.NotFound)
	})
	t.Run("one of a hundred callbacks takes a state", func(t *testing.T) {
		s := open(t)
		create(t, s, pending)
		begin(t, s, begun)
		taken := make([]connectedapps.Authorization, 100)
		errs := parallel(len(taken), func(i int) (err error) {
			taken[i], err = s.TakeAuthorization(t.Context(), begun.StateHash, noon.Add(time.Minute))
			return err
		})
		wantOne(t, "TakeAuthorization", errs, fault.Gone)
		want := begun
		want.TakenAt = noon.Add(time.Minute)
		for i, err := range errs {
			if err == nil {
				if diff := cmp.Diff(want, taken[i], compare); diff != "" {
					t.Errorf("TakeAuthorization (-want +got):\n%s", diff)
				}
			} else if !taken[i].Verifier.Empty() || !taken[i].DPoPKey.Empty() {
				t.Error("one who came too late got the verifier")
			}
		}
		got, err := s.GetAuthorization(t.Context(), begun.ID)
		if err != nil || !got.TakenAt.Equal(want.TakenAt) {
			t.Errorf("GetAuthorization = taken at %v, %v, want %v", got.TakenAt, err, want.TakenAt)
		}
		if !got.Verifier.Empty() || !got.Nonce.Empty() || !got.DPoPKey.Empty() {
			t.Error("verifier, nonce or key are in the database though somebody took them")
		}
		wantKind(t, "BeginAuthorization of a taken one", s.BeginAuthorization(t.Context(), begun, noon), fault.Gone)
	})
	t.Run("a state is taken before its end, not at it", func(t *testing.T) {
		s := open(t)
		create(t, s, pending)
		begin(t, s, begun)
		_, err := s.TakeAuthorization(t.Context(), begun.StateHash, begun.ExpiresAt)
		wantKind(t, "TakeAuthorization at the end", err, fault.Gone)
		_, err = s.TakeAuthorization(t.Context(), "unknown", noon)
		wantKind(t, "TakeAuthorization of an unknown state", err, fault.Gone)
		if _, err = s.TakeAuthorization(t.Context(), begun.StateHash, begun.ExpiresAt.Add(-time.Millisecond)); err != nil {
			t.Errorf("TakeAuthorization before the end = %v, want no error", err)
		}
	})
	t.Run("beginning again kills the older state", func(t *testing.T) {
		s := open(t)
		create(t, s, pending)
		begin(t, s, begun)
		again := begun
		again.StateHash, again.Verifier = "state-2", secret.New("verifier 2")
		begin(t, s, again)
		_, err := s.TakeAuthorization(t.Context(), begun.StateHash, noon)
		wantKind(t, "TakeAuthorization of the older state", err, fault.Gone)
		got, err := s.TakeAuthorization(t.Context(), again.StateHash, noon)
		if err != nil || got.Verifier.Reveal() != "verifier 2" {
			t.Errorf("TakeAuthorization = %v, want the newer verifier", err)
		}
	})
	t.Run("an authorization that cannot begin", func(t *testing.T) {
		s := open(t)
		wantKind(t, "BeginAuthorization of none", s.BeginAuthorization(t.Context(), begun, noon), fault.Gone)
		create(t, s, pending)
		wantKind(t, "BeginAuthorization at the end", s.BeginAuthorization(t.Context(), begun, begun.ExpiresAt), fault.Gone)
		wantKind(t, "BeginAuthorization without state", s.BeginAuthorization(t.Context(), pending, noon), fault.Invalid)
		stranger := begun
		stranger.Principal = bob
		wantKind(t, "BeginAuthorization by somebody else", s.BeginAuthorization(t.Context(), stranger, noon), fault.Gone)
		begin(t, s, begun)
		second := begun
		second.ID = "cs_2"
		waiting := second
		waiting.Browser, waiting.StateHash = "", ""
		create(t, s, waiting)
		wantKind(t, "BeginAuthorization with a state in use", s.BeginAuthorization(t.Context(), second, noon), fault.Conflict)
	})
	t.Run("an outcome ends an authorization", func(t *testing.T) {
		s := open(t)
		wantKind(t, "FinishAuthorization of none", s.FinishAuthorization(t.Context(), pending.ID, "connected", noon), fault.NotFound)
		create(t, s, pending)
		begin(t, s, begun)
		if err := s.FinishAuthorization(t.Context(), pending.ID, "access_denied", noon.Add(time.Minute)); err != nil {
			t.Fatalf("FinishAuthorization = %v, want no error", err)
		}
		got, err := s.GetAuthorization(t.Context(), pending.ID)
		if err != nil || got.Outcome != "access_denied" || !got.DoneAt.Equal(noon.Add(time.Minute)) {
			t.Errorf("GetAuthorization = outcome %q at %v, %v, want access_denied at %v", got.Outcome, got.DoneAt, err, noon.Add(time.Minute))
		}
		wantKind(t, "BeginAuthorization of one that is over", s.BeginAuthorization(t.Context(), begun, noon), fault.Gone)
		_, err = s.TakeAuthorization(t.Context(), begun.StateHash, noon)
		wantKind(t, "TakeAuthorization of one that is over", err, fault.Gone)
	})
	t.Run("a caller who left hears canceled", func(t *testing.T) {
		s := open(t)
		create(t, s, pending)
		begin(t, s, begun)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := s.TakeAuthorization(ctx, begun.StateHash, noon)
		wantKind(t, "TakeAuthorization", err, fault.Canceled)
		_, err = s.GetAuthorization(ctx, begun.ID)
		wantKind(t, "GetAuthorization", err, fault.Canceled)
		if _, err := s.TakeAuthorization(t.Context(), begun.StateHash, noon); err != nil {
			t.Errorf("TakeAuthorization after one that was canceled = %v, want no error", err)
		}
	})
}
