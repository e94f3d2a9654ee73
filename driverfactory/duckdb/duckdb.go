//go:build cgo

// Package duckdb runs statements at a DuckDB file on this machine, read-only.
//
// DuckDB knows no identities: everybody reads the whole file, as the server. The instance of a file is opened when the
// first session needs it, shared by all Drivers, and closed with the last of them. It is locked down
// (internal/duckdbinstance): no other file, no network, no extension, and no setting that could be changed back.
package duckdb

import (
	"context"
	"database/sql/driver"
	"errors"
	"sync"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/duckdbinstance"
)

// Warehouse is the adapter. It is safe for concurrent use.
type Warehouse struct {
	mu        sync.Mutex
	instances map[string]*instance // by path
}

// New returns a Warehouse.
func New() *Warehouse { return &Warehouse{instances: map[string]*instance{}} }

// instance is an open file, shared by everybody who reads it.
type instance struct {
	*duckdb.Connector
	users int // connectors that opened a session and are not closed yet
}

// Connector returns a connector to the file of src.
func (w *Warehouse) Connector(src driverfactory.Source, _ driverfactory.Login) (driver.Connector, error) {
	if err := w.Check(src); err != nil {
		return nil, err
	}
	return &connector{w: w, path: src.Options["path"]}, nil
}

// connector opens sessions at the shared instance of one file.
type connector struct {
	w    *Warehouse
	path string

	mu       sync.Mutex
	instance *instance
	closed   bool
}

// Connect opens a session, and the file with the first.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errors.New("duckdb: the connector is closed")
	}
	if c.instance == nil {
		in, err := c.w.acquire(c.path)
		if err != nil {
			return nil, err
		}
		c.instance = in
	}
	return c.instance.Connect(ctx)
}

// Driver returns DuckDB's driver.
func (c *connector) Driver() driver.Driver { return duckdb.Driver{} }

// Close gives the instance back. Sessions that are still open keep it alive inside DuckDB until they close.
func (c *connector) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.instance == nil {
		return nil
	}
	in := c.instance
	c.instance = nil
	return c.w.release(c.path, in)
}

func (w *Warehouse) acquire(path string) (*instance, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	in := w.instances[path]
	if in == nil {
		opened, err := duckdbinstance.Open(duckdbinstance.Config{File: path})
		if err != nil {
			return nil, err
		}
		in = &instance{Connector: opened}
		w.instances[path] = in
	}
	in.users++
	return in, nil
}

func (w *Warehouse) release(path string, in *instance) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	in.users--
	if in.users > 0 {
		return nil
	}
	delete(w.instances, path)
	return in.Close()
}

// Classify says what err means.
func (w *Warehouse) Classify(err error) driverfactory.Class {
	e, ok := errors.AsType[*duckdb.Error](err)
	if !ok {
		return driverfactory.StatementFailed
	}
	switch e.Type {
	case duckdb.ErrorTypePermission:
		return driverfactory.AccessDenied
	case duckdb.ErrorTypeInterrupt:
		return driverfactory.Canceled
	case duckdb.ErrorTypeFatal:
		return driverfactory.SessionLost
	case duckdb.ErrorTypeIO, duckdb.ErrorTypeConnection:
		return driverfactory.Misconfigured // the file is not there, or not a DuckDB file
	}
	return driverfactory.StatementFailed
}

// Value converts a value.
func (w *Warehouse) Value(dbType string, _ int64, v any) any { return duckdbinstance.Value(dbType, v) }
