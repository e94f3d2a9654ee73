//go:build cgo

package preagg

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"go.uber.org/zap"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/objectstore"
	"github.com/behalf-project/behalf/internal/secret"
)

const (
	lookEvery    = 30 * time.Second // how often what other replicas put there of a rollup in use is looked for
	refreshTime  = 2 * time.Minute  // that Refresh takes at most
	firstWait    = time.Second      // before what failed is tried again, and twice as long each time
	latestWait   = time.Minute
	maxTransfers = 4      // scopes for which something is moved at once
	maxWishes    = 10_000 // scopes for which something is to be done
	maxGone      = 1000   // Drops whose objects are to be looked for
	maxLooked    = 10_000 // rollups of which is remembered when they were looked at
	maxRefused   = 10_000 // objects that do not belong where they are
)

// shared is what a Store knows of the object store that it shares with others, and what it is about to do there. Names in it:
//
//	owners/<scope>                                           whose scope it is: a PoolKey
//	scopes/<scope>/<structure>/p<partition>_<version>.parquet
//	scopes/<scope>/<structure>/p<partition>_<version>.note   what is in it, with a checksum: put last, deleted first
//	scopes/<scope>/<structure>/used                          put again every hour that somebody reads of it
//	swept                                                    put by who sweeps
//	id                                                       what the place is called
//
// What an object says of itself is sealed to its name: a note that was made up, changed or copied from elsewhere does not open,
// and rows that are not those of their note are not taken.
//
// Nobody waits for the object store but Refresh. What is to be done is kept as wishes, and Run fulfils them. Those of one scope are
// fulfilled one after another, what was dropped first: so nothing of before a Drop is seen after it, and nothing is put where
// something is being deleted.
type shared struct {
	objects objectstore.Objects
	sealer  Sealer
	log     *zap.Logger
	now     func() time.Time

	known   *shelf                                   // the newest tables there, of rollups that were looked at
	looked  *lru.Cache[shelfKey, time.Time]          // when
	refused *lru.Cache[string, struct{}]             // names of notes that do not belong there, or whose rows do not
	owners  *lru.Cache[place, driverfactory.PoolKey] // of scopes there
	ends    *lru.Cache[place, time.Time]             // when a scope was dropped last: who has not heard may put back what is older
	down    atomic.Bool                              // the last call failed

	mu     sync.Mutex
	wishes map[place]*wish
	gone   []func(driverfactory.PoolKey) bool // credentials that were dropped, of which others may have put something there
	wake   chan struct{}                      // wakes share
	missed chan struct{}                      // wakes tidy
}

// wish is what is to be done for one scope.
type wish struct {
	drop    bool // all that is there is to be deleted, before anything else
	key     driverfactory.PoolKey
	looks   map[[sha256.Size]byte]bool // rollups to be looked at; true where somebody reads them
	fetches map[*file]Table

	busy chan struct{} // closed when who fulfils it is through; nil when nobody does
	err  error         // why it could not be fulfilled
	wait time.Duration
	next time.Time // before which it is not tried again; by the clock of the machine, like all waiting
}

func newShared(cfg Config) (*shared, error) {
	sh := &shared{
		objects: cfg.Objects, sealer: cfg.Sealer, log: cfg.Log, now: cfg.Now, known: newShelf(), wishes: map[place]*wish{},
		wake: make(chan struct{}, 1), missed: make(chan struct{}, 1),
	}
	var errs [4]error
	sh.looked, errs[0] = lru.New[shelfKey, time.Time](maxLooked)
	sh.refused, errs[1] = lru.New[string, struct{}](maxRefused)
	sh.owners, errs[2] = lru.New[place, driverfactory.PoolKey](maxLooked)
	sh.ends, errs[3] = lru.New[place, time.Time](maxLooked)
	return sh, errors.Join(errs[:]...)
}

// errFetching says that the source is to answer meanwhile.
var errFetching = &fault.Error{
	Kind: fault.Unavailable, Code: "rollup_fetching", RetryAfter: time.Second,
	Detail: "The rollup is being fetched from the object store. Run the query again in a moment.",
}

// The names of objects.
const (
	ownersPrefix = "owners/"
	scopesPrefix = "scopes/"
	noteObject   = ".note"
	usedObject   = "used"
	sweptObject  = "swept"
	idObject     = "id"
)

// placeTime bounds how long a start waits for the name of the object store.
const placeTime = 5 * time.Second

