package sqlstore

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/jmoiron/sqlx"
	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/filelock"
)

// sqliteFile returns the file that path names, the part of a URL after "sqlite:".
func sqliteFile(path string) (string, error) {
	if path == "" || strings.HasPrefix(path, ":") || strings.HasPrefix(path, "//") || strings.Contains(path, "?") {
		return "", fault.New(fault.Invalid, `The store's URL %q must name a file, as in "sqlite:behalf.db" or "sqlite:/var/lib/behalf/behalf.db", without parameters.`, "sqlite:"+path)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fault.Wrap(fault.Invalid, err, "The store's file cannot be found: the working folder is gone.")
	}
	return abs, nil
}

// openSQLite opens the file at path for this process alone.
func openSQLite(ctx context.Context, path string) (*DB, error) {
	path, err := sqliteFile(path)
	if err != nil {
		return nil, err
	}
	// SQLite lets processes share a file; we do not, because news of a change reaches this process only.
	unlock, err := filelock.Lock(path + ".lock")
	if errors.Is(err, filelock.ErrLocked) {
		return nil, fault.Wrap(fault.Conflict, err, "The store %s is in use by another process. Stop that one first, or use Postgres, which several can share.", path)
	}
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "The store %s cannot be opened. Check that its folder exists and is writable.", path)
	}
	// Made here and not by SQLite, because SQLite would let everybody read it. Its -wal and -shm take over the mode.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, errors.Join(fault.Wrap(fault.Unavailable, err, "The store %s cannot be opened. Check that the file is writable.", path), unlock())
	}
	f.Close()

	db := &DB{dialect: sqliteDialect, release: unlock}
	// FULL: a commit that a power failure could undo would lose a rotated refresh token (design.md §2.14).
	db.writer, err = sqliteHandle(path, "immediate", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)")
	if err != nil {
		return nil, errors.Join(err, unlock())
	}
	db.writer.SetMaxOpenConns(1)
	db.reader, err = sqliteHandle(path, "deferred", "query_only(1)")
	if err != nil {
		return nil, errors.Join(err, db.writer.Close(), unlock())
	}
	readers := max(4, runtime.GOMAXPROCS(0))
	db.reader.SetMaxOpenConns(readers)
	db.reader.SetMaxIdleConns(readers)
	// The writer first: it is the one that turns the file to WAL.
	if err := db.writer.PingContext(ctx); err != nil {
		return nil, errors.Join(fault.Wrap(fault.Unavailable, err, "The store %s cannot be opened. Check that it is a SQLite database.", path), db.Close())
	}
	return db, nil
}

// readSQLite opens the file at path to be read, beside the process that may have it open: the WAL keeps what a reader
// sees apart from what is written meanwhile. The lock is for those that write.
func readSQLite(ctx context.Context, path string) (*DB, error) {
	path, err := sqliteFile(path)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); err != nil { // SQLite would make it
		return nil, fault.Wrap(fault.NotFound, err, "There is no store %s.", path)
	}
	handle, err := sqliteHandle(path, "deferred", "query_only(1)")
	if err != nil {
		return nil, err
	}
	db := &DB{writer: handle, reader: handle, dialect: sqliteDialect, release: func() error { return nil }}
	if err := handle.PingContext(ctx); err != nil {
		return nil, errors.Join(fault.Wrap(fault.Unavailable, err, "The store %s cannot be read. Run this as the user that the server runs as.", path), db.Close())
	}
	return db, nil
}

// sqliteHandle returns a handle to the file at path. It connects to nothing yet.
func sqliteHandle(path, txlock string, pragmas ...string) (*sqlx.DB, error) {
	// A short wait for locks: write waits longer than that by itself, and hears when its caller leaves.
	q := url.Values{"_txlock": {txlock}, "_pragma": append(pragmas, "busy_timeout(1000)", "trusted_schema(0)")}
	name := url.URL{Scheme: "file", Path: "/" + strings.TrimPrefix(filepath.ToSlash(path), "/"), RawQuery: q.Encode()}
	db, err := sqlx.Open("sqlite", name.String())
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "The store %s cannot be opened.", path)
	}
	return sqlx.NewDb(db.DB, "sqlite3"), nil // the name by which sqlx knows SQLite's placeholders
}

var sqliteDialect = dialect{
	name:    "SQLite",
	goose:   goose.DialectSQLite3,
	folder:  "migrations/sqlite",
	binding: sqlx.QUESTION,
	binary:  "BLOB",
	insert:  "INSERT OR FAIL", // else it keeps a copy of each page that it changes
	classify: func(err error) failure {
		e, ok := errors.AsType[*sqlite.Error](err)
		if !ok {
			return other
		}
		switch e.Code() {
		case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
			return notUnique
		case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
			return notReferenced
		}
		switch e.Code() & 0xff {
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
			return transient
		case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY,
			sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
			return unreachable
		}
		return other
	},
}
