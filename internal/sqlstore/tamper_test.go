package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/pressly/goose/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/sqlstore"
	"github.com/behalf-project/behalf/internal/sqlstore/postgrestest"
	"github.com/behalf-project/behalf/internal/users"
)

// processes opens a store three times: side by side on Postgres, and on SQLite one after the other. Each does something.
func processes(t *testing.T, l location, each func(n int, db *sqlstore.DB)) {
	t.Helper()
	var open []*sqlstore.DB
	for n := range 3 {
		db, err := l.open(t.Context())
		if err != nil {
			t.Fatalf("Open = %v, want no error", err)
		}
		each(n, db)
		if strings.HasPrefix(l.url, "postgres") {
			open = append(open, db)
			continue
		}
		if err := db.Close(); err != nil {
			t.Fatalf("Close = %v, want no error", err)
		}
	}
	for _, db := range open {
		if err := db.Close(); err != nil {
			t.Fatalf("Close = %v, want no error", err)
		}
	}
}

// verify checks the store at l as an operator does, beside whoever has it open.
func (l location) verify(t *testing.T, kept ...audit.Head) audit.Report {
	t.Helper()
	a, err := sqlstore.OpenAudit(t.Context(), l.url)
	if err != nil {
		t.Fatalf("OpenAudit = %v, want no error", err)
	}
	defer a.Close()
	report, err := a.Verify(t.Context(), kept...)
	if err != nil {
		t.Fatalf("Verify = %v, want no error", err)
	}
	return report
}

