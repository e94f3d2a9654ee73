package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/behalf-project/behalf/internal/caps"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/notify"
)

// Shares keeps what replicas hold of the caps that they have in common: a caps.Store. Leases are counted by the clock of the
// database, which is one for all.
type Shares struct{ db *DB }

var _ caps.Store = (*Shares)(nil)

// claimRow is a claim as its table holds it.
type claimRow struct {
	Cap     string `db:"cap"`
	Replica string `db:"replica"`
	Size    int    `db:"size"`
	Held    int    `db:"held"`
	Wants   int    `db:"wants"`
	TurnAt  int64  `db:"turn_at"`
}

const claimColumns = `cap, replica, size, held, wants, turn_at`

// manyCaps is how many caps are named in one statement.
const manyCaps = 500

// Exchange implements caps.Store.
func (s *Shares) Exchange(ctx context.Context, o caps.Offer) (a caps.Answer, err error) {
	if o.Replica == "" || o.Lease < time.Millisecond {
		return a, fault.New(fault.Invalid, "An offer needs a replica and a lease.")
	}
	err = s.db.write(ctx, "exchange shares", func(ctx context.Context, c conn) error {
		a, err = s.exchange(ctx, c, o)
		return err
	})
	return a, err
}

// exchange is Exchange in its transaction.
func (s *Shares) exchange(ctx context.Context, c conn, o caps.Offer) (a caps.Answer, err error) {
	if err := c.alone(ctx, "shares"); err != nil {
		return a, err
	}
	now, err := s.now(ctx, c)
	if err != nil {
		return a, err
	}
	gone, err := c.exec(ctx, "DELETE FROM replicas WHERE lease_until <= ?", now)
	if err != nil {
		return a, err
	}
	stored := 0 // sharing
	err = c.get(ctx, &stored, "SELECT sharing FROM replicas WHERE id = ?", o.Replica)
	known := err == nil
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return a, err
	}
	var others []struct {
		ID      string `db:"id"`
		Sharing int    `db:"sharing"`
	}
	if err := c.all(ctx, &others, "SELECT id, sharing FROM replicas WHERE id <> ?", o.Replica); err != nil {
		return a, err
	}
	a.Replicas = 1 + len(others)
	a.Alone = len(others) == 0
	a.Anew = !a.Alone && o.Sharing && !o.All && stored == 0
	sharing := 0 // who comes to others holds nothing; who was alone holds all until it has said what
	if !a.Alone && (stored == 1 || !known || o.All) {
		sharing = 1
	}
	if _, err := c.exec(ctx, `INSERT INTO replicas (id, lease_until, sharing) VALUES (?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until, sharing = excluded.sharing`,
		o.Replica, now+o.Lease.Milliseconds(), sharing); err != nil {
		return a, err
	}
	if a.Alone || o.All {
		if _, err := c.exec(ctx, "DELETE FROM shares WHERE replica = ?", o.Replica); err != nil {
			return a, err
		}
	}
	concerned := map[string]bool{}
	for _, r := range others {
		a.Frozen = a.Frozen || r.Sharing == 0
		concerned[r.ID] = gone > 0 || !known || stored != sharing || o.All
	}
	if sharing == 1 && o.Sharing && !a.Anew {
		if err := s.offer(ctx, c, o, now); err != nil {
			return a, err
		}
		if a.Shares, err = s.settle(ctx, c, o, now, a.Frozen, concerned); err != nil {
			return a, err
		}
	}
	return a, c.announce(ctx, moved(concerned)...)
}

// now returns the database's time.
func (s *Shares) now(ctx context.Context, c conn) (ms int64, err error) {
	if c.dialect.clock == "" {
		return millis(s.db.now()), nil
	}
	err = c.get(ctx, &ms, c.dialect.clock)
	return ms, err
}

