package sqlstore

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/fault"
)

//go:embed migrations
var migrations embed.FS

// migrate brings the schema up to date. On Postgres replicas that start together take turns; a SQLite file has one
// process.
func (db *DB) migrate(ctx context.Context) error {
	steps, err := fs.Sub(migrations, db.dialect.folder)
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	var options []goose.ProviderOption
	if db.dialect.goose == goose.DialectPostgres {
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 60), lock.WithUnlockTimeout(1, 10)) // seconds, tries
		if err != nil {
			return fmt.Errorf("prepare the lock of the migrations: %w", err)
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	// The provider is not closed: closing it closes the handle.
	p, err := goose.NewProvider(db.dialect.goose, db.writer.DB, steps, options...)
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	at, known, err := p.GetVersions(ctx)
	if err != nil {
		return db.fail(ctx, "read the version of the schema", err)
	}
	if at > known {
		return fault.New(fault.Conflict, "The store's schema has version %d and this program knows versions up to %d: a newer Behalf has used it. Start that one, or restore a backup from before the update.", at, known)
	}
	done, err := p.Up(ctx)
	if err != nil {
		var partial *goose.PartialError
		if errors.As(err, &partial) && partial.Failed != nil {
			return db.fail(ctx, fmt.Sprintf("migrate to version %d", partial.Failed.Source.Version), err)
		}
		return db.fail(ctx, "migrate", err)
	}
	for _, step := range done {
		db.log.Info("store migrated", zap.String("database", db.dialect.name), zap.Int64("version", step.Source.Version), zap.Duration("took", step.Duration))
	}
	return nil
}

// checkSchema refuses a schema that is not the one this program makes. It changes nothing.
func (db *DB) checkSchema(ctx context.Context) error {
	names, err := fs.Glob(migrations, db.dialect.folder+"/*.sql")
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	var at int64
	err = db.read(ctx, "read the version of the schema", func(ctx context.Context, c conn) error {
		return c.get(ctx, &at, "SELECT max(version_id) FROM goose_db_version")
	})
	known, parseErr := goose.NumericComponent(names[len(names)-1])
	switch {
	case fault.KindOf(err) != "":
		return err
	case err != nil:
		return fault.Wrap(fault.Conflict, err, "This database is not a store of Behalf, or no server has been started on it yet.")
	case parseErr != nil:
		return fmt.Errorf("read migrations: %w", parseErr)
	case at > known:
		return fault.New(fault.Conflict, "The store's schema has version %d and this program knows versions up to %d: use the newer Behalf that made it.", at, known)
	case at < known:
		return fault.New(fault.Conflict, "The store's schema has version %d and this program needs version %d: start the server once with this version, which updates it.", at, known)
	}
	return nil
}
