package resultcache

import (
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/rowset"
)

// What things cost in memory on 64 bits. The sum is an estimate; a test compares it with the heap.
const (
	entryCost  = 1024 // an Entry with its key, list elements and map slots
	columnCost = 64
)

// maxForms bounds the encoded forms of one entry.
const maxForms = 4

// Entry is one result. What is exported of it is read-only from the moment it is made; it is safe for concurrent use.
type Entry struct {
	Columns []driverfactory.Column
	Rows    *rowset.Rows
	RanAt   time.Time // when the statement ran
	Values  Values    // of the refresh keys when it was asked for; set before the entry is Put

	// By is the credential that fetched it, and Role what the session told that it ran under, "" where it is not known or
	// does not matter. They are set before the entry is Put, too.
	By   driverfactory.PoolKey
	Role string

	size  int64                  // of columns and rows
	item  atomic.Pointer[item]   // its place in the cache; nil when it is in none
	forms atomic.Pointer[[]form] // written by the cache under its lock

	making sync.Mutex // held while a form is made, so that it is made once

	cache *Cache // which counts it; nil for one that nobody reads from a Draft
	owner string // see ownerOf
	refs  int    // holders outside the cache; guarded by the cache's lock, like held
	held  int64  // what the cache counts of it as held
}

// form is an encoded form of an entry. One that is too large to be kept has no parts.
type form struct {
	name  string
	parts [][]byte
}

// NewEntry returns an entry of these rows that nobody counts before it is Put. It fails when a value is not of one of
// the types that driverfactory.Rows promises. Results that are read from a driver come from a Draft.
func NewEntry(columns []driverfactory.Column, rows [][]any, ranAt time.Time) (*Entry, error) {
	packed, err := rowset.Of(rows)
	if err != nil {
		return nil, err
	}
	return newEntry(columns, packed, ranAt), nil
}

func newEntry(columns []driverfactory.Column, rows *rowset.Rows, ranAt time.Time) *Entry {
	return &Entry{Columns: columns, Rows: rows, RanAt: ranAt, size: costOf(columns) + rows.Size()}
}

// costOf returns what an entry with these columns and no rows costs.
func costOf(columns []driverfactory.Column) int64 {
	size := int64(entryCost)
	for _, c := range columns {
		size += columnCost + int64(len(c.Name)+len(c.Type))
	}
	return size
}

// Size returns what the columns and rows cost in memory.
func (e *Entry) Size() int64 { return e.size }

// errNoRoom ends the making of a form that cannot be kept.
var errNoRoom = errors.New("there is no room for the form")

// Encoded returns what encode writes for e, in parts, and keeps it as long as the cache keeps e: at most four of them,
// and within the bound of one entry. name says which form that is: everything that is written depends on it and on e
// alone. Concurrent callers wait for one encode; its error is returned and not kept. Nobody may change the parts.
//
// Where a form cannot be kept, because e is not cached or the form would be too large, ok is false: the caller then
// encodes e to where it is needed, piece by piece. So no form that is not kept ever exists as a whole.
func (e *Entry) Encoded(name string, encode func(io.Writer) error) (parts [][]byte, ok bool, err error) {
	if f, known := e.form(name); known {
		return f.parts, f.parts != nil, nil
	}
	if e.item.Load() == nil {
		return nil, false, nil
	}
	e.making.Lock()
	defer e.making.Unlock()
	f, known := e.form(name)
	it := e.item.Load()
	if known || it == nil || len(e.known()) == maxForms {
		return f.parts, f.parts != nil, nil
	}
	m := &making{item: it}
	defer m.end()
	err = encode(m)
	switch {
	case m.tooLarge:
		it.cache.keep(m, form{name: name})
		return nil, false, nil
	case errors.Is(err, errNoRoom):
		return nil, false, nil
	case err != nil:
		return nil, false, err
	}
	if !it.cache.keep(m, form{name, m.parts}) {
		return nil, false, nil
	}
	return m.parts, true, nil
}

// known returns the forms of e. Who appends to them copies them.
func (e *Entry) known() []form {
	if forms := e.forms.Load(); forms != nil {
		return slices.Clip(*forms)
	}
	return nil
}

func (e *Entry) form(name string) (form, bool) {
	for _, f := range e.known() {
		if f.name == name {
			return f, true
		}
	}
	return form{}, false
}

// making is a form that is being written. What it takes counts as held.
type making struct {
	item     *item
	parts    [][]byte
	size     int64
	tooLarge bool // for an entry, now and whenever it is tried again
}

// Write keeps a copy of p, if there is room.
func (m *making) Write(p []byte) (int, error) {
	c, n := m.item.cache, int64(len(p))
	c.mu.Lock()
	m.tooLarge = m.item.bytes+m.size+n > c.cfg.MaxEntryBytes
	err := errNoRoom
	if !m.tooLarge {
		err = c.hold(m.item.entry.owner, n)
	}
	c.mu.Unlock()
	if err != nil {
		return 0, errNoRoom
	}
	m.size += n
	m.parts = append(m.parts, append([]byte(nil), p...))
	return len(p), nil
}

// end gives back what is not kept.
func (m *making) end() {
	c := m.item.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	c.letGo(m.item.entry.owner, m.size)
}
