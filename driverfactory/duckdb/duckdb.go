//go:build cgo

// Package duckdb runs statements at a DuckDB file on this machine, read-only.
//
// DuckDB knows no identities: everybody reads the whole file, as the server. The instance of a file is opened when the
// first session needs it, shared by all Drivers, and closed with the last of them. It is locked down before the first
// statement: no other file, no network, no extension, and no setting that could be changed back.
package duckdb

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/behalf-project/behalf/driverfactory"
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
		opened, err := open(path)
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

// open opens the file at path, or a database in memory when path is empty, and locks it.
func open(path string) (*duckdb.Connector, error) {
	settings := "?autoinstall_known_extensions=false&autoload_known_extensions=false&allow_community_extensions=false"
	if path != "" {
		settings += "&access_mode=read_only"
	}
	in, err := duckdb.NewConnector(path+settings, nil)
	if err != nil {
		return nil, err
	}
	if err := lock(in); err != nil {
		return nil, errors.Join(err, in.Close())
	}
	return in, nil
}

// lock shuts the instance. The order matters: after the last statement nothing can be set.
func lock(in *duckdb.Connector) error {
	ctx := context.Background() // these statements touch no file and take microseconds
	conn, err := in.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, s := range []string{
		"SET GLOBAL TimeZone = 'UTC'", "SET enable_external_access = false", "SET lock_configuration = true",
	} {
		if _, err := conn.(driver.ExecerContext).ExecContext(ctx, s, nil); err != nil {
			if locked(err) {
				return nil // another Warehouse of this process opened the same file
			}
			return fmt.Errorf("duckdb: locking the instance: %w", err)
		}
	}
	return nil
}

func locked(err error) bool { return strings.Contains(err.Error(), "configuration has been locked") }

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

// Value converts a value by its Go type, which for DuckDB says as much as the name.
func (w *Warehouse) Value(dbType string, _ int64, v any) any {
	switch v := v.(type) {
	case nil, bool, int64, float64, string:
		return v
	case int8:
		return int64(v)
	case int16:
		return int64(v)
	case int32:
		return int64(v)
	case uint8:
		return int64(v)
	case uint16:
		return int64(v)
	case uint32:
		return int64(v)
	case uint64:
		return whole(new(big.Int).SetUint64(v))
	case *big.Int:
		return whole(v)
	case float32:
		f, err := strconv.ParseFloat(strconv.FormatFloat(float64(v), 'g', -1, 32), 64)
		if err != nil {
			return float64(v)
		}
		return f
	case duckdb.Decimal:
		return driverfactory.Decimal(decimal(v.Value, int(v.Scale)))
	case time.Time:
		if strings.HasPrefix(dbType, "TIME") && !strings.HasPrefix(dbType, "TIMESTAMP") {
			return v.Format("15:04:05.999999")
		}
		return v.UTC()
	case []byte:
		if dbType == "UUID" && len(v) == 16 {
			id := duckdb.UUID(v)
			return id.String()
		}
		return v
	case duckdb.Interval:
		return interval(v)
	}
	return nested(v)
}

// whole is an int64 where it fits one.
func whole(v *big.Int) any {
	if v.IsInt64() {
		return v.Int64()
	}
	return driverfactory.Decimal(v.String())
}

// decimal writes a number with all the digits of its scale, which duckdb.Decimal leaves out: 12.50 and not 12.5.
func decimal(v *big.Int, scale int) string {
	if scale == 0 {
		return v.String()
	}
	digits := new(big.Int).Abs(v).String()
	if missing := scale + 1 - len(digits); missing > 0 {
		digits = strings.Repeat("0", missing) + digits
	}
	sign := ""
	if v.Sign() < 0 {
		sign = "-"
	}
	return sign + digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
}

func interval(v duckdb.Interval) string {
	return fmt.Sprintf("%d months %d days %s", v.Months, v.Days, time.Duration(v.Micros)*time.Microsecond)
}

// nested writes lists, structs and maps as JSON, where it can.
func nested(v any) string {
	if text, err := json.Marshal(v); err == nil {
		return string(text)
	}
	return fmt.Sprint(v)
}
