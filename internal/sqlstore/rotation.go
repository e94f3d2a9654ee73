package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/id"
	"github.com/behalf-project/behalf/internal/keys"
	"github.com/behalf-project/behalf/internal/notify"
	"github.com/behalf-project/behalf/internal/secret"
)

const (
	keysBeat     = 5 * time.Second  // how often a process says that it is alive and looks for newer keys, with no news
	holderLife   = time.Minute      // after which a process that says nothing is gone; clocks may differ by most of it
	holderMemory = 24 * time.Hour   // how long an old key waits for what such a process may have left on its disk
	workLease    = 30 * time.Second // of who works on a rotation, renewed by each batch
	resealBatch  = 200              // rows in one transaction: short, because a refresh that meets it waits
	blockedPause = time.Minute      // until values that did not open are tried again

	// settleFor is between the last value of an old key and its removal. It is longer than writeLimit, which bounds how
	// long a value may be on its way that was sealed before its process had the new key.
	settleFor = time.Minute
)

// Keys rotates the data keys and tells how they are.
type Keys struct {
	db     *DB
	beat   time.Duration
	settle time.Duration
	idle   bool
}

// Keys returns the data keys' administration. Its Run does the work of a rotation.
func (db *DB) Keys() *Keys { return &Keys{db: db, beat: keysBeat, settle: settleFor} }

// Whole says that everything that earlier processes on this machine sealed and left on its disk is in the store now, or
// that there is no such thing. Until somebody says so, a process that ended without a word keeps old keys from being
// removed.
func (k *Keys) Whole() {
	k.db.keysMu.Lock()
	defer k.db.keysMu.Unlock()
	k.db.whole = k.db.now()
}

// Idle returns the same for a process that seals nothing else, such as a command. Where no other process uses the store,
// it need not settle.
func (k *Keys) Idle() *Keys {
	idle := *k
	idle.idle = true
	return &idle
}

// alone reports whether no other process uses the store, as far as they say.
func (k *Keys) alone(ctx context.Context) (alone bool, err error) {
	err = k.db.read(ctx, "look for replicas", func(ctx context.Context, c conn) error {
		return c.get(ctx, &alone, "SELECT NOT EXISTS (SELECT 1 FROM key_holders WHERE process <> ? AND seen_at > ?)", k.db.process, millis(k.db.now().Add(-holderLife)))
	})
	return alone, err
}

// rotationRow is a rotation as its table holds it.
type rotationRow struct {
	ID         string `db:"id"`
	NewKey     int64  `db:"new_key"`
	State      string `db:"state"`
	KeysRev    int64  `db:"keys_rev"`
	Resealed   int64  `db:"resealed"`
	Total      int64  `db:"total"`
	Failure    string `db:"failure"`
	StartedBy  string `db:"started_by"`
	StartedAt  int64  `db:"started_at"`
	ResealedAt int64  `db:"resealed_at"`
	DoneAt     int64  `db:"done_at"`
	HeldBy     string `db:"held_by"`
	HeldUntil  int64  `db:"held_until"`
}

const rotationColumns = `id, new_key, state, keys_rev, resealed, total, failure, started_by, started_at, resealed_at, done_at, held_by, held_until`

func (r rotationRow) rotation() *keys.Rotation {
	return &keys.Rotation{
		ID: r.ID, NewKey: uint32(r.NewKey), State: keys.State(r.State), Resealed: r.Resealed, Total: r.Total, Failure: r.Failure,
		StartedBy: r.StartedBy, StartedAt: moment(r.StartedAt), ResealedAt: moment(r.ResealedAt), DoneAt: moment(r.DoneAt),
	}
}

