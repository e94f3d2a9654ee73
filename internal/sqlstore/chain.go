package sqlstore

import (
	"context"
	"errors"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/id"
)

// chain is where this process records: it alone appends to its chain, so it knows the end of it. Positions are given
// out when everything else in a transaction is done, and one transaction at a time goes on from there to its commit.
// Whoever waits for that holds locks of rows, but nobody who is in front needs one of them.
type chain struct {
	turn    chan struct{} // full while somebody appends
	head    audit.Head    // without a writer before the first record
	pending int           // records since the last checkpoint that are not checkpoints
}

func newChain() *chain { return &chain{turn: make(chan struct{}, 1)} }

// state returns the name of the chain, empty when it is to begin, and how many records no checkpoint followed.
func (c *chain) state() (writer string, pending int) {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	return c.head.Writer, c.pending
}

// record adds the entry of an act on object to the act's own transaction: neither is there without the other. It gets
// its place in the chain, and what it is an event of is stored, when the rest of the transaction is done.
func (db *DB) record(_ context.Context, c conn, e audit.Entry, object string) error {
	if e.Action == "" {
		return fault.New(fault.Invalid, "An act without an audit entry is refused.")
	}
	now := db.now()
	if e.ID == "" {
		e.ID = id.New(id.Audit, now)
	}
	if e.At.IsZero() {
		e.At = now
	}
	if e.Object == "" {
		e.Object = object
	}
	*c.acts = append(*c.acts, e)
	return nil
}

// appended is what one transaction adds to the chain.
type appended struct {
	chain       *chain
	head        audit.Head // if it commits
	pending     int
	checkpoints []audit.Head
}

