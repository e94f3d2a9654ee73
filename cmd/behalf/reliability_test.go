package main

import (
	"crypto/rand"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/sandbox/idp"
	"github.com/behalf-project/behalf/internal/secret"
)

var (
	wholeMatrix  = flag.Bool("whole-matrix", false, "run every row of the fault matrix in every combination, and print the table")
	updateMatrix = flag.Bool("update-matrix", false, "write the table of the fault matrix into docs/reliability.md; with -whole-matrix")
)

// faultRow is a row of the fault matrix (broker.md §5): what goes wrong, and what must be true all the same.
type faultRow struct {
	name     string
	required string
	short    []combination            // in which it runs when the whole matrix does not
	only     func(c combination) bool // nil: in all
	run      func(t *testing.T, f *fleet)
}

var (
	sqliteRotates   = combination{false, 1, true}
	threeRotate     = combination{true, 3, true}
	postgresRotates = combination{true, 1, true}
)

func onPostgres(c combination) bool { return c.postgres }
func several(c combination) bool    { return c.replicas > 1 }

// The life of a token that a row lets end, and a time after which it has.
const (
	brief      = 2 * time.Second
	afterBrief = brief + 200*time.Millisecond
)

// believed is longer than what is in memory is believed while the database answers: then it must be asked, and may be away.
const believed = 1100 * time.Millisecond