// changeKeys stores the data keys that edit makes of the stored ones, and what also does, in one transaction. The master key
// is asked outside of it.
func (db *DB) changeKeys(ctx context.Context, op string, master *secret.Master, edit func(*secret.Keyring) (*secret.Keyring, error), also func(ctx context.Context, c conn, rev int64) error) error {
	stored, err := db.storedKeys(ctx)
	if err != nil {
		return err
	}
	if stored == nil {
		return fault.New(fault.NotFound, "The data keys are missing from the table data_keys. Restore the store from a backup.")
	}
	ring, err := secret.OpenKeyring(ctx, db.master.Load(), stored.Keyset)
	if err != nil {
		return err
	}
	if ring, err = edit(ring); err != nil {
		return err
	}
	wrapped, err := ring.Wrap(ctx, master)
	if err != nil {
		return err
	}
	return db.write(ctx, op, func(ctx context.Context, c conn) error {
		n, err := c.exec(ctx, "UPDATE data_keys SET keyset = ?, wrapped_by = ?, rev = rev + 1 WHERE id = ? AND rev = ?", wrapped, master.Name(), dataKeysID, stored.Rev)
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.New(fault.Conflict, "The data keys were changed by somebody else meanwhile. Look at them again.")
		}
		if err := also(ctx, c, stored.Rev+1); err != nil {
			return err
		}
		return c.announce(ctx, notify.News{Topic: notify.KeysChanged})
	})
}

// Rotate begins to replace the data keys by a new one: it adds the key and announces it. Run does the rest, here or on
// another replica. It is fault.Conflict while a rotation runs.
func (k *Keys) Rotate(ctx context.Context, e audit.Entry) (keys.Rotation, error) {
	if last, err := k.last(ctx); err != nil {
		return keys.Rotation{}, err
	} else if last != nil && last.DoneAt == 0 {
		return keys.Rotation{}, rotating(nil)
	}
	now := k.db.now()
	r := rotationRow{ID: id.New(id.Rotation, now), State: string(keys.Announced), StartedBy: e.Actor, StartedAt: millis(now)}
	err := k.db.changeKeys(ctx, "begin to rotate the data keys", k.db.master.Load(), func(ring *secret.Keyring) (*secret.Keyring, error) {
		next, key, err := ring.WithNewKey()
		r.NewKey = int64(key)
		return next, err
	}, func(ctx context.Context, c conn, rev int64) error {
		r.KeysRev = rev
		if _, err := c.execNamed(ctx, `INSERT INTO key_rotations (`+rotationColumns+`) VALUES (:id, :new_key, :state, :keys_rev, :resealed,
			:total, :failure, :started_by, :started_at, :resealed_at, :done_at, :held_by, :held_until)`, r); err != nil {
			return err
		}
		e.Action, e.Outcome, e.Detail = audit.KeysRotationStarted, "ok", keyDetail(r.NewKey)
		return k.db.record(ctx, c, e, r.ID)
	})
	if k.db.dialect.classify(err) == notUnique {
		return keys.Rotation{}, rotating(err)
	}
	if err != nil {
		return keys.Rotation{}, err
	}
	return *r.rotation(), nil
}

func rotating(cause error) error {
	return &fault.Error{Kind: fault.Conflict, Code: "rotation_running", Owner: fault.Admin, Err: cause, Detail: "The data keys are being rotated already. Wait until that is done."}
}

func keyDetail(key int64) map[string]string { return map[string]string{"key_id": fmt.Sprint(key)} }

// Rewrap wraps the data keys with another master key: from the commit on the old one no longer opens them. Replicas that
// run go on with the keys they hold, until they must load others: restart them with the new master key.
func (k *Keys) Rewrap(ctx context.Context, master *secret.Master, e audit.Entry) error {
	if last, err := k.last(ctx); err != nil {
		return err
	} else if last != nil && last.DoneAt == 0 {
		// Its next step is one that a replica with the old master key could not follow.
		return rotating(nil)
	}
	var old string
	err := k.db.changeKeys(ctx, "wrap the data keys anew", master, func(ring *secret.Keyring) (*secret.Keyring, error) {
		old = k.db.master.Load().Name()
		return ring, nil
	}, func(ctx context.Context, c conn, _ int64) error {
		e.Action, e.Outcome, e.Detail = audit.KeysRewrapped, "ok", map[string]string{"from": old, "to": master.Name()}
		return k.db.record(ctx, c, e, dataKeysID)
	})
	if err != nil {
		return err
	}
	k.db.master.Store(master)
	return k.db.reloadKeys(ctx)
}

