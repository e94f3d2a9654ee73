//go:build cgo

package engine

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/duckdb/duckdb-go/v2"
	lru "github.com/hashicorp/golang-lru/v2"
)

// Engine is a DuckDB instance with the shop in it. It is safe for concurrent use.
type Engine struct {
	Log Log

	db    *sql.DB
	plans *lru.Cache[string, plan]

	mu      sync.Mutex
	rights  map[string]Rights
	schemas map[string]bool // that somebody made
	tables  map[name]*made  // that somebody made, or is about to
}

// Open makes the shop, in memory. It starts nothing; Close frees it.
func Open(ctx context.Context, cfg Config) (*Engine, error) {
	// A file, a URL or an extension must never be reachable by SQL that came over the network.
	connector, err := duckdb.NewConnector(":memory:?autoinstall_known_extensions=false&autoload_known_extensions=false"+
		"&allow_community_extensions=false&enable_external_access=false", func(driver.ExecerContext) error { return nil })
	if err != nil {
		return nil, fmt.Errorf("sandbox engine: open DuckDB: %w", err)
	}
	e := &Engine{db: sql.OpenDB(connector), rights: map[string]Rights{}, schemas: map[string]bool{}, tables: map[name]*made{}}
	e.db.SetMaxOpenConns(256)
	e.db.SetMaxIdleConns(8)
	if e.plans, err = lru.New[string, plan](1000); err == nil {
		_, err = e.db.ExecContext(ctx, setup(cfg.rows()))
	}
	for name, r := range maps.All(cfg.Rights) {
		if err == nil {
			err = e.Grant(ctx, name, r)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("sandbox engine: make the data: %w", err), e.Close())
	}
	return e, nil
}

// Close frees the data. Statements must have ended.
func (e *Engine) Close() error { return e.db.Close() }

// Grant gives name the rights r in place of what it had. Statements that start later have them.
func (e *Engine) Grant(ctx context.Context, name string, r Rights) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	tx, err := e.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, "DELETE FROM demo.base.rights WHERE name = ?", name); err != nil {
		return err
	}
	for _, region := range r.Regions {
		if _, err := tx.ExecContext(ctx, "INSERT INTO demo.base.rights VALUES (?, ?)", name, region); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	e.rights[name] = r
	return nil
}

// Query runs q and returns its rows, which the caller must close. It fails with an *Error, or with the error of ctx when
// that ended first; ctx governs the rows too.
func (e *Engine) Query(ctx context.Context, q Query) (*Rows, error) {
	entry := e.Log.start(q)
	rows, err := e.query(ctx, q)
	if err != nil {
		outcome := FailedOut
		failed, ok := errors.AsType[*Error](err)
		switch {
		case ctx.Err() != nil || ok && failed.Kind == Canceled:
			outcome = CanceledOut
		case ok && failed.Kind == NotAllowed:
			outcome = RefusedOut
		}
		e.Log.end(entry, outcome, 0)
		return nil, err
	}
	rows.ctx, rows.log, rows.entry = ctx, &e.Log, entry
	return rows, nil
}

func (e *Engine) query(ctx context.Context, q Query) (*Rows, error) {
	switch {
	case len(q.SQL) > maxSQL:
		return nil, &Error{Kind: Syntax, Message: fmt.Sprintf("the statement is longer than %d bytes", maxSQL)}
	case strings.ContainsRune(q.SQL+q.Identity+q.TimeZone+q.Role+q.SecondaryRoles, 0): // where a C string would end
		return nil, &Error{Kind: Syntax, Message: "the statement holds a NUL character"}
	}
	if wait := q.Dialect.sleepHint(q.SQL); wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	text := strings.TrimRight(strings.TrimSpace(q.Dialect.Translate(q.SQL)), "; \n\t\r")
	conn, err := e.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := e.run(ctx, conn, q, text)
	if err != nil {
		return nil, errors.Join(translateError(ctx, err), conn.Close())
	}
	return rows, nil
}

func (e *Engine) run(ctx context.Context, conn *sql.Conn, q Query, text string) (*Rows, error) {
	// Connections are pooled, so who asks is said before each statement; nothing a statement may do can change it.
	zone := q.TimeZone
	if zone == "" {
		zone = "UTC"
	}
	if _, err := conn.ExecContext(ctx, "USE demo."+ident(q.Dialect.schema())+"; SET VARIABLE app_user = "+
		literal(q.Identity)+"; SET VARIABLE app_role = "+literal(q.Role)+"; SET VARIABLE app_secondary_roles = "+literal(q.SecondaryRoles)+
		"; SET TimeZone = "+literal(zone)); err != nil {
		return nil, err
	}
	p, err := e.plan(ctx, conn, text)
	if err != nil {
		return nil, err
	}
	if refusal := e.refusal(q.Identity, p); refusal != nil {
		return nil, refusal
	}
	args := q.Args
	if d := p.defines; d != nil {
		if err := e.define(ctx, conn, q, *d); err != nil {
			return nil, err
		}
		text, args = d.answer(q.Dialect), nil
	}
	found, err := conn.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	rows := &Rows{conn: conn, rows: found, write: p.write, defines: p.defines != nil}
	if err := rows.describe(); err != nil {
		return nil, errors.Join(err, found.Close())
	}
	return rows, nil
}

