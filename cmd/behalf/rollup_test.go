package main

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/config"
	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/jobs"
	"github.com/behalf-project/behalf/internal/preagg"
	"github.com/behalf-project/behalf/internal/sqlstore/sqlstoretest"
)

// rolledUp are the cubes of these tests: one whose rollup is each person's own, and one that is everybody's.
const rolledUp = `cubes:
  - name: sales
    sql_table: orders
    dimensions:
      - {name: region, sql: region, type: string}
      - {name: status, sql: status, type: string}
      - {name: created_at, sql: created_at, type: time}
    measures:
      - {name: count, type: count}
      - {name: total, sql: amount, type: sum}
    pre_aggregations:
      - name: by_day
        measures: [count, total]
        dimensions: [region]
        time_dimension: created_at
        granularity: day
        partition_granularity: quarter
  - name: published
    extends: sales
    meta: {shared_rollup: true}
  - name: places
    sql: SELECT DISTINCT region FROM orders
    dimensions:
      - {name: region, sql: region, type: string, primary_key: true, public: true}
    pre_aggregations:
      - {name: all, dimensions: [region]}
  - name: placed
    extends: sales
    joins:
      - {name: places, relationship: many_to_one, sql: "{CUBE.region} = {places.region}"}
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
    pre_aggregations:
      - {name: joined, type: rollup_join, measures: [total], dimensions: [places.region], rollups: [by_day, places.all]}
      - {name: both, type: rollup_lambda, rollups: [early, late]}
      - {name: live, type: rollup_lambda, union_with_source_data: true, rollups: [first]}
      - name: first
        measures: [total]
        dimensions: [status]
        time_dimension: created_at
        granularity: day
        partition_granularity: day
        build_range_end: {sql: "SELECT MIN(created_at) FROM {CUBE.sql()}"}
      - name: early
        measures: [count]
        dimensions: [status]
        time_dimension: created_at
        granularity: day
        partition_granularity: year
        build_range_end: {sql: "SELECT MIN(created_at) FROM {CUBE.sql()}"}
      - name: late
        measures: [count]
        dimensions: [status]
        time_dimension: created_at
        granularity: day
        partition_granularity: month
`

// Queries that those rollups hold.
const (
	ofSales   = `{"measures":["sales.count","sales.total"],"dimensions":["sales.region"],"timeDimensions":[{"dimension":"sales.created_at","granularity":"month"}],"order":{"sales.created_at":"asc","sales.region":"asc"}}`
	ofPlaces  = `{"measures":["placed.total"],"dimensions":["places.region"],"order":{"places.region":"asc"}}`
	ofStatus  = `{"measures":["placed.count"],"dimensions":["placed.status"],"order":{"placed.status":"asc"}}`
	ofTotals  = `{"measures":["placed.total"],"dimensions":["placed.status"],"order":{"placed.status":"asc"}}`
	published = `{"measures":["published.total"],"dimensions":["published.region"],"order":{"published.region":"asc"}}`
)

// rollupOf returns the rollups that an answer was read from.
func rollupOf(t *testing.T, a asked) (id string) {
	t.Helper()
	var body struct {
		External bool
		Used     map[string]struct{ PreAggregationID string } `json:"usedPreAggregations"`
	}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, used := range body.Used {
		all = append(all, used.PreAggregationID)
	}
	slices.Sort(all)
	id = strings.Join(all, " ")
	if body.External != (id != "") {
		t.Errorf("external is %t, and the rollup %q", body.External, id)
	}
	return id
}

// askRollup asks until a rollup answers.
func (w *world) askRollup(b *browser, query, rollup string) asked {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		a := w.ask(b, query)
		if a.err != nil || a.status != http.StatusOK || time.Now().After(deadline) {
			w.t.Fatalf("no rollup answers %s: %d %.300s %v", b.username, a.status, a.body, a.err)
		}
		if rollupOf(w.t, a) == rollup {
			return a
		}
	}
}

// parquet returns the number of files with rows that this process has.
func (w *world) parquet() (n int) {
	w.t.Helper()
	w.must(filepath.WalkDir(filepath.Join(w.dir, "objects-cache"), func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".parquet") {
			n++
		}
		return err
	}))
	return n
}

