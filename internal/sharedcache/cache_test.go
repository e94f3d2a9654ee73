package sharedcache_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/redis"
	"github.com/behalf-project/behalf/internal/redis/redistest"
	"github.com/behalf-project/behalf/internal/resultcache"
	"github.com/behalf-project/behalf/internal/rowset"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/sharedcache"
	"github.com/behalf-project/behalf/internal/sharedcache/sharedcachetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// replica is one of those that share a store and the data keys.
type replica struct {
	*sharedcache.Cache
	stop func()
}

// replicas returns n of them, which run until the test ends.
func replicas(t *testing.T, n int, open func() sharedcache.Store, change ...func(*sharedcache.Config)) (all []replica) {
	t.Helper()
	ring, err := secret.NewKeyring()
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		cfg := sharedcache.Config{Store: open(), Derive: ring.Derive, Probe: 10 * time.Millisecond, Timeout: 2 * time.Second}
		for _, change := range change {
			change(&cfg)
		}
		c := sharedcache.New(cfg)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		r := replica{c, func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run = %v, want nil", err)
			}
			done <- nil
		}}
		t.Cleanup(r.stop)
		all = append(all, r)
	}
	return all
}

// on opens clients of a server.
func on(t *testing.T, server *redistest.Server) func() sharedcache.Store {
	return func() sharedcache.Store {
		c, err := redis.Open(server.URL())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
}

func scope(name string, epoch int64) driverfactory.PoolKey {
	return driverfactory.PoolKey{
		Domain: "dom", Source: "warehouse", SourceRev: 1, App: "lake", Epoch: epoch,
		Principal: driverfactory.Principal{Realm: "local", Subject: name},
	}
}

func key(t testing.TB, s driverfactory.PoolKey, sql string) sharedcache.Key {
	t.Helper()
	k, err := resultcache.KeyOf(s, driverfactory.Statement{SQL: sql})
	if err != nil {
		t.Fatal(err)
	}
	return sharedcache.Key{Key: k, Source: driverfactory.Source{Name: s.Source}.Digest()}
}

// result is one that holds text.
func result(t testing.TB, text string) sharedcache.Result {
	t.Helper()
	rows, err := rowset.Of([][]any{{text, int64(7)}, {nil, int64(-1)}})
	if err != nil {
		t.Fatal(err)
	}
	return sharedcache.Result{
		Columns: []driverfactory.Column{{Name: "who", Type: "TEXT"}, {Name: "n", Type: "BIGINT"}}, Rows: rows,
		RanAt: time.Now().UTC().Round(0), Values: values,
	}
}

// values are the answers of the refresh keys of every result here.
var values = resultcache.Values{1, 2, 3}

// put has r run the statement of k.
func (r replica) put(t testing.TB, k sharedcache.Key, text string) {
	t.Helper()
	l := r.Begin(t.Context(), k, values)
	if l == nil || !l.Mine {
		t.Fatalf("Begin = %+v, want a load of its own", l)
	}
	l.Put(t.Context(), result(t, text))
}

// has fails unless r finds text for k; "" is nothing.
func (r replica) has(t testing.TB, k sharedcache.Key, text string) {
	t.Helper()
	got, ok := r.Get(t.Context(), k)
	switch {
	case ok != (text != ""):
		t.Errorf("Get of %+v = %t, want %q", k.Scope, ok, text)
	case ok && got.Rows.First()[0] != text:
		t.Errorf("Get of %+v = %v, want %q", k.Scope, got.Rows.First(), text)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestWhatOneReplicaPutsAnotherFinds(t *testing.T) {
	two := replicas(t, 2, on(t, redistest.Start(t)))
	k := key(t, scope("alice", 1), "SELECT 1")
	two[1].has(t, k, "")
	want := result(t, "hers")
	two[0].Begin(t.Context(), k, values).Put(t.Context(), want)
	got, ok := two[1].Get(t.Context(), k)
	if !ok || !reflect.DeepEqual(got.Columns, want.Columns) || !got.RanAt.Equal(want.RanAt) || got.Values != want.Values || got.Rows.Len() != 2 ||
		fmt.Sprint(got.Rows.First()...) != fmt.Sprint(want.Rows.First()...) {
		t.Errorf("Get = %+v, %t, want what was put", got, ok)
	}
	two[1].Delete(t.Context(), k)
	two[0].has(t, k, "")
}

// Nothing is found with a key that differs in any part, those of the PoolKey that are added later too; nor with other data keys.
func TestNobodyFindsWhatAnotherPut(t *testing.T) {
	server := redistest.Start(t)
	r := replicas(t, 1, on(t, server))[0]
	mine := key(t, scope("alice", 1), "SELECT 1")
	r.put(t, mine, "hers")
	r.has(t, mine, "hers")

	others := map[string]sharedcache.Key{"another statement": key(t, mine.Scope, "SELECT 2")}
	other := mine
	other.Source = driverfactory.Source{Name: "warehouse", Options: map[string]string{"host": "elsewhere"}}.Digest()
	others["a source that is configured otherwise"] = other
	var change func(path []int, v reflect.Value)
	change = func(path []int, v reflect.Value) {
		for i := range v.NumField() {
			at := append(append([]int{}, path...), i)
			if v.Field(i).Kind() == reflect.Struct {
				change(at, v.Field(i))
				continue
			}
			other := mine
			field := reflect.ValueOf(&other.Scope).Elem().FieldByIndex(at)
			switch field.Kind() {
			case reflect.String:
				field.SetString("other")
			case reflect.Int64:
				field.SetInt(field.Int() + 1)
			case reflect.Bool:
				field.SetBool(!field.Bool())
			default:
				t.Fatalf("field %v is a %v: say here how it changes", at, field.Kind())
			}
			others[fmt.Sprintf("another %s", reflect.TypeFor[driverfactory.PoolKey]().FieldByIndex(at).Name)] = other
		}
	}
	change(nil, reflect.ValueOf(mine.Scope))
	if len(others) < 10 {
		t.Fatalf("%d keys, want one for each part", len(others))
	}
	for name, k := range others {
		t.Run(name, func(t *testing.T) { r.has(t, k, "") })
	}
	t.Run("other data keys", func(t *testing.T) { replicas(t, 1, on(t, server))[0].has(t, mine, "") })
}

func TestRedisLearnsNothing(t *testing.T) {
	server := redistest.Start(t)
	r := replicas(t, 1, on(t, server))[0]
	s := scope("canary-subject", 4711)
	s.Source, s.Domain, s.App, s.Principal.Realm = "canary-source", "canary-domain", "canary-app", "canary-realm"
	r.put(t, key(t, s, "SELECT 'canary-sql'"), "canary-row")
	running := r.Begin(t.Context(), key(t, s, "SELECT 'canary-sql', 2"), values)
	defer running.End(t.Context())
	r.has(t, key(t, s, "SELECT 'canary-sql'"), "canary-row")
	all := server.Dump()
	if len(all) != 4 {
		t.Errorf("%d names, want two generations, a value and a lease", len(all))
	}
	for name, value := range all {
		for _, text := range []string{name, value} {
			if strings.Contains(text, "canary") || strings.Contains(text, "SELECT") || strings.Contains(text, "BIGINT") {
				t.Errorf("%q is readable: %q", name, text)
			}
		}
		if life, err := server.Do("PTTL", name).AsInt64(); err != nil || life <= 0 {
			t.Errorf("%q has no end: %d, %v", name, life, err)
		}
	}
}

// value returns the one name in dump that is of a value, and no lease or generation.
func value(t *testing.T, dump map[string]string, except ...string) string {
	t.Helper()
next:
	for name, v := range dump {
		for _, other := range except {
			if name == other {
				continue next
			}
		}
		if len(v) > 16 {
			return name
		}
	}
	t.Fatal("there is no value")
	return ""
}

func TestAValueThatWasChangedOrMovedIsNone(t *testing.T) {
	server := redistest.Start(t)
	r := replicas(t, 1, on(t, server))[0]
	hers, hers2, his := key(t, scope("alice", 1), "SELECT 1"), key(t, scope("alice", 1), "SELECT 2"), key(t, scope("bob", 1), "SELECT 1")
	set := func(name, value string) {
		t.Helper()
		if err := server.Do("SET", name, value).Error(); err != nil {
			t.Fatal(err)
		}
	}
	r.put(t, hers, "hers")
	at := value(t, server.Dump())
	sealed := server.Dump()[at]
	for i := 0; i < len(sealed); i += 1 + len(sealed)/40 {
		changed := []byte(sealed)
		changed[i] ^= 1
		set(at, string(changed))
		r.has(t, hers, "")
	}
	for _, text := range []string{"", "x", sealed[:len(sealed)-1], sealed + "x", strings.Repeat("\x01", 200)} {
		set(at, text)
		r.has(t, hers, "")
	}
	set(at, sealed)
	r.has(t, hers, "hers")

	// A generation that was changed opens nothing, and no longer is one.
	for name, v := range server.Dump() {
		if strings.HasSuffix(name, "generation") {
			set(name, "short")
			r.has(t, hers, "")
			set(name, v)
			r.has(t, hers, "hers")
		}
	}
	// To another statement of hers, and to his.
	r.put(t, hers2, "hers too")
	at2 := value(t, server.Dump(), at)
	set(at2, sealed)
	r.has(t, hers2, "")
	r.put(t, his, "his")
	atHis := value(t, server.Dump(), at, at2)
	set(atHis, sealed)
	r.has(t, his, "")

	if got := r.Stats(); got.Refused == 0 || got.Down {
		t.Errorf("Stats = %+v, want values refused and a store that is asked on", got)
	}
}

func TestAnOldValueThatIsPutBackIsNone(t *testing.T) {
	server := redistest.Start(t)
	now := time.Now()
	var ahead atomic.Int64
	r := replicas(t, 1, on(t, server), func(c *sharedcache.Config) {
		c.TTL = time.Hour
		c.Now = func() time.Time { return now.Add(time.Duration(ahead.Load())) }
	})[0]
	k := key(t, scope("alice", 1), "SELECT 1")
	r.put(t, k, "hers")
	at := value(t, server.Dump())
	sealed := server.Dump()[at]
	if err := server.Do("SET", at, sealed).Error(); err != nil { // without an end
		t.Fatal(err)
	}
	r.has(t, k, "hers")
	ahead.Store(int64(time.Hour))
	r.has(t, k, "")
	ahead.Store(int64(-time.Minute)) // the clock that wrote it is a minute ahead of this one
	r.has(t, k, "")
}

func TestAPurgeEndsWhatWasPutBefore(t *testing.T) {
	server := redistest.Start(t)
	two := replicas(t, 2, on(t, server))
	hers, his := key(t, scope("alice", 1), "SELECT 1"), key(t, scope("bob", 1), "SELECT 1")
	service := key(t, driverfactory.PoolKey{Source: "warehouse", Service: true}, "SELECT 1")
	two[0].put(t, hers, "hers")
	two[0].put(t, his, "his")
	two[0].put(t, service, "everybody's")
	kept := server.Dump()
	under := two[1].Begin(t.Context(), key(t, scope("alice", 1), "SELECT 2"), values) // it began before

	two[0].Purge(hers.Scope.Principal.Key())
	two[0].has(t, hers, "") // at once
	eventually(t, "the purge reaches Redis", func() bool { return two[0].Stats().Purges == 0 })
	two[1].has(t, hers, "")
	two[1].has(t, his, "his")
	two[1].has(t, service, "everybody's")

	// What began before comes to nothing, whoever has made a generation meanwhile.
	two[0].put(t, hers, "hers again")
	two[1].has(t, hers, "hers again")
	puts := two[1].Stats().Puts
	under.Put(t.Context(), result(t, "late"))
	if n := two[1].Stats().Puts - puts; n != 0 {
		t.Error("what began before the purge was put")
	}
	two[0].has(t, key(t, scope("alice", 1), "SELECT 2"), "")
	// And what was kept from before does not open.
	for name, v := range kept {
		if !strings.HasSuffix(name, "generation") {
			if err := server.Do("SET", name, v).Error(); err != nil {
				t.Fatal(err)
			}
		}
	}
	two[1].has(t, hers, "")
	two[1].has(t, his, "his")

	two[0].Purge(sharedcache.Everybody)
	eventually(t, "everybody's purge reaches Redis", func() bool { return two[0].Stats().Purges == 0 })
	for _, k := range []sharedcache.Key{hers, his, service} {
		two[1].has(t, k, "")
	}
}

func TestAPurgeThatDoesNotReachRedisIsDoneLater(t *testing.T) {
	server := redistest.Start(t)
	two := replicas(t, 2, on(t, server), func(c *sharedcache.Config) { c.Timeout = 200 * time.Millisecond })
	hers, his := key(t, scope("alice", 1), "SELECT 1"), key(t, scope("bob", 1), "SELECT 1")
	two[0].put(t, hers, "hers")
	two[0].put(t, his, "his")
	server.Freeze()
	two[0].Purge(hers.Scope.Principal.Key())
	eventually(t, "the purge fails", func() bool { return two[0].Stats().Failures > 0 })
	two[0].has(t, hers, "")
	if l := two[0].Begin(t.Context(), hers, values); l != nil {
		t.Error("Begin of what is to be purged = a load, want none")
	}
	server.Thaw()
	eventually(t, "the purge reaches Redis", func() bool { return two[0].Stats().Purges == 0 })
	two[0].has(t, hers, "")
	eventually(t, "the other one asks again", func() bool { _, ok := two[1].Get(t.Context(), his); return ok })
	two[1].has(t, hers, "")
}

func TestWhatIsToBePurgedIsNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(sharedcachetest.Memory)
		r := replica{Cache: sharedcache.New(sharedcache.Config{Store: store, Derive: func(string) ([32]byte, error) { return [32]byte{1}, nil }})}
		hers, his := key(t, scope("alice", 1), "SELECT 1"), key(t, scope("bob", 1), "SELECT 1")
		r.put(t, hers, "hers")
		r.put(t, his, "his")
		r.has(t, hers, "hers")
		r.Purge(hers.Scope.Principal.Key()) // and nobody runs it
		r.has(t, hers, "")
		if l := r.Begin(t.Context(), hers, values); l != nil {
			t.Error("Begin = a load, want none before the purge")
		}
		r.has(t, his, "his")
	})
}

