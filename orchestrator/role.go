package orchestrator

import (
	"context"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/resultcache"
)

// At a source with driverfactory.CacheRole, what a person's statement fetched is kept for everybody of the role that its own
// session told (resultcache.Key.OfRole), and found by those whose sessions told the same lately:
//
//	Load ─▶ role known? ─▶ rows of the role in the cache? ─▶ the person's own line, slot, pool and session ─▶ rows and their role
//	          └ no: a statement of the person, in their own line, asks one of their sessions
//
// That a person has a role is kept like the answer of a refresh key: under their credential, so that it goes with it, and for
// driverfactory.RoleLife. Statements, sessions and the answers of refresh keys stay each credential's own.

// roleQuestion returns what is asked to find out the role of a's credential.
func (a *asked) roleQuestion() *asked {
	q := *a
	q.Statement, q.RefreshKeys, q.Cache, q.MaxRows = driverfactory.Statement{}, nil, MustRevalidate, 1
	q.FreshFor, q.FreshSince, q.keys = driverfactory.RoleLife, time.Time{}, nil
	q.kind, q.key = ForRole, flightKey{Key: resultcache.RoleKey(a.choice.Key), maxRows: 1}
	return &q
}

// findRole waits until it is known which role a's credential has, or that this cannot be known. A poll does not: its statement
// is under way, and may have all of its person's slots.
func (o *Orchestrators) findRole(ctx context.Context, a *asked) error {
	if !a.key.byRole || a.Cache == NoCache {
		return nil
	}
	if _, known := o.role(a.choice.Key); known || o.underWay(a) {
		return nil
	}
	if _, err := o.askKey(ctx, a.roleQuestion()); err != nil {
		return err
	}
	return o.still(ctx, a)
}

// role returns the role of a credential, "" for one that cannot be known, as far as that was told lately.
func (o *Orchestrators) role(of driverfactory.PoolKey) (role string, known bool) {
	role, at, told := o.lastRole(of)
	if !told || o.cfg.Now().Sub(at) >= driverfactory.RoleLife {
		return "", false
	}
	return role, true
}

// lastRole returns what was told last of the role of a credential, and when.
func (o *Orchestrators) lastRole(of driverfactory.PoolKey) (role string, at time.Time, told bool) {
	e, ok := o.cache.Get(resultcache.RoleKey(of))
	if !ok || e.Rows.Len() == 0 {
		return "", at, false
	}
	role, ok = e.Rows.First()[0].(string)
	return role, e.RanAt, ok
}

// place returns the key under which the result of k is looked for now: its role's, while that is known, and else its own.
// Whoever looks asks each time, since both the role and the credential may have ended meanwhile.
func (o *Orchestrators) place(k flightKey) resultcache.Key {
	if !k.byRole {
		return k.Key
	}
	role, _ := o.role(k.Scope)
	return k.OfRole(role)
}

// places returns the keys under which the result of k may be.
func (o *Orchestrators) places(k flightKey) []resultcache.Key {
	all := []resultcache.Key{k.Key}
	if role, _, _ := o.lastRole(k.Scope); k.byRole && role != "" {
		all = append(all, k.OfRole(role))
	}
	return all
}

// underWay reports whether a's interaction asked for its statement, which has not ended.
func (o *Orchestrators) underWay(a *asked) bool {
	if len(a.keys) > 0 {
		return o.follows(a)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	f := o.flights[a.key]
	return f != nil && !f.superseded && f.askers[a.asker] != nil
}

// tellRole asks a session of d for its role. A driver that cannot tell knows none.
func tellRole(ctx context.Context, d driverfactory.Driver) (driverfactory.Rows, error) {
	told := &roleRow{}
	if r, ok := d.(driverfactory.Roles); ok {
		var err error
		if told.role, err = r.Role(ctx); err != nil {
			return nil, err
		}
	}
	return told, nil
}

// roleOf returns the role of the session that rows come from, "" where it is not known.
func roleOf(rows driverfactory.Rows) string {
	if r, ok := rows.(driverfactory.RoleRows); ok {
		return r.Role()
	}
	return ""
}

// roleRow is a role as the one row of a statement.
type roleRow struct {
	role string
	read bool
}

func (*roleRow) Columns() []driverfactory.Column {
	return []driverfactory.Column{{Name: "role", Type: "TEXT"}}
}

func (r *roleRow) Next(dest []any) (bool, error) {
	if r.read {
		return false, nil
	}
	r.read, dest[0] = true, r.role
	return true, nil
}

func (*roleRow) Close() error { return nil }
