package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/secret"
)

// The row of the data keys; there is one.
const dataKeysID = "data"

// reloadLimit is how long a value of a key that is not here may wait for newer data keys.
const reloadLimit = 5 * time.Second

// storedKeys is the row of the data keys.
type storedKeys struct {
	Keyset    []byte `db:"keyset"`
	Rev       int64  `db:"rev"`
	WrappedBy string `db:"wrapped_by"` // the name of the master; empty when it was not written down
	CreatedAt int64  `db:"created_at"`
}

// unlock reads the data keys and opens them with the master key. On the first start it makes both.
func (db *DB) unlock(ctx context.Context, cfg Config) error {
	// First, so that a rotation that begins now waits until this process has the keys it reads below.
	if err := db.hold(ctx, 0); err != nil {
		return err
	}
	stored, err := db.storedKeys(ctx)
	if err != nil {
		return err
	}
	if stored == nil {
		if stored, err = db.firstKeys(ctx, cfg); err != nil {
			return err
		}
	}
	master, err := openMaster(ctx, cfg)
	if errors.Is(err, fault.NotFound) && !remote(cfg.Keyset) {
		return fault.Wrap(fault.NotFound, err, "The store holds secrets that are sealed with a master key, and its file %s is missing%s. Restore that file from a backup. It is not made anew, because a new key opens none of them.", cfg.Keyset, wrappedBy(stored))
	}
	if err != nil {
		return err
	}
	db.master.Store(master)
	db.keyring, err = secret.OpenKeyring(ctx, master, stored.Keyset)
	if errors.Is(err, secret.ErrWrongMaster) {
		return fault.Wrap(fault.Denied, err, "The master key in %s does not belong to this store: its data keys were wrapped with another one%s. Restore the one that was used with it, or set keys.keyset to it.", cfg.Keyset, wrappedBy(stored))
	}
	if err != nil {
		return err
	}
	db.keysRev = stored.Rev
	db.keyring.Reload(func() {
		ctx, cancel := context.WithTimeout(context.Background(), reloadLimit) // Open has no context, and needs the keys
		defer cancel()
		if err := db.reloadKeys(ctx); err != nil {
			db.log.Error("newer data keys cannot be loaded", zap.Error(err))
		}
	})
	if !cfg.Damaged {
		if err := db.refuseMissingKeys(ctx); err != nil {
			return err
		}
	}
	return db.hold(ctx, stored.Rev)
}

// wrappedBy says which master key opens the data keys, where that is known.
func wrappedBy(stored *storedKeys) string {
	if stored.WrappedBy == "" {
		return ""
	}
	return " (" + stored.WrappedBy + ")"
}

// remote reports whether keyset is a key of a KMS rather than a file.
func remote(keyset string) bool { return strings.Contains(keyset, "://") }

// openMaster returns the master key that cfg names.
func openMaster(ctx context.Context, cfg Config) (*secret.Master, error) {
	if !remote(cfg.Keyset) {
		return secret.OpenMaster(cfg.Keyset)
	}
	if cfg.KMS == nil {
		return nil, fault.New(fault.Invalid, "The master key %s is in a KMS, which this program cannot reach.", cfg.Keyset)
	}
	kms, err := cfg.KMS(ctx, cfg.Keyset)
	if err != nil {
		return nil, err
	}
	return secret.RemoteMaster(cfg.Keyset, kms), nil
}

// storedKeys returns the row of the data keys, or nil when there is none.
func (db *DB) storedKeys(ctx context.Context) (*storedKeys, error) {
	var row storedKeys
	found := true
	err := db.read(ctx, "read the data keys", func(ctx context.Context, c conn) error {
		err := c.get(ctx, &row, "SELECT keyset, rev, wrapped_by, created_at FROM data_keys WHERE id = ?", dataKeysID)
		found = !errors.Is(err, sql.ErrNoRows)
		if !found {
			return nil
		}
		return err
	})
	if err != nil || !found {
		return nil, err
	}
	return &row, nil
}

// firstKeys makes the data keys, and the master key unless there is one, and returns the data keys that the store has
// then: another replica may have been quicker.
func (db *DB) firstKeys(ctx context.Context, cfg Config) (*storedKeys, error) {
	var sealed bool
	err := db.read(ctx, "look for sealed rows", func(ctx context.Context, c conn) (err error) {
		sealed, err = anySealed(ctx, c)
		return err
	})
	if err != nil {
		return nil, err
	}
	if sealed {
		return nil, fault.New(fault.NotFound, "The store holds sealed secrets, and the data keys that open them are missing from its table data_keys. Restore the store from a backup.")
	}
	master, err := openMaster(ctx, cfg)
	if errors.Is(err, fault.NotFound) && !remote(cfg.Keyset) {
		if master, err = secret.CreateMaster(cfg.Keyset); err == nil {
			db.log.Info("master key made: keep a copy of it apart from the store's backups", zap.String("file", cfg.Keyset))
		}
	}
	if err != nil {
		return nil, err
	}
	keyring, err := secret.NewKeyring()
	if err != nil {
		return nil, err
	}
	wrapped, err := keyring.Wrap(ctx, master)
	if err != nil {
		return nil, err
	}
	err = db.write(ctx, "store the data keys", func(ctx context.Context, c conn) error {
		_, err := c.exec(ctx, "INSERT INTO data_keys (id, keyset, created_at, rev, wrapped_by) VALUES (?, ?, ?, 1, ?) ON CONFLICT (id) DO NOTHING",
			dataKeysID, wrapped, millis(db.now()), master.Name())
		return err
	})
	if err != nil {
		return nil, err
	}
	return db.storedKeys(ctx)
}