// faultMatrix is the matrix. The rows that wait longest come first.
var faultMatrix = []faultRow{
	{
		name:     "The token endpoint takes 29 s, and 16 callers need the token",
		required: "one call, and everybody gets its token",
		run: func(t *testing.T, f *fleet) {
			f.connect(brief)
			f.provider.SetFault(idp.Token, idp.Fault{Delay: 29 * time.Second})
			time.Sleep(afterBrief)
			for _, a := range f.askTogether(16) {
				a.ran(t, "user", "alice")
			}
			f.called(1, 0)
			f.provider.ClearFaults()
			f.hasLostNothing()
		},
	},
	{
		name:     "The token endpoint takes 10 s, and the token is still good",
		required: "one call, and callers do not wait for it",
		short:    []combination{sqliteRotates, threeRotate}, // on a machine that does much else, 3 s are soon over
		run:      slowBehind(10 * time.Second),
	},
	{
		name:     "The token endpoint takes 3 s, and the token is still good",
		required: "one call, and callers do not wait for it",
		run:      slowBehind(3 * time.Second),
	},
	{
		name:     "64 callers at once find the token ended",
		required: "one call, no invalid_grant, and everybody gets its token",
		short:    []combination{threeRotate},
		run: func(t *testing.T, f *fleet) {
			f.connect(brief)
			time.Sleep(afterBrief)
			for _, a := range f.askTogether(64) {
				a.ran(t, "user", "alice")
			}
			f.called(1, 0)
			f.hasLostNothing()
		},
	},
	lostAnswer("The answer comes byte by byte", 40*time.Second, func(f *fleet) { f.front.set(answersTrickle) }),
	lostAnswer("The answer is lost after the provider acted", 20*time.Second, func(f *fleet) { f.front.set(answersLost) }),
	lostAnswer("The answer breaks off in the middle", 20*time.Second, func(f *fleet) { f.front.set(answersHalved) }),
	lostAnswer("The answer has 10 MB", 20*time.Second, levered(idp.Fault{Padding: 10 << 20})),
	{
		name:     "The connection is closed before the provider acted",
		required: "the held token serves to its end; then one try, which heals: nothing is lost",
		run: func(t *testing.T, f *fleet) {
			f.connect(20 * time.Second)
			end := time.Now().Add(20 * time.Second)
			f.provider.SetFault(idp.Token, idp.Fault{DropBefore: true, Grant: "refresh_token", Times: 1})
			if err := <-f.refreshAt(0); err == nil {
				t.Error("a refresh without an answer succeeds")
			}
			f.is("unknown_outcome")
			f.servesEverywhere()
			f.called(1, 0)
			time.Sleep(time.Until(end))
			f.recovers()
			f.called(2, 0)
			f.hasLostNothing()
		},
	},
	{
		name:     "kill -9 between the intent and the call",
		required: "nothing is lost, and the status is right",
		run: func(t *testing.T, f *fleet) {
			f.connect(time.Hour)
			f.killedDuring(requestsHeld, func() {})
			f.called(0, 0)
			f.servesEverywhere()
			f.hasLostNothing()
		},
	},
	{
		name:     "kill -9 between the provider's act and its answer",
		required: "the held token serves; then one try: it heals, or is unknown_outcome and never revoked",
		run: func(t *testing.T, f *fleet) {
			f.connect(20 * time.Second)
			end := time.Now().Add(20 * time.Second)
			f.killedDuring(answersHeld, f.providerActed)
			f.servesEverywhere()
			f.called(1, 0)
			time.Sleep(time.Until(end))
			f.outcomeIsKnown()
		},
	},
	{
		name:     "kill -9 once the intent is committed",
		required: "nothing is lost, and the status is right",
		run: func(t *testing.T, f *fleet) {
			f.connect(time.Hour)
			f.killedAt(connectedapps.AfterIntent)
			f.called(0, 0)
			f.servesEverywhere()
			f.hasLostNothing()
		},
	},
	{
		name:     "kill -9 once the request has left",
		required: "the provider saw it, and it is as if its answer were lost; or not, and nothing is lost; never revoked",
		run: func(t *testing.T, f *fleet) {
			f.connect(20 * time.Second)
			end := time.Now().Add(20 * time.Second)
			f.killedAt(connectedapps.AfterRequest)
			f.servesEverywhere()
			time.Sleep(time.Until(end))
			if calls, _ := f.refreshes(); calls > 0 {
				f.outcomeIsKnown()
				return
			}
			f.recovers()
			f.called(1, 0)
			f.hasLostNothing()
		},
	},
	{
		name:     "kill -9 once the answer is received",
		required: "the held token serves; then one try: it heals, or is unknown_outcome and never revoked",
		run: func(t *testing.T, f *fleet) {
			f.connect(20 * time.Second)
			end := time.Now().Add(20 * time.Second)
			f.killedAt(connectedapps.AfterAnswer)
			f.servesEverywhere()
			f.called(1, 0)
			time.Sleep(time.Until(end))
			f.outcomeIsKnown()
		},
	},
	{
		name:     "kill -9 once the answer is in the journal, because the database is away",
		required: "one call; the next start stores it; nothing is lost",
		only:     onPostgres,
		short:    []combination{postgresRotates},
		run: func(t *testing.T, f *fleet) {
			f.connect(time.Hour)
			f.atFailpoint(0, connectedapps.AfterAnswer, "hold")
			f.atFailpoint(0, connectedapps.AfterJournal, "kill")
			done := f.refreshAt(0)
			f.reached(0, connectedapps.AfterAnswer)
			f.database(false)
			f.release(0, connectedapps.AfterAnswer)
			f.replicas[0].await("to be killed by itself")
			<-done
			if f.keepJournal() == 0 {
				t.Error("the journal is empty")
			}
			f.database(true)
			f.replicas[0].start()
			f.called(1, 0)
			f.hasLostNothing()
		},
	},
	{
		name:     "kill -9 once the answer is committed",
		required: "one call, and nothing is lost",
		short:    []combination{sqliteRotates},
		run: func(t *testing.T, f *fleet) {
			f.connect(time.Hour)
			f.killedAt(connectedapps.AfterCommit)
			f.called(1, 0)
			f.is("active")
			f.servesEverywhere()
			f.hasLostNothing()
		},
	},
	{
		name:     "The holder of the lease is frozen for 60 s before its call, and others need the token",
		required: "the others refresh; it does not send the old token when it goes on; nothing is lost",
		only:     several,
		run: func(t *testing.T, f *fleet) {
			f.connect(45 * time.Second)
			f.atFailpoint(0, connectedapps.AfterIntent, "freeze")
			done := f.refreshAt(0)
			f.reached(0, connectedapps.AfterIntent)
			time.Sleep(50 * time.Second)
			for i := range f.replicas[1:] {
				f.ask(i+1).ran(t, "user", "alice")
			}
			f.called(1, 0)
			time.Sleep(10 * time.Second)
			f.replicas[0].resume()
			<-done
			time.Sleep(time.Second) // in which it could send
			f.called(1, 0)
			f.hasLostNothing()
		},
	},
	{
		name:     "The holder of the lease is frozen for 60 s with the answer in its hands, and others need the token",
		required: "its late write is refused by the fence and its token adopted; a provider that notices reuse has ended the grant by then",
		only:     several,
		run: func(t *testing.T, f *fleet) {
			f.connect(45 * time.Second)
			f.atFailpoint(0, connectedapps.AfterAnswer, "freeze")
			done := f.refreshAt(0)
			f.reached(0, connectedapps.AfterAnswer)
			f.whileFrozen(done)
			f.adoptedOrEnded()
		},
	},
	{
		name:     "The holder of the lease is frozen for 20 s while the answer arrives",
		required: "one call, and its token is stored when it goes on",
		run: func(t *testing.T, f *fleet) {
			f.connect(time.Hour)
			done := f.frozenWithAnswer()
			time.Sleep(20 * time.Second)
			for i := range f.replicas[1:] {
				f.ask(i+1).ran(t, "user", "alice")
			}
			f.replicas[0].resume()
			f.must(<-done)
			f.called(1, 0)
			f.hasLostNothing()
		},
	},
	{
		name:     "The holder of the lease is frozen for 60 s while the answer arrives, and others need the token",
		required: "its late write is refused by the fence and its token adopted; a provider that notices reuse has ended the grant by then",
		only:     several,
		run: func(t *testing.T, f *fleet) {
			f.connect(45 * time.Second)
			done := f.frozenWithAnswer()
			f.whileFrozen(done)
			f.adoptedOrEnded()
		},
	},
	{
		name:     "The only process is frozen for 60 s while the answer arrives",
		required: "it finds the answer, or says that it is lost; never revoked",
		only:     func(c combination) bool { return c.replicas == 1 },
		run: func(t *testing.T, f *fleet) {
			f.connect(45 * time.Second)
			done := f.frozenWithAnswer()
			time.Sleep(60 * time.Second)
			f.replicas[0].resume()
			<-done // or our own patience ended
			f.storedOrKnown()
		},
	},
	{
		name:     "The provider refuses the grant",
		required: "revoked after one call, and none follows",
		short:    []combination{threeRotate},
		run: func(t *testing.T, f *fleet) {
			f.connect(brief)
			f.provider.RevokeGrants("alice")
			time.Sleep(afterBrief)
			for _, a := range f.askTogether(6) {
				a.refused(t, http.StatusForbidden, "reauthorization_required")
			}
			f.called(1, 1)
			f.mustReauthorize(false, "revoked")
		},
	},
	{
		name:     "The provider refuses the app",
		required: "the app is broken and alice is not; right credentials bring it back",
		run: func(t *testing.T, f *fleet) {
			f.connect(brief)
			wrong := f.clientSecret
			f.clientSecret = secret.New(rand.Text())
			f.evidence.own.add("client secret", wrong)
			f.register(f.provider, fleetApp)
			time.Sleep(afterBrief)
			for _, a := range f.askTogether(6) {
				a.refused(t, http.StatusServiceUnavailable, "invalid_client")
			}
			f.is("active", "refresh_failing")
			f.write("client-secret", f.clientSecret.Reveal())
			f.restart()
			f.hasLostNothing()
		},
	},
	{
		name:     "Everything was down, and 150 tokens are due",
		required: fmt.Sprintf("one call each, before it ends, %d in a second; nothing is lost", perSecond),
		run:      everythingWasDown(150),
	},
	{
		name:     "The token endpoint answers 503 for 45 s, and 30 tokens are due",
		required: "the breaker lets 5 calls and 2 probes by, and what was on its way; nobody is disconnected; all are refreshed after it",
		run:      awayForACrowd(30),
	},
	sick("The token endpoint refuses connections", func(f *fleet) { f.front.down() }, func(f *fleet) { f.front.up() }),
	sicken("The token endpoint's certificate is nobody's", (*fleet).overTLS),
	sick("The token endpoint answers 503", levered(idp.Fault{Status: 503}), (*fleet).well),
	sick("The token endpoint answers 429 with Retry-After", levered(idp.Fault{Status: 429, RetryAfter: 20 * time.Second}), (*fleet).well),
	sick("The token endpoint answers HTML", levered(idp.Fault{HTML: true, Status: 200}), (*fleet).well),
	sick("The token endpoint answers an error that nobody knows", levered(idp.Fault{Status: 400, Error: "temporarily_sulking"}), (*fleet).well),
	{
		name:     "The database is away before the call",
		required: "no call; the good token serves from memory",
		short:    []combination{sqliteRotates},
		run: func(t *testing.T, f *fleet) {
			f.connect(time.Hour)
			f.servesEverywhere()
			time.Sleep(believed)
			f.database(false)
			done := f.refreshAt(0)
			for i := range f.replicas {
				f.ask(i).ran(t, "user", "alice")
			}
			if err := <-done; err == nil {
				t.Error("a refresh without an intent succeeds")
			}
			f.called(0, 0)
			f.database(true)
			f.hasLostNothing()
		},
	},
	{
		name:     "The database is read-only before the call",
		required: "no call; the good token serves",
		only:     onPostgres,
		run: func(t *testing.T, f *fleet) {
			f.connect(time.Hour)
			f.servesEverywhere()
			f.readOnly(true)
			if err := <-f.refreshAt(0); err == nil {
				t.Error("a refresh without an intent succeeds")
			}
			f.servesEverywhere()
			f.called(0, 0)
			f.readOnly(false)
			f.hasLostNothing()
		},
	},
	{
		name:     "The database goes away between the provider's act and the commit",
		required: "the new token serves from memory, and is stored when the database is back",
		short:    []combination{postgresRotates},
		run: func(t *testing.T, f *fleet) {
			f.connect(time.Hour)
			f.servesEverywhere()
			f.front.set(answersHeld)
			done := f.refreshAt(0)
			f.providerActed()
			f.database(false)
			f.front.set(none)
			time.Sleep(3 * time.Second)
			f.database(true)
			<-done
			f.called(1, 0)
			f.hasLostNothing()
		},
	},
	{
		name:     "The provider's clock is 5 min ahead",
		required: "as if it were right",
		run:      clock(5 * time.Minute),
	},
	{
		name:     "The provider's clock is 5 min behind",
		required: "as if it were right",
		run:      clock(-5 * time.Minute),
	},
	{
		name:     "The provider's clock steps back an hour",
		required: "as if it were right",
		run:      clock(-time.Hour),
	},
}

