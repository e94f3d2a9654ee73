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
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/id"
	"github.com/behalf-project/behalf/internal/objectstore"
)

const (
	noteReads  = 8                // at a time, of one rollup
	maxObjects = 100_000          // of one rollup
	fetchAgain = 30 * time.Second // after a table could not be fetched
	sharedIdle = time.Hour        // between two sweeps of the object store
)

// objects are the objects of one rollup.
type objects struct {
	tables map[fileName]pair
	used   time.Time // when somebody last said that they read it; zero: nobody has
}

// pair is the objects of one table. What is not there has no name.
type pair struct{ rows, note objectstore.Object }

func (p pair) whole() bool { return p.rows.Name != "" && p.note.Name != "" }

// putAt is when the last of them was put.
func (p pair) putAt() time.Time {
	if p.rows.PutAt.After(p.note.PutAt) {
		return p.rows.PutAt
	}
	return p.note.PutAt
}

// list lists the objects of a rollup.
func (sh *shared) list(ctx context.Context, p place, structure [sha256.Size]byte) (objects, error) {
	prefix, all := rollupPrefix(p, structure), objects{tables: map[fileName]pair{}}
	for o, err := range sh.objects.List(ctx, prefix) {
		if err != nil {
			return all, err
		}
		if len(all.tables) > maxObjects {
			return all, fmt.Errorf("preagg: a rollup has more than %d tables in the object store", maxObjects)
		}
		base := strings.TrimPrefix(o.Name, prefix)
		if base == usedObject {
			all.used = o.PutAt
		} else if name, ok := parseFileName(base, rowsFile); ok {
			t := all.tables[name]
			t.rows = o
			all.tables[name] = t
		} else if name, ok := parseFileName(base, noteObject); ok {
			t := all.tables[name]
			t.note = o
			all.tables[name] = t
		}
	}
	return all, nil
}

// versions returns the names of the tables of each partition, the newest first.
func (o objects) versions() map[string][]fileName {
	all := map[string][]fileName{}
	for name := range o.tables {
		all[name.partition] = append(all[name.partition], name)
	}
	for _, names := range all {
		slices.SortFunc(names, func(a, b fileName) int { return cmp.Compare(b.version, a.version) })
	}
	return all
}

// look compares what is here of a rollup with what is there. What is newer here is put there. What is newer there, and has something
// to take the place of here, is fetched; the rest is known from then on.
func (s *Store) look(ctx context.Context, rollup ID, isUsed bool) error {
	return s.inside(ctx, rollup.Scope, func(ctx context.Context, sc *scope) error { return s.compare(ctx, sc, rollup, isUsed) })
}

// inside calls do in the scope of key, and says so where that ended meanwhile.
func (s *Store) inside(ctx context.Context, key driverfactory.PoolKey, do func(context.Context, *scope) error) error {
	sc, ctx, leave, err := s.enterNew(ctx, key)
	if err != nil {
		return err
	}
	defer leave()
	if err := do(ctx, sc); err != nil && ctx.Err() != nil {
		return ended(ctx) // whatever the call said that was cut
	} else if err != nil {
		return err
	}
	return nil
}

// compare does the work of look.
func (s *Store) compare(ctx context.Context, sc *scope, rollup ID, isUsed bool) error {
	all, err := s.shared.list(ctx, sc.place, rollup.Structure)
	if err != nil {
		return err
	}
	here := s.here(rollup)
	there, err := s.there(ctx, sc, rollup, all, here)
	if err != nil {
		return err
	}
	if err := s.know(sc, rollup, there); err != nil {
		return err
	}
	if isUsed && s.cfg.Now().Sub(all.used) >= touchEvery {
		if err := s.shared.objects.Put(ctx, rollupPrefix(sc.place, rollup.Structure)+usedObject, 0, strings.NewReader("")); err != nil {
			return err
		}
	}
	there = slices.Clone(there)
	for _, t := range here {
		at, ok := find(there, t.Partition)
		switch {
		case ok && there[at].file.name.version > t.file.name.version:
			if err := s.fetch(ctx, rollup, there[at]); err != nil {
				return err
			}
			continue
		case ok && there[at].file.name.version == t.file.name.version:
		default:
			is, err := s.upload(ctx, sc, t)
			if err != nil {
				return err
			}
			if !is {
				continue
			}
			if !ok {
				there = slices.Insert(there, at, Table{})
			}
			there[at] = elsewhere(t)
		}
		if !t.file.shared.Swap(true) {
			if err := s.markShared(t.file); err != nil && !errors.Is(err, os.ErrNotExist) { // it may have been removed
				s.cfg.Log.Warn("it cannot be noted that a rollup is in the object store", zap.Error(err))
			}
		}
	}
	if err := s.know(sc, rollup, there); err != nil {
		return err
	}
	return s.shared.deleteOld(ctx, all, there, s.cfg.Now())
}

