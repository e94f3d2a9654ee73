package resultcache

import (
	"errors"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/rowset"
)

// Why there is no memory for more of a result.
var (
	ErrTooLarge = errors.New("the result is too large")
	ErrShare    = errors.New("the results of this owner take too much together")
	ErrFull     = errors.New("the results of everybody take too much together")
)

// Draft is a result that is being read. It is for one goroutine. What it takes counts as held, and is given back by
// Discard, or by the last Release of its Entry.
type Draft struct {
	cache   *Cache
	owner   string
	columns []driverfactory.Column
	rows    rowset.Builder
	adopted *rowset.Rows // in place of rows
	max     int64
	taken   int64
}

// Draft begins a result of these columns for k, of at most max bytes.
func (c *Cache) Draft(k Key, columns []driverfactory.Column, max int64) *Draft {
	d := &Draft{cache: c, owner: ownerOf(k.Scope), columns: columns, max: max}
	d.rows = rowset.Builder{Columns: len(columns), Take: d.take}
	return d
}

// Add adds a row, which is the caller's again. It fails with ErrTooLarge, ErrShare or ErrFull when there is no memory
// for it, and as rowset.Builder does.
func (d *Draft) Add(row []any) error { return d.rows.Add(row) }

func (d *Draft) take(bytes int) error {
	n := int64(bytes)
	if d.taken == 0 {
		n += costOf(d.columns)
	}
	if d.taken+n > d.max {
		return ErrTooLarge
	}
	d.cache.mu.Lock()
	defer d.cache.mu.Unlock()
	if err := d.cache.hold(d.owner, n); err != nil {
		return err
	}
	d.taken += n
	return nil
}

// Adopt adds rows that are packed already, to a Draft that has none. It fails as Add does.
func (d *Draft) Adopt(rows *rowset.Rows) error {
	if err := d.take(int(rows.Size())); err != nil {
		return err
	}
	d.adopted = rows
	return nil
}

// Entry returns the rows that were added. The caller holds it until Release.
func (d *Draft) Entry(ranAt time.Time) *Entry {
	rows := d.adopted
	if rows == nil {
		rows = d.rows.Rows()
	}
	e := newEntry(d.columns, rows, ranAt)
	c := d.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	c.letGo(d.owner, d.taken)
	d.taken = 0
	e.cache, e.owner, e.refs = c, d.owner, 1
	c.count(e, e.size) // no more than was taken, but for a result without rows
	return e
}

// Discard gives back what a Draft took that became no Entry.
func (d *Draft) Discard() {
	d.cache.mu.Lock()
	defer d.cache.mu.Unlock()
	d.cache.letGo(d.owner, d.taken)
	d.taken = 0
}

// Lend holds e for reader, a Principal.Key, until Return; "" is nobody in particular. An entry that is neither cached nor
// held any more counts again, without being asked for: whoever got it a moment ago still has it. What a service account
// fetched is everybody's, as what is kept for a role is, and counts as the reader's as well while they read it: it fails with ErrShare when that is more
// than may be held for one person, so that no one person takes all there is for everybody.
func (e *Entry) Lend(reader string) error {
	c := e.cache
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.owner == "" && reader != "" {
		o := c.ownerNamed(reader)
		if o.held+e.size > c.MaxResult() {
			c.dropIfEmpty(o)
			return ErrShare
		}
		o.held += e.size
	}
	e.refs++
	if e.refs == 1 && e.item.Load() == nil {
		c.count(e, e.size)
	}
	return nil
}

// Return ends what Lend began.
func (e *Entry) Return(reader string) {
	c := e.cache
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.owner == "" && reader != "" {
		o := c.ownerNamed(reader)
		o.held -= e.size
		c.dropIfEmpty(o)
	}
	e.release()
}

// Release ends what Draft.Entry began; nil has nothing to end.
func (e *Entry) Release() {
	if e == nil || e.cache == nil {
		return
	}
	e.cache.mu.Lock()
	defer e.cache.mu.Unlock()
	e.release()
}

// release takes one holder away. What is not cached is not counted any more when nobody holds it. The caller holds the
// lock.
func (e *Entry) release() {
	if e.refs--; e.refs == 0 {
		e.cache.count(e, 0)
	}
}

// count makes n bytes what is held of e, without asking: they are there.
func (c *Cache) count(e *Entry, n int64) {
	o := c.ownerNamed(e.owner)
	o.held += n - e.held
	c.held += n - e.held
	e.held = n
	c.dropIfEmpty(o)
}

// hold counts n bytes more as held for owner, or refuses them. A service account's results are everybody's, so that the
// bound of one owner is not for them, but for who reads them; see Lend.
func (c *Cache) hold(owner string, n int64) error {
	if c.held+n > c.cfg.MaxHeldBytes {
		return ErrFull
	}
	o := c.ownerNamed(owner)
	if owner != "" && o.held+n > c.MaxResult() {
		c.dropIfEmpty(o)
		return ErrShare
	}
	o.held += n
	c.held += n
	return nil
}

// letGo counts n bytes that hold allowed as gone.
func (c *Cache) letGo(owner string, n int64) {
	o := c.ownerNamed(owner)
	o.held -= n
	c.held -= n
	c.dropIfEmpty(o)
}

// Hold counts n bytes more that are made of results for owner, a Principal.Key, or fails with ErrShare or ErrFull. LetGo
// gives them back.
func (c *Cache) Hold(owner string, n int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hold(owner, n)
}

// LetGo counts n bytes of owner that Hold allowed as gone.
func (c *Cache) LetGo(owner string, n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.letGo(owner, n)
}

// MaxResult returns how many bytes may be held of one person's results together, and so of one result.
func (c *Cache) MaxResult() int64 { return c.cfg.MaxHeldBytes / 2 }