// place returns the name of the object store, which is called name from now on if it has none. Of two who say so at once one is
// believed, by both from their next start on.
func (sh *shared) place(ctx context.Context, name string) (string, error) {
	read := func() (string, error) {
		var text bytes.Buffer
		err := sh.objects.Get(ctx, idObject, 64, &text)
		if err == nil && !placeName.Match(text.Bytes()) {
			err = errors.New("what it is called is no name")
		}
		return text.String(), err
	}
	is, err := read()
	if !errors.Is(err, fault.NotFound) {
		return is, err
	}
	if err := sh.objects.Put(ctx, idObject, int64(len(name)), strings.NewReader(name)); err != nil {
		return "", err
	}
	return read()
}

func scopePrefix(p place) string { return scopesPrefix + p.String() + "/" }

func rollupPrefix(p place, structure [sha256.Size]byte) string {
	return scopePrefix(p) + hex.EncodeToString(structure[:]) + "/"
}

// object returns the name of the object of f that ends with end.
func (f *file) object(end string) string {
	return rollupPrefix(f.scope, f.structure) + f.name.String() + end
}

// sealedAt is where what the object called name says of itself opens.
func sealedAt(name string) secret.Place {
	return secret.Place{Table: "objects", ID: name, Field: "content"}
}

// putSealed puts what an object says of itself.
func (sh *shared) putSealed(ctx context.Context, name string, text []byte) error {
	sealed, err := sh.sealer.Seal(secret.New(string(text)), sealedAt(name))
	if err != nil {
		return err
	}
	return sh.objects.Put(ctx, name, int64(len(sealed)), bytes.NewReader(sealed))
}

// errRefused says that an object does not belong where it is.
var errRefused = errors.New("it does not belong there")

// getSealed returns what an object says of itself. It is errRefused where that was not put under this name, with our key.
func (sh *shared) getSealed(ctx context.Context, name string) ([]byte, error) {
	var sealed bytes.Buffer
	err := sh.objects.Get(ctx, name, 2*maxManifest, &sealed)
	if fault.KindOf(err) == fault.Invalid {
		return nil, errors.Join(errRefused, err)
	}
	if err != nil {
		return nil, err
	}
	text, err := sh.sealer.Open(sealed.Bytes(), sealedAt(name))
	if err != nil || text.Empty() {
		return nil, errors.Join(errRefused, err)
	}
	return []byte(text.Reveal()), nil
}

// refuse names in the log an object that does not belong where it is. It is left for the sweep: another version of this program
// may know better.
func (sh *shared) refuse(name string, why error) {
	sh.refused.Add(name, struct{}{})
	sh.log.Warn("an object is not what its place says; it is not used", zap.String("object", name), zap.Error(why))
}

// with returns here with the tables there of the partitions that are not among them, and sees to it that what is there is looked for
// from time to time.
func (sh *shared) with(rollup ID, here []Table, now time.Time) []Table {
	key := shelfKey{placeOf(rollup.Scope), rollup.Structure}
	if last, ok := sh.looked.Get(key); !ok || now.Sub(last) >= lookEvery {
		sh.looked.Add(key, now)
		sh.wish(rollup, false)
	}
	there, _ := sh.known.get(key)
	if len(there) == 0 {
		return here
	}
	all := make([]Table, 0, max(len(here), len(there)))
	for _, t := range there {
		for len(here) > 0 && here[0].Partition < t.Partition {
			all, here = append(all, here[0]), here[1:]
		}
		if len(here) > 0 && here[0].Partition == t.Partition {
			t, here = here[0], here[1:]
		}
		all = append(all, t)
	}
	return append(all, here...)
}

// version returns the newest version there of a partition, as far as is known.
func (sh *shared) version(key shelfKey, partition string) int64 {
	there, _ := sh.known.get(key)
	if at, ok := find(there, partition); ok {
		return there[at].file.name.version
	}
	return 0
}

// fetch reports whether some of tables are there only, and has them fetched.
func (sh *shared) fetch(rollup ID, tables []Table, now time.Time) (some bool) {
	for _, t := range tables {
		if !t.file.there {
			continue
		}
		some = true
		if now.Unix() < t.file.retry.Load() {
			continue
		}
		sh.mu.Lock()
		if w := sh.of(placeOf(rollup.Scope)); w != nil {
			w.look(rollup, true) // others are to know that somebody reads it
			if w.fetches == nil {
				w.fetches = map[*file]Table{}
			}
			w.fetches[t.file] = t
		}
		sh.mu.Unlock()
	}
	if some {
		sh.rouse()
	}
	return some
}

