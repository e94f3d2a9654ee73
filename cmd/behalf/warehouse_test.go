package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/behalf-project/behalf/internal/sandbox/engine"
	"github.com/behalf-project/behalf/internal/sandbox/idp"
)

func TestTheWarehouseFails(t *testing.T) {
	w := newWorld(t, worldConfig{})
	w.connect(w.alice, "databricks", "snowflake")

	t.Run("an administrator there ends the statement", func(t *testing.T) {
		since := w.mark()
		answer := w.asking(w.alice, slowly)
		w.await(since, "alice", "slow_orders", engine.Running)
		eventually(t, "the statement is there to be killed", func() bool { return w.box.Databricks.KillRunning("alice") > 0 })
		(<-answer).refused(t, http.StatusBadRequest, "database_canceled", `cancelled at data source "default"`)
		w.ask(w.alice, countOnly).ran(t, "user", "alice")
	})
	t.Run("the connection breaks in the middle of a statement", func(t *testing.T) {
		w.box.Databricks.CutNext(1)
		got := w.ask(w.alice, countOnly)
		// The statement may have run, and a driver may or may not ask again. Never is it another's answer.
		if got.err != nil || got.Error == "" {
			got.ran(t, "user", "alice")
		} else {
			got.refused(t, got.status, "data_source_unreachable", `"default" does not answer`)
		}
		w.ask(w.alice, countOnly).ran(t, "user", "alice")
	})
	t.Run("it is not there for a moment", func(t *testing.T) {
		w.box.Databricks.FailNext(1000, http.StatusServiceUnavailable, 0)
		got := w.ask(w.alice, countOnly)
		w.box.Databricks.FailNext(0, 0, 0)
		got.refused(t, http.StatusBadRequest, "data_source_unreachable", `"default" does not answer`)
		w.ask(w.alice, countOnly).ran(t, "user", "alice")
	})
	t.Run("it forgets every session", func(t *testing.T) {
		w.box.Databricks.DropSessions("")
		w.ask(w.alice, countOnly).ran(t, "user", "alice")
		w.ask(w.alice, atSnowflake).ran(t, "user", "alice")
		w.box.Snowflake.DropSessions("")
		w.ask(w.alice, atSnowflake).ran(t, "user", "alice")
	})
}

// What a person may not read is refused to them, and no other identity is tried, whatever the source's fallback is.
func TestADatabaseThatSaysNoIsBelieved(t *testing.T) {
	w := newWorld(t, worldConfig{})
	w.write("model/more.yml", `cubes:
  - name: snow_items
    sql_table: order_items
    data_source: snowflake
    dimensions: [{name: product, sql: product, type: string}]
    measures: [{name: quantity, sql: quantity, type: sum}]
`)
	w.restart()
	w.connect(w.alice, "databricks", "snowflake")
	w.connect(w.bob, "databricks", "snowflake")
	for _, query := range []string{ofItems, `{"measures":["snow_items.quantity"],"dimensions":["snow_items.product"]}`} {
		since := w.mark()
		w.ask(w.bob, query).refused(t, http.StatusBadRequest, "database_denied", "bob may not do this")
		if got := identities(w.statements(since, "order_items")); fmt.Sprint(got) != "[bob]" {
			t.Errorf("the statement ran as %v, want bob alone", got)
		}
		w.ask(w.alice, query).ran(t, "user", "alice")
	}
	if got := w.grant(w.bob, "databricks").Status; got != "active" {
		t.Errorf("bob is %s, want active: a missing right is no end of a grant", got)
	}
}