// A rollup answers what the source did, from each person's own rows; a revocation takes them along, and a restart does not.
func TestARollupIsItsPersons(t *testing.T) {
	w := newWorld(t, worldConfig{})
	w.write("model/rollups.yml", rolledUp)
	w.restart()
	w.connect(w.alice, "databricks")
	w.connect(w.bob, "databricks")
	atSource := map[*browser]asked{}
	for _, b := range []*browser{w.alice, w.bob} {
		atSource[b] = w.ask(b, ofSales)
		atSource[b].ran(t, "user", b.username)
		if id := rollupOf(t, atSource[b]); id != "" {
			t.Errorf("the first answer of %s is read from %s", b.username, id)
		}
		before := w.mark()
		got := w.askRollup(b, ofSales, "sales.by_day")
		got.ran(t, "user", b.username)
		if !reflect.DeepEqual(got.Data, atSource[b].Data) {
			t.Errorf("the rollup of %s answers %v, and the source %v", b.username, got.Data, atSource[b].Data)
		}
		for _, s := range w.statements(before, "sales") {
			if s.Identity != b.username {
				t.Errorf("the rollup of %s was fetched as %s", b.username, s.Identity)
			}
		}
		before = w.mark()
		w.askRollup(b, `{"measures":["sales.total"]}`, "sales.by_day")
		if ran := w.statements(before, "sales"); len(ran) != 0 {
			t.Errorf("%d statements ran at the warehouse for what the rollup holds: %s", len(ran), ran[0].SQL)
		}
	}
	if reflect.DeepEqual(atSource[w.alice].Data, atSource[w.bob].Data) {
		t.Fatal("alice and bob see the same rows: this proves nothing")
	}

	files := w.parquet()
	w.restart()
	before := w.mark()
	if got := w.askRollup(w.alice, ofSales, "sales.by_day"); !reflect.DeepEqual(got.Data, atSource[w.alice].Data) {
		t.Errorf("after a restart the rollup answers %v", got.Data)
	}
	if ran := w.statements(before, "GROUP BY"); len(ran) > 2 || w.parquet() != files {
		t.Errorf("after a restart %d statements were needed, and there are %d files, not %d: what was there was fetched again", len(ran), w.parquet(), files)
	}

	w.disconnect(w.alice, "databricks")
	w.ask(w.alice, ofSales).refused(t, http.StatusForbidden, "authorization_required")
	left := w.parquet()
	for deadline := time.Now().Add(time.Minute); left == files && time.Now().Before(deadline); left = w.parquet() {
		time.Sleep(time.Millisecond)
	}
	if left == 0 || left >= files {
		t.Errorf("there are %d files after the revocation, and %d before", left, files)
	}
	if got := w.askRollup(w.bob, ofSales, "sales.by_day"); !reflect.DeepEqual(got.Data, atSource[w.bob].Data) {
		t.Errorf("bob is answered %v after the revocation of alice", got.Data)
	}
}

