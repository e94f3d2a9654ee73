package main

import (
	"bytes"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// large compares a /load of many rows with reading them from the driver itself, in time and in memory, and one from the
// cache with a handler that writes the same bytes. What the driver and the warehouse beside us take is in both figures.
func (f *figures) large() {
	base := "http://" + f.s.public.Addr().String()
	ask := func(r *http.Request, into io.Writer) {
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			f.b.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.Copy(into, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			f.b.Fatalf("/load = %d, %v", resp.StatusCode, err)
		}
	}
	load := func(rows int, cache string) func(string) *http.Request {
		return f.load(fmt.Sprintf(`{"limit":%d,"dimensions":["ledger.customer"],"measures":["ledger.count","ledger.total"]}`, rows), cache)
	}
	for _, rows := range []int{50_000, 1_000_000} {
		statement := f.statement(load(rows, "no-cache")(base))
		db := f.driver()
		theirs := f.watch(func() { f.readAll(db, statement) })
		db.Close()
		var size counted
		ours := f.watch(func() { size = 0; ask(load(rows, "no-cache")(base), &size) })
		name := fmt.Sprintf("/load of %d rows, %d MB", rows, size/1e6)
		f.row(name+", time", ours.took.String(), theirs.took.String(), fmt.Sprintf("%.2f", float64(ours.took)/float64(theirs.took)), "")
		f.row(name+", most heap", fmt.Sprintf("%d MB", ours.heap/1e6), fmt.Sprintf("%d MB", theirs.heap/1e6),
			fmt.Sprintf("%.2f", float64(ours.heap)/float64(theirs.heap)), "≤ one packed result more")
	}

	request := load(50_000, "stale-if-slow")
	var body bytes.Buffer
	ask(request(base), &body)
	floor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body.Bytes()) }))
	defer floor.Close()
	theirs := drive(f.b, 1, func() *http.Request { return request(floor.URL) })
	ours := drive(f.b, 1, func() *http.Request { return request(base) })
	f.row("/load of 50000 rows from the cache, req/s", fmt.Sprintf("%.0f", ours.rate), fmt.Sprintf("%.0f", theirs.rate), fmt.Sprintf("%.2f", ours.rate/theirs.rate), "≥ 0.5")
}

// counted is a writer that counts.
type counted int64

func (c *counted) Write(p []byte) (int, error) {
	*c += counted(len(p))
	return len(p), nil
}

// readAll reads the rows of statement as a program does that needs them one at a time.
func (f *figures) readAll(db *sql.DB, statement string) {
	rows, err := db.QueryContext(f.b.Context(), statement)
	if err != nil {
		f.b.Fatal(err)
	}
	defer rows.Close()
	var customer, count, total any
	for rows.Next() {
		if err := rows.Scan(&customer, &count, &total); err != nil {
			f.b.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		f.b.Fatal(err)
	}
}

// watched is what a piece of work took.
type watched struct {
	took time.Duration
	heap uint64 // the most there was at once, above what there was before
}

// watch does the work and watches it. Garbage is collected early meanwhile, so that what is seen is mostly in use.
func (f *figures) watch(work func()) watched {
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	heap := func() uint64 {
		s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	work() // once, so that connections and pools are there
	runtime.GC()
	runtime.GC()
	before, done, most := heap(), make(chan struct{}), make(chan uint64)
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		peak := before
		for {
			select {
			case <-tick.C:
				peak = max(peak, heap())
			case <-done:
				most <- peak
				return
			}
		}
	}()
	began := time.Now()
	work()
	took := time.Since(began).Round(time.Millisecond)
	close(done)
	return watched{took, <-most - before}
}