func TestQueriesThatAreWrong(t *testing.T) {
	w := newWorld(t, worldConfig{})
	w.connect(w.alice, "databricks")
	token, err := w.alice.token(t.Context())
	w.must(err)
	post := func(body string) asked {
		return w.send(t.Context(), w.alice, http.MethodPost, "/cubejs-api/v1/load", token, body)
	}
	values := func(n, size int) string {
		b, _ := json.Marshal(slicesOf(n, strings.Repeat("x", size)))
		return `{"query":{"measures":["orders.count"],"filters":[{"member":"orders.status","operator":"equals","values":` + string(b) + `}]}}`
	}
	for _, tt := range []struct {
		name, body string
		status     int
		says       string
	}{
		{"an unknown cube", `{"query":{"measures":["ordres.count"]}}`, http.StatusBadRequest, "ordres"},
		{"an unknown member", `{"query":{"measures":["orders.cuont"]}}`, http.StatusBadRequest, "cuont"},
		{"SQL for a member", `{"query":{"measures":["orders.count) FROM secret --"]}}`, http.StatusBadRequest, "measures"},
		{"an unknown operator", `{"query":{"measures":["orders.count"],"filters":[{"member":"orders.status","operator":"' OR 1=1","values":["x"]}]}}`, http.StatusBadRequest, "filters[0]"},
		{"a body that is no JSON", `{"query":`, http.StatusBadRequest, "not JSON"},
		{"10 MB in one value", values(1, 10<<20), http.StatusBadRequest, "larger than 4 MiB"},
		{"10 MB in many values", values(100_000, 100), http.StatusBadRequest, "larger than 4 MiB"},
		{"20 MB", values(1, 20<<20), http.StatusRequestEntityTooLarge, "larger than 16 MiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			since := w.mark()
			got := post(tt.body)
			if got.err != nil || got.status != tt.status || !strings.Contains(got.Error, tt.says) || got.Error == "" || len(got.body) > 4096 {
				t.Errorf("the answer is %d %.500s (%d bytes, %v), want %d and %q", got.status, got.body, len(got.body), got.err, tt.status, tt.says)
			}
			if n := len(w.statements(since, "secret")); n != 0 {
				t.Errorf("%d statements reached the warehouse", n)
			}
		})
	}
	t.Run("a URL of 1 MB", func(t *testing.T) {
		a := w.get(w.alice, "/cubejs-api/v1/load?query="+strings.Repeat("x", 1<<20))
		if a.status != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("the answer is %d, want 431", a.status)
		}
	})
	w.ask(w.alice, countOnly).ran(t, "user", "alice")
}

func slicesOf(n int, text string) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprint(i, text)
	}
	return out
}

// A value is bound, never written into the statement, so it can only fail to match.
func TestSQLInFilterValuesIsAValue(t *testing.T) {
	w := newWorld(t, worldConfig{})
	w.connect(w.alice, "databricks", "snowflake")
	for _, value := range []string{
		"x' OR '1'='1", `x" OR "1"="1`, `\' OR 1=1 --`, "'; DROP TABLE orders; --", "/* sandbox:sleep=60s */", "${x}", "{CUBE}", ":p1", "?", "%", "_",
		"’ OR ‘1’=‘1", "x\x00y",
	} {
		text, err := json.Marshal(value)
		w.must(err)
		for _, cube := range []string{"orders", "snow_orders"} {
			for _, operator := range []string{"equals", "contains", "startsWith"} {
				since := w.mark()
				got := w.ask(w.alice, fmt.Sprintf(`{"measures":["%[1]s.count"],"filters":[{"member":"%[1]s.status","operator":%[2]q,"values":[%[3]s]}]}`, cube, operator, text))
				if strings.ContainsRune(value, 0) {
					if got.status/100 == 5 || got.Code == "internal" {
						t.Errorf("%s %s %q = %d %s", cube, operator, value, got.status, got.body)
					}
					continue
				}
				got.ran(t, "user", "alice")
				if n := column(got.Data[0], "count"); n != "0" {
					t.Errorf("%s %s %q matches %s rows, want none", cube, operator, value, n)
				}
				for _, s := range w.statements(since, "orders") {
					if s.Identity == "alice" && (strings.Contains(s.SQL, value) && len(value) > 3 || s.Args == 0) {
						t.Errorf("%s %s %q reached the warehouse in the statement, with %d arguments: %s", cube, operator, value, s.Args, s.SQL)
					}
				}
			}
		}
	}
}