// shell opens the database at l as its administrator does.
func (l location) shell(t *testing.T) *sqlx.DB {
	t.Helper()
	if path, ok := strings.CutPrefix(l.url, "sqlite:"); ok {
		return sqlstore.Shell(t, path)
	}
	db, err := sqlx.Open("pgx", l.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// unlocked removes the triggers: an administrator can.
func unlocked(db *sqlx.DB) {
	on := ""
	if db.DriverName() == "pgx" {
		on = " ON audit"
	}
	db.MustExec("DROP TRIGGER audit_update" + on)
	db.MustExec("DROP TRIGGER audit_delete" + on)
}

func TestVerifyFindsWhatAnAdministratorOfTheDatabaseDid(t *testing.T) {
	eachLocation(t, func(t *testing.T, l location) {
		// Each process records in both ways, and a checkpoint. A third one knows the ends of the others.
		processes(t, l, func(n int, db *sqlstore.DB) {
			for i := range 4 {
				person(t, db, fmt.Sprintf("person%d%d", n, i))
				entries := []audit.Entry{
					{ID: fmt.Sprintf("aud_%d%d", n, i), Actor: "usr_1", Action: audit.AdminRead, Object: "a", Detail: map[string]string{"operation": "list"}},
					{Actor: "usr_1", Action: audit.AdminRead, Object: "b"},
				}
				if err := db.Audit().Append(t.Context(), entries); err != nil {
					t.Fatalf("Append = %v, want no error", err)
				}
			}
			if err := db.Audit().Checkpoint(t.Context()); err != nil {
				t.Fatalf("Checkpoint = %v, want no error", err)
			}
		})
		before := l.verify(t)
		if !before.Intact() || before.Chains != 3 || before.Records != 3*(1+12+1) || len(before.Ends) != 1 {
			t.Fatalf("Verify = %+v, want 42 records of 3 whole chains, and one end that no other knows", before)
		}
		db := l.shell(t)
		var names []string
		if err := db.Select(&names, "SELECT writer FROM audit WHERE position = 1 ORDER BY seq"); err != nil || len(names) != 3 {
			t.Fatalf("chains = %v, %v, want three", names, err)
		}
		first, last := names[0], names[2]
		unlocked(db)
		db.MustExec("CREATE TABLE saved_audit AS SELECT * FROM audit")
		db.MustExec("CREATE TABLE saved_heads AS SELECT * FROM audit_heads")
		restore := func() {
			insert := "INSERT INTO audit SELECT * FROM saved_audit"
			if db.DriverName() == "pgx" {
				insert = "INSERT INTO audit OVERRIDING SYSTEM VALUE SELECT * FROM saved_audit"
			}
			for _, s := range []string{"DELETE FROM audit", "DELETE FROM audit_heads", insert, "INSERT INTO audit_heads SELECT * FROM saved_heads"} {
				db.MustExec(s)
			}
		}
		end := before.Ends[0]
		if end.Writer != last || end.Position != 14 {
			t.Fatalf("the end that no other knows is %+v, want the last checkpoint", end)
		}
		for _, tt := range []struct {
			name     string
			do       []string // {a} is the first chain, {c} the last one
			writer   string
			position int64
			reason   audit.Reason
			kept     []audit.Head
		}{
			{"removed a row", []string{"DELETE FROM audit WHERE writer = '{a}' AND position = 5"}, first, 5, audit.Missing, nil},
			{"edited who did it", []string{"UPDATE audit SET actor = 'usr_2' WHERE writer = '{a}' AND position = 5"}, first, 5, audit.Altered, nil},
			{"edited a detail", []string{`UPDATE audit SET detail = '{"operation":"other"}' WHERE id = 'aud_00'`}, first, 3, audit.Altered, nil},
			{"wrote a detail twice, the right one last", []string{`UPDATE audit SET detail = '{"operation":"other","operation":"list"}' WHERE id = 'aud_00'`}, first, 3, audit.Altered, nil},
			{"wrote a detail that is no JSON", []string{`UPDATE audit SET detail = '' WHERE id = 'aud_00'`}, first, 3, audit.Altered, nil},
			{"edited the time by a millisecond", []string{"UPDATE audit SET at = at + 1 WHERE writer = '{a}' AND position = 5"}, first, 5, audit.Altered, nil},
			{"edited a hash", []string{"UPDATE audit SET hash = prev WHERE writer = '{a}' AND position = 5"}, first, 5, audit.Altered, nil},
			{"swapped two rows", []string{
				"UPDATE audit SET position = 1000 WHERE writer = '{a}' AND position = 5",
				"UPDATE audit SET position = 5 WHERE writer = '{a}' AND position = 6",
				"UPDATE audit SET position = 6 WHERE writer = '{a}' AND position = 1000",
			}, first, 5, audit.Missing, nil},
			{"swapped the order of two rows", []string{
				// By a copy: Postgres does not let the column be updated.
				"UPDATE saved_audit SET seq = seq + CASE position WHEN 5 THEN 1 ELSE -1 END WHERE writer = '{a}' AND position IN (5, 6)",
				"restore",
				"UPDATE saved_audit SET seq = seq - CASE position WHEN 5 THEN 1 ELSE -1 END WHERE writer = '{a}' AND position IN (5, 6)",
			}, first, 5, audit.Missing, nil},
			{"cut the last row", []string{"DELETE FROM audit WHERE writer = '{c}' AND position = 14"}, last, 14, audit.TailCut, nil},
			{"cut the tail of a chain and the note of it", []string{
				"DELETE FROM audit WHERE writer = '{a}' AND position > 10",
				"UPDATE audit_heads SET position = 10, hash = (SELECT hash FROM audit WHERE writer = '{a}' AND position = 10) WHERE writer = '{a}'",
			}, first, 11, audit.TailCut, nil},
			{"cut the tail that only the log knows, and the note of it", []string{
				"DELETE FROM audit WHERE writer = '{c}' AND position > 10",
				"UPDATE audit_heads SET position = 10, hash = (SELECT hash FROM audit WHERE writer = '{c}' AND position = 10) WHERE writer = '{c}'",
			}, last, 14, audit.HeadUnknown, []audit.Head{end}},
			{"removed a chain", []string{"DELETE FROM audit WHERE writer = '{a}'"}, first, 0, audit.ChainGone, nil},
			{"removed a chain and the note of it", []string{
				"DELETE FROM audit WHERE writer = '{a}'", "DELETE FROM audit_heads WHERE writer = '{a}'",
			}, first, 0, audit.ChainGone, nil},
			{"removed everything but the notes", []string{"DELETE FROM audit"}, "", 0, audit.ChainGone, nil},
			{"added a row at the end", []string{`INSERT INTO audit (id, at, actor, action, object, outcome, detail, request, writer, position, prev, hash)
				SELECT 'aud_x', at, actor, action, object, outcome, detail, request, writer, 15, hash, prev FROM audit WHERE writer = '{c}' AND position = 14`},
				last, 15, audit.Altered, nil},
			{"added a chain", []string{`INSERT INTO audit (id, at, actor, action, object, outcome, detail, request, writer, position, prev, hash)
				SELECT 'aud_x', at, actor, action, object, outcome, detail, request, 'x', 1, prev, hash FROM audit WHERE writer = '{c}' AND position = 1`},
				"x", 1, audit.Altered, nil},
			{"said that a record is older than the chains", []string{"UPDATE audit SET writer = 'before', position = 1 WHERE writer = '{a}' AND position = 14"},
				first, 14, audit.TailCut, nil},
		} {
			t.Run(tt.name, func(t *testing.T) {
				defer restore()
				for _, s := range tt.do {
					if s == "restore" {
						restore()
						continue
					}
					db.MustExec(strings.NewReplacer("{a}", first, "{c}", last).Replace(s))
				}
				got := l.verify(t, tt.kept...)
				if got.Intact() {
					t.Fatalf("Verify finds nothing, want %s at %s %d", tt.reason, tt.writer, tt.position)
				}
				if b := got.Breaks[0]; b.Reason != tt.reason || tt.writer != "" && b.Writer != tt.writer || b.Position != tt.position {
					t.Errorf("the first break is %+v, want %s at %s %d", b, tt.reason, tt.writer, tt.position)
				}
			})
		}
	})
}

func TestAChainThatSomebodyElseWroteToIsLeft(t *testing.T) {
	eachLocation(t, func(t *testing.T, l location) {
		core, logged := observer.New(zap.InfoLevel)
		db, err := sqlstore.Open(t.Context(), sqlstore.Config{URL: l.url, Keyset: l.keyset, Log: zap.New(core)})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		person(t, db, "alice")
		for i, tamper := range []string{
			// A record of somebody else takes the next place.
			`INSERT INTO audit (id, at, actor, action, object, outcome, detail, request, writer, position, prev, hash)
				SELECT 'aud_x', at, actor, action, object, outcome, detail, request, writer, position + 1, hash, prev FROM audit ORDER BY seq DESC LIMIT 1`,
			// The store's note of the end is changed.
			"UPDATE audit_heads SET position = position - 1",
		} {
			db.Writer().MustExec(tamper)
			person(t, db, fmt.Sprintf("after%d", i)) // the act is not refused: nobody stops a server by that
			if n := logged.FilterMessageSnippet("somebody changed the audit log").Len(); n != i+1 {
				t.Errorf("the log says %d times that somebody was here, want %d", n, i+1)
			}
		}
		if got := l.verify(t); got.Intact() || got.Chains != 3 {
			t.Errorf("Verify = %+v, want three chains, and what was done to them", got)
		}
	})
}

func TestChainsStayWholeWhenManyRecordAtOnce(t *testing.T) {
	eachLocation(t, func(t *testing.T, l location) {
		n := 3
		if strings.HasPrefix(l.url, "sqlite") {
			n = 1
		}
		var wg sync.WaitGroup
		for p := range n {
			db, err := l.open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			for i := range 6 {
				wg.Go(func() {
					for k := range 10 {
						if _, err := db.Users().PutUser(t.Context(), users.User{Username: fmt.Sprintf("p%d-%d-%d", p, i, k)}, users.Ending{}, entry); err != nil {
							t.Errorf("PutUser = %v, want no error", err)
						}
						if err := db.Audit().Append(t.Context(), []audit.Entry{{Action: audit.AdminRead}, {Action: audit.AdminRead}}); err != nil {
							t.Errorf("Append = %v, want no error", err)
						}
					}
				})
			}
			wg.Go(func() {
				for range 10 {
					if err := db.Audit().Checkpoint(t.Context()); err != nil {
						t.Errorf("Checkpoint = %v, want no error", err)
					}
					if got := l.verify(t); !got.Intact() {
						t.Errorf("Verify meanwhile finds %+v, want nothing", got.Breaks)
					}
				}
			})
		}
		wg.Wait()
		got := l.verify(t)
		if !got.Intact() || got.Records < int64(n*6*10*3) || got.Chains != n {
			t.Errorf("Verify = %+v, want %d whole chains with every record", got, n)
		}
	})
}

// What was committed though nobody heard of it is neither lost nor written twice, and its chain is whole.
func TestACallerWhoLeavesAtTheCommitBreaksNoChain(t *testing.T) {
	eachLocation(t, func(t *testing.T, l location) {
		l.with(t, func(db *sqlstore.DB) {
			ok := 0
			for i := range 150 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i*20)*time.Microsecond)
				if db.Audit().Record(ctx, audit.Entry{Action: audit.AdminRead, Object: fmt.Sprint(i)}) == nil {
					ok++
				}
				cancel()
			}
			person(t, db, "alice")
			if got := l.verify(t); !got.Intact() || got.Records < int64(ok) {
				t.Errorf("Verify = %+v after %d records, want them all and nothing found", got, ok)
			}
		})
	})
}