// Run keeps this process's data keys up to date, says which it has, and does the work of rotations, until ctx is done;
// then it returns nil. One of several replicas works; when it ends, another one goes on.
func (k *Keys) Run(ctx context.Context) error {
	wake := make(chan struct{}, 1)
	cancel := k.db.news.Subscribe(func(n notify.News) {
		if n.Topic == notify.KeysChanged || n.Topic == notify.Everything {
			select {
			case wake <- struct{}{}:
			default:
			}
		}
	})
	defer cancel()
	tick := time.NewTicker(k.beat)
	defer tick.Stop()
	for said := ""; ; {
		switch err := k.step(ctx); {
		case err == nil:
			said = ""
		case ctx.Err() == nil && err.Error() != said: // once, and not at every beat
			said = err.Error()
			k.db.log.Error("the data keys are not looked after", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
		case <-tick.C:
		}
	}
}

// step does all that can be done now.
func (k *Keys) step(ctx context.Context) error {
	if err := k.load(ctx); err != nil {
		return err
	}
	for {
		r, err := k.claim(ctx)
		if err != nil || r == nil {
			return err
		}
		var more bool
		switch keys.State(r.State) {
		case keys.Announced:
			more, err = k.promote(ctx, r)
		case keys.Resealing:
			more, err = k.reseal(ctx, r)
		case keys.Settling:
			more, err = k.remove(ctx, r)
		default:
			return fmt.Errorf("rotation %s is in the state %q, which this program does not know", r.ID, r.State)
		}
		if err != nil || !more {
			return err
		}
	}
}

// load takes newer data keys into use and says so. It says that this process is alive even when they could not be
// loaded: then the rotation waits for it.
func (k *Keys) load(ctx context.Context) error {
	err := k.db.reloadKeys(ctx)
	k.db.keysMu.Lock()
	rev := k.db.keysRev
	k.db.keysMu.Unlock()
	return errors.Join(err, k.db.hold(ctx, rev))
}

// last returns the newest rotation, or nil.
func (k *Keys) last(ctx context.Context) (*rotationRow, error) {
	var rows []rotationRow
	err := k.db.read(ctx, "read the rotation of the data keys", func(ctx context.Context, c conn) error {
		rows = nil
		return c.all(ctx, &rows, "SELECT "+rotationColumns+" FROM key_rotations ORDER BY started_at DESC, id DESC LIMIT 1")
	})
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return &rows[0], nil
}

// claim returns the rotation that runs, for this process to work on, or nil when there is none or somebody else does.
func (k *Keys) claim(ctx context.Context) (*rotationRow, error) {
	r, err := k.last(ctx)
	now := k.db.now()
	if err != nil || r == nil || r.DoneAt != 0 || r.HeldBy != k.db.process && r.HeldUntil > millis(now) {
		return nil, err
	}
	err = k.db.write(ctx, "take over the rotation of the data keys", func(ctx context.Context, c conn) error {
		err := c.get(ctx, r, `UPDATE key_rotations SET held_by = ?, held_until = ? WHERE id = ? AND done_at = 0 AND (held_by = ? OR held_until <= ?)
			RETURNING `+rotationColumns, k.db.process, millis(now.Add(workLease)), r.ID, k.db.process, millis(now))
		if errors.Is(err, sql.ErrNoRows) {
			r = nil
			return nil
		}
		return err
	})
	return r, err
}

// errTaken says that another process works on the rotation now.
var errTaken = errors.New("another replica has taken over the rotation of the data keys")

// note changes the rotation in a transaction of whoever works on it, and refuses anybody else.
func (k *Keys) note(ctx context.Context, c conn, r *rotationRow, set string, args ...any) error {
	n, err := c.exec(ctx, "UPDATE key_rotations SET held_until = ?, "+set+" WHERE id = ? AND held_by = ? AND state = ?",
		append(append([]any{millis(k.db.now().Add(workLease))}, args...), r.ID, k.db.process, r.State)...)
	if err == nil && n == 0 {
		return errTaken
	}
	return err
}

// behind returns the names of the replicas that do not hold the revision rev of the data keys, of those that said
// something within life.
func (k *Keys) behind(ctx context.Context, rev int64, life time.Duration) (names []string, err error) {
	err = k.db.read(ctx, "look for replicas", func(ctx context.Context, c conn) error {
		names = nil
		return c.all(ctx, &names, "SELECT name FROM key_holders WHERE keys_rev < ? AND seen_at > ? ORDER BY name", rev, millis(k.db.now().Add(-life)))
	})
	return names, err
}

// promote makes the new key seal, once every replica opens what it seals.
func (k *Keys) promote(ctx context.Context, r *rotationRow) (bool, error) {
	if waiting, err := k.behind(ctx, r.KeysRev, holderLife); err != nil || len(waiting) > 0 {
		return false, err
	}
	total, err := k.left(ctx, r)
	if err != nil {
		return false, err
	}
	err = k.db.changeKeys(ctx, "seal with the new data key", k.db.master.Load(), func(ring *secret.Keyring) (*secret.Keyring, error) {
		return ring.WithPrimary(uint32(r.NewKey))
	}, func(ctx context.Context, c conn, rev int64) error {
		if _, err := c.exec(ctx, "DELETE FROM key_holders WHERE seen_at < ?", millis(k.db.now().Add(-holderMemory))); err != nil {
			return err
		}
		return k.note(ctx, c, r, "state = ?, keys_rev = ?, total = ?", keys.Resealing, rev, total)
	})
	if err != nil {
		return false, err
	}
	return true, k.load(ctx)
}

// left counts the values that another key than the new one has sealed.
func (k *Keys) left(ctx context.Context, r *rotationRow) (n int64, err error) {
	var uses []keyUse
	err = k.db.read(ctx, "look for values of old data keys", func(ctx context.Context, c conn) (err error) {
		uses, err = keyUses(ctx, c)
		return err
	})
	for _, u := range uses {
		if key, ok := secret.KeyID(u.prefix); !ok || key != uint32(r.NewKey) {
			n += u.values
		}
	}
	return n, err
}

// reseal seals every value again that another key has sealed, a batch in a transaction. A value that changed meanwhile
// is left alone. When none is left and every replica seals with the new key, the store may settle.
func (k *Keys) reseal(ctx context.Context, r *rotationRow) (bool, error) {
	bad, err := k.resealAll(ctx, r)
	if err != nil {
		return false, err
	}
	waiting, err := k.behind(ctx, r.KeysRev, holderLife)
	if err != nil {
		return false, err
	}
	left, err := k.left(ctx, r)
	if err != nil {
		return false, err
	}
	err = k.db.write(ctx, "end the re-sealing", func(ctx context.Context, c conn) error {
		switch {
		case bad > 0:
			// Held for a while, so that nobody tries what cannot work at every beat.
			if err := k.note(ctx, c, r, "failure = ?", fmt.Sprintf("%d values do not open, so the old key is kept. To see which: behalf keys verify.", bad)); err != nil {
				return err
			}
			_, err := c.exec(ctx, "UPDATE key_rotations SET held_by = '', held_until = ? WHERE id = ?", millis(k.db.now().Add(blockedPause)), r.ID)
			return err
		case left > 0 || len(waiting) > 0:
			return k.note(ctx, c, r, "failure = ''")
		}
		return k.note(ctx, c, r, "failure = '', state = ?, resealed_at = ?", keys.Settling, millis(k.db.now()))
	})
	if err == nil && bad > 0 {
		k.db.log.Error("sealed values that do not open: the old data key is kept", zap.Int64("values", bad))
	}
	return err == nil && bad == 0 && left == 0 && len(waiting) == 0, err
}

// resealAll returns how many values did not open.
func (k *Keys) resealAll(ctx context.Context, r *rotationRow) (bad int64, err error) {
	for _, t := range sealedTables {
		for after, more := "", true; more; {
			var failed int64
			if after, more, failed, err = k.resealBatch(ctx, r, t, after); err != nil {
				return bad, err
			}
			bad += failed
		}
	}
	return bad, nil
}

// resealBatch seals rows of t again, after the one with that primary key, and returns the last row it looked at and
// whether there may be more. Reading and sealing are done before the transaction, so that it is short.
func (k *Keys) resealBatch(ctx context.Context, r *rotationRow, t sealedTable, after string) (last string, more bool, bad int64, err error) {
	prefix := secret.KeyPrefix(uint32(r.NewKey))
	var page []sealedRow
	err = k.db.read(ctx, "read sealed rows", func(ctx context.Context, c conn) (err error) {
		page, err = t.page(ctx, c, after, resealBatch, prefix)
		return err
	})
	if err != nil || len(page) == 0 {
		return after, false, 0, err
	}
	next := make([][][]byte, len(page))
	for i, row := range page {
		next[i] = make([][]byte, len(t.fields))
		for j, field := range t.fields {
			if key, ok := secret.KeyID(row.values[j]); row.values[j] == nil || ok && key == uint32(r.NewKey) {
				continue
			}
			place := t.at(field, row.names...)
			plain, err := k.db.keyring.Open(row.values[j], place)
			if err != nil {
				bad++
				continue
			}
			if next[i][j], err = k.db.keyring.Seal(plain, place); err != nil {
				return after, false, bad, err
			}
		}
	}
	err = k.db.write(ctx, "seal rows again", func(ctx context.Context, c conn) error {
		done, err := t.replace(ctx, c, page, next)
		if err != nil {
			return err
		}
		return k.note(ctx, c, r, "resealed = resealed + ?", done)
	})
	return page[len(page)-1].names[0], len(page) == resealBatch, bad, err
}

// remove removes the old keys in the transaction that finds none of their values, when the store has settled. What was
// still on its way then is sealed again first. A process that ended without a word may have left values of an old key on
// its disk: the keys wait until one has started there and put them into the store, or for holderMemory.
func (k *Keys) remove(ctx context.Context, r *rotationRow) (bool, error) {
	if k.db.now().Before(moment(r.ResealedAt).Add(k.settle)) {
		if !k.idle {
			return false, nil
		}
		if alone, err := k.alone(ctx); err != nil || !alone {
			return false, err
		}
	}
	if waiting, err := k.behind(ctx, r.KeysRev, holderMemory); err != nil || len(waiting) > 0 {
		return false, err
	}
	var old []string
	err := k.db.changeKeys(ctx, "remove the old data keys", k.db.master.Load(), func(ring *secret.Keyring) (*secret.Keyring, error) {
		old = nil
		for _, key := range ring.IDs() {
			if key != uint32(r.NewKey) {
				old = append(old, fmt.Sprint(key))
			}
		}
		return ring.WithOnly(uint32(r.NewKey))
	}, func(ctx context.Context, c conn, _ int64) error {
		some, err := sealedOtherwise(ctx, c, secret.KeyPrefix(uint32(r.NewKey)))
		if err != nil {
			return err
		}
		if some {
			return errNotSettled
		}
		if err := k.note(ctx, c, r, "state = ?, failure = '', done_at = ?", keys.Done, millis(k.db.now())); err != nil {
			return err
		}
		detail := keyDetail(r.NewKey)
		detail["removed"], detail["values"] = strings.Join(old, " "), fmt.Sprint(r.Resealed)
		return k.db.record(ctx, c, audit.Entry{Actor: "system", Action: audit.KeysRotated, Outcome: "ok", Detail: detail}, r.ID)
	})
	if errors.Is(err, errNotSettled) {
		return true, k.db.write(ctx, "seal again what was on its way", func(ctx context.Context, c conn) error {
			return k.note(ctx, c, r, "state = ?, resealed_at = 0", keys.Resealing)
		})
	}
	if err != nil {
		return false, err
	}
	k.db.log.Info("data keys rotated", zap.Int64("seals", r.NewKey), zap.Strings("removed", old), zap.Int64("values", r.Resealed))
	return false, k.load(ctx)
}

var errNotSettled = errors.New("a value of an old data key was stored meanwhile")

// Status returns how the data keys are. It reads the beginning of every sealed value.
func (k *Keys) Status(ctx context.Context) (keys.Status, error) {
	var made []rotationRow
	var uses []keyUse
	err := k.db.read(ctx, "read the rotations of the data keys", func(ctx context.Context, c conn) (err error) {
		made = nil
		if err = c.all(ctx, &made, "SELECT "+rotationColumns+" FROM key_rotations ORDER BY started_at DESC, id DESC LIMIT 100"); err != nil {
			return err
		}
		uses, err = keyUses(ctx, c)
		return err
	})
	if err != nil {
		return keys.Status{}, err
	}
	// The keys after the rotation, which is written down with them: one that is done is not shown with the old key.
	if err := k.db.reloadKeys(ctx); err != nil {
		return keys.Status{}, err
	}
	stored, err := k.db.storedKeys(ctx)
	if err != nil {
		return keys.Status{}, err
	}
	st := keys.Status{Master: k.db.master.Load().Name()}
	if len(made) > 0 {
		st.Rotation = made[0].rotation()
		if made[0].DoneAt == 0 {
			life := holderLife
			if st.Rotation.State == keys.Settling {
				life = holderMemory
			}
			if st.Waiting, err = k.behind(ctx, made[0].KeysRev, life); err != nil {
				return keys.Status{}, err
			}
		}
	}
	primary := k.db.keyring.Primary()
	for _, key := range k.db.keyring.IDs() {
		one := keys.Key{ID: key, Use: keys.Opens}
		switch {
		case key == primary:
			one.Use = keys.Seals
		case st.Rotation != nil && st.Rotation.State == keys.Announced && st.Rotation.NewKey == key:
			one.Use = keys.Next
		}
		if stored != nil {
			one.CreatedAt = moment(stored.CreatedAt) // the first key, unless a rotation made it
		}
		for _, r := range made {
			if uint32(r.NewKey) == key {
				one.CreatedAt = moment(r.StartedAt)
			}
		}
		st.Keys = append(st.Keys, one)
	}
	for _, u := range uses {
		key, _ := secret.KeyID(u.prefix)
		i := slices.IndexFunc(st.Keys, func(k keys.Key) bool { return k.ID == key })
		if i < 0 {
			i = len(st.Keys)
			st.Keys = append(st.Keys, keys.Key{ID: key, Use: keys.Missing})
		}
		st.Keys[i].Values += u.values
	}
	slices.SortStableFunc(st.Keys, func(a, b keys.Key) int {
		if (a.Use == keys.Seals) != (b.Use == keys.Seals) {
			if a.Use == keys.Seals {
				return -1
			}
			return 1
		}
		return b.CreatedAt.Compare(a.CreatedAt)
	})
	return st, nil
}

// Verify opens every sealed value, a page at a time, and calls found for each one that does not open. It also asks the
// master key to open the data keys as they are stored.
func (k *Keys) Verify(ctx context.Context, found func(keys.Finding)) (keys.Report, error) {
	stored, err := k.db.storedKeys(ctx)
	if err != nil {
		return keys.Report{}, err
	}
	if stored == nil {
		return keys.Report{}, fault.New(fault.NotFound, "The data keys are missing from the table data_keys. Restore the store from a backup.")
	}
	if _, err := secret.OpenKeyring(ctx, k.db.master.Load(), stored.Keyset); err != nil {
		return keys.Report{}, err
	}
	report := keys.Report{ByKey: map[uint32]int64{}}
	for _, t := range sealedTables {
		for after := ""; ; {
			var page []sealedRow
			err := k.db.read(ctx, "read sealed rows", func(ctx context.Context, c conn) (err error) {
				page, err = t.page(ctx, c, after, resealBatch, nil)
				return err
			})
			if err != nil {
				return report, err
			}
			if len(page) == 0 {
				break
			}
			for _, row := range page {
				for i, field := range t.fields {
					if row.values[i] == nil {
						continue
					}
					key, _ := secret.KeyID(row.values[i])
					report.Values++
					report.ByKey[key]++
					if _, err := k.db.keyring.Open(row.values[i], t.at(field, row.names...)); err != nil {
						report.Findings++
						found(keys.Finding{Table: t.name, ID: row.names[0], Field: field, KeyID: key, Reason: reason(err)})
					}
				}
			}
			after = page[len(page)-1].names[0]
		}
	}
	return report, nil
}

// reason says why a value does not open.
func reason(err error) string {
	if missing, ok := errors.AsType[*secret.MissingKeyError](err); ok {
		return missing.Error()
	}
	return "it was changed, or moved here from another row or field"
}