// What alice uses is fetched again, as alice, before she asks: here because it is gone.
func TestWhatIsInUseIsFetchedBeforeAnybodyAsks(t *testing.T) {
	w := newWorld(t, worldConfig{})
	w.write("model/rollups.yml", rolledUp)
	w.restart()
	w.connect(w.alice, "databricks")
	w.askRollup(w.alice, ofSales, "sales.by_day")
	kept := w.server.store.Jobs()
	due := func() jobs.Job { // in its time, which has come
		j, err := jobs.Job{}, error(nil)
		eventually(t, "the use was noted, and nobody works on it", func() bool {
			now := time.Now().Add(24 * time.Hour).UTC()
			j, err = kept.Claim(t.Context(), jobs.Want{Kind: w.server.refreshes.Kind().Name, By: "test"}, now, now.Add(time.Minute))
			return err == nil
		})
		return j
	}
	j := due()
	if strings.Contains(string(j.Payload), "alice") {
		t.Errorf("%s says who uses it", j.Payload)
	}
	w.must(w.server.rollups.Drop(func(driverfactory.PoolKey) bool { return true }))
	eventually(t, "nothing is kept", func() bool { return w.parquet() == 0 })
	before := w.mark()
	j.DueAt = time.Now().UTC()
	w.must(kept.Release(t.Context(), j))
	eventually(t, "it was fetched again", func() bool { return w.parquet() > 0 && w.server.orchestrators.Stats().Builds == 0 })
	for _, s := range w.statements(before, "sales") {
		if s.Identity != "alice" {
			t.Errorf("it was fetched as %s", s.Identity)
		}
	}
	if j = due(); !j.DueAt.After(time.Now()) || j.Code != "" {
		t.Errorf("it is due again at %s (%s), want later", j.DueAt, j.Code)
	}
	w.disconnect(w.alice, "databricks")
	j.DueAt = time.Now().UTC()
	w.must(kept.Release(t.Context(), j))
	eventually(t, "nothing is refreshed for who has disconnected", func() bool {
		n, err := kept.Count(t.Context(), w.server.refreshes.Kind().Name, "")
		w.must(err)
		return n == jobs.Count{}
	})
	if n := w.parquet(); n != 0 {
		t.Errorf("%d files of who has disconnected", n)
	}
}

// Rollups that are joined, and those of different times, answer together what the source did, each person's from their own rows.
func TestSeveralRollupsAnswerTogether(t *testing.T) {
	w := newWorld(t, worldConfig{})
	w.write("model/rollups.yml", rolledUp)
	w.restart()
	for _, b := range []*browser{w.alice, w.bob} {
		w.connect(b, "databricks")
	}
	for query, rollups := range map[string]string{ofPlaces: "placed.by_day places.all", ofStatus: "placed.early placed.late", ofTotals: "placed.first"} {
		of := map[*browser]asked{}
		for _, b := range []*browser{w.alice, w.bob} {
			atSource := w.ask(b, query)
			atSource.ran(t, "user", b.username)
			if id := rollupOf(t, atSource); id != "" {
				t.Errorf("the first answer of %s is read from %s", b.username, id)
			}
			of[b] = w.askRollup(b, query, rollups)
			of[b].ran(t, "user", b.username)
			if !reflect.DeepEqual(of[b].Data, atSource.Data) {
				t.Errorf("the rollups of %s answer %v, and the source %v", b.username, of[b].Data, atSource.Data)
			}
		}
		if reflect.DeepEqual(of[w.alice].Data, of[w.bob].Data) {
			t.Errorf("alice and bob see the same rows: %v", of[w.alice].Data)
		}
	}
}