// offer stores what a replica keeps and wants.
func (s *Shares) offer(ctx context.Context, c conn, o caps.Offer, now int64) error {
	rows := make([]claimRow, 0, len(o.Demands))
	for _, d := range o.Demands {
		row := claimRow{Cap: d.Name, Replica: o.Replica, Size: d.Cap, Held: d.Keep, Wants: d.Wants}
		if d.Keep > 0 {
			row.TurnAt = now
		}
		if d.Keep > 0 || d.Wants > 0 {
			rows = append(rows, row)
		} else if _, err := c.execAgain(ctx, "DELETE FROM shares WHERE cap = ? AND replica = ?", d.Name, o.Replica); err != nil {
			return err
		}
	}
	_, err := insertAll(ctx, c, "shares", claimColumns, rows,
		" ON CONFLICT (cap, replica) DO UPDATE SET size = excluded.size, held = excluded.held, wants = excluded.wants")
	return err
}

// settle gives a replica what it may have, and adds to concerned whom that concerns.
func (s *Shares) settle(ctx context.Context, c conn, o caps.Offer, now int64, frozen bool, concerned map[string]bool) ([]caps.Share, error) {
	claims := map[string][]caps.Claim{}
	read := func(where string, args ...any) error {
		var rows []claimRow
		if err := c.all(ctx, &rows, "SELECT "+claimColumns+" FROM shares WHERE cap IN ("+where+") ORDER BY cap, replica", args...); err != nil {
			return err
		}
		found := map[string][]caps.Claim{}
		for _, r := range rows {
			found[r.Cap] = append(found[r.Cap], caps.Claim{Replica: r.Replica, Cap: r.Size, Held: r.Held, Wants: r.Wants, TurnAt: r.TurnAt})
		}
		maps.Copy(claims, found)
		return nil
	}
	if err := read(`SELECT m.cap FROM shares m WHERE m.replica = ?
		AND (m.wants > m.held OR EXISTS (SELECT 1 FROM shares o WHERE o.cap = m.cap AND o.replica <> m.replica))`, o.Replica); err != nil {
		return nil, err
	}
	isNew := map[string]bool{}
	for some := range slices.Chunk(o.Demands, manyCaps) {
		names := make([]string, len(some))
		for i, d := range some {
			names[i], isNew[d.Name] = d.Name, d.New
		}
		where, args, err := sqlx.In("?", names)
		if err != nil {
			return nil, err
		}
		if err := read(where, args...); err != nil {
			return nil, err
		}
	}
	var shares []caps.Share
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		all := claims[name]
		at := slices.IndexFunc(all, func(k caps.Claim) bool { return k.Replica == o.Replica })
		var before caps.Claim
		if at >= 0 {
			before = all[at]
		}
		own, others := caps.Settle(all, o.Replica, now, isNew[name], frozen)
		for _, r := range others {
			concerned[r] = true
		}
		if at < 0 {
			continue
		}
		if all[at] != before {
			if _, err := c.execAgain(ctx, "UPDATE shares SET held = ?, turn_at = ? WHERE cap = ? AND replica = ?",
				all[at].Held, all[at].TurnAt, name, o.Replica); err != nil {
				return nil, err
			}
		}
		own.Name = name
		shares = append(shares, own)
	}
	return shares, nil
}

// moved is the news for those who are concerned.
func moved(concerned map[string]bool) (all []notify.News) {
	for _, replica := range slices.Sorted(maps.Keys(concerned)) {
		if concerned[replica] {
			all = append(all, notify.News{Topic: notify.SharesMoved, Replica: replica})
		}
	}
	return all
}

// Leave implements caps.Store.
func (s *Shares) Leave(ctx context.Context, replica string) error {
	return s.db.write(ctx, "leave shares", func(ctx context.Context, c conn) error {
		if err := c.alone(ctx, "shares"); err != nil {
			return err
		}
		n, err := c.exec(ctx, "DELETE FROM replicas WHERE id = ?", replica)
		if err != nil || n == 0 {
			return err
		}
		var others []string
		if err := c.all(ctx, &others, "SELECT id FROM replicas"); err != nil {
			return err
		}
		concerned := map[string]bool{}
		for _, r := range others {
			concerned[r] = true
		}
		return c.announce(ctx, moved(concerned)...)
	})
}
