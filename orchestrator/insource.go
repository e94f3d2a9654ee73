package orchestrator

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/resultcache"
)

// A rollup may be kept in its source: the credential that fetches it has the source make tables of it, and reads these by statements of
// the source. Nothing but their names comes here, and SourceTables keeps those. Another credential has tables of its own, or none.
//
//	begun ──CREATE TABLE AS──▶ counted ──▶ read ──▶ replaced, unused, or of a credential that ended ──▶ dropped
//
// Who drops them is whoever made them, by their next build there. What a revoked grant made stays in the source, where nobody reads it
// through us, until the person authorizes again, and has it dropped under the new grant.

// TableSQL is how a source is told of tables, in its own dialect.
type TableSQL struct {
	Schema string // that the tables are made in

	// Over returns a statement that reads rollups by their names, over the tables of these: Rollup.Read, or what Rollup.Build returns.
	Over func(s driverfactory.Statement, tables map[string][]SourceTable) driverfactory.Statement

	// Create returns the statement that makes a table of the rows of another one.
	Create func(t SourceTable, rows driverfactory.Statement) driverfactory.Statement

	// Indexes returns the statements that make the indexes of a new table. Without them, it is read all the same.
	Indexes func(t SourceTable) []driverfactory.Statement

	// CreateSchema makes the schema of a table where it is not there; Count counts its rows, by one row of one column; Drop drops it,
	// if it is there.
	CreateSchema, Count, Drop func(t SourceTable) driverfactory.Statement
}

const (
	tablesKnown  = 30 * time.Second      // for so long what the store said of them
	mostTables   = 10_000                // of one person, or account, at a source
	builtWithin  = time.Hour             // a table that is not there by then never will be
	replacedKept = 5 * time.Minute       // for whoever reads it
	unusedKept   = UsedFor - 2*noteEvery // then the last look at what was in use finds it unused
	dropAgain    = time.Hour             // until it is tried again
	dropsAtOnce  = 20
	storeTime    = 5 * time.Second
)

// keeps reports whether there is a place for the rows of r, and of all that it is read and built from.
func (o *Orchestrators) keeps(r *Rollup) bool {
	parts := append(slices.Concat(r.Parts, r.From), r)
	return !slices.ContainsFunc(parts, func(r *Rollup) bool {
		if r.InSource != nil {
			return o.cfg.SourceTables == nil
		}
		return o.cfg.PreAggregations == nil
	})
}

// sourceRollup names a rollup in its source.
func sourceRollup(id RollupID) SourceRollup {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %s %t %q", id.Scope.Domain, id.Scope.Source, id.Scope.Principal.Key(), id.Scope.Service, id.Scope.App))
	of := SourceRollup{Holder: hex.EncodeToString(sum[:12]), Scope: scopeID(id.Scope), Structure: hex.EncodeToString(id.Structure[:])}
	if !id.Scope.Service {
		of.Person = sourcePerson(id.Scope.Principal)
	}
	return of
}

// sourcePerson names somebody who has tables in sources.
func sourcePerson(p driverfactory.Principal) string {
	sum := sha256.Sum256([]byte(p.Key()))
	return hex.EncodeToString(sum[:12])
}

// tables returns what is stored of a rollup, and of one in its source the tables there, both by partition. What the source has is known
// for a while.
func (o *Orchestrators) tables(ctx context.Context, r *Rollup, id RollupID) (stored map[string]RollupTable, there map[string]SourceTable) {
	if r.InSource == nil {
		return byPartition(o.cfg.PreAggregations.Tables(id)), nil
	}
	since := o.cfg.Now().Add(-tablesKnown)
	o.mu.Lock()
	known := false
	if k, ok := o.rollups.Peek(id); ok && k.listed.After(since) {
		there, known = k.tables, true
	}
	o.mu.Unlock()
	if !known {
		var err error
		if there, err = o.list(ctx, id); err != nil {
			o.log.Warn("which tables a rollup has in its source is not known", zap.String("rollup", r.Name), why(err))
			o.mu.Lock()
			if k, ok := o.rollups.Peek(id); ok { // nobody waits for the store again so soon
				k.tables, k.listed = nil, since.Add(storeTime)
			}
			o.mu.Unlock()
		}
	}
	return storedThere(there), there
}

