//go:build cgo

package preagg

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/filelock"
	"github.com/behalf-project/behalf/internal/id"
)

const (
	leastMemory      = 32 << 20 // of an instance that reads
	leastBuildMemory = 64 << 20 // of one that builds
	maxBuilds        = 2        // at once; a build mostly waits for its source

	idleTime   = 5 * time.Minute  // after which an instance that nobody uses is closed
	graceTime  = 10 * time.Minute // that a superseded table is kept for who has just been told of it
	unusedTime = 24 * time.Hour   // after which a table that nobody reads is dropped
	touchEvery = time.Hour        // how often the use of a table is noted on disk
	sweepEvery = 15 * time.Minute
)

// Store keeps rollups. It is safe for concurrent use.
type Store struct {
	cfg         Config
	unlock      func() error
	named       string // Place
	shelf       *shelf
	readers     *instances
	vetted      *vetted
	builds      *semaphore.Weighted
	buildMemory int64
	paths       *regexp.Regexp // of the store, as they stand in messages of DuckDB

	shared *shared // nil where there is no object store

	trashed chan struct{} // wakes Run, which deletes what was dropped

	folders sync.Mutex // held by who makes, fills or removes folders of tables; taken before every other lock

	mu      sync.Mutex // taken after that of a scope
	scopes  map[place]*scope
	owners  map[string]*owner
	bytes   int64
	closed  bool
	running sync.WaitGroup // calls that touch files
}

// owner is a person with rollups, or the service accounts of all sources, which are nobody and have no bound of their own.
type owner struct {
	id     string // a Principal.Key; empty for the service accounts
	scopes int
	bytes  int64
}

// scope is what one credential fetched.
type scope struct {
	key   driverfactory.PoolKey
	place place
	owner *owner
	bytes int64 // guarded by Store.mu

	mu    sync.Mutex
	made  bool  // its folder is there
	over  error // why nothing begins here any more
	using map[*use]struct{}
}

// use is a statement or a build under way, whose context ends with its scope.
type use struct{ cancel context.CancelCauseFunc }

// Why a scope is over.
var (
	errDropped = &fault.Error{
		Kind: fault.Gone, Code: "rollup_dropped",
		Detail: "The credential that fetched this rollup has ended, so the rollup was dropped.",
	}
	errClosed = &fault.Error{Kind: fault.Unavailable, Code: "stopping", Detail: "The server is stopping."}
	errEmpty  = errors.New("there is nothing in the scope")
)

// Open opens the store in a folder. It fails with fault.Unavailable when the folder cannot be used, or when another process
// has it open. It starts nothing; see Run.
func Open(cfg Config) (*Store, error) {
	if cfg.MaxMemory <= 0 {
		cfg.MaxMemory = 1 << 30
	}
	if cfg.MaxOpen <= 0 {
		cfg.MaxOpen = 64
	}
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = 10 << 30
	}
	if cfg.MaxBytesPerOwner <= 0 {
		cfg.MaxBytesPerOwner = cfg.MaxBytes / 4
	}
	if cfg.MaxSharedBytes <= 0 {
		cfg.MaxSharedBytes = cfg.MaxBytes
	}
	if cfg.MaxRows <= 0 {
		cfg.MaxRows = 20_000_000
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Dir == "" || strings.ContainsAny(cfg.Dir, "*?[") {
		return nil, fault.New(fault.Invalid, "The rollups cannot be kept in %q: DuckDB reads * ? and [ in a path as a pattern. Set objects.cache to another folder.", cfg.Dir)
	}
	var err error
	if cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		return nil, err
	}
	s := &Store{
		cfg: cfg, shelf: newShelf(), builds: semaphore.NewWeighted(maxBuilds), trashed: make(chan struct{}, 1), scopes: map[place]*scope{}, owners: map[string]*owner{},
		buildMemory: max(cfg.MaxMemory/4/maxBuilds, leastBuildMemory),
		paths:       regexp.MustCompile("(" + regexp.QuoteMeta(cfg.Dir) + "|" + regexp.QuoteMeta(filepath.ToSlash(cfg.Dir)) + `)[^\s"']*`),
	}
	memory := cfg.MaxMemory - cfg.MaxMemory/4
	open := max(min(int64(cfg.MaxOpen), memory/leastMemory), 1)
	s.readers = newInstances(int(open), max(memory/open, leastMemory), s.folder, cfg.Now)
	if s.vetted, err = newVetted(); err != nil {
		return nil, err
	}
	if cfg.Objects != nil {
		if s.shared, err = newShared(cfg); err != nil {
			return nil, err
		}
	}
	if err := s.take(); err != nil {
		if s.unlock != nil {
			err = errors.Join(err, s.unlock())
		}
		return nil, &fault.Error{
			Kind: fault.Unavailable, Code: "rollups_unavailable", Owner: fault.Admin, Err: err,
			Detail: "The folder of the rollups cannot be used. Check that nobody else uses it and who owns it, or set objects.cache to another.",
		}
	}
	return s, nil
}