func TestTooManyPurgesAreEverybodys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := sharedcache.New(sharedcache.Config{Store: new(sharedcachetest.Memory), Derive: func(string) ([32]byte, error) { return [32]byte{1}, nil }})
		for i := range 10_001 {
			c.Purge(fmt.Sprint(i))
		}
		if n := c.Stats().Purges; n != 1 {
			t.Errorf("%d purges are to come, want one for everybody", n)
		}
		if l := c.Begin(t.Context(), key(t, scope("alice", 1), "SELECT 1"), values); l != nil {
			t.Error("Begin = a load, want none before everybody's purge")
		}
	})
}

// counting counts calls and fails them when it is told to.
type counting struct {
	sharedcachetest.Memory
	calls atomic.Int64
	fail  atomic.Bool
}

func (s *counting) Get(ctx context.Context, names ...string) ([][]byte, error) {
	s.calls.Add(1)
	if s.fail.Load() {
		return nil, errors.New("LOADING Redis is loading the dataset in memory")
	}
	return s.Memory.Get(ctx, names...)
}

func TestAStoreThatFailsIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(counting)
		r := replicas(t, 1, func() sharedcache.Store { return store }, func(c *sharedcache.Config) { c.Probe = time.Second })[0]
		synctest.Wait()
		k := key(t, scope("alice", 1), "SELECT 1")
		r.put(t, k, "hers")
		store.fail.Store(true)
		before := store.calls.Load()
		for range 100 {
			r.has(t, k, "")
		}
		if n := store.calls.Load() - before; n != 3 || !r.Stats().Down {
			t.Errorf("%d of 100 looks asked a store that fails, Stats %+v, want 3 and then none", n, r.Stats())
		}
		left, cancel := context.WithCancel(t.Context())
		store.fail.Store(false)
		time.Sleep(time.Second)
		synctest.Wait()
		r.has(t, k, "hers")
		cancel()
		for range 10 { // who has left says nothing of the store
			r.Get(left, k)
		}
		r.has(t, k, "hers")
		r.stop()
	})
}

