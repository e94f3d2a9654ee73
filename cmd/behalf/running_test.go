package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/behalf-project/behalf/internal/adminapi"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/sandbox/engine"
	"github.com/behalf-project/behalf/internal/tokens"
)

// as makes the commands of this test those of a person with a token of these scopes.
func (w *world) as(username string, scopes ...string) {
	w.t.Helper()
	u, err := w.server.people.ByUsername(w.t.Context(), username)
	w.must(err)
	_, value, err := w.server.pats.Create(w.t.Context(), u, tokens.Request{Name: "cli", Scopes: scopes})
	w.must(err)
	w.evidence.own.add("token of ours", value)
	w.t.Setenv("BEHALF_CLI_URL", w.base)
	w.t.Setenv("BEHALF_CLI_TOKEN", value.Reveal())
}

// says runs a command, and checks its exit code and what it says to whom.
func says(t *testing.T, code int, out, errs string, args ...string) (stdout string) {
	t.Helper()
	n, o, e := command(t, "", args...)
	if n != code || !strings.Contains(o, out) || !strings.Contains(e, errs) {
		t.Errorf("behalf %s = exit %d, %q, %q; want %d, %q, %q", strings.Join(args, " "), n, o, e, code, out, errs)
	}
	return o
}

// follow runs a command that goes on. It returns its lines, and what interrupts it and returns the exit code.
func follow(t *testing.T, args ...string) (lines <-chan string, leave func() int) {
	t.Helper()
	ctx, interrupt := context.WithCancel(t.Context())
	read, write := io.Pipe()
	code, all := make(chan int, 1), make(chan string, 100)
	go func() {
		code <- run(ctx, args, streams{strings.NewReader(""), write, io.Discard})
		_ = write.Close()
	}()
	go func() {
		defer close(all)
		for scan := bufio.NewScanner(read); scan.Scan(); {
			all <- scan.Text()
		}
	}()
	return all, func() int {
		interrupt()
		return <-code
	}
}

// What runs is seen by whose it is and by the admin, and the admin ends it: at the warehouse, and on the record.
func TestAnAdminCancelsTheQueryOfAnother(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	onBoth(t, worldConfig{}, func(t *testing.T, w *world) {
		w.connect(w.bob, "databricks")
		before := w.mark()
		his := w.asking(w.bob, slowly)
		w.await(before, "bob", "slow_orders", engine.Running)

		w.as("bob", "account")
		id := regexp.MustCompile(`qry_\w+`).FindString(says(t, 0, "running", "", "queries"))
		if id == "" {
			t.Fatal("bob does not see his query")
		}
		says(t, exitDenied, "", "insufficient_scope", "queries", "--all")
		says(t, exitDenied, "", "insufficient_scope", "queries", "tail", "--all")
		says(t, exitDenied, "", "insufficient_scope", "orchestrators")
		followed, leave := follow(t, "queries", "tail")
		if line := <-followed; !strings.HasPrefix(line, id+"\tbob\trunning\t") {
			t.Errorf("bob follows his query: %q", line)
		}
		w.as("bob", "account", "operate")
		says(t, exitDenied, "", "Only an admin", "queries", "--all")
		says(t, exitDenied, "", "Only an admin", "orchestrators")
		w.as("alice", "account")
		if out := says(t, 0, "ID", "", "queries", "list"); strings.Contains(out, "qry_") {
			t.Errorf("alice sees %s", out)
		}
		says(t, exitNotFound, "", "behalf queries", "queries", "cancel", id)

		w.as("carol", "account", "operate")
		if out := says(t, 0, "ID", "", "queries"); strings.Contains(out, "qry_") {
			t.Errorf("carol, who asked for her own, sees %s", out)
		}
		var all adminapi.QueryList
		w.must(json.Unmarshal([]byte(says(t, 0, id, "", "queries", "--all", "-o", "json")), &all))
		if q := all.Items[0]; len(all.Items) != 1 || q.Person.Username != "bob" || q.RunAs != "user" || q.State != "running" || q.DataSource == "" {
			t.Errorf("carol sees %+v", all.Items)
		}
		if still := w.statements(before, "slow_orders"); len(still) != 1 || still[0].Outcome != engine.Running {
			t.Fatalf("it was not to be cancelled yet: %+v", still)
		}
		says(t, 0, "", id+" is cancelled", "queries", "cancel", id, "--all")
		w.await(before, "bob", "slow_orders", engine.CanceledOut)
		if a := <-his; a.err != nil || !strings.Contains(a.Error, "cancelled") {
			t.Errorf("bob is told %d %s, %v", a.status, a.body, a.err)
		}
		says(t, exitNotFound, "", "not_found", "queries", "cancel", id, "--all")
		for line := range followed { // its state may be shown on the way
			if line == id+"\t-\tended" {
				break
			}
		}
		if code := leave(); code != exitInterrupted {
			t.Errorf("behalf queries tail = exit %d when it is interrupted", code)
		}

		carol, err := w.server.people.ByUsername(t.Context(), "carol")
		w.must(err)
		bob, err := w.server.people.ByUsername(t.Context(), "bob")
		w.must(err)
		eventually(t, "it is recorded", func() bool {
			acts, err := w.server.store.Audit().Find(t.Context(), audit.Filter{Action: audit.QueryCanceled, Object: id}, 0, 2)
			return err == nil && len(acts) == 1 && acts[0].Actor == carol.ID && acts[0].Detail["principal"] == bob.ID
		})
	})
}