// result is what became of a row in one combination.
type result struct {
	calls, refused, lost int
	statuses             []string
	held                 bool
	took                 time.Duration
}

// String is how the table shows it.
func (r result) String() string {
	verdict := "✓"
	if !r.held {
		verdict = "✗"
	}
	return fmt.Sprintf("%s %d · %d · %d %s", verdict, r.calls, r.refused, r.lost, strings.Join(r.statuses, " → "))
}

func (f *fleet) result() (r result) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.calls, r.refused = f.mark.calls, f.mark.refused; !f.mark.done {
		r.calls, r.refused = f.refreshes()
	}
	r.lost, r.statuses, r.held = f.lost, slices.Clone(f.statuses), !f.t.Failed()
	return r
}

// TestTheFaultMatrix runs the rows of the fault matrix: all of them in all combinations with -whole-matrix, otherwise
// those that are short. The processes are real ones, and so are the ways in which they end.
func TestTheFaultMatrix(t *testing.T) {
	box := startSandbox(t)
	var mu sync.Mutex
	results := map[string]map[combination]result{}
	t.Run("rows", func(t *testing.T) {
		for _, row := range slices.Backward(faultMatrix) { // go test begins with the parallel tests that came last
			results[row.name] = map[combination]result{}
			for _, c := range combinations {
				if row.only != nil && !row.only(c) || !*wholeMatrix && !slices.Contains(row.short, c) {
					continue
				}
				t.Run(row.name+"/"+c.String(), func(t *testing.T) {
					t.Parallel()
					began := time.Now()
					f := newFleet(t, box, c)
					defer func() {
						r := f.result()
						r.took = time.Since(began)
						mu.Lock()
						defer mu.Unlock()
						results[row.name][c] = r
					}()
					row.run(t, f)
				})
			}
		}
	})
	if !*wholeMatrix {
		return
	}
	table := matrixTable(results)
	fmt.Print(table)
	if *updateMatrix && !t.Failed() {
		writeMatrix(t, table)
	}
}

