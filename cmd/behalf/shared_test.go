package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/behalf-project/behalf/internal/notify"
	"github.com/behalf-project/behalf/internal/redis/redistest"
	"github.com/behalf-project/behalf/internal/sandbox/engine"
	"github.com/behalf-project/behalf/internal/sqlstore/sqlstoretest"
)

func TestReplicasShareResults(t *testing.T) {
	server := redistest.Start(t)
	w := newWorld(t, worldConfig{environ: []string{
		"BEHALF_STORE_URL=" + sqlstoretest.PostgresURL(t), "BEHALF_CACHE_REDIS=" + server.URL().Reveal(),
	}})
	w.connect(w.alice, "databricks")
	w.connect(w.bob, "databricks")
	other := w.replica()
	const byRegion = `{"measures":["orders.count"],"dimensions":["orders.region"],"limit":1000}`
	load := func(r *world, b *browser, query, cache string) asked {
		return r.send(t.Context(), b, http.MethodPost, "/cubejs-api/v1/load", w.sign(b.username), `{"cache":"`+cache+`","query":`+query+`}`)
	}
	ran := func(since int64) int { return len(w.statements(since, "region")) }
	put := func(r *world, n uint64) {
		t.Helper()
		eventually(t, "the result is put", func() bool { return r.server.shared.Stats().Puts >= n })
	}

	since := w.mark()
	first := load(w, w.alice, byRegion, "no-cache")
	first.ran(t, "user", "alice")
	put(w, 1)
	second := load(&other.world, other.alice, byRegion, "stale-while-revalidate")
	second.ran(t, "user", "alice")
	if n := ran(since); n != 1 {
		t.Errorf("%d statements ran, want one for both replicas", n)
	}
	load(&other.world, other.bob, byRegion, "stale-while-revalidate").ran(t, "user", "bob")
	if n := ran(since); n != 2 {
		t.Errorf("%d statements ran, want bob's own", n)
	}
	put(&other.world, 1)
	var dump strings.Builder
	for name, value := range server.Dump() {
		dump.WriteString(name + " " + value + "\n")
	}
	for _, text := range []string{"alice", "bob", "usr_", "orders", "region", "SELECT", "databricks"} {
		if strings.Contains(dump.String(), text) {
			t.Errorf("%q is readable in Redis", text)
		}
	}
	w.evidence.keepText("what is in Redis", []byte(dump.String()))

	// What a replica has put is purged with the grant, whichever hears of it.
	other.after("a revocation", notify.GrantChanged, func() {
		w.must(w.alice.call(t.Context(), http.MethodDelete, "/api/v1/connected-apps/databricks", nil, nil))
	})
	load(&other.world, other.alice, byRegion, "stale-while-revalidate").refused(t, http.StatusForbidden, "authorization_required", "connect/databricks")
	other.after("a consent", notify.GrantChanged, func() { w.connect(w.alice, "databricks") })
	since = w.mark()
	load(w, w.alice, byRegion, "stale-while-revalidate").ran(t, "user", "alice")
	if n := ran(since); n != 1 {
		t.Errorf("%d statements ran under the new grant, want one", n)
	}

	// One loader: both are asked at once, and the warehouse by one.
	since = w.mark()
	running := make(chan asked, 1)
	go func() { running <- load(w, w.alice, briefly, "stale-if-slow") }()
	w.await(since, "alice", "brief_orders", engine.Running)
	load(&other.world, other.alice, briefly, "stale-if-slow").ran(t, "user", "alice")
	(<-running).ran(t, "user", "alice")
	if n := len(w.statements(since, "brief_orders")); n != 1 {
		t.Errorf("%d statements ran, want one for both replicas", n)
	}

	server.Kill()
	since = w.mark()
	load(w, w.alice, byRegion, "no-cache").ran(t, "user", "alice")
	load(&other.world, other.bob, byRegion, "no-cache").ran(t, "user", "bob")
	if n := ran(since); n != 2 {
		t.Errorf("%d statements ran without Redis, want two", n)
	}
	server.Restart()
	eventually(t, "Redis is used again", func() bool { return w.server.sharedHealth(t.Context()) == nil })
}