// take makes the folder the store's own and finds what is in it.
func (s *Store) take() error {
	if err := os.MkdirAll(s.cfg.Dir, 0o700); err != nil {
		return err
	}
	var err error
	if s.unlock, err = filelock.Lock(filepath.Join(s.cfg.Dir, "lock")); err != nil {
		return err
	}
	if err := s.name(); err != nil {
		return err
	}
	// Nobody builds and nobody deletes: what is there of it was left by a process that ended.
	for _, left := range []string{s.buildsDir(), s.trashDir()} {
		if err := os.RemoveAll(left); err != nil {
			return err
		}
	}
	for _, dir := range []string{s.buildsDir(), s.trashDir(), s.scopesDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(s.scopesDir())
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := s.adopt(e.Name()); err != nil {
			return err
		}
	}
	s.emptyTrash()
	return nil
}

// Place returns a name of where the rollups are that no other place has, and that it keeps: of the object store, or of the folder where
// there is none, or it does not answer within a moment.
func (s *Store) Place(ctx context.Context) string {
	if s.shared == nil {
		return s.named
	}
	ctx, cancel := context.WithTimeout(ctx, placeTime)
	defer cancel()
	name, err := s.shared.place(ctx, s.named)
	if err != nil {
		s.cfg.Log.Warn("the object store does not say which one it is: what is in use here is fetched again by this process alone", zap.Error(err))
		return s.named
	}
	return name
}

// name finds the name of the folder, or gives it one.
func (s *Store) name() error {
	path := filepath.Join(s.cfg.Dir, "id")
	text, err := readSmall(path)
	if s.named = string(text); err == nil && placeName.MatchString(s.named) {
		return nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	s.named = id.Random(12)
	made := path + ".new"
	if err := errors.Join(removeFile(made), writeFile(made, []byte(s.named))); err != nil {
		return err
	}
	return errors.Join(os.Rename(made, path), syncDir(s.cfg.Dir))
}

var placeName = regexp.MustCompile(`^[0-9A-Za-z_-]{8,64}$`)

// adopt takes over the folder of a scope that an earlier process left. One that does not say whose it is goes.
func (s *Store) adopt(name string) error {
	text, err := readSmall(filepath.Join(s.scopesDir(), name, ownerFile))
	var key driverfactory.PoolKey
	if err == nil {
		key, err = decodeManifest(text, name)
	}
	if err != nil {
		s.cfg.Log.Warn("a folder of rollups does not say whose it is; it is dropped", zap.String("file", name), zap.Error(err))
		return s.discard(name)
	}
	sc := s.register(key)
	sc.made = true
	tables, err := s.listScope(sc)
	if err != nil {
		return err
	}
	for _, t := range tables {
		s.account(sc, t.bytes)
	}
	return nil
}

// register adds the scope of key, which is not there yet.
func (s *Store) register(key driverfactory.PoolKey) *scope {
	ownerID := ""
	if !key.Service {
		ownerID = key.Principal.Key()
	}
	o := s.owners[ownerID]
	if o == nil {
		o = &owner{id: ownerID}
		s.owners[ownerID] = o
	}
	o.scopes++
	sc := &scope{key: key, place: placeOf(key), owner: o}
	s.scopes[sc.place] = sc
	return sc
}

// The folders of the store.
func (s *Store) scopesDir() string { return filepath.Join(s.cfg.Dir, "scopes") }
func (s *Store) buildsDir() string { return filepath.Join(s.cfg.Dir, "builds") }
func (s *Store) trashDir() string  { return filepath.Join(s.cfg.Dir, "trash") }

// folder returns the folder of sc.
func (s *Store) folder(sc *scope) string { return filepath.Join(s.scopesDir(), sc.place.String()) }

// begin says that a call is under way that touches files. Each successful call is followed by s.running.Done.
func (s *Store) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	s.running.Add(1)
	return nil
}

