package sqlstore

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"
	"github.com/pressly/goose/v3"

	"github.com/behalf-project/behalf/internal/fault"
)

// poolSize is how many connections a process opens at most, unless the URL says pool_max_conns.
const poolSize = 16

// openPostgres opens a pool of connections to the database at url. settings are names and values of parameters of the
// server, in turn.
func openPostgres(ctx context.Context, url string, settings ...string) (*DB, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		// The cause is dropped: pgx hides passwords in it, but only where it finds them.
		return nil, fault.New(fault.Invalid, `The store's URL is not one that Postgres understands: "postgres://user:password@host:port/database?sslmode=verify-full".`)
	}
	if cfg.ConnConfig.RuntimeParams["application_name"] == "" {
		cfg.ConnConfig.RuntimeParams["application_name"] = "behalf"
	}
	for setting := range slices.Chunk(settings, 2) {
		cfg.ConnConfig.RuntimeParams[setting[0]] = setting[1]
	}
	if !strings.Contains(url, "pool_max_conns=") {
		cfg.MaxConns = poolSize
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "The store's Postgres cannot be reached.")
	}
	handle := sqlx.NewDb(stdlib.OpenDBFromPool(pool), "pgx")
	db := &DB{writer: handle, reader: handle, dialect: postgresDialect, release: func() error { pool.Close(); return nil }, reconnect: pool.Reset}
	db.listener = cfg.ConnConfig.Copy()
	db.listener.RuntimeParams["application_name"] += " news"
	if err := handle.PingContext(ctx); err != nil {
		return nil, errors.Join(refusal(err, net.JoinHostPort(cfg.ConnConfig.Host, strconv.Itoa(int(cfg.ConnConfig.Port)))), db.Close())
	}
	return db, nil
}

// refusal says why there is no connection to the server at an address, and what to do.
func refusal(err error, at string) error {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && (e.Code == "53300" || e.Code == "53400") {
		return fault.Wrap(fault.Unavailable, err, "The store's Postgres at %s has no connection left. Raise its max_connections, or lower what each process takes: up to %d, or the pool_max_conns of store.url, and one that listens.", at, poolSize)
	}
	return fault.Wrap(fault.Unavailable, err, "The store's Postgres at %s does not let us in. Check host, user, password and database of store.url.", at)
}

var postgresDialect = dialect{
	name:      "Postgres",
	notify:    true,
	goose:     goose.DialectPostgres,
	folder:    "migrations/postgres",
	binding:   sqlx.DOLLAR,
	alone:     "SELECT pg_advisory_xact_lock(hashtextextended(?, 0))",
	clock:     "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint",
	binary:    "BYTEA",
	remembers: true,
	insert:    "INSERT",
	classify: func(err error) failure {
		if e, ok := errors.AsType[*pgconn.PgError](err); ok {
			switch e.Code { // https://www.postgresql.org/docs/current/errcodes-appendix.html
			case "23505":
				return notUnique
			case "23503":
				return notReferenced
			case "40001", "40P01", "55P03": // serialization_failure, deadlock_detected, lock_not_available
				return transient
			}
			switch class := e.Code[:min(2, len(e.Code))]; {
			case class == "08", strings.HasPrefix(e.Code, "57P"): // connection, shutdown
				return severed
			case class == "53": // resources
				return unreachable
			}
			return other
		}
		if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
			return unreachable
		}
		timeout, ok := errors.AsType[net.Error](err)
		switch {
		case ok && timeout.Timeout():
			return unreachable
		case ok, pgconn.SafeToRetry(err), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
			return severed
		}
		return other
	},
}
