package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/sandbox/engine"
)

func TestARestartLosesNothing(t *testing.T) {
	onBoth(t, worldConfig{}, func(t *testing.T, w *world) {
		w.connect(w.alice, "databricks", "snowflake")
		w.ask(w.alice, countOnly).ran(t, "user", "alice")
		begun := w.callback(w.bob, "databricks") // bob is at the provider meanwhile
		w.restart()
		w.ask(w.alice, countOnly).ran(t, "user", "alice")
		w.ask(w.alice, atSnowflake).ran(t, "user", "alice")
		if a := w.get(w.bob, begun.String()); a.status != http.StatusSeeOther {
			t.Errorf("bob's callback after the restart answers %d, want 303: %s", a.status, a.body)
		}
		w.ask(w.bob, countOnly).ran(t, "user", "bob")

		w.box.IdP.ExpireTokens("alice")
		before := w.refreshes()
		w.ask(w.alice, countOnly).ran(t, "user", "alice")
		if n := w.refreshes() - before; n != 1 {
			t.Errorf("%d refresh calls after the restart, want 1", n)
		}
		w.restart()
		w.ask(w.alice, countOnly).ran(t, "user", "alice")
		if n := w.refreshes() - before; n != 1 {
			t.Errorf("%d refresh calls after the second restart, want none more: the new token was stored", n-1)
		}
	})
}

// An edit of the data model serves without a restart, and a wrong one leaves the last good model serving.
func TestTheDataModelIsEditedWhileItServes(t *testing.T) {
	w := newWorld(t, worldConfig{})
	w.connect(w.alice, "databricks")
	const edited = `{"measures":["edited.lines"]}`
	w.ask(w.alice, edited).refused(t, http.StatusBadRequest, "", "Cube 'edited' not found")
	model := "cubes:\n  - name: edited\n    sql_table: orders\n    measures:\n      {% for m in ['lines'] %}\n      - {name: {{ m }}, type: count }\n      {% endfor %}\n"
	w.write("model/edited.yml", model)
	eventually(t, "the new cube serves", func() bool { return w.ask(w.alice, edited).status == http.StatusOK })

	w.write("model/edited.yml", strings.Replace(model, "type: count", "type: cuont", 1))
	eventually(t, "the log tells of the wrong edit", func() bool { return strings.Contains(w.logs.String(), "the last good one goes on serving") })
	if !strings.Contains(w.logs.String(), `edited.yml:6:31: \"measures.lines.type\" must be one of`) {
		t.Error("the log does not name the place of the wrong edit")
	}
	w.ask(w.alice, edited).ran(t, "user", "alice")
	if err := w.server.model.State().Problem; err == nil {
		t.Error("nobody is told of the wrong edit")
	}
}

func TestAStoreWithoutItsMasterKeyIsRefused(t *testing.T) {
	onBoth(t, worldConfig{}, func(t *testing.T, w *world) {
		w.connect(w.alice, "databricks")
		w.end()
		keyset := filepath.Join(w.dir, "behalf.keys.json")
		right, err := os.ReadFile(keyset)
		w.must(err)
		if info, err := os.Stat(keyset); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the master key is readable by others: %v, %v", info.Mode(), err)
		}
		other := newWorld(t, worldConfig{})
		otherKey, err := os.ReadFile(filepath.Join(other.dir, "behalf.keys.json"))
		other.must(err)
		for _, tt := range []struct {
			name string
			have []byte // nil: nothing
		}{
			{"it is missing", nil},
			{"it is another one", otherKey},
			{"it is damaged", right[:len(right)/2]},
			{"it is empty", []byte{}},
		} {
			t.Run(tt.name, func(t *testing.T) {
				if tt.have == nil {
					w.must(os.Remove(keyset))
				} else {
					w.must(os.WriteFile(keyset, tt.have, 0o600))
				}
				s, err := w.assemble()
				if err == nil {
					s.Close()
					t.Fatal("it starts")
				}
				if !strings.Contains(err.Error(), "key") || !strings.Contains(err.Error(), "behalf.keys.json") {
					t.Errorf("it is refused with %q, want the file named", err)
				}
				if tt.have == nil {
					if _, err := os.Stat(keyset); err == nil {
						t.Error("a new key was made, which opens nothing that is stored")
					}
				}
			})
		}
		w.must(os.WriteFile(keyset, right, 0o600))
		w.start()
		w.ask(w.alice, countOnly).ran(t, "user", "alice")
	})
}