func TestEqualQueriesOfTwoPeopleNeverShare(t *testing.T) {
	w := newWorld(t, worldConfig{})
	w.connect(w.alice, "databricks")
	w.connect(w.bob, "databricks")
	cached := func(b *browser) asked {
		return w.send(t.Context(), b, http.MethodPost, "/cubejs-api/v1/load", w.sign(b.username), `{"query":`+briefly+`}`)
	}
	since := w.mark()
	var all sync.WaitGroup
	answers := map[*browser]*[10]asked{w.alice: {}, w.bob: {}}
	for b, into := range answers {
		for i := range into {
			all.Go(func() { into[i] = cached(b) })
		}
	}
	all.Wait()
	for b, got := range answers {
		want := map[*browser]string{w.alice: "[EMEA]", w.bob: "[AMER]"}[b]
		for _, a := range append(got[:], cached(b)) { // the last comes from the cache
			a.ran(t, "user", b.username)
			if seen := fmt.Sprint(regions(a.loaded)); seen != want {
				t.Errorf("%s sees %s, want %s", b.username, seen, want)
			}
		}
	}
	ran := map[string]int{}
	for _, s := range w.statements(since, "brief_orders") {
		ran[s.Identity]++
	}
	if len(ran) != 2 || ran["alice"] != 1 || ran["bob"] != 1 {
		t.Errorf("statements by identity: %v, want one as alice and one as bob", ran)
	}
}

// Disconnecting counts while a query runs: the statement is cut at the warehouse, the tokens end at the provider, and
// what was cached is gone.
func TestDisconnectingCutsARunningQuery(t *testing.T) {
	onBoth(t, worldConfig{}, func(t *testing.T, w *world) {
		w.connect(w.alice, "databricks", "snowflake")
		w.connect(w.bob, "databricks")
		w.send(t.Context(), w.alice, http.MethodPost, "/cubejs-api/v1/load", w.sign("alice"), `{"query":`+countOnly+`}`).ran(t, "user", "alice")
		since, revocations := w.mark(), w.box.IdP.CountCalls(idp.Revoke, "")
		hers, his := w.asking(w.alice, slowly), w.asking(w.bob, briefly)
		w.await(since, "alice", "slow_orders", engine.Running)
		w.must(w.alice.call(t.Context(), http.MethodDelete, "/api/v1/connected-apps/databricks", nil, nil))

		(<-hers).refused(t, http.StatusForbidden, "reauthorization_required", "revoked while the query ran", w.base+"/connect/databricks")
		w.await(since, "alice", "slow_orders", engine.CanceledOut)
		if n := w.box.IdP.CountCalls(idp.Revoke, "") - revocations; n != 2 {
			t.Errorf("%d revocations at the provider, want the refresh and the access token", n)
		}
		for _, cache := range []string{"stale-if-slow", "stale-while-revalidate", "no-cache"} {
			w.send(t.Context(), w.alice, http.MethodPost, "/cubejs-api/v1/load", w.sign("alice"), `{"cache":"`+cache+`","query":`+countOnly+`}`).
				refused(t, http.StatusForbidden, "authorization_required", "Connect your Databricks account", w.base+"/connect/databricks")
		}
		(<-his).ran(t, "user", "bob")
		w.ask(w.alice, atSnowflake).ran(t, "user", "alice")
		w.connect(w.alice, "databricks")
		w.ask(w.alice, countOnly).ran(t, "user", "alice")
	})
}

