package sqlstore

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jmoiron/sqlx"
	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/id"
	"github.com/behalf-project/behalf/internal/notify"
	"github.com/behalf-project/behalf/internal/secret"
)

// Config is what Open needs. URL and Keyset are required.
type Config struct {
	// URL names the database: "sqlite:name.db" (relative to the working folder), "sqlite:/abs/name.db" or
	// "postgres://user:password@host/database", with pgxpool's pool_max_conns and the like as parameters.
	URL string

	// Keyset is the master key: a file, which is made when it is missing and the store holds nothing sealed yet, or the
	// URI of a key in a KMS, such as "hcvault://vault.example.com/transit/keys/behalf".
	Keyset string

	// KMS opens the key uri of a KMS; kms.Open does. Required when Keyset is a URI.
	KMS func(ctx context.Context, uri string) (secret.KMS, error)

	// SealedOutside reports whether this process keeps values on disk that the data keys have sealed, as a journal does
	// while the database is down. While it does, no data key is removed. Default: it never does.
	SealedOutside func() bool

	// Damaged opens a store although a data key is missing, to find out which of its values are lost. It is not served.
	Damaged bool

	Log *zap.Logger      // default: no logging
	Now func() time.Time // default: time.Now
}

// DB is an open store. It is safe for concurrent use.
type DB struct {
	writer    *sqlx.DB // all that changes something
	reader    *sqlx.DB // the same as writer on Postgres
	dialect   dialect
	keyring   *secret.Keyring
	keysMu    sync.Mutex // of the two below
	keysRev   int64      // the revision of the data keys in keyring
	whole     time.Time  // since when nothing of earlier processes here is left outside of the store; zero for not yet
	outside   func() bool
	master    atomic.Pointer[secret.Master]
	log       *zap.Logger
	now       func() time.Time
	reconnect func()       // gives up every connection of the pool, for new ones; nil where none can be lost
	release   func() error // gives back what the handles do not own: the lock of the file, the pool

	news     notify.Bus
	chain    *chain          // of this process's audit records
	process  string          // names this process to the others in what it announces
	listener *pgx.ConnConfig // for Run's own connection; nil on SQLite
}

// Open connects to the database, migrates it, and unlocks its data keys. It refuses a schema that is newer than this
// program, a SQLite file that another process has open, and a store whose master key is missing or another one.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Keyset == "" {
		return nil, fault.New(fault.Invalid, "The store needs a master key: set keys.keyset.")
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()

	db, err := connect(ctx, cfg.URL)
	if err != nil {
		return nil, err
	}
	db.log, db.now, db.process, db.outside, db.chain = cfg.Log, cfg.Now, id.Random(8), cfg.SealedOutside, newChain()
	if err := db.migrate(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := db.unlock(ctx, cfg); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// Migrate brings the schema of the database that url names up to date, as Open does, and makes nothing else there.
func Migrate(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	db, err := connect(ctx, url)
	if err != nil {
		return err
	}
	db.log = zap.NewNop()
	return errors.Join(db.migrate(ctx), db.Close())
}

// connect opens the handles of the database that url names.
func connect(ctx context.Context, url string) (*DB, error) {
	scheme, rest, _ := strings.Cut(url, ":")
	switch scheme {
	case "sqlite":
		return openSQLite(ctx, rest)
	case "postgres", "postgresql":
		return openPostgres(ctx, url)
	}
	// The URL may hold a password, so it is not quoted.
	return nil, fault.New(fault.Invalid, `The store's URL must begin with "sqlite:" or "postgres://".`)
}

// connectReader is connect with handles that cannot change anything.
func connectReader(ctx context.Context, url string) (*DB, error) {
	scheme, rest, _ := strings.Cut(url, ":")
	switch scheme {
	case "sqlite":
		return readSQLite(ctx, rest)
	case "postgres", "postgresql":
		return openPostgres(ctx, url, "default_transaction_read_only", "on")
	}
	return connect(ctx, url) // which refuses it
}

// Close closes the store. Methods that still run are waited for.
func (db *DB) Close() error {
	if db.process != "" {
		db.letGo()
	}
	err := db.writer.Close()
	if db.reader != db.writer {
		err = errors.Join(db.reader.Close(), err)
	}
	return errors.Join(err, db.release())
}

// Ping reports whether the database answers, for readiness.
func (db *DB) Ping(ctx context.Context) error {
	return db.read(ctx, "ping", func(ctx context.Context, c conn) error {
		var n int // a row of a table: SQLite answers SELECT 1 without looking at its file
		return c.get(ctx, &n, "SELECT count(*) FROM domains")
	})
}

// Grants returns the store of grants.
func (db *DB) Grants() *Grants { return &Grants{db} }

// Authorizations returns the store of pending authorizations.
func (db *DB) Authorizations() *Authorizations { return &Authorizations{db} }

// OAuthApps returns the store of OAuth apps.
func (db *DB) OAuthApps() *OAuthApps { return &OAuthApps{db} }

// Users returns the store of people.
func (db *DB) Users() *Users { return &Users{db} }

// Sessions returns the store of browser sessions.
func (db *DB) Sessions() *Sessions { return &Sessions{db} }

// Tokens returns the store of personal access tokens.
func (db *DB) Tokens() *Tokens { return &Tokens{db} }

// Codes returns the store of authorization codes.
func (db *DB) Codes() *Codes { return &Codes{db} }

// Devices returns the store of programs that ask to sign in.
func (db *DB) Devices() *Devices { return &Devices{db} }

// Domains returns the store of domains.
func (db *DB) Domains() *Domains { return &Domains{db} }

// Jobs returns the store of work that is to be done.
func (db *DB) Jobs() *Jobs { return &Jobs{db} }

// Shares returns the store of what replicas hold of their caps.
func (db *DB) Shares() *Shares { return &Shares{db} }

// Shared reports whether other processes may use the database: it is a Postgres.
func (db *DB) Shared() bool { return db.dialect.notify }

// Keyring returns what seals the store's secrets, for what must be as safe on the disk beside it.
func (db *DB) Keyring() *secret.Keyring { return db.keyring }

// Audit returns the records of who did what.
func (db *DB) Audit() *Audit { return &Audit{db} }