// refusal returns nil if identity may run a statement with plan p.
func (e *Engine) refusal(identity string, p plan) *Error {
	e.mu.Lock()
	defer e.mu.Unlock()
	rights := e.rights[identity]
	for _, n := range p.made {
		switch t := e.tables[n]; {
		case t == nil || !t.whole:
			return absent(n)
		case t.owner != identity && !slices.Contains(rights.Reads, n.String()):
			return denied(n.String())
		}
	}
	return rights.permits(p)
}

// plan returns what the guard knows of text, asking DuckDB's parser the first time.
func (e *Engine) plan(ctx context.Context, conn *sql.Conn, text string) (plan, error) {
	if p, ok := e.plans.Get(text); ok {
		return p, nil
	}
	var p plan
	var refusal *Error
	switch w := firstWord(text); w {
	case "select", "with", "values":
		tree, err := parse(ctx, conn, text)
		if err != nil {
			return plan{}, err
		}
		p, refusal = planSelect(tree)
	case "create", "drop":
		var d definition
		if d, refusal = planDefinition(text); refusal == nil && d.of != "" {
			tree, err := parse(ctx, conn, d.of)
			if err != nil {
				return plan{}, err
			}
			p, refusal = planSelect(tree)
		}
		p.defines = &d
	case "insert", "update", "delete":
		if p, refusal = planWrite(text); refusal == nil {
			if err := onlyOne(conn, text); err != nil {
				return plan{}, err
			}
		}
	case "":
		refusal = &Error{Kind: Syntax, Message: "the statement is empty"}
	default:
		refusal = &Error{Kind: Syntax, Message: fmt.Sprintf("syntax error at or near %q: the sandbox takes SELECT, INSERT, UPDATE, DELETE, CREATE and DROP", w)}
	}
	if refusal != nil {
		return plan{}, refusal
	}
	e.plans.Add(text, p)
	return p, nil
}

// parse returns the tree of the SELECT statements of text.
func parse(ctx context.Context, conn *sql.Conn, text string) (tree []byte, err error) {
	err = conn.QueryRowContext(ctx, "SELECT CAST(json_serialize_sql(CAST("+literal(text)+" AS VARCHAR)) AS BLOB)").Scan(&tree)
	return tree, err
}

// onlyOne fails unless DuckDB too finds one statement in text.
func onlyOne(conn *sql.Conn, text string) error {
	return conn.Raw(func(driverConn any) error {
		stmt, err := driverConn.(*duckdb.Conn).Prepare(text) // refuses several, where PrepareContext would run the first
		if err != nil {
			return err
		}
		return stmt.Close()
	})
}

// translateError gives DuckDB's errors their kind.
func translateError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	e := &Error{Kind: Failed, Message: err.Error()}
	if duck, ok := errors.AsType[*duckdb.Error](err); ok {
		switch duck.Type {
		case duckdb.ErrorTypeParser, duckdb.ErrorTypeSyntax:
			e.Kind = Syntax
		case duckdb.ErrorTypeCatalog:
			e.Kind = TableAbsent
		case duckdb.ErrorTypeBinder:
			e.Kind = NoColumn
		case duckdb.ErrorTypeInterrupt:
			e.Kind = Canceled
		}
	}
	return e
}

// Rows are the rows of a statement, read forwards. They are not safe for concurrent use.
type Rows struct {
	Columns []Column

	conn    *sql.Conn
	rows    *sql.Rows
	write   bool
	defines bool
	count   int64
	err     error
	done    bool
	cells   []any
	into    []any

	ctx   context.Context // of Query: tells a cancelled statement from a failed one
	log   *Log
	entry *Statement
}

func (r *Rows) describe() error {
	types, err := r.rows.ColumnTypes()
	if err != nil {
		return err
	}
	r.cells, r.into = make([]any, len(types)), make([]any, len(types))
	for i, t := range types {
		r.into[i] = &r.cells[i]
		c := Column{Name: t.Name()}
		name := t.DatabaseTypeName()
		if strings.HasPrefix(name, "DECIMAL(") {
			c.Type = Decimal
			_, _ = fmt.Sscanf(name, "DECIMAL(%d,%d)", &c.Precision, &c.Scale)
		} else if c.Type = typeOf[name]; name == "UBIGINT" || name == "UHUGEINT" {
			c.Type, c.Precision = Decimal, 38
		} else if _, ok := typeOf[name]; !ok {
			c.Type = Text
		}
		r.Columns = append(r.Columns, c)
	}
	return nil
}

