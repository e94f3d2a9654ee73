package driverfactory

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// CacheScope says who is answered from the cached rows of a source, beside who fetched them.
type CacheScope string

// The scopes. The zero value is CacheUser. What the service account fetched is everybody's in both.
const (
	CacheUser CacheScope = "user" // nobody
	CacheRole CacheScope = "role" // whoever has the same role at the source: its admin promises that rows depend on nothing else of a person
)

// RoleLife is how long a session is believed to have the role that it told.
const RoleLife = time.Minute

// RoleTeller is a Warehouse whose sessions tell what their rights come from. Sources of another one cannot have
// CacheRole.
type RoleTeller interface {
	// AskRole returns a statement with one row of text.
	AskRole() string

	// Role reads that row, in which NULL is "": it returns whatever of the session its rows depend on, which is equal
	// for equal sessions only, or "" where that is more than a role, or is not known.
	Role(row []string) string
}

// Roles is a Driver that can ask for the role of its sessions. The Drivers of Factory.Open are. Where the source has
// CacheRole, their Rows are RoleRows.
type Roles interface {
	// Role asks a session under the driver's credential what role it has now, "" for one that is not known. Nobody
	// compares roles but whole, and with those of the same source. It fails as Query does.
	Role(ctx context.Context) (string, error)
}

// RoleRows are Rows that know the role of the session that fetches them.
type RoleRows interface {
	// Role returns it, "" for one that is not known.
	Role() string
}

// JoinRole returns a role that is made of parts: it is equal for equal parts only.
func JoinRole(parts ...string) string {
	quoted := make([]string, len(parts))
	for i, p := range parts {
		quoted[i] = strconv.Quote(p)
	}
	return strings.Join(quoted, " ")
}

// wrongScope returns what is wrong with the cache scope of src, of which wh is the adapter, if anything is.
func (f *Factory) wrongScope(src Source, wh Warehouse) (wrong string, is bool) {
	switch src.CacheScope {
	case "", CacheUser:
		return "", false
	case CacheRole:
	default:
		return fmt.Sprintf("%q is neither user nor role", src.CacheScope), true
	}
	if _, ok := wh.(RoleTeller); ok {
		return "", false
	}
	var tell []string
	for name, wh := range f.cfg.Warehouses {
		if _, ok := wh.(RoleTeller); ok {
			tell = append(tell, name)
		}
	}
	slices.Sort(tell)
	return fmt.Sprintf("role needs sessions that tell which role decides what they read, and those of %s cannot; sources of these types can: %s. Use user",
		src.Type, strings.Join(tell, ", ")), true
}

// Role asks a session.
func (p *pool) Role(ctx context.Context) (string, error) {
	if p.teller() == nil {
		return "", nil
	}
	r, err := p.lend(ctx, func(ctx context.Context, r *rows) error {
		r.sess.toldAt = time.Time{}
		return r.tell(ctx)
	})
	if err != nil {
		return "", err
	}
	r.ended = true
	return r.role, r.Close()
}

// teller returns the adapter where sessions are asked for their roles, and else nil: the service account's is nobody's
// business, and its rows are everybody's.
func (p *pool) teller() RoleTeller {
	if p.choice.src.CacheScope != CacheRole || p.choice.Key.Service {
		return nil
	}
	t, _ := p.wh.(RoleTeller)
	return t
}

// tell asks the session of r for its role, where that matters and it was not told lately. So it is known before the
// first row, of this session and of no other: two of one person may have been opened before and after a change.
func (r *rows) tell(ctx context.Context) error {
	t, now := r.p.teller(), r.p.f.cfg.Now()
	switch {
	case t == nil:
		return nil
	case !r.sess.toldAt.IsZero() && now.Sub(r.sess.toldAt) < RoleLife:
		r.role = r.sess.role
		return nil
	}
	r.sess.role = ""
	row, err := oneRow(ctx, r.conn, t.AskRole())
	if err == nil {
		r.sess.role = t.Role(row)
	} else {
		switch r.p.classify(ctx, err) {
		case StatementFailed, AccessDenied, Misconfigured:
			r.p.log().Warn("the data source does not tell the role of a session, so nobody else is given its rows")
		default:
			return err
		}
	}
	r.sess.toldAt, r.role = now, r.sess.role
	return nil
}

// Role returns the role of the session.
func (r *rows) Role() string { return r.role }

// oneRow returns the only row of a statement.
func oneRow(ctx context.Context, conn *sql.Conn, statement string) ([]string, error) {
	got, err := conn.QueryContext(ctx, statement)
	if err != nil {
		return nil, err
	}
	defer got.Close()
	names, err := got.Columns()
	if err != nil {
		return nil, err
	}
	values, ptrs := make([]sql.NullString, len(names)), make([]any, len(names))
	for i := range values {
		ptrs[i] = &values[i]
	}
	if !got.Next() {
		if err := got.Err(); err != nil {
			return nil, err
		}
		return nil, sql.ErrNoRows
	}
	if err := got.Scan(ptrs...); err != nil {
		return nil, err
	}
	row := make([]string, len(values))
	for i, v := range values {
		row[i] = v.String
	}
	return row, got.Close()
}
