package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/behalf-project/behalf/internal/fault"
)

// memory is a Store that can be down, slow, and bad at answering.
type memory struct {
	mu          sync.Mutex
	commits     [][]Entry
	checkpoints int
	fail        error
	failAfter   bool // it commits, and fails all the same
	delay       time.Duration
}

func (m *memory) Append(ctx context.Context, entries []Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	time.Sleep(m.delay)
	if m.fail != nil && !m.failAfter {
		return m.fail
	}
	known := map[string]bool{}
	for _, c := range m.commits {
		for _, e := range c {
			known[e.ID] = true
		}
	}
	m.commits = append(m.commits, slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool { return known[e.ID] }))
	return m.fail
}

func (m *memory) Checkpoint(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.checkpoints++
	return nil
}

func (m *memory) set(fail error, after bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail, m.failAfter = fail, after
}

func (m *memory) state() (commits, records, checkpoints int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.commits {
		records += len(c)
	}
	return len(m.commits), records, m.checkpoints
}

// started runs a Writer over m inside a bubble. stop ends it and waits.
func started(t *testing.T, m *memory, log *zap.Logger) (w *Writer, stop func()) {
	t.Helper()
	w = NewWriter(WriterConfig{Store: m, Log: log})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	return w, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	}
}

func read(object string) Entry {
	return Entry{Actor: "usr_1", Action: AdminRead, Object: object, Outcome: "ok"}
}

func refusedUnavailable(t *testing.T, err error) {
	t.Helper()
	if e, ok := errors.AsType[*fault.Error](err); !ok || e.Kind != fault.Unavailable || e.Code != "audit_unavailable" || e.RetryAfter <= 0 {
		t.Errorf("Record = %v, want audit_unavailable with a time to try again", err)
	}
}

func TestRecordsAreCommittedTogetherWithinFiftyMilliseconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		w, stop := started(t, m, nil)
		for i := range 10 {
			if err := w.Record(t.Context(), read(fmt.Sprint(i))); err != nil {
				t.Fatalf("Record = %v, want no error", err)
			}
			time.Sleep(4 * time.Millisecond)
		}
		time.Sleep(5 * time.Millisecond)
		synctest.Wait()
		if commits, records, _ := m.state(); commits != 0 || records != 0 {
			t.Errorf("%d commits of %d records after 45 ms, want none yet", commits, records)
		}
		time.Sleep(5 * time.Millisecond)
		synctest.Wait()
		if commits, records, _ := m.state(); commits != 1 || records != 10 {
			t.Errorf("%d commits of %d records after 50 ms, want one of 10", commits, records)
		}
		for i, e := range m.commits[0] {
			if e.Object != fmt.Sprint(i) || e.ID == "" || e.At.IsZero() {
				t.Errorf("entry %d is %+v, want them in their order, with id and time", i, e)
			}
		}
		stop()
	})
}

func TestAThousandRecordsDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		w, stop := started(t, m, nil)
		for range groupSize + 1 {
			if err := w.Record(t.Context(), read("x")); err != nil {
				t.Fatalf("Record = %v, want no error", err)
			}
		}
		synctest.Wait()
		if commits, records, _ := m.state(); commits != 1 || records != groupSize {
			t.Errorf("%d commits of %d records at once, want one of %d", commits, records, groupSize)
		}
		stop()
		if _, records, _ := m.state(); records != groupSize+1 {
			t.Errorf("%d records at the end, want %d", records, groupSize+1)
		}
	})
}

func TestDurableReturnsWhenTheRecordIsCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{delay: 3 * time.Millisecond}
		w, stop := started(t, m, nil)
		began := time.Now()
		if err := w.Durable(t.Context(), read("x")); err != nil {
			t.Errorf("Durable = %v, want no error", err)
		}
		if _, records, _ := m.state(); records != 1 || time.Since(began) != 3*time.Millisecond {
			t.Errorf("Durable returned after %v with %d records, want it to wait for the commit and no longer", time.Since(began), records)
		}
		m.set(errors.New("disk full"), false)
		refusedUnavailable(t, w.Durable(t.Context(), read("y")))
		m.set(nil, false)
		stop()
	})
}

func TestWhatCannotBeRecordedIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logged := observer.New(zap.InfoLevel)
		m := &memory{}
		w, stop := started(t, m, zap.New(core))
		m.set(errors.New("disk full"), false)
		if err := w.Record(t.Context(), read("accepted before it is known")); err != nil {
			t.Errorf("Record = %v, want no error", err)
		}
		time.Sleep(groupWait)
		synctest.Wait()
		for range maxWaiting { // more would be accepted now than the queue holds, if any were
			refusedUnavailable(t, w.Record(t.Context(), read("refused")))
			if t.Failed() {
				break
			}
		}
		m.set(nil, false)
		time.Sleep(retryPause)
		synctest.Wait()
		if err := w.Record(t.Context(), read("accepted again")); err != nil {
			t.Errorf("Record = %v after the store is back, want no error", err)
		}
		stop()
		if _, records, _ := m.state(); records != 2 {
			t.Errorf("%d records, want the two that were accepted", records)
		}
		if n := logged.FilterLevelExact(zap.ErrorLevel).Len(); n != 1 {
			t.Errorf("%d errors in the log, want one", n)
		}
	})
}

func TestAFullQueueIsRefused(t *testing.T) {
	w := NewWriter(WriterConfig{Store: &memory{}}) // nothing runs
	for i := range maxWaiting {
		if err := w.Record(t.Context(), read("x")); err != nil {
			t.Fatalf("record %d: %v, want no error", i, err)
		}
	}
	refusedUnavailable(t, w.Record(t.Context(), read("x")))
	if err := w.Record(t.Context(), Entry{}); !errors.Is(err, fault.Invalid) {
		t.Errorf("Record of nothing = %v, want invalid", err)
	}
}

func TestARecordWhoseCommitGotNoAnswerIsWrittenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		w, stop := started(t, m, nil)
		m.set(errors.New("connection reset"), true)
		if err := w.Record(t.Context(), read("x")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(groupWait)
		synctest.Wait()
		m.set(nil, false)
		time.Sleep(retryPause)
		synctest.Wait()
		stop()
		if _, records, _ := m.state(); records != 1 {
			t.Errorf("%d records, want one", records)
		}
	})
}

func TestRunCommitsWhatItAcceptedBeforeItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		w, stop := started(t, m, nil)
		var accepted int
		var wg sync.WaitGroup
		var mu sync.Mutex
		for range 64 {
			wg.Go(func() {
				for w.Record(t.Context(), read("x")) == nil {
					mu.Lock()
					accepted++
					mu.Unlock()
					time.Sleep(time.Millisecond)
				}
			})
		}
		time.Sleep(120 * time.Millisecond)
		stop()
		wg.Wait()
		if _, records, checkpoints := m.state(); records != accepted || checkpoints == 0 {
			t.Errorf("%d records of %d accepted, %d checkpoints, want all of them and a last checkpoint", records, accepted, checkpoints)
		}
		refusedUnavailable(t, w.Record(t.Context(), read("late")))
	})
}

func TestRunEndsThoughTheStoreDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logged := observer.New(zap.InfoLevel)
		m := &memory{}
		w, stop := started(t, m, zap.New(core))
		m.set(errors.New("disk full"), false)
		for range 3 {
			if err := w.Record(t.Context(), read("x")); err != nil {
				t.Fatal(err)
			}
		}
		stop()
		var lost int64 // in one line or more, by how they were grouped when the end came
		for _, line := range logged.FilterMessageSnippet("lost").All() {
			lost += line.ContextMap()["records"].(int64)
		}
		if lost != 3 {
			t.Errorf("the log tells of %d lost records, want 3: %v", lost, logged.All())
		}
	})
}

func TestCheckpointsComeEveryMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		_, stop := started(t, m, nil)
		time.Sleep(5*time.Minute + time.Second)
		synctest.Wait()
		if _, _, n := m.state(); n != 5 {
			t.Errorf("%d checkpoints were asked for in five minutes, want 5", n)
		}
		stop()
	})
}

// nowhere takes everything at once.
type nowhere struct{}

func (nowhere) Append(context.Context, []Entry) error { return nil }
func (nowhere) Checkpoint(context.Context) error      { return nil }

// BenchmarkAccept is what a hand-out pays for its record, at 64 callers, when the store keeps up.
func BenchmarkAccept(b *testing.B) {
	w := NewWriter(WriterConfig{Store: nowhere{}})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	e := Entry{Actor: "usr_1", Action: AdminRead, Object: "con_1", Outcome: "ok", Detail: map[string]string{"oauth_app": "databricks"}}
	b.ReportAllocs()
	b.SetParallelism(32) // times the processors
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			for w.Record(ctx, e) != nil { // faster than anything that is handed out
				time.Sleep(time.Millisecond)
			}
		}
	})
	stop()
	<-ended
}