// typeOf maps DuckDB's types. A sum of integers is a HUGEINT in DuckDB and a BIGINT in the warehouses.
var typeOf = map[string]Type{
	"BOOLEAN": Bool, "TINYINT": Int8, "SMALLINT": Int16, "UTINYINT": Int16, "INTEGER": Int32, "USMALLINT": Int32,
	"BIGINT": Int64, "UINTEGER": Int64, "HUGEINT": Int64, "FLOAT": Float32, "DOUBLE": Float64, "VARCHAR": Text,
	"DATE": Date, "TIME": Time, "TIMESTAMP": Timestamp, "TIMESTAMP_S": Timestamp, "TIMESTAMP_MS": Timestamp,
	"TIMESTAMP_NS": Timestamp, "TIMESTAMPTZ": TimestampTZ, "TIMESTAMP WITH TIME ZONE": TimestampTZ, "BLOB": Binary,
}

// Writes reports whether the statement changed rows instead of reading them. Its only row then holds their number.
func (r *Rows) Writes() bool { return r.write }

// Defines reports whether the statement made or dropped a schema or a table.
func (r *Rows) Defines() bool { return r.defines }

// Next moves to the next row and reports whether there is one.
func (r *Rows) Next() bool {
	if r.done || r.err != nil {
		return false
	}
	if !r.rows.Next() {
		r.done, r.err = true, r.rows.Err()
	} else if r.err = r.rows.Scan(r.into...); r.err == nil {
		for i := range r.cells {
			r.cells[i], r.err = plain(r.cells[i], r.Columns[i])
			if r.err != nil {
				break
			}
		}
	}
	if r.err != nil {
		r.err = translateError(r.ctx, r.err)
		return false
	}
	if !r.done {
		r.count++
	}
	return !r.done
}

// Values returns the current row, which is overwritten by Next.
func (r *Rows) Values() []any { return r.cells }

// Err returns what ended the rows early, or nil.
func (r *Rows) Err() error { return r.err }

// Close frees the statement and enters its outcome in the log. Closing before the last row is no failure, unless the
// statement was cancelled.
func (r *Rows) Close() error {
	outcome := Finished
	switch {
	case !r.done && r.ctx.Err() != nil:
		outcome = CanceledOut
	case r.err != nil:
		outcome = FailedOut
	}
	err := errors.Join(r.rows.Close(), r.conn.Close())
	r.log.end(r.entry, outcome, r.count)
	return err
}

// plain returns v, as DuckDB's driver gives it, as the Go type that stands for the type of c.
func plain(v any, c Column) (any, error) {
	switch v := v.(type) {
	case nil, bool, int64, float64, string, time.Time, []byte:
		if b, ok := v.([]byte); ok && c.Type == Text && len(b) == 16 {
			return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil // a UUID
		}
		return v, nil
	case int8:
		return int64(v), nil
	case int16:
		return int64(v), nil
	case int32:
		return int64(v), nil
	case uint8:
		return int64(v), nil
	case uint16:
		return int64(v), nil
	case uint32:
		return int64(v), nil
	case uint64:
		return fmt.Sprint(v), nil
	case float32:
		return float64(v), nil
	case *big.Int:
		if c.Type != Int64 {
			return v.String(), nil
		}
		if !v.IsInt64() {
			return nil, &Error{Kind: Failed, Message: "arithmetic overflow: " + v.String() + " is out of range of BIGINT"}
		}
		return v.Int64(), nil
	case duckdb.Decimal:
		return decimal(v.Value, int(v.Scale)), nil
	case duckdb.Interval:
		return fmt.Sprintf("%d months %d days %d us", v.Months, v.Days, v.Micros), nil
	}
	if text, err := json.Marshal(v); err == nil {
		return string(text), nil
	}
	return fmt.Sprint(v), nil
}

// decimal prints value / 10^scale with all of its decimals; duckdb.Decimal.String would drop the zeros at the end.
func decimal(value *big.Int, scale int) string {
	digits := new(big.Int).Abs(value).String()
	if pad := scale + 1 - len(digits); pad > 0 {
		digits = strings.Repeat("0", pad) + digits
	}
	if scale > 0 {
		digits = digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
	}
	if value.Sign() < 0 {
		return "-" + digits
	}
	return digits
}