// know notes what is there of a rollup, unless its scope has ended. The list is not changed any more.
func (s *Store) know(sc *scope, rollup ID, there []Table) error {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	if sc.over != nil {
		return sc.over
	}
	s.shared.known.put(shelfKey{sc.place, rollup.Structure}, there)
	return nil
}

// forget notes that a table is not there, or is not what it should be.
func (s *Store) forget(sc *scope, rollup ID, t Table) error {
	known, _ := s.shared.known.get(shelfKey{sc.place, rollup.Structure})
	return s.know(sc, rollup, slices.DeleteFunc(slices.Clone(known), func(k Table) bool { return k.file.name == t.file.name }))
}

// elsewhere returns t as it is there.
func elsewhere(t Table) Table {
	f := t.file
	t.file = &file{scope: f.scope, structure: f.structure, name: f.name, sum: f.sum, columns: f.columns, types: f.types, there: true}
	return t
}

// there returns the newest table there of each partition that is what it should be. Its note is read where it is not here, and was not
// known.
func (s *Store) there(ctx context.Context, sc *scope, rollup ID, all objects, here []Table) (tables []Table, err error) {
	known, _ := s.shared.known.get(shelfKey{sc.place, rollup.Structure})
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(noteReads)
	for _, names := range all.versions() {
		group.Go(func() error {
			for _, name := range names {
				t, ok, err := s.tableThere(ctx, sc, rollup, name, all.tables[name], here, known)
				if err != nil {
					return err
				}
				if ok {
					mu.Lock()
					defer mu.Unlock()
					tables = append(tables, t)
					return nil
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	slices.SortFunc(tables, func(a, b Table) int { return strings.Compare(a.Partition, b.Partition) })
	return tables, nil
}

// tableThere returns the table of that name there. It is not ok where it is not whole, or not what it should be.
func (s *Store) tableThere(ctx context.Context, sc *scope, rollup ID, name fileName, p pair, here, known []Table) (t Table, ok bool, err error) {
	if !p.whole() || s.shared.refused.Contains(p.note.Name) {
		return Table{}, false, nil
	}
	if at, ok := find(known, name.partition); ok && known[at].file.name == name {
		return known[at], true, nil
	}
	if at, ok := find(here, name.partition); ok && here[at].file.name == name {
		return elsewhere(here[at]), true, nil
	}
	text, err := s.shared.getSealed(ctx, p.note.Name)
	var n note
	if err == nil {
		if n, err = decodeNote(text, sc.place.String(), hex.EncodeToString(rollup.Structure[:]), name); err != nil {
			err = errors.Join(errRefused, err)
		} else if n.Bytes != p.rows.Size {
			err = errors.Join(errRefused, fmt.Errorf("its rows have %d bytes and not %d", p.rows.Size, n.Bytes))
		}
	}
	switch {
	case errors.Is(err, errRefused):
		s.shared.refuse(p.note.Name, err)
		return Table{}, false, nil
	case fault.KindOf(err) == fault.NotFound: // it was deleted meanwhile
		return Table{}, false, nil
	case err != nil:
		return Table{}, false, err
	}
	if since, ok := s.shared.ends.Get(sc.place); ok && n.BuiltAt.Before(since) {
		return Table{}, false, nil
	}
	return elsewhere(s.table(n, sc.place, rollup.Structure, name)), true, nil
}

// upload puts a table there, and reports whether it could: one that is gone or damaged is not put.
func (s *Store) upload(ctx context.Context, sc *scope, t Table) (is bool, err error) {
	if err := s.check(ctx, sc, t, false); errors.Is(err, errGone) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	f, err := os.Open(s.path(t.file, rowsFile))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	owner, err := encodeManifest(sc.key)
	if err != nil {
		return false, err
	}
	if err := s.shared.putSealed(ctx, ownersPrefix+sc.place.String(), owner); err != nil {
		return false, err
	}
	if err := s.shared.objects.Put(ctx, t.file.object(rowsFile), t.Bytes, f); err != nil {
		return false, err
	}
	s.pass(AfterRowsPut)
	text, err := json.Marshal(t.note())
	if err != nil {
		return false, err
	}
	return true, s.shared.putSealed(ctx, t.file.object(noteObject), text)
}

// note returns what there is to say of t.
func (t Table) note() note {
	return note{
		Format: format, Scope: t.file.scope.String(), Structure: hex.EncodeToString(t.file.structure[:]), Partition: t.Partition,
		Content: []byte(t.Content), BuiltAt: t.BuiltAt, Rows: t.Rows, Bytes: t.Bytes, Sum: t.file.sum[:], Columns: t.file.columns,
	}
}

// fetch makes a table that is there one that is here. Where there is no room for it, or it is not what its note says, the log tells
// and nothing changes.
func (s *Store) fetch(ctx context.Context, rollup ID, t Table) error {
	now := s.cfg.Now()
	if now.Unix() < t.file.retry.Load() {
		return nil
	}
	t.file.retry.Store(now.Add(fetchAgain).Unix()) // unless it comes
	return s.inside(ctx, rollup.Scope, func(ctx context.Context, sc *scope) error { return s.fetchInto(ctx, sc, rollup, t) })
}

// fetchInto does the work of fetch.
func (s *Store) fetchInto(ctx context.Context, sc *scope, rollup ID, t Table) error {
	if err := s.roomFor(sc.owner, t.Bytes+noteCost); err != nil {
		s.cfg.Log.Warn("a table of a rollup is not fetched", zap.String("object", t.file.object(rowsFile)), zap.Error(err))
		return nil
	}
	dir := filepath.Join(s.buildsDir(), id.Random(8))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return notWritten(err)
	}
	defer os.RemoveAll(dir)
	switch err := s.download(ctx, t, dir); {
	case errors.Is(err, errRefused):
		s.shared.refuse(t.file.object(noteObject), err)
		return s.forget(sc, rollup, t)
	case fault.KindOf(err) == fault.NotFound:
		return s.forget(sc, rollup, t)
	case err != nil:
		return err
	}
	if _, err := s.commit(ctx, sc, rollup.Structure, dir, t.note(), t.file.name.version); fault.KindOf(err) == fault.TooMany {
		s.cfg.Log.Warn("a table of a rollup is not fetched", zap.String("object", t.file.object(rowsFile)), zap.Error(err))
		return nil
	} else if err != nil {
		return err
	}
	return nil
}

// roomFor makes room for n bytes of o, or says why there is none.
func (s *Store) roomFor(o *owner, n int64) error {
	s.folders.Lock()
	defer s.folders.Unlock()
	if err := s.makeRoom(o, n); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.room(o, n)
}

// download writes the files of a table into dir. It is errRefused where its rows are not those of its note.
func (s *Store) download(ctx context.Context, t Table, dir string) error {
	path := filepath.Join(dir, buildRows)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return notWritten(err)
	}
	hash := sha256.New()
	err = s.shared.objects.Get(ctx, t.file.object(rowsFile), t.Bytes, io.MultiWriter(f, hash))
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return notWritten(err)
	}
	switch {
	case ctx.Err() != nil:
		return ended(ctx)
	case fault.KindOf(err) == fault.Invalid:
		return errors.Join(errRefused, err)
	case err != nil:
		return err
	case [sha256.Size]byte(hash.Sum(nil)) != t.file.sum:
		return errors.Join(errRefused, errors.New("the checksum of its rows is another"))
	}
	return writeNote(dir, t.note())
}

// deleteOld deletes tables that were superseded some minutes ago: who was told of one has fetched it by now, or is told of the new
// one.
func (sh *shared) deleteOld(ctx context.Context, all objects, there []Table, now time.Time) error {
	for name, p := range all.tables {
		at, ok := find(there, name.partition)
		if !ok || name.version >= there[at].file.name.version || now.Sub(all.tables[there[at].file.name].putAt()) < graceTime || now.Sub(p.putAt()) < graceTime {
			continue
		}
		for _, o := range []objectstore.Object{p.note, p.rows} {
			if o.Name == "" {
				continue
			}
			if err := sh.objects.Delete(ctx, o.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// tidy does what is nobody's wish until ctx is done: it looks for what others put there of credentials that were dropped, and
// sweeps.
func (s *Store) tidy(ctx context.Context) {
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	retry := time.NewTimer(0)
	defer retry.Stop()
	wait := firstWait
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.shared.missed:
		case <-retry.C:
		case <-sweep.C:
			if err := s.sweepShared(ctx); err != nil && ctx.Err() == nil {
				s.shared.answered(err)
			}
		}
		err := s.shared.seek(ctx)
		if err == nil {
			wait = firstWait
			continue
		}
		if ctx.Err() == nil {
			s.shared.answered(err)
		}
		retry.Reset(wait)
		wait = min(2*wait, latestWait)
	}
}

// seek finds the scopes there whose credentials were dropped, whoever put them, and has them deleted.
func (sh *shared) seek(ctx context.Context) (err error) {
	sh.mu.Lock()
	gone := sh.gone
	sh.gone = nil
	sh.mu.Unlock()
	if len(gone) == 0 {
		return nil
	}
	defer func() {
		sh.mu.Lock()
		defer sh.mu.Unlock()
		if err != nil {
			sh.gone = append(gone, sh.gone...)
			sh.gone = sh.gone[max(0, len(sh.gone)-maxGone):]
		}
	}()
	for o, err := range sh.objects.List(ctx, ownersPrefix) {
		if err != nil {
			return err
		}
		p, ok := parsePlace(strings.TrimPrefix(o.Name, ownersPrefix))
		if !ok {
			continue
		}
		key, err := sh.owner(ctx, p)
		if errors.Is(err, errRefused) || fault.KindOf(err) == fault.NotFound {
			continue // nobody reads what is there of it
		}
		if err != nil {
			return err
		}
		if slices.ContainsFunc(gone, func(match func(driverfactory.PoolKey) bool) bool { return match(key) }) {
			sh.mu.Lock()
			sh.drop(p)
			sh.mu.Unlock()
			sh.rouse()
		}
	}
	return nil
}

// owner returns whose scope it is.
func (sh *shared) owner(ctx context.Context, p place) (driverfactory.PoolKey, error) {
	if key, ok := sh.owners.Get(p); ok {
		return key, nil
	}
	name := ownersPrefix + p.String()
	if sh.refused.Contains(name) {
		return driverfactory.PoolKey{}, errRefused
	}
	text, err := sh.getSealed(ctx, name)
	var key driverfactory.PoolKey
	if err == nil {
		if key, err = decodeManifest(text, p.String()); err != nil {
			err = errors.Join(errRefused, err)
		}
	}
	if errors.Is(err, errRefused) {
		sh.refuse(name, err)
	}
	if err == nil {
		sh.owners.Add(p, key)
	}
	return key, err
}

// sweepShared deletes what nobody has used there for a day and, where all is more than it may be, what nobody has used for longest.
// The first replica that comes to it in an hour does so, for all: two at once would only do it twice.
func (s *Store) sweepShared(ctx context.Context) error {
	sh, now := s.shared, s.cfg.Now()
	for o, err := range sh.objects.List(ctx, sweptObject) {
		if err != nil {
			return err
		}
		if now.Sub(o.PutAt) < sharedIdle {
			return nil
		}
	}
	if err := sh.objects.Put(ctx, sweptObject, 0, strings.NewReader("")); err != nil {
		return err
	}
	type stored struct {
		scope, prefix string
		bytes         int64
		used          time.Time // by whoever put something there last: the rows, or that they are used
	}
	var rollups []*stored
	var bytes int64
	for o, err := range sh.objects.List(ctx, scopesPrefix) {
		if err != nil {
			return err
		}
		parts := strings.SplitN(strings.TrimPrefix(o.Name, scopesPrefix), "/", 3)
		if len(parts) < 3 {
			continue // it is nobody's
		}
		prefix := scopesPrefix + parts[0] + "/" + parts[1] + "/"
		if n := len(rollups); n == 0 || rollups[n-1].prefix != prefix {
			rollups = append(rollups, &stored{scope: parts[0], prefix: prefix})
		}
		r := rollups[len(rollups)-1]
		r.bytes += o.Size
		bytes += o.Size
		if o.PutAt.After(r.used) {
			r.used = o.PutAt
		}
	}
	slices.SortFunc(rollups, func(a, b *stored) int { return a.used.Compare(b.used) })
	left := map[string]bool{}
	for _, r := range rollups {
		if now.Sub(r.used) < unusedTime && bytes <= s.cfg.MaxSharedBytes {
			left[r.scope] = true
			continue
		}
		if err := sh.deleteAll(ctx, r.prefix); err != nil {
			return err
		}
		bytes -= r.bytes
	}
	for o, err := range sh.objects.List(ctx, ownersPrefix) {
		if err != nil {
			return err
		}
		if !left[strings.TrimPrefix(o.Name, ownersPrefix)] && now.Sub(o.PutAt) >= unusedTime {
			if err := sh.objects.Delete(ctx, o.Name); err != nil {
				return err
			}
		}
	}
	return nil
}
