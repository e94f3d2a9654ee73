package main

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/notify"
	"github.com/behalf-project/behalf/internal/sandbox/engine"
	"github.com/behalf-project/behalf/internal/sandbox/idp"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/sqlstore/sqlstoretest"
	"github.com/jackc/pgx/v5"
)

// replica is another server on the same files and database as a world's, in front of the same people.
type replica struct {
	world
	mu    sync.Mutex
	heard []announced
}

// announced is news, and when a replica had acted on it.
type announced struct {
	notify.News
	at time.Time
}

// replica starts a server beside w's that listens to its news.
func (w *world) replica() *replica {
	w.t.Helper()
	r := &replica{world: *w}
	r.environ = append(slices.Clone(w.environ), "BEHALF_SERVER_LISTEN=127.0.0.1:0")
	r.start()
	w.t.Cleanup(r.end)
	r.base = strings.Replace("http://"+r.server.public.Addr().String(), "127.0.0.1", "localhost", 1)
	w.evidence.also(r.base)
	for _, b := range []**browser{&r.carol, &r.alice, &r.bob} {
		there := **b
		there.base = r.base
		*b = &there
	}
	r.server.store.News().Subscribe(func(n notify.News) { // the last to hear: the server has acted by then
		r.mu.Lock()
		defer r.mu.Unlock()
		r.heard = append(r.heard, announced{n, time.Now()})
	})
	eventually(w.t, "the replica listens", func() bool { return r.hears(0, notify.Everything) > 0 })
	return r
}

// hears returns how many announcements of a topic r has heard, leaving out the first ones.
func (r *replica) hears(skip int, topic notify.Topic) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, a := range r.heard[skip:] {
		if a.Topic == topic {
			n++
		}
	}
	return n
}

// after runs change, waits until r has heard of it, and reports how long that was after change began and after it
// returned, which is when the server where it was made acts on it.
func (r *replica) after(what string, topic notify.Topic, change func()) {
	r.t.Helper()
	r.mu.Lock()
	before := len(r.heard)
	r.mu.Unlock()
	began := time.Now()
	change()
	returned := time.Now()
	eventually(r.t, what+" is known to the other replica", func() bool { return r.hears(before, topic) > 0 })
	r.mu.Lock()
	defer r.mu.Unlock()
	at := r.heard[before+slices.IndexFunc(r.heard[before:], func(a announced) bool { return a.Topic == topic })].at
	r.t.Logf("%s: the other replica acted %v after the request, %v after its answer", what, at.Sub(began), at.Sub(returned))
}