func TestAPausedAppServesNobody(t *testing.T) {
	w := newWorld(t, worldConfig{})
	w.connect(w.alice, "databricks")
	w.ask(w.alice, countOnly).ran(t, "user", "alice")
	app := w.app("databricks")
	w.must(w.carol.call(t.Context(), http.MethodPost, "/api/v1/oauth-apps/"+app.ID+"/pause", map[string]string{"note": "audit until Friday"}, nil))
	w.ask(w.alice, countOnly).refused(t, http.StatusForbidden, "app_disabled", "audit until Friday")
	w.send(t.Context(), w.alice, http.MethodPost, "/cubejs-api/v1/load", w.sign("alice"), `{"query":`+countOnly+`}`).refused(t, http.StatusForbidden, "app_disabled")
	w.get(w.bob, "/connect/databricks").says(t, http.StatusForbidden, "audit until Friday")
	if got := w.grant(w.alice, "databricks").Status; got != "disabled" {
		t.Errorf("alice is %s, want disabled", got)
	}
	w.must(w.carol.call(t.Context(), http.MethodPost, "/api/v1/oauth-apps/"+app.ID+"/resume", map[string]string{}, nil))
	w.ask(w.alice, countOnly).ran(t, "user", "alice")
}

func TestADisabledPersonIsRefusedAtOnce(t *testing.T) {
	onBoth(t, worldConfig{}, func(t *testing.T, w *world) {
		w.connect(w.bob, "databricks", "snowflake")
		jwt := w.sign("bob")
		since := w.mark()
		running := w.asking(w.bob, slowly)
		w.await(since, "bob", "slow_orders", engine.Running)
		bob, err := w.server.people.ByUsername(t.Context(), "bob")
		w.must(err)
		w.must(w.server.people.Disable(t.Context(), bob.ID, "test"))

		(<-running).refused(t, http.StatusForbidden, "user_disabled", "disabled while the query ran")
		w.await(since, "bob", "slow_orders", engine.CanceledOut)
		if a := w.get(w.bob, "/api/v1/auth/me"); a.status != http.StatusUnauthorized && a.status != http.StatusForbidden {
			t.Errorf("bob's session answers %d", a.status)
		}
		if a := w.get(w.bob, "/auth/cubejs-token"); a.status < 400 {
			t.Errorf("bob's session gets a token: %d", a.status)
		}
		// Also where a service account would stand in for somebody without a grant.
		for _, query := range []string{countOnly, atSnowflake} {
			w.send(t.Context(), w.bob, http.MethodPost, "/cubejs-api/v1/load", jwt, `{"query":`+query+`}`).refused(t, http.StatusForbidden, "user_disabled")
		}
		if err := w.browser("bob").signIn(t.Context(), w.passwords["bob"]); err == nil || !strings.Contains(err.Error(), "invalid_credentials") {
			t.Errorf("bob signs in: %v, want invalid_credentials", err)
		}
	})
}

// A name that is nobody's here is a principal of its own: it has nobody's grant, whatever it looks like.
func TestANameThatIsNobodysHasNobodysGrant(t *testing.T) {
	w := newWorld(t, worldConfig{})
	w.connect(w.alice, "databricks", "snowflake")
	w.ask(w.alice, countOnly).ran(t, "user", "alice")
	alice, err := w.server.people.ByUsername(t.Context(), "alice")
	w.must(err)
	for _, name := range []string{
		"dave", alice.ID, alice.Principal().Key(), "local|" + alice.ID, "alice@example.com", "alice ", " alice", "alice/", "alicе", "ａｌｉｃｅ", "*", "%", "",
	} {
		load := func(query string) asked {
			return w.send(t.Context(), w.bob, http.MethodPost, "/cubejs-api/v1/load", w.sign(name), `{"query":`+query+`}`)
		}
		load(countOnly).refused(t, http.StatusForbidden, "authorization_required")
		if got := load(atSnowflake); got.Error == "" && got.RunAs.Identity != "service_account" {
			t.Errorf("%q runs as %+v, want the service account", name, got.RunAs)
		}
	}
}