// wish has a rollup looked at, of which somebody reads where used says so.
func (sh *shared) wish(rollup ID, used bool) {
	sh.mu.Lock()
	if w := sh.of(placeOf(rollup.Scope)); w != nil {
		w.look(rollup, used)
	}
	sh.mu.Unlock()
	sh.rouse()
}

func (w *wish) look(rollup ID, used bool) {
	w.key = rollup.Scope
	if w.looks == nil {
		w.looks = map[[sha256.Size]byte]bool{}
	}
	w.looks[rollup.Structure] = w.looks[rollup.Structure] || used
}

// of returns what is to be done for a scope, or nil where that is too much. It is called with sh.mu held.
func (sh *shared) of(p place) *wish {
	w := sh.wishes[p]
	if w == nil && len(sh.wishes) < maxWishes {
		w = &wish{}
		sh.wishes[p] = w
	}
	return w
}

func (sh *shared) rouse() { rouse(sh.wake) }

func rouse(who chan struct{}) {
	select {
	case who <- struct{}{}:
	default: // it is awake already
	}
}

// ended forgets what is known of scopes, and has what is there of them deleted where they were dropped.
func (sh *shared) ended(scopes []*scope, why error) {
	over := make(map[place]bool, len(scopes))
	sh.mu.Lock()
	for _, sc := range scopes {
		over[sc.place] = true
		if why == errDropped {
			sh.drop(sc.place)
		}
	}
	sh.mu.Unlock()
	sh.known.forget(over)
	sh.rouse()
}

// drop has all that is there of a scope deleted, before anything else is done for it, and nothing used any more that was built
// before. It is called with sh.mu held.
func (sh *shared) drop(p place) {
	sh.ends.Add(p, sh.now())
	w := sh.of(p)
	if w == nil {
		sh.log.Warn("too much is to be deleted in the object store; the rest goes when nobody has used it for a day", zap.String("scope", p.String()))
		return
	}
	w.drop, w.looks, w.fetches, w.next, w.wait = true, nil, nil, time.Time{}, 0
}

// dropped has looked for what others put there of the credentials that match agrees to.
func (sh *shared) dropped(match func(driverfactory.PoolKey) bool) {
	sh.mu.Lock()
	if len(sh.gone) == maxGone {
		sh.gone = sh.gone[1:]
		sh.log.Warn("too much is to be deleted in the object store; the rest goes when nobody has used it for a day")
	}
	sh.gone = append(sh.gone, match)
	sh.mu.Unlock()
	rouse(sh.missed)
}

// task is a part of a wish.
type task struct {
	drop bool
	id   ID
	used bool
	file *file // to be fetched; nil: the rollup is looked at
	t    Table
}

// claim makes a wish the caller's to fulfil. Where somebody does already it returns what is closed when they are through, and where
// it failed a moment ago, how. Where there is nothing to do it returns nothing.
func (sh *shared) claim(p place) (mine bool, busy <-chan struct{}, err error) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	switch w := sh.wishes[p]; {
	case w == nil:
		return false, nil, nil
	case w.busy != nil:
		return false, w.busy, nil
	case time.Now().Before(w.next):
		return false, nil, w.err
	default:
		w.busy = make(chan struct{})
		return true, nil, nil
	}
}

// due makes a wish whose time has come the caller's to fulfil, or says how long there is none.
func (sh *shared) due() (p place, ok bool, wait time.Duration) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	wait = latestWait
	for p, w := range sh.wishes {
		if w.busy != nil {
			continue
		}
		left := time.Until(w.next)
		if left <= 0 {
			w.busy = make(chan struct{})
			return p, true, 0
		}
		wait = min(wait, left)
	}
	return place{}, false, wait
}

// next takes the next part of a wish, what was dropped first.
func (sh *shared) next(p place) (task, bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	w := sh.wishes[p]
	if w.drop {
		w.drop = false
		return task{drop: true}, true
	}
	for f, t := range w.fetches { // somebody would rather have read it
		delete(w.fetches, f)
		return task{id: ID{w.key, f.structure}, file: f, t: t}, true
	}
	for structure, used := range w.looks {
		delete(w.looks, structure)
		return task{id: ID{w.key, structure}, used: used}, true
	}
	return task{}, false
}

