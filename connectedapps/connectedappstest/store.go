// Package connectedappstest holds the suites for the stores of package connectedapps: each promise that their
// interfaces make, tried on a real database.
package connectedappstest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/domains"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
)

// Apps are the ids of the OAuth apps that a store under test knows. They are in the default domain.
var Apps = []string{"oap_a", "oap_b"}

var (
	noon  = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	alice = securitycontext.Principal{Realm: securitycontext.Local, Subject: "usr_alice"}
	bob   = securitycontext.Principal{Realm: securitycontext.Local, Subject: "usr_bob"}
	entry = audit.Entry{Actor: "system", Action: audit.GrantCreated, Outcome: "ok"}
)

// compare lets cmp look at secrets.
var compare = cmp.Comparer(secret.Text.Equal)

func key(p securitycontext.Principal, app string) connectedapps.Key {
	return connectedapps.Key{Principal: p, AppID: app}
}

// grant returns a grant as a consent makes it, with every field set that a consent knows.
func grant(k connectedapps.Key) connectedapps.Grant {
	return connectedapps.Grant{
		Key: k, Domain: domains.DefaultID, Epoch: noon.UnixMilli(),
		AccessToken: secret.New("access of " + k.Principal.Key()), RefreshToken: secret.New("refresh of " + k.Principal.Key()),
		DPoPKey:   secret.New("key of " + k.Principal.Key()),
		TokenType: "Bearer", Scopes: []string{"sql", "offline_access"}, Requested: []string{"sql", "offline_access", "all-apis"},
		Subject: "00u1", Account: "Someone@corp.example", Identity: "someone@corp.example", Mismatch: "somebody.else", Exchanged: true, ConnectedAt: noon, RefreshedAt: noon, ExpiresAt: noon.Add(time.Hour),
		RefreshExpiresAt: noon.Add(24 * time.Hour), RefreshEndKnown: noon, UsedAt: noon,
	}
}