// refuseMissingKeys refuses a store with values of keys that are not among its data keys: one was lost, as when
// data_keys is of another backup than the rest.
func (db *DB) refuseMissingKeys(ctx context.Context) error {
	var uses []keyUse
	err := db.read(ctx, "look for the keys of sealed rows", func(ctx context.Context, c conn) (err error) {
		uses, err = keyUses(ctx, c)
		return err
	})
	if err != nil {
		return err
	}
	lost, values := map[string]bool{}, int64(0)
	for _, u := range uses {
		if id, ok := secret.KeyID(u.prefix); ok && !slices.Contains(db.keyring.IDs(), id) {
			lost[fmt.Sprintf("%d (%s.%s)", id, u.table, u.field)] = true
			values += u.values
		}
	}
	if len(lost) == 0 {
		return nil
	}
	return &fault.Error{Kind: fault.NotFound, Code: "data_key_missing", Owner: fault.Admin, Detail: fmt.Sprintf(
		"The store holds %d sealed values of a data key that is missing from its table data_keys: %s. Restore the whole store from one backup. "+
			"To see which rows are concerned: behalf keys verify.", values, strings.Join(slices.Sorted(maps.Keys(lost)), ", "))}
}

// reloadKeys takes newer data keys into use, if there are some. A master key in a KMS is asked only then.
func (db *DB) reloadKeys(ctx context.Context) error {
	db.keysMu.Lock()
	defer db.keysMu.Unlock()
	stored, err := db.storedKeys(ctx)
	if err != nil {
		return err
	}
	if stored == nil || stored.Rev == db.keysRev {
		return nil
	}
	next, err := secret.OpenKeyring(ctx, db.master.Load(), stored.Keyset)
	if errors.Is(err, secret.ErrWrongMaster) {
		return fault.Wrap(fault.Denied, err, "The data keys have been wrapped with another master key%s. What was loaded at start goes on opening what it can: set keys.keyset to that one and restart.", wrappedBy(stored))
	}
	if err != nil {
		return err
	}
	db.keyring.Use(next)
	db.keysRev = stored.Rev
	db.log.Info("data keys loaded", zap.Int64("keys_rev", stored.Rev), zap.Uint32("seals", next.Primary()), zap.Int("keys", len(next.IDs())))
	return nil
}

// hold says that this process holds the revision rev of the data keys, and that it is alive; 0 says that it is about to
// read them, or has values of older ones outside of the store.
func (db *DB) hold(ctx context.Context, rev int64) error {
	host, err := os.Hostname()
	if err != nil {
		host = "a replica"
	}
	db.keysMu.Lock()
	whole := db.whole
	db.keysMu.Unlock()
	if db.outside != nil && db.outside() {
		rev = 0
	}
	return db.write(ctx, "note which data keys are held", func(ctx context.Context, c conn) error {
		now := db.now()
		_, err := c.exec(ctx, `INSERT INTO key_holders (process, host, name, keys_rev, seen_at) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (process) DO UPDATE SET keys_rev = excluded.keys_rev, seen_at = excluded.seen_at`,
			db.process, printable(host), printable(fmt.Sprintf("%s (process %d)", host, os.Getpid())), rev, millis(now))
		if err != nil || whole.IsZero() {
			return err
		}
		_, err = c.exec(ctx, "DELETE FROM key_holders WHERE host = ? AND process <> ? AND seen_at < ? AND seen_at < ?",
			printable(host), db.process, millis(whole), millis(now.Add(-holderLife)))
		return err
	})
}

// letGo says that this process holds no data keys any more, and no rotation: another one may go on at once.
func (db *DB) letGo() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second) // who closes has no context, and is not kept
	defer cancel()
	for _, query := range []string{"DELETE FROM key_holders WHERE process = ?", "UPDATE key_rotations SET held_until = 0 WHERE held_by = ?"} {
		if _, err := db.writer.ExecContext(ctx, db.writer.Rebind(query), db.process); err != nil {
			return // it counts as gone after holderLife and workLease
		}
	}
}
