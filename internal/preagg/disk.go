//go:build cgo

package preagg

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/duckdbinstance"
	"github.com/behalf-project/behalf/internal/fault"
)

// ownerFile is the name of the manifest in the folder of a scope.
const ownerFile = "owner.json"

// noteCost is what the note of a table takes on disk, a block.
const noteCost = 4096

// file is the file of a Table.
type file struct {
	scope     place
	structure [sha256.Size]byte
	name      fileName
	sum       [sha256.Size]byte
	columns   []column
	types     string // of the columns, with their names, in SQL: tables with equal types are read as one

	there  bool         // it stands for a table of the object store; of one that is here too there is another
	retry  atomic.Int64 // unix seconds before which it is not fetched again
	shared atomic.Bool  // it is noted here that the object store has it too
	whole  atomic.Bool  // its bytes have been compared with sum, or were written by this process
	used   atomic.Int64 // unix seconds of the last use that is noted on disk
}

func newFile(n note, p place, structure [sha256.Size]byte, name fileName) *file {
	types := make([]string, len(n.Columns))
	for i, c := range n.Columns {
		types[i] = duckdbinstance.Identifier(c.Name) + " " + c.sqlType()
	}
	return &file{scope: p, structure: structure, name: name, sum: [sha256.Size]byte(n.Sum), columns: n.Columns, types: strings.Join(types, ", ")}
}

// path returns where the file is that ends with end.
func (s *Store) path(f *file, end string) string {
	return filepath.Join(s.scopesDir(), f.scope.String(), hex.EncodeToString(f.structure[:]), f.name.String()+end)
}

// listed is a table by the look of its folder.
type listed struct {
	structure [sha256.Size]byte
	name      fileName
	bytes     int64     // what it counts
	used      time.Time // see touch
	shared    bool      // the object store has it too

	supersededAt time.Time // zero while it is the newest of its partition
}

func (l listed) newest() bool { return l.supersededAt.IsZero() }

// listScope lists the tables of sc. On the way it removes files of which there is only one half: what a crash or a failed
// removal left. It is called when nobody commits to sc.
func (s *Store) listScope(sc *scope) ([]listed, error) {
	entries, err := os.ReadDir(s.folder(sc))
	if err != nil {
		return nil, err
	}
	var all []listed
	for _, e := range entries {
		structure, ok := parseStructure(e.Name())
		if !ok {
			continue
		}
		dir := filepath.Join(s.folder(sc), e.Name())
		tables, halves, err := listFolder(dir, structure)
		if err != nil {
			return nil, err
		}
		for _, name := range halves {
			s.cfg.Log.Info("half a table of a rollup is removed", zap.String("file", filepath.Join(sc.place.String(), e.Name(), name)))
			if err := removeFile(filepath.Join(dir, name)); err != nil {
				return nil, err
			}
		}
		if len(tables) == 0 {
			if err := os.Remove(dir); err != nil {
				return nil, err
			}
		}
		all = append(all, tables...)
	}
	return all, nil
}

func parseStructure(name string) (structure [sha256.Size]byte, ok bool) {
	b, err := hex.DecodeString(name)
	if err != nil || len(b) != len(structure) || hex.EncodeToString(b) != name {
		return structure, false
	}
	return [sha256.Size]byte(b), true
}

// listFolder lists the folder of a rollup: the tables, of each partition the newest first, and the names of files that are not
// half of one.
func listFolder(dir string, structure [sha256.Size]byte) (tables []listed, halves []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	rows, shared := map[fileName]int64{}, map[fileName]bool{}
	for _, e := range entries {
		if name, ok := parseFileName(e.Name(), sharedFile); ok {
			shared[name] = true
		}
		if name, ok := parseFileName(e.Name(), rowsFile); ok {
			info, err := e.Info()
			if errors.Is(err, os.ErrNotExist) {
				continue // it was damaged, and somebody has just removed it
			}
			if err != nil {
				return nil, nil, err
			}
			rows[name] = info.Size()
		}
	}
	for _, e := range entries {
		name, ok := parseFileName(e.Name(), noteFile)
		if !ok {
			continue
		}
		size, ok := rows[name]
		if !ok {
			halves = append(halves, e.Name())
			continue
		}
		delete(rows, name)
		info, err := e.Info()
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		tables = append(tables, listed{structure: structure, name: name, bytes: size + noteCost, used: info.ModTime(), shared: shared[name]})
		delete(shared, name)
	}
	for name := range shared {
		halves = append(halves, name.String()+sharedFile)
	}
	for name := range rows {
		halves = append(halves, name.String()+rowsFile)
	}
	slices.SortFunc(tables, func(a, b listed) int {
		return cmp.Or(cmp.Compare(a.name.partition, b.name.partition), cmp.Compare(b.name.version, a.name.version))
	})
	for i := 1; i < len(tables); i++ {
		if newer := tables[i-1].name; newer.partition == tables[i].name.partition {
			tables[i].supersededAt = time.UnixMicro(newer.version)
		}
	}
	return tables, halves, nil
}

