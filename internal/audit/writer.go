package audit

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/id"
)

// Bounds of the group commit. What a process that is killed loses is what it accepted within the last groupWait.
const (
	groupWait     = 50 * time.Millisecond // between a record and the commit that holds it, at most, while the store answers
	groupSize     = 1000                  // records in one commit
	maxWaiting    = 10_000                // records that are accepted and not yet committed
	retryPause    = 250 * time.Millisecond
	appendTimeout = 10 * time.Second // of one commit, and of all that is left at the end
)

// DefaultCheckpoint is how often a writer writes a checkpoint, if there is something to remember.
const DefaultCheckpoint = time.Minute

// Store is where a Writer commits. sqlstore.Audit is one.
type Store interface {
	// Append adds the entries in one transaction, in their order. An entry whose id is stored already is left out, so
	// that whoever did not hear the answer may ask again.
	Append(ctx context.Context, entries []Entry) error

	// Checkpoint writes the ends of the other chains into this process's own, and this one's to the log, if anything
	// but checkpoints was recorded since.
	Checkpoint(ctx context.Context) error
}

// WriterConfig is what a Writer needs. Store is required.
type WriterConfig struct {
	Store      Store
	Checkpoint time.Duration    // between checkpoints; default DefaultCheckpoint
	Log        *zap.Logger      // default: no logging
	Now        func() time.Time // default: time.Now
}

// Writer records acts that change nothing else, many in one commit. It is safe for concurrent use.
//
// Whoever is to hand something out records it first, and hands out nothing when that fails: the Writer refuses while
// the store does not take what it was given before, and when too much waits.
type Writer struct {
	cfg     WriterConfig
	queue   chan waiting
	failing atomic.Bool
	errors  atomic.Uint64 // commits that failed

	mu      sync.RWMutex // held to read while something is put into the queue, so that nothing comes after the last look
	stopped bool
}

// waiting is an entry that was accepted. done, unless nil, is told when it is committed.
type waiting struct {
	entry Entry
	done  chan error
}

// NewWriter returns a Writer over cfg. Nothing is committed until Run.
func NewWriter(cfg WriterConfig) *Writer {
	if cfg.Checkpoint <= 0 {
		cfg.Checkpoint = DefaultCheckpoint
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Writer{cfg: cfg, queue: make(chan waiting, maxWaiting)}
}

// Record accepts e, which will be committed within 50 ms. It never waits. It fails with fault.Unavailable, code
// audit_unavailable, when records cannot be written: then the act must not happen.
func (w *Writer) Record(_ context.Context, e Entry) error {
	return w.accept(waiting{entry: w.complete(e)})
}

// Durable is Record that returns when e is committed: a kill of the process does not lose it.
func (w *Writer) Durable(ctx context.Context, e Entry) error {
	done := make(chan error, 1)
	if err := w.accept(waiting{w.complete(e), done}); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fault.Wrap(fault.Canceled, context.Cause(ctx), "The caller left before the act was recorded.")
	}
}

// complete gives e its id and time: those of the act, not of the commit.
func (w *Writer) complete(e Entry) Entry {
	now := w.cfg.Now()
	if e.At.IsZero() {
		e.At = now
	}
	if e.ID == "" {
		e.ID = id.New(id.Audit, now)
	}
	return e
}

func (w *Writer) accept(p waiting) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	switch {
	case p.entry.Action == "":
		return fault.New(fault.Invalid, "An act without an audit entry is refused.")
	case w.stopped:
		return unavailable("The server is stopping.", nil)
	case w.failing.Load():
		return unavailable("The audit log cannot be written, and what is not recorded is not done. See the server's log.", nil)
	}
	select {
	case w.queue <- p:
		return nil
	default:
		return unavailable("More happens than the audit log takes, and what is not recorded is not done.", nil)
	}
}

func unavailable(detail string, cause error) error {
	return &fault.Error{
		Kind: fault.Unavailable, Code: "audit_unavailable", Owner: fault.Admin, RetryAfter: time.Second, Detail: detail, Err: cause,
	}
}

