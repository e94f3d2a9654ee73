//go:build cgo

// Package duckdbinstance opens instances of DuckDB that reach what they are given and nothing else, and says what the
// values are that they return.
//
// An instance is locked down before its first statement: no file but its own and those below the folders it was given,
// no network, no extension, and no setting that could be changed back. It is DuckDB that refuses, whatever the SQL: what
// keeps two owners apart is that each has an instance of its own, because what DuckDB may reach belongs to an instance
// and not to a connection.
//
// Where DuckDB spills what does not fit into memory, it may also read: so an instance in memory spills only into a folder
// of its own, or nowhere. DuckDB's default would be one folder for all of them.
package duckdbinstance

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"github.com/duckdb/duckdb-go/v2"
)

// Config says what an instance may reach, and how much it may take. The zero Config is a database in memory that reaches
// nothing.
type Config struct {
	File       string   // a DuckDB file, which is opened read-only; default: a database in memory
	Folders    []string // absolute; what is below them may be read and written; default: none
	Spill      string   // folder for what a database in memory has no room for; default: what has no room fails
	SpillBytes int64    // in Spill; default: DuckDB's
	Memory     int64    // bytes; default: DuckDB's, most of the machine
	Threads    int      // default: DuckDB's, all of the machine
	AnyOrder   bool     // rows need not keep the order in which they were inserted, which takes less memory
}

// Open opens an instance and locks it. Whoever opens it closes it, after its connections.
func Open(cfg Config) (*duckdb.Connector, error) {
	dsn := cfg.File + "?autoinstall_known_extensions=false&autoload_known_extensions=false&allow_community_extensions=false"
	if cfg.File != "" {
		dsn += "&access_mode=read_only"
	}
	if cfg.Threads > 0 {
		dsn += fmt.Sprintf("&threads=%d", cfg.Threads)
	}
	if cfg.Memory > 0 {
		dsn += fmt.Sprintf("&memory_limit=%dB", cfg.Memory)
	}
	in, err := duckdb.NewConnector(dsn, nil)
	if err != nil {
		return nil, err
	}
	if err := lock(in, cfg); err != nil {
		return nil, errors.Join(err, in.Close())
	}
	return in, nil
}

// lock shuts the instance. The order matters: after the last statement nothing can be set.
func lock(in *duckdb.Connector, cfg Config) error {
	statements := []string{"SET GLOBAL TimeZone = 'UTC'"}
	if cfg.File == "" {
		statements = append(statements, "SET temp_directory = "+Literal(cfg.Spill))
	}
	if cfg.SpillBytes > 0 {
		statements = append(statements, "SET max_temp_directory_size = "+Literal(fmt.Sprintf("%dB", cfg.SpillBytes)))
	}
	if cfg.AnyOrder {
		statements = append(statements, "SET preserve_insertion_order = false")
	}
	if len(cfg.Folders) > 0 {
		folders := make([]string, len(cfg.Folders))
		for i, f := range cfg.Folders {
			folders[i] = Literal(strings.TrimSuffix(f, "/") + "/")
		}
		statements = append(statements, "SET allowed_directories = ["+strings.Join(folders, ", ")+"]")
	}
	statements = append(statements, "SET enable_external_access = false", "SET lock_configuration = true")

	ctx := context.Background() // these statements touch no file and take microseconds
	conn, err := in.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, s := range statements {
		if _, err := conn.(driver.ExecerContext).ExecContext(ctx, s, nil); err != nil {
			if cfg.File != "" && locked(err) {
				return nil // somebody else in this process opened the same file, through this function
			}
			return fmt.Errorf("duckdb: locking the instance: %w", err)
		}
	}
	return nil
}

func locked(err error) bool { return strings.Contains(err.Error(), "configuration has been locked") }

// Literal writes s as a string of DuckDB's SQL.
func Literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// Identifier writes s as a quoted name of DuckDB's SQL.
func Identifier(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