// remove removes a table of sc. The note goes first: what follows is half a table.
func (s *Store) remove(sc *scope, t listed) error {
	stem := filepath.Join(s.folder(sc), hex.EncodeToString(t.structure[:]), t.name.String())
	switch err := os.Remove(stem + noteFile); {
	case err == nil:
		s.account(sc, -t.bytes)
	case !errors.Is(err, os.ErrNotExist): // somebody else was faster
		return err
	}
	if t.newest() {
		s.shelf.remove(shelfKey{sc.place, t.structure})
	}
	return errors.Join(removeFile(stem+sharedFile), removeFile(stem+rowsFile))
}

// removeFile removes a file that may be gone.
func removeFile(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// tables returns the newest table of each partition, which nobody may change. It is called with sc.mu held, of a scope that
// is made and not over.
func (s *Store) tables(sc *scope, structure [sha256.Size]byte) ([]Table, error) {
	key := shelfKey{sc.place, structure}
	if tables, ok := s.shelf.get(key); ok {
		return tables, nil
	}
	name := hex.EncodeToString(structure[:])
	dir := filepath.Join(s.folder(sc), name)
	on, _, err := listFolder(dir, structure)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var tables []Table
	for _, l := range on {
		if n := len(tables); n > 0 && tables[n-1].Partition == l.name.partition {
			continue // a newer one is good
		}
		text, err := readSmall(filepath.Join(dir, l.name.String()+noteFile))
		var n note
		if err == nil {
			n, err = decodeNote(text, sc.place.String(), name, l.name)
		}
		if err == nil && n.Bytes+noteCost != l.bytes {
			err = fmt.Errorf("its file has %d bytes and not %d", l.bytes-noteCost, n.Bytes)
		}
		if err != nil {
			l.supersededAt = time.Time{} // whatever is next takes its place
			if err := s.damaged(sc, l, err); err != nil {
				return nil, err
			}
			continue
		}
		t := s.table(n, sc.place, structure, l.name)
		t.file.used.Store(l.used.Unix())
		if i := len(tables); i > 0 && tables[i-1].file.types == t.file.types {
			t.file.types = tables[i-1].file.types // one string for all
		}
		tables = append(tables, t)
	}
	s.shelf.put(key, tables)
	return tables, nil
}

func (s *Store) table(n note, p place, structure [sha256.Size]byte, name fileName) Table {
	return Table{
		Partition: name.partition, Content: string(n.Content), BuiltAt: n.BuiltAt, Rows: n.Rows, Bytes: n.Bytes,
		file: newFile(n, p, structure, name),
	}
}

// damaged drops a table that is not what it should be. It is called with sc.mu held.
func (s *Store) damaged(sc *scope, t listed, why error) error {
	s.cfg.Log.Warn("a table of a rollup is damaged; it is dropped",
		zap.String("file", filepath.Join(sc.place.String(), hex.EncodeToString(t.structure[:]), t.name.String())), zap.Error(why))
	return s.remove(sc, t)
}

// check compares the file of t with its checksum, unless that has been done or again says so. A table that is not whole is
// dropped.
func (s *Store) check(ctx context.Context, sc *scope, t Table, again bool) error {
	if t.file.whole.Load() && !again {
		return nil
	}
	size, sum, err := checksum(ctx, s.path(t.file, rowsFile))
	switch {
	case ctx.Err() != nil:
		return ended(ctx)
	case errors.Is(err, os.ErrNotExist):
		s.shelf.remove(shelfKey{sc.place, t.file.structure}) // it may not know
		return errGone
	case err == nil && size == t.Bytes && sum == t.file.sum:
		t.file.whole.Store(true)
		return nil
	case err == nil:
		err = errors.New("its checksum is another")
	}
	sc.mu.Lock()
	defer sc.mu.Unlock()
	if sc.over != nil {
		return sc.over
	}
	l := listed{structure: t.file.structure, name: t.file.name, bytes: t.Bytes + noteCost}
	if err := s.damaged(sc, l, err); err != nil {
		return fault.Wrap(fault.Unavailable, err, "A rollup is damaged and cannot be removed.")
	}
	return errGone
}

// errGone says that a table is not there any more. Whoever is told asks for the tables again.
var errGone = &fault.Error{
	Kind: fault.Gone, Code: "rollup_gone",
	Detail: "The rollup was built anew or dropped meanwhile. Run the query again.",
}

// checksum reads a file.
func checksum(ctx context.Context, path string) (size int64, sum [sha256.Size]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, sum, err
	}
	defer f.Close()
	h, buf := sha256.New(), make([]byte, 256<<10)
	for ctx.Err() == nil {
		n, err := f.Read(buf)
		size += int64(n)
		_, _ = h.Write(buf[:n]) // it never fails
		if errors.Is(err, io.EOF) {
			return size, [sha256.Size]byte(h.Sum(nil)), nil
		}
		if err != nil {
			return size, sum, err
		}
	}
	return size, sum, ctx.Err()
}

