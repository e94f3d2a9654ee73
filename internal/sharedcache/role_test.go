package sharedcache_test

import (
	"strings"
	"testing"

	"github.com/behalf-project/behalf/internal/redis/redistest"
	"github.com/behalf-project/behalf/internal/sharedcache"
)

// of returns k for a role.
func of(k sharedcache.Key, role string) sharedcache.Key {
	k.Key = k.OfRole(role)
	return k
}

// fetch has r run the statement of k under a role.
func (r replica) fetch(t testing.TB, k sharedcache.Key, role, text string) {
	t.Helper()
	res := result(t, text)
	res.Role = role
	r.Begin(t.Context(), k, values).Put(t.Context(), res)
}

func TestWhatIsForARoleIsFoundByWhoeverHasIt(t *testing.T) {
	two := replicas(t, 2, on(t, redistest.Start(t)))
	alice, bob := key(t, scope("alice", 3), "SELECT 1"), key(t, scope("bob", 1), "SELECT 1")
	two[0].fetch(t, alice, "R", "hers")
	got, ok := two[1].Get(t.Context(), of(bob, "R"))
	if !ok || got.Rows.First()[0] != "hers" || got.By != alice.Scope || got.Role != "R" {
		t.Errorf("Get = %+v, %t, want what alice fetched, by her and for the role", got, ok)
	}
	two[1].has(t, alice, "hers") // she has it herself
	elsewhere := bob
	elsewhere.Scope.SourceRev = 2
	other := bob
	other.Source[0]++
	for name, k := range map[string]sharedcache.Key{
		"somebody without the role": bob, "another role": of(bob, "r"), "another statement": of(key(t, bob.Scope, "SELECT 2"), "R"),
		"another revision": of(elsewhere, "R"), "a source that is configured otherwise": of(other, "R"),
	} {
		if _, ok := two[1].Get(t.Context(), k); ok {
			t.Errorf("%s finds it", name)
		}
	}
	two[0].fetch(t, key(t, scope("carol", 1), "SELECT 3"), "", "hers alone")
	two[1].has(t, of(key(t, scope("carol", 1), "SELECT 3"), ""), "hers alone")
	two[1].has(t, of(key(t, scope("bob", 1), "SELECT 3"), "R"), "")

	two[1].Delete(t.Context(), of(bob, "R"))
	two[0].has(t, of(bob, "R"), "")
}

// The last one who fetched it is asked for it, and only what they fetched under this role is for it.
func TestWhoeverFetchedItLastUnderAnotherRoleHasNothingForThisOne(t *testing.T) {
	r := replicas(t, 1, on(t, redistest.Start(t)))[0]
	alice, bob := key(t, scope("alice", 1), "SELECT 1"), key(t, scope("bob", 1), "SELECT 1")
	r.fetch(t, alice, "R", "as R")
	r.fetch(t, alice, "S", "as S")
	r.has(t, of(bob, "R"), "")
	r.has(t, of(bob, "S"), "as S")
	r.fetch(t, alice, "", "as nobody knows")
	r.has(t, of(bob, "S"), "")
}

func TestAPurgeEndsWhatSomebodyFetchedForARole(t *testing.T) {
	two := replicas(t, 2, on(t, redistest.Start(t)))
	alice, bob := key(t, scope("alice", 1), "SELECT 1"), key(t, scope("bob", 1), "SELECT 1")
	two[0].fetch(t, alice, "R", "hers")
	two[1].has(t, of(bob, "R"), "hers")
	two[0].Purge(bob.Scope.Principal.Key())
	eventually(t, "the purge is done", func() bool { return two[0].Stats().Purges == 0 })
	two[1].has(t, of(bob, "R"), "hers")

	late := two[0].Begin(t.Context(), alice, values) // before the purge
	two[0].Purge(alice.Scope.Principal.Key())
	two[0].has(t, of(bob, "R"), "") // here at once
	eventually(t, "the purge is done", func() bool { return two[0].Stats().Purges == 0 })
	two[1].has(t, of(bob, "R"), "")
	res := result(t, "late")
	res.Role = "R"
	late.Put(t.Context(), res)
	two[1].has(t, of(bob, "R"), "")

	two[0].fetch(t, alice, "R", "hers again")
	two[1].has(t, of(bob, "R"), "hers again")
	two[0].Purge(sharedcache.Everybody)
	eventually(t, "the purge is done", func() bool { return two[0].Stats().Purges == 0 })
	two[1].has(t, of(bob, "R"), "")
}

// Who writes to the Store cannot make one role find what another has, nor read who holds what.
func TestAHolderThatWasChangedOrMovedIsNone(t *testing.T) {
	server := redistest.Start(t)
	r := replicas(t, 1, on(t, server))[0]
	s := scope("canary-subject", 1)
	alice, bob := key(t, s, "SELECT 1"), key(t, scope("bob", 1), "SELECT 1")
	holders := func() (names []string) {
		for name, value := range server.Dump() {
			if strings.Contains(name+value, "canary") {
				t.Errorf("%q is readable: %q", name, value)
			}
			if strings.HasSuffix(name, ":holder") {
				names = append(names, name)
			}
		}
		return names
	}
	r.fetch(t, alice, "canary-R", "as R")
	first := holders()
	if len(first) != 1 {
		t.Fatalf("%d names are of holders, want one", len(first))
	}
	sealed := server.Dump()[first[0]]
	if life, err := server.Do("PTTL", first[0]).AsInt64(); err != nil || life <= 0 {
		t.Errorf("the holder has no end: %d, %v", life, err)
	}
	r.fetch(t, alice, "S", "as S")
	r.fetch(t, alice, "canary-R", "as R")
	r.has(t, of(bob, "S"), "")
	for _, name := range holders() {
		if err := server.Do("SET", name, sealed).Error(); err != nil {
			t.Fatal(err)
		}
	}
	r.has(t, of(bob, "S"), "")
	r.has(t, of(bob, "canary-R"), "as R")
	for _, name := range holders() {
		if err := server.Do("SET", name, sealed[:len(sealed)-1]+"x").Error(); err != nil {
			t.Fatal(err)
		}
	}
	r.has(t, of(bob, "canary-R"), "")
	if got := r.Stats(); got.Refused == 0 || got.Down {
		t.Errorf("Stats = %+v, want values refused and a store that is asked on", got)
	}
}