// TestStore checks the promises of connectedapps.Store. open returns a store that knows Apps, holds no grants, and
// lives until the test ends.
func TestStore(t *testing.T, open func(*testing.T) connectedapps.Store) {
	t.Run("an account is kept for the grant it was of", func(t *testing.T) {
		s := open(t)
		g, err := s.Connect(t.Context(), grant(key(alice, Apps[0])), "", entry)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.KeepAccount(t.Context(), g.Key, g.Epoch-1, entry)
		wantKind(t, "KeepAccount of another epoch", err, fault.Conflict)
		kept, err := s.KeepAccount(t.Context(), g.Key, g.Epoch, entry)
		if err != nil {
			t.Fatalf("KeepAccount = %v", err)
		}
		g.Mismatch, g.Rev = "", g.Rev+1
		if diff := cmp.Diff(g, kept, compare); diff != "" {
			t.Errorf("KeepAccount changed something else (-want +got):\n%s", diff)
		}
	})

	t.Run("a grant that nobody made is not found", func(t *testing.T) {
		s := open(t)
		_, err := s.Get(t.Context(), key(alice, Apps[0]))
		wantKind(t, "Get", err, fault.NotFound)
		_, err = s.Delete(t.Context(), key(alice, Apps[0]), entry)
		wantKind(t, "Delete", err, fault.NotFound)
	})
	t.Run("a grant comes back as it was stored", func(t *testing.T) {
		s := open(t)
		g := grant(key(alice, Apps[0]))
		got := connect(t, s, g)
		g.ID, g.Revision, g.Rev, g.Fence = got.ID, got.Revision, got.Rev, got.Fence
		if diff := cmp.Diff(g, got, compare); diff != "" {
			t.Errorf("Connect stored something else (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(got, read(t, s, g.Key), compare); diff != "" {
			t.Errorf("Get differs from what Connect returned (-want +got):\n%s", diff)
		}
		if got.ID == "" || got.Rev == 0 || got.Revision == 0 {
			t.Errorf("Connect returned id %q, rev %d, revision %d, want all set", got.ID, got.Rev, got.Revision)
		}
	})
	t.Run("a grant without refresh token, scopes and ends comes back without them", func(t *testing.T) {
		s := open(t)
		g := connectedapps.Grant{Key: key(alice, Apps[0]), Domain: domains.DefaultID, AccessToken: secret.New("a")}
		connect(t, s, g)
		got := read(t, s, g.Key)
		if !got.RefreshToken.Empty() || got.Scopes != nil || !got.ExpiresAt.IsZero() || !got.RefusedAt.IsZero() {
			t.Errorf("Get = %+v, want an empty refresh token, no scopes and zero times", got)
		}
	})
	t.Run("a new consent replaces the grant under its id", func(t *testing.T) {
		s := open(t)
		first := connect(t, s, grant(key(alice, Apps[0])))
		again := grant(first.Key)
		again.AccessToken, again.RefreshToken, again.Epoch = secret.New("new"), secret.Text{}, first.Epoch+5
		got := connect(t, s, again)
		if got.ID != first.ID || got.Rev != first.Rev+1 || got.Revision != first.Revision+1 || got.Epoch != first.Epoch+5 {
			t.Errorf("Connect = id %s rev %d revision %d epoch %d, want id %s rev %d revision %d epoch %d",
				got.ID, got.Rev, got.Revision, got.Epoch, first.ID, first.Rev+1, first.Revision+1, first.Epoch+5)
		}
		if got.AccessToken.Reveal() != "new" || !got.RefreshToken.Empty() {
			t.Error("tokens of the old consent are left")
		}
	})
	t.Run("epochs of a key grow though the clock steps back and the grant is deleted", func(t *testing.T) {
		s := open(t)
		last := int64(0)
		for i, want := range []int64{1000, 1000, 400, 2000, 1, 1, 0} {
			g := grant(key(alice, Apps[0]))
			g.Epoch = want
			got := connect(t, s, g)
			if got.Epoch <= last || got.Epoch < want {
				t.Errorf("epoch %d = %d, want more than %d and at least %d", i, got.Epoch, last, want)
			}
			last = got.Epoch
			if i%2 == 0 {
				if _, err := s.Delete(t.Context(), g.Key, entry); err != nil {
					t.Fatalf("Delete = %v, want no error", err)
				}
			}
		}
		// Another key has its own.
		g := grant(key(bob, Apps[0]))
		g.Epoch = 7
		if got := connect(t, s, g); got.Epoch != 7 {
			t.Errorf("epoch of another person = %d, want 7", got.Epoch)
		}
	})
	t.Run("consents at one moment get epochs of their own", func(t *testing.T) {
		s := open(t)
		const n = 20
		got := make([]connectedapps.Grant, n)
		errs := parallel(n, func(i int) (err error) {
			g := grant(key(alice, Apps[0]))
			g.AccessToken = secret.New(fmt.Sprint(i))
			got[i], err = s.Connect(t.Context(), g, "", entry)
			return err
		})
		epochs, ids := map[int64]bool{}, map[string]bool{}
		for i, err := range errs {
			if err != nil {
				t.Fatalf("Connect %d = %v, want no error", i, err)
			}
			epochs[got[i].Epoch], ids[got[i].ID] = true, true
		}
		if len(epochs) != n || len(ids) != 1 {
			t.Errorf("%d consents have %d epochs and %d ids, want %d and 1", n, len(epochs), len(ids), n)
		}
		stored := read(t, s, key(alice, Apps[0]))
		newest := slices.MaxFunc(got, func(a, b connectedapps.Grant) int { return int(a.Epoch - b.Epoch) })
		if stored.Epoch != newest.Epoch || stored.Rev != n || !stored.AccessToken.Equal(newest.AccessToken) {
			t.Errorf("stored epoch %d rev %d, want epoch %d with its token and rev %d", stored.Epoch, stored.Rev, newest.Epoch, n)
		}
	})
	t.Run("Delete returns the grant once", func(t *testing.T) {
		s := open(t)
		g := connect(t, s, grant(key(alice, Apps[0])))
		connect(t, s, grant(key(bob, Apps[0])))
		got, err := s.Delete(t.Context(), g.Key, entry)
		if diff := cmp.Diff(g, got, compare); err != nil || diff != "" {
			t.Errorf("Delete = %v (-want +got):\n%s", err, diff)
		}
		_, err = s.Get(t.Context(), g.Key)
		wantKind(t, "Get", err, fault.NotFound)
		read(t, s, key(bob, Apps[0]))
	})
	t.Run("parallel Deletes return the grant to one caller", func(t *testing.T) {
		s := open(t)
		g := connect(t, s, grant(key(alice, Apps[0])))
		errs := parallel(16, func(int) error { _, err := s.Delete(t.Context(), g.Key, entry); return err })
		wantOne(t, "Delete", errs, fault.NotFound)
	})
	t.Run("List is by person or by app, ordered by id", func(t *testing.T) { testList(t, open(t)) })
	t.Run("an app is read in pages", func(t *testing.T) {
		s := open(t)
		const n = 7
		for i := range n {
			connect(t, s, grant(key(securitycontext.Principal{Realm: securitycontext.Local, Subject: fmt.Sprint(i)}, Apps[0])))
		}
		var ids []string
		f := connectedapps.Filter{AppID: Apps[0], Limit: 3}
		for pages := 1; ; pages++ {
			page, err := s.List(t.Context(), f)
			if err != nil || pages > 3 {
				t.Fatalf("page %d: List = %v, want three pages", pages, err)
			}
			for _, g := range page {
				ids = append(ids, g.ID)
			}
			if len(page) < f.Limit {
				break
			}
			f.After = page[len(page)-1].ID
		}
		if len(ids) != n || !slices.IsSorted(ids) || len(slices.Compact(ids)) != n {
			t.Errorf("pages hold the ids %q, want %d of them, each once, in order", ids, n)
		}
	})
	t.Run("people whose names run into each other do not share a grant", func(t *testing.T) {
		s := open(t)
		one, two := securitycontext.Principal{Realm: "https://a", Subject: "b:c"}, securitycontext.Principal{Realm: "https://a:b", Subject: "c"}
		connect(t, s, grant(key(one, Apps[0])))
		_, err := s.Get(t.Context(), key(two, Apps[0]))
		wantKind(t, "Get", err, fault.NotFound)
	})
	t.Run("a grant of nobody, or for no app, is refused", func(t *testing.T) {
		s := open(t)
		for _, tt := range []struct {
			name string
			key  connectedapps.Key
			want fault.Kind
		}{
			{"nobody", key(securitycontext.Principal{}, Apps[0]), fault.Invalid},
			{"no app", key(alice, ""), fault.Invalid},
			{"an app that was deleted", key(alice, "oap_gone"), fault.NotFound},
			{"a null character", key(securitycontext.Principal{Realm: "https://idp", Subject: "a\x00b"}, Apps[0]), fault.Invalid},
			{"broken UTF-8", key(securitycontext.Principal{Realm: "https://idp", Subject: "a\xffb"}, Apps[0]), fault.Invalid},
		} {
			_, err := s.Connect(t.Context(), grant(tt.key), "", entry)
			wantKind(t, "Connect for "+tt.name, err, tt.want)
		}
	})
	t.Run("a caller who left hears canceled, one whose time is up hears timeout", func(t *testing.T) {
		s := open(t)
		left, cancel := context.WithCancel(t.Context())
		cancel()
		late, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
		defer cancel()
		for _, tt := range []struct {
			ctx  context.Context
			want fault.Kind
		}{{left, fault.Canceled}, {late, fault.Timeout}} {
			_, err := s.Get(tt.ctx, key(alice, Apps[0]))
			wantKind(t, "Get", err, tt.want)
			_, err = s.List(tt.ctx, connectedapps.Filter{AppID: Apps[0]})
			wantKind(t, "List", err, tt.want)
			_, err = s.Connect(tt.ctx, grant(key(alice, Apps[0])), "", entry)
			wantKind(t, "Connect", err, tt.want)
			_, err = s.Delete(tt.ctx, key(alice, Apps[0]), entry)
			wantKind(t, "Delete", err, tt.want)
		}
		_, err := s.Get(t.Context(), key(alice, Apps[0]))
		wantKind(t, "Get after a canceled Connect", err, fault.NotFound)
	})
}

func testList(t *testing.T, s connectedapps.Store) {
	for _, k := range []connectedapps.Key{key(bob, Apps[0]), key(alice, Apps[1]), key(alice, Apps[0])} {
		connect(t, s, grant(k))
	}
	for _, tt := range []struct {
		name   string
		filter connectedapps.Filter
		want   int
	}{
		{"alice's", connectedapps.Filter{Principal: alice}, 2},
		{"bob's", connectedapps.Filter{Principal: bob}, 1},
		{"those of the first app", connectedapps.Filter{AppID: Apps[0]}, 2},
		{"those of an app without any", connectedapps.Filter{AppID: "oap_none"}, 0},
	} {
		got, err := s.List(t.Context(), tt.filter)
		if err != nil || len(got) != tt.want {
			t.Errorf("List of %s = %d grants, %v, want %d", tt.name, len(got), err, tt.want)
		}
		if !slices.IsSortedFunc(got, func(a, b connectedapps.Grant) int { return strings.Compare(a.ID, b.ID) }) {
			t.Errorf("List of %s is not ordered by id", tt.name)
		}
		for _, g := range got {
			if diff := cmp.Diff(read(t, s, g.Key), g, compare); diff != "" {
				t.Errorf("List of %s differs from Get (-want +got):\n%s", tt.name, diff)
			}
		}
	}
	for _, f := range []connectedapps.Filter{{}, {Principal: alice, AppID: Apps[0]}} {
		_, err := s.List(t.Context(), f)
		wantKind(t, fmt.Sprintf("List of %+v", f), err, fault.Invalid)
	}
}

// connect stores g and returns what was stored.
func connect(t *testing.T, s connectedapps.Store, g connectedapps.Grant) connectedapps.Grant {
	t.Helper()
	got, err := s.Connect(t.Context(), g, "", entry)
	if err != nil {
		t.Fatalf("Connect = %v, want no error", err)
	}
	return got
}

// read returns the grant of k.
func read(t *testing.T, s connectedapps.Store, k connectedapps.Key) connectedapps.Grant {
	t.Helper()
	got, err := s.Get(t.Context(), k)
	if err != nil {
		t.Fatalf("Get = %v, want no error", err)
	}
	return got
}

func wantKind(t *testing.T, what string, err error, want fault.Kind) {
	t.Helper()
	if got := fault.KindOf(err); err == nil || got != want {
		t.Errorf("%s = %v (kind %q), want %q", what, err, got, want)
	}
}

// wantOne checks that one of errs is nil and all others are of kind lost.
func wantOne(t *testing.T, what string, errs []error, lost fault.Kind) {
	t.Helper()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		wantKind(t, what+" by one who came too late", err, lost)
	}
	if won != 1 {
		t.Errorf("%s succeeded for %d of %d callers, want 1", what, won, len(errs))
	}
}

// parallel calls f n times at once and returns its errors.
func parallel(n int, f func(i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = f(i)
		})
	}
	close(start)
	wg.Wait()
	return errs
}