func TestAppendingAgainWritesNothingTwice(t *testing.T) {
	onBoth(t, func(t *testing.T, db *sqlstore.DB) {
		batch := []audit.Entry{{ID: "aud_1", Action: audit.AdminRead, Object: "1"}, {ID: "aud_2", Action: audit.AdminRead, Object: "2"}}
		for range 2 {
			if err := db.Audit().Append(t.Context(), batch); err != nil {
				t.Fatalf("Append = %v, want no error", err)
			}
			batch = append(batch, audit.Entry{ID: "aud_3", Action: audit.AdminRead, Object: "3"})
		}
		got := entries(t, db)
		if len(got) != 3 || got[0].Object != "3" || got[2].Object != "1" {
			t.Errorf("List = %+v, want the three entries once, in their order", got)
		}
	})
}

func TestAThousandEntriesAreOneAppend(t *testing.T) {
	onBoth(t, func(t *testing.T, db *sqlstore.DB) {
		batch := make([]audit.Entry, 1234)
		for i := range batch {
			batch[i] = audit.Entry{Action: audit.AdminRead, Object: fmt.Sprint(i)}
		}
		if err := db.Audit().Append(t.Context(), batch); err != nil {
			t.Fatalf("Append = %v, want no error", err)
		}
		n := 0
		err := db.Audit().Export(t.Context(), audit.Filter{Action: audit.AdminRead}, 0, func(r audit.Record) error {
			if r.Object != fmt.Sprint(n) {
				return fmt.Errorf("entry %d is %q", n, r.Object)
			}
			n++
			return nil
		})
		if err != nil || n != len(batch) {
			t.Errorf("Export = %d entries, %v, want %d in their order", n, err, len(batch))
		}
	})
}