// hung answers nobody.
type hung struct{ sharedcachetest.Memory }

func (*hung) Get(ctx context.Context, _ ...string) ([][]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestALookEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := sharedcache.New(sharedcache.Config{Store: new(hung), Derive: func(string) ([32]byte, error) { return [32]byte{1}, nil }})
		k := key(t, scope("alice", 1), "SELECT 1")
		began := time.Now()
		c.Get(t.Context(), k)
		if took := time.Since(began); took != 200*time.Millisecond {
			t.Errorf("Get took %v, want 200 ms", took)
		}
		if c.Begin(t.Context(), k, values); time.Since(began) != 400*time.Millisecond {
			t.Errorf("Begin took %v, want 200 ms", time.Since(began)-200*time.Millisecond)
		}
	})
}

// A look into a server that is frozen or gone ends in time, and finds nothing.
func TestRedisThatIsFrozenOrGoneIsNotWaitedFor(t *testing.T) {
	server := redistest.Start(t)
	r := replicas(t, 1, on(t, server), func(c *sharedcache.Config) { c.Timeout = 200 * time.Millisecond })[0]
	k := key(t, scope("alice", 1), "SELECT 1")
	r.put(t, k, "hers")
	for _, tt := range []struct {
		name      string
		end, heal func()
	}{{"frozen", server.Freeze, server.Thaw}, {"killed", server.Kill, server.Restart}} {
		t.Run(tt.name, func(t *testing.T) {
			tt.end()
			began := time.Now()
			for range 100 {
				r.has(t, k, "")
				if l := r.Begin(t.Context(), k, values); l != nil {
					t.Fatal("Begin = a load, want none")
				}
			}
			// 3 looks at 200 ms, where 200 would take 40 s.
			if took := time.Since(began); took > 10*time.Second || !r.Stats().Down {
				t.Errorf("200 looks took %v, Stats %+v, want the server left alone", took, r.Stats())
			}
			tt.heal()
			eventually(t, "it is asked again", func() bool { return !r.Stats().Down })
			l := r.Begin(t.Context(), k, values)
			l.Put(t.Context(), result(t, "hers"))
			r.has(t, k, "hers")
		})
	}
}

func TestALargeResultStaysWhereItIs(t *testing.T) {
	server := redistest.Start(t)
	two := replicas(t, 2, on(t, server), func(c *sharedcache.Config) { c.MaxBytes = 1000 })
	k := key(t, scope("alice", 1), "SELECT 1")
	first, second := two[0].Begin(t.Context(), k, values), two[1].Begin(t.Context(), k, values)
	first.Put(t.Context(), result(t, strings.Repeat("x", 1000)))
	if _, ok := second.Follow(t.Context(), time.Hour); ok || second.Mine {
		t.Error("Follow = a result, want to be told to run the statement")
	}
	second.End(t.Context())
	two[1].has(t, k, "")
	third := two[0].Begin(t.Context(), k, values)
	if third.Mine {
		t.Error("somebody is the loader of what is too large to be put")
	}
	if _, ok := third.Follow(t.Context(), time.Hour); ok {
		t.Error("Follow = a result, want none")
	}
	third.Put(t.Context(), result(t, "small now"))
	two[1].has(t, k, "small now")
}