// scope returns the scope of key, or nil when there is nothing of it.
func (s *Store) scope(key driverfactory.PoolKey) *scope {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.scopes[placeOf(key)]
}

// enterNew enters the scope of key to build in it, whether or not there is something of it yet.
func (s *Store) enterNew(ctx context.Context, key driverfactory.PoolKey) (*scope, context.Context, func(), error) {
	for {
		s.mu.Lock()
		sc := s.scopes[placeOf(key)]
		if sc == nil {
			sc = s.register(key)
		}
		s.mu.Unlock()
		inside, leave, err := sc.enter(ctx)
		if !errors.Is(err, errEmpty) {
			return sc, inside, leave, err
		}
		// It is being swept, and gone when whoever does that is through.
		s.folders.Lock()
		s.folders.Unlock() //nolint:staticcheck // waiting is all
	}
}

// enter begins something that reads or builds in sc: it returns ctx until sc ends, and what to call afterwards.
func (sc *scope) enter(ctx context.Context) (context.Context, func(), error) {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	if sc.over != nil {
		return nil, nil, sc.over
	}
	ctx, cancel := context.WithCancelCause(ctx)
	u := &use{cancel}
	if sc.using == nil {
		sc.using = map[*use]struct{}{}
	}
	sc.using[u] = struct{}{}
	return ctx, func() {
		cancel(nil)
		sc.mu.Lock()
		defer sc.mu.Unlock()
		delete(sc.using, u)
	}, nil
}

// end lets nothing begin in sc any more and cancels what is under way.
func (sc *scope) end(why error) {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	if sc.over == nil {
		sc.over = why
	}
	for u := range sc.using {
		u.cancel(why)
	}
}

// ended is the fault of what ctx ended: its scope did, its caller left, or its time is up.
func ended(ctx context.Context) error {
	cause := context.Cause(ctx)
	if f, ok := errors.AsType[*fault.Error](cause); ok {
		return f
	}
	if errors.Is(cause, context.DeadlineExceeded) {
		return &fault.Error{Kind: fault.Timeout, Code: "query_timeout", Err: cause, Detail: "The rollup took longer than it may."}
	}
	return &fault.Error{Kind: fault.Canceled, Code: "query_canceled", Err: cause, Detail: "It was cancelled while it used a rollup."}
}

// Bytes returns what all tables take.
func (s *Store) Bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

// account counts n more bytes for sc. It is called with sc.mu held, and not once sc is over.
func (s *Store) account(sc *scope, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(sc, n)
}

func (s *Store) add(sc *scope, n int64) {
	sc.bytes += n
	sc.owner.bytes += n
	s.bytes += n
}

// reserve counts n more bytes for sc if there is room for them, or says of whom there are too many. It is called as
// account is.
func (s *Store) reserve(sc *scope, n int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.room(sc.owner, n); err != nil {
		return err
	}
	s.add(sc, n)
	return nil
}

// room returns why there is no room for n more bytes of o. It is called with s.mu held.
func (s *Store) room(o *owner, n int64) error {
	switch {
	case o.id != "" && o.bytes+n > s.cfg.MaxBytesPerOwner:
		return &fault.Error{
			Kind: fault.TooMany, Code: "rollups_of_person_full", Owner: fault.Admin,
			Detail: fmt.Sprintf("The rollups of one person may take %d MiB, and with this one they would take more. "+
				"Make the pre-aggregation smaller, or raise preaggs.max_user_bytes.", s.cfg.MaxBytesPerOwner>>20),
		}
	case s.bytes+n > s.cfg.MaxBytes:
		return &fault.Error{
			Kind: fault.TooMany, Code: codeFull, Owner: fault.Admin,
			Detail: fmt.Sprintf("The rollups of everybody may take %d MiB, and with this one they would take more. "+
				"What nobody uses goes after a day; or raise objects.cache_max_bytes.", s.cfg.MaxBytes>>20),
		}
	}
	return nil
}

// codeFull says that the whole store is full.
const codeFull = "rollups_full"

