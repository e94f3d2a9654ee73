package resultcache_test

import (
	"errors"
	"reflect"
	"testing"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/resultcache"
)

// fetchedBy returns an entry that s fetched under a role.
func fetchedBy(t testing.TB, s driverfactory.PoolKey, role string) *resultcache.Entry {
	t.Helper()
	e := entry(t, s.Principal.Subject, 100)
	e.By, e.Role = s, role
	return e
}

func TestTheKeyOfARoleForgetsThePersonAndNothingElse(t *testing.T) {
	s := scope("alice", 1)
	mine := key(t, s, "SELECT 1").OfRole("R")
	if mine != key(t, scope("bob", 7), "SELECT 1").OfRole("R") {
		t.Error("two people of one role have two keys")
	}
	others := map[string]resultcache.Key{
		"no role":           key(t, s, "SELECT 1"),
		"another role":      key(t, s, "SELECT 1").OfRole("r"),
		"another statement": key(t, s, "SELECT 2").OfRole("R"),
		"nobody's":          {Scope: mine.Scope, Statement: mine.Statement},
		"what is known":     resultcache.RoleKey(s).OfRole("R"),
	}
	for i := range reflect.TypeFor[driverfactory.PoolKey]().NumField() {
		other := s
		switch name, field := reflect.TypeFor[driverfactory.PoolKey]().Field(i).Name, reflect.ValueOf(&other).Elem().Field(i); {
		case name == "Principal" || name == "Epoch":
		case field.Kind() == reflect.String:
			field.SetString("other")
			others["another "+name] = key(t, other, "SELECT 1").OfRole("R")
		case field.Kind() == reflect.Int64:
			field.SetInt(field.Int() + 1)
			others["another "+name] = key(t, other, "SELECT 1").OfRole("R")
		case field.Kind() == reflect.Bool:
			field.SetBool(true)
			others[name] = key(t, other, "SELECT 1").OfRole("R")
		default:
			t.Fatalf("%s is a %v: say here how it changes", name, field.Kind())
		}
	}
	for name, k := range others {
		if k == mine {
			t.Errorf("the key with %s is that of the role", name)
		}
	}
	service := driverfactory.PoolKey{Source: "db", Service: true}
	if k := key(t, service, "SELECT 1"); k.OfRole("R") != k {
		t.Error("a service account's results are kept for a role")
	}
	if k := key(t, s, "SELECT 1"); k.OfRole("") != k {
		t.Error("a role that is not known is one")
	}
}

func TestARoleHasOnlyWhatWasFetchedUnderIt(t *testing.T) {
	c := resultcache.New(resultcache.Config{})
	alice, k := scope("alice", 1), key(t, scope("alice", 1), "SELECT 1").OfRole("R")
	service, elsewhere := driverfactory.PoolKey{Domain: "dom", Source: "db", SourceRev: 1, Service: true}, alice
	elsewhere.SourceRev = 2
	for name, e := range map[string]*resultcache.Entry{
		"under another role":     fetchedBy(t, alice, "r"),
		"under none":             fetchedBy(t, alice, ""),
		"by the service account": fetchedBy(t, service, "R"),
		"elsewhere":              fetchedBy(t, elsewhere, "R"),
		"by nobody":              entry(t, "x", 100),
	} {
		if c.Put(k, e) {
			t.Errorf("what was fetched %s is kept for the role", name)
		}
	}
	if !c.Put(k, fetchedBy(t, alice, "R")) {
		t.Error("what was fetched under the role is not kept for it")
	}
}

func TestPurgeTakesWhatSomebodyFetchedForARole(t *testing.T) {
	c := resultcache.New(resultcache.Config{})
	alice, bob := scope("alice", 1), scope("bob", 1)
	one, two := key(t, alice, "SELECT 1").OfRole("R"), key(t, alice, "SELECT 2").OfRole("R")
	c.Put(one, fetchedBy(t, alice, "R"))
	c.Put(two, fetchedBy(t, bob, "R"))
	if n, _ := c.Of(alice.Principal.Key()); n != 1 {
		t.Errorf("%d results are alice's, want the one that she fetched", n)
	}
	if n := c.Purge(alice.Principal.Key(), func(k driverfactory.PoolKey) bool { return k == alice }); n != 1 {
		t.Errorf("Purge = %d, want what she fetched", n)
	}
	if _, ok := c.Get(one); ok {
		t.Error("what alice fetched is there")
	}
	if _, ok := c.Get(two); !ok {
		t.Error("what bob fetched is gone")
	}
	c.Put(one, fetchedBy(t, alice, "R"))
	c.Put(one, fetchedBy(t, bob, "R"))
	if n := c.Purge("", func(k driverfactory.PoolKey) bool { return k == alice }); n != 0 {
		t.Errorf("Purge = %d, want nothing: bob has fetched it since", n)
	}
}

// Who reads the rows of a role holds them at their own expense, and not at that of who fetched them.
func TestReadersOfARoleHoldWhatTheyRead(t *testing.T) {
	c := resultcache.New(resultcache.Config{MaxHeldBytes: 100_000, MaxEntryBytes: 50_000})
	alice := scope("alice", 1)
	e, err := read(t, c, alice, 30_000)
	if err != nil {
		t.Fatal(err)
	}
	e.By, e.Role = alice, "R"
	k := key(t, alice, "x").OfRole("R")
	c.Put(k, e)
	e.Release()
	bob := scope("bob", 1).Principal.Key()
	if err := e.Lend(bob); err != nil {
		t.Fatal(err)
	}
	c.Delete(k)
	mine, err := read(t, c, alice, 30_000)
	if err != nil {
		t.Errorf("alice may hold nothing while bob reads what she fetched: %v", err)
	}
	mine.Release()
	if _, err := read(t, c, scope("bob", 1), 30_000); !errors.Is(err, resultcache.ErrShare) {
		t.Errorf("bob may hold more than his share: %v", err)
	}
	e.Return(bob)
	if s := c.Stats(); s.Held != 0 || s.Owners != 0 {
		t.Errorf("Stats = %+v, want nothing held", s)
	}
}
