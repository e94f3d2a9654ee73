//go:build cgo

package preagg

import (
	"container/list"
	"crypto/sha256"
	"sync"
)

// maxShelved is how many tables are in memory, at some hundred bytes each.
const maxShelved = 50_000

// shelf keeps lists of tables in memory, those that were asked for last. A list is never changed: there is another one.
type shelf struct {
	mu     sync.Mutex
	lists  map[shelfKey]*list.Element
	used   list.List // of *shelved, the last used first
	tables int
}

type shelfKey struct {
	scope     place
	structure [sha256.Size]byte
}

type shelved struct {
	key    shelfKey
	tables []Table
}

// weight counts a list as a table too, so that empty ones are bounded.
func (s *shelved) weight() int { return 1 + len(s.tables) }

func newShelf() *shelf { return &shelf{lists: map[shelfKey]*list.Element{}} }

func (s *shelf) get(k shelfKey) ([]Table, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	el := s.lists[k]
	if el == nil {
		return nil, false
	}
	s.used.MoveToFront(el)
	return el.Value.(*shelved).tables, true
}

// put keeps tables in place of what there was. A list that is too long by itself stays until the next one comes.
func (s *shelf) put(k shelfKey, tables []Table) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.take(s.lists[k])
	entry := &shelved{k, tables}
	s.tables += entry.weight()
	s.lists[k] = s.used.PushFront(entry)
	for s.tables > maxShelved && s.used.Len() > 1 {
		s.take(s.used.Back())
	}
}

func (s *shelf) remove(k shelfKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.take(s.lists[k])
}

// forget removes the lists of scopes.
func (s *shelf) forget(scopes map[place]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, el := range s.lists {
		if scopes[k.scope] {
			s.take(el)
		}
	}
}

// take takes el from the shelf, if it is not nil.
func (s *shelf) take(el *list.Element) {
	if el == nil {
		return
	}
	entry := s.used.Remove(el).(*shelved)
	s.tables -= entry.weight()
	delete(s.lists, entry.key)
}