// append puts acts into the chain, in the transaction of c. What it returns has the turn until it is closed.
func (db *DB) append(ctx context.Context, c conn, acts []audit.Entry) (*appended, error) {
	select {
	case db.chain.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	a := &appended{chain: db.chain, head: db.chain.head, pending: db.chain.pending}
	err := a.insert(ctx, db, c, acts)
	if errors.Is(err, errForked) {
		db.log.Error("somebody changed the audit log: this process goes on in a new chain", zap.String("writer", a.chain.head.Writer), zap.Error(err))
		a.leave()
	}
	if err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

// close gives the turn back.
func (a *appended) close() { <-a.chain.turn }

// commit makes the end of what was added the end of the chain.
func (a *appended) commit() { a.chain.head, a.chain.pending = a.head, a.pending }

// leave has the next record begin a new chain, because the end of this one is not known: a commit was cut, or somebody
// else was here.
func (a *appended) leave() { a.chain.head, a.chain.pending = audit.Head{}, 0 }

// errForked says that the chain does not end in the store as this process left it. Nobody else writes to it.
var errForked = errors.New("the chain does not end where this process left it")

// insert adds acts to the chain, which begins with a checkpoint.
func (a *appended) insert(ctx context.Context, db *DB, c conn, acts []audit.Entry) error {
	if a.head.Writer == "" {
		a.head.Writer = id.Random(8)
		if _, err := c.exec(ctx, "INSERT INTO audit_heads (writer, position, hash, carried) VALUES (?, 0, ?, 0)", a.head.Writer, a.head.Hash[:]); err != nil {
			return err
		}
		if acts[0].Action != audit.Checkpoint {
			first := audit.Entry{ID: id.New(id.Audit, db.now()), At: db.now(), Action: audit.Checkpoint}
			acts = append([]audit.Entry{first}, acts...)
		}
	}
	from := a.head
	records := make([]audit.Record, 0, len(acts))
	for _, e := range acts {
		a.pending++
		if e.Action == audit.Checkpoint {
			others, err := otherHeads(ctx, c, a.head.Writer)
			if err != nil {
				return err
			}
			full := audit.CheckpointOf(a.head.Writer, others)
			full.ID, full.At = e.ID, e.At
			e, a.pending = full, 0
		}
		r := a.head.Next(e)
		a.head = r.Head()
		records = append(records, r)
		if r.Action == audit.Checkpoint {
			a.checkpoints = append(a.checkpoints, a.head)
		}
	}
	n, err := c.exec(ctx, "UPDATE audit_heads SET position = ?, hash = ? WHERE writer = ? AND position = ? AND hash = ?",
		a.head.Position, a.head.Hash[:], from.Writer, from.Position, from.Hash[:])
	if err != nil {
		return err
	}
	if n != 1 {
		return errForked
	}
	return insertRecords(ctx, c, records)
}

// What one statement inserts of records.
const (
	recordParameters = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
	rowsAtOnce       = manyValues / 12
)

func insertRecords(ctx context.Context, c conn, records []audit.Record) error {
	for some := range slices.Chunk(records, rowsAtOnce) {
		args := make([]any, 0, len(some)*12)
		for _, r := range some {
			args = append(args, r.ID, r.At.UnixMilli(), r.Actor, string(r.Action), r.Object, r.Outcome, facts(r.Detail), r.Request,
				r.Writer, r.Position, r.Prev[:], r.Hash[:])
		}
		_, err := c.execAgain(ctx, c.dialect.insert+` INTO audit (id, at, actor, action, object, outcome, detail, request, writer, position, prev, hash)
			VALUES `+recordParameters+strings.Repeat(", "+recordParameters, len(some)-1), args...)
		if c.dialect.classify(err) == notUnique && (strings.Contains(err.Error(), "audit_place") || strings.Contains(err.Error(), "audit.writer")) {
			return errForked // the place is taken; Postgres names the index, SQLite the columns
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// otherHeads returns the ends of the chains that are not writer's and have grown since a checkpoint held them.
func otherHeads(ctx context.Context, c conn, writer string) ([]audit.Head, error) {
	heads, err := getHeads(ctx, c, "WHERE position > carried AND writer <> ?", writer)
	if err != nil {
		return nil, err
	}
	for i, h := range heads {
		if h.Writer == audit.Before {
			if heads[i], err = headBefore(ctx, c); err != nil {
				return nil, err
			}
		}
	}
	return heads, nil
}

// headBefore computes the end of the chain of the records from before there were chains.
func headBefore(ctx context.Context, c conn) (audit.Head, error) {
	head := audit.Head{Writer: audit.Before}
	err := eachRecord(ctx, c, "WHERE writer = ? ORDER BY seq", []any{audit.Before}, func(r audit.Record) error {
		r.Position = head.Position + 1
		head.Position, head.Hash = r.Position, r.Sum(head.Hash)
		return nil
	})
	return head, err
}

func getHeads(ctx context.Context, c conn, where string, args ...any) ([]audit.Head, error) {
	var rows []struct {
		Writer   string `db:"writer"`
		Position int64  `db:"position"`
		Hash     []byte `db:"hash"`
	}
	if err := c.all(ctx, &rows, "SELECT writer, position, hash FROM audit_heads "+where+" ORDER BY writer", args...); err != nil {
		return nil, err
	}
	heads := make([]audit.Head, len(rows))
	for i, row := range rows {
		heads[i] = audit.Head{Writer: row.Writer, Position: row.Position}
		copy(heads[i].Hash[:], row.Hash)
	}
	return heads, nil
}

// Record adds the entry of an act that changed nothing else, such as a refused sign-in, in a commit of its own.
func (s *Audit) Record(ctx context.Context, e audit.Entry) error {
	return s.db.write(ctx, "record an act", func(ctx context.Context, c conn) error {
		return s.db.record(ctx, c, e, "")
	})
}

// Append implements audit.Store.
func (s *Audit) Append(ctx context.Context, entries []audit.Entry) error {
	add := func() error {
		return s.db.write(ctx, "record acts", func(ctx context.Context, c conn) error {
			for _, e := range entries {
				if err := s.db.record(ctx, c, e, ""); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := add()
	for try := 1; errors.Is(err, fault.Conflict) && try < tries; try++ {
		// An earlier call was committed after all, or is being committed now.
		var left []audit.Entry
		if left, err = s.missing(ctx, entries); err != nil || len(left) == 0 {
			return err
		}
		entries = left
		err = add()
	}
	return err
}

// missing returns those entries that are not stored.
func (s *Audit) missing(ctx context.Context, entries []audit.Entry) ([]audit.Entry, error) {
	var left []audit.Entry
	err := s.db.read(ctx, "look for entries", func(ctx context.Context, c conn) error {
		left = left[:0]
		for _, e := range entries {
			var stored bool
			if err := c.get(ctx, &stored, "SELECT EXISTS (SELECT 1 FROM audit WHERE id = ?)", e.ID); err != nil {
				return err
			}
			if !stored {
				left = append(left, e)
			}
		}
		return nil
	})
	return left, err
}

// Checkpoint implements audit.Store.
func (s *Audit) Checkpoint(ctx context.Context) error {
	due, err := s.checkpointDue(ctx)
	if err != nil || !due {
		return err
	}
	var carried []audit.Head
	err = s.db.write(ctx, "write an audit checkpoint", func(ctx context.Context, c conn) (err error) {
		// Read first, and so at most what the checkpoint will hold.
		if carried, err = getHeads(ctx, c, "WHERE position > carried"); err != nil {
			return err
		}
		return s.db.record(ctx, c, audit.Entry{Action: audit.Checkpoint}, "")
	})
	if err != nil {
		return err
	}
	own, _ := s.db.chain.state()
	for _, h := range carried {
		if h.Writer == own {
			continue
		}
		// Each in its own transaction: two processes that checkpoint each other must not wait for each other.
		err = errors.Join(err, s.db.write(ctx, "note a checkpoint", func(ctx context.Context, c conn) error {
			_, err := c.exec(ctx, "UPDATE audit_heads SET carried = ? WHERE writer = ? AND carried < ?", h.Position, h.Writer, h.Position)
			return err
		}))
	}
	return err
}

// checkpointDue reports whether anything but checkpoints was recorded that no checkpoint holds: two idle processes do
// not go on to write down each other's checkpoints.
func (s *Audit) checkpointDue(ctx context.Context) (due bool, err error) {
	writer, pending := s.db.chain.state()
	if pending > 0 {
		return true, nil
	}
	err = s.db.read(ctx, "look for what a checkpoint must hold", func(ctx context.Context, c conn) error {
		return c.get(ctx, &due, `SELECT EXISTS (SELECT 1 FROM audit_heads h JOIN audit a ON a.writer = h.writer AND a.position > h.carried
			WHERE h.position > h.carried AND h.writer <> ? AND a.action <> ?)`, writer, string(audit.Checkpoint))
	})
	return due, err
}