func TestAChangeOnOneReplicaCountsOnTheOther(t *testing.T) {
	w := newWorld(t, worldConfig{environ: []string{"BEHALF_STORE_URL=" + sqlstoretest.PostgresURL(t)}})
	w.connect(w.alice, "databricks", "snowflake")
	w.connect(w.bob, "databricks")
	other := w.replica()
	alice, err := w.server.people.ByUsername(t.Context(), "alice")
	w.must(err)
	cached := func(cache string) asked {
		return other.send(t.Context(), other.alice, http.MethodPost, "/cubejs-api/v1/load", w.sign("alice"), `{"cache":"`+cache+`","query":`+countOnly+`}`)
	}

	t.Run("a token that was refreshed", func(t *testing.T) {
		other.ask(other.alice, countOnly).ran(t, "user", "alice")
		old, err := other.server.tokens.Token(t.Context(), alice.Principal(), "databricks")
		w.must(err)
		calls := w.box.IdP.CountCalls(idp.Token, "refresh_token")
		other.after("a refresh", notify.GrantChanged, func() {
			w.must(w.alice.call(t.Context(), http.MethodPost, "/api/v1/connected-apps/databricks/refresh", nil, nil))
		})
		here, err := w.server.tokens.Token(t.Context(), alice.Principal(), "databricks")
		w.must(err)
		there, err := other.server.tokens.Token(t.Context(), alice.Principal(), "databricks")
		w.must(err)
		if there.Revision != here.Revision || there.Revision == old.Revision || !there.Value.Equal(here.Value) {
			t.Errorf("the other replica has revision %d after %d, want %d and its token", there.Revision, old.Revision, here.Revision)
		}
		other.ask(other.alice, countOnly).ran(t, "user", "alice")
		if n := w.box.IdP.CountCalls(idp.Token, "refresh_token") - calls; n != 1 {
			t.Errorf("%d refresh calls, want 1", n)
		}
	})
	t.Run("a grant that was revoked", func(t *testing.T) {
		cached("stale-if-slow").ran(t, "user", "alice")
		since := w.mark()
		running := other.asking(other.alice, slowly)
		w.await(since, "alice", "slow_orders", engine.Running)
		pools := other.server.orchestrators.Stats().Pools.Open
		other.after("a revocation", notify.GrantChanged, func() {
			w.must(w.alice.call(t.Context(), http.MethodDelete, "/api/v1/connected-apps/databricks", nil, nil))
		})
		if n := other.server.orchestrators.Stats().Pools.Open; n >= pools {
			t.Errorf("%d pools are open of %d before, want hers closed", n, pools)
		}
		for _, cache := range []string{"stale-if-slow", "stale-while-revalidate", "no-cache"} {
			cached(cache).refused(t, http.StatusForbidden, "authorization_required", w.base+"/connect/databricks")
		}
		(<-running).refused(t, http.StatusForbidden, "reauthorization_required", "revoked while the query ran")
		w.await(since, "alice", "slow_orders", engine.CanceledOut)
		other.ask(other.alice, atSnowflake).ran(t, "user", "alice")
	})
	t.Run("a new consent", func(t *testing.T) {
		other.after("a consent", notify.GrantChanged, func() { w.connect(w.alice, "databricks") })
		cached("stale-if-slow").ran(t, "user", "alice")
	})
	t.Run("a token of ours that was revoked", func(t *testing.T) {
		var made struct{ ID, Token string }
		w.must(w.alice.call(t.Context(), http.MethodPost, "/api/v1/tokens", map[string]any{"name": "script", "scopes": []string{"account"}}, &made))
		if _, _, err := other.server.pats.Authenticate(t.Context(), secret.New(made.Token)); err != nil {
			t.Fatalf("before: %v", err)
		}
		other.after("the end of a token", notify.TokenChanged, func() {
			w.must(w.alice.call(t.Context(), http.MethodDelete, "/api/v1/tokens/"+made.ID, nil, nil))
		})
		if _, _, err := other.server.pats.Authenticate(t.Context(), secret.New(made.Token)); !errors.Is(err, fault.Unauthenticated) {
			t.Errorf("after it was revoked elsewhere: %v, want that it is refused", err)
		}
	})
	t.Run("an app that was paused", func(t *testing.T) {
		app := "/api/v1/oauth-apps/" + w.app("databricks").ID
		other.after("a pause", notify.OAuthAppChanged, func() {
			w.must(w.carol.call(t.Context(), http.MethodPost, app+"/pause", map[string]string{"note": "audit until Friday"}, nil))
		})
		other.ask(other.alice, countOnly).refused(t, http.StatusForbidden, "app_disabled", "audit until Friday")
		other.after("its end", notify.OAuthAppChanged, func() {
			w.must(w.carol.call(t.Context(), http.MethodPost, app+"/resume", map[string]string{}, nil))
		})
		other.ask(other.alice, countOnly).ran(t, "user", "alice")
	})
	t.Run("a person who was disabled", func(t *testing.T) {
		jwt, since := w.sign("bob"), w.mark()
		running := other.asking(other.bob, slowly)
		w.await(since, "bob", "slow_orders", engine.Running)
		bob, err := w.server.people.ByUsername(t.Context(), "bob")
		w.must(err)
		other.after("disabling a person", notify.UserChanged, func() { w.must(w.server.people.Disable(t.Context(), bob.ID, "test")) })
		other.send(t.Context(), other.bob, http.MethodPost, "/cubejs-api/v1/load", jwt, `{"query":`+countOnly+`}`).
			refused(t, http.StatusForbidden, "user_disabled")
		(<-running).refused(t, http.StatusForbidden, "user_disabled", "disabled while the query ran")
		w.await(since, "bob", "slow_orders", engine.CanceledOut)
		if a := w.get(other.bob, "/api/v1/auth/me"); a.status != http.StatusUnauthorized && a.status != http.StatusForbidden {
			t.Errorf("bob's session answers %d on the other replica", a.status)
		}
	})
}