// matrixTable is the matrix as people read it.
func matrixTable(results map[string]map[combination]result) string {
	var b strings.Builder
	b.WriteString("| fault | required |")
	for _, c := range combinations {
		fmt.Fprintf(&b, " %s |", c)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(combinations)) + "\n")
	for _, row := range faultMatrix {
		fmt.Fprintf(&b, "| %s | %s |", row.name, row.required)
		for _, c := range combinations {
			if r, ok := results[row.name][c]; ok {
				fmt.Fprintf(&b, " %s |", r)
			} else {
				b.WriteString(" – |")
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// The table stands between these lines of docs/reliability.md.
const (
	matrixBegins = "<!-- the fault matrix, written by make reliability -->\n"
	matrixEnds   = "<!-- the end of the fault matrix -->\n"
)

func writeMatrix(t *testing.T, table string) {
	t.Helper()
	name := filepath.Join(root, "docs/reliability.md")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(text), matrixBegins)
	_, after, ok2 := strings.Cut(rest, matrixEnds)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no place for the table", name)
	}
	if err := os.WriteFile(name, []byte(before+matrixBegins+"\n"+table+"\n"+matrixEnds+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The page shows the rows that there are: a row that was changed must be run again.
func TestTheDocumentedMatrixHasTheseRows(t *testing.T) {
	_, rest, _ := strings.Cut(documents(t)["docs/reliability.md"], matrixBegins)
	table, _, ok := strings.Cut(rest, matrixEnds)
	if !ok {
		t.Fatal("docs/reliability.md has no place for the table")
	}
	var got, want []string
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, " | "); len(cells) == 2+len(combinations) {
			got = append(got, strings.TrimPrefix(cells[0], "| ")+": "+cells[1])
		}
	}
	want = append(want, "fault: required")
	for _, row := range faultMatrix {
		want = append(want, row.name+": "+row.required)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("run: make reliability UPDATE=1\n%s", diff)
	}
	if strings.Contains(table, "✗") {
		t.Error("the table has a row that does not hold")
	}
}