func storedThere(there map[string]SourceTable) map[string]RollupTable {
	stored := make(map[string]RollupTable, len(there))
	for partition, t := range there {
		stored[partition] = t.RollupTable
	}
	return stored
}

// list asks the store for the tables of a rollup, and remembers them.
func (o *Orchestrators) list(ctx context.Context, id RollupID) (map[string]SourceTable, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	now := o.cfg.Now()
	list, err := o.cfg.SourceTables.Tables(ctx, sourceRollup(id))
	if err != nil {
		return nil, err
	}
	there := make(map[string]SourceTable, len(list))
	for _, t := range list {
		there[t.Partition] = t
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if k, ok := o.rollups.Peek(id); ok {
		k.tables, k.listed = maps.Clone(there), now
	}
	return there, nil
}

// readThere makes a a statement of the source over the tables of parts, and returns when the oldest of these were made.
func (a *asked) readThere(r *Rollup, parts []part) (oldest time.Time, err error) {
	tables := map[string][]SourceTable{}
	for _, p := range parts {
		for _, t := range p.tables {
			tables[p.Table] = append(tables[p.Table], p.there[t.Partition])
			if oldest.IsZero() || t.BuiltAt.Before(oldest) {
				oldest = t.BuiltAt
			}
		}
	}
	a.Statement = r.InSource.Over(r.Read, tables)
	key, err := resultcache.KeyOf(a.choice.Key, a.Statement) // another table has another name
	a.key, a.kind, a.of = flightKey{Key: key, maxRows: a.MaxRows}, FromRollup, r.Name
	if !r.Beside {
		a.RefreshKeys, a.keys, a.FreshFor, a.FreshSince = nil, nil, forever, time.Time{}
	}
	return oldest, err
}

// doubt notes that the source did not answer from the tables of parts: the next build looks whether they are there.
func (o *Orchestrators) doubt(parts []part) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range parts {
		if k, ok := o.rollups.Peek(p.id); ok && p.InSource != nil {
			k.doubted = true
		}
	}
}

// noteUse has it noted that the tables of parts are in use, of each about once an hour.
func (o *Orchestrators) noteUse(ctx context.Context, parts []part) {
	now := o.cfg.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range parts {
		k, ok := o.rollups.Peek(p.id)
		if !ok || o.closing || now.Sub(k.read) < noteEvery {
			continue
		}
		k.read = now
		ctx := context.WithoutCancel(ctx)
		o.spawn(func() {
			ctx, cancel := context.WithTimeout(ctx, noteTime)
			defer cancel()
			if err := o.cfg.SourceTables.Used(ctx, sourceRollup(p.id), now); err != nil {
				o.log.Warn("the use of a rollup was not noted", zap.String("rollup", p.Name), zap.Error(err))
			}
		})
	}
}

// present returns what is stored of the rollup of b as it is now: what other processes built of it is asked for, and tables that are
// doubted are looked for.
func (o *Orchestrators) present(b *building) (map[string]RollupTable, error) {
	if b.r.InSource == nil {
		if err := o.cfg.PreAggregations.Refresh(b.ctx, b.id); err != nil {
			o.log.Warn("what others built of a rollup is not known", zap.String("rollup", b.r.Name), why(err))
		}
		return byPartition(o.cfg.PreAggregations.Tables(b.id)), nil // nobody else fetches under this credential
	}
	there, err := o.list(b.ctx, b.id)
	if err != nil || !o.doubted(b.id) {
		return storedThere(there), err
	}
	before := len(there)
	for partition, t := range there {
		if _, err := o.question(b.ctx, b.a, b.r.InSource.Count(t)); !refused(err) || fault.KindOf(err) == fault.Denied {
			continue
		}
		o.log.Warn("a table of a rollup is gone from its source", zap.String("rollup", b.r.Name), zap.String("table", t.Name))
		if err := o.dropped(b.ctx, t); err != nil {
			return nil, err
		}
		delete(there, partition)
	}
	if before > 0 && len(there) == before {
		return nil, &fault.Error{
			Kind: fault.Invalid, Code: "rollup_unreadable", Owner: fault.Admin,
			Detail: "The source has the tables of the pre-aggregation " + b.r.Name + ", and does not answer from them.",
		}
	}
	return storedThere(there), nil
}