// A replica that hears nothing believes nothing for longer than a second, and begins anew when it hears again.
func TestAReplicaThatHearsNothingServesNothingStale(t *testing.T) {
	store := sqlstoretest.PostgresURL(t)
	w := newWorld(t, worldConfig{environ: []string{"BEHALF_STORE_URL=" + store, "BEHALF_ORCHESTRATOR_IDLE_TIMEOUT=1m"}})
	w.connect(w.alice, "databricks", "snowflake")
	other := w.replica()
	load := func(query string) asked {
		return other.send(t.Context(), other.alice, http.MethodPost, "/cubejs-api/v1/load", w.sign("alice"), `{"cache":"stale-if-slow","query":`+query+`}`)
	}
	load(countOnly).ran(t, "user", "alice")
	load(atSnowflake).ran(t, "user", "alice")
	var all sync.WaitGroup
	for n := range 32 { // so that both have enough connections: there will be no new ones
		all.Go(func() { w.must([]*server{w.server, other.server}[n%2].store.Ping(t.Context())) })
	}
	all.Wait()

	deaf := listenersOff(t, store)
	w.must(w.alice.call(t.Context(), http.MethodDelete, "/api/v1/connected-apps/databricks", nil, nil))
	revoked := time.Now()
	eventually(t, "the revocation counts without news of it", func() bool { return load(countOnly).Code == "authorization_required" })
	t.Logf("a replica that hears nothing refused %v after the revocation", time.Since(revoked))
	if n := other.hears(0, notify.GrantChanged); n != 0 {
		t.Fatalf("the replica heard %d changes of grants, want none", n)
	}
	load(atSnowflake).ran(t, "user", "alice")

	if s := other.server.orchestrators.Stats(); s.Orchestrators.Warm == 0 || s.Cache.Entries == 0 {
		t.Fatalf("%+v, want pools and results of before", s)
	}
	before := other.hears(0, notify.Everything)
	deaf.end()
	restored := time.Now()
	eventually(t, "the replica hears again", func() bool { return other.hears(0, notify.Everything) > before })
	t.Logf("it heard again %v later", time.Since(restored))
	if s := other.server.orchestrators.Stats(); s.Orchestrators.Warm != 0 || s.Cache.Entries != 0 {
		t.Errorf("%d people have pools, and %d results are left, want none of before", s.Orchestrators.Warm, s.Cache.Entries)
	}
	load(countOnly).refused(t, http.StatusForbidden, "authorization_required")
	other.after("a consent", notify.GrantChanged, func() { w.connect(w.alice, "databricks") })
	load(countOnly).ran(t, "user", "alice")
}

// deafness is a time in which no process may connect to a database, though connections that are open stay.
type deafness struct {
	t     *testing.T
	admin *pgx.Conn
	name  string
}

// listenersOff ends the connections on which processes listen to news, and lets nobody connect.
func listenersOff(t *testing.T, store string) *deafness {
	t.Helper()
	u, err := url.Parse(store)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(u.Path, "/")
	u.Path = "/postgres"
	admin, err := pgx.Connect(t.Context(), u.String())
	if err != nil {
		t.Fatal(err)
	}
	d := &deafness{t, admin, name}
	t.Cleanup(func() {
		d.end()
		_ = admin.Close(context.Background())
	})
	d.exec("ALTER DATABASE " + name + " ALLOW_CONNECTIONS false")
	d.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'behalf news' AND datname = '" + name + "'")
	eventually(t, "nobody listens", func() bool {
		n := 0
		err := admin.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'behalf news' AND datname = $1", name).Scan(&n)
		return err == nil && n == 0
	})
	return d
}

// end lets processes connect again.
func (d *deafness) end() { d.exec("ALTER DATABASE " + d.name + " ALLOW_CONNECTIONS true") }

func (d *deafness) exec(statement string) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := d.admin.Exec(ctx, statement); err != nil {
		d.t.Errorf("%s: %v", statement, err)
	}
}