// touch notes that t is used, at most once an hour.
func (s *Store) touch(rollup ID, t Table) {
	now := s.cfg.Now()
	last := t.file.used.Load()
	if now.Sub(time.Unix(last, 0)) < touchEvery || !t.file.used.CompareAndSwap(last, now.Unix()) {
		return
	}
	if err := os.Chtimes(s.path(t.file, noteFile), now, now); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.cfg.Log.Warn("the use of a rollup cannot be noted; it may be dropped too early", zap.Error(err))
	}
	if s.shared != nil {
		s.shared.wish(rollup, true)
	}
}

// makeRoom removes tables, the least recently used first, until n more bytes of o have room or there are none: those of o that
// are superseded, and those that the object store has too and nobody read for an hour. Of everybody, where the whole store is
// full. It is called with s.folders held.
func (s *Store) makeRoom(o *owner, n int64) error {
	fits := func(n int64) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.room(o, n)
	}
	full := fits(n)
	if full == nil {
		return nil
	}
	if err := s.removeUntil(o, func(t listed) bool { return !t.newest() }, func() bool { return fits(n) == nil }); err != nil || fits(n) == nil || s.shared == nil {
		return err
	}
	of, more := o, int64(0)
	if e, ok := errors.AsType[*fault.Error](fits(n)); ok && e.Code == codeFull {
		of, more = nil, s.cfg.MaxBytes/16 // so that not every table that comes looks through all folders
	}
	old := s.cfg.Now().Add(-touchEvery)
	return s.removeUntil(of, func(t listed) bool { return t.shared && t.used.Before(old) }, func() bool { return fits(n+more) == nil })
}

// removeUntil removes tables of o, or of everybody where it is nil, that may go, the least recently used first. It is called with
// s.folders held.
func (s *Store) removeUntil(o *owner, may func(listed) bool, enough func() bool) error {
	type candidate struct {
		sc *scope
		listed
	}
	var all []candidate
	for _, sc := range s.scopesOf(o) {
		tables, err := s.listScope(sc)
		if err != nil {
			return err
		}
		for _, t := range tables {
			if may(t) {
				all = append(all, candidate{sc, t})
			}
		}
	}
	slices.SortFunc(all, func(a, b candidate) int { return a.used.Compare(b.used) })
	for _, t := range all {
		if enough() {
			return nil
		}
		if err := s.removeFrom(t.sc, t.listed); err != nil {
			return err
		}
	}
	return nil
}

// scopesOf returns the scopes of o, or of everybody where it is nil, that have a folder. It is called with s.folders held.
func (s *Store) scopesOf(o *owner) (scopes []*scope) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sc := range s.scopes {
		if (o == nil || sc.owner == o) && sc.made {
			scopes = append(scopes, sc)
		}
	}
	return scopes
}

func (s *Store) removeFrom(sc *scope, t listed) error {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	if sc.over != nil {
		return nil
	}
	return s.remove(sc, t)
}

