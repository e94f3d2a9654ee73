package datamodel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Live is the model of a folder as the folder is now. A change is read within seconds; one that is wrong leaves the last
// good model serving. A model that reads COMPILE_CONTEXT is several: one for each application id; see variants. It is
// safe for concurrent use.
type Live struct {
	cfg      LiveConfig
	shared   atomic.Pointer[Model] // what serves everybody; nil while there is a model for each application id
	variants variants
	turn     chan struct{} // one compilation at a time
	reload   chan struct{}

	read uint64 // Run's own: the fingerprint of what was read last, good or not

	mu    sync.Mutex
	state State
}

// LiveConfig is what Open needs. Files and Load are required.
type LiveConfig struct {
	Files     fs.FS
	Load      func(context.Context, *Compilation, fs.FS) (*Model, error) // (*Compilation).Load, with the languages that the models may be written in
	Variables Variables                                                  // that files see
	ByAppID   bool                                                       // there are application ids, so models may read COMPILE_CONTEXT
	Max       int                                                        // models of application ids that are kept; default 16
	Every     time.Duration                                              // how often the folder is looked at; default 1 s
	Log       *zap.Logger                                                // default: no logging
}

// State says what serves, and what is wrong with what does not.
type State struct {
	LoadedAt time.Time // when the model that serves was read
	Problem  error     // of the files as they are now, a *LoadError or one of the file system; nil when they serve
	FailedAt time.Time // when the Problem was found
}

// Open reads the model. It fails when that is wrong: there is no last good one yet. What depends on who asks is not read
// before somebody does.
func Open(ctx context.Context, cfg LiveConfig) (*Live, error) {
	if cfg.Every == 0 {
		cfg.Every = time.Second
	}
	if cfg.Max == 0 {
		cfg.Max = 16
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	l := &Live{cfg: cfg, turn: make(chan struct{}, 1), reload: make(chan struct{}, 1), read: fingerprint(cfg.Files)}
	l.variants.open(cfg.Max)
	if err := l.load(ctx); err != nil {
		return nil, err
	}
	return l, nil
}

// State returns what serves and what is wrong.
func (l *Live) State() State {
	l.mu.Lock()
	s := l.state
	l.mu.Unlock()
	if s.Problem == nil {
		s.FailedAt, s.Problem = l.variants.problem()
	}
	return s
}

// Reload has Run read the folder now, whether or not it changed.
func (l *Live) Reload() {
	select {
	case l.reload <- struct{}{}:
	default: // one is under way
	}
}

// Run reads the folder again whenever it has changed and then stayed as it is for one look, so that a copy under way is
// not taken for an edit. It returns when ctx ends.
func (l *Live) Run(ctx context.Context) error {
	look := time.NewTicker(l.cfg.Every)
	defer look.Stop()
	before := l.read
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.reload:
			l.read = fingerprint(l.cfg.Files)
			before = l.read
			_ = l.load(ctx) // State has it
		case <-look.C:
			now := fingerprint(l.cfg.Files)
			if now == before && now != l.read {
				l.read = now
				_ = l.load(ctx)
			}
			before = now
		}
	}
}

// load reads the folder, and has its model serve if it is good: to everybody, or to each application id that has one.
func (l *Live) load(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	m, _, err := l.compile(ctx, nil)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	now := time.Now()
	perApp, isPerApp := errors.AsType[*PerAppID](err)
	if err != nil && !isPerApp {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.state.Problem, l.state.FailedAt = err, now
		if !l.state.LoadedAt.IsZero() {
			l.cfg.Log.Error("the data model cannot be read; the last good one goes on serving", zap.Error(err), zap.Time("serving_since", l.state.LoadedAt))
		}
		return err
	}
	if isPerApp {
		l.cfg.Log.Info("data model: " + perApp.Error())
		l.recompile(ctx)
	} else {
		l.tell(m)
		if l.shared.Swap(m) != nil || l.variants.purge() {
			l.cfg.Log.Info("the data model was read again", zap.Int("cubes_and_views", len(m.Cubes())))
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = State{LoadedAt: now}
	return nil
}

// tell logs what a model asks for and does not get.
func (l *Live) tell(m *Model) {
	for _, n := range m.Notices() {
		l.cfg.Log.Warn("data model: " + n.String())
	}
}

// compileTime bounds one compilation, and patience the time that somebody waits for their turn.
const (
	compileTime = 2 * time.Minute
	patience    = 30 * time.Second
)

// compile reads the folder for asker, who may be nobody.
func (l *Live) compile(ctx context.Context, asker map[string]any) (*Model, *Compilation, error) {
	ctx, cancel := context.WithTimeout(ctx, compileTime)
	defer cancel()
	c := &Compilation{ByAppID: l.cfg.ByAppID, Asker: asker, Variables: l.cfg.Variables}
	m, err := l.cfg.Load(ctx, c, l.cfg.Files)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("the data model was not compiled within %s: %w", compileTime, err)
	}
	return m, c, err
}

// fingerprint tells two states of a folder apart by the names, sizes and times of its files.
func fingerprint(fsys fs.FS) uint64 {
	h := fnv.New64a()
	var number [8]byte
	add := func(n int64) {
		binary.LittleEndian.PutUint64(number[:], uint64(n))
		h.Write(number[:])
	}
	_ = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		h.Write([]byte(name + "\x00"))
		switch {
		case err != nil:
			h.Write([]byte(err.Error()))
		case d.IsDir() && hidden(name, d):
			return fs.SkipDir
		case !d.IsDir():
			if info, err := d.Info(); err == nil {
				add(info.Size())
				add(info.ModTime().UnixNano())
			}
		}
		return nil
	})
	return h.Sum64()
}