// Where nothing but rollups is to answer, nothing asks the warehouse for an answer.
func TestRollupOnlyMode(t *testing.T) {
	w := newWorld(t, worldConfig{yaml: "preaggs: {rollup_only: true}\n"})
	w.write("model/rollups.yml", rolledUp)
	w.restart()
	w.connect(w.alice, "databricks")
	const sentence = "Error: No pre-aggregation table has been built for this query yet. Please check your refresh worker configuration if it persists."
	for _, q := range []string{`{"measures":["sales.count"],"dimensions":["sales.status"]}`, ofSales} {
		if a := w.ask(w.alice, q); a.status != http.StatusBadRequest || !strings.Contains(a.body, sentence) {
			t.Errorf("%s is answered %d %s", q, a.status, a.body)
		}
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if a := w.ask(w.alice, ofSales); a.status == http.StatusOK {
			if id := rollupOf(t, a); id != "sales.by_day" {
				t.Errorf("it is read from %q", id)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the rollup was not built")
		}
	}
}

// shared returns the names of the notes in the object store.
func (w *world) shared() (names []string) {
	w.t.Helper()
	w.must(filepath.WalkDir(filepath.Join(w.dir, "objects"), func(path string, _ fs.DirEntry, _ error) error {
		if strings.HasSuffix(path, ".note") {
			names = append(names, path)
		}
		return nil // what is deleted meanwhile is not there
	}))
	return names
}

// What one replica fetched another reads, and fetches nothing itself; a revocation takes it along, wherever it is.
func TestWhatOneReplicaFetchedAnotherReads(t *testing.T) {
	w := newWorld(t, worldConfig{environ: []string{"BEHALF_STORE_URL=" + sqlstoretest.PostgresURL(t)}})
	w.write("model/rollups.yml", rolledUp)
	w.restart()
	w.connect(w.alice, "databricks")
	w.connect(w.bob, "databricks")
	answers := map[string]asked{}
	for _, b := range []*browser{w.alice, w.bob} {
		answers[b.username] = w.askRollup(b, ofSales, "sales.by_day")
	}
	eventually(t, "all is in the object store", func() bool { n := w.parquet(); return n > 0 && len(w.shared()) == n })
	built := w.shared()

	other := w.replica()
	for _, b := range []*browser{other.alice, other.bob} {
		if got := other.askRollup(b, ofSales, "sales.by_day"); !reflect.DeepEqual(got.Data, answers[b.username].Data) {
			t.Errorf("the other replica answers %s %v, want %v", b.username, got.Data, answers[b.username].Data)
		}
	}
	if now := w.shared(); !slices.Equal(now, built) || w.parquet() != 2*len(built) {
		t.Errorf("the object store has %v, want %v: what was there was built again", now, built)
	}

	w.disconnect(w.alice, "databricks")
	eventually(t, "alice's are gone everywhere", func() bool {
		left := len(w.shared())
		return left > 0 && left < len(built) && w.parquet() == 2*left
	})
	other.ask(other.alice, ofSales).refused(t, http.StatusForbidden, "authorization_required")
	if got := other.askRollup(other.bob, ofSales, "sales.by_day"); !reflect.DeepEqual(got.Data, answers["bob"].Data) {
		t.Errorf("bob is answered %v after the revocation of alice", got.Data)
	}
}

// What a replica was fetching when it ended another one finishes, for who uses it: only what is missing.
func TestWhatAReplicaLeftUndoneAnotherFinishes(t *testing.T) {
	w := newWorld(t, worldConfig{environ: []string{"BEHALF_STORE_URL=" + sqlstoretest.PostgresURL(t)}})
	w.write("model/rollups.yml", rolledUp)
	w.restart()
	w.connect(w.alice, "databricks")
	w.askRollup(w.alice, ofSales, "sales.by_day")
	eventually(t, "all is in the object store", func() bool { n := w.parquet(); return n > 1 && len(w.shared()) == n })
	all := w.shared()
	w.must(w.stop())
	gone := strings.TrimSuffix(all[0], ".note") // as if it had not come to the first
	w.must(os.Remove(all[0]))
	w.must(os.Remove(gone + ".parquet"))

	other, before := w.replica(), w.mark()
	kept, now := other.server.store.Jobs(), time.Now().Add(24*time.Hour).UTC()
	j, err := kept.Claim(t.Context(), jobs.Want{Kind: other.server.refreshes.Kind().Name, By: "test"}, now, now.Add(time.Minute))
	w.must(err)
	j.DueAt = time.Now().UTC()
	w.must(kept.Release(t.Context(), j))
	eventually(t, "all is there again", func() bool { return len(w.shared()) == len(all) })
	built := 0
	for _, s := range other.statements(before, "GROUP BY") {
		built++
		if s.Identity != "alice" {
			t.Errorf("it was fetched as %s", s.Identity)
		}
	}
	if built != 1 {
		t.Errorf("%d partitions were fetched, want the one that was missing", built)
	}
}

// What a model shares is fetched by the service account, answers whoever may use the source, and says so.
func TestASharedRollupSaysWhoseItIs(t *testing.T) {
	w := newWorld(t, worldConfig{})
	w.write("model/rollups.yml", rolledUp)
	w.restart()
	w.connect(w.alice, "databricks")
	w.connect(w.bob, "databricks")
	before := w.mark()
	of := map[*browser]asked{}
	for _, b := range []*browser{w.alice, w.bob} {
		of[b] = w.askRollup(b, published, "published.by_day")
		of[b].ran(t, "service_account", b.username)
	}
	if !reflect.DeepEqual(of[w.alice].Data, of[w.bob].Data) {
		t.Errorf("alice is answered %v, and bob %v", of[w.alice].Data, of[w.bob].Data)
	}
	for _, s := range w.statements(before, "published__created_at_day") {
		if s.Identity == "alice" || s.Identity == "bob" {
			t.Errorf("the shared rollup was fetched as %s", s.Identity)
		}
	}
	w.ask(w.carol, published).refused(t, http.StatusForbidden, "authorization_required")
}

// A job builds before anybody asks, for who posted it.
func TestAJobBuildsBeforeAnybodyAsks(t *testing.T) {
	w := newWorld(t, worldConfig{yaml: "api: {scopes: [data, jobs, meta]}\n"})
	w.write("model/rollups.yml", rolledUp)
	w.restart()
	w.connect(w.alice, "databricks")
	w.connect(w.bob, "databricks")
	post := func(b *browser, body string, into any) {
		t.Helper()
		a := w.send(t.Context(), b, http.MethodPost, "/cubejs-api/v1/pre-aggregations/jobs", w.sign(b.username), body)
		if err := json.Unmarshal([]byte(a.body), into); err != nil || a.status != http.StatusOK {
			t.Fatalf("the job: %d %s", a.status, a.body)
		}
	}
	var tokens []string
	post(w.alice, `{"action":"post","selector":{"contexts":[{"securityContext":{}}],"timezones":["UTC"],"preAggregations":["sales.by_day"]}}`, &tokens)
	if len(tokens) != 1 {
		t.Fatalf("the job has the tokens %q", tokens)
	}
	status := func(b *browser) string {
		t.Helper()
		var all []struct{ Status string }
		post(b, `{"action":"get","tokens":["`+tokens[0]+`"]}`, &all)
		return all[0].Status
	}
	for deadline := time.Now().Add(time.Minute); status(w.alice) != "done"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the job is %s", status(w.alice))
		}
	}
	if s := status(w.bob); s != "not_found" {
		t.Errorf("bob is told that the job of alice is %s", s)
	}
	if id := rollupOf(t, w.ask(w.alice, ofSales)); id != "sales.by_day" {
		t.Errorf("the first query of alice is answered from %q", id)
	}
	if id := rollupOf(t, w.ask(w.bob, ofSales)); id != "" {
		t.Errorf("the first query of bob is answered from %q", id)
	}
}

