// Package journal keeps what must not be lost while the database is down: refreshed tokens, whose predecessors the
// authorization server no longer takes.
//
// A journal is a folder. Each process has one file of its own there, which it alone writes, under a lock of the
// operating system:
//
//	Append ──▶ sealed, written, fsynced ──▶ pending ──▶ Done, once the database has it
//
// When Append returns nil, the record survives the end of the process and of the machine. The next process that opens
// the folder takes over the files of those that are gone, with what is pending in them. Files of processes that live are
// left to them.
//
// Records rest sealed (internal/secret), bound to their id and owner: a copy of the folder is worth nothing without the
// keys, and a record that somebody gave another id or owner does not open.
package journal

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/filelock"
	"github.com/behalf-project/behalf/internal/id"
	"github.com/behalf-project/behalf/internal/secret"
)

// Sealer seals a secret for its place, and opens it there again. A *secret.Keyring is one.
type Sealer interface {
	Seal(plain secret.Text, p secret.Place) ([]byte, error)
	Open(sealed []byte, p secret.Place) (secret.Text, error)
}

// Config is what Open needs. Dir and Sealer are required.
type Config struct {
	Dir      string // made if it is missing, for its owner only
	Sealer   Sealer
	MaxBytes int64       // of this process's file; default 64 MiB
	Log      *zap.Logger // default: no logging
}

// Record is one thing to keep.
type Record struct {
	ID      string // names it, such as a grant and the fence of its refresh; a newer record with the same ID takes its place
	Owner   string // whose it is, such as a Principal.Key; authenticated with the payload
	Payload secret.Text
}

// Journal is an open journal. It is safe for concurrent use.
type Journal struct {
	cfg Config

	gone []string // whose files were taken over

	mu      sync.Mutex
	own     *file
	files   []*file           // own, and those taken over that still hold something
	pending map[string]*entry // by Record.ID
	seq     int64             // of the newest record
	closed  bool
}

// entry is a pending record, still sealed, and the file that holds it.
type entry struct {
	record
	in *file
}

// file is a file of the journal that this process has the lock of.
type file struct {
	f       *os.File
	path    string
	unlock  func() error
	size    int64
	pending int
	damaged bool // it was renamed, and is not removed
	spoilt  bool // something half written may follow size
}

const (
	suffix   = ".journal"
	maxBytes = 64 << 20
)

// Open opens the journal in a folder and takes over what processes that are gone left there. It fails with
// fault.Unavailable when the folder cannot be written: who cannot keep a rotated token must not ask for one.
func Open(cfg Config) (*Journal, error) {
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = maxBytes
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	j := &Journal{cfg: cfg, pending: map[string]*entry{}}
	err := os.MkdirAll(cfg.Dir, 0o700)
	if err == nil {
		j.own, err = create(filepath.Join(cfg.Dir, id.Random(8)+suffix))
	}
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "The journal %s cannot be written. Check that the folder exists and who owns it, or set store.journal.", cfg.Dir)
	}
	j.files = []*file{j.own}
	paths, err := filepath.Glob(filepath.Join(cfg.Dir, "*"+suffix)) // sorted
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	for _, path := range paths {
		if path == j.own.path {
			continue
		}
		if err := j.takeOver(path); err != nil {
			return nil, errors.Join(fault.Wrap(fault.Unavailable, err, "The file %s of the journal cannot be read. Check who owns it.", path), j.Close())
		}
	}
	return j, nil
}

// create makes a new file with its lock, on disk before it returns.
func create(path string) (*file, error) {
	unlock, err := filelock.Lock(path + ".lock")
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return nil, errors.Join(err, unlock())
	}
	_, err = f.WriteString(header)
	if err = errors.Join(err, f.Sync(), syncDir(filepath.Dir(path))); err != nil {
		return nil, errors.Join(err, f.Close(), unlock())
	}
	return &file{f: f, path: path, unlock: unlock, size: int64(len(header))}, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// takeOver reads a file that another process left, unless that process lives.
func (j *Journal) takeOver(path string) error {
	unlock, err := filelock.Lock(path + ".lock")
	if errors.Is(err, filelock.ErrLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0o600)
	if errors.Is(err, os.ErrNotExist) { // its process has just ended and removed it
		return errors.Join(unlock(), remove(path+".lock"))
	}
	if err != nil {
		return errors.Join(err, unlock())
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close(), unlock())
	}
	content := make([]byte, min(info.Size(), 2*maxBytes))
	if _, err := f.ReadAt(content, 0); err != nil && len(content) > 0 {
		return errors.Join(err, f.Close(), unlock())
	}
	j.gone = append(j.gone, processOf(path))
	records, good, err := decode(content)
	taken := &file{f: f, path: path, unlock: unlock, size: int64(good)}
	switch {
	case errors.Is(err, errTorn):
		// Its Append never returned: nobody was told that the record is safe.
		j.cfg.Log.Warn("the last record of a journal was being written when its process ended", zap.String("file", path))
		if err := errors.Join(f.Truncate(int64(good)), f.Sync()); err != nil {
			return errors.Join(err, f.Close(), unlock())
		}
	case err != nil:
		// What can be read is saved; the file stays for a person to look at.
		j.cfg.Log.Error("a file of the journal is damaged; it is kept", zap.String("file", path+".damaged"), zap.Error(err))
		if err := os.Rename(path, path+".damaged"); err != nil {
			return errors.Join(err, f.Close(), unlock())
		}
		taken.damaged = true
	}
	j.files = append(j.files, taken)
	for _, r := range records {
		switch e := j.pending[r.ID]; {
		case !r.Done:
			j.keep(r, taken)
		case e != nil && e.in == taken: // it is about the record of its own file
			j.drop(r.ID)
		}
	}
	if taken.pending == 0 {
		return j.release(taken)
	}
	j.cfg.Log.Info("journal taken over", zap.String("file", path), zap.Int("records", taken.pending))
	return nil
}