func TestCheckpointsGoToTheLogAndIdleProcessesWriteNone(t *testing.T) {
	t.Parallel()
	l := newLocation(t, postgrestest.URL(t))
	core, logged := observer.New(zap.InfoLevel)
	var dbs []*sqlstore.DB
	for range 2 {
		db, err := sqlstore.Open(t.Context(), sqlstore.Config{URL: l.url, Keyset: l.keyset, Log: zap.New(core)})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		dbs = append(dbs, db)
	}
	both := func() {
		for _, db := range dbs {
			if err := db.Audit().Checkpoint(t.Context()); err != nil {
				t.Fatalf("Checkpoint = %v, want no error", err)
			}
		}
	}
	both()
	if got := l.verify(t); got.Records != 0 {
		t.Errorf("%d records though nothing happened, want none", got.Records)
	}
	person(t, dbs[0], "alice")
	both()
	got := l.verify(t)
	if !got.Intact() || got.Chains != 2 || got.Records != 4 { // begin, alice, checkpoint; the other's
		t.Errorf("Verify = %+v, want 4 records: the other process wrote down the end of the first", got)
	}
	for range 3 {
		both()
	}
	if again := l.verify(t); again.Records != got.Records {
		t.Errorf("%d records after idle minutes, want %d: two idle processes do not write down each other", again.Records, got.Records)
	}
	var heads []audit.Head
	for _, e := range logged.FilterMessage(audit.CheckpointMessage).All() {
		f := e.ContextMap()
		h := audit.Head{Writer: f["writer"].(string), Position: f["position"].(int64)}
		if err := h.Hash.UnmarshalText([]byte(f["hash"].(string))); err != nil {
			t.Fatal(err)
		}
		heads = append(heads, h)
	}
	if len(heads) != 3 {
		t.Errorf("%d checkpoints in the log, want 3", len(heads))
	}
	if got := l.verify(t, heads...); !got.Intact() {
		t.Errorf("the checkpoints of the log are not found: %+v", got.Breaks)
	}
}

