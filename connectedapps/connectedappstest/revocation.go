package connectedappstest

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/jobs"
)

// RevocationStore is what TestRevocationStore needs: revocations, and the grants that they end.
type RevocationStore interface {
	connectedapps.Store
	connectedapps.RevocationStore
}

// TestRevocationStore checks the promises of connectedapps.RevocationStore. open is as for TestStore.
func TestRevocationStore(t *testing.T, open func(*testing.T) RevocationStore) {
	namesake := connectedapps.Principal{Realm: "https://idp.example", Subject: alice.Subject}
	everybody := []connectedapps.Principal{alice, bob, namesake}
	anyOrder := cmpopts.SortSlices(func(a, b connectedapps.Key) bool { return a.String() < b.String() }) // ids of one millisecond have none
	act := audit.Entry{Actor: "usr_admin", Action: audit.Contained, Outcome: "ok"}
	nothing := func(connectedapps.Grant) (jobs.Job, bool) { return jobs.Job{}, false }
	record := func(g connectedapps.Grant) audit.Entry {
		return audit.Entry{Actor: "usr_admin", Action: audit.GrantRevoked, Outcome: "ok"}
	}
	fill := func(t *testing.T, s RevocationStore) {
		for _, p := range everybody {
			for _, app := range Apps {
				if _, err := s.Connect(t.Context(), grant(key(p, app)), "", entry); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	left := func(t *testing.T, s RevocationStore) (keys []connectedapps.Key) {
		for _, p := range everybody {
			list, err := s.List(t.Context(), connectedapps.Filter{Principal: p})
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range list {
				keys = append(keys, g.Key)
			}
		}
		return keys
	}
	for _, tt := range []struct {
		name           string
		scope          connectedapps.Scope
		people, grants int
		left           []connectedapps.Key
	}{
		{"one person", connectedapps.Scope{Principal: alice}, 1, 2, []connectedapps.Key{
			key(bob, Apps[0]), key(bob, Apps[1]), key(namesake, Apps[0]), key(namesake, Apps[1]),
		}},
		{"one app", connectedapps.Scope{AppID: Apps[0]}, 3, 3, []connectedapps.Key{key(alice, Apps[1]), key(bob, Apps[1]), key(namesake, Apps[1])}},
		{"everything", connectedapps.Scope{Everything: true}, 3, 6, nil},
	} {
		t.Run("a revocation of "+tt.name+" ends that and nothing else", func(t *testing.T) {
			s := open(t)
			fill(t, s)
			people, grants, err := s.Affected(t.Context(), tt.scope)
			if err != nil || people != tt.people || grants != tt.grants {
				t.Errorf("Affected = %d, %d, %v, want %d, %d", people, grants, err, tt.people, tt.grants)
			}
			r := connectedapps.Revocation{ID: "rev_1", Scope: tt.scope, App: "a", Reason: "why", Actor: "usr_admin", CreatedAt: noon}
			_, err = s.Revoke(t.Context(), r, tt.grants+1, nothing, act, record)
			wantKind(t, "Revoke of another number", err, fault.Conflict)
			if n := len(left(t, s)); n != 6 {
				t.Fatalf("%d grants are left after a refusal, want all 6", n)
			}
			var seen []string
			done, err := s.Revoke(t.Context(), r, tt.grants, func(g connectedapps.Grant) (jobs.Job, bool) {
				seen = append(seen, g.RefreshToken.Reveal())
				return jobs.Job{Kind: "revocation", Key: g.ID, Batch: r.ID, Secret: g.RefreshToken}, g.Key.AppID == Apps[0]
			}, act, record)
			if err != nil {
				t.Fatalf("Revoke = %v", err)
			}
			if done.People != tt.people || done.Grants != tt.grants || len(seen) < tt.grants || seen[0] == "" {
				t.Errorf("Revoke = %+v, and %d grants were seen", done, len(seen))
			}
			if diff := cmp.Diff(tt.left, left(t, s), anyOrder); diff != "" {
				t.Errorf("left (-want +got):\n%s", diff)
			}
			stored, err := s.GetRevocation(t.Context(), r.ID)
			if diff := cmp.Diff(done, stored); diff != "" || err != nil {
				t.Errorf("GetRevocation = %v (-want +got):\n%s", err, diff)
			}
			if list, err := s.ListRevocations(t.Context(), 10); err != nil || len(list) != 1 || list[0].Queued != done.Queued {
				t.Errorf("ListRevocations = %+v, %v", list, err)
			}
			again, err := s.Connect(t.Context(), grant(key(alice, Apps[0])), "", entry)
			if err != nil || again.Epoch <= noon.UnixMilli() && len(tt.left) == 0 {
				t.Errorf("connected again with epoch %d, %v, want a later one", again.Epoch, err)
			}
		})
	}
	t.Run("a revocation of nothing is one too", func(t *testing.T) {
		s := open(t)
		r, err := s.Revoke(t.Context(), connectedapps.Revocation{ID: "rev_1", Scope: connectedapps.Scope{Principal: alice}, CreatedAt: noon}, -1, nothing, act, record)
		if err != nil || r.Grants != 0 {
			t.Errorf("Revoke = %+v, %v", r, err)
		}
		_, err = s.GetRevocation(t.Context(), "rev_2")
		wantKind(t, "GetRevocation", err, fault.NotFound)
	})
	t.Run("the job of a deletion is there exactly when the grant is gone", func(t *testing.T) {
		s := open(t)
		fill(t, s)
		ctx, cancel := context.WithCancel(t.Context())
		_, err := s.Delete(ctx, key(alice, Apps[0]), entry, func(connectedapps.Grant) (jobs.Job, bool) {
			cancel() // who asked is gone: the transaction does not commit
			return jobs.Job{Kind: "revocation", Key: "k"}, true
		})
		if err == nil {
			t.Fatal("Delete = nil, want that it was cancelled")
		}
		if _, err := s.Get(t.Context(), key(alice, Apps[0])); err != nil {
			t.Errorf("the grant is gone: %v", err)
		}
		var kept *fault.Error
		if errors.As(err, &kept) && kept.Kind != fault.Canceled {
			t.Errorf("Delete = %v, want cancelled", err)
		}
	})
}