func TestStoppingLetsARunningQueryFinish(t *testing.T) {
	w := newWorld(t, worldConfig{})
	w.connect(w.alice, "databricks")
	token, err := w.alice.token(t.Context())
	w.must(err)
	since := w.mark()
	answer := make(chan asked, 1)
	go func() {
		answer <- w.send(t.Context(), w.alice, http.MethodPost, "/cubejs-api/v1/load", token, `{"cache":"no-cache","query":`+briefly+`}`)
	}()
	w.await(since, "alice", "brief_orders", engine.Running)
	if err := w.stop(); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	(<-answer).ran(t, "user", "alice")
	if _, err := w.alice.do(t.Context(), http.MethodGet, "/livez", nil, nil); err == nil {
		t.Error("it still answers after it stopped")
	}
}

func TestStoppingCutsWhatOutlivesTheGrace(t *testing.T) {
	w := newWorld(t, worldConfig{environ: []string{"BEHALF_SERVER_GRACE=200ms"}})
	w.connect(w.alice, "databricks")
	since := w.mark()
	answer := w.asking(w.alice, slowly)
	w.await(since, "alice", "slow_orders", engine.Running)
	if err := w.stop(); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	if got := <-answer; got.err == nil && got.Error == "" {
		t.Errorf("the query = %d %s, want none", got.status, got.body)
	}
	w.await(since, "alice", "slow_orders", engine.CanceledOut)
}

// openFiles counts the file descriptors of this process.
func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// What fifty people used is given back when they have been idle: sessions at the warehouses, goroutines, descriptors.
// Everything is in this process, the warehouses included, so that neither side can keep anything.
func TestFiftyPeopleLeaveNothingBehind(t *testing.T) {
	const people = 50
	var list strings.Builder
	for n := range people {
		fmt.Fprintf(&list, "  - {username: u%02d}\n", n)
	}
	w := newWorld(t, worldConfig{
		people: list.String(), environ: []string{"BEHALF_ORCHESTRATOR_IDLE_TIMEOUT=1s", "BEHALF_SERVER_ADMIN_LISTEN=off"},
	})
	crowd := make([]*browser, people)
	for n := range crowd {
		crowd[n] = w.browser(fmt.Sprintf("u%02d", n))
		if _, err := w.box.AddPerson(t.Context(), crowd[n].username, engine.Rights{Regions: []string{"APAC"}}); err != nil {
			t.Fatal(err)
		}
		w.signIn(crowd[n])
	}
	use := func(some []*browser) {
		var all sync.WaitGroup
		turn := make(chan struct{}, 8) // what one machine can serve, which runs the provider and the warehouses too
		for _, b := range some {
			all.Go(func() {
				turn <- struct{}{}
				defer func() { <-turn }()
				for _, app := range []string{"databricks", "snowflake"} {
					if err := b.connect(t.Context(), app, w.box.IdP.SignIn); err != nil {
						t.Errorf("%s: %v", b.username, err)
					}
				}
				for _, query := range []string{atDatabricks, atSnowflake, countOnly} {
					w.ask(b, query).ran(t, "user", b.username)
				}
			})
		}
		all.Wait()
	}
	idle := func() (goroutines, files int) {
		eventually(t, "no session is open at a warehouse", func() bool {
			open := 0
			for _, b := range crowd {
				open += w.box.Databricks.Sessions(b.username) + w.box.Snowflake.Sessions(b.username)
			}
			return open == 0
		})
		w.box.CloseIdle() // what is left idle is a connection of the drivers' transports, which keep some for half a minute
		w.evidence.client.CloseIdleConnections()
		http.DefaultClient.CloseIdleConnections()
		return runtime.NumGoroutine(), openFiles(t)
	}
	const few, slack = 10, 8 // the few warm what is shared and bounded, such as the connections to the store
	use(crowd[:few])
	goroutines, files := idle()
	use(crowd[few:])
	var g, f int
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if g, f = idle(); g <= goroutines+slack && f <= files+slack {
			return
		}
		if time.Now().After(deadline) {
			break
		}
	}
	t.Errorf("%d goroutines and %d open files are left, want %d and %d as after %d people", g, f, goroutines, files, few)
	if testing.Verbose() {
		_ = pprof.Lookup("goroutine").WriteTo(t.Output(), 1)
	}
}

// signIn signs in somebody who has no password here, as an identity provider would.
func (w *world) signIn(b *browser) {
	w.t.Helper()
	u, err := w.server.people.ByUsername(w.t.Context(), b.username)
	w.must(err)
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.base+"/login", nil)
	w.must(err)
	cookie, err := w.server.sessions.SignIn(w.t.Context(), r, u, "test")
	w.must(err)
	b.http.Jar.SetCookies(r.URL, []*http.Cookie{cookie})
}