// doubted reports whether tables of a rollup may be gone, and doubts no more.
func (o *Orchestrators) doubted(id RollupID) (was bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if k, ok := o.rollups.Peek(id); ok {
		was, k.doubted = k.doubted, false
	}
	return was
}

// refused reports whether the database itself answered that it does not run a statement.
func refused(err error) bool {
	e, ok := errors.AsType[*fault.Error](err)
	return ok && e.Owner == fault.Database && (e.Kind == fault.Invalid || e.Kind == fault.Denied)
}

func (o *Orchestrators) dropped(ctx context.Context, t SourceTable) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	return o.cfg.SourceTables.Dropped(ctx, t.Name)
}

// originals builds what the rollup of b is built from, where that is out of date, and returns the tables of it by their names.
func (o *Orchestrators) originals(b *building) (map[string][]SourceTable, error) {
	if len(b.r.From) == 0 {
		return nil, nil
	}
	of := map[string][]SourceTable{}
	for _, r := range b.r.From {
		first := newBuilding(b.ctx, b.a, r, r.id(b.a))
		o.used(first.id, r.Name)
		if _, err := o.fetchRollup(first); err != nil {
			return nil, fmt.Errorf("%s: %w", r.Name, err)
		}
		_, there := o.tables(b.ctx, r, first.id)
		if len(there) == 0 {
			return nil, fault.New(fault.Gone, "The tables of %s were dropped meanwhile.", r.Name)
		}
		of[r.Table] = slices.Collect(maps.Values(there))
	}
	return of, nil
}

// make has the source make a table of the rows of s, as one partition of the rollup of b.
func (o *Orchestrators) make(b *building, partition, refreshKey string, s driverfactory.Statement) error {
	t := SourceTable{RollupTable: RollupTable{Partition: partition, Key: refreshKey}, Schema: b.r.InSource.Schema, Name: tableName(b.r.Name, partition)}
	of := sourceRollup(b.id)
	store := func(do func(context.Context, time.Time) error) error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), storeTime)
		defer cancel()
		return do(ctx, o.cfg.Now())
	}
	// It is written down before it is made: what nobody hears of any more is found, and dropped.
	err := store(func(ctx context.Context, now time.Time) error {
		return o.cfg.SourceTables.Begin(ctx, of, t, now, now.Add(builtWithin), mostTables)
	})
	if err != nil {
		return err
	}
	if t.BuiltAt, err = o.exec(b, b.r.InSource.Create(t, s)); err != nil {
		if refused(err) {
			err = cmp.Or(o.dropped(b.ctx, t), err)
		}
		return err
	}
	for _, index := range b.r.InSource.Indexes(t) {
		switch _, err := o.exec(b, index); {
		case refused(err):
			o.log.Warn("a table of a rollup has no index", zap.String("rollup", b.r.Name), why(err))
		case err != nil:
			return err
		}
	}
	counted, err := o.question(b.ctx, b.a, b.r.InSource.Count(t))
	if err != nil {
		return err
	}
	if t.Rows, err = number(counted); err != nil {
		return err
	}
	if err := store(func(ctx context.Context, now time.Time) error { return o.cfg.SourceTables.Built(ctx, of, t, now) }); err != nil {
		return err
	}
	_, err = o.list(b.ctx, b.id)
	return err
}

// number reads the one number of an answer.
func number(e *resultcache.Entry) (int64, error) {
	if e.Rows.Len() == 1 {
		switch v := e.Rows.First()[0].(type) {
		case int64:
			return v, nil
		case driverfactory.Decimal:
			return strconv.ParseInt(string(v), 10, 64)
		case string:
			return strconv.ParseInt(v, 10, 64)
		}
	}
	return 0, errors.New("the rows of a table are no number")
}