// through ends who fulfils a wish. What failed is to be done again, unless it was dropped meanwhile.
func (sh *shared) through(p place, failed task, err error) {
	sh.mu.Lock()
	w := sh.wishes[p]
	close(w.busy)
	w.busy, w.err = nil, err
	if err != nil {
		switch {
		case failed.drop:
			w.drop = true
		case failed.file == nil && !w.drop:
			w.look(failed.id, failed.used)
		}
		w.wait = min(max(2*w.wait, firstWait), latestWait)
		w.next = time.Now().Add(w.wait)
	}
	if !w.drop && len(w.looks) == 0 && len(w.fetches) == 0 {
		delete(sh.wishes, p)
	}
	sh.mu.Unlock()
	sh.rouse()
}

// answered notes whether the object store answers, and tells of a change.
func (sh *shared) answered(err error) {
	switch {
	case err == nil && sh.down.Swap(false):
		sh.log.Info("the object store answers again")
	case err != nil && !sh.down.Swap(true):
		sh.log.Warn("the object store fails; rollups that are here are read, and what is to be put there is tried again", zap.Error(err))
	}
}

// Refresh looks at what other replicas put into the object store of a rollup, and fetches what is newer there than here: then Tables
// knows what they have built. It returns at once where there is no object store, or where it failed a moment ago.
func (s *Store) Refresh(ctx context.Context, rollup ID) error {
	if s.shared == nil {
		return nil
	}
	if err := s.begin(); err != nil {
		return err
	}
	defer s.running.Done()
	ctx, cancel := context.WithTimeout(ctx, refreshTime)
	defer cancel()
	p := placeOf(rollup.Scope)
	s.shared.wish(rollup, false)
	for {
		mine, busy, err := s.shared.claim(p)
		switch {
		case mine:
			return s.fulfil(ctx, p)
		case busy == nil:
			return err
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return ended(ctx)
		}
	}
}

// share fulfils wishes until ctx is done.
func (s *Store) share(ctx context.Context) {
	sh := s.shared
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() { s.tidy(ctx) })
	slots := make(chan struct{}, maxTransfers)
	for {
		p, ok, wait := sh.due()
		if ok {
			select {
			case slots <- struct{}{}:
				group.Go(func() {
					defer func() { <-slots }()
					_ = s.fulfil(ctx, p) // it is kept with the wish
				})
			case <-ctx.Done():
				sh.through(p, task{}, nil)
			}
			if ctx.Err() == nil {
				continue
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-sh.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// fulfil does what is to be done for a scope, until it is done or fails.
func (s *Store) fulfil(ctx context.Context, p place) error {
	var failed task
	var err error
	defer func() { s.shared.through(p, failed, err) }()
	if err = s.begin(); err != nil {
		return err
	}
	defer s.running.Done()
	for {
		do, ok := s.shared.next(p)
		if !ok {
			return nil
		}
		switch {
		case do.drop:
			err = s.shared.deleteScope(ctx, p)
		case do.file != nil:
			err = s.fetch(ctx, do.id, do.t)
		default:
			err = s.look(ctx, do.id, do.used)
		}
		if fault.KindOf(err) == fault.Gone {
			err = nil // it was dropped meanwhile
		}
		if ctx.Err() == nil {
			s.shared.answered(err)
		}
		if err != nil {
			failed = do
			return err
		}
	}
}

// deleteScope deletes all that is there of a scope.
func (sh *shared) deleteScope(ctx context.Context, p place) error {
	sh.owners.Remove(p)
	if err := sh.deleteAll(ctx, scopePrefix(p)); err != nil {
		return err
	}
	return sh.objects.Delete(ctx, ownersPrefix+p.String())
}

// deleteAll deletes the objects whose names begin with prefix, notes first: without, nobody finds the rows.
func (sh *shared) deleteAll(ctx context.Context, prefix string) error {
	var rest []string
	for o, err := range sh.objects.List(ctx, prefix) {
		switch {
		case err != nil:
			return err
		case !strings.HasSuffix(o.Name, noteObject):
			rest = append(rest, o.Name)
			continue
		}
		if err := sh.objects.Delete(ctx, o.Name); err != nil {
			return err
		}
	}
	for _, name := range rest {
		if err := sh.objects.Delete(ctx, name); err != nil {
			return err
		}
	}
	return nil
}