// keep makes r the pending record of its id, unless there is a newer one: files are taken over in any order.
func (j *Journal) keep(r record, in *file) {
	j.seq = max(j.seq, r.Seq)
	if old := j.pending[r.ID]; old != nil && old.Seq > r.Seq {
		return
	}
	j.drop(r.ID)
	j.pending[r.ID] = &entry{r, in}
	in.pending++
}

// drop forgets the pending record of an id and returns the file that held it, nil when there is none.
func (j *Journal) drop(id string) *file {
	e := j.pending[id]
	if e == nil {
		return nil
	}
	delete(j.pending, id)
	e.in.pending--
	return e.in
}

// Append seals r and keeps it. When it returns nil, r is on disk. It fails with fault.Unavailable when it cannot be kept;
// then it is not.
func (j *Journal) Append(r Record) error {
	sealed, err := j.cfg.Sealer.Seal(r.Payload, place(r.ID, r.Owner))
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	rec := record{ID: r.ID, Seq: j.seq + 1, Owner: r.Owner, Sealed: sealed}
	if err := j.write(j.own, rec); err != nil {
		return err
	}
	old := j.drop(r.ID)
	j.keep(rec, j.own)
	if old != nil && old.pending == 0 && old != j.own {
		return j.release(old)
	}
	return nil
}

// write appends rec to f, whole or not at all, and waits for the disk.
func (j *Journal) write(f *file, rec record) error {
	if j.closed {
		return fault.New(fault.Unavailable, "The journal is closed: the server is stopping.")
	}
	frame, err := rec.encode()
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if f == j.own && f.size+int64(len(frame)) > j.cfg.MaxBytes {
		e := fault.New(fault.Unavailable, "The journal %s is full. It empties by itself once the database answers.", j.cfg.Dir)
		e.Code, e.Owner = "journal_full", fault.Admin
		return e
	}
	if f.spoilt {
		err = f.f.Truncate(f.size)
	}
	if err == nil {
		_, err = f.f.Write(frame)
		err = errors.Join(err, f.f.Sync())
		f.spoilt = false
	}
	if err != nil {
		// What is half there would stand before the next record, which nobody could read then.
		cut := f.f.Truncate(f.size)
		f.spoilt = cut != nil
		err = errors.Join(err, cut)
		return fault.Wrap(fault.Unavailable, err, "The journal %s cannot be written. Check its disk.", j.cfg.Dir)
	}
	f.size += int64(len(frame))
	return nil
}

// Pending returns what is to be done, the oldest first. What does not open stays, and the error names it: it was sealed
// with keys that this store does not have.
func (j *Journal) Pending() ([]Record, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var errs []error
	records := make([]Record, 0, len(j.pending))
	for _, e := range slices.SortedFunc(maps.Values(j.pending), func(a, b *entry) int { return cmp.Compare(a.Seq, b.Seq) }) {
		payload, err := j.cfg.Sealer.Open(e.Sealed, place(e.ID, e.Owner))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		records = append(records, Record{ID: e.ID, Owner: e.Owner, Payload: payload})
	}
	return records, errors.Join(errs...)
}

// Process names this process: no other one has its name, nor had.
func (j *Journal) Process() string { return processOf(j.own.path) }

// Gone returns the names of the processes that had a journal in the folder when this one was opened, and did no longer run.
func (j *Journal) Gone() []string { return j.gone }

func processOf(path string) string { return strings.TrimSuffix(filepath.Base(path), suffix) }

// Len returns how many records are pending.
func (j *Journal) Len() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.pending)
}

// Done says that the database has what was kept under id. When that cannot be written down, the record comes back after
// a restart: whoever saves it again must be able to tell that it was.
func (j *Journal) Done(id string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	in := j.drop(id)
	switch {
	case in == nil:
		return nil
	case in.pending > 0:
		return j.write(in, record{ID: id, Done: true})
	case in != j.own:
		return j.release(in)
	}
	// Nothing is pending: the file begins anew.
	if err := in.f.Truncate(int64(len(header))); err != nil {
		return err
	}
	in.size = int64(len(header))
	return in.f.Sync()
}

// release gives up a file with nothing pending. A damaged one stays, under its new name.
func (j *Journal) release(f *file) error {
	j.files = slices.DeleteFunc(j.files, func(other *file) bool { return other == f })
	err := f.f.Close()
	if !f.damaged {
		err = errors.Join(err, remove(f.path))
	}
	// Who gets the lock now finds nothing that it locks: names are never used again.
	return errors.Join(err, f.unlock(), remove(f.path+".lock"))
}

// remove removes a file that may be gone.
func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Close lets go of the files. What is pending stays in them for the next process.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	var errs []error
	for _, f := range slices.Clone(j.files) {
		if f.pending == 0 {
			errs = append(errs, j.release(f))
			continue
		}
		errs = append(errs, f.f.Close(), f.unlock())
	}
	j.files = nil
	return errors.Join(errs...)
}

// place is where a record opens.
func place(id, owner string) secret.Place {
	return secret.Place{Table: strings.TrimPrefix(suffix, "."), ID: id, Owner: owner, Field: "payload"}
}