// commit makes the file in dir a table of sc: the newest of its partition. Until the last of it is done, the one before is.
// fetched is the version of one that came from the object store, which gives way to a newer one that is here already; it is zero
// for one that was built.
func (s *Store) commit(ctx context.Context, sc *scope, structure [sha256.Size]byte, dir string, n note, fetched int64) (Table, error) {
	s.folders.Lock()
	defer s.folders.Unlock()
	cost := n.Bytes + noteCost
	if err := s.makeRoom(sc.owner, cost); err != nil {
		return Table{}, notWritten(err)
	}
	sc.mu.Lock()
	defer sc.mu.Unlock()
	switch {
	case sc.over != nil: // dropped while it was built
		return Table{}, sc.over
	case ctx.Err() != nil:
		return Table{}, ended(ctx)
	}
	if err := s.makeFolder(sc, dir); err != nil {
		return Table{}, notWritten(err)
	}
	tables, err := s.tables(sc, structure)
	if err != nil {
		return Table{}, notWritten(err)
	}
	at, replaces := find(tables, n.Partition)
	if replaces && fetched > 0 && tables[at].file.name.version >= fetched {
		return tables[at], nil
	}
	name := fileName{partition: n.Partition, version: fetched}
	if fetched == 0 {
		name.version = max(s.cfg.Now().UnixMicro(), 1)
		if s.shared != nil {
			name.version = max(name.version, s.shared.version(shelfKey{sc.place, structure}, n.Partition)+1)
		}
	}
	err = s.reserve(sc, cost)
	var old *listed
	if replaces {
		before := tables[at]
		name.version = max(name.version, before.file.name.version+1)
		if err != nil {
			// There is room without the one before, which goes once the new one is there.
			old = &listed{structure: structure, name: before.file.name, bytes: before.Bytes + noteCost, supersededAt: time.UnixMicro(name.version)}
			if err = s.reserve(sc, cost-old.bytes); err == nil {
				s.account(sc, old.bytes) // until it goes
			}
		}
	}
	if err != nil {
		return Table{}, err
	}
	t := s.table(n, sc.place, structure, name)
	t.file.whole.Store(true)
	t.file.used.Store(s.cfg.Now().Unix())
	if err := s.put(t.file, dir, fetched > 0); err != nil {
		err = errors.Join(err, removeFile(s.path(t.file, noteFile)), removeFile(s.path(t.file, sharedFile)), removeFile(s.path(t.file, rowsFile)))
		s.account(sc, -cost)
		return Table{}, notWritten(err)
	}
	tables = slices.Clone(tables)
	if replaces {
		tables[at] = t
	} else {
		tables = slices.Insert(tables, at, t)
	}
	s.shelf.put(shelfKey{sc.place, structure}, tables)
	if old != nil {
		if err := s.remove(sc, *old); err != nil {
			s.cfg.Log.Warn("a superseded table of a rollup cannot be removed", zap.Error(err))
		}
	}
	return t, nil
}

// find returns where the table of a partition is, or would be.
func find(tables []Table, partition string) (at int, ok bool) {
	return slices.BinarySearchFunc(tables, partition, func(t Table, p string) int { return strings.Compare(t.Partition, p) })
}

// put moves the files of a build to where those of f are. With shared it is noted that the object store has them too.
func (s *Store) put(f *file, build string, shared bool) error {
	into := filepath.Dir(s.path(f, rowsFile))
	if err := os.Mkdir(into, 0o700); err == nil {
		if err := syncDir(filepath.Dir(into)); err != nil {
			return err
		}
	} else if !errors.Is(err, os.ErrExist) {
		return err
	}
	now := s.cfg.Now() // the table counts as used by who built it
	if err := os.Chtimes(filepath.Join(build, buildNote), now, now); err != nil {
		return err
	}
	if shared {
		if err := s.markShared(f); err != nil {
			return err
		}
	}
	if err := os.Rename(filepath.Join(build, buildRows), s.path(f, rowsFile)); err != nil {
		return err
	}
	s.pass(AfterRows)
	if err := os.Rename(filepath.Join(build, buildNote), s.path(f, noteFile)); err != nil {
		return err
	}
	s.pass(AfterRename)
	return syncDir(into)
}

// markShared notes on disk that the object store has the table of f too.
func (s *Store) markShared(f *file) error {
	if err := writeFile(s.path(f, sharedFile), nil); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// makeFolder makes the folder of sc, with its manifest, if it is not there. It is called with s.folders and sc.mu held.
func (s *Store) makeFolder(sc *scope, build string) error {
	if sc.made {
		return nil
	}
	dir := s.folder(sc)
	// What is there is what an earlier Drop could not move, or the beginning of one that failed: nothing is built beside it.
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	text, err := encodeManifest(sc.key)
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(build, ownerFile), text); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(build, ownerFile), filepath.Join(dir, ownerFile)); err != nil {
		return err
	}
	if err := errors.Join(syncDir(dir), syncDir(s.scopesDir())); err != nil {
		return err
	}
	sc.made = true
	return nil
}

// notWritten is the fault of what the disk refused.
func notWritten(err error) error {
	return &fault.Error{
		Kind: fault.Unavailable, Code: "rollups_unavailable", Owner: fault.Admin, Err: err,
		Detail: "The rollup could not be written to the disk. Check that it is not full.",
	}
}

// writeNote writes what there is to say of a build.
func writeNote(dir string, n note) error {
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, buildNote), text)
}

// writeFile writes a file that is on disk when it returns.
func writeFile(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// readSmall reads a file of JSON.
func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxManifest+1))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// in reports whether t is a table of rollup, in sc.
func (t Table) in(sc *scope, rollup ID) bool {
	return t.file != nil && t.file.scope == sc.place && t.file.structure == rollup.Structure
}
