package sqlstore_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/sqlstore"
)

// Variables that make this test binary the process that is killed.
const (
	killedURL    = "SQLSTORE_TEST_KILLED_URL"
	killedKeyset = "SQLSTORE_TEST_KILLED_KEYSET"
	killedNumber = "SQLSTORE_TEST_KILLED_NUMBER" // which makes its ids its own
)

// recordUntilKilled records as fast as it may, in both ways, and prints the id of each record when it is accepted.
func recordUntilKilled(url, keyset string) error {
	ctx := context.Background()
	db, err := sqlstore.Open(ctx, sqlstore.Config{URL: url, Keyset: keyset})
	if err != nil {
		return err
	}
	w := audit.NewWriter(audit.WriterConfig{Store: db.Audit(), Checkpoint: 100 * time.Millisecond})
	go func() { _ = w.Run(ctx) }() // ends with the process
	for i := 0; ; i++ {
		e := audit.Entry{ID: fmt.Sprintf("aud_%s_%d", os.Getenv(killedNumber), i), Action: audit.AdminRead, Outcome: "ok"}
		record, way := w.Record, "accepted"
		switch i % 50 {
		case 48:
			record, way = db.Audit().Record, "committed"
		case 49:
			record, way = w.Durable, "committed"
		}
		if err := record(ctx, e); err != nil {
			return err
		}
		fmt.Println(way, e.ID)
		time.Sleep(100 * time.Microsecond)
	}
}

// A process that is killed loses what it accepted in the last moment and nothing that it said is committed, and its
// chain is whole: the next process goes on in its own, and knows where this one ended.
func TestAKilledProcessLeavesAWholeChain(t *testing.T) {
	eachLocation(t, func(t *testing.T, l location) {
		for n := range 3 {
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), killedURL+"="+l.url, killedKeyset+"="+l.keyset, fmt.Sprint(killedNumber, "=", n))
			cmd.Stderr = t.Output()
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			type told struct {
				way, id string
				at      time.Time
			}
			var all []told
			lines := bufio.NewScanner(out)
			for lines.Scan() {
				way, id, _ := strings.Cut(lines.Text(), " ")
				all = append(all, told{way, id, time.Now()})
				if len(all) == 340 {
					if err := cmd.Process.Kill(); err != nil { // SIGKILL
						t.Fatal(err)
					}
				}
			}
			_ = cmd.Wait() // it was killed
			if len(all) < 340 {
				t.Fatalf("it ended by itself after %d records", len(all))
			}
			killed := all[len(all)-1].at
			if got := l.verify(t); !got.Intact() {
				t.Errorf("Verify = %+v after the kill, want the chain whole", got.Breaks)
			}
			stored := map[string]bool{}
			var last string // of the chain that was killed
			a, err := sqlstore.OpenAudit(t.Context(), l.url)
			if err != nil {
				t.Fatal(err)
			}
			if err := a.Export(t.Context(), audit.Filter{}, 0, func(r audit.Record) error { stored[r.ID], last = true, r.Writer; return nil }); err != nil {
				t.Fatal(err)
			}
			a.Close()
			lost := 0
			for _, r := range all {
				switch {
				case stored[r.id]:
				case r.way == "committed":
					t.Errorf("%s was committed, and is lost", r.id)
				case killed.Sub(r.at) > time.Second: // 50 ms, and the time of a commit on a busy machine
					t.Errorf("%s was accepted %v before the kill, and is lost", r.id, killed.Sub(r.at))
				default:
					lost++
				}
			}
			t.Logf("%d of %d records lost", lost, len(all))
			l.with(t, func(db *sqlstore.DB) {
				if err := db.Audit().Checkpoint(t.Context()); err != nil {
					t.Errorf("Checkpoint = %v, want no error", err)
				}
			})
			if got := l.verify(t); !got.Intact() || len(got.Ends) != 1 || got.Ends[0].Writer == last {
				t.Errorf("Verify = %+v, want the next process to know the end of the killed one", got)
			}
		}
	})
}
