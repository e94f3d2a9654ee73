//go:build cgo

package preagg

import (
	"context"
	"crypto/sha256"
	"database/sql/driver"
	"errors"
	"io"
	"slices"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/behalf-project/behalf/internal/fault"
)

// vetted remembers statements that may run, by their text. They come from a generator and have few texts.
type vetted struct {
	good *lru.Cache[[sha256.Size]byte, struct{}]
}

const maxVetted = 4096

func newVetted() (*vetted, error) {
	good, err := lru.New[[sha256.Size]byte, struct{}](maxVetted)
	return &vetted{good}, err
}

// errNoSelect refuses everything but one SELECT.
var errNoSelect = fault.New(fault.Invalid, "Only a SELECT reads a rollup.")

// tableFunctions are those that a SELECT may call. The others are not for rows: there are some that write files, into the
// scope's folder too, and enable_logging ends the process when its file cannot be written, whatever the lock says.
var tableFunctions = []string{"generate_series", "range", "unnest"}

// check refuses a statement that is not one SELECT, or calls what it has no use for. It asks DuckDB's own parser, so that
// there is nothing that the two read differently.
func (v *vetted) check(ctx context.Context, conn driver.Conn, sql string) error {
	sum := sha256.Sum256([]byte(sql))
	if _, ok := v.good.Get(sum); ok {
		return nil
	}
	tree, err := parse(ctx, conn, sql)
	if err != nil {
		return err
	}
	statements, _ := tree["statements"].([]any)
	if len(statements) != 1 {
		// Where there is an error, it is one of the syntax, which Prepare explains, or says that this is no SELECT.
		stmt, err := conn.Prepare(sql)
		if err != nil {
			return err
		}
		return errors.Join(errNoSelect, stmt.Close())
	}
	if err := calls(statements); err != nil {
		return err
	}
	v.good.Add(sum, struct{}{})
	return nil
}

// parse returns the syntax of sql.
func parse(ctx context.Context, conn driver.Conn, sql string) (map[string]any, error) {
	rows, err := conn.(driver.QueryerContext).QueryContext(ctx, "SELECT json_serialize_sql(?::VARCHAR)", []driver.NamedValue{{Ordinal: 1, Value: sql}})
	if err != nil {
		return nil, err
	}
	row := make([]driver.Value, 1)
	err = rows.Next(row)
	if err := errors.Join(err, rows.Close()); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	tree, ok := row[0].(map[string]any)
	if !ok {
		return nil, errors.New("preagg: DuckDB returned no syntax tree")
	}
	return tree, nil
}

// calls refuses a table function below node that is not among tableFunctions.
func calls(node any) error {
	switch n := node.(type) {
	case []any:
		for _, child := range n {
			if err := calls(child); err != nil {
				return err
			}
		}
	case map[string]any:
		if n["type"] == "TABLE_FUNCTION" {
			function, _ := n["function"].(map[string]any)
			name, _ := function["function_name"].(string)
			if !slices.Contains(tableFunctions, name) {
				return fault.New(fault.Denied, "A statement on a rollup may not call %q as a table.", name)
			}
		}
		for _, child := range n {
			if err := calls(child); err != nil {
				return err
			}
		}
	}
	return nil
}
