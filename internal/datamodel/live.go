package datamodel

import (
	"context"
	"encoding/binary"
	"hash/fnv"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Live is the model of a folder as the folder is now. A change is read within seconds; one that is wrong leaves the last
// good model serving. It is safe for concurrent use.
type Live struct {
	cfg    LiveConfig
	model  atomic.Pointer[Model]
	reload chan struct{}

	read uint64 // Run's own: the fingerprint of what was read last, good or not

	mu    sync.Mutex
	state State
}

// LiveConfig is what Open needs. Files and Load are required.
type LiveConfig struct {
	Files fs.FS
	Load  func(fs.FS) (*Model, error) // Load, with the languages that the models may be written in
	Every time.Duration               // how often the folder is looked at; default 1 s
	Log   *zap.Logger                 // default: no logging
}

// State says what serves, and what is wrong with what does not.
type State struct {
	LoadedAt time.Time // when the model that serves was read
	Problem  error     // of the files as they are now, a *LoadError or one of the file system; nil when they serve
	FailedAt time.Time // when the Problem was found
}

// Open reads the model. It fails when that is wrong: there is no last good one yet.
func Open(cfg LiveConfig) (*Live, error) {
	if cfg.Every == 0 {
		cfg.Every = time.Second
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	l := &Live{cfg: cfg, reload: make(chan struct{}, 1), read: fingerprint(cfg.Files)}
	if err := l.load(); err != nil {
		return nil, err
	}
	return l, nil
}

// Model returns the model that serves.
func (l *Live) Model() *Model { return l.model.Load() }

// State returns what serves and what is wrong.
func (l *Live) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
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
			_ = l.load() // State has it
		case <-look.C:
			now := fingerprint(l.cfg.Files)
			if now == before && now != l.read {
				l.read = now
				_ = l.load()
			}
			before = now
		}
	}
}

// load reads the folder, and has its model serve if it is good.
func (l *Live) load() error {
	m, err := l.cfg.Load(l.cfg.Files)
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.state.Problem, l.state.FailedAt = err, now
		if l.Model() != nil {
			l.cfg.Log.Error("the data model cannot be read; the last good one goes on serving", zap.Error(err), zap.Time("serving_since", l.state.LoadedAt))
		}
		return err
	}
	for _, n := range m.Notices() {
		l.cfg.Log.Warn("data model: " + n.String())
	}
	l.state = State{LoadedAt: now}
	if l.model.Swap(m) != nil {
		l.cfg.Log.Info("the data model was read again", zap.Int("cubes_and_views", len(m.Cubes())))
	}
	return nil
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