// IDs returns the rollups that there may be tables of, of the credentials that match agrees to, in no order. It reads a
// folder for each credential. match is called under a lock and must not use the Store.
func (s *Store) IDs(match func(driverfactory.PoolKey) bool) (ids []ID) {
	if s.begin() != nil {
		return nil
	}
	defer s.running.Done()
	var scopes []*scope
	s.mu.Lock()
	for _, sc := range s.scopes {
		if match(sc.key) {
			scopes = append(scopes, sc)
		}
	}
	s.mu.Unlock()
	for _, sc := range scopes {
		structures, err := s.structures(sc)
		if err != nil {
			s.cfg.Log.Error("a folder of rollups cannot be read", zap.String("file", sc.place.String()), zap.Error(err))
		}
		for _, structure := range structures {
			ids = append(ids, ID{sc.key, structure})
		}
	}
	return ids
}

// structures returns those of the rollups in the folder of sc.
func (s *Store) structures(sc *scope) (all [][sha256.Size]byte, err error) {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	if sc.over != nil || !sc.made {
		return nil, nil
	}
	entries, err := os.ReadDir(s.folder(sc))
	for _, e := range entries {
		if structure, ok := parseStructure(e.Name()); ok {
			all = append(all, structure)
		}
	}
	return all, err
}

// Tables returns the newest Table of each partition of a rollup, in the order of their names; none when there are none. Where one
// is here, a newer one in the object store takes its place once it is fetched.
func (s *Store) Tables(rollup ID) []Table {
	if s.begin() != nil {
		return nil
	}
	defer s.running.Done()
	here := s.here(rollup)
	if s.shared == nil {
		return here
	}
	return s.shared.with(rollup, here, s.cfg.Now())
}

// here returns the tables of a rollup that are on disk.
func (s *Store) here(rollup ID) []Table {
	sc := s.scope(rollup.Scope)
	if sc == nil {
		return nil
	}
	sc.mu.Lock()
	defer sc.mu.Unlock()
	if sc.over != nil || !sc.made {
		return nil
	}
	tables, err := s.tables(sc, rollup.Structure)
	if err != nil {
		s.cfg.Log.Error("a folder of rollups cannot be read", zap.String("file", sc.place.String()), zap.Error(err))
	}
	return append([]Table(nil), tables...)
}

// Drop removes everything that was fetched under the credentials that match agrees to. When it returns, nothing of it is
// read any more, nor after a restart: statements that read it and builds of it end with fault.Gone, and what was read
// already is not handed out. A credential that is used again afterwards begins with nothing.
//
// A Write that is begun later is not stopped: whoever drops because a credential has ended cancels first what fetches
// under it, and a Write keeps nothing once its context has ended.
//
// Whoever drops tells others of what ended, and they wait: so the files are out of the way when it returns, and Run deletes them,
// and what other replicas put into the object store.
// An error means that files may be left on disk, of which nothing is read while this Store is open. match is called under a
// lock and must not use the Store.
func (s *Store) Drop(match func(driverfactory.PoolKey) bool) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.running.Done()
	if s.shared != nil {
		defer s.shared.dropped(match)
	}
	if len(s.matching(match)) == 0 {
		return nil // as a rule: it waits for no disk
	}
	s.folders.Lock()
	defer s.folders.Unlock()
	err := s.end(s.matching(match), errDropped)
	select {
	case s.trashed <- struct{}{}:
	default: // Run is told already
	}
	return err
}

// matching returns the scopes whose key match agrees to.
func (s *Store) matching(match func(driverfactory.PoolKey) bool) (scopes []*scope) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sc := range s.scopes {
		if match(sc.key) {
			scopes = append(scopes, sc)
		}
	}
	return scopes
}

// end ends scopes and moves their folders to the trash. It is called with s.folders held. The order matters: whoever
// enters or commits looks at the mark, so after the first loop nothing comes to what is then taken away.
func (s *Store) end(scopes []*scope, why error) error {
	if len(scopes) == 0 {
		return nil
	}
	for _, sc := range scopes {
		sc.end(why)
	}
	over := make(map[place]bool, len(scopes))
	s.mu.Lock()
	for _, sc := range scopes {
		over[sc.place] = true
		s.add(sc, -sc.bytes)
		delete(s.scopes, sc.place)
		if sc.owner.scopes--; sc.owner.scopes == 0 {
			delete(s.owners, sc.owner.id)
		}
	}
	s.mu.Unlock()
	s.shelf.forget(over)
	if s.shared != nil {
		s.shared.ended(scopes, why)
	}

	var errs []error
	for _, sc := range scopes {
		s.readers.drop(sc)
		if sc.made { // it changes with s.folders held
			errs = append(errs, s.discard(sc.place.String()))
		}
	}
	// Without this a power cut could bring the folders back.
	errs = append(errs, syncDir(s.scopesDir()))
	err := errors.Join(errs...)
	if err != nil {
		return &fault.Error{
			Kind: fault.Unavailable, Code: "rollups_unavailable", Owner: fault.Admin, Err: err,
			Detail: "Files of dropped rollups could not be removed from the disk. They are not read; remove them, or restart the server.",
		}
	}
	return nil
}