// Draining closes the sessions of a person, and flushing makes their next answer come from the source.
func TestAnAdminDrainsAndFlushes(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	w := newWorld(t, worldConfig{environ: []string{"BEHALF_ORCHESTRATOR_IDLE_TIMEOUT=1h"}})
	w.write("model/rollups.yml", rolledUp)
	w.restart()
	w.connect(w.alice, "databricks")
	w.connect(w.bob, "databricks")
	// What is cached is good for 10 s, and a rollup for longer: no statement at the source means that it answered.
	ask := func(b *browser) (statements int) {
		t.Helper()
		before := w.mark()
		token, err := b.token(t.Context())
		w.must(err)
		w.send(t.Context(), b, http.MethodGet, "/cubejs-api/v1/load?cache=stale-while-revalidate&query="+url.QueryEscape(countOnly), token, "").ran(t, "user", b.username)
		return len(w.statements(before, "count("))
	}
	for _, b := range []*browser{w.alice, w.bob} {
		w.askRollup(b, ofSales, "sales.by_day")
		if first := ask(b); first != 1 {
			t.Fatalf("the first answer to %s took %d statements", b.username, first)
		}
		if again := ask(b); again != 0 {
			t.Fatalf("the second answer to %s took %d statements", b.username, again)
		}
	}

	w.as("bob", "account")
	if out := says(t, 0, "sales.by_day", "", "preaggs"); strings.Count(out, "sales.by_day") != 1 || strings.Contains(out, "alice") {
		t.Errorf("bob has these pre-aggregations: %s", out)
	}
	says(t, exitDenied, "", "insufficient_scope", "preaggs", "--all")
	w.as("carol", "account", "operate")
	if out := says(t, 0, "sales.by_day", "", "preaggs", "--all"); strings.Count(out, "sales.by_day") != 2 || !strings.Contains(out, "alice") || !strings.Contains(out, "bob") {
		t.Errorf("there are these pre-aggregations: %s", out)
	}
	of := func(name string) (one adminapi.Orchestrator) {
		t.Helper()
		var list adminapi.OrchestratorList
		w.must(json.Unmarshal([]byte(says(t, 0, "", "", "orchestrators", "-o", "json")), &list))
		for _, o := range list.Items {
			if o.Name == name {
				one = o
			}
		}
		return one
	}
	his := of("CUBE_APP_bob")
	if his.State != "warm" || his.Sessions.Idle == 0 || his.Cache.Results == 0 || len(his.People) != 1 || his.People[0].Username != "bob" {
		t.Errorf("bob's is %+v", his)
	}
	says(t, 0, his.ID, "2 of 10000 orchestrators, ", "orchestrators")
	files := w.parquet()
	says(t, 0, "", "1 pre-aggregation dropped", "orchestrators", "flush", his.ID)
	if n := ask(w.bob); n != 1 {
		t.Errorf("the next answer to bob took %d statements, want one", n)
	}
	if left := w.parquet(); left == 0 || left >= files {
		t.Errorf("there are %d files of rollups, and were %d", left, files)
	}
	says(t, 0, "", "1 pool of idle sessions closed", "orchestrators", "drain", his.ID)
	if again := of("CUBE_APP_bob"); again.Name != "" || of("CUBE_APP_alice").Sessions.Idle == 0 {
		t.Errorf("bob's is %+v, alice's %+v", again, of("CUBE_APP_alice"))
	}
	says(t, exitNotFound, "", "behalf orchestrators", "orchestrators", "drain", his.ID)
	ask(w.bob)
}