// noRows are the rows of a source that has none.
type noRows struct{}

func (noRows) Columns() []driverfactory.Column { return make([]driverfactory.Column, 1) }
func (noRows) Next([]any) (bool, error)        { return false, nil }
func (noRows) Close() error                    { return nil }

// What a replica fetched that does not come back is deleted in its time, as if it had.
func TestTheFolderOfAReplicaThatIsGoneIsSwept(t *testing.T) {
	w := &world{t: t, dir: t.TempDir()}
	s := &server{cfg: config.Default(), log: zap.NewNop()}
	s.cfg.Objects.Cache = filepath.Join(w.dir, "objects-cache")
	id := preagg.ID{Scope: driverfactory.PoolKey{Principal: driverfactory.Principal{Realm: "local", Subject: "alice"}}}
	for n, age := range []time.Duration{0, time.Hour, 25 * time.Hour} {
		store, err := preagg.Open(preagg.Config{Dir: s.folder(n), Now: func() time.Time { return time.Now().Add(-age) }})
		w.must(err)
		_, err = store.Write(t.Context(), id, preagg.Table{}, []preagg.Column{{Name: "n", Type: preagg.Number}}, noRows{})
		w.must(err)
		w.must(store.Close())
	}
	ours, err := preagg.Open(s.folderConfig(0))
	w.must(err)
	defer ours.Close()
	s.sweepOthers(t.Context())
	if n := w.parquet(); n != 2 || len(ours.Tables(id)) != 1 {
		t.Errorf("%d files are left, want the one of this process and what was used an hour ago", n)
	}
	again, err := preagg.Open(s.folderConfig(1))
	w.must(err) // nobody holds it
	w.must(again.Close())
}