func TestRecordsFromBeforeTheChainsAreCovered(t *testing.T) {
	eachLocation(t, func(t *testing.T, l location) {
		db := l.shell(t)
		folder, dialect := "migrations/sqlite", goose.DialectSQLite3
		if db.DriverName() == "pgx" {
			folder, dialect = "migrations/postgres", goose.DialectPostgres
		}
		steps, err := fs.Sub(sqlstore.Migrations, folder)
		if err != nil {
			t.Fatal(err)
		}
		p, err := goose.NewProvider(dialect, db.DB, steps)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.UpTo(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			db.MustExec(fmt.Sprintf(`INSERT INTO audit (id, at, actor, action, object, outcome, detail, request)
				VALUES ('aud_%d', 1, 'usr_1', 'grant.created', 'con_1', 'ok', '{"a":"b"}', '')`, i))
		}
		if _, err := sqlstore.OpenAudit(t.Context(), l.url); fault.KindOf(err) != fault.Conflict {
			t.Errorf("OpenAudit of an older schema = %v, want conflict", err)
		}
		l.with(t, func(db *sqlstore.DB) {
			person(t, db, "alice")
			if got := entries(t, db); len(got) != 6 || got[5].ID != "aud_0" || got[5].Detail["a"] != "b" {
				t.Errorf("List = %+v, want the five entries from before", got)
			}
		})
		if got := l.verify(t); !got.Intact() || got.Records != 7 {
			t.Errorf("Verify = %+v, want seven records and nothing found", got)
		}
		unlocked(db)
		db.MustExec("UPDATE audit SET actor = 'usr_2' WHERE id = 'aud_3'")
		if got := l.verify(t); got.Intact() || got.Breaks[0].Writer != audit.Before || got.Breaks[0].Reason != audit.Replaced {
			t.Errorf("Verify = %+v, want the edited record from before found", got)
		}
	})
}

func TestTheRecordsAreReadBesideARunningServer(t *testing.T) {
	eachLocation(t, func(t *testing.T, l location) {
		if _, err := sqlstore.OpenAudit(t.Context(), l.url); err == nil {
			t.Error("OpenAudit of a database that is no store succeeds")
		}
		l.with(t, func(db *sqlstore.DB) {
			person(t, db, "alice")
			a, err := sqlstore.OpenAudit(t.Context(), l.url)
			if err != nil {
				t.Fatalf("OpenAudit = %v, want no error while the store is open", err)
			}
			defer a.Close()
			person(t, db, "bob")
			found, err := a.Find(t.Context(), audit.Filter{Action: audit.UserDeclared}, 0, 10)
			if err != nil || len(found) != 2 {
				t.Errorf("Find = %d records, %v, want what was recorded meanwhile", len(found), err)
			}
			if err := a.Record(t.Context(), entry); err == nil {
				t.Error("Record on it succeeds, want it read-only")
			}
		})
		if got := l.verify(t); !got.Intact() || got.Records != 3 {
			t.Errorf("Verify = %+v with no server, want three records", got)
		}
	})
	if _, err := sqlstore.OpenAudit(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "none.db")); !errors.Is(err, fault.NotFound) {
		t.Errorf("OpenAudit of no file = %v, want not_found", err)
	}
}

func TestRecordsAreFoundByWhatTheyHold(t *testing.T) {
	onBoth(t, func(t *testing.T, db *sqlstore.DB) {
		for i := range 10 {
			e := audit.Entry{
				At: noon.Add(time.Duration(i) * time.Minute), Actor: fmt.Sprintf("usr_%d", i%2), Action: audit.GrantRevoked,
				Object: fmt.Sprintf("con_%d", i%5), Outcome: "ok",
			}
			if i == 9 {
				e.Action, e.Outcome = audit.SignInRefused, "wrong_password"
			}
			if err := db.Audit().Record(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		for _, tt := range []struct {
			name   string
			filter audit.Filter
			want   string // the minutes, newest first
		}{
			{"by actor", audit.Filter{Actor: "usr_1"}, "9 7 5 3 1"},
			{"by action", audit.Filter{Action: audit.SignInRefused}, "9"},
			{"by object", audit.Filter{Object: "con_3"}, "8 3"},
			{"by outcome", audit.Filter{Outcome: "wrong_password"}, "9"},
			{"since, which is included", audit.Filter{Action: audit.GrantRevoked, Since: noon.Add(7 * time.Minute)}, "8 7"},
			{"until, which is not", audit.Filter{Action: audit.GrantRevoked, Until: noon.Add(2 * time.Minute)}, "1 0"},
			{"by two things", audit.Filter{Actor: "usr_0", Object: "con_2"}, "2"},
			{"nothing", audit.Filter{Actor: "usr_3"}, ""},
		} {
			t.Run(tt.name, func(t *testing.T) {
				var got []string
				var before int64
				for { // in pages of two
					page, err := db.Audit().Find(t.Context(), tt.filter, before, 2)
					if err != nil {
						t.Fatalf("Find = %v, want no error", err)
					}
					if len(page) == 0 {
						break
					}
					for _, r := range page {
						got = append(got, fmt.Sprint(int(r.At.Sub(noon)/time.Minute)))
						before = r.Seq
					}
				}
				if s := strings.Join(got, " "); s != tt.want {
					t.Errorf("Find = %q, want %q", s, tt.want)
				}
			})
		}
	})
}
