package orchestrator

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
)

// Stored is a rollup of one credential: what is kept of it, and what is being done about it.
type Stored struct {
	ID    string // rol_…: a hash of the rollup's
	Scope driverfactory.PoolKey
	Name  string     // where a request named it since the start
	State BuildState // of its latest build; unknown where there was none since the start

	Structure     string // as a short hash
	Partitions    int    // that are kept
	Rows, Bytes   int64
	Oldest, Built time.Time // when the oldest and the newest of them were built; zero where there are none
}

// Rollups returns what v sees of the rollups that are kept, built, waiting to be built or failed to be: their own, or
// everybody's and those of the service accounts. They come in the order of their ids, after the one with the id after: at most
// limit of them (default 200, and never more). next is where the next page begins, empty after the last one.
func (o *Orchestrators) Rollups(v Viewer, after string, limit int) (list []Stored, next string) {
	seen := func(key driverfactory.PoolKey) bool {
		return v.All || !key.Service && !v.Principal.Anonymous() && key.Principal == v.Principal
	}
	var ids []RollupID
	if o.cfg.PreAggregations != nil {
		ids = o.cfg.PreAggregations.IDs(seen)
	}
	o.mu.Lock()
	for _, id := range o.rollups.Keys() {
		if k, _ := o.rollups.Peek(id); (k.err != nil || len(k.tables) > 0) && seen(id.Scope) {
			ids = append(ids, id)
		}
	}
	for scope, under := range o.builds {
		if !seen(scope) {
			continue
		}
		ids = append(ids, under.now)
		for _, b := range under.waiting {
			ids = append(ids, b.id)
		}
	}
	o.mu.Unlock()

	named := make(map[string]RollupID, len(ids)) // one that is kept and built is there once
	for _, id := range ids {
		if name := storedID(id); name > after {
			named[name] = id
		}
	}
	names := make([]string, 0, len(named))
	for name := range named {
		names = append(names, name)
	}
	slices.Sort(names)
	names, next = page(names, limit, strings.Clone)
	for _, name := range names {
		list = append(list, o.stored(name, named[name]))
	}
	return list, next
}

// stored describes one rollup.
func (o *Orchestrators) stored(name string, id RollupID) Stored {
	s := Stored{ID: name, Scope: id.Scope, Structure: hex.EncodeToString(id.Structure[:6])}
	for _, t := range o.stores(id) {
		s.Partitions++
		s.Rows += t.Rows
		s.Bytes += t.Bytes
		if s.Oldest.IsZero() || t.BuiltAt.Before(s.Oldest) {
			s.Oldest = t.BuiltAt
		}
		if t.BuiltAt.After(s.Built) {
			s.Built = t.BuiltAt
		}
	}
	s.State, _ = o.Built(id)
	o.mu.Lock()
	defer o.mu.Unlock()
	if k, ok := o.rollups.Peek(id); ok {
		s.Name = k.name
	}
	return s
}

// stores returns the tables of a rollup, here and in its source.
func (o *Orchestrators) stores(id RollupID) (tables []RollupTable) {
	if o.cfg.PreAggregations != nil {
		tables = o.cfg.PreAggregations.Tables(id)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if k, ok := o.rollups.Peek(id); ok {
		for _, t := range k.tables {
			tables = append(tables, t.RollupTable)
		}
	}
	return tables
}

// storedID returns an id of a rollup that is short, and no other's.
func storedID(id RollupID) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %x", scopeID(id.Scope), id.Structure))
	return "rol_" + hex.EncodeToString(sum[:12])
}