// Errors returns how many commits have failed. Each was tried again.
func (w *Writer) Errors() uint64 { return w.errors.Load() }

// Run commits until ctx is done; then it refuses new records, commits those it has accepted, writes a last checkpoint
// and returns nil.
func (w *Writer) Run(ctx context.Context) error {
	checkpoint := time.NewTicker(w.cfg.Checkpoint)
	defer checkpoint.Stop()
	for {
		select {
		case <-ctx.Done():
			w.stop(ctx)
			return nil
		case <-checkpoint.C:
			w.checkpoint(ctx)
		case first := <-w.queue:
			w.commit(ctx, w.group(ctx, first))
		}
	}
}

// group collects what comes after first until somebody waits for it, its time is over, or it is large enough.
func (w *Writer) group(ctx context.Context, first waiting) []waiting {
	group := append(make([]waiting, 0, 64), first)
	timer := time.NewTimer(groupWait)
	defer timer.Stop()
	for hurry := first.done != nil; len(group) < groupSize; {
		if hurry { // what is there already goes along
			select {
			case p := <-w.queue:
				group = append(group, p)
				continue
			default:
				return group
			}
		}
		select {
		case p := <-w.queue:
			group = append(group, p)
			hurry = p.done != nil
		case <-timer.C:
			return group
		case <-ctx.Done():
			return group
		}
	}
	return group
}

// commit commits a group, however long that takes. As long as it fails nothing more is accepted, so that what waits is
// bounded, and nothing is handed out that is not recorded. When ctx ends first, the group is tried once more.
func (w *Writer) commit(ctx context.Context, group []waiting) {
	for {
		err := w.append(context.WithoutCancel(ctx), group)
		if err == nil {
			if w.failing.CompareAndSwap(true, false) {
				w.cfg.Log.Info("audit log written again", zap.Int("records", len(group)))
			}
			return
		}
		if w.failing.CompareAndSwap(false, true) {
			w.cfg.Log.Error("audit log not written: nothing is handed out until it is", zap.Int("records", len(group)), zap.Error(err))
		}
		refuse(group, err) // who waits hears of it, though the record may still be written
		select {
		case <-ctx.Done():
			if err := w.append(context.WithoutCancel(ctx), group); err != nil {
				w.lost(len(group), err)
			}
			return
		case <-time.After(retryPause):
		}
	}
}

// append commits a group once.
func (w *Writer) append(ctx context.Context, group []waiting) error {
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	entries := make([]Entry, len(group))
	for i, p := range group {
		entries[i] = p.entry
	}
	if err := w.cfg.Store.Append(ctx, entries); err != nil {
		w.errors.Add(1)
		return err
	}
	for _, p := range group {
		if p.done != nil {
			p.done <- nil
		}
	}
	return nil
}

// refuse tells those who wait for a record of group that it could not be written.
func refuse(group []waiting, cause error) {
	for i, p := range group {
		if p.done != nil {
			p.done <- unavailable("The audit log cannot be written, and what is not recorded is not done.", cause)
			group[i].done = nil
		}
	}
}

// stop accepts nothing more and commits what is left, within the time of one commit.
func (w *Writer) stop(ctx context.Context) {
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), appendTimeout)
	defer cancel()
	var left []waiting
	for len(w.queue) > 0 { // nobody else takes from it
		left = append(left, <-w.queue)
	}
	for group := range slices.Chunk(left, groupSize) {
		if err := w.append(ctx, group); err != nil {
			refuse(group, err)
			w.lost(len(group), err)
		}
	}
	w.checkpoint(ctx)
}

func (w *Writer) checkpoint(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	if err := w.cfg.Store.Checkpoint(ctx); err != nil {
		w.cfg.Log.Warn("audit checkpoint not written", zap.Error(err))
	}
}

func (w *Writer) lost(records int, cause error) {
	w.cfg.Log.Error("audit records lost: the store did not take them before the end", zap.Int("records", records), zap.Error(cause))
}