// tableName returns a name that no other table has, of at most 60 bytes: letters, digits and underscores.
func tableName(rollup, partition string) string {
	plain := func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}
	name := strings.Map(plain, strings.ToLower(rollup))
	if partition != "" {
		partition += "_"
	}
	return "r_" + name[:min(len(name), 25)] + "_" + partition + strings.ToLower(rand.Text()[:16])
}

// exec has the source run a statement without rows for b, after everything that somebody waits for, and returns when it began.
func (o *Orchestrators) exec(b *building, s driverfactory.Statement) (time.Time, error) {
	q := *b.a
	q.Statement, q.RefreshKeys, q.keys, q.makes = s, nil, nil, true
	key, err := resultcache.KeyOf(b.a.choice.Key, s, driverfactory.Statement{SQL: "run"})
	if err != nil {
		return time.Time{}, err
	}
	q.key = flightKey{Key: key}
	var ranAt time.Time
	q.into = func(_ context.Context, at time.Time, _ driverfactory.Rows) error {
		ranAt = at
		return nil
	}
	f, err := o.afterwards(b.ctx, &q)
	switch {
	case err != nil:
		return time.Time{}, err
	case f.err != nil:
		return time.Time{}, f.err // it may have been cut, and run on: ranAt is not ours yet
	}
	return ranAt, nil
}

// tidy has the source drop tables of the credential of b, and of those that it had before, which nobody reads any more. It drops
// some, and reports whether there may be more.
func (o *Orchestrators) tidy(b *building) (more bool) {
	if o.still(b.ctx, b.a) != nil {
		return false // what the next credential made would be of another scope than this
	}
	of := sourceRollup(b.id)
	ctx, cancel := context.WithTimeout(b.ctx, storeTime)
	defer cancel()
	now := o.cfg.Now()
	left, err := o.cfg.SourceTables.LeftOver(ctx, of.Holder, of.Scope, now, now.Add(-replacedKept), now.Add(-unusedKept), now.Add(dropAgain), dropsAtOnce)
	if err != nil {
		o.log.Warn("which tables of rollups are to be dropped is not known", why(err))
		return false
	}
	for _, t := range left {
		_, err := o.exec(b, b.r.InSource.Drop(t))
		if err == nil {
			err = o.dropped(b.ctx, t)
		}
		if err != nil {
			o.log.Warn("a table of a rollup is left in its source", zap.String("table", t.Schema+"."+t.Name), why(err))
			if !refused(err) {
				return false
			}
		}
	}
	return len(left) == dropsAtOnce
}

// release has all tables of people in their sources dropped when these next build one there, and returns of how many rollups they
// are. From now on nobody reads them.
func (o *Orchestrators) release(ctx context.Context, people []driverfactory.Principal) (rollups int, err error) {
	if o.cfg.SourceTables == nil {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	for _, p := range people {
		n, err := o.cfg.SourceTables.Release(ctx, sourcePerson(p), o.cfg.Now())
		if err != nil {
			return rollups, err
		}
		rollups += n
	}
	return rollups, nil
}

// nothing are the rows of a statement that has none.
type nothing struct{}

func (nothing) Columns() []driverfactory.Column { return nil }
func (nothing) Next([]any) (bool, error)        { return false, nil }
func (nothing) Close() error                    { return nil }

// exec runs a statement without rows.
func exec(ctx context.Context, d driverfactory.Driver, s driverfactory.Statement) (driverfactory.Rows, error) {
	m, ok := d.(driverfactory.Maker)
	if !ok {
		return nil, &fault.Error{Kind: fault.Invalid, Code: "source_read_only", Owner: fault.Admin, Detail: "The source is only read here: no table can be made in it."}
	}
	if err := m.Exec(ctx, s); err != nil {
		return nil, err
	}
	return nothing{}, nil
}