// Sweep drops what nobody read for a day, tables that were superseded for some minutes, and what is left of removals, and
// closes instances that nobody uses. It ends early when ctx does.
func (s *Store) Sweep(ctx context.Context) {
	if s.begin() != nil {
		return
	}
	defer s.running.Done()
	s.readers.closeIdle(s.cfg.Now().Add(-idleTime))
	s.mu.Lock()
	scopes := make([]*scope, 0, len(s.scopes))
	for _, sc := range s.scopes {
		scopes = append(scopes, sc)
	}
	s.mu.Unlock()
	for _, sc := range scopes {
		if ctx.Err() != nil {
			return
		}
		s.sweep(sc)
	}
	s.emptyTrash()
}

func (s *Store) sweep(sc *scope) {
	s.folders.Lock()
	defer s.folders.Unlock()
	empty, err := s.sweepTables(sc)
	if empty {
		err = errors.Join(err, s.end([]*scope{sc}, errEmpty))
	}
	if err != nil {
		s.cfg.Log.Warn("a folder of rollups cannot be swept", zap.String("file", sc.place.String()), zap.Error(err))
	}
}

// sweepTables drops the tables of sc whose time is over, and reports whether nothing is left. Then nothing begins in sc any
// more.
func (s *Store) sweepTables(sc *scope) (empty bool, err error) {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	if sc.over != nil {
		return false, nil
	}
	left := 0
	if sc.made {
		tables, err := s.listScope(sc)
		if err != nil {
			return false, err
		}
		now := s.cfg.Now()
		for _, t := range tables {
			if now.Sub(t.used) < unusedTime && (t.newest() || now.Sub(t.supersededAt) < graceTime) {
				left++
				continue
			}
			if err := s.remove(sc, t); err != nil {
				return false, err
			}
		}
	}
	if left == 0 && len(sc.using) == 0 {
		sc.over = errEmpty
	}
	return sc.over != nil, nil
}

// Run deletes what is dropped, sweeps from time to time, and moves tables to and from the object store. It returns nil when ctx is
// done, and never before.
func (s *Store) Run(ctx context.Context) error {
	if s.shared != nil {
		var sharing sync.WaitGroup
		defer sharing.Wait()
		sharing.Go(func() { s.share(ctx) })
	}
	idle, sweep := time.NewTicker(idleTime/5), time.NewTicker(sweepEvery)
	defer idle.Stop()
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.trashed:
			s.emptyTrash()
		case <-idle.C:
			s.readers.closeIdle(s.cfg.Now().Add(-idleTime))
		case <-sweep.C:
			s.Sweep(ctx)
		}
	}
}

// Close ends what is under way, waits for it, and lets go of the folder. Rows that are still open end with an error.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	scopes := make([]*scope, 0, len(s.scopes))
	for _, sc := range s.scopes {
		scopes = append(scopes, sc)
	}
	s.mu.Unlock()
	for _, sc := range scopes {
		sc.end(errClosed)
	}
	s.running.Wait()
	s.readers.close()
	return s.unlock()
}

// discard moves the folder of a scope out of the way, where Open and Run remove it.
func (s *Store) discard(name string) error {
	dir := filepath.Join(s.scopesDir(), name)
	err := os.Rename(dir, filepath.Join(s.trashDir(), id.Random(8)))
	if err == nil || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	// Somebody has a file of it open, where a system does not like that. Without its manifest it is dropped at the next start.
	return errors.Join(err, removeFile(filepath.Join(dir, ownerFile)))
}

// emptyTrash removes what was discarded. What cannot be removed is tried again later.
func (s *Store) emptyTrash() {
	if s.begin() != nil {
		return
	}
	defer s.running.Done()
	entries, err := os.ReadDir(s.trashDir())
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(s.trashDir(), e.Name())))
	}
	if err != nil {
		s.cfg.Log.Warn("dropped rollups are still on disk", zap.String("file", s.trashDir()), zap.Error(err))
	}
}
